/* onefile: a recipe's whole program as one C file, made from the sources: operations, model, sampler, task, the stages
 * it uses, the loop. `make onefile RECIPE=x` calls it.
 */
#include "onefile.h"
#include "verbs.h"
#include "../../model/base/file.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Folders in reading order; of each, the files named first come first, then the others by name. dev/onefile/ holds the
 * parts that stand in for what one file does without: JSON of a library, tokenizer files, checkpoints. */
enum { NAMED = 14 };
static const struct {
    const char *folder, *first[NAMED];
} order[] = {
    {"model/base", {"error.c", "mem.c", "arena.c", "rng.c", "clock.c", "file.c", "param.c"}},
    {"dev/onefile", {"json.c"}},
    {"model/cpu",
     {"memory.c", "product.c", "tile.c", "linear.c", "linear_backward.c", "bf16_unit.c", "bf16.c", "norm.c",
      "attention.c", "attention_backward.c", "elementwise.c", "head.c", "sample.c", "optim.c"}},
    {"model",
     {"backend_cpu.c", "device.c", "arch.c", "model.c", "layout.c", "turn.c", "transformer.c", "optim.c",
      "generate.c"}},
    {"dev/onefile", {"tokenizer.c"}},
    {"data", {"task.c"}},
    {"rewards", {"batch.c", "state.c", "stage.c", "stats.c"}},
    {"rewards/score", {NULL}},
    {"rewards/shape", {NULL}},
    {"rewards/select", {NULL}},
    {"rewards/credit", {NULL}},
    {"rewards/advantage", {NULL}},
    {"rewards/loss", {NULL}},
    {"rewards/regular", {NULL}},
    {"dev/onefile", {"prompts.c"}},
    {"dev/verbs",
     {"session.c", "evaluate.c", "rundir.c", "trainer.c", "micro.c", "channels.c", "prompts.c", "runlog.c"}},
    {".", {"train_rl.c"}},
    {"dev/onefile", {"main.c"}},
};

/* What is not part of training: statements with these words are left out. */
static const char *const left_out[] = {"trainer_look",
                                       "watch",
                                       "watch_context",
                                       "path_arch",
                                       "preset_arch",
                                       "checkpoint_load",
                                       "resume_is_due",
                                       "resume_checkpoint",
                                       "draw_curves",
                                       "report_diagnosis",
                                       "diagnosis",
                                       "saved_at",
                                       NULL};

static int is_read(const struct onefile *f, const char *path)
{
    for (int i = 0; i < f->sources; i++)
        if (!strcmp(f->source[i].path, path))
            return 1;
    return 0;
}

static int read_one(struct onefile *f, const char *folder, const char *name, struct error *e)
{
    char path[160];
    if (!strcmp(folder, "."))
        snprintf(path, sizeof path, "%.150s", name);
    else
        snprintf(path, sizeof path, "%.50s/%.100s", folder, name);
    return is_read(f, path) ? 0 : onefile_read(f, path, left_out, e);
}

static int is_source(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 2 && !strcmp(d->d_name + n - 2, ".c");
}

/* Files that dev/onefile/ stands in for. */
static int has_substitute(const char *name)
{
    return !strncmp(name, "tokenizer", 9) || !strncmp(name, "unicode_", 8) || !strcmp(name, "chat.c");
}

static int read_folder(struct onefile *f, int at, struct error *e)
{
    const char *folder = order[at].folder;
    int status = 0, listed = !strcmp(folder, ".") || !strncmp(folder, "dev", 3);
    for (int i = 0; i < NAMED && order[at].first[i] && !status; i++)
        status = read_one(f, folder, order[at].first[i], e);
    if (listed || status)
        return status;
    struct dirent **entry;
    int n = scandir(folder, &entry, is_source, alphasort);
    if (n < 0)
        return fail(e, "%s: no such folder here; this is made from the sources, so run it where they are", folder);
    for (int i = 0; i < n; i++) {
        if (!status && !has_substitute(entry[i]->d_name))
            status = read_one(f, folder, entry[i]->d_name, e);
        free(entry[i]);
    }
    free(entry);
    return status;
}

/* Text as the inside of a comment. */
static void print_comment(struct text *out, const char *s)
{
    for (; *s; s++) {
        text_add(out, s, 1);
        if (*s == '*' && s[1] == '/')
            text_add(out, " ", 1);
        if (*s == '\n' && s[1])
            text_add(out, s[1] == '\n' ? " *" : " * ", -1);
    }
}

