/* Opening a recipe: recipe -> task -> tokenizer -> architecture -> device -> policy. */
#include "session.h"
#include "session_prompts.h"
#include "../../model/base/file.h"
#include <stdio.h>
#include <string.h>

static int max_of(int a, int b)
{
    return a > b ? a : b;
}

int session_max_new(const struct recipe *r)
{
    int n = 1;
    for (int i = 0; i < r->phases; i++)
        n = max_of(n, r->phase[i].rollout.max_new);
    return n;
}

int session_max_slots(const struct session *s)
{
    int n = 1;
    for (int i = 0; i < s->recipe.phases; i++) {
        const struct rollout_config *c = &s->recipe.phase[i].rollout;
        n = max_of(n, c->slots > 0 ? c->slots : sampler_slots(&s->device, &s->arch, c->prompts * c->samples));
    }
    return n;
}

int session_asked_slots(const struct recipe *r)
{
    int n = 0;
    for (int i = 0; i < r->phases; i++)
        n = max_of(n, r->phase[i].rollout.slots);
    return n;
}

int session_max_support(const struct recipe *r)
{
    int n = 0;
    for (int i = 0; i < r->phases; i++) {
        const struct rollout_config *c = &r->phase[i].rollout;
        if (c->top_k > 0 || c->top_p < 1 || c->min_p > 0)
            n = max_of(n, c->max_support);
    }
    return n;
}

struct sampling session_sampling(const struct rollout_config *r)
{
    struct sampling s = {(float)r->temperature, r->top_k, (float)r->top_p, (float)r->min_p, r->max_support};
    return s;
}

int session_tokenizer_place(const char *model, const char *option, char place[1024], struct error *e)
{
    if (snprintf(place, 1024, "%s", option[0] ? option : model) >= 1024)
        return fail(e, "%.200s...: the path is too long", model);
    char *slash = strrchr(place, '/');
    if (option[0] || file_size(model) < 0)
        return 0;
    snprintf(slash ? slash + 1 : place, 2, "%s", slash ? "" : ".");
    return 0;
}

/* A model brings its tokenizer, or an option names one; without either the characters of the task are the tokens, after
 * an end of sequence where the model has a token to spare for it. */
static int open_tokenizer(struct session *s, struct error *e)
{
    const char *dir = s->recipe.model.path, *option = s->recipe.model.tokenizer, *alphabet = s->task.alphabet;
    struct token_ids ids;
    struct arch a;
    int eos = 1;
    char place[1024];
    if (session_tokenizer_place(dir, option, place, e))
        return -1;
    if (option[0] || (dir[0] && (tokenizer_exists(place) || !alphabet))) {
        s->tokenizer = tokenizer_open(place, e);
        return s->tokenizer ? 0 : -1;
    }
    if (dir[0] && checkpoint_arch(dir, &a, &ids, e))
        return -1;
    if (dir[0])
        eos = a.V > (int)strlen(alphabet);
    if (alphabet)
        s->tokenizer = tokenizer_chars(alphabet, eos, e);
    else
        return fail(e, "task %s needs a trained model and its tokenizer: add model.path=DIR", s->task.row->name);
    return s->tokenizer ? 0 : -1;
}

static void override_size(int *to, int value)
{
    if (value > 0)
        *to = value;
}

/* The chat, and what checkpoints tell other programs of it and of the tokenizer. */
static int open_chat(struct session *s, struct error *e)
{
    const struct model_config *m = &s->recipe.model;
    char place[1024], from[1024] = "";
    if (chat_open(&s->chat, (enum chat_format)s->recipe.task.chat, s->tokenizer, e) ||
        session_tokenizer_place(m->path, m->tokenizer, place, e))
        return -1;
    if (m->tokenizer[0] || m->path[0])
        tokenizer_directory(place, from);
    chat_settings(&s->chat, from, &s->tokenizer_settings);
    return 0;
}

/* Where the model says nothing, a text ends as the tokenizer knows it. */
static int end_of_tokenizer(struct session *s, struct error *e)
{
    int eos = tokenizer_eos(s->tokenizer);
    return eos < 0 ? 0 : token_ids_end(&s->special, eos, 0, e);
}

const struct preset *session_preset(const char *name, const char *where, struct error *e)
{
    const struct preset *p = preset_find(name);
    const char *names[64];
    int n = 0;
    for (const struct preset *q = presets; q->name && n < 64; q++)
        names[n++] = q->name;
    const char *near = p ? NULL : nearest_name(name, names, n);
    if (near)
        fail(e, "%s=%s: there is no such preset, did you mean '%s'?", where, name, near);
    else if (!p)
        fail(e, "%s=%s: there is no such preset; `train_rl list models` shows them", where, name);
    return p;
}

