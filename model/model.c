/* A model's weights on a device: the list of tensors, one buffer for all of them, initialisation, reading and writing.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "lora.h"
#include "transformer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- device memory as an arena ---- */

static void *device_alloc(void *context, size_t bytes)
{
    struct device *d = context;
    return d->ops->alloc(d, bytes);
}
static void device_release(void *context, void *p)
{
    struct device *d = context;
    d->ops->release(d, p);
}
static void device_write(void *context, void *to, const void *from, size_t bytes)
{
    struct device *d = context;
    d->ops->upload_int(d, (DevInt){to}, from, bytes / sizeof(int32_t));
}
static void device_read(void *context, void *to, const void *from, size_t bytes)
{
    struct device *d = context;
    d->ops->download_int(d, to, (DevInt){(int32_t *)(uintptr_t)from}, bytes / sizeof(int32_t));
}

struct arena_memory device_memory(struct device *d)
{
    struct arena_memory m = {device_alloc, device_release, device_write, device_read, d};
    return m;
}

/* ---- the list of tensors ---- */

static int add_tensor(struct model *m, enum tensor_kind kind, int N, int K, double std, double fill, const char *format,
                      int layer)
{
    struct tensor *t = &m->tensor[m->tensors];
    snprintf(t->name, sizeof t->name, format, layer);
    t->kind = kind;
    t->N = N;
    t->K = K;
    t->std = std;
    t->fill = fill;
    t->decay = kind != TENSOR_VECTOR;
    t->offset = m->reals;
    t->reals = kind == TENSOR_TABLE ? (size_t)N * K : m->dev->ops->weight_reals(N, K);
    m->reals += (t->reals + 15) / 16 * 16; /* keeps every tensor aligned for vector loads */
    t->copy = m->copies;
    if (kind == TENSOR_MATRIX && m->dev->ops->copy_numbers)
        m->copies += (m->dev->ops->copy_numbers(N, K) + 31) / 32 * 32;
    return m->tensors++;
}

static int add_vector(struct model *m, int present, int N, double fill, const char *format, int layer)
{
    return present ? add_tensor(m, TENSOR_VECTOR, N, 1, 0, fill, format, layer) : -1;
}

/* Initial standard deviations. GPT-2 (Radford et al. 2019): 0.02, positions 0.01, residual outputs over sqrt(2 layers).
 * Small models do not learn with that (their fan-in is small, so signals vanish): 0.8/sqrt(fan-in) there, embeddings
 * 0.1. */
static double init_std(const struct arch *a, int small, int fan_in, int residual)
{
    double std = small ? 0.8 / sqrt(fan_in) : 0.02;
    return residual ? std / sqrt(2.0 * a->layers) : std;
}

static void add_layer(struct model *m, int i, int small)
{
    const struct arch *a = &m->arch;
    int *l = m->layer[i], layer_norm = a->norm == NORM_LAYER, Q = a->H * a->D, QKV = (a->H + 2 * a->G) * a->D;
    int up = a->mlp == MLP_SWIGLU ? 2 * a->F : a->F;
    l[LAYER_NORM1_W] = add_vector(m, 1, a->C, 1, "h.%d.norm1.w", i);
    l[LAYER_NORM1_B] = add_vector(m, layer_norm, a->C, 0, "h.%d.norm1.b", i);
    l[LAYER_QKV_W] = add_tensor(m, TENSOR_MATRIX, QKV, a->C, init_std(a, small, a->C, 0), 0, "h.%d.qkv.w", i);
    l[LAYER_QKV_B] = add_vector(m, a->qkv_bias, QKV, 0, "h.%d.qkv.b", i);
    l[LAYER_QNORM_W] = add_vector(m, a->qk_norm, a->D, 1, "h.%d.qnorm.w", i);
    l[LAYER_KNORM_W] = add_vector(m, a->qk_norm, a->D, 1, "h.%d.knorm.w", i);
    l[LAYER_OUT_W] = add_tensor(m, TENSOR_MATRIX, a->C, Q, init_std(a, small, Q, 1), 0, "h.%d.out.w", i);
    l[LAYER_OUT_B] = add_vector(m, a->out_bias, a->C, 0, "h.%d.out.b", i);
    l[LAYER_NORM2_W] = add_vector(m, 1, a->C, 1, "h.%d.norm2.w", i);
    l[LAYER_NORM2_B] = add_vector(m, layer_norm, a->C, 0, "h.%d.norm2.b", i);
    l[LAYER_UP_W] = add_tensor(m, TENSOR_MATRIX, up, a->C, init_std(a, small, a->C, 0), 0, "h.%d.up.w", i);
    l[LAYER_UP_B] = add_vector(m, a->mlp_bias, up, 0, "h.%d.up.b", i);
    l[LAYER_DOWN_W] = add_tensor(m, TENSOR_MATRIX, a->C, a->F, init_std(a, small, a->F, 1), 0, "h.%d.down.w", i);
    l[LAYER_DOWN_B] = add_vector(m, a->mlp_bias, a->C, 0, "h.%d.down.b", i);
}

