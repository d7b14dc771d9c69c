/* check: a run against what runs of its recipe gave, or a recipe by training it. The rule is in expect.h.
 */
#include "check.h"
#include "verbs.h"
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS, EXPECT, WRITE, MACHINE, OPTIONS };
enum { MAX_TEXT = 1 << 20, MAX_WORDS = 128, MOST_DIFFERENCES = 40 };

static const struct param options[] = {
    {"seeds", PARAM_TEXT, "1", 0, 0, NULL, "With RECIPE: the seeds to train, as 1..5 or 1,2,7.", NULL},
    {"expect", PARAM_TEXT, "", 0, 0, NULL, "File with the expectation; empty: the one shipped with the recipe.", NULL},
    {"write", PARAM_TEXT, "", 0, 0, NULL,
     "Make an expectation from the runs, at least three of different seeds, and write it to this file.", NULL},
    {"machine", PARAM_TEXT, "", 0, 0, NULL, "With write: the machine that took the minutes; empty: this one.", NULL},
    {0}};

/* ---- one run ---- */

static void print_differences(FILE *f, const struct expectation *x, const struct run_files *r)
{
    struct difference d[MOST_DIFFERENCES];
    int n = settings_compare(&r->settings, &x->settings, d, MOST_DIFFERENCES);
    fprintf(f, "  settings that differ, so that the expectation does not hold:\n");
    for (int i = 0; i < n && i < MOST_DIFFERENCES; i++)
        fprintf(f, "    %s = %s instead of %s\n", d[i].name, d[i].a ? d[i].a : "nothing", d[i].b ? d[i].b : "nothing");
    if (n > MOST_DIFFERENCES)
        fprintf(f, "    and %d more\n", n - MOST_DIFFERENCES);
}

static int seed_number(const struct expectation *x, long seed)
{
    for (int i = 0; i < x->seeds; i++)
        if (x->seed[i] == seed)
            return i;
    return -1;
}

/* A row of the table; 1: inside. */
static int print_metric(FILE *f, const struct expected *y, const struct measured *m)
{
    if (!m) {
        fprintf(f, "  %-20s %10s   was not measured\n", y->name, "");
        return 0;
    }
    int inside = expect_inside(y, m->value);
    fprintf(f, "  %-20s %10.4g %10.4g   ", y->name, m->value, y->mean);
    if (y->exact)
        fprintf(f, "%-20s", "exactly that");
    else {
        char range[64];
        snprintf(range, sizeof range, "%.4g to %.4g", y->low, y->high);
        fprintf(f, "%-20s", range);
    }
    fprintf(f, " %s\n", inside ? "inside" : "OUTSIDE");
    return inside;
}

int check_run(FILE *f, const struct expectation *x, const struct run_files *r, struct error *e)
{
    struct measured m[MAX_EXPECTED];
    int n = expect_measure(r, m, e), inside = 0, same = 0, at = seed_number(x, expect_seed(r));
    if (n < 0)
        return -1;
    fprintf(f, "%s against %s (%d seeds)\n  %-20s %10s %10s   accepted\n", r->dir, x->recipe, x->seeds, "", "this run",
            "mean");
    for (int i = 0; i < x->metrics; i++) {
        const struct measured *one = measured_find(m, n, x->metric[i].name);
        inside += print_metric(f, &x->metric[i], one);
        same += at >= 0 && one && one->value == x->metric[i].value[at];
    }
    int differences = settings_compare(&r->settings, &x->settings, NULL, 0);
    if (at >= 0 && !differences)
        fprintf(f, "  seed %ld is one of the expectation's; %s\n", x->seed[at],
                same == x->metrics ? "every number is the same as then"
                                   : "not every number is the same as then: another version or processor");
    fprintf(f, "  %.1f minutes (%.1f to %.1f on %s)\n", expect_minutes(r), x->minutes[0], x->minutes[1], x->machine);
    if (differences) {
        print_differences(f, x, r);
        fprintf(f, "  cannot be judged: %d of %d inside, but of other settings\n", inside, x->metrics);
    } else {
        fprintf(f, "  %s: %d of %d numbers\n", inside == x->metrics ? "inside" : "OUTSIDE", inside, x->metrics);
    }
    return inside == x->metrics && !differences;
}

