/* Stages of policy methods on cases small enough to check by hand: KL in the reward, overlong responses, masks,
 * leave-one-out, batch whitening, weights for a sampler that differs. The worked examples: test_objective.c. */
#include "stage_batch.h"

static void near_to(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("got %.17g, expected %.17g", got, want);
}

/* A batch with the given rewards; credit `outcome` has run. */
static void fill_rewards(struct batch *b, const double reward[SAMPLES])
{
    fill_batch(b, 0, 0);
    memcpy(b->reward, reward, SAMPLES * sizeof *reward);
    run_named(b, STAGE_CREDIT, "outcome", "");
}

static double advantage_of(const struct batch *b, int sample)
{
    return b->advantage[b->sample_first[sample]];
}

static void overlong_is_a_ramp(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    static const struct {
        const char *args;
        double want[3]; /* of samples with 3, 9 and 12 tokens of their own */
    } cases[] = {
        {"l_max=12;l_cache=4", {0, -.25, -1}},      {"l_max=12;l_cache=8;factor=2", {0, -1.25, -2}},
        {"l_max=11;l_cache=3", {0, -1.0 / 3, -1}}, /* above l_max: no more than the whole */
        {"l_max=9;l_cache=0", {0, 0, -1}},         /* a step */
        {"l_max=20;l_cache=20", {-.15, -.45, -.6}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        fill_batch(&b, 0, 0);
        static const int sample[] = {0, 6, 1};
        static const int length[] = {3, 9, 12};
        for (int i = 0; i < SAMPLES; i++)
            b.reward[i] = 10;
        b.kept[9] = 0;
        run_named(&b, STAGE_SHAPE, "overlong", cases[k].args);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(trained_tokens(&b, sample[i]), length[i]);
            near_to(b.reward[sample[i]], 10 + cases[k].want[i], 1e-15);
            near_to(b.component[batch_find_component(&b, "overlong")].value[sample[i]], cases[k].want[i], 1e-15);
        }
        assert_true(b.reward[9] == 10);
    }
    batch_free(&b);
}

/* When dropped groups are replaced, the stages run again on the whole batch: nothing may be paid twice. */
static void a_second_round_pays_once(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    for (int round = 0; round < 2; round++) {
        run_named(&b, STAGE_SCORE, "outcome", "");
        run_named(&b, STAGE_SHAPE, "sum", "");
        run_named(&b, STAGE_SHAPE, "overlong", "l_max=12;l_cache=8");
        run_named(&b, STAGE_SHAPE, "kl", "coef=0");
    }
    near_to(b.reward[6], 1 - 0.625, 1e-15); /* right, 9 tokens */
    batch_free(&b);
}

static void masked_samples_stay_in_the_statistics(void **state)
{
    (void)state;
    struct batch b;
    static const double reward[SAMPLES] = {1, 0, 0, 4, 0, 0, 0, 1, 1, 1};
    open_batch(&b);
    fill_rewards(&b, reward);
    run_named(&b, STAGE_ADVANTAGE, "group", "std=false");
    struct result r = run_named(&b, STAGE_ADVANTAGE, "mask", "");
    for (int i = 0; i < SAMPLES; i++)
        assert_int_equal(b.kept[i], i != 3 && i != 6); /* those are truncated */
    near_to(advantage_of(&b, 4), -1, 1e-15);           /* the mean of 4 0 0 0 is 1 */
    near_to(metric_value(&r.metrics, "mask.share", -1), 0.2, 1e-15);
    fill_rewards(&b, reward);
    run_named(&b, STAGE_ADVANTAGE, "mask", "truncated=false");
    assert_int_equal(stat_count(b.kept, SAMPLES), SAMPLES);
    batch_free(&b);
}

static void groups_can_all_stay(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    run_named(&b, STAGE_SELECT, "dynamic", "on=false");
    assert_int_equal(stat_count(b.kept, SAMPLES), SAMPLES);
    batch_free(&b);
}

