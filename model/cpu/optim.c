/* The optimiser's rows: elementwise over any number of reals, so packed panels need no unpacking. Padding has gradient
 * and moments 0 and therefore stays 0. */
#include "cpu.h"

enum { CHUNKS = 64 };

/* Squares in double, 8 lanes, then a sequential end: the same whatever the threads. */
static double chunk_squares(const float *g, size_t n)
{
    double lane[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++)
            lane[l] += (double)g[i + l] * g[i + l];
    for (; i < n; i++)
        lane[i % 8] += (double)g[i] * g[i];
    double sum = 0;
    for (int l = 0; l < 8; l++)
        sum += lane[l];
    return sum;
}

double cpu_sum_squares(struct device *d, Dev g, size_t n)
{
    double part[CHUNKS];
    size_t each = round_up((n + CHUNKS - 1) / CHUNKS, GROUP);
#pragma omp parallel for schedule(static) num_threads(d->threads) if (threads_for(d, 30.0 * n) > 1)
    for (int c = 0; c < CHUNKS; c++) {
        size_t first = each * c < n ? each * c : n, end = each * (c + 1) < n ? each * (c + 1) : n;
        part[c] = chunk_squares(reals(g) + first, end - first);
    }
    double sum = 0;
    for (int c = 0; c < CHUNKS; c++)
        sum += part[c];
    return sum;
}

/* AdamW: Loshchilov, Hutter, Decoupled weight decay regularization, 2019, algorithm 2. */
INLINE void adamw_step(float *w, const float *g, float *m, float *v, long n, const struct adamw *a)
{
    vec weight = vload_n(w, n, 0), grad = vload_n(g, n, 0) * vset(a->grad_scale);
    vec first = vset(a->beta1) * vload_n(m, n, 0) + vset(1.0f - a->beta1) * grad;
    vec second = vset(a->beta2) * vload_n(v, n, 0) + vset(1.0f - a->beta2) * (grad * grad);
    vec step = first / vset(a->correction1) / (vsqrt(second / vset(a->correction2)) + vset(a->eps));
    weight = weight - vset(a->lr) * (step + vset(a->weight_decay) * weight);
    vstore_n(m, first, n);
    vstore_n(v, second, n);
    vstore_n(w, weight, n);
}

void cpu_adamw(struct device *d, Dev w, Dev g, Dev m, Dev v, size_t n, const struct adamw *a)
{
    long vectors = (long)((n + LANES - 1) / LANES);
#pragma omp parallel for schedule(static) num_threads(d->threads) if (threads_for(d, 140.0 * n) > 1)
    for (long i = 0; i < vectors; i++) {
        size_t at = (size_t)i * LANES;
        adamw_step(reals(w) + at, reals(g) + at, reals(m) + at, reals(v) + at, (long)(n - at), a);
    }
}
