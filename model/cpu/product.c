/* See product.h. */
#include "product.h"

/* The last panel is partly filled: its tile is finished in a buffer. */
static void edge_tile(const struct product *p, const float *a, int rows, const float *w, float *c, const float *bias,
                      int columns)
{
    float buffer[TILE_ROWS * TILE_COLUMNS];
    struct tile shape = p->shape;
    shape.cr = TILE_COLUMNS;
    int vectors = columns > LANES ? 2 : 1;
    if (p->mode == TILE_CHAIN)
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < vectors * LANES; i += LANES)
                vstore(buffer + r * TILE_COLUMNS + i, vload_n(c + r * p->shape.cr + i, columns - i, 0));
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

/* Columns n0 .. n1 of the rows at a, into rows at out. The panels behind them, before column `last`, are asked for:
 * one stream alone does not fill the memory's queue, but the four panels of eight vectors do. */
static void columns_rows(const struct product *p, const float *a, float *out, int rows, int n0, int n1, int last)
{
    struct tile shape = p->shape;
    for (int n = n0; n < n1;) {
        const float *w = p->w + (size_t)(n / PANEL) * p->panel + n % PANEL, *bias = p->bias ? p->bias + n : NULL;
        int vectors = vectors_for(rows, n, n1), step = (vectors * LANES + PANEL - 1) / PANEL;
        shape.ahead = vectors < 8 && n + step * PANEL < last ? (ptrdiff_t)p->panel * step : 0;
        if (n + vectors * LANES <= n1)
            tile(&shape, rows, vectors, a, w, p->k, out + n, p->mode, bias);
        else
            edge_tile(p, a, rows, w, out + n, bias, n1 - n);
        n += vectors * LANES;
    }
}

/* Panels outside, rows inside: a panel is used by all rows while it is near. */
void product_rows(const struct product *p, int rows, int n0, int n1)
{
    int tiles = tile_count(rows), each = tiles ? rows / tiles : 0, longer = tiles ? rows % tiles : 0;
    if (tiles <= 1) {
        columns_rows(p, p->a, p->out, rows, n0, n1, n1);
        return;
    }
    for (int n = n0; n < n1; n += PANEL) {
        const float *a = p->a;
        float *out = p->out;
        for (int i = 0; i < tiles; i++) {
            int here = each + (i < longer);
            columns_rows(p, a, out, here, n, (int)least(n + PANEL, n1), i ? n : n1);
            a += here * p->shape.ar;
            out += here * p->shape.cr;
        }
    }
}

void product_operand(struct product *p, float *copy, const float *a, int rows, int stride)
{
    p->a = a;
    p->shape.ar = stride;
    if (rows <= TILE_ROWS4 || (p->k == stride && stride % 512 != 0))
        return;
    for (int r = 0; r < rows; r++)
        memcpy(copy + (size_t)r * ROW_STRIDE, a + (size_t)r * (size_t)stride, (size_t)p->k * sizeof *copy);
    p->a = copy;
    p->shape.ar = ROW_STRIDE;
}
