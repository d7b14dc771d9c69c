/* One kernel for each size of tile, from two bodies; see tile.h. */
#include "tile.h"

/* What stands between two steps is kept from the compiler: it would work out every address of a tile ahead and keep
 * what does not fit its registers in memory, which costs a short tile as much as its multiplications. */
#define KEEP(x) __asm__("" : "+r"(x))

/* What the chain starts from; what it ends in. */
INLINE void tile_load(const int rows, const int vectors, vec acc[TILE_ROWS][8], const float *c, ptrdiff_t cr,
                      enum tile_mode mode)
{
    if (mode != TILE_CHAIN) {
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = vset(0.0f);
        }
        return;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = vload(c + v * LANES);
        c += cr;
        KEEP(c);
    }
}

INLINE void tile_store(const int rows, const int vectors, vec acc[TILE_ROWS][8], float *c, ptrdiff_t cr,
                       enum tile_mode mode, const float *bias)
{
    if (mode == TILE_ADD) {
        const float *old = c;
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = vload(old + v * LANES) + acc[r][v];
            old += cr;
            KEEP(old);
        }
    }
    if (bias) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            UNROLL
            for (int r = 0; r < rows; r++)
                acc[r][v] = acc[r][v] + vload(bias + v * LANES);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            vstore(c + v * LANES, acc[r][v]);
        c += cr;
        KEEP(c);
    }
}

/* Rows of a stand `far` bytes apart: every fifth one's address is kept, and two distances. */
enum { NEAR_ROWS = 5, BASES = (TILE_ROWS + NEAR_ROWS - 1) / NEAR_ROWS };
struct places {
    const char *row[BASES];
    ptrdiff_t far, far3;
};

INLINE const float *row_at(const struct places *p, const int r, const int i)
{
    const int near = r % NEAR_ROWS;
    return (const float *)(p->row[r / NEAR_ROWS] + (near == 3 ? p->far3 : near * p->far)) + i;
}

INLINE void rows_step(const int rows, const int vectors, vec acc[TILE_ROWS][8], const struct places *p, const int i,
                      const float *b, ptrdiff_t bv, ptrdiff_t bp)
{
    vec w[8];
    UNROLL
    for (int v = 0; v < vectors; v++)
        w[v] = vload(b + (v & 1) * bv + (v >> 1) * bp);
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (vectors == 1) {
            acc[r][0] = vfma_at(row_at(p, r, i), w[0], acc[r][0]);
            continue;
        }
        vec x = vset(*row_at(p, r, i));
        UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = vfma(x, w[v], acc[r][v]);
    }
}

INLINE void next_rows(const int rows, struct places *p, const int steps)
{
    UNROLL
    for (int i = 0; i < (rows + NEAR_ROWS - 1) / NEAR_ROWS; i++) {
        p->row[i] += steps * (int)sizeof(float);
        KEEP(p->row[i]);
    }
    KEEP(p->far);
    KEEP(p->far3);
}

/* What is asked for is asked for at four places in turn: one page after the other does not fill the memory's queue. Two
 * places `apart`, and two more from `second` on; `lines` of 64 bytes a step. */
struct asked {
    const float *first, *second;
    ptrdiff_t apart;
};

INLINE int lines_asked(const int vectors, const int ask)
{
    return ask == ASK_NOTHING ? 0 : ask == ASK_LINE ? 1 : vectors * LANES > PANEL ? 4 : 2;
}

INLINE struct asked asked_from(const int lines, const float *at, long k, ptrdiff_t bp)
{
    struct asked s = {.first = at, .apart = (lines == 4 ? k / 2 * PANEL : lines * (k / 4) * GROUP)};
    s.second = at + (lines == 4 ? bp : 2 * s.apart);
    return s;
}

/* Step i of four; into the first cache, or the second. */
INLINE void ask_step(const int lines, const int near, struct asked *s, const int i)
{
    if (lines == 0)
        return;
    const int place = lines * i % 4;
    UNROLL
    for (int j = place; j < place + lines; j++) {
        const float *at = (j < 2 ? s->first : s->second) + j % 2 * s->apart;
        if (near) /* the argument must be a constant */
            __builtin_prefetch(at, 0, 3);
        else
            __builtin_prefetch(at, 0, 2);
    }
    if (place + lines == 4) {
        s->first += GROUP;
        s->second += GROUP;
        KEEP(s->first);
        KEEP(s->second);
    }
}

