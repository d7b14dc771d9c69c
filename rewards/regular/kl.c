/* Distance to the reference as a term of the loss. The estimators agree in expectation as values, not as gradients: k1
 * gives noise around zero, k2 the gradient of KL(policy || ref), k3 that of KL(ref || policy), and k3plus has the value
 * of k3 with the gradient of k2. `reversed` is k3 with the sign of d changed, which estimates KL(ref || policy) for
 * samples of the reference; for those of the policy it is chi^2(policy || ref) - KL(policy || ref), and grows
 * exponentially where the policy has moved up. Some programs have it.
 * Not here: KL in the reward (shape/kl, credit/kl), which is another algorithm.
 */
#include "../stage.h"

enum { P_COEF, P_ESTIMATOR, P_AGG };
enum { LOGP, REF };

static const struct param params[] = {
    {"coef", PARAM_NUMBER, "0.04", 0, 1e6, NULL, "Factor of the term; 0 only reports the distance.", NULL},
    {"estimator", PARAM_CHOICE, "k3", 0, 0, kl_choices, "Which estimate of the divergence.", NULL},
    AGGREGATION_ROWS(NULL), /* as in the loss */
    {0}};

static void sample_kl(struct stage_call *c, int i)
{
    struct batch *b = c->b;
    struct channel *logp = &b->channel[c->channel[LOGP]];
    const double *ref = b->channel[c->channel[REF]].value;
    int n = trained_tokens(b, i), kind = (int)c->p[P_ESTIMATOR].num;
    if (!b->kept[i] || n == 0)
        return;
    double w = c->p[P_COEF].num * b->weight[i] * aggregation_by(c->p + P_AGG, n, c->den);
    double loss = 0, sum = 0;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
        if (!b->trained[t])
            continue;
        double grad, k = kl_estimate(kind, logp->value[t] - ref[t], &grad);
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
    .formula = "L += coef * agg(k), d = logp - ref.logp: k1 = d, k2 = d^2 / 2, k3 = exp(-d) + d - 1; "
               "k3plus: the value of k3, the gradient of k2; reversed = exp(d) - d - 1",
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
