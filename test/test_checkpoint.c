/* model/checkpoint: configurations of the four families, what is refused and how, files that others wrote, round trips,
 * and that every tensor of a file is accounted for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../model/base/mem.h"
#include "../model/base/rng.h"
#include "../model/checkpoint.h"
#include "../model/checkpoint_inner.h"
#include "../model/safetensors.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

static char folder[64];
static struct device device;

static int set_up(void **state)
{
    (void)state;
    struct error e;
    snprintf(folder, sizeof folder, "/tmp/test_checkpoint.XXXXXX");
    return mkdtemp(folder) && !device_open(&device, &cpu_ops, 2, &e) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    struct error e;
    device_close(&device);
    return file_remove_directory(folder, &e);
}

static const char *in_folder(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

/* ---- config.json ---- */

#define GPT2_BASE                                                                                                      \
    "{\"model_type\":\"gpt2\",\"vocab_size\":50,\"n_positions\":16,\"n_embd\":12,\"n_layer\":2,\"n_head\":3}"
#define LLAMA_BASE                                                                                                     \
    "{\"model_type\":\"llama\",\"vocab_size\":50,\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":2," \
    "\"num_attention_heads\":4}"
#define QWEN2_BASE                                                                                                     \
    "{\"model_type\":\"qwen2\",\"vocab_size\":50,\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":2," \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"sliding_window\":4096,\"use_sliding_window\":false}"
#define QWEN3_BASE                                                                                                     \
    "{\"model_type\":\"qwen3\",\"vocab_size\":50,\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":2," \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2}"

/* Reads base with the members of change put over it; a member that is null there is removed. */
static int arch_of(const char *base, const char *change, struct arch *a, struct token_ids *t, struct error *e)
{
    char path[256];
    json_t *c = json_parse(base, strlen(base), e), *d = json_parse(change, strlen(change), e), *v;
    const char *key;
    assert_non_null(c);
    assert_non_null(d);
    json_object_foreach(d, key, v) json_object_set(c, key, v);
    assert_int_equal(json_write(in_folder(path, "config.json"), c, e), 0);
    json_decref(c);
    json_decref(d);
    return checkpoint_arch(folder, a, t, e);
}

static struct arch good(const char *base, const char *change, struct token_ids *t)
{
    struct arch a;
    struct error e = {""};
    if (arch_of(base, change, &a, t, &e))
        fail_msg("%s with %s: %s", base, change, e.text);
    return a;
}

static void test_config_gpt2(void **state)
{
    (void)state;
    struct token_ids t;
    struct arch a = good(GPT2_BASE, "{}", &t);
    assert_true(a.V == 50 && a.context == 16 && a.C == 12 && a.layers == 2 && a.H == 3 && a.G == 3 && a.D == 4 &&
                a.F == 48);
    assert_true(a.norm == NORM_LAYER && a.position == POSITION_LEARNED && a.mlp == MLP_GELU && a.tied && !a.qk_norm);
    assert_true(a.qkv_bias && a.out_bias && a.mlp_bias && a.norm_eps == 1e-5f);
    assert_true(t.bos == -1 && t.ends == 0 && t.pad == -1);
    a = good(
        GPT2_BASE,
        "{\"n_inner\":20,\"activation_function\":\"gelu_pytorch_tanh\",\"layer_norm_epsilon\":1e-6,\"eos_token_id\":49,"
        "\"tie_word_embeddings\":false,\"bos_token_id\":50256,\"scale_attn_weights\":true,\"resid_pdrop\":0.1,"
        "\"reorder_and_upcast_attn\":false,\"pruned_heads\":{}}",
        &t);
    assert_true(a.F == 20 && a.norm_eps == 1e-6f && !a.tied && t.ends == 1 && t.end[0] == 49 && t.bos == -1);
    assert_true(good(GPT2_BASE, "{\"n_inner\":null}", &t).F == 48);
}

