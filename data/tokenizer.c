/* Text to ids and back (tokenizer.h): the steps that all kinds of tokenizer share. Where a tokenizer's file comes from
 * is tokenizer_files.c, reading it tokenizer_json.c and tokenizer_parts.c, building one of our own tokenizer_chars.c.
 *
 * A text is cut at the added tokens it spells ("</s>", tokenizer_added.c), what lies between is normalised and cut into
 * words (tokenizer_cut.c), a word is cut into characters or bytes and merged (tokenizer_bpe.c): as Hugging Face
 * tokenizers does it, checked against it. That library takes text, not bytes, so what is not valid UTF-8 is U+FFFD here
 * too, one for each stretch that no character begins with (as Python's decode(errors="replace") has it).
 *
 * To support more of what tokenizer.json can say: a reader in tokenizer_json.c or tokenizer_parts.c, its effect here.
 */
#include "tokenizer.h"
#include "../model/base/file.h"
#include "../model/base/rng.h"
#include "tokenizer_inner.h"
#include <stdio.h>
#include <string.h>

int index_find(const struct tokenizer *t, const struct index *x, const struct span *of, const char *s, int len)
{
    unsigned mask = (unsigned)x->slots - 1;
    for (unsigned i = (unsigned)hash_bytes(s, len, 0) & mask;; i = (i + 1) & mask) {
        int id = x->slot[i];
        if (id < 0 || (of[id].len == len && !memcmp(t->pool.s + of[id].start, s, (size_t)len)))
            return id;
    }
}

int piece_find(const struct tokenizer *t, const char *s, int len)
{
    return index_find(t, &t->by_piece, t->piece, s, len);
}

int model_find(const struct tokenizer *t, const char *s, int len)
{
    int id = piece_find(t, s, len);
    return id >= 0 && t->flag[id] & TOKEN_MODEL ? id : -1;
}

struct tokenizer *tokenizer_open(const char *path, struct error *e)
{
    size_t len;
    char from[1024];
    char *json = tokenizer_text(path, &len, from, e);
    if (!json)
        return NULL;
    struct tokenizer *t = mem_alloc(1, sizeof *t);
    if (tokenizer_parse(t, json, len, e) || tokenizer_configure(t, path, e)) {
        fail_in(e, "%s", from);
        tokenizer_free(t);
        return NULL;
    }
    return t;
}

int tokenizer_save(const struct tokenizer *t, const char *dir, struct error *e)
{
    char path[1024];
    int n = snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    if (n < 0 || n >= (int)sizeof path)
        return fail(e, "the path %.100s... is too long", dir);
    return file_write(path, t->json, t->json_len, e);
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    mem_free(t->json);
    text_free(&t->pool);
    mem_free(t->piece);
    mem_free(t->shown);
    mem_free(t->flag);
    mem_free(t->by_piece.slot);
    mem_free(t->by_shown.slot);
    mem_free(t->raw.a);
    mem_free(t->normalized.a);
    pattern_free(t->word);
    for (int i = 0; i < t->cuts; i++)
        pattern_free(t->cut[i].pattern);
    mem_free(t->merge);
    mem_free(t->joint);
    mem_free(t);
}

int tokenizer_vocab(const struct tokenizer *t)
{
    return t->vocab;
}

int tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

const char *tokenizer_kind(const struct tokenizer *t)
{
    return t->characters ? "characters" : t->byte_level ? "byte-level BPE" : "byte-fallback BPE";
}

const char *tokenizer_piece(const struct tokenizer *t, int id, int *len)
{
    if (id < 0 || id >= t->vocab || t->piece[id].start < 0) {
        *len = 0;
        return "";
    }
    struct span s = t->flag[id] & TOKEN_SPECIAL ? t->piece[id] : t->shown[id];
    *len = s.len;
    return t->pool.s + s.start;
}

/* Ids under construction; `from` is where the present stretch begins in the text, for messages. */
struct encoding {
    const struct tokenizer *t;
    int32_t **ids;
    int *cap, n;
    const char *text;
    struct text normal; /* a stretch, normalised */
    int begins, first;  /* the text begins what is encoded; the stretch begins the text */
    struct workspace work;
    struct error *e;
};

static void add_id(struct encoding *out, int id)
{
    mem_grow(out->ids, out->cap, out->n + 1, sizeof **out->ids);
    (*out->ids)[out->n++] = id;
}

