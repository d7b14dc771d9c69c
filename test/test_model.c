/* The whole transformer: gradients against finite differences in double, shared prompts against copied ones, the fast
 * table against the reference, bit-identity over micro-batches, chunks and threads, the optimiser against a plain loop.
 * Not here: single operations, sampling, trained checkpoints.
 */
#include "model_batch.h"

/* ---- finite differences ---- */

static double loss_of(struct rig *r, const struct packed *p, int plain)
{
    static double logp[ROWS], entropy[ROWS];
    double loss = 0;
    rig_forward(r, p, plain, logp, entropy);
    if (r->model.arch.value_head)
        model_value(&r->model, &r->tape, &r->layout, logp);
    for (int i = 0; i < p->R; i++)
        loss += p->glogp[i] * logp[i] + (r->model.arch.value_head ? 0 : p->gentropy[i] * entropy[i]);
    return loss;
}

static void backward(struct rig *r, const struct packed *p, int plain)
{
    static double logp[ROWS], entropy[ROWS];
    rig_forward(r, p, plain, logp, entropy);
    if (r->model.arch.value_head)
        model_value_backward(&r->model, &r->tape, &r->layout, p->glogp);
    else
        model_backward(&r->model, &r->tape, &r->layout, p->glogp, p->gentropy);
}

static double *all_values(struct model *m, int which, int *count)
{
    int n = 0, first = which ? m->first : 0; /* what adapters leave frozen has weights only */
    for (int i = first; i < m->tensors; i++)
        n += m->tensor[i].N * m->tensor[i].K;
    double *x = mem_alloc((size_t)n, sizeof *x);
    *count = 0;
    for (int i = first; i < m->tensors; i++) {
        model_read(m, i, which, 0, m->tensor[i].N, x + *count);
        *count += m->tensor[i].N * m->tensor[i].K;
    }
    return x;
}

static double slope(struct rig *r, const struct packed *p, int plain, int tensor, int row, int column, double *line)
{
    double step = 1e-5, old = line[column], side[2];
    for (int s = 0; s < 2; s++) {
        line[column] = old + (s ? step : -step);
        model_write(&r->model, tensor, 0, row, 1, line);
        side[s] = loss_of(r, p, plain);
    }
    line[column] = old;
    model_write(&r->model, tensor, 0, row, 1, line);
    return (side[1] - side[0]) / (2 * step);
}

static void check_gradient(const struct arch *a, int plain)
{
    struct rig r;
    static struct packed p;
    struct content c = random_content(a->V, 3, 5, 17);
    c.plain = plain;
    pack_groups(&p, &c, 0, 3, 1);
    rig_open(&r, &ref_ops, a, 1, p.rows);
    backward(&r, &p, plain);
    model_grad_norm(&r.model);
    int nonzero = 0;
    for (int i = r.model.first; i < r.model.tensors; i++) {
        const struct tensor *t = &r.model.tensor[i];
        double weight[64], grad[64];
        int used = i == r.model.wpe ? 12 : t->N; /* positions beyond the batch: their gradient stays zero */
        for (int n = 0; n < used; n++) {
            model_read(&r.model, i, 0, n, 1, weight);
            model_read(&r.model, i, 1, n, 1, grad);
            for (int k = 0; k < t->K; k++) {
                double want = slope(&r, &p, plain, i, n, k, weight);
                if (!(fabs(want - grad[k]) <= 2e-7 * (1 + fabs(want))))
                    fail_msg("%s[%d][%d]: gradient %.12g, difference quotient %.12g", t->name, n, k, grad[k], want);
                nonzero += fabs(want) > 1e-6;
            }
        }
    }
    assert_true(nonzero > arch_trained(a) / 4 - (a->lora.rank ? 0 : a->context * a->C));
    assert_true(nonzero > (a->lora.rank ? 30 : 100));
    rig_close(&r);
}

#define GRADIENT_TEST(name)                                                                                            \
    static void gradient_##name(void **state)                                                                          \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        check_gradient(&tiny_##name, 0);                                                                               \
    }
