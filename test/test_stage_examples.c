/* Stages against numbers from elsewhere: a worked example of two groups whose values are published to eight digits with
 * the method descriptions (here computed afresh in double precision outside the program), and the example files in
 * test/ref, which come from another implementation. What holds for all rows: test_stages.c. */
#include "../model/base/file.h"
#include "../model/base/json.h"
#include "stage_batch.h"

static void near_to(const char *what, double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fmax(1, fabs(want))))
        fail_msg("%s: got %.17g, expected %.17g", what, got, want);
}

/* ---- the worked example */

enum { EXAMPLE_SAMPLES = 7, EXAMPLE_TOKENS = 17 };
static const int example_group[] = {0, 4, 7}, example_length[] = {2, 3, 2, 1, 2, 4, 3};
static const signed char example_right[] = {1, 1, 0, 0, 1, 1, 0};
static const double example_logp[] = {-.5,  -.2, -.3, -.4, -.1, -1.2, -.9, -.7, -.1,
                                      -.25, -.4, -.6, -.2, -.3, -.8,  -.5, -.4};
static const double example_old[] = {-.6,  -.2,  -.3, -.5,  -.1, -.9, -.9,  -1., -.1,
                                     -.15, -.63, -.6, -.25, -.3, -.8, -.45, -.6};
static const double example_ref[] = {-.7, -.3, -.4, -.45, -.2, -1., -.8, -.8, -.2,
                                     -.3, -.5, -.5, -.3,  -.2, -.9, -.6, -.5};

static void fill_example(struct batch *b)
{
    batch_clear(b);
    b->groups = 2;
    b->samples = EXAMPLE_SAMPLES;
    b->tokens = EXAMPLE_TOKENS;
    for (int g = 0; g <= 2; g++)
        b->group_first[g] = example_group[g];
    for (int i = 0; i < EXAMPLE_SAMPLES; i++) {
        b->sample_first[i + 1] = b->sample_first[i] + example_length[i];
        b->step_first[i + 1] = 0;
        b->strict[i] = b->lenient[i] = example_right[i];
    }
    for (int t = 0; t < EXAMPLE_TOKENS; t++) {
        b->trained[t] = 1;
        b->channel[LOGP].value[t] = example_logp[t];
        b->channel[REF].value[t] = example_ref[t];
        b->logp_old[t] = example_old[t];
        b->channel[LOGP].grad[t] = 0;
    }
}

