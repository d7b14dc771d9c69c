/* Merging, the heart of byte-pair encoding (Sennrich, Haddow, Birch: Neural machine translation of rare words with
 * subword units. ACL 2016). Not the cutting into characters or bytes (tokenizer.c).
 *
 * Merging takes the pair of lowest rank, the leftmost of equals, again and again. Three ways to the same ids:
 * - Where no merge of the vocabulary crosses two neighbouring characters, the text falls into parts that cannot touch
 *   each other, and each is merged by itself (a whole text without word boundaries, as Llama 2 has it).
 * - A short part is searched for its best pair each time.
 * - A long one has a heap of candidates over a linked list of tokens: n log n for any text. */
#include "tokenizer_inner.h"
#include <string.h>

enum { SHORT = 24, JOINT_BITS = 16 };

struct merge *merge_slot(const struct tokenizer *t, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    unsigned mask = (unsigned)t->merge_slots - 1, i = (unsigned)(pair * 0x9E3779B97F4A7C15u >> 32) & mask;
    while (t->merge[i].left >= 0 && (t->merge[i].left != left || t->merge[i].right != right))
        i = (i + 1) & mask;
    return &t->merge[i];
}

static const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right)
{
    const struct merge *m = merge_slot(t, left, right);
    return m->left < 0 ? NULL : m;
}

/* ---- joints ---- */

static unsigned joint_of(int last, int first)
{
    return ((uint32_t)last * 0x9E3779B1u ^ (uint32_t)first * 0x85EBCA77u) >> (32 - JOINT_BITS);
}

static int first_point(const struct tokenizer *t, int id)
{
    struct span p = t->piece[id];
    enum utf8_kind kind;
    return utf8_point(t->pool.s + p.start, utf8_next(t->pool.s + p.start, p.len, &kind));
}

static int last_point(const struct tokenizer *t, int id)
{
    struct span p = t->piece[id];
    int n = 1;
    while (n < p.len && n < 4 && ((unsigned char)t->pool.s[p.start + p.len - n] & 0xc0) == 0x80)
        n++;
    return utf8_point(t->pool.s + p.start + p.len - n, n);
}

void joints_make(struct tokenizer *t)
{
    t->joint = mem_alloc((1 << JOINT_BITS) / 64, sizeof *t->joint);
    for (int i = 0; i < t->merge_slots; i++) {
        if (t->merge[i].left < 0)
            continue;
        unsigned bit = joint_of(last_point(t, t->merge[i].left), first_point(t, t->merge[i].right));
        t->joint[bit / 64] |= (uint64_t)1 << bit % 64;
    }
}

static int may_join(const struct tokenizer *t, int32_t left, int32_t right)
{
    unsigned bit = joint_of(last_point(t, left), first_point(t, right));
    return t->joint[bit / 64] >> bit % 64 & 1;
}

/* ---- short parts ---- */

static int merge_short(const struct tokenizer *t, int32_t *id, int n)
{
    const struct merge *pair[SHORT];
    for (int i = 0; i + 1 < n; i++)
        pair[i] = merge_find(t, id[i], id[i + 1]);
    for (;;) {
        int best = -1;
        for (int i = 0; i + 1 < n; i++)
            if (pair[i] && (best < 0 || pair[i]->rank < pair[best]->rank))
                best = i;
        if (best < 0)
            return n;
        id[best] = pair[best]->id;
        n--;
        for (int i = best + 1; i < n; i++) {
            id[i] = id[i + 1];
            pair[i - 1] = pair[i];
        }
        if (best > 0)
            pair[best - 1] = merge_find(t, id[best - 1], id[best]);
        if (best + 1 < n)
            pair[best] = merge_find(t, id[best], id[best + 1]);
    }
}

/* ---- long parts: w->heap[0] is the candidate of the smallest (rank, at) ---- */

static int comes_before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct workspace *w, struct candidate c)
{
    mem_grow(&w->heap, &w->heap_cap, w->heap_len + 1, sizeof *w->heap);
    int i = w->heap_len++;
    for (; i > 0 && comes_before(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
}

static struct candidate heap_pop(struct workspace *w)
{
    struct candidate *c = w->heap, top = c[0], last = c[--w->heap_len];
    int i = 0;
    for (int child; (child = 2 * i + 1) < w->heap_len; i = child) {
        if (child + 1 < w->heap_len && comes_before(&c[child + 1], &c[child]))
            child++;
        if (!comes_before(&c[child], &last))
            break;
        c[i] = c[child];
    }
    c[i] = last;
    return top;
}

/* Enter the pair that begins at token `at`, if it can merge. */
static void consider(const struct tokenizer *t, struct workspace *w, int at)
{
    if (at < 0 || w->link[at].after < 0)
        return;
    const struct merge *m = merge_find(t, w->link[at].id, w->link[w->link[at].after].id);
    if (m)
        heap_push(w, (struct candidate){m->rank, at, m->id});
}

/* A candidate is stale when its tokens have merged otherwise since: then what stands there makes another token. */
static int is_stale(const struct tokenizer *t, const struct link *link, const struct candidate *c)
{
    if (link[c->at].id < 0 || link[c->at].after < 0)
        return 1;
    const struct merge *m = merge_find(t, link[c->at].id, link[link[c->at].after].id);
    return !m || m->id != c->id;
}

static int merge_long(const struct tokenizer *t, struct workspace *w, int32_t *id, int n)
{
    mem_grow(&w->link, &w->links, n, sizeof *w->link);
    struct link *link = w->link;
    w->heap_len = 0;
    for (int i = 0; i < n; i++)
        link[i] = (struct link){id[i], i - 1, i + 1 < n ? i + 1 : -1};
    for (int i = 0; i + 1 < n; i++)
        consider(t, w, i);
    while (w->heap_len) {
        struct candidate c = heap_pop(w);
        if (is_stale(t, link, &c))
            continue;
        struct link *here = &link[c.at], *gone = &link[here->after];
        here->id = c.id;
        here->after = gone->after;
        gone->id = -1;
        if (here->after >= 0)
            link[here->after].before = c.at;
        consider(t, w, here->before);
        consider(t, w, c.at);
    }
    int out = 0;
    for (int i = 0; i >= 0; i = link[i].after)
        id[out++] = link[i].id;
    return out;
}

int bpe_merge(const struct tokenizer *t, struct workspace *w, int32_t *id, int n)
{
    if (!t->merges)
        return n;
    int out = 0;
    for (int i = 0, end; i < n; i = end) {
        end = t->joint ? i + 1 : n;
        while (end < n && may_join(t, id[end - 1], id[end]))
            end++;
        int made = end - i < 2        ? end - i
                   : end - i <= SHORT ? merge_short(t, id + i, end - i)
                                      : merge_long(t, w, id + i, end - i);
        memmove(id + out, id + i, (size_t)made * sizeof *id);
        out += made;
    }
    return out;
}
