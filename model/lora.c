/* Low-rank adapters: their names, what they add to a linear map forward and backward, merging. Files are in
 * lora_files.c. */
#include "lora.h"
#include "base/mem.h"
#include "checkpoint_inner.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- names ---- */

/* Is it the map's name, or its end from a dot on? short_ too: "q" for "self_attn.q_proj". */
static int names_map(const struct linear_map *map, const char *name, int len)
{
    int n = map->len, short_ = n - (int)strlen("_proj");
    if (n >= len && !memcmp(map->name + n - len, name, (size_t)len) && (n == len || map->name[n - len - 1] == '.'))
        return 1;
    return short_ > len && !memcmp(map->name + short_, "_proj", 5) && map->name[short_ - len - 1] == '.' &&
           !memcmp(map->name + short_ - len, name, (size_t)len);
}

static int refuse_name(const struct linear_map *map, int maps, const char *name, int len, struct error *e)
{
    char list[256] = "";
    for (int i = 0, at = 0; i < maps; i++)
        at += snprintf(list + at, sizeof list - (size_t)at, "%s%.*s", i ? ", " : "", map[i].len, map[i].name);
    return fail(e, "'%.*s' is no linear map of this model; it has %s, or all", len < 60 ? len : 60, name, list);
}

int lora_targets(const struct arch *a, const char *names, unsigned *targets, struct error *e)
{
    static const char separators[] = ", \t";
    struct linear_map map[LORA_TARGETS];
    enum family f;
    if (family_of(a, &f, e))
        return -1;
    int maps = linear_maps(a, f, map);
    *targets = 0;
    for (const char *p = names + strspn(names, separators); *p; p += strspn(p, separators)) {
        int len = (int)strcspn(p, separators), found = 0;
        for (int i = 0; i < maps; i++)
            if (names_map(&map[i], p, len) || (len == 3 && !memcmp(p, "all", 3))) {
                *targets |= 1u << i;
                found = 1;
            }
        if (!found)
            return refuse_name(map, maps, p, len, e);
        p += len;
    }
    return *targets ? 0 : fail(e, "no linear map is named; `all` names all of them");
}

int lora_adapters(const struct arch *a, struct adapter adapter[LORA_TARGETS], struct error *e)
{
    struct linear_map map[LORA_TARGETS];
    enum family f;
    int n = 0;
    if (!a->lora.rank)
        return 0;
    if (family_of(a, &f, e))
        return -1;
    int maps = linear_maps(a, f, map);
    for (int i = 0; i < maps; i++)
        if (a->lora.targets >> i & 1) {
            struct adapter *x = &adapter[n++];
            *x = (struct adapter){.weight = map[i].weight, .row = map[i].row, .N = map[i].N, .K = map[i].K};
            snprintf(x->name, sizeof x->name, "%.*s", map[i].len, map[i].name);
        }
    return n;
}

double lora_scale(const struct lora *l)
{
    return l->alpha / (l->root ? sqrt(l->rank) : l->rank);
}

size_t lora_low(const struct arch *a)
{
    struct adapter x[LORA_TARGETS];
    return (size_t)lora_adapters(a, x, NULL) * (size_t)a->lora.rank;
}

int lora_widest(const struct arch *a)
{
    struct adapter x[LORA_TARGETS];
    int n = lora_adapters(a, x, NULL), widest = 0;
    for (int j = 0; j < n; j++) {
        widest = x[j].N > widest ? x[j].N : widest;
        widest = x[j].K > widest ? x[j].K : widest;
    }
    return widest;
}

void lora_settle(struct model *m)
{
    m->plain = m->first && !m->grad.p;
    for (int i = 0; m->plain && i < m->arch.layers * m->adapters; i++) {
        const struct tensor *B = &m->tensor[m->first + 2 * i + 1];
        m->plain = m->dev->ops->sum_squares(m->dev, dev_at(m->dev, m->own, B->offset), B->reals) == 0;
    }
}

/* ---- forward and backward ---- */

static Dev own_at(const struct model *m, Dev buffer, int tensor)
{
    return dev_at(m->dev, buffer, m->tensor[tensor].offset);
}

