/* The families of tokenizers against the reference: test/ref/tokenizer/ holds texts of every kind (texts.jsonl) and,
 * per family, the ids that Hugging Face tokenizers 0.23.3 gives them and the text it reads back
 * (dev/reference/tokenizers.py wrote both). Then what the vectors cannot show: streaming, normal forms, splitting,
 * files that are refused, time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../data/tokenizer_inner.h"
#include "../model/base/file.h"
#include "../model/base/rng.h"
/* last: it needs the headers above, and its macro fail() would change ours */
#include <cmocka.h>

#define REF    "test/ref/tokenizer/"
#define SHARED "../shared/data/"

#define FOLDER "/tmp/test_tokenizer.XXXXXX"
#include "folder.h"

static int is_alone(void) /* a clone of this repository, without the data beside it */
{
    int alone = !file_is_directory(SHARED);
    if (alone)
        print_message("no " SHARED "\n");
    return alone;
}

static struct tokenizer *need(const char *path)
{
    struct error e = {""};
    if (strncmp(path, SHARED, sizeof SHARED - 1) == 0 && is_alone())
        skip();
    struct tokenizer *t = tokenizer_open(path, &e);
    if (!t)
        fail_msg("%s", e.text);
    return t;
}

static void put_file(const char *name, const char *text)
{
    char path[128];
    struct error e = {""};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (file_write(path, text, strlen(text), &e))
        fail_msg("%s", e.text);
}

static void empty_folder(void)
{
    static const char *const names[] = {"tokenizer.json",        "vocab.json",    "merges.txt",
                                        "encoder.json",          "vocab.bpe",     "config.json",
                                        "tokenizer_config.json", "tokenizer.bin", "added_tokens.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
}

/* ---- the reference's ids ---- */

struct bytes {
    char s[1024];
    int len;
};

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return (int)(strchr(digits, c) - digits);
}

static void base64(const char *s, struct bytes *b)
{
    b->len = 0;
    for (; *s; s += 4) {
        int n = s[2] == '=' ? 1 : s[3] == '=' ? 2 : 3;
        unsigned word = 0;
        for (int k = 0; k < 4; k++)
            word = word << 6 | (unsigned)(s[k] == '=' ? 0 : digit_of(s[k]));
        for (int k = 0; k < n; k++)
            b->s[b->len++] = (char)(word >> (16 - 8 * k));
        assert_true(b->len < (int)sizeof b->s - 3);
    }
}

static json_t *next_line(FILE *f)
{
    char line[1 << 14];
    if (!fgets(line, sizeof line, f))
        return NULL;
    json_t *v = json_loads(line, JSON_ALLOW_NUL, NULL);
    assert_non_null(v);
    return v;
}

static void expect_line(const struct tokenizer *t, const struct bytes *b, const json_t *want, const char *name,
                        int line)
{
    int32_t *ids = NULL;
    int cap = 0;
    struct error e = {""};
    const json_t *list = json_object_get(want, "ids");
    int n = tokenizer_encode(t, b->s, b->len, 2, &ids, &cap, &e);
    if (n < 0)
        fail_msg("%s, text %d: %s", name, line, e.text);
    if (n != (int)json_array_size(list))
        fail_msg("%s, text %d: %d ids, not %zu", name, line, n, json_array_size(list));
    for (int i = 0; i < n; i++)
        if (ids[i] != json_integer_value(json_array_get(list, (size_t)i)))
            fail_msg("%s, text %d: id number %d is %d", name, line, i, ids[i]);
    struct text out = {0}, repaired = {0}, given = {0};
    tokenizer_decode(t, ids, n, 1, &out, NULL);
    text_add(&repaired, "", 0);
    utf8_repair(out.s ? out.s : "", out.len, &repaired);
    text_add(&given, "", 0);
    utf8_repair(b->s, b->len, &given);
    const json_t *text = json_object_get(want, "text");
    const char *back = text ? json_string_value(text) : given.s;
    int back_len = text ? (int)json_string_length(text) : given.len;
    if (repaired.len != back_len || memcmp(repaired.s, back, (size_t)back_len))
        fail_msg("%s, text %d reads back as '%s', not '%s'", name, line, repaired.s, back);
    text_free(&out);
    text_free(&repaired);
    text_free(&given);
    mem_free(ids);
}

