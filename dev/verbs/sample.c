/* sample: complete a prompt with a model. For people, or one JSON object a completion.
 */
#include "verbs.h"
#include "session.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTION_PATH,
    OPTION_TOKENIZER,
    OPTION_PROMPT,
    OPTION_CHAT,
    OPTION_SYSTEM,
    OPTION_IDS,
    OPTION_N,
    OPTION_MAX_NEW,
    OPTION_TEMPERATURE,
    OPTION_TOP_K,
    OPTION_TOP_P,
    OPTION_MIN_P,
    OPTION_MAX_SUPPORT,
    OPTION_SEED,
    OPTION_JSON,
    OPTION_THREADS,
    OPTIONS
};
static const struct param options[] = {
    {"model.path", PARAM_TEXT, "", 0, 0, NULL,
     "Directory of a model (config.json and model.safetensors), or a .bin file of llama2.c.", NULL},
    {"model.tokenizer", PARAM_TEXT, "", 0, 0, NULL, "A tokenizer's directory or file; empty: the model's own.", NULL},
    {"prompt", PARAM_TEXT, "", 0, 0, NULL, "Text to complete; needs the model's tokenizer.", NULL},
    {"chat", PARAM_CHOICE, "none", 0, 0, CHAT_FORMATS, "The prompt as a turn of a conversation, in this format.", NULL},
    {"system", PARAM_TEXT, "", 0, 0, NULL, "Message of the system, in front of the conversation.", "chat!=none"},
    {"ids", PARAM_TEXT, "", 0, 0, NULL, "Token ids to complete instead, separated by commas.", NULL},
    {"n", PARAM_INT, "1", 1, 65536, NULL, "Completions.", NULL},
    {"max_new", PARAM_INT, "0", 0, 1 << 20, NULL, "Longest completion; 0: 128 tokens or what the context allows.",
     NULL},
    {"temperature", PARAM_NUMBER, "1", 0, 100, NULL, "Temperature; 0: the likeliest token each time.", NULL},
    {"top_k", PARAM_INT, "0", 0, 1 << 20, NULL, "Sample from so many likeliest tokens; 0: all.", NULL},
    {"top_p", PARAM_NUMBER, "1", 1e-6, 1, NULL, "Sample from the likeliest tokens of this total probability.", NULL},
    {"min_p", PARAM_NUMBER, "0", 0, 1, NULL, "Leave out tokens below this share of the likeliest one.", NULL},
    {"max_support", PARAM_INT, "0", 0, 4096, NULL, "Most tokens that these three leave; 0: as many as they say.", NULL},
    {"seed", PARAM_INT, "1", 0, 0x1p53, NULL, "All randomness follows from it.", NULL},
    {"json", PARAM_BOOL, "false", 0, 0, NULL, "One JSON object a completion: ids, logp, truncated, text.", NULL},
    {"threads", PARAM_INT, "0", 0, 4096, NULL, "Threads; 0: one a core. The samples do not depend on it.", NULL},
    {0}};

enum { SLOTS = 16, DEFAULT_NEW = 128, MOST_SUPPORT = 4096 };

struct job {
    struct session s;
    const struct value *value;
    int32_t *prompt;
    int cap, prompt_len, n, max_new;
    struct sampling how;
    struct response *response;
    int32_t *ids;
    double *real;
    struct text text;
};

static int parse_ids(struct job *j, const char *s, struct error *e)
{
    int n = 0;
    for (;; s++) {
        char *end;
        long id = strtol(s, &end, 10);
        if (end == s || (*end && *end != ','))
            return fail(e, "ids: '%.40s' is no list of whole numbers with commas between", s);
        if (id < 0 || id >= j->s.arch.V)
            return fail(e, "ids: %ld is outside the vocabulary of %d", id, j->s.arch.V);
        mem_grow(&j->prompt, &j->cap, n + 1, sizeof *j->prompt);
        j->prompt[n++] = (int32_t)id;
        s = end;
        if (!*s)
            return n;
    }
}

