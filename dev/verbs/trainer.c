/* Memory of a training run: planned from the recipe, printed, refused when it cannot fit, then allocated once. */
#include "trainer.h"
#include "../../model/base/clock.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

struct plan { /* the largest step of any phase */
    int groups, samples, tokens, prompt_tokens, group_rows, group_samples, slots, max_new, support;
};

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

static struct plan plan_of(const struct session *s)
{
    const struct recipe *r = &s->recipe;
    struct plan p = {0, 0, 0, 0, 0, 1, session_max_slots(s), session_max_new(r), session_max_support(r)};
    for (int i = 0; i < r->phases; i++) {
        const struct phase *ph = &r->phase[i];
        int gold = ph->source == SOURCE_GOLD;
        int groups = gold ? ph->batch : ph->rollout.prompts * ph->rollout.max_refills;
        int samples = gold ? 1 : ph->rollout.samples, longest = gold ? s->max_gold : ph->rollout.max_new;
        p.groups = at_least(p.groups, groups);
        p.samples = at_least(p.samples, groups * samples);
        p.tokens = at_least(p.tokens, groups * samples * longest);
        p.group_samples = at_least(p.group_samples, samples);
        p.group_rows = at_least(p.group_rows, s->max_prompt + samples * longest);
    }
    p.prompt_tokens = (int)((unsigned)p.groups * (unsigned)s->max_prompt); /* trainer_open refuses what does not fit */
    return p;
}

/* Rows of a micro-batch: what suits machine and workers, at least one whole group. */
static void plan_micro(struct trainer *t, const struct plan *p, int workers)
{
    int asked = t->s.recipe.run.micro < p->groups ? t->s.recipe.run.micro : p->groups;
    int all = p->groups * p->group_rows, suits = micro_rows(&t->s.arch, &t->s.device);
    t->micro_groups = asked > 0 ? asked : p->groups;
    t->micro_rows = asked > 0 ? asked * p->group_rows : at_least(micro_piece(all, workers, suits), p->group_rows);
    if (t->micro_rows > all)
        t->micro_rows = all;
}

/* A model like the policy; under adapters the two share the weights. */
static int open_twin(struct trainer *t, struct model *m, const struct arch *a, int trainable, struct error *e)
{
    struct session *s = &t->s;
    return a->lora.rank ? model_share(m, a, &s->policy, trainable, e)
                        : model_create(m, a, s->small_init, &s->device, trainable, e);
}

static void alloc_micro(struct trainer *t, struct micro *m, const struct plan *p)
{
    size_t rows = (size_t)t->micro_rows, groups = (size_t)t->micro_groups;
    size_t segments = groups * ((size_t)p->group_samples + 1);
    m->ids = mem_alloc(rows, sizeof *m->ids);
    m->entry_row = mem_alloc(rows, sizeof *m->entry_row);
    m->entry_target = mem_alloc(rows, sizeof *m->entry_target);
    m->entry_token = mem_alloc(rows, sizeof *m->entry_token);
    m->support = mem_alloc(rows * p->support, sizeof *m->support);
    m->supports = mem_alloc(p->support ? rows : 0, sizeof *m->supports);
    m->temperature = mem_alloc(rows, sizeof *m->temperature);
    m->logp = mem_alloc(rows, sizeof *m->logp);
    m->entropy = mem_alloc(rows, sizeof *m->entropy);
    m->glogp = mem_alloc(rows, sizeof *m->glogp);
    m->gentropy = mem_alloc(rows, sizeof *m->gentropy);
    m->segment = mem_alloc(segments, sizeof *m->segment);
    m->group_segment = mem_alloc(groups + 1, sizeof *m->group_segment);
    m->group_entry = mem_alloc(groups + 1, sizeof *m->group_entry);
}

