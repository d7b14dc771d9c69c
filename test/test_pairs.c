/* Every ordered pair of stages: a recipe is built that has both, with what each needs before it, and either the checker
 * refuses it in a sentence or one step of it is trained: everything stays finite, sampler and trainer agree, and the
 * result does not depend on how the step is cut into micro-batches.
 *
 * The model is tiny and has learned nothing; so that rewards differ, verdicts and steps are not those of the task but
 * follow from the bytes of the response.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../dev/verbs/loop.h"
#include "../rewards/recipe.h"
#include "../model/base/file.h"
/* last: it needs the headers above, and its macro fail() would change ours */
#include <cmocka.h>

/* What has to stand before a stage, or beside it, and does not follow from the fields it reads. Stages of its own kind
 * stand before it. */
static const struct {
    enum stage_kind kind;
    const char *name;
    struct {
        enum stage_kind kind;
        const char *name;
    } needs[2];
} table[] = {
    {STAGE_SHAPE, "overlong", {{STAGE_SHAPE, "sum"}}},
    {STAGE_SHAPE, "par", {{STAGE_SHAPE, "sum"}}},
    {STAGE_SHAPE, "unfinished", {{STAGE_SHAPE, "sum"}}},
    {STAGE_SHAPE, "kl", {{STAGE_SHAPE, "sum"}}},
    {STAGE_SHAPE, "mix", {{STAGE_SCORE, "outcome"}}},
    {STAGE_SHAPE, "fapo", {{STAGE_SCORE, "outcome"}, {STAGE_SCORE, "process"}}},
    {STAGE_SHAPE, "crf", {{STAGE_SCORE, "concise"}}},
    {STAGE_CREDIT, "kl", {{STAGE_CREDIT, "last"}}},
    {STAGE_CREDIT, "return", {{STAGE_CREDIT, "last"}}},
    {STAGE_CREDIT, "gae", {{STAGE_CREDIT, "last"}}},
    {STAGE_ADVANTAGE, "tis", {{STAGE_ADVANTAGE, "group"}}},
    {STAGE_ADVANTAGE, "mask", {{STAGE_ADVANTAGE, "group"}}},
    {STAGE_ADVANTAGE, "difficulty", {{STAGE_ADVANTAGE, "group"}}},
    {STAGE_ADVANTAGE, "gdpo", {{STAGE_SCORE, "outcome"}, {STAGE_SCORE, "format"}}},
    {STAGE_ADVANTAGE, "vgpo", {{STAGE_SCORE, "process"}}},
    {STAGE_LOSS, "value", {{STAGE_CREDIT, "last"}, {STAGE_CREDIT, "gae"}}},
    {STAGE_LOSS, "steps", {{STAGE_SCORE, "process"}}},
    {STAGE_LOSS, "balance", {{STAGE_SHAPE, "dense"}}},
};

/* ---- the recipe of a pair ---- */

struct chain {
    const struct stage *stage[STAGE_KINDS][8];
    int n[STAGE_KINDS];
};

static int has(const struct chain *c, const struct stage *s)
{
    for (int i = 0; i < c->n[s->kind]; i++)
        if (c->stage[s->kind][i] == s)
            return 1;
    return 0;
}

static void add_named(struct chain *c, enum stage_kind kind, const char *name);

/* A stage of the same kind already gives what this one would, from nothing: another shape, credit or normaliser. */
static int is_given(const struct chain *c, const struct stage *s)
{
    unsigned gives = s->writes & ~s->reads & (FIELD_REWARD | FIELD_TOKEN_REWARD | FIELD_ADVANTAGE);
    for (int i = 0; gives && i < c->n[s->kind]; i++)
        if ((c->stage[s->kind][i]->writes & ~c->stage[s->kind][i]->reads & gives) == gives)
            return 1;
    return 0;
}

/* s behind what it needs; a stage of the pair is added even if it stands there already. */
static void add(struct chain *c, const struct stage *s, int always)
{
    if (has(c, s) && !always)
        return;
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        for (int k = 0; k < 2 && table[i].kind == s->kind && !strcmp(table[i].name, s->name); k++)
            if (table[i].needs[k].name)
                add_named(c, table[i].needs[k].kind, table[i].needs[k].name);
    assert_true(c->n[s->kind] < 8);
    c->stage[s->kind][c->n[s->kind]++] = s;
}

static void add_named(struct chain *c, enum stage_kind kind, const char *name)
{
    const struct stage *s = stage_find(kind, name);
    if (!s)
        fail_msg("no %s stage '%s'", stage_kind_names[kind], name);
    if (!is_given(c, s))
        add(c, s, 0);
}

