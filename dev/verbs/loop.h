/* What of the training loop (train_rl.c) other verbs run: the very code of a run, never a copy of it. */
#ifndef LOOP_H
#define LOOP_H
#include "micro.h"

/* All phases of an opened trainer from where it stands, until the end or until stop_after_step. Without a run directory
 * nothing is written. */
int run_phases(struct trainer *t, struct error *e);
/* What Ctrl-C does: the present step is the last one. */
void stop_after_step(void);

#endif
