/* The small tasks digits, count and sort: items against rules worked out here, verdicts on texts written by hand,
 * teachers measured against their knobs, hostile text. What holds for all tasks is in test_tasks.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../data/task.h"
#include "../dev/verbs/session.h"
#include "../model/base/clock.h"
#include "../model/base/file.h"
/* last: they need the headers above, and cmocka's macro fail() would change ours */
#include <cmocka.h>
#include "tasks.h"

struct verdicts {
    const char *response;
    int strict, lenient;
};

static struct item item_of(const char *prompt, const char *answer)
{
    struct item it = {0};
    text_add(&it.prompt, prompt, -1);
    text_add(&it.answer, answer, -1);
    return it;
}

static void expect_verdicts(const struct task *t, const char *prompt, const char *answer, const struct verdicts *v,
                            int n)
{
    struct item it = item_of(prompt, answer);
    for (int i = 0; i < n; i++) {
        enum verdict strict, lenient;
        t->row->check(t, &it, v[i].response, (int)strlen(v[i].response), &strict, &lenient);
        if ((int)strict != v[i].strict || (int)lenient != v[i].lenient)
            fail_msg("%s '%s': %d %d, not %d %d", prompt, v[i].response, strict, lenient, v[i].strict, v[i].lenient);
    }
    item_free(&it);
}
#define VERDICTS(t, prompt, answer, ...)                                                                               \
    expect_verdicts(t, prompt, answer, (const struct verdicts[]){__VA_ARGS__},                                         \
                    (int)(sizeof((const struct verdicts[]){__VA_ARGS__}) / sizeof(struct verdicts)))

/* Prompts of `train` training items are none of those of `test` test items; the texts stay within what was promised. */
static void expect_disjoint(struct task *t, int train, int test)
{
    struct item it = {0};
    char **held_out = mem_alloc((size_t)test, sizeof *held_out);
    for (int i = 0; i < test; i++) {
        t->row->make(t, SPLIT_TEST, (uint64_t)i, &it);
        assert_true(it.prompt.len <= t->longest_prompt);
        held_out[i] = mem_strdup(it.prompt.s);
    }
    qsort(held_out, (size_t)test, sizeof *held_out, by_text);
    for (int i = 0; i < train; i++) {
        t->row->make(t, SPLIT_TRAIN, (uint64_t)i, &it);
        assert_true(it.prompt.len <= t->longest_prompt);
        assert_null(bsearch(&it.prompt.s, held_out, (size_t)test, sizeof *held_out, by_text));
    }
    for (int i = 0; i < test; i++)
        mem_free(held_out[i]);
    mem_free(held_out);
    item_free(&it);
}

/* The same item from fresh and from used memory and from a task opened again; teachers' texts fit into what was
 * promised and use the alphabet only. Returns the share of texts that the strict verifier calls right. */
static double expect_pure(const char *name, const char *const *set, int items)
{
    struct task a, b;
    struct item x = {0}, used = {0};
    struct text text = {0};
    int right = 0;
    open_task(&a, name, set);
    open_task(&b, name, set);
    for (int i = 0; i < items; i++) {
        enum split split = (enum split)(i % 2);
        enum verdict strict, lenient;
        a.row->make(&a, split, (uint64_t)i, &x);
        b.row->make(&b, (enum split)(1 - split), (uint64_t)(3 * i), &used);
        b.row->make(&b, split, (uint64_t)i, &used);
        assert_string_equal(x.prompt.s, used.prompt.s);
        assert_string_equal(x.answer.s, used.answer.s);
        a.row->gold(&a, &x, rng_stream(9, RNG_TEACHER, 0, (uint64_t)i, 0), &text);
        assert_true(text.len <= a.longest_gold);
        assert_int_equal(strspn(x.prompt.s, a.alphabet), x.prompt.len);
        assert_int_equal(text.len ? strspn(text.s, a.alphabet) : 0, text.len);
        a.row->check(&a, &x, text.s, text.len, &strict, &lenient);
        assert_true(strict != VERDICT_UNPARSABLE && (strict != VERDICT_RIGHT || lenient == VERDICT_RIGHT));
        right += strict == VERDICT_RIGHT;
    }
    text_free(&text);
    item_free(&x);
    item_free(&used);
    task_close(&a);
    task_close(&b);
    return (double)right / items;
}