static void alloc_rollout(struct trainer *t, const struct plan *p)
{
    size_t n = (size_t)p->samples, tokens = n * p->max_new;
    t->item = mem_alloc((size_t)p->groups, sizeof *t->item);
    t->request = mem_alloc((size_t)p->groups, sizeof *t->request);
    t->response = mem_alloc(n, sizeof *t->response);
    t->response_ids = mem_alloc(tokens, sizeof *t->response_ids);
    t->response_logp = mem_alloc(2 * tokens, sizeof *t->response_logp);
    t->response_support = mem_alloc(tokens * p->support, sizeof *t->response_support);
    t->response_supports = mem_alloc(p->support ? tokens : 0, sizeof *t->response_supports);
    int longest = at_least(p->max_new, t->s.max_gold);
    t->token_end = mem_alloc((size_t)longest, sizeof *t->token_end);
    t->step_span = mem_alloc((size_t)longest, sizeof *t->step_span);
    t->text_at = mem_alloc(n + 1, sizeof *t->text_at);
    for (size_t i = 0; i < n; i++) {
        struct response *r = &t->response[i];
        r->ids = t->response_ids + i * p->max_new;
        r->logp = t->response_logp + 2 * i * p->max_new;
        r->entropy = r->logp + p->max_new;
        r->support = p->support ? t->response_support + i * p->max_new * p->support : NULL;
        r->supports = p->support ? t->response_supports + i * p->max_new : NULL;
    }
}

static int path_arch(const struct model_use *u, struct arch *a, struct error *e)
{
    struct token_ids special;
    if (lora_exists(u->path))
        return fail(e, "model %s: %s holds an adapter, which only the policy may have; `train_rl export` merges it",
                    u->name, u->path);
    return checkpoint_arch(u->path, a, &special, e);
}

/* A preset that reads the policy's tokens. */
static int preset_arch(const struct trainer *t, const struct model_use *u, struct arch *a, int *small, struct error *e)
{
    const struct preset *p = session_preset(u->preset, u->name, e);
    if (!p)
        return -1;
    *a = p->arch;
    *small = p->small;
    a->V = t->s.arch.V;
    a->context = t->s.arch.context;
    return 0;
}

/* The shape of further model i: the policy's, that of a directory, or a preset. */
static int model_arch(const struct trainer *t, const struct model_use *u, struct arch *a, int *small, struct error *e)
{
    const struct session *s = &t->s;
    *a = s->arch;
    *small = s->small_init;
    if (u->path[0] && path_arch(u, a, e))
        return -1;
    if (u->preset[0] && preset_arch(t, u, a, small, e))
        return -1;
    int longest = s->max_prompt + at_least(session_max_new(&s->recipe), s->max_gold);
    longest = longest < s->arch.context ? longest : s->arch.context;
    if (a->V != s->arch.V)
        return fail(e, "model %s has a vocabulary of %d, the policy one of %d", u->name, a->V, s->arch.V);
    if (a->context < longest)
        return fail(e, "model %s reads at most %d tokens, prompts and responses may have %d; lower rollout.max_new",
                    u->name, a->context, longest);
    a->value_head = u->head != HEAD_NONE;
    return 0;
}

static int open_model(struct trainer *t, int i, struct error *e)
{
    const struct model_use *u = &t->s.recipe.models[i];
    struct arch a;
    int small;
    if (model_arch(t, u, &a, &small, e))
        return -1;
    if (u->preset[0] ? model_create(&t->model[i], &a, small, &t->s.device, 1, e)
                     : open_twin(t, &t->model[i], &a, !u->frozen, e))
        return -1;
    t->model_ready[i] = !u->init;
    if (u->preset[0])
        model_init(&t->model[i], t->s.recipe.run.seed + 1 + (uint64_t)i); /* not as the policy begins */
    return u->path[0] ? checkpoint_load(&t->model[i], u->path, e) : 0;
}

struct tape *worker_tape(struct worker *w, int i, int training)
{
    return w->own_tape[i].max_rows ? &w->own_tape[i] : training ? &w->tape : &w->frozen_tape;
}

int trainer_records(const struct trainer *t)
{
    return t->dir.path[0] != 0;
}

void trainer_look(struct trainer *t, const struct sight *s)
{
    if (t->watch)
        t->watch(t->watch_context, t, s);
}

int trainer_trained(const struct trainer *t, const struct phase *ph)
{
    for (int i = 0; i < t->s.recipe.model_count; i++)
        if (strcmp(ph->train, t->s.recipe.models[i].name) == 0)
            return 1 + i;
    return 0;
}

int trainer_branch(const struct recipe *r, int phase)
{
    const char *name = r->phase[phase].branch;
    if (!name[0])
        return -1;
    for (int i = 0; i < phase; i++)
        if (strcmp(r->phase[i].name, name) == 0)
            return i;
    return -2;
}

