/* Reading run directories, and no more of them than is there. */
#include "runread.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../model/base/file.h"
#include "../../model/base/mem.h"

enum { MAX_LOG = 1 << 30, MAX_RECIPE = 1 << 20, LONGEST_DIR = 580 };

static int read_lines(json_t **out, const char *dir, const char *file, int required, struct error *e)
{
    char path[700];
    size_t len;
    *out = json_array();
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (!required && file_size(path) < 0)
        return 0;
    char *text = file_read(path, MAX_LOG, &len, e);
    if (!text)
        return -1;
    int status = 0, number = 1;
    for (char *p = text, *end; !status && (end = memchr(p, '\n', len - (size_t)(p - text))) != NULL;
         p = end + 1, number++) {
        json_t *v = json_parse(p, (size_t)(end - p), e);
        if (!json_is_object(v))
            status = v ? fail(e, "%s:%d: not an object", path, number) : fail_in(e, "%s:%d", path, number);
        if (v)
            json_array_append_new(*out, v);
    }
    mem_free(text);
    return status;
}

static int read_settings(struct run_files *r, struct error *e)
{
    char path[700];
    size_t len;
    snprintf(path, sizeof path, "%s/recipe.ini", r->dir);
    if (file_size(path) < 0)
        return 0;
    char *text = file_read(path, MAX_RECIPE, &len, e);
    if (!text)
        return -1;
    settings_read(&r->settings, text);
    mem_free(text);
    return 0;
}

double run_number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

int run_phase_of(const struct run_files *r, const json_t *line)
{
    const char *name = json_get_string(line, "phase", "");
    for (int i = 0; i < r->phases; i++)
        if (!strcmp(r->phase[i].name, name))
            return i;
    return -1;
}

static int is_step(double x)
{
    return x >= 0 && x < 0x1p53;
}

/* Phases in the order in which they ran. */
static void find_phases(struct run_files *r, const json_t *lines, int is_log)
{
    size_t i;
    json_t *o;
    json_array_foreach((json_t *)lines, i, o)
    {
        int p = run_phase_of(r, o);
        double step = run_number(o, "step");
        if (!is_step(step))
            continue;
        if (p < 0 && r->phases < MAX_PHASES) {
            p = r->phases++;
            struct run_phase *s = &r->phase[p];
            *s = (struct run_phase){.gold = is_log, .parent = -1, .first = (long)step};
            snprintf(s->name, sizeof s->name, "%s", json_get_string(o, "phase", ""));
        }
        if (p >= 0 && is_log) {
            r->phase[p].count = (long)step - r->phase[p].first + 1;
            r->phase[p].gold = r->phase[p].gold && !isfinite(run_number(o, "reward"));
        }
    }
}

/* Which phases are branches is written in the recipe alone. A parent comes before its branches. */
static void find_branches(struct run_files *r)
{
    for (int i = 0; i < r->phases; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.branch", r->phase[i].name);
        const char *parent = settings_get(&r->settings, name);
        for (int p = 0; parent && p < i; p++)
            if (!strcmp(r->phase[p].name, parent))
                r->phase[i].parent = p;
    }
}

int run_read(struct run_files *r, const char *dir, struct error *e)
{
    memset(r, 0, sizeof *r);
    size_t len = strlen(dir);
    if (len > LONGEST_DIR)
        return fail(e, "%.200s...: the path is too long", dir);
    snprintf(r->dir, sizeof r->dir, "%s", dir);
    while (len > 1 && r->dir[len - 1] == '/')
        r->dir[--len] = 0;
    if (!file_is_directory(r->dir))
        return fail(e, "%s: there is no such directory; a run leaves one, by default out/RECIPE-SEED", r->dir);
    const char *base = strrchr(r->dir, '/');
    snprintf(r->label, sizeof r->label, "%.199s", base && base[1] ? base + 1 : r->dir);
    if (read_lines(&r->log, r->dir, "log.jsonl", 1, e) || read_lines(&r->eval, r->dir, "eval.jsonl", 0, e) ||
        read_settings(r, e)) {
        run_close(r);
        return -1;
    }
    find_phases(r, r->log, 1);
    find_phases(r, r->eval, 0);
    find_branches(r);
    return 0;
}

void run_close(struct run_files *r)
{
    json_decref(r->log);
    json_decref(r->eval);
    settings_free(&r->settings);
    memset(r, 0, sizeof *r);
}

static int holds_log(const char *dir)
{
    char path[1100];
    snprintf(path, sizeof path, "%.1000s/log.jsonl", dir);
    return file_size(path) >= 0;
}

/* Where there are several, run-2 comes before run-10. */
static int by_number(const struct dirent **a, const struct dirent **b)
{
    return strverscmp((*a)->d_name, (*b)->d_name);
}

/* Runs of a directory; 0: it holds none. */
static int read_inside(struct run_files *run, int n, const char *dir, struct error *e)
{
    struct dirent **entry;
    int found = 0, entries = scandir(dir, &entry, NULL, by_number), bad = 0;
    for (int i = 0; i < entries; i++) {
        char path[LONGEST_DIR + 300];
        snprintf(path, sizeof path, "%.580s/%s", dir, entry[i]->d_name);
        if (!bad && entry[i]->d_name[0] != '.' && holds_log(path)) {
            bad = n + found == MAX_RUNS ? fail(e, "%s: more than %d runs; name some of them", dir, MAX_RUNS)
                                        : run_read(&run[n + found], path, e);
            found += !bad;
        }
        free(entry[i]);
    }
    if (entries >= 0)
        free(entry);
    for (int i = 0; bad && i < found; i++)
        run_close(&run[n + i]);
    return bad ? -1 : found;
}

