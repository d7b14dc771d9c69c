/* Expectations: measured from runs, written, read back, and applied. The rule and its reasons stand in expect.h.
 */
#include "expect.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include "spread.h"

static const double joint_level = 0.99, least_of_length = 0.01;

/* ---- one run ---- */

static int is_pass(const char *key)
{
    size_t n = strlen(key);
    return !strncmp(key, "pass@", 5) && !(n > 3 && !strcmp(key + n - 3, "_se"));
}

static int is_share(const char *key)
{
    return !strcmp(key, "accuracy") || !strcmp(key, "sampled") || !strcmp(key, "partial") ||
           !strcmp(key, "sampled_partial") || is_pass(key);
}

/* The numbers of one evaluation, under its name. */
static int measure_evaluation(const json_t *o, const char *when, struct measured *m, int n)
{
    const char *key;
    json_t *v;
    double samples = run_number(o, "samples");
    json_object_foreach((json_t *)o, key, v)
    {
        char se[60];
        if (n == MAX_EXPECTED || !json_is_number(v) || strlen(key) > 15 || !(is_share(key) || !strcmp(key, "length")))
            continue;
        snprintf(se, sizeof se, "%s_se", key);
        m[n] = (struct measured){.value = json_number_value(v), .se = run_number(o, se)};
        snprintf(m[n].name, sizeof m[n].name, "%.31s.%s", when, key);
        if (is_share(key))
            m[n].answers = run_number(o, "prompts") * (!strncmp(key, "sampled", 7) ? fmax(samples, 1) : 1);
        if (isnan(m[n].answers))
            m[n].answers = 0;
        n++;
    }
    return n;
}

/* The last evaluation of a phase after its first step, or the first evaluation of all before any. */
static const json_t *evaluation_of(const struct run_files *r, int phase)
{
    const json_t *found = NULL;
    size_t i;
    json_t *o;
    json_array_foreach(r->eval, i, o)
    {
        int p = run_phase_of(r, o);
        int at_start = p >= 0 && run_number(o, "step") == (double)r->phase[p].first;
        if (phase < 0 && at_start)
            return o;
        if (phase >= 0 && p == phase && !at_start)
            found = o;
    }
    return found;
}

int expect_measure(const struct run_files *r, struct measured m[MAX_EXPECTED], struct error *e)
{
    int n = 0;
    double mismatch = 0;
    size_t i;
    json_t *o;
    if (run_is_finished(r, e))
        return -1;
    for (int p = -1; p < r->phases; p++) {
        const json_t *v = evaluation_of(r, p);
        if (v)
            n = measure_evaluation(v, p < 0 ? "before" : r->phase[p].name, m, n);
    }
    if (n == 0)
        return fail(e, "%s: eval.jsonl has no evaluations", r->dir);
    json_array_foreach(r->log, i, o) mismatch = fmax(mismatch, run_number(o, "logp_mismatch_max"));
    if (n < MAX_EXPECTED) {
        m[n] = (struct measured){.value = mismatch, .se = NAN, .exact = 1};
        snprintf(m[n++].name, sizeof m->name, "logp_mismatch_max");
    }
    return n;
}

const struct measured *measured_find(const struct measured *m, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(m[i].name, name))
            return &m[i];
    return NULL;
}

double expect_minutes(const struct run_files *r)
{
    double seconds = 0;
    size_t i;
    json_t *o;
    json_array_foreach(r->log, i, o) seconds = fmax(seconds, run_number(o, "t_seconds"));
    return seconds / 60;
}

long expect_seed(const struct run_files *r)
{
    const char *seed = settings_get(&r->settings, "run.seed");
    return seed ? strtol(seed, NULL, 10) : -1;
}

/* ---- the rule ---- */

static int intervals(const struct expectation *x)
{
    int n = 0;
    for (int i = 0; i < x->metrics; i++)
        n += !x->metric[i].exact;
    return n;
}

/* Mean, deviation and interval of every number from its values. */
static void apply_rule(struct expectation *x)
{
    int n = x->seeds, m = intervals(x);
    double t = m ? student_two_sided(1 - (1 - x->level) / m, n - 1) : 0;
    for (int i = 0; i < x->metrics; i++) {
        struct expected *y = &x->metric[i];
        const char *key = strrchr(y->name, '.');
        y->mean = spread_mean(y->value, n);
        y->sd = spread_sd(y->value, n);
        double half = y->exact ? 0 : t * fmax(y->sd, y->least_sd) * sqrt(1 + 1.0 / n);
        y->low = y->mean - half;
        y->high = y->mean + half;
        if (!y->exact)
            y->low = fmax(y->low, 0); /* shares and lengths */
        if (key && is_share(key + 1))
            y->high = fmin(y->high, 1);
    }
}

