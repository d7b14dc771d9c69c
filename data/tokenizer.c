/* Text to ids and back (tokenizer.h): the steps that both kinds of tokenizer share. Reading the file is
 * tokenizer_json.c, merging tokenizer_bpe.c, building a file of our own tokenizer_chars.c.
 *
 * A text is cut at the added tokens it spells ("</s>"), what lies between is normalised, cut into characters (a
 * character without a token into bytes) and merged: as Hugging Face tokenizers does it, checked against it. A text that
 * is not valid UTF-8 is no error: its stray bytes are encoded as bytes and come back as they were.
 *
 * To support more of what tokenizer.json can say: a reader in tokenizer_json.c, its effect here. */
#include "tokenizer.h"
#include "../model/base/file.h"
#include "../model/base/rng.h"
#include "tokenizer_inner.h"
#include <stdio.h>
#include <string.h>

enum { MAX_FILE = 64 << 20 };

int utf8_length(const char *s, int len)
{
    const unsigned char *b = (const unsigned char *)s;
    int n = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : b[0] < 0xf5 ? 4 : 0;
    if (n < 2 || n > len)
        return 1;
    for (int i = 1; i < n; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 1;
    int overlong = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xf0 && b[1] < 0x90);
    int outside = (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf4 && b[1] > 0x8f); /* surrogates; above U+10FFFF */
    return overlong || outside ? 1 : n;
}

int piece_find(const struct tokenizer *t, const char *s, int len)
{
    unsigned mask = (unsigned)t->slots - 1;
    for (unsigned i = (unsigned)hash_bytes(s, len, 0) & mask;; i = (i + 1) & mask) {
        int id = t->slot[i];
        if (id < 0)
            return -1;
        if (t->piece[id].len == len && !memcmp(t->pool.s + t->piece[id].start, s, (size_t)len))
            return id;
    }
}

static int tokenizer_path(char path[1024], const char *dir, struct error *e)
{
    int n = snprintf(path, 1024, "%s/tokenizer.json", dir);
    return n < 0 || n >= 1024 ? fail(e, "the path %.100s... is too long", dir) : 0;
}

struct tokenizer *tokenizer_open(const char *dir, struct error *e)
{
    char path[1024];
    if (tokenizer_path(path, dir, e))
        return NULL;
    size_t len;
    char *json = file_read(path, MAX_FILE, &len, e);
    if (!json)
        return NULL;
    struct tokenizer *t = mem_alloc(1, sizeof *t);
    if (tokenizer_parse(t, json, len, e)) {
        fail_in(e, "%s", path);
        tokenizer_free(t);
        return NULL;
    }
    return t;
}

