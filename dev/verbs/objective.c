/* objective: a method on numbers that are given. A filter: groups of samples with their log-probabilities and rewards
 * in, loss, gradient, rewards and advantages out. The stages are those that train; nothing is sampled, no model is run.
 *
 * What a method reads beyond the common members of a sample, and what more it answers, is its row in rewards/tools/.
 */
#include "verbs.h"
#include "../../model/base/mem.h"
#include "../../model/base/rng.h"
#include "../../rewards/method.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_EXPLAIN, OPTIONS };
static const struct param options[] = {{"explain", PARAM_BOOL, "false", 0, 0, NULL,
                                        "Print the formula of every stage to standard error, once a recipe.", NULL},
                                       {0}};

enum { MAX_TOKENS = 1 << 24, MAX_SAMPLES = 1 << 20 }; /* of one line */

struct evaluation_of_line {
    const json_t *input, *groups, *params;
    const struct method *method; /* NULL: the recipe says it all */
    struct recipe recipe;
    int has_recipe;
    struct phase *phase;
    struct batch batch;
    double *old;           /* logp_old, apart from the sampler's */
    int row;               /* of the members that are data, counted over both tables */
    uint64_t seen, missed; /* bit of each: on a sample with tokens, it stood there, it did not */
    struct metrics metrics;
    double loss;
};

/* Members of a sample that are the same for every method. */
static const struct datum common[] = {{"logp", DATUM_CHANNEL, "policy.logp", LEVEL_TOKEN, NULL},
                                      {"entropy", DATUM_CHANNEL, "policy.entropy", LEVEL_TOKEN, NULL},
                                      {"logp_ref", DATUM_CHANNEL, "ref.logp", LEVEL_TOKEN, NULL},
                                      {"logp_noprompt", DATUM_CHANNEL, "policy@noprompt.logp", LEVEL_TOKEN, NULL},
                                      {"step_rewards", DATUM_COMPONENT, "process", LEVEL_STEP, NULL},
                                      {0}};

/* ---- parameters ---- */

/* In lists of components the verdict is called "correct" in data and "outcome" in recipes. */
static void add_list(struct text *out, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        const char *name = json_string_value(x);
        if (i)
            text_add(out, ",", 1);
        if (name)
            text_addf(out, "%s", strcmp(name, "correct") ? name : "outcome");
        else
            text_addf(out, "%.17g", json_number_value(x));
    }
}

static const char *recipe_spelling(const struct method *m, const char *key)
{
    for (const char *const *a = m ? m->alias : NULL; a && a[0]; a += 2)
        if (strcmp(a[0], key) == 0)
            return a[1];
    return key;
}

/* "key=value" of every parameter; objects are data and are left to the method. */
static int override_texts(const struct method *m, const json_t *params, struct text *out, int *first, int max,
                          struct error *e)
{
    const char *key;
    json_t *value;
    int n = 0;
    json_object_foreach((json_t *)params, key, value)
    {
        if (json_is_object(value) || !*recipe_spelling(m, key))
            continue;
        if (n == max)
            return fail(e, "more than %d parameters", max);
        first[n++] = out->len;
        text_addf(out, "%s=", recipe_spelling(m, key));
        if (json_is_array(value))
            add_list(out, value);
        else if (json_is_string(value))
            text_addf(out, "%s", json_string_value(value));
        else if (json_is_number(value))
            text_addf(out, "%.17g", json_number_value(value));
        else
            text_addf(out, "%s", json_is_null(value) ? "off" : json_is_true(value) ? "true" : "false");
        text_add(out, "", 1); /* a terminator of its own */
    }
    return n;
}

static int find_phase(struct evaluation_of_line *v, struct error *e)
{
    for (int i = 0; i < v->recipe.phases && !v->phase; i++)
        if (v->recipe.phase[i].source == SOURCE_ROLLOUT && !v->recipe.phase[i].branch[0] &&
            phase_trains_policy(&v->recipe.phase[i]))
            v->phase = &v->recipe.phase[i];
    return v->phase ? 0 : fail(e, "the recipe '%s' has no phase that learns from rollouts", v->recipe.name);
}

