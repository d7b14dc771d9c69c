/* Rows of the processor's table in mixed precision: against a plain formula of each number's sequence of roundings, bit
 * for bit, in both units (the matrix unit where this machine has one); against the reference in double precision within
 * what rounding gives; rows alone and among others, threads, blocks in parts; copies of matrices. U = 2^-8: what
 * rounding to a number of eight bits changes at most. */
#define cpu_ops cpu_bf16_ops
#include "ops_tools.h"
#include "../model/cpu/bf16.h"

static const double U = 0x1p-8;

struct product {
    int M, N, K;
};
static const struct product products[] = {{1, 1, 1},      {5, 33, 17},   {16, 64, 64},   {17, 70, 65},  {31, 40, 800},
                                          {300, 65, 176}, {17, 300, 30}, {40, 20, 1600}, {2, 40, 4200}, {270, 96, 96}};
enum { PRODUCTS = sizeof products / sizeof *products };

static struct context *cpu_of(void **state, int threads)
{
    return &((struct suite *)*state)->c[CPU1 + threads - 1];
}

/* ---- the formula ---- */

static float flushed(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

/* The nearest number of eight bits, ties to even: not the way the table does it. */
static float nearest(float from)
{
    double x = flushed(from);
    int exponent;
    frexp(x, &exponent);
    return (float)ldexp(nearbyint(ldexp(x, 8 - exponent)), exponent - 8);
}

/* What 32 steps at most add to a sum. */
static float thirty_two(float sum, const float *a, const float *b, int n)
{
    float part[2] = {0, 0};
    for (int i = 0; i < n; i++)
        part[i % 2] = flushed(fmaf(nearest(a[i]), nearest(b[i]), part[i % 2]));
    return flushed(flushed(sum) + flushed(part[0] + part[1]));
}

static float chain(float sum, const float *a, const float *b, int n)
{
    for (int k = 0; k < n; k += 32)
        sum = thirty_two(sum, a + k, b + k, n - k < 32 ? n - k : 32);
    return sum;
}

/* ---- operands ---- */

static float *numbers(size_t n, uint64_t seed, float scale)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)value(seed, i) * scale;
    return x;
}

static Dev tensor_of(struct context *c, const float *from, size_t n)
{
    Dev x = tensor(c, n);
    memcpy(x.p, from, n * sizeof *from);
    return x;
}

/* The copy of a matrix of plain numbers [N][K]. */
static Dev copy_of(struct context *c, const float *from, int N, int K)
{
    double *v = malloc(((size_t)N * K + 1) * sizeof *v);
    for (size_t i = 0; i < (size_t)N * K; i++)
        v[i] = from[i];
    Dev W = weight_from(c, v, N, K), copy = {guarded(c, 2 * c->dev.ops->copy_numbers(N, K), 64, 0x41), 1};
    c->dev.ops->copy_rows(&c->dev, copy, W, 0, N, N, K);
    free(v);
    return copy;
}

/* Which units are here. */
static int units(const struct bf16_unit *unit[2])
{
    unit[0] = &bf16_plain;
    unit[1] = &bf16_amx;
    assert_null(bf16_plain.missing());
    if (!bf16_amx.missing())
        return 2;
    print_message("the matrix unit is not here: %s\n", bf16_amx.missing());
    return 1;
}

static void use(struct context *c, const struct bf16_unit *unit)
{
    c->dev.state = (void *)(uintptr_t)unit;
}

struct results { /* of the three products */
    float *out, *din, *dW, *db;
};

static void drop(struct results *r)
{
    free(r->out);
    free(r->din);
    free(r->dW);
    free(r->db);
}

static float *taken(Dev x, size_t n)
{
    float *to = malloc((n + 1) * sizeof *to);
    memcpy(to, x.p, n * sizeof *to);
    return to;
}

/* Four blocks, one of them empty. */
static int cut(struct span block[8], int M)
{
    int at = 0, n = 0;
    const int most[] = {M / 3, 0, M / 4, M};
    for (int i = 0; at < M || i < 4; i++) {
        int len = most[i < 3 ? i : 3];
        len = len < M - at ? len : M - at;
        len = len < 256 ? len : 256;
        assert_true(n < 8);
        block[n++] = (struct span){at, len};
        at += len;
    }
    return n;
}

