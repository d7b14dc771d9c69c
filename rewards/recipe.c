/* From a name or a path and overrides to a checked recipe: the sections read into their structs, one after the other.
 * The text is taken apart in recipe_ini.c, keys stand in recipe_keys.c, stages are looked up in recipe_stages.c, what
 * is wrong is said in recipe_check.c.
 */
#include "recipe_inner.h"
#include "../model/base/file.h"
#include "../model/base/mem.h"
#include <stdio.h>
#include <string.h>

static int is_path(const char *s)
{
    size_t n = strlen(s);
    return strchr(s, '/') || (n > 4 && !strcmp(s + n - 4, ".ini"));
}

const char *recipe_titled(const char *title)
{
    for (const struct recipe_file *f = recipe_files; f->name && title; f++) {
        const char *line = f->text + strspn(f->text, "# \t");
        size_t n = strcspn(line, "\r\n");
        if (n > 0 && n == strlen(title) && !strncmp(line, title, n))
            return f->name;
    }
    return NULL;
}

/* recipe.ini of a run: the built-in recipe that it came from, as its title tells, else the run's directory. */
static void name_after_run(struct recipe *r, const char *path, const char *base)
{
    const char *known = recipe_titled(r->title), *from = base > path ? base - 1 : path;
    while (from > path && from[-1] != '/')
        from--;
    if (known)
        snprintf(r->name, sizeof r->name, "%s", known);
    else if (base - from > 1)
        snprintf(r->name, sizeof r->name, "%.*s", (int)(base - from - 1 < 60 ? base - from - 1 : 60), from);
}

static int open_file(struct recipe *r, const char *path, struct error *e)
{
    struct ini *ini = r->ini;
    size_t len;
    if (strlen(path) >= sizeof r->path)
        return fail(e, "the recipe's path is longer than %zu bytes", sizeof r->path - 1);
    char *text = file_read(path, 1 << 20, &len, e);
    if (!text)
        return -1;
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t n = strlen(base), cut = n > 4 && !strcmp(base + n - 4, ".ini") ? n - 4 : n;
    snprintf(r->name, sizeof r->name, "%.*s", (int)(cut < sizeof r->name ? cut : sizeof r->name - 1), base);
    snprintf(r->path, sizeof r->path, "%s", path);
    snprintf(ini->path, sizeof ini->path, "%s", path);
    int bad = ini_parse(ini, text, len, &r->title, e);
    mem_free(text);
    if (!bad && !strcmp(base, "recipe.ini"))
        name_after_run(r, path, base);
    return bad;
}

static int open_built_in(struct recipe *r, const char *name, struct error *e)
{
    struct ini *ini = r->ini;
    const char *names[512];
    int n = 0;
    for (; recipe_files[n].name && n < 512; n++) {
        names[n] = recipe_files[n].name;
        if (strcmp(names[n], name))
            continue;
        snprintf(r->name, sizeof r->name, "%s", name);
        snprintf(r->path, sizeof r->path, "rewards/recipes/%.400s.ini", name);
        snprintf(ini->path, sizeof ini->path, "%s", r->path);
        return ini_parse(ini, recipe_files[n].text, strlen(recipe_files[n].text), &r->title, e);
    }
    const char *near = nearest_name(name, names, n);
    if (near)
        return fail(e, "no recipe is called '%.100s'; did you mean '%s'?", name, near);
    return fail(e, "no recipe is called '%.100s'; `list recipes` shows them, a path to an .ini file works too", name);
}

/* ---- sections */

static int parse_scalar(struct ini *ini, const struct section_row *row, const struct entry *n, const struct key_row *k,
                        void *to, struct error *e)
{
    if (*n->text == '$')
        return complain(ini, n->at, e, "%s = %.60s: only stage parameters refer to [params]", n->key, n->text);
    if (!k) {
        const char *names[MAX_PARAMS];
        char what[40];
        for (int i = 0; i < row->count; i++)
            names[i] = row->keys[i].row.key;
        snprintf(what, sizeof what, "key %% in [%s]", row->name);
        return unknown(ini, n->at, what, n->key, names, row->count, e);
    }
    char *text = ini_unquote(ini, n->text, e);
    if (!text || key_set(k, text, to, e))
        return blame(ini, n->at, e);
    return 0;
}

static int read_section(struct ini *ini, const char *name, void *to, struct error *e)
{
    const struct section_row *row = section_find(name);
    struct section *s = ini_section(ini, name, NULL);
    key_defaults(row, to);
    for (int i = 0; s && i < s->entries; i++)
        if (parse_scalar(ini, row, &s->entry[i], key_find(row, s->entry[i].key), to, e))
            return -1;
    return 0;
}

static int find_task(struct recipe *r, struct error *e)
{
    struct ini *ini = r->ini;
    struct entry *n = ini_entry(ini_section(ini, "task", NULL), "name");
    if (!n)
        return fail(e, "%s: no task; add a section [task] with a line `name = chain`", ini->path);
    char *name = ini_unquote(ini, n->text, e);
    if (!name)
        return blame(ini, n->at, e);
    r->task_row = task_find(name);
    if (r->task_row) {
        snprintf(r->task.name, sizeof r->task.name, "%s", r->task_row->name);
        return 0;
    }
    const char *names[256];
    int count = 0;
    for (; task_rows[count] && count < 256; count++)
        names[count] = task_rows[count]->name;
    return unknown(ini, n->at, "task", name, names, count, e);
}

