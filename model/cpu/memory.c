/* Memory of the CPU table: host memory. Rows run at once, so there is nothing to wait for. */
#include "../base/mem.h"
#include "cpu.h"

void *cpu_alloc(struct device *d, size_t bytes)
{
    (void)d;
    return mem_alloc(bytes, 1);
}

void cpu_release(struct device *d, void *p)
{
    (void)d;
    mem_free(p);
}

void cpu_upload(struct device *d, Dev to, const double *from, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++)
        reals(to)[i] = (float)from[i];
}

void cpu_download(struct device *d, double *to, Dev from, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++)
        to[i] = reals(from)[i];
}

void cpu_upload_int(struct device *d, DevInt to, const int32_t *from, size_t n)
{
    (void)d;
    if (n)
        memcpy(to.p, from, n * sizeof *from);
}

void cpu_download_int(struct device *d, int32_t *to, DevInt from, size_t n)
{
    (void)d;
    if (n)
        memcpy(to, from.p, n * sizeof *to);
}

void cpu_zero(struct device *d, Dev x, size_t n)
{
    (void)d;
    if (n)
        memset(x.p, 0, n * sizeof(float));
}

void cpu_copy(struct device *d, Dev to, Dev from, size_t n)
{
    (void)d;
    if (n)
        memcpy(to.p, from.p, n * sizeof(float));
}

void cpu_sync(struct device *d)
{
    (void)d;
}

size_t cpu_weight_reals(int N, int K)
{
    return round_up((size_t)N, PANEL) * (size_t)K;
}

void cpu_pack(struct device *d, Dev W, const double *from, int row, int rows, int N, int K)
{
    (void)d;
    (void)N;
    for (int n = 0; n < rows; n++)
        for (int k = 0; k < K; k++)
            reals(W)[weight_at(row + n, k, K)] = (float)from[(size_t)n * K + k];
}

void cpu_unpack(struct device *d, double *to, Dev W, int row, int rows, int N, int K)
{
    (void)d;
    (void)N;
    for (int n = 0; n < rows; n++)
        for (int k = 0; k < K; k++)
            to[(size_t)n * K + k] = reals(W)[weight_at(row + n, k, K)];
}
