/* dev/verbs: figures are well-formed whatever the data and the texts, nothing leaves the sheet or touches the data's
 * place, and a run's curves are drawn from its files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../dev/verbs/figure.h"
#include "../dev/verbs/report.h"
#include "../model/base/file.h"
#include "../model/base/mem.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

#define FOLDER "/tmp/test_figure.XXXXXX"
#include "folder.h"

/* ---- a small reader of XML: tags balanced, attributes quoted, nothing unescaped; enough to catch what goes wrong here
 * ---- */

static void expect_text(const char *from, const char *to, const char *s)
{
    for (const char *p = from; p < to; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 && c != '\n' && c != '\t')
            fail_msg("a control character %d in %.80s", c, s);
        if (c == '&' && strncmp(p, "&amp;", 5) && strncmp(p, "&lt;", 4) && strncmp(p, "&gt;", 4) &&
            strncmp(p, "&quot;", 6))
            fail_msg("a bare & at %.40s", p);
    }
}

/* Returns how many elements there are. */
static int expect_xml(const char *s)
{
    char open[32][32];
    int depth = 0, elements = 0;
    assert_memory_equal(s, "<?xml ", 6);
    for (const char *p = strstr(s, "?>") + 2, *end; *p; p = end) {
        const char *tag = strchr(p, '<');
        if (!tag)
            break;
        expect_text(p, tag, s);
        end = strchr(tag, '>');
        assert_non_null(end);
        end++;
        int quotes = 0, name = (int)strcspn(tag + 1, " />");
        for (const char *q = tag; q < end; q++)
            quotes += *q == '"';
        assert_int_equal(quotes % 2, 0);
        expect_text(tag + 1, end, s);
        if (tag[1] == '/') {
            assert_true(depth-- > 0);
            assert_memory_equal(open[depth], tag + 2, strlen(open[depth]));
            continue;
        }
        elements++;
        assert_true(name > 0 && name < 32);
        if (end[-2] != '/') {
            assert_true(depth < 32);
            snprintf(open[depth++], 32, "%.*s", name, tag + 1);
        }
    }
    assert_int_equal(depth, 0);
    return elements;
}

static char *svg_of(const struct figure *f)
{
    char path[256];
    struct error e = {""};
    size_t len;
    if (figure_svg(f, in_folder(path, "x.svg"), &e))
        fail_msg("%s", e.text);
    char *s = file_read(path, 1 << 24, &len, &e);
    assert_non_null(s);
    assert_int_equal(strlen(s), len);
    assert_null(strstr(s, "nan"));
    assert_null(strstr(s, "inf"));
    return s;
}

static int occurrences(const char *s, const char *what)
{
    int n = 0;
    for (; (s = strstr(s, what)) != NULL; s++)
        n++;
    return n;
}

static const double ten[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
static const double rise[] = {.1, .2, .2, .3, .5, .6, .8, .8, .9, 1};

static struct figure simple(struct figure_panel *p, struct figure_line *line, const double *y)
{
    *line = (struct figure_line){.label = "line", .points = 10, .x = ten, .y = y};
    *p = (struct figure_panel){.title = "Panel", .y_label = "unit", .line = line, .lines = 1};
    return (struct figure){.title = "Title", .subtitle = "Subtitle", .x_label = "step", .panel = p, .panels = 1};
}

static void test_svg(void **state)
{
    (void)state;
    struct figure_line line;
    struct figure_panel p;
    struct figure f = simple(&p, &line, rise);
    struct figure_level level = {.5, "half"};
    struct figure_mark mark = {4, "here"};
    p.level = &level;
    p.levels = 1;
    f.mark = &mark;
    f.marks = 1;
    line.dots = 1;
    char *s = svg_of(&f);
    assert_true(expect_xml(s) > 30);
    assert_non_null(strstr(s, "width=\"1000\" height=\"700\""));
    const char *texts[] = {">Title<", ">Subtitle<", ">step<", ">Panel<", ">unit<",
                           ">line<",  ">half<",     ">here<", ">0.2<",   ">9<"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strstr(s, texts[i]))
            fail_msg("%s is missing", texts[i]);
    assert_int_equal(occurrences(s, "<circle"), 10 + 1); /* the points, and the legend */
    mem_free(s);
}

static void test_hostile_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "<b> & \"q\" 'a' </text>", "\xff\xfe\x80", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xc0\xaf",
        "a\001b\x1b[2J\n",         "\xef\xbf\xbf", "]]>",  ""};
    char longest[5000];
    struct figure_line line;
    struct figure_panel p;
    memset(longest, 'W', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    for (size_t i = 0; i <= sizeof texts / sizeof *texts; i++) {
        const char *t = i < sizeof texts / sizeof *texts ? texts[i] : longest;
        struct figure f = simple(&p, &line, rise);
        struct figure_mark mark = {4, t};
        f.title = f.subtitle = f.x_label = p.title = p.y_label = line.label = t;
        f.mark = &mark;
        f.marks = 1;
        char *s = svg_of(&f);
        expect_xml(s);
        mem_free(s);
    }
}

