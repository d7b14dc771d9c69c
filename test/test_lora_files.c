/* Adapters in PEFT's layout against files that PEFT wrote (test/ref/adapters, made by dev/reference/adapters.py): what
 * they compute, the way back, merging; and what is refused of a configuration and of its tensors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../model/base/file.h"
#include "../model/base/json.h"
#include "../model/base/mem.h"
#include "../model/checkpoint.h"
#include "../model/lora.h"
#include "../model/safetensors.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

static char folder[64];
static struct device device;

static int set_up(void **state)
{
    (void)state;
    struct error e;
    snprintf(folder, sizeof folder, "/tmp/test_lora_files.XXXXXX");
    return mkdtemp(folder) && !device_open(&device, &cpu_ops, 2, &e) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    device_close(&device);
    return file_remove_directory(folder, NULL);
}

static void must(int status, const struct error *e)
{
    if (status)
        fail_msg("%s", e->text);
}

/* ---- what PEFT computes ---- */

static const struct {
    const char *adapter, *base;
    int rank;
    unsigned targets;
} cases[] = {{"gpt2-all", "gpt2-f32", 4, 15},      {"gpt2-attention", "gpt2-bf16", 3, 3},
             {"llama2-bf16", "llama2-f32", 8, 37}, {"llama3-rank-stabilised", "llama3-f32", 5, 26},
             {"qwen2-all", "qwen2-f32", 2, 127},   {"qwen3-few", "qwen3-f32", 6, 65}};
enum { CASES = sizeof cases / sizeof *cases, IDS = 40 };

static void paths_of(int i, char adapter[128], char base[128])
{
    snprintf(adapter, 128, "test/ref/adapters/%s", cases[i].adapter);
    snprintf(base, 128, "test/ref/checkpoints/%s", cases[i].base);
}

static void open_adapted(struct model *m, const char *base, const char *adapter)
{
    struct arch a;
    struct error e = {""};
    must(checkpoint_arch(base, &a, NULL, &e) || lora_read(adapter, &a, NULL, &e), &e);
    must(model_create(m, &a, 0, &device, 0, &e) || checkpoint_load(m, base, &e) || lora_load(m, adapter, &e), &e);
}

/* Logits [IDS][V] of one text. */
static void compute(const struct model *m, const int32_t *ids, double *logits)
{
    const struct segment whole = {-1, 0, IDS};
    const int group[2] = {0, 1}, entries[2] = {0, IDS};
    int32_t row[IDS];
    double one[IDS];
    struct layout l;
    struct tape t;
    for (int i = 0; i < IDS; i++) {
        row[i] = i;
        one[i] = 1;
    }
    layout_create(&l, &device, m->arch.V, IDS, 1, 1, IDS, 0);
    tape_plan(&t, &m->arch, &device, IDS, IDS, IDS + KV_ALIGN, KEEP_NOTHING);
    tape_commit(&t);
    layout_set(&l, ids, &whole, group, 1);
    layout_entries(&l, IDS, row, ids, one, NULL, NULL, entries, 1);
    model_forward(m, &t, &l.rows, t.kv, 0, t.store);
    model_logits(m, &t, &l, logits);
    tape_free(&t);
    layout_free(&l);
}

static double largest_difference(const double *x, const double *y, int n)
{
    double most = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, fabs(x[i] - y[i]));
    return most;
}

