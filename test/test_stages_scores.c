/* Score stages, and the shapes that add components up, on cases small enough to check by hand. */
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

static void scores(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    run_named(&b, STAGE_SCORE, "outcome", "right=2;wrong=-1;unparsable=-3");
    static const double outcome[] = {2, -1, -3, -1, 2, -1, 2, 2, -1, -1};
    assert_memory_equal(component_of(&b, "outcome"), outcome, sizeof outcome);
    run_named(&b, STAGE_SCORE, "outcome", "lenient=true");
    static const double lenient[] = {1, 0, 1, 1, 1, 0, 1, 1, 0, 0};
    assert_memory_equal(component_of(&b, "outcome"), lenient, sizeof lenient);
    run_named(&b, STAGE_SCORE, "format", "");
    static const double format[] = {1, 1, 0, 1, 1, 1, 1, 1, 1, 1};
    assert_memory_equal(component_of(&b, "format"), format, sizeof format);
    run_named(&b, STAGE_SCORE, "length", "per=10;from=5");
    near_to(component_of(&b, "length")[1], -0.7, 1e-15); /* 12 tokens of its own */
    assert_true(component_of(&b, "length")[3] == 0);     /* 5 */
    run_named(&b, STAGE_SCORE, "length", "within=true;from=5");
    assert_true(component_of(&b, "length")[1] == 0 && component_of(&b, "length")[3] == 1);
    run_named(&b, STAGE_SCORE, "keywords", "first=0.25");
    static const double words[] = {0, 1, 0, .25, .25, 0, 1, 0, 0, 0};
    assert_memory_equal(component_of(&b, "keywords"), words, sizeof words);
    struct result r = run_named(&b, STAGE_SCORE, "process", "");
    static const double accepted[] = {1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1};
    assert_int_equal(b.steps, 15);
    assert_memory_equal(component_of(&b, "process"), accepted, sizeof accepted);
    /* right are samples 0, 4, 6, 7; the oracle rejects a step of 0 and of 6 */
    near_to(metric_value(&r.metrics, "process.flawed", -1), 0.5, 0);
    near_to(metric_value(&r.metrics, "process.accepted", -1), 11.0 / 15, 1e-15);
    batch_free(&b);
}

static void keywords_are_whole_words(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    static const struct {
        const char *text;
        double want;
    } cases[] = {
        {"A Dog, then the PARK.", 1},
        {"dogs in the park", 0},
        {"dog parks", .5},
        {"park dog", .5},
        {"hotdog park", 0},
        {"dog dog park", 1},
        {"dog", .5},
        {"", 0},
        {"do g park", 0},
        {"the \xc3\xa9"
         "dog park",
         1},
    };
    fill_batch(&b, 0, 0);
    for (int i = 0; i < SAMPLES; i++) {
        b.text[i] = cases[i].text;
        b.text_len[i] = (int)strlen(cases[i].text);
    }
    run_named(&b, STAGE_SCORE, "keywords", "first=0.5");
    for (int i = 0; i < SAMPLES; i++)
        if (component_of(&b, "keywords")[i] != cases[i].want)
            fail_msg("'%s' scores %g", cases[i].text, component_of(&b, "keywords")[i]);
    struct item no_words = {0};
    b.item[2] = &no_words;
    struct result r = run_stage(&b, stage_find(STAGE_SCORE, "keywords"), "");
    assert_int_equal(r.failed, -1);
    assert_non_null(strstr(r.e.text, "prompt 2 lists no words"));
    batch_free(&b);
}

static void noise_flips_verdicts(void **state)
{
    (void)state;
    struct batch b;
    double oracle[STEPS];
    open_batch(&b);
    fill_batch(&b, 0, 0);
    run_named(&b, STAGE_SCORE, "process", "");
    memcpy(oracle, component_of(&b, "process"), sizeof oracle);
    struct result r = run_named(&b, STAGE_SCORE, "process", "verifier=noisy;eps=1");
    for (int k = 0; k < b.steps; k++)
        assert_true(component_of(&b, "process")[k] == 1 - oracle[k]);
    near_to(metric_value(&r.metrics, "process.flawed", -1), 0.5, 0); /* what the oracle says, not the noise */
    run_named(&b, STAGE_SCORE, "process", "verifier=noisy;eps=0;flips=fresh");
    assert_memory_equal(component_of(&b, "process"), oracle, (size_t)b.steps * sizeof *oracle);
    run_named(&b, STAGE_SCORE, "process", "verifier=noisy;eps=0.5");
    const double *p = component_of(&b, "process");
    assert_true(p[11] == p[12] && p[11] == p[14]); /* the same line of the same prompt is misjudged alike */
    struct task_row none = {.name = "none"};
    struct task without = {.row = &none};
    struct metrics m = {0};
    struct error e;
    struct value v[3] = {{0}};
    struct stage_call c = {.b = &b, .p = v, .task = &without, .metrics = &m};
    assert_int_equal(stage_find(STAGE_SCORE, "process")->run(&c, &e), -1);
    batch_free(&b);
}

