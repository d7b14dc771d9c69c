/* Attention backward: probabilities are computed again from the kept maximum and sum.
 *
 * Two kernels, so that every sum has one owner and one order. With P the probabilities, dP = dout V^T and dS = P (dP -
 * dout.out) scale: dq = dS K by a block of queries that walks its keys in order; dk = dS^T q and dv = P^T dout by a
 * block of keys that walks, row by row and head by head, the queries of its group which see it.
 */
#ifndef CUDA_ATTENTION_BACKWARD_CUH
#define CUDA_ATTENTION_BACKWARD_CUH
#include "attention.cuh"

/* dout.out of every (row, head): a thread each. */
KERNEL(delta_kernel, ATTENTION_THREADS, attention)
{
    size_t i = (size_t)BLOCK * ATTENTION_THREADS + THREAD;
    if (i < (size_t)a.rows * a.s.H)
        a.to[i] = dot_of(a.dout + i * a.s.D, a.out + i * a.s.D, a.s.D);
}

/* Where the parts of the shared memory lie: queries and keys of a step, what is summed up, and P and dS between them.
 */
struct backward_parts {
    float *query, *dout;           /* [QUERIES][D] */
    float *key, *value;            /* [KEYS][padded] */
    float *weight, *dscore;        /* [QUERIES][KEYS] */
    float *dquery, *dkey, *dvalue; /* [QUERIES][D]; or [KEYS][D] both */
};

DEVICE struct backward_parts backward_parts_of(float *shared, int D)
{
    struct backward_parts p;
    p.query = shared;
    p.dout = p.query + QUERIES * D;
    p.key = p.dout + QUERIES * D;
    p.value = p.key + KEYS * padded(D);
    p.weight = p.value + KEYS * padded(D);
    p.dscore = p.weight + QUERIES * KEYS;
    p.dquery = p.dkey = p.dscore + QUERIES * KEYS;
    p.dvalue = p.dkey + KEYS * D;
    return p;
}

static size_t backward_bytes(int D, int summed)
{
    return (size_t)(2 * QUERIES * D + 2 * KEYS * (D | 1) + 2 * QUERIES * KEYS + summed * D) * sizeof(float);
}

/* The group that holds a run, or -1: not one of this call's. */
DEVICE int group_of_run(const struct attention *a, int run)
{
    int low = 0, high = a->groups - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (a->group[middle].start <= run)
            low = middle;
        else
            high = middle - 1;
    }
    return a->groups > 0 && a->group[low].start <= run && run < a->group[low].start + a->group[low].len ? low : -1;
}

/* P and dS of a tile's queries against the keys in shared memory, the first at `position`, seen up to `limit`. */
DEVICE void block_gradients(const struct backward_parts *p, const struct attention *a, const struct tile *t, int g,
                            int position, int limit)
{
    int lane = THREAD % WARP, D = a->s.D;
    for (int i = THREAD / WARP; i < t->units; i += ATTENTION_WARPS) {
        struct pair q = pair_of(a, t, g, i);
        size_t head = (size_t)q.row * a->s.H + q.head;
        float score = dot_of(p->query + i * D, p->key + lane * padded(D), D) * a->s.scale, weight = 0, dscore = 0;
        if (position + lane < q.visible && position + lane < limit) {
            weight = exp_of(score - a->stat[2 * head]) / a->stat[2 * head + 1];
            dscore = weight * (dot_of(p->dout + i * D, p->value + lane * padded(D), D) - a->delta[head]) * a->s.scale;
        }
        p->weight[i * KEYS + lane] = weight;
        p->dscore[i * KEYS + lane] = dscore;
    }
}

KERNEL(query_backward_kernel, ATTENTION_THREADS, attention)
{
    SHARED int token[KEYS];
    SHARED_FLOATS(shared);
    struct backward_parts p = backward_parts_of(shared, a.s.D);
    int g = BLOCK_Y, D = a.s.D;
    struct tile t = tile_of_block(&a, BLOCK, a.s.H / a.s.G, QUERIES);
    if (t.units == 0 || group_of_run(&a, t.run) < 0)
        return;
    int end = pair_of(&a, &t, g, t.units - 1).visible, region = a.run[t.run].region;
    load_heads(p.query, &a, a.qkv, qkv_width(&a.s), &t, g, QUERIES);
    load_heads(p.dout, &a, a.dout, a.s.H * D, &t, g, QUERIES);
    for (int i = THREAD; i < QUERIES * D; i += ATTENTION_THREADS)
        p.dquery[i] = 0;
    for (int first = 0; first < end; first += KEYS) {
        int n = end - first < KEYS ? end - first : KEYS;
        if (THREAD < n)
            token[THREAD] = token_at(&a, region, first + THREAD);
        block_wait();
        load_keys(p.key, &a, g, token, n);
        load_keys(p.value, &a, g + a.s.G, token, n);
        block_wait();
        block_gradients(&p, &a, &t, g, first, end);
        block_wait();
        for (int i = THREAD; i < t.units * D; i += ATTENTION_THREADS)
            for (int key = 0; key < KEYS; key++)
                p.dquery[i] = fmaf(p.dscore[i / D * KEYS + key], p.key[key * padded(D) + i % D], p.dquery[i]);
        block_wait();
    }
    for (int i = THREAD; i < t.units * D; i += ATTENTION_THREADS) {
        struct pair q = pair_of(&a, &t, g, i / D);
        a.to[(size_t)q.row * qkv_width(&a.s) + (size_t)q.head * D + i % D] = p.dquery[i];
    }
}

