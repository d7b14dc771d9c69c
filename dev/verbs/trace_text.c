/* A trace as text for a terminal of 100 columns, in the order of the algorithm. Reads the object of trace.h alone. */
#include "trace.h"
#include <math.h>
#include <string.h>

enum { WIDTH = 100, INDENT = 4, LABEL = 12, CELL = 8, CELLS = 10, TENSORS = 8, MOST_PICKS = 64 };

struct view {
    FILE *f;
    const json_t *trace, *samples;
    int picked[MOST_PICKS], picks; /* samples whose tokens are shown */
    int section;
};

/* ---- lines ---- */

/* Words of visible text from column `at` on, broken at spaces where that is possible. */
static void wrap(FILE *f, int indent, int at, const char *s)
{
    while (*s) {
        int room = WIDTH - at, n = 0, cut = 0, columns = 0;
        for (; s[n] && s[n] != '\n'; n++) {
            columns += ((unsigned char)s[n] & 0xc0) != 0x80;
            if (columns > room)
                break;
            if (s[n] == ' ')
                cut = n;
        }
        int whole = !s[n] || s[n] == '\n', len = whole || cut == 0 ? n : cut;
        if (len == 0 && !whole)
            len = 1;
        fprintf(f, "%.*s\n", len, s);
        s += len;
        s += *s == '\n' || (!whole && *s == ' ');
        at = indent;
        if (*s)
            fprintf(f, "%*s", indent, "");
    }
}

static void paragraph(const struct view *v, const char *s)
{
    if (!s[0])
        return;
    fprintf(v->f, "%*s", INDENT, "");
    wrap(v->f, INDENT, INDENT, s);
}

/* label, then text that goes on below itself */
static void labelled(const struct view *v, const char *label, const char *s)
{
    int at = fprintf(v->f, "%*s%-*s ", INDENT, "", LABEL, label);
    wrap(v->f, at, at, s[0] ? s : "-");
}

static void heading(struct view *v, const char *title, const char *where)
{
    int at = fprintf(v->f, "\n%2d  %s", ++v->section, title), gap = WIDTH - at + 1 - (int)strlen(where);
    fprintf(v->f, "%*s%s\n", gap > 1 ? gap : 1, "", where);
}

static void section(struct view *v, const char *name)
{
    const struct trace_section *s = trace_section(name);
    struct text where = {0};
    trace_where(s, &where);
    heading(v, s->title, where.s);
    paragraph(v, s->sentence);
    text_free(&where);
}

static void stage_section(struct view *v, const json_t *stage)
{
    struct text title = {0};
    text_addf(&title, "%s = %s", trace_string(stage, "kind"), trace_string(stage, "name"));
    heading(v, title.s, trace_string(stage, "file"));
    text_clear(&title);
    paragraph(v, trace_string(stage, "sentence"));
    labelled(v, "formula", trace_string(stage, "formula"));
    trace_visible_json(json_object_get(stage, "params"), &title);
    if (title.len)
        labelled(v, "parameters", title.s);
    text_free(&title);
}

/* One number a sample, CELLS a line, the samples' numbers above. */
static void sample_cells(const struct view *v, const char *label, const json_t *list)
{
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i += CELLS) {
        size_t end = i + CELLS < n ? i + CELLS : n;
        fprintf(v->f, "%*s%-*s", INDENT, "", LABEL, "sample");
        for (size_t k = i; k < end; k++)
            fprintf(v->f, "%*zu", CELL, k);
        fprintf(v->f, "\n%*s%-*.*s", INDENT, "", LABEL, LABEL, label);
        for (size_t k = i; k < end; k++) {
            char buf[32];
            fprintf(v->f, "%*s", CELL, trace_short(trace_number(list, k), buf));
        }
        fputc('\n', v->f);
    }
}

/* One list a sample: one number where its tokens agree in every sample, else runs of equal numbers. */
static void sample_runs(const struct view *v, const char *label, const json_t *lists)
{
    struct text line = {0};
    json_t *constants = trace_constants(lists);
    if (constants) {
        sample_cells(v, label, constants);
        json_decref(constants);
        return;
    }
    for (size_t i = 0; i < json_array_size(lists); i++) {
        text_clear(&line);
        text_addf(&line, "%2zu: ", i);
        trace_runs(json_array_get(lists, i), &line);
        labelled(v, i ? "" : label, line.s);
    }
    text_free(&line);
}

