/* Clipped importance weights: the ratio to the old policy is a bounded weight without a gradient of its own, so no
 * token loses its gradient however far it has moved. With both bounds at 1 this is REINFORCE. Only the gradient means
 * something; the value is no surrogate of the objective.
 */
#include "../stage.h"
#include <math.h>

enum { P_LOW, P_HIGH, P_AGG };
enum { LOGP };

static const struct param params[] = {
    {"low", PARAM_NUMBER, "off", 0, 1e6, NULL, "Lower bound of the ratio itself; off: none.", NULL},
    {"high", PARAM_NUMBER, "5", 0, INFINITY, NULL, "Upper bound of the ratio itself (not its distance from 1).", NULL},
    AGGREGATION_ROWS(NULL),
    {0}};

static void sample_loss(struct stage_call *c, int i)
{
    struct batch *b = c->b;
    struct channel *logp = &b->channel[c->channel[LOGP]];
    double low = c->p[P_LOW].num, high = c->p[P_HIGH].num;
    int n = trained_tokens(b, i), clipped = 0;
    if (!b->kept[i] || n == 0)
        return;
    double w = b->weight[i] * aggregation_by(c->p + P_AGG, n, c->den), sum = 0;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
        if (!b->trained[t])
            continue;
        double ratio = held_ratio(logp->value[t] - b->logp_old[t]);
        double push = w * (ratio < low ? low : ratio > high ? high : ratio) * b->advantage[t];
        sum -= push * logp->value[t];
        logp->grad[t] -= push;
        clipped += ratio < low || ratio > high;
    }
    *c->loss += sum;
    metric_add(c->metrics, "clip_share", clipped, n);
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    for (int i = c->b->group_first[c->g0]; i < c->b->group_first[c->g1]; i++)
        sample_loss(c, i);
    return 0;
}

const struct stage loss_cispo = {
    .name = "cispo",
    .kind = STAGE_LOSS,
    .sentence = "Policy gradient weighted by the clipped ratio to the old policy; every token keeps its gradient.",
    .citation = "MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning Attention, 2025, eq. 4 and 5",
    .formula = "L = agg( -stop_gradient(clip(rho, low, high)) * A * logp ), rho = exp(logp - logp_old)",
    .params = params,
    .reads = FIELD_ADVANTAGE | FIELD_LOGP_OLD | FIELD_KEPT,
    .channels = {"policy.logp"},
    .gradients = 1,
    .couples = COUPLES_TOKEN,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