static void test_characters(void **state)
{
    (void)state;
    const struct {
        const char *text;
        unsigned want[4];
    } cases[] = {
        {"a\xc3\xa9\xe2\x82\xac", {'a', 0xe9, 0x20ac}},
        {"\xf0\x9f\x98\x80z", {0x1f600, 'z'}},
        {"\xc3(", {0xfffd, '('}},
        {"\xc0\xaf", {0xfffd}},
        {"\xe0\x80\xaf", {0xfffd}},
        {"\xed\xa0\x80", {0xfffd}},
        {"\xf4\x90\x80\x80", {0xfffd}},
        {"\x80\t\x01", {0xfffd, '\t', 0xfffd}},
        {"\xe2\x82", {0xfffd, 0xfffd}},
        {"", {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *s = cases[i].text;
        for (int k = 0; k < 4 && cases[i].want[k]; k++)
            assert_int_equal(figure_char(&s), cases[i].want[k]);
        if (s[0] == 0)
            assert_int_equal(figure_char(&s), 0);
    }
    /* advances of DejaVu Sans in thousandths of an em, from the font: 636 and 318 */
    assert_true(fabs(figure_text_width("1.", 10) - 9.54) < 1e-9);
}

/* Whatever the numbers: a figure, in finite coordinates on the sheet. */
static void test_hostile_data(void **state)
{
    (void)state;
    const double cases[][10] = {
        {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN},
        {1, NAN, 2, INFINITY, 3, -INFINITY, 4, 1e300, 5, -1e300},
        {0},
        {7, 7, 7, 7, 7, 7, 7, 7, 7, 7},
        {-1e-300, 1e-300},
        {1e99, -1e99},
        {1e-9, 2e-9, 3e-9, 4e-9, 5e-9},
        {1e9 + 1, 1e9 + 2, 1e9 + 1, 1e9 + 2, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9},
        {5e-324},
        {-3, -2, -1, -5},
        {12345678, 23456789},
    };
    struct figure_line line;
    struct figure_panel p;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int smooth = 0; smooth < 3; smooth++) {
            struct figure f = simple(&p, &line, cases[i]);
            line.smooth = smooth * 4;
            line.low = line.high = smooth == 1 ? cases[i] : NULL;
            char *s = svg_of(&f);
            expect_xml(s);
            for (const char *q = s; (q = strstr(q, "points=\"")) != NULL;) {
                char *end;
                for (q += 8; *q != '"'; q = end + (*end == ',' || *end == ' ')) {
                    double v = strtod(q, &end);
                    assert_true(end > q && v >= 0 && v <= 1000);
                }
            }
            assert_int_equal(occurrences(s, "no data"), i == 0);
            mem_free(s);
        }
    struct figure f = simple(&p, &line, rise);
    line.points = 0;
    mem_free(svg_of(&f));
    p.lines = 0;
    mem_free(svg_of(&f));
    f.panels = 0;
    mem_free(svg_of(&f));
}

/* A gap cuts the line in two. */
static void test_gap(void **state)
{
    (void)state;
    double y[10];
    struct figure_line line;
    struct figure_panel p;
    memcpy(y, rise, sizeof y);
    struct figure f = simple(&p, &line, y);
    char *s = svg_of(&f);
    int whole = occurrences(s, "stroke=\"#0072b2\"");
    mem_free(s);
    y[4] = NAN;
    s = svg_of(&f);
    assert_int_equal(occurrences(s, "stroke=\"#0072b2\""), whole + 1);
    mem_free(s);
}

static void expect_ticks(const double *y, const char *const *want)
{
    struct figure_line line;
    struct figure_panel p;
    struct figure f = simple(&p, &line, y);
    char *s = svg_of(&f);
    for (int i = 0; want[i]; i++)
        if (!strstr(s, want[i]))
            fail_msg("no tick %s", want[i]);
    mem_free(s);
}

static void test_ticks(void **state)
{
    (void)state;
    expect_ticks((const double[10]){0, 400}, (const char *const[]){">0<", ">50<", ">400<", NULL});
    expect_ticks((const double[10]){0, 50000}, (const char *const[]){">10k<", ">50k<", NULL});
    expect_ticks((const double[10]){-0.2, 0.2}, (const char *const[]){">\xe2\x88\x92"
                                                                      "0.20<",
                                                                      ">0.05<", NULL});
    expect_ticks((const double[10]){0, 3e-5}, (const char *const[]){">5e-6<", ">3e-5<", NULL});
    expect_ticks((const double[10]){0, 3e6}, (const char *const[]){">0.5M<", ">3.0M<", NULL});
}

/* A hundred thousand points become no more than the pixels can show, and extremes survive. */
static void test_long_line(void **state)
{
    (void)state;
    enum { N = 100000 };
    static double x[N], y[N];
    for (int i = 0; i < N; i++) {
        x[i] = i;
        y[i] = i == 77777 ? 50 : sin(i);
    }
    struct figure_line line = {.label = "l", .points = N, .x = x, .y = y};
    struct figure_panel p = {.line = &line, .lines = 1};
    struct figure f = {.title = "t", .x_label = "x", .panel = &p, .panels = 1};
    char *s = svg_of(&f);
    assert_true(strlen(s) < 100000);
    double top = 1e9;
    const char *q = strstr(s, "#0072b2"); /* the line; back to where its points begin */
    while (q > s && strncmp(q, "points=\"", 8))
        q--;
    for (q += 8; *q != '"';) {
        char *end;
        strtod(q, &end);
        top = fmin(top, strtod(end + 1, &end));
        q = end + (*end == ' ');
    }
    assert_true(top < 200);
    mem_free(s);
}

/* ---- PNG ---- */

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void test_png(void **state)
{
    (void)state;
    char path[256];
    struct error e = {""};
    struct figure_line line;
    struct figure_panel p;
    struct figure f = simple(&p, &line, rise);
    size_t len;
    line.low = line.high = rise;
    line.dashed = line.dots = 1;
    f.width = 640;
    f.height = 400;
    int status = figure_png(&f, in_folder(path, "x.png"), &e);
    if (!figure_has_png) {
        assert_int_equal(status, -1);
        assert_non_null(strstr(e.text, "stb"));
        return;
    }
    if (status)
        fail_msg("%s", e.text);
    unsigned char *s = (unsigned char *)file_read(path, 1 << 24, &len, &e);
    assert_memory_equal(s, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    assert_int_equal(big_endian(s + 16), 640);
    assert_int_equal(big_endian(s + 20), 400);
    size_t at = 8;
    while (at + 12 <= len && memcmp(s + at + 4, "IEND", 4))
        at += 12 + (size_t)big_endian(s + at);
    assert_int_equal(at + 12, len);
    assert_true(len > 3000);
    mem_free(s);
    f.title = "\xff\xfe \xe4\xb8\xad <&>"; /* no glyph, no character: boxes */
    assert_int_equal(figure_png(&f, path, &e), 0);
}

static void test_refused(void **state)
{
    (void)state;
    char path[256];
    struct error e;
    struct figure_line line;
    struct figure_panel p;
    struct figure f = simple(&p, &line, rise);
    assert_int_equal(figure_svg(&f, in_folder(path, "none/x.svg"), &e), -1);
    assert_int_equal(figure_png(&f, path, &e), -1);
    const int sizes[][2] = {{299, 700}, {1000, 199}, {8001, 700}, {-1, 700}, {1000, 1 << 30}};
    in_folder(path, "y.svg");
    for (int i = 0; i < 5; i++) {
        f.width = sizes[i][0];
        f.height = sizes[i][1];
        assert_int_equal(figure_svg(&f, path, &e), -1);
        assert_int_equal(figure_png(&f, path, &e), -1);
    }
    assert_int_equal(file_size(path), -1);
}

/* ---- curves of a run ---- */

#define WARM(step, loss)                                                                                               \
    "{\"step\":" step ",\"phase\":\"warmup\",\"reward\":null,\"accuracy\":null,\"length\":9,\"loss\":" loss "}\n"
#define ROLL(step, reward)                                                                                             \
    "{\"step\":" step ",\"phase\":\"rl\",\"reward\":" reward                                                           \
    ",\"accuracy\":0.5,\"length\":12,\"entropy\":0.3,\"kl\":0.01}\n"
#define EVAL(step, phase, accuracy)                                                                                    \
    "{\"step\":" step ",\"phase\":\"" phase "\",\"prompts\":200,\"accuracy\":" accuracy                                \
    ",\"accuracy_se\":0.02,\"pass@8\":0.9,"                                                                            \
    "\"length\":11}\n"

static char *curves_of(const char *log, const char *eval)
{
    char path[256];
    struct error e = {""};
    size_t len;
    assert_int_equal(file_write(in_folder(path, "log.jsonl"), log, strlen(log), &e), 0);
    unlink(in_folder(path, "eval.jsonl"));
    if (eval)
        assert_int_equal(file_write(path, eval, strlen(eval), &e), 0);
    if (report_curves(folder, &e))
        fail_msg("%s", e.text);
    char *s = file_read(in_folder(path, "curves.svg"), 1 << 24, &len, &e);
    assert_non_null(s);
    expect_xml(s);
    assert_true(!figure_has_png || file_size(in_folder(path, "curves.png")) > 3000);
    return s;
}

static void test_curves(void **state)
{
    (void)state;
    char *s = curves_of(WARM("0", "3.0") WARM("1", "2.0") ROLL("2", "0.4") ROLL("3", "0.6")
                            ROLL("4", "0.7") "{\"step\":5,\"ph",
                        EVAL("2", "rl", "0.25") EVAL("5", "rl", "0.75"));
    const char *texts[] = {
        ">warm-up ends<", ">reward, rollouts<",      ">pass@8<",       ">loss on worked examples<",
        ">tokens<",       "KL divergence",           "nats per token", "25.0 \xc2\xb1 2.0 % at first, 75.0",
        "unseen prompts", ">optimiser step (warm-up"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strstr(s, texts[i]))
            fail_msg("%s is missing", texts[i]);
    mem_free(s);
}

static void test_curves_of_little(void **state)
{
    (void)state;
    char path[256];
    struct error e;
    mem_free(curves_of("", NULL));
    mem_free(curves_of(WARM("0", "3.0"), NULL));
    mem_free(curves_of(ROLL("0", "-40"), EVAL("0", "rl", "null")));
    char *s = curves_of(ROLL("0", "0.5") ROLL("1", "0.5"), ""); /* reward and accuracy are one line */
    assert_non_null(strstr(s, ">reward = accuracy, rollouts<"));
    assert_null(strstr(s, "warm-up"));
    mem_free(s);
    in_folder(path, "log.jsonl");
    assert_int_equal(file_write(path, "{\"step\":0}\n[]\n", 14, &e), 0);
    assert_int_equal(report_curves(folder, &e), -1);
    assert_non_null(strstr(e.text, "log.jsonl:2"));
    assert_int_equal(report_curves("/nonexistent", &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_svg),
        cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_hostile_data),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_png),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_curves),
        cmocka_unit_test(test_curves_of_little),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