static void test_config_llama(void **state)
{
    (void)state;
    struct token_ids t;
    struct arch a = good(LLAMA_BASE, "{\"eos_token_id\":[7,9],\"bos_token_id\":1,\"pad_token_id\":-1}", &t);
    assert_true(a.V == 50 && a.context == 2048 && a.C == 16 && a.H == 4 && a.G == 4 && a.D == 4 && a.F == 24 &&
                !a.tied);
    assert_true(a.norm == NORM_RMS && a.position == POSITION_ROTARY && a.mlp == MLP_SWIGLU && a.rope_theta == 10000);
    assert_true(!a.qkv_bias && !a.out_bias && !a.mlp_bias && !a.qk_norm && a.norm_eps == 1e-6f);
    assert_true(a.rope_scaling.kind == 0 && t.bos == 1 && t.pad == -1);
    a = good(
        LLAMA_BASE,
        "{\"num_key_value_heads\":2,\"head_dim\":6,\"attention_bias\":true,\"mlp_bias\":true,\"rope_theta\":5e5,"
        "\"rms_norm_eps\":1e-5,\"tie_word_embeddings\":true,\"max_position_embeddings\":8,\"hidden_act\":\"silu\"}",
        &t);
    assert_true(a.G == 2 && a.D == 6 && a.qkv_bias && a.out_bias && a.mlp_bias && a.rope_theta == 500000 && a.tied);
    assert_true(a.context == 8 && a.norm_eps == 1e-5f);
}

static void test_config_rope(void **state)
{
    (void)state;
    struct token_ids t;
    assert_true(good(LLAMA_BASE, "{\"rope_scaling\":null}", &t).rope_scaling.kind == 0);
    assert_true(good(LLAMA_BASE, "{\"rope_scaling\":{\"rope_type\":\"default\"}}", &t).rope_scaling.kind == 0);
    struct arch a = good(LLAMA_BASE, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}}", &t);
    assert_true(a.rope_scaling.kind == 1 && a.rope_scaling.factor == 2.5);
    a = good(
        LLAMA_BASE,
        "{\"rope_theta\":500000.0,\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
        "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}",
        &t);
    assert_true(a.rope_scaling.kind == 2 && a.rope_scaling.factor == 32 && a.rope_scaling.low == 1);
    assert_true(a.rope_scaling.high == 4 && a.rope_scaling.original == 8192 && a.rope_theta == 500000);
    a = good(QWEN3_BASE, "{\"rope_parameters\":{\"rope_theta\":1000000,\"rope_type\":\"default\"}}", &t);
    assert_true(a.rope_scaling.kind == 0 && a.rope_theta == 1000000);
    a = good(QWEN3_BASE, "{\"rope_parameters\":{\"rope_theta\":2e6,\"partial_rotary_factor\":1.0}}", &t);
    assert_true(a.rope_scaling.kind == 0 && a.rope_theta == 2000000);
    a = good(LLAMA_BASE,
             "{\"rope_theta\":9,\"rope_parameters\":{\"rope_theta\":3e5,\"rope_type\":\"llama3\",\"factor\":8,"
             "\"high_freq_factor\":4,\"low_freq_factor\":1,\"original_max_position_embeddings\":64}}",
             &t);
    assert_true(a.rope_scaling.kind == 2 && a.rope_scaling.original == 64 && a.rope_theta == 300000);
}

static void test_config_qwen(void **state)
{
    (void)state;
    struct token_ids t;
    struct arch a = good(QWEN2_BASE, "{}", &t);
    assert_true(a.qkv_bias && !a.out_bias && !a.mlp_bias && !a.qk_norm && a.G == 2 && a.D == 4 && a.context == 32768);
    assert_true(
        good(QWEN2_BASE, "{\"use_sliding_window\":null,\"layer_types\":[\"full_attention\",\"full_attention\"]}", &t)
            .C == 16);
    a = good(QWEN3_BASE, "{}", &t);
    assert_true(!a.qkv_bias && !a.out_bias && a.qk_norm && a.D == 128); /* that class's default, not width over heads */
    a = good(QWEN3_BASE, "{\"head_dim\":8,\"attention_bias\":true}", &t);
    assert_true(a.qkv_bias && a.out_bias && a.D == 8);
}

