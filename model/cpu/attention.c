/* Attention forward over chains of regions, and the store of keys and values.
 *
 * A tile of queries computes all its scores first (lanes are keys), then the exact maximum, the exponentials and their
 * sum in 16 lanes by absolute position, then the values (lanes are parts of the head, one chain over positions). Keys
 * that a row does not see have weight exactly 0, which leaves a chain as it is; so a row's numbers depend on nothing
 * but its own keys.
 */
#include "chain.h"
#include "transpose.h"

size_t cpu_store_reals(const struct attention_shape *s)
{
    return (size_t)s->G * s->store * (size_t)(s->D + value_width(s));
}

void chain_panels(float *panels, int token, const float *from, size_t from_stride, int len, int D)
{
    while (len > 0) {
        int lane = token % GROUP, here = (int)least(GROUP - lane, len);
        float *to = panels + (size_t)(token - lane) * D + lane;
        if (here == 1) /* decoding */
            for (int i = 0; i < D; i++)
                to[(size_t)i * GROUP] = from[i];
        else
            transpose(to, GROUP, from, from_stride, here, D);
        from += (size_t)here * from_stride;
        token += here;
        len -= here;
    }
}

static void store_run(float *kv, const float *qkv, const struct attention_shape *s, int token, int len)
{
    int width = value_width(s);
    size_t stride = (size_t)(s->H + 2 * s->G) * s->D;
    if (len == 1) /* every number of a lone key goes to another line of the cache: ask for all at once */
        for (int g = 0; g < s->G; g++)
            for (int i = 0; i < s->D; i++)
                __builtin_prefetch(kv + key_at(s, g, token) + i * GROUP, 1);
    for (int g = 0; g < s->G; g++) {
        const float *key = qkv + (size_t)(s->H + g) * s->D, *value = key + (size_t)s->G * s->D;
        chain_panels(kv + key_at(s, g, 0), token, key, stride, len, s->D);
        for (int t = 0; t < len; t++)
            copy_head(kv + value_at(s, g, token + t), value + t * stride, s->D, width);
    }
}

void cpu_store(struct device *d, Dev kv, Dev qkv, const struct rows *r, const struct attention_shape *s)
{
    const struct run *run = (const struct run *)r->run.p;
    const struct region *region = (const struct region *)r->region.p;
    int width = (s->H + 2 * s->G) * s->D, threads = threads_for(d, 100.0 * r->count * s->G * s->D);
    /* Runs may share a block of 16 keys but not a float, so no two threads write the same place. */
    SHARE_OUT(threads, (static), for (int i = 0; i < r->runs; i++), {
        const struct region *to = &region[run[i].region];
        store_run(reals(kv), reals(qkv) + (size_t)run[i].row * width, s, to->base + run[i].pos - to->pos, run[i].len);
    })
}

void chain_scores(float *score, size_t stride, const float *a, size_t a_stride, int rows, const float *panels,
                  const struct piece *p, int pieces, int D)
{
    ptrdiff_t block = (ptrdiff_t)GROUP * D; /* 16 keys */
    /* Two vectors span a half, one or two blocks; four of the smallest vectors one, eight would leave it. */
    struct tile shape = {(ptrdiff_t)a_stride, GROUP, LANES, TILE_COLUMNS, (ptrdiff_t)stride, 0};
    int most = rows <= TILE_ROWS8 && LANES > 4 ? 8 : rows <= TILE_ROWS4 ? 4 : 2;
    if (LANES == GROUP)
        shape.bv = block;
    if (LANES >= GROUP / 2)
        shape.bp = block * TILE_COLUMNS / GROUP;
    for (int i = 0; i < pieces; i++)
        for (int key = 0; key < p[i].len;) {
            int left = (int)round_up((size_t)(p[i].len - key), GROUP) / LANES, vectors = most;
            while (vectors > left)
                vectors /= 2;
            const float *b = panels + (size_t)((p[i].at + key) / GROUP) * block + key % GROUP;
            tile(&shape, rows, vectors, a, b, D, score + p[i].pos + key, TILE_ZERO, NULL);
            key += vectors * LANES;
        }
}