/* ---- the expectation ---- */

static int shipped(struct expectation *x, const char *recipe, struct error *e)
{
    for (const struct recipe_file *f = recipe_files; f->name; f++) {
        if (strcmp(f->name, recipe))
            continue;
        if (!f->expect)
            return fail(e,
                        "recipe %s has no expectation yet; make one: train_rl check %s seeds=1..5 write=FILE, then "
                        "check RUN_DIR expect=FILE",
                        recipe, recipe);
        return expect_parse(x, f->expect, strlen(f->expect), e) ? fail_in(e, "%s.expect.json", recipe) : 0;
    }
    return fail(e, "%s is the run of no built-in recipe; name the expectation: expect=FILE", recipe);
}

static int find_expectation(struct expectation *x, const char *path, const struct run_files *r, struct error *e)
{
    size_t len;
    if (!path[0])
        return shipped(x, run_recipe(r), e);
    char *text = file_read(path, MAX_TEXT, &len, e);
    if (!text)
        return -1;
    int status = expect_parse(x, text, len, e) ? fail_in(e, "%s", path) : 0;
    mem_free(text);
    return status;
}

/* The processor's name, where the system tells it. */
static void this_machine(char *to, size_t size)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    int cores = 0;
    snprintf(to, size, "unknown processor");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (colon && !strncmp(line, "model name", 10) && cores++ == 0)
            snprintf(to, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    }
    if (f)
        fclose(f);
    size_t len = strlen(to);
    if (cores)
        snprintf(to + len, size - len, ", %d processor%s", cores, cores > 1 ? "s" : "");
}

static int write_expectation(const struct run_files *run, int runs, const struct value *option, struct error *e)
{
    struct expectation *x = mem_alloc(1, sizeof *x);
    char machine[160];
    snprintf(machine, sizeof machine, "%.150s", option[MACHINE].text);
    if (!machine[0])
        this_machine(machine, sizeof machine);
    int status = expect_make(x, run, runs, machine, e) || expect_write(x, option[WRITE].text, e) ? -1 : 0;
    if (!status) {
        printf("%s: %s, ", option[WRITE].text, x->recipe);
        expect_print(stdout, x);
    }
    expect_free(x);
    mem_free(x);
    return status;
}

/* 1: all inside; 0: not; -1: failed. A run without its own expectation stops the whole. */
static int check_runs(const struct run_files *run, int runs, const struct value *option, struct error *e)
{
    struct expectation *x = mem_alloc(1, sizeof *x);
    int all = 1;
    for (int i = 0; i < runs && all >= 0; i++) {
        int one = find_expectation(x, option[EXPECT].text, &run[i], e) ? -1 : check_run(stdout, x, &run[i], e);
        all = one < 0 ? -1 : all && one;
        if (i + 1 < runs && all >= 0)
            putchar('\n');
        expect_free(x);
    }
    mem_free(x);
    return all;
}

/* ---- training what is to be checked ---- */

static int read_seeds(const char *text, long *seed, struct error *e)
{
    int n = 0;
    for (const char *p = text;; p++) {
        char *end;
        long first = strtol(p, &end, 10), last = first;
        int good = end > p && *p >= '0' && *p <= '9';
        if (good && !strncmp(end, "..", 2) && end[2] >= '0' && end[2] <= '9')
            last = strtol(end + 2, &end, 10);
        if (!good || (*end && *end != ',') || last < first)
            return fail(e, "seeds=%.80s: written as 1..5 or 1,2,7", text);
        for (long s = first; s <= last; s++) {
            if (n == MAX_SEEDS)
                return fail(e, "seeds=%.80s: more than %d", text, MAX_SEEDS);
            seed[n++] = s;
        }
        if (!*end)
            return n;
        p = end;
    }
}

