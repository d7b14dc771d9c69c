/* Which groups of the step were measured by length, and the ratio that chose them. */
#include "../method.h"

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    const double *mark = b->component[batch_find_component(b, "length_counts")].value;
    json_t *selected = json_array(), *ratios = json_array();
    for (int g = 0; g < b->groups; g++) {
        double right = 0, n = b->group_first[g + 1] - b->group_first[g];
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            right += b->strict[i] == 1;
        json_array_append_new(selected, json_boolean(mark[g] != 0));
        json_array_append_new(ratios, method_real(n > 0 ? right / n : 0));
    }
    json_object_set_new(c->answer, "selected", selected);
    json_object_set_new(c->answer, "correct_ratio", ratios);
    return 0;
}

const struct method method_grpo_lambda = {.name = "grpo_lambda", .extra = extra};
