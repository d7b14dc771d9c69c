/* A stage: one file, one constant row, one line in stages.def. The loop runs the stages of a recipe in the order
 * written.
 *
 * To add a reward: write rewards/score/NAME.c with one `const struct stage score_NAME`, add STAGE(score_NAME) to
 * stages.def. That is all.
 */
#ifndef STAGE_H
#define STAGE_H
#include "../model/base/param.h"
#include "../model/base/rng.h"
#include "batch.h"
#include "state.h"

enum stage_kind {
    STAGE_SCORE,
    STAGE_SHAPE,
    STAGE_SELECT,
    STAGE_CREDIT,
    STAGE_ADVANTAGE,
    STAGE_LOSS,
    STAGE_REGULAR,
    STAGE_KINDS
};
extern const char *const stage_kind_names[STAGE_KINDS]; /* "score", "shape" ... the keys of [stages] */

/* What stages hand to each other, for the check of reads before writes. Channels and components are checked by name. */
enum field {
    FIELD_COMPONENTS = 1,
    FIELD_REWARD = 2,
    FIELD_KEPT = 4,
    FIELD_TOKEN_REWARD = 8,
    FIELD_ADVANTAGE = 16,
    FIELD_STEPS = 32,
    FIELD_OUTCOME = 64,
    FIELD_LOGP_OLD = 128,
    FIELD_TEXT = 256,
    FIELD_RETURNS = 512
};
enum couples { COUPLES_TOKEN, COUPLES_SEQUENCE, COUPLES_GROUP, COUPLES_BATCH };

enum { MAX_METRICS = 48 };
struct metric {
    char name[48];
    double sum, count;
}; /* logged as sum/count */
struct metrics {
    struct metric metric[MAX_METRICS];
    int n;
};
void metric_add(struct metrics *m, const char *name, double sum,
                double count); /* under exactly this name; stages write "stage.name" or a plain one */
double metric_value(const struct metrics *m, const char *name,
                    double otherwise); /* sum/count, or `otherwise` when absent or empty */

struct task; /* data/task.h; only score/ looks inside */

/* One call of a stage. Losses and regularisers are called for groups [g0, g1) of a micro-batch, all others for the
 * whole batch; sums they keep (metrics, *loss) go on sample by sample in order, so they do not depend on the split. */
struct stage_call {
    const struct stage *stage;
    struct batch *b;
    int g0, g1;
    const struct value *p;          /* parameters in the order of the stage's rows */
    const int *channel;             /* batch channel number of each declared channel */
    const struct denominators *den; /* loss and regular only */
    double *loss;                   /* loss and regular add to it, sample by sample */
    const struct task *task;        /* may be NULL */
    uint64_t seed, step;            /* for rng_stream(seed, RNG_NOISE, step, prompt key, sample) */
    long phase_step, phase_steps;   /* step of the phase, from 0, and how many it has: for schedules */
    struct state *state;            /* one for each of the stage's state rows */
    struct metrics *metrics;
};

struct stage {
    const char *name; /* as written in a recipe; a score stage writes the component of its own name */
    enum stage_kind kind;
    const char *sentence;
    const char *citation; /* paper, year, equation; "" for plumbing */
    const char *formula;  /* one line of plain text, what `objective explain=1` prints */
    const struct param
        *params; /* a last text row "*" takes any other key with a number: its value is "key = number, ..." */
    unsigned reads, writes; /* enum field */
    /* Declared channels, NULL-terminated: "critic.value"; "$model.score" of the model that the parameter `model` names;
     * "critic.after if bootstrap=true" only where that holds. A use of the stage has them resolved (channel_name). */
    const char *channels[6];
    /* Components that score stages write before it, beside what reads says; NULL-terminated: "outcome";
     * "process|flawed", one of these; "process if mode=process" with this parameter; "$components", those that this
     * parameter lists, of A:B:T both A and B. */
    const char *components[3];
    unsigned gradients;   /* bit i: writes the gradient of channels[i] */
    enum couples couples; /* losses */
    const struct state_row
        *state;          /* what it remembers from step to step; NULL: nothing. Ends with a row without name */
    int zero_on_equal;   /* equal rewards in a group give no policy gradient through this stage */
    int permutable;      /* permuting the samples of a group permutes the result */
    const char *why_not; /* reason when one of the two flags is 0 */
    /* What bounds and choices of single parameters cannot say, asked when a recipe is read; NULL: nothing. The message
     * goes on after "the KIND stage 'NAME': ". */
    int (*check)(const struct value *p, struct error *e);
    int (*run)(struct stage_call *c, struct error *e); /* a message begins with the stage's name and a colon */
};

