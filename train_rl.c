/* train_rl: reinforcement learning with verifiable rewards for small language models, from prompt to gradient, in one
 * program.
 *
 * This file is the algorithm, top to bottom: collect, (score, shape, select), credit, advantage, loss, step, evaluate,
 * log, save. The stages are in rewards/, the model in model/, the tasks in data/; the other verbs are in dev/verbs/.
 *
 * Words: a *prompt* is answered by a *group* of sampled *responses* (the rollout); each gets a *reward*; its
 * *advantage* says how much better it was than its group; the *loss* turns advantages into gradients of the responses'
 * log-probabilities.
 */
#include "dev/verbs/channels.h" /* defines: channels_early, channels_forward, channels_backward */
#include "dev/verbs/report.h"   /* defines: report_curves */
#include "dev/verbs/closing.h"  /* defines: report_opening, report_closing */
#include "dev/verbs/loop.h"     /* declares what of this file the verb trace runs */
#include "dev/verbs/micro.h"    /* defines: micro_each, micro_fill, micro_mismatch, group_kept */
#include "dev/verbs/prompts.h"  /* defines: next_item */
#include "dev/verbs/resume.h"   /* defines: resume_checkpoint, resume_load */
#include "dev/verbs/runlog.h"   /* defines: runlog_line, runlog_samples, struct timing */
#include "dev/verbs/trainer.h"  /* defines: struct trainer, trainer_open, evaluate, rundir_* */
#include "dev/verbs/verbs.h"    /* defines: the other verbs, their table */
#include "model/base/clock.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* The one thing a signal handler may touch: Ctrl-C finishes the step and saves, a second one ends at once. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    interrupted = 1;
    signal(signal_number, SIG_DFL);
}

void stop_after_step(void)
{
    interrupted = 1;
}

/* ---- stages ---- */

/* Run every stage of the phase whose kind is first..last, in the recipe's order, on groups [g0, g1). */
static int run_stages(struct trainer *t, const struct phase *ph, enum stage_kind first, enum stage_kind last, int g0,
                      int g1, const struct denominators *den, double *loss, struct error *e)
{
    for (int i = 0; i < ph->stages; i++) {
        const struct stage_use *u = &ph->stage[i];
        if (u->stage->kind < first || u->stage->kind > last)
            continue;
        struct stage_call c = {.stage = u->stage, .b = &t->batch, .g0 = g0, .g1 = g1, .p = u->value};
        c.channel = u->channel;
        c.den = den;
        c.loss = loss;
        c.task = &t->s.task;
        c.seed = t->s.recipe.run.seed;
        c.step = (uint64_t)t->step;
        c.phase_step = t->phase_step;
        c.phase_steps = ph->steps;
        c.state = ((struct stage_use *)u)->state;
        c.metrics = &t->metrics;
        if (u->stage->run(&c, e)) {
            struct error why = *e;
            return fail(e, "step %ld, stage %s", t->step, why.text);
        }
        if (loss && !isfinite(*loss))
            return fail(e, "step %ld: the loss is %g after stage %s in the groups %d to %d of the batch", t->step,
                        *loss, u->stage->name, g0, g1 - 1);
        trainer_look(t, &(struct sight){AFTER_STAGE, ph, u, g0, g1, den, loss ? *loss : 0, 0, 0});
    }
    return 0;
}

/* ---- collect: prompts and responses become groups of the batch ---- */

/* Open group g of the batch with the next training prompt. */
static int add_group(struct trainer *t, const struct phase *ph, struct error *e)
{
    struct batch *b = &t->batch;
    int g = b->groups;
    struct item *it = &t->item[g];
    if (next_item(t, ph, it, e))
        return -1;
    int n = session_prompt(&t->s, it, &t->encode_ids, &t->encode_cap, e);
    if (n < 0)
        return -1;
    memcpy(b->prompt_id + b->prompt_tokens, t->encode_ids, (size_t)n * sizeof *t->encode_ids);
    b->prompt_first[g] = b->prompt_tokens;
    b->prompt_tokens += n;
    b->prompt_first[g + 1] = b->prompt_tokens;
    b->prompt_key[g] = t->cursor++;
    b->item[g] = it;
    b->group_first[g] = b->samples;
    b->group_first[g + 1] = b->samples;
    b->groups++;
    return 0;
}