/* Positions of `region` before the answer are seen by rows of `run`: up to where the chain leaves the region. */
DEVICE int seen_until(const struct attention *a, const struct run *run, int region)
{
    int limit = run->pos + run->len, i = run->region;
    for (; i >= 0 && i != region; i = a->region[i].parent)
        limit = a->region[i].pos;
    return i == region ? limit : 0;
}

/* dk and dv of the block's keys take what the queries of a tile give. */
DEVICE void add_key_gradients(const struct backward_parts *p, int D, int units)
{
    for (int item = THREAD; item < KEYS * D; item += ATTENTION_THREADS) {
        int key = item / D, c = item % D;
        float dk = p->dkey[item], dv = p->dvalue[item];
        for (int i = 0; i < units; i++) {
            dk = fmaf(p->dscore[i * KEYS + key], p->query[i * D + c], dk);
            dv = fmaf(p->weight[i * KEYS + key], p->dout[i * D + c], dv);
        }
        p->dkey[item] = dk;
        p->dvalue[item] = dv;
    }
}

KERNEL(key_backward_kernel, ATTENTION_THREADS, attention)
{
    SHARED int token[KEYS];
    SHARED_FLOATS(shared);
    struct backward_parts p = backward_parts_of(shared, a.s.D);
    int g = BLOCK_Y, D = a.s.D, ratio = a.s.H / a.s.G;
    struct tile keys = tile_of_block(&a, BLOCK, 1, KEYS);
    int group = group_of_run(&a, keys.run);
    if (keys.units == 0 || group < 0)
        return;
    int region = a.run[keys.run].region, position = a.run[keys.run].pos + keys.first;
    if (THREAD < keys.units)
        token[THREAD] = token_at(&a, region, position + THREAD);
    block_wait();
    load_keys(p.key, &a, g, token, keys.units);
    load_keys(p.value, &a, g + a.s.G, token, keys.units);
    for (int i = THREAD; i < KEYS * D; i += ATTENTION_THREADS)
        p.dkey[i] = p.dvalue[i] = 0;
    for (int r = a.group[group].start; r < a.group[group].start + a.group[group].len; r++) {
        const struct run *run = &a.run[r];
        int limit = seen_until(&a, run, region), skip = position > run->pos ? position - run->pos : 0;
        limit = limit < position + keys.units ? limit : position + keys.units;
        if (limit <= position)
            continue;
        for (int first = skip * ratio; first < run->len * ratio; first += QUERIES) {
            int left = run->len * ratio - first;
            struct tile t = {r, first, left < QUERIES ? left : QUERIES};
            block_wait();
            load_heads(p.query, &a, a.qkv, qkv_width(&a.s), &t, g, QUERIES);
            load_heads(p.dout, &a, a.dout, a.s.H * D, &t, g, QUERIES);
            block_wait();
            block_gradients(&p, &a, &t, g, position, limit);
            block_wait();
            add_key_gradients(&p, D, t.units);
        }
    }
    block_wait();
    for (int i = THREAD; i < keys.units * D; i += ATTENTION_THREADS) {
        float *dk = a.to + (size_t)(a.run[keys.run].row + keys.first + i / D) * qkv_width(&a.s) +
                    (size_t)(a.s.H + g) * D + i % D;
        dk[0] = p.dkey[i];
        dk[(size_t)a.s.G * D] = p.dvalue[i];
    }
}

static void cuda_attention_backward(struct device *d, Dev dqkv, Dev dout, Dev out, Dev stat, Dev qkv, Dev kv,
                                    const struct rows *r, const struct attention_shape *s)
{
    struct attention a = attention_of_batch(r, s);
    float *delta = scratch_of(d, (size_t)r->count * s->H * sizeof(float));
    a.dout = reals(dout);
    a.out = reals(out);
    a.to = delta;
    LAUNCH(delta_kernel, d, pieces_of((size_t)r->count * s->H, ATTENTION_THREADS), 1, 0, a);
    a.to = reals(dqkv);
    a.delta = delta;
    a.stat = reals(stat);
    a.qkv = reals(qkv);
    a.kv = reals(kv);
    a.fours = s->D % 4 == 0 && (uintptr_t)kv.p % 16 == 0;
    LAUNCH(query_backward_kernel, d, tile_blocks(r->count, r->runs, s->H / s->G, QUERIES), s->G,
           backward_bytes(s->D, QUERIES), a);
    LAUNCH(key_backward_kernel, d, tile_blocks(r->count, r->runs, 1, KEYS), s->G, backward_bytes(s->D, 2 * KEYS), a);
}

#endif
