/* A trace as one self-contained page: no script, nothing fetched, light and dark. Reads the object of trace.h alone.
 * Every text passes through escaped(), so that nothing a model wrote becomes markup; every element is closed.
 */
#include "trace.h"
#include <math.h>
#include <string.h>

struct page {
    FILE *f;
    const json_t *trace, *samples, *stages;
    int section;
};

/* What a token can be coloured by: variables of its style. The first is what the page opens with. */
enum { BY_ADVANTAGE, BY_GRADIENT, BY_CHANGE, BY_SURPRISE, COLOURS };
static const struct {
    const char *key, *label, *legend;
} colours[COLOURS] = {
    {"a", "advantage", "blue: better than its group, orange: worse"},
    {"g", "d loss / d logp", "blue: the loss wants it likelier, orange: less likely"},
    {"c", "change by the update", "blue: likelier now, orange: less likely"},
    {"s", "surprise", "the darker, the less likely the token was when it was drawn"},
};

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#5d6673;--line:#d9dee5;--card:#f6f8fa;--blue:#2563eb;"
    "--orange:#d9580d;--good:#1a7f37;--bad:#b42318}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#0e1116;--fg:#e4e8ee;--dim:#98a2b0;--line:#2c333d;--card:#161b22;"
    "--blue:#6ea0ff;--orange:#ff9d5c;--good:#5bd17a;--bad:#ff8a80}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:72rem;padding:1.5rem 1rem 6rem;background:var(--bg);"
    "color:var(--fg);font:16px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:0}h3{font-size:.95rem;margin:1rem 0 .3rem}p{margin:.3rem "
    "0}"
    ".dim,.where,caption,th{color:var(--dim)}\n"
    "section{border-top:1px solid var(--line);padding:1.2rem 0 .4rem;margin-top:1rem}"
    "section>header{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem}\n"
    "code,td,.tok,.where,.f{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.84rem}"
    ".f{background:var(--card);border-left:3px solid var(--line);padding:.35rem .7rem;margin:.4rem 0;overflow-wrap:"
    "anywhere}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .6rem;text-align:right;"
    "vertical-align:top;white-space:nowrap;border-bottom:1px solid var(--line)}th{font-weight:500;font-size:.84rem}"
    "td.l,th.l{text-align:left}td.w{white-space:normal;min-width:18rem}\n"
    ".right{color:var(--good)}.wrong,.unparsable{color:var(--bad)}.out{opacity:.45}\n"
    ".tok{line-height:2.1;overflow-wrap:anywhere}.t{position:relative;padding:.18rem .12rem;margin-right:1px;"
    "border-radius:3px;background:var(--a);white-space:pre-wrap;unicode-bidi:isolate}\n"
    ".t:hover{outline:2px solid var(--blue)}.t:hover::after{content:attr(data-n);position:absolute;left:0;top:1.9rem;"
    "z-index:9;white-space:pre;background:var(--card);color:var(--fg);border:1px solid var(--line);border-radius:6px;"
    "padding:.4rem .6rem;line-height:1.45;box-shadow:0 4px 14px #0004;pointer-events:none}\n"
    ".by{position:absolute;opacity:0}.by+label{display:inline-block;padding:.15rem .7rem;margin:.5rem .3rem 0 0;"
    "border:1px solid var(--line);border-radius:1rem;font-size:.85rem;cursor:pointer}"
    ".by:checked+label{background:var(--blue);border-color:var(--blue);color:var(--bg)}"
    ".by:focus-visible+label{outline:2px solid var(--orange)}.legend{display:none}\n"
    ".drawn{border-bottom:2px solid var(--blue)}.bar{width:14rem;text-align:left}.bar "
    "i{display:block;height:5px;margin:2px 0;background:var(--dim);opacity:.5}"
    ".bar i.now{background:var(--blue);opacity:1}.up{color:var(--blue)}.down{color:var(--orange)}\n"
    ".keys{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;margin:.8rem 0 0}.keys div{line-height:1.25}"
    ".keys b{display:block;font-weight:600;font-family:ui-monospace,Menlo,Consolas,monospace}.keys "
    "span{font-size:.8rem;"
    "color:var(--dim)}\n";

