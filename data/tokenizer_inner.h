/* What the files of the tokenizer share (tokenizer.h is what others see): its tables and the steps between a text and
 * its ids. Nothing here is changed after the file was read.
 *
 * A piece is the text of one token as the vocabulary spells it ("▁the", "Ġthe", "<0x0A>"), shown is what it decodes to
 * (" the", a newline). All kinds of tokenizer are the same tables: characters are a byte-pair encoding without merges,
 * a byte-level one begins with bytes where the others begin with characters.
 */
#ifndef TOKENIZER_INNER_H
#define TOKENIZER_INNER_H
#include <stddef.h>
#include "../model/base/json.h"
#include "tokenizer.h"
#include "unicode.h"

enum {
    MAX_VOCAB = 1 << 20,
    MAX_MERGES = 1 << 21,
    MAX_ADDED = 1 << 14,
    MAX_PIECE = 1 << 12, /* bytes of a token, of what it decodes to */
    MAX_ADDED_LEN = 1 << 10,
    MAX_POOL = 1 << 28,
    MAX_TOKENIZER_TEXT = 64 << 20, /* bytes of a text, at every step */
    MAX_PARTS = 8,                 /* normalizers, pre_tokenizers, decoders in a row */
    MAX_LITERAL = 32               /* bytes of a text that one of them looks for or puts in */
};

struct span { /* bytes of the pool; start -1: the id names no token */
    int start, len;
};

struct literal {
    int len;
    char s[MAX_LITERAL];
};

/* One rewriting of a text: every `from` by `to`; `to` in front of a text that is not empty; a Unicode form. */
enum rewrite_kind { REWRITE_REPLACE, REWRITE_PREPEND, REWRITE_FORM };
struct rewrite {
    enum rewrite_kind kind;
    struct literal from, to;
    enum normal_form form;
};

/* One step of cutting a text into words, which merges do not cross. */
enum cut_kind {
    CUT_SPLIT,  /* at the matches of a pattern or literal */
    CUT_SPACE,  /* cuts nothing: puts a space in front of what does not begin with one */
    CUT_REPLACE /* cuts nothing: spaces become the literal, one in front is put as `prepend` says */
};
enum cut_behavior { CUT_ISOLATED, CUT_REMOVED, CUT_CONTIGUOUS, CUT_WITH_PREVIOUS, CUT_WITH_NEXT };
enum cut_prepend { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };
struct cut {
    enum cut_kind kind;
    struct pattern *pattern; /* NULL: the literal */
    struct literal literal;
    enum cut_behavior behavior;
    int invert;
    enum cut_prepend prepend;
};

struct merge { /* a slot of the hash of pairs; left -1: empty */
    int32_t left, right, rank, id;
};

struct index { /* ids by the hash of a text; -1: empty */
    int32_t *slot;
    int slots;
};

/* Added tokens stand in a text as they are written and are found before everything else. Sorted by their bytes;
 * first[b] is the first one that begins with a byte >= b. */
enum added_flag { ADDED_LSTRIP = 1, ADDED_RSTRIP = 2, ADDED_SINGLE_WORD = 4 };
struct added {
    int32_t id;
    int flags;
    struct span text;
};
struct added_set {
    struct added *a;
    int n, cap, first[257];
};

enum token_flag { TOKEN_ADDED = 1, TOKEN_SPECIAL = 2, TOKEN_MODEL = 4 /* of the BPE vocabulary */ };

struct tokenizer {
    char *json; /* the file's text, which tokenizer_save writes again */
    size_t json_len;
    int zeros; /* the file has \\u0000 in it */
    int vocab, bos, eos;
    int32_t front[MAX_PARTS], behind[MAX_PARTS]; /* what the post-processor puts around a text */
    int fronts, behinds;
    int characters;            /* no merges and no fallback: a character without a token is an error */
    int byte_level;            /* ids begin as one a byte; else as one a character */
    int fallback;              /* a character without a token becomes its bytes */
    int unknown, fuse_unknown; /* id for what has no token at all, or -1: it is left out; one for a row of them */
    struct text pool;
    struct span *piece, *shown;       /* [vocab] */
    unsigned char *flag;              /* [vocab] token_flag */
    struct index by_piece, by_shown;  /* by_shown: byte level with ignore_merges only */
    int32_t byte_id[256];             /* of a byte in byte level or byte fallback; -1: none */
    struct added_set raw, normalized; /* added tokens to find before and after normalisation */
    struct pattern *word;             /* a character that ADDED_SINGLE_WORD may not stand beside */
    struct merge *merge;              /* [merge_slots] */
    int merge_slots, merges;
    uint64_t *joint; /* bits by joint_of(): a merge crosses these two characters */
    int ignore_merges;
    struct rewrite normal[MAX_PARTS], back[MAX_PARTS]; /* text to pieces; pieces to text */
    int normals, backs, bytes_back;
    struct cut cut[MAX_PARTS];
    int cuts;
    int strip,
        strip_all; /* the character dropped at the beginning of a decoded text, -1: none; all in its first token */
};

