/* Training runs as a person starts them: whole command lines, and what they leave in the run directory. Bytes that must
 * not depend on the machine, what a row of the log holds, that training learns, that a branch leaves no trace, and what
 * a refused or broken run leaves behind. Not here: single stages, operations, the other verbs. A new setting is a row
 * of settings[], a new way of computing the same a row of ways[].
 */
#define FOLDER "/tmp/test_run_loop.XXXXXX"
#include <jansson.h>
#include <math.h>
#include "runs.h"

/* ---- the log as objects ---- */

enum { MAX_ROWS = 400 };

static int read_rows(const char *run, const char *file, json_t *row[MAX_ROWS])
{
    struct bytes b = slurp(run, file);
    int n = 0;
    for (char *line = b.p, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_error_t why;
        assert_true(n < MAX_ROWS);
        row[n] = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, &why);
        if (!row[n++])
            fail_msg("%s, line %d: %s", file, n, why.text);
    }
    mem_free(b.p);
    return n;
}

static void drop_rows(json_t *row[MAX_ROWS], int n)
{
    for (int i = 0; i < n; i++)
        json_decref(row[i]);
}

static double number(const json_t *row, const char *key)
{
    const json_t *x = json_object_get(row, key);
    if (!json_is_number(x))
        fail_msg("no number under %s", key);
    return json_number_value(x);
}

static int in_phase(const json_t *row, const char *phase)
{
    return strcmp(json_string_value(json_object_get(row, "phase")), phase) == 0;
}

/* Keys in the order of the manual, then metrics of stages, then those of the clock; the sampler and the trainer agree.
 */
static void check_row(const json_t *row, int at)
{
    static const char *const keys[] = {
        "step",      "phase",     "reward", "reward_std", "accuracy",          "length",
        "loss",      "grad_norm", "kl",     "entropy",    "clip_share",        "zero_variance",
        "truncated", "unparsed",  "lr",     "tokens",     "logp_mismatch_max", "logp_mismatch_mean"};
    int i = 0, clock = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)row, key, value)
    {
        if (i < (int)(sizeof keys / sizeof *keys))
            assert_string_equal(key, keys[i]);
        else if (strncmp(key, "t_", 2) == 0)
            clock++;
        else if (clock)
            fail_msg("%s stands behind a key of the clock", key);
        i++;
    }
    assert_true(clock > 0);
    assert_int_equal((int)number(row, "step"), at);
    assert_true(number(row, "logp_mismatch_max") == 0);
    assert_true(number(row, "logp_mismatch_mean") == 0);
    assert_true(number(row, "tokens") > 0);
    assert_true(isfinite(number(row, "loss")) && number(row, "grad_norm") >= 0);
}

/* ---- settings: each is run in every way ---- */

static const char plain[] = "[task]\nname = chain\nbare = 0.3\n"
                            "[model]\npreset = nano-llama\n"
                            "[rollout]\nprompts = 8\nsamples = 4\nmax_new = 24\n"
                            "[eval]\nprompts = 20\nevery = 2\nsamples = 2\n"
                            "[stages]\nscore = outcome\nadvantage = group(std = true)\nloss = clip\n"
                            "[phase warmup]\nsource = gold\nsteps = 60\nbatch = 9\nlr = 6e-3\nloss = nll\n"
                            "[phase rl]\nsource = rollout\nsteps = 3\nlr = 1e-3\nreset_optimiser = true\n";
