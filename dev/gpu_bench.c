/* What the CUDA table reaches: memory read, products, an optimiser step and sampling at the shapes of known models,
 * with random weights. One JSON object a line: name, value, unit, and the share of the ceiling measured first (bytes
 * read a second; for training, operations a second of a product of 8192 in the same precision). dev/gpu.sh runs it.
 *
 *   gpu_bench [DEVICE [PRESET ...]]      DEVICE: cuda, cuda-bf16 (mixed precision) or cpu
 */
#include "../model/base/clock.h"
#include "../model/base/mem.h"
#include "../model/generate.h"
#include <stdio.h>
#include <string.h>

enum { GROUPS = 8, SAMPLES = 8, PROMPT = 128, RESPONSE = 128, GROUP_ROWS = PROMPT + SAMPLES * RESPONSE };
enum { GROUP_ENTRIES = SAMPLES * RESPONSE, ROWS = GROUPS * GROUP_ROWS, ENTRIES = GROUPS * GROUP_ENTRIES };
enum { SEGMENTS = GROUPS * (SAMPLES + 1), TIMES = 3, NEW = 32 };

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
    for (int i = 0; i < m->tensors; i++) {
        const struct tensor *t = &m->tensor[i];
        double *row = mem_alloc((size_t)t->K, sizeof *row);
        uint32_t x = (uint32_t)i;
        for (int n = 0; n < t->N; n++) {
            for (int k = 0; k < t->K; k++) {
                x = x * 1664525u + 1013904223u; /* Numerical Recipes, chapter 7 */
                row[k] = t->std > 0 ? t->std * 1.7 * ((double)x * 0x1p-31 - 1) : t->fill;
            }
            model_write(m, i, 0, n, 1, row);
        }
        mem_free(row);
    }
}