static void test_config_refused(void **state)
{
    (void)state;
    static const struct {
        const char *base, *change, *reason;
    } cases[] = {
        {GPT2_BASE, "{\"model_type\":\"mamba\"}", "mamba"},
        {GPT2_BASE, "{\"model_type\":7}", "model_type"},
        {GPT2_BASE, "{\"vocab_size\":null}", "vocab_size"},
        {GPT2_BASE, "{\"vocab_size\":0}", "vocab_size"},
        {GPT2_BASE, "{\"vocab_size\":1e30}", "vocab_size"},
        {GPT2_BASE, "{\"n_layer\":-1}", "n_layer"},
        {GPT2_BASE, "{\"n_embd\":\"12\"}", "n_embd"},
        {GPT2_BASE, "{\"n_embd\":13}", "n_embd"},
        {GPT2_BASE, "{\"n_embd\":2147483646,\"n_head\":1}", "n_embd"},
        {GPT2_BASE, "{\"activation_function\":\"gelu\"}", "'gelu'"},
        {GPT2_BASE, "{\"activation_function\":\"relu\"}", "'relu'"},
        {GPT2_BASE, "{\"activation_function\":3}", "activation_function"},
        {GPT2_BASE, "{\"scale_attn_weights\":false}", "scale_attn_weights"},
        {GPT2_BASE, "{\"scale_attn_by_inverse_layer_idx\":true}", "scale_attn_by_inverse_layer_idx"},
        {GPT2_BASE, "{\"add_cross_attention\":true}", "add_cross_attention"},
        {GPT2_BASE, "{\"pruned_heads\":{\"0\":[1]}}", "pruned_heads"},
        {GPT2_BASE, "{\"layer_norm_epsilon\":0}", "layer_norm_epsilon"},
        {GPT2_BASE, "{\"tie_word_embeddings\":1}", "tie_word_embeddings"},
        {GPT2_BASE, "{\"eos_token_id\":\"x\"}", "eos_token_id"},
        {GPT2_BASE, "{\"eos_token_id\":[[1]]}", "eos_token_id"},
        {LLAMA_BASE, "{\"hidden_act\":\"gelu\"}", "hidden_act"},
        {LLAMA_BASE, "{\"num_key_value_heads\":3}", "3 key/value heads"},
        {LLAMA_BASE, "{\"num_attention_heads\":3}", "hidden_size"},
        {LLAMA_BASE, "{\"head_dim\":5}", "head size 5 is odd"},
        {LLAMA_BASE, "{\"quantization_config\":{\"bits\":4}}", "quantization_config"},
        {LLAMA_BASE, "{\"sliding_window\":128}", "sliding_window"},
        {LLAMA_BASE, "{\"partial_rotary_factor\":0.5}", "partial_rotary_factor"},
        {LLAMA_BASE, "{\"attention_multiplier\":0.1}", "attention_multiplier"},
        {LLAMA_BASE, "{\"final_logit_softcapping\":30.0}", "final_logit_softcapping"},
        {LLAMA_BASE, "{\"num_local_experts\":8}", "num_local_experts"},
        {LLAMA_BASE, "{\"rope_theta\":1}", "rope_theta"},
        {LLAMA_BASE, "{\"rope_theta\":\"x\"}", "rope_theta"},
        {LLAMA_BASE, "{\"rope_scaling\":2}", "rope_scaling"},
        {LLAMA_BASE, "{\"rope_scaling\":{}}", "rope_scaling"},
        {LLAMA_BASE, "{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}}", "'dynamic'"},
        {LLAMA_BASE, "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2.0}}", "'yarn'"},
        {LLAMA_BASE, "{\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"llama3\"}}", "rope_scaling"},
        {LLAMA_BASE, "{\"rope_scaling\":{\"type\":\"linear\"}}", "\"factor\" is missing"},
        {LLAMA_BASE, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}}", "factor"},
        {LLAMA_BASE, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"attention_factor\":1.1}}",
         "attention_factor"},
        {LLAMA_BASE,
         "{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4}}",
         "original_max_position_embeddings"},
        {LLAMA_BASE,
         "{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":64}}",
         "high_freq_factor"},
        {LLAMA_BASE, "{\"rope_parameters\":{\"partial_rotary_factor\":0.5}}", "partial_rotary_factor"},
        {LLAMA_BASE, "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e4}}}", "full_attention"},
        {LLAMA_BASE, "{\"rope_parameters\":{\"rope_type\":\"proportional\"}}", "'proportional'"},
        {LLAMA_BASE,
         "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":\"default\"}}",
         "different things"},
        {QWEN2_BASE, "{\"use_sliding_window\":true}", "use_sliding_window"},
        {QWEN2_BASE, "{\"use_mrope\":true}", "use_mrope"},
        {QWEN2_BASE, "{\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", "layer_types"},
        {QWEN2_BASE, "{\"attention_bias\":false}", "attention_bias"},
        {QWEN3_BASE, "{\"mlp_bias\":true}", "mlp_bias"},
    };
    char path[256];
    struct arch a;
    struct error e;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        e.text[0] = 0;
        if (arch_of(cases[i].base, cases[i].change, &a, NULL, &e) != -1)
            fail_msg("accepted: %s", cases[i].change);
        if (!strstr(e.text, cases[i].reason) || !strstr(e.text, "config.json"))
            fail_msg("%s: the message \"%s\" lacks \"%s\" or the file", cases[i].change, e.text, cases[i].reason);
    }
    assert_int_equal(file_write(in_folder(path, "config.json"), "[]", 2, &e), 0);
    assert_int_equal(checkpoint_arch(folder, &a, NULL, &e), -1);
    assert_int_equal(file_write(path, "{", 1, &e), 0);
    assert_int_equal(checkpoint_arch(folder, &a, NULL, &e), -1);
    assert_int_equal(checkpoint_arch("/nonexistent", &a, NULL, &e), -1);
}

