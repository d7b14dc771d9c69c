/* Transposition of square blocks in registers: log2(LANES) steps of exchanging halves. */
#ifndef CPU_TRANSPOSE_H
#define CPU_TRANSPOSE_H
#include "vec.h"

/* Lane l of the two results of one step: bit `h` of row number and lane number change places. */
#define FROM_LOW(l, h)  ((l) & (h) ? LANES + (l) - (h) : (l))
#define FROM_HIGH(l, h) ((l) & (h) ? LANES + (l) : (l) + (h))
#define EXCHANGE(x, h)                                                                                                 \
    UNROLL                                                                                                             \
    for (int i = 0; i < LANES; i++)                                                                                    \
        if (!(i & (h))) {                                                                                              \
            vec low = __builtin_shufflevector(x[i], x[i + (h)], INDEX(FROM_LOW, h));                                   \
            x[i + (h)] = __builtin_shufflevector(x[i], x[i + (h)], INDEX(FROM_HIGH, h));                               \
            x[i] = low;                                                                                                \
        }

/* Lane j of vector i and lane i of vector j change places. */
INLINE void transpose_vectors(vec x[LANES])
{
#if defined(__AVX512F__)
    EXCHANGE(x, 8);
#endif
#if defined(__AVX512F__) || defined(__FMA__)
    EXCHANGE(x, 4);
#endif
    EXCHANGE(x, 2);
    EXCHANGE(x, 1);
}

/* to[c][r] = from[r][c] for rows and columns up to LANES; strides in floats. What lies outside is neither read nor
 * written. */
INLINE void transpose_block(float *to, size_t to_stride, const float *from, size_t from_stride, int rows, int columns)
{
    vec x[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++)
        x[i] = i < rows ? vload_n(from + (size_t)i * from_stride, columns, 0) : vset(0.0f);
    transpose_vectors(x);
    UNROLL
    for (int i = 0; i < LANES; i++)
        if (i < columns)
            vstore_n(to + (size_t)i * to_stride, x[i], rows);
}

/* to[c][r] = row[r][at + c] for LANES rows, c < columns; all lanes of `to` are written. */
INLINE void transpose_rows(float *to, size_t to_stride, const float *const row[LANES], long at, long columns)
{
    vec x[LANES];
    if (columns >= LANES) {
        UNROLL
        for (int i = 0; i < LANES; i++)
            x[i] = vload(row[i] + at);
    } else
        for (int i = 0; i < LANES; i++)
            x[i] = vload_n(row[i] + at, columns, 0);
    transpose_vectors(x);
    UNROLL
    for (int i = 0; i < LANES; i++)
        if (i < columns)
            vstore(to + (size_t)i * to_stride, x[i]);
}

/* The same for any size. */
static inline void transpose(float *to, size_t to_stride, const float *from, size_t from_stride, int rows, int columns)
{
    for (int r = 0; r < rows; r += LANES)
        for (int c = 0; c < columns; c += LANES) {
            const float *f = from + (size_t)r * from_stride + c;
            float *t = to + (size_t)c * to_stride + r;
            if (r + LANES <= rows && c + LANES <= columns)
                transpose_block(t, to_stride, f, from_stride, LANES, LANES);
            else
                transpose_block(t, to_stride, f, from_stride, rows - r < LANES ? rows - r : LANES,
                                columns - c < LANES ? columns - c : LANES);
        }
}

#endif
