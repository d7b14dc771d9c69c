/* Text to token ids and back. Two kinds: characters of our own (a vocabulary of single characters), and byte-pair
 * encoding with byte fallback as Llama 2 style tokenizer.json files describe it. Both are read from and written to
 * tokenizer.json. */
#ifndef TOKENIZER_H
#define TOKENIZER_H
#include <stdint.h>
#include "../model/base/error.h"
#include "../model/base/mem.h"

struct tokenizer;

/* One token a distinct byte of alphabet (ASCII), in its order. eos 1: id 0 is the end of sequence "<eos>"; 0: there is
 * none and the characters are numbered from 0. */
struct tokenizer *tokenizer_chars(const char *alphabet, int eos, struct error *e);
struct tokenizer *tokenizer_open(const char *dir, struct error *e); /* dir/tokenizer.json; NULL on failure */
int tokenizer_save(const struct tokenizer *t, const char *dir, struct error *e); /* dir/tokenizer.json, crash-safe */
void tokenizer_free(struct tokenizer *t);

int tokenizer_vocab(const struct tokenizer *t);
int tokenizer_bos(const struct tokenizer *t);          /* -1: none; what the file's post-processor puts in front */
int tokenizer_eos(const struct tokenizer *t);          /* -1: none known */
const char *tokenizer_kind(const struct tokenizer *t); /* "characters", "byte-fallback BPE" */

/* Ids of the text (special 1: with what the post-processor adds). *ids is grown with mem_grow; returns the number, or
 * -1: a character has no token (the message shows it and where). */
int tokenizer_encode(const struct tokenizer *t, const char *text, int len, int special, int32_t **ids, int *cap,
                     struct error *e);
/* Text of ids, appended to out; special tokens give nothing; first 1: ids begin the text (a leading space that encoding
 * added is dropped). end[i] (may be NULL): bytes of out after token i. Never fails: unknown ids give nothing. */
void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int n, int first, struct text *out, int *end);
const char *tokenizer_piece(const struct tokenizer *t, int id, int *len); /* raw bytes of one token, for display */

#endif
