/* Arithmetic that a model wrote, worked out exactly: whole numbers, + - * /, round brackets and spaces, nothing else.
 * Text of any length is judged in one pass, without recursion and without allocating.
 */
#ifndef EXPRESSION_H
#define EXPRESSION_H
#include <stdint.h>

/* In lowest terms with den > 0, so equal values have equal fields. |num| and den are at most 2^63 - 1. */
struct rational {
    int64_t num, den;
};

enum expression_status {
    EXPRESSION_GOOD,
    EXPRESSION_MALFORMED, /* not the grammar: names, powers, signs, decimal points, leading zeros, missing brackets */
    EXPRESSION_DEEP,      /* more than EXPRESSION_DEPTH brackets are open at once */
    EXPRESSION_LARGE,     /* a number or an intermediate value does not fit a struct rational */
    EXPRESSION_BY_ZERO    /* a division by zero */
};

enum { EXPRESSION_DEPTH = 256, EXPRESSION_NUMBERS = 64 };

struct expression {
    struct rational value;
    int64_t number[EXPRESSION_NUMBERS]; /* the numbers written, in order: the first EXPRESSION_NUMBERS of them */
    int numbers;                        /* how many were written, perhaps more than are kept */
};

/* Evaluate s[0..len): precedence and association are the usual ones. With several faults the leftmost that shows is
 * reported. *out holds what was found so far when the status is not EXPRESSION_GOOD. */
enum expression_status expression_evaluate(const char *s, int len, struct expression *out);

/* *out = a op b for op in + - * /: EXPRESSION_GOOD, EXPRESSION_LARGE or EXPRESSION_BY_ZERO. out may point at either
 * operand. */
enum expression_status rational_apply(struct rational a, char op, struct rational b, struct rational *out);

/* Take the numbers that e used out of pool[0..*n), each as often as it was written: 1 and a shorter pool, or 0 and the
 * pool as it was, when one is not there. The order of what stays is kept. */
int expression_take(const struct expression *e, int64_t *pool, int *n);

#endif
