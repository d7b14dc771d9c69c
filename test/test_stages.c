/* What every row of stages.def has to hold, and what single stages do on cases small enough to check by hand. Scores
 * and their sums: test_stages_scores.c; published and worked examples: test_stage_examples.c. */
#include "stage_batch.h"

static void near_to(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("got %.17g, expected %.17g", got, want);
}

/* ---- for every row */

static void every_row_is_described(void **state)
{
    (void)state;
    int kinds[STAGE_KINDS] = {0};
    for (int i = 0; stages[i]; i++) {
        const struct stage *s = stages[i];
        kinds[s->kind]++;
        assert_non_null(s->run);
        assert_true(strlen(s->sentence) > 10 && s->sentence[strlen(s->sentence) - 1] == '.');
        assert_non_null(s->citation);
        assert_true(strlen(s->formula) > 5);
        assert_ptr_equal(stage_find(s->kind, s->name), s);
        if ((!s->zero_on_equal || !s->permutable) && !s->why_not)
            fail_msg("%s: a flag is 0 without a reason", s->name);
        if (s->kind == STAGE_LOSS && !s->gradients)
            fail_msg("%s: a loss without a gradient", s->name);
        for (int k = 0; k < param_count(s->params); k++)
            assert_non_null(s->params[k].help);
    }
    for (int k = 0; k < STAGE_KINDS; k++)
        assert_true(kinds[k] > 0);
    assert_null(stage_find(STAGE_LOSS, "outcome"));
}

static void spoil_token(struct batch *b, int t, double with)
{
    b->token_reward[t] = b->advantage[t] = b->returns[t] = b->logp_old[t] = b->logp_rollout[t] = with;
    for (int c = 0; c < b->channels; c++)
        b->channel[c].value[t] = with;
}

/* Not kept and not trained: numbers there may be anything. */
static void spoil(struct batch *b, double with)
{
    for (int i = 0; i < b->samples; i++) {
        if (!b->kept[i]) {
            b->weight[i] = b->reward[i] = with;
            b->strict[i] = b->lenient[i] = isnan(with) ? 77 : -55;
            b->text[i] = isnan(with) ? NULL : "spoilt dog park\n";
            b->text_len[i] = isnan(with) ? 0 : 16;
        }
        for (int k = 0; k < b->components; k++) {
            const struct component *c = &b->component[k];
            if (c->level == LEVEL_SEQUENCE && !b->kept[i])
                c->value[i] = with;
            for (int s = b->step_first[i]; c->level == LEVEL_STEP && !b->kept[i] && s < b->step_first[i + 1]; s++)
                c->value[s] = with;
            for (int t = b->sample_first[i]; c->level == LEVEL_TOKEN && t < b->sample_first[i + 1]; t++)
                if (!b->kept[i] || !b->trained[t])
                    c->value[t] = with;
        }
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            if (!b->kept[i] || !b->trained[t])
                spoil_token(b, t, with);
    }
}

static void masked_garbage_changes_nothing(void **state)
{
    (void)state;
    struct batch b;
    static double out[2][MAX_OUT];
    open_batch(&b);
    for (int i = 0; stages[i]; i++) {
        int n[2];
        for (int garbage = 0; garbage < 2; garbage++) {
            fill_batch(&b, 0, 0);
            b.kept[1] = b.kept[4] = b.kept[9] = 0;
            run_before(&b, stages[i]->kind);
            spoil(&b, garbage ? NAN : 1e3);
            struct result r = run_stage(&b, stages[i], "");
            if (r.failed)
                fail_msg("%s: %s", stages[i]->name, r.e.text);
            n[garbage] = outputs(&b, &r, out[garbage]);
            for (int s = 0; s < b.samples; s++)
                for (int t = b.sample_first[s]; t < b.sample_first[s + 1]; t++)
                    if (!b.kept[s] || !b.trained[t])
                        for (int c = 0; c < b.channels; c++)
                            assert_true(!b.channel[c].grad || b.channel[c].grad[t] == 0);
        }
        if (n[0] != n[1] || memcmp(out[0], out[1], (size_t)n[0] * sizeof(double)))
            fail_msg("%s stage %s reads what is masked", stage_kind_names[stages[i]->kind], stages[i]->name);
    }
    batch_free(&b);
}