/* A and B of every adapter, in the order that lora_tensor counts on. */
static int add_adapters(struct model *m, struct error *e)
{
    int rank = m->arch.lora.rank, at;
    m->first = m->tensors;
    m->adapters = lora_adapters(&m->arch, m->adapter, e);
    for (int i = 0; i < m->arch.layers && m->adapters > 0; i++)
        for (int j = 0; j < m->adapters; j++) {
            const struct adapter *x = &m->adapter[j];
            char name[40];
            snprintf(name, sizeof name, "h.%%d.%s.A", x->name);
            at = add_tensor(m, TENSOR_MATRIX, rank, x->K, 0, 0, name, i);
            m->tensor[at].bound = 1 / sqrt(x->K);
            snprintf(name, sizeof name, "h.%%d.%s.B", x->name);
            add_tensor(m, TENSOR_MATRIX, x->N, rank, 0, 0, name, i);
        }
    return m->adapters < 0 ? -1 : 0;
}

static int list_tensors(struct model *m, int small, struct error *e)
{
    const struct arch *a = &m->arch;
    m->tensor = mem_alloc((size_t)a->layers * (LAYER_TENSORS + 2 * LORA_TARGETS) + 7, sizeof *m->tensor);
    m->layer = mem_alloc((size_t)a->layers, sizeof *m->layer);
    m->wpe = m->normf_b = m->value_w = m->value_b = -1;
    m->wte = add_tensor(m, TENSOR_MATRIX, a->V, a->C, small ? 0.1 : 0.02, 0, "wte", 0);
    if (a->position == POSITION_LEARNED)
        m->wpe = add_tensor(m, TENSOR_TABLE, a->context, a->C, small ? 0.1 : 0.01, 0, "wpe", 0);
    for (int i = 0; i < a->layers; i++)
        add_layer(m, i, small);
    m->normf_w = add_vector(m, 1, a->C, 1, "normf.w", 0);
    m->normf_b = add_vector(m, a->norm == NORM_LAYER, a->C, 0, "normf.b", 0);
    m->head = a->tied ? m->wte : add_tensor(m, TENSOR_MATRIX, a->V, a->C, init_std(a, small, a->C, 0), 0, "head", 0);
    size_t before = m->reals, copies_before = m->copies;
    if (a->lora.rank) {
        m->reals = m->copies = 0; /* a buffer of their own */
        if (add_adapters(m, e))
            return -1;
    }
    if (a->value_head) {
        m->value_w = add_tensor(m, TENSOR_MATRIX, 1, a->C, 0, 0, "value.w", 0);
        m->value_b = add_vector(m, 1, 1, 0, "value.b", 0);
    }
    m->own_reals = m->reals;
    m->own_copies = m->copies;
    if (a->lora.rank) {
        m->reals = before;
        m->copies = copies_before;
    }
    return 0;
}

