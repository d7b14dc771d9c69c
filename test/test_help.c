/* Help of every verb: its sections are there and filled, and its examples mean something: their verbs, recipes and keys
 * exist, and those that only print are run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include "../dev/verbs/sweep_grid.h"
#include "run_files.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

static void help_of(const char *name, char out[MAX_OUTPUT])
{
    char err[MAX_OUTPUT];
    if (call_verb(&verb_row_help, 1, &name, out, err))
        fail_msg("help %s: %s", name, err);
}

static void test_sections(void **state)
{
    (void)state;
    static const char *const sections[] = {"NAME\n",    "\nSYNOPSIS\n",    "\nDESCRIPTION\n", "\nOPTIONS\n",
                                           "\nFILES\n", "\nEXIT STATUS\n", "\nEXAMPLES\n"};
    for (int i = 0; verbs[i]; i++) {
        char out[MAX_OUTPUT];
        help_of(verbs[i]->name, out);
        const char *p = out;
        for (int k = 0; k < 7; k++) {
            const char *at = strstr(p, sections[k]);
            if (!at || (k == 0 && at != out))
                fail_msg("help %s: no section %s after the one before", verbs[i]->name, sections[k]);
            p = at + strlen(sections[k]);
            if (strncmp(p, "  ", 2) || p[2] == ' ' || p[2] == '\n')
                fail_msg("help %s: nothing in section %s", verbs[i]->name, sections[k]);
        }
        assert_non_null(strstr(out, verbs[i]->sentence));
        assert_null(strstr(out, "Examples:"));
        assert_null(strstr(out, "Files:"));
        for (const char *line = out; *line; line += strcspn(line, "\n") + 1)
            if (strcspn(line, "\n") > 200)
                fail_msg("help %s: a line of %zu characters", verbs[i]->name, strcspn(line, "\n"));
    }
}

enum { MAX_WORDS = 24, MAX_TEXT = 2000 };

/* The words of a shell line from train_rl on, without redirections; text holds them. Returns their number. */
static int split(const char *line, char text[MAX_TEXT], const char *word[MAX_WORDS])
{
    int n = 0;
    const char *p = strstr(line, "train_rl ") ? strstr(line, "train_rl ") + 9 : line + strlen(line);
    while (*p && *p != '\n' && *p != '|' && n < MAX_WORDS) {
        char quote = 0, *to = text;
        for (; *p && *p != '\n' && (quote || (*p != ' ' && *p != '|')); p++)
            if (quote ? *p == quote : *p == '\'' || *p == '"')
                quote = quote ? 0 : *p;
            else
                *to++ = *p;
        *to++ = 0;
        if (text[0] && text[0] != '<' && text[0] != '>')
            word[n++] = text;
        if (text[0])
            text = to;
        p += strspn(p, " ");
    }
    return n;
}

static const char *recipe_of(const char *word)
{
    for (const struct recipe_file *f = recipe_files; f->name && word; f++)
        if (!strcmp(f->name, word))
            return f->name;
    return "chain";
}

/* Is key=value a key of the recipe? */
static void expect_recipe_key(const char *recipe, const char *word)
{
    struct error e = {""};
    struct recipe *r = mem_alloc(1, sizeof *r);
    if (recipe_load(r, recipe, &word, 1, &e))
        fail_msg("%s: %s", word, e.text);
    recipe_free(r);
    mem_free(r);
}

/* Every value of key=A,B,C. */
static void expect_list(const char *recipe, const char *word)
{
    struct grid *g = mem_alloc(1, sizeof *g);
    struct error e = {""};
    if (grid_read(g, 1, &word, &e))
        fail_msg("%s: %s", word, e.text);
    for (int i = 0; i < g->combinations; i++) {
        char *one[MAX_SWEEP_WORDS];
        assert_int_equal(grid_words(g, i, one), 1);
        expect_recipe_key(recipe, one[0]);
        mem_free(one[0]);
    }
    grid_free(g);
    mem_free(g);
}

/* Is key=value an option of the verb, or a key of the recipe? */
static void expect_key(const struct verb *v, const char *recipe, const char *word)
{
    struct value value[MAX_PARAMS];
    struct error e = {""};
    if (v->options && !verb_options(v, 1, &word, value, &e))
        return;
    if (v->run == verb_row_sweep.run)
        expect_list(recipe, word);
    else
        expect_recipe_key(recipe, word);
}