static void expect_family(const char *name, const char *path)
{
    char vectors[128];
    snprintf(vectors, sizeof vectors, REF "%s.jsonl", name);
    FILE *texts = fopen(REF "texts.jsonl", "r"), *ids = fopen(vectors, "r");
    if (!texts || !ids)
        fail_msg("%s is not there", vectors);
    struct tokenizer *t = need(path);
    json_t *text, *want;
    int lines = 0;
    for (; (text = next_line(texts)); lines++) {
        struct bytes b;
        base64(json_get_string(text, "bytes", ""), &b);
        want = next_line(ids);
        assert_non_null(want);
        expect_line(t, &b, want, name, lines);
        json_decref(text);
        json_decref(want);
    }
    assert_true(lines >= 150);
    assert_null(next_line(ids));
    fclose(texts);
    fclose(ids);
    tokenizer_free(t);
}

static void test_gpt2(void **state)
{
    (void)state;
    expect_family("gpt2", SHARED "gpt2-bpe");
}

static void test_qwen2(void **state)
{
    (void)state;
    expect_family("qwen2", SHARED "qwen2-bpe");
}

static void test_stories(void **state)
{
    (void)state;
    expect_family("stories", SHARED "stories260K/hf");
    expect_family("stories", SHARED "stories260K/tok512.bin");
}

static void test_small(void **state)
{
    (void)state;
    static const char *const names[] = {"llama3", "smollm2", "prefixed", "splits", "llama2", "metaspace"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, REF "%s", names[i]);
        expect_family(names[i], path);
    }
}

static void test_facts(void **state)
{
    (void)state;
    int len;
    struct tokenizer *t = need(SHARED "qwen2-bpe");
    assert_int_equal(tokenizer_vocab(t), 151646);
    assert_int_equal(tokenizer_bos(t), -1);
    assert_int_equal(tokenizer_eos(t), 151645); /* <|im_end|>, as tokenizer_config.json says */
    assert_string_equal(tokenizer_kind(t), "byte-level BPE");
    tokenizer_free(t);
    t = need(SHARED "gpt2-bpe");
    assert_int_equal(tokenizer_vocab(t), 50257);
    assert_int_equal(tokenizer_eos(t), 50256);
    assert_memory_equal(tokenizer_piece(t, 262, &len), " the", 4);
    assert_int_equal(len, 4);
    /* What it saves is a tokenizer.json that means the same. */
    struct error e = {""};
    if (tokenizer_save(t, folder, &e))
        fail_msg("%s", e.text);
    tokenizer_free(t);
    expect_family("gpt2", folder);
    empty_folder();
    t = need(REF "llama3");
    assert_int_equal(tokenizer_bos(t), 0);
    tokenizer_free(t);
    /* A prompt has what stands in front of a text, not what stands behind it. */
    int32_t *ids = NULL;
    int cap = 0;
    t = need(REF "prefixed");
    assert_int_equal(tokenizer_encode(t, "", 0, 1, &ids, &cap, &e), 2);
    assert_true(ids[0] == 0 && ids[1] == 2);
    assert_int_equal(tokenizer_encode(t, "", 0, 2, &ids, &cap, &e), 3);
    assert_int_equal(ids[2], 1);
    assert_int_equal(tokenizer_encode(t, "", 0, 0, &ids, &cap, &e), 0);
    mem_free(ids);
    tokenizer_free(t);
}

/* ---- streaming ---- */

static void test_stream(void **state)
{
    (void)state;
    /* "né 👍🏽!" then a lone lead byte, as bytes of GPT-2: each character comes whole, with its last byte. */
    struct tokenizer *t = need(SHARED "gpt2-bpe");
    static const char text[] = "n\xc3\xa9 \xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd!";
    struct tokenizer_stream s = {.begins = 1};
    struct text out = {0};
    text_add(&out, "", 0);
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        int before = out.len;
        tokenizer_stream_add(t, &s, t->byte_id[(unsigned char)text[i]], &out);
        assert_true(utf8_valid(out.s, out.len));
        assert_int_equal(out.len + s.part_len, (int)i + 1);
        assert_true(out.len == before || out.len == (int)i + 1);
    }
    assert_memory_equal(out.s, text, sizeof text - 1);
    tokenizer_stream_add(t, &s, t->byte_id[0xe2], &out);
    tokenizer_stream_add(t, &s, t->byte_id[0x82], &out);
    assert_int_equal(out.len, (int)sizeof text - 1);
    tokenizer_stream_add(t, &s, t->byte_id['a'], &out); /* what came was no beginning of this */
    assert_string_equal(out.s + sizeof text - 1, "\xef\xbf\xbd"
                                                 "a");
    tokenizer_stream_add(t, &s, t->byte_id[0xf0], &out);
    tokenizer_stream_add(t, &s, 50256, &out); /* special tokens give nothing and end nothing */
    tokenizer_stream_end(&s, &out);
    tokenizer_stream_end(&s, &out);
    assert_string_equal(out.s + sizeof text - 1, "\xef\xbf\xbd"
                                                 "a\xef\xbf\xbd");
    text_free(&out);
    tokenizer_free(t);
    /* The space that encoding put in front is dropped once. */
    t = need(SHARED "stories260K/hf");
    s = (struct tokenizer_stream){.begins = 1};
    struct text begun = {0};
    tokenizer_stream_add(t, &s, 1, &begun);
    tokenizer_stream_add(t, &s, 265, &begun);
    tokenizer_stream_add(t, &s, 265, &begun);
    assert_string_equal(begun.s, "the the");
    text_free(&begun);
    tokenizer_free(t);
}

