/* Digit completion: continue an arithmetic progression modulo 9. The prompt "8,0:9,2=" gives two numbers, the modulus
 * and how many numbers to add: the answer is "1,2". With 0 to add the answer is empty: nothing but the end of the
 * sequence. Small enough for a policy that starts from random weights without any warm-up, when partial answers earn
 * something: see rewards/score/prefix.c.
 *
 * The rules are those of the end-to-end check in TinyZero (Jiayi-Pan/TinyZero, after verl): first number 0 to 9,
 * difference 0 to 9, count 0 to 9, all thousand combinations. Differences 0 and 9 are the same prompt, so some prompts
 * stand there twice; its random split puts some of them on both sides. Here the split goes by the hash of the prompt,
 * one in five, so training and test share none. */
#include "task.h"
#include <stdlib.h>
#include <string.h>

enum { MOD = 9, FIRSTS = 10, DIFFERENCES = 10, COUNTS = 10, ITEMS = FIRSTS * DIFFERENCES * COUNTS };
enum { HELD_OUT = 5 }; /* one prompt in so many */

static const struct param params[] = {{0}};

struct digits {
    short item[2][ITEMS]; /* combinations of a split: first * 100 + difference * 10 + count */
};

static void write_prompt(int combination, struct text *out)
{
    int first = combination / 100, difference = combination / 10 % 10, count = combination % 10;
    text_clear(out);
    text_addf(out, "%d,%d:%d,%d=", first, (first + difference) % MOD, MOD, count);
}

static int open(struct task *t, struct error *e)
{
    struct digits *d = t->state = mem_alloc(1, sizeof *d);
    struct text prompt = {0};
    (void)e;
    for (int i = 0; i < ITEMS; i++) {
        write_prompt(i, &prompt);
        uint64_t h = hash_bytes(prompt.s, prompt.len, 0x646967697473);
        enum split split = h % HELD_OUT == 0 ? SPLIT_TEST : SPLIT_TRAIN;
        d->item[split][t->size[split]++] = (short)i;
        t->longest_prompt = prompt.len > t->longest_prompt ? prompt.len : t->longest_prompt;
    }
    t->longest_gold = 2 * (COUNTS - 1) - 1;
    text_free(&prompt);
    return 0;
}

static void close(struct task *t)
{
    mem_free(t->state);
}

static void make(const struct task *t, enum split split, uint64_t index, struct item *out)
{
    const struct digits *d = t->state;
    int combination = d->item[split][index % t->size[split]], count = combination % 10;
    int first = combination / 100, last = (first + combination / 10 % 10) % MOD, step = (last - first + MOD) % MOD;
    out->split = split;
    out->index = index;
    write_prompt(combination, &out->prompt);
    text_clear(&out->extra);
    text_clear(&out->answer);
    text_add(&out->answer, "", 0); /* also the empty answer has a terminator */
    for (int i = 0; i < count; i++) {
        last = (last + step) % MOD;
        text_addf(&out->answer, "%s%d", i ? "," : "", last);
    }
}

static void gold(const struct task *t, const struct item *it, struct rng r, struct text *out)
{
    (void)t;
    (void)r;
    text_clear(out);
    text_add(out, it->answer.s, it->answer.len);
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits with a comma between each two, or nothing at all. */
static int well_formed(const char *s, int len)
{
    for (int i = 0; i < len; i++)
        if (i % 2 ? s[i] != ',' : !is_digit(s[i]))
            return 0;
    return len == 0 || len % 2 == 1;
}

/* Strict: the numbers and then the end. Lenient: the response begins with the numbers, which is all that the published
 * reward looks at; it is unparsable when there is no number at its beginning although one is asked for. */
static void check(const struct task *t, const struct item *it, const char *response, int len, enum verdict *strict,
                  enum verdict *lenient)
{
    (void)t;
    int n = it->answer.len, begins = len >= n && !memcmp(response, it->answer.s, (size_t)n);
    *strict = begins && len == n ? VERDICT_RIGHT : well_formed(response, len) ? VERDICT_WRONG : VERDICT_UNPARSABLE;
    *lenient = begins ? VERDICT_RIGHT : len && is_digit(response[0]) ? VERDICT_WRONG : VERDICT_UNPARSABLE;
}

/* Each leading byte that continues the right answer earns 1 / (L + 1): the published reward of a whole response, whose
 * mean over the items cannot exceed .76. */
static double partial(const struct task *t, const struct item *it, const char *response, int len)
{
    (void)t;
    int n = 0;
    while (n < it->answer.len && n < len && it->answer.s[n] == response[n])
        n++;
    return n / (it->answer.len + 1.0);
}

const struct task_row task_digits = {
    .name = "digits",
    .sentence = "Continue a progression of digits modulo 9; partial answers can earn something, so no warm-up is "
                "needed.",
    .params = params,
    .open = open,
    .close = close,
    .alphabet = "0123456789,:=",
    .make = make,
    .gold = gold,
    .check = check,
    .partial = partial,
};