static double least_sd(const struct measured *const *run, int runs, int at)
{
    double squares = 0, sum = 0, answers = 0;
    for (int i = 0; i < runs; i++) {
        const struct measured *m = &run[i][at];
        squares += isfinite(m->se) ? m->se * m->se / runs : 0;
        sum += m->answers ? m->value * m->answers : m->value;
        answers += m->answers;
    }
    if (answers == 0)
        return run[0][at].exact ? 0 : least_of_length * fabs(sum / runs);
    double p = (sum + 1) / (answers + 2);
    return fmax(sqrt(squares), sqrt(p * (1 - p) / (answers / runs)));
}

int expect_inside(const struct expected *m, double value)
{
    return value >= m->low && value <= m->high;
}

/* ---- from runs ---- */

static int check_same(const struct run_files *run, int runs, struct error *e)
{
    for (int i = 0; i < runs; i++) {
        struct difference d;
        if (settings_compare(&run[0].settings, &run[i].settings, &d, 1))
            return fail(e, "%s and %s differ in %s (%s, %s); an expectation is of one recipe with several seeds",
                        run[0].dir, run[i].dir, d.name, d.a ? d.a : "none", d.b ? d.b : "none");
        if (expect_seed(&run[i]) < 0)
            return fail(e, "%s: its recipe.ini has no seed", run[i].dir);
        for (int k = 0; k < i; k++)
            if (expect_seed(&run[i]) == expect_seed(&run[k]))
                return fail(e, "%s and %s have the same seed %ld", run[k].dir, run[i].dir, expect_seed(&run[i]));
    }
    return 0;
}

/* Paths of models and files are of one machine: their last piece is kept. */
static void copy_settings(struct settings *to, const struct settings *from)
{
    struct error e;
    json_t *o = settings_json(from), *v;
    const char *name;
    json_object_foreach(o, name, v)
    {
        const char *slash = strrchr(json_string_value(v), '/');
        if (!slash || (strcmp(name, "model.path") && !settings_is_file(name)))
            continue;
        char *last = mem_strdup(slash + 1);
        last[strcspn(last, "\"")] = 0;
        json_object_set_new(o, name, json_string(last[0] ? last : "DIR")); /* of a key that is there */
        mem_free(last);
    }
    json_object_del(o, "run.seed");
    if (settings_from_json(to, o, &e))
        die("%s", e.text);
    json_decref(o);
}

static int collect(struct expectation *x, const struct run_files *run, int runs, struct measured **m, struct error *e)
{
    int n = 0;
    for (int i = 0; i < runs; i++) {
        m[i] = mem_alloc(MAX_EXPECTED, sizeof *m[i]);
        int found = expect_measure(&run[i], m[i], e);
        if (found < 0)
            return -1;
        n = i ? n : found;
        for (int k = 0; k < n; k++)
            if (found != n || strcmp(m[i][k].name, m[0][k].name))
                return fail(e, "%s and %s have not evaluated the same", run[0].dir, run[i].dir);
        x->seed[x->seeds++] = expect_seed(&run[i]);
        double minutes = expect_minutes(&run[i]);
        x->minutes[0] = i ? fmin(x->minutes[0], minutes) : minutes;
        x->minutes[1] = i ? fmax(x->minutes[1], minutes) : minutes;
    }
    for (int k = 0; k < n; k++) {
        struct expected *y = &x->metric[x->metrics++];
        memcpy(y->name, m[0][k].name, sizeof y->name);
        y->exact = m[0][k].exact;
        y->least_sd = least_sd((const struct measured *const *)m, runs, k);
        for (int i = 0; i < runs; i++) {
            y->value[i] = m[i][k].value;
            if (y->exact && y->value[i] != y->value[0])
                return fail(e, "%s: %s is %g, in %s it is %g; it must not vary", run[i].dir, y->name, y->value[i],
                            run[0].dir, y->value[0]);
        }
    }
    return 0;
}

