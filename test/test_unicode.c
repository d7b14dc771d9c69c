/* What the tokenizers need of Unicode: broken UTF-8, normal forms, patterns, by the Unicode Standard's own examples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "../data/unicode.h"
/* last: it needs the headers above, and its macro fail() would change ours */
#include <cmocka.h>

/* ---- UTF-8 and normal forms ---- */

static void test_repair(void **state)
{
    (void)state;
    /* Unicode Standard 3.9, tables 3-8 to 3-11: one U+FFFD for each maximal subpart. */
    static const struct {
        const char *broken, *repaired;
    } cases[] = {
#define R "\xef\xbf\xbd"
        {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", R R R R R R R R "A"},
        {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", R R R R R R R R "A"},
        {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", R R R R R "A" R R "B"},
        {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A"},
        {"a\xe2\x82", "a" R},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text t = {0};
        utf8_repair(cases[i].broken, (int)strlen(cases[i].broken), &t);
        assert_string_equal(t.s, cases[i].repaired);
        text_free(&t);
    }
}

static void expect_form(enum normal_form form, const char *from, const char *to)
{
    struct text t = {0};
    normal_text(form, from, (int)strlen(from), &t);
    assert_string_equal(t.s, to);
    text_free(&t);
}

static void test_normal_forms(void **state)
{
    (void)state;
    /* From the Unicode Standard's NormalizationTest.txt: D with dots above and below in every order, fi ligature, the
     * Angstrom sign, Hangul, a long s with two marks, characters that never compose (U+0958, U+0344). */
    expect_form(NORMAL_NFC, "\xe1\xb8\x8a\xcc\xa3", "\xe1\xb8\x8c\xcc\x87");
    expect_form(NORMAL_NFC, "D\xcc\x87\xcc\xa3", "\xe1\xb8\x8c\xcc\x87");
    expect_form(NORMAL_NFD, "\xe1\xb8\x8a\xcc\xa3", "D\xcc\xa3\xcc\x87");
    expect_form(NORMAL_NFC, "\xef\xac\x81", "\xef\xac\x81");
    expect_form(NORMAL_NFKC, "\xef\xac\x81", "fi");
    expect_form(NORMAL_NFC, "\xe2\x84\xab", "\xc3\x85");
    expect_form(NORMAL_NFC, "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81");
    expect_form(NORMAL_NFD, "\xea\xb0\x81", "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8");
    expect_form(NORMAL_NFKD, "\xe1\xba\x9b\xcc\xa3", "s\xcc\xa3\xcc\x87");
    expect_form(NORMAL_NFC, "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc");
    expect_form(NORMAL_NFC, "\xcd\x84", "\xcc\x88\xcc\x81");
    /* A mark that is younger than the tables stays where it is, and parts what stands beside it. */
    expect_form(NORMAL_NFC, "e\xe0\xa3\x93\xcc\x81", "e\xe0\xa3\x93\xcc\x81");
    expect_form(NORMAL_NFC, "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0", "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0");
}

/* ---- patterns ---- */

static void test_pattern_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *regex, *message;
    } cases[] = {
        {"\\w+", "\"\\w\""},
        {"a\\b", "\"\\b\""},
        {"^a", "\"^\""},
        {"a$", "\"$\""},
        {"(a)\\1", "\"\\1\""},
        {"[a[b]]", "\"[b\""},
        {"[a&&b]", "\"&&\""},
        {"[^a\\S]", "\"\\S\""},
        {"[\\P{L}]", "\"\\P{L}\""},
        {"\\p{Han}", "\\p{Han}"},
        {"(?<n>a)", "\"(?<n\""},
        {"(?i)a", "\"(?i)\""},
        {"a{1,2}+", "\"{1,2}+\""},
        {"a{,2}", "\"{,2}\""},
        {"a{x}", "\"{x}\""},
        {"[a", "\"[a\""},
        {"(a", "not understood"},
        {"*a", "not understood"},
        {"a*", "empty text"},
        {"", "0 bytes"},
        {"\\", "\"\\\""},
        {"\\p{", "\\p{"},
        {"\\x{110000}", "\\x{1100"},
        {"\\ud800", "\\ud800"},
        {"\\xff", "\\xff"},
        {"(*UTF8)a", "\"(*UT\""},
        {"a)", "not understood"},
        {"\\pL", "\\pL"},
        {"]", "\"]\""},
        {"\\x4", "\\x4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {""};
        struct pattern *p = pattern_open(cases[i].regex, (int)strlen(cases[i].regex), &e);
        if (p)
            fail_msg("%s was not refused", cases[i].regex);
        if (!strstr(e.text, cases[i].message))
            fail_msg("%s: '%s' does not say '%s'", cases[i].regex, e.text, cases[i].message);
    }
}

static void test_pattern_meaning(void **state)
{
    (void)state;
    static const struct {
        const char *regex, *text;
        int begin, end; /* of the first match; -1: none */
    } cases[] = {
        {"\\s+", "a \xc2\xa0\xe2\x80\xa8z", 1, 7},
        {"\\s", "\xe1\xa0\x8e", -1, 0}, /* U+180E is no white space since Unicode 6.3 */
        {"\\S+", " ab ", 1, 3},
        {"\\v", "\n\x0b", 1, 2},
        {".+", "\nab\n", 1, 3},
        {"\\p{L}+",
         "1\xf0\xb1\x8d\x90"
         "2",
         1, 5}, /* U+31350, a letter since Unicode 15 */
        {"\\P{L}+", "a12b", 1, 3},
        {"\\p{^L}+", "a12b", 1, 3},
        {"[^\\p{L}]+", "a12b", 1, 3},
        {"\\p{N}{1,3}", "x12345", 1, 4},
        {"\\d+", "x\xc2\xb2\xd9\xa3", 3, 5}, /* a superscript two is no digit, an Arabic three is */
        {"(?i:'S)", "'\xc5\xbf", 0, 3},      /* the long s */
        {"\\x41\\u0042\\x{43}", "xABC", 1, 4},
        {"\\s+(?!\\S)", "a   b", 1, 3},
        {"a++b|a", "aac", 0, 1},
        {"[\\]\\-a]+", "x]-a", 1, 4},
    };
    struct matcher *m = matcher_open();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {""};
        int begin = -1, end = 0;
        struct pattern *p = pattern_open(cases[i].regex, (int)strlen(cases[i].regex), &e);
        if (!p)
            fail_msg("%s", e.text);
        int found = pattern_find(p, m, cases[i].text, (int)strlen(cases[i].text), 0, &begin, &end, &e);
        if (found != (cases[i].begin >= 0) || begin != cases[i].begin || end != cases[i].end)
            fail_msg("%s matches %d..%d", cases[i].regex, begin, end);
        pattern_free(p);
    }
    struct error e = {""};
    int begin, end;
    char text[64];
    memset(text, 'a', sizeof text);
    struct pattern *p = pattern_open("(?:a|a|a)+[bc]", 14, &e); /* tries every way to read the text */
    assert_non_null(p);
    assert_int_equal(pattern_find(p, m, text, sizeof text, 0, &begin, &end, &e), -1);
    assert_non_null(strstr(e.text, "gives up"));
    pattern_free(p);
    matcher_free(m);
}

static void test_white_space(void **state)
{
    (void)state;
    /* PropList.txt of the Unicode Standard: the 25 characters of White_Space. */
    static const int points[] = {0x9,    0xa,    0xb,    0xc,    0xd,    0x20,   0x85,   0xa0,   0x1680,
                                 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
                                 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
    int found = 0;
    for (int point = 0; point < 0x110000; point++) {
        char s[4];
        int n = point >= 0xd800 && point < 0xe000 ? 0 : utf8_put(s, point);
        if (n && white_space(s, n)) {
            assert_int_equal(white_space(s, n), n);
            assert_int_equal(point, points[found++]);
        }
        if (n) {
            enum utf8_kind kind;
            assert_int_equal(utf8_next(s, n, &kind), n);
            assert_true(kind == UTF8_CHARACTER && utf8_point(s, n) == point);
        }
    }
    assert_int_equal(found, 25);
}

/* Marks that pile up out of order, all of one character; Hangul to be composed. */
static void test_linear_normal_forms(void **state)
{
    (void)state;
    static const char *const units[] = {"\xcc\x81\xcc\xa3", "\xe1\x84\x80\xe1\x85\xa1", "\xef\xb7\xba"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        double seconds[2];
        for (int k = 0; k < 2; k++) {
            int len = (int)strlen(units[u]) << (k ? 15 : 12);
            char *text = mem_alloc((size_t)len, 1);
            for (int i = 0, n = (int)strlen(units[u]); i < len; i++)
                text[i] = units[u][i % n];
            struct text out = {0};
            clock_t start = clock(); /* of this process: others must not fail a test */
            normal_text(NORMAL_NFKC, text, len, &out);
            seconds[k] = (double)(clock() - start) / CLOCKS_PER_SEC;
            assert_true(out.len > 0);
            text_free(&out);
            mem_free(text);
        }
        if (seconds[1] > 0.5 && seconds[1] > 32 * seconds[0])
            fail_msg("'%s': %.3f s for a text, %.3f s for eight times as long a one", units[u], seconds[0], seconds[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repair),          cmocka_unit_test(test_white_space),
        cmocka_unit_test(test_normal_forms),    cmocka_unit_test(test_pattern_refusals),
        cmocka_unit_test(test_pattern_meaning), cmocka_unit_test(test_linear_normal_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
