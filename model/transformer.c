/* The transformer, forward and backward, written once over the rows of backend.h: GPT-2 and the Llama family differ in
 * data only.
 *
 * One layer:   x -> norm1 -> qkv (-> norms of q and k) (-> rotary) -> attention -> out, added to x        (xmid)
 *           xmid -> norm2 -> up -> gelu or silu gate -> down, added to xmid                                (next x)
 * Training, prompts and single tokens run the same functions; only what they keep differs.
 */
#include "transformer.h"
#include "base/mem.h"
#include "lora.h"
#include <stdio.h>
#include <string.h>

/* ---- buffers ---- */

struct sizes { /* reals of one row in each buffer */
    size_t C, Q, QKV, up, F;
};
static struct sizes row_sizes(const struct arch *a)
{
    struct sizes s = {(size_t)a->C, (size_t)a->H * a->D, (size_t)(a->H + 2 * a->G) * a->D,
                      (size_t)a->F * (a->mlp == MLP_SWIGLU ? 2 : 1), (size_t)a->F};
    return s;
}

static struct attention_shape attention_of(const struct arch *a, int store)
{
    struct attention_shape s = {a->H, a->G, a->D, (float)(1.0 / __builtin_sqrt((double)a->D)), store};
    return s;
}

enum { MAX_TAPE = 40 };
struct tape_part {
    Dev *to;
    const char *name;
    size_t reals;
    int bf16;
};

/* In mixed precision (ops->bf16) these are in bf16: the copies of matrices that products read; what goes into products
 * (outputs of the two norms of a layer, of attention and activation, and the hidden states of the head) and what comes
 * out of one only to go into an activation (up), with gradients (datt, dact; that of up takes its place); and the store
 * of keys and values, which is the table's. All else stays in fp32: the weights that are trained, their gradients and
 * moments, the residual stream, statistics of norms and attention, queries, keys and values before attention takes
 * them, logits, and the gradients of all these, which are rounded when they are multiplied.
 *
 * Every buffer of the tape with its size; one list for planning and for handing out pointers. */
static int tape_parts(struct tape *t, struct tape_part *part)
{
    const struct arch *a = &t->arch;
    struct sizes s = row_sizes(a);
    struct attention_shape attention = attention_of(a, t->store);
    size_t T = (size_t)t->max_rows, R = (size_t)t->max_entries, n = 0;
    size_t inputs = t->keep ? (size_t)a->layers + 1 : 1, L = t->keep == KEEP_ALL ? (size_t)a->layers : 1;
#define PART_AS(field, reals, bf16) part[n++] = (struct tape_part){&t->field, #field, reals, bf16}
#define PART16(field, reals)        PART_AS(field, reals, t->dev->ops->bf16)
#define PART(field, reals)          PART_AS(field, reals, 0)
    PART(x, inputs * T * s.C);
    PART(xmid, L * T * s.C);
    PART16(norm1, L * T * s.C);
    PART(stat1, L * T * 2);
    PART(qkv_raw, a->qk_norm ? L * T * s.QKV : 0);
    PART(stat_q, a->qk_norm ? L * T * a->H * 2 : 0);
    PART(stat_k, a->qk_norm ? L * T * a->G * 2 : 0);
    PART(qkv, L * T * s.QKV);
    PART16(att, L * T * s.Q);
    PART(att_stat, L * T * a->H * 2);
    PART16(norm2, L * T * s.C);
    PART(stat2, L * T * 2);
    PART16(up, L * T * s.up);
    PART16(act, L * T * s.F);
    PART(normf, T * s.C);
    PART(statf, T * 2);
    PART(branch, T * s.C);
    PART16(hidden, R * s.C);
    PART(logits, t->logit_reals);
    PART(logp, R);
    PART(entropy, R);
    PART(head_stat, R * 4);
    PART(low, L * T * lora_low(a));
    PART(wide, T * (size_t)lora_widest(a));
    PART(kv, t->store ? t->dev->ops->store_reals(&attention) : 0);
    if (t->keep) {
        PART(dx, T * s.C);
        PART(dnorm, T * s.C);
        PART(dqkv, T * s.QKV);
        PART(dqkv_raw, a->qk_norm ? T * s.QKV : 0);
        PART16(datt, T * s.Q);
        PART16(dact, T * s.F);
        PART(dlow, T * (size_t)a->lora.rank);
        PART16(dout16, t->dev->ops->bf16 ? T * (s.QKV > s.C ? s.QKV : s.C) : 0);
        PART(dhidden, R * s.C);
        PART(dhidden_part, t->dev->ops->head_ids(a->V) < a->V ? t->chunk * s.C : 0);
        PART(glogp, R);
        PART(gentropy, R);
    }
#undef PART
#undef PART16
#undef PART_AS
    return (int)n;
}

