/* The whole model in CUDA's mixed precision (bf16_model.h). In a layer's attention half stand eight roundings (norm,
 * weights, queries, keys, values, probabilities, attention, weights), in its MLP half five. */
#define cpu_ops             cuda_bf16_ops
#define CHECK_COPIES(model) assert_copies(model)
enum { PER_LAYER = 13 };
struct model;
static void assert_copies(const struct model *m);
#include "bf16_model.h"

/* Whatever changes the weights, their copy in bf16 is what they round to. */
static void assert_copies(const struct model *m)
{
    for (int i = 0; i < m->tensors; i++) {
        int n = m->tensor[i].N * m->tensor[i].K;
        double *weight = mem_alloc((size_t)n, sizeof *weight), *copy = mem_alloc((size_t)n, sizeof *copy);
        model_read(m, i, 0, 0, m->tensor[i].N, weight);
        m->dev->ops->download(m->dev, copy, model_matrix(m, i), (size_t)n);
        for (int k = 0; k < n; k++)
            if (!(fabs(copy[k] - weight[k]) <= U * fabs(weight[k]) + 1e-40))
                fail_msg("%s[%d] is %.9g, its copy %.9g", m->tensor[i].name, k, weight[k], copy[k]);
        mem_free(weight);
        mem_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_near_reference),
        cmocka_unit_test(twenty_steps_side_by_side),
        cmocka_unit_test(copies_follow),
    };
    return cmocka_run_group_tests_name("the model in mixed precision", tests, NULL, NULL);
}
