/* config.json of the Hugging Face layout <-> struct arch.
 *
 * The rule: a key that changes the numbers is either understood or refused by name; a key that does not (dropout,
 * initialisation, generation defaults) is ignored. To support another key, read it in its family's function and take it
 * off `neutral`.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "checkpoint_inner.h"

static const char *const model_types[FAMILIES] = {"gpt2", "llama", "qwen2", "qwen3"};
static const char *const architectures[FAMILIES] = {"GPT2LMHeadModel", "LlamaForCausalLM", "Qwen2ForCausalLM",
                                                    "Qwen3ForCausalLM"};

/* Keys of this and of related model classes that change the numbers, with the only value that does not. NAN: only null,
 * or the key missing. Booleans are 0 and 1. */
static const struct {
    const char *key;
    double value;
} neutral[] = {
    {"quantization_config", NAN},
    {"is_encoder_decoder", 0},
    {"add_cross_attention", 0},
    {"scale_attn_weights", 1},
    {"scale_attn_by_inverse_layer_idx", 0},
    {"use_sliding_window", 0},
    {"use_mrope", 0},
    {"use_qk_norm", 0},
    {"qk_layernorm", 0},
    {"clip_qkv", NAN},
    {"partial_rotary_factor", 1},
    {"rotary_pct", 1},
    {"rope_interleaved", 0},
    {"no_rope_layers", NAN},
    {"no_rope_layer_interval", NAN},
    {"attn_logit_softcapping", NAN},
    {"final_logit_softcapping", NAN},
    {"query_pre_attn_scalar", NAN},
    {"attention_multiplier", 1},
    {"embedding_multiplier", 1},
    {"residual_multiplier", 1},
    {"logits_scaling", 1},
    {"logit_scale", 1},
    {"num_experts", 0},
    {"num_local_experts", 0},
    {"parallel_attn", 0},
    {"alibi", 0},
    {"norm_type", NAN},
    {"pruned_heads", NAN},
};

static int is_value(const json_t *v, double value)
{
    if (json_is_boolean(v))
        return json_is_true(v) == value;
    return json_is_number(v) && json_number_value(v) == value;
}

static int check_neutral(const json_t *c, struct error *e)
{
    for (size_t i = 0; i < sizeof neutral / sizeof *neutral; i++) {
        const json_t *v = json_object_get(c, neutral[i].key);
        int empty = (json_is_object(v) && !json_object_size(v)) || (json_is_array(v) && !json_array_size(v));
        if (!v || json_is_null(v) || empty || is_value(v, neutral[i].value))
            continue;
        char *text = json_text(v);
        fail(e, "\"%s\" is %.100s, which changes the numbers and is not supported", neutral[i].key, text);
        free(text);
        return -1;
    }
    return 0;
}

/* Windows of attention: only full attention is computed. Qwen configurations name a window and leave it off. */
static int check_window(const json_t *c, enum family f, struct error *e)
{
    const json_t *window = json_object_get(c, "sliding_window"), *use = json_object_get(c, "use_sliding_window"), *type;
    int off = json_is_false(use) || ((!use || json_is_null(use)) && (f == FAMILY_QWEN2 || f == FAMILY_QWEN3));
    if (window && !json_is_null(window) && !off)
        return fail(e, "\"sliding_window\" is set; attention over a window is not supported");
    const json_t *types = json_object_get(c, "layer_types");
    for (size_t i = 0; i < json_array_size(types); i++) {
        type = json_array_get(types, i);
        if (!json_is_string(type) || strcmp(json_string_value(type), "full_attention"))
            return fail(e, "\"layer_types\" holds something other than full_attention, which is not supported");
    }
    return 0;
}

/* json_get_* with int fields. */
static int get_size(const json_t *c, const char *key, int def, int *out, struct error *e)
{
    long n;
    int status = def > 0 ? json_get_int(c, key, 1, INT_MAX, def, &n, e) : json_need_int(c, key, 1, INT_MAX, &n, e);
    if (!status)
        *out = (int)n;
    return status;
}

static int get_eps(const json_t *c, const char *key, double def, float *out, struct error *e)
{
    double v;
    if (json_get_number(c, key, def, &v, e))
        return -1;
    if (!(v > 0 && v < 1))
        return fail(e, "\"%s\" is %g, not between 0 and 1", key, v);
    *out = (float)v;
    return 0;
}

