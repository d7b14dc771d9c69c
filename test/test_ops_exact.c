/* What the CPU table promises bit for bit: chains of fused multiply-adds, independence of rows, runs, regions, blocks
 * and threads, the sampler's numbers being the trainer's. Also: the laws of sampling, and the accuracy of exp and log.
 */
#include <limits.h>
#include "../model/cpu/vec.h"
#include "ops_tools.h"

static struct context *cpu_of(void **state)
{
    return &((struct suite *)*state)->c[CPU1];
}

/* ---- products ---- */

struct product {
    int M, N, K;
};
static const struct product products[] = {{1, 1, 1},      {5, 33, 17},   {29, 70, 64},  {131, 40, 800},
                                          {300, 65, 176}, {17, 900, 30}, {40, 20, 1600}};
enum { PRODUCTS = sizeof products / sizeof *products };

/* A product's sum over k is one chain; a table may cut it into chains of so many numbers, added in order. */
#ifndef PRODUCT_PIECE
#define PRODUCT_PIECE INT_MAX
#endif

/* Sum over k < n of value(seed_a, a + k * a_step) * value(seed_b, b + k * b_step). */
static float product_sum(uint64_t seed_a, size_t a, int a_step, uint64_t seed_b, size_t b, int b_step, int n)
{
    float sum = 0, chain = 0;
    for (int k = 0; k < n; k++) {
        if (k > 0 && k % PRODUCT_PIECE == 0) {
            sum += chain;
            chain = 0;
        }
        chain = fmaf((float)value(seed_a, a + (size_t)k * a_step), (float)value(seed_b, b + (size_t)k * b_step), chain);
    }
    return n > PRODUCT_PIECE ? sum + chain : chain;
}

static void reserve_product(struct context *c, struct product p)
{
    reserve(c, SCRATCH_LINEAR, (struct scratch_shape){.rows = p.M, .N = p.N, .K = p.K});
}

static void test_forward_chain(void **state)
{
    struct context *c = cpu_of(state);
    for (int i = 0; i < PRODUCTS; i++) {
        struct product p = products[i];
        reserve_product(c, p);
        Dev in = tensor_random(c, (size_t)p.M * p.K, 1), W = weight_random(c, p.N, p.K, 2),
            b = weight_random(c, p.N, 1, 3);
        Dev out = tensor(c, (size_t)p.M * p.N), rows = tensor(c, (size_t)p.M * p.N);
        CALL(c, linear_forward, out, in, W, b, p.M, p.N, p.K);
        for (int m = 0; m < p.M; m++)
            for (int n = 0; n < p.N; n++) {
                float chain = product_sum(1, (size_t)m * p.K, 1, 2, (size_t)n * p.K, 1, p.K);
                chain += (float)value(3, (uint64_t)n);
                same_bits(&chain, floats(out) + (size_t)m * p.N + n, 1, "forward");
            }
        for (int m = 0, step = 1; m < p.M; m += step, step = step % 31 + 1) { /* ragged cuts of 1 to 31 rows */
            int here = p.M - m < step ? p.M - m : step;
            CALL(c, linear_forward, dev_at(&c->dev, rows, (size_t)m * p.N), dev_at(&c->dev, in, (size_t)m * p.K), W, b,
                 here, p.N, p.K);
        }
        same_bits(floats(out), floats(rows), (size_t)p.M * p.N, "rows");
        release_all(c);
    }
}

static void test_input_chain(void **state)
{
    struct context *c = cpu_of(state);
    for (int i = 0; i < PRODUCTS; i++) {
        struct product p = products[i];
        reserve_product(c, p);
        Dev dout = tensor_random(c, (size_t)p.M * p.N, 1), W = weight_random(c, p.N, p.K, 2);
        Dev din = tensor(c, (size_t)p.M * p.K), rows = tensor(c, (size_t)p.M * p.K);
        CALL(c, linear_backward_input, din, dout, W, p.M, p.N, p.K);
        for (int m = 0; m < p.M; m++)
            for (int k = 0; k < p.K; k++) {
                float chain = product_sum(1, (size_t)m * p.N, 1, 2, (size_t)k, p.K, p.N);
                same_bits(&chain, floats(din) + (size_t)m * p.K + k, 1, "input gradient");
            }
        for (int m = 0, step = 1; m < p.M;
             m += step, step = step % 31 + 1) { /* as above: some fill vectors, some not */
            int here = p.M - m < step ? p.M - m : step;
            CALL(c, linear_backward_input, dev_at(&c->dev, rows, (size_t)m * p.K),
                 dev_at(&c->dev, dout, (size_t)m * p.N), W, here, p.N, p.K);
        }
        same_bits(floats(din), floats(rows), (size_t)p.M * p.K, "rows");
        release_all(c);
    }
}

