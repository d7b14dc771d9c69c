/* GRPO under process supervision: what counts as the reward of a response is the sum over its steps. */
#include "../method.h"
#include <string.h>

static double step_sum(const struct batch *b, const double *step, int sample)
{
    double sum = 0;
    for (int k = b->step_first[sample]; k < b->step_first[sample + 1]; k++)
        sum += step[k];
    return sum;
}

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    int at = batch_find_component(b, "process");
    for (int i = 0; i < b->samples && at >= 0 && strcmp(method_param(c, "mode"), "process") == 0; i++)
        json_object_set_new(method_sample(c, i), "reward", method_real(step_sum(b, b->component[at].value, i)));
    return 0;
}

const struct method method_grpo = {.name = "grpo", .extra = extra};
