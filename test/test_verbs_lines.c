/* The verbs that read lines, and sample: logprobs, tokenize, verify. Numbers are compared with the published ones
 * beside the models, never with what the program said before.
 */
#define FOLDER "/tmp/test_lines.XXXXXX"
#include "calls.h"

#define STORIES "../shared/data/stories260K/"
#define SORT    "../shared/data/gpt-nano-sort/hf"

/* ---- filters ---- */

static json_t *echo(void *context, const json_t *object, struct error *e)
{
    (void)context;
    if (json_object_get(object, "bad")) {
        snprintf(e->text, sizeof e->text, "quoted \xff byte");
        return NULL;
    }
    return json_incref((json_t *)object);
}

static void one_line_in_one_line_out(void **state)
{
    (void)state;
    static const char input[] =
        "{\"a\":1}\n\n[1]\n{\"bad\":1}\nnot json\n{\"a\":1,\"a\":2}\n{\"b\":0.1}\r\n\xff\xfe\n\"x\"\n{\"last\":2}";
    char out[4096] = "";
    FILE *in = fmemopen((void *)input, sizeof input - 1, "r"), *to = fmemopen(out, sizeof out, "w");
    assert_int_equal(lines_run(in, to, echo, NULL), 0);
    fclose(in);
    fclose(to);
    assert_int_equal(lines_in(out), 10);
    static const int good[10] = {1, 0, 0, 0, 0, 0, 1, 0, 0, 1};
    for (int i = 0; i < 10; i++) {
        json_t *o = object_at(out, i);
        assert_int_equal(json_object_get(o, "error") == NULL, good[i]);
        json_decref(o);
    }
    assert_non_null(strstr(out, "{\"b\":0.10000000000000001}\n"));
}

static void endless_line(void **state)
{
    (void)state;
    static const char tail[] = "\n{\"a\":1}\n";
    size_t len = MAX_LINE + 10 + sizeof tail;
    char *input = mem_alloc(len, 1), out[4096] = "";
    memset(input, ' ', len);
    memcpy(input + len - sizeof tail, tail, sizeof tail - 1);
    FILE *in = fmemopen(input, len - 1, "r"), *to = fmemopen(out, sizeof out, "w");
    assert_int_equal(lines_run(in, to, echo, NULL), 0);
    fclose(in);
    fclose(to);
    mem_free(input);
    assert_int_equal(lines_in(out), 2);
    assert_non_null(strstr(out, "longer than"));
    assert_non_null(strstr(out, "{\"a\":1}\n"));
}

/* ---- logprobs ---- */

static void logprobs_of_the_story_model(void **state)
{
    (void)state;
    struct error e;
    need(STORIES "golden.json");
    json_t *golden = json_read(STORIES "golden.json", &e), *line = json_object(), *ids;
    ids = json_deep_copy(json_object_get(golden, "greedy_ids"));
    json_array_insert_new(ids, 0, json_integer(1));
    json_object_set_new(line, "ids", ids);
    char *text = json_text(line);
    struct result r = call("logprobs|model.path=" STORIES "hf", text);
    assert_int_equal(r.status, 0);
    json_t *answer = object_at(r.out, 0), *logp = json_object_get(answer, "logp");
    json_t *want = json_object_get(golden, "greedy_logprob");
    assert_int_equal(json_array_size(logp), 257);
    assert_true(json_is_null(json_array_get(logp, 0)));
    for (size_t i = 0; i < 256; i++) {
        double x = json_number_value(json_array_get(logp, i + 1)), y = json_number_value(json_array_get(want, i));
        if (!(fabs(x - y) < 1e-4))
            fail_msg("token %zu: %.9g instead of %.9g", i, x, y);
    }
    free(text);
    done(&r);
    json_decref(answer);
    json_decref(line);
    json_decref(golden);
}

/* One tensor of a safetensors file of float32: 8 bytes of header length, the header, the data. */
static const float *partial(const char *file, const char *name)
{
    struct error e;
    uint64_t header;
    memcpy(&header, file, sizeof header);
    json_t *h = json_parse(file + 8, header, &e);
    json_t *at = json_array_get(json_object_get(json_object_get(h, name), "data_offsets"), 0);
    if (!at)
        fail_msg("no tensor %s", name);
    const float *x = (const float *)(file + 8 + header + json_integer_value(at));
    json_decref(h);
    return x;
}

