/* Memory of the CUDA table. Weights lie plainly as [N][K]. Numbers pass through page-locked staging memory, where they
 * change between double and what the handle says: float or bf16. */
#ifndef CUDA_MEMORY_CUH
#define CUDA_MEMORY_CUH
#include "cuda.cuh"

static void *cuda_alloc(struct device *d, size_t bytes)
{
    return gpu_alloc(d, bytes);
}

static void cuda_release(struct device *d, void *p)
{
    (void)d;
    gpu_free(p);
}

static size_t number_bytes(Dev x)
{
    return x.bf16 ? sizeof(uint16_t) : sizeof(float);
}

static void cuda_upload(struct device *d, Dev to, const double *from, size_t n)
{
    size_t each = number_bytes(to);
    for (size_t at = 0, bytes; at < n; at += bytes / each) {
        void *stage = gpu_stage(d, (n - at) * each, &bytes);
        for (size_t i = 0; i < bytes / each; i++)
            if (to.bf16)
                ((uint16_t *)stage)[i] = to_bf16((float)from[at + i]);
            else
                ((float *)stage)[i] = (float)from[at + i];
        gpu_copy(d, dev_at(d, to, at).p, stage, bytes);
    }
}

static void cuda_download(struct device *d, double *to, Dev from, size_t n)
{
    size_t each = number_bytes(from);
    for (size_t at = 0, bytes; at < n; at += bytes / each) {
        void *stage = gpu_stage(d, (n - at) * each, &bytes);
        gpu_copy(d, stage, dev_at(d, from, at).p, bytes);
        gpu_wait(d);
        for (size_t i = 0; i < bytes / each; i++)
            to[at + i] = from.bf16 ? of_bf16(((const uint16_t *)stage)[i]) : ((const float *)stage)[i];
    }
}

static void cuda_upload_int(struct device *d, DevInt to, const int32_t *from, size_t n)
{
    for (size_t at = 0, bytes; at < n; at += bytes / sizeof *from) {
        void *stage = gpu_stage(d, (n - at) * sizeof *from, &bytes);
        memcpy(stage, from + at, bytes);
        gpu_copy(d, to.p + at, stage, bytes);
    }
}

static void cuda_download_int(struct device *d, int32_t *to, DevInt from, size_t n)
{
    for (size_t at = 0, bytes; at < n; at += bytes / sizeof *to) {
        void *stage = gpu_stage(d, (n - at) * sizeof *to, &bytes);
        gpu_copy(d, stage, from.p + at, bytes);
        gpu_wait(d);
        memcpy(to + at, stage, bytes);
    }
}

static void cuda_zero(struct device *d, Dev x, size_t n)
{
    if (n)
        gpu_zero(d, x.p, n * number_bytes(x));
}

struct conversion {
    Dev to, from;
    size_t n;
};

KERNEL(convert_kernel, THREADS, conversion)
{
    size_t i = (size_t)BLOCK * THREADS + THREAD;
    if (i < a.n)
        put(a.to, i, get(a.from, i));
}

/* Rounds where the two are of different kinds. */
static void cuda_copy(struct device *d, Dev to, Dev from, size_t n)
{
    struct conversion a = {to, from, n};
    if (n && to.bf16 == from.bf16)
        gpu_copy(d, to.p, from.p, n * number_bytes(to));
    else
        LAUNCH(convert_kernel, d, pieces_of(n, THREADS), 1, 0, a);
}

static void cuda_sync(struct device *d)
{
    gpu_wait(d);
}

static size_t cuda_weight_reals(int N, int K)
{
    return (size_t)N * (size_t)K;
}

/* A copy in bf16 lies as its matrix does. */
static void cuda_copy_rows(struct device *d, Dev copy, Dev W, int row, int rows, int N, int K)
{
    size_t at = (size_t)row * K;
    (void)N;
    cuda_copy(d, dev_at(d, copy, at), dev_at(d, W, at), (size_t)rows * K);
}

static void cuda_pack(struct device *d, Dev W, const double *from, int row, int rows, int N, int K)
{
    (void)N;
    cuda_upload(d, dev_at(d, W, (size_t)row * K), from, (size_t)rows * K);
}

static void cuda_unpack(struct device *d, double *to, Dev W, int row, int rows, int N, int K)
{
    (void)N;
    cuda_download(d, to, dev_at(d, W, (size_t)row * K), (size_t)rows * K);
}

#endif
