/* export: a model directory written anew, for other programs: weights in the number format and in the pieces asked for,
 * configuration, tokenizer files. An adapter is merged into them, or written alone. What is carried over as it is
 * stands in `carried`; a file is added there.
 */
#include "session.h"
#include "verbs.h"
#include "../../model/base/file.h"
#include "../../model/checkpoint.h"
#include "../../model/lora.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { OPTION_PATH, OPTION_TOKENIZER, OPTION_LORA, OPTION_OUT, OPTION_ADAPTER, OPTION_DTYPE, OPTION_SHARD, OPTIONS };
static const struct param options[] = {
    {"model.path", PARAM_TEXT, "", 0, 0, NULL, "Directory of the model to read, or a .bin file of llama2.c.", NULL},
    {"model.tokenizer", PARAM_TEXT, "", 0, 0, NULL,
     "Tokenizer of a .bin file, to be written as tokenizer.json; empty: the tokenizer.bin beside it.", NULL},
    {"model.lora_path", PARAM_TEXT, "", 0, 0, NULL,
     "Directory of an adapter in PEFT's layout to merge; empty: the one beside the weights, if any.", NULL},
    {"out", PARAM_TEXT, "", 0, 0, NULL, "Directory to write; it must not exist.", NULL},
    {"adapter", PARAM_BOOL, "false", 0, 0, NULL, "Write the adapter alone, unmerged, in PEFT's layout, F32.", NULL},
    {"dtype", PARAM_CHOICE, "f32", 0, 0, "f32|bf16|f16", "Numbers of the weights, rounded to nearest.", NULL},
    {"shard_mb", PARAM_NUMBER, "0", 0, 1e6, NULL, "Most megabytes (10^6 bytes) of weights in one file; 0: one file.",
     NULL},
    {0}};

/* Files of tokenizers and of generation settings: bytes like any other here. */
static const char *const carried[] = {"tokenizer.json",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "merges.txt",
                                      "encoder.json",
                                      "vocab.bpe",
                                      "tokenizer.model",
                                      "tokenizer.bin",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "generation_config.json"};

static int carry(const char *from, const char *to, struct error *e)
{
    char source[1024], target[1024];
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++) {
        size_t len;
        int a = snprintf(source, sizeof source, "%s/%s", from, carried[i]);
        int b = snprintf(target, sizeof target, "%s/%s", to, carried[i]);
        if (a >= (int)sizeof source || b >= (int)sizeof target)
            return fail(e, "%.200s...: the path is too long", from);
        if (file_size(source) <= 0)
            continue;
        const void *bytes = file_map(source, &len, e);
        int status = bytes ? file_write(target, bytes, len, e) : -1;
        if (bytes)
            file_unmap(bytes, len);
        if (status)
            return -1;
    }
    return 0;
}

/* The tokenizer of a .bin file, named or beside it, as tokenizer.json. Where there is none, the weights still serve. */
static int write_tokenizer(const struct model *m, const struct value *value, const char *to, struct error *e)
{
    const char *from = value[OPTION_PATH].text, *option = value[OPTION_TOKENIZER].text;
    char place[1024];
    if (session_tokenizer_place(from, option, place, e))
        return -1;
    if (!option[0] && !tokenizer_exists(place)) {
        printf("no tokenizer.bin lies beside %s: model.tokenizer=FILE names one, to be written as tokenizer.json\n",
               from);
        return 0;
    }
    struct tokenizer *t = tokenizer_open(place, e);
    if (!t)
        return -1;
    int n = tokenizer_vocab(t), status;
    if (n > m->arch.V)
        status =
            fail(e, "%s has %d tokens, the model only %d; model.tokenizer=FILE names another", place, n, m->arch.V);
    else
        status = tokenizer_save(t, to, e);
    tokenizer_free(t);
    return status;
}

