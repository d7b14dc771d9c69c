/* Continuous batching: admit samples into free slots (prefilling their prompt once), run one token a slot, sample,
 * retire. */
#include "generate.h"
#include "base/mem.h"
#include <limits.h>
#include <string.h>

struct slot {
    int request, sample, out; /* request -1: free; out: index of the response */
    int prompt;               /* its prompt slot */
    int started;              /* has its first token: continues through the forward pass */
};
struct prompt_slot {
    int request; /* -1: free */
    int left;    /* samples of it not finished yet, of those that were taken */
};

static int round_up(int n, int to)
{
    return (n + to - 1) / to * to;
}

enum { PREFILL_ROWS = 512, CARD_SLOTS = 256, THREAD_SLOTS = 64 };

/* On the processor 64 rows keep a thread's products as busy as more would, and the keys and values of all slots, which
 * every token reads, stay nearer (dev/LOG.md). */
int sampler_slots(const struct device *d, int all)
{
    int most = d->ops == default_ops ? THREAD_SLOTS * d->threads : CARD_SLOTS;
    return all < most ? all : most;
}

/* Slots whose logits are held at once: about 4 million of them, enough for the products to be fast. */
static int draw_rows(int most, int V)
{
    static const int reals = 1 << 22, enough = 64;
    int n = reals / V > enough ? reals / V : enough;
    return n < most ? n : most;
}

/* One sampler a thread pays where every operation is too short to be shared out, and costs the weights a pass more. */
static int workers_for(const struct device *d, const struct arch *a, int slots)
{
    enum { LEAST_SLOTS = 8 };
    static const long small = 4000000; /* weights that both keep near */
    int apart = d->ops == default_ops && d->threads > 1 && arch_parameters(a) < small;
    return apart && slots / d->threads >= LEAST_SLOTS ? d->threads : 0;
}

static void plan_workers(struct sampler *s, const struct arch *a, struct device *d)
{
    s->worker = mem_alloc((size_t)s->workers, sizeof *s->worker);
    for (int i = 0; i < s->workers; i++) {
        struct sampler *w = &s->worker[i];
        struct device one = *d;
        one.threads = 1;
        one.scratch = NULL;
        one.scratch_bytes = 0;
        int slots = s->slots / s->workers + (i < s->slots % s->workers);
        sampler_plan(w, a, &one, slots, s->max_prompt, s->max_new, s->max_support);
        w->one = one;
        w->dev = w->tape.dev = &w->one;
    }
}

void sampler_plan(struct sampler *s, const struct arch *a, struct device *d, int slots, int max_prompt, int max_new,
                  int max_support)
{
    memset(s, 0, sizeof *s);
    s->dev = d;
    s->slots = slots;
    s->max_prompt = max_prompt;
    s->max_new = max_new;
    s->max_support = max_support;
    s->workers = workers_for(d, a, slots);
    if (s->workers) {
        plan_workers(s, a, d);
        return;
    }
    s->prefill = max_prompt > PREFILL_ROWS ? max_prompt : PREFILL_ROWS;
    int rows = s->prefill > slots ? s->prefill : slots;
    s->kv_store = slots * (round_up(max_prompt, KV_ALIGN) + round_up(max_new, KV_ALIGN)) + KV_ALIGN;
    struct attention_shape attention = {a->H, a->G, a->D, 1, s->kv_store};
    s->kv_stride = d->ops->store_reals(&attention);
    tape_plan(&s->tape, a, d, rows, slots, 0, KEEP_NOTHING);
    s->draw_rows = draw_rows(s->tape.chunk, a->V);
    size_t real = d->ops->real_bytes, n = (size_t)slots;
    arena_want(&s->arena, "key/value cache", (size_t)a->layers * s->kv_stride * real);
    arena_want(&s->arena, "hidden states of prompts", n * a->C * real);
    arena_want(&s->arena, "sampled tokens", n * 4);
    arena_want(&s->arena, "random bits", n * 8);
    arena_want(&s->arena, "sampled supports", n * max_support * 4);
    arena_want(&s->arena, "sampled support sizes", n * 4);
    arena_want(&s->arena, "slot index", n * 4);
    arena_want(&s->arena, "logits", (size_t)s->draw_rows * a->V * real);
}

size_t sampler_bytes(const struct sampler *s)
{
    size_t bytes = s->arena.total + s->tape.arena.total;
    for (int i = 0; i < s->workers; i++)
        bytes += sampler_bytes(&s->worker[i]);
    return bytes;
}

