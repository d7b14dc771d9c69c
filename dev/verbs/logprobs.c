/* logprobs: what a model thinks of given tokens. A filter; the numbers are those of training at temperature 1 with all
 * tokens allowed.
 */
#include "verbs.h"
#include "session.h"
#include <math.h>
#include <string.h>

enum { OPTION_PATH, OPTION_TOKENIZER, OPTION_SPECIAL, OPTION_THREADS, OPTIONS };
static const struct param options[] = {
    {"model.path", PARAM_TEXT, "", 0, 0, NULL,
     "Directory of a model (config.json and model.safetensors), or a .bin file of llama2.c.", NULL},
    {"model.tokenizer", PARAM_TEXT, "", 0, 0, NULL, "A tokenizer's directory or file; empty: the model's own.", NULL},
    {"special", PARAM_BOOL, "true", 0, 0, NULL, "Texts begin with the token that the tokenizer puts in front.", NULL},
    {"threads", PARAM_INT, "0", 0, 4096, NULL, "Threads; 0: one a core. The numbers do not depend on it.", NULL},
    {0}};

struct scorer {
    struct session s;
    int special;
    int rows; /* room of the buffers below; they grow with the longest line */
    struct tape tape;
    struct layout layout;
    int32_t *row;
    double *temperature, *logp;
    int32_t *ids;
    int cap;
};

static void release(struct scorer *c)
{
    tape_free(&c->tape);
    layout_free(&c->layout);
    mem_free(c->row);
    mem_free(c->temperature);
    mem_free(c->logp);
}

/* Fails, with nothing reserved, when the machine has too little memory: the next line may be shorter. */
static int reserve(struct scorer *c, int rows, struct error *e)
{
    if (rows <= c->rows)
        return 0;
    if (c->rows)
        release(c);
    int twice = c->rows < c->s.arch.context / 2 ? 2 * c->rows : c->s.arch.context;
    c->rows = 0;
    tape_plan(&c->tape, &c->s.arch, &c->s.device, rows, rows, rows + KV_ALIGN, KEEP_NOTHING);
    size_t need = c->tape.arena.total;
    tape_free(&c->tape);
    if (need > mem_machine() / 2)
        return fail(e, "%d tokens need %zu MB, and this machine has %zu", rows, need >> 20, mem_machine() >> 20);
    c->rows = rows > twice || need > mem_machine() / 8 ? rows : twice;
    tape_plan(&c->tape, &c->s.arch, &c->s.device, c->rows, c->rows, c->rows + KV_ALIGN, KEEP_NOTHING);
    tape_commit(&c->tape);
    layout_create(&c->layout, &c->s.device, c->s.arch.V, c->rows, 1, 1, c->rows, 0);
    c->row = mem_alloc((size_t)c->rows, sizeof *c->row);
    c->temperature = mem_alloc((size_t)c->rows, sizeof *c->temperature);
    c->logp = mem_alloc((size_t)c->rows, sizeof *c->logp);
    for (int i = 0; i < c->rows; i++) {
        c->row[i] = i;
        c->temperature[i] = 1;
    }
    return 0;
}

/* c->logp[i]: of ids[i + 1] after ids[0..i]. */
static int score(struct scorer *c, const int32_t *ids, int n, struct error *e)
{
    const struct segment whole = {-1, 0, n};
    const int groups[2] = {0, 1}, entries[2] = {0, n - 1};
    if (reserve(c, n, e))
        return -1;
    layout_set(&c->layout, ids, &whole, groups, 1);
    layout_entries(&c->layout, n - 1, c->row, ids + 1, c->temperature, NULL, NULL, entries, 1);
    model_forward(&c->s.policy, &c->tape, &c->layout.rows, c->tape.kv, 0, c->tape.store);
    model_head(&c->s.policy, &c->tape, &c->layout, c->logp, NULL);
    return 0;
}

/* The line's tokens, in c->ids. Returns their number or -1. */
static int read_tokens(struct scorer *c, const json_t *o, struct error *e)
{
    const json_t *text = json_object_get(o, "text");
    if (!text == !json_object_get(o, "ids"))
        return fail(e, "a line needs either 'ids' or 'text'");
    if (!text)
        return line_ids(o, "ids", c->s.arch.V, &c->ids, &c->cap, e);
    if (!c->s.tokenizer)
        return fail(e, "the model has no tokenizer.json: give 'ids'");
    if (!json_is_string(text))
        return fail(e, "'text' must be a string");
    return tokenizer_encode(c->s.tokenizer, json_string_value(text), (int)json_string_length(text), c->special, &c->ids,
                            &c->cap, e);
}

static json_t *answer(void *context, const json_t *object, struct error *e)
{
    struct scorer *c = context;
    int n = read_tokens(c, object, e);
    if (n > c->s.arch.context)
        n = fail(e, "%d tokens exceed the model's context of %d", n, c->s.arch.context);
    if (n < 0)
        return NULL;
    if (n > 1 && score(c, c->ids, n, e))
        return NULL;
    json_t *list = json_array(), *out = json_object();
    if (json_object_get(object, "text"))
        json_object_set_new(out, "ids", line_ids_json(c->ids, n));
    json_object_set_new(out, "logp", list);
    if (n > 0)
        json_array_append_new(list, json_null());
    for (int i = 0; i + 1 < n; i++) {
        if (!isfinite(c->logp[i])) {
            fail(e, "the model gives token %d the log-probability %g; its weights are unusable", i + 1, c->logp[i]);
            json_decref(out);
            return NULL;
        }
        json_array_append_new(list, json_real(c->logp[i]));
    }
    return out;
}

static int run(int argc, const char *const *argv)
{
    struct value value[OPTIONS];
    struct scorer c;
    struct error e;
    memset(&c, 0, sizeof c);
    if (verb_options(&verb_row_logprobs, argc, argv, value, &e))
        return verb_usage(&verb_row_logprobs, &e);
    if (!value[OPTION_PATH].text[0]) {
        fail(&e, "model.path=DIR is missing");
        return verb_usage(&verb_row_logprobs, &e);
    }
    c.special = value[OPTION_SPECIAL].num != 0;
    int bad = session_open_model(&c.s, value[OPTION_PATH].text, value[OPTION_TOKENIZER].text,
                                 (int)value[OPTION_THREADS].num, &e);
    int status = bad ? verb_failed(&verb_row_logprobs, &e) : lines_run(stdin, stdout, answer, &c);
    if (c.rows)
        release(&c);
    mem_free(c.ids);
    session_close(&c.s);
    return status;
}

const struct verb verb_row_logprobs = {
    "logprobs",
    "Log-probabilities of given tokens under a model, line by line.",
    "model.path=DIR [key=value ...] <LINES",
    "Each line of standard input is {\"ids\":[...]} or, where the model has a tokenizer, {\"text\":\"...\"}; each line "
    "of\n"
    "the output is {\"logp\":[null,...]}: one number a token, its log-probability after all tokens before it; the "
    "first\n"
    "has none. For a text the ids are in the answer too. A line that cannot be answered gives {\"error\":\"...\"}.\n"
    "\n"
    "Example:\n"
    "  echo '{\"ids\":[1,403,407]}' | train_rl logprobs model.path=out/stories-1/checkpoint\n",
    options,
    run,
};
