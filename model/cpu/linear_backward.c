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

/* One transposed panel of a block of outputs, or two of at most SHORT_CHAIN outputs; then the rows' copy. */
enum { TURNED = STEP_BLOCK * PANEL };

static size_t input_scratch(int rows)
{
    return (TURNED + product_floats(rows)) * sizeof(float);
}

/* to[n][32 inputs] from rows n0 .. n0+n of W, inputs k .. k+32; beyond K: zero. `ask` for the inputs behind them, a
 * part before each block: all at once would keep the blocks waiting. */
static void transpose_panel(float *to, const struct input_gradient *g, int n0, int n, int k, int ask)
{
    int inputs = (int)least(PANEL, g->K - k);
    if (inputs < PANEL)
        memset(to, 0, (size_t)n * PANEL * sizeof *to);
    for (int i = 0; i < n; i += PANEL, to += PANEL * PANEL) {
        const float *from = g->W + weight_at(n0 + i, k, g->K), *next = from + PANEL * PANEL;
        int outputs = (int)least(PANEL, n - i);
        if (inputs < PANEL || outputs < PANEL) {
            transpose(to, PANEL, from, PANEL, inputs, outputs);
            continue;
        }
        for (int r = 0; r < PANEL; r += LANES)
            for (int c = 0; c < PANEL; c += LANES, next += LANES * LANES) {
                for (int l = 0; ask && l < LANES * LANES; l += GROUP)
                    __builtin_prefetch(next + l, 0, 2);
                transpose_block(to + c * PANEL + r, PANEL, from + r * PANEL + c, PANEL, LANES, LANES);
            }
    }
}

/* Rows m0 .. m0+rows, columns k0 .. k1 of din. */
static void input_item(const struct input_gradient *g, int m0, int rows, int k0, int k1, float *scratch)
{
    int blocks = step_blocks(g->N), each = step_block(g->N);
    for (int i = 0; i < blocks; i++) {
        int n0 = i * each;
        struct product p = {.w = scratch, .k = least(each, g->N - n0), .mode = i ? TILE_CHAIN : TILE_ZERO};
        p.panel = round_up((size_t)p.k, PANEL) * PANEL;
        p.shape = (struct tile){0, PANEL, LANES, TILE_COLUMNS == PANEL ? (ptrdiff_t)p.panel : TILE_COLUMNS, g->K, 0};
        p.next_step = (size_t)PANEL * g->K;
        product_operand(&p, scratch + TURNED, g->dout + (size_t)m0 * g->N + n0, rows, g->N, k1 - k0);
        int columns = rows > 2 * TILE_ROWS && p.k <= SHORT_CHAIN && !p.packed ? 2 * PANEL : PANEL;
        for (int k = k0; k < k1; k += columns) {
            int here = (int)least(columns, k1 - k), more = k + columns < k1;
            for (int j = 0; j < here; j += PANEL)
                transpose_panel(scratch + j / PANEL * p.panel, g, n0, (int)p.k, k + j, more && !p.packed);
            p.next = more ? g->W + weight_at(n0, k + columns, g->K) : NULL;
            p.out = g->din + (size_t)m0 * g->K + k;
            product_rows(&p, rows, 0, here);
        }
    }
}

/* Outputs and inputs of few rows that are walked at once: the scratch memory of many rows holds them. */
enum { FEW_OUTPUTS = STEP_BLOCK, FEW_INPUTS = STEP_BLOCK / 2 };
_Static_assert((FEW_OUTPUTS + FEW_INPUTS) * TILE_COLUMNS <= TURNED + 2 * TILE_PACK * ROW_STRIDE, "scratch of few rows");

/* Few rows, for which transposing the weights costs as much as multiplying with them: lanes are rows, and weights are
 * broadcast from where they lie, in their order. It pays where the rows fill most of one vector or two. */
static int few(int rows)
{
    return rows <= TILE_COLUMNS && (rows - 1) % LANES >= 2 * LANES / 3;
}

