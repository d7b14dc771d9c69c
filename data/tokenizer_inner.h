/* What the files of the tokenizer share (tokenizer.h is what others see): its tables and the three steps between a text
 * and its ids. Nothing here is changed after the file was read.
 *
 * A piece is the text of one token as the vocabulary spells it ("▁the", "<0x0A>"), shown is what it decodes to (" the",
 * a newline). Both kinds of tokenizer are the same tables: characters are a byte-pair encoding without merges.
 */
#ifndef TOKENIZER_INNER_H
#define TOKENIZER_INNER_H
#include <stddef.h>
#include "tokenizer.h"

enum { MAX_VOCAB = 1 << 20, MAX_ADDED = 1 << 14, MAX_REWRITES = 8, MAX_REWRITE = 32, MAX_TOKENIZER_TEXT = 64 << 20 };

struct span { /* bytes of the pool; start -1: the id names no token */
    int start, len;
};

/* One rewriting of a text: every `from` by `to`; an empty `from` puts `to` in front of a text that is not empty. */
struct rewrite {
    int from_len, to_len;
    char from[MAX_REWRITE], to[MAX_REWRITE];
};

struct merge { /* a slot of the hash of pairs; left -1: empty */
    int32_t left, right, rank, id;
};

enum token_flag { TOKEN_ADDED = 1, TOKEN_SPECIAL = 2 };

struct tokenizer {
    char *json; /* the file's text, which tokenizer_save writes again */
    size_t json_len;
    int vocab, bos, eos;
    int characters; /* no byte fallback: a character without a token is an error */
    struct text pool;
    struct span *piece, *shown; /* [vocab] */
    unsigned char *flag;        /* [vocab] token_flag */
    int32_t *slot;              /* [slots] id by the hash of the piece; -1: empty */
    int slots;
    int32_t byte_id[256];     /* byte fallback */
    int32_t added_first[256]; /* added tokens by their first byte, longest first; -1: none */
    int32_t *added_next;      /* [vocab] */
    struct merge *merge;      /* [merge_slots] */
    int merge_slots, merges;
    int ignore_merges;
    struct rewrite normal[MAX_REWRITES], back[MAX_REWRITES]; /* text to pieces; pieces to text */
    int normals, backs, bytes_back;
    int strip; /* the character dropped at the beginning of a decoded text; -1: none */
};

/* tokenizer_json.c: fill a zeroed *t from the text of tokenizer.json, which it takes over. */
int tokenizer_parse(struct tokenizer *t, char *json, size_t len, struct error *e);

/* tokenizer.c */
int piece_find(const struct tokenizer *t, const char *s, int len); /* id, or -1 */
int utf8_length(const char *s, int len); /* bytes of the character at s; 1 when it is not valid UTF-8; len >= 1 */

/* tokenizer_bpe.c */
int rewrite_text(const struct rewrite *w, int n, const char *s, int len, struct text *out, struct error *e);
const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right);
/* Merge id[0..n) in place; returns the new number. */
int bpe_merge(const struct tokenizer *t, int32_t *id, int n);

#endif
