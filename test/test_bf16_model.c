/* The whole model with the processor's products in bf16 (bf16_model.h), and what is promised bit for bit: pieces,
 * threads and what tapes keep change nothing. In each half of a layer stand four roundings: of what goes into its two
 * products, and of their weights; gradients pass as many again. */
#define cpu_ops             cpu_bf16_ops
#define CHECK_COPIES(model) assert_copies(model)
enum { PER_LAYER = 8 };
struct model;
static void assert_copies(const struct model *m);
#include "bf16_model.h"

/* Whatever changes the weights, their copy is what is made of them anew. */
static void assert_copies(const struct model *m)
{
    for (int i = 0; i < m->tensors; i++) {
        const struct tensor *t = &m->tensor[i];
        Dev have = model_copy_of(m, i), anew = {0};
        if (t->kind != TENSOR_MATRIX) {
            assert_null(have.p);
            continue;
        }
        size_t n = m->dev->ops->copy_numbers(t->N, t->K);
        anew = (Dev){m->dev->ops->alloc(m->dev, 2 * n), 1};
        m->dev->ops->copy_rows(m->dev, anew, dev_at(m->dev, i < m->first ? m->param : m->own, t->offset), 0, t->N, t->N,
                               t->K);
        if (memcmp(anew.p, have.p, 2 * n))
            fail_msg("the copy of %s is not that of its weights", t->name);
        m->dev->ops->release(m->dev, anew.p);
    }
}

/* The head reads ids from 2048 on. */
static void wide_vocabulary_near_reference(void **state)
{
    (void)state;
    assert_true(cpu_ops.head_ids(wide_vocabulary.V) < wide_vocabulary.V);
    near_reference(&wide_vocabulary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_near_reference),
        cmocka_unit_test(wide_vocabulary_near_reference),
        cmocka_unit_test(twenty_steps_side_by_side),
        cmocka_unit_test(copies_follow),
        cmocka_unit_test(pieces_and_threads_change_no_bit),
        cmocka_unit_test(keeping_changes_no_bit),
    };
    return cmocka_run_group_tests_name("the model with products in bf16", tests, NULL, NULL);
}
