/* The figures of a run, from its files alone, so that they can be drawn again at any time: reward and accuracy,
 * response length, entropy and warm-up loss, distance from the start.
 *
 * The x axis is the optimiser step of the main line. A side branch (the control of an experiment) is drawn from the
 * step at which it left, as if it had run at the same time, because that is the comparison it was made for. To add a
 * curve, add a line in one of the panel functions.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "../../model/base/mem.h"
#include "figure.h"
#include "report.h"
#include "runread.h"

enum { MAX_LINES = 8 + MAX_PHASES, MAX_PANELS = 5, MAX_SERIES = 40 };

struct place {
    double x0, scale; /* where a phase's first step stands on the axis; length of a step there */
};
struct series {
    int n, cap;
    double *x, *y, *low, *high; /* low, high: NULL without standard errors */
};
struct run {
    struct run_files f;
    struct place place[MAX_PHASES];
    char title[480], subtitle[256], pass[24]; /* pass: the key "pass@k", or "" */
    char label[MAX_PHASES][80];
    struct series series[MAX_SERIES]; /* what the figure's lines point to */
    int used;
    struct figure_line line[MAX_PANELS][MAX_LINES];
    struct figure_panel panel[MAX_PANELS];
    int panels;
    struct figure_mark mark[MAX_PHASES];
    int marks;
};

/* The main line's steps count on as if the branches between them had not been; the branches stand beside it. */
static void place_phases(struct run *r)
{
    double end = 0;
    for (int i = 0; i < r->f.phases; i++) {
        const struct run_phase *p = &r->f.phase[i];
        r->place[i].scale = 1;
        if (p->parent >= 0)
            continue;
        r->place[i].x0 = (double)p->first;
        end = (double)(p->first + p->count);
    }
    for (int i = 0; i < r->f.phases; i++) {
        const struct run_phase *p = &r->f.phase[i];
        struct place *at = &r->place[i];
        if (p->parent < 0)
            continue;
        at->x0 = r->place[p->parent].x0 + (double)r->f.phase[p->parent].count;
        if (end > at->x0 && p->count > 0)
            at->scale = (end - at->x0) / (double)p->count;
    }
}

static double x_of(const struct run *r, int phase, const json_t *o)
{
    const struct place *at = &r->place[phase];
    return at->x0 + at->scale * (run_number(o, "step") - (double)r->f.phase[phase].first);
}

/* ---- series ---- */

static void add_point(struct series *s, double x, double y, double spread)
{
    if (s->n == s->cap) {
        size_t old = (size_t)s->cap * sizeof(double), new = old * 2 + 256 * sizeof(double);
        double **array[] = {&s->x, &s->y, &s->low, &s->high};
        for (int i = 0; i < 4; i++)
            *array[i] = mem_resize(*array[i], old, new);
        s->cap = (int)(new / sizeof(double));
    }
    s->x[s->n] = x;
    s->y[s->n] = y;
    s->low[s->n] = y - spread;
    s->high[s->n++] = y + spread;
}

enum which { ROLLOUTS, GOLD, ANY };

/* A key of the log over the main line, with a gap where the phase changes. */
static const struct series *from_log(struct run *r, const char *key, enum which which)
{
    struct series *s = &r->series[r->used++];
    int before = -1;
    size_t i;
    json_t *o;
    json_array_foreach(r->f.log, i, o)
    {
        int p = run_phase_of(&r->f, o);
        if (p < 0 || r->f.phase[p].parent >= 0 || (which != ANY && (which == GOLD) != r->f.phase[p].gold))
            continue;
        double x = x_of(r, p, o);
        if (before >= 0 && p != before)
            add_point(s, x, NAN, NAN);
        add_point(s, x, run_number(o, key), NAN);
        before = p;
    }
    return s;
}

/* A key of the evaluations: of the main line (branch -1), or of a branch, from the last one before it left. key_se may
 * be NULL. */
static const struct series *from_eval(struct run *r, const char *key, const char *key_se, int branch)
{
    struct series *s = &r->series[r->used++];
    double left = branch >= 0 ? r->place[branch].x0 : INFINITY;
    size_t i;
    json_t *o;
    json_array_foreach(r->f.eval, i, o)
    {
        int p = run_phase_of(&r->f, o);
        if (p < 0)
            continue;
        double x = x_of(r, p, o);
        int start = branch >= 0 && r->f.phase[p].parent < 0 && x == left && s->n == 0;
        int wanted = start || p == branch || (branch < 0 && r->f.phase[p].parent < 0);
        if (wanted && isfinite(run_number(o, key))) /* the small evaluations on the way lack some keys */
            add_point(s, x, run_number(o, key), key_se ? 2 * run_number(o, key_se) : NAN);
    }
    return s;
}

