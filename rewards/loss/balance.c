/* Objectives of generative flow networks: answers are to come with probability proportional to R = exp(-E /
 * temperature). Prefixes are the states s_0 .. s_n of a response, each with one parent, so nothing runs backward. The
 * energy of a prefix falls by what its tokens earned (shape `dense`): E(s_k) = -(token rewards before k), E(s_0) = 0.
 * The learned log flow of s_t is the value of the model `flow` at the row that predicts token t; that of s_0 is the log
 * partition function.
 *
 * With the potential c_k = log F(s_k) - (sum of logp of the k tokens) every residual is a difference of two potentials:
 *   tb        c_0 - c_n                of complete responses, F the flow itself
 *   db        c_k - c_k+1              likewise, with log F(s_n) = -E(s_n)
 *   fl_db     c_k - c_k+1              log F = log flow - E: every energy counts where it falls, incomplete ones learn
 * too fl_subtb  c_j - c_k, all j < k     likewise, weighted by lambda^(k-j) The flow of a complete response's end is
 * pinned to 1. (Left free, as in some programs, every policy has loss 0.) That of an incomplete one is the number
 * `last_flow` where it is given; in training nothing gives it, and the last step is left out.
 *
 * The mean is over all residuals of the optimiser step, whose number only the whole step knows: it couples the batch.
 */
#include "../../model/base/mem.h"
#include "../stage.h"
#include <math.h>

enum { P_OBJECTIVE, P_LAMBDA, P_TEMPERATURE, P_TERMINAL, P_HORIZON };
enum { TB, DB, FL_DB, FL_SUBTB };
enum { PINNED, FREE };
enum { LOGP, FLOW };

static const struct param params[] = {
    {"objective", PARAM_CHOICE, "fl_db", 0, 0, "tb|db|fl_db|fl_subtb",
     "Trajectory balance; detailed balance; that with energies where they fall; all pieces of a trajectory.", NULL},
    {"lambda", PARAM_NUMBER, "0.9", 1e-6, 1, NULL, "Weight of a piece, to the power of its length.",
     "objective=fl_subtb"},
    {"temperature", PARAM_NUMBER, "1", 1e-6, 1e6, NULL, "Divides the energy.", NULL},
    {"terminal", PARAM_CHOICE, "pinned", 0, 0, "pinned|free",
     "Flow of a complete response's end: 1, or `last_flow`, which identifies nothing.", NULL},
    {"horizon", PARAM_BOOL, "true", 0, 0, NULL,
     "The generation budget is an end like any other, so that a response cut off there is complete.", NULL},
    {0}};

/* A response as states: potential c[0..steps], its derivative g, room for one more than any response has tokens. */
struct path {
    int sample, first, tokens, steps, last_is_free;
    double *c, *g;
};

struct given {
    const double *complete, *last; /* numbers of the samples, or NULL */
};

/* How many steps of the response count; 0: it is left out. */
static void open_path(const struct stage_call *c, int i, const struct given *n, struct path *p)
{
    const struct batch *b = c->b;
    int ended = c->p[P_HORIZON].num != 0 || !b->truncated[i], free = c->p[P_TERMINAL].num == FREE;
    int complete = n->complete ? n->complete[i] != 0 : ended;
    p->sample = i;
    p->tokens = p->steps = b->kept[i] ? trained_tokens(b, i) : 0;
    p->last_is_free = !complete || free;
    if (c->p[P_OBJECTIVE].num <= DB)
        p->steps = complete ? p->steps : 0;
    else if (p->last_is_free && !n->last && p->steps > 0)
        p->steps--;
    if (c->p[P_OBJECTIVE].num <= DB)
        p->last_is_free = 0;
}

static void set_potentials(const struct stage_call *c, const struct given *n, struct path *p)
{
    const struct batch *b = c->b;
    const double *logp = b->channel[c->channel[LOGP]].value, *flow = b->channel[c->channel[FLOW]].value;
    double passed = 0, earned = 0, local = c->p[P_OBJECTIVE].num >= FL_DB;
    int k = 0;
    for (int t = b->sample_first[p->sample]; t < b->sample_first[p->sample + 1]; t++) {
        if (!b->trained[t])
            continue;
        if (k <= p->steps)
            p->c[k] = flow[t] - passed + (local != 0 ? earned : 0);
        passed += logp[t];
        earned += b->token_reward[t] / c->p[P_TEMPERATURE].num;
        k++;
    }
    if (p->steps == k)
        p->c[k] = (p->last_is_free ? n->last[p->sample] : 0) - passed + earned;
}

/* Squared differences of neighbours, each times `share`; returns their sum. */
static double neighbours(struct path *p, double share)
{
    double sum = 0;
    for (int k = 0; k < p->steps; k++) {
        double d = p->c[k] - p->c[k + 1];
        sum += share * d * d;
        p->g[k] += 2 * share * d;
        p->g[k + 1] -= 2 * share * d;
    }
    return sum;
}

