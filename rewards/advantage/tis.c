/* Truncated importance sampling: where the sampler's log-probabilities differ from the trainer's (other precision,
 * other kernels, older weights), each token's advantage is multiplied by the bounded ratio of the two. The clipped
 * surrogate is proportional to the advantage, so this is the same as weighting the surrogate; KL terms keep their
 * weight. The ratio to the old policy keeps the trainer's log-probability below it.
 *
 * Sampler and trainer of this program are one arithmetic, so in training every weight is exactly 1 on the CPU, and the
 * metric tis.mismatch says so. The weights are kept as the number `tis`, the advantages before as `unweighted`.
 */
#include "../stage.h"
#include <math.h>
#include <string.h>

enum { P_LEVEL, P_MODE, P_CAP, P_FLOOR, P_NORMALIZE };
enum { BY_TOKEN, BY_SEQUENCE };
enum { TRUNCATE, MASK };

static const struct param params[] = {
    {"level", PARAM_CHOICE, "token", 0, 0, "token|sequence", "The ratio of each token, or of the whole response.",
     NULL},
    {"mode", PARAM_CHOICE, "truncate", 0, 0, "truncate|mask",
     "Beyond the bounds: the bound is the weight; or the weight is 0.", NULL},
    {"cap", PARAM_NUMBER, "2", 0, INFINITY, NULL, "Upper bound of the weight.", NULL},
    {"floor", PARAM_NUMBER, "off", 0, 1e6, NULL, "Lower bound of the weight; off: 0.", NULL},
    {"batch_normalize", PARAM_BOOL, "false", 0, 0, NULL,
     "Divide by the mean weight of the step's tokens (level = sequence: of its responses).", NULL},
    {0}};

static double bounded(const struct value *p, double log_ratio)
{
    double w = held_ratio(log_ratio);
    double low = p[P_FLOOR].num, high = p[P_CAP].num;
    if (p[P_MODE].num == MASK)
        return w >= low && w <= high ? w : 0;
    return fmin(fmax(w, low), high);
}

/* Weights of one response's own tokens, 0 elsewhere. */
static void sample_weights(const struct batch *b, int i, const struct value *p, double *weight, double *mismatch)
{
    int first = b->sample_first[i], end = b->sample_first[i + 1];
    double total = 0;
    for (int t = first; t < end; t++) {
        double d = b->kept[i] && b->trained[t] ? b->logp_old[t] - b->logp_rollout[t] : 0;
        *mismatch += fabs(held_ratio(d) - 1);
        weight[t] = d;
        total += d;
    }
    for (int t = first; t < end; t++)
        weight[t] = b->kept[i] && b->trained[t] ? bounded(p, p[P_LEVEL].num == BY_SEQUENCE ? total : weight[t]) : 0;
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double sum = 0, count = 0, tokens = 0, mismatch = 0;
    double *weight = batch_number(b, "tis", LEVEL_TOKEN)->value;
    double *before = batch_number(b, "unweighted", LEVEL_TOKEN)->value;
    for (int i = 0; i < b->samples; i++) {
        sample_weights(b, i, c->p, weight, &mismatch);
        int n = b->kept[i] ? trained_tokens(b, i) : 0;
        double share = c->p[P_LEVEL].num == BY_SEQUENCE && n > 0 ? 1.0 / n : 1; /* a response counts once */
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            sum += share * weight[t];
        tokens += n;
        count += share * n;
    }
    double scale = c->p[P_NORMALIZE].num != 0 && sum > 0 ? count / sum : 1;
    memcpy(before, b->advantage, (size_t)b->tokens * sizeof *before);
    for (int t = 0; t < b->tokens; t++) {
        weight[t] *= scale;
        b->advantage[t] *= weight[t];
    }
    metric_add(c->metrics, "tis.mismatch", mismatch, tokens);
    return 0;
}

const struct stage advantage_tis = {
    .name = "tis",
    .kind = STAGE_ADVANTAGE,
    .sentence = "Advantages weighted by the bounded ratio of the trainer's probabilities to the sampler's.",
    .citation =
        "Yao et al.: Your Efficient RL Framework Secretly Brings You Off-Policy RL Training, 2025; mode = mask: "
        "IcePop, 2025",
    .formula = "A_it *= w_it, w = min(max(exp(logp_old - logp_rollout), floor), cap); mask: 0 outside; sequence: the "
               "sum over the response in the exponent",
    .params = params,
    .reads = FIELD_ADVANTAGE | FIELD_LOGP_OLD | FIELD_KEPT,
    .writes = FIELD_ADVANTAGE,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
