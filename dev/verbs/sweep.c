/* sweep: all combinations of several values of a recipe's keys, then a table and a figure.
 *
 * sweep_grid.c makes combinations of the words, sweep_run.c runs them, sweep_table.c makes the table. The directory of
 * runs is the only memory: the same command looks what is there and does what is missing.
 */
#include "figure.h"
#include "sweep_run.h"
#include "sweep_table.h"
#include "verbs.h"
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OUT, JOBS, THREADS, OPTIONS };

static const struct param options[] = {
    {"out", PARAM_TEXT, "", 0, 0, NULL, "Directory of the runs, the table and the figure; empty: out/sweep-RECIPE.",
     NULL},
    {"jobs", PARAM_INT, "0", 0, 256, NULL, "Runs at a time; 0: one a thread.", NULL},
    {"run.threads", PARAM_INT, "0", 0, 4096, NULL,
     "Threads of all runs together, shared out among those at a time; 0: one a core.", NULL},
    {0}};

/* ---- words ---- */

struct words {
    const char *recipe, *option[OPTIONS], *key[MAX_SWEEP_WORDS];
    int options, keys;
};

/* Which words are the verb's, and which the recipe's. */
static int sort_words(struct words *w, int argc, const char *const *argv, struct error *e)
{
    int named = argc > 0 && !strchr(argv[0], '=');
    w->recipe = named ? argv[0] : "chain";
    for (int i = named; i < argc; i++) {
        char key[80];
        size_t len = strcspn(argv[i], "=");
        snprintf(key, sizeof key, "%.*s", (int)(len < 79 ? len : 79), argv[i]);
        if (!strchr(argv[i], '='))
            return fail(e, "'%.80s' is no key=value; one recipe at a time", argv[i]);
        if (!strcmp(key, "run.out") || !strcmp(key, "run.resume"))
            return fail(e, "%s: the runs have their directories in that of the sweep; name it with out=DIR", key);
        int own = param_find(options, key) >= 0;
        if (own ? w->options == OPTIONS : w->keys == MAX_SWEEP_WORDS)
            return fail(e, "too many words");
        if (own)
            w->option[w->options++] = argv[i];
        else
            w->key[w->keys++] = argv[i];
    }
    return 0;
}

/* The recipe's name, also of a path. */
static void name_sweep(struct sweep *s, const char *out)
{
    const char *slash = strrchr(s->recipe, '/'), *base = slash ? slash + 1 : s->recipe;
    size_t len = strlen(base);
    len -= len > 4 && !strcmp(base + len - 4, ".ini") ? 4 : 0;
    snprintf(s->name, sizeof s->name, "%.*s", (int)(len < 100 ? len : 100), base);
    if (out[0])
        snprintf(s->dir, sizeof s->dir, "%s", out);
    else
        snprintf(s->dir, sizeof s->dir, "out/sweep-%s", s->name);
}

static int max_of(int a, int b)
{
    return a > b ? a : b;
}

/* Runs that use one thread each get more out of a small machine than one that uses all. */
static void share_out(struct sweep *s, const struct value *option)
{
    int threads = (int)option[THREADS].num, jobs = (int)option[JOBS].num, wanted = s->grid.combinations;
    if (threads == 0)
        threads = max_of(1, (int)sysconf(_SC_NPROCESSORS_ONLN));
    if (jobs == 0)
        jobs = threads;
    s->at_once = jobs < wanted ? jobs : wanted;
    s->threads = max_of(1, threads / s->at_once);
}

static int open_sweep(struct sweep *s, const struct words *w, const struct value *option, struct error *e)
{
    const char *out = option[OUT].text;
    if (strlen(out) >= sizeof s->dir || strchr(out, '='))
        return fail(e, "out=%.100s: a path without '=' and of at most %zu characters", out, sizeof s->dir - 1);
    s->recipe = w->recipe;
    name_sweep(s, out);
    if (grid_read(&s->grid, w->keys, w->key, e))
        return -1;
    share_out(s, option);
    s->job = mem_alloc((size_t)s->grid.combinations, sizeof *s->job);
    return 0;
}

static void close_sweep(struct sweep *s)
{
    grid_free(&s->grid);
    mem_free(s->job);
    mem_free(s);
}

/* ---- what it says ---- */