/* ---- cuts ---- */

/* A tokenizer.json around a pre_tokenizer and a decoder, with bytes or characters. */
static struct tokenizer *with_pre_tokenizer(const char *pre_tokenizer, struct error *e)
{
    struct text json = {0};
    int bytes = strstr(pre_tokenizer, "ByteLevel") != NULL;
    text_addf(&json,
              "{\"added_tokens\":[],\"pre_tokenizer\":%s,\"decoder\":{\"type\":\"%s\"},\"model\":{\"type\":\"BPE\","
              "\"vocab\":{\"a\":0},\"merges\":[]}}",
              pre_tokenizer, bytes ? "ByteLevel" : "Fuse");
    put_file("tokenizer.json", json.s);
    text_free(&json);
    return tokenizer_open(folder, e);
}

static int note_word(void *context, const char *s, int len)
{
    text_add(context, s, len);
    text_add(context, ",", 1);
    return 0;
}

static void expect_cut(const char *pre_tokenizer, const char *text, const char *words)
{
    struct error e = {""};
    struct tokenizer *t = with_pre_tokenizer(pre_tokenizer, &e);
    if (!t)
        fail_msg("%s", e.text);
    struct workspace w = {0};
    struct text got = {0};
    assert_int_equal(cut_text(t, &w, text, (int)strlen(text), 1, note_word, &got, &e), 0);
    assert_string_equal(got.s, words);
    text_free(&got);
    matcher_free(w.matcher);
    tokenizer_free(t);
}

static void test_cuts(void **state)
{
    (void)state;
#define SPLIT(pattern, behavior, invert)                                                                               \
    "{\"type\":\"Split\",\"pattern\":" pattern ",\"behavior\":\"" behavior "\",\"invert\":" invert "}"
#define DASH "{\"String\":\"-\"}"
    static const char text[] = "the-final--countdown-"; /* the library's documented example, and a match at the end */
    expect_cut(SPLIT(DASH, "Isolated", "false"), text, "the,-,final,-,-,countdown,-,");
    expect_cut(SPLIT(DASH, "Removed", "false"), text, "the,final,countdown,");
    expect_cut(SPLIT(DASH, "Contiguous", "false"), text, "the,-,final,--,countdown,-,");
    expect_cut(SPLIT(DASH, "MergedWithPrevious", "false"), text, "the-,final-,-,countdown-,");
    expect_cut(SPLIT(DASH, "MergedWithNext", "false"), text, "the,-final,-,-countdown,-,");
    expect_cut(SPLIT("{\"Regex\":\"[a-z]+\"}", "Removed", "true"), text, "the,final,countdown,");
    expect_cut(SPLIT("{\"Regex\":\"-+\"}", "Isolated", "false"), "--a", "--,a,");
    expect_cut("{\"type\":\"Digits\",\"individual_digits\":true}", "a12b3", "a,1,2,b,3,");
    expect_cut("{\"type\":\"Digits\",\"individual_digits\":false}", "a12b3", "a,12,b,3,");
    expect_cut("{\"type\":\"ByteLevel\"}", "it's 12  x", " it,'s, 12, , x,");
    expect_cut("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}", "it's 12  x", "it's 12  x,");
    expect_cut(
        "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(DASH, "Removed", "false") ",{\"type\":\"ByteLevel\"}]}",
        "a-b c", " a, b, c,");
    expect_cut("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\"}", "a  b", "_a,_,_b,");
    expect_cut("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"never\",\"split\":false}", "a b",
               "a_b,");
    expect_cut("{\"type\":\"Metaspace\",\"replacement\":\"_\"}", " a", "_a,");
}

/* ---- files that are refused ---- */

static void test_part_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *pre_tokenizer, *message;
    } cases[] = {
        {"{\"type\":\"Whitespace\"}", "a pre_tokenizer of type Whitespace"},
        {"{\"type\":\"BertPreTokenizer\"}", "BertPreTokenizer"},
        {"7", "pre_tokenizer of type (without"},
        {"{\"type\":\"ByteLevel\",\"surprise\":1}", "surprise"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]}",
         "Digits after Byte"},
        {SPLIT("{\"Regex\":\"\\\\w\"}", "Isolated", "false"), "\"\\w\""},
        {SPLIT(DASH, "Sideways", "false"), "Sideways"},
        {SPLIT("{\"String\":\"\"}", "Isolated", "false"), "empty"},
        {SPLIT("{\"String\":\"a\",\"Regex\":\"a\"}", "Isolated", "false"), "not one text"},
        {SPLIT("{\"Glob\":\"a\"}", "Isolated", "false"), "Glob"},
        {SPLIT("7", "Isolated", "false"), "pattern"},
        {SPLIT("{\"String\":\"0123456789012345678901234567890123456789\"}", "Isolated", "false"), "40 bytes"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"__\"}", "one character"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}", "last"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\",\"add_prefix_space\":false}",
         "contradict"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {""};
        struct tokenizer *t = with_pre_tokenizer(cases[i].pre_tokenizer, &e);
        if (t)
            fail_msg("%s was not refused", cases[i].pre_tokenizer);
        if (!strstr(e.text, cases[i].message))
            fail_msg("%s: '%s' does not say '%s'", cases[i].pre_tokenizer, e.text, cases[i].message);
    }
    empty_folder();
}

