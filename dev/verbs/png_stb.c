/* The canvas that draws pixels and writes a PNG, with stb_truetype and stb_image_write and the font that the build
 * embeds. Everything is anti-aliased by exact or distance coverage; colours are mixed as they are stored. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include "figure.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define STB_TRUETYPE_IMPLEMENTATION
#define STBTT_STATIC
#include <stb/stb_truetype.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

extern const unsigned char font_data[], font_data_end[];
const int figure_has_png = 1;

enum { SUBROWS = 4 }; /* of a pixel row, when polygons are filled */

struct image {
    int w, h;
    unsigned char *rgb; /* [h][w][3] */
    float *cover;       /* [h][w], zero between primitives: how much of each pixel the one being drawn covers */
    int x0, y0, x1, y1; /* where it is not zero */
    stbtt_fontinfo font;
};

static void blend(struct image *m, int x, int y, double a, unsigned rgb)
{
    if (x < 0 || y < 0 || x >= m->w || y >= m->h)
        return;
    unsigned char *p = m->rgb + ((size_t)y * m->w + x) * 3;
    for (int k = 0; k < 3; k++) {
        double c = rgb >> (16 - 8 * k) & 255;
        p[k] = (unsigned char)(p[k] + (c - p[k]) * a + 0.5);
    }
}

/* Paint what was covered, once, so that a line's own overlaps do not darken; then forget the cover. */
static void paint(struct image *m, struct ink ink)
{
    for (int y = m->y0; y <= m->y1; y++)
        for (int x = m->x0; x <= m->x1; x++) {
            float *c = &m->cover[(size_t)y * m->w + x];
            if (*c > 0)
                blend(m, x, y, *c * ink.alpha, ink.rgb);
            *c = 0;
        }
    m->x0 = m->w, m->y0 = m->h, m->x1 = m->y1 = -1;
}

static int clamp(double v, int high)
{
    return v < 0 ? 0 : v > high ? high : (int)v;
}

static void touch(struct image *m, int x0, int y0, int x1, int y1)
{
    m->x0 = x0 < m->x0 ? x0 : m->x0;
    m->y0 = y0 < m->y0 ? y0 : m->y0;
    m->x1 = x1 > m->x1 ? x1 : m->x1;
    m->y1 = y1 > m->y1 ? y1 : m->y1;
}

/* A segment with round ends: a pixel is covered by its middle's distance from the segment. */
static void cover_segment(struct image *m, double ax, double ay, double bx, double by, double width)
{
    double r = width / 2 + 0.5, dx = bx - ax, dy = by - ay, length2 = dx * dx + dy * dy;
    int x0 = clamp(fmin(ax, bx) - r, m->w - 1), x1 = clamp(fmax(ax, bx) + r, m->w - 1);
    int y0 = clamp(fmin(ay, by) - r, m->h - 1), y1 = clamp(fmax(ay, by) + r, m->h - 1);
    touch(m, x0, y0, x1, y1);
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++) {
            double px = x + 0.5 - ax, py = y + 0.5 - ay;
            double t = length2 > 0 ? fmin(fmax((px * dx + py * dy) / length2, 0), 1) : 0;
            double c = fmin(r - hypot(px - t * dx, py - t * dy), fmin(width, 1));
            float *cover = &m->cover[(size_t)y * m->w + x];
            if (c > *cover)
                *cover = (float)c;
        }
}

/* A segment of a dashed line; *at is how far along the line it begins. */
static void cover_dashes(struct image *m, const double *a, double width, double *at)
{
    const double on = 6, period = 10;
    double dx = a[2] - a[0], dy = a[3] - a[1], length = hypot(dx, dy);
    for (double s = -fmod(*at, period); s < length; s += period) {
        double from = fmax(s, 0), to = fmin(s + on, length);
        if (to > from)
            cover_segment(m, a[0] + dx * from / length, a[1] + dy * from / length, a[0] + dx * to / length,
                          a[1] + dy * to / length, width);
    }
    *at += length;
}

static void png_line(void *to, const double *xy, int points, double width, int dashed, struct ink ink)
{
    struct image *m = to;
    double at = 0;
    for (int i = 0; i + 1 < points; i++) {
        if (dashed)
            cover_dashes(m, xy + 2 * i, width, &at);
        else
            cover_segment(m, xy[2 * i], xy[2 * i + 1], xy[2 * i + 2], xy[2 * i + 3], width);
    }
    paint(m, ink);
}

