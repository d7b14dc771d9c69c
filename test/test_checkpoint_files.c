/* model/checkpoint against files that `transformers` wrote (test/ref/checkpoints, made by
 * dev/reference/checkpoints.py): logits and greedy ids, the way back in every number format and in shards, the verb
 * export; and what is refused of an index and of its shards. A family is added with a case of that program and a line
 * in `cases`.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../dev/verbs/verbs.h"
#include "../model/base/mem.h"
#include "../model/checkpoint.h"
#include "../model/checkpoint_inner.h"
#include "../model/generate.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

static char folder[64];
static struct device device;

static int set_up(void **state)
{
    (void)state;
    struct error e;
    snprintf(folder, sizeof folder, "/tmp/test_checkpoint_files.XXXXXX");
    return mkdtemp(folder) && !device_open(&device, &cpu_ops, 2, &e) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    device_close(&device);
    return rmdir(folder);
}

static char *in_folder(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void must(int status, const struct error *e)
{
    if (status)
        fail_msg("%s", e->text);
}

static void open_model(struct model *m, const char *dir)
{
    struct arch a;
    struct error e = {""};
    must(checkpoint_arch(dir, &a, NULL, &e), &e);
    must(model_create(m, &a, 0, &device, 0, &e), &e);
    must(checkpoint_load(m, dir, &e), &e);
}

/* ---- what transformers computes ---- */

enum { PROMPT = 8, NEW = 64, ROWS = PROMPT + NEW - 1 };

static const char *const cases[] = {"gpt2", "llama2", "llama3", "qwen2", "qwen3", "smollm2"}, *const forms[] = {"f32",
                                                                                                                "bf16"};

struct expected {
    int32_t id[PROMPT + NEW];
    double logits[ROWS * 64];
};

static void read_expected(struct expected *x, const char *dir, int V)
{
    char path[256];
    double id[PROMPT + NEW];
    struct safetensors s;
    struct error e = {""};
    snprintf(path, sizeof path, "%s/expected.safetensors", dir);
    must(safetensors_open(&s, path, &e), &e);
    const struct st_tensor *ids = safetensors_find(&s, "ids"), *logits = safetensors_find(&s, "logits");
    assert_true(ids && logits && ids->count == PROMPT + NEW && logits->count == ROWS * V && V <= 64);
    st_read(ids, 0, ids->count, id);
    st_read(logits, 0, logits->count, x->logits);
    for (int i = 0; i < PROMPT + NEW; i++)
        x->id[i] = (int32_t)id[i];
    safetensors_close(&s);
}

static void expect_logits(const struct model *m, const struct expected *x, const char *dir)
{
    const struct segment whole = {-1, 0, ROWS};
    const int groups[2] = {0, 1}, entries[2] = {0, ROWS};
    int32_t row[ROWS];
    double one[ROWS], logits[ROWS * 64], worst = 0;
    struct layout l;
    struct tape t;
    for (int i = 0; i < ROWS; i++) {
        row[i] = i;
        one[i] = 1;
    }
    layout_create(&l, &device, m->arch.V, ROWS, 1, 1, ROWS, 0);
    tape_plan(&t, &m->arch, &device, ROWS, ROWS, ROWS + KV_ALIGN, KEEP_NOTHING);
    tape_commit(&t);
    layout_set(&l, x->id, &whole, groups, 1);
    layout_entries(&l, ROWS, row, x->id + 1, one, NULL, NULL, entries, 1);
    model_forward(m, &t, &l.rows, t.kv, 0, t.store);
    model_logits(m, &t, &l, logits);
    for (int i = 0; i < ROWS * m->arch.V; i++)
        worst = fmax(worst, fabs(logits[i] - x->logits[i]));
    tape_free(&t);
    layout_free(&l);
    if (!(worst < 1e-4))
        fail_msg("%s: logits differ by %g", dir, worst);
}

static void expect_greedy(const struct model *m, const struct expected *x)
{
    int32_t ids[NEW];
    double real[2 * NEW];
    struct sampler s;
    struct error e = {""};
    struct sampling how = {0, 0, 1, 0, 0};
    struct request q = {x->id, PROMPT, 1, NEW, 0, 0, 0};
    struct response out = {.ids = ids, .logp = real, .entropy = real + NEW};
    sampler_plan(&s, &m->arch, &device, 1, PROMPT, NEW, 0);
    sampler_commit(&s);
    must(sampler_run(&s, m, &q, 1, &how, 1, RNG_TEST, NULL, 0, &out, &e), &e);
    sampler_free(&s);
    assert_int_equal(out.len, NEW);
    assert_memory_equal(ids, x->id + PROMPT, sizeof ids);
}