static void splits_change_no_bit(void **state)
{
    (void)state;
    struct batch b;
    static double out[2][MAX_OUT];
    open_batch(&b);
    for (int i = 0; stages[i]; i++) {
        if (stages[i]->kind < STAGE_LOSS || stages[i]->couples == COUPLES_BATCH) /* the loop never splits those */
            continue;
        int n[2];
        for (int split = 0; split < 2; split++) {
            struct result r = {0};
            struct denominators den;
            fill_batch(&b, 0, 0);
            run_before(&b, stages[i]->kind);
            batch_denominators(&b, 0, GROUPS, 20, &den);
            run_part(&b, stages[i], "", 0, split ? 1 : GROUPS, &den, &r);
            if (split) {
                run_part(&b, stages[i], "", 1, 3, &den, &r);
                run_part(&b, stages[i], "", 3, GROUPS, &den, &r);
            }
            n[split] = outputs(&b, &r, out[split]);
        }
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(out[0], out[1], (size_t)n[0] * sizeof(double));
    }
    batch_free(&b);
}

/* Largest difference between sample i of one order and its place in the other. */
static double reversed_difference(const struct stage *s, const char *args)
{
    struct batch b[2];
    struct result r[2];
    double worst = 0;
    for (int k = 0; k < 2; k++) {
        open_batch(&b[k]);
        fill_batch(&b[k], k, 0);
        run_before(&b[k], s->kind);
        r[k] = run_stage(&b[k], s, args);
        assert_int_equal(r[k].failed, 0);
    }
    for (int g = 0; g < GROUPS; g++)
        for (int i = group_first[g]; i < group_first[g + 1]; i++) {
            double x[MAX_OUT], y[MAX_OUT];
            int n = outputs_of(&b[0], i, x), m = outputs_of(&b[1], group_first[g] + group_first[g + 1] - 1 - i, y);
            worst = n == m ? worst : INFINITY;
            for (int k = 0; k < n && k < m; k++)
                worst = fmax(worst, fabs(x[k] - y[k]));
        }
    worst = fmax(worst, fabs(r[0].loss - r[1].loss));
    batch_free(&b[0]);
    batch_free(&b[1]);
    return worst;
}

/* How each stage that says so depends on the order: here the samples of a reversed group come out differently. */
static const struct {
    const char *stage, *args;
} ordered[] = {{"process", "verifier=noisy;eps=0.5;flips=fresh"},
               {"noise", "share=0.5"},
               {"proxy", ""},
               {"filter", "strategy=br"}};
/* What the reason leaves room for: settings in which they do not. */
static const struct {
    const char *stage, *args;
} unordered[] = {{"process", "verifier=noisy;eps=0.5;flips=hash"},
                 {"noise", "share=1"},
                 {"noise", "share=0"},
                 {"proxy", "noise=0"},
                 {"filter", "strategy=pow"},
                 {"filter", "strategy=bw;scope=batch"}};

static const struct stage *stage_named(const char *name)
{
    for (int i = 0; stages[i]; i++)
        if (!strcmp(stages[i]->name, name))
            return stages[i];
    fail_msg("no stage %s", name);
    return NULL;
}