INLINE void rows_body(const int rows, const int vectors, const int ask, const struct tile *t, const float *a,
                      const float *b, long k, float *c, enum tile_mode mode, const float *bias)
{
    enum { STEPS = 4 };
    vec acc[TILE_ROWS][8];
    const int lines = lines_asked(vectors, ask);
    const ptrdiff_t bk = t->bk, bv = t->bv, bp = t->bp;
    struct asked asked = asked_from(lines, t->next, k, bp);
    struct places p = {.far = t->ar * (int)sizeof *a};
    p.far3 = 3 * p.far;
    for (int i = 0; i < BASES; i++)
        p.row[i] = (const char *)a + i * NEAR_ROWS * p.far;
    next_rows(rows, &p, 0);
    tile_load(rows, vectors, acc, c, t->cr, mode);
    for (; k >= STEPS; k -= STEPS) {
        UNROLL
        for (int i = 0; i < STEPS; i++) {
            ask_step(lines, vectors == 1, &asked, i);
            rows_step(rows, vectors, acc, &p, i, b, bv, bp);
            b += bk;
            KEEP(b);
        }
        next_rows(rows, &p, STEPS);
    }
    for (; k > 0; k--) {
        rows_step(rows, vectors, acc, &p, 0, b, bv, bp);
        b += bk;
        KEEP(b);
        next_rows(rows, &p, 1);
    }
    tile_store(rows, vectors, acc, c, t->cr, mode, bias);
}

/* A step's numbers lie together. Every other row is read by its multiplications, which saves instructions without
 * asking more of the cache than it gives. */
INLINE void packed_step(const int rows, const int vectors, vec acc[TILE_ROWS][8], const float *a, const float *b)
{
    vec w0 = vload(b), w1 = vectors > 1 ? vload(b + LANES) : w0;
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (r % 2 || vectors == 1) {
            acc[r][0] = vfma_at(a + r, w0, acc[r][0]);
            if (vectors > 1)
                acc[r][1] = vfma_at(a + r, w1, acc[r][1]);
        } else {
            vec x = vset(a[r]);
            acc[r][0] = vfma(x, w0, acc[r][0]);
            acc[r][1] = vfma(x, w1, acc[r][1]);
        }
    }
}

INLINE void steps_body(const int rows, const int vectors, const float *a, ptrdiff_t ak, const float *b, ptrdiff_t bk,
                       long k, float *c, ptrdiff_t cr, enum tile_mode mode)
{
    vec acc[TILE_ROWS][8];
    tile_load(rows, vectors, acc, c, cr, mode);
    for (; k >= 2; k -= 2) {
        packed_step(rows, vectors, acc, a, b);
        a += ak;
        b += bk;
        packed_step(rows, vectors, acc, a, b);
        a += ak;
        b += bk;
    }
    if (k > 0)
        packed_step(rows, vectors, acc, a, b);
    tile_store(rows, vectors, acc, c, cr, mode, NULL);
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
        packed_step(rows, 2, acc, a, b);
        packed_step(rows, 2, acc, a + TILE_PACK, b + PANEL);
        packed_step(rows, 2, acc, a + 2 * TILE_PACK, b + 2 * PANEL);
        packed_step(rows, 2, acc, a + 3 * TILE_PACK, b + 3 * PANEL);
        a += 4 * TILE_PACK;
        b += 4 * PANEL;
    }
    for (; k > 0; k--, a += TILE_PACK, b += PANEL)
        packed_step(rows, 2, acc, a, b);
    tile_store(rows, 2, acc, c, cr, mode, bias);
}