/* Spans of the task's steps, in tokens: a step ends with the token that holds its last byte; a final end-of-sequence
 * belongs to the last step. */
static void add_steps(struct trainer *t, int i, const struct item *it)
{
    const struct task_row *row = t->s.task.row;
    struct batch *b = &t->batch;
    int tokens = b->sample_first[i + 1] - b->sample_first[i], n = 0, token = 0;
    if (row->steps)
        n = row->steps(&t->s.task, it, t->text.s + t->text_at[i], b->text_len[i], t->step_span, tokens);
    b->step_first[i] = b->steps;
    for (int k = 0; k < n; k++) {
        while (token < tokens && t->token_end[token] < t->step_span[k].end)
            token++;
        b->step_end[b->steps++] = k == n - 1 && token + 2 >= tokens ? tokens : token + 1;
    }
    b->step_first[i + 1] = b->steps;
}

/* Append a sample to the batch's last group: its tokens, text, verdict and steps. */
static void add_sample(struct trainer *t, const struct response *r, double temperature)
{
    struct batch *b = &t->batch;
    int i = b->samples, g = b->groups - 1, at = b->tokens, S = b->max_support;
    const struct item *it = b->item[g];
    enum verdict strict, lenient;
    for (int k = 0; k < r->len; k++) {
        b->id[at + k] = r->ids[k];
        b->trained[at + k] = 1;
        b->turn[at + k] = 0;
        b->logp_rollout[at + k] = r->logp ? r->logp[k] : 0;
        b->logp_old[at + k] = b->logp_rollout[at + k];
        if (S)
            b->supports[at + k] = r->supports ? r->supports[k] : 0;
    }
    if (S && r->support)
        memcpy(b->support + (size_t)at * S, r->support, (size_t)r->len * S * sizeof *b->support);
    b->sample_first[i] = at;
    b->tokens = b->sample_first[i + 1] = at + r->len;
    b->truncated[i] = (unsigned char)r->truncated;
    b->kept[i] = 1;
    b->weight[i] = 1;
    b->temperature[i] = temperature;
    t->text_at[i] = t->text.len;
    tokenizer_decode(t->s.tokenizer, r->ids, r->len, 0, &t->text, t->token_end);
    for (int k = 0; k < r->len; k++)
        t->token_end[k] -= t->token_end[0] < 0 ? 0 : t->text_at[i];
    memcpy(b->text_end + at, t->token_end, (size_t)r->len * sizeof *b->text_end);
    b->text_len[i] = t->text.len - t->text_at[i];
    text_add(&t->text, "", 1); /* a terminator of its own */
    t->s.task.row->check(&t->s.task, it, t->text.s + t->text_at[i], b->text_len[i], &strict, &lenient);
    b->strict[i] = (signed char)strict;
    b->lenient[i] = (signed char)lenient;
    add_steps(t, i, it);
    b->samples++;
    b->group_first[g + 1] = b->samples;
}

/* The text may have moved while it grew: point every sample at its own. */
static void point_at_texts(struct trainer *t)
{
    for (int i = 0; i < t->batch.samples; i++)
        t->batch.text[i] = t->text.s + t->text_at[i];
}

