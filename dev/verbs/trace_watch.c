/* What trace collects while the loop works. It reads the batch after every stage and runs the policy over the chosen
 * group before and after an update, at moments when the tape and the micro-batch are free; it changes no number of the
 * run.
 */
#include "trace.h"
#include "loop.h"
#include "runlog.h"
#include <math.h>
#include <string.h>

/* ---- numbers into JSON ---- */

json_t *trace_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void set_real(json_t *o, const char *key, double x)
{
    json_object_set_new(o, key, trace_real(x));
}

static json_t *visible_string(const char *s, int len)
{
    struct text t = {0};
    trace_visible(s, len, &t);
    json_t *v = json_stringn(t.s ? t.s : "", (size_t)t.len);
    text_free(&t);
    return v;
}

static json_t *visible_word(const char *s)
{
    return visible_string(s, (int)strlen(s));
}

/* The text itself where it is UTF-8 without zeros, else what can be shown of it. */
static json_t *any_string(const char *s, int len)
{
    json_t *v = len > 0 && memchr(s, 0, (size_t)len) ? NULL : json_stringn(s ? s : "", (size_t)len);
    return v ? v : visible_string(s, len);
}

static json_t *ids_list(const int32_t *id, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(id[i]));
    return list;
}

json_t *trace_piece(const struct trainer *t, int id)
{
    int len;
    const char *piece = tokenizer_piece(t->s.tokenizer, id, &len);
    return any_string(piece, len);
}

static json_t *pieces_list(const struct trainer *t, const int32_t *id, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, trace_piece(t, id[i]));
    return list;
}

/* Numbers of one sample's tokens; null where a token takes no part. */
static json_t *token_list(const struct batch *b, int i, const double *x)
{
    json_t *list = json_array();
    for (int k = b->sample_first[i]; k < b->sample_first[i + 1]; k++)
        json_array_append_new(list, b->kept[i] && b->trained[k] ? trace_real(x[k]) : json_null());
    return list;
}

static json_t *token_lists(const struct batch *b, int g, const double *x)
{
    json_t *lists = json_array();
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
        json_array_append_new(lists, token_list(b, i, x));
    return lists;
}

static json_t *sample_list(const struct batch *b, int g, const double *x)
{
    json_t *list = json_array();
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
        json_array_append_new(list, trace_real(x[i]));
    return list;
}

static json_t *step_list(const struct batch *b, int i, const double *x)
{
    json_t *list = json_array();
    for (int k = b->step_first[i]; k < b->step_first[i + 1]; k++)
        json_array_append_new(list, trace_real(x[k]));
    return list;
}

/* ---- stages ---- */

static json_t *stage_object(const struct stage_use *u)
{
    const struct stage *s = u->stage;
    const char *kind = stage_kind_names[s->kind];
    struct text params = {0};
    json_t *o = json_object();
    for (int i = 0; i < param_count(s->params); i++) {
        char buf[64];
        const char *value = param_text(&s->params[i], &u->value[i], buf);
        if (strcmp(s->params[i].key, "*") != 0) /* that row is "key = number, ..." already */
            text_addf(&params, "%s%s = ", params.len ? ", " : "", s->params[i].key);
        else if (value[0])
            text_add(&params, params.len ? ", " : "", -1);
        text_add(&params, value, -1);
    }
    json_object_set_new(o, "kind", json_string(kind));
    json_object_set_new(o, "name", json_string(s->name));
    json_object_set_new(o, "file", json_sprintf("rewards/%s/%s.c", kind, s->name));
    json_object_set_new(o, "sentence", json_string(s->sentence));
    json_object_set_new(o, "formula", json_string(s->formula));
    json_object_set_new(o, "citation", json_string(s->citation));
    json_object_set_new(o, "params", visible_string(params.s, params.len));
    text_free(&params);
    return o;
}

static json_t *component_object(const struct batch *b, int g, const struct component *c)
{
    static const char *const levels[] = {"sequence", "step", "token", "group"};
    json_t *o = json_object(), *values = json_array();
    json_object_set_new(o, "name", json_string(c->name));
    json_object_set_new(o, "level", json_string(levels[c->level]));
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
        json_array_append_new(values, c->level == LEVEL_SEQUENCE ? trace_real(c->value[i])
                                      : c->level == LEVEL_GROUP  ? trace_real(c->value[g])
                                      : c->level == LEVEL_STEP   ? step_list(b, i, c->value)
                                                                 : token_list(b, i, c->value));
    json_object_set_new(o, "values", values);
    return o;
}

