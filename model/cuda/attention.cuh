/* Attention forward over chains of regions, and the store of keys and values.
 *
 * A block of threads takes up to QUERIES (token, head) pairs of one run that read the same key head. Their keys are cut
 * at absolute positions into spans of SPAN, which are dealt in turn to SHARES shares. A share walks its spans in order,
 * in blocks of KEYS: scores (a thread of the warp a key), their exact maximum and the sum of exponentials over the
 * warp, values as one chain over the positions; then the block is merged into what the share had. At the end the shares
 * are merged in order. Keys that a query does not see weigh exactly 0, and a share of which it sees nothing is left
 * out, so a query's numbers depend on nothing but its own keys.
 *
 * With many tiles a block of threads walks all the shares; with few (decoding) each share has a block of its own, which
 * leaves its part in scratch memory, and a second kernel merges. Both are the same sequence of roundings, and neither
 * the launch nor the scratch memory depends on how long the contexts are.
 *
 * One layer of the store: keys [G][store][D], then values [G][store][D].
 */
#ifndef CUDA_ATTENTION_CUH
#define CUDA_ATTENTION_CUH
#include "cuda.cuh"

enum { QUERIES = 16, KEYS = WARP, ATTENTION_THREADS = 128, ATTENTION_WARPS = ATTENTION_THREADS / WARP, HEAD_MAX = 128 };
enum {
    SPAN = 64,         /* positions that stay together, a multiple of KEYS */
    SHARES = 16,       /* to which spans are dealt: as many blocks of threads as one tile can be spread over */
    SPLIT_TILES = 512, /* with more tiles than that the shares of one are walked by one block of threads */
    PART_EXTRA = 2     /* after the D sums of a share's part: its maximum and its sum of exponentials */
};

static size_t cuda_store_reals(const struct attention_shape *s)
{
    return 2 * (size_t)s->G * s->store * s->D;
}

struct attention {
    const float *qkv, *kv, *out, *dout, *delta;
    float *to, *stat, *keys, *part; /* keys: of the store, when it is written; part [rows][H][SHARES][D + PART_EXTRA] */
    int fours;                      /* keys and values may be loaded four numbers at a time */
    const struct region *region;
    const struct run *run;
    const struct span *group;
    int rows, runs, groups;
    struct attention_shape s;
};

static struct attention attention_of_batch(const struct rows *r, const struct attention_shape *s)
{
    struct attention a;
    if (s->D > HEAD_MAX)
        die("heads of %d numbers; the GPU's attention holds at most %d", s->D, HEAD_MAX);
    memset(&a, 0, sizeof a);
    a.region = (const struct region *)r->region.p;
    a.run = (const struct run *)r->run.p;
    a.group = (const struct span *)r->group.p;
    a.rows = r->count;
    a.runs = r->runs;
    a.groups = r->groups;
    a.s = *s;
    return a;
}

DEVICE int qkv_width(const struct attention_shape *s)
{
    return (s->H + 2 * s->G) * s->D;
}

DEVICE const float *key_of(const struct attention *a, int g, int token)
{
    return a->kv + ((size_t)g * a->s.store + token) * a->s.D;
}

DEVICE const float *value_of(const struct attention *a, int g, int token)
{
    return key_of(a, g + a->s.G, token);
}

