/* The figures of single operations for bench: products at the shapes of a model, and every other row of the table at
 * the size of the batch. To add one: a function that calls it on a struct bench_model, and a line in the table below.
 */
#include "bench.h"
#include "../../model/base/mem.h"
#include <stdio.h>
#include <string.h>

/* ---- products ---- */

enum direction { FORWARD, INPUT, WEIGHT };
static const char *const direction_name[] = {"forward", "input", "weight"};

struct product {
    struct bench_model *m;
    int tensor; /* of a layer, or -1: the head */
    int N, K, rows, layer;
    enum direction direction;
    DevInt block;
    int blocks;
};

/* Another layer at each call, as in a model: its weights are not where the last call left some. */
static void multiply(void *context)
{
    struct product *p = context;
    struct model *m = &p->m->model;
    struct device *d = m->dev;
    p->layer = (p->layer + 1) % m->arch.layers;
    const struct tensor *t = &m->tensor[p->tensor < 0 ? m->head : m->layer[p->layer][p->tensor]];
    Dev in = {p->m->in, 0}, out = {p->m->out, 0}, W = model_matrix(m, (int)(t - m->tensor)),
        dW = dev_at(d, m->grad, t->offset);
    if (p->direction == FORWARD)
        d->ops->linear_forward(d, out, in, W, (Dev){0}, p->rows, p->N, p->K);
    else if (p->direction == INPUT)
        d->ops->linear_backward_input(d, in, out, W, p->rows, p->N, p->K);
    else
        d->ops->linear_backward_weight(d, dW, (Dev){0}, out, in, p->block, p->blocks, p->rows, p->N, p->K);
}

static void measure_product(struct product *p, const char *name)
{
    struct figure f = {.unit = "GFLOP/s", .products = 1};
    double each = p->direction == WEIGHT ? sizeof(float) : bench_weight(p->m->model.dev);
    double weights = each * p->N * p->K;
    f.flops = 2.0 * p->rows * p->N * p->K;
    f.amount = f.flops * 1e-9;
    /* all layers in turn, or a head, do not fit a cache when they are large; a gradient is also written back */
    double all = p->tensor < 0 ? weights : weights * p->m->model.arch.layers;
    f.bytes = all > (16 << 20) ? weights : 0;
    snprintf(f.name, sizeof f.name, "%s.%s.%s.%d", p->m->name, name, direction_name[p->direction], p->rows);
    bench_figure(p->m->b, &f, multiply, p);
}

/* Rows that are measured against the whole vocabulary: not more logits than some 4 million, but 256 rows. */
static int whole_rows(const struct bench_model *m)
{
    int n = (1 << 22) / m->model.arch.V;
    n = n < 256 ? 256 : n;
    return n < m->entries ? n : m->entries;
}

static void measure_products(struct bench_model *m)
{
    const struct arch *a = &m->model.arch;
    int Q = a->H * a->D, QKV = (a->H + 2 * a->G) * a->D, up = a->mlp == MLP_SWIGLU ? 2 * a->F : a->F;
    const struct {
        const char *name;
        int tensor, N, K;
    } shape[] = {{"qkv", LAYER_QKV_W, QKV, a->C},
                 {"out", LAYER_OUT_W, a->C, Q},
                 {"up", LAYER_UP_W, up, a->C},
                 {"down", LAYER_DOWN_W, a->C, a->F},
                 {"head", -1, a->V, a->C}};
    static const int some_rows[] = {1, 4, 16, 64, 256, 0};
    for (unsigned i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int direction = FORWARD; direction <= WEIGHT; direction++)
            for (unsigned r = direction == FORWARD ? 0 : 4; r < sizeof some_rows / sizeof *some_rows; r++) {
                int most = shape[i].tensor < 0 ? whole_rows(m) : m->rows;
                struct product p = {m, shape[i].tensor, shape[i].N, shape[i].K, some_rows[r], 0, direction, {NULL}, 0};
                p.rows = p.rows ? p.rows : most;
                if (p.rows > most || (some_rows[r] == 0 && most == 256))
                    continue;
                struct span block[64];
                for (int at = 0; at < p.rows; at += GRADIENT_BLOCK)
                    block[p.blocks++] = (struct span){at, p.rows - at < GRADIENT_BLOCK ? p.rows - at : GRADIENT_BLOCK};
                p.block.p = (int32_t *)block;
                measure_product(&p, shape[i].name);
            }
}

