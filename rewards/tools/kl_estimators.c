/* KL estimators: every estimate and its derivative for every token, the KL term alone (with coefficient 1) as loss and
 * gradient, and for pairs of distributions given by logits ("dists": [{"p_logits": [..], "q_logits": [..]}, ..]) the
 * exact divergences, the expectations of the estimates under p, and the gradients by p's logits of all of them. E_ is
 * the expectation of the value, Egrad_ of the gradient that a loss takes.
 */
#include "../../model/base/error.h"
#include "../../model/base/mem.h"
#include "../method.h"
#include <math.h>
#include <string.h>

static const char *const names[] = {"k1", "k2", "k3", "k3plus"}; /* in the order of kl_choices */
enum { KINDS = sizeof names / sizeof *names, NUMBER = 32 };

static json_t *token_estimates(double d)
{
    json_t *o = json_object();
    for (int kind = 0; kind < KINDS; kind++) {
        char derivative[NUMBER];
        double grad, value = kl_estimate(kind, d, &grad);
        snprintf(derivative, sizeof derivative, "d%s", names[kind]);
        json_object_set_new(o, names[kind], method_real(value));
        json_object_set_new(o, derivative, method_real(grad));
    }
    return o;
}

static json_t *all_tokens(const struct batch *b, const double *logp, const double *ref)
{
    json_t *groups = json_array();
    for (int g = 0; g < b->groups; g++) {
        json_t *group = json_array();
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            json_t *tokens = json_array();
            for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
                json_array_append_new(tokens, token_estimates(logp[t] - ref[t]));
            json_array_append_new(group, tokens);
        }
        json_array_append_new(groups, group);
    }
    return groups;
}

/* The regulariser that ran, once more with coefficient 1 and without the policy's term. */
static int term_alone(struct method_call *c, struct channel *logp, struct error *e)
{
    const struct stage_use *u = c->phase->stage;
    struct value value[MAX_PARAMS];
    struct metrics metrics = {0};
    double loss = 0;
    while (u->stage->kind != STAGE_REGULAR)
        u++;
    memcpy(value, u->value, sizeof value);
    value[param_find(u->stage->params, "coef")].num = 1;
    memset(logp->grad, 0, (size_t)c->b->tokens * sizeof *logp->grad);
    struct stage_call call = {.stage = u->stage,
                              .b = c->b,
                              .g1 = c->b->groups,
                              .p = value,
                              .channel = u->channel,
                              .den = c->den,
                              .loss = &loss,
                              .metrics = &metrics};
    if (u->stage->run(&call, e))
        return -1;
    json_object_set_new(c->answer, "loss", method_real(loss));
    json_object_set_new(c->answer, "dlogp", method_tokens(c->b, logp->grad));
    return 0;
}

/* ---- pairs of distributions */

static void log_softmax(double *x, int n)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        max = fmax(max, x[i]);
    for (int i = 0; i < n; i++)
        sum += exp(x[i] - max);
    for (int i = 0; i < n; i++)
        x[i] -= max + log(sum);
}

/* sum over i of p_i f_i, its gradient by the logits of p when f is a constant of them: p_j (f_j - sum). */
static double expectation(const double *lp, const double *f, int n, json_t *grad)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp(lp[i]) * f[i];
    for (int i = 0; grad && i < n; i++)
        json_array_append_new(grad, method_real(exp(lp[i]) * (f[i] - sum)));
    return sum;
}

static void set_name(json_t *o, const char *prefix, const char *name, json_t *value)
{
    char key[NUMBER];
    snprintf(key, sizeof key, "%s%s", prefix, name);
    json_object_set_new(o, key, value);
}

/* Estimates on d = log p - log q; the loss of an outcome i moves the logits by k'(d_i) times the gradient of log p_i.
 */
