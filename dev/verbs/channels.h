/* Channels "model[@view].head": numbers per token that models give to stages, and the gradients that come back.
 *
 * Heads: logp, entropy (of the tokens taken), value (of a model with head=scalar, at the row that predicts the token);
 * after, score (likewise, at the row of the token itself), step (of a model with head=step, there too).
 * Views: none, the response behind its prompt; @noprompt, behind a first token alone.
 */
#ifndef CHANNELS_H
#define CHANNELS_H
#include "micro.h"

/* Channels that stages before the loss read, and @noprompt, which has no gradient: of the whole batch, once, with the
 * weights of the rollout; and logp_old, where the sampler's numbers are not the trainer's. Fails where the models have
 * no room for a response's last token, which they are to read. */
int channels_early(struct trainer *t, const struct phase *ph, struct error *e);
/* The view that the losses of the phase read, for micro_fill. */
enum view channels_view(const struct phase *ph);
/* What losses read, of the worker's micro-batch in that view; the policy always, unless it takes no part. */
void channels_forward(struct trainer *t, struct worker *w, const struct phase *ph);
/* From the gradients of the channels to those of the weights, of the policy and of every model that the phase trains.
 */
void channels_backward(struct trainer *t, struct worker *w, const struct phase *ph);

#endif
