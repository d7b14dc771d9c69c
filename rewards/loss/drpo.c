/* The decoupled, discriminative objective of DRPO. Right answers are weighed against each other by their rewards
 * (closed form of a KL-regularised best response), wrong ones by how likely they still are; a squared hinge on the KL
 * to the policy of the rollout takes the place of clipping. With lambda = off it is DisCO.
 *
 * Groups that are all right or all wrong give nothing but count in the mean over groups; every token counts in the KL.
 * A group is never split and the KL is of the whole optimiser step, so the loss couples the batch. Empty responses are
 * in neither set.
 */
#include "../../model/base/mem.h"
#include "../stage.h"
#include <math.h>

enum { P_LAMBDA, P_TAU, P_BETA, P_DELTA, P_SCORE, P_KL, P_ESTIMATOR };
enum { SCORE_LOGL, SCORE_RATIO };
enum { KL_K1, KL_LOW_VAR };
enum { LOG_SUM_EXP, MEAN };
enum { LOGP };

static const struct param params[] = {
    {"lambda", PARAM_NUMBER, "0.1", 1e-6, INFINITY, NULL,
     "How little rewards tell right answers apart: their weights are softmax(reward / lambda); off: equal weights.",
     NULL},
    {"tau", PARAM_NUMBER, "10", 1e-6, 1e9, NULL, "Temperature over wrong answers: small ones pick the likeliest.",
     NULL},
    {"beta", PARAM_NUMBER, "1000", 0, 1e12, NULL, "Factor of the penalty on the KL to the rollout's policy.", NULL},
    {"delta", PARAM_NUMBER, "1e-4", 0, 1e6, NULL, "KL below which there is no penalty.", NULL},
    {"score", PARAM_CHOICE, "logL", 0, 0, "logL|Lratio",
     "What is raised or lowered: the mean log-probability of a response, or its mean ratio to the rollout's.", NULL},
    {"kl_type", PARAM_CHOICE, "kl", 0, 0, "kl|low_var_kl", "Estimate of the KL: mean of -d, or of exp(d) - 1 - d.",
     NULL},
    {"estimator", PARAM_CHOICE, "logsumexp", 0, 0, "logsumexp|mean",
     "How the scores of wrong answers are joined: soft maximum, or plain mean (disco_b).", NULL},
    {0}};

/* Log-ratios are held within +-20, where the derivative is 0, as in the clipped losses. */
static const double log_ratio_limit = 20;

static double log_ratio(const struct stage_call *c, int t, int *inside)
{
    double d = c->b->channel[c->channel[LOGP]].value[t] - c->b->logp_old[t];
    *inside = fabs(d) <= log_ratio_limit;
    return *inside ? d : copysign(log_ratio_limit, d);
}

/* Score of a response of n tokens. */
static double score_of(const struct stage_call *c, int i, int n)
{
    const struct batch *b = c->b;
    double sum = 0;
    int inside;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
        if (b->trained[t])
            sum +=
                c->p[P_SCORE].num == SCORE_LOGL ? b->channel[c->channel[LOGP]].value[t] : exp(log_ratio(c, t, &inside));
    return sum / n;
}

struct sides {
    int right, wrong;   /* samples that are in the two sets */
    double best, worst; /* largest reward of the right ones, largest score of the wrong ones: taken out of exponents */
};

static struct sides count_sides(const struct batch *b, int g, const double *score, const int *length)
{
    struct sides s = {0, 0, -INFINITY, -INFINITY};
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
        if (!b->kept[i] || length[i] == 0)
            continue;
        if (b->strict[i] == 1) {
            s.right++;
            s.best = fmax(s.best, b->reward[i]);
        } else {
            s.wrong++;
            s.worst = fmax(s.worst, score[i]);
        }
    }
    return s;
}

static double weight_of_right(const struct value *p, double reward, double best)
{
    return p[P_LAMBDA].off ? 1 : exp((reward - best) / p[P_LAMBDA].num);
}

static double weight_of_wrong(const struct value *p, double score, double worst)
{
    return p[P_ESTIMATOR].num == MEAN ? 1 : exp((score - worst) / p[P_TAU].num);
}

/* weight[i]: of right ones the share of their set, of wrong ones minus it; 0 outside both. Returns the objective of the
 * group, 0 unless it has both kinds. */