/* ---- the way back ---- */

static const char *const dtype_words[] = {"f32", "bf16", "f16"};
static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};

/* The verb's exit status; what it says to people is not shown. */
static int run_export(int argc, const char *const *argv)
{
    int saved[2], null = open("/dev/null", O_WRONLY);
    assert_true(null >= 0);
    for (int i = 0; i < 2; i++) {
        fflush(i ? stderr : stdout);
        saved[i] = dup(i + 1);
        dup2(null, i + 1);
    }
    int status = verb_find("export")->run(argc, argv);
    for (int i = 0; i < 2; i++) {
        fflush(i ? stderr : stdout);
        dup2(saved[i], i + 1);
        close(saved[i]);
    }
    close(null);
    return status;
}

static int export(const char *from, const char *to, const char *dtype, const char *shard_mb)
{
    char word[4][600];
    snprintf(word[0], 600, "model.path=%s", from);
    snprintf(word[1], 600, "out=%s", to);
    snprintf(word[2], 600, "dtype=%s", dtype);
    snprintf(word[3], 600, "shard_mb=%s", shard_mb);
    return run_export(4, (const char *const[]){word[0], word[1], word[2], word[3]});
}

/* Same names, shapes and, where the formats are the same, bytes. Otherwise every number is as near as the format
 * allows: BF16 keeps 8 bits, F16 11, and steps of 2^-24 near zero. */
static void expect_tensors(const char *theirs, const char *ours, enum dtype dtype)
{
    static const double part[] = {[DTYPE_F32] = 0, [DTYPE_BF16] = 0x1p-8, [DTYPE_F16] = 0x1p-11};
    const double step = dtype == DTYPE_F16 ? 0x1p-25 : 0;
    struct shards x, y;
    struct error e = {""};
    must(shards_open(&x, theirs, &e), &e);
    must(shards_open(&y, ours, &e), &e);
    assert_int_equal(x.tensors, y.tensors);
    for (int i = 0; i < x.tensors; i++) {
        const struct st_tensor *a = x.tensor[i].t, *b = y.tensor[i].t;
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->dims, b->dims);
        assert_memory_equal(a->shape, b->shape, sizeof a->shape);
        assert_int_equal(b->dtype, dtype);
        if (a->dtype == dtype)
            assert_memory_equal(a->data, b->data, (size_t)a->count * (dtype == DTYPE_F32 ? 4 : 2));
        for (int64_t k = 0; k < a->count; k++) {
            double was, now;
            st_read(a, k, 1, &was);
            st_read(b, k, 1, &now);
            assert_true(fabs(now - was) <= fmax(part[dtype] * fabs(was), step));
        }
    }
    shards_close(&x);
    shards_close(&y);
}

static void expect_same_ids(const char *theirs, const char *ours)
{
    static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    char path[300];
    struct error e = {""};
    snprintf(path, sizeof path, "%s/config.json", theirs);
    json_t *was = json_read(path, &e);
    snprintf(path, sizeof path, "%s/config.json", ours);
    json_t *now = json_read(path, &e);
    assert_true(was && now);
    for (int i = 0; i < 3; i++) {
        const json_t *a = json_object_get(was, keys[i]), *b = json_object_get(now, keys[i]);
        assert_true((!a && !b) || json_equal(a, b));
    }
    json_decref(was);
    json_decref(now);
}

/* Whether two files hold the same bytes, or neither is there. */
static int same_file(const char *a_dir, const char *b_dir, const char *name)
{
    char a[300], b[300];
    size_t x = 0, y = 0;
    snprintf(a, sizeof a, "%s/%s", a_dir, name);
    snprintf(b, sizeof b, "%s/%s", b_dir, name);
    char *p = file_read(a, 1 << 24, &x, NULL), *q = file_read(b, 1 << 24, &y, NULL);
    int same = (!p && !q) || (p && q && x == y && !memcmp(p, q, x));
    mem_free(p);
    mem_free(q);
    return same;
}