void chain_values(float *to, const float *weight, size_t stride, int rows, const float *vectors, const struct piece *p,
                  int pieces, int width, enum tile_mode mode)
{
    struct tile shape = {(ptrdiff_t)stride, width, LANES, 2 * LANES, width, 0};
    for (int c = 0; c < width;) {
        int left = (width - c) / LANES, count = rows <= TILE_ROWS4 && left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (int i = 0; i < pieces; i++)
            tile(&shape, rows, count, weight + p[i].pos, vectors + (size_t)p[i].at * width + c, p[i].len, to + c,
                 i ? TILE_CHAIN : mode, NULL);
        c += count * LANES;
    }
}

/* Rows that are computed together: they share the keys of the workspace's pieces, and a row may have one more piece of
 * its own behind them. A tile of a run has all its pieces in common; single tokens of sibling regions share the prompt.
 */
struct bundle {
    struct pair pair[TILE_ROWS];
    struct piece own[TILE_ROWS]; /* len 0: none */
    int rows, pieces, keys;      /* keys: the most that any row sees */
};

/* Where the parts of a thread's scratch lie. */
struct workspace {
    float *query, *score, *value;
    struct piece *piece;
};

size_t cpu_attention_scratch(const struct attention_shape *s, int longest)
{
    size_t floats = (size_t)TILE_ROWS * (score_stride(longest) + 2 * (size_t)value_width(s));
    return round_up(floats * sizeof(float) + (size_t)longest * sizeof(struct piece), 64);
}

static struct workspace workspace_of(const struct device *d, const struct attention_shape *s, int keys)
{
    struct workspace w;
    w.score = scratch_slice(d, 0, cpu_attention_scratch(s, keys));
    w.value = w.score + (size_t)TILE_ROWS * score_stride(keys);
    w.query = w.value + (size_t)TILE_ROWS * value_width(s);
    w.piece = (struct piece *)(w.query + (size_t)TILE_ROWS * value_width(s));
    return w;
}

struct forward {
    const struct device *d;
    const struct attention_shape *s;
    int rows;
    const float *qkv, *kv;
    float *out, *stat;
    const struct region *region;
    const struct run *run;
};

/* Scores of a row times the scale, -infinity for the keys it does not see; the lanes' maxima. */
INLINE vec row_scale(float *score, int visible, float scale)
{
    vec most = vset(-INFINITY), by = vset(scale);
    int i = 0, end = (int)round_up((size_t)visible, GROUP);
    for (; i + LANES <= visible; i += LANES) {
        vec x = vload(score + i) * by;
        vstore(score + i, x);
        most = vmax(most, x);
    }
    for (; i < end; i += LANES) {
        vec x = vselect(seen(i, visible), vload(score + i) * by, vset(-INFINITY));
        vstore(score + i, x);
        most = vmax(most, x);
    }
    return most;
}

/* Scores into exponentials, exactly 0 for keys the row does not see, up to `keys`; their sums by position mod 16. */
INLINE void row_exponentials(vec part[PARTS], float *score, int visible, int keys, float max)
{
    vec most = vset(max);
    int i = 0;
    for (int p = 0; p < PARTS; p++)
        part[p] = vset(0.0f);
    for (; i < visible; i += GROUP)
        for (int p = 0; p < PARTS; p++) {
            vec e = vexp(vload(score + i + p * LANES) - most);
            vstore(score + i + p * LANES, e);
            part[p] = part[p] + e;
        }
    for (; i < keys; i += LANES)
        vstore(score + i, vset(0.0f));
}

/* Softmax of all rows, step by step: a sum over lanes is a long wait for one row, and none when other rows' follow. */
static void bundle_softmax(const struct bundle *b, float *score, size_t stride, float scale, float *max, float *sum)
{
    vec most[TILE_ROWS], part[TILE_ROWS][PARTS];
    for (int r = 0; r < b->rows; r++)
        most[r] = row_scale(score + r * stride, b->pair[r].visible, scale);
    for (int r = 0; r < b->rows; r++)
        max[r] = tree_max(most[r]);
    for (int r = 0; r < b->rows; r++)
        row_exponentials(part[r], score + r * stride, b->pair[r].visible, b->own[r].len ? 0 : b->keys, max[r]);
    for (int r = 0; r < b->rows; r++)
        sum[r] = tree_sum(part[r]);
}

