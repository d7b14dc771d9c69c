/* Parity with PyTorch: small models of every family, what they compute, their gradients, and ten optimiser steps of
 * supervised training and of GRPO on fixed rollouts, against test/ref/parity, which dev/reference/parity.py computed in
 * double precision with its own formulas and torch.optim.AdamW. Every number goes through the trainer's own functions,
 * so train_rl.c is included here: recipe, denominators, micro-batches, stages, rate, clipping. Not here: sampling.
 *
 * A case is a directory of test/ref/parity and a line of cases[]; each runs on the fast table and on the reference one.
 *
 * What the optimiser is held to, and where PyTorch's usual calls differ:
 * - AdamW as torch.optim.AdamW: epsilon is added to the root of the corrected second moment, and the decay is the rate
 *   times the weight before the step, which is the same as (1 - lr * decay) w.
 * - Decay on matrices and embeddings only, never on biases and norms (two parameter groups there).
 * - Clipping multiplies by clip / norm where the norm of all gradients together is above clip. clip_grad_norm_ divides
 * by norm + 1e-6: the generator prints what that changes.
 */
#define main train_rl_main
#include "../train_rl.c"
#undef main
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include "../model/base/mem.h"
#include "../model/checkpoint_inner.h"
#include "../model/safetensors.h"
/* last: it needs the headers above, and its macro fail() would change ours */
#include <cmocka.h>

/* Largest differences allowed. The reference computes in double and is given a thousand units in the last place of the
 * tensor's largest value. The fast table is held against PyTorch itself: behind each tensor of the file stands by how
 * much the same formulas and optimiser miss it in single precision from weights off by a unit in the last place, the
 * price of single precision for just this sum, however its parts cancel. Our sums run in order, PyTorch's in shorter
 * chains, so four times that are allowed, and four units in the last place of the largest value.
 *
 * The optimiser's keys are single precision in both tables (struct adamw): rate, epsilon, both corrections, both betas
 * and the clipping factor are off by 2^-25 to 2^-24 each, together by no more than 2^-22 of a step, and a step is at
 * most about the rate. */
struct table {
    const char *name;
    const struct ops *ops;
    double near, yardstick, keys;
};
static const struct table tables[] = {{"cpu", &cpu_ops, 0x1p-22, 4, 0}, {"ref", &ref_ops, 0x1p-43, 0, 0x1p-22}};

struct parity {
    const char *name;
    const struct table *table;
};

static struct trainer trainer; /* large */
static struct safetensors expected;
static double pool[1 << 16]; /* tensors that were read, until the next phase */
static int pooled;

/* ---- expected values ---- */

static double *expect(const char *phase, const char *what, const char *of, int64_t *count)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s%s", phase, what, of);
    const struct st_tensor *t = safetensors_find(&expected, name);
    if (!t || pooled + t->count > (int64_t)(sizeof pool / sizeof *pool))
        fail_msg("%s: %s", name, t ? "no room" : "not in the file");
    double *x = pool + pooled;
    st_read(t, 0, t->count, x);
    pooled += (int)t->count;
    if (count)
        *count = t->count;
    return x;
}

struct result {
    const double *x;
    int64_t n;
    double apart; /* of PyTorch in single precision: the largest difference */
};

static struct result expect_result(const char *phase, const char *what, const char *of)
{
    struct result r;
    r.x = expect(phase, what, of, &r.n);
    r.apart = r.x[--r.n];
    return r;
}

/* ---- comparisons; the worst one of a case is printed as a share of its bound ---- */

static double worst;
static char worst_name[160];

static void compare(double got, double want, double bound, const char *what, const char *of, long i)
{
    double share = got == want ? 0 : fabs(got - want) / bound;
    if (!(share <= 1))
        fail_msg("%s%s[%ld] is %.17g, PyTorch has %.17g: apart by %.3g, allowed %.3g", what, of, i, got, want,
                 fabs(got - want), bound);
    if (share > worst) {
        worst = share;
        snprintf(worst_name, sizeof worst_name, "%s%s[%ld]", what, of, i);
    }
}

