/* The whole model in mixed precision against the reference in double precision: log-probabilities, entropies,
 * gradients, and twenty optimiser steps side by side, for the table that the including file calls cpu_ops; it also
 * defines PER_LAYER, how many roundings to bf16, each of at most U = 2^-8 of a number and independent in sign, stand on
 * the way through a layer, and CHECK_COPIES(model). The budget takes all of them, and two at the head, at their largest
 * in the same direction for a vector's length, which is far above what is measured (the test prints it) and far below
 * what a wrong term would give: a gradient without one of its parts is off by tens of percent. */
#ifndef BF16_MODEL_H
#define BF16_MODEL_H
#include "../model/lora.h"
#define main main_of_all
#pragma GCC diagnostic ignored "-Wunused-function" /* the others are about fp32 */
#include "test_model.c"
#undef main

static const double U = 0x1p-8;

static double budget(const struct arch *a)
{
    return U * (PER_LAYER * a->layers + 2);
}

/* |x - y| / |y|, as vectors. */
static double apart(const double *x, const double *y, int n)
{
    double difference = 0, length = 0;
    for (int i = 0; i < n; i++) {
        difference += (x[i] - y[i]) * (x[i] - y[i]);
        length += y[i] * y[i];
    }
    return sqrt(difference / (length > 0 ? length : 1));
}

static void check_apart(const struct arch *a, const double *x, const double *y, int n, const char *what)
{
    double far = apart(x, y, n);
    print_message("%s: %.2g of the length, budget %.2g\n", what, far, budget(a));
    if (!(far <= budget(a)))
        fail_msg("%s: off by %.3g of the length, budget %.3g", what, far, budget(a));
    assert_true(far > 0); /* it is bf16 */
}

/* Gradients tensor by tensor, so that a small one counts as much as the embedding. */
static void check_gradients(const struct arch *a, const struct model *m, const double *x, const double *y)
{
    double worst = 0;
    int at = 0, which = 0;
    for (int i = m->first; i < m->tensors; i++) {
        int n = m->tensor[i].N * m->tensor[i].K;
        double far = apart(x + at, y + at, n);
        at += n;
        which = far > worst ? i : which;
        worst = far > worst ? far : worst;
        if (!(far <= budget(a)))
            fail_msg("gradient of %s: off by %.3g of its length, budget %.3g", m->tensor[i].name, far, budget(a));
    }
    print_message("gradients: at most %.2g of a tensor's length (%s), budget %.2g\n", worst, m->tensor[which].name,
                  budget(a));
}

static void near_reference(const struct arch *a)
{
    const struct ops *ops[] = {&ref_ops, &cpu_ops};
    static struct packed p;
    static double logp[2][ROWS], entropy[2][ROWS];
    struct content c = random_content(a->V, GROUPS, 12, 21);
    double *grad[2];
    int n;
    pack_groups(&p, &c, 0, GROUPS, 1);
    for (int k = 0; k < 2; k++) {
        struct rig r;
        rig_open(&r, ops[k], a, 1, p.rows);
        rig_forward(&r, &p, 0, logp[k], entropy[k]);
        model_backward(&r.model, &r.tape, &r.layout, p.glogp, p.gentropy);
        model_grad_norm(&r.model);
        grad[k] = all_values(&r.model, 1, &n);
        if (k == 1) {
            check_apart(a, logp[1], logp[0], p.R, "log-probability");
            check_apart(a, entropy[1], entropy[0], p.R, "entropy");
            check_gradients(a, &r.model, grad[1], grad[0]);
        }
        rig_close(&r);
    }
    mem_free(grad[0]);
    mem_free(grad[1]);
}

static void model_near_reference(void **state)
{
    (void)state;
    const struct arch llama = with_adapters(middle_llama, 5, ALL_OF_LLAMA),
                      gpt2 = with_adapters(middle_gpt2, 8, ALL_OF_GPT2);
    near_reference(&tiny_gpt2);
    near_reference(&tiny_biased);
    near_reference(&middle_llama);
    near_reference(&llama);
    near_reference(&gpt2);
}

enum { STEPS = 20 };
static void train(const struct ops *ops, const struct arch *a, const struct packed *p, double mean[STEPS])
{
    const struct optimiser o = {0.01, 0.9, 0.95, 1e-2, 0.01, 1};
    static double logp[ROWS], glogp[ROWS], zero[ROWS];
    struct rig r;
    for (int i = 0; i < p->R; i++)
        glogp[i] = -1.0 / p->R;
    rig_open(&r, ops, a, 1, p->rows);
    for (int step = 0; step < STEPS; step++) {
        model_zero_grad(&r.model);
        rig_forward(&r, p, 1, logp, NULL);
        model_backward(&r.model, &r.tape, &r.layout, glogp, zero);
        model_step(&r.model, &o, model_grad_norm(&r.model));
        mean[step] = 0;
        for (int i = 0; i < p->R; i++)
            mean[step] += logp[i] / p->R;
        if (ops == &cpu_ops && step % 10 == 0)
            CHECK_COPIES(&r.model);
    }
    rig_close(&r);
}

/* The loss of every step, off by at most a hundredth of what twenty steps change. */
static void twenty_steps_side_by_side(void **state)
{
    (void)state;
    static struct packed p;
    const struct arch llama = with_adapters(middle_llama, 5, ALL_OF_LLAMA);
    const struct arch *arch[] = {&tiny_gpt2, &tiny_biased, &llama};
    for (int i = 0; i < 3; i++) {
        double want[STEPS], got[STEPS], most = 0;
        struct content c = random_content(arch[i]->V, 2, 12, 31);
        c.plain = 1;
        pack_groups(&p, &c, 0, 2, 1);
        train(&ref_ops, arch[i], &p, want);
        train(&cpu_ops, arch[i], &p, got);
        for (int step = 0; step < STEPS; step++)
            most = fabs(got[step] - want[step]) > most ? fabs(got[step] - want[step]) : most;
        print_message("twenty steps: loss %.4f to %.4f, off by at most %.2g\n", -want[0], -want[STEPS - 1], most);
        assert_true(want[STEPS - 1] > want[0] + 0.05); /* it learns */
        assert_true(most <= 0.01 * (want[STEPS - 1] - want[0]));
    }
}

static void copies_follow(void **state)
{
    (void)state;
    static struct packed p;
    const struct arch a = with_adapters(middle_llama, 4, ALL_OF_LLAMA);
    struct content c = random_content(a.V, 1, 8, 3);
    struct rig r, other;
    pack_groups(&p, &c, 0, 1, 1);
    rig_open(&r, &cpu_ops, &a, 1, p.rows);
    rig_open(&other, &cpu_ops, &a, 1, p.rows);
    assert_copies(&r.model);
    model_init(&other.model, 77);
    model_copy(&r.model, &other.model);
    assert_copies(&r.model);
    lora_merge(&r.model);
    assert_copies(&r.model);
    rig_close(&r);
    rig_close(&other);
}

#endif