static int check_activation(const json_t *c, const char *key, const char *const accepted[3], struct error *e)
{
    const json_t *v = json_object_get(c, key);
    const char *s = !v || json_is_null(v) ? accepted[0] : json_string_value(v);
    for (int i = 0; s && i < 3; i++)
        if (accepted[i] && !strcmp(s, accepted[i]))
            return 0;
    return fail(e, "\"%s\" is '%.60s'; only %s is supported with this model_type", key, s ? s : "not a string",
                accepted[0]);
}

/* ---- rotary positions ---- */

static int need_above(const json_t *o, const char *key, double min, double *out, struct error *e)
{
    if (json_get_number(o, key, NAN, out, e))
        return -1;
    if (!(*out >= min && *out < INFINITY))
        return fail(e, "\"%s\" is %s; a number from %g on is wanted", key, isnan(*out) ? "missing" : "out of range",
                    min);
    return 0;
}

/* Refuses what a scaling object holds besides the keys its type reads. */
static int check_rope_keys(const json_t *o, const char *const *known, struct error *e)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)o, key, v)
    {
        int found = json_is_null(v);
        for (int i = 0; !found && known[i]; i++)
            found = !strcmp(key, known[i]);
        if (!found)
            return fail(e, "\"%.60s\" is not supported", key);
    }
    return 0;
}

/* `rope_scaling`: {"type", "factor"} at first, {"rope_type", ...} later. `rope_parameters`: that, "rope_theta" and
 * "partial_rotary_factor", and a missing type is "default". */
static int read_rope_object(const json_t *o, const char *def, struct arch *a, struct error *e)
{
    static const char *const none[] = {"type", "rope_type", "rope_theta", "partial_rotary_factor", NULL};
    static const char *const linear[] = {"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor", NULL};
    static const char *const llama3[] = {
        "type",   "rope_type",       "rope_theta",       "partial_rotary_factor",
        "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
        NULL};
    const char *old = json_get_string(o, "type", NULL), *type = json_get_string(o, "rope_type", old ? old : def);
    double rotated;
    if (!type)
        return fail(e, "no string \"rope_type\" or \"type\"");
    if (old && strcmp(old, type))
        return fail(e, "\"type\" is '%.40s' and \"rope_type\" is '%.40s'", old, type);
    if (json_get_number(o, "rope_theta", a->rope_theta, &a->rope_theta, e) ||
        json_get_number(o, "partial_rotary_factor", 1, &rotated, e))
        return -1;
    if (rotated != 1)
        return fail(e, "\"partial_rotary_factor\" is %g; only whole heads are rotated", rotated);
    if (!strcmp(type, "default"))
        return check_rope_keys(o, none, e);
    if (!strcmp(type, "linear")) {
        a->rope_scaling.kind = 1;
        return check_rope_keys(o, linear, e) || need_above(o, "factor", 1, &a->rope_scaling.factor, e) ? -1 : 0;
    }
    if (strcmp(type, "llama3"))
        return fail(e, "type '%.40s' is not supported (default, linear and llama3 are)", type);
    a->rope_scaling.kind = 2;
    long original;
    if (check_rope_keys(o, llama3, e) || need_above(o, "factor", 1, &a->rope_scaling.factor, e) ||
        need_above(o, "low_freq_factor", 0, &a->rope_scaling.low, e) ||
        need_above(o, "high_freq_factor", 0, &a->rope_scaling.high, e) ||
        json_need_int(o, "original_max_position_embeddings", 1, INT_MAX, &original, e))
        return -1;
    a->rope_scaling.original = (double)original;
    if (!(a->rope_scaling.high > a->rope_scaling.low))
        return fail(e, "\"high_freq_factor\" must be above \"low_freq_factor\"");
    return 0;
}

static int read_rope(const json_t *c, struct arch *a, struct error *e)
{
    static const struct {
        const char *key, *type;
    } forms[] = {{"rope_scaling", NULL}, {"rope_parameters", "default"}};
    const json_t *old = json_object_get(c, "rope_scaling"), *new = json_object_get(c, "rope_parameters");
    if (old && new && !json_is_null(old) && !json_is_null(new) && !json_equal(old, new))
        return fail(e, "\"rope_scaling\" and \"rope_parameters\" say different things");
    if (json_get_number(c, "rope_theta", 10000, &a->rope_theta, e))
        return -1;
    for (int i = 0; i < 2; i++) {
        const json_t *o = json_object_get(c, forms[i].key);
        if (!o || json_is_null(o))
            continue;
        if (!json_is_object(o))
            return fail(e, "\"%s\" is not an object", forms[i].key);
        if (read_rope_object(o, forms[i].type, a, e))
            return fail_in(e, "\"%s\"", forms[i].key);
    }
    if (!(a->rope_theta > 1 && a->rope_theta < INFINITY))
        return fail(e, "\"rope_theta\" is %g; a number above 1 is wanted", a->rope_theta);
    return 0;
}

