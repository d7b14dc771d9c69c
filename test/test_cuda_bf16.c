/* Rows of the CUDA table in mixed precision against the reference on the same numbers. What a row may be off by follows
 * from how it rounds: U = 2^-8 of a number for each rounding to bf16 (eight bits, to the nearest), and for a sum of n
 * products in fp32 at most (n + 2) 2^-23 of the sum of their sizes (2^-24 where every step rounds; matrix units may cut
 * off). Kernels run on the host (cuda_host.h); dev/gpu.sh links the same with the GPU's table. */
#define cpu_ops cuda_bf16_ops
#include "ops_tools.h"

static const double U = 0x1p-8, STEP = 0x1p-23;
enum kind { FP32, BF16 };

/* The nearest number of eight bits, ties to even: not the way the table does it. */
static double nearest(double x)
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(x, 8 - exponent)), exponent - 8);
}

static Dev tensor_of(struct context *c, size_t n, enum kind kind, size_t guard)
{
    size_t each = kind == BF16 ? 2 : c->dev.ops->real_bytes;
    return (Dev){guarded(c, n * each, guard * each, 0x41), kind == BF16};
}

/* n numbers, of eight bits each when `exact`, in a tensor of the table and in one of the reference. */
struct twin {
    Dev ours, ref;
    double *value;
    size_t n;
};

static struct twin twin_of(struct suite *s, size_t n, enum kind kind, int exact, uint64_t seed, size_t guard)
{
    struct twin t = {tensor_of(&s->c[CPU1], n, kind, guard), tensor(&s->c[REF], n), calloc(n + 1, sizeof(double)), n};
    for (size_t i = 0; i < n; i++)
        t.value[i] = exact ? nearest(value(seed, i)) : value(seed, i);
    CALL(&s->c[CPU1], upload, t.ours, t.value, n);
    CALL(&s->c[REF], upload, t.ref, t.value, n);
    return t;
}

/* |ours - reference| <= budget[i] + relative |reference|; the twin is over. */
static void check(struct suite *s, struct twin *t, const double *budget, double relative, const char *what)
{
    double *got = calloc(t->n + 1, sizeof *got), *want = calloc(t->n + 1, sizeof *want);
    CALL(&s->c[CPU1], download, got, t->ours, t->n);
    CALL(&s->c[REF], download, want, t->ref, t->n);
    for (size_t i = 0; i < t->n; i++) {
        double limit = (budget ? budget[i] : 0) + relative * fabs(want[i]);
        if (!(fabs(got[i] - want[i]) <= limit))
            fail_msg("%s, number %zu of %zu: reference %.9g, ours %.9g, limit %.3g", what, i, t->n, want[i], got[i],
                     limit);
    }
    free(got);
    free(want);
}

static void end(struct suite *s)
{
    release_all(&s->c[CPU1]);
    release_all(&s->c[REF]);
}

/* ---- rounding ---- */

static void test_rounding(void **state)
{
    struct suite *s = *state;
    struct context *c = &s->c[CPU1];
    enum { N = 4000 };
    static double from[N], got[N], back[N];
    Dev half = tensor_of(c, N, BF16, GUARD), whole = tensor_of(c, N, FP32, GUARD), again = tensor_of(c, N, BF16, GUARD);
    for (int i = 0; i < N; i++)
        from[i] = (float)(value(5, (uint64_t)i) * ldexp(1, below(6, (uint64_t)i, 200) - 100));
    for (int i = 0; i < 256; i++) /* halfway, and beside it */
        from[i] = (double)(float)(1 + (double)(i / 4 + 0.5) * 0x1p-7 + (i % 4 - 1) * 0x1p-23) * (i & 128 ? -1 : 1);
    from[256] = INFINITY;
    from[257] = -0.0;
    from[258] = FLT_MAX; /* beyond the largest of eight bits */
    from[259] = 0;
    CALL(c, upload, half, from, N);
    CALL(c, download, got, half, N);
    for (int i = 0; i < N; i++)
        if (got[i] != (i == 256 || i == 258 ? INFINITY : nearest(from[i])))
            fail_msg("%.9g became %.9g", from[i], got[i]);
    CALL(c, upload, whole, from, N);
    CALL(c, copy, again, whole, N); /* rounds alike, on the device */
    CALL(c, download, back, again, N);
    assert_memory_equal(back, got, sizeof got);
    CALL(c, copy, whole, half, N);
    CALL(c, download, back, whole, N);
    assert_memory_equal(back, got, sizeof got);
    CALL(c, copy, again, half, N);
    CALL(c, download, back, again, N);
    assert_memory_equal(back, got, sizeof got);
    from[0] = NAN;
    CALL(c, upload, half, from, 1);
    CALL(c, download, got, half, 1);
    assert_true(isnan(got[0]));
    CALL(c, zero, half, N - 1);
    CALL(c, download, back, half, N);
    assert_true(back[N - 2] == 0 && back[N - 1] == got[N - 1]);
    release_all(c);
}

