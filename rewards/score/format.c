/* Whether the response has the form that the task asks for, whatever the answer. It is what the strict verifier needs
 * to say right or wrong, so format and outcome cannot disagree: 1 exactly when the strict verdict is not unparsable.
 */
#include "../../data/task.h"
#include "../stage.h"

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double *value = batch_component(b, "format", LEVEL_SEQUENCE)->value;
    for (int i = 0; i < b->samples; i++)
        value[i] = b->kept[i] && b->strict[i] != VERDICT_UNPARSABLE;
    return 0;
}

static const struct param params[] = {{0}};

const struct stage score_format = {
    .name = "format",
    .kind = STAGE_SCORE,
    .sentence = "1 when the strict verifier could read an answer, else 0.",
    .citation = "",
    .formula = "format_i = 1 if the strict verdict on response i is not unparsable, else 0",
    .params = params,
    .reads = FIELD_OUTCOME,
    .writes = FIELD_COMPONENTS,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
