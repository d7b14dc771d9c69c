/* The two perplexities behind every self-aligned reward. */
#include "../method.h"
#include <math.h>

static double perplexity(const struct batch *b, const double *logp, int i)
{
    double sum = 0;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
        sum -= logp[t];
    return exp(sum / (b->sample_first[i + 1] - b->sample_first[i]));
}

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    const double *noprompt = b->channel[batch_channel(b, "policy@noprompt.logp", 1)].value;
    const double *reward = b->component[batch_find_component(b, "sar")].value;
    json_t *groups = json_array();
    for (int g = 0; g < b->groups; g++) {
        json_t *group = json_array();
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            json_t *o = json_object();
            json_object_set_new(o, "ppl_qa", method_real(perplexity(b, b->logp_old, i)));
            json_object_set_new(o, "ppl_a", method_real(perplexity(b, noprompt, i)));
            json_object_set_new(o, "r_sa", method_real(reward[i]));
            json_array_append_new(group, o);
        }
        json_array_append_new(groups, group);
    }
    json_object_set_new(c->answer, "sar", groups);
    return 0;
}

const struct method method_sar = {.name = "sar", .extra = extra};
