/* Low-rank adapters: what they compute against the same function in ordinary weights, which matrices a name means, how
 * they begin, models that share their weights. Gradients are in test_model.c, sampling against training in
 * test_generate.c, files in test_lora_files.c.
 */
#include "../model/lora.h"
#include "model_batch.h" /* last: cmocka has a macro fail */

static const struct content *content_of(int V)
{
    static struct content c;
    c = random_content(V, GROUPS, 40, 31);
    return &c;
}

static double largest_difference(const double *x, const double *y, int n)
{
    double most = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, fabs(x[i] - y[i]));
    return most;
}

/* ---- the function ---- */

/* Row n of a matrix under scale B A, written out from the tensors' plain values. */
static void add_product(const struct model *m, int layer, int j, int n, double *row)
{
    const struct adapter *x = &m->adapter[j];
    int A = m->first + 2 * (layer * m->adapters + j), rank = m->arch.lora.rank;
    float scale = (float)(m->arch.lora.root ? m->arch.lora.alpha / sqrt(rank) : m->arch.lora.alpha / rank);
    double b[16], a[128];
    model_read(m, A + 1, 0, n, 1, b);
    for (int i = 0; i < rank; i++) {
        model_read(m, A, 0, i, 1, a);
        for (int k = 0; k < x->K; k++)
            row[k] += scale * b[i] * a[k];
    }
}

/* The base's tensors into a model without adapters, with the products added by hand: first row and matrix of every
 * adapter from the names of its family. */
static void fold(struct model *to, const struct model *from)
{
    double row[128];
    for (int i = 0; i < to->tensors; i++)
        for (int n = 0; n < to->tensor[i].N; n++) {
            model_read(from, i, 0, n, 1, row);
            for (int layer = 0; layer < from->arch.layers; layer++)
                for (int j = 0; j < from->adapters; j++) {
                    const struct adapter *x = &from->adapter[j];
                    if (from->layer[layer][x->weight] == i && n >= x->row && n < x->row + x->N)
                        add_product(from, layer, j, n - x->row, row);
                }
            model_write(to, i, 0, n, 1, row);
        }
}

static void check_function(const struct ops *ops, struct arch a, double tolerance)
{
    static struct packed p;
    static double logp[3][ROWS], entropy[ROWS];
    struct rig with, folded;
    struct arch plain = a;
    plain.lora = (struct lora){0};
    pack_groups(&p, content_of(a.V), 0, GROUPS, 1);
    rig_open(&with, ops, &a, 2, p.rows);
    rig_open(&folded, ops, &plain, 2, p.rows);
    rig_forward(&folded, &p, 1, logp[2], entropy); /* random weights without the adapters */
    fold(&folded.model, &with.model);
    rig_forward(&with, &p, 1, logp[0], entropy);
    rig_forward(&folded, &p, 1, logp[1], entropy);
    assert_true(largest_difference(logp[0], logp[1], p.R) < tolerance);
    assert_true(largest_difference(logp[0], logp[2], p.R) > 0.01); /* they do something */
    lora_merge(&with.model);
    rig_forward(&with, &p, 1, logp[0], entropy);
    assert_true(largest_difference(logp[0], logp[1], p.R) < tolerance);
    rig_close(&with);
    rig_close(&folded);
}

static void adapters_compute_what_merged_weights_compute(void **state)
{
    (void)state;
    static const struct arch *const llamas[] = {&tiny_llama, &tiny_qwen2, &tiny_qwen3};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned bit = 0; bit <= 7; bit++) { /* each alone, then all */
            struct arch a = with_adapters(*llamas[i], 3, bit < 7 ? 1u << bit : ALL_OF_LLAMA);
            a.lora.root = bit == 7;
            check_function(&ref_ops, a, 1e-10);
            check_function(&cpu_ops, a, 2e-5);
        }
    for (unsigned bit = 0; bit <= 4; bit++) {
        struct arch a = with_adapters(tiny_gpt2, 3, bit < 4 ? 1u << bit : ALL_OF_GPT2);
        check_function(&ref_ops, a, 1e-10);
        check_function(&cpu_ops, a, 2e-5);
    }
}

/* ---- training ---- */

static void only_adapters_move(void **state)
{
    (void)state;
    static struct packed p;
    static double logp[ROWS], entropy[ROWS];
    const struct optimiser o = {0.01, 0.9, 0.95, 1e-8, 0.1, 1};
    const struct arch a = with_adapters(tiny_llama, 2, ALL_OF_LLAMA);
    struct rig r, untouched;
    double before[64], after[64];
    pack_groups(&p, content_of(a.V), 0, GROUPS, 1);
    rig_open(&r, &cpu_ops, &a, 1, p.rows);
    rig_open(&untouched, &cpu_ops, &a, 1, p.rows);
    model_zero_grad(&r.model);
    rig_forward(&r, &p, 1, logp, entropy);
    model_backward(&r.model, &r.tape, &r.layout, p.glogp, p.gentropy);
    model_step(&r.model, &o, model_grad_norm(&r.model));
    for (int i = 0; i < r.model.tensors; i++)
        for (int n = 0; n < r.model.tensor[i].N; n++) {
            size_t bytes = (size_t)r.model.tensor[i].K * sizeof *before;
            model_read(&untouched.model, i, 0, n, 1, before);
            model_read(&r.model, i, 0, n, 1, after);
            assert_int_equal(memcmp(before, after, bytes) == 0, i < r.model.first);
        }
    rig_close(&untouched);
    rig_close(&r);
}