GRADIENT_TEST(gpt2)
GRADIENT_TEST(llama)
GRADIENT_TEST(qwen2)
GRADIENT_TEST(qwen3)
GRADIENT_TEST(biased)
GRADIENT_TEST(untied)

static void gradient_of_values(void **state)
{
    (void)state;
    struct arch llama = tiny_llama, gpt2 = tiny_gpt2;
    llama.value_head = gpt2.value_head = 1;
    check_gradient(&llama, 0);
    check_gradient(&gpt2, 1);
}

/* On every linear map, and on few: fused matrices of which only some rows have an adapter. */
static void gradient_of_adapters(void **state)
{
    (void)state;
    static const struct arch *const llamas[] = {&tiny_llama, &tiny_qwen2, &tiny_qwen3};
    struct arch a = with_adapters(tiny_gpt2, 3, ALL_OF_GPT2);
    check_gradient(&a, 0);
    a = with_adapters(tiny_gpt2, 2, 1 << 1 | 1 << 3);
    check_gradient(&a, 0);
    for (int i = 0; i < 3; i++) {
        a = with_adapters(*llamas[i], 3, ALL_OF_LLAMA);
        check_gradient(&a, 0);
        a = with_adapters(*llamas[i], 2, 1 << 1 | 1 << 5); /* k and up */
        check_gradient(&a, 0);
    }
    a = with_adapters(tiny_llama, 2, 1 << 0 | 1 << 2 | 1 << 6); /* q, v, down, and a critic's own head */
    a.lora.root = a.value_head = 1;
    check_gradient(&a, 0);
}

/* A critic begins as the policy with a head of its own, which a later copy leaves alone. */
static void copy_beside_a_value_head(void **state)
{
    (void)state;
    struct rig policy, critic;
    struct arch a = tiny_llama;
    a.value_head = 1;
    rig_open(&policy, &ref_ops, &tiny_llama, 1, 64);
    rig_open(&critic, &ref_ops, &a, 1, 64);
    double before[8], after[8], x[11 * 8], y[11 * 8];
    model_read(&critic.model, critic.model.value_w, 0, 0, 1, before);
    model_write(&policy.model, policy.model.wte, 0, 0, 1, before); /* another row than the critic's */
    model_copy(&critic.model, &policy.model);
    model_read(&critic.model, critic.model.value_w, 0, 0, 1, after);
    assert_memory_equal(before, after, sizeof before);
    model_read(&policy.model, policy.model.wte, 0, 0, 11, x);
    model_read(&critic.model, critic.model.wte, 0, 0, 11, y);
    assert_memory_equal(x, y, sizeof x);
    rig_close(&policy);
    rig_close(&critic);
}

static void gradient_of_all_tokens(void **state)
{
    (void)state;
    check_gradient(&tiny_llama, 1);
    check_gradient(&tiny_gpt2, 1);
}

/* ---- comparisons of whole gradients ---- */

static void assert_same_bits(const double *x, const double *y, int n, const char *what)
{
    for (int i = 0; i < n; i++)
        if (memcmp(x + i, y + i, sizeof *x) != 0)
            fail_msg("%s: value %d is %.17g and %.17g", what, i, x[i], y[i]);
}

static void assert_near(const double *x, const double *y, int n, double tolerance, const char *what)
{
    double most = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, fabs(y[i]));
    for (int i = 0; i < n; i++)
        if (!(fabs(x[i] - y[i]) <= tolerance * (most + 1e-30)))
            fail_msg("%s: value %d is %.9g and %.9g, largest %.9g", what, i, x[i], y[i], most);
}

/* Large enough that operations use several threads. */
static const struct arch middle_llama = {.V = 67,
                                         .context = 256,
                                         .C = 48,
                                         .layers = 2,
                                         .H = 4,
                                         .G = 2,
                                         .D = 12,
                                         .F = 80,
                                         .norm = NORM_RMS,
                                         .position = POSITION_ROTARY,
                                         .mlp = MLP_SWIGLU,
                                         .tied = 1,
                                         .qk_norm = 1,
                                         .norm_eps = 1e-5f,
                                         .rope_theta = 10000};
