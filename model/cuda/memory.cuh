/* Memory of the CUDA table. Weights lie plainly as [N][K]. Numbers pass through page-locked staging memory, where they
 * change between double and float. */
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

static void cuda_upload(struct device *d, Dev to, const double *from, size_t n)
{
    for (size_t at = 0, bytes; at < n; at += bytes / sizeof(float)) {
        float *stage = (float *)gpu_stage(d, (n - at) * sizeof(float), &bytes);
        for (size_t i = 0; i < bytes / sizeof(float); i++)
            stage[i] = (float)from[at + i];
        gpu_copy(d, reals(to) + at, stage, bytes);
    }
}

static void cuda_download(struct device *d, double *to, Dev from, size_t n)
{
    for (size_t at = 0, bytes; at < n; at += bytes / sizeof(float)) {
        float *stage = (float *)gpu_stage(d, (n - at) * sizeof(float), &bytes);
        gpu_copy(d, stage, reals(from) + at, bytes);
        gpu_wait(d);
        for (size_t i = 0; i < bytes / sizeof(float); i++)
            to[at + i] = stage[i];
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
        gpu_zero(d, x.p, n * sizeof(float));
}

static void cuda_copy(struct device *d, Dev to, Dev from, size_t n)
{
    if (n)
        gpu_copy(d, to.p, from.p, n * sizeof(float));
}

static void cuda_sync(struct device *d)
{
    gpu_wait(d);
}

static size_t cuda_weight_reals(int N, int K)
{
    return (size_t)N * (size_t)K;
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