/* The published logits of three sequences, turned into log-probabilities here. */
static void logprobs_of_the_sorting_model(void **state)
{
    (void)state;
    struct error e;
    size_t len;
    need(SORT "/partials.safetensors");
    char *file = file_read(SORT "/partials.safetensors", 1 << 24, &len, &e), input[600] = "";
    if (!file)
        fail_msg("%s", e.text);
    float idx[33], logits[99];
    memcpy(idx, partial(file, "idx"), sizeof idx);
    memcpy(logits, partial(file, "lm_head"), sizeof logits);
    for (int i = 0, at = 0; i < 33; i++)
        at += snprintf(input + at, sizeof input - (size_t)at, "%s%d%s", i % 11 ? "," : "{\"ids\":[", (int)idx[i],
                       i % 11 == 10 ? "]}\n" : "");
    struct result r = call("logprobs|model.path=" SORT, input);
    assert_int_equal(r.status, 0);
    assert_int_equal(lines_in(r.out), 3);
    for (int s = 0; s < 3; s++) {
        json_t *o = object_at(r.out, s);
        for (int t = 0; t < 10; t++) {
            const float *row = logits + (s * 11 + t) * 3;
            double sum = exp((double)row[0]) + exp((double)row[1]) + exp((double)row[2]);
            double want = row[(int)idx[s * 11 + t + 1]] - log(sum);
            double got = json_number_value(json_array_get(json_object_get(o, "logp"), (size_t)t + 1));
            if (!(fabs(got - want) < 2e-5))
                fail_msg("sequence %d, token %d: %.9g instead of %.9g", s, t + 1, got, want);
        }
        json_decref(o);
    }
    done(&r);
    mem_free(file);
}

static void logprobs_of_bad_lines(void **state)
{
    (void)state;
    need(SORT "/config.json");
    struct result r =
        call("logprobs|model.path=" SORT, "{\"ids\":[0,1,2,0,1,2,0,1,2,0,1,2]}\n" /* 12 > 11 */
                                          "{\"ids\":[0,3]}\n{\"ids\":[-1]}\n{\"ids\":[0.5]}\n{\"ids\":[1e30]}\n"
                                          "{\"ids\":[null]}\n{\"ids\":{}}\n{\"text\":\"a\"}\n{}\n"
                                          "{\"ids\":[]}\n{\"ids\":[2]}\n{\"ids\":[2,1.0]}\n");
    assert_int_equal(r.status, 0);
    assert_int_equal(lines_in(r.out), 12);
    for (int i = 0; i < 12; i++) {
        json_t *o = object_at(r.out, i), *logp = json_object_get(o, "logp");
        assert_int_equal(json_object_get(o, "error") != NULL, i < 9);
        if (i >= 9)
            assert_int_equal(json_array_size(logp), i - 9);
        json_decref(o);
    }
    done(&r);
}

/* ---- tokenize ---- */

static void tokenize_the_published_cases(void **state)
{
    (void)state;
    struct error e;
    need(STORIES "golden.json");
    json_t *golden = json_read(STORIES "golden.json", &e), *cases = json_object_get(golden, "encode_cases"), *one;
    size_t i;
    json_array_foreach(cases, i, one)
    {
        json_t *in = json_pack("{s:O}", "text", json_object_get(one, "text"));
        char *line = json_text(in);
        struct result r = call("tokenize|special=1|model.path=" STORIES "hf", line);
        json_t *out = object_at(r.out, 0);
        assert_int_equal(r.status, 0);
        assert_true(json_equal(json_object_get(out, "ids"), json_object_get(one, "ids_with_bos")));
        struct result back = call("tokenize|decode=1|model.path=" STORIES "hf", r.out);
        json_t *text = object_at(back.out, 0);
        assert_true(json_equal(json_object_get(text, "text"), json_object_get(one, "text")));
        json_decref(text);
        json_decref(out);
        json_decref(in);
        free(line);
        done(&r);
        done(&back);
    }
    json_decref(golden);
}

