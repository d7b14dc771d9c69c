#include "rundir.h"
#include "../../model/base/clock.h"
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

const char *const run_file_names[RUN_FILES] = {"log.jsonl", "samples.jsonl", "eval.jsonl"};

static int holds_a_run(const char *path)
{
    char file[700];
    snprintf(file, sizeof file, "%s/log.jsonl", path);
    if (file_size(file) >= 0)
        return 1;
    snprintf(file, sizeof file, "%s/recipe.ini", path);
    return file_size(file) >= 0;
}

/* Two processes in one directory would mix their lines. The lock goes with the process, however it ends. */
static int lock_run(struct rundir *d, struct error *e)
{
    char file[700];
    rundir_path(d, "recipe.ini", file);
    d->lock = open(file, O_RDONLY | O_CLOEXEC);
    if (d->lock >= 0 && flock(d->lock, LOCK_EX | LOCK_NB) != 0) {
        rundir_close(d);
        return fail(e, "another train_rl is working in %s", d->path);
    }
    return 0;
}

int rundir_create(struct rundir *d, const char *name, const char *out, const char *recipe_text, struct error *e)
{
    *d = (struct rundir){.live = isatty(STDERR_FILENO), .lock = -1};
    if (out[0]) {
        snprintf(d->path, sizeof d->path, "%s", out);
        if (holds_a_run(d->path))
            return fail(e,
                        "%s holds a run already; go on with it by run.resume=%s, choose another run.out or remove it",
                        d->path, d->path);
    } else {
        int n = 1;
        do
            snprintf(d->path, sizeof d->path, "out/%s-%d", name, n++);
        while (file_is_directory(d->path) && n < 1000000);
    }
    char file[700];
    if (file_make_directory(d->path, e))
        return -1;
    rundir_path(d, "recipe.ini", file);
    return file_write(file, recipe_text, strlen(recipe_text), e) || lock_run(d, e) ? -1 : 0;
}

/* Bytes up to and with newline number `lines`, or the last newline when lines is -1; *counted: how many those are. */
static long line_end(const char *text, size_t len, long lines, long *counted)
{
    long n = 0, at = 0;
    for (const char *end; n != lines && (end = memchr(text + at, '\n', len - (size_t)at)); n++)
        at = end + 1 - text;
    *counted = n;
    return at;
}

char *rundir_read(const struct rundir *d, enum run_file file, size_t *len, struct error *e)
{
    char path[700];
    rundir_path(d, run_file_names[file], path);
    *len = 0;
    if (access(path, F_OK) != 0)
        return mem_alloc(1, 1);
    return file_read(path, (size_t)1 << 36, len, e);
}

int rundir_check(const char *path, struct error *e)
{
    char file[700];
    if (!file_is_directory(path))
        return fail(e, "there is no directory %s", path);
    snprintf(file, sizeof file, "%.600s/trainer.safetensors", path);
    if (file_size(file) >= 0)
        return fail(e, "%s is the checkpoint of a run; the run is the directory that holds it", path);
    snprintf(file, sizeof file, "%.600s/recipe.ini", path);
    return file_size(file) >= 0 ? 0 : fail(e, "%s holds no run: there is no recipe.ini in it", path);
}

int rundir_meant(const char *word, struct error *e)
{
    char file[700];
    snprintf(file, sizeof file, "%.600s/recipe.ini", word);
    if (!file_is_directory(word) || (file_size(file) < 0 && !strchr(word, '/')))
        return 0;
    return rundir_check(word, e) ? -1 : 1;
}

int rundir_reopen(struct rundir *d, const char *path, struct error *e)
{
    char file[700];
    *d = (struct rundir){.live = isatty(STDERR_FILENO), .lock = -1};
    snprintf(d->path, sizeof d->path, "%s", path);
    for (size_t n = strlen(d->path); n > 1 && d->path[n - 1] == '/'; n--)
        d->path[n - 1] = 0;
    if (rundir_check(d->path, e) || lock_run(d, e))
        return -1;
    rundir_path(d, "checkpoint", file);
    file_recover_directory(file);
    for (int i = 0; i < RUN_FILES; i++) {
        size_t len;
        char *text = rundir_read(d, i, &len, e);
        if (!text)
            return -1;
        line_end(text, len, -1, &d->lines[i]);
        mem_free(text);
    }
    return 0;
}

void rundir_close(struct rundir *d)
{
    if (d->lock >= 0)
        close(d->lock);
    d->lock = -1;
}

int rundir_cut(struct rundir *d, const long lines[RUN_FILES], struct error *e)
{
    for (int i = 0; i < RUN_FILES; i++) {
        char path[700];
        size_t len;
        long counted;
        char *text = rundir_read(d, i, &len, e);
        if (!text)
            return -1;
        long at = line_end(text, len, lines[i], &counted);
        mem_free(text);
        rundir_path(d, run_file_names[i], path);
        if (counted < lines[i])
            return fail(e, "%s has %ld lines, but the checkpoint was saved after %ld: part of it is lost", path,
                        counted, lines[i]);
        if ((size_t)at < len && file_truncate(path, at, e))
            return -1;
        d->lines[i] = lines[i];
    }
    return 0;
}

int rundir_sync(const struct rundir *d, struct error *e)
{
    for (int i = 0; i < RUN_FILES; i++) {
        char path[700];
        rundir_path(d, run_file_names[i], path);
        if (d->lines[i] > 0 && file_sync(path, e))
            return -1;
    }
    return 0;
}

void rundir_path(const struct rundir *d, const char *file, char path[700])
{
    snprintf(path, 700, "%s/%s", d->path, file);
}

int rundir_append(struct rundir *d, enum run_file file, json_t *line, struct error *e)
{
    const char *name = run_file_names[file];
    char path[700], *text = json_text(line);
    json_decref(line);
    if (!text)
        return fail(e, "%s/%s: a number in the line is not finite", d->path, name);
    size_t len = strlen(text);
    char *with_end = realloc(text, len + 2);
    if (!with_end) {
        free(text);
        return fail(e, "out of memory while writing %s/%s", d->path, name);
    }
    memcpy(with_end + len, "\n", 2);
    rundir_path(d, name, path);
    int status = file_append(path, with_end, len + 1, e);
    free(with_end);
    d->lines[file] += status == 0;
    return status;
}

enum { PLAIN_SECONDS = 2 }; /* between progress lines when nobody watches a terminal */

void rundir_progress(struct rundir *d, int last, const char *format, ...)
{
    double now = clock_now();
    if (!last && now - d->last_line < (d->live ? 0.1 : PLAIN_SECONDS))
        return;
    d->last_line = now;
    va_list arguments;
    va_start(arguments, format);
    char text[400];
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (d->live)
        fprintf(stderr, "\r\033[K%s%s", text, last ? "\n" : "");
    else
        fprintf(stderr, "%s\n", text);
    fflush(stderr);
}