/* Rows r .. with the same own piece. */
static int same_own(const struct bundle *b, int r)
{
    int n = 1;
    while (r + n < b->rows && b->own[r + n].at == b->own[r].at && b->own[r + n].len == b->own[r].len)
        n++;
    return n;
}

/* The queries of a bundle: where they are, when one head's consecutive rows lie near each other, or a copy. */
static const float *bundle_queries(const struct forward *f, const struct bundle *b, const struct workspace *w,
                                   size_t *stride)
{
    const struct attention_shape *s = f->s;
    size_t far = (size_t)(s->H + 2 * s->G) * s->D;
    const struct pair *q = b->pair;
    const float *first = f->qkv + (size_t)q->row * far + (size_t)q->head * s->D;
    if (are_near(q, b->rows, s)) {
        const float *later = first + AHEAD * far;
        for (int r = 0, most = f->rows - q->row - AHEAD; r < least(b->rows, most); r++, later += far)
            ask_head(later, s->D);
        *stride = far;
        return first;
    }
    *stride = (size_t)value_width(s);
    for (int r = 0; r < b->rows; r++) {
        const float *head = f->qkv + (size_t)q[r].head * s->D;
        ask_head(head + (size_t)later_row(f->rows, q[r].row) * far, s->D);
        copy_head(w->query + (size_t)r * *stride, head + (size_t)q[r].row * far, s->D, (int)*stride);
    }
    return w->query;
}

/* Rows with keys of their own are computed side by side: a chain of one row waits for itself. */
enum { BESIDE = 4 };

