/* Figures: a small description of stacked panels that share one x axis, drawn as SVG text or as a PNG with the same
 * layout.
 *
 * figure.c lays out (ticks, legends, places) and speaks to a canvas of five primitives; figure_svg.c and png_stb.c are
 * canvases. It draws lines, or points with whiskers, and no other
 * kind of chart. To add a kind of mark: a field in struct figure_line and its
 * primitives in draw_line of figure.c; to add a format: a canvas.
 */
#ifndef FIGURE_H
#define FIGURE_H
#include "../../model/base/error.h"

struct figure_line {
    const char *label; /* in the legend; NULL: not there */
    int points;
    const double *x, *y;        /* [points], x rising; a point that is not finite is a gap */
    const double *low, *high;   /* [points] a band around the line; both or neither NULL */
    const double *left, *right; /* [points] with a band: it is drawn as a cross of whiskers at every point instead, this
                                   wide; x need not rise then */
    int smooth; /* n > 0: the points in a light colour, under their mean over n neighbours to each side */
    int dots;   /* also a dot at every point */
    int dashed;
    int color; /* of the palette, any number from 0; neighbours differ also for the colour-blind */
};
struct figure_level { /* a horizontal reference, named in the legend */
    double y;
    const char *label;
};
struct figure_mark { /* a vertical line through all panels, named above the first one */
    double x;
    const char *label;
};
struct figure_panel {
    const char *title, *y_label; /* either may be NULL; the label carries the unit: "length (tokens)" */
    const struct figure_line *line;
    int lines;
    const struct figure_level *level;
    int levels;
    double low, high; /* when low < high: the y axis covers at least this */
};
struct figure {
    const char *title, *subtitle, *x_label; /* subtitle may be NULL */
    const struct figure_panel *panel;
    int panels;
    const struct figure_mark *mark;
    int marks;
    double squeezed,
        squeezed_share; /* when the share is above 0: what lies left of x = squeezed takes that share of the width */
    int width, height;  /* pixels; 0: 1000 and 700 */
};

/* Both write crash-safe: the old file stays whole until the new one is. Texts are UTF-8; what is not is shown as a
 * replacement character. */
int figure_svg(const struct figure *f, const char *path, struct error *e);
int figure_png(const struct figure *f, const char *path, struct error *e); /* fails with what is missing without stb */
/* By the end of the path, .svg or .png. figure_path refuses another end, and .png in a build without it. */
int figure_write(const struct figure *f, const char *path, struct error *e);
int figure_path(const char *option, const char *path, struct error *e);
extern const int figure_has_png; /* 0 in a build without stb or the font */

/* Means of y[points] over up to n neighbours to each side, fewer towards the ends and the gaps, which stay gaps: as
 * `smooth` draws them. The caller mem_free()s. */
double *figure_smooth(const double *y, int points, int n);

/* ---- for canvases ---- */

struct ink {
    unsigned rgb; /* 0xRRGGBB */
    double alpha;
};
enum anchor { ANCHOR_LEFT, ANCHOR_MIDDLE, ANCHOR_RIGHT };

/* Coordinates in pixels from the upper left corner; xy holds points pairs. */
struct canvas {
    void *to;
    void (*line)(void *to, const double *xy, int points, double width, int dashed,
                 struct ink ink);                                         /* round caps, joins */
    void (*area)(void *to, const double *xy, int points, struct ink ink); /* a filled polygon */
    void (*dot)(void *to, double x, double y, double radius, struct ink ink);
    /* x, y: the anchor on the base line; turned: reads upwards. size: of an em. */
    void (*text)(void *to, double x, double y, double size, enum anchor anchor, int turned, struct ink ink,
                 const char *s);
};
/* Sizes from the description, or the defaults; refuses absurd ones. */
int figure_size(const struct figure *f, int *width, int *height, struct error *e);
void figure_draw(const struct figure *f, const struct canvas *c);
double figure_text_width(const char *s, double size); /* of DejaVu Sans, without kerning */
/* The next character of UTF-8 text, 0 at its end; what is not a character that XML can hold is U+FFFD. */
unsigned figure_char(const char **s);

#endif
