/* Added tokens in a text ("</s>", "<|im_end|>"): found before everything else, the leftmost first, the longest of
 * those, as Hugging Face tokenizers does it. A token with lstrip or rstrip takes the white space beside it; one with
 * single_word is left as text where a letter, digit or mark stands beside it.
 *
 * The tokens are sorted by their bytes, so those that begin as the text does are one range, which every further byte
 * narrows: time depends on the text and the longest token, not on how many there are. */
#include "tokenizer_inner.h"
#include <stdlib.h>
#include <string.h>

/* Sorting needs the pool: copies of the pointers, in one place. */
struct sorting {
    const char *s;
    struct added a;
};

static int by_bytes(const void *x, const void *y)
{
    const struct sorting *a = x, *b = y;
    int shorter = a->a.text.len < b->a.text.len ? a->a.text.len : b->a.text.len;
    int order = memcmp(a->s, b->s, (size_t)shorter);
    return order ? order : a->a.text.len - b->a.text.len;
}

void added_sort(const struct tokenizer *t, struct added_set *set)
{
    struct sorting *all = mem_alloc((size_t)set->n, sizeof *all);
    for (int i = 0; i < set->n; i++)
        all[i] = (struct sorting){t->pool.s + set->a[i].text.start, set->a[i]};
    qsort(all, (size_t)set->n, sizeof *all, by_bytes);
    for (int i = 0; i < set->n; i++)
        set->a[i] = all[i].a;
    for (int b = 0, i = 0; b <= 256; b++) {
        while (i < set->n && (unsigned char)*all[i].s < b)
            i++;
        set->first[b] = i;
    }
    mem_free(all);
}

/* The first of a[low..high) whose byte number `at` is >= byte; all of them share the bytes before. */
static int narrow(const struct tokenizer *t, const struct added *a, int low, int high, int at, int byte)
{
    while (low < high) {
        int middle = (low + high) / 2;
        struct span s = a[middle].text;
        if (s.len <= at || (unsigned char)t->pool.s[s.start + at] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct added *added_at(const struct tokenizer *t, const struct added_set *set, const char *s, int len, int plain)
{
    int low = set->first[(unsigned char)*s], high = set->first[(unsigned char)*s + 1];
    const struct added *longest = NULL;
    for (int at = 1; low < high; at++) {
        if (set->a[low].text.len == at && !(plain && t->flag[set->a[low].id] & TOKEN_SPECIAL)) /* shorter ones first */
            longest = &set->a[low];
        if (at == len)
            break;
        int byte = (unsigned char)s[at];
        low = narrow(t, set->a, low, high, at, byte);
        high = narrow(t, set->a, low, high, at, byte + 1);
    }
    return longest;
}

/* Where the white space that ends at `at` begins, not before `from`. */
static int space_before(const char *s, int from, int at)
{
    while (at > from) {
        int n = 1;
        while (n < 3 && at - n > from && ((unsigned char)s[at - n] & 0xc0) == 0x80)
            n++;
        if (white_space(s + at - n, n) != n)
            break;
        at -= n;
    }
    return at;
}

static int space_after(const char *s, int at, int len)
{
    for (int n; at < len && (n = white_space(s + at, len - at)) > 0;)
        at += n;
    return at;
}

/* Is the character that ends (or begins) at `at` part of a word? 1, 0, or -1. */
static int word_beside(const struct tokenizer *t, struct workspace *w, const char *s, int len, int at, int before,
                       struct error *e)
{
    int from = at, n = 1, begin, end;
    enum utf8_kind kind;
    if (before ? at == 0 : at == len)
        return 0;
    if (before)
        do
            from--;
        while (from > 0 && ((unsigned char)s[from] & 0xc0) == 0x80);
    n = utf8_next(s + from, len - from, &kind);
    if (!w->matcher)
        w->matcher = matcher_open();
    return pattern_find(t->word, w->matcher, s + from, n, 0, &begin, &end, e);
}

int added_cut(const struct tokenizer *t, const struct added_set *set, struct workspace *w, const char *s, int len,
              added_found *found, void *context, struct error *e)
{
    int done = 0, run_from = 0, run_to = 0; /* [run_from, run_to): white space that was looked through already */
    for (int i = 0; i < len && set->n;) {
        const struct added *a = added_at(t, set, s + i, len - i, w->plain);
        if (!a) {
            i++;
            continue;
        }
        int start = i, stop = i + a->text.len, status = 0;
        i = stop;
        if (a->flags & ADDED_SINGLE_WORD) {
            int left = word_beside(t, w, s, len, start, 1, e), right = word_beside(t, w, s, len, stop, 0, e);
            if (left < 0 || right < 0)
                return -1;
            if (left || right)
                continue;
        }
        if (a->flags & ADDED_LSTRIP && start > done)
            start = space_before(s, done, start);
        if (a->flags & ADDED_RSTRIP && stop < run_to && stop >= run_from) {
            stop = run_to;
        } else if (a->flags & ADDED_RSTRIP) {
            run_from = stop;
            run_to = stop = space_after(s, stop, len);
        }
        if (done < start)
            status = found(context, s + done, start - done, -1);
        status = status ? status : found(context, s + start, stop - start, a->id);
        if (status)
            return status;
        done = stop;
    }
    return done < len ? found(context, s + done, len - done, -1) : 0;
}
