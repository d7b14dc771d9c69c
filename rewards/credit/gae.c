/* Generalised advantage estimation: what a token earned beyond what the critic expected before it, with later surprises
 * counted less the farther they are. The rewards of the tokens have to be placed first (`last`, then perhaps `kl`). The
 * estimate takes their place; the returns, which the critic is to learn (loss `value`), are made before any whitening.
 *
 * V_it is the critic's value of the state before token t, at the weights of the rollout, kept as the number
 * `old_value`. After the last token comes nothing (value 0). With bootstrap, a response that was cut off did not end
 * there: what it would still have earned is the critic's value of the state behind its last token, V_i,n+1. Without it
 * the policy learns that responses stop paying at the budget, and to end early (Pardo et al. 2018, partial-episode
 * bootstrapping).
 */
#include "../../model/base/mem.h"
#include "../stage.h"

enum { P_GAMMA, P_LAM, P_BOOTSTRAP, P_RETURNS };
enum { LAMBDA, REWARDS };
enum { VALUE, AFTER };

static const struct param params[] = {
    {"gamma", PARAM_NUMBER, "1", 0, 1, NULL, "What a reward counts one token earlier.", NULL},
    {"lam", PARAM_NUMBER, "0.95", 0, 1, NULL, "0: trust the critic's next value; 1: only what was really earned.",
     NULL},
    {"bootstrap", PARAM_BOOL, "false", 0, 0, NULL, "Truncated responses end in the critic's value of where they are.",
     NULL},
    {"returns", PARAM_CHOICE, "lambda", 0, 0, "lambda|rewards",
     "What the critic learns: the estimate and its value together, or what was really earned from the token on.", NULL},
    {0}};

/* What comes after the last token of sample i. */
static double end_value(const struct stage_call *c, int i)
{
    const struct batch *b = c->b;
    int t = last_trained(b, b->sample_first[i], b->sample_first[i + 1]);
    return c->p[P_BOOTSTRAP].num != 0 && b->truncated[i] && t >= 0 ? b->channel[c->channel[AFTER]].value[t] : 0;
}

static void estimate(struct stage_call *c, int i, double *old)
{
    struct batch *b = c->b;
    const double *value = b->channel[c->channel[VALUE]].value;
    double gamma = c->p[P_GAMMA].num, advantage = 0, after = b->kept[i] ? end_value(c, i) : 0, earned = after;
    for (int t = b->sample_first[i + 1] - 1; t >= b->sample_first[i]; t--) {
        if (!b->kept[i] || !b->trained[t]) {
            b->token_reward[t] = b->returns[t] = old[t] = 0;
            continue;
        }
        earned = b->token_reward[t] + gamma * earned;
        double surprise = b->token_reward[t] + gamma * after - value[t];
        advantage = surprise + gamma * c->p[P_LAM].num * advantage;
        b->token_reward[t] = advantage;
        b->returns[t] = c->p[P_RETURNS].num == REWARDS ? earned : advantage + value[t];
        old[t] = after = value[t];
    }
}

/* Share of the variance of the returns that the critic foresaw. */
static void report(const struct stage_call *c)
{
    const struct batch *b = c->b;
    unsigned char *use = mem_alloc((size_t)b->tokens, 1);
    for (int i = 0; i < b->samples; i++)
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            use[t] = b->kept[i] && b->trained[t];
    double spread = stat_std(b->returns, use, b->tokens, 0), missed = stat_std(b->token_reward, use, b->tokens, 0);
    if (spread > 0)
        metric_add(c->metrics, "gae.explained", 1 - missed * missed / (spread * spread), 1);
    mem_free(use);
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double *old = batch_number(b, "old_value", LEVEL_TOKEN)->value;
    for (int i = 0; i < b->samples; i++)
        estimate(c, i, old);
    report(c);
    return 0;
}

const struct stage credit_gae = {
    .name = "gae",
    .kind = STAGE_CREDIT,
    .sentence = "What each token earned beyond the critic's expectation; makes the returns that the critic learns.",
    .citation = "Schulman et al.: High-Dimensional Continuous Control Using Generalized Advantage Estimation, 2016, "
                "eq. 16",
    .formula = "delta_it = q_it + gamma V_i,t+1 - V_it, token_reward_it = delta_it + gamma lam token_reward_i,t+1, "
               "return_it = token_reward_it + V_it; q = the token rewards before, V_i,n+1 = 0 or "
               "critic.after of a truncated response; returns=rewards: return_it = q_it + gamma return_i,t+1",
    .params = params,
    .reads = FIELD_TOKEN_REWARD | FIELD_KEPT,
    .writes = FIELD_TOKEN_REWARD | FIELD_RETURNS,
    .channels = {"critic.value", "critic.after if bootstrap=true"},
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "the critic tells responses apart that were rewarded alike",
    .run = run,
};