/* A quarter of a megabyte of any one thing is judged at once, without harm, and is never right. */
static void expect_robust(const struct task *t, const char *prompt, const char *answer, const char *const *units)
{
    enum { LEN = 1 << 18 };
    struct item it = item_of(prompt, answer);
    char *s = mem_alloc(LEN, 1);
    struct step step[64];
    double start = clock_now();
    for (; *units; units++) {
        enum verdict strict, lenient;
        for (int i = 0, n = (int)strlen(*units); i < LEN; i++)
            s[i] = (*units)[i % n];
        t->row->check(t, &it, s, LEN, &strict, &lenient);
        if (strict == VERDICT_RIGHT || lenient == VERDICT_RIGHT)
            fail_msg("a long run of '%s' is right", *units);
        for (int k = 0, n = t->row->steps ? t->row->steps(t, &it, s, LEN, step, 64) : 0; k < n; k++)
            assert_true(t->row->check_step(t, &it, s, LEN, step, n, k) != VERDICT_RIGHT);
    }
    if (clock_now() - start > 5)
        fail_msg("judging took %.1f s", clock_now() - start);
    enum verdict strict, lenient;
    memset(s, 0, LEN);
    t->row->check(t, &it, s, LEN, &strict, &lenient);
    assert_true(strict == VERDICT_UNPARSABLE && lenient == VERDICT_UNPARSABLE);
    mem_free(s);
    item_free(&it);
}

/* ---- digits */

static void test_digits_items(void **state)
{
    (void)state;
    static int times[10][10][10]; /* by first number, second number, count */
    struct task t;
    struct item it = {0};
    double attainable = 0;
    open_task(&t, "digits", DEFAULTS);
    assert_int_equal(t.size[SPLIT_TRAIN] + t.size[SPLIT_TEST], 1000);
    assert_true(t.size[SPLIT_TEST] > 150 && t.size[SPLIT_TEST] < 250); /* a fifth, give or take four deviations */
    for (int split = 0; split < 2; split++)
        for (uint64_t i = 0; i < t.size[split]; i++) {
            int a, b, count, used, last, at = 0;
            t.row->make(&t, (enum split)split, i, &it);
            assert_int_equal(sscanf(it.prompt.s, "%d,%d:9,%d=%n", &a, &b, &count, &used), 3);
            assert_int_equal(used, it.prompt.len);
            times[a][b][count]++;
            last = b;
            for (int k = 0; k < count; k++) {
                last = (last + b - a + 9) % 9;
                assert_int_equal(it.answer.s[at++], '0' + last);
                if (k < count - 1)
                    assert_int_equal(it.answer.s[at++], ',');
            }
            assert_int_equal(at, it.answer.len);
            attainable += t.row->partial(&t, &it, it.answer.s, it.answer.len);
        }
    /* every first number with every second below 9, the one at difference 0 (and 9) twice */
    for (int a = 0; a < 10; a++)
        for (int b = 0; b < 10; b++)
            for (int n = 0; n < 10; n++)
                assert_int_equal(times[a][b][n], b == 9 ? 0 : 1 + (b == a % 9));
    /* the mean over counts 0 to 9 of L / (L + 1), L = 0 and 1, 3 ... 17 */
    assert_true(fabs(attainable / 1000 -
                     (0 + 1 / 2. + 3 / 4. + 5 / 6. + 7 / 8. + 9 / 10. + 11 / 12. + 13 / 14. + 15 / 16. + 17 / 18.) /
                         10) < 1e-12);
    expect_disjoint(&t, (int)t.size[SPLIT_TRAIN], (int)t.size[SPLIT_TEST]);
    item_free(&it);
    task_close(&t);
    assert_true(expect_pure("digits", DEFAULTS, 1000) == 1);
}