/* Supervised phases: every group is one prompt with the teacher's text as its only sample. */
static int collect_gold(struct trainer *t, const struct phase *ph, struct error *e)
{
    const struct session *s = &t->s;
    struct text gold = {0};
    int status = 0;
    for (int g = 0; g < ph->batch && !status; g++) {
        if (add_group(t, ph, e)) {
            status = -1;
            break;
        }
        text_clear(&gold);
        uint64_t key = t->batch.prompt_key[g];
        s->task.row->gold(&s->task, &t->item[g], rng_stream(s->recipe.run.seed, RNG_TEACHER, 0, key, 0), &gold);
        int n = chat_answer(&s->chat, &gold, &t->encode_ids, &t->encode_cap, e);
        int room = s->arch.context - (t->batch.prompt_first[g + 1] - t->batch.prompt_first[g]);
        room = room < s->max_gold ? room : s->max_gold;
        if (n < 0 || n - (s->special.ends == 0) > room) {
            status =
                n < 0 ? -1
                      : fail(e, "prompt %llu: its gold text has %d tokens and an end; behind the prompt is room for %d",
                             (unsigned long long)t->item[g].index, n, room);
            break;
        }
        mem_grow(&t->encode_ids, &t->encode_cap, n + 1, sizeof *t->encode_ids);
        if (s->special.ends)
            t->encode_ids[n++] = s->special.end[0];
        struct response r = {.ids = t->encode_ids, .len = n};
        add_sample(t, &r, 1);
    }
    text_free(&gold);
    point_at_texts(t);
    return status;
}

/* Sample responses of the current policy to `prompts` new prompts. */
static int rollout(struct trainer *t, const struct phase *ph, int prompts, struct error *e)
{
    struct batch *b = &t->batch;
    const struct rollout_config *c = &ph->rollout;
    struct sampling how = session_sampling(c);
    int g0 = b->groups;
    for (int q = 0; q < prompts; q++) {
        if (add_group(t, ph, e))
            return -1;
        int g = g0 + q;
        t->request[q] = (struct request){b->prompt_id + b->prompt_first[g],
                                         b->prompt_first[g + 1] - b->prompt_first[g],
                                         c->samples,
                                         c->max_new,
                                         (uint64_t)t->step,
                                         b->prompt_key[g],
                                         0};
    }
    if (sampler_run(&t->sampler, &t->s.policy, t->request, prompts, &how, t->s.recipe.run.seed, RNG_SAMPLE,
                    t->s.special.end, t->s.special.ends, t->response, e))
        return -1;
    b->groups = g0;
    for (int q = 0; q < prompts; q++) {
        b->groups++;
        b->group_first[b->groups] = b->samples;
        for (int k = 0; k < c->samples; k++)
            add_sample(t, &t->response[q * c->samples + k], c->temperature);
    }
    point_at_texts(t);
    return 0;
}

/* Collect until enough groups survive selection or the refills are used up; groups beyond what is needed are left out.
 */
static int collect_rollout(struct trainer *t, const struct phase *ph, struct error *e)
{
    struct batch *b = &t->batch;
    int kept = 0, round = 0;
    while (kept < ph->rollout.prompts && round++ < ph->rollout.max_refills) {
        if (rollout(t, ph, ph->rollout.prompts - kept, e))
            return -1;
        t->metrics.n = 0; /* stages see the whole batch again */
        memset(b->kept, 1, (size_t)b->samples);
        if (channels_early(t, ph, e) || run_stages(t, ph, STAGE_SCORE, STAGE_SELECT, 0, b->groups, NULL, NULL, e))
            return -1;
        kept = 0;
        for (int g = 0; g < b->groups; g++)
            kept += group_kept(b, g);
    }
    return 0;
}

/* ---- forward and backward: a micro-batch is whole groups, the prompt stands once for all its responses ---- */

/* What one optimiser step does with every micro-batch. */
struct pass {
    const struct phase *phase;
    const struct denominators *den;
    int fresh;    /* the weights are those of the rollout */
    int together; /* the losses were taken of the whole batch, before the first gradient */
    double loss;
    int status;
    struct error e;
};

static void forward_micro(struct trainer *t, struct worker *w, int g0, int g1, void *context)
{
    const struct phase *ph = ((struct pass *)context)->phase;
    micro_fill(t, w, g0, g1, channels_view(ph));
    channels_forward(t, w, ph);
}