static const char everything[] =
    "[task]\nname = chain\nbare = 0.3\nwrong_facts = 0.15\n"
    "[model]\npreset = nano-llama\n"
    "[models]\nref = init frozen\n"
    "[rollout]\nprompts = 6\nsamples = 5\nmax_new = 24\ntop_p = 0.9\nmax_support = 8\nmax_refills = 3\ntemperature = "
    "0.9\n"
    "[eval]\nprompts = 20\nevery = 2\nsamples = 2\n"
    "[stages]\nscore = outcome, process\nshape = sum\nselect = dynamic\ncredit = outcome\nadvantage = group\n"
    "loss = clip(agg = seq_mean_token_mean)\nregular = kl(coef = 0.05), entropy(coef = 0.01)\n"
    "[phase warmup]\nsource = gold\nsteps = 60\nbatch = 8\nlr = 6e-3\nloss = nll\n"
    "[phase rl]\nsource = rollout\nsteps = 3\nlr = 1e-3\nminibatches = 2\nepochs = 2\nreset_optimiser = true\n";
static const struct {
    const char *name, *recipe;
} settings[] = {{"plain", plain}, {"everything", everything}};
static const char *const ways[] = {"run.threads=1",
                                   "run.threads=2",
                                   "run.threads=3",
                                   "run.micro=1",
                                   "run.micro=2",
                                   "run.micro=8",
                                   "rollout.slots=4",
                                   "rollout.slots=64",
                                   "run.threads=2|run.micro=3|rollout.slots=7",
                                   "model.recompute=1|run.threads=2|run.micro=3"};

static void same_bytes_in_every_way(void **state)
{
    (void)state;
    for (int s = 0; s < 2; s++) {
        char words[700], first[40], run[40], ini[40], path[600];
        snprintf(ini, sizeof ini, "%s.ini", settings[s].name);
        write_recipe(ini, settings[s].recipe);
        for (int w = 0; w < (int)(sizeof ways / sizeof *ways); w++) {
            snprintf(run, sizeof run, "%s-%d", settings[s].name, w);
            snprintf(first, sizeof first, "%s-0", settings[s].name);
            snprintf(words, sizeof words, "rl|%s|%s", in_folder(path, ini), ways[w]);
            train(run, words);
            assert_same_run(first, run);
        }
    }
}

/* Every method: further models, critics, state between steps, losses that couple the batch, groups that are left out.
 */
static void every_method_in_every_way(void **state)
{
    static const char *const recipes[] = {"drpo",
                                          "fapo",
                                          "grpo",
                                          "dr_grpo",
                                          "dapo",
                                          "rloo",
                                          "reinforce_pp",
                                          "gspo",
                                          "cispo",
                                          "ppo",
                                          "tis",
                                          "kl_estimators",
                                          "grpo_lambda",
                                          "gdpo",
                                          "sar",
                                          "crf",
                                          "pf_ppo",
                                          "vgpo",
                                          "par",
                                          "safe",
                                          "grpo_s",
                                          "mo_grpo",
                                          "alp",
                                          "rloo_lp",
                                          "fl_gfn",
                                          "flowrl",
                                          "l1",
                                          "hapo",
                                          "fapo|variant=learned|prm.steps=1",
                                          "par|variant=ppo",
                                          "fl_gfn|variant=tb"};
    (void)state;
    for (int i = 0; i < (int)(sizeof recipes / sizeof *recipes); i++) {
        char words[400], one[40], several[40];
        snprintf(words, sizeof words,
                 "rl|%s|model.preset=nano-llama|warmup.steps=30|warmup.batch=8|rl.steps=2|rollout.prompts=8|"
                 "rollout.samples=4|rollout.max_new=12|eval.prompts=2|eval.samples=1|eval.every=0",
                 recipes[i]);
        snprintf(one, sizeof one, "method-%d", i);
        snprintf(several, sizeof several, "method-%d-several", i);
        strcat(words, "|run.threads=1");
        train(one, words);
        *strrchr(words, '|') = 0;
        strcat(words, "|run.threads=3|run.micro=1");
        train(several, words);
        assert_same_run(one, several);
    }
}

