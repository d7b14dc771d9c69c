/* Lines of JSON, as text that grows member by member: what a log needs of a library, under its names. Numbers are
 * written as that library writes them, with 17 digits.
 */
#include "../../model/base/mem.h"
#include <stdlib.h>

typedef struct json {
    struct text text; /* without the closing bracket of an object or array */
    char close;       /* that bracket, or 0 */
} json_t;

static json_t *json_new(const char *text, int len, char close)
{
    json_t *v = mem_alloc(1, sizeof *v);
    text_add(&v->text, text, len);
    v->close = close;
    return v;
}

static void json_decref(json_t *v)
{
    text_free(&v->text);
    mem_free(v);
}

static json_t *json_object(void)
{
    return json_new("{", 1, '}');
}

static json_t *json_array(void)
{
    return json_new("[", 1, ']');
}

static json_t *json_null(void)
{
    return json_new("null", 4, 0);
}

static json_t *json_boolean(int yes)
{
    return json_new(yes ? "true" : "false", -1, 0);
}

static json_t *json_integer(long n)
{
    char s[32];
    snprintf(s, sizeof s, "%ld", n);
    return json_new(s, -1, 0);
}

/* 1.0 and not 1; 1e-7 and not 1e-07. NULL: not finite. */
static json_t *json_real(double x)
{
    char s[40];
    if (!isfinite(x))
        return NULL;
    snprintf(s, sizeof s, "%.17g", x);
    char *e = strchr(s, 'e');
    if (!e) {
        if (!strchr(s, '.'))
            strcat(s, ".0");
        return json_new(s, -1, 0);
    }
    char *digits = e + 1 + (e[1] == '-'), *from = digits + (*digits == '+');
    from += strspn(from, "0");
    memmove(digits, from, strlen(from) + 1);
    return json_new(s, -1, 0);
}

/* Bytes of the UTF-8 character at s[0..len), 0: none. */
static int json_character(const unsigned char *s, size_t len)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    int overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    int outside = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f); /* surrogates, above 10FFFF */
    return overlong || outside ? 0 : (int)n;
}

/* NULL: not UTF-8. */
static json_t *json_stringn(const char *s, size_t len)
{
    static const char plain[] = "\"\\\b\f\n\r\t", escaped[] = "\"\\bfnrt";
    json_t *v = json_new("\"", 1, 0);
    for (size_t i = 0; i < len;) {
        int n = json_character((const unsigned char *)s + i, len - i);
        const char *special = s[i] ? strchr(plain, s[i]) : NULL;
        if (n == 0) {
            json_decref(v);
            return NULL;
        }
        if (special)
            text_addf(&v->text, "\\%c", escaped[special - plain]);
        else if ((unsigned char)s[i] < 32)
            text_addf(&v->text, "\\u%04X", (unsigned char)s[i]);
        else
            text_add(&v->text, s + i, n);
        i += (size_t)n;
    }
    text_add(&v->text, "\"", 1);
    return v;
}

static json_t *json_string(const char *s)
{
    return json_stringn(s, strlen(s));
}

/* Take v in; a missing value leaves the member out. */
static void json_array_append_new(json_t *to, json_t *v)
{
    if (!v)
        return;
    if (to->text.len > 1 && to->text.s[to->text.len - 1] != ':')
        text_add(&to->text, ",", 1);
    text_add(&to->text, v->text.s, v->text.len);
    if (v->close)
        text_add(&to->text, &v->close, 1);
    json_decref(v);
}

static void json_object_set_new(json_t *o, const char *key, json_t *v)
{
    if (!v)
        return;
    text_addf(&o->text, "%s\"%s\":", o->text.len > 1 ? "," : "", key);
    json_array_append_new(o, v);
}

/* Is there a member of that name? Keys of a log are plain words and stand in no text of it. */
static int json_object_get(const json_t *o, const char *key)
{
    char member[80];
    snprintf(member, sizeof member, "\"%s\":", key);
    return strstr(o->text.s, member) != NULL;
}

/* The whole text; the caller free()s it. */
static char *json_text(const json_t *v)
{
    char close[2] = {v->close, 0}, *text = malloc((size_t)v->text.len + 2);
    if (!text)
        die("out of memory: %d bytes were asked for", v->text.len + 2);
    memcpy(text, v->text.s, (size_t)v->text.len);
    memcpy(text + v->text.len, close, 2);
    return text;
}
