/* Rows that touch every number once: embedding, rotary positions, activations, residual additions, gather and scatter.
 */
#ifndef CUDA_ELEMENTWISE_CUH
#define CUDA_ELEMENTWISE_CUH
#include "cuda.cuh"

/* ---- embedding: a block a row ---- */

struct embedding {
    float *x, *wte, *wpe; /* the gradient of x, and those of the tables, in the backward direction */
    const int32_t *id, *position;
    int T, C;
};

KERNEL(embed_forward_kernel, THREADS, embedding)
{
    const float *word = a.wte + (size_t)a.id[BLOCK] * a.C;
    const float *place = a.wpe ? a.wpe + (size_t)a.position[BLOCK] * a.C : NULL;
    for (int c = THREAD; c < a.C; c += THREADS)
        a.x[(size_t)BLOCK * a.C + c] = place ? word[c] + place[c] : word[c];
}

static void cuda_embed_forward(struct device *d, Dev x, const struct rows *r, Dev wte, Dev wpe, int V, int C)
{
    struct embedding a = {reals(x), reals(wte), reals(wpe), r->id.p, r->position.p, r->count, C};
    (void)V;
    LAUNCH(embed_forward_kernel, d, r->count, 1, 0, a);
}

/* table[index[t]] += x[t] for all rows t with the index of this block's row, in their order. The first such row's block
 * does it; the others, which find an earlier one, leave. */
DEVICE void add_equal_rows(float *table, const float *x, const int32_t *index, int T, int C)
{
    SHARED int earlier, equal[THREADS];
    int mine = index[BLOCK], found = 0;
    if (THREAD == 0)
        earlier = 0;
    block_wait();
    for (int t = THREAD; t < BLOCK; t += THREADS)
        found |= index[t] == mine;
    if (found)
        set_bits(&earlier, 1);
    block_wait();
    if (earlier)
        return;
    for (int first = BLOCK; first < T; first += THREADS) {
        int n = T - first < THREADS ? T - first : THREADS;
        equal[THREAD] = THREAD < n && index[first + THREAD] == mine;
        block_wait();
        for (int c = THREAD; c < C; c += THREADS) {
            float sum = table[(size_t)mine * C + c];
            for (int t = 0; t < n; t++)
                if (equal[t])
                    sum += x[(size_t)(first + t) * C + c];
            table[(size_t)mine * C + c] = sum;
        }
        block_wait();
    }
}

KERNEL(embed_backward_kernel, THREADS, embedding)
{
    add_equal_rows(a.wte, a.x, a.id, a.T, a.C);
}

KERNEL(position_backward_kernel, THREADS, embedding)
{
    add_equal_rows(a.wpe, a.x, a.position, a.T, a.C);
}

static void cuda_embed_backward(struct device *d, Dev dwte, Dev dwpe, Dev dx, const struct rows *r, int V, int C)
{
    struct embedding a = {reals(dx), reals(dwte), reals(dwpe), r->id.p, r->position.p, r->count, C};
    (void)V;
    LAUNCH(embed_backward_kernel, d, r->count, 1, 0, a);
    if (dwpe.p)
        LAUNCH(position_backward_kernel, d, r->count, 1, 0, a);
}

/* ---- rotary positions (Su et al., RoFormer, 2021), halves form: a block a row ---- */

struct rotation {
    float *x;
    const float *table;
    const int32_t *position;
    int heads, D, stride;
    float sign;
};

KERNEL(rotary_kernel, THREADS, rotation)
{
    int half = a.D / 2;
    const float *angle = a.table + (size_t)a.position[BLOCK] * half * 2;
    for (int i = THREAD; i < a.heads * half; i += THREADS) {
        float *low = a.x + (size_t)BLOCK * a.stride + (size_t)(i / half) * a.D + i % half, *high = low + half;
        float c = angle[2 * (i % half)], s = a.sign * angle[2 * (i % half) + 1], u = *low, v = *high;
        *low = u * c - v * s;
        *high = v * c + u * s;
    }
}

static void cuda_rotary(struct device *d, Dev x, Dev table, DevInt position, int T, int heads, int D, int stride,
                        int direction)
{
    struct rotation a = {reals(x), reals(table), position.p, heads, D, stride, direction < 0 ? -1.0f : 1.0f};
    LAUNCH(rotary_kernel, d, T, 1, 0, a);
}

/* ---- activations: a thread a number ---- */

struct numbers {
    Dev to, from, dout;
    size_t n;
    int F; /* numbers of a row, where rows matter */
};

DEVICE size_t number_of_thread(void)
{
    return (size_t)BLOCK * THREADS + THREAD;
}

#define GELU_A 0.7978845608f /* sqrt(2/pi) */
#define GELU_B 0.044715f

/* x (1 + tanh(u)) / 2 = x sigmoid(2u), u = A (x + B x^3) */
DEVICE float gelu_gate(float x)
{
    return sigmoid_of(2 * GELU_A * (x + GELU_B * x * x * x));
}

KERNEL(gelu_forward_kernel, THREADS, numbers)
{
    size_t i = number_of_thread();
    if (i < a.n)
        put(a.to, i, get(a.from, i) * gelu_gate(get(a.from, i)));
}

