/* A penalty by length in proportion to how often the prompt is solved: easy prompts have to be short, hard ones may be
 * long. Wrong answers pay too, so a short wrong one beats a long wrong one.
 */
#include "../stage.h"
#include <math.h>

enum { P_BETA, P_NORM };

static const struct param params[] = {
    {"beta", PARAM_NUMBER, "0.2", 0, 1e6, NULL, "Penalty of `norm` tokens where every answer is right.", NULL},
    {"norm", PARAM_NUMBER, "48", 1, 1e9, NULL, "Tokens that lengths are measured in: the longest response.", NULL},
    {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    for (int g = 0; g < b->groups; g++) {
        double kept = 0, right = 0;
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            kept += b->kept[i] != 0;
            right += b->kept[i] && b->strict[i] == 1;
        }
        double solved = kept > 0 ? fmax(right / kept, 1 / kept) : 0;
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            b->reward[i] =
                b->kept[i] ? (b->strict[i] == 1) - c->p[P_BETA].num / c->p[P_NORM].num * solved * trained_tokens(b, i)
                           : 0;
    }
    return 0;
}

const struct stage shape_alp = {
    .name = "alp",
    .kind = STAGE_SHAPE,
    .sentence = "The verdict, less a price for every token that rises with the share of right answers to the prompt.",
    .citation = "Just Enough Thinking: Efficient Reasoning with Adaptive Length Penalties (ALP), 2025",
    .formula = "reward_i = right_i - beta / norm * max(p_g, 1/G) * n_i, p_g = share of right answers in the group",
    .params = params,
    .reads = FIELD_OUTCOME | FIELD_KEPT,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