static struct results compute(struct context *c, struct product p, float scale)
{
    size_t MK = (size_t)p.M * p.K, MN = (size_t)p.M * p.N, reals = CALL_PURE(c, weight_reals, p.N, p.K);
    float *x = numbers(MK, 1, scale), *g = numbers(MN, 2, scale), *w = numbers((size_t)p.N * p.K, 3, 1);
    struct span block[8];
    int blocks = cut(block, p.M);
    reserve(c, SCRATCH_LINEAR, (struct scratch_shape){.rows = p.M, .N = p.N, .K = p.K});
    Dev in = tensor_of(c, x, MK), dout = tensor_of(c, g, MN), W = copy_of(c, w, p.N, p.K);
    Dev out = tensor(c, MN), din = tensor(c, MK), dW = weight_random(c, p.N, p.K, 4), db = weight_random(c, p.N, 1, 5);
    CALL(c, linear_forward, out, in, W, weight_random(c, p.N, 1, 6), p.M, p.N, p.K);
    CALL(c, linear_backward_input, din, dout, W, p.M, p.N, p.K);
    CALL(c, linear_backward_weight, dW, db, dout, in, ints(c, (int32_t *)block, (size_t)blocks * 2), blocks, p.M, p.N,
         p.K);
    struct results r = {taken(out, MN), taken(din, MK), taken(dW, reals),
                        taken(db, CALL_PURE(c, weight_reals, p.N, 1))};
    free(x);
    free(g);
    free(w);
    release_all(c);
    return r;
}

static void same_results(struct context *c, struct product p, const struct results *a, const struct results *b,
                         const char *what)
{
    same_bits(a->out, b->out, (size_t)p.M * p.N, what);
    same_bits(a->din, b->din, (size_t)p.M * p.K, what);
    same_bits(a->dW, b->dW, CALL_PURE(c, weight_reals, p.N, p.K), what);
    same_bits(a->db, b->db, CALL_PURE(c, weight_reals, p.N, 1), what);
}

static float weight_value(const float *W, int n, int k, int K)
{
    return W[((size_t)(n / 32) * K + k) * 32 + n % 32];
}

/* Of all numbers every `every`th. */
static void check_formula(struct product p, const struct results *r, float scale, int every)
{
    int most = p.M > p.N ? p.M : p.N;
    most = (most > p.K ? most : p.K) + 1;
    float *x = numbers((size_t)p.M * p.K, 1, scale), *g = numbers((size_t)p.M * p.N, 2, scale);
    float *w = numbers((size_t)p.N * p.K, 3, 1), *a = malloc(most * sizeof *a), *b = malloc(most * sizeof *b);
    struct span block[8];
    int blocks = cut(block, p.M);
    for (size_t i = 0; i < (size_t)p.M * p.N; i += every) {
        size_t m = i / p.N, n = i % p.N;
        float want = chain(0, x + m * p.K, w + n * p.K, p.K) + (float)value(6, n);
        same_bits(&want, r->out + i, 1, "forward");
    }
    for (size_t i = 0; i < (size_t)p.M * p.K; i += every) {
        size_t m = i / p.K, k = i % p.K;
        for (int n = 0; n < p.N; n++)
            b[n] = w[(size_t)n * p.K + k];
        float want = chain(0, g + m * p.N, b, p.N);
        same_bits(&want, r->din + i, 1, "input gradient");
    }
    for (size_t i = 0; i < (size_t)p.N * p.K; i += every) {
        int n = (int)(i / p.K), k = (int)(i % p.K);
        float want = (float)value(4, i), have = weight_value(r->dW, n, k, p.K);
        for (int s = 0; s < blocks; s++) {
            for (int m = 0; m < block[s].len; m++) {
                a[m] = g[(size_t)(block[s].start + m) * p.N + n];
                b[m] = x[(size_t)(block[s].start + m) * p.K + k];
            }
            want = chain(want, a, b, block[s].len);
        }
        same_bits(&want, &have, 1, "weight gradient");
    }
    for (int n = 0; n < p.N; n++) { /* of biases: fp32, as they are */
        float want = (float)value(5, n);
        for (int s = 0; s < blocks; s++) {
            float sum = 0;
            for (int m = 0; m < block[s].len; m++)
                sum += g[(size_t)(block[s].start + m) * p.N + n];
            want += sum;
        }
        same_bits(&want, r->db + n, 1, "bias gradient");
    }
    free(x);
    free(g);
    free(w);
    free(a);
    free(b);
}

