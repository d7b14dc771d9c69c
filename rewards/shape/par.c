/* What is made of the score of a learned reward model before it is a reward. PAR: the probability that the response is
 * preferred to reference answers, steep at first and flat where scores grow extreme, which is where they cannot be
 * trusted. The others are what it is compared with. Before any of it, length beyond a limit costs.
 *
 * References are the scores that the state `references` holds for the prompt (count, then scores), else the one number
 * `reference`; with neither the difference is to 0. Scaling by running statistics remembers those of all scores so far.
 */
#include "../stage.h"
#include <math.h>

enum { P_SHAPING, P_K, P_MAX_REF, P_LEN_VALID, P_LEN_PENALTY, P_LSC_DDOF, P_REFERENCE };
enum { PAR, CENTERED, SIGMOID, TANH, SGFC, LSC, MEANSTD, CLIP, MINMAX, NONE };
enum { MAX_REFERENCES = 64 };
enum { N, MEAN, M2, MIN, MAX, RUNNING }; /* of the scores so far; M2: sum of squared deviations */

static const struct param params[] = {
    {"shaping", PARAM_CHOICE, "par", 0, 0, "par|centered|sigmoid|tanh|sgfc|lsc|meanstd|clip|minmax|none",
     "What is made of the score.", NULL},
    {"k", PARAM_NUMBER, "1", 0, 1e6, NULL, "Steepness of logistic functions.", NULL},
    {"max_ref", PARAM_INT, "10", 1, MAX_REFERENCES, NULL, "References that are used at most (lsc: all).", NULL},
    {"len_valid", PARAM_INT, "300", 0, 1e9, NULL, "Tokens that are free.", NULL},
    {"len_penalty", PARAM_NUMBER, "0.01", 0, 1e6, NULL, "Price of a token beyond.", NULL},
    {"lsc_ddof", PARAM_INT, "1", 0, 1, NULL, "1: unbiased deviation of the references; 0: population.", "shaping=lsc"},
    {"reference", PARAM_NUMBER, "off", -1e6, 1e6, NULL, "Score of a reference answer where none is remembered.", NULL},
    {0}};

static const struct state_row state[] = {{"references", 1, 1 + MAX_REFERENCES, 0}, {"running", 0, RUNNING, 0}, {0}};

struct references {
    const double *score;
    int n;
};

static struct references references_of(const struct stage_call *c, int g)
{
    static const double nothing = 0;
    const double *known = state_find(&c->state[0], batch_prompt(c->b, g));
    int n = known ? (int)fmin(fmax(known[0], 0), MAX_REFERENCES) : 0;
    if (n > 0)
        return (struct references){known + 1, n};
    return (struct references){c->p[P_REFERENCE].off ? &nothing : &c->p[P_REFERENCE].num, 1};
}

static double of_difference(int shaping, double d, double k)
{
    switch (shaping) {
    case PAR:
        return logistic(k * d);
    case SGFC:
        return logistic(k * (d - 3));
    case TANH:
        return tanh(d);
    default:
        return d;
    }
}

/* The 0.85 quantile of a normal distribution of the references. */
static double high_quantile(const struct references *r, int ddof)
{
    static const double quantile = 1.0364333894937898;
    return stat_mean(r->score, NULL, r->n) + quantile * (stat_std(r->score, NULL, r->n, ddof) + 1e-5);
}

static double against_references(const struct stage_call *c, const struct references *r, double score)
{
    int shaping = (int)c->p[P_SHAPING].num, n = r->n < c->p[P_MAX_REF].num ? r->n : (int)c->p[P_MAX_REF].num;
    double sum = 0;
    if (shaping == LSC)
        return log_logistic(score - high_quantile(r, (int)c->p[P_LSC_DDOF].num));
    for (int m = 0; m < n; m++)
        sum += of_difference(shaping, score - r->score[m], c->p[P_K].num);
    return sum / n;
}

/* The scores of the kept samples join those of earlier steps. */
static void observe(double *s, const double *score, const unsigned char *kept, int samples)
{
    double n = stat_count(kept, samples), mean = stat_mean(score, kept, samples);
    double spread = stat_std(score, kept, samples, 0), apart = mean - s[MEAN], before = s[N];
    for (int i = 0; i < samples; i++)
        if (kept[i]) {
            s[MIN] = s[N] > 0 ? fmin(s[MIN], score[i]) : score[i];
            s[MAX] = s[N] > 0 ? fmax(s[MAX], score[i]) : score[i];
            s[N]++;
        }
    if (n == 0)
        return;
    s[MEAN] += apart * (n / s[N]);
    s[M2] += spread * spread * n + apart * apart * (before * n / s[N]);
}

static double by_statistics(int shaping, const double *s, double score)
{
    double deviation = s[N] > 1 ? sqrt(s[M2] / s[N]) : 0, range = s[MAX] - s[MIN];
    if (shaping == MEANSTD)
        return (score - s[MEAN]) / (deviation > 0 ? deviation : 1);
    if (shaping == CLIP)
        return fmin(fmax(score, s[MEAN] - deviation), s[MEAN] + deviation);
    return range > 0 ? (score - s[MIN]) / range : 0;
}

/* The score less the price of length, which the number `raw` keeps. */
static void charge_length(struct stage_call *c, double *raw)
{
    struct batch *b = c->b;
    for (int i = 0; i < b->samples; i++) {
        double above = b->kept[i] ? trained_tokens(b, i) - c->p[P_LEN_VALID].num : 0;
        raw[i] = b->kept[i] ? b->reward[i] - c->p[P_LEN_PENALTY].num * fmax(above, 0) : 0;
    }
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    int shaping = (int)c->p[P_SHAPING].num;
    for (int i = 0; i < b->samples; i++)
        if (b->kept[i] && !isfinite(b->reward[i]))
            return fail(e, "par: the reward of sample %d is not a finite number", i);
    double *raw = batch_number(b, "raw", LEVEL_SEQUENCE)->value;
    charge_length(c, raw);
    if (shaping >= MEANSTD && shaping < NONE)
        observe(state_at(&c->state[1], 0), raw, b->kept, b->samples);
    for (int g = 0; g < b->groups; g++) {
        struct references r = references_of(c, g);
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            if (!b->kept[i] || shaping == NONE)
                b->reward[i] = raw[i];
            else if (shaping >= MEANSTD)
                b->reward[i] = by_statistics(shaping, state_at(&c->state[1], 0), raw[i]);
            else
                b->reward[i] =
                    shaping == SIGMOID ? logistic(c->p[P_K].num * raw[i]) : against_references(c, &r, raw[i]);
            metric_add(c->metrics, "par.score", b->kept[i] ? raw[i] : 0, b->kept[i]);
        }
    }
    return 0;
}

const struct stage shape_par = {
    .name = "par",
    .kind = STAGE_SHAPE,
    .sentence = "A score as the probability of being preferred to reference answers, or by other shapings.",
    .citation =
        "Reward Shaping to Mitigate Reward Hacking in RLHF (Preference As Reward), 2025, section 4; the authors' "
        "program (PorUna-byte/PAR)",
    .formula =
        "r = reward_i - len_penalty max(0, n_i - len_valid); par: mean_m s(k (r - ref_m)), centered: mean (r - ref), "
        "sigmoid: s(k r), tanh: mean tanh(r - ref), sgfc: mean s(k (r - 3 - ref)), lsc: log s(r - quantile .85 of "
        "refs), meanstd, clip, minmax: by the scores so far; s = logistic",
    .params = params,
    .state = state,
    .reads = FIELD_REWARD | FIELD_KEPT,
    .writes = FIELD_REWARD,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