static void fill_layout(struct layout *l, int V, int groups)
{
    static int32_t ids[ROWS], row[ENTRIES], target[ENTRIES];
    static double temperature[ENTRIES];
    static struct segment seg[SEGMENTS];
    int group_first[GROUPS + 1] = {0}, group_entry[GROUPS + 1] = {0}, at = 0, segments = 0, entries = 0;
    for (int i = 0; i < groups * GROUP_ROWS; i++)
        ids[i] = (int32_t)((uint32_t)i * 2654435761u % (uint32_t)V);
    for (int g = 0; g < groups; g++) {
        int parent = segments, last = at + PROMPT - 1;
        seg[segments++] = (struct segment){-1, at, PROMPT};
        at += PROMPT;
        for (int i = 0; i < SAMPLES; i++, at += RESPONSE) {
            seg[segments++] = (struct segment){parent, at, RESPONSE};
            for (int k = 0; k < RESPONSE; k++, entries++) {
                row[entries] = k ? at + k - 1 : last;
                target[entries] = ids[at + k];
                temperature[entries] = 1;
            }
        }
        group_first[g + 1] = segments;
        group_entry[g + 1] = entries;
    }
    layout_set(l, ids, seg, group_first, groups);
    layout_entries(l, entries, row, target, temperature, NULL, NULL, group_entry, groups);
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

/* A step of as many groups as fit beside the weights, at most GROUPS: one number a line for each. */
static void time_training(struct model *m, const char *preset)
{
    static double logp[ENTRIES], gradient[ENTRIES];
    const struct optimiser o = {1e-5, 0.9, 0.95, 1e-8, 0, 1};
    struct device *d = m->dev;
    struct layout l;
    struct tape t;
    double best = 1e30, room = 0.85 * (double)d->memory - (double)model_bytes(m, 0);
    int groups = 2 * GROUPS, rows, entries;
    do {
        groups /= 2;
        rows = groups * GROUP_ROWS;
        entries = groups * GROUP_ENTRIES;
        if (groups < GROUPS)
            tape_free(&t);
        tape_plan(&t, &m->arch, d, rows, entries, rows + SEGMENTS * KV_ALIGN, KEEP_ALL);
    } while (groups > 1 && (double)t.arena.total > room);
    layout_create(&l, d, m->arch.V, rows, SEGMENTS, groups, entries, 0);
    tape_commit(&t);
    fill_layout(&l, m->arch.V, groups);
    for (int i = 0; i < entries; i++)
        gradient[i] = (i % 2 ? 1.0 : -1.0) / entries;
    for (int i = 0; i < TIMES; i++) {
        double start = clock_now();
        model_zero_grad(m);
        model_forward(m, &t, &l.rows, t.kv, 0, t.store);
        model_head(m, &t, &l, logp, NULL);
        model_backward(m, &t, &l, gradient, NULL);
        model_step(m, &o, model_grad_norm(m));
        d->ops->sync(d);
        best = clock_now() - start < best ? clock_now() - start : best;
    }
    double operations = 3.0 * rows * token_operations(m, PROMPT + RESPONSE / 2.0);
    report(preset, "train.rows", rows, "tokens", (double)t.arena.total / (double)d->memory);
    report(preset, "train", rows / best, "tokens/s", operations / best / product_rate);
    tape_free(&t);
    layout_free(&l);
}

/* Decoding reads the weights once a token of all slots, and each slot's keys and values. */
static void time_sampling(struct model *m, const char *preset, int slots)
{
    const struct sampling how = {1, 0, 1, 0, 0};
    struct device *d = m->dev;
    struct error e;
    struct sampler s;
    int32_t prompt[PROMPT];
    struct response *out = mem_alloc((size_t)slots, sizeof *out);
    double best = 1e30;
    char name[32];
    for (int i = 0; i < PROMPT; i++)
        prompt[i] = (int32_t)((uint32_t)i * 40503u % (uint32_t)m->arch.V);
    for (int i = 0; i < slots; i++)
        out[i] = (struct response){mem_alloc(NEW, 4), mem_alloc(NEW, 8), mem_alloc(NEW, 8), NULL, NULL, 0, 0};
    sampler_plan(&s, &m->arch, d, slots, PROMPT, NEW, 0);
    sampler_commit(&s);
    struct request q = {prompt, PROMPT, slots, NEW, 0, 0, 0};
    for (int i = 0; i < 2; i++) {
        double start = clock_now();
        if (sampler_run(&s, m, &q, 1, &how, 1, RNG_TEST, NULL, 0, out, &e))
            die("%s", e.text);
        best = clock_now() - start < best ? clock_now() - start : best;
    }
    double real = d->ops->bf16 ? 2 : (double)d->ops->real_bytes,
           cache = 2.0 * m->arch.layers * m->arch.G * m->arch.D * (PROMPT + NEW / 2.0);
    double bytes = real * NEW * ((double)m->reals + slots * cache);
    snprintf(name, sizeof name, "decode.%d", slots);
    report(preset, name, slots * NEW / best, "tokens/s", bytes / best / read_rate);
    for (int i = 0; i < slots; i++) {
        mem_free(out[i].ids);
        mem_free(out[i].logp);
        mem_free(out[i].entropy);
    }
    mem_free(out);
    sampler_free(&s);
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"gpt2", "qwen2-500m", "qwen3-600m", "gpt2-xl"};
    struct device d;
    struct error e;
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
        a.context = a.context < PROMPT + RESPONSE ? PROMPT + RESPONSE : a.context;
        if (!p || model_create(&m, &a, p->small, &d, 1, &e)) {
            fprintf(stderr, "gpu_bench: %s\n", p ? e.text : "unknown preset");
            return 1;
        }
        fill_weights(&m);
        report(name, "exact", !d.inexact, "", 1); /* products do not depend on the number of rows */
        time_training(&m, name);
        for (int slots = 1; slots <= 256; slots *= 16)
            time_sampling(&m, name, slots);
        model_free(&m);
    }
    device_close(&d);
    return 0;
}
