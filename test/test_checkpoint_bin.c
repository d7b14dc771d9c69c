/* Weights as llama2.c writes them: written here from its documentation for random models, read back bit for bit; the
 * trained model of its author gives the numbers published with it; files that lie are refused by what is wrong.
 */
#define FOLDER "/tmp/test_checkpoint_bin.XXXXXX"
#include <math.h>
#include "../model/base/json.h"
#include "../model/base/rng.h"
#include "../model/checkpoint.h"
#include "../model/transformer.h"
#include "runs.h" /* last: cmocka has a macro fail */

#define STORIES "../shared/data/stories260K"

static const struct arch small = {.V = 11,
                                  .context = 24,
                                  .C = 24,
                                  .layers = 3,
                                  .H = 4,
                                  .G = 2,
                                  .D = 6,
                                  .F = 20,
                                  .norm = NORM_RMS,
                                  .position = POSITION_ROTARY,
                                  .mlp = MLP_SWIGLU,
                                  .tied = 1,
                                  .norm_eps = 1e-5f,
                                  .rope_theta = 10000};
static struct device device;

static int open_device(void **state)
{
    struct error e;
    return set_up(state) || device_open(&device, &cpu_ops, 1, &e);
}

static int close_device(void **state)
{
    device_close(&device);
    return tear_down(state);
}

static struct model random_model(const struct arch *a)
{
    struct model m;
    struct error e = {""};
    if (model_create(&m, a, 1, &device, 0, &e))
        fail_msg("%s", e.text);
    model_init(&m, 3);
    for (int i = 0; i < m.tensors; i++) { /* norms as well */
        const struct tensor *t = &m.tensor[i];
        double *x = mem_alloc((size_t)t->N * t->K, sizeof *x);
        for (size_t k = 0; k < (size_t)t->N * t->K; k++)
            x[k] = (float)rng_normal(rng_stream(4, RNG_TEST, 0, (uint64_t)i, 0), k);
        model_write(&m, i, 0, 0, t->N, x);
        mem_free(x);
    }
    return m;
}

/* ---- writing such a file ---- */

struct file {
    unsigned char s[1 << 16];
    size_t len;
};

static void put_number(struct file *f, int32_t x)
{
    memcpy(f->s + f->len, &x, 4);
    f->len += 4;
}

/* Rows [row, row + rows) of a tensor; heads of D rows in the order of llama2.c, which turns neighbours, where D > 0. */
static void put_rows(struct file *f, const struct model *m, int tensor, int row, int rows, int D)
{
    int K = m->tensor[tensor].K;
    double x[64];
    for (int r = 0; r < rows; r++) {
        int head = D ? r / D * D : 0, i = D ? r % D : r;
        int from = D ? head + (i % 2 ? D / 2 : 0) + i / 2 : r;
        model_read(m, tensor, 0, row + from, 1, x);
        for (int k = 0; k < K; k++) {
            float y = (float)x[k];
            memcpy(f->s + f->len, &y, 4);
            f->len += 4;
        }
    }
}

enum kind { ATT_NORM, WQ, WK, WV, WO, FFN_NORM, W1, W2, W3 };

static void put_layers(struct file *f, const struct model *m, enum kind kind)
{
    const struct arch *a = &m->arch;
    int q = a->H * a->D, kv = a->G * a->D;
    for (int i = 0; i < a->layers; i++) {
        const int *l = m->layer[i];
        switch (kind) {
        case ATT_NORM:
            put_rows(f, m, l[LAYER_NORM1_W], 0, a->C, 0);
            break;
        case WQ:
            put_rows(f, m, l[LAYER_QKV_W], 0, q, a->D);
            break;
        case WK:
            put_rows(f, m, l[LAYER_QKV_W], q, kv, a->D);
            break;
        case WV:
            put_rows(f, m, l[LAYER_QKV_W], q + kv, kv, 0);
            break;
        case WO:
            put_rows(f, m, l[LAYER_OUT_W], 0, a->C, 0);
            break;
        case FFN_NORM:
            put_rows(f, m, l[LAYER_NORM2_W], 0, a->C, 0);
            break;
        case W1:
            put_rows(f, m, l[LAYER_UP_W], 0, a->F, 0);
            break;
        case W2:
            put_rows(f, m, l[LAYER_DOWN_W], 0, a->C, 0);
            break;
        case W3:
            put_rows(f, m, l[LAYER_UP_W], a->F, a->F, 0);
            break;
        }
    }
}

