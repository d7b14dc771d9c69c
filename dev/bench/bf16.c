/* Products with operands rounded to bf16 against those of the CPU table in fp32, in one process, alternating, one
 * thread: what vdpbf16ps and AMX would bring to the three products of a linear layer.
 *
 *   bf16 [ceilings|check|all]
 *
 * ceilings: multiply-adds of registers alone. check: are rows computed alone the same bits as among others, and are all
 * numbers those of plain fused multiply-adds that flush subnormal numbers, so that any processor could have them? all
 * (default): these, then times. Weights are packed beforehand, as once an update; rounding and packing of activations
 * and gradients is in the call. Weights go round in enough copies that none is left in the second cache.
 */
#include "bf16_products.h"
#include "../../model/base/error.h"
#include "../../model/base/mem.h"
#include "../../model/cpu/vec.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FP32, DOT, AMX, KINDS };
enum { ROUNDS = 7, BLOCK = 256, MOST_BLOCKS = 4, COPIES_BYTES = 24 << 20, CHAINS = 16 };
enum direction { FORWARD, INPUT, WEIGHT };
static const char *const direction_name[] = {"forward", "input", "weight"};
static const char *const kind_name[] = {"fp32", "vdpbf16ps", "tdpbf16ps"};
static int kinds = KINDS; /* 2 without AMX */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x)
{
    qsort(x, ROUNDS, sizeof *x, ascending);
    return x[ROUNDS / 2];
}

/* ---- ceilings ---- */

/* Operations a second of 16 independent chains. */
INLINE double ceiling_of_vectors(const int dot)
{
    const long n = 400000;
    vec acc[CHAINS], x = vset(dot ? 0x1.01p-1f : 1e-9f);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        acc[i] = vset((float)i);
    double t = now();
    for (long k = 0; k < n; k++) {
        UNROLL
        for (int i = 0; i < CHAINS; i++)
            if (dot)
                __asm__ volatile("vdpbf16ps %1, %1, %0" : "+v"(acc[i]) : "v"(x));
            else
                __asm__ volatile("vfmadd231ps %1, %1, %0" : "+v"(acc[i]) : "v"(x));
    }
    t = now() - t;
    return (double)n * CHAINS * LANES * (dot ? 4 : 2) / t;
}

static double ceiling_of_tiles(void)
{
#ifdef __AMX_BF16__
    const long n = 200000;
    static __attribute__((aligned(64))) uint16_t half[512];
    for (int i = 0; i < 512; i++)
        half[i] = 0x3f00;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, half, 64);
    _tile_loadd(5, half, 64);
    double t = now();
    for (long k = 0; k < n; k++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    return (double)n * 4 * 16 * 16 * 32 * 2 / (now() - t);
#else
    return 0;
#endif
}

static void show_ceilings(void)
{
    double rate[KINDS][ROUNDS], times[KINDS][ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        rate[FP32][i] = ceiling_of_vectors(0);
        rate[DOT][i] = ceiling_of_vectors(1);
        rate[AMX][i] = kinds > AMX ? ceiling_of_tiles() : 0;
        for (int k = 0; k < kinds; k++)
            times[k][i] = rate[k][i] / rate[FP32][i];
    }
    printf("ceilings:");
    for (int k = 0; k < kinds; k++)
        printf("  %s %.0f GFLOP/s, %.2f times fp32;", kind_name[k], 1e-9 * median(rate[k]), median(times[k]));
    printf("\n");
}

/* ---- products ---- */

static float *noise(size_t n, uint32_t seed)
{
    float *x = mem_alloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++) {
        uint32_t h = ((uint32_t)i + seed * 7919u) * 2654435761u;
        h = (h ^ h >> 15) * 0x2c1b3c6du;
        x[i] = (float)(h ^ h >> 13) * 0x1p-32f - 0.5f;
    }
    return x;
}

struct trial {
    struct device dev;
    enum direction direction;
    int M, N, K, copies, at;
    size_t reals, words[2]; /* of one copy */
    float *in, *out, *W;
    uint32_t *packed[2]; /* for the forward pass, for the input gradient */
    struct span block[MOST_BLOCKS];
    int blocks;
};