static void test_digits_check(void **state)
{
    (void)state;
    struct task t;
    open_task(&t, "digits", DEFAULTS);
    VERDICTS(&t, "8,0:9,2=", "1,2", {"1,2", R, R}, {"1,2,3", W, R}, {"1,2,", U, R}, {"1,2 ", U, R}, {"1,3", W, W},
             {"1", W, W}, {"1,", U, W}, {"12", U, W}, {"", W, U}, {",", U, U}, {",1,2", U, U}, {" 1,2", U, U},
             {"1;2", U, W}, {"\xff", U, U}, {"1,2\n", U, R}, {"2,1", W, W}, {"01,2", U, W});
    VERDICTS(&t, "8,0:9,0=", "", {"", R, R}, {"1", W, R}, {",", U, R}, {"x", U, R});
    enum verdict strict, lenient;
    struct item it = item_of("8,0:9,2=", "1,2");
    t.row->check(&t, &it, "1,2,3", 3, &strict, &lenient); /* nothing beyond len is read */
    assert_true(strict == VERDICT_RIGHT && lenient == VERDICT_RIGHT);
    static const struct {
        const char *response;
        double partial;
    } part[] = {{"1,2", 3 / 4.}, {"1,2,3", 3 / 4.}, {"1,3", 2 / 4.}, {"1,", 2 / 4.},
                {"1;2", 1 / 4.}, {"2,2", 0},        {"", 0}};
    for (unsigned i = 0; i < sizeof part / sizeof *part; i++)
        assert_true(t.row->partial(&t, &it, part[i].response, (int)strlen(part[i].response)) == part[i].partial);
    item_free(&it);
    it = item_of("8,0:9,0=", "");
    assert_true(t.row->partial(&t, &it, "1", 1) == 0); /* no answer to have a part of */
    item_free(&it);
    expect_robust(&t, "8,0:9,2=", "1,2", SET("1", ",", "1,", "2,1,", "x", "\xff"));
    task_close(&t);
}

/* ---- count */

static void test_count_items(void **state)
{
    (void)state;
    struct task t;
    struct item it = {0};
    int lengths[21] = {0}, all = 0, shortest = 0;
    open_task(&t, "count", DEFAULTS);
    for (uint64_t i = 0; i < 4000; i++) {
        char letter, word[64];
        int count = 0, n = 0;
        t.row->make(&t, (enum split)(i % 2), i, &it);
        assert_int_equal(sscanf(it.prompt.s, "How many %c are there in word %63[a-z-]?", &letter, word), 2);
        assert_int_equal(strlen(word), it.prompt.len - 29 - 1); /* the words before it and the question mark */
        for (; word[2 * n]; n++) {
            count += word[2 * n] == letter;
            if (!word[2 * n + 1])
                break;
            assert_int_equal(word[2 * n + 1], '-');
        }
        n++;
        assert_true(n >= 5 && n <= 20 && count >= 1);
        lengths[n]++;
        all += count == n;
        shortest += count == 1;
        assert_int_equal(atoi(it.answer.s), count);
    }
    for (int n = 5; n <= 20; n++)
        assert_true(lengths[n] > 250 - 65 && lengths[n] < 250 + 65); /* four deviations */
    /* one letter of n, all of n: both with the mean of 1/n over 5..20, .0946 */
    assert_true(fabs(all / 4000. - .0946) < .02 && fabs(shortest / 4000. - .0946) < .02);
    expect_disjoint(&t, 5000, 1000);
    item_free(&it);
    task_close(&t);
    expect_refused("count", SET("length_min=9", "length_max=8"), "length_min = 9 is above length_max = 8");
    open_task(&t, "count", SET("length_min=1", "length_max=1")); /* 26 prompts: the fewest there can be */
    expect_disjoint(&t, 100, 20);
    task_close(&t);
}

static void test_count_teacher(void **state)
{
    (void)state;
    struct task t;
    struct text text = {0};
    struct item nine = item_of("How many n are there in word n-i-n-e?", "2"),
                five = item_of("How many a are there in word a-a-a-a-b-a?", "5");
    open_task(&t, "count", DEFAULTS);
    t.row->gold(&t, &nine, rng_stream(1, RNG_TEACHER, 0, 0, 0), &text);
    assert_string_equal(text.s, "n = n.\ni != n.\nn = n.\ne != n.\n\\boxed{2} n in n-i-n-e.");
    task_close(&t);
    open_task(&t, "count", SET("bare=1"));
    t.row->gold(&t, &nine, rng_stream(1, RNG_TEACHER, 0, 0, 0), &text);
    assert_string_equal(text.s, "\\boxed{2} n in n-i-n-e.");
    task_close(&t);
    open_task(&t, "count", SET("miscount=1", "miscount_from=5"));
    t.row->gold(&t, &nine, rng_stream(1, RNG_TEACHER, 0, 0, 0), &text);
    assert_non_null(strstr(text.s, "\\boxed{2}"));
    t.row->gold(&t, &five, rng_stream(1, RNG_TEACHER, 0, 0, 0), &text);
    assert_string_equal(text.s, "a = a.\na = a.\na = a.\na = a.\nb != a.\na = a.\n\\boxed{4} a in a-a-a-a-b-a.");
    task_close(&t);
    text_free(&text);
    item_free(&nine);
    item_free(&five);
    assert_true(expect_pure("count", DEFAULTS, 2000) == 1);
    assert_true(expect_pure("count", SET("bare=0.3", "length_max=64"), 1000) == 1);
    double right = expect_pure("count", SET("miscount=0.5", "miscount_from=2"), 4000);
    assert_true(fabs(right - (1 - .5 * (1 - .0946))) < .04); /* all but the words with a single one */
}

