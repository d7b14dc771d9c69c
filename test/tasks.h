/* What the tests of tasks share: opening a task with its defaults and some of them set. To be included after cmocka.h.
 */
#ifndef TASKS_H
#define TASKS_H

enum { R = VERDICT_RIGHT, W = VERDICT_WRONG, U = VERDICT_UNPARSABLE };

/* Defaults with some of them set: "key=value", up to NULL. Returns what task_open returns. */
static int try_open(struct task *t, const char *name, const char *const *set, struct error *e)
{
    const struct task_row *row = task_find(name);
    struct value value[MAX_PARAMS];
    assert_non_null(row);
    for (int i = 0; i < param_count(row->params); i++)
        assert_int_equal(param_parse(&row->params[i], row->params[i].def, &value[i], e), 0);
    for (; *set; set++) {
        char key[64];
        const char *equals = strchr(*set, '=');
        snprintf(key, sizeof key, "%.*s", (int)(equals - *set), *set);
        int i = param_find(row->params, key);
        assert_true(i >= 0);
        if (param_parse(&row->params[i], equals + 1, &value[i], e))
            return -1;
    }
    return task_open(t, row, value, e);
}

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})
#define DEFAULTS ((const char *const[]){NULL})

static void open_task(struct task *t, const char *name, const char *const *set)
{
    struct error e = {""};
    if (try_open(t, name, set, &e))
        fail_msg("%s", e.text);
}

static void expect_refused(const char *name, const char *const *set, const char *message)
{
    struct task t;
    struct error e = {""};
    if (try_open(&t, name, set, &e) != -1)
        fail_msg("%s is not refused", set[0] ? set[0] : name);
    if (!strstr(e.text, message))
        fail_msg("'%s' does not say '%s'", e.text, message);
}

static inline int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

#endif