static void permuting_a_group_permutes(void **state)
{
    (void)state;
    for (int i = 0; stages[i]; i++) {
        int shown = stages[i]->permutable;
        if (shown && reversed_difference(stages[i], "") > 1e-12)
            fail_msg("%s depends on the order of a group", stages[i]->name);
        for (size_t k = 0; k < sizeof ordered / sizeof *ordered; k++)
            shown |= !strcmp(ordered[k].stage, stages[i]->name);
        if (!shown)
            fail_msg("%s: permutable = 0 is not shown", stages[i]->name);
    }
    for (size_t k = 0; k < sizeof ordered / sizeof *ordered; k++) {
        const struct stage *s = stage_named(ordered[k].stage);
        assert_int_equal(s->permutable, 0);
        if (!(reversed_difference(s, ordered[k].args) > 0.01))
            fail_msg("%s(%s) does not depend on the order of a group", s->name, ordered[k].args);
    }
    for (size_t k = 0; k < sizeof unordered / sizeof *unordered; k++)
        if (reversed_difference(stage_named(unordered[k].stage), unordered[k].args) > 1e-12)
            fail_msg("%s(%s) depends on the order of a group", unordered[k].stage, unordered[k].args);
}

/* Advantage of a token: its reward less that of the same place in the first sample of its group. */
static void compare_with_first(struct batch *b)
{
    for (int g = 0; g < b->groups; g++)
        for (int i = b->group_first[g], first = b->sample_first[i]; i < b->group_first[g + 1]; i++)
            for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++) {
                int same = first + t - b->sample_first[i];
                b->advantage[t] = b->token_reward[t] - b->token_reward[same < b->tokens ? same : first];
            }
}

/* The stage in the middle of a plain chain on groups of equal samples; 1: some gradient is not zero. */
static int moves_when_equal(struct batch *b, const struct stage *s)
{
    fill_batch(b, 0, 1);
    if (s->kind <= STAGE_ADVANTAGE) {
        for (int k = 0; k < STAGE_LOSS; k++) {
            static const char *const plain[] = {"outcome", "sum", "dynamic", "outcome", "group"};
            if (k == (int)s->kind)
                assert_int_equal(run_stage(b, s, "").failed, 0);
            else if (k == STAGE_ADVANTAGE && s->kind == STAGE_CREDIT)
                compare_with_first(b); /* token by token, where `group` would look at rewards alone */
            else if (k != STAGE_SELECT)
                run_named(b, (enum stage_kind)k, plain[k], "");
            if (k == STAGE_SCORE && s->writes & FIELD_OUTCOME)
                run_named(b, STAGE_SCORE, "outcome", "");    /* what it made of the verdicts */
            if (k == STAGE_SCORE && s->kind > STAGE_SCORE) { /* what some stages need beside the outcome */
                run_named(b, STAGE_SCORE, "format", "");
                run_named(b, STAGE_SCORE, "process", "");
                run_named(b, STAGE_SCORE, "concise", "");
            }
        }
        run_named(b, STAGE_LOSS, "clip", "");
    } else {
        run_before(b, s->kind);
        assert_int_equal(run_stage(b, s, "").failed, 0);
    }
    for (int t = 0; t < b->tokens; t++)
        if (b->channel[LOGP].grad[t] != 0 || b->channel[ENTROPY].grad[t] != 0)
            return 1;
    return 0;
}

static void equal_rewards_give_no_gradient(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    for (int i = 0; stages[i]; i++)
        if (moves_when_equal(&b, stages[i]) == stages[i]->zero_on_equal)
            fail_msg("%s: zero_on_equal = %d is not so", stages[i]->name, stages[i]->zero_on_equal);
    batch_free(&b);
}

static void extremes_stay_finite(void **state)
{
    (void)state;
    struct batch b;
    static double out[MAX_OUT];
    open_batch(&b);
    for (int i = 0; stages[i]; i++)
        for (int sign = 0; sign < 4; sign++) {
            fill_batch(&b, 0, 0);
            run_before(&b, stages[i]->kind);
            for (int s = 0; s < b.samples; s++)
                b.reward[s] = s % 2 ? 1e12 : -1e12;
            for (int t = 0; t < b.tokens; t++) {
                b.channel[LOGP].value[t] = sign & 1 ? -1e4 : 0;
                b.channel[REF].value[t] = b.logp_old[t] = sign & 1 ? 0 : -1e4;
                b.token_reward[t] = b.advantage[t] = sign & 2 ? 1e12 : -1e12;
            }
            struct result r = run_stage(&b, stages[i], "");
            assert_int_equal(r.failed, 0);
            for (int k = 0, n = outputs(&b, &r, out); k < n; k++)
                if (!isfinite(out[k]))
                    fail_msg("%s overflows", stages[i]->name);
        }
    batch_free(&b);
}

