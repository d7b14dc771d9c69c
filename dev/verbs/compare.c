/* compare: finished runs of several methods as a table, and as a figure of one number against another.
 *
 * Where sweep varies the keys of one recipe, these runs may be of any recipes: their directories say which belong
 * together. LINE,POINT,SEED: runs with the same LINE and POINT are one row of the table; the points of a LINE, a method
 * with several strengths, are joined in the figure. Further numbers go into `value_of`.
 */
#include "csv.h"
#include "curves.h"
#include "figure.h"
#include "spread.h"
#include "sweep_table.h"
#include "verbs.h"
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_COLUMNS = 12, MAX_ROWS = 128, MAX_LINES = 28 };
enum { COLUMNS, AGAINST, X, Y, CROSS, TABLE, CSV, OUT, TITLE, WIDTH, HEIGHT, OPTIONS };

static const struct param options[] = {
    {"columns", PARAM_TEXT, "accuracy%,sampled%,length,area%,seconds", 0, 0, NULL,
     "Columns, separated by commas: keys of the evaluations or of the log, see above.", NULL},
    {"against", PARAM_TEXT, "", 0, 0, NULL,
     "METHOD or METHOD,STRENGTH: all numbers are differences from its run with the same seed.", NULL},
    {"x", PARAM_TEXT, "sampled_length", 0, 0, NULL, "Key of the figure's horizontal axis, as a column.", NULL},
    {"y", PARAM_TEXT, "sampled", 0, 0, NULL, "Key of the vertical one.", NULL},
    {"cross", PARAM_CHOICE, "t", 0, 0, "none|t", "At every dot: nothing, or both 95 % intervals of the mean.", NULL},
    {"table", PARAM_TEXT, "", 0, 0, NULL, "File for the table as Markdown. It is printed as well.", NULL},
    {"csv", PARAM_TEXT, "", 0, 0, NULL, "File for the numbers of every run, comma-separated.", NULL},
    {"out", PARAM_TEXT, "", 0, 0, NULL, "File for the figure, .svg or .png. Empty: no figure.", NULL},
    {"title", PARAM_TEXT, "", 0, 0, NULL, "Of table and figure.", NULL},
    {"width", PARAM_INT, "900", 300, 8000, NULL, "Of the figure, pixels.", NULL},
    {"height", PARAM_INT, "620", 200, 8000, NULL, "Of the figure, pixels.", NULL},
    {0}};

struct column {
    char key[80], title[100];
    double unit;
};
struct row { /* a setting */
    int run[MAX_RUNS], runs, line;
};
struct compare {
    const struct value *option;
    struct run_files *run;
    int runs;
    struct column column[MAX_COLUMNS + 2]; /* the last two are x and y of the figure */
    int columns;
    double (*value)[MAX_COLUMNS + 2]; /* [runs] NAN: not measured */
    struct row row[MAX_ROWS];
    int rows;
    char line[MAX_LINES][100];
    int lines;
};

/* ---- columns ---- */

static int read_column(struct column *c, const char *text, size_t len, struct error *e)
{
    int percent = len > 0 && text[len - 1] == '%';
    len -= (size_t)percent;
    if (len == 0 || len >= sizeof c->key)
        return fail(e, "columns: '%.*s' is no key", (int)len, text);
    snprintf(c->key, sizeof c->key, "%.*s", (int)len, text);
    snprintf(c->title, sizeof c->title, "%.*s%s", (int)len, text, percent ? ", %" : "");
    c->unit = percent ? 100 : 1;
    return 0;
}

static int read_columns(struct compare *c, struct error *e)
{
    for (const char *p = c->option[COLUMNS].text; *p; p += *p == ',') {
        size_t len = strcspn(p, ",");
        if (c->columns == MAX_COLUMNS)
            return fail(e, "columns: more than %d", MAX_COLUMNS);
        if (read_column(&c->column[c->columns++], p, len, e))
            return -1;
        p += len;
    }
    for (int i = 0; i < 2; i++) {
        const char *text = c->option[i ? Y : X].text;
        if (read_column(&c->column[c->columns + i], text, strlen(text), e))
            return -1;
    }
    return 0;
}

/* ---- numbers of one run ---- */

/* Mean over the first or the last tenth of the phase's steps, those with a number. */
static double mean_of_log(const struct run_files *r, const char *key, int phase, int last)
{
    struct curve c;
    double sum = 0;
    curve_read(&c, r, key, FROM_LOG, BY_STEP, phase);
    int n = c.n / 10 < 5 ? 5 : c.n / 10;
    n = n < c.n ? n : c.n;
    for (int i = 0; i < n; i++)
        sum += c.y[last ? c.n - 1 - i : i];
    curve_free(&c);
    return n ? sum / n : NAN;
}