static int open_models(struct trainer *t, struct error *e)
{
    const struct recipe *r = &t->s.recipe;
    for (int i = 0; i < r->model_count; i++)
        if (open_model(t, i, e))
            return -1;
    int branches = 0;
    for (int i = 0; i < r->phases; i++) {
        int from = trainer_branch(r, i);
        if (from == -2)
            return fail(e, "%s:%d: phase %s branches from '%s', which is no earlier phase", r->path, r->phase[i].line,
                        r->phase[i].name, r->phase[i].branch);
        if (from >= 0 && !t->snapshot[from].tensor && open_twin(t, &t->snapshot[from], &t->s.arch, 1, e))
            return -1;
        branches += from >= 0;
    }
    return branches ? open_twin(t, &t->aside, &t->s.arch, 1, e) : 0;
}

/* Of a model like the policy, from open_twin. */
static double twin_bytes(const struct session *s, int trainable)
{
    const struct model *m = &s->policy;
    if (s->arch.lora.rank)
        return (double)m->own_reals * (double)s->device.ops->real_bytes * (trainable ? 4 : 1) +
               (double)m->own_copies * sizeof(uint16_t);
    return (double)m->weights->arena.total + (trainable ? (double)m->arena.total : 0);
}

/* Of the models of [models], of what branches come back to, and of their tapes; a: their shapes. */
static double models_bytes(const struct trainer *t, const struct arch *a)
{
    const struct session *s = &t->s;
    const struct recipe *r = &s->recipe;
    double bytes = 0;
    int twins[MAX_PHASES] = {0}, branches = 0;
    for (int i = 0; i < r->model_count; i++) {
        const struct model_use *u = &r->models[i];
        bytes += u->init ? twin_bytes(s, !u->frozen)
                         : session_weight_bytes(&a[i], &s->device, !u->frozen) +
                               (double)t->worker->own_tape[i].arena.total * t->workers;
    }
    for (int i = 0; i < r->phases; i++) {
        int from = trainer_branch(r, i);
        branches += from >= 0;
        if (from >= 0)
            twins[from] = 1;
    }
    for (int i = 0; i < r->phases; i++)
        bytes += twins[i] ? twin_bytes(s, 1) : 0;
    return bytes + (branches ? twin_bytes(s, 1) : 0);
}

/* Of what a step collects on the host: some 120 bytes a token, its support twice. */
static double batch_bytes(const struct plan *p)
{
    double each = 120 + 8.0 * p->support;
    return each * p->tokens + each / 4 * p->samples * p->max_new;
}

static double memory_total(const struct memory *m)
{
    return m->policy + m->models + m->activations + m->sampler + m->batch + m->scratch;
}

/* The keys that would help, largest need first in the order of words; those that cannot are left out. */
static void name_remedies(const struct trainer *t, const struct plan *p, double need, struct text *out)
{
    const struct session *s = &t->s;
    const struct memory *m = &t->memory;
    struct tape again;
    const struct tape *tape = &t->worker->tape;
    tape_plan(&again, &s->arch, tape->dev, t->micro_rows, t->micro_rows, tape->store, KEEP_INPUTS);
    double saved = ((double)tape->arena.total - (double)again.arena.total) * t->workers, little = 0.02 * need;
    tape_free(&again);
    if (tape->keep == KEEP_ALL && saved > little)
        text_addf(out, "; model.recompute=1 saves %.0f MB of activations", saved / (1 << 20));
    if (m->activations > little && t->micro_rows > p->group_rows)
        text_addf(out, "; run.micro=1 computes one group at a time, %d of its %d rows", p->group_rows, t->micro_rows);
    if (m->activations > little)
        text_addf(out, "; lower rollout.samples or rollout.max_new, a group has up to %d rows", p->group_rows);
    if (m->sampler > little && t->sampler.slots > 1)
        text_addf(out, "; lower rollout.slots, now %d", t->sampler.slots);
    if (m->batch > little)
        text_addf(out, "; lower rollout.prompts");
    if (m->policy > little && !s->arch.lora.rank)
        text_addf(out, "; model.lora_rank=8 trains without gradient and moments of the weights");
}

static void free_micro(struct micro *m)
{
    void *all[] = {m->ids,      m->entry_row,   m->entry_target,  m->entry_token, m->support,
                   m->supports, m->temperature, m->logp,          m->entropy,     m->glogp,
                   m->gentropy, m->segment,     m->group_segment, m->group_entry};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
}

static void close_worker(struct worker *w)
{
    free_micro(&w->micro);
    layout_free(&w->layout);
    tape_free(&w->tape);
    tape_free(&w->frozen_tape);
    for (int i = 0; i < MAX_MODELS; i++)
        tape_free(&w->own_tape[i]);
    device_release_single(&w->one);
}

