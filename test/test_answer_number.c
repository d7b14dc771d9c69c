/* Numbers that texts give as answers: cases written by hand from the rules of answer_number.h, the solutions of GSM8K
 * against their authors' grades, hostile texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../data/answer_number.h"
#include "../model/base/json.h"
#include "../model/base/rng.h"
/* last: it needs the headers above, and its macro fail() would change ours */
#include <cmocka.h>

#define SOLUTIONS "../shared/data/gsm8k/example_model_solutions.jsonl"

/* What a gold answer has to say to a prediction; shown: how the number found is written. */
enum verdict { SAME, OTHER, UNPARSABLE, BAD_GOLD };
struct judged {
    const char *gold, *pred;
    enum verdict verdict;
    const char *shown;
};

static enum verdict judge(const char *gold, int gold_len, const char *pred, int pred_len, struct text *shown)
{
    struct number a, b;
    text_clear(shown);
    text_add(shown, "", 0);
    if (!answer_number(gold, gold_len, 1, &a))
        return BAD_GOLD;
    if (!answer_number(pred, pred_len, 0, &b))
        return UNPARSABLE;
    number_text(&b, shown);
    int same = number_equal(&a, &b);
    assert_int_equal(number_equal(&b, &a), same);
    assert_true(number_equal(&a, &a) && number_equal(&b, &b));
    return same ? SAME : OTHER;
}

static void expect(const struct judged *cases, size_t n)
{
    struct text shown = {0};
    for (size_t i = 0; i < n; i++) {
        const struct judged *c = &cases[i];
        enum verdict v = judge(c->gold, (int)strlen(c->gold), c->pred, (int)strlen(c->pred), &shown);
        if (v != c->verdict || (c->shown && strcmp(shown.s, c->shown)))
            fail_msg("'%s' against '%s': verdict %d, not %d; found '%s'", c->gold, c->pred, v, c->verdict, shown.s);
    }
    text_free(&shown);
}
#define EXPECT(cases) expect(cases, sizeof cases / sizeof *cases)

static void test_plain(void **state)
{
    (void)state;
    static const struct judged cases[] = {
        {"72", "72", SAME, "72"},
        {"72", "73", OTHER, "73"},
        {"72", "-72", OTHER, "-72"},
        {"-72", "-72", SAME, "-72"},
        {"-72",
         "\xe2\x88\x92"
         "72",
         SAME, "-72"},
        {"-72",
         "\xe2\x80\x93"
         "72",
         SAME, "-72"},
        {"-72",
         "It is \xe2\x80\x93"
         "72",
         OTHER, "72"}, /* in running text a dash is no sign */
        {"-72",
         "\\boxed{\xe2\x80\x93"
         "72}",
         SAME, "-72"},
        {"72", "+72", SAME, "72"},
        {"0", "-0", SAME, "0"},
        {"0", "0.000", SAME, "0"},
        {"0", "0/5", SAME, NULL},
        {"72", "072", SAME, "72"},
        {"72", "72.0", SAME, "72"},
        {"72", "72.", SAME, "72"},
        {"72", "72.00", SAME, "72"},
        {"72", "72.01", OTHER, "72.01"},
        {"0.5", ".5", SAME, "0.5"},
        {"0.5", "0.50", SAME, "0.5"},
        {"0.05", ".5", OTHER, "0.5"},
        {"-0.5", "-.5", SAME, "-0.5"},
        {"0.1", "0.1000000000000000000000000000000000000001", OTHER, NULL},
        {"123456789012345678901234567890", "123456789012345678901234567890", SAME, NULL},
        {"123456789012345678901234567890", "123456789012345678901234567891", OTHER, NULL},
        {"1e3", "1000", SAME, "1000"},
        {"1000", "1e3", SAME, "1000"},
        {"1000", "1.0E+3", SAME, "1000"},
        {"0.015", "1.5e-2", SAME, "0.015"},
        {"1500", "\\boxed{1.5 \\times 10^3}", SAME, "1500"},
        {"0.0015", "\\boxed{1.5 \\times 10^{-3}}", SAME, "0.0015"},
        {"1500", "1.5\\cdot 10^{3}", SAME, "1500"},
        {"1500", "1.5 x 10^3", SAME, "1500"},
        {"1500",
         "1.5\xc3\x97"
         "10^3",
         SAME, "1500"},
        {"1e9999", "5", BAD_GOLD, NULL},
        {"5", "five", UNPARSABLE, ""},
        {"5", "", UNPARSABLE, ""},
        {"5", "   ", UNPARSABLE, ""},
        {"5", "-", UNPARSABLE, ""},
        {"5", ".", UNPARSABLE, ""},
        {"5", "I do not know.", UNPARSABLE, ""},
        {"5", "x5", UNPARSABLE, ""},
        {"5", "  5 \n", SAME, "5"},
        {" 5\n", "5", SAME, "5"},
    };
    EXPECT(cases);
}

