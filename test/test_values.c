/* model/base/json and param: what is refused and in which words, what reads back equal, every type and bound of a row.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../model/base/json.h"
#include "../model/base/mem.h"
#include "../model/base/param.h"
#include "../model/base/rng.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */
#include "child.h"

/* ---- json */

static void refuse_json(const char *text, size_t len, const char *why)
{
    struct error e = {""};
    json_t *v = json_parse(text, len, &e);
    if (v)
        fail_msg("accepted: %s", text);
    assert_contains(e.text, "line ");
    assert_contains(e.text, why);
    for (const char *c = e.text; *c; c++) /* a message can itself be written as JSON */
        assert_true(*c >= 32 && *c < 127);
}

static void test_json_refuses(void **state)
{
    (void)state;
#define REFUSE(text, why) refuse_json(text, sizeof text - 1, why)
    REFUSE("", "");
    REFUSE("{\"a\":1,\"a\":2}", "duplicate");
    REFUSE("{\"a\":1} x", "end of file");
    REFUSE("{\"a\":1}{", "end of file");
    REFUSE("[1,2", "");
    REFUSE("[1,]", "");
    REFUSE("{a:1}", "");
    REFUSE("[NaN]", "");
    REFUSE("[01]", "");
    REFUSE("\"a\\u0000b\"", "");
    REFUSE("\"a\0b\"", "");
    REFUSE("\"\xff\xfe\"", "");
    REFUSE("\"\xed\xa0\x80\"", ""); /* half of a surrogate pair */
    REFUSE("\"\\ud800\"", "");
    REFUSE("1e999", "overflow");
    REFUSE("99999999999999999999999999", "big");
    REFUSE("{\n\"a\": 1,\n\"b\": ?}", "line 3");
#undef REFUSE
    enum { DEPTH = 100000 };
    char *deep = mem_alloc(DEPTH, 1);
    memset(deep, '[', DEPTH);
    refuse_json(deep, DEPTH, "depth");
    mem_free(deep);
    assert_null(json_parse("[", 1, NULL));
}

static void test_json_round_trip(void **state)
{
    (void)state;
    struct error e;
    static const char text[] = "{\"z\":[1,-2,0.10000000000000001,1e-300,true,null],\"a\":{\"k\":\"\\\"\\n\xc3\xa9\"}}";
    json_t *v = json_parse(text, sizeof text - 1, &e);
    assert_non_null(v);
    char *again = json_text(v); /* keys stay in their order */
    assert_string_equal(again, text);
    free(again);
    json_decref(v);
    double hard[] = {1.0 / 3, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, -9007199254740993.0};
    for (int i = 0; i < 5; i++) { /* 17 digits bring every double back */
        json_t *x = json_real(hard[i]);
        char *s = json_text(x);
        json_t *y = json_parse(s, strlen(s), &e);
        assert_non_null(y);
        assert_true(json_real_value(y) == hard[i]);
        free(s);
        json_decref(x);
        json_decref(y);
    }
}

static void test_json_members(void **state)
{
    (void)state;
    struct error e;
    static const char text[] = "{\"i\":7,\"r\":16.0,\"half\":2.5,\"huge\":1e300,\"big\":9223372036854775807,\"t\":true,"
                               "\"s\":\"x\",\"n\":null}";
    json_t *o = json_parse(text, sizeof text - 1, &e);
    assert_non_null(o);
    long i = -1;
    assert_int_equal(json_need_int(o, "i", 0, 10, &i, &e), 0);
    assert_int_equal(i, 7);
    assert_int_equal(json_need_int(o, "r", 0, 16, &i, &e), 0);
    assert_int_equal(i, 16);
    i = -1;
    static const struct {
        const char *key, *why;
    } bad[] = {{"half", "whole"},     {"huge", "whole"}, {"big", "outside"}, {"t", "not a number"},
               {"s", "not a number"}, {"n", "missing"},  {"none", "missing"}};
    for (int k = 0; k < 7; k++) {
        assert_int_equal(json_need_int(o, bad[k].key, 0, 10, &i, &e), -1);
        assert_contains(e.text, bad[k].key);
        assert_contains(e.text, bad[k].why);
        assert_int_equal(i, -1); /* a failure leaves the result alone */
    }
    assert_int_equal(json_need_int(o, "i", 8, 10, &i, &e), -1);
    assert_contains(e.text, "outside 8 to 10");
    assert_int_equal(json_need_int(o, "r", 0, 15, &i, &e), -1);
    assert_int_equal(json_get_int(o, "none", 0, 10, 3, &i, &e), 0);
    assert_int_equal(i, 3);
    assert_int_equal(json_get_int(o, "n", 0, 10, 4, &i, &e), 0);
    assert_int_equal(i, 4);
    assert_int_equal(json_get_int(o, "s", 0, 10, 4, &i, &e), -1);
    assert_int_equal(json_need_int(NULL, "i", 0, 10, &i, &e), -1);

    double x;
    assert_int_equal(json_get_number(o, "half", 1, &x, &e), 0);
    assert_true(x == 2.5);
    assert_int_equal(json_get_number(o, "i", 1, &x, &e), 0);
    assert_true(x == 7);
    assert_int_equal(json_get_number(o, "n", 1.5, &x, &e), 0);
    assert_true(x == 1.5);
    assert_int_equal(json_get_number(o, "s", 1, &x, &e), -1);
    assert_contains(e.text, "\"s\"");

    int flag = 5;
    assert_int_equal(json_get_bool(o, "t", 0, &flag, &e), 0);
    assert_int_equal(flag, 1);
    assert_int_equal(json_get_bool(o, "n", 1, &flag, &e), 0);
    assert_int_equal(flag, 1);
    assert_int_equal(json_get_bool(o, "i", 1, &flag, &e), -1);
    assert_string_equal(json_get_string(o, "s", "d"), "x");
    assert_string_equal(json_get_string(o, "i", "d"), "d");
    assert_string_equal(json_get_string(o, "none", "d"), "d");
    json_decref(o);
}

