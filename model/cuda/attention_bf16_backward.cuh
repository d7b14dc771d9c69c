/* Attention backward of the mixed precision: the two kernels of attention_backward.cuh on the matrix units. P and dS
 * are rounded to bf16 where they are multiplied on; sums are fp32. Each sum has one owner and one order here too. */
#ifndef CUDA_ATTENTION_BF16_BACKWARD_CUH
#define CUDA_ATTENTION_BF16_BACKWARD_CUH
#include "attention_backward.cuh"
#include "attention_bf16.cuh"

enum { STEP_QUERIES = 32, STEP_TILES = STEP_QUERIES / 8 }; /* of queries that a block of keys takes at once */

/* dout.out of every (row, head): a thread each. */
KERNEL(mixed_delta_kernel, ATTENTION_THREADS, mixed)
{
    size_t i = (size_t)BLOCK * ATTENTION_THREADS + THREAD;
    float sum = 0;
    if (i >= (size_t)a.b.rows * a.b.s.H)
        return;
    for (int c = 0; c < a.b.s.D; c++)
        sum = fmaf(get(a.dout, i * a.b.s.D + c), get(a.out, i * a.b.s.D + c), sum);
    a.b.to[i] = sum;
}

/* What the probabilities of a query are computed from; those behind a tile see nothing. */
struct query_numbers {
    float max, inverse, delta; /* inverse: of the sum of exponentials */
    int visible;
};

DEVICE struct query_numbers query_numbers_of(const struct mixed *a, const struct tile *t, int g, int i)
{
    struct query_numbers q = {0, 0, 0, 0};
    if (i >= t->units)
        return q;
    struct pair p = pair_of(&a->b, t, g, i);
    size_t head = (size_t)p.row * a->b.s.H + p.head;
    q.max = a->b.stat[2 * head];
    q.inverse = 1.0f / a->b.stat[2 * head + 1];
    q.delta = a->b.delta[head];
    q.visible = p.visible;
    return q;
}

/* A score becomes P, and the product dout.v becomes dS. */
DEVICE void to_gradient(float *score, float *dp, struct query_numbers q, int seen, float scale)
{
    *score = seen ? quick_exp(*score * scale - q.max) * q.inverse : 0.0f;
    *dp = seen ? *score * (*dp - q.delta) * scale : 0.0f;
}

/* A row of results of the 16-row tile that begins at `row`, as rows of a tensor: `where` numbers from x's start for
 * each of the two rows a thread holds; negative: not there. */
UNCHECKED DEVICE void store_results(Dev x, const long where[2], float (*result)[4], int size, int D)
{
    UNROLLED
    for (int i = 0; i < 4 * (D / 8); i++) {
        int column = result_column(i / 4, i % 4);
        if (where[i % 4 / 2] >= 0 && column < size)
            put(x, (size_t)(where[i % 4 / 2] + column), result[i / 4][i % 4]);
    }
}

UNCHECKED DEVICE void zero_results(float (*result)[4], int D)
{
    UNROLLED
    for (int i = 0; i < 4 * (D / 8); i++)
        result[i / 4][i % 4] = 0;
}

/* ---- dq: a warp 16 queries, which walk their keys in order ---- */

UNCHECKED DEVICE void add_query_gradient(float (*dq)[4], const struct query_numbers q[2], const uint32_t *query,
                                         const uint32_t *dout, const uint32_t *key, const uint32_t *value, int row,
                                         int first, float scale, int D)
{
    float score[SCORE_TILES][4], dp[SCORE_TILES][4];
    row_products(score, SCORE_TILES, query, row, key, D);
    row_products(dp, SCORE_TILES, dout, row, value, D);
    UNROLLED
    for (int i = 0; i < 4 * SCORE_TILES; i++) {
        struct query_numbers mine = q[i % 4 / 2];
        to_gradient(&score[i / 4][i % 4], &dp[i / 4][i % 4], mine, first + result_column(i / 4, i % 4) < mine.visible,
                    scale);
    }
    add_products(dq, dp, SCORE_TILES, key, D);
}