/* ---- text ---- */

static void entities(FILE *f, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        case '\'':
            fputs("&#39;", f);
            break;
        default:
            fputc(*s, f);
        }
}

static void escaped(FILE *f, const char *s)
{
    struct text t = {0};
    text_add(&t, "", 0);
    trace_visible(s, (int)strlen(s), &t);
    entities(f, t.s);
    text_free(&t);
}

static void escaped_json(FILE *f, const json_t *string)
{
    struct text t = {0};
    trace_visible_json(string, &t);
    entities(f, t.s);
    text_free(&t);
}

static void escaped_member(const struct page *p, const json_t *o, const char *key)
{
    escaped_json(p->f, json_object_get(o, key));
}

/* ---- sections ---- */

static void open_section(struct page *p, const char *title, const char *where, const char *sentence)
{
    fprintf(p->f, "<section><header><h2>%d. ", ++p->section);
    escaped(p->f, title);
    fputs("</h2><span class=\"where\">", p->f);
    escaped(p->f, where);
    fputs("</span></header>\n<p>", p->f);
    escaped(p->f, sentence);
    fputs("</p>\n", p->f);
}

static void close_section(const struct page *p)
{
    fputs("</section>\n", p->f);
}

static void fixed_section(struct page *p, const char *name)
{
    const struct trace_section *s = trace_section(name);
    struct text where = {0};
    trace_where(s, &where);
    open_section(p, s->title, where.s, s->sentence);
    text_free(&where);
}

static void stage_section(struct page *p, const json_t *stage)
{
    struct text title = {0};
    text_addf(&title, "%s = %s", trace_string(stage, "kind"), trace_string(stage, "name"));
    open_section(p, title.s, trace_string(stage, "file"), trace_string(stage, "sentence"));
    fputs("<p class=\"f\">", p->f);
    escaped_member(p, stage, "formula");
    fputs("</p>\n", p->f);
    if (trace_string(stage, "params")[0]) {
        fputs("<p class=\"dim\">", p->f);
        escaped_member(p, stage, "params");
        fputs("</p>\n", p->f);
    }
    if (trace_string(stage, "citation")[0]) {
        fputs("<p class=\"dim\">After ", p->f);
        escaped_member(p, stage, "citation");
        fputs("</p>\n", p->f);
    }
    text_free(&title);
}

static void key_number(const struct page *p, const char *label, double x, const char *format)
{
    fputs("<div><b>", p->f);
    if (isnan(x))
        fputs("-", p->f);
    else
        fprintf(p->f, format, x);
    fputs("</b><span>", p->f);
    escaped(p->f, label);
    fputs("</span></div>\n", p->f);
}

/* ---- tables: one column a sample ---- */

static void open_table(const struct page *p)
{
    fputs("<div class=\"scroll\"><table><tr><th class=\"l\">sample</th>", p->f);
    for (size_t i = 0; i < json_array_size(p->samples); i++)
        fprintf(p->f, "<th>%zu</th>", i);
    fputs("</tr>\n", p->f);
}

static void table_row(const struct page *p, const char *label, const json_t *list)
{
    fputs("<tr><th class=\"l\">", p->f);
    escaped(p->f, label);
    fputs("</th>", p->f);
    for (size_t i = 0; i < json_array_size(p->samples); i++) {
        char buf[32];
        fprintf(p->f, "<td>%s</td>", trace_short(trace_number(list, i), buf));
    }
    fputs("</tr>\n", p->f);
}

static void close_table(const struct page *p)
{
    fputs("</table></div>\n", p->f);
}

/* A row of a table that its first row opens. */
static void add_row(const struct page *p, int *open, const char *label, const json_t *list)
{
    if (!(*open)++)
        open_table(p);
    table_row(p, label, list);
}