int tokenizer_save(const struct tokenizer *t, const char *dir, struct error *e)
{
    char path[1024];
    if (tokenizer_path(path, dir, e))
        return -1;
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
    mem_free(t->slot);
    mem_free(t->added);
    mem_free(t->merge);
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
    return t->characters ? "characters" : "byte-fallback BPE";
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

/* Ids under construction; `from` is where the present segment began in the caller's text, for messages. */
struct encoding {
    int32_t **ids;
    int *cap, n, from;
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
        if (t->piece[id].start >= 0 && !(t->flag[id] & TOKEN_ADDED))
            text_add(&known, t->pool.s + t->piece[id].start, t->piece[id].len);
    unsigned char first = (unsigned char)s[0];
    if (len == 1 && (first < 32 || first > 126))
        fail(e, "byte 0x%02x at position %d has no token; the characters known are: %.200s", first, at, known.s);
    else
        fail(e, "'%.*s' at byte %d has no token; the characters known are: %.200s", len, s, at, known.s);
    text_free(&known);
    return -1;
}

/* Characters to ids, without merging. */
static int cut_up(const struct tokenizer *t, const char *s, int len, struct encoding *out, struct error *e)
{
    for (int i = 0, n; i < len; i += n) {
        n = utf8_length(s + i, len - i);
        int id = piece_find(t, s + i, n);
        if (id >= 0) {
            add_id(out, id);
            continue;
        }
        if (t->characters)
            return no_token(t, s + i, n, out->from + i, e);
        for (int k = 0; k < n; k++)
            add_id(out, t->byte_id[(unsigned char)s[i + k]]);
    }
    return 0;
}

/* A stretch of text in which no added token stands. */
static int encode_plain(const struct tokenizer *t, const char *s, int len, struct encoding *out, struct error *e)
{
    if (len == 0)
        return 0;
    struct text normal = {0};
    int status = 0;
    if (t->normals) { /* without a normaliser nothing is copied, and nothing allocated */
        status = rewrite_text(t->normal, t->normals, s, len, &normal, e);
        s = normal.s;
        len = normal.len;
    }
    int begin = out->n, whole = t->ignore_merges && status == 0 && len > 0 ? piece_find(t, s, len) : -1;
    if (whole >= 0) {
        add_id(out, whole);
    } else if (status == 0) {
        status = cut_up(t, s, len, out, e);
        if (status == 0 && out->n > begin)
            out->n = begin + bpe_merge(t, *out->ids + begin, out->n - begin);
    }
    text_free(&normal);
    return status;
}

/* Of the added tokens lo .. hi, which agree in their first `depth` bytes and are longer: the first with a byte of at
 * least c there. */
static int added_bound(const struct tokenizer *t, int lo, int hi, int depth, int c)
{
    while (lo < hi) {
        int middle = lo + (hi - lo) / 2;
        if ((unsigned char)t->pool.s[t->piece[t->added[middle]].start + depth] < c)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

/* The longest added token that the text spells at s, or -1. Those that begin as the text does are a stretch of the
 * ordered list, which every byte shortens; the token that ends there stands first in it. */
static int added_at(const struct tokenizer *t, const char *s, int len)
{
    int lo = t->added_from[(unsigned char)*s], hi = t->added_from[(unsigned char)*s + 1], longest = -1;
    for (int depth = 1; lo < hi; depth++) {
        if (t->piece[t->added[lo]].len == depth)
            longest = t->added[lo++];
        if (depth == len)
            break;
        lo = added_bound(t, lo, hi, depth, (unsigned char)s[depth]);
        hi = added_bound(t, lo, hi, depth, (unsigned char)s[depth] + 1);
    }
    return longest;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, int len, int special, int32_t **ids, int *cap,
                     struct error *e)
{
    struct encoding out = {.ids = ids, .cap = cap};
    if (len > MAX_TOKENIZER_TEXT)
        return fail(e, "a text of %d bytes; at most %d can be encoded at once", len, MAX_TOKENIZER_TEXT);
    if (special && t->bos >= 0)
        add_id(&out, t->bos);
    int done = 0;
    for (int i = 0; i < len;) {
        int id = added_at(t, text + i, len - i);
        if (id < 0) {
            i++;
            continue;
        }
        out.from = done;
        if (encode_plain(t, text + done, i - done, &out, e))
            return -1;
        add_id(&out, id);
        done = i += t->piece[id].len;
    }
    out.from = done;
    if (encode_plain(t, text + done, len - done, &out, e))
        return -1;
    return out.n;
}

void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int n, int first, struct text *out, int *end)
{
    int begins = first && t->strip >= 0;
    for (int i = 0; i < n; i++) {
        int id = ids[i];
        if (id >= 0 && id < t->vocab && t->piece[id].start >= 0 && !(t->flag[id] & TOKEN_SPECIAL)) {
            const char *s = t->pool.s + t->shown[id].start;
            int len = t->shown[id].len, drop = begins && len > 0 && (unsigned char)s[0] == t->strip;
            text_add(out, s + drop, len - drop);
            begins = begins && len == 0;
        }
        if (end)
            end[i] = out->len;
    }
}