/* Scaled so that products, sums and operands themselves fall below 2^-126. */
static void test_formula(void **state)
{
    static const float scale[] = {1, 0x1p-122f, 0x1p-130f};
    const struct bf16_unit *unit[2];
    struct context *c = cpu_of(state, 1);
    int n = units(unit);
    for (int i = 0; i < PRODUCTS; i++)
        for (int s = 0; s < 3; s++) {
            struct product p = products[i];
            struct results plain = {0};
            for (int u = 0; u < n; u++) {
                use(c, unit[u]);
                struct results r = compute(c, p, scale[s]);
                if (u == 0) {
                    plain = r;
                    check_formula(p, &plain, scale[s], p.M * p.N + p.M * p.K > 20000 ? 41 : 3);
                } else {
                    same_results(c, p, &plain, &r, "the two units");
                    drop(&r);
                }
            }
            drop(&plain);
        }
}

/* 2^-126 - 2^-(148 + i): up to i = 2 that has 24 bits, from i = 3 on it rounds to the smallest number. Whether that is
 * zero all the same is the processor's way; both units have the same. */
static void test_smallest_sums(void **state)
{
    enum { SUMS = 8 };
    struct context *c = cpu_of(state, 1);
    const struct bf16_unit *unit[2];
    float got[2][SUMS];
    int n = units(unit);
    for (int u = 0; u < n; u++)
        for (int i = 0; i < SUMS; i++) {
            const float in[] = {0x1p-63f, 0, ldexpf(1, -74 - i)}, w[] = {0x1p-63f, 0, -0x1p-74f};
            use(c, unit[u]);
            reserve(c, SCRATCH_LINEAR, (struct scratch_shape){.rows = 1, .N = 1, .K = 3});
            Dev y = tensor(c, 1), none = {0};
            CALL(c, linear_forward, y, tensor_of(c, in, 3), copy_of(c, w, 1, 3), none, 1, 1, 3);
            got[u][i] = floats(y)[0];
            release_all(c);
        }
    if (n == 2)
        same_bits(got[0], got[1], SUMS, "sums just below the smallest number");
    assert_true(got[0][0] == 0 && got[0][2] == 0 && (got[0][3] == 0x1p-126f || got[0][3] == 0));
}

/* ---- what a row may be off by ---- */

static double budget_of(const float *a, const float *b, int n)
{
    double size = 0;
    for (int k = 0; k < n; k++)
        size += fabs((double)a[k] * b[k]);
    return size * (2 * U + U * U + (n + 2) * 0x1p-24);
}

static void test_near_double(void **state)
{
    struct context *c = cpu_of(state, 1);
    struct product p = {40, 70, 500};
    struct results r = compute(c, p, 1);
    float *x = numbers((size_t)p.M * p.K, 1, 1), *w = numbers((size_t)p.N * p.K, 3, 1);
    double worst = 0;
    for (int m = 0; m < p.M; m++)
        for (int n = 0; n < p.N; n++) {
            double want = value(6, (uint64_t)n), far;
            for (int k = 0; k < p.K; k++)
                want += (double)x[m * p.K + k] * w[n * p.K + k];
            far = fabs(want - r.out[m * p.N + n]) / budget_of(x + m * p.K, w + n * p.K, p.K);
            worst = far > worst ? far : worst;
        }
    print_message("off by at most %.2g of the budget\n", worst);
    assert_true(worst > 0 && worst <= 1);
    drop(&r);
    free(x);
    free(w);
}

/* ---- the same bits however rows are cut, and by any number of threads ---- */

static void test_threads(void **state)
{
    static const struct product large[] = {{300, 200, 96}, {20, 900, 300}, {700, 64, 64}, {64, 40, 1600}};
    for (unsigned i = 0; i < sizeof large / sizeof *large; i++) {
        struct results one = compute(cpu_of(state, 1), large[i], 1);
        for (int threads = 2; threads <= 3; threads++) {
            struct results r = compute(cpu_of(state, threads), large[i], 1);
            same_results(cpu_of(state, 1), large[i], &one, &r, "threads");
            drop(&r);
        }
        drop(&one);
    }
}

