/* bench: how fast this machine runs what training is made of, and how much of what the machine can do that is.
 *
 * Neighbours, clocks and heat make a machine's speed drift by more than a change to a kernel does. So the ceilings
 * (fused multiply-adds, reads, copies; in bf16 the matrix unit) are measured again between the repetitions of every
 * figure, and a share compares neighbours in time.
 */
#include "bench.h"
#include "verbs.h"
#include "../../model/base/clock.h"
#include "../../model/base/mem.h"
#include "../../model/cpu/bf16.h"
#include <math.h>
#include <stdlib.h>
#include <time.h>

enum {
    OPTION_ONLY,
    OPTION_JSON,
    OPTION_QUICK,
    OPTION_THREADS,
    OPTION_PRECISION,
    OPTION_MODEL,
    OPTION_SHAPE,
    OPTION_VOCABULARY,
    OPTIONS
};
static const struct param options[] = {
    {"only", PARAM_TEXT, "", 0, 0, NULL, "Measure only figures whose name contains this.", NULL},
    {"json", PARAM_BOOL, "false", 0, 0, NULL, "One object a line: name, value, unit, share.", NULL},
    {"quick", PARAM_BOOL, "false", 0, 0, NULL, "The default model alone, few repetitions: does it run?", NULL},
    {"run.threads", PARAM_INT, "0", 0, 1024, NULL, "Threads; 0: one a processor.", NULL},
    {"run.precision", PARAM_CHOICE, "fp32", 0, 0, "fp32|bf16", "bf16: products of the table in mixed precision.", NULL},
    {"model", PARAM_TEXT, "", 0, 0, NULL, "Measure this preset alone, any that `list models` names.", NULL},
    {"shape", PARAM_TEXT, "", 0, 0, NULL, "Groups x samples x prompt x response, e.g. 4x8x16x32.", NULL},
    {"vocabulary", PARAM_INT, "0", 0, 1 << 20, NULL, "Of the model; 0: the preset's.", NULL},
    {0}};

static const char *const ceiling_name[CEILINGS] = {"ceiling.fma", "ceiling.read", "ceiling.copy", "ceiling.tiles"};
static const char *const ceiling_unit[CEILINGS] = {"GFLOP/s", "GB/s", "GB/s", "GFLOP/s"};

/* ---- ceilings ---- */

enum { FMA_CHAINS = 24, FMA_STEPS = 20000, TILE_STEPS = 20000, READ_FLOATS = 4 << 20, READ_STREAMS = 4 };

/* Enough independent chains to hide the latency of any processor's two units; few enough for its registers. */
static float fma_chains(float x)
{
    vec acc[FMA_CHAINS], a = vset(x), b = vset(1 - x);
    for (int i = 0; i < FMA_CHAINS; i++)
        acc[i] = vset((float)i);
    for (int k = 0; k < FMA_STEPS; k++) {
        UNROLL
        for (int i = 0; i < FMA_CHAINS / 2; i++) {
            acc[i] = vfma(acc[i], a, b);
            acc[i + FMA_CHAINS / 2] = vfma(acc[i + FMA_CHAINS / 2], a, b);
        }
    }
    for (int i = 1; i < FMA_CHAINS; i++)
        acc[0] += acc[i];
    return acc[0][0];
}

/* Sum of n floats, several places at once: one stream alone does not keep the memory busy. */
static float read_memory(const float *x, size_t n)
{
    size_t each = n / READ_STREAMS;
    vec sum[READ_STREAMS];
    for (int s = 0; s < READ_STREAMS; s++)
        sum[s] = vset(0.0f);
    for (size_t i = 0; i + LANES <= each; i += LANES)
        for (int s = 0; s < READ_STREAMS; s++)
            sum[s] += vload(x + (size_t)s * each + i);
    return (sum[0] + sum[1] + sum[2] + sum[3])[0];
}

int bench_has_tiles(const struct bench *b)
{
    return b->dev->state == &bf16_amx;
}

