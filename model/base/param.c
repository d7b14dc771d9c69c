/* Parsing and printing by a parameter row (param.h). The rows live with the stage, task or section they belong to. */
#include "param.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int param_count(const struct param *table)
{
    int n = 0;
    while (table && table[n].key)
        if (++n > MAX_PARAMS)
            die("a parameter table has more than %d rows", MAX_PARAMS);
    return n;
}

/* Equal names, '-' and '_' alike; b ends after n bytes. */
static int same_name(const char *a, const char *b, size_t n)
{
    if (strlen(a) != n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] && !(strchr("-_", a[i]) && strchr("-_", b[i])))
            return 0;
    return 1;
}

int param_find(const struct param *table, const char *key)
{
    size_t len = strlen(key);
    for (int i = 0, n = param_count(table); i < n; i++)
        if (same_name(table[i].key, key, len))
            return i;
    return -1;
}

static int is_any(const char *s, const char *a, const char *b, const char *c, const char *d)
{
    return !strcmp(s, a) || !strcmp(s, b) || !strcmp(s, c) || !strcmp(s, d);
}

/* The bounds as a person would say them. */
static const char *bounds_text(const struct param *row, char buf[96])
{
    char low[64], high[64];
    struct value min = {.num = row->min}, max = {.num = row->max};
    struct param plain = {.type = PARAM_NUMBER};
    param_text(&plain, &min, low);
    param_text(&plain, &max, high);
    if (isinf(row->min) && isinf(row->max))
        snprintf(buf, 96, "any number");
    else if (isinf(row->max))
        snprintf(buf, 96, "at least %.40s", low);
    else if (isinf(row->min))
        snprintf(buf, 96, "at most %.40s", high);
    else
        snprintf(buf, 96, "from %.40s to %.40s", low, high);
    return buf;
}

static int can_be_off(const struct param *row)
{
    int numeric = row->type == PARAM_NUMBER || row->type == PARAM_INT;
    return (row->def && !strcmp(row->def, "off")) || (numeric && (isinf(row->min) || isinf(row->max)));
}

/* An unlimited number is its infinite bound, so that comparing with it needs no special case. An int stays 0: it will
 * be cast. */
static void set_off(const struct param *row, struct value *v)
{
    *v = (struct value){.off = 1, .text = "off"};
    if (row->type == PARAM_NUMBER)
        v->num = isinf(row->max) ? row->max : isinf(row->min) ? row->min : 0;
}

static int parse_number(const struct param *row, const char *s, struct value *v, struct error *e)
{
    char bounds[96];
    const char *kind = row->type == PARAM_INT ? "whole number" : "number";
    char *end = NULL;
    int decimal = *s && strspn(s, "0123456789+-.eE") == strlen(s); /* no spaces, hexadecimal or nan */
    double x = decimal ? strtod(s, &end) : 0;
    if (!decimal || *end || end == s)
        return fail(e, "%s = %s: not a %s (%s)", row->key, s, kind, bounds_text(row, bounds));
    if (row->type == PARAM_INT && (x != floor(x) || fabs(x) > 0x1p53))
        return fail(e, "%s = %s: not a whole number (%s)", row->key, s, bounds_text(row, bounds));
    if (!(x >= row->min && x <= row->max) || isinf(x))
        return fail(e, "%s = %s: out of bounds (%s)", row->key, s, bounds_text(row, bounds));
    v->num = x == 0 ? 0 : x; /* no negative zero: it would print and compare as another value */
    return 0;
}

static int parse_bool(const struct param *row, const char *s, struct value *v, struct error *e)
{
    if (is_any(s, "true", "yes", "on", "1"))
        v->num = 1;
    else if (is_any(s, "false", "no", "off", "0"))
        v->num = 0;
    else
        return fail(e, "%s = %s: neither true nor false", row->key, s);
    return 0;
}

enum { MAX_CHOICES = 32 };

/* The texts of "k1|k2|k3", cut apart in buf; each is also a piece of the row. */
static int choice_split(const char *choices, char *buf, size_t size, const char *names[MAX_CHOICES])
{
    int n = 0;
    if ((size_t)snprintf(buf, size, "%s", choices) >= size)
        die("the choices \"%s\" are too long", choices);
    for (char *save = NULL, *one = strtok_r(buf, "|", &save); one; one = strtok_r(NULL, "|", &save)) {
        if (n == MAX_CHOICES)
            die("the choices \"%s\" are more than %d", choices, MAX_CHOICES);
        names[n++] = one;
    }
    return n;
}

static int parse_choice(const struct param *row, const char *s, struct value *v, struct error *e)
{
    char buf[512];
    const char *names[MAX_CHOICES];
    int n = choice_split(row->choices, buf, sizeof buf, names);
    for (int i = 0; i < n; i++)
        if (same_name(names[i], s, strlen(s))) {
            v->num = i;
            v->text = s;
            return 0;
        }
    const char *near = nearest_name(s, names, n);
    if (near)
        return fail(e, "%s = %s: not one of %s; did you mean '%s'?", row->key, s, row->choices, near);
    return fail(e, "%s = %s: not one of %s", row->key, s, row->choices);
}

/* Words that mean "no limit" or "not used" for this row. A bool's off is false, and a choice may be called off. */
static int is_off(const struct param *row, const char *s)
{
    if (row->type == PARAM_BOOL)
        return 0;
    if (row->type == PARAM_NUMBER || row->type == PARAM_INT)
        return !strcmp(s, "off") || !strcmp(s, "null") || (isinf(row->max) && !strcmp(s, "inf")) ||
               (isinf(row->min) && !strcmp(s, "-inf"));
    struct value v;
    if (row->type == PARAM_CHOICE && parse_choice(row, s, &v, NULL) == 0)
        return 0;
    return can_be_off(row) && (!strcmp(s, "off") || !strcmp(s, "null"));
}

int param_parse(const struct param *row, const char *s, struct value *v, struct error *e)
{
    *v = (struct value){0};
    if (is_off(row, s)) {
        char bounds[96];
        if (!can_be_off(row))
            return fail(e, "%s = %s: cannot be switched off (%s)", row->key, s, bounds_text(row, bounds));
        set_off(row, v);
        return 0;
    }
    switch (row->type) {
    case PARAM_BOOL:
        return parse_bool(row, s, v, e);
    case PARAM_CHOICE:
        return parse_choice(row, s, v, e);
    case PARAM_TEXT:
        v->text = s;
        return 0;
    default:
        return parse_number(row, s, v, e);
    }
}

const char *param_text(const struct param *row, const struct value *v, char buf[64])
{
    if (v->off)
        return "off";
    if (row->type == PARAM_BOOL)
        return v->num != 0 ? "true" : "false";
    if (row->type == PARAM_CHOICE || row->type == PARAM_TEXT)
        return v->text ? v->text : "";
    if (v->num == floor(v->num) && fabs(v->num) < 1e15) { /* %g would write 10 as 1e+01 */
        snprintf(buf, 64, "%.0f", v->num);
        return buf;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(buf, 64, "%.*g", digits, v->num);
        if (strtod(buf, NULL) == v->num)
            break;
    }
    return buf;
}