static int is_recipe(const char *name)
{
    for (int i = 0; recipe_files[i].name; i++)
        if (strcmp(recipe_files[i].name, name) == 0)
            return 1;
    return strchr(name, '/') || strchr(name, '.');
}

static int open_method(struct evaluation_of_line *v, struct error *e)
{
    enum { MAX = 100 };
    struct text texts = {0};
    int first[MAX];
    const char *name = json_get_string(v->input, "recipe", NULL), *override[MAX];
    if (!name)
        return fail(e, "\"recipe\" is missing: the name of a method");
    v->method = method_find(name);
    v->params = json_object_get(v->input, "params");
    if (v->params && !json_is_object(v->params) && !json_is_null(v->params))
        return fail(e, "\"params\" is no object");
    v->has_recipe = !v->method || is_recipe(v->method->name);
    if (!v->has_recipe)
        return 0;
    int n = override_texts(v->method, v->params, &texts, first, MAX, e), status = n < 0 ? -1 : 0;
    for (int i = 0; i < n; i++)
        override[i] = texts.s + first[i];
    if (!status)
        status = recipe_load_for_data(&v->recipe, v->method ? v->method->name : name, override, n, e);
    text_free(&texts);
    v->has_recipe = !status;
    return status || find_phase(v, e) ? -1 : 0;
}

/* ---- the line becomes a batch ---- */

static const json_t *samples_of(const json_t *group)
{
    return json_object_get(group, "samples");
}

/* Tokens of a sample: as many as it has log-probabilities, else its "length". */
static int sample_length(const json_t *sample, long *n, struct error *e)
{
    const json_t *logp = json_object_get(sample, "logp");
    *n = (long)json_array_size(logp);
    return logp ? 0 : json_get_int(sample, "length", 0, MAX_TOKENS, 0, n, e);
}

struct sizes {
    long groups, samples, tokens, steps;
};

static int count_line(const json_t *groups, struct sizes *z, struct error *e)
{
    *z = (struct sizes){.groups = (long)json_array_size(groups)};
    for (size_t g = 0; g < json_array_size(groups); g++) {
        const json_t *group = json_array_get(groups, g), *samples = samples_of(group);
        if (!json_is_array(samples))
            return fail(e, "groups[%zu] has no array \"samples\"", g);
        for (size_t i = 0; i < json_array_size(samples); i++) {
            const json_t *sample = json_array_get(samples, i);
            long n;
            if (!json_is_object(sample))
                return fail(e, "groups[%zu].samples[%zu] is no object", g, i);
            if (sample_length(sample, &n, e))
                return fail_in(e, "groups[%zu].samples[%zu]", g, i);
            z->samples++;
            z->tokens += n;
            z->steps += (long)json_array_size(json_object_get(sample, "steps"));
        }
    }
    if (z->tokens > MAX_TOKENS || z->samples > MAX_SAMPLES || z->groups > MAX_SAMPLES)
        return fail(e, "more than %d tokens or %d samples on one line", MAX_TOKENS, MAX_SAMPLES);
    return 0;
}

/* An array of exactly n numbers. */
static int read_numbers(const json_t *o, const char *key, double *to, int n, struct error *e)
{
    const json_t *a = json_object_get(o, key);
    if (!json_is_array(a))
        return fail(e, "\"%s\" must be an array of numbers", key);
    if ((int)json_array_size(a) != n)
        return fail(e, "\"%s\" must be an array of %d numbers", key, n);
    for (int i = 0; i < n; i++) {
        const json_t *x = json_array_get(a, (size_t)i);
        if (!json_is_number(x) && !json_is_boolean(x))
            return fail(e, "%s[%d] is no number", key, i);
        to[i] = json_is_boolean(x) ? json_is_true(x) : json_number_value(x);
    }
    return 0;
}

