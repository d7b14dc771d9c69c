/* Counting a letter in a word, the beginner's recipe of verl. The prompt "How many n are there in word n-i-n-e?" is
 * worked one line a letter and answered in a box:
 *
 *     n = n.
 *     i != n.
 *     n = n.
 *     e != n.
 *     \boxed{2} n in n-i-n-e.
 *
 * Words are made up: the letter asked for, 1 to all places of the word, the others drawn evenly, shuffled. Every line
 * has an oracle. The teacher can be made to miscount, always in the same direction. */
#include "task.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LENGTH = 64 };
enum { P_LENGTH_MIN, P_LENGTH_MAX, P_BARE, P_MISCOUNT, P_MISCOUNT_FROM };

static const struct param params[] = {
    {"length_min", PARAM_INT, "5", 1, MAX_LENGTH, NULL, "Fewest letters of a word.", NULL},
    {"length_max", PARAM_INT, "20", 1, MAX_LENGTH, NULL, "Most letters of a word.", NULL},
    {"bare", PARAM_NUMBER, "0", 0, 1, NULL, "Teacher: share of texts without working, only the (right) answer.", NULL},
    {"miscount", PARAM_NUMBER, "0", 0, 1, NULL,
     "Teacher: share of texts whose count is one too low although every line is right.", NULL},
    {"miscount_from", PARAM_INT, "5", 2, MAX_LENGTH, NULL, "Teacher: it only miscounts so many letters and more.",
     "miscount!=0"},
    {0}};

static const char before_letter[] = "How many ", before_word[] = " are there in word ";

static int knob(const struct task *t, int p)
{
    return (int)t->value[p].num;
}

/* ---- items */

static void draw_prompt(const struct task *t, struct rng r, struct text *out)
{
    enum { LENGTH, COUNT, LETTER, OTHERS, SHUFFLE = OTHERS + MAX_LENGTH }; /* positions of draws */
    char word[MAX_LENGTH], letter = (char)('a' + rng_below(r, LETTER, 26));
    int least = knob(t, P_LENGTH_MIN), n = least + rng_below(r, LENGTH, knob(t, P_LENGTH_MAX) - least + 1);
    int count = 1 + rng_below(r, COUNT, n);
    for (int i = 0; i < n; i++)
        word[i] = i < count ? letter : (char)('a' + (letter - 'a' + 1 + rng_below(r, OTHERS + (uint64_t)i, 25)) % 26);
    for (int i = n - 1; i > 0; i--) {
        int k = rng_below(r, SHUFFLE + (uint64_t)i, i + 1);
        char c = word[i];
        word[i] = word[k];
        word[k] = c;
    }
    text_addf(out, "%s%c%s", before_letter, letter, before_word);
    for (int i = 0; i < n; i++)
        text_addf(out, "%s%c", i ? "-" : "", word[i]);
    text_add(out, "?", 1);
}

/* The prompt is our own text: the letter asked for and the word, whose letters stand at every second byte. */
static const char *word_of(const struct item *it, char *letter, int *letters)
{
    int at = (int)sizeof before_letter - 1;
    *letter = it->prompt.s[at];
    at += 1 + (int)sizeof before_word - 1;
    *letters = (it->prompt.len - at) / 2;
    return it->prompt.s + at;
}

static void make(const struct task *t, enum split split, uint64_t index, struct item *out)
{
    char letter;
    int n, count = 0;
    out->split = split;
    out->index = index;
    task_draw(t, split, index, draw_prompt, &out->prompt);
    const char *word = word_of(out, &letter, &n);
    for (int i = 0; i < n; i++)
        count += word[2 * i] == letter;
    text_clear(&out->extra);
    text_clear(&out->answer);
    text_addf(&out->answer, "%d", count);
}

static int open(struct task *t, struct error *e)
{
    int most = knob(t, P_LENGTH_MAX);
    if (knob(t, P_LENGTH_MIN) > most)
        return fail(e, "length_min = %d is above length_max = %d", knob(t, P_LENGTH_MIN), most);
    t->longest_prompt = (int)(sizeof before_letter - 1 + 1 + sizeof before_word - 1) + 2 * most;
    t->longest_gold = most * (int)strlen("i != n.\n") + (int)strlen("\\boxed{64} n in .") + 2 * most;
    return 0;
}

/* ---- the teacher */