/* Outputs of a stage with parameters as written; returns their number. */
static int outputs_with(struct batch *b, const struct stage *s, const char *args, int all_right, double *out)
{
    fill_batch(b, 0, 0);
    if (all_right) /* stages that compare right answers need several */
        memset(b->strict, 1, (size_t)b->samples);
    run_before(b, s->kind);
    struct result r = run_stage(b, s, args);
    if (r.failed)
        fail_msg("%s(%s): %s", s->name, args, r.e.text);
    return outputs(b, &r, out);
}

static int differs(struct batch *b, const struct stage *s, const char *base, const char *args)
{
    static double x[MAX_OUT], y[MAX_OUT];
    for (int all_right = 0; all_right < 2; all_right++) {
        int n = outputs_with(b, s, base, all_right, x), m = outputs_with(b, s, args, all_right, y);
        if (n != m || memcmp(x, y, (size_t)n * sizeof *x))
            return 1;
    }
    return 0;
}

/* Other values of a row: all other choices, the other bool, some numbers within the bounds. */
static int other_values(const struct param *row, char value[16][64])
{
    struct value def;
    struct error e;
    int n = 0;
    char choices[256], *save = NULL;
    assert_int_equal(param_parse(row, row->def, &def, &e), 0);
    if (row->type == PARAM_TEXT) /* weights by name, a list of names or of numbers, a condition */
        snprintf(value[n++], 64, "%s",
                 strcmp(row->key, "*") == 0            ? "outcome = 2"
                 : strcmp(row->key, "components") == 0 ? "format"
                 : strcmp(row->key, "weights") == 0    ? "3,2"
                                                       : "outcome:format:2");
    if (row->type == PARAM_BOOL)
        snprintf(value[n++], 64, "%s", def.num != 0 ? "false" : "true");
    snprintf(choices, sizeof choices, "%s", row->choices ? row->choices : "");
    for (char *one = strtok_r(choices, "|", &save); one; one = strtok_r(NULL, "|", &save))
        if (strcmp(one, row->def))
            snprintf(value[n++], 64, "%s", one);
    const double tries[] = {def.num + 1, def.num / 2, 1 - def.num, row->min, 1.1, 100};
    for (int i = 0; i < 6 && (row->type == PARAM_NUMBER || row->type == PARAM_INT); i++)
        if (isfinite(tries[i]) && tries[i] >= row->min && tries[i] <= row->max && (def.off || tries[i] != def.num) &&
            (row->type == PARAM_NUMBER || tries[i] == floor(tries[i])))
            snprintf(value[n++], 64, "%.17g", tries[i]);
    return n;
}

/* Parameters that matter only under another one, beyond what only_if can say. */
static const struct {
    const char *stage, *key, *base;
} under[] = {{"l1", "delta", "target=-9;"},
             {"l1", "combine_max", "target=-9;"},
             {"l1", "max_form", "target=-9;"},
             {"par", "len_penalty", "len_valid=2;"}};

static void base_of(const struct stage *s, const struct param *row, char base[64])
{
    base[0] = 0;
    if (row->only_if && !strstr(row->only_if, "!="))
        snprintf(base, 64, "%.60s;", row->only_if);
    for (size_t i = 0; i < sizeof under / sizeof *under; i++)
        if (!strcmp(s->name, under[i].stage) && !strcmp(row->key, under[i].key))
            snprintf(base, 64, "%s", under[i].base);
}