void sampler_commit(struct sampler *s)
{
    for (int i = 0; i < s->workers; i++)
        sampler_commit(&s->worker[i]);
    if (s->workers)
        return;
    struct arena_memory memory = device_memory(s->dev);
    int n = s->slots, rows = s->tape.max_rows;
    arena_commit(&s->arena, &memory);
    s->kv.p = arena_at(&s->arena, 0);
    s->prompt_hidden.p = arena_at(&s->arena, 1);
    s->token.p = arena_at(&s->arena, 2);
    s->bits.p = arena_at(&s->arena, 3);
    s->support.p = s->max_support ? arena_at(&s->arena, 4) : NULL;
    s->supports.p = s->max_support ? arena_at(&s->arena, 5) : NULL;
    s->index.p = arena_at(&s->arena, 6);
    s->logits.p = arena_at(&s->arena, 7);
    tape_commit(&s->tape);
    layout_create(&s->layout, s->dev, s->tape.arch.V, rows, 2 * n + 1, n, n, 0);
    s->slot = mem_alloc((size_t)n, sizeof *s->slot);
    s->prompt = mem_alloc((size_t)n, sizeof *s->prompt);
    s->host = mem_alloc(2 * (size_t)rows + (size_t)n * (16 + s->max_support), sizeof *s->host);
    s->host_real = mem_alloc(2 * (size_t)n, sizeof *s->host_real);
    /* regions never change: prompt slots first, then slots; a slot's parent and position are set when a sample moves in
     */
}

void sampler_free(struct sampler *s)
{
    for (int i = 0; i < s->workers; i++)
        sampler_free(&s->worker[i]);
    mem_free(s->worker);
    if (s->one.scratch)
        s->one.ops->release(&s->one, s->one.scratch);
    arena_free(&s->arena);
    tape_free(&s->tape);
    layout_free(&s->layout);
    mem_free(s->slot);
    mem_free(s->prompt);
    mem_free(s->host);
    mem_free(s->host_real);
    memset(s, 0, sizeof *s);
}

/* The samples of a call that nobody has begun yet, in order; workers take them in pieces. */
struct queue {
    int request, sample, out; /* the next one, and its response */
    int piece;                /* most samples of a request that are taken at once */
};

/* One call's work: what is asked and how far it got. */
struct work {
    const struct request *q;
    int requests;
    const struct sampling *how;
    uint64_t seed;
    enum rng_purpose purpose;
    const int32_t *end;
    int ends;
    struct response *out;
    struct queue *queue;
    int share; /* most slots to use: where there are fewer samples than slots, each worker has its part of them */
    int request, sample, last, next_out; /* samples `sample` .. `last` of a request are to be admitted */
};

/* Takes the next samples; returns whether there were any. */
static int take(struct sampler *s, struct work *w)
{
    struct queue *q = w->queue;
#pragma omp critical(sampler_queue)
    {
        while (q->request < w->requests && q->sample == w->q[q->request].samples) {
            q->request++;
            q->sample = 0;
        }
        w->request = q->request;
        w->sample = w->last = q->sample;
        w->next_out = q->out;
        if (q->request < w->requests) {
            int left = w->q[q->request].samples - q->sample;
            w->last += left < q->piece ? left : q->piece;
            q->out += w->last - w->sample;
            q->sample = w->last;
        }
    }
    for (int p = 0; p < s->slots; p++)
        if (s->prompt[p].request == w->request)
            s->prompt[p].left += w->last - w->sample;
    return w->last > w->sample;
}

static void upload_regions(struct sampler *s, const struct work *w)
{
    struct region *region = (struct region *)s->host;
    int n = s->slots, prompt_cap = round_up(s->max_prompt, KV_ALIGN), new_cap = round_up(s->max_new, KV_ALIGN);
    for (int i = 0; i < n; i++) {
        const struct slot *slot = &s->slot[i];
        int used = slot->request >= 0;
        region[i] = (struct region){-1, i * prompt_cap, prompt_cap, 0};
        region[n + i] = (struct region){used ? slot->prompt : -1, n * prompt_cap + i * new_cap, new_cap,
                                        used ? w->q[slot->request].prompt_len : 0};
    }
    region[2 * n] = (struct region){-1, s->kv_store - KV_ALIGN, KV_ALIGN, 0};
    s->dev->ops->upload_int(s->dev, s->layout.rows.region, (int32_t *)region, 8 * (size_t)n + 4);
}

/* Descriptors of `runs` runs laid out in rows one after the other. id and position [rows] stand in the staging memory
 * after the runs. */
