/* dev/verbs/compare: runs named METHOD,STRENGTH,SEED become rows and lines; means and intervals worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include "../dev/verbs/curves.h"
#include "run_files.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

/* Two steps of rollouts with evaluations around them; right and tokens are those of the last. */
static void put(const char *name, int seed, const char *right, const char *tokens)
{
    char recipe[300], eval[600];
    snprintf(
        recipe, sizeof recipe,
        "# By hand\n[task]\nname = chain\n[run]\nseed = %d\n[phase rl]\nsource = rollout\nsteps = 2\nloss = clip\n",
        seed);
    snprintf(eval, sizeof eval,
             "{\"step\":0,\"phase\":\"rl\",\"accuracy\":0.25,\"prompts\":9}\n"
             "{\"step\":2,\"phase\":\"rl\",\"accuracy\":%s,\"length\":%s,\"prompts\":9}\n",
             right, tokens);
    put_run(name, recipe,
            "{\"step\":0,\"phase\":\"rl\",\"reward\":1,\"flaws\":0.5,\"t_collect\":1,\"t_update\":2}\n"
            "{\"step\":1,\"phase\":\"rl\",\"reward\":2,\"flaws\":0.3,\"t_collect\":1,\"t_update\":2}\n",
            eval);
}

static void put_all(void)
{
    put("a,1,1", 1, "0.5", "10");
    put("a,1,2", 2, "0.75", "12");
    put("a,2,1", 1, "1", "20");
    put("b,,1", 1, "0.25", "30");
    put("b,,2", 2, "0.25", "30");
}

static void compare(const char *const *words, int status, char out[MAX_OUTPUT], const char *message)
{
    char error[MAX_OUTPUT];
    const char *argv[12] = {folder};
    int argc = 1;
    for (; *words; words++)
        argv[argc++] = *words;
    int got = call_verb(&verb_row_compare, argc, argv, out, error);
    if (got != status || !strstr(error, message))
        fail_msg("status %d, \"%s\"; wanted %d, \"%s\"", got, error, status, message);
}

/* t of one degree of freedom at .95 is 12.7062: half of the interval of .5 and .75 is 12.7062 x .125. */
static void rows_and_columns(void **state)
{
    (void)state;
    char out[MAX_OUTPUT];
    put_all();
    compare((const char *const[]){"columns=accuracy%,length,before.accuracy%,area%,seconds,log.flaws", NULL}, 0, out,
            "");
    assert_string_equal(
        out, "| method | strength | runs | accuracy, % | length | before.accuracy, % | area, % | seconds | "
             "log.flaws |\n"
             "|---|---|---:|---:|---:|---:|---:|---:|---:|\n"
             "| a | 1 | 2 | 62.5 \xc2\xb1 158.8 | 11.0 \xc2\xb1 12.7 | 25.0 \xc2\xb1 0.00 | 43.8 \xc2\xb1 79.4 "
             "| 6.00 \xc2\xb1 0.00 | 0.40 \xc2\xb1 0.00 |\n"
             "| a | 2 | 1 | 100.0 | 20.0 | 25.0 | 62.5 | 6.00 | 0.40 |\n"
             "| b |  | 2 | 25.0 \xc2\xb1 0.00 | 30.0 \xc2\xb1 0.00 | 25.0 \xc2\xb1 0.00 | 25.0 \xc2\xb1 0.00 | "
             "6.00 \xc2\xb1 0.00 | 0.40 \xc2\xb1 0.00 |\n");
    forget_runs();
}

static char *read_file(const char *name)
{
    char path[256];
    size_t len;
    struct error e = {""};
    char *text = file_read(in_folder(path, name), 1 << 20, &len, &e);
    if (!text)
        fail_msg("%s", e.text);
    unlink(path);
    return text;
}

static void files(void **state)
{
    (void)state;
    char path[256], svg[300], csv[300], md[300], out[MAX_OUTPUT];
    put_all();
    snprintf(svg, sizeof svg, "out=%s", in_folder(path, "x.svg"));
    snprintf(csv, sizeof csv, "csv=%s", in_folder(path, "x.csv"));
    snprintf(md, sizeof md, "table=%s", in_folder(path, "x.md"));
    compare((const char *const[]){svg, csv, md, "x=length", "y=accuracy%", "title=A < B", "columns=length", NULL}, 0,
            out, "");
    char *text = read_file("x.md");
    assert_string_equal(text, out);
    assert_memory_equal(text, "A < B. Mean over the seeds", 26);
    mem_free(text);
    text = read_file("x.csv");
    assert_string_equal(text, "method,strength,run,length\n\"a\",\"1\",\"a,1,1\",10\n\"a\",\"1\",\"a,1,2\",12\n"
                              "\"a\",\"2\",\"a,2,1\",20\n\"b\",\"\",\"b,,1\",30\n\"b\",\"\",\"b,,2\",30\n");
    mem_free(text);
    text = read_file("x.svg");
    static const char *const texts[] = {">A &lt; B<", ">accuracy, %<", ">length<", ">a<", ">b<"};
    for (int i = 0; i < 5; i++)
        if (!strstr(text, texts[i]))
            fail_msg("the figure lacks %s", texts[i]);
    mem_free(text);
    forget_runs();
}

