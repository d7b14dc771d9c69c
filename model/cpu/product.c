/* See product.h. */
#include "product.h"

/* The last panel is partly filled: its tile is finished in a buffer. */
static void edge_tile(const struct product *p, int rows, const float *w, float *c, const float *bias, int columns)
{
    float buffer[TILE_ROWS * TILE_COLUMNS];
    struct tile shape = p->shape;
    shape.cr = TILE_COLUMNS;
    int vectors = columns > LANES ? 2 : 1;
    if (p->mode == TILE_CHAIN)
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < vectors * LANES; i += LANES)
                vstore(buffer + r * TILE_COLUMNS + i, vload_n(c + r * p->shape.cr + i, columns - i, 0));
    tile(&shape, rows, vectors, p->a, w, p->k, buffer, p->mode, bias);
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

static void columns_rows(const struct product *p, int rows, int n0, int n1)
{
    for (int n = n0; n < n1;) {
        const float *w = p->w + (size_t)(n / PANEL) * p->panel + n % PANEL, *bias = p->bias ? p->bias + n : NULL;
        int vectors = vectors_for(rows, n, n1);
        if (n + vectors * LANES <= n1)
            tile(&p->shape, rows, vectors, p->a, w, p->k, p->out + n, p->mode, bias);
        else
            edge_tile(p, rows, w, p->out + n, bias, n1 - n);
        n += vectors * LANES;
    }
}

/* Panels outside, rows inside: a panel is used by all rows while it is near. */
void product_rows(const struct product *p, int rows, int n0, int n1)
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