/* ---- the other rows: T rows of the batch, in `in` and `out` ---- */

#define ROW(name)                                                                                                      \
    static void name(void *context)                                                                                    \
    {                                                                                                                  \
        struct bench_model *m = context;                                                                               \
        struct device *d = m->model.dev;                                                                               \
        const struct ops *op = d->ops;                                                                                 \
        const struct arch *a = &m->model.arch;                                                                         \
        const struct rows *rows = &m->layout.rows;                                                                     \
        Dev in = {m->in, 0}, out = {m->out, 0}, stat = m->tape.stat1;                                                  \
        (void)op, (void)a, (void)rows, (void)in, (void)out, (void)stat;
#define END }

static struct norm_shape norm_of(const struct bench_model *m)
{
    const struct arch *a = &m->model.arch;
    return (struct norm_shape){a->norm, m->rows, 1, a->C, a->C, a->C, a->norm_eps, 0};
}

static struct attention_shape attention_of(const struct bench_model *m)
{
    const struct arch *a = &m->model.arch;
    return (struct attention_shape){a->H, a->G, a->D, (float)(1 / __builtin_sqrt((double)a->D)), m->tape.store};
}

static Dev tensor(const struct bench_model *m, Dev buffer, int i)
{
    return i < 0 ? (Dev){0} : dev_at(m->model.dev, buffer, m->model.tensor[i].offset);
}

ROW(embed_forward)
op->embed_forward(d, out, rows, tensor(m, m->model.param, m->model.wte), tensor(m, m->model.param, m->model.wpe), a->V,
                  a->C);
END ROW(embed_backward) op->embed_backward(d, m->model.grad_lookup, tensor(m, m->model.grad, m->model.wpe), in, rows,
                                           a->V, a->C);
END ROW(norm_forward)
struct norm_shape s = norm_of(m);
op->norm_forward(d, out, stat, in, tensor(m, m->model.param, m->model.normf_w),
                 tensor(m, m->model.param, m->model.normf_b), &s);
END ROW(norm_backward)
struct norm_shape s = norm_of(m);
op->norm_backward(d, m->tape.dx, tensor(m, m->model.grad, m->model.normf_w), tensor(m, m->model.grad, m->model.normf_b),
                  in, out, tensor(m, m->model.param, m->model.normf_w), stat, &s, rows->block, rows->blocks);
END ROW(rotary) op->rotary(d, m->tape.qkv, m->model.rope, rows->position, m->rows, a->H + a->G, a->D,
                           (a->H + 2 * a->G) * a->D, 1);
END ROW(store)
struct attention_shape s = attention_of(m);
op->store(d, m->tape.kv, m->tape.qkv, rows, &s);
END ROW(attention_forward)
struct attention_shape s = attention_of(m);
op->attention_forward(d, m->tape.att, m->tape.att_stat, m->tape.qkv, m->tape.kv, rows, &s);
END ROW(attention_backward)
struct attention_shape s = attention_of(m);
op->attention_backward(d, m->tape.dqkv, in, m->tape.att, m->tape.att_stat, m->tape.qkv, m->tape.kv, rows, &s);
END ROW(activation_forward) if (a->mlp == MLP_SWIGLU) op->swiglu_forward(d, out, in, m->rows, a->F);
else op->gelu_forward(d, out, in, (size_t)m->rows * a->F);
END ROW(activation_backward) if (a->mlp == MLP_SWIGLU) op->swiglu_backward(d, m->tape.up, out, in, m->rows, a->F);
else op->gelu_backward(d, m->tape.up, out, in, (size_t)m->rows * a->F);
END ROW(add) op->add(d, out, in, (size_t)m->rows * a->C);
END ROW(copy) op->copy(d, out, in, (size_t)m->rows * a->C);
END ROW(gather) op->gather(d, out, in, m->layout.entry_row, m->entries, a->C);
END ROW(scatter) op->scatter(d, out, in, m->layout.entry_first, m->layout.entry_order, m->rows, a->C);
END

    /* ---- the head: logits of some entries, of the first block of the vocabulary ---- */

    static struct entries
    chunk_of(const struct bench_model *m)
{
    struct entries e = m->layout.entries;
    e.count = whole_rows(m);
    e.support.p = e.supports.p = NULL;
    return e;
}

ROW(logp_forward)
struct entries e = chunk_of(m);
op->logp_forward(d, m->tape.logp, m->tape.entropy, m->tape.head_stat, (Dev){m->logits, 0}, &e, 0, op->head_ids(a->V),
                 a->V);
END ROW(logp_backward)
struct entries e = chunk_of(m);
op->logp_backward(d, out, (Dev){m->logits, 0}, m->tape.head_stat, &e, m->tape.glogp, m->tape.gentropy, 0,
                  op->head_ids(a->V), a->V);
END

    static void
    draw(struct bench_model *m, struct sampling s)
{
    enum { SUPPORT = 64, DRAWS = 64 };
    static int32_t token[DRAWS], bits[2 * DRAWS], support[DRAWS * SUPPORT], supports[DRAWS];
    int R = chunk_of(m).count < DRAWS ? chunk_of(m).count : DRAWS;
    struct device *d = m->model.dev;
    for (int i = 0; i < 2 * R; i++)
        bits[i] = (int32_t)((uint32_t)(i + 1) * 2654435761u);
    s.max_support = SUPPORT;
    struct drawn to = {.token = {token}, .support = {support}, .supports = {supports}};
    to.logp = m->tape.logp;
    to.entropy = m->tape.entropy;
    d->ops->sample(d, &to, (Dev){m->logits, 0}, (DevInt){bits}, R, m->model.arch.V, &s);
}

static void sample_all(void *m)
{
    draw(m, (struct sampling){1, 0, 1, 0, 0});
}

static void sample_top_k(void *m)
{
    draw(m, (struct sampling){1, 40, 1, 0, 0});
}

static void sample_top_p(void *m)
{
    draw(m, (struct sampling){1, 0, 0.9f, 0, 0});
}

static void sample_greedy(void *m)
{
    draw(m, (struct sampling){0, 0, 1, 0, 0});
}

/* ---- the optimiser ---- */

ROW(zero_gradient)
op->zero(d, m->model.grad, m->model.reals);
END ROW(sum_squares) op->sum_squares(d, m->model.grad, m->model.reals);
END ROW(adamw) const struct adamw s = {1e-9f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 0.5f, 1, 0, 0};
op->adamw(d, m->model.param, (Dev){0}, m->model.grad, m->model.moment1, m->model.moment2, m->model.reals, &s);
END

    static void
    copies(void *context)
{
    struct bench_model *m = context;
    for (int i = 0; i < m->model.tensors; i++)
        model_round(&m->model, i, 0, m->model.tensor[i].N);
}

/* Reals that are read and written, and operations, of one call. */
struct row {
    const char *name;
    void (*call)(void *);
    double reals, flops;
    int copies;
};

static void measure_rows(struct bench_model *m, const struct row *row, int n)
{
    for (int i = 0; i < n; i++) {
        struct figure f = {.unit = row[i].flops > 0 ? "GFLOP/s" : "GB/s", .flops = row[i].flops};
        f.bytes = row[i].reals * sizeof(float);
        f.amount = (row[i].flops > 0 ? f.flops : f.bytes) * 1e-9;
        f.copies = row[i].copies;
        snprintf(f.name, sizeof f.name, "%s.%s", m->name, row[i].name);
        bench_figure(m->b, &f, row[i].call, m);
    }
}

/* Scores and values of all pairs of the batch: 4 D operations each. */
static double attention_flops(const struct bench_model *m)
{
    const struct arch *a = &m->model.arch;
    double pairs =
        m->prompt * (m->prompt + 1) / 2.0 + (double)m->samples * m->response * (m->prompt + (m->response + 1) / 2.0);
    return m->groups * pairs * a->H * 4 * a->D;
}

static void measure_others(struct bench_model *m)
{
    const struct arch *a = &m->model.arch;
    double T = m->rows, C = a->C, F = a->F, QKV = (a->H + 2 * a->G) * a->D, W = (double)m->model.reals;
    double gates = a->mlp == MLP_SWIGLU ? 2 : 1, flops = attention_flops(m), V = a->V, R = m->entries;
    double chunk = chunk_of(m).count, draws = chunk < 64 ? chunk : 64, ids = m->model.dev->ops->head_ids(a->V);
    const struct row row[] = {
        {"embed.forward", embed_forward, 2 * T * C, 0, 1},
        {"embed.backward", embed_backward, 3 * T * C, 0, 1},
        {"norm.forward", norm_forward, 2 * T * C, 0, 1},
        {"norm.backward", norm_backward, 4 * T * C, 0, 1},
        {a->position == POSITION_ROTARY ? "rotary" : NULL, rotary, 2 * T * (a->H + a->G) * a->D, 0, 1},
        {"store", store, 2 * T * 2 * a->G * a->D, 0, 1},
        {"attention.forward", attention_forward, 0, flops, 0},
        {"attention.backward", attention_backward, 0, 2.5 * flops, 0},
        {"activation.forward", activation_forward, T * F * (gates + 1), 0, 1},
        {"activation.backward", activation_backward, T * F * (2 * gates + 1), 0, 1},
        {"add", add, 3 * T * C, 0, 1},
        {"copy", copy, 2 * T * C, 0, 1},
        {"gather", gather, 2 * R * C, 0, 1},
        {"scatter", scatter, (R + T) * C, 0, 1},
        {"logp.forward", logp_forward, chunk * ids, 0, 0},
        {"logp.backward", logp_backward, 2 * chunk * ids, 0, 1},
        {"sample.all", sample_all, draws * V, 0, 0},
        {"sample.greedy", sample_greedy, draws * V, 0, 0},
        {"sample.top_k", sample_top_k, draws * V, 0, 0},
        {"sample.top_p", sample_top_p, draws * V, 0, 0},
        {"zero", zero_gradient, W, 0, 1},
        {"sum_squares", sum_squares, W, 0, 0},
        {"adamw", adamw, 7 * W, 0, 1},
        {m->model.copies ? "copies" : NULL, copies, W + (double)m->model.copies / 2, 0, 1},
    };
    (void)QKV;
    for (unsigned i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].name)
            measure_rows(m, &row[i], 1);
}