/* The vectors of RFC 4648, section 10, as tokens: each must equal the tokens of the text. */
static void tokenize_base64(void **state)
{
    (void)state;
    static const char *const vector[][2] = {{"", ""},
                                            {"f", "Zg=="},
                                            {"fo", "Zm8="},
                                            {"foo", "Zm9v"},
                                            {"foob", "Zm9vYg=="},
                                            {"fooba", "Zm9vYmE="},
                                            {"foobar", "Zm9vYmFy"}};
    static const char *const bad[] = {"Zg", "Zg=", "Zh==", "====", "Z===", "Zm9v\\n", "Zm 9", "Zg==Zg==", "Zm9-"};
    need(STORIES "golden.json");
    for (size_t i = 0; i < sizeof vector / sizeof *vector; i++) {
        char lines[200];
        snprintf(lines, sizeof lines, "{\"text\":\"%s\"}\n{\"bytes\":\"%s\"}\n", vector[i][0], vector[i][1]);
        struct result r = call("tokenize|model.path=" STORIES "hf", lines);
        json_t *a = object_at(r.out, 0), *b = object_at(r.out, 1);
        assert_non_null(json_object_get(a, "ids"));
        assert_true(json_equal(a, b));
        json_decref(a);
        json_decref(b);
        done(&r);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[100];
        snprintf(line, sizeof line, "{\"bytes\":\"%s\"}", bad[i]);
        struct result r = call("tokenize|model.path=" STORIES "hf", line);
        if (!strstr(r.out, "no base64"))
            fail_msg("%s: %s", bad[i], r.out);
        done(&r);
    }
}

/* A text may hold any character, 0 among them; what is no UTF-8 counts as U+FFFD. */
static void tokenize_every_text(void **state)
{
    (void)state;
    need(STORIES "hf/tokenizer.json");
    struct result r = call("tokenize|model.path=" STORIES "hf", "{\"text\":\"\\u0000\"}\n{\"bytes\":\"/w==\"}\n"
                                                                "{\"text\":\"\\ufffd\"}\n");
    assert_int_equal(r.status, 0);
    /* a space in front, then the byte 0 as token 3; EF BF BD as three bytes */
    assert_string_equal(r.out, "{\"ids\":[410,3]}\n{\"ids\":[410,242,194,192]}\n{\"ids\":[410,242,194,192]}\n");
    done(&r);
}

static void verify_line_by_line(void **state)
{
    (void)state;
    struct result r = call("verify|kind=number", "{\"gold\":\"#### 1,200\",\"pred\":\"The answer is $1200.00.\"}\n"
                                                 "{\"gold\":0.5,\"pred\":\"so 1/3\"}\n"
                                                 "{\"gold\":5,\"pred\":\"\\\\boxed{x}\"}\n"
                                                 "{\"gold\":\"five\",\"pred\":\"five\"}\n"
                                                 "{\"gold\":\"5\"}\n"
                                                 "{\"gold\":5,\"pred\":[]}\n");
    assert_int_equal(r.status, 0);
    assert_string_equal(r.out, "{\"equal\":true,\"extracted\":\"1200\",\"unparsable\":false}\n"
                               "{\"equal\":false,\"extracted\":\"1/3\",\"unparsable\":false}\n"
                               "{\"equal\":false,\"extracted\":null,\"unparsable\":true}\n"
                               "{\"error\":\"'gold' is not one number: 'five'\"}\n"
                               "{\"error\":\"'pred' is missing\"}\n"
                               "{\"error\":\"'pred' is neither a text nor a number\"}\n");
    done(&r);
    expect("verify|kind=poem", 2, NULL, "number");
}

static void decode_bytes_that_are_no_text(void **state)
{
    (void)state;
    need(STORIES "golden.json");
    struct result r = call("tokenize|decode=1|model.path=" STORIES "hf",
                           "{\"ids\":[131,4]}\n{\"ids\":[3]}\n{\"ids\":[512]}\n{\"ids\":[]}\n{\"text\":\"a\"}\n");
    assert_int_equal(r.status, 0);
    assert_int_equal(lines_in(r.out), 5);
    assert_non_null(strstr(r.out, "{\"bytes\":\"gAE=\"}\n{\"bytes\":\"AA==\"}\n{\"error\":"));
    assert_non_null(strstr(r.out, "{\"text\":\"\"}\n{\"error\":"));
    done(&r);
}

/* ---- sample ---- */

