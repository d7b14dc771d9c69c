/* Sampler and trainer are one arithmetic: what sampling records is bit for bit what the training forward computes, for
 * any number of slots and threads, and a difference in weights or temperature shows. Trained models from outside give
 * the numbers published with them.
 */
#include "../model/base/json.h"
#include "../model/checkpoint.h"
#include "../model/safetensors.h"
#include "model_batch.h" /* last: cmocka has a macro fail */

static const struct arch llama = {.V = 53,
                                  .context = 160,
                                  .C = 48,
                                  .layers = 2,
                                  .H = 4,
                                  .G = 2,
                                  .D = 12,
                                  .F = 80,
                                  .norm = NORM_RMS,
                                  .position = POSITION_ROTARY,
                                  .mlp = MLP_SWIGLU,
                                  .tied = 1,
                                  .qk_norm = 1,
                                  .norm_eps = 1e-5f,
                                  .rope_theta = 10000};
static const struct arch gpt2 = {.V = 53,
                                 .context = 160,
                                 .C = 40,
                                 .layers = 2,
                                 .H = 4,
                                 .G = 4,
                                 .D = 10,
                                 .F = 96,
                                 .norm = NORM_LAYER,
                                 .position = POSITION_LEARNED,
                                 .mlp = MLP_GELU,
                                 .qkv_bias = 1,
                                 .out_bias = 1,
                                 .mlp_bias = 1,
                                 .norm_eps = 1e-5f};

/* ---- asking for answers ---- */

enum { ASKED = 7, ANSWERS = 24, KEPT = 9 };
struct asked { /* requests of different lengths, some for nothing, and room for what comes back */
    struct request q[ASKED];
    int32_t prompt[ASKED][PROMPT];
    struct response out[ANSWERS];
    int32_t ids[ANSWERS][ANSWER], support[ANSWERS][ANSWER * KEPT], supports[ANSWERS][ANSWER];
    double logp[ANSWERS][ANSWER], entropy[ANSWERS][ANSWER];
    int answers;
};

static void ask(struct asked *a, int V)
{
    static const int samples[ASKED] = {0, 3, 1, 0, 9, 2, 5}, len[ASKED] = {3, 17, 1, 5, 48, 16, 33},
                     max_new[ASKED] = {5, 40, 1, 3, 17, 90, 16};
    memset(a, 0, sizeof *a);
    for (int i = 0; i < ASKED; i++) {
        a->q[i] = (struct request){a->prompt[i], len[i], samples[i], max_new[i], 4, 100 + (uint64_t)i, (uint32_t)i};
        for (int t = 0; t < len[i]; t++)
            a->prompt[i][t] = rng_below(rng_stream(1, RNG_TEST, 0, (uint64_t)i, 0), (uint64_t)t, V);
        a->answers += samples[i];
    }
    for (int i = 0; i < a->answers; i++)
        a->out[i] = (struct response){a->ids[i], a->logp[i], a->entropy[i], a->support[i], a->supports[i], 0, 0};
}

static void assert_sampler(const struct sampler *s)
{
    for (int i = 0; i < s->workers; i++)
        assert_sampler(&s->worker[i]);
    if (s->workers)
        return;
    assert_guards(&s->arena);
    assert_guards(&s->tape.arena);
    assert_guards(&s->layout.arena);
}

static void answer(struct rig *r, struct asked *a, const struct sampling *how, int slots, int32_t end)
{
    struct sampler s;
    struct error e = {{0}};
    sampler_plan(&s, &r->model.arch, &r->dev, slots, PROMPT, 90, how->max_support);
    sampler_commit(&s);
    ask(a, r->model.arch.V);
    if (sampler_run(&s, &r->model, a->q, ASKED, how, 77, RNG_SAMPLE, &end, end >= 0, a->out, &e))
        fail_msg("%s", e.text);
    long tokens = 0;
    for (int i = 0; i < a->answers; i++)
        tokens += a->out[i].len;
    assert_int_equal(s.tokens, tokens);
    assert_sampler(&s);
    sampler_free(&s);
}