static void test_weight_chain(void **state)
{
    struct context *c = cpu_of(state);
    for (int i = 0; i < PRODUCTS; i++) {
        struct product p = products[i];
        struct span block[] = {
            {0, p.M / 3}, {p.M / 3, 0}, {p.M / 3, p.M / 2}, {p.M / 3 + p.M / 2, p.M - p.M / 3 - p.M / 2}};
        reserve_product(c, p);
        DevInt blocks = ints(c, (int32_t *)block, 8);
        Dev dout = tensor_random(c, (size_t)p.M * p.N, 1), in = tensor_random(c, (size_t)p.M * p.K, 2);
        Dev dW = weight_random(c, p.N, p.K, 3), db = weight_random(c, p.N, 1, 4);
        Dev parts = weight_random(c, p.N, p.K, 3), bias_parts = weight_random(c, p.N, 1, 4);
        CALL(c, linear_backward_weight, dW, db, dout, in, blocks, 4, p.M, p.N, p.K);
        for (int b = 0; b < 4; b += 2) /* micro-batches of two blocks */
            CALL(c, linear_backward_weight, parts, bias_parts, dout, in, dev_int_at(blocks, (size_t)b * 2), 2, p.M, p.N,
                 p.K);
        same_bits(floats(dW), floats(parts), CALL_PURE(c, weight_reals, p.N, p.K), "micro-batches");
        same_bits(floats(db), floats(bias_parts), CALL_PURE(c, weight_reals, p.N, 1), "micro-batches, bias");
        double *got = calloc((size_t)p.N * p.K, sizeof *got);
        weight_read(c, got, dW, p.N, p.K);
        for (int n = 0; n < p.N; n++)
            for (int k = 0; k < p.K; k++) {
                float sum = (float)value(3, (size_t)n * p.K + k), have = (float)got[(size_t)n * p.K + k];
                for (int b = 0; b < 4; b++) {
                    float chain = 0;
                    for (int m = block[b].start; m < block[b].start + block[b].len; m++)
                        chain = fmaf((float)value(1, (size_t)m * p.N + n), (float)value(2, (size_t)m * p.K + k), chain);
                    sum += chain;
                }
                same_bits(&sum, &have, 1, "weight gradient");
            }
        free(got);
        release_all(c);
    }
}

/* ---- norm: rows alone, blocks in parts ---- */

static void test_norm_parts(void **state)
{
    struct context *c = cpu_of(state);
    enum { ROWS = 90, DIM = 53 };
    struct norm_shape s = {NORM_LAYER, ROWS, 1, DIM, DIM, DIM, 1e-5f, 0}, one = s;
    struct span block[] = {{0, 30}, {30, 1}, {31, 59}};
    one.rows = 1;
    reserve(c, SCRATCH_NORM, (struct scratch_shape){.rows = ROWS, .N = DIM, .K = DIM});
    DevInt blocks = ints(c, (int32_t *)block, 6), none = {NULL};
    Dev in = tensor_random(c, ROWS * DIM, 1), w = weight_random(c, DIM, 1, 2), b = weight_random(c, DIM, 1, 3);
    Dev out = tensor(c, ROWS * DIM), alone = tensor(c, ROWS * DIM), stat = tensor(c, 2 * ROWS),
        dout = tensor_random(c, ROWS * DIM, 4);
    Dev din = tensor_random(c, ROWS * DIM, 5), din_alone = tensor_random(c, ROWS * DIM, 5);
    Dev dw[2], db[2];
    for (int i = 0; i < 2; i++) {
        dw[i] = weight_random(c, DIM, 1, 6);
        db[i] = weight_random(c, DIM, 1, 7);
    }
    CALL(c, norm_forward, out, stat, in, w, b, &s);
    CALL(c, norm_backward, din, dw[0], db[0], dout, in, w, stat, &s, blocks, 3);
    for (size_t r = 0; r < ROWS; r++) {
        Dev x = dev_at(&c->dev, in, r * DIM), y = dev_at(&c->dev, alone, r * DIM), two = dev_at(&c->dev, stat, 2 * r);
        CALL(c, norm_forward, y, two, x, w, b, &one);
        CALL(c, norm_backward, dev_at(&c->dev, din_alone, r * DIM), dw[1], db[1], dev_at(&c->dev, dout, r * DIM), x, w,
             two, &one, none, 0);
    }
    struct norm_shape empty = s;
    empty.rows = 0;
    for (int i = 0; i < 3; i++)
        CALL(c, norm_backward, din, dw[1], db[1], dout, in, w, stat, &empty, dev_int_at(blocks, (size_t)i * 2), 1);
    same_bits(floats(out), floats(alone), ROWS * DIM, "norm of one row");
    same_bits(floats(din), floats(din_alone), ROWS * DIM, "norm backward of one row");
    same_bits(floats(dw[0]), floats(dw[1]), DIM, "norm weight gradient in parts");
    same_bits(floats(db[0]), floats(db[1]), DIM, "norm bias gradient in parts");
    release_all(c);
}