/* One line a sample: its numbers by runs of equal ones. */
static void runs_table(const struct page *p, const char *label, const json_t *lists)
{
    fputs("<div class=\"scroll\"><table><tr><th>sample</th><th class=\"l\">", p->f);
    escaped(p->f, label);
    fputs("</th></tr>\n", p->f);
    for (size_t i = 0; i < json_array_size(lists); i++) {
        struct text line = {0};
        trace_runs(json_array_get(lists, i), &line);
        fprintf(p->f, "<tr><td>%zu</td><td class=\"l w\">%s</td></tr>\n", i, line.s);
        text_free(&line);
    }
    close_table(p);
}

/* Numbers of tokens, or of steps: a row of the open table where those of every sample agree, else a table of their own.
 */
static void token_rows(const struct page *p, int *open, const char *label, const json_t *lists)
{
    json_t *constants = trace_constants(lists);
    if (constants) {
        add_row(p, open, label, constants);
    } else {
        if (*open)
            close_table(p);
        *open = 0;
        runs_table(p, label, lists);
    }
    json_decref(constants);
}

static void end_rows(const struct page *p, int open)
{
    if (open)
        close_table(p);
}

/* ---- tokens ---- */

/* The numbers of the tokens of an update, and the largest of each kind, for the depth of colours. */
struct numbers {
    const json_t *channels, *ratio, *held, *gradient, *after, *advantage;
    double most[COLOURS];
};

static double colour_value(const struct page *p, const struct numbers *n, int by, size_t i, size_t k)
{
    double logp = trace_at(json_object_get(n->channels, "policy.logp"), i, k);
    if (isnan(logp))
        logp = trace_number(json_object_get(json_array_get(p->samples, i), "logp_rollout"), k);
    double x = by == BY_ADVANTAGE  ? trace_at(n->advantage, i, k)
               : by == BY_GRADIENT ? -trace_at(n->gradient, i, k)
               : by == BY_CHANGE   ? trace_at(n->after, i, k) - logp
                                   : -logp;
    return isfinite(x) ? x : 0;
}

static struct numbers update_numbers(const struct page *p, const json_t *update)
{
    struct numbers n = {.channels = json_object_get(update, "channels"),
                        .ratio = json_object_get(update, "ratio"),
                        .held = json_object_get(update, "held"),
                        .gradient = trace_gradient(update, "policy.logp"),
                        .after = json_object_get(update, "logp_after"),
                        .advantage = trace_last(p->stages, "advantage")};
    for (size_t i = 0; i < json_array_size(p->samples); i++)
        for (size_t k = 0; k < json_array_size(json_object_get(json_array_get(p->samples, i), "ids")); k++)
            for (int by = 0; by < COLOURS; by++)
                n.most[by] = fmax(n.most[by], fabs(colour_value(p, &n, by, i, k)));
    return n;
}

static void token_style(const struct page *p, const struct numbers *n, size_t i, size_t k)
{
    for (int by = 0; by < COLOURS; by++) {
        double x = colour_value(p, n, by, i, k), share = n->most[by] > 0 ? fabs(x) / n->most[by] : 0;
        fprintf(p->f, "--%s:rgb(%s/%.2f);", colours[by].key,
                by == BY_SURPRISE ? "128 110 170"
                : x < 0           ? "234 98 22"
                                  : "59 118 246",
                share > 0 ? 0.06 + 0.6 * share : 0);
    }
}

static void number_line(const struct page *p, const char *label, double x)
{
    char buf[32];
    if (isnan(x))
        return;
    fputs("&#10;", p->f);
    escaped(p->f, label);
    fprintf(p->f, " %s", trace_short(x, buf));
}

