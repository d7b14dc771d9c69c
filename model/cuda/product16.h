/* A product of bf16 numbers with sums in fp32, as it is asked of the library: blas.cuh has cuBLASLt,
 * ../../test/cuda_host.h its twin for the host. */
#ifndef PRODUCT16_H
#define PRODUCT16_H
#include "../backend.h"

enum product_kind {
    PRODUCT_FORWARD, /* c[rows][N] = a[rows][K] b[N][K]^T (+ bias[N]) */
    PRODUCT_INPUT,   /* c[rows][K] = a[rows][N] b[N][K] */
    PRODUCT_WEIGHT   /* c[N][K] += a[rows][N]^T b[rows][K], c in fp32 */
};
struct product16 {
    enum product_kind kind;
    int rows, N, K;
    int a_stride, b_stride; /* numbers from one row of a or b to the next */
    const uint16_t *a, *b;
    Dev c, bias; /* both bf16 or both fp32; bias {NULL}: none */
};

#endif
