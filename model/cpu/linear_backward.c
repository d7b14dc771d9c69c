/* The two gradients of a linear layer, from the one layout of its weights.
 *
 * Input: panels are transposed on the way, so that lanes are inputs, dout is broadcast and each element is one chain
 * over n; a panel serves a block of rows, which makes its transposition cheap. Weight: lanes are outputs, activations
 * are broadcast, and the gradient comes out packed as the weights are; each element is one chain over the rows of a
 * block, then one addition.
 */
#include "product.h"
#include "transpose.h"

/* ---- input ---- */

struct input_gradient {
    const float *dout, *W;
    float *din;
    int N, K;
};

/* Rows that share a transposed panel: short ones, which need no copy, more of them. */
static int rows_together(int N)
{
    return N > 0 && N <= STEP_BLOCK / 2 ? ROW_BLOCK * (STEP_BLOCK / N < 4 ? STEP_BLOCK / N : 4) : ROW_BLOCK;
}

static size_t input_scratch(int rows, int N)
{
    return ((size_t)least(round_up((size_t)N, PANEL), STEP_BLOCK) * PANEL +
            (size_t)least(rows, ROW_BLOCK) * ROW_STRIDE) *
           sizeof(float);
}

/* to[n][32 inputs] from rows n0 .. n0+n of W, inputs k .. k+32; beyond K: zero. The next 32 inputs are asked for. */
static void transpose_panel(float *to, const struct input_gradient *g, int n0, int n, int k)
{
    int inputs = (int)least(PANEL, g->K - k);
    if (inputs < PANEL)
        memset(to, 0, (size_t)n * PANEL * sizeof *to);
    for (int i = 0; i < n; i += PANEL) {
        const float *from = g->W + weight_at(n0 + i, k, g->K);
        for (int j = 0; k + PANEL < g->K && j < PANEL; j++)
            for (int l = 0; l < PANEL; l += GROUP)
                __builtin_prefetch(from + (PANEL + j) * PANEL + l, 0, 2);
        transpose(to + (size_t)i * PANEL, PANEL, from, PANEL, inputs, (int)least(PANEL, n - i));
    }
}

/* Rows m0 .. m0+rows, columns k0 .. k1 of din. */
static void input_item(const struct input_gradient *g, int m0, int rows, int k0, int k1, float *scratch)
{
    int blocks = step_blocks(g->N), each = step_block(g->N);
    float *copy = scratch + (size_t)least(round_up((size_t)g->N, PANEL), STEP_BLOCK) * PANEL;
    for (int i = 0; i < blocks; i++) {
        int n0 = i * each;
        struct product p = {.w = scratch, .k = least(each, g->N - n0), .mode = i ? TILE_CHAIN : TILE_ZERO};
        p.shape = (struct tile){0, 1, PANEL, LANES, TILE_COLUMNS, g->K, 0};
        product_operand(&p, copy, g->dout + (size_t)m0 * g->N + n0, rows, g->N);
        for (int k = k0; k < k1; k += PANEL) {
            transpose_panel(scratch, g, n0, (int)p.k, k);
            p.out = g->din + (size_t)m0 * g->K + k;
            product_rows(&p, rows, 0, (int)least(PANEL, k1 - k));
        }
    }
}

void cpu_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K)
{
    if (M <= 0 || K <= 0)
        return;
    struct input_gradient g = {reals(dout), reals(W), reals(din), N, K};
    int threads = threads_for(d, 2.0 * M * N * K);
    int together = rows_together(N), blocks = (M + together - 1) / together, panels = (K + PANEL - 1) / PANEL,
        parts = 1;
    if (threads > 1 && blocks < 2 * threads)
        parts = (int)least(panels, (2 * threads + blocks - 1) / blocks);
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int i = 0; i < blocks * parts; i++) {
        int block = i / parts, part = i % parts;
        int m0 = block * together, rows = (int)least(together, M - m0);
        int k0 = (int)((long)panels * part / parts) * PANEL, k1 = (int)((long)panels * (part + 1) / parts) * PANEL;
        input_item(&g, m0, rows, k0, (int)least(k1, K), scratch_slice(d, 0, input_scratch(rows, N)));
    }
}

/* ---- weight ---- */

/* A work item has at most so many panels of outputs and tiles of inputs: packed, a block of them stays in the second
 * cache. The distance of packed tiles is odd in lines, so that those of one row fall into different sets of the first.
 */
enum {
    PANELS = 8,
    TILES = 16,
    X_STRIDE = 16,
    X_TILE = (BLOCK_ROWS + 1) * X_STRIDE,
    PANEL_ROWS = (BLOCK_ROWS + 1) * PANEL
};

struct weight_gradient {
    const float *dout, *in;
    float *dW, *db;
    const struct span *block;
    int blocks, N, K;
};

enum { WEIGHT_SCRATCH = (PANELS * PANEL_ROWS + TILES * X_TILE) * sizeof(float) };

/* Rows are read along, all their panels or tiles at once: across they would be one line of the cache a page. Later rows
 * are asked for. */
enum { ROWS_AHEAD = 3 };

INLINE void ask_row(const float *from, int floats)
{
    for (int i = 0; i < floats; i += GROUP)
        __builtin_prefetch(from + i);
}

