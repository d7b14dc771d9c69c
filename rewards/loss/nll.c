/* Negative log-likelihood of the tokens: supervised learning on whatever the phase's source supplies. It looks at no
 * reward; to learn from chosen samples only, let a select stage choose them.
 */
#include "../stage.h"

enum { P_AGG };

static const struct param params[] = {
    {"agg", PARAM_CHOICE, "token_mean", 0, 0, aggregation_choices, "How tokens are averaged.", NULL}, {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    struct channel *logp = &b->channel[c->channel[0]];
    for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++) {
        int n = trained_tokens(b, i);
        if (!b->kept[i] || n == 0)
            continue;
        double w = b->weight[i] * aggregation_weight((int)c->p[P_AGG].num, n, c->den), sum = 0;
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            if (b->trained[t]) {
                sum -= w * logp->value[t];
                logp->grad[t] -= w;
            }
        *c->loss += sum;
    }
    return 0;
}

const struct stage loss_nll = {
    .name = "nll",
    .kind = STAGE_LOSS,
    .sentence = "Minus the log-probability of the tokens.",
    .citation = "",
    .formula = "L = agg( -logp )",
    .params = params,
    .reads = FIELD_KEPT,
    .channels = {"policy.logp"},
    .gradients = 1,
    .couples = COUPLES_TOKEN,
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "it imitates the tokens whatever their reward",
    .run = run,
};