static const struct arch middle_gpt2 = {.V = 67,
                                        .context = 256,
                                        .C = 48,
                                        .layers = 2,
                                        .H = 4,
                                        .G = 4,
                                        .D = 12,
                                        .F = 96,
                                        .norm = NORM_LAYER,
                                        .position = POSITION_LEARNED,
                                        .mlp = MLP_GELU,
                                        .qkv_bias = 1,
                                        .out_bias = 1,
                                        .mlp_bias = 1,
                                        .norm_eps = 1e-5f};

/* More ids than the fast table reads at once, and a last block of few. */
static const struct arch wide_vocabulary = {.V = 4099,
                                            .context = 256,
                                            .C = 8,
                                            .layers = 1,
                                            .H = 2,
                                            .G = 1,
                                            .D = 4,
                                            .F = 10,
                                            .norm = NORM_RMS,
                                            .position = POSITION_ROTARY,
                                            .mlp = MLP_SWIGLU,
                                            .norm_eps = 1e-5f,
                                            .rope_theta = 10000};

static double *gradient_in_pieces(const struct ops *ops, const struct arch *a, const struct content *c, int threads,
                                  int piece, int shared, int chunk, int *n)
{
    static struct packed p;
    struct rig r;
    pack_groups(&p, c, 0, c->groups, 0);
    rig_open(&r, ops, a, threads, p.rows);
    if (chunk)
        r.layout.chunk = chunk;
    for (int g = 0; g < c->groups; g += piece) {
        pack_groups(&p, c, g, g + piece < c->groups ? g + piece : c->groups, shared);
        backward(&r, &p, 0);
        assert_true(!chunk || r.layout.chunks > 1);
    }
    model_grad_norm(&r.model);
    double *x = all_values(&r.model, 1, n);
    rig_close(&r);
    return x;
}

static void pieces_and_threads(const struct arch *a)
{
    struct content c = random_content(a->V, GROUPS, ANSWER, 3);
    static const struct {
        int threads, piece, chunk;
    } way[] = {{1, 1, 0}, {1, 2, 0}, {1, 3, 0}, {2, GROUPS, 0}, {2, 1, 0}, {3, 2, 0}, {1, GROUPS, GRADIENT_BLOCK}};
    int n, other, most = 0;
    for (int g = 0; g < GROUPS; g++) {
        int entries = 0;
        for (int i = 0; i < c.group[g].samples; i++)
            entries += c.group[g].len[i];
        most = entries > most ? entries : most;
    }
    assert_true(most > GRADIENT_BLOCK); /* a group of several blocks */
    double *want = gradient_in_pieces(&cpu_ops, a, &c, 1, GROUPS, 1, 0, &n);
    for (unsigned i = 0; i < sizeof way / sizeof *way; i++) {
        double *got = gradient_in_pieces(&cpu_ops, a, &c, way[i].threads, way[i].piece, 1, way[i].chunk, &other);
        char what[64];
        snprintf(what, sizeof what, "%d threads, %d groups at once", way[i].threads, way[i].piece);
        assert_int_equal(n, other);
        assert_same_bits(want, got, n, what);
        mem_free(got);
    }
    mem_free(want);
}

static void pieces_and_threads_change_no_bit(void **state)
{
    (void)state;
    pieces_and_threads(&middle_llama);
    pieces_and_threads(&middle_gpt2);
    pieces_and_threads(&tiny_biased);
    assert_true(cpu_ops.head_ids(wide_vocabulary.V) < wide_vocabulary.V);
    pieces_and_threads(&wide_vocabulary);
    const struct arch llama = with_adapters(middle_llama, 5, ALL_OF_LLAMA),
                      gpt2 = with_adapters(middle_gpt2, 8, ALL_OF_GPT2);
    pieces_and_threads(&llama);
    pieces_and_threads(&gpt2);
}

