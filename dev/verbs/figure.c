/* Layout of figures: where everything goes, the ticks, the legend, the smoothing. Draws on a canvas; knows no file
 * format.
 *
 * Legends stand above their panel and mark labels above the first one, so no text ever lies on data.
 */
#include "figure.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "../../model/base/mem.h"

enum {
    TITLE = 20,
    TEXT = 14,
    SMALL = 13,
    LEGEND_ROW = 22,
    MARK_ROW = 18,
    MARK_ROWS = 3,
    MAX_TICKS = 16,
    MAX_LABEL = 128
};

static const struct ink black = {0x1a1a1a, 1}, grey = {0x5a5a5a, 1}, frame = {0x8c8c8c, 1}, grid = {0xe6e6e6, 1};
static const double huge_number = 1e100; /* beyond it a value is a gap: ranges must not overflow */

/* Okabe and Ito's colours, told apart with any kind of colour vision; the yellow is left out, it is too light for
 * lines. */
static const unsigned palette[] = {0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x333333};
enum { PALETTE = sizeof palette / sizeof *palette };

struct box {
    double x, y, w, h;
};
struct axis {
    double low, high, step, tick[MAX_TICKS];
    int ticks;
};
struct place { /* of one panel */
    struct box plot;
    struct axis y;
    double header; /* top of the rows of title and legend */
};
struct layout {
    const struct figure *f;
    const struct canvas *c;
    double width, height, left, right, top, bottom, marks; /* marks: height of the rows of mark labels */
    struct axis x;
};

/* ---- text ---- */

unsigned figure_char(const char **s)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)*s;
    if (!*p)
        return 0;
    int len = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
    unsigned c = len == 1 ? *p : *p & (0x7f >> len);
    for (int i = 1; i < len; i++) {
        if (p[i] >> 6 != 2) {
            len = 0; /* also at the terminator */
            break;
        }
        c = c << 6 | (p[i] & 0x3f);
    }
    *s += len ? len : 1;
    int control = c < 0x20 && c != '\t', surrogate = c >= 0xd800 && c <= 0xdfff, none = (c & 0xfffe) == 0xfffe;
    return !len || c < least[len] || c > 0x10ffff || control || surrogate || none ? 0xfffd : c;
}

double figure_text_width(const char *s, double size)
{
    /* advances of DejaVu Sans from ' ' to '~', in thousandths of an em */
    static const short advance[] = {318,  401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337,
                                    636,  636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531,
                                    1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787,
                                    603,  787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500,
                                    500,  613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612,
                                    635,  635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838};
    double w = 0;
    for (unsigned c; (c = figure_char(&s)) != 0;)
        w += c >= ' ' && c <= '~'                    ? advance[c - ' ']
             : c == 0xb1 || c == 0xd7 || c == 0x2212 ? 838
             : c < 0x2000                            ? 640
                                                     : 1000;
    return w * size / 1000;
}

/* s, or its beginning and an ellipsis when it is wider than that. */
static const char *fit(char buf[MAX_LABEL], const char *s, double size, double width)
{
    const char *p = s;
    size_t keep = 0;
    if (figure_text_width(s, size) <= width && strlen(s) < MAX_LABEL)
        return s;
    for (double w = size; *p; keep = (size_t)(p - s)) {
        const char *from = p;
        char one[8] = {0};
        figure_char(&p);
        memcpy(one, from, (size_t)(p - from));
        w += figure_text_width(one, size);
        if (w > width || p - s > MAX_LABEL - 4)
            break;
    }
    memcpy(buf, s, keep);
    strcpy(buf + keep, "\xe2\x80\xa6");
    return buf;
}

static void put(const struct layout *l, double x, double y, double size, enum anchor a, struct ink ink, const char *s)
{
    l->c->text(l->c->to, x, y, size, a, 0, ink, s);
}

/* ---- axes ---- */

static int usable(double v)
{
    return isfinite(v) && fabs(v) < huge_number;
}

static int shown(const struct figure_line *line, int i)
{
    return usable(line->x[i]) && usable(line->y[i]);
}