static void expect_way_back(const char *dir, const struct expected *x)
{
    char out[256], again[256];
    struct error e = {""};
    for (int d = 0; d < 3; d++)
        for (int sharded = 0; sharded < 2; sharded++) {
            struct model m;
            struct shards w;
            assert_int_equal(export(dir, in_folder(out, "out"), dtype_words[d], sharded ? "0.004" : "0"), 0);
            must(shards_open(&w, out, &e), &e);
            assert_true(sharded ? w.files > 2 : w.files == 1);
            for (int i = 0; i < w.files; i++) /* a shard holds one tensor or keeps the bound */
                assert_true(!sharded || w.file[i].tensors == 1 || w.file[i].map_len < 4000 + 3000);
            shards_close(&w);
            expect_tensors(dir, out, dtypes[d]);
            expect_same_ids(dir, out);
            assert_true(same_file(dir, out, "generation_config.json"));
            open_model(&m, out);
            if (d == 0)
                expect_logits(&m, x, out);
            model_free(&m);
            /* what was written is not rounded a second time */
            assert_int_equal(export(out, in_folder(again, "again"), dtype_words[d], "0"), 0);
            expect_tensors(out, again, dtypes[d]);
            must(file_remove_directory(out, &e) || file_remove_directory(again, &e), &e);
        }
}

static void test_families(void **state)
{
    (void)state;
    static struct expected x;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < 2; k++) {
            char dir[128];
            struct model m;
            snprintf(dir, sizeof dir, "test/ref/checkpoints/%s-%s", cases[i], forms[k]);
            open_model(&m, dir);
            read_expected(&x, dir, m.arch.V);
            expect_logits(&m, &x, dir);
            expect_greedy(&m, &x);
            model_free(&m);
            expect_way_back(dir, &x);
        }
}

/* ---- rounding: from the definition of the formats, for every value that they have ---- */

static void put_16(enum dtype dtype, const double *x, int n, uint16_t *bits)
{
    char path[256];
    struct st_entry entry = {"x", dtype, 1, {n}};
    struct st_writer w;
    struct safetensors s;
    struct error e = {""};
    must(st_create(&w, in_folder(path, "x"), &entry, 1, NULL, &e) || st_put(&w, x, n, &e) || st_commit(&w, &e), &e);
    must(safetensors_open(&s, path, &e), &e);
    memcpy(bits, s.tensor[0].data, 2 * (size_t)n);
    safetensors_close(&s);
    unlink(path);
}

/* Neighbours a < b of the format: each is written as itself, the middle as the even one, and what lies a hair beside
 * the middle as the nearer one. The hair is one of single precision, in which weights are held. */
static void expect_rounding(enum dtype dtype, uint16_t infinite)
{
    static uint16_t bits[0x8000], got[4 * 0x8000];
    static double value[0x8000], x[4 * 0x8000];
    for (int i = 0; i < infinite; i++)
        bits[i] = (uint16_t)i;
    struct st_tensor t = {.dtype = dtype, .dims = 1, .count = infinite, .data = (const unsigned char *)bits};
    st_read(&t, 0, infinite, value);
    for (int sign = 0; sign < 2; sign++) {
        for (int i = 0; i + 1 < infinite; i++) {
            float middle = (float)((value[i] + value[i + 1]) / 2);
            double near[4] = {value[i], nextafterf(middle, 0), middle, nextafterf(middle, INFINITY)};
            for (int k = 0; k < 4; k++)
                x[4 * i + k] = sign ? -near[k] : near[k];
        }
        put_16(dtype, x, 4 * (infinite - 1), got);
        for (int i = 0; i + 1 < infinite; i++) {
            const int want[4] = {i, i, i % 2 ? i + 1 : i, i + 1};
            for (int k = 0; k < 4; k++)
                if (got[4 * i + k] != (want[k] | sign << 15))
                    fail_msg("%a is written as %04x, not %04x", x[4 * i + k], got[4 * i + k], want[k] | sign << 15);
        }
    }
    double last = 2 * value[infinite - 1] - value[infinite - 2], edge = (value[infinite - 1] + last) / 2;
    const double far[4] = {edge, nextafterf((float)edge, 0), INFINITY, NAN};
    put_16(dtype, far, 4, got);
    assert_true(got[0] == infinite && got[1] == infinite - 1 && got[2] == infinite && (got[3] & 0x7fff) > infinite);
}

