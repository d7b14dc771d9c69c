/* Which verb a command line means, and what all verbs do alike: options, complaints. What a verb does stands in its own
 * file; train_rl.c has the training.
 */
#include "verbs.h"
#include "figure.h"
#include "rundir.h"
#include "../../model/base/file.h"
#include "../../rewards/recipe.h"
#include <string.h>

static const struct verb row_rl = {
    "rl",
    "Train: all phases of a recipe, with evaluation, figures and checkpoints.",
    "[RECIPE] [key=value ...]",
    "RECIPE is a built-in name or a path that holds a '/' or ends in .ini; without one it is chain. The verb itself "
    "may\n"
    "be left out. key=value changes the recipe: seed, a knob of its [params], SECTION.key, PHASE.key or STAGE.key;\n"
    "`train_rl show SECTION` has the keys of model, rollout, optim, eval, run and phase.\n"
    "\n"
    "A run writes a directory of its own, out/RECIPE-N unless run.out=DIR: the resolved recipe, logs, samples,\n"
    "evaluations, figures and the last checkpoint. Ctrl-C finishes the step and saves (exit status 130); "
    "run.resume=DIR\n"
    "goes on with that run, also after a crash, and its numbers are those of a run that never stopped.\n"
    "\n"
    "Files:\n"
    "  rewards/recipes/RECIPE.ini                  compiled in; a path reads another\n"
    "  out/RECIPE-N/recipe.ini                     the resolved recipe, which can be run again\n"
    "  out/RECIPE-N/log.jsonl, samples.jsonl       one line a step, and some rollouts with what they earned\n"
    "  out/RECIPE-N/eval.jsonl                     one line an evaluation\n"
    "  out/RECIPE-N/curves.svg, curves.png         the figures\n"
    "  out/RECIPE-N/checkpoint/                    weights, configuration and tokenizer as others read them\n"
    "\n"
    "Exit status:\n"
    "  0 done, 1 failed, 2 wrong usage, 130 interrupted\n"
    "\n"
    "Examples:\n"
    "  train_rl\n"
    "  train_rl grpo seed=2 beta=0.02\n"
    "  train_rl chain rl.steps=20 rollout.samples=16 run.out=out/wide\n"
    "  train_rl rl run.resume=out/wide\n",
    NULL,
    verb_rl,
};

const struct verb *const verbs[] = {&row_rl,
                                    &verb_row_eval,
                                    &verb_row_sample,
                                    &verb_row_verify,
                                    &verb_row_tokenize,
                                    &verb_row_logprobs,
                                    &verb_row_objective,
                                    &verb_row_trace,
                                    &verb_row_plot,
                                    &verb_row_sweep,
                                    &verb_row_compare,
                                    &verb_row_check,
                                    &verb_row_bench,
                                    &verb_row_export,
                                    &verb_row_onefile,
                                    &verb_row_list,
                                    &verb_row_show,
                                    &verb_row_help,
                                    NULL};

