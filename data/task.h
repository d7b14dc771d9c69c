/* A task: prompts with a known truth, a verifier for the outcome and, where it can, for every step.
 * One file data/task_NAME.c with one constant row, one line in data/tasks.def.
 *
 * An item is a pure function of (parameters, split, index): the same for every run seed. Train and test are disjoint by
 * a hash of the canonical prompt. Text that a model wrote is hostile: bounded parsing, no recursion without a limit.
 */
#ifndef TASK_H
#define TASK_H
#include <stdint.h>
#include "../model/base/error.h"
#include "../model/base/mem.h"
#include "../model/base/param.h"
#include "../model/base/rng.h"

enum split { SPLIT_TRAIN, SPLIT_TEST };
enum verdict { VERDICT_UNPARSABLE = -1, VERDICT_WRONG = 0, VERDICT_RIGHT = 1 };

struct item {
    enum split split;
    uint64_t index;
    struct text prompt; /* what the model reads */
    struct text answer; /* the truth in canonical form */
    struct text extra;  /* whatever else the task needs to check a response */
};
void item_free(struct item *it);

struct step {
    int start, end;
}; /* bytes [start, end) of the response; the separator belongs to its step */

struct task; /* an open task */
enum { MAX_SHOTS = 64 };
struct task_row {
    const char *name, *sentence;
    const struct param *params;
    /* Check parameters together, open files; may set t->state and t->size[]. NULL: nothing to do. */
    int (*open)(struct task *t, struct error *e);
    void (*close)(struct task *t);
    const char *alphabet; /* characters that prompts and golds use, for the character tokenizer; "": open finds them out
                             and sets t->alphabet; NULL: the task needs a model's own tokenizer */
    void (*make)(const struct task *t, enum split split, uint64_t index, struct item *out);
    /* Warm-up text for the item, as the teacher writes it (perhaps imperfect): draws from r. NULL: no gold text.
     * Like make, it replaces what out held. */
    void (*gold)(const struct task *t, const struct item *it, struct rng r, struct text *out);
    /* Worked example number k < t->shots that is shown in front of the item: another item of the training split, never
     * the item itself; replaces what out held. NULL: t->shots stays 0. */
    void (*shot)(const struct task *t, const struct item *it, int k, struct item *out);
    /* Strict: format and answer. Lenient: the answer wherever it can be found. */
    void (*check)(const struct task *t, const struct item *it, const char *response, int len, enum verdict *strict,
                  enum verdict *lenient);
    /* How much of the answer a response has, 0 to 1, by the task's published partial reward. NULL: right or wrong. */
    double (*partial)(const struct task *t, const struct item *it, const char *response, int len);
    /* Steps of a response, at most max; returns their number. NULL: no steps. */
    int (*steps)(const struct task *t, const struct item *it, const char *response, int len, struct step *s, int max);
    /* Oracle: is step k of n right, given the ones before? VERDICT_UNPARSABLE when it is no step at all. */
    enum verdict (*check_step)(const struct task *t, const struct item *it, const char *response, int len,
                               const struct step *s, int n, int k);
};
struct task {
    const struct task_row *row;
    struct value value[MAX_PARAMS]; /* in the order of row->params; texts are owned by the caller */
    void *state;
    const char *alphabet;             /* the row's, unless open sets another */
    uint64_t size[2];                 /* items of a split; 0: unlimited */
    int shots;                        /* worked examples in front of every prompt; set by open, at most MAX_SHOTS */
    int longest_prompt, longest_gold; /* bytes, upper bounds; set by task_open (from sampling) unless open sets them */
};

extern const struct task_row *const task_rows[]; /* NULL-terminated, from tasks.def */
const struct task_row *task_find(const char *name);
/* The split that a prompt belongs to: one in ten, by its hash, is held out. */
enum split task_split(const char *canonical_prompt, int len);
/* For tasks that draw their prompts: the first draw for (split, index) whose prompt falls into the split. write puts
 * the prompt of a draw into a cleared text. Some ten draws for a test item, once task_check_splits has passed. */
typedef void task_write(const struct task *t, struct rng r, struct text *prompt);
void task_draw(const struct task *t, enum split split, uint64_t index, task_write *write, struct text *prompt);
/* Both splits need prompts: with few different ones the hash may put all of them into one. Fails with `remedy`. */
int task_check_splits(const struct task *t, task_write *write, const char *remedy, struct error *e);
/* A parameter that lists operators: some of `known`, each at most once. */
int task_check_operators(const char *operators, const char *known, struct error *e);
/* The end of the line at `start` of s[0..len), its newline included. */
int task_line_end(const char *s, int len, int start);
/* For rows of tasks whose steps are lines: `steps` as it stands there. */
int task_lines(const struct task *t, const struct item *it, const char *response, int len, struct step *s, int max);
/* value: parsed parameters in row order. */
int task_open(struct task *t, const struct task_row *row, const struct value *value, struct error *e);
void task_close(struct task *t);

#endif
