/* Chat formats: ids of conversations against those of transformers (test/ref/chat/, written by dev/reference/chat.py),
 * texts that spell special tokens among them; templates recognised; runs that ask in a format.
 */
#define FOLDER "/tmp/test_chat.XXXXXX"
#include "../data/chat.h"
#include "../model/base/json.h"
#include "../rewards/recipe.h"
#include "runs.h" /* last: cmocka has a macro fail */

#define REF   "test/ref/chat/"
#define QWEN2 "../shared/data/qwen2-bpe"

static struct tokenizer *need(const char *path)
{
    struct error e = {""};
    struct tokenizer *t = tokenizer_open(path, &e);
    if (!t)
        fail_msg("%s", e.text);
    return t;
}

static void open_chat(struct chat *c, enum chat_format f, const struct tokenizer *t)
{
    struct error e = {""};
    if (chat_open(c, f, t, &e))
        fail_msg("%s", e.text);
}

/* ---- against the reference ---- */

static void expect_line(const struct chat *c, const json_t *line, int number)
{
    const json_t *turns = json_object_get(line, "turns"), *want = json_object_get(line, "ids");
    struct text turn[8] = {{0}};
    struct error e = {""};
    int32_t *ids = NULL;
    int cap = 0, n = (int)json_array_size(turns);
    for (int i = 0; i < n; i++)
        text_add(&turn[i], json_string_value(json_array_get(turns, (size_t)i)), -1);
    int got = chat_prompt(c, json_get_string(line, "system", ""), turn, n, &ids, &cap, &e);
    if (got != (int)json_array_size(want))
        fail_msg("%s, line %d: %d ids, not %zu; %s", chat_name(c->format), number, got, json_array_size(want), e.text);
    for (int i = 0; i < got; i++)
        if (ids[i] != json_integer_value(json_array_get(want, (size_t)i)))
            fail_msg("%s, line %d: id %d is %d", chat_name(c->format), number, i, ids[i]);
    for (int i = 0; i < n; i++)
        text_free(&turn[i]);
    mem_free(ids);
}

static void expect_file(enum chat_format format, const char *tokenizer, const char *lines, int least)
{
    struct chat c;
    struct error e;
    static char text[1 << 14];
    int n = 0;
    if (format == CHAT_CHATML && !strcmp(tokenizer, QWEN2) && !file_is_directory(QWEN2)) {
        print_message("skipped: %s is not there\n", QWEN2);
        skip();
    }
    struct tokenizer *t = need(tokenizer);
    open_chat(&c, format, t);
    FILE *f = fopen(lines, "r");
    assert_non_null(f);
    while (fgets(text, sizeof text, f)) {
        json_t *line = json_parse(text, strlen(text), &e);
        assert_non_null(line);
        expect_line(&c, line, ++n);
        json_decref(line);
    }
    fclose(f);
    tokenizer_free(t);
    assert_true(n >= least);
}

static void test_chatml(void **state)
{
    (void)state;
    expect_file(CHAT_CHATML, REF "chatml", REF "chatml.jsonl", 68);
}

static void test_llama3(void **state)
{
    (void)state;
    expect_file(CHAT_LLAMA3, REF "llama3", REF "llama3.jsonl", 68);
}

static void test_llama31(void **state)
{
    (void)state;
    expect_file(CHAT_LLAMA31, REF "llama3", REF "llama31.jsonl", 68);
}

static void test_qwen2(void **state)
{
    (void)state;
    expect_file(CHAT_CHATML, QWEN2, REF "qwen2.jsonl", 42);
}

/* ---- plain, none, answers ---- */