void tape_plan(struct tape *t, const struct arch *a, struct device *d, int max_rows, int max_entries, int store,
               enum keep keep)
{
    memset(t, 0, sizeof *t);
    t->dev = d;
    t->arch = *a;
    t->max_rows = max_rows;
    t->max_entries = max_entries;
    t->store = store;
    t->keep = keep;
    t->chunk = head_chunk(d->ops, a->V) < max_entries ? head_chunk(d->ops, a->V) : max_entries;
    t->logit_reals = (size_t)t->chunk * d->ops->head_ids(a->V);
    if (t->logit_reals < (size_t)a->V)
        t->logit_reals = (size_t)a->V;
    struct tape_part part[MAX_TAPE];
    int n = tape_parts(t, part);
    for (int i = 0; i < n; i++)
        arena_want(&t->arena, part[i].name, part[i].reals * (part[i].bf16 ? sizeof(uint16_t) : d->ops->real_bytes));
}

size_t tape_scratch(const struct tape *t)
{
    const struct arch *a = &t->arch;
    const struct device *d = t->dev;
    size_t most = 0;
    struct sizes s = row_sizes(a);
    int T = t->max_rows > t->max_entries ? t->max_rows : t->max_entries;
    struct scratch_shape shape[] = {
        {T, (int)s.QKV, a->C, attention_of(a, t->store), a->context},
        {T, a->C, (int)s.Q, attention_of(a, t->store), a->context},
        {T, (int)s.up, a->C, attention_of(a, t->store), a->context},
        {T, a->C, a->F, attention_of(a, t->store), a->context},
        {t->chunk, a->V, a->C, attention_of(a, t->store), a->context},
        {T, a->lora.rank, lora_widest(a), attention_of(a, t->store), a->context},
        {T, lora_widest(a), a->lora.rank, attention_of(a, t->store), a->context},
    };
    for (unsigned i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int row = SCRATCH_LINEAR; row <= SCRATCH_SAMPLE; row++) {
            size_t bytes = d->ops->scratch_bytes(d, (enum scratch_row)row, &shape[i]);
            most = bytes > most ? bytes : most;
        }
    return most;
}

void tape_commit(struct tape *t)
{
    struct arena_memory memory = device_memory(t->dev);
    arena_commit(&t->arena, &memory);
    struct tape_part part[MAX_TAPE];
    int n = tape_parts(t, part);
    for (int i = 0; i < n; i++)
        *part[i].to = (Dev){part[i].reals ? arena_at(&t->arena, i) : NULL, part[i].bf16};
    device_reserve(t->dev, tape_scratch(t));
}

void tape_free(struct tape *t)
{
    arena_free(&t->arena);
    memset(t, 0, sizeof *t);
}

/* ---- small helpers: a layer's slice of a buffer, a tensor's place in a buffer of parameters ---- */

static Dev slice(const struct tape *t, Dev buffer, int layer, size_t row)
{
    return t->keep == KEEP_ALL ? dev_at(t->dev, buffer, (size_t)layer * t->max_rows * row) : buffer;
}

/* The residual stream before a layer. */
static Dev input(const struct tape *t, int layer)
{
    return t->keep ? dev_at(t->dev, t->x, (size_t)layer * t->max_rows * t->arch.C) : t->x;
}

