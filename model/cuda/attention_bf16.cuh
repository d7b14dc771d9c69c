/* Attention of the mixed precision: keys, values and queries in bf16 on the matrix units, everything else in fp32.
 *
 * As attention.cuh has it, with bigger tiles: a block of threads takes MIXED_QUERIES pairs, a warp 16 of them, and SPAN
 * positions at once. Scores are products of 16 x 8 x 16 (m16n8k16); the exponentials, rounded to bf16, are the left
 * side of the products with the values, for which they already lie as they should (Dao, FlashAttention-2, 2023). Sums
 * of exponentials are of the numbers before that rounding. A query is a row of every product, so what it gets depends
 * on no other, and shares are walked or spread and merged as in attention.cuh: the sampler's bits are the trainer's.
 *
 * One layer of the store: keys [G][store][D] in bf16, then values.
 */
#ifndef CUDA_ATTENTION_BF16_CUH
#define CUDA_ATTENTION_BF16_CUH
#include "attention.cuh"

enum { MIXED_QUERIES = 64, TILE_ROWS = 16, SCORE_TILES = SPAN / 8, HEAD_TILES = HEAD_MAX / 8 };

struct mixed {
    struct attention b; /* the batch; of its tensors stat, delta and part */
    Dev qkv, out, dout, to;
    uint16_t *kv;
    int eights; /* numbers may be loaded eight at a time */
};

static size_t cuda_store_reals_bf16(const struct attention_shape *s)
{
    return (size_t)s->G * s->store * s->D; /* two numbers to a real */
}

static struct mixed mixed_of_batch(const struct rows *r, const struct attention_shape *s, Dev qkv, Dev kv)
{
    struct mixed a;
    memset(&a, 0, sizeof a);
    a.b = attention_of_batch(r, s);
    a.qkv = qkv;
    a.kv = (uint16_t *)kv.p;
    a.eights = s->D % 8 == 0 && (uintptr_t)qkv.p % 16 == 0 && (uintptr_t)kv.p % 16 == 0;
    return a;
}

/* ---- numbers, eight at a time ---- */

/* Eight numbers in bf16, two to a word, the first one low. */
struct eight {
    uint32_t at[4];
} __attribute__((aligned(16)));

/* From number i on; those from n on are zero. fast: i and the address are multiples of eight numbers. */
DEVICE struct eight eight_at(Dev x, size_t i, int n, int fast)
{
    struct eight y;
    if (fast && n >= 8 && x.bf16)
        return *(const struct eight *)(const void *)((const uint16_t *)x.p + i);
    if (fast && n >= 8) {
        float f[8];
        load_four(f, (const float *)x.p + i);
        load_four(f + 4, (const float *)x.p + i + 4);
        UNROLLED
        for (int k = 0; k < 4; k++)
            y.at[k] = two_bf16(f[2 * k], f[2 * k + 1]);
        return y;
    }
    UNROLLED
    for (int k = 0; k < 4; k++)
        y.at[k] = two_bf16(2 * k < n ? get(x, i + 2 * k) : 0.0f, 2 * k + 1 < n ? get(x, i + 2 * k + 1) : 0.0f);
    return y;
}

/* ---- tiles in shared memory: rows of D numbers, two to a word ---- */

/* Words from one row to the next: 4 more than a multiple of 8, so that the 32 words of a fragment lie in 32 banks. */
DEVICE int tile_words(int D)
{
    return D / 2 + 4;
}

static size_t tile_bytes(int rows, int D)
{
    return (size_t)rows * (D / 2 + 4) * sizeof(uint32_t);
}

DEVICE void set_eight(uint32_t *tile, int row, int i, int D, struct eight x)
{
    *(struct eight *)(void *)(tile + row * tile_words(D) + 4 * i) = x;
}

/* A head's numbers for each pair of a tile, from rows of `width`; zero behind the tile and the head. */
DEVICE void load_mixed_heads(uint32_t *tile, const struct mixed *a, Dev from, int width, const struct tile *t, int g,
                             int size, int D)
{
    for (int i = THREAD; i < size * (D / 8); i += ATTENTION_THREADS) {
        int row = i / (D / 8), at = i % (D / 8) * 8, n = row < t->units ? a->b.s.D - at : 0;
        struct pair p = pair_of(&a->b, t, g, row < t->units ? row : 0);
        set_eight(tile, row, at / 8, D,
                  eight_at(from, (size_t)p.row * width + (size_t)p.head * a->b.s.D + at, n, a->eights));
    }
}