/* ---- attention: the same tokens arranged in different ways ---- */

struct view { /* a batch, and which token of the example each of its rows is */
    struct tree tree;
    int token[2000];
};

static void view_identity(struct view *v, int scale, int cut)
{
    tree_example(&v->tree, 3, scale, cut);
    for (int i = 0; i < v->tree.rows; i++)
        v->token[i] = i;
}

/* Runs of one token in random order; regions at other places of the store. Too many for a tree: its own arrays. */
struct scattered {
    struct region region[TREE_MAX];
    struct run run[2000];
    int token[2000], rows;
};

static void scatter_view(struct scattered *to, const struct tree *t)
{
    int end = t->store + 3 * KV_ALIGN;
    for (int i = 0; i < t->regions; i++) {
        to->region[i] = t->region[i];
        to->region[i].base = end - t->region[i].base - t->region[i].cap - KV_ALIGN;
    }
    to->rows = 0;
    for (int i = 0; i < t->runs; i++)
        for (int k = 0; k < t->run[i].len; k++, to->rows++) {
            int at =
                to->rows ? below(77, (uint64_t)to->rows, to->rows + 1) : 0; /* a random permutation, grown by one */
            to->run[to->rows] = to->run[at];
            to->token[to->rows] = to->token[at];
            to->run[at] = (struct run){t->run[i].region, at, 1, t->run[i].pos + k};
            to->token[at] = t->run[i].row + k;
            to->run[to->rows].row = to->rows;
        }
}

/* Every leaf with all its ancestors' tokens as one region of its own. */
static void unshare_view(struct view *to, const struct tree *t)
{
    memset(&to->tree, 0, sizeof to->tree);
    int rows = 0;
    for (int i = 0; i < t->regions; i++) {
        tree_add(&to->tree, -1, t->region[i].pos + t->len[i], 0);
        tree_group_end(&to->tree);
        int end = t->region[i].pos + t->len[i];
        for (int region = i; region >= 0; end = t->region[region].pos, region = t->region[region].parent)
            for (int k = 0; k < t->runs; k++)
                for (int j = 0; j < t->run[k].len; j++)
                    if (t->run[k].region == region && t->run[k].pos + j < end)
                        to->token[rows + t->run[k].pos + j] = t->run[k].row + j;
        rows = to->tree.rows;
    }
}

