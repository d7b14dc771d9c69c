/* One preset for bench: its weights, a ragged batch, and the figures of a whole model: an optimiser step, and sampling
 * at several numbers of slots.
 */
#include "bench.h"
#include "../../model/base/mem.h"
#include "../../model/generate.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CACHED_BYTES = 16 << 20 /* weights below this are not expected to come from memory */ };

/* What a batch of a preset looks like: small models take more groups. */
static const struct shape {
    const char *preset;
    int groups, samples, prompt, response;
} shapes[] = {{"tiny-llama", 6, 8, 16, 40}, {"llama-15m", 1, 8, 64, 120}, {"gpt2", 1, 8, 64, 56}, {0}};

static struct shape shape_of(const struct bench *b, const char *preset)
{
    const struct shape *s = shapes;
    if (b->groups)
        return (struct shape){preset, b->groups, b->samples, b->prompt, b->response};
    while (s->preset && strcmp(s->preset, preset) != 0)
        s++;
    return s->preset ? *s : (struct shape){preset, 1, 8, 64, 56};
}

double model_flops(const struct arch *a, double length)
{
    double Q = (double)a->H * a->D, QKV = (double)(a->H + 2 * a->G) * a->D, up = a->mlp == MLP_SWIGLU ? 2 : 1;
    double layer = a->C * QKV + Q * a->C + a->C * up * a->F + (double)a->F * a->C + 2 * Q * (length + 1);
    return 2 * (a->layers * layer + (double)a->V * a->C);
}

static double weight_bytes(const struct model *m)
{
    double bytes = (double)m->reals * bench_weight(m->dev);
    return bytes > CACHED_BYTES ? bytes : 0;
}

/* ---- life ---- */

/* Weights that keep every number in range; drawing a hundred million normal ones would take longer than measuring. */
static void fill_weights(struct model *m)
{
    for (int i = 0; i < m->tensors; i++) {
        const struct tensor *t = &m->tensor[i];
        double *row = mem_alloc((size_t)t->K, sizeof *row);
        for (int n = 0; n < t->N; n++) {
            uint32_t x = (uint32_t)(i * 7919 + n) * 2654435761u;
            for (int k = 0; k < t->K; k++) {
                x = x * 1664525u + 1013904223u;
                row[k] = t->std > 0 ? t->std * 1.7 * ((double)x * 0x1p-31 - 1) : t->fill;
            }
            model_write(m, i, 0, n, 1, row);
        }
        mem_free(row);
    }
}

/* The batch as the trainer would lay it out: prompts once, every token of the responses predicted. */
static void fill_layout(const struct bench_model *m, struct layout *layout)
{
    int32_t *ids = mem_alloc((size_t)m->rows, 4), *row = mem_alloc((size_t)m->rows, 4),
            *target = mem_alloc((size_t)m->rows, 4);
    double *temperature = mem_alloc((size_t)m->rows, sizeof *temperature);
    struct segment *seg = mem_alloc((size_t)m->groups * (m->samples + 1), sizeof *seg);
    int *group_first = mem_alloc((size_t)m->groups + 1, sizeof *group_first);
    int *group_entry = mem_alloc((size_t)m->groups + 1, sizeof *group_entry);
    int at = 0, segments = 0, entries = 0, V = m->model.arch.V;
    for (int i = 0; i < m->rows; i++)
        ids[i] = (int32_t)((uint32_t)i * 2654435761u % (uint32_t)V);
    for (int g = 0; g < m->groups; g++) {
        int parent = segments, last = at + m->prompt - 1;
        group_first[g] = segments;
        group_entry[g] = entries;
        seg[segments++] = (struct segment){-1, at, m->prompt};
        at += m->prompt;
        for (int i = 0; i < m->samples; i++, at += m->response) {
            seg[segments++] = (struct segment){parent, at, m->response};
            for (int k = 0; k < m->response; k++, entries++) {
                row[entries] = k ? at + k - 1 : last;
                target[entries] = ids[at + k];
                temperature[entries] = 1;
            }
        }
    }
    group_first[m->groups] = segments;
    group_entry[m->groups] = entries;
    layout_set(layout, ids, seg, group_first, m->groups);
    layout_entries(layout, entries, row, target, temperature, NULL, NULL, group_entry, m->groups);
    void *all[] = {ids, row, target, temperature, seg, group_first, group_entry};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
}

/* Equal micro-batches of whole groups, much as the trainer cuts them: the fewest of at most so many rows each, or one
 * of each group. */
static int micro_batches(const struct bench *b, const struct shape *s, const struct arch *a)
{
    int n = 1, rows = s->prompt + s->samples * s->response;
    int most = micro_piece(s->groups * rows, micro_workers(b->dev), micro_rows(a, b->dev));
    while (n < s->groups && (s->groups % n || s->groups / n * rows > most))
        n++;
    return n;
}

