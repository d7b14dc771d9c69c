/* Stages that work with other models' numbers, on cases small enough to check by hand or by brute force: generalised
 * advantages, filters by reward, flow balance over all pieces of a response, SAFE's soft minimum, shaped scores. The
 * worked examples: test_worked_models.c. */
#include "stage_batch.h"
#include "../rewards/loss/safe.h"

static void near_to(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("got %.17g, expected %.17g", got, want);
}

static struct channel *channel_of_batch(struct batch *b, const char *name)
{
    return &b->channel[batch_channel(b, name, 1)];
}

/* Sample 0 has tokens 0 to 3, of which 1 is not the model's own. gamma 0.5, lam 0.5: delta_3 = 2 - 1 = 1,
 * delta_2 = 0.5 * 1 - 3 = -2.5, delta_0 = 1 + 0.5 * 3 - 4 = -1.5; A_3 = 1, A_2 = -2.5 + 0.25, A_0 = -1.5 + 0.25 A_2. */
static void advantages_from_the_end(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    const double value[4] = {4, 100, 3, 1}, earned[4] = {1, 100, 0, 2};
    memcpy(channel_of_batch(&b, "critic.value")->value, value, sizeof value);
    memcpy(b.token_reward, earned, sizeof earned);
    run_named(&b, STAGE_CREDIT, "gae", "gamma=0.5;lam=0.5");
    const double want[4] = {-2.0625, 0, -2.25, 1}, returns[4] = {1.9375, 0, 0.75, 2};
    for (int t = 0; t < 4; t++) {
        near_to(b.token_reward[t], want[t], 1e-15);
        near_to(b.returns[t], returns[t], 1e-15);
        near_to(batch_given(&b, "old_value", LEVEL_TOKEN)[t], t == 1 ? 0 : value[t], 0);
    }
    memcpy(b.token_reward, earned, sizeof earned); /* returns 2, 0 + 2 / 2, 1 + 1 / 2, and the same advantages */
    run_named(&b, STAGE_CREDIT, "gae", "gamma=0.5;lam=0.5;returns=rewards");
    const double rest[4] = {1.5, 0, 1, 2};
    for (int t = 0; t < 4; t++) {
        near_to(b.token_reward[t], want[t], 1e-15);
        near_to(b.returns[t], rest[t], 1e-15);
    }
    batch_free(&b);
}

/* Sample 3 is truncated: the critic's value behind its last token is 8, discounted once; sample 5 is not, whatever is
 * said there. */
static void a_cut_response_ends_in_its_last_value(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    for (int on = 0; on < 2; on++) {
        fill_batch(&b, 0, 0);
        int cut = b.sample_first[4] - 1, ended = b.sample_first[6] - 1;
        const double *value = channel_of_batch(&b, "critic.value")->value;
        double *after = channel_of_batch(&b, stage_find(STAGE_CREDIT, "gae")->channels[1])->value;
        after[cut] = after[ended] = 8;
        run_named(&b, STAGE_CREDIT, "gae", on ? "gamma=0.5;bootstrap=true" : "gamma=0.5");
        near_to(b.token_reward[cut], (on ? 4 : 0) - value[cut], 1e-15);
        near_to(b.token_reward[ended], -value[ended], 1e-15);
    }
    batch_free(&b);
}

/* Three tokens cut off at the budget, gamma 0.9, lam 0.5, values 1, 2, 3, behind the last 4, a reward of 0.5 on the
 * second: delta_3 = 0.9 * 4 - 3 = 0.6      A_3 = 0.6                          R_3 = 3.6 delta_2 = 0.5 + 0.9 * 3 - 2
 * = 1.2    A_2 = 1.2 + 0.45 * 0.6 = 1.47      R_2 = 3.47 delta_1 = 0.9 * 2 - 1 = 0.8      A_1 = 0.8 + 0.45 * 1.47
 * = 1.4615   R_1 = 2.4615 */
static void a_cut_response_by_hand(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    const struct stage *gae = stage_find(STAGE_CREDIT, "gae");
    double *value = channel_of_batch(&b, "critic.value")->value;
    double *after = channel_of_batch(&b, gae->channels[1])->value;
    int first = b.sample_first[6], n = b.sample_first[7] - first; /* "dog park" of sample 6, of which three stay */
    assert_true(b.truncated[6] && n > 4);
    for (int t = 0; t < n; t++)
        b.trained[first + t] = t < 3;
    for (int t = 0; t < 3; t++) {
        value[first + t] = t + 1;
        after[first + t] = t + 2;
        b.token_reward[first + t] = t == 1 ? 0.5 : 0;
    }
    run_named(&b, STAGE_CREDIT, "gae", "gamma=0.9;lam=0.5;bootstrap=true");
    const double want[] = {1.4615, 1.47, 0.6}, returns[] = {2.4615, 3.47, 3.6};
    for (int t = 0; t < 3; t++) {
        near_to(b.token_reward[first + t], want[t], 1e-14);
        near_to(b.returns[first + t], returns[t], 1e-14);
    }
    for (int t = 0; t < 3; t++)
        b.token_reward[first + t] = t == 1 ? 0.5 : 0;
    run_named(&b, STAGE_CREDIT, "gae", "gamma=0.9;lam=0.5;bootstrap=true;returns=rewards");
    const double rest[] = {3.366, 3.74, 3.6}; /* 0.9 * 4; 0.5 + 0.9 * 3.6; 0.9 * 3.74 */
    for (int t = 0; t < 3; t++)
        near_to(b.returns[first + t], rest[t], 1e-14);
    batch_free(&b);
}

