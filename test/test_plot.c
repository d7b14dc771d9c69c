/* dev/verbs/plot and what it stands on: settings of a run, run directories whole and broken, points of one run, means
 * and bands of several. Numbers are worked out by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <unistd.h>
#include "../dev/verbs/curves.h"
#include "../dev/verbs/figure.h"
#include "../dev/verbs/verbs.h"
#include "run_files.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

static void near(double x, double want, const char *what, int i)
{
    if (!(fabs(x - want) <= 1e-12 * fmax(1, fabs(want))))
        fail_msg("%s[%d] = %.17g instead of %.17g", what, i, x, want);
}

/* ---- settings ---- */

static struct settings read_settings(const char *text)
{
    struct settings s;
    settings_read(&s, text);
    return s;
}

static void test_settings(void **state)
{
    (void)state;
    char text[1200];
    struct settings s = read_settings(recipe_text(text, 3, NULL));
    assert_string_equal(s.title, "A title: of the test");
    assert_string_equal(settings_get(&s, "run.seed"), "3");
    assert_string_equal(settings_get(&s, "warmup.source"), "gold");
    assert_string_equal(settings_get(&s, "rl.score"), "outcome, length");
    assert_string_equal(settings_get(&s, "rl.score.length.max"), "9");
    assert_string_equal(settings_get(&s, "rl.loss.clip.eps_high"), "0.28");
    assert_null(settings_get(&s, "eps_high"));
    assert_string_equal(settings_find(&s, "beta"), "0.5");
    assert_string_equal(settings_find(&s, "clip.eps_high"), "0.28");
    assert_string_equal(settings_find(&s, "stages.loss"), "clip(eps_low = 0.2, eps_high = 0.28)");
    assert_string_equal(settings_find(&s, "stages.score"), "outcome, length(max = 9)");
    assert_string_equal(settings_find(&s, "rl.lr"), "0.0003");   /* [optim]'s */
    assert_string_equal(settings_find(&s, "task.ops_min"), "3"); /* the task's default */
    assert_null(settings_find(&s, "stages.credit"));
    assert_null(settings_find(&s, "nothing"));
    settings_free(&s);
}

static void test_settings_of_any_text(void **state)
{
    (void)state;
    struct settings s = read_settings("a = 1\n[x]\n= 2\nb\n[phase y]\n score = \"a,b\", c(d = \"e)f, g\", h = 1)\n"
                                      "[z\nk = 1 = 2\n[ w ]\r\nq = \"1 # 2\" \r\n# no title");
    assert_string_equal(settings_get(&s, "y.score"), "\"a,b\", c");
    assert_string_equal(settings_get(&s, "y.score.c.d"), "\"e)f, g\"");
    assert_string_equal(settings_get(&s, "w.q"), "\"1 # 2\"");
    assert_null(settings_get(&s, "x."));
    assert_string_equal(s.title, "no title");
    settings_free(&s);
    char *many = mem_alloc(900001, 1);
    memset(many, ',', 900000);
    memcpy(many, "[phase y]\nloss = ", 17);
    s = read_settings(many); /* in no time, or the test's limit is reached */
    assert_true(s.n <= MAX_SETTINGS);
    settings_free(&s);
    for (int i = 0; i < 900000 / 4; i++)
        memcpy(many + 4 * i, i ? "a=1\n" : "[b]\n", 4);
    s = read_settings(many);
    assert_int_equal(s.n, MAX_SETTINGS);
    assert_int_equal(settings_compare(&s, &s, NULL, 0), 0);
    settings_free(&s);
    mem_free(many);
}