int expect_make(struct expectation *x, const struct run_files *run, int runs, const char *machine, struct error *e)
{
    struct measured *m[MAX_SEEDS] = {0};
    memset(x, 0, sizeof *x);
    if (runs < LEAST_SEEDS || runs > MAX_SEEDS)
        return fail(e, "%d run%s; an expectation takes %d to %d finished runs with different seeds", runs,
                    runs == 1 ? "" : "s", LEAST_SEEDS, MAX_SEEDS);
    int status = check_same(run, runs, e) || collect(x, run, runs, m, e) ? -1 : 0;
    for (int i = 0; i < runs; i++)
        mem_free(m[i]);
    if (status)
        return -1;
    snprintf(x->recipe, sizeof x->recipe, "%.63s", run_recipe(&run[0]));
    snprintf(x->machine, sizeof x->machine, "%s", machine);
    x->level = joint_level;
    copy_settings(&x->settings, &run[0].settings);
    apply_rule(x);
    return 0;
}

void expect_free(struct expectation *x)
{
    settings_free(&x->settings);
    memset(x, 0, sizeof *x);
}

/* ---- as text ---- */

static void add_string(struct text *t, const char *s)
{
    json_t *v = json_string(s);
    char *text = json_dumps(v, JSON_ENCODE_ANY);
    text_add(t, text ? text : "\"\"", -1);
    free(text);
    json_decref(v);
}

static void add_number(struct text *t, double x)
{
    static const struct param plain = {.type = PARAM_NUMBER};
    const struct value v = {.num = x};
    char buf[64];
    text_add(t, param_text(&plain, &v, buf), -1);
}

static void add_metric(struct text *t, const struct expected *m, int seeds)
{
    static const char *const keys[] = {"mean", "sd", "least_sd", "low", "high"};
    const double number[] = {m->mean, m->sd, m->least_sd, m->low, m->high};
    text_add(t, "    ", -1);
    add_string(t, m->name);
    text_addf(t, ": {\"rule\": \"%s\", \"values\": [", m->exact ? "exact" : "interval");
    for (int i = 0; i < seeds; i++) {
        text_add(t, i ? ", " : "", -1);
        add_number(t, m->value[i]);
    }
    text_add(t, "]", 1);
    for (int i = 0; i < 5 && !m->exact; i++) {
        text_addf(t, ", \"%s\": ", keys[i]);
        add_number(t, number[i]);
    }
    text_add(t, "}", 1);
}

/* One line a number and one a setting, so that a person can read it and see changes. */
int expect_write(const struct expectation *x, const char *path, struct error *e)
{
    struct text t = {0};
    text_add(&t, "{\n  \"recipe\": ", -1);
    add_string(&t, x->recipe);
    text_add(&t, ",\n  \"seeds\": [", -1);
    for (int i = 0; i < x->seeds; i++)
        text_addf(&t, "%s%ld", i ? ", " : "", x->seed[i]);
    text_add(&t, "],\n  \"level\": ", -1);
    add_number(&t, x->level);
    text_addf(&t, ",\n  \"minutes\": [%.2f, %.2f],\n  \"machine\": ", x->minutes[0], x->minutes[1]);
    add_string(&t, x->machine);
    text_add(&t, ",\n  \"metrics\": {\n", -1);
    for (int i = 0; i < x->metrics; i++) {
        add_metric(&t, &x->metric[i], x->seeds);
        text_add(&t, i + 1 < x->metrics ? ",\n" : "\n", -1);
    }
    text_add(&t, "  },\n  \"settings\": {\n", -1);
    for (int i = 0; i < x->settings.n; i++) {
        text_add(&t, "    ", -1);
        add_string(&t, x->settings.row[i].name);
        text_add(&t, ": ", -1);
        add_string(&t, x->settings.row[i].value);
        text_add(&t, i + 1 < x->settings.n ? ",\n" : "\n", -1);
    }
    text_add(&t, "  }\n}\n", -1);
    int status = file_write(path, t.s, (size_t)t.len, e);
    text_free(&t);
    return status;
}

/* ---- reading ---- */

static int read_seeds(struct expectation *x, const json_t *o, struct error *e)
{
    const json_t *seeds = json_object_get(o, "seeds"), *minutes = json_object_get(o, "minutes");
    size_t n = json_array_size(seeds);
    if (n < LEAST_SEEDS || n > MAX_SEEDS)
        return fail(e, "seeds: not an array of %d to %d", LEAST_SEEDS, MAX_SEEDS);
    for (size_t i = 0; i < n; i++) {
        if (!json_is_integer(json_array_get(seeds, i)))
            return fail(e, "seeds: not whole numbers");
        x->seed[x->seeds++] = (long)json_integer_value(json_array_get(seeds, i));
    }
    for (size_t i = 0; i < 2; i++)
        x->minutes[i] = json_number_value(json_array_get(minutes, i));
    if (json_get_number(o, "level", 0, &x->level, e))
        return -1;
    return x->level > 0 && x->level < 1 ? 0 : fail(e, "level: not between 0 and 1");
}

