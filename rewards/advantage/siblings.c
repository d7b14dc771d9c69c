/* The baseline of a token is the mean return of all samples of the group that share everything written before it: the
 * siblings of a tree whose branches are the samples' tokens. It estimates the value of exactly that state, where the
 * mean of the group mixes answers that have long gone different ways. It says something only while samples agree: a
 * sample that is alone with its beginning gets 0, so this suits short answers and large groups.
 *
 * Cost: the square of the group's size times the length.
 */
#include "../../model/base/error.h"
#include "../stage.h"
#include <math.h>

enum { P_STD, P_EPS };

static const struct param params[] = {
    {"std", PARAM_BOOL, "false", 0, 0, NULL, "Divide by the standard deviation of the rewards of the group.", NULL},
    {"eps", PARAM_NUMBER, "1e-6", 1e-12, 1, NULL, "Added to the deviation.", "std=true"},
    {0}};

/* Tokens that two samples have in common at their beginning. */
static int common(const struct batch *b, int i, int j)
{
    int n = b->sample_first[i + 1] - b->sample_first[i], m = b->sample_first[j + 1] - b->sample_first[j], k = 0;
    while (k < n && k < m && b->id[b->sample_first[i] + k] == b->id[b->sample_first[j] + k])
        k++;
    return k;
}

static int check_finite(const struct batch *b, struct error *e)
{
    for (int i = 0; i < b->samples; i++)
        for (int t = b->sample_first[i]; b->kept[i] && t < b->sample_first[i + 1]; t++)
            if (b->trained[t] && !isfinite(b->token_reward[t]))
                return fail(e, "siblings: the reward on token %d of sample %d is not a finite number",
                            t - b->sample_first[i], i);
    return 0;
}

/* Advantages of sample i: differences to the siblings' returns are summed, so equal ones give exactly 0. */
static void set(struct batch *b, int g, int i, double scale)
{
    int first = b->sample_first[i], n = b->sample_first[i + 1] - first;
    int g0 = b->group_first[g], members = b->group_first[g + 1] - g0, comparable[members];
    for (int j = 0; j < members; j++) { /* tokens: those shared, and the first that is not, drawn in the same state */
        int length = b->sample_first[g0 + j + 1] - b->sample_first[g0 + j], shared = common(b, i, g0 + j);
        comparable[j] = !b->kept[g0 + j] || g0 + j == i ? 0 : shared < length ? shared + 1 : length;
    }
    for (int k = 0; k < n; k++) {
        double sum = 0;
        int count = 1;
        for (int j = 0; j < members; j++) {
            int other = b->sample_first[g0 + j] + k;
            if (k >= comparable[j] || !b->trained[first + k] || !b->trained[other])
                continue;
            sum += b->token_reward[first + k] - b->token_reward[other];
            count++;
        }
        b->advantage[first + k] = b->kept[i] && scale > 0 ? sum / (count * scale) : 0;
    }
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    if (check_finite(b, e))
        return -1;
    for (int g = 0; g < b->groups; g++) {
        int first = b->group_first[g], n = b->group_first[g + 1] - first;
        double scale = c->p[P_STD].num != 0 ? stat_std(b->reward + first, b->kept + first, n, 1) + c->p[P_EPS].num : 1;
        if (stat_equal(b->reward + first, b->kept + first, n))
            scale = 0;
        for (int i = first; i < first + n; i++)
            set(b, g, i, scale);
    }
    return 0;
}

const struct stage advantage_siblings = {
    .name = "siblings",
    .kind = STAGE_ADVANTAGE,
    .sentence = "A token's return minus the mean of those samples of its group that agree in everything before it.",
    .citation = "our own; the value of a state from samples that pass through it, as in VinePPO (2024), but without "
                "drawing more of them",
    .formula =
        "A_it = G_it - mean of G_jt over all j of the group with the same tokens before t (i included); 0 when all "
        "rewards of the group are equal",
    .params = params,
    .reads = FIELD_REWARD | FIELD_TOKEN_REWARD | FIELD_KEPT,
    .writes = FIELD_ADVANTAGE,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
