/* Batch-wide whitening: the returns of all tokens of the step get mean 0 and variance 1. No statistics of a prompt are
 * needed, so groups of one will do; a long response counts more, as it has more tokens.
 *
 * Returns that are all equal give exactly 0. Where only small differences are left (a KL price among equal rewards),
 * they are blown up to unit variance.
 */
#include "../../model/base/mem.h"
#include "../stage.h"
#include <math.h>

enum { P_VARIANCE, P_EPS, P_CENTRE, P_ON };
enum { UNBIASED, POPULATION };

static const struct param params[] = {
    {"variance", PARAM_CHOICE, "unbiased", 0, 0, "unbiased|population",
     "unbiased: divide by sqrt(v + eps), v over T - 1; population: by sqrt(max(v, eps)), v over T.", NULL},
    {"eps", PARAM_NUMBER, "1e-8", 1e-24, 1, NULL, "Least variance, or what is added to it.", NULL},
    {"centre", PARAM_BOOL, "false", 0, 0, NULL,
     "What is whitened is the response's reward minus the mean of its group, instead of the tokens' returns.", NULL},
    {"on", PARAM_BOOL, "true", 0, 0, NULL, "false: they become the advantage as they are.", NULL},
    {0}};

/* What is whitened: x[t] of every token, use[t] of those that count. */
static void collect(const struct batch *b, int centre, double *x, unsigned char *use)
{
    for (int g = 0; g < b->groups; g++) {
        int first = b->group_first[g], n = b->group_first[g + 1] - first;
        double mean = stat_mean(b->reward + first, b->kept + first, n);
        for (int i = first; i < first + n; i++)
            for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
                use[t] = b->kept[i] && b->trained[t];
                x[t] = !use[t] ? 0 : centre ? b->reward[i] - mean : b->token_reward[t];
            }
    }
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    const struct value *p = c->p;
    int unbiased = p[P_VARIANCE].num == UNBIASED;
    if (rewards_finite(b, "whiten", e))
        return -1;
    double *x = mem_alloc((size_t)b->tokens, sizeof *x);
    unsigned char *use = mem_alloc((size_t)b->tokens, 1);
    collect(b, p[P_CENTRE].num != 0, x, use);
    double mean = stat_mean(x, use, b->tokens), deviation = stat_std(x, use, b->tokens, unbiased);
    double variance = deviation * deviation, eps = p[P_EPS].num;
    double scale = sqrt(unbiased ? variance + eps : fmax(variance, eps));
    if (p[P_ON].num == 0) {
        mean = 0;
        scale = 1;
    }
    for (int t = 0; t < b->tokens; t++)
        b->advantage[t] = use[t] ? (x[t] - mean) / scale : 0;
    mem_free(x);
    mem_free(use);
    return 0;
}

const struct stage advantage_whiten = {
    .name = "whiten",
    .kind = STAGE_ADVANTAGE,
    .sentence = "Returns whitened over all tokens of the step, whatever their prompt.",
    .citation = "REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization, 2025; "
                "centre: its variant with a baseline",
    .formula = "A_it = (G_it - mean(G)) / sqrt(var(G) + eps) over all tokens, G = token_reward, or reward_i - "
               "mean_g(reward) with centre",
    .params = params,
    .reads = FIELD_REWARD | FIELD_TOKEN_REWARD | FIELD_KEPT,
    .writes = FIELD_ADVANTAGE,
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "the responses are compared with those to all prompts",
    .run = run,
};
