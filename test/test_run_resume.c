/* A run that ends at any instant and is resumed is the run that was never disturbed: byte for byte, its checkpoint too.
 * Killed with SIGKILL, stopped by Ctrl-C, resumed twice at once, with damaged files. A new piece of state that a run
 * carries from step to step is caught here as soon as the recipe below uses it.
 */
#define FOLDER "/tmp/test_run_resume.XXXXXX"
#include <signal.h>
#include <time.h>
#include "../model/base/clock.h"
#include "../model/base/rng.h"
#include "runs.h"

/* Everything that is state: a reference made when rollouts begin, a branch in the middle and one at the end,
 * evaluations on the way, an optimiser that goes on and one that starts afresh, a step in several updates. */
static const char recipe[] = "[task]\nname = chain\nbare = 0.3\n"
                             "[model]\npreset = nano-llama\n[models]\nref = init frozen\n"
                             "[rollout]\nprompts = 8\nsamples = 4\nmax_new = 16\n"
                             "[eval]\nprompts = 20\nevery = 2\nsamples = 2\n"
                             "[stages]\nscore = outcome\nadvantage = group(std = true)\nloss = clip\n"
                             "regular = kl(coef = 0.1)\n"
                             "[phase warmup]\nsource = gold\nsteps = 20\nbatch = 9\nlr = 6e-3\nloss = nll\n"
                             "[phase more]\nsource = gold\nbranch = warmup\nsteps = 6\nbatch = 9\nloss = nll\n"
                             "[phase rl]\nsource = rollout\nsteps = 8\nlr = 1e-3\nreset_optimiser = true\n"
                             "[phase second]\nsource = rollout\nsteps = 4\nlr = 1e-4\n"
                             "[optim]\nminibatches = 2\nepochs = 2\nschedule = cosine\n"
                             "[phase control]\nsource = gold\nbranch = warmup\nsteps = 6\nbatch = 9\nloss = nll\n";

static char fresh[900]; /* words of a run of the recipe, all but run.out */
static double whole_seconds;

static int make_whole(void **state)
{
    char path[600];
    if (set_up(state))
        return -1;
    write_recipe("all.ini", recipe);
    snprintf(fresh, sizeof fresh, "rl|%s|run.save_every=1|run.threads=1", in_folder(path, "all.ini"));
    double begin = clock_now();
    train("whole", fresh);
    whole_seconds = clock_now() - begin;
    return 0;
}

/* Go on with the run where there is one, else begin it. */
static pid_t start_or_resume(const char *run)
{
    char words[1600], path[900];
    snprintf(path, sizeof path, "%s/%s/recipe.ini", folder, run);
    if (file_size(path) >= 0)
        snprintf(words, sizeof words, "rl|run.resume=%s/%s|run.save_every=1|run.threads=1", folder, run);
    else
        snprintf(words, sizeof words, "%s|run.out=%s/%s", fresh, folder, run);
    return start(words);
}

static void sleep_seconds(double s)
{
    struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
    nanosleep(&t, NULL);
}

/* Run after run, each killed up to five times and then left to end, until 50 kills hit a living process. */
static void killed_at_any_instant(void **state)
{
    (void)state;
    enum { KILLS = 50, A_RUN = 5 };
    struct rng r = rng_stream(7, RNG_NOISE, 0, 0, 0);
    int kills = 0, run = 0;
    for (uint64_t draw = 0; kills < KILLS; run++) {
        char name[32];
        snprintf(name, sizeof name, "killed-%d", run);
        assert_true(run < 200);
        for (int k = 0; k < A_RUN; k++) {
            pid_t pid = start_or_resume(name);
            sleep_seconds(0.5 * whole_seconds * rng_uniform(r, draw++));
            kill(pid, SIGKILL);
            int status = finish(pid);
            if (status == 0)
                break;
            if (status != 1000 + SIGKILL)
                fail_msg("status %d: %s", status, slurp("", "printed").p);
            kills++;
        }
        int status = finish(start_or_resume(name));
        if (status)
            fail_msg("resuming %s: status %d: %s", name, status, slurp("", "printed").p);
        assert_same_run("whole", name);
    }
    print_message("%d kills in %d runs of %.2f s\n", kills, run, whole_seconds);
}

static void wait_for(const char *file)
{
    char path[900];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    for (int i = 0; i < 3000 && file_size(path) < 0; i++)
        sleep_seconds(0.01);
}

