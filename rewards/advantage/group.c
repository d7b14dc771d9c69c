/* Group-relative advantage: how much better than the other answers to the same prompt. With std = false this is the
 * unbiased form of Dr. GRPO. Samples that are not kept take no part in means, deviations or counts and get 0.
 *
 * A group whose rewards are all equal gets exactly 0, whatever rounding or eps would say.
 */
#include "../../model/base/error.h"
#include "../../model/base/mem.h"
#include "../stage.h"
#include <string.h>

enum { P_STD, P_DDOF, P_EPS, P_SCALE, P_SINGLETON, P_MODE };
enum { MODE_OUTCOME, MODE_PROCESS };
enum { SCALE_GROUP, SCALE_BATCH };
enum { SINGLETON_ZERO, SINGLETON_RAW, SINGLETON_DROP };

static const struct param params[] = {
    {"std", PARAM_BOOL, "true", 0, 0, NULL, "Divide by the standard deviation of the rewards.", NULL},
    {"ddof", PARAM_INT, "1", 0, 1, NULL, "1: unbiased deviation (divides by n - 1); 0: population.", "std=true"},
    {"eps", PARAM_NUMBER, "1e-6", 1e-12, 1, NULL, "Added to the deviation.", "std=true"},
    {"scale", PARAM_CHOICE, "group", 0, 0, "group|batch", "Whose deviation: the group's, or all samples of the step.",
     "std=true"},
    {"singleton", PARAM_CHOICE, "zero", 0, 0, "zero|raw|drop",
     "A group of one kept sample: advantage 0; its reward with mean 0 and deviation 1; or taken out of the step.",
     NULL},
    {"mode", PARAM_CHOICE, "outcome", 0, 0, "outcome|process",
     "process: the rewards of all steps of the group are what is compared, and a token gets the sum over the steps "
     "that "
     "end at or after it; needs the component `process`.",
     NULL},
    {0}};

/* Advantage of one sample; scale 0 stands for exactly 0 (a quotient could come out as minus zero). */
static void set(struct batch *b, int sample, double centre, double scale)
{
    for (int t = b->sample_first[sample]; t < b->sample_first[sample + 1]; t++)
        b->advantage[t] = b->kept[sample] && b->trained[t] && scale > 0 ? (b->token_reward[t] - centre) / scale : 0;
}

/* ---- process supervision: steps are compared instead of samples */

/* One flag a step: its sample is kept. Steps of a group are consecutive, as its samples are. */
static void mark_steps(const struct batch *b, int g, unsigned char *kept)
{
    int base = b->step_first[b->group_first[g]];
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
        memset(kept + b->step_first[i] - base, b->kept[i], (size_t)(b->step_first[i + 1] - b->step_first[i]));
}

/* A token's advantage: the sum of the z-scores of the steps that end after it. */
static void set_from_steps(struct batch *b, int i, const double *step, double centre, double scale)
{
    double rest = 0;
    int k = b->step_first[i + 1] - 1;
    for (int t = b->sample_first[i + 1] - 1; t >= b->sample_first[i]; t--) {
        for (; k >= b->step_first[i] && b->step_end[k] > t - b->sample_first[i]; k--)
            rest += scale > 0 ? (step[k] - centre) / scale : 0;
        b->advantage[t] = b->kept[i] && b->trained[t] ? rest : 0;
    }
}

static void group_steps(struct batch *b, int g, const double *step, const struct value *p, double batch_std)
{
    int first = b->step_first[b->group_first[g]], n = b->step_first[b->group_first[g + 1]] - first;
    unsigned char *kept = mem_alloc((size_t)n, 1);
    mark_steps(b, g, kept);
    int single = stat_count(kept, n) == 1;
    double centre = single ? 0 : stat_mean(step + first, kept, n);
    double deviation = p[P_SCALE].num == SCALE_BATCH ? batch_std
                       : single                      ? 1
                                                     : stat_std(step + first, kept, n, (int)p[P_DDOF].num);
    double scale = p[P_STD].num != 0 ? deviation + p[P_EPS].num : 1;
    if (single ? p[P_SINGLETON].num != SINGLETON_RAW : stat_equal(step + first, kept, n))
        scale = 0;
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
        set_from_steps(b, i, step, centre, scale);
    mem_free(kept);
}

static int run_process(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    int at = batch_find_component(b, "process");
    if (at < 0 || !b->component[at].written || b->component[at].level != LEVEL_STEP)
        return fail(e, "group: mode = process needs rewards of steps; add the score stage `process`");
    const double *step = b->component[at].value;
    unsigned char *kept = mem_alloc((size_t)b->steps, 1);
    for (int i = 0; i < b->samples; i++)
        memset(kept + b->step_first[i], b->kept[i], (size_t)(b->step_first[i + 1] - b->step_first[i]));
    double batch_std = stat_std(step, kept, b->steps, (int)c->p[P_DDOF].num);
    mem_free(kept);
    for (int g = 0; g < b->groups; g++)
        group_steps(b, g, step, c->p, batch_std);
    return 0;
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    const struct value *p = c->p;
    int use_std = p[P_STD].num != 0, ddof = (int)p[P_DDOF].num, by_batch = use_std && p[P_SCALE].num == SCALE_BATCH;
    double eps = p[P_EPS].num;
    if (rewards_finite(b, "group", e))
        return -1;
    if (p[P_SINGLETON].num == SINGLETON_DROP)
        drop_lone_samples(b); /* before any statistics, so that a dropped sample is in none */
    if (p[P_MODE].num == MODE_PROCESS)
        return run_process(c, e);
    double batch_std = stat_std(b->reward, b->kept, b->samples, ddof);
    for (int g = 0; g < b->groups; g++) {
        int first = b->group_first[g], n = b->group_first[g + 1] - first, single = kept_in_group(b, g) == 1;
        const double *reward = b->reward + first;
        const unsigned char *kept = b->kept + first;
        double centre = single ? 0 : stat_mean(reward, kept, n);
        double deviation = by_batch ? batch_std : single ? 1 : stat_std(reward, kept, n, ddof);
        double scale = use_std ? deviation + eps : 1;
        if (single ? p[P_SINGLETON].num != SINGLETON_RAW : stat_equal(reward, kept, n))
            scale = 0;
        for (int i = first; i < first + n; i++)
            set(b, i, centre, scale);
    }
    return 0;
}

const struct stage advantage_group = {
    .name = "group",
    .kind = STAGE_ADVANTAGE,
    .sentence = "The reward minus the mean of its group, over the standard deviation.",
    .citation = "DeepSeekMath: Group Relative Policy Optimization, 2024, section 4.1; std = false: Understanding "
                "R1-Zero-Like Training (Dr. GRPO), 2025",
    .formula = "A_it = (token_reward_it - mean_g(reward)) / (std_g(reward) + eps); 0 when all rewards of g are equal. "
               "mode = process: A_it = sum over steps j ending after t of (r_ij - mean_g(r)) / (std_g(r) + eps)",
    .params = params,
    .components = {"process if mode=process"},
    .reads = FIELD_REWARD | FIELD_TOKEN_REWARD | FIELD_KEPT,
    .writes = FIELD_ADVANTAGE | FIELD_KEPT,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