/* A piece in quotes in a column: `width` wide, cut with a '~' when it is longer; width 0: as it is. */
static void piece(FILE *f, const json_t *string, int width, int left)
{
    struct text t = {0};
    text_add(&t, "'", 1);
    trace_visible_json(string, &t);
    text_add(&t, "'", 1);
    int columns = trace_columns(t.s), n = 0;
    if (width && columns > width) {
        for (int seen = 0; seen < width; n++)
            seen += ((unsigned char)t.s[n] & 0xc0) != 0x80;
        t.len = n - 1;
        text_add(&t, "~", 1);
        columns = width;
    }
    int gap = columns < width ? width - columns : 0;
    fprintf(f, "%*s%s%*s", left ? 0 : gap, "", t.s, left ? gap : 0, "");
    text_free(&t);
}

/* ---- tokens side by side ---- */

struct row {
    const char *label;
    const json_t *list; /* of this sample */
};

static void token_cells(const struct view *v, const json_t *pieces, const struct row *row, int rows)
{
    size_t n = json_array_size(pieces);
    for (size_t i = 0; i < n; i += CELLS) {
        size_t end = i + CELLS < n ? i + CELLS : n;
        fprintf(v->f, "%*s%-*s", INDENT, "", LABEL, "token");
        for (size_t k = i; k < end; k++) {
            fputc(' ', v->f);
            piece(v->f, json_array_get(pieces, k), CELL - 1, 0);
        }
        for (int r = 0; r < rows; r++) {
            fprintf(v->f, "\n%*s%-*.*s", INDENT, "", LABEL, LABEL, row[r].label);
            for (size_t k = i; k < end; k++) {
                char buf[32];
                fprintf(v->f, "%*s", CELL, trace_short(trace_number(row[r].list, k), buf));
            }
        }
        fputs("\n", v->f);
    }
}

static const json_t *sample(const struct view *v, int i)
{
    return json_array_get(v->samples, (size_t)i);
}

/* ---- prompt and rollout ---- */

static void ids_line(const struct view *v, const char *label, const json_t *ids, const json_t *pieces)
{
    struct text line = {0};
    text_add(&line, "", 0);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        text_addf(&line, "%s%d'", i ? " " : "", (int)trace_number(ids, i));
        trace_visible_json(json_array_get(pieces, i), &line);
        text_add(&line, "'", 1);
    }
    labelled(v, label, line.s);
    text_free(&line);
}

static void text_line(const struct view *v, const char *label, const json_t *string)
{
    struct text line = {0};
    trace_visible_json(string, &line);
    labelled(v, label, line.s);
    text_free(&line);
}

static void show_prompt(struct view *v)
{
    const json_t *p = json_object_get(v->trace, "prompt");
    section(v, "prompt");
    text_line(v, "text", json_object_get(p, "text"));
    text_line(v, "answer", json_object_get(p, "answer"));
    ids_line(v, "ids, tokens", json_object_get(p, "ids"), json_object_get(p, "pieces"));
}

static const char *verdict_of(const json_t *s)
{
    static const char *const names[] = {"unparsable", "wrong", "right"};
    return names[(int)trace_member(s, "verdict") + 1];
}

static void show_responses(const struct view *v, int gold)
{
    fprintf(v->f, "    %6s %6s %9s  %-10s %s\n", "sample", "tokens", gold ? "" : "log-prob", "verdict", "text");
    for (size_t i = 0; i < json_array_size(v->samples); i++) {
        const json_t *s = json_array_get(v->samples, i);
        struct text line = {0};
        char buf[32];
        trace_visible_json(json_object_get(s, "text"), &line);
        if (json_is_true(json_object_get(s, "truncated")))
            text_add(&line, " [cut off]", -1);
        int at = fprintf(v->f, "    %6zu %6zu %9s  %-10s ", i, json_array_size(json_object_get(s, "ids")),
                         gold ? "" : trace_short(trace_sum(json_object_get(s, "logp_rollout")), buf), verdict_of(s));
        wrap(v->f, at, at, line.len ? line.s : "(nothing)");
        text_free(&line);
    }
}

