/* Products of matrices in bf16 with sums in fp32: the linear maps of the table in mixed precision.
 *
 * Operands that are not bf16 yet (gradients of the residual stream and of attention, logits) are rounded into scratch
 * memory first, rows padded to whole vectors of eight. The library computes; what it cannot, the kernel here does. Both
 * sum in fp32 and round once, at the end. The sum over k is never split, so a row's numbers depend on how many rows
 * there are only through the library's choice of algorithm: prepare fixes that choice and tries whether it matters.
 *
 * The gradient of a weight is one sum over the rows of a call: the same for the same micro-batches, and in its last
 * bits another for others, unlike in fp32.
 */
#ifndef CUDA_PRODUCT16_CUH
#define CUDA_PRODUCT16_CUH
#include "memory.cuh"
#include "columns.cuh"
#include <stdio.h>

/* ---- what the library cannot: a thread an element, one chain ---- */

struct plain_product {
    struct product16 p;
    int m, n, length; /* c is [m][n], sums are over `length` */
    int a_row, a_next, b_row, b_next;
};

KERNEL(plain_product_kernel, THREADS, plain_product)
{
    size_t i = (size_t)BLOCK * THREADS + THREAD, row = i / a.n, column = i % a.n;
    if (i >= (size_t)a.m * a.n)
        return;
    float sum = 0;
    for (int r = 0; r < a.length; r++)
        sum = fmaf(of_bf16(a.p.a[row * a.a_row + (size_t)r * a.a_next]),
                   of_bf16(a.p.b[column * a.b_row + (size_t)r * a.b_next]), sum);
    if (a.p.kind == PRODUCT_WEIGHT)
        sum += get(a.p.c, i);
    if (a.p.bias.p)
        sum += get(a.p.bias, column);
    put(a.p.c, i, sum);
}

static void multiply16(struct device *d, const struct product16 *p)
{
    struct plain_product a = {*p, p->rows, p->N, p->K, p->a_stride, 1, p->b_stride, 1};
    if (p->rows == 0 || gpu_product(d, p))
        return;
    if (p->kind == PRODUCT_INPUT) {
        a.n = p->K;
        a.length = p->N;
        a.b_row = 1;
        a.b_next = p->b_stride;
    } else if (p->kind == PRODUCT_WEIGHT) {
        a.m = p->N;
        a.n = p->K;
        a.length = p->rows;
        a.a_row = a.b_row = 1;
        a.a_next = p->a_stride;
        a.b_next = p->b_stride;
    }
    LAUNCH(plain_product_kernel, d, pieces_of((size_t)a.m * a.n, THREADS), 1, 0, a);
}

/* ---- operands ---- */

struct rounding {
    uint16_t *to;
    const float *from;
    int rows, n, stride; /* from rows of n to rows of stride, zero behind n */
};

KERNEL(round_rows_kernel, THREADS, rounding)
{
    size_t i = (size_t)BLOCK * THREADS + THREAD, row = i / a.stride, column = i % a.stride;
    if (row < (size_t)a.rows)
        a.to[i] = column < (size_t)a.n ? to_bf16(a.from[row * a.n + column]) : 0;
}

static size_t in_eights(int n)
{
    return ((size_t)n + 7) / 8 * 8;
}

/* Scratch: the sums of columns of a bias's gradient, then operands of up to `rows` rows of N and of K numbers, or of
 * one bias. */
static size_t cuda_product16_scratch(int rows, int N, int K)
{
    return cuda_columns_scratch((int)in_eights(N)) + (size_t)rows * (in_eights(N) + in_eights(K)) * sizeof(uint16_t) +
           in_eights(N) * sizeof(float);
}

/* Scratch behind the sums of columns. */
static uint16_t *operands_of(const struct device *d, int rows, int N, int K)
{
    char *scratch = (char *)scratch_of(d, cuda_product16_scratch(rows, N, K));
    return (uint16_t *)(void *)(scratch + cuda_columns_scratch((int)in_eights(N)));
}

/* x [rows][n] in bf16, and how far its rows are apart: as it is, or rounded into `scratch`. */
static const uint16_t *operand16(struct device *d, Dev x, int rows, int n, uint16_t *scratch, int *stride)
{
    struct rounding a = {scratch, reals(x), rows, n, (int)in_eights(n)};
    if (x.bf16) {
        *stride = n;
        return (const uint16_t *)x.p;
    }
    *stride = a.stride;
    LAUNCH(round_rows_kernel, d, pieces_of((size_t)rows * a.stride, THREADS), 1, 0, a);
    return scratch;
}

static const uint16_t *matrix16(Dev W)
{
    if (W.p && !W.bf16)
        die("a matrix in fp32 in a product of bf16");
    return (const uint16_t *)W.p;
}

/* ---- rows of the table ---- */

static void cuda16_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K)
{
    uint16_t *scratch = operands_of(d, M, N, K), *behind = scratch + (size_t)M * in_eights(K);
    struct product16 p = {PRODUCT_FORWARD, M, N, K, 0, K, NULL, matrix16(W), out, b};
    int stride;
    p.a = operand16(d, in, M, K, scratch, &p.a_stride);
    if (b.p && out.bf16) { /* the library wants a bias of the result's kind */
        Dev rounded = {(void *)(uintptr_t)operand16(d, b, 1, N, behind, &stride), 1};
        p.bias = rounded;
    }
    multiply16(d, &p);
}

static void cuda16_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K)
{
    struct product16 p = {PRODUCT_INPUT, M, N, K, 0, K, NULL, matrix16(W), din, {NULL, 0}};
    p.a = operand16(d, dout, M, N, operands_of(d, M, N, K), &p.a_stride);
    multiply16(d, &p);
}