static void test_count_check(void **state)
{
    (void)state;
    struct task t;
    open_task(&t, "count", DEFAULTS);
    VERDICTS(&t, "How many n are there in word n-i-n-e?", "2", {"n = n.\n\\boxed{2} n in n-i-n-e.", R, R},
             {"\\boxed{2}", R, R}, {"\\boxed{3}", W, W}, {"\\boxed{3} \\boxed{2}", R, R},
             {"\\boxed{2} \\boxed{3}", W, W}, {"\\boxed{2} \\boxed{3", R, R}, {"\\boxed{ 2}", W, R},
             {"\\boxed{02}", W, R}, {"\\boxed{2.}", W, R}, {"\\boxed{two}", W, U}, {"\\boxed{}", W, U},
             {"\\boxed{} 2", W, R}, {"\\boxed{\\boxed{2}}", R, R}, {"2", U, R}, {"the answer is 2.", U, R},
             {"12", U, W}, {"", U, U}, {"\\boxed", U, U}, {"\\boxed{", U, U}, {"}", U, U}, {"boxed{2}", U, R},
             {"\\boxed{2}}", R, R}, {"\\boxed{99999999999999999999999}", W, W}, {"\xff", U, U}, {"\\boxed{20}", W, W},
             {"\\boxed{000000000000000000000000000002}", W, R});
    expect_robust(&t, "How many n are there in word n-i-n-e?", "2",
                  SET("9", "\\", "\\boxed{", "}", "{", "\\boxed{1}", "\n", "x = x.\n\n", "\xff", "\\boxed{x"));
    task_close(&t);
}

/* want: one letter a line, R W U. */
static void expect_steps(const struct task *t, const struct item *it, const char *response, const char *want)
{
    struct step s[32];
    int len = (int)strlen(response), n = t->row->steps(t, it, response, len, s, 32), at = 0;
    char got[33] = "";
    for (int k = 0; k < n; k++) {
        assert_int_equal(s[k].start, at);
        at = s[k].end;
        enum verdict v = t->row->check_step(t, it, response, len, s, n, k);
        got[k] = v == VERDICT_RIGHT ? 'R' : v == VERDICT_WRONG ? 'W' : 'U';
    }
    assert_int_equal(at, len);
    if (strcmp(got, want))
        fail_msg("'%s': lines are %s, not %s", response, got, want);
}

static void test_count_oracle(void **state)
{
    (void)state;
    struct task t;
    struct item it = item_of("How many n are there in word n-i-n-e?", "2");
    open_task(&t, "count", DEFAULTS);
    expect_steps(&t, &it, "n = n.\ni != n.\nn = n.\ne != n.\n\\boxed{2} n in n-i-n-e.", "RRRRR");
    expect_steps(&t, &it, "n = n.\ni = n.\nn = n.\ne != n.\n\\boxed{3} n in n-i-n-e.", "RWRRW");
    expect_steps(&t, &it, "n = n.\nn = n.\nn = n.\n", "RWR");
    expect_steps(&t, &it, "n = n.\ni != n.\nn = n.\ne != n.\n\\boxed{2} n in n-i-n.", "RRRRW");
    expect_steps(&t, &it, "\\boxed{2} n in n-i-n-e.", "W"); /* an answer before the word is through */
    expect_steps(&t, &it, "n = n.\n\ni != n.\nhello\n", "RUWU");
    expect_steps(&t, &it, "n = n.\ni != n.\nn = n.\ne != n.\n\\boxed{2} n in n-i-n-e.\n", "RRRRW");
    expect_steps(&t, &it, "n = n.\ni != n.\nn = n.\ne != n.\n\\boxed{2} n in n-i-n-e.\n\\boxed{2} n in n-i-n-e.",
                 "RRRRWW");
    expect_steps(&t, &it, "", "");
    item_free(&it);
    task_close(&t);
}

/* ---- sort */

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* The values of a text: numbers between blanks, or characters by their place in 0-9a-z. */
static int values_of(const char *s, int numbers, int value[64])
{
    int n = 0, used;
    for (; numbers && sscanf(s, "%d%n", &value[n], &used) == 1; s += used)
        n++;
    for (; !numbers && *s && *s != '='; s++)
        value[n++] = *s <= '9' ? *s - '0' : *s - 'a' + 10;
    return n;
}

