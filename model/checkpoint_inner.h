/* What the three files of the checkpoint share: the families, and the list that says which rows of which of our tensors
 * a tensor of the Hugging Face layout holds. Not an interface: checkpoint.h is. A family is added with a row in
 * checkpoint_config.c (its config.json) and, if its tensors are named differently, templates in checkpoint_names.c. */
#ifndef CHECKPOINT_INNER_H
#define CHECKPOINT_INNER_H
#include "checkpoint.h"

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
const char *embedding_name(enum family f); /* without prefix */
const char *family_prefix(enum family f);  /* "transformer." or "model." */
/* A tensor that old files carry although it holds no weight: masks, rotary frequencies. */
int is_known_buffer(enum family f, const char *name);
int config_write(const struct arch *a, enum family f, const struct token_ids *t, const char *path, struct error *e);

#endif
