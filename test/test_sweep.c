/* sweep: how words become combinations, what the table says of runs made by hand, and real sweeps of a tiny recipe:
 * killed, stopped by Ctrl-C and taken up again, they leave what one job at a time leaves without a disturbance.
 */
#define FOLDER "/tmp/test_sweep.XXXXXX"
#include <math.h>
#include <signal.h>
#include <time.h>
#include "../dev/verbs/sweep_table.h"
#include "runs.h"

/* ---- words ---- */

static void values(const char *word, const char *const *want)
{
    static struct grid g;
    struct error e;
    int n = 0;
    if (grid_read(&g, 1, &word, &e))
        fail_msg("%s", e.text);
    while (want[n])
        n++;
    assert_int_equal(g.combinations, n);
    for (int i = 0; i < n; i++)
        assert_string_equal(grid_value(&g, i, 0), want[i]);
    grid_free(&g);
}
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void lists_of_values(void **state)
{
    (void)state;
    values("rl.lr=1e-3", LIST("1e-3"));
    values("rl.lr=1e-3,3e-4", LIST("1e-3", "3e-4"));
    values("seed=2..5", LIST("2", "3", "4", "5"));
    values("seed=7,1..2,9..9", LIST("7", "1", "2", "9"));
    values("stages.score=\"outcome, length\",outcome", LIST("outcome, length", "outcome"));
    values("stages.loss=clip(eps_low = 0.1, agg = token_mean),clip",
           LIST("clip(eps_low = 0.1, agg = token_mean)", "clip"));
    values("x=\"a \\\"b, c\\\"\",d", LIST("a \"b, c\"", "d"));
    values("model.path=../a,b..c,1..x", LIST("../a", "b..c", "1..x"));
    values("x=", LIST(""));
    values("x=\"\",y", LIST("", "y"));
}

static void refused(const char *const *word, const char *piece)
{
    static struct grid g;
    struct error e = {""};
    int n = 0;
    while (word[n])
        n++;
    assert_int_equal(grid_read(&g, n, word, &e), -1);
    if (!strstr(e.text, piece))
        fail_msg("'%s' is not in: %s", piece, e.text);
    grid_free(&g);
}

static void refused_words(void **state)
{
    (void)state;
    refused(LIST("rl.lr"), "no key=value");
    refused(LIST("=3"), "no key=value");
    refused(LIST("a=1,,2"), "empty");
    refused(LIST("a=1,"), "empty");
    refused(LIST("a=,1"), "empty");
    refused(LIST("seed=5..1"), "ends before");
    refused(LIST("seed=1..257"), "256");
    refused(LIST("seed=1..999999999999999"), "256");
    refused(LIST("seed=1..9999999999999999,1,1..300"), "256"); /* the first is no range of whole numbers */
    refused(LIST("a=1..20", "b=1..20"), "combinations");
    refused(LIST("rl.min-lr=1,2", "rl.min_lr=3"), "rl.min_lr is given twice");
    refused(LIST("seed=1", "run.seed=2,3"), "given twice");
}

/* The seed is the fastest axis wherever it stands; keys of one value are none. */
static void order_of_combinations(void **state)
{
    (void)state;
    static const char *const word[] = {"seed=1,2", "b=x,y,z", "c=0", "a=p,q"};
    static struct grid g;
    struct error e;
    char label[200], *made[MAX_SWEEP_WORDS];
    assert_int_equal(grid_read(&g, 4, word, &e), 0);
    assert_int_equal(g.combinations, 12);
    assert_int_equal(g.seeds, 2);
    assert_int_equal(grid_setting_axes(&g), 2);
    grid_label(&g, 0, label, sizeof label);
    assert_string_equal(label, "b = x, a = p, seed = 1");
    grid_label(&g, 7, label, sizeof label); /* 7 = 1 x 4 + 1 x 2 + 1 */
    assert_string_equal(label, "b = y, a = q, seed = 2");
    assert_int_equal(grid_words(&g, 10, made), 4);
    const char *const want[] = {"b=z", "a=q", "seed=1", "c=0"};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(made[i], want[i]);
        mem_free(made[i]);
    }
    grid_free(&g);
}