/* Losses of groups [g0, g1), one by one: sums come out the same however the batch is cut. */
static void group_losses(struct trainer *t, const struct micro *u, int g0, int g1, struct pass *p)
{
    if (p->fresh && !phase_reads_behind(p->phase))
        micro_mismatch(t, u);
    for (int g = g0; !p->together && g < g1 && !p->status; g++)
        p->status = run_stages(t, p->phase, STAGE_LOSS, STAGE_REGULAR, g, g + 1, p->den, &p->loss, &p->e);
}

static void train_micro(struct trainer *t, struct worker *w, int g0, int g1, void *context)
{
    struct pass *p = context;
    micro_fill(t, w, g0, g1, channels_view(p->phase));
    if (w->micro.entries == 0)
        return;
    channels_forward(t, w, p->phase);
    turn_wait(&w->turn, 0);
    group_losses(t, &w->micro, g0, g1, p);
    int failed = p->status;
    turn_pass(&w->turn);
    if (!failed)
        channels_backward(t, w, p->phase);
}

static int micro_batches(struct trainer *t, const struct phase *ph, int g0, int g1, const struct denominators *den,
                         int fresh, double *loss, struct error *e)
{
    struct pass p = {.phase = ph, .den = den, .fresh = fresh, .together = phase_couples(ph)};
    if (p.together) {
        micro_each(t, g0, g1, forward_micro, &p);
        p.status = run_stages(t, ph, STAGE_LOSS, STAGE_REGULAR, g0, g1, den, &p.loss, &p.e);
    }
    if (!p.status)
        micro_each(t, g0, g1, train_micro, &p);
    *loss = p.loss;
    if (p.status)
        *e = p.e;
    return p.status;
}

/* ---- step: one optimiser step on groups [g0, g1) of the batch ---- */

static double learning_rate(const struct phase *ph, long step)
{
    const struct optim_config *o = &ph->optim;
    double warmup = o->warmup > 0 && step < o->warmup ? (step + 1.0) / o->warmup : 1;
    double span = ph->steps - o->warmup > 1 ? ph->steps - o->warmup : 1;
    double done = step < o->warmup ? 0 : (step - o->warmup) / span, decay = 1;
    if (o->schedule == SCHEDULE_LINEAR)
        decay = 1 - (1 - o->min_lr) * done;
    if (o->schedule == SCHEDULE_COSINE)
        decay = o->min_lr + (1 - o->min_lr) * 0.5 * (1 + cos(M_PI * done));
    return o->lr * warmup * decay;
}

/* Of the policy, then of each of [models] that the phase trains. */
static int gradient_norms(struct trainer *t, const struct phase *ph, double norm[1 + MAX_MODELS], struct error *e)
{
    const struct recipe *r = &t->s.recipe;
    norm[0] = model_grad_norm(&t->s.policy);
    for (int i = 0; i < r->model_count; i++) {
        char name[48];
        norm[1 + i] = phase_trains(ph, r->models[i].name) ? model_grad_norm(&t->model[i]) : 0;
        snprintf(name, sizeof name, "%s.grad_norm", r->models[i].name);
        if (phase_trains(ph, r->models[i].name))
            metric_add(&t->metrics, name, norm[1 + i], 1);
    }
    for (int i = 0; i <= r->model_count; i++)
        if (!isfinite(norm[i]))
            return fail(e, "step %ld: the gradient norm of %s is %g; lower optim.lr or set optim.clip", t->step,
                        i ? r->models[i - 1].name : "the policy", norm[i]);
    return 0;
}