static int no_token(const struct tokenizer *t, const char *s, int len, int at, struct error *e)
{
    struct text known = {0};
    for (int id = 0; id < t->vocab && known.len < 200; id++)
        if (t->piece[id].start >= 0 && !(t->flag[id] & TOKEN_ADDED)) {
            const char *piece = t->pool.s + t->piece[id].start;
            int newline = t->piece[id].len == 1 && *piece == '\n';
            text_add(&known, newline ? "\\n" : piece, newline ? 2 : t->piece[id].len);
        }
    unsigned char first = (unsigned char)s[0];
    if (len == 1 && (first < 32 || first > 126))
        fail(e, "byte 0x%02x at position %d has no token; the characters known are: %.200s", first, at, known.s);
    else
        fail(e, "'%.*s' at byte %d has no token; the characters known are: %.200s", len, s, at, known.s);
    text_free(&known);
    return -1;
}

/* What has no token: its bytes, if all of them have one; else the unknown token, once for a row of them if the file
 * says so; else nothing. *waiting: an unknown token that the next known one brings out, for bytes do not end a row. */
static void add_unknown(struct encoding *out, const char *s, int n, int *waiting)
{
    const struct tokenizer *t = out->t;
    int have = t->fallback;
    for (int k = 0; k < n; k++)
        have &= t->byte_id[(unsigned char)s[k]] >= 0;
    if (have) {
        for (int k = 0; k < n; k++)
            add_id(out, t->byte_id[(unsigned char)s[k]]);
        return;
    }
    if (t->unknown < 0)
        return;
    if (*waiting && !t->fuse_unknown)
        add_id(out, t->unknown);
    *waiting = 1;
}

/* The bytes or characters of a word to ids, without merging. */
static int cut_up(struct encoding *out, const char *s, int len)
{
    const struct tokenizer *t = out->t;
    int waiting = 0;
    for (int i = 0, n; i < len; i += n) {
        enum utf8_kind kind;
        n = t->byte_level ? 1 : utf8_next(s + i, len - i, &kind);
        int id = t->byte_level ? t->byte_id[(unsigned char)s[i]] : model_find(t, s + i, n);
        if (id < 0 && t->characters)
            return no_token(t, s + i, n, (int)(s + i - out->text), out->e);
        if (id < 0) {
            add_unknown(out, s + i, n, &waiting);
            continue;
        }
        if (waiting)
            add_id(out, t->unknown);
        waiting = 0;
        add_id(out, id);
    }
    if (waiting)
        add_id(out, t->unknown);
    return 0;
}

static int encode_word(void *context, const char *s, int len)
{
    struct encoding *out = context;
    const struct tokenizer *t = out->t;
    int whole = -1;
    if (t->ignore_merges)
        whole = t->byte_level ? index_find(t, &t->by_shown, t->shown, s, len) : model_find(t, s, len);
    if (whole >= 0) {
        add_id(out, whole);
        return 0;
    }
    int begin = out->n;
    if (cut_up(out, s, len))
        return -1;
    if (out->n > begin)
        out->n = begin + bpe_merge(t, &out->work, *out->ids + begin, out->n - begin);
    return 0;
}

/* A stretch of normalised text, or an added token in it. */
static int encode_normal(void *context, const char *s, int len, int id)
{
    struct encoding *out = context;
    int first = out->first;
    out->first = 0;
    if (id < 0)
        return cut_text(out->t, &out->work, s, len, first, encode_word, out, out->e);
    add_id(out, id);
    return 0;
}

/* A stretch of the text as it was given, or an added token in it. */
static int encode_raw(void *context, const char *s, int len, int id)
{
    struct encoding *out = context;
    const struct tokenizer *t = out->t;
    out->first = out->begins && s == out->text;
    if (id >= 0) {
        add_id(out, id);
        return 0;
    }
    if (t->normals) { /* without a normaliser nothing is copied, and nothing allocated */
        if (rewrite_text(t->normal, t->normals, s, len, &out->normal, out->e))
            return -1;
        s = out->normal.s;
        len = out->normal.len;
    }
    return added_cut(t, &t->normalized, &out->work, s, len, encode_normal, out, out->e);
}

