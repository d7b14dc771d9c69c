/* LayerNorm and RMSNorm over vectors of any size: a warp a vector. Sums over a vector: 32 lanes and a fixed tree. */
#ifndef CUDA_NORM_CUH
#define CUDA_NORM_CUH
#include "columns.cuh"

enum { NORM_THREADS = 128, NORM_VECTORS = NORM_THREADS / WARP };

struct norm {
    Dev out;
    float *din, *stat;
    const float *in, *dout, *w, *b;
    struct norm_shape s;
};

DEVICE size_t vector_at(const struct norm_shape *s, int stride, int v)
{
    return (size_t)(v / s->heads) * stride + (size_t)(v % s->heads) * s->dim;
}

KERNEL(norm_forward_kernel, NORM_THREADS, norm)
{
    int v = BLOCK * NORM_VECTORS + THREAD / WARP, lane = THREAD % WARP;
    if (v >= a.s.rows * a.s.heads)
        return;
    const float *x = a.in + vector_at(&a.s, a.s.in_stride, v);
    size_t to = vector_at(&a.s, a.s.out_stride, v);
    float mean = 0, sum = 0;
    if (a.s.kind == NORM_LAYER) {
        for (int i = lane; i < a.s.dim; i += WARP)
            sum += x[i];
        mean = warp_sum(sum) / (float)a.s.dim;
        sum = 0;
    }
    for (int i = lane; i < a.s.dim; i += WARP)
        sum = fmaf(x[i] - mean, x[i] - mean, sum);
    float rstd = 1.0f / sqrtf(warp_sum(sum) / (float)a.s.dim + a.s.eps);
    if (a.stat && lane == 0) {
        a.stat[2 * (size_t)v] = mean;
        a.stat[2 * (size_t)v + 1] = rstd;
    }
    for (int i = lane; i < a.s.dim; i += WARP) { /* a number is read by the thread that writes it: in may be out */
        float z = (x[i] - mean) * rstd * a.w[i];
        put(a.out, to + i, a.b ? z + a.b[i] : z);
    }
}

static void cuda_norm_forward(struct device *d, Dev out, Dev stat, Dev in, Dev w, Dev b, const struct norm_shape *s)
{
    struct norm a = {out, NULL, reals(stat), reals(in), NULL, reals(w), reals(b), *s};
    LAUNCH(norm_forward_kernel, d, pieces_of((size_t)s->rows * s->heads, NORM_VECTORS), 1, 0, a);
}

/* din += (overwrite: =) rstd (g - mean(g) - xhat mean(g xhat)), g = dout w, xhat = (x - mean) rstd; RMS has no
 * mean(g). */
KERNEL(norm_backward_kernel, NORM_THREADS, norm)
{
    int v = BLOCK * NORM_VECTORS + THREAD / WARP, lane = THREAD % WARP, n = a.s.dim;
    if (v >= a.s.rows * a.s.heads)
        return;
    const float *x = a.in + vector_at(&a.s, a.s.in_stride, v), *dy = a.dout + vector_at(&a.s, a.s.out_stride, v);
    float *dx = a.din + vector_at(&a.s, a.s.in_stride, v);
    float mean = a.stat[2 * (size_t)v], rstd = a.stat[2 * (size_t)v + 1], level = 0, along = 0;
    for (int i = lane; i < n; i += WARP) {
        float g = dy[i] * a.w[i];
        level += g;
        along = fmaf(g, (x[i] - mean) * rstd, along);
    }
    along = warp_sum(along) / (float)n;
    level = a.s.kind == NORM_LAYER ? warp_sum(level) / (float)n : 0.0f;
    for (int i = lane; i < n; i += WARP) {
        float y = fmaf(-((x[i] - mean) * rstd), along, dy[i] * a.w[i] - level);
        dx[i] = fmaf(rstd, y, a.s.overwrite ? 0.0f : dx[i]);
    }
}

/* One block of rows of the weight gradients: sums of dout xhat and dout over its vectors, each a chain from zero. */
KERNEL(norm_weight_kernel, COLUMN_THREADS, columns)
{
    int c = BLOCK * COLUMN_THREADS + THREAD;
    struct span rows = a.block[BLOCK_Y];
    float dw = 0, db = 0;
    if (c >= a.n)
        return;
    for (int v = rows.start * a.s.heads; v < (rows.start + rows.len) * a.s.heads; v++) {
        float y = get(a.dout, vector_at(&a.s, a.s.out_stride, v) + c), x = a.in[vector_at(&a.s, a.s.in_stride, v) + c];
        dw = fmaf(y, (x - a.stat[2 * (size_t)v]) * a.stat[2 * (size_t)v + 1], dw);
        db += y;
    }
    a.part[(size_t)BLOCK_Y * 2 * a.n + c] = dw;
    a.part[((size_t)BLOCK_Y * 2 + 1) * a.n + c] = db;
}

static size_t cuda_norm_scratch(int dim)
{
    return (size_t)WAVE * 2 * dim * sizeof(float);
}

static void cuda_norm_backward(struct device *d, Dev din, Dev dw, Dev db, Dev dout, Dev in, Dev w, Dev stat,
                               const struct norm_shape *s, DevInt block, int blocks)
{
    struct columns c = {.part = scratch_of(d, cuda_norm_scratch(s->dim)),
                        .to = reals(dw),
                        .to2 = reals(db),
                        .dout = dout,
                        .in = reals(in),
                        .stat = reals(stat),
                        .n = s->dim,
                        .sums = 2,
                        .s = *s};
    for (int first = 0; dw.p && first < blocks; first += WAVE) {
        c.block = (const struct span *)block.p + first;
        c.blocks = blocks - first < WAVE ? blocks - first : WAVE;
        LAUNCH(norm_weight_kernel, d, pieces_of(s->dim, COLUMN_THREADS), c.blocks, 0, c);
        LAUNCH(add_parts_kernel, d, pieces_of(s->dim, COLUMN_THREADS), 1, 0, c);
    }
    struct norm a = {{NULL, 0}, reals(din), reals(stat), reals(in), reals(dout), reals(w), NULL, *s};
    LAUNCH(norm_backward_kernel, d, pieces_of((size_t)s->rows * s->heads, NORM_VECTORS), 1, 0, a);
}

#endif