static void say_opening(const struct sweep *s)
{
    int begun = 0, reused = sweep_count(s, JOB_DONE);
    for (int i = 0; i < s->grid.combinations; i++)
        begun += s->job[i].resume;
    fprintf(stderr, "%s: %d setting%s, %d run%s, %d at a time with %d thread%s each, in %s\n", s->name,
            s->grid.combinations / s->grid.seeds, s->grid.combinations > s->grid.seeds ? "s" : "", s->grid.combinations,
            s->grid.combinations > 1 ? "s" : "", s->at_once, s->threads, s->threads > 1 ? "s" : "", s->dir);
    if (reused || begun)
        fprintf(stderr, "%d are there already, %d go on where they were cut off\n", reused, begun);
    for (int i = 0; i < s->grid.combinations; i++)
        if (s->job[i].state == JOB_FAILED)
            fprintf(stderr, "left out: %s: %s\n", s->job[i].label, s->job[i].why);
}

static void add_failures(struct text *t, const struct sweep *s)
{
    int n = sweep_count(s, JOB_FAILED);
    if (n)
        text_addf(t, "\nNot in the table, because %s failed:\n\n", n > 1 ? "they" : "it");
    for (int i = 0; i < s->grid.combinations; i++)
        if (s->job[i].state == JOB_FAILED)
            text_addf(t, "- %s: %s\n", s->job[i].label, s->job[i].why);
}

/* Title, what all runs share, the table, the phase that was measured ("": no run is done). */
static void add_page(struct text *t, const struct sweep *s, const struct sweep_run *run, const char *phase)
{
    text_addf(t, "# Sweep of %s\n\n", s->name);
    for (int i = s->grid.axes; i < s->grid.words; i++)
        text_addf(t, "%s%s = %s", i == s->grid.axes ? "All runs: " : ", ", s->grid.axis[i].key,
                  grid_value(&s->grid, 0, i));
    text_add(t, s->grid.axes < s->grid.words ? ".\n\n" : "", -1);
    sweep_markdown(t, &s->grid, run);
    if (phase[0])
        text_addf(
            t,
            "\nMean over the seeds \xc2\xb1 half of its 95 %% interval by Student's t. Before the first rollout and "
            "after phase %s, on unseen prompts;\nthe area is that under the greedy accuracy over the steps of the "
            "phase, divided by their number; seconds are those of its steps.\n",
            phase);
    add_failures(t, s);
}

/* ---- what it leaves ---- */

/* What the first run that is done says of all. */
struct kind {
    char phase[32]; /* the measured one; "": no run is done */
    int has_key;    /* the first key stands in its recipe.ini */
};

/* Numbers of the runs that are done; one that cannot be read has failed after all. */
static void measure(struct sweep *s, struct sweep_run *run, struct kind *kind)
{
    for (int i = 0; i < s->grid.combinations; i++) {
        struct run_files r = {0};
        struct job *j = &s->job[i];
        struct error e;
        if (j->state != JOB_DONE)
            continue;
        run[i].good = !run_read(&r, j->dir, &e) && !sweep_measure(&r, run[i].value, &e);
        if (run[i].good && !kind->phase[0]) {
            snprintf(kind->phase, sizeof kind->phase, "%s", r.phase[sweep_phase(&r)].name);
            kind->has_key = s->grid.words > 0 && settings_find(&r.settings, s->grid.axis[0].key) != NULL;
        }
        if (!run[i].good) {
            j->state = JOB_FAILED;
            snprintf(j->why, sizeof j->why, "%.399s", e.text);
        }
        run_close(&r);
    }
}

static int write_text(const struct sweep *s, const char *name, const struct text *t, struct error *e)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    return file_write(path, t->s, (size_t)t->len, e);
}

/* The verb plot over the runs that are done; a line a setting. It says itself where it cannot. */
static void draw(const struct sweep *s, const struct kind *kind)
{
    const char *word[MAX_RUNS + 4];
    char out[400], in[60], group[100];
    int n = 0;
    for (int i = 0; i < s->grid.combinations; i++)
        if (s->job[i].state == JOB_DONE)
            word[n++] = s->job[i].dir;
    if (n == 0)
        return;
    snprintf(out, sizeof out, "out=%s/curves.%s", s->dir, figure_has_png ? "png" : "svg");
    snprintf(in, sizeof in, "phase=%s", kind->phase);
    snprintf(group, sizeof group, "group=%s", s->grid.axis[0].key);
    word[n++] = out;
    word[n++] = in;
    word[n++] = "y=accuracy,length";
    if (grid_setting_axes(&s->grid) == 1 && kind->has_key)
        word[n++] = group;
    verb_row_plot.run(n, word);
}

