/* The three products of a linear layer against OpenBLAS, in one process, alternating, one thread: seconds of OpenBLAS
 * over seconds of ours, the median of neighbouring pairs.
 *
 *   blas PATH/libopenblas.so.0
 *
 * Ours reads weights packed once an update, as in training, and packs activations and gradients in the call; OpenBLAS
 * packs all it is given in the call. At one row OpenBLAS is the better of its matrix and its vector routine, chosen
 * beforehand. Weights go round in enough copies that none is left in the second cache.
 *
 * A line that was read more often stays longer in the third cache, of which other machines use a part as well. So both
 * sides go round few megabytes, read them equally often, and begin in turns: with two turns of OpenBLAS, one for each
 * routine, to one of ours, and 24 MB each, one row was .80 to .95 times OpenBLAS for no other reason.
 */
#include "../../model/backend.h"
#include "../../model/base/error.h"
#include "../../model/base/mem.h"
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    ROW_MAJOR = 101,
    PLAIN = 111,
    TRANSPOSED = 112,
    PAIRS = 9,
    BLOCK = 256,
    MOST_BLOCKS = 8,
    COPIES_BYTES = 8 << 20
};

typedef void gemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
typedef void gemv(int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
static gemm *sgemm;
static gemv *sgemv;

enum direction { FORWARD, INPUT, WEIGHT };
static const char *const direction_name[] = {"forward", "input", "weight"};

struct product {
    struct device dev;
    enum direction direction;
    int M, N, K, copies, at;
    float *in, *out, *packed, *plain; /* the weights, or their gradient, in the two layouts, one copy after the other */
    struct span block[MOST_BLOCKS];
    int blocks;
};

static void ours(struct product *p)
{
    struct device *d = &p->dev;
    p->at = (p->at + 1) % p->copies;
    Dev in = {p->in, 0}, out = {p->out, 0}, W = {p->packed + (size_t)p->at * cpu_ops.weight_reals(p->N, p->K), 0};
    if (p->direction == FORWARD)
        cpu_ops.linear_forward(d, out, in, W, (Dev){0}, p->M, p->N, p->K);
    else if (p->direction == INPUT)
        cpu_ops.linear_backward_input(d, in, out, W, p->M, p->N, p->K);
    else
        cpu_ops.linear_backward_weight(d, W, (Dev){0}, out, in, (DevInt){(int32_t *)p->block}, p->blocks, p->M, p->N,
                                       p->K);
}

static void matrix(struct product *p)
{
    int M = p->M, N = p->N, K = p->K;
    p->at = (p->at + 1) % p->copies;
    float *W = p->plain + (size_t)p->at * N * K;
    if (p->direction == FORWARD)
        sgemm(ROW_MAJOR, PLAIN, TRANSPOSED, M, N, K, 1, p->in, K, W, K, 0, p->out, N);
    else if (p->direction == INPUT)
        sgemm(ROW_MAJOR, PLAIN, PLAIN, M, K, N, 1, p->out, N, W, K, 0, p->in, K);
    else
        sgemm(ROW_MAJOR, TRANSPOSED, PLAIN, N, K, M, 1, p->out, N, p->in, K, 1, W, K);
}

static void vector(struct product *p)
{
    p->at = (p->at + 1) % p->copies;
    sgemv(ROW_MAJOR, PLAIN, p->N, p->K, 1, p->plain + (size_t)p->at * p->N * p->K, p->K, p->in, 1, 0, p->out, 1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(void (*call)(struct product *), struct product *p, int times)
{
    double start = now();
    for (int i = 0; i < times; i++)
        call(p);
    return (now() - start) / times;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float *noise(size_t n)
{
    float *x = mem_alloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((uint32_t)i * 2654435761u) * 0x1p-32f - 0.5f;
    return x;
}

/* OpenBLAS's routine that is the quicker one for a single row: the least of a few turns each. */
static void (*better(struct product *p, int times))(struct product *)
{
    double least[2] = {INFINITY, INFINITY};
    for (int i = 0; i < 10; i++) {
        least[i % 2] = fmin(least[i % 2], seconds(i % 2 ? vector : matrix, p, times));
        seconds(ours, p, times);
    }
    return least[1] < least[0] ? vector : matrix;
}

/* Prints a line; returns the ratio. */
static double measure(enum direction direction, int M, int N, int K)
{
    struct product p = {.direction = direction, .M = M, .N = N, .K = K};
    struct error e;
    struct scratch_shape s = {.rows = M, .N = N, .K = K};
    size_t packed = cpu_ops.weight_reals(N, K), bytes = packed * sizeof(float);
    if (device_open(&p.dev, &cpu_ops, 1, &e))
        die("%s", e.text);
    device_reserve(&p.dev, cpu_ops.scratch_bytes(&p.dev, SCRATCH_LINEAR, &s));
    p.copies = bytes < COPIES_BYTES ? (int)(COPIES_BYTES / bytes) + 1 : 1;
    p.in = noise((size_t)M * K);
    p.out = noise((size_t)M * N);
    p.packed = noise(packed * p.copies);
    p.plain = noise((size_t)N * K * p.copies);
    for (int at = 0; at < M; at += BLOCK)
        p.block[p.blocks++] = (struct span){at, M - at < BLOCK ? M - at : BLOCK};
    seconds(ours, &p, p.copies);
    seconds(matrix, &p, p.copies);
    double once = seconds(ours, &p, 2), ratio[PAIRS], mine[PAIRS];
    int times = once < 5e-3 ? (int)(5e-3 / once) + 1 : 1;
    void (*theirs)(struct product *) = M == 1 && direction == FORWARD ? better(&p, times) : matrix;
    for (int i = 0; i < PAIRS; i++) {
        double other = i % 2 ? seconds(theirs, &p, times) : 0;
        mine[i] = seconds(ours, &p, times);
        other = i % 2 ? other : seconds(theirs, &p, times);
        ratio[i] = other / mine[i];
    }
    qsort(ratio, PAIRS, sizeof *ratio, ascending);
    qsort(mine, PAIRS, sizeof *mine, ascending);
    printf("%-8s %5d x %5d x %4d  %7.1f GFLOP/s  times OpenBLAS %5.2f\n", direction_name[direction], M, N, K,
           2e-9 * M * N * K / mine[PAIRS / 2], ratio[PAIRS / 2]);
    fflush(stdout);
    float *all[] = {p.in, p.out, p.packed, p.plain};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
    device_close(&p.dev);
    return ratio[PAIRS / 2];
}

int main(int argc, char **argv)
{
    static const int rows[] = {1, 4, 16, 64, 256, 1024};
    static const int size[][2] = {{2304, 768}, {768, 3072}, {3072, 768}, {512, 512},
                                  {864, 288},  {352, 64},   {64, 176},   {50257, 768}};
    void *blas = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!blas) {
        fprintf(stderr, "usage: blas PATH/libopenblas.so.0\n%s\n", argc == 2 ? dlerror() : "");
        return 2;
    }
    *(void **)&sgemm = dlsym(blas, "cblas_sgemm");
    *(void **)&sgemv = dlsym(blas, "cblas_sgemv");
    char *(*config)(void);
    *(void **)&config = dlsym(blas, "openblas_get_config");
    if (!sgemm || !sgemv || !config) {
        fprintf(stderr, "blas: %s has no cblas_sgemm\n", argv[1]);
        return 1;
    }
    printf("%s\n", config());
    for (int d = FORWARD; d <= WEIGHT; d++) {
        double logs = 0, least = INFINITY;
        int n = 0;
        for (unsigned i = 0; i < sizeof size / sizeof *size; i++)
            for (unsigned r = d == FORWARD ? 0 : 3; r < sizeof rows / sizeof *rows; r++) {
                if (size[i][0] > 10000 && rows[r] > 256)
                    continue;
                double ratio = measure((enum direction)d, rows[r], size[i][0], size[i][1]);
                logs += log(ratio);
                least = ratio < least ? ratio : least;
                n++;
            }
        printf("%s: geometric mean %.2f, least %.2f, of %d\n", direction_name[d], exp(logs / n), least, n);
    }
    return 0;
}
