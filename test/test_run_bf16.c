/* Runs in mixed precision. On the GPU, the kernels and the library on the host (cuda_host.h): a library whose rows do
 * not depend on their number gives a mismatch of 0; one that can be told to do so is told; with one that cannot the run
 * says so, logs the difference, and takes logp_old from the trainer. On the processor: one run in every way of
 * computing it. */
#define FOLDER "/tmp/test_run_bf16.XXXXXX"
#define WITH_CUDA
#include "cuda_table.c"
#include "../model/device.c"
#include "../model/base/clock.h"
#include "runs.h"

/* The clip is so narrow that a ratio which is not 1 is clipped; tis says by how much logp_old is not the sampler's. */
static const char recipe[] = "[task]\nname = chain\nbare = 0.3\n[model]\npreset = nano-llama\n"
                             "[run]\nprecision = bf16\n[rollout]\nprompts = 2\nsamples = 3\nmax_new = 8\n"
                             "[eval]\nprompts = 1\nevery = 0\nsamples = 1\n"
                             "[stages]\nscore = outcome, length\nshape = sum(outcome = 1, length = 0.1)\n"
                             "advantage = group(std = true), tis\nloss = clip(eps_low = 1e-9, eps_high = 1e-9)\n"
                             "[phase warmup]\nsource = gold\nsteps = 2\nbatch = 4\nlr = 6e-3\nloss = nll\n"
                             "[phase rl]\nsource = rollout\nsteps = 2\nlr = 1e-3\n";

static void run_recipe(const char *run, enum host_library library, const char *more)
{
    char path[600], words[1600];
    write_recipe("all.ini", recipe);
    snprintf(words, sizeof words, "rl|%s|run.device=cuda%s", in_folder(path, "all.ini"), more);
    host_library = library;
    for (int few = 0; few < GPU_FEW; few++)
        host_split_rows[few] = library == HOST_STUBBORN ? few ? 16 : 5 : 0;
    train(run, words);
}

/* The largest value of a number in the log. */
static double largest(const char *run, const char *key)
{
    struct bytes b = slurp(run, "log.jsonl");
    char text[80];
    double most = -1;
    snprintf(text, sizeof text, "\"%s\":", key);
    for (char *at = b.p; (at = strstr(at, text));) {
        at += strlen(text);
        most = strtod(at, NULL) > most ? strtod(at, NULL) : most;
    }
    mem_free(b.p);
    assert_true(most >= 0);
    return most;
}

static void exact_library(void **state)
{
    (void)state;
    run_recipe("exact", HOST_EXACT, "");
    assert_true(largest("exact", "logp_mismatch_max") == 0);
    assert_true(largest("exact", "clip_share") == 0);
    run_recipe("absent", HOST_ABSENT, "|rollout.slots=2"); /* the kernel in its place sums in the same order */
    assert_same_run("exact", "absent");
    run_recipe("obedient", HOST_SPLIT, "|run.threads=2");
    assert_same_run("exact", "obedient");
}

static void library_that_depends_on_rows(void **state)
{
    (void)state;
    run_recipe("stubborn", HOST_STUBBORN, "");
    assert_printed("round differently for few and many rows; the trainer computes logp_old itself");
    assert_true(largest("stubborn", "logp_mismatch_max") > 0);
    assert_true(largest("stubborn", "logp_mismatch_max") < 0.1);
    assert_true(largest("stubborn", "tis.mismatch") > 0);
    assert_true(largest("stubborn", "clip_share") == 0);
}

/* On the processor: other models, adapters and a value head beside the policy; every way of computing gives one run. */
static const char processor[] = "[task]\nname = chain\nbare = 0.3\n[model]\npreset = nano-llama\n"
                                "[run]\nprecision = bf16\n[rollout]\nprompts = 6\nsamples = 4\nmax_new = 16\n"
                                "[eval]\nprompts = 10\nevery = 2\nsamples = 2\n"
                                "[models]\nref = init frozen\ncritic = init head=scalar\n"
                                "[stages]\nscore = outcome\nshape = sum\ncredit = last, gae\n"
                                "advantage = whiten\nloss = clip, value(coef = 0.1)\nregular = kl(coef = 0.05)\n"
                                "[phase warmup]\nsource = gold\nsteps = 20\nbatch = 8\nlr = 6e-3\nloss = nll\n"
                                "[phase rl]\nsource = rollout\nsteps = 3\nlr = 1e-3\nreset_optimiser = true\n";
static const char *const ways[] = {"run.threads=1",
                                   "run.threads=3",
                                   "run.micro=1",
                                   "rollout.slots=4",
                                   "run.threads=2|run.micro=3|rollout.slots=7",
                                   "model.recompute=1|run.threads=2"};

static void on_the_processor(const char *name, const char *more)
{
    char path[600], words[1600], run[40], first[40];
    write_recipe("processor.ini", processor);
    snprintf(first, sizeof first, "%s-0", name);
    for (int w = 0; w < (int)(sizeof ways / sizeof *ways); w++) {
        snprintf(run, sizeof run, "%s-%d", name, w);
        snprintf(words, sizeof words, "rl|%s|run.device=cpu|%s%s", in_folder(path, "processor.ini"), ways[w], more);
        train(run, words);
        assert_same_run(first, run);
    }
    assert_true(largest(first, "logp_mismatch_max") == 0);
}

static void the_processor_in_every_way(void **state)
{
    (void)state;
    on_the_processor("cpu", "");
    on_the_processor("lora", "|model.lora_rank=3|rl.lr=3e-3");
}

/* Stopped and gone on with, up to five times; not in the other precision. */
static void the_processor_goes_on(void **state)
{
    (void)state;
    char path[600], words[1600];
    int stops = 0, status;
    write_recipe("processor.ini", processor);
    snprintf(words, sizeof words, "rl|%s|run.device=cpu|run.threads=1", in_folder(path, "processor.ini"));
    double begin = clock_now();
    train("undisturbed", words);
    assert_printed("1 threads, bf16");
    double part = (clock_now() - begin) / 6; /* stopped at least once, even if the machine is quicker then */
    status = call("%s|run.out=%s/stopped|run.max_seconds=%g", words, folder, part);
    while (status == 130 && stops++ < 5) {
        assert_int_equal(call("rl|run.resume=%s/stopped|run.device=cpu|run.precision=fp32", folder), 1);
        assert_printed("precision = bf16");
        status = call("rl|run.resume=%s/stopped|run.device=cpu|run.threads=2|run.max_seconds=%g", folder,
                      stops < 5 ? part : 0);
    }
    assert_int_equal(status, 0);
    assert_true(stops > 0);
    assert_same_run("undisturbed", "stopped");
}

/* The two precisions are two runs. */
static void the_precisions_differ(void **state)
{
    (void)state;
    char path[600];
    write_recipe("processor.ini", processor);
    in_folder(path, "processor.ini");
    snprintf(path + strlen(path), 40, "|run.precision=fp32");
    char words[700];
    snprintf(words, sizeof words, "rl|%s|run.device=cpu|run.threads=1", path);
    train("single", words);
    assert_false(same_lines("single", "cpu-0", "log.jsonl"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_library),
        cmocka_unit_test(library_that_depends_on_rows),
        cmocka_unit_test(the_processor_in_every_way),
        cmocka_unit_test(the_processor_goes_on),
        cmocka_unit_test(the_precisions_differ),
    };
    return empty_input() ? 1 : cmocka_run_group_tests_name("runs in mixed precision", tests, set_up, tear_down);
}
