/* Bradley-Terry: a reward model learns which of two responses to a prompt is preferred. The pairs are those of a group
 * whose rewards differ: whatever the score and shape stages before it say, the higher reward is preferred (the verdict,
 * a component with noise, a length). The score of a response is the number behind its last token.
 *
 * Only differences of scores are learned; `center` keeps their mean near 0. The mean is over all pairs of the optimiser
 * step, whose number only the whole step knows: it couples the batch.
 */
#include "../stage.h"

enum { P_MODEL, P_CENTER, P_L2, P_SMOOTHING, P_MARGIN };
enum { SCORE };

static const struct param params[] = {
    {"model", PARAM_TEXT, "rm", 0, 0, NULL, "The model of [models] that learns, with head=scalar.", NULL},
    {"center", PARAM_NUMBER, "0.01", 0, 1e6, NULL, "Price of the squared sum of the two scores.", NULL},
    {"l2", PARAM_NUMBER, "0", 0, 1e6, NULL, "Half the price of the squares of the scores.", NULL},
    {"smoothing", PARAM_NUMBER, "0", 0, 1, NULL, "Share of pairs that are taken to be the wrong way round.", NULL},
    {"margin", PARAM_NUMBER, "0", 0, 1e6, NULL, "By how much the scores are to differ for each unit of reward.", NULL},
    {0}};

/* 1: sample i is preferred to j, and both have something to read. */
static int preferred(const struct batch *b, int i, int j)
{
    return b->kept[i] && b->kept[j] && b->reward[i] > b->reward[j] && trained_tokens(b, i) && trained_tokens(b, j);
}

struct sums {
    double share; /* of one pair in the mean */
    double loss, right, score;
};

static void pair_loss(struct stage_call *c, int winner, int loser, struct sums *s)
{
    struct batch *b = c->b;
    struct channel *score = &b->channel[c->channel[SCORE]];
    int w = last_trained(b, b->sample_first[winner], b->sample_first[winner + 1]);
    int l = last_trained(b, b->sample_first[loser], b->sample_first[loser + 1]);
    double center = c->p[P_CENTER].num, l2 = c->p[P_L2].num, e = c->p[P_SMOOTHING].num,
           both = score->value[w] + score->value[l];
    double apart = score->value[w] - score->value[l];
    double d = apart - c->p[P_MARGIN].num * (b->reward[winner] - b->reward[loser]);
    double share = s->share * b->weight[winner] * b->weight[loser];
    double slope = e * logistic(d) - (1 - e) * logistic(-d), sw = score->value[w], sl = score->value[l];
    score->grad[w] += share * (slope + 2 * center * both + l2 * sw);
    score->grad[l] += share * (-slope + 2 * center * both + l2 * sl);
    s->loss += share *
               (center * both * both + l2 / 2 * (sw * sw + sl * sl) - (1 - e) * log_logistic(d) - e * log_logistic(-d));
    s->right += apart > 0 ? 1 : apart == 0 ? 0.5 : 0;
    s->score += both / 2;
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    double pairs = 0;
    struct sums s = {0};
    for (int count = 1; count >= 0; count--) {
        s.share = count ? 0 : 1 / pairs;
        for (int g = c->g0; g < c->g1; g++)
            for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
                for (int j = b->group_first[g]; j < b->group_first[g + 1]; j++) {
                    if (!preferred(b, i, j))
                        continue;
                    if (count)
                        pairs++;
                    else
                        pair_loss(c, i, j, &s);
                }
    }
    *c->loss += s.loss;
    metric_add(c->metrics, "bt.accuracy", s.right, pairs);
    metric_add(c->metrics, "bt.score", s.score, pairs);
    metric_add(c->metrics, "bt.pairs", pairs, 1);
    return 0;
}

const struct stage loss_bt = {
    .name = "bt",
    .kind = STAGE_LOSS,
    .sentence = "A reward model learns that of two responses to a prompt the one with the higher reward scores higher.",
    .citation = "Bradley and Terry, 1952; as a reward model: Ouyang et al.: Training Language Models to Follow "
                "Instructions with Human Feedback, 2022, eq. 1; center: Eisenstein et al., 2023, as in TRL",
    .formula = "L = mean over pairs with R_w > R_l of -(1 - e) log sigma(D) - e log sigma(-D) + center (s_w + s_l)^2 "
               "+ l2 (s_w^2 + s_l^2) / 2, "
               "D = s_w - s_l - margin (R_w - R_l), s = score behind the last token",
    .params = params,
    .reads = FIELD_REWARD | FIELD_KEPT,
    .channels = {"$model.score"},
    .gradients = 1,
    .couples = COUPLES_BATCH,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