/* ---- round trips ---- */

static struct arch tiny_gpt2(void)
{
    return (struct arch){.V = 19,
                         .context = 9,
                         .C = 12,
                         .layers = 2,
                         .H = 3,
                         .G = 3,
                         .D = 4,
                         .F = 20,
                         .norm = NORM_LAYER,
                         .position = POSITION_LEARNED,
                         .mlp = MLP_GELU,
                         .qkv_bias = 1,
                         .out_bias = 1,
                         .mlp_bias = 1,
                         .norm_eps = 1e-5f};
}
static struct arch tiny_llama(void)
{
    return (struct arch){.V = 19,
                         .context = 9,
                         .C = 12,
                         .layers = 2,
                         .H = 4,
                         .G = 2,
                         .D = 6,
                         .F = 10,
                         .norm = NORM_RMS,
                         .position = POSITION_ROTARY,
                         .mlp = MLP_SWIGLU,
                         .norm_eps = 3e-6f,
                         .rope_theta = 12345.678};
}

/* Every tensor random, also the norms and biases that an initialisation leaves constant. */
static void create(struct model *m, const struct arch *a, uint64_t seed)
{
    struct error e;
    assert_int_equal(model_create(m, a, 1, &device, 0, &e), 0);
    for (int i = 0; i < m->tensors && seed; i++) {
        int n = m->tensor[i].N * m->tensor[i].K;
        double *x = mem_alloc((size_t)n, sizeof *x);
        for (int j = 0; j < n; j++)
            x[j] = (float)rng_normal(rng_stream(seed, RNG_TEST, 0, (uint64_t)i, 0), (uint64_t)j);
        model_write(m, i, 0, 0, m->tensor[i].N, x);
        mem_free(x);
    }
}

static double element(const struct model *m, int tensor, int row, int k)
{
    double x[64];
    model_read(m, tensor, 0, row, 1, x);
    return x[k];
}

static double in_file(const struct safetensors *s, const char *name, int i, int k)
{
    double v = NAN;
    const struct st_tensor *t = safetensors_find(s, name);
    if (!t)
        fail_msg("no tensor %s", name);
    st_read(t, t->dims > 1 ? i * t->shape[1] + k : i, 1, &v);
    return v;
}

static void expect_type(const char *type, const char *class)
{
    char path[256];
    struct error e;
    json_t *c = json_read(in_folder(path, "config.json"), &e);
    assert_non_null(c);
    assert_string_equal(json_get_string(c, "model_type", ""), type);
    assert_string_equal(json_string_value(json_array_get(json_object_get(c, "architectures"), 0)), class);
    assert_string_equal(json_get_string(c, "torch_dtype", ""), "float32");
    json_decref(c);
}

/* Saved, described, loaded: the same architecture and the same weights. The file stays in the folder. */
static void round_trip(const struct arch *a, const char *type, const char *class)
{
    struct model m, back;
    struct arch said;
    struct token_ids t = {1, -1, 2, {2, 0}}, u;
    struct error e = {""};
    create(&m, a, 5);
    if (checkpoint_save(&m, folder, &t, &e) || checkpoint_arch(folder, &said, &u, &e))
        fail_msg("%s", e.text);
    assert_true(u.bos == 1 && u.ends == 2 && u.end[0] == 2 && u.end[1] == 0 && u.pad == -1);
    create(&back, &said, 0);
    assert_true(model_hash(&back) != model_hash(&m));
    if (checkpoint_load(&back, folder, &e))
        fail_msg("%s", e.text);
    assert_true(model_hash(&back) == model_hash(&m));
    assert_true(said.norm_eps == a->norm_eps && said.rope_theta == a->rope_theta && said.D == a->D);
    assert_memory_equal(&said.rope_scaling, &a->rope_scaling, sizeof a->rope_scaling);
    assert_true(said.context == a->context && said.tied == a->tied && said.mlp_bias == a->mlp_bias);
    expect_type(type, class);
    model_free(&m);
    model_free(&back);
}

