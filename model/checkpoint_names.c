/* Names of tensors in the Hugging Face layout, as templates over the tensors of struct model. No file is touched here.
 */
#include "checkpoint_inner.h"
#include <stdio.h>
#include <string.h>
#include "base/mem.h"

/* Which rows of the fused tensor: all; query, key, value rows of qkv; gate, up rows of gate_up. */
enum slice { ALL, Q, K, V, GATE, UP };

struct layer_name {
    int tensor; /* LAYER_... */
    enum slice slice;
    int flipped;
    const char *name;
};

static const struct layer_name gpt2_layer[] = {
    {LAYER_NORM1_W, ALL, 0, "ln_1.weight"},
    {LAYER_NORM1_B, ALL, 0, "ln_1.bias"},
    {LAYER_QKV_W, ALL, 1, "attn.c_attn.weight"},
    {LAYER_QKV_B, ALL, 0, "attn.c_attn.bias"},
    {LAYER_OUT_W, ALL, 1, "attn.c_proj.weight"},
    {LAYER_OUT_B, ALL, 0, "attn.c_proj.bias"},
    {LAYER_NORM2_W, ALL, 0, "ln_2.weight"},
    {LAYER_NORM2_B, ALL, 0, "ln_2.bias"},
    {LAYER_UP_W, ALL, 1, "mlp.c_fc.weight"},
    {LAYER_UP_B, ALL, 0, "mlp.c_fc.bias"},
    {LAYER_DOWN_W, ALL, 1, "mlp.c_proj.weight"},
    {LAYER_DOWN_B, ALL, 0, "mlp.c_proj.bias"},
    {0, ALL, 0, NULL},
};

static const struct layer_name llama_layer[] = {
    {LAYER_NORM1_W, ALL, 0, "input_layernorm.weight"},
    {LAYER_QKV_W, Q, 0, "self_attn.q_proj.weight"},
    {LAYER_QKV_W, K, 0, "self_attn.k_proj.weight"},
    {LAYER_QKV_W, V, 0, "self_attn.v_proj.weight"},
    {LAYER_QKV_B, Q, 0, "self_attn.q_proj.bias"},
    {LAYER_QKV_B, K, 0, "self_attn.k_proj.bias"},
    {LAYER_QKV_B, V, 0, "self_attn.v_proj.bias"},
    {LAYER_QNORM_W, ALL, 0, "self_attn.q_norm.weight"},
    {LAYER_KNORM_W, ALL, 0, "self_attn.k_norm.weight"},
    {LAYER_OUT_W, ALL, 0, "self_attn.o_proj.weight"},
    {LAYER_OUT_B, ALL, 0, "self_attn.o_proj.bias"},
    {LAYER_NORM2_W, ALL, 0, "post_attention_layernorm.weight"},
    {LAYER_UP_W, GATE, 0, "mlp.gate_proj.weight"},
    {LAYER_UP_W, UP, 0, "mlp.up_proj.weight"},
    {LAYER_UP_B, GATE, 0, "mlp.gate_proj.bias"},
    {LAYER_UP_B, UP, 0, "mlp.up_proj.bias"},
    {LAYER_DOWN_W, ALL, 0, "mlp.down_proj.weight"},
    {LAYER_DOWN_B, ALL, 0, "mlp.down_proj.bias"},
    {0, ALL, 0, NULL},
};

static const struct {
    const char *prefix, *embedding, *positions, *layers, *normf_w, *normf_b;
    const struct layer_name *layer;
} names[FAMILIES] = {
    [FAMILY_GPT2] = {"transformer.", "wte.weight", "wpe.weight", "h", "ln_f.weight", "ln_f.bias", gpt2_layer},
    [FAMILY_LLAMA] = {"model.", "embed_tokens.weight", NULL, "layers", "norm.weight", NULL, llama_layer},
    [FAMILY_QWEN2] = {"model.", "embed_tokens.weight", NULL, "layers", "norm.weight", NULL, llama_layer},
    [FAMILY_QWEN3] = {"model.", "embed_tokens.weight", NULL, "layers", "norm.weight", NULL, llama_layer},
};

const char *embedding_name(enum family f)
{
    return names[f].embedding;
}

const char *family_prefix(enum family f)
{
    return names[f].prefix;
}

