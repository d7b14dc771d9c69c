/* Low-rank adapters (Hu et al. 2021, LoRA): which matrices have one, what it computes, and files of them.
 *
 * They are never merged while training: prompts, sampling and training all compute W x + scale B (A x) by the same
 * operations, so the sampler's numbers stay the trainer's. Merging is for export.
 *
 * The linear maps of a layer go by their names in the Hugging Face layout. Llama, Qwen: q_proj, k_proj, v_proj, o_proj,
 * gate_proj, up_proj, down_proj. GPT-2: c_attn, attn.c_proj, c_fc, mlp.c_proj.
 */
#ifndef LORA_H
#define LORA_H
#include "base/error.h"
#include "transformer.h"

/* Bits of struct lora.targets from names separated by commas or spaces. A name stands for every map whose full name
 * ("self_attn.q_proj") it is or ends ("c_proj" is two of GPT-2's), also without "_proj" (q, k, v, o, gate, up, down);
 * "all": all of them. Unknown names are refused with those that the family has. */
int lora_targets(const struct arch *a, const char *names, unsigned *targets, struct error *e);
/* The adapters of each layer that a->lora asks for, in order; their number, 0 without any. Fails (-1) where the
 * architecture is none of the families. e may be NULL. */
int lora_adapters(const struct arch *a, struct adapter adapter[LORA_TARGETS], struct error *e);
double lora_scale(const struct lora *l);

/* Tensor of A of adapter j of a layer; B is the next. */
static inline int lora_tensor(const struct model *m, int layer, int j)
{
    return m->first + 2 * (layer * m->adapters + j);
}
/* Notes, after its weights have changed other than by training, whether a frozen model needs its adapters. */
void lora_settle(struct model *m);

/* For tapes, 0 without adapters: reals that one row leaves in tape.low; the most columns that an adapter reads or
 * writes. */
size_t lora_low(const struct arch *a);
int lora_widest(const struct arch *a);
/* out[T][..] of the layer's matrix `weight`, which has N columns, += scale (in A^T) B^T of every adapter on it, in
 * their columns. Keeps in A^T in low ([adapters][max_rows][rank]) for the backward pass. */
void lora_forward(const struct model *m, struct tape *t, Dev low, int layer, int weight, Dev out, Dev in, int T, int N);
/* Adds to the gradients of A and B, and to din[T][K] what flows back through them; low as the forward pass left it. */
void lora_backward(struct model *m, struct tape *t, Dev low, int layer, int weight, Dev din, Dev dout, Dev in,
                   const struct rows *r, int N);

/* W + scale B A in place of W, and B = 0: the same function in ordinary weights, rounded once. They must not be shared.
 */
void lora_merge(struct model *m);

/* ---- files, in PEFT's layout: adapter_config.json and adapter_model.safetensors ---- */

int lora_exists(const char *dir); /* has the directory an adapter_config.json? */
/* a->lora of the adapter in dir for the model *a. What it holds beside plain LoRA (DoRA, biases, modules saved whole,
 * ranks by pattern ...) is refused by name. base: base_model_name_or_path, "" where there is none; may be NULL. */
int lora_read(const char *dir, struct arch *a, char base[512], struct error *e);
/* The adapters of m, whose architecture lora_read has filled in: F32, F16 or BF16, every tensor checked before the
 * first is written, none left over. */
int lora_load(struct model *m, const char *dir, struct error *e);
/* Both files, F32, into an existing directory; base may be NULL. */
int lora_save(const struct model *m, const char *dir, const char *base, struct error *e);

#endif