/* Values that look alike in a directory's name still have names of their own. */
static void names_of_combinations(void **state)
{
    (void)state;
    static const char *const word[] = {"stages.score=\"a, b\",\"a; b\",a--b,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,"
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaab,\"../../x\",\"\"",
                                       "lr=1e-3,0.001"};
    static struct grid g;
    struct error e;
    char name[14][GRID_NAME];
    assert_int_equal(grid_read(&g, 2, word, &e), 0);
    assert_int_equal(g.combinations, 14);
    for (int i = 0; i < 14; i++) {
        grid_name(&g, i, name[i]);
        assert_null(strchr(name[i], '/'));
        assert_null(strchr(name[i], '='));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(name[i], name[k]);
    }
    assert_string_equal(name[4], "stages.score_a--b_lr_1e-3");
    grid_free(&g);
}

/* ---- the table ---- */

static void close_to(double x, double want)
{
    if (!(fabs(x - want) <= 1e-9 * fmax(1, fabs(want))))
        fail_msg("%.17g instead of %.17g", x, want);
}

static void put(const char *run, const char *file, const char *text)
{
    char path[900];
    struct error e;
    snprintf(path, sizeof path, "%s/%s", folder, run);
    if (file_make_directory(path, &e))
        fail_msg("%s", e.text);
    snprintf(path, sizeof path, "%s/%s/%s", folder, run, file);
    if (file_write(path, text, strlen(text), &e))
        fail_msg("%s", e.text);
}

#define STEP(step, phase, reward, collect, update)                                                                     \
    "{\"step\":" step ",\"phase\":\"" phase "\",\"reward\":" reward ",\"logp_mismatch_max\":0,\"t_collect\":" collect  \
    ",\"t_update\":" update ",\"t_seconds\":9}\n"

/* Two steps of warm-up, four of RL with evaluations before, between and after, and a control in the end, which does not
 * count. */
static void put_run(const char *run, double before, double between, double after, double sampled)
{
    char eval[2000];
    put(run, "recipe.ini",
        "# By hand\n[run]\nseed = 1\n[phase warmup]\nsource = gold\nsteps = 2\n[phase rl]\nsource = rollout\nsteps = "
        "4\n"
        "[phase control]\nsource = gold\nsteps = 1\nbranch = warmup\n");
    put(run, "log.jsonl",
        STEP("0", "warmup", "null", "100", "100") STEP("1", "warmup", "null", "100", "100")
            STEP("2", "rl", "1", "0.5", "0.25") STEP("3", "rl", "1", "1", "0.25") STEP("4", "rl", "1", "2", "0.5")
                STEP("5", "rl", "1", "1", "1") STEP("6", "control", "null", "50", "50"));
    snprintf(eval, sizeof eval,
             "{\"step\":2,\"phase\":\"rl\",\"milestone\":\"before\",\"prompts\":9,\"accuracy\":%g,\"length\":3}\n"
             "{\"step\":3,\"phase\":\"rl\",\"prompts\":9,\"accuracy\":%g,\"length\":30}\n"
             "{\"step\":6,\"phase\":\"rl\",\"milestone\":\"rl\",\"prompts\":9,\"accuracy\":%g,\"sampled\":%g,"
             "\"length\":6}\n"
             "{\"step\":7,\"phase\":\"control\",\"milestone\":\"control\",\"prompts\":9,\"accuracy\":0,\"length\":1}\n",
             before, between, after, sampled);
    put(run, "eval.jsonl", eval);
}

static void measure(const char *run, double value[SWEEP_COLUMNS])
{
    char path[900];
    struct run_files r;
    struct error e;
    snprintf(path, sizeof path, "%s/%s", folder, run);
    if (run_read(&r, path, &e) || sweep_measure(&r, value, &e))
        fail_msg("%s", e.text);
    run_close(&r);
}

