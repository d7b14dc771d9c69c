/* From an item of a task to the tokens of its prompt: worked examples in front, the chat format around them. */
#include "session_prompts.h"
#include "../../model/base/file.h"
#include <stdio.h>
#include <string.h>

/* Worked example k of an item, as a turn of the user and one of the assistant. */
static void take_shot(const struct session *s, const struct item *it, int k, struct item *shot, struct text turn[2])
{
    const struct task_row *row = s->task.row;
    row->shot(&s->task, it, k, shot);
    turn[0] = (struct text){0};
    text_add(&turn[0], shot->prompt.s, shot->prompt.len);
    turn[1] = (struct text){0};
    row->gold(&s->task, shot, rng_stream(0, RNG_TEACHER, 0, (uint64_t)k, 0), &turn[1]);
}

static int encode_prompt(const struct session *s, const struct item *it, int32_t **ids, int *cap, struct error *e)
{
    struct text turn[2 * MAX_SHOTS + 1];
    struct item shot = {0};
    int shots = s->task.shots;
    for (int k = 0; k < shots; k++)
        take_shot(s, it, k, &shot, turn + 2 * k);
    turn[2 * shots] = it->prompt;
    int n = chat_prompt(&s->chat, s->recipe.task.system, turn, 2 * shots + 1, ids, cap, e);
    for (int k = 0; k < 2 * shots; k++)
        text_free(&turn[k]);
    item_free(&shot);
    return n;
}

int session_prompt(const struct session *s, const struct item *it, int32_t **ids, int *cap, struct error *e)
{
    int n = encode_prompt(s, it, ids, cap, e);
    if (n > s->max_prompt)
        return fail(e, "prompt %llu of the task has %d tokens, more than the %d planned for",
                    (unsigned long long)it->index, n, s->max_prompt);
    return n;
}

/* The item with the most tokens of a task with a list of items, without what stands around it; *tokens: so many. A
 * token is at least a byte, so shorter texts than the best so far need not be looked at. */
static int find_longest(const struct session *s, enum split *split, uint64_t *index, int *tokens, struct error *e)
{
    struct item it = {0};
    int32_t *ids = NULL;
    int cap = 0, status = 0;
    *tokens = 0;
    for (int k = 0; k < 2; k++)
        for (uint64_t i = 0; i < s->task.size[k] && !status; i++) {
            s->task.row->make(&s->task, (enum split)k, i, &it);
            if (it.prompt.len <= *tokens)
                continue;
            int n = tokenizer_encode(s->tokenizer, it.prompt.s, it.prompt.len, 0, &ids, &cap, e);
            status = n < 0;
            if (n > *tokens) {
                *tokens = n;
                *split = (enum split)k;
                *index = i;
            }
        }
    mem_free(ids);
    item_free(&it);
    return status ? -1 : 0;
}

static int is_listed(const struct session *s)
{
    return s->task.size[SPLIT_TRAIN] > 0 && s->task.size[SPLIT_TEST] > 0;
}

enum { SLACK = 16 }; /* where two texts meet, their tokens may be cut otherwise than in each alone */

int session_measure_prompts(struct session *s, struct error *e)
{
    struct item none = {.prompt = {.s = "", .len = 0}}, shot = {0};
    int32_t *ids = NULL;
    enum split split;
    uint64_t index;
    int cap = 0, question = s->task.longest_prompt, around = 0, most = 0, status = 0;
    int listed = is_listed(s) && strcmp(tokenizer_kind(s->tokenizer), "characters") != 0;
    if (!listed && s->chat.format == CHAT_NONE && !s->task.shots) {
        s->max_prompt = question + 2; /* a token holds at least one byte; and room for a first token */
        return 0;
    }
    if (listed && find_longest(s, &split, &index, &question, e))
        return -1;
    for (int k = -1; k < s->task.shots && !status; k++) { /* the examples themselves have others in front */
        if (k >= 0)
            s->task.row->shot(&s->task, &none, k, &shot);
        int n = encode_prompt(s, k < 0 ? &none : &shot, &ids, &cap, e);
        status = n < 0;
        around = k < 0 ? n : around;
        most = n > most ? n : most;
    }
    s->max_prompt = around + question + SLACK > most ? around + question + SLACK : most;
    mem_free(ids);
    item_free(&shot);
    return status ? -1 : 0;
}

int session_check_prompts(const struct session *s, struct error *e)
{
    struct item it = {0};
    int32_t *ids = NULL;
    enum split split;
    uint64_t index;
    int cap = 0, tokens, max_new = session_max_new(&s->recipe), context = s->arch.context;
    if (!is_listed(s) || s->max_prompt + max_new - 1 <= context)
        return 0;
    if (find_longest(s, &split, &index, &tokens, e))
        return -1;
    s->task.row->make(&s->task, split, index, &it);
    int n = encode_prompt(s, &it, &ids, &cap, e);
    mem_free(ids);
    item_free(&it);
    if (n < 0 || n + max_new - 1 <= context)
        return n < 0 ? -1 : 0;
    return fail(e,
                "prompt %llu of the %s split has %d tokens%s and rollout.max_new = %d; the model's context is %d: "
                "lower %srollout.max_new, or leave long questions out of the file",
                (unsigned long long)index, split == SPLIT_TEST ? "test" : "training", n,
                s->task.shots ? " with its worked examples" : "", max_new, context,
                s->task.shots ? "task.shots or " : "");
}

/* ---- what the model's files say of conversations ---- */

static void add_first_line(struct text *out, const struct text *template)
{
    int len = 0, from = 0;
    while (from < template->len && strchr(" \t\r\n", template->s[from]))
        from++;
    while (len < 80 && from + len < template->len && template->s[from + len] != '\n')
        len++;
    for (int i = from; i < from + len; i++) /* shown on a terminal */
        text_add(out, (unsigned char)template->s[i] < 32 || template->s[i] == 127 ? "?" : template->s + i, 1);
}

void session_chat_note(const struct session *s, struct text *out)
{
    const char *dir = s->recipe.model.tokenizer;
    struct text template = {0}, system = {0};
    struct error e;
    dir = file_is_directory(dir) ? dir : s->recipe.model.path;
    int found = file_is_directory(dir) ? chat_template_read(dir, &template, &e) : 0;
    enum chat_format ours = s->chat.format,
                     theirs = found > 0 ? chat_recognise(template.s, template.len, &system) : ours;
    if (found < 0) {
        text_addf(out, "its chat template cannot be read: %s", e.text);
    } else if (found && theirs == CHAT_NONE) {
        text_addf(out, "the chat template of %s is none of plain, chatml, llama3, llama31; it begins: ", dir);
        add_first_line(out, &template);
    } else if (theirs != ours && ours == CHAT_NONE) {
        text_addf(out, "%s has a chat template, %s: task.chat=%s asks in that form", dir, chat_name(theirs),
                  chat_name(theirs));
    } else if (theirs != ours) {
        text_addf(out, "the chat template of %s is %s, but prompts are asked as task.chat=%s", dir, chat_name(theirs),
                  chat_name(ours));
    } else if (ours == CHAT_LLAMA31 && strstr(template.s, "strftime")) {
        text_addf(out, "the chat template of %s writes the date of the day, task.chat=llama31 always 26 Jul 2024", dir);
    } else if (system.len && !s->recipe.task.system[0]) {
        text_addf(out, "the chat template of %s has a system message where none is given, task.system=\"", dir);
        add_first_line(out, &system);
        text_add(out, "\"", 1);
    }
    text_free(&template);
    text_free(&system);
}
