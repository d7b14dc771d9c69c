/* Published numbers on the shared worked example (worked.h), through the verb `objective`. A new method is a row of
 * worked[]. Those of methods with critics, flows or scores of other models: test_worked_models.c.
 */
#define FOLDER "/tmp/test_worked.XXXXXX"
#include "worked.h"

static const struct worked worked[] = {
    {"drpo", "{\"C\":8}",
     "{\"loss\":-0.4592611,\"kl\":-0.031176471,\"kl_penalty\":0,"
     "\"dlogp\":[[[-0.19432497,-0.19432497],[-0.03711669,-0.03711669,-0.03711669],[0.12281272,0.12281272],"
     "[0.25437455]],[[-0.23103545,-0.23103545],[-0.0094822725,-0.0094822725,-0.0094822725,-0.0094822725],"
     "[0.16666667,0.16666667,0.16666667]]]}",
     NULL, NULL},
    {"drpo", "{\"C\":8,\"kl_type\":\"low_var_kl\"}",
     "{\"loss\":-0.4168005113,\"kl\":0.0093152689,\"kl_penalty\":0.0424605905,"
     "\"dlogp\":[[[-0.13731448,null],[null,null,null],[null,null],[0.44402414]],"
     "[[null,null],[null,null,null,null],[null,null,null]]]}",
     NULL, NULL},
    {"drpo", "{\"C\":8,\"lambda\":null}", "{\"loss\":-0.4284010807}", NULL, NULL},
    {"drpo", "{\"C\":8,\"lambda\":null,\"score\":\"Lratio\",\"tau\":1,\"kl_type\":\"low_var_kl\"}",
     "{\"loss\":0.111148837,\"objective\":-0.0686882469}", NULL, NULL},
    {"drpo", "{\"C\":8,\"variant\":\"disco_b\"}", "{\"loss\":-0.4291666667}", NULL, NULL},
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
     "{\"rho\":1,\"flawed_centred_reward\":0}]}",
     NULL, NULL},
    {"dr_grpo", "{\"l_max\":8}",
     "{\"loss\":-0.017271242,\"dlogp\":[[[-0.0098675975,-0.0089285714],[null,null,null],[0,0.0089285714],"
     "[0.012052311]],[[null,null],[0,-0.005952381,-0.006257566,-0.005952381],[null,null,null]]],"
     "\"groups\":[{\"samples\":[{\"advantage\":[0.5,null]},{\"advantage\":[0.5,null,null]},"
     "{\"advantage\":[-0.5,null]},{\"advantage\":[-0.5]}]},{\"samples\":[{\"advantage\":[0.33333333,"
     "null]},{\"advantage\":[0.33333333,null,null,null]},{\"advantage\":[-0.66666667,null,null]}]}]}",
     NULL, NULL},
    {"dr_grpo", "{\"l_max\":8,\"per_sequence\":false}", "{\"loss\":-0.120898695}", NULL, NULL},
    {"dapo", "{\"l_max\":5,\"l_cache\":3}",
     "{\"loss\":-0.051425487,\"dlogp\":[[[-0.065993559,-0.059713441],[null,null,null],[null,null],"
     "[0.068203989]],[[null,null],[-0.020533679,null,null,null],[0.065258792,0.062076083,0.079707269]]],"
     "\"groups\":[{\"samples\":[{\"advantage\":[1.0151285,null]},{\"advantage\":[0.70278127,null,null]},"
     "{\"advantage\":[-0.85895489,null]},{\"advantage\":[-0.85895489]}]},"
     "{\"samples\":[{\"advantage\":[0.8320496,null]},{\"advantage\":[0.27734987,null,null,null]},"
     "{\"advantage\":[-1.1093995,null,null]}]}]}",
     NULL, NULL},
    {"rloo", "{\"variant\":\"reinforce\"}",
     "{\"loss\":-0.23177917,\"dlogp\":[[[-0.093690476,-0.093690476],[null,null,null],[null,null],[null]],"
     "[[null,null],[null,null,null,null],[0.14403571,0.14403571,0.14403571]]],"
     "\"groups\":[{\"samples\":[{\"advantage\":[0.65583333,null]},{\"advantage\":[0.65916667,null,null]},"
     "{\"advantage\":[-0.66416667,null]},{\"advantage\":[-0.65083333]}]},"
     "{\"samples\":[{\"advantage\":[0.48425,null]},{\"advantage\":[0.524,null,null,null]},"
     "{\"advantage\":[-1.00825,null,null]}]}]}",
     NULL, NULL},
    {"rloo", "{\"variant\":\"sequence_clip\"}",
     "{\"loss\":0.00871693412,\"dlogp\":[[[-0.10354399,-0.10354399],[null,null,null],[0,0],[0.12550473]],"
     "[[null,null],[0,0,0,0],[null,null,null]]]}",
     NULL, NULL},
    {"rloo", "{\"variant\":\"token_clip\",\"beta\":0}",
     "{\"loss\":-0.0752398486,\"groups\":[{\"samples\":[{\"advantage\":[0.66666667,null]},"
     "{\"advantage\":[0.66666667,null,null]},{\"advantage\":[-0.66666667,null]},"
     "{\"advantage\":[-0.66666667]}]},{\"samples\":[{\"advantage\":[0.5,null]},{\"advantage\":[0.5,null,"
     "null,null]},{\"advantage\":[-1,null,null]}]}]}",
     NULL, NULL},
    {"reinforce_pp", "{}",
     "{\"loss\":0.0093013899,\"dlogp\":[[[-0.046365635,-0.042072862],[null,null,null],[null,null],"
     "[0.10403341]],[[null,null],[null,null,null,null],[null,null,null]]],"
     "\"groups\":[{\"samples\":[{\"advantage\":[0.71320714,null]},{\"advantage\":[null,null,null]},"
     "{\"advantage\":[-1.3142504,null]},{\"advantage\":[-1.3101874]}]},{\"samples\":[{\"advantage\":[null,"
     "null]},{\"advantage\":[null,null,null,null]},{\"advantage\":[null,null,null]}]}]}",
     NULL, NULL},
    {"reinforce_pp", "{\"baseline\":true}",
     "{\"loss\":0.00869195944,\"groups\":[{\"samples\":[{\"advantage\":[0.88891326,null]},"
     "{\"advantage\":[0.88891326,null,null]},{\"advantage\":[-1.12595679,null]},"
     "{\"advantage\":[-1.12595679]}]},{\"samples\":[{\"advantage\":[0.55310158,null]},"
     "{\"advantage\":[0.55310158,null,null,null]},{\"advantage\":[-1.46176847,null,null]}]}]}",
     NULL, NULL},
    {"gspo", "{\"eps_low\":0.05,\"eps_high\":0.08}",
     "{\"loss\":0.033060956,\"dlogp\":[[[-0.065030421,-0.065030421],[null,null,null],[0,0],[0.16700143]],"
     "[[null,null],[-0.022114708,-0.022114708,-0.022114708,-0.022114708],[0.057804819,0.057804819,"
     "0.057804819]]]}",
     NULL, NULL},
    {"cispo", "{\"cispo_hi\":1.28}",
     "{\"loss\":-0.10949056,\"dlogp\":[[[null,null],[null,null,null],[0.037739193,0.050942583],[null]],"
     "[[null,null],[-0.042744223,null,null,null],[null,null,null]]]}",
     NULL, NULL},
    {"tis", "{}",
     "{\"loss\":-0.080406362,\"is_weight\":[[[null,0.67032005],[null,null,2],[null,null],[null]],[[null,"
     "null],[null,null,null,0.90483742],[null,null,null]]],\"dlogp\":[[[-0.056300261,-0.034147834],[null,"
     "null,-0.10188517],[null,null],[null]],[[null,null],[null,null,null,null],[null,null,null]]]}",
     NULL, NULL},
    {"tis", "{\"level\":\"sequence\"}",
     "{\"loss\":-0.0944154681,\"is_weight\":[[[0.67032005,0.67032005],[1.4918247,1.4918247,1.4918247],"
     "[null,null],[null]],[[null,null],[1.3498588,1.3498588,1.3498588,1.3498588],[null,null,null]]]}",
     NULL, NULL},
    {"kl_estimators", "{}",
     "{\"tokens\":[[[{\"k1\":0.2,\"k2\":0.02,\"k3\":0.018730753,\"dk3\":0.18126925},null],null,null,null],"
     "[null,null,null]]}",
     NULL, NULL},
    {"sar", "{\"l_max\":8}",
     "{\"loss\":-0.016152303,\"dlogp\":[[[-0.011069022,-0.010016895],[null,null,null],[null,null],[0.011268371]],"
     "[[null,null],[null,null,null,null],[0.012980211,0.012347242,0.01585369]]],"
     "\"sar\":[[{\"ppl_qa\":1.4918247,\"ppl_a\":3.6692967,\"r_sa\":0.59343034},{\"r_sa\":0.32967995},"
     "{\"r_sa\":-0.22140276},{\"r_sa\":0.45118836}],[{\"r_sa\":0.69880579},{\"r_sa\":0.39346934},{\"r_sa\":0.095162582}"
     "]]}",
     NULL, NULL},
    {"rloo_lp", "{\"alpha\":0.4,\"kl_coef\":0}",
     "{\"loss\":0.019943027,\"groups\":[{\"samples\":[{\"reward\":0.89242342,\"advantage\":[0.65656455,0.65656455]},"
     "{\"reward\":0.70757658},{\"reward\":0},{\"reward\":0,\"advantage\":[-0.53333333]}]},{\"samples\":["
     "{\"reward\":0.89242342,\"advantage\":[0.53863514,0.53863514]},{\"reward\":0.70757658},{\"reward\":0}]}]}",
     NULL, NULL},
    {"grpo_lambda", "{\"lambda\":0.5}",
     "{\"loss\":0.032976404,\"selected\":[false,true],\"groups\":[{\"samples\":[{\"reward\":1},{\"reward\":1},"
     "{\"reward\":0},{\"reward\":0}]},{\"samples\":[{\"reward\":0.83863515,\"advantage\":[0.87058382,0.87058382]},"
     "{\"reward\":0.56136485},{\"reward\":0,\"advantage\":[-1.0922228,-1.0922228,-1.0922228]}]}]}",
     NULL, NULL},
    {"alp", "{\"beta_len\":0.2,\"n_norm\":8}",
     "{\"loss\":0.028022806,\"dlogp\":[[[null,null],[null,null,null],[null,null],[0.16487427]],[[null,null],"
     "[null,null,null,null],[null,null,null]]],\"groups\":[{\"samples\":[{\"reward\":0.975},{\"reward\":0.9625},"
     "{\"reward\":-0.025},{\"reward\":-0.0125}]},{\"samples\":[{\"reward\":0.96666667},{\"reward\":0.93333333},"
     "{\"reward\":-0.05}]}]}",
     NULL, NULL},
    {"l1", "{\"alpha\":0.05}",
     "{\"loss\":0.033527996,\"dlogp\":[[[null,null],[null,null,null],[null,null],[0.17514631]],[[null,null],"
     "[null,null,null,null],[null,null,null]]],\"groups\":[{\"samples\":[{\"reward\":1},{\"reward\":0.95},"
     "{\"reward\":0},{\"reward\":-0.05}]},{\"samples\":[{\"reward\":0.55},{\"reward\":0.45},{\"reward\":0}]}]}",
     NULL, NULL},
    {"l1", "{\"alpha\":0.05,\"max_form\":\"code\"}",
     "{\"loss\":0.0322872592,\"groups\":[{\"samples\":[null,null,null,null]},{\"samples\":[{\"reward\":0.525},"
     "{\"reward\":0.475},{\"reward\":0}]}]}",
     NULL, NULL},
    {"hapo", "{}",
     "{\"loss\":0.026708518,\"history\":[2,2],\"dlogp\":[[[-0.092085298,-0.083322224],[null,null,null],[null,null],"
     "[null]],[[null,null],[null,null,null,null],[null,null,null]]],\"groups\":[{\"samples\":[{\"reward\":1.5,"
     "\"advantage\":[1.1665111,1.1665111]},{\"reward\":1},{\"reward\":0},{\"reward\":0}]},{\"samples\":["
     "{\"reward\":1},{\"reward\":1},{\"reward\":0}]}]}",
     NULL, NULL},
};
enum { WORKED = sizeof worked / sizeof *worked };

static void published_numbers(void **state)
{
    (void)state;
    check_worked(worked, WORKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_numbers)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