/* Working space of one encoding, which grows as needed. */
struct link { /* a token of the text; id -1: merged into the one before */
    int32_t id, before, after;
};
struct candidate {
    int32_t rank, at, id;
};
struct workspace {
    struct link *link;
    struct candidate *heap;
    int links, heap_len, heap_cap;
    struct matcher *matcher; /* of the first pattern that was asked */
    int plain;               /* special tokens are not looked for: they stay text */
};

/* tokenizer_json.c: fill a zeroed *t from the text of tokenizer.json, which it takes over. */
int tokenizer_parse(struct tokenizer *t, char *json, size_t len, struct error *e);
/* Readers of members, for both files that read: the message says what is wrong with which. */
int only_members(const json_t *o, const char *known, const char *where, struct error *e); /* known: "a|b|c" */
const char *type_of(const json_t *o);
const char *need_string(const json_t *o, const char *key, int *len, struct error *e);
int must_be_null(const json_t *o, const char *key, struct error *e);

/* tokenizer_parts.c: normalizer, pre_tokenizer, decoder and post_processor of the file. */
int read_normalizer(struct tokenizer *t, const json_t *o, struct error *e);
int read_pre_tokenizer(struct tokenizer *t, const json_t *o, struct error *e);
int read_decoder(struct tokenizer *t, const json_t *o, struct error *e);
int read_post_processor(struct tokenizer *t, const json_t *o, struct error *e);

/* tokenizer_files.c: the text of tokenizer.json, or one made of the directory's other files; from: the file read. NULL
 * on failure. Then what tokenizer_config.json beside it says of the end of sequence. */
char *tokenizer_text(const char *path, size_t *len, char from[1024], struct error *e);
int tokenizer_configure(struct tokenizer *t, const char *path, struct error *e);

/* tokenizer.c */
int index_find(const struct tokenizer *t, const struct index *x, const struct span *of, const char *s, int len);
int piece_find(const struct tokenizer *t, const char *s, int len); /* id, or -1 */
int model_find(const struct tokenizer *t, const char *s, int len); /* the same among tokens of the BPE vocabulary */

/* tokenizer_added.c */
void added_sort(const struct tokenizer *t, struct added_set *set);
/* The longest added token that the text spells at s, or NULL; plain 1: among those that are no special ones. */
const struct added *added_at(const struct tokenizer *t, const struct added_set *set, const char *s, int len, int plain);
/* Calls found(context, begin, end, id) for every stretch of the text in order: id of an added token, -1 for the text
 * between. Stops and returns what found() returns when that is not 0. */
typedef int added_found(void *context, const char *s, int len, int id);
int added_cut(const struct tokenizer *t, const struct added_set *set, struct workspace *w, const char *s, int len,
              added_found *found, void *context, struct error *e);

/* tokenizer_cut.c */
int rewrite_text(const struct rewrite *w, int n, const char *s, int len, struct text *out, struct error *e);
/* Calls word(context, s, len) for every word of a stretch; first 1: the stretch begins the text. */
typedef int cut_word(void *context, const char *s, int len);
int cut_text(const struct tokenizer *t, struct workspace *w, const char *s, int len, int first, cut_word *word,
             void *context, struct error *e);

/* tokenizer_bpe.c */
struct merge *merge_slot(const struct tokenizer *t, int32_t left, int32_t right); /* the pair's, or an empty one */
void joints_make(struct tokenizer *t);                                            /* once merges and pieces are read */
/* Merge id[0..n) in place; returns the new number. */
int bpe_merge(const struct tokenizer *t, struct workspace *w, int32_t *id, int n);

#endif
