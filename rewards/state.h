/* What a stage remembers from step to step: some numbers for the whole run, or some for every prompt it has met. The
 * trainer keeps it, saves it with the checkpoint and gives it back on resume; `objective` takes it from the line.
 */
#ifndef STATE_H
#define STATE_H
#include <stdint.h>

struct state_row {
    const char *name;
    int per_prompt; /* 0: one set of numbers for the run */
    int width;      /* numbers of a set */
    double initial; /* of every number of a set that was never written */
};
enum { MAX_STATES = 2 }; /* of one stage */

struct state {
    const struct state_row *row;
    uint64_t *key; /* [n] prompts in the order in which they were first met */
    double *value; /* [n][width] */
    int n, cap_key, cap_value;
    int *slot, slots; /* open addressing: index of a key plus 1, 0 free; slots is a power of two */
};
/* The numbers of a prompt (key 0 for a run's), made when they are new; valid until the next call. */
double *state_at(struct state *s, uint64_t key);
/* The same without making them; NULL: never written. */
const double *state_find(const struct state *s, uint64_t key);
void state_free(struct state *s);

#endif
