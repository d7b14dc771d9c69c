/* Hostile and broken input through the whole program: what a person sees is one clear message and the right exit status
 * (0 done, 1 failed, 2 wrong usage), never a crash, and nothing that was there is written over. Readers by themselves
 * are tested beside their modules; a full disk and exhausted memory are in test_hostile_system.c. A new kind of damage
 * is a row of a table here.
 */
#define FOLDER "/tmp/test_hostile.XXXXXX"
#include <sys/stat.h>
#include "../data/tokenizer.h"
#include "../model/base/clock.h"
#include "../model/base/json.h"
#include "runs.h"

static const char recipe[] = "# Small\n"                    /* 1 */
                             "[params]\n"                   /* 2 */
                             "lo = 0.2\n"                   /* 3 */
                             "[task]\n"                     /* 4 */
                             "name = chain\n"               /* 5 */
                             "[model]\n"                    /* 6 */
                             "preset = nano-llama\n"        /* 7 */
                             "[rollout]\n"                  /* 8 */
                             "prompts = 2\n"                /* 9 */
                             "samples = 2\n"                /* 10 */
                             "max_new = 8\n"                /* 11 */
                             "[eval]\n"                     /* 12 */
                             "prompts = 4\n"                /* 13 */
                             "samples = 2\n"                /* 14 */
                             "[stages]\n"                   /* 15 */
                             "score = outcome\n"            /* 16 */
                             "advantage = group\n"          /* 17 */
                             "loss = clip(eps_low = $lo)\n" /* 18 */
                             "[phase rl]\n"                 /* 19 */
                             "steps = 2\n";                 /* 20 */

static char good[600]; /* checkpoint of a whole run */

static int make_good(void **state)
{
    char path[600];
    if (set_up(state) || empty_input())
        return -1;
    write_recipe("small.ini", recipe);
    train("whole", in_folder(path, "small.ini"));
    in_folder(good, "whole/checkpoint");
    return 0;
}

/* ---- files and their damage ---- */

enum damage {
    REPLACE, /* the first `find` becomes `with`; of model.safetensors in the header, whose length follows */
    CONTENT, /* the file is `with` */
    CUT,     /* the last `bytes` are missing */
    POKE,    /* the last `bytes` become ff */
    GROW,    /* holes up to `bytes` */
    EMPTY,
    MISSING,
    DIRECTORY,
    DEVICE,
    PIPE
};
struct change {
    const char *file;
    enum damage damage;
    const char *find, *with;
    long bytes;
};

static void write_all(const char *path, const void *p, size_t len)
{
    struct error e;
    if (file_write(path, p, len, &e))
        fail_msg("%s", e.text);
}

/* text[0..len) with the first `find` replaced. */
static struct text replaced(const char *text, size_t len, const struct change *c)
{
    struct text t = {0};
    const char *at = memmem(text, len, c->find, strlen(c->find));
    if (!at)
        fail_msg("'%s' is not in %s", c->find, c->file);
    text_add(&t, text, (int)(at - text));
    text_add(&t, c->with, -1);
    at += strlen(c->find);
    text_add(&t, at, (int)(text + len - at));
    return t;
}

/* A header of `header` in front of the data, in the form of the file. */
static void write_weights(const char *path, const char *header, size_t len, const char *data, size_t bytes)
{
    struct text t = {0};
    uint64_t n = len;
    text_add(&t, (const char *)&n, sizeof n);
    text_add(&t, header, (int)len);
    text_add(&t, data, (int)bytes);
    write_all(path, t.s, (size_t)t.len);
    text_free(&t);
}

static void replace(const char *path, const struct change *c, const char *p, size_t len)
{
    uint64_t header = 0;
    int weights = strcmp(c->file, "model.safetensors") == 0;
    if (weights)
        memcpy(&header, p, sizeof header);
    size_t from = weights ? sizeof header : 0;
    struct text t = replaced(p + from, weights ? header : len, c);
    if (weights)
        write_weights(path, t.s, (size_t)t.len, p + from + header, len - from - header);
    else
        write_all(path, t.s, (size_t)t.len);
    text_free(&t);
}