static void trial_open(struct trial *p, enum direction direction, int M, int N, int K)
{
    struct error e;
    struct scratch_shape s = {.rows = M, .N = N, .K = K};
    *p = (struct trial){.direction = direction, .M = M, .N = N, .K = K, .reals = cpu_ops.weight_reals(N, K)};
    if (device_open(&p->dev, &cpu_ops, 1, &e))
        die("%s", e.text);
    device_reserve(&p->dev, cpu_ops.scratch_bytes(&p->dev, SCRATCH_LINEAR, &s));
    p->words[0] = words_forward(N, K);
    p->words[1] = words_input(N, K);
    p->copies = (int)(COPIES_BYTES / (p->reals * sizeof(float))) + 1;
    p->in = noise((size_t)M * K, 1);
    p->out = noise((size_t)M * N, 2);
    p->W = noise(p->reals * p->copies, 3);
    for (int i = 0; i < 2; i++)
        p->packed[i] = mem_alloc(p->words[i] * p->copies, sizeof(uint32_t));
    for (int i = 0; i < p->copies; i++) {
        pack_forward(p->packed[0] + i * p->words[0], p->W + i * p->reals, N, K);
        pack_input(p->packed[1] + i * p->words[1], p->W + i * p->reals, N, K);
    }
    for (int at = 0; at < M; at += BLOCK)
        p->block[p->blocks++] = (struct span){at, M - at < BLOCK ? M - at : BLOCK};
}

static void trial_close(struct trial *p)
{
    void *all[] = {p->in, p->out, p->W, p->packed[0], p->packed[1]};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
    device_close(&p->dev);
}

static void call(struct trial *p, int kind)
{
    int M = p->M, N = p->N, K = p->K;
    enum unit u = kind == DOT ? UNIT_DOT : UNIT_AMX;
    p->at = (p->at + 1) % p->copies;
    Dev in = {p->in, 0}, out = {p->out, 0}, W = {p->W + p->at * p->reals, 0}, none = {0};
    if (p->direction == FORWARD) {
        if (kind == FP32)
            cpu_ops.linear_forward(&p->dev, out, in, W, none, M, N, K);
        else
            product16(u, p->out, p->in, p->packed[0] + p->at * p->words[0], NULL, M, N, K);
    } else if (p->direction == INPUT) {
        if (kind == FP32)
            cpu_ops.linear_backward_input(&p->dev, in, out, W, M, N, K);
        else
            product16(u, p->in, p->out, p->packed[1] + p->at * p->words[1], NULL, M, K, N);
    } else if (kind == FP32)
        cpu_ops.linear_backward_weight(&p->dev, W, none, out, in, (DevInt){(int32_t *)p->block}, p->blocks, M, N, K);
    else
        weight16(u, W.p, NULL, p->out, p->in, p->block, p->blocks, N, K);
}

static double seconds(struct trial *p, int kind, int times)
{
    double start = now();
    for (int i = 0; i < times; i++)
        call(p, kind);
    return (now() - start) / times;
}

static void measure(enum direction direction, int M, int N, int K)
{
    struct trial p;
    double taken[KINDS][ROUNDS], times[KINDS][ROUNDS];
    trial_open(&p, direction, M, N, K);
    for (int k = 0; k < kinds; k++)
        call(&p, k);
    double once = seconds(&p, FP32, 2);
    int calls = once < 4e-3 ? (int)(4e-3 / once) + 1 : 1;
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < kinds; k++) {
            taken[k][i] = seconds(&p, k, calls);
            times[k][i] = taken[FP32][i] / taken[k][i];
        }
    printf("%-8s %5d x %5d x %4d ", direction_name[direction], M, N, K);
    for (int k = 0; k < kinds; k++)
        printf("  %s %6.1f (%4.2f)", kind_name[k], 2e-9 * M * N * K / median(taken[k]), median(times[k]));
    printf("\n");
    fflush(stdout);
    trial_close(&p);
}

/* ---- the same bits? ---- */

