/* The tokenizers: against the ids of the reference (golden.json beside the story model), round trips, refusals of files
 * that are broken, hostile or ask for more than is supported, and time that grows with the text and not with its
 * square. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../data/tokenizer.h"
#include "../data/unicode.h"
#include "../model/base/file.h"
#include "../model/base/json.h"
#include "../model/base/rng.h"
/* last: it needs the headers above, and its macro fail() would change ours */
#include <cmocka.h>

#define STORIES "../shared/data/stories260K/"

#define FOLDER "/tmp/test_tokenizer.XXXXXX"
#include "folder.h"

static struct tokenizer *need_stories(void)
{
    struct error e = {""};
    if (!file_is_directory(STORIES)) { /* a clone of this repository alone */
        print_message("no " STORIES "\n");
        skip();
    }
    struct tokenizer *t = tokenizer_open(STORIES "hf", &e);
    if (!t)
        fail_msg("%s", e.text);
    return t;
}

static json_t *need_golden(void)
{
    struct error e = {""};
    json_t *v = json_read(STORIES "golden.json", &e);
    if (!v)
        fail_msg("%s", e.text);
    return v;
}

static void expect_ids(const struct tokenizer *t, const char *text, int special, const json_t *want)
{
    int32_t *ids = NULL;
    int cap = 0;
    struct error e = {""};
    int n = tokenizer_encode(t, text, (int)strlen(text), special, &ids, &cap, &e);
    if (n < 0)
        fail_msg("%s", e.text);
    assert_int_equal(n, json_array_size(want));
    for (int i = 0; i < n; i++)
        assert_int_equal(ids[i], json_integer_value(json_array_get(want, (size_t)i)));
    mem_free(ids);
}

static void test_golden_encode(void **state)
{
    (void)state;
    struct tokenizer *t = need_stories();
    json_t *golden = need_golden(), *cases = json_object_get(golden, "encode_cases");
    assert_true(json_array_size(cases) >= 6);
    for (size_t i = 0; i < json_array_size(cases); i++)
        expect_ids(t, json_get_string(json_array_get(cases, i), "text", NULL), 1,
                   json_object_get(json_array_get(cases, i), "ids_with_bos"));
    json_decref(golden);
    tokenizer_free(t);
}

/* Made with Hugging Face tokenizers 0.23.3 from the same file: added tokens in the text begin a new piece of text. */
static void test_reference_encode(void **state)
{
    (void)state;
    static const struct {
        const char *text, *ids;
    } cases[] = {
        {"Hello</s>world", "[1,346,306,414,2,263,304,341]"},
        {"<s>", "[1,1]"},
        {"a<unk> b</s></s>c", "[1,261,0,410,268,2,2,280]"},
        {"<s", "[1,410,504,419]"},
        {"</", "[1,410,504,492]"},
        {"aaaaaaaaaaaaaaaa", "[1,261,412,412,412,412,412,412,412,412,412,412,412,412,412,412,412]"},
        {"hehehehe", "[1,281,260,260,260]"},
        {"\342\226\201the \342\226\201the", "[1,410,265,410,265]"},
        {"\012\012\011 the the", "[1,410,13,13,12,265,265]"},
        {"Once upon a time, the dog and the park.", "[1,403,407,261,378,432,265,400,428,269,265,282,295,433,426]"},
        {"\303\251\342\200\231\342\200\234dog\342\200\235", "[1,410,485,468,465,418,414,428,466]"},
        {"   ", "[1,410,410,410,410]"},
    };
    struct tokenizer *t = need_stories();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e;
        json_t *want = json_parse(cases[i].ids, strlen(cases[i].ids), &e);
        assert_non_null(want);
        expect_ids(t, cases[i].text, 1, want);
        json_decref(want);
    }
    tokenizer_free(t);
}