static unsigned fields(const struct chain *c, int written)
{
    unsigned f = 0;
    for (int k = 0; k < STAGE_KINDS; k++)
        for (int i = 0; i < c->n[k]; i++)
            f |= written ? c->stage[k][i]->writes : c->stage[k][i]->reads;
    return f;
}

/* Fields that some stage writes for others and no later one reads. */
static unsigned unread(const struct chain *c)
{
    unsigned open = 0;
    for (int k = 0; k < STAGE_KINDS; k++)
        for (int i = 0; i < c->n[k]; i++)
            open = (open & ~c->stage[k][i]->reads) | c->stage[k][i]->writes;
    return open & (FIELD_ADVANTAGE | FIELD_REWARD | FIELD_TOKEN_REWARD | FIELD_COMPONENTS);
}

/* The plain stages that close the chain: every number that is read is written, and the other way round. */
static void complete(struct chain *c)
{
    if (c->n[STAGE_LOSS] == 0 || unread(c))
        add_named(c, STAGE_LOSS, "clip");
    if (fields(c, 0) & FIELD_ADVANTAGE)
        add_named(c, STAGE_ADVANTAGE, "group");
    if (((fields(c, 0) & (FIELD_REWARD | FIELD_TOKEN_REWARD)) || unread(c)) && c->n[STAGE_SHAPE] == 0)
        add_named(c, STAGE_SHAPE, "sum");
    if ((fields(c, 0) & ~fields(c, 1)) & FIELD_COMPONENTS)
        add_named(c, STAGE_SCORE, "outcome");
}

/* The model and the head of a channel "critic.value", or "$model.score" with the default of the parameter; 0: of the
 * policy, or read only with another value of a parameter. */
static int model_of(const struct stage *s, int k, char model[32], const char **head)
{
    const char *channel = s->channels[k];
    if (!strncmp(channel, "policy", 6) || strstr(channel, " if "))
        return 0;
    snprintf(model, 32, "%.*s", (int)strcspn(channel, ".@"), channel);
    if (*model == '$')
        snprintf(model, 32, "%s", s->params[param_find(s->params, channel[1] ? model + 1 : "")].def);
    *head = strchr(channel, '.') + 1;
    return 1;
}

/* A model that judges is trained in a phase of its own. */
static int is_judge(const struct stage *s, int k)
{
    return s->channels[k] && s->channels[k][0] == '$' && !strstr(s->channels[k], " if ");
}

static void print_models(const struct chain *c, struct text *out)
{
    struct {
        char name[32];
        const char *head;
        int trained;
    } m[8];
    int n = 0;
    for (int k = 0; k < STAGE_KINDS; k++)
        for (int i = 0; i < c->n[k]; i++)
            for (int h = 0; h < 6 && c->stage[k][i]->channels[h]; h++) {
                int at = 0;
                if (!model_of(c->stage[k][i], h, m[n].name, &m[n].head))
                    continue;
                while (at < n && strcmp(m[at].name, m[n].name))
                    at++;
                m[at].trained =
                    (at < n && m[at].trained) || (c->stage[k][i]->gradients >> h & 1) || is_judge(c->stage[k][i], h);
                n += at == n;
            }
    text_add(out, "[models]\n", -1);
    for (int i = 0; i < n; i++)
        text_addf(out, "%s = init%s%s\n", m[i].name,
                  !strcmp(m[i].head, "step")   ? " head=step"
                  : !strcmp(m[i].head, "logp") ? ""
                                               : " head=scalar",
                  m[i].trained ? "" : " frozen");
}

static void print_recipe(const struct chain *c, struct text *out)
{
    text_clear(out);
    text_add(out,
             "# a pair\n[task]\nname = chain\n[model]\npreset = nano-llama\nwidth = 16\nheads = 2\nhidden = 16\n"
             "layers = 1\n[rollout]\nprompts = 3\nsamples = 3\nmax_new = 6\nmax_refills = 1\n[run]\nthreads = 1\n",
             -1);
    print_models(c, out);
    int judges = 0;
    for (int i = 0; i < c->n[STAGE_SCORE]; i++)
        judges |= is_judge(c->stage[STAGE_SCORE][i], 0);
    if (judges)
        text_add(out,
                 "[phase judge]\ntrain = rm\nsource = rollout\nsteps = 1\nscore = outcome\nshape = sum\nloss = bt\n",
                 -1);
    text_add(out, "[phase rl]\nsource = rollout\nsteps = 1\n", -1);
    for (int k = 0; k < STAGE_KINDS; k++)
        for (int i = 0; i < c->n[k]; i++)
            text_addf(out, "%s%s%s%s", i ? ", " : stage_kind_names[k], i ? "" : " = ", c->stage[k][i]->name,
                      i == c->n[k] - 1 ? "\n" : "");
    for (int i = 0; i < c->n[STAGE_LOSS]; i++) {
        char model[32];
        const char *head;
        if (is_judge(c->stage[STAGE_LOSS][i], 0) && model_of(c->stage[STAGE_LOSS][i], 0, model, &head)) {
            text_addf(out, "train = %s\n", model);
            break;
        }
    }
}