static void step_models(struct trainer *t, const struct phase *ph, const double norm[1 + MAX_MODELS], double lr)
{
    const struct optim_config *o = &ph->optim;
    struct optimiser step = {lr, o->beta1, o->beta2, o->eps, o->weight_decay, o->clip};
    if (phase_trains_policy(ph)) {
        model_step(&t->s.policy, &step, norm[0]);
        step.lr = o->critic_lr > 0 ? lr / o->lr * o->critic_lr : lr;
    }
    for (int i = 0; i < t->s.recipe.model_count; i++)
        if (phase_trains(ph, t->s.recipe.models[i].name))
            model_step(&t->model[i], &step, norm[1 + i]);
}

static int optimiser_step(struct trainer *t, const struct phase *ph, int g0, int g1, double lr, int fresh,
                          struct error *e)
{
    struct batch *b = &t->batch;
    struct denominators den;
    double loss = 0;
    int token0 = b->sample_first[b->group_first[g0]], token1 = b->sample_first[b->group_first[g1]];
    batch_denominators(b, g0, g1, ph->source == SOURCE_GOLD ? t->s.max_gold : ph->rollout.max_new, &den);
    model_zero_grad(&t->s.policy);
    for (int i = 0; i < t->s.recipe.model_count; i++)
        if (phase_trains(ph, t->s.recipe.models[i].name))
            model_zero_grad(&t->model[i]);
    for (int c = 0; c < b->channels; c++)
        if (b->channel[c].grad)
            memset(b->channel[c].grad + token0, 0, (size_t)(token1 - token0) * sizeof(double));
    if (micro_batches(t, ph, g0, g1, &den, fresh, &loss, e))
        return -1;
    double norm[1 + MAX_MODELS];
    if (gradient_norms(t, ph, norm, e))
        return -1;
    trainer_look(t, &(struct sight){AFTER_BACKWARD, ph, NULL, g0, g1, &den, loss, norm[0], lr});
    if (den.tokens > 0) /* nothing kept: no step, not even of the moments */
        step_models(t, ph, norm, lr);
    trainer_look(t, &(struct sight){AFTER_UPDATE, ph, NULL, g0, g1, &den, loss, norm[0], lr});
    metric_add(&t->metrics, "loss", loss, 1);
    metric_add(&t->metrics, "grad_norm", norm[trainer_trained(t, ph)], 1);
    return 0;
}

/* Several passes over the rollout, each cut into minibatches of whole groups. */
static int update(struct trainer *t, const struct phase *ph, double lr, struct error *e)
{
    const struct optim_config *o = &ph->optim;
    int groups = t->batch.groups, parts = o->minibatches < groups ? o->minibatches : groups;
    for (int epoch = 0; epoch < o->epochs; epoch++)
        for (int i = 0; i < parts; i++) {
            int g0 = (int)((long)groups * i / parts), g1 = (int)((long)groups * (i + 1) / parts);
            int fresh = ph->source == SOURCE_ROLLOUT && epoch == 0 && i == 0;
            if (optimiser_step(t, ph, g0, g1, lr, fresh, e))
                return -1;
        }
    return 0;
}

/* ---- evaluate ---- */

static int evaluate_now(struct trainer *t, int k, struct evaluation *v, struct shown *shown, struct error *e)
{
    const struct eval_config *c = &t->s.recipe.eval;
    return evaluate(&t->s, &t->s.policy, &t->sampler, c->prompts, k, c->temperature, session_max_new(&t->s.recipe), v,
                    shown, e);
}

/* On the way: greedy answers only. */
static int evaluate_step(struct trainer *t, const struct phase *ph, struct error *e)
{
    struct evaluation v;
    if (!trainer_records(t))
        return 0;
    if (evaluate_now(t, 0, &v, NULL, e))
        return -1;
    return rundir_append(&t->dir, RUN_EVAL, evaluation_json(&v, t->step, ph->name, NULL), e);
}

