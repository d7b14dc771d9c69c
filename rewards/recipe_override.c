/* key=value from the command line. Three forms: NAME (a knob of [params], or seed), SECTION.key or PHASE.key, and
 * STAGE.key (KIND.STAGE.key where a name is used by two kinds). What could mean two things is refused.
 */
#include "recipe_inner.h"
#include <stdio.h>
#include <string.h>

static const char *const fixed[] = {"params", "task", "model", "models", "rollout", "optim", "eval", "run", "stages"};
enum { FIXED = sizeof fixed / sizeof *fixed };

static struct section *section_for(struct ini *ini, const char *name, struct origin at)
{
    struct section *s = ini_section(ini, name, NULL);
    return s ? s : ini_add_section(ini, name, NULL, at);
}

/* Set a key once: two overrides may reach it under different names (seed, run.seed). */
static int set_key(struct ini *ini, struct section *s, const char *key, const char *text, struct origin at,
                   struct error *e)
{
    struct entry *old = ini_entry(s, key);
    if (old && old->at.given)
        return complain(ini, at, e, "duplicate key '%s', given before as %.100s", key, old->at.given);
    ini_set(ini, s, key, text, at);
    return 0;
}

/* A name without a dot. */
static int override_knob(struct ini *ini, const char *key, const char *text, struct origin at, struct error *e)
{
    const char *names[300];
    int n = 0;
    struct section *params = ini_section(ini, "params", NULL);
    int knob = ini_entry(params, key) != NULL, seed = !strcmp(key, "seed");
    if (knob && seed)
        return complain(ini, at, e, "'seed' is both a knob of [params] and run.seed; write params.seed or run.seed");
    if (knob || seed)
        return set_key(ini, knob ? params : section_for(ini, "run", at), key, text, at, e);
    for (const struct section_row *s = recipe_sections; s->name; s++)
        if (key_find(s, key) && strcmp(s->name, "phase"))
            return complain(ini, at, e, "unknown name '%s', did you mean '%s.%s'?", key, s->name, key);
    for (int i = 0; params && i < params->entries; i++)
        names[n++] = params->entry[i].key;
    names[n++] = "seed";
    return unknown(ini, at, "name", key, names, n, e);
}

static int is_stage(const char *name)
{
    for (int i = 0; stages[i]; i++)
        if (!strcmp(stages[i]->name, name))
            return 1;
    return 0;
}

static int unknown_place(struct ini *ini, const char *name, struct origin at, struct error *e)
{
    const char *names[FIXED + MAX_SECTIONS + 256];
    int n = 0;
    for (int i = 0; i < FIXED; i++)
        names[n++] = fixed[i];
    for (int i = 0; i < ini->sections; i++)
        if (ini->section[i].phase)
            names[n++] = ini->section[i].phase;
    for (int i = 0; stages[i] && i < 256; i++)
        names[n++] = stages[i]->name;
    return unknown(ini, at, "section, phase or stage", name, names, n, e);
}

/* Could the key stand in the section (or in a phase)? Only asked where a stage of the same name could be meant. */
static int section_takes(const char *name, int is_phase, const char *key)
{
    const struct section_row *s = section_find(name);
    if (!is_phase)
        return !s || key_find(s, key);
    return key_find(section_find("phase"), key) || key_find(section_find("rollout"), key) ||
           key_find(section_find("optim"), key) || kind_find(key) >= 0;
}

/* PLACE.key; a stage of that name is looked for later. */
static int override_place(struct ini *ini, char *place, char *key, const char *text, int kind, struct origin at,
                          struct error *e)
{
    struct section *phase = ini_section(ini, "phase", place);
    int known = 0;
    for (int i = 0; i < FIXED; i++)
        known |= !strcmp(fixed[i], place);
    if (kind < 0 && known && phase)
        return complain(ini, at, e, "'%s' is a section and a phase; rename the phase", place);
    if (kind < 0 && !strcmp(place, "params") && !ini_entry(ini_section(ini, "params", NULL), key))
        return override_knob(ini, key, text, at, e);
    int stage = is_stage(place), taken = kind < 0 && (known || phase) && (!stage || section_takes(place, !known, key));
    if (taken && set_key(ini, known ? section_for(ini, place, at) : phase, key, text, at, e))
        return -1;
    if (!stage)
        return taken ? 0 : unknown_place(ini, place, at, e);
    ini->pending[ini->pendings++] = (struct pending){at.given, place, key, ini_text(ini, text, -1), kind, taken};
    return 0;
}

