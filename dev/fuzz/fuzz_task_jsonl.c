/* data/task_jsonl: the first byte chooses the options, then any bytes as a file of questions and answers; after a zero
 * byte a response to judge, or a second file. What is accepted gives items, and the worked answer of the file itself is
 * never wrong.
 */
#include "fuzz.h"
#include "../../data/task.h"

static void set(const struct task_row *row, struct value *v, const char *key, const char *text)
{
    struct error e;
    must(param_parse(&row->params[param_find(row->params, key)], text, &v[param_find(row->params, key)], &e) == 0);
}

static void use(const struct task *t, int worked, const char *response, int len)
{
    enum verdict strict, lenient;
    struct item it = {0}, shot = {0};
    struct text gold = {0};
    for (int split = 0; split < 2; split++)
        for (uint64_t i = 0; i < t->size[split] && i < 20; i++) {
            t->row->make(t, (enum split)split, i, &it);
            must(it.prompt.len <= t->longest_prompt && it.answer.len > 0);
            t->row->gold(t, &it, rng_stream(1, RNG_TASK, 0, i, 0), &gold);
            must(gold.len <= t->longest_gold);
            t->row->check(t, &it, gold.s, gold.len, &strict, &lenient);
            must(!worked || strict != VERDICT_WRONG);
            t->row->check(t, &it, response, len, &strict, &lenient);
            for (int k = 0; k < t->shots; k++) {
                t->row->shot(t, &it, k, &shot);
                must(shot.prompt.len != it.prompt.len || memcmp(shot.prompt.s, it.prompt.s, (size_t)it.prompt.len));
            }
        }
    item_free(&it);
    item_free(&shot);
    text_free(&gold);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct task_row *row = task_find("jsonl");
    struct value v[MAX_PARAMS];
    struct error e = {""};
    struct task t;
    char path[32], second[32], *text;
    size_t len, rest;
    if (size == 0)
        return 0;
    const char *response = cut_input(data + 1, size - 1, &text, &len, &rest);
    int fd = memory_file(text, len, path), fd2 = memory_file(response, rest, second);
    for (int i = 0; i < param_count(row->params); i++)
        must(param_parse(&row->params[i], row->params[i].def, &v[i], &e) == 0);
    set(row, v, "train", path);
    if (data[0] & 1)
        set(row, v, "test", second);
    if (data[0] & 2)
        set(row, v, "verify", "number");
    if (data[0] & 4)
        set(row, v, "prompt", "{question} {x} {{a}");
    if (data[0] & 8)
        set(row, v, "marker", "");
    if (data[0] & 16)
        set(row, v, "gold", "x");
    if (data[0] & 32)
        set(row, v, "shots", "2");
    if (task_open(&t, row, v, &e) == 0)
        use(&t, !(data[0] & 16), response, (int)rest);
    else
        must_say_why(&e);
    task_close(&t);
    close(fd);
    close(fd2);
    free(text);
    return 0;
}
