/* What every verb that runs a model needs, opened from a recipe: device, tokenizer, task, policy. */
#ifndef SESSION_H
#define SESSION_H
#include "../../data/chat.h"
#include "../../data/tokenizer.h"
#include "../../model/checkpoint.h"
#include "../../model/generate.h"
#include "../../model/lora.h"
#include "../../rewards/recipe.h"

struct session {
    struct recipe recipe;
    struct device device;
    struct tokenizer *tokenizer;
    struct task task;
    struct chat chat;               /* how prompts and gold texts become tokens */
    struct text tokenizer_settings; /* tokenizer_config.json of its checkpoints; empty: none is written */
    struct arch arch;
    struct token_ids special; /* -1: none */
    int small_init;
    struct model policy;
    int max_prompt, max_gold; /* tokens, upper bounds */
};
/* Open everything that the recipe names; the policy is loaded from model.path or initialised from run.seed. */
int session_open(struct session *s, const char *recipe, const char *const *overrides, int count, int trainable,
                 struct error *e);
void session_close(struct session *s);

/* Fails where the directory of a run was given for that of its model, and says which that is. */
int session_check_model(const char *dir, struct error *e);

/* The preset of this name; NULL: there is none, `where` (a key or a model) names it with the nearest one. */
const struct preset *session_preset(const char *name, const char *where, struct error *e);

/* Where the tokenizer of a model is looked for: `option`, or unless it names one the model's directory, or the
 * directory in which its file lies. */
int session_tokenizer_place(const char *model, const char *option, char place[1024], struct error *e);

/* Only what a checkpoint directory holds, or a file of llama2.c and what lies beside it: tokenizer (NULL when there is
 * none; `tokenizer` names another unless it is empty), architecture, weights. */
int session_open_model(struct session *s, const char *path, const char *tokenizer, int threads, struct error *e);

/* Bytes that the run may plan with: run.memory, or most of what the device has. */
double session_memory_limit(const struct session *s);
/* Bytes of a model's weights, and with what trains them: gradient and two moments. */
double session_weight_bytes(const struct arch *a, const struct device *d, int trainable);

/* The most tokens one rollout phase or evaluation generates for a prompt. */
int session_max_new(const struct recipe *r);
/* The most slots that rollouts can use, and the most that the recipe asks for (0: none are asked for). */
int session_max_slots(const struct session *s);
int session_asked_slots(const struct recipe *r);
int session_max_support(const struct recipe *r);
struct sampling session_sampling(const struct rollout_config *r);

/* What stands in front of a text without a prompt: the tokenizer's first token, else its end of sequence; -1: none. */
int session_first_token(const struct session *s);

/* Ids of an item's prompt: its worked examples, its question, in the chat format of the recipe. Returns their number or
 * -1. */
int session_prompt(const struct session *s, const struct item *it, int32_t **ids, int *cap, struct error *e);
/* One sentence on the chat template in the model's files where the recipe does not follow it, appended to out; nothing
 * where there is none or it does. */
void session_chat_note(const struct session *s, struct text *out);

#endif