/* Token ids stand in the configuration as they stood: lists of several ends, ids that are no tokens of the model. */
static int carry_token_ids(const char *from, const char *to, struct error *e)
{
    static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    char source[1024], target[1024];
    snprintf(source, sizeof source, "%s/config.json", from);
    snprintf(target, sizeof target, "%s/config.json", to);
    json_t *was = json_read(source, e), *now = was ? json_read(target, e) : NULL;
    for (int i = 0; now && i < 3; i++) {
        json_t *id = json_object_get(was, keys[i]);
        if (id)
            json_object_set(now, keys[i], id);
        else
            json_object_del(now, keys[i]); /* the class of the model has its own default */
    }
    int status = now ? json_write(target, now, e) : -1;
    json_decref(was);
    json_decref(now);
    return status;
}

/* path without the slashes at its end; the directory it lies in. */
static int split_path(const char *path, char name[1000], char parent[1000], struct error *e)
{
    int len = snprintf(name, 1000, "%s", path);
    if (len >= 1000)
        return fail(e, "%.60s...: the path is too long", path);
    while (len > 1 && name[len - 1] == '/')
        name[--len] = 0;
    const char *slash = strrchr(name, '/');
    snprintf(parent, 1000, "%.*s", slash ? (int)(slash - name) + 1 : 1, slash ? name : ".");
    return 0;
}

static int refuse_existing(const char *path, const char *what, struct error *e)
{
    struct stat st;
    return lstat(path, &st) ? 0 : fail(e, "%.200s is there already, and nothing is written over; %s", path, what);
}

/* The directory of the adapter; "": there is none. */
static const char *adapter_of(const struct value *value)
{
    const char *beside = value[OPTION_PATH].text;
    if (value[OPTION_LORA].text[0])
        return value[OPTION_LORA].text;
    return lora_exists(beside) ? beside : "";
}

/* Adapter and tokenizer files; the name of the base as the adapter had it. */
static int write_adapter(const struct model *m, const struct value *value, const char *to, struct error *e)
{
    const char *from = value[OPTION_PATH].text;
    struct arch a = m->arch;
    char base[512];
    if (lora_read(adapter_of(value), &a, base, e) || file_make_directory(to, e) || lora_save(m, to, base, e))
        return -1;
    return file_size(from) >= 0 ? write_tokenizer(m, value, to, e) : carry(from, to, e);
}

static int write_all(const struct model *m, const struct value *value, const char *to, struct error *e)
{
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
    const char *from = value[OPTION_PATH].text;
    int64_t shard_bytes = (int64_t)(value[OPTION_SHARD].num * 1e6);
    enum dtype dtype = dtypes[(int)value[OPTION_DTYPE].num];
    struct arch a;
    struct token_ids ids;
    if (value[OPTION_ADAPTER].num != 0)
        return write_adapter(m, value, to, e);
    if (file_make_directory(to, e))
        return -1;
    if (file_size(from) >= 0)
        return checkpoint_arch(from, &a, &ids, e) || checkpoint_export(m, to, &ids, dtype, shard_bytes, e) ||
                       write_tokenizer(m, value, to, e)
                   ? -1
                   : 0;
    return checkpoint_export(m, to, NULL, dtype, shard_bytes, e) || carry_token_ids(from, to, e) || carry(from, to, e)
               ? -1
               : 0;
}

/* Everything is written beside `out` and renamed when it is whole; an empty directory that meanwhile took its place is
 * all that could be replaced. */
static int write_beside(const struct model *m, const struct value *value, struct error *e)
{
    char out[1000], parent[1000], part[1010];
    if (split_path(value[OPTION_OUT].text, out, parent, e))
        return -1;
    snprintf(part, sizeof part, "%s.part", out);
    if (refuse_existing(part, "it may be an export that was broken off: remove it", e))
        return -1;
    int status = write_all(m, value, part, e);
    if (!status && rename(part, out))
        status = fail(e, "cannot rename %s to %s: %s", part, out, strerror(errno));
    if (!status)
        return file_sync(parent, e);
    file_remove_directory(part, NULL);
    return -1;
}

