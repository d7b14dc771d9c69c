/* What a right answer leaves of a budget of tokens: the shorter, the more. Wrong answers get nothing, whatever their
 * length. On its own it is a reward that pays for brevity; DRPO takes it for the weights of right answers among
 * themselves.
 */
#include "../stage.h"

enum { P_BUDGET };

static const struct param params[] = {
    {"budget", PARAM_NUMBER, "48", 1, 1e9, NULL, "Tokens of the budget: one constant for the whole run.", NULL}, {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    for (int i = 0; i < b->samples; i++) {
        double left = 1 - trained_tokens(b, i) / c->p[P_BUDGET].num;
        b->reward[i] = b->kept[i] && b->strict[i] == 1 ? left : 0;
    }
    return 0;
}

const struct stage shape_efficiency = {
    .name = "efficiency",
    .kind = STAGE_SHAPE,
    .sentence = "The share of a token budget that a right answer leaves unused; 0 for other answers.",
    .citation = "DRPO: Efficient Reasoning via Decoupled Reward Policy Optimization, 2025, length reward",
    .formula = "reward_i = 1 - n_i / budget if right, else 0",
    .params = params,
    .reads = FIELD_OUTCOME,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
