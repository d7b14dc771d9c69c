/* One transformer for GPT-2 and the Llama family, written once over the rows of backend.h.
 *
 * An architecture is data (struct arch). A model is its weights on a device; a tape holds what a forward pass leaves
 * for the backward pass; the same forward code serves training, prompts and single tokens, which is why the sampler's
 * numbers are the trainer's.
 */
#ifndef TRANSFORMER_H
#define TRANSFORMER_H
#include "backend.h"
#include "base/arena.h"
#include "base/error.h"
#include "turn.h"

enum position_kind { POSITION_LEARNED, POSITION_ROTARY };
enum mlp_kind { MLP_GELU, MLP_SWIGLU };

/* Low-rank adapters (Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, section 4.1): beside a frozen
 * matrix W stand A [rank][K] and B [N][rank], and the two compute W x + scale B A x. Only A and B are trained. */
struct lora {
    int rank; /* 0: none */
    double alpha;
    int root;         /* 0: scale = alpha / rank; 1: alpha / sqrt(rank) (Kalajdzievski 2023, rsLoRA) */
    unsigned targets; /* bit i: the i-th linear map of a layer, in the order of lora_linears (lora.h) */
};

struct arch {
    int V, context, C, layers, H, G, D, F;
    enum norm_kind norm;
    enum position_kind position;
    enum mlp_kind mlp;
    int qkv_bias, out_bias, mlp_bias; /* biases of q,k,v; of the attention output; of the MLP */
    int tied;                         /* the output matrix is the embedding */
    int qk_norm;                      /* RMS norm on every query and key head (Qwen3) */
    float norm_eps;
    double rope_theta;
    struct {
        int kind;
        double factor, low, high, original;
    } rope_scaling; /* kind 0 none, 1 linear, 2 llama3 */
    int value_head; /* also one number a row, from the final norm: critics, flows; begins as 0 */
    struct lora lora;
};

/* Named architectures, 50 thousand to 1.5 billion parameters. V and context may still be set by the task. */
struct preset {
    const char *name, *sentence;
    struct arch arch;
    int small; /* 1: initialised with std 0.8/sqrt(fan-in), embedding 0.1, residual outputs over sqrt(2 layers); 0: as
                  GPT-2 */
};
extern const struct preset presets[];
const struct preset *preset_find(const char *name);    /* NULL: none */
int arch_check(const struct arch *a, struct error *e); /* sizes sane and consistent; names the field */
long arch_parameters(const struct arch *a);            /* of the model itself, adapters apart */
long arch_trained(const struct arch *a); /* those that training changes: all, or adapters and value head */

enum tensor_kind {
    TENSOR_MATRIX,
    TENSOR_VECTOR,
    TENSOR_TABLE
}; /* weight layout (N,K); weight layout (N,1); plain [N][K] */
struct tensor {
    char name[40]; /* our own: "wte", "h.3.qkv.w" ...; fused: qkv rows are q, k, v; gate_up rows are gate, up */
    enum tensor_kind kind;
    int N, K;
    size_t offset, reals; /* in its parameter buffer, in reals, padded */
    size_t copy;          /* of a matrix: where its copy for products stands, in 16-bit numbers */
    int decay;            /* weight decay applies (matrices and tables) */
    double std;           /* of the initial values, normal; 0: constant `fill` */
    double bound;         /* above 0: they are uniform between -bound and bound instead */
    double fill;
};

enum {
    LAYER_NORM1_W,
    LAYER_NORM1_B,
    LAYER_QKV_W,
    LAYER_QKV_B,
    LAYER_QNORM_W,
    LAYER_KNORM_W,
    LAYER_OUT_W,
    LAYER_OUT_B,
    LAYER_NORM2_W,
    LAYER_NORM2_B,
    LAYER_UP_W,
    LAYER_UP_B,
    LAYER_DOWN_W,
    LAYER_DOWN_B,
    LAYER_TENSORS
};

/* One adapter of a layer: on rows row .. row+N of the fused matrix `weight`, which has K columns. */
struct adapter {
    char name[24];         /* in the Hugging Face layout: "self_attn.q_proj" */
    int weight, row, N, K; /* weight: LAYER_..._W */
};
enum { LORA_TARGETS = 7 }; /* most linear maps of a layer */

/* Memory of weights that several models may share: freed with the last of them. */
struct weights {
    struct arena arena;
    int users;
};

