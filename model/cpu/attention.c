/* Attention forward over chains of regions, and the store of keys and values.
 *
 * A tile of queries computes all its scores first (lanes are keys), then the exact maximum, the exponentials and their
 * sum in 16 lanes by absolute position, then the values (lanes are parts of the head, one chain over positions). Keys
 * that a row does not see have weight exactly 0, which leaves a chain as it is; so a row's numbers depend on nothing
 * but its own keys.
 */
#include "chain.h"

size_t cpu_store_reals(const struct attention_shape *s)
{
    return (size_t)s->G * s->store * (size_t)(s->D + value_width(s));
}

static void store_token(float *kv, const float *qkv, const struct attention_shape *s, int token)
{
    int width = value_width(s);
    const float *key = qkv + (size_t)s->H * s->D, *value = key + (size_t)s->G * s->D;
    for (int g = 0; g < s->G; g++) {
        float *k = kv + key_at(s, g, token), *v = kv + value_at(s, g, token);
        for (int i = 0; i < s->D; i++)
            k[i * GROUP] = key[g * s->D + i];
        for (int i = 0; i < width; i++)
            v[i] = i < s->D ? value[g * s->D + i] : 0.0f;
    }
}

void cpu_store(struct device *d, Dev kv, Dev qkv, const struct rows *r, const struct attention_shape *s)
{
    const struct run *run = (const struct run *)r->run.p;
    const struct region *region = (const struct region *)r->region.p;
    int width = (s->H + 2 * s->G) * s->D, threads = threads_for(d, 8.0 * r->count * s->G * s->D);
    /* Runs may share a block of 16 keys but not a float, so no two threads write the same place. */
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int i = 0; i < r->runs; i++)
        for (int t = 0; t < run[i].len; t++) {
            const struct region *to = &region[run[i].region];
            store_token(reals(kv), reals(qkv) + (size_t)(run[i].row + t) * width, s,
                        to->base + run[i].pos + t - to->pos);
        }
}

void chain_scores(float *score, size_t stride, const float *a, int rows, const float *panels, const struct piece *p,
                  int pieces, int D)
{
    ptrdiff_t block = (ptrdiff_t)GROUP * D; /* 16 keys */
    struct tile shape = {D, 1, GROUP, LANES, TILE_COLUMNS, (ptrdiff_t)stride};
    if (LANES == GROUP) {
        shape.bv = block;
        shape.bp = 2 * block;
    }
    for (int i = 0; i < pieces; i++)
        for (int key = 0; key < p[i].len;) {
            int left = (int)round_up((size_t)(p[i].len - key), GROUP) / LANES;
            int vectors = rows <= TILE_ROWS4 && left > 3 ? 4 : left > 1 ? 2 : 1;
            if (LANES == GROUP / 2)
                vectors = 2;
            const float *b = panels + (size_t)((p[i].at + key) / GROUP) * block + key % GROUP;
            tile(&shape, rows, vectors, a, b, D, score + p[i].pos + key, TILE_ZERO, NULL);
            key += vectors * LANES;
        }
}

void chain_values(float *to, const float *weight, size_t stride, int rows, const float *vectors, const struct piece *p,
                  int pieces, int width)
{
    struct tile shape = {(ptrdiff_t)stride, 1, width, LANES, 2 * LANES, width};
    for (int c = 0; c < width;) {
        int left = (width - c) / LANES, count = rows <= TILE_ROWS4 && left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (int i = 0; i < pieces; i++)
            tile(&shape, rows, count, weight + p[i].pos, vectors + (size_t)p[i].at * width + c, p[i].len, to + c,
                 i ? TILE_CHAIN : TILE_ZERO, NULL);
        c += count * LANES;
    }
}

/* Scores of one row into exponentials; zero behind the keys it sees, up to `keys`. */
static void row_softmax(float *score, int visible, int keys, float scale, float *max, float *sum)
{
    for (int i = visible; i < (int)round_up((size_t)visible, GROUP); i++)
        score[i] = -INFINITY;
    vec most = vset(-INFINITY), part[PARTS];
    for (int i = 0; i < visible; i += LANES)
        most = vmax(most, vload(score + i) * vset(scale));
    *max = tree_max(most);
    for (int p = 0; p < PARTS; p++)
        part[p] = vset(0.0f);
    for (int i = 0; i < visible; i += GROUP)
        for (int p = 0; p < PARTS; p++) {
            vec e = vexp(vload(score + i + p * LANES) * vset(scale) - vset(*max));
            vstore(score + i + p * LANES, e);
            part[p] = part[p] + e;
        }
    *sum = tree_sum(part);
    for (int i = (int)round_up((size_t)visible, GROUP); i < keys; i++)
        score[i] = 0.0f;
}