/* ---- products ---- */

struct product {
    int M, N, K, aligned;
};

/* Sums of the sizes of what a product adds, plus `first` in each. */
static double *sizes(const double *a, const double *b, int m, int n, int length, int a_row, int a_next, int b_row,
                     int b_next)
{
    double *sum = calloc((size_t)m * n + 1, sizeof *sum);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
            for (int r = 0; r < length; r++)
                sum[(size_t)i * n + j] +=
                    fabs(a[(size_t)i * a_row + (size_t)r * a_next] * b[(size_t)j * b_row + (size_t)r * b_next]);
    return sum;
}

/* Budget: what was rounded on the way in (each operand that is fp32), and the sum. */
static void scale(double *budget, size_t n, int rounded, int length)
{
    for (size_t i = 0; i < n; i++)
        budget[i] *= rounded * U * (1 + U) + (length + 2) * STEP;
}

static void forward(struct suite *s, struct product p, enum kind in_kind, enum kind out_kind, int biased)
{
    size_t guard = p.aligned ? 64 : GUARD;
    struct twin in = twin_of(s, (size_t)p.M * p.K, in_kind, in_kind == BF16, 1, guard);
    struct twin W = twin_of(s, (size_t)p.N * p.K, BF16, 1, 2, guard), b = twin_of(s, (size_t)p.N, FP32, 0, 3, guard);
    struct twin out = twin_of(s, (size_t)p.M * p.N, out_kind, 0, 4, guard);
    Dev none = {0};
    CALL(&s->c[CPU1], linear_forward, out.ours, in.ours, W.ours, biased ? b.ours : none, p.M, p.N, p.K);
    CALL(&s->c[REF], linear_forward, out.ref, in.ref, W.ref, biased ? b.ref : none, p.M, p.N, p.K);
    double *budget = sizes(in.value, W.value, p.M, p.N, p.K, p.K, 1, p.K, 1);
    scale(budget, out.n, in_kind == FP32, p.K);
    for (size_t i = 0; i < out.n && biased; i++)
        budget[i] += fabs(b.value[i % (size_t)p.N]) * (out_kind == BF16 ? U : STEP);
    for (size_t i = 0; i < out.n && out_kind == BF16; i++)
        budget[i] *= 1 + U;
    check(s, &out, budget, out_kind == BF16 ? U : STEP, "forward");
    free(budget);
    free(in.value), free(W.value), free(b.value), free(out.value);
    end(s);
}