static void shared_prompts_equal_copies(void **state)
{
    (void)state;
    const struct arch *arch[] = {&tiny_gpt2, &tiny_qwen3, &middle_llama, &middle_gpt2, &tiny_untied};
    static struct packed p;
    static double logp[2][ROWS], entropy[2][ROWS];
    for (unsigned i = 0; i < sizeof arch / sizeof *arch; i++) {
        struct content c = random_content(arch[i]->V, GROUPS, ANSWER, 3); /* of several blocks */
        int R = 0, n;
        for (int shared = 0; shared < 2; shared++) {
            struct rig r;
            pack_groups(&p, &c, 0, GROUPS, shared);
            rig_open(&r, &cpu_ops, arch[i], 2, p.rows);
            rig_forward(&r, &p, 0, logp[shared], entropy[shared]);
            rig_close(&r);
            R = p.R;
        }
        assert_same_bits(logp[0], logp[1], R, "log-probability");
        assert_same_bits(entropy[0], entropy[1], R, "entropy");
        double *copies = gradient_in_pieces(&cpu_ops, arch[i], &c, 1, GROUPS, 0, 0, &n);
        double *shared = gradient_in_pieces(&cpu_ops, arch[i], &c, 1, GROUPS, 1, 0, &n);
        assert_near(shared, copies, n, 1e-5, "gradient");
        mem_free(copies);
        mem_free(shared);
        copies = gradient_in_pieces(&ref_ops, arch[i], &c, 1, GROUPS, 0, 0, &n);
        shared = gradient_in_pieces(&ref_ops, arch[i], &c, 1, GROUPS, 1, 0, &n);
        assert_near(shared, copies, n, 1e-12, "gradient in double");
        mem_free(copies);
        mem_free(shared);
    }
}

static void fast_table_near_reference(void **state)
{
    (void)state;
    const struct arch llama = with_adapters(middle_llama, 5, ALL_OF_LLAMA),
                      gpt2 = with_adapters(middle_gpt2, 8, ALL_OF_GPT2);
    const struct arch *arch[] = {&tiny_gpt2,   &tiny_biased, &middle_llama, &middle_gpt2,
                                 &tiny_untied, &llama,       &gpt2,         &wide_vocabulary};
    const struct ops *ops[] = {&ref_ops, &cpu_ops};
    static struct packed p;
    static double logp[2][ROWS], entropy[2][ROWS];
    for (unsigned i = 0; i < sizeof arch / sizeof *arch; i++) {
        struct content c = random_content(arch[i]->V, GROUPS, 40, 21);
        double *grad[2];
        int n;
        pack_groups(&p, &c, 0, GROUPS, 1);
        for (int k = 0; k < 2; k++) {
            struct rig r;
            rig_open(&r, ops[k], arch[i], 2, p.rows);
            rig_forward(&r, &p, 0, logp[k], entropy[k]);
            model_backward(&r.model, &r.tape, &r.layout, p.glogp, p.gentropy);
            model_grad_norm(&r.model);
            grad[k] = all_values(&r.model, 1, &n);
            rig_close(&r);
        }
        assert_near(logp[1], logp[0], p.R, 3e-6, "log-probability");
        assert_near(entropy[1], entropy[0], p.R, 3e-6, "entropy");
        assert_near(grad[1], grad[0], n, 1e-5, "gradient");
        mem_free(grad[0]);
        mem_free(grad[1]);
    }
}

