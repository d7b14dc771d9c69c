/* The canvas that writes SVG: one self-contained text, no scripts, no references to other files. */
#include <string.h>
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include "figure.h"

static void add_escaped(struct text *t, const char *s)
{
    for (const char *from = s; *s; from = s) {
        unsigned c = figure_char(&s);
        const char *name = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : NULL;
        if (name)
            text_add(t, name, -1);
        else if (c == 0xfffd)
            text_add(t, "\xef\xbf\xbd", -1);
        else
            text_add(t, from, (int)(s - from));
    }
}

static void add_points(struct text *t, const double *xy, int points)
{
    for (int i = 0; i < points; i++)
        text_addf(t, "%s%.2f,%.2f", i ? " " : "", xy[2 * i], xy[2 * i + 1]);
}

static void svg_line(void *to, const double *xy, int points, double width, int dashed, struct ink ink)
{
    struct text *t = to;
    text_add(t, "<polyline points=\"", -1);
    add_points(t, xy, points);
    text_addf(t, "\" fill=\"none\" stroke=\"#%06x\" stroke-width=\"%g\" stroke-linejoin=\"round\"", ink.rgb, width);
    if (dashed)
        text_add(t, " stroke-dasharray=\"6 4\"", -1);
    if (ink.alpha < 1)
        text_addf(t, " stroke-opacity=\"%g\"", ink.alpha);
    text_add(t, "/>\n", -1);
}

static void svg_area(void *to, const double *xy, int points, struct ink ink)
{
    struct text *t = to;
    text_add(t, "<polygon points=\"", -1);
    add_points(t, xy, points);
    text_addf(t, "\" fill=\"#%06x\"", ink.rgb);
    if (ink.alpha < 1)
        text_addf(t, " fill-opacity=\"%g\"", ink.alpha);
    text_add(t, "/>\n", -1);
}

static void svg_dot(void *to, double x, double y, double radius, struct ink ink)
{
    text_addf(to, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"%g\" fill=\"#%06x\" fill-opacity=\"%g\"/>\n", x, y, radius,
              ink.rgb, ink.alpha);
}

static void svg_text(void *to, double x, double y, double size, enum anchor anchor, int turned, struct ink ink,
                     const char *s)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    struct text *t = to;
    text_addf(t, "<text x=\"%.2f\" y=\"%.2f\" font-size=\"%g\" text-anchor=\"%s\" fill=\"#%06x\"", x, y, size,
              anchors[anchor], ink.rgb);
    if (turned)
        text_addf(t, " transform=\"rotate(-90 %.2f %.2f)\"", x, y);
    text_add(t, ">", 1);
    add_escaped(t, s);
    text_add(t, "</text>\n", -1);
}

int figure_svg(const struct figure *f, const char *path, struct error *e)
{
    struct text t = {0};
    struct canvas c = {&t, svg_line, svg_area, svg_dot, svg_text};
    int width, height;
    if (figure_size(f, &width, &height, e))
        return fail_in(e, "%s", path);
    text_addf(&t,
              "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
              "height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"DejaVu Sans, Verdana, Helvetica, sans-serif\" "
              "role=\"img\">\n"
              "<title>",
              width, height, width, height);
    add_escaped(&t, f->title);
    text_add(&t, "</title>\n", -1);
    figure_draw(f, &c);
    text_add(&t, "</svg>\n", -1);
    int status = file_write(path, t.s, (size_t)t.len, e);
    text_free(&t);
    return status;
}
