#include "named.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../model/base/error.h"

/* A:B:T of a condition, apart. */
struct condition {
    char text[64];
    const char *of, *gate;
    double least;
};

static int next_condition(const char **list, struct condition *k)
{
    if (!list_piece(list, k->text))
        return 0;
    char *gate = strchr(k->text, ':'), *least = gate ? strchr(gate + 1, ':') : NULL, *end = least;
    k->of = k->text;
    k->gate = NULL;
    if (!least)
        return 1;
    *gate = *least = 0;
    k->least = strtod(least + 1, &end);
    k->gate = end > least + 1 && !*end && isfinite(k->least) ? gate + 1 : NULL;
    return 1;
}

static int listed(const char *list, const char *name)
{
    for (char piece[64]; list_piece(&list, piece);)
        if (!strcmp(piece, name))
            return 1;
    return 0;
}

static int check_conditions(const struct value *p, struct error *e)
{
    const char *list = p[NAMED_CONDITION].text, *from;
    struct condition k;
    for (from = list; next_condition(&list, &k); from = list) {
        from += strspn(from, " ,");
        if (!k.gate)
            return fail(e, "condition '%.*s' is not A:B:T, two components and the least number of the second",
                        (int)(list - from), from);
        if (!listed(p[NAMED_COMPONENTS].text, k.of))
            return fail(e, "condition '%.*s': '%s' is none of the components %s", (int)(list - from), from, k.of,
                        p[NAMED_COMPONENTS].text);
    }
    return 0;
}

int named_check(const struct value *p, struct error *e)
{
    const char *names = p[NAMED_COMPONENTS].text, *weights = p[NAMED_WEIGHTS].text;
    int components = 0, given = 0;
    for (char piece[64]; list_piece(&names, piece);)
        components++;
    for (char piece[64]; list_piece(&weights, piece); given++) {
        char *end;
        double weight = strtod(piece, &end);
        if (end == piece || *end || !isfinite(weight))
            return fail(e, "weights: '%s' is no number", piece);
    }
    if (given && given != components)
        return fail(e, "%d weights for %d components (%s); give one each, or none", given, components,
                    p[NAMED_COMPONENTS].text);
    return check_conditions(p, e);
}

int named_next(const char **list, const char **weights, char name[64], double *weight)
{
    char text[64];
    if (!list_piece(list, name))
        return 0;
    *weight = list_piece(weights, text) ? strtod(text, NULL) : 1;
    return 1;
}

static const struct component *find(const struct stage_call *c, const char *name, struct error *e)
{
    const struct batch *b = c->b;
    int at = batch_find_component(b, name);
    if (at >= 0 && b->component[at].written && b->component[at].level != LEVEL_GROUP)
        return &b->component[at];
    fail(e, "%s: no score stage wrote the component '%s'", c->stage->name, name);
    return NULL;
}

int named_values(const struct stage_call *c, const char *name, double *value, struct error *e)
{
    const struct batch *b = c->b;
    const char *list = c->p[NAMED_CONDITION].text;
    const struct component *own = b->samples ? find(c, name, e) : NULL, *gate;
    struct condition k;
    if (b->samples && !own)
        return -1;
    for (int i = 0; i < b->samples; i++)
        value[i] = b->kept[i] ? component_mean(b, own, i) : 0;
    while (b->samples && next_condition(&list, &k)) {
        if (strcmp(k.of, name))
            continue;
        if (!(gate = find(c, k.gate, e)))
            return -1;
        for (int i = 0; i < b->samples; i++)
            value[i] = b->kept[i] && component_mean(b, gate, i) >= k.least ? value[i] : 0;
    }
    return 0;
}