/* ---- families ---- */

static int read_gpt2(const json_t *c, struct arch *a, struct error *e)
{
    static const char *const gelu[3] = {"gelu_new", "gelu_pytorch_tanh"}; /* two names of the tanh form */
    a->norm = NORM_LAYER;
    a->position = POSITION_LEARNED;
    a->mlp = MLP_GELU;
    a->qkv_bias = a->out_bias = a->mlp_bias = 1;
    if (get_size(c, "vocab_size", 0, &a->V, e) || get_size(c, "n_positions", 1024, &a->context, e) ||
        get_size(c, "n_embd", 0, &a->C, e) || get_size(c, "n_layer", 0, &a->layers, e) ||
        get_size(c, "n_head", 0, &a->H, e))
        return -1;
    if (a->C % a->H || a->C > INT_MAX / 4)
        return fail(e, "\"n_embd\" %d is not a multiple of \"n_head\" %d", a->C, a->H);
    a->G = a->H;
    a->D = a->C / a->H;
    if (get_size(c, "n_inner", 4 * a->C, &a->F, e) || get_eps(c, "layer_norm_epsilon", 1e-5, &a->norm_eps, e))
        return -1;
    return check_activation(c, "activation_function", gelu, e);
}

/* Biases of Llama's attention are on all four matrices, of Qwen2's always on q, k, v. */
static int read_biases(const json_t *c, enum family f, struct arch *a, struct error *e)
{
    int bias;
    if (json_get_bool(c, "attention_bias", f == FAMILY_QWEN2, &bias, e) ||
        json_get_bool(c, "mlp_bias", 0, &a->mlp_bias, e))
        return -1;
    if (f == FAMILY_QWEN2 && !bias)
        return fail(e, "\"attention_bias\" is false; qwen2 has biases on q, k and v (model_type llama has none)");
    if (f != FAMILY_LLAMA && a->mlp_bias)
        return fail(e, "\"mlp_bias\" is true, which model_type %s does not know", model_types[f]);
    a->qkv_bias = bias;
    a->out_bias = f == FAMILY_QWEN2 ? 0 : bias;
    return 0;
}

static int read_llama(const json_t *c, enum family f, struct arch *a, struct error *e)
{
    static const char *const silu[3] = {"silu", "swish"};
    a->norm = NORM_RMS;
    a->position = POSITION_ROTARY;
    a->mlp = MLP_SWIGLU;
    a->qk_norm = f == FAMILY_QWEN3;
    if (get_size(c, "vocab_size", 0, &a->V, e) || get_size(c, "hidden_size", 0, &a->C, e) ||
        get_size(c, "intermediate_size", 0, &a->F, e) || get_size(c, "num_hidden_layers", 0, &a->layers, e) ||
        get_size(c, "num_attention_heads", 0, &a->H, e) ||
        get_size(c, "max_position_embeddings", f == FAMILY_LLAMA ? 2048 : 32768, &a->context, e) ||
        get_size(c, "num_key_value_heads", a->H, &a->G, e))
        return -1;
    const json_t *head_dim = json_object_get(c, "head_dim");
    int given = head_dim && !json_is_null(head_dim);
    if (!given && f != FAMILY_QWEN3 && a->C % a->H)
        return fail(e,
                    "\"hidden_size\" %d is not a multiple of \"num_attention_heads\" %d, and there is no \"head_dim\"",
                    a->C, a->H);
    int def = f == FAMILY_QWEN3 ? 128 : a->C / a->H;
    if (get_size(c, "head_dim", def > 0 ? def : 1, &a->D, e) || get_eps(c, "rms_norm_eps", 1e-6, &a->norm_eps, e) ||
        read_biases(c, f, a, e) || read_rope(c, a, e))
        return -1;
    return check_activation(c, "hidden_act", silu, e);
}

struct token_ids token_ids_none(void)
{
    return (struct token_ids){.bos = -1, .pad = -1};
}

int token_ids_end(struct token_ids *t, int id, int first, struct error *e)
{
    int at = 0;
    while (at < t->ends && t->end[at] != id)
        at++;
    if (at == MAX_ENDS)
        return fail(e, "more than %d tokens that end a text", MAX_ENDS);
    t->ends += at == t->ends;
    if (first)
        memmove(t->end + 1, t->end, (size_t)at * sizeof *t->end);
    t->end[first ? 0 : at] = id;
    return 0;
}

