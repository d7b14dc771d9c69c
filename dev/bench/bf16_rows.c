/* The program as it is, with products in bf16: linked in with --wrap (bf16.sh program), these stand in for the linear
 * rows of the CPU table. BF16=dot, BF16=amx, or neither: fp32. One thread.
 *
 * Sampler and trainer read the same words. They are made from the weights in fp32, which the optimiser keeps, when a
 * product first asks for them after an update: one copy for the forward pass, one for the input gradient. A copy lies
 * in a second memory at the place of its weights, whose 4 bytes each are enough for the padding, too, from LEAST inputs
 * and outputs on. Gradients of norms and biases, attention, and whatever is smaller stay in fp32.
 */
#include "../../model/base/error.h"
#include "../../model/cpu/cpu.h"
#include "bf16_products.h"
#include <stdlib.h>
#include <sys/mman.h>

enum { OFF, DOT, AMX, LEAST = 16, REGIONS = 256, MATRICES = 8192 };

struct memory { /* of the table */
    char *at, *copy[2];
    size_t bytes;
};
static struct memory memories[REGIONS];
static struct matrix {
    const float *W;
    int N, K;
    long version; /* of the weights, when its words were made */
} matrices[2][MATRICES];
static int known[2];
static long version = 1;

static int mode(void)
{
    static int chosen = -1;
    if (chosen < 0) {
        const char *s = getenv("BF16");
        chosen = !s || !*s ? OFF : strcmp(s, "dot") == 0 ? DOT : AMX;
        if (chosen == AMX && amx_open())
            die("BF16=%s: the system gives no AMX", s);
    }
    return chosen;
}

static int in_fp32(int N, int K)
{
    return mode() == OFF || N < LEAST || K < LEAST;
}

static enum unit unit(void)
{
    return mode() == DOT ? UNIT_DOT : UNIT_AMX;
}

/* ---- memory that changes ---- */

void *__real_cpu_alloc(struct device *d, size_t bytes);
void *__wrap_cpu_alloc(struct device *d, size_t bytes);
void *__wrap_cpu_alloc(struct device *d, size_t bytes)
{
    struct memory *m = memories;
    while (m->at)
        if (++m == memories + REGIONS)
            die("more than %d allocations", REGIONS);
    *m = (struct memory){.at = __real_cpu_alloc(d, bytes), .bytes = bytes};
    return m->at;
}

void __real_cpu_release(struct device *d, void *p);
void __wrap_cpu_release(struct device *d, void *p);
void __wrap_cpu_release(struct device *d, void *p)
{
    for (struct memory *m = memories; p && m < memories + REGIONS; m++)
        if (m->at == p) {
            for (int i = 0; i < 2; i++)
                if (m->copy[i])
                    munmap(m->copy[i], m->bytes);
            m->at = NULL;
            known[0] = known[1] = 0;
        }
    __real_cpu_release(d, p);
}

void __real_cpu_pack(struct device *d, Dev W, const double *from, int row, int rows, int N, int K);
void __wrap_cpu_pack(struct device *d, Dev W, const double *from, int row, int rows, int N, int K);
void __wrap_cpu_pack(struct device *d, Dev W, const double *from, int row, int rows, int N, int K)
{
    version++;
    __real_cpu_pack(d, W, from, row, rows, N, K);
}

void __real_cpu_adamw(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *a);
void __wrap_cpu_adamw(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *a);
void __wrap_cpu_adamw(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *a)
{
    version++;
    __real_cpu_adamw(d, w, copy, g, m, v, n, a);
}

/* ---- words ---- */

static char *copy_of(const float *W, int i)
{
    struct memory *m = memories;
    while (!m->at || (const char *)W < m->at || (const char *)W >= m->at + m->bytes)
        if (++m == memories + REGIONS)
            die("weights outside the table's memory");
    if (!m->copy[i]) {
        void *p = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            die("no memory for %zu bytes of words", m->bytes);
        madvise(p, m->bytes, MADV_HUGEPAGE);
        m->copy[i] = p;
    }
    return m->copy[i] + ((const char *)W - m->at);
}

/* Words of W as they are now. i = 0: for the forward pass, which may read some panels of a larger matrix that is
 * there; 1: for the input gradient. */
static const uint32_t *words(const float *W, int N, int K, int i)
{
    struct matrix *same = NULL;
    for (struct matrix *x = matrices[i]; x < matrices[i] + known[i]; x++) {
        int last = (N + PANEL - 1) / PANEL, there = (x->N + PANEL - 1) / PANEL;
        long first = W >= x->W ? (W - x->W) / ((long)K * PANEL) : there;
        if (x->W == W && x->N == N && x->K == K)
            same = x;
        if (x->version == version && x->K == K && (same == x || (i == 0 && first + last <= there)))
            return (uint32_t *)copy_of(x->W, i) + (size_t)first * words_forward(PANEL, K);
    }
    for (struct matrix *x = matrices[i]; i && x < matrices[i] + known[i]; x++) /* what it lies upon is gone */
        if (x != same && x->W < W + cpu_weight_reals(N, K) && W < x->W + cpu_weight_reals(x->N, x->K))
            x->version = 0;
    if (!same) {
        if (known[i] == MATRICES)
            die("more than %d matrices", MATRICES);
        same = &matrices[i][known[i]++];
    }
    *same = (struct matrix){W, N, K, version};
    uint32_t *to = (uint32_t *)copy_of(W, i);
    if (i)
        pack_input(to, W, N, K);
    else
        pack_forward(to, W, N, K);
    return to;
}

/* ---- rows ---- */

void __real_cpu_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K);
void __wrap_cpu_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K);
void __wrap_cpu_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K)
{
    if (in_fp32(N, K))
        __real_cpu_linear_forward(d, out, in, W, b, M, N, K);
    else
        product16(unit(), out.p, in.p, words(W.p, N, K, 0), b.p, M, N, K);
}

void __real_cpu_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K);
void __wrap_cpu_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K);
void __wrap_cpu_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K)
{
    if (in_fp32(N, K))
        __real_cpu_linear_backward_input(d, din, dout, W, M, N, K);
    else
        product16(unit(), din.p, dout.p, words(W.p, N, K, 1), NULL, M, K, N);
}

void __real_cpu_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks,
                                       int M, int N, int K);
void __wrap_cpu_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks,
                                       int M, int N, int K);
void __wrap_cpu_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks,
                                       int M, int N, int K)
{
    if (in_fp32(N, K))
        __real_cpu_linear_backward_weight(d, dW, db, dout, in, block, blocks, M, N, K);
    else
        weight16(unit(), dW.p, db.p, dout.p, in.p, (const struct span *)block.p, blocks, N, K);
}
