/* Models that judge: reward models (loss bt, score learned) and detectors of wrong steps (loss steps, process with
 * verifier = learned). Their losses against published numbers and by hand, what they read and write in a batch, that
 * recipes which train none are refused, and runs: the same bytes however they are cut or interrupted.
 */
#define FOLDER "/tmp/test_judges.XXXXXX"
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <time.h>
#include "runs.h"
#include "stage_batch.h"
#include "../dev/verbs/loop.h"
#include "../dev/verbs/trainer.h"

static void near_to(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("got %.17g, expected %.17g", got, want);
}

/* ---- losses, published to 7 and 6 digits ---- */

/* Groups of samples of one token each, but for `tokens`. */
static void small_batch(struct batch *b, const int *group, int groups, const int *tokens)
{
    int samples = 0, all = 0;
    for (int g = 0; g < groups; g++)
        samples += group[g];
    for (int i = 0; i < samples; i++)
        all += tokens ? tokens[i] : 1;
    batch_create(b, groups, samples, all, all, 1, 0);
    for (int g = 0, i = 0; g < groups; g++) {
        for (int k = 0; k < group[g]; k++, i++) {
            b->tokens += tokens ? tokens[i] : 1;
            b->sample_first[i + 1] = b->tokens;
            b->step_first[i + 1] = 0;
        }
        b->samples = b->group_first[g + 1] = i;
        b->groups = g + 1;
    }
    memset(b->trained, 1, (size_t)b->tokens);
}

/* The worked example of a Bradley-Terry reward model: three pairs, each a group of its own. */
static void pairs_as_published(void **state)
{
    (void)state;
    static const double score[6] = {1.2, 0.3, -0.4, 0.1, 0.6, 0.2};
    static const struct {
        const char *args;
        double loss, grad[6];
    } cases[] = {
        {"center=0", 0.6094154, {-0.0963502, 0.0963502, -0.2074864, 0.2074864, -0.1337708, 0.1337708}},
        {"center=0;smoothing=0.1", 0.6360820, {-0.0630168, 0.0630168, -0.1741531, 0.1741531, -0.1004374, 0.1004374}},
        {"center=0.01;l2=0.001", 0.6196987, {-0.0859502, 0.1064502, -0.2096198, 0.2055198, -0.1282374, 0.1391708}},
        /* margins 0.5, 0, 0.2 as differences of rewards */
        {"center=0;margin=1", 0.6950770, {-0.1337708, 0.1337708, -0.2074864, 0.2074864, -0.1500553, 0.1500553}},
    };
    static const int group[3] = {2, 2, 2};
    static const double margin[3] = {0.5, 1e-12, 0.2};
    struct batch b;
    small_batch(&b, group, 3, NULL);
    struct channel *c = &b.channel[batch_channel(&b, "$model.score", 1)];
    memcpy(c->value, score, sizeof score);
    for (int g = 0; g < 3; g++) {
        b.reward[2 * g] = margin[g];
        b.reward[2 * g + 1] = 0;
    }
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        memset(c->grad, 0, sizeof score);
        struct result r = run_named(&b, STAGE_LOSS, "bt", cases[k].args);
        near_to(r.loss, cases[k].loss, 6e-8);
        for (int i = 0; i < 6; i++)
            near_to(c->grad[i], cases[k].grad[i], 6e-8);
        near_to(metric_value(&r.metrics, "bt.accuracy", -1), 2.0 / 3, 1e-15);
        near_to(metric_value(&r.metrics, "bt.pairs", -1), 3, 0);
    }
    batch_free(&b);
}

