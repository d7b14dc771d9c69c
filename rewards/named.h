/* Several rewards by name, each with a weight and, where it has one, a condition: what the shape `mix` and the
 * advantage `gdpo` have in common.
 */
#ifndef NAMED_H
#define NAMED_H
#include "stage.h"

/* The first rows of a stage that uses this, in this order. */
enum { NAMED_COMPONENTS, NAMED_WEIGHTS, NAMED_CONDITION };
#define NAMED_CONDITION_ROW                                                                                            \
    {                                                                                                                  \
        "condition", PARAM_TEXT, "", 0, 0, NULL, "A:B:T, ...: component A counts only where B is at least T.", NULL    \
    }

/* The stage's `check`: as many weights as components, or none, and all of them numbers; conditions are A:B:T, T a
 * number, A one of the components. */
int named_check(const struct value *p, struct error *e);
/* The next component of *list and, from *weights, its weight (1 where there are none); 0: no more. */
int named_next(const char **list, const char **weights, char name[64], double *weight);
/* value[samples] = the component, one number a sample (steps and tokens as their mean), 0 where a condition excludes it
 * or the sample is not kept. -1 with a message that names `stage`: nothing wrote a component. */
int named_values(const struct stage_call *c, const char *name, double *value, struct error *e);

#endif
