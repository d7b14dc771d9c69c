/* Reading tokenizer.json: the vocabulary, the merges and the added tokens; what surrounds the model is
 * tokenizer_parts.c. Not a reader of everything the format can say: what a file asks for and this program does not do
 * is refused by its name, because a guess would train on other tokens than the model was made with.
 *
 * To support another member: take it out of the refusals, read it into struct tokenizer (tokenizer_inner.h), use it in
 * tokenizer.c. */
#include "../model/base/json.h"
#include "../model/base/rng.h"
#include "tokenizer_inner.h"
#include <stdio.h>
#include <string.h>

/* Every member of o is one of "a|b|c". */
int only_members(const json_t *o, const char *known, const char *where, struct error *e)
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

const char *type_of(const json_t *o)
{
    return json_get_string(o, "type", "(without a type)");
}

/* A member that only switches something on: it has to be null (or missing). */
int must_be_null(const json_t *o, const char *key, struct error *e)
{
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v))
        return 0;
    return fail(e, "\"%s\" of type %.60s is not supported", key, json_is_object(v) ? type_of(v) : "other than null");
}

/* A string member of the object; its length by *len. */
const char *need_string(const json_t *o, const char *key, int *len, struct error *e)
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

/* A token may hold the character 0, which no key of Jansson can: while the file is read, U+FDD0 stands for it, which is
 * never a character. */
static const char zero_mark[] = "\xef\xb7\x90";
enum { ZERO_MARK = sizeof zero_mark - 1 };

/* The text of the file with its \u0000 as marks, NULL when there is none. */
static char *mark_zeros(const char *json, size_t len, size_t *marked_len)
{
    if (!memmem(json, len, "\\u0000", 6))
        return NULL;
    char *out = mem_alloc(len + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        int escaped = json[i] == '\\' && i + 1 < len, zero = escaped && len - i >= 6 && !memcmp(json + i, "\\u0000", 6);
        size_t take = zero ? 6 : escaped ? 2 : 1, put = zero ? ZERO_MARK : take;
        memcpy(out + n, zero ? zero_mark : json + i, put);
        n += put;
        i += take;
    }
    *marked_len = n;
    return out;
}

/* Marks in s[0..len) to zeros, in place; returns the new length. */
static int put_zeros_back(const struct tokenizer *t, char *s, int len)
{
    int out = 0;
    if (!t->zeros)
        return len;
    for (int i = 0; i < len; out++) {
        int mark = len - i >= ZERO_MARK && !memcmp(s + i, zero_mark, ZERO_MARK);
        s[out] = (char)(mark ? 0 : s[i]);
        i += mark ? ZERO_MARK : 1;
    }
    return out;
}

static void index_add(const struct tokenizer *t, struct index *x, struct span text, int id)
{
    unsigned mask = (unsigned)x->slots - 1, i = (unsigned)hash_bytes(t->pool.s + text.start, text.len, 0) & mask;
    while (x->slot[i] >= 0)
        i = (i + 1) & mask;
    x->slot[i] = id;
}

static void index_make(struct index *x, int n)
{
    for (x->slots = 16; x->slots < 2 * n;)
        x->slots *= 2;
    x->slot = mem_alloc((size_t)x->slots, sizeof *x->slot);
    memset(x->slot, 0xff, (size_t)x->slots * sizeof *x->slot);
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
    index_make(&t->by_piece, pieces);
}

static int set_piece(struct tokenizer *t, int id, const char *s, int len, int flag, struct error *e)
{
    struct span p = t->piece[id];
    if (p.start >= 0)
        return fail(e, "id %d is given to \"%.*s\" and to \"%.*s\"", id, p.len < 60 ? p.len : 60, t->pool.s + p.start,
                    len < 60 ? len : 60, s);
    if (len > MAX_PIECE)
        return fail(e, "the token of id %d has %d bytes, at most %d are supported", id, len, MAX_PIECE);
    t->piece[id] = pool_add(t, s, len);
    t->piece[id].len = put_zeros_back(t, t->pool.s + t->piece[id].start, len);
    t->pool.len = t->piece[id].start + t->piece[id].len;
    t->flag[id] = (unsigned char)flag;
    index_add(t, &t->by_piece, t->piece[id], id);
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
        if (set_piece(t, (int)json_integer_value(v), key, (int)strlen(key), TOKEN_MODEL, e))
            return -1;
    }
    return 0;
}

