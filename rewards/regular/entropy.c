/* A bonus for undecided next-token distributions. The entropy itself comes from the model's head, as does its
 * derivative with respect to the logits; here it is only weighed.
 */
#include "../stage.h"

enum { P_COEF, P_AGG };

static const struct param params[] = {
    {"coef", PARAM_NUMBER, "0.01", -1e6, 1e6, NULL, "Factor of the bonus; 0 only reports the entropy.", NULL},
    {"agg", PARAM_CHOICE, "token_mean", 0, 0, aggregation_choices, "How tokens are averaged; as in the loss.",
     "coef!=0"},
    {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    struct channel *entropy = &b->channel[c->channel[0]];
    for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++) {
        int n = trained_tokens(b, i);
        if (!b->kept[i] || n == 0)
            continue;
        double w = c->p[P_COEF].num * b->weight[i] * aggregation_weight((int)c->p[P_AGG].num, n, c->den);
        double loss = 0, sum = 0;
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            if (b->trained[t]) {
                loss -= w * entropy->value[t];
                sum += entropy->value[t];
                entropy->grad[t] -= w;
            }
        *c->loss += loss;
        metric_add(c->metrics, "entropy", sum, n);
    }
    return 0;
}

const struct stage regular_entropy = {
    .name = "entropy",
    .kind = STAGE_REGULAR,
    .sentence = "A bonus for the entropy of the policy's next-token distributions, reported as `entropy`.",
    .citation = "Williams and Peng: Function Optimization Using Connectionist Reinforcement Learning, 1991",
    .formula = "L -= coef * agg(H), H = entropy of the distribution a token was drawn from",
    .params = params,
    .reads = FIELD_KEPT,
    .channels = {"policy.entropy"},
    .gradients = 1,
    .couples = COUPLES_TOKEN,
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "it rewards indecision whatever the rewards",
    .run = run,
};