static void test_separators_and_units(void **state)
{
    (void)state;
    static const struct judged cases[] = {
        {"1,234", "1234", SAME, "1234"},
        {"1234", "1,234", SAME, "1234"},
        {"1234567", "1,234,567", SAME, "1234567"},
        {"1234567.5", "1,234,567.50", SAME, "1234567.5"},
        {"1234", "\\boxed{1{,}234}", SAME, "1234"},
        {"1234", "\\boxed{1\\,234}", SAME, "1234"},
        {"1234", "\\boxed{1,\\!234}", SAME, "1234"},
        {"1234",
         "1\xe2\x80\xaf"
         "234",
         SAME, "1234"},
        {"1234",
         "1\xc2\xa0"
         "234",
         SAME, "1234"},
        {"123", "\\boxed{1,23}", UNPARSABLE, ""},
        {"1234", "\\boxed{12,34}", UNPARSABLE, ""},
        {"1,23", "123", BAD_GOLD, NULL},
        {"1234", "\\boxed{1,234,}", SAME, "1234"},
        {"12345", "\\boxed{1234,5}", UNPARSABLE, ""},
        {"1234567", "\\boxed{1,234{,}567}", UNPARSABLE, ""}, /* two kinds of separators */
        {"5", "$5", SAME, "5"},
        {"5", "$5.00", SAME, "5"},
        {"$5", "5", SAME, "5"},
        {"5", "\\$5", SAME, "5"},
        {"-5", "-$5", SAME, "-5"},
        {"-5", "\\boxed{$-5}", SAME, "-5"},
        {"5",
         "\xe2\x82\xac"
         "5",
         SAME, "5"},
        {"5",
         "\xc2\xa3"
         "5",
         SAME, "5"},
        {"5", "\\boxed{5\xe2\x82\xac}", SAME, "5"},
        {"1200", "#### $1,200", SAME, "1200"},
        {"5", "\\boxed{USD 5}", SAME, "5"},
        {"5", "\\boxed{5 USD}", SAME, "5"},
        {"5", "\\boxed{Rs. 5}", SAME, "5"},
        {"50", "50%", SAME, "50%"},
        {"50%", "50", SAME, "50"},
        {"50%", "50%", SAME, "50%"},
        {"0.5", "50%", SAME, "50%"},
        {"50%", "0.5", SAME, "0.5"},
        {"50%", "1/2", SAME, "1/2"},
        {"50%", "0.5%", OTHER, "0.5%"},
        {"50", "\\boxed{50\\%}", SAME, "50%"},
        {"50", "\\boxed{50 \\%}", SAME, "50%"},
        {"50%", "5", OTHER, "5"},
        {"5 apples", "5", SAME, "5"},
        {"5", "\\boxed{5 apples}", SAME, "5"},
        {"5", "\\boxed{5\\text{ apples}}", SAME, "5"},
        {"5", "\\boxed{5 \\text{ cm}^2}", SAME, "5"},
        {"5", "\\boxed{5\\mathrm{cm}^{2}}", SAME, "5"},
        {"5", "\\boxed{5 cm^2}", SAME, "5"},
        {"5", "\\boxed{5cm}", SAME, "5"},
        {"5", "\\boxed{5 m}", SAME, "5"},
        {"5", "\\boxed{5 km/h}", SAME, "5"},
        {"5", "\\boxed{5 miles per hour}", SAME, "5"},
        {"90", "\\boxed{90^\\circ}", SAME, "90"},
        {"90", "\\boxed{90^{\\circ}}", SAME, "90"},
        {"90", "\\boxed{90\xc2\xb0}", SAME, "90"},
        {"3", "\\boxed{3rd}", SAME, "3"},
        {"5 dollars and 50 cents", "5.50", BAD_GOLD, NULL},
        {"5 or 6", "5", BAD_GOLD, NULL},
        {"5 to 6", "5", BAD_GOLD, NULL},
    };
    EXPECT(cases);
}

