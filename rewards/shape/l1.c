/* Meeting a length that the prompt asks for. A positive target is to be met: every token off it costs, right or wrong.
 * A negative one is a budget of so many tokens, and only a right answer earns anything.
 *
 * The target comes from the component `target`; without one it is the same for all prompts.
 */
#include "../stage.h"
#include <math.h>

enum { P_ALPHA, P_DELTA, P_COMBINE, P_MAX, P_TARGET };
enum { PRODUCT, SUM };
enum { PAPER, CODE };

static const struct param params[] = {
    {"alpha", PARAM_NUMBER, "0.05", 0, 1, NULL, "Price of a token off the target.", NULL},
    {"delta", PARAM_NUMBER, "0.5", 0, 1, NULL, "Budget: what a right answer of exactly that length earns.", NULL},
    {"combine_max", PARAM_CHOICE, "product", 0, 0, "product|sum",
     "Budget: the verdict times the length's part, or plus it.", NULL},
    {"max_form", PARAM_CHOICE, "paper", 0, 0, "paper|code",
     "Budget: clip(alpha (target - n) + delta, 0, 1), or half that slope without delta.", NULL},
    {"target", PARAM_NUMBER, "24", -1e9, 1e9, NULL, "Target where no component `target` says another.", NULL},
    {0}};

static double within(const struct value *p, double left)
{
    double x = p[P_ALPHA].num * left;
    if (p[P_MAX].num == PAPER)
        return fmin(fmax(x + p[P_DELTA].num, 0), 1);
    return fmax(0, (fmin(fmax(x, -1), 1) + 1) / 2);
}

static double reward(const struct value *p, int right, double target, int n)
{
    double left = fabs(target) - n;
    if (target >= 0)
        return right - p[P_ALPHA].num * fabs(left);
    return p[P_COMBINE].num == PRODUCT ? right * within(p, left) : right + within(p, left);
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    int at = batch_find_component(b, "target"), given = at >= 0 && b->component[at].written;
    for (int i = 0; i < b->samples; i++) {
        if (!b->kept[i]) {
            b->reward[i] = 0;
            continue;
        }
        double target = given ? b->component[at].value[i] : c->p[P_TARGET].num;
        int n = trained_tokens(b, i);
        b->reward[i] = reward(c->p, b->strict[i] == 1, target, n);
        metric_add(c->metrics, "l1.off_target", fabs(fabs(target) - n), 1);
    }
    return 0;
}

const struct stage shape_l1 = {
    .name = "l1",
    .kind = STAGE_SHAPE,
    .sentence = "The verdict, less a price for missing the asked length; or a right answer's share of a budget kept.",
    .citation = "L1: Controlling How Long A Reasoning Model Thinks With Reinforcement Learning (LCPO), 2025",
    .formula = "target > 0: reward_i = right_i - alpha |target - n_i|; target < 0: right_i clip(alpha (|target| - n_i) "
               "+ delta, 0, 1)",
    .params = params,
    .reads = FIELD_OUTCOME | FIELD_KEPT,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