static Dev weight(const struct model *m, int tensor)
{
    return tensor < 0 ? (Dev){0} : dev_at(m->dev, tensor < m->first ? m->param : m->own, m->tensor[tensor].offset);
}

/* {NULL} also for what adapters leave frozen. */
static Dev gradient(const struct model *m, int tensor)
{
    return tensor < 0 || tensor < m->first ? (Dev){0} : dev_at(m->dev, m->grad, m->tensor[tensor].offset);
}

/* out = in W^T + b for a layer's matrix and bias (LAYER_...), and what adapters add. */
static void linear(const struct model *m, struct tape *t, int layer, int W, int b, Dev out, Dev in, int T, int N, int K)
{
    const int *w = m->layer[layer];
    m->dev->ops->linear_forward(m->dev, out, in, model_matrix(m, w[W]), weight(m, w[b]), T, N, K);
    if (m->adapters)
        lora_forward(m, t, slice(t, t->low, layer, lora_low(&m->arch)), layer, W, out, in, T, N);
}

/* din from dout, and the gradients of whatever is trained. */
static void linear_backward(struct model *m, struct tape *t, int layer, int W, int b, Dev din, Dev dout, Dev in,
                            const struct rows *r, int N, int K)
{
    struct device *d = m->dev;
    const int *w = m->layer[layer];
    if (t->dout16.bf16 && !dout.bf16) {
        d->ops->copy(d, t->dout16, dout, (size_t)r->count * N);
        dout = t->dout16;
    }
    if (!m->first) {
        turn_wait(t->turn, 0);
        d->ops->linear_backward_weight(d, gradient(m, w[W]), gradient(m, w[b]), dout, in, r->block, r->blocks, r->count,
                                       N, K);
        turn_pass(t->turn);
    }
    d->ops->linear_backward_input(d, din, dout, model_matrix(m, w[W]), r->count, N, K);
    if (m->adapters)
        lora_backward(m, t, slice(t, t->low, layer, lora_low(&m->arch)), layer, W, din, dout, in, r, N);
}

void model_prepare(const struct model *m)
{
    static const struct map {
        int weight, bias, bf16;
    } map[] = {{LAYER_QKV_W, LAYER_QKV_B, 0},
               {LAYER_OUT_W, LAYER_OUT_B, 0},
               {LAYER_UP_W, LAYER_UP_B, 1},
               {LAYER_DOWN_W, LAYER_DOWN_B, 0}};
    struct device *d = m->dev;
    void (*prepare)(struct device * d, int N, int K, int bf16, int biased) = d->ops->prepare;
    if (!prepare)
        return;
    for (unsigned i = 0; i < sizeof map / sizeof *map; i++) {
        const struct tensor *W = &m->tensor[m->layer[0][map[i].weight]];
        prepare(d, W->N, W->K, map[i].bf16, m->layer[0][map[i].bias] >= 0);
    }
    for (int j = 0; j < 2 * m->adapters; j++)
        prepare(d, m->tensor[m->first + j].N, m->tensor[m->first + j].K, 0, 0);
    prepare(d, m->arch.V, m->arch.C, 0, 0);
    if (m->value_w >= 0)
        prepare(d, 1, m->arch.C, 0, 1);
}

/* din, and the gradients of a norm's weights {w, b}, in turn with those of other micro-batches. */
static void norm_backward(struct model *m, struct tape *t, int w, int b, Dev din, Dev dout, Dev in, Dev stat,
                          const struct norm_shape *s, const struct rows *r)
{
    turn_wait(t->turn, 0);
    m->dev->ops->norm_backward(m->dev, din, gradient(m, w), gradient(m, b), dout, in, weight(m, w), stat, s, r->block,
                               r->blocks);
    turn_pass(t->turn);
}

static struct norm_shape norm_of(const struct arch *a, int T)
{
    struct norm_shape s = {.kind = a->norm, .rows = T, .heads = 1, .dim = a->C, .in_stride = a->C, .out_stride = a->C};
    s.eps = a->norm_eps;
    return s;
}

