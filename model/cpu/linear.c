/* out = in W^T + b. Lanes are outputs, activations are broadcast, every output is one chain over k.
 *
 * A work item is a block of rows and some panels of weights; k is walked in blocks so that the rows stay in the second
 * cache, with the unfinished chains kept in `out` in between, which is exact.
 */
#include "product.h"

struct linear { /* the arguments of the row */
    const float *in, *W, *b;
    float *out;
    int N, K;
};

static void linear_item(const struct linear *l, int m0, int m1, int n0, int n1, float *scratch)
{
    int blocks = step_blocks(l->K), each = step_block(l->K);
    for (int i = 0; i < blocks; i++) {
        long k0 = (long)i * each;
        struct product p = {.k = least(each, l->K - k0), .panel = (size_t)l->K * PANEL};
        /* Two vectors fill a panel at 16 lanes: then the next pair lies in the next panel. */
        p.shape = (struct tile){0, PANEL, LANES, TILE_COLUMNS == PANEL ? (ptrdiff_t)p.panel : TILE_COLUMNS, l->N, 0};
        product_operand(&p, scratch, l->in + (size_t)m0 * l->K + k0, m1 - m0, l->K, n1 - n0);
        p.w = l->W + k0 * PANEL;
        p.out = l->out + (size_t)m0 * l->N;
        p.mode = i ? TILE_CHAIN : TILE_ZERO;
        p.bias = i + 1 == blocks ? l->b : NULL;
        product_rows(&p, m1 - m0, n0, n1);
    }
}

size_t cpu_linear_scratch(int rows, int N, int K)
{
    (void)N;
    (void)K;
    return round_up(product_floats(rows) * sizeof(float), 64);
}

void cpu_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K)
{
    if (M <= 0 || N <= 0)
        return;
    struct linear l = {reals(in), reals(W), reals(b), reals(out), N, K};
    int threads = threads_for(d, 2.0 * M * N * K);
    int panels = (N + PANEL - 1) / PANEL, blocks = (M + ROW_BLOCK - 1) / ROW_BLOCK, parts = 1;
    if (threads > 1 && blocks < 2 * threads) {
        blocks = (int)least(2 * threads, (M + 4 * TILE_ROWS - 1) / (4 * TILE_ROWS));
        parts = (int)least(panels, (2 * threads + blocks - 1) / blocks);
    }
    SHARE_OUT(threads, (dynamic), for (int i = 0; i < blocks * parts; i++), {
        int block = i / parts, part = i % parts;
        int m0 = (int)((long)M * block / blocks), m1 = (int)((long)M * (block + 1) / blocks);
        int n0 = (int)((long)panels * part / parts) * PANEL, n1 = (int)((long)panels * (part + 1) / parts) * PANEL;
        linear_item(&l, m0, m1, n0, (int)least(n1, N), scratch_slice(d, 0, cpu_linear_scratch(m1 - m0, N, K)));
    })
}