static void test_golden_decode(void **state)
{
    (void)state;
    struct tokenizer *t = need_stories();
    json_t *golden = need_golden(), *list = json_object_get(golden, "greedy_ids");
    const char *want = json_get_string(golden, "greedy_text", NULL);
    int n = (int)json_array_size(list);
    assert_int_equal(n, 256);
    int32_t ids[257] = {1};
    for (int i = 0; i < n; i++)
        ids[i + 1] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    struct text out = {0}, pieces = {0};
    int end[257];
    tokenizer_decode(t, ids, n + 1, 0, &out, end); /* golden text keeps its leading space */
    assert_string_equal(out.s, want);
    assert_int_equal(end[0], 0); /* the beginning of sequence gives nothing */
    assert_int_equal(end[n], out.len);
    for (int i = 0; i <= n; i++) { /* one by one, as a stream */
        tokenizer_decode(t, &ids[i], 1, 0, &pieces, NULL);
        assert_int_equal(pieces.len, end[i]);
    }
    assert_string_equal(pieces.s, want);
    text_clear(&out);
    tokenizer_decode(t, ids, n + 1, 1, &out, NULL);
    assert_string_equal(out.s, want + 1); /* without it as a text of its own */
    json_t *again = json_pack("[i]", 1);
    json_array_extend(again, list);
    expect_ids(t, out.s, 1, again);
    json_decref(again);
    text_free(&out);
    text_free(&pieces);
    json_decref(golden);
    tokenizer_free(t);
}

static void test_stories_facts(void **state)
{
    (void)state;
    struct tokenizer *t = need_stories();
    int len;
    assert_int_equal(tokenizer_vocab(t), 512);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_string_equal(tokenizer_kind(t), "byte-fallback BPE");
    assert_memory_equal(tokenizer_piece(t, 265, &len), " the", 4);
    assert_int_equal(len, 4);
    assert_memory_equal(tokenizer_piece(t, 13, &len), "\n", 1); /* <0x0A> */
    assert_int_equal(len, 1);
    assert_memory_equal(tokenizer_piece(t, 1, &len), "<s>", 3);
    tokenizer_piece(t, 512, &len);
    assert_int_equal(len, 0);
    tokenizer_piece(t, -7, &len);
    assert_int_equal(len, 0);
    struct text out = {0};
    int end[3];
    tokenizer_decode(t, (int32_t[]){-1, 512, 1 << 30}, 3, 1, &out, end);
    assert_int_equal(out.len, 0);
    assert_int_equal(end[2], 0);
    text_free(&out);
    tokenizer_free(t);
}

/* What is encoded comes back, with U+FFFD where it was no UTF-8. */
static void expect_round_trip(const struct tokenizer *t, const char *text, int len, int32_t **ids, int *cap)
{
    struct error e = {""};
    struct text out = {0}, want = {0};
    int n = tokenizer_encode(t, text, len, 1, ids, cap, &e);
    if (n < 0)
        fail_msg("%s", e.text);
    tokenizer_decode(t, *ids, n, 1, &out, NULL);
    utf8_repair(text, len, &want);
    assert_int_equal(out.len, want.len);
    if (out.len)
        assert_memory_equal(out.s, want.s, out.len);
    text_free(&out);
    text_free(&want);
}

/* Random bytes, most of them no valid UTF-8. What cannot come back is an added token's name or U+2581, which is the
 * space's own sign: the alphabet below holds neither '<' nor its first byte. */
static void test_bytes_round_trip(void **state)
{
    (void)state;
    struct tokenizer *t = need_stories();
    int32_t *ids = NULL;
    int cap = 0;
    struct rng r = rng_stream(3, RNG_TEST, 0, 0, 0);
    uint64_t at = 0;
    for (int trial = 0; trial < 500; trial++) {
        char text[64];
        int len = rng_below(r, at++, 64);
        for (int i = 0; i < len; i++) {
            text[i] = (char)rng_below(r, at++, trial % 2 ? 256 : 128);
            if (text[i] == '<' || (unsigned char)text[i] == 0xe2)
                text[i] = ' ';
        }
        expect_round_trip(t, text, len, &ids, &cap);
    }
    mem_free(ids);
    tokenizer_free(t);
}

