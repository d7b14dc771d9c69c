/* A pretrained story model has to use two given words, in order. It already writes sentences; what is learned is to
 * steer them. No gold text and no steps: only the outcome.
 *
 * Two forms. One fixed pair behind one fixed prompt: a single item, for a first look. Or all ordered pairs of a list of
 * nouns, named by the opening of the prompt, where one pair in ten is held out by its hash, so that following an
 * opening that was never trained on can be measured. Not a judge of quality: a policy that repeats "dog park" is right,
 * which is what the KL penalty is there for. */
#include "task.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { P_WORDS, P_PAIRS, P_NOUNS, P_OPENING, P_START };
enum { MAX_WORD = 32, MAX_WORDS = 64 };

static const struct param params[] = {
    {"words", PARAM_TEXT, "dog,park", 0, 0, NULL, "The two words, separated by a comma.", "pairs=false"},
    {"pairs", PARAM_BOOL, "false", 0, 0, NULL, "All ordered pairs of the nouns instead of one fixed pair.", NULL},
    {"nouns", PARAM_TEXT, "dog,cat,bird,ball,tree,park,car,boat,hat,fish", 0, 0, NULL,
     "The nouns that pairs are made of, separated by commas.", "pairs=true"},
    {"opening", PARAM_BOOL, "false", 0, 0, NULL,
     "Name the words in the prompt: \"The dog and the park.\" before the start; pairs need it.", NULL},
    {"start", PARAM_TEXT, "Once upon a time", 0, 0, NULL, "How the story begins.", NULL},
    {0}};

struct pair {
    char first[MAX_WORD], second[MAX_WORD];
    uint64_t order; /* pairs of a split are met in the order of this hash, so that neighbours share no noun */
};
struct stories {
    struct pair *pair[2]; /* by split, t->size[split] of them */
};

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The words of "a, b,c" into word[]; returns their number, at least two, all different. */
static int split_words(const char *key, const char *s, char word[MAX_WORDS][MAX_WORD], struct error *e)
{
    int n = 0;
    for (const char *at = s; at; n++) {
        at += strspn(at, " ");
        int len = 0;
        while (is_letter(at[len]))
            len++;
        const char *end = at + len + strspn(at + len, " ");
        if (len == 0 || len >= MAX_WORD || (*end && *end != ','))
            return fail(e, "%s = %s: words of letters (at most %d), separated by commas, are needed", key, s,
                        MAX_WORD - 1);
        if (n == MAX_WORDS)
            return fail(e, "%s has more than %d words", key, MAX_WORDS);
        snprintf(word[n], MAX_WORD, "%.*s", len, at);
        for (int i = 0; i < n; i++)
            if (!strcasecmp(word[i], word[n]))
                return fail(e, "%s = %s: '%s' stands there twice", key, s, word[n]);
        at = *end ? end + 1 : NULL;
    }
    return n < 2 ? fail(e, "%s = %s: at least two words are needed", key, s) : n;
}

static void write_prompt(const struct task *t, const struct pair *p, struct text *out)
{
    text_clear(out);
    if (t->value[P_OPENING].num != 0)
        text_addf(out, "The %s and the %s. ", p->first, p->second);
    text_add(out, t->value[P_START].text, -1);
}

static int by_order(const void *a, const void *b)
{
    uint64_t x = ((const struct pair *)a)->order, y = ((const struct pair *)b)->order;
    return (x > y) - (x < y);
}

/* Every ordered pair of the n words into its split. */
static void deal_pairs(struct task *t, struct stories *s, char word[MAX_WORDS][MAX_WORD], int n)
{
    struct text prompt = {0};
    for (int split = 0; split < 2; split++)
        s->pair[split] = mem_alloc((size_t)n * (size_t)n, sizeof(struct pair));
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            struct pair p = {0};
            if (i == k)
                continue;
            memcpy(p.first, word[i], MAX_WORD);
            memcpy(p.second, word[k], MAX_WORD);
            write_prompt(t, &p, &prompt);
            p.order = hash_bytes(prompt.s, prompt.len, 1);
            enum split split = task_split(prompt.s, prompt.len);
            s->pair[split][t->size[split]++] = p;
            t->longest_prompt = prompt.len > t->longest_prompt ? prompt.len : t->longest_prompt;
        }
    for (int split = 0; split < 2; split++)
        qsort(s->pair[split], t->size[split], sizeof(struct pair), by_order);
    text_free(&prompt);
}