static void each_leaves_itself_out(void **state)
{
    (void)state;
    struct batch b;
    static const double reward[SAMPLES] = {3, 1, 2, .1, .1, .1, .1, 5, 1, 0};
    static const double want[] = {1.5, -1.5, 0, 0, 0, 0, 0, 0, 1, -1}; /* 3 - (1 + 2) / 2, 1 - (3 + 2) / 2 ... */
    open_batch(&b);
    fill_rewards(&b, reward);
    run_named(&b, STAGE_ADVANTAGE, "loo", "");
    for (int i = 0; i < SAMPLES; i++)
        near_to(advantage_of(&b, i), want[i], 1e-15);
    assert_true(advantage_of(&b, 4) == 0 && advantage_of(&b, 7) == 0); /* equal rewards, a lone sample */
    run_named(&b, STAGE_ADVANTAGE, "loo", "singleton=raw");
    near_to(advantage_of(&b, 7), 5, 0);
    run_named(&b, STAGE_ADVANTAGE, "loo", "normalize=true;eps=1");
    near_to(advantage_of(&b, 0), 1.5 / (sqrt(6.5 / 9) + 1), 1e-15);              /* squares 2.25 2.25 0 ... 1 1 */
    run_named(&b, STAGE_ADVANTAGE, "loo", "normalize=true;eps=1;singleton=raw"); /* mean 0.5, squares add to 31.5 */
    near_to(advantage_of(&b, 0), 1 / (sqrt((31.5 - 10 * 0.25) / 9) + 1), 1e-15);
    near_to(advantage_of(&b, 7), 4.5 / (sqrt((31.5 - 10 * 0.25) / 9) + 1), 1e-15);
    b.token_reward[0] += 0.25; /* what a token has beyond the reward has no baseline */
    b.kept[1] = 0;             /* 3 against 2 */
    run_named(&b, STAGE_ADVANTAGE, "loo", "singleton=drop");
    near_to(advantage_of(&b, 0), 1.25, 1e-15);
    near_to(advantage_of(&b, 1), 0, 0);
    assert_int_equal(b.kept[7], 0);
    b.reward[2] = NAN;
    struct result r = run_stage(&b, stage_find(STAGE_ADVANTAGE, "loo"), "");
    assert_int_equal(r.failed, -1);
    assert_string_equal(r.e.text, "loo: the reward of sample 2 is not a finite number");
    batch_free(&b);
}

static void whitening_counts_tokens(void **state)
{
    (void)state;
    struct batch b;
    static const double equal[SAMPLES] = {.1, .1, .1, .1, .1, .1, .1, .1, .1, .1};
    open_batch(&b);
    fill_rewards(&b, equal);
    run_named(&b, STAGE_ADVANTAGE, "whiten", "");
    for (int t = 0; t < b.tokens; t++)
        assert_true(b.advantage[t] == 0);
    static const double one[SAMPLES] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0};
    fill_rewards(&b, one); /* sample 7 has one token */
    for (int i = 0; i < SAMPLES; i++)
        b.kept[i] = i == 0 || i == 7;
    int n = trained_tokens(&b, 0) + 1; /* one 1 among n numbers: mean 1/n, squares add to 1 - 1/n */
    run_named(&b, STAGE_ADVANTAGE, "whiten", "eps=1e-20");
    near_to(advantage_of(&b, 7), (1 - 1.0 / n) / sqrt((1 - 1.0 / n) / (n - 1)), 1e-14);
    run_named(&b, STAGE_ADVANTAGE, "whiten", "variance=population");
    near_to(advantage_of(&b, 7), (1 - 1.0 / n) / sqrt((1 - 1.0 / n) / n), 1e-14);
    run_named(&b, STAGE_ADVANTAGE, "whiten", "variance=population;eps=1"); /* the least variance */
    near_to(advantage_of(&b, 7), 1 - 1.0 / n, 1e-14);
    run_named(&b, STAGE_ADVANTAGE, "whiten", "centre=true"); /* each alone in its group: nothing left */
    assert_true(advantage_of(&b, 7) == 0);
    for (int i = 0; i < SAMPLES; i++)
        b.kept[i] = 0;
    run_named(&b, STAGE_ADVANTAGE, "whiten", ""); /* nothing to whiten */
    batch_free(&b);
}

