/* The task `stories`: which words count, which pairs are held out, what is refused. Verdicts are worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../data/task.h"
/* last: they need the headers above, and cmocka's macro fail() would change ours */
#include <cmocka.h>
#include "tasks.h"

static void test_stories_check(void **state)
{
    (void)state;
    static const struct {
        const char *response;
        int strict, lenient;
    } cases[] = {
        {", a dog went to the park.", R, R},
        {"The DOG! Then the Park", R, R},
        {"dog park", R, R},
        {"park dog", W, R},
        {"park dog park", R, R},
        {"dogs in the park", W, W},
        {"a dog at parking", W, W},
        {"a hotdog in the park", W, W},
        {"dog's park", R, R},
        {"dog2park", R, R},
        {"dog-park", R, R},
        {"\xe2\x80\x9c"
         "dog\xe2\x80\x9d park",
         R, R}, /* curly quotes */
        {"dog", W, W},
        {"", U, U},
        {" ", W, W},
        {"dogpark", W, W},
    };
    struct task t;
    struct item it = {0};
    open_task(&t, "stories", DEFAULTS);
    t.row->make(&t, SPLIT_TRAIN, 12345, &it);
    assert_string_equal(it.prompt.s, "Once upon a time");
    assert_string_equal(it.extra.s, "dog,park");
    assert_true(t.size[0] == 1 && t.size[1] == 1 && t.longest_prompt == 16 && t.longest_gold == 0);
    assert_true(!t.row->gold && !t.row->alphabet && !t.row->steps);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum verdict strict, lenient;
        t.row->check(&t, &it, cases[i].response, (int)strlen(cases[i].response), &strict, &lenient);
        if ((int)strict != cases[i].strict || (int)lenient != cases[i].lenient)
            fail_msg("'%s': %d %d, not %d %d", cases[i].response, strict, lenient, cases[i].strict, cases[i].lenient);
    }
    enum verdict strict, lenient;
    t.row->check(&t, &it, "dog\0park", 8, &strict, &lenient);
    assert_int_equal(strict, VERDICT_RIGHT);
    t.row->check(&t, &it, "dog park", 7, &strict, &lenient); /* cut off */
    assert_int_equal(strict, VERDICT_WRONG);
    item_free(&it);
    task_close(&t);
}

/* All 90 ordered pairs of the ten nouns, each in one split only, named by the opening. */
static void test_stories_pairs(void **state)
{
    (void)state;
    struct task t;
    struct item it = {0};
    char *seen[90];
    int n = 0;
    open_task(&t, "stories", SET("pairs=true", "opening=true"));
    assert_int_equal(t.size[SPLIT_TRAIN] + t.size[SPLIT_TEST], 90);
    assert_true(t.size[SPLIT_TEST] >= 3 && t.size[SPLIT_TEST] <= 20);
    for (int split = 0; split < 2; split++)
        for (uint64_t i = 0; i < t.size[split]; i++) {
            char want[128], words[80];
            t.row->make(&t, (enum split)split, i + (uint64_t)split * t.size[split] * 3, &it);
            snprintf(words, sizeof words, "%s", it.extra.s);
            char *second = strchr(words, ',');
            *second++ = 0;
            snprintf(want, sizeof want, "The %s and the %s. Once upon a time", words, second);
            assert_string_equal(it.prompt.s, want);
            assert_true(it.prompt.len <= t.longest_prompt);
            seen[n++] = mem_strdup(it.extra.s);
        }
    qsort(seen, 90, sizeof *seen, by_text);
    for (int i = 0; i < 90; i++)
        assert_true(i == 0 || strcmp(seen[i - 1], seen[i]));
    for (int i = 0; i < 90; i++)
        mem_free(seen[i]);
    item_free(&it);
    task_close(&t);
    open_task(&t, "stories", SET("opening=yes", "words=Cat , boat"));
    t.row->make(&t, SPLIT_TEST, 0, &it);
    assert_string_equal(it.prompt.s, "The Cat and the boat. Once upon a time");
    item_free(&it);
    task_close(&t);
}

static void test_refusals(void **state)
{
    (void)state;
    expect_refused("stories", SET("words=dog"), "at least two");
    expect_refused("stories", SET("words=dog,dog"), "twice");
    expect_refused("stories", SET("words=dog,Dog"), "twice");
    expect_refused("stories", SET("words=dog,cat,park"), "exactly two");
    expect_refused("stories", SET("words=dog,,park"), "letters");
    expect_refused("stories", SET("words="), "letters");
    expect_refused("stories", SET("words=dog,p@rk"), "letters");
    expect_refused("stories", SET("words=abcdefghijklmnopqrstuvwxyzabcdefgh,dog"), "at most 31");
    expect_refused("stories", SET("start="), "start is empty");
    expect_refused("stories", SET("pairs=true"), "opening");
    expect_refused("stories", SET("pairs=true", "opening=true", "nouns=boy,girl"), "held out");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories_check),
        cmocka_unit_test(test_stories_pairs),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
