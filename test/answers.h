/* Lines of JSON through the verb `objective`, and how an answer compares with what it has to hold. Includes runs.h: the
 * file that includes this defines FOLDER, and includes jansson.h and math.h before.
 */
#ifndef ANSWERS_H
#define ANSWERS_H
#include "runs.h"

/* Where and how `got` lacks something of `want`; "" when it holds all of it. Numbers agree within `bound`, relative
 * above 1. nothing: a null in `want` asks for nothing. */
static inline void difference(const json_t *got, const json_t *want, const char *at, double bound, int nothing,
                              char out[300])
{
    out[0] = 0;
    if (nothing && json_is_null(want))
        return;
    if (json_is_object(want)) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)want, key, value)
        {
            char inner[200];
            snprintf(inner, sizeof inner, "%.120s.%.60s", at, key);
            difference(json_object_get(got, key), value, inner, bound, nothing, out);
            if (out[0])
                return;
        }
    } else if (json_is_array(want)) {
        if (json_array_size(got) != json_array_size(want))
            snprintf(out, 300, "%s has %zu elements, not %zu", at, json_array_size(got), json_array_size(want));
        for (size_t i = 0; i < json_array_size(want) && !out[0]; i++) {
            char inner[200];
            snprintf(inner, sizeof inner, "%.160s[%zu]", at, i);
            difference(json_array_get(got, i), json_array_get(want, i), inner, bound, nothing, out);
        }
    } else if (json_is_number(want)) {
        double a = json_number_value(got), b = json_number_value(want);
        if (!json_is_number(got) || !(fabs(a - b) <= bound * fmax(1, fabs(b))))
            snprintf(out, 300, "%s is %.17g (a number: %d), not %.17g", at, a, json_is_number(got), b);
    } else if (!got || !json_equal(got, want))
        snprintf(out, 300, "%s is another value", at);
}

/* Lines of the file that the command wrote, as objects; returns their number. */
static inline int read_lines(const char *file, json_t **line, int max)
{
    struct bytes b = slurp("", file);
    int n = 0;
    for (char *c = b.p, *end; n < max && (end = strchr(c, '\n')); c = end + 1) {
        json_error_t why;
        line[n] = json_loadb(c, (size_t)(end - c), 0, &why);
        if (!line[n++])
            fail_msg("%s, line %d: %s", file, n, why.text);
    }
    mem_free(b.p);
    return n;
}

/* Lines through the verb `objective`; `out` gets its answers, as many as there were lines. */
static inline int answers(json_t *const *line, int n, json_t **out)
{
    char path[600], *argv[] = {"train_rl", "objective", NULL};
    FILE *f = fopen(in_folder(path, "in"), "w");
    for (int i = 0; i < n; i++) {
        json_dumpf(line[i], f, JSON_COMPACT | JSON_REAL_PRECISION(17));
        fputc('\n', f);
    }
    fclose(f);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char to[600];
        if (!freopen(path, "r", stdin) || !freopen(in_folder(to, "out"), "w", stdout))
            _exit(100);
        int status = train_rl_main(2, argv);
        fflush(NULL);
        _exit(status);
    }
    assert_int_equal(finish(pid), 0);
    return read_lines("out", out, n);
}

#endif
