/* The table of methods, and what their `extra` functions share. */
#include "method.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "recipe_inner.h"

#define METHOD(row) extern const struct method row;
#include "methods.def"
#undef METHOD

const struct method *const methods[] = {
#define METHOD(row) &row,
#include "methods.def"
#undef METHOD
    NULL};

const struct method *method_find(const char *name)
{
    char plain[64];
    snprintf(plain, sizeof plain, "%s", name);
    for (char *c = plain; (c = strchr(c, '-'));)
        *c = '_';
    for (int i = 0; methods[i]; i++)
        if (strcmp(methods[i]->name, plain) == 0)
            return methods[i];
    return NULL;
}

const char *method_param(const struct method_call *c, const char *key)
{
    const struct entry *n = c->recipe ? ini_entry(ini_section(c->recipe->ini, "params", NULL), key) : NULL;
    return n ? n->text : NULL;
}

double method_number(const struct method_call *c, const char *key)
{
    const char *text = method_param(c, key);
    if (!text)
        die("method %s: its recipe has no parameter '%s'", c->recipe ? c->recipe->name : "without recipe", key);
    if (strcmp(text, "true") == 0)
        return 1;
    return strcmp(text, "off") == 0 ? INFINITY : strtod(text, NULL);
}

struct state *method_state(const struct method_call *c, const char *name)
{
    for (int i = 0; i < c->phase->stages; i++)
        for (int k = 0; k < MAX_STATES && c->phase->stage[i].state[k].row; k++)
            if (strcmp(c->phase->stage[i].state[k].row->name, name) == 0)
                return (struct state *)&c->phase->stage[i].state[k];
    die("method %s: no stage of its recipe keeps '%s'", c->recipe->name, name);
}

int method_group_number(const struct method_call *c, int g, const char *key, double *to, struct error *e)
{
    const json_t *group = json_array_get(json_object_get(c->input, "groups"), (size_t)g);
    if (json_get_number(group, key, NAN, to, e))
        return fail_in(e, "groups[%d]", g);
    return isnan(*to) ? fail(e, "groups[%d]: \"%s\" is missing", g, key) : 0;
}

json_t *method_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *method_sample(const struct method_call *c, int sample)
{
    int g = 0;
    while (c->b->group_first[g + 1] <= sample)
        g++;
    json_t *group = json_array_get(json_object_get(c->answer, "groups"), (size_t)g);
    return json_array_get(json_object_get(group, "samples"), (size_t)(sample - c->b->group_first[g]));
}

json_t *method_samples(const struct batch *b, const double *value)
{
    json_t *groups = json_array();
    for (int g = 0; g < b->groups; g++) {
        json_t *group = json_array();
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            json_array_append_new(group, method_real(value[i]));
        json_array_append_new(groups, group);
    }
    return groups;
}

json_t *method_tokens(const struct batch *b, const double *value)
{
    json_t *groups = json_array();
    for (int g = 0; g < b->groups; g++) {
        json_t *group = json_array();
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            json_t *tokens = json_array();
            for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
                json_array_append_new(tokens, method_real(value[t]));
            json_array_append_new(group, tokens);
        }
        json_array_append_new(groups, group);
    }
    return groups;
}

json_t *method_group_sums(const struct batch *b, const double *value)
{
    json_t *groups = json_array();
    for (int g = 0; g < b->groups; g++) {
        double sum = 0;
        for (int t = b->sample_first[b->group_first[g]]; t < b->sample_first[b->group_first[g + 1]]; t++)
            sum += value[t];
        json_array_append_new(groups, method_real(sum));
    }
    return groups;
}

void method_sum_steps(struct method_call *c)
{
    const struct batch *b = c->b;
    const double *step = batch_given(b, "process", LEVEL_STEP);
    for (int i = 0; i < b->samples && step; i++) {
        double sum = 0;
        for (int k = b->step_first[i]; k < b->step_first[i + 1]; k++)
            sum += step[k];
        json_object_set_new(method_sample(c, i), "reward", method_real(sum));
    }
}