static void test_rounding(void **state)
{
    (void)state;
    expect_rounding(DTYPE_F16, 0x7c00);
    expect_rounding(DTYPE_BF16, 0x7f80);
}

/* ---- the verb ---- */

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[300];
    struct error e = {""};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    must(file_write(path, text, strlen(text), &e), &e);
}

static void copy_file(const char *from, const char *to, const char *name)
{
    char path[300];
    size_t len;
    struct error e = {""};
    snprintf(path, sizeof path, "%s/%s", from, name);
    char *bytes = file_read(path, 1 << 24, &len, &e);
    must(!bytes, &e);
    snprintf(path, sizeof path, "%s/%s", to, name);
    must(file_write(path, bytes, len, &e), &e);
    mem_free(bytes);
}

#define QWEN2 "test/ref/checkpoints/qwen2-f32"

static void test_carried(void **state)
{
    (void)state;
    char in[256], out[256];
    struct error e = {""};
    must(file_make_directory(in_folder(in, "in"), &e), &e);
    copy_file(QWEN2, in, "config.json");
    copy_file(QWEN2, in, "model.safetensors");
    write_text(in, "tokenizer.json", "not even JSON \xff");
    write_text(in, "merges.txt", "a b\n");
    write_text(in, "tokenizer_config.json", "{}");
    write_text(in, "notes.txt", "mine");
    char slash[300];
    snprintf(slash, sizeof slash, "%s/", in_folder(out, "deep"));
    assert_int_equal(export(in, slash, "bf16", "0"), 0);
    static const char *const kept[] = {"tokenizer.json", "merges.txt", "tokenizer_config.json", "vocab.json"};
    for (int i = 0; i < 4; i++)
        assert_true(same_file(in, out, kept[i]));
    assert_false(same_file(in, out, "notes.txt"));
    must(file_remove_directory(in, &e) || file_remove_directory(out, &e), &e);
}

static void test_export_refused(void **state)
{
    (void)state;
    char out[256], part[256], in[256], word[300];
    struct error e = {""};
    in_folder(out, "out");
    in_folder(part, "out.part");
    snprintf(word, sizeof word, "out=%s", out);
    assert_int_equal(run_export(0, NULL), 2);
    assert_int_equal(run_export(1, (const char *const[]){"model.path=" QWEN2}), 2);
    assert_int_equal(run_export(1, (const char *const[]){word}), 2);
    assert_int_equal(export(QWEN2, out, "f64", "0"), 2);
    assert_int_equal(export("/nonexistent", out, "f32", "0"), 1);
    /* what is there stays, be it a directory, a file, or a link to nowhere */
    must(file_make_directory(out, &e), &e);
    assert_int_equal(export(QWEN2, out, "f32", "0"), 2);
    assert_int_equal(rmdir(out), 0);
    write_text(folder, "out", "mine");
    assert_int_equal(export(QWEN2, out, "f32", "0"), 2);
    assert_int_equal(unlink(out), 0);
    assert_int_equal(symlink("nowhere", out), 0);
    assert_int_equal(export(QWEN2, out, "f32", "0"), 2);
    assert_int_equal(unlink(out), 0);
    must(file_make_directory(part, &e), &e);
    write_text(part, "mine", "mine");
    assert_int_equal(export(QWEN2, out, "f32", "0"), 1);
    must(file_remove_directory(part, &e), &e);
    /* a weight beyond the format: nothing appears */
    struct model m;
    double big = 65520;
    open_model(&m, QWEN2);
    model_write(&m, m.normf_w, 0, 3, 1, &big);
    must(file_make_directory(in_folder(in, "in"), &e) || checkpoint_save(&m, in, NULL, &e), &e);
    model_free(&m);
    assert_int_equal(export(in, out, "f16", "0"), 1);
    assert_true(access(out, F_OK) && access(part, F_OK));
    assert_int_equal(export(in, out, "bf16", "0"), 0);
    must(file_remove_directory(in, &e) || file_remove_directory(out, &e), &e);
}

/* Readers take model.safetensors before an index, so shards are not written beside one. */
static void test_stale_file(void **state)
{
    (void)state;
    char in[256];
    struct model m;
    struct error e = {""};
    open_model(&m, QWEN2);
    must(file_make_directory(in_folder(in, "in"), &e) || checkpoint_save(&m, in, NULL, &e), &e);
    assert_int_equal(checkpoint_export(&m, in, NULL, DTYPE_F32, 4000, &e), -1);
    assert_non_null(strstr(e.text, "remove it"));
    write_text(in, "model.safetensors.index.json", "[]");
    must(checkpoint_load(&m, in, &e), &e);
    must(file_remove_directory(in, &e), &e);
    model_free(&m);
}

