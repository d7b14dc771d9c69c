/* REINFORCE++: the returns, which is what was whitened. */
#include "../method.h"
#include <string.h>

/* With a baseline: the reward minus the mean of its group, for every token. */
static void centred(const struct batch *b, double *returns)
{
    for (int g = 0; g < b->groups; g++) {
        int first = b->group_first[g], n = b->group_first[g + 1] - first;
        double mean = stat_mean(b->reward + first, b->kept + first, n);
        for (int i = first; i < first + n; i++)
            for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
                returns[t] = b->reward[i] - mean;
    }
}

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    if (strcmp(method_param(c, "baseline"), "true") == 0)
        centred(c->b, c->b->token_reward);
    json_object_set_new(c->answer, "returns", method_tokens(c->b, c->b->token_reward));
    return 0;
}

static const char *const alias[] = {"kappa", "kl_coef", NULL};

const struct method method_reinforce_pp = {.name = "reinforce_pp", .alias = alias, .extra = extra};
