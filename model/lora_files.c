/* Adapters in PEFT's layout, in and out: adapter_config.json and adapter_model.safetensors.
 *
 * The rule is that of config.json: a key that changes the numbers is understood or refused by name. Here every key that
 * is not read must be null, false or empty, because PEFT's next variant will be a key that nobody here knows.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "checkpoint_inner.h"
#include "lora.h"
#include "safetensors.h"

static const char config_name[] = "adapter_config.json", weights_name[] = "adapter_model.safetensors";

static int path_in(char path[1024], const char *dir, const char *file, struct error *e)
{
    if (snprintf(path, 1024, "%s/%s", dir, file) >= 1024)
        return fail(e, "%.200s...: the path is too long", dir);
    return 0;
}

int lora_exists(const char *dir)
{
    char path[1024];
    return !path_in(path, dir, config_name, NULL) && file_size(path) >= 0;
}

/* ---- reading adapter_config.json ---- */

/* Read below, or without effect on what a trained adapter computes: dropout and drawing are for training,
 * fan_in_fan_out says how the matrix under it is stored, which the model's own configuration says too. */
static const char *const known_keys[] = {"peft_type",      "task_type",     "r",
                                         "lora_alpha",     "use_rslora",    "target_modules",
                                         "bias",           "lora_dropout",  "init_lora_weights",
                                         "auto_mapping",   "revision",      "base_model_name_or_path",
                                         "inference_mode", "megatron_core", "fan_in_fan_out",
                                         "peft_version",   "eva_config",    "qalora_group_size",
                                         "runtime_config"};

static int is_empty(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) || (json_is_object(v) && !json_object_size(v)) ||
           (json_is_array(v) && !json_array_size(v));
}

static int check_keys(const json_t *c, struct error *e)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)c, key, v)
    {
        int known = is_empty(v);
        for (size_t i = 0; !known && i < sizeof known_keys / sizeof *known_keys; i++)
            known = !strcmp(key, known_keys[i]);
        if (known)
            continue;
        char *text = json_text(v);
        fail(e, "\"%.60s\" is %.100s, which is not supported", key, text);
        free(text);
        return -1;
    }
    return 0;
}

/* A text that must be one of a few, or missing. */
static int check_text(const json_t *c, const char *key, const char *const *accepted, struct error *e)
{
    const json_t *v = json_object_get(c, key);
    if (!v || json_is_null(v))
        return 0;
    for (int i = 0; json_is_string(v) && accepted[i]; i++)
        if (!strcmp(json_string_value(v), accepted[i]))
            return 0;
    return fail(e, "\"%s\" is '%.60s'; only %s is supported", key, json_is_string(v) ? json_string_value(v) : "no text",
                accepted[0]);
}

/* Some ways to draw adapters also change the weights below them, which are then not those of the base model. */
static int check_init(const json_t *c, struct error *e)
{
    static const char *const harmless[] = {"gaussian", "eva", "orthogonal", NULL};
    const json_t *v = json_object_get(c, "init_lora_weights");
    return json_is_boolean(v) ? 0 : check_text(c, "init_lora_weights", harmless, e);
}

/* PEFT writes "all-linear" as one name a layer: what follows "model.layers.3.", or the whole. A layer that has none is
 * found out by its tensors. */
static const char *within_layer(const char *name, enum family f)
{
    char prefix[64];
    layer_prefix(prefix, f, 0);
    size_t n = strlen(prefix) - strlen("0."), digits = strncmp(name, prefix, n) ? 0 : strspn(name + n, "0123456789");
    return digits && name[n + digits] == '.' ? name + n + digits + 1 : name;
}

static int read_target(const json_t *v, const struct arch *a, enum family f, unsigned *targets, struct error *e)
{
    const char *name = json_is_string(v) ? json_string_value(v) : "";
    unsigned bits;
    if (!name[0] || strcspn(name, ", \t") != json_string_length(v))
        return fail(e, "\"target_modules\" holds something that is no name");
    if (lora_targets(a, within_layer(name, f), &bits, e))
        return fail_in(e, "\"target_modules\"");
    *targets |= bits;
    return 0;
}

