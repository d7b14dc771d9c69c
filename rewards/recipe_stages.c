/* Which stages each phase runs: the lines of [stages] with the phase's own in their place, default stages inserted,
 * then names and parameters looked up.
 */
#include "recipe_inner.h"
#include <stdio.h>
#include <string.h>

struct lines {
    enum stage_kind kind[2 * STAGE_KINDS];
    struct entry *entry[2 * STAGE_KINDS];
    int n;
};

static void insert_line(struct lines *l, int at, enum stage_kind kind, struct entry *entry)
{
    for (int i = l->n++; i > at; i--) {
        l->kind[i] = l->kind[i - 1];
        l->entry[i] = l->entry[i - 1];
    }
    l->kind[at] = kind;
    l->entry[at] = entry;
}

/* [stages] in the order written, which is for phases that train the policy on rollouts; a phase's own line takes the
 * place of the same kind, other kinds go where the table of kinds has them. Without [stages] the phase's order is the
 * order. */
static void collect_lines(struct ini *ini, const struct phase *p, struct section *own, struct lines *l)
{
    int inherits = p->source == SOURCE_ROLLOUT && phase_trains_policy(p);
    struct section *base = inherits ? ini_section(ini, "stages", NULL) : NULL;
    for (int i = 0; base && i < base->entries; i++)
        insert_line(l, l->n, (enum stage_kind)kind_find(base->entry[i].key), &base->entry[i]);
    int given = l->n;
    for (int i = 0; own && i < own->entries; i++) {
        int kind = kind_find(own->entry[i].key), at = 0;
        if (kind < 0)
            continue;
        while (at < l->n && (int)l->kind[at] != kind)
            at++;
        if (at < l->n) {
            l->entry[at] = &own->entry[i];
            continue;
        }
        for (at = given ? 0 : l->n; at < l->n && (int)l->kind[at] < kind;)
            at++;
        insert_line(l, at, (enum stage_kind)kind, &own->entry[i]);
    }
}

static int insert_call(struct ini *ini, struct phase *p, struct call **call, int at, enum stage_kind kind,
                       const char *name, struct error *e)
{
    struct origin origin = {p->line, NULL};
    if (p->stages == MAX_STAGES)
        return complain(ini, origin, e, "more than %d stages in one phase", MAX_STAGES);
    memmove(call + at + 1, call + at, (size_t)(p->stages - at) * sizeof *call);
    p->stages++;
    struct call *c = call[at] = ini_memory(ini, sizeof *c);
    *c = (struct call){.kind = kind, .name = ini_text(ini, name, -1), .at = origin};
    return 0;
}

/* First or last stage of a kind; -1: none. */
static int find_kind(struct call *const *call, int n, enum stage_kind kind, int last)
{
    int at = -1;
    for (int i = 0; i < n; i++)
        if (call[i]->kind == kind && (at < 0 || last))
            at = i;
    return at;
}

static int insert_defaults(struct ini *ini, struct phase *p, struct call **call, struct error *e)
{
    int score = find_kind(call, p->stages, STAGE_SCORE, 1), loss = find_kind(call, p->stages, STAGE_LOSS, 0);
    const struct stage *learns = loss >= 0 ? stage_find(STAGE_LOSS, call[loss]->name) : NULL;
    int needs = !learns || !(learns->reads & FIELD_COMPONENTS); /* labels of steps need no reward of the sample */
    if (score >= 0 && needs && find_kind(call, p->stages, STAGE_SHAPE, 0) < 0 &&
        insert_call(ini, p, call, score + 1, STAGE_SHAPE, "sum", e))
        return -1;
    int advantage = find_kind(call, p->stages, STAGE_ADVANTAGE, 0);
    const struct stage *first = advantage >= 0 ? stage_find(STAGE_ADVANTAGE, call[advantage]->name) : NULL;
    if (first && (first->reads & FIELD_TOKEN_REWARD) && find_kind(call, p->stages, STAGE_CREDIT, 0) < 0)
        return insert_call(ini, p, call, advantage, STAGE_CREDIT, "outcome", e);
    return 0;
}

int stages_build(struct recipe *r, struct error *e)
{
    struct ini *ini = r->ini;
    for (int f = 0; f < r->phases; f++) {
        struct phase *p = &r->phase[f];
        struct lines l = {.n = 0};
        collect_lines(ini, p, ini_section(ini, "phase", p->name), &l);
        for (int i = 0; i < l.n; i++) {
            l.entry[i]->used = 1;
            if (ini_calls(ini, l.entry[i], l.kind[i], ini->call[f], &p->stages, e))
                return -1;
        }
        if (p->source == SOURCE_ROLLOUT && insert_defaults(ini, p, ini->call[f], e))
            return -1;
    }
    return 0;
}

/* ---- names and parameters */