static int read_number(const json_t *o, const char *key, double *to, struct error *e)
{
    const json_t *x = json_object_get(o, key);
    if (!json_is_number(x) && !json_is_boolean(x))
        return fail(e, "\"%s\" is no number", key);
    *to = json_is_boolean(x) ? json_is_true(x) : json_number_value(x);
    return 0;
}

static int present(const json_t *o, const char *key)
{
    const json_t *x = json_object_get(o, key);
    return x && !json_is_null(x);
}

static int read_steps(struct batch *b, int i, const json_t *sample, struct error *e)
{
    const json_t *steps = json_object_get(sample, "steps");
    int tokens = b->sample_first[i + 1] - b->sample_first[i], before = 0;
    for (size_t k = 0; k < json_array_size(steps); k++) {
        const json_t *span = json_array_get(steps, k), *end = json_array_get(span, 1);
        int at = json_is_integer(end) && json_integer_value(end) <= tokens ? (int)json_integer_value(end) : -1;
        if (json_array_size(span) != 2 || at < before)
            return fail(e, "steps[%zu] is no [first token, token after the last] behind the one before", k);
        b->step_end[b->steps++] = before = at;
    }
    b->step_first[i + 1] = b->steps;
    return 0;
}

static int read_rewards(struct batch *b, int i, const json_t *sample, struct error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(sample, "rewards"), key, value)
    {
        if (!json_is_number(value))
            return fail(e, "rewards.%s is no number", key);
        if (b->components == MAX_COMPONENTS && batch_find_component(b, key) < 0)
            return fail(e, "more than %d components", MAX_COMPONENTS);
        if (strcmp(key, "correct") != 0) /* the verdict: the score stage `outcome` makes it a number */
            batch_component(b, key, LEVEL_SEQUENCE)->value[i] = json_number_value(value);
    }
    return 0;
}

static struct component *datum_component(struct batch *b, const struct datum *d)
{
    return d->to == DATUM_NUMBER ? batch_number(b, d->name, d->level) : batch_component(b, d->name, d->level);
}

static int read_datum(struct batch *b, int i, const struct datum *d, const json_t *sample, struct error *e)
{
    int first = b->sample_first[i], n = b->sample_first[i + 1] - first;
    if (d->to == DATUM_CHANNEL && d->level == LEVEL_SEQUENCE) /* behind the last token */
        return n ? read_number(sample, d->key, &b->channel[batch_channel(b, d->name, 1)].value[first + n - 1], e) : 0;
    if (d->to == DATUM_CHANNEL)
        return read_numbers(sample, d->key, b->channel[batch_channel(b, d->name, 1)].value + first, n, e);
    double *to = datum_component(b, d)->value;
    if (d->level == LEVEL_SEQUENCE)
        return read_number(sample, d->key, to + i, e);
    if (d->level == LEVEL_TOKEN)
        return read_numbers(sample, d->key, to + first, n, e);
    return read_numbers(sample, d->key, to + b->step_first[i], b->step_first[i + 1] - b->step_first[i], e);
}

/* A member stands on every sample that has tokens or on none: a gap would be taken for zeros. */
static int read_data(struct evaluation_of_line *v, int i, const struct datum *rows, const json_t *sample,
                     struct error *e)
{
    const struct batch *b = &v->batch;
    for (const struct datum *d = rows; d && d->key; d++) {
        if (d->to == DATUM_STATE || d->level == LEVEL_GROUP)
            continue;
        if (present(sample, d->key)) {
            if (read_datum(&v->batch, i, d, sample, e))
                return -1;
            v->seen |= 1ull << v->row;
        } else if (b->sample_first[i + 1] > b->sample_first[i])
            v->missed |= 1ull << v->row;
        if (v->seen & v->missed & 1ull << v->row)
            return fail(e, "\"%s\" has to stand on every sample or on none", d->key);
        v->row++;
    }
    return 0;
}

