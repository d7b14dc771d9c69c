/* Stages that work token by token, on cases small enough to check by hand: credit for a matching beginning, rewards
 * where they were earned, returns, baselines of samples that agree so far. What holds for every stage is in
 * test_stages.c. */
#include "stage_batch.h"

static void near_to(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("got %.17g, expected %.17g", got, want);
}

static const double *component_of(struct batch *b, const char *name)
{
    return b->component[batch_find_component(b, name)].value;
}

static const double *tokens_of(struct batch *b, const double *value, int sample)
{
    return value + b->sample_first[sample];
}

/* The answer is "y\ny\n": four bytes, each worth 1/5. */
static void prefix_credits_tokens(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    b.trained[b.sample_first[8] + 2] = 0;
    run_named(&b, STAGE_SCORE, "prefix", "");
    const double *value = component_of(&b, "prefix");
    static const double two[] = {.2, .2, 0, 0}, /* sample 0: y n-less second line; its second token is injected */
        all[] = {.2, .2, .2, .2};
    near_to(tokens_of(&b, value, 0)[0], two[0], 0);
    near_to(tokens_of(&b, value, 0)[1], 0, 0); /* it matches, but the model did not write it */
    near_to(tokens_of(&b, value, 0)[2], 0, 0);
    near_to(tokens_of(&b, value, 1)[0], .2, 0); /* yy: then nothing, also where bytes agree again */
    for (int k = 1; k < 13; k++)
        near_to(tokens_of(&b, value, 1)[k], 0, 0);
    near_to(tokens_of(&b, value, 2)[0], 0, 0);
    near_to(tokens_of(&b, value, 5)[0], all[0], 0);
    near_to(tokens_of(&b, value, 5)[3], all[3], 0);
    near_to(tokens_of(&b, value, 8)[2], 0, 0);
    run_named(&b, STAGE_SCORE, "prefix", "end=true");
    near_to(tokens_of(&b, value, 5)[3], .4, 1e-15);
    near_to(tokens_of(&b, value, 7)[0], .2, 0); /* y alone is not the whole answer */
    b.truncated[5] = 1;
    run_named(&b, STAGE_SCORE, "prefix", "end=true");
    near_to(tokens_of(&b, value, 5)[3], .2, 0);
    /* tokens of several bytes: three bytes in the first, none in the last (an end of sequence) */
    b.truncated[5] = 0;
    static const int ends[] = {3, 3, 4, 4};
    memcpy(b.text_end + b.sample_first[5], ends, sizeof ends);
    b.trained[b.sample_first[5] + 1] = 1;
    run_named(&b, STAGE_SCORE, "prefix", "end=true");
    static const double bytes[] = {.6, 0, .2, .2};
    for (int k = 0; k < 4; k++)
        near_to(tokens_of(&b, value, 5)[k], bytes[k], 1e-15);
    /* the empty answer: nothing to earn but by ending at once */
    struct item empty = {.answer = {.s = (char *)"", .len = 0}};
    b.item[2] = &empty;
    b.text_len[7] = 0;
    b.text_end[b.sample_first[7]] = 0;
    run_named(&b, STAGE_SCORE, "prefix", "");
    near_to(tokens_of(&b, value, 7)[0], 0, 0);
    run_named(&b, STAGE_SCORE, "prefix", "end=true");
    near_to(tokens_of(&b, value, 7)[0], 1, 0);
    batch_free(&b);
}

