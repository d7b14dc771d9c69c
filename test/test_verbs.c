/* The verbs as a person calls them: whole command lines in, standard output, standard error and exit status out: which
 * verb is meant, help, listings, eval. Not here: training, verbs that read lines and sample (test_verbs_lines.c), the
 * verbs on rewards.
 */
#define FOLDER "/tmp/test_verbs.XXXXXX"
#include "calls.h"

/* ---- which verb ---- */

static void words_that_are_no_verb(void **state)
{
    (void)state;
    expect("eva", 2, NULL, "did you mean 'eval'?");
    expect("--list", 2, NULL, "did you mean 'list'?");
    expect("chian", 2, NULL, "did you mean 'chain'?");
    expect("zzzzzzzz", 2, NULL, "train_rl help");
    expect("chain|run.sead=1", 2, NULL, "seed"); /* reached the training, which refuses the key */
    expect("nowhere/x.ini", 2, NULL, "nowhere/x.ini");
    expect("help|clop", 2, NULL, "train_rl help: there is no 'clop', did you mean 'clip'?");
    expect("verify|Makefile", 2, NULL, "lines are read from standard input: <Makefile");
    expect("sample|model", 2, NULL, "a model is given as model.path=model");
    expect("eval|test/", 2, NULL, "test/ holds no run: there is no recipe.ini in it");
    expect("show|jsonl", 0, "  prompt = \"Question: {question}\\nAnswer:\"\n", NULL); /* as a recipe takes it */
    struct result r = call("verify", "{\"gold\": 1, \"pred\": 1}\nx\n");
    assert_non_null(strstr(r.out, "{\"error\":\"no JSON: column 1: ")); /* not line 1: it is the second */
    done(&r);
}

static void names_do_not_collide(void **state)
{
    (void)state;
    for (int i = 0; verbs[i]; i++) {
        for (const struct recipe_file *f = recipe_files; f->name; f++)
            assert_string_not_equal(verbs[i]->name, f->name);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(verbs[i]->name, verbs[k]->name);
    }
}

static void help_of_every_verb(void **state)
{
    (void)state;
    struct result all = call("help", NULL), dashed = call("--help", NULL), brief = call("-h", NULL);
    assert_int_equal(all.status + dashed.status + brief.status, 0);
    assert_string_equal(all.out, dashed.out);
    assert_string_equal(all.out, brief.out);
    for (int i = 0; verbs[i]; i++) {
        char words[100];
        assert_non_null(strstr(all.out, verbs[i]->sentence));
        snprintf(words, sizeof words, "help|%s", verbs[i]->name);
        struct result one = call(words, NULL);
        snprintf(words, sizeof words, "%s|--help", verbs[i]->name);
        struct result same = call(words, NULL);
        assert_int_equal(one.status + same.status, 0);
        assert_string_equal(one.out, same.out);
        for (const char *line = verbs[i]->help, *end; *line; line = end + 1) {
            char text[400];
            end = strchr(line, '\n');
            snprintf(text, sizeof text, "%.*s\n", (int)(end - line), line);
            if (line[0] != ' ' && end[-1] == ':' && strchr("FE", line[0])) /* the heading of a section */
                continue;
            assert_non_null(strstr(one.out, text));
        }
        for (int k = 0; k < param_count(verbs[i]->options); k++)
            assert_non_null(strstr(one.out, verbs[i]->options[k].help));
        done(&one);
        done(&same);
    }
    done(&all);
    done(&dashed);
    done(&brief);
    expect("help|sampel", 2, NULL, "did you mean 'sample'?");
}

static void wrong_options(void **state)
{
    (void)state;
    expect("sample|model.pth=x", 2, NULL, "did you mean 'model.path'?");
    expect("sample|n=2|n=3", 2, NULL, "given twice");
    expect("sample|hello", 2, NULL, "no key=value");
    expect("sample|temperature=-1", 2, NULL, "out of bounds");
    expect("sample|prompt=x", 2, NULL, "model.path=DIR is missing");
    expect("sample|model.path=/nonexistent|prompt=x", 1, NULL, "/nonexistent");
    expect("logprobs", 2, NULL, "model.path=DIR is missing");
    expect("logprobs|model.path=/nonexistent", 1, NULL, "/nonexistent");
    expect("tokenize|decode=perhaps|model.path=x", 2, NULL, "neither true nor false");
    expect("tokenize|model.path=/nonexistent", 1, NULL, "/nonexistent");
    expect("eval|chain|eval.promts=3", 2, NULL, "did you mean 'prompts'?");
    expect("eval|chian", 2, NULL, "did you mean 'chain'?");
    expect("list|modles", 2, NULL, "did you mean 'models'?");
    expect("show", 2, NULL, "a name is missing");
    expect("show|cliip", 2, NULL, "did you mean 'clip'?");
}

/* ---- listings ---- */

