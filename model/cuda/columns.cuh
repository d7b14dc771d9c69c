/* Gradients of vectors are sums over rows, one chain a gradient block and then the blocks in order. The blocks of a
 * wave are summed side by side into parts, which are then added. */
#ifndef CUDA_COLUMNS_CUH
#define CUDA_COLUMNS_CUH
#include "cuda.cuh"

enum { COLUMN_THREADS = 64 };

struct columns {
    float *part;     /* [WAVE][sums][n] */
    float *to, *to2; /* [n] each; to2 NULL: not wanted */
    Dev dout;
    const float *in, *stat;
    const struct span *block; /* of this wave */
    int blocks, n, sums;
    struct norm_shape s; /* norm_weight_kernel */
};

KERNEL(add_parts_kernel, COLUMN_THREADS, columns)
{
    int c = BLOCK * COLUMN_THREADS + THREAD;
    if (c >= a.n)
        return;
    float sum = a.to[c], sum2 = a.to2 ? a.to2[c] : 0.0f;
    for (int i = 0; i < a.blocks; i++) {
        sum += a.part[(size_t)i * a.sums * a.n + c];
        sum2 += a.to2 ? a.part[((size_t)i * a.sums + 1) * a.n + c] : 0.0f;
    }
    a.to[c] = sum;
    if (a.to2)
        a.to2[c] = sum2;
}

/* Sums of the columns of dout [rows][n]: the gradient of a bias. */
KERNEL(column_sums_kernel, COLUMN_THREADS, columns)
{
    int c = BLOCK * COLUMN_THREADS + THREAD;
    struct span rows = a.block[BLOCK_Y];
    float sum = 0;
    if (c >= a.n)
        return;
    for (int t = rows.start; t < rows.start + rows.len; t++)
        sum += get(a.dout, (size_t)t * a.n + c);
    a.part[(size_t)BLOCK_Y * a.n + c] = sum;
}

static size_t cuda_columns_scratch(int n)
{
    return (size_t)WAVE * n * sizeof(float);
}

static void cuda_add_column_sums(struct device *d, float *to, Dev dout, const struct span *block, int blocks, int n)
{
    struct columns c = {.part = scratch_of(d, cuda_columns_scratch(n)), .to = to, .dout = dout, .n = n, .sums = 1};
    for (int first = 0; first < blocks; first += WAVE) {
        c.block = block + first;
        c.blocks = blocks - first < WAVE ? blocks - first : WAVE;
        LAUNCH(column_sums_kernel, d, pieces_of(n, COLUMN_THREADS), c.blocks, 0, c);
        LAUNCH(add_parts_kernel, d, pieces_of(n, COLUMN_THREADS), 1, 0, c);
    }
}

#endif