static void make_file(struct file *f, const struct model *m, int version)
{
    const struct arch *a = &m->arch;
    static const enum kind after[] = {WQ, WK, WV, WO, W1, W2, W3};
    f->len = 0;
    if (version) {
        put_number(f, 0x616b3432);
        put_number(f, version);
    }
    const int32_t numbers[7] = {a->C, a->F, a->layers, a->H, a->G, version || a->tied ? a->V : -a->V, a->context};
    for (int i = 0; i < 7; i++)
        put_number(f, numbers[i]);
    if (version) {
        memset(f->s + f->len, 0, 256 - f->len);
        f->s[f->len] = (unsigned char)a->tied;
        f->len = 256;
        put_layers(f, m, ATT_NORM);
        put_layers(f, m, FFN_NORM);
        put_rows(f, m, m->normf_w, 0, a->C, 0);
    }
    put_rows(f, m, m->wte, 0, a->V, 0);
    if (version)
        for (int i = 0; i < 7; i++)
            put_layers(f, m, after[i]);
    for (int kind = ATT_NORM; kind <= W3 && !version; kind++)
        put_layers(f, m, (enum kind)kind);
    if (!version) {
        put_rows(f, m, m->normf_w, 0, a->C, 0);
        memset(f->s + f->len, 0x7f, (size_t)a->context * a->D * 4); /* the tables: read by nobody */
        f->len += (size_t)a->context * a->D * 4;
    }
    if (!a->tied)
        put_rows(f, m, m->head, 0, a->V, 0);
}

static const char *write_file(const struct file *f, size_t len)
{
    static char path[600];
    struct error e = {""};
    if (file_write(in_folder(path, "model.bin"), f->s, len, &e))
        fail_msg("%s", e.text);
    return path;
}

/* ---- reading ---- */

static void test_round_trip(void **state)
{
    (void)state;
    static struct file f;
    for (int version = 0; version < 2; version++)
        for (int tied = 0; tied < 2; tied++) {
            struct arch a = small, said;
            struct token_ids ids;
            struct error e = {""};
            a.tied = tied;
            struct model m = random_model(&a), back;
            make_file(&f, &m, version);
            const char *path = write_file(&f, f.len);
            if (checkpoint_arch(path, &said, &ids, &e) || model_create(&back, &said, 1, &device, 0, &e) ||
                checkpoint_load(&back, path, &e))
                fail_msg("version %d, tied %d: %s", version, tied, e.text);
            assert_true(said.C == a.C && said.F == a.F && said.G == a.G && said.context == a.context);
            assert_true(ids.bos == 1 && ids.ends == 2 && ids.end[0] == 2 && ids.end[1] == 1);
            assert_true(model_hash(&back) == model_hash(&m));
            model_free(&back);
            model_free(&m);
        }
}

/* What reads a file that says `says` must refuse it so. */
static void refused(const struct file *f, size_t len, const char *says)
{
    struct arch a;
    struct token_ids ids;
    struct error e = {""};
    const char *path = write_file(f, len);
    if (checkpoint_arch(path, &a, &ids, &e) == 0)
        fail_msg("accepted, not refused with \"%s\"", says);
    if (!strstr(e.text, says) || !strstr(e.text, "model.bin"))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
}

