/* The tasks: items are pure and their splits disjoint, verifiers and oracles on texts written by hand (hostile ones
 * too), and the imperfect teacher measured against its knobs. What a text is worth is worked out here by hand or
 * counted by code of its own, never asked from the task. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../data/task.h"
#include "../model/base/clock.h"
/* last: they need the headers above, and cmocka's macro fail() would change ours */
#include <cmocka.h>
#include "tasks.h"

static struct item chain_item(const char *prompt, const char *answer)
{
    struct item it = {0};
    text_add(&it.prompt, prompt, -1);
    text_add(&it.answer, answer, -1);
    text_add(&it.extra, answer, -1);
    return it;
}

static void test_table(void **state)
{
    (void)state;
    assert_ptr_equal(task_find("chain"), task_rows[0]);
    assert_null(task_find("chains"));
    for (int i = 0; task_rows[i]; i++) {
        const struct task_row *row = task_rows[i];
        struct task t;
        if (!strcmp(row->name, "jsonl")) /* needs a file: test_task_jsonl.c */
            continue;
        open_task(&t, row->name, DEFAULTS);
        assert_true(t.longest_prompt > 0);
        assert_true(!row->gold || t.longest_gold > 0);
        assert_true(row->sentence[0] && row->make && row->check);
        assert_true(!row->steps == !row->check_step);
        task_close(&t);
    }
}

/* The same item from a fresh text, from a used one, and from a task opened again. */
static void test_purity(void **state)
{
    (void)state;
    static const char *const names[] = {"chain", "stories"};
    for (int k = 0; k < 2; k++) {
        struct task a, b;
        struct item x = {0}, used = {0};
        open_task(&a, names[k], DEFAULTS);
        open_task(&b, names[k], DEFAULTS);
        for (uint64_t i = 0; i < 200; i++) {
            struct item y = {0};
            a.row->make(&a, (enum split)(i % 2), i, &x);
            b.row->make(&b, (enum split)((i + 1) % 2), i * 7, &used);
            b.row->make(&b, (enum split)(i % 2), i, &used);
            b.row->make(&b, (enum split)(i % 2), i, &y);
            assert_string_equal(x.prompt.s, used.prompt.s);
            assert_string_equal(x.prompt.s, y.prompt.s);
            assert_string_equal(x.answer.s, used.answer.s);
            assert_string_equal(x.extra.s, y.extra.s);
            assert_true(x.split == (enum split)(i % 2) && x.index == i);
            item_free(&y);
        }
        item_free(&x);
        item_free(&used);
        assert_null(used.prompt.s);
        task_close(&a);
        task_close(&b);
    }
}

/* No prompt of 20,000 training items is among those of 2,000 test items, and the training items vary. */
static void test_disjoint(void **state)
{
    (void)state;
    enum { TRAIN = 20000, TEST = 2000 };
    struct task t;
    struct item it = {0};
    open_task(&t, "chain", SET("ops_min=1", "ops_max=3"));
    char **test = mem_alloc(TEST, sizeof *test);
    int different = 0;
    for (uint64_t i = 0; i < TEST; i++) {
        t.row->make(&t, SPLIT_TEST, i, &it);
        test[i] = mem_strdup(it.prompt.s);
    }
    qsort(test, TEST, sizeof *test, by_text);
    for (int i = 1; i < TEST; i++)
        different += strcmp(test[i - 1], test[i]) != 0;
    assert_true(different > TEST / 2);
    for (uint64_t i = 0; i < TRAIN; i++) {
        t.row->make(&t, SPLIT_TRAIN, i, &it);
        assert_null(bsearch(&it.prompt.s, test, TEST, sizeof *test, by_text));
    }
    for (int i = 0; i < TEST; i++)
        mem_free(test[i]);
    mem_free(test);
    item_free(&it);
    task_close(&t);
}

