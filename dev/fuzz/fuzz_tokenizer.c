/* data/tokenizer: any text as tokenizer.json, and what follows a zero byte as the text to encode. What is accepted
 * gives ids of the vocabulary, decodes them, and spells every piece within bounds.
 */
#include "fuzz.h"
#include "../../data/tokenizer_inner.h"

static void decode(const struct tokenizer *t, const int32_t *ids, int n)
{
    struct text out = {0};
    int *end = mem_alloc((size_t)n, sizeof *end);
    for (int first = 0; first < 2; first++) {
        text_clear(&out);
        tokenizer_decode(t, ids, n, first, &out, end);
        for (int i = 1; i < n; i++)
            must(end[i] >= end[i - 1]);
        must(n == 0 || end[n - 1] == out.len);
    }
    mem_free(end);
    text_free(&out);
}

/* Token by token: whole characters only, whatever the ids. */
static void stream(const struct tokenizer *t, const int32_t *ids, int n)
{
    struct tokenizer_stream s = {.begins = 1};
    struct text out = {0};
    text_add(&out, "", 0);
    for (int i = 0; i < n; i++) {
        tokenizer_stream_add(t, &s, ids[i], &out);
        must(utf8_valid(out.s, out.len) && s.part_len >= 0 && s.part_len < 4);
    }
    tokenizer_stream_end(&s, &out);
    must(utf8_valid(out.s, out.len));
    text_free(&out);
}

static void use(const struct tokenizer *t, const char *text, size_t len)
{
    struct error e = {""};
    int32_t *ids = NULL, odd[4] = {-1, 0, tokenizer_vocab(t), INT32_MAX};
    int cap = 0;
    must(tokenizer_bos(t) < tokenizer_vocab(t) && tokenizer_eos(t) < tokenizer_vocab(t) && tokenizer_kind(t));
    for (int special = 0; special < 2; special++) {
        int n = tokenizer_encode(t, text, (int)len, special, &ids, &cap, &e);
        if (n < 0)
            must(e.text[0]);
        for (int i = 0; i < n; i++)
            must(ids[i] >= 0 && ids[i] < tokenizer_vocab(t));
        if (n >= 0) {
            decode(t, ids, n);
            stream(t, ids, n < 200 ? n : 200);
        }
    }
    int n = tokenizer_encode_part(t, text, (int)len, 0, &ids, &cap, 0, &e); /* what is spelled stays text */
    for (int i = 0; i < n; i++)
        must(ids[i] == t->unknown || !(t->flag[ids[i]] & TOKEN_SPECIAL));
    if (n >= 0)
        decode(t, ids, n);
    decode(t, odd, 4);
    for (int id = -1; id <= tokenizer_vocab(t) && id < 600; id++) {
        int bytes;
        const char *s = tokenizer_piece(t, id, &bytes);
        struct text copy = {0};
        text_add(&copy, s, bytes);
        text_free(&copy);
    }
    mem_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy;
    size_t len, rest;
    struct error e = {""};
    const char *text = cut_input(data, size, &copy, &len, &rest);
    char *json = mem_alloc(len + 1, 1);
    memcpy(json, copy, len);
    free(copy);
    struct tokenizer *t = mem_alloc(1, sizeof *t);
    if (tokenizer_parse(t, json, len, &e))
        must(e.text[0]);
    else
        use(t, text, rest);
    tokenizer_free(t);
    return 0;
}