static void test_lies(void **state)
{
    (void)state;
    static struct file good, bad;
    const struct {
        size_t at;
        int32_t number;
        const char *says;
    } lies[] = {
        {0, 0, "dim is 0"},
        {0, -24, "dim is -24"},
        {4, -1, "hidden_dim"},
        {8, 4, "bytes, but its header"},
        {8, 1 << 30, "layers of the model is"},
        {12, 5, "not a multiple of n_heads"},
        {12, 8, "head size 3 is odd"},
        {16, 3, "cannot share"},
        {16, 0, "n_kv_heads is 0"},
        {20, INT32_MIN, "vocab_size"},
        {20, 0, "vocab_size is 0"},
        {20, 2, "special ones"},
        {20, 12, "bytes, but its header"},
        {20, -11, "output of its own"},
        {20, 1 << 22, "bytes, but its header"},
        {24, 0x7fffffff, "context of the model"},
        {24, 23, "bytes, but its header"},
    };
    struct model m = random_model(&small);
    make_file(&good, &m, 0);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        bad = good;
        memcpy(bad.s + lies[i].at, &lies[i].number, 4);
        refused(&bad, bad.len, lies[i].says);
    }
    for (size_t len = 1; len < good.len; len += len < 40 ? 1 : 997)
        refused(&good, len, len < 28 ? "too few for a header" : "is it truncated?");
    refused(&good, good.len + 1, "is it truncated?");
    make_file(&good, &m, 1);
    for (size_t len = 8; len < good.len; len += len < 300 ? 13 : 997)
        refused(&good, len, len < 256 ? "too few for a header" : "is it truncated?");
    bad = good;
    bad.s[36] = 7;
    refused(&bad, bad.len, "the flag for a shared output is 7");
    bad = good;
    memcpy(bad.s + 28, &(int32_t){-11}, 4); /* only version 0 has negative ones */
    refused(&bad, bad.len, "vocab_size is -11");
    bad = good;
    bad.s[4] = 2;
    refused(&bad, bad.len, "quantised");
    bad.s[4] = 3;
    refused(&bad, bad.len, "version 3");
    model_free(&m);
}

static void test_bad_weights(void **state)
{
    (void)state;
    static struct file f;
    struct error e = {""};
    struct arch other = small;
    struct model m = random_model(&small), back = random_model(&small);
    make_file(&f, &m, 0);
    float nan = 0.0f / 0.0f;
    size_t at = 28 + 4 * (size_t)(11 * 24 + 3 * 24 + 24 + 2); /* the second row, third column of the first wq */
    memcpy(f.s + at, &nan, 4);
    const char *path = write_file(&f, f.len);
    assert_int_equal(checkpoint_load(&back, path, &e), -1);
    assert_non_null(strstr(e.text, "q_proj"));
    assert_non_null(strstr(e.text, "[1, 2] is not a number"));
    model_free(&back);
    other.F = 24; /* a model of another architecture */
    back = random_model(&other);
    uint64_t before = model_hash(&back);
    assert_int_equal(checkpoint_load(&back, path, &e), -1);
    assert_non_null(strstr(e.text, "MLP width"));
    assert_true(model_hash(&back) == before);
    model_free(&back);
    model_free(&m);
}

/* ---- the author's own file ---- */

static void need_stories(void)
{
    if (access(STORIES "/stories260K.bin", R_OK)) {
        print_message("skipped: %s is not there\n", STORIES);
        skip();
    }
}

/* The same model was converted for the Hugging Face layout by another program. */
static void test_stories(void **state)
{
    (void)state;
    need_stories();
    struct arch a, b;
    struct model m, n;
    struct error e = {""};
    if (checkpoint_arch(STORIES "/stories260K.bin", &a, NULL, &e) || checkpoint_arch(STORIES "/hf", &b, NULL, &e) ||
        model_create(&m, &a, 0, &device, 0, &e) || model_create(&n, &b, 0, &device, 0, &e) ||
        checkpoint_load(&m, STORIES "/stories260K.bin", &e) || checkpoint_load(&n, STORIES "/hf", &e))
        fail_msg("%s", e.text);
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(model_hash(&m) == model_hash(&n));
    model_free(&m);
    model_free(&n);
}

