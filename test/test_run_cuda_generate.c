/* Generation with the CUDA table in the CPU's place, by the means of test_generate.c: the sampler's numbers are the
 * trainer's, and the number of slots changes nothing, bit for bit. */
#define cpu_ops cuda_ops
#define main    main_of_all
#pragma GCC diagnostic ignored "-Wunused-function" /* a token is some ten thousand threads, so only what differs here  \
                                                    */
#include "test_generate.c"
#undef main

/* Slots one by one with rows called each time; then recorded, with a number of slots that is no power of two, and with
 * more than there are samples. */
static void sampler_is_trainer_for_any_slots(void **state)
{
    (void)state;
    static struct asked first, other;
    static const int slots[] = {1, 5, 64}, chosen[] = {1, 3, 7};
    const struct arch *arch[] = {&llama, &gpt2, &llama};
    struct ops plain = cuda_ops;
    plain.replay = NULL;
    for (int i = 0; i < 3; i++)
        for (int n = 0; n < (i ? 2 : 3); n++) {
            struct rig r;
            struct asked *a = n ? &other : &first;
            const struct sampling *how = &ways[chosen[i]];
            rig_open(&r, n ? &cuda_ops : &plain, arch[i], 1 + n, 16);
            answer(&r, a, how, slots[n], 3);
            int wrong = mismatches(&r, a, trainer_temperature(how), how->max_support);
            if (wrong)
                fail_msg("model %d, %d slots: %d numbers differ", i, slots[n], wrong);
            rig_close(&r);
            assert_memory_equal(first.ids, a->ids, sizeof first.ids);
            assert_memory_equal(first.logp, a->logp, sizeof first.logp);
            assert_memory_equal(first.entropy, a->entropy, sizeof first.entropy);
            assert_memory_equal(first.supports, a->supports, sizeof first.supports);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler_is_trainer_for_any_slots),
    };
    return cmocka_run_group_tests_name("generation on the CUDA table", tests, NULL, NULL);
}