/* One group, rewards 2 1 1 0: five pairs, each with the same weight; the score stands behind the last trained token. */
static void all_pairs_of_a_group(void **state)
{
    (void)state;
    static const int group[1] = {4}, tokens[4] = {2, 1, 3, 1};
    static const double score[4] = {0.5, -1, 2, 0.25}, reward[4] = {2, 1, 1, 0};
    static const int pair[5][2] = {{0, 1}, {0, 2}, {0, 3}, {1, 3}, {2, 3}};
    struct batch b;
    small_batch(&b, group, 1, tokens);
    struct channel *c = &b.channel[batch_channel(&b, "$model.score", 1)];
    const int at[4] = {1, 2, 4, 6}; /* token 5, the last of sample 2, is not its own */
    b.trained[5] = 0;
    for (int i = 0; i < 4; i++) {
        c->value[at[i]] = score[i];
        b.reward[i] = reward[i];
    }
    double loss = 0, grad[4] = {0}, right = 0;
    for (int k = 0; k < 5; k++) {
        double d = score[pair[k][0]] - score[pair[k][1]];
        loss += log(1 + exp(-d)) / 5;
        grad[pair[k][0]] -= 1 / (1 + exp(d)) / 5;
        grad[pair[k][1]] += 1 / (1 + exp(d)) / 5;
        right += d > 0;
    }
    struct result r = run_named(&b, STAGE_LOSS, "bt", "center=0");
    near_to(r.loss, loss, 1e-15);
    near_to(metric_value(&r.metrics, "bt.accuracy", -1), right / 5, 1e-15);
    for (int i = 0; i < 4; i++)
        near_to(c->grad[at[i]], grad[i], 1e-15);
    assert_true(c->grad[0] == 0 && c->grad[5] == 0);
    for (int i = 0; i < 4; i++) /* nothing is preferred: no pair, no loss */
        b.reward[i] = 3;
    assert_true(run_named(&b, STAGE_LOSS, "bt", "").loss == 0);
    batch_free(&b);
}

/* Steps of the published example E1 with logits (1 - 2p, 2p - 1) of (bad, good), so the one logit is 4p - 2; labels
 * p >= 0.5. The loss and the gradients by the good logit are published. */
static void steps_as_published(void **state)
{
    (void)state;
    static const int group[2] = {4, 4}, tokens[8] = {5, 4, 6, 3, 4, 5, 4, 3}, steps[8] = {3, 2, 3, 2, 2, 2, 2, 1};
    static const int end[17] = {2, 4, 5, 2, 4, 2, 4, 6, 1, 3, 2, 4, 3, 5, 1, 4, 3};
    static const double p[17] = {0.9, 0.6, 0.8, 0.7,  0.2,  0.8, 0.3,  0.9, 0.6,
                                 0.5, 0.4, 0.1, 0.95, 0.85, 0.5, 0.75, 0.3};
    static const double grad[5] = {-0.009881, -0.023607, -0.013616, -0.018237, 0.013616}; /* of A1 and A2 */
    struct batch b;
    small_batch(&b, group, 2, tokens);
    struct channel *c = &b.channel[batch_channel(&b, "$model.step", 1)];
    double *label = batch_component(&b, "process", LEVEL_STEP)->value;
    int at[17];
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < steps[i]; k++, b.steps++) {
            b.step_end[b.steps] = end[b.steps];
            at[b.steps] = b.sample_first[i] + end[b.steps] - 1;
            c->value[at[b.steps]] = 4 * p[b.steps] - 2;
            label[b.steps] = p[b.steps] >= 0.5;
        }
        b.step_first[i + 1] = b.steps;
    }
    assert_int_equal(b.steps, 17);
    struct result r = run_named(&b, STAGE_LOSS, "steps", "");
    near_to(r.loss, 0.356873, 6e-7);
    for (int k = 0; k < 5; k++)
        near_to(c->grad[at[k]], grad[k], 6e-7);
    near_to(metric_value(&r.metrics, "steps.right", -1), 12.0 / 17, 1e-15);
    /* the two with p = 0.5 are right, and 0 is not above 0 */
    near_to(metric_value(&r.metrics, "steps.accuracy", -1), 15.0 / 17, 1e-15);
    near_to(metric_value(&r.metrics, "steps.auc", -1), 1, 0);
    label[3] = 1.5;
    r = run_stage(&b, stage_find(STAGE_LOSS, "steps"), "");
    assert_int_equal(r.failed, -1);
    assert_string_equal(r.e.text,
                        "steps: the label of step 0 of sample 1 is 1.5, not between 0 and 1; leave process at "
                        "accepted = 1, rejected = 0");
    batch_free(&b);
}

