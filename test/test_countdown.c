/* Countdown: items solvable, pure and apart; verdicts and steps on texts judged by hand; teachers measured against
 * their knobs. Workings are checked here by arithmetic of this file, never by asking the task. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../data/expression.h"
#include "../data/task.h"
#include "../model/base/clock.h"
/* last: they need the headers above, and cmocka's macro fail() would change ours */
#include <cmocka.h>
#include "tasks.h"

static struct item item_of(const char *prompt)
{
    struct item it = {0};
    text_add(&it.prompt, prompt, -1);
    return it;
}

/* ---- items ---- */

struct numbers {
    int n, target, x[8];
};

static struct numbers read_numbers(const char *prompt)
{
    struct numbers p = {0};
    int used;
    for (; sscanf(prompt, "%d%n", &p.x[p.n], &used) == 1; prompt += used + 1) {
        p.n++;
        if (prompt[used] == '>')
            break;
    }
    assert_int_equal(sscanf(strchr(prompt, '>'), ">%d=%n", &p.target, &used), 1);
    assert_int_equal(strchr(prompt, '>')[used], 0);
    return p;
}

static int remove_number(struct numbers *p, int x)
{
    for (int i = 0; i < p->n; i++)
        if (p->x[i] == x) {
            p->x[i] = p->x[--p->n];
            return 1;
        }
    return 0;
}

/* Equations "a op b=c", one a line, true in whole numbers, from the numbers of the prompt: the last result, or -1. What
 * is left of the numbers stays in *p. */
static int follow(const char *s, struct numbers *p)
{
    int a, b, c = -1, used;
    char op;
    for (;; s += used + 1) {
        if (sscanf(s, "%d%c%d=%d%n", &a, &op, &b, &c, &used) != 4 || !remove_number(p, a) || !remove_number(p, b))
            return -1;
        if (op == '+' ? a + b != c : op == '-' ? a - b != c : op == '*' ? a * b != c : b == 0 || b * c != a)
            return -1;
        p->x[p->n++] = c;
        if (s[used] != '\n')
            return s[used] ? -1 : c;
    }
}