static int milestone(struct trainer *t, const struct phase *ph, const char *name, double seconds, int keep_answers,
                     struct error *e)
{
    if (!trainer_records(t))
        return 0;
    struct milestone *m = &t->milestone[t->milestones++];
    snprintf(m->name, sizeof m->name, "%s", name);
    m->train_seconds = seconds;
    if (evaluate_now(t, t->s.recipe.eval.samples, &m->v, keep_answers ? &m->shown : NULL, e))
        return -1;
    return rundir_append(&t->dir, RUN_EVAL, evaluation_json(&m->v, t->step, ph->name, m), e);
}

/* ---- a phase ---- */

static void show_progress(struct trainer *t, const struct phase *ph)
{
    const struct batch *b = &t->batch;
    char left[32];
    long done = t->phase_step;
    double per_step = t->phase_seconds / (double)done, speed = b->tokens / fmax(per_step, 1e-9);
    double judged = metric_value(&t->metrics, "steps.accuracy", metric_value(&t->metrics, "bt.accuracy", NAN));
    clock_text(left, per_step * (double)(ph->steps - done));
    if (!phase_trains_policy(ph))
        rundir_progress(&t->dir, done == ph->steps,
                        "%-8s %4ld/%d  loss %.3f  accuracy of the judge %.3f  %.0f tokens/s  left %s", ph->name, done,
                        ph->steps, metric_value(&t->metrics, "loss", 0), judged, speed, left);
    else if (ph->source == SOURCE_GOLD)
        rundir_progress(&t->dir, done == ph->steps, "%-8s %4ld/%d  loss %.3f  %.0f tokens/s  left %s", ph->name, done,
                        ph->steps, metric_value(&t->metrics, "loss", 0), speed, left);
    else
        rundir_progress(&t->dir, done == ph->steps,
                        "%-8s %4ld/%d  sampled accuracy %.3f  reward %.3f  length %.1f  %.0f tokens/s  left %s",
                        ph->name, done, ph->steps, batch_accuracy(b), stat_mean(b->reward, NULL, b->samples),
                        batch_length(b), speed, left);
}

/* Channels of the stages become arrays of the batch. The policy's two are always there: losses and logs need them. */
static void bind_channels(struct trainer *t, struct phase *ph)
{
    batch_channel(&t->batch, "policy.logp", 1);
    batch_channel(&t->batch, "policy.entropy", 1);
    for (int i = 0; i < ph->stages; i++)
        for (int c = 0; c < 6; c++) {
            struct stage_use *u = &ph->stage[i];
            if (u->channel_name[c][0])
                u->channel[c] = batch_channel(&t->batch, u->channel_name[c], (int)(u->stage->gradients >> c & 1));
        }
}

static int write_down(struct trainer *t, const struct phase *ph, double lr, const struct timing *time, struct error *e)
{
    if (rundir_append(&t->dir, RUN_LOG, runlog_line(t, ph, lr, time), e))
        return -1;
    return ph->source == SOURCE_ROLLOUT && t->phase_step % 10 == 0 ? runlog_samples(t, ph, e) : 0;
}

/* One step of a phase: collect, credit, advantage, update, log. */
static int train_step(struct trainer *t, const struct phase *ph, struct error *e)
{
    double start = clock_now(), lr = learning_rate(ph, t->phase_step);
    struct timing time;
    batch_clear(&t->batch);
    text_clear(&t->text);
    t->metrics.n = 0;
    if (ph->source == SOURCE_GOLD ? collect_gold(t, ph, e) : collect_rollout(t, ph, e))
        return -1;
    time.collect = clock_now() - start;
    if (run_stages(t, ph, STAGE_CREDIT, STAGE_ADVANTAGE, 0, t->batch.groups, NULL, NULL, e) || update(t, ph, lr, e))
        return -1;
    time.step = clock_now() - start;
    time.update = time.step - time.collect;
    t->phase_seconds += time.step;
    if (trainer_records(t) && write_down(t, ph, lr, &time, e))
        return -1;
    trainer_look(t, &(struct sight){AFTER_STEP, ph, NULL, 0, t->batch.groups, NULL, 0, 0, lr});
    t->step++;
    t->phase_step++;
    return 0;
}