/* Token t of sample i: logp_old - ref. */
static double price(const struct batch *b, int i, int t)
{
    return b->logp_old[b->sample_first[i] + t] - b->channel[REF].value[b->sample_first[i] + t];
}

static void kl_in_the_reward(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    for (int i = 0; i < SAMPLES; i++)
        b.reward[i] = 1;
    double whole = price(&b, 0, 0) + price(&b, 0, 2) + price(&b, 0, 3); /* token 1 is not the model's own */
    run_named(&b, STAGE_SHAPE, "kl", "coef=0.5");
    near_to(b.reward[0], 1 - 0.5 * whole, 1e-15);
    for (int i = 0; i < SAMPLES; i++)
        b.reward[i] = 1;
    run_named(&b, STAGE_CREDIT, "last", "");
    run_named(&b, STAGE_CREDIT, "kl", "coef=0.5");
    const double *q = b.token_reward + b.sample_first[0];
    near_to(q[3], 1 - 0.5 * price(&b, 0, 3), 1e-15);
    near_to(q[2], -0.5 * price(&b, 0, 2), 1e-15);
    assert_true(q[1] == 0 && b.reward[0] == 1);
    run_named(&b, STAGE_CREDIT, "return", "");
    near_to(q[0], 1 - 0.5 * whole, 1e-15); /* the same sum, seen from the first token */
    batch_free(&b);
}

static void set_samplers_ratio(struct batch *b, int sample, const double *ratio, int n)
{
    for (int t = 0; t < n; t++)
        b->logp_rollout[b->sample_first[sample] + t] = b->logp_old[b->sample_first[sample] + t] - log(ratio[t]);
}

static void weights_of_a_sampler(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    static const struct {
        const char *args;
        double want[3]; /* tokens 0, 2 and 3 of sample 0, whose ratios are 3, 0.25 and 1 */
    } cases[] = {
        {"", {2, .25, 1}},
        {"cap=off", {3, .25, 1}},
        {"floor=0.5", {2, .5, 1}},
        {"mode=mask", {0, .25, 1}},
        {"mode=mask;floor=0.5;cap=3.5", {3, 0, 1}},
        {"level=sequence", {.75, .75, .75}},
        {"level=sequence;mode=mask;cap=0.7", {0, 0, 0}},
        {"batch_normalize=true", {2 / 1.0625, .25 / 1.0625, 1 / 1.0625}}, /* with 1 of sample 7 they add to 4.25 */
        {"level=sequence;batch_normalize=true", {.75 / .875, .75 / .875, .75 / .875}},
        {"level=sequence;batch_normalize=true;cap=0.5;mode=mask", {0, 0, 0}}, /* all weights 0: no mean to divide by */
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        fill_batch(&b, 0, 0);
        for (int i = 0; i < SAMPLES; i++)
            b.kept[i] = i == 0 || i == 7;
        set_samplers_ratio(&b, 0, (double[]){3, 1e9, .25, 1}, 4); /* token 1 is not the model's own */
        set_samplers_ratio(&b, 7, (double[]){1}, 1);
        for (int t = 0; t < b.tokens; t++)
            b.advantage[t] = -4;
        run_named(&b, STAGE_ADVANTAGE, "tis", cases[k].args);
        static const int token[] = {0, 2, 3};
        for (int t = 0; t < 3; t++)
            near_to(b.advantage[b.sample_first[0] + token[t]], -4 * cases[k].want[t], 1e-14);
    }
    struct result r = run_named(&b, STAGE_ADVANTAGE, "tis", "");
    near_to(metric_value(&r.metrics, "tis.mismatch", -1), 2.75 / 4, 1e-15); /* |3 - 1| + |.25 - 1| + 0 + 0 */
    batch_free(&b);
}