static void include(struct axis *a, double v)
{
    if (!usable(v))
        return;
    a->low = fmin(a->low, v);
    a->high = fmax(a->high, v);
}

/* 1, 2, 2.5 or 5 times a power of ten, so that about `wanted` steps cover the range; whole numbers only on request. */
static double nice_step(double range, int wanted, int whole)
{
    static const double nice[] = {1, 2, 2.5, 5, 10};
    double raw = range / wanted, power = pow(10, floor(log10(raw)));
    if (whole && raw <= 1)
        return 1;
    for (int i = 0; i < 5; i++)
        if (nice[i] * power >= raw * (1 - 1e-9) && !(whole && nice[i] * power != floor(nice[i] * power)))
            return nice[i] * power;
    return 10 * power;
}

/* Ticks of a range; snap: widen the range to whole steps. */
static void set_ticks(struct axis *a, int wanted, int whole, int snap)
{
    if (a->low > a->high) /* no data */
        a->low = 0, a->high = 1;
    /* a range of rounding errors, or one that underflows, is no range */
    double least = fmax(fmax(fabs(a->low), fabs(a->high)) * 1e-9, 1 / huge_number);
    if (a->high - a->low <= least) {
        double pad = fabs(a->high) <= least ? 1 : whole ? fmax(1, fabs(a->high) * 0.1) : fabs(a->high) * 0.1;
        a->low -= pad, a->high += pad;
    }
    if (snap && a->low > 0 && a->low < 0.4 * a->high)
        a->low = 0; /* zero is near enough to be shown */
    a->step = nice_step(a->high - a->low, wanted, whole);
    if (snap) {
        a->low = floor(a->low / a->step + 1e-6) * a->step;
        a->high = ceil(a->high / a->step - 1e-6) * a->step;
    }
    a->ticks = 0;
    for (double k = ceil(a->low / a->step - 1e-6); k * a->step <= a->high + 1e-6 * a->step && a->ticks < MAX_TICKS; k++)
        a->tick[a->ticks++] = k * a->step + 0.0;
}

/* A tick with as many digits as the step needs; k and M for thousands, a power of ten when all are tiny. */
static const char *tick_text(char buf[MAX_LABEL], double v, const struct axis *a)
{
    double most = fmax(fabs(a->low), fabs(a->high)), unit = most >= 2e6 ? 1e6 : most >= 2e4 ? 1e3 : 1;
    const char *suffix = unit == 1e6 ? "M" : unit == 1e3 ? "k" : "";
    char digits[64];
    if (fabs(v) < a->step * 1e-6)
        return strcpy(buf, "0");
    if (most >= 1e10 || most < 1e-3) {
        snprintf(digits, sizeof digits, "%.3g", fabs(v));
        char *exponent = strchr(digits, 'e');
        if (exponent && exponent[2] == '0') /* 2e-05 -> 2e-5 */
            memmove(exponent + 2, exponent + 3, strlen(exponent + 3) + 1);
        suffix = "";
    } else {
        int decimals = 0;
        for (double s = a->step / unit; decimals < 9 && fabs(s - round(s)) > 1e-6 * s; s *= 10)
            decimals++;
        snprintf(digits, sizeof digits, "%.*f", decimals, fabs(v) / unit);
    }
    snprintf(buf, MAX_LABEL, "%s%s%s", v < 0 ? "\xe2\x88\x92" : "", digits, suffix);
    return buf;
}

static void y_range(struct axis *a, const struct figure_panel *p)
{
    *a = (struct axis){.low = INFINITY, .high = -INFINITY};
    for (int k = 0; k < p->lines; k++)
        for (int i = 0; i < p->line[k].points; i++) {
            const struct figure_line *line = &p->line[k];
            if (!shown(line, i))
                continue;
            include(a, line->y[i]);
            if (line->low) {
                include(a, line->low[i]);
                include(a, line->high[i]);
            }
        }
    for (int k = 0; k < p->levels && a->low <= a->high; k++)
        include(a, p->level[k].y);
    if (p->low < p->high) {
        include(a, p->low);
        include(a, p->high);
    }
}

