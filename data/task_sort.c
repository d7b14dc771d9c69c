/* Sorting: the prompt "30212=" is to be answered with "01223". Symbols are single characters, the first `symbols` of
 * 0-9 and a-z, or numbers with a space between each two ("7 12 3=").
 *
 * The teacher of the warm-up text can be made imperfect in two ways: it leaves some lists as they are, and it takes
 * some pairs of neighbouring symbols for the other way round. A policy that imitates it has its ceiling built in.
 *
 * With symbols = 3, length_min = length_max = 6 and separator = "" this is the task of the sorting model of
 * karpathy/minGPT, which has no end of sequence: set rollout.max_new = 6.
 *
 * To extend: another imperfection goes into gold(), with draws of its own. */
#include "task.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LENGTH = 64, MAX_DIGITS = 6 };
enum { P_LENGTH_MIN, P_LENGTH_MAX, P_SYMBOLS, P_DIGITS, P_ORDER, P_SEPARATOR, P_UNSORTED, P_CONFUSED, P_CONFUSED_RATE };
enum { ORDER_UP, ORDER_DOWN };

static const struct param params[] = {
    {"length_min", PARAM_INT, "4", 1, MAX_LENGTH, NULL, "Shortest list.", NULL},
    {"length_max", PARAM_INT, "8", 1, MAX_LENGTH, NULL, "Longest list.", NULL},
    {"symbols", PARAM_INT, "10", 2, 36, NULL, "Symbols to sort: the first so many of 0-9 and a-z.", "digits=0"},
    {"digits", PARAM_INT, "0", 0, MAX_DIGITS, NULL,
     "Sort numbers of up to so many digits, separated by spaces; 0: symbols.", NULL},
    {"order", PARAM_CHOICE, "up", 0, 0, "up|down", "Smallest first or largest first.", NULL},
    {"separator", PARAM_TEXT, "=", 0, 0, NULL, "What ends a prompt; may be empty.", NULL},
    {"unsorted", PARAM_NUMBER, "0", 0, 1, NULL, "Teacher: share of texts that repeat the list as it is.", NULL},
    {"confused", PARAM_NUMBER, "0", 0, 1, NULL,
     "Teacher: share of pairs of neighbours (3 and 4) that it has learned the wrong way round.", NULL},
    {"confused_rate", PARAM_NUMBER, "0.6", 0, 1, NULL, "Teacher: how often it sorts such a pair wrongly.",
     "confused!=0"},
    {0}};

static const char symbol[] = "0123456789abcdefghijklmnopqrstuvwxyz";

enum { SEED_PAIR = 11 }; /* which pairs are confused: the same for all runs */

struct list {
    int n, value[MAX_LENGTH + 1]; /* one more: too many is not the same as just enough */
};

static int knob(const struct task *t, int p)
{
    return (int)t->value[p].num;
}

/* Values are 0 to range - 1. */
static int range_of(const struct task *t)
{
    int range = 1;
    for (int i = 0; i < knob(t, P_DIGITS); i++)
        range *= 10;
    return knob(t, P_DIGITS) ? range : knob(t, P_SYMBOLS);
}

static const char *separator_of(const struct task *t)
{
    return t->value[P_SEPARATOR].text ? t->value[P_SEPARATOR].text : "";
}

static void write_list(const struct task *t, const struct list *l, struct text *out)
{
    for (int i = 0; i < l->n; i++)
        if (knob(t, P_DIGITS))
            text_addf(out, "%s%d", i ? " " : "", l->value[i]);
        else
            text_add(out, &symbol[l->value[i]], 1);
}

/* A number without sign or leading zeros, or a symbol, below `range`. Returns the bytes used, 0 for none. */
static int scan_value(const struct task *t, const char *s, int len, int *value)
{
    int n = 0, range = range_of(t);
    if (!knob(t, P_DIGITS)) {
        const char *at = len ? memchr(symbol, s[0], (size_t)range) : NULL;
        *value = at ? (int)(at - symbol) : 0;
        return at != NULL;
    }
    for (*value = 0; n < len && n <= MAX_DIGITS && s[n] >= '0' && s[n] <= '9'; n++)
        *value = 10 * *value + (s[n] - '0');
    return (n > 1 && s[0] == '0') || *value >= range ? 0 : n;
}

/* The list that fills the text, exactly as write_list writes it; -1: it is none, or longer than any. */
static int read_list(const struct task *t, const char *s, int len, struct list *l)
{
    int at = 0, n;
    for (l->n = 0; at < len; at += n) {
        if (l->n && knob(t, P_DIGITS) && s[at++] != ' ')
            return -1;
        if (l->n == MAX_LENGTH || !(n = scan_value(t, s + at, len - at, &l->value[l->n])))
            return -1;
        l->n++;
    }
    return l->n ? 0 : -1;
}

/* A value as people may write it: a number with zeros in front; one that is too large for any list is -1. */
static int find_value(const struct task *t, const char *s, int len, int *value)
{
    int n = 0, zeros = 0;
    if (!knob(t, P_DIGITS))
        return scan_value(t, s, len, value);
    while (n < len && isdigit((unsigned char)s[n]))
        n++;
    while (zeros + 1 < n && s[zeros] == '0')
        zeros++;
    if (n && scan_value(t, s + zeros, n - zeros, value) != n - zeros)
        *value = -1;
    return n;
}

/* The list anywhere: values in the order they stand in, whatever lies between them, up to the end of the first line
 * that has any. */
static void find_list(const struct task *t, const char *s, int len, struct list *l)
{
    l->n = 0;
    for (int at = 0, n; at < len && l->n <= MAX_LENGTH && !(l->n && s[at] == '\n'); at += n ? n : 1)
        if ((n = find_value(t, s + at, len - at, &l->value[l->n])))
            l->n++;
}

