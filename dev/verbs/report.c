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
#include "../../model/base/file.h"
#include "../../model/base/json.h"
#include "../../model/base/mem.h"
#include "../../rewards/recipe.h"
#include "figure.h"
#include "report.h"

enum { MAX_LOG = 1 << 30, MAX_LINES = 8 + MAX_PHASES, MAX_PANELS = 5, MAX_SERIES = 40 };

struct phase_span {
    char name[32];
    int gold;   /* no rollouts: a warm-up */
    int parent; /* of a branch: number of the phase it left from; -1: main line */
    long first, count;
    double x0, scale; /* where its first step stands on the axis; length of a step there */
};
struct series {
    int n, cap;
    double *x, *y, *low, *high; /* low, high: NULL without standard errors */
};
struct run {
    const char *dir;
    json_t *log, *eval; /* arrays of objects */
    struct phase_span phase[MAX_PHASES];
    int phases;
    char title[256], subtitle[256], pass[24]; /* pass: the key "pass@k", or "" */
    char label[MAX_PHASES][80];
    struct series series[MAX_SERIES]; /* what the figure's lines point to */
    int used;
    struct figure_line line[MAX_PANELS][MAX_LINES];
    struct figure_panel panel[MAX_PANELS];
    int panels;
    struct figure_mark mark[MAX_PHASES];
    int marks;
};

/* ---- reading ---- */

