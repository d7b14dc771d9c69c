/* Runs that train adapters: the same bytes for any threads, slots and micro-batches; the weights below stay;
 * checkpoints are evaluated, sampled, trained on and exported; what makes no sense is refused. Killed and resumed:
 * test_resume_models.c.
 */
#define FOLDER "/tmp/test_run_lora.XXXXXX"
#include "runs.h"

/* A warm-up, a reference, a branch, several updates a step. */
static const char recipe[] = "[task]\nname = chain\nbare = 0.3\n"
                             "[model]\npreset = nano-llama\n[models]\nref = init frozen\n"
                             "[rollout]\nprompts = 6\nsamples = 4\nmax_new = 16\n"
                             "[eval]\nprompts = 10\nevery = 2\nsamples = 2\n"
                             "[stages]\nscore = outcome\nadvantage = group(std = true)\nloss = clip\n"
                             "regular = kl(coef = 0.1)\n"
                             "[phase warmup]\nsource = gold\nsteps = 6\nbatch = 9\nlr = 6e-3\nloss = nll\n"
                             "[phase rl]\nsource = rollout\nsteps = 4\nlr = 1e-3\n"
                             "[phase control]\nsource = gold\nbranch = warmup\nsteps = 2\nbatch = 9\nloss = nll\n"
                             "[optim]\nminibatches = 2\nepochs = 2\n";

static void run_recipe(const char *run, const char *more)
{
    char path[600], words[1600];
    write_recipe("all.ini", recipe);
    snprintf(words, sizeof words, "rl|%s%s", in_folder(path, "all.ini"), more);
    train(run, words);
}

/* Every line of the log that has the number has this one. */
static void assert_all_lines(const char *run, const char *key, const char *number)
{
    struct bytes b = slurp(run, "log.jsonl");
    char text[80];
    int lines = 0;
    snprintf(text, sizeof text, "\"%s\":", key);
    for (char *at = b.p; (at = strstr(at, text)); lines++) {
        at += strlen(text);
        if (strncmp(at, number, strlen(number)))
            fail_msg("%s: %s is %.20s", run, key, at);
    }
    assert_true(lines > 10);
    mem_free(b.p);
}

static void the_same_bytes(void **state)
{
    (void)state;
    static const char *const model[] = {"|model.lora_rank=3",
                                        "|model.preset=tiny-gpt2|model.lora_rank=2|model.lora_alpha=5"
                                        "|model.lora_targets=c_attn mlp.c_proj"};
    static const char *const ways[] = {"|run.threads=2|run.micro=1", "|run.threads=1|run.micro=2|rollout.slots=3",
                                       "|run.threads=3|rollout.slots=5|run.save_every=1"};
    for (int k = 0; k < 2; k++) {
        char name[40], other[40], more[400];
        snprintf(name, sizeof name, "same-%d", k);
        snprintf(more, sizeof more, "%s|run.threads=1", model[k]);
        run_recipe(name, more);
        assert_printed("train ");
        assert_all_lines(name, "logp_mismatch_max", "0.0");
        for (int i = 0; i < 3; i++) {
            snprintf(other, sizeof other, "same-%d-%d", k, i);
            snprintf(more, sizeof more, "%s%s", model[k], ways[i]);
            run_recipe(other, more);
            assert_same_run(name, other);
        }
    }
}

/* From an ordinary checkpoint: its weights are in the new one to the last bit, after training too. */
static void weights_below_stay(void **state)
{
    (void)state;
    char more[900];
    run_recipe("base", "");
    snprintf(more, sizeof more, "|model.path=%s/base/checkpoint|model.lora_rank=4|run.save_every=1", folder);
    run_recipe("adapted", more);
    assert_true(equal(slurp("base", "checkpoint/model.safetensors"), slurp("adapted", "checkpoint/model.safetensors")));
    struct bytes b = slurp("adapted", "checkpoint/adapter_config.json");
    assert_non_null(strstr(b.p, "base/checkpoint\"")); /* where the weights came from */
    mem_free(b.p);
}

static struct bytes logprobs_of(const char *model)
{
    char path[700];
    int saved = dup(0);
    write_recipe("ids", "{\"ids\":[1,4,7,3,9]}\n");
    int in = open(in_folder(path, "ids"), O_RDONLY);
    assert_true(in >= 0 && dup2(in, 0) == 0);
    int status = call("logprobs|model.path=%s/%s", folder, model);
    dup2(saved, 0);
    close(saved);
    close(in);
    assert_int_equal(status, 0);
    return slurp("", "printed");
}

/* The five numbers of a line of logprobs, null apart. */
static void numbers_of(const char *model, double number[4])
{
    struct bytes b = logprobs_of(model);
    if (sscanf(b.p, "{\"logp\":[null,%lf,%lf,%lf,%lf]}", &number[0], &number[1], &number[2], &number[3]) != 4)
        fail_msg("%s", b.p);
    mem_free(b.p);
}