const struct verb *verb_find(const char *name)
{
    for (int i = 0; verbs[i]; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

int verb_failed(const struct verb *v, const struct error *e)
{
    fprintf(stderr, "train_rl %s: %s\n", v->name, e->text);
    return EXIT_FAILED;
}

int verb_usage(const struct verb *v, const struct error *e)
{
    verb_failed(v, e);
    fprintf(stderr, "usage: train_rl %s %s\n`train_rl help %s` has the details\n", v->name, v->usage, v->name);
    return EXIT_USAGE;
}

static int unknown_option(const struct verb *v, const char *key, struct error *e)
{
    const char *names[MAX_PARAMS];
    int n = param_count(v->options);
    for (int i = 0; i < n; i++)
        names[i] = v->options[i].key;
    const char *near = nearest_name(key, names, n);
    return near ? fail(e, "unknown key '%.80s', did you mean '%s'?", key, near) : fail(e, "unknown key '%.80s'", key);
}

/* What was probably meant: the directory of a model, or lines that a filter reads from standard input. */
static int no_key(const struct verb *v, const char *word, struct error *e)
{
    if (param_find(v->options, "model.path") >= 0 && file_is_directory(word))
        return fail(e, "'%.80s' is no key=value; a model is given as model.path=%.80s", word, word);
    if (strchr(v->usage, '<') && file_size(word) >= 0)
        return fail(e, "'%.80s' is no key=value; lines are read from standard input: <%.80s", word, word);
    return fail(e, "'%.80s' is no key=value", word);
}

int verb_options(const struct verb *v, int argc, const char *const *argv, struct value *value, struct error *e)
{
    int given[MAX_PARAMS] = {0};
    for (int i = 0; i < param_count(v->options); i++)
        if (param_parse(&v->options[i], v->options[i].def, &value[i], e))
            return -1;
    for (int i = 0; i < argc; i++) {
        char key[80];
        const char *equals = strchr(argv[i], '=');
        if (!equals)
            return no_key(v, argv[i], e);
        snprintf(key, sizeof key, "%.*s", (int)(equals - argv[i] < 79 ? equals - argv[i] : 79), argv[i]);
        int k = param_find(v->options, key);
        if (k < 0)
            return unknown_option(v, key, e);
        if (given[k]++)
            return fail(e, "%s is given twice", v->options[k].key);
        if (param_parse(&v->options[k], equals + 1, &value[k], e))
            return -1;
    }
    return 0;
}

int verb_runs(const struct verb *v, int argc, const char *const *argv, struct value *value, int out, struct error *e)
{
    int words = 0;
    while (words < argc && !strchr(argv[words], '='))
        words++;
    if (verb_options(v, argc - words, argv + words, value, e) ||
        (value[out].text[0] && figure_path("out", value[out].text, e)))
        return -1;
    return words > 0 ? words : fail(e, "a run directory is missing");
}

static int asks_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* A word that can only be meant for the verb rl. */
static int is_recipe(const char *word)
{
    size_t len = strlen(word);
    for (const struct recipe_file *f = recipe_files; f->name; f++)
        if (strcmp(f->name, word) == 0)
            return 1;
    return strchr(word, '=') || strchr(word, '/') || (len > 4 && strcmp(word + len - 4, ".ini") == 0);
}

static int unknown_word(const char *word)
{
    const char *names[256];
    int n = 0;
    if (file_is_directory(word) && !rundir_check(word, NULL)) {
        fprintf(stderr,
                "train_rl: %s is the directory of a run: run.resume=%s goes on with it, %s/recipe.ini runs its recipe "
                "again\n",
                word, word, word);
        return EXIT_USAGE;
    }
    for (int i = 0; verbs[i]; i++)
        names[n++] = verbs[i]->name;
    for (const struct recipe_file *f = recipe_files; f->name && n < 256; f++)
        names[n++] = f->name;
    const char *near = nearest_name(word + strspn(word, "-"), names, n);
    fprintf(stderr, "train_rl: '%.80s' is neither a verb nor a recipe", word);
    if (near)
        fprintf(stderr, ", did you mean '%s'?\n", near);
    else
        fprintf(stderr, "; `train_rl help` shows the verbs, `train_rl list recipes` the recipes\n");
    return EXIT_USAGE;
}

static int dispatch(int argc, const char *const *argv)
{
    if (argc == 0)
        return verb_rl(0, argv);
    if (asks_help(argv[0]))
        return verb_row_help.run(argc - 1, argv + 1);
    const struct verb *v = verb_find(argv[0]);
    if (!v && !is_recipe(argv[0]))
        return unknown_word(argv[0]);
    for (int i = 1; i < argc; i++)
        if (asks_help(argv[i]))
            return verb_row_help.run(1, v ? argv : &row_rl.name);
    return v ? v->run(argc - 1, argv + 1) : verb_rl(argc, argv);
}

int verbs_main(int argc, const char *const *argv)
{
    int status = dispatch(argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        perror("train_rl: standard output");
        return status ? status : EXIT_FAILED;
    }
    return status;
}