/* The tape that keeps nothing computes the same as the one that keeps everything. */
static void keeping_changes_no_bit(void **state)
{
    (void)state;
    static struct packed p;
    static double logp[2][ROWS], entropy[2][ROWS];
    const struct arch a = with_adapters(middle_llama, 4, ALL_OF_LLAMA);
    struct content c = random_content(a.V, GROUPS, 70, 9);
    pack_groups(&p, &c, 0, GROUPS, 1);
    for (int keep = 0; keep < 2; keep++) {
        struct rig r;
        rig_open(&r, &cpu_ops, &a, 2, p.rows);
        tape_free(&r.tape);
        tape_plan(&r.tape, &a, &r.dev, p.rows, p.R, p.rows + KV_ALIGN * p.segments, keep ? KEEP_ALL : KEEP_NOTHING);
        tape_commit(&r.tape);
        rig_forward(&r, &p, 0, logp[keep], entropy[keep]);
        rig_close(&r);
    }
    assert_same_bits(logp[0], logp[1], p.R, "log-probability");
    assert_same_bits(entropy[0], entropy[1], p.R, "entropy");
}

/* Gradients of one batch from a tape that keeps so much. */
static double *gradient_kept(const struct ops *ops, const struct arch *a, const struct packed *p, enum keep keep,
                             int of_values, size_t *tape_bytes, int *n)
{
    struct rig r;
    rig_open(&r, ops, a, 2, p->rows);
    tape_free(&r.tape);
    tape_plan(&r.tape, a, &r.dev, p->rows, p->R, p->rows + KV_ALIGN * p->segments, keep);
    tape_commit(&r.tape);
    *tape_bytes = r.tape.arena.total;
    for (int again = 0; again < 2; again++) { /* the second time into used buffers */
        rig_forward(&r, p, 0, NULL, NULL);
        if (of_values) {
            static double value[ROWS];
            model_value(&r.model, &r.tape, &r.layout, value);
            model_value_backward(&r.model, &r.tape, &r.layout, p->glogp);
        } else {
            model_backward(&r.model, &r.tape, &r.layout, p->glogp, p->gentropy);
        }
    }
    model_grad_norm(&r.model);
    double *x = all_values(&r.model, 1, n);
    rig_close(&r);
    return x;
}

static void computing_again_changes_no_bit(void **state)
{
    (void)state;
    struct arch critic = tiny_llama, one = middle_gpt2, deep = middle_llama;
    critic.value_head = one.layers = 1;
    deep.layers = 5;
    const struct arch llama = with_adapters(middle_llama, 4, ALL_OF_LLAMA);
    const struct arch *arch[] = {&tiny_gpt2, &tiny_biased, &middle_gpt2, &one, &deep, &llama, &critic};
    static struct packed p;
    for (unsigned i = 0; i < sizeof arch / sizeof *arch; i++)
        for (int table = 0; table < 2; table++) {
            const struct ops *ops = table ? &cpu_ops : &ref_ops;
            struct content c = random_content(arch[i]->V, GROUPS, 30, 9);
            size_t bytes[2];
            int n;
            pack_groups(&p, &c, 0, GROUPS, 1);
            double *kept = gradient_kept(ops, arch[i], &p, KEEP_ALL, arch[i]->value_head, &bytes[0], &n);
            double *again = gradient_kept(ops, arch[i], &p, KEEP_INPUTS, arch[i]->value_head, &bytes[1], &n);
            assert_same_bits(kept, again, n, "gradient from layers computed again");
            assert_true(bytes[1] < bytes[0] || arch[i]->layers == 1);
            mem_free(kept);
            mem_free(again);
        }
}

/* ---- optimiser ---- */

struct plain { /* everything the plain loop knows, all tensors one after the other */
    double *w, *g, *m, *v;
    int n;
};

static void plain_step(struct plain *x, const struct model *model, const struct optimiser *o, int step)
{
    double norm = 0;
    for (int i = 0; i < x->n; i++)
        norm += x->g[i] * x->g[i];
    norm = sqrt(norm);
    double scale = o->clip > 0 && norm > o->clip ? o->clip / norm : 1;
    for (int t = model->first, at = 0; t < model->tensors; t++) {
        int matrix = model->first || strncmp(model->tensor[t].name, "w", 1) == 0 ||
                     strstr(model->tensor[t].name, "qkv.w") || strstr(model->tensor[t].name, "out.w") ||
                     strstr(model->tensor[t].name, "up.w") || strstr(model->tensor[t].name, "down.w");
        for (int k = 0; k < model->tensor[t].N * model->tensor[t].K; k++, at++) {
            double g = x->g[at] * scale;
            x->m[at] = o->beta1 * x->m[at] + (1 - o->beta1) * g;
            x->v[at] = o->beta2 * x->v[at] + (1 - o->beta2) * g * g;
            double m = x->m[at] / (1 - pow(o->beta1, step)), v = x->v[at] / (1 - pow(o->beta2, step));
            x->w[at] -= o->lr * (m / (sqrt(v) + o->eps) + (matrix ? o->weight_decay * x->w[at] : 0));
        }
    }
}

