/* Answers whose truth is not certain: some right answers count as wrong, a draw of its own for each, so that groups
 * stay mixed however good the policy becomes and nothing can be learned from it. Every later stage reads the verdicts
 * as they stand then, and so does the accuracy in the log; evaluations are not touched.
 *
 * The task's answer_noise is another kind: there a prompt has a wrong truth for good, and its group is all wrong.
 */
#include "../stage.h"

enum { P_SHARE };

static const struct param params[] = {
    {"share", PARAM_NUMBER, "0.25", 0, 1, NULL, "Probability that a right answer counts as wrong.", NULL}, {0}};

static const uint64_t own_draw = 5 << 20; /* far from those of the stages `process` and `proxy` */

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double turned = 0, right = 0;
    for (int g = 0; g < b->groups; g++)
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            struct rng r = rng_stream(c->seed, RNG_NOISE, c->step, b->prompt_key[g], (uint32_t)(i - b->group_first[g]));
            if (!b->kept[i] || (b->strict[i] != 1 && b->lenient[i] != 1))
                continue;
            right++;
            if (rng_uniform(r, own_draw) >= c->p[P_SHARE].num)
                continue;
            b->strict[i] = b->strict[i] == 1 ? 0 : b->strict[i];
            b->lenient[i] = b->lenient[i] == 1 ? 0 : b->lenient[i];
            turned++;
        }
    metric_add(c->metrics, "noise.turned", turned, right);
    return 0;
}

const struct stage score_noise = {
    .name = "noise",
    .kind = STAGE_SCORE,
    .sentence = "Turns a share of the right answers into wrong ones, each by a draw of its own; put it first.",
    .citation = "DRPO: Efficient Reasoning via Decoupled Reward Policy Optimization, 2025, needs mixed groups; our own",
    .formula = "right_i = 0 with probability share, for every response i that is right",
    .params = params,
    .reads = FIELD_OUTCOME,
    .writes = FIELD_OUTCOME,
    .zero_on_equal = 0,
    .permutable = 0,
    .why_not = "every right answer has a draw of its own, by its place in its group",
    .run = run,
};
