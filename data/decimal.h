/* Decimal numbers as people write them in text, compared exactly: digits are kept as digits, whatever their number.
 *
 * A number is an optional sign, digits (with commas between thousands, or none), and a fraction behind a point; ".5"
 * too. No exponents, no fractions with a bar, no units: "$5" and "5%" hold the number 5. */
#ifndef DECIMAL_H
#define DECIMAL_H
#include "../model/base/mem.h"

/* The number that begins at s: bytes used, 0 when there is none. Its canonical form replaces *out ("+01,000.50" gives
 * "1000.5", "-0" gives "0"), so two numbers are equal when their texts are. out may be NULL. */
int decimal_read(const char *s, int len, struct text *out);
/* The last number in the text: where it begins, -1 when there is none. A minus between two operands is no sign. Linear
 * time. */
int decimal_last(const char *s, int len, struct text *out);
/* 1: the text is one number, blanks around it aside. */
int decimal_whole(const char *s, int len, struct text *out);

#endif
