/* Between models and the batch: which model is run over which view for which stages, and whose gradients come back.
 */
#include "channels.h"
#include <stdio.h>
#include <string.h>

static const char *const view_suffix[VIEWS] = {"", "@noprompt"}; /* of a model's name in a channel */

/* Is a channel of this model and view declared by a stage of the phase, before the loss (early) or from it on? */
static int is_wanted(const struct phase *ph, const char *model, enum view view, int early)
{
    char name[48];
    size_t n = (size_t)snprintf(name, sizeof name, "%s%s.", model, view_suffix[view]);
    for (int i = 0; i < ph->stages; i++)
        for (int c = 0; c < 6 && ph->stage[i].stage->channels[c]; c++)
            if ((ph->stage[i].stage->kind < STAGE_LOSS) == early &&
                strncmp(ph->stage[i].stage->channels[c], name, n) == 0)
                return 1;
    return 0;
}

/* Forward one model over the micro-batch; what its heads say of every trained token goes to the channels. */
static void forward_channels(struct trainer *t, const struct model *m, const char *model, enum view view,
                             struct tape *tape)
{
    struct micro *u = &t->micro;
    char name[40];
    snprintf(name, sizeof name, "%s%s", model, view_suffix[view]);
    double *logp = trainer_values(t, name, "logp"), *entropy = trainer_values(t, name, "entropy");
    double *value = trainer_values(t, name, "value");
    model_forward(m, tape, &t->layout.rows, tape->kv, 0, tape->store);
    if (logp || entropy)
        model_head(m, tape, &t->layout, u->logp, u->entropy);
    for (int j = 0; j < u->entries; j++) {
        if (logp)
            logp[u->entry_token[j]] = u->logp[j];
        if (entropy)
            entropy[u->entry_token[j]] = u->entropy[j];
    }
    if (value)
        model_value(m, tape, &t->layout, u->logp);
    for (int j = 0; j < u->entries && value; j++)
        value[u->entry_token[j]] = u->logp[j];
}

void channels_early(struct trainer *t, const struct phase *ph)
{
    const struct recipe *r = &t->s.recipe;
    for (int view = 0; view < VIEWS; view++) {
        int wanted[MAX_MODELS], any = 0, policy;
        for (int i = 0; i < r->model_count; i++)
            any |= wanted[i] =
                is_wanted(ph, r->models[i].name, view, 1) || (view && is_wanted(ph, r->models[i].name, view, 0));
        any |= policy = is_wanted(ph, "policy", view, 1) || (view && is_wanted(ph, "policy", view, 0));
        for (int lo = 0, hi; any && lo < t->batch.groups; lo = hi) {
            hi = micro_end(t, lo, t->batch.groups);
            micro_fill(t, lo, hi, view);
            for (int i = 0; i < r->model_count; i++)
                if (wanted[i])
                    forward_channels(t, &t->model[i], r->models[i].name, view, &t->frozen_tape);
            if (policy)
                forward_channels(t, &t->s.policy, "policy", view, &t->tape);
        }
    }
}

void channels_forward(struct trainer *t, const struct phase *ph)
{
    const struct recipe *r = &t->s.recipe;
    for (int i = 0; i < r->model_count; i++)
        if (is_wanted(ph, r->models[i].name, VIEW_WHOLE, 0))
            forward_channels(t, &t->model[i], r->models[i].name, VIEW_WHOLE, &t->frozen_tape);
    forward_channels(t, &t->s.policy, "policy", VIEW_WHOLE, &t->tape);
}

/* Gradients of the policy from those of its log-probabilities and entropies. */
static void backward_policy(struct trainer *t)
{
    struct micro *u = &t->micro;
    const double *glogp = trainer_channel(t, "policy", "logp")->grad;
    const double *gentropy = trainer_channel(t, "policy", "entropy")->grad;
    for (int j = 0; j < u->entries; j++) {
        u->glogp[j] = glogp[u->entry_token[j]];
        u->gentropy[j] = gentropy[u->entry_token[j]];
    }
    model_backward(&t->s.policy, &t->tape, &t->layout, u->glogp, u->gentropy);
}

/* Likewise of a model with a value head. Its forward pass is done once more, on the tape that keeps everything. */
static void backward_value(struct trainer *t, struct model *m, const char *name)
{
    struct micro *u = &t->micro;
    const double *grad = trainer_channel(t, name, "value")->grad;
    for (int j = 0; j < u->entries; j++)
        u->glogp[j] = grad[u->entry_token[j]];
    model_forward(m, &t->tape, &t->layout.rows, t->tape.kv, 0, t->tape.store);
    model_value(m, &t->tape, &t->layout, u->logp);
    model_value_backward(m, &t->tape, &t->layout, u->glogp);
}

void channels_backward(struct trainer *t, const struct phase *ph)
{
    const struct recipe *r = &t->s.recipe;
    if (strcmp(ph->train, "policy") == 0)
        backward_policy(t);
    for (int i = 0; i < r->model_count; i++)
        if (phase_trains(ph, r->models[i].name))
            backward_value(t, &t->model[i], r->models[i].name);
}