static void upload_rows(struct sampler *s, const struct run *run, int runs, const int32_t *id, const int32_t *position,
                        int rows)
{
    struct rows *r = &s->layout.rows;
    const struct ops *op = s->dev->ops;
    op->upload_int(s->dev, r->run, (const int32_t *)run, 4 * (size_t)runs);
    op->upload_int(s->dev, r->id, id, (size_t)rows);
    op->upload_int(s->dev, r->position, position, (size_t)rows);
    r->count = rows;
    r->runs = runs;
    r->regions = 2 * s->slots + 1;
    r->groups = r->blocks = 0;
}

/* Forward of the prompts in `which` (prompt slots), all at once; keeps the hidden state of each one's last token. */
static void prefill(struct sampler *s, const struct model *m, const struct work *w, const int *which, int n, int rows)
{
    const struct ops *op = s->dev->ops;
    struct run *run = (struct run *)s->host;
    int32_t *id = s->host + 4 * n, *position = id + rows, *last = position + rows, at = 0;
    for (int i = 0; i < n; i++) {
        const struct request *q = &w->q[s->prompt[which[i]].request];
        run[i] = (struct run){which[i], at, q->prompt_len, 0};
        for (int t = 0; t < q->prompt_len; t++) {
            id[at + t] = q->prompt[t];
            position[at + t] = t;
        }
        at += q->prompt_len;
        last[i] = at - 1;
    }
    upload_rows(s, run, n, id, position, rows);
    model_forward(m, &s->tape, &s->layout.rows, s->kv, s->kv_stride, s->kv_store);
    for (int i = 0; i < n; i++) {
        op->upload_int(s->dev, s->index, &last[i], 1);
        op->gather(s->dev, dev_at(s->dev, s->prompt_hidden, (size_t)which[i] * m->arch.C), s->tape.normf, s->index, 1,
                   m->arch.C);
    }
}

static int free_prompt_slot(const struct sampler *s)
{
    int i = 0;
    while (s->prompt[i].request >= 0)
        i++;
    return i; /* there is one: every prompt in use has a sample in one of the slots, and one slot is free */
}

/* Fill free slots with the next samples, prefilling new prompts in batches. Returns whether anything was admitted. */
static void admit(struct sampler *s, const struct model *m, struct work *w)
{
    int fresh[s->slots], n = 0, rows = 0, admitted = 0;
    for (int i = 0; i < s->slots && i < w->share; i++) {
        struct slot *slot = &s->slot[i];
        if (slot->request >= 0)
            continue;
        if (w->sample == w->last && !take(s, w))
            break;
        const struct request *q = &w->q[w->request];
        int p = 0;
        while (p < s->slots && s->prompt[p].request != w->request)
            p++;
        if (p == s->slots) {
            if (rows + q->prompt_len > s->prefill)
                break; /* the rest is admitted in the next round */
            p = free_prompt_slot(s);
            s->prompt[p].request = w->request;
            s->prompt[p].left = w->last - w->sample;
            fresh[n++] = p;
            rows += q->prompt_len;
        }
        *slot = (struct slot){w->request, w->sample++, w->next_out++, p, 0};
        w->out[slot->out].len = w->out[slot->out].truncated = 0;
        admitted = 1;
    }
    if (admitted)
        upload_regions(s, w);
    if (n)
        prefill(s, m, w, fresh, n, rows);
}

/* ---- a token of every slot: where the table records rows, for few numbers of rows, each recorded once a call ---- */

enum { FORWARD_ROWS, DRAWN_ROWS, RECORDED_KINDS };
typedef void rows_of_step(struct sampler *s, const struct model *m, const struct work *w, int n);

/* n, or the next power of two that there are slots for; the rest are rows of a token that nobody asked for, in a region
 * of their own. */
static int padded_rows(const struct sampler *s, int n)
{
    int padded = 1;
    if (!s->dev->ops->replay)
        return n;
    while (padded < n)
        padded *= 2;
    return padded < s->slots ? padded : s->slots;
}

static void run_rows(struct sampler *s, const struct model *m, const struct work *w, int kind, rows_of_step *rows,
                     int n)
{
    const struct ops *op = s->dev->ops;
    int key = kind;
    for (int i = 1; i < n; i *= 2)
        key += RECORDED_KINDS;
    if (op->replay && op->replay(s->dev, key))
        return;
    if (op->replay)
        op->record(s->dev, key);
    rows(s, m, w, n);
    if (op->replay && !op->recorded(s->dev))
        rows(s, m, w, n);
}

