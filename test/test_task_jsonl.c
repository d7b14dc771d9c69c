/* The task jsonl and the decimal numbers it compares: files written here, verdicts worked out by hand, refusals with
 * their line numbers, hostile text; and, where the data are there, GSM8K with the grades that its authors gave to model
 * solutions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../data/decimal.h"
#include "../data/task.h"
#include "../model/base/clock.h"
#include "../model/base/file.h"
#include "../model/base/json.h"
/* last: they need the headers above, and cmocka's macro fail() would change ours */
#include <cmocka.h>
#include "tasks.h"

static char folder[64], train_key[128], test_key[128]; /* "train=FOLDER/train.jsonl" and the like */

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_jsonl.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(train_key, sizeof train_key, "train=%s/train.jsonl", folder);
    snprintf(test_key, sizeof test_key, "test=%s/test.jsonl", folder);
    return 0;
}

static int remove_folder(void **state)
{
    struct error e;
    (void)state;
    return file_remove_directory(folder, &e);
}

static void put(const char *key, const char *text)
{
    struct error e;
    if (file_write(strchr(key, '=') + 1, text, strlen(text), &e))
        fail_msg("%s", e.text);
}

/* ---- decimals */

static void test_decimal_read(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        int used;
        const char *canonical;
    } cases[] = {
        {"7", 1, "7"},
        {"007", 3, "7"},
        {"+01,000.00", 10, "1000"},
        {"-0", 2, "0"},
        {"-0.0", 4, "0"},
        {".5", 2, "0.5"},
        {"-.50", 4, "-0.5"},
        {"5.", 1, "5"},
        {"5.x", 1, "5"},
        {"1,234,567.8900", 14, "1234567.89"},
        {"1,23", 1, "1"},
        {"1,2345", 1, "1"},
        {"1234,567", 4, "1234"},
        {"12,345,6", 6, "12345"},
        {"0,123", 5, "123"},
        {"123456789012345678901234567890.1", 32, "123456789012345678901234567890.1"},
        {"1e5", 1, "1"},
        {"", 0, NULL},
        {"-", 0, NULL},
        {".", 0, NULL},
        {"-.", 0, NULL},
        {",5", 0, NULL},
        {"x", 0, NULL},
        {"--5", 0, NULL},
        {" 5", 0, NULL},
    };
    struct text out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int used = decimal_read(cases[i].s, (int)strlen(cases[i].s), &out);
        if (used != cases[i].used || (used && strcmp(out.s, cases[i].canonical)))
            fail_msg("'%s': %d bytes, '%s'", cases[i].s, used, used ? out.s : "");
        assert_int_equal(decimal_read(cases[i].s, (int)strlen(cases[i].s), NULL), used);
    }
    assert_int_equal(decimal_read("123", 2, &out), 2); /* nothing beyond len is read */
    assert_string_equal(out.s, "12");
    text_free(&out);
}

static void test_decimal_last(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        int at;
        const char *canonical;
    } cases[] = {
        {"the answer is 12.", 14, "12"},
        {"$1,234.50 in all", 1, "1234.5"},
        {"a, b and 1,2,3", 13, "3"},
        {"8-3", 2, "3"},
        {"8 - 3", 4, "3"},
        {"8 -3", 2, "-3"},
        {"it is -3", 6, "-3"},
        {"x-3", 2, "3"},
        {"(2)-3", 4, "3"},
        {"=-3", 1, "-3"},
        {"version 1.2.3", 12, "3"},
        {"3 apples.", 0, "3"},
        {"50%", 0, "50"},
        {"no number", -1, NULL},
        {"", -1, NULL},
        {"...", -1, NULL},
    };
    struct text out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int at = decimal_last(cases[i].s, (int)strlen(cases[i].s), &out);
        if (at != cases[i].at || (at >= 0 && strcmp(out.s, cases[i].canonical)))
            fail_msg("'%s': at %d, '%s'", cases[i].s, at, at >= 0 ? out.s : "");
    }
    assert_true(decimal_whole(" 5 \n", 4, &out) && !decimal_whole("5 6", 3, &out) && !decimal_whole(" ", 1, &out));
    assert_true(!decimal_whole("5\0", 2, &out) && !decimal_whole("5%", 2, &out));
    text_free(&out);
}

