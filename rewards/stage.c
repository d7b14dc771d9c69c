/* The table of stages, found by kind and name, and the metrics they leave behind. Adding one: stages.def.
 */
#include "stage.h"
#include "../model/base/error.h"
#include <stdio.h>
#include <string.h>

#define STAGE(name) extern const struct stage name;
#include "stages.def"
#undef STAGE

const struct stage *const stages[] = {
#define STAGE(name) &name,
#include "stages.def"
#undef STAGE
    NULL};

const char *const stage_kind_names[STAGE_KINDS] = {"score",     "shape", "select", "credit",
                                                   "advantage", "loss",  "regular"};

/* Names are written either way in recipes: '-' equals '_'. */
static int same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
            return 0;
    return *a == *b;
}

const struct stage *stage_find(enum stage_kind kind, const char *name)
{
    for (int i = 0; stages[i]; i++)
        if (stages[i]->kind == kind && same_name(stages[i]->name, name))
            return stages[i];
    return NULL;
}

static struct metric *metric_find(const struct metrics *m, const char *name)
{
    for (int i = 0; i < m->n; i++)
        if (!strcmp(m->metric[i].name, name))
            return (struct metric *)&m->metric[i];
    return NULL;
}

void metric_add(struct metrics *m, const char *name, double sum, double count)
{
    struct metric *at = metric_find(m, name);
    if (!at) {
        if (m->n == MAX_METRICS)
            die("metric '%s': there is room for %d", name, MAX_METRICS);
        at = &m->metric[m->n++];
        *at = (struct metric){0};
        snprintf(at->name, sizeof at->name, "%s", name);
    }
    at->sum += sum;
    at->count += count;
}

double metric_value(const struct metrics *m, const char *name, double otherwise)
{
    const struct metric *at = metric_find(m, name);
    return at && at->count != 0 ? at->sum / at->count : otherwise;
}
