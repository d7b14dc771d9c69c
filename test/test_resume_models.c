/* Runs whose state is more than a policy: critics that train beside it, adapters, a controller and a memory of prompts.
 * Ended by SIGKILL in the middle of reinforcement learning or by run.max_seconds, and resumed, they are the run that
 * was never disturbed, byte for byte. (Every instant of a plain run: test_run_resume.c.)
 */
#define FOLDER "/tmp/test_resume_models.XXXXXX"
#include <signal.h>
#include <time.h>
#include "runs.h"

#define SMALL                                                                                                          \
    "|model.preset=nano-llama|rollout.prompts=4|rollout.samples=4|rollout.max_new=16|warmup.steps=3|warmup.batch=4"    \
    "|rl.steps=6|eval.prompts=4|eval.samples=2|run.save_every=1|run.threads=1"

/* Four prompts with bare answers of 0 or 1, so that they come back and some are answered rightly. */
#define FEW                                                                                                            \
    "|task.mod=2|task.ops_min=1|task.ops_max=1|task.bare=1|task.wrong_facts=0|model.preset=nano-llama"                 \
    "|rollout.prompts=4|rollout.samples=4|rollout.max_new=16|warmup.steps=40|warmup.batch=4|rl.steps=6"                \
    "|eval.prompts=4|eval.samples=2|run.save_every=1|run.threads=1"

static const struct {
    const char *name, *words;
} cases[] = {
    {"ppo", "rl|ppo" SMALL},                                           /* a critic, several updates of a rollout */
    {"safe", "rl|safe|differentiable=current|base_threshold=0" SMALL}, /* two critics and a controller */
    {"flow", "rl|fl_gfn|objective=fl_subtb" SMALL},
    {"lora", "rl|grpo" SMALL "|model.lora_rank=3"}, /* adapters of the policy, and the reference's copy */
    {"lora-ppo", "rl|ppo" SMALL "|model.lora_rank=2|model.lora_targets=q v down"}, /* a critic with adapters */
    {"par", "rl|par|shaping=meanstd" SMALL},                                       /* statistics of all scores so far */
    {"hapo", "rl|hapo" FEW}, /* the shortest right answer to each prompt */
};
enum { CASES = sizeof cases / sizeof *cases };

static void pause_for(double seconds)
{
    struct timespec t = {0, (long)(seconds * 1e9)};
    nanosleep(&t, NULL);
}

/* Kill the run when so many lines are written; 0: it had ended before. */
static int kill_after(pid_t pid, const char *run, int lines)
{
    for (int i = 0; i < 30000 && lines_logged(run) < lines; i++)
        pause_for(0.002);
    kill(pid, SIGKILL);
    int status = finish(pid);
    if (status != 0 && status != 1000 + SIGKILL)
        fail_msg("%s: status %d: %s", run, status, slurp("", "printed").p);
    return status != 0;
}

static void resume_run(const char *run, const char *more, int want)
{
    int status = call("rl|run.resume=%s/%s|run.save_every=1|run.threads=1%s", folder, run, more);
    if (status != want)
        fail_msg("resuming %s: status %d: %s", run, status, slurp("", "printed").p);
}

/* Twice in the steps of reinforcement learning: early, and where every stage has something to remember. */
static void killed_and_resumed(void **state)
{
    (void)state;
    int kills = 0;
    for (int k = 0; k < CASES; k++) {
        char name[40], words[1500];
        snprintf(name, sizeof name, "%s-killed", cases[k].name);
        train(cases[k].name, cases[k].words);
        snprintf(words, sizeof words, "%s|run.out=%s/%s", cases[k].words, folder, name);
        kills += kill_after(start(words), name, 5);
        snprintf(words, sizeof words, "rl|run.resume=%s/%s|run.save_every=1|run.threads=1", folder, name);
        kills += kill_after(start(words), name, 7);
        resume_run(name, "", 0);
        assert_same_run(cases[k].name, name);
    }
    assert_true(kills >= CASES); /* of 2 a run, unless the machine is busy elsewhere */
}

/* A limit of time that ends every session somewhere. */
static void out_of_time_and_resumed(void **state)
{
    (void)state;
    enum { STOPPED = 130 };
    char words[1500];
    snprintf(words, sizeof words, "%s|run.max_seconds=0.02|run.out=%s/slow", cases[1].words, folder);
    assert_int_equal(finish(start(words)), STOPPED);
    resume_run("slow", "|run.max_seconds=0.05", STOPPED);
    resume_run("slow", "|run.max_seconds=0", 0);
    assert_same_run(cases[1].name, "slow");
}

/* Prompts are known again when they come back: their records are there from the second step on. */
static void prompts_are_remembered(void **state)
{
    (void)state;
    train("remembered", "rl|hapo" FEW);
    struct bytes log = slurp("remembered", "log.jsonl");
    int records = 0;
    double shortest = 0;
    for (char *at = log.p; (at = strstr(at, "\"hapo.record\":")); at++) {
        char *end;
        double x = strtod(at + 14, &end);
        records += end > at + 14;
        shortest = end > at + 14 && (!shortest || x < shortest) ? x : shortest;
    }
    assert_true(records >= 4 && shortest >= 2);
    mem_free(log.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_and_resumed),
        cmocka_unit_test(out_of_time_and_resumed),
        cmocka_unit_test(prompts_are_remembered),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
