/* The settings of a run or a recipe as a flat list of names and values, and what differs between two of them.
 *
 * Read from the resolved text (recipe.ini of a run directory) by its form alone, so that a run of another version can
 * be read too. Names are SECTION.key, PHASE.key, and PHASE.KIND.STAGE.key for the parameters of a stage; PHASE.KIND has
 * the names of the stages of that kind.
 */
#ifndef SETTINGS_H
#define SETTINGS_H
#include "../../model/base/json.h"

struct setting {
    char *name, *value;
    char *line; /* PHASE.KIND: the line with all parameters, else NULL */
};
struct settings {
    struct setting *row; /* in the order of the text */
    int n, cap;
    char title[256]; /* the first line of comment */
};
enum { MAX_SETTINGS = 4096 };

/* Every line that has the form of an entry; the rest is skipped. At most MAX_SETTINGS. */
void settings_read(struct settings *s, const char *text);
/* From an object of texts, as settings_json makes it. -1: it is something else. */
int settings_from_json(struct settings *s, const json_t *o, struct error *e);
json_t *settings_json(const struct settings *s);
void settings_free(struct settings *s);

/* The value under exactly this name, or NULL. */
const char *settings_get(const struct settings *s, const char *name);
/* What a person means: a full name; a knob of [params]; stages.KIND, the line of the first phase with rollouts;
 * STAGE.key in any phase, or a key alone, the first of that name; for a full name that is not written, what then holds.
 * NULL: no such setting. */
const char *settings_find(const struct settings *s, const char *key);

/* One name with two values; a value is NULL where the setting does not exist, not even as a default. */
struct difference {
    const char *name, *a, *b;
};
/* What is set differently, at most max; returns how many there are. A setting that only one of them has is compared
 * with what the other one's section or this program's defaults give. Left out is what cannot change a result: seed,
 * what is logged, how often is evaluated, where a model or a file of a task lies. */
int settings_compare(const struct settings *a, const struct settings *b, struct difference *d, int max);
/* The setting names a file of a task. */
int settings_is_file(const char *name);

/* Length of the text up to one of `ends` outside double quotes and parentheses, at most len. */
size_t settings_span(const char *s, size_t len, const char *ends);

#endif
