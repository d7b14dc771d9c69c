/* Memory of a batch: one arena for what every method needs, separate blocks for the components and channels that only
 * a recipe names. Not here: who fills it (the loop) and what the numbers mean (the stages).
 */
#include "batch.h"
#include "../model/base/error.h"
#include "../model/base/mem.h"
#include "../model/base/rng.h"
#include <stdio.h>
#include <string.h>

/* One array of the batch: where its pointer goes and how many bytes it has. */
struct plan {
    const char *name;
    void *pointer; /* address of the pointer in struct batch */
    size_t bytes;
};

enum { MAX_PLAN = 40 };

static int plan_prompts_and_samples(struct batch *b, struct plan *p)
{
    size_t groups = (size_t)b->max_groups, samples = (size_t)b->max_samples, prompt = (size_t)b->max_prompt_tokens;
    const struct plan rows[] = {
        {"batch group_first", &b->group_first, (groups + 1) * sizeof(int)},
        {"batch sample_first", &b->sample_first, (samples + 1) * sizeof(int)},
        {"batch step_first", &b->step_first, (samples + 1) * sizeof(int)},
        {"batch step_end", &b->step_end, (size_t)b->max_steps * sizeof(int)},
        {"batch prompt_first", &b->prompt_first, (groups + 1) * sizeof(int)},
        {"batch prompt_id", &b->prompt_id, prompt * sizeof(int32_t)},
        {"batch prompt_key", &b->prompt_key, groups * sizeof(uint64_t)},
        {"batch item", &b->item, groups * sizeof(struct item *)},
        {"batch text", &b->text, samples * sizeof(char *)},
        {"batch text_len", &b->text_len, samples * sizeof(int)},
        {"batch strict", &b->strict, samples},
        {"batch lenient", &b->lenient, samples},
        {"batch truncated", &b->truncated, samples},
        {"batch kept", &b->kept, samples},
        {"batch weight", &b->weight, samples * sizeof(double)},
        {"batch reward", &b->reward, samples * sizeof(double)},
        {"batch temperature", &b->temperature, samples * sizeof(double)},
    };
    memcpy(p, rows, sizeof rows);
    return (int)(sizeof rows / sizeof rows[0]);
}

static int plan_tokens(struct batch *b, struct plan *p)
{
    size_t tokens = (size_t)b->max_tokens, support = (size_t)b->max_support;
    const struct plan rows[] = {
        {"batch id", &b->id, tokens * sizeof(int32_t)},
        {"batch text_end", &b->text_end, tokens * sizeof(int)},
        {"batch trained", &b->trained, tokens},
        {"batch turn", &b->turn, tokens * sizeof(int16_t)},
        {"batch logp_rollout", &b->logp_rollout, tokens * sizeof(double)},
        {"batch token_reward", &b->token_reward, tokens * sizeof(double)},
        {"batch advantage", &b->advantage, tokens * sizeof(double)},
        {"batch returns", &b->returns, tokens * sizeof(double)},
        {"batch supports", &b->supports, tokens * sizeof(int32_t)},
        {"batch support", &b->support, tokens * support * sizeof(int32_t)},
    };
    int n = (int)(sizeof rows / sizeof rows[0]);
    if (b->max_support == 0)
        n -= 2;
    memcpy(p, rows, (size_t)n * sizeof rows[0]);
    return n;
}

void batch_create(struct batch *b, int groups, int samples, int tokens, int steps, int prompt_tokens, int max_support)
{
    *b = (struct batch){.max_groups = groups,
                        .max_samples = samples,
                        .max_tokens = tokens,
                        .max_steps = steps,
                        .max_prompt_tokens = prompt_tokens,
                        .max_support = max_support};
    struct plan p[MAX_PLAN];
    int block[MAX_PLAN], n = plan_prompts_and_samples(b, p);
    n += plan_tokens(b, p + n);
    for (int i = 0; i < n; i++)
        block[i] = arena_want(&b->arena, p[i].name, p[i].bytes);
    arena_commit(&b->arena, &host_memory);
    for (int i = 0; i < n; i++) {
        void *at = arena_at(&b->arena, block[i]);
        memcpy(p[i].pointer, &at, sizeof at);
    }
    b->logp_old = b->logp_rollout;
    batch_clear(b);
}

