/* A recipe: an ini file that names a chain of stages and the phases of a run. Parsed, overridden from the command line,
 * checked before anything is trained, and written back resolved. Syntax: DESIGN section 7.
 */
#ifndef RECIPE_H
#define RECIPE_H
#include <stddef.h>
#include "../data/task.h"
#include "stage.h"

enum source { SOURCE_ROLLOUT, SOURCE_GOLD };
enum prompt_part { PART_ALL, PART_FIRST, PART_SECOND }; /* of the training prompts */
enum schedule { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE };
enum { MAX_STAGES = 24, MAX_PHASES = 8, MAX_MODELS = 6 };

/* A stage with its parameters, as a phase runs it. */
struct stage_use {
    const struct stage *stage;
    struct value value[MAX_PARAMS];
    char channel_name[6][48]; /* of its channels with these parameters; "": not read */
    int channel[6];           /* filled by the loop when the batch is made */
    struct state state[MAX_STATES];
    int line; /* in the recipe, 0: command line or default */
};
enum head { HEAD_NONE, HEAD_SCALAR, HEAD_STEP }; /* one number a token, a response; one number a step */
struct model_use {
    char name[24];
    int line;
    int init, frozen;
    enum head head;
    char path[512], preset[32];
}; /* [models] ref = init frozen | critic = init head=scalar | prm = preset:NAME head=step | path:DIR frozen */

/* Sections with a fixed set of keys are structs filled from tables of rows (recipe_keys.c): key, default, bounds,
 * sentence. */
struct task_config { /* what all tasks have in common; a task's own keys are in task_value */
    char name[32];
    int chat; /* enum chat_format of data/chat.h */
    char system[2048];
};
struct model_config {
    char preset[32], path[512], tokenizer[512], init[16];
    int context, width, layers, heads, kv_heads, hidden;
    int lora_rank;
    double lora_alpha;
    char lora_targets[128], lora_path[512];
    int recompute;
};
struct rollout_config {
    int prompts, samples, max_new, top_k, max_support, slots, max_refills;
    double temperature, top_p, min_p;
};
struct optim_config {
    double lr, critic_lr, beta1, beta2, eps, weight_decay, clip, min_lr;
    int warmup, minibatches, epochs, schedule;
};
struct eval_config {
    int every, prompts, samples;
    double temperature;
};
enum precision { PRECISION_FP32, PRECISION_BF16 };
struct run_config {
    double memory, max_seconds;
    uint64_t seed;
    int threads, micro, save_every, log_samples, precision;
    char out[512], resume[512], device[16];
}; /* memory in MB */

struct phase {
    char name[32];
    int line;
    enum source source;
    char train[24]; /* model it trains: "policy" */
    enum prompt_part part;
    int steps;
    double seconds; /* stop the phase after so much time; 0: no limit. A run that uses it is not reproducible */
    int batch;      /* gold: texts a step */
    struct rollout_config rollout; /* [rollout], overridden by keys of the same name in the phase */
    struct optim_config optim;     /* [optim], likewise */
    char branch[32]; /* name of an earlier phase: train a side branch from its end, evaluate it, go back; a control */
    int reset_optimiser;                /* 1: moments and step count start afresh in this phase */
    struct stage_use stage[MAX_STAGES]; /* in the order they run */
    int stages;
};

struct recipe {
    char name[64], path[512];
    char *title; /* first comment line */
    struct task_config task;
    const struct task_row *task_row;
    struct value task_value[MAX_PARAMS];
    struct model_config model;
    struct model_use models[MAX_MODELS];
    int model_count;
    struct rollout_config rollout; /* as [rollout] and [optim] say; a phase has its own copy */
    struct optim_config optim;
    struct eval_config eval;
    struct run_config run;
    struct phase phase[MAX_PHASES];
    int phases;
    int for_data; /* its stages run on numbers that are given */
    char *text;   /* resolved recipe, re-runnable, every key written; without the [run] keys that must not matter */
    void *ini;    /* parsed lines */
};

/* Load a built-in recipe by name or a file by path (anything with '/' or ending in .ini), apply overrides
 * ("key=value"), resolve, check. Every complaint names file and line (or the override) and the nearest valid name. */
int recipe_load(struct recipe *r, const char *name_or_path, const char *const *overrides, int count, struct error *e);
/* The same for numbers that are given, not trained: nothing is refused because it would change nothing. */
int recipe_load_for_data(struct recipe *r, const char *name_or_path, const char *const *overrides, int count,
                         struct error *e);
void recipe_free(struct recipe *r);
int recipe_check(const struct recipe *r, struct error *e); /* called by recipe_load */

/* The keys of a section with a struct behind it: what can be written, and where it goes. For help and listings. */
enum key_store { KEY_INT, KEY_DOUBLE, KEY_U64, KEY_STRING };
struct key_row {
    struct param row;
    size_t offset, size; /* in the struct of its section */
    enum key_store store;
    int local; /* does not matter to the result: not in the resolved text */
};
struct section_row {
    const char *name, *sentence;
    const struct key_row *keys;
    int count;
};
extern const struct section_row recipe_sections[]; /* model, rollout, optim, eval, run, phase; NULL-terminated */

/* The keys of [task] that every task has. */
extern const struct section_row recipe_task_section;

/* The model of a channel "model[@view].head" (name) and whether it is this one. */
int channel_of(const char *channel, const char *model);
/* Its head: "score" and "step" (of reward models and detectors) and "after" (of critics) are read behind the token, at
 * the row that has seen it; all others at the row that predicts it. */
int channel_is_behind(const char *channel);
/* Does a stage of the phase write the gradient of a channel of this model? Such models are trained with the policy. */
int phase_trains(const struct phase *p, const char *model);
int phase_trains_policy(const struct phase *p); /* `train = policy` */
/* Its losses read what a model says behind the tokens: a reward model is trained, the policy takes no part. */
int phase_reads_behind(const struct phase *p);
/* A loss of the phase couples the whole batch: it needs every log-probability before the first gradient. */
int phase_couples(const struct phase *p);
void phase_forget(struct phase *p); /* what its stages remember */

struct recipe_file {
    const char *name, *text;
    const char *expect; /* text of NAME.expect.json, or NULL: what runs of the recipe give (dev/verbs/expect.h) */
};
extern const struct recipe_file recipe_files[]; /* built in, NULL-terminated, in alphabetical order */
/* Name of the built-in recipe with this first line of comment, NULL: none. So a run's recipe.ini tells what it came
 * from. */
const char *recipe_titled(const char *title);

#endif
