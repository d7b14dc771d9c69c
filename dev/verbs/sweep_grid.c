/* From the words of a sweep to combinations: number c of the axes' values in mixed radix, the last axis the fastest.
 */
#include "sweep_grid.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../model/base/mem.h"
#include "../../model/base/rng.h"

static int is_seed(const char *key)
{
    return !strcmp(key, "seed") || !strcmp(key, "run.seed");
}

/* ---- values of one word ---- */

static int add_value(struct axis *a, const char *text, size_t len, struct error *e)
{
    if (a->n == MAX_RUNS)
        return fail(e, "%s: more than %d values", a->key, MAX_RUNS);
    mem_grow(&a->value, &a->cap, a->n + 1, sizeof *a->value);
    char *v = a->value[a->n++] = mem_alloc(len + 1, 1), *to = v;
    int quoted = len > 1 && text[0] == '"' && text[len - 1] == '"';
    for (size_t i = (size_t)quoted; i < len - (size_t)quoted; i++) {
        i += quoted && text[i] == '\\' && i + 2 < len;
        *to++ = text[i];
    }
    return 0;
}

/* Length of the digits at s, 0 when there are none or more than a whole number of 15 places. */
static size_t digits(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n <= 15 ? n : 0;
}

/* A value, or a..b for the whole numbers from a to b. */
static int add_piece(struct axis *a, const char *text, size_t len, struct error *e)
{
    size_t first = digits(text), second = first && !strncmp(text + first, "..", 2) ? digits(text + first + 2) : 0;
    if (!second || first + 2 + second != len)
        return add_value(a, text, len, e);
    long from = strtol(text, NULL, 10), to = strtol(text + first + 2, NULL, 10);
    if (to < from)
        return fail(e, "%s=%.*s: the range ends before it begins", a->key, (int)len, text);
    for (long i = from; i <= to; i++) {
        char number[24];
        int n = snprintf(number, sizeof number, "%ld", i);
        if (add_value(a, number, (size_t)n, e))
            return -1;
    }
    return 0;
}

static int read_word(struct axis *a, const char *word, struct error *e)
{
    const char *equals = strchr(word, '=');
    if (!equals || equals == word)
        return fail(e, "'%.80s' is no key=value", word);
    size_t bytes = (size_t)(equals - word), left = strlen(equals + 1);
    if (bytes >= sizeof a->key)
        return fail(e, "'%.80s...': the key is too long", word);
    for (size_t i = 0; i < bytes; i++)
        a->key[i] = word[i] == '-' ? '_' : word[i];
    a->key[bytes] = 0;
    for (const char *p = equals + 1;; p++, left--) {
        size_t n = settings_span(p, left, ",");
        if (n == 0 && (left > 0 || a->n > 0))
            return fail(e, "%s: a value of the list is empty; write \"\" for an empty text", a->key);
        if (add_piece(a, p, n, e))
            return -1;
        p += n, left -= n;
        if (left == 0)
            return 0;
    }
}

/* ---- all words ---- */

/* Keys with several values first, among them the seed last; otherwise the order given. */
static int rank(const struct axis *a)
{
    return a->n < 2 ? 2 : is_seed(a->key);
}

static void sort_axes(struct grid *g)
{
    for (int i = 1; i < g->words; i++)
        for (int k = i; k > 0 && rank(&g->axis[k - 1]) > rank(&g->axis[k]); k--) {
            struct axis other = g->axis[k];
            g->axis[k] = g->axis[k - 1];
            g->axis[k - 1] = other;
        }
}

int grid_read(struct grid *g, int words, const char *const *word, struct error *e)
{
    *g = (struct grid){.seeds = 1, .combinations = 1};
    if (words > MAX_SWEEP_WORDS)
        return fail(e, "more than %d keys", MAX_SWEEP_WORDS);
    for (int i = 0; i < words; i++) {
        struct axis *a = &g->axis[g->words++];
        if (read_word(a, word[i], e))
            return -1;
        for (int k = 0; k < i; k++)
            if (!strcmp(g->axis[k].key, a->key) || (is_seed(g->axis[k].key) && is_seed(a->key)))
                return fail(e, "%s is given twice; several values are written %s=A,B", a->key, a->key);
        g->axes += a->n > 1;
        if (a->n > 1 && is_seed(a->key))
            g->seeds = a->n;
        if (a->n > MAX_RUNS / g->combinations)
            return fail(e, "more than %d combinations; sweep fewer keys or values at a time", MAX_RUNS);
        g->combinations *= a->n;
    }
    if (g->axes > MAX_AXES)
        return fail(e, "more than %d keys with several values", MAX_AXES);
    sort_axes(g);
    return 0;
}

void grid_free(struct grid *g)
{
    for (int i = 0; i < g->words; i++) {
        for (int k = 0; k < g->axis[i].n; k++)
            mem_free(g->axis[i].value[k]);
        mem_free(g->axis[i].value);
    }
    memset(g, 0, sizeof *g);
}

/* ---- one combination ---- */

const char *grid_value(const struct grid *g, int combination, int a)
{
    for (int i = g->axes - 1; i > a; i--)
        combination /= g->axis[i].n;
    return g->axis[a].value[a < g->axes ? combination % g->axis[a].n : 0];
}

int grid_setting_axes(const struct grid *g)
{
    return g->axes - (g->seeds > 1);
}

int grid_words(const struct grid *g, int combination, char *word[MAX_SWEEP_WORDS])
{
    for (int i = 0; i < g->words; i++) {
        struct text t = {0};
        text_addf(&t, "%s=%s", g->axis[i].key, grid_value(g, combination, i));
        word[i] = t.s;
    }
    return g->words;
}

/* A value that cannot stand in a name as it is, or is long, is followed by a hash of all of it. */
static void add_to_name(struct text *t, const char *value)
{
    enum { LONGEST = 24 };
    size_t len = strlen(value);
    int plain = len > 0 && len <= LONGEST;
    for (size_t i = 0; i < len && i < LONGEST; i++) {
        int good = isalnum((unsigned char)value[i]) || strchr(".+-", value[i]);
        text_add(t, good ? &value[i] : "-", 1);
        plain = plain && good;
    }
    if (!plain)
        text_addf(t, "~%08x", (unsigned)hash_bytes(value, (int)len, 0));
}

void grid_name(const struct grid *g, int combination, char name[GRID_NAME])
{
    struct text t = {0};
    for (int i = 0; i < g->axes; i++) {
        text_addf(&t, "%s%s_", i ? "_" : "", g->axis[i].key);
        add_to_name(&t, grid_value(g, combination, i));
    }
    if (t.len == 0)
        text_add(&t, "run", -1);
    if (t.len < GRID_NAME)
        snprintf(name, GRID_NAME, "%s", t.s);
    else
        snprintf(name, GRID_NAME, "%.120s~%016llx", t.s, (unsigned long long)hash_bytes(t.s, t.len, 0));
    text_free(&t);
}

void grid_label(const struct grid *g, int combination, char *label, size_t size)
{
    size_t len = 0;
    snprintf(label, size, "%s", g->axes ? "" : "the recipe");
    for (int i = 0; i < g->axes && len < size; i++)
        len += (size_t)snprintf(label + len, size - len, "%s%s = %s", i ? ", " : "", g->axis[i].key,
                                grid_value(g, combination, i));
}
