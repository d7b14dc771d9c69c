/* Every token of a response is credited with the whole reward: nothing is known about which one earned it. */
#include "../stage.h"

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    for (int i = 0; i < b->samples; i++)
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            b->token_reward[t] = b->kept[i] && b->trained[t] ? b->reward[i] : 0;
    return 0;
}

static const struct param params[] = {{0}};

const struct stage credit_outcome = {
    .name = "outcome",
    .kind = STAGE_CREDIT,
    .sentence = "The reward of a response to each of its tokens.",
    .citation = "",
    .formula = "token_reward_it = reward_i",
    .params = params,
    .reads = FIELD_REWARD,
    .writes = FIELD_TOKEN_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
