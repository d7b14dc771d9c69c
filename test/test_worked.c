/* The worked example that all descriptions of methods share (two groups, seven samples, ../shared/methods), through the
 * verb `objective`: what they publish to about eight digits. A new method is a row of worked[]; `want` holds the fields
 * of the answer, null where nothing is published.
 */
#define FOLDER "/tmp/test_worked.XXXXXX"
#include <jansson.h>
#include <math.h>
#include "answers.h"

static const double digits = 6e-8; /* the published numbers have eight digits */

/* With what single sections add: `flawed` (FAPO), logp_rollout = logp_old + 0, .4, -.8, .1 (TIS), the log-probabilities
 * without the question (SAR), targets (L1), records (HAPO). */
static const char groups[] =
    "[{\"history\":3,\"history_count\":1,\"samples\":["
    "{\"logp\":[-0.5,-0.2],\"logp_old\":[-0.6,-0.2],\"logp_rollout\":[-0.6,0.2],\"logp_ref\":[-0.7,-0.3]"
    ",\"logp_noprompt\":[-1.5,-1.1],\"correct\":true,\"flawed\":false,\"target\":2},"
    "{\"logp\":[-0.3,-0.4,-0.1],\"logp_old\":[-0.3,-0.5,-0.1],\"logp_rollout\":[-0.3,-0.1,-0.9],\"logp_ref\":[-0.4,-0."
    "45,-0.2]"
    ",\"logp_noprompt\":[-0.7,-0.9,-0.5],\"correct\":true,\"flawed\":true,\"target\":2},"
    "{\"logp\":[-1.2,-0.9],\"logp_old\":[-0.9,-0.9],\"logp_rollout\":[-0.9,-0.5],\"logp_ref\":[-1.0,-0.8]"
    ",\"logp_noprompt\":[-0.7,-0.7],\"correct\":false,\"flawed\":false,\"target\":2},"
    "{\"logp\":[-0.7],\"logp_old\":[-1.0],\"logp_rollout\":[-1.0],\"logp_ref\":[-0.8]"
    ",\"logp_noprompt\":[-1.6],\"correct\":false,\"flawed\":false,\"target\":2}]},{\"history\":null,\"history_count\":"
    "0,\"samples\":["
    "{\"logp\":[-0.1,-0.25],\"logp_old\":[-0.1,-0.15],\"logp_rollout\":[-0.1,0.25],\"logp_ref\":[-0.2,-0.3]"
    ",\"logp_noprompt\":[-1.3,-1.35],\"correct\":true,\"flawed\":true,\"target\":-3},"
    "{\"logp\":[-0.4,-0.6,-0.2,-0.3],\"logp_old\":[-0.63,-0.6,-0.25,-0.3],\"logp_rollout\":[-0.63,-0.2,-1.05,-0.2],"
    "\"logp_ref\":[-0.5,-0.5,-0.3,-0.2]"
    ",\"logp_noprompt\":[-1.13,-1.1,-0.75,-0.8],\"correct\":true,\"flawed\":false,\"target\":-3},"
    "{\"logp\":[-0.8,-0.5,-0.4],\"logp_old\":[-0.8,-0.45,-0.6],\"logp_rollout\":[-0.8,-0.05,-1.4],\"logp_ref\":[-0.9,-"
    "0.6,-0.5]"
    ",\"logp_noprompt\":[-0.9,-0.55,-0.7],\"correct\":false,\"flawed\":false,\"target\":-3}]}]";