static int read_task(struct recipe *r, struct error *e)
{
    struct ini *ini = r->ini;
    if (find_task(r, e))
        return -1;
    const struct param *table = r->task_row->params;
    int n = param_count(table);
    for (int i = 0; i < n; i++)
        if (param_parse(&table[i], table[i].def, &r->task_value[i], e))
            die("task %s: the default: %s", r->task.name, e->text);
    struct section *s = ini_section(ini, "task", NULL);
    const struct section_row *common = &recipe_task_section;
    key_defaults(common, &r->task);
    for (int i = 0; i < s->entries; i++) {
        const struct entry *x = &s->entry[i];
        const struct key_row *shared = key_find(common, x->key);
        int at = param_find(table, x->key);
        if (!strcmp(x->key, "name"))
            continue;
        if (shared && parse_scalar(ini, common, x, shared, &r->task, e))
            return -1;
        if (shared)
            continue;
        if (at < 0) {
            const char *names[MAX_PARAMS + 3] = {"name"};
            char what[64];
            int count = 1;
            for (int k = 0; k < n; k++)
                names[count++] = table[k].key;
            for (int k = 0; k < common->count; k++)
                names[count++] = common->keys[k].row.key;
            snprintf(what, sizeof what, "key %% of the task '%s'", r->task.name);
            return unknown(ini, x->at, what, x->key, names, count, e);
        }
        char *text = ini_unquote(ini, x->text, e);
        if (!text || param_parse(&table[at], text, &r->task_value[at], e))
            return blame(ini, x->at, e);
    }
    return 0;
}