/* Models that begin as copies of the policy are copied when reinforcement learning begins: after any warm-up. The first
 * value head begins as 0, further ones are drawn, or they would be its twins for ever. */
static void begin_rollouts(struct trainer *t)
{
    const struct recipe *r = &t->s.recipe;
    for (int i = 0, heads = 0; i < r->model_count; i++) {
        heads += r->models[i].head != HEAD_NONE;
        if (t->model_ready[i])
            continue;
        model_copy(&t->model[i], &t->s.policy);
        if (r->models[i].head != HEAD_NONE && heads > 1)
            model_draw_value_head(&t->model[i], r->run.seed + (uint64_t)i);
        t->model_ready[i] = 1;
    }
}

/* What stands before the first step of a phase. */
static int begin_phase(struct trainer *t, struct phase *ph, struct error *e)
{
    int trained = trainer_trained(t, ph);
    if (ph->reset_optimiser)
        model_reset_optimiser(trained ? &t->model[trained - 1] : &t->s.policy);
    if (ph->source != SOURCE_ROLLOUT)
        return 0;
    if (t->milestones == 0 && phase_trains_policy(ph) && milestone(t, ph, "before", t->done_seconds, 1, e))
        return -1;
    begin_rollouts(t);
    return 0;
}

/* run.max_seconds stops as Ctrl-C does: saved, to be resumed. */
static int out_of_time(const struct trainer *t)
{
    double limit = t->s.recipe.run.max_seconds;
    if (limit > 0 && clock_now() - t->opened > limit)
        interrupted = 1;
    return interrupted;
}

/* The steps of a phase that are left. Returns 1 when it is done, 0 when it was interrupted, -1 and *e on failure. */
static int train_phase(struct trainer *t, struct phase *ph, struct error *e)
{
    const struct recipe *r = &t->s.recipe;
    int learns = ph->source == SOURCE_ROLLOUT && phase_trains_policy(ph);
    bind_channels(t, ph);
    if (t->phase_step == 0 && begin_phase(t, ph, e))
        return -1;
    while (t->phase_step < ph->steps && !out_of_time(t) && !(ph->seconds > 0 && t->phase_seconds > ph->seconds)) {
        if (train_step(t, ph, e))
            return -1;
        show_progress(t, ph);
        if (learns && r->eval.every > 0 && t->phase_step % r->eval.every == 0 && t->phase_step < ph->steps &&
            evaluate_step(t, ph, e))
            return -1;
        if (!ph->branch[0] && resume_is_due(t) && resume_checkpoint(t, e))
            return -1;
    }
    if (interrupted)
        return 0;
    if (learns)
        t->diagnosis = report_diagnosis(t, ph);
    int evaluated = learns || ph->branch[0] || t->phase == r->phases - 1;
    if (evaluated && /* otherwise the next phase does it first */
        milestone(t, ph, ph->name, t->phase_seconds, learns && !ph->branch[0], e))
        return -1;
    return 1;
}

static void next_phase(struct trainer *t)
{
    t->phase++;
    t->phase_step = 0;
    t->done_seconds += t->phase_seconds;
    t->phase_seconds = 0;
}

/* A branch starts from the end of an earlier phase and leaves no trace but what it wrote: the control of an experiment.
 * The main line goes on with the step and the prompt that were next, so that its numbers are those of a run without the
 * branch. An interrupted branch is left as if it had not begun, its lines aside, which a resumed run cuts. */
static int run_branch(struct trainer *t, int from, struct error *e)
{
    int p = t->phase;
    long step = t->step;
    uint64_t cursor = t->cursor;
    model_snapshot(&t->aside, &t->s.policy);
    model_snapshot(&t->s.policy, &t->snapshot[from]);
    phase_forget(&t->s.recipe.phase[p]);
    int done = train_phase(t, &t->s.recipe.phase[p], e);
    if (t->snapshot[p].tensor && done > 0)
        model_snapshot(&t->snapshot[p], &t->s.policy);
    model_snapshot(&t->s.policy, &t->aside);
    t->step = step;
    t->cursor = cursor;
    if (done <= 0)
        return done;
    next_phase(t);
    return resume_checkpoint(t, e);
}

