/* Between added tokens and merging: a text is normalised (rewrite_text) and cut into words that merges do not cross
 * (cut_text), as Hugging Face tokenizers does both. Cuts follow one another: each works on the words of the one before.
 *
 * To support another pre_tokenizer: a reader in tokenizer_parts.c that says it in cuts, a kind of cut here if the
 * present ones do not do. */
#include "tokenizer_inner.h"
#include <string.h>

/* ---- normalisation ---- */

static int too_long(int len, const char *what, struct error *e)
{
    return fail(e, "the %s makes a text of %d bytes longer than %d bytes", what, len, MAX_TOKENIZER_TEXT);
}

/* Where the literal stands first in s, NULL: nowhere. Time grows with what was passed over, not with what is left. */
static const char *find(const struct literal *what, const char *s, int len)
{
    for (const char *end = s + len; (s = memchr(s, what->s[0], (size_t)(end - s))); s++)
        if (end - s >= what->len && !memcmp(s, what->s, (size_t)what->len))
            return s;
    return NULL;
}

/* s with every `from` replaced, appended. */
static void replace(const struct literal *from, const struct literal *to, const char *s, int len, struct text *out)
{
    int done = 0;
    for (const char *at; (at = find(from, s + done, len - done));) {
        text_add(out, s + done, (int)(at - s) - done);
        text_add(out, to->s, to->len);
        done = (int)(at - s) + from->len;
    }
    text_add(out, s + done, len - done);
}

static void rewrite_once(const struct rewrite *w, const char *s, int len, struct text *out)
{
    text_clear(out);
    switch (w->kind) {
    case REWRITE_REPLACE:
        replace(&w->from, &w->to, s, len, out);
        break;
    case REWRITE_PREPEND:
        if (len)
            text_add(out, w->to.s, w->to.len);
        text_add(out, s, len);
        break;
    case REWRITE_FORM:
        normal_text(w->form, s, len, out);
        break;
    }
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
            status = too_long(len, "normalizer", e);
    }
    text_free(&spare);
    return status;
}

/* ---- cutting ---- */

struct cutting {
    const struct tokenizer *t;
    struct workspace *w;
    cut_word *word;
    void *context;
    struct error *e;
};

static int cut_from(struct cutting *c, int k, const char *s, int len, int first);

/* The next match at or after `from`: 1, 0 or -1. */
static int next_match(struct cutting *c, const struct cut *cut, const char *s, int len, int from, int *begin, int *end)
{
    if (cut->pattern) {
        if (!c->w->matcher)
            c->w->matcher = matcher_open();
        return pattern_find(cut->pattern, c->w->matcher, s, len, from, begin, end, c->e);
    }
    const char *at = find(&cut->literal, s + from, len - from);
    if (!at)
        return 0;
    *begin = (int)(at - s);
    *end = *begin + cut->literal.len;
    return 1;
}

/* Parts of the text as they come, matches and what lies between, joined as the behavior says: a part waits in
 * [begin, end) until it is known that nothing joins it. */
struct joining {
    struct cutting *c;
    const char *s;
    int k, first;
    int begin, end, was_match;
};

static int joining_flush(struct joining *j)
{
    int status =
        j->end > j->begin ? cut_from(j->c, j->k + 1, j->s + j->begin, j->end - j->begin, j->first && j->begin == 0) : 0;
    j->begin = j->end;
    return status;
}

/* Does this part go to the one that waits? */
static int joins(const struct joining *j, enum cut_behavior behavior, int is_match)
{
    if (j->end == j->begin)
        return 0;
    switch (behavior) {
    case CUT_CONTIGUOUS:
        return is_match == j->was_match;
    case CUT_WITH_PREVIOUS: /* the first match of a row goes to what lies before it */
        return is_match && !j->was_match;
    case CUT_WITH_NEXT: /* the last match of a row goes to what lies behind it */
        return !is_match && j->was_match;
    default:
        return 0;
    }
}

static int joining_part(struct joining *j, int begin, int end, int is_match)
{
    const struct cut *cut = &j->c->t->cut[j->k];
    is_match ^= cut->invert;
    if (begin == end)
        return 0;
    if (!joins(j, cut->behavior, is_match)) {
        if (joining_flush(j))
            return -1;
        j->begin = begin;
    }
    j->end = end;
    j->was_match = is_match;
    if (cut->behavior == CUT_REMOVED && is_match)
        j->begin = end;
    return 0;
}

static int split(struct cutting *c, int k, const char *s, int len, int first)
{
    struct joining j = {.c = c, .s = s, .k = k, .first = first};
    int at = 0, begin, end, found;
    while ((found = next_match(c, &c->t->cut[k], s, len, at, &begin, &end)) > 0) {
        if (joining_part(&j, at, begin, 0) || joining_part(&j, begin, end, 1))
            return -1;
        at = end;
        if (at == len)
            break;
    }
    if (found < 0 || joining_part(&j, at, len, 0))
        return -1;
    return joining_flush(&j);
}

/* A space in front, or spaces replaced: the text changes, so it is copied. */
static int changed(struct cutting *c, int k, const char *s, int len, int first)
{
    const struct cut *cut = &c->t->cut[k];
    const struct literal space = {1, " "}, *in_front = cut->kind == CUT_SPACE ? &space : &cut->literal;
    struct text out = {0}, replaced = {0};
    if (cut->kind == CUT_REPLACE) {
        replace(&space, &cut->literal, s, len, &replaced);
        s = replaced.s;
        len = replaced.len;
    }
    int begins = len >= in_front->len && !memcmp(s, in_front->s, (size_t)in_front->len);
    if (!begins && (cut->prepend == PREPEND_ALWAYS || (cut->prepend == PREPEND_FIRST && first)))
        text_add(&out, in_front->s, in_front->len);
    text_add(&out, s, len);
    int status =
        out.len > MAX_TOKENIZER_TEXT ? too_long(len, "pre_tokenizer", c->e) : cut_from(c, k + 1, out.s, out.len, first);
    text_free(&out);
    text_free(&replaced);
    return status;
}

/* Cuts k, k+1 ... of a stretch that is not empty. */
static int cut_from(struct cutting *c, int k, const char *s, int len, int first)
{
    if (k == c->t->cuts)
        return c->word(c->context, s, len);
    return c->t->cut[k].kind == CUT_SPLIT ? split(c, k, s, len, first) : changed(c, k, s, len, first);
}

int cut_text(const struct tokenizer *t, struct workspace *w, const char *s, int len, int first, cut_word *word,
             void *context, struct error *e)
{
    struct cutting c = {t, w, word, context, e};
    return len ? cut_from(&c, 0, s, len, first) : 0;
}