/* d of the estimates at the ends of the range: k3 is held where the policy has all but given a token up. */
static void estimates_at_the_ends(void **state)
{
    (void)state;
    double grad;
    assert_true(kl_estimate(2, -1000, &grad) == expm1(20) - 20 && grad == 0);
    near_to(kl_estimate(2, 1000, &grad), 999, 1e-12);
    near_to(grad, 1, 1e-15);
    near_to(kl_estimate(3, 0.5, &grad), exp(-0.5) - 0.5, 1e-15); /* exp(-d) + d - 1 */
    near_to(grad, 0.5, 0);
    near_to(kl_estimate(1, -3, &grad), 4.5, 0);
    near_to(grad, -3, 0);
    near_to(kl_estimate(0, -3, &grad), -3, 0);
    near_to(grad, 1, 0);
    near_to(kl_estimate(4, 0.5, &grad), exp(0.5) - 1.5, 1e-15); /* exp(d) - d - 1 */
    near_to(grad, exp(0.5) - 1, 1e-15);
    assert_true(kl_estimate(4, 1000, &grad) == expm1(20) - 20 && grad == 0);
}

/* A model that has gone wrong has to show in the loss. */
static void what_is_no_number_stays_none(void **state)
{
    (void)state;
    double grad;
    assert_true(isnan(held_ratio(NAN)) && isnan(surrogate_clip(NAN, -1, .8, 1.2, 3).loss));
    for (int kind = 0; kind < 5; kind++)
        assert_true(isnan(kl_estimate(kind, NAN, &grad)));
    near_to(held_ratio(-1e300), exp(-20), 0);
    near_to(surrogate_clip(21, -1, .8, 1.2, INFINITY).loss, exp(20), 0);
    near_to(surrogate_clip(21, -1, .8, 1.2, INFINITY).grad, 0, 0);
}

/* The weight of CISPO has no gradient of its own, so differences would not show it: by hand, on sample 7's one token.
 */
static void clipped_weights(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    static const struct {
        const char *args;
        double weight;
    } cases[] = {{"low=off;high=off", 2}, {"high=1.5", 1.5}, {"high=0.2", .2}, {"low=2.5;high=off", 2.5}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        fill_batch(&b, 0, 0);
        for (int i = 0; i < SAMPLES; i++)
            b.kept[i] = i == 7;
        int t = b.sample_first[7];
        b.weight[7] = 1;
        b.advantage[t] = 3;
        b.logp_old[t] = b.channel[LOGP].value[t] - log(2);
        struct result r = run_named(&b, STAGE_LOSS, "cispo", cases[k].args);
        near_to(b.channel[LOGP].grad[t], -3 * cases[k].weight, 1e-14);
        near_to(r.loss, -3 * cases[k].weight * b.channel[LOGP].value[t], 1e-14);
        near_to(metric_value(&r.metrics, "clip_share", -1), cases[k].weight != 2, 0);
    }
    batch_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlong_is_a_ramp),
        cmocka_unit_test(a_second_round_pays_once),
        cmocka_unit_test(masked_samples_stay_in_the_statistics),
        cmocka_unit_test(groups_can_all_stay),
        cmocka_unit_test(each_leaves_itself_out),
        cmocka_unit_test(whitening_counts_tokens),
        cmocka_unit_test(kl_in_the_reward),
        cmocka_unit_test(weights_of_a_sampler),
        cmocka_unit_test(estimates_at_the_ends),
        cmocka_unit_test(what_is_no_number_stays_none),
        cmocka_unit_test(clipped_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
