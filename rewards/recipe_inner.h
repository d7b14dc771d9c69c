/* What the recipe files share: the text as sections of entries, stage lists as calls, and where each piece came from.
 * Nothing outside rewards/recipe*.c includes this.
 */
#ifndef RECIPE_INNER_H
#define RECIPE_INNER_H
#include "recipe.h"

enum { MAX_NAME = 31, MAX_VARIANTS = 24, MAX_SECTIONS = 10 + MAX_VARIANTS + MAX_PHASES, MAX_OVERRIDES = 128 };
enum { MAX_JOINED = 2 * MAX_NAME + 20 }; /* "variant NAME: phase NAME" */

struct origin {
    int line;          /* of the recipe; 0: its end, or nothing was written */
    const char *given; /* the override as typed; NULL: the recipe itself */
};
struct entry { /* key = text, comments and blanks around it removed, quotes still there */
    char *key, *text;
    struct origin at;
    int used; /* [params]: the text of a stage line refers to it; [stages]: some phase runs it */
};
struct section {
    char *name;  /* "phase" for every phase */
    char *phase; /* its name, or NULL */
    struct origin at;
    struct entry *entry;
    int entries, cap;
};
struct argument {
    char *key, *text; /* text without quotes, or of the knob it refers to */
    char *knob;       /* "$name" as written, or NULL */
    struct origin at;
};
struct call { /* NAME(key = text, ...) */
    enum stage_kind kind;
    char *name;
    struct argument arg[MAX_PARAMS];
    int args;
    struct origin at;
};
struct pending { /* an override of a stage parameter, applied when the stages of all phases are known */
    const char *given;
    char *stage, *key, *text;
    int kind;         /* -1: any */
    int also_section; /* it was taken by a section or phase of the same name */
};
struct ini {
    char path[512];
    struct section section[MAX_SECTIONS];
    int sections;
    struct call *call[MAX_PHASES][MAX_STAGES]; /* beside phase[].stage[] */
    const char *variant;                       /* "variant=NAME" as typed, or NULL */
    struct pending pending[MAX_OVERRIDES];
    int pendings;
    struct memory *memory;
};

/* recipe_ini.c */
void *ini_memory(struct ini *ini, size_t bytes); /* lives as long as the ini */
char *ini_text(struct ini *ini, const char *s, int len);
void ini_free(struct ini *ini);
int ini_parse(struct ini *ini, const char *text, size_t len, char **title, struct error *e);
struct section *ini_section(struct ini *ini, const char *name, const char *phase); /* NULL: none */
struct section *ini_add_section(struct ini *ini, const char *name, const char *phase, struct origin at);
int ini_phases(const struct ini *ini);
struct entry *ini_entry(struct section *s, const char *key); /* NULL: none; s may be NULL */
void ini_set(struct ini *ini, struct section *s, const char *key, const char *text, struct origin at);
char *ini_unquote(struct ini *ini, const char *text, struct error *e); /* NULL on failure */
int ini_calls(struct ini *ini, const struct entry *line, enum stage_kind kind, struct call **call, int *calls,
              struct error *e); /* adds at call[*calls...], at most MAX_STAGES */
int ini_name(char *s);          /* '-' becomes '_'; 0: not a name */
/* Put "file:line: " or "on the command line: key=value: " in front of *e; returns -1. */
int blame(const struct ini *ini, struct origin at, struct error *e);
int complain(const struct ini *ini, struct origin at, struct error *e, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* "unknown WHAT 'name'" with the nearest of the names, or with all; a % in `what` is where the name stands: "key % in
 * [rollout]". */
int unknown(const struct ini *ini, struct origin at, const char *what, const char *name, const char *const *names,
            int n, struct error *e);
int kind_find(const char *name); /* -1: none */

/* recipe_keys.c */
const struct section_row *section_find(const char *name);
const struct key_row *key_find(const struct section_row *s, const char *key);
void key_defaults(const struct section_row *s, void *to);
int key_set(const struct key_row *k, const char *text, void *to, struct error *e);
void key_get(const struct key_row *k, const void *from, struct value *v);
int key_matters(const struct section_row *s, const struct key_row *k, const void *config); /* its only_if holds */
/* Does only_if hold among the n rows and values of its table? NULL always does. */
int condition_holds(const char *only_if, const struct param *const *rows, const struct value *v, int n);
int param_matters(const struct param *table, int i, const struct value *v);
void value_print(struct text *out, const struct param *row, const struct value *v); /* quoted where needed */
void text_print(struct text *out, const char *s);

/* recipe_override.c */
int override_sections(struct recipe *r, const char *const *overrides, int count, struct error *e);
int override_stages(struct recipe *r, struct error *e);

/* recipe_stages.c */
int stages_build(struct recipe *r, struct error *e);   /* the calls of every phase, defaults inserted */
int stages_resolve(struct recipe *r, struct error *e); /* calls to stages and values */

int knob_reaches(const struct recipe *r, const char *key); /* a stage parameter refers to it after all overrides */

/* recipe_print.c */
void recipe_print(struct recipe *r); /* fills r->text */

#endif
