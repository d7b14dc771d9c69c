/* trace: what is traced, and from where the run starts: a recipe's beginning, or the checkpoint of a run. The algorithm
 * is that of train_rl.c; nothing is written but what is asked for.
 */
#include "trace.h"
#include "loop.h"
#include "resume.h"
#include "rundir.h"
#include "verbs.h"
#include "../../model/base/file.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { OPTION_PHASE, OPTION_STEP, OPTION_GROUP, OPTION_SAMPLES, OPTION_POSITIONS, OPTION_HTML, OPTION_JSON, OPTIONS };
static const struct param options[] = {
    {"phase", PARAM_TEXT, "", 0, 0, NULL,
     "Phase to trace; empty: the one a checkpoint stands in, else the first with rollouts.", NULL},
    {"step", PARAM_INT, "off", 0, 1e9, NULL,
     "Step of the phase, from 0; off: the next one after the checkpoint, else 0.", NULL},
    {"group", PARAM_INT, "off", 0, 1e9, NULL, "Group of the step, from 0; off: the first one whose rewards differ.",
     NULL},
    {"samples", PARAM_INT, "2", 0, 65536, NULL, "The text shows the tokens of so many samples one by one.", NULL},
    {"positions", PARAM_INT, "6", 0, 1000, NULL, "Tokens whose distribution is shown before and after the update.",
     NULL},
    {"html", PARAM_TEXT, "", 0, 0, NULL, "Write one self-contained page to this file, in place of the text.", NULL},
    {"json", PARAM_BOOL, "false", 0, 0, NULL, "Print one JSON object with 17 digits, in place of the text.", NULL},
    {0}};

enum { MAX_WORDS = 256 };
struct job {
    struct trainer *t;
    struct trace trace;
    struct value value[OPTIONS];
    const char *run; /* a run directory, or NULL */
    char recipe[700];
    const char *own[MAX_WORDS], *word[MAX_WORDS]; /* words for trace, and words that change the recipe */
    int owns, words;
    int misused; /* the step that was asked for does not exist */
};

/* ---- where the run stands, and where it has to go ---- */

static int phase_number(const struct recipe *r, const char *name, struct error *e)
{
    const char *names[MAX_PHASES];
    for (int i = 0; i < r->phases; i++) {
        names[i] = r->phase[i].name;
        if (strcmp(r->phase[i].name, name) == 0)
            return i;
    }
    const char *near = nearest_name(name, names, r->phases);
    return fail(e, "%s has no phase '%.80s'%s%s%s", r->name, name, near ? "; did you mean '" : "", near ? near : "",
                near ? "'?" : "");
}

static int is_worth_a_look(const struct phase *ph)
{
    return ph->source == SOURCE_ROLLOUT && phase_trains_policy(ph);
}

/* The phase that the trainer stands in, if something is left to do there that is worth a look; else the first one in
 * which the policy learns from rollouts, else the first. */
static int default_phase(const struct trainer *t)
{
    const struct recipe *r = &t->s.recipe;
    int p = t->phase;
    if (p < r->phases && is_worth_a_look(&r->phase[p]) && t->phase_step < r->phase[p].steps)
        return p;
    for (p = 0; p < r->phases; p++)
        if (is_worth_a_look(&r->phase[p]))
            return p;
    return 0;
}

static int choose_step(struct job *j, struct error *e)
{
    const struct trainer *t = j->t;
    const struct recipe *r = &t->s.recipe;
    struct trace *x = &j->trace;
    const char *name = j->value[OPTION_PHASE].text;
    const struct value *step = &j->value[OPTION_STEP];
    x->phase = name[0] ? phase_number(r, name, e) : default_phase(t);
    if (x->phase < 0)
        return -1;
    int steps = r->phase[x->phase].steps, here = x->phase == t->phase && t->phase_step < steps;
    x->phase_step = !step->off ? (long)step->num : here ? t->phase_step : 0;
    if (x->phase_step >= steps)
        return fail(e, "phase %s has the steps 0 to %d, there is no step %ld", r->phase[x->phase].name, steps - 1,
                    x->phase_step);
    x->group = j->value[OPTION_GROUP].off ? -1 : (int)j->value[OPTION_GROUP].num;
    const struct phase *ph = &r->phase[x->phase];
    if (!phase_trains_policy(ph))
        return fail(e, "phase %s trains '%s'; only steps of the policy can be traced", ph->name, ph->train);
    int groups = ph->source == SOURCE_ROLLOUT ? ph->rollout.prompts : ph->batch;
    if (x->group >= groups)
        return fail(e, "a step of phase %s has the groups 0 to %d, there is no group %d", ph->name, groups - 1,
                    x->group);
    x->positions = (int)j->value[OPTION_POSITIONS].num;
    return 0;
}

static int is_past(const struct job *j)
{
    const struct trace *x = &j->trace;
    return j->t->phase > x->phase || (j->t->phase == x->phase && j->t->phase_step > x->phase_step);
}

/* The checkpoint of a run, read only. The lock keeps the run from putting another one in its place meanwhile; a crash
 * may have left it beside its place. A run without one starts at its beginning. */
static int read_checkpoint(struct job *j, struct error *e)
{
    char directory[720];
    long lines[RUN_FILES];
    int lock = open(j->recipe, O_RDONLY | O_CLOEXEC), status = 0;
    if (lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0) {
        close(lock);
        return fail(e, "another train_rl is working in %s", j->run);
    }
    snprintf(directory, sizeof directory, "%.600s/checkpoint", j->run);
    if (!file_is_directory(directory))
        snprintf(directory, sizeof directory, "%.600s/checkpoint.old", j->run);
    if (file_is_directory(directory))
        status = resume_read(j->t, directory, lines, e);
    if (lock >= 0)
        close(lock);
    return status;
}

