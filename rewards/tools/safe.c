/* SAFE: the controller fed with the calls of `trace` before the step, and every answer of it; the values of both
 * critics in, their soft minimum, its gradients and the parts of the loss out.
 */
#include "../loss/safe.h"
#include "../method.h"

static const struct datum data[] = {{"v_old", DATUM_NUMBER, "v_old", LEVEL_SEQUENCE, NULL},
                                    {"v1", DATUM_NUMBER, "v1", LEVEL_SEQUENCE, NULL},
                                    {"v2", DATUM_NUMBER, "v2", LEVEL_SEQUENCE, NULL},
                                    {"rm", DATUM_COMPONENT, "rm", LEVEL_SEQUENCE, "outcome"},
                                    {0}};
static const char *const phases[] = {
    [SAFE_WARMUP] = "WARMUP", [SAFE_CLIMBING] = "CLIMBING", [SAFE_PLATEAU] = "PLATEAU", [SAFE_CONVERGED] = "CONVERGED"};

/* A sequence's value to all its tokens: the stages look at the last. */
static int spread(struct batch *b, const char *number, const char *channel, struct error *e)
{
    const double *value = batch_given(b, number, LEVEL_SEQUENCE);
    double *to = b->channel[batch_channel(b, channel, 1)].value;
    if (!value && b->tokens > 0)
        return fail(e, "the samples have no \"%s\"", number);
    for (int i = 0; i < b->samples; i++)
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            to[t] = value[i];
    return 0;
}

static struct safe_knobs knobs_of(const struct method_call *c)
{
    return (struct safe_knobs){method_number(c, "base_threshold"), method_number(c, "entropy_floor"),
                               method_number(c, "kp"), method_number(c, "ki"), method_number(c, "kd")};
}

static json_t *answer_json(const double *s, const struct safe_answer *a)
{
    json_t *o = json_object();
    json_object_set_new(o, "penalty", method_real(a->penalty));
    json_object_set_new(o, "threshold", method_real(a->threshold));
    json_object_set_new(o, "kl_short", method_real(s[SAFE_SHORT]));
    json_object_set_new(o, "kl_long", method_real(s[SAFE_LONG]));
    json_object_set_new(o, "gate", method_real(a->gate));
    json_object_set_new(o, "phase", json_string(phases[a->phase]));
    json_object_set_new(o, "pid", method_real(a->pid));
    json_object_set_new(o, "active", json_boolean(a->active));
    return o;
}

/* The calls of `trace` on this state; what the controller answered is added to `out` (NULL: nobody asks). */
static int feed(const struct method_call *c, double *s, json_t *out, struct error *e)
{
    const json_t *trace = json_object_get(c->input, "trace");
    const struct safe_knobs knobs = knobs_of(c);
    for (size_t k = 0; k < json_array_size(trace); k++) {
        const json_t *x = json_array_get(trace, k);
        double kl, entropy, reward;
        if (json_get_number(x, "kl", 0, &kl, e) || json_get_number(x, "entropy", 0, &entropy, e) ||
            json_get_number(x, "reward", 0, &reward, e))
            return fail_in(e, "trace[%zu]", k);
        struct safe_answer a = safe_control(s, &knobs, kl, entropy, reward);
        if (out)
            json_array_append_new(out, answer_json(s, &a));
    }
    return 0;
}

static int before(struct method_call *c, struct error *e)
{
    struct batch *b = c->b;
    double raw;
    if (spread(b, "v1", "critic.value+", e) || spread(b, "v2", "critic2.value+", e) ||
        spread(b, "v1", "critic.value", e) || spread(b, "v2", "critic2.value", e) ||
        feed(c, state_at(method_state(c, "controller"), 0), NULL, e) ||
        json_get_number(c->input, "raw_reward_mean", 0, &raw, e))
        return -1;
    double *reward = json_is_number(json_object_get(c->input, "raw_reward_mean"))
                         ? batch_number(b, "raw_reward", LEVEL_SEQUENCE)->value
                         : NULL;
    for (int i = 0; i < b->samples && reward; i++)
        reward[i] = raw;
    return 0;
}

/* One number a sample, in one list. */
static json_t *sample_sums(const struct batch *b, const double *grad)
{
    json_t *list = json_array();
    for (int i = 0; i < b->samples; i++) {
        double sum = 0;
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            sum += grad[t];
        json_array_append_new(list, method_real(sum));
    }
    return list;
}

static double *gradient(struct batch *b, const char *channel)
{
    return b->channel[batch_channel(b, channel, 1)].grad;
}

static int extra(struct method_call *c, struct error *e)
{
    struct batch *b = c->b;
    const struct metrics *m = c->metrics;
    double s[SAFE_WIDTH] = {0}, value = metric_value(m, "value_min.loss", 0), entropy = metric_value(m, "entropy", 0);
    double penalty = metric_value(m, "safe.penalty", 0);
    const double *soft = batch_given(b, "value_min", LEVEL_SEQUENCE);
    json_t *calls = json_array(), *list = json_array();
    json_object_set_new(c->answer, "controller", calls);
    json_object_set_new(c->answer, "v_soft", list);
    for (int i = 0; i < b->samples && soft; i++)
        json_array_append_new(list, method_real(soft[i]));
    if (feed(c, s, calls, e))
        return -1;
    double pid = metric_value(m, "safe.pid", 0), kl_short = metric_value(m, "safe.kl_short", 0);
    struct safe_answer last = {penalty,
                               metric_value(m, "safe.threshold", 0),
                               metric_value(m, "safe.gate", 0),
                               pid,
                               (enum safe_phase)metric_value(m, "safe.phase", 0),
                               0};
    last.active = kl_short > last.threshold;
    if (c->den->tokens > 0)
        json_array_append_new(calls, answer_json(state_at(method_state(c, "controller"), 0), &last));
    json_object_set_new(c->answer, "dv1", sample_sums(b, gradient(b, "critic.value")));
    json_object_set_new(c->answer, "dv2", sample_sums(b, gradient(b, "critic2.value")));
    json_object_set_new(c->answer, "value_loss", method_real(value));
    json_object_set_new(c->answer, "kl", method_real(metric_value(m, "kl", 0)));
    json_object_set_new(c->answer, "kl_penalty", method_real(penalty));
    json_object_set_new(c->answer, "mean_entropy", method_real(entropy));
    json_object_set_new(
        c->answer, "policy_loss",
        method_real(c->loss - method_number(c, "vf_coef") * value - penalty + method_number(c, "ent_coef") * entropy));
    return 0;
}

const struct method method_safe = {.name = "safe", .data = data, .before = before, .extra = extra};