static void token_numbers(const struct page *p, const struct numbers *n, size_t i, size_t k)
{
    const json_t *s = json_array_get(p->samples, i), *lists;
    const char *name;
    fprintf(p->f, "token %zu, id %.0f", k, trace_number(json_object_get(s, "ids"), k));
    number_line(p, "logp when drawn", trace_number(json_object_get(s, "logp_rollout"), k));
    json_object_foreach((json_t *)(uintptr_t)n->channels, name, lists)
    {
        number_line(p, name, trace_at(lists, i, k));
    }
    number_line(p, "advantage", trace_at(n->advantage, i, k));
    number_line(p, "ratio", trace_at(n->ratio, i, k));
    if (trace_at(n->held, i, k) == 1)
        fputs("&#10;clipped: no gradient", p->f);
    number_line(p, "d loss / d logp", trace_at(n->gradient, i, k));
    number_line(p, "logp after the update", trace_at(n->after, i, k));
    if (n->after)
        number_line(p, "change",
                    trace_at(n->after, i, k) - trace_at(json_object_get(n->channels, "policy.logp"), i, k));
}

static void sample_tokens(const struct page *p, const struct numbers *n, size_t i)
{
    const json_t *pieces = json_object_get(json_array_get(p->samples, i), "pieces");
    for (size_t k = 0; k < json_array_size(pieces); k++) {
        const json_t *piece = json_array_get(pieces, k);
        fputs("<span class=\"t\" style=\"", p->f);
        token_style(p, n, i, k);
        fputs("\" data-n=\"", p->f);
        token_numbers(p, n, i, k);
        fputs("\">", p->f);
        escaped_json(p->f, piece);
        fputs(strchr(json_string_value(piece), '\n') ? "</span><br />" : "</span>", p->f);
    }
}

static void tokens_table(const struct page *p, const json_t *update)
{
    static const char *const verdicts[] = {"unparsable", "wrong", "right"};
    struct numbers n = update_numbers(p, update);
    for (int by = 0; by < COLOURS; by++)
        fprintf(p->f, "<p class=\"legend dim\" id=\"legend-%s-%d\">Colour: %s.</p>\n", colours[by].key, p->section,
                colours[by].legend);
    fputs("<table><tr><th>sample</th><th>tokens</th><th class=\"l\">verdict</th><th>reward</th><th>advantage</th>"
          "<th class=\"l\">response (numbers of a token: point at it)</th></tr>\n",
          p->f);
    for (size_t i = 0; i < json_array_size(p->samples); i++) {
        const json_t *s = json_array_get(p->samples, i);
        const char *verdict = verdicts[(int)trace_member(s, "verdict") + 1];
        char reward[32], advantage[32];
        fprintf(p->f,
                "<tr class=\"%s\"><td>%zu</td><td>%zu%s</td><td class=\"l %s\">%s</td><td>%s</td><td>%s</td>"
                "<td class=\"l w tok\">",
                trace_member(s, "kept") == 1 ? "in" : "out", i, json_array_size(json_object_get(s, "ids")),
                trace_member(s, "truncated") == 1 ? ", cut off" : "", verdict, verdict,
                trace_short(trace_member(s, "reward"), reward), trace_short(trace_member(s, "advantage"), advantage));
        sample_tokens(p, &n, i);
        fputs("</td></tr>\n", p->f);
    }
    fputs("</table>\n", p->f);
}

/* ---- the algorithm, in order ---- */

static void show_prompt(struct page *p)
{
    const json_t *q = json_object_get(p->trace, "prompt"), *pieces = json_object_get(q, "pieces");
    fixed_section(p, "prompt");
    fputs("<p class=\"tok\">", p->f);
    for (size_t k = 0; k < json_array_size(pieces); k++) {
        fprintf(p->f, "<span class=\"t\" data-n=\"id %.0f\">", trace_number(json_object_get(q, "ids"), k));
        escaped_json(p->f, json_array_get(pieces, k));
        fputs("</span>", p->f);
    }
    fputs("</p>\n<p class=\"dim\">answer: <code>", p->f);
    escaped_member(p, q, "answer");
    fputs("</code></p>\n", p->f);
    close_section(p);
}

