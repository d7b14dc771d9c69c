/* Flawed positives, right answers with a step that the detector rejects, lose a constant lambda. Because advantages are
 * relative to the group, they are still encouraged while right answers are rare and discouraged once clean ones
 * dominate, without any schedule: the sign turns at clean/wrong = 2 / lambda - 1 (for rewards of 1 and -1).
 *
 * The detector is whatever wrote the component `flawed` (per sequence) or `process` (per step: flawed is a step at or
 * below one half). It is asked about right answers only. A right answer without steps has no flaw.
 */
#include "../../model/base/error.h"
#include "../stage.h"

enum { P_LAMBDA, P_PENALTY };

static const struct param params[] = {
    {"lambda", PARAM_NUMBER, "1", 0, 1e6, NULL, "What a flawed right answer loses.", NULL},
    {"use_penalty", PARAM_BOOL, "true", 0, 0, NULL, "false: flaws are counted and cost nothing.", NULL},
    {0}};

static const struct component *written(const struct batch *b, const char *name, enum level level)
{
    int at = batch_find_component(b, name);
    return at >= 0 && b->component[at].written && b->component[at].level == level ? &b->component[at] : NULL;
}

static int is_flawed(const struct batch *b, int i, const struct component *flawed, const struct component *process)
{
    if (flawed)
        return flawed->value[i] > 0.5;
    for (int k = b->step_first[i]; k < b->step_first[i + 1]; k++)
        if (!(process->value[k] > 0.5))
            return 1;
    return 0;
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    const struct component *flawed = written(b, "flawed", LEVEL_SEQUENCE);
    const struct component *process = written(b, "process", LEVEL_STEP);
    const struct component *outcome = written(b, "outcome", LEVEL_SEQUENCE);
    if (!outcome || (!flawed && !process))
        return fail(e, "fapo: needs the score stages `outcome` and `process` (or a detector that writes `flawed`)");
    double cost = c->p[P_PENALTY].num != 0 ? c->p[P_LAMBDA].num : 0;
    for (int i = 0; i < b->samples; i++) {
        int right = b->kept[i] && b->strict[i] == 1, bad = right && is_flawed(b, i, flawed, process);
        b->reward[i] = b->kept[i] ? outcome->value[i] - (bad ? cost : 0) : 0;
        metric_add(c->metrics, "fapo.flawed", bad, right);
    }
    return 0;
}

const struct stage shape_fapo = {
    .name = "fapo",
    .kind = STAGE_SHAPE,
    .sentence = "The outcome, less a constant for right answers with a flawed step.",
    .citation = "FAPO: Flawed-Aware Policy Optimization for Efficient and Reliable Reasoning, 2025, section 3",
    .formula = "reward_i = outcome_i - lambda [right_i and some step of i is rejected]",
    .params = params,
    .components = {"outcome", "process|flawed"},
    .reads = FIELD_COMPONENTS | FIELD_OUTCOME,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
