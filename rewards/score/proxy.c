/* A stand-in for a learned reward model, with the faults of one: the truth seen through noise, which is largest in the
 * middle of the range, and with a liking for length that a policy can exploit. The truth is the verdict, or the mean of
 * the verdict and the share of accepted steps where a stage `process` stands before it.
 */
#include "../stage.h"
#include <math.h>

enum { P_NOISE, P_ENDS, P_PER_TOKEN };

static const struct param params[] = {
    {"noise", PARAM_NUMBER, "0.3", 0, 1e6, NULL, "Standard deviation of the noise halfway between right and wrong.",
     NULL},
    {"ends", PARAM_NUMBER, "0.3", 0, 1, NULL, "Share of it that is left for what is wholly right or wrong.",
     "noise!=0"},
    {"per_token", PARAM_NUMBER, "0", -1e6, 1e6, NULL, "What every token adds, whatever it says.", NULL},
    {0}};

static const uint64_t own_draw = 1 << 20; /* far from those that the stage `process` takes for steps */

static double truth(const struct batch *b, int i, const double *process)
{
    double right = b->strict[i] == 1, sum = 0;
    int first = b->step_first[i], n = b->step_first[i + 1] - first;
    for (int k = 0; process && k < n; k++)
        sum += process[first + k];
    return process ? (right + (n > 0 ? sum / n : 0)) / 2 : right;
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    const double *process = batch_given(b, "process", LEVEL_STEP);
    double *value = batch_component(b, "proxy", LEVEL_SEQUENCE)->value, error = 0, count = 0;
    for (int g = 0; g < b->groups; g++)
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            value[i] = 0;
            if (!b->kept[i])
                continue;
            double x = truth(b, i, process), ends = c->p[P_ENDS].num;
            double spread = c->p[P_NOISE].num * (ends + (1 - ends) * 4 * x * (1 - x));
            struct rng r = rng_stream(c->seed, RNG_NOISE, c->step, b->prompt_key[g], (uint32_t)(i - b->group_first[g]));
            value[i] = x + spread * rng_normal(r, own_draw) + c->p[P_PER_TOKEN].num * trained_tokens(b, i);
            error += fabs(value[i] - x);
            count++;
        }
    metric_add(c->metrics, "proxy.error", error, count);
    return 0;
}

const struct stage score_proxy = {
    .name = "proxy",
    .kind = STAGE_SCORE,
    .sentence = "The truth through noise, with a liking for length: a stand-in for a learned reward model.",
    .citation = "our own",
    .formula = "proxy_i = x + noise (ends + (1 - ends) 4 x (1 - x)) N(0, 1) + per_token n_i, x = truth in [0, 1]",
    .params = params,
    .reads = FIELD_OUTCOME | FIELD_KEPT,
    .writes = FIELD_COMPONENTS,
    .zero_on_equal = 0,
    .permutable = 0,
    .why_not = "every sample has a draw of its own, by its place in its group",
    .run = run,
};