/* Attention of rows whose tokens are given, out [rows][H*D], stat [rows][H][2]; `alone`: one row a call. */
static void attend_rows(struct context *c, float *out, float *stat, struct rows r, const struct attention_shape *s,
                        const int *token, int alone)
{
    size_t width = (size_t)(s->H + 2 * s->G) * s->D, wide = (size_t)s->H * s->D, rows = (size_t)r.count;
    double *v = calloc(rows * width + 1, sizeof *v);
    for (size_t t = 0; t < rows; t++)
        for (size_t i = 0; i < width; i++)
            v[t * width + i] = 2 * value(9, (size_t)token[t] * width + i);
    Dev qkv = tensor_from(c, v, rows * width), kv = tensor(c, CALL_PURE(c, store_reals, s));
    Dev y = tensor(c, rows * wide), two = tensor(c, rows * s->H * 2);
    CALL(c, store, kv, qkv, &r, s);
    if (!alone)
        CALL(c, attention_forward, y, two, qkv, kv, &r, s);
    for (int t = 0; alone && t < r.runs; t++) {
        struct run run = ((struct run *)r.run.p)[t];
        size_t row = (size_t)run.row;
        run.row = 0;
        struct rows single = r;
        single.count = single.runs = 1;
        single.run = ints(c, (int32_t *)&run, 4);
        CALL(c, attention_forward, dev_at(&c->dev, y, row * wide), dev_at(&c->dev, two, row * s->H * 2),
             dev_at(&c->dev, qkv, row * width), kv, &single, s);
        CALL(c, release, c->block[--c->blocks].base);
    }
    memcpy(out, y.p, rows * wide * sizeof *out);
    memcpy(stat, two.p, rows * s->H * 2 * sizeof *stat);
    free(v);
    release_all(c);
}

struct attended {
    float out[2000 * 128], stat[2000 * 16];
};

static void same_tokens(const struct attended *a, const struct attended *b, const int *token, int rows,
                        const struct attention_shape *s, const char *what)
{
    size_t wide = (size_t)s->H * s->D;
    for (int t = 0; t < rows; t++) {
        same_bits(a->out + (size_t)token[t] * wide, b->out + (size_t)t * wide, wide, what);
        same_bits(a->stat + (size_t)token[t] * s->H * 2, b->stat + (size_t)t * s->H * 2, (size_t)s->H * 2, what);
    }
}

static void check_attention(struct context *c, int H, int G, int D, int scale)
{
    struct view *v = calloc(2, sizeof *v);
    struct scattered *one = calloc(1, sizeof *one);
    struct attended *a = calloc(2, sizeof *a);
    view_identity(&v[0], scale, 0);
    struct tree *t = &v[0].tree;
    struct attention_shape s = shape_of(H, G, D, t->store + 3 * KV_ALIGN), unshared;
    reserve(c, SCRATCH_ATTENTION, (struct scratch_shape){.rows = 2000, .attention = s, .longest = tree_longest(t)});
    attend_rows(c, a[0].out, a[0].stat, tree_rows(c, t), &s, v[0].token, 0);

    view_identity(&v[1], scale, 9);
    attend_rows(c, a[1].out, a[1].stat, tree_rows(c, &v[1].tree), &s, v[1].token, 0);
    same_tokens(&a[0], &a[1], v[1].token, t->rows, &s, "runs cut");

    scatter_view(one, t);
    struct rows r = {.count = one->rows, .runs = one->rows, .regions = t->regions};
    for (int alone = 0; alone < 2; alone++) {
        r.region = ints(c, (int32_t *)one->region, (size_t)t->regions * 4);
        r.run = ints(c, (int32_t *)one->run, (size_t)one->rows * 4);
        attend_rows(c, a[1].out, a[1].stat, r, &s, one->token, alone);
        same_tokens(&a[0], &a[1], one->token, one->rows, &s, alone ? "decoded one by one" : "decoded in slots");
    }

    unshare_view(&v[1], t);
    unshared = shape_of(H, G, D, v[1].tree.store);
    assert_true(v[1].tree.rows <= 2000);
    attend_rows(c, a[1].out, a[1].stat, tree_rows(c, &v[1].tree), &unshared, v[1].token, 0);
    same_tokens(&a[0], &a[1], v[1].token, v[1].tree.rows, &unshared, "prompts not shared");
    free(v);
    free(one);
    free(a);
}

static void test_attention_views(void **state)
{
    check_attention(cpu_of(state), 1, 1, 1, 5);
    check_attention(cpu_of(state), 4, 4, 16, 40);
    check_attention(cpu_of(state), 6, 2, 20, 33);
    check_attention(cpu_of(state), 2, 1, 64, 60);
}

/* A chain longer than any table's blocks at fixed positions take to come round: all rows at once, then the last ones
 * alone, as the sampler asks for them. Inputs are numbers that bf16 holds too. */
enum { LONG_CHAIN = 1300, LONG_LAST = 3 };

