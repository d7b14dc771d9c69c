/* The keys of the sections that have a struct behind them: one row a key, with default, bounds and sentence. To add a
 * key: a field in recipe.h and a row here; parsing, help, the resolved text and the overrides follow.
 */
#include "recipe_inner.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define INT(S, f, def, min, max, help) INT_IF(S, f, def, min, max, help, NULL)
#define INT_IF(S, f, def, min, max, help, only)                                                                        \
    {                                                                                                                  \
        {#f, PARAM_INT, def, min, max, NULL, help, only}, offsetof(struct S, f), sizeof(int), KEY_INT, 0               \
    }
#define NUMBER(S, f, def, min, max, help, only)                                                                        \
    {                                                                                                                  \
        {#f, PARAM_NUMBER, def, min, max, NULL, help, only}, offsetof(struct S, f), sizeof(double), KEY_DOUBLE, 0      \
    }
#define CHOICE(S, f, def, choices, help)                                                                               \
    {                                                                                                                  \
        {#f, PARAM_CHOICE, def, 0, 0, choices, help, NULL}, offsetof(struct S, f), sizeof(int), KEY_INT, 0             \
    }
#define STRING(S, f, def, help) STRING_IF(S, f, def, help, NULL)
#define STRING_IF(S, f, def, help, only)                                                                               \
    {                                                                                                                  \
        {#f, PARAM_TEXT, def, 0, 0, NULL, help, only}, offsetof(struct S, f), sizeof(((struct S *)0)->f), KEY_STRING,  \
            0                                                                                                          \
    }
#define WORD(S, f, def, choices, help, only)                                                                           \
    {                                                                                                                  \
        {#f, PARAM_CHOICE, def, 0, 0, choices, help, only}, offsetof(struct S, f), sizeof(((struct S *)0)->f),         \
            KEY_STRING, 0                                                                                              \
    }
#define BOOL(S, f, def, help)                                                                                          \
    {                                                                                                                  \
        {#f, PARAM_BOOL, def, 0, 0, NULL, help, NULL}, offsetof(struct S, f), sizeof(int), KEY_INT, 0                  \
    }

/* Keys of [run] that the result does not depend on. */
#define LOCAL(f, type, def, min, max, choices, help, bytes, store)                                                     \
    {                                                                                                                  \
        {#f, type, def, min, max, choices, help, NULL}, offsetof(struct run_config, f), bytes, store, 1                \
    }
#define RUN_BYTES(f)                      sizeof(((struct run_config *)0)->f)
#define LOCAL_INT(f, def, min, max, help) LOCAL(f, PARAM_INT, def, min, max, NULL, help, sizeof(int), KEY_INT)
#define LOCAL_NUMBER(f, def, help)        LOCAL(f, PARAM_NUMBER, def, 0, 1e9, NULL, help, sizeof(double), KEY_DOUBLE)
#define LOCAL_PATH(f, help)               LOCAL(f, PARAM_TEXT, "", 0, 0, NULL, help, RUN_BYTES(f), KEY_STRING)

static const struct key_row model_keys[] = {
    STRING(model_config, preset, "tiny-llama", "A named architecture; `list models` shows them."),
    STRING(model_config, path, "",
           "Directory of a trained model, or a .bin file of llama2.c; takes the place of the preset."),
    STRING(model_config, tokenizer, "",
           "A tokenizer's directory or file; empty: the model's own, or the task's characters."),
    WORD(model_config, init, "preset", "preset|small|gpt2",
         "How weights begin: as the preset says, scaled by fan-in, or as GPT-2.", "path="),
    INT(model_config, context, "0", 0, 1 << 20, "Longest sequence; 0: what task and rollout need."),
    INT_IF(model_config, width, "0", 0, 65536, "Width of the residual stream; 0: the preset's.", "path="),
    INT_IF(model_config, layers, "0", 0, 1024, "Number of layers; 0: the preset's.", "path="),
    INT_IF(model_config, heads, "0", 0, 1024, "Heads of attention; 0: the preset's.", "path="),
    INT_IF(model_config, kv_heads, "0", 0, 1024, "Heads of keys and values; 0: the preset's.", "path="),
    INT_IF(model_config, hidden, "0", 0, 262144, "Width inside the MLP; 0: the preset's.", "path="),
    INT_IF(model_config, lora_rank, "0", 0, 4096, "Train adapters of this rank in place of all weights; 0: none.",
           "lora_path="),
    NUMBER(model_config, lora_alpha, "0", 0, 999999,
           "Adapters add alpha / rank of what they compute; 0: twice the rank.", "lora_path="),
    STRING_IF(model_config, lora_targets, "all",
              "Linear maps with adapters: q k v o gate up down, of GPT-2 c_attn attn.c_proj c_fc mlp.c_proj, or all.",
              "lora_path="),
    STRING(model_config, lora_path, "",
           "Directory of an adapter in PEFT's layout to begin with; rank, alpha and maps are its own."),
    {{"recompute", PARAM_BOOL, "0", 0, 0, NULL,
      "Keep only each layer's input for the backward pass and compute the rest again: less memory, more time, the same "
      "numbers.",
      NULL},
     offsetof(struct model_config, recompute),
     sizeof(int),
     KEY_INT,
     1},
};
static const struct key_row rollout_keys[] = {
    INT(rollout_config, prompts, "32", 1, 65536, "Prompts a step."),
    INT(rollout_config, samples, "8", 1, 65536, "Samples of each prompt: the group."),
    INT(rollout_config, max_new, "64", 1, 1 << 20, "Longest response in tokens."),
    NUMBER(rollout_config, temperature, "1", 1e-3, 100, "Temperature of sampling; it belongs to the policy.", NULL),
    INT(rollout_config, top_k, "0", 0, 1 << 20, "Sample from so many likeliest tokens; 0: all."),
    NUMBER(rollout_config, top_p, "1", 1e-6, 1, "Sample from the likeliest tokens of this total probability.", NULL),
    NUMBER(rollout_config, min_p, "0", 0, 1, "Leave out tokens below this share of the likeliest one.", NULL),
    INT(rollout_config, max_support, "0", 0, 4096, "Most ids that truncated sampling keeps with a token."),
    INT(rollout_config, max_refills, "4", 1, 1000, "Most rounds of collection when a select stage drops groups."),
    {{"slots", PARAM_INT, "0", 0, 65536, NULL, "Sequences generated at once; 0: as suits the machine.", NULL},
     offsetof(struct rollout_config, slots),
     sizeof(int),
     KEY_INT,
     1},
};
static const struct key_row optim_keys[] = {
    NUMBER(optim_config, lr, "3e-4", 0, 10, "Learning rate.", NULL),
    CHOICE(optim_config, schedule, "constant", "constant|linear|cosine", "How the rate falls over the phase's steps."),
    NUMBER(optim_config, min_lr, "0.1", 0, 1, "Share of the rate that is left at the end.", "schedule!=constant"),
    NUMBER(optim_config, critic_lr, "0", 0, 10, "Learning rate of models that are trained beside the policy; 0: lr.",
           NULL),
    INT(optim_config, warmup, "0", 0, 1000000, "Steps over which the rate rises from 0."),
    NUMBER(optim_config, beta1, "0.9", 0, 0.999999, "Decay of AdamW's mean of gradients.", NULL),
    NUMBER(optim_config, beta2, "0.95", 0, 0.999999, "Decay of AdamW's mean of squared gradients.", NULL),
    NUMBER(optim_config, eps, "1e-8", 1e-20, 1, "Added to AdamW's root.", NULL),
    NUMBER(optim_config, weight_decay, "0", 0, 10, "AdamW's decay of matrices, in units of the rate.", NULL),
    NUMBER(optim_config, clip, "1", 0, INFINITY, "Largest norm of the gradient; off: any.", NULL),
    INT(optim_config, minibatches, "1", 1, 65536, "Optimiser steps that share one rollout's groups among them."),
    INT(optim_config, epochs, "1", 1, 1000, "Passes over one rollout."),
};
static const struct key_row eval_keys[] = {
    INT(eval_config, every, "20", 0, 1000000, "Steps between evaluations; 0: only before, between and after phases."),
    INT(eval_config, prompts, "200", 1, 1000000, "Test prompts of an evaluation."),
    INT(eval_config, samples, "8", 1, 1024, "Samples a prompt for pass@k."),
    NUMBER(eval_config, temperature, "1", 1e-3, 100, "Temperature of those samples.", NULL),
};
static const struct key_row run_keys[] = {
    {{"seed", PARAM_INT, "1", 0, 0x1p53, NULL, "All randomness follows from it.", NULL},
     offsetof(struct run_config, seed),
     sizeof(uint64_t),
     KEY_U64,
     0},
    CHOICE(run_config, precision, "fp32", "fp32|bf16",
           "bf16: what is multiplied with matrices in 16 bits, sums and trained weights in 32; faster on a GPU and on "
           "processors with AMX."),
    INT(run_config, log_samples, "4", 0, 65536, "Rollouts written to samples.jsonl at each logged step."),
    LOCAL_INT(threads, "0", 0, 4096, "Threads; 0: one a core."),
    LOCAL_INT(micro, "0", 0, 65536, "Groups a micro-batch; 0: as memory allows."),
    LOCAL_NUMBER(memory, "0", "MB the run may use; 0: most of what the machine has."),
    LOCAL_INT(save_every, "10", 0, 1000000, "Steps between checkpoints; 0: only at the end."),
    LOCAL_NUMBER(max_seconds, "0", "Stop and save after so long; 0: no limit."),
    LOCAL_PATH(out, "Directory of the run; empty: out/RECIPE-N."),
    LOCAL_PATH(resume, "Directory of a run to go on with."),
    LOCAL(device, PARAM_CHOICE, "auto", 0, 0, "auto|cpu|cuda", "Where tensors live; auto: on the GPU if there is one.",
          RUN_BYTES(device), KEY_STRING),
};
static const struct key_row phase_keys[] = {
    STRING(phase, train, "policy", "The model that this phase trains."),
    CHOICE(phase, source, "rollout", "rollout|gold", "Learn from the policy's own samples, or from the task's texts."),
    CHOICE(phase, part, "all", "all|first|second",
           "Which training prompts: all, or one of two halves by a hash of the prompt, which share none."),
    INT(phase, steps, "0", 0, 100000000, "Steps of the phase."),
    NUMBER(phase, seconds, "0", 0, 1e9, "Stop the phase after so long; 0: no limit. Such a run is not reproducible.",
           NULL),
    INT_IF(phase, batch, "32", 1, 65536, "Texts a step.", "source=gold"),
    STRING(phase, branch, "", "An earlier phase: train a side branch from its end, evaluate it, and go back."),
    BOOL(phase, reset_optimiser, "false", "Moments and step count of the optimiser start afresh."),
};

static const struct key_row task_keys[] = {
    CHOICE(task_config, chat, "none", "none|plain|chatml|llama3|llama31",
           "Prompts as turns of a conversation, in this format."),
    {{"system", PARAM_TEXT, "", 0, 0, NULL, "Message of the system, in front of the conversation.", "chat!=none"},
     offsetof(struct task_config, system),
     sizeof(((struct task_config *)0)->system),
     KEY_STRING,
     0},
};

#define SECTION(name, sentence, keys)                                                                                  \
    {                                                                                                                  \
        name, sentence, keys, (int)(sizeof keys / sizeof keys[0])                                                      \
    }
const struct section_row recipe_sections[] = {
    SECTION("model", "The policy.", model_keys),
    SECTION("rollout", "How samples are drawn; a phase may differ.", rollout_keys),
    SECTION("optim", "AdamW and its rate; a phase may differ.", optim_keys),
    SECTION("eval", "Measuring on test prompts.", eval_keys),
    SECTION("run", "Seed, machine and files.", run_keys),
    SECTION("phase", "One stretch of training; also any key of [rollout] and [optim], and stage lines.", phase_keys),
    {0}};

const struct section_row recipe_task_section = SECTION("task", "The task and its parameters.", task_keys);

const struct section_row *section_find(const char *name)
{
    for (const struct section_row *s = recipe_sections; s->name; s++)
        if (!strcmp(s->name, name))
            return s;
    return NULL;
}

const struct key_row *key_find(const struct section_row *s, const char *key)
{
    for (int i = 0; i < s->count; i++)
        if (!strcmp(s->keys[i].row.key, key))
            return &s->keys[i];
    return NULL;
}

/* The i-th of "a|b|c". */
static void choice_text(const struct param *row, int i, char *buf, size_t size)
{
    const char *s = row->choices;
    while (i-- > 0 && strchr(s, '|'))
        s = strchr(s, '|') + 1;
    snprintf(buf, size, "%.*s", (int)strcspn(s, "|"), s);
}

int key_set(const struct key_row *k, const char *text, void *to, struct error *e)
{
    struct value v;
    char *at = (char *)to + k->offset;
    if (param_parse(&k->row, text, &v, e))
        return -1;
    switch (k->store) {
    case KEY_INT:
        *(int *)at = (int)v.num;
        break;
    case KEY_DOUBLE:
        *(double *)at = v.num;
        break;
    case KEY_U64:
        *(uint64_t *)at = (uint64_t)v.num;
        break;
    case KEY_STRING:
        if (strlen(v.text) >= k->size)
            return fail(e, "%s: at most %zu bytes", k->row.key, k->size - 1);
        if (k->row.type == PARAM_CHOICE)
            choice_text(&k->row, (int)v.num, at, k->size);
        else
            snprintf(at, k->size, "%s", v.text);
    }
    return 0;
}

void key_defaults(const struct section_row *s, void *to)
{
    struct error e;
    for (int i = 0; i < s->count; i++)
        if (key_set(&s->keys[i], s->keys[i].row.def, to, &e))
            die("[%s]: %s", s->name, e.text);
}

void key_get(const struct key_row *k, const void *from, struct value *v)
{
    const char *at = (const char *)from + k->offset;
    *v = (struct value){0};
    if (k->store == KEY_STRING) {
        if (param_parse(&k->row, at, v, NULL))
            die("%s = %s", k->row.key, at);
        v->text = at;
    } else {
        v->num = k->store == KEY_INT      ? *(const int *)at
                 : k->store == KEY_DOUBLE ? *(const double *)at
                                          : (double)*(const uint64_t *)at;
        v->off = isinf(v->num);
    }
}

int condition_holds(const char *only_if, const struct param *const *rows, const struct value *v, int n)
{
    if (!only_if)
        return 1;
    const char *equals = strchr(only_if, '=');
    int negated = equals[-1] == '!';
    size_t len = (size_t)(equals - only_if) - (size_t)negated;
    for (int i = 0; i < n; i++) {
        struct value want;
        if (strlen(rows[i]->key) != len || strncmp(rows[i]->key, only_if, len))
            continue;
        if (param_parse(rows[i], equals + 1, &want, NULL))
            break;
        int same = rows[i]->type == PARAM_TEXT ? !strcmp(v[i].text ? v[i].text : "", want.text)
                                               : v[i].off == want.off && v[i].num == want.num;
        return same != negated;
    }
    die("the condition '%s' names nothing in its table", only_if);
}

int param_matters(const struct param *table, int i, const struct value *v)
{
    const struct param *rows[MAX_PARAMS];
    int n = param_count(table);
    for (int k = 0; k < n; k++)
        rows[k] = &table[k];
    return condition_holds(table[i].only_if, rows, v, n);
}

int key_matters(const struct section_row *s, const struct key_row *k, const void *config)
{
    const struct param *rows[MAX_PARAMS];
    struct value v[MAX_PARAMS];
    for (int i = 0; i < s->count; i++) {
        rows[i] = &s->keys[i].row;
        key_get(&s->keys[i], config, &v[i]);
    }
    return condition_holds(k->row.only_if, rows, v, s->count);
}

/* Bare where that reads back the same, else in quotes. */
void text_print(struct text *out, const char *s)
{
    size_t n = strlen(s);
    int bare = n > 0 && s[0] != '$' && s[0] != ' ' && s[n - 1] != ' ' && strcspn(s, "#\",()\\\n\t\r") == n;
    if (bare) {
        text_add(out, s, -1);
        return;
    }
    text_add(out, "\"", 1);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            text_add(out, "\\", 1);
        text_add(out, *s == '\n' ? "\\n" : *s == '\t' ? "\\t" : s, *s == '\n' || *s == '\t' ? 2 : 1);
    }
    text_add(out, "\"", 1);
}

void value_print(struct text *out, const struct param *row, const struct value *v)
{
    char buf[64];
    if (row->type == PARAM_CHOICE && !v->off)
        choice_text(row, (int)v->num, buf, sizeof buf);
    else if (row->type == PARAM_TEXT && !v->off)
        return text_print(out, v->text ? v->text : "");
    text_add(out, row->type == PARAM_CHOICE && !v->off ? buf : param_text(row, v, buf), -1);
}
