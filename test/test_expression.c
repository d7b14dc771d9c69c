/* Expressions: values computed by another program (Python's fractions), all small sums and products against fractions
 * worked out here, and what has to be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../data/expression.h"
#include "../model/base/clock.h"
#include "../model/base/mem.h"
#include "../model/base/rng.h"
/* last: it needs the headers above, and its macro fail() would change ours */
#include <cmocka.h>

/* The text in memory of its own without a terminator, so that a sanitizer sees any byte read beyond it. */
static enum expression_status evaluate(const char *s, int len, struct expression *x)
{
    char *copy = malloc(len ? (size_t)len : 1);
    memcpy(copy, s, (size_t)len);
    enum expression_status status = expression_evaluate(copy, len, x);
    free(copy);
    return status;
}

static void expect_status(const char *s, enum expression_status want)
{
    struct expression x;
    enum expression_status got = evaluate(s, (int)strlen(s), &x);
    if (got != want)
        fail_msg("'%.40s': status %d, not %d", s, got, want);
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t num, den;
    } cases[] = {
        {"0", 0, 1},
        {"7", 7, 1},
        {"(7)", 7, 1},
        {"((7))", 7, 1},
        {"1+2*3", 7, 1},
        {"(1+2)*3", 9, 1},
        {"2*3+1", 7, 1},
        {"8-3-2", 3, 1},
        {"8-(3-2)", 7, 1},
        {"100/5/2", 10, 1},
        {"100/(5/2)", 40, 1},
        {"2/3", 2, 3},
        {"4/6", 2, 3},
        {"1/3+1/6", 1, 2},
        {"1/2-2/3", -1, 6},
        {"0/5", 0, 1},
        {"1-2", -1, 1},
        {"2-2", 0, 1},
        {"3*4/6", 2, 1},
        {"3/6*4", 2, 1},
        {"8/(3-8/3)", 24, 1},
        {"(1-2)*(3-4)", 1, 1},
        {"1/(1-2)", -1, 1},
        {"(2-5)/(4-10)", 1, 2},
        {" 1 + 2 ", 3, 1},
        {"1+2+3+4+5+6+7+8+9+10", 55, 1},
        {"9223372036854775807", 9223372036854775807, 1},
        {"9223372036854775806+1", 9223372036854775807, 1},
        {"0-9223372036854775807", -9223372036854775807, 1},
        {"3037000499*3037000499", 9223372030926249001, 1},
        {"1/9223372036854775807", 1, 9223372036854775807},
        {"4611686018427387904/2-1", 2305843009213693951, 1},
        {"1/2+1/3+1/5+1/7+1/11+1/13+1/17+1/19+1/23", 334406399, 223092870},
        {"((7 +  100+10) * ((3 * 3)+4096/12) +  1)", 40990, 1},
        {"(4096+ (2 *1000 - 10 -  2)) +1", 6085, 1},
        {"((4096+4096 +  (0+ 1))+3 /(2* 10) +3 /  (12+12+ (1 -  7)))", 491599, 60},
        {"(1000 *(25*99)/  (1+  0) / 99)", 25000, 1},
        {"(12 *  (7 *12 -  1*1000))/ 25", -10992, 25},
        {"(7 - 12*  1)+(7-25 - 0 *  1)*1000", -18005, 1},
        {"3+7*((100 /  99)/25*2)+((25 - (7-12)) /1000 *  0)", 353, 99},
        {"12* 1-  3+0 -4096+0*12/ 9 *100", -4087, 1},
        {"(0 -  100) /  12 - 1/((1000 +25)-(1*99)) /12", -30867, 3704},
        {"1000 *25* 4096+ 12 -  (7 -12 *99) + 7", 102401200, 1},
        {"((2+ (4096 *  (9 *  0))) /  7)", 2, 7},
        {"((99 / 1*10 + 0) *7*  ((0*3 - 0) /  7))", 0, 1},
        {"(9 / 7 /(4096 +9)- 7 / 7-  (0 +  10)) +(25 + 3)", 488504, 28735},
        {"4096 -  (4096 / 9+  (3 / 10))*  (100*99) *10/ 2", -22538754, 1},
        {"(2+12)- 10-  100 -100/ 7", -772, 7},
        {"(99/(1000 /1000*1000/  (7 +25)-  3))", 396, 113},
        {"(4096 *  (1 + 1000) / 25- 2)", 4100046, 25},
        {"(((12-  7)+  4096)+(3/1 +  4096 / 1000) *1)", 513512, 125},
        {"(2+1000/ 10 -  1 + 100)/ 99", 67, 33},
        {"(99 +((100- 2 -25) -7))", 165, 1},
        {"100 *  1/2", 50, 1},
        {"(99*  100 -1000)", 8900, 1},
        {"(4096-9- 7/ (100 + 3)*  2) +  (1/ 1/ 1000 -  1/25)", 420942983, 103000},
        {"((0/  1 * 10)*  (0 -  4096))", 0, 1},
        {"(99 *  (99 * 100))", 980100, 1},
        {"100/  (99-7)", 25, 23},
        {"(((2 *  (10 + 2))*((2 -10)+4096)) * 1 -  (9+  2) /3 - 1)", 294322, 3},
        {"(((4096 +25)+ 100+ ((99 -  7) /1000 * 10))*  99)", 10449252, 25},
        {"(99 *(100 / 2*1 * 100)-0)", 495000, 1},
        {"3/ 7 -((12+9)-12+  12 - (7+  100-  7 / 12))", 7211, 84},
        {"100*9 + (10+  4096- (1000- 1) /  4096)", 20503577, 4096},
        {"((0 * (1 / 10)+  (4096+2/  10 -3)) +(25 - 1 /2))", 41177, 10},
        {"(((25*3*7)/  3*12 *(10/  10)) - 2)", 2098, 1},
        {"3/  10/ (7 +100 +  100+0)", 1, 690},
        {"((1000 *  0/  100-12)* (10 /  3) *  2 / (7+  (7 * 1)))", -40, 7},
        {"(((10* 3) -  12/99)*  ((1 /  7)/  (4096/4096)) /1)", 986, 231},
        {"1000+  (1* 12 *12)/  (12 + 3/ (99-  1000))", 1215416, 1201},
        {"12 -  25", -13, 1},
        {"(1 /  (10/12 - 10+4096*  1 +  25))", 6, 24671},
        {"(7+100 +  25) -1000+ (10-  9* 25+ 100)", -983, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct expression x;
        enum expression_status status = evaluate(cases[i].text, (int)strlen(cases[i].text), &x);
        if (status || x.value.num != cases[i].num || x.value.den != cases[i].den)
            fail_msg("'%s': status %d, %lld/%lld", cases[i].text, status, (long long)x.value.num,
                     (long long)x.value.den);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    struct expression x;
    char s[400] = "0";
    assert_int_equal(evaluate("(3+10) * 3 - 0/12", 17, &x), EXPRESSION_GOOD);
    assert_int_equal(x.numbers, 5);
    static const int64_t want[] = {3, 10, 3, 0, 12};
    assert_memory_equal(x.number, want, sizeof want);
    for (int i = 1; i < 100; i++)
        snprintf(s + strlen(s), sizeof s - strlen(s), "+%d", i);
    assert_int_equal(evaluate(s, (int)strlen(s), &x), EXPRESSION_GOOD);
    assert_int_equal(x.numbers, 100); /* all are counted, the first are kept */
    assert_int_equal(x.value.num, 4950);
    assert_int_equal(x.number[EXPRESSION_NUMBERS - 1], EXPRESSION_NUMBERS - 1);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        " ",
        "+",
        "()",
        "(",
        ")",
        "1+",
        "+1",
        "-1",
        "1-",
        "3*-4",
        "3--4",
        "(-1)",
        "1 2",
        "1(2)",
        "(1)2",
        "(1)(2)",
        "((1)",
        "(1))",
        "1)",
        ")1(",
        "1)+(2",
        "2**3",
        "2^3",
        "7//2",
        "7%2",
        "2.5",
        "1,000",
        "1e3",
        "0x10",
        "x",
        "x+1",
        "pi",
        "1+a",
        "1=1",
        "=1",
        "1=",
        "03",
        "00",
        "1+07",
        "1\n",
        "1+\n2",
        "\t1",
        "1\r",
        "1_000",
        "3!",
        "sqrt(4)",
        "\xd9\xa3+1",     /* an Arabic three */
        "\xef\xbc\x93+1", /* a full-width three */
        "3\xc3\x97"
        "4",
        "3\xe2\x88\x92"
        "1",
        "\xff",
        "1+\x80",
        "[1]",
        "{1}",
        "1;2",
        "'1'",
        "1#",
        "1 + (2",
        "( )",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_status(cases[i], EXPRESSION_MALFORMED);
    struct expression x;
    assert_int_equal(evaluate("1\0"
                              "2",
                              3, &x),
                     EXPRESSION_MALFORMED);
    assert_int_equal(evaluate("1+2", 2, &x), EXPRESSION_MALFORMED); /* what is beyond the length is not read */
    assert_int_equal(evaluate("12", 1, &x), EXPRESSION_GOOD);
    assert_int_equal(x.value.num, 1);
}

static void test_zero_and_large(void **state)
{
    (void)state;
    static const char *const by_zero[] = {"1/0", "0/0", "1/(2-2)", "3+4/(1/2-2/4)", "1/(0*5)+x"};
    static const char *const large[] = {"9223372036854775808",
                                        "99999999999999999999999",
                                        "9223372036854775807+1",
                                        "0-9223372036854775807-1",
                                        "9223372036854775807*9223372036854775807",
                                        "3037000500*3037000500",
                                        "1/4294967296/4294967296",
                                        "1/9223372036854775807+1/9223372036854775806",
                                        "(0-9223372036854775807)*2",
                                        "99999999999999999999999+x"};
    for (size_t i = 0; i < sizeof by_zero / sizeof *by_zero; i++)
        expect_status(by_zero[i], EXPRESSION_BY_ZERO);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        expect_status(large[i], EXPRESSION_LARGE);
}

/* Unreduced fractions of small numbers: nothing here can overflow. */
struct fraction {
    int64_t num, den;
};

static struct fraction work_out(struct fraction a, char op, struct fraction b)
{
    switch (op) {
    case '+':
        return (struct fraction){a.num * b.den + b.num * a.den, a.den * b.den};
    case '-':
        return (struct fraction){a.num * b.den - b.num * a.den, a.den * b.den};
    case '*':
        return (struct fraction){a.num * b.num, a.den * b.den};
    default:
        return (struct fraction){a.num * b.den, a.den * b.num}; /* den 0: a division by zero */
    }
}

static void expect_fraction(const char *s, struct fraction want, int by_zero)
{
    struct expression x;
    enum expression_status status = expression_evaluate(s, (int)strlen(s), &x);
    if (by_zero)
        assert_int_equal(status, EXPRESSION_BY_ZERO);
    else if (status || x.value.num * want.den != want.num * x.value.den || x.value.den < 1)
        fail_msg("%s: status %d, %lld/%lld", s, status, (long long)x.value.num, (long long)x.value.den);
    for (int64_t d = 2; !by_zero && d <= x.value.den; d++) /* lowest terms */
        assert_false(x.value.num % d == 0 && x.value.den % d == 0);
}

/* a o b p c with and without brackets, for all operators and numbers 0 to 6. */
static void test_all_small(void **state)
{
    (void)state;
    for (int k = 0; k < 7 * 7 * 7 * 16; k++) {
        struct fraction a = {k % 7, 1}, b = {k / 7 % 7, 1}, c = {k / 49 % 7, 1};
        char o = "+-*/"[k / 343 % 4], p = "+-*/"[k / 343 / 4], s[40];
        struct fraction ab = work_out(a, o, b), bc = work_out(b, p, c), left = work_out(ab, p, c),
                        right = work_out(a, o, bc);
        int left_zero = ab.den == 0 || left.den == 0, right_zero = bc.den == 0 || right.den == 0;
        int right_first = (o == '+' || o == '-') && (p == '*' || p == '/');
        snprintf(s, sizeof s, "(%d%c%d)%c%d", k % 7, o, k / 7 % 7, p, k / 49 % 7);
        expect_fraction(s, left, left_zero);
        snprintf(s, sizeof s, "%d %c(%d%c %d)", k % 7, o, k / 7 % 7, p, k / 49 % 7);
        expect_fraction(s, right, right_zero);
        snprintf(s, sizeof s, "%d%c%d%c%d", k % 7, o, k / 7 % 7, p, k / 49 % 7);
        expect_fraction(s, right_first ? right : left, right_first ? right_zero : left_zero);
    }
}

static void fill(char *s, int len, const char *unit)
{
    for (int i = 0, size = (int)strlen(unit); i < len; i++)
        s[i] = unit[i % size];
}

static void test_depth(void **state)
{
    (void)state;
    enum { LEN = 2 * EXPRESSION_DEPTH + 3 };
    char s[LEN + 1];
    for (int over = 0; over < 2; over++) {
        int depth = EXPRESSION_DEPTH + over;
        memset(s, '(', (size_t)depth);
        s[depth] = '7';
        memset(s + depth + 1, ')', (size_t)depth);
        s[2 * depth + 1] = 0;
        expect_status(s, over ? EXPRESSION_DEEP : EXPRESSION_GOOD);
    }
    /* the fullest stacks: in every bracket a sum and a product wait */
    struct text t = {0};
    struct expression x;
    for (int i = 0; i < EXPRESSION_DEPTH; i++)
        text_add(&t, "1+0*(", -1);
    text_add(&t, "1+2*3", -1);
    for (int i = 0; i < EXPRESSION_DEPTH; i++)
        text_add(&t, ")", 1);
    assert_int_equal(evaluate(t.s, t.len, &x), EXPRESSION_GOOD);
    assert_int_equal(x.value.num, 1);
    text_free(&t);
}

/* A megabyte of anything takes one pass. */
static void test_long(void **state)
{
    (void)state;
    enum { LEN = 1 << 20 };
    static const struct {
        const char *unit;
        enum expression_status want;
    } cases[] = {{"(", EXPRESSION_DEEP},         {")", EXPRESSION_MALFORMED},  {" ", EXPRESSION_MALFORMED},
                 {"9", EXPRESSION_LARGE},        {"0", EXPRESSION_MALFORMED},  {"1+", EXPRESSION_MALFORMED},
                 {"1*", EXPRESSION_MALFORMED},   {"9*", EXPRESSION_LARGE},     {"1/7+", EXPRESSION_MALFORMED},
                 {"(1)+", EXPRESSION_MALFORMED}, {"1 ", EXPRESSION_MALFORMED}, {"()", EXPRESSION_MALFORMED},
                 {"1/2*", EXPRESSION_LARGE},     {"((1-1)*", EXPRESSION_DEEP}, {"\xff", EXPRESSION_MALFORMED}};
    char *s = mem_alloc(LEN + 1, 1);
    struct expression x;
    double start = clock_now();
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        fill(s, LEN, cases[c].unit);
        assert_int_equal(expression_evaluate(s, LEN, &x), cases[c].want);
    }
    fill(s, LEN, "1+");
    s[LEN] = '1';
    assert_int_equal(expression_evaluate(s, LEN + 1, &x), EXPRESSION_GOOD);
    assert_int_equal(x.value.num, LEN / 2 + 1);
    assert_int_equal(x.numbers, LEN / 2 + 1);
    if (clock_now() - start > 5)
        fail_msg("evaluating took %.1f s", clock_now() - start);
    mem_free(s);
}

