/* A character tokenizer for a task's alphabet: not a second kind of encoding, but a tokenizer.json that is built here
 * and read like any other.
 *
 * Which form of the file? A BPE model without merges and without pre-tokenizer gives one token a character in every
 * program that reads tokenizer.json. WordLevel would need a pre-tokenizer that cuts between characters, whose regular
 * expression dialects treat the newline differently. The Fuse decoder is needed: without a decoder other programs put
 * spaces between the tokens. */
#include "../model/base/json.h"
#include "tokenizer.h"
#include "tokenizer_inner.h"
#include <stdlib.h>
#include <string.h>

/* The character at c, terminated; returns its bytes, 0 when it is none. */
static int next_character(const char *c, char one[8])
{
    enum utf8_kind kind;
    int n = utf8_next(c, (int)strnlen(c, 4), &kind);
    memcpy(one, c, (size_t)n);
    one[n] = 0;
    return kind == UTF8_CHARACTER ? n : 0;
}

static json_t *chars_model(const char *alphabet, int eos)
{
    char one[8];
    json_t *vocab = eos ? json_pack("{s:i}", "<eos>", 0) : json_object();
    int id = eos;
    for (const char *c = alphabet; *c;) {
        c += next_character(c, one);
        json_object_set_new(vocab, one, json_integer(id++));
    }
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:[]}", "type", "BPE", "dropout", "unk_token",
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                     "ignore_merges", 0, "vocab", vocab, "merges");
}

static json_t *chars_file(const char *alphabet, int eos)
{
    json_t *added = json_array();
    if (eos)
        json_array_append_new(added,
                              json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", 0, "content", "<eos>",
                                        "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    return json_pack("{s:s, s:n, s:n, s:o, s:n, s:n, s:n, s:{s:s}, s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", added, "normalizer", "pre_tokenizer", "post_processor", "decoder", "type", "Fuse",
                     "model", chars_model(alphabet, eos));
}

static int check_alphabet(const char *alphabet, struct error *e)
{
    if (!*alphabet)
        return fail(e, "the alphabet of a character tokenizer is empty");
    for (const char *c = alphabet; *c;) {
        char one[8];
        int n = next_character(c, one);
        c += n;
        if (n == 0)
            return fail(e, "byte 0x%02x of the alphabet is not UTF-8", (unsigned char)one[0]);
        if (strstr(c, one))
            return fail(e, "the alphabet holds '%s' twice", one);
    }
    return 0;
}

struct tokenizer *tokenizer_chars(const char *alphabet, int eos, struct error *e)
{
    if (check_alphabet(alphabet, e))
        return NULL;
    json_t *file = chars_file(alphabet, eos);
    char *indented = file ? json_dumps(file, JSON_INDENT(2)) : NULL;
    if (!indented)
        die("the file of a character tokenizer could not be built");
    struct text json = {0};
    text_addf(&json, "%s\n", indented);
    free(indented);
    json_decref(file);
    struct tokenizer *t = mem_alloc(1, sizeof *t);
    if (tokenizer_parse(t, json.s, (size_t)json.len, e)) {
        tokenizer_free(t);
        return NULL;
    }
    return t;
}
