/* The inner loop of every product: c[r][v] += sum over k of a[r][k] * b[k][v], lanes along v, one fused multiply-add
 * after the other in the order of k. Forward, both gradients and attention differ only in where a, b and c point.
 *
 * To tune for a new processor: TILE_ROWS accumulators of two vectors must fit its registers beside two vectors of b and
 * one broadcast; fewer rows may use four or eight vectors. No result depends on any of it.
 */
#ifndef CPU_TILE_H
#define CPU_TILE_H
#include <limits.h>
#include <stddef.h>
#include "vec.h"

#if defined(__AVX512F__)
enum { TILE_ROWS = 14, TILE_ROWS4 = 6, TILE_ROWS8 = 3 };
#elif defined(__FMA__)
enum { TILE_ROWS = 6, TILE_ROWS4 = 3, TILE_ROWS8 = 1 };
#else
enum { TILE_ROWS = 12, TILE_ROWS4 = 6, TILE_ROWS8 = 3 };
#endif

/* Distance of the steps of packed rows. */
enum { TILE_PACK = (TILE_ROWS + LANES - 1) / LANES * LANES };

/* Strides in floats. Vector v of b lies at (v & 1) * bv + (v >> 1) * bp; vector v of c at v * LANES. `next`: what
 * tile_asking asks for. */
struct tile {
    ptrdiff_t ar, bk, bv, bp, cr;
    const float *next;
};

enum tile_mode {
    TILE_ZERO,  /* c = chain from zero */
    TILE_CHAIN, /* the chain goes on from what is in c */
    TILE_ADD    /* c = c + chain from zero: one rounding */
};

/* rows 1..TILE_ROWS, vectors 1 or 2; 4 with rows <= TILE_ROWS4, 8 with rows <= TILE_ROWS8. k >= 0 steps. bias: vectors
 * added to every row at the end, or NULL. */
void tile(const struct tile *t, int rows, int vectors, const float *a, const float *b, long k, float *c,
          enum tile_mode mode, const float *bias);

/* tile, which on its way asks for what the next call reads from memory: a line a step, or as much as k steps of the
 * panels at b (two of them, bp apart, or one). With one vector it is to be in the first cache then, else in the second.
 */
enum tile_ask { ASK_NOTHING, ASK_LINE, ASK_PANELS };
void tile_asking(const struct tile *t, enum tile_ask ask, int rows, int vectors, const float *a, const float *b, long k,
                 float *c, enum tile_mode mode, const float *bias);

/* tile with a step's numbers side by side, a[k * ak + r], and vectors too, b[k * bk + v * LANES]. vectors 1 or 2. */
void tile_steps(int rows, int vectors, const float *a, ptrdiff_t ak, const float *b, ptrdiff_t bk, long k, float *c,
                ptrdiff_t cr, enum tile_mode mode);

/* What a call asks for from memory on its way, spread evenly: two neighbouring vectors at each of so many places. A
 * list of these ends with ASK_END. */
struct ask {
    const float *at;
    ptrdiff_t step; /* from place to place */
    long places;    /* at least 1 */
};
#define ASK_END(near) ((struct ask){near, 0, LONG_MAX}) /* near: anything that lies in the cache */

/* tile with two vectors in one panel and the rows packed by step: a[k * TILE_PACK + r], b[k * PANEL + column]. A place
 * of `ask` is asked for every four steps. */
void tile_packed(int rows, const float *a, const float *b, long k, float *c, ptrdiff_t cr, enum tile_mode mode,
                 const float *bias, const struct ask *ask);

/* Cut n rows into equal tiles of at most TILE_ROWS: number of tiles, and where tile i begins. */
static inline int tile_count(int n)
{
    return (n + TILE_ROWS - 1) / TILE_ROWS;
}

static inline int tile_first(int n, int i)
{
    int tiles = tile_count(n);
    return n / tiles * i + (i < n % tiles ? i : n % tiles);
}

static inline int tile_end(int n, int i)
{
    return i + 1 < tile_count(n) ? tile_first(n, i + 1) : n;
}

#endif