KERNEL(gelu_backward_kernel, THREADS, numbers)
{
    size_t i = number_of_thread();
    if (i >= a.n)
        return;
    float x = get(a.from, i), gate = gelu_gate(x), inner = 2 * GELU_A * (1.0f + 3 * GELU_B * x * x);
    put(a.to, i, get(a.dout, i) * fmaf(x * gate * (1.0f - gate), inner, gate));
}

/* silu(g) = g sigmoid(g) */
KERNEL(swiglu_forward_kernel, THREADS, numbers)
{
    size_t i = number_of_thread();
    if (i >= a.n)
        return;
    size_t at = i / a.F * 2 * a.F + i % a.F;
    float gate = get(a.from, at);
    put(a.to, i, gate * sigmoid_of(gate) * get(a.from, at + a.F));
}

KERNEL(swiglu_backward_kernel, THREADS, numbers)
{
    size_t i = number_of_thread();
    if (i >= a.n)
        return;
    size_t at = i / a.F * 2 * a.F + i % a.F;
    float g = get(a.from, at), up = get(a.from, at + a.F), s = sigmoid_of(g), dy = get(a.dout, i);
    put(a.to, at + a.F, dy * g * s);
    put(a.to, at, dy * up * fmaf(g * s, 1.0f - s, s));
}

KERNEL(add_kernel, THREADS, numbers)
{
    size_t i = number_of_thread();
    if (i < a.n)
        put(a.to, i, get(a.to, i) + get(a.from, i));
}

static void cuda_gelu_forward(struct device *d, Dev out, Dev in, size_t n)
{
    struct numbers a = {out, in, {NULL, 0}, n, 0};
    LAUNCH(gelu_forward_kernel, d, pieces_of(n, THREADS), 1, 0, a);
}

static void cuda_gelu_backward(struct device *d, Dev din, Dev dout, Dev in, size_t n)
{
    struct numbers a = {din, in, dout, n, 0};
    LAUNCH(gelu_backward_kernel, d, pieces_of(n, THREADS), 1, 0, a);
}

static void cuda_swiglu_forward(struct device *d, Dev out, Dev in, int T, int F)
{
    struct numbers a = {out, in, {NULL, 0}, (size_t)T * F, F};
    LAUNCH(swiglu_forward_kernel, d, pieces_of(a.n, THREADS), 1, 0, a);
}

static void cuda_swiglu_backward(struct device *d, Dev din, Dev dout, Dev in, int T, int F)
{
    struct numbers a = {din, in, dout, (size_t)T * F, F};
    LAUNCH(swiglu_backward_kernel, d, pieces_of(a.n, THREADS), 1, 0, a);
}

static void cuda_add(struct device *d, Dev x, Dev y, size_t n)
{
    struct numbers a = {x, y, {NULL, 0}, n, 0};
    LAUNCH(add_kernel, d, pieces_of(n, THREADS), 1, 0, a);
}

/* A block a row: columns of y, scaled, onto columns of x. */
struct column_sums {
    Dev x, y;
    int x_stride, y_stride, N;
    float scale;
};

KERNEL(add_columns_kernel, THREADS, column_sums)
{
    for (int n = THREAD; n < a.N; n += THREADS) {
        size_t to = (size_t)BLOCK * a.x_stride + n;
        put(a.x, to, fmaf(a.scale, get(a.y, (size_t)BLOCK * a.y_stride + n), get(a.x, to)));
    }
}

static void cuda_add_columns(struct device *d, Dev x, int x_stride, Dev y, int y_stride, int T, int N, float scale)
{
    struct column_sums a = {x, y, x_stride, y_stride, N, scale};
    LAUNCH(add_columns_kernel, d, T, 1, 0, a);
}

/* ---- rows of the head: a block a row ---- */

struct row_copies {
    Dev to, from;
    const int32_t *index, *first; /* gather needs no first */
    int C;
};

KERNEL(gather_kernel, THREADS, row_copies)
{
    for (int c = THREAD; c < a.C; c += THREADS)
        put(a.to, (size_t)BLOCK * a.C + c, get(a.from, (size_t)a.index[BLOCK] * a.C + c));
}

KERNEL(scatter_kernel, THREADS, row_copies)
{
    for (int c = THREAD; c < a.C; c += THREADS) {
        float sum = 0;
        for (int j = a.first[BLOCK]; j < a.first[BLOCK + 1]; j++)
            sum += get(a.from, (size_t)a.index[j] * a.C + c);
        put(a.to, (size_t)BLOCK * a.C + c, sum);
    }
}

static void cuda_gather(struct device *d, Dev out, Dev in, DevInt index, int R, int C)
{
    struct row_copies a = {out, in, index.p, NULL, C};
    LAUNCH(gather_kernel, d, R, 1, 0, a);
}

static void cuda_scatter(struct device *d, Dev out, Dev in, DevInt first, DevInt order, int T, int C)
{
    struct row_copies a = {out, in, order.p, first.p, C};
    LAUNCH(scatter_kernel, d, T, 1, 0, a);
}

#endif