/* Keys or values (head g, or g + G) of n positions; zero behind them. */
DEVICE void load_mixed_keys(uint32_t *tile, const struct mixed *a, int head, const int *token, int n, int D)
{
    Dev from = {a->kv, 1};
    for (int i = THREAD; i < SPAN * (D / 8); i += ATTENTION_THREADS) {
        int row = i / (D / 8), at = i % (D / 8) * 8;
        size_t first = ((size_t)head * a->b.s.store + token[row < n ? row : 0]) * a->b.s.D + at;
        set_eight(tile, row, at / 8, D, eight_at(from, first, row < n ? a->b.s.D - at : 0, a->eights));
    }
}

/* Both of n positions of a region, from `position` on, for the whole block; token: room for their places in the store.
 */
DEVICE void load_span(uint32_t *key, uint32_t *value, int *token, const struct mixed *a, int region, int g,
                      int position, int n, int D)
{
    block_wait();
    if (THREAD < n)
        token[THREAD] = token_at(&a->b, region, position + THREAD);
    block_wait();
    load_mixed_keys(key, a, g, token, n, D);
    load_mixed_keys(value, a, g + a->b.s.G, token, n, D);
    block_wait();
}

/* ---- fragments of m16n8k16 (PTX ISA, "Matrix fragments for mma.m16n8k16"): with g = lane / 4 and t = lane % 4, a lane
 * holds rows g and g + 8 of the left side and of the result, and column g of the right side ---- */

/* Left side: rows row .. row+16, numbers k .. k+16. */
DEVICE void left_fragment(uint32_t f[4], const uint32_t *tile, int row, int k, int D)
{
    const uint32_t *p = tile + (row + THREAD % WARP / 4) * tile_words(D) + k / 2 + THREAD % 4;
    f[0] = p[0];
    f[1] = p[8 * tile_words(D)];
    f[2] = p[4];
    f[3] = p[8 * tile_words(D) + 4];
}

/* Right side whose columns are rows row .. row+8 of the tile, numbers k .. k+16 of each. */
DEVICE void right_fragment(uint32_t f[2], const uint32_t *tile, int row, int k, int D)
{
    const uint32_t *p = tile + (row + THREAD % WARP / 4) * tile_words(D) + k / 2 + THREAD % 4;
    f[0] = p[0];
    f[1] = p[4];
}

/* Two right sides that run along the tile's rows k .. k+16; their columns are numbers column .. +8 and +8 .. +16. */
DEVICE void across_fragments(uint32_t f[4], const uint32_t *tile, int k, int column, int D)
{
    int lane = THREAD % WARP;
    load_transposed(f, tile + (k + lane % 16) * tile_words(D) + (column + lane / 16 * 8) / 2);
}

/* Results of two neighbouring products as the left side of the next one. */
DEVICE void left_of_results(uint32_t f[4], float first[4], float second[4])
{
    f[0] = two_bf16(first[0], first[1]);
    f[1] = two_bf16(first[2], first[3]);
    f[2] = two_bf16(second[0], second[1]);
    f[3] = two_bf16(second[2], second[3]);
}

/* result[tile] = the products of 16 rows of `left` with 8 rows each of `right`. */
UNCHECKED DEVICE void row_products(float (*result)[4], int tiles, const uint32_t *left, int row, const uint32_t *right,
                                   int D)
{
    UNROLLED
    for (int i = 0; i < tiles; i++)
        result[i][0] = result[i][1] = result[i][2] = result[i][3] = 0;
    UNROLLED
    for (int k = 0; k < D; k += 16) {
        uint32_t x[4], y[2];
        left_fragment(x, left, row, k, D);
        UNROLLED
        for (int i = 0; i < tiles; i++) {
            right_fragment(y, right, 8 * i, k, D);
            multiply_tile(result[i], x, y);
        }
    }
}

/* sum[D / 8] += left, which are results of `tiles` products, times the rows of `right`. */
UNCHECKED DEVICE void add_products(float (*sum)[4], float (*left)[4], int tiles, const uint32_t *right, int D)
{
    UNROLLED
    for (int i = 0; i < tiles; i += 2) {
        uint32_t x[4], y[4];
        left_of_results(x, left[i], left[i + 1]);
        UNROLLED
        for (int n = 0; n < D; n += 16) {
            across_fragments(y, right, 8 * i, n, D);
            multiply_tile(sum[n / 8], x, y);
            multiply_tile(sum[n / 8 + 1], x, y + 2);
        }
    }
}

/* ---- the store ---- */

/* A block a row: all its keys and values. */
KERNEL(store_bf16_kernel, ATTENTION_THREADS, mixed)
{
    const struct run *run = &a.b.run[run_of_row(&a.b, BLOCK)];
    int token = token_at(&a.b, run->region, run->pos + BLOCK - run->row), D = a.b.s.D, n = a.b.s.G * D;
    size_t from = (size_t)BLOCK * qkv_width(&a.b.s) + (size_t)a.b.s.H * D;
    for (int i = THREAD; i < 2 * n; i += ATTENTION_THREADS)
        a.kv[((size_t)(i / D) * a.b.s.store + token) * D + i % D] = to_bf16(get(a.qkv, from + i));
}

