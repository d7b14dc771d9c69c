/* KL to the reference in the reward: each response pays for how much likelier its tokens were under the policy that
 * drew them than under the reference. As part of the reward it is a constant of the update, and its gradient through
 * the score function is that of KL(policy || ref), which the same sum as a term of the loss (regular/kl, k1) does not
 * have. Not here: a price per token for credit stages that add up what follows (credit/kl).
 */
#include "../stage.h"

enum { P_COEF };
enum { REF };

static const struct param params[] = {
    {"coef", PARAM_NUMBER, "0.05", 0, 1e6, NULL, "Price of one nat; 0 only reports the distance.", NULL}, {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    const double *ref = b->channel[c->channel[REF]].value;
    for (int i = 0; i < b->samples; i++) {
        double sum = 0;
        for (int t = b->sample_first[i]; b->kept[i] && t < b->sample_first[i + 1]; t++)
            sum += b->trained[t] ? b->logp_old[t] - ref[t] : 0;
        if (!b->kept[i])
            continue;
        b->reward[i] -= c->p[P_COEF].num * sum;
        metric_add(c->metrics, "kl", sum, trained_tokens(b, i));
    }
    return 0;
}

const struct stage shape_kl = {
    .name = "kl",
    .kind = STAGE_SHAPE,
    .sentence = "The log-ratio of a response to the reference model, summed over its tokens, lowers its reward.",
    .citation = "Ziegler et al.: Fine-Tuning Language Models from Human Preferences, 2019, eq. 2; Back to Basics "
                "(RLOO), 2024",
    .formula = "reward_i -= coef * sum_t (logp_old_it - ref.logp_it)",
    .params = params,
    .reads = FIELD_REWARD | FIELD_LOGP_OLD,
    .writes = FIELD_REWARD,
    .channels = {"ref.logp"},
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "responses of one reward pay by their likelihood",
    .run = run,
};