/* ---- opening */

static void test_rows(void **state)
{
    (void)state;
    struct task t;
    struct item it = {0};
    struct text gold = {0};
    put(train_key, "{\"question\": \"1+1?\", \"answer\": \"It is\\n#### 2\", \"id\": 7}\r\n"
                   "\n"
                   "{\"answer\": \"x\\n#### 1,000\", \"question\": \"caf\\u00e9 \\ud83d\\ude42\", \"id\": 0.1}");
    put(test_key, "{\"question\": \"2+2?\", \"answer\": \"#### 4\", \"id\": -1}\n");
    open_task(&t, "jsonl", SET(train_key, test_key, "verify=number", "prompt=[{id}] {question} {x y\n{"));
    assert_true(t.size[SPLIT_TRAIN] == 2 && t.size[SPLIT_TEST] == 1);
    t.row->make(&t, SPLIT_TRAIN, 0, &it);
    assert_string_equal(it.prompt.s, "[7] 1+1? {x y\n{");
    assert_string_equal(it.answer.s, "2");
    t.row->gold(&t, &it, rng_stream(1, RNG_TEACHER, 0, 0, 0), &gold);
    assert_string_equal(gold.s, " It is\n#### 2");
    t.row->make(&t, SPLIT_TRAIN, 3, &it); /* indices go round */
    assert_string_equal(it.prompt.s, "[0.1] caf\xc3\xa9 \xf0\x9f\x99\x82 {x y\n{");
    assert_string_equal(it.answer.s, "1000");
    t.row->make(&t, SPLIT_TEST, 0, &it);
    assert_string_equal(it.prompt.s, "[-1] 2+2? {x y\n{");
    assert_int_equal(t.longest_prompt, 23); /* "[0.1] caf__ ____ {x y\n{" */
    assert_int_equal(t.longest_gold, 13);   /* " It is\n#### 2" */
    assert_string_equal(t.alphabet, "\n #+,-.01247?I[]acfistxy{\xc3\xa9\xf0\x9f\x99\x82");
    task_close(&t);
    /* names of one's own, a worked solution in a field of its own, a prompt that ends with a blank */
    put(train_key, "{\"q\": \"A\", \"a\": 14.0, \"how\": \"7+7=14\"}\n{\"q\": \"B\", \"a\": 3, \"how\": \"\"}\n");
    put(test_key, "{\"q\": \"C\", \"a\": \"-1\", \"how\": \"z\"}\n");
    open_task(&t, "jsonl",
              SET(train_key, test_key, "question=q", "answer=a", "gold=how", "verify=number", "prompt={question} "));
    t.row->make(&t, SPLIT_TRAIN, 0, &it);
    assert_string_equal(it.prompt.s, "A ");
    assert_string_equal(it.answer.s, "14");
    t.row->gold(&t, &it, rng_stream(1, RNG_TEACHER, 0, 0, 0), &gold);
    assert_string_equal(gold.s, "7+7=14");
    task_close(&t);
    item_free(&it);
    text_free(&gold);
}