void bench_operations(struct bench_model *m)
{
    const struct arch *a = &m->model.arch;
    size_t up = (size_t)a->F * (a->mlp == MLP_SWIGLU ? 2 : 1), QKV = (size_t)(a->H + 2 * a->G) * a->D;
    size_t widest = up > QKV ? up : QKV, n = (size_t)m->rows * widest, logits = (size_t)whole_rows(m) * a->V;
    n = n > logits ? n : logits;
    m->in = mem_alloc(n, sizeof *m->in);
    m->out = mem_alloc(n, sizeof *m->out);
    for (size_t i = 0; i < n; i++) {
        m->in[i] = (float)((uint32_t)i * 2654435761u) * 0x1p-32f - 0.5f;
        m->out[i] = (float)((uint32_t)i * 2246822519u) * 0x1p-32f - 0.5f;
    }
    size_t qkv = (size_t)m->rows * QKV;
    memcpy(m->tape.qkv.p, m->in, (qkv < n ? qkv : n) * sizeof *m->in);
    m->logits = mem_alloc(logits, sizeof *m->logits);
    for (size_t i = 0; i < logits; i++)
        m->logits[i] = 8 * m->in[i];
    measure_products(m);
    measure_others(m);
    mem_free(m->in);
    mem_free(m->out);
    mem_free(m->logits);
}