/* ref = init frozen | path:DIR frozen | rm = preset:NAME head=scalar */
static int read_model(struct recipe *r, const struct entry *n, struct error *e)
{
    struct ini *ini = r->ini;
    struct model_use *m = &r->models[r->model_count];
    char *text = ini_unquote(ini, n->text, e), *save = NULL;
    if (!text)
        return blame(ini, n->at, e);
    if (r->model_count == MAX_MODELS)
        return complain(ini, n->at, e, "more than %d models", MAX_MODELS);
    if (!strcmp(n->key, "policy"))
        return complain(ini, n->at, e, "the policy is what [model] describes; here stand further models");
    if (strlen(n->key) >= sizeof m->name)
        return complain(ini, n->at, e, "the name of a model has at most %zu letters", sizeof m->name - 1);
    *m = (struct model_use){.line = n->at.line};
    snprintf(m->name, sizeof m->name, "%s", n->key);
    for (char *word = strtok_r(text, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
        if (!strcmp(word, "init"))
            m->init = 1;
        else if (!strcmp(word, "frozen"))
            m->frozen = 1;
        else if (!strcmp(word, "head=scalar"))
            m->head = HEAD_SCALAR;
        else if (!strcmp(word, "head=step"))
            m->head = HEAD_STEP;
        else if (!strncmp(word, "preset:", 7) && word[7] && strlen(word + 7) < sizeof m->preset)
            snprintf(m->preset, sizeof m->preset, "%s", word + 7);
        else if (!strncmp(word, "path:", 5) && word[5] && strlen(word + 5) < sizeof m->path)
            snprintf(m->path, sizeof m->path, "%s", word + 5);
        else
            return complain(ini, n->at, e,
                            "%s = ... '%.60s': a model is `init`, `preset:NAME` or `path:DIR`, then perhaps `frozen`, "
                            "`head=scalar` or `head=step`",
                            n->key, word);
    }
    if (m->init + (m->path[0] != 0) + (m->preset[0] != 0) != 1)
        return complain(ini, n->at, e,
                        "%s: a model begins as `init` (as the policy does), from `path:DIR` or new, as `preset:NAME`",
                        n->key);
    if (m->preset[0] && m->frozen)
        return complain(ini, n->at, e, "%s: a new model that is frozen would stay random; leave out `frozen`", n->key);
    r->model_count++;
    return 0;
}

/* A key of the phase itself, or of [rollout] or [optim]; stage lines are read elsewhere. */
static int read_phase_key(struct ini *ini, struct phase *p, const struct entry *n, struct error *e)
{
    const struct section_row *row[3] = {section_find("phase"), section_find("rollout"), section_find("optim")};
    void *to[3] = {p, &p->rollout, &p->optim};
    const char *names[3 * MAX_PARAMS + STAGE_KINDS];
    int count = 0;
    if (kind_find(n->key) >= 0)
        return 0;
    for (int i = 0; i < 3; i++) {
        const struct key_row *k = key_find(row[i], n->key);
        if (k)
            return parse_scalar(ini, row[i], n, k, to[i], e);
        for (int j = 0; j < row[i]->count; j++)
            names[count++] = row[i]->keys[j].row.key;
    }
    for (int i = 0; i < STAGE_KINDS; i++)
        names[count++] = stage_kind_names[i];
    return unknown(ini, n->at, "key % in a phase", n->key, names, count, e);
}

static int read_phase(struct recipe *r, struct section *s, struct error *e)
{
    struct phase *p = &r->phase[r->phases++];
    key_defaults(section_find("phase"), p);
    snprintf(p->name, sizeof p->name, "%s", s->phase);
    p->line = s->at.line;
    p->rollout = r->rollout;
    p->optim = r->optim;
    for (int i = 0; i < s->entries; i++)
        if (read_phase_key(r->ini, p, &s->entry[i], e))
            return -1;
    return 0;
}

static int read_stage_keys(struct ini *ini, struct error *e)
{
    struct section *s = ini_section(ini, "stages", NULL);
    for (int i = 0; s && i < s->entries; i++)
        if (kind_find(s->entry[i].key) < 0)
            return unknown(ini, s->entry[i].at, "kind of stage", s->entry[i].key, stage_kind_names, STAGE_KINDS, e);
    return 0;
}

static int read_all(struct recipe *r, struct error *e)
{
    struct ini *ini = r->ini;
    if (read_task(r, e) || read_section(ini, "model", &r->model, e) || read_section(ini, "rollout", &r->rollout, e) ||
        read_section(ini, "optim", &r->optim, e) || read_section(ini, "eval", &r->eval, e) ||
        read_section(ini, "run", &r->run, e) || read_stage_keys(ini, e))
        return -1;
    struct section *models = ini_section(ini, "models", NULL);
    for (int i = 0; models && i < models->entries; i++)
        if (read_model(r, &models->entry[i], e))
            return -1;
    for (int i = 0; i < ini->sections; i++)
        if (ini->section[i].phase && read_phase(r, &ini->section[i], e))
            return -1;
    return 0;
}

int channel_of(const char *channel, const char *model)
{
    size_t n = strlen(model);
    return strncmp(channel, model, n) == 0 && (channel[n] == '.' || channel[n] == '@');
}

void phase_forget(struct phase *p)
{
    for (int i = 0; i < p->stages; i++)
        for (int k = 0; k < MAX_STATES; k++)
            state_free(&p->stage[i].state[k]);
}

int channel_is_behind(const char *channel)
{
    const char *head = strrchr(channel, '.');
    return head && (!strcmp(head, ".score") || !strcmp(head, ".step") || !strcmp(head, ".after"));
}

int phase_trains(const struct phase *p, const char *model)
{
    for (int i = 0; i < p->stages; i++)
        for (int c = 0; c < 6; c++)
            if (p->stage[i].stage->gradients >> c & 1 && channel_of(p->stage[i].channel_name[c], model))
                return 1;
    return 0;
}

int phase_trains_policy(const struct phase *p)
{
    return strcmp(p->train, "policy") == 0;
}

int phase_reads_behind(const struct phase *p)
{
    for (int i = 0; i < p->stages; i++)
        for (int c = 0; c < 6; c++)
            if (p->stage[i].stage->kind >= STAGE_LOSS && channel_is_behind(p->stage[i].channel_name[c]))
                return 1;
    return 0;
}

int phase_couples(const struct phase *p)
{
    for (int i = 0; i < p->stages; i++)
        if (p->stage[i].stage->kind == STAGE_LOSS && p->stage[i].stage->couples == COUPLES_BATCH)
            return 1;
    return 0;
}

/* A recipe without a phase has one: RL on rollouts. */
static void add_phase(struct ini *ini)
{
    for (int i = 0; i < ini->sections; i++)
        if (ini->section[i].phase)
            return;
    ini_add_section(ini, "phase", "rl", (struct origin){0});
}

static int load(struct recipe *r, const char *name_or_path, const char *const *overrides, int count, int for_data,
                struct error *e)
{
    *r = (struct recipe){.ini = mem_alloc(1, sizeof(struct ini)), .for_data = for_data};
    int bad = is_path(name_or_path) ? open_file(r, name_or_path, e) : open_built_in(r, name_or_path, e);
    if (!bad) {
        add_phase(r->ini);
        bad = override_sections(r, overrides, count, e) || read_all(r, e) || stages_build(r, e) ||
              override_stages(r, e) || stages_resolve(r, e) || recipe_check(r, e);
    }
    if (bad) {
        recipe_free(r);
        return -1;
    }
    recipe_print(r);
    return 0;
}

int recipe_load(struct recipe *r, const char *name_or_path, const char *const *overrides, int count, struct error *e)
{
    return load(r, name_or_path, overrides, count, 0, e);
}

int recipe_load_for_data(struct recipe *r, const char *name_or_path, const char *const *overrides, int count,
                         struct error *e)
{
    return load(r, name_or_path, overrides, count, 1, e);
}

void recipe_free(struct recipe *r)
{
    for (int f = 0; f < r->phases; f++)
        phase_forget(&r->phase[f]);
    mem_free(r->title);
    mem_free(r->text);
    ini_free(r->ini);
    *r = (struct recipe){0};
}
