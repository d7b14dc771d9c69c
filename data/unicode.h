/* What of Unicode the tokenizers need. Bytes and white space are ours (unicode.c). Patterns and normalisation are PCRE2
 * and utf8proc (unicode_pattern_pcre2.c, unicode_normal_utf8proc.c); without the two libraries the twins *_none.c are
 * built, which refuse with a message that names them. */
#ifndef UNICODE_H
#define UNICODE_H
#include "../model/base/error.h"
#include "../model/base/mem.h"

/* ---- UTF-8 ---- */
enum utf8_kind { UTF8_CHARACTER, UTF8_BROKEN, UTF8_CUT };
/* Bytes at s (len >= 1) that belong together: a character; or as many as no character can begin with (what U+FFFD
 * stands for, by Unicode's "substitution of maximal subparts"); or CUT: all of them, a beginning that more bytes could
 * complete. */
int utf8_next(const char *s, int len, enum utf8_kind *kind);
int utf8_point(const char *s, int n);                     /* code point of the character of n bytes at s */
int utf8_put(char to[4], int point);                      /* bytes written */
int utf8_valid(const char *s, int len);                   /* 1: all characters are whole */
void utf8_repair(const char *s, int len, struct text *t); /* append s, U+FFFD for whatever is broken or cut */
int white_space(const char *s, int len); /* bytes of the white space character (Unicode White_Space) at s, or 0 */

/* ---- patterns ---- */
struct pattern;
struct matcher; /* working space of pattern_find, one a thread */
/* A regular expression as tokenizer.json files write them (Oniguruma's syntax, of which what these use). NULL: the
 * message names what is not supported, or the missing library. */
struct pattern *pattern_open(const char *regex, int len, struct error *e);
void pattern_free(struct pattern *p);
struct matcher *matcher_open(void);
void matcher_free(struct matcher *m);
/* The first match in valid UTF-8 at or after byte `from`, never an empty one: 1 and its [begin, end), 0: none, -1: the
 * pattern takes more steps than any sensible one does. */
int pattern_find(const struct pattern *p, struct matcher *m, const char *s, int len, int from, int *begin, int *end,
                 struct error *e);

/* ---- normalisation ---- */
enum normal_form { NORMAL_NFC, NORMAL_NFD, NORMAL_NFKC, NORMAL_NFKD };
int normal_available(struct error *e); /* -1: the message names the missing library */
/* Valid UTF-8 in that form, appended to out; time grows with the text, whatever marks it piles up. */
void normal_text(enum normal_form form, const char *s, int len, struct text *out);

#endif