/* The prompt's tokens; without any prompt, the token that begins a text. */
static int read_prompt(struct job *j, struct error *e)
{
    const char *text = j->value[OPTION_PROMPT].text, *ids = j->value[OPTION_IDS].text;
    if (text[0] && ids[0])
        return fail(e, "prompt and ids are both given");
    if (ids[0])
        return parse_ids(j, ids, e);
    if (!j->s.tokenizer)
        return fail(e, "the model has no tokenizer: give the prompt as ids=0,1,2");
    struct chat chat;
    if (j->value[OPTION_SYSTEM].text[0] && j->value[OPTION_CHAT].num == CHAT_NONE)
        return fail(e, "system changes nothing without a chat format");
    struct text turn = {.s = (char *)text, .len = (int)strlen(text)};
    if (chat_open(&chat, (enum chat_format)j->value[OPTION_CHAT].num, j->s.tokenizer, e))
        return -1;
    if (chat.end >= 0 && token_ids_end(&j->s.special, chat.end, 1, e))
        return -1;
    int n = chat_prompt(&chat, j->value[OPTION_SYSTEM].text, &turn, 1, &j->prompt, &j->cap, e);
    return n == 0 ? fail(e, "prompt=\"...\" is missing") : n;
}

/* Everything that the options and the model must agree on. */
static int check(struct job *j, struct error *e)
{
    const struct value *v = j->value;
    int context = j->s.arch.context, asked = (int)v[OPTION_MAX_NEW].num;
    j->prompt_len = read_prompt(j, e);
    if (j->prompt_len < 0)
        return -1;
    int room = context - j->prompt_len;
    if (room < 1 || asked > room)
        return fail(e, "a prompt of %d tokens leaves room for %d more in the model's context of %d", j->prompt_len,
                    room > 0 ? room : 0, context);
    j->max_new = asked ? asked : room < DEFAULT_NEW ? room : DEFAULT_NEW;
    j->n = (int)v[OPTION_N].num;
    if ((double)j->n * j->max_new > 1 << 26)
        return fail(e, "n=%d completions of %d tokens are too many at once", j->n, j->max_new);
    j->how = (struct sampling){(float)v[OPTION_TEMPERATURE].num, (int)v[OPTION_TOP_K].num, (float)v[OPTION_TOP_P].num,
                               (float)v[OPTION_MIN_P].num, (int)v[OPTION_MAX_SUPPORT].num};
    int truncating = j->how.top_k > 0 || j->how.top_p < 1 || j->how.min_p > 0;
    if (j->how.max_support > 0 && !truncating)
        return fail(e, "max_support changes nothing without top_k, top_p or min_p");
    if (truncating && j->how.max_support == 0)
        j->how.max_support = j->how.top_k > 0 && j->how.top_k < j->s.arch.V ? j->how.top_k : j->s.arch.V;
    if (j->how.max_support > j->s.arch.V)
        j->how.max_support = j->s.arch.V;
    if (j->how.max_support > MOST_SUPPORT)
        j->how.max_support = MOST_SUPPORT;
    return 0;
}

static int generate(struct job *j, struct error *e)
{
    struct sampler sampler;
    size_t n = (size_t)j->n, new = (size_t)j->max_new;
    uint64_t seed = (uint64_t)j->value[OPTION_SEED].num;
    j->response = mem_alloc(n, sizeof *j->response);
    j->ids = mem_alloc(n * new, sizeof *j->ids);
    j->real = mem_alloc(2 * n * new, sizeof *j->real);
    for (size_t i = 0; i < n; i++) /* supports are only needed to train on the samples */
        j->response[i] = (struct response){
            .ids = j->ids + i * new, .logp = j->real + 2 * i *new, .entropy = j->real + (2 * i + 1) * new};
    struct request q = {j->prompt, j->prompt_len, j->n, j->max_new, 0, 0, 0};
    sampler_plan(&sampler, &j->s.arch, &j->s.device, j->n < SLOTS ? j->n : SLOTS, j->prompt_len, j->max_new,
                 j->how.max_support);
    sampler_commit(&sampler);
    int bad = sampler_run(&sampler, &j->s.policy, &q, 1, &j->how, seed, RNG_SAMPLE, j->s.special.end, j->s.special.ends,
                          j->response, e);
    sampler_free(&sampler);
    return bad;
}