/* q (first H heads) and k (next G heads) of every row are normalised head by head. */
static struct norm_shape head_norm_of(const struct arch *a, int T, int heads)
{
    int stride = (a->H + 2 * a->G) * a->D;
    struct norm_shape s = {NORM_RMS, T, heads, a->D, stride, stride, a->norm_eps, 1};
    return s;
}

/* ---- forward ---- */

static void query_key_norm(const struct model *m, struct tape *t, int layer, const struct rows *r, Dev qkv)
{
    const struct ops *op = m->dev->ops;
    struct device *d = m->dev;
    const struct arch *a = &m->arch;
    const int *w = m->layer[layer];
    struct sizes s = row_sizes(a);
    size_t T = (size_t)r->count, keys = (size_t)a->H * a->D;
    Dev raw = slice(t, t->qkv_raw, layer, s.QKV);
    op->copy(d, raw, qkv, T * s.QKV);
    struct norm_shape q = head_norm_of(a, r->count, a->H), k = head_norm_of(a, r->count, a->G);
    op->norm_forward(d, qkv, slice(t, t->stat_q, layer, (size_t)a->H * 2), raw, weight(m, w[LAYER_QNORM_W]), (Dev){0},
                     &q);
    op->norm_forward(d, dev_at(d, qkv, keys), slice(t, t->stat_k, layer, (size_t)a->G * 2), dev_at(d, raw, keys),
                     weight(m, w[LAYER_KNORM_W]), (Dev){0}, &k);
}

/* Up to xmid: norm1, attention, and what it adds to the residual stream. */
static void attention_branch(const struct model *m, struct tape *t, int layer, const struct rows *r, Dev kv,
                             int kv_store)
{
    const struct ops *op = m->dev->ops;
    struct device *d = m->dev;
    const struct arch *a = &m->arch;
    const int *w = m->layer[layer];
    struct sizes s = row_sizes(a);
    struct norm_shape norm = norm_of(a, r->count);
    struct attention_shape attention = attention_of(a, kv_store);
    int T = r->count;
    Dev norm1 = slice(t, t->norm1, layer, s.C), qkv = slice(t, t->qkv, layer, s.QKV);
    Dev att = slice(t, t->att, layer, s.Q), x = input(t, layer), xmid = slice(t, t->xmid, layer, s.C);
    op->norm_forward(d, norm1, slice(t, t->stat1, layer, 2), x, weight(m, w[LAYER_NORM1_W]),
                     weight(m, w[LAYER_NORM1_B]), &norm);
    linear(m, t, layer, LAYER_QKV_W, LAYER_QKV_B, qkv, norm1, T, (int)s.QKV, a->C);
    if (a->qk_norm)
        query_key_norm(m, t, layer, r, qkv);
    if (a->position == POSITION_ROTARY)
        op->rotary(d, qkv, m->rope, r->position, T, a->H + a->G, a->D, (int)s.QKV, 1);
    op->store(d, kv, qkv, r, &attention);
    op->attention_forward(d, att, slice(t, t->att_stat, layer, (size_t)a->H * 2), qkv, kv, r, &attention);
    linear(m, t, layer, LAYER_OUT_W, LAYER_OUT_B, t->branch, att, T, a->C, (int)s.Q);
    op->copy(d, xmid, x, (size_t)T * a->C);
    op->add(d, xmid, t->branch, (size_t)T * a->C);
}

