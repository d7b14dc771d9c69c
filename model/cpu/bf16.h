/* Products of the processor with operands rounded to bf16 and sums in fp32: what bf16.c (rows of the table, packing)
 * and bf16_unit.c (the inner loops) share.
 *
 * A step of a chain is one product; a word holds two neighbouring steps, the earlier one in its low half. Chains are
 * padded with zeros to a multiple of 32 steps, and every 32 of them are summed as tdpbf16ps does (Intel 64 and IA-32
 * Architectures Software Developer's Manual, volume 2; measured in dev/LOG.md): the even steps and the odd steps are
 * two chains of fused multiply-adds from zero; the two are added, and that is added to what was there. Numbers below
 * 2^-126 are zero, before and after each of these. So a result is the same sequence of roundings for any number of
 * rows, in any unit.
 */
#ifndef CPU_BF16_H
#define CPU_BF16_H
#include "cpu.h"

enum {
    STEP = 32,                  /* steps that are summed together */
    STEP_BYTES = 2 * STEP,      /* of a packed row */
    HIGH = 32,                  /* rows of a block of the result, of PANEL columns; */
    LOW = 16,                   /* or of one of twice as many columns */
    B_STEP = STEP_BYTES * PANEL /* bytes of a panel's 32 steps: [16][PANEL] words */
};

/* A block of the result: rows packed at a, each with its steps in order, times panels at b. */
struct bf16_block {
    const char *a, *b;
    size_t a_row;           /* bytes between rows: an odd number of lines of the cache, so that they do not collide */
    size_t b_step, b_panel; /* bytes between every 32 steps, and between panels */
    long steps;             /* of 32 */
    int rows;               /* of the result that are wanted; up to HIGH or LOW there are others at a and c */
    int chain;              /* go on from what is in c; 0: from zero */
    float *c;
    size_t c_row; /* floats */
    /* asked for on the way: `lines` lines of the cache at each step, and HIGH rows of the result that comes next */
    const char *ask, *then;
    size_t ask_step, then_row; /* bytes */
    int lines;
};

struct bf16_unit {
    const char *(*missing)(void);             /* why it cannot be used here, or NULL; asks the system for it */
    void (*begin)(void);                      /* before the blocks of a work item, in its thread */
    void (*high)(const struct bf16_block *b); /* c[HIGH][PANEL] */
    void (*low)(const struct bf16_block *b);  /* c[LOW][2 PANEL] */
};
extern const struct bf16_unit bf16_amx;   /* the matrix unit of Intel's processors */
extern const struct bf16_unit bf16_plain; /* vectors; the same bits, slower than fp32 */

#endif
