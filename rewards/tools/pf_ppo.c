/* PF-PPO: the share that the strategy gives to every sample, and how well rewards foretell what the samples are really
 * worth where these shares lie: by that the strategy is chosen.
 */
#include "../method.h"
#include <math.h>

static const struct datum data[] = {{"actual", DATUM_NUMBER, "actual", LEVEL_SEQUENCE, NULL},
                                    {"rm", DATUM_COMPONENT, "rm", LEVEL_SEQUENCE, "proxy"},
                                    {"rm", DATUM_COMPONENT, "rm", LEVEL_SEQUENCE, "process"},
                                    {0}};
static const char *const alias[] = {"br_index", "", "p", "pow", NULL};

/* The random draws of strategy br, one for each group, in the parameters. */
static int before(struct method_call *c, struct error *e)
{
    const json_t *list = json_object_get(c->params, "br_index");
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list) || (int)json_array_size(list) < c->b->groups)
        return fail(e, "br_index must be an array of a number for each group");
    double *draw = batch_number(c->b, "draw", LEVEL_GROUP)->value;
    for (int g = 0; g < c->b->groups; g++) {
        const json_t *x = json_array_get(list, (size_t)g);
        if (!json_is_integer(x) || json_integer_value(x) < 0 || json_integer_value(x) > 1 << 30)
            return fail(e, "br_index[%d] is no index", g);
        draw[g] = (double)json_integer_value(x);
    }
    return 0;
}

/* Squared correlation of x and y with weights w; NAN when one of them does not vary. */
static double squared_correlation(const double *x, const double *y, const double *w, int n)
{
    double sum = 0, mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < n; i++) {
        sum += w[i];
        mx += w[i] * x[i];
        my += w[i] * y[i];
    }
    for (int i = 0; i < n && sum > 0; i++) {
        double dx = x[i] - mx / sum, dy = y[i] - my / sum;
        xx += w[i] * dx * dx;
        yy += w[i] * dy * dy;
        xy += w[i] * dx * dy;
    }
    double least = 1e-24 * (1 + sum); /* what rounding leaves of equal numbers */
    return xx > least && yy > least ? xy * xy / (xx * yy) : NAN;
}

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    const double *share = batch_given(b, "filter", LEVEL_SEQUENCE);
    double *actual = batch_given(b, "actual", LEVEL_SEQUENCE);
    if (!actual) {
        actual = batch_number(b, "actual", LEVEL_SEQUENCE)->value;
        for (int i = 0; i < b->samples; i++)
            actual[i] = b->strict[i] == 1;
    }
    for (int i = 0; i < b->samples; i++)
        json_object_set_new(method_sample(c, i), "weight", method_real(share[i]));
    json_object_set_new(c->answer, "r2", method_real(squared_correlation(b->reward, actual, share, b->samples)));
    return 0;
}

const struct method method_pf_ppo = {.name = "pf_ppo", .alias = alias, .data = data, .before = before, .extra = extra};
