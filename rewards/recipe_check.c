/* What makes no sense is refused before anything is trained: stages that read what nothing wrote, numbers that nobody
 * reads, parameters that change nothing, models that are not declared. Every complaint names its line and the remedy.
 */
#include "recipe_inner.h"
#include <stdio.h>
#include <string.h>

static struct origin origin_of(const struct recipe *r, int phase, int stage)
{
    const struct ini *ini = r->ini;
    return ini->call[phase][stage]->at;
}

static struct origin phase_origin(const struct phase *p)
{
    return (struct origin){p->line, NULL};
}

/* Where a key was written, if it was: in the phase, else in the section. */
static struct entry *find_entry(const struct recipe *r, const char *section, const char *phase, const char *key)
{
    return ini_entry(ini_section(r->ini, section, phase), key);
}

/* A parameter that an override of its condition has made idle is no mistake of the recipe: with beta=0 on the command
 * line, what the recipe says about the term of weight beta is left out. only_if is "key=value" or "key!=value". */
static int is_condition(const char *only_if, const char *key)
{
    return strlen(key) == strcspn(only_if, "!=") && !strncmp(key, only_if, strlen(key));
}

static int excused(struct section *s, const struct entry *n, const char *only_if)
{
    for (int i = 0; i < s->entries && !n->at.given; i++)
        if (is_condition(only_if, s->entry[i].key) && s->entry[i].at.given)
            return 1;
    return 0;
}

/* ---- the chain of one phase */

