/* out = in W^T + b. Lanes are outputs, activations are broadcast, every output is one chain over k.
 *
 * A work item is a block of rows and some panels of weights; k is walked in blocks so that the rows stay in the second
 * cache, with the unfinished chains kept in `out` in between, which is exact.
 */
#include "cpu.h"
#include "tile.h"

enum { ROW_BLOCK = 256, K_BLOCK = 768, ROW_STRIDE = K_BLOCK + 16 };

struct product { /* one block of k over one block of rows */
    struct tile shape;
    const float *a, *w, *bias; /* rows at a; panel p of weights at w + p * panel; bias only with the last block of k */
    float *out;
    size_t panel;
    long k;
    enum tile_mode mode;
};

/* The last panel is partly filled: its tile is finished in a buffer. */
static void edge_tile(const struct product *p, const struct tile *t, int rows, const float *a, const float *w, float *c,
                      const float *bias, int columns)
{
    float buffer[TILE_ROWS * TILE_COLUMNS];
    struct tile shape = *t;
    shape.cr = TILE_COLUMNS;
    int vectors = columns > LANES ? 2 : 1;
    memset(buffer, 0, sizeof buffer);
    if (p->mode == TILE_CHAIN)
        for (int r = 0; r < rows; r++)
            memcpy(buffer + r * TILE_COLUMNS, c + r * t->cr, (size_t)columns * sizeof *c);
    tile(&shape, rows, vectors, a, w, p->k, buffer, p->mode, bias);
    for (int r = 0; r < rows; r++)
        memcpy(c + r * t->cr, buffer + r * TILE_COLUMNS, (size_t)columns * sizeof *c);
}

/* How many vectors of outputs, from output n on, a tile of so many rows should hold: few rows need more to keep the
 * unit busy. Vectors 2 and 3 lie in the next panel when two fill one, else all must lie in one panel. */
static int vectors_for(int rows, int n, int n1)
{
    int vectors = rows <= TILE_ROWS8 ? 8 : rows <= TILE_ROWS4 ? 4 : 2;
    while (vectors > 2 && (n + vectors * LANES > n1 || (TILE_COLUMNS < PANEL && n % PANEL + vectors * LANES > PANEL)))
        vectors /= 2;
    return vectors;
}

static void columns_rows(const struct product *p, int rows, int n0, int n1)
{
    for (int n = n0; n < n1;) {
        const float *w = p->w + (size_t)(n / PANEL) * p->panel + n % PANEL, *bias = p->bias ? p->bias + n : NULL;
        int vectors = vectors_for(rows, n, n1);
        if (n + vectors * LANES <= n1)
            tile(&p->shape, rows, vectors, p->a, w, p->k, p->out + n, p->mode, bias);
        else
            edge_tile(p, &p->shape, rows, p->a, w, p->out + n, bias, n1 - n);
        n += vectors * LANES;
    }
}

/* Panels outside, rows inside: a panel is used by all rows while it is near. */
static void product_rows(const struct product *p, int rows, int n0, int n1)
{
    if (rows <= TILE_ROWS) {
        columns_rows(p, rows, n0, n1);
        return;
    }
    for (int n = n0; n < n1; n += PANEL)
        for (int i = 0; i < tile_count(rows); i++) {
            int first = tile_first(rows, i), end = tile_end(rows, i);
            struct product q = *p;
            q.a += first * p->shape.ar;
            q.out += first * p->shape.cr;
            columns_rows(&q, end - first, n, (int)least(n + PANEL, n1));
        }
}

/* Rows at a stride that does not put them all into one set of the first cache. */
static const float *copy_rows(float *to, const float *in, int rows, int K, long k)
{
    for (int r = 0; r < rows; r++)
        memcpy(to + (size_t)r * ROW_STRIDE, in + (size_t)r * K, (size_t)k * sizeof *to);
    return to;
}

struct linear { /* the arguments of the row */
    const float *in, *W, *b;
    float *out;
    int N, K, k_blocks;
};

static void linear_item(const struct linear *l, int m0, int m1, int n0, int n1, float *scratch)
{
    long k_each = (long)round_up((size_t)(l->K + l->k_blocks - 1) / (size_t)l->k_blocks, 16);
    int copy = m1 - m0 > TILE_ROWS4 && (l->k_blocks > 1 || l->K % 512 == 0);
    for (int kb = 0; kb < l->k_blocks; kb++) {
        long k0 = kb * k_each;
        long k = least(k_each, l->K - k0);
        const float *a = l->in + (size_t)m0 * l->K + k0;
        struct product p = {.w = l->W + k0 * PANEL, .k = k, .panel = (size_t)l->K * PANEL};
        p.a = copy ? copy_rows(scratch, a, m1 - m0, l->K, k) : a;
        ptrdiff_t pair = TILE_COLUMNS == PANEL ? (ptrdiff_t)p.panel : TILE_COLUMNS;
        p.shape = (struct tile){copy ? ROW_STRIDE : l->K, 1, PANEL, LANES, pair, l->N};
        p.out = l->out + (size_t)m0 * l->N;
        p.mode = kb ? TILE_CHAIN : TILE_ZERO;
        p.bias = kb + 1 == l->k_blocks ? l->b : NULL;
        product_rows(&p, m1 - m0, n0, n1);
    }
}

size_t cpu_linear_scratch(int rows, int N, int K)
{
    (void)N;
    (void)K;
    return round_up((size_t)least(rows, ROW_BLOCK) * ROW_STRIDE * sizeof(float), 64);
}

void cpu_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K)
{
    if (M <= 0 || N <= 0)
        return;
    struct linear l = {reals(in), reals(W), reals(b), reals(out), N, K, K > K_BLOCK ? (K + K_BLOCK - 1) / K_BLOCK : 1};
    int threads = threads_for(d, 2.0 * M * N * K);
    int panels = (N + PANEL - 1) / PANEL, blocks = (M + ROW_BLOCK - 1) / ROW_BLOCK, parts = 1;
    if (threads > 1 && blocks < 2 * threads) {
        blocks = (int)least(2 * threads, (M + 4 * TILE_ROWS - 1) / (4 * TILE_ROWS));
        parts = (int)least(panels, (2 * threads + blocks - 1) / blocks);
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int i = 0; i < blocks * parts; i++) {
        int block = i / parts, part = i % parts;
        int m0 = (int)((long)M * block / blocks), m1 = (int)((long)M * (block + 1) / blocks);
        int n0 = (int)((long)panels * part / parts) * PANEL, n1 = (int)((long)panels * (part + 1) / parts) * PANEL;
        linear_item(&l, m0, m1, n0, (int)least(n1, N), scratch_slice(d, 0, cpu_linear_scratch(m1 - m0, N, K)));
    }
}
