/* Attention backward: probabilities are computed again from the kept maximum and sum.
 *
 * A work item is one group and one key head, alone responsible for those keys' gradients, so sums have one order: runs
 * in order, tokens in order, the query heads of the key head in order. With P the probabilities, dP = dout V^T and dS =
 * P (dP - dout.out) scale:  dq = dS K, dk = dS^T q, dv = P^T dout.
 */
#include "chain.h"

/* Of a key head and the tokens of the store, in the thread's scratch: keys with lanes along the head, values with lanes
 * along the tokens (the other way round than in the store), and the two gradients. */
struct tokens {
    float *key, *value, *dkey, *dvalue;
};

/* They stand first in the scratch. */
static size_t token_floats(const struct attention_shape *s)
{
    return round_up((size_t)s->store * (3 * (size_t)value_width(s) + s->D), GROUP);
}

static struct tokens tokens_of(const struct device *d, const struct attention_shape *s)
{
    size_t n = (size_t)s->store * value_width(s);
    float *at = scratch_slice(d, 0, token_floats(s) * sizeof *at);
    return (struct tokens){.key = at, .dkey = at + n, .dvalue = at + 2 * n, .value = at + 3 * n};
}

/* Tiles of one run whose gradients are added to the keys together: each key's gradients then come and go once for all,
 * and they are what does not fit the first cache. Their scores should fit the second. */
enum { TOGETHER = 4, TOGETHER_FLOATS = 1 << 16 };

static int tiles_together(int keys)
{
    int n = (int)(TOGETHER_FLOATS / (2 * TILE_ROWS * score_stride(keys)));
    return n < 1 ? 1 : n < TOGETHER ? n : TOGETHER;
}

struct workspace { /* of a thread, for so many tiles */
    float *score, *dscore, *query, *dout, *dquery;
    struct piece *piece;
    int tiles;
};

/* Floats of the scores: what fewer keys need, in more tiles, may be more. */
static size_t score_floats(int longest)
{
    size_t one = 2 * TILE_ROWS * score_stride(longest), all = TOGETHER * one;
    return all < TOGETHER_FLOATS ? all : one > TOGETHER_FLOATS ? one : TOGETHER_FLOATS;
}

size_t cpu_attention_backward_scratch(const struct attention_shape *s, int longest)
{
    size_t floats =
        score_floats(longest) + (size_t)TILE_ROWS * (2 * TOGETHER + 1) * (size_t)value_width(s) + token_floats(s);
    return round_up(floats * sizeof(float) + (size_t)longest * sizeof(struct piece), 64);
}

static struct workspace workspace_of(const struct device *d, const struct attention_shape *s, int keys)
{
    struct workspace w = {.tiles = tiles_together(keys)};
    size_t rows = (size_t)TILE_ROWS * (size_t)w.tiles, wide = (size_t)value_width(s);
    w.score = scratch_slice(d, 0, cpu_attention_backward_scratch(s, keys)) + token_floats(s);
    w.dscore = w.score + rows * score_stride(keys);
    w.query = w.dscore + rows * score_stride(keys);
    w.dout = w.query + rows * wide;
    w.dquery = w.dout + rows * wide;
    w.piece = (struct piece *)(w.dquery + TILE_ROWS * wide);
    return w;
}

/* Rows of heads, `step` apart. */
struct operand {
    const float *at;
    ptrdiff_t step;
};

struct backward {
    const struct attention_shape *s;
    int rows;
    const float *dout, *out, *stat, *qkv, *kv;
    float *dqkv;
    struct tokens tokens;
};

static size_t qkv_width(const struct attention_shape *s)
{
    return (size_t)(s->H + 2 * s->G) * s->D;
}

/* Keys and values of a run's tokens in the shared layouts, gradients zero. */
static void prepare_run(const struct backward *b, const struct region *region, const struct run *run, int g)
{
    const struct attention_shape *s = b->s;
    int width = value_width(s), token = region->base + run->pos - region->pos;
    size_t wide = (size_t)token * width, stride = qkv_width(s);
    const float *k = b->qkv + (size_t)run->row * stride + (size_t)(s->H + g) * s->D, *v = k + (size_t)s->G * s->D;
    memset(b->tokens.dkey + wide, 0, (size_t)run->len * width * sizeof(float));
    memset(b->tokens.dvalue + wide, 0, (size_t)run->len * width * sizeof(float));
    for (int t = 0; t < run->len; t++) {
        size_t later = (size_t)later_row(b->rows, run->row + t) * stride + (size_t)(s->H + g) * s->D;
        ask_head(b->qkv + later, s->D);
        ask_head(b->qkv + later + (size_t)s->G * s->D, s->D);
        copy_head(b->tokens.key + wide + (size_t)t * width, k + t * stride, s->D, width);
    }
    chain_panels(b->tokens.value, token, v, stride, run->len, s->D);
}

