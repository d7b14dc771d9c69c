/* Where a tokenizer comes from. Whatever a directory holds becomes the text of a tokenizer.json, which tokenizer_json.c
 * reads and a checkpoint carries on:
 *
 *   tokenizer.json                 as it is
 *   vocab.json + merges.txt        of a family that tokenizer_config.json (tokenizer_class) or config.json (model_type)
 *                                  names: the two files do not say how text is cut
 *   encoder.json + vocab.bpe       the same two under the names of GPT-2's own release
 *   tokenizer.bin                  llama2.c: pieces with scores, in Llama 2's style
 *
 * To add a family: a row in families[] with what surrounds its model, written as tokenizer.json has it. */
#include "../model/base/file.h"
#include "../model/base/json.h"
#include "tokenizer_inner.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 64 << 20 };

struct family {
    const char *class, *model_type; /* tokenizer_class without "Fast"; of config.json */
    const char *normalizer, *pre_tokenizer, *eos;
};

#define BYTE_LEVEL(regex)                                                                                              \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":" regex "}"

static const struct family families[] = {
    {"GPT2Tokenizer", "gpt2", "null", BYTE_LEVEL("true"), "<|endoftext|>"},
    {"Qwen2Tokenizer", "qwen2", "{\"type\":\"NFC\"}",
     "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
     "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "
     "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
     "\"behavior\":\"Isolated\",\"invert\":false}," BYTE_LEVEL("false") "]}",
     "<|endoftext|>"},
};
enum { FAMILIES = sizeof families / sizeof *families };

static int join(char path[1024], const char *dir, const char *name, struct error *e)
{
    int n = snprintf(path, 1024, "%s/%s", dir, name);
    return n < 0 || n >= 1024 ? fail(e, "the path %.100s... is too long", dir) : 0;
}

static int is_there(const char *dir, const char *name)
{
    char path[1024];
    return join(path, dir, name, NULL) == 0 && file_size(path) >= 0;
}

/* The JSON file dir/name; a null when there is none and it may be missing. NULL on failure. */
static json_t *read_json(const char *dir, const char *name, int may_be_missing, struct error *e)
{
    char path[1024];
    if (join(path, dir, name, e))
        return NULL;
    return may_be_missing && file_size(path) < 0 ? json_null() : json_read(path, e);
}

/* tokenizer_config.json, of which only texts are read; a null when there is none. */
static json_t *read_settings(const char *dir, struct error *e)
{
    char path[1024];
    if (join(path, dir, "tokenizer_config.json", e))
        return NULL;
    return file_size(path) < 0 ? json_null() : json_read_wide(path, e);
}

static char *dump(json_t *root, size_t *len)
{
    char *indented = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    if (!indented)
        die("the text of a tokenizer.json could not be built");
    struct text json = {0};
    text_addf(&json, "%s\n", indented);
    free(indented);
    json_decref(root);
    *len = (size_t)json.len;
    return json.s;
}

static json_t *added_token(const char *content, int id)
{
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", content, "single_word", 0, "lstrip", 0,
                     "rstrip", 0, "normalized", 0, "special", 1);
}

/* ---- vocab.json and merges.txt ---- */

static const struct family *find_family(const char *dir, const json_t *settings, struct error *e)
{
    const char *class = json_get_string(settings, "tokenizer_class", NULL), *type = NULL;
    json_t *model = class ? NULL : read_json(dir, "config.json", 1, e);
    const struct family *found = NULL;
    if (!class && !model)
        return NULL;
    if (model)
        type = json_get_string(model, "model_type", NULL);
    for (int i = 0; i < FAMILIES && !found; i++) {
        size_t len = strlen(families[i].class);
        if (class ? !strncmp(class, families[i].class, len) && (!class[len] || !strcmp(class + len, "Fast"))
                  : type && !strcmp(type, families[i].model_type))
            found = &families[i];
    }
    if (!found && class)
        fail(e, "vocab.json and merges.txt of a %.60s are not supported, only of GPT2Tokenizer and Qwen2Tokenizer",
             class);
    else if (!found && type)
        fail(e, "vocab.json and merges.txt of a model of type %.60s are not supported, only of gpt2 and qwen2", type);
    else if (!found)
        fail(e, "vocab.json and merges.txt do not say how text is cut into words: a tokenizer_config.json with "
                "\"tokenizer_class\" is missing");
    json_decref(model);
    return found;
}

