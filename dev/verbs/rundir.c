#include "rundir.h"
#include "../../model/base/clock.h"
#include "../../model/base/file.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int holds_a_run(const char *path)
{
    char file[700];
    snprintf(file, sizeof file, "%s/log.jsonl", path);
    if (file_size(file) >= 0)
        return 1;
    snprintf(file, sizeof file, "%s/recipe.ini", path);
    return file_size(file) >= 0;
}

int rundir_create(struct rundir *d, const char *name, const char *out, const char *recipe_text, struct error *e)
{
    memset(d, 0, sizeof *d);
    d->live = isatty(STDERR_FILENO);
    if (out[0]) {
        snprintf(d->path, sizeof d->path, "%s", out);
        if (holds_a_run(d->path))
            return fail(e, "%s holds a run already; choose another run.out or remove it", d->path);
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
    return file_write(file, recipe_text, strlen(recipe_text), e);
}

void rundir_path(const struct rundir *d, const char *file, char path[700])
{
    snprintf(path, 700, "%s/%s", d->path, file);
}

int rundir_append(const struct rundir *d, const char *file, json_t *line, struct error *e)
{
    char path[700], *text = json_text(line);
    json_decref(line);
    if (!text)
        return fail(e, "%s/%s: a number in the line is not finite", d->path, file);
    size_t len = strlen(text);
    char *with_end = realloc(text, len + 2);
    if (!with_end) {
        free(text);
        return fail(e, "out of memory while writing %s/%s", d->path, file);
    }
    memcpy(with_end + len, "\n", 2);
    rundir_path(d, file, path);
    int status = file_append(path, with_end, len + 1, e);
    free(with_end);
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