static json_t *kept_list(const struct batch *b, int g)
{
    json_t *list = json_array();
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
        json_array_append_new(list, json_boolean(b->kept[i]));
    return list;
}

/* What a stage before the loss has written for group g. */
static json_t *written_object(const struct trace *x, const struct batch *b, int g, const struct stage_use *u)
{
    unsigned writes = u->stage->writes;
    json_t *o = stage_object(u), *components = json_array();
    for (int c = 0; c < b->components; c++)
        if (b->component[c].written && x->owner[c] == u)
            json_array_append_new(components, component_object(b, g, &b->component[c]));
    json_object_set_new(o, "components", components);
    if (writes & FIELD_REWARD)
        json_object_set_new(o, "reward", sample_list(b, g, b->reward));
    if (writes & FIELD_KEPT) {
        json_object_set_new(o, "kept", kept_list(b, g));
        json_object_set_new(o, "weight", sample_list(b, g, b->weight));
    }
    if (writes & FIELD_TOKEN_REWARD)
        json_object_set_new(o, "token_reward", token_lists(b, g, b->token_reward));
    if (writes & FIELD_RETURNS)
        json_object_set_new(o, "returns", token_lists(b, g, b->returns));
    if (writes & FIELD_ADVANTAGE)
        json_object_set_new(o, "advantage", token_lists(b, g, b->advantage));
    return o;
}

/* Scoring, shaping and selecting start over when groups were added: what they wrote before counts no more. */
static int starts_over(const struct sight *s)
{
    const struct stage_use *first = s->phase->stage;
    while (first->stage->kind > STAGE_SELECT)
        first++;
    return s->stage == first;
}

static void after_early_stage(struct trace *x, const struct trainer *t, const struct sight *s)
{
    const struct batch *b = &t->batch;
    int again = s->stage->stage->kind <= STAGE_SELECT && starts_over(s);
    for (int c = 0; c < b->components; c++)
        if (b->component[c].written && !x->owner[c])
            x->owner[c] = s->stage;
    for (int g = 0; g < b->groups; g++) {
        if (!x->wrote[g])
            x->wrote[g] = json_array();
        if (again)
            json_array_clear(x->wrote[g]);
        json_array_append_new(x->wrote[g], written_object(x, b, g, s->stage));
    }
}

/* ---- which group ---- */

static int teaches(const struct batch *b, int g)
{
    int i = b->group_first[g], n = b->group_first[g + 1] - i;
    return group_kept(b, g) && !stat_equal(b->reward + i, b->kept + i, n);
}

static void choose_group(struct trace *x, const struct trainer *t, const struct sight *s)
{
    const struct batch *b = &t->batch;
    if (x->group >= b->groups) {
        fail(&x->trouble, "step %ld has the groups 0 to %d, there is no group %d", t->step, b->groups - 1, x->group);
        return;
    }
    for (int g = 0; g < b->groups && x->group < 0 && s->phase->source == SOURCE_ROLLOUT; g++)
        if (teaches(b, g))
            x->group = g;
    for (int g = 0; g < b->groups && x->group < 0; g++)
        if (group_kept(b, g))
            x->group = g;
    if (x->group < 0)
        x->group = 0;
}

static int has_group(const struct trace *x, const struct sight *s)
{
    return x->group >= s->g0 && x->group < s->g1;
}

/* ---- the loss ---- */

static json_t *channels_object(const struct batch *b, int g)
{
    json_t *o = json_object();
    for (int c = 0; c < b->channels; c++)
        json_object_set_new(o, b->channel[c].name, token_lists(b, g, b->channel[c].value));
    return o;
}

/* Ratio of the policy to the one that sampled. */
static json_t *ratio_lists(const struct trainer *t, int g)
{
    const struct batch *b = &t->batch;
    const double *logp = trainer_values(t, "policy", "logp");
    double *ratio = mem_alloc((size_t)b->tokens, sizeof *ratio);
    for (int k = b->sample_first[b->group_first[g]]; k < b->sample_first[b->group_first[g + 1]]; k++)
        ratio[k] = exp(logp[k] - b->logp_old[k]);
    json_t *lists = token_lists(b, g, ratio);
    mem_free(ratio);
    return lists;
}