static const struct {
    const char *recipe, *params, *want;
} worked[] = {
    {"drpo", "{\"C\":8}",
     "{\"loss\":-0.4592611,\"kl\":-0.031176471,\"kl_penalty\":0,"
     "\"dlogp\":[[[-0.19432497,-0.19432497],[-0.03711669,-0.03711669,-0.03711669],[0.12281272,0.12281272],"
     "[0.25437455]],[[-0.23103545,-0.23103545],[-0.0094822725,-0.0094822725,-0.0094822725,-0.0094822725],"
     "[0.16666667,0.16666667,0.16666667]]]}"},
    {"drpo", "{\"C\":8,\"kl_type\":\"low_var_kl\"}",
     "{\"loss\":-0.4168005113,\"kl\":0.0093152689,\"kl_penalty\":0.0424605905,"
     "\"dlogp\":[[[-0.13731448,null],[null,null,null],[null,null],[0.44402414]],"
     "[[null,null],[null,null,null,null],[null,null,null]]]}"},
    {"drpo", "{\"C\":8,\"lambda\":null}", "{\"loss\":-0.4284010807}"},
    {"drpo", "{\"C\":8,\"lambda\":null,\"score\":\"Lratio\",\"tau\":1,\"kl_type\":\"low_var_kl\"}",
     "{\"loss\":0.111148837,\"objective\":-0.0686882469}"},
    {"drpo", "{\"C\":8,\"variant\":\"disco_b\"}", "{\"loss\":-0.4291666667}"},
    {"fapo", "{}",
     "{\"loss\":-0.13112247,\"dlogp\":[[[-0.084875895,-0.076798886],[-0.015359777,-0.016975179,-0.015359777],"
     "[0,0.046079331],[0.062200591]],[[0,0],[-0.074035221,-0.058823471,-0.061839414,-0.058823471],"
     "[0.058823471,0.055954616,0.071847149]]],"
     "\"groups\":[{\"samples\":[{\"reward\":1,\"advantage\":[1.3055811,1.3055811]},{\"reward\":0,"
     "\"advantage\":[0.26111621,0.26111621,0.26111621]},{\"reward\":-1,\"advantage\":[-0.78334863,-0.78334863]},"
     "{\"reward\":-1,\"advantage\":[-0.78334863]}]},{\"samples\":[{\"reward\":0,\"advantage\":[0,0]},"
     "{\"reward\":1,\"advantage\":[0.999999,0.999999,0.999999,0.999999]},{\"reward\":-1,"
     "\"advantage\":[-0.999999,-0.999999,-0.999999]}]}],"
     "\"fapo\":[{\"alpha\":0.25,\"beta\":0.5,\"gamma\":0.25,\"rho\":0.5,\"flawed_centred_reward\":0.25},"
     "{\"rho\":1,\"flawed_centred_reward\":0}]}"},
    {"dr_grpo", "{\"l_max\":8}",
     "{\"loss\":-0.017271242,\"dlogp\":[[[-0.0098675975,-0.0089285714],[null,null,null],[0,0.0089285714],"
     "[0.012052311]],[[null,null],[0,-0.005952381,-0.006257566,-0.005952381],[null,null,null]]],"
     "\"groups\":[{\"samples\":[{\"advantage\":[0.5,null]},{\"advantage\":[0.5,null,null]},"
     "{\"advantage\":[-0.5,null]},{\"advantage\":[-0.5]}]},{\"samples\":[{\"advantage\":[0.33333333,"
     "null]},{\"advantage\":[0.33333333,null,null,null]},{\"advantage\":[-0.66666667,null,null]}]}]}"},
    {"dr_grpo", "{\"l_max\":8,\"per_sequence\":false}", "{\"loss\":-0.120898695}"},
    {"dapo", "{\"l_max\":5,\"l_cache\":3}",
     "{\"loss\":-0.051425487,\"dlogp\":[[[-0.065993559,-0.059713441],[null,null,null],[null,null],"
     "[0.068203989]],[[null,null],[-0.020533679,null,null,null],[0.065258792,0.062076083,0.079707269]]],"
     "\"groups\":[{\"samples\":[{\"advantage\":[1.0151285,null]},{\"advantage\":[0.70278127,null,null]},"
     "{\"advantage\":[-0.85895489,null]},{\"advantage\":[-0.85895489]}]},"
     "{\"samples\":[{\"advantage\":[0.8320496,null]},{\"advantage\":[0.27734987,null,null,null]},"
     "{\"advantage\":[-1.1093995,null,null]}]}]}"},
    {"rloo", "{\"variant\":\"reinforce\"}",
     "{\"loss\":-0.23177917,\"dlogp\":[[[-0.093690476,-0.093690476],[null,null,null],[null,null],[null]],"
     "[[null,null],[null,null,null,null],[0.14403571,0.14403571,0.14403571]]],"
     "\"groups\":[{\"samples\":[{\"advantage\":[0.65583333,null]},{\"advantage\":[0.65916667,null,null]},"
     "{\"advantage\":[-0.66416667,null]},{\"advantage\":[-0.65083333]}]},"
     "{\"samples\":[{\"advantage\":[0.48425,null]},{\"advantage\":[0.524,null,null,null]},"
     "{\"advantage\":[-1.00825,null,null]}]}]}"},
    {"rloo", "{\"variant\":\"sequence_clip\"}",
     "{\"loss\":0.00871693412,\"dlogp\":[[[-0.10354399,-0.10354399],[null,null,null],[0,0],[0.12550473]],"
     "[[null,null],[0,0,0,0],[null,null,null]]]}"},
    {"rloo", "{\"variant\":\"token_clip\",\"beta\":0}",
     "{\"loss\":-0.0752398486,\"groups\":[{\"samples\":[{\"advantage\":[0.66666667,null]},"
     "{\"advantage\":[0.66666667,null,null]},{\"advantage\":[-0.66666667,null]},"
     "{\"advantage\":[-0.66666667]}]},{\"samples\":[{\"advantage\":[0.5,null]},{\"advantage\":[0.5,null,"
     "null,null]},{\"advantage\":[-1,null,null]}]}]}"},
    {"reinforce_pp", "{}",
     "{\"loss\":0.0093013899,\"dlogp\":[[[-0.046365635,-0.042072862],[null,null,null],[null,null],"
     "[0.10403341]],[[null,null],[null,null,null,null],[null,null,null]]],"
     "\"groups\":[{\"samples\":[{\"advantage\":[0.71320714,null]},{\"advantage\":[null,null,null]},"
     "{\"advantage\":[-1.3142504,null]},{\"advantage\":[-1.3101874]}]},{\"samples\":[{\"advantage\":[null,"
     "null]},{\"advantage\":[null,null,null,null]},{\"advantage\":[null,null,null]}]}]}"},
    {"reinforce_pp", "{\"baseline\":true}",
     "{\"loss\":0.00869195944,\"groups\":[{\"samples\":[{\"advantage\":[0.88891326,null]},"
     "{\"advantage\":[0.88891326,null,null]},{\"advantage\":[-1.12595679,null]},"
     "{\"advantage\":[-1.12595679]}]},{\"samples\":[{\"advantage\":[0.55310158,null]},"
     "{\"advantage\":[0.55310158,null,null,null]},{\"advantage\":[-1.46176847,null,null]}]}]}"},
    {"gspo", "{\"eps_low\":0.05,\"eps_high\":0.08}",
     "{\"loss\":0.033060956,\"dlogp\":[[[-0.065030421,-0.065030421],[null,null,null],[0,0],[0.16700143]],"
     "[[null,null],[-0.022114708,-0.022114708,-0.022114708,-0.022114708],[0.057804819,0.057804819,"
     "0.057804819]]]}"},
    {"cispo", "{\"cispo_hi\":1.28}",
     "{\"loss\":-0.10949056,\"dlogp\":[[[null,null],[null,null,null],[0.037739193,0.050942583],[null]],"
     "[[null,null],[-0.042744223,null,null,null],[null,null,null]]]}"},
    {"tis", "{}",
     "{\"loss\":-0.080406362,\"is_weight\":[[[null,0.67032005],[null,null,2],[null,null],[null]],[[null,"
     "null],[null,null,null,0.90483742],[null,null,null]]],\"dlogp\":[[[-0.056300261,-0.034147834],[null,"
     "null,-0.10188517],[null,null],[null]],[[null,null],[null,null,null,null],[null,null,null]]]}"},
    {"tis", "{\"level\":\"sequence\"}",
     "{\"loss\":-0.0944154681,\"is_weight\":[[[0.67032005,0.67032005],[1.4918247,1.4918247,1.4918247],"
     "[null,null],[null]],[[null,null],[1.3498588,1.3498588,1.3498588,1.3498588],[null,null,null]]]}"},
    {"kl_estimators", "{}",
     "{\"tokens\":[[[{\"k1\":0.2,\"k2\":0.02,\"k3\":0.018730753,\"dk3\":0.18126925},null],null,null,null],"
     "[null,null,null]]}"},
    {"sar", "{\"l_max\":8}",
     "{\"loss\":-0.016152303,\"dlogp\":[[[-0.011069022,-0.010016895],[null,null,null],[null,null],[0.011268371]],"
     "[[null,null],[null,null,null,null],[0.012980211,0.012347242,0.01585369]]],"
     "\"sar\":[[{\"ppl_qa\":1.4918247,\"ppl_a\":3.6692967,\"r_sa\":0.59343034},{\"r_sa\":0.32967995},"
     "{\"r_sa\":-0.22140276},{\"r_sa\":0.45118836}],[{\"r_sa\":0.69880579},{\"r_sa\":0.39346934},{\"r_sa\":0.095162582}"
     "]]}"},
    {"rloo_lp", "{\"alpha\":0.4,\"kl_coef\":0}",
     "{\"loss\":0.019943027,\"groups\":[{\"samples\":[{\"reward\":0.89242342,\"advantage\":[0.65656455,0.65656455]},"
     "{\"reward\":0.70757658},{\"reward\":0},{\"reward\":0,\"advantage\":[-0.53333333]}]},{\"samples\":["
     "{\"reward\":0.89242342,\"advantage\":[0.53863514,0.53863514]},{\"reward\":0.70757658},{\"reward\":0}]}]}"},
    {"grpo_lambda", "{\"lambda\":0.5}",
     "{\"loss\":0.032976404,\"selected\":[false,true],\"groups\":[{\"samples\":[{\"reward\":1},{\"reward\":1},"
     "{\"reward\":0},{\"reward\":0}]},{\"samples\":[{\"reward\":0.83863515,\"advantage\":[0.87058382,0.87058382]},"
     "{\"reward\":0.56136485},{\"reward\":0,\"advantage\":[-1.0922228,-1.0922228,-1.0922228]}]}]}"},
    {"alp", "{\"beta_len\":0.2,\"n_norm\":8}",
     "{\"loss\":0.028022806,\"dlogp\":[[[null,null],[null,null,null],[null,null],[0.16487427]],[[null,null],"
     "[null,null,null,null],[null,null,null]]],\"groups\":[{\"samples\":[{\"reward\":0.975},{\"reward\":0.9625},"
     "{\"reward\":-0.025},{\"reward\":-0.0125}]},{\"samples\":[{\"reward\":0.96666667},{\"reward\":0.93333333},"
     "{\"reward\":-0.05}]}]}"},
    {"l1", "{\"alpha\":0.05}",
     "{\"loss\":0.033527996,\"dlogp\":[[[null,null],[null,null,null],[null,null],[0.17514631]],[[null,null],"
     "[null,null,null,null],[null,null,null]]],\"groups\":[{\"samples\":[{\"reward\":1},{\"reward\":0.95},"
     "{\"reward\":0},{\"reward\":-0.05}]},{\"samples\":[{\"reward\":0.55},{\"reward\":0.45},{\"reward\":0}]}]}"},
    {"l1", "{\"alpha\":0.05,\"max_form\":\"code\"}",
     "{\"loss\":0.0322872592,\"groups\":[{\"samples\":[null,null,null,null]},{\"samples\":[{\"reward\":0.525},"
     "{\"reward\":0.475},{\"reward\":0}]}]}"},
    {"hapo", "{}",
     "{\"loss\":0.026708518,\"history\":[2,2],\"dlogp\":[[[-0.092085298,-0.083322224],[null,null,null],[null,null],"
     "[null]],[[null,null],[null,null,null,null],[null,null,null]]],\"groups\":[{\"samples\":[{\"reward\":1.5,"
     "\"advantage\":[1.1665111,1.1665111]},{\"reward\":1},{\"reward\":0},{\"reward\":0}]},{\"samples\":["
     "{\"reward\":1},{\"reward\":1},{\"reward\":0}]}]}"},
};
enum { WORKED = sizeof worked / sizeof *worked };

static void published_numbers(void **state)
{
    (void)state;
    json_t *line[WORKED], *out[WORKED];
    json_error_t why;
    for (int i = 0; i < WORKED; i++) {
        line[i] = json_pack("{s:s,s:o,s:o}", "recipe", worked[i].recipe, "params",
                            json_loads(worked[i].params, 0, &why), "groups", json_loads(groups, 0, &why));
        assert_non_null(line[i]);
    }
    assert_int_equal(answers(line, WORKED, out), WORKED);
    for (int i = 0; i < WORKED; i++) {
        char text[300];
        json_t *want = json_loads(worked[i].want, 0, &why);
        const char *error = json_string_value(json_object_get(out[i], "error"));
        if (!want)
            fail_msg("%s: %s", worked[i].want, why.text);
        difference(out[i], want, "answer", digits, 1, text);
        if (error || text[0])
            fail_msg("%s %s: %s", worked[i].recipe, worked[i].params, error ? error : text);
        json_decref(want);
        json_decref(out[i]);
        json_decref(line[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_numbers)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