static void interrupted_by_a_person(void **state)
{
    (void)state;
    int interrupted = 0;
    for (int i = 0; i < 4; i++) {
        char name[32], file[64], hint[200];
        snprintf(name, sizeof name, "stopped-%d", i);
        snprintf(file, sizeof file, "%s/log.jsonl", name);
        snprintf(hint, sizeof hint, "run.resume=%s/%s", folder, name);
        pid_t pid = start_or_resume(name);
        wait_for(file); /* the first step is done */
        sleep_seconds(whole_seconds * 0.2 * i);
        kill(pid, SIGINT);
        int status = finish(pid);
        if (status == 130) {
            interrupted++;
            assert_printed("Interrupted");
            assert_printed(hint);
        } else
            assert_int_equal(status, 0); /* it had ended */
        assert_int_equal(finish(start_or_resume(name)), 0);
        assert_same_run("whole", name);
    }
    assert_true(interrupted > 0);
}

/* A finished run resumed does nothing but say so again. */
static void resumed_when_done(void **state)
{
    (void)state;
    struct bytes before = slurp("whole", "log.jsonl");
    assert_int_equal(finish(start_or_resume("whole")), 0);
    assert_printed("unseen prompts");
    assert_true(equal(before, slurp("whole", "log.jsonl")));
}

static void two_at_once_are_refused(void **state)
{
    (void)state;
    char words[1600];
    snprintf(words, sizeof words, "%s|rl.steps=100000|run.out=%s/busy", fresh, folder);
    pid_t pid = start(words);
    wait_for("busy/checkpoint/trainer.safetensors");
    assert_int_equal(call("rl|run.resume=%s/busy", folder), 1);
    assert_printed("another train_rl is working in");
    kill(pid, SIGKILL);
    finish(pid);
}

static void refused(const char *words, int status, const char *piece)
{
    char text[1600];
    struct bytes before = slurp("damaged", "log.jsonl");
    snprintf(text, sizeof text, "rl|run.resume=%s/damaged%s", folder, words);
    assert_int_equal(finish(start(text)), status);
    assert_printed(piece);
    assert_true(equal(before, slurp("damaged", "log.jsonl")));
}

/* Overwrite a file of the run with a piece of itself, one byte changed. */
static void damage(const char *file, size_t len, size_t at, char byte)
{
    char path[900];
    struct error e;
    struct bytes b = slurp("damaged", file);
    snprintf(path, sizeof path, "%s/damaged/%s", folder, file);
    assert_true(len <= b.len && at < len);
    b.p[at] = byte;
    assert_int_equal(file_write(path, b.p, len, &e), 0);
    mem_free(b.p);
}

static void restore(const char *file, struct bytes b)
{
    char path[900];
    struct error e;
    snprintf(path, sizeof path, "%s/damaged/%s", folder, file);
    assert_int_equal(file_write(path, b.p, b.len, &e), 0);
    mem_free(b.p);
}

static void damaged_runs_are_refused(void **state)
{
    (void)state;
    static const char trainer[] = "checkpoint/trainer.safetensors", weights[] = "checkpoint/model.safetensors";
    train("damaged", fresh);
    refused("|rl.lr=2e-3", 1, "lr = 0.002");
    refused("|run.out=elsewhere", 1, "exclude each other");
    assert_int_equal(call("rl|run.resume=%s/nowhere", folder), 2);
    assert_printed("run.resume: there is no directory");
    assert_printed("nowhere");
    assert_int_equal(call("rl|run.resume=%s", folder), 2);
    assert_printed("holds no run: there is no recipe.ini in it");
    assert_int_equal(call("rl|run.resume=%s/damaged/checkpoint", folder), 2);
    assert_printed("is the checkpoint of a run");

    struct bytes whole = slurp("damaged", trainer);
    damage(trainer, whole.len - 1, 0, whole.p[0]);
    refused("", 1, "trainer.safetensors");
    damage(trainer, 5, 0, 0);
    refused("", 1, "trainer.safetensors");
    restore(trainer, whole);

    whole = slurp("damaged", trainer); /* a counter becomes negative */
    char *number = strstr(whole.p + 8, "\\\"step\\\":");
    assert_non_null(number);
    damage(trainer, whole.len, (size_t)(number - whole.p) + 9, '-');
    refused("", 1, "trainer.safetensors");
    restore(trainer, whole);

    whole = slurp("damaged", weights);
    damage(weights, whole.len / 2, 0, whole.p[0]);
    refused("", 1, "model.safetensors");
    restore(weights, whole);

    whole = slurp("damaged", "log.jsonl");
    char path[900];
    struct error e;
    snprintf(path, sizeof path, "%s/damaged/log.jsonl", folder);
    assert_int_equal(file_truncate(path, (long)whole.len / 2, &e), 0);
    refused("", 1, "part of it is lost");
    restore("log.jsonl", whole);
    refused("", 0, "unseen prompts"); /* all is well again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_any_instant),    cmocka_unit_test(interrupted_by_a_person),
        cmocka_unit_test(resumed_when_done),        cmocka_unit_test(two_at_once_are_refused),
        cmocka_unit_test(damaged_runs_are_refused),
    };
    return cmocka_run_group_tests(tests, make_whole, tear_down);
}
