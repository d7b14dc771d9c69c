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
#if defined(__AVX512F__)
    return (vec)_mm512_mask_loadu_ps(_mm512_set1_ps(fill), (__mmask16)((1u << n) - 1), p);
#else
    float x[LANES];
    for (int i = 0; i < LANES; i++)
        x[i] = i < n ? p[i] : fill;
    return vload(x);
#endif
}

INLINE void vstore_n(float *p, vec v, long n)
{
    if (n >= LANES) {
        vstore(p, v);
        return;
    }
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    float x[LANES];
    vstore(x, v);
    for (int i = 0; i < n; i++)
        p[i] = x[i];
#endif
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
    return (ivec){0} + x;
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

/* *a * b + c, the number read by the multiplication itself where it can: one instruction less, which counts where two
 * threads share a core. Compilers would read it once for several. */
INLINE vec vfma_at(const float *a, vec b, vec c)
{
#if defined(__AVX512F__)
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(b), "m"(*a));
    return c;
#else
    return vfma(vset(*a), b, c);
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

/* Whether any lane of a comparison's mask is set. */
INLINE int vany(ivec mask)
{
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__FMA__)
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    int32_t any = 0;
    for (int i = 0; i < LANES; i++)
        any |= mask[i];
    return any != 0;
#endif
}

/* a > b ? a : b, and so b when one is NaN; likewise vmin. */
INLINE vec vmax(vec a, vec b)
{
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__FMA__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vselect(a > b, a, b);
#endif
}

INLINE vec vmin(vec a, vec b)
{
#if defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__FMA__)
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vselect(a < b, a, b);
#endif
}

/* 0, 1, 2 ... */
INLINE ivec vcount(void)
{
    ivec v;
    for (int i = 0; i < LANES; i++)
        v[i] = i;
    return v;
}

/* Shuffle indices f(lane, h) of all lanes. */
#define INDEX4(f, l, h) f((l), h), f((l) + 1, h), f((l) + 2, h), f((l) + 3, h)
#if defined(__AVX512F__)
#define INDEX(f, h) INDEX4(f, 0, h), INDEX4(f, 4, h), INDEX4(f, 8, h), INDEX4(f, 12, h)
#elif defined(__FMA__)
#define INDEX(f, h) INDEX4(f, 0, h), INDEX4(f, 4, h)
#else
#define INDEX(f, h) INDEX4(f, 0, h)
#endif
#define ROTATED(l, h) (((l) + (h)) & (LANES - 1))
#define ROTATE(x, h)  __builtin_shufflevector(x, x, INDEX(ROTATED, h))

/* The fixed tree over 16 lanes: lane i takes lane i + 8, then i + 4, i + 2, i + 1. */
INLINE float tree_sum(const vec part[PARTS])
{
    vec x[PARTS];
    for (int i = 0; i < PARTS; i++)
        x[i] = part[i];
    for (int half = PARTS / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            x[i] = x[i] + x[i + half];
#if defined(__AVX512F__)
    x[0] = x[0] + ROTATE(x[0], 8);
#endif
#if defined(__AVX512F__) || defined(__FMA__)
    x[0] = x[0] + ROTATE(x[0], 4);
#endif
    x[0] = x[0] + ROTATE(x[0], 2);
    x[0] = x[0] + ROTATE(x[0], 1);
    return x[0][0];
}

INLINE float tree_max(vec x)
{
#if defined(__AVX512F__)
    x = vmax(x, ROTATE(x, 8));
#endif
#if defined(__AVX512F__) || defined(__FMA__)
    x = vmax(x, ROTATE(x, 4));
#endif
    x = vmax(x, ROTATE(x, 2));
    return vmax(x, ROTATE(x, 1))[0];
}

/* e^x, within about 1 ulp; 0 where the result would be subnormal (x < -87.33), which is never computed because
 * processors take a hundred cycles for it. NaN stays NaN. x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial of degree 6
 * for e^r, and 2^n in two factors because n = 128 leaves the range of one exponent. */
INLINE vec vexp(vec x)
{
    const vec magic = vset(0x1.8p23f), lowest = vset(-87.33f);
#if defined(__AVX512F__) /* the last instruction leaves these lanes 0, whatever they held */
    __mmask16 kept = _mm512_cmp_ps_mask((__m512)x, (__m512)lowest, _CMP_NLT_UQ);
#else
    ivec tiny = x < lowest;
    x = vselect(tiny, vset(0.0f), x);
#endif
    x = vmin(vset(90.0f), x); /* in this order of operands NaN stays */
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
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_scalef_ps(kept, (__m512)p, (__m512)n);
#else
    ivec whole = (ivec)t - (ivec)magic, half = whole >> 1;
    vec scale1 = (vec)((half + 127) << 23), scale2 = (vec)((whole - half + 127) << 23);
    return vselect(tiny, vset(0.0f), p * scale1 * scale2);
#endif
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
