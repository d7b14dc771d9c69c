/* Distance to the reference as a term of the loss. The three estimators agree in expectation as values, not as
 * gradients: k1 gives noise around zero, k2 the gradient of KL(policy || ref), k3 that of KL(ref || policy).
 * Not here: KL in the reward, which is another algorithm.
 */
#include "../stage.h"
#include <math.h>

enum { P_COEF, P_ESTIMATOR, P_AGG };
enum { K1, K2, K3 };
enum { LOGP, REF };

static const struct param params[] = {
    {"coef", PARAM_NUMBER, "0.04", 0, 1e6, NULL, "Factor of the term; 0 only reports the distance.", NULL},
    {"estimator", PARAM_CHOICE, "k3", 0, 0, "k1|k2|k3", "Which estimate of the divergence.", NULL},
    {"agg", PARAM_CHOICE, "token_mean", 0, 0, aggregation_choices, "How tokens are averaged; as in the loss.",
     "coef!=0"},
    {0}};

/* k3 of a token that the policy has all but given up is held at d = -20, where the derivative is 0. */
static const double log_ratio_limit = 20;

/* Value and derivative for d = logp - ref. */
static double estimate(int kind, double d, double *grad)
{
    if (kind == K1) {
        *grad = 1;
        return d;
    }
    if (kind == K2) {
        *grad = d;
        return d * d / 2;
    }
    int inside = d >= -log_ratio_limit;
    d = inside ? d : -log_ratio_limit;
    *grad = inside ? -expm1(-d) : 0;
    return expm1(-d) + d;
}

static void sample_kl(struct stage_call *c, int i)
{
    struct batch *b = c->b;
    struct channel *logp = &b->channel[c->channel[LOGP]];
    const double *ref = b->channel[c->channel[REF]].value;
    int n = trained_tokens(b, i), kind = (int)c->p[P_ESTIMATOR].num;
    if (!b->kept[i] || n == 0)
        return;
    double w = c->p[P_COEF].num * b->weight[i] * aggregation_weight((int)c->p[P_AGG].num, n, c->den);
    double loss = 0, sum = 0;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
        if (!b->trained[t])
            continue;
        double grad, k = estimate(kind, logp->value[t] - ref[t], &grad);
        loss += w * k;
        sum += k;
        logp->grad[t] += w * grad;
    }
    *c->loss += loss;
    metric_add(c->metrics, "kl", sum, n);
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    for (int i = c->b->group_first[c->g0]; i < c->b->group_first[c->g1]; i++)
        sample_kl(c, i);
    return 0;
}

const struct stage regular_kl = {
    .name = "kl",
    .kind = STAGE_REGULAR,
    .sentence = "An estimate of the KL divergence from the reference model, added to the loss and reported as `kl`.",
    .citation = "Schulman: Approximating KL Divergence, 2020; k3 in the loss: DeepSeekMath, 2024, eq. 4",
    .formula = "L += coef * agg(k), d = logp - ref.logp: k1 = d, k2 = d^2 / 2, k3 = exp(-d) + d - 1",
    .params = params,
    .reads = FIELD_KEPT,
    .channels = {"policy.logp", "ref.logp"},
    .gradients = 1,
    .couples = COUPLES_TOKEN,
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "it pulls to the reference whatever the rewards",
    .run = run,
};