static size_t run_long_chain(struct context *c, const void *spec, double *out)
{
    const struct attention_shape *s = spec;
    static struct tree t;
    memset(&t, 0, sizeof t);
    tree_add(&t, -1, LONG_CHAIN, 0);
    reserve(c, SCRATCH_ATTENTION, (struct scratch_shape){.rows = t.rows, .attention = *s, .longest = LONG_CHAIN});
    size_t width = (size_t)(s->H + 2 * s->G) * s->D, wide = (size_t)s->H * s->D, first = LONG_CHAIN - LONG_LAST;
    double *v = malloc(LONG_CHAIN * width * sizeof *v);
    for (size_t i = 0; i < LONG_CHAIN * width; i++)
        v[i] = floor(value(81, i) * 128) / 128;
    struct rows all = tree_rows(c, &t), last = all;
    struct run run = {0, 0, LONG_LAST, (int32_t)first};
    Dev none = {0}, qkv = tensor_from(c, v, LONG_CHAIN * width), kv = tensor(c, CALL_PURE(c, store_reals, s));
    Dev y = tensor(c, LONG_CHAIN * wide), again = tensor(c, LONG_LAST * wide);
    free(v);
    last.count = LONG_LAST;
    last.run = ints(c, (int32_t *)&run, 4);
    CALL(c, store, kv, qkv, &all, s);
    CALL(c, attention_forward, y, none, qkv, kv, &all, s);
    CALL(c, attention_forward, again, none, dev_at(&c->dev, qkv, first * width), kv, &last, s);
    size_t n = tensor_read(c, out, y, LONG_CHAIN * wide);
    n += tensor_read(c, out + n, again, LONG_LAST * wide);
    assert_memory_equal(out + first * wide, out + LONG_CHAIN * wide, LONG_LAST * wide * sizeof *out);
    return n;
}

static void test_attention_long(void **state)
{
    struct attention_shape s = shape_of(2, 1, 4, LONG_CHAIN / KV_ALIGN * KV_ALIGN + KV_ALIGN);
    compare(*state, run_long_chain, &s, (LONG_CHAIN + LONG_LAST) * 8, 60, NULL);
}

/* Backward: groups in one call or several, runs whole or cut. */
static void test_attention_backward_parts(void **state)
{
    struct context *c = cpu_of(state);
    Dev first = {NULL};
    for (int way = 0; way < 3; way++) {
        struct tree t;
        tree_example(&t, 3, 40, way == 2 ? 9 : 0);
        struct attention_shape s = shape_of(4, 2, 20, t.store);
        reserve(c, SCRATCH_ATTENTION,
                (struct scratch_shape){.rows = t.rows, .attention = s, .longest = tree_longest(&t)});
        struct rows r = tree_rows(c, &t);
        size_t rows = (size_t)t.rows, width = 8 * 20, wide = 4 * 20;
        Dev qkv = tensor_random(c, rows * width, 1), kv = tensor(c, CALL_PURE(c, store_reals, &s)),
            out = tensor(c, rows * wide);
        Dev stat = tensor(c, rows * 8), dout = tensor_random(c, rows * wide, 2), dqkv = tensor(c, rows * width);
        CALL(c, store, kv, qkv, &r, &s);
        CALL(c, attention_forward, out, stat, qkv, kv, &r, &s);
        struct rows part = r;
        part.groups = way == 1 ? 1 : r.groups;
        for (int g = 0; g < r.groups; g += part.groups) {
            part.group = dev_int_at(r.group, (size_t)g * 2);
            CALL(c, attention_backward, dqkv, dout, out, stat, qkv, kv, &part, &s);
        }
        if (way == 0)
            first = dqkv;
        same_bits(floats(first), floats(dqkv), rows * width, way == 1 ? "groups apart" : "runs cut");
    }
    release_all(c);
}

/* ---- the sampler's numbers are the trainer's ---- */

#ifndef SLOTS
#define SLOTS 300
#endif
enum { WORDS = 117, KEPT = 20 };