static void area_under_the_curve(void **state)
{
    (void)state;
    static const double x[6] = {3, 1, 2, 2, 5, 0};
    static const unsigned char label[6] = {1, 0, 0, 1, 1, 1}, same[6] = {1, 1, 1, 1, 1, 1};
    /* 3 beats both, 2 beats 1 and ties with 2, 5 beats both, 0 none: 5.5 of 8 */
    near_to(stat_auc(x, label, 6), 5.5 / 8, 1e-15);
    assert_true(stat_auc(x, same, 6) == -1 && stat_auc(x, label, 0) == -1);
    near_to(log_logistic(-800), -800, 0);
    near_to(log_logistic(40), -exp(-40), 1e-30);
    assert_true(logistic(-800) == 0 && logistic(800) == 1);
}

/* ---- what reads them ---- */

static void a_score_is_read_behind_the_last_token(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    double *score = b.channel[batch_channel(&b, "$model.score", 1)].value;
    for (int t = 0; t < b.tokens; t++)
        score[t] = 100;
    for (int i = 0; i < SAMPLES; i++) /* right are 0, 4, 6, 7; the scores of 3 and 5 are too high */
        score[b.sample_first[i + 1] - 1] = b.strict[i] == 1 ? 2 : i == 3 || i == 5 ? 3 : -1;
    struct result r = run_named(&b, STAGE_SCORE, "learned", "");
    const double *value = b.component[batch_find_component(&b, "learned")].value;
    for (int i = 0; i < SAMPLES; i++)
        near_to(value[i], b.strict[i] == 1 ? 2 : i == 3 || i == 5 ? 3 : -1, 0);
    near_to(metric_value(&r.metrics, "learned.auc", -2), 4.0 / 6, 1e-15); /* right ones beat 4 of 6 */
    b.trained[b.sample_first[1] - 1] = 0; /* the last token of sample 0 is not its own: the one before counts */
    run_named(&b, STAGE_SCORE, "learned", "");
    near_to(value[0], 100, 0);
    run_named(&b, STAGE_SCORE, "learned", "squash=true");
    near_to(value[4], 1 / (1 + exp(-2.0)), 1e-15);
    batch_free(&b);
}

/* Lines are right when they begin with 'y'. The detector says 1 behind lines of one kind and -1 behind the other. */
static void a_detector_in_the_place_of_the_oracle(void **state)
{
    (void)state;
    struct batch b;
    open_batch(&b);
    fill_batch(&b, 0, 0);
    const struct stage *process = stage_find(STAGE_SCORE, "process");
    double *said = b.channel[batch_channel(&b, process->channels[0], 0)].value, oracle[STEPS];
    run_named(&b, STAGE_SCORE, "process", "");
    const double *value = b.component[batch_find_component(&b, "process")].value;
    memcpy(oracle, value, sizeof oracle);
    for (int wrong = 0; wrong < 2; wrong++) {
        for (int i = 0; i < SAMPLES; i++)
            for (int k = b.step_first[i], from = 0; k < b.step_first[i + 1]; from = b.step_end[k++])
                for (int t = from; t < b.step_end[k]; t++)
                    said[b.sample_first[i] + t] = (oracle[k] != 0) ^ wrong ? 1 : -1;
        struct result r = run_named(&b, STAGE_SCORE, "process", "verifier=learned");
        for (int k = 0; k < b.steps; k++)
            assert_true(value[k] == (wrong ? 1 - oracle[k] : oracle[k]));
        near_to(metric_value(&r.metrics, "process.agrees", -1), !wrong, 0);
        near_to(metric_value(&r.metrics, "process.flawed", -1), 0.5, 0); /* the oracle's, as before */
        /* right answers are 0, 4, 6 and 7; flawed are 0, which has a right line too, and 6, which has none */
        near_to(metric_value(&r.metrics, "process.found", -1), wrong ? 0.5 : 1, 0);
        near_to(metric_value(&r.metrics, "process.false_alarm", -1), wrong, 0);
    }
    run_named(&b, STAGE_SCORE, "process", "verifier=learned;threshold=0.8"); /* sigma(1) = 0.73 is not enough */
    for (int k = 0; k < b.steps; k++)
        assert_true(value[k] == 0);
    batch_free(&b);
}

