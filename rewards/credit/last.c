/* The whole reward of a response on the last token that the model wrote: where it is known. Stages after it (`kl`,
 * `return`, `gae`) say what the tokens before are worth. An empty response has no token to put it on.
 */
#include "../stage.h"

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    for (int i = 0; i < b->samples; i++) {
        int placed = !b->kept[i];
        for (int t = b->sample_first[i + 1] - 1; t >= b->sample_first[i]; t--) {
            int here = !placed && b->trained[t];
            b->token_reward[t] = here ? b->reward[i] : 0;
            placed |= here;
        }
    }
    return 0;
}

static const struct param params[] = {{0}};

const struct stage credit_last = {
    .name = "last",
    .kind = STAGE_CREDIT,
    .sentence = "The reward of a response on its last token, nothing on the others.",
    .citation = "",
    .formula = "token_reward_it = reward_i on the model's last token, 0 elsewhere",
    .params = params,
    .reads = FIELD_REWARD,
    .writes = FIELD_TOKEN_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