static void rows_of_the_log(void **state)
{
    (void)state;
    for (int s = 0; s < 2; s++) {
        char run[40];
        json_t *row[MAX_ROWS];
        snprintf(run, sizeof run, "%s-0", settings[s].name);
        int n = read_rows(run, "log.jsonl", row), sampled = 0;
        assert_int_equal(n, 63);
        for (int i = 0; i < n; i++) {
            check_row(row[i], i);
            sampled += in_phase(row[i], "rl");
        }
        assert_int_equal(sampled, 3);
        if (s == 1) { /* one update: the reference is the policy; then no longer */
            assert_true(number(row[60], "kl") >= 0);
            assert_true(number(row[62], "kl") > 0);
        }
        drop_rows(row, n);
        n = read_rows(run, "eval.jsonl", row);
        assert_int_equal(n, 3); /* before, after two steps, at the end */
        for (int i = 0; i < n; i++)
            assert_true(number(row[i], "accuracy") >= 0 && number(row[i], "accuracy") <= 1);
        drop_rows(row, n);
    }
}

static void seeds_differ(void **state)
{
    (void)state;
    char path[600], words[700];
    snprintf(words, sizeof words, "rl|%s|seed=2", in_folder(path, "plain.ini"));
    train("seed-2", words);
    assert_false(same_lines("plain-0", "seed-2", "log.jsonl"));
    assert_false(same_file("plain-0", "seed-2", "checkpoint/model.safetensors"));
}

static void resolved_recipe_gives_the_same_run(void **state)
{
    (void)state;
    for (int s = 0; s < 2; s++) {
        char first[40], again[40], words[700];
        snprintf(first, sizeof first, "%s-0", settings[s].name);
        snprintf(again, sizeof again, "%s-again", settings[s].name);
        snprintf(words, sizeof words, "rl|%s/%s/recipe.ini", folder, first);
        train(again, words);
        for (int i = 0; i < 3; i++)
            assert_true(same_lines(first, again, (const char *[]){"log.jsonl", "samples.jsonl", "eval.jsonl"}[i]));
        assert_true(same_file(first, again, "checkpoint/model.safetensors"));
        assert_true(same_file(first, again, "recipe.ini"));
    }
}

/* ---- branches ---- */

static const char control[] =
    "[phase control]\nbranch = warmup\nsource = gold\nsteps = 5\nbatch = 8\nlr = 1e-2\nloss = nll\n";

/* The control stands last, as in chain.ini, or before the reinforcement learning that it is compared with. */
static void branch_leaves_no_trace(void **state)
{
    (void)state;
    char text[2000], words[700], path[600];
    const char *rl = strstr(plain, "[phase rl]");
    snprintf(text, sizeof text, "%s%s", plain, control);
    write_recipe("last.ini", text);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(rl - plain), plain, control, rl);
    write_recipe("middle.ini", text);
    static const char *const where[] = {"last", "middle"};
    for (int i = 0; i < 2; i++) {
        char ini[40];
        snprintf(ini, sizeof ini, "%s.ini", where[i]);
        snprintf(words, sizeof words, "rl|%s", in_folder(path, ini));
        train(where[i], words);
        if (!same_file("plain-0", where[i], "checkpoint/model.safetensors"))
            fail_msg("a branch (%s) changed the weights of the main line", where[i]);
        json_t *row[MAX_ROWS];
        int n = read_rows(where[i], "log.jsonl", row), branched = 0;
        for (int k = 0; k < n; k++)
            branched += in_phase(row[k], "control");
        assert_int_equal(branched, 5);
        drop_rows(row, n);
    }
}

/* ---- a pretrained model ---- */

static void stories_with_a_reference(void **state)
{
    (void)state;
    if (file_size("../shared/data/stories260K/hf/model.safetensors") < 0) {
        print_message("no ../shared/data/stories260K\n");
        skip();
    }
    train("stories", "stories|model.path=../shared/data/stories260K/hf|rl.steps=2|rollout.prompts=2|rollout.samples=8|"
                     "rollout.max_new=32|eval.prompts=4|eval.samples=2");
    json_t *row[MAX_ROWS];
    int n = read_rows("stories", "log.jsonl", row);
    assert_int_equal(n, 2);
    for (int i = 0; i < n; i++)
        assert_true(number(row[i], "logp_mismatch_max") == 0);
    assert_true(number(row[0], "kl") == 0);                                        /* the policy is the reference */
    assert_true(number(row[0], "entropy") > 0.5 && number(row[0], "entropy") < 3); /* a language model's */
    drop_rows(row, n);
}