static int read_old(struct evaluation_of_line *v, int i, const json_t *sample, struct error *e)
{
    struct batch *b = &v->batch;
    int first = b->sample_first[i], n = b->sample_first[i + 1] - first;
    const char *old = present(sample, "logp_old") ? "logp_old" : "logp";
    if (n == 0)
        return 0;
    if (present(sample, old) && read_numbers(sample, old, b->logp_old + first, n, e))
        return -1;
    if (present(sample, "logp_rollout"))
        return read_numbers(sample, "logp_rollout", b->logp_rollout + first, n, e);
    memcpy(b->logp_rollout + first, b->logp_old + first, (size_t)n * sizeof(double));
    return 0;
}

/* true, false or a number, in "correct" or, where that is missing, in rewards.correct. */
static int read_verdict(const json_t *sample, signed char *verdict, struct error *e)
{
    const json_t *rewards = json_object_get(sample, "rewards");
    double x = 0;
    *verdict = VERDICT_UNPARSABLE;
    if (!present(sample, "correct") && !present(rewards, "correct"))
        return 0;
    if (read_number(present(sample, "correct") ? sample : rewards, "correct", &x, e))
        return -1;
    *verdict = x > 0;
    return 0;
}

static int read_sample(struct evaluation_of_line *v, const json_t *sample, struct error *e)
{
    struct batch *b = &v->batch;
    int i = b->samples, truncated;
    long n;
    if (sample_length(sample, &n, e) || json_get_bool(sample, "truncated", 0, &truncated, e) ||
        read_verdict(sample, &b->strict[i], e))
        return -1;
    b->sample_first[i + 1] = b->tokens += (int)n;
    for (int t = b->sample_first[i]; t < b->tokens; t++) {
        b->trained[t] = 1;
        b->turn[t] = 0;
    }
    b->temperature[i] = 1;
    b->truncated[i] = (unsigned char)truncated;
    b->lenient[i] = b->strict[i];
    v->row = 0;
    if (read_steps(b, i, sample, e) || read_rewards(b, i, sample, e) || read_data(v, i, common, sample, e) ||
        read_data(v, i, v->method ? v->method->data : NULL, sample, e) || read_old(v, i, sample, e))
        return -1;
    b->samples++;
    return 0;
}

/* The state that a stage of the phase keeps under this name; NULL: none does. */
static struct state *find_state(struct phase *p, const char *name)
{
    for (int i = 0; i < p->stages; i++)
        for (int k = 0; k < MAX_STATES && p->stage[i].state[k].row; k++)
            if (strcmp(p->stage[i].state[k].row->name, name) == 0)
                return &p->stage[i].state[k];
    return NULL;
}

static int read_group_data(struct evaluation_of_line *v, int g, const json_t *group, struct error *e)
{
    struct batch *b = &v->batch;
    for (const struct datum *d = v->method ? v->method->data : NULL; d && d->key; d++) {
        if (!present(group, d->key))
            continue;
        if (d->to == DATUM_STATE) {
            struct state *s = v->phase ? find_state(v->phase, d->name) : NULL;
            double *to = s ? state_at(s, batch_prompt(b, g)) : NULL;
            if (to && (s->row->width == 1 ? read_number(group, d->key, to, e)
                                          : read_numbers(group, d->key, to, s->row->width, e)))
                return -1;
        } else if (d->level == LEVEL_GROUP && read_number(group, d->key, datum_component(b, d)->value + g, e))
            return -1;
    }
    return 0;
}

static int read_group(struct evaluation_of_line *v, int g, const json_t *group, struct error *e)
{
    struct batch *b = &v->batch;
    const json_t *samples = samples_of(group);
    b->prompt_key[g] = (uint64_t)g;
    b->item[g] = NULL;
    for (size_t i = 0; i < json_array_size(samples); i++)
        if (read_sample(v, json_array_get(samples, i), e))
            return fail_in(e, "groups[%d].samples[%zu]", g, i);
    b->groups++;
    b->group_first[g + 1] = b->samples;
    b->prompt_first[g + 1] = 0;
    return read_group_data(v, g, group, e) ? fail_in(e, "groups[%d]", g) : 0;
}

