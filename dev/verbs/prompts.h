/* The prompts of the training split, one after the other. */
#ifndef PROMPTS_H
#define PROMPTS_H
#include "trainer.h"

/* The next training prompt of the phase's part into *it; t->cursor is then its number, and the caller goes on from
 * there. Fails where the part has none. */
int next_item(struct trainer *t, const struct phase *ph, struct item *it, struct error *e);

#endif
