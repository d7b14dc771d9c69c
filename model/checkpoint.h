/* Models in the Hugging Face layout, in and out: config.json and model.safetensors, or the shards that
 * model.safetensors.index.json names (tokenizer files belong to data/). Read: GPT-2 (with or without the "transformer."
 * prefix, weights stored [in][out]), Llama (also with attention_bias), Qwen2, Qwen3; F32, F16, BF16. Written: the same
 * names. Read too, where `dir` is a file: the weights of llama2.c (its .bin, versions 0 and 1). */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H
#include "base/json.h"
#include "safetensors.h"
#include "transformer.h"

enum { MAX_ENDS = 8 };
struct token_ids {
    int bos, pad; /* -1: not said */
    int ends;
    int32_t end[MAX_ENDS]; /* any of them ends a response; the first is what is put behind a text */
};
/* Nothing said yet. */
struct token_ids token_ids_none(void);
/* id becomes an end, before the others (first 1) or behind them; one that is there already only moves. Fails when there
 * are MAX_ENDS. */
int token_ids_end(struct token_ids *t, int id, int first, struct error *e);

/* config.json -> architecture. Anything that changes the numbers and is not supported is refused by name, and sizes for
 * which the weights beside it are too small. Ends of a response: those of config.json, then those that
 * generation_config.json adds. */
int checkpoint_arch(const char *dir, struct arch *a, struct token_ids *t, struct error *e);
int checkpoint_load(struct model *m, const char *dir,
                    struct error *e); /* every tensor checked; none left over but known buffers */
/* Writes config.json and one model.safetensors, F32, into an existing directory, each crash-safe. */
int checkpoint_save(const struct model *m, const char *dir, const struct token_ids *t, struct error *e);
/* The same in DTYPE_F32, DTYPE_BF16 or DTYPE_F16, in shards of at most shard_bytes (0: one file) with their index. What
 * two bytes cannot hold is refused, as are shards beside a model.safetensors, which readers would take instead. */
int checkpoint_export(const struct model *m, const char *dir, const struct token_ids *t, enum dtype dtype,
                      int64_t shard_bytes, struct error *e);

#endif
