/* SAFE's penalty on the KL to the reference: only above a threshold, stronger where the policy is sure of itself. The
 * threshold is steered by a PID loop on the speed of the reward and by the phase of training that the rewards show; all
 * of it is remembered from call to call, one call an optimiser step.
 *
 * As released the penalty is a number without a gradient. With differentiable = current it acts through the KL of the
 * present step, which the smoothed KL contains to one tenth.
 */
#include "../../model/base/mem.h"
#include "../stage.h"
#include "safe.h"
#include <math.h>

enum { P_THRESHOLD, P_FLOOR, P_KP, P_KI, P_KD, P_DIFFERENTIABLE };
enum { LOGP, REF, ENTROPY };

static const struct param params[] = {
    {"base_threshold", PARAM_NUMBER, "0.3", 0, 1e6, NULL, "Threshold before anything moves it.", NULL},
    {"entropy_floor", PARAM_NUMBER, "2", 0, 1e6, NULL, "Entropy below which the penalty grows.", NULL},
    {"kp", PARAM_NUMBER, "0.3", -1e6, 1e6, NULL, "Gain of the reward's speed.", NULL},
    {"ki", PARAM_NUMBER, "0.01", -1e6, 1e6, NULL, "Gain of its sum.", NULL},
    {"kd", PARAM_NUMBER, "0.05", -1e6, 1e6, NULL, "Gain of its change.", NULL},
    {"differentiable", PARAM_CHOICE, "none", 0, 0, "none|current",
     "none: only the reported loss changes, as released; current: the KL of this step is pushed down.", NULL},
    {0}};

static const struct state_row state[] = {{"controller", 0, SAFE_WIDTH, 0}, {0}};

double safe_soft_min(double v1, double v2, double alpha)
{
    double low = fmin(v1, v2), gap = fabs(v1 - v2) / alpha;
    return low - alpha * (log1p(exp(-gap)) - log(2));
}

int safe_last_token(const struct batch *b, int sample)
{
    int t = b->sample_first[sample + 1] - 1;
    while (t >= b->sample_first[sample] && !b->trained[t])
        t--;
    return t >= b->sample_first[sample] ? t : -1;
}

static double clip(double x, double low, double high)
{
    return fmin(fmax(x, low), high);
}

/* The PID loop on the smoothed reward; its target is a small rise. */
static double steer(double *s, const struct safe_knobs *k, double reward)
{
    static const double weight = 0.05, target = 0.001;
    if (s[SAFE_CALLS] == 0) {
        s[SAFE_EMA] = reward;
        return 0;
    }
    double before = s[SAFE_EMA], last = s[SAFE_ERROR];
    s[SAFE_EMA] = (1 - weight) * before + weight * reward;
    double error = s[SAFE_EMA] - before - target;
    s[SAFE_INTEGRAL] = clip(s[SAFE_INTEGRAL] + error, -1, 1);
    s[SAFE_ERROR] = error;
    return k->kp * error + k->ki * s[SAFE_INTEGRAL] + k->kd * (error - last);
}

/* Mean and population deviation of a window of rewards that ends before call `end`. */
static void window(const double *s, long end, double *mean, double *deviation)
{
    double x[SAFE_WINDOW];
    for (long k = 0; k < SAFE_WINDOW; k++)
        x[k] = s[SAFE_REWARD + (end - SAFE_WINDOW + k) % (2 * SAFE_WINDOW)];
    *mean = stat_mean(x, NULL, SAFE_WINDOW);
    *deviation = stat_std(x, NULL, SAFE_WINDOW, 0);
}

static enum safe_phase phase_of(const double *s, long calls)
{
    double recent, old, deviation, unused;
    if (calls < SAFE_WINDOW)
        return SAFE_WARMUP;
    window(s, calls, &recent, &deviation);
    old = recent;
    if (calls >= 2 * SAFE_WINDOW)
        window(s, calls - SAFE_WINDOW, &old, &unused);
    if (recent > old + 0.01)
        return SAFE_CLIMBING;
    return deviation < 0.02 && recent > 0.7 ? SAFE_CONVERGED : SAFE_PLATEAU;
}

