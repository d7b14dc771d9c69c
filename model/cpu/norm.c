/* LayerNorm and RMSNorm over vectors of any size. Sums over a vector: 16 lanes and a fixed tree. */
#include "cpu.h"

enum {
    WAVE = 32,  /* blocks of rows whose partial sums are held at once */
    COLUMNS = 4 /* vectors whose chains run side by side */
};

static const float *vector_in(const float *x, const struct norm_shape *s, int stride, long i)
{
    if (s->heads == 1) /* a division costs as much as a short vector */
        return x + (size_t)i * stride;
    return x + (size_t)(i / s->heads) * stride + (size_t)(i % s->heads) * s->dim;
}

/* Vectors are walked LANES at a time; which lanes of the fixed sum a place belongs to. */
#define PART_OF(i) ((i) / LANES % PARTS)

static void vector_stat(const float *x, const struct norm_shape *s, float *mean, float *rstd)
{
    vec sum[PARTS];
    *mean = 0;
    if (s->kind == NORM_LAYER) {
        for (int p = 0; p < PARTS; p++)
            sum[p] = vset(0.0f);
        for (int i = 0; i < s->dim; i += LANES)
            sum[PART_OF(i)] = sum[PART_OF(i)] + vload_n(x + i, s->dim - i, 0);
        *mean = tree_sum(sum) / (float)s->dim;
    }
    for (int p = 0; p < PARTS; p++)
        sum[p] = vset(0.0f);
    for (int i = 0; i < s->dim; i += LANES) {
        vec y = vload_n(x + i, s->dim - i, *mean) - vset(*mean);
        sum[PART_OF(i)] = vfma(y, y, sum[PART_OF(i)]);
    }
    *rstd = 1.0f / sqrtf(tree_sum(sum) / (float)s->dim + s->eps);
}

void cpu_norm_forward(struct device *d, Dev out, Dev stat, Dev in, Dev w, Dev b, const struct norm_shape *s)
{
    long n = (long)s->rows * s->heads;
    int threads = threads_for(d, 50.0 * n * s->dim);
    SHARE_OUT(threads, (static), for (long v = 0; v < n; v++), {
        const float *x = vector_in(reals(in), s, s->in_stride, v), *weight = reals(w), *bias = reals(b);
        float *y = (float *)vector_in(reals(out), s, s->out_stride, v), mean, rstd;
        vector_stat(x, s, &mean, &rstd);
        if (stat.p) {
            reals(stat)[2 * v] = mean;
            reals(stat)[2 * v + 1] = rstd;
        }
        for (int i = 0; i < s->dim; i += LANES) {
            int left = s->dim - i;
            vec z = (vload_n(x + i, left, 0) - vset(mean)) * vset(rstd) * vload_n(weight + i, left, 0);
            vstore_n(y + i, bias ? z + vload_n(bias + i, left, 0) : z, left);
        }
    })
}

/* din += (overwrite: =) rstd (g - mean(g) - xhat mean(g xhat)), g = dout w, xhat = (x - mean) rstd; RMS has no
 * mean(g). */
static void vector_backward(float *dx, const float *dy, const float *x, const float *w, const float *stat,
                            const struct norm_shape *s)
{
    int n = s->dim;
    vec mean = vset(stat[0]), rstd = vset(stat[1]), sum[PARTS], dot[PARTS];
    for (int p = 0; p < PARTS; p++)
        sum[p] = dot[p] = vset(0.0f);
    for (int i = 0; i < n; i += LANES) {
        vec g = vload_n(dy + i, n - i, 0) * vload_n(w + i, n - i, 0);
        vec hat = (vload_n(x + i, n - i, 0) - mean) * rstd;
        sum[PART_OF(i)] = sum[PART_OF(i)] + g;
        dot[PART_OF(i)] = vfma(g, hat, dot[PART_OF(i)]);
    }
    vec along = vset(tree_sum(dot) / (float)n), level = vset(s->kind == NORM_LAYER ? tree_sum(sum) / (float)n : 0.0f);
    for (int i = 0; i < n; i += LANES) {
        vec g = vload_n(dy + i, n - i, 0) * vload_n(w + i, n - i, 0);
        vec hat = (vload_n(x + i, n - i, 0) - mean) * rstd;
        vec y = vfma(-hat, along, g - level);
        vec old = s->overwrite ? vset(0.0f) : vload_n(dx + i, n - i, 0);
        vstore_n(dx + i, vfma(rstd, y, old), n - i);
    }
}

