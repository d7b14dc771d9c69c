/* A verdict on every step of a response. The oracle is the task's own check; the noisy one flips its verdicts with
 * probability eps, either by a hash of prompt and step text (the same step is always misjudged, so a policy can learn
 * to exploit it) or by a fresh draw (noise that nothing can exploit). No learned model here: that is a stage of its
 * own.
 */
#include "../../data/task.h"
#include "../stage.h"

enum { P_VERIFIER, P_EPS, P_FLIPS, P_ACCEPTED, P_REJECTED };
enum { ORACLE, NOISY };
enum { HASH, FRESH };
enum { MAX_JUDGED = 2048 }; /* steps of one response that are judged; later ones count as rejected */

static const struct param params[] = {
    {"verifier", PARAM_CHOICE, "oracle", 0, 0, "oracle|noisy", "Who judges the steps.", NULL},
    {"eps", PARAM_NUMBER, "0.1", 0, 1, NULL, "Probability that a verdict is flipped.", "verifier=noisy"},
    {"flips", PARAM_CHOICE, "hash", 0, 0, "hash|fresh", "Flips decided by the step's text, or drawn afresh.",
     "verifier=noisy"},
    {"accepted", PARAM_NUMBER, "1", -1e6, 1e6, NULL, "Value of a step that is accepted.", NULL},
    {"rejected", PARAM_NUMBER, "0", -1e6, 1e6, NULL, "Value of a step that is rejected.", NULL},
    {0}};

static int flipped(const struct stage_call *c, int group, int sample, int k, const struct step *s, const char *text)
{
    const struct batch *b = c->b;
    uint64_t key = b->prompt_key[group];
    if (c->p[P_VERIFIER].num == ORACLE)
        return 0;
    if (c->p[P_FLIPS].num == HASH) {
        uint64_t h = hash_bytes(text + s->start, s->end - s->start, key ^ c->seed);
        return (double)(h >> 11) * 0x1p-53 < c->p[P_EPS].num;
    }
    struct rng r = rng_stream(c->seed, RNG_NOISE, c->step, key, (uint32_t)(sample - b->group_first[group]));
    return rng_uniform(r, (uint64_t)k) < c->p[P_EPS].num;
}

/* Values of the steps of one sample; returns how many the oracle rejects. */
static int judge(const struct stage_call *c, int group, int sample, double *value)
{
    const struct batch *b = c->b;
    const struct task_row *row = c->task->row;
    const char *text = b->text[sample];
    int wanted = b->step_first[sample + 1] - b->step_first[sample], rejected = 0, n = 0;
    struct step s[MAX_JUDGED];
    if (text && b->item[group])
        n = row->steps(c->task, b->item[group], text, b->text_len[sample], s,
                       wanted < MAX_JUDGED ? wanted : MAX_JUDGED);
    for (int k = 0; k < wanted; k++) {
        int right =
            k < n && row->check_step(c->task, b->item[group], text, b->text_len[sample], s, n, k) == VERDICT_RIGHT;
        rejected += !right;
        value[k] = right ^ (k < n && flipped(c, group, sample, k, &s[k], text));
    }
    return rejected;
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
            int rejected = judge(c, g, i, value);
            double sum = 0;
            for (int k = 0; k < n; k++) {
                sum += value[k];
                value[k] = c->p[value[k] != 0 ? P_ACCEPTED : P_REJECTED].num;
            }
            metric_add(c->metrics, "process.accepted", sum, n);
            metric_add(c->metrics, "process.flawed", b->strict[i] == VERDICT_RIGHT && rejected > 0,
                       b->strict[i] == VERDICT_RIGHT);
        }
    return 0;
}

const struct stage score_process = {
    .name = "process",
    .kind = STAGE_SCORE,
    .sentence = "1 for a step that the verifier accepts, 0 for one it rejects; reports the share of flawed positives "
                "(right answers with a step that the oracle rejects).",
    .citation = "Lightman et al.: Let's Verify Step by Step, 2023 (process supervision); the noise model is our own",
    .formula = "process_ik = accepts(step k of response i), flipped with probability eps when the verifier is noisy",
    .params = params,
    .reads = FIELD_TEXT | FIELD_STEPS | FIELD_OUTCOME,
    .writes = FIELD_COMPONENTS,
    .zero_on_equal = 1,
    .permutable = 0,
    .why_not = "fresh flips are drawn by the sample's place in its group",
    .run = run,
};