/* How many settings differ between the recipe and one in which `from` was replaced by `to`; the name of the first. */
static int differences(const char *from, const char *to, struct difference *d)
{
    static struct settings a, b; /* the difference points into them */
    char text[1200], other[1300];
    settings_free(&a);
    settings_free(&b);
    a = read_settings(recipe_text(text, 1, "0.001"));
    char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(other, sizeof other, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    b = read_settings(other);
    int n = settings_compare(&a, &b, d, 1), back = settings_compare(&b, &a, &(struct difference){0}, 1);
    assert_int_equal(n, back);
    return n;
}

/* What differs between two texts as they are. */
static int differ(const char *one, const char *two)
{
    struct settings a = read_settings(one), b = read_settings(two);
    int n = settings_compare(&a, &b, NULL, 0);
    settings_free(&a);
    settings_free(&b);
    return n;
}

/* Another file is a difference, the same one in another place is none. */
static void test_files(void **state)
{
    (void)state;
    assert_int_equal(differ("[task]\ntrain = \"a/b.jsonl\"\n", "[task]\ntrain = b.jsonl\n"), 0);
    assert_int_equal(differ("[task]\ntest = /c/b.jsonl\n", "[task]\ntest = \"b.jsonl\"\n"), 0);
    assert_int_equal(differ("[task]\ntrain = a/b.jsonl\n", "[task]\ntrain = a/c.jsonl\n"), 1);
    assert_int_equal(differ("[task]\ntrain = b.jsonl\n", "[task]\ntrain = b.json\n"), 1);
    assert_int_equal(differ("[task]\ntest = b.jsonl\n", "[task]\ntest = \"\"\n"), 1);
    assert_int_equal(differ("[task]\nwords = a/b\n", "[task]\nwords = c/b\n"), 1);
}

static void test_differences(void **state)
{
    (void)state;
    struct difference d = {0};
    assert_int_equal(differences("seed = 1", "seed = 2", &d), 0);
    assert_int_equal(differences("log_samples = 4", "log_samples = 0", &d), 0);
    assert_int_equal(differences("every = 5", "every = 1", &d), 0);
    assert_int_equal(differences("lr = 0.001", "lr = 1e-3", &d), 0);
    assert_int_equal(differences("mod = 10\n", "", &d), 0); /* the default */
    assert_int_equal(differences("mod = 10", "mod = 10\nops_min = 3", &d), 0);
    assert_int_equal(differences("eps_high = 0.28", "eps_high = 0.28, agg = token_mean", &d), 0);
    assert_int_equal(differences("mod = 10", "mod = 9", &d), 1);
    assert_string_equal(d.name, "task.mod");
    assert_string_equal(d.a, "10");
    assert_string_equal(d.b, "9");
    assert_int_equal(differences("lr = 0.001\n", "", &d), 1); /* then it is [optim]'s */
    assert_string_equal(d.name, "rl.lr");
    assert_string_equal(d.b, "0.0003");
    assert_int_equal(differences("eps_high = 0.28", "eps_high = 0.2", &d), 1);
    assert_string_equal(d.name, "rl.loss.clip.eps_high");
    assert_int_equal(differences("eps_high = 0.28", "eps_high = 0.28, dual_clip = 3", &d), 1);
    assert_int_equal(differences("beta = 0.5", "beta = 0.6", &d), 1);
    assert_string_equal(d.name, "params.beta");
    assert_int_equal(differences("outcome, length(max = 9)", "length(max = 9), outcome", &d), 1); /* the order counts */
    assert_int_equal(differences("[params]", "[model]\npath = a/b\n[params]", &d), 1);
    assert_string_equal(d.name, "model.path");
    differences("seed = 1", "seed = 1", &d);
}

/* ---- run directories ---- */

#define LOG(step, phase, reward, kl)                                                                                   \
    "{\"step\":" step ",\"phase\":\"" phase "\",\"reward\":" reward ",\"kl\":" kl ",\"t_collect\":0.5,"                \
    "\"t_update\":1.5,\"t_seconds\":9}\n"
#define EVAL(step, phase, accuracy)                                                                                    \
    "{\"step\":" step ",\"phase\":\"" phase "\",\"accuracy\":" accuracy ",\"accuracy_se\":0.05,\"prompts\":100}\n"
#define WHOLE_LOG                                                                                                      \
    LOG("0", "warmup", "null", "null")                                                                                 \
    LOG("1", "warmup", "null", "null")                                                                                 \
    LOG("2", "rl", "1", "0")                                                                                           \
    LOG("3", "rl", "2", "0.5") LOG("4", "rl", "4", "null") LOG("5", "rl", "5", "0.7") LOG("6", "control", "null", "0")

static void test_reading(void **state)
{
    (void)state;
    char text[1200];
    struct run_files r;
    struct error e = {""};
    const char *dir =
        put_run("whole", recipe_text(text, 1, NULL), WHOLE_LOG "{\"step\":7,\"pha", EVAL("2", "rl", "0.5"));
    if (run_read(&r, dir, &e))
        fail_msg("%s", e.text);
    assert_int_equal(json_array_size(r.log), 7);
    assert_string_equal(r.label, "whole");
    assert_int_equal(r.phases, 3);
    assert_string_equal(r.phase[1].name, "rl");
    assert_int_equal(r.phase[0].gold, 1);
    assert_int_equal(r.phase[1].gold, 0);
    assert_int_equal(r.phase[1].first, 2);
    assert_int_equal(r.phase[1].count, 4);
    assert_int_equal(r.phase[1].parent, -1);
    assert_int_equal(r.phase[2].parent, 0);
    assert_int_equal(run_is_finished(&r, &e), 0);
    assert_string_equal(run_recipe(&r), "whole"); /* no built-in one has the title */
    run_close(&r);
    put_file(dir, "log.jsonl", LOG("0", "warmup", "null", "null"));
    assert_int_equal(run_read(&r, dir, &e), 0);
    assert_int_equal(run_is_finished(&r, &e), -1);
    assert_non_null(strstr(e.text, "phase warmup has 1 of 2 steps"));
    run_close(&r);
    unlink(strcat(strcpy(text, dir), "/eval.jsonl"));
    unlink(strcat(strcpy(text, dir), "/recipe.ini"));
    assert_int_equal(run_read(&r, dir, &e), 0);
    assert_int_equal(run_is_finished(&r, &e), -1);
    assert_non_null(strstr(e.text, "recipe.ini"));
    run_close(&r);
    forget_runs();
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\"step\":0}\nx\n", "{\"step\":0}\n[]\n", "{\"step\":0}\n\n{}\n",
                                      "{\"step\":0}\n{\"step\":1,\"step\":2}\n"};
    struct run_files r;
    struct error e = {""};
    for (int i = 0; i < 4; i++) {
        const char *dir = put_run("bad", NULL, bad[i], NULL);
        assert_int_equal(run_read(&r, dir, &e), -1);
        if (!strstr(e.text, "log.jsonl:2"))
            fail_msg("%s", e.text);
        put_file(dir, "log.jsonl", "{\"step\":0}\n");
        put_file(dir, "eval.jsonl", bad[i]);
        assert_int_equal(run_read(&r, dir, &e), -1);
        if (!strstr(e.text, "eval.jsonl:2"))
            fail_msg("%s", e.text);
        forget_runs();
    }
    /* odd, but lines of objects */
    const char *dir =
        put_run("odd", "\x01\xff[",
                "{}\n{\"step\":\"x\",\"phase\":3}\n{\"step\":-1}\n{\"step\":1e300}\n"
                "{\"step\":9007199254740990,\"phase\":\"a\",\"reward\":1e308}\n{\"step\":0,\"phase\":\"a\"}\n",
                "{\"step\":null}\n");
    assert_int_equal(run_read(&r, dir, &e), 0);
    struct curve c;
    curve_read(&c, &r, "reward", FROM_LOG, BY_TIME, -1);
    curve_free(&c);
    run_close(&r);
    assert_int_equal(run_read(&r, "/nonexistent", &e), -1);
    forget_runs();
}