static void put_in_place(const char *path, const struct change *c)
{
    assert_int_equal(unlink(path), 0);
    if (c->damage == DIRECTORY)
        assert_int_equal(mkdir(path, 0700), 0);
    if (c->damage == DEVICE)
        assert_int_equal(symlink("/dev/zero", path), 0);
    if (c->damage == PIPE)
        assert_int_equal(mkfifo(path, 0600), 0);
    if (c->damage == EMPTY || c->damage == GROW)
        write_all(path, "", 0);
    if (c->damage == GROW)
        assert_int_equal(truncate(path, c->bytes), 0);
}

static void damage(const char *dir, const struct change *c)
{
    char path[900];
    size_t len;
    struct error e;
    snprintf(path, sizeof path, "%s/%s", dir, c->file);
    char *p = file_read(path, 1 << 28, &len, &e);
    if (!p)
        fail_msg("%s", e.text);
    switch (c->damage) {
    case REPLACE:
        replace(path, c, p, len);
        break;
    case CONTENT:
        write_all(path, c->with, strlen(c->with));
        break;
    case CUT:
        write_all(path, p, len - (size_t)c->bytes);
        break;
    case POKE:
        memset(p + len - c->bytes, 0xff, (size_t)c->bytes);
        write_all(path, p, len);
        break;
    default:
        put_in_place(path, c);
        break;
    }
    mem_free(p);
}

/* A fresh copy of the good checkpoint under `broken`. */
static void copy_good(char dir[600])
{
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    struct error e;
    char from[900], to[900];
    if (file_remove_directory(in_folder(dir, "broken"), &e)) { /* perhaps it holds a directory */
        for (int i = 0; i < 3; i++) {
            snprintf(to, sizeof to, "%s/%s", dir, files[i]);
            rmdir(to);
        }
        assert_int_equal(file_remove_directory(dir, &e), 0);
    }
    assert_int_equal(mkdir(dir, 0700), 0);
    for (int i = 0; i < 3; i++) {
        size_t len;
        snprintf(from, sizeof from, "%s/%s", good, files[i]);
        snprintf(to, sizeof to, "%s/%s", dir, files[i]);
        char *p = file_read(from, 1 << 28, &len, &e);
        if (!p)
            fail_msg("%s", e.text);
        write_all(to, p, len);
        mem_free(p);
    }
}

static int wrong; /* cases of the present table, so that one run shows all of them */

/* Status, pieces, and no sign of anything worse in what was printed. */
static void expect(const char *what, int status, int wanted, const char *const pieces[3])
{
    struct bytes b = slurp("", "printed");
    const char *lacks = NULL;
    for (int i = 2; i >= 0; i--)
        if (pieces[i] && !strstr(b.p, pieces[i]))
            lacks = pieces[i];
    int worse = strstr(b.p, "Sanitizer") || strstr(b.p, "runtime error");
    if (status != wanted || lacks || worse) {
        print_error("%s: status %d, wanted %d%s%s%s, printed: %s\n", what, status, wanted, lacks ? " and '" : "",
                    lacks ? lacks : "", lacks ? "'" : "", b.p);
        wrong++;
    }
    mem_free(b.p);
}

static int none_wrong(void **state)
{
    (void)state;
    wrong = 0;
    return 0;
}

static int count_wrong(void **state)
{
    (void)state;
    return wrong;
}

/* ---- checkpoints ---- */

#define W     "model.safetensors"
#define C     "config.json"
#define T     "tokenizer.json"
#define NORM1 "model.layers.0.input_layernorm.weight"
#define TENSOR(name, dtype, shape, offsets)                                                                            \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define SHAPE  "\"F32\",\"shape\":[48]"
#define DEEP16 "[[[[[[[[[[[[[[[["
#define DEEP256                                                                                                        \
    DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16 DEEP16
#define DEEP DEEP256 DEEP256 DEEP256 DEEP256 DEEP256 DEEP256 DEEP256 DEEP256 DEEP256