#define CLASS(name) "{\"tokenizer_class\":\"" name "\"}"

static void test_vocab_files(void **state)
{
    (void)state;
    static const struct {
        const char *vocab, *merges, *settings, *config, *message;
    } cases[] = {
        {"{\"a\":0,\"b\":1,\"ab\":2}", "#version: 0.2\na b\n\n", CLASS("GPT2TokenizerFast"), NULL, NULL},
        {"{\"a\":0,\"b\":1,\"ab\":2}", "a b\r\n", NULL, "{\"model_type\":\"gpt2\"}", NULL},
        {"{\"a\":0,\"b\":1,\"ab\":2}", "a b", CLASS("Qwen2Tokenizer"), NULL, NULL},
        {"{\"a\":0}", "", NULL, NULL, "tokenizer_class"},
        {"{\"a\":0}", "", NULL, "{\"model_type\":\"bert\"}", "bert"},
        {"{\"a\":0}", "", CLASS("GPT2TokenizerFaster"), NULL, "GPT2TokenizerFaster"},
        {"{\"a\":0}", "", CLASS("RobertaTokenizer"), "{\"model_type\":\"gpt2\"}", "RobertaTokenizer"},
        {"{\"a\":0}", "a b c\n", CLASS("GPT2Tokenizer"), NULL, "merge 0 is neither"},
        {"{\"a\":0}", "a b\n", CLASS("GPT2Tokenizer"), NULL, "names \"b\""},
        {"{\"a\":0}", "a \xff\n", CLASS("GPT2Tokenizer"), NULL, "line 1 is not UTF-8"},
        {"[]", "", CLASS("GPT2Tokenizer"), NULL, "vocab"},
        {"{", "", CLASS("GPT2Tokenizer"), NULL, "vocab.json"},
        {"{\"a\":0}", "", "{", NULL, "tokenizer_config.json"},
        {"{\"a\":0}", "", "{\"tokenizer_class\":\"GPT2Tokenizer\",\"eos_token\":\"<x>\"}", NULL,
         "<x>, which has no id"},
        {"{\"a\":0}", "", "{\"tokenizer_class\":\"GPT2Tokenizer\",\"eos_token\":7}", NULL, "eos_token"},
        {"{\"a\":0}", "", "{\"tokenizer_class\":\"GPT2Tokenizer\",\"add_bos_token\":true}", NULL, "add_bos_token"},
        {"{\"a\":0}", "", "{\"tokenizer_class\":\"GPT2Tokenizer\",\"added_tokens_decoder\":{\"x\":{}}}", NULL, "\"x\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {""};
        put_file("vocab.json", cases[i].vocab);
        put_file("merges.txt", cases[i].merges);
        if (cases[i].settings)
            put_file("tokenizer_config.json", cases[i].settings);
        if (cases[i].config)
            put_file("config.json", cases[i].config);
        assert_true(tokenizer_exists(folder));
        struct tokenizer *t = tokenizer_open(folder, &e);
        if (!t != !!cases[i].message || (!t && !strstr(e.text, cases[i].message)))
            fail_msg("case %zu: '%s'", i, t ? "not refused" : e.text);
        int32_t *ids = NULL;
        int cap = 0;
        if (t) {
            assert_int_equal(tokenizer_encode(t, "abba", 4, 1, &ids, &cap, &e), 3);
            assert_true(ids[0] == 2 && ids[1] == 1 && ids[2] == 0);
        }
        mem_free(ids);
        tokenizer_free(t);
        empty_folder();
        assert_false(tokenizer_exists(folder));
    }
}

/* Every beginning of a good tokenizer.bin that ends in the middle of a token is refused, and so is every other size. */
static void test_broken_bin(void **state)
{
    (void)state;
    struct error e = {""};
    size_t len, whole = 4;
    if (is_alone())
        skip();
    char *file = file_read(SHARED "stories260K/tok512.bin", 1 << 20, &len, &e), path[128];
    if (!file)
        fail_msg("%s", e.text);
    snprintf(path, sizeof path, "%s/tokenizer.bin", folder);
    int tokens = 0;
    for (size_t n = 0; n < len; n += n < 64 || n > len - 64 ? 1 : 7) {
        while (whole <= n && whole < len) { /* where tokens end */
            uint32_t size;
            memcpy(&size, file + whole + 4, 4);
            if (whole + 8 + size > n)
                break;
            whole += 8 + size;
            tokens++;
        }
        assert_int_equal(file_write(path, file, n, &e), 0);
        struct tokenizer *t = tokenizer_open(folder, &e);
        if (t && (n != whole || tokens < 259))
            fail_msg("%zu bytes, %d tokens, were not refused", n, tokens);
        tokenizer_free(t);
    }
    struct rng r = rng_stream(5, RNG_TEST, 0, 0, 0);
    for (uint64_t trial = 0; trial < 300; trial++) {
        size_t at = (size_t)rng_below(r, 2 * trial, (int)len);
        char kept = file[at];
        file[at] = (char)rng_below(r, 2 * trial + 1, 256);
        assert_int_equal(file_write(path, file, len, &e), 0);
        e.text[0] = 0;
        struct tokenizer *t = tokenizer_open(folder, &e);
        assert_true(t || e.text[0]);
        tokenizer_free(t);
        file[at] = kept;
    }
    mem_free(file);
    empty_folder();
}

/* ---- time ---- */

static double cpu_seconds(void) /* not the clock's: other programs must not fail a test */
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static char *repeated(const char *unit, int len)
{
    char *text = mem_alloc((size_t)len, 1);
    for (int i = 0, n = (int)strlen(unit); i < len; i++)
        text[i] = unit[i % n];
    return text;
}

/* Eight times the text takes about eight times as long, whatever it is made of; the square would take 64 times. */
static void expect_linear(const char *what, const char *unit, const double seconds[2])
{
    if (seconds[1] > 0.5 && seconds[1] > 32 * seconds[0])
        fail_msg("%s, '%s': %.3f s for 16 KiB, %.3f s for 128 KiB", what, unit, seconds[0], seconds[1]);
}

static void test_linear_time(void **state)
{
    (void)state;
    static const char *const paths[] = {SHARED "gpt2-bpe", REF "llama3", REF "llama2"};
    static const char *const units[] = {"a",  " ",        "\n ", "aaaaaaab", "1",       "\xcc\xa3\xcc\x81", "'",
                                        "<|", "\xff\xe2", "!?",  "word",     " <tool>", "e\xcc\x81"};
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
        struct tokenizer *t = need(paths[p]);
        int32_t *ids = NULL;
        int cap = 0;
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            double seconds[2];
            for (int k = 0; k < 2; k++) {
                int len = k ? 1 << 17 : 1 << 14;
                char *text = repeated(units[u], len);
                struct error e = {""};
                double start = cpu_seconds();
                assert_true(tokenizer_encode(t, text, len, 0, &ids, &cap, &e) > 0);
                seconds[k] = cpu_seconds() - start;
                mem_free(text);
            }
            expect_linear(paths[p], units[u], seconds);
        }
        mem_free(ids);
        tokenizer_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2),       cmocka_unit_test(test_qwen2),         cmocka_unit_test(test_stories),
        cmocka_unit_test(test_small),      cmocka_unit_test(test_facts),         cmocka_unit_test(test_stream),
        cmocka_unit_test(test_cuts),       cmocka_unit_test(test_part_refusals), cmocka_unit_test(test_vocab_files),
        cmocka_unit_test(test_broken_bin), cmocka_unit_test(test_linear_time),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
