/* The clipped surrogate of PPO at the level of tokens, with separate bounds below and above and an optional dual clip.
 * Not here: the KL term (regular/kl), ratios of whole sequences, weights for a sampler that differs from the trainer.
 */
#include "../stage.h"
#include <math.h>

enum { P_LOW, P_HIGH, P_DUAL, P_AGG };
enum { LOGP };

static const struct param params[] = {
    {"eps_low", PARAM_NUMBER, "0.2", 0, 1, NULL, "The ratio is clipped at 1 - eps_low.", NULL},
    {"eps_high", PARAM_NUMBER, "0.2", 0, INFINITY, NULL, "The ratio is clipped at 1 + eps_high.", NULL},
    {"dual_clip", PARAM_NUMBER, "off", 1, INFINITY, NULL, "Upper bound of the ratio where the advantage is negative.",
     NULL},
    {"agg", PARAM_CHOICE, "token_mean", 0, 0, aggregation_choices, "How tokens are averaged.", NULL},
    {0}};

/* The log-ratio is held within +-20, where the derivative is 0, so that no update, however bad, gives infinity. */
static const double log_ratio_limit = 20;

struct term {
    double loss, grad; /* grad: d loss / d logp */
    int clipped;
};

static struct term surrogate(double log_ratio, double a, const struct value *p)
{
    int inside = fabs(log_ratio) <= log_ratio_limit;
    double ratio = exp(inside ? log_ratio : copysign(log_ratio_limit, log_ratio));
    double bounded = fmin(fmax(ratio, 1 - p[P_LOW].num), 1 + p[P_HIGH].num);
    struct term t = {-a * ratio, inside ? -a * ratio : 0, 0};
    if (-a * bounded > t.loss)
        t = (struct term){-a * bounded, 0, 1};
    if (!p[P_DUAL].off && a < 0 && t.loss > -a * p[P_DUAL].num)
        t = (struct term){-a * p[P_DUAL].num, 0, 1};
    return t;
}

static void sample_loss(struct stage_call *c, int i)
{
    struct batch *b = c->b;
    struct channel *logp = &b->channel[c->channel[LOGP]];
    int n = trained_tokens(b, i), clipped = 0;
    if (!b->kept[i] || n == 0)
        return;
    double w = b->weight[i] * aggregation_weight((int)c->p[P_AGG].num, n, c->den), sum = 0;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
        if (!b->trained[t])
            continue;
        struct term x = surrogate(logp->value[t] - b->logp_old[t], b->advantage[t], c->p);
        sum += w * x.loss;
        logp->grad[t] += w * x.grad;
        clipped += x.clipped;
    }
    *c->loss += sum;
    metric_add(c->metrics, "clip_share", clipped, n);
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    for (int i = c->b->group_first[c->g0]; i < c->b->group_first[c->g1]; i++)
        sample_loss(c, i);
    return 0;
}

const struct stage loss_clip = {
    .name = "clip",
    .kind = STAGE_LOSS,
    .sentence = "Policy gradient through the ratio to the old policy, cut off where an update has gone far enough.",
    .citation = "Proximal Policy Optimization, 2017, eq. 7; separate bounds: DAPO, 2025, eq. 10; dual clip: Ye et al. "
                "2020, eq. 5",
    .formula = "L = agg( max(-A rho, -A clip(rho, 1 - eps_low, 1 + eps_high)) ), rho = exp(logp - logp_old); "
               "dual_clip c: at most -A c where A < 0",
    .params = params,
    .reads = FIELD_ADVANTAGE | FIELD_LOGP_OLD | FIELD_KEPT,
    .channels = {"policy.logp"},
    .gradients = 1,
    .couples = COUPLES_TOKEN,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