double bench_weight(const struct device *d)
{
    return d->ops->copy_numbers ? sizeof(uint16_t) : (double)d->ops->real_bytes;
}

/* Products of tile registers alone: four results, so that none is waited for. */
static void tile_chains(void)
{
#ifdef __AMX_BF16__
    static __attribute__((aligned(64))) uint16_t halves[16 * 32];
    for (int i = 0; i < 16 * 32; i++)
        halves[i] = 0x3f00; /* .5 */
    bf16_amx.begin();
    _tile_loadd(4, halves, 64);
    _tile_loadd(5, halves, 64);
    for (int k = 0; k < TILE_STEPS; k++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
#endif
}

/* With one thread: its processor time, which neighbours on the machine do not lengthen. */
double bench_clock(const struct bench *b)
{
    return b->dev->threads == 1 ? (double)clock() / CLOCKS_PER_SEC : clock_now();
}

static volatile float sink; /* keeps what is only measured from being optimised away */

static double work_once(struct bench *b, enum ceiling which)
{
    int threads = b->dev->threads;
    size_t each = READ_FLOATS / (size_t)threads / 64 * 64, half = b->floats / 2;
    size_t span = which == CEILING_COPY ? half : b->floats, first = b->at + READ_FLOATS <= span ? b->at : 0;
    float *from = b->memory + first;
    float sum = 0;
    double start = bench_clock(b);
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : sum) if (threads > 1)
    for (int i = 0; i < threads; i++) {
        if (which == CEILING_FMA)
            sum += fma_chains(0.5f);
        else if (which == CEILING_TILES)
            tile_chains();
        else if (which == CEILING_READ)
            sum += read_memory(from + (size_t)i * each, each);
        else
            memcpy(from + half + (size_t)i * each, from + (size_t)i * each, each * sizeof(float));
    }
    double seconds = bench_clock(b) - start, moved = (double)(each * (size_t)threads) * sizeof(float);
    sink = sum;
    b->at = first + READ_FLOATS;
    return (which == CEILING_FMA     ? 2.0 * LANES * FMA_CHAINS * FMA_STEPS * threads
            : which == CEILING_TILES ? 2.0 * 4 * 16 * 16 * 32 * TILE_STEPS * threads
            : which == CEILING_READ  ? moved
                                     : 2 * moved) /
           seconds;
}

/* The better of two: a ceiling is what the machine can do, not what it did while somebody else ran. */
double bench_ceiling(struct bench *b, enum ceiling which)
{
    double first = work_once(b, which), second = work_once(b, which), best = first > second ? first : second;
    b->least[which] = b->least[which] == 0 || best < b->least[which] ? best : b->least[which];
    b->most[which] = best > b->most[which] ? best : b->most[which];
    return best;
}

/* ---- figures ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

int bench_wants(const struct bench *b, const char *name)
{
    return strstr(name, b->only) != NULL;
}

void bench_line(struct bench *b, const char *name, double value, const char *unit, double share)
{
    b->shown++;
    if (b->json) {
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(name));
        json_object_set_new(o, "value", json_real(value));
        json_object_set_new(o, "unit", json_string(unit));
        json_object_set_new(o, "share", isnan(share) ? json_null() : json_real(share));
        char *text = json_text(o);
        puts(text);
        free(text);
        json_decref(o);
    } else if (isnan(share)) {
        printf("%-40s %10.4g %s\n", name, value, unit);
    } else {
        printf("%-40s %10.4g %-9s %5.0f %%\n", name, value, unit, 100 * share);
    }
    fflush(stdout);
}

/* Seconds that the ceilings, as they are now, allow for the figure. */
static double allowed(struct bench *b, const struct figure *f)
{
    enum ceiling unit = f->products && bench_has_tiles(b) ? CEILING_TILES : CEILING_FMA;
    double compute = f->flops > 0 ? f->flops / bench_ceiling(b, unit) : 0;
    double move = f->bytes > 0 ? f->bytes / bench_ceiling(b, f->copies ? CEILING_COPY : CEILING_READ) : 0;
    return compute > move ? compute : move;
}

