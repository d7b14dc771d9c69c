/* Policy filtration: a learned reward is most to be trusted at its extremes, so only those samples are learned from,
 * each as before. What a strategy thinks of a sample is its share, kept as the number `filter` (the shares of a group,
 * or of the step, add up to 1); with `resample` the step is drawn anew by these shares, with replacement.
 *
 * Filtering changes the means and deviations of later stages, and `bon` leaves nothing to compare with; `late` only
 * marks what is to go, and the advantage stage `mask` takes it out after the comparison.
 */
#include "../../model/base/mem.h"
#include "../stage.h"
#include <math.h>

enum { P_STRATEGY, P_POW, P_SCOPE, P_RESAMPLE, P_LATE };
enum { ALL, BON, BR, BW, POW };
enum { GROUP, BATCH };

static const struct param params[] = {
    {"strategy", PARAM_CHOICE, "bw", 0, 0, "all|bon|br|bw|pow",
     "Stay: all; the best; the best and a random other; the best and the worst; by |reward|^pow.", NULL},
    {"pow", PARAM_NUMBER, "2", 0, 100, NULL, "Exponent of the reward.", "strategy=pow"},
    {"scope", PARAM_CHOICE, "group", 0, 0, "group|batch",
     "Best and worst of each prompt; or, as in verl, of the whole step, where all that tie count.", NULL},
    {"resample", PARAM_BOOL, "false", 0, 0, NULL, "Draw as many samples as there were, by their shares.", NULL},
    {"late", PARAM_BOOL, "false", 0, 0, NULL, "Mark only; the stage `mask` drops them behind the advantage.", NULL},
    {0}};

/* Samples [lo, hi) that are compared with each other; best and worst: the first of the largest and smallest kept. */
struct span {
    int lo, hi, best, worst, kept;
};

static struct span span_of(const struct batch *b, int lo, int hi)
{
    struct span s = {lo, hi, -1, -1, 0};
    for (int i = lo; i < hi; i++) {
        if (!b->kept[i])
            continue;
        s.kept++;
        s.best = s.best < 0 || b->reward[i] > b->reward[s.best] ? i : s.best;
        s.worst = s.worst < 0 || b->reward[i] < b->reward[s.worst] ? i : s.worst;
    }
    return s;
}

static double preference(const struct stage_call *c, const struct span *s, int i)
{
    const double *reward = c->b->reward;
    int ties = c->p[P_SCOPE].num == BATCH, best = ties ? reward[i] == reward[s->best] : i == s->best;
    int worst = ties ? reward[i] == reward[s->worst] : i == s->worst;
    switch ((int)c->p[P_STRATEGY].num) {
    case BON:
        return best;
    case BR:
        return best ? 0.4 : 0.1;
    case BW:
        return best || worst;
    case POW:
        return pow(fabs(reward[i]), c->p[P_POW].num);
    default:
        return 1;
    }
}

/* share[i] of the kept samples of the span; all alike where nothing is preferred. */
static void share_out(const struct stage_call *c, const struct span *s, double *share)
{
    const struct batch *b = c->b;
    double sum = 0, most = 0;
    for (int i = s->lo; i < s->hi; i++) {
        share[i] = b->kept[i] ? preference(c, s, i) : 0;
        most = fmax(most, share[i]);
    }
    for (int i = s->lo; i < s->hi; i++) {
        share[i] = !b->kept[i] ? 0 : most > 0 ? share[i] / most : 1;
        sum += share[i];
    }
    for (int i = s->lo; i < s->hi; i++)
        share[i] = sum > 0 ? share[i] / sum : 0;
}

/* The other of strategy br: entry `index`, modulo their number, of the kept samples without the best; -1: none. */
static int other_than_best(const struct batch *b, const struct span *s, uint64_t index)
{
    int others = s->kept - 1;
    if (others < 1)
        return -1;
    int left = (int)(index % (uint64_t)others);
    for (int i = s->lo; i < s->hi; i++)
        if (b->kept[i] && i != s->best && left-- == 0)
            return i;
    return -1;
}