int family_of(const struct arch *a, enum family *f, struct error *e)
{
    int gpt2 = a->norm == NORM_LAYER && a->position == POSITION_LEARNED && a->mlp == MLP_GELU && a->qkv_bias &&
               a->out_bias && a->mlp_bias && !a->qk_norm && a->G == a->H && a->H * a->D == a->C;
    int llama = a->norm == NORM_RMS && a->position == POSITION_ROTARY && a->mlp == MLP_SWIGLU;
    if (gpt2)
        *f = FAMILY_GPT2;
    else if (llama && a->qk_norm && a->qkv_bias == a->out_bias && !a->mlp_bias)
        *f = FAMILY_QWEN3;
    else if (llama && !a->qk_norm && a->qkv_bias == a->out_bias)
        *f = FAMILY_LLAMA;
    else if (llama && !a->qk_norm && a->qkv_bias && !a->mlp_bias)
        *f = FAMILY_QWEN2;
    else
        return fail(
            e,
            "this mixture of norm, positions, MLP and biases is none of gpt2, llama, qwen2, qwen3, so other programs "
            "could not read it");
    return 0;
}

static void slice_rows(const struct arch *a, enum slice s, int N, int *row, int *rows)
{
    int q = a->H * a->D, kv = a->G * a->D;
    const int first[] = {[ALL] = 0, [Q] = 0, [K] = q, [V] = q + kv, [GATE] = 0, [UP] = a->F};
    const int count[] = {[ALL] = N, [Q] = q, [K] = kv, [V] = kv, [GATE] = a->F, [UP] = a->F};
    *row = first[s];
    *rows = count[s];
}

static void add_part(struct part *p, int *n, const struct model *m, int tensor, enum slice s, int flipped)
{
    const struct tensor *t = &m->tensor[tensor];
    struct part *new = &p[(*n)++];
    new->tensor = tensor;
    new->K = t->K;
    new->vector = t->kind == TENSOR_VECTOR;
    new->flipped = flipped;
    slice_rows(&m->arch, s, t->N, &new->row, &new->rows);
}

int linear_maps(const struct arch *a, enum family f, struct linear_map map[LORA_TARGETS])
{
    int QKV = (a->H + 2 * a->G) * a->D, up = a->mlp == MLP_SWIGLU ? 2 * a->F : a->F, n = 0;
    const struct {
        int weight, N, K;
    } matrix[] = {
        {LAYER_QKV_W, QKV, a->C}, {LAYER_OUT_W, a->C, a->H * a->D}, {LAYER_UP_W, up, a->C}, {LAYER_DOWN_W, a->C, a->F}};
    for (const struct layer_name *l = names[f].layer; l->name; l++)
        for (int i = 0; i < 4; i++)
            if (matrix[i].weight == l->tensor) {
                struct linear_map *x = &map[n++];
                *x = (struct linear_map){l->name,    (int)strlen(l->name) - (int)strlen(".weight"), l->tensor, 0, 0,
                                         matrix[i].K};
                slice_rows(a, l->slice, matrix[i].N, &x->row, &x->N);
            }
    return n;
}

void layer_prefix(char buf[64], enum family f, int layer)
{
    snprintf(buf, 64, "%s%s.%d.", names[f].prefix, names[f].layers, layer);
}

struct part *parts_of(const struct model *m, enum family f, const char *prefix, int *count)
{
    int n = 0;
    struct part *p = mem_alloc((size_t)m->arch.layers * 20 + 6, sizeof *p);
    const struct {
        int tensor;
        const char *name;
    } before[] = {{m->wte, names[f].embedding}, {m->wpe, names[f].positions}},
      after[] = {{m->normf_w, names[f].normf_w}, {m->normf_b, names[f].normf_b}};
    for (int i = 0; i < 2; i++)
        if (before[i].tensor >= 0) {
            snprintf(p[n].name, sizeof p->name, "%s%s", prefix, before[i].name);
            add_part(p, &n, m, before[i].tensor, ALL, 0);
        }
    for (int i = 0; i < m->arch.layers; i++)
        for (const struct layer_name *l = names[f].layer; l->name; l++)
            if (m->layer[i][l->tensor] >= 0) {
                snprintf(p[n].name, sizeof p->name, "%s%s.%d.%s", prefix, names[f].layers, i, l->name);
                add_part(p, &n, m, m->layer[i][l->tensor], l->slice, l->flipped);
            }
    for (int i = 0; i < 2; i++)
        if (after[i].tensor >= 0) {
            snprintf(p[n].name, sizeof p->name, "%s%s", prefix, after[i].name);
            add_part(p, &n, m, after[i].tensor, ALL, 0);
        }
    if (m->head != m->wte) {
        snprintf(p[n].name, sizeof p->name, "lm_head.weight");
        add_part(p, &n, m, m->head, ALL, 0);
    }
    *count = n;
    return p;
}

int name_ends(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

int is_known_buffer(enum family f, const char *name)
{
    if (f == FAMILY_GPT2)
        return name_ends(name, ".attn.bias") || name_ends(name, ".attn.masked_bias");
    return name_ends(name, "rotary_emb.inv_freq");
}
