/* plot: figures from run directories. Runs that differ in nothing but their seed are one line with its spread; with
 * group=KEY all runs with the same value of KEY are.
 *
 * Reading is in runread.c, points and joining in curves.c, drawing in figure.c. To name a key better in the figure, add
 * a row to `known`.
 */
#include "csv.h"
#include "curves.h"
#include "figure.h"
#include "verbs.h"
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINES = 28, MAX_KEYS = 8, MAX_DRAWN_PHASES = 4, MAX_DIFFERENCES = 400, LABELS = 2000 };
enum { Y, X, GROUP, PHASE, OUT, CSV, BAND, SMOOTH, TITLE, WIDTH, HEIGHT, OPTIONS };

static const struct param options[] = {
    {"y", PARAM_TEXT, "accuracy", 0, 0, NULL,
     "Keys to draw, a panel each, separated by commas; log.KEY or eval.KEY where both files have it.", NULL},
    {"x", PARAM_CHOICE, "step", 0, 0, "step|time", "Optimiser steps, or seconds of training without evaluations.",
     NULL},
    {"group", PARAM_TEXT, "", 0, 0, NULL,
     "A setting: runs with the same value are one line. PHASE.key, STAGE.key, SECTION.key, stages.KIND or a knob; or "
     "name: runs whose directories are called alike up to the last comma.",
     NULL},
    {"phase", PARAM_TEXT, "", 0, 0, NULL,
     "Phases to draw, a line each, separated by commas; all: the main line as one. Empty: the first with rollouts.",
     NULL},
    {"out", PARAM_TEXT, "", 0, 0, NULL, "File, .svg or .png. Empty: plot.png, or plot.svg where PNG is not built in.",
     NULL},
    {"csv", PARAM_TEXT, "", 0, 0, NULL, "Also write what was drawn as a table to this file.", NULL},
    {"band", PARAM_CHOICE, "range", 0, 0, "none|range|sd|t",
     "Around the mean of several runs: lowest to highest, one standard deviation to each side, or the mean's 95 % "
     "interval.",
     NULL},
    {"smooth", PARAM_INT, "-1", -1, 100000, NULL,
     "Average each run over so many neighbours to each side; -1: a fortieth of the points for a log, none for "
     "evaluations.",
     NULL},
    {"title", PARAM_TEXT, "", 0, 0, NULL, "Empty: the recipe's.", NULL},
    {"width", PARAM_INT, "1000", 300, 8000, NULL, "Pixels.", NULL},
    {"height", PARAM_INT, "0", 0, 8000, NULL, "Pixels; 0: as the panels need.", NULL},
    {0}};

struct group {
    int run[MAX_RUNS], runs;
    char label[160];
};
struct key {
    char name[80];
    enum curve_source from;
    char title[120];
    const char *unit;
};
struct plot {
    const struct value *option;
    struct run_files *run;
    int runs;
    struct group group[MAX_LINES];
    int groups;
    struct key key[MAX_KEYS];
    int keys;
    char phase[MAX_DRAWN_PHASES][32]; /* "": the first with rollouts, "all": the main line */
    int phases;
    struct joined joined[MAX_KEYS][MAX_LINES];
    struct figure_line line[MAX_KEYS][MAX_LINES];
    char label[MAX_KEYS][MAX_LINES][260];
    struct figure_panel panel[MAX_KEYS];
};

/* ---- words of the command line that are lists ---- */

static int split(const char *text, char *to, size_t size, int max, const char *what, struct error *e)
{
    int n = 0;
    for (const char *p = text; *p || n == 0; p += *p == ',') {
        size_t len = strcspn(p, ",");
        if (n == max)
            return fail(e, "%s=%.100s: more than %d", what, text, max);
        if (len >= size)
            return fail(e, "%s=%.100s: a name of %zu characters", what, text, len);
        snprintf(to + (size_t)n++ * size, size, "%.*s", (int)len, p);
        p += len;
        if (!*p)
            break;
    }
    return n;
}

/* ---- which keys, and from where ---- */