/* ---- rotary table: cosine and sine of position * theta^(-2i/D), in double, for every position of the context ---- */

/* Frequency of pair i after the scaling that long-context checkpoints ask for. llama3: wavelengths above original/low
 * are divided by the factor, those below original/high stay, linear in between (Llama 3.1 model card; Hugging Face
 * rope_type "llama3"). */
static double rotary_frequency(const struct arch *a, int i)
{
    double f = pow(a->rope_theta, -2.0 * i / a->D);
    if (a->rope_scaling.kind == 1)
        return f / a->rope_scaling.factor;
    if (a->rope_scaling.kind == 2) {
        double turns = a->rope_scaling.original * f / (2 * M_PI); /* full turns within the original context */
        if (turns < a->rope_scaling.low)
            return f / a->rope_scaling.factor;
        if (turns <= a->rope_scaling.high) {
            double s = (turns - a->rope_scaling.low) / (a->rope_scaling.high - a->rope_scaling.low);
            return (1 - s) * f / a->rope_scaling.factor + s * f;
        }
    }
    return f;
}

static void fill_rotary_table(struct model *m)
{
    const struct arch *a = &m->arch;
    double *row = mem_alloc((size_t)a->D, sizeof *row);
    for (int t = 0; t < a->context; t++) {
        for (int i = 0; i < a->D / 2; i++) {
            double angle = t * rotary_frequency(a, i);
            row[2 * i] = cos(angle);
            row[2 * i + 1] = sin(angle);
        }
        m->dev->ops->upload(m->dev, dev_at(m->dev, m->rope, (size_t)t * a->D), row, (size_t)a->D);
    }
    mem_free(row);
}

/* ---- life ---- */

static struct weights *create_weights(struct model *m)
{
    const struct arch *a = &m->arch;
    struct weights *w = mem_alloc(1, sizeof *w);
    int rotary = a->position == POSITION_ROTARY;
    arena_want(&w->arena, "weights", m->reals * m->dev->ops->real_bytes);
    arena_want(&w->arena, "matrices in bf16", m->copies * sizeof(uint16_t));
    if (rotary)
        arena_want(&w->arena, "rotary table", (size_t)a->context * a->D * m->dev->ops->real_bytes);
    struct arena_memory memory = device_memory(m->dev);
    arena_commit(&w->arena, &memory);
    m->param.p = arena_at(&w->arena, 0);
    if (m->copies)
        m->param16 = (Dev){arena_at(&w->arena, 1), 1};
    if (rotary) {
        m->rope.p = arena_at(&w->arena, 2);
        fill_rotary_table(m);
    }
    return w;
}

/* What no other model shares: adapters and a value head, gradients, moments. */
static void create_own(struct model *m, int trainable)
{
    size_t real = m->dev->ops->real_bytes, bytes = m->own_reals * real;
    struct part {
        Dev *to;
        const char *name;
        size_t bytes;
    } part[] = {{&m->own, "adapters", m->arch.lora.rank ? bytes : 0},
                {&m->own16, "adapters in bf16", m->arch.lora.rank ? m->own_copies * sizeof(uint16_t) : 0},
                {&m->grad, "gradient", trainable ? bytes : 0},
                {&m->moment1, "first moments", trainable ? bytes : 0},
                {&m->moment2, "second moments", trainable ? bytes : 0},
                {&m->grad_lookup, "gradient of the embedding's lookups",
                 trainable && m->arch.tied && !m->arch.lora.rank ? m->tensor[m->wte].reals * real : 0}};
    enum { PARTS = sizeof part / sizeof *part };
    int block[PARTS];
    for (int i = 0; i < PARTS; i++)
        block[i] = part[i].bytes ? arena_want(&m->arena, part[i].name, part[i].bytes) : -1;
    struct arena_memory memory = device_memory(m->dev);
    arena_commit(&m->arena, &memory);
    for (int i = 0; i < PARTS; i++)
        part[i].to->p = block[i] < 0 ? NULL : arena_at(&m->arena, block[i]);
    m->own16.bf16 = 1;
    if (!m->arch.lora.rank) {
        m->own = m->param;
        m->own16 = m->param16;
    }
    if (trainable && !m->arch.tied && !m->arch.lora.rank)
        m->grad_lookup = dev_at(m->dev, m->grad, m->tensor[m->wte].offset);
}

