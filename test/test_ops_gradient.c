/* The reference's backward rows are the derivatives of its forward rows: central differences in double, every input.
 * The loss is the sum of the outputs times fixed random weights, so that one backward pass has all derivatives. */
#include "ops_tools.h"

typedef double loss_function(void *at);

/* g[n] must be the derivative of loss with respect to x[n]. */
static void check_gradient(loss_function *loss, void *at, double *x, const double *g, size_t n, const char *name)
{
    const double h = 1e-5;
    for (size_t i = 0; i < n; i++) {
        double old = x[i];
        x[i] = old + h;
        double up = loss(at);
        x[i] = old - h;
        double down = loss(at), numeric = (up - down) / (2 * h);
        x[i] = old;
        if (!(fabs(numeric - g[i]) <= 1e-6 * (fabs(g[i]) + 1)))
            fail_msg("%s[%zu]: backward %.12g, differences %.12g", name, i, g[i], numeric);
    }
}

static double *fresh(size_t n, uint64_t seed) /* seed 0: zeros */
{
    double *x = calloc(n + 1, sizeof *x);
    for (size_t i = 0; i < n && seed; i++)
        x[i] = value(seed, i);
    return x;
}

static Dev at(double *x)
{
    return (Dev){x, 0};
}

static double weighted(const double *y, const double *weight, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += y[i] * weight[i];
    return sum;
}

/* ---- linear ---- */

enum { M = 5, N = 4, K = 3 };
struct linear_case {
    struct device *d;
    double *in, *W, *b, *out, *weight;
};

static double linear_loss(void *p)
{
    struct linear_case *c = p;
    ref_ops.linear_forward(c->d, at(c->out), at(c->in), at(c->W), at(c->b), M, N, K);
    return weighted(c->out, c->weight, M * N);
}