/* norm2, up and the activation. */
static void mlp_input(const struct model *m, struct tape *t, int layer, int T)
{
    const struct ops *op = m->dev->ops;
    struct device *d = m->dev;
    const struct arch *a = &m->arch;
    const int *w = m->layer[layer];
    struct sizes s = row_sizes(a);
    struct norm_shape norm = norm_of(a, T);
    Dev norm2 = slice(t, t->norm2, layer, s.C), up = slice(t, t->up, layer, s.up), act = slice(t, t->act, layer, s.F);
    op->norm_forward(d, norm2, slice(t, t->stat2, layer, 2), slice(t, t->xmid, layer, s.C), weight(m, w[LAYER_NORM2_W]),
                     weight(m, w[LAYER_NORM2_B]), &norm);
    linear(m, t, layer, LAYER_UP_W, LAYER_UP_B, up, norm2, T, (int)s.up, a->C);
    if (a->mlp == MLP_SWIGLU)
        op->swiglu_forward(d, act, up, T, a->F);
    else
        op->gelu_forward(d, act, up, (size_t)T * a->F);
}

void model_forward(const struct model *m, struct tape *t, const struct rows *r, Dev kv, size_t kv_stride, int kv_store)
{
    const struct ops *op = m->dev->ops;
    struct device *d = m->dev;
    const struct arch *a = &m->arch;
    size_t n = (size_t)r->count * a->C;
    if (r->count > t->max_rows)
        die("%d rows in a tape for %d", r->count, t->max_rows);
    op->embed_forward(d, t->x, r, weight(m, m->wte), weight(m, m->wpe), a->V, a->C);
    for (int i = 0; i < a->layers; i++) {
        Dev next = input(t, i + 1);
        attention_branch(m, t, i, r, dev_at(d, kv, (size_t)i * kv_stride), kv_store);
        mlp_input(m, t, i, r->count);
        linear(m, t, i, LAYER_DOWN_W, LAYER_DOWN_B, t->branch, slice(t, t->act, i, (size_t)a->F), r->count, a->C, a->F);
        op->copy(d, next, slice(t, t->xmid, i, (size_t)a->C), n);
        op->add(d, next, t->branch, n);
    }
    struct norm_shape norm = norm_of(a, r->count);
    op->norm_forward(d, t->normf, t->statf, input(t, a->layers), weight(m, m->normf_w), weight(m, m->normf_b), &norm);
}

/* ---- head: logits of some entries and a block of the vocabulary at a time, never rows x vocabulary ---- */

/* The rows of the output matrix, or its gradient, from id `first` on; {NULL} stays. */
static Dev from_id(const struct model *m, Dev W, int first)
{
    const struct ops *op = m->dev->ops;
    size_t before = W.bf16 ? op->copy_numbers(first, m->arch.C) : op->weight_reals(first, m->arch.C);
    return W.p ? dev_at(m->dev, W, before) : W;
}

/* Logits of the entries first_entry .. + n and the ids first .. + ids: [n][ids] in t->logits. */
static void block_logits(const struct model *m, struct tape *t, int first_entry, int n, int first, int ids)
{
    struct device *d = m->dev;
    int C = m->arch.C;
    t->logits_kept = 0;
    d->ops->linear_forward(d, t->logits, dev_at(d, t->hidden, (size_t)first_entry * C),
                           from_id(m, model_matrix(m, m->head), first), (Dev){0}, n, ids, C);
}

