/* What the CUDA table reaches: memory read, products, an optimiser step, sampling, and a whole step of reinforcement
 * learning, at the shapes of known models, with random weights. One JSON object a line: name, value, unit, and the
 * share of the ceiling measured first (bytes read a second; for training and the whole step, operations a second of a
 * product of 8192 in the same precision). dev/gpu.sh runs it.
 *
 *   gpu_bench [DEVICE [PRESET ...] [cycle=GROUPSxSAMPLESxPROMPTxRESPONSE]]
 *
 * DEVICE: cuda, cuda-bf16 (mixed precision) or cpu. cycle: of the presets only the whole step, of that shape.
 */
#include "../model/base/clock.h"
#include "../model/base/mem.h"
#include "../model/generate.h"
#include <stdio.h>
#include <string.h>

enum { TIMES = 3 };
static struct shape {
    int groups, samples, prompt, response;
} shape = {8, 8, 128, 128};

static const char *precision = "fp32";
static double read_rate, product_rate; /* ceilings: bytes and operations a second */

static void report(const char *preset, const char *name, double value, const char *unit, double share)
{
    printf("{\"name\":\"%s%s%s\",\"precision\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"share\":%.3f}\n", preset,
           *preset ? "." : "", name, precision, value, unit, share);
    fflush(stdout);
}

static void measure_ceilings(struct device *d, size_t reals, int side)
{
    const struct ops *op = d->ops;
    struct scratch_shape s = {.rows = side, .N = side, .K = side};
    Dev x = {op->alloc(d, reals * op->real_bytes), 0}, none = {0}, y = {x.p, op->bf16};
    size_t n = (size_t)side * side;
    double best = 1e30;
    if (!x.p || reals < 3 * n)
        die("no memory for %zu numbers to read", reals);
    device_reserve(d, op->scratch_bytes(d, SCRATCH_LINEAR, &s));
    if (op->prepare)
        op->prepare(d, side, side, op->bf16, 0);
    for (int i = 0; i < TIMES + 1; i++) {
        double start = clock_now();
        op->sum_squares(d, x, reals);
        best = clock_now() - start < best ? clock_now() - start : best;
    }
    read_rate = (double)reals * (double)op->real_bytes / best;
    report("", "read", read_rate * 1e-9, "GB/s", 1);
    best = 1e30;
    for (int i = 0; i < TIMES + 1; i++) {
        double start = clock_now();
        op->linear_forward(d, y, dev_at(d, y, n), dev_at(d, y, 2 * n), none, side, side, side);
        op->sync(d);
        best = clock_now() - start < best ? clock_now() - start : best;
    }
    product_rate = 2.0 * (double)n * side / best;
    report("", "product", product_rate * 1e-12, "TFLOP/s", 1);
    op->release(d, x.p);
}

/* Weights that keep every number in range; drawing a billion normal ones would take longer than measuring. */
static void fill_weights(struct model *m)
{
    enum { AT_ONCE = 1 << 20 };
    for (int i = 0; i < m->tensors; i++) {
        const struct tensor *t = &m->tensor[i];
        int most = t->K < AT_ONCE ? AT_ONCE / t->K : 1;
        double *part = mem_alloc((size_t)most * t->K, sizeof *part);
        uint32_t x = (uint32_t)i;
        for (int n = 0; n < t->N; n += most) {
            int rows = t->N - n < most ? t->N - n : most;
            for (size_t k = 0; k < (size_t)rows * t->K; k++) {
                x = x * 1664525u + 1013904223u; /* Numerical Recipes, chapter 7 */
                part[k] = t->std > 0 ? t->std * 1.7 * ((double)x * 0x1p-31 - 1) : t->fill;
            }
            model_write(m, i, 0, n, rows, part);
        }
        mem_free(part);
    }
}

static int group_rows(void)
{
    return shape.prompt + shape.samples * shape.response;
}

static int group_entries(void)
{
    return shape.samples * shape.response;
}

static int32_t prompt_id(int group, int place, int V)
{
    return (int32_t)((uint32_t)(group * shape.prompt + place) * 2654435761u % (uint32_t)V);
}