/* ---- recipes ---- */

static const char judged[] = "[task]\nname = chain\nbare = 0.2\n"                                   /* 1 to 3 */
                             "[model]\npreset = nano-llama\n"                                       /* 4, 5 */
                             "[models]\nrm = init head=scalar\nprm = preset:tiny-llama head=step\n" /* 6 to 8 */
                             "critic = init head=scalar\n"                                          /* 9 */
                             "[rollout]\nprompts = 6\nsamples = 4\nmax_new = 16\n"                  /* 10 to 13 */
                             "[eval]\nprompts = 6\nevery = 2\nsamples = 1\n"                        /* 14 to 17 */
                             "[stages]\nscore = outcome, process(verifier = learned), learned\n"    /* 18, 19 */
                             "credit = last, gae(bootstrap = true)\nadvantage = whiten\n"           /* 20, 21 */
                             "loss = clip, value\n"                                                 /* 22 */
                             "[phase warmup]\nsource = gold\nsteps = 30\nbatch = 8\nlr = 6e-3\nloss = nll\n" /* to 28 */
                             "[phase detect]\ntrain = prm\npart = first\nsteps = 2\n"              /* 29 to 32 */
                             "score = process\nloss = steps\n"                                     /* 33, 34 */
                             "[phase prefer]\ntrain = rm\npart = first\nsteps = 3\nepochs = 2\n"   /* 35 to 39 */
                             "score = process\nloss = bt\n"                                        /* 40, 41 */
                             "[phase rl]\npart = second\nsteps = 3\nlr = 1e-3\nminibatches = 2\n"; /* 42 to 46 */

static void write_changed(const char *name, const char *find, const char *replace)
{
    struct text t = {0};
    const char *at = find ? strstr(judged, find) : judged;
    if (!at)
        fail_msg("'%s' is not in the recipe", find);
    text_add(&t, judged, (int)(at - judged));
    text_add(&t, find ? replace : "", -1);
    text_add(&t, at + (find ? strlen(find) : 0), -1);
    write_recipe(name, t.s);
    text_free(&t);
}

