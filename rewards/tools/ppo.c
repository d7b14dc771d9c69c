/* PPO: values at the rollout, predictions now; the estimates before whitening, and the critic's part of the loss. */
#include "../method.h"

static const struct datum data[] = {{"values", DATUM_CHANNEL, "critic.value", LEVEL_TOKEN, NULL},
                                    {"vpred", DATUM_CHANNEL, "critic.value+", LEVEL_TOKEN, NULL},
                                    {"value_last", DATUM_CHANNEL, "critic.after", LEVEL_SEQUENCE, NULL},
                                    {0}};
static const char *const alias[] = {"lambda", "lam", "kappa", "kl_coef", "c_v", "vf_coef", NULL};

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double value = metric_value(c->metrics, "value.loss", 0);
    json_object_set_new(c->answer, "raw_advantage", method_tokens(b, b->token_reward));
    json_object_set_new(c->answer, "returns", method_tokens(b, b->returns));
    json_object_set_new(c->answer, "policy_loss", method_real(c->loss - method_number(c, "vf_coef") * value));
    json_object_set_new(c->answer, "value_loss", method_real(value));
    json_object_set_new(c->answer, "dvpred", method_tokens(b, b->channel[batch_channel(b, "critic.value", 1)].grad));
    return 0;
}

const struct method method_ppo = {.name = "ppo", .alias = alias, .data = data, .extra = extra};
