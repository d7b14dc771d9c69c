/* Between models and the batch: which model is run over which view for which stages, and whose gradients come back.
 */
#include "channels.h"
#include <stdio.h>
#include <string.h>

static const char *const view_suffix[VIEWS] = {"", "@noprompt", ""}; /* of a model's name in a channel */

static enum view view_of(const char *channel)
{
    return strchr(channel, '@') ? VIEW_NOPROMPT : channel_is_behind(channel) ? VIEW_BEHIND : VIEW_WHOLE;
}

/* Is a channel of this model and view declared by a stage of the phase, before the loss (early) or from it on? */
static int is_wanted(const struct phase *ph, const char *model, enum view view, int early)
{
    for (int i = 0; i < ph->stages; i++)
        for (int c = 0; c < 6; c++) {
            const char *name = ph->stage[i].channel_name[c];
            if ((ph->stage[i].stage->kind < STAGE_LOSS) == early && channel_of(name, model) && view_of(name) == view)
                return 1;
        }
    return 0;
}

enum view channels_view(const struct phase *ph)
{
    return phase_reads_behind(ph) ? VIEW_BEHIND : VIEW_WHOLE;
}

/* Forward one model over the micro-batch; what its heads say of every trained token goes to the channels. */
static void forward_channels(struct trainer *t, struct worker *w, const struct model *of, const char *model,
                             enum view view, struct tape *tape)
{
    const struct model m = model_on(of, w->dev);
    struct micro *u = &w->micro;
    char name[40];
    snprintf(name, sizeof name, "%s%s", model, view_suffix[view]);
    static const char *const numbers[VIEWS][3] = {{"value"}, {"value"}, {"after", "score", "step"}}; /* of its head */
    double *logp = NULL, *entropy = NULL;
    if (view != VIEW_BEHIND) {
        logp = trainer_values(t, name, "logp");
        entropy = trainer_values(t, name, "entropy");
    }
    model_forward(&m, tape, &w->layout.rows, tape->kv, 0, tape->store);
    if (logp || entropy)
        model_head(&m, tape, &w->layout, u->logp, u->entropy);
    for (int j = 0; j < u->entries; j++) {
        if (logp)
            logp[u->entry_token[j]] = u->logp[j];
        if (entropy)
            entropy[u->entry_token[j]] = u->entropy[j];
    }
    for (int k = 0; k < 3 && numbers[view][k]; k++) {
        double *value = trainer_values(t, name, numbers[view][k]);
        if (value)
            model_value(&m, tape, &w->layout, u->logp);
        for (int j = 0; j < u->entries && value; j++)
            value[u->entry_token[j]] = u->logp[j];
    }
}

static int wanted_early(const struct phase *ph, const char *model, enum view view)
{
    return is_wanted(ph, model, view, 1) || (view == VIEW_NOPROMPT && is_wanted(ph, model, view, 0));
}

/* A sampled response may be one token longer than the context, since nothing follows its last token; to be read whole
 * it may not. */
static int check_room(const struct trainer *t, struct error *e)
{
    const struct batch *b = &t->batch;
    for (int g = 0; g < b->groups; g++)
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            int prompt = b->prompt_first[g + 1] - b->prompt_first[g], n = b->sample_first[i + 1] - b->sample_first[i];
            if (prompt + n > t->s.arch.context)
                return fail(e,
                            "a prompt of %d and a response of %d tokens are more than the %d that a model can read; "
                            "lower rollout.max_new",
                            prompt, n, t->s.arch.context);
        }
    return 0;
}

/* logp_old as the trainer computes it, with the weights of the rollout. */
static void forward_old(struct trainer *t, struct worker *w, int g0, int g1, void *context)
{
    const struct model m = model_on(&t->s.policy, w->dev);
    struct micro *u = &w->micro;
    (void)context;
    micro_fill(t, w, g0, g1, VIEW_WHOLE);
    model_forward(&m, &w->tape, &w->layout.rows, w->tape.kv, 0, w->tape.store);
    model_head(&m, &w->tape, &w->layout, u->logp, NULL);
    for (int j = 0; j < u->entries; j++)
        t->batch.logp_old[u->entry_token[j]] = u->logp[j];
}

