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

/* ---- recordings hold from call to call, until something that rows are called with changes ---- */

enum { FEW = 3, LEN = 4 };
struct few {
    int32_t ids[FEW][LEN];
    double logp[FEW][LEN], entropy[FEW][LEN];
};
static int recorded, uploads, downloads; /* since they were set to 0 */

static void count_recordings(struct device *d, int key)
{
    recorded++;
    cuda_ops.record(d, key);
}

static void count_uploads(struct device *d, DevInt to, const int32_t *from, size_t n)
{
    uploads++;
    cuda_ops.upload_int(d, to, from, n);
}

static void count_downloads(struct device *d, double *to, Dev from, size_t n)
{
    downloads++;
    cuda_ops.download(d, to, from, n);
}

static void count_id_downloads(struct device *d, int32_t *to, DevInt from, size_t n)
{
    downloads++;
    cuda_ops.download_int(d, to, from, n);
}

static void sample_few(struct sampler *s, const struct model *m, const struct sampling *how, struct few *out)
{
    static const int32_t prompt[] = {3, 1, 4, 1, 5};
    struct response o[FEW];
    struct request q = {prompt, 5, FEW, LEN, 1, 1, 0};
    struct error e;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < FEW; i++)
        o[i] = (struct response){out->ids[i], out->logp[i], out->entropy[i], NULL, NULL, 0, 0};
    if (sampler_run(s, m, &q, 1, how, 7, RNG_SAMPLE, NULL, 0, o, &e))
        fail_msg("%s", e.text);
}

static void recordings_hold(void **state)
{
    (void)state;
    struct ops table[] = {cuda_ops, cuda_ops};
    struct few got[2][4];
    int count[4] = {0};
    table[0].replay = NULL;
    table[1].record = count_recordings;
    table[1].upload_int = count_uploads;
    table[1].download = count_downloads;
    table[1].download_int = count_id_downloads;
    for (int k = 0; k < 2; k++) {
        struct rig r;
        struct sampler s;
        rig_open(&r, &table[k], &gpt2, 1, 16);
        sampler_plan(&s, &gpt2, &r.dev, FEW, 8, LEN, 0);
        sampler_commit(&s);
        for (int call = 0; call < 4; call++) { /* as before, with other weights, with another temperature */
            if (call == 2)
                random_weights(&r.model, 6);
            recorded = uploads = downloads = 0;
            sample_few(&s, &r.model, &ways[call == 3], &got[k][call]);
            count[call] = recorded;
            if (!k)
                continue;
            assert_int_equal(uploads, 5 + LEN);         /* regions and a prompt's rows; then one a token */
            assert_int_equal(downloads, LEN + 2 * FEW); /* one a token; what belongs to a response at its end */
        }
        sampler_free(&s);
        rig_close(&r);
    }
    assert_memory_equal(got[0], got[1], sizeof got[0]);
    assert_memory_equal(&got[0][0], &got[0][1], sizeof got[0][0]);
    assert_memory_not_equal(got[0][1].logp, got[0][2].logp, sizeof got[0][1].logp);
    assert_memory_not_equal(got[0][2].logp, got[0][3].logp, sizeof got[0][2].logp);
    assert_true(count[0] > 0 && count[3] == count[0]);
    assert_int_equal(count[1] + count[2], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler_is_trainer_for_any_slots),
        cmocka_unit_test(recordings_hold),
    };
    return cmocka_run_group_tests_name("generation on the CUDA table", tests, NULL, NULL);
}