static int is_squeezed(const struct layout *l)
{
    return l->f->squeezed_share > 0 && l->f->squeezed > l->x.low && l->f->squeezed < l->x.high;
}

static double x_at(const struct layout *l, double v)
{
    double pad = 8; /* so that a dot at the end of the range is whole */
    double low = l->x.low, high = l->x.high, from = 0, to = 1;
    if (is_squeezed(l)) {
        if (v < l->f->squeezed)
            high = l->f->squeezed, to = l->f->squeezed_share;
        else
            low = l->f->squeezed, from = l->f->squeezed_share;
    }
    double share = from + (v - low) / (high - low) * (to - from);
    return l->left + pad + share * (l->width - l->left - l->right - 2 * pad);
}

static int x_wanted(double pixels)
{
    int n = (int)(pixels / 80);
    return n < 2 ? 2 : n > 12 ? 12 : n;
}

/* Both sides of a squeezed axis have ticks of their own; of two that would touch the left one goes. */
static void set_x_ticks(struct layout *l, int whole)
{
    double pixels = l->width - l->left - l->right;
    struct axis *a = &l->x;
    if (!is_squeezed(l)) {
        set_ticks(a, x_wanted(pixels), whole, 0);
        return;
    }
    double middle = l->f->squeezed;
    struct axis left = {.low = a->low, .high = middle}, right = {.low = middle, .high = a->high};
    set_ticks(&left, x_wanted(pixels * l->f->squeezed_share), whole, 0);
    set_ticks(&right, x_wanted(pixels * (1 - l->f->squeezed_share)), whole, 0);
    a->step = right.step;
    for (int i = 0; i < left.ticks; i++)
        if (x_at(l, left.tick[i]) < x_at(l, right.tick[0]) - 55)
            a->tick[a->ticks++] = left.tick[i];
    for (int i = 0; i < right.ticks && a->ticks < MAX_TICKS; i++)
        a->tick[a->ticks++] = right.tick[i];
}

static void x_range(struct layout *l)
{
    struct axis *a = &l->x;
    int whole = 1;
    *a = (struct axis){.low = INFINITY, .high = -INFINITY};
    for (int p = 0; p < l->f->panels; p++)
        for (int k = 0; k < l->f->panel[p].lines; k++) {
            const struct figure_line *line = &l->f->panel[p].line[k];
            for (int i = 0; i < line->points; i++)
                if (shown(line, i)) {
                    include(a, line->x[i]);
                    if (line->left) {
                        include(a, line->left[i]);
                        include(a, line->right[i]);
                    }
                    whole = whole && line->x[i] == floor(line->x[i]);
                }
        }
    for (int i = 0; i < l->f->marks && a->low <= a->high; i++)
        include(a, l->f->mark[i].x);
    set_x_ticks(l, whole);
}

static double y_at(const struct place *p, double v)
{
    return p->plot.y + p->plot.h - (v - p->y.low) / (p->y.high - p->y.low) * p->plot.h;
}

static double crisp(double v) /* the middle of a pixel: a line of width 1 there is one row of pixels */
{
    return floor(v) + 0.5;
}

static void straight(const struct layout *l, double x0, double y0, double x1, double y1, double width, int dashed,
                     struct ink ink)
{
    double xy[4] = {x0, y0, x1, y1};
    l->c->line(l->c->to, xy, 2, width, dashed, ink);
}

/* ---- legend ---- */

static struct ink ink_of(const struct figure_line *line)
{
    return (struct ink){palette[(unsigned)line->color % PALETTE], 1};
}

enum { SWATCH = 24, GAP = 7, BETWEEN = 20 };

/* Label number k of a panel (lines, then levels), NULL: none. */
static const char *legend_label(const struct figure_panel *p, int k)
{
    return k < p->lines ? p->line[k].label : p->level[k - p->lines].label;
}