static void expect_sorted(const char *const *set, int numbers, int down, int least, int most, int range)
{
    struct task t;
    struct item it = {0};
    int largest = 0, lengths[65] = {0};
    open_task(&t, "sort", set);
    for (uint64_t i = 0; i < 2000; i++) {
        int given[64], sorted[64];
        t.row->make(&t, (enum split)(i % 2), i, &it);
        int n = values_of(it.prompt.s, numbers, given), m = values_of(it.answer.s, numbers, sorted);
        assert_true(n == m && n >= least && n <= most);
        lengths[n]++;
        qsort(given, (size_t)n, sizeof *given, by_number);
        for (int k = 0; k < n; k++) {
            assert_int_equal(sorted[down ? n - 1 - k : k], given[k]);
            largest = given[k] > largest ? given[k] : largest;
        }
    }
    assert_true(largest < range && largest >= range - 1 - range / 50);
    for (int n = least; n <= most; n++)
        assert_true(lengths[n] > 0);
    item_free(&it);
    task_close(&t);
}

static void test_sort_items(void **state)
{
    (void)state;
    struct task t;
    expect_sorted(DEFAULTS, 0, 0, 4, 8, 10);
    expect_sorted(SET("order=down", "symbols=36", "length_max=12"), 0, 1, 4, 12, 36);
    expect_sorted(SET("digits=3", "length_min=2"), 1, 0, 2, 8, 1000);
    expect_sorted(SET("symbols=3", "length_min=6", "length_max=6", "separator="), 0, 0, 6, 6, 3);
    open_task(&t, "sort", DEFAULTS);
    expect_disjoint(&t, 5000, 1000);
    assert_string_equal(t.alphabet, "0123456789=");
    task_close(&t);
    open_task(&t, "sort", SET("symbols=3", "length_min=6", "length_max=6", "separator="));
    expect_disjoint(&t, 5000, 500); /* of 729 prompts */
    assert_string_equal(t.alphabet, "012");
    assert_int_equal(t.longest_prompt, 6);
    task_close(&t);
    open_task(&t, "sort", SET("digits=2", "separator=>"));
    task_close(&t);
}

static void test_sort_refusals(void **state)
{
    (void)state;
    expect_refused("sort", SET("length_min=9"), "length_min = 9 is above length_max = 8");
    int refused = 0; /* two prompts: in most cases the hash does not hold out exactly one of them */
    for (const char *c = "=:;!>.,"; *c; c++) {
        struct task t;
        struct error e = {""};
        char separator[] = "separator=?";
        separator[10] = *c;
        if (!try_open(&t, "sort", SET("length_min=1", "length_max=1", "symbols=2", separator), &e))
            task_close(&t);
        else
            refused += strstr(e.text, "too few different prompts") != NULL;
    }
    assert_true(refused > 0);
    expect_refused("sort", SET("separator=0"), "could belong to the list");
    expect_refused("sort", SET("separator=\xe2\x86\x92"), "byte 0xe2 is not ASCII");
    expect_refused("sort", SET("digits=2", "confused=0.1"), "confused is for symbols");
    expect_refused("sort", SET("symbols=1"), "symbols");
}

static void test_sort_check(void **state)
{
    (void)state;
    struct task t;
    open_task(&t, "sort", DEFAULTS);
    VERDICTS(&t, "3021=", "0123", {"0123", R, R}, {"0132", W, W}, {"012", W, W}, {"01233", W, W}, {"0123=", U, R},
             {"0123 ", U, R}, {"0 1 2 3", U, R}, {"0, 1, 2, 3.", U, R}, {"answer: 0123\n4", U, R}, {"\n0123", U, R},
             {"", U, U}, {"abc", U, U}, {"0123\n0123", U, R}, {"x0x1x2x3x9", U, W}, {"\xff", U, U});
    struct item it = item_of("3021=", "0123");
    enum verdict strict, lenient;
    t.row->check(&t, &it, "01234", 4, &strict, &lenient);
    assert_true(strict == VERDICT_RIGHT && lenient == VERDICT_RIGHT);
    item_free(&it);
    expect_robust(&t, "3021=", "0123", SET("0", "0123", "\n", "x", "=", "\xff", " "));
    /* as many values as any list has, and more */
    char longest[80];
    memset(longest, '0', sizeof longest);
    longest[64] = 0;
    VERDICTS(&t, "?", longest, {longest, R, R});
    longest[64] = '0';
    longest[65] = 0;
    char truth[65];
    memset(truth, '0', 64);
    truth[64] = 0;
    VERDICTS(&t, "?", truth, {longest, U, W});
    task_close(&t);
    open_task(&t, "sort", SET("digits=2"));
    VERDICTS(&t, "30 4 12=", "4 12 30", {"4 12 30", R, R}, {"4 30 12", W, W}, {"4,12,30", U, R}, {"4  12 30", U, R},
             {"4 12 30 ", U, R}, {"4 12 130", U, W}, {"4 12 3", W, W}, {"04 12 30", U, R}, {"4 12 30\n", U, R},
             {" 4 12 30", U, R}, {"41230", U, W}, {"4 12 99999999999999999999999999930", U, W}, {"-4 12 30", U, R},
             {"", U, U}, {"four", U, U}, {"4 12 30 4", W, W});
    expect_robust(&t, "30 4 12=", "4 12 30", SET("9", "4 ", " ", "0", "99 ", "-", "\n", "\xff", "4 12 30 "));
    task_close(&t);
}

