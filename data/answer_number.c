/* Finding and comparing numbers that texts give as answers (answer_number.h). */
#include "answer_number.h"
#include <string.h>

enum { MAX_POWER = 300 };

struct view { /* a stretch of the text that is being read */
    const char *s;
    int len, at;
};

static int rest(const struct view *v)
{
    return v->len - v->at;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Step over the word, if it stands here. */
static int take(struct view *v, const char *word)
{
    int n = 0;
    while (word[n] && n < rest(v) && v->s[v->at + n] == word[n])
        n++;
    if (word[n])
        return 0;
    v->at += n;
    return 1;
}

static int take_any(struct view *v, const char *const *words)
{
    for (; *words; words++)
        if (take(v, *words))
            return 1;
    return 0;
}

/* White space in its many forms: no-break and thin spaces, LaTeX's spacing. */
static void skip_blanks(struct view *v)
{
    static const char *const blanks[] = {
        " ",   "\t",  "\n",  "\r", "\xc2\xa0", "\xe2\x80\x89", "\xe2\x80\xaf", "\\,", "\\!",
        "\\;", "\\:", "\\ ", "~",  "\\quad",   "\\left",       "\\right",      NULL};
    while (take_any(v, blanks))
        ;
}

static int take_currency(struct view *v)
{
    static const char *const currencies[] = {"\\$",  "$",    "\xe2\x82\xac", "\xc2\xa3", "\xc2\xa5", "\xe2\x82\xb9",
                                             "USD ", "EUR ", "GBP ",         "Rs. ",     "Rs ",      "US$",
                                             NULL};
    return take_any(v, currencies);
}

/* Signs, currencies and blanks in front of a number, in any order but with one sign at most. */
static int take_front(struct view *v)
{
    static const char *const minus[] = {"-", "\xe2\x88\x92", "\xe2\x80\x93", NULL}; /* U+2212, U+2013 */
    int signs = 0, negative = 0;
    for (int before = -1; before != v->at;) {
        before = v->at;
        skip_blanks(v);
        take_currency(v);
        if (signs == 0 && take_any(v, minus))
            signs = negative = 1;
        else if (signs == 0 && take(v, "+"))
            signs = 1;
    }
    return negative;
}

/* ---- digits ---- */

static int digits_here(const struct view *v)
{
    int n = 0;
    while (n < rest(v) && is_digit(v->s[v->at + n]))
        n++;
    return n;
}

static void add_digits(const struct view *v, int n, char *to, int *len)
{
    for (int i = 0; i < n; i++) {
        char c = v->s[v->at + i];
        if (*len == 0 && c == '0')
            continue;
        if (*len < NUMBER_DIGITS)
            to[*len] = c;
        (*len)++;
    }
}

/* Digits with or without separators between thousands: all separators are the same. Returns the digits read. */
static int take_whole(struct view *v, char *to, int *len)
{
    static const char *const separators[] = {",",        "{,}", "\\,", ",\\!", "\xe2\x80\xaf", "\xe2\x80\x89",
                                             "\xc2\xa0", NULL};
    const char *separator = NULL;
    int n = digits_here(v), all = n;
    add_digits(v, n, to, len);
    v->at += n;
    if (n < 1 || n > 3)
        return all;
    for (;;) {
        struct view next = *v;
        if (separator ? !take(&next, separator) : 0)
            return all;
        for (int k = 0; !separator && separators[k]; k++) {
            struct view tried = *v;
            if (take(&tried, separators[k]) && digits_here(&tried) == 3) {
                separator = separators[k];
                next = tried;
            }
        }
        if (!separator || digits_here(&next) != 3)
            return all;
        add_digits(&next, 3, to, len);
        next.at += 3;
        *v = next;
        all += 3;
    }
}

/* 12, 1,234.5, .5; power is lowered by the digits behind the point. Steps over all of a number that is too long. */
static int take_decimal(struct view *v, char *to, int *len, int *power)
{
    int digits = take_whole(v, to, len);
    struct view behind = *v;
    int fraction = take(&behind, ".") ? digits_here(&behind) : 0;
    if (fraction) {
        add_digits(&behind, fraction, to, len);
        v->at = behind.at + fraction;
        *power -= fraction;
    }
    return digits + fraction > 0;
}

static int take_power(struct view *v, int *power)
{
    int negative = take(v, "-"), n, value = 0;
    if (!negative)
        take(v, "+");
    n = digits_here(v);
    if (n < 1 || n > 3)
        return 0;
    for (; n; n--)
        value = value * 10 + (v->s[v->at++] - '0');
    *power += negative ? -value : value;
    return 1;
}

/* e5, \times 10^{5}, x 10^5 */
static void take_exponent(struct view *v, int *power)
{
    static const char *const times[] = {"\\times", "\\cdot", "\xc3\x97", "x", "*", NULL};
    struct view w = *v;
    int sum = *power;
    if ((take(&w, "e") || take(&w, "E")) && take_power(&w, &sum)) {
        *v = w;
        *power = sum;
        return;
    }
    w = *v;
    skip_blanks(&w);
    if (!take_any(&w, times))
        return;
    skip_blanks(&w);
    if (!take(&w, "10^"))
        return;
    int braced = take(&w, "{");
    if (take_power(&w, &sum) && (!braced || take(&w, "}"))) {
        *v = w;
        *power = sum;
    }
}

/* ---- numbers ---- */

/* {12}, or one digit, as LaTeX takes arguments. */
static int take_argument(struct view *v, int *negative, char *to, int *len, int *power)
{
    skip_blanks(v);
    if (!take(v, "{")) {
        if (!digits_here(v))
            return 0;
        add_digits(v, 1, to, len);
        v->at++;
        return 1;
    }
    *negative ^= take_front(v);
    if (!take_decimal(v, to, len, power))
        return 0;
    skip_blanks(v);
    return take(v, "}");
}

static int take_latex_fraction(struct view *v, struct number *out)
{
    static const char *const names[] = {"\\frac", "\\dfrac", "\\tfrac", "\\cfrac", NULL};
    int down = 0;
    if (!take_any(v, names) || !take_argument(v, &out->negative, out->num, &out->num_len, &out->power) ||
        !take_argument(v, &out->negative, out->den, &out->den_len, &down))
        return 0;
    out->power -= down;
    return 1;
}

/* /4 behind a whole number; the number as it is when none follows. */
static void take_slash(struct view *v, struct number *out)
{
    struct view w = *v;
    int down = 0, len = 0;
    char den[NUMBER_DIGITS];
    skip_blanks(&w);
    if (!take(&w, "/"))
        return;
    skip_blanks(&w);
    if (!take_decimal(&w, den, &len, &down) || len == 0)
        return;
    memcpy(out->den, den, (size_t)(len < NUMBER_DIGITS ? len : NUMBER_DIGITS));
    out->den_len = len;
    out->power -= down;
    *v = w;
}

/* digits = digits * factor + more, for mixed numbers; factor and more are small. */
static void times_plus(char *digits, int *len, int factor, int more)
{
    char out[NUMBER_DIGITS + 8];
    int n = 0;
    long carry = more;
    for (int i = *len - 1; i >= 0 || carry; i--) {
        carry += i >= 0 ? (long)(digits[i] - '0') * factor : 0;
        if (n == (int)sizeof out) {
            *len = NUMBER_DIGITS + 1;
            return;
        }
        out[n++] = (char)('0' + carry % 10);
        carry /= 10;
    }
    while (n && out[n - 1] == '0')
        n--;
    *len = n;
    for (int i = 0; i < n && n <= NUMBER_DIGITS; i++)
        digits[i] = out[n - 1 - i];
}

static int small_value(const char *digits, int len)
{
    int value = 0;
    for (int i = 0; i < len; i++)
        value = value * 10 + (digits[i] - '0');
    return value;
}

/* "1 3/4" and "1\frac{3}{4}": a proper fraction behind a whole number. */
static void take_mixed(struct view *v, struct number *out)
{
    struct number part = {0};
    struct view w = *v;
    skip_blanks(&w);
    if (!take_latex_fraction(&w, &part)) {
        part = (struct number){0};
        w = *v;
        if (!take(&w, " ") || !digits_here(&w))
            return;
        add_digits(&w, digits_here(&w), part.num, &part.num_len);
        w.at += digits_here(&w);
        take_slash(&w, &part);
    }
    if (part.negative || part.power || part.den_len < 1 || part.den_len > 4 || part.num_len > part.den_len)
        return;
    int den = small_value(part.den, part.den_len), num = small_value(part.num, part.num_len);
    if (num >= den || out->num_len > NUMBER_DIGITS)
        return;
    times_plus(out->num, &out->num_len, den, num);
    memcpy(out->den, part.den, (size_t)part.den_len);
    out->den_len = part.den_len;
    *v = w;
}

/* The number that begins here, its front included; 0: none does. v then stands behind what was tried. */
static int take_number(struct view *v, struct number *out)
{
    *out = (struct number){.den = {'1'}, .den_len = 1};
    out->negative = take_front(v);
    struct view w = *v;
    out->den_len = 0;
    if (take_latex_fraction(&w, out)) {
        *v = w;
    } else {
        int negative = out->negative;
        *out = (struct number){.negative = negative, .den = {'1'}, .den_len = 1};
        if (!take_decimal(v, out->num, &out->num_len, &out->power))
            return 0;
        int whole = out->power == 0;
        take_exponent(v, &out->power);
        whole &= out->power == 0;
        int before = v->at;
        take_slash(v, out);
        if (whole && v->at == before)
            take_mixed(v, out);
    }
    while (out->power < 0 && out->num_len > 0 && out->num_len <= NUMBER_DIGITS && out->num[out->num_len - 1] == '0') {
        out->num_len--;
        out->power++;
    }
    return out->den_len > 0 && out->den_len <= NUMBER_DIGITS && out->num_len <= NUMBER_DIGITS &&
           out->power <= MAX_POWER && out->power >= -MAX_POWER - NUMBER_DIGITS;
}

/* ---- one number and nothing else ---- */

/* \text{ apples}, \mathrm{cm}^2: the braces balance. */
static int take_text(struct view *v)
{
    static const char *const names[] = {"\\text{", "\\mathrm{", "\\textbf{", "\\mbox{", "\\mathbf{", NULL};
    if (!take_any(v, names))
        return 0;
    for (int depth = 1; rest(v) && depth; v->at++)
        depth += v->s[v->at] == '{' ? 1 : v->s[v->at] == '}' ? -1 : 0;
    if (take(v, "^"))
        v->at += take(v, "{2}") || take(v, "{3}") ? 0 : rest(v) > 0 && (v->s[v->at] == '2' || v->s[v->at] == '3');
    return 1;
}

static int letters_here(const struct view *v)
{
    int n = 0;
    while (n < rest(v) && (is_letter(v->s[v->at + n]) || (n && v->s[v->at + n] == '-')))
        n++;
    return n;
}

/* A unit: a word that stands apart, or two letters and more at the number's end; then a square, a cube, "/h". */
static int take_unit(struct view *v)
{
    static const char *const joins[] = {"or", "and", "x", "to", "times", "plus", "minus", NULL};
    int apart = v->at > 0 && strchr(" ~\n\t", v->s[v->at - 1]) != NULL, n = letters_here(v);
    if (n == 0 || (n == 1 && !apart))
        return 0;
    for (int k = 0; joins[k]; k++)
        if ((int)strlen(joins[k]) == n && !memcmp(v->s + v->at, joins[k], (size_t)n))
            return 0;
    v->at += n;
    struct view per = *v;
    if (take(&per, "/") && letters_here(&per)) {
        v->at = per.at + letters_here(&per);
        return 1;
    }
    if (!take(v, "^2") && !take(v, "^3"))
        take(v, "\xc2\xb2");
    return 1;
}

/* Everything that may follow the number. */
static void take_back(struct view *v, struct number *out)
{
    static const char *const dressing[] = {"\\)", "\\]", "^\\circ", "^{\\circ}", "\xc2\xb0", "}",
                                           "*",   ".",   ",",       ";",         NULL};
    for (int before = -1; before != v->at;) {
        before = v->at;
        skip_blanks(v);
        if (take(v, "\\%") || take(v, "%"))
            out->percent = 1;
        if (take_text(v) || take_currency(v) || take_unit(v))
            continue;
        take_any(v, dressing);
    }
}

static int only_number(const char *s, int len, struct number *out)
{
    static const char *const dressing[] = {"\\(", "\\[", "{", "**", "*", ":", "\\text{", "\\mathbf{", "\\approx", NULL};
    struct view v = {s, len, 0};
    for (int i = len - 1; i >= 0; i--) /* x = 5 */
        if (s[i] == '=') {
            v.at = i + 1;
            break;
        }
    for (int before = -1; before != v.at;) {
        before = v.at;
        skip_blanks(&v);
        take_any(&v, dressing);
    }
    if (!take_number(&v, out))
        return 0;
    take_back(&v, out);
    return v.at == len;
}

/* ---- where the answer stands ---- */

/* [begin, end) of what the last \boxed{ or \fbox{ holds; begin -1: there is none. */
static void last_box(const char *s, int len, int *begin, int *end)
{
    struct view v = {s, len, 0};
    *begin = -1;
    for (const char *at; (at = memchr(s + v.at, '\\', (size_t)rest(&v)));) {
        v.at = (int)(at - s);
        if (take(&v, "\\boxed{") || take(&v, "\\fbox{"))
            *begin = v.at;
        else
            v.at++;
    }
    int depth = 1, at = *begin;
    for (; *begin >= 0 && at < len && depth; at++)
        depth += s[at] == '{' ? 1 : s[at] == '}' ? -1 : 0;
    *end = depth ? at : at - 1;
}

static int last_mark(const char *s, int len)
{
    for (int i = len - 4; i >= 0; i--)
        if (!memcmp(s + i, "####", 4))
            return i + 4;
    return -1;
}

static int same_letters(const char *s, const char *word, int n)
{
    for (int i = 0; i < n; i++)
        if ((is_letter(s[i]) ? s[i] | 0x20 : s[i]) != word[i])
            return 0;
    return 1;
}

/* Behind the last phrase that announces an answer; -1: there is none. */
static int last_phrase(const char *s, int len)
{
    static const char *const phrases[] = {"answer is", "answer:", "answer =", "a:"};
    for (int i = len - 1; i >= 0; i--) {
        if (i && is_letter(s[i - 1]))
            continue;
        for (int k = 0; k < 4; k++) {
            int n = (int)strlen(phrases[k]), begins = k < 3 || (s[i] == 'A' && (i == 0 || s[i - 1] == '\n'));
            if (n <= len - i && begins && same_letters(s + i, phrases[k], n))
                return i + n;
        }
    }
    return -1;
}

/* May a number begin here in running text? Not inside a word (x2), nor at a minus between operands (5-3, 5 - 3). */
static int may_begin(const char *s, int len, int i)
{
    struct view v = {s, len, i};
    char before = i ? s[i - 1] : ' ';
    if (is_digit(s[i]) || s[i] == '.')
        return !is_letter(before) && before != '_' && (is_digit(s[i]) || (i + 1 < len && is_digit(s[i + 1])));
    if (s[i] == '\\')
        return take(&v, "\\frac{") || take(&v, "\\dfrac{") || take(&v, "\\tfrac{");
    return (take(&v, "-") || take(&v, "+") || take(&v, "\xe2\x88\x92")) && rest(&v) && s[v.at] != ' ' &&
           !is_letter(before) && !is_digit(before) && before != ')';
}

/* The first or the last number of running text. */
static int any_number(const char *s, int len, int last, struct number *out)
{
    struct number found;
    int good = 0;
    for (int i = 0; i < len && (last || !good);) {
        struct view v = {s, len, i};
        if (!may_begin(s, len, i)) {
            i++;
        } else if (!take_number(&v, &found)) {
            i = v.at > i && is_digit(s[i]) ? v.at : i + 1; /* behind a number that is too long */
        } else {
            i = v.at;
            skip_blanks(&v);
            found.percent = take(&v, "%") || take(&v, "\\%");
            *out = found;
            good = 1;
        }
    }
    return good;
}

static int end_of_line(const char *s, int len, int from)
{
    const char *newline = memchr(s + from, '\n', (size_t)(len - from));
    return newline ? (int)(newline - s) : len;
}

/* Where the sentence ends that begins at `from`: behind a full stop that a blank follows. */
static int end_of_sentence(const char *s, int len, int from)
{
    for (int i = from; i + 1 < len; i++)
        if (s[i] == '.' && s[i + 1] == ' ')
            return i + 1;
    return len;
}

/* What stands behind "the answer is": the first sentence is one number; else the one behind its last "=", or its first
 * one; else the first one in the line. */
static int announced_number(const char *s, int len, int from, int gold, struct number *out)
{
    struct view v = {s, len, from};
    while (take(&v, ":") || take(&v, " ") || take(&v, "*") || take(&v, "\n"))
        ;
    int line = end_of_line(s, len, v.at), sentence = end_of_sentence(s, line, v.at);
    if (only_number(s + v.at, sentence - v.at, out))
        return !gold || sentence == line;
    if (gold)
        return 0;
    const char *equals = memrchr(s + v.at, '=', (size_t)(sentence - v.at));
    int begin = equals ? (int)(equals - s) + 1 : v.at;
    return any_number(s + begin, sentence - begin, 0, out) || any_number(s + v.at, line - v.at, 0, out);
}

int answer_number(const char *s, int len, int gold, struct number *out)
{
    int begin, end, mark = last_mark(s, len);
    last_box(s, len, &begin, &end);
    if (begin >= 0 && begin > mark)
        return only_number(s + begin, end - begin, out);
    if (mark >= 0)
        return only_number(s + mark, end_of_line(s, len, mark) - mark, out);
    int phrase = last_phrase(s, len);
    if (phrase >= 0) {
        int found = announced_number(s, len, phrase, gold, out);
        if (found || gold)
            return found;
    }
    return only_number(s, len, out) || (!gold && any_number(s, len, 1, out));
}

/* ---- comparing ---- */

/* out[0..] = a * b in decimal, the last digit first; returns the digits. */
static int multiply(const char *a, int n, const char *b, int m, int *out)
{
    memset(out, 0, (size_t)(n + m + 1) * sizeof *out);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < m; k++)
            out[i + k] += (a[n - 1 - i] - '0') * (b[m - 1 - k] - '0');
    for (int i = 0; i < n + m; i++) {
        out[i + 1] += out[i] / 10;
        out[i] %= 10;
    }
    int len = n + m;
    while (len && out[len - 1] == 0)
        len--;
    return len;
}