/* A preset with the recipe's sizes on top; vocabulary and context follow from tokenizer and task. */
static int arch_from_preset(struct session *s, struct error *e)
{
    const struct model_config *c = &s->recipe.model;
    const struct preset *p = session_preset(c->preset, "model.preset", e);
    if (!p)
        return -1;
    struct arch *a = &s->arch;
    *a = p->arch;
    s->small_init = p->small;
    int kv_shared = a->H / a->G, hidden_per_width = 0;
    if (c->width > 0 && c->width != a->C)
        hidden_per_width = 1;
    override_size(&a->C, c->width);
    override_size(&a->layers, c->layers);
    override_size(&a->H, c->heads);
    a->G = max_of(1, a->H / kv_shared);
    override_size(&a->G, c->kv_heads);
    if (c->width > 0 || c->heads > 0) {
        if (a->C % a->H)
            return fail(e, "model.width=%d is not a multiple of model.heads=%d", a->C, a->H);
        a->D = a->C / a->H;
    }
    if (hidden_per_width)
        a->F = a->mlp == MLP_GELU ? 4 * a->C : (8 * a->C / 3 + 15) / 16 * 16;
    override_size(&a->F, c->hidden);
    a->V = tokenizer_vocab(s->tokenizer);
    a->context = s->max_prompt + max_of(session_max_new(&s->recipe), s->max_gold);
    override_size(&a->context, c->context);
    s->special = token_ids_none();
    s->special.bos = tokenizer_bos(s->tokenizer);
    return end_of_tokenizer(s, e);
}

static int arch_from_checkpoint(struct session *s, const char *dir, struct error *e)
{
    if (checkpoint_arch(dir, &s->arch, &s->special, e))
        return -1;
    if (s->tokenizer && tokenizer_vocab(s->tokenizer) > s->arch.V)
        return fail(e, "%s: the tokenizer has %d tokens, the model only %d", dir, tokenizer_vocab(s->tokenizer),
                    s->arch.V);
    return s->tokenizer && !s->special.ends ? end_of_tokenizer(s, e) : 0;
}

int session_check_model(const char *dir, struct error *e)
{
    char own[700], inner[700];
    snprintf(own, sizeof own, "%.600s/config.json", dir);
    snprintf(inner, sizeof inner, "%.600s/checkpoint/config.json", dir);
    if (file_size(own) < 0 && lora_exists(dir))
        return fail(e, "model.path=%s is an adapter without a model; name the model there and this by model.lora_path",
                    dir);
    if (file_size(own) < 0 && file_size(inner) >= 0)
        return fail(e, "model.path=%s is the directory of a run; its model is %s/checkpoint", dir, dir);
    return 0;
}

/* Directory of the adapter that the policy begins with: named, or beside the weights; "": none. */
static const char *adapter_directory(const struct session *s)
{
    const struct model_config *c = &s->recipe.model;
    if (c->lora_path[0])
        return c->lora_path;
    return c->path[0] && lora_exists(c->path) ? c->path : "";
}

/* s->arch.lora of an adapter from a file or of a new one. What only runs needs no new one: it would do nothing. */
static int choose_adapters(struct session *s, int trainable, struct error *e)
{
    const struct model_config *c = &s->recipe.model;
    const char *dir = adapter_directory(s);
    struct lora *l = &s->arch.lora;
    if (dir[0] && !c->lora_path[0] && trainable)
        return fail(e, "model.path=%s holds an adapter: model.lora_path=%s trains it on, `train_rl export` merges it",
                    dir, dir);
    if (dir[0])
        return lora_read(dir, &s->arch, NULL, e);
    if (!c->lora_rank && (c->lora_alpha > 0 || strcmp(c->lora_targets, "all")))
        return fail(e, "model.lora_alpha and model.lora_targets change nothing without model.lora_rank");
    if (!c->lora_rank || !trainable)
        return 0;
    *l = (struct lora){c->lora_rank, c->lora_alpha > 0 ? c->lora_alpha : 2 * c->lora_rank, 0, 0};
    return lora_targets(&s->arch, c->lora_targets, &l->targets, e) ? fail_in(e, "model.lora_targets") : 0;
}

static int load_policy(struct session *s, struct error *e)
{
    const char *dir = s->recipe.model.path, *adapter = adapter_directory(s);
    uint64_t seed = s->recipe.run.seed;
    if (!dir[0])
        model_init(&s->policy, seed);
    else if (checkpoint_load(&s->policy, dir, e))
        return -1;
    if (adapter[0])
        return lora_load(&s->policy, adapter, e);
    if (dir[0])
        model_init_adapters(&s->policy, seed);
    return 0;
}