static const struct {
    const char *name, *log, *eval, *unit; /* titles; NULL: not in that file under this meaning */
} known[] = {
    {"accuracy", "Accuracy of the rollouts", "Accuracy on unseen prompts (greedy)", "share right"},
    {"reward", "Reward of the rollouts", NULL, "mean reward"},
    {"length", "Length of the responses", "Length on unseen prompts (greedy)", "tokens"},
    {"sampled", NULL, "Accuracy of samples on unseen prompts", "share right"},
    {"lenient", NULL, "Accuracy on unseen prompts (greedy, any form)", "share right"},
    {"partial", NULL, "Partial reward on unseen prompts (greedy)", "mean of the task's partial reward"},
    {"loss", "Loss", NULL, "loss"},
    {"kl", "KL divergence from the reference", NULL, "nats per token"},
    {"entropy", "Entropy of the policy", NULL, "nats per token"},
    {"grad_norm", "Size of the gradient before clipping", NULL, "2-norm"},
    {"zero_variance", "Groups whose rewards are all equal", NULL, "share"},
    {"clip_share", "Tokens whose ratio was clipped", NULL, "share"},
    {"truncated", "Responses cut off at max_new", "Responses cut off, unseen prompts", "share"},
    {"unparsed", "Responses without an answer", "No answer, unseen prompts", "share"},
    {"lr", "Learning rate", NULL, "rate"},
    {"t_tokens_per_second", "Speed", NULL, "tokens/s"},
};

static int has_key(const struct run_files *r, const char *key, enum curve_source from)
{
    size_t i;
    json_t *o;
    json_array_foreach(from == FROM_LOG ? r->log : r->eval, i, o) if (isfinite(run_number(o, key))) return 1;
    return 0;
}

static int any_has(const struct plot *p, const char *key, enum curve_source from)
{
    for (int i = 0; i < p->runs; i++)
        if (has_key(&p->run[i], key, from))
            return 1;
    return 0;
}

/* Names with numbers in the last line of both files; for suggestions. */
static int key_names(const struct run_files *r, const char **name, int max)
{
    int n = 0;
    const json_t *file[] = {r->eval, r->log};
    for (int f = 0; f < 2; f++) {
        size_t lines = json_array_size(file[f]);
        const char *key;
        json_t *v;
        if (lines)
            json_object_foreach(json_array_get(file[f], lines - 1), key, v) if (json_is_number(v) && n < max)
            {
                int seen = 0;
                while (seen < n && strcmp(name[seen], key))
                    seen++;
                name[seen] = key;
                n += seen == n;
            }
    }
    return n;
}

static int unknown_key(const struct plot *p, const char *key, struct error *e)
{
    const char *name[200];
    int n = key_names(&p->run[0], name, 200);
    const char *near = nearest_name(key, name, n);
    if (near)
        return fail(e, "y=%s: no run has a number under that name; did you mean '%s'?", key, near);
    fail(e, "y=%s: no run has a number under that name; the last lines of %s have", key, p->run[0].dir);
    for (int i = 0; i < n; i++) {
        size_t len = strlen(e->text);
        snprintf(e->text + len, sizeof e->text - len, "%s %s", i ? "," : "", name[i]);
    }
    return -1;
}

static int find_key(const struct plot *p, struct key *k, struct error *e)
{
    const char *name = k->name;
    int wants_log = !strncmp(name, "log.", 4), wants_eval = !strncmp(name, "eval.", 5);
    name += wants_log ? 4 : wants_eval ? 5 : 0;
    if (!wants_log && any_has(p, name, FROM_EVAL))
        k->from = FROM_EVAL;
    else if (!wants_eval && any_has(p, name, FROM_LOG))
        k->from = FROM_LOG;
    else
        return unknown_key(p, k->name, e);
    memmove(k->name, name, strlen(name) + 1);
    snprintf(k->title, sizeof k->title, "%s%s", k->name, k->from == FROM_EVAL ? ", unseen prompts" : "");
    k->unit = strncmp(k->name, "pass@", 5) ? k->name : "share of prompts";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *title = k->from == FROM_EVAL ? known[i].eval : known[i].log;
        if (title && !strcmp(known[i].name, k->name)) {
            snprintf(k->title, sizeof k->title, "%s", title);
            k->unit = known[i].unit;
        }
    }
    return 0;
}