/* Train one seed in its directory, go on with it, or take it as it is. word[0] is the recipe. */
static int train(const char *dir, long seed, int words, const char *const *word, struct error *e)
{
    const char *argv[MAX_WORDS + 3];
    char given[3][700];
    struct recipe *r = mem_alloc(1, sizeof *r);
    int n = words;
    snprintf(given[0], sizeof given[0], "run.seed=%ld", seed);
    snprintf(given[1], sizeof given[1], "run.out=%s", dir);
    snprintf(given[2], sizeof given[2], "run.resume=%s", dir);
    memcpy(argv, word, (size_t)words * sizeof *argv);
    argv[n++] = given[0];
    argv[n++] = given[1];
    int state = recipe_load(r, argv[0], argv + 1, n - 1, e) ? -1 : run_state(dir, r, 0, e);
    recipe_free(r);
    mem_free(r);
    if (state < 0 || state == RUN_WHOLE)
        return state < 0 ? -1 : 0;
    if (state == RUN_CUT_OFF ? verb_rl(1, (const char *const[]){given[2]}) : verb_rl(n, argv))
        return fail(e, "seed %ld was not trained", seed);
    return 0;
}

/* word[0] is the recipe. */
static int train_all(const long *seed, int n, int words, const char *const *word, struct run_files *run,
                     struct error *e)
{
    const char *recipe = word[0];
    const char *base = strrchr(recipe, '/') ? strrchr(recipe, '/') + 1 : recipe;
    size_t len = strlen(base);
    len -= len > 4 && !strcmp(base + len - 4, ".ini") ? 4 : 0;
    for (int i = 0; i < n; i++) {
        char dir[300];
        snprintf(dir, sizeof dir, "out/check-%.*s/seed-%ld", (int)(len < 100 ? len : 100), base, seed[i]);
        if (train(dir, seed[i], words, word, e) || run_read(&run[i], dir, e)) {
            while (i > 0)
                run_close(&run[--i]);
            return -1;
        }
    }
    return n;
}

/* ---- the verb ---- */

static int is_option(const char *word)
{
    char key[40];
    snprintf(key, sizeof key, "%.*s", (int)(strcspn(word, "=") < 39 ? strcspn(word, "=") : 39), word);
    return param_find(options, key) >= 0;
}

static int holds_run(const char *word)
{
    char path[700];
    snprintf(path, sizeof path, "%.600s/log.jsonl", word);
    return file_size(path) >= 0;
}

/* A recipe is meant by a built-in name, or by a path to a text; a directory of the same name wins. */
static int is_recipe(const char *word)
{
    size_t n = strlen(word);
    if (holds_run(word))
        return 0;
    for (const struct recipe_file *f = recipe_files; f->name; f++)
        if (!strcmp(f->name, word))
            return 1;
    return n > 4 && !strcmp(word + n - 4, ".ini");
}

static int no_place(const char *word, struct error *e)
{
    const char *names[512], *near;
    int n = 0;
    for (; recipe_files[n].name && n < 512; n++)
        names[n] = recipe_files[n].name;
    near = nearest_name(word, names, n);
    if (near)
        return fail(e, "'%.200s' is neither the directory of a run nor a recipe, did you mean '%s'?", word, near);
    return fail(e, "'%.200s' is neither the directory of a run nor a recipe", word);
}

struct job {
    const char *place[MAX_RUNS], *option[OPTIONS], *other[MAX_WORDS]; /* other[0] is kept free for the recipe */
    int places, options, others;
};

static int sort_words(struct job *j, int argc, const char *const *argv, struct error *e)
{
    for (int i = 0; i < argc; i++) {
        int is_place = !strchr(argv[i], '='), full = is_place ? j->places == MAX_RUNS : j->others == MAX_WORDS - 1;
        if (!is_place && is_option(argv[i]) && j->options < OPTIONS)
            j->option[j->options++] = argv[i];
        else if (full)
            return fail(e, "too many words");
        else if (is_place)
            j->place[j->places++] = argv[i];
        else
            j->other[++j->others] = argv[i];
    }
    for (int i = 1; i <= j->others; i++)
        if (!strncmp(j->other[i], "run.out=", 8) || !strncmp(j->other[i], "run.resume=", 11))
            return fail(e, "%.80s: check trains each seed in out/check-RECIPE/seed-N", j->other[i]);
    j->other[0] = j->place[0];
    if (j->places == 0)
        return fail(e, "a run directory or a recipe is missing");
    if (is_recipe(j->place[0]) && j->places > 1)
        return fail(e, "one recipe at a time");
    for (int i = 0; i < j->places && !is_recipe(j->place[0]); i++)
        if (!file_is_directory(j->place[i]) && !strchr(j->place[i], '/'))
            return no_place(j->place[i], e);
    return 0;
}