static const struct {
    const char *name, *advantage, *clip, *kl;
    double loss, a[EXAMPLE_SAMPLES], dlogp[EXAMPLE_TOKENS];
} worked[] = {
    {"GRPO",
     "",
     "eps_low=0.2;eps_high=0.2;agg=seq_mean_token_mean",
     "coef=0.04;agg=seq_mean_token_mean",
     0.028569893397347071,
     {0.866023903787037, 0.866023903787037, -0.866023903787037, -0.866023903787037, 0.577349269191358,
      0.577349269191358, -1.15469853838272},
     {-0.0678466902104925, -0.0615869571791768, -0.0410579714527845, -0.0454835052287526, -0.0410579714527845,
      -0.000632579309029057, 0.0615583619331436, 0.167545213910978, -0.0409673404223426, -0.0371754570728632,
      0.000135946545662915, -0.0207698609255137, -0.0215408605691476, -0.0207698609255137, 0.0551669067457751,
      0.0524852252102937, 0.0673408801382251}},
    {"GRPO, token mean",
     "",
     "eps_low=0.2;eps_high=0.2;agg=token_mean",
     "coef=0;agg=token_mean",
     -0.098542268459275204,
     {0.866023903787037, 0.866023903787037, -0.866023903787037, -0.866023903787037, 0.577349269191358,
      0.577349269191358, -1.15469853838272},
     {-0.0563002607543397, -0.050942582575708, -0.050942582575708, -0.0563002607543397, -0.050942582575708, 0,
      0.050942582575708, 0.0687652937704873, -0.0339617217171387, -0.0307298365905915, 0, -0.0339617217171387,
      -0.0357029764243938, -0.0339617217171387, 0.0679234434342774, 0.0646107780080945, 0.0829618811543627}},
    {"GRPO, deviation of the batch",
     "scale=batch",
     "eps_low=0.2;eps_high=0.2;agg=seq_mean_token_mean",
     "coef=0.04;agg=seq_mean_token_mean",
     0.030837755123483877,
     {0.935412596696759, 0.935412596696759, -0.935412596696759, -0.935412596696759, 0.623608397797839,
      0.623608397797839, -1.24721679559568},
     {-0.0733242877424287, -0.0665432923870141, -0.0443621949246761, -0.0491352369167101, -0.0443621949246761,
      -0.000632579309029057, 0.0665146971409809, 0.180925919378175, -0.0442715638942341, -0.0401652421077834,
      0.000135946545662915, -0.0224219726614595, -0.023277677885131, -0.0224219726614595, 0.0595725380416305,
      0.0566759913324126, 0.0727219303544196}},
    {"Dr. GRPO",
     "std=false",
     "eps_low=0.2;eps_high=0.2;agg=seq_sum_const",
     "coef=0;agg=seq_sum_const",
     -0.017271242214006867,
     {0.5, 0.5, -0.5, -0.5, 0.333333333333333, 0.333333333333333, -0.666666666666667},
     {-0.00986759748281828, -0.00892857142857143, -0.00892857142857143, -0.00986759748281828, -0.00892857142857143, 0,
      0.00892857142857143, 0.0120523107819286, -0.00595238095238095, -0.00538593701211881, 0, -0.00595238095238095,
      -0.00625756604985729, -0.00595238095238095, 0.0119047619047619, 0.0113241598154847, 0.0145405090257163}},
    {"dual clip",
     "",
     "eps_low=0.2;eps_high=0.2;agg=token_mean;dual_clip=1.1",
     "coef=0;agg=token_mean",
     -0.11951681477314123,
     {0.866023903787037, 0.866023903787037, -0.866023903787037, -0.866023903787037, 0.577349269191358,
      0.577349269191358, -1.15469853838272},
     {-0.0563002607543397, -0.050942582575708, -0.050942582575708, -0.0563002607543397, -0.050942582575708, 0,
      0.050942582575708, 0, -0.0339617217171387, -0.0307298365905915, 0, -0.0339617217171387, -0.0357029764243938,
      -0.0339617217171387, 0.0679234434342774, 0.0646107780080945, 0}},
    {"DAPO",
     "",
     "eps_low=0.2;eps_high=0.28;agg=token_mean",
     "coef=0;agg=token_mean",
     -0.05142548727093918,
     {1.01512850105732, 0.702781269962759, -0.858954885510039, -0.858954885510039, 0.832049602030727, 0.277349867343576,
      -1.1093994693743},
     {-0.0659935586751925, -0.0597134412386658, -0.0413400747036917, -0.0456878483135948, -0.0413400747036917, 0,
      0.0505267579711787, 0.0682039892656567, -0.0489440942371016, -0.0442864478576077, -0.0205336791642685,
      -0.0163146980790339, -0.0171511705365898, -0.0163146980790339, 0.0652587923161355, 0.0620760834584892,
      0.0797072689291296}},
};

/* Stages with the generation budget 8, as the example has it. */
static void run_step(struct batch *b, enum stage_kind kind, const char *name, const char *args, struct result *r)
{
    struct denominators den;
    batch_denominators(b, 0, b->groups, 8, &den);
    run_part(b, stage_find(kind, name), args, 0, b->groups, &den, r);
    assert_int_equal(r->failed, 0);
}

