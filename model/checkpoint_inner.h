/* What the files of the checkpoint share: the families, the list that says which rows of which of our tensors a tensor
 * of the Hugging Face layout holds, and the files of weights. Not an interface: checkpoint.h is. A family is added with
 * a row in checkpoint_config.c (its config.json) and, if its tensors are named differently, templates in
 * checkpoint_names.c. */
#ifndef CHECKPOINT_INNER_H
#define CHECKPOINT_INNER_H
#include "checkpoint.h"
#include "safetensors.h"

enum family { FAMILY_GPT2, FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_QWEN3, FAMILIES };

/* One tensor of the file: rows row .. row+rows of our `tensor`. */
struct part {
    char name[96];
    int tensor, row, rows, K;
    int vector;  /* stored as [rows] */
    int flipped; /* stored as [K][rows]: the "Conv1D" weights of GPT-2 */
};

/* The family that computes what this architecture computes; fails when the layout has no name for it. */
int family_of(const struct arch *a, enum family *f, struct error *e);
/* All tensors of the file in the order in which they are written. prefix goes in front of all names but lm_head's. The
 * caller mem_free()s the array. */
struct part *parts_of(const struct model *m, enum family f, const char *prefix, int *count);
/* The linear maps of one layer, in the order in which they are written: rows row .. row+N of our tensor `weight` of a
 * layer. At most LORA_TARGETS; returns their number. */
struct linear_map {
    const char *name; /* in the file, without ".weight": "self_attn.q_proj" */
    int len;          /* of it */
    int weight, row, N, K;
};
int linear_maps(const struct arch *a, enum family f, struct linear_map map[LORA_TARGETS]);
/* "model.layers.3.", where they stand. */
void layer_prefix(char buf[64], enum family f, int layer);
const char *embedding_name(enum family f);        /* without prefix */
const char *family_prefix(enum family f);         /* "transformer." or "model." */
int name_ends(const char *name, const char *end); /* 1: it ends so */
/* A tensor that old files carry although it holds no weight: masks, rotary frequencies. */
int is_known_buffer(enum family f, const char *name);
/* torch_dtype: "float32", "bfloat16", "float16", as the weights beside it are stored. */
int config_write(const struct arch *a, enum family f, const struct token_ids *t, const char *torch_dtype,
                 const char *path, struct error *e);

/* ---- one file of llama2.c (checkpoint_bin.c) ---- */
int bin_arch(const char *path, struct arch *a, struct token_ids *t, struct error *e); /* t may be NULL */
/* The architecture of m is the file's. A refused file leaves m as it was unless it holds numbers that are not finite.
 */
int bin_load(struct model *m, const char *path, struct error *e);

/* ---- files of weights (checkpoint_shards.c): model.safetensors, or the shards that model.safetensors.index.json
 * names; with both, the former, as other programs do ---- */
struct shard_tensor {
    const struct st_tensor *t;
    int file;
};
struct shards {
    char path[1024]; /* the one file, or the index */
    struct safetensors *file;
    int files;
    struct shard_tensor *tensor; /* sorted by name */
    int tensors;
};
/* All files checked, and that index and files name the same tensors at the same places, none of them twice. */
int shards_open(struct shards *w, const char *dir, struct error *e);
void shards_close(struct shards *w);
int shards_find(const struct shards *w, const char *name); /* index into tensor, -1: none */
/* As safetensors_need: an index into tensor or -1. */
int shards_need(const struct shards *w, const char *name, int dims, const int64_t *shape, struct error *e);
/* Bytes of all files of weights together, without opening them; *bytes is -1 when there are none. */
int shards_bytes(const char *dir, long *bytes, struct error *e);
/* Name of shard `number` (from 1) of `count` in buf, "model.safetensors" where there is one. */
const char *shard_name(char buf[64], int number, int count);
/* The index of tensors entry[0..n), of which entry i lies in shard shard[i] (from 0) of `count`. */
int shards_write_index(const char *dir, const struct st_entry *entry, const int *shard, int n, int count,
                       struct error *e);

#endif
