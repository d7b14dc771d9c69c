/* Run directories made by hand, for the tests of what reads them, and verbs called on them. */
#ifndef RUN_FILES_H
#define RUN_FILES_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../dev/verbs/runread.h"
#include "../dev/verbs/verbs.h"
#include "../model/base/file.h"
#include "../model/base/mem.h"

static char folder[64];
static char made[40][128]; /* directories in it, in the order in which they were made */
static int makes;

static inline int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_runs.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline void forget_runs(void)
{
    struct error e;
    while (makes > 0)
        file_remove_directory(made[--makes], &e);
}

static inline int remove_folder(void **state)
{
    (void)state;
    struct error e;
    forget_runs();
    return file_remove_directory(folder, &e);
}

static inline const char *in_folder(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static inline void put_file(const char *dir, const char *name, const char *text)
{
    char path[400];
    struct error e = {""};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (text && file_write(path, text, strlen(text), &e))
        die("%s", e.text);
}

/* Directory folder/name with the given files; NULL: without that file. Returns its path. */
static inline const char *put_run(const char *name, const char *recipe, const char *log, const char *eval)
{
    struct error e = {""};
    char *dir = made[makes++];
    snprintf(dir, sizeof made[0], "%s/%s", folder, name);
    if (file_make_directory(dir, &e))
        die("%s", e.text);
    put_file(dir, "recipe.ini", recipe);
    put_file(dir, "log.jsonl", log);
    put_file(dir, "eval.jsonl", eval);
    return dir;
}

/* What a recipe of two phases and a control looks like when it is resolved; seed and rate vary. */
static inline const char *recipe_text(char text[1200], int seed, const char *lr)
{
    snprintf(
        text, 1200,
        "# A title: of the test\n\n[params]\nbeta = 0.5\n\n[task]\nname = chain\nmod = 10\n\n[optim]\nlr = 0.0003\n"
        "\n[eval]\nevery = 5\nprompts = 100\n\n[run]\nseed = %d\nlog_samples = 4\n\n"
        "[phase warmup]\nsource = gold\nsteps = 2\nbranch = \"\"\nloss = nll(agg = token_mean)\n\n"
        "[phase rl]\nsource = rollout\nsteps = 4\nbranch = \"\"\n%s%s%sscore = outcome, length(max = 9)\n"
        "loss = clip(eps_low = 0.2, eps_high = 0.28)\nregular = kl(coef = $beta)\n\n"
        "[phase control]\nsource = gold\nsteps = 1\nbranch = warmup\nloss = nll(agg = token_mean)\n",
        seed, lr ? "lr = " : "", lr ? lr : "", lr ? "\n" : "");
    return text;
}

enum { MAX_OUTPUT = 16000 };

static inline void read_output(FILE *f, char text[MAX_OUTPUT])
{
    rewind(f);
    size_t n = fread(text, 1, MAX_OUTPUT - 1, f);
    text[n] = 0;
}

/* A verb with its words; what it wrote to standard output and standard error, where the texts are not NULL. */
static inline int call_verb(const struct verb *v, int argc, const char *const *argv, char out[MAX_OUTPUT],
                            char err[MAX_OUTPUT])
{
    FILE *file[2] = {tmpfile(), tmpfile()};
    int saved[2];
    fflush(stdout);
    fflush(stderr);
    for (int i = 0; i < 2; i++) {
        saved[i] = dup(i + 1);
        if (!file[i] || saved[i] < 0 || dup2(fileno(file[i]), i + 1) < 0)
            die("no file in place of descriptor %d", i + 1);
    }
    int status = v->run(argc, argv);
    fflush(stdout);
    fflush(stderr);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], i + 1);
        close(saved[i]);
        if (i ? err : out)
            read_output(file[i], i ? err : out);
        fclose(file[i]);
    }
    return status;
}

#endif
