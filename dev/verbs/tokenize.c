/* tokenize: text to ids and back with a model's tokenizer. A filter; no weights are read.
 */
#include "session.h"
#include "verbs.h"
#include "../../data/tokenizer.h"
#include <string.h>

enum { OPTION_PATH, OPTION_DECODE, OPTION_SPECIAL, OPTIONS };
static const struct param options[] = {
    {"model.path", PARAM_TEXT, "", 0, 0, NULL, "Directory of a tokenizer, or its file.", NULL},
    {"decode", PARAM_BOOL, "false", 0, 0, NULL, "From ids to text.", NULL},
    {"special", PARAM_BOOL, "false", 0, 0, NULL, "With the tokens that the tokenizer puts around a text.",
     "decode=false"},
    {0}};

struct job {
    struct tokenizer *tokenizer;
    int special;
    int32_t *ids;
    int cap;
    struct text text;
};

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Base64 of RFC 4648, padded, nothing between. */
static int base64_decode(const char *s, size_t len, struct text *out, struct error *e)
{
    if (len % 4)
        return fail(e, "'bytes' is no base64: its length is not a multiple of 4");
    for (size_t i = 0; i < len; i += 4) {
        unsigned word = 0;
        int pad = i + 4 == len ? (s[i + 3] == '=') + (s[i + 2] == '=' && s[i + 3] == '=') : 0;
        for (int k = 0; k < 4; k++) {
            const char *at = k >= 4 - pad ? digits : s[i + k] ? strchr(digits, s[i + k]) : NULL;
            if (!at)
                return fail(e, "'bytes' is no base64: wrong character at %zu", i + k);
            word = word << 6 | (unsigned)(at - digits);
        }
        if (word & ((1u << (8 * pad)) - 1))
            return fail(e, "'bytes' is no base64: its last digit has bits that belong to no byte");
        char byte[3] = {(char)(word >> 16), (char)(word >> 8), (char)word};
        text_add(out, byte, 3 - pad);
    }
    return 0;
}

static json_t *base64_json(const char *s, int len)
{
    struct text t = {0};
    text_add(&t, "", 0);
    for (int i = 0; i < len; i += 3) {
        unsigned word = 0;
        for (int k = 0; k < 3; k++)
            word = word << 8 | (i + k < len ? (unsigned char)s[i + k] : 0);
        char four[4];
        for (int k = 0; k < 4; k++)
            four[k] = i + k > len ? '=' : digits[word >> (18 - 6 * k) & 63];
        text_add(&t, four, 4);
    }
    json_t *v = json_stringn(t.s, (size_t)t.len);
    text_free(&t);
    return v;
}

static json_t *encode(void *context, const json_t *object, struct error *e)
{
    struct job *j = context;
    const json_t *text = json_object_get(object, "text"), *bytes = json_object_get(object, "bytes");
    const json_t *given = text ? text : bytes;
    text_clear(&j->text);
    text_add(&j->text, "", 0);
    if (!text == !bytes)
        fail(e, "a line needs either 'text' or 'bytes'");
    else if (!json_is_string(given))
        fail(e, "'%s' must be a string", text ? "text" : "bytes");
    else {
        int bad = 0;
        if (text)
            text_add(&j->text, json_string_value(text), (int)json_string_length(text));
        else
            bad = base64_decode(json_string_value(bytes), json_string_length(bytes), &j->text, e);
        int n = bad ? -1 : tokenizer_encode(j->tokenizer, j->text.s, j->text.len, j->special, &j->ids, &j->cap, e);
        if (n >= 0) {
            json_t *o = json_object();
            json_object_set_new(o, "ids", line_ids_json(j->ids, n));
            return o;
        }
    }
    return NULL;
}

/* Bytes that JSON cannot hold as text, or that a reader of JSON would refuse (0), go out as base64. */
static json_t *decode(void *context, const json_t *object, struct error *e)
{
    struct job *j = context;
    int n = line_ids(object, "ids", tokenizer_vocab(j->tokenizer), &j->ids, &j->cap, e);
    if (n < 0)
        return NULL;
    long bytes = 0;
    for (int i = 0; i < n; i++) {
        int len;
        tokenizer_piece(j->tokenizer, j->ids[i], &len);
        bytes += len;
    }
    if (bytes > MAX_LINE) {
        fail(e, "%d tokens of %ld bytes: at most %d are decoded at once", n, bytes, MAX_LINE);
        return NULL;
    }
    text_clear(&j->text);
    text_add(&j->text, "", 0);
    tokenizer_decode(j->tokenizer, j->ids, n, 1, &j->text, NULL);
    int zero = memchr(j->text.s, 0, (size_t)j->text.len) != NULL;
    json_t *o = json_object(), *text = zero ? NULL : json_stringn(j->text.s, (size_t)j->text.len);
    if (text)
        json_object_set_new(o, "text", text);
    else
        json_object_set_new(o, "bytes", base64_json(j->text.s, j->text.len));
    return o;
}

static int run(int argc, const char *const *argv)
{
    struct value value[OPTIONS];
    struct job j = {0};
    struct error e;
    int status;
    if (verb_options(&verb_row_tokenize, argc, argv, value, &e))
        return verb_usage(&verb_row_tokenize, &e);
    if (!value[OPTION_PATH].text[0]) {
        fail(&e, "model.path=DIR is missing");
        return verb_usage(&verb_row_tokenize, &e);
    }
    if (value[OPTION_DECODE].num != 0 && value[OPTION_SPECIAL].num != 0) {
        fail(&e, "special=1 changes nothing with decode=1");
        return verb_usage(&verb_row_tokenize, &e);
    }
    j.special = value[OPTION_SPECIAL].num != 0 ? 2 : 0;
    if (!session_check_model(value[OPTION_PATH].text, &e))
        j.tokenizer = tokenizer_open(value[OPTION_PATH].text, &e);
    if (!j.tokenizer)
        return verb_failed(&verb_row_tokenize, &e);
    status = lines_run(stdin, stdout, value[OPTION_DECODE].num != 0 ? decode : encode, &j);
    tokenizer_free(j.tokenizer);
    mem_free(j.ids);
    text_free(&j.text);
    return status;
}

const struct verb verb_row_tokenize = {
    "tokenize",
    "Text to token ids and back, line by line.",
    "model.path=DIR [decode=1] [special=1] <LINES",
    "Each line of standard input is {\"text\":\"...\"} or {\"bytes\":\"<base64>\"}, each line of the output "
    "{\"ids\":[...]}.\n"
    "With decode=1 it is the other way: {\"ids\":[...]} to {\"text\":\"...\"}, or to {\"bytes\":\"<base64>\"} where "
    "the bytes\n"
    "are no UTF-8 or hold a 0. Special tokens decode to nothing. A line that cannot be answered gives "
    "{\"error\":\"...\"}.\n"
    "\n"
    "DIR holds tokenizer.json; or vocab.json, merges.txt and tokenizer_config.json (GPT-2, Qwen2); or encoder.json "
    "and\n"
    "vocab.bpe (GPT-2); or llama2.c's tokenizer.bin. Bytes that are no UTF-8 count as U+FFFD, as for a program that "
    "reads\n"
    "text. What such a file asks for and is not supported is refused by name.\n"
    "\n"
    "Example:\n"
    "  echo '{\"text\":\"Once upon a time\"}' | train_rl tokenize model.path=DIR special=1\n",
    options,
    run,
};
