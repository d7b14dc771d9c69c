/* One kernel for each size of tile, from one body; see tile.h. */
#include "tile.h"

INLINE const float *b_vector(const struct tile *t, const float *b, int v)
{
    return b + (v & 1) * t->bv + (v >> 1) * t->bp;
}

/* What the chain starts from; what it ends in. */
INLINE void tile_load(const int rows, const int vectors, vec acc[TILE_ROWS][8], const float *c, ptrdiff_t cr,
                      enum tile_mode mode)
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = mode == TILE_CHAIN ? vload(c + r * cr + v * LANES) : vset(0.0f);
    }
}

INLINE void tile_store(const int rows, const int vectors, vec acc[TILE_ROWS][8], float *c, ptrdiff_t cr,
                       enum tile_mode mode, const float *bias)
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            vec y = acc[r][v];
            if (mode == TILE_ADD)
                y = vload(c + r * cr + v * LANES) + y;
            if (bias)
                y = y + vload(bias + v * LANES);
            vstore(c + r * cr + v * LANES, y);
        }
    }
}

INLINE void tile_body(const int rows, const int vectors, const int ask, const struct tile *t, const float *a,
                      const float *b, long k, float *c, enum tile_mode mode, const float *bias)
{
    vec acc[TILE_ROWS][8], w[8];
    const ptrdiff_t ar = t->ar, ak = t->ak, bk = t->bk, cr = t->cr, ahead = t->ahead;
    tile_load(rows, vectors, acc, c, cr, mode);
    for (; k > 0; k--) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            w[v] = vload(b_vector(t, b, v));
            if (ask)
                __builtin_prefetch(b_vector(t, b, v) + ahead, 0, 2);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec x = vset(a[r * ar]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = vfma(x, w[v], acc[r][v]);
        }
        a += ak;
        b += bk;
    }
    tile_store(rows, vectors, acc, c, cr, mode, bias);
}

/* Every other row is read by its multiplications, which saves instructions without asking more of the cache than it
 * gives. */
INLINE void packed_step(const int rows, vec acc[TILE_ROWS][8], const float *a, const float *b)
{
    vec w0 = vload(b), w1 = vload(b + LANES);
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (r % 2) {
            acc[r][0] = vfma_at(a + r, w0, acc[r][0]);
            acc[r][1] = vfma_at(a + r, w1, acc[r][1]);
        } else {
            vec x = vset(a[r]);
            acc[r][0] = vfma(x, w0, acc[r][0]);
            acc[r][1] = vfma(x, w1, acc[r][1]);
        }
    }
}

INLINE void packed_body(const int rows, const float *a, const float *b, long k, float *c, ptrdiff_t cr,
                        enum tile_mode mode, const float *bias, const struct ask *ask)
{
    vec acc[TILE_ROWS][8];
    tile_load(rows, 2, acc, c, cr, mode);
    const float *at = ask->at;
    for (long left = ask->places; k >= 4; k -= 4) {
        __builtin_prefetch(at);
        __builtin_prefetch(at + LANES);
        at += ask->step;
        if (--left == 0) {
            ask++;
            at = ask->at;
            left = ask->places;
        }
        packed_step(rows, acc, a, b);
        packed_step(rows, acc, a + TILE_PACK, b + PANEL);
        packed_step(rows, acc, a + 2 * TILE_PACK, b + 2 * PANEL);
        packed_step(rows, acc, a + 3 * TILE_PACK, b + 3 * PANEL);
        a += 4 * TILE_PACK;
        b += 4 * PANEL;
    }
    for (; k > 0; k--, a += TILE_PACK, b += PANEL)
        packed_step(rows, acc, a, b);
    tile_store(rows, 2, acc, c, cr, mode, bias);
}

/* The sizes of tile.h. */
#define TO_6(f)                                                                                                        \
    f(1, 1) f(1, 2) f(2, 1) f(2, 2) f(3, 1) f(3, 2) f(4, 1) f(4, 2) f(5, 1) f(5, 2) f(6, 1) f(6, 2) f(1, 4) f(2, 4)    \
        f(3, 4) f(1, 8)