static void backward(struct suite *s, struct product p, enum kind dout_kind, enum kind in_kind, enum kind din_kind)
{
    size_t guard = p.aligned ? 64 : GUARD;
    struct span block[] = {{0, p.M / 3}, {p.M / 3, 0}, {p.M / 3, p.M - p.M / 3}};
    struct twin dout = twin_of(s, (size_t)p.M * p.N, dout_kind, dout_kind == BF16, 1, guard);
    struct twin in = twin_of(s, (size_t)p.M * p.K, in_kind, in_kind == BF16, 2, guard);
    struct twin W = twin_of(s, (size_t)p.N * p.K, BF16, 1, 3, guard), dW = twin_of(s, W.n, FP32, 0, 4, guard);
    struct twin din = twin_of(s, in.n, din_kind, 0, 5, guard), db = twin_of(s, (size_t)p.N, FP32, 0, 6, guard);
    for (int i = 0; i < 2; i++) {
        struct context *c = &s->c[i ? CPU1 : REF];
        DevInt blocks = ints(c, (const int32_t *)block, 6);
        CALL(c, linear_backward_weight, i ? dW.ours : dW.ref, i ? db.ours : db.ref, i ? dout.ours : dout.ref,
             i ? in.ours : in.ref, blocks, 3, p.M, p.N, p.K);
        CALL(c, linear_backward_input, i ? din.ours : din.ref, i ? dout.ours : dout.ref, i ? W.ours : W.ref, p.M, p.N,
             p.K);
    }
    double *budget = sizes(dout.value, in.value, p.N, p.K, p.M, 1, p.N, 1, p.K);
    scale(budget, dW.n, (dout_kind == FP32) + (in_kind == FP32), p.M);
    for (size_t i = 0; i < dW.n; i++)
        budget[i] += STEP * fabs(dW.value[i]);
    check(s, &dW, budget, STEP, "weight gradient");
    free(budget);
    budget = calloc((size_t)p.N + 1, sizeof *budget); /* sums of dout itself, as it is */
    for (int n = 0; n < p.N; n++) {
        budget[n] = STEP * fabs(db.value[n]);
        for (int m = 0; m < p.M; m++)
            budget[n] += (p.M + 2) * STEP * fabs(dout.value[(size_t)m * p.N + n]);
    }
    check(s, &db, budget, STEP, "bias gradient");
    free(budget);
    budget = sizes(dout.value, W.value, p.M, p.K, p.N, p.N, 1, 1, p.K);
    scale(budget, din.n, dout_kind == FP32, p.N);
    for (size_t i = 0; i < din.n && din_kind == BF16; i++)
        budget[i] *= 1 + U;
    check(s, &din, budget, din_kind == BF16 ? U : STEP, "input gradient");
    free(budget);
    free(dout.value), free(in.value), free(W.value), free(dW.value), free(din.value), free(db.value);
    end(s);
}

static void test_products(void **state)
{
    static const struct product p[] = {{0, 5, 5, 0},     {1, 1, 1, 0},    {1, 8, 64, 1},   {3, 131, 65, 0},
                                       {5, 95, 16, 0},   {7, 40, 96, 1},  {33, 64, 64, 1}, {64, 48, 33, 0},
                                       {130, 70, 40, 0}, {70, 45, 512, 0}};
    struct suite *s = *state;
    for (unsigned i = 0; i < sizeof p / sizeof *p; i++) {
        for (int k = 0; k < 2; k++)
            reserve(&s->c[k ? CPU1 : REF], SCRATCH_LINEAR,
                    (struct scratch_shape){.rows = p[i].M, .N = p[i].N, .K = p[i].K});
        for (int way = 0; way < 8; way++) {
            forward(s, p[i], way & 1 ? BF16 : FP32, way & 2 ? BF16 : FP32, way >> 2);
            backward(s, p[i], way & 1 ? BF16 : FP32, way & 2 ? BF16 : FP32, way & 4 ? BF16 : FP32);
        }
    }
}

/* ---- the others: one rounding on the way out, and the few fp32 steps of the row ---- */

static void test_activations(void **state)
{
    struct suite *s = *state;
    enum { T = 13, F = 37 };
    for (int swiglu = 0; swiglu < 2; swiglu++) {
        size_t wide = (size_t)T * F * (swiglu ? 2 : 1);
        struct twin in = twin_of(s, wide, BF16, 1, 1, GUARD), out = twin_of(s, T * F, BF16, 0, 2, GUARD);
        struct twin dout = twin_of(s, T * F, BF16, 1, 3, GUARD), din = twin_of(s, wide, BF16, 0, 4, GUARD);
        double budget[2 * T * F];
        for (int i = 0; i < 2 * T * F; i++)
            budget[i] = 16 * STEP;
        for (int i = 0; i < 2; i++) {
            struct context *c = &s->c[i ? CPU1 : REF];
            if (swiglu) {
                CALL(c, swiglu_forward, i ? out.ours : out.ref, i ? in.ours : in.ref, T, F);
                CALL(c, swiglu_backward, i ? din.ours : din.ref, i ? dout.ours : dout.ref, i ? in.ours : in.ref, T, F);
            } else {
                CALL(c, gelu_forward, i ? out.ours : out.ref, i ? in.ours : in.ref, T * F);
                CALL(c, gelu_backward, i ? din.ours : din.ref, i ? dout.ours : dout.ref, i ? in.ours : in.ref, T * F);
            }
        }
        check(s, &out, budget, U, "activation");
        check(s, &din, budget, U, "gradient of an activation");
        free(in.value), free(out.value), free(dout.value), free(din.value);
        end(s);
    }
}