/* The training forward of the same tokens: log-probabilities and entropies in the order of answers. */
static int train_forward(struct rig *r, const struct asked *a, double temperature, int supports, double *logp,
                         double *entropy)
{
    static int32_t ids[ROWS], row[ROWS], target[ROWS], support[ROWS * KEPT], kept[ROWS];
    static double temperatures[ROWS];
    static struct segment seg[ASKED + ANSWERS];
    int group[ASKED + 1] = {0}, entries[ASKED + 1] = {0}, groups = 0, rows = 0, segments = 0, R = 0, at = 0;
    for (int i = 0; i < ASKED; i++) {
        const struct request *q = &a->q[i];
        if (!q->samples)
            continue;
        int prompt = segments;
        seg[segments++] = (struct segment){-1, rows, q->prompt_len};
        memcpy(ids + rows, q->prompt, (size_t)q->prompt_len * sizeof *ids);
        rows += q->prompt_len;
        int last = rows - 1;
        for (int s = 0; s < q->samples; s++, at++) {
            const struct response *o = &a->out[at];
            seg[segments++] = (struct segment){prompt, rows, o->len};
            for (int t = 0; t < o->len; t++, R++) {
                ids[rows + t] = target[R] = o->ids[t];
                row[R] = t ? rows + t - 1 : last;
                temperatures[R] = temperature;
                kept[R] = supports ? o->supports[t] : 0;
                if (supports)
                    memcpy(support + (size_t)R * KEPT, o->support + (size_t)t * KEPT, KEPT * sizeof *support);
            }
            rows += o->len;
        }
        group[++groups] = segments;
        entries[groups] = R;
    }
    struct layout l;
    struct tape t;
    layout_create(&l, &r->dev, r->model.arch.V, rows, segments, groups, R, supports ? KEPT : 0);
    layout_set(&l, ids, seg, group, groups);
    layout_entries(&l, R, row, target, temperatures, supports ? support : NULL, supports ? kept : NULL, entries,
                   groups);
    tape_plan(&t, &r->model.arch, &r->dev, rows, R, l.store, KEEP_ALL);
    tape_commit(&t);
    model_forward(&r->model, &t, &l.rows, t.kv, 0, l.store);
    model_head(&r->model, &t, &l, logp, entropy);
    assert_guards(&t.arena);
    assert_guards(&l.arena);
    tape_free(&t);
    layout_free(&l);
    return R;
}

/* How many of the trainer's numbers differ from the sampler's in any bit. */
static int mismatches(struct rig *r, const struct asked *a, double temperature, int supports)
{
    static double logp[ROWS], entropy[ROWS];
    int R = train_forward(r, a, temperature, supports, logp, entropy), n = 0, at = 0;
    for (int i = 0; i < a->answers; i++)
        for (int t = 0; t < a->out[i].len; t++, at++)
            n += memcmp(&logp[at], &a->logp[i][t], sizeof *logp) != 0 ||
                 memcmp(&entropy[at], &a->entropy[i][t], sizeof *entropy) != 0;
    assert_int_equal(at, R);
    return n;
}

static const struct sampling ways[] = {
    {1, 0, 1, 0, 0},    {0.7f, 0, 1, 0, 0},       {1.5f, 0, 1, 0, 0},        {0, 0, 1, 0, 0},
    {1, 5, 1, 0, KEPT}, {0.8f, 0, 0.9f, 0, KEPT}, {1.25f, 0, 1, 0.1f, KEPT}, {0.6f, 7, 0.95f, 0.02f, KEPT},
    {1, 0, 1, 0, KEPT}, {1, 1, 1, 0, KEPT},
};
enum { WAYS = sizeof ways / sizeof *ways };

static double trainer_temperature(const struct sampling *how)
{
    return how->temperature > 0 ? (double)how->temperature : 1;
}

static void sampler_is_trainer(void **state)
{
    (void)state;
    static struct asked a;
    static const int slots[] = {1, 4, 64};
    const struct arch lora_llama = with_adapters(llama, 5, ALL_OF_LLAMA),
                      lora_gpt2 = with_adapters(gpt2, 8, ALL_OF_GPT2);
    const struct arch *arch[] = {&llama, &gpt2, &lora_llama, &lora_gpt2};
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < WAYS; i++)
            for (int n = 0; n < 3; n++) {
                struct rig r;
                rig_open(&r, &cpu_ops, arch[k], 1 + n % 2, 16);
                answer(&r, &a, &ways[i], slots[n], 3);
                int wrong = mismatches(&r, &a, trainer_temperature(&ways[i]), ways[i].max_support);
                if (wrong)
                    fail_msg("model %d, sampling %d, %d slots: %d numbers differ", k, i, slots[n], wrong);
                rig_close(&r);
            }
}

