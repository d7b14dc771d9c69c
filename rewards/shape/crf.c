/* Conciseness multiplies the outcome: wrong answers stay at 0, and brevity can never outrank being right. Its share is
 * annealed over the phase and grows with the number of right answers to the prompt.
 *
 * The component `concise` holds how concise a response is, 0.1 to 1 (values outside are clipped).
 */
#include "../../model/base/error.h"
#include "../stage.h"
#include <math.h>

enum { P_ALPHA, P_S, P_ANNEAL, P_DIFFICULTY };
enum { CONSTANT, LINEAR };
enum { EXP_RATIO, NONE };

static const struct param params[] = {
    {"alpha", PARAM_NUMBER, "0.2", 0, 1e6, NULL, "Weight of conciseness.", NULL},
    {"s", PARAM_NUMBER, "1", 0, 1e6, NULL, "Annealing coefficient at the start.", NULL},
    {"anneal", PARAM_CHOICE, "linear", 0, 0, "constant|linear", "s stays, or falls to 0 over the phase.", NULL},
    {"difficulty", PARAM_CHOICE, "exp_ratio", 0, 0, "exp_ratio|none",
     "d_q: exp of the share of right answers in the group, or 0.", NULL},
    {0}};

static double coefficient(const struct stage_call *c)
{
    double left = 1 - (double)c->phase_step / (double)(c->phase_steps > 0 ? c->phase_steps : 1);
    return c->p[P_S].num * (c->p[P_ANNEAL].num == LINEAR ? fmax(left, 0) : 1);
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    int at = batch_find_component(b, "concise");
    if (at < 0 || !b->component[at].written || b->component[at].level != LEVEL_SEQUENCE)
        return fail(e, "crf: no score stage wrote the component `concise`");
    const double *concise = b->component[at].value;
    double s = coefficient(c);
    metric_add(c->metrics, "crf.s", s, 1);
    for (int g = 0; g < b->groups; g++) {
        double right = 0, kept = 0;
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            kept += b->kept[i] != 0;
            right += b->kept[i] && b->strict[i] == 1;
        }
        double d = c->p[P_DIFFICULTY].num == EXP_RATIO && kept > 0 ? exp(right / kept) : 0;
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            if (!b->kept[i] || b->strict[i] != 1) {
                b->reward[i] = 0;
                continue;
            }
            if (isnan(concise[i]))
                return fail(e, "crf: the conciseness of sample %d is not a number", i);
            b->reward[i] = 1 + c->p[P_ALPHA].num * fmin(fmax(concise[i], 0.1), 1) * (s + d);
        }
    }
    return 0;
}

const struct stage shape_crf = {
    .name = "crf",
    .kind = STAGE_SHAPE,
    .sentence = "The outcome times a factor that grows with how concise the response is.",
    .citation = "Efficient Reasoning via Reward Model (conciseness reward function), 2025; constants reconstructed",
    .formula = "reward_i = right_i (1 + alpha c_i (s + d_q)), d_q = exp(right answers / G), s annealed over the phase",
    .params = params,
    .components = {"concise"},
    .reads = FIELD_COMPONENTS | FIELD_OUTCOME | FIELD_KEPT,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