static int same_place(const char *a, const char *b)
{
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    int same = x && y && !strcmp(x, y);
    free(x);
    free(y);
    return same;
}

/* Of the runs behind the first n, those that are there already are closed; returns how many stay. */
static int drop_repeated(struct run_files *run, int n, int more)
{
    int kept = n;
    for (int i = n; i < n + more; i++) {
        int k = 0;
        while (k < kept && !same_place(run[k].dir, run[i].dir))
            k++;
        if (k < kept)
            run_close(&run[i]);
        else
            run[kept++] = run[i];
    }
    return kept - n;
}

int run_read_all(struct run_files *run, int words, const char *const *word, struct error *e)
{
    int n = 0;
    for (int i = 0; i < words; i++) {
        int more;
        if (holds_log(word[i]) || !file_is_directory(word[i]))
            more = n == MAX_RUNS ? fail(e, "more than %d runs", MAX_RUNS) : run_read(&run[n], word[i], e) ? -1 : 1;
        else if ((more = read_inside(run, n, word[i], e)) == 0)
            more = fail(e, "%.200s: no run is in this directory (a run has a log.jsonl)", word[i]);
        if (more < 0) {
            while (n > 0)
                run_close(&run[--n]);
            return -1;
        }
        n += drop_repeated(run, n, more);
    }
    return n;
}

/* Steps that the log has of a phase. */
static long steps_made(const struct run_files *r, const char *phase)
{
    for (int i = 0; i < r->phases; i++)
        if (!strcmp(r->phase[i].name, phase))
            return r->phase[i].count;
    return 0;
}

int run_is_finished(const struct run_files *r, struct error *e)
{
    int phases = 0;
    for (int i = 0; i < r->settings.n; i++) {
        char name[64], phase[64];
        const char *full = r->settings.row[i].name, *dot = strchr(full, '.');
        if (!dot || strcmp(dot, ".source"))
            continue;
        snprintf(phase, sizeof phase, "%.*s", (int)(dot - full), full);
        snprintf(name, sizeof name, "%.40s.steps", phase);
        const char *text = settings_get(&r->settings, name);
        snprintf(name, sizeof name, "%.40s.seconds", phase);
        const char *limit = settings_get(&r->settings, name);
        long wanted = text ? strtol(text, NULL, 10) : 0, made = steps_made(r, phase);
        phases++;
        if (made < wanted && !(limit && strtod(limit, NULL) > 0))
            return fail(e, "%s is not finished: phase %s has %ld of %ld steps; go on with: train_rl rl run.resume=%s",
                        r->dir, phase, made, wanted, r->dir);
    }
    return phases ? 0 : fail(e, "%s: its recipe.ini is missing or has no phases", r->dir);
}

/* Is the evaluation there that the last phase ends with? */
static int is_measured(const struct run_files *r, const struct recipe *wanted)
{
    const char *last = wanted->phase[wanted->phases - 1].name;
    size_t i;
    json_t *o;
    json_array_foreach(r->eval, i, o) if (!strcmp(json_get_string(o, "milestone", ""), last)) return 1;
    return 0;
}

/* settings_compare, and where that finds nothing every text that is not the same. */
static int differ(const struct settings *a, const struct settings *b, int exactly, struct difference *d)
{
    if (settings_compare(a, b, d, 1))
        return 1;
    for (int i = 0; exactly && i < a->n; i++) {
        const char *name = a->row[i].name, *other = settings_get(b, name);
        *d = (struct difference){name, a->row[i].value, other};
        if (!other || strcmp(other, a->row[i].value))
            return 1;
    }
    return 0;
}

int run_state(const char *dir, const struct recipe *wanted, int exactly, struct error *e)
{
    char path[700];
    struct run_files r = {0};
    struct settings s;
    struct difference d;
    snprintf(path, sizeof path, "%.600s/log.jsonl", dir);
    int begun = file_size(path) >= 0, state = RUN_CUT_OFF;
    snprintf(r.dir, sizeof r.dir, "%.580s", dir);
    if (begun ? run_read(&r, dir, e) : read_settings(&r, e))
        return -1;
    settings_read(&s, wanted->text);
    if (!begun && r.settings.n == 0)
        state = RUN_NONE;
    else if (differ(&r.settings, &s, exactly, &d))
        state = fail(e, "%s holds a run with %s = %s, not %s; remove it, or name another directory", dir, d.name,
                     d.a ? d.a : "nothing", d.b ? d.b : "nothing");
    else if (begun && !run_is_finished(&r, NULL) && is_measured(&r, wanted))
        state = RUN_WHOLE;
    settings_free(&s);
    run_close(&r);
    return state;
}

const char *run_recipe(const struct run_files *r)
{
    const char *name = recipe_titled(r->settings.title);
    return name ? name : r->label;
}

int run_name(const struct run_files *r)
{
    const char *comma = strrchr(r->label, ',');
    size_t len = comma ? (size_t)(comma - r->label) : strlen(r->label);
    return (int)(len > 0 && r->label[len - 1] == ',' ? len - 1 : len);
}