static void print_top(const struct session *s, const char *path, struct text *out)
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    text_addf(out,
              "/* %s: the recipe %s of train_rl as one program, to be read from top to bottom.\n *\n *     cc -O3 "
              "-march=native -ffp-contract=off -fopenmp %s -lm && ./a.out\n *\n * Made from the sources by `make "
              "onefile RECIPE=%s`: base, operations, model, sampler, tokenizer, task, batch,\n * stages, recipe, loop, "
              "main. It writes log.jsonl, samples.jsonl and eval.jsonl, byte for byte those of train_rl (but for\n * "
              "times); not here are checkpoints, figures and every other verb.\n *\n * The recipe:\n *\n * ",
              base, s->recipe.name, base, s->recipe.name);
    print_comment(out, s->recipe.text);
    text_add(out, " */\n#define _GNU_SOURCE\n", -1);
}

static int write_file(const struct session *s, const char *path, struct error *e)
{
    struct onefile f = {0};
    struct text out = {0}, recipe = {0};
    int status = onefile_recipe(s, &recipe, e);
    for (unsigned i = 0; i < sizeof order / sizeof *order && !status; i++) {
        status = read_folder(&f, (int)i, e);
        if (!status && !strcmp(order[i].folder, "rewards/regular"))
            onefile_read_text(&f, "dev/onefile/recipe", mem_strdup(recipe.s), left_out);
    }
    status = status || onefile_reach(&f, e) ? -1 : 0;
    if (!status) {
        print_top(s, path, &out);
        onefile_print(&f, &out);
        status = file_write(path, out.s, (size_t)out.len, e);
    }
    onefile_free(&f);
    text_free(&recipe);
    text_free(&out);
    return status;
}

static const struct param options[] = {
    {"out", PARAM_TEXT, "", 0, 0, NULL, "The file to write. All other words are the recipe's.", NULL}, {0}};

static int run(int argc, const char *const *argv)
{
    struct error e;
    const char *out[64], *words[64], *recipe = "chain";
    struct value path;
    int n = 0, outs = 0;
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], "out=", 4) == 0 && outs < 64)
            out[outs++] = argv[i];
        else if (i == 0 && !strchr(argv[i], '='))
            recipe = argv[i];
        else if (n < 64)
            words[n++] = argv[i];
    int bad = verb_options(&verb_row_onefile, outs, out, &path, &e);
    if (bad || !path.text[0]) {
        if (!bad)
            fail(&e, "out=FILE is missing");
        return verb_usage(&verb_row_onefile, &e);
    }
    struct session *s = mem_alloc(1, sizeof *s);
    if (session_open(s, recipe, words, n, 1, &e)) {
        session_close(s);
        mem_free(s);
        return verb_usage(&verb_row_onefile, &e);
    }
    int status = write_file(s, path.text, &e);
    session_close(s);
    mem_free(s);
    return status ? verb_failed(&verb_row_onefile, &e) : EXIT_DONE;
}

const struct verb verb_row_onefile = {
    "onefile",
    "A recipe's whole program as one C file, made from the sources.",
    "[RECIPE] out=FILE [key=value ...]",
    "Operations, model, sampler, the task, the stages that the recipe uses and the loop, in reading order, and "
    "nothing\n"
    "else: what main does not reach is left out. The file compiles by the line at its top, with no library but C's,\n"
    "and its log.jsonl, samples.jsonl and eval.jsonl are those of `train_rl RECIPE key=value ...`, byte for byte (but\n"
    "for keys that begin with t_). It needs the sources: run it in their folder, or `make onefile RECIPE=NAME`.\n"
    "Recipes with trained models, whose files need their readers, are refused.\n"
    "\n"
    "Files:\n"
    "  out=FILE                                    written\n"
    "  model/, data/, rewards/, dev/, train_rl.c   read\n"
    "\n"
    "Exit status:\n"
    "  0 written, 1 failed, 2 wrong usage\n"
    "\n"
    "Examples:\n"
    "  train_rl onefile grpo out=grpo.c\n"
    "  train_rl onefile chain out=short.c warmup.steps=200 rl.steps=10\n",
    options,
    run,
};