static void every_parameter_changes_something(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    for (int i = 0; stages[i]; i++)
        for (int k = 0; k < param_count(stages[i]->params); k++) {
            const struct param *row = &stages[i]->params[k];
            char value[16][64], base[64], args[256];
            int n = other_values(row, value), all = row->type == PARAM_CHOICE, any = 0;
            if (strcmp(row->key, "model") == 0) /* names a channel: test_judges.c */
                continue;
            base_of(stages[i], row, base);
            for (int j = 0; j < n; j++) {
                snprintf(args, sizeof args, "%.63s%.40s=%.63s", base, row->key, value[j]);
                int changes = differs(&b, stages[i], base, args);
                any |= changes;
                if (all && !changes)
                    fail_msg("%s.%s = %s changes nothing", stages[i]->name, row->key, value[j]);
            }
            if (!any)
                fail_msg("%s.%s changes nothing", stages[i]->name, row->key);
        }
    batch_free(&b);
}

/* The flag holds for every value of every parameter. */
static void permutable_with_any_parameter(void **state)
{
    (void)state;
    for (int i = 0; stages[i]; i++)
        for (int k = 0; stages[i]->permutable && k < param_count(stages[i]->params); k++) {
            const struct param *row = &stages[i]->params[k];
            char value[16][64], base[64], args[256];
            int n = strcmp(row->key, "model") ? other_values(row, value) : 0;
            base_of(stages[i], row, base);
            for (int j = 0; j < n; j++) {
                snprintf(args, sizeof args, "%.63s%.40s=%.63s", base, row->key, value[j]);
                if (!(reversed_difference(stages[i], args) <= 1e-9))
                    fail_msg("%s(%s) depends on the order of a group", stages[i]->name, args);
            }
        }
}

/* ---- gradients */

static const struct {
    enum stage_kind kind;
    const char *name, *args;
} gradients[] = {
    {STAGE_LOSS, "clip", ""},
    {STAGE_LOSS, "clip", "eps_low=0.1;eps_high=0.4;dual_clip=1.05;agg=seq_mean_token_mean"},
    {STAGE_LOSS, "clip", "agg=seq_mean_token_sum"},
    {STAGE_LOSS, "clip", "agg=seq_sum_const"},
    {STAGE_LOSS, "clip", "agg=seq_sum_const;l_max=9;per_sequence=false"},
    {STAGE_LOSS, "clip", "form=mean_clip;eps_low=0.03;eps_high=0.05"},
    {STAGE_LOSS, "clip", "form=sequence_clip;eps_high=0.6;dual_clip=1.2"},
    {STAGE_LOSS, "clip", "form=reinforce"},
    {STAGE_LOSS, "cispo", "low=1;high=1;agg=seq_mean_token_sum"}, /* elsewhere the weight moves, without a gradient */
    {STAGE_LOSS, "drpo", ""},
    {STAGE_LOSS, "drpo", "lambda=off;score=Lratio;tau=0.5;kl_type=low_var_kl;beta=30"},
    {STAGE_LOSS, "drpo", "estimator=mean;kl_type=low_var_kl;delta=1e-3;beta=10"},
    {STAGE_LOSS, "flowrl", "w_mode=clip;eps=0"}, /* elsewhere the weight moves, without a gradient */
    {STAGE_LOSS, "flowrl", "w_mode=clip;eps=0;beta=2;length_norm=false"},
    {STAGE_LOSS, "balance", ""},
    {STAGE_LOSS, "balance", "objective=tb;temperature=0.7"},
    {STAGE_LOSS, "balance", "objective=db"},
    {STAGE_LOSS, "balance", "objective=fl_subtb;lambda=0.8;terminal=free"},
    {STAGE_LOSS, "value", ""},
    {STAGE_LOSS, "value", "eps_v=0.1;agg=seq_mean_token_mean"},
    {STAGE_LOSS, "value_min", ""},
    {STAGE_LOSS, "value_min", "alpha=0.8;eps_v=0.05;huber=0.2;coef=1"},
    {STAGE_LOSS, "safe_penalty", "differentiable=current;entropy_floor=0"}, /* above it the entropy counts, detached */
    {STAGE_LOSS, "bt", ""},
    {STAGE_LOSS, "bt", "center=0.3;l2=0.2;smoothing=0.2;margin=0.5"},
    {STAGE_LOSS, "steps", ""},
    {STAGE_LOSS, "steps", "balanced=true"},
    {STAGE_LOSS, "nll", ""},
    {STAGE_LOSS, "nll", "agg=seq_sum_const"},
    {STAGE_REGULAR, "kl", "coef=0.7;estimator=k1"},
    {STAGE_REGULAR, "kl", "coef=0.7;estimator=k2;agg=seq_mean_token_mean"},
    {STAGE_REGULAR, "kl", "coef=0.7;estimator=k3"},
    {STAGE_REGULAR, "entropy", "coef=0.3"},
    {STAGE_REGULAR, "entropy", "coef=-2;agg=seq_mean_token_sum"},
};
enum { GRADIENTS = sizeof gradients / sizeof *gradients };