static void test_round_trips(void **state)
{
    (void)state;
    struct arch gpt2 = tiny_gpt2(), llama = tiny_llama();
    for (int tied = 0; tied < 2; tied++) {
        gpt2.tied = llama.tied = tied;
        round_trip(&gpt2, "gpt2", "GPT2LMHeadModel");
        round_trip(&llama, "llama", "LlamaForCausalLM");
        struct arch a = llama;
        a.qkv_bias = a.out_bias = a.mlp_bias = 1;
        a.rope_scaling.kind = 2;
        a.rope_scaling.factor = 8;
        a.rope_scaling.low = 1;
        a.rope_scaling.high = 4;
        a.rope_scaling.original = 64;
        round_trip(&a, "llama", "LlamaForCausalLM");
        a = llama;
        a.qkv_bias = 1;
        a.rope_scaling.kind = 1;
        a.rope_scaling.factor = 1.5;
        round_trip(&a, "qwen2", "Qwen2ForCausalLM");
        a = llama;
        a.qk_norm = 1;
        round_trip(&a, "qwen3", "Qwen3ForCausalLM");
    }
}

/* Numbers of weights as the authors publish them: 0.49 B for Qwen2 0.5B, 0.6 B for Qwen3 0.6B; here to the last one, by
 * hand: V C + layers (2 C + (H + 2 G) D (C + bias) + H D C + 3 C F + norms of heads 2 D) + C. */
static void test_presets(void **state)
{
    (void)state;
    const struct {
        const char *name;
        long weights;
    } cases[] = {
        {"qwen2-500m", 151936L * 896 + 24 * (2 * 896 + 1152 * 897L + 896 * 896 + 3 * 896 * 4864L) + 896},
        {"qwen3-600m", 151936L * 1024 + 28 * (2 * 1024 + 4096 * 1024L + 2048 * 1024 + 3 * 1024 * 3072L + 256) + 1024}};
    static const enum family families[] = {FAMILY_QWEN2, FAMILY_QWEN3};
    for (int i = 0; i < 2; i++) {
        enum family f;
        struct error e;
        const struct arch *a = &preset_find(cases[i].name)->arch;
        assert_int_equal(arch_check(a, &e), 0);
        assert_int_equal(arch_parameters(a), cases[i].weights);
        assert_true(family_of(a, &f, &e) == 0 && f == families[i]);
    }
}

/* Mixtures that no class of the layout computes are not written under a false name. */
static void test_no_name(void **state)
{
    (void)state;
    struct arch mixed[] = {tiny_gpt2(), tiny_llama(), tiny_llama(), tiny_gpt2()};
    struct error e;
    mixed[0].mlp_bias = 0;
    mixed[1].out_bias = 1;
    mixed[2].mlp = MLP_GELU;
    mixed[3].D = 6;
    for (int i = 0; i < 4; i++) {
        struct model m;
        create(&m, &mixed[i], 1);
        assert_int_equal(checkpoint_save(&m, folder, NULL, &e), -1);
        model_free(&m);
    }
}

