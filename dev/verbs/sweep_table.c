/* From finished runs to a table. A further number is a value of enum sweep_column, a row of `columns`, and a line in
 * sweep_measure.
 */
#include "sweep_table.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "csv.h"
#include "curves.h"
#include "expect.h"
#include "spread.h"

static const struct {
    const char *name, *title; /* of the two tables */
    double unit;              /* the first table shows value x unit */
    int digits;
} columns[SWEEP_COLUMNS] = {
    [SWEEP_BEFORE] = {"before", "greedy before, %", 100, 1},   [SWEEP_AFTER] = {"after", "greedy after, %", 100, 1},
    [SWEEP_SAMPLED] = {"sampled", "sampled after, %", 100, 1}, [SWEEP_LENGTH] = {"length", "length, tokens", 1, 1},
    [SWEEP_AREA] = {"area", "area under greedy, %", 100, 1},   [SWEEP_SECONDS] = {"t_seconds", "training, s", 1, 1}};

/* ---- one run ---- */

int sweep_phase(const struct run_files *r)
{
    int found = -1;
    for (int i = 0; i < r->phases; i++)
        if (r->phase[i].parent < 0 && (found < 0 || !r->phase[i].gold || r->phase[found].gold))
            found = i;
    return found;
}

static double measured_value(const struct measured *m, int n, const char *when, const char *key)
{
    char name[80];
    snprintf(name, sizeof name, "%s.%s", when, key);
    const struct measured *found = measured_find(m, n, name);
    return found ? found->value : NAN;
}

/* Area under straight lines between the points, over its length. */
static double mean_height(const struct curve *c)
{
    double area = 0;
    for (int i = 1; i < c->n; i++)
        area += (c->x[i] - c->x[i - 1]) * (c->y[i] + c->y[i - 1]) / 2;
    return c->n > 1 ? area / (c->x[c->n - 1] - c->x[0]) : NAN;
}

int sweep_measure(const struct run_files *r, double value[SWEEP_COLUMNS], struct error *e)
{
    struct measured m[MAX_EXPECTED];
    struct curve accuracy, clock;
    int n = expect_measure(r, m, e), phase = sweep_phase(r);
    if (n < 0)
        return -1;
    if (phase < 0)
        return fail(e, "%s: the log has no steps", r->dir);
    const char *name = r->phase[phase].name;
    curve_read(&accuracy, r, "accuracy", FROM_EVAL, BY_STEP, phase);
    curve_read(&clock, r, "t_update", FROM_LOG, BY_TIME, phase);
    value[SWEEP_BEFORE] = measured_value(m, n, "before", "accuracy");
    value[SWEEP_AFTER] = measured_value(m, n, name, "accuracy");
    value[SWEEP_SAMPLED] = measured_value(m, n, name, "sampled");
    value[SWEEP_LENGTH] = measured_value(m, n, name, "length");
    value[SWEEP_AREA] = mean_height(&accuracy);
    value[SWEEP_SECONDS] = clock.n ? clock.x[clock.n - 1] : NAN;
    curve_free(&accuracy);
    curve_free(&clock);
    return 0;
}

/* ---- settings ---- */

struct sweep_mean sweep_mean(const struct grid *g, const struct sweep_run *run, int setting, enum sweep_column c)
{
    double x[MAX_RUNS];
    struct sweep_mean s = {0, NAN, NAN};
    for (int i = setting * g->seeds; i < (setting + 1) * g->seeds; i++)
        if (run[i].good && isfinite(run[i].value[c]))
            x[s.n++] = run[i].value[c];
    if (s.n > 0)
        s.mean = spread_mean(x, s.n);
    s.half = spread_half(x, s.n);
    return s;
}

static int runs_of(const struct grid *g, const struct sweep_run *run, int setting)
{
    int n = 0;
    for (int i = setting * g->seeds; i < (setting + 1) * g->seeds; i++)
        n += run[i].good;
    return n;
}

/* ---- Markdown ---- */

enum { CELL = 120 };