/* ---- learning ---- */

/* Measured, greedy accuracy on 300 unseen prompts before and after the reinforcement learning, seeds 1 to 5:
 *     before .213 .237 .290 .213 .207      after .733 .860 .940 .980 1.000      length 4 to 8, then 26.5
 * The mean after is .903 and the spread .107: the bound is three spreads below the mean. */
static const char learning[] =
    "[task]\nname = chain\nbare = 0.6\nwrong_facts = 0.15\nwrong_rate = 0.6\n"
    "[rollout]\nprompts = 32\nsamples = 8\nmax_new = 48\n"
    "[eval]\nprompts = 300\nevery = 0\nsamples = 1\n"
    "[stages]\nscore = outcome\nadvantage = group(std = true)\nloss = clip(eps_low = 0.2, eps_high = 0.28)\n"
    "[phase warmup]\nsource = gold\nsteps = 1000\nbatch = 32\nlr = 4e-3\nschedule = linear\nweight_decay = 0.1\n"
    "loss = nll\n"
    "[phase rl]\nsource = rollout\nsteps = 40\nlr = 6e-4\nwarmup = 5\nreset_optimiser = true\n";

static void reinforcement_learns_what_warmup_does_not(void **state)
{
    (void)state;
    char path[600], words[700];
    json_t *row[MAX_ROWS];
    write_recipe("learning.ini", learning);
    snprintf(words, sizeof words, "rl|%s|seed=3", in_folder(path, "learning.ini"));
    train("learning", words);
    int n = read_rows("learning", "eval.jsonl", row);
    assert_int_equal(n, 2);
    double before = number(row[0], "accuracy"), after = number(row[1], "accuracy");
    print_message("greedy accuracy %.3f, then %.3f\n", before, after);
    assert_true(before < 0.45);
    assert_true(after > 0.58 && after - before > 0.25);
    assert_true(number(row[1], "length") > 15 && number(row[0], "length") < 15); /* it shows its working */
    drop_rows(row, n);
}

/* ---- runs that must not be, or that break ---- */

/* A step of more short responses than one micro-batch has rows: entries outnumber rows there. */
static void many_short_responses(void **state)
{
    (void)state;
    train("short", "digits|rl.steps=2|rollout.samples=24|rollout.max_new=8|eval.prompts=4|eval.samples=1");
    json_t *row[MAX_ROWS];
    int n = read_rows("short", "log.jsonl", row);
    assert_int_equal(n, 2);
    assert_true(number(row[0], "tokens") > 2048);
    drop_rows(row, n);
}

/* Where memory is short there are fewer slots, unless they were asked for; the run is the same. */
static void slots_as_memory_allows(void **state)
{
    (void)state;
    char words[700], path[600];
    double megabytes = 0;
    int slots = 0;
    snprintf(words, sizeof words, "rl|%s|run.threads=1|rollout.slots=1", in_folder(path, "plain.ini"));
    train("slot", words);
    const char *line = strstr((const char *)slurp("", "printed").p, "memory ");
    assert_true(line && sscanf(line, "memory %lf MB", &megabytes) == 1);
    snprintf(words, sizeof words, "rl|%s|run.threads=1|run.memory=%.1f", path, megabytes + 0.3);
    train("little", words);
    line = strstr((const char *)slurp("", "printed").p, " rollout slots");
    while (line && line[-1] >= '0' && line[-1] <= '9')
        line--;
    assert_true(line && sscanf(line, "%d", &slots) == 1);
    assert_in_range(slots, 2, 31); /* prompts x samples is 32 */
    assert_same_run("plain-0", "little");
}