static void close_workers(struct trainer *t)
{
    for (int i = 0; i < t->workers; i++)
        close_worker(&t->worker[i]);
    mem_free(t->worker);
    t->worker = NULL;
    t->workers = 0;
}

/* The tapes of a worker. Returns the most scratch memory that an operation of theirs needs with all threads. */
static size_t plan_tapes(struct trainer *t, struct worker *w, const struct arch *shape, int store)
{
    struct session *s = &t->s;
    enum keep keep = s->recipe.model.recompute ? KEEP_INPUTS : KEEP_ALL;
    int rows = t->micro_rows;
    struct tape *planned[2 + MAX_MODELS] = {&w->tape};
    size_t scratch = 0, n = 1;
    tape_plan(&w->tape, &s->arch, &s->device, rows, rows, store, keep);
    if (s->recipe.model_count) {
        tape_plan(&w->frozen_tape, &s->arch, &s->device, rows, rows, store, KEEP_NOTHING);
        planned[n++] = &w->frozen_tape;
    }
    for (int i = 0; i < s->recipe.model_count; i++) {
        if (s->recipe.models[i].init)
            continue;
        tape_plan(&w->own_tape[i], &shape[i], &s->device, rows, rows, store,
                  s->recipe.models[i].frozen ? KEEP_NOTHING : keep);
        planned[n++] = &w->own_tape[i];
    }
    for (size_t i = 0; i < n; i++) {
        size_t bytes = tape_scratch(planned[i]);
        scratch = bytes > scratch ? bytes : scratch;
        planned[i]->dev = w->dev;
        planned[i]->turn = &w->turn;
    }
    return scratch;
}

/* Workers with their tapes, and the bytes of everything. */
static double plan_workers(struct trainer *t, const struct plan *p, int workers, const struct arch *shape)
{
    plan_micro(t, p, workers);
    int store = t->micro_rows + t->micro_groups * (p->group_samples + 1) * KV_ALIGN;
    close_workers(t); /* of an earlier plan */
    t->worker = mem_alloc((size_t)workers, sizeof *t->worker);
    t->workers = workers;
    size_t scratch = 0, activations = 0;
    for (int i = 0; i < workers; i++) {
        struct worker *w = &t->worker[i];
        device_single(&w->one, &t->s.device);
        w->dev = workers > 1 ? &w->one : &t->s.device;
        scratch = plan_tapes(t, w, shape, store);
        activations += w->tape.arena.total + w->frozen_tape.arena.total;
    }
    t->memory.models = models_bytes(t, shape);
    t->memory.activations = (double)activations;
    t->memory.scratch = (double)scratch * (workers > 1 ? 2 : 1);
    t->scratch = scratch;
    return memory_total(&t->memory);
}

static int plan_memory(struct trainer *t, const struct plan *p, struct error *e)
{
    struct session *s = &t->s;
    struct arch shape[MAX_MODELS];
    for (int i = 0; i < s->recipe.model_count; i++) {
        int small;
        if (!s->recipe.models[i].init && model_arch(t, &s->recipe.models[i], &shape[i], &small, e))
            return -1;
    }
    sampler_plan(&t->sampler, &s->arch, &s->device, p->slots, s->max_prompt, p->max_new, p->support);
    t->memory.policy = (double)model_bytes(&s->policy, 0);
    t->memory.sampler = (double)sampler_bytes(&t->sampler);
    t->memory.batch = batch_bytes(p);
    static const double little = 1 << 30; /* activations that need not be weighed against the model */
    int workers = micro_workers(&s->device);
    double limit = session_memory_limit(s), need = plan_workers(t, p, p->groups < workers ? 1 : workers, shape);
    if (t->workers > 1 && (need > limit || t->memory.activations > t->memory.policy + little))
        need = plan_workers(t, p, 1, shape);
    if (need > limit) { /* fewer slots are slower and change nothing else */
        double rest = need - t->memory.sampler;
        sampler_free(&t->sampler);
        sampler_fit(&t->sampler, &s->arch, &s->device, session_asked_slots(&s->recipe), p->slots, s->max_prompt,
                    p->max_new, p->support, limit - rest);
        t->memory.sampler = (double)sampler_bytes(&t->sampler);
        need = rest + t->memory.sampler;
    }
    if (need <= limit)
        return 0;
    struct text remedies = {0};
    name_remedies(t, p, need, &remedies);
    fail(e, "the run needs %.0f MB of memory and %s allows %.0f%s", need / (1 << 20),
         s->recipe.run.memory > 0 ? "run.memory" : "this machine", limit / (1 << 20), remedies.s ? remedies.s : "");
    text_free(&remedies);
    return -1;
}