static void a_difference_shows(void **state)
{
    (void)state;
    static struct asked a;
    for (int i = 0; i < WAYS; i++) {
        struct rig r;
        double x[64];
        int tensor = 0;
        rig_open(&r, &cpu_ops, &llama, 1, 16);
        answer(&r, &a, &ways[i], 4, 3);
        if (ways[i].top_k != 1) /* with one id kept every number is zero, whatever the weights */
            assert_true(mismatches(&r, &a, trainer_temperature(&ways[i]) * 1.001, ways[i].max_support) > 0);
        while (!strstr(r.model.tensor[tensor].name, "h.0.qkv.w"))
            tensor++;
        model_read(&r.model, tensor, 0, 2, 1, x);
        x[7] += 0.001;
        model_write(&r.model, tensor, 0, 2, 1, x);
        if (ways[i].top_k != 1)
            assert_true(mismatches(&r, &a, trainer_temperature(&ways[i]), ways[i].max_support) > 0);
        rig_close(&r);
    }
}

static void slots_and_threads_change_nothing(void **state)
{
    (void)state;
    static struct asked first, other;
    static const struct {
        int slots, threads;
    } run[] = {{1, 1}, {2, 3}, {5, 2}, {64, 1}, {64, 3}};
    const struct arch lora = with_adapters(llama, 5, ALL_OF_LLAMA);
    for (int i = 0; i < WAYS; i++)
        for (unsigned n = 0; n < sizeof run / sizeof *run; n++) {
            struct rig r;
            struct asked *a = n ? &other : &first;
            rig_open(&r, &cpu_ops, i % 2 ? &lora : &llama, run[n].threads, 16);
            answer(&r, a, &ways[i], run[n].slots, 3);
            rig_close(&r);
            for (int k = 0; n && k < first.answers; k++) {
                assert_int_equal(first.out[k].len, other.out[k].len);
                assert_int_equal(first.out[k].truncated, other.out[k].truncated);
            }
            assert_memory_equal(first.ids, a->ids, sizeof first.ids);
            assert_memory_equal(first.logp, a->logp, sizeof first.logp);
            assert_memory_equal(first.entropy, a->entropy, sizeof first.entropy);
            assert_memory_equal(first.supports, a->supports, sizeof first.supports);
        }
}

/* A small model's threads sample apart: a single prompt's samples are shared out, and come out as from one thread. */
static void one_prompt_is_shared_out(void **state)
{
    (void)state;
    static struct asked one, many;
    enum { ALONE = 4, SLOTS = 17 }; /* the request with most samples */
    for (int threads = 1; threads <= 2; threads++) {
        struct asked *a = threads == 1 ? &one : &many;
        struct rig r;
        struct sampler s;
        struct error e = {{0}};
        rig_open(&r, &cpu_ops, &llama, threads, 16);
        ask(a, llama.V);
        sampler_plan(&s, &llama, &r.dev, SLOTS, PROMPT, 90, 0);
        sampler_commit(&s);
        assert_int_equal(s.workers, r.dev.threads > 1 ? r.dev.threads : 0);
        if (sampler_run(&s, &r.model, &a->q[ALONE], 1, &ways[0], 7, RNG_SAMPLE, NULL, 0, a->out, &e))
            fail_msg("%s", e.text);
        assert_int_equal(s.tokens, a->q[ALONE].samples * a->q[ALONE].max_new);
        assert_sampler(&s);
        sampler_free(&s);
        rig_close(&r);
    }
    assert_memory_equal(one.ids, many.ids, sizeof one.ids);
    assert_memory_equal(one.logp, many.logp, sizeof one.logp);
}