static int begin(struct model *m, const struct arch *a, int small_init, struct device *d, struct error *e)
{
    memset(m, 0, sizeof *m);
    if (arch_check(a, e))
        return -1;
    m->arch = *a;
    m->dev = d;
    if (!list_tensors(m, small_init, e))
        return 0;
    model_free(m);
    return -1;
}

int model_create(struct model *m, const struct arch *a, int small_init, struct device *d, int trainable,
                 struct error *e)
{
    if (begin(m, a, small_init, d, e))
        return -1;
    m->weights = create_weights(m);
    m->weights->users = 1;
    create_own(m, trainable);
    model_prepare(m);
    return 0;
}

int model_share(struct model *m, const struct arch *a, const struct model *base, int trainable, struct error *e)
{
    if (begin(m, a, 0, base->dev, e))
        return -1;
    if (!m->first || m->first != base->first || m->reals != base->reals)
        die("weights shared by models of different shape");
    m->weights = base->weights;
    m->weights->users++;
    m->param = base->param;
    m->param16 = base->param16;
    m->rope = base->rope;
    create_own(m, trainable);
    model_prepare(m);
    return 0;
}

size_t model_bytes(const struct model *m, int shared)
{
    return m->arena.total + (shared ? 0 : m->weights->arena.total);
}

struct model model_on(const struct model *m, struct device *d)
{
    struct model same = *m;
    same.dev = d;
    return same;
}

void model_free(struct model *m)
{
    arena_free(&m->arena);
    if (m->weights && --m->weights->users == 0) {
        arena_free(&m->weights->arena);
        mem_free(m->weights);
    }
    mem_free(m->tensor);
    mem_free(m->layer);
    memset(m, 0, sizeof *m);
}

static double initial(const struct tensor *t, struct rng r, uint64_t at)
{
    if (t->bound > 0)
        return t->bound * (2 * rng_uniform(r, at) - 1);
    return t->std > 0 ? t->std * rng_normal(r, at) : t->fill;
}

static void init_tensor(struct model *m, int i, uint64_t seed)
{
    const struct tensor *t = &m->tensor[i];
    struct rng r = rng_stream(seed, RNG_INIT, 0, (uint64_t)i, 0);
    double *row = mem_alloc((size_t)t->K, sizeof *row);
    for (int n = 0; n < t->N; n++) {
        for (int k = 0; k < t->K; k++)
            row[k] = initial(t, r, (uint64_t)n * t->K + k);
        model_write(m, i, 0, n, 1, row);
    }
    mem_free(row);
}

void model_init(struct model *m, uint64_t seed)
{
    for (int i = 0; i < m->tensors; i++)
        init_tensor(m, i, seed);
}

void model_init_adapters(struct model *m, uint64_t seed)
{
    for (int i = lora_tensor(m, 0, 0); i < lora_tensor(m, m->arch.layers, 0); i++)
        init_tensor(m, i, seed);
}

void model_draw_value_head(struct model *m, uint64_t seed)
{
    static const double std = 0.02;
    int width = m->tensor[m->value_w].K;
    struct rng r = rng_stream(seed, RNG_INIT, 0, (uint64_t)m->value_w, 0);
    double *row = mem_alloc((size_t)width, sizeof *row);
    for (int k = 0; k < width; k++)
        row[k] = std * rng_normal(r, (uint64_t)k);
    model_write(m, m->value_w, 0, 0, 1, row);
    mem_free(row);
}