static void as_peft_computes(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        char adapter[128], base[128], path[256];
        double id[IDS], want[IDS * 48], got[IDS * 48];
        int32_t ids[IDS];
        struct safetensors s;
        struct model m;
        struct error e = {""};
        paths_of(i, adapter, base);
        snprintf(path, sizeof path, "%s/expected.safetensors", adapter);
        open_adapted(&m, base, adapter);
        assert_int_equal(m.arch.lora.rank, cases[i].rank);
        assert_int_equal(m.arch.lora.targets, cases[i].targets);
        must(safetensors_open(&s, path, &e), &e);
        int V = m.arch.V;
        const int64_t shape[2] = {IDS, V};
        st_read(safetensors_find(&s, "ids"), 0, IDS, id);
        const struct st_tensor *logits = safetensors_need(&s, "logits", 2, shape, &e);
        assert_non_null(logits);
        st_read(logits, 0, (int64_t)IDS * V, want);
        for (int k = 0; k < IDS; k++)
            ids[k] = (int32_t)id[k];
        compute(&m, ids, got);
        double off = largest_difference(got, want, IDS * V);
        if (!(off < 1e-4))
            fail_msg("%s: logits differ by %g", cases[i].adapter, off);
        lora_merge(&m);
        assert_true(m.plain);
        compute(&m, ids, got);
        off = largest_difference(got, want, IDS * V);
        if (!(off < 1e-4))
            fail_msg("%s, merged: logits differ by %g", cases[i].adapter, off);
        st_read(safetensors_find(&s, "base"), 0, (int64_t)IDS * V, got);
        assert_true(largest_difference(got, want, IDS * V) > 1); /* the adapter matters */
        safetensors_close(&s);
        model_free(&m);
    }
}

static void written_back_and_read_again(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        char adapter[128], base[128], again[512] = "";
        struct model m, n;
        struct error e = {""};
        paths_of(i, adapter, base);
        open_adapted(&m, base, adapter);
        must(lora_save(&m, folder, base, &e), &e);
        assert_true(lora_exists(folder) && !lora_exists(base));
        open_adapted(&n, base, folder);
        assert_int_equal(model_hash(&m), model_hash(&n));
        struct arch a = m.arch;
        must(lora_read(folder, &a, again, &e), &e);
        assert_string_equal(again, base);
        assert_memory_equal(&a.lora, &m.arch.lora, sizeof a.lora);
        model_free(&m);
        model_free(&n);
    }
}

/* ---- what is refused ---- */

static json_t *config_of(const char *adapter)
{
    char path[256];
    struct error e = {""};
    snprintf(path, sizeof path, "%s/adapter_config.json", adapter);
    json_t *c = json_read(path, &e);
    if (!c)
        fail_msg("%s", e.text);
    return c;
}

static void put_config(json_t *c)
{
    char path[256];
    struct error e = {""};
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    must(json_write(path, c, &e), &e);
}