static void forward_rows(struct sampler *s, const struct model *m, const struct work *w, int n)
{
    (void)w;
    model_forward(m, &s->tape, &s->layout.rows, s->kv, s->kv_stride, s->kv_store);
    s->dev->ops->copy(s->dev, s->tape.hidden, s->tape.normf, (size_t)n * m->arch.C);
}

/* Forward of the last token of every running slot; which[] lists the slots whose next token is to be drawn, running
 * ones first, and s->tape.hidden gets their hidden states in that order. Returns how many. */
static int forward_slots(struct sampler *s, const struct model *m, const struct work *w, int *which)
{
    const struct ops *op = s->dev->ops;
    int n = s->slots, running = 0, fresh = 0, C = m->arch.C;
    struct run *run = (struct run *)s->host;
    int32_t *id = s->host + 4 * n, *position = id + n, *index = position + n;
    for (int i = 0; i < n; i++) {
        const struct slot *slot = &s->slot[i];
        if (slot->request < 0 || !slot->started)
            continue;
        const struct response *o = &w->out[slot->out];
        int pos = w->q[slot->request].prompt_len + o->len - 1;
        run[running] = (struct run){n + i, running, 1, pos};
        id[running] = o->ids[o->len - 1];
        position[running] = pos;
        which[running++] = i;
    }
    for (int i = 0; i < n; i++)
        if (s->slot[i].request >= 0 && !s->slot[i].started) {
            index[fresh] = s->slot[i].prompt;
            which[running + fresh++] = i;
        }
    if (running) {
        int rows = padded_rows(s, running);
        for (int i = running; i < rows; i++) {
            run[i] = (struct run){2 * n, i, 1, 0};
            id[i] = position[i] = 0;
        }
        upload_rows(s, run, rows, id, position, rows);
        run_rows(s, m, w, FORWARD_ROWS, forward_rows, rows);
    }
    if (fresh) {
        op->upload_int(s->dev, s->index, index, (size_t)fresh);
        op->gather(s->dev, dev_at(s->dev, s->tape.hidden, (size_t)running * C), s->prompt_hidden, s->index, fresh, C);
    }
    return running + fresh;
}

/* Tokens of n hidden states, logits of some at a time. Results land on the device, [slots] each. */
static void draw_tokens(struct sampler *s, const struct model *m, const struct work *w, int n)
{
    const struct ops *op = s->dev->ops;
    struct device *d = s->dev;
    Dev head = model_matrix(m, m->head);
    for (int at = 0; at < n; at += s->draw_rows) {
        int len = n - at < s->draw_rows ? n - at : s->draw_rows;
        size_t off = (size_t)at;
        DevInt support = s->support, supports = s->supports;
        if (s->max_support) {
            support = dev_int_at(s->support, off * s->max_support);
            supports = dev_int_at(s->supports, off);
        }
        op->linear_forward(d, s->logits, dev_at(d, s->tape.hidden, off * m->arch.C), head, (Dev){0}, len, m->arch.V,
                           m->arch.C);
        op->sample(d, dev_int_at(s->token, off), dev_at(d, s->tape.logp, off), dev_at(d, s->tape.entropy, off), support,
                   supports, s->logits, dev_int_at(s->bits, 2 * off), len, m->arch.V, w->how);
    }
}

/* Draw the next token of the listed slots. */
static void draw(struct sampler *s, const struct model *m, const struct work *w, const int *which, int n)
{
    const struct ops *op = s->dev->ops;
    struct device *d = s->dev;
    int32_t *bits = s->host;
    for (int i = 0; i < n; i++) {
        const struct slot *slot = &s->slot[which[i]];
        const struct request *q = &w->q[slot->request];
        struct rng r = rng_stream(w->seed, w->purpose, q->step, q->key, q->sample0 + (uint32_t)slot->sample);
        uint64_t x = rng_bits(r, (uint64_t)w->out[slot->out].len);
        bits[2 * i] = (int32_t)(uint32_t)x;
        bits[2 * i + 1] = (int32_t)(uint32_t)(x >> 32);
    }
    op->upload_int(d, s->bits, bits, 2 * (size_t)n);
    run_rows(s, m, w, DRAWN_ROWS, draw_tokens, padded_rows(s, n));
}

static int is_end(const struct work *w, int32_t id)
{
    int found = 0;
    for (int i = 0; i < w->ends; i++)
        found |= w->end[i] == id;
    return found;
}

static void retire(struct sampler *s, struct slot *slot)
{
    if (--s->prompt[slot->prompt].left == 0)
        s->prompt[slot->prompt].request = -1;
    slot->request = -1;
}