/* The name behind `variant=`: of a section [variant NAME]; where the recipe has a knob of that name, what is no section
 * is its value. NULL: neither `variant=` nor a section's name. */
static const char *variant_named(struct ini *ini, const char *given)
{
    char name[MAX_NAME + 10];
    if (strncmp(given, "variant=", 8))
        return NULL;
    snprintf(name, sizeof name, "variant %.*s", MAX_NAME, given + 8);
    int knob = ini_entry(ini_section(ini, "params", NULL), "variant") != NULL;
    return !knob || ini_section(ini, name, NULL) ? given + 8 : NULL;
}

static int override_one(struct ini *ini, const char *given, struct error *e)
{
    struct origin at = {0, given};
    const char *equals = strchr(given, '=');
    if (!equals)
        return complain(ini, at, e, "an override is written as key=value");
    char *key = ini_text(ini, given, (int)(equals - given)), *part[3] = {0}, *save = NULL;
    int parts = 0, dots = 0;
    for (char *s = key; *s; s++) {
        *s = *s == '-' ? '_' : *s;
        dots += *s == '.';
    }
    char *whole = ini_text(ini, key, -1);
    for (char *s = strtok_r(key, ".", &save); s && parts < 3; s = strtok_r(NULL, ".", &save))
        part[parts++] = s;
    for (int i = 0; i < parts; i++)
        if (!ini_name(part[i]))
            parts = 0;
    if (parts == 0 || dots != parts - 1)
        return complain(ini, at, e, "'%.80s' is no key: NAME, SECTION.key, PHASE.key, STAGE.key or KIND.STAGE.key",
                        whole);
    for (const char *s = equals + 1; *s; s++)
        if ((unsigned char)*s < ' ')
            return complain(ini, at, e, "a control character in the value");
    if (variant_named(ini, given)) {
        if (ini->variant)
            return complain(ini, at, e, "a variant was given before: %.100s", ini->variant);
        ini->variant = given;
        return 0;
    }
    if (parts == 1)
        return override_knob(ini, part[0], equals + 1, at, e);
    int kind = parts == 3 ? kind_find(part[0]) : -1;
    if (parts == 3 && kind < 0)
        return unknown(ini, at, "kind of stage", part[0], stage_kind_names, STAGE_KINDS, e);
    return override_place(ini, part[parts - 2], part[parts - 1], equals + 1, kind, at, e);
}

/* What [variant NAME: SECTION] says joins the section, over what stands there; where the recipe has no such section, it
 * becomes it, at its own place among the phases. Before the command line is looked at, which may change it again. */
static int join_sections(struct ini *ini, const char *variant, struct error *e)
{
    size_t n = strlen(variant);
    for (int i = 0; i < ini->sections; i++) {
        struct section *from = &ini->section[i];
        if (strncmp(from->name, "variant ", 8) || strncmp(from->name + 8, variant, n) || from->name[8 + n] != ':')
            continue;
        const char *place = from->name + 8 + n + 2, *phase = !strncmp(place, "phase ", 6) ? place + 6 : NULL;
        struct section *to = ini_section(ini, phase ? "phase" : place, phase);
        for (int k = 0; to && k < from->entries; k++)
            ini_set(ini, to, from->entry[k].key, from->entry[k].text, from->entry[k].at);
        if (to)
            continue;
        if (phase && ini_phases(ini) == MAX_PHASES)
            return complain(ini, from->at, e, "more than %d phases", MAX_PHASES);
        from->name = ini_text(ini, phase ? "phase" : place, -1);
        from->phase = phase ? ini_text(ini, phase, -1) : NULL;
    }
    return 0;
}

/* variant=NAME gives the knobs of [variant NAME]; what stands on the command line itself goes before. */
static int apply_variant(struct ini *ini, struct error *e)
{
    struct origin at = {0, ini->variant};
    char name[MAX_NAME + 10];
    const char *names[MAX_SECTIONS], *wanted = strchr(ini->variant, '=') + 1;
    int n = 0;
    for (int i = 0; i < ini->sections; i++)
        if (!strncmp(ini->section[i].name, "variant ", 8) && !strchr(ini->section[i].name, ':'))
            names[n++] = ini->section[i].name + 8;
    snprintf(name, sizeof name, "variant %.*s", MAX_NAME, wanted);
    struct section *from = ini_section(ini, name, NULL), *params = ini_section(ini, "params", NULL);
    if (!from)
        return n ? unknown(ini, at, "variant", wanted, names, n, e)
                 : complain(ini, at, e, "this recipe has no variants");
    for (int i = 0; i < from->entries; i++) {
        struct entry *knob = ini_entry(params, from->entry[i].key);
        if (!knob)
            return complain(ini, from->entry[i].at, e, "a variant sets knobs of [params]; '%s' is none",
                            from->entry[i].key);
        if (!knob->at.given)
            ini_set(ini, params, knob->key, from->entry[i].text, at);
    }
    return 0;
}

