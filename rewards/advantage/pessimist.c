/* The reward minus what the more pessimistic of two critics expected of the whole response, whitened over the responses
 * of the step. The expectation is a soft minimum of the values of the models `critic` and `critic2` at the row that
 * predicts the response's last token, at the weights of the rollout; it is kept as the number `old_value_min`.
 */
#include "../../model/base/mem.h"
#include "../loss/safe.h"
#include "../stage.h"

enum { P_ALPHA, P_EPS };
enum { FIRST, SECOND };

static const struct param params[] = {{"alpha", PARAM_NUMBER, "0.3", 1e-6, 1e6, NULL, "Softness of the minimum.", NULL},
                                      {"eps", PARAM_NUMBER, "1e-8", 1e-12, 1, NULL, "Added to the deviation.", NULL},
                                      {0}};

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    const double *v1 = b->channel[c->channel[FIRST]].value, *v2 = b->channel[c->channel[SECOND]].value;
    const double *given = batch_given(b, "v_old", LEVEL_SEQUENCE);
    if (rewards_finite(b, "pessimist", e))
        return -1;
    double *old = batch_number(b, "old_value_min", LEVEL_SEQUENCE)->value;
    double *x = mem_alloc((size_t)b->samples, sizeof *x);
    unsigned char *use = mem_alloc((size_t)b->samples, 1);
    for (int i = 0; i < b->samples; i++) {
        int t = safe_last_token(b, i);
        use[i] = b->kept[i] && t >= 0;
        old[i] = !use[i] ? 0 : given ? given[i] : safe_soft_min(v1[t], v2[t], c->p[P_ALPHA].num);
        x[i] = use[i] ? b->reward[i] - old[i] : 0;
    }
    double mean = stat_mean(x, use, b->samples), scale = stat_std(x, use, b->samples, 1) + c->p[P_EPS].num;
    for (int i = 0; i < b->samples; i++)
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            b->advantage[t] = use[i] && b->trained[t] ? (x[i] - mean) / scale : 0;
    mem_free(x);
    mem_free(use);
    return 0;
}

const struct stage advantage_pessimist = {
    .name = "pessimist",
    .kind = STAGE_ADVANTAGE,
    .sentence = "The reward minus the soft minimum of two critics, one number a response, whitened over the step.",
    .citation = "SAFE: Stable Alignment Finetuning with Entropy-aware Predictive Control, 2026",
    .formula =
        "a_i = reward_i - V_i, V = -alpha (logsumexp(-V1 / alpha, -V2 / alpha) - ln 2); A_it = (a_i - mean(a)) / "
        "(std(a) + eps)",
    .params = params,
    .reads = FIELD_REWARD | FIELD_KEPT,
    .writes = FIELD_ADVANTAGE,
    .channels = {"critic.value", "critic2.value"},
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "the critics tell responses apart that were rewarded alike",
    .run = run,
};