struct safe_answer safe_control(double *s, const struct safe_knobs *k, double kl, double entropy, double reward)
{
    static const double relax[] = {
        [SAFE_WARMUP] = 1.5, [SAFE_CLIMBING] = 1.2, [SAFE_PLATEAU] = 0.8, [SAFE_CONVERGED] = 1};
    long call = (long)clip(s[SAFE_CALLS], 0, 1e15); /* whatever a file says */
    struct safe_answer a = {.gate = 1};
    s[SAFE_SHORT] = 0.9 * s[SAFE_SHORT] + 0.1 * kl;
    s[SAFE_LONG] = 0.99 * s[SAFE_LONG] + 0.01 * kl;
    s[SAFE_REWARD + call % (2 * SAFE_WINDOW)] = reward;
    a.pid = steer(s, k, reward);
    s[SAFE_CALLS] = (double)(call + 1);
    a.phase = phase_of(s, call + 1);
    a.threshold = clip((k->threshold + a.pid) * relax[a.phase], 0.1, 0.6);
    a.active = s[SAFE_SHORT] > a.threshold;
    if (a.active) {
        double over = s[SAFE_SHORT] - a.threshold;
        a.gate = fmax(0.5, k->entropy_floor / (entropy + 0.1));
        a.penalty = 0.1 * over * over * a.gate;
    }
    return a;
}

/* Means over the tokens of the step. */
static void measure(const struct stage_call *c, double *kl, double *entropy)
{
    const struct batch *b = c->b;
    const double *logp = b->channel[c->channel[LOGP]].value, *ref = b->channel[c->channel[REF]].value;
    const double *h = b->channel[c->channel[ENTROPY]].value;
    *kl = *entropy = 0;
    for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++)
        for (int t = b->sample_first[i]; b->kept[i] && t < b->sample_first[i + 1]; t++)
            if (b->trained[t]) {
                *kl += (logp[t] - ref[t]) / c->den->tokens;
                *entropy += h[t] / c->den->tokens;
            }
}

static double mean_reward(const struct stage_call *c)
{
    const struct batch *b = c->b;
    const double *given = batch_given(b, "raw_reward", LEVEL_SEQUENCE);
    int first = b->group_first[c->g0];
    return stat_mean((given ? given : b->reward) + first, b->kept + first, b->group_first[c->g1] - first);
}

/* The derivative by every token's log-probability, through its share in the KL of this step. */
static void push(struct stage_call *c, const struct safe_answer *a, double kl_short)
{
    struct batch *b = c->b;
    double *grad = b->channel[c->channel[LOGP]].grad;
    double slope = 0.1 * 2 * (kl_short - a->threshold) * a->gate * 0.1 / c->den->tokens;
    for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++)
        for (int t = b->sample_first[i]; b->kept[i] && t < b->sample_first[i + 1]; t++)
            if (b->trained[t])
                grad[t] += slope;
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    const struct value *p = c->p;
    const struct safe_knobs knobs = {p[P_THRESHOLD].num, p[P_FLOOR].num, p[P_KP].num, p[P_KI].num, p[P_KD].num};
    double *s = state_at(&c->state[0], 0), kl, entropy;
    if (c->den->tokens == 0)
        return 0;
    measure(c, &kl, &entropy);
    struct safe_answer a = safe_control(s, &knobs, kl, entropy, mean_reward(c));
    if (a.active && p[P_DIFFERENTIABLE].num != 0)
        push(c, &a, s[SAFE_SHORT]);
    *c->loss += a.penalty;
    metric_add(c->metrics, "kl", kl, 1);
    metric_add(c->metrics, "safe.penalty", a.penalty, 1);
    metric_add(c->metrics, "safe.threshold", a.threshold, 1);
    metric_add(c->metrics, "safe.kl_short", s[SAFE_SHORT], 1);
    metric_add(c->metrics, "safe.gate", a.gate, 1);
    metric_add(c->metrics, "safe.pid", a.pid, 1);
    metric_add(c->metrics, "safe.phase", a.phase, 1);
    return 0;
}

const struct stage loss_safe_penalty = {
    .name = "safe_penalty",
    .kind = STAGE_LOSS,
    .sentence = "A penalty on the smoothed KL to the reference above a threshold that a controller moves.",
    .citation = "SAFE: Stable Alignment Finetuning with Entropy-aware Predictive Control, 2026; the authors' program "
                "(ryyzn9/SAFE), from which the paper's text differs",
    .formula = "s = .9 s + .1 mean(logp - ref.logp); theta = clip((base + PID) phase, .1, .6); L += .1 (s - theta)^2 "
               "max(.5, floor / (H + .1)) where s > theta",
    .params = params,
    .reads = FIELD_REWARD | FIELD_KEPT,
    .channels = {"policy.logp", "ref.logp", "policy.entropy"},
    .gradients = 1,
    .couples = COUPLES_BATCH,
    .state = state,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