/* Where the pieces of a thread's scratch lie. */
struct workspace {
    float *query, *score, *value;
    struct piece *piece;
};

static size_t workspace_bytes(const struct attention_shape *s, int keys)
{
    size_t floats = (size_t)TILE_ROWS * ((size_t)s->D + score_stride(keys) + (size_t)value_width(s));
    return round_up(floats * sizeof(float) + (size_t)keys * sizeof(struct piece), 64);
}

size_t cpu_attention_scratch(const struct attention_shape *s, int longest)
{
    return workspace_bytes(s, longest);
}

static struct workspace workspace_of(const struct device *d, const struct attention_shape *s, int keys)
{
    struct workspace w;
    w.score = scratch_slice(d, 0, workspace_bytes(s, keys));
    w.value = w.score + (size_t)TILE_ROWS * score_stride(keys);
    w.query = w.value + (size_t)TILE_ROWS * value_width(s);
    w.piece = (struct piece *)(w.query + (size_t)TILE_ROWS * s->D);
    return w;
}

struct forward {
    const struct attention_shape *s;
    const float *qkv, *kv;
    float *out, *stat;
};

static void forward_tile(const struct forward *f, const struct run *run, int g, int first, int rows,
                         const struct piece *p, int pieces, const struct workspace *w)
{
    const struct attention_shape *s = f->s;
    int width = value_width(s), D = s->D, keys = run_pair(run, s, g, first + rows - 1).visible;
    size_t stride = score_stride(keys);
    float sum[TILE_ROWS];
    for (int r = 0; r < rows; r++) {
        struct pair q = run_pair(run, s, g, first + r);
        memcpy(w->query + (size_t)r * D, f->qkv + (size_t)q.row * (s->H + 2 * s->G) * D + (size_t)q.head * D,
               (size_t)D * sizeof(float));
    }
    chain_scores(w->score, stride, w->query, rows, f->kv + key_at(s, g, 0), p, pieces, D);
    for (int r = 0; r < rows; r++) {
        struct pair q = run_pair(run, s, g, first + r);
        float max;
        row_softmax(w->score + r * stride, q.visible, keys, s->scale, &max, &sum[r]);
        if (f->stat) {
            f->stat[2 * ((size_t)q.row * s->H + q.head)] = max;
            f->stat[2 * ((size_t)q.row * s->H + q.head) + 1] = sum[r];
        }
    }
    chain_values(w->value, w->score, stride, rows, f->kv + value_at(s, g, 0), p, pieces, width);
    for (int r = 0; r < rows; r++) {
        struct pair q = run_pair(run, s, g, first + r);
        float *to = f->out + ((size_t)q.row * s->H + q.head) * D;
        /* + 0: a chain of masked keys may differ in the sign of a zero */
        for (int i = 0; i < D; i += LANES)
            vstore_n(to + i, vload(w->value + (size_t)r * width + i) / vset(sum[r]) + vset(0.0f), D - i);
    }
}

static void forward_run(const struct device *d, const struct forward *f, const struct region *region,
                        const struct run *run, int g)
{
    int pairs = run->len * (f->s->H / f->s->G);
    if (pairs == 0)
        return;
    struct workspace w = workspace_of(d, f->s, run->pos + run->len);
    for (int i = 0; i < tile_count(pairs); i++) {
        int first = tile_first(pairs, i), end = i + 1 < tile_count(pairs) ? tile_first(pairs, i + 1) : pairs;
        int keys = run_pair(run, f->s, g, end - 1).visible;
        int pieces = chain_pieces(w.piece, region, run->region, keys);
        forward_tile(f, run, g, first, end - first, w.piece, pieces, &w);
    }
}

/* Multiplications of scores and values: what decides whether threads are worth waking. */
static double attention_work(const struct rows *r, const struct attention_shape *s)
{
    const struct run *run = (const struct run *)r->run.p;
    double pairs = 0;
    for (int i = 0; i < r->runs; i++)
        pairs += (double)run[i].len * (run[i].pos + run[i].len);
    return pairs * s->H * (4.0 * s->D + 20.0);
}

void cpu_attention_forward(struct device *d, Dev out, Dev stat, Dev qkv, Dev kv, const struct rows *r,
                           const struct attention_shape *s)
{
    struct forward f = {s, reals(qkv), reals(kv), reals(out), reals(stat)};
    int threads = threads_for(d, attention_work(r, s));
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int i = 0; i < r->runs * s->G; i++)
        forward_run(d, &f, (const struct region *)r->region.p, (const struct run *)r->run.p + i / s->G, i % s->G);
}
