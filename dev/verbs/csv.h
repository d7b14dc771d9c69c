/* Comma-separated values. */
#ifndef CSV_H
#define CSV_H
#include "../../model/base/mem.h"

void csv_text(struct text *t, const char *s); /* in quotes */
void csv_number(struct text *t,
                double x); /* a comma, then the number with 10 digits; nothing after it when not finite */

#endif