/* Answers against arithmetic done here, from the prompt's text; operations and numbers are spread as the knobs say. */
static void test_chain_items(void **state)
{
    (void)state;
    static const struct {
        int mod, answer_mod;
        const char *set[4];
    } cases[] = {{10, 0, {"mod=10"}},
                 {97, 0, {"mod=97", "ops_max=9"}},
                 {10, 2, {"answer_mod=2"}},
                 {7, 3, {"mod=7", "answer_mod=3"}}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct task t;
        struct item it = {0};
        int count[17] = {0};
        open_task(&t, "chain", cases[c].set);
        for (uint64_t i = 0; i < 3000; i++) {
            t.row->make(&t, (enum split)(i % 2), i, &it);
            assert_true(it.prompt.len <= t.longest_prompt);
            const char *s = it.prompt.s;
            int used, ops = 0, right, x;
            assert_int_equal(sscanf(s, "%d%n", &x, &used), 1);
            for (s += used; *s != '='; s += used, ops++) {
                char op;
                assert_int_equal(sscanf(s, "%c%d%n", &op, &right, &used), 2);
                assert_true(right >= 0 && right < cases[c].mod);
                x = op == '+' ? x + right : op == '-' ? x - right + cases[c].mod : x * right;
                x %= cases[c].mod;
            }
            assert_int_equal(s[1], 0);
            count[ops]++;
            assert_int_equal(atoi(it.answer.s), cases[c].answer_mod ? x % cases[c].answer_mod : x);
        }
        int kinds = c == 1 ? 7 : 3; /* 3 to 9 operations, or 3 to 5 */
        for (int n = 3; n < 3 + kinds; n++)
            assert_true(count[n] > 3000 / kinds * 3 / 4 && count[n] < 3000 / kinds * 5 / 4);
        item_free(&it);
        task_close(&t);
    }
}

/* Items of the defaults, computed by another program (Philox, hash and rules written again in Python). They are frozen:
 * runs of all times can be compared only while items stay what they are. */
static void test_chain_frozen(void **state)
{
    (void)state;
    struct task t;
    struct item it = {0};
    open_task(&t, "chain", DEFAULTS);
    t.row->make(&t, SPLIT_TRAIN, 0, &it);
    assert_string_equal(it.prompt.s, "8-2-1+5+1-7=");
    t.row->make(&t, SPLIT_TEST, 0, &it);
    assert_string_equal(it.prompt.s, "1*6+7+5*3-3=");
    item_free(&it);
    task_close(&t);
}

static void test_chain_check(void **state)
{
    (void)state;
    static const struct {
        const char *response;
        int strict, lenient;
    } cases[] = {
        {"3+5=8\n8-2=6\n6+7=3\n#3", R, R},
        {"#3", R, R},
        {"#4", W, W},
        {"3+5=9\n#3", R, R}, /* the outcome alone: what the lines say is the oracle's business */
        {"3+5=8\n?3+5=8\n#3", R, R},
        {"?3+5=8\n#13", W, W},
        {"", U, U},
        {"\n", U, U},
        {"#", U, U},
        {"3+5=8\n", U, W}, /* no answer line; the number at the end is 8 */
        {"3+5=8\n6+7=3\n", U, R},
        {"3+5=8\n6+7=3", U, R},
        {"3", U, R},
        {"#3\n", U, R}, /* text after the answer, be it a newline */
        {"#3 ", U, R},
        {"#3\n#3", U, R},
        {"#3\n#4", U, W},
        {"#4\n#3", U, R},
        {"#3 no #", U, R}, /* the last "#number" counts */
        {"# 3", U, R},
        {"#03", U, R},
        {"#+3", U, R},
        {"#3.0", U, R},
        {"#3.5", U, W},
        {"#-3", U, W},
        {"#-0", U, W},
        {"3+5=8\n\n#3", U, R},
        {"3+5 = 8\n#3", U, R},
        {"3+5=\n#3", U, R},
        {"3/5=8\n#3", U, R},
        {"3+5=8 so\n#3", U, R},
        {"03+5=8\n#3", U, R},
        {"-3+5=8\n#3", U, R},
        {"3+5=8#3", U, R},
        {"??3+5=8\n#3", U, R},
        {"the answer is 3.", U, R},
        {"the answer is -3", U, W},
        {"8-3", U, R}, /* the sign is an operation's */
        {"the answer is three", U, U},
        {"#three 4 words", U, U},
        {"#99999999999999999999999999", W, W},
        {"#3e", U, R},
        {"99999999999999999999+1=3\n#3", R, R},
        {".", U, U},
        {"...", U, U},
        {"-", U, U},
        {"#-", U, U},
        {"\xff\xfe#3", U, R},
    };
    struct task t;
    struct item it = chain_item("3+5-2+7=", "3");
    open_task(&t, "chain", DEFAULTS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum verdict strict, lenient;
        t.row->check(&t, &it, cases[i].response, (int)strlen(cases[i].response), &strict, &lenient);
        if ((int)strict != cases[i].strict || (int)lenient != cases[i].lenient)
            fail_msg("'%s': %d %d, not %d %d", cases[i].response, strict, lenient, cases[i].strict, cases[i].lenient);
    }
    enum verdict strict, lenient;
    t.row->check(&t, &it, "#3\0", 3, &strict, &lenient);
    assert_true(strict == VERDICT_UNPARSABLE && lenient == VERDICT_RIGHT);
    t.row->check(&t, &it, "3\0", 2, &strict, &lenient);
    assert_true(strict == VERDICT_UNPARSABLE && lenient == VERDICT_UNPARSABLE);
    t.row->check(&t, &it, "#3#4", 2, &strict, &lenient); /* nothing beyond len is read */
    assert_true(strict == VERDICT_RIGHT && lenient == VERDICT_RIGHT);
    item_free(&it);
    task_close(&t);
}