/* Memory: what is trained has a gradient and two moments, what is frozen nothing. */
static void frozen_weights_cost_nothing_more(void **state)
{
    (void)state;
    const struct arch plain = preset_find("small-gpt2")->arch, a = with_adapters(plain, 4, ALL_OF_GPT2);
    struct device d;
    struct model full, lora;
    struct error e;
    assert_int_equal(device_open(&d, &cpu_ops, 1, &e), 0);
    assert_int_equal(model_create(&full, &plain, 1, &d, 1, &e), 0);
    assert_int_equal(model_create(&lora, &a, 1, &d, 1, &e), 0);
    size_t weights = (size_t)arch_parameters(&a) * sizeof(float), own = (size_t)arch_trained(&a) * sizeof(float);
    assert_true(model_bytes(&full, 0) > 4 * weights);
    assert_true(model_bytes(&lora, 1) >= 4 * own);
    assert_true(model_bytes(&lora, 0) < model_bytes(&full, 0) / 2);
    assert_int_equal(model_bytes(&lora, 0) - model_bytes(&lora, 1), model_bytes(&full, 0) - model_bytes(&full, 1));
    model_free(&full);
    model_free(&lora);
    device_close(&d);
}

/* rank (N + K) an adapter, by hand: tiny-llama has width 64, q, k, v, o 64 x 64, gate and up 176 x 64, down 64 x 176,
 * two layers. */
static void trained_parameters_are_counted(void **state)
{
    (void)state;
    struct arch a = with_adapters(preset_find("tiny-llama")->arch, 4, ALL_OF_LLAMA);
    assert_int_equal(arch_trained(&a), 2 * 4 * (4 * (64 + 64) + 3 * (64 + 176)));
    a.lora.targets = 1 << 0 | 1 << 2;
    assert_int_equal(arch_trained(&a), 2 * 4 * 2 * (64 + 64));
    a.value_head = 1;
    assert_int_equal(arch_trained(&a), 2 * 4 * 2 * (64 + 64) + 65);
    a.lora.rank = 0;
    assert_int_equal(arch_trained(&a), arch_parameters(&a));
    a = with_adapters(preset_find("gpt2")->arch, 8, 1); /* c_attn of GPT-2 small, as PEFT counts it */
    assert_int_equal(arch_trained(&a), 294912);
}

/* ---- beginning ---- */

static void they_begin_as_nothing(void **state)
{
    (void)state;
    const struct arch plain = preset_find("tiny-llama")->arch, a = with_adapters(plain, 8, ALL_OF_LLAMA);
    struct device d;
    struct model base, m;
    struct error e;
    double x[256], y[256];
    assert_int_equal(device_open(&d, &cpu_ops, 1, &e), 0);
    assert_int_equal(model_create(&base, &plain, 1, &d, 0, &e), 0);
    assert_int_equal(model_create(&m, &a, 1, &d, 1, &e), 0);
    model_init(&base, 7);
    model_init(&m, 7);
    for (int i = 0; i < base.tensors; i++)
        for (int n = 0; n < base.tensor[i].N; n++) { /* adapters change nothing of how the rest begins */
            model_read(&base, i, 0, n, 1, x);
            model_read(&m, i, 0, n, 1, y);
            assert_memory_equal(x, y, (size_t)base.tensor[i].K * sizeof *x);
        }
    uint64_t drawn = model_hash(&m);
    for (int i = m.first; i < m.tensors; i++) {
        const struct tensor *t = &m.tensor[i];
        int isB = (i - m.first) % 2;
        double most = 0, square = 0;
        for (int n = 0; n < t->N; n++) {
            model_read(&m, i, 0, n, 1, x);
            for (int k = 0; k < t->K; k++) {
                most = fmax(most, fabs(x[k]));
                square += x[k] * x[k] / ((double)t->N * t->K);
            }
        }
        if (isB) {
            assert_true(most == 0);
        } else { /* uniform: variance bound^2 / 3, bound 1/sqrt(K); at least 512 values */
            assert_true(most <= 1 / sqrt(t->K) * (1 + 1e-6) && most > 0.97 / sqrt(t->K));
            assert_true(fabs(square * 3 * t->K - 1) < 0.2);
        }
    }
    model_write(&m, m.first, 0, 0, 1, x);
    model_init_adapters(&m, 7);
    assert_int_equal(model_hash(&m), drawn);
    model_init_adapters(&m, 8);
    assert_true(model_hash(&m) != drawn);
    model_free(&base);
    model_free(&m);
    device_close(&d);
}

/* ---- sharing ---- */