static void test_fractions(void **state)
{
    (void)state;
    static const struct judged cases[] = {
        {"3/4", "0.75", SAME, "0.75"},
        {"0.75", "3/4", SAME, "3/4"},
        {"3/4", "6/8", SAME, "6/8"},
        {"3/4", "4/3", OTHER, "4/3"},
        {"1/3", "0.3333", OTHER, "0.3333"},
        {"1/3", "0.33333333333333333333333333333333333333", OTHER, NULL},
        {"1/3", "2/6", SAME, "2/6"},
        {"-1/2", "-0.5", SAME, "-0.5"},
        {"-1/2", "\\boxed{-\\frac{1}{2}}", SAME, "-1/2"},
        {"-1/2", "\\boxed{\\frac{-1}{2}}", SAME, "-1/2"},
        {"-1/2", "\\boxed{\\frac{1}{-2}}", SAME, "-1/2"},
        {"1/2", "\\boxed{\\frac{-1}{-2}}", SAME, "1/2"},
        {"1/2", "\\boxed{\\frac12}", SAME, "1/2"},
        {"1/2", "\\boxed{\\dfrac{1}{2}}", SAME, "1/2"},
        {"1/2", "\\boxed{\\tfrac{1}{2}}", SAME, "1/2"},
        {"0.5", "so it is \\frac{1}{2}", SAME, "1/2"},
        {"2", "\\boxed{\\frac{4}{2}}", SAME, "4/2"},
        {"0.25", "\\boxed{\\frac{0.5}{2}}", SAME, "0.5/2"},
        {"5", "\\boxed{\\frac{2.5}{0.5}}", SAME, NULL},
        {"1000", "\\boxed{\\frac{2,000}{2}}", SAME, "2000/2"},
        {"1.75", "\\boxed{1 3/4}", SAME, "7/4"},
        {"1 3/4", "1.75", SAME, "1.75"},
        {"1.75", "\\boxed{1\\frac{3}{4}}", SAME, "7/4"},
        {"-1.75", "\\boxed{-1\\frac{3}{4}}", SAME, "-7/4"},
        {"2.5", "It takes 2 1/2 hours", SAME, "5/2"},
        {"10.5", "\\boxed{10 1/2}", SAME, "21/2"},
        {"1.75", "\\boxed{1 7/4}", UNPARSABLE, ""}, /* a mixed number has a proper fraction */
        {"1/0", "5", BAD_GOLD, NULL},
        {"5", "\\boxed{1/0}", UNPARSABLE, ""},
        {"5", "\\boxed{\\frac{1}{0}}", UNPARSABLE, ""},
        {"0", "\\boxed{\\frac{0}{3}}", SAME, NULL},
        {"5", "\\boxed{\\frac{a}{b}}", UNPARSABLE, ""},
        {"1/2", "\\boxed{\\frac{1}{2}x}", UNPARSABLE, ""},
        {"5", "\\boxed{1/2/3}", UNPARSABLE, ""},
        {"1/6", "\\boxed{\\frac{1}{6}}.", SAME, "1/6"},
        {"12345678901234567890/3", "4115226300411522630", SAME, NULL},
        {"1 / 2", "0.5", SAME, "0.5"},
    };
    EXPECT(cases);
}

