/* Self-aligned reward: how much less surprising a response is behind its question than without it. Padding and generic
 * text are as likely without the question and score low; no length term and no further model. Both perplexities are
 * those of the policy that sampled the response; no gradient goes through them.
 */
#include "../stage.h"
#include <math.h>

enum { P_FORM, P_CLIP, P_GATE };
enum { RELATIVE, DIFFERENCE, LOG_RELATIVE, LOG_DIFFERENCE, CONDITIONAL };
enum { NOPROMPT };

static const struct param params[] = {
    {"form", PARAM_CHOICE, "relative", 0, 0, "relative|difference|log_relative|log_difference|conditional",
     "What is made of the two perplexities; log: of their logarithms; conditional: 5 less the one behind the question.",
     NULL},
    {"clip_ppl", PARAM_NUMBER, "-1", -1, 1e12, NULL, "Largest value of each perplexity; 0 or less: none.", NULL},
    {"gate_on_correct", PARAM_BOOL, "false", 0, 0, NULL, "Only for right answers.", NULL},
    {0}};

/* Perplexity of a response of n tokens, or its logarithm. */
static double perplexity(const struct batch *b, const double *logp, int i, int n, const struct value *p)
{
    double sum = 0, most = p[P_CLIP].num;
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
        if (b->trained[t])
            sum -= logp[t];
    double x = exp(fmin(sum / n, 700)); /* beyond that a double is infinite */
    x = most > 0 ? fmin(x, most) : x;
    return p[P_FORM].num == LOG_RELATIVE || p[P_FORM].num == LOG_DIFFERENCE ? log(x) : x;
}

static double aligned(const struct value *p, double without, double with)
{
    switch ((int)p[P_FORM].num) {
    case RELATIVE:
    case LOG_RELATIVE:
        return fmax((without - with) / (without + 1e-9), -1);
    case CONDITIONAL:
        return 5 - with;
    default:
        return without - with;
    }
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    const double *noprompt = b->channel[c->channel[NOPROMPT]].value;
    double *value = batch_component(b, "sar", LEVEL_SEQUENCE)->value, sum = 0, kept = 0;
    for (int i = 0; i < b->samples; i++) {
        int n = b->kept[i] ? trained_tokens(b, i) : 0, open = b->strict[i] == 1 || c->p[P_GATE].num == 0;
        value[i] = n > 0 && open
                       ? aligned(c->p, perplexity(b, noprompt, i, n, c->p), perplexity(b, b->logp_old, i, n, c->p))
                       : 0;
        sum += value[i];
        kept += b->kept[i];
    }
    metric_add(c->metrics, "sar.mean", sum, kept);
    return 0;
}

const struct stage score_sar = {
    .name = "sar",
    .kind = STAGE_SCORE,
    .sentence = "How much the question lowers the perplexity of the response: the self-aligned reward.",
    .citation = "Self-Aligned Reward: Towards Effective and Efficient Reasoners, 2025, section 3",
    .formula = "sar_i = max((ppl(a) - ppl(a|q)) / (ppl(a) + 1e-9), -1), ppl = exp(-mean logp of the response's tokens)",
    .params = params,
    .reads = FIELD_OUTCOME | FIELD_KEPT,
    .writes = FIELD_COMPONENTS,
    .channels = {"policy@noprompt.logp"},
    .zero_on_equal = 0,
    .permutable = 1,
    .why_not = "it tells responses apart by their log-probabilities, which differ where verdicts do not",
    .run = run,
};
