/* One reward from all components: their weighted sum. Weights are named after components, `sum(outcome = 1, format =
 * 0.1)`; a component that is not named weighs 1. Components per step or per token enter as their mean over the steps or
 * the model's own tokens of the response (0 when there are none).
 */
#include "../../model/base/error.h"
#include "../stage.h"
#include <math.h>

enum { P_WEIGHTS };

static const struct param params[] = {
    {"*", PARAM_TEXT, "", 0, 0, NULL, "COMPONENT = weight of that component; 1 for those not named.", NULL}, {0}};

static int is_part(const struct component *k)
{
    return k->written && !k->aside && k->level != LEVEL_GROUP;
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    double weight[MAX_COMPONENTS];
    for (int k = 0; k < b->components; k++)
        weight[k] = component_weight(c->p[P_WEIGHTS].text, b->component[k].name);
    for (int i = 0; i < b->samples; i++) {
        double reward = 0;
        for (int k = 0; b->kept[i] && k < b->components; k++) {
            if (!is_part(&b->component[k]) || weight[k] == 0)
                continue;
            double value = component_mean(b, &b->component[k], i);
            if (!isfinite(value))
                return fail(e, "sum: component '%s' of sample %d is not a finite number", b->component[k].name, i);
            reward += weight[k] * value;
        }
        if (!isfinite(reward))
            return fail(e, "sum: the reward of sample %d is not a finite number; lower the weights", i);
        b->reward[i] = reward;
    }
    return 0;
}

const struct stage shape_sum = {
    .name = "sum",
    .kind = STAGE_SHAPE,
    .sentence = "The weighted sum of all components; those per step or token enter as their mean.",
    .citation = "",
    .formula = "reward_i = sum over components c of weight_c * c_i",
    .params = params,
    .reads = FIELD_COMPONENTS,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