int override_sections(struct recipe *r, const char *const *overrides, int count, struct error *e)
{
    struct ini *ini = r->ini;
    if (count > MAX_OVERRIDES)
        return fail(e, "more than %d overrides on the command line", MAX_OVERRIDES);
    for (int i = 0; i < count; i++)
        if (variant_named(ini, overrides[i]) && join_sections(ini, variant_named(ini, overrides[i]), e))
            return -1;
    for (int i = 0; i < count; i++)
        if (override_one(ini, ini_text(ini, overrides[i], -1), e))
            return -1;
    return ini->variant ? apply_variant(ini, e) : 0;
}

/* ---- parameters of stages */

static int set_argument(struct ini *ini, struct call *c, const struct pending *p, struct error *e)
{
    struct origin at = {0, p->given};
    int i = 0;
    while (i < c->args && strcmp(c->arg[i].key, p->key))
        i++;
    if (i == MAX_PARAMS)
        return complain(ini, at, e, "%s: more than %d parameters", c->name, MAX_PARAMS);
    if (i < c->args && !c->arg[i].knob && c->arg[i].at.given && c->arg[i].at.given != c->at.given)
        return complain(ini, at, e, "duplicate key '%s', given before as %.100s", p->key, c->arg[i].at.given);
    c->args += i == c->args;
    c->arg[i] = (struct argument){p->key, ini_unquote(ini, p->text, e), NULL, at};
    return c->arg[i].text ? 0 : blame(ini, at, e);
}

/* 1: the call's stage has such a parameter. */
static int takes(const struct call *c, const char *key)
{
    const struct stage *s = stage_find(c->kind, c->name);
    return s && (param_find(s->params, key) >= 0 || param_find(s->params, "*") >= 0);
}

static int no_parameter(struct ini *ini, const struct pending *p, int used, struct error *e)
{
    const char *names[STAGE_KINDS * MAX_PARAMS];
    int n = 0;
    for (int i = 0; stages[i]; i++)
        for (int k = 0; !strcmp(stages[i]->name, p->stage) && k < param_count(stages[i]->params); k++)
            if (n < STAGE_KINDS * MAX_PARAMS)
                names[n++] = stages[i]->params[k].key;
    struct origin at = {0, p->given};
    if (!used)
        return complain(ini, at, e, "no phase of this recipe runs the stage '%s'", p->stage);
    char what[80];
    snprintf(what, sizeof what, "parameter %% of '%s'", p->stage);
    return unknown(ini, at, what, p->key, names, n, e);
}

static int apply(struct recipe *r, const struct pending *p, struct error *e)
{
    struct ini *ini = r->ini;
    struct origin at = {0, p->given};
    int kind = -1, used = 0;
    for (int f = 0; f < r->phases; f++)
        for (int i = 0; i < r->phase[f].stages; i++) {
            struct call *c = ini->call[f][i];
            if (strcmp(c->name, p->stage) || (p->kind >= 0 && (int)c->kind != p->kind))
                continue;
            used = 1;
            if (!takes(c, p->key))
                continue;
            if (p->also_section)
                return complain(ini, at, e, "'%s' is a section or phase and a stage; write %s.%s.%s for the stage",
                                p->stage, stage_kind_names[c->kind], p->stage, p->key);
            if (kind >= 0 && kind != (int)c->kind)
                return complain(ini, at, e, "'%s' is a %s and a %s stage here; write %s.%s.%s or %s.%s.%s", p->stage,
                                stage_kind_names[kind], stage_kind_names[c->kind], stage_kind_names[kind], p->stage,
                                p->key, stage_kind_names[c->kind], p->stage, p->key);
            kind = (int)c->kind;
            if (set_argument(ini, c, p, e))
                return -1;
        }
    return kind >= 0 || p->also_section ? 0 : no_parameter(ini, p, used, e);
}

int override_stages(struct recipe *r, struct error *e)
{
    struct ini *ini = r->ini;
    for (int i = 0; i < ini->pendings; i++)
        if (apply(r, &ini->pending[i], e))
            return -1;
    return 0;
}
