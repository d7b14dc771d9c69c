/* Models in the Hugging Face layout, in and out: config.json and model.safetensors (tokenizer files belong to data/).
 * Read: GPT-2 (with or without the "transformer." prefix, weights stored [in][out]), Llama (also with attention_bias),
 * Qwen2, Qwen3; F32, F16, BF16. Written: F32, the same names. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H
#include "base/json.h"
#include "transformer.h"

struct token_ids {
    int bos, eos, pad;
}; /* -1: not said */

/* config.json -> architecture. Anything that changes the numbers and is not supported is refused by name, and sizes for
 * which a model.safetensors beside it is too small. */
int checkpoint_arch(const char *dir, struct arch *a, struct token_ids *t, struct error *e);
int checkpoint_load(struct model *m, const char *dir,
                    struct error *e); /* every tensor checked; none left over but known buffers */
/* Writes both files into an existing directory, each crash-safe. */
int checkpoint_save(const struct model *m, const char *dir, const struct token_ids *t, struct error *e);

#endif
