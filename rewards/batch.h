/* What one optimiser step learns from: groups of samples, their tokens, and everything the stages read and write.
 *
 * Samples of a group are consecutive; response tokens of all samples are consecutive: token t of sample i is
 * sample_first[i] + t. Prompt tokens stand apart. All memory is reserved once (batch_create) for the largest step.
 */
#ifndef BATCH_H
#define BATCH_H
#include <stdint.h>
#include "../model/base/arena.h"

struct item; /* data/task.h */

enum level { LEVEL_SEQUENCE, LEVEL_STEP, LEVEL_TOKEN, LEVEL_GROUP };
enum { MAX_COMPONENTS = 40, MAX_CHANNELS = 16 };

/* A named part of the reward, or another number that stages hand on. One value a sample, a step, a token or a group. */
struct component {
    char name[32];
    enum level level;
    int written;   /* by a stage since the batch was cleared; only then does a shape read it */
    int aside;     /* only handed on: no part of the reward, whatever a shape adds up */
    double *value; /* [samples], [steps], [tokens] or [groups] */
};
/* A number per token from a model: "policy.logp", "policy.entropy", "ref.logp" ... */
struct channel {
    char name[48];
    double *value; /* [tokens] */
    double *grad;  /* [tokens] d loss / d value, or NULL: no loss may write it */
};

struct batch {
    int groups, samples, tokens, steps, prompt_tokens;
    int max_groups, max_samples, max_tokens, max_steps, max_prompt_tokens, max_support;

    int *group_first;   /* [groups+1] first sample of each group */
    int *sample_first;  /* [samples+1] first token of each sample */
    int *step_first;    /* [samples+1] first step of each sample (steps 0 when the task has none) */
    int *step_end;      /* [steps] token after the step's last, counted within the sample: step k covers [step_end[k-1],
                           step_end[k]) */
    int *prompt_first;  /* [groups+1] */
    int32_t *prompt_id; /* [prompt_tokens] */
    uint64_t *prompt_key; /* [groups] the task's index, another one when the prompt comes back: for draws and logs */
    struct item **item;   /* [groups] NULL when there is no task behind it */

    const char **text; /* [samples] decoded response, valid until the batch is refilled; NULL when unknown */
    int *text_len;
    signed char *strict, *lenient; /* [samples] verdict on the outcome: 1 right, 0 wrong, -1 unparsable */
    unsigned char *truncated;      /* [samples] */
    unsigned char *kept;           /* [samples] select: 0 takes the sample out of statistics, counts and loss */
    double *weight;                /* [samples] select: factor of the sample's loss, normally 1 */
    double *reward;                /* [samples] shape */

    int32_t *id;                 /* [tokens] */
    int *text_end;               /* [tokens] bytes of the sample's text up to and including this token */
    unsigned char *trained;      /* [tokens] 0: injected, no loss */
    int16_t *turn;               /* [tokens] */
    double *logp_rollout;        /* [tokens] the sampler's */
    double *logp_old;            /* [tokens] the trainer's at rollout weights; if exact, the same array */
    double *temperature;         /* [samples] it was sampled at */
    int32_t *support, *supports; /* [tokens][max_support], [tokens]; 0: all tokens. NULL when max_support is 0 */
    double *token_reward;        /* [tokens] credit: reward or return placed on tokens */
    double *advantage;           /* [tokens] */
    double *returns;             /* [tokens] credit: what a critic is to predict */

    struct component component[MAX_COMPONENTS];
    int components;
    struct channel channel[MAX_CHANNELS];
    int channels;
    struct arena arena;
};

/* Reserve everything; channels and components are added afterwards by name and keep their memory. */
void batch_create(struct batch *b, int groups, int samples, int tokens, int steps, int prompt_tokens, int max_support);
void batch_free(struct batch *b);
/* Empty it: every sample kept with weight 1, no component written. Memory, components and channels stay registered. */
void batch_clear(struct batch *b);
/* To write it: found or added, and marked as written; dies above MAX_COMPONENTS and when it exists at another level. */
struct component *batch_component(struct batch *b, const char *name, enum level level);
struct component *batch_number(struct batch *b, const char *name, enum level level); /* likewise, and aside */
double *batch_given(const struct batch *b, const char *name, enum level level); /* values; NULL: not written there */
int batch_find_component(const struct batch *b, const char *name);              /* -1: none */
int batch_channel(struct batch *b, const char *name, int with_gradient);        /* found or added: its number */

int trained_tokens(const struct batch *b, int sample); /* of one sample, kept or not */
/* A name of the group's prompt that it has again when it comes back, for what is remembered of it: a hash of its
 * tokens; prompt_key in a batch without prompts, as of numbers that are given. */
uint64_t batch_prompt(const struct batch *b, int group);

/* Denominators of an optimiser step: fixed before it begins, whatever the micro-batches. Only kept samples count. */
struct denominators {
    int sequences; /* kept samples with at least one trained token */
    int tokens;    /* their trained tokens */
    int groups;    /* groups of the step, kept or not */
    int longest;   /* generation budget (L_max) */
};
void batch_denominators(const struct batch *b, int group0, int group1, int budget, struct denominators *d);

#endif