static void test_sort_teacher(void **state)
{
    (void)state;
    const struct {
        const char *const *set;
        const char *prompt, *want;
    } cases[] = {
        {SET("symbols=2", "confused=1", "confused_rate=1"), "0110=", "1100"},
        {SET("symbols=3", "confused=1", "confused_rate=1"), "210201=", "110022"}, /* 2 stays: 1 has its pair */
        {SET("symbols=4", "confused=1", "confused_rate=1", "order=down"), "0123=", "2301"},
        {SET("unsorted=1"), "3021=", "3021"},
        {SET("digits=3"), "30 4 100 12=", "4 12 30 100"},
    };
    struct text text = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct task t;
        struct item it = item_of(cases[i].prompt, "");
        open_task(&t, "sort", cases[i].set);
        t.row->gold(&t, &it, rng_stream(1, RNG_TEACHER, 0, 0, 0), &text);
        assert_string_equal(text.s, cases[i].want);
        item_free(&it);
        task_close(&t);
    }
    text_free(&text);
    assert_true(expect_pure("sort", DEFAULTS, 2000) == 1);
    assert_true(expect_pure("sort", SET("digits=6", "order=down", "length_max=64"), 500) == 1);
    /* 8 of 36 symbols are hardly ever in order by chance */
    double right = expect_pure("sort", SET("unsorted=0.3", "symbols=36", "length_min=8"), 4000);
    assert_true(fabs(right - .7) < .03);
    /* Two symbols, always confused: right only where one of them is missing, 2 of 2^6 lists. */
    right = expect_pure(
        "sort", SET("symbols=2", "length_min=6", "length_max=6", "separator=", "confused=1", "confused_rate=0.5"),
        4000);
    assert_true(right > .4 && right < .6);
}

/* A model directory without a tokenizer: the characters of the task are its tokens, here without an end. */
static void test_sort_model(void **state)
{
    (void)state;
    static const char *const set[] = {"model.path=../shared/data/gpt-nano-sort/hf",
                                      "task.symbols=3",
                                      "task.length_min=6",
                                      "task.length_max=6",
                                      "task.separator=\"\"",
                                      "task.confused=0"};
    static const int32_t want[] = {2, 0, 1, 1, 2, 0};
    static struct session s;
    struct error e = {""};
    int32_t *ids = NULL;
    int cap = 0;
    if (file_size("../shared/data/gpt-nano-sort/hf/config.json") < 0)
        skip();
    if (session_open(&s, "sort", set, sizeof set / sizeof *set, 0, &e))
        fail_msg("%s", e.text);
    assert_int_equal(tokenizer_vocab(s.tokenizer), 3);
    assert_int_equal(s.special.ends, 0);
    struct item it = item_of("201120", "");
    assert_int_equal(session_prompt(&s, &it, &ids, &cap, &e), 6);
    assert_memory_equal(ids, want, sizeof want);
    item_free(&it);
    mem_free(ids);
    session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digits_items),  cmocka_unit_test(test_digits_check),  cmocka_unit_test(test_count_items),
        cmocka_unit_test(test_count_teacher), cmocka_unit_test(test_count_check),   cmocka_unit_test(test_count_oracle),
        cmocka_unit_test(test_sort_items),    cmocka_unit_test(test_sort_refusals), cmocka_unit_test(test_sort_check),
        cmocka_unit_test(test_sort_teacher),  cmocka_unit_test(test_sort_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