/* ---- which runs are one line ---- */

static int by_name(const struct plot *p)
{
    return !strcmp(p->option[GROUP].text, "name");
}

static int same_line(const struct plot *p, int a, int b)
{
    struct difference d;
    const char *key = p->option[GROUP].text;
    if (!key[0])
        return settings_compare(&p->run[a].settings, &p->run[b].settings, &d, 1) == 0;
    if (by_name(p)) {
        int n = run_name(&p->run[a]);
        return n == run_name(&p->run[b]) && !memcmp(p->run[a].label, p->run[b].label, (size_t)n);
    }
    const char *x = settings_find(&p->run[a].settings, key), *y = settings_find(&p->run[b].settings, key);
    return x && y ? !strcmp(x, y) : x == y;
}

static int find_groups(struct plot *p, struct error *e)
{
    const char *key = p->option[GROUP].text;
    int found = by_name(p);
    for (int i = 0; i < p->runs; i++) {
        int g = 0;
        while (g < p->groups && !same_line(p, p->group[g].run[0], i))
            g++;
        if (g == MAX_LINES)
            return fail(e, "more than %d different settings; name fewer runs, or join them by a setting: group=KEY",
                        MAX_LINES);
        p->groups += g == p->groups;
        p->group[g].run[p->group[g].runs++] = i;
        found = found || settings_find(&p->run[i].settings, key);
    }
    if (key[0] && !found)
        return fail(e, "group=%.100s: no run has such a setting; their recipe.ini show what there is", key);
    return 0;
}

static int is_among(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return 1;
    return 0;
}

/* The settings in which the lines differ, at most max; more: returns max + 1. */
static int differing(const struct plot *p, const char **name, int max)
{
    struct difference *d = mem_alloc(MAX_DIFFERENCES, sizeof *d);
    int n = 0;
    for (int g = 1; g < p->groups && n <= max; g++) {
        int k = settings_compare(&p->run[p->group[0].run[0]].settings, &p->run[p->group[g].run[0]].settings, d,
                                 MAX_DIFFERENCES);
        for (int i = 0; i < k && i < MAX_DIFFERENCES && n <= max; i++)
            if (!is_among(d[i].name, name, n < max ? n : max)) {
                if (n < max)
                    name[n] = d[i].name;
                n++;
            }
    }
    mem_free(d);
    return n;
}

static void add_setting(char *label, size_t size, const struct run_files *r, const char *name)
{
    size_t len = strlen(label);
    const char *value = settings_find(&r->settings, name), *shorter = strncmp(name, "params.", 7) ? name : name + 7;
    snprintf(label + len, size - len, "%s%s = %.90s", len ? ", " : "", shorter, value ? value : "default");
}

/* Have all lines built-in recipes of different names? */
static int are_recipes(const struct plot *p)
{
    for (int g = 0; g < p->groups; g++) {
        const char *name = recipe_titled(p->run[p->group[g].run[0]].settings.title);
        for (int h = 0; h < g && name; h++)
            if (!strcmp(name, run_recipe(&p->run[p->group[h].run[0]])))
                return 0;
        if (!name)
            return 0;
    }
    return 1;
}

/* What tells the lines apart: the setting that groups them, the few settings in which they differ, the recipe, or the
 * directory. */
static void name_groups(struct plot *p)
{
    enum { FEW = 3 };
    const char *name[FEW], *key = p->option[GROUP].text;
    int n = key[0] ? 0 : differing(p, name, FEW), few = n > 0 && n <= FEW, recipes = are_recipes(p);
    for (int g = 0; g < p->groups; g++) {
        struct group *at = &p->group[g];
        const struct run_files *r = &p->run[at->run[0]];
        for (int i = 0; i < n && few; i++)
            add_setting(at->label, sizeof at->label, r, name[i]);
        if (by_name(p))
            snprintf(at->label, sizeof at->label, "%.*s", run_name(r), r->label);
        else if (key[0])
            add_setting(at->label, sizeof at->label, r, key);
        else if (p->groups > 1 && !few)
            snprintf(at->label, sizeof at->label, "%.150s", recipes ? run_recipe(r) : r->label);
        else if (p->groups == 1 && at->runs == 1)
            snprintf(at->label, sizeof at->label, "%.150s", r->label);
    }
}