/* A megabyte of any one thing is judged at once and without harm. */
static void test_chain_long(void **state)
{
    (void)state;
    enum { LEN = 1 << 20 };
    static const char *const units[] = {"9", "#", "# ", "\n", "?", "3+5=8\n", "0", "-", ".", "1.", " ", "#1", "\xff"};
    struct task t;
    struct item it = chain_item("3+5-2+7=", "3");
    char *s = mem_alloc(LEN, 1);
    struct step step[64];
    open_task(&t, "chain", DEFAULTS);
    double start = clock_now();
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        int size = (int)strlen(units[u]);
        enum verdict strict, lenient;
        for (int i = 0; i < LEN; i++)
            s[i] = units[u][i % size];
        t.row->check(&t, &it, s, LEN, &strict, &lenient);
        assert_true(strict != VERDICT_RIGHT && lenient != VERDICT_RIGHT);
        int n = t.row->steps(&t, &it, s, LEN, step, 64);
        assert_true(n >= 1 && n <= 64);
        for (int k = 0; k < n; k++)
            assert_true(t.row->check_step(&t, &it, s, LEN, step, n, k) != VERDICT_RIGHT || (u == 5 && k == 0));
    }
    if (clock_now() - start > 5)
        fail_msg("judging took %.1f s", clock_now() - start);
    memset(s, 0, LEN);
    enum verdict strict, lenient;
    t.row->check(&t, &it, s, LEN, &strict, &lenient);
    assert_true(strict == VERDICT_UNPARSABLE && lenient == VERDICT_UNPARSABLE);
    mem_free(s);
    item_free(&it);
    task_close(&t);
}

/* want: one letter a step, R W U. */
static void expect_steps(const struct task *t, const struct item *it, const char *response, const char *want)
{
    struct step s[32];
    int len = (int)strlen(response), n = t->row->steps(t, it, response, len, s, 32), at = 0;
    char got[33] = "";
    for (int k = 0; k < n; k++) {
        assert_int_equal(s[k].start, at); /* steps cover the response without gaps */
        assert_true(s[k].end > s[k].start);
        at = s[k].end;
        enum verdict v = t->row->check_step(t, it, response, len, s, n, k);
        got[k] = v == VERDICT_RIGHT ? 'R' : v == VERDICT_WRONG ? 'W' : 'U';
    }
    assert_int_equal(at, len);
    if (strcmp(got, want))
        fail_msg("'%s': steps are %s, not %s", response, got, want);
}