/* Sample 0 is "y\nn\n" with its second token injected: tokens 0, 2, 3 were written. */
static void dense_places_and_returns_add_up(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    run_named(&b, STAGE_SCORE, "outcome", "");
    run_named(&b, STAGE_SCORE, "process", "");
    double *token = batch_component(&b, "token", LEVEL_TOKEN)->value;
    for (int t = 0; t < b.tokens; t++)
        token[t] = b.trained[t] ? 0.5 : NAN;
    run_named(&b, STAGE_SHAPE, "dense", "*=process = 4, token = 2");
    const double *q = tokens_of(&b, b.token_reward, 0);
    /* the first step ends on the injected token, so its 4 stand on the one before; the second step is wrong */
    near_to(q[0], 1 + 4, 0);
    near_to(q[1], 0, 0);
    near_to(q[2], 1, 0);
    near_to(q[3], 1 + 0 + 1, 0);
    near_to(b.reward[0], 8, 0);
    run_named(&b, STAGE_CREDIT, "return", "gamma=0.5");
    near_to(q[3], 2, 0);
    near_to(q[2], 1 + 0.5 * 2, 0);
    near_to(q[1], 0, 0);
    near_to(q[0], 5 + 0.5 * 2, 0); /* an injected token takes no time */
    b.component[batch_find_component(&b, "outcome")].value[6] = INFINITY;
    struct result r = run_stage(&b, stage_find(STAGE_SHAPE, "dense"), "");
    assert_int_equal(r.failed, -1);
    assert_non_null(strstr(r.e.text, "dense: the reward of sample 6"));
    /* all reward on the last token and no discount: what `outcome` does */
    fill_batch(&b, 0, 0);
    run_named(&b, STAGE_SCORE, "outcome", "");
    run_named(&b, STAGE_SHAPE, "dense", "");
    run_named(&b, STAGE_CREDIT, "return", "");
    for (int i = 0; i < b.samples; i++)
        for (int t = b.sample_first[i]; t < b.sample_first[i + 1]; t++)
            near_to(b.token_reward[t], b.trained[t] ? b.reward[i] : 0, 0);
    batch_free(&b);
}

/* Group 1: "y dog\n", "y park dog", "y\ny\n", "dog y park". Three share "y", two of them the blank after it; the second
 * tokens are injected. */
static void siblings_compare_within_a_state(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    for (int t = 0; t < b.tokens; t++)
        b.trained[t] = 1;
    static const double per_token[] = {0, 0, 0, 1, 2, 4, 7, 0, 0, 0};
    for (int i = 0; i < b.samples; i++)
        for (int t = b.sample_first[i]; t < b.sample_first[i + 1]; t++)
            b.token_reward[t] = per_token[i];
    for (int i = 0; i < b.samples; i++)
        b.reward[i] = per_token[i];
    run_named(&b, STAGE_ADVANTAGE, "siblings", "");
    static const double want[4][4] = {
        {1 - 14.0 / 4, 1 - 7.0 / 3, 1 - 3.0 / 2,
         0}, /* at the start all four, after y three, after "y " two, then alone */
        {2 - 14.0 / 4, 2 - 7.0 / 3, 2 - 3.0 / 2, 0},
        {4 - 14.0 / 4, 4 - 7.0 / 3, 0, 0},
        {7 - 14.0 / 4, 0, 0, 0},
    };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            near_to(tokens_of(&b, b.advantage, 3 + i)[k], want[i][k], 1e-15);
    b.kept[5] = 0;
    run_named(&b, STAGE_ADVANTAGE, "siblings", "");
    near_to(tokens_of(&b, b.advantage, 3)[0], 1 - 10.0 / 3, 1e-15);
    near_to(tokens_of(&b, b.advantage, 3)[1], 1 - 3.0 / 2, 1e-15);
    near_to(tokens_of(&b, b.advantage, 5)[0], 0, 0);
    b.kept[5] = 1;
    run_named(&b, STAGE_ADVANTAGE, "siblings", "std=true");
    near_to(tokens_of(&b, b.advantage, 6)[0], 3.5 / (sqrt(7) + 1e-6), 1e-12); /* squares of 2.5 1.5 .5 3.5 add to 21 */
    for (int i = 3; i < 7; i++)
        b.reward[i] = 2; /* equal rewards, however they are placed */
    run_named(&b, STAGE_ADVANTAGE, "siblings", "");
    near_to(tokens_of(&b, b.advantage, 6)[0], 0, 0);
    b.token_reward[b.sample_first[4] + 1] = NAN;
    struct result r = run_stage(&b, stage_find(STAGE_ADVANTAGE, "siblings"), "");
    assert_int_equal(r.failed, -1);
    assert_string_equal(r.e.text, "siblings: the reward on token 1 of sample 4 is not a finite number");
    batch_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefix_credits_tokens),
        cmocka_unit_test(dense_places_and_returns_add_up),
        cmocka_unit_test(siblings_compare_within_a_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
