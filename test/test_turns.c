/* Several tapes, each in a thread of its own with micro-batches of its own, add into one gradient: the bits must be
 * those of one tape that has all micro-batches in order, whatever thread is late.
 */
#include <sched.h>
#include "model_batch.h"

enum { WORKERS = 3 };

/* Weights, and what each worker has for itself. */
struct crew {
    struct rig rig; /* its own tape is used when there is one worker */
    struct device dev[WORKERS];
    struct layout layout[WORKERS];
    struct tape tape[WORKERS];
    const struct content *content;
    int passed[GROUPS + 1];
};

static void crew_open(struct crew *w, const struct arch *a, const struct content *c, int chunk)
{
    rig_open(&w->rig, &cpu_ops, a, 1, ROWS);
    w->content = c;
    for (int i = 0; i < WORKERS; i++) {
        device_single(&w->dev[i], &w->rig.dev);
        layout_create(&w->layout[i], &w->dev[i], a->V, ROWS, GROUPS * (SAMPLES + 1), GROUPS, ROWS, SUPPORT);
        tape_plan(&w->tape[i], a, &w->dev[i], ROWS, ROWS, ROWS + KV_ALIGN * GROUPS * (SAMPLES + 1), KEEP_ALL);
        tape_commit(&w->tape[i]);
        if (chunk)
            w->layout[i].chunk = chunk;
    }
}

static void crew_close(struct crew *w)
{
    for (int i = 0; i < WORKERS; i++) {
        tape_free(&w->tape[i]);
        layout_free(&w->layout[i]);
        device_release_single(&w->dev[i]);
    }
    rig_close(&w->rig);
}

/* Group g, forward and backward, by worker i. */
static void one_group(void *context, int i, int g, const struct turn *turn)
{
    struct crew *w = context;
    struct packed *p = mem_alloc(1, sizeof *p);
    double *number = mem_alloc(2 * ROWS, sizeof *number);
    struct model m = model_on(&w->rig.model, &w->dev[i]);
    w->tape[i].turn = turn;
    pack_groups(p, w->content, g, g + 1, 1);
    set_batch(&w->layout[i], p, 0);
    model_forward(&m, &w->tape[i], &w->layout[i].rows, w->tape[i].kv, 0, w->tape[i].store);
    model_head(&m, &w->tape[i], &w->layout[i], number, number + ROWS);
    if (m.arch.value_head)
        model_value(&m, &w->tape[i], &w->layout[i], number);
    for (int k = 0; k < (GROUPS - g) * 3; k++) /* the earlier group is often the later one to arrive */
        sched_yield();
    if (m.arch.value_head)
        model_value_backward(&m, &w->tape[i], &w->layout[i], p->glogp);
    else
        model_backward(&m, &w->tape[i], &w->layout[i], p->glogp, p->gentropy);
    mem_free(number);
    mem_free(p);
}

static double *gradient(struct crew *w, int workers, int *n)
{
    struct model *m = &w->rig.model;
    model_zero_grad(m);
    turn_each(workers, w->content->groups, w->passed, one_group, w);
    model_grad_norm(m);
    *n = 0;
    for (int i = m->first; i < m->tensors; i++)
        *n += m->tensor[i].N * m->tensor[i].K;
    double *all = mem_alloc((size_t)*n, sizeof *all);
    for (int i = m->first, at = 0; i < m->tensors; i++) {
        model_read(m, i, 1, 0, m->tensor[i].N, all + at);
        at += m->tensor[i].N * m->tensor[i].K;
    }
    return all;
}

static void same_gradient(const struct arch *a, int chunk)
{
    enum { TRIES = 8 };
    static struct crew w;
    memset(&w, 0, sizeof w);
    struct content c = random_content(a->V, GROUPS, ANSWER, 3);
    crew_open(&w, a, &c, chunk);
    int n, other;
    double *want = gradient(&w, 1, &n);
    for (int k = 0; k < TRIES; k++) {
        double *got = gradient(&w, 2 + k % (WORKERS - 1), &other);
        assert_int_equal(n, other);
        assert_memory_equal(want, got, (size_t)n * sizeof *want);
        mem_free(got);
    }
    mem_free(want);
    crew_close(&w);
}

static void workers_add_as_one(void **state)
{
    (void)state;
    struct arch judge = tiny_llama;
    judge.value_head = 1;
    same_gradient(&tiny_gpt2, 0);
    same_gradient(&tiny_biased, 0);
    same_gradient(&tiny_untied, 0);
    same_gradient(&judge, 0);
    const struct arch adapted = with_adapters(tiny_llama, 3, ALL_OF_LLAMA);
    same_gradient(&adapted, 0);
}

/* A head in several blocks of ids: whole, and in several chunks of entries, as many as each group needs. */
static void blocks_of_the_head_in_turn(void **state)
{
    (void)state;
    struct arch wide = tiny_llama;
    wide.V = 5000;
    assert_true(cpu_ops.head_ids(wide.V) < wide.V);
    same_gradient(&wide, 0);
    same_gradient(&wide, GRADIENT_BLOCK);
}

/* ---- the order itself ---- */

enum { STEPS = 400, TURNS = 3 };
static int passed[STEPS + 1], seen[TURNS], wrong[TURNS];

/* Every turn is found where the micro-batch before has left it. */
static void look(void *context, int worker, int i, const struct turn *turn)
{
    (void)context;
    (void)worker;
    for (int k = 0; k < TURNS && !(i % 7 == 3 && k == 1); k++) { /* some give up after their first turn */
        turn_wait(turn, 0);
        for (int late = 0; late < i % 5; late++) /* the next but one may come before this one is through */
            sched_yield();
        wrong[k] += seen[k] > i;
        seen[k] = i + 1;
        turn_pass(turn);
    }
}

static void turns_are_in_order(void **state)
{
    (void)state;
    turn_each(2, STEPS, passed, look, NULL);
    for (int k = 0; k < TURNS; k++)
        assert_int_equal(wrong[k], 0);
    assert_int_equal(seen[0], STEPS);
    turn_wait(NULL, 0); /* alone: nothing to wait for */
    turn_pass(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_add_as_one),
        cmocka_unit_test(blocks_of_the_head_in_turn),
        cmocka_unit_test(turns_are_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