/* Draws the legend's rows, right-aligned, or (draw 0) only counts them. width: what the rows may take. */
static int legend(const struct layout *l, const struct figure_panel *p, double width, double y, int draw)
{
    int rows = 0, total = p->lines + p->levels;
    for (int first = 0, next; first < total; first = next) {
        char buf[MAX_LABEL];
        double used = 0, limit = width - SWATCH - GAP;
        for (next = first; next < total; next++) {
            const char *label = legend_label(p, next);
            if (!label)
                continue;
            double w =
                SWATCH + GAP + figure_text_width(fit(buf, label, SMALL, limit), SMALL) + (used > 0 ? BETWEEN : 0);
            if (used > 0 && used + w > width)
                break;
            used += w;
        }
        if (used == 0)
            break;
        double x = l->width - l->right - used, base = y + rows * LEGEND_ROW + 15;
        for (int k = first; k < next && draw; k++) {
            const char *label = legend_label(p, k);
            if (!label)
                continue;
            int is_line = k < p->lines;
            struct ink ink = is_line ? ink_of(&p->line[k]) : grey;
            straight(l, x, base - 4.5, x + SWATCH, base - 4.5, is_line ? 2.2 : 1.4, is_line ? p->line[k].dashed : 1,
                     ink);
            if (is_line && p->line[k].dots)
                l->c->dot(l->c->to, x + SWATCH / 2.0, base - 4.5, 3.4, ink);
            label = fit(buf, label, SMALL, limit);
            put(l, x + SWATCH + GAP, base, SMALL, ANCHOR_LEFT, black, label);
            x += SWATCH + GAP + figure_text_width(label, SMALL) + BETWEEN;
        }
        rows++;
    }
    return rows;
}

static double plot_width(const struct layout *l)
{
    return l->width - l->left - l->right;
}

static double legend_width(const struct layout *l, const struct figure_panel *p)
{
    double title = p->title ? fmin(figure_text_width(p->title, TEXT), plot_width(l) / 2) + BETWEEN : 0;
    return plot_width(l) - title;
}

/* ---- lines ---- */

static double *smoothed(const struct figure_line *line)
{
    double *y = mem_alloc((size_t)line->points, sizeof *y), *mean;
    for (int i = 0; i < line->points; i++)
        y[i] = shown(line, i) ? line->y[i] : NAN;
    mean = figure_smooth(y, line->points, line->smooth);
    mem_free(y);
    return mean;
}

double *figure_smooth(const double *y, int points, int n)
{
    double *sum = mem_alloc((size_t)points + 1, sizeof *sum), *out = mem_alloc((size_t)points, sizeof *out);
    for (int first = 0, end; first < points; first = end + 1) {
        sum[first] = 0;
        for (end = first; end < points && isfinite(y[end]); end++)
            sum[end + 1] = sum[end] + y[end];
        for (int i = first; i < end; i++) {
            int near =
                i - first < end - 1 - i ? i - first : end - 1 - i; /* towards an end the mean is over fewer, so that */
            int w = near > n / 4 ? near : n / 4;                   /* it does not lag where a curve begins steeply */
            w = w < n ? w : n;
            int from = i - first < w ? first : i - w, to = end - i <= w ? end : i + w + 1;
            out[i] = (sum[to] - sum[from]) / (to - from);
        }
        if (end < points)
            out[end] = NAN;
    }
    mem_free(sum);
    return out;
}

/* Of points that share a column of pixels the lowest and the highest are enough; keeps their order. Returns how many
 * are left. */
static int thin(double *xy, int points)
{
    int kept = 0;
    for (int i = 0, end; i < points; i = end) {
        int low = i, high = i;
        for (end = i; end < points && floor(xy[2 * end]) == floor(xy[2 * i]); end++) {
            low = xy[2 * end + 1] < xy[2 * low + 1] ? end : low;
            high = xy[2 * end + 1] > xy[2 * high + 1] ? end : high;
        }
        int pick[4] = {i, low < high ? low : high, low < high ? high : low, end - 1};
        for (int k = 0; k < 4; k++)
            if (k == 0 || pick[k] > pick[k - 1]) {
                xy[2 * kept] = xy[2 * pick[k]];
                xy[2 * kept + 1] = xy[2 * pick[k] + 1];
                kept++;
            }
    }
    return kept;
}

