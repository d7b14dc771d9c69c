/* Products of matrices in fp32: c[i][j] = sum over r of A(i, r) B(j, r), forward and for both gradients.
 *
 * The sum over r is cut into pieces: PIECE numbers each, or the gradient blocks of rows. A piece is one chain of fused
 * multiply-adds from zero; pieces are added in order, to zero or to what stands in c. A block of threads computes 128 x
 * 64 elements, each thread 8 x 8 of them, from slices of 8 along r in shared memory, two slices in turn. Few rows
 * (decoding) take another way to the same roundings: the pieces of 32 outputs are spread over the warps of a block.
 */
#ifndef CUDA_LINEAR_CUH
#define CUDA_LINEAR_CUH
#include "product16.cuh"

enum {
    TILE_I = 128,
    TILE_J = 64,
    SLICE = 8,
    PRODUCT_THREADS = 128,
    PER_A = TILE_I * SLICE / PRODUCT_THREADS,
    PER_B = TILE_J * SLICE / PRODUCT_THREADS
};

struct product {
    const float *a, *b, *bias; /* bias[j] is added at the end; may be NULL */
    float *c;                  /* [m][n] */
    const struct span *span;   /* pieces [spans] of r, or NULL: PIECE each, up to `length` */
    int m, n, length, spans;
    int a_stride, b_stride; /* from one row to the next, or from one r to the next */
    int fours;              /* numbers along r may be loaded four at a time */
};

/* Where the sum stands: r .. end are left of piece p. */
struct place {
    int p, r, end;
};

DEVICE struct place place_in(const struct product *a, int p)
{
    struct place at = {p, p * PIECE, (p + 1) * PIECE < a->length ? (p + 1) * PIECE : a->length};
    if (a->span) {
        while (at.p < a->spans && a->span[at.p].len == 0)
            at.p++;
        if (at.p < a->spans) {
            at.r = a->span[at.p].start;
            at.end = at.r + a->span[at.p].len;
        }
    }
    return at;
}

DEVICE struct place next_place(const struct product *a, struct place at)
{
    at.r += SLICE;
    return at.r < at.end ? at : place_in(a, at.p + 1);
}

/* How a matrix lies in memory: numbers along r are together, or those of one r are. */
enum together { ALONG_R, ALONG_ROWS };

/* Which row and r of a slice this thread's k-th number is: memory is read along the direction that lies together. */
DEVICE int slice_row(enum together way, int k, int tile, int per)
{
    return way == ALONG_R ? THREAD * per / SLICE : (THREAD + k * PRODUCT_THREADS) % tile;
}

DEVICE int slice_r(enum together way, int k, int tile, int per)
{
    return way == ALONG_R ? THREAD * per % SLICE + k : (THREAD + k * PRODUCT_THREADS) / tile;
}

/* A thread's share of a slice: `per` numbers from row0 and at.r on; zero beyond the matrix and the piece. */
DEVICE void load_slice(float *to, const float *from, enum together way, int stride, int fours, int row0, int rows,
                       struct place at, int tile, int per)
{
    int row = row0 + slice_row(way, 0, tile, per), r = at.r + slice_r(way, 0, tile, per);
    if (way == ALONG_R && fours && row < rows && r + per <= at.end) {
        UNROLLED
        for (int k = 0; k < per; k += 4)
            load_four(to + k, from + (size_t)row * stride + r + k);
        return;
    }
    UNROLLED
    for (int k = 0; k < per; k++) {
        row = row0 + slice_row(way, k, tile, per);
        r = at.r + slice_r(way, k, tile, per);
        size_t place = way == ALONG_R ? (size_t)row * stride + r : (size_t)r * stride + row;
        to[k] = row < rows && r < at.end ? from[place] : 0.0f;
    }
}

DEVICE void store_slice(float *slice, const float *from, enum together way, int tile, int per)
{
    UNROLLED
    for (int k = 0; k < per; k++)
        slice[slice_r(way, k, tile, per) * tile + slice_row(way, k, tile, per)] = from[k];
}

/* The i-th row or column of a thread's eight lies here: two runs of four, so that a warp reads shared memory evenly. */
DEVICE int of_eight(int thread, int i, int tile)
{
    return thread * 4 + i % 4 + i / 4 * (tile / 2);
}

UNCHECKED DEVICE void multiply_slice(float sum[8][8], const float *slice_a, const float *slice_b, int ti, int tj)
{
    UNROLLED
    for (int r = 0; r < SLICE; r++) {
        float x[8], y[8];
        UNROLLED
        for (int i = 0; i < 8; i++) {
            x[i] = slice_a[r * TILE_I + of_eight(ti, i, TILE_I)];
            y[i] = slice_b[r * TILE_J + of_eight(tj, i, TILE_J)];
        }
        UNROLLED
        for (int i = 0; i < 8; i++)
            UNROLLED
        for (int j = 0; j < 8; j++)
            sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
    }
}

