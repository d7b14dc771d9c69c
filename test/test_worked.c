/* The worked example that all descriptions of methods share (two groups, seven samples, ../shared/methods), through the
 * verb `objective`: what they publish to about eight digits. A new method is a row of worked[]; `want` holds the fields
 * of the answer, null where nothing is published.
 */
#define FOLDER "/tmp/test_worked.XXXXXX"
#include <jansson.h>
#include <math.h>
#include "answers.h"

static const double digits = 6e-8; /* the published numbers have eight digits */

/* `flawed` is a2 and b1, as the section on FAPO has it. */
static const char groups[] =
    "[{\"samples\":["
    "{\"logp\":[-0.5,-0.2],\"logp_old\":[-0.6,-0.2],\"logp_ref\":[-0.7,-0.3],\"correct\":true,\"flawed\":false},"
    "{\"logp\":[-0.3,-0.4,-0.1],\"logp_old\":[-0.3,-0.5,-0.1],\"logp_ref\":[-0.4,-0.45,-0.2],\"correct\":true,"
    "\"flawed\":true},"
    "{\"logp\":[-1.2,-0.9],\"logp_old\":[-0.9,-0.9],\"logp_ref\":[-1.0,-0.8],\"correct\":false,\"flawed\":false},"
    "{\"logp\":[-0.7],\"logp_old\":[-1.0],\"logp_ref\":[-0.8],\"correct\":false,\"flawed\":false}]},"
    "{\"samples\":["
    "{\"logp\":[-0.1,-0.25],\"logp_old\":[-0.1,-0.15],\"logp_ref\":[-0.2,-0.3],\"correct\":true,\"flawed\":true},"
    "{\"logp\":[-0.4,-0.6,-0.2,-0.3],\"logp_old\":[-0.63,-0.6,-0.25,-0.3],\"logp_ref\":[-0.5,-0.5,-0.3,-0.2],"
    "\"correct\":true,\"flawed\":false},"
    "{\"logp\":[-0.8,-0.5,-0.4],\"logp_old\":[-0.8,-0.45,-0.6],\"logp_ref\":[-0.9,-0.6,-0.5],\"correct\":false,"
    "\"flawed\":false}]}]";

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