/* packed[panel][row][32] = columns n .. n + panels * 32 of dout, zero beyond N. */
static void pack_panels(float *packed, const struct weight_gradient *g, struct span s, int n, int panels)
{
    int columns = (int)least((long)panels * PANEL, g->N - n), ahead = columns < g->N ? ROWS_AHEAD : BLOCK_ROWS;
    for (int r = 0; r < s.len; r++) {
        const float *from = g->dout + (size_t)(s.start + r) * g->N + n;
        float *to = packed + (size_t)r * PANEL;
        if (r + ahead < s.len)
            ask_row(from + (size_t)ahead * g->N, columns);
        int c = 0;
        for (; c + PANEL <= columns; c += PANEL, to += PANEL_ROWS) {
            UNROLL
            for (int l = 0; l < PANEL; l += LANES)
                vstore(to + l, vload(from + c + l));
        }
        for (int l = 0; c < columns && l < PANEL; l += LANES)
            vstore(to + l, c + l < columns ? vload_n(from + c + l, columns - c - l, 0) : vset(0.0f));
    }
}

/* db += the sums of a packed panel's columns, each a chain over the rows. */
static void add_sums(float *db, const float *panel, int rows)
{
    for (int c = 0; c < PANEL; c += LANES) {
        vec sum = vset(0.0f);
        for (int r = 0; r < rows; r++)
            sum = sum + vload(panel + (size_t)r * PANEL + c);
        vstore(db + c, vload(db + c) + sum);
    }
}

/* x[tile][row][16] = 16 inputs from the tile's first, zero beyond K. */
static void pack_activations(float *x, const struct weight_gradient *g, struct span s, const int *first, int tiles)
{
    int columns = first[tiles] - first[0], ahead = columns < g->K ? ROWS_AHEAD : BLOCK_ROWS;
    int whole = tiles; /* those that do not reach beyond K */
    while (whole > 0 && first[whole - 1] + X_STRIDE > g->K)
        whole--;
    for (int r = 0; r < s.len; r++) {
        const float *from = g->in + (size_t)(s.start + r) * g->K;
        float *to = x + (size_t)r * X_STRIDE;
        if (r + ahead < s.len)
            ask_row(from + (size_t)ahead * g->K + first[0], columns);
        for (int i = 0; i < whole; i++, to += X_TILE) {
            UNROLL
            for (int j = 0; j < X_STRIDE; j += LANES)
                vstore(to + j, vload(from + first[i] + j));
        }
        for (int i = whole; i < tiles; i++, to += X_TILE)
            for (int j = 0; j < X_STRIDE; j += LANES) {
                int k = first[i] + j;
                vstore(to + j, k < g->K ? vload_n(from + k, g->K - k, 0) : vset(0.0f));
            }
    }
}

/* Panels p0 .. p1, inputs k0 .. k1 of the gradient, one block after the other. */
static void weight_item(const struct weight_gradient *g, int p0, int p1, int k0, int k1, float *scratch)
{
    float *panel = scratch, *x = scratch + PANELS * PANEL_ROWS;
    int tiles = tile_count(k1 - k0), first[TILES + 1];
    struct tile shape = {1, X_STRIDE, PANEL, LANES, TILE_COLUMNS, PANEL, 0};
    for (int i = 0; i < tiles; i++)
        first[i] = k0 + tile_first(k1 - k0, i);
    first[tiles] = k1;
    for (int b = 0; b < g->blocks; b++) {
        struct span s = g->block[b];
        pack_panels(panel, g, s, p0 * PANEL, p1 - p0);
        for (int p = p0; g->db && k0 == 0 && p < p1; p++)
            add_sums(g->db + p * PANEL, panel + (size_t)(p - p0) * PANEL_ROWS, s.len);
        if (tiles)
            pack_activations(x, g, s, first, tiles);
        for (int p = p0; p < p1; p++)
            for (int i = 0; i < tiles; i++)
                for (int part = 0; part < PANEL; part += TILE_COLUMNS)
                    tile(&shape, first[i + 1] - first[i], 2, x + (size_t)i * X_TILE,
                         panel + (size_t)(p - p0) * PANEL_ROWS + part, s.len,
                         g->dW + weight_at(p * PANEL, first[i], g->K) + part, TILE_ADD, NULL);
    }
}

size_t cpu_linear_backward_scratch(int rows, int N, int K)
{
    size_t a = input_scratch(rows, N), b = WEIGHT_SCRATCH;
    (void)K;
    return round_up(a > b ? a : b, 64);
}

void cpu_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks, int M,
                                int N, int K)
{
    (void)M;
    struct weight_gradient g = {reals(dout), reals(in), reals(dW), reals(db), (const struct span *)block.p,
                                blocks,      N,         K};
    long rows = 0;
    for (int b = 0; b < blocks; b++) {
        rows += g.block[b].len;
        if (g.block[b].len > BLOCK_ROWS)
            die("a gradient block of %d rows; the most is %d", g.block[b].len, BLOCK_ROWS);
    }
    if (N <= 0 || (K <= 0 && !g.db))
        return;
    int threads = threads_for(d, 2.0 * rows * N * K);
    int panels = (N + PANEL - 1) / PANEL, groups = (panels + PANELS - 1) / PANELS;
    int parts = (K + TILES * TILE_ROWS - 1) / (TILES * TILE_ROWS);
    if (groups * parts < 2 * threads) { /* few: one item a thread, since each packs its operands for itself */
        groups = (int)least(panels, threads > groups ? threads : groups);
        int more = (int)least((K + TILE_ROWS - 1) / TILE_ROWS, (threads + groups - 1) / groups);
        parts = more > parts ? more : parts;
    }
    parts = parts < 1 ? 1 : parts;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int i = 0; i < groups * parts; i++) {
        int group = i / parts, part = i % parts;
        int p0 = (int)((long)panels * group / groups), p1 = (int)((long)panels * (group + 1) / groups);
        int k0 = (int)((long)K * part / parts), k1 = (int)((long)K * (part + 1) / parts);
        weight_item(&g, p0, p1, k0, k1, scratch_slice(d, 0, WEIGHT_SCRATCH));
    }
}
