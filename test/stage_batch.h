/* Small batches for the tests of stages: four groups of invented samples whose text, verdicts and numbers are fixed, a
 * task that judges their steps, and a way to run one stage with parameters written as text.
 */
#ifndef STAGE_BATCH_H
#define STAGE_BATCH_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../data/task.h"
#include "../rewards/stage.h"
#include <cmocka.h> /*/* after ours: it has a macro fail */

enum { LOGP, ENTROPY, REF, OLD, NOPROMPT, GROUPS = 4, SAMPLES = 10, TOKENS = 160, STEPS = 64 };

static const int group_first[GROUPS + 1] = {0, 3, 7, 8, 10};
static const struct {
    const char *text;
    signed char strict, lenient;
} invented[SAMPLES] = {
    {"y\nn\n", 1, 1}, {"yy\ny dog park", 0, 0}, {"n", -1, 1}, {"y dog\n", 0, 1}, {"y park dog", 1, 1},
    {"y\ny\n", 0, 0}, {"dog y park", 1, 1},     {"y", 1, 1},  {"y\ny\n", 0, 0},  {"n\ny\n", 0, 0},
};

/* A line is a step; it is right when it begins with 'y'. */
static inline int lines_of(const struct task *t, const struct item *it, const char *s, int len, struct step *step,
                           int max)
{
    (void)t, (void)it;
    int n = 0;
    for (int at = 0; at < len && n < max; n++) {
        int end = at;
        while (end < len && s[end++] != '\n')
            ;
        step[n] = (struct step){at, end};
        at = end;
    }
    return n;
}
static inline enum verdict line_right(const struct task *t, const struct item *it, const char *s, int len,
                                      const struct step *step, int n, int k)
{
    (void)t, (void)it, (void)len, (void)n;
    return s[step[k].start] == 'y' ? VERDICT_RIGHT : VERDICT_WRONG;
}
static const struct task_row line_row = {.name = "lines", .steps = lines_of, .check_step = line_right};
static const struct task line_task = {.row = &line_row};
static struct item line_item = {.extra = {.s = (char *)"dog, park", .len = 9},
                                .answer = {.s = (char *)"y\ny\n", .len = 4}};

/* One number a token that a model says: all but log-probabilities and entropies. */
static inline int is_of_head(const char *channel)
{
    return strstr(channel, ".value") || strstr(channel, ".after") || strstr(channel, ".score") ||
           strstr(channel, ".step");
}

/* Sample `from` of the table becomes sample b->samples: one token a byte of its text. */
static inline void add_sample(struct batch *b, int from, int like)
{
    int i = b->samples++;
    const char *text = invented[like].text;
    b->text[i] = text;
    b->text_len[i] = (int)strlen(text);
    b->strict[i] = invented[like].strict;
    b->lenient[i] = invented[like].lenient;
    b->weight[i] = from % 3 ? 1 : 0.5;
    b->truncated[i] = like == 3 || like == 6;
    struct step step[STEPS];
    int n = lines_of(NULL, NULL, text, b->text_len[i], step, STEPS);
    for (int k = 0; k < n; k++)
        b->step_end[b->steps++] = step[k].end;
    b->step_first[i + 1] = b->steps;
    struct rng r = rng_stream(1, RNG_TEST, 0, 0, (uint32_t)from);
    for (int k = 0; k < b->text_len[i]; k++) {
        int t = b->tokens++;
        b->id[t] = text[k];
        b->text_end[t] = k + 1;
        b->trained[t] = k != 1 || b->text_len[i] < 4;
        double l = -0.05 - 2 * rng_uniform(r, (uint64_t)(4 * k));
        b->channel[LOGP].value[t] = l;
        b->channel[ENTROPY].value[t] = 2 * rng_uniform(r, (uint64_t)(4 * k + 1));
        b->channel[REF].value[t] = l + rng_uniform(r, (uint64_t)(4 * k + 2)) - 0.5;
        b->logp_old[t] = l + rng_uniform(r, (uint64_t)(4 * k + 3)) - 0.5;
        b->channel[NOPROMPT].value[t] = l - rng_uniform(r, (uint64_t)(4 * k)); /* less likely without the prompt */
        b->logp_rollout[t] = b->logp_old[t] + 3 * (b->channel[REF].value[t] - l);
        for (int c = 0; c < b->channels; c++)
            if (is_of_head(b->channel[c].name)) /* of critics and judges */
                b->channel[c].value[t] = 2 * rng_uniform(r, (uint64_t)(1000 + 40 * k + c)) - 1;
    }
    b->sample_first[i + 1] = b->tokens;
}