static void rows_alone(struct context *c, struct product p)
{
    size_t MK = (size_t)p.M * p.K, MN = (size_t)p.M * p.N;
    float *x = numbers(MK, 1, 1), *g = numbers(MN, 2, 1), *w = numbers((size_t)p.N * p.K, 3, 1);
    reserve(c, SCRATCH_LINEAR, (struct scratch_shape){.rows = p.M, .N = p.N, .K = p.K});
    Dev in = tensor_of(c, x, MK), dout = tensor_of(c, g, MN), W = copy_of(c, w, p.N, p.K);
    Dev out = tensor(c, MN), din = tensor(c, MK), rows = tensor(c, MN), drows = tensor(c, MK), none = {0};
    CALL(c, linear_forward, out, in, W, none, p.M, p.N, p.K);
    CALL(c, linear_backward_input, din, dout, W, p.M, p.N, p.K);
    for (int m = 0, step = 1; m < p.M; m += step, step = step % 37 + 1) { /* ragged cuts of 1 to 37 rows */
        int here = p.M - m < step ? p.M - m : step;
        size_t n = (size_t)m * p.N, k = (size_t)m * p.K;
        CALL(c, linear_forward, dev_at(&c->dev, rows, n), dev_at(&c->dev, in, k), W, none, here, p.N, p.K);
        CALL(c, linear_backward_input, dev_at(&c->dev, drows, k), dev_at(&c->dev, dout, n), W, here, p.N, p.K);
    }
    same_bits(floats(out), floats(rows), MN, "rows");
    same_bits(floats(din), floats(drows), MK, "rows of the input gradient");
    free(x);
    free(g);
    free(w);
    release_all(c);
}

/* Blocks one after the other, as micro-batches bring them. */
static void blocks_in_parts(struct context *c, struct product p)
{
    struct span block[8];
    int blocks = cut(block, p.M);
    reserve(c, SCRATCH_LINEAR, (struct scratch_shape){.rows = p.M, .N = p.N, .K = p.K});
    DevInt b = ints(c, (int32_t *)block, (size_t)blocks * 2);
    Dev dout = tensor_random(c, (size_t)p.M * p.N, 1), in = tensor_random(c, (size_t)p.M * p.K, 2);
    Dev dW[2], db[2];
    for (int i = 0; i < 2; i++) {
        dW[i] = weight_random(c, p.N, p.K, 3);
        db[i] = weight_random(c, p.N, 1, 4);
    }
    CALL(c, linear_backward_weight, dW[0], db[0], dout, in, b, blocks, p.M, p.N, p.K);
    for (int i = 0; i < blocks; i++)
        CALL(c, linear_backward_weight, dW[1], db[1], dout, in, dev_int_at(b, (size_t)i * 2), 1, p.M, p.N, p.K);
    same_bits(floats(dW[0]), floats(dW[1]), CALL_PURE(c, weight_reals, p.N, p.K), "blocks in parts");
    same_bits(floats(db[0]), floats(db[1]), CALL_PURE(c, weight_reals, p.N, 1), "blocks in parts, bias");
    release_all(c);
}

static void test_parts(void **state)
{
    const struct bf16_unit *unit[2];
    struct context *c = cpu_of(state, 1);
    int n = units(unit);
    for (int u = 0; u < n; u++)
        for (int i = 0; i < PRODUCTS; i++) {
            use(c, unit[u]);
            rows_alone(c, products[i]);
            blocks_in_parts(c, products[i]);
        }
}

/* No rows, no outputs, no inputs. */
static void test_empty(void **state)
{
    static const struct product empty[] = {{0, 5, 5}, {3, 0, 5}, {3, 5, 0}};
    const struct bf16_unit *unit[2];
    struct context *c = cpu_of(state, 1);
    int n = units(unit);
    for (int u = 0; u < n; u++)
        for (int i = 0; i < 3; i++) {
            use(c, unit[u]);
            struct results r = compute(c, empty[i], 1);
            check_formula(empty[i], &r, 1, 1);
            drop(&r);
        }
}

/* ---- copies ---- */

