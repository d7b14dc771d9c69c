/* The clipped surrogate of PPO, with separate bounds below and above and an optional dual clip. `form` says what the
 * ratio is of: one token, the geometric mean over a response, the whole response, or nothing (REINFORCE). A form of
 * whole responses averages over responses, whatever their lengths.
 * Not here: the KL term (regular/kl), weights that are clipped without dropping a gradient (loss/cispo).
 */
#include "../stage.h"
#include <math.h>

enum { P_FORM, P_LOW, P_HIGH, P_DUAL, P_AGG };
enum { TOKEN_CLIP, MEAN_CLIP, SEQUENCE_CLIP, REINFORCE };
enum { LOGP };

static const struct param params[] = {
    {"form", PARAM_CHOICE, "token_clip", 0, 0, "token_clip|mean_clip|sequence_clip|reinforce",
     "The ratio: of each token; the geometric mean of a response's (GSPO); their product; none, and no clip.", NULL},
    {"eps_low", PARAM_NUMBER, "0.2", 0, 1, NULL, "The ratio is clipped at 1 - eps_low.", "form!=reinforce"},
    {"eps_high", PARAM_NUMBER, "0.2", 0, INFINITY, NULL, "The ratio is clipped at 1 + eps_high.", "form!=reinforce"},
    {"dual_clip", PARAM_NUMBER, "off", 1, INFINITY, NULL, "Upper bound of the ratio where the advantage is negative.",
     "form!=reinforce"},
    AGGREGATION_ROWS("form=token_clip"),
    {0}};

/* Sum of the log-ratios of the response's own tokens. */
static double total_log_ratio(const struct batch *b, const double *logp, int i)
{
    double sum = 0;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
        if (b->trained[t])
            sum += logp[t] - b->logp_old[t];
    return sum;
}

/* What one token of n gives. The advantage of a response's tokens is normally one number; where it differs, each token
 * gets the gradient of its own advantage, as in the token form of GSPO. */
static struct surrogate token_term(const struct value *p, double logp, double log_ratio, double a, int n)
{
    int form = (int)p[P_FORM].num;
    if (form == REINFORCE)
        return (struct surrogate){-a * logp, -a, 0};
    struct surrogate x = surrogate_clip(log_ratio, a, 1 - p[P_LOW].num, 1 + p[P_HIGH].num, p[P_DUAL].num);
    if (form == SEQUENCE_CLIP) /* every token is a factor of every token's ratio */
        x.grad *= n;
    return x;
}

static double token_share(const struct stage_call *c, int n)
{
    const double sequences = c->den->sequences;
    switch ((int)c->p[P_FORM].num) {
    case TOKEN_CLIP:
        return aggregation_by(c->p + P_AGG, n, c->den);
    case REINFORCE:
        return 1 / sequences;
    default:
        return 1 / (sequences * n);
    }
}

static void sample_loss(struct stage_call *c, int i)
{
    struct batch *b = c->b;
    struct channel *logp = &b->channel[c->channel[LOGP]];
    int n = trained_tokens(b, i), clipped = 0, form = (int)c->p[P_FORM].num;
    if (!b->kept[i] || n == 0)
        return;
    double w = b->weight[i] * token_share(c, n), sum = 0, total = total_log_ratio(b, logp->value, i);
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
        if (!b->trained[t])
            continue;
        double own = logp->value[t] - b->logp_old[t];
        double log_ratio = form == TOKEN_CLIP ? own : form == MEAN_CLIP ? total / n : total;
        struct surrogate x = token_term(c->p, logp->value[t], log_ratio, b->advantage[t], n);
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
                "2020, eq. 5; mean_clip: Group Sequence Policy Optimization, 2025, eq. 5 and 7; reinforce: Back to "
                "Basics (RLOO), 2024",
    .formula = "L = agg( max(-A rho, -A clip(rho, 1 - eps_low, 1 + eps_high)) ), rho = exp(logp - logp_old); "
               "dual_clip c: at most -A c where A < 0; mean_clip, sequence_clip: rho = exp of the mean, the sum over "
               "the response, L averaged over responses; reinforce: L = mean over responses of -A sum(logp)",
    .params = params,
    .reads = FIELD_ADVANTAGE | FIELD_LOGP_OLD | FIELD_KEPT,
    .channels = {"policy.logp"},
    .gradients = 1,
    .couples = COUPLES_SEQUENCE,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
