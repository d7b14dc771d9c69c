/* A detector of wrong steps learns from labels: binary cross-entropy of the number that it says behind the last token
 * of each step. The labels are the component `process`, 1 for right and 0 for wrong, in between for a probability; who
 * wrote them (the task's oracle, a noisy one) is the score stage's affair. Of a step's tokens the last one that the
 * model wrote counts; a step without one has no label.
 *
 * Two logits (good, bad) with a softmax are the same loss, with their difference as the number. The mean is over all
 * labelled steps of the optimiser step, whose number only the whole step knows: it couples the batch.
 */
#include "../../model/base/error.h"
#include "../../model/base/mem.h"
#include "../stage.h"

enum { P_MODEL, P_BALANCED };
enum { STEP };

static const struct param params[] = {
    {"model", PARAM_TEXT, "prm", 0, 0, NULL, "The model of [models] that learns, with head=step.", NULL},
    {"balanced", PARAM_BOOL, "false", 0, 0, NULL,
     "Right and wrong steps count half each, however few there are of one kind.", NULL},
    {0}};

/* The labelled steps of the optimiser step. */
struct labelled {
    int n, right;
    int *token, *sample;
    double *label, *said;
    unsigned char *is_right;
};

static int collect(struct stage_call *c, const double *process, struct labelled *s, struct error *e)
{
    const struct batch *b = c->b;
    const double *said = b->channel[c->channel[STEP]].value;
    for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++)
        for (int k = b->step_first[i], from = 0; b->kept[i] && k < b->step_first[i + 1]; from = b->step_end[k++]) {
            int t = last_trained(b, b->sample_first[i] + from, b->sample_first[i] + b->step_end[k]);
            if (!(process[k] >= 0 && process[k] <= 1))
                return fail(e,
                            "steps: the label of step %d of sample %d is %g, not between 0 and 1; leave process at "
                            "accepted = 1, rejected = 0",
                            k - b->step_first[i], i, process[k]);
            if (t < 0)
                continue;
            s->token[s->n] = t;
            s->sample[s->n] = i;
            s->label[s->n] = process[k];
            s->said[s->n] = said[t];
            s->right += s->is_right[s->n] = process[k] > 0.5;
            s->n++;
        }
    return 0;
}

static void learn(struct stage_call *c, const struct labelled *s)
{
    double *grad = c->b->channel[c->channel[STEP]].grad, agrees = 0, loss = 0;
    int wrong = s->n - s->right, halves = c->p[P_BALANCED].num != 0 && s->right > 0 && wrong > 0;
    for (int k = 0; k < s->n; k++) {
        double z = s->said[k], y = s->label[k], share = 1.0 / s->n;
        if (halves)
            share = 0.5 / (s->is_right[k] ? s->right : wrong);
        share *= c->b->weight[s->sample[k]];
        loss -= share * (y * log_logistic(z) + (1 - y) * log_logistic(-z));
        grad[s->token[k]] += share * (logistic(z) - y);
        agrees += (z > 0) == s->is_right[k];
    }
    *c->loss += loss;
    metric_add(c->metrics, "steps.accuracy", agrees, s->n);
    metric_add(c->metrics, "steps.right", s->right, s->n);
    double auc = stat_auc(s->said, s->is_right, s->n);
    metric_add(c->metrics, "steps.auc", auc, auc >= 0);
}

static int run(struct stage_call *c, struct error *e)
{
    const struct batch *b = c->b;
    const double *process = batch_given(b, "process", LEVEL_STEP);
    size_t most = (size_t)b->steps;
    if (!process)
        return fail(e, "steps: nothing labels the steps; add `score = process` to the phase");
    struct labelled s = {.token = mem_alloc(most, sizeof *s.token),
                         .sample = mem_alloc(most, sizeof *s.sample),
                         .label = mem_alloc(most, sizeof *s.label),
                         .said = mem_alloc(most, sizeof *s.said),
                         .is_right = mem_alloc(most, sizeof *s.is_right)};
    int status = collect(c, process, &s, e);
    if (!status)
        learn(c, &s);
    void *all[] = {s.token, s.sample, s.label, s.said, s.is_right};
    for (int i = 0; i < 5; i++)
        mem_free(all[i]);
    return status;
}

const struct stage loss_steps = {
    .name = "steps",
    .kind = STAGE_LOSS,
    .sentence = "A detector of wrong steps learns their labels: cross-entropy of its number behind each step.",
    .citation = "Lightman et al.: Let's Verify Step by Step, 2023, with one logit for two; as in TRL's trainer of "
                "process reward models",
    .formula = "L = mean over steps of -(y_k log sigma(z_k) + (1 - y_k) log sigma(-z_k)), y = process, z = what the "
               "detector says behind the step's last token",
    .params = params,
    .components = {"process"},
    .reads = FIELD_COMPONENTS | FIELD_STEPS | FIELD_KEPT,
    .channels = {"$model.step"},
    .gradients = 1,
    .couples = COUPLES_BATCH,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
