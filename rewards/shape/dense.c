/* Every component stays where it was earned: per token on its token, per step on the step's last token, per sequence on
 * the sample's last token, each times its weight. The reward of a sample is the sum of all its tokens' rewards. (The
 * shape `sum` takes means and keeps one number.) A credit stage then says what a token is worth: `return` adds up what
 * comes after it.
 *
 * Only tokens that the model wrote carry reward: what falls on an injected token goes to the last written one before
 * it, and is lost where there is none.
 */
#include "../../model/base/error.h"
#include "../stage.h"
#include <math.h>

enum { P_WEIGHTS };

static const struct param params[] = {
    {"*", PARAM_TEXT, "", 0, 0, NULL, "COMPONENT = weight of that component; 1 for those not named.", NULL}, {0}};

/* The trained token at or before t within the sample; -1: none. */
static int written_before(const struct batch *b, int sample, int t)
{
    while (t >= b->sample_first[sample] && !b->trained[t])
        t--;
    return t >= b->sample_first[sample] ? t : -1;
}

static void put(struct batch *b, int sample, int t, double value)
{
    int at = written_before(b, sample, t);
    if (at < 0)
        return;
    b->token_reward[at] += value;
    b->reward[sample] += value;
}

static void place(struct batch *b, int i, const struct component *k, double weight)
{
    int first = b->sample_first[i], end = b->sample_first[i + 1], step = b->step_first[i];
    if (k->level == LEVEL_SEQUENCE)
        put(b, i, end - 1, weight * k->value[i]);
    for (int t = first; k->level == LEVEL_TOKEN && t < end; t++)
        if (b->trained[t])
            put(b, i, t, weight * k->value[t]);
    for (int s = step; k->level == LEVEL_STEP && s < b->step_first[i + 1]; s++)
        put(b, i, first + b->step_end[s] - 1, weight * k->value[s]);
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    for (int i = 0; i < b->samples; i++) {
        b->reward[i] = 0;
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            b->token_reward[t] = 0;
        for (int k = 0; b->kept[i] && k < b->components; k++) {
            double weight = component_weight(c->p[P_WEIGHTS].text, b->component[k].name);
            if (b->component[k].written && !b->component[k].aside && weight != 0)
                place(b, i, &b->component[k], weight);
        }
        if (!isfinite(b->reward[i]))
            return fail(e, "dense: the reward of sample %d is not a finite number; look at its components and weights",
                        i);
    }
    return 0;
}

const struct stage shape_dense = {
    .name = "dense",
    .kind = STAGE_SHAPE,
    .sentence = "All components where they were earned: on tokens, on the last token of a step, on the last of all.",
    .citation = "",
    .formula = "token_reward_it = sum over c of weight_c * c_it, reward_i = sum over t of token_reward_it",
    .params = params,
    .reads = FIELD_COMPONENTS,
    .writes = FIELD_REWARD | FIELD_TOKEN_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