static int read_line(struct evaluation_of_line *v, struct error *e)
{
    struct sizes z;
    v->groups = json_object_get(v->input, "groups");
    if (v->groups && !json_is_array(v->groups))
        return fail(e, "\"groups\" is no array");
    if (!v->groups && v->has_recipe)
        return fail(e, "\"groups\" is missing");
    if (count_line(v->groups, &z, e))
        return -1;
    batch_create(&v->batch, (int)z.groups, (int)z.samples, (int)z.tokens, (int)z.steps, 1, 0);
    v->old = mem_alloc((size_t)z.tokens, sizeof *v->old);
    v->batch.logp_old = v->old;
    for (int g = 0; g < (int)z.groups; g++)
        if (read_group(v, g, json_array_get(v->groups, (size_t)g), e))
            return -1;
    return 0;
}

/* ---- the stages ---- */

static int bind_channels(struct evaluation_of_line *v, struct stage_use *u, struct error *e)
{
    struct batch *b = &v->batch;
    for (int c = 0; c < 6; c++) {
        int known = b->channels;
        const char *name = u->channel_name[c], *key = name;
        if (!*name)
            continue;
        u->channel[c] = batch_channel(b, name, (int)(u->stage->gradients >> c & 1));
        if (u->channel[c] < known || b->tokens == 0)
            continue;
        const struct datum *tables[] = {common, v->method ? v->method->data : NULL};
        for (int k = 0; k < 2; k++)
            for (const struct datum *d = tables[k]; d && d->key; d++)
                key = strcmp(d->name, name) ? key : d->key;
        return fail(e, "the stage '%s' reads %s: the samples have no \"%s\"", u->stage->name, name, key);
    }
    return 0;
}

/* A component that stands on the line is taken; others are scored, which needs text only where no verdict will do. */
static int is_written(const struct batch *b, const char *name)
{
    int at = batch_find_component(b, name);
    return at >= 0 && b->component[at].written;
}

static int is_given(const struct evaluation_of_line *v, const struct stage *s)
{
    if (s->kind != STAGE_SCORE)
        return 0;
    if (v->batch.samples == 0)
        return 1;
    for (const struct datum *d = v->method ? v->method->data : NULL; d && d->key; d++)
        if (d->instead && strcmp(d->instead, s->name) == 0 && is_written(&v->batch, d->name))
            return 1;
    return is_written(&v->batch, s->name);
}

/* A term whose coefficient is 0 reads nothing that the samples lack. */
static int is_idle(const struct evaluation_of_line *v, const struct stage_use *u)
{
    int coef = param_find(u->stage->params, "coef"), missing = 0;
    for (int c = 0; c < 6; c++) {
        int at = 0;
        if (!u->channel_name[c][0])
            continue;
        while (at < v->batch.channels && strcmp(v->batch.channel[at].name, u->channel_name[c]))
            at++;
        missing |= at == v->batch.channels;
    }
    return missing && coef >= 0 && u->value[coef].num == 0;
}

static int run_stage(struct evaluation_of_line *v, struct stage_use *u, const struct denominators *den, struct error *e)
{
    const struct stage *s = u->stage;
    struct stage_call c = {.stage = s, .b = &v->batch, .g0 = 0, .g1 = v->batch.groups, .p = u->value};
    if (is_given(v, s) || is_idle(v, u))
        return 0;
    if (s->kind == STAGE_SCORE && (s->reads & FIELD_TEXT))
        return fail(e, "the score stage '%s' reads text: give its component as rewards.%s", s->name, s->name);
    if (bind_channels(v, u, e))
        return -1;
    long step = 0, steps = v->phase->steps;
    if (json_get_int(v->params, "step", 0, 1L << 40, 0, &step, e) ||
        json_get_int(v->params, "total_steps", 1, 1L << 40, steps, &steps, e))
        return -1;
    c.channel = u->channel;
    c.state = u->state;
    c.den = den;
    c.loss = s->kind >= STAGE_LOSS ? &v->loss : NULL;
    c.seed = v->recipe.run.seed;
    c.step = (uint64_t)step;
    c.phase_step = step;
    c.phase_steps = steps;
    c.metrics = &v->metrics;
    if (!s->run(&c, e))
        return 0;
    struct error why = *e;
    return fail(e, "stage %s", why.text);
}