/* The text behind what is there already. */
static int encode_text(struct encoding *out, const char *text, int len)
{
    const struct tokenizer *t = out->t;
    struct text repaired = {0};
    if (len > MAX_TOKENIZER_TEXT)
        return fail(out->e, "a text of %d bytes; at most %d can be encoded at once", len, MAX_TOKENIZER_TEXT);
    if (!t->characters && !utf8_valid(text, len)) {
        utf8_repair(text, len, &repaired);
        text = repaired.s;
        len = repaired.len;
    }
    out->text = text;
    int status = added_cut(t, &t->raw, &out->work, text, len, encode_raw, out, out->e);
    text_free(&repaired);
    text_free(&out->normal);
    mem_free(out->work.link);
    mem_free(out->work.heap);
    matcher_free(out->work.matcher);
    return status;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, int len, int special, int32_t **ids, int *cap,
                     struct error *e)
{
    struct encoding out = {.t = t, .ids = ids, .cap = cap, .begins = 1, .e = e};
    for (int i = 0; special && i < t->fronts; i++)
        add_id(&out, t->front[i]);
    if (encode_text(&out, text, len))
        return -1;
    for (int i = 0; special > 1 && i < t->behinds; i++)
        add_id(&out, t->behind[i]);
    return out.n;
}

int tokenizer_encode_part(const struct tokenizer *t, const char *text, int len, int begins, int32_t **ids, int *cap,
                          int n, struct error *e)
{
    struct encoding out = {.t = t, .ids = ids, .cap = cap, .n = n, .begins = begins, .e = e};
    out.work.plain = 1;
    if (encode_text(&out, text, len))
        return -1;
    for (int i = n; i < out.n; i++) { /* merges may make one all the same, if the file is odd */
        int id = (*ids)[i];
        struct span piece = t->piece[id];
        if (t->flag[id] & TOKEN_SPECIAL && id != t->unknown)
            return fail(
                e, "the text spells the special token '%.*s' (id %d), and the tokenizer has no other way to write it",
                piece.len < 60 ? piece.len : 60, t->pool.s + piece.start, id);
    }
    return out.n;
}

int tokenizer_special(const struct tokenizer *t, const char *token)
{
    int id = piece_find(t, token, (int)strlen(token));
    return id >= 0 && t->flag[id] & TOKEN_SPECIAL ? id : -1;
}

/* Text of one token, appended; *begins: nothing of the text was given out yet. */
static void decode_one(const struct tokenizer *t, int id, int *begins, struct text *out)
{
    if (id < 0 || id >= t->vocab || t->piece[id].start < 0 || t->flag[id] & TOKEN_SPECIAL)
        return;
    const char *s = t->pool.s + t->shown[id].start;
    int len = t->shown[id].len, i = 0;
    if (!*begins || t->strip < 0) {
        text_add(out, s, len);
    } else if (!t->strip_all) {
        i = len > 0 && (unsigned char)s[0] == t->strip;
        text_add(out, s + i, len - i);
    } else {
        for (; i < len; i++)
            if ((unsigned char)s[i] != t->strip)
                text_add(out, s + i, 1);
    }
    *begins = *begins && len == 0;
}

void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int n, int first, struct text *out, int *end)
{
    int begins = first;
    for (int i = 0; i < n; i++) {
        decode_one(t, ids[i], &begins, out);
        if (end)
            end[i] = out->len;
    }
}

void tokenizer_stream_add(const struct tokenizer *t, struct tokenizer_stream *s, int id, struct text *out)
{
    struct text bytes = {0};
    int done = 0;
    enum utf8_kind kind = UTF8_CHARACTER;
    text_add(&bytes, s->part, s->part_len);
    decode_one(t, id, &s->begins, &bytes);
    for (int n; done < bytes.len; done += n) {
        n = utf8_next(bytes.s + done, bytes.len - done, &kind);
        if (kind == UTF8_CUT)
            break;
    }
    utf8_repair(bytes.s, done, out);
    s->part_len = bytes.len - done; /* at most 3: what is cut */
    memcpy(s->part, bytes.s + done, (size_t)s->part_len);
    text_free(&bytes);
}

void tokenizer_stream_end(struct tokenizer_stream *s, struct text *out)
{
    utf8_repair(s->part, s->part_len, out);
    s->part_len = 0;
}