/* ---- param */

static const struct param rows[] = {
    {"clip", PARAM_NUMBER, "0.2", 0, 1, NULL, "A bounded number.", NULL},
    {"eps_high", PARAM_NUMBER, "off", 0, 10, NULL, "A number that may be off.", NULL},
    {"limit", PARAM_NUMBER, "3", 0, INFINITY, NULL, "A number without upper bound.", NULL},
    {"steps", PARAM_INT, "5", 1, 1000, NULL, "A whole number.", NULL},
    {"rounds", PARAM_INT, "5", 0, INFINITY, NULL, "A whole number without upper bound.", NULL},
    {"std", PARAM_BOOL, "true", 0, 1, NULL, "A flag.", NULL},
    {"kind", PARAM_CHOICE, "k1", 0, 0, "k1|k2|token_mean", "A choice.", NULL},
    {"mode", PARAM_CHOICE, "off", 0, 0, "a|b", "A choice that may be off.", NULL},
    {"gate", PARAM_CHOICE, "a", 0, 0, "a|off", "A choice that is called off.", NULL},
    {"words", PARAM_TEXT, "", 0, 0, NULL, "A text.", NULL},
    {"file", PARAM_TEXT, "off", 0, 0, NULL, "A text that may be off.", NULL},
    {0},
};

static const struct param *row(const char *key)
{
    int i = param_find(rows, key);
    assert_true(i >= 0);
    return &rows[i];
}

static struct value accept(const char *key, const char *s)
{
    struct error e;
    struct value v;
    if (param_parse(row(key), s, &v, &e) != 0)
        fail_msg("%s = %s: refused: %s", key, s, e.text);
    return v;
}

static void refuse(const char *key, const char *s, const char *why)
{
    struct error e;
    struct value v;
    if (param_parse(row(key), s, &v, &e) == 0)
        fail_msg("%s = %s: accepted", key, s);
    assert_contains(e.text, key);
    assert_contains(e.text, s);
    assert_contains(e.text, why);
}

static void test_param_find(void **state)
{
    (void)state;
    assert_int_equal(param_count(rows), 11);
    assert_int_equal(param_count(NULL), 0);
    assert_int_equal(param_find(rows, "eps-high"), 1);
    assert_int_equal(param_find(rows, "eps_high"), 1);
    assert_int_equal(param_find(rows, "eps_hig"), -1);
    assert_int_equal(param_find(rows, "eps_high2"), -1);
    assert_int_equal(param_find(rows, ""), -1);
    assert_int_equal(param_find(NULL, "x"), -1);
}

