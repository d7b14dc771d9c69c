/* The regression of two critics at once: their soft minimum at a response's last token against the reward, with a Huber
 * loss of the prediction and of the same held near its old value (which the advantage `pessimist` keeps), half each.
 */
#include "../stage.h"
#include "safe.h"
#include <math.h>

enum { P_COEF, P_ALPHA, P_EPS_V, P_HUBER };
enum { FIRST, SECOND };

static const struct param params[] = {
    {"coef", PARAM_NUMBER, "0.5", 0, 1e6, NULL, "Factor of the term.", NULL},
    {"alpha", PARAM_NUMBER, "0.3", 1e-6, 1e6, NULL, "Softness of the minimum.", NULL},
    {"eps_v", PARAM_NUMBER, "0.2", 0, INFINITY, NULL, "How far from its old value a prediction counts in one half.",
     NULL},
    {"huber", PARAM_NUMBER, "0.5", 1e-6, INFINITY, NULL, "Error from which the loss grows linearly.", NULL},
    {0}};

static double huber(double x, double d, double *slope)
{
    int inside = fabs(x) <= d;
    *slope = inside ? x : copysign(d, x);
    return inside ? x * x / 2 : d * (fabs(x) - d / 2);
}

static void sample_loss(struct stage_call *c, int i, const double *old, double *value)
{
    struct batch *b = c->b;
    struct channel *v1 = &b->channel[c->channel[FIRST]], *v2 = &b->channel[c->channel[SECOND]];
    double alpha = c->p[P_ALPHA].num, eps = c->p[P_EPS_V].num, d = c->p[P_HUBER].num, slope, held_slope;
    int t = safe_last_token(b, i);
    value[i] = 0;
    if (!b->kept[i] || t < 0)
        return;
    double v = value[i] = safe_soft_min(v1->value[t], v2->value[t], alpha), before = old ? old[i] : v;
    double held = fmin(fmax(v, before - eps), before + eps), w = b->weight[i] / c->den->sequences;
    double loss = w / 2 * (huber(v - b->reward[i], d, &slope) + huber(held - b->reward[i], d, &held_slope));
    slope = c->p[P_COEF].num * w / 2 * (slope + (held == v ? held_slope : 0));
    double first = 1 / (1 + exp((v1->value[t] - v2->value[t]) / alpha)); /* the smaller value has the larger share */
    v1->grad[t] += slope * first;
    v2->grad[t] += slope * (1 - first);
    *c->loss += c->p[P_COEF].num * loss;
    metric_add(c->metrics, "value_min.loss", loss, 1.0 / c->den->sequences);
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    const double *old = batch_given(c->b, "old_value_min", LEVEL_SEQUENCE);
    double *value = batch_number(c->b, "value_min", LEVEL_SEQUENCE)->value;
    for (int i = c->b->group_first[c->g0]; i < c->b->group_first[c->g1]; i++)
        sample_loss(c, i, old, value);
    return 0;
}

const struct stage loss_value_min = {
    .name = "value_min",
    .kind = STAGE_LOSS,
    .sentence = "Huber loss of the soft minimum of two critics against the reward, one number a response.",
    .citation = "SAFE: Stable Alignment Finetuning with Entropy-aware Predictive Control, 2026",
    .formula =
        "L += coef mean_i 1/2 (huber(V - reward) + huber(V_old + clip(V - V_old, -eps_v, eps_v) - reward)), V as "
        "in pessimist",
    .params = params,
    .reads = FIELD_REWARD | FIELD_KEPT,
    .channels = {"critic.value", "critic2.value"},
    .gradients = 3,
    .couples = COUPLES_SEQUENCE,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