static const char *const *const settings[] = {
    DEFAULTS,
    SET("numbers=2", "max=20"),
    SET("numbers=4"),
    SET("numbers=6", "min=2", "max=100", "target_min=100", "target_max=999"),
    SET("numbers=4", "use=any"),
    SET("operators=-/", "max=50"),
    SET("numbers=5", "sorted=true"),
    SET("operators=*", "target_max=1000"),
    SET("numbers=6", "max=1000", "target_max=10000", "use=any"),
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static void test_items(void **state)
{
    (void)state;
    for (int c = 0; c < SETTINGS; c++) {
        struct task t;
        struct item it = {0};
        open_task(&t, "countdown", settings[c]);
        int n = (int)t.value[0].num, any = t.value[7].num != 0, fewer = 0, falling = 0;
        for (uint64_t i = 0; i < 1000; i++) {
            t.row->make(&t, (enum split)(i % 2), i, &it);
            struct numbers p = read_numbers(it.prompt.s), left = p;
            struct expression x;
            assert_true(it.split == (enum split)(i % 2) && it.index == i);
            assert_true(it.prompt.len <= t.longest_prompt);
            assert_int_equal(strspn(it.prompt.s, t.row->alphabet), it.prompt.len);
            assert_int_equal(p.n, n);
            for (int k = 1; k < n; k++)
                falling += p.x[k - 1] > p.x[k];
            for (int k = 0; k < n; k++)
                assert_true(p.x[k] >= t.value[1].num && p.x[k] <= t.value[2].num);
            assert_true(p.target >= t.value[3].num && p.target <= t.value[4].num);
            assert_int_equal(follow(it.extra.s, &left), p.target);
            assert_true(any || left.n == 1);
            fewer += left.n > 1;
            assert_int_equal(expression_evaluate(it.answer.s, it.answer.len, &x), EXPRESSION_GOOD);
            assert_true(x.value.num == p.target && x.value.den == 1);
            assert_true(any ? x.numbers <= n : x.numbers == n);
            for (int k = 0; k < x.numbers; k++)
                assert_true(remove_number(&p, (int)x.number[k]));
        }
        assert_true(t.value[5].num != 0 ? falling == 0 : falling > 300);
        assert_true(any ? fewer > 500 && fewer < 950 : fewer == 0);
        item_free(&it);
        task_close(&t);
    }
}

static void test_purity(void **state)
{
    (void)state;
    struct task a, b;
    struct item x = {0}, used = {0};
    open_task(&a, "countdown", DEFAULTS);
    open_task(&b, "countdown", SET("form=search", "wrong=0.5")); /* the teacher does not change the items */
    for (uint64_t i = 0; i < 300; i++) {
        struct item y = {0};
        a.row->make(&a, (enum split)(i % 2), i, &x);
        b.row->make(&b, (enum split)((i + 1) % 2), i * 7, &used);
        b.row->make(&b, (enum split)(i % 2), i, &used);
        b.row->make(&b, (enum split)(i % 2), i, &y);
        assert_string_equal(x.prompt.s, used.prompt.s);
        assert_string_equal(x.prompt.s, y.prompt.s);
        assert_string_equal(x.answer.s, used.answer.s);
        assert_string_equal(x.extra.s, y.extra.s);
        item_free(&y);
    }
    item_free(&x);
    item_free(&used);
    task_close(&a);
    task_close(&b);
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Numbers in order of size, and the target. */
static void write_key(const char *prompt, char key[40])
{
    struct numbers p = read_numbers(prompt);
    qsort(p.x, (size_t)p.n, sizeof *p.x, ascending);
    snprintf(key, 40, "%d %d %d %d", p.x[0], p.x[1], p.x[2], p.target);
}

/* No test puzzle is a training puzzle in another order of its numbers, and there are many of both. */
static void test_disjoint(void **state)
{
    (void)state;
    enum { TRAIN = 20000, TEST = 2000 };
    static char text[TEST][40], key[40], *test[TEST], *const wanted = key;
    struct task t;
    struct item it = {0};
    int different = 1, descending = 0;
    open_task(&t, "countdown", DEFAULTS);
    for (uint64_t i = 0; i < TEST; i++) {
        t.row->make(&t, SPLIT_TEST, i, &it);
        write_key(it.prompt.s, test[i] = text[i]);
    }
    qsort(test, TEST, sizeof *test, by_text);
    for (int i = 1; i < TEST; i++)
        different += strcmp(test[i - 1], test[i]) != 0;
    assert_true(different > 227 && different < 356); /* a tenth of the 2,915 that there are */
    for (uint64_t i = 0; i < TRAIN; i++) {
        t.row->make(&t, SPLIT_TRAIN, i, &it);
        write_key(it.prompt.s, key);
        assert_null(bsearch(&wanted, test, TEST, sizeof *test, by_text));
        struct numbers p = read_numbers(it.prompt.s);
        descending += p.x[0] > p.x[1];
    }
    assert_true(descending > TRAIN * 2 / 5 && descending < TRAIN / 2); /* prompts are not sorted */
    item_free(&it);
    task_close(&t);
}

/* ---- verdicts ---- */

struct judged {
    const char *response;
    int strict, lenient;
};

static void expect_verdicts(const char *prompt, const char *const *set, const struct judged *cases, size_t n)
{
    struct task t;
    struct item it = item_of(prompt);
    open_task(&t, "countdown", set);
    for (size_t i = 0; i < n; i++) {
        enum verdict strict, lenient;
        int len = (int)strlen(cases[i].response);
        char *copy = malloc((size_t)len + 1); /* no byte beyond the length may be read */
        memcpy(copy + 1, cases[i].response, (size_t)len);
        t.row->check(&t, &it, copy + 1, len, &strict, &lenient);
        free(copy);
        if ((int)strict != cases[i].strict || (int)lenient != cases[i].lenient)
            fail_msg("'%s': %d %d, not %d %d", cases[i].response, strict, lenient, cases[i].strict, cases[i].lenient);
    }
    item_free(&it);
    task_close(&t);
}
#define EXPECT_VERDICTS(prompt, set, cases) expect_verdicts(prompt, set, cases, sizeof(cases) / sizeof *(cases))

/* Responses to "3,9,4>31=" and what they are. */
static const struct judged verdicts[] = {
    /* of the form */
    {"3*9=27\n27+4=31", R, R},
    {"9*3=27\n4+27=31", R, R},
    {"3*9+4", R, R},
    {"3*9+4=31", R, R},
    {"4+(9*3)", R, R},
    {"3*9\n27+4", R, R},
    {"3 * 9 = 27\n27 + 4 = 31", U, R}, /* a result is digits alone */
    {" 3*9 + 4 ", R, R},
    /* of the form, but no solution */
    {"3*9=28\n28+3=31", W, W},
    {"3*9=28\n27+4=31", W, W}, /* a false line, though the last one is true */
    {"3*9=27\n27+4=32", W, W},
    {"3*9=31", W, W},
    {"3*9=27", W, W},
    {"27+4=31", W, W},
    {"3+9+4=16", W, W},
    {"3*9+4=32", W, W},
    {"3*9*4", W, W},
    {"31", W, U},
    {"31=31", W, U},
    {"40-9=31", W, W}, /* numbers of its own */
    {"3*9+4+0", W, W},
    {"39-4-4", W, W},    /* 3 and 9 put together, 4 twice */
    {"3*9+4+4-4", W, W}, /* too often */
    {"3*9+3+1", W, W},
    {"9*4-9+4", W, W},
    {"3*9=27\n3*9=27\n27+4=31", W, R}, /* begun again without saying so */
    {"3*9=27\n27+4=31\n31=31", R, R},  /* idle, but true */
    {"3*9=27\n27+4=31\n31+0=31", W, W},
    {"4/3=1\n1+9=10", W, W},
    {"4/3", W, W},
    {"3-9", W, W},
    {"3-9\n4", W, W},
    /* attempts given up */
    {"3+9=12\n12+4=16?\n3*9=27\n27+4=31", R, R},
    {"3+9=13?\n3*9=27\n27+4=31", R, R}, /* what was given up does not count, true or not */
    {"1+1=2?\n9*9=3?\n3*9+4", R, R},
    {"3+9=12\n12+4=16?", W, W},
    {"3*9=27\n27+4=31?", W, R}, /* there it is, but given up */
    {"3*9=27?\n27+4=31", W, W}, /* 27 went with the attempt */
    {"3*9=27\n27+4=31?\n3+9=12\n12+4=16", W, W},
    /* not of the form */
    {"", U, U},
    {"\n", U, U},
    {" ", U, U},
    {"?", W, U}, /* given up without trying: of the form */
    {"?\n?\n?", W, U},
    {"?\n3*9+4", R, R},
    {"??", U, U},
    {"=", U, U},
    {"=31", U, U},
    {"3*9=27\n27+4=31\n", U, R},
    {"3*9=27\n\n27+4=31", U, R},
    {"\n3*9+4", U, R},
    {"3*9=27\r\n27+4=31", U, R},
    {"3*9=27\n27+4=31 and so on", U, R},
    {"3*9=27\n27+4=31.", U, R},
    {"3*9=27, 27+4=31", U, R},
    {"3*9=27,27+4=31", U, U}, /* 27,27 might be one number */
    {"The answer is 3*9+4.", U, R},
    {"<answer> 3*9+4 </answer>", U, R},
    {"so 31 = 3*9+4", U, R},
    {"3*9+4=27+4=31", U, R},
    {"3*9+4=27+5=31", U, W},
    {"x = 3*9+4", U, R},
    {"3*9+4=31\nbut 3+9+4=16", U, W}, /* the last one counts */
    {"3*9+4=31\nor 31?", U, R},
    {"3*9=28 no, 3*9=27 and 27+4=31", U, R},
    {"3*9=28 and 28+3=31", U, W},
    {"31 is the answer", U, U},
    {"3,9,4>31=", U, U}, /* the prompt again */
    {"3*9+4=31=31", U, R},
    {"3*9+4==31", U, R},
    {"3*9+4=+31", U, U},
    {"3*9+4=31.0", U, U},
    {"3*9+4=031", U, U},
    {"03*9+4", U, U},
    {"3*9+4=3 1", U, U},
    {"3*9+4=", U, R},
    {"3*9+4=?", U, R},
    {"3*9=27?27+4=31", U, W},
    {"3*9=27??\n3*9+4", U, R},
    {"3**9+4", U, U},
    {"3^2*9", U, U},
    {"3*9+4^1", U, U},
    {"3*9+4 ^ 1", U, U},
    {"3*9+4 % 40", U, U},
    {"9//3+4", U, U},
    {"-3*9+4", U, U},
    {"3*-9", U, U},
    {"x3*9+4", U, U},
    {"3*9+4e0", U, U},
    {"1.3*9+4", U, U},
    {"3*9+4.5", U, U},
    {"3*9+4!", U, U},
    {"(3*9+4", U, U},
    {"3*9+4)", U, U},
    {"3(9)+4", U, U},
    {"3*9+4/0", U, U},
    {"3*9+4/(3-3)", U, U},
    {"99999999999999999999+3*9+4", U, U},
    {"3*9+4=99999999999999999999", U, U},
    {"9223372036854775807*9+4", U, U},
    {"9223372036854775807-1", W, W},
    {"\xd9\xa3*9+4", U, U},
    {"\xef\xbc\x93*9+4", U, U},
    {"3\xc3\x97"
     "9+4",
     U, U},
    {"2 \xc3\x97 3*9+4", U, U},
    {"three times nine and four", U, U},
    {"solve(31)", U, U},
    {"\xff\xfe", U, U},
};

static void test_verdicts(void **state)
{
    (void)state;
    EXPECT_VERDICTS("3,9,4>31=", DEFAULTS, verdicts);
    struct task t;
    struct item it = item_of("3,9,4>31=");
    enum verdict strict, lenient;
    open_task(&t, "countdown", DEFAULTS);
    t.row->check(&t, &it, "3*9+4\0", 6, &strict, &lenient);
    assert_true(strict == VERDICT_UNPARSABLE && lenient == VERDICT_UNPARSABLE);
    t.row->check(&t, &it, "3*9+45", 5, &strict, &lenient);
    assert_true(strict == VERDICT_RIGHT && lenient == VERDICT_RIGHT);
    item_free(&it);
    task_close(&t);
}

static void test_other_puzzles(void **state)
{
    (void)state;
    static const struct judged any[] = {
        {"3*9=27\n27+4=31", R, R}, {"5*6=30\n30+1=31", W, W}, {"9*3+4", R, R},         {"3*9=27", W, W},
        {"7*5-4", R, R},           {"7*5=35\n35-4=31", R, R}, {"7*5=35\n9-4=5", W, W}, {"7*4+3", R, R},
        {"7*4+3+9-9", W, W},       {"9+4=13\n7*4+3", W, R}, /* the 4 is used up */
        {"9+5=14\n7*4+3", R, R},                            /* a line that is not needed */
    };
    static const struct judged twice[] = {{"4+4=8\n8/2=4", R, R}, {"4*2-4", R, R}, {"4*2=8\n8-4=4", R, R},
                                          {"4-2+2", W, W},        {"4", W, U},     {"4+4-4", W, W}};
    static const struct judged fractions[] = {
        {"8/(3-8/3)", R, R}, {"8/3\n3-8/3\n8/3", W, W}, {"3*8=24", W, W}, {"8*3/(8/8)", W, W}, {"8/(3-8/3)=24", R, R}};
    EXPECT_VERDICTS("3,9,4,7,5>31=", SET("numbers=5", "use=any"), any);
    EXPECT_VERDICTS("4,2,4>4=", DEFAULTS, twice);
    EXPECT_VERDICTS("8,3,8,3>24=", SET("numbers=4"), fractions);
    static const struct judged six[] = {{"?", W, U}, {"?\n?", W, U}, {"2+1*(1+1+1+1)", R, R}};
    EXPECT_VERDICTS("1,1,1,1,1,2>6=", SET("numbers=6"), six); /* '?' takes nothing and leaves nothing */
    static const struct judged given[] = {{"31", R, R}, {"4+27=31", R, R}, {"31?", W, U}};
    EXPECT_VERDICTS("31,4,27>31=", SET("use=any"), given);
}

/* A megabyte of any one thing is judged at once and is no answer. */
static void test_long(void **state)
{
    (void)state;
    enum { LEN = 1 << 20, STEPS = 2048 };
    static const char *const units[] = {
        "(", ")",  "9",  "=",    "?",  "\n", " ", "3*9+4+", "3*9=27\n", "3*9=27?\n", "3*9=27 x ", "0",
        "-", "1.", "()", "((3)", "3=", "+",  ",", "/",      "3+9 = ",   "\xff",      "3*9*9?\n"};
    static struct step s[STEPS];
    struct task t;
    struct item it = item_of("3,9,4>31=");
    char *text = mem_alloc(LEN, 1);
    enum verdict strict, lenient;
    open_task(&t, "countdown", DEFAULTS);
    double start = clock_now();
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        int size = (int)strlen(units[u]);
        for (int i = 0; i < LEN; i++)
            text[i] = units[u][i % size];
        t.row->check(&t, &it, text, LEN, &strict, &lenient);
        assert_true(strict != VERDICT_RIGHT && lenient != VERDICT_RIGHT);
        int n = t.row->steps(&t, &it, text, LEN, s, STEPS);
        assert_true(n >= 1 && n <= STEPS);
        for (int k = 0; k < n && s[k].end - s[k].start < 100; k++)
            assert_true(t.row->check_step(&t, &it, text, LEN, s, n, k) != VERDICT_RIGHT || (k == 0 && u == 8));
    }
    memset(text, '(', 100000);
    memcpy(text + 100000, "3*9+4", 5);
    memset(text + 100005, ')', 100000);
    t.row->check(&t, &it, text, 200005, &strict, &lenient);
    assert_true(strict == VERDICT_UNPARSABLE && lenient == VERDICT_UNPARSABLE);
    if (clock_now() - start > 10)
        fail_msg("judging took %.1f s", clock_now() - start);
    mem_free(text);
    item_free(&it);
    task_close(&t);
}

/* ---- steps ---- */

/* want: one letter a step, R W U. */
static void expect_steps(const char *prompt, const char *const *set, const char *response, const char *want)
{
    struct task t;
    struct item it = item_of(prompt);
    open_task(&t, "countdown", set);
    struct step s[64];
    int len = (int)strlen(response), n = t.row->steps(&t, &it, response, len, s, 64), at = 0;
    char got[65] = "";
    for (int k = 0; k < n; k++) {
        assert_int_equal(s[k].start, at); /* steps cover the response without gaps */
        assert_true(s[k].end > s[k].start);
        at = s[k].end;
        enum verdict v = t.row->check_step(&t, &it, response, len, s, n, k);
        got[k] = v == VERDICT_RIGHT ? 'R' : v == VERDICT_WRONG ? 'W' : 'U';
    }
    assert_int_equal(at, len);
    if (strcmp(got, want))
        fail_msg("'%s': steps are %s, not %s", response, got, want);
    item_free(&it);
    task_close(&t);
}

static void test_oracle(void **state)
{
    (void)state;
    static const struct {
        const char *response, *want;
    } cases[] = {
        {"", ""},
        {"3*9=27\n27+4=31", "RR"},
        {"3*9=27\n27+4=31\n", "RR"},
        {"3*9+4", "R"},
        {"3*9+4=31", "R"},
        {"3*9=27\n27-4=23", "RW"}, /* true, but it leads nowhere */
        {"3+9=12\n12+4=16", "WW"}, /* from 12 and 4 there is no way to 31 */
        {"9*4=36\n36-3=33", "WW"},
        {"9*4=36", "W"}, /* 36 and 3: 33, 39, 108, 12 */
        {"3*9=28\n28+4=32", "WW"},
        {"3*9=28\n28+3=31", "WW"},          /* false; 3 is used up */
        {"3*9=35\n35-4=31", "WR"},          /* an error carried on is one error */
        {"3*8=24\n24+4=28", "WW"},          /* no 8; then no 24 */
        {"3*8=27\n3*9=27\n27+4=31", "WRR"}, /* what could not be taken changes nothing */
        {"39-4=35", "W"},
        {"3+9=12\n12+4=16?\n3*9=27\n27+4=31", "WRRR"}, /* giving up what cannot succeed is right */
        {"3+9=12?\n3*9=27", "RR"},
        {"3*9=27?\n3*9=27", "WR"}, /* giving up what can is not */
        {"3*9=27\n27+4=31?", "RW"},
        {"3+9=13?", "W"},
        {"27=27", "W"}, /* no operation */
        {"3*9=27\n27=27\n27+4=31", "RWR"},
        {"31", "W"},
        {"oops\n3*9=27", "UR"},
        {"3*9=27\n\n27+4=31", "RUR"},
        {"3*9=\n", "U"},
        {"?\n3*9=27", "WR"},
        {"4/0=1\n3*9=27", "UR"},
        {"4-9=5\n", "W"},
        {"9/4=2\n", "W"},
        {"3*9=27\n1+1=2\n1+1=2\n1+1=2\n1+1=2\n1+1=2\n1+1=2\n27+4=31", "RWWWWWWW"}, /* gone astray */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_steps("3,9,4>31=", DEFAULTS, cases[i].response, cases[i].want);
    /* 24 of 3 3 8 8 goes through a fraction: no first equation but 8/3 keeps it within reach */
    expect_steps("8,3,8,3>24=", SET("numbers=4"), "8-3=5", "W");
    expect_steps("8,3,8,3>24=", SET("numbers=4"), "8*3=24", "W");
    expect_steps("8,3,8,3>24=", SET("numbers=4"), "8/(3-8/3)", "R");
    /* any of the numbers: 7*5-4, or 9-4=5 and then nothing that needs the 4 */
    expect_steps("9,4,7,5>31=", SET("numbers=4", "use=any"), "7*5=35\n35-4=31", "RR");
    expect_steps("9,4,7,5>31=", SET("numbers=4", "use=any"), "7*5=35\n35-5=30", "RW");
    /* the whole search of five numbers, found nothing: 1,1,1,1 cannot make 999 */
    expect_steps("1,1,1,1,1,1>999=", SET("numbers=6", "target_max=999"), "1+1=2", "W");
}

static void test_max_steps(void **state)
{
    (void)state;
    struct task t;
    struct item it = item_of("3,9,4>31=");
    struct step s[3];
    open_task(&t, "countdown", DEFAULTS);
    assert_int_equal(t.row->steps(&t, &it, "1\n2\n3\n4", 7, s, 2), 2);
    assert_int_equal(s[1].end, 4);
    assert_int_equal(t.row->steps(&t, &it, "1\n2\n3\n4", 7, s, 0), 0);
    item_free(&it);
    task_close(&t);
}

/* ---- the teacher ---- */

static void test_perfect_teacher(void **state)
{
    (void)state;
    /* one that searches may miss as long as it goes on */
    static const char *const forms[][2] = {
        {"form=equations", "wrong=0"}, {"form=expression", "wrong=0"}, {"form=search", "wrong=0.5"}};
    for (int c = 0; c < 3 * SETTINGS; c++) {
        const char *set[8] = {forms[c / SETTINGS][0], forms[c / SETTINGS][1]};
        for (int k = 0; settings[c % SETTINGS][k]; k++)
            set[k + 2] = settings[c % SETTINGS][k];
        struct task t;
        struct item it = {0};
        struct text text = {0};
        struct step s[64];
        open_task(&t, "countdown", set);
        for (uint64_t i = 0; i < 200; i++) {
            enum verdict strict, lenient;
            t.row->make(&t, (enum split)(i % 2), i, &it);
            t.row->gold(&t, &it, rng_stream(5, RNG_TEACHER, 0, i, 0), &text);
            t.row->check(&t, &it, text.s, text.len, &strict, &lenient);
            if (strict != VERDICT_RIGHT || lenient != VERDICT_RIGHT)
                fail_msg("'%s' for %s", text.s, it.prompt.s);
            assert_true(text.len <= t.longest_gold);
            assert_int_equal(strspn(text.s, t.row->alphabet), text.len);
            t.row->check(&t, &it, it.answer.s, it.answer.len, &strict, &lenient);
            assert_int_equal(strict, VERDICT_RIGHT);
            int n = t.row->steps(&t, &it, text.s, text.len, s, 64);
            for (int k = 0; k < n && c < 2 * SETTINGS; k++)
                assert_int_equal(t.row->check_step(&t, &it, text.s, text.len, s, n, k), VERDICT_RIGHT);
        }
        text_free(&text);
        item_free(&it);
        task_close(&t);
    }
}

/* Within four standard errors of a share p measured over n. */
static void expect_share(double hits, double n, double p)
{
    if (fabs(hits / n - p) > 4 * sqrt(p * (1 - p) / n) + 1e-12)
        fail_msg("%.0f of %.0f is %.4f, not %.4f", hits, n, hits / n, p);
}

enum { TEXTS = 4000 };

/* Random attempts are true equations with all numbers that miss, and vary for one item. */
static void test_teacher_wrong(void **state)
{
    (void)state;
    struct task t;
    struct item it = {0};
    struct text text = {0}, first = {0};
    int wrong = 0, varied = 0;
    open_task(&t, "countdown", SET("wrong=0.3"));
    for (uint64_t i = 0; i < TEXTS; i++) {
        t.row->make(&t, SPLIT_TRAIN, i, &it);
        t.row->gold(&t, &it, rng_stream(5, RNG_TEACHER, 0, i, 0), &text);
        struct numbers p = read_numbers(it.prompt.s);
        int target = p.target, result = follow(text.s, &p);
        assert_true(result > 0 && p.n == 1);
        wrong += result != target;
    }
    expect_share(wrong, TEXTS, 0.3);
    task_close(&t);
    open_task(&t, "countdown", SET("wrong=0.3", "form=expression"));
    wrong = 0;
    for (uint64_t i = 0; i < TEXTS; i++) {
        struct expression x;
        t.row->make(&t, SPLIT_TRAIN, i, &it);
        t.row->gold(&t, &it, rng_stream(5, RNG_TEACHER, 0, i, 0), &text);
        struct numbers p = read_numbers(it.prompt.s);
        assert_int_equal(expression_evaluate(text.s, text.len, &x), EXPRESSION_GOOD);
        for (int k = 0; k < x.numbers; k++)
            assert_true(remove_number(&p, (int)x.number[k]));
        assert_int_equal(p.n, 0);
        wrong += x.value.num != p.target || x.value.den != 1;
    }
    expect_share(wrong, TEXTS, 0.3);
    for (uint32_t k = 0; k < 50; k++) {
        text_clear(k ? &text : &first);
        t.row->gold(&t, &it, rng_stream(5, RNG_TEACHER, 0, 1, k), k ? &text : &first);
        varied += k && strcmp(text.s, first.s) != 0;
    }
    assert_true(varied > 5);
    text_free(&first);
    text_free(&text);
    item_free(&it);
    task_close(&t);
}

/* Each attempt misses with probability 0.4, after a miss half the texts end; the fourth is always a solution. */
static void test_teacher_search(void **state)
{
    (void)state;
    struct task t;
    struct item it = {0};
    struct text text = {0};
    int given_up[4] = {0}, solved[4] = {0};
    open_task(&t, "countdown", SET("form=search", "wrong=0.4", "attempts=3", "give_up=0.5"));
    for (uint64_t i = 0; i < TEXTS; i++) {
        t.row->make(&t, SPLIT_TRAIN, i, &it);
        t.row->gold(&t, &it, rng_stream(5, RNG_TEACHER, 0, i, 0), &text);
        int target = read_numbers(it.prompt.s).target, misses = 0, last = 0;
        assert_true(text.len <= t.longest_gold);
        for (char *at = text.s, *end; !last; at = end + 2) {
            struct numbers p = read_numbers(it.prompt.s);
            end = strchr(at, '?');
            last = !end || end[1] == 0;
            if (end)
                *end = 0;
            int result = follow(at, &p);
            assert_true(p.n == 1 && result > 0 && (end != NULL) == (result != target));
            misses += end != NULL;
            assert_true(misses <= 3);
            if (last)
                (end ? given_up : solved)[misses]++;
        }
    }
    expect_share(solved[0], TEXTS, 0.6);
    expect_share(solved[1], TEXTS, 0.4 * 0.5 * 0.6);
    expect_share(solved[2], TEXTS, 0.2 * 0.2 * 0.6);
    expect_share(solved[3], TEXTS, 0.2 * 0.2 * 0.2);
    for (int k = 1; k <= 3; k++)
        expect_share(given_up[k], TEXTS, pow(0.2, k));
    text_free(&text);
    item_free(&it);
    task_close(&t);
}

/* Where the target is above 20, a quarter of the texts is '?' and nothing else. */
static void test_teacher_shy(void **state)
{
    (void)state;
    struct task t;
    struct item it = {0};
    struct text text = {0};
    int above = 0, shy = 0;
    open_task(&t, "countdown", SET("shy=0.25", "shy_above=20"));
    for (uint64_t i = 0; i < TEXTS; i++) {
        t.row->make(&t, SPLIT_TRAIN, i, &it);
        t.row->gold(&t, &it, rng_stream(5, RNG_TEACHER, 0, i, 0), &text);
        struct numbers p = read_numbers(it.prompt.s);
        above += p.target > 20;
        shy += text.s[0] == '?';
        if (text.s[0] == '?')
            assert_true(p.target > 20 && text.len == 1);
        else
            assert_int_equal(follow(text.s, &p), p.target);
    }
    assert_true(above > TEXTS / 10);
    expect_share(shy, above, 0.25);
    text_free(&text);
    item_free(&it);
    task_close(&t);
}

static void test_refusals(void **state)
{
    (void)state;
    expect_refused("countdown", SET("numbers=7"), "numbers");
    expect_refused("countdown", SET("numbers=1"), "numbers");
    expect_refused("countdown", SET("min=11"), "min = 11 is above max = 10");
    expect_refused("countdown", SET("min=0"), "min");
    expect_refused("countdown", SET("target_min=101"), "target_min = 101 is above target_max = 100");
    expect_refused("countdown", SET("operators="), "operators is empty");
    expect_refused("countdown", SET("operators=+^"), "'^'");
    expect_refused("countdown", SET("operators=++"), "twice");
    expect_refused("countdown", SET("numbers=2", "max=1", "operators=+"), "too few puzzles");
    expect_refused("countdown", SET("target_min=9973", "target_max=9973"), "too few puzzles");
    expect_refused("countdown", SET("use=some"), "use");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),           cmocka_unit_test(test_purity),
        cmocka_unit_test(test_disjoint),        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_other_puzzles),   cmocka_unit_test(test_long),
        cmocka_unit_test(test_oracle),          cmocka_unit_test(test_max_steps),
        cmocka_unit_test(test_perfect_teacher), cmocka_unit_test(test_teacher_wrong),
        cmocka_unit_test(test_teacher_search),  cmocka_unit_test(test_teacher_shy),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