/* Channels of models whose weights have moved since the rollout: NAME+ becomes NAME. */
static void renew_channels(struct batch *b)
{
    for (int c = 0; c < b->channels; c++) {
        char name[sizeof b->channel[c].name];
        snprintf(name, sizeof name, "%s", b->channel[c].name);
        size_t n = strlen(name) - 1;
        if (name[n] != '+')
            continue;
        name[n] = 0;
        memcpy(b->channel[batch_channel(b, name, 1)].value, b->channel[c].value, (size_t)b->tokens * sizeof(double));
    }
}

static int run_stages(struct evaluation_of_line *v, struct denominators *den, struct error *e)
{
    struct batch *b = &v->batch;
    batch_channel(b, "policy.logp", 1);
    for (int k = STAGE_SCORE; k < STAGE_KINDS; k++) { /* collection, then advantages, then losses, as the loop has it */
        if (k == STAGE_LOSS) {
            batch_denominators(b, 0, b->groups, v->phase->rollout.max_new, den);
            renew_channels(b);
        }
        for (int i = 0; i < v->phase->stages; i++)
            if ((int)v->phase->stage[i].stage->kind == k && run_stage(v, &v->phase->stage[i], den, e))
                return -1;
    }
    return 0;
}

/* ---- the answer ---- */

static json_t *tokens_json(const double *value, int n)
{
    json_t *list = json_array();
    for (int t = 0; t < n; t++)
        json_array_append_new(list, method_real(value[t]));
    return list;
}

static json_t *groups_json(const struct evaluation_of_line *v)
{
    const struct batch *b = &v->batch;
    json_t *groups = json_array();
    for (int g = 0; g < b->groups; g++) {
        json_t *group = json_object(), *samples = json_array();
        json_t *id = json_object_get(json_array_get(v->groups, (size_t)g), "prompt_id");
        if (id)
            json_object_set(group, "prompt_id", id);
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            json_t *sample = json_object();
            int first = b->sample_first[i];
            json_object_set_new(sample, "reward", method_real(b->reward[i]));
            json_object_set_new(sample, "advantage", tokens_json(b->advantage + first, b->sample_first[i + 1] - first));
            json_object_set_new(sample, "weight", method_real(b->weight[i]));
            json_object_set_new(sample, "kept", json_boolean(b->kept[i]));
            json_array_append_new(samples, sample);
        }
        json_object_set_new(group, "samples", samples);
        json_array_append_new(groups, group);
    }
    return groups;
}

static json_t *answer_stages(struct evaluation_of_line *v, const struct denominators *den)
{
    json_t *o = json_object();
    json_object_set_new(o, "loss", method_real(v->loss));
    json_object_set_new(o, "dlogp",
                        method_tokens(&v->batch, v->batch.channel[batch_channel(&v->batch, "policy.logp", 1)].grad));
    json_object_set_new(o, "groups", groups_json(v));
    json_t *metrics = json_object();
    for (int i = 0; i < v->metrics.n; i++)
        json_object_set_new(metrics, v->metrics.metric[i].name,
                            method_real(metric_value(&v->metrics, v->metrics.metric[i].name, NAN)));
    json_object_set_new(metrics, "tokens", json_integer(den->tokens));
    json_object_set_new(metrics, "sequences", json_integer(den->sequences));
    json_object_set_new(o, "metrics", metrics);
    return o;
}

static json_t *answer_opened(struct evaluation_of_line *v, struct error *e)
{
    const struct method *m = v->method;
    struct denominators den = {0};
    struct method_call c = {.input = v->input, .params = v->params, .recipe = v->has_recipe ? &v->recipe : NULL};
    c.phase = v->phase;
    c.b = &v->batch;
    c.den = &den;
    c.metrics = &v->metrics;
    if (read_line(v, e) || (m && m->before && m->before(&c, e)) || (v->has_recipe && run_stages(v, &den, e)))
        return NULL;
    c.loss = v->loss;
    c.answer = v->has_recipe ? answer_stages(v, &den) : json_object();
    if (!m || !m->extra || !m->extra(&c, e))
        return c.answer;
    json_decref(c.answer);
    return NULL;
}