/* Where rows and columns go, said once more by hand. */
static void test_places(void **state)
{
    (void)state;
    char path[256];
    struct arch a = tiny_llama();
    struct model m;
    struct safetensors s;
    struct error e;
    create(&m, &a, 8);
    assert_int_equal(checkpoint_save(&m, folder, NULL, &e), 0);
    assert_int_equal(safetensors_open(&s, in_folder(path, "model.safetensors"), &e), 0);
    const int *l = m.layer[1];
    assert_true(in_file(&s, "model.layers.1.self_attn.q_proj.weight", 23, 5) == element(&m, l[LAYER_QKV_W], 23, 5));
    assert_true(in_file(&s, "model.layers.1.self_attn.k_proj.weight", 11, 5) == element(&m, l[LAYER_QKV_W], 35, 5));
    assert_true(in_file(&s, "model.layers.1.self_attn.v_proj.weight", 3, 7) == element(&m, l[LAYER_QKV_W], 39, 7));
    assert_true(in_file(&s, "model.layers.1.self_attn.o_proj.weight", 3, 23) == element(&m, l[LAYER_OUT_W], 3, 23));
    assert_true(in_file(&s, "model.layers.1.mlp.gate_proj.weight", 9, 2) == element(&m, l[LAYER_UP_W], 9, 2));
    assert_true(in_file(&s, "model.layers.1.mlp.up_proj.weight", 9, 2) == element(&m, l[LAYER_UP_W], 19, 2));
    assert_true(in_file(&s, "model.layers.1.mlp.down_proj.weight", 11, 9) == element(&m, l[LAYER_DOWN_W], 11, 9));
    assert_true(in_file(&s, "model.layers.1.post_attention_layernorm.weight", 4, 0) ==
                element(&m, l[LAYER_NORM2_W], 4, 0));
    assert_true(in_file(&s, "model.norm.weight", 4, 0) == element(&m, m.normf_w, 4, 0));
    assert_true(in_file(&s, "lm_head.weight", 18, 11) == element(&m, m.head, 18, 11));
    safetensors_close(&s);
    model_free(&m);
    a = tiny_gpt2();
    create(&m, &a, 8);
    assert_int_equal(checkpoint_save(&m, folder, NULL, &e), 0);
    assert_int_equal(safetensors_open(&s, path, &e), 0);
    l = m.layer[0];
    assert_true(in_file(&s, "transformer.h.0.attn.c_attn.weight", 11, 35) == element(&m, l[LAYER_QKV_W], 35, 11));
    assert_true(in_file(&s, "transformer.h.0.attn.c_proj.weight", 2, 10) == element(&m, l[LAYER_OUT_W], 10, 2));
    assert_true(in_file(&s, "transformer.h.0.mlp.c_fc.weight", 2, 19) == element(&m, l[LAYER_UP_W], 19, 2));
    assert_true(in_file(&s, "transformer.h.0.mlp.c_proj.weight", 19, 2) == element(&m, l[LAYER_DOWN_W], 2, 19));
    assert_true(in_file(&s, "transformer.h.0.ln_2.bias", 5, 0) == element(&m, l[LAYER_NORM2_B], 5, 0));
    assert_true(in_file(&s, "transformer.wpe.weight", 8, 3) == element(&m, m.wpe, 8, 3));
    safetensors_close(&s);
    model_free(&m);
}

/* ---- files that were tampered with ---- */

struct change {
    const char *from, *to; /* in names: "transformer." -> "" */
    const char *drop;      /* this tensor is left out */
    const char *spoil;     /* this one gets `value` as its last element */
    double value;
    const char *retype;    /* this one becomes U8 */
    const char *flat;      /* this one becomes one-dimensional */
    struct st_entry extra; /* name[0]: this one is added, filled with `fill`, or with a copy of `copy` */
    double fill;
    const char *copy;
};

static void copy_tensor(struct st_writer *w, const struct st_tensor *t, const struct change *c, struct error *e)
{
    double *x = mem_alloc((size_t)t->count, sizeof *x);
    st_read(t, 0, t->count, x);
    if (c->spoil && !strcmp(c->spoil, t->name))
        x[t->count - 1] = c->value;
    if (c->retype && !strcmp(c->retype, t->name))
        memset(x, 0, (size_t)t->count * sizeof *x);
    assert_int_equal(st_put(w, x, t->count, e), 0);
    mem_free(x);
}

/* model.safetensors of the folder with the change made. */
static void rewrite(const struct change *c)
{
    char path[256];
    struct safetensors s;
    struct st_entry entry[64] = {0};
    const struct st_tensor *from[64];
    struct error e;
    struct st_writer w;
    int n = 0;
    assert_int_equal(safetensors_open(&s, in_folder(path, "model.safetensors"), &e), 0);
    for (int i = 0; i < s.tensors; i++) {
        const struct st_tensor *t = from[n] = &s.tensor[i];
        if (c->drop && !strcmp(c->drop, t->name))
            continue;
        struct st_entry *x = &entry[n++];
        size_t skip = c->from && !strncmp(t->name, c->from, strlen(c->from)) ? strlen(c->from) : 0;
        snprintf(x->name, sizeof x->name, "%s%.60s", skip ? c->to : "", t->name + skip);
        x->dtype = c->retype && !strcmp(c->retype, t->name) ? DTYPE_U8 : t->dtype;
        x->dims = c->flat && !strcmp(c->flat, t->name) ? 1 : t->dims;
        memcpy(x->shape, x->dims == t->dims ? t->shape : &t->count, (size_t)x->dims * sizeof *x->shape);
    }
    if (c->extra.name[0])
        entry[n++] = c->extra;
    assert_int_equal(st_create(&w, path, entry, n, NULL, &e), 0);
    for (int i = 0; i < n - !!c->extra.name[0]; i++)
        copy_tensor(&w, from[i], c, &e);
    if (c->copy)
        copy_tensor(&w, safetensors_find(&s, c->copy), c, &e);
    for (int64_t i = 0; c->extra.name[0] && !c->copy && i < c->extra.shape[0] * c->extra.shape[1]; i++)
        assert_int_equal(st_put(&w, &c->fill, 1, &e), 0);
    assert_int_equal(st_commit(&w, &e), 0);
    safetensors_close(&s);
}

