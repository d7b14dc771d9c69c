/* A run directory and what a run tells a person while it goes: recipe.ini, *.jsonl, checkpoint/, the live line. */
#ifndef RUNDIR_H
#define RUNDIR_H
#include "../../model/base/json.h"

enum run_file { RUN_LOG, RUN_SAMPLES, RUN_EVAL, RUN_FILES };
extern const char *const run_file_names[RUN_FILES]; /* "log.jsonl" ... */

struct rundir {
    char path[600];
    long lines[RUN_FILES]; /* written so far */
    int lock;              /* descriptor that keeps a second process out; -1: none */
    int live; /* standard error is a terminal: one line rewritten in place; otherwise a plain line now and then */
    double last_line; /* clock of the last one */
};
/* out/<name>-<n> with the smallest free n unless `out` is given; an `out` that holds a run already is refused. */
int rundir_create(struct rundir *d, const char *name, const char *out, const char *recipe_text, struct error *e);
/* The directory of an earlier run, to go on with: its lines are counted, pieces of a crash put in order. */
int rundir_reopen(struct rundir *d, const char *path, struct error *e);
/* Is this the directory of a run, and not of its checkpoint? Says what it is otherwise. */
int rundir_check(const char *path, struct error *e);
/* A word that may name a run or a recipe. 1: the directory of a run; 0: no directory, or of some other kind; -1 and *e:
 * a directory where a run was meant. */
int rundir_meant(const char *word, struct error *e);
void rundir_close(struct rundir *d);
int rundir_append(struct rundir *d, enum run_file file, json_t *line, struct error *e); /* takes the reference */
/* What was appended is on the disk. */
int rundir_sync(const struct rundir *d, struct error *e);
/* Forget what follows the first lines[file] lines of each file; fewer are refused. */
int rundir_cut(struct rundir *d, const long lines[RUN_FILES], struct error *e);
/* The whole text of a JSONL file, "" when there is none; the caller mem_free()s. NULL: it cannot be read. */
char *rundir_read(const struct rundir *d, enum run_file file, size_t *len, struct error *e);
void rundir_path(const struct rundir *d, const char *file, char path[700]);
/* Show a progress text; `last` ends the line. */
void rundir_progress(struct rundir *d, int last, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
