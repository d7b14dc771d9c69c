/* Filters: the reading of lines and the writing of answers that verbs on data share. What an answer is, the verb knows.
 */
#include "verbs.h"
#include "../../model/base/mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum line { LINE_NONE, LINE_READ, LINE_LONG };

/* The next line without its end; a line above MAX_LINE is passed over, so that memory stays bounded. */
static enum line read_line(FILE *in, struct text *line)
{
    char piece[4096];
    size_t n = 0, total = 0;
    int c;
    text_clear(line);
    while ((c = getc_unlocked(in)) != EOF) {
        total++;
        if (c == '\n')
            break;
        piece[n++] = (char)c;
        if (n == sizeof piece) {
            if (total <= MAX_LINE)
                text_add(line, piece, (int)n);
            n = 0;
        }
    }
    text_add(line, piece, (int)n);
    if (c == EOF && total == 0)
        return LINE_NONE;
    return total > MAX_LINE ? LINE_LONG : LINE_READ;
}

/* Messages may quote bytes that are no UTF-8, which JSON cannot hold. */
static json_t *error_json(struct error *e)
{
    json_t *text = json_string(e->text);
    for (char *c = e->text; !text && *c; c++)
        if ((unsigned char)*c > 126)
            *c = '?';
    json_t *o = json_object();
    json_object_set_new(o, "error", text ? text : json_string(e->text));
    return o;
}

static const char every_line[] = "line 1, "; /* of a text of one line: it would be read as a number among the lines */

static json_t *answer_line(const struct text *line, line_answer *answer, void *context, struct error *e)
{
    if ((int)strspn(line->s, " \t\r") == line->len) {
        fail(e, "an empty line; one JSON object a line is expected");
        return NULL;
    }
    json_t *object = json_parse_zeros(line->s, (size_t)line->len, e), *out = NULL;
    if (!object && strncmp(e->text, every_line, sizeof every_line - 1) == 0) {
        memmove(e->text, e->text + sizeof every_line - 1, strlen(e->text) - sizeof every_line + 2);
        fail_in(e, "no JSON");
    } else if (object && !json_is_object(object))
        fail(e, "the line holds JSON but no object");
    else if (object)
        out = answer(context, object, e);
    json_decref(object);
    return out;
}

int lines_run(FILE *in, FILE *out, line_answer *answer, void *context)
{
    struct text line = {0};
    enum line kind;
    while ((kind = read_line(in, &line)) != LINE_NONE && !ferror(out)) {
        struct error e = {""};
        json_t *o = NULL;
        if (kind == LINE_LONG)
            fail(&e, "the line is longer than %d bytes", MAX_LINE);
        else
            o = answer_line(&line, answer, context, &e);
        if (!o)
            o = error_json(&e);
        char *text = json_text(o);
        fputs(text, out);
        putc('\n', out);
        fflush(out);
        free(text);
        json_decref(o);
    }
    text_free(&line);
    if (ferror(in))
        perror("train_rl: standard input");
    return ferror(in) || ferror(out) ? EXIT_FAILED : EXIT_DONE;
}

int line_ids(const json_t *object, const char *key, int limit, int32_t **ids, int *cap, struct error *e)
{
    const json_t *a = json_object_get(object, key);
    if (!json_is_array(a))
        return fail(e, "'%s' must be an array of token ids", key);
    int n = (int)json_array_size(a);
    mem_grow(ids, cap, n, sizeof **ids);
    for (int i = 0; i < n; i++) {
        const json_t *v = json_array_get(a, (size_t)i);
        double x = json_number_value(v);
        if (!json_is_number(v) || x != floor(x))
            return fail(e, "%s[%d] is not a whole number", key, i);
        if (!(x >= 0 && x < limit))
            return fail(e, "%s[%d] = %.17g is outside the vocabulary of %d", key, i, x, limit);
        (*ids)[i] = (int32_t)x;
    }
    return n;
}

json_t *line_ids_json(const int32_t *ids, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, json_integer(ids[i]));
    return a;
}