DEVICE void mixed_query_backward(const struct mixed *a, int D)
{
    SHARED int token[SPAN];
    SHARED_FLOATS(shared);
    uint32_t *query = (uint32_t *)(void *)shared, *dout = query + MIXED_QUERIES * tile_words(D);
    uint32_t *key = dout + MIXED_QUERIES * tile_words(D), *value = key + SPAN * tile_words(D);
    int g = BLOCK_Y, H = a->b.s.H, G = a->b.s.G, row = THREAD / WARP * TILE_ROWS, own = row + THREAD % WARP / 4;
    struct tile t = tile_of_block(&a->b, BLOCK, H / G, MIXED_QUERIES);
    float dq[HEAD_TILES][4];
    if (t.units == 0 || group_of_run(&a->b, t.run) < 0)
        return;
    int end = pair_of(&a->b, &t, g, t.units - 1).visible;
    struct query_numbers q[2] = {query_numbers_of(a, &t, g, own), query_numbers_of(a, &t, g, own + 8)};
    load_mixed_heads(query, a, a->qkv, qkv_width(&a->b.s), &t, g, MIXED_QUERIES, D);
    load_mixed_heads(dout, a, a->dout, H * a->b.s.D, &t, g, MIXED_QUERIES, D);
    zero_results(dq, D);
    for (int first = 0; first < end; first += SPAN) {
        int n = end - first < SPAN ? end - first : SPAN;
        load_span(key, value, token, a, a->b.run[t.run].region, g, first, n, D);
        if (row < t.units)
            add_query_gradient(dq, q, query, dout, key, value, row, first, a->b.s.scale, D);
    }
    long where[2] = {-1, -1};
    for (int r = 0; r < 2; r++)
        if (own + 8 * r < t.units) {
            struct pair to = pair_of(&a->b, &t, g, own + 8 * r);
            where[r] = (long)to.row * qkv_width(&a->b.s) + (long)to.head * a->b.s.D;
        }
    store_results(a->to, where, dq, a->b.s.D, D);
}

KERNEL(mixed_query64_kernel, ATTENTION_THREADS, mixed)
{
    mixed_query_backward(&a, 64);
}

KERNEL(mixed_query128_kernel, ATTENTION_THREADS, mixed)
{
    mixed_query_backward(&a, 128);
}

/* ---- dk and dv: a warp 16 keys, to which the queries of the group come row by row ---- */

struct key_tiles {          /* in shared memory */
    uint32_t *key, *value;  /* [SPAN] */
    uint32_t *query, *dout; /* [STEP_QUERIES] */
    struct query_numbers *numbers;
};

/* limit: positions from there on are not seen by this run. */
UNCHECKED DEVICE void add_key_gradient(float (*dk)[4], float (*dv)[4], const struct key_tiles *p, int row, int position,
                                       int limit, float scale, int D)
{
    float score[STEP_TILES][4], dp[STEP_TILES][4]; /* rows are keys, columns queries */
    row_products(score, STEP_TILES, p->key, row, p->query, D);
    row_products(dp, STEP_TILES, p->value, row, p->dout, D);
    UNROLLED
    for (int i = 0; i < 4 * STEP_TILES; i++) {
        struct query_numbers q = p->numbers[result_column(i / 4, i % 4)];
        int at = position + row + THREAD % WARP / 4 + i % 4 / 2 * 8;
        to_gradient(&score[i / 4][i % 4], &dp[i / 4][i % 4], q, at < q.visible && at < limit, scale);
    }
    add_products(dv, score, STEP_TILES, p->dout, D);
    add_products(dk, dp, STEP_TILES, p->query, D);
}

/* The queries of one run, from its first that sees the keys on, a step of STEP_QUERIES after the other. */
DEVICE void add_run_gradient(float (*dk)[4], float (*dv)[4], const struct mixed *a, const struct key_tiles *p,
                             const struct tile *keys, int r, int g, int position, int D)
{
    const struct run *run = &a->b.run[r];
    int H = a->b.s.H, ratio = H / a->b.s.G, row = THREAD / WARP * TILE_ROWS;
    int limit = seen_until(&a->b, run, a->b.run[keys->run].region), end = position + keys->units;
    int skip = position > run->pos ? position - run->pos : 0;
    limit = limit < end ? limit : end;
    if (limit <= position)
        return;
    for (int first = skip * ratio; first < run->len * ratio; first += STEP_QUERIES) {
        int left = run->len * ratio - first;
        struct tile t = {r, first, left < STEP_QUERIES ? left : STEP_QUERIES};
        block_wait();
        load_mixed_heads(p->query, a, a->qkv, qkv_width(&a->b.s), &t, g, STEP_QUERIES, D);
        load_mixed_heads(p->dout, a, a->dout, H * a->b.s.D, &t, g, STEP_QUERIES, D);
        if (THREAD < STEP_QUERIES)
            p->numbers[THREAD] = query_numbers_of(a, &t, g, THREAD);
        block_wait();
        if (row < keys->units)
            add_key_gradient(dk, dv, p, row, position, limit, a->b.s.scale, D);
    }
}