extern const struct stage *const stages[]; /* NULL-terminated, from stages.def */
const struct stage *stage_find(enum stage_kind kind, const char *name);

/* Helpers that every stage uses; the only place where group statistics are written (stats.c). kept NULL: all are. */
double stat_mean(const double *x, const unsigned char *kept, int n); /* 0 when none is kept */
double stat_std(const double *x, const unsigned char *kept, int n,
                int ddof); /* two passes; exactly 0 for equal values and for fewer than 2 */
int stat_count(const unsigned char *kept, int n);
/* Share of the pairs (x with label 1, x with label 0) that x puts in this order, equal values half: the area under the
 * receiver's curve. -1 where one of the labels is missing. */
double stat_auc(const double *x, const unsigned char *label, int n);
double logistic(double x);     /* 1 / (1 + exp(-x)) */
double log_logistic(double x); /* its logarithm, without overflow */
int stat_equal(const double *x, const unsigned char *kept,
               int n); /* 1: all kept values are the same, or none is kept */
/* Weight of a component in the text that a row "*" collects, "name = number, name = number"; 1 when it is not named. */
double component_weight(const char *weights, const char *name);
/* The next piece of a comma-separated list, blanks around it left out; 0: no more. */
int list_piece(const char **list, char piece[64]);
/* One number of a component for a sample: its own, or the mean over its steps or its model-written tokens; 0: none. */
double component_mean(const struct batch *b, const struct component *k, int sample);
/* d = weight that aggregation `agg` gives to one token of a sample with n trained tokens: see aggregation_choices. */
extern const char aggregation_choices[]; /* "token_mean|seq_mean_token_mean|seq_mean_token_sum|seq_sum_const" */
double aggregation_weight(int agg, int n, const struct denominators *d);
/* The rows of a stage that lets its recipe choose: agg, l_max, per_sequence, in this order. when: only_if of agg. */
/* clang-format off */
#define AGGREGATION_ROWS(when)                                                                                         \
    {"agg", PARAM_CHOICE, "token_mean", 0, 0, aggregation_choices, "How tokens are averaged.", when},                  \
    {"l_max", PARAM_INT, "off", 1, 1e9, NULL,                                                                          \
     "The constant that seq_sum_const divides by; off: the generation budget.", "agg=seq_sum_const"},                  \
    {"per_sequence", PARAM_BOOL, "true", 0, 0, NULL,                                                                   \
     "seq_sum_const divides by the number of sequences too.", "agg=seq_sum_const"}
/* clang-format on */
/* aggregation_weight by the values of these rows, of which rows[0] is agg. */
double aggregation_by(const struct value *rows, int n, const struct denominators *d);

/* exp(log_ratio), held within exp(-20) and exp(20): no update, however bad, gives infinity. NaN stays NaN. */
double held_ratio(double log_ratio);

/* One term of the clipped surrogate with respect to a log-ratio, and its derivative by it. */
struct surrogate {
    double loss, grad;
    int clipped;
};
/* max(-a rho, -a clip(rho, low, high)), rho = exp(log_ratio); at most -a dual where a < 0 (dual INFINITY: no bound). A
 * tie goes to the unclipped side. Where the ratio is held, the derivative is 0. */
struct surrogate surrogate_clip(double log_ratio, double a, double low, double high, double dual);

/* An estimate of the KL divergence from one token, d = logp - ref.logp of a token that the policy drew; kind is the
 * index in kl_choices. *grad: what a loss takes for its derivative by d. */
extern const char kl_choices[]; /* "k1|k2|k3|k3plus|reversed" */
double kl_estimate(int kind, double d, double *grad);

/* 0, or -1 with a message that begins with the stage's name: a kept sample's reward, or the reward on one of its own
 * tokens, is not finite. */
int rewards_finite(const struct batch *b, const char *stage, struct error *e);
int kept_in_group(const struct batch *b, int group);
/* The last trained token among [from, to) of the batch; -1: none. What is read behind a response stands there. */
int last_trained(const struct batch *b, int from, int to);
void drop_lone_samples(struct batch *b); /* groups with one kept sample lose it */

#endif