static void wrong_recipes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *find, *replace, *want;
    } cases[] = {
        {"head=step", "head=stop", "r.ini:8: prm = ... 'head=stop': a model is `init`, `preset:NAME` or `path:DIR`"},
        {"head=step", "frozen", "r.ini:8: prm: a new model that is frozen would stay random"},
        {"preset:tiny-llama", "preset:tiny-llama init", "r.ini:8: prm: a model begins as `init`"},
        {"preset:tiny-llama head=step", "init head=scalar", "the model needs a step head, `prm = init head=step`"},
        {"rm = init head=scalar", "rm = init head=step", "the model needs a value head, `rm = init head=scalar`"},
        {"loss = bt", "loss = bt(model = mr)",
         "r.ini:41: the loss stage 'bt' reads mr.score, but [models] declares no"},
        {"loss = bt", "loss = bt(model = a_name_that_is_far_too_long_for_a_model)",
         "r.ini:41: bt: the name of a model has at most"},
        {"loss = bt", "loss = bt, clip", "r.ini:41: the loss stage 'clip' reads the advantage before"},
        {"train = rm\npart = first", "credit = outcome\nadvantage = group\nregular = entropy(coef = 1)",
         "r.ini:42: the loss stage 'bt' trains 'rm', but phase 'prefer' trains 'policy'; give 'rm'"},
        {"train = rm", "train = critic",
         "r.ini:41: the loss stage 'bt' trains 'rm', but phase 'prefer' trains 'critic'"},
        {"score = process\nloss = bt", "score = process\nregular = entropy(coef = 1)\nloss = bt",
         "the regular stage 'entropy' trains 'policy', but phase 'prefer' trains 'rm'"},
        {"steps = 2\nscore = process\nloss = steps", "steps = 2\nloss = steps",
         "r.ini:33: the loss stage 'steps' reads reward components before"},
        {"score = process\nloss = bt", "loss = bt", "r.ini:40: the loss stage 'bt' reads the reward before"},
        {"name = chain\nbare = 0.2", "name = sort\n", "reads steps, but the task 'sort' has none"},
        {"part = second", "part = third", "r.ini:43: part = third"},
        {"preset:tiny-llama", "preset:tiny-lama", "prm=tiny-lama: there is no such preset, did you mean 'tiny-llama'?"},
    };
    char path[600];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_changed("r.ini", cases[i].find, cases[i].replace);
        int status = call("rl|%s|run.out=%s/none", in_folder(path, "r.ini"), folder);
        if (status != 1 && status != 2)
            fail_msg("case %zu: status %d", i, status);
        assert_printed(cases[i].want);
    }
    /* phases in another order: what judges has not learned yet */
    const char *rl = strstr(judged, "[phase rl]"), *detect = strstr(judged, "[phase detect]");
    struct text t = {0};
    text_addf(&t, "%.*s%s%.*s", (int)(detect - judged), judged, rl, (int)(rl - detect), detect);
    write_recipe("r.ini", t.s);
    text_free(&t);
    assert_int_equal(call("rl|%s|run.out=%s/none", path, folder), 2);
    assert_printed("reads 'prm', which no phase before 'rl' trains; put a phase with `train = prm`");
}

/* ---- runs ---- */