/* Tokens that have an advantage and yet no gradient: the loss holds them where they are. */
static json_t *held_lists(const struct trainer *t, int g)
{
    const struct batch *b = &t->batch;
    const double *grad = trainer_channel(t, "policy", "logp")->grad;
    double *held = mem_alloc((size_t)b->tokens, sizeof *held);
    for (int k = b->sample_first[b->group_first[g]]; k < b->sample_first[b->group_first[g + 1]]; k++)
        held[k] = grad[k] == 0 && b->advantage[k] != 0;
    json_t *lists = token_lists(b, g, held);
    mem_free(held);
    return lists;
}

static json_t *gradients_object(const struct batch *b, int g, const struct stage_use *u)
{
    json_t *o = json_object();
    for (int c = 0; c < 6; c++) {
        const struct channel *ch = &b->channel[u->channel[c]];
        if (u->channel_name[c][0] && u->stage->gradients >> c & 1)
            json_object_set_new(o, ch->name, token_lists(b, g, ch->grad));
    }
    return o;
}

static void begin_update(struct trace *x, const struct trainer *t, const struct sight *s)
{
    x->in_update = 1;
    x->loss = 0;
    memset(x->part, 0, sizeof x->part);
    if (x->updates_seen++ == 0)
        choose_group(x, t, s);
    x->losses = json_array();
    x->update = json_object();
}

/* A stage of the loss has run, on one group or on all of the step. */
static void after_loss_stage(struct trace *x, const struct trainer *t, const struct sight *s)
{
    const struct batch *b = &t->batch;
    int gold = s->phase->source == SOURCE_GOLD;
    if (!x->in_update)
        begin_update(x, t, s);
    double part = s->loss - x->loss;
    x->loss = s->loss;
    x->part[s->stage - s->phase->stage] += part;
    if (!has_group(x, s) || x->trouble.text[0])
        return;
    if (json_array_size(x->losses) == 0) {
        json_object_set_new(x->update, "channels", channels_object(b, x->group));
        if (!gold)
            json_object_set_new(x->update, "ratio", ratio_lists(t, x->group));
    }
    if (s->stage->stage->kind == STAGE_LOSS && !gold)
        json_object_set_new(x->update, "held", held_lists(t, x->group));
    json_t *o = stage_object(s->stage);
    json_object_set_new(o, "number", json_integer(s->stage - s->phase->stage));
    json_object_set_new(o, "group_part", s->g1 - s->g0 == 1 ? trace_real(part) : json_null());
    json_object_set_new(o, "gradients", gradients_object(b, x->group, s->stage));
    json_array_append_new(x->losses, o);
}

/* ---- the gradient ---- */

static double tensor_norm(const struct model *m, int tensor)
{
    const struct tensor *w = &m->tensor[tensor];
    double *row = mem_alloc((size_t)w->K, sizeof *row), sum = 0;
    for (int i = 0; i < w->N; i++) {
        model_read(m, tensor, 1, i, 1, row);
        for (int k = 0; k < w->K; k++)
            sum += row[k] * row[k];
    }
    mem_free(row);
    return sqrt(sum);
}

static json_t *tensors_list(const struct model *m)
{
    json_t *list = json_array();
    for (int i = m->first; i < m->tensors; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(m->tensor[i].name));
        json_object_set_new(o, "parameters", json_integer((json_int_t)m->tensor[i].N * m->tensor[i].K));
        set_real(o, "norm", tensor_norm(m, i));
        json_array_append_new(list, o);
    }
    return list;
}

/* Run the policy, as it now is, over the group alone. */
static void forward_group(const struct trace *x, struct trainer *t)
{
    micro_fill(t, t->worker, x->group, x->group + 1, VIEW_WHOLE);
    if (t->worker->micro.entries)
        model_forward(&t->s.policy, &t->worker->tape, &t->worker->layout.rows, t->worker->tape.kv, 0,
                      t->worker->tape.store);
}