/* Groups from `first` on, prompts once, every token of the responses predicted; out: all responses, or NULL: ids out of
 * the air. */
static void fill_layout(struct layout *l, int V, int first, int groups, const struct response *out)
{
    size_t rows = (size_t)groups * group_rows(), most = (size_t)groups * group_entries();
    int32_t *ids = mem_alloc(rows, 4), *row = mem_alloc(most, 4), *target = mem_alloc(most, 4);
    double *temperature = mem_alloc(most, sizeof *temperature);
    struct segment *seg = mem_alloc((size_t)groups * (shape.samples + 1), sizeof *seg);
    int *group_first = mem_alloc((size_t)groups + 1, sizeof *group_first), at = 0, segments = 0, entries = 0;
    int *group_entry = mem_alloc((size_t)groups + 1, sizeof *group_entry);
    for (int g = 0; g < groups; g++) {
        int parent = segments, last = at + shape.prompt - 1;
        seg[segments++] = (struct segment){-1, at, shape.prompt};
        for (int k = 0; k < shape.prompt; k++)
            ids[at++] = prompt_id(first + g, k, V);
        for (int i = 0; i < shape.samples; i++, at += shape.response) {
            seg[segments++] = (struct segment){parent, at, shape.response};
            for (int k = 0; k < shape.response; k++, entries++) {
                const struct response *o = out ? &out[(first + g) * shape.samples + i] : NULL;
                ids[at + k] = target[entries] = o ? o->ids[k] : prompt_id(first + g, at + k, V);
                row[entries] = k ? at + k - 1 : last;
                temperature[entries] = 1;
            }
        }
        group_first[g + 1] = segments;
        group_entry[g + 1] = entries;
    }
    layout_set(l, ids, seg, group_first, groups);
    layout_entries(l, entries, row, target, temperature, NULL, NULL, group_entry, groups);
    void *all[] = {ids, row, target, temperature, seg, group_first, group_entry};
    for (int i = 0; i < (int)(sizeof all / sizeof *all); i++)
        mem_free(all[i]);
}

/* Multiplications and additions of a token's forward pass: two for each weight of a matrix, and attention. */
static double token_operations(const struct model *m, double length)
{
    double sum = 0;
    for (int i = 0; i < m->tensors; i++)
        if (m->tensor[i].kind == TENSOR_MATRIX && (i != m->wte || m->arch.tied))
            sum += 2.0 * m->tensor[i].N * m->tensor[i].K;
    return sum + 4.0 * m->arch.layers * m->arch.H * m->arch.D * length;
}

struct training {
    struct tape tape;
    struct layout layout;
    int groups; /* at once */
    double *logp, *gradient;
};

/* Room for as many groups at once as fit beside the weights and `taken` bytes. */
static void open_training(struct training *t, struct model *m, double taken)
{
    struct device *d = m->dev;
    double room = 0.85 * (double)d->memory - (double)model_bytes(m, 0) - taken;
    int segments = 0, rows = 0, entries = 0;
    memset(t, 0, sizeof *t);
    t->groups = 2 * shape.groups;
    do {
        t->groups = (t->groups + 1) / 2;
        rows = t->groups * group_rows();
        entries = t->groups * group_entries();
        segments = t->groups * (shape.samples + 1);
        tape_free(&t->tape);
        tape_plan(&t->tape, &m->arch, d, rows, entries, rows + segments * KV_ALIGN, KEEP_ALL);
    } while (t->groups > 1 && (double)t->tape.arena.total > room);
    layout_create(&t->layout, d, m->arch.V, rows, segments, t->groups, entries, 0);
    tape_commit(&t->tape);
    t->logp = mem_alloc((size_t)entries, sizeof *t->logp);
    t->gradient = mem_alloc((size_t)entries, sizeof *t->gradient);
    for (int i = 0; i < entries; i++)
        t->gradient[i] = (i % 2 ? 1.0 : -1.0) / (shape.groups * group_entries());
}

static void close_training(struct training *t)
{
    tape_free(&t->tape);
    layout_free(&t->layout);
    mem_free(t->logp);
    mem_free(t->gradient);
}