/* Expected values by hand; 12.7062047361747 and 4.302652729749464 are Student's t of .95 for 1 and 2 degrees. */
static void table_of_runs(void **state)
{
    (void)state;
    static const char *const word[] = {"lr=1,2", "seed=1..3"};
    static struct grid g;
    struct sweep_run run[6] = {{0}};
    struct text csv = {0}, page = {0};
    struct error e;
    put_run("hand-1", 0.4, 0.8, 0.6, 0.5);
    put_run("hand-2", 0.4, 0.8, 0.9, 0.5);
    put_run("hand-3", 0.4, 0.8, 0.9, 0.8);
    assert_int_equal(grid_read(&g, 2, word, &e), 0);
    for (int i = 0; i < 5; i++) { /* the last one has failed */
        char name[20];
        snprintf(name, sizeof name, "hand-%d", i % 3 + 1);
        measure(name, run[i].value);
        run[i].good = 1;
    }
    close_to(run[0].value[SWEEP_BEFORE], 0.4);
    close_to(run[0].value[SWEEP_AFTER], 0.6);
    close_to(run[0].value[SWEEP_SAMPLED], 0.5);
    close_to(run[0].value[SWEEP_LENGTH], 6);
    close_to(run[0].value[SWEEP_AREA], (0.6 * 1 + 0.7 * 3) / 4);
    close_to(run[0].value[SWEEP_SECONDS], 6.5);
    struct sweep_mean after = sweep_mean(&g, run, 0, SWEEP_AFTER); /* .6 .9 .9 */
    assert_int_equal(after.n, 3);
    close_to(after.mean, 0.8);
    close_to(after.half, 4.302652729749464 * 0.1); /* sd .17320508, over the root of 3 */
    after = sweep_mean(&g, run, 1, SWEEP_AFTER);   /* .6 .9 */
    assert_int_equal(after.n, 2);
    close_to(after.half, 12.7062047361747 * 0.15);
    close_to(sweep_mean(&g, run, 1, SWEEP_BEFORE).half, 0);
    sweep_csv(&csv, &g, run);
    assert_non_null(strstr(csv.s, "\"lr\",runs,before,before_low,before_high,after,"));
    assert_non_null(strstr(csv.s, "\n\"2\",2,0.4,0.4,0.4,0.75,-1.15593071,2.65593071,"));
    sweep_markdown(&page, &g, run);
    assert_non_null(strstr(page.s, "| 1  | 3 of 3 |"));
    assert_non_null(strstr(page.s, " 80.0 \xc2\xb1 43.0 |"));
    assert_non_null(strstr(page.s, " 75.0 \xc2\xb1 190.6 |"));
    text_free(&csv);
    text_free(&page);
    grid_free(&g);
}

/* ---- sweeps ---- */

static const char recipe[] = "# Tiny: what a sweep is tested with\n[params]\nhigh = 0.28\n"
                             "[task]\nname = chain\n[model]\npreset = nano-llama\n"
                             "[rollout]\nprompts = 2\nsamples = 2\nmax_new = 6\n"
                             "[eval]\nprompts = 5\nevery = 2\nsamples = 1\n"
                             "[stages]\nscore = outcome\nadvantage = group\nloss = clip(eps_high = $high)\n"
                             "[phase warmup]\nsource = gold\nsteps = 3\nbatch = 4\nlr = 6e-3\nloss = nll\n"
                             "[phase rl]\nsource = rollout\nsteps = 4\nlr = 1e-3\n";