static void open_side(const struct bench_model *m, struct device *d, struct layout *layout, struct tape *tape)
{
    const struct arch *a = &m->model.arch;
    int segments = m->groups * (m->samples + 1);
    layout_create(layout, d, a->V, m->rows, segments, m->groups, m->entries, 0);
    tape_plan(tape, a, d, m->rows, m->entries, m->rows + segments * KV_ALIGN, KEEP_ALL);
    tape_commit(tape);
    fill_layout(m, layout);
}

static void open_workers(struct bench_model *m)
{
    m->workers = micro_workers(m->b->dev);
    if (m->passes < m->workers)
        m->workers = 1;
    m->passed = mem_alloc((size_t)m->passes + 1, sizeof *m->passed);
    if (m->workers == 1)
        return;
    m->worker = mem_alloc((size_t)m->workers, sizeof *m->worker);
    for (int i = 0; i < m->workers; i++) {
        struct bench_worker *w = &m->worker[i];
        device_single(&w->one, m->b->dev);
        open_side(m, &w->one, &w->layout, &w->tape);
        w->logp = mem_alloc((size_t)m->entries, sizeof *w->logp);
    }
}

static int open_model(struct bench_model *m, struct bench *b, const struct shape *s, struct error *e)
{
    memset(m, 0, sizeof *m);
    m->b = b;
    m->name = s->preset;
    struct arch a = preset_find(s->preset)->arch;
    int length = s->prompt + s->response;
    a.V = b->vocabulary ? b->vocabulary : a.V;
    a.context = a.context < length ? length : a.context;
    m->passes = micro_batches(b, s, &a);
    m->groups = s->groups / m->passes;
    m->samples = s->samples;
    m->prompt = s->prompt;
    m->response = s->response;
    m->rows = m->groups * (s->prompt + s->samples * s->response);
    m->entries = m->groups * s->samples * s->response;
    if (model_create(&m->model, &a, preset_find(s->preset)->small, b->dev, 1, e))
        return -1;
    fill_weights(&m->model);
    open_side(m, b->dev, &m->layout, &m->tape);
    open_workers(m);
    m->logp = mem_alloc((size_t)m->entries, sizeof *m->logp);
    m->gradient = mem_alloc((size_t)m->entries, sizeof *m->gradient);
    for (int i = 0; i < m->entries; i++)
        m->gradient[i] = (i % 2 ? 1.0 : -1.0) / m->entries;
    return 0;
}

static void close_model(struct bench_model *m)
{
    for (int i = 0; i < m->workers && m->worker; i++) {
        mem_free(m->worker[i].logp);
        tape_free(&m->worker[i].tape);
        layout_free(&m->worker[i].layout);
        device_release_single(&m->worker[i].one);
    }
    void *all[] = {m->worker, m->passed, m->logp, m->gradient};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
    tape_free(&m->tape);
    layout_free(&m->layout);
    model_free(&m->model);
}

/* ---- an optimiser step ---- */

static void forward(void *context)
{
    struct bench_model *m = context;
    model_forward(&m->model, &m->tape, &m->layout.rows, m->tape.kv, 0, m->tape.store);
    model_head(&m->model, &m->tape, &m->layout, m->logp, NULL);
}

static void train_micro(void *context, int worker, int i, const struct turn *turn)
{
    struct bench_model *m = context;
    struct bench_worker *w = &m->worker[worker];
    struct model mine = model_on(&m->model, &w->one);
    (void)i;
    w->tape.turn = turn;
    model_forward(&mine, &w->tape, &w->layout.rows, w->tape.kv, 0, w->tape.store);
    model_head(&mine, &w->tape, &w->layout, w->logp, NULL);
    model_backward(&mine, &w->tape, &w->layout, m->gradient, NULL);
}

static void train(void *context)
{
    struct bench_model *m = context;
    const struct optimiser o = {1e-6, 0.9, 0.95, 1e-8, 0.1, 1};
    model_zero_grad(&m->model);
    if (m->workers > 1)
        turn_each(m->workers, m->passes, m->passed, train_micro, m);
    for (int i = 0; i < m->passes && m->workers == 1; i++) {
        forward(m);
        model_backward(&m->model, &m->tape, &m->layout, m->gradient, NULL);
    }
    model_step(&m->model, &o, model_grad_norm(&m->model));
}

static void measure_training(struct bench_model *m)
{
    struct figure f = {.unit = "tokens/s", .amount = m->rows};
    double once = m->rows * model_flops(&m->model.arch, m->prompt + m->response / 2.0);
    snprintf(f.name, sizeof f.name, "%s.forward.%d", m->name, m->rows);
    f.flops = once;
    bench_figure(m->b, &f, forward, m);
    snprintf(f.name, sizeof f.name, "%s.train.%d", m->name, m->passes * m->rows);
    f.amount = m->passes * m->rows;
    f.flops = 3 * once * m->passes;
    bench_figure(m->b, &f, train, m);
}

/* ---- sampling ---- */

struct rollout {
    struct bench_model *m;
    struct sampler sampler;
    struct request *request;
    struct response *response;
    int32_t *prompt, *ids;
    double *logp;
    int requests, new;
};