static void show_stage(struct page *p, const json_t *stage)
{
    static const char *const a_sample[] = {"reward", "kept", "weight"};
    static const char *const a_token[] = {"token_reward", "returns", "advantage"};
    const json_t *c;
    size_t i;
    int open = 0;
    stage_section(p, stage);
    json_array_foreach(json_object_get(stage, "components"), i, c)
    {
        const json_t *values = json_object_get(c, "values");
        if (json_is_array(json_array_get(values, 0)))
            token_rows(p, &open, trace_string(c, "name"), values);
        else
            add_row(p, &open, trace_string(c, "name"), values);
    }
    for (int k = 0; k < 3; k++) {
        const json_t *list = json_object_get(stage, a_sample[k]);
        if (list)
            add_row(p, &open, a_sample[k], list);
    }
    for (int k = 0; k < 3; k++) {
        const json_t *lists = json_object_get(stage, a_token[k]);
        if (lists)
            token_rows(p, &open, a_token[k], lists);
    }
    end_rows(p, open);
    close_section(p);
}

static void show_forward(struct page *p, const json_t *update)
{
    const json_t *channels = json_object_get(update, "channels"), *lists;
    const char *name;
    int open = 0;
    fixed_section(p, "forward");
    json_object_foreach((json_t *)(uintptr_t)channels, name, lists)
    {
        json_t *sums = trace_sums(lists);
        struct text label = {0};
        text_addf(&label, "sum of %s", name);
        add_row(p, &open, label.s, sums);
        text_free(&label);
        json_decref(sums);
    }
    if (json_object_get(update, "ratio"))
        token_rows(p, &open, "ratio of each token", json_object_get(update, "ratio"));
    end_rows(p, open);
    close_section(p);
}

static void show_loss_stage(struct page *p, const json_t *stage)
{
    const json_t *lists;
    const char *name;
    int open = 0;
    stage_section(p, stage);
    fputs("<div class=\"keys\">", p->f);
    key_number(p, "added to the loss of the optimiser step", trace_member(stage, "part"), "%.6g");
    key_number(p, "of it by this group", trace_member(stage, "group_part"), "%.6g");
    fputs("</div>\n", p->f);
    json_object_foreach(json_object_get(stage, "gradients"), name, lists)
    {
        struct text label = {0};
        text_addf(&label, "d loss / d %s", name);
        token_rows(p, &open, label.s, lists);
        text_free(&label);
    }
    end_rows(p, open);
    close_section(p);
}

static void show_gradient(struct page *p, const json_t *update)
{
    const json_t *d = json_object_get(update, "denominators"), *tensors = json_object_get(update, "tensors");
    const json_t *losses = json_object_get(update, "losses");
    fixed_section(p, "backward");
    fprintf(p->f, "<p class=\"f\">loss %.9g =", trace_member(update, "loss"));
    for (size_t i = 0; i < json_array_size(losses); i++) {
        fprintf(p->f, "%s %.6g (", i ? " +" : "", trace_member(json_array_get(losses, i), "part"));
        escaped_member(p, json_array_get(losses, i), "name");
        fputs(")", p->f);
    }
    fprintf(p->f, "; %.0f trained tokens of %.0f responses in %.0f groups</p>\n", trace_member(d, "tokens"),
            trace_member(d, "sequences"), trace_member(d, "groups"));
    fputs("<table><tr><th class=\"l\">gradient of</th><th>numbers</th><th>2-norm</th></tr>\n", p->f);
    fprintf(p->f, "<tr><td class=\"l\">all weights</td><td></td><td>%.9g</td></tr>\n",
            trace_member(update, "grad_norm"));
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *t = json_array_get(tensors, i);
        fputs("<tr><td class=\"l\">", p->f);
        escaped_member(p, t, "name");
        fprintf(p->f, "</td><td>%.0f</td><td>%.4g</td></tr>\n", trace_member(t, "parameters"), trace_member(t, "norm"));
    }
    fputs("</table>\n", p->f);
    close_section(p);
}

