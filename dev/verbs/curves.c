/* From the lines of JSON files to points, and from the points of several runs to one line. */
#include "curves.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../model/base/mem.h"
#include "figure.h"
#include "spread.h"

enum { GRID = 200 }; /* places at which curves over time are joined */

/* ---- one run ---- */

static void add_point(struct curve *c, double x, double y, double se)
{
    if (!isfinite(x) || !isfinite(y))
        return;
    if (c->n == c->cap) {
        size_t old = (size_t)c->cap * sizeof(double), new = old * 2 + 256 * sizeof(double);
        double **array[] = {&c->x, &c->y, &c->se};
        for (int i = 0; i < 3; i++)
            *array[i] = mem_resize(*array[i], old, new);
        c->cap = (int)(new / sizeof(double));
    }
    c->x[c->n] = x;
    c->y[c->n] = y;
    c->se[c->n++] = se;
}

/* Does the phase belong to what is drawn? */
static int is_drawn(const struct run_files *r, int phase, int p)
{
    return p >= 0 && (phase >= 0 ? p == phase : r->phase[p].parent < 0);
}

/* Seconds of training that a line of the log stands for. */
static double seconds_of(const json_t *o)
{
    double collect = run_number(o, "t_collect"), update = run_number(o, "t_update");
    return (isfinite(collect) ? collect : 0) + (isfinite(update) ? update : 0);
}

/* Steps and the seconds of training at their ends, of what is drawn. */
static void read_clock(struct curve *clock, const struct run_files *r, int phase)
{
    double total = 0;
    size_t i;
    json_t *o;
    json_array_foreach(r->log, i, o) if (is_drawn(r, phase, run_phase_of(r, o)))
        add_point(clock, run_number(o, "step"), total += seconds_of(o), NAN);
}