static json_t *denominators_object(const struct denominators *d)
{
    json_t *o = json_object();
    json_object_set_new(o, "sequences", json_integer(d->sequences));
    json_object_set_new(o, "tokens", json_integer(d->tokens));
    json_object_set_new(o, "groups", json_integer(d->groups));
    json_object_set_new(o, "longest", json_integer(d->longest));
    return o;
}

static json_t *optimiser_object(const struct trainer *t, const struct optim_config *o)
{
    json_t *j = json_object();
    set_real(j, "beta1", o->beta1);
    set_real(j, "beta2", o->beta2);
    set_real(j, "eps", o->eps);
    set_real(j, "weight_decay", o->weight_decay);
    json_object_set_new(j, "steps", json_integer(t->s.policy.steps));
    return j;
}

/* The parts of the loss over the whole optimiser step, known only now. */
static void set_parts(const struct trace *x)
{
    for (size_t i = 0; i < json_array_size(x->losses); i++) {
        json_t *o = json_array_get(x->losses, i);
        set_real(o, "part", x->part[json_integer_value(json_object_get(o, "number"))]);
        json_object_del(o, "number");
    }
}

static void after_backward(struct trace *x, struct trainer *t, const struct sight *s)
{
    const struct optim_config *o = &s->phase->optim;
    json_t *u = x->update;
    if (!x->in_update || !has_group(x, s) || x->trouble.text[0])
        return;
    set_parts(x);
    json_object_set_new(u, "number", json_integer(x->updates_seen - 1));
    json_object_set_new(u, "groups", json_integer(s->g1 - s->g0));
    json_object_set_new(u, "denominators", denominators_object(s->den));
    json_object_set(u, "losses", x->losses);
    set_real(u, "loss", s->loss);
    set_real(u, "grad_norm", s->grad_norm);
    set_real(u, "clip", o->clip);
    set_real(u, "clip_factor", o->clip > 0 && s->grad_norm > o->clip ? o->clip / s->grad_norm : 1);
    set_real(u, "lr", s->lr);
    json_object_set_new(u, "optimiser", optimiser_object(t, o));
    json_object_set_new(u, "tensors", tensors_list(&t->s.policy));
    forward_group(x, t);
    trace_choose(x, t);
}

/* ---- after the update ---- */

static json_t *logp_after(const struct trace *x, struct trainer *t)
{
    const struct batch *b = &t->batch;
    const struct micro *u = &t->worker->micro;
    double *logp = mem_alloc((size_t)b->tokens, sizeof *logp);
    if (u->entries)
        model_head(&t->s.policy, &t->worker->tape, &t->worker->layout, u->logp, NULL);
    for (int j = 0; j < u->entries; j++)
        logp[u->entry_token[j]] = u->logp[j];
    json_t *lists = token_lists(b, x->group, logp);
    mem_free(logp);
    return lists;
}

static void look_at_update(struct trace *x, struct trainer *t)
{
    forward_group(x, t);
    json_object_set_new(x->update, "logp_after", logp_after(x, t));
    json_object_set_new(x->update, "moves", trace_moves(x, t));
    json_array_append(x->updates, x->update);
}

static void after_update(struct trace *x, struct trainer *t)
{
    if (x->before)
        look_at_update(x, t);
    json_decref(x->losses);
    json_decref(x->update);
    x->losses = x->update = NULL;
    x->in_update = 0;
}

/* ---- after the step ---- */

static json_t *sample_object(const struct trainer *t, int i)
{
    const struct batch *b = &t->batch;
    int at = b->sample_first[i], n = b->sample_first[i + 1] - at;
    json_t *o = json_object(), *trained = json_array();
    for (int k = 0; k < n; k++)
        json_array_append_new(trained, json_boolean(b->trained[at + k]));
    json_object_set_new(o, "text", any_string(b->text[i], b->text_len[i]));
    json_object_set_new(o, "ids", ids_list(b->id + at, n));
    json_object_set_new(o, "pieces", pieces_list(t, b->id + at, n));
    json_object_set_new(o, "verdict", json_integer(b->strict[i]));
    json_object_set_new(o, "lenient", json_integer(b->lenient[i]));
    json_object_set_new(o, "truncated", json_boolean(b->truncated[i]));
    json_object_set_new(o, "kept", json_boolean(b->kept[i]));
    set_real(o, "weight", b->weight[i]);
    set_real(o, "reward", b->reward[i]);
    set_real(o, "advantage", n ? b->advantage[at] : 0);
    set_real(o, "temperature", b->temperature[i]);
    json_object_set_new(o, "logp_rollout", token_list(b, i, b->logp_rollout));
    json_object_set_new(o, "trained", trained);
    return o;
}