/* An optimiser step on `groups` groups, in micro-batches. */
static void train(struct training *t, struct model *m, int groups, const struct response *out)
{
    const struct optimiser o = {1e-5, 0.9, 0.95, 1e-8, 0, 1};
    model_zero_grad(m);
    for (int g = 0; g < groups; g += t->groups) {
        fill_layout(&t->layout, m->arch.V, g, groups - g < t->groups ? groups - g : t->groups, out);
        model_forward(m, &t->tape, &t->layout.rows, t->tape.kv, 0, t->tape.store);
        model_head(m, &t->tape, &t->layout, t->logp, NULL);
        model_backward(m, &t->tape, &t->layout, t->gradient, NULL);
    }
    model_step(m, &o, model_grad_norm(m));
    m->dev->ops->sync(m->dev);
}

/* A step of as many groups as fit: one number a line for each. */
static void time_training(struct model *m, const char *preset)
{
    struct training t;
    double best = 1e30;
    open_training(&t, m, 0);
    for (int i = 0; i < TIMES; i++) {
        double start = clock_now();
        train(&t, m, t.groups, NULL);
        best = clock_now() - start < best ? clock_now() - start : best;
    }
    double rows = (double)t.groups * group_rows();
    double operations = 3.0 * rows * token_operations(m, shape.prompt + shape.response / 2.0);
    report(preset, "train.rows", rows, "tokens", (double)t.tape.arena.total / (double)m->dev->memory);
    report(preset, "train", rows / best, "tokens/s", operations / best / product_rate);
    close_training(&t);
}

struct rollout {
    struct sampler sampler;
    struct request *request;
    struct response *out;
    int32_t *prompt;
    int groups, samples;
};

static void open_rollout(struct rollout *r, struct model *m, int groups, int samples)
{
    size_t n = (size_t)groups * samples, length = (size_t)shape.prompt;
    *r = (struct rollout){.groups = groups, .samples = samples};
    r->request = mem_alloc((size_t)groups, sizeof *r->request);
    r->out = mem_alloc(n, sizeof *r->out);
    r->prompt = mem_alloc((size_t)groups * length, sizeof *r->prompt);
    for (int g = 0; g < groups; g++) {
        int32_t *prompt = r->prompt + (size_t)g * length;
        for (int i = 0; i < shape.prompt; i++)
            prompt[i] = prompt_id(g, i, m->arch.V);
        r->request[g] = (struct request){prompt, shape.prompt, samples, shape.response, 0, (uint64_t)g, 0};
    }
    for (size_t i = 0; i < n; i++) {
        size_t most = (size_t)shape.response;
        r->out[i] = (struct response){mem_alloc(most, 4), mem_alloc(most, 8), mem_alloc(most, 8), NULL, NULL, 0, 0};
    }
    sampler_plan(&r->sampler, &m->arch, m->dev, (int)n, shape.prompt, shape.response, 0);
    sampler_commit(&r->sampler);
}

static void close_rollout(struct rollout *r)
{
    for (int i = 0; i < r->groups * r->samples; i++) {
        mem_free(r->out[i].ids);
        mem_free(r->out[i].logp);
        mem_free(r->out[i].entropy);
    }
    mem_free(r->out);
    mem_free(r->request);
    mem_free(r->prompt);
    sampler_free(&r->sampler);
}

static void sample(struct rollout *r, const struct model *m)
{
    const struct sampling how = {1, 0, 1, 0, 0};
    struct error e;
    if (sampler_run(&r->sampler, m, r->request, r->groups, &how, 1, RNG_TEST, NULL, 0, r->out, &e))
        die("%s", e.text);
}

/* Decoding reads the weights once a token of all slots, and each slot's keys and values. */
static void time_sampling(struct model *m, const char *preset, int slots)
{
    struct rollout r;
    double best = 1e30, length = shape.prompt + shape.response / 2.0;
    char name[32];
    open_rollout(&r, m, 1, slots);
    for (int i = 0; i < TIMES - 1; i++) {
        double start = clock_now();
        sample(&r, m);
        best = clock_now() - start < best ? clock_now() - start : best;
    }
    double real = m->dev->ops->bf16 ? 2 : (double)m->dev->ops->real_bytes;
    double cache = 2.0 * m->arch.layers * m->arch.G * m->arch.D * length;
    double bytes = real * shape.response * ((double)m->reals + slots * cache);
    snprintf(name, sizeof name, "decode.%d", slots);
    report(preset, name, slots * shape.response / best, "tokens/s", bytes / best / read_rate);
    close_rollout(&r);
}

