/* One kernel for each size of tile, from one body; see tile.h. */
#include "tile.h"

INLINE const float *b_vector(const struct tile *t, const float *b, int v)
{
    return b + (v & 1) * t->bv + (v >> 1) * t->bp;
}

INLINE void tile_body(const int rows, const int vectors, const struct tile *t, const float *a, const float *b, long k, float *c,
                      enum tile_mode mode, const float *bias)
{
    vec acc[TILE_ROWS][8];
    const ptrdiff_t ar = t->ar, ak = t->ak, bk = t->bk, cr = t->cr;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++)
            acc[r][v] = mode == TILE_CHAIN ? vload(c + r * cr + v * LANES) : vset(0.0f);
    for (; k > 0; k--) {
        vec w[8];
        UNROLL for (int v = 0; v < vectors; v++)
            w[v] = vload(b_vector(t, b, v));
        UNROLL for (int r = 0; r < rows; r++) {
            vec x = vset(a[r * ar]);
            UNROLL for (int v = 0; v < vectors; v++)
                acc[r][v] = vfma(x, w[v], acc[r][v]);
        }
        a += ak;
        b += bk;
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            vec y = acc[r][v];
            if (mode == TILE_ADD)
                y = vload(c + r * cr + v * LANES) + y;
            if (bias)
                y = y + vload(bias + v * LANES);
            vstore(c + r * cr + v * LANES, y);
        }
}

typedef void kernel(const struct tile *t, const float *a, const float *b, long k, float *c, enum tile_mode mode,
                    const float *bias);

#define KERNEL(rows, vectors)                                                                                          \
    static void tile_##rows##_##vectors(const struct tile *t, const float *a, const float *b, long k, float *c,        \
                                        enum tile_mode mode, const float *bias)                                        \
    {                                                                                                                  \
        tile_body(rows, vectors, t, a, b, k, c, mode, bias);                                                           \
    }
#define KERNELS(rows) KERNEL(rows, 1) KERNEL(rows, 2)
#define NAMES(rows) {tile_##rows##_1, tile_##rows##_2}

KERNELS(1) KERNELS(2) KERNELS(3) KERNELS(4) KERNELS(5) KERNELS(6)
#if !defined(__FMA__) || defined(__AVX512F__)
KERNELS(7) KERNELS(8) KERNELS(9) KERNELS(10) KERNELS(11) KERNELS(12)
#endif
#if defined(__AVX512F__)
KERNELS(13) KERNELS(14)
#endif

static kernel *const narrow[TILE_ROWS][2] = {
    NAMES(1), NAMES(2), NAMES(3), NAMES(4), NAMES(5), NAMES(6),
#if !defined(__FMA__) || defined(__AVX512F__)
    NAMES(7), NAMES(8), NAMES(9), NAMES(10), NAMES(11), NAMES(12),
#endif
#if defined(__AVX512F__)
    NAMES(13), NAMES(14),
#endif
};

KERNEL(1, 4) KERNEL(2, 4) KERNEL(3, 4) KERNEL(1, 8)
#if !defined(__FMA__) || defined(__AVX512F__)
KERNEL(4, 4) KERNEL(5, 4) KERNEL(6, 4) KERNEL(2, 8) KERNEL(3, 8)
#endif

static kernel *const wide4[TILE_ROWS4] = {tile_1_4, tile_2_4, tile_3_4,
#if !defined(__FMA__) || defined(__AVX512F__)
    tile_4_4, tile_5_4, tile_6_4,
#endif
};
static kernel *const wide8[TILE_ROWS8] = {tile_1_8,
#if !defined(__FMA__) || defined(__AVX512F__)
    tile_2_8, tile_3_8,
#endif
};

void tile(const struct tile *t, int rows, int vectors, const float *a, const float *b, long k, float *c, enum tile_mode mode,
          const float *bias)
{
    kernel *f = vectors == 8 ? wide8[rows - 1] : vectors == 4 ? wide4[rows - 1] : narrow[rows - 1][vectors - 1];
    f(t, a, b, k, c, mode, bias);
}