/* After a failure the last checkpoint stays, since weights that gave a bad number are no better than it. */
static int run_phase(struct trainer *t, struct error *e)
{
    int p = t->phase, from = trainer_branch(&t->s.recipe, p);
    if (from >= 0)
        return run_branch(t, from, e);
    int done = train_phase(t, &t->s.recipe.phase[p], e);
    if (done < 0)
        return -1;
    if (done) {
        if (t->snapshot[p].tensor)
            model_snapshot(&t->snapshot[p], &t->s.policy);
        next_phase(t);
    }
    return resume_checkpoint(t, e);
}

/* ---- a run ---- */

/* A new run directory, or that of a run to go on with. */
static int open_run(struct trainer *t, struct error *e)
{
    const struct recipe *r = &t->s.recipe;
    if (r->run.resume[0] && r->run.out[0])
        return fail(e, "run.out and run.resume exclude each other: a resumed run goes on in its own directory");
    if (!r->run.resume[0])
        return rundir_create(&t->dir, r->name, r->run.out, r->text, e);
    return rundir_reopen(&t->dir, r->run.resume, e) || resume_load(t, e) ? -1 : 0;
}

/* Also after a failure: the curves show how it came. */
static int draw_curves(const struct trainer *t, int status, struct error *e)
{
    struct error other;
    if (t->step > 0 && trainer_records(t) && report_curves(t->dir.path, &other) && !status)
        status = fail(e, "%s", other.text);
    return status;
}

int run_phases(struct trainer *t, struct error *e)
{
    int status = 0;
    while (t->phase < t->s.recipe.phases && !status && !interrupted)
        status = run_phase(t, e);
    status = draw_curves(t, status, e);
    return status;
}

/* The recipe's words: the recipe itself, then key=value. A resumed run needs no name, its directory has the recipe. */
static int open_recipe(struct trainer *t, int argc, const char *const *argv, struct error *e)
{
    char recipe[600];
    int named = argc > 0 && !strchr(argv[0], '=');
    snprintf(recipe, sizeof recipe, "%s", named ? argv[0] : "chain");
    for (int i = named; i < argc && !named; i++)
        if (strncmp(argv[i], "run.resume=", 11) == 0) {
            if (rundir_check(argv[i] + 11, e))
                return fail_in(e, "run.resume");
            snprintf(recipe, sizeof recipe, "%s/recipe.ini", argv[i] + 11);
        }
    return trainer_open(t, recipe, argv + named, argc - named, e);
}

int verb_rl(int argc, const char *const *argv)
{
    static struct trainer trainer; /* large; one run a process */
    struct trainer *t = &trainer;
    struct error e;
    if (open_recipe(t, argc, argv, &e)) {
        fprintf(stderr, "train_rl: %s\n", e.text);
        return t->s.recipe.text ? EXIT_FAILED : EXIT_USAGE; /* what the recipe names, or the recipe itself */
    }
    int status = open_run(t, &e);
    if (!status) {
        signal(SIGINT, on_interrupt);
        signal(SIGTERM, on_interrupt);
        report_opening(t);
        status = run_phases(t, &e);
    }
    if (status)
        fprintf(stderr, "train_rl: %s\n", e.text);
    else if (t->phase < t->s.recipe.phases)
        report_interrupted(t);
    else
        report_closing(t);
    int cut_short = t->phase < t->s.recipe.phases;
    trainer_close(t);
    return status ? EXIT_FAILED : cut_short ? EXIT_INTERRUPTED : EXIT_DONE;
}

int main(int argc, char **argv)
{
    return verbs_main(argc - 1, (const char *const *)argv + 1);
}
