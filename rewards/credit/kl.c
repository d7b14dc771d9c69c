/* KL to the reference in the reward, token by token: each token pays for how much likelier it was under the policy that
 * drew it than under the reference. It stands after a stage that places rewards on tokens (`last`, the shape `dense`)
 * and before one that adds up what follows (`return`, `gae`). The reward of the response stays as it is.
 * Not here: the same as one sum for the response (shape/kl).
 */
#include "../stage.h"

enum { P_COEF, P_ESTIMATOR };
enum { REF };

static const struct param params[] = {
    {"coef", PARAM_NUMBER, "0.01", 0, 1e6, NULL, "Price of one nat; 0 only reports the distance.", NULL},
    {"estimator", PARAM_CHOICE, "k1", 0, 0, "k1|k2|k3", "Which estimate of the divergence a token pays for.", NULL},
    {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    const double *ref = b->channel[c->channel[REF]].value;
    int kind = (int)c->p[P_ESTIMATOR].num;
    for (int i = 0; i < b->samples; i++) {
        double sum = 0;
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
            if (!b->kept[i] || !b->trained[t])
                continue;
            double slope, k = kl_estimate(kind, b->logp_old[t] - ref[t], &slope);
            sum += k;
            b->token_reward[t] -= c->p[P_COEF].num * k;
        }
        if (b->kept[i])
            metric_add(c->metrics, "kl", sum, trained_tokens(b, i));
    }
    return 0;
}

const struct stage credit_kl = {
    .name = "kl",
    .kind = STAGE_CREDIT,
    .sentence = "The log-ratio of a token to the reference model lowers the reward on that token.",
    .citation = "Ouyang et al.: Training language models to follow instructions with human feedback, 2022, section 3.5",
    .formula =
        "token_reward_it -= coef * k(d), d = logp_old_it - ref.logp_it: k1 = d, k2 = d^2 / 2, k3 = exp(-d) + d - 1",
    .params = params,
    .reads = FIELD_TOKEN_REWARD | FIELD_LOGP_OLD,
    .writes = FIELD_TOKEN_REWARD,
    .channels = {"ref.logp"},
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "tokens pay by their likelihood whatever the rewards",
    .run = run,
};
