/* Advantages scaled by how hard a sample is: data hardness, which is how unlike the demonstration it is, and model
 * responsiveness, which is how the samples' distance in reward from the demonstration lies without outliers. Both are
 * ratios of logistic functions, so the scale stays between 0.47 and 2.14 for similarities within [0, 1].
 *
 * Similarity is the number `similarity` where one is given, else the share of accepted steps (score `process`; 0
 * without steps); the gap in reward is the number `gap`, else `demo` minus the reward.
 */
#include "../../model/base/mem.h"
#include "../stage.h"
#include <math.h>

enum { P_TAU, P_INVERT, P_DEMO };

static const struct param params[] = {
    {"tau", PARAM_NUMBER, "1", 0, INFINITY, NULL, "Squared distance from the mean gap up to which a gap counts.", NULL},
    {"invert", PARAM_BOOL, "false", 0, 0, NULL, "Divide by the scale instead: what is like the demonstration counts.",
     NULL},
    {"demo", PARAM_NUMBER, "1", -1e6, 1e6, NULL, "Reward of the demonstration, where no gap is given.", NULL},
    {0}};

/* Held at -100, so that a ratio of two is a number. */
static double held_logistic(double x)
{
    return logistic(fmax(x, -100));
}

static double accepted_share(const struct batch *b, int i, const double *process)
{
    int first = b->step_first[i], n = b->step_first[i + 1] - first;
    return process && n > 0 ? stat_mean(process + first, NULL, n) : 0;
}

/* delta and gap of the samples of the whole batch. */
static void measure(const struct stage_call *c, double *delta, double *gap)
{
    const struct batch *b = c->b;
    const double *similarity = batch_given(b, "similarity", LEVEL_SEQUENCE);
    const double *given = batch_given(b, "gap", LEVEL_SEQUENCE), *process = batch_given(b, "process", LEVEL_STEP);
    for (int i = 0; i < b->samples; i++) {
        int kept = b->kept[i];
        delta[i] = !kept ? 0 : 1 - (similarity ? similarity[i] : accepted_share(b, i, process));
        gap[i] = !kept ? 0 : given ? given[i] : c->p[P_DEMO].num - b->reward[i];
    }
}

/* Of a group of n: the mean gap without outliers against the whole mean; 1 when nothing is left. */
static double responsiveness(const double *gap, const unsigned char *kept, int n, double tau)
{
    unsigned char *near = mem_alloc((size_t)n, 1);
    double mean = stat_mean(gap, kept, n);
    for (int i = 0; i < n; i++)
        near[i] = kept[i] && (gap[i] - mean) * (gap[i] - mean) <= tau;
    double scale = stat_count(near, n) ? held_logistic(stat_mean(gap, near, n)) / held_logistic(mean) : 1;
    mem_free(near);
    return scale;
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    double *delta = batch_number(b, "alpha_d", LEVEL_SEQUENCE)->value, power = c->p[P_INVERT].num != 0 ? -1 : 1;
    double *group = batch_number(b, "alpha_m", LEVEL_GROUP)->value, sum = 0;
    double *gap = mem_alloc((size_t)b->samples, sizeof *gap);
    if (rewards_finite(b, "difficulty", e)) {
        mem_free(gap);
        return -1;
    }
    measure(c, delta, gap);
    for (int g = 0; g < b->groups; g++) {
        int first = b->group_first[g], n = b->group_first[g + 1] - first;
        double middle = held_logistic(stat_mean(delta + first, b->kept + first, n));
        group[g] = pow(responsiveness(gap + first, b->kept + first, n, c->p[P_TAU].num), power);
        for (int i = first; i < first + n; i++) {
            delta[i] = b->kept[i] ? pow(held_logistic(delta[i]) / middle, power) : 0;
            for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
                b->advantage[t] = b->kept[i] && b->trained[t] ? b->advantage[t] * delta[i] * group[g] : 0;
            sum += b->kept[i] ? fabs(delta[i] * group[g] - 1) : 0;
        }
    }
    metric_add(c->metrics, "difficulty.change", sum, stat_count(b->kept, b->samples));
    mem_free(gap);
    return 0;
}

const struct stage advantage_difficulty = {
    .name = "difficulty",
    .kind = STAGE_ADVANTAGE,
    .sentence = "Advantages scaled by how unlike the demonstration a sample is and how far the group is from it.",
    .citation = "DR-IRL: Inverse Reinforcement Learning with Dynamic Reward Scaling for LLM Alignment (GRPO-S), 2025",
    .formula =
        "A_it *= alpha_D alpha_M, alpha_D = s(1 - W_i) / s(mean_g (1 - W)), alpha_M = s(mean of gaps with (gap - "
        "mean)^2 <= tau) / s(mean gap), s = logistic, W = similarity",
    .params = params,
    .reads = FIELD_ADVANTAGE | FIELD_REWARD | FIELD_KEPT,
    .writes = FIELD_ADVANTAGE,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