static void test_several(void **state)
{
    (void)state;
    struct run_files *r = mem_alloc(MAX_RUNS, sizeof *r);
    struct error e = {""};
    char path[256];
    const char *words[2] = {folder, in_folder(path, "run-2")};
    assert_int_equal(run_read_all(r, 1, words, &e), -1);
    assert_non_null(strstr(e.text, "no run is in this directory"));
    put_run("run-10", NULL, LOG("0", "rl", "1", "1"), NULL);
    put_run("run-2", NULL, LOG("0", "rl", "1", "1"), NULL);
    put_run("empty", NULL, NULL, NULL);
    assert_int_equal(run_read_all(r, 2, words, &e), 2); /* run-2 is named twice */
    assert_string_equal(r[0].label, "run-2");
    assert_string_equal(r[1].label, "run-10");
    for (int i = 0; i < 2; i++)
        run_close(&r[i]);
    put_run("run-3", NULL, "broken\n", NULL);
    assert_int_equal(run_read_all(r, 2, words, &e), -1); /* and nothing leaks */
    assert_non_null(strstr(e.text, "run-3"));
    mem_free(r);
    forget_runs();
}

/* ---- points of one run ---- */

static struct run_files open_run(const char *dir)
{
    struct run_files r;
    struct error e = {""};
    if (run_read(&r, dir, &e))
        fail_msg("%s", e.text);
    return r;
}

