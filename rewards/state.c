/* An insertion-ordered map from prompts to numbers, so that what is saved does not depend on the hash. */
#include "state.h"
#include "../model/base/mem.h"
#include "../model/base/rng.h"

static int slot_of(const struct state *s, uint64_t key)
{
    int mask = s->slots - 1, at = (int)(hash_bytes(&key, sizeof key, 0) & (uint64_t)mask);
    while (s->slot[at] && s->key[s->slot[at] - 1] != key)
        at = (at + 1) & mask;
    return at;
}

static void grow(struct state *s)
{
    mem_free(s->slot);
    s->slots = s->slots ? 2 * s->slots : 64;
    s->slot = mem_alloc((size_t)s->slots, sizeof *s->slot);
    for (int i = 0; i < s->n; i++)
        s->slot[slot_of(s, s->key[i])] = i + 1;
}

const double *state_find(const struct state *s, uint64_t key)
{
    int at = s->slots ? s->slot[slot_of(s, key)] : 0;
    return at ? s->value + (long)(at - 1) * s->row->width : NULL;
}

double *state_at(struct state *s, uint64_t key)
{
    int width = s->row->width;
    const double *found = state_find(s, key);
    if (found)
        return s->value + (found - s->value);
    if (2 * (s->n + 1) > s->slots)
        grow(s);
    s->slot[slot_of(s, key)] = s->n + 1;
    mem_grow(&s->key, &s->cap_key, s->n + 1, sizeof *s->key);
    mem_grow(&s->value, &s->cap_value, (s->n + 1) * width, sizeof *s->value);
    s->key[s->n] = key;
    double *value = s->value + (long)s->n++ * width;
    for (int k = 0; k < width; k++)
        value[k] = s->row->initial;
    return value;
}

void state_free(struct state *s)
{
    mem_free(s->key);
    mem_free(s->value);
    mem_free(s->slot);
    *s = (struct state){.row = s->row};
}