static void expect_bad(const char *train, const char *const *set, const char *message)
{
    const char *all[8] = {train_key};
    for (int i = 0; set[i]; i++)
        all[i + 1] = set[i];
    put(train_key, train);
    expect_refused("jsonl", all, message);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char good[] = "{\"question\": \"1\", \"answer\": \"1\"}\n";
    char text[512], line_3[160];
    snprintf(line_3, sizeof line_3, "%s/train.jsonl:3: ", folder);
    expect_refused("jsonl", DEFAULTS, "it needs a file: task.train=FILE");
    expect_refused("jsonl", SET("train=/nowhere/at.all"), "/nowhere/at.all");
    expect_refused("jsonl", SET("train=/tmp"), "/tmp");
    static const char *const bad[][2] = {
        {"{\"question\": \"1\", \"answer\": }", "line 1, column"},
        {"{\"question\": \"1\"", "line 1, column"},
        {"[1]", "it is not an object"},
        {"7", "it is not an object"},
        {"{\"answer\": \"1\"}", "there is no field 'question'"},
        {"{\"question\": \"1\"}", "there is no field 'answer'"},
        {"{\"question\": [1], \"answer\": \"1\"}", "the field 'question' is neither a text nor a number"},
        {"{\"question\": \"1\", \"answer\": null}", "the field 'answer' is neither"},
        {"{\"question\": \"1\", \"answer\": true}", "the field 'answer' is neither"},
        {"{\"question\": \"1\", \"answer\": \" \"}", "the answer is empty"},
        {"{\"question\": \"1\", \"answer\": \"x\\n####\"}", "the answer is empty"},
        {"{\"question\": \"1\", \"answer\": \"1\"} {}", "line 1, column"},
        {"{\"question\": \"1\", \"question\": \"2\", \"answer\": \"1\"}", "duplicate"},
        {"\xff", "line 1, column"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "%s\n%s\n%s", good, bad[i][0], good);
        expect_bad(text, DEFAULTS, bad[i][1]);
        expect_bad(text, DEFAULTS, line_3);
    }
    snprintf(text, sizeof text, "%s\n{\"question\": \"1\", \"answer\": \"seven\"}", good);
    expect_bad(text, SET("verify=number"), "the answer 'seven' is not a number");
    expect_bad("", DEFAULTS, "holds no line");
    expect_bad(" \n\n", DEFAULTS, "holds no line");
    expect_bad(good, SET("prompt=What?"), "has no field such as {question}");
    expect_bad(good, SET("prompt={topic}"), "there is no field 'topic'");
    expect_bad(good, DEFAULTS, "train.jsonl"); /* one line cannot be both */
    put(test_key, good);
    expect_bad(good, SET(test_key), "all stand in the test file too");
    put(test_key, "{}");
    expect_bad(good, SET(test_key), "test.jsonl:1: there is no field");
}

/* Lines "N" with the answer N; which of them are in a split. */
static int members(struct task *t, enum split split, char *in, int n)
{
    struct item it = {0};
    memset(in, 0, (size_t)n);
    for (uint64_t i = 0; i < t->size[split]; i++) {
        t->row->make(t, split, i, &it);
        int number = atoi(it.answer.s);
        assert_true(number >= 0 && number < n && !in[number]);
        in[number] = 1;
        assert_true(it.split == split && it.index == i);
    }
    item_free(&it);
    return (int)t->size[split];
}

static void test_splits(void **state)
{
    (void)state;
    enum { N = 2000 };
    static char train[N], test[N], again[N];
    struct text all = {0}, some = {0};
    struct task t;
    for (int i = 0; i < N; i++) {
        text_addf(&all, "{\"question\": \"%d\", \"answer\": %d}\n", i, i);
        if (i % 4 == 0)
            text_addf(&some, "{\"question\": \"%d\", \"answer\": %d, \"more\": 1}\n", i, i);
    }
    put(train_key, all.s);
    put(test_key, some.s);
    open_task(&t, "jsonl", SET(train_key));
    int held_out = members(&t, SPLIT_TEST, test, N);
    assert_int_equal(members(&t, SPLIT_TRAIN, train, N) + held_out, N);
    assert_true(held_out > 150 && held_out < 250);
    for (int i = 0; i < N; i++)
        assert_true(train[i] != test[i]);
    task_close(&t);
    open_task(&t, "jsonl", SET(train_key));
    members(&t, SPLIT_TEST, again, N);
    assert_memory_equal(test, again, N);
    task_close(&t);
    open_task(&t, "jsonl", SET(train_key, test_key));
    assert_int_equal(members(&t, SPLIT_TEST, test, N), N / 4);
    assert_int_equal(members(&t, SPLIT_TRAIN, train, N), N - N / 4);
    for (int i = 0; i < N; i++)
        assert_true(test[i] == (i % 4 == 0) && train[i] != test[i]);
    task_close(&t);
    text_free(&all);
    text_free(&some);
}