/* A token with `normalized` is looked for in the normalised text, and spelled as that. */
static int find_added(struct tokenizer *t, int id, int flags, int normalized, struct error *e)
{
    /* A letter, mark, digit, joiner or connector: what makes words for the reference. */
    static const char word[] = "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}"
                               "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]";
    struct added_set *set = normalized ? &t->normalized : &t->raw;
    struct span text = t->piece[id];
    if (normalized && t->normals) {
        struct text spelled = {0};
        int status = rewrite_text(t->normal, t->normals, t->pool.s + text.start, text.len, &spelled, e);
        if (status == 0)
            text = pool_add(t, spelled.s, spelled.len);
        text_free(&spelled);
        if (status)
            return -1;
    }
    if (text.len < 1 || text.len > MAX_ADDED_LEN)
        return fail(e, "its text has %d bytes, 1 to %d are supported", text.len, MAX_ADDED_LEN);
    if (flags & ADDED_SINGLE_WORD && !t->word && !(t->word = pattern_open(word, sizeof word - 1, e)))
        return -1;
    mem_grow(&set->a, &set->cap, set->n + 1, sizeof *set->a);
    set->a[set->n++] = (struct added){id, flags, text};
    return 0;
}

static int read_added(struct tokenizer *t, const json_t *one, struct error *e)
{
    int len, special, left, right, single, normalized;
    long id;
    const char *content = need_string(one, "content", &len, e);
    if (!content || json_need_int(one, "id", 0, MAX_VOCAB - 1, &id, e))
        return -1;
    if (len == 0)
        return fail(e, "the added token of id %ld is an empty text", id);
    if (only_members(one, "id|content|single_word|lstrip|rstrip|normalized|special", "added_tokens", e) ||
        json_get_bool(one, "single_word", 0, &single, e) || json_get_bool(one, "lstrip", 0, &left, e) ||
        json_get_bool(one, "rstrip", 0, &right, e) || json_get_bool(one, "special", 0, &special, e) ||
        json_get_bool(one, "normalized", 0, &normalized, e))
        return fail_in(e, "added token \"%.60s\"", content);
    int known = piece_find(t, content, len);
    if (known >= 0 && known != id)
        return fail(e, "added token \"%.60s\" has id %ld, in the vocabulary it has %d", content, id, known);
    if (known >= 0 && t->flag[known] & TOKEN_ADDED)
        return fail(e, "added token \"%.60s\" is listed twice", content);
    if (known < 0 && set_piece(t, (int)id, content, len, 0, e))
        return -1;
    t->flag[id] |= (unsigned char)(TOKEN_ADDED | (special ? TOKEN_SPECIAL : 0));
    int flags = (left ? ADDED_LSTRIP : 0) | (right ? ADDED_RSTRIP : 0) | (single ? ADDED_SINGLE_WORD : 0);
    return find_added(t, (int)id, flags, normalized, e) ? fail_in(e, "added token \"%.60s\"", content) : 0;
}

static int read_addeds(struct tokenizer *t, const json_t *list, struct error *e)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (read_added(t, json_array_get(list, i), e))
            return -1;
    added_sort(t, &t->raw);
    added_sort(t, &t->normalized);
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
        int from = joined->len;
        text_add(joined, half[k], len[k]);
        joined->len = from + put_zeros_back(t, joined->s + from, len[k]);
        id[k] = model_find(t, joined->s + from, joined->len - from);
        if (id[k] < 0)
            return fail(e, "merge %d names \"%.*s\", which is not in the vocabulary", rank, len[k] < 60 ? len[k] : 60,
                        half[k]);
    }
    int made = model_find(t, joined->s, joined->len);
    if (made < 0)
        return fail(e, "merge %d makes \"%.60s\", which is not in the vocabulary", rank, joined->s);
    struct merge *m = merge_slot(t, id[0], id[1]);
    if (m->left >= 0)
        return fail(e, "merge %d repeats merge %d, \"%.60s\"", rank, m->rank, joined->s);
    *m = (struct merge){id[0], id[1], rank, made};
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

