/* The verbs of the command: one file and one constant row each, listed in verbs.c.
 *
 * To add one: dev/verbs/NAME.c with a `const struct verb verb_row_NAME`, declared below and listed in verbs.c; help,
 * listing and suggestions follow. A verb that reads lines is a filter and leaves reading and errors to lines_run.
 */
#ifndef VERBS_H
#define VERBS_H
#include <stdio.h>
#include "../../model/base/json.h"
#include "../../model/base/param.h"

struct verb {
    const char *name, *sentence;
    const char *usage;                             /* what may follow the verb, one line */
    const char *help;                              /* paragraphs: what it does, what it reads and writes, examples */
    const struct param *options;                   /* its key=value words; NULL: none, or the keys of a recipe */
    int (*run)(int argc, const char *const *argv); /* words after the verb; returns the exit status */
};
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 /* as shells count Ctrl-C */ };

extern const struct verb *const verbs[]; /* NULL-terminated, in the order of the help */
const struct verb *verb_find(const char *name);

/* The whole command line after the program's name. A recipe, a path or key=value in front stands for the verb rl.
 * Returns the exit status. */
int verbs_main(int argc, const char *const *argv);
int verb_rl(int argc, const char *const *argv); /* train_rl.c */

extern const struct verb verb_row_trace, verb_row_plot, verb_row_sweep, verb_row_check, verb_row_bench, verb_row_export,
    verb_row_compare, verb_row_onefile;
extern const struct verb verb_row_objective, verb_row_eval, verb_row_sample, verb_row_verify, verb_row_tokenize,
    verb_row_logprobs, verb_row_list, verb_row_show, verb_row_help;

/* Values of the verb's options in the order of its rows, defaults where a word is missing. -1: a word is no key=value,
 * unknown (the nearest is suggested), given twice or out of bounds. */
int verb_options(const struct verb *v, int argc, const char *const *argv, struct value *value, struct error *e);
/* Words of a verb that draws runs: directories first, at least one, then options. Their number, or -1: none, a bad
 * option, or *out, the option that names the figure, has an ending that no figure is written in. */
int verb_runs(const struct verb *v, int argc, const char *const *argv, struct value *value, int out, struct error *e);
/* Tell a person what went wrong; both return the status: verb_usage also points to the help. */
int verb_failed(const struct verb *v, const struct error *e);
int verb_usage(const struct verb *v, const struct error *e);

/* ---- filters (lines.c): one JSON object a line in, one a line out, flushed line by line ---- */
enum { MAX_LINE = 64 << 20 }; /* bytes */
/* The answer to one object: a new reference, or NULL and *e. */
typedef json_t *line_answer(void *context, const json_t *object, struct error *e);
/* Every line of `in` to its end; what cannot be read or answered gives {"error":...}. Returns the exit status, which
 * bad lines do not change. */
int lines_run(FILE *in, FILE *out, line_answer *answer, void *context);
/* The whole numbers of array object[key], each at least 0 and below `limit`; *ids is grown with mem_grow. Returns their
 * number or -1. */
int line_ids(const json_t *object, const char *key, int limit, int32_t **ids, int *cap, struct error *e);
json_t *line_ids_json(const int32_t *ids, int n);

/* ---- listings (list.c) ---- */
/* Print everything of that name, in full; the number of things found. */
int show_print(FILE *f, const char *name);
void param_rows_print(FILE *f, const struct param *rows);
/* Names of everything that `show` knows, for suggestions; at most max, returns their number. */
int show_names(const char **names, int max);

#endif