/* The lines of merges.txt, without the first when it is the version. */
static json_t *read_merges(const char *dir, const char *name, struct error *e)
{
    char path[1024];
    size_t len;
    char *text = join(path, dir, name, e) ? NULL : file_read(path, MAX_FILE, &len, e);
    if (!text)
        return NULL;
    json_t *merges = json_array();
    int number = 0;
    for (char *line = text, *next; line < text + len && merges; line = next, number++) {
        char *end = memchr(line, '\n', (size_t)(text + len - line));
        next = end ? end + 1 : text + len;
        size_t n = (size_t)((end ? end : next) - line);
        n -= n > 0 && line[n - 1] == '\r';
        if (n == 0 || (number == 0 && n >= 8 && !memcmp(line, "#version", 8)))
            continue;
        if (json_array_append_new(merges, json_stringn(line, n))) {
            fail(e, "%s: line %d is not UTF-8", path, number + 1);
            json_decref(merges);
            merges = NULL;
        }
    }
    mem_free(text);
    return merges;
}

static int listed(const json_t *added, const char *content)
{
    for (size_t i = 0; i < json_array_size(added); i++)
        if (!strcmp(json_get_string(json_array_get(added, i), "content", ""), content))
            return 1;
    return 0;
}

/* A token that the settings name (a text, or an object with its content): it has an id already. */
static int add_named(json_t *added, const json_t *vocab, const json_t *named, const char *key, struct error *e)
{
    const char *content = json_is_object(named) ? json_get_string(named, "content", NULL) : json_string_value(named);
    if (!named || json_is_null(named))
        return 0;
    if (!content)
        return fail(e, "\"%s\" is not the text of a token", key);
    if (listed(added, content))
        return 0;
    const json_t *id = json_object_get(vocab, content);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= MAX_VOCAB)
        return fail(e, "\"%s\" names %.60s, which has no id", key, content);
    return json_array_append_new(added, added_token(content, (int)json_integer_value(id)));
}

/* added_tokens_decoder: {"151643":{"content":...}}, then the tokens that the settings name. */
static int add_tokens(json_t *added, const json_t *vocab, json_t *settings, const char *eos, struct error *e)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    json_t *decoder = json_object_get(settings, "added_tokens_decoder"), *one;
    const char *key;
    json_object_foreach(decoder, key, one)
    {
        char *end;
        long id = strtol(key, &end, 10);
        if (*end || end == key || id < 0 || id >= MAX_VOCAB || !json_is_object(one))
            return fail(e, "\"%.60s\" of \"added_tokens_decoder\" is no token", key);
        json_t *token = json_copy(one);
        json_object_set_new(token, "id", json_integer(id));
        json_array_append_new(added, token);
    }
    for (int i = 0; i < 4; i++)
        if (add_named(added, vocab, json_object_get(settings, names[i]), names[i], e))
            return -1;
    size_t i;
    json_array_foreach(json_object_get(settings, "additional_special_tokens"), i, one)
    {
        if (add_named(added, vocab, one, "additional_special_tokens", e))
            return -1;
    }
    json_t *end = json_object_get(settings, "eos_token") ? NULL : json_object_get(vocab, eos) ? json_string(eos) : NULL;
    int status = add_named(added, vocab, end, "eos_token", e);
    json_decref(end);
    return status;
}

static json_t *literal_json(const char *text)
{
    json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
    return v ? v : (die("a family of tokenizers is written wrongly: %s", text), NULL);
}

/* Settings that would change ids and that the rows of families[] do not know. */
static int check_settings(const char *dir, const json_t *settings, struct error *e)
{
    static const char *const off[] = {"add_prefix_space", "add_bos_token", "add_eos_token"};
    for (int i = 0; i < 3; i++) {
        int on;
        if (json_get_bool(settings, off[i], 0, &on, e))
            return -1;
        if (on)
            return fail(e, "\"%s\": true beside vocab.json is not supported", off[i]);
    }
    if (is_there(dir, "added_tokens.json") && !json_object_get(settings, "added_tokens_decoder"))
        return fail(e, "added_tokens.json without \"added_tokens_decoder\" in tokenizer_config.json is not supported");
    return 0;
}

static char *from_vocab(const char *dir, const struct family *f, const char *vocab_name, const char *merges_name,
                        size_t *len, struct error *e)
{
    json_t *settings = read_settings(dir, e), *vocab = NULL, *merges = NULL;
    json_t *added = json_array();
    int good = settings && check_settings(dir, settings, e) == 0 && (f || (f = find_family(dir, settings, e))) &&
               (vocab = read_json(dir, vocab_name, 0, e)) && (merges = read_merges(dir, merges_name, e)) &&
               add_tokens(added, vocab, settings, f->eos, e) == 0;
    json_decref(settings);
    if (!good) {
        json_decref(vocab);
        json_decref(merges);
        json_decref(added);
        return NULL;
    }
    json_t *model = json_pack("{s:s, s:n, s:n, s:s, s:s, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                              "unk_token", "continuing_subword_prefix", "", "end_of_word_suffix", "", "fuse_unk", 0,
                              "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges", merges);
    json_t *root = json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
                             "added_tokens", added, "normalizer", literal_json(f->normalizer), "pre_tokenizer",
                             literal_json(f->pre_tokenizer), "post_processor", literal_json(BYTE_LEVEL("true")),
                             "decoder", literal_json(BYTE_LEVEL("true")), "model", model);
    return dump(root, len);
}