static void show_rollout(struct view *v)
{
    int gold = strcmp(trace_string(v->trace, "source"), "gold") == 0;
    section(v, gold ? "gold" : "rollout");
    show_responses(v, gold);
    for (int i = 0; i < v->picks && !gold; i++) {
        const json_t *s = sample(v, v->picked[i]);
        struct row row = {"logp", json_object_get(s, "logp_rollout")};
        fprintf(v->f, "    sample %d, log-probability of each token as it was drawn:\n", v->picked[i]);
        token_cells(v, json_object_get(s, "pieces"), &row, 1);
    }
}

/* ---- stages before the loss ---- */

static void show_component(const struct view *v, const json_t *c)
{
    const json_t *values = json_object_get(c, "values");
    const char *name = trace_string(c, "name");
    if (json_is_array(json_array_get(values, 0)))
        sample_runs(v, name, values);
    else
        sample_cells(v, name, values);
}

static void show_stage(struct view *v, const json_t *stage)
{
    static const char *const a_sample[] = {"reward", "kept", "weight"};
    static const char *const a_token[] = {"token_reward", "returns", "advantage"};
    static const char *const token_label[] = {"token reward", "returns", "advantage"};
    const json_t *component;
    size_t i;
    stage_section(v, stage);
    json_array_foreach(json_object_get(stage, "components"), i, component)
    {
        show_component(v, component);
    }
    for (int k = 0; k < 3; k++) {
        const json_t *list = json_object_get(stage, a_sample[k]);
        if (list)
            sample_cells(v, a_sample[k], list);
    }
    for (int k = 0; k < 3; k++)
        if (json_object_get(stage, a_token[k]))
            sample_runs(v, token_label[k], json_object_get(stage, a_token[k]));
}

/* ---- an update ---- */

static void show_forward(struct view *v, const json_t *update)
{
    const json_t *channels = json_object_get(update, "channels"), *lists;
    const char *name;
    section(v, "forward");
    for (int i = 0; i < v->picks; i++) {
        struct row row[24];
        int rows = 0;
        size_t s = (size_t)v->picked[i];
        json_object_foreach((json_t *)(uintptr_t)channels, name, lists)
        {
            if (rows < 23)
                row[rows++] = (struct row){strncmp(name, "policy.", 7) ? name : name + 7, json_array_get(lists, s)};
        }
        if (json_object_get(update, "ratio"))
            row[rows++] = (struct row){"ratio", json_array_get(json_object_get(update, "ratio"), s)};
        fprintf(v->f, "    sample %d, in nats (logp and entropy of the policy; ratio: exp(logp - logp_old)):\n",
                v->picked[i]);
        token_cells(v, json_object_get(sample(v, (int)s), "pieces"), row, rows);
    }
}

static void show_loss_stage(struct view *v, const json_t *stage)
{
    char part[32], own[32];
    const json_t *lists;
    const char *name;
    stage_section(v, stage);
    fprintf(v->f, "    %-12s %s over the whole optimiser step, %s of it from this group\n", "adds",
            trace_short(trace_member(stage, "part"), part), trace_short(trace_member(stage, "group_part"), own));
    json_object_foreach(json_object_get(stage, "gradients"), name, lists)
    {
        fprintf(v->f, "    d loss / d %s, after this stage:\n", name);
        sample_runs(v, "each token", lists);
    }
}

static void show_loss(struct view *v, const json_t *update)
{
    const json_t *losses = json_object_get(update, "losses"), *d = json_object_get(update, "denominators");
    struct text line = {0};
    text_addf(&line, "%.9g =", trace_member(update, "loss"));
    for (size_t i = 0; i < json_array_size(losses); i++) {
        const json_t *s = json_array_get(losses, i);
        text_addf(&line, "%s %.6g (%s)", i ? " +" : "", trace_member(s, "part"), trace_string(s, "name"));
    }
    labelled(v, "loss", line.s);
    fprintf(v->f, "    %-12s %.0f trained tokens of %.0f responses in %.0f groups; at most %.0f tokens a response\n",
            "averaged over", trace_member(d, "tokens"), trace_member(d, "sequences"), trace_member(d, "groups"),
            trace_member(d, "longest"));
    text_free(&line);
}