struct model {
    struct arch arch;
    struct device *dev;
    struct tensor *tensor;
    int tensors;
    int first; /* tensors [first, tensors) are the model's own and can be trained: all of them, or, with adapters, those
                  and a value head */
    int wte, wpe, head, normf_w, normf_b; /* tensor numbers, -1: absent; head == wte when tied */
    int value_w, value_b;                 /* likewise; the last tensors */
    int (*layer)[LAYER_TENSORS];          /* [layers], -1: absent */
    struct adapter adapter[LORA_TARGETS]; /* [adapters] of every layer; A and B of number j of layer i are tensors */
    int adapters;                         /* first + 2 (i adapters + j) and the next */
    int plain;                            /* all B are 0 and stay so: adapters need not be computed */
    size_t reals, own_reals;              /* of the parameter buffers */
    size_t copies, own_copies;            /* of the copies for products, in 16-bit numbers */
    Dev param;                            /* [reals] all tensors; with adapters those before `first` */
    Dev own;                              /* [own_reals] tensors from `first` on; param without adapters */
    Dev param16, own16;                   /* copies of their matrices for products; {NULL} where the table has none */
    Dev grad, moment1, moment2;           /* [own_reals]; {NULL} in a frozen model */
    Dev grad_lookup;         /* wte's gradient from the embedding when the head shares it: kept apart so that the
                                order of sums does not depend on micro-batches; added in model_step. {NULL} with adapters */
    Dev rope;                /* [context][D/2][2] */
    struct weights *weights; /* memory of param, param16 and rope */
    struct arena arena;      /* of all else */
    long steps;              /* optimiser steps taken */
};

/* Device memory for arena_commit. */
struct arena_memory device_memory(struct device *d);

/* Weights on a device: zero; then model_init or a checkpoint. trainable: also gradient and moments. */
int model_create(struct model *m, const struct arch *a, int small_init, struct device *d, int trainable,
                 struct error *e);
/* The same on the weights of `base`, which the two then share: with adapters and perhaps a value head of its own. a
 * differs from base's in the value head at most; it has adapters. */
int model_share(struct model *m, const struct arch *a, const struct model *base, int trainable, struct error *e);
size_t model_bytes(const struct model *m, int shared); /* of device memory; shared: only what is its own */
void model_init(struct model *m, uint64_t seed);
/* Only the adapters, as they begin: A uniform within 1/sqrt(K) (Kaiming with a = sqrt(5), as PEFT draws it), B 0. */
void model_init_adapters(struct model *m, uint64_t seed);
/* Small normal weights for the value head, which begins as 0: two heads that begin alike stay alike. */
void model_draw_value_head(struct model *m, uint64_t seed);
/* Weights only, of models that share theirs only the adapters; same architecture, but `to` may have a value head, which
 * stays. A frozen copy of adapters that do nothing yet runs without them. */
void model_copy(struct model *to, const struct model *from);
void model_snapshot(struct model *to, const struct model *from); /* weights, moments and step count */
void model_reset_optimiser(struct model *m);                     /* moments and step count as at the start */
/* As somebody else computes with it: the same weights and gradients, another device (device_single). */
struct model model_on(const struct model *m, struct device *d);
void model_free(struct model *m);
/* One tensor as plain [N][K] doubles, rows row .. row+rows. which: 0 weights; 1 gradient, 2 and 3 moments, which only
 * tensors from `first` on have. */
void model_read(const struct model *m, int tensor, int which, int row, int rows, double *to);
void model_write(struct model *m, int tensor, int which, int row, int rows, const double *from);
uint64_t model_hash(const struct model *m); /* of all weights, layout-independent */
/* A matrix as products read it: the weights, or their copy in bf16 (any other tensor: the weights). model_round makes
 * rows of that copy follow the
 * weights (nothing to do without one); model_write, model_copy and model_step do so by themselves. */
Dev model_matrix(const struct model *m, int tensor);
Dev model_copy_of(const struct model *m, int tensor); /* {NULL}: there is no copy */
void model_round(const struct model *m, int tensor, int row, int rows);
/* Chooses how the products of the model are computed (ops->prepare), once a shape of matrix; when it is created. */
void model_prepare(const struct model *m);

/* ---- a batch of token chains on the device ---- */
struct segment {
    int parent, start, len;
}; /* tokens ids[start .. start+len) continue segment parent (-1: position 0) */

/* Host description -> struct rows with descriptors uploaded, and the head entries of the batch. Capacities are fixed at
 * creation. */
enum { GRADIENT_BLOCK = 256 };
struct layout {
    struct device *dev;
    int max_rows, max_segments, max_groups, max_entries, max_support;
    int chunk; /* most entries whose logits are held at once: head_chunk */
    int store; /* tokens of the key/value store the batch needs */
    struct rows rows;
    struct entries entries;
    DevInt entry_row;                /* [R] row whose hidden state predicts the target */
    DevInt entry_first, entry_order; /* for scatter: entries of each row */
    DevInt entry_block; /* struct span, starts counted within their chunk: at most 256 entries of one group each */
    int chunks;
    int *chunk_entry,
        *chunk_block; /* host [chunks+1]: first entry, first block of each chunk; chunks end where blocks end */
    int32_t *host;    /* staging */
    struct arena arena;
};
/* Entries that go through the head together: about a million logits, of a block of the vocabulary where the table walks
 * it in blocks; at least one gradient block. */
int head_chunk(const struct ops *ops, int V);
/* How many micro-batches are best computed side by side: on the processor one a thread, where there are that many and
 * memory has room (dev/LOG.md: a micro-batch a thread). 1: all threads at one. */
int micro_workers(const struct device *d);
/* Rows of a micro-batch that suit the machine: enough to keep products busy, few enough for what they leave behind to
 * stay near. */