/* What stages before the loss read in one view. */
struct early {
    enum view view;
    int model[MAX_MODELS], policy; /* wanted */
};

static void forward_early(struct trainer *t, struct worker *w, int g0, int g1, void *context)
{
    const struct early *wanted = context;
    const struct recipe *r = &t->s.recipe;
    micro_fill(t, w, g0, g1, wanted->view);
    for (int i = 0; i < r->model_count; i++)
        if (wanted->model[i])
            forward_channels(t, w, &t->model[i], r->models[i].name, wanted->view, worker_tape(w, i, 0));
    if (wanted->policy)
        forward_channels(t, w, &t->s.policy, "policy", wanted->view, &w->tape);
}

int channels_early(struct trainer *t, const struct phase *ph, struct error *e)
{
    const struct recipe *r = &t->s.recipe;
    if (t->logp_old && ph->source == SOURCE_ROLLOUT)
        micro_each(t, 0, t->batch.groups, forward_old, NULL);
    for (int view = 0; view < VIEWS; view++) {
        struct early wanted = {.view = view, .policy = wanted_early(ph, "policy", view)};
        int any = wanted.policy;
        for (int i = 0; i < r->model_count; i++)
            any |= wanted.model[i] = wanted_early(ph, r->models[i].name, view);
        if (view == VIEW_BEHIND && (any || phase_reads_behind(ph)) && check_room(t, e))
            return -1;
        if (any)
            micro_each(t, 0, t->batch.groups, forward_early, &wanted);
    }
    return 0;
}

void channels_forward(struct trainer *t, struct worker *w, const struct phase *ph)
{
    const struct recipe *r = &t->s.recipe;
    enum view view = channels_view(ph);
    for (int i = 0; i < r->model_count; i++)
        if (is_wanted(ph, r->models[i].name, view, 0))
            forward_channels(t, w, &t->model[i], r->models[i].name, view, worker_tape(w, i, 0));
    if (view == VIEW_WHOLE)
        forward_channels(t, w, &t->s.policy, "policy", view, &w->tape);
}

/* Gradients of the policy from those of its log-probabilities and entropies. */
static void backward_policy(struct trainer *t, struct worker *w)
{
    struct model m = model_on(&t->s.policy, w->dev);
    struct micro *u = &w->micro;
    const double *glogp = trainer_channel(t, "policy", "logp")->grad;
    const double *gentropy = trainer_channel(t, "policy", "entropy")->grad;
    for (int j = 0; j < u->entries; j++) {
        u->glogp[j] = glogp[u->entry_token[j]];
        u->gentropy[j] = gentropy[u->entry_token[j]];
    }
    model_backward(&m, &w->tape, &w->layout, u->glogp, u->gentropy);
}

/* Likewise of further model i, with a value head, from the channel that the phase trains. Its forward pass is done once
 * more, on the tape that keeps everything. */
static void backward_value(struct trainer *t, struct worker *w, const struct phase *ph, int i)
{
    static const char *const heads[] = {"value", "score", "step"};
    const char *name = t->s.recipe.models[i].name, *head = heads[0];
    struct model m = model_on(&t->model[i], w->dev);
    struct micro *u = &w->micro;
    struct tape *tape = worker_tape(w, i, 1);
    if (phase_reads_behind(ph))
        head = heads[t->s.recipe.models[i].head == HEAD_STEP ? 2 : 1];
    const double *grad = trainer_channel(t, name, head)->grad;
    for (int j = 0; j < u->entries; j++)
        u->glogp[j] = grad[u->entry_token[j]];
    model_forward(&m, tape, &w->layout.rows, tape->kv, 0, tape->store);
    model_value(&m, tape, &w->layout, u->logp);
    model_value_backward(&m, tape, &w->layout, u->glogp);
}

void channels_backward(struct trainer *t, struct worker *w, const struct phase *ph)
{
    const struct recipe *r = &t->s.recipe;
    if (phase_trains_policy(ph))
        backward_policy(t, w);
    for (int i = 0; i < r->model_count; i++)
        if (phase_trains(ph, r->models[i].name))
            backward_value(t, w, ph, i);
}