static const struct {
    enum field field;
    const char *what, *remedy;
} fields[] = {
    {FIELD_COMPONENTS, "reward components", "put a score stage before it"},
    {FIELD_REWARD, "the reward", "put a score and a shape stage before it"},
    {FIELD_TOKEN_REWARD, "the token rewards", "put a credit stage or `shape = dense` before it"},
    {FIELD_ADVANTAGE, "the advantage", "put an advantage stage before it, for instance `advantage = group`"},
    {FIELD_RETURNS, "returns", "put a stage that estimates them before it, for instance `credit = gae`"},
    {FIELD_OUTCOME, "the verdict of the outcome", "only a phase with source = rollout has verdicts"},
    {FIELD_LOGP_OLD, "the old log-probabilities", "only a phase with source = rollout has them"},
    {FIELD_TEXT, "the text of responses", "only a phase with source = rollout has responses"},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static unsigned given_fields(const struct recipe *r, const struct phase *p)
{
    if (p->source == SOURCE_GOLD)
        return FIELD_KEPT;
    unsigned f = FIELD_KEPT | FIELD_OUTCOME | FIELD_LOGP_OLD | FIELD_TEXT;
    return r->task_row->steps && r->task_row->check_step ? f | FIELD_STEPS : f;
}

static int check_reads(const struct recipe *r, int f, int i, unsigned written, struct error *e)
{
    const struct phase *p = &r->phase[f];
    const struct stage *s = p->stage[i].stage;
    unsigned missing = s->reads & ~written;
    const char *kind = stage_kind_names[s->kind];
    if ((missing & FIELD_STEPS) && p->source == SOURCE_ROLLOUT)
        return complain(r->ini, origin_of(r, f, i), e,
                        "the %s stage '%s' reads steps, but the task '%s' has none; use a task with steps", kind,
                        s->name, r->task.name);
    for (int k = 0; k < FIELDS; k++)
        if (missing & fields[k].field)
            return complain(r->ini, origin_of(r, f, i), e,
                            "the %s stage '%s' reads %s before anything wrote it in phase '%s'; %s", kind, s->name,
                            fields[k].what, p->name, fields[k].remedy);
    return 0;
}

/* Stage i against those before it: nothing twice, and no second writer of the same number. */
static int check_twice(const struct recipe *r, int f, int i, struct error *e)
{
    const struct phase *p = &r->phase[f];
    const struct stage *s = p->stage[i].stage;
    for (int k = 0; k < i; k++) {
        const struct stage *old = p->stage[k].stage;
        if (old == s)
            return complain(r->ini, origin_of(r, f, i), e, "the %s stage '%s' stands twice in phase '%s'",
                            stage_kind_names[s->kind], s->name, p->name);
        if (s->writes & old->writes & ~s->reads & FIELD_ADVANTAGE) /* one that reads it goes on from it */
            return complain(r->ini, origin_of(r, f, i), e,
                            "a second normaliser: '%s' after '%s'; the advantage is computed once", s->name, old->name);
        if ((s->writes & old->writes & (FIELD_REWARD | FIELD_TOKEN_REWARD)) && s->kind == old->kind &&
            !(s->reads & s->writes & (FIELD_REWARD | FIELD_TOKEN_REWARD)))
            return complain(r->ini, origin_of(r, f, i), e, "a second %s stage: '%s' would overwrite what '%s' wrote",
                            stage_kind_names[s->kind], s->name, old->name);
    }
    return 0;
}

/* Verdicts are changed before any stage reads them, or two stages of one step would judge differently. */
static int check_verdicts(const struct recipe *r, int f, int i, struct error *e)
{
    const struct phase *p = &r->phase[f];
    const struct stage *s = p->stage[i].stage;
    for (int k = 0; k < i && s->writes & FIELD_OUTCOME; k++)
        if (p->stage[k].stage->reads & FIELD_OUTCOME && p->stage[k].stage->kind < STAGE_LOSS)
            return complain(r->ini, origin_of(r, f, i), e,
                            "the %s stage '%s' changes the verdicts after '%s' has read them; put it before (on the "
                            "command line: %s.%s=...)",
                            stage_kind_names[s->kind], s->name, p->stage[k].stage->name, p->name,
                            stage_kind_names[s->kind]);
    return 0;
}

/* What stage i writes for others has to reach one of them. */
static int check_unread(const struct recipe *r, int f, int i, struct error *e)
{
    static const enum field handed[] = {FIELD_COMPONENTS, FIELD_REWARD, FIELD_TOKEN_REWARD, FIELD_ADVANTAGE};
    const struct phase *p = &r->phase[f];
    const struct stage *s = p->stage[i].stage;
    for (size_t h = 0; h < sizeof handed / sizeof *handed; h++) {
        int read = !(s->writes & handed[h]);
        for (int k = i + 1; k < p->stages; k++)
            read |= (p->stage[k].stage->reads & handed[h]) != 0;
        for (int k = 0; !read && k < FIELDS; k++)
            if (fields[k].field == handed[h])
                return complain(r->ini, origin_of(r, f, i), e,
                                "the %s stage '%s' writes %s, but no later stage of phase '%s' reads it, so it would "
                                "change nothing",
                                stage_kind_names[s->kind], s->name, fields[k].what, p->name);
    }
    return 0;
}

/* A score stage before stage i writes one of the components "a|b": that of its name, or one that a parameter names. */
static int is_scored(const struct phase *p, int i, const char *names)
{
    for (int k = 0; k < i; k++) {
        const struct stage_use *u = &p->stage[k];
        size_t len;
        for (const char *name = names; u->stage->kind == STAGE_SCORE; name += len + 1) {
            len = strcspn(name, "|");
            int found = strlen(u->stage->name) == len && !strncmp(u->stage->name, name, len);
            for (int v = 0; v < param_count(u->stage->params); v++) {
                const char *text = u->value[v].text;
                found |= text && strlen(text) == len && !strncmp(text, name, len);
            }
            if (found)
                return 1;
            if (!name[len])
                break;
        }
    }
    return 0;
}

static int check_scored(const struct recipe *r, int f, int i, const char *names, struct error *e)
{
    const struct stage *s = r->phase[f].stage[i].stage;
    int len = (int)strcspn(names, "|");
    if (is_scored(&r->phase[f], i, names))
        return 0;
    return complain(r->ini, origin_of(r, f, i), e,
                    "the %s stage '%s' reads the component '%.*s', which no score stage before it writes; add `%.*s` "
                    "to the line `score = ...`",
                    stage_kind_names[s->kind], s->name, len, names, len, names);
}

static int check_components(const struct recipe *r, int f, int i, struct error *e)
{
    const struct stage_use *u = &r->phase[f].stage[i];
    const struct stage *s = u->stage;
    const struct param *rows[MAX_PARAMS];
    int n = param_count(s->params);
    for (int k = 0; k < n; k++)
        rows[k] = &s->params[k];
    for (int k = 0; k < 3 && s->components[k] && !r->for_data; k++) {
        const char *list = s->components[k], *condition = strstr(list, " if ");
        char need[64];
        if (condition && !condition_holds(condition + 4, rows, u->value, n))
            continue;
        snprintf(need, sizeof need, "%.*s", (int)(condition ? condition - list : (long)strlen(list)), list);
        list = *need == '$' ? u->value[param_find(s->params, need + 1)].text : need;
        for (char piece[64]; list_piece(&list, piece);) {
            char *gate = strchr(piece, ':'), *least = gate ? strchr(gate + 1, ':') : NULL; /* A:B:T */
            if (least)
                *gate = *least = 0;
            if (check_scored(r, f, i, piece, e) || (least && check_scored(r, f, i, gate + 1, e)))
                return -1;
        }
    }
    return 0;
}

/* The declared model that a channel belongs to; NULL: none. */
static const struct model_use *channel_model(const struct recipe *r, const char *channel)
{
    for (int m = 0; m < r->model_count; m++)
        if (channel_of(channel, r->models[m].name))
            return &r->models[m];
    return NULL;
}

/* The head that a channel is the number of. */
static enum head channel_head(const char *channel)
{
    const char *head = strrchr(channel, '.');
    return !strcmp(head, ".step")                                  ? HEAD_STEP
           : !strcmp(head, ".value") || channel_is_behind(channel) ? HEAD_SCALAR
                                                                   : HEAD_NONE;
}

/* A gradient goes to the model that the phase trains; reward models get theirs in a phase of their own. */
static int check_gradient(const struct recipe *r, int f, int i, const char *channel, struct error *e)
{
    const struct phase *p = &r->phase[f];
    const struct stage *s = p->stage[i].stage;
    int len = (int)strcspn(channel, ".@"), mine = channel_of(channel, p->train);
    if (phase_trains_policy(p) ? !channel_is_behind(channel) : mine)
        return 0;
    return complain(r->ini, origin_of(r, f, i), e,
                    "the %s stage '%s' trains '%.*s', but phase '%s' trains '%s'; give '%.*s' a phase of its own with "
                    "`train = %.*s`",
                    stage_kind_names[s->kind], s->name, len, channel, p->name, p->train, len, channel, len, channel);
}

/* A number that nobody learned says nothing: a phase before this one, or this one, trains the model. */
static int check_learned(const struct recipe *r, int f, int i, const struct model_use *m, struct error *e)
{
    for (int k = 0; k <= f; k++)
        if (m->path[0] || phase_trains(&r->phase[k], m->name))
            return 0;
    return complain(r->ini, origin_of(r, f, i), e,
                    "the %s stage '%s' reads '%s', which no phase before '%s' trains; put a phase with `train = %s` "
                    "before it",
                    stage_kind_names[r->phase[f].stage[i].stage->kind], r->phase[f].stage[i].stage->name, m->name,
                    r->phase[f].name, m->name);
}

static int check_channel(const struct recipe *r, int f, int i, const char *channel, int gradient, struct error *e)
{
    const struct stage *s = r->phase[f].stage[i].stage;
    const struct origin at = origin_of(r, f, i);
    const struct model_use *m = channel_model(r, channel);
    static const char *const begins[] = {"init frozen", "init head=scalar", "init head=step"};
    enum head head = channel_head(channel);
    int len = (int)strcspn(channel, ".@");
    const char *kind = stage_kind_names[s->kind], *how = begins[head];
    if (!m && !channel_of(channel, "policy"))
        return complain(r->ini, at, e,
                        "the %s stage '%s' reads %s, but [models] declares no '%.*s'; add the line `%.*s = %s` under "
                        "[models]",
                        kind, s->name, channel, len, channel, len, channel, how);
    if (head != HEAD_NONE && !(m && m->head == head))
        return complain(r->ini, at, e, "the %s stage '%s' reads %s: the model needs a %s head, `%.*s = %s`", kind,
                        s->name, channel, head == HEAD_STEP ? "step" : "value", len, channel, how);
    if (gradient && m && m->frozen)
        return complain(r->ini, at, e, "the %s stage '%s' trains '%s', which [models] declares frozen", kind, s->name,
                        m->name);
    if (m && !gradient && channel_is_behind(channel) && check_learned(r, f, i, m, e))
        return -1;
    return gradient ? check_gradient(r, f, i, channel, e) : 0;
}

static int check_channels(const struct recipe *r, int f, int i, struct error *e)
{
    const struct stage_use *u = &r->phase[f].stage[i];
    for (int k = 0; k < 6 && !r->for_data; k++)
        if (u->channel_name[k][0] && check_channel(r, f, i, u->channel_name[k], (int)(u->stage->gradients >> k & 1), e))
            return -1;
    for (int m = 0; m < r->model_count && r->phase[f].branch[0]; m++)
        if (phase_trains(&r->phase[f], r->models[m].name))
            return complain(r->ini, origin_of(r, f, i), e,
                            "phase '%s' is a branch and would train '%s' too; a branch trains the policy only",
                            r->phase[f].name, r->models[m].name);
    return 0;
}

/* A knob of the recipe may be idle under the setting of another one; not one that was set on the command line. */
static int is_idle_knob(const struct ini *ini, const struct argument *a)
{
    const struct entry *n = a->knob ? ini_entry(ini_section((struct ini *)ini, "params", NULL), a->knob + 1) : NULL;
    return n && !n->at.given;
}

static int argument_excused(const struct ini *ini, const struct call *c, int k, const char *only_if)
{
    if (is_idle_knob(ini, &c->arg[k]))
        return 1;
    for (int i = 0; i < c->args && !c->arg[k].at.given; i++)
        if (is_condition(only_if, c->arg[i].key) && c->arg[i].at.given)
            return 1;
    return 0;
}

/* Parameters that were written although their condition does not hold; names of a "*" row that nothing scores. */
static int check_arguments(const struct recipe *r, int f, int i, struct error *e)
{
    const struct ini *ini = r->ini;
    const struct stage_use *u = &r->phase[f].stage[i];
    const struct call *c = ini->call[f][i];
    const char *names[MAX_STAGES];
    int n = 0;
    for (int k = 0; k < i; k++)
        if (r->phase[f].stage[k].stage->kind == STAGE_SCORE)
            names[n++] = r->phase[f].stage[k].stage->name;
    for (int k = 0; k < c->args; k++) {
        int at = param_find(u->stage->params, c->arg[k].key), known = at >= 0;
        if (at >= 0 && !r->for_data && !param_matters(u->stage->params, at, u->value) &&
            !argument_excused(ini, c, k, u->stage->params[at].only_if))
            return complain(ini, c->arg[k].at, e, "%s.%s would change nothing: it only matters with %s", c->name,
                            c->arg[k].key, u->stage->params[at].only_if);
        for (int j = 0; j < n; j++)
            known |= !strcmp(names[j], c->arg[k].key);
        if (!known)
            return unknown(ini, c->arg[k].at, "component", c->arg[k].key, names, n, e);
    }
    return 0;
}

static int check_values(const struct recipe *r, int f, int i, struct error *e)
{
    const struct stage_use *u = &r->phase[f].stage[i];
    struct error why;
    if (!u->stage->check || !u->stage->check(u->value, &why))
        return 0;
    return complain(r->ini, origin_of(r, f, i), e, "the %s stage '%s': %s", stage_kind_names[u->stage->kind],
                    u->stage->name, why.text);
}

static int check_chain(const struct recipe *r, int f, struct error *e)
{
    const struct phase *p = &r->phase[f];
    unsigned written = given_fields(r, p);
    int losses = 0;
    for (int i = 0; i < p->stages; i++) {
        const struct stage *s = p->stage[i].stage;
        if (p->source == SOURCE_GOLD && s->kind != STAGE_LOSS && s->kind != STAGE_REGULAR)
            return complain(r->ini, origin_of(r, f, i), e,
                            "a phase with source = gold runs only loss and regular stages, not '%s'", s->name);
        if (check_twice(r, f, i, e) || check_reads(r, f, i, written, e) || check_values(r, f, i, e) ||
            check_components(r, f, i, e) || check_channels(r, f, i, e) || check_arguments(r, f, i, e))
            return -1;
        written |= s->writes;
        losses += s->kind == STAGE_LOSS;
    }
    if (losses == 0)
        return complain(r->ini, phase_origin(p), e, "phase '%s' has no loss; add a line such as `loss = %s`", p->name,
                        p->source == SOURCE_GOLD ? "nll" : "clip");
    for (int i = 0; i < p->stages; i++)
        if (check_verdicts(r, f, i, e) || check_unread(r, f, i, e))
            return -1;
    if (!phase_trains_policy(p) && !phase_trains(p, p->train))
        return complain(r->ini, find_entry(r, "phase", p->name, "train")->at, e,
                        "phase '%s' trains '%s', but none of its losses does; add for instance `loss = bt(model = %s)`",
                        p->name, p->train, p->train);
    return 0;
}

/* ---- settings of one phase */

static int check_sampling(const struct recipe *r, const struct phase *p, struct error *e)
{
    const struct rollout_config *o = &p->rollout;
    static const char *const keys[] = {"top_k", "top_p", "min_p"};
    const int on[] = {o->top_k > 0, o->top_p<1, o->min_p> 0};
    int any = on[0] || on[1] || on[2];
    struct entry *support = find_entry(r, "phase", p->name, "max_support");
    if (!support)
        support = find_entry(r, "rollout", NULL, "max_support");
    for (int i = 0; i < 3; i++) {
        struct entry *n = find_entry(r, "phase", p->name, keys[i]);
        n = n ? n : find_entry(r, "rollout", NULL, keys[i]);
        if (on[i] && o->max_support == 0)
            return complain(r->ini, n ? n->at : phase_origin(p), e,
                            "%s needs max_support, the most ids kept with a token; add `max_support = 64` to [rollout]",
                            keys[i]);
    }
    if (o->top_k > o->max_support)
        return complain(r->ini, support ? support->at : phase_origin(p), e,
                        "max_support = %d keeps fewer ids than top_k = %d samples from", o->max_support, o->top_k);
    if (!any && o->max_support > 0)
        return complain(r->ini, support ? support->at : phase_origin(p), e,
                        "max_support would change nothing without top_k, top_p or min_p");
    return 0;
}

/* Keys written in the phase that do nothing there. */
static int check_phase_keys(const struct recipe *r, const struct phase *p, struct error *e)
{
    struct section *s = ini_section(r->ini, "phase", p->name);
    const struct section_row *rows[2] = {section_find("phase"), section_find("optim")};
    const void *config[2] = {p, &p->optim};
    for (int i = 0; s && i < s->entries; i++) {
        const struct entry *n = &s->entry[i];
        if (p->source == SOURCE_GOLD && key_find(section_find("rollout"), n->key))
            return complain(r->ini, n->at, e,
                            "%s would change nothing: phase '%s' learns from gold texts and samples "
                            "nothing",
                            n->key, p->name);
        for (int k = 0; k < 2; k++) {
            const struct key_row *row = key_find(rows[k], n->key);
            if (row && !key_matters(rows[k], row, config[k]) && !excused(s, n, row->row.only_if))
                return complain(r->ini, n->at, e, "%s would change nothing: it only matters with %s", n->key,
                                row->row.only_if);
        }
    }
    return 0;
}

static int check_trained(const struct recipe *r, const struct phase *p, struct error *e)
{
    struct entry *n = find_entry(r, "phase", p->name, "train");
    const char *names[MAX_MODELS + 1] = {"policy"};
    int count = 1, known = !strcmp(p->train, "policy");
    for (int i = 0; i < r->model_count; i++) {
        names[count++] = r->models[i].name;
        if (strcmp(r->models[i].name, p->train))
            continue;
        if (r->models[i].frozen)
            return complain(r->ini, n->at, e, "phase '%s' trains '%s', which [models] declares frozen", p->name,
                            p->train);
        known = 1;
    }
    return known ? 0 : unknown(r->ini, n->at, "model", p->train, names, count, e);
}

static int check_branch(const struct recipe *r, int f, struct error *e)
{
    const char *names[MAX_PHASES];
    for (int k = 0; k < f; k++) {
        names[k] = r->phase[k].name;
        if (!strcmp(names[k], r->phase[f].branch))
            return 0;
    }
    if (!r->phase[f].branch[0])
        return 0;
    return unknown(r->ini, find_entry(r, "phase", r->phase[f].name, "branch")->at, "earlier phase", r->phase[f].branch,
                   names, f, e);
}

/* What one step may hold is counted in ints, and no machine has room for more. */
enum { MAX_GROUPS = 1 << 18, MAX_TOKENS = 1 << 28 };

static int check_amounts(const struct recipe *r, const struct phase *p, struct error *e)
{
    const struct rollout_config *o = &p->rollout;
    double groups = (double)o->prompts * o->max_refills, tokens = groups * o->samples * o->max_new;
    if (p->source == SOURCE_GOLD || (groups <= MAX_GROUPS && tokens <= MAX_TOKENS))
        return 0;
    return complain(r->ini, phase_origin(p), e,
                    "phase '%s' may collect prompts x max_refills = %.0f groups of %.0f tokens a step; at most %d and "
                    "%d in all are possible",
                    p->name, groups, (double)o->samples * o->max_new, MAX_GROUPS, MAX_TOKENS);
}

static int check_phase(const struct recipe *r, int f, struct error *e)
{
    const struct phase *p = &r->phase[f];
    if (p->steps == 0 && p->seconds == 0)
        return complain(r->ini, phase_origin(p), e,
                        "phase '%s' has no steps; write `steps = 100` in [phase %s] or "
                        "%s.steps=100 on the command line",
                        p->name, p->name, p->name);
    if (p->source == SOURCE_GOLD && !r->task_row->gold) {
        struct entry *n = find_entry(r, "phase", p->name, "source");
        return complain(r->ini, n->at, e, "source = gold: the task '%s' has no gold texts", r->task.name);
    }
    if (check_amounts(r, p, e) || check_branch(r, f, e) || check_trained(r, p, e) || check_phase_keys(r, p, e) ||
        (p->source == SOURCE_ROLLOUT && check_sampling(r, p, e)))
        return -1;
    return check_chain(r, f, e);
}

/* ---- the whole recipe */

/* A phase's line of this kind from the command line: it may make the one in [stages] idle. */
static int replaced(const struct recipe *r, const char *kind)
{
    for (int f = 0; f < r->phases; f++) {
        const struct entry *own = find_entry(r, "phase", r->phase[f].name, kind);
        if (own && own->at.given)
            return 1;
    }
    return 0;
}

static int check_unused(const struct recipe *r, struct error *e)
{
    struct section *params = ini_section(r->ini, "params", NULL), *lines = ini_section(r->ini, "stages", NULL);
    for (int i = 0; lines && i < lines->entries; i++)
        if (!lines->entry[i].used && (lines->entry[i].at.given || !replaced(r, lines->entry[i].key)))
            return complain(
                r->ini, lines->entry[i].at, e,
                "the line '%s = ...' would change nothing: every phase has its own or learns from gold texts",
                lines->entry[i].key);
    for (int i = 0; params && i < params->entries; i++) {
        const struct entry *n = &params->entry[i];
        int idle = !n->used &&
                   !((const struct ini *)r->ini)->variant; /* a variant may take away the stage that a knob was for */
        if (idle || (n->at.given && !knob_reaches(r, n->key)))
            return complain(r->ini, n->at, e, "the knob '%s' would change nothing: no stage refers to $%s", n->key,
                            n->key);
    }
    return 0;
}

/* 1: some phase has a stage that reads a channel of the model, or trains it. */
static int model_used(const struct recipe *r, const char *name)
{
    for (int f = 0; f < r->phases; f++) {
        if (!strcmp(r->phase[f].train, name))
            return 1;
        for (int i = 0; i < r->phase[f].stages; i++)
            for (int k = 0; k < 6; k++)
                if (channel_of(r->phase[f].stage[i].channel_name[k], name))
                    return 1;
    }
    return 0;
}

static int check_models(const struct recipe *r, struct error *e)
{
    for (int i = 0; i < r->model_count; i++) {
        const struct model_use *m = &r->models[i];
        struct entry *n = find_entry(r, "models", NULL, m->name);
        int trained = 0;
        for (int f = 0; f < r->phases; f++)
            trained |= !strcmp(r->phase[f].train, m->name) || phase_trains(&r->phase[f], m->name);
        if (!model_used(r, m->name))
            return complain(r->ini, n->at, e, "the model '%s' would change nothing: no stage reads it", m->name);
        if (!m->frozen && !trained)
            return complain(r->ini, n->at, e, "the model '%s' is not frozen, but no phase trains it; %s", m->name,
                            m->preset[0] ? "a new one has to be trained, in a phase with `train =`" : "add `frozen`");
    }
    if (!r->task_row->alphabet && !r->model.path[0] && !r->model.tokenizer[0])
        return fail(e, "%s: the task '%s' needs a trained model with its own tokenizer; give model.path=DIR",
                    ((const struct ini *)r->ini)->path, r->task.name);
    return 0;
}

static int check_task(const struct recipe *r, struct error *e)
{
    const struct param *table = r->task_row->params;
    struct section *s = ini_section(r->ini, "task", NULL);
    for (int i = 0; i < s->entries; i++) {
        int at = param_find(table, s->entry[i].key);
        if (at >= 0 && !param_matters(table, at, r->task_value) && !excused(s, &s->entry[i], table[at].only_if))
            return complain(r->ini, s->entry[i].at, e, "%s would change nothing: it only matters with %s",
                            table[at].key, table[at].only_if);
    }
    return 0;
}

/* Keys of a section that matter neither there nor in any phase; max_refills without anything that drops groups. */
static int check_section_keys(const struct recipe *r, const struct section_row *row, const void *config,
                              struct error *e)
{
    const char *name = row->name;
    struct section *s = ini_section(r->ini, name, NULL);
    for (int i = 0; s && i < s->entries; i++) {
        const struct key_row *k = key_find(row, s->entry[i].key);
        int matters = !k || key_matters(row, k, config); /* a task has keys of its own */
        for (int f = 0; f < r->phases && !strcmp(name, "optim"); f++)
            matters |= key_matters(row, k, &r->phase[f].optim);
        if (matters || excused(s, &s->entry[i], k->row.only_if))
            continue;
        const char *only = k->row.only_if;
        int without = only[strlen(only) - 1] == '='; /* "path=": with no path */
        return complain(r->ini, s->entry[i].at, e, "%s would change nothing: it only matters with %s%s%s%.*s",
                        k->row.key, without ? "no " : "", without ? name : "", without ? "." : "",
                        (int)strlen(only) - without, only);
    }
    return 0;
}

/* An override of [rollout] or [optim] that every phase overrides again. */
static int check_reach(const struct recipe *r, const char *name, struct error *e)
{
    struct section *s = ini_section(r->ini, name, NULL);
    int rollout = !strcmp(name, "rollout");
    for (int i = 0; s && i < s->entries; i++) {
        const struct entry *n = &s->entry[i];
        int reaches = !n->at.given;
        for (int f = 0; f < r->phases; f++)
            if (!rollout || r->phase[f].source == SOURCE_ROLLOUT)
                reaches |= !find_entry(r, "phase", r->phase[f].name, n->key);
        if (!reaches)
            return complain(r->ini, n->at, e, "%s would change nothing: every phase has its own; write %s.%s=...",
                            n->key, r->phase[r->phases - 1].name, n->key);
    }
    return 0;
}

int recipe_check(const struct recipe *r, struct error *e)
{
    for (int f = 0; f < r->phases; f++)
        if (check_phase(r, f, e))
            return -1;
    if (r->for_data)
        return 0;
    if (check_unused(r, e) || check_models(r, e) || check_task(r, e))
        return -1;
    if (check_reach(r, "rollout", e) || check_reach(r, "optim", e))
        return -1;
    return check_section_keys(r, &recipe_task_section, &r->task, e) ||
                   check_section_keys(r, section_find("model"), &r->model, e) ||
                   check_section_keys(r, section_find("optim"), &r->optim, e)
               ? -1
               : 0;
}
