/* One reward from the components that are named, each times its weight: what a reward model with several heads, or
 * several labels, come to. (`sum` takes all there are.) Labels should have one range before they are added; correlated
 * ones count twice, which the advantage `gdpo` avoids.
 *
 * A condition `a:b:t` counts component a only where b is at least t.
 */
#include "../../model/base/error.h"
#include "../../model/base/mem.h"
#include "../named.h"
#include <math.h>

static const struct param params[] = {
    {"components", PARAM_TEXT, "outcome", 0, 0, NULL, "Components to add up, separated by commas.", NULL},
    {"weights", PARAM_TEXT, "", 0, 0, NULL, "Their weights, in the same order; empty: 1 each.", NULL},
    NAMED_CONDITION_ROW,
    {0}};

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    const char *names = c->p[NAMED_COMPONENTS].text, *weights = c->p[NAMED_WEIGHTS].text;
    double weight, *value = mem_alloc((size_t)b->samples, sizeof *value);
    int status = 0;
    for (int i = 0; i < b->samples; i++)
        b->reward[i] = 0;
    for (char name[64]; !status && named_next(&names, &weights, name, &weight);) {
        status = named_values(c, name, value, e);
        for (int i = 0; i < b->samples && !status; i++) {
            b->reward[i] += weight * value[i];
            if (!isfinite(b->reward[i]))
                status = fail(e, "mix: component '%s' of sample %d is not a finite number", name, i);
        }
    }
    mem_free(value);
    return status;
}

const struct stage shape_mix = {
    .name = "mix",
    .kind = STAGE_SHAPE,
    .sentence = "The weighted sum of the components that are named; those per step or token enter as their mean.",
    .citation = "Optimizing Safe and Aligned Language Generation: A Multi-Objective GRPO Approach, 2025",
    .formula = "reward_i = sum over the named components c of weight_c * c_i, 0 for c_i where its condition fails",
    .params = params,
    .components = {"$components", "$condition"},
    .reads = FIELD_COMPONENTS | FIELD_KEPT,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .check = named_check,
    .run = run,
};
