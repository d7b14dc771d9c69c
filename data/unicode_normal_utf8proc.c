/* Unicode normalisation (unicode.h) with utf8proc's tables: decompose every character, sort the marks of each run by
 * combining class, compose again (Unicode Standard Annex 15).
 *
 * The sorting is ours: utf8proc sorts by exchanging neighbours, which a text of alternating marks makes quadratic. Here
 * a run is sorted by counting.
 *
 * The ids of a model depend on the tables its tokenizer had. Hugging Face tokenizers normalises with those of Unicode 9
 * to this day: marks that came later stay where they are, and nothing composes with them. So it is here; the table
 * below holds the characters with a combining class, and the one that composes, of Unicode 10 to 15. */
#include "unicode.h"
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

static const struct {
    int first, last;
} later[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c},   {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efc, 0x10eff},
    {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e},
    {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
    {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
    {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136},
    {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
};

static int is_later(int point)
{
    int low = 0, high = (int)(sizeof later / sizeof *later);
    while (low < high) {
        int middle = (low + high) / 2;
        if (later[middle].last < point)
            low = middle + 1;
        else
            high = middle;
    }
    return low < (int)(sizeof later / sizeof *later) && point >= later[low].first;
}

int normal_available(struct error *e)
{
    (void)e;
    return 0;
}

struct points {
    int32_t *p;
    int n, cap;
};

static int class_of(int32_t point)
{
    return utf8proc_get_property(point)->combining_class;
}

/* Sort p[0..n), all of a combining class above 0, by it; equals keep their order. spare has room for n. */
static void sort_marks(int32_t *p, int n, int32_t *spare)
{
    int count[257] = {0};
    for (int i = 0; i < n; i++)
        count[class_of(p[i]) + 1]++;
    for (int k = 0; k < 256; k++)
        count[k + 1] += count[k];
    for (int i = 0; i < n; i++)
        spare[count[class_of(p[i])]++] = p[i];
    memcpy(p, spare, (size_t)n * sizeof *p);
}

static void sort_runs(int32_t *p, int n, struct points *spare)
{
    for (int i = 0, end; i < n; i = end) {
        end = i + 1;
        if (class_of(p[i]) == 0)
            continue;
        int sorted = 1;
        for (; end < n && class_of(p[end]) != 0; end++)
            sorted &= class_of(p[end - 1]) <= class_of(p[end]);
        if (!sorted) {
            mem_grow(&spare->p, &spare->cap, end - i, sizeof *spare->p);
            sort_marks(p + i, end - i, spare->p);
        }
    }
}

static void add_point(int32_t point, struct text *out)
{
    char b[4];
    text_add(out, b, utf8_put(b, point));
}

/* Order, compose and write what was decomposed; empties it. */
static void flush(enum normal_form form, struct points *d, struct points *spare, struct text *out)
{
    sort_runs(d->p, d->n, spare);
    if (d->n && (form == NORMAL_NFC || form == NORMAL_NFKC))
        d->n = (int)utf8proc_normalize_utf32(d->p, d->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (int i = 0; i < d->n; i++)
        add_point(d->p[i], out);
    d->n = 0;
}

void normal_text(enum normal_form form, const char *s, int len, struct text *out)
{
    int plain = 0; /* what lies below U+0300 is in NFC as it stands, if no mark follows; below 0x80 in every form */
    unsigned char limit = form == NORMAL_NFC ? 0xcc : 0x80;
    while (plain < len && (unsigned char)s[plain] < limit)
        plain++;
    if (plain == len) {
        text_add(out, s, len);
        return;
    }
    struct points d = {0}, spare = {0};
    int compatible = form == NORMAL_NFKC || form == NORMAL_NFKD;
    utf8proc_option_t how = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compatible ? UTF8PROC_COMPAT : 0);
    for (int i = 0, n; i < len; i += n) {
        enum utf8_kind kind;
        n = utf8_next(s + i, len - i, &kind);
        int point = utf8_point(s + i, n), boundary = 0;
        if (is_later(point)) {
            flush(form, &d, &spare, out);
            add_point(point, out);
            continue;
        }
        mem_grow(&d.p, &d.cap, d.n + 32, sizeof *d.p); /* the longest decomposition has 18 */
        d.n += (int)utf8proc_decompose_char(point, d.p + d.n, 32, how, &boundary);
    }
    flush(form, &d, &spare, out);
    mem_free(d.p);
    mem_free(spare.p);
}