static int unknown_stage(const struct ini *ini, const struct call *c, struct error *e)
{
    const char *names[256];
    int n = 0;
    for (int i = 0; stages[i]; i++) {
        if (!strcmp(stages[i]->name, c->name))
            return complain(ini, c->at, e, "'%s' is %s %s stage, not a %s; write it under '%s ='", c->name,
                            stages[i]->kind == STAGE_ADVANTAGE ? "an" : "a", stage_kind_names[stages[i]->kind],
                            stage_kind_names[c->kind], stage_kind_names[stages[i]->kind]);
        if (stages[i]->kind == c->kind && n < 256)
            names[n++] = stages[i]->name;
    }
    char what[40];
    snprintf(what, sizeof what, "%s stage", stage_kind_names[c->kind]);
    return unknown(ini, c->at, what, c->name, names, n, e);
}

static int bad_parameter(const struct ini *ini, const struct stage *s, const struct argument *a, struct error *e)
{
    const char *names[MAX_PARAMS];
    int n = param_count(s->params);
    for (int i = 0; i < n; i++)
        names[i] = s->params[i].key;
    char what[80];
    snprintf(what, sizeof what, "parameter %% of '%s'", s->name);
    return unknown(ini, a->at, what, a->key, names, n, e);
}

/* Add "key = number" to the text that a row "*" collects. */
static int collect(struct ini *ini, const struct argument *a, struct text *all, struct error *e)
{
    const struct param number = {a->key, PARAM_NUMBER, "1", -1e6, 1e6, NULL, NULL, NULL};
    struct value v;
    if (param_parse(&number, a->text, &v, e))
        return blame(ini, a->at, e);
    text_addf(all, "%s%s = ", all->len ? ", " : "", a->key);
    value_print(all, &number, &v);
    return 0;
}

static int resolve_argument(struct ini *ini, const struct stage *s, struct argument *a, struct stage_use *u,
                            struct text *rest, struct error *e)
{
    int i = param_find(s->params, a->key);
    if (i < 0 && param_find(s->params, "*") < 0)
        return bad_parameter(ini, s, a, e);
    if (i < 0)
        return collect(ini, a, rest, e);
    if (param_parse(&s->params[i], a->text, &u->value[i], e))
        return blame(ini, a->at, e);
    return 0;
}

/* The channels of a use: conditions decided, the model's name put in. */
static int name_channels(const struct ini *ini, const struct call *c, struct stage_use *u, struct error *e)
{
    const struct stage *s = u->stage;
    const struct param *rows[MAX_PARAMS];
    int n = param_count(s->params), model = param_find(s->params, "model");
    for (int i = 0; i < n; i++)
        rows[i] = &s->params[i];
    for (int k = 0; k < 6 && s->channels[k]; k++) {
        const char *from = s->channels[k], *when = strstr(from, " if ");
        int len = (int)(when ? when - from : (long)strlen(from));
        if (when && !condition_holds(when + 4, rows, u->value, n))
            continue;
        const char *name = *from == '$' ? u->value[model].text : "";
        int skip = *from == '$' ? (int)strcspn(from, ".") : 0;
        if (strlen(name) > MAX_NAME)
            return complain(ini, c->at, e, "%s: the name of a model has at most %d letters", c->name, MAX_NAME);
        snprintf(u->channel_name[k], sizeof u->channel_name[k], "%s%.*s", name, len - skip, from + skip);
        for (char *at = u->channel_name[k]; *at; at++) /* as in the key under [models] */
            *at = *at == '-' ? '_' : *at;
    }
    return 0;
}

static int resolve_call(struct ini *ini, struct call *c, struct stage_use *u, struct error *e)
{
    const struct stage *s = stage_find(c->kind, c->name);
    struct text rest = {0};
    int bad = 0;
    if (!s)
        return unknown_stage(ini, c, e);
    *u = (struct stage_use){.stage = s, .line = c->at.line};
    for (int i = 0; s->state && s->state[i].name; i++)
        u->state[i].row = &s->state[i];
    for (int i = 0; i < param_count(s->params); i++)
        if (param_parse(&s->params[i], s->params[i].def, &u->value[i], e))
            die("stage %s: the default: %s", s->name, e->text);
    for (int i = 0; i < c->args && !bad; i++)
        bad = resolve_argument(ini, s, &c->arg[i], u, &rest, e);
    if (rest.len > 0)
        u->value[param_find(s->params, "*")].text = ini_text(ini, rest.s, rest.len);
    text_free(&rest);
    return bad ? bad : name_channels(ini, c, u, e);
}

int stages_resolve(struct recipe *r, struct error *e)
{
    struct ini *ini = r->ini;
    for (int f = 0; f < r->phases; f++)
        for (int i = 0; i < r->phase[f].stages; i++)
            if (resolve_call(ini, ini->call[f][i], &r->phase[f].stage[i], e))
                return -1;
    return 0;
}

int knob_reaches(const struct recipe *r, const char *key)
{
    const struct ini *ini = r->ini;
    for (int f = 0; f < r->phases; f++)
        for (int i = 0; i < r->phase[f].stages; i++)
            for (int k = 0; k < ini->call[f][i]->args; k++) {
                const char *knob = ini->call[f][i]->arg[k].knob;
                if (knob && !strcmp(knob + 1, key))
                    return 1;
            }
    return 0;
}
