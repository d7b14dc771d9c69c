/* Attention of the mixed precision (keys, values, probabilities in bf16 on matrix units), its kernels on the host:
 * forward and backward against the reference within a stated budget, and the same bits however the rows are arranged,
 * so that the sampler's are the trainer's. */
#define cpu_ops cuda_bf16_ops
#define main    main_of_all
#pragma GCC diagnostic ignored "-Wunused-function" /* the others are about other rows */
#include "test_ops_exact.c"
#undef main

/* ---- against the reference ---- */

struct mixed_case {
    int H, G, D, scale, cut;
    uint64_t seed;
    int statistics; /* wanted: maxima and sums; else the output, then dqkv */
};
struct mixed_batch {
    struct tree tree;
    struct attention_shape s;
    size_t width, wide; /* numbers of a row of qkv, and of out */
    double *qkv, *dout;
};

/* Numbers that bf16 holds. */
static double *coarse(size_t n, uint64_t seed)
{
    double *v = malloc((n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = floor(value(seed, i) * 128) / 128;
    return v;
}

static void batch_open(struct mixed_batch *b, const struct mixed_case *m)
{
    tree_example(&b->tree, m->seed, m->scale, m->cut);
    b->s = shape_of(m->H, m->G, m->D, b->tree.store);
    b->width = (size_t)(m->H + 2 * m->G) * m->D;
    b->wide = (size_t)m->H * m->D;
    b->qkv = coarse((size_t)b->tree.rows * b->width, 71);
    b->dout = coarse((size_t)b->tree.rows * b->wide, 72);
}

static void batch_close(struct mixed_batch *b)
{
    free(b->qkv);
    free(b->dout);
}

static size_t run_mixed(struct context *c, const void *spec, double *out)
{
    const struct mixed_case *m = spec;
    struct mixed_batch b;
    batch_open(&b, m);
    int rows = b.tree.rows;
    reserve(c, SCRATCH_ATTENTION, (struct scratch_shape){.rows = rows, .attention = b.s});
    struct rows r = tree_rows(c, &b.tree);
    size_t T = (size_t)rows, n;
    Dev qkv = tensor_from(c, b.qkv, T * b.width), kv = tensor(c, CALL_PURE(c, store_reals, &b.s));
    Dev y = tensor(c, T * b.wide), stat = tensor(c, T * m->H * 2);
    CALL(c, store, kv, qkv, &r, &b.s);
    CALL(c, attention_forward, y, stat, qkv, kv, &r, &b.s);
    if (m->statistics) {
        n = tensor_read(c, out, stat, T * m->H * 2);
    } else {
        Dev dy = tensor_from(c, b.dout, T * b.wide), dqkv = tensor(c, T * b.width);
        CALL(c, attention_backward, dqkv, dy, y, stat, qkv, kv, &r, &b.s);
        n = tensor_read(c, out, y, T * b.wide);
        n += tensor_read(c, out + n, dqkv, T * b.width);
    }
    batch_close(&b);
    return n;
}

/* The row that holds a position of the chain that ends in `region`. */
static int row_at(const struct tree *t, int region, int position)
{
    while (position < t->region[region].pos)
        region = t->region[region].parent;
    for (int k = 0; k < t->runs; k++)
        if (t->run[k].region == region && position >= t->run[k].pos && position < t->run[k].pos + t->run[k].len)
            return t->run[k].row + position - t->run[k].pos;
    fail_msg("no row at position %d", position);
    return -1;
}

static double dot(const double *x, const double *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* One (row, head): what it adds to the sums of absolute terms of the output and of dqkv. */
static void add_terms(const struct mixed_batch *b, double *out, double *dqkv, int row, int region, int n, int h)
{
    int D = b->s.D, G = b->s.G, g = h / (b->s.H / G), at[2000];
    double p[2000], max = -INFINITY, sum = 0, delta = 0, blur = 0; /* of delta, which is taken from the output */
    const double *q = b->qkv + (size_t)row * b->width + h * D, *dout = b->dout + (size_t)row * b->wide + h * D;
    for (int j = 0; j < n; j++) {
        at[j] = row_at(&b->tree, region, j);
        p[j] = dot(q, b->qkv + (size_t)at[j] * b->width + b->wide + g * D, D) * b->s.scale;
        max = fmax(max, p[j]);
    }
    for (int j = 0; j < n; j++)
        sum += p[j] = exp(p[j] - max);
    for (int j = 0; j < n; j++) {
        const double *v = b->qkv + (size_t)at[j] * b->width + b->wide + (G + g) * D;
        delta += p[j] / sum * dot(dout, v, D);
        for (int i = 0; i < D; i++)
            blur += p[j] / sum * fabs(dout[i] * v[i]);
    }
    for (int j = 0; j < n; j++) {
        const double *key = b->qkv + (size_t)at[j] * b->width + b->wide + g * D, *v = key + G * D;
        double weight = p[j] / sum, ds = weight * (fabs(dot(dout, v, D) - delta) + blur) * b->s.scale;
        double *to = dqkv + (size_t)row * b->width + h * D, *dk = dqkv + (key - b->qkv), *dv = dqkv + (v - b->qkv);
        for (int i = 0; i < D; i++) {
            out[(size_t)row * b->wide + h * D + i] += weight * fabs(v[i]);
            to[i] += ds * fabs(key[i]);
            dk[i] += ds * fabs(q[i]);
            dv[i] += weight * fabs(dout[i]);
        }
    }
}

/* Of the terms that are added up, each probability and each of its gradients is rounded to bf16, by 2^-8 of itself at
 * most; inputs are bf16 already and sums fp32, whose errors the last tenth allows for. */
static void near_reference(void **state)
{
    struct mixed_case m[] = {{2, 2, 3, 20, 0, 2, 0},  {4, 2, 16, 40, 7, 3, 0}, {6, 2, 20, 20, 5, 4, 0},
                             {3, 3, 64, 20, 0, 6, 0}, {4, 2, 80, 9, 4, 7, 0},  {1, 1, 128, 70, 0, 8, 0}};
    for (unsigned i = 0; i < sizeof m / sizeof *m; i++) {
        struct mixed_batch b;
        batch_open(&b, &m[i]);
        size_t outs = (size_t)b.tree.rows * b.wide, most = outs + (size_t)b.tree.rows * b.width;
        double *size = malloc(most * sizeof *size);
        for (size_t j = 0; j < most; j++)
            size[j] = 1e-3; /* differences of equal numbers have errors of their own */
        for (int k = 0; k < b.tree.runs; k++)
            for (int j = 0; j < b.tree.run[k].len; j++)
                for (int h = 0; h < m[i].H; h++)
                    add_terms(&b, size, size + outs, b.tree.run[k].row + j, b.tree.run[k].region,
                              b.tree.run[k].pos + j + 1, h);
        compare(*state, run_mixed, &m[i], most, 1.1 * 0x1p-8 / FLT_EPSILON, size);
        m[i].statistics = 1;
        compare(*state, run_mixed, &m[i], most, 60, NULL); /* the bound of fp32 */
        free(size);
        batch_close(&b);
    }
}

static void any_arrangement(void **state)
{
    check_attention(cpu_of(state), 6, 2, 20, 30);
    check_attention(cpu_of(state), 2, 1, 80, 12);
}

static void long_chain(void **state)
{
    struct attention_shape s = shape_of(2, 1, 4, LONG_CHAIN / KV_ALIGN * KV_ALIGN + KV_ALIGN);
    static double one[(LONG_CHAIN + LONG_LAST) * 8]; /* no value is larger, and probabilities add up to 1 */
    for (unsigned i = 0; i < sizeof one / sizeof *one; i++)
        one[i] = 1;
    compare(*state, run_long_chain, &s, sizeof one / sizeof *one, 1.1 * 0x1p-8 / FLT_EPSILON, one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_reference),
        cmocka_unit_test(any_arrangement),
        cmocka_unit_test(long_chain),
    };
    return cmocka_run_group_tests_name("attention in mixed precision", tests, suite_open, suite_close);
}
