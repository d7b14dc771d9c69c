/* Dynamic sampling: only groups that can teach something stay. New prompts in place of the dropped ones are collected
 * by the loop, which counts the groups kept. The average reward of what is left no longer estimates accuracy.
 */
#include "../stage.h"

enum { P_ON, P_METRIC };
enum { OUTCOME, REWARD };

static const struct param params[] = {{"on", PARAM_BOOL, "true", 0, 0, NULL, "false: every group stays.", NULL},
                                      {"metric", PARAM_CHOICE, "outcome", 0, 0, "outcome|reward",
                                       "What has to differ: right against not right (strictly), or the shaped reward.",
                                       "on=true"},
                                      {0}};

static int group_differs(const struct batch *b, int g, int metric)
{
    int first = b->group_first[g], last = b->group_first[g + 1], right = 0, other = 0;
    if (metric == REWARD)
        return !stat_equal(b->reward + first, b->kept + first, last - first);
    for (int i = first; i < last; i++)
        if (b->kept[i])
            *(b->strict[i] == 1 ? &right : &other) += 1;
    return right > 0 && other > 0;
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    for (int g = 0; g < b->groups; g++) {
        int first = b->group_first[g], n = b->group_first[g + 1] - first;
        if (c->p[P_ON].num == 0 || kept_in_group(b, g) == 0)
            continue;
        int differs = group_differs(b, g, (int)c->p[P_METRIC].num);
        for (int i = first; i < first + n; i++)
            b->kept[i] = b->kept[i] && differs;
        metric_add(c->metrics, "dynamic.kept", differs, 1);
    }
    return 0;
}

const struct stage select_dynamic = {
    .name = "dynamic",
    .kind = STAGE_SELECT,
    .sentence = "Drops groups whose samples are all right, all wrong, or (metric = reward) all rewarded alike.",
    .citation = "DAPO: An Open-Source LLM Reinforcement Learning System at Scale, 2025, eq. 11",
    .formula = "keep group g iff 0 < number right < G (metric = outcome), or iff its rewards are not all equal",
    .params = params,
    .reads = FIELD_OUTCOME | FIELD_REWARD | FIELD_KEPT,
    .writes = FIELD_KEPT,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