void batch_free(struct batch *b)
{
    for (int i = 0; i < b->components; i++)
        mem_free(b->component[i].value);
    for (int i = 0; i < b->channels; i++) {
        mem_free(b->channel[i].value);
        mem_free(b->channel[i].grad);
    }
    arena_free(&b->arena);
    *b = (struct batch){0};
}

void batch_clear(struct batch *b)
{
    b->groups = b->samples = b->tokens = b->steps = b->prompt_tokens = 0;
    b->group_first[0] = b->sample_first[0] = b->step_first[0] = b->prompt_first[0] = 0;
    for (int i = 0; i < b->max_samples; i++) {
        b->kept[i] = 1;
        b->weight[i] = 1;
        b->text[i] = NULL;
    }
    for (int i = 0; i < b->components; i++)
        b->component[i].written = 0;
}

int batch_find_component(const struct batch *b, const char *name)
{
    for (int i = 0; i < b->components; i++)
        if (!strcmp(b->component[i].name, name))
            return i;
    return -1;
}

struct component *batch_component(struct batch *b, const char *name, enum level level)
{
    int at = batch_find_component(b, name);
    if (at < 0) {
        if (b->components == MAX_COMPONENTS)
            die("component '%s': a batch has room for %d", name, MAX_COMPONENTS);
        at = b->components++;
        struct component *c = &b->component[at];
        const int room[] = {b->max_samples, b->max_steps, b->max_tokens,
                            b->max_groups}; /* in the order of enum level */
        snprintf(c->name, sizeof c->name, "%s", name);
        c->level = level;
        c->value = mem_alloc((size_t)room[level], sizeof(double));
    }
    if (b->component[at].level != level)
        die("component '%s' is written at two levels", name);
    b->component[at].written = 1;
    b->component[at].aside = 0;
    return &b->component[at];
}

struct component *batch_number(struct batch *b, const char *name, enum level level)
{
    struct component *c = batch_component(b, name, level);
    c->aside = 1;
    return c;
}

double *batch_given(const struct batch *b, const char *name, enum level level)
{
    int at = batch_find_component(b, name);
    return at >= 0 && b->component[at].written && b->component[at].level == level ? b->component[at].value : NULL;
}

int batch_channel(struct batch *b, const char *name, int with_gradient)
{
    int at = 0;
    while (at < b->channels && strcmp(b->channel[at].name, name))
        at++;
    struct channel *c = &b->channel[at];
    if (at == b->channels) {
        if (at == MAX_CHANNELS)
            die("channel '%s': a batch has room for %d", name, MAX_CHANNELS);
        b->channels++;
        snprintf(c->name, sizeof c->name, "%s", name);
        c->value = mem_alloc((size_t)b->max_tokens, sizeof(double));
    }
    if (with_gradient && !c->grad)
        c->grad = mem_alloc((size_t)b->max_tokens, sizeof(double));
    return at;
}

void batch_denominators(const struct batch *b, int group0, int group1, int budget, struct denominators *d)
{
    *d = (struct denominators){.groups = group1 - group0, .longest = budget};
    for (int i = b->group_first[group0]; i < b->group_first[group1]; i++) {
        int n = b->kept[i] ? trained_tokens(b, i) : 0;
        d->sequences += n > 0;
        d->tokens += n;
    }
}

uint64_t batch_prompt(const struct batch *b, int group)
{
    int first = b->prompt_first[group], n = b->prompt_first[group + 1] - first;
    return n > 0 ? hash_bytes(b->prompt_id + first, n * (int)sizeof *b->prompt_id, 0) : b->prompt_key[group];
}

int trained_tokens(const struct batch *b, int sample)
{
    int n = 0;
    for (int t = b->sample_first[sample]; t < b->sample_first[sample + 1]; t++)
        n += b->trained[t] != 0;
    return n;
}