/* Sum over all j < k of lambda^(k-j) (c_j - c_k)^2 and of the weights, in one pass: `w`, `b`, `a` are the sums over j
 * of the weights, of weight times difference and of weight times its square, seen from k. */
static double all_pairs(struct path *p, double lambda, double *weights)
{
    double w = 0, b = 0, a = 0, sum = 0;
    *weights = 0;
    for (int k = 1; k <= p->steps; k++) {
        double d = p->c[k - 1] - p->c[k];
        a = lambda * (a + 2 * d * b + d * d * (w + 1));
        b = lambda * (b + d * (w + 1));
        w = lambda * (w + 1);
        sum += a;
        *weights += w;
        p->g[k] -= 2 * b;
    }
    w = b = 0;
    for (int k = p->steps - 1; k >= 0; k--) {
        b = lambda * (b + (p->c[k + 1] - p->c[k]) * (w + 1));
        w = lambda * (w + 1);
        p->g[k] -= 2 * b;
    }
    return sum;
}

/* Loss of one path times `share`, the derivatives in g. */
static double path_loss(const struct stage_call *c, struct path *p, double share)
{
    int n = p->steps;
    for (int k = 0; k <= n; k++)
        p->g[k] = 0;
    if (c->p[P_OBJECTIVE].num == TB) {
        double d = p->c[0] - p->c[n];
        p->g[0] = 2 * share * d;
        p->g[n] = -p->g[0];
        return share * d * d;
    }
    if (c->p[P_OBJECTIVE].num != FL_SUBTB)
        return neighbours(p, share);
    double weights, sum = all_pairs(p, c->p[P_LAMBDA].num, &weights);
    for (int k = 0; k <= n; k++)
        p->g[k] *= share / weights;
    return share * sum / weights;
}

/* Potentials' derivatives to those of the log-probabilities (a token is in every potential behind it) and flows. */
static void hand_back(struct stage_call *c, const struct path *p, double *dlast)
{
    struct batch *b = c->b;
    double *grad = b->channel[c->channel[LOGP]].grad, *dflow = b->channel[c->channel[FLOW]].grad, behind = 0;
    int k = p->tokens;
    if (p->steps == k)
        behind = p->g[k];
    dlast[p->sample] = p->steps == k && p->last_is_free ? behind : 0;
    for (int t = b->sample_first[p->sample + 1] - 1; t >= b->sample_first[p->sample]; t--) {
        b->advantage[t] = 0;
        if (!b->trained[t])
            continue;
        k--;
        b->advantage[t] = behind;
        grad[t] -= behind;
        if (k <= p->steps) {
            dflow[t] += p->g[k];
            behind += p->g[k];
        }
    }
}

/* Residuals that a path contributes to the mean. */
static int residuals(const struct stage_call *c, const struct path *p)
{
    return c->p[P_OBJECTIVE].num == DB || c->p[P_OBJECTIVE].num == FL_DB ? p->steps : p->steps > 0;
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    const struct given n = {batch_given(b, "complete", LEVEL_SEQUENCE), batch_given(b, "last_flow", LEVEL_SEQUENCE)};
    double *dlast = batch_number(b, "dlast_flow", LEVEL_SEQUENCE)->value;
    struct path p = {.c = mem_alloc((size_t)b->tokens + 1, sizeof *p.c),
                     .g = mem_alloc((size_t)b->tokens + 1, sizeof *p.g)};
    long count = 0;
    for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++) {
        open_path(c, i, &n, &p);
        count += residuals(c, &p);
    }
    for (int i = b->group_first[c->g0]; i < b->group_first[c->g1]; i++) {
        open_path(c, i, &n, &p);
        dlast[i] = 0;
        if (p.steps == 0)
            continue;
        set_potentials(c, &n, &p);
        double loss = path_loss(c, &p, b->weight[i] / (double)count);
        hand_back(c, &p, dlast);
        *c->loss += loss;
        metric_add(c->metrics, "balance.residual", fabs(p.c[0] - p.c[p.steps]), 1);
    }
    mem_free(p.c);
    mem_free(p.g);
    return 0;
}

const struct stage loss_balance = {
    .name = "balance",
    .kind = STAGE_LOSS,
    .sentence =
        "Flow balance: answers come in proportion to exp(-energy), with the energy where each token changed it.",
    .citation =
        "Better Training of GFlowNets with Local Credit and Incomplete Trajectories, 2023, eq. 9; tb: Malkin et "
        "al. 2022; fl_subtb: Madan et al. 2023",
    .formula = "L = mean (log F_t + logp_t - log F_t+1 + (E_t+1 - E_t) / temperature)^2, E_t+1 - E_t = -token_reward_t",
    .params = params,
    .reads = FIELD_REWARD | FIELD_TOKEN_REWARD | FIELD_KEPT,
    .channels = {"policy.logp", "flow.value"},
    .gradients = 3,
    .couples = COUPLES_BATCH,
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "it asks for proportions, which equal rewards do not settle",
    .run = run,
};