static uint32_t bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float flushed(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

static float rounded(float x)
{
    uint32_t u = bits(flushed(x));
    u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* One element as the manuals say: vdpbf16ps adds the later product of a pair first; tdpbf16ps keeps two chains over 16
 * pairs from zero, adds them up, and adds that. */
static float element(int kind, const float *a, const float *b, int n)
{
    float sum = 0;
    for (int k = 0; k < n; k += kind == DOT ? 2 : 32) {
        float part[2] = {0, 0};
        for (int i = k; kind == AMX && i < k + 32 && i < n; i++)
            part[i % 2] = flushed(fmaf(rounded(a[i]), rounded(b[i]), part[i % 2]));
        for (int i = k + 1; kind == DOT && i >= k; i--)
            sum = i < n ? flushed(fmaf(rounded(a[i]), rounded(b[i]), sum)) : sum;
        if (kind == AMX)
            sum = flushed(sum + flushed(part[0] + part[1]));
    }
    return sum;
}

static float weight_of(const float *W, int n, int k, int K)
{
    return W[((size_t)(n / PANEL) * K + k) * PANEL + n % PANEL];
}

/* Rows of `product` that change when they are computed alone. */
static int rows_that_differ(int kind, const float *product, const float *in, const uint32_t *words, int M, int columns,
                            int chain)
{
    float *row = mem_alloc((size_t)columns, sizeof *row);
    int differ = 0;
    for (int m = 0; m < M; m++) {
        product16(kind == DOT ? UNIT_DOT : UNIT_AMX, row, in + (size_t)m * chain, words, NULL, 1, columns, chain);
        differ += memcmp(row, product + (size_t)m * columns, (size_t)columns * sizeof *row) != 0;
    }
    mem_free(row);
    return differ;
}

/* M <= BLOCK. Small numbers have sums that are subnormal. */
static void check(int kind, int M, int N, int K, float scale)
{
    enum unit u = kind == DOT ? UNIT_DOT : UNIT_AMX;
    struct trial p;
    trial_open(&p, FORWARD, M, N, K);
    int most = N > K ? N : K;
    most = M > most ? M : most;
    float *y = mem_alloc((size_t)M * most, sizeof *y), *dW = mem_alloc(p.reals, sizeof *dW);
    float *a = mem_alloc((size_t)most, sizeof *a), *b = mem_alloc((size_t)most, sizeof *b);
    long wrong[3] = {0, 0, 0}, all = 0;
    double error = 0, length = 0;
    for (size_t i = 0; i < (size_t)M * K; i++)
        p.in[i] *= scale;
    for (size_t i = 0; i < (size_t)M * N; i++)
        p.out[i] *= scale;
    product16(u, y, p.in, p.packed[0], NULL, M, N, K);
    int alone = rows_that_differ(kind, y, p.in, p.packed[0], M, N, K);
    for (int m = 0; m < M; m += 3)
        for (int n = m % 5; n < N; n += 7, all++) {
            double exact = 0;
            for (int k = 0; k < K; k++) {
                b[k] = weight_of(p.W, n, k, K);
                exact += (double)b[k] * p.in[(size_t)m * K + k];
            }
            float x = y[(size_t)m * N + n];
            wrong[0] += bits(x) != bits(element(kind, p.in + (size_t)m * K, b, K));
            error += (x - exact) * (x - exact);
            length += exact * exact;
        }
    if (N % PANEL == 0) { /* noise stands beyond N otherwise */
        product16(u, y, p.out, p.packed[1], NULL, M, K, N);
        alone += rows_that_differ(kind, y, p.out, p.packed[1], M, K, N);
        for (int m = 0; m < M; m += 3)
            for (int k = m % 5; k < K; k += 7, all++) {
                for (int n = 0; n < N; n++)
                    b[n] = weight_of(p.W, n, k, K);
                wrong[1] += bits(y[(size_t)m * K + k]) != bits(element(kind, p.out + (size_t)m * N, b, N));
            }
    }
    weight16(u, dW, NULL, p.out, p.in, p.block, p.blocks, N, K);
    for (int n = 0; n < N; n += 3)
        for (int k = n % 7; k < K; k += 5, all++) {
            for (int m = 0; m < M; m++) {
                a[m] = p.out[(size_t)m * N + n];
                b[m] = p.in[(size_t)m * K + k];
            }
            wrong[2] += bits(weight_of(dW, n, k, K)) != bits(0.0f + element(kind, a, b, M)); /* added: never -0 */
        }
    printf("%s %d x %d x %d, times %g: %d rows differ alone; of %ld numbers %ld + %ld + %ld are not those of fused "
           "multiply-adds that flush; off by %.3g of their length\n",
           kind_name[kind], M, N, K, (double)scale, alone, all, wrong[0], wrong[1], wrong[2], sqrt(error / length));
    fflush(stdout);
    void *own[] = {y, dW, a, b};
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
        mem_free(own[i]);
    trial_close(&p);
}

int main(int argc, char **argv)
{
    static const int rows[] = {1, 16, 64, 256, 1024};
    static const int size[][2] = {{192, 64},    {352, 64},   {64, 176},   {864, 288},  {1536, 288}, {288, 768},
                                  {32000, 288}, {2304, 768}, {3072, 768}, {768, 3072}, {50257, 768}};
    const char *what = argc > 1 ? argv[1] : "all";
    if (amx_open())
        kinds = AMX;
    show_ceilings();
    for (int k = DOT; k < kinds && strcmp(what, "ceilings") != 0; k++) {
        check(k, 77, 323, 176, 1);
        check(k, 100, 96, 833, 1);
        check(k, 5, 352, 1700, 1);
        check(k, 256, 96, 64, 1);
        check(k, 40, 64, 96, 0x1p-122f);
    }
    if (strcmp(what, "all") != 0)
        return 0;
    printf("rows x outputs x inputs: GFLOP/s (times fp32)\n");
    for (unsigned i = 0; i < sizeof size / sizeof *size; i++)
        for (int d = FORWARD; d <= WEIGHT; d++)
            for (unsigned r = d == FORWARD ? 0 : 2; r < sizeof rows / sizeof *rows; r++)
                if (size[i][0] < 10000 || rows[r] <= 256)
                    measure((enum direction)d, rows[r], size[i][0], size[i][1]);
    show_ceilings();
    return 0;
}