static double seconds_of(const struct bench *b, void (*call)(void *), void *context, int times)
{
    double start = bench_clock(b);
    for (int i = 0; i < times; i++)
        call(context);
    return (bench_clock(b) - start) / times;
}

enum { REPEATS = 7, LEAST_REPEATS = 3, LATE = 240, TOO_LATE = 280 /* seconds of the whole run */ };

void bench_figure(struct bench *b, const struct figure *f, void (*call)(void *), void *context)
{
    double spent = clock_now() - b->started, goal = b->quick ? 5e-4 : 1e-2, value[REPEATS], share[REPEATS];
    if (!bench_wants(b, f->name))
        return;
    if (spent > TOO_LATE) {
        b->left_out++;
        return;
    }
    call(context);
    double once = seconds_of(b, call, context, 1), before = allowed(b, f);
    int times = once < goal ? (int)(goal / (once + 1e-9)) + 1 : 1;
    int repeats = b->quick || spent > LATE || once > 0.3 ? LEAST_REPEATS : REPEATS;
    repeats = once > 3 ? 1 : repeats;
    for (int i = 0; i < repeats; i++) {
        double seconds = seconds_of(b, call, context, times), after = allowed(b, f);
        value[i] = f->amount / seconds;
        share[i] = (before + after) / 2 / seconds;
        before = after;
    }
    bench_line(b, f->name, bench_median(value, repeats), f->unit,
               f->flops + f->bytes > 0 ? bench_median(share, repeats) : NAN);
}

/* ---- the verb ---- */

static int ceilings(const struct bench *b)
{
    return bench_has_tiles(b) ? CEILINGS : CEILING_TILES;
}

static void show_ceilings(struct bench *b)
{
    for (int i = 0; i < ceilings(b); i++) {
        double x[5];
        for (int k = 0; k < 5; k++)
            x[k] = bench_ceiling(b, (enum ceiling)i) * 1e-9;
        if (bench_wants(b, ceiling_name[i]))
            bench_line(b, ceiling_name[i], bench_median(x, 5), ceiling_unit[i], NAN);
    }
}

static void show_drift(struct bench *b)
{
    for (int i = 0; i < ceilings(b); i++) {
        char name[48];
        snprintf(name, sizeof name, "%s.least", ceiling_name[i]);
        if (bench_wants(b, name))
            bench_line(b, name, b->least[i] * 1e-9, ceiling_unit[i], NAN);
        snprintf(name, sizeof name, "%s.most", ceiling_name[i]);
        if (bench_wants(b, name))
            bench_line(b, name, b->most[i] * 1e-9, ceiling_unit[i], NAN);
    }
}

static int measure(struct bench *b, struct error *e)
{
    static const char *const presets_measured[] = {"tiny-llama", "llama-15m", "gpt2"};
    show_ceilings(b);
    if (b->model[0] && bench_preset(b, b->model, e))
        return -1;
    for (int i = 0; !b->model[0] && i < (b->quick ? 1 : 3); i++)
        if (bench_preset(b, presets_measured[i], e) || bench_rlvr(b, presets_measured[i], e))
            return -1;
    show_drift(b);
    if (b->shown == 0)
        return fail(e, "no figure has '%.80s' in its name; bench quick=1 shows how they are called", b->only);
    if (b->left_out)
        fprintf(stderr, "train_rl bench: %d figures left out after %d s; only=NAME measures them\n", b->left_out,
                TOO_LATE);
    return 0;
}

/* The batch asked for. */
static int read_shape(struct bench *b, const char *text, struct error *e)
{
    enum { MOST_TOKENS = 64 * GRADIENT_BLOCK }; /* what bench_ops.c has blocks for */
    int end = 0;
    if (!text[0])
        return 0;
    if (sscanf(text, "%7dx%7dx%7dx%7d%n", &b->groups, &b->samples, &b->prompt, &b->response, &end) != 4 || text[end] ||
        b->groups < 1 || b->samples < 1 || b->prompt < 1 || b->response < 1)
        return fail(e, "shape=%.40s: four whole numbers of at least 1 are wanted, as in 4x8x16x32", text);
    double tokens = (double)b->groups * (b->prompt + (double)b->samples * b->response);
    if (tokens > MOST_TOKENS)
        return fail(e, "shape=%.40s: %.0f tokens, more than %d; lower one of the four", text, tokens, MOST_TOKENS);
    return 0;
}