INLINE void dot_lanes(vec sum[PARTS], const float *a, const float *b, int n)
{
    for (int p = 0; p < PARTS; p++)
        sum[p] = vset(0.0f);
    for (int i = 0; i < n; i += LANES)
        sum[i / LANES % PARTS] = vfma(vload_n(a + i, n - i, 0), vload_n(b + i, n - i, 0), sum[i / LANES % PARTS]);
}

/* In place: scores to probabilities, dP to dS. Zero behind the keys the row sees. */
static void row_gradient(float *score, float *dscore, int visible, int keys, float scale, const float *stat,
                         float delta)
{
    vec max = vset(stat[0]), inverse = vset(1.0f / stat[1]), by = vset(scale), level = vset(delta);
    int i = 0;
    for (; i + LANES <= visible; i += LANES) {
        vec p = vexp(vload(score + i) * by - max) * inverse;
        vstore(score + i, p);
        vstore(dscore + i, (vload(dscore + i) - level) * p * by);
    }
    if (i < visible) {
        ivec mask = seen(i, visible);
        vec p = vexp(vselect(mask, vload(score + i) * by - max, vset(-INFINITY))) * inverse;
        vstore(score + i, p);
        vstore(dscore + i, vselect(mask, (vload(dscore + i) - level) * p * by, vset(0.0f)));
        i += LANES;
    }
    for (; i < keys; i += LANES) {
        vstore(score + i, vset(0.0f));
        vstore(dscore + i, vset(0.0f));
    }
}

/* dvectors[key] += sum over the rows q that see it of weight[r][key] * rows[r], going on with each key's chain. */
static void add_outer(float *dvectors, const float *weight, size_t stride, const struct pair *q, int count,
                      const struct operand *rows, const struct piece *p, int pieces, int width)
{
    int from = 0; /* the first row that sees the tile */
    for (int i = 0; i < pieces; i++)
        for (int t = 0; t < tile_count(p[i].len); t++) {
            int first = tile_first(p[i].len, t), end = tile_end(p[i].len, t);
            while (q[from].visible <= p[i].pos + first)
                from++;
            const float *a = weight + (size_t)from * stride + p[i].pos + first;
            for (int c = 0; c < width;) {
                int vectors = width - c >= TILE_COLUMNS ? 2 : 1;
                tile_steps(end - first, vectors, a, (ptrdiff_t)stride, rows->at + from * rows->step + c, rows->step,
                           count - from, dvectors + (size_t)(p[i].at + first) * width + c, width, TILE_CHAIN);
                c += vectors * LANES;
            }
        }
}

/* Queries and gradients of pairs: where they are when whole vectors lie near each other, else copied. What comes later
 * is asked for. */
static void load_pairs(const struct backward *b, const struct pair *q, int rows, const struct workspace *w,
                       struct operand *query, struct operand *dout)
{
    const struct attention_shape *s = b->s;
    int D = s->D, width = value_width(s);
    size_t far = qkv_width(s), out_far = (size_t)s->H * D;
    const float *first = b->qkv + q->head * D, *gradient = b->dout + q->head * D;
    *query = (struct operand){first + (size_t)q->row * far, (ptrdiff_t)far};
    *dout = (struct operand){gradient + (size_t)q->row * out_far, (ptrdiff_t)out_far};
    int near = width == D && are_near(q, rows, s);
    if (!near) {
        *query = (struct operand){w->query, width};
        *dout = (struct operand){w->dout, width};
    }
    for (int r = 0; r < rows; r++) {
        size_t later = (size_t)later_row(b->rows, q[r].row);
        const float *from = b->qkv + (size_t)q[r].head * D, *gradient = b->dout + (size_t)q[r].head * D;
        ask_head(from + later * far, D);
        ask_head(gradient + later * out_far, D);
        ask_head(b->out + (size_t)q[r].head * D + later * out_far, D);
        ask_head_write(b->dqkv + (size_t)q[r].head * D + later * far, D);
        if (near)
            continue;
        copy_head(w->query + r * width, from + (size_t)q[r].row * far, D, width);
        copy_head(w->dout + r * width, gradient + (size_t)q[r].row * out_far, D, width);
    }
}

/* Rows of one tile, the first of them number `at` of those together: everything but the keys' gradients. keys: what the
 * last row of all sees; pieces: of the tile. */
static void backward_tile(const struct backward *b, const struct pair *q, int rows, int g, int pieces, int at, int keys,
                          const struct operand *query, const struct operand *dout, const struct workspace *w)
{
    const struct attention_shape *s = b->s;
    int D = s->D, width = value_width(s);
    size_t stride = score_stride(keys);
    float *score = w->score + at * stride, *dscore = w->dscore + at * stride;
    const float *own = dout->at + at * dout->step;
    chain_scores(score, stride, query->at + at * query->step, (size_t)query->step, rows, b->kv + key_at(s, g, 0),
                 w->piece, pieces, D);
    chain_scores(dscore, stride, own, (size_t)dout->step, rows, b->tokens.value, w->piece, pieces, D);
    vec along[TILE_ROWS][PARTS]; /* one step for all rows, as in the forward */
    float delta[TILE_ROWS];
    for (int r = 0; r < rows; r++)
        dot_lanes(along[r], own + r * dout->step, b->out + ((size_t)q[r].row * s->H + q[r].head) * D, D);
    for (int r = 0; r < rows; r++)
        delta[r] = tree_sum(along[r]);
    for (int r = 0; r < rows; r++)
        row_gradient(score + r * stride, dscore + r * stride, q[r].visible, keys, s->scale,
                     b->stat + 2 * ((size_t)q[r].row * s->H + q[r].head), delta[r]);
    chain_values(w->dquery, dscore, stride, rows, b->tokens.key, w->piece, pieces, width, TILE_ZERO);
    for (int r = 0; r < rows; r++) {
        float *to = b->dqkv + (size_t)q[r].row * qkv_width(s) + (size_t)q[r].head * D;
        for (int i = 0; i < D; i += LANES)
            vstore_n(to + i, vload(w->dquery + r * width + i) + vset(0.0f), D - i);
    }
}