/* ---- an index and shards that do not belong together ---- */

#define LLAMA "test/ref/checkpoints/llama3-bf16"

static void copy_llama(const char *to)
{
    static const char *const files[] = {"config.json", "model.safetensors.index.json",
                                        "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                        "model-00003-of-00003.safetensors"};
    struct error e = {""};
    must(file_make_directory(to, &e), &e);
    for (int i = 0; i < 5; i++)
        copy_file(LLAMA, to, files[i]);
}

/* NULL reason: it loads. */
static void expect_llama(const char *dir, const char *reason)
{
    struct arch a;
    struct model m;
    struct error e = {""};
    must(checkpoint_arch(LLAMA, &a, NULL, &e) || model_create(&m, &a, 0, &device, 0, &e), &e);
    int status = checkpoint_load(&m, dir, &e);
    model_free(&m);
    if (reason ? !status || !strstr(e.text, reason) || !strstr(e.text, dir) : status)
        fail_msg("\"%s\" instead of \"%s\" and the directory", e.text, reason ? reason : "success");
}

static void set_weight(const char *dir, const char *tensor, const char *value)
{
    char path[300];
    struct error e = {""};
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    json_t *index = json_read(path, &e), *map = json_object_get(index, "weight_map");
    assert_non_null(map);
    if (value)
        json_object_set_new(map, tensor, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(map, tensor);
    must(json_write(path, index, &e), &e);
    json_decref(index);
}

static void test_index_refused(void **state)
{
    (void)state;
    static const struct {
        const char *tensor, *value, *reason;
    } maps[] = {
        {"model.norm.weight", "\"model-00003-of-00003.safetensors\"", NULL},
        {"model.norm.weight", "\"model-00001-of-00003.safetensors\"", "'model.norm.weight' lies in model-00001"},
        {"model.norm.weight", NULL, "does not name tensor 'model.norm.weight'"},
        {"model.more", "\"model-00001-of-00003.safetensors\"", "names tensor 'model.more', which model-00001"},
        {"model.more", "\"absent.safetensors\"", "absent.safetensors"},
        {"model.more", "\"twin.safetensors\"", "but twin.safetensors holds one"},
        {"model.more", "\"../llama/model-00001-of-00003.safetensors\"", "beside the index"},
        {"model.more", "\"model-00001-of-00003.bin\"", "beside the index"},
        {"model.more", "\".safetensors\"", "beside the index"},
        {"model.more", "\"a\\nb.safetensors\"", "beside the index"},
        {"model.more", "1", "beside the index"},
        {"a\tb", "\"model-00001-of-00003.safetensors\"", "control characters"},
    };
    static const char *const texts[] = {"[]", "{}", "{\"weight_map\":{}}", "{\"weight_map\":[]}", "{\"weight_map\":"};
    char dir[256], path[300];
    struct error e = {""};
    in_folder(dir, "llama");
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        copy_llama(dir);
        snprintf(path, sizeof path, "%s/twin.safetensors", dir);
        assert_int_equal(symlink("model-00003-of-00003.safetensors", path), 0);
        set_weight(dir, maps[i].tensor, maps[i].value);
        expect_llama(dir, maps[i].reason);
        must(file_remove_directory(dir, &e), &e);
    }
    copy_llama(dir);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(dir, "model.safetensors.index.json", texts[i]);
        expect_llama(dir, "model.safetensors.index.json");
    }
    must(file_remove_directory(dir, &e), &e);
    copy_llama(dir);
    snprintf(path, sizeof path, "%s/model-00002-of-00003.safetensors", dir);
    must(file_truncate(path, file_size(path) / 2, &e), &e);
    expect_llama(dir, "truncated");
    assert_int_equal(unlink(path), 0);
    expect_llama(dir, "truncated");
    must(file_remove_directory(dir, &e), &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),       cmocka_unit_test(test_rounding),   cmocka_unit_test(test_carried),
        cmocka_unit_test(test_export_refused), cmocka_unit_test(test_stale_file), cmocka_unit_test(test_index_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
