/* One file of a recipe: it compiles without a warning, no function in it is unused, and its run leaves the bytes that
 * train_rl leaves. The compiler is the one in CC, or cc.
 */
#define FOLDER "/tmp/test_onefile.XXXXXX"
#include "runs.h"

#define QUIET "run.threads=1|eval.prompts=12|eval.samples=2|rollout.prompts=4|rollout.samples=4"

static int shell(const char *format, ...)
{
    char text[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fflush(NULL);
    return system(text);
}

/* words: the recipe and its settings; level: of optimisation, and further flags. */
static void same_as_the_program(const char *words, const char *level)
{
    if (call("onefile|%s|out=%s/one.c", words, folder))
        assert_printed("nothing");
    /* With all code in one place gcc sees flows that do not exist. */
    if (shell("${CC:-cc} -Wall -Wextra -Werror -Wno-maybe-uninitialized %s -march=native -ffp-contract=off -fopenmp "
              "%s/one.c -o %s/one -lm "
              ">%s/printed 2>&1",
              level, folder, folder, folder))
        assert_printed("no message");
    if (shell("%s/one %s/one_run >%s/printed 2>&1", folder, folder, folder))
        assert_printed("no failure");
    train("whole", words);
    static const char *const lines[] = {"log.jsonl", "samples.jsonl", "eval.jsonl"};
    for (int i = 0; i < 3; i++) {
        struct bytes b = slurp_lines("whole", lines[i]);
        assert_true(b.len > 100);
        mem_free(b.p);
        if (!same_lines("one_run", "whole", lines[i]))
            fail_msg("%s: %s differs", words, lines[i]);
    }
    if (!shell("%s/one %s/one_run >%s/printed 2>&1", folder, folder, folder))
        fail_msg("it wrote over an earlier run");
    assert_printed("is there already");
    assert_int_equal(shell("rm -r %s/one_run %s/whole", folder, folder), 0);
}

static void the_default_recipe(void **state)
{
    (void)state;
    same_as_the_program("chain|warmup.steps=20|rl.steps=12|control.steps=5|" QUIET, "-O3"); /* as at its top */
}

/* Three models, state that is remembered, several passes over a rollout. */
static void critics_and_a_controller(void **state)
{
    (void)state;
    same_as_the_program("safe|warmup.steps=6|rl.steps=11|" QUIET, "-O1"); /* quicker to compile */
}

/* Of the tiles in fp32, which macros make, attention needs some. */
static void products_in_bf16(void **state)
{
    (void)state;
    same_as_the_program("chain|run.precision=bf16|warmup.steps=6|rl.steps=4|control.steps=1|" QUIET,
                        "-O1 -Wno-unused-function");
}

static void what_cannot_be_one_file(void **state)
{
    (void)state;
    assert_int_equal(call("onefile|chain"), 2);
    assert_printed("out=FILE is missing");
    assert_int_equal(call("onefile|chain|out=/nonexistent/x.c"), 1);
    assert_printed("/nonexistent");
    assert_int_equal(call("onefile|chian|out=%s/x.c", folder), 2);
    assert_printed("did you mean 'chain'?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_recipe),
        cmocka_unit_test(critics_and_a_controller),
        cmocka_unit_test(products_in_bf16),
        cmocka_unit_test(what_cannot_be_one_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
