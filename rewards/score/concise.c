/* How concise a response is, by an oracle: the fewest tokens that a right answer to the same prompt took in this group,
 * over the tokens of the response, from 0.1 to 1. It stands in for a trained conciseness model.
 */
#include "../stage.h"
#include <math.h>

static const struct param params[] = {{0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double *value = batch_component(b, "concise", LEVEL_SEQUENCE)->value;
    for (int g = 0; g < b->groups; g++) {
        double fewest = INFINITY;
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            if (b->kept[i] && b->strict[i] == 1)
                fewest = fmin(fewest, trained_tokens(b, i));
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            value[i] =
                b->kept[i] && isfinite(fewest) ? fmin(fmax(fewest / fmax(trained_tokens(b, i), 1), 0.1), 1) : 0.1;
    }
    return 0;
}

const struct stage score_concise = {
    .name = "concise",
    .kind = STAGE_SCORE,
    .sentence = "The shortest right answer of the group over the length of the response: an oracle of conciseness.",
    .citation = "",
    .formula = "concise_i = clip(min over right j of n_j / n_i, 0.1, 1)",
    .params = params,
    .reads = FIELD_OUTCOME | FIELD_KEPT,
    .writes = FIELD_COMPONENTS,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