static void cuda_store_bf16(struct device *d, Dev kv, Dev qkv, const struct rows *r, const struct attention_shape *s)
{
    struct mixed a = mixed_of_batch(r, s, qkv, kv);
    LAUNCH(store_bf16_kernel, d, r->count, 1, 0, a);
}

/* ---- forward ---- */

/* A thread's two queries (rows g and g + 8 of its warp's tile) and what they have summed up. */
struct two_rows {
    float max[2], sum[2], out[HEAD_TILES][4];
    int visible[2]; /* 0: behind the tile */
};

UNCHECKED DEVICE void no_sums(struct two_rows *s, int D)
{
    for (int i = 0; i < 2; i++) {
        s->max[i] = -INFINITY;
        s->sum[i] = 0;
    }
    UNROLLED
    for (int i = 0; i < D / 8; i++)
        s->out[i][0] = s->out[i][1] = s->out[i][2] = s->out[i][3] = 0;
}

/* The position of a thread's result e in tile i of a row of products. */
DEVICE int result_column(int i, int e)
{
    return 8 * i + THREAD % 4 * 2 + e % 2;
}

/* One span, the first key at position `first`, goes into the sums. */
UNCHECKED DEVICE void add_span(struct two_rows *s, const uint32_t *query, const uint32_t *key, const uint32_t *value,
                               int row, int first, float scale, int D)
{
    float score[SCORE_TILES][4], most[2], old[2];
    row_products(score, SCORE_TILES, query, row, key, D);
    UNROLLED
    for (int r = 0; r < 2; r++) {
        float max = -INFINITY;
        UNROLLED
        for (int i = 0; i < 2 * SCORE_TILES; i++) {
            float *x = &score[i / 2][2 * r + i % 2];
            *x = first + result_column(i / 2, i % 2) < s->visible[r] ? *x * scale : -INFINITY;
            max = larger(max, *x);
        }
        most[r] = larger(s->max[r], quad_max(max));
        float base = most[r] == -INFINITY ? 0.0f : most[r], sum = 0; /* nothing seen yet: every weight is 0 */
        old[r] = quick_exp(s->max[r] - base);
        UNROLLED
        for (int i = 0; i < 2 * SCORE_TILES; i++) {
            float *x = &score[i / 2][2 * r + i % 2];
            *x = quick_exp(*x - base);
            sum += *x;
        }
        s->sum[r] = fmaf(s->sum[r], old[r], quad_sum(sum));
        s->max[r] = most[r];
    }
    UNROLLED
    for (int i = 0; i < 4 * (D / 8); i++)
        s->out[i / 4][i % 4] *= old[i % 4 / 2];
    add_products(s->out, score, SCORE_TILES, value, D);
}

/* total takes what a share summed up. */
UNCHECKED DEVICE void add_mixed_share(struct two_rows *total, const struct two_rows *s, int share, int D)
{
    UNROLLED
    for (int r = 0; r < 2; r++) {
        struct running both = {total->max[r], total->sum[r], 0, 0};
        if (share * SPAN >= s->visible[r])
            continue;
        both = merged(both, s->max[r], s->sum[r]);
        total->max[r] = both.max;
        total->sum[r] = both.sum;
        UNROLLED
        for (int i = 0; i < 2 * (D / 8); i++) {
            float *x = &total->out[i / 2][2 * r + i % 2];
            *x = fmaf(*x, both.old, s->out[i / 2][2 * r + i % 2] * both.fresh);
        }
    }
}

/* The parts of one share, for attention_merge. */
UNCHECKED DEVICE void store_mixed_share(const struct mixed *a, const struct two_rows *s, const struct tile *t, int g,
                                        int row, int share, int D)
{
    UNROLLED
    for (int r = 0; r < 2; r++) {
        if (share * SPAN >= s->visible[r])
            continue;
        struct pair to = pair_of(&a->b, t, g, row + THREAD % WARP / 4 + 8 * r);
        float *part = part_of(&a->b, to.row, to.head, share);
        UNROLLED
        for (int i = 0; i < 2 * (D / 8); i++)
            if (result_column(i / 2, i % 2) < a->b.s.D)
                part[result_column(i / 2, i % 2)] = s->out[i / 2][2 * r + i % 2];
        part[a->b.s.D] = s->max[r];
        part[a->b.s.D + 1] = s->sum[r];
    }
}