static void gold(const struct task *t, const struct item *it, struct rng r, struct text *out)
{
    enum { BARE, MISCOUNT }; /* positions of draws */
    char letter;
    int n, count = (int)strtol(it->answer.s, NULL, 10), bare = rng_uniform(r, BARE) < t->value[P_BARE].num;
    const char *word = word_of(it, &letter, &n);
    text_clear(out);
    for (int i = 0; i < n && !bare; i++)
        text_addf(out, "%c %s %c.\n", word[2 * i], word[2 * i] == letter ? "=" : "!=", letter);
    if (!bare && count >= knob(t, P_MISCOUNT_FROM) && rng_uniform(r, MISCOUNT) < t->value[P_MISCOUNT].num)
        count--;
    text_addf(out, "\\boxed{%d} %c in %.*s.", count, letter, 2 * n - 1, word);
}

/* ---- the verifier */

/* What stands in the last \boxed{...} whose brace is closed; NULL: there is none. */
static const char *last_box(const char *s, int len, int *content)
{
    static const char opening[] = "\\boxed{";
    int n = (int)sizeof opening - 1;
    const char *close = NULL;
    for (int at = len - 1; at >= 0; at--) {
        if (s[at] == '}')
            close = s + at;
        if (close && s[at] == '\\' && at + n <= len && !memcmp(s + at, opening, (size_t)n)) {
            *content = (int)(close - (s + at + n));
            return s + at + n;
        }
    }
    return NULL;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The last number of the text, zeros in front ignored, compared with the truth. */
static enum verdict last_number(const char *s, int len, const struct text *truth)
{
    while (len && !is_digit(s[len - 1]))
        len--;
    int start = len;
    while (start && is_digit(s[start - 1]))
        start--;
    if (start == len)
        return VERDICT_UNPARSABLE;
    while (start < len - 1 && s[start] == '0')
        start++;
    return len - start == truth->len && !memcmp(s + start, truth->s, (size_t)truth->len) ? VERDICT_RIGHT
                                                                                         : VERDICT_WRONG;
}

/* Strict: the content of the last box, to the letter, as the published reward compares it. Lenient: the number in that
 * box, else the last number of the text. */
static void check(const struct task *t, const struct item *it, const char *response, int len, enum verdict *strict,
                  enum verdict *lenient)
{
    (void)t;
    int n = 0;
    const char *box = last_box(response, len, &n);
    int same = box && n == it->answer.len && !memcmp(box, it->answer.s, (size_t)n);
    *strict = !box ? VERDICT_UNPARSABLE : same ? VERDICT_RIGHT : VERDICT_WRONG;
    *lenient = box ? last_number(box, n, &it->answer) : VERDICT_UNPARSABLE;
    if (*lenient == VERDICT_UNPARSABLE)
        *lenient = last_number(response, len, &it->answer);
}

/* ---- steps: lines */

/* Begins as a comparison or as an answer does. */
static int is_step(const char *s, int len)
{
    if (len && s[0] == '\\')
        return 1;
    return len > 3 && s[0] >= 'a' && s[0] <= 'z' && s[1] == ' ' && (s[2] == '=' || (s[2] == '!' && s[3] == '='));
}

/* Line k is right when it is, byte for byte, what a perfect teacher writes there: the comparison of letter k, or after
 * the last letter the answer. */
static enum verdict check_step(const struct task *t, const struct item *it, const char *response, int len,
                               const struct step *s, int n, int k)
{
    (void)t;
    (void)len;
    (void)n;
    char want[2 * MAX_LENGTH + 64], letter;
    int letters, size = s[k].end - s[k].start;
    const char *word = word_of(it, &letter, &letters), *line = response + s[k].start;
    if (k < letters)
        snprintf(want, sizeof want, "%c %s %c.\n", word[2 * k], word[2 * k] == letter ? "=" : "!=", letter);
    else
        snprintf(want, sizeof want, "\\boxed{%s} %c in %.*s.", it->answer.s, letter, 2 * letters - 1, word);
    if (k <= letters && size == (int)strlen(want) && !memcmp(line, want, (size_t)size))
        return VERDICT_RIGHT;
    return is_step(line, size) ? VERDICT_WRONG : VERDICT_UNPARSABLE;
}

const struct task_row task_count = {
    .name = "count",
    .sentence = "How often does a letter occur in a word? Worked letter by letter, with an oracle for every line.",
    .params = params,
    .open = open,
    .alphabet = "abcdefghijklmnopqrstuvwxyzH0123456789 -?=!.\n\\{}",
    .make = make,
    .gold = gold,
    .check = check,
    .steps = task_lines,
    .check_step = check_step,
};