static void same_ids(const int32_t *a, int n, const int32_t *b, int m)
{
    assert_int_equal(n, m);
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

/* The whole conversation is one text, spelled out here. */
static void test_texts(void **state)
{
    (void)state;
    struct error e = {""};
    struct tokenizer *t = need(REF "llama3");
    struct text turn[3] = {{.s = "one and one?", .len = 12}, {.s = " \n2", .len = 3}, {.s = "two and one?", .len = 12}};
    const char *const want[2] = {
        "one and one? \n2\n\ntwo and one?",
        "Be brief.\n\nUser: one and one?\n\nAssistant:\n2\n\nUser: two and one?\n\nAssistant:\n"};
    for (int i = 0; i < 2; i++) {
        struct chat c;
        int32_t *a = NULL, *b = NULL;
        int cap_a = 0, cap_b = 0;
        open_chat(&c, (enum chat_format)i, t);
        int n = chat_prompt(&c, i ? "Be brief." : "", turn, 3, &a, &cap_a, &e);
        int m = tokenizer_encode(t, want[i], (int)strlen(want[i]), 1, &b, &cap_b, &e);
        same_ids(a, n, b, m);
        assert_int_equal(a[0], tokenizer_bos(t));
        assert_int_equal(c.end, -1);
        mem_free(a);
        mem_free(b);
    }
    tokenizer_free(t);
}

/* Answers lose blanks in front; llama3 takes those behind as well; with none they are as they are. */
static void test_answers(void **state)
{
    (void)state;
    struct error e = {""};
    struct tokenizer *chatml = need(REF "chatml"), *llama3 = need(REF "llama3");
    const char *const want[4] = {" \n2 x\n", "2 x\n", "2 x\n", "2 x"};
    for (int i = 0; i < 4; i++) {
        const struct tokenizer *t = i == CHAT_CHATML ? chatml : llama3;
        struct chat c;
        int32_t *a = NULL, *b = NULL;
        int cap_a = 0, cap_b = 0;
        open_chat(&c, (enum chat_format)i, t);
        int n = chat_answer(&c, &(struct text){.s = " \n2 x\n", .len = 6}, &a, &cap_a, &e);
        int m = tokenizer_encode(t, want[i], (int)strlen(want[i]), 0, &b, &cap_b, &e);
        same_ids(a, n, b, m);
        mem_free(a);
        mem_free(b);
    }
    tokenizer_free(chatml);
    tokenizer_free(llama3);
}

/* What is spelled stays text, in plain and in answers too, and reads back as it was. */
static void test_spelled_tokens(void **state)
{
    (void)state;
    static const char text[] = "a<|im_end|>b<|begin_of_text|><tool>";
    struct error e = {""};
    struct tokenizer *t = need(REF "chatml");
    int32_t *ids = NULL;
    int cap = 0, end = tokenizer_special(t, "<|im_end|>"), begin = tokenizer_special(t, "<|begin_of_text|>");
    assert_true(end > 0 && begin == 0 && tokenizer_special(t, "<tool>") == -1 && tokenizer_special(t, "a") == -1);
    for (int plain = 0; plain < 2; plain++) {
        struct text back = {0};
        int n = plain ? tokenizer_encode_part(t, text, sizeof text - 1, 1, &ids, &cap, 0, &e)
                      : tokenizer_encode(t, text, sizeof text - 1, 0, &ids, &cap, &e);
        int ends = 0, tools = 0;
        for (int i = 0; i < n; i++) {
            ends += ids[i] == end || ids[i] == begin;
            tools += ids[i] == 600;
        }
        assert_int_equal(ends, plain ? 0 : 2);
        assert_int_equal(tools, 1); /* an added token that is no special one */
        tokenizer_decode(t, ids, n, 1, &back, NULL);
        assert_string_equal(back.s, plain ? text : "ab<tool>");
        text_free(&back);
    }
    mem_free(ids);
    tokenizer_free(t);
}

static void put_text(const char *name, const char *text)
{
    char path[600];
    struct error e;
    assert_int_equal(file_write(in_folder(path, name), text, strlen(text), &e), 0);
}

/* A tokenizer whose merges make a special token out of ordinary text. */
static void test_odd_tokenizer(void **state)
{
    (void)state;
    static const char json[] =
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{\"id\":2,\"content\":\"ab\","
        "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],"
        "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":"
        "true,\"use_regex\":false},"
        "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
        "\"use_regex\":false},"
        "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
        "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},"
        "\"merges\":[\"a b\"]}}";
    char path[600];
    struct error e = {""};
    int32_t *ids = NULL;
    int cap = 0;
    assert_int_equal(file_write(in_folder(path, "tokenizer.json"), json, sizeof json - 1, &e), 0);
    struct tokenizer *t = need(path);
    assert_int_equal(tokenizer_encode_part(t, "ba", 2, 1, &ids, &cap, 0, &e), 2);
    assert_int_equal(tokenizer_encode_part(t, "bab", 3, 1, &ids, &cap, 0, &e), -1);
    assert_non_null(strstr(e.text, "'ab'"));
    mem_free(ids);
    tokenizer_free(t);
    put_text("tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656, \"eos_token\": \"ab\"}");
    t = need(path);
    assert_int_equal(tokenizer_eos(t), 2);
    tokenizer_free(t);
    unlink(path);
    unlink(in_folder(path, "tokenizer_config.json"));
}

static void test_missing_tokens(void **state)
{
    (void)state;
    struct chat c;
    struct error e;
    struct tokenizer *t = need(REF "llama3");
    assert_int_equal(chat_open(&c, CHAT_CHATML, t, &e), -1);
    assert_non_null(strstr(e.text, "chatml"));
    assert_non_null(strstr(e.text, "<|im_start|>"));
    tokenizer_free(t);
}

/* ---- templates ---- */

static void test_recognise(void **state)
{
    (void)state;
    static const struct {
        const char *template;
        enum chat_format format;
        const char *system;
    } cases[] = {
        {"{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}", CHAT_CHATML, ""},
        {"{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{{ '<|im_start|>' + m }}", CHAT_CHATML, "Be kind."},
        {"{{ '<|im_start|>system\nBe kind.<|im_end|>' }}", CHAT_CHATML, "Be kind."},
        {"{% set system_message = 'Be good.' %}<|im_start|>system\n{{ system_message }}<|im_end|>", CHAT_CHATML,
         "Be good."},
        {"<|im_start|>system\\n' + x + '<|im_end|><|im_start|>system\\nSo.<|im_end|><tool_call>", CHAT_CHATML, "So."},
        {"<|im_start|>{{ m }}<|im_end|><|endoftext|>", CHAT_CHATML, ""},
        {"<|im_start|>{{ m }}<|im_end|><|end_of_turn|>", CHAT_NONE, ""},
        {"<|im_start|>{{ m }}", CHAT_NONE, ""},
        {"<|start_header_id|>{{ m }}<|end_header_id|>{{ c }}<|eot_id|>", CHAT_LLAMA3, ""},
        {"<|start_header_id|>x<|end_header_id|>Cutting Knowledge Date: December 2023 {{ '26 Jul 2024' }}<|eot_id|>",
         CHAT_LLAMA31, ""},
        {"<|python_tag|><|start_header_id|>x<|end_header_id|>Cutting Knowledge Date: December 2023 26 Jul "
         "2024<|eot_id|>",
         CHAT_LLAMA31, ""},
        {"<|start_header_id|>x<|end_header_id|>Cutting Knowledge Date: December 2023<|eot_id|>", CHAT_NONE, ""},
        {"<|start_header_id|>x<|end_header_id|>Cutting Knowledge Date: March 2025 26 Jul 2024<|eot_id|>", CHAT_NONE,
         ""},
        {"<|start_header_id|>x<|end_header_id|>y<|eot_id|><|python_tag|>", CHAT_NONE, ""},
        {"[INST] {{ m }} [/INST]", CHAT_NONE, ""},
        {"<|user|>\n{{ m }}</s>", CHAT_NONE, ""},
        {"", CHAT_NONE, ""},
        {"<|", CHAT_NONE, ""},
        {"{% set system_message = 'no end", CHAT_NONE, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text system = {0};
        enum chat_format f = chat_recognise(cases[i].template, (int)strlen(cases[i].template), &system);
        if (f != cases[i].format || strcmp(system.s ? system.s : "", cases[i].system))
            fail_msg("'%s' is %s with '%s'", cases[i].template, chat_name(f), system.s ? system.s : "");
        text_free(&system);
    }
}

static int template_of(const char *name, const char *text, struct text *out, struct error *e)
{
    text_clear(out);
    text_add(out, "", 0);
    put_text(name, text);
    return chat_template_read(folder, out, e);
}

static void test_template_files(void **state)
{
    (void)state;
    char path[600];
    struct text out = {0};
    struct error e;
    assert_int_equal(chat_template_read(folder, &out, &e), 0);
    assert_int_equal(template_of("tokenizer_config.json", "{}", &out, &e), 0);
    assert_int_equal(template_of("tokenizer_config.json", "{\"chat_template\":null}", &out, &e), 0);
    assert_int_equal(template_of("tokenizer_config.json", "{\"chat_template\":7}", &out, &e), -1);
    assert_non_null(strstr(e.text, "tokenizer_config.json"));
    assert_int_equal(
        template_of("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"x\",\"template\":\"y\"}]}", &out, &e),
        -1);
    assert_int_equal(template_of("tokenizer_config.json",
                                 "{\"chat_template\":[{\"name\":\"x\",\"template\":\"y\"},"
                                 "{\"name\":\"default\",\"template\":\"z\"}]}",
                                 &out, &e),
                     1);
    assert_string_equal(out.s, "z");
    assert_int_equal(template_of("tokenizer_config.json", "{\"chat_template\":\"a\"}", &out, &e), 1);
    assert_string_equal(out.s, "a");
    assert_int_equal(template_of("chat_template.json", "{\"chat_template\":\"b\"}", &out, &e), 1);
    assert_string_equal(out.s, "b");
    assert_int_equal(template_of("chat_template.json", "{", &out, &e), -1);
    assert_int_equal(template_of("chat_template.jinja", "c", &out, &e), 1);
    assert_string_equal(out.s, "c");
    static const char *const names[] = {"tokenizer_config.json", "chat_template.json", "chat_template.jinja"};
    for (int i = 0; i < 3; i++)
        unlink(in_folder(path, names[i]));
    text_free(&out);
}

/* ---- for other programs ---- */

/* Settings written for a chat beside the files in the folder, parsed. */
static json_t *settings_of(enum chat_format format, const char *tokenizer)
{
    struct tokenizer *t = need(tokenizer);
    struct text out = {0};
    struct error e = {""};
    struct chat c;
    open_chat(&c, format, t);
    chat_settings(&c, folder, &out);
    json_t *o = out.len ? json_parse(out.s, (size_t)out.len, &e) : NULL;
    if (out.len && !o)
        fail_msg("%s: %s", e.text, out.s);
    text_free(&out);
    tokenizer_free(t);
    return o;
}

static void assert_settings(enum chat_format format, const char *key, const char *value)
{
    json_t *o = settings_of(format, format == CHAT_CHATML ? REF "chatml" : REF "llama3");
    assert_string_equal(json_get_string(o, key, "none"), value);
    json_decref(o);
}

static void test_settings(void **state)
{
    (void)state;
    char path[600];
    assert_null(settings_of(CHAT_NONE, REF "llama3"));
    for (int i = CHAT_PLAIN; i <= CHAT_LLAMA31; i++) {
        enum chat_format format = (enum chat_format)i;
        const char *own = chat_template(format);
        struct text system = {0};
        assert_settings(format, "chat_template", own);
        assert_int_equal(chat_recognise(own, (int)strlen(own), &system), format);
        text_free(&system);
    }
    assert_settings(CHAT_CHATML, "eos_token", "<|im_end|>");
    assert_settings(CHAT_PLAIN, "eos_token", "<|end_of_text|>");
    assert_settings(CHAT_PLAIN, "bos_token", "<|begin_of_text|>");
    /* what the model's files say stays, but for a template of another format */
    put_text("tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656, \"eos_token\": \"x\"}");
    assert_settings(CHAT_LLAMA3, "eos_token", "x");
    assert_settings(CHAT_LLAMA3, "chat_template", chat_template(CHAT_LLAMA3));
    assert_settings(CHAT_NONE, "chat_template", "none");
    put_text("chat_template.jinja", "a <|im_start|> <|im_end|> of its own");
    assert_settings(CHAT_NONE, "chat_template", "a <|im_start|> <|im_end|> of its own");
    assert_settings(CHAT_CHATML, "chat_template", "a <|im_start|> <|im_end|> of its own");
    assert_settings(CHAT_LLAMA31, "chat_template", chat_template(CHAT_LLAMA31));
    put_text("chat_template.jinja", "not UTF-8: \xff <|im_start|> <|im_end|>");
    assert_settings(CHAT_CHATML, "chat_template", chat_template(CHAT_CHATML));
    struct error e;
    assert_int_equal(file_write(in_folder(path, "chat_template.jinja"), "\0<|im_start|><|im_end|>", 24, &e), 0);
    assert_settings(CHAT_CHATML, "chat_template", chat_template(CHAT_CHATML));
    assert_settings(CHAT_NONE, "chat_template", "none");
    unlink(in_folder(path, "chat_template.jinja"));
    put_text("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"default\", \"template\": \"y\"}]}");
    json_t *o = settings_of(CHAT_NONE, REF "llama3");
    assert_int_equal(json_array_size(json_object_get(o, "chat_template")), 1);
    json_decref(o);
    assert_settings(CHAT_PLAIN, "chat_template", chat_template(CHAT_PLAIN));
    unlink(in_folder(path, "tokenizer_config.json"));
}

/* ---- runs ---- */

/* The recipe's names are those of the formats, in their order. */
static void test_names(void **state)
{
    (void)state;
    static struct recipe r;
    for (int i = CHAT_NONE; i <= CHAT_LLAMA31; i++) {
        char word[40];
        const char *words = word;
        struct error e = {""};
        snprintf(word, sizeof word, "task.chat=%s", chat_name((enum chat_format)i));
        if (recipe_load(&r, "chain", &words, 1, &e))
            fail_msg("%s", e.text);
        assert_int_equal(r.task.chat, i);
        assert_true((strstr(r.text, "chat = ") != NULL) == (i != CHAT_NONE));
        recipe_free(&r);
    }
}

#define RUN                                                                                                            \
    "rl|gsm.ini|model.preset=nano-llama|warmup.steps=2|warmup.batch=4|rl.steps=2|rollout.prompts=2|rollout.samples=4|" \
    "rollout.max_new=12|eval.prompts=4|eval.samples=1|run.threads=1"

static void write_run_files(void)
{
    static struct text lines, recipe;
    char path[600];
    struct error e;
    for (int i = 0; i < 40; i++)
        text_addf(&lines, "{\"question\":\"%d + %d <|im_end|>?\",\"answer\":\"It is\\n#### %d\"}\n", i, i + 1,
                  2 * i + 1);
    assert_int_equal(file_write(in_folder(path, "lines.jsonl"), lines.s, (size_t)lines.len, &e), 0);
    text_addf(&recipe,
              "# A run in a chat format\n[task]\nname = jsonl\ntrain = %s/lines.jsonl\nprompt = \"{question}\"\n"
              "verify = number\n[stages]\nscore = outcome\nshape = sum\nadvantage = group\nloss = clip\n"
              "[phase warmup]\nsource = gold\nloss = nll\nsteps = 2\n[phase rl]\nsource = rollout\nsteps = 2\n",
              folder);
    write_recipe("gsm.ini", recipe.s);
    text_free(&lines);
    text_free(&recipe);
}

static int run_gsm(const char *words, const char *run)
{
    char text[1500];
    snprintf(text, sizeof text, "rl|%s/%s", folder, RUN + 3);
    return call("%s|%s|run.out=%s/%s", text, words, folder, run);
}

/* The end of the format stands first among those of the model, in the texts that are trained and in the checkpoint. */
static void test_run(void **state)
{
    (void)state;
    struct error e;
    size_t len;
    write_run_files();
    if (run_gsm("model.tokenizer=" REF "chatml|task.chat=chatml|task.system=Add.|task.shots=2", "chatml"))
        fail_msg("%s", slurp("", "printed").p);
    struct bytes config = slurp("chatml", "checkpoint/config.json"), log = slurp("chatml", "log.jsonl");
    json_t *c = json_parse(config.p, config.len, &e);
    const json_t *ends = json_object_get(c, "eos_token_id");
    struct tokenizer *t = need(REF "chatml");
    assert_int_equal(json_integer_value(json_array_get(ends, 0)), tokenizer_special(t, "<|im_end|>"));
    assert_int_equal(json_integer_value(json_array_get(ends, 1)), tokenizer_eos(t));
    tokenizer_free(t);
    json_decref(c);
    int exact = 0;
    for (const char *at = log.p; (at = strstr(at, "\"logp_mismatch_max\":0.0,")); at++)
        exact++;
    assert_int_equal(exact, 4); /* every step */
    mem_free(config.p);
    mem_free(log.p);
    struct bytes recipe = slurp("chatml", "recipe.ini");
    assert_non_null(strstr(recipe.p, "chat = chatml\nsystem = Add.\n"));
    mem_free(recipe.p);
    struct bytes settings = slurp("chatml", "checkpoint/tokenizer_config.json");
    char *own = file_read(REF "chatml/chat_template.jinja", 1 << 20, &len, &e);
    c = json_parse(settings.p, settings.len, &e);
    assert_string_equal(json_get_string(c, "chat_template", ""), own);
    json_decref(c);
    mem_free(settings.p);
    mem_free(own);
    assert_int_equal(call("eval|%s/chatml", folder), 0);
    assert_int_equal(
        call("sample|model.path=%s/chatml/checkpoint|prompt=1 + 1|chat=chatml|system=Add.|max_new=4|threads=1", folder),
        0);
}

static void test_refused(void **state)
{
    (void)state;
    write_run_files();
    assert_int_equal(run_gsm("task.chat=chatml", "x"), 1); /* characters have no such token */
    assert_printed("<|im_start|>");
    assert_int_equal(run_gsm("task.system=Add.", "x"), 2);
    assert_printed("only matters with chat!=none");
    assert_int_equal(run_gsm("task.chat=chat", "x"), 2);
    assert_printed("llama3");
    assert_int_equal(run_gsm("task.shots=39", "x"), 1);
    assert_printed("different questions");
    assert_int_equal(run_gsm("model.tokenizer=" REF "chatml|task.shots=3|model.context=40", "x"), 1);
    assert_printed("task.shots");
    assert_printed("context is 40");
    assert_int_equal(call("sample|model.path=%s/chatml/checkpoint|prompt=1|system=Add.", folder), 2);
    assert_printed("system");
}

/* The template beside the tokenizer is told where the recipe asks otherwise. */
static void test_note(void **state)
{
    (void)state;
    write_run_files();
    assert_int_equal(run_gsm("model.tokenizer=" REF "chatml", "n1"), 0);
    assert_printed("task.chat=chatml asks in that form");
    assert_int_equal(run_gsm("model.tokenizer=" REF "llama3|task.chat=plain", "n2"), 0);
    assert_printed("is llama3, but prompts are asked as task.chat=plain");
}

/* The recipe on a few lines, small: the path from workings to the test questions. */
static void test_gsm8k(void **state)
{
    (void)state;
    write_run_files();
    int status = call("rl|gsm8k|task.train=%s/lines.jsonl|task.shots=1|model.width=16|model.layers=1|model.hidden=32|"
                      "warmup.steps=2|rl.steps=1|rollout.prompts=2|rollout.samples=2|rollout.max_new=16|eval.prompts=4|"
                      "run.threads=1|run.out=%s/gsm8k",
                      folder, folder);
    if (status)
        fail_msg("%s", slurp("", "printed").p);
    struct bytes eval = slurp("gsm8k", "eval.jsonl");
    assert_non_null(strstr(eval.p, "\"milestone\":\"rl\""));
    mem_free(eval.p);
    assert_int_equal(call("rl|gsm8k|run.out=%s/x", folder), 1);
    assert_printed("task.train=FILE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chatml),         cmocka_unit_test(test_llama3),
        cmocka_unit_test(test_llama31),        cmocka_unit_test(test_qwen2),
        cmocka_unit_test(test_texts),          cmocka_unit_test(test_answers),
        cmocka_unit_test(test_spelled_tokens), cmocka_unit_test(test_odd_tokenizer),
        cmocka_unit_test(test_missing_tokens), cmocka_unit_test(test_recognise),
        cmocka_unit_test(test_template_files), cmocka_unit_test(test_settings),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_run),
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_note),
        cmocka_unit_test(test_gsm8k),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
