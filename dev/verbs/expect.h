/* What finished runs of a recipe give, as a file: NAME.expect.json beside NAME.ini, compiled in like it.
 *
 * For every measured number the values of n runs with different seeds, their mean and standard deviation, and an
 * interval for one more run. With values that are independent draws of one normal distribution, the difference of a new
 * value from the mean of n has the variance v (1 + 1/n), and over the sample's deviation it follows Student's t with
 * n - 1 degrees of freedom: the interval is mean +- t sqrt(v (1 + 1/n)). v is the variance of the values, which holds
 * the seeds' share and the evaluations' alike; where by luck the few values differ less than so many test prompts alone
 * let them differ, v is that (least_sd squared), since the whole cannot vary less than a part of it. t belongs to the
 * level shared out among the m intervals of a file (Bonferroni): of unchanged programs at most one run in a hundred has
 * any number outside.
 *
 * least_sd of a share of N answers: the larger of the root mean square of the evaluations' own standard errors and
 * sqrt(p (1 - p) / N), p = (right + 1) / (all + 2) over all runs, so that "all right" is no certainty. Of a length: a
 * hundredth of the mean. Numbers with the rule "exact" are the same in every run: sampler against trainer is 0.
 */
#ifndef EXPECT_H
#define EXPECT_H
#include "runread.h"

enum { MAX_SEEDS = 64, MAX_EXPECTED = 64, LEAST_SEEDS = 3 };
struct measured {
    char name[48];    /* PHASE.KEY of the evaluation at the phase's end, before.KEY of the one before any rollout */
    double value, se; /* se of the evaluation; NAN: not known */
    double answers;   /* of a share: so many answers; 0: no share */
    int exact;
};
struct expected {
    char name[48];
    double value[MAX_SEEDS]; /* in the order of the seeds */
    double mean, sd, least_sd, low, high;
    int exact;
};
struct expectation {
    char recipe[64], machine[160];
    long seed[MAX_SEEDS];
    int seeds;
    double minutes[2]; /* the quickest and the slowest run */
    double level;
    struct expected metric[MAX_EXPECTED];
    int metrics;
    struct settings settings; /* under which it holds */
};

/* The numbers of a run, at most MAX_EXPECTED; returns how many. Refuses a run that is not finished. */
int expect_measure(const struct run_files *r, struct measured m[MAX_EXPECTED], struct error *e);
/* The number of that name, or NULL. */
const struct measured *measured_find(const struct measured *m, int n, const char *name);
double expect_minutes(const struct run_files *r);
long expect_seed(const struct run_files *r); /* -1: unknown */

/* From at least LEAST_SEEDS finished runs of the same settings with different seeds. */
int expect_make(struct expectation *x, const struct run_files *run, int runs, const char *machine, struct error *e);
int expect_write(const struct expectation *x, const char *path, struct error *e);
/* The text of such a file. Means and intervals are calculated anew, and refused where the text says otherwise. */
int expect_parse(struct expectation *x, const char *text, size_t len, struct error *e);
void expect_free(struct expectation *x);

int expect_inside(const struct expected *m, double value);
/* As a table for people. */
void expect_print(FILE *f, const struct expectation *x);

#endif