/* ---- tokenizer.bin of llama2.c ---- */

struct scored { /* a pair that makes a piece; of equal scores the lower ids first */
    float score;
    int made, left, right;
};

static int by_score(const void *x, const void *y)
{
    const struct scored *a = x, *b = y;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->made != b->made)
        return a->made - b->made;
    return a->left != b->left ? a->left - b->left : a->right - b->right;
}

struct bin {
    const char *s; /* the file */
    size_t len, at;
    json_t *vocab; /* piece to id */
    struct text *piece;
    float *score;
    int n, cap, score_cap;
};

static int bin_word(struct bin *b, uint32_t *word)
{
    if (b->len - b->at < 4)
        return -1;
    const unsigned char *s = (const unsigned char *)b->s + b->at;
    *word = s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24;
    b->at += 4;
    return 0;
}

/* One token: its score, its length, its bytes, in which a space stands for itself. */
static int bin_token(struct bin *b, struct error *e)
{
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    uint32_t score, size;
    int id = b->n;
    if (bin_word(b, &score) || bin_word(b, &size) || size > b->len - b->at)
        return fail(e, "the file ends in the middle of token %d", id);
    if (size < 1 || size > MAX_PIECE || id >= MAX_VOCAB)
        return fail(e, "token %d of %u bytes is not supported", id, size);
    mem_grow(&b->piece, &b->cap, id + 1, sizeof *b->piece);
    mem_grow(&b->score, &b->score_cap, id + 1, sizeof *b->score);
    struct text *p = &b->piece[id];
    *p = (struct text){0};
    b->n++;
    memcpy(&b->score[id], &score, sizeof score);
    if (b->score[id] != b->score[id])
        return fail(e, "the score of token %d is no number", id);
    for (uint32_t i = 0; i < size; i++) {
        char c = b->s[b->at + i];
        if (c == ' ')
            text_add(p, "\xe2\x96\x81", 3);
        else
            text_add(p, &c, 1);
    }
    b->at += size;
    if (id < 3) { /* written as "\n<s>\n" */
        text_clear(p);
        text_add(p, special[id], -1);
    }
    if (!utf8_valid(p->s, p->len) || memchr(p->s, 0, (size_t)p->len))
        return fail(e, "token %d is not UTF-8", id);
    if (json_object_get(b->vocab, p->s))
        return fail(e, "token %d is \"%.60s\" once more", id, p->s);
    json_object_set_new(b->vocab, p->s, json_integer(id));
    return 0;
}

/* Every way to make a piece of two others is a merge; the better the piece's score, the earlier. */
static json_t *bin_merges(const struct bin *b)
{
    struct scored *pair = NULL;
    int pairs = 0, cap = 0;
    for (int id = 3; id < b->n; id++) {
        struct text *p = &b->piece[id];
        for (int cut = 1; cut < p->len; cut++) {
            if (((unsigned char)p->s[cut] & 0xc0) == 0x80)
                continue;
            const json_t *right = json_object_get(b->vocab, p->s + cut);
            const json_t *left = right ? json_object_getn(b->vocab, p->s, (size_t)cut) : NULL;
            if (!left)
                continue;
            mem_grow(&pair, &cap, pairs + 1, sizeof *pair);
            pair[pairs++] =
                (struct scored){b->score[id], id, (int)json_integer_value(left), (int)json_integer_value(right)};
        }
    }
    if (pairs)
        qsort(pair, (size_t)pairs, sizeof *pair, by_score);
    json_t *merges = json_array();
    for (int i = 0; i < pairs; i++)
        json_array_append_new(merges, json_pack("[s, s]", b->piece[pair[i].left].s, b->piece[pair[i].right].s));
    mem_free(pair);
    return merges;
}