/* ---- items */

static void draw_prompt(const struct task *t, struct rng r, struct text *out)
{
    struct list l;
    int least = knob(t, P_LENGTH_MIN), range = range_of(t);
    l.n = least + rng_below(r, 0, knob(t, P_LENGTH_MAX) - least + 1);
    for (int i = 0; i < l.n; i++)
        l.value[i] = rng_below(r, 1 + (uint64_t)i, range);
    write_list(t, &l, out);
    text_add(out, separator_of(t), -1);
}

/* Sort by key[value], largest first when down; equal keys keep their order. */
static void sort(struct list *l, const int *key, int down)
{
    for (int i = 1; i < l->n; i++)
        for (int k = i; k > 0; k--) {
            int a = l->value[k - 1], b = l->value[k], x = key ? key[a] : a, y = key ? key[b] : b;
            if (down ? x >= y : x <= y)
                break;
            l->value[k - 1] = b;
            l->value[k] = a;
        }
}

static void make(const struct task *t, enum split split, uint64_t index, struct item *out)
{
    struct list l;
    out->split = split;
    out->index = index;
    task_draw(t, split, index, draw_prompt, &out->prompt);
    read_list(t, out->prompt.s, out->prompt.len - (int)strlen(separator_of(t)), &l);
    text_clear(&out->extra);
    sort(&l, NULL, knob(t, P_ORDER) == ORDER_DOWN);
    text_clear(&out->answer);
    write_list(t, &l, &out->answer);
}

/* What may follow a list: text that is no part of one. The characters of all texts become the alphabet. */
static int open(struct task *t, struct error *e)
{
    const char *separator = separator_of(t);
    int length = knob(t, P_LENGTH_MAX), digits = knob(t, P_DIGITS);
    struct text *alphabet = t->state = mem_alloc(1, sizeof *alphabet);
    if (knob(t, P_LENGTH_MIN) > length)
        return fail(e, "length_min = %d is above length_max = %d", knob(t, P_LENGTH_MIN), length);
    if (digits && t->value[P_CONFUSED].num > 0)
        return fail(e, "confused is for symbols; set digits = 0 or confused = 0");
    text_add(alphabet, symbol, digits ? 10 : knob(t, P_SYMBOLS));
    if (digits)
        text_add(alphabet, " ", 1);
    for (const char *c = separator; *c; c++) {
        if (isalnum((unsigned char)*c) || *c == ' ')
            return fail(e, "separator = \"%s\": letters, digits and spaces could belong to the list", separator);
        if ((unsigned char)*c > 126)
            return fail(e, "separator: byte 0x%02x is not ASCII", (unsigned char)*c);
        if (!strchr(alphabet->s, *c))
            text_add(alphabet, c, 1);
    }
    t->alphabet = alphabet->s;
    t->longest_gold = length * (digits ? digits + 1 : 1);
    t->longest_prompt = t->longest_gold + (int)strlen(separator);
    return task_check_splits(t, draw_prompt, "raise length_max or the number of symbols", e);
}

static void close(struct task *t)
{
    if (t->state)
        text_free(t->state);
    mem_free(t->state);
}

/* ---- the teacher */

/* Whether the teacher has learned k and k + 1 the wrong way round. No symbol is in two such pairs. */
static int confused(const struct task *t, int k)
{
    int before = k > 0 && confused(t, k - 1);
    uint64_t h = hash_bytes(&k, sizeof k, SEED_PAIR);
    return !before && (double)(h >> 11) * 0x1p-53 < t->value[P_CONFUSED].num;
}

static void gold(const struct task *t, const struct item *it, struct rng r, struct text *out)
{
    enum { UNSORTED, PAIRS }; /* positions of draws */
    struct list l;
    int key[sizeof symbol];
    text_clear(out);
    read_list(t, it->prompt.s, it->prompt.len - (int)strlen(separator_of(t)), &l);
    for (int k = 0; k < (int)sizeof symbol; k++)
        key[k] = k;
    for (int k = 0; t->value[P_CONFUSED].num > 0 && k + 1 < knob(t, P_SYMBOLS); k++)
        if (confused(t, k) && rng_uniform(r, PAIRS + (uint64_t)k) < t->value[P_CONFUSED_RATE].num) {
            key[k] = k + 1;
            key[k + 1] = k;
        }
    if (rng_uniform(r, UNSORTED) >= t->value[P_UNSORTED].num)
        sort(&l, knob(t, P_DIGITS) ? NULL : key, knob(t, P_ORDER) == ORDER_DOWN);
    write_list(t, &l, out);
}

/* ---- the verifier */

/* Strict: the sorted list and nothing else. Lenient: its values wherever they stand in the first line that has any. */
static void check(const struct task *t, const struct item *it, const char *response, int len, enum verdict *strict,
                  enum verdict *lenient)
{
    struct list l, truth;
    int same = len == it->answer.len && !memcmp(response, it->answer.s, (size_t)len);
    *strict = same ? VERDICT_RIGHT : read_list(t, response, len, &l) ? VERDICT_UNPARSABLE : VERDICT_WRONG;
    find_list(t, response, len, &l);
    read_list(t, it->answer.s, it->answer.len, &truth);
    same = l.n == truth.n && !memcmp(l.value, truth.value, (size_t)l.n * sizeof *l.value);
    *lenient = same ? VERDICT_RIGHT : l.n ? VERDICT_WRONG : VERDICT_UNPARSABLE;
}

const struct task_row task_sort = {
    .name = "sort",
    .sentence = "Sort symbols or numbers, up or down, after a teacher that confuses some of them.",
    .params = params,
    .open = open,
    .close = close,
    .alphabet = "",
    .make = make,
    .gold = gold,
    .check = check,
};
