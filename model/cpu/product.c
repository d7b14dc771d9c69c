/* See product.h. */
#include "product.h"
#include "transpose.h"

/* The last panel is partly filled: its tile is finished in a buffer. */
static void edge_tile(const struct product *p, const float *a, int rows, const float *w, float *c, const float *bias,
                      int columns)
{
    float buffer[TILE_ROWS * TILE_COLUMNS];
    struct tile shape = p->shape;
    struct ask none = ASK_END(a);
    shape.cr = TILE_COLUMNS;
    int vectors = columns > LANES ? 2 : 1;
    if (p->mode == TILE_CHAIN)
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < TILE_COLUMNS; i += LANES)
                vstore(buffer + r * TILE_COLUMNS + i,
                       i < columns ? vload_n(c + r * p->shape.cr + i, columns - i, 0) : vset(0.0f));
    if (p->packed)
        tile_packed(rows, a, w, p->k, buffer, TILE_COLUMNS, p->mode, bias, &none);
    else
        tile(&shape, rows, vectors, a, w, p->k, buffer, p->mode, bias);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < columns; i += LANES)
            vstore_n(c + r * p->shape.cr + i, vload(buffer + r * TILE_COLUMNS + i), columns - i);
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

/* Weights of a small matrix are near already, and nobody asks for them. */
enum { SMALL = 1 << 15 };

/* What tile i of so many asks for from column n on: the panels behind those it reads, if they begin before column
 * `last`. The first calls for a panel share it, a line a step: asked for all at once it would keep one tile waiting and
 * leave the other with nothing to wait for. Eight vectors read four panels at once, which is enough for the memory. */
static enum tile_ask ask_behind(struct tile *shape, const struct product *p, int n, int last, int vectors, int i,
                                int tiles)
{
    int columns = vectors * LANES, behind = n / PANEL * PANEL + (columns > PANEL ? columns : PANEL);
    if (vectors == 8 || behind >= last)
        return ASK_NOTHING;
    int panels = behind / PANEL - n / PANEL, calls = panels * PANEL / columns, call = i * calls + n % PANEL / columns;
    shape->next = p->w + (size_t)(behind / PANEL) * p->panel;
    if (tiles * calls == 1 || panels > 1)
        return call == 0 ? ASK_PANELS : ASK_NOTHING;
    shape->next += call * (p->k / 2) * PANEL;
    return call < 2 ? ASK_LINE : ASK_NOTHING;
}

/* Columns n0 .. n1 of the rows at a, tile i of so many, into rows at out. */
static void columns_rows(const struct product *p, const float *a, float *out, int rows, int n0, int n1, int last, int i,
                         int tiles)
{
    struct tile shape = p->shape;
    for (int n = n0; n < n1;) {
        const float *w = p->w + (size_t)(n / PANEL) * p->panel + n % PANEL, *bias = p->bias ? p->bias + n : NULL;
        int vectors = vectors_for(rows, n, n1);
        enum tile_ask ask = ask_behind(&shape, p, n, last, vectors, i, tiles);
        if (n + vectors * LANES <= n1)
            tile_asking(&shape, ask, rows, vectors, a, w, p->k, out + n, p->mode, bias);
        else
            edge_tile(p, a, rows, w, out + n, bias, n1 - n);
        n += vectors * LANES;
    }
}

enum { ASKS = 8 };

/* What tile i of so many asks for: `rows` of the output that comes next, and its share of the next panel. */
static void ask_next(struct ask *ask, const struct product *p, const float *out, int rows, const float *next,
                     size_t next_step, int i, int tiles)
{
    long blocks = next ? (p->k + PANEL - 1) / PANEL : 0, first = blocks * i / tiles, end = blocks * (i + 1) / tiles;
    *ask++ = (struct ask){out, p->shape.cr, rows};
    for (long j = first; j < least(end, first + ASKS - 2); j++)
        *ask++ = (struct ask){next + (size_t)j * next_step, PANEL, least(PANEL, p->k - j * PANEL)};
    *ask = ASK_END(p->a);
}

