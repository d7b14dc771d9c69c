/* Takes samples out of the loss that still count in the statistics: it stands after the stage that computes advantages.
 * (A select stage takes them out of both.) Their tokens leave the loss's averages too. Samples that an earlier stage
 * has marked by the number `masked` go as well.
 */
#include "../stage.h"

enum { P_TRUNCATED };

static const struct param params[] = {
    {"truncated", PARAM_BOOL, "true", 0, 0, NULL, "Mask responses that were cut off at the generation budget.", NULL},
    {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    const double *marked = batch_given(b, "masked", LEVEL_SEQUENCE);
    int masked = 0, kept = stat_count(b->kept, b->samples);
    for (int i = 0; i < b->samples; i++)
        if (b->kept[i] && ((b->truncated[i] && c->p[P_TRUNCATED].num != 0) || (marked && marked[i] != 0))) {
            b->kept[i] = 0;
            masked++;
        }
    metric_add(c->metrics, "mask.share", masked, kept);
    return 0;
}

const struct stage advantage_mask = {
    .name = "mask",
    .kind = STAGE_ADVANTAGE,
    .sentence = "Truncated responses leave the loss, but stay in the statistics of the stages before.",
    .citation =
        "DAPO: An Open-Source LLM Reinforcement Learning System at Scale, 2025, section 3.4 (overlong filtering)",
    .formula = "kept_i = 0 where response i was truncated, or marked by an earlier stage",
    .params = params,
    .reads = FIELD_ADVANTAGE | FIELD_KEPT,
    .writes = FIELD_KEPT,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
