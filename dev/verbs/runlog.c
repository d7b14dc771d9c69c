/* What a run writes down: one line a step, and some rollouts with what they earned. */
#include "runlog.h"
#include "../../model/base/clock.h"
#include <math.h>
#include <string.h>

/* Mean of a 0/1 or real property over all samples of the rollout, selected or not. */
static double share(const struct batch *b, double (*of)(const struct batch *, int))
{
    double sum = 0;
    for (int i = 0; i < b->samples; i++)
        sum += of(b, i);
    return b->samples ? sum / b->samples : 0;
}
static double is_right(const struct batch *b, int i)
{
    return b->strict[i] == VERDICT_RIGHT;
}
static double is_unparsed(const struct batch *b, int i)
{
    return b->strict[i] == VERDICT_UNPARSABLE;
}
static double is_truncated(const struct batch *b, int i)
{
    return b->truncated[i];
}
static double length_of(const struct batch *b, int i)
{
    return b->sample_first[i + 1] - b->sample_first[i];
}

double batch_accuracy(const struct batch *b)
{
    return share(b, is_right);
}
double batch_length(const struct batch *b)
{
    return share(b, length_of);
}

/* Share of groups whose rewards are all equal: they carry no signal. */
static double zero_variance(const struct batch *b)
{
    int n = 0;
    for (int g = 0; g < b->groups; g++)
        n += stat_std(b->reward + b->group_first[g], NULL, b->group_first[g + 1] - b->group_first[g], 0) == 0;
    return b->groups ? (double)n / b->groups : 0;
}

/* Mean entropy of the policy over the trained tokens of kept samples. */
double trainer_entropy(const struct trainer *t)
{
    const struct batch *b = &t->batch;
    const double *entropy = trainer_values(t, "policy", "entropy");
    double sum = 0, n = 0;
    for (int i = 0; i < b->samples; i++)
        for (int k = b->sample_first[i]; b->kept[i] && k < b->sample_first[i + 1]; k++)
            if (b->trained[k]) {
                sum += entropy[k];
                n++;
            }
    return n > 0 ? sum / n : 0;
}

static void set_number(json_t *o, const char *key, double x)
{
    json_object_set_new(o, key, isfinite(x) ? json_real(x) : json_null());
}

json_t *runlog_line(const struct trainer *t, const struct phase *ph, double lr, const struct timing *time)
{
    const struct batch *b = &t->batch;
    int rollout_phase = ph->source == SOURCE_ROLLOUT;
    const struct metrics *m = &t->metrics;
    json_t *o = json_object();
    json_object_set_new(o, "step", json_integer(t->step));
    json_object_set_new(o, "phase", json_string(ph->name));
    set_number(o, "reward", rollout_phase ? stat_mean(b->reward, NULL, b->samples) : NAN);
    set_number(o, "reward_std", rollout_phase ? stat_std(b->reward, NULL, b->samples, 1) : NAN);
    set_number(o, "accuracy", rollout_phase ? batch_accuracy(b) : NAN);
    set_number(o, "length", batch_length(b));
    set_number(o, "loss", metric_value(m, "loss", 0));
    set_number(o, "grad_norm", metric_value(m, "grad_norm", 0));
    set_number(o, "kl", metric_value(m, "kl", NAN));
    set_number(o, "entropy", phase_reads_behind(ph) ? NAN : trainer_entropy(t)); /* the policy took no part */
    set_number(o, "clip_share", metric_value(m, "clip_share", 0));
    set_number(o, "zero_variance", rollout_phase ? zero_variance(b) : NAN);
    set_number(o, "truncated", rollout_phase ? share(b, is_truncated) : NAN);
    set_number(o, "unparsed", rollout_phase ? share(b, is_unparsed) : NAN);
    set_number(o, "lr", lr);
    json_object_set_new(o, "tokens", json_integer(b->tokens));
    set_number(o, "logp_mismatch_max", metric_value(m, "logp_mismatch_max", 0));
    set_number(o, "logp_mismatch_mean", metric_value(m, "logp_mismatch_mean", 0));
    for (int i = 0; i < m->n; i++)
        if (!json_object_get(o, m->metric[i].name))
            set_number(o, m->metric[i].name, metric_value(m, m->metric[i].name, NAN));
    set_number(o, "t_collect", time->collect);
    set_number(o, "t_update", time->update);
    set_number(o, "t_tokens_per_second", b->tokens / fmax(time->step, 1e-9));
    set_number(o, "t_seconds", clock_now() - t->started);
    return o;
}

/* A few rollouts with what they earned. */
int runlog_samples(struct trainer *t, const struct phase *ph, struct error *e)
{
    const struct batch *b = &t->batch;
    int n = t->s.recipe.run.log_samples < b->samples ? t->s.recipe.run.log_samples : b->samples;
    for (int j = 0; j < n; j++) {
        int i = (int)((long)b->samples * j / n), g = 0;
        while (b->group_first[g + 1] <= i)
            g++;
        json_t *o = json_object(), *rewards = json_object();
        json_object_set_new(o, "step", json_integer(t->step));
        json_object_set_new(o, "phase", json_string(ph->name));
        json_object_set_new(o, "prompt", json_stringn(b->item[g]->prompt.s, (size_t)b->item[g]->prompt.len));
        json_t *text = json_stringn(b->text[i], (size_t)b->text_len[i]);
        json_object_set_new(o, "response", text ? text : json_null()); /* null: not valid UTF-8 */
        json_object_set_new(o, "answer", json_stringn(b->item[g]->answer.s, (size_t)b->item[g]->answer.len));
        for (int c = 0; c < b->components; c++)
            if (b->component[c].level == LEVEL_SEQUENCE && b->component[c].written)
                set_number(rewards, b->component[c].name, b->component[c].value[i]);
        json_object_set_new(o, "rewards", rewards);
        set_number(o, "reward", b->reward[i]);
        set_number(o, "advantage", b->tokens ? b->advantage[b->sample_first[i]] : 0);
        json_object_set_new(o, "verdict", json_integer(b->strict[i]));
        json_object_set_new(o, "truncated", json_boolean(b->truncated[i]));
        if (rundir_append(&t->dir, RUN_SAMPLES, o, e))
            return -1;
    }
    return 0;
}