static void sample_greedily(void **state)
{
    (void)state;
    struct error e;
    need(STORIES "golden.json");
    json_t *golden = json_read(STORIES "golden.json", &e), *want = json_object_get(golden, "greedy_ids");
    json_t *gap = json_object_get(golden, "top1_minus_top2_logit");
    struct result r = call("sample|json=1|temperature=0|max_new=256|model.path=" STORIES "hf", NULL);
    assert_int_equal(r.status, 0);
    json_t *o = object_at(r.out, 0), *ids = json_object_get(o, "ids");
    for (size_t i = 0; i < 256 && json_number_value(json_array_get(gap, i)) > 0.01; i++)
        assert_true(json_equal(json_array_get(ids, i), json_array_get(want, i)));
    struct result one = call("sample|json=1|top_k=1|max_new=256|model.path=" STORIES "hf", NULL);
    json_t *same = object_at(one.out, 0);
    assert_true(json_equal(json_object_get(same, "ids"), ids));
    struct result text =
        call("sample|temperature=0|max_new=20|prompt=Once upon a time, there was a|model.path=" STORIES "hf", NULL);
    assert_string_equal(text.err, "");
    assert_memory_equal(text.out, "Once upon a time, there was a little girl named Lily. She loved", 63);
    done(&r);
    done(&one);
    done(&text);
    json_decref(o);
    json_decref(same);
    json_decref(golden);
}

/* Six symbols, then the same in order; the context holds five of them. */
static void sample_sorts(void **state)
{
    (void)state;
    static const char *const sorted[][2] = {{"2,1,0,2,1,0", "0,0,1,1,2\n"},
                                            {"1,1,1,0,2,2", "0,1,1,1,2\n"},
                                            {"2,2,2,2,2,0", "0,2,2,2,2\n"},
                                            {"0,0,0,0,0,0", "0,0,0,0,0\n"}};
    need(SORT "/config.json");
    for (int i = 0; i < 4; i++) {
        char words[200];
        snprintf(words, sizeof words, "sample|temperature=0|model.path=" SORT "|ids=%s", sorted[i][0]);
        struct result r = call(words, NULL);
        assert_int_equal(r.status, 0);
        assert_string_equal(r.out, sorted[i][1]);
        done(&r);
    }
    expect("sample|model.path=" SORT "|prompt=abc", 2, NULL, "no tokenizer");
    expect("sample|model.path=" SORT "|ids=0,1,x", 2, NULL, "'x'");
    expect("sample|model.path=" SORT "|ids=0,,1", 2, NULL, "whole numbers");
    expect("sample|model.path=" SORT "|ids=0,3", 2, NULL, "outside the vocabulary");
    expect("sample|model.path=" SORT "|ids=0,1|max_new=10", 2, NULL, "room for 9");
    expect("sample|model.path=" SORT "|ids=0,1|max_support=2", 2, NULL, "max_support changes nothing");
}

static void samples_follow_from_the_seed(void **state)
{
    (void)state;
    need(STORIES "golden.json");
#define MANY "sample|max_new=30|prompt=Lily|model.path=" STORIES "hf|json=1|"
    struct result one = call(MANY "seed=5", NULL), two = call(MANY "seed=5|n=20|threads=1", NULL),
                  other = call(MANY "seed=6", NULL);
    assert_int_equal(lines_in(two.out), 20);
    assert_memory_equal(one.out, two.out, strlen(one.out)); /* the first sample does not depend on how many follow */
    assert_string_not_equal(one.out, other.out);
    done(&one);
    done(&two);
    done(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_in_one_line_out),
        cmocka_unit_test(endless_line),
        cmocka_unit_test(logprobs_of_the_story_model),
        cmocka_unit_test(logprobs_of_the_sorting_model),
        cmocka_unit_test(logprobs_of_bad_lines),
        cmocka_unit_test(tokenize_the_published_cases),
        cmocka_unit_test(tokenize_base64),
        cmocka_unit_test(tokenize_every_text),
        cmocka_unit_test(verify_line_by_line),
        cmocka_unit_test(decode_bytes_that_are_no_text),
        cmocka_unit_test(sample_greedily),
        cmocka_unit_test(sample_sorts),
        cmocka_unit_test(samples_follow_from_the_seed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