/* A token id may be one number, null, or a list of numbers. One outside the vocabulary can never be drawn, so it counts
 * as not said: *id is -1 then. i: which of a list; returns whether there is such a one, or -1. */
static int read_token(const json_t *c, const char *key, size_t i, int V, int *id, struct error *e)
{
    const json_t *v = json_object_get(c, key);
    *id = -1;
    if (json_is_array(v))
        v = json_array_get(v, i);
    else if (i > 0)
        return 0;
    if (!v || (json_is_null(v) && i == 0))
        return 0;
    if (!json_is_integer(v))
        return fail(e, "\"%s\" is neither a number nor a list of numbers", key);
    if (json_integer_value(v) >= 0 && json_integer_value(v) < V)
        *id = (int)json_integer_value(v);
    return 1;
}

static int read_ends(const json_t *c, int V, struct token_ids *t, struct error *e)
{
    static const char key[] = "eos_token_id";
    int more = 1, id;
    for (size_t i = 0; more > 0; i++) {
        more = read_token(c, key, i, V, &id, e);
        if (id >= 0 && token_ids_end(t, id, 0, e))
            return fail_in(e, "\"%s\"", key);
    }
    return more;
}

/* What other programs generate with: of all that stands there only the ends matter here. */
static int read_generation(const char *dir, int V, struct token_ids *t, struct error *e)
{
    char path[1024];
    if (snprintf(path, sizeof path, "%s/generation_config.json", dir) >= (int)sizeof path || file_size(path) < 0)
        return 0;
    json_t *c = json_read(path, e);
    if (!c)
        return -1;
    int status = json_is_object(c) ? read_ends(c, V, t, e) : fail(e, "not an object");
    json_decref(c);
    return status ? fail_in(e, "%s", path) : 0;
}

static int read_config(const json_t *c, struct arch *a, struct token_ids *t, struct error *e)
{
    if (!json_is_object(c))
        return fail(e, "not an object");
    const char *type = json_get_string(c, "model_type", NULL);
    if (!type)
        return fail(e, "no string \"model_type\"");
    int f = 0;
    while (f < FAMILIES && strcmp(type, model_types[f]))
        f++;
    if (f == FAMILIES)
        return fail(e, "\"model_type\" is '%.60s'; gpt2, llama, qwen2 and qwen3 are supported", type);
    if (check_neutral(c, e) || check_window(c, f, e) ||
        (f == FAMILY_GPT2 ? read_gpt2(c, a, e) : read_llama(c, f, a, e)))
        return -1;
    if (json_get_bool(c, "tie_word_embeddings", f == FAMILY_GPT2, &a->tied, e) || arch_check(a, e))
        return -1;
    return read_token(c, "bos_token_id", 0, a->V, &t->bos, e) < 0 ||
                   read_token(c, "pad_token_id", 0, a->V, &t->pad, e) < 0
               ? -1
               : read_ends(c, a->V, t, e);
}

/* Sizes are believed only as far as the files of weights are large enough for them, two bytes a number at least: memory
 * is taken before those files are read. */
static int check_weights(const struct arch *a, const char *dir, struct error *e)
{
    long bytes, weights = arch_parameters(a);
    if (shards_bytes(dir, &bytes, e))
        return -1;
    if (bytes < 0 || bytes / 2 >= weights)
        return 0;
    return fail(e,
                "%s/config.json: describes a model of %ld weights, but model.safetensors (or its shards) beside it has "
                "only %ld "
                "bytes; is it truncated?",
                dir, weights, bytes);
}

int checkpoint_arch(const char *dir, struct arch *a, struct token_ids *t, struct error *e)
{
    char path[1024];
    struct arch found = {0};
    struct token_ids ids = token_ids_none();
    if (file_size(dir) >= 0)
        return bin_arch(dir, a, t, e);
    if (snprintf(path, sizeof path, "%s/config.json", dir) >= (int)sizeof path)
        return fail(e, "%.200s...: the path is too long", dir);
    json_t *c = json_read(path, e);
    if (!c)
        return -1;
    int status = read_config(c, &found, &ids, e);
    json_decref(c);
    if (status)
        return fail_in(e, "%s", path);
    if (check_weights(&found, dir, e) || (t && read_generation(dir, found.V, &ids, e)))
        return -1;
    *a = found;
    if (t)
        *t = ids;
    return 0;
}

/* ---- writing ---- */