/* key = JSON text put into the configuration of an adapter for Qwen2; "" removes the key. */
static void configurations(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *says; /* says: NULL accepted */
    } c[] = {{"peft_type", "\"LORA\"", NULL},
             {"peft_type", "\"IA3\"", "peft_type"},
             {"peft_type", "", "peft_type"},
             {"task_type", "null", NULL},
             {"task_type", "\"SEQ_CLS\"", "task_type"},
             {"bias", "\"all\"", "bias"},
             {"bias", "\"lora_only\"", "bias"},
             {"use_dora", "true", "use_dora"},
             {"use_qalora", "true", "use_qalora"},
             {"lora_bias", "true", "lora_bias"},
             {"modules_to_save", "[\"lm_head\"]", "modules_to_save"},
             {"modules_to_save", "[]", NULL},
             {"rank_pattern", "{\"q_proj\":4}", "rank_pattern"},
             {"alpha_pattern", "{\"q_proj\":4}", "alpha_pattern"},
             {"layers_to_transform", "[0]", "layers_to_transform"},
             {"layer_replication", "[[0,1]]", "layer_replication"},
             {"exclude_modules", "[\"q_proj\"]", "exclude_modules"},
             {"target_parameters", "[\"x\"]", "target_parameters"},
             {"trainable_token_indices", "[1]", "trainable_token_indices"},
             {"tomorrows_variant", "1", "tomorrows_variant"},
             {"tomorrows_variant", "false", NULL},
             {"init_lora_weights", "\"gaussian\"", NULL},
             {"init_lora_weights", "\"pissa\"", "init_lora_weights"},
             {"init_lora_weights", "3", "init_lora_weights"},
             {"fan_in_fan_out", "true", NULL}, /* PEFT sets it as the layer wants it */
             {"lora_dropout", "0.2", NULL},
             {"r", "3", "wanted"},
             {"r", "0", "r"},
             {"r", "1e9", "r"},
             {"r", "\"4\"", "r"},
             {"r", "", "r"},
             {"lora_alpha", "-1", "alpha"},
             {"lora_alpha", "1e300", "alpha"},
             {"lora_alpha", "\"x\"", "lora_alpha"},
             {"lora_alpha", "2.5", NULL},
             {"use_rslora", "true", NULL},
             {"use_rslora", "\"yes\"", "use_rslora"},
             {"target_modules", "\"all-linear\"", NULL},
             {"target_modules", "\".*proj\"", "a pattern"},
             {"target_modules", "", "missing"},
             {"target_modules", "[]", "empty"},
             {"target_modules", "[3]", "no name"},
             {"target_modules", "[\"\"]", "no name"},
             {"target_modules", "[\"q_proj,k_proj\"]", "no name"},
             {"target_modules", "[\"q_proj\\u0000\"]", "JSON"},
             {"target_modules", "[\"lm_head\"]", "self_attn.q_proj"},
             {"target_modules", "[\"model.layers.0.self_attn.q_proj\"]", "no place"},
             {"target_modules", "[\"model.layers..self_attn.q_proj\"]", "self_attn.q_proj"},
             {"target_modules", "[\"c_attn\"]", "self_attn.q_proj"}};
    const char *adapter = "test/ref/adapters/qwen2-all", *base = "test/ref/checkpoints/qwen2-f32";
    char from[256], to[256];
    struct error e = {""};
    size_t len;
    snprintf(from, sizeof from, "%s/adapter_model.safetensors", adapter);
    snprintf(to, sizeof to, "%s/adapter_model.safetensors", folder);
    const void *bytes = file_map(from, &len, &e);
    assert_non_null(bytes);
    must(file_write(to, bytes, len, &e), &e);
    file_unmap(bytes, len);
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++) {
        json_t *config = config_of(adapter), *value = json_loads(c[i].value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        struct arch a;
        struct model m = {0};
        if (value)
            json_object_set_new(config, c[i].key, value);
        else
            json_object_del(config, c[i].key);
        put_config(config);
        json_decref(config);
        must(checkpoint_arch(base, &a, NULL, &e), &e);
        struct arch before = a;
        int status = lora_read(folder, &a, NULL, &e);
        if (status)
            assert_memory_equal(&a, &before, sizeof a);
        else
            must(model_create(&m, &a, 0, &device, 0, &e), &e);
        if (!status)
            status = lora_load(&m, folder, &e);
        if (m.tensor)
            model_free(&m);
        if (!status != !c[i].says)
            fail_msg("%s = %s: %s", c[i].key, c[i].value, status ? e.text : "accepted");
        if (status && (!strstr(e.text, c[i].says) || !strstr(e.text, folder)))
            fail_msg("%s = %s: \"%s\" does not say '%s'", c[i].key, c[i].value, e.text, c[i].says);
    }
}

