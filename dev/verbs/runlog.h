/* What a run writes down: log.jsonl and samples.jsonl. */
#ifndef RUNLOG_H
#define RUNLOG_H
#include "trainer.h"

struct timing {
    double collect, update, step; /* seconds of one step and its two halves */
};
/* The line of log.jsonl for the step just done: keys of DESIGN section 8 in order, stage metrics, then what depends on
 * the clock. */
json_t *runlog_line(const struct trainer *t, const struct phase *ph, double lr, const struct timing *time);
int runlog_samples(struct trainer *t, const struct phase *ph, struct error *e); /* run.log_samples of them */

double batch_accuracy(const struct batch *b);    /* share of samples judged right, selected or not */
double batch_length(const struct batch *b);      /* mean tokens of a response */
double trainer_entropy(const struct trainer *t); /* mean entropy of trained tokens, nats */

#endif