/* The line through y, cut at gaps; a point alone between gaps is a dot. */
static void draw_curve(const struct layout *l, const struct place *at, const struct figure_line *line, const double *y,
                       double width, struct ink ink)
{
    double *xy = mem_alloc((size_t)line->points * 2, sizeof *xy);
    for (int i = 0; i < line->points;) {
        int n = 0;
        for (; i < line->points && shown(line, i); i++, n++) {
            xy[2 * n] = x_at(l, line->x[i]);
            xy[2 * n + 1] = y_at(at, y[i]);
        }
        if (n == 1)
            l->c->dot(l->c->to, xy[0], xy[1], width, ink);
        else if (n > 1)
            l->c->line(l->c->to, xy, thin(xy, n), width, line->dashed, ink);
        while (i < line->points && !shown(line, i))
            i++;
    }
    mem_free(xy);
}

static int has_band(const struct figure_line *line, int i)
{
    return shown(line, i) && usable(line->low[i]) && usable(line->high[i]);
}

static void draw_band(const struct layout *l, const struct place *at, const struct figure_line *line, struct ink ink)
{
    double *xy = mem_alloc((size_t)line->points * 4, sizeof *xy);
    for (int i = 0; i < line->points;) {
        int first = i, n = 0;
        for (; i < line->points && has_band(line, i); i++, n++) {
            xy[2 * n] = x_at(l, line->x[i]);
            xy[2 * n + 1] = y_at(at, line->low[i]);
        }
        for (int j = i - 1; j >= first; j--, n++) {
            xy[2 * n] = x_at(l, line->x[j]);
            xy[2 * n + 1] = y_at(at, line->high[j]);
        }
        if (i - first > 1)
            l->c->area(l->c->to, xy, n, ink);
        while (i < line->points && !has_band(line, i))
            i++;
    }
    mem_free(xy);
}

/* The two intervals of a point, as a cross. */
static void draw_whiskers(const struct layout *l, const struct place *at, const struct figure_line *line, int i,
                          struct ink ink)
{
    double x = x_at(l, line->x[i]), y = y_at(at, line->y[i]);
    if (usable(line->low[i]) && usable(line->high[i]))
        straight(l, x, y_at(at, line->low[i]), x, y_at(at, line->high[i]), 1.1, 0, ink);
    if (usable(line->left[i]) && usable(line->right[i]))
        straight(l, x_at(l, line->left[i]), y, x_at(l, line->right[i]), y, 1.1, 0, ink);
}

static void draw_line(const struct layout *l, const struct place *at, const struct figure_line *line)
{
    struct ink ink = ink_of(line), light = {ink.rgb, 0.32};
    if (line->points == 0)
        return;
    if (line->smooth > 0) {
        double *mean = smoothed(line);
        draw_curve(l, at, line, line->y, 1.1, light);
        draw_curve(l, at, line, mean, 2.2, ink);
        mem_free(mean);
    } else {
        draw_curve(l, at, line, line->y, 2, ink);
    }
    for (int i = 0; i < line->points && line->left; i++)
        if (shown(line, i))
            draw_whiskers(l, at, line, i, (struct ink){ink.rgb, 0.55});
    for (int i = 0; i < line->points && line->dots; i++)
        if (shown(line, i))
            l->c->dot(l->c->to, x_at(l, line->x[i]), y_at(at, line->y[i]), 3.4, ink);
}

/* ---- panels ---- */