static void test_where(void **state)
{
    (void)state;
    static const struct judged cases[] = {
        {"7", "3 + 4 = 7", SAME, "7"},
        {"7", "He has 3 and she has 4, so 7 in all.", SAME, "7"},
        {"4", "First 3, then 4", SAME, "4"},
        {"3", "5-3", SAME, "3"},
        {"3", "5 - 3", SAME, "3"},
        {"-3", "The change is -3", SAME, "-3"},
        {"-3", "(-3)", SAME, "-3"},
        {"72", "#### 72", SAME, "72"},
        {"#### 72", "72", SAME, "72"},
        {"48/2 = 24\n24 + 48 = 72\n#### 72", "so #### 72", SAME, "72"},
        {"72", "#### 72\nBut 5 are left", SAME, "72"},
        {"72", "#### 71\n#### 72", SAME, "72"},
        {"72", "72\n####", UNPARSABLE, ""},
        {"72", "72\n#### unknown", UNPARSABLE, ""},
        {"72", "#### 72 or 73", UNPARSABLE, ""},
        {"72", "####72", SAME, "72"},
        {"72", "\\boxed{72}", SAME, "72"},
        {"72", "$\\boxed{72}$ is what 5 people get", SAME, "72"},
        {"72", "\\boxed{5} no, \\boxed{72}", SAME, "72"},
        {"72", "\\boxed{x = 72}", SAME, "72"},
        {"72", "\\boxed{$72$}", SAME, "72"},
        {"72", "\\boxed{\\text{72}}", SAME, "72"},
        {"72", "\\boxed{\\$72}", SAME, "72"},
        {"72", "\\boxed{72.}", SAME, "72"},
        {"72", "\\fbox{72}", SAME, "72"},
        {"72", "\\boxed{72", SAME, "72"}, /* cut off behind the number */
        {"72", "72 \\boxed{}", UNPARSABLE, ""},
        {"72", "72 \\boxed{\\text{seventy-two}}", UNPARSABLE, ""},
        {"3", "\\boxed{3x}", UNPARSABLE, ""},
        {"2", "\\boxed{2\\sqrt{3}}", UNPARSABLE, ""},
        {"2", "\\boxed{2\\pi}", UNPARSABLE, ""},
        {"1", "\\boxed{(1, 2)}", UNPARSABLE, ""},
        {"2", "\\boxed{1, 2}", UNPARSABLE, ""},
        {"120", "\\boxed{5!}", UNPARSABLE, ""},
        {"1000", "\\boxed{10^3}", UNPARSABLE, ""},
        {"3", "\\boxed{3:4}", UNPARSABLE, ""},
        {"3", "\\boxed{x > 3}", UNPARSABLE, ""},
        {"5", "#### 4 \\boxed{5}", SAME, "5"}, /* whichever comes later */
        {"4", "\\boxed{5} #### 4", SAME, "4"},
        {"72", "The answer is 72.", SAME, "72"},
        {"72", "The answer is $72.00.", SAME, "72"},
        {"72", "The answer is 72 apples, of which 5 are red.", SAME, "72"},
        {"72", "the final answer is: 72", SAME, "72"},
        {"72", "The answer is 70 + 2 = 72.", SAME, "72"},
        {"72", "The answer is 72. Check: 72 / 2 = 36.", SAME, NULL},
        {"72", "The answer is 5. No, the answer is 72", SAME, "72"},
        {"72", "Answer: 72", SAME, "72"},
        {"72", "ANSWER: **72**", SAME, "72"},
        {"72", "Answer:\n72", SAME, "72"},
        {"72", "**Answer:** 72", SAME, "72"},
        {"72", "He makes 5.\nA: 72", SAME, "72"},
        {"A: 72", "72", SAME, "72"},
        {"He earns 9 * 2 = $18.\nA: 18", "A: 18", SAME, "18"},
        {"5", "Q: how many in 7A: 5", SAME, "5"},
        {"72", "The answer is unclear, but 72", SAME, "72"},
        {"72", "My answer is the sum.\nIt is 72", SAME, "72"},
        {"The answer is 72.", "72", SAME, "72"},
        {"72 apples and 5 pears", "72", BAD_GOLD, NULL},
        {"He has 72", "72", BAD_GOLD, NULL},
        {"", "72", BAD_GOLD, NULL},
        {"seventy-two", "seventy-two", BAD_GOLD, NULL}, /* never equal, not even to itself */
        {"#### none", "#### none", BAD_GOLD, NULL},
        {"\\boxed{x}", "\\boxed{x}", BAD_GOLD, NULL},
        {"\\boxed{72}", "72", SAME, "72"},
        {"x = 72", "72", SAME, "72"},
    };
    EXPECT(cases);
}