/* One prompt cannot be split: training and test are the same item. */
static void deal_one(struct task *t, struct stories *s, char word[MAX_WORDS][MAX_WORD])
{
    struct text prompt = {0};
    for (int split = 0; split < 2; split++) {
        struct pair *p = s->pair[split] = mem_alloc(1, sizeof *p);
        memcpy(p->first, word[0], MAX_WORD);
        memcpy(p->second, word[1], MAX_WORD);
        t->size[split] = 1;
        write_prompt(t, p, &prompt);
    }
    t->longest_prompt = prompt.len;
    text_free(&prompt);
}

static int open(struct task *t, struct error *e)
{
    char word[MAX_WORDS][MAX_WORD];
    int pairs = t->value[P_PAIRS].num != 0;
    const char *key = pairs ? "nouns" : "words", *list = t->value[pairs ? P_NOUNS : P_WORDS].text;
    if (!t->value[P_START].text || !t->value[P_START].text[0])
        return fail(e, "start is empty; a story needs some words to begin with");
    if (pairs && t->value[P_OPENING].num == 0)
        return fail(e, "pairs = true needs opening = true: otherwise no prompt says which words are wanted");
    int n = split_words(key, list ? list : "", word, e);
    if (n < 0)
        return -1;
    if (!pairs && n != 2)
        return fail(e, "words = %s: exactly two words are needed", list);
    struct stories *s = t->state = mem_alloc(1, sizeof *s);
    if (!pairs) {
        deal_one(t, s, word);
        return 0;
    }
    deal_pairs(t, s, word, n);
    if (!t->size[SPLIT_TEST] || !t->size[SPLIT_TRAIN])
        return fail(e, "of %d nouns no pair is held out for the test; give more", n);
    return 0;
}

static void close(struct task *t)
{
    struct stories *s = t->state;
    if (s) {
        mem_free(s->pair[0]);
        mem_free(s->pair[1]);
    }
    mem_free(s);
}

static void make(const struct task *t, enum split split, uint64_t index, struct item *out)
{
    const struct stories *s = t->state;
    const struct pair *p = &s->pair[split][index % t->size[split]];
    out->split = split;
    out->index = index;
    write_prompt(t, p, &out->prompt);
    text_clear(&out->answer);
    text_addf(&out->answer, "%s,%s", p->first, p->second);
    text_clear(&out->extra);
    text_add(&out->extra, out->answer.s, out->answer.len);
}

static int same_word(const char *a, const char *b, int len)
{
    for (int i = 0; i < len; i++)
        if (lower(a[i]) != lower(b[i]))
            return 0;
    return 1;
}

/* Words are runs of ASCII letters; anything else, the bytes of other scripts and of curly quotes too, lies between
 * them. */
static void check(const struct task *t, const struct item *it, const char *response, int len, enum verdict *strict,
                  enum verdict *lenient)
{
    (void)t;
    const char *comma = strchr(it->extra.s, ',');
    const char *word[2] = {it->extra.s, comma + 1};
    int size[2] = {(int)(comma - it->extra.s), (int)strlen(comma + 1)}, seen[2] = {0}, ordered = 0;
    for (int start = 0, end; start < len; start = end + (end == start)) {
        for (end = start; end < len && is_letter(response[end]);)
            end++;
        for (int k = 0; k < 2; k++)
            if (end - start == size[k] && same_word(response + start, word[k], size[k])) {
                seen[k] = 1;
                ordered |= k == 1 && seen[0];
            }
    }
    *strict = len == 0 ? VERDICT_UNPARSABLE : ordered ? VERDICT_RIGHT : VERDICT_WRONG;
    *lenient = len == 0 ? VERDICT_UNPARSABLE : seen[0] && seen[1] ? VERDICT_RIGHT : VERDICT_WRONG;
}

const struct task_row task_stories = {
    .name = "stories",
    .sentence = "A pretrained story model has to use two given words in order.",
    .params = params,
    .open = open,
    .close = close,
    .make = make,
    .check = check,
};
