/* The score of a reward model that an earlier phase has trained (loss `bt`): its number behind the response's last
 * token. Here its weights stand still. Scores of different prompts have no common zero, so compare within the group, or
 * train with `center`. How often the score orders two responses of the step as their verdicts do is logged: it falls
 * when the policy learns to please the model instead of being right.
 */
#include "../../model/base/mem.h"
#include "../stage.h"

enum { P_MODEL, P_SQUASH };
enum { SCORE };

static const struct param params[] = {
    {"model", PARAM_TEXT, "rm", 0, 0, NULL, "The model of [models] that judges, with head=scalar.", NULL},
    {"squash", PARAM_BOOL, "false", 0, 0, NULL, "The logistic function of the score: a number between 0 and 1.", NULL},
    {0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    const double *score = b->channel[c->channel[SCORE]].value;
    double *value = batch_component(c->b, "learned", LEVEL_SEQUENCE)->value, sum = 0;
    double *said = mem_alloc((size_t)b->samples, sizeof *said);
    unsigned char *right = mem_alloc((size_t)b->samples, sizeof *right);
    int n = 0;
    for (int i = 0; i < b->samples; i++) {
        int t = b->kept[i] ? last_trained(b, b->sample_first[i], b->sample_first[i + 1]) : -1;
        value[i] = 0;
        if (t < 0)
            continue;
        value[i] = c->p[P_SQUASH].num != 0 ? logistic(score[t]) : score[t];
        said[n] = score[t];
        right[n++] = b->strict[i] == 1;
        sum += value[i];
    }
    double auc = stat_auc(said, right, n);
    metric_add(c->metrics, "learned.mean", sum, n);
    metric_add(c->metrics, "learned.auc", auc, auc >= 0);
    mem_free(said);
    mem_free(right);
    return 0;
}

const struct stage score_learned = {
    .name = "learned",
    .kind = STAGE_SCORE,
    .sentence = "The score of a trained reward model; reports how well it orders responses by their verdicts.",
    .citation = "Ouyang et al.: Training Language Models to Follow Instructions with Human Feedback, 2022",
    .formula = "learned_i = s_i, or sigma(s_i); s_i = what the model says behind the response's last token",
    .params = params,
    .reads = FIELD_OUTCOME | FIELD_KEPT,
    .writes = FIELD_COMPONENTS,
    .channels = {"$model.score"},
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "it tells responses apart that the verdict does not",
    .run = run,
};