/* One block's sums of dout xhat and dout for columns i .. of some vectors, each a chain from zero; into part[2][dim].
 */
INLINE void block_columns(float *part, const float *dout, const float *in, const float *stat,
                          const struct norm_shape *s, struct span block, int i, const int vectors)
{
    vec dw[COLUMNS], db[COLUMNS];
    UNROLL
    for (int c = 0; c < vectors; c++)
        dw[c] = db[c] = vset(0.0f);
    for (long v = (long)block.start * s->heads; v < (long)(block.start + block.len) * s->heads; v++) {
        const float *dy = vector_in(dout, s, s->out_stride, v) + i, *x = vector_in(in, s, s->in_stride, v) + i;
        vec mean = vset(stat[2 * v]), rstd = vset(stat[2 * v + 1]);
        UNROLL
        for (int c = 0; c < vectors; c++) {
            int left = vectors > 1 ? LANES : s->dim - i;
            vec y = vload_n(dy + c * LANES, left, 0);
            dw[c] = vfma(y, (vload_n(x + c * LANES, left, 0) - mean) * rstd, dw[c]);
            db[c] = db[c] + y;
        }
    }
    UNROLL
    for (int c = 0; c < vectors; c++) {
        vstore_n(part + i + c * LANES, dw[c], s->dim - i - c * LANES);
        vstore_n(part + s->dim + i + c * LANES, db[c], s->dim - i - c * LANES);
    }
}

static void block_weights(float *part, const float *dout, const float *in, const float *stat,
                          const struct norm_shape *s, struct span block)
{
    int i = 0;
    for (; i + COLUMNS * LANES <= s->dim; i += COLUMNS * LANES)
        block_columns(part, dout, in, stat, s, block, i, COLUMNS);
    for (; i < s->dim; i += LANES)
        block_columns(part, dout, in, stat, s, block, i, 1);
}

size_t cpu_norm_scratch(int dim)
{
    return round_up((size_t)WAVE * 2 * (size_t)dim * sizeof(float), 64);
}

static void weights_backward(struct device *d, float *dw, float *db, const float *dout, const float *in,
                             const float *stat, const struct norm_shape *s, const struct span *block, int blocks,
                             int threads)
{
    if (d->scratch_bytes < cpu_norm_scratch(s->dim))
        die("scratch memory: norm_backward needs %zu bytes, %zu are reserved", cpu_norm_scratch(s->dim),
            d->scratch_bytes);
    float *part = d->scratch;
    for (int first = 0; first < blocks; first += WAVE) {
        int here = (int)least(WAVE, blocks - first);
        SHARE_OUT(threads, (static), for (int i = 0; i < here; i++),
                  { block_weights(part + (size_t)i * 2 * s->dim, dout, in, stat, s, block[first + i]); })
        for (int i = 0; i < here; i++)
            for (int c = 0; c < s->dim; c++) {
                dw[c] += part[(size_t)i * 2 * s->dim + c];
                if (db)
                    db[c] += part[(size_t)i * 2 * s->dim + s->dim + c];
            }
    }
}

void cpu_norm_backward(struct device *d, Dev din, Dev dw, Dev db, Dev dout, Dev in, Dev w, Dev stat,
                       const struct norm_shape *s, DevInt block, int blocks)
{
    long n = (long)s->rows * s->heads;
    int threads = threads_for(d, 100.0 * n * s->dim);
    if (dw.p)
        weights_backward(d, reals(dw), reals(db), reals(dout), reals(in), reals(stat), s, (const struct span *)block.p,
                         blocks, threads);
    SHARE_OUT(threads, (static), for (long v = 0; v < n; v++), {
        vector_backward((float *)vector_in(reals(din), s, s->in_stride, v), vector_in(reals(dout), s, s->out_stride, v),
                        vector_in(reals(in), s, s->in_stride, v), reals(w), reals(stat) + 2 * v, s);
    })
}
