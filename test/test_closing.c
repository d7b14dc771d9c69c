/* What a run says when nothing is learned: judged by the advantages of its last batch, by the gradient where no loss
 * reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "../dev/verbs/closing.h"
#include "../rewards/stage.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

enum { GROUPS = 2, SAMPLES = 4 }; /* two samples a group, a token each */

static const struct stage reader = {.kind = STAGE_LOSS, .reads = FIELD_ADVANTAGE}, other = {.kind = STAGE_LOSS};
static struct phase phase = {.source = SOURCE_ROLLOUT, .stages = 1, .stage = {{.stage = &reader}}};
static struct trainer trainer; /* large */

static int set_up(void **state)
{
    struct batch *b = &trainer.batch;
    (void)state;
    batch_create(b, GROUPS, SAMPLES, SAMPLES, 1, 1, 0);
    batch_clear(b);
    b->groups = GROUPS;
    b->samples = b->tokens = SAMPLES;
    for (int i = 0; i < SAMPLES; i++) {
        b->sample_first[i] = i;
        b->trained[i] = b->kept[i] = 1;
        b->strict[i] = VERDICT_WRONG;
    }
    b->sample_first[SAMPLES] = SAMPLES;
    for (int g = 0; g <= GROUPS; g++)
        b->group_first[g] = 2 * g;
    phase.stage[0].stage = &reader;
    trainer.metrics.n = 0;
    return 0;
}
static int tear_down(void **state)
{
    (void)state;
    batch_free(&trainer.batch);
    return 0;
}

static void assert_says(const char *piece)
{
    const char *why = report_diagnosis(&trainer, &phase);
    if (!why || !strstr(why, piece))
        fail_msg("wanted '%s', got '%s'", piece, why ? why : "nothing");
}

static void equal_rewards(void **state)
{
    (void)state;
    assert_says("all rewards of every group are equal");
    for (int i = 0; i < SAMPLES; i++)
        trainer.batch.strict[i] = VERDICT_RIGHT;
    assert_says("every response is right");
    for (int i = 0; i < SAMPLES; i++)
        trainer.batch.strict[i] = VERDICT_UNPARSABLE;
    assert_says("had the form of an answer");
}

/* Equal within each group, but compared over the batch, or with a critic: there is something to learn. */
static void advantages_over_the_batch(void **state)
{
    (void)state;
    struct batch *b = &trainer.batch;
    for (int i = 0; i < SAMPLES; i++) {
        b->reward[i] = i / 2;
        b->advantage[i] = i / 2 ? 1 : -1;
    }
    assert_null(report_diagnosis(&trainer, &phase));
    memset(b->kept, 0, SAMPLES); /* what was not kept does not count */
    assert_says("all rewards of every group are equal");
    b->reward[0] = 5;
    assert_says("no token of a sample that was kept has an advantage");
}

static void no_loss_reads_advantages(void **state)
{
    (void)state;
    phase.stage[0].stage = &other;
    metric_add(&trainer.metrics, "grad_norm", 0.5, 1);
    assert_null(report_diagnosis(&trainer, &phase));
    trainer.metrics.n = 0;
    metric_add(&trainer.metrics, "grad_norm", 0, 1);
    assert_says("all rewards of every group are equal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equal_rewards, set_up, tear_down),
        cmocka_unit_test_setup_teardown(advantages_over_the_batch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_loss_reads_advantages, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