static int same_run(const struct run_files *a, const struct run_files *b)
{
    struct difference d;
    const char *x = settings_get(&a->settings, "run.seed"), *y = settings_get(&b->settings, "run.seed");
    return x && y && !strcmp(x, y) && settings_compare(&a->settings, &b->settings, &d, 1) == 0;
}

/* One seed twice makes a line look surer than it is. */
static void warn_of_twins(const struct plot *p)
{
    for (int i = 0; i < p->runs; i++)
        for (int k = 0; k < i; k++)
            if (same_run(&p->run[i], &p->run[k])) {
                fprintf(stderr, "train_rl plot: %s and %s have the same settings and seed; both are counted\n",
                        p->run[k].dir, p->run[i].dir);
                return;
            }
}

/* Runs that a group joins although more than group=KEY and the seed differs. */
static void warn_of_mixtures(const struct plot *p)
{
    struct difference d[1];
    for (int g = 0; g < p->groups && p->option[GROUP].text[0]; g++)
        for (int i = 1; i < p->group[g].runs; i++) {
            const struct run_files *a = &p->run[p->group[g].run[0]], *b = &p->run[p->group[g].run[i]];
            if (settings_compare(&a->settings, &b->settings, d, 1) == 0)
                continue;
            fprintf(stderr, "train_rl plot: the line '%s' joins runs that differ in %s, too (%s and %s)\n",
                    p->group[g].label, d[0].name, a->label, b->label);
            break;
        }
}

/* ---- lines ---- */

/* The phase of a run that is meant: its number, -1 for the main line, -2 when the run has not come to it. */
static int phase_number(const struct run_files *r, const char *name)
{
    if (!strcmp(name, "all"))
        return -1;
    for (int i = 0; i < r->phases; i++)
        if (name[0] ? !strcmp(r->phase[i].name, name) : !r->phase[i].gold && r->phase[i].parent < 0)
            return i;
    return name[0] ? -2 : r->phases ? 0 : -2;
}

/* Colours of lines differ until they are used up; then lines are dashed. */
static struct figure_line style(int number, const char *label)
{
    enum { COLORS = 7 };
    return (struct figure_line){.label = label, .color = number % COLORS, .dashed = number / COLORS % 2};
}

static int smoothing(const struct plot *p, enum curve_source from, int points)
{
    int wanted = (int)p->option[SMOOTH].num;
    return wanted >= 0 ? wanted : from == FROM_EVAL || points < 20 ? 0 : points / 40 + 1;
}

enum { FEW_LINES = 2 };

static const char *band_text(const struct plot *p)
{
    int band = (int)p->option[BAND].num;
    return band == BAND_RANGE ? ", band: lowest to highest"
           : band == BAND_SD  ? ", band: \xc2\xb1 1 s.d."
           : band == BAND_T   ? ", band: 95 % interval of the mean"
                              : "";
}

/* One run: its points, under their mean where it is smoothed; its evaluations with their standard errors. */
static void draw_one(struct plot *p, int key, struct figure_line *line, struct joined *j, const struct curve *c)
{
    int errors = p->option[BAND].num != BAND_NONE && p->key[key].from == FROM_EVAL, any = 0;
    line->smooth = smoothing(p, p->key[key].from, c->n);
    for (int i = 0; i < j->n && errors; i++) {
        j->low[i] = j->y[i] - 2 * c->se[i];
        j->high[i] = j->y[i] + 2 * c->se[i];
        any = any || isfinite(c->se[i]);
    }
    line->low = any ? j->low : NULL;
    line->high = any ? j->high : NULL;
}

static void tell_shorter(const struct plot *p, const struct group *g, const struct curve *c, const struct joined *j,
                         int k)
{
    int most = 0;
    for (int i = 0; i < k; i++)
        most = c[i].n > c[most].n ? i : most;
    for (int i = 0; i < k; i++)
        if (j->n && c[i].x[c[i].n - 1] < c[most].x[c[most].n - 1] && c[i].x[c[i].n - 1] <= j->x[j->n - 1] &&
            p->option[X].num == BY_STEP) {
            fprintf(stderr, "train_rl plot: %s ends at %g, other runs of its line go on to %g: their mean ends there\n",
                    p->run[g->run[i]].dir, c[i].x[c[i].n - 1], c[most].x[c[most].n - 1]);
            return;
        }
}