int micro_rows(const struct arch *a, const struct device *d);
/* Of a step of `all` rows: several workers get smaller pieces than `most`, so that none is idle long before the last
 * one ends, but not so small that products become slow. */
int micro_piece(int all, int workers, int most);
void layout_create(struct layout *l, struct device *d, int V, int max_rows, int max_segments, int max_groups,
                   int max_entries, int max_support);
void layout_free(struct layout *l);
/* ids[0..T), segments (parents first, rows in order), group_first[groups+1] = first segment of each group. */
void layout_set(struct layout *l, const int32_t *ids, const struct segment *seg, const int *group_first, int groups);
/* R entries: row of the hidden state, target id, temperature; in order of groups: group_entry[groups+1]. support
 * [R][max_support] with supports[R], or both NULL: all tokens. */
void layout_entries(struct layout *l, int R, const int32_t *row, const int32_t *target, const double *temperature,
                    const int32_t *support, const int32_t *supports, const int *group_entry, int groups);

/* How much of a forward pass a tape keeps; the arithmetic is the same. */
enum keep {
    KEEP_NOTHING, /* one layer's buffers, reused: prompts, single tokens, references */
    KEEP_ALL,     /* all that the backward pass needs, of every layer */
    KEEP_INPUTS   /* the input of every layer, from which the backward pass computes the rest of it once more */
};

/* What a forward pass leaves. */
struct tape {
    struct device *dev;
    struct arch arch;
    int max_rows, max_entries, chunk;
    enum keep keep;
    Dev x;    /* [layers+1 or 1][T][C] residual stream before each layer and after the last */
    Dev xmid; /* [layers or 1][T][C] after the attention branch */
    Dev norm1, stat1, qkv_raw, stat_q, stat_k, qkv, att, att_stat, norm2, stat2, up, act; /* [layers or 1][T][..] */
    Dev normf, statf, branch;                                                             /* [T][C], [T][2], [T][C] */
    Dev hidden, logits, logp, entropy, head_stat; /* [R][C], [chunk][head_ids] and at least [V], [R], [R], [R][4] */
    size_t logit_reals;                           /* of `logits` */
    int logits_kept; /* they are those of all entries over the whole vocabulary, as model_head left them */
    Dev kv;          /* one layer of key/value store for the batch's own tokens */
    int store;       /* its capacity in tokens */
    Dev low;         /* adapters: [layers or 1][adapters][T][rank] A x */
    Dev wide;        /* adapters: [T][widest] */
    /* for the backward pass; dhidden_part [chunk][C]: of a block of the vocabulary */
    Dev dx, dnorm, dqkv, dqkv_raw, datt, dact, dlow, dhidden, dhidden_part, glogp, gentropy;
    const struct turn *turn; /* of the micro-batch among others that add into the same gradient; NULL: it is alone */
    Dev dout16;              /* likewise, in mixed precision: [T][widest] a gradient rounded once for two products */
    struct arena arena;
};
/* Plan the buffers; tape_commit allocates them. tape->arena.total says how much that will be, and tape_scratch the most
 * scratch that an operation of this tape needs, which tapes on one device share. */
void tape_plan(struct tape *t, const struct arch *a, struct device *d, int max_rows, int max_entries, int store,
               enum keep keep);
size_t tape_scratch(const struct tape *t);
void tape_commit(struct tape *t);
void tape_free(struct tape *t);

/* Forward of the rows. Layer i's keys and values go to kv + i*kv_stride (stride 0: one layer reused, kv == t->kv when
 * training), a store of kv_store tokens. Leaves the final norm's output in t->normf. */
void model_forward(const struct model *m, struct tape *t, const struct rows *r, Dev kv, size_t kv_stride, int kv_store);
/* Log-probability and entropy of l's entries into logp[R], entropy[R] (host; either may be NULL). After model_forward.
 */
void model_head(const struct model *m, struct tape *t, const struct layout *l, double *logp, double *entropy);
/* Logits of the entries' rows, plain [R][V] on the host: tools and tests only. After model_forward. */
void model_logits(const struct model *m, struct tape *t, const struct layout *l, double *logits);
/* Gradients of all tensors from m->first on, from d loss / d logp and d loss / d entropy of the entries (host [R];
 * gentropy may be NULL: 0). Adds into m->grad. After model_forward and model_head of the same layout. */
void model_backward(struct model *m, struct tape *t, const struct layout *l, const double *glogp,
                    const double *gentropy);
/* The value head of the entries' rows into value[R] (host), after model_forward; and its gradients, as above. */
void model_value(const struct model *m, struct tape *t, const struct layout *l, double *value);
void model_value_backward(struct model *m, struct tape *t, const struct layout *l, const double *gvalue);

/* ---- optimiser ---- */
struct optimiser {
    double lr, beta1, beta2, eps, weight_decay, clip;
}; /* clip 0: off */
void model_zero_grad(struct model *m);
double model_grad_norm(
    struct model *m); /* finishes the gradient (adds grad_lookup), returns its global 2-norm; once per step */
void model_step(struct model *m, const struct optimiser *o,
                double grad_norm); /* clips by the norm, AdamW, counts the step */

#endif