double session_memory_limit(const struct session *s)
{
    static const double most = 0.9; /* of the machine */
    double asked = s->recipe.run.memory;
    return asked > 0 ? asked * (1 << 20) : most * (double)s->device.memory;
}

double session_weight_bytes(const struct arch *a, const struct device *d, int trainable)
{
    double real = (double)d->ops->real_bytes, all = (double)arch_parameters(a), trained = (double)arch_trained(a);
    double lookups = a->tied && !a->lora.rank ? (double)a->V * a->C : 0; /* their gradient stands apart */
    double bytes = real * all + (a->lora.rank ? real * trained : 0);
    if (d->ops->copy_numbers) { /* of matrices, in numbers of 16 bits; they are nearly all */
        enum { SIDE = 1024 };
        double copies = (double)d->ops->copy_numbers(SIDE, SIDE) / (SIDE * SIDE);
        bytes += 2 * copies * (all + (a->lora.rank ? trained : 0));
    }
    return bytes + (trainable ? real * (3 * trained + lookups) : 0);
}

/* Before they are allocated: weights that the machine cannot hold are refused, not begun. */
static int check_weights(const struct session *s, struct error *e)
{
    double need = session_weight_bytes(&s->arch, &s->device, 1), limit = session_memory_limit(s);
    if (need <= limit)
        return 0;
    return fail(e, "the policy's weights, their gradient and moments need %.0f MB of memory and %s allows %.0f; %s",
                need / (1 << 20), s->recipe.run.memory > 0 ? "run.memory" : "this machine", limit / (1 << 20),
                s->arch.lora.rank ? "take a smaller model"
                                  : "model.lora_rank=8 trains without gradient and moments of the weights; or take a "
                                    "smaller model");
}

static int open_policy(struct session *s, int trainable, struct error *e)
{
    const char *dir = s->recipe.model.path;
    if (dir[0] ? arch_from_checkpoint(s, dir, e) : arch_from_preset(s, e))
        return -1;
    if (choose_adapters(s, trainable, e))
        return -1;
    if ((trainable && check_weights(s, e)) ||
        model_create(&s->policy, &s->arch, s->small_init, &s->device, trainable, e))
        return -1;
    return load_policy(s, e);
}

int session_open(struct session *s, const char *recipe, const char *const *overrides, int count, int trainable,
                 struct error *e)
{
    memset(s, 0, sizeof *s);
    if (recipe_load(&s->recipe, recipe, overrides, count, e))
        return -1;
    const struct run_config *run = &s->recipe.run;
    if (s->recipe.model.path[0] && session_check_model(s->recipe.model.path, e))
        return -1;
    if (task_open(&s->task, s->recipe.task_row, s->recipe.task_value, e) || open_tokenizer(s, e) || open_chat(s, e) ||
        session_measure_prompts(s, e))
        return -1;
    s->max_gold = s->task.longest_gold + 1;
    if (device_open_named(&s->device, run->device, run->precision == PRECISION_BF16, run->threads, e))
        return -1;
    if (open_policy(s, trainable, e) || (s->chat.end >= 0 && token_ids_end(&s->special, s->chat.end, 1, e)))
        return -1;
    return session_check_prompts(s, e);
}

int session_open_model(struct session *s, const char *path, const char *tokenizer, int threads, struct error *e)
{
    char place[1024];
    memset(s, 0, sizeof *s);
    if (session_check_model(path, e) || session_tokenizer_place(path, tokenizer, place, e))
        return -1;
    if (tokenizer[0] || tokenizer_exists(place)) {
        s->tokenizer = tokenizer_open(place, e);
        if (!s->tokenizer)
            return -1;
    }
    int adapted = lora_exists(path);
    if (device_open_named(&s->device, "auto", 0, threads, e) || arch_from_checkpoint(s, path, e) ||
        (adapted && lora_read(path, &s->arch, NULL, e)))
        return -1;
    if (model_create(&s->policy, &s->arch, 0, &s->device, 0, e) || checkpoint_load(&s->policy, path, e))
        return -1;
    return adapted ? lora_load(&s->policy, path, e) : 0;
}

void session_close(struct session *s)
{
    if (s->policy.tensor)
        model_free(&s->policy);
    if (s->device.ops)
        device_close(&s->device);
    if (s->tokenizer)
        tokenizer_free(s->tokenizer);
    if (s->task.row)
        task_close(&s->task);
    text_free(&s->tokenizer_settings);
    recipe_free(&s->recipe);
    memset(s, 0, sizeof *s);
}

int session_first_token(const struct session *s)
{
    return s->special.bos >= 0 ? s->special.bos : s->special.ends ? s->special.end[0] : -1;
}