static void input_few(const struct input_gradient *g, int m0, int rows, int k0, int k1, float *scratch)
{
    int vectors = rows > LANES ? 2 : 1, width = vectors * LANES;
    float *dout = scratch, *sum = scratch + FEW_OUTPUTS * width; /* [output or input][row] */
    struct tile shape = {PANEL, width, LANES, 0, width, NULL};
    const float *row[TILE_COLUMNS];
    for (int r = 0; r < width; r++) /* lanes beyond the rows repeat the last one */
        row[r] = g->dout + (size_t)(m0 + least(r, rows - 1)) * (size_t)g->N;
    for (int i0 = k0; i0 < k1; i0 += FEW_INPUTS) {
        int inputs = (int)least(FEW_INPUTS, k1 - i0), tiles = tile_count(inputs);
        for (int n = 0; n < g->N || n == 0; n += PANEL) {
            const float *W = g->W + weight_at(n, i0, g->K), *turned = dout + n % FEW_OUTPUTS * width;
            for (int j = 0; n % FEW_OUTPUTS == 0 && j < least(FEW_OUTPUTS, g->N - n); j += LANES)
                for (int r = 0; r < width; r += LANES)
                    transpose_rows(dout + j * width + r, (size_t)width, row + r, n + j, g->N - n - j);
            for (int i = 0; i < tiles; i++) {
                int k = tile_first(inputs, i), end = tile_end(inputs, i);
                shape.next = W + (i + 1 < tiles ? end : g->K) * PANEL;
                tile_asking(&shape, ASK_LINE, end - k, vectors, W + k * PANEL, turned, least(PANEL, g->N - n),
                            sum + k * width, n ? TILE_CHAIN : TILE_ZERO, NULL);
            }
        }
        transpose(g->din + (size_t)m0 * (size_t)g->K + i0, (size_t)g->K, sum, (size_t)width, inputs, rows);
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
    SHARE_OUT(threads, (dynamic), for (int i = 0; i < blocks * parts; i++), {
        int block = i / parts, part = i % parts;
        int m0 = block * together, rows = (int)least(together, M - m0);
        int k0 = (int)((long)panels * part / parts) * PANEL, k1 = (int)((long)panels * (part + 1) / parts) * PANEL;
        (few(rows) ? input_few : input_item)(&g, m0, rows, k0, (int)least(k1, K),
                                             scratch_slice(d, 0, input_scratch(rows)));
    })
}

/* ---- weight ---- */

/* A work item packs the inputs of some blocks once, at most so many tiles, which stay in the second cache, and one
 * panel of outputs at a time. Few inputs and outputs together are read where they are: packing them would cost more
 * than it saves. The distance of packed tiles is odd in lines, so that those of one row fall into
 * different sets of the first cache. */
enum {
    IN_PLACE = 512, /* inputs and outputs */
    TILES = STEP_BLOCK / TILE_ROWS + 1,
    X_TILE = (BLOCK_ROWS + 1) * TILE_PACK,
    WEIGHT_SCRATCH = (BLOCK_ROWS * PANEL + TILES * X_TILE) * sizeof(float)
};

struct weight_gradient {
    const float *dout, *in;
    float *dW, *db;
    const struct span *block;
    int blocks, N, K;
};

/* Consecutive blocks of at most BLOCK_ROWS rows together: a tile of the gradient receives them while it is near. */
struct batch {
    const struct span *block;
    int blocks, first, rows; /* first .. first+rows: those of the first block to those of the last */
};

static struct batch batch_from(const struct weight_gradient *g, int b)
{
    struct batch s = {g->block + b, 1, g->block[b].start, 0};
    for (int rows = g->block[b].len; b + s.blocks < g->blocks; s.blocks++) {
        rows += g->block[b + s.blocks].len;
        if (rows > BLOCK_ROWS)
            break;
    }
    const struct span *last = s.block + s.blocks - 1;
    s.rows = last->start + last->len - s.first;
    return s;
}

/* packed[row][32] = columns n .. n+32 of dout, zero beyond N. */
static void pack_panel(float *packed, const struct weight_gradient *g, struct batch s, int n)
{
    for (int b = 0; b < s.blocks; b++)
        for (int r = 0; r < s.block[b].len; r++, packed += PANEL) {
            const float *from = g->dout + (size_t)(s.block[b].start + r) * g->N + n;
            UNROLL
            for (int l = 0; l < PANEL; l += LANES)
                vstore(packed + l, n + l < g->N ? vload_n(from + l, g->N - n - l, 0) : vset(0.0f));
        }
}

/* What tiles read of a batch: rows `step` apart, packed one block behind the other or where they are. */
struct operand {
    const float *at;
    ptrdiff_t step;
    int packed;
};

/* Block b, with so many rows of the batch's blocks before it. */
static const float *block_of(const struct operand *o, struct batch s, int b, int before)
{
    return o->at + (o->packed ? before : s.block[b].start - s.first) * o->step;
}

/* db += the sums of a panel's columns, each a chain over the rows of a block. */
static void add_sums(float *db, const struct operand *panel, struct batch s)
{
    for (int b = 0, before = 0; b < s.blocks; before += s.block[b++].len)
        for (int c = 0; c < PANEL; c += LANES) {
            const float *from = block_of(panel, s, b, before) + c;
            vec sum = vset(0.0f);
            for (int r = 0; r < s.block[b].len; r++)
                sum = sum + vload(from + r * panel->step);
            vstore(db + c, vload(db + c) + sum);
        }
}

/* x[tile][row][TILE_PACK] = inputs from the tile's first, zero beyond K. Rows are read along, all their tiles at once:
 * across they would be one line of the cache a page. Later rows are asked for. */
static void pack_inputs(float *x, const struct weight_gradient *g, struct span s, const int *first, int tiles)
{
    enum { ROWS_AHEAD = 3 };
    int whole = tiles; /* those that do not reach beyond K */
    while (whole > 0 && first[whole - 1] + TILE_PACK > g->K)
        whole--;
    for (int r = 0; r < s.len; r++) {
        const float *from = g->in + (size_t)(s.start + r) * g->K;
        size_t ahead = r + ROWS_AHEAD < s.len ? (size_t)ROWS_AHEAD * g->K : 0;
        float *to = x + (size_t)r * TILE_PACK;
        for (int i = 0; i < whole; i++, to += X_TILE) {
            __builtin_prefetch(from + first[i] + ahead);
            UNROLL
            for (int j = 0; j < TILE_PACK; j += LANES)
                vstore(to + j, vload(from + first[i] + j));
        }
        for (int i = whole; i < tiles; i++, to += X_TILE)
            for (int j = 0; j < TILE_PACK; j += LANES) {
                int k = first[i] + j;
                vstore(to + j, k < g->K ? vload_n(from + k, g->K - k, 0) : vset(0.0f));
            }
    }
}

/* Tile i of so many, from column n on and input k on. It asks for the tile after it and for its share of the next
 * panel's rows. */
static void packed_tile(const struct weight_gradient *g, struct batch s, int n, int k, int rows, int i, int tiles,
                        const float *x, const float *panel)
{
    float *c = g->dW + weight_at(n, k, g->K);
    struct ask ask[3] = {{c + (size_t)rows * PANEL, PANEL, rows}}, none = ASK_END(c);
    long from = (long)s.rows * i / tiles, share = (long)s.rows * (i + 1) / tiles - from;
    ask[1] = none;
    ask[2] = none;
    if (n + PANEL < g->N && share > 0)
        ask[1] = (struct ask){g->dout + (size_t)(s.first + from) * g->N + n + PANEL, g->N, share};
    for (int b = 0; b < s.blocks; b++) {
        tile_packed(rows, x, panel, s.block[b].len, c, PANEL, TILE_ADD, NULL, b ? &none : ask);
        x += (size_t)s.block[b].len * TILE_PACK;
        panel += (size_t)s.block[b].len * PANEL;
    }
}

/* All tiles of columns n .. n+TILE_COLUMNS, whose inputs begin at first[]. */
static void weight_column(const struct weight_gradient *g, struct batch s, int n, const int *first, int tiles,
                          const float *x, const struct operand *panel)
{
    struct operand in = {g->in + (size_t)s.first * g->K, g->K, 0}, out = *panel;
    out.at += n % PANEL;
    for (int i = 0; i < tiles; i++) {
        int rows = first[i + 1] - first[i];
        if (x) {
            packed_tile(g, s, n, first[i], rows, i, tiles, x + (size_t)i * X_TILE, out.at);
            continue;
        }
        for (int b = 0, before = 0; b < s.blocks; before += s.block[b++].len)
            tile_steps(rows, 2, block_of(&in, s, b, before) + first[i], in.step, block_of(&out, s, b, before), out.step,
                       s.block[b].len, g->dW + weight_at(n, first[i], g->K), PANEL, TILE_ADD);
    }
}

/* Panels p0 .. p1, inputs k0 .. k1 of the gradient. */
static void weight_item(const struct weight_gradient *g, int p0, int p1, int k0, int k1, float *scratch)
{
    int in_place = g->N + g->K <= IN_PLACE;
    float *panel = scratch, *x = in_place ? NULL : scratch + BLOCK_ROWS * PANEL;
    int tiles = tile_count(k1 - k0), first[TILES + 1];
    for (int i = 0; i < tiles; i++)
        first[i] = k0 + tile_first(k1 - k0, i);
    first[tiles] = k1;
    for (int b = 0; b < g->blocks;) {
        struct batch s = batch_from(g, b);
        float *to = x;
        for (int i = 0; x && i < s.blocks && tiles; to += (size_t)s.block[i].len * TILE_PACK, i++)
            pack_inputs(to, g, s.block[i], first, tiles);
        for (int p = p0; p < p1; p++) {
            struct operand out = {g->dout + (size_t)s.first * g->N + (size_t)p * PANEL, g->N, 0};
            if (!in_place || (p + 1) * PANEL > g->N) {
                pack_panel(panel, g, s, p * PANEL);
                out = (struct operand){panel, PANEL, 1};
            }
            if (g->db && k0 == 0)
                add_sums(g->db + p * PANEL, &out, s);
            for (int part = 0; part < PANEL; part += TILE_COLUMNS)
                weight_column(g, s, p * PANEL + part, first, tiles, x, &out);
        }
        b += s.blocks;
    }
}

size_t cpu_linear_backward_scratch(int rows, int N, int K)
{
    size_t a = input_scratch(rows), b = WEIGHT_SCRATCH;
    (void)N;
    (void)K;
    return round_up(a > b ? a : b, 64);
}

long cpu_block_rows(const struct span *block, int blocks)
{
    long rows = 0;
    for (int b = 0; b < blocks; b++) {
        rows += block[b].len;
        if (block[b].len > BLOCK_ROWS)
            die("a gradient block of %d rows; the most is %d", block[b].len, BLOCK_ROWS);
    }
    return rows;
}

void cpu_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks, int M,
                                int N, int K)
{
    (void)M;
    struct weight_gradient g = {reals(dout), reals(in), reals(dW), reals(db), (const struct span *)block.p,
                                blocks,      N,         K};
    long rows = cpu_block_rows(g.block, blocks);
    if (N <= 0 || (K <= 0 && !g.db))
        return;
    int threads = threads_for(d, 2.0 * rows * N * K);
    int panels = (N + PANEL - 1) / PANEL, parts = (K + STEP_BLOCK - 1) / STEP_BLOCK, groups = 1;
    parts = parts < 1 ? 1 : parts;
    if (threads > 1) /* few: each packs its inputs for itself */
        groups = (int)least(panels, (2 * threads + parts - 1) / parts);
    SHARE_OUT(threads, (dynamic), for (int i = 0; i < groups * parts; i++), {
        int group = i / parts, part = i % parts;
        int p0 = (int)((long)panels * group / groups), p1 = (int)((long)panels * (group + 1) / groups);
        int k0 = (int)((long)K * part / parts), k1 = (int)((long)K * (part + 1) / parts);
        weight_item(&g, p0, p1, k0, k1, scratch_slice(d, 0, WEIGHT_SCRATCH));
    })
}