static double largest(const double *x, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

static double bound_of(const struct result *r, const struct table *side)
{
    return side->near * largest(r->x, r->n) + side->yardstick * r->apart;
}

static void compare_all(const double *got, int64_t n, const struct result *r, const struct table *side,
                        const char *what, const char *of)
{
    double bound = bound_of(r, side);
    assert_int_equal(n, r->n);
    for (int64_t i = 0; i < n; i++)
        compare(got[i], r->x[i], bound, what, of, (long)i);
}

/* ---- opening a case ---- */

/* The trainer always opens the fast table. Put everything it computes with onto another one. */
static void move_to(struct trainer *t, const struct ops *ops, const char *model)
{
    struct error e;
    struct session *s = &t->s;
    struct worker *w = t->worker; /* the only one: the case has one thread */
    int rows = t->micro_rows, store = w->tape.store, segments = w->layout.max_segments, groups = w->layout.max_groups;
    int support = w->layout.max_support;
    sampler_free(&t->sampler);
    layout_free(&w->layout);
    tape_free(&w->tape);
    tape_free(&w->frozen_tape);
    model_free(&s->policy);
    model_free(&t->model[0]);
    device_close(&s->device);
    assert_int_equal(device_open(&s->device, ops, 1, &e), 0);
    assert_int_equal(model_create(&s->policy, &s->arch, 0, &s->device, 1, &e), 0);
    assert_int_equal(checkpoint_load(&s->policy, model, &e), 0);
    assert_int_equal(model_create(&t->model[0], &s->arch, 0, &s->device, 0, &e), 0);
    tape_plan(&w->tape, &s->arch, &s->device, rows, rows, store, KEEP_ALL);
    tape_plan(&w->frozen_tape, &s->arch, &s->device, rows, rows, store, KEEP_NOTHING);
    tape_commit(&w->tape);
    tape_commit(&w->frozen_tape);
    layout_create(&w->layout, &s->device, s->arch.V, rows, segments, groups, rows, support);
}

static void open_parity(const struct parity *c)
{
    struct error e;
    char path[192], model[128], override[160];
    snprintf(model, sizeof model, "test/ref/parity/%s", c->name);
    snprintf(override, sizeof override, "model.path=%s", model);
    snprintf(path, sizeof path, "%s/recipe.ini", model);
    const char *overrides[] = {override, "run.threads=1", "rollout.slots=1"};
    if (trainer_open(&trainer, path, overrides, 3, &e))
        fail_msg("%s", e.text);
    snprintf(path, sizeof path, "%s/expected.safetensors", model);
    if (safetensors_open(&expected, path, &e))
        fail_msg("%s", e.text);
    if (c->table->ops != trainer.s.device.ops)
        move_to(&trainer, c->table->ops, model);
    worst = 0;
}

static void close_parity(void)
{
    safetensors_close(&expected);
    trainer_close(&trainer);
}

/* ---- the batch, as rollouts or gold texts would have left it ---- */

static void fill_group(struct batch *b, const char *phase, int g, int samples)
{
    const double *len = expect(phase, "len", "", NULL), *kept = expect(phase, "kept", "", NULL),
                 *weight = expect(phase, "weight", "", NULL), *reward = expect(phase, "reward", "", NULL),
                 *temperature = expect(phase, "temperature", "", NULL);
    for (int k = 0; k < samples; k++) {
        int i = b->samples++;
        b->kept[i] = kept[i] != 0;
        b->weight[i] = weight[i];
        b->reward[i] = reward[i];
        b->temperature[i] = temperature[i];
        b->tokens += (int)len[i];
        b->sample_first[i + 1] = b->tokens;
        b->step_first[i + 1] = 0;
    }
    b->group_first[g + 1] = b->samples;
}

static void fill_parity(struct batch *b, const char *phase)
{
    int64_t groups;
    pooled = 0;
    batch_clear(b);
    const double *samples = expect(phase, "group_samples", "", &groups), *n = expect(phase, "prompt_len", "", NULL),
                 *prompt = expect(phase, "prompt", "", NULL);
    for (int g = 0; g < groups; g++) {
        for (int k = 0; k < (int)n[g]; k++, b->prompt_tokens++)
            b->prompt_id[b->prompt_tokens] = (int32_t)prompt[b->prompt_tokens];
        b->prompt_first[g + 1] = b->prompt_tokens;
        b->prompt_key[g] = (uint64_t)g;
        fill_group(b, phase, g, (int)samples[g]);
    }
    b->groups = (int)groups;
    int64_t width;
    const double *id = expect(phase, "id", "", NULL), *trained = expect(phase, "trained", "", NULL),
                 *old = expect(phase, "logp_old", "", NULL), *supports = expect(phase, "supports", "", NULL),
                 *support = expect(phase, "support", "", &width);
    assert_int_equal(width, (int64_t)b->tokens * b->max_support);
    for (int k = 0; k < b->tokens; k++) {
        b->id[k] = (int32_t)id[k];
        b->trained[k] = trained[k] != 0;
        b->turn[k] = 0;
        b->logp_old[k] = old[k];
        b->supports[k] = (int32_t)supports[k];
    }
    for (int k = 0; k < width; k++)
        b->support[k] = (int32_t)support[k];
    pooled = 0;
}

static void refill(struct trainer *t, const struct phase *ph)
{
    struct error e;
    fill_parity(&t->batch, ph->name);
    t->metrics.n = 0;
    if (run_stages(t, ph, STAGE_CREDIT, STAGE_ADVANTAGE, 0, t->batch.groups, NULL, NULL, &e))
        fail_msg("%s", e.text);
}

/* ---- what one batch gives under the weights of the file ---- */

static void compare_logits(struct trainer *t, const struct phase *ph, const struct table *side)
{
    static double logits[1 << 14];
    struct result want = expect_result(ph->name, "logits", "");
    struct worker *w = t->worker;
    micro_fill(t, w, 0, t->batch.groups, VIEW_WHOLE);
    int64_t n = (int64_t)w->micro.entries * t->s.arch.V;
    assert_true(n <= (int64_t)(sizeof logits / sizeof *logits));
    model_forward(&t->s.policy, &w->tape, &w->layout.rows, w->tape.kv, 0, w->tape.store);
    model_logits(&t->s.policy, &w->tape, &w->layout, logits);
    compare_all(logits, n, &want, side, "logits", "");
    pooled = 0;
}

/* A channel of the policy against the expected values of trained tokens of kept samples. */
static void compare_channel(const struct trainer *t, const struct phase *ph, const char *head, const struct table *side)
{
    static double got[4096];
    int count = 0;
    const struct batch *b = &t->batch;
    struct result want = expect_result(ph->name, head, "");
    const double *value = trainer_values(t, "policy", head);
    for (int i = 0; i < b->samples; i++)
        for (int k = b->sample_first[i]; k < b->sample_first[i + 1]; k++)
            if (b->kept[i] && b->trained[k] && count < 4096)
                got[count++] = value[k];
    compare_all(got, count, &want, side, head, "");
    pooled = 0;
}

/* Rows of the file's tensor as our model holds them, in the file's order. */
static void read_part(const struct model *m, const struct part *p, int which, double *to)
{
    static double rows[1 << 12];
    assert_true(p->rows * p->K <= (int)(sizeof rows / sizeof *rows));
    model_read(m, p->tensor, which, p->row, p->rows, p->flipped ? rows : to);
    for (int n = 0; p->flipped && n < p->rows; n++)
        for (int k = 0; k < p->K; k++)
            to[k * p->rows + n] = rows[n * p->K + k];
}

static struct part *file_parts(const struct model *m, int *parts)
{
    struct error e;
    enum family f;
    if (family_of(&m->arch, &f, &e))
        fail_msg("%s", e.text);
    return parts_of(m, f, family_prefix(f), parts);
}

static void compare_gradient(const struct model *m, const char *phase, const struct table *side)
{
    static double got[1 << 12];
    int parts;
    struct part *part = file_parts(m, &parts);
    for (int i = 0; i < parts; i++) {
        struct result want = expect_result(phase, "grad.", part[i].name);
        read_part(m, &part[i], 1, got);
        compare_all(got, (int64_t)part[i].rows * part[i].K, &want, side, "gradient of ", part[i].name);
        pooled = 0;
    }
    mem_free(part);
}

/* A number of step i. What the keys are off makes the steps longer or shorter by their share, so that a number comes as
 * much too early or late. */
static void compare_metric(const struct trainer *t, const struct phase *ph, const char *ours, const char *theirs,
                           long i, const struct table *side)
{
    struct result want = expect_result(ph->name, theirs, "");
    double pace = 0, got = metric_value(&t->metrics, ours, NAN);
    assert_true(i < want.n);
    for (long k = 1; k < want.n; k++)
        pace = fmax(pace, fabs(want.x[k] - want.x[k - 1]));
    double bound = side->near * fmax(1, fabs(want.x[i])) + side->yardstick * want.apart;
    compare(got, want.x[i], bound + side->keys * (double)(i + 1) * pace, ours, " of step ", i);
    pooled = 0;
}

/* A step of rate 0 changes no weight and leaves channels, loss, norm and gradient. */
static void compare_first(struct trainer *t, const struct phase *ph, const struct table *side)
{
    struct error e;
    refill(t, ph);
    uint64_t before = model_hash(&t->s.policy);
    if (optimiser_step(t, ph, 0, t->batch.groups, 0, 0, &e))
        fail_msg("%s", e.text);
    assert_true(model_hash(&t->s.policy) == before);
    compare_channel(t, ph, "logp", side);
    compare_channel(t, ph, "entropy", side);
    compare_metric(t, ph, "loss", "first_loss", 0, side);
    compare_metric(t, ph, "grad_norm", "first_norm", 0, side);
    if (ph->source == SOURCE_GOLD)
        compare_logits(t, ph, side);
    else
        compare_gradient(&t->s.policy, ph->name, side);
    model_reset_optimiser(&t->s.policy);
}

/* ---- ten optimiser steps ---- */

/* How far training moved the weights; the frozen model still has those of the file. */
static void compare_weights(const struct trainer *t, const struct phase *ph, const struct table *side, double rates)
{
    static double got[1 << 12], began[1 << 12];
    int parts;
    struct part *part = file_parts(&t->s.policy, &parts);
    for (int i = 0; i < parts; i++) {
        struct result want = expect_result(ph->name, "moved.", part[i].name);
        double bound = bound_of(&want, side) + side->keys * rates;
        read_part(&t->s.policy, &part[i], 0, got);
        read_part(&t->model[0], &part[i], 0, began);
        assert_int_equal((int64_t)part[i].rows * part[i].K, want.n);
        for (int64_t k = 0; k < want.n; k++) /* the file has 24 bits of it */
            compare(got[k] - began[k], want.x[k], bound + 0x1p-24 * fabs(want.x[k]), "way of ", part[i].name, (long)k);
        pooled = 0;
    }
    mem_free(part);
}

static void compare_training(struct trainer *t, const struct phase *ph, const struct table *side)
{
    struct error e;
    double rates = 0;
    int steps = ph->optim.epochs * ph->optim.minibatches;
    for (long i = 0; i < ph->steps; i++) {
        double lr = learning_rate(ph, i), want = expect_result(ph->name, "step.lr", "").x[i];
        compare(lr, want, 1e-15 * want, "rate of step ", "", i);
        refill(t, ph);
        if (update(t, ph, lr, &e))
            fail_msg("%s", e.text);
        rates += lr * steps;
        compare_metric(t, ph, "loss", "step.loss", i, side);
        compare_metric(t, ph, "grad_norm", "step.norm", i, side);
        if (ph->source != SOURCE_ROLLOUT)
            continue;
        compare_metric(t, ph, "kl", "step.kl", i, side);
        compare_metric(t, ph, "entropy", "step.entropy", i, side);
        compare_metric(t, ph, "clip_share", "step.clip_share", i, side);
    }
    assert_int_equal(t->s.policy.steps, ph->steps * steps);
    compare_weights(t, ph, side, rates);
}

static void equals_pytorch(void **state)
{
    const struct parity *c = *state;
    struct trainer *t = &trainer;
    struct error e;
    open_parity(c);
    assert_int_equal(t->s.recipe.phases, 2);
    for (int p = 0; p < 2; p++) {
        struct phase *ph = &t->s.recipe.phase[p];
        if (checkpoint_load(&t->s.policy, t->s.recipe.model.path, &e)) /* both begin with the weights of the file */
            fail_msg("%s", e.text);
        model_reset_optimiser(&t->s.policy);
        bind_channels(t, ph);
        begin_rollouts(t);
        compare_first(t, ph, c->table);
        compare_training(t, ph, c->table);
    }
    print_message("%s, %s: worst is %.2f of its bound, %s\n", c->name, c->table->name, worst, worst_name);
    close_parity();
}

#define CASE(name, table)                                                                                              \
    {                                                                                                                  \
        name " " #table, equals_pytorch, NULL, NULL, &(struct parity)                                                  \
        {                                                                                                              \
            name, &tables[table]                                                                                       \
        }                                                                                                              \
    }

enum { CPU, REF };

int main(void)
{
    const struct CMUnitTest tests[] = {CASE("gpt2", CPU),   CASE("llama", CPU), CASE("qwen2", CPU), CASE("qwen3", CPU),
                                       CASE("llama3", CPU), CASE("gpt2", REF),  CASE("llama", REF), CASE("qwen2", REF),
                                       CASE("qwen3", REF),  CASE("llama3", REF)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