/* ---- one step of it ---- */

/* A number of 0 .. n-1 that follows from bytes. */
static int from_bytes(const char *s, int len, int n)
{
    return (int)(hash_bytes(s, len, 7) % (uint64_t)n);
}

static void any_check(const struct task *t, const struct item *it, const char *s, int len, enum verdict *strict,
                      enum verdict *lenient)
{
    (void)t, (void)it;
    *strict = (enum verdict)(from_bytes(s, len, 3) - 1);
    *lenient = *strict == VERDICT_RIGHT ? VERDICT_RIGHT : VERDICT_WRONG;
}

/* Steps of two bytes. */
static int any_steps(const struct task *t, const struct item *it, const char *s, int len, struct step *step, int max)
{
    (void)t, (void)it, (void)s;
    int n = 0;
    for (int at = 0; at < len && n < max; at += 2)
        step[n++] = (struct step){at, at + 2 < len ? at + 2 : len};
    return n;
}

static enum verdict any_step(const struct task *t, const struct item *it, const char *s, int len,
                             const struct step *step, int n, int k)
{
    (void)t, (void)it, (void)len, (void)n;
    return from_bytes(s + step[k].start, step[k].end - step[k].start, 2) ? VERDICT_RIGHT : VERDICT_WRONG;
}

static const struct task_row *chain_row;
static void any_make(const struct task *t, enum split split, uint64_t index, struct item *it)
{
    chain_row->make(t, split, index, it);
    text_clear(&it->extra);
    text_add(&it->extra, "dog, park", -1); /* what keywords looks for */
}

struct outcome {
    int steps, kept; /* kept: tokens that the policy learns from */
    double mismatch, loss, grad_norm, advantage, reward;
    uint64_t hash[1 + MAX_MODELS];
    const char *strange; /* what is not finite */
};

static void look(void *context, struct trainer *t, const struct sight *s)
{
    struct outcome *o = context;
    const struct batch *b = &t->batch;
    if (strcmp(s->phase->name, "rl"))
        return;
    if (s->moment == AFTER_BACKWARD)
        for (int c = 0; c < b->channels; c++)
            for (int k = 0; b->channel[c].grad && k < b->tokens; k++)
                if (!isfinite(b->channel[c].grad[k]))
                    o->strange = b->channel[c].name;
    if (s->moment != AFTER_STEP)
        return;
    o->steps++;
    o->mismatch = metric_value(&t->metrics, "logp_mismatch_max", -1);
    o->loss = metric_value(&t->metrics, "loss", NAN);
    o->grad_norm = metric_value(&t->metrics, "grad_norm", NAN);
    for (int i = 0; i < t->metrics.n; i++)
        if (!isfinite(t->metrics.metric[i].sum) || !isfinite(t->metrics.metric[i].count))
            o->strange = "a metric";
    for (int i = 0; i < b->samples; i++)
        for (int k = b->sample_first[i]; b->kept[i] && k < b->sample_first[i + 1]; k++) {
            o->kept += strcmp(s->phase->train, "policy") == 0;
            o->advantage += fabs(b->advantage[k]);
            o->reward += fabs(b->reward[i]);
        }
    if (!isfinite(o->advantage) || !isfinite(o->reward))
        o->strange = "a reward or an advantage";
}

static char path[64];
static struct trainer trainer; /* large */