#define TO_12(f)                                                                                                       \
    f(7, 1) f(7, 2) f(8, 1) f(8, 2) f(9, 1) f(9, 2) f(10, 1) f(10, 2) f(11, 1) f(11, 2) f(12, 1) f(12, 2) f(4, 4)      \
        f(5, 4) f(6, 4) f(2, 8) f(3, 8)
#define TO_14(f)     f(13, 1) f(13, 2) f(14, 1) f(14, 2)
#define PACKED_6(f)  f(1) f(2) f(3) f(4) f(5) f(6)
#define PACKED_12(f) f(7) f(8) f(9) f(10) f(11) f(12)
#define PACKED_14(f) f(13) f(14)
#if defined(__AVX512F__)
#define EACH_PACKED(f) PACKED_6(f) PACKED_12(f) PACKED_14(f)
#elif defined(__FMA__)
#define EACH_PACKED(f) PACKED_6(f)
#else
#define EACH_PACKED(f) PACKED_6(f) PACKED_12(f)
#endif
#if defined(__AVX512F__)
#define EACH_KERNEL(f) TO_6(f) TO_12(f) TO_14(f)
#elif defined(__FMA__)
#define EACH_KERNEL(f) TO_6(f)
#else
#define EACH_KERNEL(f) TO_6(f) TO_12(f)
#endif

/* Asking for what lies ahead costs a tenth where it is of no use: kernels of their own. */
#define DEFINE(rows, vectors)                                                                                          \
    static void tile_##rows##_##vectors(const struct tile *t, const float *a, const float *b, long k, float *c,        \
                                        enum tile_mode mode, const float *bias)                                        \
    {                                                                                                                  \
        tile_body(rows, vectors, 0, t, a, b, k, c, mode, bias);                                                        \
    }                                                                                                                  \
    static void tile_##rows##_##vectors##_ahead(const struct tile *t, const float *a, const float *b, long k,          \
                                                float *c, enum tile_mode mode, const float *bias)                      \
    {                                                                                                                  \
        tile_body(rows, vectors, 1, t, a, b, k, c, mode, bias);                                                        \
    }
#define ENTRY(rows, vectors) [rows][vectors] = {tile_##rows##_##vectors, tile_##rows##_##vectors##_ahead},

EACH_KERNEL(DEFINE)

typedef void kernel(const struct tile *t, const float *a, const float *b, long k, float *c, enum tile_mode mode,
                    const float *bias);
static kernel *const kernels[TILE_ROWS + 1][9][2] = {EACH_KERNEL(ENTRY)};

void tile(const struct tile *t, int rows, int vectors, const float *a, const float *b, long k, float *c,
          enum tile_mode mode, const float *bias)
{
    kernels[rows][vectors][t->ahead != 0](t, a, b, k, c, mode, bias);
}

#define DEFINE_PACKED(rows)                                                                                            \
    static void packed_##rows(const float *a, const float *b, long k, float *c, ptrdiff_t cr, enum tile_mode mode,     \
                              const float *bias, const struct ask *ask)                                                \
    {                                                                                                                  \
        packed_body(rows, a, b, k, c, cr, mode, bias, ask);                                                            \
    }
#define ENTRY_PACKED(rows) packed_##rows,

EACH_PACKED(DEFINE_PACKED)

typedef void packed_kernel(const float *a, const float *b, long k, float *c, ptrdiff_t cr, enum tile_mode mode,
                           const float *bias, const struct ask *ask);
static packed_kernel *const packed_kernels[TILE_ROWS] = {EACH_PACKED(ENTRY_PACKED)};

void tile_packed(int rows, const float *a, const float *b, long k, float *c, ptrdiff_t cr, enum tile_mode mode,
                 const float *bias, const struct ask *ask)
{
    packed_kernels[rows - 1](a, b, k, c, cr, mode, bias, ask);
}