static void show_step(struct page *p, const json_t *update)
{
    const json_t *o = json_object_get(update, "optimiser");
    fixed_section(p, "update");
    fputs("<div class=\"keys\">", p->f);
    key_number(p, "length of the gradient", trace_member(update, "grad_norm"), "%.6g");
    key_number(p, "longest allowed (optim.clip)", trace_member(update, "clip"), "%g");
    key_number(p, "factor of the gradient", trace_member(update, "clip_factor"), "%.6g");
    key_number(p, "learning rate", trace_member(update, "lr"), "%.6g");
    key_number(p, "beta1", trace_member(o, "beta1"), "%g");
    key_number(p, "beta2", trace_member(o, "beta2"), "%g");
    key_number(p, "weight decay", trace_member(o, "weight_decay"), "%g");
    key_number(p, "step of the moments", trace_member(o, "steps") + 1, "%.0f");
    fputs("</div>\n", p->f);
    close_section(p);
}

static void show_after(struct page *p, const json_t *update, int first)
{
    const json_t *before = json_object_get(json_object_get(update, "channels"), "policy.logp");
    json_t *was = trace_sums(before), *now = trace_sums(json_object_get(update, "logp_after"));
    json_t *change = trace_differences(now, was);
    fixed_section(p, "after");
    open_table(p);
    table_row(p, "log-probability before", was);
    table_row(p, "after", now);
    table_row(p, "change", change);
    close_table(p);
    if (!first)
        tokens_table(p, update);
    json_decref(was);
    json_decref(now);
    json_decref(change);
    close_section(p);
}

static void show_moved(const struct page *p, const char *direction, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i), *q = json_object_get(o, "p"), *z = json_object_get(o, "logit");
        fprintf(p->f, "<tr><td class=\"l %s\">%s</td><td class=\"l\"><code>", direction, i ? "" : direction);
        escaped_member(p, o, "piece");
        fprintf(p->f,
                "</code></td><td class=\"bar\"><i style=\"width:%.1f%%\"></i><i class=\"now\" "
                "style=\"width:%.1f%%\"></i></td>",
                100 * trace_number(q, 0), 100 * trace_number(q, 1));
        fprintf(p->f, "<td>%.6f</td><td>%.6f</td><td class=\"%s\">%+.6f</td><td>%+.4f</td><td>%+.4f</td></tr>\n",
                trace_number(q, 0), trace_number(q, 1), direction, trace_number(q, 1) - trace_number(q, 0),
                trace_number(z, 0), trace_number(z, 1));
    }
}

static void show_moves(struct page *p, const json_t *update)
{
    const json_t *moves = json_object_get(update, "moves");
    fixed_section(p, "moves");
    if (json_array_size(moves) == 0)
        fputs("<p class=\"dim\">No token of this group has a gradient.</p>\n", p->f);
    for (size_t i = 0; i < json_array_size(moves); i++) {
        const json_t *m = json_array_get(moves, i);
        struct text context = {0};
        char buf[32];
        trace_context(p->trace, m, &context);
        fprintf(p->f, "<h3>sample %.0f, token %.0f</h3><p><code class=\"dim\">", trace_member(m, "sample"),
                trace_member(m, "token"));
        escaped(p->f, context.s);
        fputs("</code><code class=\"drawn\">", p->f);
        escaped_member(p, m, "piece");
        fprintf(p->f, "</code> <span class=\"dim\">was drawn; d loss / d logp %s</span></p>\n",
                trace_short(trace_member(m, "gradient"), buf));
        fputs("<div class=\"scroll\"><table><tr><th></th><th class=\"l\">token</th><th class=\"l\">before, after</th>"
              "<th>p before</th><th>p after</th><th>change</th><th>logit before</th><th>after</th></tr>\n",
              p->f);
        show_moved(p, "up", json_object_get(m, "up"));
        show_moved(p, "down", json_object_get(m, "down"));
        close_table(p);
        text_free(&context);
    }
    close_section(p);
}