void lora_forward(const struct model *m, struct tape *t, Dev low, int layer, int weight, Dev out, Dev in, int T, int N)
{
    struct device *d = m->dev;
    int rank = m->arch.lora.rank;
    for (int j = 0; j < m->adapters && !m->plain; j++) {
        const struct adapter *x = &m->adapter[j];
        int A = lora_tensor(m, layer, j);
        Dev u = dev_at(d, low, (size_t)j * t->max_rows * rank);
        if (x->weight != weight)
            continue;
        d->ops->linear_forward(d, u, in, model_matrix(m, A), (Dev){0}, T, rank, x->K);
        d->ops->linear_forward(d, t->wide, u, model_matrix(m, A + 1), (Dev){0}, T, x->N, rank);
        d->ops->add_columns(d, dev_at(d, out, (size_t)x->row), N, t->wide, x->N, T, x->N,
                            (float)lora_scale(&m->arch.lora));
    }
}

void lora_backward(struct model *m, struct tape *t, Dev low, int layer, int weight, Dev din, Dev dout, Dev in,
                   const struct rows *r, int N)
{
    struct device *d = m->dev;
    const struct ops *op = d->ops;
    int rank = m->arch.lora.rank, T = r->count;
    for (int j = 0; j < m->adapters; j++) {
        const struct adapter *x = &m->adapter[j];
        int A = lora_tensor(m, layer, j), B = A + 1;
        Dev u = dev_at(d, low, (size_t)j * t->max_rows * rank);
        if (x->weight != weight)
            continue;
        op->zero(d, t->wide, (size_t)T * x->N); /* scale times the adapter's columns of dout */
        op->add_columns(d, t->wide, x->N, dev_at(d, dout, (size_t)x->row), N, T, x->N,
                        (float)lora_scale(&m->arch.lora));
        turn_wait(t->turn, 0);
        op->linear_backward_weight(d, own_at(m, m->grad, B), (Dev){0}, t->wide, u, r->block, r->blocks, T, x->N, rank);
        turn_pass(t->turn);
        op->linear_backward_input(d, t->dlow, t->wide, model_matrix(m, B), T, x->N, rank);
        turn_wait(t->turn, 0);
        op->linear_backward_weight(d, own_at(m, m->grad, A), (Dev){0}, t->dlow, in, r->block, r->blocks, T, rank, x->K);
        turn_pass(t->turn);
        op->linear_backward_input(d, t->wide, t->dlow, model_matrix(m, A), T, rank, x->K);
        op->add(d, din, t->wide, (size_t)T * x->K);
    }
}

/* ---- merging ---- */

static void merge_one(struct model *m, int layer, int j)
{
    const struct adapter *x = &m->adapter[j];
    int A = lora_tensor(m, layer, j), W = m->layer[layer][x->weight], rank = m->arch.lora.rank;
    double scale = (float)lora_scale(&m->arch.lora); /* as the forward pass has it */
    double *a = mem_alloc((size_t)rank * x->K, sizeof *a), *b = mem_alloc((size_t)rank, sizeof *b);
    double *w = mem_alloc((size_t)x->K, sizeof *w);
    model_read(m, A, 0, 0, rank, a);
    for (int n = 0; n < x->N; n++) {
        model_read(m, A + 1, 0, n, 1, b);
        model_read(m, W, 0, x->row + n, 1, w);
        for (int i = 0; i < rank; i++)
            for (int k = 0; k < x->K; k++)
                w[k] += scale * b[i] * a[(size_t)i * x->K + k];
        model_write(m, W, 0, x->row + n, 1, w);
    }
    m->dev->ops->zero(m->dev, own_at(m, m->own, A + 1), m->tensor[A + 1].reals);
    model_round(m, A + 1, 0, m->tensor[A + 1].N);
    mem_free(a);
    mem_free(b);
    mem_free(w);
}

void lora_merge(struct model *m)
{
    if (m->weights->users > 1)
        die("merging into weights that %d models share", m->weights->users);
    for (int i = 0; i < m->arch.layers; i++)
        for (int j = 0; j < m->adapters; j++)
            merge_one(m, i, j);
    lora_settle(m);
}