/* 0, or -1 and *e: refused before anything was trained. What goes wrong later fails the test. */
static int train(const char *text, const char *micro, struct outcome *o, struct error *e)
{
    struct trainer *t = &trainer;
    const char *const words[] = {micro};
    *o = (struct outcome){0};
    if (trainer_open(t, path, words, 1, e)) {
        trainer_close(t);
        return -1;
    }
    struct task_row row = *t->s.task.row;
    chain_row = t->s.task.row;
    row.make = any_make;
    row.check = any_check;
    row.steps = any_steps;
    row.check_step = any_step;
    t->s.task.row = &row;
    t->watch = look;
    t->watch_context = o;
    fflush(stderr);
    int shown = dup(2), nowhere = open("/dev/null", O_WRONLY), bad; /* a line of progress a pair */
    dup2(nowhere, 2);
    bad = run_phases(t, e);
    dup2(shown, 2);
    close(shown);
    close(nowhere);
    if (bad)
        fail_msg("%s\n%s", e->text, text);
    o->hash[0] = model_hash(&t->s.policy);
    for (int i = 0; i < t->s.recipe.model_count; i++)
        o->hash[1 + i] = model_hash(&t->model[i]);
    t->s.task.row = chain_row;
    trainer_close(t);
    return 0;
}

/* 1: trained; 0: refused. cut_too: a second time with micro-batches of one group. */
static int try_chain(struct chain *c, int cut_too, struct text *text, struct error *e)
{
    struct outcome whole, cut;
    complete(c);
    print_recipe(c, text);
    if (file_write(path, text->s, (size_t)text->len, e))
        fail_msg("%s", e->text);
    if (train(text->s, "run.micro=0", &whole, e)) {
        if (!strchr(e->text, ' ') || strlen(e->text) < 40)
            fail_msg("no sentence: %s\n%s", e->text, text->s);
        return 0;
    }
    if (whole.strange || whole.steps != 1 || whole.mismatch != (whole.kept ? 0 : -1))
        fail_msg("%s is not finite, or %d steps, or a mismatch of %g\n%s", whole.strange ? whole.strange : "nothing",
                 whole.steps, whole.mismatch, text->s);
    if (!cut_too)
        return 1;
    if (train(text->s, "run.micro=1", &cut, e))
        fail_msg("%s\n%s", e->text, text->s);
    if (memcmp(whole.hash, cut.hash, sizeof cut.hash) || whole.loss != cut.loss || whole.grad_norm != cut.grad_norm)
        fail_msg("the micro-batches matter: loss %.17g and %.17g\n%s", whole.loss, cut.loss, text->s);
    return 1;
}

static int partners[200]; /* of each stage, in recipes that were trained */

/* Pairs whose first stage is of kinds first..last; the order matters within a kind only. */
static void try_pairs(enum stage_kind first, enum stage_kind last)
{
    struct text text = {0};
    int trained = 0, refused = 0;
    for (int i = 0; stages[i]; i++)
        for (int k = 0; stages[k]; k++) {
            struct chain c = {0};
            struct error e = {""};
            if (stages[i]->kind < first || stages[i]->kind > last || stages[k]->kind < stages[i]->kind)
                continue;
            add(&c, stages[i], 1);
            add(&c, stages[k], i == k);
            int good = try_chain(&c, stages[k]->kind >= STAGE_LOSS, &text, &e);
            if (i == k && (good || !strstr(e.text, "stands twice")))
                fail_msg("twice the same: %s\n%s", e.text, text.s);
            partners[i] += good;
            partners[k] += good;
            trained += good;
            refused += !good;
        }
    print_message("%d pairs trained, %d refused\n", trained, refused);
    text_free(&text);
}

static void pairs_of_scores(void **state)
{
    (void)state;
    try_pairs(STAGE_SCORE, STAGE_SCORE);
}
static void pairs_of_shapes(void **state)
{
    (void)state;
    try_pairs(STAGE_SHAPE, STAGE_SHAPE);
}
static void pairs_of_selections_and_credits(void **state)
{
    (void)state;
    try_pairs(STAGE_SELECT, STAGE_CREDIT);
}
static void pairs_of_advantages(void **state)
{
    (void)state;
    try_pairs(STAGE_ADVANTAGE, STAGE_ADVANTAGE);
}
static void pairs_of_losses(void **state)
{
    (void)state;
    try_pairs(STAGE_LOSS, STAGE_REGULAR);
}

/* The last test: nothing in the table is missing. */
static void every_stage_goes_with_several(void **state)
{
    (void)state;
    for (int i = 0; stages[i]; i++)
        if (partners[i] < 5)
            fail_msg("the %s stage %s was trained with %d others only: does the table lack something?",
                     stage_kind_names[stages[i]->kind], stages[i]->name, partners[i]);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/test_pairs.%ld.ini", (long)getpid());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_scores),
        cmocka_unit_test(pairs_of_shapes),
        cmocka_unit_test(pairs_of_selections_and_credits),
        cmocka_unit_test(pairs_of_advantages),
        cmocka_unit_test(pairs_of_losses),
        cmocka_unit_test(every_stage_goes_with_several),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
