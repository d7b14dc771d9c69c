/* The state of a training run, and the memory it plans before the first step. The algorithm itself is in train_rl.c. */
#ifndef TRAINER_H
#define TRAINER_H
#include "evaluate.h"
#include "rundir.h"
#include "session.h"

/* Host side of one micro-batch: groups [g0, g1) as rows, segments and head entries. */
struct micro {
    int g0, g1, entries;
    int32_t *ids, *entry_row, *entry_target, *entry_token; /* entry_token: token of the batch each entry belongs to */
    int32_t *support, *supports;
    double *temperature, *logp, *entropy, *glogp, *gentropy;
    struct segment *segment;
    int *group_segment, *group_entry; /* first of each group, one more at the end */
};

/* What computes a micro-batch. On the processor there are several where memory has room, a thread each, which share out
 * the micro-batches of a step: nothing but the order of their sums makes one wait for another. Otherwise there is one,
 * and its operations have all threads. */
struct worker {
    struct device *dev; /* the session's, or, where several work side by side, `one` */
    struct device one;  /* the device with one thread, and scratch memory of its own */
    struct layout layout;
    struct tape tape, frozen_tape;
    struct tape own_tape[MAX_MODELS]; /* of models that may have another shape than the policy: worker_tape */
    struct micro micro;
    struct turn turn; /* of the present micro-batch */
};

/* Somebody who looks on while the loop works (the verb trace): told after each of these moments, changes nothing. */
enum moment {
    AFTER_STAGE,    /* any stage of any kind */
    AFTER_BACKWARD, /* the gradient of an optimiser step is whole; the weights are still those it was made with */
    AFTER_UPDATE,   /* the weights are new */
    AFTER_STEP      /* of the run: everything its log line says is known */
};
struct sight {
    enum moment moment;
    const struct phase *phase;
    const struct stage_use *stage;  /* AFTER_STAGE, otherwise NULL */
    int g0, g1;                     /* groups the stage ran on, or those of the optimiser step */
    const struct denominators *den; /* of the optimiser step; NULL outside one */
    double loss, grad_norm, lr;     /* the loss so far; the other two AFTER_BACKWARD and later */
};
struct trainer;
typedef void watcher(void *context, struct trainer *t, const struct sight *s);

/* Bytes of all that is large, before it is allocated. */
struct memory {
    double policy, models, activations, sampler, batch, scratch;
};

struct trainer {
    struct session s;
    struct memory memory;
    struct model model[MAX_MODELS];    /* those of [models], in the recipe's order */
    int model_ready[MAX_MODELS];       /* "init" models are copied when the first rollout phase begins */
    struct model snapshot[MAX_PHASES]; /* the policy at the end of phases that others branch from */
    struct model aside;                /* the main line while a branch is trained */
    struct sampler sampler;
    struct batch batch;
    struct worker *worker; /* [workers] */
    int workers;
    size_t scratch;               /* of an operation of the tapes, with all threads */
    int micro_groups, micro_rows; /* limits of a micro-batch; results do not depend on them */
    int *cut, *passed;            /* [max groups + 1] where the micro-batches of a step begin and end; their turns */
    struct item *item;            /* [max groups] */
    struct request *request;
    struct response *response;
    int32_t *response_ids, *response_support, *response_supports;
    double *response_logp;
    double *logp_old; /* the batch's, where the sampler's numbers are not the trainer's (device.inexact); else NULL */
    int *token_end;   /* bytes of text after each token of a response */
    struct step *step_span;
    int32_t *encode_ids;
    int encode_cap;
    struct text text; /* decoded responses of the batch */
    int *text_at;     /* where each begins */
    struct metrics metrics;
    uint64_t cursor; /* prompts taken from the training split so far */
    long step;       /* steps of all phases so far */
    int phase;       /* where the run is: this phase of the recipe, so many of its steps done */
    long phase_step;
    double phase_seconds; /* spent on those, evaluations and saving apart */
    double done_seconds;  /* likewise, on the phases before */
    struct rundir dir;
    struct milestone milestone[2 * MAX_PHASES];
    int milestones;
    const char *diagnosis;      /* why the last rollout phase learned nothing; NULL: it may have */
    double started;             /* of the run, less the time it lay still */
    double opened;              /* of this process */
    double saved_at, save_cost; /* clock after the last checkpoint, seconds it took */
    watcher *watch;             /* NULL in training */
    void *watch_context;
};

int trainer_open(struct trainer *t, const char *recipe, const char *const *overrides, int count, struct error *e);
/* Its second half, for a session that is open: everything else that the run needs, allocated once. */
int trainer_reserve(struct trainer *t, struct error *e);
void trainer_close(struct trainer *t);
/* 0: nobody opened a run directory for it; then it neither evaluates nor writes, which changes no number of training.
 */
int trainer_records(const struct trainer *t);
void trainer_look(struct trainer *t, const struct sight *s);
/* Place of the model that the phase is named to train: 0 the policy, then [models]. */
int trainer_trained(const struct trainer *t, const struct phase *ph);
/* The phase that this one branches from; -1: none, -2: it names no earlier phase. */
int trainer_branch(const struct recipe *r, int phase);

/* The tape for further model i; training: one that keeps what the backward pass needs. */
struct tape *worker_tape(struct worker *w, int i, int training);

/* The channel model[@view].head of the batch, e.g. ("policy", "logp"), ("policy@noprompt", "logp"); NULL: no stage
 * asked for it. */
struct channel *trainer_channel(const struct trainer *t, const char *model, const char *head);
/* Values of the channel, NULL when there is none. */
double *trainer_values(const struct trainer *t, const char *model, const char *head);

#endif