static void test_graded_solutions(void **state)
{
    (void)state;
    static const char *const models[] = {"6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"};
    FILE *f = fopen(SOLUTIONS, "r");
    if (!f) {
        print_message("no %s\n", SOLUTIONS);
        skip();
    }
    struct text shown = {0};
    char *line = NULL;
    size_t cap = 0;
    int judged = 0, good = 0;
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0;) {
        struct error e = {""};
        json_t *row = json_parse(line, (size_t)n, &e);
        if (!row)
            fail_msg("%s", e.text);
        const json_t *gold = json_object_get(row, "ground_truth");
        for (int k = 0; k < 4; k++, judged++) {
            const json_t *one = json_object_get(row, models[k]), *pred = json_object_get(one, "solution");
            enum verdict v = judge(json_string_value(gold), (int)json_string_length(gold), json_string_value(pred),
                                   (int)json_string_length(pred), &shown);
            if ((v == SAME) != json_is_true(json_object_get(one, "is_correct")) || v == BAD_GOLD)
                fail_msg("verdict %d on '%s' and '%s'", v, json_string_value(gold), json_string_value(pred));
            good += v == SAME;
        }
        json_decref(row);
    }
    assert_int_equal(judged, 5276);
    assert_int_equal(good, 286 + 515 + 458 + 742); /* as the data's own description counts them */
    free(line);
    text_free(&shown);
    fclose(f);
}

/* Texts of random pieces of the grammar: read or refused, never worse, and alike twice. */
static void test_hostile(void **state)
{
    (void)state;
    static const char *const pieces[] = {"1",
                                         "23",
                                         ",",
                                         ".",
                                         "-",
                                         "/",
                                         "\\frac",
                                         "{",
                                         "}",
                                         "$",
                                         "\\boxed{",
                                         "####",
                                         " ",
                                         "e9",
                                         "10^",
                                         "%",
                                         "\\,",
                                         "answer is",
                                         "A:",
                                         "\n",
                                         "=",
                                         "x",
                                         "\\text{",
                                         "000",
                                         "\xe2\x88\x92",
                                         "\xe2",
                                         "\\",
                                         "cm",
                                         "^2",
                                         "(",
                                         "99999999999999999999"};
    struct rng r = rng_stream(7, RNG_TEST, 0, 0, 0);
    uint64_t at = 0;
    struct text text = {0}, shown = {0};
    for (int trial = 0; trial < 6000; trial++) {
        text_clear(&text);
        text_add(&text, "", 0);
        for (int n = rng_below(r, at++, 12); n >= 0; n--)
            text_add(&text, pieces[rng_below(r, at++, sizeof pieces / sizeof *pieces)], -1);
        char *exact = mem_alloc((size_t)text.len, 1); /* no byte behind it may be read */
        memcpy(exact, text.s, (size_t)text.len);
        enum verdict v = judge("1", 1, exact, text.len, &shown), again = judge("1", 1, exact, text.len, &shown);
        assert_true(v == again && v != BAD_GOLD);
        v = judge(exact, text.len, exact, text.len, &shown);
        assert_true(v == SAME || v == BAD_GOLD); /* what is read as a gold answer is read alike as a prediction */
        mem_free(exact);
    }
    text_free(&text);
    text_free(&shown);
}

/* Sixteen times the text takes about sixteen times as long; the square would take 256 times. */
static void test_linear_time(void **state)
{
    (void)state;
    static const char *const units[] = {"1",   "1,",       "1 ",  "1/", "-",        "- ",   "\\,",       "$",
                                        "1.",  "\\frac{1", "{",   "}",  "\\boxed{", "####", "answer is", "A:\n",
                                        "1e1", "\\frac{$", "-$ ", "=",  "\\text{",  "1\\,", "1 1/",      "-\\,"};
    struct text shown = {0};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        double seconds[2];
        for (int k = 0; k < 2; k++) {
            int len = k ? 1 << 18 : 1 << 14, unit = (int)strlen(units[u]);
            char *text = mem_alloc((size_t)len, 1);
            for (int i = 0; i < len; i++)
                text[i] = units[u][i % unit];
            clock_t start = clock(); /* of this process: others must not fail a test */
            judge("1", 1, text, len, &shown);
            judge(text, len, "1", 1, &shown);
            seconds[k] = (double)(clock() - start) / CLOCKS_PER_SEC;
            mem_free(text);
        }
        if (seconds[1] > 0.5 && seconds[1] > 64 * seconds[0])
            fail_msg("'%s': %.3f s for 16 KiB, %.3f s for 256 KiB", units[u], seconds[0], seconds[1]);
    }
    text_free(&shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_separators_and_units),
        cmocka_unit_test(test_fractions),
        cmocka_unit_test(test_where),
        cmocka_unit_test(test_graded_solutions),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