/* The line of one group and phase in one panel; returns its number of points. */
static int draw_group(struct plot *p, int key, int number, const struct group *g, const char *phase)
{
    struct curve *c = mem_alloc((size_t)g->runs, sizeof *c);
    struct joined *j = &p->joined[key][number];
    struct figure_line *line = &p->line[key][number];
    char *label = p->label[key][number];
    const struct key *k = &p->key[key];
    enum curve_x by = (enum curve_x)p->option[X].num;
    enum band band = (enum band)p->option[BAND].num;
    int n = 0;
    for (int i = 0; i < g->runs; i++) {
        int at = phase_number(&p->run[g->run[i]], phase);
        if (at < -1)
            continue;
        curve_read(&c[n], &p->run[g->run[i]], k->name, k->from, by, at);
        if (c[n].n == 0)
            curve_free(&c[n]); /* the run has not come so far */
        else
            n++;
    }
    int smooth = n ? smoothing(p, k->from, c[0].n) : 0;
    for (int i = 0; i < n && n > 1 && smooth; i++)
        curve_smooth(&c[i], smooth);
    if (n)
        curves_join(j, c, n, by, n > 1 ? band : BAND_NONE);
    *line = style(number, label);
    const char *name = p->phases > 1 ? phase : "";
    snprintf(label, sizeof p->label[0][0], "%s%s%s", g->label, g->label[0] && name[0] ? ", " : "", name);
    size_t len = strlen(label);
    if (n > 1) {
        int few = p->groups * p->phases <= FEW_LINES; /* of many lines the subtitle says what their bands are */
        const char *band_said = few ? band_text(p) : "";
        snprintf(label + len, sizeof p->label[0][0] - len, "%s%s%d runs%s", len ? ": " : "", few ? "mean of " : "", n,
                 band_said);
        line->low = band == BAND_NONE ? NULL : j->low;
        line->high = band == BAND_NONE ? NULL : j->high;
        tell_shorter(p, g, c, j, n);
    } else if (n == 1) {
        draw_one(p, key, line, j, &c[0]);
        const char *more = line->low      ? " (\xc2\xb1 2 s.e. of the evaluation)"
                           : line->smooth ? " (light: every step)"
                                          : "";
        snprintf(label + len, sizeof p->label[0][0] - len, "%s", more);
    }
    line->points = j->n;
    line->x = j->x;
    line->y = j->y;
    line->dots = k->from == FROM_EVAL && j->n <= 60 && by == BY_STEP;
    for (int i = 0; i < n; i++)
        curve_free(&c[i]);
    mem_free(c);
    return j->n;
}

static int draw_panel(struct plot *p, int key, struct error *e)
{
    struct figure_panel *panel = &p->panel[key];
    int points = 0, share = !strncmp(p->key[key].unit, "share", 5);
    *panel = (struct figure_panel){.title = p->key[key].title, .y_label = p->key[key].unit, .line = p->line[key]};
    for (int g = 0; g < p->groups; g++)
        for (int f = 0; f < p->phases; f++)
            points += draw_group(p, key, panel->lines++, &p->group[g], p->phase[f]);
    panel->high = share ? 1 : 0;
    for (int l = 0; l < panel->lines && key > 0; l++) /* what the first panel's legend says need not be said again */
        if (!strcmp(p->label[key][l], p->label[0][l]))
            p->line[key][l].label = NULL;
    if (points == 0)
        return fail(e, "y=%s: nothing to draw in phase %s; phase=all takes the whole main line", p->key[key].name,
                    p->phase[0][0] ? p->phase[0] : "of the rollouts");
    return 0;
}

/* ---- output ---- */

