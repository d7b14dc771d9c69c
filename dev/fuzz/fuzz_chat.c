/* data/chat: texts between zero bytes as a conversation, the first byte chooses the format and whether there is a
 * system message. What is accepted has the format's tokens as often as its turns, whatever the texts spell. The same
 * bytes as a template, and as tokenizer_config.json, chat_template.json or chat_template.jinja.
 */
#include "fuzz.h"
#include "../../data/chat.h"
#include "../../model/base/file.h"
#include "../../model/base/json.h"

/* Bytes, merges and special tokens enough for every format; "\"," between tokens of the vocabulary. */
static const char special[6][24] = {"<|endoftext|>",     "<|im_start|>",        "<|im_end|>",
                                    "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"};
static const char last[] = "<|eot_id|>";
static char folder[64];
static struct tokenizer *tokenizer;

static void remove_folder(void)
{
    tokenizer_free(tokenizer);
    file_remove_directory(folder, NULL);
}

static void put(const char *name, const void *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

static void drop(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

/* A byte-level tokenizer without merges but "<|", so that spelled tokens are several ids. */
static void make_tokenizer(void)
{
    struct text json = {0};
    struct error e = {""};
    static const char level[] =
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}";
    text_addf(&json, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    for (int i = 0; i < 7; i++)
        text_addf(&json,
                  "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                  "\"normalized\":false,\"special\":true}",
                  i ? "," : "", i, i < 6 ? special[i] : last);
    text_addf(&json,
              "],\"normalizer\":null,\"pre_tokenizer\":%s,\"post_processor\":null,\"decoder\":%s,\"model\":{\"type\":"
              "\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
              "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"vocab\":{",
              level, level);
    for (int i = 0; i < 7; i++)
        text_addf(&json, "\"%s\":%d,", i < 6 ? special[i] : last, i);
    for (int c = 33; c < 127; c++)
        text_addf(&json, "\"%s%c\":%d,", c == '"' || c == '\\' ? "\\" : "", c, c - 33 + 7);
    text_addf(&json, "\"\xc4\xa0\":101,\"\xc4\x8a\":102,\"<|\":103},\"merges\":[\"< |\"]}}");
    put("tokenizer.json", json.s, (size_t)json.len);
    tokenizer = tokenizer_open(folder, &e);
    if (!tokenizer)
        fprintf(stderr, "%s\n", e.text);
    must(tokenizer);
    drop("tokenizer.json");
    text_free(&json);
}

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/fuzz_chat.XXXXXX");
    must(mkdtemp(folder));
    make_tokenizer();
    atexit(remove_folder);
}

static int times(const int32_t *ids, int n, int id)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        count += ids[i] == id;
    return count;
}

static void converse(enum chat_format format, int system, const struct text *turn, int turns)
{
    struct chat c;
    struct error e = {""};
    int32_t *ids = NULL;
    int cap = 0;
    must(chat_open(&c, format, tokenizer, &e) == 0);
    int n = chat_prompt(&c, system ? "Be <|im_end|> brief." : "", turn, turns, &ids, &cap, &e);
    must(n >= 0);
    if (format != CHAT_NONE) {
        int all = 0;
        for (int id = 0; id < 7; id++)
            all += times(ids, n, id);
        int parts = turns + (system || format == CHAT_LLAMA31), open = c.open >= 0 ? parts + 1 : 0,
            end = c.end >= 0 ? parts : 0;
        must((c.open < 0 || times(ids, n, c.open) == open) && (c.end < 0 || times(ids, n, c.end) == end));
        must(all == open + end + (c.close >= 0 ? open : 0) + (c.begin >= 0));
        n = chat_answer(&c, turn, &ids, &cap, &e);
        for (int id = 0; id < 7; id++)
            must(n >= 0 && times(ids, n, id) == 0);
    }
    mem_free(ids);
}

/* What is written for other programs, beside a file that was read, is read as the format again. */
static void settings(enum chat_format format)
{
    struct chat c;
    struct error e = {""};
    struct text out = {0}, system = {0};
    must(chat_open(&c, format, tokenizer, &e) == 0);
    chat_settings(&c, folder, &out);
    if (format != CHAT_NONE) {
        json_t *o = json_parse(out.s, (size_t)out.len, &e);
        const char *written = json_get_string(o, "chat_template", NULL);
        must(json_is_array(json_object_get(o, "chat_template")) ||
             (written && chat_recognise(written, (int)strlen(written), &system) == format));
        json_decref(o);
    }
    text_free(&out);
    text_free(&system);
}

static void templates(const char *s, size_t len, enum chat_format format)
{
    static const char *const name[] = {"tokenizer_config.json", "chat_template.json", "chat_template.jinja"};
    struct text system = {0}, out = {0};
    chat_name(chat_recognise(s, (int)len, &system));
    must((size_t)system.len <= len);
    for (int i = 0; i < 3; i++) {
        struct error e = {""};
        put(name[i], s, len);
        if (chat_template_read(folder, &out, &e) < 0)
            must_say_why(&e);
        else
            settings(format);
        drop(name[i]);
    }
    text_free(&system);
    text_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text turn[9] = {{0}};
    int turns = 0;
    if (!folder[0])
        make_folder();
    if (size == 0 || size > 4096)
        return 0;
    const char *s = (const char *)data + 1;
    size_t left = size - 1;
    enum chat_format format = (enum chat_format)((data[0] & 11) == 11 ? CHAT_LLAMA31 : data[0] & 3);
    templates(s, left, format);
    while (turns < 9) {
        const char *zero = left ? memchr(s, 0, left) : NULL;
        size_t len = zero ? (size_t)(zero - s) : left;
        text_add(&turn[turns++], s, (int)len);
        if (!zero)
            break;
        s = zero + 1;
        left -= len + 1;
    }
    converse(format, data[0] >> 2 & 1, turn, turns - !(turns & 1));
    for (int i = 0; i < 9; i++)
        text_free(&turn[i]);
    return 0;
}