static void test_sampled_logp(void **state)
{
    struct context *c = cpu_of(state);
    const struct sampling how[] = {{1, 0, 1, 0, KEPT},
                                   {0.7f, 0, 1, 0, KEPT},
                                   {0.7f, 12, 0.9f, 0.01f, KEPT},
                                   {1.3f, 0, 0.95f, 0, KEPT},
                                   {0, 0, 1, 0, KEPT}};
    reserve(c, SCRATCH_SAMPLE, (struct scratch_shape){.rows = SLOTS, .N = WORDS, .K = 1});
    for (unsigned k = 0; k < sizeof how / sizeof *how; k++) {
        int32_t zero[SLOTS * KEPT] = {0}, word[SLOTS * 2];
        double temperature[SLOTS];
        for (int i = 0; i < 2 * SLOTS; i++)
            word[i] = (int32_t)mix(5, (uint64_t)i);
        for (int i = 0; i < SLOTS; i++)
            temperature[i] = how[k].temperature > 0 ? how[k].temperature : 1;
        DevInt token = ints(c, zero, SLOTS), support = ints(c, zero, SLOTS * KEPT), supports = ints(c, zero, SLOTS),
               bits = ints(c, word, 2 * SLOTS);
        Dev logits = tensor_random(c, SLOTS * WORDS, 6), logp = tensor(c, SLOTS), entropy = tensor(c, SLOTS);
        for (size_t i = 0; i < SLOTS * WORDS; i++)
            floats(logits)[i] *= 5;
        struct drawn to = {token, {NULL}, logp, entropy, support, supports};
        CALL(c, sample, &to, logits, bits, SLOTS, WORDS, &how[k]);
        struct entries e = {SLOTS, token, tensor_from(c, temperature, SLOTS), support, supports, KEPT};
        Dev again = tensor(c, SLOTS), entropy_again = tensor(c, SLOTS), stat = tensor(c, 4 * SLOTS);
        CALL(c, logp_forward, again, entropy_again, stat, logits, &e, 0, WORDS, WORDS);
        same_bits(floats(logp), floats(again), SLOTS, "logp of the sampled token");
        same_bits(floats(entropy), floats(entropy_again), SLOTS, "entropy");
        e.count = 1;
        for (size_t r = 0; r < SLOTS; r++) { /* an entry alone */
            e.target = dev_int_at(token, r);
            e.temperature = dev_at(&c->dev, tensor_from(c, temperature, 1), 0);
            e.support = dev_int_at(support, r * KEPT);
            e.supports = dev_int_at(supports, r);
            CALL(c, logp_forward, dev_at(&c->dev, again, r), dev_at(&c->dev, entropy_again, r), stat,
                 dev_at(&c->dev, logits, r * WORDS), &e, 0, WORDS, WORDS);
            CALL(c, release, c->block[--c->blocks].base);
        }
        same_bits(floats(logp), floats(again), SLOTS, "one entry");
        release_all(c);
    }
}

/* ---- the laws of sampling, for both tables ---- */

struct law {
    struct sampling s;
    int kept;        /* how many of the ids in order of probability */
    double share[4]; /* their probabilities */
};

/* Probabilities 0.4 0.3 0.2 0.1 stand at ids 2 0 3 1. */
static const int law_order[4] = {2, 0, 3, 1};
static const double law_logits[4] = {-1.2039728043259361, -2.3025850929940455, -0.9162907318741551,
                                     -1.6094379124341003};
static const struct law laws[] = {
    {{1, 0, 1, 0, 4}, 4, {0.4, 0.3, 0.2, 0.1}},
    {{1, 2, 1, 0, 4}, 2, {4 / 7.0, 3 / 7.0}},
    {{1, 0, 0.65f, 0, 4}, 2, {4 / 7.0, 3 / 7.0}},
    {{1, 0, 0.75f, 0, 4}, 3, {4 / 9.0, 3 / 9.0, 2 / 9.0}},
    {{1, 0, 0.01f, 0, 4}, 1, {1}},
    {{1, 0, 1, 0.4f, 4}, 3, {4 / 9.0, 3 / 9.0, 2 / 9.0}},
    {{1, 0, 1, 0.6f, 4}, 2, {4 / 7.0, 3 / 7.0}},
    {{1, 3, 0.75f, 0, 4}, 2, {4 / 7.0, 3 / 7.0}},             /* of the first three's 0.9, 0.7 is enough */
    {{1, 0, 0.999f, 0, 2}, 2, {4 / 7.0, 3 / 7.0}},            /* the most ids */
    {{1, 4, 1, 0, 4}, 4, {0.4, 0.3, 0.2, 0.1}},               /* nothing cut off */
    {{2, 0, 0.65f, 0, 4}, 3, {0.388631, 0.336565, 0.274804}}, /* square roots of the probabilities */
    {{0, 2, 0.5f, 0, 4}, 4, {0.4, 0.3, 0.2, 0.1}},            /* greedy: nothing is cut off */
};