static void random_gradient(struct model *m, uint64_t seed)
{
    model_zero_grad(m);
    for (int i = m->first; i < m->tensors; i++) {
        int n = m->tensor[i].N * m->tensor[i].K;
        double *x = mem_alloc((size_t)n, sizeof *x);
        for (int k = 0; k < n; k++)
            x[k] = (float)rng_normal(rng_stream(seed, RNG_TEST, 2, (uint64_t)i, 0), (uint64_t)k);
        model_write(m, i, 1, 0, m->tensor[i].N, x);
        mem_free(x);
    }
}

/* The last x->n of the weights. */
static double *trained_weights(struct model *m, const struct plain *x)
{
    int n;
    double *all = all_values(m, 0, &n), *w = mem_alloc((size_t)x->n, sizeof *w);
    memcpy(w, all + n - x->n, (size_t)x->n * sizeof *w);
    mem_free(all);
    return w;
}

static void check_optimiser(const struct ops *ops, const struct arch *a, double clip, double tolerance)
{
    struct error e;
    struct device d;
    struct model m;
    /* powers of two: exact as floats, so that the plain loop in double is given the same numbers */
    struct optimiser o = {0.015625, 0.875, 0.96875, 1.0 / (1 << 20), 0.0625, clip};
    struct plain x;
    assert_int_equal(device_open(&d, ops, 2, &e), 0);
    assert_int_equal(model_create(&m, a, 1, &d, 1, &e), 0);
    random_weights(&m, 2);
    x.n = (int)arch_trained(a);
    x.w = trained_weights(&m, &x);
    x.m = mem_alloc((size_t)x.n, sizeof *x.m);
    x.v = mem_alloc((size_t)x.n, sizeof *x.v);
    for (int step = 1; step <= 3; step++) {
        random_gradient(&m, (uint64_t)step);
        x.g = all_values(&m, 1, &x.n);
        double norm = 0;
        for (int i = 0; i < x.n; i++)
            norm += x.g[i] * x.g[i];
        double said = model_grad_norm(&m);
        assert_true(fabs(said - sqrt(norm)) <= 1e-9 * said);
        model_step(&m, &o, said);
        plain_step(&x, &m, &o, step);
        int n;
        double *w = trained_weights(&m, &x), *m1 = all_values(&m, 2, &n), *m2 = all_values(&m, 3, &n);
        assert_near(w, x.w, n, tolerance, "weights");
        assert_near(m1, x.m, n, tolerance, "first moments");
        assert_near(m2, x.v, n, tolerance, "second moments");
        assert_int_equal(m.steps, step);
        double *buffer[] = {w, m1, m2, x.g};
        for (int i = 0; i < 4; i++)
            mem_free(buffer[i]);
    }
    mem_free(x.w);
    mem_free(x.m);
    mem_free(x.v);
    assert_guards(&m.arena);
    model_free(&m);
    device_close(&d);
}

static void optimiser_equals_plain_loop(void **state)
{
    (void)state;
    /* the scale of clipping and the bias corrections pass through floats */
    const struct arch adapters = with_adapters(tiny_gpt2, 3, ALL_OF_GPT2), *arch[] = {&tiny_gpt2, &adapters};
    for (int i = 0; i < 2; i++) {
        check_optimiser(&ref_ops, arch[i], 0, 2e-7);
        check_optimiser(&ref_ops, arch[i], 0.5, 2e-7);
        check_optimiser(&cpu_ops, arch[i], 0, 1e-6);
        check_optimiser(&cpu_ops, arch[i], 0.5, 1e-6);
        check_optimiser(&cpu_ops, arch[i], 1e9, 1e-6);
    }
}