static void expect_curve(const struct run_files *r, const char *key, enum curve_source from, enum curve_x by, int phase,
                         int n, const double *x, const double *y)
{
    struct curve c;
    curve_read(&c, r, key, from, by, phase);
    if (c.n != n)
        fail_msg("%s: %d points instead of %d", key, c.n, n);
    for (int i = 0; i < n; i++) {
        near(c.x[i], x[i], "x", i);
        near(c.y[i], y[i], "y", i);
    }
    curve_free(&c);
}

#define POINTS(...) ((const double[]){__VA_ARGS__})

static void test_points(void **state)
{
    (void)state;
    char text[1200];
    struct run_files r = open_run(put_run("points", recipe_text(text, 1, NULL), WHOLE_LOG,
                                          EVAL("2", "rl", "0.1") EVAL("4", "rl", "0.2") EVAL("6", "rl", "0.3")
                                              EVAL("7", "control", "0.4")));
    expect_curve(&r, "reward", FROM_LOG, BY_STEP, 1, 4, POINTS(0, 1, 2, 3), POINTS(1, 2, 4, 5));
    expect_curve(&r, "kl", FROM_LOG, BY_STEP, 1, 3, POINTS(0, 1, 3), POINTS(0, 0.5, 0.7)); /* null is no point */
    expect_curve(&r, "reward", FROM_LOG, BY_STEP, -1, 4, POINTS(2, 3, 4, 5), POINTS(1, 2, 4, 5));
    /* two seconds a step: the log's line stands at the end of its step */
    expect_curve(&r, "reward", FROM_LOG, BY_TIME, 1, 4, POINTS(2, 4, 6, 8), POINTS(1, 2, 4, 5));
    expect_curve(&r, "accuracy", FROM_EVAL, BY_STEP, 1, 3, POINTS(0, 2, 4), POINTS(0.1, 0.2, 0.3));
    expect_curve(&r, "accuracy", FROM_EVAL, BY_TIME, 1, 3, POINTS(0, 4, 8), POINTS(0.1, 0.2, 0.3));
    expect_curve(&r, "accuracy", FROM_EVAL, BY_TIME, -1, 3, POINTS(4, 8, 12), POINTS(0.1, 0.2, 0.3));
    /* the control begins with the evaluation at which it left */
    expect_curve(&r, "accuracy", FROM_EVAL, BY_STEP, 2, 2, POINTS(0, 1), POINTS(0.1, 0.4));
    expect_curve(&r, "nothing", FROM_EVAL, BY_STEP, 1, 0, NULL, NULL);
    run_close(&r);
    /* a log written twice and out of order: sorted, the later line holds */
    r = open_run(put_run(
        "again", NULL,
        LOG("0", "rl", "1", "0") LOG("2", "rl", "3", "0") LOG("1", "rl", "2", "0") LOG("2", "rl", "4", "0"), NULL));
    expect_curve(&r, "reward", FROM_LOG, BY_STEP, 0, 3, POINTS(0, 1, 2), POINTS(1, 2, 4));
    run_close(&r);
    forget_runs();
}

static void test_smoothing(void **state)
{
    (void)state;
    static const double y[] = {1, 2, 6, NAN, 3, 3, 3, 9, 3, 3, 3};
    /* two neighbours, fewer towards ends and gaps, where at least a quarter of two, that is none, is taken */
    static const double want[] = {1, 3, 6, NAN, 3, 3, 4.2, 4.2, 4.2, 3, 3};
    double *got = figure_smooth(y, 11, 2);
    for (int i = 0; i < 11; i++)
        if (isnan(want[i]))
            assert_true(isnan(got[i]));
        else
            near(got[i], want[i], "smooth", i);
    mem_free(got);
    got = figure_smooth(y, 11, 0);
    for (int i = 0; i < 11; i++)
        assert_true(got[i] == y[i] || (isnan(got[i]) && isnan(y[i])));
    mem_free(got);
}

/* ---- several runs ---- */

static struct curve curve_of(int n, const double *x, const double *y)
{
    struct curve c = {.n = n, .cap = n};
    double **to[] = {&c.x, &c.y, &c.se};
    for (int i = 0; i < 3; i++)
        *to[i] = mem_alloc((size_t)n, sizeof(double));
    memcpy(c.x, x, (size_t)n * sizeof *x);
    memcpy(c.y, y, (size_t)n * sizeof *y);
    return c;
}

