/* Sampling: each prompt is prefilled once for its group, then its samples run in a fixed number of slots that are
 * refilled as soon as a response ends. Results do not depend on the number of slots: draws are counter-based and every
 * row is computed alike whatever runs beside it.
 */
#ifndef GENERATE_H
#define GENERATE_H
#include "base/rng.h"
#include "transformer.h"

/* One prompt and how often to answer it. Draw key: (seed, purpose, step, key, sample0 + i, position in the response).
 */
struct request {
    const int32_t *prompt; /* [prompt_len], at least 1 */
    int prompt_len, samples, max_new;
    uint64_t step, key;
    uint32_t sample0;
};
/* One answer. The end-of-sequence token, when it was sampled, is the last of ids. Buffers belong to the caller:
 * ids, logp, entropy [max_new]; support [max_new][max_support] and supports [max_new], or NULL when nothing is
 * truncated. */
struct response {
    int32_t *ids;
    double *logp, *entropy;
    int32_t *support, *supports;
    int len;
    int truncated; /* max_new reached without end-of-sequence */
};

struct sampler {
    int slots, prefill, max_prompt, max_new, max_support;
    struct device *dev;
    struct tape tape;     /* forward buffers of one batch: prompts, or one token a slot */
    struct layout layout; /* its descriptors */
    Dev kv;               /* [layers] stores: `slots` prompt regions, then one region a slot */
    size_t kv_stride;     /* reals of one layer's store */
    int kv_store;         /* tokens of a store */
    Dev logits;           /* [draw_rows][V] */
    int draw_rows;        /* slots whose tokens are drawn at once */
    Dev prompt_hidden;    /* [slots][C] hidden state of each prompt's last token: every sample starts from it */
    DevInt step;          /* [slots][STEP_WORDS]: descriptors of a token of every slot */
    struct rows rows;     /* those of its forward pass, in `step` */
    /* token[slots]: all that is fetched after every token. The rest stays on the device until a response is complete:
     * [slots][max_new], then a place for each row that nobody asked for. */
    struct drawn drawn;
    size_t history;             /* places */
    struct slot *slot;          /* [slots] */
    struct prompt_slot *prompt; /* [slots] */
    int32_t *host;              /* staging */
    struct arena arena;
    long tokens; /* generated so far, for speed figures */
    /* A small model has a sampler a thread instead, which share out the prompts: nothing waits for anything. They own
     * all of the above but the sizes and the count, and are 0 otherwise. */
    int workers;
    struct sampler *worker; /* [workers] */
    struct device one;      /* of a worker: the device with one thread, and scratch memory of its own */
};
/* How many of `all` answers to sample at once. */
int sampler_slots(const struct device *d, const struct arch *a, int all);
/* Plan, ask how many bytes of device memory that will be, then allocate. */
void sampler_plan(struct sampler *s, const struct arch *a, struct device *d, int slots, int max_prompt, int max_new,
                  int max_support);
size_t sampler_bytes(const struct sampler *s);
/* Plans as many slots, from `least` to `slots`, as fit into so many bytes; `least` also where they do not. */
void sampler_fit(struct sampler *s, const struct arch *a, struct device *d, int least, int slots, int max_prompt,
                 int max_new, int max_support, double bytes);
void sampler_commit(struct sampler *s);
void sampler_free(struct sampler *s);
/* Answers request q's sample i into out[first sample of q + i], requests in order. Fails when a prompt is longer than
 * max_prompt or prompt + max_new exceeds the context, before anything is sampled. A response ends with any of
 * the tokens end[0..ends). */
int sampler_run(struct sampler *s, const struct model *m, const struct request *q, int requests,
                const struct sampling *how, uint64_t seed, enum rng_purpose purpose, const int32_t *end, int ends,
                struct response *out, struct error *e);

#endif