/* Of the phase's last evaluation, or of the one before its first step. */
static double evaluated(const struct run_files *r, const char *key, int phase, int last)
{
    struct curve c;
    curve_read(&c, r, key, FROM_EVAL, BY_STEP, phase);
    double v = c.n ? c.y[last ? c.n - 1 : 0] : NAN;
    curve_free(&c);
    return v;
}

static double value_of(const struct run_files *r, const char *key, int phase, const double *usual)
{
    if (!strcmp(key, "area"))
        return usual[SWEEP_AREA];
    if (!strcmp(key, "seconds"))
        return usual[SWEEP_SECONDS];
    if (!strncmp(key, "log.", 4))
        return mean_of_log(r, key + 4, phase, 1);
    if (!strncmp(key, "start.", 6))
        return mean_of_log(r, key + 6, phase, 0);
    if (!strncmp(key, "before.", 7))
        return evaluated(r, key + 7, phase, 0);
    return evaluated(r, key, phase, 1);
}

static int measure(struct compare *c, struct error *e)
{
    int drawn = c->option[OUT].text[0] ? 2 : 0;
    for (int i = 0; i < c->runs; i++) {
        double usual[SWEEP_COLUMNS];
        if (sweep_measure(&c->run[i], usual, e)) /* refuses what is not finished */
            return -1;
        for (int k = 0; k < c->columns + drawn; k++)
            c->value[i][k] = value_of(&c->run[i], c->column[k].key, sweep_phase(&c->run[i]), usual);
    }
    for (int k = 0; k < c->columns + drawn; k++) {
        int any = 0;
        for (int i = 0; i < c->runs; i++)
            any = any || isfinite(c->value[i][k]);
        if (!any)
            return fail(e, "%s: no run has a number under that name in its %s", c->column[k].key,
                        strncmp(c->column[k].key, "log.", 4) && strncmp(c->column[k].key, "start.", 6)
                            ? "evaluations (log.KEY is looked up in the log)"
                            : "log");
    }
    return 0;
}

/* ---- differences ---- */

/* The run of the method that is compared with, of the same seed: what follows the last comma. */
static int counterpart(const struct compare *c, int i, struct error *e)
{
    const char *against = c->option[AGAINST].text, *seed = strrchr(c->run[i].label, ',');
    for (int k = 0; k < c->runs && seed; k++) {
        const char *other = strrchr(c->run[k].label, ',');
        int n = run_name(&c->run[k]);
        if (other && !strcmp(other, seed) && n == (int)strlen(against) && !memcmp(c->run[k].label, against, (size_t)n))
            return k;
    }
    return fail(e, "against=%s: %s has no counterpart, a run called %s%s%s", against, c->run[i].label, against,
                strchr(against, ',') ? "" : ",", seed ? seed : ",SEED");
}

static int subtract(struct compare *c, struct error *e)
{
    double(*value)[MAX_COLUMNS + 2] = mem_alloc((size_t)c->runs, sizeof *value);
    int status = 0;
    for (int i = 0; i < c->runs && status >= 0; i++) {
        status = counterpart(c, i, e);
        for (int k = 0; k < MAX_COLUMNS + 2 && status >= 0; k++)
            value[i][k] = c->value[i][k] - c->value[status][k];
    }
    mem_free(c->value);
    c->value = value;
    return status < 0 ? -1 : 0;
}

/* ---- rows and lines ---- */

static int line_of(struct compare *c, const struct run_files *r, struct error *e)
{
    char name[sizeof c->line[0]];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(r->label, ","), r->label);
    int i = 0;
    while (i < c->lines && strcmp(c->line[i], name))
        i++;
    if (i == MAX_LINES)
        return fail(e, "more than %d different methods", MAX_LINES);
    if (i == c->lines)
        snprintf(c->line[c->lines++], sizeof name, "%s", name);
    return i;
}

static int find_rows(struct compare *c, struct error *e)
{
    for (int i = 0; i < c->runs; i++) {
        int k = 0, n = run_name(&c->run[i]);
        for (; k < c->rows; k++) {
            const struct run_files *other = &c->run[c->row[k].run[0]];
            if (run_name(other) == n && !memcmp(other->label, c->run[i].label, (size_t)n))
                break;
        }
        if (k == MAX_ROWS)
            return fail(e, "more than %d different settings", MAX_ROWS);
        struct row *row = &c->row[k];
        if (k == c->rows) {
            c->rows++;
            if ((row->line = line_of(c, &c->run[i], e)) < 0)
                return -1;
        }
        row->run[row->runs++] = i;
    }
    return 0;
}

/* What stands between the first and the last comma. */
static const char *point_of(const struct compare *c, const struct row *row, char to[100])
{
    const struct run_files *r = &c->run[row->run[0]];
    size_t from = strcspn(r->label, ","), end = (size_t)run_name(r);
    from += from < end;
    snprintf(to, 100, "%.*s", (int)(end > from ? end - from : 0), r->label + from);
    return to;
}