static int open_trainer(struct job *j, struct error *e)
{
    return trainer_open(j->t, j->recipe, j->word, j->words, e);
}

/* A trainer that stands at or before the step. */
static int open_before(struct job *j, struct error *e)
{
    if (open_trainer(j, e) || (j->run && read_checkpoint(j, e)))
        return -1;
    j->misused = choose_step(j, e) != 0;
    if (j->misused)
        return -1;
    if (!is_past(j))
        return 0;
    trainer_close(j->t);
    return open_trainer(j, e);
}

/* ---- what comes out ---- */

static int write_page(const struct job *j, struct error *e)
{
    char *page = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&page, &len);
    if (!f)
        return fail(e, "no memory for the page");
    trace_html(f, j->trace.result);
    int bad = fclose(f) != 0 ? fail(e, "no memory for the page") : file_write(j->value[OPTION_HTML].text, page, len, e);
    free(page);
    return bad;
}

static int show(const struct job *j, struct error *e)
{
    int html = j->value[OPTION_HTML].text[0] != 0, json = j->value[OPTION_JSON].num != 0;
    if (html && write_page(j, e))
        return -1;
    if (json) {
        char *text = json_text(j->trace.result);
        puts(text);
        free(text);
    }
    if (!html && !json)
        trace_text(stdout, j->trace.result, (int)j->value[OPTION_SAMPLES].num);
    if (html)
        fprintf(stderr, "%s: the page, for any browser\n", j->value[OPTION_HTML].text);
    return 0;
}

static int follow(struct job *j, struct error *e)
{
    struct trace *x = &j->trace;
    const struct phase *ph = &j->t->s.recipe.phase[x->phase];
    fprintf(stderr, "trace: step %ld of phase %s, from %s\n", x->phase_step, ph->name,
            j->t->step > 0 ? "the run's checkpoint" : "the beginning of the recipe");
    trace_open(x, j->t);
    if (run_phases(j->t, e))
        return -1;
    if (x->trouble.text[0])
        return fail(e, "%s", x->trouble.text);
    if (!x->result)
        return fail(e, "step %ld of phase %s was never reached: its time was up before", x->phase_step, ph->name);
    return show(j, e);
}

/* ---- the command ---- */

/* A page that cannot be written is better refused before the training than after it. */
static int check_page(const struct job *j, struct error *e)
{
    const char *page = j->value[OPTION_HTML].text, *slash = strrchr(page, '/');
    char directory[700];
    if (!page[0])
        return 0;
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - page) + 1 : 1, slash ? page : ".");
    if (file_is_directory(page))
        return fail(e, "html=%s is a directory; name a file", page);
    if (access(directory, W_OK) != 0)
        return fail(e, "html=%s: no file can be made in %s", page, directory);
    return 0;
}

/* The words that are trace's own, and those of the recipe. */
static int sort_words(struct job *j, int argc, const char *const *argv, struct error *e)
{
    int named = argc > 0 && !strchr(argv[0], '=');
    snprintf(j->recipe, sizeof j->recipe, "%s", named ? argv[0] : "chain");
    int of_run = named ? rundir_meant(argv[0], e) : 0;
    if (of_run < 0)
        return -1;
    if (of_run) {
        j->run = argv[0];
        snprintf(j->recipe, sizeof j->recipe, "%.600s/recipe.ini", argv[0]);
    }
    for (int i = named; i < argc; i++) {
        char key[80];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(argv[i], "="), argv[i]);
        if (i == MAX_WORDS)
            return fail(e, "more than %d words", MAX_WORDS);
        if (strncmp(argv[i], "run.out=", 8) == 0 || strncmp(argv[i], "run.resume=", 11) == 0)
            return fail(e, "%s: a trace writes no run directory; `train_rl trace DIR` starts from one", argv[i]);
        if (param_find(options, key) >= 0)
            j->own[j->owns++] = argv[i];
        else
            j->word[j->words++] = argv[i];
    }
    return verb_options(&verb_row_trace, j->owns, j->own, j->value, e);
}

static int run(int argc, const char *const *argv)
{
    static struct trainer trainer; /* large; one run a process */
    static struct job job;
    struct error e;
    job.t = &trainer;
    if (sort_words(&job, argc, argv, &e))
        return verb_usage(&verb_row_trace, &e);
    if (check_page(&job, &e))
        return verb_failed(&verb_row_trace, &e);
    int status = EXIT_DONE;
    if (open_before(&job, &e)) {
        verb_failed(&verb_row_trace, &e);
        status = job.misused || !trainer.s.recipe.text ? EXIT_USAGE : EXIT_FAILED;
    } else if (follow(&job, &e)) {
        status = verb_failed(&verb_row_trace, &e);
    }
    trace_close(&job.trace);
    trainer_close(&trainer);
    return status;
}

const struct verb verb_row_trace = {
    "trace",
    "One group of a training step, from prompt to gradient, with every number.",
    "[RECIPE|RUN] [key=value ...]",
    "Trains up to the step and shows it: prompt, responses, rewards after each stage, advantages, the loss with its\n"
    "parts, gradients, and what the update did to the same tokens. The numbers are those of the run itself: the same\n"
    "code computes them. Nothing is written but the page. Other keys change the recipe, as for rl.\n"
    "\n"
    "RUN is a run directory. The trace starts from its checkpoint, or from the run's beginning when the step lies\n"
    "before; its files stay as they are.\n"
    "\n"
    "Examples:\n"
    "  train_rl trace chain step=5\n"
    "  train_rl trace out/chain-1 step=50 html=step50.html\n"
    "  train_rl trace grpo phase=warmup step=0 json=1\n",
    options,
    run,
};