/* The tensors whose gradient is longest. */
static void show_tensors(const struct view *v, const json_t *tensors)
{
    size_t n = json_array_size(tensors);
    double below = INFINITY;
    fprintf(v->f, "    longest gradients:\n");
    for (int k = 0; k < TENSORS; k++) {
        const json_t *best = NULL;
        double largest = -1;
        for (size_t i = 0; i < n; i++) {
            double x = trace_member(json_array_get(tensors, i), "norm");
            if (x < below && x > largest) {
                largest = x;
                best = json_array_get(tensors, i);
            }
        }
        if (!best)
            break;
        below = largest;
        fprintf(v->f, "      %-20s %10.0f numbers, norm %.4g\n", trace_string(best, "name"),
                trace_member(best, "parameters"), largest);
    }
}

static void show_step(struct view *v, const json_t *update)
{
    const json_t *o = json_object_get(update, "optimiser");
    section(v, "backward");
    fprintf(v->f, "    %-12s %.9g (2-norm over all weights)\n", "norm", trace_member(update, "grad_norm"));
    show_tensors(v, json_object_get(update, "tensors"));
    section(v, "update");
    fprintf(v->f, "    %-12s %.6g: the gradient is multiplied by it (optim.clip = %g)\n", "clip factor",
            trace_member(update, "clip_factor"), trace_member(update, "clip"));
    fprintf(v->f, "    %-12s %.6g\n", "rate", trace_member(update, "lr"));
    fprintf(v->f, "    %-12s beta1 %g, beta2 %g, eps %g, weight decay %g, step %.0f of its moments\n", "AdamW",
            trace_member(o, "beta1"), trace_member(o, "beta2"), trace_member(o, "eps"), trace_member(o, "weight_decay"),
            trace_member(o, "steps") + 1);
}

static void show_tokens(struct view *v, const json_t *update, int picked)
{
    size_t s = (size_t)picked;
    const json_t *pieces = json_object_get(sample(v, picked), "pieces"),
                 *channels = json_object_get(update, "channels");
    const json_t *logp = json_object_get(channels, "policy.logp"), *after = json_object_get(update, "logp_after");
    const json_t *advantage = trace_last(json_object_get(v->trace, "stages"), "advantage");
    const json_t *glogp = trace_gradient(update, "policy.logp"), *gentropy = trace_gradient(update, "policy.entropy");
    const json_t *ratio = json_object_get(update, "ratio"), *held = json_object_get(update, "held");
    fprintf(v->f, "    sample %d\n    %3s %-12s %9s %9s %8s %5s %11s %11s %9s %9s\n", picked, "", "token", "logp",
            "advantage", "ratio", "clip", "dL/dlogp", gentropy ? "dL/dentropy" : "", "logp now", "change");
    for (size_t k = 0; k < json_array_size(pieces); k++) {
        char a[32], b[32], c[32], d[32], g[32], h[32], n[32];
        double before = trace_at(logp, s, k), now = trace_at(after, s, k);
        fprintf(v->f, "    %3zu ", k);
        piece(v->f, json_array_get(pieces, k), 12, 1);
        fprintf(v->f, " %9s %9s %8s %5s %11s %11s %9s %9s\n", trace_short(before, a),
                trace_short(trace_at(advantage, s, k), b), trace_short(trace_at(ratio, s, k), c),
                trace_at(held, s, k) == 1 ? "clip" : "", trace_short(trace_at(glogp, s, k), g),
                gentropy ? trace_short(trace_at(gentropy, s, k), h) : "", trace_short(now, d),
                trace_short(now - before, n));
    }
}