static void answers_end_as_documented(void **state)
{
    (void)state;
    static struct asked a;
    struct rig r;
    int ended = 0, cut = 0, at = 0;
    rig_open(&r, &cpu_ops, &llama, 1, 16);
    answer(&r, &a, &ways[0], 4, 3);
    for (int i = 0; i < ASKED; i++)
        for (int s = 0; s < a.q[i].samples; s++, at++) {
            const struct response *o = &a.out[at];
            assert_in_range(o->len, 1, a.q[i].max_new);
            for (int t = 0; t < o->len - 1; t++)
                assert_int_not_equal(o->ids[t], 3);
            assert_int_equal(o->truncated, o->ids[o->len - 1] != 3);
            if (o->truncated)
                assert_int_equal(o->len, a.q[i].max_new);
            ended += !o->truncated;
            cut += o->truncated;
        }
    assert_true(ended > 0 && cut > 0);
    answer(&r, &a, &ways[0], 4, -1); /* no end of sequence: all are cut */
    for (at = 0; at < a.answers; at++)
        assert_true(a.out[at].truncated);
    assert_memory_not_equal(a.ids[0], a.ids[1], 8 * sizeof(int32_t)); /* samples of one prompt differ */
    rig_close(&r);
}

/* Every part of the key changes the draws, each position has its own, and sample i from sample0 = 1 is sample i + 1
 * from 0. All weights are zero, so that every token is as likely as any other whatever came before. */
static void draws_follow_their_key(void **state)
{
    (void)state;
    enum { LEN = 40 };
    struct rig r;
    struct sampler s;
    struct error e = {{0}};
    int32_t prompt = 1, ids[7][2][LEN];
    double logp[2][LEN], entropy[2][LEN];
    static const struct {
        int seed, purpose, step, key, sample0;
    } by[7] = {{1, RNG_SAMPLE, 1, 1, 0}, {2, RNG_SAMPLE, 1, 1, 0}, {1, RNG_EVAL, 1, 1, 0},  {1, RNG_SAMPLE, 2, 1, 0},
               {1, RNG_SAMPLE, 1, 2, 0}, {1, RNG_SAMPLE, 1, 1, 1}, {1, RNG_SAMPLE, 1, 1, 0}};
    rig_open(&r, &cpu_ops, &llama, 1, 16);
    r.dev.ops->zero(&r.dev, r.model.param, r.model.reals);
    sampler_plan(&s, &llama, &r.dev, 2, 1, LEN, 0);
    sampler_commit(&s);
    for (int i = 0; i < 7; i++) {
        struct response out[2];
        struct request q = {&prompt, 1, 2, LEN, (uint64_t)by[i].step, (uint64_t)by[i].key, (uint32_t)by[i].sample0};
        for (int k = 0; k < 2; k++)
            out[k] = (struct response){ids[i][k], logp[k], entropy[k], NULL, NULL, 0, 0};
        assert_int_equal(sampler_run(&s, &r.model, &q, 1, &ways[0], (uint64_t)by[i].seed,
                                     (enum rng_purpose)by[i].purpose, NULL, 0, out, &e),
                         0);
        int distinct = 0;
        for (int v = 0; v < llama.V; v++)
            for (int t = 0; t < LEN; t++)
                if (ids[i][0][t] == v) {
                    distinct++;
                    break;
                }
        assert_true(distinct > 20); /* 28 of 53 are expected in 40 draws */
        for (int t = 0; t < LEN; t++)
            assert_true(fabs(logp[0][t] + log(llama.V)) < 1e-5 && fabs(entropy[0][t] - log(llama.V)) < 1e-5);
        for (int other = 0; other < i && i < 6; other++)
            assert_memory_not_equal(ids[i][0], ids[other][0], sizeof ids[0][0]);
    }
    assert_memory_equal(ids[5][0], ids[0][1], sizeof ids[0][0]);
    assert_memory_equal(ids[6], ids[0], sizeof ids[0]);
    sampler_free(&s);
    rig_close(&r);
}

