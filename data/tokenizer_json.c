/* Reading tokenizer.json: byte-pair encoding with byte fallback as Llama 2 style files describe it, and characters (the
 * same without merges and fallback). Not a reader of everything the format can say: what a file asks for and this
 * program does not do is refused by its name, because a guess would train on other tokens than the model was made with.
 *
 * To support another member: take it out of the refusals, read it into struct tokenizer (tokenizer_inner.h), use it in
 * tokenizer.c. */
#include "../model/base/json.h"
#include "../model/base/rng.h"
#include "tokenizer_inner.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every member of o is one of "a|b|c". */
static int only_members(const json_t *o, const char *known, const char *where, struct error *e)
{
    const char *key;
    json_t *v;
    if (!json_is_object(o))
        return fail(e, "\"%s\" is missing or not an object", where);
    json_object_foreach((json_t *)o, key, v)
    {
        const char *at = known;
        size_t len = strlen(key);
        while (at && (strncmp(at, key, len) || (at[len] != '|' && at[len])))
            if ((at = strchr(at, '|')))
                at++;
        if (!at)
            return fail(e, "\"%.60s\" in \"%s\" is not supported", key, where);
    }
    return 0;
}

static const char *type_of(const json_t *o)
{
    return json_get_string(o, "type", "(without a type)");
}

/* A member that only switches something on: it has to be null (or missing). */
static int must_be_null(const json_t *o, const char *key, struct error *e)
{
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v))
        return 0;
    return fail(e, "\"%s\" of type %.60s is not supported", key, json_is_object(v) ? type_of(v) : "other than null");
}

static int must_be_false(const json_t *o, const char *key, struct error *e)
{
    int on;
    if (json_get_bool(o, key, 0, &on, e))
        return -1;
    return on ? fail(e, "\"%s\": true is not supported", key) : 0;
}

/* A string member of the object; its length by *len. */
static const char *need_string(const json_t *o, const char *key, int *len, struct error *e)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_string(v)) {
        fail(e, "\"%s\" is missing or not a text", key);
        return NULL;
    }
    *len = (int)json_string_length(v);
    return json_string_value(v);
}

static struct span pool_add(struct tokenizer *t, const char *s, int len)
{
    struct span at = {t->pool.len, len};
    text_add(&t->pool, s, len);
    return at;
}

static void slot_add(struct tokenizer *t, int id)
{
    struct span p = t->piece[id];
    unsigned mask = (unsigned)t->slots - 1, i = (unsigned)hash_bytes(t->pool.s + p.start, p.len, 0) & mask;
    while (t->slot[i] >= 0)
        i = (i + 1) & mask;
    t->slot[i] = id;
}

/* Room for ids below n and the hash of `pieces` texts. */
static void make_room(struct tokenizer *t, int n, int pieces)
{
    t->vocab = n;
    t->piece = mem_alloc((size_t)n, sizeof *t->piece);
    t->shown = mem_alloc((size_t)n, sizeof *t->shown);
    t->flag = mem_alloc((size_t)n, sizeof *t->flag);
    for (int i = 0; i < n; i++)
        t->piece[i] = t->shown[i] = (struct span){-1, 0};
    for (t->slots = 16; t->slots < 2 * pieces;)
        t->slots *= 2;
    t->slot = mem_alloc((size_t)t->slots, sizeof *t->slot);
    memset(t->slot, 0xff, (size_t)t->slots * sizeof *t->slot);
}

static int set_piece(struct tokenizer *t, int id, const char *s, int len, struct error *e)
{
    struct span p = t->piece[id];
    if (p.start >= 0)
        return fail(e, "id %d is given to \"%.*s\" and to \"%.*s\"", id, p.len < 60 ? p.len : 60, t->pool.s + p.start,
                    len < 60 ? len : 60, s);
    if (len > MAX_PIECE)
        return fail(e, "the token of id %d has %d bytes, at most %d are supported", id, len, MAX_PIECE);
    t->piece[id] = pool_add(t, s, len);
    slot_add(t, id);
    return 0;
}

