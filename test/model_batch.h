/* Small random models and batches for the tests of the transformer and of the sampler: groups of one prompt and several
 * responses, laid out with the prompt shared or copied, whole or a few groups at a time.
 */
#ifndef MODEL_BATCH_H
#define MODEL_BATCH_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../model/base/mem.h"
#include "../model/base/rng.h"
#include "../model/generate.h"
#include "../model/transformer.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

enum { GROUPS = 4, SAMPLES = 3, PROMPT = 48, ANSWER = 128, ROWS = 2048, SUPPORT = 4 };

/* What a batch says: fixed by its seed, whatever the layout. */
struct group {
    int prompt_len, samples, len[SAMPLES];
    int32_t prompt[PROMPT], ids[SAMPLES][ANSWER];
};
struct content {
    int groups, plain; /* plain: temperature 1 and all tokens */
    struct group group[GROUPS];
    int V;
};

/* The same, packed: what layout_set and layout_entries are given, and the gradients the loss would write. */
struct packed {
    int rows, segments, groups, R;
    int32_t ids[ROWS];
    struct segment seg[GROUPS * (SAMPLES + 1)];
    int group_first[GROUPS + 1], group_entry[GROUPS + 1];
    int32_t row[ROWS], target[ROWS], support[ROWS * SUPPORT], supports[ROWS];
    double temperature[ROWS], glogp[ROWS], gentropy[ROWS];
};

static inline struct content random_content(int V, int groups, int longest, uint64_t seed)
{
    struct content c = {.groups = groups, .V = V};
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0, 0);
    uint64_t at = 0;
    for (int g = 0; g < groups; g++) {
        struct group *x = &c.group[g];
        x->prompt_len = 1 + rng_below(r, at++, longest < PROMPT ? longest : PROMPT);
        x->samples = 1 + (g + 1) % SAMPLES;
        for (int t = 0; t < x->prompt_len; t++)
            x->prompt[t] = rng_below(r, at++, V);
        for (int i = 0; i < x->samples; i++) {
            x->len[i] = 1 + rng_below(r, at++, longest);
            for (int t = 0; t < x->len[i]; t++)
                x->ids[i][t] = rng_below(r, at++, V);
        }
    }
    return c;
}

static inline void add_segment(struct packed *p, int parent, const int32_t *ids, int len)
{
    p->seg[p->segments++] = (struct segment){parent, p->rows, len};
    for (int t = 0; t < len; t++)
        p->ids[p->rows++] = ids[t];
}

/* Temperature, support and gradients of one entry depend on where the token stands in the content, not in the batch. */
static inline void add_entry(struct packed *p, const struct content *c, int row, int target, int g, int i, int t)
{
    struct rng r = rng_stream(99, RNG_TEST, (uint64_t)g, (uint64_t)i, (uint32_t)t);
    int n = p->R++, kept = c->plain ? 0 : rng_below(r, 0, SUPPORT + 1);
    p->row[n] = row;
    p->target[n] = target;
    p->temperature[n] = c->plain ? 1 : 0.5 + rng_below(r, 1, 5) * 0.25;
    p->glogp[n] = rng_normal(r, 2);
    p->gentropy[n] = rng_normal(r, 3);
    p->supports[n] = kept;
    for (int k = 0; k < SUPPORT; k++) /* the target and its neighbours */
        p->support[n * SUPPORT + k] = (target + (k + 1) % (kept ? kept : 1)) % c->V;
}

static inline void add_group(struct packed *p, const struct content *c, int g, int shared)
{
    const struct group *x = &c->group[g];
    int prompt = p->segments, start = p->rows;
    if (shared)
        add_segment(p, -1, x->prompt, x->prompt_len);
    for (int i = 0; i < x->samples; i++) {
        int before = start + x->prompt_len - 1, first = p->rows;
        if (shared) {
            add_segment(p, prompt, x->ids[i], x->len[i]);
        } else {
            int32_t all[PROMPT + ANSWER];
            memcpy(all, x->prompt, (size_t)x->prompt_len * sizeof *all);
            memcpy(all + x->prompt_len, x->ids[i], (size_t)x->len[i] * sizeof *all);
            add_segment(p, -1, all, x->prompt_len + x->len[i]);
            first += x->prompt_len;
            before = first - 1;
        }
        for (int t = 0; t < x->len[i]; t++)
            add_entry(p, c, t ? first + t - 1 : before, x->ids[i][t], g, i, t);
    }
    p->groups++;
    p->group_first[p->groups] = p->segments;
    p->group_entry[p->groups] = p->R;
}

static inline void pack_groups(struct packed *p, const struct content *c, int from, int to, int shared)
{
    memset(p, 0, sizeof *p);
    for (int g = from; g < to; g++)
        add_group(p, c, g, shared);
}

/* ---- a model with everything it needs to run ---- */

struct rig {
    struct device dev;
    struct model model;
    struct layout layout;
    struct tape tape;
};

