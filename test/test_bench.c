/* The verb bench prints figures that make sense, and what it measures allocates nothing: a training step and a rollout,
 * from the second one on.
 */
#include "../dev/verbs/bench.h"
#include "../dev/verbs/loop.h"
#include "../model/base/json.h"
#include <fcntl.h>
#include "model_batch.h" /* last: cmocka has a macro fail */

int train_rl_main(int argc, char **argv);

/* ---- allocations ---- */

static const struct arch llama = TINY_LLAMA(.qk_norm = 1);

static void train(struct rig *r, const struct packed *p, double *logp, double *entropy)
{
    const struct optimiser o = {1e-3, 0.9, 0.95, 1e-8, 0.1, 1};
    model_zero_grad(&r->model);
    rig_forward(r, p, 0, logp, entropy);
    model_backward(&r->model, &r->tape, &r->layout, p->glogp, p->gentropy);
    model_step(&r->model, &o, model_grad_norm(&r->model));
}

static void test_training_step_allocates_nothing(void **state)
{
    static struct packed p;
    static double logp[ROWS], entropy[ROWS];
    const struct arch *arch[] = {&llama, &tiny_gpt2};
    (void)state;
    for (int i = 0; i < 2; i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            struct content c = random_content(arch[i]->V, GROUPS, 40, 3);
            struct rig r;
            pack_groups(&p, &c, 0, GROUPS, 1);
            rig_open(&r, &cpu_ops, arch[i], threads, ROWS);
            train(&r, &p, logp, entropy);
            long before = mem_count();
            for (int k = 0; k < 3; k++)
                train(&r, &p, logp, entropy);
            assert_int_equal(mem_count(), before);
            rig_close(&r);
        }
}

enum { ASKED = 5, EACH = 3, NEW = 20 };

static void test_rollout_allocates_nothing(void **state)
{
    static const struct sampling how[] = {{1, 0, 1, 0, 0}, {0.8f, 4, 0.9f, 0, 4}};
    static int32_t ids[ASKED * EACH][NEW], support[ASKED * EACH][NEW * 4], supports[ASKED * EACH][NEW];
    static double logp[ASKED * EACH][NEW], entropy[ASKED * EACH][NEW];
    const int32_t prompt[] = {3, 1, 4, 1, 5};
    struct request q[ASKED];
    struct response out[ASKED * EACH];
    struct rig r;
    struct sampler s;
    struct error e = {{0}};
    const int32_t end = 7;
    (void)state;
    rig_open(&r, &cpu_ops, &llama, 2, ROWS);
    for (int i = 0; i < ASKED; i++)
        q[i] = (struct request){prompt, 1 + i, EACH, NEW - i, 0, (uint64_t)i, 0};
    for (int i = 0; i < ASKED * EACH; i++)
        out[i] = (struct response){
            .ids = ids[i], .logp = logp[i], .entropy = entropy[i], .support = support[i], .supports = supports[i]};
    sampler_plan(&s, &llama, &r.dev, 4, 5, NEW, 4);
    sampler_commit(&s);
    for (int h = 0; h < 2; h++) {
        assert_int_equal(sampler_run(&s, &r.model, q, ASKED, &how[h], 1, RNG_SAMPLE, &end, 1, out, &e), 0);
        long before = mem_count(), tokens = s.tokens;
        assert_int_equal(sampler_run(&s, &r.model, q, ASKED, &how[h], 2, RNG_SAMPLE, &end, 1, out, &e), 0);
        assert_int_equal(mem_count(), before);
        assert_true(s.tokens > tokens);
    }
    sampler_free(&s);
    rig_close(&r);
}

/* The loop itself: buffers that double may still grow in a step, a second piece of one step's work may not. */
struct count {
    long last, grown;
    int steps;
};

static void count_step(void *context, struct trainer *t, const struct sight *s)
{
    struct count *c = context;
    (void)t;
    if (s->moment != AFTER_STEP || s->phase->source != SOURCE_ROLLOUT)
        return;
    if (++c->steps > 2)
        c->grown += mem_count() - c->last > 0;
    c->last = mem_count();
}