static int read_metric(struct expected *m, const char *name, const json_t *o, int seeds, struct error *e)
{
    const json_t *values = json_object_get(o, "values");
    const char *rule = json_get_string(o, "rule", "");
    m->exact = !strcmp(rule, "exact");
    if (strlen(name) >= sizeof m->name)
        return fail(e, "metrics: the name %.80s is too long", name);
    snprintf(m->name, sizeof m->name, "%s", name);
    if (!m->exact && strcmp(rule, "interval"))
        return fail(e, "%s: rule is neither exact nor interval", name);
    if (json_array_size(values) != (size_t)seeds)
        return fail(e, "%s: values are not one for each of %d seeds", name, seeds);
    for (int i = 0; i < seeds; i++) {
        const json_t *v = json_array_get(values, (size_t)i);
        m->value[i] = json_number_value(v);
        if (!json_is_number(v))
            return fail(e, "%s: a value is no number", name);
        if (m->exact && m->value[i] != m->value[0])
            return fail(e, "%s: exact, but the values differ", name);
    }
    m->least_sd = run_number(o, "least_sd");
    if (!m->exact && !(m->least_sd >= 0))
        return fail(e, "%s: least_sd is missing or negative", name);
    return 0;
}

/* What the text says follows from its values. */
static int check_stated(const struct expected *m, const json_t *o, struct error *e)
{
    static const char *const keys[] = {"mean", "sd", "low", "high"};
    const double number[] = {m->mean, m->sd, m->low, m->high};
    for (int i = 0; i < 4 && !m->exact; i++)
        if (!(fabs(run_number(o, keys[i]) - number[i]) <= 1e-9 * fmax(1, fabs(number[i]))))
            return fail(e, "%s: %s does not follow from the values (%.10g); write the file anew with check write=FILE",
                        m->name, keys[i], number[i]);
    return 0;
}

static int read_metrics(struct expectation *x, const json_t *o, struct error *e)
{
    const json_t *metrics = json_object_get(o, "metrics");
    const char *name;
    json_t *v;
    if (json_object_size(metrics) == 0 || json_object_size(metrics) > MAX_EXPECTED)
        return fail(e, "metrics: not an object of 1 to %d", MAX_EXPECTED);
    json_object_foreach((json_t *)metrics, name,
                        v) if (read_metric(&x->metric[x->metrics++], name, v, x->seeds, e)) return -1;
    apply_rule(x);
    for (int i = 0; i < x->metrics; i++)
        if (check_stated(&x->metric[i], json_object_get(metrics, x->metric[i].name), e))
            return -1;
    return 0;
}

int expect_parse(struct expectation *x, const char *text, size_t len, struct error *e)
{
    memset(x, 0, sizeof *x);
    json_t *o = json_parse(text, len, e);
    if (!o)
        return -1;
    snprintf(x->recipe, sizeof x->recipe, "%.63s", json_get_string(o, "recipe", ""));
    snprintf(x->machine, sizeof x->machine, "%.159s", json_get_string(o, "machine", ""));
    int status = read_seeds(x, o, e) || read_metrics(x, o, e) ||
                         settings_from_json(&x->settings, json_object_get(o, "settings"), e)
                     ? -1
                     : 0;
    json_decref(o);
    return status;
}

void expect_print(FILE *f, const struct expectation *x)
{
    fprintf(f, "%d runs (seeds", x->seeds);
    for (int i = 0; i < x->seeds; i++)
        fprintf(f, "%s %ld", i ? "," : "", x->seed[i]);
    fprintf(f, "), %.1f to %.1f minutes each on %s\n\n  %-20s %10s %10s   %s\n", x->minutes[0], x->minutes[1],
            x->machine[0] ? x->machine : "an unknown machine", "", "mean", "s.d.", "one more run lies in");
    for (int i = 0; i < x->metrics; i++) {
        const struct expected *m = &x->metric[i];
        fprintf(f, "  %-20s %10.4g ", m->name, m->mean);
        if (m->exact)
            fprintf(f, "%10s   always %g\n", "", m->mean);
        else
            fprintf(f, "%10.3g   %.4g to %.4g\n", m->sd, m->low, m->high);
    }
}