static void test_param_numbers(void **state)
{
    (void)state;
    assert_true(accept("clip", "0.28").num == 0.28);
    assert_true(accept("clip", "1e-5").num == 1e-5);
    assert_true(accept("clip", "0").num == 0);
    assert_true(accept("clip", "1").num == 1);
    assert_false(signbit(accept("clip", "-0").num));
    refuse("clip", "1.0001", "from 0 to 1");
    refuse("clip", "-1e-9", "out of bounds");
    refuse("clip", "abc", "not a number");
    refuse("clip", "0.2x", "not a number");
    refuse("clip", " 0.2", "not a number");
    refuse("clip", "0x1", "not a number");
    refuse("clip", "nan", "not a number");
    refuse("clip", "", "not a number");
    refuse("clip", "-", "not a number");
    refuse("clip", "inf", "not a number");
    refuse("clip", "off", "cannot be switched off");
    refuse("limit", "-1", "at least 0");
    refuse("limit", "1e999", "out of bounds");
    refuse("limit", "-inf", "not a number");

    assert_true(accept("steps", "1000").num == 1000);
    assert_true(accept("steps", "1e2").num == 100);
    refuse("steps", "2.5", "whole number");
    refuse("steps", "0", "from 1 to 1000");
    refuse("steps", "1001", "from 1 to 1000");
    refuse("steps", "null", "cannot be switched off");
    refuse("rounds", "1e300", "whole number");
}

static void test_param_off(void **state)
{
    (void)state;
    static const char *const words[] = {"off", "null"};
    for (int i = 0; i < 2; i++) {
        struct value v = accept("eps_high", words[i]);
        assert_true(v.off && v.num == 0);
        v = accept("limit", words[i]);
        assert_true(v.off && v.num == INFINITY); /* comparing with it needs no special case */
        v = accept("rounds", words[i]);
        assert_true(v.off && v.num == 0); /* will be cast to int */
        assert_true(accept("mode", words[i]).off);
        assert_true(accept("file", words[i]).off);
    }
    assert_true(accept("limit", "inf").off);
    assert_false(accept("eps_high", "2").off);
    struct value v = accept("gate", "off");
    assert_true(!v.off && v.num == 1);
    v = accept("std", "off");
    assert_true(!v.off && v.num == 0);
    v = accept("words", "off");
    assert_true(!v.off);
    assert_string_equal(v.text, "off");
    refuse("kind", "off", "not one of");
}

static void test_param_words(void **state)
{
    (void)state;
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (int i = 0; i < 4; i++) {
        assert_true(accept("std", yes[i]).num == 1);
        assert_true(accept("std", no[i]).num == 0);
    }
    refuse("std", "2", "neither true nor false");
    refuse("std", "null", "neither true nor false");
    assert_true(accept("kind", "k2").num == 1);
    assert_true(accept("kind", "token-mean").num == 2);
    refuse("kind", "k", "k1|k2|token_mean");
    refuse("kind", "tokenmean", "did you mean 'token_mean'");
    refuse("kind", "k1|k2", "not one of");
    refuse("kind", "", "not one of");
    assert_string_equal(accept("words", "any = text").text, "any = text");
    assert_string_equal(accept("words", "").text, "");
}

static void body_long_table(void)
{
    struct param table[MAX_PARAMS + 2];
    for (int i = 0; i < MAX_PARAMS + 2; i++)
        table[i] = rows[0];
    table[MAX_PARAMS + 1] = (struct param){0};
    param_count(table);
}

static void test_param_text(void **state)
{
    (void)state;
    char buf[64], said[512];
    static const char *const same[][2] = {
        {"clip", "0.2"},   {"clip", "0.1"},    {"clip", "1e-05"}, {"limit", "10"},
        {"limit", "3000"}, {"limit", "1e+20"}, {"steps", "1000"}, {"std", "true"},
        {"std", "false"},  {"kind", "k2"},     {"words", "x y"},  {"limit", "off"},
        {"mode", "off"},   {"file", "off"},    {"limit", "0"},    {"limit", "123456.75"}};
    for (int i = 0; i < 16; i++) {
        struct value v = accept(same[i][0], same[i][1]);
        assert_string_equal(param_text(row(same[i][0]), &v, buf), same[i][1]);
    }
    struct rng r = rng_stream(6, RNG_TEST, 0, 0, 0);
    for (int i = 0; i < 2000; i++) { /* what is written reads back equal */
        struct value v = {.num = exp(40 * (rng_uniform(r, (uint64_t)i) - 0.5))};
        assert_true(accept("limit", param_text(row("limit"), &v, buf)).num == v.num);
    }
    assert_int_equal(in_child(body_long_table, said), 1);
    assert_contains(said, "more than 32 rows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_refuses),  cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_json_members),  cmocka_unit_test(test_param_find),
        cmocka_unit_test(test_param_numbers), cmocka_unit_test(test_param_off),
        cmocka_unit_test(test_param_words),   cmocka_unit_test(test_param_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