static inline void open_batch(struct batch *b)
{
    batch_create(b, GROUPS, SAMPLES, TOKENS, STEPS, 1, 0);
    batch_channel(b, "policy.logp", 1);
    batch_channel(b, "policy.entropy", 1);
    batch_channel(b, "ref.logp", 0);
    b->logp_old = b->channel[batch_channel(b, "old", 0)].value; /* apart from logp_rollout */
    batch_channel(b, "policy@noprompt.logp", 0);
    for (int i = 0; stages[i]; i++)
        for (int c = 0; c < 6 && stages[i]->channels[c]; c++)
            batch_channel(b, stages[i]->channels[c], (int)(stages[i]->gradients >> c & 1));
}

static inline void clear_gradients(struct batch *b)
{
    for (int c = 0; c < b->channels; c++)
        for (int t = 0; b->channel[c].grad && t < b->tokens; t++)
            b->channel[c].grad[t] = 0;
}

/* reverse: samples of each group in the opposite order. equal: all samples of a group are copies of its first but for
 * the log-probabilities. */
static inline void fill_batch(struct batch *b, int reverse, int equal)
{
    batch_clear(b);
    for (int g = 0; g < GROUPS; g++) {
        int first = group_first[g], n = group_first[g + 1] - first;
        for (int i = 0; i < n; i++) {
            int from = first + (reverse ? n - 1 - i : i);
            add_sample(b, from, equal ? first : from);
        }
        b->group_first[g + 1] = b->samples;
        b->prompt_key[g] = 100 + (uint64_t)g;
        b->item[g] = &line_item;
    }
    b->groups = GROUPS;
    for (int i = 0; i < b->samples; i++)
        b->reward[i] = 0;
    for (int t = 0; t < b->tokens; t++)
        b->token_reward[t] = b->advantage[t] = 0;
    clear_gradients(b);
}

/* Parameters of a stage from "key=value;key=value" over the defaults. text must stay. */
static inline void stage_values(const struct stage *s, char *text, struct value *v)
{
    struct error e;
    char *save = NULL;
    for (int i = 0; i < param_count(s->params); i++)
        assert_int_equal(param_parse(&s->params[i], s->params[i].def, &v[i], &e), 0);
    for (char *one = strtok_r(text, ";", &save); one; one = strtok_r(NULL, ";", &save)) {
        char *equals = strchr(one, '=');
        *equals = 0;
        int i = param_find(s->params, one);
        if (i < 0)
            fail_msg("%s has no parameter %s", s->name, one);
        if (param_parse(&s->params[i], equals + 1, &v[i], &e))
            fail_msg("%s: %s", s->name, e.text);
    }
}

enum { MAX_REMEMBERED = 1024 };
struct result {
    double loss;
    double remembered[MAX_REMEMBERED]; /* the stage's state afterwards */
    int remembers;
    struct metrics metrics;
    struct error e;
    int failed;
};

/* Run for groups [g0, g1); sums go on in *r. */
/* What a stage remembers of earlier steps: 3, 3.25, 3.5 ..., for the run and for every prompt but the last. */
static inline void open_state(const struct batch *b, const struct stage *s, struct state state[MAX_STATES])
{
    memset(state, 0, MAX_STATES * sizeof *state);
    for (int k = 0; s->state && s->state[k].name; k++) {
        state[k].row = &s->state[k];
        for (int g = 0; g < (s->state[k].per_prompt ? b->groups - 1 : 1); g++) {
            double *value = state_at(&state[k], s->state[k].per_prompt ? b->prompt_key[g] : 0);
            for (int i = 0; i < s->state[k].width; i++)
                value[i] = 3 + 0.25 * i;
        }
    }
}

static inline void run_part(struct batch *b, const struct stage *s, const char *args, int g0, int g1,
                            const struct denominators *den, struct result *r)
{
    struct value v[MAX_PARAMS];
    char text[256];
    int channel[6];
    snprintf(text, sizeof text, "%s", args);
    stage_values(s, text, v);
    for (int k = 0; k < 6 && s->channels[k]; k++)
        channel[k] = batch_channel(b, s->channels[k], (s->gradients >> k) & 1);
    struct state state[MAX_STATES];
    open_state(b, s, state);
    struct stage_call c = {.stage = s,
                           .state = state,
                           .b = b,
                           .g0 = g0,
                           .g1 = g1,
                           .p = v,
                           .channel = channel,
                           .den = den,
                           .loss = &r->loss,
                           .task = &line_task,
                           .seed = 5,
                           .step = 2,
                           .phase_step = 1,
                           .phase_steps = 4,
                           .metrics = &r->metrics};
    r->failed = s->run(&c, &r->e);
    r->remembers = 0;
    for (int k = 0; k < MAX_STATES; k++) {
        for (int i = 0; i < state[k].n * (state[k].row ? state[k].row->width : 0); i++) {
            assert_true(r->remembers < MAX_REMEMBERED);
            r->remembered[r->remembers++] = state[k].value[i];
        }
        state_free(&state[k]);
    }
}

