/* [variant NAME]: knobs that `variant=NAME` sets, below what the command line says itself. */
#define FOLDER "/tmp/test_variants.XXXXXX"
#include "runs.h"
#include "../rewards/recipe.h"

static const char base[] = "[params]\nlow = 0.2\nhigh = 0.2\n"
                           "[variant wide]\nhigh = 0.4\n"
                           "[variant both]\nlow = 0.1\nhigh = 0.3\n"
                           "[variant wrong]\nhihg = 1\n"
                           "[task]\nname = chain\n[stages]\nscore = outcome\nadvantage = group\n"
                           "loss = clip(eps_low = $low, eps_high = $high)\n[phase rl]\nsteps = 1\n";

static int load(struct recipe *r, const char *first, const char *second, struct error *e)
{
    char path[600];
    const char *overrides[2] = {first, second};
    int n = 0;
    while (n < 2 && overrides[n])
        n++;
    write_recipe("v.ini", base);
    return recipe_load(r, in_folder(path, "v.ini"), overrides, n, e);
}

static double clip_value(const struct recipe *r, const char *key)
{
    for (int i = 0; i < r->phase[0].stages; i++) {
        const struct stage_use *u = &r->phase[0].stage[i];
        if (u->stage->kind == STAGE_LOSS)
            return u->value[param_find(u->stage->params, key)].num;
    }
    return -1;
}

static void knobs_of_variants(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        double low, high;
    } cases[] = {{NULL, NULL, 0.2, 0.2},
                 {"variant=wide", NULL, 0.2, 0.4},
                 {"variant=both", NULL, 0.1, 0.3},
                 {"variant=both", "low=0.05", 0.05, 0.3},
                 {"high=0.9", "variant=both", 0.1, 0.9}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct recipe r, again;
        struct error e;
        if (load(&r, cases[i].first, cases[i].second, &e))
            fail_msg("%s", e.text);
        assert_true(clip_value(&r, "eps_low") == cases[i].low);
        assert_true(clip_value(&r, "eps_high") == cases[i].high);
        write_recipe("resolved.ini", r.text); /* the resolved text needs no variant any more */
        char path[600];
        assert_int_equal(recipe_load(&again, in_folder(path, "resolved.ini"), NULL, 0, &e), 0);
        assert_true(clip_value(&again, "eps_high") == cases[i].high);
        recipe_free(&again);
        recipe_free(&r);
    }
}

static void wrong_variants(void **state)
{
    (void)state;
    static const char *const cases[][3] = {{"variant=wid", NULL, "did you mean 'wide'?"},
                                           {"variant=", NULL, "unknown variant"},
                                           {"variant=wide", "variant=both", "a variant was given before"},
                                           {"variant=wrong", NULL, "a variant sets knobs of [params]; 'hihg' is none"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct recipe r;
        struct error e;
        assert_int_equal(load(&r, cases[i][0], cases[i][1], &e), -1);
        if (!strstr(e.text, cases[i][2]))
            fail_msg("'%s' does not say '%s'", e.text, cases[i][2]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knobs_of_variants),
        cmocka_unit_test(wrong_variants),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