static void estimates_of_pair(json_t *o, const double *lp, const double *lq, int n)
{
    double *value = mem_alloc((size_t)n, sizeof *value), *slope = mem_alloc((size_t)n, sizeof *slope);
    for (int kind = 0; kind + 1 < KINDS; kind++) {
        json_t *grad = json_array();
        for (int i = 0; i < n; i++)
            value[i] = kl_estimate(kind, lp[i] - lq[i], &slope[i]);
        set_name(o, "E_", names[kind], method_real(expectation(lp, value, n, NULL)));
        expectation(lp, slope, n, grad);
        set_name(o, "Egrad_", names[kind], grad);
    }
    mem_free(value);
    mem_free(slope);
}

static json_t *pair_answer(const double *lp, const double *lq, int n)
{
    json_t *o = json_object(), *reverse = json_array(), *forward = json_array();
    double *d = mem_alloc((size_t)n, sizeof *d);
    for (int i = 0; i < n; i++)
        d[i] = lp[i] - lq[i];
    json_object_set_new(o, "reverse_kl", method_real(expectation(lp, d, n, reverse)));
    for (int i = 0; i < n; i++) {
        d[i] = -d[i];
        json_array_append_new(forward, method_real(exp(lp[i]) - exp(lq[i])));
    }
    json_object_set_new(o, "forward_kl", method_real(expectation(lq, d, n, NULL)));
    json_object_set_new(o, "grad_reverse_kl", reverse);
    json_object_set_new(o, "grad_forward_kl", forward);
    estimates_of_pair(o, lp, lq, n);
    mem_free(d);
    return o;
}

/* Logits as log-probabilities; NULL: no array of n numbers. n 0: as many as there are. */
static double *read_logits(const json_t *pair, const char *key, size_t n, struct error *e)
{
    const json_t *list = json_object_get(pair, key);
    size_t size = json_array_size(list);
    if (size == 0 || (n && size != n)) {
        fail(e, "\"%s\" must be an array of numbers, as many in p_logits as in q_logits", key);
        return NULL;
    }
    double *x = mem_alloc(size, sizeof *x);
    for (size_t i = 0; i < size; i++) {
        const json_t *number = json_array_get(list, i);
        x[i] = json_number_value(number);
        if (!json_is_number(number)) {
            fail(e, "%s[%zu] is no number", key, i);
            mem_free(x);
            return NULL;
        }
    }
    log_softmax(x, (int)size);
    return x;
}

static json_t *answer_pair(const json_t *pair, struct error *e)
{
    size_t n = json_array_size(json_object_get(pair, "p_logits"));
    double *lp = read_logits(pair, "p_logits", 0, e), *lq = lp ? read_logits(pair, "q_logits", n, e) : NULL;
    json_t *o = lq ? pair_answer(lp, lq, (int)n) : NULL;
    mem_free(lp);
    mem_free(lq);
    return o;
}

static int has_channel(const struct batch *b, const char *name)
{
    int at = 0;
    while (at < b->channels && strcmp(b->channel[at].name, name))
        at++;
    return at < b->channels;
}

static int extra(struct method_call *c, struct error *e)
{
    struct batch *b = c->b;
    if (b->tokens > 0 && !has_channel(b, "ref.logp"))
        return fail(e, "the samples have no \"logp_ref\"");
    struct channel *logp = &b->channel[batch_channel(b, "policy.logp", 1)];
    const double *ref = b->channel[batch_channel(b, "ref.logp", 0)].value;
    const json_t *dists = json_object_get(c->input, "dists");
    json_object_set_new(c->answer, "tokens", all_tokens(b, logp->value, ref));
    if (term_alone(c, logp, e))
        return -1;
    if (!dists)
        return 0;
    json_t *pairs = json_array();
    json_object_set_new(c->answer, "dists", pairs);
    for (size_t i = 0; i < json_array_size(dists); i++) {
        json_t *pair = answer_pair(json_array_get(dists, i), e);
        if (!pair)
            return fail_in(e, "dists[%zu]", i);
        json_array_append_new(pairs, pair);
    }
    return json_is_array(dists) ? 0 : fail(e, "\"dists\" is no array");
}

const struct method method_kl_estimators = {.name = "kl_estimators", .extra = extra};