static void cuda16_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks,
                                          int M, int N, int K)
{
    uint16_t *scratch = operands_of(d, M, N, K), *behind = scratch + (size_t)M * in_eights(N);
    struct product16 p = {PRODUCT_WEIGHT, M, N, K, 0, 0, NULL, NULL, dW, {NULL, 0}};
    p.a = operand16(d, dout, M, N, scratch, &p.a_stride);
    p.b = operand16(d, in, M, K, behind, &p.b_stride);
    multiply16(d, &p);
    if (db.p)
        cuda_add_column_sums(d, reals(db), dout, (const struct span *)block.p, blocks, N);
}

/* ---- is a row the same whatever the number of rows? ---- */

enum { TRIED_ROWS = 600 };
static const size_t tried_bytes = (size_t)256 << 20; /* of both results */

struct words {
    uint16_t *to;
    const uint16_t *other;
    int *found;
    size_t n;
    unsigned seed;
};

/* Numbers of [-1, 1) from a hash of their place (the finaliser of MurmurHash3, Appleby, public domain). */
KERNEL(draw_words_kernel, THREADS, words)
{
    size_t i = (size_t)BLOCK * THREADS + THREAD;
    unsigned h = (unsigned)i ^ a.seed;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    h ^= h >> 16;
    if (i < a.n)
        a.to[i] = to_bf16((float)(int)(h & 0xffffff) * 0x1p-23f - 1.0f);
}

KERNEL(differing_words_kernel, THREADS, words)
{
    size_t i = (size_t)BLOCK * THREADS + THREAD;
    if (i < a.n && a.to[i] != a.other[i])
        set_bits(a.found, 1);
}

struct trial {
    struct product16 p; /* of as many rows as are tried; its result is what others are compared with */
    char *other;        /* a result of fewer rows */
    int *found;
};

/* Whether products of fewer rows agree with that of the most, bit for bit. */
static int rows_agree(struct device *d, const struct trial *t)
{
    static const int counts[] = {1, 5, 16, 17, 64, 200, 512};
    int32_t found = 0;
    gpu_zero(d, t->found, sizeof found);
    multiply16(d, &t->p);
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct product16 fewer = t->p;
        size_t n = (size_t)counts[i] * (size_t)t->p.N * (t->p.c.bf16 ? 1 : 2); /* words of the common rows */
        struct words w = {(uint16_t *)(void *)t->other, (const uint16_t *)t->p.c.p, t->found, n, 0};
        if (counts[i] >= t->p.rows)
            break;
        fewer.rows = counts[i];
        fewer.c.p = t->other;
        multiply16(d, &fewer);
        LAUNCH(differing_words_kernel, d, pieces_of(n, THREADS), 1, 0, w);
    }
    DevInt from = {(int32_t *)t->found};
    cuda_download_int(d, &found, from, 1);
    return !found;
}

static void draw_words(struct device *d, void *to, size_t n, unsigned seed)
{
    struct words w = {(uint16_t *)to, NULL, NULL, n, seed};
    LAUNCH(draw_words_kernel, d, pieces_of(n, THREADS), 1, 0, w);
}

/* Tries what the library suggests for few rows, class by class, until it rounds as for many; failing that, takes what
 * it uses for many. Returns whether all counts agree in the end. */
static int choose_and_try(struct device *d, const struct trial *t)
{
    for (int few = 0; few < GPU_FEW; few++)
        for (int i = 0;; i++) {
            if (!gpu_choose(d, &t->p, few, i)) {
                gpu_choose(d, &t->p, few, -1);
                break;
            }
            if (rows_agree(d, t))
                break;
        }
    return rows_agree(d, t);
}

static void cuda16_prepare(struct device *d, int N, int K, int bf16, int biased)
{
    size_t row = 2 * (size_t)N * (bf16 ? sizeof(uint16_t) : sizeof(float)), rows = tried_bytes / row;
    struct trial t;
    rows = rows < 20 ? 20 : rows < TRIED_ROWS ? rows : TRIED_ROWS;
    char *in = (char *)gpu_alloc(d, rows * in_eights(K) * sizeof(uint16_t));
    char *W = (char *)gpu_alloc(d, (size_t)N * K * sizeof(uint16_t));
    char *bias = (char *)gpu_alloc(d, N * sizeof(float)), *out = (char *)gpu_alloc(d, rows * row);
    int agree = 0;
    t.found = (int *)gpu_alloc(d, sizeof *t.found);
    if (in && W && bias && out && t.found) {
        struct product16 p = {
            PRODUCT_FORWARD, (int)rows, N, K, K, K, NULL, NULL, {out, bf16}, {biased ? bias : NULL, bf16}};
        p.a = (const uint16_t *)(void *)in;
        p.b = (const uint16_t *)(void *)W;
        draw_words(d, in, rows * in_eights(K), 1);
        draw_words(d, W, (size_t)N * K, 2);
        t.p = p;
        t.other = out + rows * row / 2;
        agree = choose_and_try(d, &t);
        t.p.a_stride = (int)in_eights(K); /* an input in fp32, rounded */
        if (t.p.a_stride != K)
            agree &= choose_and_try(d, &t);
    }
    if (!agree && !d->inexact)
        fprintf(stderr,
                "run.precision=bf16: products with a matrix of %d x %d round differently for few and many rows%s; the "
                "trainer computes logp_old itself\n",
                N, K, out ? "" : ", or could not be tried for want of memory");
    d->inexact |= !agree;
    void *all[] = {in, W, bias, out, t.found};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        gpu_free(all[i]);
}

#endif