static double group_objective(const struct stage_call *c, int g, const double *score, const int *length, double *weight)
{
    const struct batch *b = c->b;
    const struct sides s = count_sides(b, g, score, length);
    double right = 0, wrong = 0, objective = 0;
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
        weight[i] = 0;
        if (!s.right || !s.wrong || !b->kept[i] || length[i] == 0)
            continue;
        if (b->strict[i] == 1)
            right += weight[i] = weight_of_right(c->p, b->reward[i], s.best);
        else
            wrong -= weight[i] = -weight_of_wrong(c->p, score[i], s.worst);
    }
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
        if (weight[i] == 0)
            continue;
        weight[i] /= weight[i] > 0 ? right : wrong;
        if (weight[i] > 0 || c->p[P_ESTIMATOR].num == MEAN)
            objective += weight[i] * score[i];
    }
    if (s.right && s.wrong && c->p[P_ESTIMATOR].num == LOG_SUM_EXP)
        objective -= s.worst + c->p[P_TAU].num * log(wrong / s.wrong);
    return objective;
}

/* d loss / d logp of the discriminative part; minus it is the advantage that logs show. */
static void spread(const struct stage_call *c, int i, double weight, int n)
{
    struct batch *b = c->b;
    double *grad = b->channel[c->channel[LOGP]].grad;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
        int inside = 1;
        double slope = c->p[P_SCORE].num == SCORE_LOGL ? 1 : exp(log_ratio(c, t, &inside));
        b->advantage[t] = b->trained[t] && inside && n ? weight * slope / (c->den->groups * (double)n) : 0;
        if (b->trained[t] && weight != 0)
            grad[t] -= b->advantage[t];
    }
}

/* The KL of the step's tokens and its penalty, which acts on all of them. Returns the penalty. */
static double penalise(const struct stage_call *c, double *kl)
{
    struct batch *b = c->b;
    double *grad = b->channel[c->channel[LOGP]].grad, T = c->den->tokens;
    int low_var = c->p[P_KL].num == KL_LOW_VAR, inside;
    *kl = 0;
    for (int pass = 0; pass < 2; pass++) {
        double over = fmax(*kl - c->p[P_DELTA].num, 0) * c->p[P_BETA].num;
        if (pass && over == 0)
            break;
        for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++)
            for (int t = b->sample_first[i]; b->kept[i] && t < b->sample_first[i + 1]; t++) {
                double d = b->trained[t] ? log_ratio(c, t, &inside) : 0;
                if (!b->trained[t])
                    continue;
                if (!pass)
                    *kl += (low_var ? expm1(d) - d : -d) / T;
                else if (inside)
                    grad[t] += over * (low_var ? expm1(d) : -1) / T;
            }
    }
    double over = fmax(*kl - c->p[P_DELTA].num, 0);
    return c->p[P_BETA].num / 2 * over * over;
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double *score = mem_alloc((size_t)b->samples, sizeof *score),
           *weight = mem_alloc((size_t)b->samples, sizeof *weight);
    int *length = mem_alloc((size_t)b->samples, sizeof *length);
    double objective = 0, kl;
    for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++) {
        length[i] = b->kept[i] ? trained_tokens(b, i) : 0;
        score[i] = length[i] ? score_of(c, i, length[i]) : 0;
    }
    for (int g = c->g0; g < c->g1; g++)
        objective += group_objective(c, g, score, length, weight) / c->den->groups;
    for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++)
        spread(c, i, weight[i], length[i]);
    double penalty = penalise(c, &kl);
    *c->loss += penalty - objective;
    metric_add(c->metrics, "kl", kl, 1);
    metric_add(c->metrics, "drpo.objective", objective, 1);
    metric_add(c->metrics, "drpo.penalty", penalty, 1);
    mem_free(score);
    mem_free(weight);
    mem_free(length);
    return 0;
}

const struct stage loss_drpo = {
    .name = "drpo",
    .kind = STAGE_LOSS,
    .sentence =
        "Right answers above wrong ones, rewards only among the right ones, a trust region instead of clipping.",
    .citation = "DRPO: Efficient Reasoning via Decoupled Reward Policy Optimization, 2025; lambda = off: DisCO, 2025",
    .formula =
        "L = -mean_g( sum_right w_i s_i - tau log mean_wrong exp(s_j / tau) ) + beta/2 max(KL - delta, 0)^2, w = "
        "softmax(reward / lambda), s = mean logp or mean ratio, KL over all tokens of the step",
    .params = params,
    .reads = FIELD_OUTCOME | FIELD_REWARD | FIELD_LOGP_OLD | FIELD_KEPT,
    .channels = {"policy.logp"},
    .gradients = 1,
    .couples = COUPLES_BATCH,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
