/* dev/verbs/check and what it stands on: Student's t, numbers of a run, intervals, the file of an expectation whole and
 * broken, a run inside and outside, and the expectations that are shipped. Quantiles and intervals were calculated with
 * mpmath from the definitions in expect.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include "../dev/verbs/check.h"
#include "../dev/verbs/spread.h"
#include "run_files.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

static void near(double x, double want, double tolerance, const char *what)
{
    if (!(fabs(x - want) <= tolerance * fmax(1, fabs(want))))
        fail_msg("%s = %.17g instead of %.17g", what, x, want);
}

static void test_student(void **state)
{
    (void)state;
    static const struct {
        int freedom;
        double level, t;
    } want[] = {{1, 0.95, 12.7062047361747},  {2, 0.95, 4.302652729749464},  {2, 0.99, 9.924843200918293},
                {4, 0.95, 2.776445105197794}, {9, 0.999, 4.780912585931139}, {30, 0.95, 2.042272456301238},
                {99, 0.99, 2.626405457280828}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        near(student_two_sided(want[i].level, want[i].freedom), want[i].t, 1e-11, "t");
    near(student_tails(3, 4), 0.03994196807171883, 1e-14, "tails");
    near(student_tails(0.5, 7), 0.6324071356892842, 1e-14, "tails");
    near(student_tails(0, 3), 1, 0, "tails");
    static const double x[] = {2, 4, 4, 4, 5, 5, 7, 9};
    near(spread_mean(x, 8), 5, 1e-15, "mean");
    near(spread_sd(x, 8), sqrt(32 / 7.0), 1e-15, "sd");
    near(spread_sd(x, 1), 0, 0, "sd");
}

/* ---- three runs by hand ---- */

#define LINE(step, phase, mismatch)                                                                                    \
    "{\"step\":" step ",\"phase\":\"" phase "\",\"reward\":null,\"logp_mismatch_max\":" mismatch ",\"t_seconds\":90}"  \
    "\n"
#define LOG_OF(mismatch)                                                                                               \
    LINE("0", "warmup", "0")                                                                                           \
    LINE("1", "warmup", "0")                                                                                           \
    LINE("2", "rl", "0")                                                                                               \
    LINE("3", "rl", mismatch) LINE("4", "rl", "0") LINE("5", "rl", "0") LINE("6", "control", "0")

static const char *put_measured(const char *name, int seed, double before, double length, double after,
                                const char *mismatch, const char *lr)
{
    char recipe[1200], log[2000], eval[1200];
    snprintf(log, sizeof log, "%s", mismatch ? LOG_OF("1e-9") : LOG_OF("0"));
    snprintf(eval, sizeof eval,
             "{\"step\":2,\"phase\":\"rl\",\"prompts\":100,\"accuracy\":%g,\"accuracy_se\":0.05,\"length\":%g}\n"
             "{\"step\":4,\"phase\":\"rl\",\"prompts\":100,\"accuracy\":0.7,\"accuracy_se\":0.05,\"length\":3}\n"
             "{\"step\":6,\"phase\":\"rl\",\"prompts\":100,\"accuracy\":%g,\"accuracy_se\":0,\"length\":20,"
             "\"t_seconds\":3}\n",
             before, length, after);
    return put_run(name, recipe_text(recipe, seed, lr), log, eval);
}

static void put_three(void)
{
    put_measured("r1", 1, 0.4, 10, 1, NULL, NULL);
    put_measured("r2", 2, 0.5, 11, 1, NULL, NULL);
    put_measured("r3", 3, 0.45, 12, 1, NULL, NULL);
}

static const struct expected *find(const struct expectation *x, const char *name)
{
    for (int i = 0; i < x->metrics; i++)
        if (!strcmp(x->metric[i].name, name))
            return &x->metric[i];
    fail_msg("no %s", name);
    return NULL;
}

