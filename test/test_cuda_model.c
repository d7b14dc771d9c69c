/* The whole model with the CUDA table in the CPU's place, by the means of test_model.c: loss and gradients against the
 * reference, the optimiser against a plain loop, the same bits however a batch is cut, and twenty steps of training
 * side by side with the reference and the processor. */
#include "../model/backend.h"
static const struct ops *const processor = &cpu_ops;
#define cpu_ops cuda_ops
#define main    main_of_all
#pragma GCC diagnostic ignored "-Wunused-function" /* the others are about the reference */
#include "test_model.c"
#undef main

static void pieces_and_orders_change_no_bit(void **state)
{
    (void)state;
    const struct arch *arch[] = {&tiny_gpt2, &tiny_qwen3};
    for (int i = 0; i < 2; i++) {
        struct content c = random_content(arch[i]->V, GROUPS, 20, 3);
        int n, other;
        double *want = gradient_in_pieces(&cuda_ops, arch[i], &c, 1, GROUPS, 1, 0, &n);
        for (int way = 2; way <= 3; way++) {
            double *got = gradient_in_pieces(&cuda_ops, arch[i], &c, way, way, 1, 0, &other);
            assert_int_equal(n, other);
            assert_same_bits(want, got, n, "gradient in pieces");
            mem_free(got);
        }
        mem_free(want);
    }
}

/* Log-probabilities of the batch after each of some steps that make its tokens likelier. */
enum { STEPS = 20 };
static void train(const struct ops *ops, const struct arch *a, const struct packed *p, double logp[STEPS][ROWS])
{
    /* an epsilon far above the error of a gradient: without it a gradient near zero steps by its sign */
    const struct optimiser o = {0.01, 0.9, 0.95, 1e-2, 0.01, 1};
    static double glogp[ROWS], zero[ROWS];
    struct rig r;
    for (int i = 0; i < p->R; i++)
        glogp[i] = -1.0 / p->R;
    rig_open(&r, ops, a, 1, p->rows);
    for (int step = 0; step < STEPS; step++) {
        model_zero_grad(&r.model);
        rig_forward(&r, p, 1, logp[step], NULL);
        model_backward(&r.model, &r.tape, &r.layout, glogp, zero);
        model_step(&r.model, &o, model_grad_norm(&r.model));
    }
    rig_close(&r);
}

static double root_mean_square(double a[STEPS][ROWS], double b[STEPS][ROWS], int n)
{
    double sum = 0;
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < n; i++)
            sum += (a[step][i] - b[step][i]) * (a[step][i] - b[step][i]);
    return sqrt(sum / STEPS / n);
}

static void twenty_steps_side_by_side(void **state)
{
    (void)state;
    static double want[STEPS][ROWS], host[STEPS][ROWS], got[STEPS][ROWS];
    static struct packed p;
    const struct arch *arch[] = {&tiny_gpt2, &tiny_biased};
    for (int i = 0; i < 2; i++) {
        struct content c = random_content(arch[i]->V, 2, 12, 31);
        c.plain = 1;
        pack_groups(&p, &c, 0, 2, 1);
        train(&ref_ops, arch[i], &p, want);
        train(processor, arch[i], &p, host);
        train(&cuda_ops, arch[i], &p, got);
        double first = 0, last = 0;
        for (int k = 0; k < p.R; k++) {
            first += got[0][k] / p.R;
            last += got[STEPS - 1][k] / p.R;
        }
        assert_true(last > first + 0.1); /* it learns */
        double ours = root_mean_square(got, want, p.R), theirs = root_mean_square(host, want, p.R);
        if (!(ours <= 3 * theirs))
            fail_msg("errors over %d steps: CUDA %.3g, processor %.3g", STEPS, ours, theirs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_table_near_reference),       cmocka_unit_test(keeping_changes_no_bit),
        cmocka_unit_test(pieces_and_orders_change_no_bit), cmocka_unit_test(optimiser_equals_plain_loop),
        cmocka_unit_test(twenty_steps_side_by_side),
    };
    return cmocka_run_group_tests_name("the model on the CUDA table", tests, NULL, NULL);
}
