/* Several rewards, each compared within its group before they are added up, so that different vectors of rewards do not
 * fall onto the same advantage. The sum is then whitened over the step, which keeps its scale whatever the number of
 * rewards. The
 * reward that logs show is the weighted sum of the components as they are.
 *
 * A condition `a:b:t` counts component a only where b is at least t. A component that is not a number counts as 0.
 */
#include "../../model/base/error.h"
#include "../../model/base/mem.h"
#include "../named.h"
#include <math.h>
#include <string.h>

enum { P_EPS = NAMED_CONDITION + 1, P_DDOF, P_BATCH, P_BATCH_EPS, P_BATCH_DDOF };
enum { BATCH_NONE, BATCH_SEQUENCE, BATCH_TOKEN };

static const struct param params[] = {
    {"components", PARAM_TEXT, "outcome,format", 0, 0, NULL, "Components to compare, separated by commas.", NULL},
    {"weights", PARAM_TEXT, "", 0, 0, NULL, "Their weights, applied after the comparison; empty: 1 each.", NULL},
    NAMED_CONDITION_ROW,
    {"group_eps", PARAM_NUMBER, "1e-4", 1e-12, 1, NULL, "Added to the deviation within the group.", NULL},
    {"group_ddof", PARAM_INT, "1", 0, 1, NULL, "1: unbiased deviation within the group; 0: population.", NULL},
    {"batch", PARAM_CHOICE, "sequence", 0, 0, "none|sequence|token",
     "Whitening over the step: none, over samples, or over tokens (sqrt of the variance plus eps).", NULL},
    {"batch_eps", PARAM_NUMBER, "1e-4", 1e-24, 1, NULL, "Added there.", "batch!=none"},
    {"batch_ddof", PARAM_INT, "1", 0, 1, NULL, "1: unbiased there; 0: population.", "batch!=none"},
    {0}};

/* sum[i] += weight * z-score of the component within its group; 0 in a group of equal values, or of one. */
static void add_scores(const struct stage_call *c, const double *value, double weight, double *sum)
{
    const struct batch *b = c->b;
    for (int g = 0; g < b->groups; g++) {
        int first = b->group_first[g], n = b->group_first[g + 1] - first;
        const unsigned char *kept = b->kept + first;
        if (stat_count(kept, n) < 2 || stat_equal(value + first, kept, n))
            continue;
        double mean = stat_mean(value + first, kept, n);
        double scale = stat_std(value + first, kept, n, (int)c->p[P_DDOF].num) + c->p[P_EPS].num;
        for (int i = first; i < first + n; i++)
            sum[i] += kept[i - first] ? weight * (value[i] - mean) / scale : 0;
    }
}

static int sum_scores(const struct stage_call *c, double *sum, struct error *e)
{
    struct batch *b = c->b;
    const char *names = c->p[NAMED_COMPONENTS].text, *weights = c->p[NAMED_WEIGHTS].text;
    double weight, *value = mem_alloc((size_t)b->samples, sizeof *value);
    int status = 0;
    for (char name[64]; !status && named_next(&names, &weights, name, &weight);) {
        status = named_values(c, name, value, e);
        for (int i = 0; i < b->samples && !status; i++) {
            value[i] = isnan(value[i]) ? 0 : value[i];
            if (!isfinite(weight * value[i]))
                status = fail(e, "gdpo: component '%s' of sample %d is not a finite number", name, i);
            else
                b->reward[i] += weight * value[i];
        }
        if (!status)
            add_scores(c, value, weight, sum);
    }
    mem_free(value);
    return status;
}

/* Mean and scale of the whitening over the step. */
static void whitening(const struct stage_call *c, const double *sum, double *mean, double *scale)
{
    const struct batch *b = c->b;
    int ddof = (int)c->p[P_BATCH_DDOF].num;
    double eps = c->p[P_BATCH_EPS].num;
    *mean = 0;
    *scale = 1;
    if (c->p[P_BATCH].num == BATCH_SEQUENCE) {
        *mean = stat_mean(sum, b->kept, b->samples);
        *scale = stat_std(sum, b->kept, b->samples, ddof) + eps;
    }
    if (c->p[P_BATCH].num != BATCH_TOKEN)
        return;
    double *token = mem_alloc((size_t)b->tokens, sizeof *token);
    unsigned char *use = mem_alloc((size_t)b->tokens, 1);
    for (int i = 0; i < b->samples; i++)
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
            token[t] = sum[i];
            use[t] = b->kept[i] && b->trained[t];
        }
    double deviation = stat_std(token, use, b->tokens, ddof);
    *mean = stat_mean(token, use, b->tokens);
    *scale = sqrt(deviation * deviation + eps);
    mem_free(token);
    mem_free(use);
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    double *sum = batch_number(b, "gdpo", LEVEL_SEQUENCE)->value, mean, scale;
    memset(sum, 0, (size_t)b->samples * sizeof *sum);
    memset(b->reward, 0, (size_t)b->samples * sizeof *b->reward);
    if (sum_scores(c, sum, e))
        return -1;
    whitening(c, sum, &mean, &scale);
    for (int i = 0; i < b->samples; i++)
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            b->advantage[t] = b->kept[i] && b->trained[t] ? (sum[i] - mean) / scale : 0;
    return 0;
}

const struct stage advantage_gdpo = {
    .name = "gdpo",
    .kind = STAGE_ADVANTAGE,
    .sentence = "Every reward compared within its group, the weighted sum whitened over the step.",
    .citation = "GDPO: Group reward-Decoupled Normalization Policy Optimization, 2026",
    .formula =
        "a_i = sum_k w_k (r_ki - mean_g r_k) / (std_g r_k + group_eps); A = (a - mean a) / (std a + batch_eps) over "
        "the step",
    .params = params,
    .components = {"$components", "$condition"},
    .reads = FIELD_COMPONENTS | FIELD_REWARD | FIELD_KEPT, /* the reward is replaced, for the logs */
    .writes = FIELD_ADVANTAGE,
    .zero_on_equal = 1,
    .permutable = 1,
    .check = named_check,
    .run = run,
};
