/* Soft punishment of overlong answers: nothing up to l_max - l_cache tokens, then a straight line down to -factor at
 * l_max, and -factor beyond. It is added to the reward that stages before it made, and kept as the number
 * `overlong`.
 *
 * The floor of -factor is the paper's. (The official recipe lets the line go on, which shows only beyond l_max, where
 * no response can be when l_max is the generation budget.)
 */
#include "../stage.h"

enum { P_MAX, P_CACHE, P_FACTOR };

static const struct param params[] = {
    {"l_max", PARAM_NUMBER, "16", 1, 1e9, NULL, "Tokens at which the whole punishment is reached.", NULL},
    {"l_cache", PARAM_NUMBER, "8", 0, 1e9, NULL, "Tokens before l_max at which it begins; 0: a step at l_max.", NULL},
    {"factor", PARAM_NUMBER, "1", 0, 1e6, NULL, "The whole punishment.", NULL},
    {0}};

/* -1 to 0 for a response of n tokens. */
static double overlong(double n, double max, double cache)
{
    double above = n - (max - cache);
    if (n > max)
        return -1;
    return above > 0 ? -above / cache : 0;
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double max = c->p[P_MAX].num, cache = c->p[P_CACHE].num, punished = 0, kept = 0;
    double *value = batch_number(b, "overlong", LEVEL_SEQUENCE)->value;
    for (int i = 0; i < b->samples; i++) {
        value[i] = b->kept[i] ? c->p[P_FACTOR].num * overlong(trained_tokens(b, i), max, cache) : 0;
        if (!b->kept[i])
            continue;
        b->reward[i] += value[i];
        punished += value[i] < 0;
        kept++;
    }
    metric_add(c->metrics, "overlong.share", punished, kept);
    return 0;
}

const struct stage shape_overlong = {
    .name = "overlong",
    .kind = STAGE_SHAPE,
    .sentence = "A soft punishment of responses near the end of the token budget, added to the reward.",
    .citation = "DAPO: An Open-Source LLM Reinforcement Learning System at Scale, 2025, eq. 13",
    .formula = "reward_i += factor * f(n_i), f(n) = 0 up to l_max - l_cache, ((l_max - l_cache) - n) / l_cache up to "
               "l_max, -1 beyond",
    .params = params,
    .reads = FIELD_REWARD,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