static void check_gradient(struct batch *b, const struct stage *s, const char *args)
{
    double grad[MAX_CHANNELS][TOKENS];
    fill_batch(b, 0, 0);
    b->kept[5] = 0;
    run_before(b, s->kind);
    run_stage(b, s, args);
    for (int k = 0; k < b->channels; k++)
        if (b->channel[k].grad)
            memcpy(grad[k], b->channel[k].grad, sizeof grad[k]);
    for (int k = 0; k < b->channels; k++)
        for (int t = 0; b->channel[k].grad && t < b->tokens; t++) {
            double *x = &b->channel[k].value[t], at = *x, h = 1e-5, got = grad[k][t];
            *x = at + h;
            double up = run_stage(b, s, args).loss;
            *x = at - h;
            double down = run_stage(b, s, args).loss;
            *x = at;
            if (fabs((up - down) / (2 * h) - got) > 1e-8)
                fail_msg("%s(%s), token %d: %.12g by differences, %.12g", s->name, args, t, (up - down) / (2 * h), got);
        }
}

static void gradients_are_differences(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    for (int i = 0; i < GRADIENTS; i++)
        check_gradient(&b, stage_find(gradients[i].kind, gradients[i].name), gradients[i].args);
    for (int i = 0; stages[i]; i++) {
        int tested = stages[i]->kind < STAGE_LOSS;
        for (int k = 0; k < GRADIENTS; k++)
            tested |= stages[i] == stage_find(gradients[k].kind, gradients[k].name);
        if (!tested)
            fail_msg("the gradient of %s is not tested", stages[i]->name);
    }
    batch_free(&b);
}

/* ---- single stages, by hand */

static void statistics(void **state)
{
    (void)state;
    const double x[] = {1, 99, 2, 4}, same[] = {0.1, 0.1, 0.1};
    const unsigned char kept[] = {1, 0, 1, 1}, all[] = {1, 1, 1}, none[] = {0, 0, 0};
    near_to(stat_mean(x, kept, 4), 7.0 / 3, 1e-15);
    near_to(stat_std(x, kept, 4, 1), sqrt(7.0 / 3), 1e-15); /* squares of -4/3, -1/3, 5/3 add to 14/3 */
    near_to(stat_std(x, kept, 4, 0), sqrt(14.0 / 9), 1e-15);
    assert_true(stat_mean(same, all, 3) == 0.1 && stat_std(same, all, 3, 1) == 0);
    assert_true(stat_mean(x, none, 3) == 0 && stat_std(x, none, 3, 1) == 0 && stat_count(none, 3) == 0);
    assert_true(stat_std(x, kept, 1, 1) == 0);
    near_to(stat_mean(x, NULL, 4), 26.5, 1e-15);
    const struct denominators d = {.sequences = 7, .tokens = 17, .groups = 2, .longest = 8};
    near_to(aggregation_weight(0, 4, &d), 1.0 / 17, 1e-17);
    near_to(aggregation_weight(1, 4, &d), 1.0 / 28, 1e-17);
    near_to(aggregation_weight(2, 4, &d), 1.0 / 7, 1e-17);
    near_to(aggregation_weight(3, 4, &d), 1.0 / 56, 1e-17);
}