DEVICE void mixed_key_backward(const struct mixed *a, int D)
{
    SHARED int token[SPAN];
    SHARED struct query_numbers numbers[STEP_QUERIES];
    SHARED_FLOATS(shared);
    uint32_t *key = (uint32_t *)(void *)shared, *value = key + SPAN * tile_words(D);
    struct key_tiles p = {key, value, value + SPAN * tile_words(D), value + (SPAN + STEP_QUERIES) * tile_words(D),
                          numbers};
    int g = BLOCK_Y, G = a->b.s.G, row = THREAD / WARP * TILE_ROWS, own = row + THREAD % WARP / 4;
    struct tile keys = tile_of_block(&a->b, BLOCK, 1, SPAN);
    int group = group_of_run(&a->b, keys.run);
    float dk[HEAD_TILES][4], dv[HEAD_TILES][4];
    if (keys.units == 0 || group < 0)
        return;
    const struct run *run = &a->b.run[keys.run];
    int position = run->pos + keys.first;
    load_span(p.key, p.value, token, a, run->region, g, position, keys.units, D);
    zero_results(dk, D);
    zero_results(dv, D);
    for (int r = a->b.group[group].start; r < a->b.group[group].start + a->b.group[group].len; r++)
        add_run_gradient(dk, dv, a, &p, &keys, r, g, position, D);
    long to_key[2] = {-1, -1}, to_value[2] = {-1, -1};
    for (int r = 0; r < 2; r++)
        if (own + 8 * r < keys.units) {
            to_key[r] =
                (long)(run->row + keys.first + own + 8 * r) * qkv_width(&a->b.s) + (long)(a->b.s.H + g) * a->b.s.D;
            to_value[r] = to_key[r] + (long)G * a->b.s.D;
        }
    store_results(a->to, to_key, dk, a->b.s.D, D);
    store_results(a->to, to_value, dv, a->b.s.D, D);
}

KERNEL(mixed_key64_kernel, ATTENTION_THREADS, mixed)
{
    mixed_key_backward(&a, 64);
}

KERNEL(mixed_key128_kernel, ATTENTION_THREADS, mixed)
{
    mixed_key_backward(&a, 128);
}

static void cuda_attention_backward_bf16(struct device *d, Dev dqkv, Dev dout, Dev out, Dev stat, Dev qkv, Dev kv,
                                         const struct rows *r, const struct attention_shape *s)
{
    struct mixed a = mixed_of_batch(r, s, qkv, kv);
    float *delta = scratch_of(d, (size_t)r->count * s->H * sizeof(float));
    size_t query_tiles = tile_blocks(r->count, r->runs, s->H / s->G, MIXED_QUERIES);
    size_t key_tiles = tile_blocks(r->count, r->runs, 1, SPAN);
    int D = s->D > 64 ? 128 : 64;
    a.eights = a.eights && (uintptr_t)dout.p % 16 == 0;
    a.out = out;
    a.dout = dout;
    a.b.to = delta;
    LAUNCH(mixed_delta_kernel, d, pieces_of((size_t)r->count * s->H, ATTENTION_THREADS), 1, 0, a);
    a.to = dqkv;
    a.b.delta = delta;
    a.b.stat = reals(stat);
    if (D > 64) {
        LAUNCH(mixed_query128_kernel, d, query_tiles, s->G, tile_bytes(2 * MIXED_QUERIES + 2 * SPAN, D), a);
        LAUNCH(mixed_key128_kernel, d, key_tiles, s->G, tile_bytes(2 * STEP_QUERIES + 2 * SPAN, D), a);
    } else {
        LAUNCH(mixed_query64_kernel, d, query_tiles, s->G, tile_bytes(2 * MIXED_QUERIES + 2 * SPAN, D), a);
        LAUNCH(mixed_key64_kernel, d, key_tiles, s->G, tile_bytes(2 * STEP_QUERIES + 2 * SPAN, D), a);
    }
}

#endif