static void test_loop_settles(void **state)
{
    static struct trainer t;
    static const char *const words[] = {"warmup.steps=1",    "control.steps=1", "rl.steps=12",    "rollout.prompts=4",
                                        "rollout.samples=4", "run.threads=1",   "warmup.lr=1e-9", "rl.lr=1e-9"};
    struct count c = {0};
    struct error e = {{0}};
    (void)state;
    if (trainer_open(&t, "chain", words, sizeof words / sizeof *words, &e))
        fail_msg("%s", e.text);
    t.watch = count_step;
    t.watch_context = &c;
    if (run_phases(&t, &e))
        fail_msg("%s", e.text);
    assert_int_equal(c.steps, 12);
    assert_in_range(c.grown, 0, 2);
    trainer_close(&t);
}

/* ---- the verb ---- */

static const char *output;

/* Exit status; what was printed stands in the file. */
static int bench(const char *only, const char *json)
{
    char word[64], *words[] = {"train_rl", "bench", "quick=1", "run.threads=1", word, (char *)json, NULL};
    snprintf(word, sizeof word, "only=%s", only);
    fflush(stdout);
    int kept = dup(1), file = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(kept >= 0 && file >= 0);
    dup2(file, 1);
    int status = train_rl_main(6, words);
    fflush(stdout);
    dup2(kept, 1);
    close(file);
    close(kept);
    return status;
}

/* Every line is an object of the four members; returns how many have the word in their name, which must be all. */
static int figures(const char *word)
{
    char line[1024];
    int n = 0;
    FILE *f = fopen(output, "r");
    assert_non_null(f);
    for (; fgets(line, sizeof line, f); n++) {
        struct error e = {{0}};
        json_t *o = json_parse(line, strlen(line), &e);
        if (!o)
            fail_msg("%s: %s", e.text, line);
        assert_int_equal(json_object_size(o), 4);
        assert_non_null(strstr(json_string_value(json_object_get(o, "name")), word));
        double value = json_number_value(json_object_get(o, "value"));
        assert_true(value > 0 && value < 1e12);
        assert_true(json_is_string(json_object_get(o, "unit")));
        const json_t *share = json_object_get(o, "share");
        assert_true(json_is_null(share) || (json_real_value(share) >= 0 && json_real_value(share) < 1e3));
        json_decref(o);
    }
    fclose(f);
    return n;
}

static void test_figures(void **state)
{
    (void)state;
    assert_int_equal(bench("out.forward", "json=1"), 0);
    assert_int_equal(figures("out.forward"), 6); /* 1, 4, 16, 64, 256 rows and the whole batch */
    assert_int_equal(bench("adamw", "json=1"), 0);
    assert_int_equal(figures("adamw"), 1);
    assert_int_equal(bench("rollout.1", "json=1"), 0);
    assert_int_equal(figures("rollout.1"), 2); /* 1 and 16 slots */
    assert_int_equal(bench("cycle", "json=1"), 0);
    assert_int_equal(figures("tiny-llama.cycle.1920"), 1);
    assert_int_equal(bench("cycle", "shape=2x3x4x5"), 0);
    assert_int_equal(bench("ceiling", "json=1"), 0);
    assert_int_equal(figures("ceiling"), 9);
    assert_int_equal(bench("rlvr", "json=1"), 0);
    assert_int_equal(figures("rlvr"), 6);
}

static void test_nothing_to_measure(void **state)
{
    (void)state;
    assert_int_equal(bench("no-such-figure", "json=1"), 1);
    assert_int_equal(bench("", "jsn=1"), 2);
    static const char *const wrong[] = {"shape=2x3x4", "shape=2x3x4x5x", "shape=0x1x1x1", "shape=999x999x9x9",
                                        "model=no"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(bench("cycle", wrong[i]), 2);
}

int main(void)
{
    char path[] = "/tmp/test_bench.XXXXXX";
    int file = mkstemp(path);
    if (file < 0)
        return 1;
    close(file);
    output = path;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training_step_allocates_nothing), cmocka_unit_test(test_rollout_allocates_nothing),
        cmocka_unit_test(test_loop_settles), cmocka_unit_test(test_figures), cmocka_unit_test(test_nothing_to_measure)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