static int run(int argc, const char *const *argv)
{
    struct value value[OPTIONS];
    struct device device;
    struct error e;
    if (verb_options(&verb_row_bench, argc, argv, value, &e))
        return verb_usage(&verb_row_bench, &e);
    struct bench b = {.only = value[OPTION_ONLY].text, .dev = &device, .started = clock_now()};
    b.json = value[OPTION_JSON].num != 0;
    b.quick = value[OPTION_QUICK].num != 0;
    b.floats = (size_t)(b.quick ? 16 << 20 : 64 << 20);
    b.model = value[OPTION_MODEL].text;
    b.vocabulary = (int)value[OPTION_VOCABULARY].num;
    if (read_shape(&b, value[OPTION_SHAPE].text, &e))
        return verb_usage(&verb_row_bench, &e);
    if (b.model[0] && !preset_find(b.model)) {
        fail(&e, "model=%.40s: no such preset; `train_rl list models` names them", b.model);
        return verb_usage(&verb_row_bench, &e);
    }
    b.bf16 = value[OPTION_PRECISION].num != 0;
    if (device_open(&device, b.bf16 ? &cpu_bf16_ops : &cpu_ops, (int)value[OPTION_THREADS].num, &e))
        return verb_failed(&verb_row_bench, &e);
    if (device.slow)
        fprintf(stderr, "train_rl bench: %s: bf16 is computed by vectors\n", device.slow);
    b.memory = mem_alloc(b.floats, sizeof *b.memory);
    int status = measure(&b, &e);
    mem_free(b.memory);
    device_close(&device);
    return status ? verb_failed(&verb_row_bench, &e) : EXIT_DONE;
}

const struct verb verb_row_bench = {
    "bench",
    "How fast this machine trains, samples and computes each operation, as shares of what it can do.",
    "[only=NAME] [json=1] [quick=1] [run.threads=N] [run.precision=fp32|bf16] [model=PRESET] [shape=GxSxPxR] "
    "[vocabulary=N]",
    "A line a figure: name, value, unit, and the share of this machine's own ceiling: fused multiply-adds with all\n"
    "threads, or reading or copying memory, whichever allows less. The ceilings are measured again between the\n"
    "repetitions, because they drift; values and shares are medians, after a warm-up. A share above 100 % of a\n"
    "memory ceiling: the data stayed in a cache. With one thread, times are processor time, which neighbours on the\n"
    "machine disturb less. At most 5 minutes; at the end, the least and the most that each\n"
    "ceiling was.\n"
    "\n"
    "Names are MODEL.OPERATION.DIRECTION.ROWS for the default model (tiny-llama), llama-15m and gpt2; MODEL.train is\n"
    "an optimiser step, MODEL.rollout.SLOTS sampling, MODEL.cycle sampling the batch and then training on it, "
    "MODEL.rlvr\n"
    "the training loop itself with its parts, on the task chain with the task's own vocabulary. Shares of bytes are\n"
    "counted only where weights exceed the caches. model=, shape= and vocabulary= measure another model or batch.\n"
    "With run.precision=bf16 single products are shares of what the matrix unit (AMX) can do, where there is one; all\n"
    "else, whole models too, are still shares of fp32's multiply-adds, and may be more than 100 %.\n"
    "\n"
    "Examples:\n"
    "  train_rl bench\n"
    "  train_rl bench only=gpt2.qkv json=1\n"
    "  train_rl bench only=rollout run.threads=1\n"
    "  train_rl bench only=cycle run.precision=bf16\n"
    "  train_rl bench only=cycle model=small-llama shape=8x16x32x64\n",
    options,
    run,
};
