/* Which training prompts a run takes, in which order. */
#include "prompts.h"

/* Item number n of the training split. A finite split is gone through in passes, each in an order of its own. */
static uint64_t training_index(const struct trainer *t, uint64_t n)
{
    uint64_t size = t->s.task.size[SPLIT_TRAIN];
    if (size == 0)
        return n;
    uint64_t pass = n / size, i = n % size;
    struct rng r = rng_stream(t->s.recipe.run.seed, RNG_SHUFFLE, pass, 0, 0);
    uint64_t factor = rng_bits(r, 0) % size, shift = rng_bits(r, 1) % size;
    for (uint64_t a = factor, b = size;;
         factor = (factor + 1) % size, a = factor, b = size) { /* coprime: a permutation */
        while (b) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            break;
    }
    return (uint64_t)(((__uint128_t)factor * i + shift) % size);
}

/* Phases may learn from halves of the training prompts that share none: the prompt itself decides, so that a judge can
 * be trained on other prompts than the policy that it is to judge. */
static int in_part(const struct item *it, enum prompt_part part)
{
    static const uint64_t salt = 0x9a17; /* another hash than that of train and test */
    int half = (int)(hash_bytes(it->prompt.s, it->prompt.len, salt) & 1);
    return part == PART_ALL || half == (part == PART_SECOND);
}

/* The item of the next training prompt of the phase's part. */
int next_item(struct trainer *t, const struct phase *ph, struct item *it, struct error *e)
{
    enum { MOST = 1 << 16 };
    for (int i = 0; i < MOST; i++) {
        t->s.task.row->make(&t->s.task, SPLIT_TRAIN, training_index(t, t->cursor), it);
        if (in_part(it, ph->part))
            return 0;
        t->cursor++;
    }
    return fail(e, "phase %s: none of %d training prompts is in its half; the task has too few different ones for part",
                ph->name, MOST);
}