static const char axes[] = "rl.lr=1e-3,1e-2|warmup.batch=4,5|seed=1,2";
static const char half[] = "rl.lr=1e-3,1e-2|warmup.batch=5|seed=1,2"; /* of these combinations */
static const char *const runs[] = {"rl.lr_1e-3_warmup.batch_4_seed_1", "rl.lr_1e-3_warmup.batch_4_seed_2",
                                   "rl.lr_1e-3_warmup.batch_5_seed_1", "rl.lr_1e-3_warmup.batch_5_seed_2",
                                   "rl.lr_1e-2_warmup.batch_4_seed_1", "rl.lr_1e-2_warmup.batch_4_seed_2",
                                   "rl.lr_1e-2_warmup.batch_5_seed_1", "rl.lr_1e-2_warmup.batch_5_seed_2"};
enum { RUNS = sizeof runs / sizeof *runs };

static pid_t start_sweep(const char *keys, const char *out, const char *more)
{
    char words[2000];
    snprintf(words, sizeof words, "sweep|%s/tiny.ini|%s|out=%s/%s|run.save_every=1|%s", folder, keys, folder, out,
             more);
    return start(words);
}

static int sweep(const char *out, const char *more)
{
    return finish(start_sweep(axes, out, more));
}

static int make_whole(void **state)
{
    if (set_up(state))
        return -1;
    write_recipe("tiny.ini", recipe);
    return sweep("whole", "jobs=1");
}

/* Wait until a run has made a step. */
static void wait_for(const char *run)
{
    const struct timespec pause = {0, 2000000};
    char path[900];
    snprintf(path, sizeof path, "%s/pair/%s/log.jsonl", folder, run);
    for (int i = 0; i < 30000 && file_size(path) <= 0; i++)
        nanosleep(&pause, NULL);
}

/* Killed, stopped by Ctrl-C, two runs at a time: the runs are those of one at a time. */
static void disturbed_and_taken_up(void **state)
{
    (void)state;
    const struct timespec moment = {0, 300000000};
    char a[100], b[100];
    pid_t pid = start_sweep(half, "pair", "jobs=2");
    wait_for("rl.lr_1e-3_seed_2");
    kill(pid, SIGKILL);
    assert_int_equal(finish(pid), 1000 + SIGKILL);
    nanosleep(&moment, NULL); /* until its runs are gone, too */
    pid = start_sweep(half, "pair", "jobs=2");
    wait_for("rl.lr_1e-2_seed_1");
    kill(pid, SIGINT);
    assert_int_equal(finish(pid), 130);
    assert_printed("the same command goes on");
    assert_printed("are there already");
    assert_int_equal(finish(start_sweep(half, "pair", "jobs=2")), 0);
    for (int i = 0; i < 4; i++) {
        snprintf(a, sizeof a, "whole/rl.lr_1e-%d_warmup.batch_5_seed_%d", i / 2 ? 2 : 3, i % 2 + 1);
        snprintf(b, sizeof b, "pair/rl.lr_1e-%d_seed_%d", i / 2 ? 2 : 3, i % 2 + 1);
        assert_same_run(a, b);
    }
}

/* A sweep that is whole is read, not run. */
static void whole_runs_are_reused(void **state)
{
    (void)state;
    char path[300];
    struct bytes before[RUNS], table = slurp("whole", "table.csv");
    for (int i = 0; i < RUNS; i++) {
        snprintf(path, sizeof path, "whole/%s", runs[i]);
        before[i] = slurp(path, "log.jsonl");
    }
    assert_int_equal(sweep("whole", "jobs=2"), 0);
    assert_printed("8 are there already, 0 go on");
    for (int i = 0; i < RUNS; i++) {
        snprintf(path, sizeof path, "whole/%s", runs[i]);
        assert_true(equal(before[i], slurp(path, "log.jsonl")));
    }
    assert_true(equal(table, slurp("whole", "table.csv")));
    char figure[2][900];
    for (int i = 0; i < 2; i++)
        snprintf(figure[i], sizeof figure[i], "%s/whole/curves.%s", folder, i ? "png" : "svg");
    assert_true(file_size(figure[0]) > 0 || file_size(figure[1]) > 0);
}

