/* [variant NAME]: knobs that `variant=NAME` sets, below what the command line says itself. */
#define FOLDER "/tmp/test_variants.XXXXXX"
#include "runs.h"
#include "../rewards/recipe.h"

static const char base[] = "[params]\nlow = 0.2\nhigh = 0.2\n"
                           "[variant wide]\nhigh = 0.4\n"
                           "[variant both]\nlow = 0.1\nhigh = 0.3\n"
                           "[variant wrong]\nhihg = 1\n"
                           "[variant judged]\nhigh = 0.5\n"
                           "[variant judged: models]\nrm = init head=scalar\n"
                           "[variant judged: phase judge]\ntrain = rm\nsteps = 3\nscore = outcome\nloss = bt\n"
                           "[variant judged: rollout]\nsamples = 3\n"
                           "[variant judged: phase rl]\nlr = 0.5\n"
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

/* Sections that a variant brings: joined with those of the recipe, or whole, where they stand among the phases. */
static void sections_of_variants(void **state)
{
    (void)state;
    struct recipe r, again;
    struct error e;
    char path[600];
    if (load(&r, "variant=judged", "judge.steps=7", &e))
        fail_msg("%s", e.text);
    assert_int_equal(r.phases, 2);
    assert_string_equal(r.phase[0].name, "judge");
    assert_int_equal(r.phase[0].steps, 7); /* the command line goes before */
    assert_string_equal(r.phase[0].train, "rm");
    assert_int_equal(r.model_count, 1);
    assert_int_equal(r.phase[1].rollout.samples, 3);
    assert_true(r.phase[1].optim.lr == 0.5 && r.phase[1].steps == 1);
    write_recipe("resolved.ini", r.text);
    if (recipe_load(&again, in_folder(path, "resolved.ini"), NULL, 0, &e))
        fail_msg("%s", e.text);
    assert_string_equal(r.text, again.text);
    recipe_free(&again);
    recipe_free(&r);
    assert_int_equal(load(&r, NULL, NULL, &e), 0); /* without it nothing of that is there */
    assert_true(r.phases == 1 && r.model_count == 0 && r.rollout.samples == 8);
    recipe_free(&r);
    static const char *const wrong[][2] = {
        {"[variant a: phase rl]\nlr = 1\n", "w.ini:1: the section [variant a] has to stand before this one"},
        {"[variant a]\n[variant a: fase rl]\n", "w.ini:2: unknown section 'fase rl'; there are params"},
        {"[variant a]\n[variant a: phase]\n", "w.ini:2: a phase needs a name"},
        {"[variant a]\n[variant a: models]\n[variant a: models]\n", "w.ini:3: the section stands already in line 2"},
        {"[variant a]\n[variant a: variant b]\n", "w.ini:2: unknown section 'variant b'"},
        {"[variant :]\n", "w.ini:1: "},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_recipe("w.ini", wrong[i][0]);
        assert_int_equal(recipe_load(&r, in_folder(path, "w.ini"), NULL, 0, &e), -1);
        if (!strstr(e.text, wrong[i][1]))
            fail_msg("'%s' does not say '%s'", e.text, wrong[i][1]);
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

/* A recipe may have a knob called variant; the sections go before its values. */
static void a_knob_of_that_name(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *form, *credit;
    } cases[] = {{"variant=reinforce", NULL, "reinforce", "outcome"},
                 {"variant=paper", NULL, "reinforce", "outcome"},
                 {"variant=verl", "variant=sequence_clip", "sequence_clip", "outcome"},
                 {"variant=openrlhf", NULL, "token_clip", "last"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct recipe r;
        struct error e;
        const char *overrides[] = {cases[i].first, cases[i].second};
        if (recipe_load(&r, "rloo", overrides, cases[i].second ? 2 : 1, &e))
            fail_msg("%s: %s", cases[i].first, e.text);
        const struct phase *p = &r.phase[1];
        int credits = 0;
        for (int k = 0; k < p->stages; k++) {
            const struct stage_use *u = &p->stage[k];
            if (u->stage->kind == STAGE_CREDIT && !credits++)
                assert_string_equal(u->stage->name, cases[i].credit);
            if (u->stage->kind == STAGE_LOSS)
                assert_string_equal(u->value[param_find(u->stage->params, "form")].text, cases[i].form);
        }
        assert_int_equal(credits, strcmp(cases[i].credit, "last") ? 1 : 3);
        recipe_free(&r);
    }
    struct recipe r;
    struct error e;
    const char *wrong = "variant=trll";
    assert_int_equal(recipe_load(&r, "rloo", &wrong, 1, &e), -1);
    assert_non_null(strstr(e.text, "form = trll: not one of"));
}

/* Every variant of a built-in recipe is a recipe, and another one. */
static void shipped_variants(void **state)
{
    (void)state;
    int n = 0;
    for (const struct recipe_file *f = recipe_files; f->name; f++) {
        struct recipe r, base;
        struct error e;
        if (!strstr(f->text, "\n[variant ") || recipe_load(&base, f->name, NULL, 0, &e))
            continue; /* none, or one that needs a model of the user's */
        for (const char *s = f->text; (s = strstr(s, "\n[variant ")); s++) {
            char name[80], override[100];
            snprintf(name, sizeof name, "%.*s", (int)strcspn(s + 10, "]"), s + 10);
            if (strchr(name, ':'))
                continue;
            snprintf(override, sizeof override, "variant=%s", name);
            const char *given = override;
            if (recipe_load(&r, f->name, &given, 1, &e))
                fail_msg("%s %s: %s", f->name, override, e.text);
            if (!strcmp(r.text, base.text))
                fail_msg("%s %s changes nothing", f->name, override);
            recipe_free(&r);
            n++;
        }
        recipe_free(&base);
    }
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knobs_of_variants),   cmocka_unit_test(sections_of_variants), cmocka_unit_test(wrong_variants),
        cmocka_unit_test(a_knob_of_that_name), cmocka_unit_test(shipped_variants),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