static void impossible_requests_are_refused(void **state)
{
    (void)state;
    struct rig r;
    struct sampler s;
    static struct asked a;
    struct error e;
    rig_open(&r, &cpu_ops, &llama, 1, 16);
    sampler_plan(&s, &llama, &r.dev, 2, PROMPT, ANSWER, 0);
    sampler_commit(&s);
    static const struct {
        int len, max_new, id;
        const char *says;
    } bad[] = {
        {0, 4, 1, "empty"},
        {PROMPT + 1, 4, 1, "tokens"},
        {4, 0, 1, "between 1 and"},
        {4, ANSWER + 1, 1, "between 1 and"},
        {PROMPT, ANSWER, 1, "context"},
        {4, 4, 53, "vocabulary"},
        {4, 4, -1, "vocabulary"},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        ask(&a, llama.V);
        int32_t prompt[PROMPT + 1] = {0};
        prompt[2] = bad[i].id;
        a.q[2] = (struct request){prompt, bad[i].len, 1, bad[i].max_new, 0, 0, 0};
        e.text[0] = 0;
        assert_int_equal(sampler_run(&s, &r.model, a.q, ASKED, &ways[0], 1, RNG_SAMPLE, NULL, 0, a.out, &e), -1);
        if (!strstr(e.text, bad[i].says))
            fail_msg("case %u: \"%s\" does not say \"%s\"", i, e.text, bad[i].says);
        assert_int_equal(a.out[0].len, 0);
    }
    sampler_free(&s);
    rig_close(&r);
}

/* The same seed draws with the frequencies the model gives: first tokens of many samples against its probabilities. */
static void frequencies_follow_probabilities(void **state)
{
    (void)state;
    enum { N = 4000 };
    struct rig r;
    struct sampler s;
    struct error e = {{0}};
    rig_open(&r, &cpu_ops, &tiny_llama, 2, 16);
    sampler_plan(&s, &tiny_llama, &r.dev, 64, 4, 1, 0);
    sampler_commit(&s);
    struct response *out = mem_alloc(N, sizeof *out);
    int32_t *ids = mem_alloc(N, sizeof *ids), prompt[3] = {4, 9, 1};
    double *logp = mem_alloc(N, sizeof *logp), *entropy = mem_alloc(N, sizeof *entropy), seen[11] = {0}, p[11] = {0};
    for (int i = 0; i < N; i++)
        out[i] = (struct response){ids + i, logp + i, entropy + i, NULL, NULL, 0, 0};
    struct request q = {prompt, 3, N, 1, 0, 0, 0};
    assert_int_equal(sampler_run(&s, &r.model, &q, 1, &ways[0], 5, RNG_SAMPLE, NULL, 0, out, &e), 0);
    for (int i = 0; i < N; i++) {
        seen[ids[i]]++;
        p[ids[i]] = exp(logp[i]);
    }
    double chi = 0, mass = 0;
    for (int v = 0; v < 11; v++) {
        chi += p[v] > 0 ? (seen[v] - N * p[v]) * (seen[v] - N * p[v]) / (N * p[v]) : 0;
        mass += p[v];
    }
    assert_true(mass > 0.99 && mass < 1.00001);
    assert_true(chi < 29.6); /* chi square of 10 degrees of freedom: one in a thousand is above; the seed is fixed */
    mem_free(out);
    mem_free(ids);
    mem_free(logp);
    mem_free(entropy);
    sampler_free(&s);
    rig_close(&r);
}

/* ---- trained models from outside ---- */

#define STORIES "../shared/data/stories260K"
#define SORTER  "../shared/data/gpt-nano-sort"

static void load(struct rig *r, const char *dir, int rows, int groups)
{
    struct error e = {{0}};
    struct arch a;
    struct token_ids ids;
    if (device_open(&r->dev, &cpu_ops, 2, &e) || checkpoint_arch(dir, &a, &ids, &e) ||
        model_create(&r->model, &a, 0, &r->dev, 0, &e) || checkpoint_load(&r->model, dir, &e))
        fail_msg("%s", e.text);
    layout_create(&r->layout, &r->dev, a.V, rows, groups, groups, rows, 0);
    tape_plan(&r->tape, &a, &r->dev, rows, rows, rows + groups * KV_ALIGN, KEEP_NOTHING);
    tape_commit(&r->tape);
}

/* Logits of every row of `groups` sequences of `len` ids each, and logp of the target of every row when there is one.
 */