/* Ten times the text takes about ten times as long; the square would take a hundred times. */
static void test_linear_time(void **state)
{
    (void)state;
    struct tokenizer *t = need_stories();
    int32_t *ids = NULL;
    int cap = 0;
    static const char *const units[] = {"a", "aaaaaaab", "the ", "Lily went to the park. ", "\xf0\x9f\x98\x80",
                                        "<", "</s"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        double seconds[2];
        for (int k = 0; k < 2; k++) {
            int len = k ? 1 << 20 : 1 << 17, unit = (int)strlen(units[u]);
            char *text = mem_alloc((size_t)len, 1);
            for (int i = 0; i < len; i++)
                text[i] = units[u][i % unit];
            struct error e = {""};
            clock_t start = clock(); /* of this process: others must not fail a test */
            int n = tokenizer_encode(t, text, len, 0, &ids, &cap, &e);
            seconds[k] = (double)(clock() - start) / CLOCKS_PER_SEC;
            assert_true(n > 0);
            mem_free(text);
        }
        if (seconds[1] > 0.5 && seconds[1] > 32 * seconds[0])
            fail_msg("%s: %.3f s for 128 KiB, %.3f s for 1 MiB", units[u], seconds[0], seconds[1]);
    }
    mem_free(ids);
    tokenizer_free(t);
}

static char *read_file(const char *path, size_t *len)
{
    struct error e = {""};
    char *s = file_read(path, 1 << 24, len, &e);
    if (!s)
        fail_msg("%s", e.text);
    return s;
}

static void test_save_carries_over(void **state)
{
    (void)state;
    struct tokenizer *t = need_stories();
    struct error e = {""};
    char path[128];
    size_t a_len, b_len;
    if (tokenizer_save(t, folder, &e))
        fail_msg("%s", e.text);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    char *a = read_file(STORIES "hf/tokenizer.json", &a_len), *b = read_file(path, &b_len);
    assert_int_equal(a_len, b_len);
    assert_memory_equal(a, b, a_len);
    mem_free(a);
    mem_free(b);
    tokenizer_free(t);
    assert_int_equal(unlink(path), 0);
}

static void expect_chars(const struct tokenizer *t)
{
    struct error e = {""};
    int32_t *ids = NULL;
    int cap = 0;
    assert_int_equal(tokenizer_vocab(t), 18);
    assert_int_equal(tokenizer_bos(t), -1);
    assert_int_equal(tokenizer_eos(t), 0);
    assert_string_equal(tokenizer_kind(t), "characters");
    int n = tokenizer_encode(t, "3+5=\n#", 6, 1, &ids, &cap, &e);
    assert_int_equal(n, 6);
    static const int32_t want[] = {4, 11, 6, 14, 17, 16}; /* places in the alphabet, counted from 1 */
    assert_memory_equal(ids, want, sizeof want);
    assert_int_equal(tokenizer_encode(t, "", 0, 1, &ids, &cap, &e), 0);
    n = tokenizer_encode(t, "1<eos>2", 7, 1, &ids, &cap, &e);
    assert_int_equal(n, 3);
    assert_int_equal(ids[1], 0);
    mem_free(ids);
    struct text out = {0};
    tokenizer_decode(t, (int32_t[]){4, 11, 0, 6, 99}, 5, 1, &out, NULL);
    assert_string_equal(out.s, "3+5");
    text_free(&out);
}

static void test_characters(void **state)
{
    (void)state;
    struct error e = {""};
    struct tokenizer *t = tokenizer_chars("0123456789+-*=?#\n", 1, &e);
    if (!t)
        fail_msg("%s", e.text);
    expect_chars(t);
    assert_int_equal(tokenizer_save(t, folder, &e), 0);
    struct tokenizer *again = tokenizer_open(folder, &e);
    if (!again)
        fail_msg("%s", e.text);
    expect_chars(again);
    tokenizer_free(again);
    tokenizer_free(t);
}