/* Random text from the alphabet and one stranger: what is accepted holds no stranger, balances its brackets, and has
 * the same value inside one more pair. */
static void test_random_text(void **state)
{
    (void)state;
    int good = 0;
    for (uint64_t i = 0; i < 200000; i++) {
        struct rng r = rng_stream(3, RNG_TEST, 0, i, 0);
        char s[16];
        int len = 1 + rng_below(r, 0, 9), depth = 0;
        struct expression x, y;
        for (int k = 0; k < len; k++)
            s[k + 1] = "1234567890+-*/+-*/()() 5.^"[rng_below(r, 1 + (uint64_t)k, 26)];
        if (expression_evaluate(s + 1, len, &x))
            continue;
        good++;
        for (int k = 1; k <= len; k++) {
            assert_true(s[k] != '.' && s[k] != '^');
            depth += s[k] == '(' ? 1 : s[k] == ')' ? -1 : 0;
            assert_true(depth >= 0);
        }
        assert_int_equal(depth, 0);
        s[0] = '(';
        s[len + 1] = ')';
        assert_int_equal(expression_evaluate(s, len + 2, &y), EXPRESSION_GOOD);
        assert_true(x.value.num == y.value.num && x.value.den == y.value.den && x.numbers == y.numbers);
    }
    assert_true(good > 2000);
}

