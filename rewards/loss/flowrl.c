/* FlowRL: the policy becomes proportional to exp(beta r) times the reference instead of seeking the highest reward. The
 * loss is the squared residual of trajectory balance, by the token, with a learned log partition function of the
 * prompt: the value of the model `flow` at the row that predicts the response's first token, which all samples of a
 * group share. The reward term is the advantage of an earlier stage (`group`). Responses drawn by older weights are
 * weighted by their ratio, without a gradient. Empty responses are left out.
 *
 * With equal rewards in a group the loss still acts: it pulls the log-ratio to the reference towards -log Z.
 */
#include "../stage.h"
#include <math.h>

enum { P_BETA, P_W_MODE, P_EPS, P_CAP, P_LENGTH_NORM };
enum { CLIP, CAP, NONE };
enum { LOGP, FLOW, REF };

static const struct param params[] = {
    {"beta", PARAM_NUMBER, "15", 0, 1e6, NULL, "Inverse temperature of the reward.", NULL},
    {"w_mode", PARAM_CHOICE, "clip", 0, 0, "clip|cap|none",
     "The weight: the ratio of the whole response within 1 - eps and 1 + eps; at most `cap`; as it is.", NULL},
    {"eps", PARAM_NUMBER, "0.2", 0, 1, NULL, "How far the weight may be from 1.", "w_mode=clip"},
    {"cap", PARAM_NUMBER, "10", 0, 1e6, NULL, "Largest weight.", "w_mode=cap"},
    {"length_norm", PARAM_BOOL, "true", 0, 0, NULL, "Means over the tokens of a response instead of sums.", NULL},
    {0}};

static double weight_of(const struct value *p, double log_ratio)
{
    double w = held_ratio(log_ratio);
    if (p[P_W_MODE].num == CLIP)
        return fmin(fmax(w, 1 - p[P_EPS].num), 1 + p[P_EPS].num);
    return p[P_W_MODE].num == CAP ? fmin(w, p[P_CAP].num) : w;
}

static void sample_loss(struct stage_call *c, int i, double *delta, double *weight)
{
    struct batch *b = c->b;
    struct channel *logp = &b->channel[c->channel[LOGP]], *flow = &b->channel[c->channel[FLOW]];
    const double *ref = b->channel[c->channel[REF]].value;
    int n = trained_tokens(b, i), first = -1;
    delta[i] = weight[i] = 0;
    if (!b->kept[i] || n == 0)
        return;
    double distance = 0, log_ratio = 0, share = c->p[P_LENGTH_NORM].num != 0 ? 1.0 / n : 1;
    for (int t = b->sample_first[i + 1] - 1; t >= b->sample_first[i]; t--)
        if (b->trained[t]) {
            distance += logp->value[t] - ref[t];
            log_ratio += logp->value[t] - b->logp_old[t];
            first = t;
        }
    delta[i] = flow->value[first] + share * distance - c->p[P_BETA].num * b->advantage[first];
    weight[i] = weight_of(c->p, log_ratio);
    double w = b->weight[i] * weight[i] / c->den->sequences;
    for (int t = first; t < b->sample_first[i + 1]; t++)
        if (b->trained[t])
            logp->grad[t] += 2 * w * delta[i] * share;
    flow->grad[first] += 2 * w * delta[i];
    *c->loss += w * delta[i] * delta[i];
    metric_add(c->metrics, "flowrl.residual", fabs(delta[i]), 1);
    metric_add(c->metrics, "flowrl.log_z", flow->value[first], 1);
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    double *delta = batch_number(c->b, "delta", LEVEL_SEQUENCE)->value;
    double *weight = batch_number(c->b, "flow_weight", LEVEL_SEQUENCE)->value;
    for (int i = c->b->group_first[c->g0]; i < c->b->group_first[c->g1]; i++)
        sample_loss(c, i, delta, weight);
    return 0;
}

const struct stage loss_flowrl = {
    .name = "flowrl",
    .kind = STAGE_LOSS,
    .sentence =
        "Squared residual of trajectory balance against the reference, weighted by the ratio to the old policy.",
    .citation =
        "FlowRL: Matching Reward Distributions for LLM Reasoning, 2025, eq. 6; w_mode = cap: verl-recipe; none: "
        "the authors' program, whose clip has no effect",
    .formula = "L = mean_i w_i delta_i^2, delta_i = log Z + mean_t logp - beta A_i - mean_t ref.logp, w_i = "
               "stop_gradient(clip(prod_t rho_it, 1 - eps, 1 + eps))",
    .params = params,
    .reads = FIELD_ADVANTAGE | FIELD_LOGP_OLD | FIELD_KEPT,
    .channels = {"policy.logp", "flow.value", "ref.logp"},
    .gradients = 3,
    .couples = COUPLES_SEQUENCE,
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "it pulls to the reference whatever the rewards",
    .run = run,
};