static int check(const struct value *value, struct error *e)
{
    if (!value[OPTION_PATH].text[0])
        return fail(e, "model.path=DIR is missing");
    if (value[OPTION_TOKENIZER].text[0] && file_size(value[OPTION_PATH].text) < 0)
        return fail(e, "model.tokenizer is for a .bin file: of a directory, its own tokenizer files are carried over");
    if (!value[OPTION_OUT].text[0])
        return fail(e, "out=DIR is missing");
    if (value[OPTION_ADAPTER].num != 0 && !adapter_of(value)[0])
        return fail(e, "adapter=true: %s holds no adapter; name one by model.lora_path=DIR", value[OPTION_PATH].text);
    if (value[OPTION_ADAPTER].num != 0 && (value[OPTION_DTYPE].num != 0 || value[OPTION_SHARD].num != 0))
        return fail(e, "adapter=true writes one small file in F32: leave dtype and shard_mb out");
    return refuse_existing(value[OPTION_OUT].text, "choose another out=DIR or remove it", e);
}

static int load(struct model *m, const struct value *value, struct error *e)
{
    const char *adapter = adapter_of(value);
    if (checkpoint_load(m, value[OPTION_PATH].text, e) || (adapter[0] && lora_load(m, adapter, e)))
        return -1;
    if (value[OPTION_ADAPTER].num == 0)
        lora_merge(m);
    return 0;
}

static int export(const struct value *value, struct error *e)
{
    const char *out = value[OPTION_OUT].text, *adapter = adapter_of(value);
    struct device device;
    struct model m;
    struct arch a;
    if (checkpoint_arch(value[OPTION_PATH].text, &a, NULL, e) || (adapter[0] && lora_read(adapter, &a, NULL, e)) ||
        device_open(&device, &cpu_ops, 0, e))
        return -1;
    int status = model_create(&m, &a, 0, &device, 0, e);
    if (!status) {
        status = load(&m, value, e) || write_beside(&m, value, e) ? -1 : 0;
        model_free(&m);
    }
    device_close(&device);
    if (!status && value[OPTION_ADAPTER].num != 0)
        printf("%s: adapter of %ld weights\n", out, arch_trained(&a));
    else if (!status)
        printf("%s: %ld weights in %s%s\n", out, arch_parameters(&a), value[OPTION_DTYPE].text,
               adapter[0] ? ", the adapter merged" : "");
    return status;
}

static int run(int argc, const char *const *argv)
{
    struct value value[OPTIONS];
    struct error e;
    if (verb_options(&verb_row_export, argc, argv, value, &e) || check(value, &e))
        return verb_usage(&verb_row_export, &e);
    return export(value, &e) ? verb_failed(&verb_row_export, &e) : EXIT_DONE;
}

const struct verb verb_row_export = {
    "export",
    "Write a model anew for other programs: number format, shards, tokenizer files.",
    "model.path=DIR|FILE.bin out=DIR [model.tokenizer=FILE] [model.lora_path=DIR] [adapter=true] [dtype=f32|bf16|f16] "
    "[shard_mb=N]",
    "Reads config.json and the weights of model.path (model.safetensors, or the shards of an index; F32, F16 or "
    "BF16),\n"
    "or a file of llama2.c with its tokenizer.bin,\n"
    "and writes them in the Hugging Face layout: config.json, model.safetensors or shards with\n"
    "model.safetensors.index.json, and a copy of the tokenizer's files and of generation_config.json. Numbers that "
    "the\n"
    "format holds stay as they are, bit for bit; others are rounded to nearest, and those beyond its range refused.\n"
    "An adapter, beside the weights or named, is merged into them; adapter=true writes it alone, for PEFT.\n"
    "The directory appears when it is whole; one that is there is never written over.\n"
    "\n"
    "Examples:\n"
    "  train_rl export model.path=out/chain-1/checkpoint out=chain-bf16 dtype=bf16\n"
    "  train_rl export model.path=DIR out=DIR-sharded shard_mb=2000\n"
    "  train_rl export model.path=out/stories-1/checkpoint out=stories-adapter adapter=true\n",
    options,
    run,
};