/* The shortest decimal that reads back as this float: 1e-05, not 9.9999997473787516e-06. */
static double shortest(float x)
{
    char buf[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(buf, sizeof buf, "%.*g", digits, (double)x);
        if (strtof(buf, NULL) == x)
            break;
    }
    return strtod(buf, NULL);
}

static void set_int(json_t *c, const char *key, int v)
{
    json_object_set_new(c, key, json_integer(v));
}

static void set_token(json_t *c, const char *key, int id)
{
    json_object_set_new(c, key, id < 0 ? json_null() : json_integer(id));
}

static void set_ends(json_t *c, const struct token_ids *t)
{
    json_t *list = t->ends > 1 ? json_array() : NULL;
    for (int i = 0; i < t->ends && list; i++)
        json_array_append_new(list, json_integer(t->end[i]));
    if (list)
        json_object_set_new(c, "eos_token_id", list);
    else
        set_token(c, "eos_token_id", t->ends ? t->end[0] : -1);
}

static void write_gpt2(json_t *c, const struct arch *a)
{
    set_int(c, "n_positions", a->context);
    set_int(c, "n_ctx", a->context);
    set_int(c, "n_embd", a->C);
    set_int(c, "n_layer", a->layers);
    set_int(c, "n_head", a->H);
    set_int(c, "n_inner", a->F);
    json_object_set_new(c, "activation_function", json_string("gelu_new"));
    json_object_set_new(c, "layer_norm_epsilon", json_real(shortest(a->norm_eps)));
    /* trained without dropout; the class's own defaults are 0.1 */
    json_object_set_new(c, "attn_pdrop", json_real(0));
    json_object_set_new(c, "embd_pdrop", json_real(0));
    json_object_set_new(c, "resid_pdrop", json_real(0));
}

static json_t *rope_scaling(const struct arch *a)
{
    if (a->rope_scaling.kind == 0)
        return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "rope_type", json_string(a->rope_scaling.kind == 1 ? "linear" : "llama3"));
    json_object_set_new(o, "factor", json_real(a->rope_scaling.factor));
    if (a->rope_scaling.kind == 2) {
        json_object_set_new(o, "low_freq_factor", json_real(a->rope_scaling.low));
        json_object_set_new(o, "high_freq_factor", json_real(a->rope_scaling.high));
        json_object_set_new(o, "original_max_position_embeddings", json_integer((json_int_t)a->rope_scaling.original));
    }
    return o;
}

static void write_llama(json_t *c, const struct arch *a, enum family f)
{
    set_int(c, "hidden_size", a->C);
    set_int(c, "intermediate_size", a->F);
    set_int(c, "num_hidden_layers", a->layers);
    set_int(c, "num_attention_heads", a->H);
    set_int(c, "num_key_value_heads", a->G);
    set_int(c, "head_dim", a->D);
    set_int(c, "max_position_embeddings", a->context);
    json_object_set_new(c, "hidden_act", json_string("silu"));
    json_object_set_new(c, "rms_norm_eps", json_real(shortest(a->norm_eps)));
    json_object_set_new(c, "rope_theta", json_real(a->rope_theta));
    json_object_set_new(c, "rope_scaling", rope_scaling(a));
    if (f != FAMILY_QWEN2)
        json_object_set_new(c, "attention_bias", json_boolean(a->qkv_bias));
    if (f == FAMILY_LLAMA)
        json_object_set_new(c, "mlp_bias", json_boolean(a->mlp_bias));
    else
        json_object_set_new(c, "use_sliding_window", json_false());
}

int config_write(const struct arch *a, enum family f, const struct token_ids *t, const char *torch_dtype,
                 const char *path, struct error *e)
{
    const struct token_ids unsaid = token_ids_none();
    t = t ? t : &unsaid;
    json_t *c = json_object(), *classes = json_array();
    json_array_append_new(classes, json_string(architectures[f]));
    json_object_set_new(c, "architectures", classes);
    json_object_set_new(c, "model_type", json_string(model_types[f]));
    set_int(c, "vocab_size", a->V);
    if (f == FAMILY_GPT2)
        write_gpt2(c, a);
    else
        write_llama(c, a, f);
    json_object_set_new(c, "tie_word_embeddings", json_boolean(a->tied));
    set_token(c, "bos_token_id", t->bos);
    set_ends(c, t);
    set_token(c, "pad_token_id", t->pad);
    json_object_set_new(c, "torch_dtype", json_string(torch_dtype));
    int status = json_write(path, c, e);
    json_decref(c);
    return status;
}
