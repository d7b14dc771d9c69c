/* JSON through Jansson: strict reading (duplicate keys refused, depth and size bounded), writing with 17 digits
 * and keys in the order they were set. */
#ifndef JSON_H
#define JSON_H
#include <jansson.h>
#include "error.h"

/* One JSON value that fills the text; NULL and *e (line, column, reason) on failure. The caller json_decref()s. */
json_t *json_parse(const char *text, size_t len, struct error *e);
/* The same, and texts in it may hold \u0000: for callers who ask for their length. */
json_t *json_parse_zeros(const char *text, size_t len, struct error *e);
json_t *json_read(const char *path, struct error *e); /* a file of at most 64 MiB */
/* The same, and a whole number beyond 64 bits is no error: every whole number of such a file is read as a real one. For
 * settings in which others write 10^30 for "no limit". */
json_t *json_read_wide(const char *path, struct error *e);

/* Compact text of v, numbers with 17 significant digits; the caller free()s what Jansson allocated. */
char *json_text(const json_t *v);
int json_write(const char *path, const json_t *v, struct error *e); /* indented by 2, crash-safe */

/* Members of an object with their type checked. A missing member: the default, or failure for the _need forms.
 * A member that is null counts as missing. Failure names the key. */
int json_need_int(const json_t *o, const char *key, long min, long max, long *out, struct error *e);
int json_get_int(const json_t *o, const char *key, long min, long max, long def, long *out, struct error *e);
int json_get_number(const json_t *o, const char *key, double def, double *out, struct error *e);
int json_get_bool(const json_t *o, const char *key, int def, int *out, struct error *e);
const char *json_get_string(const json_t *o, const char *key, const char *def); /* def also when not a string */

#endif
