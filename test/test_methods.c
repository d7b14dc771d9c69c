/* The table of methods in README.md is what the program prints, and what it says of checks holds: the tests have
 * the examples and worked numbers. Variants are listed with what they set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include "../dev/verbs/methods.h"
#include "../rewards/method.h"
#include "run_files.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

static char *table(void)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    methods_markdown(f);
    fclose(f);
    return text;
}

static void readme_is_up_to_date(void **state)
{
    (void)state;
    size_t len;
    struct error e;
    char *readme = file_read("README.md", 1 << 20, &len, &e), *want = table();
    if (!readme)
        fail_msg("%s", e.text);
    char *from = strstr(readme, "\n<!-- methods:"), *to = strstr(readme, "<!-- end of methods -->");
    assert_true(from && to && from < to);
    from = strchr(from + 1, '\n') + 1;
    if (strlen(want) != (size_t)(to - from) || memcmp(want, from, strlen(want)))
        fail_msg(
            "README.md has another table of methods than the program; put it right with: make && sh dev/readme.sh");
    mem_free(readme);
    free(want);
}

/* The row of a recipe, up to its end. */
static char *row_of(const char *name)
{
    char key[80], *all = table(), *row = NULL;
    snprintf(key, sizeof key, "](rewards/recipes/%s.ini)", name);
    for (char *line = all, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        if (strstr(line, key))
            row = strdup(line);
    }
    free(all);
    return row;
}

static void rows_say_what_recipes_say(void **state)
{
    (void)state;
    static const struct {
        const char *recipe, *pieces[6];
    } want[] = {{"grpo",
                 {"| GRPO as published | z-scores of the rewards of a group, the mean over tokens first",
                  "| DeepSeekMath, Group Relative Policy Optimization (2024) |",
                  "advantage = [group](rewards/advantage/group.c); loss = [clip](rewards/loss/clip.c)",
                  "variants trl, verl, openrlhf |", "| greedy 19.5 to 100.0 %, sampled"}},
                {"dapo",
                 {"| DAPO | a wider clip above than below", ", no KL term |",
                  "| An Open-Source LLM Reinforcement Learning System at Scale (2025) |",
                  "select = [dynamic](rewards/select/dynamic.c)",
                  "[dev/papers/ppo-and-kin](dev/papers/ppo-and-kin/README.md)"}}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char *row = row_of(want[i].recipe);
        assert_non_null(row);
        for (int k = 0; k < 6 && want[i].pieces[k]; k++)
            if (!strstr(row, want[i].pieces[k]))
                fail_msg("'%s' is not in: %s", want[i].pieces[k], row);
        free(row);
    }
    assert_null(row_of("chain")); /* tasks are no methods */
    assert_null(row_of("stories"));
}

/* Stages, recipes and studies are links to files of the repository. */
static void links_lead_somewhere(void **state)
{
    (void)state;
    char *all = table(), path[200];
    int links = 0;
    for (char *p = all, *end; (p = strstr(p, "](")) != NULL; p = end, links++) {
        end = strchr(p, ')');
        assert_non_null(end);
        snprintf(path, sizeof path, "%.*s", (int)(end - p - 2), p + 2);
        if (file_size(path) <= 0)
            fail_msg("the table leads to %s, which is not there", path);
    }
    assert_true(links > 100);
    free(all);
}

/* Whatever `objective` knows more of and can train is a method of the table. */
static void no_method_is_missing(void **state)
{
    (void)state;
    for (int i = 0; methods[i]; i++)
        for (const struct recipe_file *f = recipe_files; f->name; f++)
            if (!strcmp(f->name, methods[i]->name)) {
                char *row = row_of(f->name);
                if (!row)
                    fail_msg("%s has no row: its title is no \"NAME: PAPER (YEAR)\", or it has no [params]", f->name);
                free(row);
            }
}

/* test_objective.c runs the examples of every method of the table; worked numbers are claimed one by one. */
static void checks_are_made(void **state)
{
    (void)state;
    size_t len;
    struct error e;
    int claims = 0;
    char *test = file_read("test/test_worked.c", 1 << 20, &len, &e), *from = test ? strstr(test, "worked[] = {") : NULL;
    char *end = from ? strstr(from, "};") : NULL;
    assert_non_null(end);
    *end = 0;
    for (const struct recipe_file *f = recipe_files; f->name; f++) {
        char name[80], *row = row_of(f->name);
        snprintf(name, sizeof name, "{\"%s\",", f->name);
        int says = row && strstr(row, "| examples to 1e-9, worked numbers |");
        if (says && !strstr(from, name))
            fail_msg("test_worked.c has no numbers of %s", f->name);
        claims += says;
        free(row);
    }
    assert_true(claims > 0);
    mem_free(test);
}

static const char *listed(const char *kind, const char *format, int status, char out[MAX_OUTPUT])
{
    static char err[MAX_OUTPUT];
    const char *word[2] = {kind, format};
    assert_int_equal(call_verb(&verb_row_list, format ? 2 : 1, word, out, err), status);
    return status ? err : out;
}

static void listings(void **state)
{
    (void)state;
    char out[MAX_OUTPUT];
    assert_non_null(strstr(listed("variants", NULL, 0, out),
                           "  grpo             variant=trl: agg = token_mean, adv_eps = 1e-4, beta = 0\n"));
    assert_non_null(strstr(listed("methods", NULL, 0, out), "  drpo             the closed-form weights"));
    assert_int_equal(strncmp(listed("methods", "format=markdown", 0, out), "| method | what it does |", 25), 0);
    assert_non_null(strstr(listed("stages", "format=markdown", 2, out), "methods only"));
    assert_non_null(strstr(listed("methods", "format=html", 2, out), "format"));
    const char *name = "dapo";
    assert_int_equal(call_verb(&verb_row_show, 1, &name, out, NULL), 0);
    assert_non_null(strstr(out, "variants, taken with variant=NAME: trl, verl\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readme_is_up_to_date),      cmocka_unit_test(links_lead_somewhere),
        cmocka_unit_test(rows_say_what_recipes_say), cmocka_unit_test(no_method_is_missing),
        cmocka_unit_test(checks_are_made),           cmocka_unit_test(listings),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
