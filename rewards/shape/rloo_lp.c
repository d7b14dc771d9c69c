/* Each right answer loses a share that grows with its length among the right answers to the same prompt: a z-score
 * squashed to (0, 1). Wrong answers get 0 whatever their length, so the loss never reaches alpha.
 *
 * `top` (GRPO-lambda) does this only in the groups of the step that are solved best, and leaves the others their
 * outcome: a length penalty from the start makes training collapse.
 */
#include "../stage.h"
#include <math.h>
#include "../../model/base/mem.h"

enum { P_ALPHA, P_EPS, P_DDOF, P_FLOOR, P_TOP, P_MIN_RATIO, P_ENDED };

static const struct param params[] = {
    {"alpha", PARAM_NUMBER, "0.1", 0, 1, NULL, "Most that length costs.", NULL},
    {"eps", PARAM_NUMBER, "1e-7", 0, 1, NULL, "Added to the deviation of the lengths.", NULL},
    {"ddof", PARAM_INT, "0", 0, 1, NULL, "0: population deviation of the lengths; 1: unbiased.", NULL},
    {"floor", PARAM_NUMBER, "0", 0, 1e6, NULL, "Least deviation.", NULL},
    {"top", PARAM_NUMBER, "1", 0, 1, NULL, "Share of the step's groups, best solved first, where length costs.", NULL},
    {"min_ratio", PARAM_NUMBER, "off", 0, 1, NULL, "And only where at least this share of the group is right.", NULL},
    {"ended", PARAM_BOOL, "true", 0, 0, NULL, "A response cut off at the budget counts as wrong.", NULL},
    {0}};

static int is_right(const struct stage_call *c, int i)
{
    const struct batch *b = c->b;
    return b->kept[i] && b->strict[i] == 1 && !(b->truncated[i] && c->p[P_ENDED].num != 0);
}

/* Share of right answers among the kept ones of a group. */
static double right_ratio(const struct stage_call *c, int g)
{
    const struct batch *b = c->b;
    double right = 0, kept = 0;
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
        kept += b->kept[i] != 0;
        right += is_right(c, i);
    }
    return kept > 0 ? right / kept : 0;
}

/* Among the k groups with the highest ratio; the earlier of equal ones first. */
static int is_selected(const double *ratio, int groups, int g, int k)
{
    int before = 0;
    for (int h = 0; h < groups; h++)
        before += ratio[h] > ratio[g] || (ratio[h] == ratio[g] && h < g);
    return before < k;
}

/* Mean and deviation of the lengths of a group's right answers; returns their number. */
static int right_lengths(const struct stage_call *c, int g, double *mean, double *deviation)
{
    const struct batch *b = c->b;
    int first = b->group_first[g], n = b->group_first[g + 1] - first;
    double *length = mem_alloc((size_t)n, sizeof *length);
    unsigned char *right = mem_alloc((size_t)n, 1);
    for (int i = 0; i < n; i++) {
        right[i] = is_right(c, first + i) != 0;
        length[i] = trained_tokens(b, first + i);
    }
    *mean = stat_mean(length, right, n);
    *deviation = fmax(stat_std(length, right, n, (int)c->p[P_DDOF].num), c->p[P_FLOOR].num) + c->p[P_EPS].num;
    int count = stat_count(right, n);
    mem_free(length);
    mem_free(right);
    return count;
}

static void reward_group(struct stage_call *c, int g, int selected)
{
    struct batch *b = c->b;
    double mean, deviation;
    right_lengths(c, g, &mean, &deviation);
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
        double above = trained_tokens(b, i) - mean, z = above == 0 ? 0 : above / deviation;
        double cost = selected ? c->p[P_ALPHA].num / (1 + exp(-z)) : 0;
        b->reward[i] = is_right(c, i) ? 1 - cost : 0;
    }
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double *ratio = mem_alloc((size_t)b->groups, sizeof *ratio);
    double *mark = batch_number(b, "length_counts", LEVEL_GROUP)->value;
    int k = (int)fmax(1, ceil(c->p[P_TOP].num * b->groups - 1e-9));
    for (int g = 0; g < b->groups; g++)
        ratio[g] = right_ratio(c, g);
    for (int g = 0; g < b->groups; g++) {
        int enough = c->p[P_MIN_RATIO].off || ratio[g] >= c->p[P_MIN_RATIO].num;
        mark[g] = is_selected(ratio, b->groups, g, k) && enough;
        reward_group(c, g, mark[g] != 0);
        metric_add(c->metrics, "rloo_lp.groups", mark[g], 1);
    }
    mem_free(ratio);
    return 0;
}

const struct stage shape_rloo_lp = {
    .name = "rloo_lp",
    .kind = STAGE_SHAPE,
    .sentence = "1 for a right answer, less up to alpha for being long among the right answers to its prompt.",
    .citation =
        "Training Language Models to Reason Efficiently, 2025; top: Stable Reinforcement Learning for Efficient "
        "Reasoning (GRPO-lambda), 2025",
    .formula = "reward_i = right_i (1 - alpha sigmoid((n_i - mean_right n) / (std_right n + eps))); plain right_i in "
               "groups below the top share by ratio of right answers",
    .params = params,
    .reads = FIELD_OUTCOME | FIELD_KEPT,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
