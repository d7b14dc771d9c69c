/* Multi-objective GRPO: the loss of the reward model with several heads, whose predictions are the components and whose
 * targets are the `labels` of the samples, and its gradient by every prediction. Labels that are missing do not count.
 */
#include "../method.h"
#include <string.h>

/* Score stages of the recipe whose components the line leaves out have nothing to do. */
static int before(struct method_call *c, struct error *e)
{
    (void)e;
    for (int i = 0; i < c->phase->stages; i++) {
        const char *own = c->phase->stage[i].stage->name, *list = method_param(c, "components");
        int named = c->phase->stage[i].stage->kind != STAGE_SCORE;
        for (char name[64]; list_piece(&list, name);)
            named |= strcmp(name, own) == 0;
        if (!named && batch_find_component(c->b, own) < 0)
            batch_number(c->b, own, LEVEL_SEQUENCE);
    }
    return 0;
}

static const json_t *labels_of(const struct method_call *c, int g, int i)
{
    const json_t *groups = json_object_get(c->input, "groups");
    const json_t *samples = json_object_get(json_array_get(groups, (size_t)g), "samples");
    return json_object_get(json_array_get(samples, (size_t)(i - c->b->group_first[g])), "labels");
}

/* The target of a component and its prediction; 0: there is none. */
static int find_label(const struct method_call *c, const json_t *labels, const char *name, int i, double *target,
                      double *predicted)
{
    const json_t *x = json_object_get(labels, strcmp(name, "outcome") ? name : "correct");
    const double *value = batch_given(c->b, name, LEVEL_SEQUENCE);
    if (!json_is_number(x) || !value)
        return 0;
    *target = json_number_value(x);
    *predicted = value[i];
    return 1;
}

/* Sum of squared errors of a sample; count: of labels. With out, its derivatives, of a mean over `all` labels. */
static double errors_of(const struct method_call *c, int g, int i, long all, long *count, json_t *out)
{
    const char *list = method_param(c, "components");
    const json_t *labels = labels_of(c, g, i);
    double sum = 0, target, predicted;
    for (char name[64]; list_piece(&list, name);) {
        if (!find_label(c, labels, name, i, &target, &predicted))
            continue;
        sum += (predicted - target) * (predicted - target);
        (*count)++;
        if (out)
            json_object_set_new(out, strcmp(name, "outcome") ? name : "correct",
                                method_real(2 * (predicted - target) / (double)all));
    }
    return sum;
}

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    double sum = 0;
    long all = 0, again = 0;
    for (int g = 0; g < b->groups; g++)
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            sum += errors_of(c, g, i, 0, &all, NULL);
    if (all == 0)
        return 0;
    json_t *groups = json_array();
    for (int g = 0; g < b->groups; g++) {
        json_t *group = json_array();
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            json_t *sample = json_object();
            errors_of(c, g, i, all, &again, sample);
            json_array_append_new(group, sample);
        }
        json_array_append_new(groups, group);
    }
    json_object_set_new(c->answer, "rm_loss", method_real(sum / (double)all));
    json_object_set_new(c->answer, "drm", groups);
    return 0;
}

const struct method method_mo_grpo = {.name = "mo_grpo", .before = before, .extra = extra};
