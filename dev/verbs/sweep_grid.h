/* The words of a sweep: which keys take several values, and every combination of them.
 *
 *     rl.lr=1e-3,3e-4  seed=1..5  'stages.score="outcome, length",outcome'
 *
 * Values are separated by commas outside parentheses and quotes; a..b are the whole numbers from a to b; a value in
 * double quotes is taken without them, with its commas.
 */
#ifndef SWEEP_GRID_H
#define SWEEP_GRID_H
#include "runread.h"

enum { MAX_AXES = 12, MAX_SWEEP_WORDS = 96 };
struct axis {
    char key[80];
    char **value;
    int n, cap;
};
struct grid {
    struct axis axis[MAX_SWEEP_WORDS]; /* first those with several values, in the order given; the seed last of them */
    int words, axes;                   /* all keys; those with several values */
    int seeds;                         /* values of the seed, at least 1 */
    int combinations;                  /* of all; runs of one setting follow each other: setting = number / seeds */
};

/* -1: a word is no key=value, a key is given twice, a list has an empty value, there are more than MAX_AXES lists or
 * MAX_RUNS combinations. grid_free also after a failure. */
int grid_read(struct grid *g, int words, const char *const *word, struct error *e);
void grid_free(struct grid *g);

/* The value of axis a in a combination. */
const char *grid_value(const struct grid *g, int combination, int a);
/* Axes without that of the seed: what tells settings apart. */
int grid_setting_axes(const struct grid *g);
/* key=value for every key, as a recipe takes them; the caller mem_free()s each. Returns their number. */
int grid_words(const struct grid *g, int combination, char *word[MAX_SWEEP_WORDS]);
/* A name for the combination's directory: letters, digits, '.', '+', '-' and '_' only, the same for ever, different
 * for different values. */
enum { GRID_NAME = 160 };
void grid_name(const struct grid *g, int combination, char name[GRID_NAME]);
/* The same for people: "rl.lr = 1e-3, seed = 2". */
void grid_label(const struct grid *g, int combination, char *label, size_t size);

#endif
