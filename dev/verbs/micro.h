/* A micro-batch: whole groups of the batch as rows, segments and head entries on the device. */
#ifndef MICRO_H
#define MICRO_H
#include "trainer.h"

/* What the responses stand behind, and where numbers are read: behind their prompt, at the rows that predict their
 * tokens; behind nothing but a first token, likewise; behind their prompt, at the rows of the tokens themselves, the
 * last one too, which predicts nothing but has seen all. */
enum view { VIEW_WHOLE, VIEW_NOPROMPT, VIEW_BEHIND, VIEWS };

int group_kept(const struct batch *b, int g); /* some sample of the group counts */
/* Describe groups [g0, g1) to the worker's device: w->layout, w->micro. Samples that are not kept are left out. One
 * whole group always fits. */
void micro_fill(struct trainer *t, struct worker *w, int g0, int g1, enum view view);
/* Does some work for every micro-batch of the groups [g0, g1), as many whole groups each as suits memory and workers.
 * Workers have several at a time; those before another one began before it. What reads or changes more than its own
 * groups stands between turn_wait(&w->turn, 0) and turn_pass(&w->turn), where all of before has been. */
typedef void micro_work(struct trainer *t, struct worker *w, int g0, int g1, void *context);
void micro_each(struct trainer *t, int g0, int g1, micro_work *work, void *context);
/* Sampler against trainer, into the step's metrics: while the weights are those of the rollout, every log-probability
 * of the micro-batch must be the same number. After channels_forward. */
void micro_mismatch(struct trainer *t, const struct micro *u);

#endif