/* Scores of so many rows with `vectors` of their own keys, from each one's `key` on; keys behind the last repeat. */
INLINE void own_scores_part(float *score, size_t stride, const float *query, size_t far, const float *keys,
                            const struct piece *own, int key, int D, const int vectors)
{
    const float *b[BESIDE][2];
    vec acc[BESIDE][2];
    for (int i = 0; i < BESIDE; i++)
        for (int v = 0; v < vectors; v++) {
            int here = key + v * LANES, at = own[i].at + (here < own[i].len ? here : 0);
            b[i][v] = keys + (size_t)(at / GROUP) * GROUP * D + at % GROUP;
            acc[i][v] = vset(0.0f);
        }
    for (int d = 0; d < D; d++) {
        UNROLL
        for (int i = 0; i < BESIDE; i++) {
            vec q = vset(query[i * far + d]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                acc[i][v] = vfma(q, vload(b[i][v] + d * GROUP), acc[i][v]);
        }
    }
    for (int i = 0; i < BESIDE; i++)
        for (int v = 0; v < vectors; v++)
            if (key + v * LANES < own[i].len)
                vstore(score + i * stride + own[i].pos + key + v * LANES, acc[i][v]);
}

static void own_scores(float *score, size_t stride, const float *query, size_t far, const float *keys,
                       const struct piece *own, int D)
{
    int most = 0, key = 0;
    for (int i = 0; i < BESIDE; i++)
        most = own[i].len > most ? own[i].len : most;
    for (; key + LANES < most; key += 2 * LANES)
        own_scores_part(score, stride, query, far, keys, own, key, D, 2);
    if (key < most)
        own_scores_part(score, stride, query, far, keys, own, key, D, 1);
}

/* `vectors` of to[row], the chains of so many rows over their own values. */
INLINE void own_values_part(float *to, const float *weight, size_t stride, const float *values, const struct piece *own,
                            int width, enum tile_mode mode, const int vectors)
{
    const float *w[BESIDE], *x[BESIDE];
    vec acc[BESIDE][2];
    int all = own[0].len;
    for (int i = 0; i < BESIDE; i++) {
        w[i] = weight + i * stride + own[i].pos;
        x[i] = values + (size_t)own[i].at * width;
        all = own[i].len < all ? own[i].len : all;
        for (int v = 0; v < vectors; v++)
            acc[i][v] = mode == TILE_ZERO ? vset(0.0f) : vload(to + i * width + v * LANES);
    }
    for (int k = 0; k < all; k++) {
        UNROLL
        for (int i = 0; i < BESIDE; i++) {
            vec p = vset(w[i][k]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                acc[i][v] = vfma(p, vload(x[i] + (size_t)k * width + v * LANES), acc[i][v]);
        }
    }
    UNROLL
    for (int i = 0; i < BESIDE; i++) {
        for (int k = all; k < own[i].len; k++)
            for (int v = 0; v < vectors; v++)
                acc[i][v] = vfma(vset(w[i][k]), vload(x[i] + (size_t)k * width + v * LANES), acc[i][v]);
        for (int v = 0; v < vectors; v++)
            vstore(to + i * width + v * LANES, acc[i][v]);
    }
}

static void own_values(float *to, const float *weight, size_t stride, const float *values, const struct piece *own,
                       int width, enum tile_mode mode)
{
    int c = 0;
    for (; c + LANES < width; c += 2 * LANES)
        own_values_part(to + c, weight, stride, values + c, own, width, mode, 2);
    if (c < width)
        own_values_part(to + c, weight, stride, values + c, own, width, mode, 1);
}

/* BESIDE, where so many rows from r on have own keys, and r's are not those of the next; else 0. */
static int rows_beside(const struct bundle *b, int r)
{
    return r + BESIDE <= b->rows && b->own[r + BESIDE - 1].len > 0 && same_own(b, r) == 1 ? BESIDE : 0;
}

static void bundle_scores(const struct forward *f, const struct bundle *b, int g, const struct workspace *w,
                          size_t stride)
{
    const struct attention_shape *s = f->s;
    size_t far;
    const float *keys = f->kv + key_at(s, g, 0), *query = bundle_queries(f, b, w, &far);
    chain_scores(w->score, stride, query, far, b->rows, keys, w->piece, b->pieces, s->D);
    for (int r = 0, n; r < b->rows && b->own[r].len; r += n) {
        n = rows_beside(b, r);
        if (n > 1) {
            own_scores(w->score + r * stride, stride, query + (size_t)r * far, far, keys, &b->own[r], s->D);
            continue;
        }
        n = same_own(b, r);
        chain_scores(w->score + r * stride, stride, query + (size_t)r * far, far, n, keys, &b->own[r], 1, s->D);
    }
}

static void bundle_values(const struct forward *f, const struct bundle *b, int g, const struct workspace *w,
                          size_t stride)
{
    const float *values = f->kv + value_at(f->s, g, 0);
    int width = value_width(f->s);
    chain_values(w->value, w->score, stride, b->rows, values, w->piece, b->pieces, width, TILE_ZERO);
    for (int r = 0, n; r < b->rows && b->own[r].len; r += n) {
        n = rows_beside(b, r);
        if (n > 1) {
            own_values(w->value + (size_t)r * width, w->score + r * stride, stride, values, &b->own[r], width,
                       b->pieces ? TILE_CHAIN : TILE_ZERO);
            continue;
        }
        n = same_own(b, r);
        chain_values(w->value + (size_t)r * width, w->score + r * stride, stride, n, values, &b->own[r], 1, width,
                     b->pieces ? TILE_CHAIN : TILE_ZERO);
    }
}

static void forward_bundle(const struct forward *f, const struct bundle *b, int g, const struct workspace *w)
{
    const struct attention_shape *s = f->s;
    int width = value_width(s);
    size_t stride = score_stride(b->keys);
    float max[TILE_ROWS], sum[TILE_ROWS];
    bundle_scores(f, b, g, w, stride);
    bundle_softmax(b, w->score, stride, s->scale, max, sum);
    bundle_values(f, b, g, w, stride);
    for (int r = 0; r < b->rows; r++) {
        size_t at = (size_t)b->pair[r].row * s->H + b->pair[r].head;
        const float *value = w->value + (size_t)r * width;
        float *to = f->out + at * s->D;
        /* + 0: a chain of masked keys may differ in the sign of a zero */
        vec by = vset(sum[r]), zero = vset(0.0f);
        int i = 0;
        for (; i + LANES <= s->D; i += LANES)
            vstore(to + i, vload(value + i) / by + zero);
        if (i < s->D)
            vstore_n(to + i, vload(value + i) / by + zero, s->D - i);
        if (f->stat) {
            f->stat[2 * at] = max[r];
            f->stat[2 * at + 1] = sum[r];
        }
    }
}

/* A run in tiles of equal size. */
static void forward_run(const struct forward *f, const struct run *run, int g)
{
    int pairs = run->len * (f->s->H / f->s->G);
    if (pairs == 0)
        return;
    struct workspace w = workspace_of(f->d, f->s, run->pos + run->len);
    for (int i = 0; i < tile_count(pairs); i++) {
        struct bundle b = {.rows = tile_end(pairs, i) - tile_first(pairs, i)};
        run_pairs(b.pair, run, f->s, g, tile_first(pairs, i), b.rows);
        b.keys = b.pair[b.rows - 1].visible;
        b.pieces = chain_pieces(w.piece, f->region, run->region, b.keys);
        forward_bundle(f, &b, g, &w);
    }
}

/* Runs first .. of one token each whose regions continue the same place, as many as fill a tile; returns how many. */
static int forward_siblings(const struct forward *f, int first, int end, int g)
{
    const struct region *region = &f->region[f->run[first].region];
    int ratio = f->s->H / f->s->G, n = 0;
    struct bundle b = {.rows = 0};
    for (; first + n < end && b.rows + ratio <= TILE_ROWS; n++) {
        const struct run *run = &f->run[first + n];
        const struct region *to = &f->region[run->region];
        if (run->len != 1 || to->parent != region->parent || to->pos != region->pos)
            break;
        run_pairs(b.pair + b.rows, run, f->s, g, 0, ratio);
        for (int k = 0; k < ratio; k++)
            b.own[b.rows++] = (struct piece){to->pos, run->pos + 1 - to->pos, to->base};
        b.keys = run->pos + 1 > b.keys ? run->pos + 1 : b.keys;
    }
    if (n) {
        struct workspace w = workspace_of(f->d, f->s, b.keys);
        b.pieces = chain_pieces(w.piece, f->region, region->parent, region->pos);
        forward_bundle(f, &b, g, &w);
    }
    return n;
}

static void forward_runs(const struct forward *f, int first, int end, int g)
{
    while (first < end) {
        int n = forward_siblings(f, first, end, g);
        if (n == 0)
            forward_run(f, &f->run[first++], g);
        first += n;
    }
}

/* Multiplications of scores and values: what decides whether threads are worth waking. */
static double attention_work(const struct rows *r, const struct attention_shape *s)
{
    const struct run *run = (const struct run *)r->run.p;
    double pairs = 0;
    for (int i = 0; i < r->runs; i++)
        pairs += (double)run[i].len * (run[i].pos + run[i].len);
    return pairs * s->H * (4.0 * s->D + 200.0);
}

void cpu_attention_forward(struct device *d, Dev out, Dev stat, Dev qkv, Dev kv, const struct rows *r,
                           const struct attention_shape *s)
{
    struct forward f = {d,
                        s,
                        r->count,
                        reals(qkv),
                        reals(kv),
                        reals(out),
                        reals(stat),
                        (const struct region *)r->region.p,
                        (const struct run *)r->run.p};
    int threads = threads_for(d, attention_work(r, s));
    /* Decoding: enough slots together to fill tiles. Training: one run, for an even load. */
    int together = r->count < 2 * r->runs ? 4 * TILE_ROWS : 1, parts = (r->runs + together - 1) / together;
    SHARE_OUT(threads, (dynamic), for (int i = 0; i < parts * s->G; i++),
              { forward_runs(&f, i / s->G * together, (int)least(i / s->G * together + together, r->runs), i % s->G); })
}
