/* A bonus for being shorter than the shortest right answer to the same prompt so far. What was shortest is remembered
 * for every prompt and never grows back; all samples of a step are measured by what stood before the step.
 */
#include "../stage.h"
#include <math.h>

enum { P_W, P_TYPE, P_TOL, P_MODE };
enum { COSINE, LINEAR };
enum { MODE_MIN, MODE_MEAN };
enum { LENGTH, COUNT }; /* the numbers of a prompt: shortest (or mean) right length, 0 none; right answers behind it */

static const struct param params[] = {
    {"w", PARAM_NUMBER, "1", 0, 1e6, NULL, "Weight of the bonus.", NULL},
    {"type", PARAM_CHOICE, "cosine", 0, 0, "cosine|linear", "How the bonus falls with length.", NULL},
    {"tol", PARAM_NUMBER, "0.1", 0, 10, NULL, "Share above the record that costs nothing yet.", "type=linear"},
    {"mode", PARAM_CHOICE, "min", 0, 0, "min|mean", "The record is the shortest right answer, or the mean of them.",
     NULL},
    {0}};

static const struct state_row state[] = {{"history", 1, 2, 0}, {0}};

static const double most_lost = 0.7; /* by a right answer: it stays above a wrong one */

static double bonus(const struct value *p, double n, double record, int right)
{
    if (record <= 0)
        return 0;
    if (p[P_TYPE].num == COSINE) {
        double f = cos(M_PI / 2 * fmin(n / record, 2));
        return right ? fmax(f, -most_lost) : fmin(f, 0);
    }
    double free = (1 + p[P_TOL].num) * record;
    if (right && n < record)
        return 1 - n / record;
    return n < free ? 0 : fmax(right ? -most_lost : -1, -(n - free) / record);
}

static void remember(double *history, int mode, double n)
{
    if (mode == MODE_MIN)
        history[LENGTH] = history[COUNT] > 0 ? fmin(history[LENGTH], n) : n;
    else
        history[LENGTH] += (n - history[LENGTH]) / (history[COUNT] + 1);
    history[COUNT]++;
}

/* The rewards of a group, by what stood before the step. */
static void reward(struct stage_call *c, int g)
{
    struct batch *b = c->b;
    const double *history = state_find(&c->state[0], batch_prompt(b, g));
    double record = history && history[COUNT] > 0 ? history[LENGTH] : 0;
    metric_add(c->metrics, "hapo.record", record, record > 0);
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
        int right = b->kept[i] && b->strict[i] == 1, n = b->kept[i] ? trained_tokens(b, i) : 0;
        b->reward[i] = b->kept[i] ? right + c->p[P_W].num * bonus(c->p, n, record, right) : 0;
    }
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    for (int g = 0; g < b->groups; g++)
        reward(c, g);
    for (int g = 0; g < b->groups; g++) {
        double *history = state_at(&c->state[0], batch_prompt(b, g));
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
            if (b->kept[i] && b->strict[i] == 1 && trained_tokens(b, i) > 0)
                remember(history, (int)c->p[P_MODE].num, trained_tokens(b, i));
    }
    return 0;
}

const struct stage shape_hapo = {
    .name = "hapo",
    .kind = STAGE_SHAPE,
    .sentence = "The verdict, with a bonus or price for being shorter or longer than the record of the prompt.",
    .citation = "HAPO: Training Language Models to Reason Concisely via History-Aware Policy Optimization, 2025",
    .formula =
        "reward_i = right_i + w f, f = cos(pi/2 min(n_i / h, 2)), at least -0.7 if right, at most 0 if wrong; h = "
        "shortest right answer to the prompt so far",
    .params = params,
    .state = state,
    .reads = FIELD_OUTCOME | FIELD_KEPT,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