/* ---- verdicts */

struct verdicts {
    const char *response;
    int strict, lenient;
};

/* One line of a file with that answer, and what the responses to it are worth. */
static void expect_verdicts(const char *answer, const char *const *set, const struct verdicts *v, int n)
{
    const char *all[8] = {train_key, test_key};
    char text[256];
    struct task t;
    struct item it = {0};
    struct text gold = {0};
    enum verdict strict, lenient;
    for (int i = 0; set[i]; i++)
        all[i + 2] = set[i];
    snprintf(text, sizeof text, "{\"question\": \"q\", \"answer\": \"%s\"}\n", answer);
    put(test_key, text);
    put(train_key, "{\"question\": \"other\", \"answer\": \"1\"}\n");
    open_task(&t, "jsonl", all);
    t.row->make(&t, SPLIT_TEST, 0, &it);
    for (int i = 0; i < n; i++) {
        t.row->check(&t, &it, v[i].response, (int)strlen(v[i].response), &strict, &lenient);
        if ((int)strict != v[i].strict || (int)lenient != v[i].lenient)
            fail_msg("'%s' for '%s': %d %d, not %d %d", v[i].response, answer, strict, lenient, v[i].strict,
                     v[i].lenient);
    }
    t.row->gold(&t, &it, rng_stream(1, RNG_TEACHER, 0, 0, 0), &gold);
    t.row->check(&t, &it, gold.s, gold.len, &strict, &lenient);
    assert_true(strict == VERDICT_RIGHT && lenient == VERDICT_RIGHT);
    text_free(&gold);
    item_free(&it);
    task_close(&t);
}
#define VERDICTS(answer, set, ...)                                                                                     \
    expect_verdicts(answer, set, (const struct verdicts[]){__VA_ARGS__},                                               \
                    (int)(sizeof((const struct verdicts[]){__VA_ARGS__}) / sizeof(struct verdicts)))

static void test_numbers(void **state)
{
    (void)state;
    VERDICTS("1000", SET("verify=number"), {"1000", R, R}, {"It is 1,000.00 in all.", R, R}, {"10 and 1000", R, R},
             {"1000 and 10", W, W}, {"-1000", W, W}, {"", U, U}, {" \n", U, U}, {"none", U, U}, {"#### 1000", R, R},
             {"1000 #### 5", W, W}, {"1000.01", W, W}, {"99999999999999999999", W, W}, {"\xff\xfe", U, U});
    /* a worked answer: the response has to end in the same way */
    VERDICTS("5 tens\\n#### 50", SET("verify=number"), {"5*10\n#### 50", R, R}, {"#### 50", R, R}, {"####50", R, R},
             {"#### 050.0\n", R, R}, {"#### 51", W, W}, {"50", U, R}, {"so 50.", U, R}, {"x #### 50", U, R},
             {"#### 50 apples", U, R}, {"#### $50", U, R}, {"#### 50\nDone.", U, R}, {"#### 50\nor 51", U, W},
             {"#### 49\n#### 50", R, R}, {"#### 50\n#### 49", W, W}, {"####", U, U}, {"#### none", U, U}, {"", U, U},
             {"50\n####", U, U});
    VERDICTS("5 tens = 50", SET("verify=exact"), {"5 tens = 50", R, R});
}