/* One row a point; y is what the strong line shows. */
static int write_csv(const struct plot *p, const char *path, struct error *e)
{
    struct text t = {0};
    text_addf(&t, "key,line,%s,y,low,high\n", p->option[X].num == BY_TIME ? "seconds" : "step");
    for (int k = 0; k < p->keys; k++)
        for (int l = 0; l < p->panel[k].lines; l++) {
            const struct figure_line *line = &p->line[k][l];
            double *mean = figure_smooth(line->y, line->points, line->smooth);
            for (int i = 0; i < line->points; i++) {
                csv_text(&t, p->key[k].name);
                text_add(&t, ",", 1);
                csv_text(&t, p->label[k][l]);
                csv_number(&t, line->x[i]);
                csv_number(&t, mean[i]);
                csv_number(&t, line->low ? line->low[i] : NAN);
                csv_number(&t, line->low ? line->high[i] : NAN);
                text_add(&t, "\n", 1);
            }
            mem_free(mean);
        }
    int status = file_write(path, t.s, (size_t)t.len, e);
    text_free(&t);
    return status;
}

static void find_title(const struct plot *p, char *title, size_t size)
{
    const struct settings *first = &p->run[0].settings;
    int same = first->title[0] != 0;
    for (int i = 1; i < p->runs; i++)
        same = same && !strcmp(first->title, p->run[i].settings.title);
    if (p->option[TITLE].text[0])
        snprintf(title, size, "%s", p->option[TITLE].text);
    else if (same)
        snprintf(title, size, "%s", first->title);
    else
        snprintf(title, size, "%d runs", p->runs);
}

/* How many runs, and which seeds they have. */
static void find_subtitle(const struct plot *p, char *text, size_t size)
{
    const char *seed[MAX_RUNS];
    int n = 0;
    snprintf(text, size, "%d run%s", p->runs, p->runs > 1 ? "s" : "");
    for (int i = 0; i < p->runs; i++) {
        const char *one = settings_get(&p->run[i].settings, "run.seed");
        if (one && !is_among(one, seed, n))
            seed[n++] = one;
    }
    for (int i = 0; i < n; i++) {
        size_t len = strlen(text);
        snprintf(text + len, size - len, "%s%.20s", i ? ", " : n > 1 ? ", seeds " : ", seed ", seed[i]);
    }
    size_t len = strlen(text);
    if (p->groups * p->phases > FEW_LINES && p->runs > p->groups)
        snprintf(text + len, size - len, "; lines are means of runs%s", band_text(p));
}

static void find_x_label(const struct plot *p, char *label, size_t size)
{
    const char *phase = p->phase[0];
    for (int i = 0; i < p->runs && !phase[0]; i++) {
        int at = phase_number(&p->run[i], "");
        phase = at >= 0 ? p->run[i].phase[at].name : phase;
    }
    int whole = !strcmp(phase, "all");
    const char *what = p->option[X].num == BY_TIME ? "seconds of training" : "optimiser step";
    if (p->phases > 1)
        snprintf(label, size, "%s since the phase began", what);
    else
        snprintf(label, size, "%s%s%s", what, whole ? "" : " in phase ", whole ? "" : phase);
}

static int write_figure(const struct plot *p, struct error *e)
{
    char title[300], subtitle[300], x_label[120];
    const char *path = p->option[OUT].text;
    int height = (int)p->option[HEIGHT].num;
    if (!path[0])
        path = figure_has_png ? "plot.png" : "plot.svg";
    find_title(p, title, sizeof title);
    find_subtitle(p, subtitle, sizeof subtitle);
    find_x_label(p, x_label, sizeof x_label);
    struct figure f = {.title = title,
                       .subtitle = subtitle,
                       .x_label = x_label,
                       .panel = p->panel,
                       .panels = p->keys,
                       .width = (int)p->option[WIDTH].num,
                       .height = height ? height : 180 + 10 * p->panel[0].lines + (p->keys == 1 ? 360 : 230 * p->keys)};
    if (figure_write(&f, path, e))
        return -1;
    if (p->option[CSV].text[0] && write_csv(p, p->option[CSV].text, e))
        return -1;
    fprintf(stderr, "%s: %d line%s from %d run%s%s%s\n", path, p->panel[0].lines, p->panel[0].lines > 1 ? "s" : "",
            p->runs, p->runs > 1 ? "s" : "", p->option[CSV].text[0] ? "; the numbers are in " : "",
            p->option[CSV].text);
    return 0;
}