static void png_dot(void *to, double x, double y, double radius, struct ink ink)
{
    cover_segment(to, x, y, x, y, 2 * radius);
    paint(to, ink);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Cover of one subrow between x = a and b, with the exact share of the pixels at its ends. */
static void cover_span(struct image *m, int y, double a, double b)
{
    a = fmin(fmax(a, 0), m->w);
    b = fmin(fmax(b, 0), m->w);
    int first = (int)a, last = (int)b;
    float *row = m->cover + (size_t)y * m->w;
    if (b <= a)
        return;
    if (first == last) {
        row[first] += (float)((b - a) / SUBROWS);
        return;
    }
    row[first] += (float)((first + 1 - a) / SUBROWS);
    for (int x = first + 1; x < last; x++)
        row[x] += 1.0f / SUBROWS;
    if (b > last)
        row[last] += (float)((b - last) / SUBROWS);
}

/* Even-odd filling, row by row. */
static void png_area(void *to, const double *xy, int points, struct ink ink)
{
    struct image *m = to;
    double low = INFINITY, high = -INFINITY, *cross = mem_alloc((size_t)points, sizeof *cross);
    for (int i = 0; i < points; i++) {
        low = fmin(low, xy[2 * i + 1]);
        high = fmax(high, xy[2 * i + 1]);
    }
    int y0 = clamp(low, m->h - 1), y1 = clamp(high, m->h - 1);
    touch(m, 0, y0, m->w - 1, y1);
    for (int row = y0 * SUBROWS; row < (y1 + 1) * SUBROWS; row++) {
        double y = (row + 0.5) / SUBROWS;
        int n = 0;
        for (int i = 0; i < points; i++) {
            const double *a = xy + 2 * i, *b = xy + 2 * ((i + 1) % points);
            if ((a[1] <= y) != (b[1] <= y))
                cross[n++] = a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]);
        }
        qsort(cross, (size_t)n, sizeof *cross, by_value);
        for (int i = 0; i + 1 < n; i += 2)
            cover_span(m, row / SUBROWS, cross[i], cross[i + 1]);
    }
    paint(m, ink);
    mem_free(cross);
}

/* One glyph with its origin at (x, y), or along the upward direction from there. Small type on white looks thinner than
 * it is, so partial cover is raised a little. */
static void draw_glyph(struct image *m, double x, double y, double scale, int turned, struct ink ink, unsigned c)
{
    double along = turned ? -y : x, across = turned ? x : y;
    int whole = (int)floor(along), base = (int)floor(across + 0.5), w, h, dx, dy;
    unsigned char *glyph = stbtt_GetCodepointBitmapSubpixel(&m->font, (float)scale, (float)scale,
                                                            (float)(along - whole), 0, (int)c, &w, &h, &dx, &dy);
    for (int j = 0; glyph && j < h; j++)
        for (int i = 0; i < w; i++) {
            double cover = pow(glyph[(size_t)j * w + i] / 255.0, 0.8) * ink.alpha;
            if (turned)
                blend(m, base + dy + j, -(whole + dx + i) - 1, cover, ink.rgb);
            else
                blend(m, whole + dx + i, base + dy + j, cover, ink.rgb);
        }
    stbtt_FreeBitmap(glyph, NULL);
}

static void png_text(void *to, double x, double y, double size, enum anchor anchor, int turned, struct ink ink,
                     const char *s)
{
    struct image *m = to;
    double scale = stbtt_ScaleForMappingEmToPixels(&m->font, (float)size), width = 0;
    for (int draw = 0; draw < 2; draw++) {
        const char *p = s;
        double at = -width * anchor / 2;
        width = 0;
        for (unsigned c; (c = figure_char(&p)) != 0;) {
            int advance, bearing;
            stbtt_GetCodepointHMetrics(&m->font, (int)c, &advance, &bearing);
            if (draw)
                draw_glyph(m, turned ? x : x + at, turned ? y - at : y, scale, turned, ink, c);
            at += advance * scale;
            width += advance * scale;
        }
    }
}

static void png_piece(void *to, void *data, int len)
{
    text_add(to, data, len);
}

int figure_png(const struct figure *f, const char *path, struct error *e)
{
    struct image m = {0};
    struct text file = {0};
    struct canvas c = {&m, png_line, png_area, png_dot, png_text};
    if (figure_size(f, &m.w, &m.h, e))
        return fail_in(e, "%s", path);
    if (font_data_end - font_data < 1000 || !stbtt_InitFont(&m.font, font_data, 0))
        return fail(e, "%s: the font embedded in this build cannot be read; make clean, then make again", path);
    m.x0 = m.w, m.y0 = m.h, m.x1 = m.y1 = -1;
    m.rgb = mem_alloc((size_t)m.w * m.h, 3);
    m.cover = mem_alloc((size_t)m.w * m.h, sizeof *m.cover);
    figure_draw(f, &c);
    int status = stbi_write_png_to_func(png_piece, &file, m.w, m.h, 3, m.rgb, m.w * 3)
                     ? file_write(path, file.s, (size_t)file.len, e)
                     : fail(e, "%s: the PNG could not be compressed for want of memory", path);
    text_free(&file);
    mem_free(m.rgb);
    mem_free(m.cover);
    return status;
}