UNCHECKED DEVICE void end_piece(float total[8][8], float sum[8][8])
{
    UNROLLED
    for (int i = 0; i < 64; i++) {
        total[i / 8][i % 8] += sum[i / 8][i % 8];
        sum[i / 8][i % 8] = 0.0f;
    }
}

/* total = what stands in c, or 0. */
DEVICE void begin_tile(const struct product *a, float total[8][8], int i0, int j0, int ti, int tj, int add)
{
    UNROLLED
    for (int i = 0; i < 8; i++)
        UNROLLED
    for (int j = 0; j < 8; j++) {
        int row = i0 + of_eight(ti, i, TILE_I), column = j0 + of_eight(tj, j, TILE_J);
        total[i][j] = add && row < a->m && column < a->n ? a->c[(size_t)row * a->n + column] : 0.0f;
    }
}

DEVICE void end_tile(const struct product *a, float total[8][8], int i0, int j0, int ti, int tj)
{
    UNROLLED
    for (int i = 0; i < 8; i++)
        UNROLLED
    for (int j = 0; j < 8; j++) {
        int row = i0 + of_eight(ti, i, TILE_I), column = j0 + of_eight(tj, j, TILE_J);
        if (row < a->m && column < a->n)
            a->c[(size_t)row * a->n + column] = a->bias ? total[i][j] + a->bias[column] : total[i][j];
    }
}

/* The ways and add are known where this is called, so that each kernel has only its own. */
DEVICE void product_tile(const struct product *a, enum together way_a, enum together way_b, int add)
{
    SHARED float slice_a[2][SLICE * TILE_I], slice_b[2][SLICE * TILE_J];
    float sum[8][8], total[8][8], next_a[PER_A] = {0}, next_b[PER_B] = {0};
    int tiles = (a->n + TILE_J - 1) / TILE_J, i0 = BLOCK / tiles * TILE_I, j0 = BLOCK % tiles * TILE_J;
    int ti = THREAD / (TILE_J / 8), tj = THREAD % (TILE_J / 8), turn = 0;
    int pieces = a->span ? a->spans : (a->length + PIECE - 1) / PIECE;
    begin_tile(a, total, i0, j0, ti, tj, add);
    struct place at = place_in(a, 0);
    if (at.p < pieces) {
        load_slice(next_a, a->a, way_a, a->a_stride, a->fours, i0, a->m, at, TILE_I, PER_A);
        load_slice(next_b, a->b, way_b, a->b_stride, a->fours, j0, a->n, at, TILE_J, PER_B);
    }
    UNROLLED
    for (int i = 0; i < 64; i++)
        sum[i / 8][i % 8] = 0.0f;
    while (at.p < pieces) {
        store_slice(slice_a[turn], next_a, way_a, TILE_I, PER_A);
        store_slice(slice_b[turn], next_b, way_b, TILE_J, PER_B);
        block_wait(); /* the slice two turns ago has been read: its readers passed here since */
        struct place next = next_place(a, at);
        if (next.p < pieces) {
            load_slice(next_a, a->a, way_a, a->a_stride, a->fours, i0, a->m, next, TILE_I, PER_A);
            load_slice(next_b, a->b, way_b, a->b_stride, a->fours, j0, a->n, next, TILE_J, PER_B);
        }
        multiply_slice(sum, slice_a[turn], slice_b[turn], ti, tj);
        if (next.p != at.p)
            end_piece(total, sum);
        at = next;
        turn ^= 1;
    }
    end_tile(a, total, i0, j0, ti, tj);
}

KERNEL(product_forward_kernel, PRODUCT_THREADS, product)
{
    product_tile(&a, ALONG_R, ALONG_R, 0);
}

KERNEL(product_input_kernel, PRODUCT_THREADS, product)
{
    product_tile(&a, ALONG_R, ALONG_ROWS, 0);
}

KERNEL(product_weight_kernel, PRODUCT_THREADS, product)
{
    product_tile(&a, ALONG_ROWS, ALONG_ROWS, 1);
}

static size_t product_tiles(int m, int n)
{
    return pieces_of((size_t)m, TILE_I) * pieces_of((size_t)n, TILE_J);
}

/* ---- few rows: a warp a piece, a lane an output ---- */

enum { FEW = 8, FEW_WARPS = THREADS / WARP };