static struct sweep_mean mean_of(const struct compare *c, const struct row *row, int column)
{
    double x[MAX_RUNS];
    struct sweep_mean m = {0, NAN, NAN};
    for (int i = 0; i < row->runs; i++)
        if (isfinite(c->value[row->run[i]][column]))
            x[m.n++] = c->value[row->run[i]][column];
    if (m.n) {
        m.mean = spread_mean(x, m.n);
        m.half = spread_half(x, m.n);
    }
    return m;
}

/* ---- the table ---- */

static void add_number(struct text *t, double v)
{
    text_addf(t, "%.*f", fabs(v) < 10 ? 2 : 1, v);
}

static void add_table(struct text *t, const struct compare *c)
{
    char point[100];
    int strengths = 0;
    for (int i = 0; i < c->rows; i++)
        strengths = strengths || point_of(c, &c->row[i], point)[0];
    if (c->option[TITLE].text[0])
        text_addf(t, "%s. Mean over the seeds \xc2\xb1 half of its 95 %% interval by Student's t.",
                  c->option[TITLE].text);
    if (c->option[AGAINST].text[0])
        text_addf(t, "%sDifferences from %s of the same seed.", t->len ? " " : "", c->option[AGAINST].text);
    text_add(t, t->len ? "\n\n" : "", -1);
    text_addf(t, "| method |%s runs |", strengths ? " strength |" : "");
    for (int k = 0; k < c->columns; k++)
        text_addf(t, " %s |", c->column[k].title);
    text_addf(t, "\n|---|%s---:|", strengths ? "---|" : "");
    for (int k = 0; k < c->columns; k++)
        text_add(t, "---:|", -1);
    text_add(t, "\n", 1);
    for (int i = 0; i < c->rows; i++) {
        const struct row *row = &c->row[i];
        text_addf(t, "| %s |", c->line[row->line]);
        if (strengths)
            text_addf(t, " %s |", point_of(c, row, point));
        text_addf(t, " %d |", row->runs);
        for (int k = 0; k < c->columns; k++) {
            struct sweep_mean m = mean_of(c, row, k);
            text_add(t, " ", 1);
            if (m.n)
                add_number(t, m.mean * c->column[k].unit);
            if (m.n > 1) {
                text_add(t, " \xc2\xb1 ", -1);
                add_number(t, m.half * c->column[k].unit);
            }
            text_add(t, m.n ? " |" : "- |", -1);
        }
        text_add(t, "\n", 1);
    }
}

static void add_csv(struct text *t, const struct compare *c)
{
    text_add(t, "method,strength,run", -1);
    for (int k = 0; k < c->columns; k++)
        text_addf(t, ",%s", c->column[k].key);
    text_add(t, "\n", 1);
    for (int i = 0; i < c->rows; i++)
        for (int j = 0; j < c->row[i].runs; j++) {
            char point[100];
            csv_text(t, c->line[c->row[i].line]);
            text_add(t, ",", 1);
            csv_text(t, point_of(c, &c->row[i], point));
            text_add(t, ",", 1);
            csv_text(t, c->run[c->row[i].run[j]].label);
            for (int k = 0; k < c->columns; k++)
                csv_number(t, c->value[c->row[i].run[j]][k]);
            text_add(t, "\n", 1);
        }
}

/* ---- the figure ---- */

enum { MEAN_X, LEFT, RIGHT, MEAN_Y, LOW, HIGH, ARRAYS };

/* The name of a column on an axis. */
static const char *axis_label(const struct compare *c, const struct column *column, char to[220])
{
    const char *against = c->option[AGAINST].text;
    snprintf(to, 220, "%s%s%.100s", column->title, against[0] ? ", difference from " : "", against);
    return to;
}

