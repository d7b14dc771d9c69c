/* One reward from the components that are named, each times its weight: what a reward model with several heads, or
 * several labels, come to. (`sum` takes all there are.) Labels should have one range before they are added; correlated
 * ones count twice, which the advantage `gdpo` avoids.
 */
#include "../../model/base/error.h"
#include "../stage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { P_COMPONENTS, P_WEIGHTS };

static const struct param params[] = {
    {"components", PARAM_TEXT, "outcome", 0, 0, NULL, "Components to add up, separated by commas.", NULL},
    {"weights", PARAM_TEXT, "", 0, 0, NULL, "Their weights, in the same order; empty: 1 each.", NULL},
    {0}};

static const struct component *find(const struct batch *b, const char *name)
{
    int at = batch_find_component(b, name);
    return at >= 0 && b->component[at].written && b->component[at].level != LEVEL_GROUP ? &b->component[at] : NULL;
}

/* Add weight times the component to the rewards of the kept samples. */
static int add(struct batch *b, const char *name, double weight, struct error *e)
{
    const struct component *k = find(b, name);
    if (!k && b->samples == 0)
        return 0;
    if (!k)
        return fail(e, "mix: no score stage wrote the component '%s'", name);
    for (int i = 0; i < b->samples; i++) {
        if (!b->kept[i])
            continue;
        b->reward[i] += weight * component_mean(b, k, i);
        if (!isfinite(b->reward[i]))
            return fail(e, "mix: component '%s' of sample %d is not a finite number", name, i);
    }
    return 0;
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    const char *names = c->p[P_COMPONENTS].text, *weights = c->p[P_WEIGHTS].text;
    int given = strspn(weights, " ,") < strlen(weights);
    for (int i = 0; i < b->samples; i++)
        b->reward[i] = 0;
    for (char name[64], text[64]; list_piece(&names, name);) {
        char *end = text;
        double weight = given && list_piece(&weights, text) ? strtod(text, &end) : 1;
        if (given && (end == text || *end))
            return fail(e, "mix: the component '%s' has no weight that is a number", name);
        if (add(b, name, weight, e))
            return -1;
    }
    return 0;
}

const struct stage shape_mix = {
    .name = "mix",
    .kind = STAGE_SHAPE,
    .sentence = "The weighted sum of the components that are named; those per step or token enter as their mean.",
    .citation = "Optimizing Safe and Aligned Language Generation: A Multi-Objective GRPO Approach, 2025",
    .formula = "reward_i = sum over the named components c of weight_c * c_i",
    .params = params,
    .components = {"$components"},
    .reads = FIELD_COMPONENTS | FIELD_KEPT,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
