/* Methods against numbers from elsewhere: every example line of ../shared/methods/examples goes through the verb
 * `objective`, whose answer has to hold every field of the example's output. Which methods there are, the program's
 * tables say.
 */
#define FOLDER "/tmp/test_objective.XXXXXX"
#include <jansson.h>
#include <math.h>
#include "../dev/verbs/methods.h"
#include "../rewards/method.h"
#include "answers.h"

#define EXAMPLES "../shared/methods/examples/"
static const double bound = 1e-9; /* relative above 1; both sides are double precision */

static void run_examples(const char *method)
{
    enum { MAX = 16 };
    char path[300], why[300], to[600];
    json_t *example[MAX], *input[MAX], *out[MAX];
    struct error e;
    size_t len;
    snprintf(path, sizeof path, EXAMPLES "%s.jsonl", method);
    char *text = file_read(path, 1 << 26, &len, &e);
    if (!text)
        fail_msg("%s", e.text);
    assert_int_equal(file_write(in_folder(to, "examples"), text, len, &e), 0);
    mem_free(text);
    int n = read_lines("examples", example, MAX);
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        input[i] = json_object_get(example[i], "input");
    assert_int_equal(answers(input, n, out), n);
    for (int i = 0; i < n; i++) {
        const char *error = json_string_value(json_object_get(out[i], "error"));
        difference(out[i], json_object_get(example[i], "output"), "answer", bound, 0, why);
        if (error || why[0])
            fail_msg("%s, line %d: %s", method, i + 1, error ? error : why);
        json_decref(example[i]);
        json_decref(out[i]);
    }
}

/* Recipes that are methods, and tools, which have no recipe. */
static void examples_of_methods(void **state)
{
    (void)state;
    int n = 0;
    if (!file_is_directory("../shared/methods")) { /* a clone of this repository alone; there, all have to be present */
        print_message("no " EXAMPLES "\n");
        skip();
    }
    for (const struct recipe_file *f = recipe_files; f->name; f++)
        if (is_method(f)) {
            run_examples(f->name);
            n++;
        }
    for (int i = 0; methods[i]; i++) {
        const struct recipe_file *f = recipe_files;
        while (f->name && strcmp(f->name, methods[i]->name))
            f++;
        if (!f->name)
            run_examples(methods[i]->name);
    }
    assert_true(n >= 17);
}

/* Dr. GRPO has a KL term of weight 0, which reads nothing. Advantages are 1/2 and -1/2, the weight 1 / (2 * 8). */
static void a_term_of_weight_0_needs_no_reference(void **state)
{
    (void)state;
    json_error_t why;
    char text[300];
    json_t *line = json_loads("{\"recipe\":\"dr_grpo\",\"params\":{\"L_max\":8},\"groups\":[{\"samples\":["
                              "{\"logp\":[-1],\"correct\":1},{\"logp\":[-2],\"correct\":false}]}]}",
                              0, &why);
    json_t *want = json_loads("{\"loss\":0,\"dlogp\":[[[-0.03125],[0.03125]]]}", 0, &why), *out = NULL;
    assert_true(line && want);
    assert_int_equal(answers(&line, 1, &out), 1);
    difference(out, want, "answer", bound, 0, text);
    if (text[0])
        fail_msg("%s", text);
    json_decref(line);
    json_decref(want);
    json_decref(out);
}

static void bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *piece;
    } bad[] = {
        {"{}", "\"recipe\" is missing"},
        {"{\"recipe\":\"grpoo\",\"groups\":[]}", "grpo"},
        {"{\"recipe\":\"grpo\"}", "\"groups\" is missing"},
        {"{\"recipe\":\"grpo\",\"groups\":3}", "\"groups\" is no array"},
        {"{\"recipe\":\"grpo\",\"groups\":[1]}", "groups[0] has no array \"samples\""},
        {"{\"recipe\":\"grpo\",\"groups\":[{\"samples\":[7]}]}", "groups[0].samples[0] is no object"},
        {"{\"recipe\":\"grpo\",\"params\":{\"eps_lw\":1},\"groups\":[]}", "eps_low"},
        {"{\"recipe\":\"grpo\",\"params\":{\"eps_low\":7},\"groups\":[]}", "out of bounds"},
        {"{\"recipe\":\"grpo\",\"params\":[],\"groups\":[]}", "\"params\" is no object"},
        {"{\"recipe\":\"grpo\",\"groups\":[{\"samples\":[{\"logp\":[-1,\"x\"]}]}]}", "logp[1] is no number"},
        {"{\"recipe\":\"grpo\",\"groups\":[{\"samples\":[{\"logp\":[-1],\"logp_old\":[-1,-2]}]}]}",
         "\"logp_old\" must be an array of 1 numbers"},
        {"{\"recipe\":\"grpo\",\"groups\":[{\"samples\":[{\"logp\":[-1],\"correct\":true}]}]}", "logp_ref"},
        {"{\"recipe\":\"grpo\",\"groups\":[{\"samples\":[{\"logp\":[-1],\"logp_ref\":[-1]},{\"logp\":[-1]}]}]}",
         "on every sample or on none"},
        {"{\"recipe\":\"grpo\",\"groups\":[{\"samples\":[{\"logp\":[-1],\"steps\":[[0,2]]}]}]}", "steps[0]"},
        {"{\"recipe\":\"grpo\",\"groups\":[{\"samples\":[{\"length\":-1}]}]}", "length"},
        {"{\"recipe\":\"grpo\",\"groups\":[{\"samples\":[{\"logp\":[-1],\"correct\":\"yes\"}]}]}",
         "\"correct\" is no number"},
        {"{\"recipe\":\"kl_estimators\",\"params\":{\"beta\":0},\"groups\":[{\"samples\":[{\"logp\":[-1]}]}]}",
         "logp_ref"},
        {"{\"recipe\":\"kl_estimators\",\"groups\":[],\"dists\":3}", "\"dists\" is no array"},
        {"{\"recipe\":\"kl_estimators\",\"groups\":[],\"dists\":[{\"p_logits\":[0,1],\"q_logits\":[0]}]}",
         "dists[0]: \"q_logits\" must be"},
        {"{\"recipe\":\"kl_estimators\",\"groups\":[],\"dists\":[{\"p_logits\":[0,null],\"q_logits\":[0,1]}]}",
         "p_logits[1] is no number"},
    };
    enum { BAD = sizeof bad / sizeof *bad };
    json_t *example[BAD], *out[BAD];
    for (int i = 0; i < BAD; i++) {
        json_error_t why;
        example[i] = json_loads(bad[i].line, 0, &why);
        assert_non_null(example[i]);
    }
    assert_int_equal(answers(example, BAD, out), BAD);
    for (int i = 0; i < BAD; i++) {
        const char *error = json_string_value(json_object_get(out[i], "error"));
        if (!error || !strstr(error, bad[i].piece))
            fail_msg("%s: '%s' does not say '%s'", bad[i].line, error ? error : "(answered)", bad[i].piece);
        json_decref(example[i]);
        json_decref(out[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_methods),
        cmocka_unit_test(a_term_of_weight_0_needs_no_reference),
        cmocka_unit_test(bad_lines),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