static void show_update(struct page *p, const json_t *update, int first)
{
    const json_t *losses = json_object_get(update, "losses");
    show_forward(p, update);
    for (size_t i = 0; i < json_array_size(losses); i++)
        show_loss_stage(p, json_array_get(losses, i));
    show_gradient(p, update);
    show_step(p, update);
    show_after(p, update, first);
    show_moves(p, update);
}

/* ---- the page ---- */

static void show_head(const struct page *p)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\" />\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src &#39;none&#39;; style-src "
          "&#39;unsafe-inline&#39;\" />\n<title>trace of ",
          p->f);
    escaped_member(p, p->trace, "recipe");
    fprintf(p->f, ", step %.0f</title>\n<style>\n%s", trace_member(p->trace, "step"), style);
    for (int by = 0; by < COLOURS; by++)
        fprintf(p->f,
                "#by-%s:checked~main .t{background:var(--%s)}#by-%s:checked~main [id^=legend-%s]{display:block}\n",
                colours[by].key, colours[by].key, colours[by].key, colours[by].key);
    fputs("</style></head>\n<body>\n", p->f);
}

static void show_title(const struct page *p)
{
    static const char *const keys[] = {"reward", "accuracy", "loss",       "grad_norm",
                                       "kl",     "entropy",  "clip_share", "logp_mismatch_max"};
    const json_t *t = p->trace, *log = json_object_get(t, "log");
    fputs("<header><h1>trace of ", p->f);
    escaped_member(p, t, "recipe");
    fputs("</h1>\n<p class=\"dim\">", p->f);
    escaped_member(p, t, "title");
    fprintf(p->f, "</p>\n<p>Step %.0f of phase ", trace_member(t, "phase_step"));
    escaped_member(p, t, "phase");
    fprintf(p->f, " (step %.0f of the run), group %.0f of %.0f; seed %.0f, operations ", trace_member(t, "step"),
            trace_member(t, "group"), trace_member(t, "groups"), trace_member(t, "seed"));
    escaped_member(p, t, "operations");
    fputs(", task ", p->f);
    escaped_member(p, t, "task");
    fputs(".</p>\n<div class=\"keys\">", p->f);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        key_number(p, keys[i], trace_member(log, keys[i]), "%.6g");
    fputs("</div>\n<p class=\"dim\">These are of the whole step; below is one group of it. Log-probabilities and "
          "entropies "
          "are in nats.</p></header>\n<p>Colour tokens by</p>\n",
          p->f);
    int gold = strcmp(trace_string(t, "source"), "gold") == 0;
    for (int by = 0; by < COLOURS; by++)
        fprintf(p->f,
                "<input class=\"by\" type=\"radio\" name=\"by\" id=\"by-%s\"%s /><label for=\"by-%s\">%s</label>\n",
                colours[by].key, by == (gold ? BY_SURPRISE : BY_ADVANTAGE) ? " checked=\"checked\"" : "",
                colours[by].key, colours[by].label);
}

void trace_html(FILE *f, const json_t *trace)
{
    struct page p = {f, trace, json_object_get(trace, "samples"), json_object_get(trace, "stages"), 0};
    const json_t *updates = json_object_get(trace, "updates");
    show_head(&p);
    show_title(&p);
    fputs("<main>\n", f);
    show_prompt(&p);
    fixed_section(&p, strcmp(trace_string(trace, "source"), "gold") == 0 ? "gold" : "rollout");
    tokens_table(&p, json_array_get(updates, 0));
    close_section(&p);
    for (size_t i = 0; i < json_array_size(p.stages); i++)
        show_stage(&p, json_array_get(p.stages, i));
    for (size_t i = 0; i < json_array_size(updates); i++) {
        if (json_array_size(updates) > 1)
            fprintf(f, "<h2>Update %zu of the step</h2>\n", i + 1);
        show_update(&p, json_array_get(updates, i), i == 0);
    }
    if (json_array_size(updates) == 0)
        fputs("<p>No sample of this group is kept: it takes no part in an update.</p>\n", f);
    fputs("</main>\n</body></html>\n", f);
}