static int draw(const struct compare *c, const char *path, struct error *e)
{
    double(*at)[ARRAYS][MAX_ROWS] = mem_alloc((size_t)c->lines, sizeof *at);
    struct figure_line line[MAX_LINES] = {{0}};
    const struct column *x = &c->column[c->columns], *y = &c->column[c->columns + 1];
    int crosses = !strcmp(c->option[CROSS].text, "t");
    for (int i = 0; i < c->rows; i++) {
        int l = c->row[i].line, n = line[l].points++;
        struct sweep_mean mx = mean_of(c, &c->row[i], c->columns), my = mean_of(c, &c->row[i], c->columns + 1);
        if (!crosses) /* what is not finite is not drawn */
            mx.half = my.half = NAN;
        at[l][MEAN_X][n] = mx.mean * x->unit, at[l][MEAN_Y][n] = my.mean * y->unit;
        at[l][LEFT][n] = (mx.mean - mx.half) * x->unit, at[l][RIGHT][n] = (mx.mean + mx.half) * x->unit;
        at[l][LOW][n] = (my.mean - my.half) * y->unit, at[l][HIGH][n] = (my.mean + my.half) * y->unit;
    }
    for (int l = 0; l < c->lines; l++) {
        struct figure_line *to = &line[l];
        to->label = c->line[l];
        to->x = at[l][MEAN_X], to->left = at[l][LEFT], to->right = at[l][RIGHT];
        to->y = at[l][MEAN_Y], to->low = at[l][LOW], to->high = at[l][HIGH];
        to->dots = 1;
        to->color = l % 7;
        to->dashed = l / 7 % 2;
    }
    char subtitle[200], x_label[220], y_label[220];
    snprintf(subtitle, sizeof subtitle, "%d runs; a dot is the mean over the seeds%s", c->runs,
             crosses ? ", its cross the 95 % intervals" : "");
    struct figure_panel panel = {.y_label = axis_label(c, y, y_label), .line = line, .lines = c->lines};
    struct figure f = {.title = c->option[TITLE].text[0] ? c->option[TITLE].text : "Comparison",
                       .subtitle = subtitle,
                       .x_label = axis_label(c, x, x_label),
                       .panel = &panel,
                       .panels = 1,
                       .width = (int)c->option[WIDTH].num,
                       .height = (int)c->option[HEIGHT].num};
    int status = figure_write(&f, path, e);
    mem_free(at);
    return status;
}

/* ---- the verb ---- */

static int leave(const struct compare *c, struct error *e)
{
    struct text table = {0}, csv = {0};
    const char *to = c->option[TABLE].text, *numbers = c->option[CSV].text, *figure = c->option[OUT].text;
    add_table(&table, c);
    add_csv(&csv, c);
    fputs(table.s, stdout);
    int bad = (to[0] && file_write(to, table.s, (size_t)table.len, e)) ||
              (numbers[0] && file_write(numbers, csv.s, (size_t)csv.len, e)) || (figure[0] && draw(c, figure, e));
    text_free(&table);
    text_free(&csv);
    return bad ? -1 : 0;
}

static int run(int argc, const char *const *argv)
{
    struct value option[OPTIONS];
    struct error e;
    int words = verb_runs(&verb_row_compare, argc, argv, option, OUT, &e);
    if (words < 0)
        return verb_usage(&verb_row_compare, &e);
    struct compare *c = mem_alloc(1, sizeof *c);
    c->option = option;
    c->run = mem_alloc(MAX_RUNS, sizeof *c->run);
    int n = run_read_all(c->run, words, argv, &e);
    c->runs = n > 0 ? n : 0;
    c->value = mem_alloc((size_t)c->runs, sizeof *c->value);
    int bad = n < 0 || read_columns(c, &e) || measure(c, &e) || (option[AGAINST].text[0] && subtract(c, &e)) ||
              find_rows(c, &e) || leave(c, &e);
    int status = bad ? verb_failed(&verb_row_compare, &e) : EXIT_DONE;
    for (int i = 0; i < c->runs; i++)
        run_close(&c->run[i]);
    mem_free(c->run);
    mem_free(c->value);
    mem_free(c);
    return status;
}

const struct verb verb_row_compare = {
    "compare",
    "Finished runs of several methods: a table with intervals, and one number against another.",
    "RUN_DIR... [key=value ...]",
    "RUN_DIR is a run's directory, or one that holds such directories, called METHOD,STRENGTH,SEED (METHOD,,SEED "
    "without "
    "a\n"
    "strength). Runs that differ in the seed alone are one row: the mean, and half of its 95 % interval, t sd / "
    "sqrt(n)\n"
    "with Student's t. Rows of one method are joined in the figure, in the order of their names. Where a run has "
    "several\n"
    "phases the last one with rollouts counts. A run that is not finished is refused.\n"
    "\n"
    "KEY is taken from the last evaluation, before.KEY from the one before any rollout; log.KEY and start.KEY are "
    "means\n"
    "over the last and the first tenth of the log's steps (at least 5); area is that under the greedy accuracy, "
    "seconds\n"
    "are those of training. KEY% is shown times 100. against=METHOD tells more than two intervals do, where the runs "
    "of a\n"
    "seed begin alike.\n"
    "\n"
    "Files:\n"
    "  RUN_DIR/log.jsonl, eval.jsonl, recipe.ini   read\n"
    "  table=FILE, csv=FILE, out=FILE              written\n"
    "\n"
    "Examples:\n"
    "  train_rl compare out/papers/drpo/recheck/runs out=lengths.svg table=lengths.md\n"
    "  train_rl compare out/runs columns=sampled%,log.process.flawed% x=log.process.flawed y=sampled out=flaws.svg\n",
    options,
    run,
};
