/* Log-probabilities of a response's tokens under the reference as a reward on each of them. Methods that ask for
 * answers in proportion to exp(reward) (flow balance) then ask for the reference times exp(the other rewards): what the
 * reference would not write is as unlikely as before, however many texts of that kind there are.
 */
#include "../stage.h"

enum { REF };

static const struct param params[] = {{0}};

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    const double *logp = b->channel[c->channel[REF]].value;
    double *value = batch_component(c->b, "reference", LEVEL_TOKEN)->value, sum = 0, n = 0;
    for (int i = 0; i < b->samples; i++)
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
            int counts = b->kept[i] && b->trained[t];
            value[t] = counts ? logp[t] : 0;
            sum += value[t];
            n += counts;
        }
    metric_add(c->metrics, "reference.logp", sum, n);
    return 0;
}

const struct stage score_reference = {
    .name = "reference",
    .kind = STAGE_SCORE,
    .sentence = "The log-probability of each token under the reference, as a reward on that token.",
    .citation = "as the prior of a flow over texts: Hu et al.: Amortizing Intractable Inference in Large Language "
                "Models, 2024, section 3",
    .formula = "reference_it = ref.logp_it",
    .params = params,
    .reads = FIELD_KEPT,
    .writes = FIELD_COMPONENTS,
    .channels = {"ref.logp"},
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "it tells responses apart by their log-probabilities, which differ where verdicts do not",
    .run = run,
};
