/* Leave one out: the baseline of a response is the mean reward of the other responses to its prompt, which does not
 * depend on it, so the gradient stays unbiased. What a credit stage put on a token beyond the response's reward is
 * added as it is: it has no baseline.
 *
 * The part that compares rewards is exactly 0 in a group whose rewards are all equal.
 */
#include "../../model/base/mem.h"
#include "../stage.h"

enum { P_NORMALIZE, P_EPS, P_SINGLETON };
enum { SINGLETON_ZERO, SINGLETON_RAW, SINGLETON_DROP };

static const struct param params[] = {
    {"normalize", PARAM_BOOL, "false", 0, 0, NULL, "Whiten the advantages of all responses of the step.", NULL},
    {"eps", PARAM_NUMBER, "1e-4", 1e-12, 1, NULL, "Added to their unbiased deviation.", "normalize=true"},
    {"singleton", PARAM_CHOICE, "zero", 0, 0, "zero|raw|drop",
     "A group of one kept sample: advantage 0; its reward; or taken out of the step.", NULL},
    {0}};

/* A = n / (n - 1) (R - mean R) for the samples of one group; returns the reward of a lone one that keeps it, else 0. */
static double leave_one_out(const struct batch *b, int g, int singleton, double *advantage)
{
    int first = b->group_first[g], size = b->group_first[g + 1] - first, n = kept_in_group(b, g);
    const double *reward = b->reward + first;
    const unsigned char *kept = b->kept + first;
    int equal = stat_equal(reward, kept, size);
    double mean = stat_mean(reward, kept, size), raw = n == 1 && singleton == SINGLETON_RAW ? mean : 0;
    for (int i = 0; i < size; i++)
        advantage[first + i] = !kept[i] ? 0 : n == 1 ? raw : equal ? 0 : n / (n - 1.0) * (reward[i] - mean);
    return raw;
}

/* A token of a lone sample without an advantage has none either. */
static void set(struct batch *b, int g, int i, const struct value *p, double advantage, double mean, double scale)
{
    int dead = kept_in_group(b, g) == 1 && p[P_SINGLETON].num == SINGLETON_ZERO;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
        b->advantage[t] =
            b->kept[i] && b->trained[t] && !dead ? (b->token_reward[t] - b->reward[i] + (advantage - mean)) / scale : 0;
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    const struct value *p = c->p;
    double sum = 0, mean = 0, scale = 1;
    if (rewards_finite(b, "loo", e))
        return -1;
    if (p[P_SINGLETON].num == SINGLETON_DROP)
        drop_lone_samples(b);
    double *advantage = mem_alloc((size_t)b->samples, sizeof *advantage);
    for (int g = 0; g < b->groups; g++)
        sum += leave_one_out(b, g, (int)p[P_SINGLETON].num, advantage);
    if (p[P_NORMALIZE].num != 0) { /* those of a group of several add up to 0: only lone samples move the mean */
        mean = sum != 0 ? sum / stat_count(b->kept, b->samples) : 0;
        scale = stat_std(advantage, b->kept, b->samples, 1) + p[P_EPS].num;
    }
    for (int g = 0; g < b->groups; g++)
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            set(b, g, i, p, advantage[i], mean, scale);
    mem_free(advantage);
    return 0;
}

const struct stage advantage_loo = {
    .name = "loo",
    .kind = STAGE_ADVANTAGE,
    .sentence = "The reward minus the mean reward of the other responses to the same prompt.",
    .citation = "Kool et al.: Buy 4 REINFORCE Samples, Get a Baseline for Free!, 2019; Back to Basics: Revisiting "
                "REINFORCE Style "
                "Optimization (RLOO), 2024",
    .formula = "A_it = n / (n - 1) * (reward_i - mean_g(reward)) + (token_reward_it - reward_i); normalize: (A - mean) "
               "/ (std + eps) over the responses of the step",
    .params = params,
    .reads = FIELD_REWARD | FIELD_TOKEN_REWARD | FIELD_KEPT,
    .writes = FIELD_ADVANTAGE | FIELD_KEPT,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