/* Ids of the golden text, so many as asked, and what the program thinks of them. */
static void test_golden(void **state)
{
    (void)state;
    enum { FIRST = 60 };
    need_stories();
    struct error e = {""};
    json_t *golden = json_read(STORIES "/golden.json", &e);
    if (!golden)
        fail_msg("%s", e.text);
    const json_t *ids = json_object_get(golden, "greedy_ids"), *logp = json_object_get(golden, "greedy_logprob");
    assert_int_equal(
        call("sample|model.path=" STORIES "/stories260K.bin|ids=1|temperature=0|max_new=60|json=1|threads=1"), 0);
    struct bytes b = slurp("", "printed");
    json_t *said = json_parse(b.p, strcspn(b.p, "\n"), &e);
    if (!said)
        fail_msg("%s: %s", e.text, b.p);
    for (int i = 0; i < FIRST; i++) {
        assert_int_equal(json_integer_value(json_array_get(json_object_get(said, "ids"), i)),
                         json_integer_value(json_array_get(ids, i)));
        double want = json_real_value(json_array_get(logp, i));
        assert_true(fabs(json_real_value(json_array_get(json_object_get(said, "logp"), i)) - want) < 1e-4);
    }
    mem_free(b.p);
    json_decref(said);
    json_decref(golden);
}

/* Its tokenizer by option and beside it; a run from it leaves a checkpoint in the Hugging Face layout. */
static void test_program(void **state)
{
    (void)state;
    need_stories();
    char path[600];
    struct error e = {""};
    const char *opening = "Once upon a time, there was a little girl named Lily.";
    assert_int_equal(call("sample|model.path=" STORIES "/stories260K.bin|model.tokenizer=" STORIES
                          "/tok512.bin|prompt=Once upon a time|temperature=0|max_new=16|threads=1"),
                     0);
    assert_printed(opening);
    const char *from[2] = {STORIES "/stories260K.bin", STORIES "/tok512.bin"};
    const char *to[2] = {"model.bin", "tokenizer.bin"};
    for (int i = 0; i < 2; i++) {
        size_t len;
        char *s = file_read(from[i], 1 << 24, &len, &e);
        assert_true(s && file_write(in_folder(path, to[i]), s, len, &e) == 0);
        mem_free(s);
    }
    assert_int_equal(
        call("sample|model.path=%s/model.bin|prompt=Once upon a time|temperature=0|max_new=16|threads=1", folder), 0);
    assert_printed(opening);
    snprintf(path, sizeof path,
             "stories|model.path=%s/model.bin|rl.steps=1|rollout.prompts=1|rollout.samples=4|rollout.max_new=8|"
             "eval.prompts=1|eval.samples=1|run.threads=1",
             folder);
    train("run", path);
    mem_free(slurp("run", "checkpoint/tokenizer.json").p);
    assert_int_equal(call("eval|%s/run|eval.prompts=1|eval.samples=1", folder), 0);
    assert_int_equal(call("export|model.path=%s/model.bin|out=%s/hf", folder, folder), 0);
    struct bytes b = slurp("hf", "config.json");
    assert_non_null(strstr(b.p, "\"llama\""));
    mem_free(b.p);
    assert_int_equal(call("sample|model.path=%s/hf|prompt=Once upon a time|temperature=0|max_new=16|threads=1", folder),
                     0);
    assert_printed(opening);
    assert_int_equal(call("export|model.path=" STORIES "/stories260K.bin|out=%s/alone", folder), 0);
    assert_printed("model.tokenizer=FILE");
    assert_int_equal(call("export|model.path=" STORIES "/stories260K.bin|model.tokenizer=" STORIES
                          "/tok512.bin|out=%s/named",
                          folder),
                     0);
    struct bytes beside = slurp("hf", "tokenizer.json"), named = slurp("named", "tokenizer.json");
    assert_string_equal(beside.p, named.p);
    mem_free(beside.p);
    mem_free(named.p);
    assert_int_equal(call("export|model.path=%s/model.bin|model.tokenizer=%s|out=%s/x", folder, folder, folder), 0);
    assert_int_equal(call("export|model.path=%s/hf|model.tokenizer=%s|out=%s/y", folder, folder, folder), 2);
    assert_printed("own tokenizer files");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_lies),   cmocka_unit_test(test_bad_weights),
        cmocka_unit_test(test_stories),    cmocka_unit_test(test_golden), cmocka_unit_test(test_program),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