/* NULL reason: the changed file must load, with the same weights. */
static void expect_load(const struct arch *a, const struct change *c, const char *reason)
{
    struct model m, back;
    struct error e = {""};
    create(&m, a, 3);
    create(&back, a, 0);
    assert_int_equal(checkpoint_save(&m, folder, NULL, &e), 0);
    rewrite(c);
    int status = checkpoint_load(&back, folder, &e);
    if (!reason && (status || model_hash(&back) != model_hash(&m)))
        fail_msg("not loaded: %s", e.text);
    if (reason && (!status || !strstr(e.text, reason) || !strstr(e.text, "model.safetensors")))
        fail_msg("the message \"%s\" lacks \"%s\" or the file", e.text, reason);
    model_free(&m);
    model_free(&back);
}

static void test_tampered(void **state)
{
    (void)state;
    struct arch gpt2 = tiny_gpt2(), llama = tiny_llama();
    expect_load(&llama, &(struct change){0}, NULL);
    expect_load(&llama, &(struct change){.drop = "model.layers.1.mlp.up_proj.weight"},
                "no tensor 'model.layers.1.mlp.up_proj");
    expect_load(&llama, &(struct change){.drop = "lm_head.weight"}, "no tensor 'lm_head.weight'");
    expect_load(&llama, &(struct change){.flat = "model.embed_tokens.weight"}, "has shape [228], [19, 12] wanted");
    expect_load(&llama, &(struct change){.retype = "model.norm.weight"}, "dtype U8");
    expect_load(&llama, &(struct change){.spoil = "model.layers.0.self_attn.v_proj.weight", .value = NAN},
                "'model.layers.0.self_attn.v_proj.weight': element [11, 11] is not a number");
    expect_load(&gpt2, &(struct change){.spoil = "transformer.h.1.mlp.c_fc.weight", .value = INFINITY},
                "element [11, 19] is infinite");
    expect_load(&llama, &(struct change){.extra = {"model.layers.2.input_layernorm.weight", DTYPE_F32, 2, {12, 1}}},
                "'model.layers.2.input_layernorm.weight' has no place");
    expect_load(&llama, &(struct change){.extra = {"model.layers.1.self_attn.q_proj.bias", DTYPE_F32, 2, {24, 1}}},
                "has no place");
    expect_load(&llama, &(struct change){.extra = {"h.0.attn.bias", DTYPE_F32, 2, {9, 9}}}, "has no place");
    expect_load(&llama, &(struct change){.from = "model.", .to = ""}, "no tensor 'model.embed_tokens.weight'");
}

static void test_known_extras(void **state)
{
    (void)state;
    struct arch gpt2 = tiny_gpt2(), llama = tiny_llama();
    expect_load(&gpt2, &(struct change){.from = "transformer.", .to = ""}, NULL);
    expect_load(&gpt2, &(struct change){.extra = {"transformer.h.0.attn.bias", DTYPE_U8, 4, {9, 9, 1, 1}}, .fill = 1},
                NULL);
    expect_load(&gpt2,
                &(struct change){.extra = {"transformer.h.0.attn.masked_bias", DTYPE_F32, 2, {1, 1}}, .fill = -1e4},
                NULL);
    expect_load(&llama,
                &(struct change){.extra = {"model.layers.0.self_attn.rotary_emb.inv_freq", DTYPE_F32, 2, {3, 1}}},
                NULL);
    gpt2.tied = llama.tied = 1;
    struct st_entry head = {"lm_head.weight", DTYPE_F32, 2, {19, 12}};
    expect_load(&llama, &(struct change){.extra = head, .copy = "model.embed_tokens.weight"}, NULL);
    expect_load(&gpt2, &(struct change){.extra = head, .copy = "transformer.wte.weight"}, NULL);
    expect_load(&llama, &(struct change){.extra = head, .fill = 0.5}, "'lm_head.weight' differs from the embedding");
}

