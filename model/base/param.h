/* A parameter row: the one way in which stages, tasks and recipe sections say what can be set.
 * The row carries default, bounds and sentence, so checking, help and documentation come from the same place. */
#ifndef PARAM_H
#define PARAM_H
#include "error.h"

enum param_type { PARAM_NUMBER, PARAM_INT, PARAM_BOOL, PARAM_CHOICE, PARAM_TEXT };

struct param {
    const char *key; /* lower case with '_'; NULL ends a table */
    enum param_type type;
    const char *def;     /* default as it would be written in a recipe; "off" where off is possible */
    double min, max;     /* inclusive bounds of numbers */
    const char *choices; /* PARAM_CHOICE: "k1|k2|k3" */
    const char *help;    /* one sentence */
    const char *only_if; /* NULL, or "key=value" of the same table: setting this parameter is refused elsewhere,
                            because it would change nothing. "key!=value" too. */
};

struct value {
    double num; /* number; 0/1 for bools; index of the choice */
    int off;    /* written as "off" or null; allowed only when the default is "off" or the bounds reach infinity */
    const char *text; /* choices and texts; owned by whoever parsed it */
};

#define MAX_PARAMS 32 /* rows in one table */

int param_count(const struct param *table);
int param_find(const struct param *table, const char *key); /* -1: none; '-' equals '_' */
/* Parse s by the row; fails naming key, value, bounds or choices. v->text points into s or into the row. */
int param_parse(const struct param *row, const char *s, struct value *v, struct error *e);
/* As a recipe would write it; buf of at least 64 bytes is used for numbers (shortest text that reads back equal). */
const char *param_text(const struct param *row, const struct value *v, char buf[64]);

#endif