static int id_of(const json_t *v, const char *what, int *id, struct error *e)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= MAX_VOCAB)
        return fail(e, "the id of \"%.60s\" is not a whole number from 0 to %d", what, MAX_VOCAB - 1);
    *id = (int)json_integer_value(v);
    return 0;
}

/* The largest id of all, plus one, before anything is stored: -1 and a message when an id is absurd. */
static int count_ids(json_t *vocab, const json_t *added, struct error *e)
{
    int most = -1, id = 0;
    const char *key;
    json_t *v;
    json_object_foreach(vocab, key, v)
    {
        if (id_of(v, key, &id, e))
            return -1;
        most = id > most ? id : most;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *one = json_array_get(added, i);
        if (id_of(json_object_get(one, "id"), json_get_string(one, "content", "added token"), &id, e))
            return -1;
        most = id > most ? id : most;
    }
    return most < 0 ? fail(e, "\"vocab\" is empty") : most + 1;
}

static int read_vocab(struct tokenizer *t, json_t *model, const json_t *added, struct error *e)
{
    json_t *vocab = json_object_get(model, "vocab"), *v;
    if (!json_is_object(vocab))
        return fail(e, "\"vocab\" is missing or not an object");
    if (added && !json_is_array(added) && !json_is_null(added))
        return fail(e, "\"added_tokens\" is not a list");
    if (json_array_size(added) > MAX_ADDED)
        return fail(e, "%zu added tokens are not supported, at most %d", json_array_size(added), MAX_ADDED);
    int n = count_ids(vocab, added, e);
    if (n < 0)
        return -1;
    make_room(t, n, (int)json_object_size(vocab) + (int)json_array_size(added));
    const char *key;
    json_object_foreach(vocab, key, v)
    {
        if (!*key)
            return fail(e, "the token of id %d is an empty text", (int)json_integer_value(v));
        if (set_piece(t, (int)json_integer_value(v), key, (int)strlen(key), e))
            return -1;
    }
    return 0;
}

static int read_added(struct tokenizer *t, const json_t *one, struct error *e)
{
    int len, special;
    long id;
    const char *content = need_string(one, "content", &len, e);
    if (!content || json_need_int(one, "id", 0, MAX_VOCAB - 1, &id, e))
        return -1;
    if (len == 0)
        return fail(e, "the added token of id %ld is an empty text", id);
    if (len > MAX_ADDED_LEN)
        return fail(e, "the added token of id %ld has %d bytes, at most %d are supported", id, len, MAX_ADDED_LEN);
    if (only_members(one, "id|content|single_word|lstrip|rstrip|normalized|special", "added_tokens", e) ||
        must_be_false(one, "single_word", e) || must_be_false(one, "lstrip", e) || must_be_false(one, "rstrip", e) ||
        must_be_false(one, "normalized", e) || json_get_bool(one, "special", 0, &special, e))
        return fail_in(e, "added token \"%.60s\"", content);
    int known = piece_find(t, content, len);
    if (known >= 0 && known != id)
        return fail(e, "added token \"%.60s\" has id %ld, in the vocabulary it has %d", content, id, known);
    if (known >= 0 && t->flag[known] & TOKEN_ADDED)
        return fail(e, "added token \"%.60s\" is listed twice", content);
    if (known < 0 && set_piece(t, (int)id, content, len, e))
        return -1;
    t->flag[id] |= (unsigned char)(TOKEN_ADDED | (special ? TOKEN_SPECIAL : 0));
    t->added[t->addeds++] = (int32_t)id;
    return 0;
}

struct added_text {
    const char *s;
    int len;
    int32_t id;
};

static int by_bytes(const void *pa, const void *pb)
{
    const struct added_text *a = pa, *b = pb;
    int order = memcmp(a->s, b->s, (size_t)(a->len < b->len ? a->len : b->len));
    return order ? order : a->len - b->len;
}