static int any(const struct series *s)
{
    for (int i = 0; i < s->n; i++)
        if (isfinite(s->y[i]))
            return 1;
    return 0;
}

/* ---- panels ---- */

static struct figure_panel *new_panel(struct run *r, const char *title, const char *y_label)
{
    struct figure_panel *p = &r->panel[r->panels];
    *p = (struct figure_panel){.title = title, .y_label = y_label, .line = r->line[r->panels]};
    r->panels++;
    return p;
}

static void add_line(struct figure_panel *p, const struct series *s, struct figure_line line)
{
    if (!any(s))
        return;
    line.points = s->n;
    line.x = s->x;
    line.y = s->y;
    ((struct figure_line *)p->line)[p->lines++] = line;
}

/* Many noisy points: their mean over a twentieth of them is what the eye should follow. */
static void add_log_line(struct figure_panel *p, const struct series *s, const char *label, int color)
{
    add_line(p, s, (struct figure_line){.label = label, .color = color, .smooth = s->n < 20 ? 0 : s->n / 40 + 1});
}

static void accuracy_lines(struct run *r, struct figure_panel *p)
{
    const struct series *s = from_eval(r, "accuracy", "accuracy_se", -1);
    add_line(p, s,
             (struct figure_line){.label = "accuracy, unseen prompts (greedy, \xc2\xb1 2 s.e.)",
                                  .color = 1,
                                  .dots = 1,
                                  .low = s->low,
                                  .high = s->high});
    if (r->pass[0])
        add_line(p, from_eval(r, r->pass, NULL, -1),
                 (struct figure_line){.label = r->pass, .color = 2, .dots = 1, .dashed = 1});
    for (int i = 0, color = 3; i < r->f.phases; i++)
        if (r->f.phase[i].parent >= 0) {
            snprintf(r->label[i], sizeof r->label[i], "accuracy, %s instead (%ld steps)", r->f.phase[i].name,
                     r->f.phase[i].count);
            add_line(p, from_eval(r, "accuracy", NULL, i),
                     (struct figure_line){.label = r->label[i], .color = color++, .dots = 1, .dashed = 1});
        }
    p->low = 0;
    p->high = 1;
}

static void reward_panels(struct run *r)
{
    const struct series *reward = from_log(r, "reward", ROLLOUTS), *accuracy = from_log(r, "accuracy", ROLLOUTS);
    int same = 1, wide = 0;
    for (int i = 0; i < reward->n; i++) {
        double y = reward->y[i];
        same = same && !(fabs(y - accuracy->y[i]) > 1e-9);
        wide = wide || y < -1 || y > 2; /* on one axis with shares those would be a flat line */
    }
    struct figure_panel *p =
        wide ? new_panel(r, "Reward", "reward") : new_panel(r, "Reward and accuracy", "reward, share right");
    add_log_line(p, reward, same ? "reward = accuracy, rollouts" : "reward, rollouts", 0);
    if (wide)
        p = new_panel(r, "Accuracy", "share right");
    if (!same)
        add_log_line(p, accuracy, "accuracy, rollouts", 5);
    accuracy_lines(r, p);
}

static void length_panel(struct run *r)
{
    struct figure_panel *p = new_panel(r, "Response length", "tokens");
    add_log_line(p, from_log(r, "length", ROLLOUTS), "rollouts", 0);
    add_line(p, from_eval(r, "length", NULL, -1),
             (struct figure_line){.label = "unseen prompts (greedy)", .color = 1, .dots = 1});
}

static void entropy_panel(struct run *r)
{
    struct figure_panel *p = new_panel(r, "Entropy of the policy", "nats per token");
    const struct series *loss = from_log(r, "loss", GOLD);
    if (any(loss))
        p->title = "Loss on worked examples, then entropy of the policy";
    add_log_line(p, loss, "loss on worked examples", 6);
    add_log_line(p, from_log(r, "entropy", ROLLOUTS), "entropy, rollouts", 4);
}