static void test_linear(void **state)
{
    struct suite *s = *state;
    struct linear_case c = {&s->c[REF].dev, fresh(M * K, 1), fresh(N * K, 2),
                            fresh(N, 3),    fresh(M * N, 0), fresh(M * N, 4)};
    double *din = fresh(M * K, 9), *dW = fresh(N * K, 0), *db = fresh(N, 0);
    struct span block[] = {{0, 2}, {2, 0}, {2, 3}};
    ref_ops.linear_backward_input(c.d, at(din), at(c.weight), at(c.W), M, N, K);
    ref_ops.linear_backward_weight(c.d, at(dW), at(db), at(c.weight), at(c.in), (DevInt){(int32_t *)block}, 3, M, N, K);
    check_gradient(linear_loss, &c, c.in, din, M * K, "din");
    check_gradient(linear_loss, &c, c.W, dW, N * K, "dW");
    check_gradient(linear_loss, &c, c.b, db, N, "db");
    ref_ops.linear_backward_weight(c.d, at(dW), (Dev){0}, at(c.weight), at(c.in), (DevInt){(int32_t *)block}, 1, M, N,
                                   K);
    double *twice = fresh(N * K, 0); /* gradients of parameters add */
    ref_ops.linear_backward_weight(c.d, at(twice), (Dev){0}, at(c.weight), at(c.in), (DevInt){(int32_t *)block}, 1, M,
                                   N, K);
    ref_ops.linear_backward_weight(c.d, at(twice), (Dev){0}, at(c.weight), at(c.in), (DevInt){(int32_t *)block}, 3, M,
                                   N, K);
    for (int i = 0; i < N * K; i++)
        assert_true(fabs(twice[i] - dW[i]) < 1e-12);
    double *all[] = {c.in, c.W, c.b, c.out, c.weight, din, dW, db, twice};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* ---- norm ---- */

struct norm_case {
    struct device *d;
    struct norm_shape shape;
    double *in, *w, *b, *out, *stat, *weight;
    size_t outs;
};

static double norm_loss(void *p)
{
    struct norm_case *c = p;
    ref_ops.norm_forward(c->d, at(c->out), (Dev){0}, at(c->in), at(c->w), at(c->b), &c->shape);
    return weighted(c->out, c->weight, c->outs);
}

static void test_norm(void **state)
{
    struct suite *s = *state;
    for (int kind = NORM_LAYER; kind <= NORM_RMS; kind++) {
        struct norm_shape shape = {(enum norm_kind)kind, 4, 2, 5, 13, 11, 0.01f, 0};
        size_t ins = 4 * 13, outs = 4 * 11;
        struct norm_case c = {&s->c[REF].dev, shape,        fresh(ins, 1),  fresh(5, 2), fresh(5, 3),
                              fresh(outs, 0), fresh(16, 0), fresh(outs, 4), outs};
        double *din = fresh(ins, 0), *dw = fresh(5, 0), *db = fresh(5, 0);
        struct span block[] = {{0, 1}, {1, 3}};
        ref_ops.norm_forward(c.d, at(c.out), at(c.stat), at(c.in), at(c.w), at(c.b), &shape);
        ref_ops.norm_backward(c.d, at(din), at(dw), at(db), at(c.weight), at(c.in), at(c.w), at(c.stat), &shape,
                              (DevInt){(int32_t *)block}, 2);
        check_gradient(norm_loss, &c, c.in, din, ins, "din");
        check_gradient(norm_loss, &c, c.w, dw, 5, "dw");
        check_gradient(norm_loss, &c, c.b, db, 5, "db");
        double *other = fresh(ins, 7); /* adds to what is there, or overwrites it */
        for (int over = 0; over < 2; over++) {
            shape.overwrite = over;
            ref_ops.norm_backward(c.d, at(other), at(dw), at(db), at(c.weight), at(c.in), at(c.w), at(c.stat), &shape,
                                  (DevInt){(int32_t *)block}, 2);
            assert_true(fabs(other[0] - din[0] - (over ? 0 : value(7, 0))) < 1e-12);
        }
        double *all[] = {c.in, c.w, c.b, c.out, c.stat, c.weight, din, dw, db, other};
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
    }
}

/* ---- embedding, and rotation as its own transpose ---- */

enum { TOKENS = 6, WORDS = 3, PLACES = 4 };
struct embed_case {
    struct device *d;
    struct rows rows;
    double *wte, *wpe, *out, *weight;
};

static double embed_loss(void *p)
{
    struct embed_case *c = p;
    ref_ops.embed_forward(c->d, at(c->out), &c->rows, at(c->wte), at(c->wpe), WORDS, K);
    return weighted(c->out, c->weight, TOKENS * K);
}

static void test_embed(void **state)
{
    struct suite *s = *state;
    int32_t id[TOKENS] = {0, 2, 2, 1, 0, 2}, position[TOKENS] = {0, 1, 2, 3, 0, 1};
    struct embed_case c = {&s->c[REF].dev,       {.count = TOKENS, .id = {id}, .position = {position}},
                           fresh(WORDS * K, 1),  fresh(PLACES * K, 2),
                           fresh(TOKENS * K, 0), fresh(TOKENS * K, 3)};
    double *dwte = fresh(WORDS * K, 0), *dwpe = fresh(PLACES * K, 0);
    ref_ops.embed_backward(c.d, at(dwte), at(dwpe), at(c.weight), &c.rows, WORDS, K);
    check_gradient(embed_loss, &c, c.wte, dwte, WORDS * K, "dwte");
    check_gradient(embed_loss, &c, c.wpe, dwpe, PLACES * K, "dwpe");
    double *all[] = {c.wte, c.wpe, c.out, c.weight, dwte, dwpe};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

enum { HEADS = 2, SIZE = 6, STRIDE = 15 };
struct rotary_case {
    struct device *d;
    DevInt position;
    double *table, *in, *out, *weight;
};

static double rotary_loss(void *p)
{
    struct rotary_case *c = p;
    memcpy(c->out, c->in, TOKENS * STRIDE * sizeof(double));
    ref_ops.rotary(c->d, at(c->out), at(c->table), c->position, TOKENS, HEADS, SIZE, STRIDE, 1);
    return weighted(c->out, c->weight, TOKENS * STRIDE);
}

static void test_rotary(void **state)
{
    struct suite *s = *state;
    int32_t position[TOKENS] = {0, 1, 2, 3, 1, 2};
    struct rotary_case c = {&s->c[REF].dev,
                            {position},
                            fresh(PLACES * SIZE, 1),
                            fresh(TOKENS * STRIDE, 2),
                            fresh(TOKENS * STRIDE, 0),
                            fresh(TOKENS * STRIDE, 3)};
    double *g = fresh(TOKENS * STRIDE, 3);
    ref_ops.rotary(c.d, at(g), at(c.table), c.position, TOKENS, HEADS, SIZE, STRIDE, -1);
    check_gradient(rotary_loss, &c, c.in, g, TOKENS * STRIDE, "dx");
    double *all[] = {c.table, c.in, c.out, c.weight, g};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* ---- attention, over shared prompts and trees ---- */

struct attention_case {
    struct device *d;
    struct rows rows;
    struct attention_shape shape;
    double *qkv, *kv, *out, *stat, *weight;
};

static double attention_loss(void *p)
{
    struct attention_case *c = p;
    ref_ops.store(c->d, at(c->kv), at(c->qkv), &c->rows, &c->shape);
    ref_ops.attention_forward(c->d, at(c->out), at(c->stat), at(c->qkv), at(c->kv), &c->rows, &c->shape);
    return weighted(c->out, c->weight, (size_t)c->rows.count * c->shape.H * c->shape.D);
}

static void test_attention(void **state)
{
    struct suite *s = *state;
    for (int cut = 0; cut < 3; cut += 2) {
        struct tree t;
        tree_example(&t, 5, 4, cut);
        struct attention_case c = {.d = &s->c[REF].dev, .shape = shape_of(4, 2, 3, t.store)};
        c.rows = tree_rows(&s->c[REF], &t);
        size_t width = (4 + 2 * 2) * 3, heads = (size_t)t.rows * 4;
        c.qkv = fresh((size_t)t.rows * width, 1);
        c.kv = fresh(ref_ops.store_reals(&c.shape), 0);
        c.out = fresh(heads * 3, 0);
        c.stat = fresh(heads * 2, 0);
        c.weight = fresh(heads * 3, 2);
        attention_loss(&c);
        double *g = fresh((size_t)t.rows * width, 9);
        ref_ops.attention_backward(c.d, at(g), at(c.weight), at(c.out), at(c.stat), at(c.qkv), at(c.kv), &c.rows,
                                   &c.shape);
        check_gradient(attention_loss, &c, c.qkv, g, (size_t)t.rows * width, "dqkv");
        double *all[] = {c.qkv, c.kv, c.out, c.stat, c.weight, g};
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
        release_all(&s->c[REF]);
    }
}

/* ---- activations ---- */

enum { FEW = 12 };
struct activation_case {
    struct device *d;
    double *in, *out, *weight;
};

static double gelu_loss(void *p)
{
    struct activation_case *c = p;
    ref_ops.gelu_forward(c->d, at(c->out), at(c->in), FEW);
    return weighted(c->out, c->weight, FEW);
}

static double swiglu_loss(void *p)
{
    struct activation_case *c = p;
    ref_ops.swiglu_forward(c->d, at(c->out), at(c->in), 3, 4);
    return weighted(c->out, c->weight, FEW);
}

static void test_activations(void **state)
{
    struct suite *s = *state;
    struct activation_case c = {&s->c[REF].dev, fresh(2 * FEW, 1), fresh(FEW, 0), fresh(FEW, 2)};
    double *g = fresh(2 * FEW, 9);
    for (int i = 0; i < 2 * FEW; i++)
        c.in[i] *= 3;
    ref_ops.gelu_backward(c.d, at(g), at(c.weight), at(c.in), FEW);
    check_gradient(gelu_loss, &c, c.in, g, FEW, "gelu");
    ref_ops.swiglu_backward(c.d, at(g), at(c.weight), at(c.in), 3, 4);
    check_gradient(swiglu_loss, &c, c.in, g, 2 * FEW, "swiglu");
    double *all[] = {c.in, c.out, c.weight, g};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* ---- gather and scatter are each other's transpose ---- */

static void test_scatter(void **state)
{
    struct suite *s = *state;
    struct device *d = &s->c[REF].dev;
    int32_t index[] = {2, 0, 2, 3}, first[] = {0, 1, 1, 3, 4}, order[] = {1, 0, 2, 3};
    double *x = fresh(4 * K, 1), *y = fresh(4 * K, 2), *gx = fresh(4 * K, 0), *gy = fresh(4 * K, 9);
    ref_ops.gather(d, at(gx), at(x), (DevInt){index}, 4, K);
    ref_ops.scatter(d, at(gy), at(y), (DevInt){first}, (DevInt){order}, 4, K);
    assert_true(fabs(weighted(gx, y, 4 * K) - weighted(x, gy, 4 * K)) < 1e-12);
    double *all[] = {x, y, gx, gy};
    for (unsigned i = 0; i < 4; i++)
        free(all[i]);
}

/* ---- log-probabilities ---- */

enum { ENTRIES = 4, VOCABULARY = 5 };
struct logp_case {
    struct device *d;
    struct entries e;
    double *logits, *out, *glogp, *gentropy, *stat;
};

static double logp_loss(void *p)
{
    struct logp_case *c = p;
    ref_ops.logp_forward(c->d, at(c->out), at(c->out + ENTRIES), at(c->stat), at(c->logits), &c->e, 0, VOCABULARY,
                         VOCABULARY);
    return weighted(c->out, c->glogp, ENTRIES) + weighted(c->out + ENTRIES, c->gentropy, ENTRIES);
}

static void test_logp(void **state)
{
    struct suite *s = *state;
    int32_t target[ENTRIES] = {1, 4, 2, 0}, support[ENTRIES * 3] = {1, 3, 4, 4, 0, 0, 0, 1, 2},
            supports[ENTRIES] = {3, 2, 0, 1};
    double temperature[ENTRIES] = {1, 0.5, 2, 1};
    for (int truncated = 0; truncated < 2; truncated++) {
        struct logp_case c = {&s->c[REF].dev,
                              {ENTRIES, {target}, {temperature, 0}, {NULL}, {NULL}, 3},
                              fresh(ENTRIES * VOCABULARY, 1),
                              fresh(2 * ENTRIES, 0),
                              fresh(ENTRIES, 2),
                              fresh(ENTRIES, 3),
                              fresh(4 * ENTRIES, 0)};
        double *g = fresh(ENTRIES * VOCABULARY, 9);
        if (truncated) {
            c.e.support.p = support;
            c.e.supports.p = supports;
            support[9] = 0; /* one id kept: logp 0, entropy 0, gradient 0 */
        }
        logp_loss(&c); /* leaves what the gradient needs */
        ref_ops.logp_backward(c.d, at(g), at(c.logits), at(c.stat), &c.e, at(c.glogp), at(c.gentropy), 0, VOCABULARY,
                              VOCABULARY);
        check_gradient(logp_loss, &c, c.logits, g, ENTRIES * VOCABULARY, "dlogits");
        double *all[] = {c.logits, c.out, c.glogp, c.gentropy, c.stat, g};
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),  cmocka_unit_test(test_norm),      cmocka_unit_test(test_embed),
        cmocka_unit_test(test_rotary),  cmocka_unit_test(test_attention), cmocka_unit_test(test_activations),
        cmocka_unit_test(test_scatter), cmocka_unit_test(test_logp),
    };
    return cmocka_run_group_tests_name("gradients of the reference", tests, suite_open, suite_close);
}
