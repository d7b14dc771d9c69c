/* A vocabulary of single characters: id 0 is the end of sequence where there is one, then the characters of the task's
 * alphabet in their order. (train_rl has byte-pair encodings too.)
 */
#include "../../data/tokenizer.h"
#include <string.h>

struct tokenizer {
    const char *alphabet;
    int first; /* id of its first character: 1 behind an end of sequence */
};

struct tokenizer *tokenizer_chars(const char *alphabet, int eos, struct error *e)
{
    struct tokenizer *t = mem_alloc(1, sizeof *t);
    *t = (struct tokenizer){alphabet, eos};
    (void)e;
    return t;
}

void tokenizer_free(struct tokenizer *t)
{
    mem_free(t);
}

int tokenizer_bos(const struct tokenizer *t)
{
    (void)t;
    return -1;
}

int tokenizer_eos(const struct tokenizer *t)
{
    return t->first ? 0 : -1;
}

/* Bytes of the UTF-8 character that begins with this byte. */
static int character_bytes(char first)
{
    unsigned char c = (unsigned char)first;
    return c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* Ids of the text into *ids, which is grown; their number, or -1: a character has no token. */
int tokenizer_encode(const struct tokenizer *t, const char *text, int len, int special, int32_t **ids, int *cap,
                     struct error *e)
{
    int n = 0;
    (void)special;
    for (int at = 0; at < len;) {
        int id = t->first, bytes = character_bytes(text[at]);
        const char *c = t->alphabet;
        while (*c && (at + bytes > len || strncmp(c, text + at, (size_t)bytes))) {
            c += character_bytes(*c);
            id++;
        }
        if (!*c)
            return fail(e, "byte %d of the text: '%.*s' has no token", at, bytes, text + at);
        mem_grow(ids, cap, n + 1, sizeof **ids);
        (*ids)[n++] = id;
        at += bytes;
    }
    return n;
}

/* Text of ids, appended to out; the end of sequence gives nothing. end[i]: bytes of out after token i; or NULL. */
void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int n, int first, struct text *out, int *end)
{
    (void)first;
    for (int i = 0; i < n; i++) {
        const char *c = t->alphabet;
        for (int id = t->first; id < ids[i] && *c; id++)
            c += character_bytes(*c);
        if (ids[i] >= t->first && *c)
            text_add(out, c, character_bytes(*c));
        if (end)
            end[i] = out->len;
    }
}
