/* The optimiser's rows: elementwise over any number of reals. */
#ifndef CUDA_OPTIM_CUH
#define CUDA_OPTIM_CUH
#include "elementwise.cuh"

struct squares {
    double *part;
    const float *g;
    size_t n;
};

/* Thread by thread in strides, then the threads of a block in order; the host adds the blocks in order. */
KERNEL(squares_kernel, THREADS, squares)
{
    double sum = 0;
    for (size_t i = number_of_thread(); i < a.n; i += (size_t)BLOCKS * THREADS)
        sum += (double)a.g[i] * a.g[i];
    sum = block_sum_double(sum);
    if (THREAD == 0)
        a.part[BLOCK] = sum;
}

static double cuda_sum_squares(struct device *d, Dev g, size_t n)
{
    struct squares a = {gpu_partials(d), reals(g), n};
    size_t blocks = pieces_of(n, THREADS), bytes;
    blocks = blocks < GPU_PARTIALS ? blocks : GPU_PARTIALS;
    LAUNCH(squares_kernel, d, blocks, 1, 0, a);
    double sum = 0, *part = (double *)gpu_stage(d, blocks * sizeof *part, &bytes);
    gpu_copy(d, part, a.part, blocks * sizeof *part);
    gpu_wait(d);
    for (size_t i = 0; i < blocks; i++)
        sum += part[i];
    return sum;
}

/* AdamW: Loshchilov, Hutter, Decoupled weight decay regularization, 2019, algorithm 2; the gradient's clipping in the
 * same pass. */
struct update {
    float *w, *m, *v;
    uint16_t *copy; /* w in bf16; NULL: not wanted */
    const float *g;
    size_t n;
    struct adamw o;
    float inverse1, inverse2;
};

KERNEL(adamw_kernel, THREADS, update)
{
    size_t i = number_of_thread();
    if (i >= a.n)
        return;
    float grad = a.g[i] * a.o.grad_scale;
    float first = a.o.beta1 * a.m[i] + (1.0f - a.o.beta1) * grad;
    float second = a.o.beta2 * a.v[i] + (1.0f - a.o.beta2) * (grad * grad);
    float step = first * a.inverse1 / (sqrtf(second * a.inverse2) + a.o.eps);
    a.m[i] = first;
    a.v[i] = second;
    float w = a.w[i] - a.o.lr * (step + a.o.weight_decay * a.w[i]);
    a.w[i] = w;
    if (a.copy)
        a.copy[i] = to_bf16(w);
}

static void cuda_adamw(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *o)
{
    struct update a = {reals(w),
                       reals(m),
                       reals(v),
                       (uint16_t *)copy.p,
                       reals(g),
                       n,
                       *o,
                       1.0f / o->correction1,
                       1.0f / o->correction2};
    LAUNCH(adamw_kernel, d, pieces_of(n, THREADS), 1, 0, a);
}

#endif