/* Rows that are written a few at a time, and some ids of many, as the head reads them. */
static void test_copies(void **state)
{
    enum { N = 150, K = 45, FIRST = 64 };
    struct context *c = cpu_of(state, 1);
    const struct ops *op = c->dev.ops;
    size_t n = op->copy_numbers(N, K);
    Dev W = weight_random(c, N, K, 3), whole = {guarded(c, 2 * n, 64, 0x41), 1}, parts = {guarded(c, 2 * n, 64, 0), 1};
    op->copy_rows(&c->dev, whole, W, 0, N, N, K);
    for (int row = 0, step = 1; row < N; row += step, step = step * 5 % 41 + 1)
        op->copy_rows(&c->dev, parts, W, row, N - row < step ? N - row : step, N, K);
    assert_memory_equal(whole.p, parts.p, 2 * n);
    float *in = numbers(9 * K, 1, 1);
    Dev x = tensor_of(c, in, 9 * K), y = tensor(c, 9 * N), some = tensor(c, 9 * (N - FIRST)), none = {0};
    reserve(c, SCRATCH_LINEAR, (struct scratch_shape){.rows = 9, .N = N, .K = K});
    CALL(c, linear_forward, y, x, whole, none, 9, N, K);
    CALL(c, linear_forward, some, x, dev_at(&c->dev, whole, op->copy_numbers(FIRST, K)), none, 9, N - FIRST, K);
    for (int m = 0; m < 9; m++)
        same_bits(floats(y) + m * N + FIRST, floats(some) + m * (N - FIRST), N - FIRST, "the ids from one on");
    free(in);
    release_all(c);
}

/* Infinity and NaN stay; numbers beyond the largest of eight bits become infinity. */
static void test_extremes(void **state)
{
    static const float in[] = {INFINITY, -INFINITY, NAN, FLT_MAX, 0x1.fep127f, -0.0f, 0x1.8p-127f};
    enum { NUMBERS = sizeof in / sizeof *in };
    const struct bf16_unit *unit[2];
    const float one = 1;
    struct context *c = cpu_of(state, 1);
    int n = units(unit);
    for (int u = 0; u < n; u++) {
        use(c, unit[u]);
        reserve(c, SCRATCH_LINEAR, (struct scratch_shape){.rows = NUMBERS, .N = 1, .K = 1});
        Dev y = tensor(c, NUMBERS), none = {0};
        CALL(c, linear_forward, y, tensor_of(c, in, NUMBERS), copy_of(c, &one, 1, 1), none, NUMBERS, 1, 1);
        const float *got = floats(y);
        assert_true(got[0] == INFINITY && got[1] == -INFINITY && isnan(got[2]) && got[3] == INFINITY);
        assert_true(got[4] == 0x1.fep127f && got[5] == 0 && got[6] == 0);
        release_all(c);
    }
}

/* The weights that are trained are fp32: steps that bf16 does not resolve add up, and the copy follows them. */
static void test_masters(void **state)
{
    enum { N = 40, K = 33, STEPS = 20 };
    const struct adamw o = {1e-3f, 0.9f, 0.95f, 1e-8f, 0, 1, 1, 1, N, K};
    struct context *c = cpu_of(state, 1);
    const struct ops *op = c->dev.ops;
    static double ones[N * K];
    for (int i = 0; i < N * K; i++)
        ones[i] = 1;
    size_t numbers = op->copy_numbers(N, K), reals = CALL_PURE(c, weight_reals, N, K);
    Dev w = weight_from(c, ones, N, K), g = weight_from(c, ones, N, K), m = tensor(c, reals), v = tensor(c, reals);
    Dev copy = {guarded(c, 2 * numbers, 64, 0), 1}, again = {guarded(c, 2 * numbers, 64, 0), 1};
    CALL(c, zero, m, reals);
    CALL(c, zero, v, reals);
    for (int i = 0; i < STEPS; i++)
        CALL(c, adamw, w, copy, g, m, v, reals, &o);
    op->copy_rows(&c->dev, again, w, 0, N, N, K);
    assert_memory_equal(copy.p, again.p, 2 * numbers);
    CALL(c, unpack, ones, w, 0, N, N, K);
    assert_true(ones[0] < 1 - STEPS * 1e-4 && ones[0] > 0.5);
    release_all(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formula), cmocka_unit_test(test_smallest_sums), cmocka_unit_test(test_near_double),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_parts),         cmocka_unit_test(test_empty),
        cmocka_unit_test(test_copies),  cmocka_unit_test(test_extremes),      cmocka_unit_test(test_masters),
    };
    return cmocka_run_group_tests_name("products in bf16 on the processor", tests, suite_open, suite_close);
}
