/* A block of rows times some panels: the middle of linear_forward and linear_backward_input, between the register tile
 * and the blocking for the caches. */
#ifndef CPU_PRODUCT_H
#define CPU_PRODUCT_H
#include "cpu.h"
#include "tile.h"

/* Rows and steps of a chain that are walked at once: rows x steps stay in the second cache. Rows are copied to
 * ROW_STRIDE where their own distance would put them all into one set of the first cache. */
enum { ROW_BLOCK = 256, STEP_BLOCK = 768, ROW_STRIDE = STEP_BLOCK + 16 };

/* Steps of a chain for which two panels at once stay near. */
enum { SHORT_CHAIN = STEP_BLOCK / 2 };

struct product {
    struct tile shape;
    const float *a, *w,
        *bias; /* rows at a; panel p at w + p * panel; bias with the last steps of a chain only, or NULL */
    float *out;
    size_t panel;
    const float
        *next; /* what the panel behind the last is made of: PANEL steps, the next ones `next_step` floats later, */
    size_t next_step; /* and so on; or NULL */
    long k;           /* steps */
    enum tile_mode mode;
    int packed; /* by product_operand: the rows lie as tile_packed wants them */
};

/* Columns n0 .. n1 of `rows` rows. n0 is a multiple of PANEL; n1 need not be: what lies beyond is not written. */
void product_rows(const struct product *p, int rows, int n0, int n1);
/* Steps k of rows that lie `stride` apart, for that many columns: packed, or copied to ROW_STRIDE, or left where they
 * are, whichever is worth while. Sets what product_rows must know. `copy` has product_floats(rows) floats. */
void product_operand(struct product *p, float *copy, const float *a, int rows, int stride, int columns);

/* Enough for ROW_BLOCK rows of STEP_BLOCK steps, or for more rows whose steps are fewer in proportion. */
static inline size_t product_floats(int rows)
{
    return (size_t)(tile_count((int)least(rows, ROW_BLOCK)) + 1) * TILE_PACK * ROW_STRIDE;
}

/* A chain of K steps in equal blocks: how many, and the steps of each (a multiple of PANEL but the last). */
static inline int step_blocks(int K)
{
    return K > STEP_BLOCK ? (K + STEP_BLOCK - 1) / STEP_BLOCK : 1;
}

static inline int step_block(int K)
{
    return (int)round_up((size_t)(K + step_blocks(K) - 1) / (size_t)step_blocks(K), PANEL);
}

#endif