static const struct {
    struct change change;
    int status;
    const char *pieces[3]; /* the third: the file that the message names, unless it is the damaged one */
} checkpoints[] = {
    /* the file of weights */
    {{W, EMPTY, NULL, NULL, 0}, 1, {"only 0 bytes"}},
    {{W, MISSING, NULL, NULL, 0}, 1, {"No such file"}},
    {{W, DIRECTORY, NULL, NULL, 0}, 1, {"is a directory, not a file"}},
    {{W, DEVICE, NULL, NULL, 0}, 1, {"is a device or pipe"}},
    {{W, PIPE, NULL, NULL, 0}, 1, {"is a device or pipe"}},
    {{W, CUT, NULL, NULL, 1}, 1, {"data_offsets end at byte", "is it truncated?"}},
    {{W, CUT, NULL, NULL, 150000}, 1, {"describes a model of", "is it truncated?"}},
    {{W, GROW, NULL, NULL, 400000}, 1, {"the header does not begin with '{'"}},
    {{W, POKE, NULL, NULL, 4}, 1, {"tensor 'model.norm.weight'", "not a number"}},
    {{W, REPLACE, "{\"__metadata__\"", "{{__metadata__\"", 0}, 1, {"header: line 1"}},
    {{W, REPLACE, "{\"__metadata__\":{\"format\":\"pt\"}", "{\"__metadata__\":{\"format\":7}", 0}, 1, {"not a string"}},
    {{W, REPLACE, "{\"__metadata__\":{\"format\":\"pt\"}", "{\"__metadata__\":" DEEP, 0}, 1, {"depth"}},
    {{W, REPLACE, NORM1, "model.layers.0.other", 0}, 1, {"no tensor '" NORM1 "'", "shape [48] wanted"}},
    {{W, REPLACE, NORM1, "model.layers.1.input_layernorm.weight", 0}, 1, {"duplicate"}},
    {{W, REPLACE, SHAPE, "\"I32\",\"shape\":[48]", 0}, 1, {"tensor '" NORM1 "' has dtype I32, a floating one wanted"}},
    {{W, REPLACE, SHAPE, "\"F16\",\"shape\":[48]", 0}, 1, {NORM1, "shape and dtype F16 make 96 bytes"}},
    {{W, REPLACE, SHAPE, "\"F8_E5M2\",\"shape\":[48]", 0}, 1, {NORM1, "dtype 'F8_E5M2' is not read"}},
    {{W, REPLACE, SHAPE, "\"F32\",\"shape\":[24,2]", 0}, 1, {NORM1, "has shape [24, 2], [48] wanted"}},
    {{W, REPLACE, SHAPE, "\"F32\",\"shape\":[1000000000000]", 0}, 1, {NORM1, "make 4000000000000 bytes"}},
    {{W, REPLACE, SHAPE, "\"F32\",\"shape\":[4294967296,4294967296]", 0}, 1, {NORM1, "overflows"}},
    {{W, REPLACE, SHAPE, "\"F32\",\"shape\":[-48]", 0}, 1, {NORM1, "not a non-negative integer"}},
    {{W, REPLACE, SHAPE, "\"F32\",\"shape\":[1e400]", 0}, 1, {"header: line 1"}},
    {{W, REPLACE, SHAPE, "\"F32\",\"shape\":[48],\"shape\":[48]", 0}, 1, {"duplicate"}},
    {{W, REPLACE, SHAPE, "\"F32\\u0000\",\"shape\":[48]", 0}, 1, {"header: line 1"}},
    {{W, REPLACE, "\"data_offsets\":[0,", "\"data_offsets\":[4,", 0}, 1, {"model.embed_tokens.weight", "data_offsets"}},
    /* accepted: numbers that lie at odd addresses */
    {{W, REPLACE, "{\"format\":\"pt\"}", "{\"format\":\"pt\" }", 0}, 0, {NULL}},
    /* config.json */
    {{C, EMPTY, NULL, NULL, 0}, 1, {"line 1"}},
    {{C, MISSING, NULL, NULL, 0}, 1, {"No such file"}},
    {{C, DIRECTORY, NULL, NULL, 0}, 1, {"is a directory, not a file"}},
    {{C, DEVICE, NULL, NULL, 0}, 1, {"is a device or pipe"}},
    {{C, CUT, NULL, NULL, 30}, 1, {"line "}},
    {{C, GROW, NULL, NULL, 1L << 30}, 1, {"more than the 67108864 that are accepted"}},
    {{C, CONTENT, NULL, "[]", 0}, 1, {"not an object"}},
    {{C, CONTENT, NULL, DEEP, 0}, 1, {"depth"}},
    {{C, REPLACE, "\"model_type\": \"llama\"", "\"model_type\": \"mamba\"", 0}, 1, {"'mamba'"}},
    {{C, REPLACE, "\"model_type\": \"llama\"", "\"model_type\": \"\\u001b[2J\"", 0}, 1, {"'?[2J'"}},
    {{C, REPLACE, "\"model_type\": \"llama\"", "\"model_type\": \"lla\\u0000ma\"", 0}, 1, {"line "}},
    {{C, REPLACE, "\"vocab_size\"", "\"vocab_size\": 3, \"vocab_size\"", 0}, 1, {"duplicate"}},
    {{C, REPLACE, "\"vocab_size\"", "\"vocab_size\": 1e999, \"v\"", 0}, 1, {"overflow"}},
    {{C, REPLACE, "\"vocab_size\"", "\"vocab_size\": 4000000, \"v\"", 0}, 1, {"describes a model of 192"}},
    {{C, REPLACE, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 2147483647", 0}, 1, {"layers of the model is"}},
    {{C, REPLACE, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4096", 0}, 1, {"describes a model of"}},
    {{C, REPLACE, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", 0},
     1,
     {"no tensor 'model.layers.2.input_layernorm.weight'", NULL, W}},
    {{C, REPLACE, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", 0},
     1,
     {"tensor 'model.layers.1.", "has no place", W}},
    {{C, REPLACE, "\"hidden_size\": 48", "\"hidden_size\": 24", 0},
     1,
     {"has shape [18, 48], [18, 24] wanted", NULL, W}},
    {{C, REPLACE, "\"max_position_embeddings\"", "\"max_position_embeddings\": 99999999, \"m\"", 0}, 1, {"context"}},
    {{C, REPLACE, "\"rms_norm_eps\"", "\"rms_norm_eps\": -1, \"r\"", 0}, 1, {"\"rms_norm_eps\" is -1"}},
    /* tokenizer.json */
    {{T, EMPTY, NULL, NULL, 0}, 1, {"line 1"}},
    {{T, DIRECTORY, NULL, NULL, 0}, 1, {NULL}},
    {{T, CUT, NULL, NULL, 9}, 1, {"line "}},
    {{T, CONTENT, NULL, "{\"model\":" DEEP, 0}, 1, {"depth"}},
    {{T, REPLACE, "\"BPE\"", "\"Unigram\"", 0}, 1, {"Unigram", "not supported"}},
    {{T, REPLACE, "\"+\": ", "\"<eos>\": ", 0}, 1, {"duplicate"}},
    {{T, REPLACE, "\"0\": 1,", "\"0\": 1048577,", 0}, 1, {"the id of \"0\""}},
    {{T, REPLACE, "\"0\": 1,", "\"0\": 1e400,", 0}, 1, {"line "}},
    {{T, REPLACE, "\"0\": 1,", "\"0\": 1048575,", 0}, 1, {"1048576 tokens, the model only 18", NULL, "broken"}},
    {{T, REPLACE, "\"merges\": []", "\"merges\": [\"+ +\"]", 0}, 1, {"merge"}},
    {{T, GROW, NULL, NULL, 1L << 30}, 1, {"more than the 67108864 that are accepted"}},
};

static void broken_checkpoints(void **state)
{
    (void)state;
    char dir[600], what[900];
    for (size_t i = 0; i < sizeof checkpoints / sizeof *checkpoints; i++) {
        const struct change *c = &checkpoints[i].change;
        copy_good(dir);
        damage(dir, c);
        snprintf(what, sizeof what, "case %zu (%s, %.60s)", i, c->file, c->with ? c->with : "");
        int status = call("logprobs|model.path=%s|threads=1", dir);
        const char *file = checkpoints[i].pieces[2] ? checkpoints[i].pieces[2] : checkpoints[i].status ? c->file : NULL;
        if (c->damage == DIRECTORY && !strcmp(c->file, T)) /* then the model has no tokenizer, which is allowed here */
            continue;
        expect(what, status, checkpoints[i].status,
               (const char *const[3]){checkpoints[i].pieces[0], checkpoints[i].pieces[1], file});
    }
}

/* ---- recipes: the file and the line ---- */

static const struct {
    const char *find, *with, *words; /* words: further ones of the command */
    const char *message;             /* after "small.ini" */
} recipes[] = {
    {"[task]", "[tsak]", "", ":4: unknown section 'tsak', did you mean 'task'?"},
    {"[task]", "[task", "", ":4: the section's ']' is missing"},
    {"[rollout]", "[model]", "", ":8: the section stands already in line 6"},
    {"samples = 2", "sampels = 2", "", ":10: unknown key 'sampels' in [rollout], did you mean 'samples'?"},
    {"samples = 2", "samples = 2\nsamples = 3", "", ":11: duplicate key 'samples', first in line 10"},
    {"samples = 2", "samples = 0", "", ":10: samples = 0: out of bounds"},
    {"samples = 2", "samples = 1e999", "", ":10: samples = 1e999: not a whole number"},
    {"samples = 2", "samples = 0x10", "", ":10: samples = 0x10: not a whole number"},
    {"samples = 2", "samples = nan", "", ":10: samples = nan: not a whole number"},
    {"samples = 2", "samples", "", ":10: neither [section] nor key = value"},
    {"samples = 2", "samples = \"2", "", ":10: \"2: the closing quote is missing"},
    {"samples = 2", "samples = \x1b[2J", "", ":10: a control character"},
    {"samples = 2", "temperature = 0", "", ":10: temperature = 0: out of bounds"},
    {"score = outcome", "score = outcme", "", ":16: unknown score stage 'outcme', did you mean 'outcome'?"},
    {"score = outcome", "score = clip", "", ":16: 'clip' is a loss stage, not a score"},
    {"score = outcome", "score = outcome(", "", ":16: outcome: parameters are written as (key = value, ...)"},
    {"score = outcome", "", "", ":19: the credit stage 'outcome' reads the reward before anything wrote it"},
    {"advantage = group", "advantage = group, group", "", ":17: the advantage stage 'group' stands twice"},
    {"loss = clip(eps_low = $lo)", "", "", ":19: phase 'rl' has no loss"},
    {"eps_low = $lo", "eps_low = $low", "", ":18: eps_low = $low: [params] has no such name"},
    {"eps_low = $lo", "eps_low = 0.2", "", ":3: the knob 'lo' would change nothing"},
    {"lo = 0.2", "lo = 7", "", ":3: eps_low = 7: out of bounds"},
    {"name = chain", "name = chian", "", ":5: unknown task 'chian', did you mean 'chain'?"},
    {"name = chain", "", "", ": no task; add a section [task]"},
    {"steps = 2", "steps = 2\nbranch = none", "", ":21: unknown earlier phase 'none'"},
    {"steps = 2", "", "", ":19: phase 'rl' has no steps"},
    {"", "", "|rl.stpes=3", "on the command line: rl.stpes=3: unknown key 'stpes' in a phase, did you mean 'steps'?"},
    {"", "", "|seed=-1", "on the command line: seed=-1: seed = -1: out of bounds"},
    {"", "", "|nonsense", "on the command line: nonsense: an override is written as key=value"},
    {"", "", "|rollout.samples=65536|rollout.max_new=1000",
     ":19: phase 'rl' may collect prompts x max_refills = 8 groups of 65536000 tokens"},
    {"", "", "|rollout.prompts=65536|rollout.max_refills=1000", ":19: phase 'rl' may collect"},
    {"", "", "|seed=1|run.seed=2", "on the command line: run.seed=2: duplicate key 'seed'"},
};

static void broken_recipes(void **state)
{
    (void)state;
    char path[600], wanted[900], what[60];
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        const struct change c = {"small.ini", REPLACE, recipes[i].find, recipes[i].with, 0};
        struct text t = replaced(recipe, sizeof recipe - 1, &c);
        write_all(in_folder(path, "small.ini"), t.s, (size_t)t.len);
        text_free(&t);
        int status = call("rl|%s|run.out=%s/never%s", path, folder, recipes[i].words);
        snprintf(wanted, sizeof wanted, "%s%s", *recipes[i].words ? "" : path, recipes[i].message);
        snprintf(what, sizeof what, "recipe %zu", i);
        expect(what, status, 2, (const char *const[3]){wanted});
    }
    assert_false(file_is_directory(in_folder(path, "never")));
    write_recipe("small.ini", recipe);
}

/* What stands in place of a recipe's file. */
static void no_recipes(void **state)
{
    (void)state;
    static const struct {
        enum damage damage;
        long bytes;
        const char *message;
    } cases[] = {
        {EMPTY, 0, "no task"},
        {MISSING, 0, "No such file"},
        {DIRECTORY, 0, "is a directory, not a file"},
        {DEVICE, 0, "is a device or pipe"},
        {PIPE, 0, "is a device or pipe"},
        {GROW, 1 << 12, ":1: a control character (code 0)"},
        {GROW, 1 << 30, "more than the 1048576 that are accepted"},
    };
    char path[600];
    in_folder(path, "odd.ini");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_recipe("odd.ini", recipe);
        put_in_place(path, &(struct change){"odd.ini", cases[i].damage, NULL, NULL, cases[i].bytes});
        int status = call("rl|%s|run.out=%s/never", path, folder);
        expect(cases[i].message, status, 2, (const char *const[3]){"odd.ini", cases[i].message});
        remove(path);
    }
}

/* ---- words of the verbs ---- */

static const struct {
    const char *words; /* %s: the good checkpoint */
    int status;
    const char *message;
} commands[] = {
    {"sample|model.path=%s|ids=1,2,3|max_new=100000", 2, "leaves room for"},
    {"sample|model.path=%s|ids=1,99", 2, "ids: 99 is outside the vocabulary"},
    {"sample|model.path=%s|ids=99999999999999999999", 2, "outside the vocabulary"},
    {"sample|model.path=%s|ids=1,,2", 2, "is no list of whole numbers"},
    {"sample|model.path=%s|ids=1|n=65536|max_new=1000000", 2, "leaves room for"},
    {"sample|model.path=%s|prompt=3+4=|ids=1", 2, "both given"},
    {"sample|model.path=%s|prompt=3\xc3\xa9", 2, "has no token"},
    {"sample|model.path=%s|prompt=3\x1b", 2, "byte 0x1b at position 1 has no token"},
    {"sample|model.path=%s|prompt=3|temperature=1e999", 2, "out of bounds"},
    {"sample|model.path=%s/none|prompt=3", 1, "/none/config.json"},
    {"eval|chain|model.path=%s/none|eval.prompts=2", 1, "/none"},
    {"eval|chain|model.path=%s|rollout.max_new=100000|eval.prompts=2", 1, "leaves no room"},
    {"eval|chain|model.pth=%s", 2, "did you mean 'path'?"},
    {"tokenize|model.path=%s/none", 1, "/none"},
    {"tokenize|model.path=%s|decode=2", 2, "neither true nor false"},
    {"logprobs|model.path=%s|threads=1e9", 2, "out of bounds"},
};

static void broken_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char words[1500];
        snprintf(words, sizeof words, commands[i].words, good); /* rows of this file, each with one %s */
        expect(commands[i].words, call("%s", words), commands[i].status, (const char *const[3]){commands[i].message});
    }
    struct text longer = {0}; /* than the context */
    text_addf(&longer, "sample|model.path=%s|ids=1", good);
    for (int i = 1; i < 600; i++)
        text_add(&longer, ",1", 2);
    expect("a long prompt", call("%s", longer.s), 2,
           (const char *const[3]){"a prompt of 600 tokens leaves room for 0 more in the model's context of"});
    text_free(&longer);
}

/* ---- lines of the filters: each is answered, and the last one shows that nothing was lost ---- */

#define ONES "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
static const char *const records[] = {
    "",
    " ",
    "null",
    "7",
    "\"text\"",
    "[]",
    "{",
    "{}",
    "{}}",
    "{\"ids\":[1]",
    "{\"ids\":[1],}",
    "{'ids':[1]}",
    "{\"ids\":1}",
    "{\"ids\":null}",
    "{\"ids\":[null]}",
    "{\"ids\":[\"1\"]}",
    "{\"ids\":[0.5]}",
    "{\"ids\":[-1]}",
    "{\"ids\":[1e999]}",
    "{\"ids\":[99999999999999999999]}",
    "{\"ids\":[4294967297]}",
    "{\"ids\":[1],\"ids\":[2]}",
    "{\"ids\":[[1]]}",
    "{\"ids\":[1],\"text\":\"3\"}",
    "{\"text\":7}",
    "{\"text\":\"\\u0000\"}",
    "{\"text\":\"\\ud800\"}",
    "{\"text\":\"a\"}",
    "{\"text\":\"\xff\"}",
    "{\"bytes\":\"AAA\"}",
    "{\"bytes\":\"AA=A\"}",
    "{\"bytes\":\"A===\"}",
    "\x01",
    "{\"ids\":" DEEP,
    "{\"ids\":[" ONES ONES ONES ONES ONES ONES ONES ONES ONES "1]}",
};
enum { RECORDS = sizeof records / sizeof *records };

/* Calls a filter on all records and then `last`; checks its lines, how many of them are errors, and the last one. */
static void filter(const char *verb, const char *last, int errors, const char *answer)
{
    struct text t = {0};
    char path[600];
    for (int i = 0; i < RECORDS; i++)
        text_addf(&t, "%s\n", records[i]);
    text_addf(&t, "%s\n", last);
    write_all(in_folder(path, "lines"), t.s, (size_t)t.len);
    text_free(&t);
    int kept = dup(0), in = open(path, O_RDONLY);
    assert_true(kept >= 0 && in >= 0 && dup2(in, 0) == 0);
    int status = call("%s|model.path=%s", verb, good);
    dup2(kept, 0);
    close(kept);
    close(in);
    struct bytes b = slurp("", "printed");
    int lines = 0, bad = 0;
    const char *line = b.p;
    for (const char *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
        struct error e;
        json_t *o = json_parse(line, (size_t)(end - line), &e);
        if (!o)
            fail_msg("%s, line %d: %s", verb, lines + 1, e.text);
        bad += json_object_get(o, "error") != NULL;
        json_decref(o);
        if (lines == RECORDS && strncmp(line, answer, strlen(answer)))
            fail_msg("%s: the last answer is %s", verb, line);
    }
    if (status || lines != RECORDS + 1 || bad != errors)
        fail_msg("%s: status %d, %d lines instead of %d, %d errors instead of %d: %s", verb, status, lines, RECORDS + 1,
                 bad, errors, b.p);
    mem_free(b.p);
}

static void broken_records(void **state)
{
    (void)state;
    /* with ids and a text, tokenize takes the text, decode the ids; decode has no longest row of ids */
    filter("tokenize", "{\"text\":\"3\"}", RECORDS - 1, "{\"ids\":[");
    filter("logprobs|threads=1", "{\"ids\":[1,2]}", RECORDS, "{\"logp\":[null,-");
    filter("tokenize|decode=1", "{\"ids\":[]}", RECORDS - 2, "{\"text\":\"\"}");
}

/* ---- much of a bad thing: time follows the size of what is read ---- */

static void many_keys(void **state)
{
    (void)state;
    struct text t = {0};
    char path[600];
    text_add(&t, "[params]\n", -1);
    for (int i = 0; i < 80000; i++)
        text_addf(&t, "k%d = 1\n", i);
    write_all(in_folder(path, "many.ini"), t.s, (size_t)t.len);
    double begin = clock_now();
    expect("many keys", call("rl|%s", path), 2,
           (const char *const[3]){"many.ini:258: more than 256 keys in one section"});
    text_clear(&t);
    text_add(&t, "[task]\nname = chain\n[stages]\nscore = outcome", -1);
    for (int i = 0; i < 4000; i++)
        text_add(&t, "(", 1);
    write_all(path, t.s, (size_t)t.len);
    expect("many brackets", call("rl|%s", path), 2,
           (const char *const[3]){"many.ini:4: outcome: parameters are written"});
    assert_true(clock_now() - begin < 20); /* two starts of the program; what it was asked takes no time */
    text_free(&t);
}

/* A tokenizer that knows b, ab, aab ... and a text of nothing but a, which could become any of them at every place.
 * Four times the text takes four times as long; sixteen times would be quadratic. */
static void many_beginnings(void **state)
{
    (void)state;
    struct text t = {0};
    char path[600];
    struct error e;
    text_add(&t, "{\"added_tokens\":[", -1);
    for (int i = 0; i < 120; i++) {
        text_addf(&t, "%s{\"id\":%d,\"content\":\"", i ? "," : "", i + 1);
        for (int k = 0; k < i; k++)
            text_add(&t, "a", 1);
        text_add(&t, "b\"}", -1);
    }
    text_add(&t, "],\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
             -1);
    in_folder(path, "many.json");
    write_all(path, t.s, (size_t)t.len);
    struct tokenizer *tokenizer = tokenizer_open(path, &e);
    if (!tokenizer)
        fail_msg("%s", e.text);
    double seconds[2];
    int32_t *ids = NULL;
    int cap = 0;
    for (int k = 0; k < 2; k++) {
        int len = k ? 1 << 17 : 1 << 15;
        char *text = mem_alloc((size_t)len, 1);
        memset(text, 'a', (size_t)len);
        double begin = clock_now();
        assert_int_equal(tokenizer_encode(tokenizer, text, len, 0, &ids, &cap, &e), len);
        seconds[k] = clock_now() - begin;
        mem_free(text);
    }
    if (seconds[1] > 1 && seconds[1] > 16 * seconds[0])
        fail_msg("%.3f s for 32 KiB, %.3f s for 128 KiB", seconds[0], seconds[1]);
    mem_free(ids);
    tokenizer_free(tokenizer);
    text_free(&t);
}

/* ---- what is there stays ---- */

static void nothing_is_written_over(void **state)
{
    (void)state;
    static const char *const files[] = {"recipe.ini", "log.jsonl", "checkpoint/model.safetensors"};
    char path[600];
    struct bytes before[3];
    for (int i = 0; i < 3; i++)
        before[i] = slurp("whole", files[i]);
    in_folder(path, "small.ini");
    expect("the same directory", call("rl|%s|run.out=%s/whole", path, folder), 1,
           (const char *const[3]){"holds a run already"});
    expect("a wrong key", call("rl|%s|rl.x=1|run.out=%s/whole", path, folder), 2, (const char *const[3]){"rl.x=1"});
    for (int i = 0; i < 3; i++)
        assert_true(equal(before[i], slurp("whole", files[i])));
    expect("below a file", call("rl|%s|run.out=%s/below", path, path), 1,
           (const char *const[3]){"small.ini", "a file has that name"});
    expect("where nothing can be made", call("rl|%s|run.out=/proc/none", path), 1,
           (const char *const[3]){"cannot make directory /proc/none"});
    struct bytes same = slurp("", "small.ini");
    assert_int_equal(same.len, strlen(recipe));
    assert_memory_equal(same.p, recipe, same.len);
    mem_free(same.p);
}

int main(void)
{
#define CASES(test) cmocka_unit_test_setup_teardown(test, none_wrong, count_wrong)
    const struct CMUnitTest tests[] = {
        CASES(broken_checkpoints), CASES(broken_recipes),          CASES(no_recipes), CASES(broken_commands),
        CASES(broken_records),     CASES(nothing_is_written_over), CASES(many_keys),  CASES(many_beginnings),
    };
    return cmocka_run_group_tests(tests, make_good, tear_down);
}