static void sample(void *context)
{
    struct rollout *r = context;
    const struct sampling how = {1, 0, 1, 0, 0};
    struct error e;
    if (sampler_run(&r->sampler, &r->m->model, r->request, r->requests, &how, 1, RNG_SAMPLE, NULL, 0, r->response, &e))
        die("bench: %s", e.text);
}

/* `samples` answers of `new` tokens to each of `requests` prompts. */
static void open_rollout(struct rollout *r, struct bench_model *m, int slots, int requests, int samples, int new)
{
    *r = (struct rollout){.m = m, .requests = requests, .new = new};
    size_t n = (size_t)requests * samples;
    sampler_plan(&r->sampler, &m->model.arch, m->b->dev, slots, m->prompt, r->new, 0);
    sampler_commit(&r->sampler);
    r->request = mem_alloc((size_t)r->requests, sizeof *r->request);
    r->response = mem_alloc(n, sizeof *r->response);
    r->prompt = mem_alloc((size_t)m->prompt, sizeof *r->prompt);
    r->ids = mem_alloc(n * r->new, sizeof *r->ids);
    r->logp = mem_alloc(2 * n * r->new, sizeof *r->logp);
    for (int i = 0; i < m->prompt; i++)
        r->prompt[i] = i % m->model.arch.V;
    for (int i = 0; i < r->requests; i++)
        r->request[i] = (struct request){r->prompt, m->prompt, samples, r->new, 0, (uint64_t)i, 0};
    for (size_t i = 0; i < n; i++) {
        double *logp = r->logp + 2 * i * r->new;
        r->response[i] = (struct response){.ids = r->ids + i * r->new, .logp = logp, .entropy = logp + r->new};
    }
}

static void close_rollout(struct rollout *r)
{
    sampler_free(&r->sampler);
    void *all[] = {r->request, r->response, r->prompt, r->ids, r->logp};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
}

static void measure_rollouts(struct bench_model *m)
{
    static const int slots[] = {1, 16, 64, 256};
    for (unsigned i = 0; i < sizeof slots / sizeof *slots; i++) {
        struct figure f = {.unit = "tokens/s"};
        struct rollout r;
        snprintf(f.name, sizeof f.name, "%s.rollout.%d", m->name, slots[i]);
        if (!bench_wants(m->b, f.name))
            continue;
        int samples = slots[i] < m->samples ? 1 : m->samples, requests = slots[i] / samples;
        open_rollout(&r, m, requests * samples, requests, samples, m->response < 24 ? m->response : 24);
        const struct arch *a = &m->model.arch;
        f.amount = (double)requests * samples * r.new;
        /* The first token of a response comes from the prompt: it costs a head, which the prompts' own tokens have not.
         */
        f.flops = f.amount * model_flops(a, m->prompt + r.new / 2.0) +
                  (double)r.requests * m->prompt * (model_flops(a, m->prompt / 2.0) - 2.0 * a->V * a->C);
        f.bytes = r.new *weight_bytes(&m->model);
        bench_figure(m->b, &f, sample, &r);
        close_rollout(&r);
    }
}

/* ---- what a step of reinforcement learning costs: the batch's responses are sampled, then it trains on them ---- */

static void cycle(void *context)
{
    struct rollout *r = context;
    sample(r);
    train(r->m);
}

static void measure_cycle(struct bench_model *m)
{
    struct figure f = {.unit = "tokens/s"};
    struct rollout r;
    const struct arch *a = &m->model.arch;
    int groups = m->passes * m->groups, slots = sampler_slots(m->b->dev, a, groups * m->samples);
    snprintf(f.name, sizeof f.name, "%s.cycle.%d", m->name, m->passes * m->entries);
    if (!bench_wants(m->b, f.name))
        return;
    open_rollout(&r, m, slots, groups, m->samples, m->response);
    f.amount = m->passes * m->entries;
    double prompts = (double)groups * m->prompt * (model_flops(a, m->prompt / 2.0) - 2.0 * a->V * a->C);
    f.flops = 4 * (f.amount * model_flops(a, m->prompt + m->response / 2.0) + prompts);
    bench_figure(m->b, &f, cycle, &r);
    close_rollout(&r);
}

/* `only` begins with the name of another preset: nothing here can match. */
static int is_other(const struct bench *b, const char *preset)
{
    for (unsigned i = 0; shapes[i].preset; i++) {
        size_t n = strlen(shapes[i].preset);
        if (strncmp(b->only, shapes[i].preset, n) == 0 && strcmp(shapes[i].preset, preset) != 0)
            return 1;
    }
    return strncmp(b->only, "ceiling", 7) == 0;
}

int bench_preset(struct bench *b, const char *preset, struct error *e)
{
    struct bench_model m;
    struct shape s = shape_of(b, preset);
    if (is_other(b, preset) || strstr(b->only, "rlvr"))
        return 0;
    if (open_model(&m, b, &s, e))
        return -1;
    bench_operations(&m);
    measure_training(&m);
    measure_rollouts(&m);
    measure_cycle(&m);
    close_model(&m);
    return 0;
}