static void test_texts(void **state)
{
    (void)state;
    VERDICTS("New York", DEFAULTS, {"New York", R, R}, {" New York\n", R, R}, {"new york", W, R}, {"New  York.", W, R},
             {"New\nYork", W, R}, {"NewYork", W, W}, {"New York City", W, W}, {"New", W, W}, {"", U, U}, {"\n", U, U},
             {".", W, W}, {"it is #### New York", W, R}, {"New York #### London", W, W});
    VERDICTS("New York", SET("case=false"), {"NEW york", R, R}, {"NEW  york", W, R});
    VERDICTS("think\\n#### Paris", DEFAULTS, {"#### Paris", R, R}, {"so\n#### Paris ", R, R}, {"#### paris", W, R},
             {"Paris", U, R}, {"#### Paris.", W, R}, {"#### Paris\nyes", W, W}, {"####", U, U});
    VERDICTS("think\\n#### Paris", SET("marker="), {"think\n#### Paris", R, R}, {"Paris", W, W});
}

/* A quarter of a megabyte of any one thing is judged at once and without harm. */
static void test_long(void **state)
{
    (void)state;
    enum { LEN = 1 << 18 };
    static const char *const units[] = {"9",     "#", "####", "#### ", "\n", ",",   "1,",
                                        "1,234", "-", ".",    "0",     " ",  "\xff"};
    char *s = mem_alloc(LEN, 1);
    double start = clock_now();
    for (int number = 0; number < 2; number++) {
        struct task t;
        struct item it = {0};
        put(test_key, "{\"question\": \"q\", \"answer\": \"so\\n#### 5\"}\n");
        put(train_key, "{\"question\": \"other\", \"answer\": \"1\"}\n");
        open_task(&t, "jsonl", SET(train_key, test_key, number ? "verify=number" : "verify=exact"));
        t.row->make(&t, SPLIT_TEST, 0, &it);
        for (size_t u = 0; u <= sizeof units / sizeof *units; u++) {
            enum verdict strict, lenient;
            for (int i = 0; i < LEN; i++)
                s[i] = u < sizeof units / sizeof *units ? units[u][i % (int)strlen(units[u])] : 0;
            t.row->check(&t, &it, s, LEN, &strict, &lenient);
            assert_true(strict != VERDICT_RIGHT && lenient != VERDICT_RIGHT);
        }
        item_free(&it);
        task_close(&t);
    }
    if (clock_now() - start > 5)
        fail_msg("judging took %.1f s", clock_now() - start);
    mem_free(s);
}

/* ---- GSM8K */

/* Its authors graded four models' solutions. Our last number against theirs. */
static int agreements(const struct task *t, const char *model, int *right)
{
    static const char path[] = "../shared/data/gsm8k/example_model_solutions.jsonl";
    struct error e;
    struct item it = {0};
    size_t size;
    int agree = 0;
    char *all = file_read(path, 1 << 24, &size, &e);
    if (!all)
        fail_msg("%s", e.text);
    uint64_t i = 0;
    for (char *line = all, *end; *line; line = end + 1, i++) {
        enum verdict strict, lenient;
        end = strchr(line, '\n');
        json_t *o = json_parse(line, (size_t)(end - line), &e), *answer = json_object_get(o, model);
        const char *solution = json_string_value(json_object_get(answer, "solution"));
        t->row->make(t, SPLIT_TEST, i, &it);
        t->row->check(t, &it, solution, (int)strlen(solution), &strict, &lenient);
        int theirs = json_is_true(json_object_get(answer, "is_correct"));
        *right += theirs;
        agree += theirs == (lenient == VERDICT_RIGHT);
        json_decref(o);
    }
    assert_int_equal(i, 1319);
    item_free(&it);
    mem_free(all);
    return agree;
}