static void test_join(void **state)
{
    (void)state;
    struct curve c[3] = {curve_of(3, POINTS(0, 5, 10), POINTS(.2, .3, .9)),
                         curve_of(3, POINTS(0, 5, 10), POINTS(.4, .5, 1)),
                         curve_of(4, POINTS(0, 3, 5, 20), POINTS(.6, .7, 1, 1))}; /* another rhythm, ends elsewhere */
    struct joined j;
    curves_join(&j, c, 3, BY_STEP, BAND_RANGE);
    assert_int_equal(j.n, 2); /* 0 and 5 are all three's */
    near(j.x[1], 5, "x", 1);
    near(j.y[0], .4, "mean", 0);
    near(j.low[0], .2, "low", 0);
    near(j.high[0], .6, "high", 0);
    near(j.y[1], .6, "mean", 1);
    near(j.low[1], .3, "low", 1);
    near(j.high[1], 1, "high", 1);
    joined_free(&j);
    curves_join(&j, c, 3, BY_STEP, BAND_SD);
    near(j.high[0] - j.y[0], .2, "sd", 0);           /* of .2 .4 .6 */
    near(j.y[1] - j.low[1], sqrt(.26 / 2), "sd", 1); /* deviations -.3 -.1 .4 */
    joined_free(&j);
    curves_join(&j, c, 1, BY_STEP, BAND_NONE);
    assert_int_equal(j.n, 3);
    assert_true(isnan(j.low[0]) && isnan(j.high[2]));
    joined_free(&j);
    struct curve apart[2] = {curve_of(2, POINTS(0, 1), POINTS(0, 1)), curve_of(2, POINTS(2, 3), POINTS(0, 1))};
    curves_join(&j, apart, 2, BY_TIME, BAND_RANGE);
    assert_int_equal(j.n, 0);
    joined_free(&j);
    for (int i = 0; i < 3; i++)
        curve_free(&c[i]);
    for (int i = 0; i < 2; i++)
        curve_free(&apart[i]);
}

/* Over time, between the points: y = t and y = 2 t, from 1 to 5 seconds. */
static void test_join_over_time(void **state)
{
    (void)state;
    struct curve c[2] = {curve_of(3, POINTS(0, 3, 5), POINTS(0, 3, 5)), curve_of(3, POINTS(1, 2, 8), POINTS(2, 4, 16))};
    struct joined j;
    curves_join(&j, c, 2, BY_TIME, BAND_RANGE);
    assert_int_equal(j.n, 201);
    near(j.x[0], 1, "x", 0);
    near(j.x[200], 5, "x", 200);
    for (int i = 0; i < j.n; i++) {
        near(j.y[i], 1.5 * j.x[i], "mean", i);
        near(j.low[i], j.x[i], "low", i);
        near(j.high[i], 2 * j.x[i], "high", i);
    }
    joined_free(&j);
    curve_free(&c[0]);
    curve_free(&c[1]);
}

/* ---- the verb ---- */

/* plot over the folder's runs with these words; the CSV, which the caller frees. */
static char *plot(const char *const *words, int status, const char *message)
{
    char out[300], csv[300], path[256], error[MAX_OUTPUT];
    const char *argv[12] = {folder};
    int argc = 1;
    size_t len;
    struct error e;
    snprintf(out, sizeof out, "out=%s", in_folder(path, "x.svg"));
    snprintf(csv, sizeof csv, "csv=%s", in_folder(path, "x.csv"));
    unlink(path);
    argv[argc++] = out;
    argv[argc++] = csv;
    for (; words && *words; words++)
        argv[argc++] = *words;
    int got = call_verb(&verb_row_plot, argc, argv, NULL, error);
    if (got != status || !strstr(error, message))
        fail_msg("status %d, \"%s\"; wanted %d, \"%s\"", got, error, status, message);
    char *text = status ? NULL : file_read(path, 1 << 20, &len, &e);
    unlink(path);
    return text;
}

static void put_seeds(void)
{
    char text[1200];
    put_run("s1", recipe_text(text, 1, NULL), WHOLE_LOG, EVAL("2", "rl", "0.2") EVAL("6", "rl", "0.3"));
    put_run("s2", recipe_text(text, 2, NULL), WHOLE_LOG, EVAL("2", "rl", "0.4") EVAL("6", "rl", "0.5"));
    put_run("s3", recipe_text(text, 3, NULL), WHOLE_LOG, EVAL("2", "rl", "0.6") EVAL("6", "rl", "1"));
}

