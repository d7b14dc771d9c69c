/* The numbers of a sweep's runs, and the table of its settings: means over seeds with their 95 % intervals. */
#ifndef SWEEP_TABLE_H
#define SWEEP_TABLE_H
#include "sweep_grid.h"

enum sweep_column {
    SWEEP_BEFORE,  /* greedy accuracy on unseen prompts before the first rollout */
    SWEEP_AFTER,   /* and at the end of the last phase with rollouts: the measured phase */
    SWEEP_SAMPLED, /* accuracy of samples there */
    SWEEP_LENGTH,  /* tokens of a greedy answer there */
    SWEEP_AREA,    /* mean greedy accuracy over the steps of the measured phase, straight lines between evaluations */
    SWEEP_SECONDS, /* of training (collecting and updating) in the measured phase */
    SWEEP_COLUMNS
};
struct sweep_run {
    int good;                    /* finished and read; otherwise it is left out */
    double value[SWEEP_COLUMNS]; /* NAN: not measured */
};

/* The phase that is measured: the last one of the main line with rollouts, without one the last of the main line; -1:
 * the run has none. */
int sweep_phase(const struct run_files *r);
/* Refuses a run that is not finished. */
int sweep_measure(const struct run_files *r, double value[SWEEP_COLUMNS], struct error *e);

struct sweep_mean {
    int n;             /* values that are there */
    double mean, half; /* half: of the 95 % interval by Student's t, mean +- t sd / sqrt(n); NAN for n < 2 */
};
/* One column of one setting; run: all combinations. */
struct sweep_mean sweep_mean(const struct grid *g, const struct sweep_run *run, int setting, enum sweep_column c);

/* A row a setting. Markdown, aligned so that it can be read as it is; comma-separated with 10 digits and the columns
 * KEY..., runs, and NAME, NAME_low, NAME_high for every number. */
void sweep_markdown(struct text *t, const struct grid *g, const struct sweep_run *run);
void sweep_csv(struct text *t, const struct grid *g, const struct sweep_run *run);

#endif