static void show_after(struct view *v, const json_t *update)
{
    const json_t *after = json_object_get(update, "logp_after");
    const json_t *logp = json_object_get(json_object_get(update, "channels"), "policy.logp");
    json_t *was = trace_sums(logp), *now = trace_sums(after), *change = trace_differences(now, was);
    section(v, "after");
    fprintf(v->f, "    change of the log-probability of each response as a whole:\n");
    sample_cells(v, "change", change);
    json_decref(was);
    json_decref(now);
    json_decref(change);
    for (int i = 0; i < v->picks; i++)
        show_tokens(v, update, v->picked[i]);
}

static void show_moved(const struct view *v, const char *label, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i), *p = json_object_get(o, "p"), *z = json_object_get(o, "logit");
        fprintf(v->f, "      %-5s ", i ? "" : label);
        piece(v->f, json_object_get(o, "piece"), 14, 1);
        fprintf(v->f, " p %.6f -> %.6f   logit %+9.4f -> %+9.4f\n", trace_number(p, 0), trace_number(p, 1),
                trace_number(z, 0), trace_number(z, 1));
    }
}

static void show_moves(struct view *v, const json_t *update)
{
    const json_t *moves = json_object_get(update, "moves");
    section(v, "moves");
    if (json_array_size(moves) == 0)
        paragraph(v, "No token of this group has a gradient.");
    for (size_t i = 0; i < json_array_size(moves); i++) {
        const json_t *m = json_array_get(moves, i);
        struct text line = {0};
        char buf[32];
        text_addf(&line, "sample %.0f, token %.0f: ", trace_member(m, "sample"), trace_member(m, "token"));
        trace_context(v->trace, m, &line);
        text_add(&line, " [", 2);
        trace_visible_json(json_object_get(m, "piece"), &line);
        text_addf(&line, "] was drawn; d loss / d logp %s", trace_short(trace_member(m, "gradient"), buf));
        paragraph(v, line.s);
        text_free(&line);
        show_moved(v, "up", json_object_get(m, "up"));
        show_moved(v, "down", json_object_get(m, "down"));
    }
}

static void show_update(struct view *v, const json_t *update)
{
    const json_t *losses = json_object_get(update, "losses");
    fprintf(v->f, "\n--- update %.0f of the step, on %.0f groups ---\n", trace_member(update, "number") + 1,
            trace_member(update, "groups"));
    show_forward(v, update);
    for (size_t i = 0; i < json_array_size(losses); i++)
        show_loss_stage(v, json_array_get(losses, i));
    show_loss(v, update);
    show_step(v, update);
    show_after(v, update);
    show_moves(v, update);
}

static void show_title(const struct view *v)
{
    const json_t *t = v->trace;
    struct text line = {0};
    text_add(&line, "trace of ", -1);
    trace_visible_json(json_object_get(t, "recipe"), &line);
    text_addf(&line, ": ");
    trace_visible_json(json_object_get(t, "title"), &line);
    wrap(v->f, 0, 0, line.s);
    text_free(&line);
    fprintf(v->f,
            "step %.0f of phase %s (step %.0f of the run), group %.0f of %.0f; seed %.0f, operations %s, task %s\n",
            trace_member(t, "phase_step"), trace_string(t, "phase"), trace_member(t, "step"), trace_member(t, "group"),
            trace_member(t, "groups"), trace_member(t, "seed"), trace_string(t, "operations"), trace_string(t, "task"));
}

void trace_text(FILE *f, const json_t *trace, int samples)
{
    struct view v = {.f = f, .trace = trace, .samples = json_object_get(trace, "samples")};
    const json_t *stages = json_object_get(trace, "stages"), *updates = json_object_get(trace, "updates");
    v.picks = trace_pick(trace, samples < MOST_PICKS ? samples : MOST_PICKS, v.picked);
    show_title(&v);
    show_prompt(&v);
    show_rollout(&v);
    for (size_t i = 0; i < json_array_size(stages); i++)
        show_stage(&v, json_array_get(stages, i));
    for (size_t i = 0; i < json_array_size(updates); i++)
        show_update(&v, json_array_get(updates, i));
    if (json_array_size(updates) == 0)
        paragraph(&v, "\nNo sample of this group is kept: it takes no part in an update.");
}