static void test_plot_seeds(void **state)
{
    (void)state;
    char path[256];
    size_t len;
    struct error e;
    put_seeds();
    char *csv = plot(NULL, 0, "1 line from 3 runs");
    assert_string_equal(csv, "key,line,step,y,low,high\n"
                             "\"accuracy\",\"mean of 3 runs, band: lowest to highest\",0,0.4,0.2,0.6\n"
                             "\"accuracy\",\"mean of 3 runs, band: lowest to highest\",4,0.6,0.3,1\n");
    mem_free(csv);
    char *svg = file_read(in_folder(path, "x.svg"), 1 << 20, &len, &e);
    static const char *const texts[] = {">A title: of the test<", ">3 runs, seeds 1, 2, 3<", ">share right<",
                                        ">optimiser step in phase rl<", ">mean of 3 runs, band: lowest to highest<"};
    for (int i = 0; i < 5; i++)
        if (!strstr(svg, texts[i]))
            fail_msg("the figure lacks %s", texts[i]);
    mem_free(svg);
    csv = plot((const char *const[]){"y=log.reward", "x=time", "band=sd", "smooth=0", NULL}, 0, "1 line");
    assert_memory_equal(csv, "key,line,seconds,y,low,high\n", 28);
    assert_non_null(strstr(csv, "s.d.\",2,1,1,1\n"));
    assert_non_null(strstr(csv, "s.d.\",8,5,5,5\n"));
    mem_free(csv);
    unlink(path);
    forget_runs();
}

/* A fourth run that is still going, and one with another rate. */
static void test_plot_groups(void **state)
{
    (void)state;
    char text[1200], path[256];
    put_seeds();
    put_run("s4", recipe_text(text, 4, NULL), LOG("2", "rl", "1", "0") "{\"step\":3,\"ph", EVAL("2", "rl", "0.8"));
    put_run("t1", recipe_text(text, 1, "0.001"), WHOLE_LOG, EVAL("2", "rl", "0.9") EVAL("6", "rl", "0.7"));
    char *csv = plot(NULL, 0, "s4 ends at 0, other runs of its line go on to 4");
    assert_non_null(strstr(csv, "\"rl.lr = 0.0003: mean of 4 runs, band: lowest to highest\",0,0.5,0.2,0.8\n"));
    assert_null(strstr(csv, "0.0003: mean of 4 runs, band: lowest to highest\",4"));
    assert_non_null(strstr(csv, "\"rl.lr = 0.001 (\xc2\xb1 2 s.e. of the evaluation)\",4,0.7,0.6,0.8\n"));
    mem_free(csv);
    csv = plot((const char *const[]){"group=task.mod", "phase=rl,warmup", "y=reward", NULL}, 0, "differ in rl.lr, too");
    assert_non_null(strstr(csv, "\"task.mod = 10, rl: mean of 5 runs"));
    assert_null(strstr(csv, "warmup: mean"));
    mem_free(csv);
    plot((const char *const[]){"y=acuracy", NULL}, 1, "did you mean 'accuracy'?");
    plot((const char *const[]){"y=zzzzzzzzz", NULL}, 1, "accuracy_se");
    plot((const char *const[]){"y=eval.reward", NULL}, 1, "no run has");
    plot((const char *const[]){"group=nothing", NULL}, 1, "no run has such a setting");
    plot((const char *const[]){"phase=nothing", NULL}, 1, "nothing to draw in phase nothing");
    plot((const char *const[]){"y=a,a,a,a,a,a,a,a,a", NULL}, 1, "more than 8");
    plot((const char *const[]){"bnad=sd", NULL}, 2, "did you mean 'band'?");
    unlink(in_folder(path, "x.svg"));
    forget_runs();
    plot(NULL, 1, "no run is in this directory");
    char error[MAX_OUTPUT];
    assert_int_equal(call_verb(&verb_row_plot, 0, NULL, NULL, error), 2);
    assert_int_equal(call_verb(&verb_row_plot, 2, (const char *const[]){folder, "out=x.pdf"}, NULL, error), 2);
    assert_non_null(strstr(error, ".svg or .png"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),       cmocka_unit_test(test_settings_of_any_text),
        cmocka_unit_test(test_files),          cmocka_unit_test(test_differences),
        cmocka_unit_test(test_reading),        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_several),        cmocka_unit_test(test_points),
        cmocka_unit_test(test_smoothing),      cmocka_unit_test(test_join),
        cmocka_unit_test(test_join_over_time), cmocka_unit_test(test_plot_seeds),
        cmocka_unit_test(test_plot_groups),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