/* Tensors of a file of two, wrong in one way each. */
static void tensors(void **state)
{
    (void)state;
    static const char A[] = "base_model.model.model.layers.%d.self_attn.q_proj.lora_A.weight",
                      B[] = "base_model.model.model.layers.%d.self_attn.q_proj.lora_B.weight";
    static const struct {
        const char *name[2]; /* of tensors 0 and 3 instead of A of layer 0 and B of layer 1 */
        int rows, columns;   /* of tensor 0 */
        int bad;             /* its second number is this: 1 not a number, 2 infinite */
        const char *says;
    } c[] = {{{NULL, NULL}, 2, 16, 0, NULL},
             {{NULL, NULL}, 3, 16, 0, "layers.0.self_attn.q_proj.lora_A"},
             {{NULL, NULL}, 16, 2, 0, "layers.0.self_attn.q_proj.lora_A"},
             {{NULL, NULL}, 2, 17, 0, "layers.0.self_attn.q_proj.lora_A"},
             {{NULL, NULL}, 2, 16, 1, "not a number"},
             {{NULL, NULL}, 2, 16, 2, "infinite"},
             {{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight", NULL}, 2, 16, 0, "lora_A"},
             {{"model.layers.0.self_attn.q_proj.lora_A.weight", NULL}, 2, 16, 0, "lora_A"},
             {{NULL, "base_model.model.model.layers.2.self_attn.q_proj.lora_B.weight"}, 2, 16, 0, "lora_B"},
             {{NULL, "base_model.model.model.layers.1.self_attn.q_proj.lora_magnitude_vector"}, 2, 16, 0, "lora_B"}};
    const char *base = "test/ref/checkpoints/qwen2-f32";
    char path[256];
    double x[16 * 17] = {0};
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    json_t *config = config_of("test/ref/adapters/qwen2-all"), *list = json_array();
    json_array_append_new(list, json_string("q_proj"));
    json_object_set_new(config, "target_modules", list);
    put_config(config);
    json_decref(config);
    for (unsigned i = 0; i < 1 + sizeof c / sizeof *c; i++) { /* the last: one tensor too many */
        unsigned k = i < sizeof c / sizeof *c ? i : 0;
        int n = i == k ? 4 : 5;
        const char *says = i == k ? c[k].says : "no place";
        struct st_entry entry[5] = {{.name = ""}};
        struct st_writer w;
        struct error e = {""};
        for (int t = 0; t < n; t++) {
            entry[t].dtype = DTYPE_F32;
            entry[t].dims = 2;
            entry[t].shape[0] = t % 2 ? 16 : 2;
            entry[t].shape[1] = t % 2 ? 2 : 16;
            snprintf(entry[t].name, sizeof entry->name, t % 2 ? B : A, t / 2);
        }
        entry[0].shape[0] = c[k].rows;
        entry[0].shape[1] = c[k].columns;
        for (int t = 0; t < 2; t++)
            if (c[k].name[t])
                snprintf(entry[3 * t].name, sizeof entry->name, "%s", c[k].name[t]);
        must(st_create(&w, path, entry, n, NULL, &e), &e);
        for (int t = 0; t < n; t++) {
            x[1] = t || !c[k].bad ? 0.5 : c[k].bad == 1 ? NAN : INFINITY;
            must(st_put(&w, x, entry[t].shape[0] * entry[t].shape[1], &e), &e);
        }
        must(st_commit(&w, &e), &e);
        struct arch a;
        struct model m;
        must(checkpoint_arch(base, &a, NULL, &e) || lora_read(folder, &a, NULL, &e), &e);
        must(model_create(&m, &a, 0, &device, 0, &e), &e);
        uint64_t before = model_hash(&m);
        int status = lora_load(&m, folder, &e);
        if (!status != !says || (says && (!strstr(e.text, says) || !strstr(e.text, path))))
            fail_msg("case %u: '%s' wanted, %s", i, says ? says : "accepted", status ? e.text : "accepted");
        if (status && !c[k].bad)
            assert_int_equal(model_hash(&m), before); /* nothing written */
        model_free(&m);
    }
}

static void other_directories(void **state)
{
    (void)state;
    struct arch a;
    struct error e = {""};
    char path[256];
    must(checkpoint_arch("test/ref/checkpoints/qwen2-f32", &a, NULL, &e), &e);
    assert_int_equal(lora_read("test/ref/checkpoints/qwen2-f32", &a, NULL, &e), -1);
    assert_non_null(strstr(e.text, "adapter_config.json"));
    assert_int_equal(lora_read("test/ref/adapters/gpt2-all", &a, NULL, &e), -1); /* another family's */
    assert_non_null(strstr(e.text, "self_attn.q_proj"));
    static const char *const texts[] = {"", "[]", "{", "nonsense", "{\"peft_type\":\"LORA\"}"};
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        must(file_write(path, texts[i], strlen(texts[i]), &e), &e);
        assert_int_equal(lora_read(folder, &a, NULL, &e), -1);
        assert_non_null(strstr(e.text, path));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_peft_computes),  cmocka_unit_test(written_back_and_read_again),
        cmocka_unit_test(configurations),    cmocka_unit_test(tensors),
        cmocka_unit_test(other_directories),
    };
    return cmocka_run_group_tests_name("adapters in files", tests, set_up, tear_down);
}
