/* A run directory as others wrote it: log, evaluations, settings. The run may be going on, or may have been cut off.
 */
#ifndef RUNREAD_H
#define RUNREAD_H
#include "../../rewards/recipe.h"
#include "settings.h"

enum { MAX_RUNS = 256 };
struct run_phase {
    char name[32];
    int gold;   /* no rollouts: a warm-up */
    int parent; /* of a branch: number of the phase it left from; -1: main line */
    long first, count;
};
struct run_files {
    char dir[600], label[200];          /* label: the last piece of the directory's path */
    json_t *log, *eval;                 /* arrays of objects, one a line */
    struct settings settings;           /* of recipe.ini; empty when it is missing */
    struct run_phase phase[MAX_PHASES]; /* in the order in which they ran */
    int phases;
};

/* log.jsonl must be there; eval.jsonl and recipe.ini may be missing. A last line without its end is left out; any other
 * line that is no object is refused with file and line. */
int run_read(struct run_files *r, const char *dir, struct error *e);
void run_close(struct run_files *r);
/* The runs that the words name: a run directory, or a directory of run directories, in the order of their names.
 * A run that is named twice counts once. Returns their number, at most MAX_RUNS, or -1 with all closed. */
int run_read_all(struct run_files *run, int words, const char *const *word, struct error *e);

double run_number(const json_t *o, const char *key);             /* NAN: missing, null or no number */
int run_phase_of(const struct run_files *r, const json_t *line); /* -1: none */
/* Has every phase of recipe.ini made its steps? -1 and what is missing when not. */
int run_is_finished(const struct run_files *r, struct error *e);
/* What a directory holds that is to be the run of a recipe. -1: a run of other settings; the seed, logging, the place
 * of models and how often is evaluated only count with `exactly`. */
enum run_state { RUN_NONE, RUN_CUT_OFF, RUN_WHOLE }; /* whole: all steps, and the evaluation after the last of them */
int run_state(const char *dir, const struct recipe *wanted, int exactly, struct error *e);
/* Length of the label's part that runs of one setting share, where several settings lie in one directory: all before
 * the last comma, METHOD,STRENGTH of METHOD,STRENGTH,SEED and METHOD of METHOD,,SEED. */
int run_name(const struct run_files *r);
/* The recipe's name: a built-in one with the same title, else that of the directory. */
const char *run_recipe(const struct run_files *r);

#endif
