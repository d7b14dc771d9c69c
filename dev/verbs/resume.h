/* What a run needs, beside the policy's weights, to go on after an end at any instant:
 * DIR/checkpoint/trainer.safetensors.
 *
 * It holds the optimiser's moments, models that began as copies of the policy, the ends of phases that a branch still
 * needs, and counters: where the run is, prompts taken, lines of each JSONL file. Lines, not bytes, because lines end
 * in times: so the file depends on the recipe alone and two runs of one seed have equal checkpoints. What the clock
 * said is read back from the JSONL files.
 */
#ifndef RESUME_H
#define RESUME_H
#include "trainer.h"

/* Write DIR/checkpoint: policy, tokenizer, recipe and the trainer's state; the run goes on at step `phase_step` of
 * phase `phase`. It is written beside the old one and takes its place in one rename. The JSONL files are synced first:
 * a checkpoint never counts lines that a crash could take back. Without a run directory nothing is done. */
int resume_checkpoint(struct trainer *t, struct error *e);
/* Every run.save_every steps, but where steps are quick not more than a twentieth of the time goes into saving. When a
 * run is saved makes no difference to its numbers. */
int resume_is_due(const struct trainer *t);

/* Continue the run in t->dir, an opened trainer of the same recipe: weights, optimiser, counters, milestones; the JSONL
 * files are cut to where the checkpoint stands. A run without a checkpoint starts over. Any other recipe is refused
 * with the first line that differs. */
int resume_load(struct trainer *t, struct error *e);

/* Only what the checkpoint `directory` says of weights, optimiser and counters; lines: of each JSONL file when it was
 * saved. Nothing is written anywhere. */
int resume_read(struct trainer *t, const char *directory, long lines[RUN_FILES], struct error *e);

#endif