UNCHECKED DEVICE void store_mixed(const struct mixed *a, const struct two_rows *s, const struct tile *t, int g, int row,
                                  int D)
{
    UNROLLED
    for (int r = 0; r < 2; r++) {
        if (s->visible[r] == 0)
            continue;
        struct pair to = pair_of(&a->b, t, g, row + THREAD % WARP / 4 + 8 * r);
        size_t head = (size_t)to.row * a->b.s.H + to.head;
        UNROLLED
        for (int i = 0; i < 2 * (D / 8); i++)
            if (result_column(i / 2, i % 2) < a->b.s.D)
                put(a->to, head * a->b.s.D + result_column(i / 2, i % 2), s->out[i / 2][2 * r + i % 2] / s->sum[r]);
        if (a->b.stat) {
            a->b.stat[2 * head] = s->max[r];
            a->b.stat[2 * head + 1] = s->sum[r];
        }
    }
}

/* D (the head's size, rounded up) and `spread` are known where this is called, so that sums are in registers. */
DEVICE void mixed_forward(const struct mixed *a, int D, int spread)
{
    SHARED int token[SPAN];
    SHARED_FLOATS(shared);
    uint32_t *query = (uint32_t *)(void *)shared, *key = query + MIXED_QUERIES * tile_words(D),
             *value = key + SPAN * tile_words(D);
    int g = BLOCK_Y % a->b.s.G, share = BLOCK_Y / a->b.s.G, G = a->b.s.G, row = THREAD / WARP * TILE_ROWS;
    struct tile t = tile_of_block(&a->b, BLOCK, a->b.s.H / G, MIXED_QUERIES);
    struct two_rows share_sums, total;
    if (t.units == 0)
        return;
    int end = pair_of(&a->b, &t, g, t.units - 1).visible, last = spread ? share + 1 : SHARES;
    for (int r = 0; r < 2; r++) {
        int i = row + THREAD % WARP / 4 + 8 * r;
        share_sums.visible[r] = total.visible[r] = i < t.units ? pair_of(&a->b, &t, g, i).visible : 0;
    }
    if (share * SPAN >= end)
        return;
    load_mixed_heads(query, a, a->qkv, qkv_width(&a->b.s), &t, g, MIXED_QUERIES, D);
    if (!spread)
        no_sums(&total, D);
    for (; share < last && share * SPAN < end; share++) {
        no_sums(&share_sums, D);
        for (int first = share * SPAN; first < end; first = next_in_share(first, SPAN)) {
            int n = end - first < SPAN ? end - first : SPAN;
            load_span(key, value, token, a, a->b.run[t.run].region, g, first, n, D);
            if (row < t.units)
                add_span(&share_sums, query, key, value, row, first, a->b.s.scale, D);
        }
        if (spread)
            store_mixed_share(a, &share_sums, &t, g, row, share, D);
        else
            add_mixed_share(&total, &share_sums, share, D);
    }
    if (!spread)
        store_mixed(a, &total, &t, g, row, D);
}

KERNEL(mixed_forward64_kernel, ATTENTION_THREADS, mixed)
{
    mixed_forward(&a, 64, 0);
}

KERNEL(mixed_forward128_kernel, ATTENTION_THREADS, mixed)
{
    mixed_forward(&a, 128, 0);
}

KERNEL(mixed_share64_kernel, ATTENTION_THREADS, mixed)
{
    mixed_forward(&a, 64, 1);
}

KERNEL(mixed_share128_kernel, ATTENTION_THREADS, mixed)
{
    mixed_forward(&a, 128, 1);
}

KERNEL(mixed_merge_kernel, ATTENTION_THREADS, mixed)
{
    float sum, total;
    size_t at = merge_shares(&a.b, &sum, &total);
    if (THREAD < a.b.s.D)
        put(a.to, at, sum / total);
}

static void cuda_attention_forward_bf16(struct device *d, Dev out, Dev stat, Dev qkv, Dev kv, const struct rows *r,
                                        const struct attention_shape *s)
{
    struct mixed a = mixed_of_batch(r, s, qkv, kv);
    size_t tiles = tile_blocks(r->count, r->runs, s->H / s->G, MIXED_QUERIES);
    size_t bytes = tile_bytes(MIXED_QUERIES + 2 * SPAN, s->D > 64 ? 128 : 64);
    a.to = out;
    a.b.stat = reals(stat);
    if (r->count > split_rows(s)) {
        if (s->D > 64)
            LAUNCH(mixed_forward128_kernel, d, tiles, s->G, bytes, a);
        else
            LAUNCH(mixed_forward64_kernel, d, tiles, s->G, bytes, a);
        return;
    }
    a.b.part = scratch_of(d, part_bytes(r->count, s));
    if (s->D > 64)
        LAUNCH(mixed_share128_kernel, d, tiles, s->G * SHARES, bytes, a);
    else
        LAUNCH(mixed_share64_kernel, d, tiles, s->G * SHARES, bytes, a);
    LAUNCH(mixed_merge_kernel, d, r->count * s->H, 1, 0, a);
}

#endif
