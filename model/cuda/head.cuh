/* Log-probabilities and entropies of rows of logits, and their gradient: a block of threads an entry. The sampler calls
 * the same head_row, so the number recorded with a sampled token is the number computed for it in training.
 *
 * Sums run over the kept ids in their order, THREADS of them side by side, and end in one fixed order. */
#ifndef CUDA_HEAD_CUH
#define CUDA_HEAD_CUH
#include "cuda.cuh"

struct row_stat {
    float max, sum, logsum, entropy; /* of z = logit / temperature over the kept ids */
};

struct head {
    float *logp, *entropy, *dlogits;
    struct row_stat *stat; /* [R] */
    const float *logits, *temperature, *glogp, *gentropy;
    const int32_t *target, *support, *supports;
    int V, max_support;
};

/* Which ids an entry keeps: ids[count], or all 0 .. count-1 where ids is NULL. */
struct kept {
    const int32_t *ids;
    int count;
};

DEVICE struct kept kept_of(const struct head *a, int r)
{
    struct kept k = {NULL, a->V};
    if (a->support && a->supports[r]) {
        k.ids = a->support + (size_t)r * a->max_support;
        k.count = a->supports[r];
    }
    return k;
}

DEVICE int kept_id(struct kept k, int i)
{
    return k.ids ? k.ids[i] : i;
}

/* p log p is 0 for p = 0, so log p may be cut off where e^x is 0; NaN stays. */
DEVICE float cut_off(float x)
{
    return x < -1000.0f ? -1000.0f : x;
}

/* By all threads of a block together. */
DEVICE struct row_stat head_row(const float *logits, struct kept k, float temperature)
{
    float most = -INFINITY, sum = 0, dot = 0;
    for (int i = THREAD; i < k.count; i += THREADS)
        most = larger(most, logits[kept_id(k, i)] / temperature);
    struct row_stat s;
    s.max = block_max(most);
    for (int i = THREAD; i < k.count; i += THREADS) {
        float x = logits[kept_id(k, i)] / temperature - s.max, e = exp_of(x);
        sum += e;
        dot = fmaf(e, cut_off(x), dot);
    }
    s.sum = block_sum(sum);
    s.logsum = log_of(s.sum);
    s.entropy = s.logsum - block_sum(dot) / s.sum;
    return s;
}

/* logp of one id under that row; every logp is this expression. */
DEVICE float head_logp(struct row_stat s, float logit, float temperature)
{
    return (logit / temperature - s.max) - s.logsum;
}

/* Whether an id is kept; by all threads together. */
DEVICE int is_kept(struct kept k, int id)
{
    SHARED int found;
    if (!k.ids)
        return 1;
    block_wait();
    if (THREAD == 0)
        found = 0;
    block_wait();
    for (int i = THREAD; i < k.count; i += THREADS)
        if (k.ids[i] == id)
            set_bits(&found, 1);
    block_wait();
    return found;
}

KERNEL(logp_forward_kernel, THREADS, head)
{
    const float *row = a.logits + (size_t)BLOCK * a.V;
    struct kept k = kept_of(&a, BLOCK);
    float temperature = a.temperature[BLOCK];
    struct row_stat s = head_row(row, k, temperature);
    int target = a.target[BLOCK], good = is_kept(k, target);
    if (THREAD == 0) {
        a.logp[BLOCK] = good ? head_logp(s, row[target], temperature) : -INFINITY;
        a.entropy[BLOCK] = s.entropy;
        a.stat[BLOCK] = s;
    }
}

static struct head head_of(const struct entries *e, Dev logits, Dev stat, int V)
{
    struct head a;
    memset(&a, 0, sizeof a);
    a.logits = reals(logits);
    a.stat = (struct row_stat *)stat.p;
    a.temperature = reals(e->temperature);
    a.target = e->target.p;
    a.support = e->support.p;
    a.supports = e->supports.p;
    a.V = V;
    a.max_support = e->max_support;
    return a;
}

/* Whole rows. */
static int cuda_head_ids(int V)
{
    return V;
}

static void cuda_logp_forward(struct device *d, Dev logp, Dev entropy, Dev stat, Dev logits, const struct entries *e,
                              int first, int ids, int V)
{
    struct head a = head_of(e, logits, stat, V);
    (void)first, (void)ids; /* 0, V */
    a.logp = reals(logp);
    a.entropy = reals(entropy);
    LAUNCH(logp_forward_kernel, d, e->count, 1, 0, a);
}

/* ---- gradient ---- */

DEVICE float logit_gradient(const struct row_stat *s, float logit, float temperature, float glogp, float gentropy)
{
    float x = logit / temperature - s->max, p = exp_of(x) / s->sum;
    float surprise = cut_off(x) - s->logsum + s->entropy;
    return (-glogp * p - gentropy * p * surprise) / temperature;
}

/* Zero at every id that is not kept, a window of ids at a time: a bit for each in shared memory. */
DEVICE void zero_others(float *to, struct kept k, int V)
{
    enum { WORDS = 4096 };
    SHARED int bits[WORDS];
    for (int first = 0; first < V; first += WORDS * 32) {
        block_wait();
        for (int i = THREAD; i < WORDS; i += THREADS)
            bits[i] = 0;
        block_wait();
        for (int i = THREAD; i < k.count; i += THREADS) {
            int at = k.ids[i] - first;
            if (at >= 0 && at < WORDS * 32)
                set_bits(&bits[at / 32], (int)(1u << at % 32));
        }
        block_wait();
        for (int id = first + THREAD; id < V && id < first + WORDS * 32; id += THREADS)
            if (!(bits[(id - first) / 32] & (int)(1u << (id - first) % 32)))
                to[id] = 0;
    }
}

/* dlogits may be the logits: a kept id's gradient takes the place of the logit it was computed from. */
KERNEL(logp_backward_kernel, THREADS, head)
{
    const float *row = a.logits + (size_t)BLOCK * a.V;
    float *to = a.dlogits + (size_t)BLOCK * a.V, temperature = a.temperature[BLOCK];
    float glogp = a.glogp[BLOCK], gentropy = a.gentropy[BLOCK];
    struct kept k = kept_of(&a, BLOCK);
    struct row_stat s = a.stat[BLOCK];
    int target = a.target[BLOCK], good = is_kept(k, target);
    for (int i = THREAD; i < k.count; i += THREADS) {
        int id = kept_id(k, i);
        float g = logit_gradient(&s, row[id], temperature, glogp, gentropy);
        to[id] = id == target && good ? g + glogp / temperature : g;
    }
    if (k.ids)
        zero_others(to, k, a.V);
}

static void cuda_logp_backward(struct device *d, Dev dlogits, Dev logits, Dev stat, const struct entries *e, Dev glogp,
                               Dev gentropy, int first, int ids, int V)
{
    struct head a = head_of(e, logits, stat, V);
    (void)first, (void)ids; /* 0, V */
    a.dlogits = reals(dlogits);
    a.glogp = reals(glogp);
    a.gentropy = reals(gentropy);
    LAUNCH(logp_backward_kernel, d, e->count, 1, 0, a);
}

#endif
