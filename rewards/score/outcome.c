/* The verifier's verdict as a number. The loop has already asked the task; other rewards for a right answer are made
 * by a shape or by the parameters here, never by asking the verifier differently.
 */
#include "../stage.h"

enum { P_RIGHT, P_WRONG, P_UNPARSABLE, P_LENIENT };

static const struct param params[] = {
    {"right", PARAM_NUMBER, "1", -1e6, 1e6, NULL, "Value of a right answer.", NULL},
    {"wrong", PARAM_NUMBER, "0", -1e6, 1e6, NULL, "Value of a wrong answer.", NULL},
    {"unparsable", PARAM_NUMBER, "0", -1e6, 1e6, NULL, "Value when no answer can be read.", NULL},
    {"lenient", PARAM_BOOL, "false", 0, 0, NULL, "Take the answer wherever it can be found, whatever the format.",
     NULL},
    {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double *value = batch_component(b, "outcome", LEVEL_SEQUENCE)->value;
    const signed char *verdict = c->p[P_LENIENT].num != 0 ? b->lenient : b->strict;
    for (int i = 0; i < b->samples; i++) {
        int row = verdict[i] > 0 ? P_RIGHT : verdict[i] == 0 ? P_WRONG : P_UNPARSABLE;
        value[i] = b->kept[i] ? c->p[row].num : 0;
    }
    return 0;
}

const struct stage score_outcome = {
    .name = "outcome",
    .kind = STAGE_SCORE,
    .sentence = "The verdict of the task's verifier: right, wrong or unparsable.",
    .citation = "",
    .formula = "outcome_i = right | wrong | unparsable, by the verdict on response i",
    .params = params,
    .reads = FIELD_OUTCOME,
    .writes = FIELD_COMPONENTS,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