static void test_chain_oracle(void **state)
{
    (void)state;
    struct task t;
    struct item it = chain_item("3+5-2+7=", "3");
    open_task(&t, "chain", DEFAULTS);
    expect_steps(&t, &it, "", "");
    expect_steps(&t, &it, "3+5=8\n8-2=6\n6+7=3\n#3", "RRRR");
    expect_steps(&t, &it, "3+5=8\n8-2=6\n6+7=3\n#3\n", "RRRR");
    expect_steps(&t, &it, "3+5=8\n8-2=6\n6+7=3", "RRR");
    expect_steps(&t, &it, "#3", "R");
    expect_steps(&t, &it, "#4", "W");
    expect_steps(&t, &it, "3+5=9\n9-2=7\n7+7=4\n#4", "WRRW"); /* an error carried on is one error, and the answer */
    expect_steps(&t, &it, "3+5=9\n8-2=6\n6+7=3\n#3", "WWRR"); /* a slip the next line ignores: its left is not the 9 */
    expect_steps(&t, &it, "4+5=9\n9-2=7\n", "WR");            /* wrong first number */
    expect_steps(&t, &it, "3-5=8\n8-2=6\n", "WR");            /* wrong operator */
    expect_steps(&t, &it, "3+4=7\n7-2=5\n", "WR");            /* wrong operand */
    expect_steps(&t, &it, "3+5=8\n8+7=5\n#3", "RWR");         /* an operation left out */
    expect_steps(&t, &it, "3+5=8\n3+5=8\n", "RW");            /* repeated without saying so */
    expect_steps(&t, &it, "1+1=2\n1+1=2\n1+1=2\n", "WWW");    /* true arithmetic of something else */
    expect_steps(&t, &it, "3+5=8\n8-2=6\n6+7=3\n3+1=4\n#3", "RRRWR");
    expect_steps(&t, &it, "3+5=8\n8-2=6\n6+7=13\n#13", "RRWW");
    expect_steps(&t, &it, "3+5=8\n\n8-2=6\n", "RUR");
    expect_steps(&t, &it, "3+5=8\noops\n8-2=6\n", "RUR");
    expect_steps(&t, &it, "3+5=8\n8-2\n", "RU");
    expect_steps(&t, &it, "3+5=8\n8-2=-4\n", "RU");
    expect_steps(&t, &it, "3+5=8\n?3+5=8\n?3+5=8\n8-2=6\n", "RRRR");
    expect_steps(&t, &it, "3+5=9\n?3+5=9\n", "WW");
    expect_steps(&t, &it, "3+5=8\n?3+5=7\n8-2=6\n", "RWR");
    expect_steps(&t, &it, "3+5=8\n?8-2=6\n", "RW");
    expect_steps(&t, &it, "?3+5=8\n3+5=8\n", "WR");
    expect_steps(&t, &it, "#3\n#3", "RW");
    expect_steps(&t, &it, "#3\n3+5=8\n?3+5=8\nx", "RWWU");
    expect_steps(&t, &it, "3+5=99999999999999999999\n99999999999999999999-2=6\n", "WW");
    expect_steps(&t, &it, "?99999999999999999999*99999999999999999999=1\n", "W");
    item_free(&it);
    task_close(&t);
    /* answer modulo 2: the lines are as ever, the last step is the remainder */
    it = chain_item("3+5-2+7=", "1");
    open_task(&t, "chain", SET("answer_mod=2"));
    expect_steps(&t, &it, "3+5=8\n8-2=6\n6+7=3\n#1", "RRRR");
    expect_steps(&t, &it, "3+5=8\n8-2=6\n6+7=3\n#3", "RRRW");
    item_free(&it);
    task_close(&t);
    /* modulo 100, as in setting S-chain */
    it = chain_item("3+5-20+7=", "95");
    open_task(&t, "chain", SET("mod=100"));
    expect_steps(&t, &it, "3+5=8\n8-20=88\n88+7=95\n#95", "RRRR");
    item_free(&it);
    task_close(&t);
}

static void test_max_steps(void **state)
{
    (void)state;
    struct task t;
    struct item it = chain_item("3+5-2+7=", "3");
    struct step s[3];
    open_task(&t, "chain", DEFAULTS);
    assert_int_equal(t.row->steps(&t, &it, "1\n2\n3\n4", 7, s, 2), 2);
    assert_int_equal(s[1].end, 4);
    assert_int_equal(t.row->steps(&t, &it, "1\n2\n3\n4", 7, s, 0), 0);
    item_free(&it);
    task_close(&t);
}