static void all_logits(struct rig *r, const int32_t *ids, const int32_t *target, int groups, int len, double *logits,
                       double *logp)
{
    int R = groups * len;
    struct segment *seg = mem_alloc((size_t)groups, sizeof *seg);
    int *first = mem_alloc((size_t)groups + 1, sizeof *first), *entry = mem_alloc((size_t)groups + 1, sizeof *entry);
    int32_t *row = mem_alloc((size_t)R, sizeof *row);
    double *temperature = mem_alloc((size_t)R, sizeof *temperature);
    for (int g = 0; g < groups; g++) {
        seg[g] = (struct segment){-1, g * len, len};
        first[g + 1] = g + 1;
        entry[g + 1] = (g + 1) * len;
    }
    for (int i = 0; i < R; i++) {
        row[i] = i;
        temperature[i] = 1;
    }
    layout_set(&r->layout, ids, seg, first, groups);
    layout_entries(&r->layout, R, row, target, temperature, NULL, NULL, entry, groups);
    model_forward(&r->model, &r->tape, &r->layout.rows, r->tape.kv, 0, r->tape.store);
    model_logits(&r->model, &r->tape, &r->layout, logits);
    if (logp)
        model_head(&r->model, &r->tape, &r->layout, logp, NULL);
    mem_free(seg);
    mem_free(first);
    mem_free(entry);
    mem_free(row);
    mem_free(temperature);
}