void model_copy(struct model *to, const struct model *from)
{
    int extra = to->arch.value_head && !from->arch.value_head ? 2 : 0; /* tensors that stay, the last ones */
    if (to->tensors != from->tensors + extra || to->first != from->first ||
        (!extra && to->own_reals != from->own_reals))
        die("copying weights between models of different shape");
    if (to->first && to->param.p != from->param.p)
        to->dev->ops->copy(to->dev, to->param, from->param, from->reals);
    to->dev->ops->copy(to->dev, to->own, from->own, from->own_reals);
    for (int i = 0; i < to->tensors; i++)
        model_round(to, i, 0, to->tensor[i].N);
    lora_settle(to);
}

void model_snapshot(struct model *to, const struct model *from)
{
    model_copy(to, from);
    to->dev->ops->copy(to->dev, to->moment1, from->moment1, from->own_reals);
    to->dev->ops->copy(to->dev, to->moment2, from->moment2, from->own_reals);
    to->steps = from->steps;
}

void model_reset_optimiser(struct model *m)
{
    m->dev->ops->zero(m->dev, m->moment1, m->own_reals);
    m->dev->ops->zero(m->dev, m->moment2, m->own_reals);
    m->steps = 0;
}

static Dev buffer_of(const struct model *m, int tensor, int which)
{
    const Dev buffer[] = {m->own, m->grad, m->moment1, m->moment2};
    if (which && tensor < m->first)
        die("tensor %s is frozen: it has neither gradient nor moments", m->tensor[tensor].name);
    return dev_at(m->dev, tensor < m->first ? m->param : buffer[which], m->tensor[tensor].offset);
}

void model_read(const struct model *m, int tensor, int which, int row, int rows, double *to)
{
    const struct tensor *t = &m->tensor[tensor];
    struct device *d = m->dev;
    Dev from = buffer_of(m, tensor, which);
    if (t->kind == TENSOR_TABLE)
        d->ops->download(d, to, dev_at(d, from, (size_t)row * t->K), (size_t)rows * t->K);
    else
        d->ops->unpack(d, to, from, row, rows, t->N, t->K);
}

void model_write(struct model *m, int tensor, int which, int row, int rows, const double *from)
{
    const struct tensor *t = &m->tensor[tensor];
    struct device *d = m->dev;
    Dev to = buffer_of(m, tensor, which);
    if (t->kind == TENSOR_TABLE)
        d->ops->upload(d, dev_at(d, to, (size_t)row * t->K), from, (size_t)rows * t->K);
    else
        d->ops->pack(d, to, from, row, rows, t->N, t->K);
    if (which == 0)
        model_round(m, tensor, row, rows);
}

Dev model_copy_of(const struct model *m, int tensor)
{
    const struct tensor *t = &m->tensor[tensor];
    Dev copies = tensor < m->first ? m->param16 : m->own16;
    return copies.p && t->kind == TENSOR_MATRIX ? dev_at(m->dev, copies, t->copy) : (Dev){0};
}

Dev model_matrix(const struct model *m, int tensor)
{
    Dev copy = model_copy_of(m, tensor);
    return copy.p ? copy : buffer_of(m, tensor, 0);
}

void model_round(const struct model *m, int tensor, int row, int rows)
{
    const struct tensor *t = &m->tensor[tensor];
    Dev copy = model_copy_of(m, tensor);
    if (copy.p)
        m->dev->ops->copy_rows(m->dev, copy, buffer_of(m, tensor, 0), row, rows, t->N, t->K);
}

uint64_t model_hash(const struct model *m)
{
    uint64_t hash = 0;
    for (int i = 0; i < m->tensors; i++) {
        const struct tensor *t = &m->tensor[i];
        double *row = mem_alloc((size_t)t->K, sizeof *row);
        for (int n = 0; n < t->N; n++) {
            model_read(m, i, 0, n, 1, row);
            hash = hash_bytes(row, (int)((size_t)t->K * sizeof *row), hash);
        }
        mem_free(row);
    }
    return hash;
}