/* sum[i] goes on along r .. end for the rows i of an output; rows beyond the matrix repeat the first. */
DEVICE void few_chains(float *sum, const struct product *a, int rows, int j, struct place at)
{
    const float *w = a->b + (size_t)j * a->length;
    int r = at.r;
    for (float four[4], x[4]; a->fours && r + 4 <= at.end; r += 4) {
        load_four(four, w + r);
        UNROLLED
        for (int i = 0; i < rows; i++) {
            load_four(x, a->a + (size_t)(i < a->m ? i : 0) * a->length + r);
            UNROLLED
            for (int k = 0; k < 4; k++)
                sum[i] = fmaf(x[k], four[k], sum[i]);
        }
    }
    for (; r < at.end; r++) {
        UNROLLED
        for (int i = 0; i < rows; i++)
            sum[i] = fmaf(a->a[(size_t)(i < a->m ? i : 0) * a->length + r], w[r], sum[i]);
    }
}

DEVICE void few_rows(const struct product *a, int rows)
{
    SHARED float part[FEW_WARPS][FEW][WARP];
    int warp = THREAD / WARP, lane = THREAD % WARP, j = BLOCK * WARP + lane, pieces = (a->length + PIECE - 1) / PIECE;
    float total = 0; /* of row `warp`, this lane's output */
    for (int first = 0; first < pieces; first += FEW_WARPS) {
        struct place at = place_in(a, first + warp);
        float sum[FEW];
        UNROLLED
        for (int i = 0; i < rows; i++)
            sum[i] = 0;
        if (j < a->n)
            few_chains(sum, a, rows, j, at);
        UNROLLED
        for (int i = 0; i < rows; i++)
            part[warp][i][lane] = sum[i];
        block_wait();
        for (int k = 0; k < FEW_WARPS && first + k < pieces && warp < rows; k++)
            total += part[k][warp][lane];
        block_wait();
    }
    if (warp < a->m && j < a->n)
        a->c[(size_t)warp * a->n + j] = a->bias ? total + a->bias[j] : total;
}

KERNEL(few_rows1_kernel, THREADS, product)
{
    few_rows(&a, 1);
}

KERNEL(few_rows2_kernel, THREADS, product)
{
    few_rows(&a, 2);
}

KERNEL(few_rows4_kernel, THREADS, product)
{
    few_rows(&a, 4);
}

KERNEL(few_rows8_kernel, THREADS, product)
{
    few_rows(&a, 8);
}

/* ---- rows of the table ---- */

/* Whether rows of `stride` numbers from a and b may be loaded four at a time. */
static int in_fours(Dev a, Dev b, int stride)
{
    return stride % 4 == 0 && (uintptr_t)a.p % 16 == 0 && (uintptr_t)b.p % 16 == 0;
}

static void cuda_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K)
{
    if (d->ops->bf16) {
        cuda16_linear_forward(d, out, in, W, b, M, N, K);
        return;
    }
    struct product a = {reals(in), reals(W), reals(b), reals(out), NULL, M, N, K, 0, K, K, in_fours(in, W, K)};
    size_t few = M > 0 ? pieces_of((size_t)N, WARP) : 0;
    if (M > FEW)
        LAUNCH(product_forward_kernel, d, product_tiles(M, N), 1, 0, a);
    else if (M > 4)
        LAUNCH(few_rows8_kernel, d, few, 1, 0, a);
    else if (M > 2)
        LAUNCH(few_rows4_kernel, d, few, 1, 0, a);
    else if (M == 2)
        LAUNCH(few_rows2_kernel, d, few, 1, 0, a);
    else
        LAUNCH(few_rows1_kernel, d, few, 1, 0, a);
}

static void cuda_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K)
{
    if (d->ops->bf16) {
        cuda16_linear_backward_input(d, din, dout, W, M, N, K);
        return;
    }
    struct product a = {reals(dout), reals(W), NULL, reals(din), NULL, M, K, N, 0, N, K, in_fours(dout, dout, N)};
    LAUNCH(product_input_kernel, d, product_tiles(M, K), 1, 0, a);
}

static void cuda_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks,
                                        int M, int N, int K)
{
    if (d->ops->bf16) {
        cuda16_linear_backward_weight(d, dW, db, dout, in, block, blocks, M, N, K);
        return;
    }
    const struct span *span = (const struct span *)block.p;
    struct product a = {reals(dout), reals(in), NULL, reals(dW), span, N, K, 0, blocks, N, K, 0};
    if (blocks > 0)
        LAUNCH(product_weight_kernel, d, product_tiles(N, K), 1, 0, a);
    if (db.p)
        cuda_add_column_sums(d, reals(db), dout, span, blocks, N);
}

#endif