/* The number `draw` of the group where one is given, else a draw of the step. */
static uint64_t index_of(const struct stage_call *c, int g)
{
    const double *given = batch_given(c->b, "draw", LEVEL_GROUP);
    return given ? (uint64_t)fmax(given[g], 0)
                 : rng_bits(rng_stream(c->seed, RNG_NOISE, c->step, c->b->prompt_key[g], 0), 1u << 21);
}

/* times[i]: how often sample i comes up in s->kept draws with replacement. */
static void draw_by_share(const struct stage_call *c, const struct span *s, int g, const double *share, int *times)
{
    struct rng r = rng_stream(c->seed, RNG_NOISE, c->step, c->b->prompt_key[g], 1);
    for (int k = 0; k < s->kept; k++) {
        double rest = rng_uniform(r, (1u << 21) + (uint64_t)k);
        int at = s->best;
        for (int i = s->lo; i < s->hi && rest >= 0; i++) {
            if (share[i] > 0)
                at = i;
            rest -= share[i];
        }
        times[at]++;
    }
}

/* stays[i]: 0, or how many times the sample counts. */
static void choose(const struct stage_call *c, const struct span *s, int g, const double *share, int *stays)
{
    int strategy = (int)c->p[P_STRATEGY].num;
    if (c->p[P_RESAMPLE].num != 0 && s->kept > 0)
        draw_by_share(c, s, g, share, stays);
    else
        for (int i = s->lo; i < s->hi; i++)
            stays[i] = share[i] > 0;
    if (c->p[P_RESAMPLE].num == 0 && strategy == BR && c->p[P_SCOPE].num == GROUP) {
        int other = other_than_best(c->b, s, index_of(c, g));
        for (int i = s->lo; i < s->hi; i++)
            stays[i] = i == s->best || i == other;
    }
}

/* A drawn sample weighs as often as it was drawn, so that the mean over those that stay is the mean over the draws. */
static void apply(struct stage_call *c, const struct span *s, const int *stays, double *masked)
{
    struct batch *b = c->b;
    int count = 0;
    for (int i = s->lo; i < s->hi; i++)
        count += stays[i] > 0;
    for (int i = s->lo; i < s->hi; i++) {
        masked[i] = b->kept[i] && !stays[i] && c->p[P_LATE].num != 0;
        if (c->p[P_RESAMPLE].num != 0 && b->kept[i])
            b->weight[i] = (double)stays[i] * count / s->kept;
        b->kept[i] = b->kept[i] && (stays[i] || masked[i] != 0);
    }
    metric_add(c->metrics, "filter.kept", count, s->kept);
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    for (int i = 0; i < b->samples; i++)
        if (b->kept[i] && !isfinite(b->reward[i]))
            return fail(e, "filter: the reward of sample %d is not a finite number", i);
    double *share = batch_number(b, "filter", LEVEL_SEQUENCE)->value;
    double *masked = batch_number(b, "masked", LEVEL_SEQUENCE)->value;
    int *stays = mem_alloc((size_t)b->samples, sizeof *stays), whole = c->p[P_SCOPE].num == BATCH;
    for (int g = 0; g < (whole ? b->groups > 0 : b->groups); g++) {
        struct span s = span_of(b, b->group_first[g], b->group_first[whole ? b->groups : g + 1]);
        share_out(c, &s, share);
        choose(c, &s, g, share, stays);
        apply(c, &s, stays, masked);
    }
    mem_free(stays);
    return 0;
}

const struct stage select_filter = {
    .name = "filter",
    .kind = STAGE_SELECT,
    .sentence = "Only samples stay whose reward is to be trusted: the best, the best and the worst, or others.",
    .citation = "Policy Filtration for RLHF to Mitigate Noise in Reward Models (PF-PPO), 2024, section 4",
    .formula =
        "share_i = w_i / sum w: bon w = 1 for the best; br .4 for the best, .1 else, of which one stays; bw 1 for "
        "best and worst; pow |reward_i|^pow; kept_i = share_i > 0",
    .params = params,
    .reads = FIELD_REWARD | FIELD_KEPT,
    .writes = FIELD_KEPT,
    .zero_on_equal = 1,
    .permutable = 0,
    .why_not = "the first of several equally good or bad samples stays",
    .run = run,
};
