/* What the files of the CUDA table share. The rows mirror ../cpu: one file a kind, named in ../../train_rl.cu.
 *
 * Everything here is written in what C11 and CUDA C++ have in common. What only a GPU has (launches, shared memory,
 * barriers, sums over a warp) stands behind the few names of gpu.cuh, and ../../test/cuda_host.h has their twins, with
 * which the same kernels run on the host, thread by thread, and are compared with the reference. Compiled without
 * contraction and with the IEEE's own division and root, a kernel gives the same bits on both.
 *
 * A kernel takes one argument, a struct by value, called a. KERNEL(name, threads of a block, struct) begins one;
 * LAUNCH(name, device, blocks, blocks in the second direction, bytes of SHARED memory, argument) enqueues it.
 *
 * The promise of backend.h, kept here: sums over k in a product run in pieces of PIECE numbers, each a chain of fused
 * multiply-adds from zero, added in order; attention walks its keys in blocks of KEYS absolute positions, and blocks
 * are merged in order. Both are fixed whatever the number of rows, slots or blocks that run at once.
 */
#ifndef CUDA_CUH
#define CUDA_CUH
#include <math.h>
#include <string.h>
#ifdef __cplusplus
extern "C" {
#endif
#include "../backend.h"
#include "../base/error.h"
#include "../base/mem.h"
#ifdef __cplusplus
}
#endif
#ifndef CUDA_HOST_H
#include "gpu.cuh"
#endif

enum {
    WARP = 32,
    PIECE = 64, /* numbers of one chain in a product; train_rl.cu and the tests say so too */
    WAVE = 64,  /* gradient blocks whose partial sums are held at once */
    THREADS = 256
};

static inline float *reals(Dev x)
{
    return (float *)x.p;
}

static inline size_t pieces_of(size_t n, size_t size)
{
    return (n + size - 1) / size;
}

/* The scratch memory, at least so many bytes of it. */
static inline float *scratch_of(const struct device *d, size_t bytes)
{
    if (d->scratch_bytes < bytes)
        die("scratch memory: a row needs %zu bytes, %zu are reserved; call device_reserve with the largest shape",
            bytes, d->scratch_bytes);
    return (float *)d->scratch;
}

/* ---- numbers, as in ../cpu/vec.h ---- */

DEVICE int bits_of(float x)
{
    int i;
    memcpy(&i, &x, sizeof i);
    return i;
}

DEVICE float float_of(int i)
{
    float x;
    memcpy(&x, &i, sizeof x);
    return x;
}

/* bf16 is the upper half of a float; rounded to the nearest, ties to even. NaN stays one. */
EITHER float of_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

EITHER uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Number i of a tensor of either kind. */
DEVICE float get(Dev x, size_t i)
{
    return x.bf16 ? of_bf16(((const uint16_t *)x.p)[i]) : ((const float *)x.p)[i];
}

DEVICE void put(Dev x, size_t i, float value)
{
    if (x.bf16)
        ((uint16_t *)x.p)[i] = to_bf16(value);
    else
        ((float *)x.p)[i] = value;
}

DEVICE float larger(float a, float b)
{
    return a > b ? a : b;
}

/* Four numbers at once, from an address divisible by 16. */
struct four {
    float at[4];
} __attribute__((aligned(16)));

DEVICE void load_four(float *to, const float *from)
{
    struct four x = *(const struct four *)(const void *)from;
    for (int i = 0; i < 4; i++)
        to[i] = x.at[i];
}

/* e^x, within about 1 ulp; 0 below -87.33; NaN stays NaN. x = n ln 2 + r, a polynomial for e^r, 2^n in two factors. */
DEVICE float exp_of(float x)
{
    const float magic = 0x1.8p23f; /* adding it rounds to an integer, which then stands in the low bits */
    int tiny = x < -87.33f;
    x = tiny ? 0.0f : x;
    x = x > 90.0f ? 90.0f : x;
    float t = fmaf(x, 0x1.715476p0f, magic), n = t - magic;
    float r = fmaf(n, -0.693359375f, x);
    r = fmaf(n, 0.00021219444f, r);
    float p = 0.001392692661f;
    p = fmaf(p, r, 0.008363773874f);
    p = fmaf(p, r, 0.04166655011f);
    p = fmaf(p, r, 0.1666657338f);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r * r, r) + 1.0f;
    int whole = bits_of(t) - bits_of(magic), half = whole >> 1;
    if (x != x)
        return x;
    p = p * float_of((int)((unsigned)(half + 127) << 23)) * float_of((int)((unsigned)(whole - half + 127) << 23));
    return tiny ? 0.0f : p;
}

/* Natural logarithm, within about 1 ulp, of positive normal numbers; infinity and NaN stay. */
DEVICE float log_of(float x)
{
    int bits = bits_of(x), n = (bits - 0x3f3504f3) >> 23; /* mantissa from sqrt(1/2) to sqrt(2) */
    if (bits >= 0x7f800000)
        return x;
    float f = float_of(bits - (int)((unsigned)n << 23)) - 1.0f, e = (float)n;
    float p = 0.06971611471f;
    p = fmaf(p, f, -0.1147973385f);
    p = fmaf(p, f, 0.1168541992f);
    p = fmaf(p, f, -0.1242568733f);
    p = fmaf(p, f, 0.1424905765f);
    p = fmaf(p, f, -0.1666780232f);
    p = fmaf(p, f, 0.2000071575f);
    p = fmaf(p, f, -0.2499999696f);
    p = fmaf(p, f, 0.3333333118f);
    float ff = f * f, low = fmaf(p * f, ff, e * -0.00021219444f);
    low = fmaf(-0.5f, ff, low);
    return fmaf(e, 0.693359375f, f + low);
}

DEVICE float sigmoid_of(float x)
{
    return 1.0f / (1.0f + exp_of(-x));
}

/* ---- sums and maxima over the THREADS threads of a block, in a fixed order; every thread gets the result ---- */

DEVICE float block_sum(float x)
{
    SHARED float part[THREADS / WARP];
    float warp = warp_sum(x), sum = 0;
    block_wait();
    if (THREAD % WARP == 0)
        part[THREAD / WARP] = warp;
    block_wait();
    for (int i = 0; i < THREADS / WARP; i++)
        sum += part[i];
    return sum;
}

DEVICE float block_max(float x)
{
    SHARED float part[THREADS / WARP];
    float warp = warp_max(x), most = -INFINITY;
    block_wait();
    if (THREAD % WARP == 0)
        part[THREAD / WARP] = warp;
    block_wait();
    for (int i = 0; i < THREADS / WARP; i++)
        most = larger(most, part[i]);
    return most;
}

/* Runs of 16 threads first. */
DEVICE double block_sum_double(double x)
{
    SHARED double part[THREADS], run[16];
    double sum = 0;
    block_wait();
    part[THREAD] = x;
    block_wait();
    for (int i = 0; THREAD < 16 && i < THREADS / 16; i++)
        sum += part[THREAD * (THREADS / 16) + i];
    if (THREAD < 16)
        run[THREAD] = sum;
    block_wait();
    sum = 0;
    for (int i = 0; i < 16; i++)
        sum += run[i];
    return sum;
}

#endif
