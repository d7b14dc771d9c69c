/* GRPO-S: the two factors of every scale. */
#include "../method.h"

static const struct datum data[] = {{"similarity", DATUM_NUMBER, "similarity", LEVEL_SEQUENCE, "process"},
                                    {"gap", DATUM_NUMBER, "gap", LEVEL_SEQUENCE, NULL},
                                    {"rm", DATUM_COMPONENT, "rm", LEVEL_SEQUENCE, "outcome"},
                                    {0}};

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    const double *sample = batch_given(b, "alpha_d", LEVEL_SEQUENCE), *group = batch_given(b, "alpha_m", LEVEL_GROUP);
    json_t *groups = json_array();
    for (int g = 0; g < b->groups; g++) {
        json_t *o = json_object(), *list = json_array();
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            json_array_append_new(list, method_real(sample[i]));
        json_object_set_new(o, "alpha_m", method_real(group[g]));
        json_object_set_new(o, "alpha_d", list);
        json_array_append_new(groups, o);
    }
    json_object_set_new(c->answer, "scale", groups);
    return 0;
}

const struct method method_grpo_s = {.name = "grpo_s", .data = data, .extra = extra};
