/* Expressions by operator precedence with explicit stacks, in exact rationals.
 *
 * Signs in front of a number are refused: in the tasks that use this the numbers written are compared with numbers
 * given, and "-3" would leave open whether it is the number -3 or a 3 that is subtracted. Leading zeros are refused
 * because other languages read them as octal. To extend: another binary operator goes into precedence() and
 * rational_apply(). */
#include "expression.h"
#include <string.h>

typedef __int128 wide;

/* Greatest common divisor, b > 0. Divisions of 128 bits are slow, and mostly both fit 64 bits from the start. */
static wide divisor(wide a, wide b)
{
    a = a < 0 ? -a : a;
    while (b && (a > INT64_MAX || b > INT64_MAX)) {
        wide rest = a % b;
        a = b;
        b = rest;
    }
    int64_t x = (int64_t)a, y = (int64_t)b;
    while (b && y) {
        int64_t rest = x % y;
        x = y;
        y = rest;
    }
    return b ? x : a;
}

/* num / den in lowest terms, if that fits. den is not 0, and both can be negated. */
static enum expression_status reduce(wide num, wide den, struct rational *out)
{
    if (den < 0) {
        num = -num;
        den = -den;
    }
    if (den != 1) {
        wide common = divisor(num, den);
        num /= common;
        den /= common;
    }
    if (num > INT64_MAX || num < -INT64_MAX || den > INT64_MAX)
        return EXPRESSION_LARGE;
    *out = (struct rational){(int64_t)num, (int64_t)den};
    return EXPRESSION_GOOD;
}

/* The fields are below 2^63, so products are below 2^126 and their sums below 2^127: nothing overflows here. */
enum expression_status rational_apply(struct rational a, char op, struct rational b, struct rational *out)
{
    switch (op) {
    case '+':
        return reduce((wide)a.num * b.den + (wide)b.num * a.den, (wide)a.den * b.den, out);
    case '-':
        return reduce((wide)a.num * b.den - (wide)b.num * a.den, (wide)a.den * b.den, out);
    case '*':
        return reduce((wide)a.num * b.num, (wide)a.den * b.den, out);
    default:
        return b.num == 0 ? EXPRESSION_BY_ZERO : reduce((wide)a.num * b.den, (wide)a.den * b.num, out);
    }
}

static int precedence(char op)
{
    return op == '*' || op == '/' ? 2 : op == '+' || op == '-' ? 1 : 0; /* 0: no operator, also the open bracket */
}

/* Between two open brackets at most one sum and one product wait for their right sides. */
struct stacks {
    struct rational value[2 * EXPRESSION_DEPTH + 3];
    char op[3 * EXPRESSION_DEPTH + 2];
    int values, ops, depth;
};

/* Work out what binds at least as strongly as an operator of precedence `least` that comes next. */
static enum expression_status settle(struct stacks *st, int least)
{
    while (st->ops && precedence(st->op[st->ops - 1]) >= least) {
        struct rational *a = &st->value[st->values - 2];
        enum expression_status status = rational_apply(a[0], st->op[--st->ops], a[1], a);
        if (status)
            return status;
        st->values--;
    }
    return EXPRESSION_GOOD;
}

/* The digits at s; *used is their number. */
static enum expression_status scan_number(const char *s, int len, int64_t *number, int *used)
{
    int64_t x = 0;
    int n = 0;
    for (; n < len && s[n] >= '0' && s[n] <= '9'; n++) {
        if (n == 1 && s[0] == '0')
            return EXPRESSION_MALFORMED;
        if (__builtin_mul_overflow(x, 10, &x) || __builtin_add_overflow(x, s[n] - '0', &x))
            return EXPRESSION_LARGE;
    }
    *number = x;
    *used = n;
    return n ? EXPRESSION_GOOD : EXPRESSION_MALFORMED;
}

/* Where an operand may begin: a number or an open bracket. *at moves behind it; *complete: it was a number. */
static enum expression_status operand(struct stacks *st, const char *s, int len, int *at, int *complete,
                                      struct expression *out)
{
    int64_t x;
    int used;
    *complete = s[*at] != '(';
    if (!*complete) {
        if (st->depth++ == EXPRESSION_DEPTH)
            return EXPRESSION_DEEP;
        st->op[st->ops++] = '(';
        ++*at;
        return EXPRESSION_GOOD;
    }
    enum expression_status status = scan_number(s + *at, len - *at, &x, &used);
    if (status)
        return status;
    if (out->numbers < EXPRESSION_NUMBERS)
        out->number[out->numbers] = x;
    out->numbers++;
    st->value[st->values++] = (struct rational){x, 1};
    *at += used;
    return EXPRESSION_GOOD;
}

/* Behind an operand: an operator or a closing bracket. *complete: it was the bracket. */
static enum expression_status infix(struct stacks *st, char c, int *complete)
{
    enum expression_status status = settle(st, precedence(c) ? precedence(c) : 1);
    *complete = c == ')';
    if (status)
        return status;
    if (precedence(c)) {
        st->op[st->ops++] = c;
        return EXPRESSION_GOOD;
    }
    if (c != ')' || !st->ops) /* what is left on top is an open bracket */
        return EXPRESSION_MALFORMED;
    st->ops--;
    st->depth--;
    return EXPRESSION_GOOD;
}

enum expression_status expression_evaluate(const char *s, int len, struct expression *out)
{
    struct stacks st;
    int complete = 0; /* an operand stands before `at` */
    st.values = st.ops = st.depth = 0;
    out->numbers = 0;
    out->value = (struct rational){0, 1};
    for (int at = 0; at < len;) {
        enum expression_status status = EXPRESSION_GOOD;
        if (s[at] == ' ')
            at++;
        else if (complete)
            status = infix(&st, s[at++], &complete);
        else
            status = operand(&st, s, len, &at, &complete, out);
        if (status)
            return status;
    }
    if (!complete)
        return EXPRESSION_MALFORMED;
    enum expression_status status = settle(&st, 1);
    if (status)
        return status;
    if (st.ops)
        return EXPRESSION_MALFORMED;
    out->value = st.value[0];
    return EXPRESSION_GOOD;
}

int expression_take(const struct expression *e, int64_t *pool, int *n)
{
    int64_t left[EXPRESSION_NUMBERS];
    int count = *n;
    if (e->numbers > count || count > EXPRESSION_NUMBERS)
        return 0;
    memcpy(left, pool, (size_t)count * sizeof *pool);
    for (int i = 0; i < e->numbers; i++) {
        int k = 0;
        while (k < count && left[k] != e->number[i])
            k++;
        if (k == count)
            return 0;
        memmove(left + k, left + k + 1, (size_t)(--count - k) * sizeof *left);
    }
    memcpy(pool, left, (size_t)count * sizeof *pool);
    *n = count;
    return 1;
}
