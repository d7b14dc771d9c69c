/* What tests of whole training runs share: a folder of their own, the program called in a process of its own, the files
 * it leaves. The file that includes it defines FOLDER, the pattern of the folder's name, and includes cmocka after it.
 */
#ifndef RUNS_H
#define RUNS_H
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../model/base/error.h"
#include "../model/base/file.h"
#include "../model/base/mem.h"
/* last: it needs the headers above, and its macro fail() would change ours */
#include <cmocka.h>

int train_rl_main(int argc, char **argv);

static char folder[64];

static inline int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, FOLDER);
    return mkdtemp(folder) ? 0 : -1;
}

static inline char *in_folder(char path[600], const char *name)
{
    snprintf(path, 600, "%s/%s", folder, name);
    return path;
}

static inline int remove_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s;
    (void)type;
    (void)at;
    remove(path); /* a directory stays when its listing left entries out: the next walk finds them */
    return 0;
}

/* Whatever is there, a checkpoint that a killed run was writing too. Some file systems skip entries of a directory when
 * others are removed meanwhile, hence several walks. */
static inline int tear_down(void **state)
{
    (void)state;
    for (int walk = 0; walk < 5 && access(folder, F_OK) == 0; walk++)
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return access(folder, F_OK) == 0;
}

/* ---- files ---- */

struct bytes {
    char *p;
    size_t len;
};

static inline struct bytes slurp(const char *run, const char *file)
{
    char path[900];
    struct bytes b;
    struct error e;
    snprintf(path, sizeof path, "%s/%s/%s", folder, run, file);
    b.p = file_read(path, 1 << 28, &b.len, &e);
    if (!b.p)
        fail_msg("%s", e.text);
    return b;
}

/* Lines without what depends on the clock and the machine: the keys that begin with t_ stand last. */
static inline struct bytes slurp_lines(const char *run, const char *file)
{
    struct bytes b = slurp(run, file);
    char *to = b.p;
    for (char *line = b.p, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        char *clock = strstr(line, ",\"t_");
        size_t len = clock ? (size_t)(clock - line) : (size_t)(end - line);
        memmove(to, line, len);
        to += len;
        *to++ = '\n';
    }
    b.len = (size_t)(to - b.p);
    return b;
}

static inline int equal(struct bytes a, struct bytes b)
{
    int same = a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
    mem_free(a.p);
    mem_free(b.p);
    return same;
}

static inline int same_file(const char *a, const char *b, const char *file)
{
    return equal(slurp(a, file), slurp(b, file));
}

static inline int same_lines(const char *a, const char *b, const char *file)
{
    return equal(slurp_lines(a, file), slurp_lines(b, file));
}

static inline int has_file(const char *run, const char *file)
{
    char path[900];
    snprintf(path, sizeof path, "%s/%s/%s", folder, run, file);
    return file_size(path) >= 0;
}

/* Everything a run leaves that depends on the recipe alone. */
static inline void assert_same_run(const char *a, const char *b)
{
    static const char *const lines[] = {"log.jsonl", "samples.jsonl", "eval.jsonl"};
    static const char *const files[] = {"recipe.ini",
                                        "checkpoint/recipe.ini",
                                        "checkpoint/config.json",
                                        "checkpoint/tokenizer.json",
                                        "checkpoint/model.safetensors",
                                        "checkpoint/trainer.safetensors",
                                        "checkpoint/adapter_config.json", /* the last two: where there are adapters */
                                        "checkpoint/adapter_model.safetensors"};
    for (int i = 0; i < 3; i++)
        if (!same_lines(a, b, lines[i]))
            fail_msg("%s of the runs %s and %s differ", lines[i], a, b);
    int n = has_file(a, files[6]) || has_file(b, files[6]) ? 8 : 6;
    for (int i = 0; i < n; i++)
        if (!same_file(a, b, files[i]))
            fail_msg("%s of the runs %s and %s differ", files[i], a, b);
}

static inline void write_recipe(const char *name, const char *text)
{
    char path[600];
    struct error e;
    if (file_write(in_folder(path, name), text, strlen(text), &e))
        fail_msg("%s", e.text);
}

/* Lines of the run's log so far. */
static inline int lines_logged(const char *run)
{
    char path[600];
    struct error e;
    size_t len;
    int n = 0;
    snprintf(path, sizeof path, "%s/%s/log.jsonl", folder, run);
    char *text = file_size(path) > 0 ? file_read(path, 1 << 28, &len, &e) : NULL;
    for (size_t i = 0; text && i < len; i++)
        n += text[i] == '\n';
    mem_free(text);
    return n;
}

/* ---- one call of the command, in a process of its own ---- */

static inline void child(char *text, const char *out)
{
    char path[600], *argv[40] = {"train_rl"};
    int argc = 1, file = open(in_folder(path, out), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || dup2(file, 1) < 0 || dup2(file, 2) < 0)
        _exit(100);
    for (char *save = NULL, *w = strtok_r(text, "|", &save); w && argc < 39; w = strtok_r(NULL, "|", &save))
        argv[argc++] = w;
    int status = train_rl_main(argc, argv);
    fflush(stdout);
    fflush(stderr);
    _exit(status);
}

/* Begin the command of words separated by '|'; what it prints goes to the file `printed`. */
static inline pid_t start(const char *words)
{
    char text[3000];
    snprintf(text, sizeof text, "%s", words);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        child(text, "printed");
    if (pid < 0)
        fail_msg("no process for %s", words);
    return pid;
}

/* Its exit status; 1000 + signal when a signal ended it. */
static inline int finish(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        fail_msg("process %d is lost", (int)pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline int call(const char *format, ...)
{
    char text[3000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return finish(start(text));
}

static inline void train(const char *run, const char *words)
{
    int status = call("%s|run.out=%s/%s", words, folder, run);
    if (status) {
        struct bytes b = slurp("", "printed");
        fail_msg("status %d after %s: %s", status, words, b.p);
    }
}

/* Filters read standard input: nothing stands there. */
static inline int empty_input(void)
{
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing < 0 || dup2(nothing, 0) < 0)
        return -1;
    return close(nothing);
}

static inline void assert_printed(const char *piece)
{
    struct bytes b = slurp("", "printed");
    if (!strstr(b.p, piece))
        fail_msg("'%s' is not in: %s", piece, b.p);
    mem_free(b.p);
}

#endif