/* Seconds of training before the step was begun; the clock's steps rise. */
static double time_before(const struct curve *clock, double step)
{
    int low = 0, high = clock->n;
    while (low < high) {
        int middle = (low + high) / 2;
        if (clock->x[middle] < step)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? clock->y[low - 1] : 0;
}

/* The step at which what is drawn begins. */
static double origin(const struct run_files *r, int phase)
{
    double first = INFINITY;
    for (int i = 0; i < r->phases; i++)
        if (is_drawn(r, phase, i))
            first = fmin(first, (double)r->phase[i].first);
    return first;
}

/* Is this the evaluation at which a branch left the main line? */
static int is_fork(const struct run_files *r, int phase, int p, double step)
{
    int parent = phase >= 0 ? r->phase[phase].parent : -1;
    return parent >= 0 && p >= 0 && r->phase[p].parent < 0 &&
           step == (double)(r->phase[parent].first + r->phase[parent].count);
}

static int by_x(const void *a, const void *b)
{
    const double *p = a, *q = b;
    return p[0] != q[0] ? (p[0] > q[0]) - (p[0] < q[0]) : (p[3] > q[3]) - (p[3] < q[3]);
}

/* Points in the order of x; of two at one place the later line holds. */
static void sort_points(struct curve *c)
{
    double(*row)[4] = mem_alloc((size_t)c->n, sizeof *row);
    int rising = 1, n = 0;
    for (int i = 0; i < c->n; i++) {
        rising = rising && (i == 0 || c->x[i] > c->x[i - 1]);
        row[i][0] = c->x[i], row[i][1] = c->y[i], row[i][2] = c->se[i], row[i][3] = i;
    }
    if (!rising) {
        qsort(row, (size_t)c->n, sizeof *row, by_x);
        for (int i = 0; i < c->n; i++) {
            n -= n > 0 && row[i][0] == c->x[n - 1];
            c->x[n] = row[i][0], c->y[n] = row[i][1], c->se[n++] = row[i][2];
        }
        c->n = n;
    }
    mem_free(row);
}

void curve_read(struct curve *c, const struct run_files *r, const char *key, enum curve_source from, enum curve_x by,
                int phase)
{
    struct curve clock = {0};
    char key_se[80];
    double first = origin(r, phase);
    size_t i;
    json_t *o;
    *c = (struct curve){0};
    snprintf(key_se, sizeof key_se, "%.70s_se", key);
    if (by == BY_TIME)
        read_clock(&clock, r, phase);
    json_array_foreach(from == FROM_LOG ? r->log : r->eval, i, o)
    {
        int p = run_phase_of(r, o);
        double step = run_number(o, "step"), x = step - first;
        int fork = from == FROM_EVAL && is_fork(r, phase, p, step);
        if (!is_drawn(r, phase, p) && !fork)
            continue;
        if (fork)
            x = 0;
        else if (by ==
                 BY_TIME) /* the log's line is written after its step, an evaluation is of the weights before it */
            x = time_before(&clock, from == FROM_LOG ? step + 0.5 : step);
        add_point(c, x, run_number(o, key), run_number(o, key_se));
    }
    curve_free(&clock);
    sort_points(c);
}

void curve_smooth(struct curve *c, int n)
{
    double *mean = figure_smooth(c->y, c->n, n);
    mem_free(c->y);
    c->y = mem_resize(mean, (size_t)c->n * sizeof *mean, (size_t)c->cap * sizeof *mean);
}

void curve_free(struct curve *c)
{
    mem_free(c->x);
    mem_free(c->y);
    mem_free(c->se);
    *c = (struct curve){0};
}

/* ---- several runs ---- */

/* The curve's value at x, on straight lines between its points; *at only moves on. NAN outside. */
static double value_at(const struct curve *c, int *at, double x)
{
    while (*at + 1 < c->n && c->x[*at + 1] <= x)
        ++*at;
    if (*at >= c->n || x < c->x[*at])
        return NAN;
    if (c->x[*at] == x)
        return c->y[*at];
    if (*at + 1 == c->n)
        return NAN;
    double share = (x - c->x[*at]) / (c->x[*at + 1] - c->x[*at]);
    return c->y[*at] + share * (c->y[*at + 1] - c->y[*at]);
}

/* Is x a point of the curve itself? After value_at at the same x. */
static int is_point(const struct curve *c, int at, double x)
{
    return at < c->n && c->x[at] == x;
}

static void add_joined(struct joined *j, double x, const double *value, int n, enum band band)
{
    double mean = spread_mean(value, n), sd = spread_sd(value, n), low = INFINITY, high = -INFINITY;
    for (int i = 0; i < n; i++) {
        low = fmin(low, value[i]);
        high = fmax(high, value[i]);
    }
    if (band == BAND_SD || band == BAND_T) {
        double half = band == BAND_SD ? sd : spread_half(value, n);
        low = mean - half;
        high = mean + half;
    }
    j->x[j->n] = x;
    j->y[j->n] = mean;
    j->low[j->n] = band == BAND_NONE ? NAN : low;
    j->high[j->n++] = band == BAND_NONE ? NAN : high;
}

void curves_join(struct joined *j, const struct curve *curve, int curves, enum curve_x by, enum band band)
{
    int *at = mem_alloc((size_t)curves, sizeof *at), grid = by == BY_TIME && curves > 1;
    double *value = mem_alloc((size_t)curves, sizeof *value), low = -INFINITY, high = INFINITY;
    int places = grid ? GRID + 1 : curve[0].n;
    *j = (struct joined){0};
    double **array[] = {&j->x, &j->y, &j->low, &j->high};
    for (int i = 0; i < 4; i++)
        *array[i] = mem_alloc((size_t)places, sizeof(double));
    for (int i = 0; i < curves; i++) {
        low = fmax(low, curve[i].n ? curve[i].x[0] : INFINITY);
        high = fmin(high, curve[i].n ? curve[i].x[curve[i].n - 1] : -INFINITY);
    }
    for (int k = 0; k < places && low <= high; k++) {
        double x = grid ? (k == GRID ? high : low + (high - low) * k / GRID) : curve[0].x[k];
        int all = x >= low && x <= high;
        for (int i = 0; i < curves && all; i++) {
            value[i] = value_at(&curve[i], &at[i], x);
            all = isfinite(value[i]) && (grid || is_point(&curve[i], at[i], x));
        }
        if (all)
            add_joined(j, x, value, curves, band);
    }
    mem_free(at);
    mem_free(value);
}

void joined_free(struct joined *j)
{
    mem_free(j->x);
    mem_free(j->y);
    mem_free(j->low);
    mem_free(j->high);
    *j = (struct joined){0};
}
