/* A run directory and what a run tells a person while it goes: recipe.ini, *.jsonl, checkpoint/, the live line. */
#ifndef RUNDIR_H
#define RUNDIR_H
#include "../../model/base/json.h"

struct rundir {
    char path[600];
    int live; /* standard error is a terminal: one line rewritten in place; otherwise a plain line now and then */
    double last_line; /* clock of the last one */
};
/* out/<name>-<n> with the smallest free n unless `out` is given; an `out` that holds a run already is refused. */
int rundir_create(struct rundir *d, const char *name, const char *out, const char *recipe_text, struct error *e);
int rundir_append(const struct rundir *d, const char *file, json_t *line, struct error *e); /* takes the reference */
void rundir_path(const struct rundir *d, const char *file, char path[700]);
/* Show a progress text; `last` ends the line. */
void rundir_progress(struct rundir *d, int last, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