static void test_norm(void **state)
{
    struct suite *s = *state;
    enum { T = 9, C = 70 };
    for (int kind = NORM_LAYER; kind <= NORM_RMS; kind++) {
        struct norm_shape shape = {(enum norm_kind)kind, T, 1, C, C, C, 1e-5f, 0};
        struct twin in = twin_of(s, T * C, FP32, 0, 1, GUARD), w = twin_of(s, C, FP32, 0, 2, GUARD);
        struct twin b = twin_of(s, C, FP32, 0, 3, GUARD), out = twin_of(s, T * C, BF16, 0, 4, GUARD);
        double budget[T * C];
        Dev none = {0};
        for (int i = 0; i < T * C; i++)
            budget[i] = 64 * STEP;
        CALL(&s->c[CPU1], norm_forward, out.ours, none, in.ours, w.ours, b.ours, &shape);
        CALL(&s->c[REF], norm_forward, out.ref, none, in.ref, w.ref, b.ref, &shape);
        check(s, &out, budget, U, "norm");
        free(in.value), free(w.value), free(b.value), free(out.value);
        end(s);
    }
}

static void test_additions(void **state)
{
    static const int32_t index[] = {3, 0, 3, 8, 1};
    struct suite *s = *state;
    enum { T = 9, C = 21, N = 5 };
    for (int y_kind = FP32; y_kind <= BF16; y_kind++) {
        struct twin x = twin_of(s, T * C, BF16, 1, 1, GUARD), y = twin_of(s, T * C, y_kind, y_kind == BF16, 2, GUARD);
        struct twin z = twin_of(s, T * C, BF16, 1, 3, GUARD), rows = twin_of(s, N * C, BF16, 0, 4, GUARD);
        double budget[T * C];
        for (int i = 0; i < T * C; i++)
            budget[i] = 4 * STEP;
        for (int i = 0; i < 2; i++) {
            struct context *c = &s->c[i ? CPU1 : REF];
            CALL(c, add, i ? x.ours : x.ref, i ? y.ours : y.ref, T * C);
            CALL(c, add_columns, dev_at(&c->dev, i ? z.ours : z.ref, 2), C, i ? y.ours : y.ref, 7, T, 7, 0.5f);
            CALL(c, gather, i ? rows.ours : rows.ref, i ? y.ours : y.ref, ints(c, index, N), N, C);
        }
        check(s, &x, budget, U, "sum");
        check(s, &z, budget, U, "sum of columns");
        check(s, &rows, NULL, U, "gathered");
        free(x.value), free(y.value), free(z.value), free(rows.value);
        end(s);
    }
}

/* The weights that are trained are fp32: steps far below what bf16 resolves add up, and the copy is they, rounded. */
static void test_optimiser(void **state)
{
    struct suite *s = *state;
    struct context *c = &s->c[CPU1];
    enum { N = 300, TIMES = 40 };
    static double ones[N], w[N], copy[N], first[N];
    const struct adamw o = {1e-3f, 0.9f, 0.95f, 1e-8f, 0, 1, 1, 1, 0, 0};
    for (int i = 0; i < N; i++) {
        ones[i] = 1;
        first[i] = (float)(2 + 0.5 * value(7, (uint64_t)i));
    }
    Dev weight = tensor_from(c, first, N), half = tensor_of(c, N, BF16, GUARD), g = tensor_from(c, ones, N),
        m = tensor_from(c, ones, N), v = tensor_from(c, ones, N);
    for (int k = 0; k < TIMES; k++) {
        CALL(c, adamw, weight, half, g, m, v, N, &o);
        CALL(c, download, w, weight, N);
        CALL(c, download, copy, half, N);
        for (int i = 0; i < N; i++)
            assert_true(copy[i] == nearest(w[i]));
    }
    for (int i = 0; i < N;
         i++) /* a step is 1e-3 or a little less, an eighth of the space between numbers of bf16 at 2 */
        if (!(fabs(first[i] - w[i] - TIMES * 1e-3) < TIMES * 1e-6))
            fail_msg("%.9g became %.9g in %d steps of 0.001", first[i], w[i], TIMES);
    release_all(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding), cmocka_unit_test(test_products),  cmocka_unit_test(test_activations),
        cmocka_unit_test(test_norm),     cmocka_unit_test(test_additions), cmocka_unit_test(test_optimiser),
    };
    return cmocka_run_group_tests_name("rows in mixed precision", tests, suite_open, suite_close);
}