static void draw_grid(const struct layout *l, const struct place *at, int last)
{
    char buf[MAX_LABEL];
    double x0 = l->left, x1 = l->width - l->right, y0 = at->plot.y, y1 = at->plot.y + at->plot.h;
    for (int i = 0; i < at->y.ticks; i++) {
        double y = crisp(y_at(at, at->y.tick[i]));
        straight(l, x0, y, x1, y, 1, 0, grid);
        put(l, x0 - 8, y + 0.36 * SMALL, SMALL, ANCHOR_RIGHT, grey, tick_text(buf, at->y.tick[i], &at->y));
    }
    for (int i = 0; i < l->x.ticks; i++) {
        double x = crisp(x_at(l, l->x.tick[i]));
        straight(l, x, y0, x, y1, 1, 0, grid);
        straight(l, x, y1, x, y1 + 4, 1, 0, frame);
        if (last)
            put(l, x, y1 + 20, SMALL, ANCHOR_MIDDLE, grey, tick_text(buf, l->x.tick[i], &l->x));
    }
    straight(l, crisp(x0), y0, crisp(x0), crisp(y1), 1, 0, frame);
    straight(l, crisp(x0), crisp(y1), x1, crisp(y1), 1, 0, frame);
}

static void draw_panel(const struct layout *l, const struct figure_panel *p, const struct place *at, int last)
{
    char buf[MAX_LABEL];
    int drawn = 0;
    draw_grid(l, at, last);
    if (p->title)
        put(l, l->left, at->header + 15, TEXT, ANCHOR_LEFT, black, fit(buf, p->title, TEXT, plot_width(l) / 2));
    if (p->y_label)
        l->c->text(l->c->to, 22, at->plot.y + at->plot.h / 2, SMALL, ANCHOR_MIDDLE, 1, black,
                   fit(buf, p->y_label, SMALL, at->plot.h + LEGEND_ROW));
    legend(l, p, legend_width(l, p), at->header, 1);
    for (int i = 0; i < l->f->marks; i++)
        if (usable(l->f->mark[i].x)) {
            double x = crisp(x_at(l, l->f->mark[i].x));
            straight(l, x, at->plot.y, x, at->plot.y + at->plot.h, 1.2, 1, grey);
        }
    for (int k = 0; k < p->lines; k++)
        if (p->line[k].low && !p->line[k].left)
            draw_band(l, at, &p->line[k], (struct ink){ink_of(&p->line[k]).rgb, 0.18});
    for (int k = 0; k < p->levels; k++)
        if (p->level[k].y >= at->y.low && p->level[k].y <= at->y.high) {
            double y = crisp(y_at(at, p->level[k].y));
            straight(l, l->left, y, l->width - l->right, y, 1.4, 1, grey);
        }
    for (int k = 0; k < p->lines; k++) {
        draw_line(l, at, &p->line[k]);
        for (int i = 0; i < p->line[k].points; i++)
            drawn += shown(&p->line[k], i);
    }
    if (!drawn)
        put(l, l->left + plot_width(l) / 2, at->plot.y + at->plot.h / 2 + 5, TEXT, ANCHOR_MIDDLE, grey, "no data");
}

/* Labels of the marks: each in the lowest row in which it does not touch another. Returns the rows needed. */
static int draw_marks(const struct layout *l, double base, int draw)
{
    double end[MARK_ROWS] = {-1, -1, -1};
    int rows = 0;
    for (int i = 0; i < l->f->marks; i++) {
        const struct figure_mark *m = &l->f->mark[i];
        if (!m->label || !usable(m->x))
            continue;
        char buf[MAX_LABEL];
        const char *label = fit(buf, m->label, SMALL, plot_width(l) / 2);
        double w = figure_text_width(label, SMALL), x = x_at(l, m->x) - w / 2;
        x = fmin(fmax(x, l->left), l->width - l->right - w);
        int row = 0;
        while (row < MARK_ROWS - 1 && x < end[row] + 12)
            row++;
        end[row] = x + w;
        rows = row + 1 > rows ? row + 1 : rows;
        if (draw)
            put(l, x, base - 5 - row * MARK_ROW, SMALL, ANCHOR_LEFT, grey, label);
    }
    return rows;
}

/* ---- files ---- */

static int ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n > k && !strcmp(s + n - k, end);
}

int figure_path(const char *option, const char *path, struct error *e)
{
    if (!ends_in(path, ".svg") && !ends_in(path, ".png"))
        return fail(e, "%s=%.200s: the name must end in .svg or .png", option, path);
    if (ends_in(path, ".png") && !figure_has_png)
        return fail(e, "%s=%.200s: this build has no PNG (stb and a font were missing); take .svg", option, path);
    return 0;
}

