/* JSON through Jansson (json.h). Not a schema: whoever reads an object says which members it needs. */
#include "json.h"
#include "file.h"
#include "mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 64 << 20, READ_FLAGS = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY };

/* Jansson answers exhausted memory with NULL, which its own functions then take in silence: a member would be missing
 * from a file. So it allocates as we do. */
__attribute__((constructor)) static void allocate_or_die(void)
{
    json_set_alloc_funcs(mem_plain, mem_free);
}

static json_t *parse(const char *text, size_t len, size_t flags, struct error *e)
{
    json_error_t reason;
    json_t *v = json_loadb(text, len, flags, &reason);
    if (v)
        return v;
    /* The reason quotes the text; bytes that are not plain would make the message itself unprintable as JSON. */
    for (char *c = reason.text; *c; c++)
        if ((unsigned char)*c < 32 || (unsigned char)*c > 126)
            *c = '?';
    fail(e, "line %d, column %d: %s", reason.line, reason.column, reason.text);
    return NULL;
}

json_t *json_parse(const char *text, size_t len, struct error *e)
{
    return parse(text, len, READ_FLAGS, e);
}

json_t *json_parse_zeros(const char *text, size_t len, struct error *e)
{
    return parse(text, len, READ_FLAGS | JSON_ALLOW_NUL, e);
}

static json_t *read_file(const char *path, int wide, struct error *e)
{
    size_t len;
    char *text = file_read(path, MAX_FILE, &len, e);
    if (!text)
        return NULL;
    json_t *v = json_parse(text, len, e);
    if (!v && wide) /* in vain where that was not the reason */
        v = parse(text, len, READ_FLAGS | JSON_DECODE_INT_AS_REAL, e);
    if (!v)
        fail_in(e, "%s", path);
    mem_free(text);
    return v;
}

json_t *json_read(const char *path, struct error *e)
{
    return read_file(path, 0, e);
}

json_t *json_read_wide(const char *path, struct error *e)
{
    return read_file(path, 1, e);
}

static char *dump(const json_t *v, size_t style)
{
    return json_dumps(v, style | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
}

char *json_text(const json_t *v)
{
    char *text = dump(v, JSON_COMPACT);
    if (!text)
        die("a JSON value could not be written: it is missing, or a text in it is not UTF-8");
    return text;
}

int json_write(const char *path, const json_t *v, struct error *e)
{
    char *text = dump(v, JSON_INDENT(2));
    if (!text)
        return fail(e, "%s: the value could not be written as JSON: it is missing, or a text in it is not UTF-8", path);
    struct file_writer w;
    int status = file_create(&w, path, e);
    if (status == 0)
        status = file_put(&w, text, strlen(text), e);
    if (status == 0)
        status = file_put(&w, "\n", 1, e);
    if (status == 0)
        status = file_commit(&w, e);
    free(text);
    return status;
}

static const json_t *member(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

/* A whole number: 16 and 16.0 are the same JSON number. */
static int as_int(const json_t *v, const char *key, long min, long max, long *out, struct error *e)
{
    long n;
    if (json_is_integer(v)) {
        json_int_t wide = json_integer_value(v);
        if (wide < min || wide > max)
            return fail(e, "\"%s\" is %lld, outside %ld to %ld", key, (long long)wide, min, max);
        n = (long)wide;
    } else if (json_is_real(v)) {
        double x = json_real_value(v);
        if (x != floor(x) || fabs(x) > 0x1p53)
            return fail(e, "\"%s\" is %.17g, not a whole number", key, x);
        n = (long)x;
        if (n < min || n > max)
            return fail(e, "\"%s\" is %ld, outside %ld to %ld", key, n, min, max);
    } else {
        return fail(e, "\"%s\" is not a number", key);
    }
    *out = n;
    return 0;
}

int json_need_int(const json_t *o, const char *key, long min, long max, long *out, struct error *e)
{
    const json_t *v = member(o, key);
    if (!v)
        return fail(e, "\"%s\" is missing", key);
    return as_int(v, key, min, max, out, e);
}

int json_get_int(const json_t *o, const char *key, long min, long max, long def, long *out, struct error *e)
{
    const json_t *v = member(o, key);
    if (v)
        return as_int(v, key, min, max, out, e);
    *out = def;
    return 0;
}

int json_get_number(const json_t *o, const char *key, double def, double *out, struct error *e)
{
    const json_t *v = member(o, key);
    if (v && !json_is_number(v))
        return fail(e, "\"%s\" is not a number", key);
    *out = v ? json_number_value(v) : def;
    return 0;
}

int json_get_bool(const json_t *o, const char *key, int def, int *out, struct error *e)
{
    const json_t *v = member(o, key);
    if (v && !json_is_boolean(v))
        return fail(e, "\"%s\" is not true or false", key);
    *out = v ? json_is_true(v) : def;
    return 0;
}

const char *json_get_string(const json_t *o, const char *key, const char *def)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? json_string_value(v) : def;
}
