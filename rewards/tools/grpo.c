/* GRPO under process supervision: what counts as the reward of a response is the sum over its steps. */
#include "../method.h"
#include <string.h>

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    if (strcmp(method_param(c, "mode"), "process") == 0)
        method_sum_steps(c);
    return 0;
}

const struct method method_grpo = {.name = "grpo", .extra = extra};
