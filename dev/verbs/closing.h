/* What a run says to a person before it starts and when it ends. */
#ifndef CLOSING_H
#define CLOSING_H
#include "trainer.h"

void report_opening(const struct trainer *t);
/* Table before/after, samples before/after, where the figures are, what to try next; one sentence when nothing was
 * learned. */
void report_closing(const struct trainer *t);
void report_interrupted(const struct trainer *t); /* how to go on */
/* Why nothing is being learned, judged by the batch that a step of the rollout phase has just learned from; NULL:
 * nothing wrong is seen. */
const char *report_diagnosis(const struct trainer *t, const struct phase *ph);

#endif