/* All or none of the right answers, by the share; nothing that was not right becomes it. */
static void noise_turns_right_answers(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    for (int all = 0; all < 2; all++) {
        fill_batch(&b, 0, 0);
        b.kept[0] = 0;
        struct result r = run_named(&b, STAGE_SCORE, "noise", all ? "share=1" : "share=0");
        for (int i = 0; i < b.samples; i++) {
            int strict = invented[i].strict, lenient = invented[i].lenient, turned = all && i > 0;
            assert_int_equal(b.strict[i], turned && strict == 1 ? 0 : strict);
            assert_int_equal(b.lenient[i], turned && lenient == 1 ? 0 : lenient);
        }
        assert_true(metric_value(&r.metrics, "noise.turned", -1) == all);
    }
    batch_free(&b);
}

static void the_sum_weighs(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    run_named(&b, STAGE_SCORE, "outcome", "");
    run_named(&b, STAGE_SCORE, "process", "");
    double *token = batch_component(&b, "token", LEVEL_TOKEN)->value;
    for (int t = 0; t < b.tokens; t++)
        token[t] = b.trained[t] ? 10 : NAN;
    run_named(&b, STAGE_SHAPE, "sum", "*=process = 4, token = 0.5");
    near_to(b.reward[0], 1 + 4 * 0.5 + 5, 1e-15);
    near_to(b.reward[1], 0 + 4 + 5, 1e-15);
    near_to(b.reward[9], 0 + 4 * 0.5 + 5, 1e-15);
    batch_clear(&b); /* components of an earlier step are not read again */
    fill_batch(&b, 0, 0);
    run_named(&b, STAGE_SCORE, "outcome", "");
    run_named(&b, STAGE_SHAPE, "sum", "");
    near_to(b.reward[0], 1, 0);
    b.component[0].value[6] = INFINITY;
    struct result r = run_stage(&b, stage_find(STAGE_SHAPE, "sum"), "");
    assert_int_equal(r.failed, -1);
    assert_string_equal(r.e.text, "sum: component 'outcome' of sample 6 is not a finite number");
    batch_free(&b);
}

/* Outcome and format of samples 0 to 2: right, wrong and unparsable; 1, 1 and 0. */
static void conditions_of_components(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    static const struct {
        const char *args;
        double want[3];
    } cases[] = {{"components=outcome,format", {2, 1, 0}},
                 {"components=outcome, format;weights=2, 0.5", {2.5, .5, 0}},
                 {"components=outcome,format;condition=format:outcome:1", {2, 0, 0}},
                 {"components=outcome,format;condition=format:outcome:1, outcome:format:2", {1, 0, 0}},
                 {"components=format;condition=format:outcome:-1", {1, 1, 0}},
                 {"components=process", {.5, 1, 0}}}; /* steps as their mean */
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        fill_batch(&b, 0, 0);
        run_named(&b, STAGE_SCORE, "outcome", "");
        run_named(&b, STAGE_SCORE, "format", "");
        run_named(&b, STAGE_SCORE, "process", "");
        run_named(&b, STAGE_SHAPE, "mix", cases[k].args);
        for (int i = 0; i < 3; i++)
            near_to(b.reward[i], cases[k].want[i], 1e-15);
        memset(b.reward, 0, SAMPLES * sizeof *b.reward);
        run_named(&b, STAGE_ADVANTAGE, "gdpo", cases[k].args); /* logs the same sum */
        for (int i = 0; i < 3; i++)
            near_to(b.reward[i], cases[k].want[i], 1e-15);
    }
    fill_batch(&b, 0, 0);
    run_named(&b, STAGE_SCORE, "outcome", "");
    b.component[0].value[2] = NAN;
    struct result r = run_stage(&b, stage_find(STAGE_SHAPE, "mix"), "components=outcome");
    assert_int_equal(r.failed, -1);
    assert_string_equal(r.e.text, "mix: component 'outcome' of sample 2 is not a finite number");
    run_named(&b, STAGE_ADVANTAGE, "gdpo", "components=outcome"); /* a reward that does not apply is 0 */
    assert_true(b.reward[0] == 1 && b.reward[2] == 0);
    r = run_stage(&b, stage_find(STAGE_SHAPE, "mix"), "components=length");
    assert_string_equal(r.e.text, "mix: no score stage wrote the component 'length'");
    batch_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores),
        cmocka_unit_test(keywords_are_whole_words),
        cmocka_unit_test(noise_flips_verdicts),
        cmocka_unit_test(noise_turns_right_answers),
        cmocka_unit_test(the_sum_weighs),
        cmocka_unit_test(conditions_of_components),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