static void test_unknown_character(void **state)
{
    (void)state;
    struct error e = {""};
    int32_t *ids = NULL;
    int cap = 0;
    struct tokenizer *t = tokenizer_chars("abc ", 1, &e);
    assert_int_equal(tokenizer_encode(t, "ab cx", 5, 1, &ids, &cap, &e), -1);
    assert_non_null(strstr(e.text, "'x' at byte 4"));
    assert_int_equal(tokenizer_encode(t, "a\0b", 3, 1, &ids, &cap, &e), -1);
    assert_non_null(strstr(e.text, "0x00 at position 1"));
    assert_int_equal(tokenizer_encode(t, "\xff", 1, 1, &ids, &cap, &e), -1);
    assert_int_equal(tokenizer_encode(t, "\xc3\xa9", 2, 1, &ids, &cap, &e), -1);
    assert_non_null(strstr(e.text, "\xc3\xa9"));
    mem_free(ids);
    tokenizer_free(t);
    assert_null(tokenizer_chars("", 1, &e));
    assert_null(tokenizer_chars("aba", 1, &e));
    assert_null(tokenizer_chars("a\xc3", 1, &e));
    assert_non_null(strstr(e.text, "byte 0xc3"));
    assert_null(tokenizer_chars("\xc3\xa9z\xc3\xa9", 1, &e));
}

/* Characters of several bytes are one token each; without an end of sequence they are numbered from 0. */
static void test_wide_characters(void **state)
{
    (void)state;
    struct error e = {""};
    struct text back = {0};
    int32_t *ids = NULL;
    int cap = 0;
    static const int32_t want[] = {1, 3, 0, 2};
    struct tokenizer *t = tokenizer_chars("a\xc3\xa9\xe2\x80\x99\xf0\x9f\x99\x82", 0, &e);
    if (!t)
        fail_msg("%s", e.text);
    assert_int_equal(tokenizer_vocab(t), 4);
    assert_int_equal(tokenizer_eos(t), -1);
    const char *text = "\xc3\xa9\xf0\x9f\x99\x82"
                       "a\xe2\x80\x99";
    assert_int_equal(tokenizer_encode(t, text, (int)strlen(text), 1, &ids, &cap, &e), 4);
    assert_memory_equal(ids, want, sizeof want);
    tokenizer_decode(t, ids, 4, 1, &back, NULL);
    assert_string_equal(back.s, text);
    text_free(&back);
    mem_free(ids);
    tokenizer_free(t);
}

/* A whole small file: %s are vocabulary, merges, added tokens, and other members of the file and of the model. */
struct variant {
    const char *vocab, *merges, *added, *root, *model, *message;
};

static char *write_variant(const struct variant *v)
{
    static char path[128];
    struct text json = {0};
    struct error e = {""};
    text_addf(&json, "{\"added_tokens\":[%s],%s,\"model\":{%s,\"vocab\":{%s},\"merges\":[%s]}}",
              v->added ? v->added : "", v->root ? v->root : "\"decoder\":{\"type\":\"Fuse\"}",
              v->model ? v->model : "\"type\":\"BPE\"", v->vocab ? v->vocab : "\"a\":0,\"b\":1",
              v->merges ? v->merges : "");
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    if (file_write(path, json.s, (size_t)json.len, &e))
        fail_msg("%s", e.text);
    text_free(&json);
    return path;
}

#define ADDED(more) "{\"id\":0,\"content\":\"a\",\"special\":true" more "}"
#define FUSE        "\"decoder\":{\"type\":\"Fuse\"}"
#define BPE         "\"type\":\"BPE\""