/* The ordered list in which tokenizer_encode looks for what the text spells. */
static int read_addeds(struct tokenizer *t, const json_t *list, struct error *e)
{
    size_t n = json_array_size(list);
    t->added = mem_alloc(n, sizeof *t->added);
    for (size_t i = 0; i < n; i++)
        if (read_added(t, json_array_get(list, i), e))
            return -1;
    struct added_text *all = mem_alloc(n, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        struct span p = t->piece[t->added[i]];
        all[i] = (struct added_text){t->pool.s + p.start, p.len, t->added[i]};
        t->added_from[(unsigned char)*all[i].s + 1]++;
    }
    qsort(all, n, sizeof *all, by_bytes);
    for (size_t i = 0; i < n; i++)
        t->added[i] = all[i].id;
    for (int c = 0; c < 256; c++)
        t->added_from[c + 1] += t->added_from[c];
    mem_free(all);
    return 0;
}

/* The two halves of a merge: "a b", or ["a", "b"]. */
static int merge_halves(const json_t *v, const char *half[2], int len[2])
{
    if (json_is_array(v) && json_array_size(v) == 2) {
        for (int k = 0; k < 2; k++) {
            half[k] = json_string_value(json_array_get(v, (size_t)k));
            len[k] = half[k] ? (int)json_string_length(json_array_get(v, (size_t)k)) : 0;
        }
        return half[0] && half[1] ? 0 : -1;
    }
    const char *s = json_string_value(v), *space = s ? strchr(s, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return -1;
    half[0] = s;
    len[0] = (int)(space - s);
    half[1] = space + 1;
    len[1] = (int)strlen(space + 1);
    return 0;
}

/* joined is working space. */
static int read_merge(struct tokenizer *t, const json_t *v, int rank, struct text *joined, struct error *e)
{
    const char *half[2];
    int len[2], id[2];
    if (merge_halves(v, half, len))
        return fail(e, "merge %d is neither \"a b\" nor [\"a\", \"b\"]", rank);
    text_clear(joined);
    for (int k = 0; k < 2; k++) {
        id[k] = piece_find(t, half[k], len[k]);
        if (id[k] < 0)
            return fail(e, "merge %d names \"%.*s\", which is not in the vocabulary", rank, len[k] < 60 ? len[k] : 60,
                        half[k]);
        text_add(joined, half[k], len[k]);
    }
    int made = piece_find(t, joined->s, joined->len);
    if (made < 0)
        return fail(e, "merge %d makes \"%.60s\", which is not in the vocabulary", rank, joined->s);
    const struct merge *before = merge_find(t, id[0], id[1]);
    if (before)
        return fail(e, "merge %d repeats merge %d, \"%.60s\"", rank, before->rank, joined->s);
    unsigned mask = (unsigned)t->merge_slots - 1, i = (unsigned)hash_bytes(id, sizeof id, 0) & mask;
    while (t->merge[i].left >= 0)
        i = (i + 1) & mask;
    t->merge[i] = (struct merge){id[0], id[1], rank, made};
    return 0;
}

static int read_merges(struct tokenizer *t, const json_t *list, struct error *e)
{
    if (!json_is_array(list))
        return fail(e, "\"merges\" is missing or not a list");
    if (json_array_size(list) > MAX_MERGES)
        return fail(e, "%zu merges are not supported, at most %d", json_array_size(list), MAX_MERGES);
    t->merges = (int)json_array_size(list);
    for (t->merge_slots = 16; t->merge_slots < 2 * t->merges;)
        t->merge_slots *= 2;
    t->merge = mem_alloc((size_t)t->merge_slots, sizeof *t->merge);
    memset(t->merge, 0xff, (size_t)t->merge_slots * sizeof *t->merge);
    struct text joined = {0};
    int status = 0;
    for (int i = 0; i < t->merges && status == 0; i++)
        status = read_merge(t, json_array_get(list, (size_t)i), i, &joined, e);
    text_free(&joined);
    return status;
}

/* "<0x0A>": 10; -1 when the piece is not of that form. */
static int byte_of_piece(const char *s, int len)
{
    static const char digits[] = "0123456789ABCDEF";
    if (len != 6 || memcmp(s, "<0x", 3) || s[5] != '>' || !s[3] || !s[4])
        return -1;
    const char *high = strchr(digits, s[3]), *low = strchr(digits, s[4]);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

static int find_bytes(struct tokenizer *t, struct error *e)
{
    for (int b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        t->byte_id[b] = piece_find(t, name, 6);
        if (t->byte_id[b] < 0)
            return fail(e, "\"byte_fallback\" is true, but %s is not in the vocabulary", name);
    }
    return 0;
}

/* Without byte fallback: every token is one character, or an added one. */
static int check_characters(const struct tokenizer *t, struct error *e)
{
    if (t->merges)
        return fail(
            e, "\"byte_fallback\" is false and there are merges: of BPE only the kind with byte fallback is supported");
    for (int id = 0; id < t->vocab; id++) {
        struct span p = t->piece[id];
        if (p.start >= 0 && !(t->flag[id] & TOKEN_ADDED) && utf8_length(t->pool.s + p.start, p.len) != p.len)
            return fail(e, "\"byte_fallback\" is false, and the token \"%.*s\" is longer than a character",
                        p.len < 60 ? p.len : 60, t->pool.s + p.start);
    }
    return 0;
}

static int must_be_empty(const json_t *model, const char *key, struct error *e)
{
    const char *s = json_get_string(model, key, NULL);
    return s && !*s ? 0 : must_be_null(model, key, e);
}

static int check_unknown(const struct tokenizer *t, const json_t *model, struct error *e)
{
    const json_t *unk = json_object_get(model, "unk_token");
    if (!unk || json_is_null(unk))
        return 0;
    if (!json_is_string(unk))
        return fail(e, "\"unk_token\" is not a text");
    if (piece_find(t, json_string_value(unk), (int)json_string_length(unk)) < 0)
        return fail(e, "\"unk_token\" is \"%.60s\", which is not in the vocabulary", json_string_value(unk));
    if (t->characters)
        return fail(e, "\"unk_token\" without \"byte_fallback\" is not supported");
    return 0;
}

static int read_model(struct tokenizer *t, json_t *model, const json_t *added, struct error *e)
{
    int fallback, unused;
    double dropout;
    if (json_is_object(model) && strcmp(type_of(model), "BPE"))
        return fail(e, "a model of type %.60s is not supported, only BPE", type_of(model));
    if (only_members(model,
                     "type|dropout|unk_token|continuing_subword_prefix|end_of_word_suffix|fuse_unk|byte_fallback|"
                     "ignore_merges|vocab|merges",
                     "model", e) ||
        json_get_bool(model, "byte_fallback", 0, &fallback, e) || json_get_bool(model, "fuse_unk", 0, &unused, e) ||
        json_get_bool(model, "ignore_merges", 0, &t->ignore_merges, e) ||
        json_get_number(model, "dropout", 0, &dropout, e) || must_be_empty(model, "continuing_subword_prefix", e) ||
        must_be_empty(model, "end_of_word_suffix", e))
        return -1;
    if (dropout != 0)
        return fail(e, "\"dropout\" %.17g is not supported", dropout);
    t->characters = !fallback;
    if (read_vocab(t, model, added, e) || check_unknown(t, model, e) ||
        read_merges(t, json_object_get(model, "merges"), e))
        return -1;
    if (read_addeds(t, added, e))
        return -1;
    return fallback ? find_bytes(t, e) : check_characters(t, e);
}

static int copy_short(char to[MAX_REWRITE], int *to_len, const char *s, int len, const char *what, struct error *e)
{
    if (len > MAX_REWRITE)
        return fail(e, "a \"%s\" of %d bytes is not supported, at most %d", what, len, MAX_REWRITE);
    memcpy(to, s, (size_t)len);
    *to_len = len;
    return 0;
}

/* {"type":"Replace","pattern":{"String":"a"},"content":"b"} */
static int read_replace(const json_t *o, struct rewrite *w, struct error *e)
{
    int len;
    const json_t *pattern = json_object_get(o, "pattern");
    if (only_members(o, "type|pattern|content", "Replace", e) || only_members(pattern, "String", "pattern", e))
        return -1;
    const char *s = need_string(pattern, "String", &len, e);
    if (!s || copy_short(w->from, &w->from_len, s, len, "pattern", e))
        return -1;
    if (len == 0)
        return fail(e, "Replace of an empty text is not supported");
    s = need_string(o, "content", &len, e);
    return s ? copy_short(w->to, &w->to_len, s, len, "content", e) : -1;
}

static int read_prepend(const json_t *o, struct rewrite *w, struct error *e)
{
    int len;
    if (only_members(o, "type|prepend", "Prepend", e))
        return -1;
    const char *s = need_string(o, "prepend", &len, e);
    return s ? copy_short(w->to, &w->to_len, s, len, "prepend", e) : -1;
}

/* The parts of a Sequence, or the one thing itself. */
static int parts_of(const json_t *o, const char *list, const json_t *part[MAX_REWRITES], int *n, struct error *e)
{
    part[0] = o;
    *n = o && !json_is_null(o);
    if (!*n || strcmp(type_of(o), "Sequence"))
        return 0;
    const json_t *parts = json_object_get(o, list);
    if (!json_is_array(parts) ||
        only_members(o, strcmp(list, "decoders") ? "type|normalizers" : "type|decoders", "Sequence", e))
        return fail(e, "\"%s\" of a Sequence is missing or not a list", list);
    if (json_array_size(parts) > MAX_REWRITES)
        return fail(e, "a Sequence of %zu parts is not supported, at most %d", json_array_size(parts), MAX_REWRITES);
    *n = (int)json_array_size(parts);
    for (int i = 0; i < *n; i++)
        part[i] = json_array_get(parts, (size_t)i);
    return 0;
}

static int read_normalizer(struct tokenizer *t, const json_t *o, struct error *e)
{
    const json_t *part[MAX_REWRITES];
    int n;
    if (parts_of(o, "normalizers", part, &n, e))
        return -1;
    for (int i = 0; i < n; i++) {
        const char *type = type_of(part[i]);
        struct rewrite *w = &t->normal[t->normals++];
        int status = !strcmp(type, "Prepend")   ? read_prepend(part[i], w, e)
                     : !strcmp(type, "Replace") ? read_replace(part[i], w, e)
                                                : fail(e, "a normalizer of type %.60s is not supported", type);
        if (status)
            return -1;
    }
    return 0;
}

static int read_strip(struct tokenizer *t, const json_t *o, struct error *e)
{
    int len;
    long start, stop;
    const char *s = need_string(o, "content", &len, e);
    if (!s || only_members(o, "type|content|start|stop", "Strip", e) || json_need_int(o, "start", 0, 1, &start, e) ||
        json_need_int(o, "stop", 0, 0, &stop, e))
        return -1;
    if (len != 1)
        return fail(e, "Strip of \"%.60s\" is not supported, only of one ASCII character", s);
    t->strip = start ? (unsigned char)s[0] : -1;
    return 0;
}

/* Their order has to be Replace, ByteFallback, Fuse, Strip, each if at all: then pieces can be decoded one by one. */
static int read_decoder(struct tokenizer *t, const json_t *o, struct error *e)
{
    static const char *const order[] = {"Replace", "ByteFallback", "Fuse", "Strip"};
    const json_t *part[MAX_REWRITES];
    int n, last = 0, fused = 0;
    if (parts_of(o, "decoders", part, &n, e))
        return -1;
    if (n == 0)
        return fail(e, "\"decoder\" is missing or empty: tokens joined by spaces are not supported");
    for (int i = 0; i < n; i++) {
        int kind = 0, status = 0;
        while (kind < 4 && strcmp(type_of(part[i]), order[kind]))
            kind++;
        if (kind == 4)
            return fail(e, "a decoder of type %.60s is not supported", type_of(part[i]));
        if (kind < last || (kind > 0 && kind == last) || (kind == 3 && !fused))
            return fail(e, "the decoder %s after %s is not supported", order[kind], i ? order[last] : "nothing");
        last = kind;
        fused |= kind == 2;
        t->bytes_back |= kind == 1;
        if (kind == 0)
            status = read_replace(part[i], &t->back[t->backs++], e);
        else if (kind == 3)
            status = read_strip(t, part[i], e);
        if (status)
            return -1;
    }
    return 0;
}

/* TemplateProcessing: nothing, or one token in front of the text. The form for pairs of texts is never used here. */
static int read_template(struct tokenizer *t, const json_t *o, struct error *e)
{
    if (!o || json_is_null(o))
        return 0;
    if (strcmp(type_of(o), "TemplateProcessing"))
        return fail(e, "a post_processor of type %.60s is not supported", type_of(o));
    const json_t *single = json_object_get(o, "single");
    size_t n = json_array_size(single);
    if (n < 1 || n > 2 || !json_object_get(json_array_get(single, n - 1), "Sequence"))
        return fail(e,
                    "\"single\" of the post_processor is not supported: only a text, with one token in front or none");
    if (n == 1)
        return 0;
    const char *name = json_get_string(json_object_get(json_array_get(single, 0), "SpecialToken"), "id", NULL);
    if (!name)
        return fail(e, "\"single\" of the post_processor does not begin with a SpecialToken");
    const json_t *ids = json_object_get(json_object_get(json_object_get(o, "special_tokens"), name), "ids");
    const json_t *id = json_array_get(ids, 0);
    if (json_array_size(ids) != 1 || !json_is_integer(id))
        return fail(e, "the post_processor's token \"%.60s\" has no single id", name);
    if (json_integer_value(id) < 0 || json_integer_value(id) >= t->vocab || t->piece[json_integer_value(id)].start < 0)
        return fail(e, "the post_processor's token \"%.60s\" has id %lld, which is not in the vocabulary", name,
                    (long long)json_integer_value(id));
    t->bos = (int)json_integer_value(id);
    return 0;
}

/* What each token decodes to. Pieces are rewritten out of the pool that they are copied into. */
static int decode_pieces(struct tokenizer *t, struct error *e)
{
    struct text shown = {0};
    int status = 0;
    for (int id = 0; id < t->vocab && status == 0; id++) {
        struct span p = t->piece[id];
        if (p.start < 0)
            continue;
        status = rewrite_text(t->back, t->backs, t->pool.s + p.start, p.len, &shown, e);
        int byte = t->bytes_back ? byte_of_piece(shown.s, shown.len) : -1;
        if (byte >= 0) {
            text_clear(&shown);
            text_add(&shown, (char[]){(char)byte}, 1);
        }
        if (status == 0 && (shown.len > MAX_PIECE || t->pool.len > MAX_POOL))
            status = fail(e, "what the decoder makes of the tokens is too long (id %d: %d bytes)", id, shown.len);
        else if (status == 0)
            t->shown[id] = pool_add(t, shown.s, shown.len);
    }
    text_free(&shown);
    return status;
}

/* The file does not say which token ends a text. These are the names that the families of models use for it. */
static int find_eos(const struct tokenizer *t)
{
    static const char *const name[] = {"<eos>", "</s>", "<|endoftext|>", "<|end_of_text|>"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        int id = piece_find(t, name[i], (int)strlen(name[i]));
        if (id >= 0 && t->flag[id] & TOKEN_SPECIAL)
            return id;
    }
    return -1;
}

static int read_root(struct tokenizer *t, json_t *root, struct error *e)
{
    json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
    if (only_members(root,
                     "version|truncation|padding|added_tokens|normalizer|pre_tokenizer|post_processor|decoder|model",
                     "tokenizer.json", e) ||
        must_be_null(root, "truncation", e) || must_be_null(root, "padding", e) ||
        must_be_null(root, "pre_tokenizer", e))
        return -1;
    if (read_model(t, model, added, e) || read_normalizer(t, json_object_get(root, "normalizer"), e) ||
        read_decoder(t, json_object_get(root, "decoder"), e) ||
        read_template(t, json_object_get(root, "post_processor"), e) || decode_pieces(t, e))
        return -1;
    t->eos = find_eos(t);
    return 0;
}

int tokenizer_parse(struct tokenizer *t, char *json, size_t len, struct error *e)
{
    t->json = json;
    t->json_len = len;
    t->bos = t->eos = t->strip = -1;
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    json_t *root = json_parse(json, len, e);
    if (!root)
        return -1;
    int status = read_root(t, root, e);
    json_decref(root);
    return status;
}