/* ---- sizes and tables ---- */

/* Frequencies read off the table's first position, against values computed by hand from the published rules:
 * wavelengths are 6.28, 62.8, 628 and 6283 tokens; llama3 with 64 original positions leaves those below 64/4 alone,
 * divides those above 64/1 by 8 and blends the second: s = (64/62.832 - 1)/3 = 0.0061972, (1 - s)/80 + s/10 =
 * 0.0130423. */
static void rotary_table_as_published(void **state)
{
    (void)state;
    static const double want[3][4] = {
        {1, 0.1, 0.01, 0.001}, {0.125, 0.0125, 0.00125, 0.000125}, {1, 0.0130423, 0.00125, 0.000125}};
    for (int kind = 0; kind < 3; kind++) {
        struct arch a = tiny_llama;
        struct rig r;
        double row[8];
        a.D = 8;
        a.rope_theta = 10000;
        a.rope_scaling.kind = kind;
        a.rope_scaling.factor = 8;
        a.rope_scaling.low = 1;
        a.rope_scaling.high = 4;
        a.rope_scaling.original = 64;
        rig_open(&r, &ref_ops, &a, 1, 4);
        for (int t = 1; t < 3; t++) {
            r.dev.ops->download(&r.dev, row, dev_at(&r.dev, r.model.rope, (size_t)t * 8), 8);
            for (int i = 0; i < 4; i++)
                assert_true(fabs(atan2(row[2 * i + 1], row[2 * i]) / t - want[kind][i]) < 1e-7);
        }
        rig_close(&r);
    }
}

static void parameters_are_counted(void **state)
{
    (void)state;
    /* published counts: GPT-2 small, SmolLM2-135M, Llama 3.2 1B, stories260K (260,032 without its unused tables) */
    assert_int_equal(arch_parameters(&preset_find("gpt2")->arch), 124439808);
    assert_int_equal(arch_parameters(&preset_find("gpt2-xl")->arch), 1557611200);
    assert_int_equal(arch_parameters(&preset_find("llama-135m")->arch), 134515008);
    assert_int_equal(arch_parameters(&preset_find("llama-1b")->arch), 1235814400);
    assert_int_equal(arch_parameters(&preset_find("story-llama")->arch), 260032);
    const struct arch *arch[] = {&tiny_gpt2, &tiny_biased, &tiny_untied, &middle_gpt2};
    for (unsigned i = 0; i < sizeof arch / sizeof *arch; i++) {
        struct rig r;
        int n;
        rig_open(&r, &cpu_ops, arch[i], 1, 4);
        double *x = all_values(&r.model, 0, &n);
        assert_int_equal(n, arch_parameters(arch[i]));
        mem_free(x);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_gpt2),
        cmocka_unit_test(gradient_llama),
        cmocka_unit_test(gradient_qwen2),
        cmocka_unit_test(gradient_qwen3),
        cmocka_unit_test(gradient_biased),
        cmocka_unit_test(gradient_untied),
        cmocka_unit_test(gradient_of_all_tokens),
        cmocka_unit_test(gradient_of_values),
        cmocka_unit_test(gradient_of_adapters),
        cmocka_unit_test(copy_beside_a_value_head),
        cmocka_unit_test(shared_prompts_equal_copies),
        cmocka_unit_test(fast_table_near_reference),
        cmocka_unit_test(keeping_changes_no_bit),
        cmocka_unit_test(computing_again_changes_no_bit),
        cmocka_unit_test(pieces_and_threads_change_no_bit),
        cmocka_unit_test(optimiser_equals_plain_loop),
        cmocka_unit_test(rotary_table_as_published),
        cmocka_unit_test(parameters_are_counted),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