static void test_take(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int taken, left;
        int64_t pool[4];
    } cases[] = {{"3*9", 1, 2, {4, 3}},         {"3*9+4-3", 1, 0, {0}},      {"3+3", 1, 2, {9, 4}},
                 {"3+3+3", 0, 4, {3, 9, 4, 3}}, {"5", 0, 4, {3, 9, 4, 3}},   {"4", 1, 3, {3, 9, 3}},
                 {"39", 0, 4, {3, 9, 4, 3}},    {"9+9", 0, 4, {3, 9, 4, 3}}, {"3+9+4+3+3", 0, 4, {3, 9, 4, 3}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct expression x;
        int64_t pool[] = {3, 9, 4, 3};
        int n = 4;
        assert_int_equal(evaluate(cases[i].text, (int)strlen(cases[i].text), &x), EXPRESSION_GOOD);
        assert_int_equal(expression_take(&x, pool, &n), cases[i].taken);
        assert_int_equal(n, cases[i].left);
        assert_memory_equal(pool, cases[i].pool, (size_t)n * sizeof *pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),         cmocka_unit_test(test_numbers),     cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_zero_and_large), cmocka_unit_test(test_all_small),   cmocka_unit_test(test_depth),
        cmocka_unit_test(test_long),           cmocka_unit_test(test_random_text), cmocka_unit_test(test_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
