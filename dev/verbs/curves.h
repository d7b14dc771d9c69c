/* A key of a run's log or evaluations as points, and the points of several runs as one line with its spread.
 */
#ifndef CURVES_H
#define CURVES_H
#include "runread.h"

struct curve {
    int n, cap;
    double *x, *y; /* x rising, all finite */
    double *se;    /* standard errors of y from KEY_se of an evaluation; NAN: none */
};
enum curve_source { FROM_LOG, FROM_EVAL };
enum curve_x { BY_STEP, BY_TIME };

/* Points of `key` in one phase, or in all of the main line (phase -1). x counts from where the phase begins: optimiser
 * steps, or seconds of training (collecting and updating; without evaluation and saving). Lines without a finite value
 * are left out. An evaluation made at the end of a phase is also the first point of what follows it. */
void curve_read(struct curve *c, const struct run_files *r, const char *key, enum curve_source from, enum curve_x by,
                int phase);
/* y becomes its mean over up to n neighbours to each side. */
void curve_smooth(struct curve *c, int n);
void curve_free(struct curve *c);

enum band { BAND_NONE, BAND_RANGE, BAND_SD, BAND_T };
struct joined {
    int n;
    double *x, *y, *low, *high; /* mean over the runs, and the band around it */
};
/* The mean of several curves where all of them have points: at the steps that they share, or, by time, on a grid of
 * places with straight lines between the points of each. low and high are NAN without a band. */
void curves_join(struct joined *j, const struct curve *curve, int curves, enum curve_x by, enum band band);
void joined_free(struct joined *j);

#endif
