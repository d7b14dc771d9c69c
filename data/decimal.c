/* Reading decimal numbers (decimal.h). Not arithmetic: see expression.h for that. */
#include "decimal.h"
#include <string.h>

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int digits_at(const char *s, int len, int at)
{
    int n = 0;
    while (at + n < len && is_digit(s[at + n]))
        n++;
    return n;
}

/* Bytes of the whole part at `at`: digits, or one to three digits and groups of a comma and exactly three. */
static int whole_part(const char *s, int len, int at)
{
    int n = digits_at(s, len, at), end = at + n;
    while (n >= 1 && n <= 3 && end < len && s[end] == ',' && digits_at(s, len, end + 1) == 3)
        end += 4;
    return end - at;
}

/* The digits without commas and without the zeros that mean nothing. */
static void write_canonical(const char *whole, int wholes, const char *fraction, int fractions, int negative,
                            struct text *out)
{
    while (wholes && (*whole == '0' || *whole == ',')) {
        whole++;
        wholes--;
    }
    while (fractions && fraction[fractions - 1] == '0')
        fractions--;
    text_clear(out);
    text_add(out, "-", negative && (wholes || fractions));
    for (int i = 0; i < wholes; i++)
        text_add(out, whole + i, whole[i] != ',');
    text_add(out, "0", !wholes);
    text_add(out, ".", fractions > 0);
    text_add(out, fraction, fractions);
}

int decimal_read(const char *s, int len, struct text *out)
{
    int sign = len && (s[0] == '-' || s[0] == '+'), wholes = whole_part(s, len, sign), at = sign + wholes;
    int fractions = at < len && s[at] == '.' ? digits_at(s, len, at + 1) : 0;
    if (!wholes && !fractions)
        return 0;
    if (out)
        write_canonical(s + sign, wholes, s + at + 1, fractions, sign && s[0] == '-', out);
    return at + (fractions ? 1 + fractions : 0);
}

/* What a minus or a point belongs to when it stands right behind it: an operand, not the number that follows. */
static int is_operand(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ')';
}

int decimal_last(const char *s, int len, struct text *out)
{
    int last = -1;
    for (int at = 0, n; at < len; at += n ? n : 1) {
        n = 0;
        if (!is_digit(s[at]) && ((s[at] != '-' && s[at] != '+' && s[at] != '.') || (at && is_operand(s[at - 1]))))
            continue;
        n = decimal_read(s + at, len - at, NULL);
        last = n ? at : last;
    }
    if (last >= 0)
        decimal_read(s + last, len - last, out);
    return last;
}

int decimal_whole(const char *s, int len, struct text *out)
{
    while (len && strchr(" \t\r\n", s[len - 1]) && s[len - 1])
        len--;
    while (len && strchr(" \t\r\n", *s) && *s) {
        s++;
        len--;
    }
    return len && decimal_read(s, len, out) == len;
}