static int read_targets(const json_t *c, const struct arch *a, unsigned *targets, struct error *e)
{
    const json_t *list = json_object_get(c, "target_modules");
    enum family f;
    *targets = 0;
    if (family_of(a, &f, e))
        return -1;
    if (json_is_string(list) && !strcmp(json_string_value(list), "all-linear"))
        return lora_targets(a, "all", targets, e);
    if (!json_is_array(list))
        return fail(e, "\"target_modules\" is %s; a list of names is wanted",
                    json_is_string(list) ? "a pattern" : "missing");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (read_target(json_array_get(list, i), a, f, targets, e))
            return -1;
    return *targets ? 0 : fail(e, "\"target_modules\" is empty");
}

static int read_config(const json_t *c, const struct arch *a, struct lora *l, struct error *e)
{
    static const char *const types[] = {"LORA", NULL}, *const tasks[] = {"CAUSAL_LM", NULL},
                             *const biases[] = {"none", NULL};
    long rank;
    if (!json_is_object(c))
        return fail(e, "not an object");
    if (!json_is_string(json_object_get(c, "peft_type")))
        return fail(e, "no string \"peft_type\"");
    if (check_text(c, "peft_type", types, e) || check_text(c, "task_type", tasks, e) ||
        check_text(c, "bias", biases, e) || check_init(c, e) || check_keys(c, e) ||
        json_need_int(c, "r", 1, 4096, &rank, e) || json_get_number(c, "lora_alpha", 8, &l->alpha, e) ||
        json_get_bool(c, "use_rslora", 0, &l->root, e) || read_targets(c, a, &l->targets, e))
        return -1;
    l->rank = (int)rank;
    return 0;
}

int lora_read(const char *dir, struct arch *a, char base[512], struct error *e)
{
    char path[1024];
    struct arch with = *a;
    if (path_in(path, dir, config_name, e))
        return -1;
    json_t *c = json_read(path, e);
    if (!c)
        return -1;
    int status = read_config(c, a, &with.lora, e) || arch_check(&with, e) ? fail_in(e, "%s", path) : 0;
    if (!status && base)
        snprintf(base, 512, "%s", json_get_string(c, "base_model_name_or_path", ""));
    json_decref(c);
    if (!status)
        a->lora = with.lora;
    return status;
}

/* ---- tensors ---- */

static void tensor_name(char name[96], const struct model *m, enum family f, int layer, int j, int B)
{
    char prefix[64];
    layer_prefix(prefix, f, layer);
    snprintf(name, 96, "base_model.model.%s%s.lora_%c.weight", prefix, m->adapter[j].name, B ? 'B' : 'A');
}

/* Number i of the model's adapter tensors: its name in the file. Returns its tensor. */
static const struct tensor *numbered(char name[96], const struct model *m, enum family f, int i)
{
    tensor_name(name, m, f, i / (2 * m->adapters), i / 2 % m->adapters, i % 2);
    return &m->tensor[m->first + i];
}

static int count_of(const struct model *m)
{
    return 2 * m->arch.layers * m->adapters;
}

/* The first tensor of the file that the model has no place for. */
static int refuse_leftover(const struct model *m, enum family f, const struct safetensors *s, struct error *e)
{
    char name[96];
    for (int k = 0; k < s->tensors; k++) {
        int found = 0;
        for (int i = 0; i < count_of(m) && !found; i++) {
            numbered(name, m, f, i);
            found = !strcmp(name, s->tensor[k].name);
        }
        if (!found)
            return fail(e, "%s: tensor '%.200s' has no place in the model with the adapters that %s describes", s->path,
                        s->tensor[k].name, config_name);
    }
    return 0;
}

static int check_tensors(const struct model *m, enum family f, const struct safetensors *s, struct error *e)
{
    char name[96];
    for (int i = 0; i < count_of(m); i++) {
        const struct tensor *t = numbered(name, m, f, i);
        const int64_t shape[2] = {t->N, t->K};
        if (!safetensors_need(s, name, 2, shape, e))
            return -1;
    }
    return s->tensors == count_of(m) ? 0 : refuse_leftover(m, f, s, e);
}

static int load_tensor(struct model *m, int tensor, const struct st_tensor *from, const char *path, struct error *e)
{
    const struct tensor *t = &m->tensor[tensor];
    double *x = mem_alloc((size_t)from->count, sizeof *x);
    int status = 0;
    st_read(from, 0, from->count, x);
    for (int64_t i = 0; i < from->count && !status; i++)
        if (!isfinite(x[i]))
            status = fail(e, "%s: tensor '%s': element [%d, %d] is %s", path, from->name, (int)(i / t->K),
                          (int)(i % t->K), isnan(x[i]) ? "not a number" : "infinite");
    if (!status)
        model_write(m, tensor, 0, 0, t->N, x);
    mem_free(x);
    return status;
}

