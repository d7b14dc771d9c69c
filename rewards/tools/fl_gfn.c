/* Flow networks with local credit: energies and log flows of all states in, gradients of the flows and of log Z out.
 * For the objective tb, log Z is the flow of the first state. The reward of the answer is R = exp(-E / temperature).
 */
#include "../method.h"
#include <math.h>
#include <string.h>

static const struct datum data[] = {{"complete", DATUM_NUMBER, "complete", LEVEL_SEQUENCE, NULL},
                                    {"energy_drop", DATUM_COMPONENT, "energy", LEVEL_TOKEN, "outcome"},
                                    {"energy_drop", DATUM_COMPONENT, "energy", LEVEL_TOKEN, "process"},
                                    {"energy_drop", DATUM_COMPONENT, "energy", LEVEL_TOKEN, "reference"},
                                    {0}};

static int is_tb(const struct method_call *c)
{
    return strcmp(method_param(c, "objective"), "tb") == 0;
}

/* Entry k of an array of n + 1 numbers of the sample. */
static int number_at(const json_t *sample, const char *key, int n, int k, double *to, struct error *e)
{
    const json_t *list = json_object_get(sample, key), *x = json_array_get(list, (size_t)k);
    if (!json_is_array(list) || (int)json_array_size(list) != n + 1)
        return fail(e, "\"%s\" must be an array of %d numbers", key, n + 1);
    if (!json_is_number(x))
        return fail(e, "%s[%d] is no number", key, k);
    *to = json_number_value(x);
    return 0;
}

struct arrays {
    double *flow, *last, *drop; /* drop: what the energy falls by at a token */
};

static int read_sample(const struct batch *b, int i, const json_t *sample, const struct arrays *a, struct error *e)
{
    int first = b->sample_first[i], n = b->sample_first[i + 1] - first;
    double before = 0, now;
    if (n == 0)
        return 0;
    for (int k = 0; k < n; k++)
        if (number_at(sample, "log_flow", n, k, &a->flow[first + k], e))
            return -1;
    if (number_at(sample, "log_flow", n, n, &a->last[i], e) || number_at(sample, "energy", n, 0, &before, e))
        return -1;
    if (before != 0)
        return fail(e, "energy[0] is %g: nothing has happened yet, it must be 0", before);
    for (int k = 0; k < n; k++, before = now) {
        if (number_at(sample, "energy", n, k + 1, &now, e))
            return -1;
        a->drop[first + k] = before - now;
    }
    return 0;
}

static int before(struct method_call *c, struct error *e)
{
    struct batch *b = c->b;
    const json_t *groups = json_object_get(c->input, "groups");
    struct arrays a = {b->channel[batch_channel(b, "flow.value", 1)].value,
                       batch_number(b, "last_flow", LEVEL_SEQUENCE)->value,
                       batch_component(b, "energy", LEVEL_TOKEN)->value};
    for (int g = 0; g < b->groups; g++) {
        const json_t *group = json_array_get(groups, (size_t)g), *samples = json_object_get(group, "samples");
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            const json_t *sample = json_array_get(samples, (size_t)(i - b->group_first[g]));
            if (read_sample(b, i, sample, &a, e))
                return fail_in(e, "groups[%d].samples[%d]", g, i - b->group_first[g]);
            if (is_tb(c) && b->sample_first[i + 1] > b->sample_first[i] &&
                method_group_number(c, g, "log_z", &a.flow[b->sample_first[i]], e))
                return -1;
        }
    }
    return 0;
}

static json_t *flows_json(const struct method_call *c, const double *grad, const double *last)
{
    json_t *groups = method_tokens(c->b, grad);
    for (int g = 0; g < c->b->groups; g++)
        for (int i = c->b->group_first[g]; i < c->b->group_first[g + 1]; i++) {
            json_t *group = json_array_get(groups, (size_t)g);
            json_array_append_new(json_array_get(group, (size_t)(i - c->b->group_first[g])), method_real(last[i]));
        }
    return groups;
}

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double *grad = b->channel[batch_channel(b, "flow.value", 1)].grad, temperature = method_number(c, "temperature");
    json_t *dlog_z = method_group_sums(b, grad);
    for (int g = 0; g < b->groups && !is_tb(c); g++)
        json_array_set_new(dlog_z, (size_t)g, json_real(0));
    if (is_tb(c))
        memset(grad, 0, (size_t)b->tokens * sizeof *grad);
    json_object_set_new(c->answer, "dlog_z", dlog_z);
    json_object_set_new(c->answer, "dlog_flow", flows_json(c, grad, batch_given(b, "dlast_flow", LEVEL_SEQUENCE)));
    for (int i = 0; i < b->samples; i++)
        json_object_set_new(method_sample(c, i), "reward", method_real(exp(b->reward[i] / temperature)));
    return 0;
}

const struct method method_fl_gfn = {.name = "fl_gfn", .data = data, .before = before, .extra = extra};
