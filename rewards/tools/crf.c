/* The two factors of CRF's conciseness, for every group. */
#include "../method.h"
#include <math.h>
#include <string.h>

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    json_t *list = json_array();
    for (int g = 0; g < b->groups; g++) {
        double right = 0, n = b->group_first[g + 1] - b->group_first[g];
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            right += b->strict[i] == 1;
        json_t *o = json_object();
        int used = strcmp(method_param(c, "difficulty"), "exp_ratio") == 0;
        json_object_set_new(o, "d_q", method_real(used && n > 0 ? exp(right / n) : 0));
        json_object_set_new(o, "s", method_real(metric_value(c->metrics, "crf.s", 0)));
        json_array_append_new(list, o);
    }
    json_object_set_new(c->answer, "crf", list);
    return 0;
}

/* Where the schedule stands is given with the parameters; in training the loop knows. */
static const char *const alias[] = {"step", "", "total_steps", "", NULL};

const struct method method_crf = {.name = "crf", .alias = alias, .extra = extra};