/* |a| * 10^shift = |b|, by cross multiplication. */
static int same_size(const struct number *a, const struct number *b, int shift)
{
    int left[2 * NUMBER_DIGITS + 1], right[2 * NUMBER_DIGITS + 1];
    int n = multiply(a->num, a->num_len, b->den, b->den_len, left);
    int m = multiply(b->num, b->num_len, a->den, a->den_len, right);
    int zeros = a->power + shift - b->power; /* behind the left product; negative: behind the right one */
    if (n == 0 || m == 0)
        return n == m;
    if (n + zeros != m)
        return 0;
    for (int i = zeros < 0 ? zeros : 0; i < m; i++) {
        int l = i - zeros >= 0 && i - zeros < n ? left[i - zeros] : 0, r = i >= 0 ? right[i] : 0;
        if (l != r)
            return 0;
    }
    return 1;
}

int number_equal(const struct number *a, const struct number *b)
{
    int zero = a->num_len == 0 && b->num_len == 0;
    if (!zero && a->negative != b->negative)
        return 0;
    return same_size(a, b, 0) || (a->percent && !b->percent && same_size(a, b, -2)) ||
           (b->percent && !a->percent && same_size(b, a, -2));
}

void number_text(const struct number *n, struct text *out)
{
    int whole = n->num_len ? n->num_len + n->power : 0; /* digits before the point */
    text_add(out, "-", n->negative && n->num_len);
    text_add(out, "0", whole <= 0);
    for (int i = 0; i < whole; i++)
        text_add(out, i < n->num_len ? &n->num[i] : "0", 1);
    text_add(out, ".", n->num_len && n->power < 0);
    for (int i = whole; i < n->num_len && n->power < 0; i++)
        text_add(out, i < 0 ? "0" : &n->num[i], 1);
    if (n->den_len > 1 || n->den[0] != '1') {
        text_add(out, "/", 1);
        text_add(out, n->den, n->den_len);
    }
    text_add(out, "%", n->percent);
}