/* show NAME succeeds and holds every given text. */
static void expect_shown(const char *name, const char *const *texts)
{
    char words[200];
    snprintf(words, sizeof words, "show|%s", name);
    struct result r = call(words, NULL);
    assert_int_equal(r.status, 0);
    for (; *texts; texts++)
        if (!strstr(r.out, *texts))
            fail_msg("show %s lacks \"%s\"", name, *texts);
    done(&r);
}

static void everything_is_listed_and_shown(void **state)
{
    (void)state;
    struct result r = call("list", NULL);
    assert_int_equal(r.status, 0);
    for (int i = 0; stages[i]; i++) {
        const struct stage *s = stages[i];
        const char *texts[MAX_PARAMS + 4] = {s->sentence, s->citation, s->formula};
        for (int k = 0; k < param_count(s->params); k++)
            texts[3 + k] = s->params[k].help;
        assert_non_null(strstr(r.out, s->sentence));
        expect_shown(s->name, texts);
    }
    for (int i = 0; task_rows[i]; i++) {
        const char *texts[MAX_PARAMS + 2] = {task_rows[i]->sentence};
        for (int k = 0; k < param_count(task_rows[i]->params); k++)
            texts[1 + k] = task_rows[i]->params[k].help;
        assert_non_null(strstr(r.out, task_rows[i]->sentence));
        expect_shown(task_rows[i]->name, texts);
    }
    for (const struct recipe_file *f = recipe_files; f->name; f++)
        expect_shown(f->name, (const char *const[]){f->text, NULL});
    for (const struct preset *p = presets; p->name; p++) {
        assert_non_null(strstr(r.out, p->sentence));
        expect_shown(p->name, (const char *const[]){p->sentence, NULL});
    }
    for (const struct section_row *s = recipe_sections; s->name; s++)
        for (int k = 0; k < s->count; k++)
            expect_shown(s->name, (const char *const[]){s->keys[k].row.key, s->keys[k].row.help, NULL});
    done(&r);
    expect("show|score.outcome", 0, "outcome (score stage)", NULL);
    struct result one = call("show|score.outcome", NULL);
    assert_null(strstr(one.out, "credit stage"));
    done(&one);
}

/* ---- eval ---- */

/* A directory as a run leaves it, with untrained weights of their own. */
static void make_run(const char *dir)
{
    struct session s;
    struct error e;
    char path[700];
    snprintf(path, sizeof path, "%s/checkpoint", dir);
    if (file_make_directory(path, &e) || session_open(&s, "chain", NULL, 0, 0, &e))
        fail_msg("%s", e.text);
    model_init(&s.policy, 99); /* not what the recipe's seed gives */
    if (checkpoint_save(&s.policy, path, &s.special, &e) || tokenizer_save(s.tokenizer, path, &e))
        fail_msg("%s", e.text);
    snprintf(path, sizeof path, "%s/recipe.ini", dir);
    if (file_write(path, s.recipe.text, strlen(s.recipe.text), &e))
        fail_msg("%s", e.text);
    session_close(&s);
}

/* The line without what depends on the clock and on the names. */
static json_t *measured(const char *line)
{
    static const char *const other[] = {"t_seconds", "model", "recipe"};
    json_t *o = object_at(line, 0);
    for (int i = 0; i < 3; i++)
        json_object_del(o, other[i]);
    return o;
}

static void eval_of_a_recipe_and_of_a_run(void **state)
{
    (void)state;
    char dir[600], words[1500];
    in_folder(dir, "run");
    make_run(dir);
    snprintf(words, sizeof words, "eval|chain|model.path=%s/checkpoint|eval.prompts=12|eval.samples=3", dir);
    struct result a = call(words, NULL), fresh = call("eval|chain|eval.prompts=12|eval.samples=3", NULL);
    snprintf(words, sizeof words, "eval|%s|eval.prompts=12|eval.samples=3", dir);
    struct result b = call(words, NULL);
    if (b.status)
        fail_msg("%s", b.err);
    assert_int_equal(a.status, 0);
    assert_int_equal(lines_in(a.out), 1);
    assert_non_null(strstr(a.err, "pass@3"));
    json_t *x = measured(a.out), *y = measured(b.out), *z = measured(fresh.out);
    assert_int_equal(json_integer_value(json_object_get(x, "prompts")), 12);
    assert_true(json_is_real(json_object_get(x, "pass@3_se")));
    assert_true(json_real_value(json_object_get(x, "truncated")) > 0); /* noise seldom ends by itself */
    assert_true(json_equal(x, y));                                     /* the same weights by another way */
    assert_false(json_equal(x, z));                                    /* other weights */
    json_decref(x);
    json_decref(y);
    json_decref(z);
    done(&a);
    done(&b);
    done(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_that_are_no_verb),
        cmocka_unit_test(names_do_not_collide),
        cmocka_unit_test(help_of_every_verb),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(everything_is_listed_and_shown),
        cmocka_unit_test(eval_of_a_recipe_and_of_a_run),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
