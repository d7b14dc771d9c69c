/* A verdict on every step of a response. The oracle is the task's own check; the noisy one flips its verdicts with
 * probability eps, either by a hash of prompt and step text (the same step is always misjudged, so a policy can learn
 * to exploit it) or by a fresh draw (noise that nothing can exploit). The learned one is a model that an earlier phase
 * has trained (loss `steps`): what it says behind the step's last token, as a probability, against a threshold.
 *
 * Whoever judges, the oracle is asked too, for the log: the share of flawed positives among right answers; and of a
 * judge that errs, how often it agrees on a step, how many flawed positives it finds, and in how many flawless right
 * answers it sees a flaw.
 */
#include "../../data/task.h"
#include "../stage.h"

enum { P_VERIFIER, P_EPS, P_FLIPS, P_MODEL, P_THRESHOLD, P_ACCEPTED, P_REJECTED };
enum { ORACLE, NOISY, LEARNED };
enum { HASH, FRESH };
enum { STEP };
enum { MAX_JUDGED = 2048 }; /* steps of one response that are judged; later ones count as rejected */

static const struct param params[] = {
    {"verifier", PARAM_CHOICE, "oracle", 0, 0, "oracle|noisy|learned", "Who judges the steps.", NULL},
    {"eps", PARAM_NUMBER, "0.1", 0, 1, NULL, "Probability that a verdict is flipped.", "verifier=noisy"},
    {"flips", PARAM_CHOICE, "hash", 0, 0, "hash|fresh", "Flips decided by the step's text, or drawn afresh.",
     "verifier=noisy"},
    {"model", PARAM_TEXT, "prm", 0, 0, NULL, "The model of [models] that judges, with head=step.", "verifier=learned"},
    {"threshold", PARAM_NUMBER, "0.5", 0, 1, NULL, "A step is accepted above this probability of being right.",
     "verifier=learned"},
    {"accepted", PARAM_NUMBER, "1", -1e6, 1e6, NULL, "Value of a step that is accepted.", NULL},
    {"rejected", PARAM_NUMBER, "0", -1e6, 1e6, NULL, "Value of a step that is rejected.", NULL},
    {0}};

static int flipped(const struct stage_call *c, int group, int sample, int k, const struct step *s, const char *text)
{
    const struct batch *b = c->b;
    if (c->p[P_FLIPS].num == HASH) {
        uint64_t h = hash_bytes(text + s->start, s->end - s->start, batch_prompt(b, group) ^ c->seed);
        return (double)(h >> 11) * 0x1p-53 < c->p[P_EPS].num;
    }
    struct rng r =
        rng_stream(c->seed, RNG_NOISE, c->step, b->prompt_key[group], (uint32_t)(sample - b->group_first[group]));
    return rng_uniform(r, (uint64_t)k) < c->p[P_EPS].num;
}

/* What the model says behind the last token of step k that the policy wrote; without one it is rejected. */
static int model_accepts(const struct stage_call *c, int sample, int k)
{
    const struct batch *b = c->b;
    int first = b->sample_first[sample], at = b->step_first[sample] + k;
    int t = last_trained(b, first + (k ? b->step_end[at - 1] : 0), first + b->step_end[at]);
    return t >= 0 && logistic(b->channel[c->channel[STEP]].value[t]) > c->p[P_THRESHOLD].num;
}

struct judged {
    int oracle, judge, apart; /* steps that each rejects, and on which they differ */
};

/* Verdicts on the steps of one sample, 1 or 0. */
static struct judged judge(const struct stage_call *c, int group, int sample, double *value)
{
    const struct batch *b = c->b;
    const struct task_row *row = c->task->row;
    const char *text = b->text[sample];
    int wanted = b->step_first[sample + 1] - b->step_first[sample], n = 0;
    struct judged j = {0};
    struct step s[MAX_JUDGED];
    if (text && b->item[group])
        n = row->steps(c->task, b->item[group], text, b->text_len[sample], s,
                       wanted < MAX_JUDGED ? wanted : MAX_JUDGED);
    for (int k = 0; k < wanted; k++) {
        int right =
            k < n && row->check_step(c->task, b->item[group], text, b->text_len[sample], s, n, k) == VERDICT_RIGHT;
        int accepted = right;
        if (c->p[P_VERIFIER].num == NOISY)
            accepted ^= k < n && flipped(c, group, sample, k, &s[k], text);
        if (c->p[P_VERIFIER].num == LEARNED)
            accepted = model_accepts(c, sample, k);
        j.oracle += !right;
        j.judge += !accepted;
        j.apart += accepted != right;
        value[k] = accepted;
    }
    return j;
}

/* Right answers, and how the judge does where it may err. */
static void report(const struct stage_call *c, int sample, int n, struct judged j)
{
    int right = c->b->strict[sample] == VERDICT_RIGHT, flawed = right && j.oracle > 0, clean = right && j.oracle == 0;
    metric_add(c->metrics, "process.accepted", n - j.judge, n);
    metric_add(c->metrics, "process.right", n - j.oracle, n);
    metric_add(c->metrics, "process.flawed", flawed, right);
    if (c->p[P_VERIFIER].num == ORACLE)
        return;
    metric_add(c->metrics, "process.agrees", n - j.apart, n);
    metric_add(c->metrics, "process.found", flawed && j.judge > 0, flawed);
    metric_add(c->metrics, "process.false_alarm", clean && j.judge > 0, clean);
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    struct component *p = batch_component(b, "process", LEVEL_STEP);
    if (!c->task || !c->task->row->steps || !c->task->row->check_step)
        return fail(e, "process: the task judges no steps; use one that does (chain)");
    for (int g = 0; g < b->groups; g++)
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            double *value = p->value + b->step_first[i];
            int n = b->step_first[i + 1] - b->step_first[i];
            if (!b->kept[i]) {
                for (int k = 0; k < n; k++)
                    value[k] = 0;
                continue;
            }
            report(c, i, n, judge(c, g, i, value));
            for (int k = 0; k < n; k++)
                value[k] = c->p[value[k] != 0 ? P_ACCEPTED : P_REJECTED].num;
        }
    return 0;
}

const struct stage score_process = {
    .name = "process",
    .kind = STAGE_SCORE,
    .sentence = "1 for a step that the verifier accepts, 0 for one it rejects; reports the share of flawed positives "
                "(right answers with a step that the oracle rejects).",
    .citation = "Lightman et al.: Let's Verify Step by Step, 2023 (process supervision); the noise model is our own",
    .formula = "process_ik = accepts(step k of response i), flipped with probability eps when the verifier is noisy; "
               "learned: [sigma(z_ik) > threshold]",
    .params = params,
    .reads = FIELD_TEXT | FIELD_STEPS | FIELD_OUTCOME,
    .writes = FIELD_COMPONENTS,
    .channels = {"$model.step if verifier=learned"},
    .zero_on_equal = 1,
    .permutable = 0,
    .why_not = "fresh flips are drawn by the sample's place in its group",
    .run = run,
};