static int run(int argc, const char *const *argv)
{
    struct value option[OPTIONS];
    struct error e;
    struct job j = {0};
    if (sort_words(&j, argc, argv, &e) || verb_options(&verb_row_check, j.options, j.option, option, &e))
        return verb_usage(&verb_row_check, &e);
    long seed[MAX_SEEDS];
    int recipe = is_recipe(j.place[0]), seeds = recipe ? read_seeds(option[SEEDS].text, seed, &e) : 0;
    if (seeds < 0)
        return verb_usage(&verb_row_check, &e);
    if (!recipe && j.others && verb_options(&verb_row_check, j.others, j.other + 1, option, &e))
        return verb_usage(&verb_row_check, &e); /* keys of a recipe go with a recipe only */
    if (option[MACHINE].text[0] && !option[WRITE].text[0]) {
        fail(&e, "machine=%.80s would change nothing: it goes into the expectation that write=FILE makes",
             option[MACHINE].text);
        return verb_usage(&verb_row_check, &e);
    }
    struct run_files *files = mem_alloc(MAX_RUNS, sizeof *files);
    int n =
        recipe ? train_all(seed, seeds, j.others + 1, j.other, files, &e) : run_read_all(files, j.places, j.place, &e);
    int good = n < 0                   ? -1
               : option[WRITE].text[0] ? write_expectation(files, n, option, &e) ? -1 : 1
                                       : check_runs(files, n, option, &e);
    for (int i = 0; i < n; i++)
        run_close(&files[i]);
    mem_free(files);
    return good < 0 ? verb_failed(&verb_row_check, &e) : good ? EXIT_DONE : EXIT_FAILED;
}

const struct verb verb_row_check = {
    "check",
    "A run against what runs of its recipe gave: inside or not, and what deviates.",
    "RUN_DIR... | RECIPE [seeds=1..5] [key=value ...]",
    "A run is compared with the expectation that is shipped with its recipe (`train_rl show RECIPE` prints it), or "
    "with\n"
    "expect=FILE. With RECIPE the seeds are trained first, in out/check-RECIPE/seed-N; what is finished there is "
    "taken\n"
    "as it is, what was cut off goes on. write=FILE makes an expectation from the runs instead.\n"
    "\n"
    "An expectation holds, for every number at the ends of the phases, its values for n seeds. Accepted is\n"
    "  mean +- t sqrt(v (1 + 1/n))\n"
    "the prediction interval for one more draw of the same normal distribution: a new value differs from the mean of "
    "n\n"
    "by the variance v (1 + 1/n), and t is Student's with n - 1 degrees of freedom. v is the sample variance of the\n"
    "values; it holds the variation between seeds and that of the test prompts alike. By luck a few values may differ\n"
    "less than so many answers let them (five times 1.000): then v is the binomial variance of the evaluation,\n"
    "p (1 - p) / N with p = (right + 1) / (all + 2), or the evaluation's own standard error squared where that is\n"
    "larger; for lengths a hundredth of the mean, squared. t belongs to the level .99 shared out among all numbers of\n"
    "the file, so an unchanged program is wrongly found outside at most once in a hundred runs. logp_mismatch_max, "
    "the\n"
    "sampler against the trainer, is 0 exactly.\n"
    "\n"
    "Settings other than the seed, logging and the places of files must be those of the expectation; what differs is\n"
    "listed, and such a run is not judged. Minutes are told, never judged.\n"
    "\n"
    "Files:\n"
    "  RUN_DIR/log.jsonl, eval.jsonl, recipe.ini   read\n"
    "  rewards/recipes/NAME.expect.json            compiled in; expect=FILE reads another\n"
    "  out/check-RECIPE/seed-N/, write=FILE        written\n"
    "\n"
    "Exit status:\n"
    "  0 every number of every run is inside, 1 not, or failed, 2 wrong usage\n"
    "\n"
    "Examples:\n"
    "  train_rl check out/chain-1\n"
    "  train_rl check chain seeds=1..5 run.threads=1\n"
    "  train_rl check out/check-chain write=chain.expect.json\n"
    "  train_rl check out/chain-1 expect=chain.expect.json\n",
    options,
    run,
};
