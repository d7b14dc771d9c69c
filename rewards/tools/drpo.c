/* DRPO's own figures: the weight of every answer within its set, and the value that its authors' program logs. */
#include "../method.h"
#include <math.h>
#include <string.h>

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    double kl = metric_value(c->metrics, "kl", 0), penalty = metric_value(c->metrics, "drpo.penalty", 0), logged = 0;
    double tau = method_number(c, "tau"), over = fmax(kl - method_number(c, "delta"), 0);
    const double *logp = b->channel[batch_channel((struct batch *)b, "policy.logp", 1)].value;
    int ratio = strcmp(method_param(c, "score"), "Lratio") == 0;
    int soft = strcmp(method_param(c, "estimator"), "logsumexp") == 0;
    for (int g = 0; g < b->groups; g++) {
        int mixed = 0;
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            int n = trained_tokens(b, i), first = b->sample_first[i];
            double score = 0, share = 0;
            for (int t = first; t < first + n; t++) {
                double r = ratio ? exp(logp[t] - b->logp_old[t]) : 1;
                score += (ratio ? r : logp[t]) / n;
                share = b->advantage[t] * c->den->groups * n / r; /* the same for all its tokens */
            }
            mixed |= share != 0;
            if (share > 0 || !soft)
                logged -= share * score / c->den->groups;
            json_object_set_new(method_sample(c, i), "weight", method_real(share));
            json_object_set_new(method_sample(c, i), "kept", json_boolean(share != 0));
        }
        if (soft)
            logged +=
                mixed ? tau / c->den->groups : 0; /* the soft maximum stands there as its own gradient's factor, 1 */
    }
    json_object_set_new(c->answer, "kl", method_real(kl));
    json_object_set_new(c->answer, "kl_penalty", method_real(penalty));
    json_object_set_new(c->answer, "objective", method_real(metric_value(c->metrics, "drpo.objective", 0)));
    json_object_set_new(c->answer, "surrogate_loss_value", method_real(logged + method_number(c, "beta") * over * kl));
    return 0;
}

const struct method method_drpo = {.name = "drpo", .extra = extra};