static void distance_panel(struct run *r)
{
    const struct series *kl = from_log(r, "kl", ROLLOUTS);
    int moves = 0;
    for (int i = 0; i < kl->n; i++)
        moves = moves || (isfinite(kl->y[i]) && kl->y[i] != 0);
    if (moves)
        add_log_line(new_panel(r, "KL divergence from the reference", "nats per token"), kl, "KL, rollouts", 3);
    else
        add_log_line(new_panel(r, "Size of the gradient", "2-norm"), from_log(r, "grad_norm", ANY), "before clipping",
                     3);
}

/* ---- texts ---- */

static void find_marks(struct run *r)
{
    int before = -1;
    for (int i = 0; i < r->f.phases; i++) {
        if (r->f.phase[i].parent >= 0)
            continue;
        if (before >= 0) {
            int warm_up = r->f.phase[before].gold && !r->f.phase[i].gold;
            const char *label = warm_up ? "warm-up ends" : r->f.phase[i].name;
            r->mark[r->marks++] = (struct figure_mark){r->place[i].x0, label};
        }
        before = i;
    }
}

static void find_texts(struct run *r)
{
    size_t i, n = json_array_size(r->f.eval);
    const json_t *first = NULL, *last = NULL;
    for (i = 0; i < n; i++) {
        const json_t *o = json_array_get(r->f.eval, i);
        const char *key;
        json_t *v;
        int p = run_phase_of(&r->f, o);
        json_object_foreach((json_t *)o, key, v) if (!strncmp(key, "pass@", 5) && !strstr(key, "_se") &&
                                                     strcmp(key, "pass@1") && !r->pass[0])
            snprintf(r->pass, sizeof r->pass, "%s", key);
        if (p < 0 || r->f.phase[p].parent >= 0 || !isfinite(run_number(o, "accuracy")))
            continue;
        first = first ? first : o;
        last = o;
    }
    if (first && first != last)
        snprintf(
            r->subtitle, sizeof r->subtitle,
            "Accuracy on %.0f unseen prompts (greedy): %.1f \xc2\xb1 %.1f %% at first, %.1f \xc2\xb1 %.1f %% at last",
            run_number(last, "prompts"), 100 * run_number(first, "accuracy"), 100 * run_number(first, "accuracy_se"),
            100 * run_number(last, "accuracy"), 100 * run_number(last, "accuracy_se"));
}

/* ---- the figure ---- */

/* What is to be seen is the reinforcement learning, however long the warm-up was. */
static void squeeze_warm_up(const struct run *r, struct figure *f)
{
    double end = 0, warm = 0;
    for (int i = 0; i < r->f.phases; i++) {
        const struct run_phase *p = &r->f.phase[i];
        const struct place *at = &r->place[i];
        end = fmax(end, at->x0 + at->scale * (double)p->count);
        if (p->gold && p->parent < 0 && at->x0 == warm)
            warm = at->x0 + (double)p->count;
    }
    if (warm < end && warm > 0.3 * end) {
        f->squeezed = warm;
        f->squeezed_share = 0.22;
        f->x_label = "optimiser step (warm-up drawn narrower)";
    }
}

static int draw(struct run *r, struct error *e)
{
    char path[1024];
    struct figure f = {.title = r->title,
                       .subtitle = r->subtitle[0] ? r->subtitle : NULL,
                       .x_label = "optimiser step",
                       .panel = r->panel,
                       .panels = r->panels,
                       .mark = r->mark,
                       .marks = r->marks,
                       .height = 100 + 200 * r->panels};
    squeeze_warm_up(r, &f);
    snprintf(path, sizeof path, "%s/curves.svg", r->f.dir);
    if (figure_svg(&f, path, e))
        return -1;
    memcpy(path + strlen(path) - 3, "png", 3);
    return figure_has_png ? figure_png(&f, path, e) : 0;
}

static void run_free(struct run *r)
{
    for (int i = 0; i < r->used; i++) {
        mem_free(r->series[i].x);
        mem_free(r->series[i].y);
        mem_free(r->series[i].low);
        mem_free(r->series[i].high);
    }
    run_close(&r->f);
    mem_free(r);
}

int report_curves(const char *run_dir, struct error *e)
{
    struct run *r = mem_alloc(1, sizeof *r);
    int status = run_read(&r->f, run_dir, e);
    if (!status) {
        const char *title = r->f.settings.title;
        snprintf(r->title, sizeof r->title, "%s%s%s", r->f.label, title[0] ? ": " : "", title);
        place_phases(r);
        find_marks(r);
        find_texts(r);
        reward_panels(r);
        length_panel(r);
        entropy_panel(r);
        distance_panel(r);
        status = draw(r, e);
    }
    run_free(r);
    return status;
}
