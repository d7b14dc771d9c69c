/* A token is credited with what is earned from it onwards: nothing that was earned before can have been its doing. The
 * rewards of the tokens have to be placed first (shape `dense`). With all reward on the last token and gamma = 1 this
 * is the credit `outcome`.
 */
#include "../stage.h"

enum { P_GAMMA };

static const struct param params[] = {
    {"gamma", PARAM_NUMBER, "1", 0, 1, NULL, "What a reward counts one token earlier.", NULL}, {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    for (int i = 0; i < b->samples; i++) {
        double rest = 0;
        for (int t = b->sample_first[i + 1] - 1; t >= b->sample_first[i]; t--) {
            if (b->kept[i] && b->trained[t])
                rest = b->token_reward[t] + c->p[P_GAMMA].num * rest;
            b->token_reward[t] = b->kept[i] && b->trained[t] ? rest : 0;
        }
    }
    return 0;
}

const struct stage credit_return = {
    .name = "return",
    .kind = STAGE_CREDIT,
    .sentence = "The sum of a token's reward and all later ones, each discounted by gamma a token.",
    .citation = "Williams: Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning, "
                "1992 (rewards to go)",
    .formula = "G_it = q_it + gamma * G_i,t+1 over the model's own tokens, q = the token rewards; token_reward = G",
    .params = params,
    .reads = FIELD_TOKEN_REWARD,
    .writes = FIELD_TOKEN_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