static int leave(struct sweep *s, struct error *e)
{
    struct sweep_run *run = mem_alloc((size_t)s->grid.combinations, sizeof *run);
    struct text page = {0}, table = {0}, csv = {0};
    struct kind kind = {"", 0};
    measure(s, run, &kind);
    sweep_markdown(&table, &s->grid, run);
    add_page(&page, s, run, kind.phase);
    sweep_csv(&csv, &s->grid, run);
    int status =
        file_make_directory(s->dir, e) || write_text(s, "table.md", &page, e) || write_text(s, "table.csv", &csv, e)
            ? -1
            : 0;
    fputs(table.s, stdout);
    fflush(stdout);
    draw(s, &kind);
    text_clear(&page);
    add_failures(&page, s);
    if (page.len)
        fputs(page.s, stderr);
    text_free(&page);
    text_free(&table);
    text_free(&csv);
    mem_free(run);
    return status;
}

/* ---- the verb ---- */

static int carry_out(struct sweep *s, struct error *e)
{
    if (sweep_prepare(s, e))
        return verb_failed(&verb_row_sweep, e);
    if (sweep_count(s, JOB_FAILED) == s->grid.combinations) {
        fail(e, "no combination is a recipe: %s: %s", s->job[0].label, s->job[0].why);
        return verb_usage(&verb_row_sweep, e);
    }
    say_opening(s);
    sweep_train(s);
    if (s->stopped) {
        fprintf(stderr, "\nInterrupted: %d of %d runs are done, the others saved; the same command goes on.\n",
                sweep_count(s, JOB_DONE), s->grid.combinations);
        return EXIT_INTERRUPTED;
    }
    if (leave(s, e))
        return verb_failed(&verb_row_sweep, e);
    return sweep_count(s, JOB_FAILED) ? EXIT_FAILED : EXIT_DONE;
}

static int run(int argc, const char *const *argv)
{
    struct sweep *s = mem_alloc(1, sizeof *s);
    struct words w = {0};
    struct value option[OPTIONS];
    struct error e;
    int bad = sort_words(&w, argc, argv, &e) || verb_options(&verb_row_sweep, w.options, w.option, option, &e) ||
              open_sweep(s, &w, option, &e);
    int status = bad ? verb_usage(&verb_row_sweep, &e) : carry_out(s, &e);
    close_sweep(s);
    return status;
}

const struct verb verb_row_sweep = {
    "sweep",
    "All combinations of several values of a recipe's keys: a table with intervals, and a figure.",
    "[RECIPE] key=A,B,C seed=1..5 [key=value ...]",
    "A key of the recipe may have several values, separated by commas; a..b are the whole numbers from a to b. A "
    "value\n"
    "that holds a comma itself is put in double quotes, or its comma stands in parentheses. Every combination is a "
    "run\n"
    "in a directory of its own. Keys with one value are the same for all.\n"
    "\n"
    "Several runs go at once, processes of one thread each unless jobs= says otherwise; the numbers do not depend on "
    "it.\n"
    "The same command takes up what is there: a finished run is taken as it is, one that was cut off goes on, and a "
    "run\n"
    "of another recipe in its place is refused. Ctrl-C lets every run finish its step and save. A run that fails does\n"
    "not stop the others; it is listed at the end with the reason.\n"
    "\n"
    "The table has a row for each setting: the mean over the seeds and half of its 95 % interval, t sd / sqrt(n) with\n"
    "Student's t of n - 1 degrees of freedom. Greedy accuracy on unseen prompts before the first rollout and after "
    "the\n"
    "last phase with rollouts, accuracy of samples, tokens of an answer, the area under the greedy accuracy over that\n"
    "phase (its mean, with straight lines between the evaluations), and the seconds of its steps. Seconds of runs "
    "that\n"
    "share a machine tell what they took there, not what they would take alone.\n"
    "\n"
    "Files:\n"
    "  DIR/KEY_VALUE_.../                          a run each, as rl writes it, and messages.txt: what it said\n"
    "  DIR/table.md, table.csv                     the table; shares are not in percent in table.csv\n"
    "  DIR/curves.png, or curves.svg               accuracy and length, a line a setting\n"
    "\n"
    "Exit status:\n"
    "  0 done, 1 a run or all failed, 2 wrong usage, 130 interrupted\n"
    "\n"
    "Examples:\n"
    "  train_rl sweep chain rl.lr=1e-4,3e-4,1e-3 seed=1..5\n"
    "  train_rl sweep grpo variant=trl,verl,openrlhf seed=1..3 out=out/variants jobs=2\n"
    "  train_rl sweep chain clip.agg=token_mean,seq_mean_token_mean group.std=true,false seed=1..5\n"
    "  train_rl sweep chain 'stages.score=outcome,\"outcome, format\"' seed=1..3 rl.steps=50\n",
    options,
    run,
};
