/* When the system says no: a disk that is full at any point, memory that ends at any allocation, an output that takes
 * nothing. The program ends with one message and status 1, every file is the old one or the new one, and the run goes
 * on from there as if nothing had happened.
 */
#define FOLDER "/tmp/test_hostile_system.XXXXXX"
#include <signal.h>
#include <sys/resource.h>
#include "../model/safetensors.h"
#include "runs.h"

static const char recipe[] = "[task]\nname = chain\n[model]\npreset = nano-llama\n"
                             "[rollout]\nprompts = 2\nsamples = 2\nmax_new = 8\n[eval]\nprompts = 4\nsamples = 2\n"
                             "[stages]\nscore = outcome\nadvantage = group\nloss = clip\n"
                             "[phase warmup]\nsource = gold\nsteps = 2\nbatch = 2\nloss = nll\n"
                             "[phase rl]\nsteps = 2\n";

static char fresh[700], good[600];

static int make_whole(void **state)
{
    char path[600];
    if (set_up(state) || empty_input())
        return -1;
    write_recipe("small.ini", recipe);
    snprintf(fresh, sizeof fresh, "rl|%s|run.save_every=1|run.threads=1", in_folder(path, "small.ini"));
    train("whole", fresh);
    in_folder(good, "whole/checkpoint");
    return 0;
}

/* ---- the command in a process for which something is made scarce ---- */

static void no_room(long bytes) /* in any one file */
{
    struct rlimit r = {(rlim_t)bytes, (rlim_t)bytes};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &r))
        _exit(101);
}

static void no_output(long unused)
{
    (void)unused;
    int full = open("/dev/full", O_WRONLY);
    if (full < 0 || dup2(full, 1) < 0)
        _exit(101);
}

enum { SAID = 1 << 16 };
static char said[SAID]; /* by the last command, both outputs: through a pipe, which no limit on files touches */

static void listen_to(int from)
{
    size_t len = 0;
    char rest[4096];
    for (ssize_t n; (n = read(from, rest, sizeof rest)) > 0;)
        for (ssize_t i = 0; i < n && len + 1 < SAID; i++)
            said[len++] = rest[i];
    said[len] = 0;
    close(from);
}

static int call_with(void (*scarce)(long), long amount, const char *words)
{
    char text[3000], *argv[40] = {"train_rl"};
    int ends[2], argc = 1;
    if (pipe(ends))
        fail_msg("no pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        snprintf(text, sizeof text, "%s", words);
        for (char *save = NULL, *w = strtok_r(text, "|", &save); w && argc < 39; w = strtok_r(NULL, "|", &save))
            argv[argc++] = w;
        scarce(amount);
        _exit(train_rl_main(argc, argv));
    }
    close(ends[1]);
    listen_to(ends[0]);
    return finish(pid);
}

static void assert_said(const char *words, long amount, const char *piece)
{
    if (!strstr(said, piece) || strstr(said, "Sanitizer") || strstr(said, "runtime error"))
        fail_msg("%s with %ld: '%s' is not in: %s", words, amount, piece, said);
}

/* Words that begin the run, or go on with it once it has a recipe. */
static void start_words(char words[2000], const char *run)
{
    char path[900];
    snprintf(path, sizeof path, "%s/%s/recipe.ini", folder, run);
    if (file_size(path) >= 0)
        snprintf(words, 2000, "rl|run.resume=%s/%s|run.save_every=1|run.threads=1", folder, run);
    else
        snprintf(words, 2000, "%s|run.out=%s/%s", fresh, folder, run);
}

