/* FlowRL: the log partition function of every group in, its gradient, the residuals and the weights out. */
#include "../method.h"

static int before(struct method_call *c, struct error *e)
{
    struct batch *b = c->b;
    double *flow = b->channel[batch_channel(b, "flow.value", 1)].value, log_z;
    for (int g = 0; g < b->groups; g++) {
        if (method_group_number(c, g, "log_z", &log_z, e))
            return -1;
        for (int t = b->sample_first[b->group_first[g]]; t < b->sample_first[b->group_first[g + 1]]; t++)
            flow[t] = log_z;
    }
    return 0;
}

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    const double *weight = batch_given(b, "flow_weight", LEVEL_SEQUENCE);
    json_object_set_new(c->answer, "dlogz", method_group_sums(b, b->channel[batch_channel(b, "flow.value", 1)].grad));
    json_object_set_new(c->answer, "delta", method_samples(b, batch_given(b, "delta", LEVEL_SEQUENCE)));
    for (int i = 0; i < b->samples; i++)
        json_object_set_new(method_sample(c, i), "weight", method_real(weight[i]));
    return 0;
}

const struct method method_flowrl = {.name = "flowrl", .before = before, .extra = extra};