int figure_write(const struct figure *f, const char *path, struct error *e)
{
    return ends_in(path, ".png") ? figure_png(f, path, e) : figure_svg(f, path, e);
}

/* ---- the whole ---- */

int figure_size(const struct figure *f, int *width, int *height, struct error *e)
{
    *width = f->width ? f->width : 1000;
    *height = f->height ? f->height : 700;
    if (*width < 300 || *width > 8000 || *height < 200 || *height > 8000)
        return fail(e, "a figure of %d x %d pixels; 300 x 200 to 8000 x 8000 are drawn", *width, *height);
    return 0;
}

/* Heights of the panels: what headers leave is shared equally. */
static void place_panels(struct layout *l, struct place *at)
{
    int n = l->f->panels;
    double free_height = l->height - l->top - l->bottom - l->marks, between = 12;
    for (int p = 0; p < n; p++) {
        const struct figure_panel *panel = &l->f->panel[p];
        int rows = legend(l, panel, legend_width(l, panel), 0, 0);
        at[p].plot.h = (rows || panel->title ? LEGEND_ROW * (rows > 1 ? rows : 1) : 0) + 4; /* the header, for now */
        free_height -= at[p].plot.h + between;
    }
    double plot = fmax((free_height + between) / n, 20), y = l->top;
    for (int p = 0; p < n; p++) {
        double header = at[p].plot.h;
        at[p].header = y;
        at[p].plot = (struct box){l->left, y + header + (p ? 0 : l->marks), plot_width(l), plot};
        y = at[p].plot.y + plot + between;
    }
}

/* Ticks need the height, the left margin needs the ticks, the legend's rows need the margin: two rounds settle it. */
static void settle(struct layout *l, struct place *at)
{
    for (int round = 0; round < 2; round++) {
        double widest = 0;
        x_range(l);
        l->marks = draw_marks(l, 0, 0) * MARK_ROW;
        place_panels(l, at);
        for (int p = 0; p < l->f->panels; p++) {
            char buf[MAX_LABEL];
            int wanted = (int)(at[p].plot.h / 34);
            y_range(&at[p].y, &l->f->panel[p]);
            set_ticks(&at[p].y, wanted < 2 ? 2 : wanted > 8 ? 8 : wanted, 0, 1);
            for (int i = 0; i < at[p].y.ticks; i++)
                widest = fmax(widest, figure_text_width(tick_text(buf, at[p].y.tick[i], &at[p].y), SMALL));
        }
        l->left = 40 + widest;
    }
}

void figure_draw(const struct figure *f, const struct canvas *c)
{
    char buf[MAX_LABEL];
    int width, height;
    if (figure_size(f, &width, &height, NULL))
        die("a figure of an absurd size");
    struct layout l = {.f = f, .c = c, .width = width, .height = height, .left = 70, .right = 24, .bottom = 54};
    l.top = f->subtitle ? 74 : 52;
    struct place *at = mem_alloc((size_t)f->panels, sizeof *at);
    double sheet[8] = {0, 0, width, 0, width, height, 0, height};
    settle(&l, at);
    c->area(c->to, sheet, 4, (struct ink){0xffffff, 1});
    put(&l, 20, 34, TITLE, ANCHOR_LEFT, black, fit(buf, f->title, TITLE, width - 40));
    if (f->subtitle)
        put(&l, 20, 56, SMALL, ANCHOR_LEFT, grey, fit(buf, f->subtitle, SMALL, width - 40));
    for (int p = 0; p < f->panels; p++)
        draw_panel(&l, &f->panel[p], &at[p], p == f->panels - 1);
    if (f->panels)
        draw_marks(&l, at[0].plot.y, 1);
    put(&l, l.left + plot_width(&l) / 2, height - 14, TEXT, ANCHOR_MIDDLE, black, f->x_label);
    mem_free(at);
}
