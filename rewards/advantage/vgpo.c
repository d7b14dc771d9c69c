/* Value-anchored advantages of steps: what is earned from a step onwards, compared with the other samples at the same
 * step, plus a share of it as it is, so that a group without diversity still learns; each step weighted by its value
 * against the mean of its sample's steps. The rewards of steps are what an earlier stage (shape `dense`) has put on
 * their tokens; tokens behind the last step belong to none and get 0.
 *
 * In a group whose samples are all alike at a step, the comparison is exactly 0 there. Values are meant to be 0 or
 * more: of negative ones the weight turns the sign.
 */
#include "../../model/base/error.h"
#include "../../model/base/mem.h"
#include "../stage.h"
#include <math.h>

enum { P_GAMMA, P_K, P_USE_OMEGA, P_OMEGA_EPS, P_EPS, P_DDOF };

static const struct param params[] = {
    {"gamma", PARAM_NUMBER, "1", 0, 1, NULL, "What a reward counts one step earlier.", NULL},
    {"k", PARAM_NUMBER, "0.5", 0, 1e6, NULL, "Weight of the value as it is: the anchor.", NULL},
    {"use_omega", PARAM_BOOL, "true", 0, 0, NULL, "Weigh a step by its value against the sample's mean.", NULL},
    {"omega_eps", PARAM_NUMBER, "1e-6", 0, 1e6, NULL, "Mean up to which all steps weigh 1.", "use_omega=true"},
    {"eps", PARAM_NUMBER, "1e-6", 1e-12, 1, NULL, "Added to the deviation.", NULL},
    {"ddof", PARAM_INT, "1", 0, 1, NULL, "1: unbiased deviation (divides by n - 1); 0: population.", NULL},
    {0}};

static int steps_of(const struct batch *b, int i)
{
    return b->step_first[i + 1] - b->step_first[i];
}

/* q of every step: what is earned from it onwards; mean of a sample's. */
static void set_values(const struct stage_call *c, const double *process, double *q, double *mean)
{
    const struct batch *b = c->b;
    for (int i = 0; i < b->samples; i++) {
        double rest = 0, sum = 0;
        int n = steps_of(b, i);
        for (int k = n - 1; k >= 0; k--) {
            rest = (b->kept[i] ? process[b->step_first[i] + k] : 0) + c->p[P_GAMMA].num * rest;
            q[b->step_first[i] + k] = rest;
            sum += rest;
        }
        mean[i] = n > 0 ? sum / n : 0;
    }
}

static double weight_of_step(const struct value *p, double q, double mean)
{
    return p[P_USE_OMEGA].num != 0 && fabs(mean) > p[P_OMEGA_EPS].num ? q / mean : 1;
}

static void spread(struct batch *b, int i, int k, double advantage)
{
    int at = b->step_first[i] + k, begin = k ? b->step_end[at - 1] : 0;
    for (int t = b->sample_first[i] + begin; t < b->sample_first[i] + b->step_end[at]; t++)
        b->advantage[t] = b->trained[t] ? advantage : 0;
}

/* Step k of the samples of a group that have one; x and has: room for a number of each sample. */
static void compare(const struct stage_call *c, int g, int k, const double *q, const double *mean, double *x,
                    unsigned char *has)
{
    struct batch *b = c->b;
    int first = b->group_first[g], n = b->group_first[g + 1] - first;
    for (int i = 0; i < n; i++) {
        has[i] = b->kept[first + i] && k < steps_of(b, first + i);
        x[i] = has[i] ? q[b->step_first[first + i] + k] : 0;
    }
    double centre = stat_mean(x, has, n), scale = stat_std(x, has, n, (int)c->p[P_DDOF].num) + c->p[P_EPS].num;
    for (int i = 0; i < n; i++)
        if (has[i]) {
            double relative = stat_equal(x, has, n) ? 0 : (x[i] - centre) / scale;
            double advantage = relative + c->p[P_K].num * x[i];
            spread(b, first + i, k, weight_of_step(c->p, x[i], mean[first + i]) * advantage);
        }
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    const double *process = batch_given(b, "process", LEVEL_STEP);
    if (!process && b->samples > 0)
        return fail(e, "vgpo: there are no rewards of steps; add the score stage `process`");
    for (int i = 0; i < b->samples; i++)
        for (int k = b->step_first[i]; b->kept[i] && k < b->step_first[i + 1]; k++)
            if (!isfinite(process[k]))
                return fail(e, "vgpo: the reward of step %d of sample %d is not a finite number", k - b->step_first[i],
                            i);
    double *q = batch_number(b, "vgpo", LEVEL_STEP)->value;
    double *mean = mem_alloc((size_t)b->samples, sizeof *mean), *x = mem_alloc((size_t)b->samples, sizeof *x);
    unsigned char *has = mem_alloc((size_t)b->samples, 1);
    set_values(c, process, q, mean);
    for (int t = 0; t < b->tokens; t++)
        b->advantage[t] = 0;
    for (int g = 0; g < b->groups; g++) {
        int longest = 0;
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            longest = steps_of(b, i) > longest ? steps_of(b, i) : longest;
        for (int k = 0; k < longest; k++)
            compare(c, g, k, q, mean, x, has);
    }
    mem_free(mean);
    mem_free(x);
    mem_free(has);
    return 0;
}

const struct stage advantage_vgpo = {
    .name = "vgpo",
    .kind = STAGE_ADVANTAGE,
    .sentence = "The value of a step, compared with the group's at the same step and anchored on itself.",
    .citation = "VGPO: Value-Anchored Group Policy Optimization, 2025 (for images; the form for texts is our reading)",
    .formula =
        "Q_ij = sum over m >= j of gamma^(m-j) r_im, omega_ij = Q_ij / mean_j Q_i; A_ij = omega_ij ((Q_ij - mean_g "
        "Q_j) / (std_g Q_j + eps) + k Q_ij) on the tokens of step j",
    .params = params,
    .components = {"process"},
    .reads = FIELD_COMPONENTS | FIELD_REWARD | FIELD_STEPS | FIELD_KEPT,
    .writes = FIELD_ADVANTAGE,
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "the anchor keeps a group alive whose samples are all alike",
    .run = run,
};
