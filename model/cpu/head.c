/* Log-probabilities and entropies of rows of logits, and their gradient. The sampler calls the same head_row, so the
 * number recorded with a sampled token is the number computed for it in training.
 *
 * Sums run over the kept ids in their order (all ids: 0 .. V-1; a support: its own order), 16 lanes by index, fixed
 * tree.
 */
#include "cpu.h"

/* logits of ids i .. i+LANES over the temperature; beyond n: -infinity. Dividing by 1 changes nothing and takes a third
 * of the time: `divide` is then 0. */
INLINE vec load_kept(const float *logits, const int32_t *kept, int i, int n, vec temperature, const int divide)
{
    vec z;
    if (kept) {
        float x[LANES];
        for (int l = 0; l < LANES; l++)
            x[l] = i + l < n ? logits[kept[i + l]] : -INFINITY;
        z = vload(x);
    } else {
        z = vload_n(logits + i, n - i, -INFINITY);
    }
    return divide ? z / temperature : z;
}

/* p log p is 0 for p = 0, so log p may be cut off where e^x is 0; NaN stays. */
INLINE vec cut_off(vec x)
{
    return vselect(x < vset(-1000.0f), vset(-1000.0f), x);
}

INLINE struct row_stat row_body(const float *logits, const int32_t *kept, int n, float temperature, float *weight,
                                const int divide)
{
    vec most = vset(-INFINITY), T = vset(temperature), sum[PARTS], dot[PARTS];
    for (int i = 0; i < n; i += LANES)
        most = vmax(most, load_kept(logits, kept, i, n, T, divide));
    struct row_stat s = {.max = tree_max(most)};
    for (int p = 0; p < PARTS; p++)
        sum[p] = dot[p] = vset(0.0f);
    for (int i = 0; i < n; i += LANES) {
        vec x = load_kept(logits, kept, i, n, T, divide) - vset(s.max), e = vexp(x);
        if (weight)
            vstore_n(weight + i, e, n - i);
        sum[i / LANES % PARTS] = sum[i / LANES % PARTS] + e;
        dot[i / LANES % PARTS] = vfma(e, cut_off(x), dot[i / LANES % PARTS]);
    }
    s.sum = tree_sum(sum);
    s.logsum = log_one(s.sum);
    s.entropy = s.logsum - tree_sum(dot) / s.sum;
    return s;
}

struct row_stat head_row(const float *logits, const int32_t *kept, int n, float temperature, float *weight)
{
    return temperature == 1 ? row_body(logits, kept, n, temperature, weight, 0)
                            : row_body(logits, kept, n, temperature, weight, 1);
}

/* The ids an entry keeps; *n of them, NULL for all. */
static const int32_t *entry_kept(const struct entries *e, int r, int V, int *n)
{
    *n = e->support.p && e->supports.p[r] ? e->supports.p[r] : V;
    return e->support.p && e->supports.p[r] ? e->support.p + (size_t)r * e->max_support : NULL;
}

static int is_kept(const int32_t *kept, int n, int id)
{
    for (int i = 0; kept && i < n; i++)
        if (kept[i] == id)
            return 1;
    return !kept;
}

void cpu_logp_forward(struct device *d, Dev logp, Dev entropy, Dev logits, const struct entries *e, int V)
{
#pragma omp parallel for schedule(static) num_threads(d->threads) if (threads_for(d, e->count * (60.0 * V + 4000)) > 1)
    for (int r = 0; r < e->count; r++) {
        const float *row = reals(logits) + (size_t)r * V;
        float temperature = reals(e->temperature)[r];
        int n, target = e->target.p[r];
        const int32_t *kept = entry_kept(e, r, V, &n);
        struct row_stat s = head_row(row, kept, n, temperature, NULL);
        reals(logp)[r] = is_kept(kept, n, target) ? head_logp(&s, row[target], temperature) : -INFINITY;
        reals(entropy)[r] = s.entropy;
    }
}

size_t cpu_head_scratch(int V)
{
    return round_up((size_t)V * (sizeof(float) + sizeof(int32_t)) + 64, 64);
}

/* Gradients of the kept ids into g[n], in their order. */
INLINE void gradient_body(float *g, const float *logits, const int32_t *kept, int n, float temperature, float glogp,
                          float gentropy, const int divide)
{
    struct row_stat s = row_body(logits, kept, n, temperature, NULL, divide);
    vec T = vset(temperature), inverse = vset(1.0f / s.sum);
    for (int i = 0; i < n; i += LANES) {
        vec x = load_kept(logits, kept, i, n, T, divide) - vset(s.max), p = vexp(x) * inverse;
        vec surprise = cut_off(x) - vset(s.logsum) + vset(s.entropy);
        vec y = -vset(glogp) * p - vset(gentropy) * p * surprise;
        vstore_n(g + i, divide ? y / T : y, n - i);
    }
}

static void row_gradient(float *g, const float *logits, const int32_t *kept, int n, float temperature, float glogp,
                         float gentropy)
{
    if (temperature == 1)
        gradient_body(g, logits, kept, n, temperature, glogp, gentropy, 0);
    else
        gradient_body(g, logits, kept, n, temperature, glogp, gentropy, 1);
}

static void entry_backward(float *to, const float *logits, const struct entries *e, int r, float glogp, float gentropy,
                           int V, float *scratch)
{
    float temperature = reals(e->temperature)[r];
    int n, target = e->target.p[r];
    const int32_t *kept = entry_kept(e, r, V, &n);
    row_gradient(kept ? scratch : to, logits, kept, n, temperature, glogp, gentropy);
    if (kept) {
        memset(to, 0, (size_t)V * sizeof *to);
        for (int i = 0; i < n; i++)
            to[kept[i]] = scratch[i];
    }
    if (is_kept(kept, n, target))
        to[target] += glogp / temperature;
}

void cpu_logp_backward(struct device *d, Dev dlogits, Dev logits, const struct entries *e, Dev glogp, Dev gentropy,
                       int V)
{
#pragma omp parallel for schedule(static) num_threads(d->threads) if (threads_for(d, e->count * (90.0 * V + 4000)) > 1)
    for (int r = 0; r < e->count; r++)
        entry_backward(reals(dlogits) + (size_t)r * V, reals(logits) + (size_t)r * V, e, r, reals(glogp)[r],
                       reals(gentropy)[r], V, e->support.p ? scratch_slice(d, 0, cpu_head_scratch(V)) : NULL);
}