/* Made from the runs in the folder, written to folder/x.json. */
static void make(struct expectation *x)
{
    static struct run_files run[MAX_RUNS];
    char path[256];
    struct error e = {""};
    int n = run_read_all(run, 1, (const char *const[]){folder}, &e);
    if (n < 0 || expect_make(x, run, n, "a \"machine\"", &e) || expect_write(x, in_folder(path, "x.json"), &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < n; i++)
        run_close(&run[i]);
}

static void test_intervals(void **state)
{
    (void)state;
    static struct expectation x, y;
    char path[256];
    size_t len;
    struct error e = {""};
    put_three();
    make(&x);
    assert_int_equal(x.metrics, 5); /* before and rl: accuracy, length; the mismatch */
    near(find(&x, "before.accuracy")->sd, 0.05, 1e-12, "sd");
    near(find(&x, "before.accuracy")->low, 0, 0, "low"); /* -.70 and 1.60 before they are cut */
    near(find(&x, "before.accuracy")->high, 1, 0, "high");
    near(find(&x, "before.length")->mean, 11, 1e-12, "mean");
    near(find(&x, "before.length")->high, 34.05068692489742, 1e-11, "high");
    near(find(&x, "rl.accuracy")->least_sd, 0.00574481840162168, 1e-12, "least_sd");
    near(find(&x, "rl.accuracy")->low, 0.867577989583829, 1e-11, "low");
    near(find(&x, "rl.length")->low, 15.38986261502052, 1e-11, "low");
    near(find(&x, "rl.length")->high, 24.61013738497948, 1e-11, "high");
    assert_true(find(&x, "logp_mismatch_max")->exact);
    near(x.minutes[0], 1.5, 1e-12, "minutes");
    char *text = file_read(in_folder(path, "x.json"), 1 << 20, &len, &e);
    if (expect_parse(&y, text, len, &e))
        fail_msg("%s", e.text);
    assert_string_equal(y.machine, "a \"machine\"");
    assert_int_equal(y.metrics, x.metrics);
    assert_int_equal(y.settings.n, x.settings.n);
    assert_null(settings_get(&y.settings, "run.seed"));
    for (int i = 0; i < x.metrics; i++) {
        assert_string_equal(x.metric[i].name, y.metric[i].name);
        assert_true(x.metric[i].low == y.metric[i].low && x.metric[i].high == y.metric[i].high);
    }
    mem_free(text);
    expect_free(&x);
    expect_free(&y);
    forget_runs();
}

/* What check_run says about a run. */
static int judged(const struct expectation *x, const char *dir, const char *const *texts)
{
    struct run_files r;
    struct error e = {""};
    char *out = NULL;
    size_t size;
    FILE *f = open_memstream(&out, &size);
    if (run_read(&r, dir, &e))
        fail_msg("%s", e.text);
    int inside = check_run(f, x, &r, &e);
    run_close(&r);
    fclose(f);
    for (; *texts; texts++)
        if (!strstr(inside < 0 ? e.text : out, *texts))
            fail_msg("%s lacks \"%s\": %s%s", dir, *texts, out, e.text);
    free(out);
    return inside;
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_judgement(void **state)
{
    (void)state;
    static struct expectation x;
    put_three();
    make(&x);
    assert_int_equal(judged(&x, made[1], TEXTS("inside: 5 of 5", "every number is the same as then")), 1);
    const char *dir = put_measured("good", 7, 0.4, 10, 0.87, NULL, NULL);
    assert_int_equal(judged(&x, dir, TEXTS("inside: 5 of 5 numbers", "1.5 minutes")), 1);
    dir = put_measured("same-seed", 2, 0.5, 11, 0.99, NULL, NULL);
    assert_int_equal(judged(&x, dir, TEXTS("not every number is the same as then")), 1);
    dir = put_measured("low", 7, 0.4, 10, 0.86, NULL, NULL);
    assert_int_equal(judged(&x, dir, TEXTS("OUTSIDE: 4 of 5 numbers", "rl.accuracy", "0.8676 to 1")), 0);
    dir = put_measured("long", 7, 0.4, 34.06, 1, NULL, NULL);
    assert_int_equal(judged(&x, dir, TEXTS("OUTSIDE: 4 of 5 numbers")), 0);
    dir = put_measured("mismatch", 7, 0.4, 10, 1, "1e-9", NULL);
    assert_int_equal(judged(&x, dir, TEXTS("OUTSIDE: 4 of 5 numbers", "exactly that")), 0);
    dir = put_measured("rate", 2, 0.5, 11, 1, NULL, "0.001");
    assert_int_equal(judged(&x, dir, TEXTS("rl.lr = 0.001 instead of 0.0003", "cannot be judged: 5 of 5")), 0);
    put_file(dir, "log.jsonl", LINE("0", "warmup", "0") LINE("1", "warmup", "0") LINE("2", "rl", "0") "{\"st");
    assert_int_equal(judged(&x, dir, TEXTS("not finished: phase rl has 1 of 4 steps", "run.resume=")), -1);
    put_file(dir, "log.jsonl", LOG_OF("0"));
    put_file(dir, "eval.jsonl", "{\"step\":6,\"phase\":\"rl\",\"accuracy\":1}\n");
    assert_int_equal(judged(&x, dir, TEXTS("was not measured")), 0);
    put_file(dir, "eval.jsonl", "");
    assert_int_equal(judged(&x, dir, TEXTS("no evaluations")), -1);
    expect_free(&x);
    forget_runs();
}

static void refused(int runs, const char *text)
{
    static struct run_files run[MAX_RUNS];
    static struct expectation x;
    struct error e = {""};
    int n = run_read_all(run, 1, (const char *const[]){folder}, &e);
    assert_int_equal(n, runs);
    assert_int_equal(expect_make(&x, run, n, "", &e), -1);
    if (!strstr(e.text, text))
        fail_msg("\"%s\" instead of \"%s\"", e.text, text);
    for (int i = 0; i < n; i++)
        run_close(&run[i]);
    expect_free(&x);
    forget_runs();
}

static void test_runs_that_give_none(void **state)
{
    (void)state;
    put_measured("r1", 1, 0.4, 10, 1, NULL, NULL);
    put_measured("r2", 2, 0.4, 10, 1, NULL, NULL);
    refused(2, "3 to 64");
    put_three();
    put_measured("r4", 2, 0.4, 10, 1, NULL, NULL);
    refused(4, "the same seed 2");
    put_three();
    put_measured("r4", 4, 0.4, 10, 1, NULL, "0.001");
    refused(4, "differ in rl.lr");
    put_three();
    put_measured("r4", 4, 0.4, 10, 1, "1e-9", NULL);
    refused(4, "must not vary");
    put_three();
    put_file(made[0], "eval.jsonl", "{\"step\":6,\"phase\":\"rl\",\"accuracy\":1}\n");
    refused(3, "have not evaluated the same");
}

/* ---- broken files ---- */

static void expect_bad(const char *text, const char *from, const char *to, const char *message)
{
    static struct expectation x;
    struct error e = {""};
    char *at = strstr(text, from), *changed = mem_alloc(strlen(text) + strlen(to) + 1, 1);
    if (!at)
        fail_msg("%s is not in the file", from);
    sprintf(changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    if (expect_parse(&x, changed, strlen(changed), &e) == 0 || !strstr(e.text, message))
        fail_msg("%s -> %s: \"%s\" instead of \"%s\"", from, to, e.text, message);
    expect_free(&x);
    mem_free(changed);
}

static void test_malformed(void **state)
{
    (void)state;
    static struct expectation x;
    char path[256];
    size_t len;
    struct error e = {""};
    put_three();
    make(&x);
    expect_free(&x);
    char *text = file_read(in_folder(path, "x.json"), 1 << 20, &len, &e);
    expect_bad(text, "\"mean\": 11", "\"mean\": 12", "mean does not follow from the values");
    expect_bad(text, "\"values\": [10, 11, 12]", "\"values\": [10, 11, 13]", "does not follow");
    expect_bad(text, "\"values\": [10, 11, 12]", "\"values\": [10, 11]", "not one for each of 3 seeds");
    expect_bad(text, "\"values\": [10, 11, 12]", "\"values\": [10, 11, null]", "no number");
    expect_bad(text, "\"values\": [0, 0, 0]", "\"values\": [0, 0, 1]", "the values differ");
    expect_bad(text, "\"exact\"", "\"exakt\"", "neither exact nor interval");
    expect_bad(text, "\"least_sd\"", "\"most_sd\"", "least_sd is missing");
    expect_bad(text, "[1, 2, 3]", "[1, 2]", "seeds");
    expect_bad(text, "[1, 2, 3]", "[1, 2, \"3\"]", "not whole numbers");
    expect_bad(text, "\"level\": 0.99", "\"level\": 1", "between 0 and 1");
    expect_bad(text, "\"metrics\"", "\"matrices\"", "metrics");
    expect_bad(text, "\"settings\"", "\"others\"", "settings");
    expect_bad(text, "\"task.mod\": \"10\"", "\"task.mod\": 10", "task.mod is not a text");
    for (size_t n = 0; n + 2 < len; n += n < 200 ? 1 : 13)
        assert_int_equal(expect_parse(&x, text, n, &e), -1);
    mem_free(text);
    forget_runs();
}

/* ---- what is shipped ---- */

/* Every shipped expectation can be read and is of the recipe beside it as it is now. */
static void test_shipped(void **state)
{
    (void)state;
    static struct expectation x;
    static struct recipe r;
    struct difference d = {0};
    struct error e = {""};
    int chain = 0;
    for (const struct recipe_file *f = recipe_files; f->name; f++) {
        if (!f->expect)
            continue;
        struct settings now;
        const char *path = NULL;
        if (expect_parse(&x, f->expect, strlen(f->expect), &e))
            fail_msg("%s: %s", f->name, e.text);
        assert_string_equal(x.recipe, f->name);
        const char *had = settings_get(&x.settings, "model.path");
        path = had && had[0] && strcmp(had, "\"\"") ? "model.path=DIR" : NULL;
        if (recipe_load(&r, f->name, &path, path != NULL, &e))
            fail_msg("%s", e.text);
        settings_read(&now, r.text);
        if (settings_compare(&now, &x.settings, &d, 1))
            fail_msg("%s.ini and its expectation differ in %s (%s, %s): measure it anew", f->name, d.name,
                     d.a ? d.a : "none", d.b ? d.b : "none");
        assert_true(find(&x, "logp_mismatch_max")->exact);
        near(find(&x, "logp_mismatch_max")->mean, 0, 0, "mismatch");
        chain = chain || !strcmp(f->name, "chain");
        settings_free(&now);
        recipe_free(&r);
        expect_free(&x);
    }
    assert_true(chain);
}

/* ---- the verb ---- */

static void call(const char *const *words, int status, const char *text)
{
    char out[MAX_OUTPUT], err[MAX_OUTPUT];
    int argc = 0;
    while (words[argc])
        argc++;
    int got = call_verb(&verb_row_check, argc, words, out, err);
    if (got != status || !(strstr(out, text) || strstr(err, text)))
        fail_msg("check %s: status %d, wanted %d and \"%s\": %s%s", words[0] ? words[0] : "", got, status, text, out,
                 err);
}

static void test_verb(void **state)
{
    (void)state;
    char write[300], expect[300], path[256];
    put_three();
    snprintf(write, sizeof write, "write=%s", in_folder(path, "x.json"));
    snprintf(expect, sizeof expect, "expect=%s", path);
    call(TEXTS(folder, write, "machine=here"), 0, "3 runs (seeds 1, 2, 3), 1.5 to 1.5 minutes each on here");
    call(TEXTS(folder, expect), 0, "inside: 5 of 5");
    call(TEXTS(put_measured("low", 7, 0.4, 10, 0.86, NULL, NULL), expect), 1, "OUTSIDE: 4 of 5");
    call(TEXTS(made[0]), 1, "no built-in recipe");
    call(TEXTS(made[0], "expect=/nonexistent"), 1, "/nonexistent");
    call(TEXTS("/nonexistent"), 1, "/nonexistent");
    call(TEXTS(expect), 2, "is missing");
    call(TEXTS(made[0], "expct=x"), 2, "did you mean 'expect'?");
    call(TEXTS(made[0], "rl.lr=1"), 2, "unknown key 'rl.lr'");
    call(TEXTS(made[0], "machine=here"), 2, "machine=here would change nothing");
    call(TEXTS("chain", "grpo"), 2, "one recipe at a time");
    static const char *const seeds[] = {"seeds=",     "seeds=2..1",        "seeds=1..", "seeds=a",
                                        "seeds=1,,2", "seeds=1..99999999", "seeds=-1"};
    for (int i = 0; i < 7; i++)
        call(TEXTS("chain", seeds[i]), 2, "seeds=");
    call(TEXTS("chian"), 2, "'chian' is neither the directory of a run nor a recipe, did you mean 'chain'?");
    call(TEXTS("chain", "run.out=x"), 2, "run.out=x: check trains each seed in out/check-RECIPE/seed-N");
    forget_runs();
}

/* Three seeds of a very short chain: trained, taken as they are the second time, and inside what they gave. */
static void test_training(void **state)
{
    (void)state;
    char here[1000], path[300], write[300];
    struct error e;
    if (!getcwd(here, sizeof here) || chdir(folder))
        fail_msg("no way into %s", folder);
    snprintf(write, sizeof write, "write=%s/short.json", folder);
#define SHORT                                                                                                          \
    "warmup.steps=2", "rl.steps=2", "control.steps=1", "eval.prompts=2", "eval.samples=1", "eval.every=0",             \
        "rollout.prompts=2", "rollout.samples=2", "warmup.batch=2", "control.batch=2", "run.threads=1"
    call(TEXTS("chain", "seeds=1..3", SHORT, write), 0, "3 runs (seeds 1, 2, 3)");
    snprintf(path, sizeof path, "%s/out/check-chain/seed-2/log.jsonl", folder);
    long size = file_size(path);
    assert_true(size > 0);
    call(TEXTS("chain", "seeds=2,3", SHORT), 1, "warmup.steps = 2 instead of 2000");
    assert_int_equal(file_size(path), size);
    call(TEXTS("chain", "seeds=2", SHORT, "rl.lr=1e-3"), 1, "holds a run with rl.lr = 0.0003, not 0.001");
    call(TEXTS("chain", "seeds=2", "rl.lrr=1"), 1, "did you mean 'lr'?");
    call(TEXTS("out/check-chain", "expect=short.json"), 0, "every number is the same as then");
    if (chdir(here))
        fail_msg("no way back");
    static const char *const parts[] = {"/seed-%d/checkpoint", "/seed-%d"};
    for (int seed = 1; seed <= 3; seed++)
        for (int i = 0; i < 2; i++) {
            int n = snprintf(path, sizeof path, "%s/out/check-chain", folder);
            snprintf(path + n, sizeof path - (size_t)n, parts[i], seed);
            file_remove_directory(path, &e);
        }
    snprintf(path, sizeof path, "%s/out/check-chain", folder);
    rmdir(path);
    snprintf(path, sizeof path, "%s/out", folder);
    rmdir(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_student),   cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_judgement), cmocka_unit_test(test_runs_that_give_none),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_verb),      cmocka_unit_test(test_training),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