static void forward_of(struct rig *r, const struct model *m, const struct packed *p, double *logp)
{
    set_batch(&r->layout, p, 1);
    model_forward(m, &r->tape, &r->layout.rows, r->tape.kv, 0, r->tape.store);
    model_head(m, &r->tape, &r->layout, logp, NULL);
}

static void models_share_weights(void **state)
{
    (void)state;
    static struct packed p;
    static double policy[ROWS], ref[ROWS], later[ROWS];
    struct arch a = with_adapters(preset_find("nano-llama")->arch, 4, ALL_OF_LLAMA), scalar = a;
    scalar.value_head = 1;
    struct rig r;
    struct model frozen, critic;
    struct error e;
    double x[128], y[128] = {1, 2, 3};
    pack_groups(&p, content_of(a.V), 0, GROUPS, 1);
    rig_open(&r, &cpu_ops, &a, 2, p.rows);
    model_init_adapters(&r.model, 3);
    assert_int_equal(model_share(&frozen, &a, &r.model, 0, &e), 0);
    assert_int_equal(model_share(&critic, &scalar, &r.model, 1, &e), 0);
    assert_ptr_equal(frozen.param.p, r.model.param.p);
    assert_int_equal(r.model.weights->users, 3);

    model_copy(&frozen, &r.model); /* B is 0: it runs without adapters, and says the same */
    assert_true(frozen.plain);
    forward_of(&r, &r.model, &p, policy);
    forward_of(&r, &frozen, &p, ref);
    assert_memory_equal(policy, ref, (size_t)p.R * sizeof *ref);

    double old = 0.25;
    int B = r.model.first + 1;
    model_read(&r.model, B, 0, 3, 1, x);
    x[1] = old;
    model_write(&r.model, B, 0, 3, 1, x);
    forward_of(&r, &r.model, &p, policy);
    forward_of(&r, &frozen, &p, later); /* the policy moves, the reference does not */
    assert_memory_equal(later, ref, (size_t)p.R * sizeof *ref);
    assert_memory_not_equal(later, policy, (size_t)p.R * sizeof *ref);
    model_copy(&frozen, &r.model); /* adapters that do something are copied and computed */
    assert_false(frozen.plain);
    forward_of(&r, &frozen, &p, later);
    assert_memory_equal(later, policy, (size_t)p.R * sizeof *ref);

    model_write(&critic, critic.value_w, 0, 0, 1, y);
    model_copy(&critic, &r.model); /* adapters, not the head */
    model_read(&critic, critic.value_w, 0, 0, 1, x);
    assert_memory_equal(x, y, (size_t)a.C * sizeof *x);
    model_read(&critic, critic.first + 1, 0, 3, 1, x);
    assert_true(x[1] == old);

    model_free(&critic); /* in any order */
    model_free(&frozen);
    assert_int_equal(r.model.weights->users, 1);
    rig_close(&r);
}

/* ---- names ---- */

static void names_of_maps(void **state)
{
    (void)state;
    static const struct {
        const struct arch *arch;
        const char *names;
        unsigned targets; /* 0: refused */
    } c[] = {{&tiny_llama, "all", 127},
             {&tiny_llama, "q,v", 5},
             {&tiny_llama, " q_proj, self_attn.v_proj ", 5},
             {&tiny_llama, "k o gate up down", 2 | 8 | 16 | 32 | 64},
             {&tiny_llama, "q,q_proj", 1},
             {&tiny_qwen3, "mlp.down_proj", 64},
             {&tiny_gpt2, "all", 15},
             {&tiny_gpt2, "c_attn", 1},
             {&tiny_gpt2, "c_proj", 2 | 8},
             {&tiny_gpt2, "attn.c_proj c_fc", 2 | 4},
             {&tiny_gpt2, "mlp.c_proj", 8},
             {&tiny_llama, "", 0},
             {&tiny_llama, "proj", 0},
             {&tiny_llama, "_proj", 0},
             {&tiny_llama, "attn.q_proj", 0},
             {&tiny_llama, "q_proj.weight", 0},
             {&tiny_llama, "lm_head", 0},
             {&tiny_llama, "c_attn", 0},
             {&tiny_gpt2, "q", 0},
             {&tiny_gpt2, "attn", 0}};
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++) {
        unsigned targets = 99;
        struct error e = {{0}};
        int status = lora_targets(c[i].arch, c[i].names, &targets, &e);
        if (status != (c[i].targets ? 0 : -1) || (!status && targets != c[i].targets))
            fail_msg("'%s': status %d, targets %u, %s", c[i].names, status, targets, e.text);
        if (status && c[i].names[0])
            assert_non_null(strstr(e.text, c[i].arch == &tiny_gpt2 ? "attn.c_attn" : "self_attn.q_proj"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters_compute_what_merged_weights_compute),
        cmocka_unit_test(only_adapters_move),
        cmocka_unit_test(frozen_weights_cost_nothing_more),
        cmocka_unit_test(trained_parameters_are_counted),
        cmocka_unit_test(they_begin_as_nothing),
        cmocka_unit_test(models_share_weights),
        cmocka_unit_test(names_of_maps),
    };
    return cmocka_run_group_tests_name("lora", tests, NULL, NULL);
}
