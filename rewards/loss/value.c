/* The critic's regression on the returns of a credit stage (`gae`), beside a loss of the policy. With eps_v a
 * prediction that has left its old value by more than that is held there, and the larger of the two errors counts: the
 * critic's counterpart of the clipped surrogate.
 */
#include "../stage.h"
#include <math.h>

enum { P_COEF, P_EPS_V, P_AGG };
enum { VALUE };

static const struct param params[] = {
    {"coef", PARAM_NUMBER, "0.1", 0, 1e6, NULL, "Factor of the term.", NULL},
    {"eps_v", PARAM_NUMBER, "off", 0, INFINITY, NULL,
     "How far a prediction may leave its old value before it is held there; off: anywhere.", NULL},
    AGGREGATION_ROWS(NULL), /* as in the loss */
    {0}};

/* Twice the loss of one prediction, and half the derivative of that. */
static double squared_error(double value, double target, double old, double eps, double *slope)
{
    double held = fmin(fmax(value, old - eps), old + eps), error = value - target, held_error = held - target;
    int outside = held_error * held_error > error * error;
    *slope = outside ? 0 : error;
    return outside ? held_error * held_error : error * error;
}

static void sample_loss(struct stage_call *c, int i, const double *old)
{
    struct batch *b = c->b;
    struct channel *value = &b->channel[c->channel[VALUE]];
    int n = trained_tokens(b, i);
    if (!b->kept[i] || n == 0)
        return;
    double w = b->weight[i] * aggregation_by(c->p + P_AGG, n, c->den), coef = c->p[P_COEF].num, sum = 0;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
        if (!b->trained[t])
            continue;
        double slope, v = value->value[t];
        sum += w / 2 * squared_error(v, b->returns[t], old ? old[t] : v, c->p[P_EPS_V].num, &slope);
        value->grad[t] += coef * w * slope;
    }
    *c->loss += coef * sum;
    metric_add(c->metrics, "value.loss", sum, (double)n / c->den->tokens); /* the shares of a step add up to 1 */
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    const double *old = batch_given(c->b, "old_value", LEVEL_TOKEN);
    for (int i = c->b->group_first[c->g0]; i < c->b->group_first[c->g1]; i++)
        sample_loss(c, i, old);
    return 0;
}

const struct stage loss_value = {
    .name = "value",
    .kind = STAGE_LOSS,
    .sentence = "The critic's squared error against the returns, optionally with clipped predictions.",
    .citation = "Proximal Policy Optimization, 2017, eq. 9; clipping: its authors' program, Huang et al.: The 37 "
                "Implementation Details of PPO, 2022, detail 9",
    .formula = "L += coef / 2 * agg( max((V - R)^2, (clip(V, V_old - eps_v, V_old + eps_v) - R)^2) )",
    .params = params,
    .reads = FIELD_RETURNS | FIELD_KEPT,
    .channels = {"critic.value"},
    .gradients = 1,
    .couples = COUPLES_TOKEN,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
