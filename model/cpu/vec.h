/* A vector of floats as wide as the processor's registers, and the few functions of it that the rows need.
 *
 * Not a general library: only fp32, only what is used. Loads, stores, arithmetic and comparisons are the compiler's own
 * vector types; an instruction is named only where C cannot say it (fused multiply-add, square root), and each such
 * place has a plain loop as well, so a new processor works before it is fast.
 *
 * Sums over lanes are always over 16 lanes (GROUP) and one fixed tree, whatever the width of the registers is, so that
 * builds for different instruction sets round alike.
 */
#ifndef CPU_VEC_H
#define CPU_VEC_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define VEC_LANES 16
#elif defined(__FMA__)
#define VEC_LANES 8
#else
#define VEC_LANES 4
#endif
/* Lanes of a vector; lanes of a sum over lanes, and vectors that hold them; outputs of a panel of weights; outputs of
 * two vectors, the usual tile. */
enum { LANES = VEC_LANES, GROUP = 16, PARTS = GROUP / LANES, PANEL = 32, TILE_COLUMNS = 2 * LANES };

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t ivec __attribute__((vector_size(LANES * 4)));

INLINE vec vload(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void vstore(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

/* The first n floats (0 <= n), the rest of the lanes filled; never reads past p[n-1]. */
INLINE vec vload_n(const float *p, long n, float fill)
{
    if (n >= LANES)
        return vload(p);
    float x[LANES];
    for (int i = 0; i < LANES; i++)
        x[i] = i < n ? p[i] : fill;
    return vload(x);
}

INLINE void vstore_n(float *p, vec v, long n)
{
    if (n >= LANES) {
        vstore(p, v);
        return;
    }
    float x[LANES];
    vstore(x, v);
    for (int i = 0; i < n; i++)
        p[i] = x[i];
}

/* Every lane named: "zero + x" would be an addition, and would lose the sign of -0. */
INLINE vec vset(float x)
{
#if defined(__AVX512F__)
    return (vec){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif defined(__FMA__)
    return (vec){x, x, x, x, x, x, x, x};
#else
    return (vec){x, x, x, x};
#endif
}

INLINE ivec vset_int(int32_t x)
{
    ivec v;
    for (int i = 0; i < LANES; i++)
        v[i] = x;
    return v;
}

/* a*b + c, rounded once. The build forbids the compiler to contract, so this is the only place where one is made. */
INLINE vec vfma(vec a, vec b, vec c)
{
#if defined(__AVX512F__)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    for (int i = 0; i < LANES; i++)
        c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#endif
}

INLINE vec vsqrt(vec a)
{
#if defined(__AVX512F__)
    return (vec)_mm512_sqrt_ps((__m512)a);
#elif defined(__FMA__)
    return (vec)_mm256_sqrt_ps((__m256)a);
#else
    for (int i = 0; i < LANES; i++)
        a[i] = sqrtf(a[i]);
    return a;
#endif
}

/* yes where the mask (of a comparison) is all ones, no elsewhere */
INLINE vec vselect(ivec mask, vec yes, vec no)
{
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}

INLINE vec vmax(vec a, vec b)
{
    return vselect(a > b, a, b);
}

/* The fixed tree over 16 lanes. */
INLINE float tree_sum(const vec part[PARTS])
{
    float x[GROUP];
    for (int i = 0; i < PARTS; i++)
        vstore(x + i * LANES, part[i]);
    for (int half = GROUP / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            x[i] = x[i] + x[i + half];
    return x[0];
}

INLINE float tree_max(vec a)
{
    float x[LANES];
    vstore(x, a);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            x[i] = x[i] > x[i + half] ? x[i] : x[i + half];
    return x[0];
}

/* e^x, within about 1 ulp on the whole range, subnormal results included; NaN stays NaN.
 * x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial of degree 6 for e^r, and 2^n in two factors because n may leave the
 * range of one exponent. */
INLINE vec vexp(vec x)
{
    const vec magic = vset(0x1.8p23f); /* adding it rounds to an integer, which then stands in the low bits */
    x = vselect(x < vset(-110.0f), vset(-110.0f), x);
    x = vselect(x > vset(90.0f), vset(90.0f), x);
    vec t = vfma(x, vset(0x1.715476p0f), magic);
    vec n = t - magic;
    vec r = vfma(n, vset(-0.693359375f), x);
    r = vfma(n, vset(0.00021219444f), r);
    vec p = vset(0.001392692661f);
    p = vfma(p, r, vset(0.008363773874f));
    p = vfma(p, r, vset(0.04166655011f));
    p = vfma(p, r, vset(0.1666657338f));
    p = vfma(p, r, vset(0.5f));
    p = vfma(p, r * r, r) + vset(1.0f);
    ivec whole = (ivec)t - (ivec)magic, half = whole >> 1;
    vec scale1 = (vec)((half + 127) << 23), scale2 = (vec)((whole - half + 127) << 23);
    return p * scale1 * scale2;
}

/* Natural logarithm, within about 1 ulp, of positive normal numbers; infinity and NaN stay. */
INLINE vec vlog(vec x)
{
    ivec bits = (ivec)x;
    ivec n = (bits - 0x3f3504f3) >> 23; /* mantissa from sqrt(1/2) to sqrt(2) */
    vec f = (vec)(bits - (n << 23)) - vset(1.0f);
    vec e = __builtin_convertvector(n, vec);
    vec p = vset(0.06971611471f);
    p = vfma(p, f, vset(-0.1147973385f));
    p = vfma(p, f, vset(0.1168541992f));
    p = vfma(p, f, vset(-0.1242568733f));
    p = vfma(p, f, vset(0.1424905765f));
    p = vfma(p, f, vset(-0.1666780232f));
    p = vfma(p, f, vset(0.2000071575f));
    p = vfma(p, f, vset(-0.2499999696f));
    p = vfma(p, f, vset(0.3333333118f));
    vec ff = f * f;
    vec low = vfma(p * f, ff, e * vset(-0.00021219444f)); /* ln 2 in two parts, the first exact in e * high */
    low = vfma(vset(-0.5f), ff, low);
    vec y = vfma(e, vset(0.693359375f), f + low);
    return vselect((bits >= 0x7f800000), x, y);
}

/* 1 / (1 + e^-x) */
INLINE vec vsigmoid(vec x)
{
    return vset(1.0f) / (vset(1.0f) + vexp(-x));
}

INLINE float exp_one(float x)
{
    float y[LANES];
    vstore(y, vexp(vset(x)));
    return y[0];
}

INLINE float log_one(float x)
{
    float y[LANES];
    vstore(y, vlog(vset(x)));
    return y[0];
}

#endif