static void test_gsm8k(void **state)
{
    (void)state;
    struct task t;
    struct item it = {0};
    struct text gold = {0};
    if (file_size("../shared/data/gsm8k/train.jsonl") < 0)
        skip();
    open_task(&t, "jsonl",
              SET("train=../shared/data/gsm8k/train.jsonl", "test=../shared/data/gsm8k/test.jsonl", "verify=number"));
    assert_true(t.size[SPLIT_TRAIN] == 7473 && t.size[SPLIT_TEST] == 1319);
    assert_int_equal(t.longest_prompt, 991 + (int)strlen("Question: \nAnswer:")); /* 985 characters */
    for (int split = 0; split < 2; split++)
        for (uint64_t i = 0; i < t.size[split]; i++) {
            enum verdict strict, lenient;
            t.row->make(&t, (enum split)split, i, &it);
            t.row->gold(&t, &it, rng_stream(1, RNG_TEACHER, 0, i, 0), &gold);
            t.row->check(&t, &it, gold.s, gold.len, &strict, &lenient);
            assert_true(strict == VERDICT_RIGHT && lenient == VERDICT_RIGHT && gold.len <= t.longest_gold);
        }
    static const char *const models[] = {"6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"};
    static const int correct[] = {286, 515, 458, 742};
    for (int k = 0; k < 4; k++) {
        int right = 0, agree = agreements(&t, models[k], &right);
        assert_int_equal(right, correct[k]);
        if (agree != 1319)
            fail_msg("%s: %d of 1319 verdicts agree", models[k], agree);
    }
    text_free(&gold);
    item_free(&it);
    task_close(&t);
}

/* Worked examples: of the training lines alone, all different, never the question itself, the same for all that are not
 * among them, and whatever the order of the lines. */
static void test_shots(void **state)
{
    (void)state;
    enum { N = 30, SHOTS = 5 };
    struct text forward = {0}, backward = {0};
    struct task t, u;
    struct item it = {0}, shot = {0}, other = {0}, none = {.prompt = {.s = "none", .len = 4}};
    for (int i = 0; i < N; i++) {
        text_addf(&forward, "{\"question\": \"%d\", \"answer\": %d}\n", i % 20, i % 20); /* ten of them twice */
        text_addf(&backward, "{\"question\": \"%d\", \"answer\": %d}\n", (N - 1 - i) % 20, (N - 1 - i) % 20);
    }
    put(train_key, forward.s);
    put(test_key, "{\"question\": \"0\", \"answer\": 0}\n");
    open_task(&t, "jsonl", SET(train_key, test_key, "prompt={question}", "shots=5"));
    put(train_key, backward.s);
    open_task(&u, "jsonl", SET(train_key, test_key, "prompt={question}", "shots=5"));
    assert_int_equal(t.shots, SHOTS);
    int replaced = 0;
    for (uint64_t i = 0; i < t.size[SPLIT_TRAIN]; i++) {
        t.row->make(&t, SPLIT_TRAIN, i, &it);
        int seen[20] = {0}, same = 1;
        for (int k = 0; k < SHOTS; k++) {
            t.row->shot(&t, &it, k, &shot);
            u.row->shot(&u, &it, k, &other);
            assert_string_equal(shot.prompt.s, other.prompt.s);
            t.row->shot(&t, &none, k, &other);
            same &= !strcmp(shot.prompt.s, other.prompt.s);
            int asked = atoi(shot.prompt.s);
            assert_true(asked != 0 && asked != atoi(it.prompt.s) && !seen[asked]++);
            assert_string_equal(shot.prompt.s, shot.answer.s);
        }
        replaced += !same;
    }
    assert_true(replaced >= SHOTS && replaced <= 2 * SHOTS); /* one or two lines for each example */
    task_close(&t);
    task_close(&u);
    expect_refused("jsonl", SET(train_key, test_key, "prompt={question}", "shots=19"), "only 19 different questions");
    text_free(&forward);
    text_free(&backward);
    item_free(&it);
    item_free(&shot);
    item_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shots),   cmocka_unit_test(test_decimal_read), cmocka_unit_test(test_decimal_last),
        cmocka_unit_test(test_rows),    cmocka_unit_test(test_refusals),     cmocka_unit_test(test_splits),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_texts),        cmocka_unit_test(test_long),
        cmocka_unit_test(test_gsm8k),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
