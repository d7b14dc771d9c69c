/* A block of rows times some panels: the middle of linear_forward and linear_backward_input, between the register tile
 * and the blocking for the caches. */
#ifndef CPU_PRODUCT_H
#define CPU_PRODUCT_H
#include "cpu.h"
#include "tile.h"

/* Rows and steps of a chain that are walked at once: rows x steps stay in the second cache. Rows are copied to
 * ROW_STRIDE where their own distance would put them all into one set of the first cache. */
enum { ROW_BLOCK = 256, STEP_BLOCK = 768, ROW_STRIDE = STEP_BLOCK + 16 };

struct product {
    struct tile shape;
    const float *a, *w,
        *bias; /* rows at a; panel p at w + p * panel; bias with the last steps of a chain only, or NULL */
    float *out;
    size_t panel;
    long k; /* steps */
    enum tile_mode mode;
};

/* Columns n0 .. n1 of `rows` rows. n0 is a multiple of PANEL; n1 need not be: what lies beyond is not written. */
void product_rows(const struct product *p, int rows, int n0, int n1);
/* Steps k of rows that lie `stride` apart, copied to ROW_STRIDE when worth while; sets a and its stride in p. */
void product_operand(struct product *p, float *copy, const float *a, int rows, int stride);

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