static void checkpoints_are_used(void **state)
{
    (void)state;
    double adapted[4], merged[4], base[4];
    assert_int_equal(call("eval|%s/adapted|eval.prompts=10", folder), 0);
    struct bytes eval = slurp("", "printed");
    assert_int_equal(call("eval|%s/all.ini|model.path=%s/adapted/checkpoint|eval.prompts=10", folder, folder), 0);
    struct bytes by_path = slurp("", "printed");
    char *a = strstr(eval.p, "{\"step\""), *b = strstr(by_path.p, "{\"step\"");
    assert_true(a && b && !strncmp(a, b, strcspn(a, "t_")));
    mem_free(eval.p);
    mem_free(by_path.p);
    assert_int_equal(call("sample|model.path=%s/adapted/checkpoint|prompt=1+2=", folder), 0);

    assert_int_equal(call("export|model.path=%s/adapted/checkpoint|out=%s/merged", folder, folder), 0);
    assert_printed("merged");
    assert_false(has_file("merged", "adapter_config.json"));
    assert_int_equal(call("export|model.path=%s/adapted/checkpoint|out=%s/alone|adapter=true", folder, folder), 0);
    assert_true(
        equal(slurp("alone", "adapter_model.safetensors"), slurp("adapted", "checkpoint/adapter_model.safetensors")));
    assert_false(has_file("alone", "model.safetensors"));
    assert_int_equal(
        call("export|model.path=%s/base/checkpoint|model.lora_path=%s/alone|out=%s/again", folder, folder, folder), 0);
    assert_true(equal(slurp("merged", "model.safetensors"), slurp("again", "model.safetensors")));

    numbers_of("adapted/checkpoint", adapted);
    numbers_of("merged", merged);
    numbers_of("base/checkpoint", base);
    for (int i = 0; i < 4; i++) {
        double d = adapted[i] - merged[i];
        assert_true(d < 2e-5 && d > -2e-5);
    }
    assert_true(memcmp(adapted, base, sizeof base) != 0);
}

/* With no step between, what comes out is what went in; and the reference is where reinforcement learning began. */
static void trained_on(void **state)
{
    (void)state;
    char more[1500];
    snprintf(more, sizeof more, "|model.path=%s/base/checkpoint|model.lora_path=%s/alone|warmup.lr=0|rl.lr=0", folder,
             folder);
    run_recipe("on", more);
    assert_true(
        equal(slurp("alone", "adapter_model.safetensors"), slurp("on", "checkpoint/adapter_model.safetensors")));
    struct bytes b = slurp("on", "log.jsonl");
    for (char *at = b.p; (at = strstr(at, "\"phase\":\"rl\""));) { /* adapters that do something, copied */
        at = strstr(at, "\"kl\":");
        assert_non_null(at);
        assert_int_equal(strncmp(at, "\"kl\":0.0", 8), 0);
    }
    mem_free(b.p);
}

static void refused(int status, const char *piece, const char *format, ...)
{
    char words[1500], path[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    assert_int_equal(call("rl|%s|run.out=%s/none%s", in_folder(path, "all.ini"), folder, words), status);
    assert_printed(piece);
    assert_false(has_file("none", "recipe.ini"));
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    refused(1, "lora_path", "|model.path=%s/adapted/checkpoint", folder);
    refused(1, "lora_path", "|model.path=%s/alone", folder);
    refused(1, "adapter_config.json", "|model.lora_path=%s/base/checkpoint", folder);
    refused(1, "change nothing without", "|model.lora_targets=q");
    refused(1, "change nothing without", "|model.lora_alpha=4");
    refused(1, "self_attn.q_proj", "|model.lora_rank=2|model.lora_targets=qkv");
    refused(1, "`all` names all", "|model.lora_rank=2|model.lora_targets=");
    refused(2, "no model.lora_path", "|model.lora_rank=2|model.lora_path=%s/alone", folder);
    refused(2, "lora_rank", "|model.lora_rank=-1");
    refused(1, "c_attn", "|model.preset=tiny-gpt2|model.lora_path=%s/alone", folder);
    assert_int_equal(call("export|model.path=%s/base/checkpoint|out=%s/none|adapter=true", folder, folder), 2);
    assert_int_equal(
        call("export|model.path=%s/adapted/checkpoint|out=%s/none|adapter=true|dtype=bf16", folder, folder), 2);
    assert_int_equal(call("sample|model.path=%s/alone|prompt=1", folder), 1);
    assert_printed("adapter without a model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes), cmocka_unit_test(weights_below_stay),  cmocka_unit_test(checkpoints_are_used),
        cmocka_unit_test(trained_on),     cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
