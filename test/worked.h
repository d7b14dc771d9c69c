/* The worked example that all descriptions of methods share (two groups, seven samples, ../shared/methods) and the
 * check of what they publish about it to eight digits. The file that includes it has a table of rows for check_worked.
 */
#ifndef WORKED_H
#define WORKED_H
#include <jansson.h>
#include <math.h>
#include "answers.h"

static const double digits = 6e-8; /* the published numbers have eight digits */

/* With what single sections add: `flawed` (FAPO), logp_rollout = logp_old + 0, .4, -.8, .1 (TIS), the log-probabilities
 * without the question (SAR), targets (L1), records (HAPO). */
static const char groups[] =
    "[{\"history\":3,\"history_count\":1,\"samples\":["
    "{\"logp\":[-0.5,-0.2],\"logp_old\":[-0.6,-0.2],\"logp_rollout\":[-0.6,0.2],\"logp_ref\":[-0.7,-0.3]"
    ",\"logp_noprompt\":[-1.5,-1.1],\"correct\":true,\"flawed\":false,\"target\":2},"
    "{\"logp\":[-0.3,-0.4,-0.1],\"logp_old\":[-0.3,-0.5,-0.1],\"logp_rollout\":[-0.3,-0.1,-0.9],\"logp_ref\":[-0.4,-0."
    "45,-0.2]"
    ",\"logp_noprompt\":[-0.7,-0.9,-0.5],\"correct\":true,\"flawed\":true,\"target\":2},"
    "{\"logp\":[-1.2,-0.9],\"logp_old\":[-0.9,-0.9],\"logp_rollout\":[-0.9,-0.5],\"logp_ref\":[-1.0,-0.8]"
    ",\"logp_noprompt\":[-0.7,-0.7],\"correct\":false,\"flawed\":false,\"target\":2},"
    "{\"logp\":[-0.7],\"logp_old\":[-1.0],\"logp_rollout\":[-1.0],\"logp_ref\":[-0.8]"
    ",\"logp_noprompt\":[-1.6],\"correct\":false,\"flawed\":false,\"target\":2}]},{\"history\":null,\"history_count\":"
    "0,\"samples\":["
    "{\"logp\":[-0.1,-0.25],\"logp_old\":[-0.1,-0.15],\"logp_rollout\":[-0.1,0.25],\"logp_ref\":[-0.2,-0.3]"
    ",\"logp_noprompt\":[-1.3,-1.35],\"correct\":true,\"flawed\":true,\"target\":-3},"
    "{\"logp\":[-0.4,-0.6,-0.2,-0.3],\"logp_old\":[-0.63,-0.6,-0.25,-0.3],\"logp_rollout\":[-0.63,-0.2,-1.05,-0.2],"
    "\"logp_ref\":[-0.5,-0.5,-0.3,-0.2]"
    ",\"logp_noprompt\":[-1.13,-1.1,-0.75,-0.8],\"correct\":true,\"flawed\":false,\"target\":-3},"
    "{\"logp\":[-0.8,-0.5,-0.4],\"logp_old\":[-0.8,-0.45,-0.6],\"logp_rollout\":[-0.8,-0.05,-1.4],\"logp_ref\":[-0.9,-"
    "0.6,-0.5]"
    ",\"logp_noprompt\":[-0.9,-0.55,-0.7],\"correct\":false,\"flawed\":false,\"target\":-3}]}]";

/* want: the fields of the answer, null where nothing is published. more: what the method reads beyond those groups, as
 * groups of the same shape whose members are added; line: members of the line itself, an object; either may be NULL. */
struct worked {
    const char *recipe, *params, *want, *more, *line;
};

static inline json_t *read_json(const char *text)
{
    json_error_t why;
    json_t *x = json_loads(text, 0, &why);
    if (!x)
        fail_msg("%s: %s", text, why.text);
    return x;
}

/* Lists entry by entry, objects member by member. */
static inline void add_members(json_t *to, json_t *from)
{
    const char *key;
    json_t *value;
    for (size_t i = 0; i < json_array_size(from); i++)
        add_members(json_array_get(to, i), json_array_get(from, i));
    json_object_foreach(from, key, value)
    {
        json_t *old = json_object_get(to, key);
        if (old)
            add_members(old, value);
        else
            json_object_set(to, key, value);
    }
}

static inline json_t *worked_line(const struct worked *w)
{
    json_t *all = read_json(groups), *line = w->line ? read_json(w->line) : json_object();
    if (w->more) {
        json_t *more = read_json(w->more);
        add_members(all, more);
        json_decref(more);
    }
    json_object_set_new(line, "recipe", json_string(w->recipe));
    json_object_set_new(line, "params", read_json(w->params));
    json_object_set_new(line, "groups", all);
    return line;
}

static inline void check_worked(const struct worked *w, int n)
{
    json_t **line = mem_alloc((size_t)n, sizeof *line), **out = mem_alloc((size_t)n, sizeof *out);
    for (int i = 0; i < n; i++)
        line[i] = worked_line(&w[i]);
    assert_int_equal(answers(line, n, out), n);
    for (int i = 0; i < n; i++) {
        char text[300];
        json_t *want = read_json(w[i].want);
        const char *error = json_string_value(json_object_get(out[i], "error"));
        difference(out[i], want, "answer", digits, 1, text);
        if (error || text[0])
            fail_msg("%s %s: %s", w[i].recipe, w[i].params, error ? error : text);
        json_decref(want);
        json_decref(out[i]);
        json_decref(line[i]);
    }
    mem_free(line);
    mem_free(out);
}

#endif