/* Whatever stopped the run: weights are there completely or not at all, and lines end. */
static void assert_whole_files(const char *run)
{
    static const char *const lines[] = {"log.jsonl", "eval.jsonl", "samples.jsonl"};
    char path[900];
    struct safetensors s;
    struct error e;
    snprintf(path, sizeof path, "%s/%s/checkpoint/model.safetensors", folder, run);
    if (file_size(path) >= 0) {
        if (safetensors_open(&s, path, &e))
            fail_msg("%s", e.text);
        safetensors_close(&s);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", folder, run, lines[i]);
        if (file_size(path) <= 0)
            continue;
        struct bytes b = slurp(run, lines[i]);
        assert_int_equal(b.p[b.len - 1], '\n');
        mem_free(b.p);
    }
}

/* ---- disk full ---- */

static void disk_full(void **state)
{
    (void)state;
    static const long room[] = {0, 4000, 40000, 1000000};
    char words[2000], run[40];
    int failed = 0;
    for (size_t i = 0; i < sizeof room / sizeof *room; i++) {
        snprintf(run, sizeof run, "full-%ld", room[i]);
        start_words(words, run);
        int status = call_with(no_room, room[i], words);
        if (status == 0) /* enough for every file */
            continue;
        failed++;
        if (status != 1)
            fail_msg("%s with %ld bytes: status %d: %s", words, room[i], status, said);
        assert_said(words, room[i], "File too large");
        assert_whole_files(run);
        start_words(words, run);
        int again = call("%s", words); /* there is room again */
        struct bytes b = slurp("", "printed");
        if (again)
            fail_msg("%s: status %d: %s", words, again, b.p);
        mem_free(b.p);
        assert_same_run("whole", run);
    }
    assert_true(failed >= 3);
}

/* ---- memory ---- */

/* 1, 2, 3 ... and then in growing steps, until the command has what it needs. Returns how often it had not. */
static int starve(const char *words, const char *run)
{
    char now[2000];
    int starved = 0;
    for (long n = 1;; n += 1 + n / 2) {
        if (run)
            start_words(now, run);
        else
            snprintf(now, sizeof now, "%s", words);
        int status = call_with(mem_fail_at, n, now);
        if (status == 0)
            return starved;
        if (status != 1)
            fail_msg("%s, allocation %ld: status %d: %s", now, n, status, said);
        assert_said(now, n, "out of memory");
        if (run)
            assert_whole_files(run);
        starved++;
    }
}

static void out_of_memory(void **state)
{
    (void)state;
    char words[1500];
    assert_true(starve(NULL, "starved") >= 12);
    assert_same_run("whole", "starved");
    snprintf(words, sizeof words, "eval|%s/whole|eval.prompts=2|run.threads=1", folder);
    assert_true(starve(words, NULL) >= 8);
    snprintf(words, sizeof words, "sample|model.path=%s|prompt=3+4=|json=1|threads=1", good);
    assert_true(starve(words, NULL) >= 8);
}

/* Sizes that no machine has are refused with their number, before anything is taken. */
static void absurd_sizes(void **state)
{
    (void)state;
    char words[1500];
    snprintf(words, sizeof words, "%s|model.width=65536|model.heads=512|model.layers=1024|run.out=%s/never", fresh,
             folder);
    int status = call("%s", words);
    struct bytes b = slurp("", "printed");
    if (status != 1 && status != 2)
        fail_msg("status %d: %s", status, b.p);
    assert_non_null(strstr(b.p, "memory"));
    mem_free(b.p);
}

/* ---- an output that takes nothing ---- */

static void output_full(void **state)
{
    (void)state;
    static const char *const commands[] = {"list", "help", "show|chain"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call_with(no_output, 0, commands[i]), 1);
        assert_said(commands[i], 0, "standard output: No space left on device");
    }
    char words[900];
    snprintf(words, sizeof words, "sample|model.path=%s|prompt=3+4=|json=1|threads=1", good);
    assert_int_equal(call_with(no_output, 0, words), 1);
    assert_said(words, 0, "standard output: No space left on device");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_full),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(absurd_sizes),
        cmocka_unit_test(output_full),
    };
    return cmocka_run_group_tests(tests, make_whole, tear_down);
}
