/* The resolved recipe as text: every key that matters, every stage with every parameter, each phase complete. Loading
 * it gives the same recipe and the same text. Left out are the keys that the result does not depend on.
 */
#include "recipe_inner.h"
#include "../model/base/mem.h"
#include <string.h>

static void print_key(struct text *t, const struct key_row *k, const void *config)
{
    struct value v;
    key_get(k, config, &v);
    text_addf(t, "%s = ", k->row.key);
    value_print(t, &k->row, &v);
    text_add(t, "\n", 1);
}

static void print_section(struct text *t, const char *name, const void *config)
{
    const struct section_row *row = section_find(name);
    text_addf(t, "\n[%s]\n", name);
    for (int i = 0; i < row->count; i++)
        if (!row->keys[i].local && key_matters(row, &row->keys[i], config))
            print_key(t, &row->keys[i], config);
}

static int same_value(const struct key_row *k, const void *a, const void *b)
{
    struct value x, y;
    key_get(k, a, &x);
    key_get(k, b, &y);
    return k->store == KEY_STRING ? !strcmp(x.text, y.text) : x.num == y.num;
}

/* Keys of a phase that differ from the section. A key that only the phase's other settings make matter is not in the
 * section's text, so it is written here. */
static void print_differences(struct text *t, const char *name, const void *phase, const void *base)
{
    const struct section_row *row = section_find(name);
    for (int i = 0; i < row->count; i++) {
        const struct key_row *k = &row->keys[i];
        if (!k->local && key_matters(row, k, phase) && !(same_value(k, phase, base) && key_matters(row, k, base)))
            print_key(t, k, phase);
    }
}

/* Entries as they were written; of [params] those that still reach a stage. */
static void print_raw(struct text *t, const struct recipe *r, const char *name)
{
    struct ini *ini = r->ini;
    struct section *s = ini_section(ini, name, NULL);
    int n = 0;
    for (int i = 0; s && i < s->entries; i++) {
        struct error e;
        if (!strcmp(name, "params") && !knob_reaches(r, s->entry[i].key))
            continue;
        if (n++ == 0)
            text_addf(t, "\n[%s]\n", name);
        char *text = ini_unquote(ini, s->entry[i].text, &e);
        text_addf(t, "%s = ", s->entry[i].key);
        text_print(t, text ? text : s->entry[i].text);
        text_add(t, "\n", 1);
    }
}

/* Without a chat format its keys are left out, as what does not matter is. */
static void print_task(struct text *t, const struct recipe *r)
{
    const struct param *table = r->task_row->params;
    text_addf(t, "\n[task]\nname = %s\n", r->task.name);
    for (int i = 0; i < recipe_task_section.count && r->task.chat; i++) {
        const struct key_row *k = &recipe_task_section.keys[i];
        struct value v;
        key_get(k, &r->task, &v);
        text_addf(t, "%s = ", k->row.key);
        value_print(t, &k->row, &v);
        text_add(t, "\n", 1);
    }
    for (int i = 0; i < param_count(table); i++) {
        if (!param_matters(table, i, r->task_value))
            continue;
        text_addf(t, "%s = ", table[i].key);
        value_print(t, &table[i], &r->task_value[i]);
        text_add(t, "\n", 1);
    }
}

static const struct argument *find_argument(const struct call *c, const char *key)
{
    for (int i = 0; i < c->args; i++)
        if (!strcmp(c->arg[i].key, key))
            return &c->arg[i];
    return NULL;
}

static void print_argument(struct text *t, int *n, const char *key, const char *knob, const struct param *row,
                           const struct value *v)
{
    text_addf(t, "%s%s = ", (*n)++ ? ", " : "(", key);
    if (knob)
        text_add(t, knob, -1);
    else
        value_print(t, row, v);
}

/* NAME(key = value, ...): the rows in their order, then the free names. */
static void print_stage(struct text *t, const struct call *c, const struct stage_use *u)
{
    const struct param *table = u->stage->params;
    int n = 0;
    text_add(t, u->stage->name, -1);
    for (int i = 0; i < param_count(table); i++) {
        const struct argument *a = find_argument(c, table[i].key);
        if (strcmp(table[i].key, "*") && (param_matters(table, i, u->value) || (a && a->knob)))
            print_argument(t, &n, table[i].key, a ? a->knob : NULL, &table[i], &u->value[i]);
    }
    for (int i = 0; i < c->args; i++) {
        const struct param number = {c->arg[i].key, PARAM_NUMBER, "1", -1e6, 1e6, NULL, NULL, NULL};
        struct value v;
        if (param_find(table, c->arg[i].key) < 0 && param_parse(&number, c->arg[i].text, &v, NULL) == 0)
            print_argument(t, &n, number.key, c->arg[i].knob, &number, &v);
    }
    if (n > 0)
        text_add(t, ")", 1);
}

/* One line a kind, in the order in which they run. */
static void print_stages(struct text *t, const struct ini *ini, int f, const struct phase *p)
{
    for (int i = 0; i < p->stages; i++) {
        int again = i > 0 && p->stage[i].stage->kind == p->stage[i - 1].stage->kind;
        if (!again)
            text_addf(t, "%s%s = ", i ? "\n" : "", stage_kind_names[p->stage[i].stage->kind]);
        else
            text_add(t, ", ", 2);
        print_stage(t, ini->call[f][i], &p->stage[i]);
    }
    text_add(t, "\n", 1);
}

void recipe_print(struct recipe *r)
{
    struct text t = {0};
    if (r->title)
        text_addf(&t, "# %s\n", r->title);
    print_raw(&t, r, "params");
    print_task(&t, r);
    print_section(&t, "model", &r->model);
    print_raw(&t, r, "models");
    print_section(&t, "rollout", &r->rollout);
    print_section(&t, "optim", &r->optim);
    print_section(&t, "eval", &r->eval);
    print_section(&t, "run", &r->run);
    for (int f = 0; f < r->phases; f++) {
        const struct phase *p = &r->phase[f];
        const struct section_row *row = section_find("phase");
        text_addf(&t, "\n[phase %s]\n", p->name);
        for (int i = 0; i < row->count; i++)
            if (key_matters(row, &row->keys[i], p))
                print_key(&t, &row->keys[i], p);
        if (p->source == SOURCE_ROLLOUT)
            print_differences(&t, "rollout", &p->rollout, &r->rollout);
        print_differences(&t, "optim", &p->optim, &r->optim);
        print_stages(&t, r->ini, f, p);
    }
    r->text = mem_strdup(t.s);
    text_free(&t);
}