/* The sizes of tile.h. */
#define TO_6(f)      f(1, 1) f(1, 2) f(2, 1) f(2, 2) f(3, 1) f(3, 2) f(4, 1) f(4, 2) f(5, 1) f(5, 2) f(6, 1) f(6, 2)
#define TO_12(f)     f(7, 1) f(7, 2) f(8, 1) f(8, 2) f(9, 1) f(9, 2) f(10, 1) f(10, 2) f(11, 1) f(11, 2) f(12, 1) f(12, 2)
#define TO_14(f)     f(13, 1) f(13, 2) f(14, 1) f(14, 2)
#define WIDE_6(f)    f(1, 4) f(2, 4) f(3, 4) f(1, 8)
#define WIDE_12(f)   f(4, 4) f(5, 4) f(6, 4) f(2, 8) f(3, 8)
#define PACKED_6(f)  f(1) f(2) f(3) f(4) f(5) f(6)
#define PACKED_12(f) f(7) f(8) f(9) f(10) f(11) f(12)
#define PACKED_14(f) f(13) f(14)
#if defined(__AVX512F__)
#define EACH_PACKED(f) PACKED_6(f) PACKED_12(f) PACKED_14(f)
#define EACH_SIZE(f)   TO_6(f) TO_12(f) TO_14(f)
#define EACH_WIDE(f)   WIDE_6(f) WIDE_12(f)
#elif defined(__FMA__)
#define EACH_PACKED(f) PACKED_6(f)
#define EACH_SIZE(f)   TO_6(f)
#define EACH_WIDE(f)   WIDE_6(f)
#else
#define EACH_PACKED(f) PACKED_6(f) PACKED_12(f)
#define EACH_SIZE(f)   TO_6(f) TO_12(f)
#define EACH_WIDE(f)   WIDE_6(f) WIDE_12(f)
#endif

/* Asking for what lies ahead costs a tenth where it is of no use: kernels of their own. */
#define DEFINE_ASKING(rows, vectors, ask)                                                                              \
    static void tile_##rows##_##vectors##_##ask(const struct tile *t, const float *a, const float *b, long k,          \
                                                float *c, enum tile_mode mode, const float *bias)                      \
    {                                                                                                                  \
        rows_body(rows, vectors, ask, t, a, b, k, c, mode, bias);                                                      \
    }
#define DEFINE(rows, vectors)                                                                                          \
    DEFINE_ASKING(rows, vectors, ASK_NOTHING)                                                                          \
    DEFINE_ASKING(rows, vectors, ASK_LINE)                                                                             \
    DEFINE_ASKING(rows, vectors, ASK_PANELS)
#define ENTRY(rows, vectors)                                                                                           \
    [rows][vectors] = {tile_##rows##_##vectors##_ASK_NOTHING, tile_##rows##_##vectors##_ASK_LINE,                      \
                       tile_##rows##_##vectors##_ASK_PANELS},

EACH_SIZE(DEFINE)
EACH_WIDE(DEFINE)

typedef void kernel(const struct tile *t, const float *a, const float *b, long k, float *c, enum tile_mode mode,
                    const float *bias);
static kernel *const kernels[TILE_ROWS + 1][9][ASK_PANELS + 1] = {EACH_SIZE(ENTRY) EACH_WIDE(ENTRY)};

void tile(const struct tile *t, int rows, int vectors, const float *a, const float *b, long k, float *c,
          enum tile_mode mode, const float *bias)
{
    kernels[rows][vectors][ASK_NOTHING](t, a, b, k, c, mode, bias);
}

void tile_asking(const struct tile *t, enum tile_ask ask, int rows, int vectors, const float *a, const float *b, long k,
                 float *c, enum tile_mode mode, const float *bias)
{
    kernels[rows][vectors][ask](t, a, b, k, c, mode, bias);
}

#define DEFINE_STEPS(rows, vectors)                                                                                    \
    static void steps_##rows##_##vectors(const float *a, ptrdiff_t ak, const float *b, ptrdiff_t bk, long k, float *c, \
                                         ptrdiff_t cr, enum tile_mode mode)                                            \
    {                                                                                                                  \
        steps_body(rows, vectors, a, ak, b, bk, k, c, cr, mode);                                                       \
    }
#define ENTRY_STEPS(rows, vectors) [rows][vectors] = steps_##rows##_##vectors,

EACH_SIZE(DEFINE_STEPS)

typedef void steps_kernel(const float *a, ptrdiff_t ak, const float *b, ptrdiff_t bk, long k, float *c, ptrdiff_t cr,
                          enum tile_mode mode);
static steps_kernel *const steps_kernels[TILE_ROWS + 1][3] = {EACH_SIZE(ENTRY_STEPS)};

void tile_steps(int rows, int vectors, const float *a, ptrdiff_t ak, const float *b, ptrdiff_t bk, long k, float *c,
                ptrdiff_t cr, enum tile_mode mode)
{
    steps_kernels[rows][vectors](a, ak, b, bk, k, c, cr, mode);
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