/* The run that holds a row: runs stand in the order of their rows, so the last that begins there or before. */
DEVICE int run_of_row(const struct attention *a, int row)
{
    int low = 0, high = a->runs - 1;
    if (row < a->runs && a->run[row].row == row && a->run[row].len == 1)
        return row; /* decoding */
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (a->run[middle].row <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Which token of the store holds a position on the chain of regions that ends in `region`. */
DEVICE int token_at(const struct attention *a, int region, int position)
{
    while (position < a->region[region].pos)
        region = a->region[region].parent;
    return a->region[region].base + position - a->region[region].pos;
}

/* A block a row: all its keys and values. */
KERNEL(store_kernel, ATTENTION_THREADS, attention)
{
    const struct run *run = &a.run[run_of_row(&a, BLOCK)];
    int token = token_at(&a, run->region, run->pos + BLOCK - run->row), n = a.s.G * a.s.D;
    const float *from = a.qkv + (size_t)BLOCK * qkv_width(&a.s) + (size_t)a.s.H * a.s.D;
    for (int i = THREAD; i < 2 * n; i += ATTENTION_THREADS)
        a.keys[((size_t)(i / a.s.D) * a.s.store + token) * a.s.D + i % a.s.D] = from[i];
}

static void cuda_store(struct device *d, Dev kv, Dev qkv, const struct rows *r, const struct attention_shape *s)
{
    struct attention a = attention_of_batch(r, s);
    a.keys = reals(kv);
    a.qkv = reals(qkv);
    LAUNCH(store_kernel, d, r->count, 1, 0, a);
}

/* ---- tiles: rows of a run, cut so that the host need not know the lengths of runs ----
 *
 * With `each` units a row (query heads, or 1) and tiles of `size` units, run i owns the blocks from i + floor(row each
 * / size) on, up to the next run's; that is at least as many as it needs. */
struct tile {
    int run, first, units; /* units of the run from `first` on; 0: nothing to do */
};

DEVICE int tile_block(const struct attention *a, int run, int each, int size)
{
    return run + (int)((long)a->run[run].row * each / size);
}

static size_t tile_blocks(int rows, int runs, int each, int size)
{
    return (size_t)runs + (size_t)rows * each / size;
}

DEVICE struct tile tile_of_block(const struct attention *a, int block, int each, int size)
{
    int low = 0, high = a->runs - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (tile_block(a, middle, each, size) <= block)
            low = middle;
        else
            high = middle - 1;
    }
    struct tile t = {low, (block - tile_block(a, low, each, size)) * size, 0};
    int left = a->run[low].len * each - t.first;
    t.units = left < 0 ? 0 : left < size ? left : size;
    return t;
}

/* The (token, head) pair of a tile: row of the batch, query head, keys seen. */
struct pair {
    int row, head, visible;
};

DEVICE struct pair pair_of(const struct attention *a, const struct tile *t, int g, int i)
{
    int ratio = a->s.H / a->s.G, token = (t->first + i) / ratio;
    const struct run *run = &a->run[t->run];
    struct pair p = {run->row + token, g * ratio + (t->first + i) % ratio, run->pos + token + 1};
    return p;
}

/* Rows of D numbers in shared memory lie this far apart: odd, so that lanes on different rows meet no common bank. */
DEVICE int padded(int D)
{
    return D | 1;
}

/* Keys or values of positions first .. first+n into shared memory [KEYS][padded]; zero behind them. */
DEVICE void load_keys(float *to, const struct attention *a, int head, const int *token, int n)
{
    int D = a->s.D;
    for (int i = 4 * THREAD; a->fours && i < KEYS * D; i += 4 * ATTENTION_THREADS) {
        float four[4] = {0, 0, 0, 0};
        if (i / D < n)
            load_four(four, key_of(a, head, token[i / D]) + i % D);
        UNROLLED
        for (int k = 0; k < 4; k++)
            to[i / D * padded(D) + i % D + k] = four[k];
    }
    if (a->fours)
        return;
    for (int i = THREAD; i < KEYS * D; i += ATTENTION_THREADS)
        to[i / D * padded(D) + i % D] = i / D < n ? key_of(a, head, token[i / D])[i % D] : 0.0f;
}

/* One row of `width` numbers for each pair of a tile, a head's D of them; zero behind the tile. */
DEVICE void load_heads(float *to, const struct attention *a, const float *from, int width, const struct tile *t, int g,
                       int size)
{
    int D = a->s.D;
    for (int i = THREAD; i < size * D; i += ATTENTION_THREADS) {
        struct pair p = pair_of(a, t, g, i / D);
        to[i] = i / D < t->units ? from[(size_t)p.row * width + (size_t)p.head * D + i % D] : 0.0f;
    }
}

DEVICE float dot_of(const float *x, const float *y, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum = fmaf(x[i], y[i], sum);
    return sum;
}

/* ---- forward ---- */

/* Where the parts of the shared memory lie. */
struct forward_parts {
    float *query, *key, *weight, *out, *total; /* [QUERIES][D], [KEYS][padded], [QUERIES][KEYS], [QUERIES][D] twice */
};

DEVICE struct forward_parts forward_parts_of(float *shared, int D)
{
    struct forward_parts p;
    p.query = shared;
    p.key = p.query + QUERIES * D;
    p.weight = p.key + KEYS * padded(D);
    p.out = p.weight + QUERIES * KEYS;
    p.total = p.out + QUERIES * D;
    return p;
}

static size_t forward_bytes(int D)
{
    return (size_t)(3 * QUERIES * D + KEYS * (D | 1) + QUERIES * KEYS) * sizeof(float);
}

/* A query's running maximum and sum; old and fresh are the factors of what was there and of what was merged last. */
struct running {
    float max, sum, old, fresh;
};

DEVICE struct running running_none(void)
{
    struct running none = {-INFINITY, 0, 0, 0};
    return none;
}

/* What was there with the exponentials of a block or of a share, whose sum is relative to their maximum. */
DEVICE struct running merged(struct running s, float max, float sum)
{
    float most = larger(s.max, max);
    s.old = exp_of(s.max - most);
    s.fresh = exp_of(max - most);
    s.sum = fmaf(s.sum, s.old, sum * s.fresh);
    s.max = most;
    return s;
}

/* The positions of a share, KEYS at a time: the block after the one at `first`. */
DEVICE int next_in_share(int first, int keys)
{
    first += keys;
    return first % SPAN ? first : first + (SHARES - 1) * SPAN;
}

/* Scores of the queries of this warp against a block of keys, into weights; the running numbers go on. */
DEVICE void block_weights(const struct forward_parts *p, struct running *state, const struct attention *a,
                          const struct tile *t, int g, int first)
{
    int lane = THREAD % WARP;
    for (int i = THREAD / WARP; i < t->units; i += ATTENTION_WARPS) {
        struct running s = state[i];
        int visible = pair_of(a, t, g, i).visible;
        float score = dot_of(p->query + i * a->s.D, p->key + lane * padded(a->s.D), a->s.D) * a->s.scale, weight = 0;
        if (first < visible) { /* the same for all of the warp */
            float max = warp_max(first + lane < visible ? score : -INFINITY);
            weight = first + lane < visible ? exp_of(score - max) : 0.0f;
            s = merged(s, max, warp_sum(weight));
        } else {
            s.old = 1;
            s.fresh = 0;
        }
        p->weight[i * KEYS + lane] = weight;
        if (lane == 0)
            state[i] = s;
    }
}

/* out = out old + (chain over the block's positions of weight value) fresh, four queries a thread. */
DEVICE void block_values(const struct forward_parts *p, const struct running *state, int D, int units)
{
    for (int item = THREAD; item < QUERIES / 4 * D; item += ATTENTION_THREADS) {
        int i = item / D * 4, c = item % D;
        float sum[4] = {0, 0, 0, 0};
        if (i >= units)
            break;
        for (int key = 0; key < KEYS; key++) {
            float value = p->key[key * padded(D) + c];
            UNROLLED
            for (int k = 0; k < 4; k++)
                sum[k] = fmaf(p->weight[(i + k) * KEYS + key], value, sum[k]);
        }
        UNROLLED
        for (int k = 0; k < 4; k++)
            if (i + k < units) {
                float *out = p->out + (i + k) * D + c;
                *out = fmaf(*out, state[i + k].old, sum[k] * state[i + k].fresh);
            }
    }
}

/* One share of a tile from nothing, over the positions before `end`, into p->out and state. */
DEVICE void walk_share(const struct forward_parts *p, struct running *state, const struct attention *a,
                       const struct tile *t, int g, int share, int end)
{
    SHARED int token[KEYS];
    int D = a->s.D, region = a->run[t->run].region;
    for (int i = THREAD; i < t->units * D; i += ATTENTION_THREADS)
        p->out[i] = 0;
    if (THREAD < QUERIES)
        state[THREAD] = running_none();
    for (int first = share * SPAN; first < end; first = next_in_share(first, KEYS)) {
        int n = end - first < KEYS ? end - first : KEYS;
        if (THREAD < n)
            token[THREAD] = token_at(a, region, first + THREAD);
        block_wait();
        load_keys(p->key, a, g, token, n);
        block_wait();
        block_weights(p, state, a, t, g, first);
        block_wait();
        load_keys(p->key, a, g + a->s.G, token, n);
        block_wait();
        block_values(p, state, D, t->units);
        block_wait();
    }
}

/* total and its sums take what a share left in state and p->out. */
DEVICE void add_share(const struct forward_parts *p, struct running *total, const struct running *state,
                      const struct attention *a, const struct tile *t, int g, int share)
{
    int D = a->s.D;
    for (int i = THREAD; i < t->units * D; i += ATTENTION_THREADS)
        if (share * SPAN < pair_of(a, t, g, i / D).visible) {
            struct running s = merged(total[i / D], state[i / D].max, state[i / D].sum);
            p->total[i] = fmaf(p->total[i], s.old, p->out[i] * s.fresh);
        }
    block_wait();
    if (THREAD < t->units && share * SPAN < pair_of(a, t, g, THREAD).visible)
        total[THREAD] = merged(total[THREAD], state[THREAD].max, state[THREAD].sum);
}

DEVICE void begin_queries(const struct forward_parts *p, const struct attention *a, const struct tile *t, int g)
{
    load_heads(p->query, a, a->qkv, qkv_width(&a->s), t, g, QUERIES);
    for (int i = THREAD; i < QUERIES * KEYS; i += ATTENTION_THREADS)
        p->weight[i] = 0;
}

/* Every share in one block of threads. */
KERNEL(attention_forward_kernel, ATTENTION_THREADS, attention)
{
    SHARED struct running state[QUERIES], total[QUERIES];
    SHARED_FLOATS(shared);
    struct forward_parts p = forward_parts_of(shared, a.s.D);
    int g = BLOCK_Y, D = a.s.D;
    struct tile t = tile_of_block(&a, BLOCK, a.s.H / a.s.G, QUERIES);
    if (t.units == 0)
        return;
    int end = pair_of(&a, &t, g, t.units - 1).visible;
    begin_queries(&p, &a, &t, g);
    for (int i = THREAD; i < t.units * D; i += ATTENTION_THREADS)
        p.total[i] = 0;
    if (THREAD < QUERIES)
        total[THREAD] = running_none();
    for (int share = 0; share < SHARES && share * SPAN < end; share++) {
        walk_share(&p, state, &a, &t, g, share, end);
        add_share(&p, total, state, &a, &t, g, share);
    }
    block_wait();
    for (int i = THREAD; i < t.units * D; i += ATTENTION_THREADS) {
        struct pair to = pair_of(&a, &t, g, i / D);
        a.to[((size_t)to.row * a.s.H + to.head) * D + i % D] = p.total[i] / total[i / D].sum;
    }
    if (a.stat && THREAD < t.units) {
        struct pair to = pair_of(&a, &t, g, THREAD);
        float *stat = a.stat + 2 * ((size_t)to.row * a.s.H + to.head);
        stat[0] = total[THREAD].max;
        stat[1] = total[THREAD].sum;
    }
}

/* ---- few tiles: a block of threads a share, then the merge ---- */

DEVICE float *part_of(const struct attention *a, int row, int head, int share)
{
    return a->part + (((size_t)row * a->s.H + head) * SHARES + share) * (a->s.D + PART_EXTRA);
}

KERNEL(attention_share_kernel, ATTENTION_THREADS, attention)
{
    SHARED struct running state[QUERIES];
    SHARED_FLOATS(shared);
    struct forward_parts p = forward_parts_of(shared, a.s.D);
    int g = BLOCK_Y % a.s.G, share = BLOCK_Y / a.s.G, D = a.s.D;
    struct tile t = tile_of_block(&a, BLOCK, a.s.H / a.s.G, QUERIES);
    if (t.units == 0)
        return;
    int end = pair_of(&a, &t, g, t.units - 1).visible;
    if (share * SPAN >= end)
        return;
    begin_queries(&p, &a, &t, g);
    walk_share(&p, state, &a, &t, g, share, end);
    for (int i = THREAD; i < t.units * D; i += ATTENTION_THREADS) {
        struct pair to = pair_of(&a, &t, g, i / D);
        part_of(&a, to.row, to.head, share)[i % D] = p.out[i];
    }
    if (THREAD < t.units) {
        struct pair to = pair_of(&a, &t, g, THREAD);
        float *part = part_of(&a, to.row, to.head, share) + D;
        part[0] = state[THREAD].max;
        part[1] = state[THREAD].sum;
    }
}

/* A block of threads a (row, head), a thread a number of the head: its sum over the shares and the sum of exponentials
 * that divides it. Returns where the number stands in a tensor of rows of H heads. */
DEVICE size_t merge_shares(const struct attention *a, float *sum, float *exponentials)
{
    int row = BLOCK / a->s.H, head = BLOCK % a->s.H, D = a->s.D;
    const struct run *run = &a->run[run_of_row(a, row)];
    int visible = run->pos + row - run->row + 1;
    struct running total = running_none();
    *sum = 0;
    for (int share = 0; share < SHARES && share * SPAN < visible; share++) {
        const float *part = part_of(a, row, head, share);
        total = merged(total, part[D], part[D + 1]);
        *sum = THREAD < D ? fmaf(*sum, total.old, part[THREAD] * total.fresh) : 0.0f;
    }
    if (a->stat && THREAD == 0) {
        a->stat[2 * (size_t)BLOCK] = total.max;
        a->stat[2 * (size_t)BLOCK + 1] = total.sum;
    }
    *exponentials = total.sum;
    return (size_t)BLOCK * D + THREAD;
}

KERNEL(attention_merge_kernel, ATTENTION_THREADS, attention)
{
    float sum, exponentials;
    size_t at = merge_shares(&a, &sum, &exponentials);
    if (THREAD < a.s.D)
        a.to[at] = sum / exponentials;
}

/* The most rows of which each tile is spread over blocks of threads. */
static int split_rows(const struct attention_shape *s)
{
    return SPLIT_TILES / s->G;
}

static size_t part_bytes(int rows, const struct attention_shape *s)
{
    rows = rows < split_rows(s) ? rows : split_rows(s);
    return (size_t)rows * s->H * SHARES * (s->D + PART_EXTRA) * sizeof(float);
}

/* Scratch memory: the parts of shares, or dout.out of every (row, head) in the backward direction. */
static size_t cuda_attention_scratch(int rows, const struct attention_shape *s)
{
    size_t delta = (size_t)rows * s->H * sizeof(float);
    return delta > part_bytes(rows, s) ? delta : part_bytes(rows, s);
}

static void cuda_attention_forward(struct device *d, Dev out, Dev stat, Dev qkv, Dev kv, const struct rows *r,
                                   const struct attention_shape *s)
{
    struct attention a = attention_of_batch(r, s);
    size_t tiles = tile_blocks(r->count, r->runs, s->H / s->G, QUERIES);
    a.to = reals(out);
    a.stat = reals(stat);
    a.qkv = reals(qkv);
    a.kv = reals(kv);
    a.fours = s->D % 4 == 0 && (uintptr_t)kv.p % 16 == 0;
    if (r->count > split_rows(s)) {
        LAUNCH(attention_forward_kernel, d, tiles, s->G, forward_bytes(s->D), a);
        return;
    }
    a.part = scratch_of(d, part_bytes(r->count, s));
    LAUNCH(attention_share_kernel, d, tiles, s->G * SHARES, forward_bytes(s->D), a);
    LAUNCH(attention_merge_kernel, d, r->count * s->H, 1, 0, a);
}

#endif