static void test_refusals(void **state)
{
    (void)state;
    static const struct variant cases[] = {
        {.message = NULL}, /* the plain file is good, so each of the others is refused for its own reason */
        {.added = ADDED(""), .message = NULL},
        {.vocab = "\"a\":0,\"b\":0", .message = "id 0 is given"},
        {.vocab = "\"a\":0,\"a\":1", .message = "duplicate"},
        {.vocab = "\"a\":0,\"b\":-1", .message = "the id of \"b\""},
        {.vocab = "\"a\":0,\"b\":99999999999", .message = "the id of \"b\""},
        {.vocab = "\"a\":0,\"b\":1e300", .message = "the id of \"b\""},
        {.vocab = "\"a\":0,\"b\":\"1\"", .message = "the id of \"b\""},
        {.vocab = "\"a\":0,\"\":1", .message = "empty"},
        {.vocab = "\"a\":0,\"bc\":1", .message = "longer than a character"},
        {.vocab = "", .message = "empty"},
        {.merges = "\"a b\"", .message = "makes \"ab\""},
        {.merges = "\"a c\"", .message = "names \"c\""},
        {.merges = "\"ab\"", .message = "merge 0 is neither"},
        {.merges = "\"a b c\"", .message = "merge 0 is neither"},
        {.merges = "[\"a\"]", .message = "merge 0 is neither"},
        {.merges = "[\"a\",1]", .message = "merge 0 is neither"},
        {.merges = "7", .message = "merge 0 is neither"},
        {.vocab = "\"a\":0,\"b\":1,\"ab\":2", .merges = "\"a b\",[\"a\",\"b\"]", .message = "repeats merge 0"},
        {.vocab = "\"a\":0,\"b\":1,\"ab\":2", .merges = "\"a b\"", .message = "byte_fallback"},
        {.model = BPE ",\"byte_fallback\":true", .message = "<0x00>"},
        {.model = BPE ",\"unk_token\":\"<unk>\"", .message = "\"unk_token\" is \"<unk>\""},
        {.model = BPE ",\"unk_token\":\"a\"", .message = "unk_token"},
        {.model = BPE ",\"unk_token\":3", .message = "unk_token"},
        {.model = BPE ",\"dropout\":0.1", .message = "dropout"},
        {.model = BPE ",\"end_of_word_suffix\":\"</w>\"", .message = "end_of_word_suffix"},
        {.model = BPE ",\"continuing_subword_prefix\":\"##\"", .message = "continuing_subword_prefix"},
        {.model = BPE ",\"surprise\":1", .message = "\"surprise\""},
        {.model = BPE ",\"ignore_merges\":\"yes\"", .message = "ignore_merges"},
        {.model = "\"type\":\"Unigram\"", .message = "Unigram"},
        {.model = "\"unk_token\":null", .message = NULL}, /* old files do not say the type */
        {.model = "\"type\":7", .message = "type"},
        {.root = FUSE ",\"pre_tokenizer\":{\"type\":\"ByteLevel\"}", .message = "the decoder Fuse with"},
        {.root = "\"decoder\":{\"type\":\"ByteLevel\"}", .message = "the decoder ByteLevel without"},
        {.root = FUSE ",\"pre_tokenizer\":{\"type\":\"Punctuation\"}", .message = "Punctuation"},
        {.root = FUSE ",\"truncation\":{\"max_length\":5}", .message = "truncation"},
        {.root = FUSE ",\"padding\":{}", .message = "padding"},
        {.root = FUSE ",\"normalizer\":{\"type\":\"Lowercase\"}", .message = "Lowercase"},
        {.root = FUSE ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" \"},\"content\":\"\"}",
         .message = "Regex"},
        {.root = FUSE ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":7}", .message = "normalizers"},
        {.root = FUSE ",\"normalizer\":7", .message = "normalizer"},
        {.root = FUSE ",\"post_processor\":{\"type\":\"BertProcessing\"}", .message = "BertProcessing"},
        {.root = FUSE ",\"post_processor\":{\"type\":\"TemplateProcessing\"}", .message = "single"},
        {.root =
             FUSE ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"s\"}},"
                  "{\"Sequence\":{}}],\"special_tokens\":{\"s\":{\"ids\":[77]}}}",
         .message = "77"},
        {.root =
             FUSE ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"s\"}},"
                  "{\"Sequence\":{}}],\"special_tokens\":{\"s\":{\"ids\":[0,1]}}}",
         .message = "no single id"},
        {.root = FUSE ",\"surprise\":1", .message = "surprise"},
        {.root = "\"decoder\":null", .message = "decoder"},
        {.root = "\"decoder\":{\"type\":\"WordPiece\"}", .message = "WordPiece"},
        {.root = "\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}", .message = "Strip"},
        {.root = "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},"
                 "{\"type\":\"Strip\",\"content\":\" \",\"start\":9,\"stop\":0}]}",
         .message = "start"},
        {.added = "7", .message = "added"},
        {.added = ADDED(",\"lstrip\":true,\"rstrip\":true,\"normalized\":true"), .message = NULL},
        {.added = ADDED(",\"lstrip\":1"), .message = "lstrip"},
        {.added = ADDED(",\"surprise\":true"), .message = "surprise"},
        {.added = ADDED(",\"special\":1"), .message = "special"},
        {.added = ADDED("") "," ADDED(""), .message = "twice"},
        {.added = "{\"id\":1,\"content\":\"a\"}", .message = "id 1, in the vocabulary it has 0"},
        {.added = "{\"id\":1,\"content\":\"c\"}", .message = "id 1 is given"},
        {.added = "{\"id\":3,\"content\":\"\"}", .message = "empty"},
        {.added = "{\"id\":1e9,\"content\":\"c\"}", .message = "id"},
        {.added = "{\"content\":\"c\"}", .message = "id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {""};
        const char *path = write_variant(&cases[i]);
        struct tokenizer *t = tokenizer_open(folder, &e);
        if (!cases[i].message) {
            if (!t)
                fail_msg("case %zu: %s", i, e.text);
            tokenizer_free(t);
            continue;
        }
        if (t)
            fail_msg("case %zu was not refused (%s)", i, cases[i].message);
        if (!strstr(e.text, cases[i].message) || strncmp(e.text, path, strlen(path)))
            fail_msg("case %zu: '%s' does not say '%s'", i, e.text, cases[i].message);
    }
}

/* Every beginning of a good file, and the file with single bytes changed, is read or refused, but never worse. */
static void test_broken_files(void **state)
{
    (void)state;
    struct tokenizer *t = need_stories();
    tokenizer_free(t);
    char path[128];
    size_t len;
    char *json = read_file(STORIES "hf/tokenizer.json", &len);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    struct rng r = rng_stream(4, RNG_TEST, 0, 0, 0);
    for (uint64_t trial = 0; trial < 300; trial++) {
        struct error e = {""};
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        size_t at = (size_t)rng_below(r, 2 * trial, (int)len);
        if (trial % 2) {
            assert_int_equal(fwrite(json, 1, at, f), at);
        } else {
            char kept = json[at];
            json[at] = (char)rng_below(r, 2 * trial + 1, 256);
            assert_int_equal(fwrite(json, 1, len, f), len);
            json[at] = kept;
        }
        assert_int_equal(fclose(f), 0);
        t = tokenizer_open(folder, &e);
        assert_true(trial % 2 == 0 || !t);
        assert_true(t || e.text[0]);
        tokenizer_free(t);
    }
    mem_free(json);
    struct error e = {""};
    assert_int_equal(unlink(path), 0);
    assert_null(tokenizer_open(folder, &e));
    assert_non_null(strstr(e.text, "tokenizer.json"));
    assert_null(tokenizer_open("/nowhere/at/all", &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_encode),     cmocka_unit_test(test_reference_encode),
        cmocka_unit_test(test_golden_decode),     cmocka_unit_test(test_stories_facts),
        cmocka_unit_test(test_bytes_round_trip),  cmocka_unit_test(test_linear_time),
        cmocka_unit_test(test_save_carries_over), cmocka_unit_test(test_characters),
        cmocka_unit_test(test_unknown_character), cmocka_unit_test(test_wide_characters),
        cmocka_unit_test(test_refusals),          cmocka_unit_test(test_broken_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