#ifndef DRAWS
#define DRAWS 20000
#endif

static void check_law(struct context *c, const struct law *l)
{
    int32_t *word = calloc(DRAWS * 4 * 2, sizeof *word), *kept = calloc(DRAWS * 4, sizeof *kept),
            *count = calloc(DRAWS, sizeof *count);
    double *row = calloc(DRAWS * 4, sizeof *row), *p = calloc(DRAWS, sizeof *p), *h = calloc(DRAWS, sizeof *h);
    int seen[4] = {0};
    for (int i = 0; i < DRAWS * 2; i++)
        word[i] = (int32_t)(mix(8, (uint64_t)i / 2) >> (i % 2 * 32));
    for (int i = 0; i < DRAWS * 4; i++)
        row[i] = law_logits[i % 4];
    reserve(c, SCRATCH_SAMPLE, (struct scratch_shape){.rows = DRAWS, .N = 4, .K = 1});
    DevInt bits = ints(c, word, DRAWS * 2), token = ints(c, count, DRAWS), supports = ints(c, count, DRAWS),
           support = ints(c, kept, DRAWS * 4);
    Dev logits = tensor_from(c, row, DRAWS * 4), logp = tensor(c, DRAWS), entropy = tensor(c, DRAWS);
    struct drawn to = {token, {NULL}, logp, entropy, support, supports};
    CALL(c, sample, &to, logits, bits, DRAWS, 4, &l->s);
    CALL(c, download, p, logp, DRAWS);
    CALL(c, download, h, entropy, DRAWS);
    CALL(c, download_int, count, supports, DRAWS);
    CALL(c, download_int, kept, support, DRAWS * 4);
    CALL(c, download_int, word, token, DRAWS);
    double want_entropy = 0, chi = 0;
    for (int i = 0; i < l->kept; i++)
        want_entropy -= l->share[i] * log(l->share[i]);
    for (int r = 0; r < DRAWS; r++) {
        int place = 0;
        while (law_order[place] != word[r])
            place++;
        seen[place]++;
        assert_true(place < l->kept);
        assert_true(fabs(p[r] - log(l->share[place])) < 3e-5 && fabs(h[r] - want_entropy) < 3e-5);
        assert_int_equal(count[r], l->kept == 4 ? 0 : l->kept);
        for (int i = 0; i < count[r]; i++)
            assert_int_equal(kept[(size_t)r * (size_t)l->s.max_support + (size_t)i], law_order[i]);
    }
    if (l->s.temperature > 0) /* chi-square with at most 3 degrees of freedom: above 21.1 once in ten thousand */
        for (int i = 0; i < l->kept; i++)
            chi += pow(seen[i] - DRAWS * l->share[i], 2) / (DRAWS * l->share[i]);
    else
        assert_int_equal(seen[0], DRAWS);
    assert_true(chi < 21.1);
    void *all[] = {word, kept, count, row, p, h};
    for (int i = 0; i < 6; i++)
        free(all[i]);
    release_all(c);
}

static void test_laws(void **state)
{
    struct suite *s = *state;
    for (unsigned i = 0; i < sizeof laws / sizeof *laws; i++) {
        check_law(&s->c[REF], &laws[i]);
        check_law(&s->c[CPU2], &laws[i]);
    }
}