/* ---- the verb ---- */

static int has_clock(const struct plot *p, struct error *e)
{
    for (int i = 0; i < p->runs; i++)
        if (!has_key(&p->run[i], "t_update", FROM_LOG))
            return fail(e, "x=time: the log of %s has no t_update; draw it with x=step", p->run[i].dir);
    return 0;
}

static int draw(struct plot *p, struct error *e)
{
    char names[MAX_KEYS][sizeof p->key[0].name];
    p->keys = split(p->option[Y].text, names[0], sizeof names[0], MAX_KEYS, "y", e);
    p->phases = split(p->option[PHASE].text, p->phase[0], sizeof p->phase[0], MAX_DRAWN_PHASES, "phase", e);
    if (p->keys < 0 || p->phases < 0)
        return -1;
    for (int k = 0; k < p->keys; k++) {
        memcpy(p->key[k].name, names[k], sizeof names[k]);
        if (find_key(p, &p->key[k], e))
            return -1;
    }
    if (find_groups(p, e) || (p->option[X].num == BY_TIME && has_clock(p, e)))
        return -1;
    if (p->groups * p->phases > MAX_LINES)
        return fail(e, "%d lines; at most %d can be told apart", p->groups * p->phases, MAX_LINES);
    name_groups(p);
    warn_of_mixtures(p);
    warn_of_twins(p);
    for (int k = 0; k < p->keys; k++)
        if (draw_panel(p, k, e))
            return -1;
    return write_figure(p, e);
}

static void plot_free(struct plot *p)
{
    for (int k = 0; k < p->keys; k++)
        for (int l = 0; l < MAX_LINES; l++)
            joined_free(&p->joined[k][l]);
    for (int i = 0; i < p->runs; i++)
        run_close(&p->run[i]);
    mem_free(p->run);
    mem_free(p);
}

static int run(int argc, const char *const *argv)
{
    struct value option[OPTIONS];
    struct error e;
    int words = verb_runs(&verb_row_plot, argc, argv, option, OUT, &e);
    if (words < 0)
        return verb_usage(&verb_row_plot, &e);
    struct plot *p = mem_alloc(1, sizeof *p);
    p->option = option;
    p->run = mem_alloc(MAX_RUNS, sizeof *p->run);
    int n = run_read_all(p->run, words, argv, &e);
    p->runs = n > 0 ? n : 0;
    int status = n < 0 || draw(p, &e) ? verb_failed(&verb_row_plot, &e) : EXIT_DONE;
    plot_free(p);
    return status;
}

const struct verb verb_row_plot = {
    "plot",
    "Figures from run directories: any key of the logs, runs of several seeds joined.",
    "RUN_DIR... [key=value ...]",
    "RUN_DIR is a directory that a run has written or is writing, or one that holds such directories. Runs whose\n"
    "settings differ in nothing but the seed are one line: their mean, with a band from the lowest to the highest. A\n"
    "mean goes as far as all of its runs do. A single run is drawn in full, its log in a light colour under the mean "
    "of\n"
    "neighbours, its evaluations with a band of two standard errors. group=KEY joins all runs with the same value of "
    "a\n"
    "setting; the legend says what tells the lines apart.\n"
    "\n"
    "y takes any key of log.jsonl or eval.jsonl; a plain name is looked up in eval.jsonl first. x counts from where "
    "the\n"
    "phase begins. A branch, such as a control, begins with the evaluation at which it left. csv=FILE has the columns\n"
    "key, line, step or seconds, y, low, high.\n"
    "\n"
    "Files:\n"
    "  RUN_DIR/log.jsonl, eval.jsonl, recipe.ini   read; eval.jsonl and recipe.ini may be missing\n"
    "  plot.png, or out=FILE, csv=FILE             written\n"
    "\n"
    "Examples:\n"
    "  train_rl plot out/chain-1\n"
    "  train_rl plot out/chain-1 out/chain-2 y=accuracy,length,entropy out=seeds.svg csv=seeds.csv\n"
    "  train_rl plot out/chain-1 phase=rl,control x=time\n"
    "  train_rl plot out group=stages.loss y=log.accuracy band=sd\n",
    options,
    run,
};