/* The vocabulary's spelling of each byte: one of 256 visible characters (byte level), or "<0x0A>" (byte fallback). A
 * byte-level vocabulary may lack some; with byte fallback the reference falls back only where it has all it needs. */
static int find_bytes(struct tokenizer *t, struct error *e)
{
    for (int b = 0, other = 256; b < 256; b++) {
        char name[8];
        int visible = (b > 32 && b < 127) || (b > 0xa0 && b != 0xad);
        int len = t->byte_level ? utf8_put(name, visible ? b : other++) : snprintf(name, sizeof name, "<0x%02X>", b);
        t->byte_id[b] = model_find(t, name, len);
        if (t->byte_id[b] < 0 && !t->byte_level && t->unknown < 0)
            return fail(e, "\"byte_fallback\" is true, but %s is not in the vocabulary", name);
    }
    return 0;
}

/* Without bytes of either kind: every token is one character, or an added one. */
static int check_characters(const struct tokenizer *t, struct error *e)
{
    if (t->unknown >= 0)
        return fail(e, "\"unk_token\" without \"byte_fallback\" is not supported");
    if (t->merges)
        return fail(e,
                    "\"byte_fallback\" is false and there are merges: of BPE only the kinds with byte fallback or the "
                    "pre_tokenizer ByteLevel are supported");
    for (int id = 0; id < t->vocab; id++) {
        struct span p = t->piece[id];
        enum utf8_kind kind;
        if (p.start >= 0 && !(t->flag[id] & TOKEN_ADDED) && utf8_next(t->pool.s + p.start, p.len, &kind) != p.len)
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

static int read_unknown(struct tokenizer *t, const json_t *model, struct error *e)
{
    const json_t *unk = json_object_get(model, "unk_token");
    if (!unk || json_is_null(unk))
        return 0;
    if (!json_is_string(unk))
        return fail(e, "\"unk_token\" is not a text");
    t->unknown = model_find(t, json_string_value(unk), (int)json_string_length(unk));
    if (t->unknown < 0)
        return fail(e, "\"unk_token\" is \"%.60s\", which is not in the vocabulary", json_string_value(unk));
    return 0;
}

static int read_model(struct tokenizer *t, json_t *model, const json_t *added, struct error *e)
{
    double dropout;
    /* The oldest files do not say the type; of the four that there are, only BPE has merges. */
    int untold = !json_object_get(model, "type") && json_object_get(model, "merges");
    if (json_is_object(model) && !untold && strcmp(type_of(model), "BPE"))
        return fail(e, "a model of type %.60s is not supported, only BPE", type_of(model));
    if (only_members(model,
                     "type|dropout|unk_token|continuing_subword_prefix|end_of_word_suffix|fuse_unk|byte_fallback|"
                     "ignore_merges|vocab|merges",
                     "model", e) ||
        json_get_bool(model, "byte_fallback", 0, &t->fallback, e) ||
        json_get_bool(model, "fuse_unk", 0, &t->fuse_unknown, e) ||
        json_get_bool(model, "ignore_merges", 0, &t->ignore_merges, e) ||
        json_get_number(model, "dropout", 0, &dropout, e) || must_be_empty(model, "continuing_subword_prefix", e) ||
        must_be_empty(model, "end_of_word_suffix", e))
        return -1;
    if (dropout != 0)
        return fail(e, "\"dropout\" %.17g is not supported", dropout);
    if (t->fallback && t->byte_level)
        return fail(e, "\"byte_fallback\" with the pre_tokenizer ByteLevel is not supported");
    t->characters = !t->fallback && !t->byte_level;
    if (read_vocab(t, model, added, e) || read_unknown(t, model, e) ||
        read_merges(t, json_object_get(model, "merges"), e) || read_addeds(t, added, e))
        return -1;
    if (t->fallback && t->merges)
        joints_make(t);
    return t->characters ? check_characters(t, e) : find_bytes(t, e);
}

/* Byte level writes bytes that are no visible characters as U+0100, U+0101 ... in their order; here number n of them.
 */
static int hidden_byte(int n)
{
    return n < 33 ? n : n < 67 ? n - 33 + 127 : 0xad;
}

/* The bytes that a byte-level piece spells; a piece with another character is a text of its own. */
static void spelled_bytes(const char *s, int len, struct text *out)
{
    text_clear(out);
    text_add(out, "", 0);
    for (int i = 0, n; i < len; i += n) {
        enum utf8_kind kind;
        n = utf8_next(s + i, len - i, &kind);
        int point = utf8_point(s + i, n), visible = (point > 32 && point < 127) || (point > 0xa0 && point < 256);
        int byte = visible && point != 0xad ? point : point < 256 || point > 0x143 ? -1 : hidden_byte(point - 256);
        if (byte < 0) {
            text_clear(out);
            text_add(out, s, len);
            return;
        }
        text_add(out, (char[]){(char)byte}, 1);
    }
}

static void shown_text(const struct tokenizer *t, struct span p, struct text *out, int *status, struct error *e)
{
    if (t->byte_level) {
        spelled_bytes(t->pool.s + p.start, p.len, out);
        return;
    }
    *status = rewrite_text(t->back, t->backs, t->pool.s + p.start, p.len, out, e);
    int byte = t->bytes_back ? byte_of_piece(out->s, out->len) : -1;
    if (byte >= 0) {
        text_clear(out);
        text_add(out, (char[]){(char)byte}, 1);
    }
}

/* What each token decodes to. Pieces are rewritten out of the pool that they are copied into. */
static int decode_pieces(struct tokenizer *t, struct error *e)
{
    struct text shown = {0};
    int status = 0;
    for (int id = 0; id < t->vocab && status == 0; id++) {
        if (t->piece[id].start < 0)
            continue;
        shown_text(t, t->piece[id], &shown, &status, e);
        if (status == 0 && (shown.len > MAX_PIECE || t->pool.len > MAX_POOL))
            status = fail(e, "what the decoder makes of the tokens is too long (id %d: %d bytes)", id, shown.len);
        else if (status == 0)
            t->shown[id] = pool_add(t, shown.s, shown.len);
    }
    text_free(&shown);
    if (status || !t->byte_level || !t->ignore_merges)
        return status;
    index_make(&t->by_shown, t->vocab);
    for (int id = 0; id < t->vocab; id++)
        if (t->flag[id] & TOKEN_MODEL)
            index_add(t, &t->by_shown, t->shown[id], id);
    return 0;
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
        must_be_null(root, "truncation", e) || must_be_null(root, "padding", e))
        return -1;
    if (read_pre_tokenizer(t, json_object_get(root, "pre_tokenizer"), e) ||
        read_normalizer(t, json_object_get(root, "normalizer"), e) || read_model(t, model, added, e) ||
        read_decoder(t, json_object_get(root, "decoder"), e) ||
        read_post_processor(t, json_object_get(root, "post_processor"), e) || decode_pieces(t, e))
        return -1;
    t->eos = find_eos(t);
    return 0;
}

int tokenizer_parse(struct tokenizer *t, char *json, size_t len, struct error *e)
{
    t->json = json;
    t->json_len = len;
    t->bos = t->eos = t->strip = t->unknown = -1;
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    size_t marked_len = 0;
    char *marked = mark_zeros(json, len, &marked_len);
    t->zeros = marked != NULL;
    json_t *root = marked ? json_parse(marked, marked_len, e) : json_parse(json, len, e);
    mem_free(marked);
    if (!root)
        return -1;
    int status = t->zeros && memmem(json, len, zero_mark, ZERO_MARK)
                     ? fail(e, "tokens with U+0000 and with U+FDD0 in one file are not supported")
                     : read_root(t, root, e);
    json_decref(root);
    return status;
}
