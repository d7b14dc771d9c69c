/* Runs in mixed precision, the kernels and the library on the host (cuda_host.h): a library whose rows do not depend on
 * their number gives a mismatch of 0; one that can be told to do so is told; with one that cannot the run says so,
 * logs the difference, and takes logp_old from the trainer. */
#define FOLDER "/tmp/test_run_bf16.XXXXXX"
#define WITH_CUDA
#include "cuda_table.c"
#include "../model/device.c"
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

static void the_processor_refuses(void **state)
{
    (void)state;
    char path[600];
    write_recipe("all.ini", recipe);
    assert_int_equal(call("rl|%s|run.device=cpu|run.out=%s/none", in_folder(path, "all.ini"), folder), 1);
    assert_printed("run.precision=bf16: the processor computes in fp32 only");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_library),
        cmocka_unit_test(library_that_depends_on_rows),
        cmocka_unit_test(the_processor_refuses),
    };
    return empty_input() ? 1 : cmocka_run_group_tests_name("runs in mixed precision", tests, set_up, tear_down);
}
