/* A price for every token above a free allowance, or 1 within the allowance and 0 beyond. It is paid by right and wrong
 * answers alike; methods that spare the wrong ones are shapes of their own.
 */
#include "../stage.h"

enum { P_PER, P_FROM, P_WITHIN };

static const struct param params[] = {{"per", PARAM_NUMBER, "100", 1e-3, 1e6, NULL,
                                       "Tokens that cost 1, for instance the generation budget.", "within=false"},
                                      {"from", PARAM_INT, "0", 0, 1e6, NULL, "Tokens that are free.", NULL},
                                      {"within", PARAM_BOOL, "false", 0, 0, NULL,
                                       "1 for a response within the free tokens and 0 beyond, without a price.", NULL},
                                      {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double *value = batch_component(b, "length", LEVEL_SEQUENCE)->value;
    for (int i = 0; i < b->samples; i++) {
        double above = b->kept[i] ? trained_tokens(b, i) - c->p[P_FROM].num : 0;
        if (c->p[P_WITHIN].num != 0)
            value[i] = b->kept[i] && above <= 0;
        else
            value[i] = above > 0 ? -above / c->p[P_PER].num : 0;
    }
    return 0;
}

const struct stage score_length = {
    .name = "length",
    .kind = STAGE_SCORE,
    .sentence =
        "Minus the response's length beyond a free allowance, in units of `per` tokens; or whether it is within it.",
    .citation = "",
    .formula = "length_i = -max(0, n_i - from) / per, or [n_i <= from]; n_i = tokens the model wrote, the end token "
               "included",
    .params = params,
    .writes = FIELD_COMPONENTS,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