static int largest(const double *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

/* Greedy answer to one prompt through the sampler. */
static void greedy(struct rig *r, const int32_t *prompt, int len, int max_new, int32_t *ids, double *logp)
{
    struct sampler s;
    struct error e = {{0}};
    double *entropy = mem_alloc((size_t)max_new, sizeof *entropy);
    struct response out = {ids, logp, entropy, NULL, NULL, 0, 0};
    struct request q = {prompt, len, 1, max_new, 0, 0, 0};
    sampler_plan(&s, &r->model.arch, &r->dev, 1, len, max_new, 0);
    sampler_commit(&s);
    if (sampler_run(&s, &r->model, &q, 1, &ways[3], 0, RNG_EVAL, NULL, 0, &out, &e))
        fail_msg("%s", e.text);
    sampler_free(&s);
    mem_free(entropy);
}

static void stories_as_published(void **state)
{
    (void)state;
    enum { N = 256, V = 512 };
    if (access(STORIES "/golden.json", R_OK)) {
        print_message("no " STORIES "\n");
        skip();
    }
    static double logits[N * V], logp[N], sampled_logp[N];
    int32_t ids[N + 1] = {1}, sampled[N];
    struct error e = {{0}};
    struct rig r;
    json_t *golden = json_read(STORIES "/golden.json", &e);
    if (!golden)
        fail_msg("%s", e.text);
    const json_t *want = json_object_get(golden, "greedy_ids"), *want_logp = json_object_get(golden, "greedy_logprob"),
                 *gap = json_object_get(golden, "top1_minus_top2_logit"),
                 *first = json_object_get(golden, "logits_position_0");
    assert_int_equal(json_array_size(want), N);
    for (int i = 0; i < N; i++)
        ids[i + 1] = (int32_t)json_integer_value(json_array_get(want, (size_t)i));
    load(&r, STORIES "/hf", N, 1);
    all_logits(&r, ids, ids + 1, 1, N, logits, logp);
    greedy(&r, ids, 1, N, sampled, sampled_logp);
    int same = 1; /* the sampler's text is the golden one so far */
    for (int i = 0; i < N; i++) {
        int clear = json_number_value(json_array_get(gap, (size_t)i)) > 0.01;
        double published = json_number_value(json_array_get(want_logp, (size_t)i));
        if (clear)
            assert_int_equal(largest(logits + (size_t)i * V, V), ids[i + 1]);
        assert_true(fabs(logp[i] - published) < 1e-4);
        if (same && clear)
            assert_int_equal(sampled[i], ids[i + 1]);
        same = same && sampled[i] == ids[i + 1];
        if (same)
            assert_memory_equal(&sampled_logp[i], &logp[i], sizeof *logp);
    }
    for (int v = 0; v < V; v++)
        assert_true(fabs(logits[v] - json_number_value(json_array_get(first, (size_t)v))) < 1e-4);
    json_decref(golden);
    rig_close(&r);
}

static void sorter_logits_as_published(void **state)
{
    (void)state;
    enum { B = 3, T = 11, V = 3 };
    if (access(SORTER "/hf/partials.safetensors", R_OK)) {
        print_message("no " SORTER "\n");
        skip();
    }
    struct safetensors file;
    struct error e = {{0}};
    struct rig r;
    double idx[B * T], want[B * T * V], logits[B * T * V], most = 0;
    int32_t ids[B * T], target[B * T] = {0};
    if (safetensors_open(&file, SORTER "/hf/partials.safetensors", &e))
        fail_msg("%s", e.text);
    st_read(safetensors_find(&file, "idx"), 0, B * T, idx);
    st_read(safetensors_find(&file, "lm_head"), 0, B * T * V, want);
    for (int i = 0; i < B * T; i++)
        ids[i] = (int32_t)idx[i];
    load(&r, SORTER "/hf", B * T, B);
    all_logits(&r, ids, target, B, T, logits, NULL);
    for (int i = 0; i < B * T * V; i++)
        most = fmax(most, fabs(want[i]));
    for (int i = 0; i < B * T * V; i++)
        if (!(fabs(logits[i] - want[i]) <= 1e-5 * fmax(1, most)))
            fail_msg("logit %d: %.9g, published %.9g", i, logits[i], want[i]);
    safetensors_close(&file);
    rig_close(&r);
}

/* Every input of six symbols: the right next symbol is the most likely one after every right beginning, which is what
 * greedy decoding does; the sampler itself says the first five (its last would stand outside the context). */
static void sorter_sorts_everything(void **state)
{
    (void)state;
    enum { ALL = 729, T = 11 };
    if (access(SORTER "/hf/config.json", R_OK)) {
        print_message("no " SORTER "\n");
        skip();
    }
    static int32_t ids[ALL * T], target[ALL * T], said[ALL][5];
    static double logits[ALL * T * 3], logp[ALL][5], entropy[ALL][5];
    static struct request q[ALL];
    static struct response out[ALL];
    struct rig r;
    struct sampler s;
    struct error e = {{0}};
    int sorted = 0, same = 0;
    for (int n = 0; n < ALL; n++) {
        int count[3] = {0}, x = n, at = 0, full[6];
        for (int i = 0; i < 6; i++, x /= 3)
            count[ids[n * T + i] = x % 3]++;
        for (int v = 0; v < 3; v++)
            for (int i = 0; i < count[v]; i++)
                full[at++] = v;
        for (int i = 0; i < 5; i++)
            ids[n * T + 6 + i] = full[i];
        for (int i = 0; i < 6; i++)
            target[n * T + 5 + i] = full[i];
        q[n] = (struct request){ids + n * T, 6, 1, 5, 0, 0, 0};
        out[n] = (struct response){said[n], logp[n], entropy[n], NULL, NULL, 0, 0};
    }
    load(&r, SORTER "/hf", ALL * T, ALL);
    all_logits(&r, ids, target, ALL, T, logits, NULL);
    sampler_plan(&s, &r.model.arch, &r.dev, 64, 6, 5, 0);
    sampler_commit(&s);
    if (sampler_run(&s, &r.model, q, ALL, &ways[3], 0, RNG_EVAL, NULL, 0, out, &e))
        fail_msg("%s", e.text);
    for (int n = 0; n < ALL; n++) {
        int right = 1;
        for (int i = 5; i < T; i++)
            right &= largest(logits + (size_t)(n * T + i) * 3, 3) == target[n * T + i];
        sorted += right;
        same += memcmp(said[n], target + n * T + 5, sizeof said[n]) == 0;
    }
    assert_int_equal(sorted, ALL);
    assert_int_equal(same, ALL);
    sampler_free(&s);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler_is_trainer),
        cmocka_unit_test(a_difference_shows),
        cmocka_unit_test(slots_and_threads_change_nothing),
        cmocka_unit_test(one_prompt_is_shared_out),
        cmocka_unit_test(answers_end_as_documented),
        cmocka_unit_test(draws_follow_their_key),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(frequencies_follow_probabilities),
        cmocka_unit_test(stories_as_published),
        cmocka_unit_test(sorter_logits_as_published),
        cmocka_unit_test(sorter_sorts_everything),
    };
    return cmocka_run_group_tests_name("generate", tests, NULL, NULL);
}