static json_t *bin_root(const struct bin *b)
{
    static const char around[] =
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"normalizer\":{\"type\":\"Sequence\","
        "\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":"
        "{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},\"pre_tokenizer\":null,\"post_processor\":{\"type\":"
        "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":"
        "\"A\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":"
        "\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":1}},{\"Sequence\":{\"id\":\"B\","
        "\"type_id\":1}}],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],\"tokens\":[\"<s>\"]}}},\"decoder\":"
        "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},"
        "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \","
        "\"start\":1,\"stop\":0}]}}";
    json_t *root = literal_json(around);
    json_object_set_new(root, "added_tokens",
                        json_pack("[o, o, o]", added_token("<unk>", 0), added_token("<s>", 1), added_token("</s>", 2)));
    json_object_set_new(root, "model",
                        json_pack("{s:s, s:n, s:s, s:n, s:n, s:b, s:b, s:b, s:O, s:o}", "type", "BPE", "dropout",
                                  "unk_token", "<unk>", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                                  1, "byte_fallback", 1, "ignore_merges", 0, "vocab", b->vocab, "merges",
                                  bin_merges(b)));
    return root;
}

static char *from_bin(const char *path, size_t *len, struct error *e)
{
    struct bin b = {0};
    uint32_t longest;
    char *file = file_read(path, MAX_FILE, &b.len, e), *json = NULL;
    if (!file)
        return NULL;
    b.s = file;
    b.vocab = json_object();
    int status = bin_word(&b, &longest) ? fail(e, "the file is too short for a tokenizer of llama2.c") : 0;
    while (status == 0 && b.at < b.len)
        status = bin_token(&b, e);
    if (status == 0 && b.n < 3 + 256)
        status = fail(e, "%d tokens are too few for a tokenizer of llama2.c: three special ones and 256 bytes", b.n);
    if (status == 0)
        json = dump(bin_root(&b), len);
    for (int i = 0; i < b.n; i++)
        text_free(&b.piece[i]);
    mem_free(b.piece);
    mem_free(b.score);
    json_decref(b.vocab);
    mem_free(file);
    return json;
}

/* ---- what is there ---- */

static int has_ending(const char *path, const char *ending)
{
    size_t n = strlen(path), k = strlen(ending);
    return n > k && !strcmp(path + n - k, ending);
}

int tokenizer_exists(const char *dir)
{
    return is_there(dir, "tokenizer.json") || (is_there(dir, "vocab.json") && is_there(dir, "merges.txt")) ||
           (is_there(dir, "encoder.json") && is_there(dir, "vocab.bpe")) || is_there(dir, "tokenizer.bin");
}

char *tokenizer_text(const char *path, size_t *len, char from[1024], struct error *e)
{
    char *json;
    int one = file_size(path) >= 0 && !file_is_directory(path);
    if (one || !tokenizer_exists(path) || is_there(path, "tokenizer.json")) {
        if (one ? snprintf(from, 1024, "%s", path) >= 1024 : join(from, path, "tokenizer.json", e))
            return NULL;
        return has_ending(from, ".bin") ? from_bin(from, len, e) : file_read(from, MAX_FILE, len, e);
    }
    if (is_there(path, "vocab.json") && is_there(path, "merges.txt")) {
        json = join(from, path, "vocab.json", e) ? NULL : from_vocab(path, NULL, "vocab.json", "merges.txt", len, e);
    } else if (is_there(path, "encoder.json") && is_there(path, "vocab.bpe")) {
        json = join(from, path, "encoder.json", e)
                   ? NULL
                   : from_vocab(path, &families[0], "encoder.json", "vocab.bpe", len, e);
    } else {
        json = join(from, path, "tokenizer.bin", e) ? NULL : from_bin(from, len, e);
    }
    return json ? json : (fail_in(e, "%s", path), NULL);
}

void tokenizer_directory(const char *path, char dir[1024])
{
    snprintf(dir, 1024, "%s", path);
    if (!file_is_directory(path)) {
        char *slash = strrchr(dir, '/');
        snprintf(slash ? slash : dir, 2, "%s", slash == dir ? "/" : slash ? "" : ".");
    }
}

int tokenizer_configure(struct tokenizer *t, const char *path, struct error *e)
{
    char dir[1024];
    tokenizer_directory(path, dir);
    json_t *settings = read_settings(dir, e);
    if (!settings)
        return -1;
    const json_t *eos = json_object_get(settings, "eos_token");
    const char *name = json_is_object(eos) ? json_get_string(eos, "content", NULL) : json_string_value(eos);
    int status = 0;
    if (name) {
        int id = piece_find(t, name, (int)strlen(name));
        if (id < 0)
            status = fail(e, "\"eos_token\" of tokenizer_config.json is %.60s, which is not in the vocabulary", name);
        t->eos = id < 0 ? t->eos : id;
    }
    json_decref(settings);
    return status;
}
