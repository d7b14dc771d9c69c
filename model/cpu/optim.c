/* The optimiser's rows: elementwise over any number of reals, so packed panels need no unpacking. Padding has gradient
 * and moments 0 and therefore stays 0. */
#include "cpu.h"

enum {
    CHUNKS = 64,
    STREAMS = 4,  /* chunks that are read at once: one stream alone does not fill the memory's queue */
    UPDATE = 4096 /* weights of a work item */
};

static size_t chunk_start(size_t n, int c)
{
    size_t at = round_up((n + CHUNKS - 1) / CHUNKS, GROUP) * (size_t)c;
    return at < n ? at : n;
}

/* Squares of chunks c, c + 16, c + 32, c + 48 in double: 8 lanes each, then a sequential end. */
static void chunk_squares(double *part, const float *g, size_t n, int c)
{
    double lane[STREAMS][8] = {{0}};
    const float *from[STREAMS];
    size_t len[STREAMS], i = 0;
    for (int s = 0; s < STREAMS; s++) {
        size_t first = chunk_start(n, c + s * (CHUNKS / STREAMS));
        from[s] = g + first;
        len[s] = chunk_start(n, c + s * (CHUNKS / STREAMS) + 1) - first;
    }
    for (; i + 8 <= len[STREAMS - 1]; i += 8) /* the last one is the shortest */
        for (int s = 0; s < STREAMS; s++)
            for (int l = 0; l < 8; l++)
                lane[s][l] += (double)from[s][i + l] * from[s][i + l];
    for (int s = 0; s < STREAMS; s++) {
        for (size_t k = i; k < len[s]; k++)
            lane[s][k % 8] += (double)from[s][k] * from[s][k];
        double sum = 0;
        for (int l = 0; l < 8; l++)
            sum += lane[s][l];
        part[c + s * (CHUNKS / STREAMS)] = sum;
    }
}

double cpu_sum_squares(struct device *d, Dev g, size_t n)
{
    double part[CHUNKS], sum = 0;
    int threads = threads_for(d, 30.0 * n);
    SHARE_OUT(threads, (static), for (int c = 0; c < CHUNKS / STREAMS; c++), { chunk_squares(part, reals(g), n, c); })
    for (int c = 0; c < CHUNKS; c++)
        sum += part[c];
    return sum;
}

/* AdamW: Loshchilov, Hutter, Decoupled weight decay regularization, 2019, algorithm 2. One division and one root a
 * weight: more would cost more than the memory does. */
static void adamw_weights(float *w, const float *g, float *m, float *v, long n, const struct adamw *a)
{
    const vec scale = vset(a->grad_scale), beta1 = vset(a->beta1), rest1 = vset(1.0f - a->beta1);
    const vec beta2 = vset(a->beta2), rest2 = vset(1.0f - a->beta2), eps = vset(a->eps), lr = vset(a->lr);
    const vec inverse1 = vset(1.0f / a->correction1), inverse2 = vset(1.0f / a->correction2);
    const vec decay = vset(a->weight_decay);
    for (long i = 0; i < n; i += LANES) {
        vec weight = vload_n(w + i, n - i, 0), grad = vload_n(g + i, n - i, 0) * scale;
        vec first = beta1 * vload_n(m + i, n - i, 0) + rest1 * grad;
        vec second = beta2 * vload_n(v + i, n - i, 0) + rest2 * (grad * grad);
        vec step = first * inverse1 / (vsqrt(second * inverse2) + eps);
        vstore_n(m + i, first, n - i);
        vstore_n(v + i, second, n - i);
        vstore_n(w + i, weight - lr * (step + decay * weight), n - i);
    }
}

void cpu_adamw(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *a)
{
    (void)copy;
    long items = (long)((n + UPDATE - 1) / UPDATE);
    int threads = threads_for(d, 100.0 * n);
    SHARE_OUT(threads, (static), for (long i = 0; i < items; i++), {
        size_t at = (size_t)i * UPDATE;
        adamw_weights(reals(w) + at, reals(g) + at, reals(m) + at, reals(v) + at, least(UPDATE, (long)(n - at)), a);
    })
}
