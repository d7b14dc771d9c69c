/* Comma-separated values. */
#include "csv.h"
#include <math.h>

void csv_text(struct text *t, const char *s)
{
    text_add(t, "\"", 1);
    for (; *s; s++)
        text_add(t, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
    text_add(t, "\"", 1);
}

void csv_number(struct text *t, double x)
{
    if (isfinite(x))
        text_addf(t, ",%.10g", x);
    else
        text_add(t, ",", 1);
}