static struct entries some_entries(const struct layout *l, int first, int n)
{
    struct entries e = l->entries;
    e.count = n;
    e.target = dev_int_at(e.target, (size_t)first);
    e.temperature = dev_at(l->dev, e.temperature, (size_t)first);
    if (e.max_support) {
        e.support = dev_int_at(e.support, (size_t)first * e.max_support);
        e.supports = dev_int_at(e.supports, (size_t)first);
    } else {
        e.support.p = e.supports.p = NULL;
    }
    return e;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

void model_head(const struct model *m, struct tape *t, const struct layout *l, double *logp, double *entropy)
{
    struct device *d = m->dev;
    const struct ops *op = d->ops;
    int R = l->entries.count, V = m->arch.V;
    int ids = l->entries.max_support ? V : op->head_ids(V); /* supports are read in whole rows, as many as fit */
    int rows = smaller(t->chunk, (int)(t->logit_reals / (size_t)ids));
    op->gather(d, t->hidden, t->normf, l->entry_row, R, m->arch.C);
    for (int at = 0; at < R; at += rows) {
        struct entries e = some_entries(l, at, smaller(rows, R - at));
        for (int first = 0; first < V; first += ids) {
            int n = smaller(ids, V - first);
            block_logits(m, t, at, e.count, first, n);
            op->logp_forward(d, dev_at(d, t->logp, (size_t)at), dev_at(d, t->entropy, (size_t)at),
                             dev_at(d, t->head_stat, 4 * (size_t)at), t->logits, &e, first, n, V);
        }
    }
    t->logits_kept = R <= rows && op->head_ids(V) == V;
    if (logp)
        op->download(d, logp, t->logp, (size_t)R);
    if (entropy)
        op->download(d, entropy, t->entropy, (size_t)R);
}

void model_value(const struct model *m, struct tape *t, const struct layout *l, double *value)
{
    struct device *d = m->dev;
    int R = l->entries.count, C = m->arch.C;
    d->ops->gather(d, t->hidden, t->normf, l->entry_row, R, C);
    d->ops->linear_forward(d, t->logp, t->hidden, model_matrix(m, m->value_w), weight(m, m->value_b), R, 1, C);
    d->ops->download(d, value, t->logp, (size_t)R);
}

void model_logits(const struct model *m, struct tape *t, const struct layout *l, double *logits)
{
    struct device *d = m->dev;
    int R = l->entries.count, V = m->arch.V, rows = smaller(R, (int)(t->logit_reals / (size_t)V));
    d->ops->gather(d, t->hidden, t->normf, l->entry_row, R, m->arch.C);
    for (int at = 0; at < R; at += rows) {
        int n = smaller(rows, R - at);
        block_logits(m, t, at, n, 0, V);
        d->ops->download(d, logits + (size_t)at * V, t->logits, (size_t)n * V);
    }
}

/* ---- backward ---- */

/* One chunk of entries: every block of the vocabulary adds its part to the gradient of their hidden states. */
static void chunk_backward(struct model *m, struct tape *t, const struct layout *l, int chunk, int ids)
{
    struct device *d = m->dev;
    const struct ops *op = d->ops;
    int at = l->chunk_entry[chunk], V = m->arch.V, C = m->arch.C, blocks = l->chunk_block[chunk];
    struct entries e = some_entries(l, at, l->chunk_entry[chunk + 1] - at);
    Dev hidden = dev_at(d, t->hidden, (size_t)at * C), dhidden = dev_at(d, t->dhidden, (size_t)at * C);
    for (int first = 0; first < V; first += ids) {
        int n = smaller(ids, V - first);
        Dev part = first ? t->dhidden_part : dhidden;
        if (!t->logits_kept)
            block_logits(m, t, at, e.count, first, n);
        op->logp_backward(d, t->logits, t->logits, dev_at(d, t->head_stat, 4 * (size_t)at), &e,
                          dev_at(d, t->glogp, (size_t)at), dev_at(d, t->gentropy, (size_t)at), first, n, V);
        t->logits_kept = 0;
        if (!m->first) {
            int last = chunk == l->chunks - 1; /* chunk; then the block's turn is over */
            turn_wait(t->turn, last ? 0 : first / ids);
            op->linear_backward_weight(d, from_id(m, gradient(m, m->head), first), (Dev){0}, t->logits, hidden,
                                       dev_int_at(l->entry_block, 2 * (size_t)blocks),
                                       l->chunk_block[chunk + 1] - blocks, e.count, n, C);
            if (last)
                turn_pass(t->turn);
        }
        op->linear_backward_input(d, part, t->logits, from_id(m, model_matrix(m, m->head), first), e.count, n, C);
        if (first)
            op->add(d, dhidden, part, (size_t)e.count * C);
    }
}

static void head_backward(struct model *m, struct tape *t, const struct layout *l, const double *glogp,
                          const double *gentropy)
{
    struct device *d = m->dev;
    const struct ops *op = d->ops;
    size_t R = (size_t)l->entries.count;
    op->upload(d, t->glogp, glogp, R);
    if (gentropy)
        op->upload(d, t->gentropy, gentropy, R);
    else
        op->zero(d, t->gentropy, R);
    t->logits_kept &= l->chunks == 1;
    for (int c = 0; c < l->chunks; c++)
        chunk_backward(m, t, l, c, op->head_ids(m->arch.V));
    op->scatter(d, t->dnorm, t->dhidden, l->entry_first, l->entry_order, l->rows.count, m->arch.C);
}

static void mlp_backward(struct model *m, struct tape *t, int layer, const struct rows *r)
{
    struct device *d = m->dev;
    const struct ops *op = d->ops;
    const struct arch *a = &m->arch;
    const int *w = m->layer[layer];
    struct sizes s = row_sizes(a);
    struct norm_shape norm = norm_of(a, r->count);
    int T = r->count;
    Dev up = slice(t, t->up, layer, s.up), act = slice(t, t->act, layer, s.F), norm2 = slice(t, t->norm2, layer, s.C);
    linear_backward(m, t, layer, LAYER_DOWN_W, LAYER_DOWN_B, t->dact, t->dx, act, r, a->C, a->F);
    if (a->mlp == MLP_SWIGLU)
        op->swiglu_backward(d, up, t->dact, up, T, a->F);
    else
        op->gelu_backward(d, up, t->dact, up, (size_t)T * a->F);
    linear_backward(m, t, layer, LAYER_UP_W, LAYER_UP_B, t->dnorm, up, norm2, r, (int)s.up, a->C);
    norm_backward(m, t, w[LAYER_NORM2_W], w[LAYER_NORM2_B], t->dx, t->dnorm, slice(t, t->xmid, layer, s.C),
                  slice(t, t->stat2, layer, 2), &norm, r);
}

/* Gradient of the fused q, k, v before the query and key norms; values pass through unchanged. */
static Dev query_key_norm_backward(struct model *m, struct tape *t, int layer, const struct rows *r)
{
    struct device *d = m->dev;
    const struct ops *op = d->ops;
    const struct arch *a = &m->arch;
    const int *w = m->layer[layer];
    struct sizes s = row_sizes(a);
    size_t keys = (size_t)a->H * a->D;
    struct norm_shape q = head_norm_of(a, r->count, a->H), k = head_norm_of(a, r->count, a->G);
    Dev raw = slice(t, t->qkv_raw, layer, s.QKV);
    op->copy(d, t->dqkv_raw, t->dqkv, (size_t)r->count * s.QKV);
    norm_backward(m, t, w[LAYER_QNORM_W], -1, t->dqkv_raw, t->dqkv, raw, slice(t, t->stat_q, layer, (size_t)a->H * 2),
                  &q, r);
    norm_backward(m, t, w[LAYER_KNORM_W], -1, dev_at(d, t->dqkv_raw, keys), dev_at(d, t->dqkv, keys),
                  dev_at(d, raw, keys), slice(t, t->stat_k, layer, (size_t)a->G * 2), &k, r);
    return t->dqkv_raw;
}

static void attention_branch_backward(struct model *m, struct tape *t, int layer, const struct rows *r)
{
    struct device *d = m->dev;
    const struct ops *op = d->ops;
    const struct arch *a = &m->arch;
    const int *w = m->layer[layer];
    struct sizes s = row_sizes(a);
    struct norm_shape norm = norm_of(a, r->count);
    struct attention_shape attention = attention_of(a, t->store);
    int T = r->count;
    Dev qkv = slice(t, t->qkv, layer, s.QKV), att = slice(t, t->att, layer, s.Q), dqkv = t->dqkv;
    linear_backward(m, t, layer, LAYER_OUT_W, LAYER_OUT_B, t->datt, t->dx, att, r, a->C, (int)s.Q);
    op->store(d, t->kv, qkv, r, &attention); /* the forward pass reused one layer's store */
    op->attention_backward(d, dqkv, t->datt, att, slice(t, t->att_stat, layer, (size_t)a->H * 2), qkv, t->kv, r,
                           &attention);
    if (a->position == POSITION_ROTARY)
        op->rotary(d, dqkv, m->rope, r->position, T, a->H + a->G, a->D, (int)s.QKV, -1);
    if (a->qk_norm)
        dqkv = query_key_norm_backward(m, t, layer, r);
    linear_backward(m, t, layer, LAYER_QKV_W, LAYER_QKV_B, t->dnorm, dqkv, slice(t, t->norm1, layer, s.C), r,
                    (int)s.QKV, a->C);
    norm_backward(m, t, w[LAYER_NORM1_W], w[LAYER_NORM1_B], t->dx, t->dnorm, input(t, layer),
                  slice(t, t->stat1, layer, 2), &norm, r);
}

static void value_backward(struct model *m, struct tape *t, const struct layout *l, const double *gvalue)
{
    struct device *d = m->dev;
    const struct ops *op = d->ops;
    int C = m->arch.C;
    op->upload(d, t->glogp, gvalue, (size_t)l->entries.count);
    turn_wait(t->turn, 0);
    for (int c = 0; c < l->chunks; c++) {
        size_t first = (size_t)l->chunk_entry[c];
        int n = l->chunk_entry[c + 1] - (int)first;
        Dev grad = dev_at(d, t->glogp, first);
        op->linear_backward_weight(d, gradient(m, m->value_w), gradient(m, m->value_b), grad,
                                   dev_at(d, t->hidden, first * C),
                                   dev_int_at(l->entry_block, 2 * (size_t)l->chunk_block[c]),
                                   l->chunk_block[c + 1] - l->chunk_block[c], n, 1, C);
        op->linear_backward_input(d, dev_at(d, t->dhidden, first * C), grad, model_matrix(m, m->value_w), n, 1, C);
    }
    turn_pass(t->turn);
    op->scatter(d, t->dnorm, t->dhidden, l->entry_first, l->entry_order, l->rows.count, C);
}

/* What the forward pass left of a layer, from the layer's input: the buffers hold a later layer's. The last layer's are
 * still there. */
static void layer_again(const struct model *m, struct tape *t, int layer, const struct rows *r)
{
    attention_branch(m, t, layer, r, t->kv, t->store);
    mlp_input(m, t, layer, r->count);
    if (m->adapters) /* for what they read of the last map; its output is not needed */
        lora_forward(m, t, slice(t, t->low, layer, lora_low(&m->arch)), layer, LAYER_DOWN_W, t->branch,
                     slice(t, t->act, layer, (size_t)m->arch.F), r->count, m->arch.C);
}

/* From the gradient of the final norm's output, in t->dnorm, down to the embedding. */
static void trunk_backward(struct model *m, struct tape *t, const struct layout *l)
{
    struct device *d = m->dev;
    const struct ops *op = d->ops;
    const struct arch *a = &m->arch;
    const struct rows *r = &l->rows;
    struct norm_shape norm = norm_of(a, r->count);
    op->zero(d, t->dx, (size_t)r->count * a->C);
    norm_backward(m, t, m->normf_w, m->normf_b, t->dx, t->dnorm, input(t, a->layers), t->statf, &norm, r);
    for (int i = a->layers - 1; i >= 0; i--) {
        if (t->keep == KEEP_INPUTS && i < a->layers - 1)
            layer_again(m, t, i, r);
        mlp_backward(m, t, i, r);
        attention_branch_backward(m, t, i, r);
    }
    if (!m->first) {
        turn_wait(t->turn, 0);
        op->embed_backward(d, m->grad_lookup, gradient(m, m->wpe), t->dx, r, a->V, a->C);
        turn_pass(t->turn);
    }
}

void model_backward(struct model *m, struct tape *t, const struct layout *l, const double *glogp,
                    const double *gentropy)
{
    head_backward(m, t, l, glogp, gentropy);
    trunk_backward(m, t, l);
}

void model_value_backward(struct model *m, struct tape *t, const struct layout *l, const double *gvalue)
{
    value_backward(m, t, l, gvalue);
    trunk_backward(m, t, l);
}