static void the_worked_example(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    for (size_t k = 0; k < sizeof worked / sizeof *worked; k++) {
        struct result r = {0};
        int dapo = !strcmp(worked[k].name, "DAPO");
        fill_example(&b);
        run_step(&b, STAGE_SCORE, "outcome", dapo ? "right=1;wrong=-1" : "", &r);
        if (dapo) { /* L_max 5, L_cache 3: one third less for each token above 2 */
            double *overlong = batch_component(&b, "overlong", LEVEL_SEQUENCE)->value;
            for (int i = 0; i < b.samples; i++)
                overlong[i] = -(example_length[i] > 2 && i != 5) / 3.0 - 2 * (i == 5) / 3.0;
        }
        run_step(&b, STAGE_SHAPE, "sum", "", &r);
        run_step(&b, STAGE_CREDIT, "outcome", "", &r);
        run_step(&b, STAGE_ADVANTAGE, "group", worked[k].advantage, &r);
        run_step(&b, STAGE_LOSS, "clip", worked[k].clip, &r);
        run_step(&b, STAGE_REGULAR, "kl", worked[k].kl, &r);
        near_to(worked[k].name, r.loss, worked[k].loss);
        for (int i = 0; i < b.samples; i++)
            for (int t = b.sample_first[i]; t < b.sample_first[i + 1]; t++)
                near_to(worked[k].name, b.advantage[t], worked[k].a[i]);
        for (int t = 0; t < b.tokens; t++)
            near_to(worked[k].name, b.channel[LOGP].grad[t], worked[k].dlogp[t]);
        if (k == 0) /* a3 t1 and b2 t1 are clipped */
            near_to("clip_share", metric_value(&r.metrics, "clip_share", -1), 2.0 / 17);
    }
    batch_free(&b);
}

/* ---- example files */

static json_t *read_line(const char *path, int line)
{
    size_t len;
    struct error e;
    char *text = file_read(path, 1 << 20, &len, &e);
    if (!text)
        fail_msg("%s", e.text);
    char *s = text;
    while (line-- > 0)
        s = strchr(s, '\n') + 1;
    json_t *o = json_parse(s, strcspn(s, "\n"), &e);
    if (!o)
        fail_msg("%s: %s", path, e.text);
    mem_free(text);
    return o;
}

static double number(const json_t *o, size_t i)
{
    return json_number_value(json_array_get(o, i));
}

/* The groups of an example as a batch. */
static void load_groups(struct batch *b, json_t *groups)
{
    batch_clear(b);
    size_t g, i;
    json_t *group, *sample;
    json_array_foreach(groups, g, group)
    {
        json_array_foreach(json_object_get(group, "samples"), i, sample)
        {
            int s = b->samples++;
            b->strict[s] = b->lenient[s] = json_is_true(json_object_get(sample, "correct"));
            b->step_first[s + 1] = 0;
            for (size_t t = 0; t < json_array_size(json_object_get(sample, "logp")); t++) {
                int k = b->tokens++;
                b->trained[k] = 1;
                b->channel[LOGP].value[k] = number(json_object_get(sample, "logp"), t);
                b->channel[REF].value[k] = number(json_object_get(sample, "logp_ref"), t);
                b->logp_old[k] = number(json_object_get(sample, "logp_old"), t);
                b->channel[LOGP].grad[k] = b->advantage[k] = 0;
            }
            b->sample_first[s + 1] = b->tokens;
        }
        b->group_first[++b->groups] = b->samples;
    }
}

static void compare_dlogp(const struct batch *b, json_t *output)
{
    size_t g, i, t;
    json_t *group, *sample, *x;
    int k = 0;
    json_array_foreach(json_object_get(output, "dlogp"), g, group) json_array_foreach(group, i, sample)
        json_array_foreach(sample, t, x) near_to("dlogp", b->channel[LOGP].grad[k++], json_number_value(x));
    assert_int_equal(k, b->tokens);
}

/* Advantages of the examples' outputs, to be taken (grpo: process mode has a stage of its own) or compared. */
static void outputs_advantage(struct batch *b, json_t *output, int take)
{
    size_t g, i, t;
    json_t *group, *sample, *x;
    int k = 0, s = 0;
    json_array_foreach(json_object_get(output, "groups"), g, group)
        json_array_foreach(json_object_get(group, "samples"), i, sample)
    {
        if (!take)
            near_to("reward", b->reward[s++], json_number_value(json_object_get(sample, "reward")));
        json_array_foreach(json_object_get(sample, "advantage"), t, x) if (take) b->advantage[k++] =
            json_number_value(x);
        else near_to("advantage", b->advantage[k++], json_number_value(x));
    }
    assert_int_equal(k, b->tokens);
}