static void some_are_filtered(void **state)
{
    (void)state;
    struct batch b;
    static const double reward[SAMPLES] = {3, 1, 2, 5, 0, 5, 0, 4, 1, 1}; /* of 3, 4, 1 and 2 samples */
    static const struct {
        const char *args, *kept;
        double share0; /* of sample 0 */
    } cases[] = {
        {"strategy=all", "1111111111", 1.0 / 3},
        {"strategy=bon", "1001000110", 1},
        {"strategy=bw", "1101100110", 0.5}, /* the first of equals; of one or two equal samples, one */
        {"strategy=br", "1011010111", 4.0 / 6},
        {"strategy=pow", "1111010111", 9.0 / 14},
        {"strategy=pow;pow=1", "1111010111", 0.5},
        {"strategy=bw;scope=batch", "0001111000", 0},
        {"strategy=bon;scope=batch", "0001010000", 0},
    };
    open_batch(&b);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int late = 0; late < 2; late++) {
            char args[80];
            fill_batch(&b, 0, 0);
            memcpy(b.reward, reward, sizeof reward);
            double *draw = batch_number(&b, "draw", LEVEL_GROUP)->value;
            draw[0] = 3; /* of the two others the second; of three the second; of one that */
            draw[1] = 1;
            draw[2] = draw[3] = 0;
            snprintf(args, sizeof args, "%s;late=%s", cases[k].args, late ? "true" : "false");
            run_named(&b, STAGE_SELECT, "filter", args);
            near_to(batch_given(&b, "filter", LEVEL_SEQUENCE)[0], cases[k].share0, 1e-15);
            assert_int_equal(late ? stat_count(b.kept, SAMPLES) : SAMPLES, SAMPLES);
            run_named(&b, STAGE_ADVANTAGE, "mask", "truncated=false");
            for (int i = 0; i < SAMPLES; i++)
                if (b.kept[i] != cases[k].kept[i] - '0')
                    fail_msg("%s: kept[%d] is %d", args, i, b.kept[i]);
        }
    batch_free(&b);
}

/* As many draws as samples: the weights of a group, times the number that stay, count its samples. */
static void drawn_samples_weigh_as_often(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    for (int i = 0; i < SAMPLES; i++)
        b.reward[i] = i == 4 ? 0 : 1;
    run_named(&b, STAGE_SELECT, "filter", "strategy=pow;resample=true");
    assert_int_equal(b.kept[4], 0);
    for (int g = 0; g < GROUPS; g++) {
        double sum = 0, n = group_first[g + 1] - group_first[g];
        for (int i = group_first[g]; i < group_first[g + 1]; i++)
            sum += b.kept[i] ? b.weight[i] * n / kept_in_group(&b, g) : 0;
        near_to(sum, n, 1e-12);
    }
    batch_free(&b);
}

/* Mean over responses of the weighted mean over all pieces j < k, as the double sum that defines it. */
static double all_pieces(struct batch *b, double lambda, double temperature)
{
    const double *logp = b->channel[LOGP].value, *flow = channel_of_batch(b, "flow.value")->value;
    double total = 0;
    for (int i = 0; i < b->samples; i++) {
        double f[32], l[32], earned[32], sum = 0, weights = 0;
        int n = 0;
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            if (b->trained[t]) {
                f[n] = flow[t];
                l[n] = logp[t];
                earned[n++] = b->token_reward[t] / temperature;
            }
        f[n] = 0;
        for (int j = 0; j < n; j++)
            for (int k = j + 1; k <= n; k++) {
                double d = f[j] - f[k], w = pow(lambda, k - j);
                for (int t = j; t < k; t++)
                    d += l[t] - earned[t];
                sum += w * d * d;
                weights += w;
            }
        total += b->weight[i] * sum / weights / b->samples;
    }
    return total;
}

static void pieces_of_a_flow(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    run_before(&b, STAGE_LOSS);
    for (int k = 0; k < 3; k++) {
        static const double lambda[] = {0.9, 1, 0.2};
        char args[80];
        snprintf(args, sizeof args, "objective=fl_subtb;lambda=%g;temperature=0.5", lambda[k]);
        near_to(run_named(&b, STAGE_LOSS, "balance", args).loss, all_pieces(&b, lambda[k], 0.5), 1e-10);
    }
    batch_free(&b);
}

