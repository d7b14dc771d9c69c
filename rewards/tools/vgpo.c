/* VGPO: the values of the steps; the reward of a sample is the sum over them. */
#include "../method.h"

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    const double *q = batch_given(b, "vgpo", LEVEL_STEP);
    json_t *groups = json_array();
    for (int g = 0; g < b->groups; g++) {
        json_t *group = json_array();
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            json_t *steps = json_array();
            for (int k = b->step_first[i]; k < b->step_first[i + 1]; k++)
                json_array_append_new(steps, method_real(q[k]));
            json_array_append_new(group, steps);
        }
        json_array_append_new(groups, group);
    }
    json_object_set_new(c->answer, "q", groups);
    method_sum_steps(c);
    return 0;
}

const struct method method_vgpo = {.name = "vgpo", .extra = extra};
