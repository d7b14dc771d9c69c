/* The table of tasks and what all of them share: opening with defaults for the sizes, the split into train and test.
 * Not a task: each is one file data/task_NAME.c with one constant row, named in tasks.def. */
#include "task.h"
#include <string.h>

#define TASK(row) extern const struct task_row row;
#include "tasks.def"
#undef TASK

const struct task_row *const task_rows[] = {
#define TASK(row) &row,
#include "tasks.def"
#undef TASK
    NULL};

const struct task_row *task_find(const char *name)
{
    for (int i = 0; task_rows[i]; i++)
        if (!strcmp(task_rows[i]->name, name))
            return task_rows[i];
    return NULL;
}

void item_free(struct item *it)
{
    text_free(&it->prompt);
    text_free(&it->answer);
    text_free(&it->extra);
    *it = (struct item){0};
}

/* The seed is part of what an item is: another one would move prompts that were trained on into the test set. */
enum split task_split(const char *canonical_prompt, int len)
{
    return hash_bytes(canonical_prompt, len, 0x73706c6974) % 10 == 0 ? SPLIT_TEST : SPLIT_TRAIN;
}

enum { SEED_ITEM = 1 }; /* the same for all runs; another one would change every item */

void task_draw(const struct task *t, enum split split, uint64_t index, task_write *write, struct text *prompt)
{
    uint32_t draw = 0;
    do {
        if (draw == 1u << 16)
            die("no prompt of the split was found in %u draws", draw);
        text_clear(prompt);
        write(t, rng_stream(SEED_ITEM, RNG_TASK, split, index, draw++), prompt);
    } while (task_split(prompt->s, prompt->len) != split);
}

int task_check_splits(const struct task *t, task_write *write, const char *remedy, struct error *e)
{
    enum { DRAWS = 4096, LEAST = 20, STREAM = 2 };
    struct text prompt = {0};
    int held_out = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        text_clear(&prompt);
        write(t, rng_stream(SEED_ITEM, RNG_TASK, STREAM, i, 0), &prompt);
        held_out += task_split(prompt.s, prompt.len) == SPLIT_TEST;
    }
    text_free(&prompt);
    if (held_out < LEAST || DRAWS - held_out < LEAST)
        return fail(e, "too few different prompts for training and test; %s", remedy);
    return 0;
}

int task_check_operators(const char *operators, const char *known, struct error *e)
{
    if (!operators || !*operators)
        return fail(e, "operators is empty; give some of %s", known);
    for (const char *c = operators; *c; c++) {
        if (!strchr(known, *c))
            return fail(e, "operators = %s: '%c' is not one of %s", operators, *c, known);
        if (strchr(c + 1, *c))
            return fail(e, "operators = %s: '%c' stands there twice", operators, *c);
    }
    return 0;
}

int task_line_end(const char *s, int len, int start)
{
    const char *newline = memchr(s + start, '\n', (size_t)(len - start));
    return newline ? (int)(newline - s) + 1 : len;
}

int task_lines(const struct task *t, const struct item *it, const char *response, int len, struct step *s, int max)
{
    (void)t;
    (void)it;
    int n = 0;
    for (int start = 0; start < len && n < max; n++) {
        s[n] = (struct step){start, task_line_end(response, len, start)};
        start = s[n].end;
    }
    return n;
}

/* Longest prompt and gold text among some items of both splits, for tasks that cannot say it. The longest gold is the
 * longest of several drawn for each. */
static void sample_lengths(struct task *t)
{
    struct item it = {0};
    struct text gold = {0};
    for (int split = SPLIT_TRAIN; split <= SPLIT_TEST; split++)
        for (uint64_t i = 0; i < 512 && (!t->size[split] || i < t->size[split]); i++) {
            t->row->make(t, split, i, &it);
            for (uint32_t k = 0; k < 4 && t->row->gold; k++) {
                text_clear(&gold);
                t->row->gold(t, &it, rng_stream(0, RNG_TEACHER, 0, i, k), &gold);
                t->longest_gold = gold.len > t->longest_gold ? gold.len : t->longest_gold;
            }
            t->longest_prompt = it.prompt.len > t->longest_prompt ? it.prompt.len : t->longest_prompt;
        }
    text_free(&gold);
    item_free(&it);
}

int task_open(struct task *t, const struct task_row *row, const struct value *value, struct error *e)
{
    *t = (struct task){.row = row, .alphabet = row->alphabet};
    memcpy(t->value, value, (size_t)param_count(row->params) * sizeof *value);
    if (row->open && row->open(t, e)) {
        task_close(t);
        return fail_in(e, "task %s", row->name);
    }
    if (!t->longest_prompt)
        sample_lengths(t);
    return 0;
}

void task_close(struct task *t)
{
    if (t->row && t->row->close)
        t->row->close(t);
    *t = (struct task){0};
}