/* The shapes would fit, the numbers would not. */
static void test_other_architecture(void **state)
{
    (void)state;
    struct arch a = tiny_llama(), b[4] = {a, a, a, a};
    struct model m;
    struct error e;
    create(&m, &a, 3);
    assert_int_equal(checkpoint_save(&m, folder, NULL, &e), 0);
    model_free(&m);
    b[0].rope_theta = 10000;
    b[1].norm_eps = 1e-5f;
    b[2].H = 8, b[2].D = 3, b[2].G = 4;
    b[3].context = 5; /* shorter texts: the same numbers */
    b[2].position = POSITION_LEARNED;
    for (int i = 0; i < 4; i++) {
        create(&m, &b[i], 0);
        assert_int_equal(checkpoint_load(&m, folder, &e), i == 3 ? 0 : -1);
        model_free(&m);
    }
}

static void test_no_weights(void **state)
{
    (void)state;
    char path[256], index[256];
    struct arch a = tiny_llama();
    struct model m;
    struct error e;
    create(&m, &a, 3);
    assert_int_equal(checkpoint_save(&m, folder, NULL, &e), 0);
    assert_int_equal(unlink(in_folder(path, "model.safetensors")), 0);
    assert_int_equal(checkpoint_load(&m, folder, &e), -1);
    assert_non_null(strstr(e.text, "model.safetensors"));
    assert_int_equal(file_write(in_folder(index, "model.safetensors.index.json"), "{}", 2, &e), 0);
    assert_int_equal(checkpoint_load(&m, folder, &e), -1);
    assert_non_null(strstr(e.text, "weight_map"));
    unlink(index);
    assert_int_equal(file_write(in_folder(index, "pytorch_model.bin"), "x", 1, &e), 0);
    assert_int_equal(checkpoint_load(&m, folder, &e), -1);
    assert_non_null(strstr(e.text, "only pytorch_model.bin"));
    unlink(index);
    assert_int_equal(checkpoint_save(&m, "/nonexistent", NULL, &e), -1);
    model_free(&m);
}

/* Matrices larger than what is held at a time. */
static void test_in_pieces(void **state)
{
    (void)state;
    struct arch a = tiny_gpt2();
    a.C = 360;
    a.D = 120;
    a.F = 1500;
    a.layers = 1;
    round_trip(&a, "gpt2", "GPT2LMHeadModel");
    a = tiny_llama();
    a.C = 700;
    a.F = 600;
    a.layers = 1;
    round_trip(&a, "llama", "LlamaForCausalLM");
}

/* ---- files that another program wrote: read and written again, they hold the same tensors ---- */

static void same_tensors(const char *theirs, int tensors)
{
    char dir[256], ours[256], path[300];
    struct arch a;
    struct token_ids t;
    struct model m;
    struct safetensors x, y;
    struct error e = {""};
    snprintf(dir, sizeof dir, "../shared/data/%s/hf", theirs);
    if (!file_is_directory(dir)) {
        print_message("skipped: %s is not there\n", dir);
        skip();
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (checkpoint_arch(dir, &a, &t, &e) || model_create(&m, &a, 0, &device, 0, &e) || checkpoint_load(&m, dir, &e) ||
        checkpoint_save(&m, folder, &t, &e) || safetensors_open(&x, path, &e) ||
        safetensors_open(&y, in_folder(ours, "model.safetensors"), &e))
        fail_msg("%s", e.text);
    assert_int_equal(x.tensors, tensors);
    assert_int_equal(y.tensors, tensors);
    for (int i = 0; i < tensors; i++) {
        assert_string_equal(x.tensor[i].name, y.tensor[i].name);
        assert_int_equal(x.tensor[i].dims, y.tensor[i].dims);
        assert_memory_equal(x.tensor[i].shape, y.tensor[i].shape, sizeof x.tensor[i].shape);
        assert_memory_equal(x.tensor[i].data, y.tensor[i].data, 4 * (size_t)x.tensor[i].count);
    }
    safetensors_close(&x);
    safetensors_close(&y);
    model_free(&m);
}

static void test_stories(void **state)
{
    (void)state;
    same_tensors("stories260K", 5 * 9 + 2);
}

static void test_sorter(void **state)
{
    (void)state;
    same_tensors("gpt-nano-sort", 3 * 12 + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_gpt2),    cmocka_unit_test(test_config_llama),
        cmocka_unit_test(test_config_rope),    cmocka_unit_test(test_config_qwen),
        cmocka_unit_test(test_config_refused), cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_presets),        cmocka_unit_test(test_no_name),
        cmocka_unit_test(test_places),         cmocka_unit_test(test_tampered),
        cmocka_unit_test(test_known_extras),   cmocka_unit_test(test_other_architecture),
        cmocka_unit_test(test_no_weights),     cmocka_unit_test(test_in_pieces),
        cmocka_unit_test(test_stories),        cmocka_unit_test(test_sorter),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