static void mean_cell(char cell[CELL], const struct sweep_mean *s, int c)
{
    double unit = columns[c].unit;
    if (s->n == 0)
        snprintf(cell, CELL, "-");
    else if (s->n == 1)
        snprintf(cell, CELL, "%.*f", columns[c].digits, s->mean * unit);
    else
        snprintf(cell, CELL, "%.*f \xc2\xb1 %.*f", columns[c].digits, s->mean * unit, columns[c].digits,
                 s->half * unit);
}

/* A value as text of a cell: without what would end it. */
static void text_cell(char cell[CELL], const char *text)
{
    size_t n = 0;
    for (; *text && n + 2 < CELL; text++) {
        if (*text == '|')
            cell[n++] = '\\';
        cell[n++] = *text;
    }
    cell[n] = 0;
}

/* Characters, not bytes: what the columns are aligned by. */
static int width_of(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* Row 0 has the titles. Returns the number of columns. */
static int fill_row(const struct grid *g, const struct sweep_run *run, int row, char (*cell)[CELL])
{
    int n = 0, axes = grid_setting_axes(g), setting = row - 1;
    for (int a = 0; a < axes; a++)
        text_cell(cell[n++], row ? grid_value(g, setting * g->seeds, a) : g->axis[a].key);
    if (row)
        snprintf(cell[n++], CELL, "%d of %d", runs_of(g, run, setting), g->seeds);
    else
        snprintf(cell[n++], CELL, "runs");
    for (int c = 0; c < SWEEP_COLUMNS; c++, n++) {
        struct sweep_mean s = row ? sweep_mean(g, run, setting, (enum sweep_column)c) : (struct sweep_mean){0};
        if (row)
            mean_cell(cell[n], &s, c);
        else
            snprintf(cell[n], CELL, "%s", columns[c].title);
    }
    return n;
}

void sweep_markdown(struct text *t, const struct grid *g, const struct sweep_run *run)
{
    enum { MOST = MAX_AXES + 1 + SWEEP_COLUMNS };
    int rows = 1 + g->combinations / g->seeds, width[MOST] = {0}, n = 0, axes = grid_setting_axes(g);
    char(*cell)[MOST][CELL] = mem_alloc((size_t)rows, sizeof *cell);
    for (int r = 0; r < rows; r++) {
        n = fill_row(g, run, r, cell[r]);
        for (int c = 0; c < n; c++)
            width[c] = width_of(cell[r][c]) > width[c] ? width_of(cell[r][c]) : width[c];
    }
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < n; c++) { /* keys to the left, numbers to the right */
            int space = width[c] - width_of(cell[r][c]);
            text_addf(t, "| %*s%s%*s ", c < axes ? 0 : space, "", cell[r][c], c < axes ? space : 0, "");
        }
        text_add(t, "|\n", -1);
        for (int c = 0; c < n && r == 0; c++) {
            text_add(t, "|-", -1);
            for (int i = 0; i < width[c]; i++)
                text_add(t, "-", 1);
            text_add(t, c < axes ? "-" : ":", 1);
        }
        text_add(t, "|\n", r == 0 ? -1 : 0);
    }
    mem_free(cell);
}

/* ---- comma-separated ---- */

void sweep_csv(struct text *t, const struct grid *g, const struct sweep_run *run)
{
    int axes = grid_setting_axes(g);
    for (int a = 0; a < axes; a++) {
        csv_text(t, g->axis[a].key);
        text_add(t, ",", 1);
    }
    text_add(t, "runs", -1);
    for (int c = 0; c < SWEEP_COLUMNS; c++)
        text_addf(t, ",%s,%s_low,%s_high", columns[c].name, columns[c].name, columns[c].name);
    text_add(t, "\n", 1);
    for (int s = 0; s < g->combinations / g->seeds; s++) {
        for (int a = 0; a < axes; a++) {
            csv_text(t, grid_value(g, s * g->seeds, a));
            text_add(t, ",", 1);
        }
        text_addf(t, "%d", runs_of(g, run, s));
        for (int c = 0; c < SWEEP_COLUMNS; c++) {
            struct sweep_mean m = sweep_mean(g, run, s, (enum sweep_column)c);
            csv_number(t, m.mean);
            csv_number(t, m.mean - m.half);
            csv_number(t, m.mean + m.half);
        }
        text_add(t, "\n", 1);
    }
}
