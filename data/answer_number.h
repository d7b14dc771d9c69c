/* The number that a text gives as its answer, and whether two are the same: exactly, as rationals, however written.
 *
 * Where the answer stands: in the last \boxed{...} or behind the last "####", whichever comes later; else behind the
 * last "the answer is", "answer:" or a line's "A:"; else it is the last number of the text. A number may have a sign,
 * separators between thousands (1,234  1{,}234  1\,234), a fraction behind a point, an exponent (1.5e3, 2 \times
 * 10^{3}), or be a fraction (3/4, \frac{3}{4}, 1 3/4). Around it may stand a currency, %, units, LaTeX's dressing and a
 * full stop.
 *
 * Where one number is promised (in a box, behind a mark, a gold answer) anything else makes it unparsable, never a
 * guess: "3x", "2\sqrt{3}", "(1, 2)", "5 or 6". To judge other kinds of answers: files beside this one. */
#ifndef ANSWER_NUMBER_H
#define ANSWER_NUMBER_H
#include "../model/base/mem.h"

enum { NUMBER_DIGITS = 400 }; /* of numerator or denominator; longer numbers are unparsable */

/* sign * num / den * 10^power; num and den are digits without leading zeros, den is not zero. */
struct number {
    int negative, percent, power, num_len, den_len;
    char num[NUMBER_DIGITS], den[NUMBER_DIGITS];
};

/* The answer of a text; 0: it has none that can be read. gold 1: without a mark the whole text has to be the number.
 * Linear time. */
int answer_number(const char *s, int len, int gold, struct number *out);
/* 1: the same value. A percent sign on one side only may be a unit or mean a hundredth: 50% equals 50 and 0.5. */
int number_equal(const struct number *a, const struct number *b);
void number_text(const struct number *n, struct text *out); /* appended: -1234.5, 3/4, 5%; exponents written out */

#endif