/* As `train_rl bench only=MODEL.cycle` and the loops of bench/: sample a batch, then an optimiser step on it. */
static void time_cycle(struct model *m, const char *preset)
{
    struct rollout r;
    struct training t;
    int tokens = shape.groups * group_entries();
    double best = 1e30, sampling = 1e30, middle = shape.prompt + shape.response / 2.0;
    char name[48];
    open_rollout(&r, m, shape.groups, shape.samples);
    open_training(&t, m, (double)sampler_bytes(&r.sampler));
    for (int i = 0; i < TIMES; i++) {
        double start = clock_now(), sampled;
        sample(&r, m);
        sampled = clock_now() - start;
        train(&t, m, shape.groups, r.out);
        sampling = sampled < sampling ? sampled : sampling;
        best = clock_now() - start < best ? clock_now() - start : best;
    }
    double prompts = (double)shape.groups * shape.prompt * token_operations(m, shape.prompt / 2.0);
    double operations = 4 * (tokens * token_operations(m, middle) + prompts);
    snprintf(name, sizeof name, "cycle.%d", tokens);
    report(preset, name, tokens / best, "tokens/s", operations / best / product_rate);
    report(preset, "cycle.sampling", 100 * sampling / best, "%", 1);
    close_training(&t);
    close_rollout(&r);
}

/* Takes a last argument cycle=... off the list; returns whether there was one. */
static int read_shape(int *argc, char **argv)
{
    int *to[] = {&shape.groups, &shape.samples, &shape.prompt, &shape.response};
    const char *last = *argc > 2 ? argv[*argc - 1] : "";
    if (strncmp(last, "cycle=", 6) != 0)
        return 0;
    if (sscanf(last + 6, "%4dx%4dx%5dx%5d", to[0], to[1], to[2], to[3]) != 4)
        die("cycle=%s: four numbers were expected, as in cycle=8x8x128x128", last + 6);
    for (int i = 0; i < 4; i++)
        if (*to[i] < 1)
            die("%s: numbers from 1 on were expected", last);
    (*argc)--;
    return 1;
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"gpt2", "qwen2-500m", "qwen3-600m", "gpt2-xl"};
    struct device d;
    struct error e;
    int cycle = read_shape(&argc, argv);
    int gpu = argc < 2 || strcmp(argv[1], "cpu") != 0, count = argc > 2 ? argc - 2 : 4;
    int bf16 = argc > 1 && strcmp(argv[1], "cuda-bf16") == 0;
    precision = bf16 ? "bf16" : "fp32";
    if (device_open_named(&d, argc < 2 || bf16 ? "cuda" : argv[1], bf16, 0, &e)) {
        fprintf(stderr, "gpu_bench: %s\n", e.text);
        return 1;
    }
    measure_ceilings(&d, gpu ? (size_t)1 << 30 : (size_t)1 << 24, gpu ? 8192 : 512);
    for (int i = 0; i < count; i++) {
        const char *name = argc > 2 ? argv[i + 2] : all[i];
        const struct preset *p = preset_find(name);
        struct arch a = p ? p->arch : (struct arch){0};
        struct model m;
        a.context = a.context < shape.prompt + shape.response ? shape.prompt + shape.response : a.context;
        if (!p || model_create(&m, &a, p->small, &d, 1, &e)) {
            fprintf(stderr, "gpu_bench: %s\n", p ? e.text : "unknown preset");
            return 1;
        }
        fill_weights(&m);
        report(name, "exact", !d.inexact, "", 1); /* products do not depend on the number of rows */
        if (!cycle)
            time_training(&m, name);
        for (int slots = 1; slots <= 256 && !cycle; slots *= 16)
            time_sampling(&m, name, slots);
        time_cycle(&m, name);
        model_free(&m);
    }
    device_close(&d);
    return 0;
}