static int read_lines(json_t **out, const char *dir, const char *file, int required, struct error *e)
{
    char path[1024];
    size_t len;
    *out = json_array();
    if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
        return fail(e, "%.200s...: the path is too long", dir);
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

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static int phase_of(const struct run *r, const json_t *o)
{
    const char *name = json_get_string(o, "phase", "");
    for (int i = 0; i < r->phases; i++)
        if (!strcmp(r->phase[i].name, name))
            return i;
    return -1;
}

/* Phases in the order in which they ran. */
static void find_phases(struct run *r, const json_t *lines, int is_log)
{
    size_t i;
    json_t *o;
    json_array_foreach((json_t *)lines, i, o)
    {
        int p = phase_of(r, o);
        double step = number(o, "step");
        if (p < 0 && r->phases < MAX_PHASES && isfinite(step)) {
            p = r->phases++;
            struct phase_span *s = &r->phase[p];
            *s = (struct phase_span){.gold = is_log, .parent = -1, .first = (long)step};
            snprintf(s->name, sizeof s->name, "%s", json_get_string(o, "phase", ""));
        }
        if (p >= 0 && is_log) {
            r->phase[p].count = (long)step - r->phase[p].first + 1;
            r->phase[p].gold = r->phase[p].gold && !isfinite(number(o, "reward"));
        }
    }
}

/* What only the recipe says: its title, and which phases are branches. A run whose recipe this build no longer
 * understands is drawn without. */
static void read_recipe(struct run *r)
{
    char path[1024];
    struct error ignored;
    struct recipe *recipe = mem_alloc(1, sizeof *recipe);
    const char *base = strrchr(r->dir, '/');
    snprintf(r->title, sizeof r->title, "%s", base && base[1] ? base + 1 : r->dir);
    snprintf(path, sizeof path, "%s/recipe.ini", r->dir);
    if (file_size(path) >= 0 && !recipe_load(recipe, path, NULL, 0, &ignored)) {
        size_t len = strlen(r->title);
        if (recipe->title && recipe->title[0])
            snprintf(r->title + len, sizeof r->title - len, ": %s", recipe->title);
        for (int i = 0; i < recipe->phases; i++)
            for (int k = 0, p; k < r->phases; k++)
                for (p = 0; p < r->phases && !strcmp(recipe->phase[i].name, r->phase[k].name); p++)
                    if (!strcmp(recipe->phase[i].branch, r->phase[p].name))
                        r->phase[k].parent = p;
        recipe_free(recipe);
    }
    mem_free(recipe);
}

/* The main line's steps count on as if the branches between them had not been; the branches stand beside it. */
static void place_phases(struct run *r)
{
    double end = 0;
    for (int i = 0; i < r->phases; i++) {
        struct phase_span *p = &r->phase[i];
        p->scale = 1;
        if (p->parent >= i)
            p->parent = -1;
        if (p->parent >= 0)
            continue;
        p->x0 = (double)p->first;
        end = p->x0 + (double)p->count;
    }
    for (int i = 0; i < r->phases; i++) {
        struct phase_span *p = &r->phase[i];
        if (p->parent < 0)
            continue;
        p->x0 = r->phase[p->parent].x0 + (double)r->phase[p->parent].count;
        if (end > p->x0 && p->count > 0)
            p->scale = (end - p->x0) / (double)p->count;
    }
}

static double x_of(const struct phase_span *p, const json_t *o)
{
    return p->x0 + p->scale * (number(o, "step") - (double)p->first);
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
    json_array_foreach(r->log, i, o)
    {
        int p = phase_of(r, o);
        if (p < 0 || r->phase[p].parent >= 0 || (which != ANY && (which == GOLD) != r->phase[p].gold))
            continue;
        double x = x_of(&r->phase[p], o);
        if (before >= 0 && p != before)
            add_point(s, x, NAN, NAN);
        add_point(s, x, number(o, key), NAN);
        before = p;
    }
    return s;
}

/* A key of the evaluations: of the main line (branch -1), or of a branch, from the last one before it left. key_se may
 * be NULL. */
static const struct series *from_eval(struct run *r, const char *key, const char *key_se, int branch)
{
    struct series *s = &r->series[r->used++];
    double left = branch >= 0 ? r->phase[branch].x0 : INFINITY;
    size_t i;
    json_t *o;
    json_array_foreach(r->eval, i, o)
    {
        int p = phase_of(r, o);
        if (p < 0)
            continue;
        double x = x_of(&r->phase[p], o);
        int start = branch >= 0 && r->phase[p].parent < 0 && x == left && s->n == 0;
        int wanted = start || p == branch || (branch < 0 && r->phase[p].parent < 0);
        if (wanted && isfinite(number(o, key))) /* the small evaluations on the way lack some keys */
            add_point(s, x, number(o, key), key_se ? 2 * number(o, key_se) : NAN);
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
    for (int i = 0, color = 3; i < r->phases; i++)
        if (r->phase[i].parent >= 0) {
            snprintf(r->label[i], sizeof r->label[i], "accuracy, %s instead (%ld steps)", r->phase[i].name,
                     r->phase[i].count);
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
    for (int i = 0; i < r->phases; i++) {
        if (r->phase[i].parent >= 0)
            continue;
        if (before >= 0) {
            int warm_up = r->phase[before].gold && !r->phase[i].gold;
            const char *label = warm_up ? "warm-up ends" : r->phase[i].name;
            r->mark[r->marks++] = (struct figure_mark){r->phase[i].x0, label};
        }
        before = i;
    }
}

static void find_texts(struct run *r)
{
    size_t i, n = json_array_size(r->eval);
    const json_t *first = NULL, *last = NULL;
    for (i = 0; i < n; i++) {
        const json_t *o = json_array_get(r->eval, i);
        const char *key;
        json_t *v;
        int p = phase_of(r, o);
        json_object_foreach((json_t *)o, key, v) if (!strncmp(key, "pass@", 5) && !strstr(key, "_se") &&
                                                     strcmp(key, "pass@1") && !r->pass[0])
            snprintf(r->pass, sizeof r->pass, "%s", key);
        if (p < 0 || r->phase[p].parent >= 0 || !isfinite(number(o, "accuracy")))
            continue;
        first = first ? first : o;
        last = o;
    }
    if (first && first != last)
        snprintf(
            r->subtitle, sizeof r->subtitle,
            "Accuracy on %.0f unseen prompts (greedy): %.1f \xc2\xb1 %.1f %% at first, %.1f \xc2\xb1 %.1f %% at last",
            number(last, "prompts"), 100 * number(first, "accuracy"), 100 * number(first, "accuracy_se"),
            100 * number(last, "accuracy"), 100 * number(last, "accuracy_se"));
}

/* ---- the figure ---- */

/* What is to be seen is the reinforcement learning, however long the warm-up was. */
static void squeeze_warm_up(const struct run *r, struct figure *f)
{
    double end = 0, warm = 0;
    for (int i = 0; i < r->phases; i++) {
        const struct phase_span *p = &r->phase[i];
        end = fmax(end, p->x0 + p->scale * (double)p->count);
        if (p->gold && p->parent < 0 && p->x0 == warm)
            warm = p->x0 + (double)p->count;
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
    if (snprintf(path, sizeof path, "%s/curves.svg", r->dir) >= (int)sizeof path)
        return fail(e, "%.200s...: the path is too long", r->dir);
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
    json_decref(r->log);
    json_decref(r->eval);
    mem_free(r);
}

int report_curves(const char *run_dir, struct error *e)
{
    struct run *r = mem_alloc(1, sizeof *r);
    r->dir = run_dir;
    int status = read_lines(&r->log, run_dir, "log.jsonl", 1, e);
    if (!status)
        status = read_lines(&r->eval, run_dir, "eval.jsonl", 0, e);
    if (!status) {
        find_phases(r, r->log, 1);
        find_phases(r, r->eval, 0);
        read_recipe(r);
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
