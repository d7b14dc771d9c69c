/* model/base/json and the lines of the filters: any bytes as one JSON text, and as lines of records. What is accepted
 * reads back the same after it was written, and every line gets exactly one line of JSON as its answer.
 */
#include "fuzz.h"
#include "../../dev/verbs/verbs.h"
#include "../../model/base/mem.h"

static void read_members(const json_t *o)
{
    struct error e = {""};
    long n = 7;
    double x = 7;
    int on = 7;
    must(json_need_int(o, "n", -5, 1000, &n, &e) ? e.text[0] : n >= -5 && n <= 1000);
    must(json_get_int(o, "i", 0, 9, 3, &n, &e) ? e.text[0] : n >= 0 && n <= 9);
    must(json_get_number(o, "x", 0.5, &x, &e) ? e.text[0] : x == x);
    must(json_get_bool(o, "b", 1, &on, &e) ? e.text[0] : on == 0 || on == 1);
    must(json_get_string(o, "s", "default"));
}

static void parse(const char *text, size_t len)
{
    char path[32];
    struct error e = {""};
    json_t *v = json_parse(text, len, &e);
    int fd = memory_file(text, len, path);
    json_t *same = json_read(path, &e);
    close(fd);
    must(!v == !same);
    if (!v) {
        must_say_why(&e);
        return;
    }
    char *once = json_text(v);
    json_t *again = json_parse(once, strlen(once), &e);
    must(again && json_equal(v, again) && json_equal(v, same));
    char *twice = json_text(again);
    must(!strcmp(once, twice));
    read_members(v);
    free(once);
    free(twice);
    json_decref(v);
    json_decref(same);
    json_decref(again);
}

static json_t *answer(void *context, const json_t *object, struct error *e)
{
    int32_t **ids = context;
    static int cap; /* of *ids, over all inputs */
    int n = line_ids(object, "ids", 300, ids, &cap, e);
    for (int i = 0; i < n; i++)
        must((*ids)[i] >= 0 && (*ids)[i] < 300);
    return n < 0 ? NULL : line_ids_json(*ids, n);
}

static void lines(const char *text, size_t len)
{
    static int32_t *ids;
    char *out = NULL;
    size_t out_len = 0;
    FILE *in = fmemopen((void *)text, len, "r"), *to = open_memstream(&out, &out_len);
    must(in && to);
    must(lines_run(in, to, answer, &ids) == EXIT_DONE);
    fclose(in);
    fclose(to);
    int asked = text[len - 1] != '\n', answered = 0;
    for (size_t i = 0; i < len; i++)
        asked += text[i] == '\n';
    for (const char *line = out, *end; (end = strchr(line, '\n')); line = end + 1, answered++) {
        struct error e;
        json_t *v = json_parse(line, (size_t)(end - line), &e);
        must(v);
        json_decref(v);
    }
    must(asked == answered);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse((const char *)data, size);
    if (size > 0)
        lines((const char *)data, size);
    return 0;
}