static void refused_before_it_begins(void **state)
{
    (void)state;
    struct bytes log = slurp("plain-0", "log.jsonl"), weights = slurp("plain-0", "checkpoint/model.safetensors");
    char path[600];
    int status = call("rl|%s|run.out=%s/plain-0", in_folder(path, "plain.ini"), folder);
    assert_true(status == 1 || status == 2);
    assert_printed("plain-0 holds a run already");
    assert_true(equal(log, slurp("plain-0", "log.jsonl")));
    assert_true(equal(weights, slurp("plain-0", "checkpoint/model.safetensors")));

    assert_int_equal(call("rl|%s|run.memory=1|run.out=%s/none", path, folder), 1);
    assert_printed("run.memory allows 1");
    assert_printed("model.lora_rank");
    assert_int_equal(call("rl|%s|run.memory=5|rollout.slots=32|run.out=%s/none", path, folder), 1);
    assert_printed("run.memory allows 5");
    assert_printed("model.recompute=1 saves");
    assert_printed("rollout.slots, now 32");
    assert_int_equal(call("rl|%s|run.memory=3|model.recompute=1|run.out=%s/none", path, folder), 1);
    assert_printed("run.memory allows 3");
    assert_printed("lower rollout.samples");
    assert_int_equal(call("rl|%s|rollout.sampels=4|run.out=%s/none", path, folder), 2);
    assert_printed("samples");
    assert_int_equal(call("rl|%s|rl.lr=-1|run.out=%s/none", path, folder), 2);
    assert_printed("rl.lr");
    assert_int_equal(call("rl|%s/nowhere.ini|run.out=%s/none", folder, folder), 2);
    assert_printed("nowhere.ini");
    in_folder(path, "none");
    assert_false(file_is_directory(path));
}

/* Rate and decay are absurd from the second phase on, weights grow a hundredfold a step: those of the first phase stay.
 */
static void stops_when_numbers_break(void **state)
{
    (void)state;
    char path[600], words[800];
    snprintf(words, sizeof words, "%s", in_folder(path, "plain.ini"));
    assert_int_equal(call("rl|%s|rl.lr=1e30|run.out=%s/broken", words, folder), 2);
    assert_printed("rl.lr=1e30");
    assert_int_equal(
        call("rl|%s|rl.lr=10|rl.weight_decay=10|rl.steps=200|run.save_every=0|run.out=%s/broken", words, folder), 1);
    char at[40];
    json_t *row[MAX_ROWS];
    int n = read_rows("broken", "log.jsonl", row); /* the row of the broken step is not written */
    snprintf(at, sizeof at, "step %d", n);
    assert_printed(at);
    assert_true(n > 61 && n < 260);
    for (int i = 0; i < n; i++)
        assert_true(isfinite(number(row[i], "loss")));
    drop_rows(row, n);
    char only[2000];
    const char *rl = strstr(plain, "[phase rl]");
    snprintf(only, sizeof only, "%.*s", (int)(rl - plain), plain);
    char *stages = strstr(only, "[stages]"), *warmup = strstr(only, "[phase warmup]");
    memmove(stages, warmup, strlen(warmup) + 1);
    write_recipe("warmup.ini", only);
    snprintf(words, sizeof words, "rl|%s", in_folder(path, "warmup.ini"));
    train("warmup", words);
    assert_true(same_file("warmup", "broken", "checkpoint/model.safetensors"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_in_every_way),
        cmocka_unit_test(every_method_in_every_way),
        cmocka_unit_test(rows_of_the_log),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(resolved_recipe_gives_the_same_run),
        cmocka_unit_test(branch_leaves_no_trace),
        cmocka_unit_test(stories_with_a_reference),
        cmocka_unit_test(reinforcement_learns_what_warmup_does_not),
        cmocka_unit_test(many_short_responses),
        cmocka_unit_test(slots_as_memory_allows),
        cmocka_unit_test(refused_before_it_begins),
        cmocka_unit_test(stops_when_numbers_break),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