static void grpo_examples(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    for (int line = 0; line < 2; line++) {
        struct result r = {0};
        json_t *o = read_line("test/ref/examples_grpo.jsonl", line), *output = json_object_get(o, "output");
        load_groups(&b, json_object_get(json_object_get(o, "input"), "groups"));
        outputs_advantage(&b, output, 1);
        run_step(&b, STAGE_LOSS, "clip",
                 line == 0 ? "dual_clip=1.2;agg=seq_mean_token_mean" : "agg=seq_mean_token_mean", &r);
        run_step(&b, STAGE_REGULAR, "kl", "coef=0.04;agg=seq_mean_token_mean", &r);
        near_to("loss", r.loss, json_number_value(json_object_get(output, "loss")));
        compare_dlogp(&b, output);
        json_decref(o);
    }
    batch_free(&b);
}

static void dapo_examples(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    for (int line = 0; line < 2; line++) {
        struct result r = {0};
        json_t *o = read_line("test/ref/examples_dapo.jsonl", line), *output = json_object_get(o, "output");
        load_groups(&b, json_object_get(json_object_get(o, "input"), "groups"));
        run_step(&b, STAGE_SCORE, "outcome", "right=1;wrong=-1", &r);
        double *overlong = batch_component(&b, "overlong", LEVEL_SEQUENCE)->value;
        size_t g, i;
        json_t *group, *x;
        int s = 0;
        json_array_foreach(json_object_get(output, "overlong"), g, group) json_array_foreach(group, i, x)
            overlong[s++] = json_number_value(x);
        run_step(&b, STAGE_SHAPE, "sum", "", &r);
        run_step(&b, STAGE_CREDIT, "outcome", "", &r);
        run_step(&b, STAGE_ADVANTAGE, "group", "", &r);
        run_step(&b, STAGE_LOSS, "clip", "eps_high=0.28", &r);
        outputs_advantage(&b, output, 0);
        near_to("loss", r.loss, json_number_value(json_object_get(output, "loss")));
        compare_dlogp(&b, output);
        json_decref(o);
    }
    batch_free(&b);
}

/* Each token alone in the step: value and derivative of every estimator. */
static void kl_examples(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    static const char *const kinds[] = {"k1", "k2", "k3"}, *const slopes[] = {"dk1", "dk2", "dk3"};
    for (int line = 0; line < 2; line++) {
        json_t *o = read_line("test/ref/examples_kl_estimators.jsonl", line), *output = json_object_get(o, "output");
        json_t *groups = json_object_get(json_object_get(o, "input"), "groups"), *group, *sample, *token;
        size_t g, i, t;
        for (int k = 0; k < 3; k++) {
            char args[64];
            int at = 0;
            snprintf(args, sizeof args, "coef=1;estimator=%s;agg=seq_mean_token_sum", kinds[k]);
            json_array_foreach(json_object_get(output, "tokens"), g, group) json_array_foreach(group, i, sample)
                json_array_foreach(sample, t, token)
            {
                struct result r = {0};
                load_groups(&b, groups);
                for (int s = 0; s < b.tokens; s++)
                    b.trained[s] = s == at;
                run_step(&b, STAGE_REGULAR, "kl", args, &r);
                near_to(kinds[k], r.loss, json_number_value(json_object_get(token, kinds[k])));
                near_to("kl", metric_value(&r.metrics, "kl", -1), r.loss);
                near_to(slopes[k], b.channel[LOGP].grad[at++], json_number_value(json_object_get(token, slopes[k])));
            }
            assert_int_equal(at, b.tokens);
        }
        struct result r = {0};
        load_groups(&b, groups);
        run_step(&b, STAGE_REGULAR, "kl", "coef=1", &r);
        near_to("loss", r.loss, json_number_value(json_object_get(output, "loss")));
        compare_dlogp(&b, output);
        json_decref(o);
    }
    batch_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_example),
        cmocka_unit_test(grpo_examples),
        cmocka_unit_test(dapo_examples),
        cmocka_unit_test(kl_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
