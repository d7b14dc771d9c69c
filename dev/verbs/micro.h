/* A micro-batch: whole groups of the batch as rows, segments and head entries on the device. */
#ifndef MICRO_H
#define MICRO_H
#include "trainer.h"

/* What the responses stand behind, and where numbers are read: behind their prompt, at the rows that predict their
 * tokens; behind nothing but a first token, likewise; behind their prompt, at the rows of the tokens themselves, the
 * last one too, which predicts nothing but has seen all. */
enum view { VIEW_WHOLE, VIEW_NOPROMPT, VIEW_BEHIND, VIEWS };

int group_kept(const struct batch *b, int g); /* some sample of the group counts */
/* The end of the micro-batch that begins with group g0: as many whole groups as fit. */
int micro_end(const struct trainer *t, int g0, int end);
/* Describe groups [g0, g1) to the device: t->layout, t->micro. Samples that are not kept are left out. One whole group
 * always fits. */
void micro_fill(struct trainer *t, int g0, int g1, enum view view);

#endif