static void denominators_count_what_learns(void **state)
{
    (void)state;
    struct batch b;
    struct denominators d;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    b.kept[0] = 0;
    b.trained[b.sample_first[2]] = 0; /* the only token of sample 2 */
    batch_denominators(&b, 0, 2, 33, &d);
    /* samples 1, 3, 4, 5, 6 of 13, 6, 10, 4, 10 bytes, each without its second token */
    assert_int_equal(d.sequences, 5);
    assert_int_equal(d.tokens, 12 + 5 + 9 + 3 + 9);
    assert_int_equal(d.groups, 2);
    assert_int_equal(d.longest, 33);
    batch_free(&b);
}

static void dynamic_keeps_mixed_groups(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    for (int i = 0; i < SAMPLES; i++)
        b.reward[i] = i;
    struct result r = run_named(&b, STAGE_SELECT, "dynamic", "");
    static const unsigned char outcome[] = {1, 1, 1, 1, 1, 1, 1, 0, 0, 0};
    assert_memory_equal(b.kept, outcome, SAMPLES);
    near_to(metric_value(&r.metrics, "dynamic.kept", -1), 0.5, 0);
    fill_batch(&b, 0, 0);
    for (int i = 0; i < SAMPLES; i++)
        b.reward[i] = i < 8 ? 1 : i;
    b.kept[4] = b.kept[6] = 0; /* the right ones of group 1 */
    run_named(&b, STAGE_SELECT, "dynamic", "metric=reward");
    static const unsigned char reward[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1};
    assert_memory_equal(b.kept, reward, SAMPLES);
    batch_free(&b);
}

static void lone_samples(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    static const char *const mode[] = {"singleton=zero", "singleton=raw", "singleton=drop", "singleton=raw;std=false"};
    static const double want[] = {0, 3 / (1 + 1e-6), 0, 3};
    for (int k = 0; k < 4; k++) {
        fill_batch(&b, 0, 0);
        for (int i = 0; i < SAMPLES; i++)
            b.reward[i] = 3;
        run_named(&b, STAGE_CREDIT, "outcome", "");
        run_named(&b, STAGE_ADVANTAGE, "group", mode[k]);
        near_to(b.advantage[b.sample_first[7]], want[k], 0);
        assert_int_equal(b.kept[7], k != 2);
        assert_true(b.advantage[0] == 0 && !signbit(b.advantage[0])); /* equal rewards */
    }
    b.reward[4] = NAN;
    struct result r = run_stage(&b, stage_find(STAGE_ADVANTAGE, "group"), "");
    assert_int_equal(r.failed, -1);
    assert_string_equal(r.e.text, "group: the reward of sample 4 is not a finite number");
    batch_free(&b);
}

static void metrics_add_up(void **state)
{
    (void)state;
    struct metrics m = {0};
    metric_add(&m, "a", 1, 4);
    metric_add(&m, "b", 0, 0);
    metric_add(&m, "a", 2, 4);
    near_to(metric_value(&m, "a", -1), 3.0 / 8, 0);
    near_to(metric_value(&m, "b", -1), -1, 0);
    near_to(metric_value(&m, "c", -2), -2, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_described),
        cmocka_unit_test(masked_garbage_changes_nothing),
        cmocka_unit_test(splits_change_no_bit),
        cmocka_unit_test(permuting_a_group_permutes),
        cmocka_unit_test(equal_rewards_give_no_gradient),
        cmocka_unit_test(extremes_stay_finite),
        cmocka_unit_test(every_parameter_changes_something),
        cmocka_unit_test(permutable_with_any_parameter),
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(statistics),
        cmocka_unit_test(denominators_count_what_learns),
        cmocka_unit_test(dynamic_keeps_mixed_groups),
        cmocka_unit_test(lone_samples),
        cmocka_unit_test(metrics_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