int lora_load(struct model *m, const char *dir, struct error *e)
{
    struct safetensors s;
    char path[1024], name[96];
    enum family f;
    if (family_of(&m->arch, &f, e) || path_in(path, dir, weights_name, e) || safetensors_open(&s, path, e))
        return -1;
    int status = check_tensors(m, f, &s, e);
    for (int i = 0; i < count_of(m) && !status; i++) {
        numbered(name, m, f, i);
        status = load_tensor(m, m->first + i, safetensors_find(&s, name), path, e);
    }
    safetensors_close(&s);
    if (!status)
        lora_settle(m);
    return status;
}

/* ---- writing ---- */

/* As they stand beside other programs' models: "q_proj", but "attn.c_proj" where "c_proj" would mean two. */
static json_t *target_list(const struct arch *a)
{
    struct adapter x[LORA_TARGETS];
    json_t *list = json_array();
    int n = lora_adapters(a, x, NULL);
    for (int j = 0; j < n; j++) {
        const char *dot = strchr(x[j].name, '.');
        unsigned bits;
        int alone = !lora_targets(a, dot + 1, &bits, NULL) && !(bits & (bits - 1));
        json_array_append_new(list, json_string(alone ? dot + 1 : x[j].name));
    }
    return list;
}

static int write_config(const struct arch *a, enum family f, const char *base, const char *path, struct error *e)
{
    const struct lora *l = &a->lora;
    int whole = l->alpha == floor(l->alpha);
    json_t *c = json_object();
    json_object_set_new(c, "peft_type", json_string("LORA"));
    json_object_set_new(c, "task_type", json_string("CAUSAL_LM"));
    json_t *name = base && base[0] ? json_string(base) : NULL; /* NULL too where it is no UTF-8 */
    json_object_set_new(c, "base_model_name_or_path", name ? name : json_null());
    json_object_set_new(c, "r", json_integer(l->rank));
    json_object_set_new(c, "lora_alpha", whole ? json_integer((json_int_t)l->alpha) : json_real(l->alpha));
    json_object_set_new(c, "use_rslora", json_boolean(l->root));
    json_object_set_new(c, "target_modules", target_list(a));
    json_object_set_new(c, "fan_in_fan_out", json_boolean(f == FAMILY_GPT2));
    json_object_set_new(c, "bias", json_string("none"));
    json_object_set_new(c, "lora_dropout", json_real(0));
    json_object_set_new(c, "inference_mode", json_true());
    int status = json_write(path, c, e);
    json_decref(c);
    return status;
}

static int write_tensors(const struct model *m, enum family f, const char *path, struct error *e)
{
    struct st_writer w;
    int n = count_of(m);
    struct st_entry *entry = mem_alloc((size_t)n, sizeof *entry);
    for (int i = 0; i < n; i++) {
        const struct tensor *t = numbered(entry[i].name, m, f, i);
        entry[i].dtype = DTYPE_F32;
        entry[i].dims = 2;
        entry[i].shape[0] = t->N;
        entry[i].shape[1] = t->K;
    }
    int status = st_create(&w, path, entry, n, "{\"format\":\"pt\"}", e);
    for (int i = 0; i < n && !status; i++) {
        const struct tensor *t = &m->tensor[m->first + i];
        double *x = mem_alloc((size_t)t->N * t->K, sizeof *x);
        model_read(m, m->first + i, 0, 0, t->N, x);
        status = st_put(&w, x, (int64_t)t->N * t->K, e);
        mem_free(x);
    }
    if (!status)
        status = st_commit(&w, e);
    else
        st_abandon(&w);
    mem_free(entry);
    return status;
}

int lora_save(const struct model *m, const char *dir, const char *base, struct error *e)
{
    char config[1024], weights[1024];
    enum family f;
    if (family_of(&m->arch, &f, e) || path_in(config, dir, config_name, e) || path_in(weights, dir, weights_name, e))
        return -1;
    return write_tensors(m, f, weights, e) || write_config(&m->arch, f, base, config, e) ? -1 : 0;
}