/* Ties, the two ends of the random numbers, impossible tokens, a long vocabulary. */
static void test_sampling_edges(void **state)
{
    struct suite *s = *state;
    for (int k = REF; k <= CPU1; k++) {
        struct context *c = &s->c[k];
        double row[600];
        int32_t zero[8] = {0}, got[8], ends[] = {0, 0, -1, -1};
        const struct sampling all = {1, 0, 1, 0, 3}, three = {1, 3, 1, 0, 3}, greedy = {0, 0, 1, 0, 3};
        for (int i = 0; i < 600; i++) /* ids 10 .. 289 of 300 are possible, and equal */
            row[i] = i % 300 < 10 || i % 300 >= 290 ? -INFINITY : 1.0;
        reserve(c, SCRATCH_SAMPLE, (struct scratch_shape){.rows = 2, .N = 300, .K = 1});
        DevInt token = ints(c, zero, 2), support = ints(c, zero, 6), supports = ints(c, zero, 2),
               bits = ints(c, ends, 4);
        Dev logits = tensor_from(c, row, 600), logp = tensor(c, 2), entropy = tensor(c, 2);
        struct drawn to = {token, {NULL}, logp, entropy, support, supports};
        CALL(c, sample, &to, logits, bits, 2, 300, &all);
        CALL(c, download_int, got, token, 2);
        assert_int_equal(got[0], 10);
        assert_int_equal(got[1], 289);
        CALL(c, sample, &to, logits, bits, 2, 300, &greedy);
        CALL(c, download_int, got, token, 2);
        assert_int_equal(got[1], 10);
        CALL(c, sample, &to, logits, bits, 2, 300, &three);
        CALL(c, download_int, got, support, 6);
        for (int i = 0; i < 6; i++)
            assert_int_equal(got[i], 10 + i % 3);
        CALL(c, download_int, got, token, 2);
        assert_true(got[0] == 10 && got[1] == 12);
        release_all(c);
    }
}

/* A target that truncation has removed has log-probability minus infinity. */
static void test_outside_support(void **state)
{
    struct suite *s = *state;
    for (int k = REF; k <= CPU1; k++) {
        struct context *c = &s->c[k];
        int32_t target = 1, kept[2] = {2, 0}, count = 2;
        double one = 1, got;
        struct entries e = {1, ints(c, &target, 1), tensor_from(c, &one, 1), ints(c, kept, 2), ints(c, &count, 1), 2};
        Dev logp = tensor(c, 1), entropy = tensor(c, 1), stat = tensor(c, 4);
        CALL(c, logp_forward, logp, entropy, stat, tensor_from(c, law_logits, 4), &e, 0, 4, 4);
        CALL(c, download, &got, logp, 1);
        assert_true(got == -INFINITY);
        release_all(c);
    }
}

/* ---- exp and log ---- */

static double ulps(float got, double want)
{
    float near = (float)want;
    if (got == near)
        return 0;
    double unit = near == 0 || fabs(want) < 0x1p-126 ? 0x1p-149 : ldexp(1, ilogb(want) - 23);
    return fabs(got - want) / unit;
}

static void test_exp_log(void **state)
{
    (void)state;
    double worst_exp = 0, worst_log = 0;
    for (int i = 0; i < 2000000; i++) {
        float x = (float)(value(1, (uint64_t)i) * (i % 2 ? 104 : 3)),
              y = ldexpf(1 + (float)fabs(value(2, (uint64_t)i)), below(3, (uint64_t)i, 252) - 126);
        if (i % 3 == 0)
            y = 1 + (float)value(4, (uint64_t)i) * 0.5f;
        double e = x < 88.7 && x > -87.33 ? ulps(exp_one(x), exp((double)x)) : 0, l = ulps(log_one(y), log((double)y));
        worst_exp = e > worst_exp ? e : worst_exp;
        worst_log = l > worst_log ? l : worst_log;
    }
    if (worst_exp > 1.1 || worst_log > 1.1)
        fail_msg("exp errs by %.3f ulp, log by %.3f", worst_exp, worst_log);
    assert_true(exp_one(-INFINITY) == 0 && exp_one(-88.0f) == 0 && exp_one(0.0f) == 1);
    assert_true(exp_one(89.0f) == INFINITY && exp_one(INFINITY) == INFINITY && isnan(exp_one(NAN)));
    assert_true(log_one(1.0f) == 0 && log_one(INFINITY) == INFINITY && isnan(log_one(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_chain),
        cmocka_unit_test(test_input_chain),
        cmocka_unit_test(test_weight_chain),
        cmocka_unit_test(test_norm_parts),
        cmocka_unit_test(test_attention_views),
        cmocka_unit_test(test_attention_long),
        cmocka_unit_test(test_attention_backward_parts),
        cmocka_unit_test(test_sampled_logp),
        cmocka_unit_test(test_laws),
        cmocka_unit_test(test_sampling_edges),
        cmocka_unit_test(test_outside_support),
        cmocka_unit_test(test_exp_log),
    };
    return cmocka_run_group_tests_name("operations, bit for bit", tests, suite_open, suite_close);
}