/* ---- explain ---- */

static void explain_stage(const struct stage_use *u)
{
    const struct stage *s = u->stage;
    char number[64];
    fprintf(stderr, "\n  %s = %s\n    %s\n    %s\n", stage_kind_names[s->kind], s->name, s->sentence, s->formula);
    if (s->citation[0])
        fprintf(stderr, "    from: %s\n", s->citation);
    for (int i = 0; i < param_count(s->params); i++)
        fprintf(stderr, "    %s = %s\n", s->params[i].key, param_text(&s->params[i], &u->value[i], number));
}

struct objective {
    int explain;
    char explained[64]; /* recipe that was explained last */
};

static void explain(struct objective *o, const struct evaluation_of_line *v)
{
    if (!o->explain || !v->has_recipe || strcmp(o->explained, v->recipe.name) == 0)
        return;
    snprintf(o->explained, sizeof o->explained, "%s", v->recipe.name);
    fprintf(stderr, "%s: %s\n", v->recipe.name, v->recipe.title ? v->recipe.title : "");
    for (int i = 0; i < v->phase->stages; i++)
        explain_stage(&v->phase->stage[i]);
}

/* ---- the verb ---- */

static json_t *answer(void *context, const json_t *object, struct error *e)
{
    struct evaluation_of_line v = {.input = object};
    json_t *out = NULL;
    if (!open_method(&v, e)) {
        explain(context, &v);
        out = answer_opened(&v, e);
    }
    if (v.old)
        batch_free(&v.batch);
    mem_free(v.old);
    if (v.has_recipe)
        recipe_free(&v.recipe);
    return out;
}

static int run(int argc, const char *const *argv)
{
    struct value value[OPTIONS];
    struct objective o = {0};
    struct error e;
    if (verb_options(&verb_row_objective, argc, argv, value, &e))
        return verb_usage(&verb_row_objective, &e);
    o.explain = value[OPTION_EXPLAIN].num != 0;
    return lines_run(stdin, stdout, answer, &o);
}

const struct verb verb_row_objective = {
    "objective",
    "A method on given data: loss, gradient, rewards and advantages.",
    "[explain=1] <LINES, each {\"recipe\": NAME, \"groups\": [...]}",
    "Reads one JSON object a line from standard input and answers each with one line:\n"
    "  {\"recipe\": NAME, \"params\": {...}, \"groups\": [{\"prompt_id\":.., \"samples\": [{\"logp\": [..],\n"
    "    \"logp_old\": [..], \"logp_ref\": [..], \"entropy\": [..], \"rewards\": {\"correct\": 1, ..}, \"correct\": "
    "true,\n"
    "    \"truncated\": false, \"steps\": [[0,3],..], \"step_rewards\": [..]}, ..]}, ..]}\n"
    "gives\n"
    "  {\"loss\":.., \"dlogp\": [[[..]]], \"groups\": [{\"prompt_id\":.., \"samples\": [{\"reward\":.., \"advantage\": "
    "[..],\n"
    "    \"weight\":.., \"kept\":..}, ..]}, ..], ...}\n"
    "params are the [params] of the recipe, null is off or infinite. Components in rewards are taken as they are;\n"
    "\"correct\" is the verdict. dlogp is the gradient of the loss by logp. Numbers have 17 digits. A line that cannot "
    "be\n"
    "answered gives {\"error\": ..} and the rest goes on.\n"
    "\n"
    "Examples:\n"
    "  echo '{\"recipe\":\"grpo\",\"groups\":[{\"samples\":[{\"logp\":[-1],\"logp_ref\":[-1],\"correct\":true},"
    "{\"logp\":[-2],\"logp_ref\":[-2],\"correct\":false}]}]}' | train_rl objective explain=1\n",
    options,
    run,
};