/* With the reference as part of the energy a policy that equals it is in balance where nothing else is earned: no loss
 * and no gradient, where the same flows without it pull on every token. */
static void a_flow_rests_at_its_reference(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    for (int prior = 0; prior < 2; prior++) {
        fill_batch(&b, 0, 0);
        memcpy(b.channel[LOGP].value, b.channel[REF].value, (size_t)b.tokens * sizeof(double));
        memset(channel_of_batch(&b, "flow.value")->value, 0, (size_t)b.tokens * sizeof(double));
        if (prior)
            run_named(&b, STAGE_SCORE, "reference", "");
        run_named(&b, STAGE_SHAPE, "dense", "");
        for (int t = 0; t < b.tokens; t++)
            near_to(b.token_reward[t], prior && b.trained[t] ? b.channel[REF].value[t] : 0, 0);
        double loss = run_named(&b, STAGE_LOSS, "balance", "objective=fl_db").loss, pull = 0;
        for (int t = 0; t < b.tokens; t++)
            pull = fmax(pull, fabs(b.channel[LOGP].grad[t]));
        assert_true(prior ? fabs(loss) < 1e-24 && pull < 1e-12 : loss > 0.1 && pull > 0.01);
    }
    batch_free(&b);
}

static void the_soft_minimum_lies_between(void **state)
{
    (void)state;
    assert_true(safe_soft_min(0.7, 0.7, 0.3) == 0.7);
    for (int k = -20; k <= 20; k++) {
        double v = safe_soft_min(0.1, 0.1 + 0.2 * k, 0.3), low = fmin(0.1, 0.1 + 0.2 * k);
        assert_true(v >= low && v <= low + 0.3 * log(2));
        near_to(v, -0.3 * (log(exp(-0.1 / 0.3) + exp(-(0.1 + 0.2 * k) / 0.3)) - log(2)), 1e-13);
    }
    near_to(safe_soft_min(-1e6, 1e6, 1e-6), -1e6 + 1e-6 * log(2), 1e-9);
}

/* The last 50 rewards against the 50 before, 0.5 in the first 100 calls and 0.8 from then on: m calls later the means
 * are apart by 0.3 m / 50, then by 0.3 (100 - m) / 50. More than 0.01 is from m = 2 to 98; after that the reward stands
 * still above 0.7. */
static void the_phase_follows_the_reward(void **state)
{
    (void)state;
    double s[SAFE_WIDTH] = {0};
    const struct safe_knobs k = {0.3, 2, 0, 0, 0};
    for (int call = 1; call <= 220; call++) {
        struct safe_answer a = safe_control(s, &k, 1, 1, call <= 100 ? 0.5 : 0.8);
        assert_int_equal(a.phase, call < 50     ? SAFE_WARMUP
                                  : call < 102  ? SAFE_PLATEAU
                                  : call <= 198 ? SAFE_CLIMBING
                                                : SAFE_CONVERGED);
    }
}

static void scores_against_all_so_far(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    static const double reward[SAMPLES] = {3, 1, 2, 5, 0, 5, 0, 4, 1, 1};
    const struct stage *par = stage_find(STAGE_SHAPE, "par");
    struct state state_of[MAX_STATES] = {{.row = &par->state[0]}, {.row = &par->state[1]}};
    struct value v[MAX_PARAMS];
    struct metrics metrics = {0};
    struct error e;
    char text[] = "shaping=minmax";
    stage_values(par, text, v);
    struct stage_call c = {.stage = par, .b = &b, .g1 = GROUPS, .p = v, .state = state_of, .metrics = &metrics};
    double all[2 * SAMPLES];
    for (int step = 0; step < 2; step++) {
        for (int i = 0; i < SAMPLES; i++)
            all[step * SAMPLES + i] = b.reward[i] = reward[i] * (1 + step);
        assert_int_equal(par->run(&c, &e), 0);
        near_to(b.reward[0], 3 * (1 + step) / (5.0 * (1 + step)), 1e-15); /* from 0 to 5, then to 10 */
    }
    const double *running = state_find(&state_of[1], 0), n = 2 * SAMPLES, mean = stat_mean(all, NULL, 2 * SAMPLES);
    const double deviation = stat_std(all, NULL, 2 * SAMPLES, 0);
    near_to(running[0], n, 0);
    near_to(running[1], mean, 1e-14);
    near_to(running[2], n * deviation * deviation, 1e-12);
    state_free(&state_of[0]);
    state_free(&state_of[1]);
    batch_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(advantages_from_the_end),       cmocka_unit_test(a_cut_response_ends_in_its_last_value),
        cmocka_unit_test(a_cut_response_by_hand),        cmocka_unit_test(some_are_filtered),
        cmocka_unit_test(drawn_samples_weigh_as_often),  cmocka_unit_test(pieces_of_a_flow),
        cmocka_unit_test(a_flow_rests_at_its_reference), cmocka_unit_test(the_soft_minimum_lies_between),
        cmocka_unit_test(the_phase_follows_the_reward),  cmocka_unit_test(scores_against_all_so_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