/* Pairs first .. end of a run, in tiles of at most TILE_ROWS, as many as the workspace holds. */
static void backward_tiles(const struct backward *b, const struct region *region, const struct run *run, int g,
                           int first, int end, const struct workspace *w)
{
    const struct attention_shape *s = b->s;
    struct pair q[TOGETHER * TILE_ROWS];
    struct operand query, dout;
    int count = end - first, width = value_width(s), pieces = 0;
    run_pairs(q, run, s, g, first, count);
    load_pairs(b, q, count, w, &query, &dout);
    int keys = run->pos + (end - 1) / (s->H / s->G) + 1; /* what the last row sees */
    for (int i = 0; i < tile_count(count); i++) {
        int at = tile_first(count, i), rows = tile_end(count, i) - at;
        pieces = chain_pieces(w->piece, region, run->region, q[at + rows - 1].visible);
        backward_tile(b, q + at, rows, g, pieces, at, keys, &query, &dout, w);
    }
    add_outer(b->tokens.dkey, w->dscore, score_stride(keys), q, count, &query, w->piece, pieces, width);
    add_outer(b->tokens.dvalue, w->score, score_stride(keys), q, count, &dout, w->piece, pieces, width);
}

static void backward_run(const struct device *d, const struct backward *b, const struct region *region,
                         const struct run *run, int g)
{
    int pairs = run->len * (b->s->H / b->s->G), most;
    if (pairs == 0)
        return;
    struct workspace w = workspace_of(d, b->s, run->pos + run->len);
    most = TILE_ROWS * w.tiles;
    for (int n = (pairs + most - 1) / most, i = 0; i < n; i++)
        backward_tiles(b, region, run, g, (int)((long)pairs * i / n), (int)((long)pairs * (i + 1) / n), &w);
}

static void finish_run(const struct backward *b, const struct region *region, const struct run *run, int g)
{
    const struct attention_shape *s = b->s;
    int width = value_width(s), D = s->D;
    size_t wide = (size_t)(region->base + run->pos - region->pos) * width;
    for (int t = 0; t < run->len; t++, wide += width) {
        size_t later = (size_t)later_row(b->rows, run->row + t) * qkv_width(s) + (size_t)(s->H + g) * D;
        float *dk = b->dqkv + (size_t)(run->row + t) * qkv_width(s) + (size_t)(s->H + g) * D,
              *dv = dk + (size_t)s->G * D;
        ask_head_write(b->dqkv + later, D);
        ask_head_write(b->dqkv + later + (size_t)s->G * D, D);
        for (int i = 0; i < D; i += LANES) { /* + 0: the sign of a zero, as in the forward */
            vstore_n(dk + i, vload(b->tokens.dkey + wide + i) + vset(0.0f), D - i);
            vstore_n(dv + i, vload(b->tokens.dvalue + wide + i) + vset(0.0f), D - i);
        }
    }
}

static void backward_group(const struct device *d, struct backward b, const struct rows *r, struct span group, int g)
{
    const struct run *run = (const struct run *)r->run.p + group.start;
    const struct region *region = (const struct region *)r->region.p;
    b.tokens = tokens_of(d, b.s);
    for (int i = 0; i < group.len; i++)
        prepare_run(&b, &region[run[i].region], &run[i], g);
    for (int i = 0; i < group.len; i++)
        backward_run(d, &b, region, &run[i], g);
    for (int i = 0; i < group.len; i++)
        finish_run(&b, &region[run[i].region], &run[i], g);
}

void cpu_attention_backward(struct device *d, Dev dqkv, Dev dout, Dev out, Dev stat, Dev qkv, Dev kv,
                            const struct rows *r, const struct attention_shape *s)
{
    struct backward b = {s, r->count, reals(dout), reals(out), reals(stat), reals(qkv), reals(kv), reals(dqkv), {0}};
    const struct span *group = (const struct span *)r->group.p;
    int threads = threads_for(d, 200.0 * r->count * s->H * s->D);
    SHARE_OUT(threads, (dynamic), for (int i = 0; i < r->groups * s->G; i++),
              { backward_group(d, b, r, group[i / s->G], i % s->G); })
}
