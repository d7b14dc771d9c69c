/* Products whose operands are rounded to bf16, with sums in fp32: the three of a linear layer, by either of two
 * instructions. For comparison only, see bf16.c; one thread; needs AVX-512 with bf16, and AMX for UNIT_AMX.
 *
 * A word is a pair of neighbouring steps of a chain, the earlier one in its low half. Matrices lie in words
 * [column/32][pair][32], steps padded with zeros to a multiple of 32.
 */
#ifndef BF16_PRODUCTS_H
#define BF16_PRODUCTS_H
#include "../../model/backend.h"

enum unit { UNIT_DOT, UNIT_AMX }; /* vdpbf16ps: two multiply-adds a lane; tdpbf16ps: 16 x 32 times 32 x 16 */

/* Asks the system for the tile registers and sets them up for this thread; 0, or -1 without them. */
int amx_open(void);
/* Words of W[N][K] (as cpu/ packs it) for chains over k, out = in W^T, or over n, din = dout W. */
size_t words_forward(int N, int K);
size_t words_input(int N, int K);
void pack_forward(uint32_t *to, const float *W, int N, int K);
void pack_input(uint32_t *to, const float *W, int N, int K);
/* out[M][columns] = in[M][chain] times words, + bias or NULL. */
void product16(enum unit u, float *out, const float *in, const uint32_t *words, const float *bias, int M, int columns,
               int chain);
/* dW (as cpu/ packs it) += dout^T in, db += sums of dout in fp32, or NULL. Blocks of at most 256 rows. With UNIT_DOT
 * each block is a chain from zero and one addition; with UNIT_AMX blocks, padded to 32 rows, go on from dW. */
void weight16(enum unit u, float *dW, float *db, const float *dout, const float *in, const struct span *block,
              int blocks, int N, int K);
#endif