static void test_perfect_teacher(void **state)
{
    (void)state;
    const char *const *const sets[] = {
        SET("bare=0", "wrong_facts=0"),
        SET("bare=0", "wrong_facts=0", "recheck=3", "answer_mod=4"),
        SET("bare=0", "wrong_facts=0", "mod=1000", "ops_max=16"),
        SET("bare=0", "wrong_facts=0.5", "wrong_rate=0", "answer_noise=0"),
    };
    for (size_t c = 0; c < sizeof sets / sizeof *sets; c++) {
        struct task t;
        struct item it = {0};
        struct text text = {0};
        struct step s[128];
        open_task(&t, "chain", sets[c]);
        for (uint64_t i = 0; i < 1000; i++) {
            enum verdict strict, lenient;
            t.row->make(&t, (enum split)(i % 2), i, &it);
            t.row->gold(&t, &it, rng_stream(5, RNG_TEACHER, 0, i, 0), &text);
            t.row->check(&t, &it, text.s, text.len, &strict, &lenient);
            assert_true(strict == VERDICT_RIGHT && lenient == VERDICT_RIGHT);
            assert_true(text.len <= t.longest_gold);
            int n = t.row->steps(&t, &it, text.s, text.len, s, 128);
            assert_true(n >= 4);
            assert_int_equal(strspn(it.prompt.s, t.row->alphabet), it.prompt.len);
            assert_int_equal(strspn(text.s, t.row->alphabet), text.len);
            for (int k = 0; k < n; k++)
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

/* What a teacher wrote, counted by code of this test for modulo 10. */
struct count {
    double texts, bare, bare_right, lines, rechecks, most_rechecks, wrong, slips, answers_right;
    double uses[10][3][10][10]; /* left, operator, right, result written */
};

static int truth_of(int left, int op, int right)
{
    return op == 0 ? (left + right) % 10 : op == 1 ? (left - right + 10) % 10 : left * right % 10;
}

static void count_text(struct count *c, const struct item *it, const char *s)
{
    int result = -1, rechecks = 0, slipped = 0, bare = *s == '#', truth = it->prompt.s[0] - '0';
    for (const char *p = it->prompt.s + 1; *p != '='; p += 2)
        truth = truth_of(truth, (int)(strchr("+-*", p[0]) - "+-*"), p[1] - '0');
    c->texts++;
    c->bare += bare;
    for (; *s != '#'; s = strchr(s, '\n') + 1) {
        if (*s == '?') {
            assert_memory_equal(s + 1, s - 6, 6);
            c->rechecks++;
            c->most_rechecks = fmax(c->most_rechecks, ++rechecks);
            continue;
        }
        int left = s[0] - '0', op = (int)(strchr("+-*", s[1]) - "+-*"), right = s[2] - '0';
        slipped += result >= 0 && left != result;
        result = s[4] - '0';
        rechecks = 0;
        c->lines++;
        c->wrong += result != truth_of(left, op, right);
        c->uses[left][op][right][result]++;
    }
    slipped += !bare && s[1] - '0' != result;
    assert_true(slipped <= 1);
    c->slips += slipped;
    c->answers_right += s[1] - '0' == truth;
    c->bare_right += bare && s[1] - '0' == truth;
}

static struct count *count_teacher(const char *const *set, int texts)
{
    struct task t;
    struct item it = {0};
    struct text text = {0};
    struct count *c = mem_alloc(1, sizeof *c);
    open_task(&t, "chain", set);
    for (uint64_t i = 0; i < (uint64_t)texts; i++) {
        t.row->make(&t, SPLIT_TRAIN, i, &it);
        t.row->gold(&t, &it, rng_stream(6, RNG_TEACHER, 1, i, 0), &text);
        assert_true(text.len <= t.longest_gold);
        count_text(c, &it, text.s);
    }
    text_free(&text);
    item_free(&it);
    task_close(&t);
    return c;
}

static void test_teacher_bare(void **state)
{
    (void)state;
    struct count *c = count_teacher(DEFAULTS, 10000);
    expect_share(c->bare, c->texts, 0.6);
    assert_true(c->bare_right == c->bare);
    assert_true(c->rechecks == 0 && c->slips == 0);
    mem_free(c);
    c = count_teacher(SET("bare=0"), 1000);
    assert_true(c->bare == 0);
    mem_free(c);
    c = count_teacher(SET("bare=1"), 1000);
    assert_true(c->bare == 1000 && c->answers_right == 1000);
    mem_free(c);
}

/* Which of the 300 operations are wrong is a property of the operation, and each has one wrong result. */
static void test_teacher_facts(void **state)
{
    (void)state;
    struct count *always = count_teacher(SET("bare=0", "wrong_rate=1"), 20000);
    struct count *often = count_teacher(SET("bare=0"), 20000);
    double wrong_facts = 0, wrong_uses = 0, uses = 0;
    for (int i = 0; i < 300; i++) {
        int left = i / 30, op = i / 10 % 3, right = i % 10, truth = truth_of(left, op, right), results = 0, result = 0;
        for (int r = 0; r < 10; r++)
            if (always->uses[left][op][right][r] > 0) {
                results++;
                result = r;
            }
        assert_int_equal(results, 1); /* also: every operation was met */
        wrong_facts += result != truth;
        for (int r = 0; r < 10; r++) {
            double n = often->uses[left][op][right][r];
            if (n > 0)
                assert_true(r == truth || r == result);
            if (result != truth) {
                uses += n;
                wrong_uses += r == result ? n : 0;
            }
        }
    }
    expect_share(wrong_facts, 300, 0.15);
    expect_share(wrong_uses, uses, 0.6);
    assert_true(often->slips == 0); /* errors are carried on */
    assert_true(often->answers_right < 0.95 * often->texts);
    mem_free(always);
    mem_free(often);
}

static void test_teacher_rechecks(void **state)
{
    (void)state;
    struct count *c = count_teacher(SET("recheck=2", "bare=0"), 5000);
    double error = sqrt(2. / 3 / c->lines); /* 0, 1 or 2: mean 1, variance 2/3 */
    assert_true(fabs(c->rechecks / c->lines - 1) < 4 * error);
    assert_true(c->most_rechecks == 2);
    mem_free(c);
}

static void test_teacher_slips(void **state)
{
    (void)state;
    struct count *c = count_teacher(SET("slip=0.3", "bare=0", "wrong_facts=0"), 10000);
    expect_share(c->slips, c->texts, 0.3);
    assert_true(c->wrong == c->slips && c->answers_right == c->texts);
    mem_free(c);
    c = count_teacher(SET("slip=0.3"), 20000); /* a share of the worked texts */
    expect_share(c->slips, c->texts - c->bare, 0.3);
    mem_free(c);
}

/* A share of the training items has another truth for good; their texts, the oracle and test items do not change. */
static void test_answer_noise(void **state)
{
    (void)state;
    struct task clean, noisy;
    struct item a = {0}, b = {0};
    double changed = 0, n = 4000;
    open_task(&clean, "chain", DEFAULTS);
    open_task(&noisy, "chain", SET("answer_noise=0.25"));
    for (uint64_t i = 0; i < 2 * (uint64_t)n; i++) {
        clean.row->make(&clean, (enum split)(i % 2), i, &a);
        noisy.row->make(&noisy, (enum split)(i % 2), i, &b);
        assert_string_equal(a.prompt.s, b.prompt.s);
        assert_true(strlen(b.answer.s) == 1 && b.answer.s[0] >= '0' && b.answer.s[0] <= '9');
        if (i % 2)
            assert_string_equal(a.answer.s, b.answer.s);
        else
            changed += strcmp(a.answer.s, b.answer.s) != 0;
        char bare[8];
        struct step s;
        snprintf(bare, sizeof bare, "#%s", a.answer.s);
        assert_int_equal(noisy.row->steps(&noisy, &b, bare, 2, &s, 1), 1);
        assert_int_equal(noisy.row->check_step(&noisy, &b, bare, 2, &s, 1, 0), VERDICT_RIGHT);
    }
    expect_share(changed, n, 0.25);
    item_free(&a);
    item_free(&b);
    task_close(&clean);
    task_close(&noisy);
}

static void test_refusals(void **state)
{
    (void)state;
    expect_refused("chain", SET("ops_min=6"), "ops_min = 6 is above ops_max = 5");
    expect_refused("chain", SET("ops_max=17"), "ops_max");
    expect_refused("chain", SET("mod=1"), "mod");
    expect_refused("chain", SET("answer_mod=10"), "answer_mod = 10");
    expect_refused("chain", SET("answer_mod=1"), "answer_mod = 1");
    expect_refused("chain", SET("operators="), "operators is empty");
    expect_refused("chain", SET("operators=+/"), "'/'");
    expect_refused("chain", SET("operators=++"), "twice");
    expect_refused("chain", SET("mod=2", "ops_min=1", "ops_max=1", "operators=+"), "too few different prompts");
    expect_refused("chain", SET("bare=1.5"), "bare");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_purity),
        cmocka_unit_test(test_disjoint),
        cmocka_unit_test(test_chain_items),
        cmocka_unit_test(test_chain_frozen),
        cmocka_unit_test(test_chain_check),
        cmocka_unit_test(test_chain_long),
        cmocka_unit_test(test_chain_oracle),
        cmocka_unit_test(test_max_steps),
        cmocka_unit_test(test_perfect_teacher),
        cmocka_unit_test(test_teacher_bare),
        cmocka_unit_test(test_teacher_facts),
        cmocka_unit_test(test_teacher_rechecks),
        cmocka_unit_test(test_teacher_slips),
        cmocka_unit_test(test_answer_noise),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