static inline void set_batch(struct layout *l, const struct packed *p, int plain)
{
    layout_set(l, p->ids, p->seg, p->group_first, p->groups);
    layout_entries(l, p->R, p->row, p->target, p->temperature, plain ? NULL : p->support, plain ? NULL : p->supports,
                   p->group_entry, p->groups);
}

/* Weights of all kinds far from their initial values, rounded to float so that all tables hold the same. */
static inline void random_weights(struct model *m, uint64_t seed)
{
    for (int i = 0; i < m->tensors; i++) {
        const struct tensor *t = &m->tensor[i];
        struct rng r = rng_stream(seed, RNG_TEST, 1, (uint64_t)i, 0);
        double *x = mem_alloc((size_t)t->N * t->K, sizeof *x);
        for (size_t k = 0; k < (size_t)t->N * t->K; k++)
            x[k] = (float)((t->kind == TENSOR_VECTOR ? t->fill : 0) +
                           (t->K > 1 ? 0.8 / sqrt(t->K) : 0.3) * rng_normal(r, k));
        model_write(m, i, 0, 0, t->N, x);
        mem_free(x);
    }
}

static inline void rig_open(struct rig *r, const struct ops *ops, const struct arch *a, int threads, int rows)
{
    struct error e = {{0}};
    if (device_open(&r->dev, ops, threads, &e) || model_create(&r->model, a, 1, &r->dev, 1, &e))
        fail_msg("%s", e.text);
    random_weights(&r->model, 5);
    layout_create(&r->layout, &r->dev, a->V, rows, GROUPS * (SAMPLES + 1), GROUPS, rows, SUPPORT);
    tape_plan(&r->tape, a, &r->dev, rows, rows, rows + KV_ALIGN * GROUPS * (SAMPLES + 1), KEEP_ALL);
    tape_commit(&r->tape);
}

static inline void assert_guards(const struct arena *a)
{
    struct error e = {{0}};
    if (arena_check(a, &e))
        fail_msg("%s", e.text);
}

static inline void rig_close(struct rig *r)
{
    assert_guards(&r->tape.arena);
    assert_guards(&r->layout.arena);
    assert_guards(&r->model.arena);
    assert_guards(&r->model.weights->arena);
    tape_free(&r->tape);
    layout_free(&r->layout);
    model_free(&r->model);
    device_close(&r->dev);
}

static inline void rig_forward(struct rig *r, const struct packed *p, int plain, double *logp, double *entropy)
{
    set_batch(&r->layout, p, plain);
    model_forward(&r->model, &r->tape, &r->layout.rows, r->tape.kv, 0, r->tape.store);
    model_head(&r->model, &r->tape, &r->layout, logp, entropy);
}

#define TINY_LLAMA(...)                                                                                                \
    {                                                                                                                  \
        .V = 11, .context = 256, .C = 8, .layers = 2, .H = 4, .G = 2, .D = 4, .F = 10, .norm = NORM_RMS,               \
        .position = POSITION_ROTARY, .mlp = MLP_SWIGLU, .tied = 1, .norm_eps = 1e-5f, .rope_theta = 100, __VA_ARGS__   \
    }
static const struct arch tiny_gpt2 = {.V = 11,
                                      .context = 256,
                                      .C = 6,
                                      .layers = 2,
                                      .H = 2,
                                      .G = 2,
                                      .D = 3,
                                      .F = 9,
                                      .norm = NORM_LAYER,
                                      .position = POSITION_LEARNED,
                                      .mlp = MLP_GELU,
                                      .qkv_bias = 1,
                                      .out_bias = 1,
                                      .mlp_bias = 1,
                                      .tied = 1,
                                      .norm_eps = 1e-5f};
static const struct arch tiny_llama = TINY_LLAMA(.qkv_bias = 0);
static const struct arch tiny_qwen2 = TINY_LLAMA(.qkv_bias = 1);
static const struct arch tiny_qwen3 = TINY_LLAMA(.qk_norm = 1);
static const struct arch tiny_biased = TINY_LLAMA(.qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .qk_norm = 1);
/* output of its own, one key head for all queries, queries wider than the stream, long-context scaling */
static const struct arch tiny_untied = {.V = 11,
                                        .context = 256,
                                        .C = 8,
                                        .layers = 1,
                                        .H = 3,
                                        .G = 1,
                                        .D = 6,
                                        .F = 7,
                                        .norm = NORM_RMS,
                                        .position = POSITION_ROTARY,
                                        .mlp = MLP_GELU,
                                        .norm_eps = 1e-5f,
                                        .rope_theta = 10000,
                                        .rope_scaling = {2, 8, 1, 4, 64}};

/* With adapters on the linear maps of these bits (lora.h). */
static inline struct arch with_adapters(struct arch a, int rank, unsigned targets)
{
    a.lora = (struct lora){rank, 0.75 * rank, 0, targets};
    return a;
}
enum { ALL_OF_GPT2 = 15, ALL_OF_LLAMA = 127 };

#endif