static inline struct result run_stage(struct batch *b, const struct stage *s, const char *args)
{
    struct result r = {0};
    struct denominators den;
    batch_denominators(b, 0, b->groups, 20, &den);
    run_part(b, s, args, 0, b->groups, &den, &r);
    return r;
}

static inline struct result run_named(struct batch *b, enum stage_kind kind, const char *name, const char *args)
{
    const struct stage *s = stage_find(kind, name);
    if (!s)
        fail_msg("no %s stage '%s'", stage_kind_names[kind], name);
    struct result r = run_stage(b, s, args);
    if (r.failed)
        fail_msg("%s: %s", name, r.e.text);
    return r;
}

/* Everything that stages of a kind before this one would have written. */
static inline void run_before(struct batch *b, enum stage_kind kind)
{
    if (kind > STAGE_SCORE) {
        run_named(b, STAGE_SCORE, "outcome", "");
        run_named(b, STAGE_SCORE, "format", "");
        run_named(b, STAGE_SCORE, "process", "");
        run_named(b, STAGE_SCORE, "prefix", "");
    }
    if (kind == STAGE_SHAPE)
        run_named(b, STAGE_SCORE, "concise", "");
    if (kind > STAGE_SHAPE)
        run_named(b, STAGE_SHAPE, kind == STAGE_CREDIT ? "dense" : "sum", "");
    if (kind > STAGE_CREDIT) {
        run_named(b, STAGE_CREDIT, "gae", "");
        run_named(b, STAGE_CREDIT, "outcome", "");
    }
    if (kind > STAGE_ADVANTAGE) {
        run_named(b, STAGE_ADVANTAGE, "pessimist", "");
        run_named(b, STAGE_ADVANTAGE, "group", "");
        for (int c = 0; c < b->channels; c++) /* critics have moved on, towards 0 or away from it */
            for (int i = 0; i < b->samples && is_of_head(b->channel[c].name); i++)
                for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
                    b->channel[c].value[t] *= (t - b->sample_first[i]) % 2 ? 0.6 : 1.5;
    }
}

/* All that a stage may write, of kept samples and trained tokens, sample by sample; returns how many. */
enum { MAX_OUT = 16384 };
static inline int outputs_of(const struct batch *b, int i, double *out)
{
    int n = 0;
    out[n++] = b->kept[i];
    if (!b->kept[i])
        return n;
    out[n++] = b->strict[i];
    out[n++] = b->lenient[i];
    out[n++] = b->weight[i];
    out[n++] = b->reward[i];
    for (int k = 0; k < b->components; k++) {
        const struct component *c = &b->component[k];
        if (c->written && c->level == LEVEL_SEQUENCE)
            out[n++] = c->value[i];
        for (int s = b->step_first[i]; c->written && c->level == LEVEL_STEP && s < b->step_first[i + 1]; s++)
            out[n++] = c->value[s];
    }
    for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
        if (b->trained[t]) {
            out[n++] = b->token_reward[t];
            out[n++] = b->advantage[t];
            for (int c = 0; c < b->channels; c++)
                if (b->channel[c].grad)
                    out[n++] = b->channel[c].grad[t];
            for (int k = 0; k < b->components; k++)
                if (b->component[k].written && b->component[k].level == LEVEL_TOKEN)
                    out[n++] = b->component[k].value[t];
        }
    return n;
}
static inline int outputs(const struct batch *b, const struct result *r, double *out)
{
    int n = 0;
    for (int i = 0; i < b->samples; i++)
        n += outputs_of(b, i, out + n);
    out[n++] = r->loss;
    for (int k = 0; k < r->metrics.n; k++) {
        out[n++] = r->metrics.metric[k].sum;
        out[n++] = r->metrics.metric[k].count;
    }
    for (int k = 0; k < r->remembers; k++)
        out[n++] = r->remembered[k];
    assert_true(n < MAX_OUT);
    return n;
}

#endif
