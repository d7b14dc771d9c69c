/* The two steps of byte-pair encoding: rewriting a text before it is cut up, and merging its tokens (Sennrich, Haddow,
 * Birch: Neural machine translation of rare words with subword units. ACL 2016). Not the cutting itself (tokenizer.c).
 *
 * Merging takes the pair of lowest rank, the leftmost of equals, again and again. A heap of candidates over a linked
 * list of tokens makes that n log n for any text; a plain search for the best pair would be quadratic. */
#include "tokenizer_inner.h"
#include "../model/base/rng.h"
#include <string.h>

/* One rewriting of s into out, which it replaces. */
static void rewrite_once(const struct rewrite *w, const char *s, int len, struct text *out)
{
    text_clear(out);
    if (w->from_len == 0) {
        if (len)
            text_add(out, w->to, w->to_len);
        text_add(out, s, len);
        return;
    }
    int done = 0;
    for (int i = 0; i + w->from_len <= len;) {
        if (memcmp(s + i, w->from, (size_t)w->from_len)) {
            i++;
            continue;
        }
        text_add(out, s + done, i - done);
        text_add(out, w->to, w->to_len);
        done = i += w->from_len;
    }
    text_add(out, s + done, len - done);
}

/* All n rewritings in order. Fails when a text would grow beyond every use, as a hostile file can make it. */
int rewrite_text(const struct rewrite *w, int n, const char *s, int len, struct text *out, struct error *e)
{
    struct text spare = {0};
    int status = 0;
    text_clear(out);
    text_add(out, s, len);
    for (int i = 0; i < n && status == 0; i++) {
        rewrite_once(&w[i], out->s, out->len, &spare);
        struct text swap = *out;
        *out = spare;
        spare = swap;
        if (out->len > MAX_TOKENIZER_TEXT)
            status = fail(e, "the normalizer makes a text of %d bytes longer than %d bytes", len, MAX_TOKENIZER_TEXT);
    }
    text_free(&spare);
    return status;
}

const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right)
{
    if (!t->merge_slots)
        return NULL;
    int32_t pair[2] = {left, right};
    unsigned mask = (unsigned)t->merge_slots - 1;
    for (unsigned i = (unsigned)hash_bytes(pair, sizeof pair, 0) & mask;; i = (i + 1) & mask) {
        const struct merge *m = &t->merge[i];
        if (m->left < 0)
            return NULL;
        if (m->left == left && m->right == right)
            return m;
    }
}

struct link { /* a token of the text; id -1: merged into the one before */
    int32_t id, before, after;
};
struct candidate {
    int32_t rank, at, id;
};
struct heap { /* the smallest (rank, at) is c[0] */
    struct candidate *c;
    int n, cap;
};

static int comes_before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct heap *h, struct candidate c)
{
    mem_grow(&h->c, &h->cap, h->n + 1, sizeof *h->c);
    int i = h->n++;
    for (; i > 0 && comes_before(&c, &h->c[(i - 1) / 2]); i = (i - 1) / 2)
        h->c[i] = h->c[(i - 1) / 2];
    h->c[i] = c;
}

static struct candidate heap_pop(struct heap *h)
{
    struct candidate top = h->c[0], last = h->c[--h->n];
    int i = 0;
    for (int child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && comes_before(&h->c[child + 1], &h->c[child]))
            child++;
        if (!comes_before(&h->c[child], &last))
            break;
        h->c[i] = h->c[child];
    }
    h->c[i] = last;
    return top;
}

/* Enter the pair that begins at token `at`, if it can merge. */
static void consider(const struct tokenizer *t, struct heap *h, const struct link *link, int at)
{
    if (at < 0 || link[at].after < 0)
        return;
    const struct merge *m = merge_find(t, link[at].id, link[link[at].after].id);
    if (m)
        heap_push(h, (struct candidate){m->rank, at, m->id});
}

/* A candidate is stale when its tokens have merged otherwise since. What counts is that the pair now there makes the
 * same token, whatever its rank: so the reference implementation (Hugging Face tokenizers) decides it. */
static int is_stale(const struct tokenizer *t, const struct link *link, const struct candidate *c)
{
    if (link[c->at].id < 0 || link[c->at].after < 0)
        return 1;
    const struct merge *m = merge_find(t, link[c->at].id, link[link[c->at].after].id);
    return !m || m->id != c->id;
}

int bpe_merge(const struct tokenizer *t, int32_t *id, int n)
{
    if (n < 2 || !t->merges)
        return n;
    struct link *link = mem_alloc((size_t)n, sizeof *link);
    struct heap heap = {0};
    for (int i = 0; i < n; i++)
        link[i] = (struct link){id[i], i - 1, i + 1 < n ? i + 1 : -1};
    for (int i = 0; i + 1 < n; i++)
        consider(t, &heap, link, i);
    while (heap.n) {
        struct candidate c = heap_pop(&heap);
        if (is_stale(t, link, &c))
            continue;
        struct link *here = &link[c.at], *gone = &link[here->after];
        here->id = c.id;
        here->after = gone->after;
        gone->id = -1;
        if (here->after >= 0)
            link[here->after].before = c.at;
        consider(t, &heap, link, here->before);
        consider(t, &heap, link, c.at);
    }
    int out = 0;
    for (int i = 0; i >= 0; i = link[i].after)
        id[out++] = link[i].id;
    mem_free(heap.c);
    mem_free(link);
    return out;
}