/* Copy the drawn tokens to their responses; end those that are complete. */
static void collect(struct sampler *s, const struct work *w, const int *which, int n)
{
    const struct ops *op = s->dev->ops;
    struct device *d = s->dev;
    int S = s->max_support;
    int32_t *token = s->host, *supports = token + s->slots, *support = supports + s->slots;
    double *logp = s->host_real, *entropy = logp + s->slots;
    op->download_int(d, token, s->token, (size_t)n);
    op->download(d, logp, s->tape.logp, (size_t)n);
    op->download(d, entropy, s->tape.entropy, (size_t)n);
    if (S) {
        op->download_int(d, supports, s->supports, (size_t)n);
        op->download_int(d, support, s->support, (size_t)n * S);
    }
    for (int i = 0; i < n; i++) {
        struct slot *slot = &s->slot[which[i]];
        struct response *o = &w->out[slot->out];
        o->ids[o->len] = token[i];
        o->logp[o->len] = logp[i];
        o->entropy[o->len] = entropy[i];
        if (o->supports) {
            o->supports[o->len] = S ? supports[i] : 0;
            if (S)
                memcpy(o->support + (size_t)o->len * S, support + (size_t)i * S, (size_t)S * sizeof *support);
        }
        o->len++;
        slot->started = 1;
        int ended = is_end(w, token[i]), full = o->len == w->q[slot->request].max_new;
        o->truncated = full && !ended;
        if (ended || full)
            retire(s, slot);
    }
    s->tokens += n;
}

static int check_requests(const struct sampler *s, const struct model *m, const struct request *q, int requests,
                          struct error *e)
{
    for (int i = 0; i < requests; i++) {
        if (q[i].prompt_len < 1)
            return fail(e, "prompt %d is empty; a model needs at least one token to start from", i);
        if (q[i].prompt_len > s->max_prompt)
            return fail(e, "prompt %d has %d tokens, more than the %d planned for", i, q[i].prompt_len, s->max_prompt);
        if (q[i].max_new < 1 || q[i].max_new > s->max_new)
            return fail(e, "%d new tokens asked for; between 1 and %d are possible", q[i].max_new, s->max_new);
        if (q[i].prompt_len + q[i].max_new - 1 > m->arch.context)
            return fail(e, "prompt %d of %d tokens and %d new ones exceed the context of %d; lower rollout.max_new", i,
                        q[i].prompt_len, q[i].max_new, m->arch.context);
        for (int t = 0; t < q[i].prompt_len; t++)
            if (q[i].prompt[t] < 0 || q[i].prompt[t] >= m->arch.V)
                return fail(e, "token id %d of prompt %d is outside the model's vocabulary of %d", q[i].prompt[t], i,
                            m->arch.V);
    }
    return 0;
}

/* Returns the tokens drawn. */
static long run(struct sampler *s, const struct model *m, struct work *w)
{
    long before = s->tokens;
    for (int i = 0; i < s->slots; i++)
        s->slot[i].request = s->prompt[i].request = -1;
    if (s->dev->ops->replay)
        s->dev->ops->forget(s->dev); /* of another model or another way of sampling */
    int which[s->slots], n;
    do {
        admit(s, m, w);
        n = forward_slots(s, m, w, which);
        if (n) {
            draw(s, m, w, which, n);
            collect(s, w, which, n);
        }
    } while (n);
    return s->tokens - before;
}

int sampler_run(struct sampler *s, const struct model *m, const struct request *q, int requests,
                const struct sampling *how, uint64_t seed, enum rng_purpose purpose, const int32_t *end, int ends,
                struct response *out, struct error *e)
{
    if (check_requests(s, m, q, requests, e))
        return -1;
    struct queue queue = {0, 0, 0, INT_MAX};
    struct work w = {q, requests, how, seed, purpose, end, ends, out, &queue, s->slots, 0, 0, 0, 0};
    if (!s->workers) {
        run(s, m, &w);
        return 0;
    }
    long all = 0;
    for (int i = 0; i < requests; i++)
        all += q[i].samples;
    long share = (all + s->workers - 1) / s->workers;
    w.share = share < s->slots ? (int)share : s->slots;
    if (requests < s->workers) /* their samples are shared out */
        queue.piece = w.share;
    long tokens = 0;
#pragma omp parallel for schedule(static, 1) num_threads(s->workers) reduction(+ : tokens)
    for (int i = 0; i < s->workers; i++) {
        struct model alone = *m;
        struct work part = w;
        alone.dev = &s->worker[i].one;
        tokens += run(&s->worker[i], &alone, &part);
    }
    s->tokens += tokens;
    return 0;
}