static double number(const json_t *row, const char *key)
{
    const json_t *x = json_object_get(row, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

static void the_policy_stands_still_meanwhile(void)
{
    struct bytes log = slurp("one", "log.jsonl");
    int seen = 0;
    for (char *line = log.p, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *row = json_loadb(line, (size_t)(end - line), 0, NULL);
        const char *phase = json_string_value(json_object_get(row, "phase"));
        int judge = !strcmp(phase, "detect") || !strcmp(phase, "prefer");
        assert_int_equal(judge, json_is_null(json_object_get(row, "entropy")) && number(row, "tokens") > 0);
        assert_true(isfinite(number(row, !strcmp(phase, "detect") ? "steps.accuracy"
                                         : judge                  ? "bt.accuracy"
                                                                  : "loss")));
        assert_true(!judge || number(row, "grad_norm") > 0);
        if (!strcmp(phase, "rl")) {
            assert_true(isfinite(number(row, "process.agrees")) && isfinite(number(row, "learned.mean")));
            assert_true(number(row, "logp_mismatch_max") == 0);
        }
        seen += judge;
        json_decref(row);
    }
    assert_int_equal(seen, 5);
    mem_free(log.p);
}

static void same_run_in_every_way(void **state)
{
    (void)state;
    static const char *const ways[] = {"run.threads=2", "run.micro=1", "run.micro=2|run.threads=2|rollout.slots=5"};
    char path[600], words[700], run[20];
    write_changed("judged.ini", NULL, NULL);
    in_folder(path, "judged.ini");
    snprintf(words, sizeof words, "rl|%s|run.threads=1", path);
    train("one", words);
    the_policy_stands_still_meanwhile();
    for (int w = 0; w < 3; w++) {
        snprintf(run, sizeof run, "way-%d", w);
        snprintf(words, sizeof words, "rl|%s|%s", path, ways[w]);
        train(run, words);
        assert_same_run("one", run);
    }
}

/* After the stage gae: what the critic says behind a token is what it says before the next one, to the last bit. */
static void compare_values(void *context, struct trainer *t, const struct sight *s)
{
    int *seen = context;
    const struct batch *b = &t->batch;
    if (s->moment != AFTER_STAGE || strcmp(s->stage->stage->name, "gae"))
        return;
    const double *value = trainer_values(t, "critic", "value"), *after = trainer_values(t, "critic", "after");
    for (int i = 0; i < b->samples; i++)
        for (int k = b->sample_first[i]; k < b->sample_first[i + 1]; k++) {
            int last = k + 1 == b->sample_first[i + 1];
            if (!last && after[k] != value[k + 1])
                fail_msg("%.17g behind token %d, %.17g before the next", after[k], k, value[k + 1]);
            seen[last] += after[k] != 0;
            if (last) /* gamma 1: the last advantage is the reward and what comes after, less what was expected */
                seen[2] += b->truncated[i] && fabs(b->token_reward[k] - (b->reward[i] + after[k] - value[k])) < 1e-12;
            seen[3] += last && b->truncated[i];
        }
}

static void behind_a_token_is_before_the_next(void **state)
{
    (void)state;
    static struct trainer t; /* large */
    int seen[4] = {0};
    char path[600];
    struct error e;
    write_changed("judged.ini", NULL, NULL);
    if (trainer_open(&t, in_folder(path, "judged.ini"), (const char *[]){"run.threads=1"}, 1, &e))
        fail_msg("%s", e.text);
    t.watch = compare_values;
    t.watch_context = seen;
    if (run_phases(&t, &e))
        fail_msg("%s", e.text);
    trainer_close(&t);
    assert_true(seen[0] > 100 && seen[1] > 10);     /* the critic has learned something */
    assert_true(seen[3] > 0 && seen[2] == seen[3]); /* some were cut off, and each ends in its last value */
}

/* Stopped by a signal (the step is finished, everything saved) or killed, in phases of every kind, it is the same run.
 */
static void interrupted_and_resumed(void **state)
{
    (void)state;
    enum { STOPPED = 130 };
    static const struct {
        int lines, signal;
    } ends[] = {{30, SIGINT}, {31, SIGKILL}, {32, SIGINT}, {33, SIGINT}, {34, SIGKILL}, {35, SIGINT}};
    char path[600], words[1500];
    int stops = 0;
    snprintf(words, sizeof words, "rl|%s|run.threads=1|run.save_every=1|run.out=%s/cut", in_folder(path, "judged.ini"),
             folder);
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        pid_t pid = start(words);
        struct timespec pause = {0, 500000};
        for (int i = 0; i < 60000 && lines_logged("cut") < ends[k].lines; i++)
            nanosleep(&pause, NULL);
        kill(pid, ends[k].signal);
        int status = finish(pid);
        if (status != 0 && status != STOPPED && status != 1000 + SIGKILL)
            fail_msg("status %d: %s", status, slurp("", "printed").p);
        stops += status != 0;
        snprintf(words, sizeof words, "rl|run.resume=%s/cut|run.threads=1|run.save_every=1", folder);
    }
    assert_int_equal(finish(start(words)), 0);
    assert_true(stops >= 3); /* of 6, unless the machine is busy elsewhere */
    assert_same_run("one", "cut");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_as_published),
        cmocka_unit_test(all_pairs_of_a_group),
        cmocka_unit_test(steps_as_published),
        cmocka_unit_test(area_under_the_curve),
        cmocka_unit_test(a_score_is_read_behind_the_last_token),
        cmocka_unit_test(a_detector_in_the_place_of_the_oracle),
        cmocka_unit_test(wrong_recipes_are_refused),
        cmocka_unit_test(same_run_in_every_way),
        cmocka_unit_test(behind_a_token_is_before_the_next),
        cmocka_unit_test(interrupted_and_resumed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