static json_t *prompt_object(const struct trainer *t, int g)
{
    const struct batch *b = &t->batch;
    const struct item *it = b->item[g];
    const int32_t *id = b->prompt_id + b->prompt_first[g];
    int n = b->prompt_first[g + 1] - b->prompt_first[g];
    json_t *o = json_object();
    json_object_set_new(o, "text", any_string(it->prompt.s, it->prompt.len));
    json_object_set_new(o, "answer", any_string(it->answer.s, it->answer.len));
    json_object_set_new(o, "ids", ids_list(id, n));
    json_object_set_new(o, "pieces", pieces_list(t, id, n));
    return o;
}

static json_t *log_object(const struct trainer *t, const struct sight *s)
{
    struct timing none = {0};
    json_t *line = runlog_line(t, s->phase, s->lr, &none);
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(line, next, key, value)
    {
        if (strncmp(key, "t_", 2) == 0)
            json_object_del(line, key);
    }
    return line;
}

static void after_step(struct trace *x, struct trainer *t, const struct sight *s)
{
    const struct recipe *r = &t->s.recipe;
    const struct batch *b = &t->batch;
    if (x->updates_seen == 0)
        choose_group(x, t, s);
    if (x->trouble.text[0])
        return;
    json_t *o = json_object(), *samples = json_array();
    json_object_set_new(o, "recipe", visible_word(r->name));
    json_object_set_new(o, "title", visible_word(r->title ? r->title : ""));
    json_object_set_new(o, "task", json_string(t->s.task.row->name));
    json_object_set_new(o, "operations", json_string(t->s.device.ops->name));
    json_object_set_new(o, "seed", json_integer((json_int_t)r->run.seed));
    json_object_set_new(o, "phase", visible_word(s->phase->name));
    json_object_set_new(o, "source", json_string(s->phase->source == SOURCE_GOLD ? "gold" : "rollout"));
    json_object_set_new(o, "step", json_integer(t->step));
    json_object_set_new(o, "phase_step", json_integer(t->phase_step));
    json_object_set_new(o, "group", json_integer(x->group));
    json_object_set_new(o, "groups", json_integer(b->groups));
    json_object_set_new(o, "prompt", prompt_object(t, x->group));
    for (int i = b->group_first[x->group]; i < b->group_first[x->group + 1]; i++)
        json_array_append_new(samples, sample_object(t, i));
    json_object_set_new(o, "samples", samples);
    json_object_set_new(o, "stages", x->wrote[x->group] ? json_incref(x->wrote[x->group]) : json_array());
    json_object_set(o, "updates", x->updates);
    json_object_set_new(o, "log", log_object(t, s));
    x->result = o;
}

static void look(void *context, struct trainer *t, const struct sight *s)
{
    struct trace *x = context;
    if (t->phase != x->phase || t->phase_step != x->phase_step)
        return;
    switch (s->moment) {
    case AFTER_STAGE:
        if (s->stage->stage->kind < STAGE_LOSS)
            after_early_stage(x, t, s);
        else
            after_loss_stage(x, t, s);
        break;
    case AFTER_BACKWARD:
        after_backward(x, t, s);
        break;
    case AFTER_UPDATE:
        after_update(x, t);
        break;
    case AFTER_STEP:
        after_step(x, t, s);
        t->watch = NULL;
        stop_after_step();
    }
}

void trace_open(struct trace *x, struct trainer *t)
{
    x->groups = t->batch.max_groups;
    x->wrote = mem_alloc((size_t)x->groups, sizeof(json_t *));
    x->updates = json_array();
    t->watch = look;
    t->watch_context = x;
}

void trace_close(struct trace *x)
{
    for (int g = 0; g < x->groups; g++)
        json_decref(x->wrote[g]);
    mem_free(x->wrote);
    mem_free(x->entry);
    mem_free(x->before);
    json_decref(x->updates);
    json_decref(x->losses);
    json_decref(x->update);
    json_decref(x->result);
    *x = (struct trace){0};
}