static int reads_view(const struct recipe *r, const char *view)
{
    for (int f = 0; f < r->phases; f++)
        for (int i = 0; i < r->phase[f].stages; i++)
            for (int c = 0; c < 6; c++)
                if (strstr(r->phase[f].stage[i].channel_name[c], view))
                    return 1;
    return 0;
}

int trainer_open(struct trainer *t, const char *recipe, const char *const *overrides, int count, struct error *e)
{
    memset(t, 0, sizeof *t);
    t->dir.lock = -1;
    t->started = t->opened = clock_now();
    return session_open(&t->s, recipe, overrides, count, 1, e) ? -1 : trainer_reserve(t, e);
}

static void open_worker(struct trainer *t, struct worker *w, const struct plan *p)
{
    tape_commit(&w->tape);
    if (w->frozen_tape.max_rows)
        tape_commit(&w->frozen_tape);
    for (int i = 0; i < t->s.recipe.model_count; i++)
        if (w->own_tape[i].max_rows)
            tape_commit(&w->own_tape[i]);
    layout_create(&w->layout, w->dev, t->s.arch.V, t->micro_rows, t->micro_groups * (p->group_samples + 1),
                  t->micro_groups, t->micro_rows, p->support);
    alloc_micro(t, &w->micro, p);
}

int trainer_reserve(struct trainer *t, struct error *e)
{
    if (reads_view(&t->s.recipe, "@noprompt") && session_first_token(&t->s) < 0)
        return fail(
            e, "the recipe needs texts without their prompt, which begin with a first token, but the tokenizer has "
               "neither a beginning nor an end of sequence");
    struct plan p = plan_of(&t->s);
    if ((double)p.groups * t->s.max_prompt > INT_MAX)
        return fail(e, "%d prompts of up to %d tokens are too many for one step; lower rollout.prompts or batch",
                    p.groups, t->s.max_prompt);
    if (plan_memory(t, &p, e) || open_models(t, e))
        return -1;
    device_reserve(&t->s.device, t->scratch);
    for (int i = 0; i < t->workers; i++)
        open_worker(t, &t->worker[i], &p);
    sampler_commit(&t->sampler);
    batch_create(&t->batch, p.groups, p.samples, p.tokens, p.tokens, p.prompt_tokens, p.support);
    if (t->s.device.inexact)
        t->batch.logp_old = t->logp_old = mem_alloc((size_t)p.tokens, sizeof *t->logp_old);
    t->cut = mem_alloc((size_t)p.groups + 1, sizeof *t->cut);
    t->passed = mem_alloc((size_t)p.groups + 1, sizeof *t->passed);
    alloc_rollout(t, &p);
    return 0;
}

void trainer_close(struct trainer *t)
{
    for (int i = 0; i < t->batch.max_groups && t->item; i++)
        item_free(&t->item[i]);
    void *all[] = {
        t->item,      t->request,   t->response,   t->response_ids, t->response_support, t->response_supports,
        t->token_end, t->step_span, t->encode_ids, t->text_at,      t->response_logp,    t->logp_old,
        t->cut,       t->passed};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
    close_workers(t);
    text_free(&t->text);
    for (int i = 0; i < t->milestones; i++)
        shown_free(&t->milestone[i].shown);
    rundir_close(&t->dir);
    if (t->batch.max_groups)
        batch_free(&t->batch);
    sampler_free(&t->sampler);
    for (int i = 0; i < MAX_MODELS; i++)
        if (t->model[i].tensor)
            model_free(&t->model[i]);
    for (int i = 0; i < MAX_PHASES; i++)
        if (t->snapshot[i].tensor)
            model_free(&t->snapshot[i]);
    if (t->aside.tensor)
        model_free(&t->aside);
    session_close(&t->s);
}

struct channel *trainer_channel(const struct trainer *t, const char *model, const char *head)
{
    char name[48];
    snprintf(name, sizeof name, "%s.%s", model, head);
    for (int c = 0; c < t->batch.channels; c++)
        if (strcmp(t->batch.channel[c].name, name) == 0)
            return (struct channel *)&t->batch.channel[c];
    return NULL;
}

double *trainer_values(const struct trainer *t, const char *model, const char *head)
{
    const struct channel *c = trainer_channel(t, model, head);
    return c ? c->value : NULL;
}