/* Panels outside, rows inside: a panel is used by all rows while it is near. */
static void packed_rows(const struct product *p, int rows, int n0, int n1)
{
    int tiles = tile_count(rows);
    for (int n = n0; n < n1; n += TILE_COLUMNS) {
        int last = n / PANEL * PANEL + PANEL >= n1;
        const float *a = p->a, *w = p->w + (size_t)(n / PANEL) * p->panel, *next = last ? p->next : w + p->panel;
        for (int i = 0; i < tiles; i++) {
            int first = tile_first(rows, i), here = tile_end(rows, i) - first;
            float *out = p->out + first * p->shape.cr + n;
            float *then = i + 1 < tiles ? out + here * p->shape.cr : p->out + n + TILE_COLUMNS;
            const float *bias = p->bias ? p->bias + n : NULL;
            struct ask ask[ASKS];
            if (n + TILE_COLUMNS <= n1) {
                ask_next(ask, p, then, here, next ? next + n % PANEL : NULL, last ? p->next_step : PANEL * PANEL, i,
                         tiles);
                tile_packed(here, a, w + n % PANEL, p->k, out, p->shape.cr, p->mode, bias, ask);
            } else
                edge_tile(p, a, here, w + n % PANEL, out, bias, n1 - n);
            a += p->k * TILE_PACK;
        }
    }
}

/* All rows, in tiles of at most `most`, of columns n .. n1. The first tile asks for the weights before column `last`.
 */
static void row_tiles(const struct product *p, int rows, int most, int n, int n1, int last)
{
    int tiles = (rows + most - 1) / most, each = tiles ? rows / tiles : 0, longer = tiles ? rows % tiles : 0;
    const float *a = p->a;
    float *out = p->out;
    for (int i = 0; i < tiles; i++) {
        int here = each + (i < longer);
        columns_rows(p, a, out, here, n, n1, last, i, tiles);
        a += here * p->shape.ar;
        out += here * p->shape.cr;
    }
}

/* Many rows that are not packed, times panels that are near: fewer rows and twice the columns are fewer numbers to read
 * for a multiplication, which counts where two threads share a core. Three rows are too few for that. */
static int worth_widening(const struct product *p, int rows)
{
    return TILE_ROWS4 > 3 && rows > 2 * TILE_ROWS && p->k <= SHORT_CHAIN;
}

void product_rows(const struct product *p, int rows, int n0, int n1)
{
    if (p->packed) {
        packed_rows(p, rows, n0, n1);
        return;
    }
    int last = p->k * (n1 - n0) > SMALL ? n1 : n0;
    if (rows <= TILE_ROWS) {
        row_tiles(p, rows, TILE_ROWS, n0, n1, last);
        return;
    }
    for (int n = n0, end; n < n1; n = end) {
        int wide = n + 4 * LANES <= n1 && worth_widening(p, rows);
        end = (int)least(n + (wide && 4 * LANES > PANEL ? 4 * LANES : PANEL), n1);
        row_tiles(p, rows, wide ? TILE_ROWS4 : TILE_ROWS, n, end, last);
    }
}

/* One tile's rows: packed[k][TILE_PACK]. Lanes beyond the rows repeat the last one. */
static void pack_tile(float *packed, const float *a, int rows, int stride, long k)
{
    for (int part = 0; part < rows; part += LANES) {
        const float *row[LANES];
        for (int i = 0; i < LANES; i++)
            row[i] = a + (size_t)least(part + i, rows - 1) * (size_t)stride;
        for (long j = 0; j < k; j += LANES)
            transpose_rows(packed + j * TILE_PACK + part, TILE_PACK, row, j, k - j);
    }
}

/* Packing costs as much as some eight columns of the product, and lets two tiles more than pay for asking ahead. Wide
 * tiles of many rows do without it for longer. */
static int worth_packing(const struct product *p, int rows, int columns)
{
    int wide = rows >= 8 * TILE_ROWS && worth_widening(p, rows);
    return rows > 2 * TILE_ROWS && columns >= (wide ? 8 : 6) * PANEL;
}

void product_operand(struct product *p, float *copy, const float *a, int rows, int stride, int columns)
{
    p->a = a;
    p->shape.ar = stride;
    p->packed = worth_packing(p, rows, columns);
    if (p->packed) {
        p->a = copy;
        for (int i = 0; i < tile_count(rows); i++) {
            int first = tile_first(rows, i);
            pack_tile(copy, a + (size_t)first * (size_t)stride, tile_end(rows, i) - first, stride, p->k);
            copy += p->k * TILE_PACK;
        }
        return;
    }
    if (rows <= TILE_ROWS4 || (p->k == stride && stride % 512 != 0))
        return;
    for (int r = 0; r < rows; r++)
        memcpy(copy + (size_t)r * ROW_STRIDE, a + (size_t)r * (size_t)stride, (size_t)p->k * sizeof *copy);
    p->a = copy;
    p->shape.ar = ROW_STRIDE;
}
