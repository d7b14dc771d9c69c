/* Text to token ids and back. Three kinds: characters of our own (a vocabulary of single characters), byte-pair
 * encoding with byte fallback (Llama 2), byte-level byte-pair encoding (GPT-2, Llama 3, Qwen, SmolLM2). All are read
 * from tokenizer.json, or from what becomes one (tokenizer_files.c), and written to tokenizer.json. What a file asks
 * for and is not supported is refused by name. */
#ifndef TOKENIZER_H
#define TOKENIZER_H
#include <stdint.h>
#include "../model/base/error.h"
#include "../model/base/mem.h"

struct tokenizer;

/* One token a character of alphabet (distinct, UTF-8), in its order. eos 1: id 0 is the end of sequence "<eos>"; 0:
 * there is none and the characters are numbered from 0. */
struct tokenizer *tokenizer_chars(const char *alphabet, int eos, struct error *e);
/* A directory with tokenizer.json; or vocab.json and merges.txt (GPT-2 and Qwen2, as tokenizer_config.json or
 * config.json says); or encoder.json and vocab.bpe (GPT-2); or llama2.c's tokenizer.bin. Or one such .json or .bin file
 * itself. The end of sequence is what tokenizer_config.json beside it names. NULL on failure. */
struct tokenizer *tokenizer_open(const char *path, struct error *e);
int tokenizer_exists(const char *dir);                      /* 1: dir has one of these */
void tokenizer_directory(const char *path, char dir[1024]); /* path as for tokenizer_open, the file's directory */
int tokenizer_save(const struct tokenizer *t, const char *dir, struct error *e); /* dir/tokenizer.json, crash-safe */
void tokenizer_free(struct tokenizer *t);

int tokenizer_vocab(const struct tokenizer *t);
int tokenizer_bos(const struct tokenizer *t);          /* -1: none; what the file's post-processor puts first */
int tokenizer_eos(const struct tokenizer *t);          /* -1: none known */
const char *tokenizer_kind(const struct tokenizer *t); /* "characters", "byte-fallback BPE", "byte-level BPE" */

/* Ids of the text (special 1: with what the post-processor puts in front, as a prompt has it; 2: and behind, as a whole
 * text has it). *ids is grown with mem_grow; returns the number, or -1: a character has no token (the message shows it
 * and where). Only a tokenizer of characters does that; of the others, bytes that are not UTF-8 count as U+FFFD, and a
 * byte-level vocabulary without a token for a byte leaves it out, as the reference does. Time grows with the text
 * (times its logarithm), whatever stands in it. */
int tokenizer_encode(const struct tokenizer *t, const char *text, int len, int special, int32_t **ids, int *cap,
                     struct error *e);
/* Ids of a part of a text that is put together from tokens and parts, appended to the first n of *ids: special tokens
 * that it spells stay text. begins 1: nothing stands before it. Returns the new number, or -1: a character has no
 * token, or the vocabulary has no other way to write what a special token spells. */
int tokenizer_encode_part(const struct tokenizer *t, const char *text, int len, int begins, int32_t **ids, int *cap,
                          int n, struct error *e);
int tokenizer_special(const struct tokenizer *t, const char *token); /* id of a special token by its text; -1: none */
/* Text of ids, appended to out; special tokens give nothing; first 1: ids begin the text (a leading space that encoding
 * added is dropped). end[i] (may be NULL): bytes of out after token i. Never fails: unknown ids give nothing. */
void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int n, int first, struct text *out, int *end);

/* The same token by token, for a reader who watches: only whole characters are given out, a part of one waits for its
 * rest, and what never becomes one is U+FFFD. Zeroed, with begins as tokenizer_decode's `first`. */
struct tokenizer_stream {
    int begins, part_len;
    char part[4];
};
void tokenizer_stream_add(const struct tokenizer *t, struct tokenizer_stream *s, int id, struct text *out);
void tokenizer_stream_end(struct tokenizer_stream *s, struct text *out); /* what still waits is U+FFFD */

const char *tokenizer_piece(const struct tokenizer *t, int id, int *len); /* raw bytes of one token, for display */

#endif