/* Without crosses the axes hold the means alone: 62.5 and 100 % of method a, 25 % of b. With them a's interval of
 * 158.8. */
static void crosses(void **state)
{
    (void)state;
    char path[256], svg[300], out[MAX_OUTPUT];
    put_all();
    snprintf(svg, sizeof svg, "out=%s", in_folder(path, "x.svg"));
    compare((const char *const[]){svg, "x=length", "y=accuracy%", "columns=length", NULL}, 0, out, "");
    char *text = read_file("x.svg");
    assert_non_null(strstr(text, "its cross the 95 % intervals"));
    assert_non_null(strstr(text, ">200<"));
    mem_free(text);
    compare((const char *const[]){svg, "x=length", "y=accuracy%", "columns=length", "cross=none", NULL}, 0, out, "");
    text = read_file("x.svg");
    assert_null(strstr(text, "cross"));
    assert_null(strstr(text, ">200<"));
    assert_non_null(strstr(text, ">100<"));
    mem_free(text);
    compare((const char *const[]){svg, "x=length", "y=accuracy%", "columns=length", "against=b", NULL}, 0, out, "");
    text = read_file("x.svg");
    assert_non_null(strstr(text, ">accuracy, %, difference from b<"));
    assert_non_null(strstr(text, ">length, difference from b<"));
    mem_free(text);
    forget_runs();
}

/* Seed by seed: .5 - .25 and .75 - .25. */
static void differences(void **state)
{
    (void)state;
    char out[MAX_OUTPUT];
    put_all();
    compare((const char *const[]){"columns=accuracy,length", "against=b", NULL}, 0, out, "");
    assert_string_equal(out, "Differences from b of the same seed.\n\n"
                             "| method | strength | runs | accuracy | length |\n|---|---|---:|---:|---:|\n"
                             "| a | 1 | 2 | 0.38 \xc2\xb1 1.59 | -19.0 \xc2\xb1 12.7 |\n"
                             "| a | 2 | 1 | 0.75 | -10.0 |\n"
                             "| b |  | 2 | 0.00 \xc2\xb1 0.00 | 0.00 \xc2\xb1 0.00 |\n");
    compare((const char *const[]){"columns=accuracy", "against=a,1", NULL}, 0, out, "");
    assert_non_null(strstr(out, "| b |  | 2 | -0.38 \xc2\xb1 1.59 |"));
    compare((const char *const[]){"columns=accuracy", "against=a,2", NULL}, 1, NULL, "a,1,2 has no counterpart");
    compare((const char *const[]){"columns=accuracy", "against=z", NULL}, 1, NULL, "a run called z,,1");
    forget_runs();
}

/* plot joins the same runs by their names. */
static void curves_by_name(void **state)
{
    (void)state;
    char path[256], csv[300], svg[300], error[MAX_OUTPUT];
    put_all();
    snprintf(csv, sizeof csv, "csv=%s", in_folder(path, "y.csv"));
    snprintf(svg, sizeof svg, "out=%s", in_folder(path, "y.svg"));
    const char *const argv[] = {folder, csv, svg, "group=name", "band=t", "y=accuracy"};
    assert_int_equal(call_verb(&verb_row_plot, 6, argv, NULL, error), 0);
    char *text = read_file("y.csv");
    assert_non_null(strstr(text, "\"accuracy\",\"a,1: 2 runs\",0,0.25,0.25,0.25\n"));
    assert_non_null(strstr(text, "\"accuracy\",\"a,1: 2 runs\",2,0.625,-0.963"));
    assert_non_null(strstr(text, "\"accuracy\",\"b: 2 runs\",2,0.25,0.25,0.25\n"));
    mem_free(text);
    mem_free(read_file("y.svg"));
    forget_runs();
}

static void refusals(void **state)
{
    (void)state;
    char error[MAX_OUTPUT];
    put_all();
    compare((const char *const[]){"columns=acuracy", NULL}, 1, NULL, "acuracy: no run has a number under that name");
    compare((const char *const[]){"columns=log.nothing", NULL}, 1, NULL, "in its log");
    compare((const char *const[]){"columns=%", NULL}, 1, NULL, "is no key");
    compare((const char *const[]){"columns=a,b,c,d,e,f,g,h,i,j,k,l,m", NULL}, 1, NULL, "more than 12");
    compare((const char *const[]){"out=x.gif", NULL}, 2, NULL, ".svg or .png");
    compare((const char *const[]){"colums=length", NULL}, 2, NULL, "did you mean 'columns'?");
    assert_int_equal(call_verb(&verb_row_compare, 0, NULL, NULL, error), 2);
    put_run("c,,1", "# t\n[phase rl]\nsource = rollout\nsteps = 9\nloss = clip\n",
            "{\"step\":0,\"phase\":\"rl\",\"reward\":1}\n", NULL);
    compare((const char *const[]){"columns=accuracy", NULL}, 1, NULL, "c,,1");
    forget_runs();
    compare((const char *const[]){"columns=accuracy", NULL}, 1, NULL, "no run is in this directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_and_columns), cmocka_unit_test(files),
                                       cmocka_unit_test(crosses),          cmocka_unit_test(differences),
                                       cmocka_unit_test(curves_by_name),   cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