/* A number of the last evaluation of a run. */
static double last_number(const char *run, const char *key)
{
    char where[300], name[40];
    snprintf(where, sizeof where, "whole/%s", run);
    snprintf(name, sizeof name, "\"%s\":", key);
    struct bytes b = slurp(where, "eval.jsonl");
    char *at = NULL;
    for (char *p = b.p; (p = strstr(p, name)); p++)
        at = p;
    assert_non_null(at);
    double x = strtod(at + strlen(name), NULL);
    mem_free(b.p);
    return x;
}

/* Of two values the interval is the mean +- t |a - b| / 2. */
static void table_by_other_means(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int field; /* in a line of the table: lr, batch, runs, before x 3, after x 3 ... */
    } number[] = {{"accuracy", 6}, {"sampled", 9}, {"length", 12}};
    struct bytes table = slurp("whole", "table.csv");
    const char *line = strchr(table.p, '\n') + 1;
    for (int s = 0; s < RUNS / 2; s++, line = strchr(line, '\n') + 1)
        for (int k = 0; k < 3; k++) {
            double a = last_number(runs[2 * s], number[k].key), b = last_number(runs[2 * s + 1], number[k].key);
            double half = 12.7062047361747 * fabs(a - b) / 2;
            const char *p = line;
            for (int i = 0; i < number[k].field; i++)
                p = strchr(p, ',') + 1;
            close_to(strtod(p, (char **)&p), (a + b) / 2);
            close_to(strtod(p + 1, (char **)&p), (a + b) / 2 - half);
            close_to(strtod(p + 1, NULL), (a + b) / 2 + half);
        }
    mem_free(table.p);
}

static void refused_sweeps(void **state)
{
    (void)state;
    assert_int_equal(sweep("whole", "high=0.3"), 1);
    assert_printed("holds a run with params.high = 0.28, not 0.3");
    assert_int_equal(sweep("whole", "eval.every=3"), 1);
    assert_printed("holds a run with eval.every = 2, not 3");
    assert_int_equal(sweep("none", "run.out=x"), 2);
    assert_int_equal(sweep("none", "hihg=0.3"), 2);
    assert_printed("did you mean 'high'?");
    assert_int_equal(sweep("none", "rl.warmup=3,03"), 1);
    assert_printed("are the same run");
    assert_int_equal(call("sweep|chain|grpo"), 2);
    char path[600];
    assert_false(file_is_directory(in_folder(path, "none")));
}

/* One value is refused when the recipe is read, one when the run begins; the others are run. */
static void failures_are_listed(void **state)
{
    (void)state;
    int status =
        call("sweep|%s/tiny.ini|rl.steps=1|rl.lr=1e-3,much|model.path=\"\",/nowhere|out=%s/failing", folder, folder);
    assert_int_equal(status, 1);
    assert_printed("left out: rl.lr = much, model.path = : ");
    struct bytes page = slurp("failing", "table.md");
    assert_non_null(strstr(page.p, "Not in the table, because they failed:"));
    assert_non_null(strstr(page.p, "- rl.lr = 1e-3, model.path = /nowhere: train_rl: "));
    assert_non_null(strstr(page.p, "| 1e-3  |            | 1 of 1 |"));
    assert_non_null(strstr(page.p, "| 1e-3  | /nowhere   | 0 of 1 |"));
    mem_free(page.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_values),       cmocka_unit_test(refused_words),
        cmocka_unit_test(order_of_combinations), cmocka_unit_test(names_of_combinations),
        cmocka_unit_test(table_of_runs),         cmocka_unit_test(disturbed_and_taken_up),
        cmocka_unit_test(whole_runs_are_reused), cmocka_unit_test(table_by_other_means),
        cmocka_unit_test(refused_sweeps),        cmocka_unit_test(failures_are_listed),
    };
    return cmocka_run_group_tests(tests, make_whole, tear_down);
}
