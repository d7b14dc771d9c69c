/* A price for responses that were cut off at the generation budget instead of ending by themselves. */
#include "../stage.h"

enum { P_PENALTY };

static const struct param params[] = {
    {"penalty", PARAM_NUMBER, "off", 0, 1e6, NULL, "What a truncated response loses; off: nothing.", NULL}, {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    int cut = 0;
    for (int i = 0; i < b->samples; i++)
        if (b->kept[i] && b->truncated[i]) {
            b->reward[i] -= c->p[P_PENALTY].off ? 0 : c->p[P_PENALTY].num;
            cut++;
        }
    metric_add(c->metrics, "unfinished.share", cut, stat_count(b->kept, b->samples));
    return 0;
}

const struct stage shape_unfinished = {
    .name = "unfinished",
    .kind = STAGE_SHAPE,
    .sentence = "Responses without an end of sequence lose a constant.",
    .citation =
        "Huang et al.: The N+ Implementation Details of RLHF with PPO, 2024, detail 4 (there the whole reward is "
        "replaced); missing_eos_penalty of TRL",
    .formula = "reward_i -= penalty where response i was truncated",
    .params = params,
    .reads = FIELD_REWARD | FIELD_KEPT,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