static void try_example(const char *line)
{
    char text[MAX_TEXT], err[MAX_OUTPUT];
    const char *word[MAX_WORDS];
    int n = split(line, text, word), first = n > 0 && verb_find(word[0]) != NULL;
    const struct verb *v = verb_find(first ? word[0] : "rl");
    if (n == 0)
        return; /* train_rl alone */
    if (v->run == verb_row_list.run || v->run == verb_row_show.run || v->run == verb_row_help.run) {
        if (call_verb(v, n - 1, word + 1, NULL, err))
            fail_msg("%s%s", line, err);
        return;
    }
    const char *recipe = recipe_of(n > first ? word[first] : NULL);
    for (int i = first; i < n; i++)
        if (strchr(word[i], '='))
            expect_key(v, recipe, word[i]);
        else if (v->run == verb_rl && word[i][0] != '-')
            assert_string_equal(recipe_of(word[i]), word[i]);
}

static void test_examples(void **state)
{
    (void)state;
    for (int i = 0; verbs[i]; i++) {
        char out[MAX_OUTPUT];
        int examples = 0;
        help_of(verbs[i]->name, out);
        for (char *line = strstr(out, "\nEXAMPLES\n") + 10; *line;) {
            char one[MAX_TEXT];
            size_t len = strcspn(line, "\n");
            assert_true(len < sizeof one);
            snprintf(one, sizeof one, "%.*s", (int)len, line);
            if (strstr(one, "train_rl")) {
                examples++;
                try_example(one);
            }
            line += len + (line[len] == '\n');
        }
        if (examples == 0)
            fail_msg("help %s: no example", verbs[i]->name);
    }
    try_example("  train_rl help"); /* help itself */
}

/* The split above does not swallow what it should look at. */
static void test_split(void **state)
{
    (void)state;
    char text[MAX_TEXT];
    const char *word[MAX_WORDS];
    assert_int_equal(split("echo '{\"a\":\"b c\"}' | train_rl sample prompt=\"Once upon\" n=3 <x | cat", text, word),
                     3);
    assert_string_equal(word[0], "sample");
    assert_string_equal(word[1], "prompt=Once upon");
    assert_string_equal(word[2], "n=3");
    assert_int_equal(split("  train_rl", text, word), 0);
}

static void test_shown_recipes(void **state)
{
    (void)state;
    for (const struct recipe_file *f = recipe_files; f->name; f++) {
        char out[MAX_OUTPUT];
        assert_int_equal(call_verb(&verb_row_show, 1, &f->name, out, NULL), 0);
        assert_non_null(strstr(out, f->expect ? "one more run lies in" : "expectation: none yet"));
    }
    static const char *const sections[] = {"params", "task", "models", "stages"};
    for (int i = 0; i < 4; i++) {
        char out[MAX_OUTPUT];
        assert_int_equal(call_verb(&verb_row_show, 1, &sections[i], out, NULL), 0);
        assert_non_null(strstr(out, "section of a recipe"));
    }
}

/* A run's recipe.ini has the name of the recipe it came from, or of its directory. */
static void test_name_of_a_run(void **state)
{
    (void)state;
    char path[300], changed[8000];
    struct error e = {""};
    struct recipe *r = mem_alloc(1, sizeof *r);
    if (recipe_load(r, "chain", NULL, 0, &e))
        fail_msg("%s", e.text);
    const char *dir = put_run("some-run", r->text, NULL, NULL);
    snprintf(changed, sizeof changed, "# Another title\n%s", r->text);
    recipe_free(r);
    snprintf(path, sizeof path, "%s/recipe.ini", dir);
    if (recipe_load(r, path, NULL, 0, &e))
        fail_msg("%s", e.text);
    assert_string_equal(r->name, "chain");
    recipe_free(r);
    put_file(dir, "recipe.ini", changed);
    if (recipe_load(r, path, NULL, 0, &e))
        fail_msg("%s", e.text);
    assert_string_equal(r->name, "some-run");
    recipe_free(r);
    mem_free(r);
    forget_runs();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections),      cmocka_unit_test(test_examples),      cmocka_unit_test(test_split),
        cmocka_unit_test(test_shown_recipes), cmocka_unit_test(test_name_of_a_run),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