static void print_json(struct job *j, const struct response *r)
{
    json_t *o = json_object(), *logp = json_array(), *text = NULL;
    json_object_set_new(o, "ids", line_ids_json(r->ids, r->len));
    for (int i = 0; i < r->len; i++) {
        json_t *x = json_real(r->logp[i]);
        json_array_append_new(logp, x ? x : json_null());
    }
    json_object_set_new(o, "logp", logp);
    json_object_set_new(o, "truncated", json_boolean(r->truncated));
    if (j->s.tokenizer) {
        text_clear(&j->text);
        text_add(&j->text, "", 0);
        tokenizer_decode(j->s.tokenizer, r->ids, r->len, 0, &j->text, NULL);
        text = json_stringn(j->text.s, (size_t)j->text.len);
        json_object_set_new(o, "text", text ? text : json_null());
    }
    char *line = json_text(o);
    puts(line);
    free(line);
    json_decref(o);
}

/* What a model wrote is no business of the terminal's: control characters are shown, not sent. */
static void print_text(const struct text *t)
{
    for (int i = 0; i < t->len; i++) {
        unsigned char c = (unsigned char)t->s[i];
        if ((c < 32 && c != '\n' && c != '\t') || c == 127)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static void print_tokens(struct job *j, struct tokenizer_stream *s, const int32_t *ids, int n)
{
    for (int i = 0; i < n; i++) {
        text_clear(&j->text);
        tokenizer_stream_add(j->s.tokenizer, s, ids[i], &j->text);
        print_text(&j->text);
    }
}

/* Prompt and completion, in whole characters: a completion may end, or break off, in the middle of one. */
static void print_story(struct job *j, const struct response *r)
{
    struct tokenizer_stream s = {.begins = 1};
    print_tokens(j, &s, j->prompt, j->prompt_len);
    print_tokens(j, &s, r->ids, r->len);
    text_clear(&j->text);
    tokenizer_stream_end(&s, &j->text);
    print_text(&j->text);
    putchar('\n');
}

static void print_plain(struct job *j, const struct response *r, int number)
{
    if (j->n > 1)
        printf("%s--- %d\n", number ? "\n" : "", number + 1);
    if (j->s.tokenizer) {
        print_story(j, r);
        return;
    }
    for (int i = 0; i < r->len; i++)
        printf("%s%d", i ? "," : "", r->ids[i]);
    putchar('\n');
}

static int complete(struct job *j, struct error *e)
{
    if (check(j, e))
        return verb_usage(&verb_row_sample, e);
    if (generate(j, e))
        return verb_failed(&verb_row_sample, e);
    for (int i = 0; i < j->n; i++)
        if (j->value[OPTION_JSON].num != 0)
            print_json(j, &j->response[i]);
        else
            print_plain(j, &j->response[i], i);
    return EXIT_DONE;
}

static int run(int argc, const char *const *argv)
{
    struct value value[OPTIONS];
    struct job j;
    struct error e;
    memset(&j, 0, sizeof j);
    j.value = value;
    if (verb_options(&verb_row_sample, argc, argv, value, &e))
        return verb_usage(&verb_row_sample, &e);
    if (!value[OPTION_PATH].text[0]) {
        fail(&e, "model.path=DIR is missing");
        return verb_usage(&verb_row_sample, &e);
    }
    int bad = session_open_model(&j.s, value[OPTION_PATH].text, value[OPTION_TOKENIZER].text,
                                 (int)value[OPTION_THREADS].num, &e);
    int status = bad ? verb_failed(&verb_row_sample, &e) : complete(&j, &e);
    mem_free(j.prompt);
    mem_free(j.response);
    mem_free(j.ids);
    mem_free(j.real);
    text_free(&j.text);
    session_close(&j.s);
    return status;
}

const struct verb verb_row_sample = {
    "sample",
    "Complete a prompt with a model.",
    "model.path=DIR prompt=\"...\" [key=value ...]",
    "Prints prompt and completion; with n above 1 a line `--- NUMBER` stands before each. A model without tokenizer "
    "takes\n"
    "ids=0,1,2 and prints ids. json=1 prints one JSON object a completion, the end-of-sequence token included in ids.\n"
    "Log-probabilities are those of the distribution that was sampled; with temperature=0 those of temperature 1.\n"
    "\n"
    "Example:\n"
    "  train_rl sample model.path=out/stories-1/checkpoint prompt=\"Once upon a time\" n=3 temperature=0.8\n",
    options,
    run,
};
