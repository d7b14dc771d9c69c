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

/* What a token of the n slots is told, in one piece of memory, so that it is one upload: descriptors of the rows of the
 * forward pass, and of the draws, [n] each. */
enum { STEP_WORDS = 10 };
struct step {
    struct run *run;
    int32_t *id, *position;
    int32_t *bits;  /* [n][2] */
    int32_t *place; /* where a draw's results are put aside */
    int32_t *index; /* prompt slots of draws that begin a response */
};

static struct step step_parts(int32_t *p, int slots)
{
    size_t n = (size_t)slots;
    return (struct step){(struct run *)p, p + 4 * n, p + 5 * n, p + 6 * n, p + 8 * n, p + 9 * n};
}

enum { PREFILL_ROWS = 512, CARD_SLOTS = 1024, THREAD_SLOTS = 64, SMALL_SLOTS = 32 };

/* Threads keep the weights of such a model near, each for itself. */
static int is_small(const struct arch *a)
{
    return arch_parameters(a) < 4000000;
}

/* On the processor 64 rows keep a thread's products as busy as more would, and the keys and values of all slots, which
 * every token reads, stay nearer (dev/LOG.md); where the weights are near as well, 32. A card reads a weight of two
 * bytes for two operations a row, and has some 300 operations of its matrix units for each byte that it reads: from a
 * few hundred rows on weights cost nothing. */
int sampler_slots(const struct device *d, const struct arch *a, int all)
{
    int most = d->ops->processor ? (is_small(a) ? SMALL_SLOTS : THREAD_SLOTS) * d->threads : CARD_SLOTS;
    return all < most ? all : most;
}

/* Slots whose logits are held at once: about 4 million of them, enough for the products to be fast. */
static int rows_at_once(int most, int V)
{
    static const int reals = 1 << 22, enough = 64;
    int n = reals / V > enough ? reals / V : enough;
    return n < most ? n : most;
}

/* Tokens of the cache: of every slot, and a region for rows that nobody asked for. As many as can be counted at most,
 * which no memory holds: whoever plans sees that it does not fit. */
static int store_tokens(int slots, int each)
{
    long all = (long)slots * each + KV_ALIGN;
    return all < INT_MAX ? (int)all : INT_MAX / KV_ALIGN * KV_ALIGN;
}

/* One sampler a thread pays where every operation is too short to be shared out, and costs the weights a pass more. */
static int workers_for(const struct device *d, const struct arch *a, int slots)
{
    enum { LEAST_SLOTS = 8 };
    int apart = d->ops->processor && d->threads > 1 && is_small(a);
    return apart && slots / d->threads >= LEAST_SLOTS ? d->threads : 0;
}

static void plan_workers(struct sampler *s, const struct arch *a, struct device *d)
{
    s->worker = mem_alloc((size_t)s->workers, sizeof *s->worker);
    for (int i = 0; i < s->workers; i++) {
        struct sampler *w = &s->worker[i];
        struct device one;
        device_single(&one, d);
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
    s->kv_store = store_tokens(slots, round_up(max_prompt, KV_ALIGN) + round_up(max_new, KV_ALIGN));
    struct attention_shape attention = {a->H, a->G, a->D, 1, s->kv_store};
    s->kv_stride = d->ops->store_reals(&attention);
    s->history = (size_t)slots * ((size_t)max_new + 1); /* and one place for each row that nobody asked for */
    tape_plan(&s->tape, a, d, rows, slots, 0, KEEP_NOTHING);
    s->draw_rows = rows_at_once(s->tape.chunk, a->V);
    size_t real = d->ops->real_bytes, n = (size_t)slots;
    arena_want(&s->arena, "key/value cache", (size_t)a->layers * s->kv_stride * real);
    arena_want(&s->arena, "hidden states of prompts", n * a->C * real);
    arena_want(&s->arena, "sampled tokens", n * 4);
    arena_want(&s->arena, "descriptors of a token", n * STEP_WORDS * 4);
    arena_want(&s->arena, "log-probabilities", s->history * real);
    arena_want(&s->arena, "entropies", s->history * real);
    arena_want(&s->arena, "supports", max_support ? s->history * max_support * 4 : 0);
    arena_want(&s->arena, "support sizes", max_support ? s->history * 4 : 0);
    arena_want(&s->arena, "logits", (size_t)s->draw_rows * a->V * real);
}

size_t sampler_bytes(const struct sampler *s)
{
    size_t bytes = s->arena.total + s->tape.arena.total;
    for (int i = 0; i < s->workers; i++)
        bytes += sampler_bytes(&s->worker[i]);
    return bytes;
}

void sampler_fit(struct sampler *s, const struct arch *a, struct device *d, int least, int slots, int max_prompt,
                 int max_new, int max_support, double bytes)
{
    int fits = least < 1 ? 1 : least, over = slots;
    sampler_plan(s, a, d, slots, max_prompt, max_new, max_support);
    if (over <= fits || (double)sampler_bytes(s) <= bytes)
        return;
    while (over - fits > 1) {
        int n = fits + (over - fits) / 2;
        sampler_free(s);
        sampler_plan(s, a, d, n, max_prompt, max_new, max_support);
        if ((double)sampler_bytes(s) <= bytes)
            fits = n;
        else
            over = n;
    }
    sampler_free(s);
    sampler_plan(s, a, d, fits, max_prompt, max_new, max_support);
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
    s->drawn.token.p = arena_at(&s->arena, 2);
    s->step.p = arena_at(&s->arena, 3);
    s->drawn.logp.p = arena_at(&s->arena, 4);
    s->drawn.entropy.p = arena_at(&s->arena, 5);
    s->drawn.support.p = s->max_support ? arena_at(&s->arena, 6) : NULL;
    s->drawn.supports.p = s->max_support ? arena_at(&s->arena, 7) : NULL;
    s->logits.p = arena_at(&s->arena, 8);
    tape_commit(&s->tape);
    layout_create(&s->layout, s->dev, s->tape.arch.V, rows, 2 * n + 1, n, n, 0);
    s->slot = mem_alloc((size_t)n, sizeof *s->slot);
    s->prompt = mem_alloc((size_t)n, sizeof *s->prompt);
    struct step at = step_parts(s->step.p, n);
    s->rows.region = s->layout.rows.region;
    s->rows.regions = 2 * n + 1;
    s->rows.run.p = (int32_t *)at.run;
    s->rows.id.p = at.id;
    s->rows.position.p = at.position;
    s->drawn.place.p = at.place;
    s->host = mem_alloc(2 * (size_t)rows + (size_t)n * STEP_WORDS, sizeof *s->host);
    /* regions never change: prompt slots first, then slots; a slot's parent and position are set when a sample moves in
     */
}

void sampler_free(struct sampler *s)
{
    for (int i = 0; i < s->workers; i++)
        sampler_free(&s->worker[i]);
    mem_free(s->worker);
    device_release_single(&s->one);
    arena_free(&s->arena);
    tape_free(&s->tape);
    layout_free(&s->layout);
    mem_free(s->slot);
    mem_free(s->prompt);
    mem_free(s->host);
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

/* Forward of the prompts in `which` (prompt slots), all at once; keeps the hidden state of each one's last token. */
static void prefill(struct sampler *s, const struct model *m, const struct work *w, const int *which, int n, int rows)
{
    const struct ops *op = s->dev->ops;
    struct rows *r = &s->layout.rows;
    struct run *run = (struct run *)s->host;
    int32_t *id = s->host + 4 * n, *position = id + rows, *last = position + rows, at = 0;
    DevInt index = {step_parts(s->step.p, s->slots).index};
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
    op->upload_int(s->dev, r->run, (const int32_t *)run, 4 * (size_t)n);
    op->upload_int(s->dev, r->id, id, (size_t)rows);
    op->upload_int(s->dev, r->position, position, (size_t)rows);
    op->upload_int(s->dev, index, last, (size_t)n);
    r->count = rows;
    r->runs = n;
    r->regions = 2 * s->slots + 1;
    r->groups = r->blocks = 0;
    model_forward(m, &s->tape, r, s->kv, s->kv_stride, s->kv_store);
    for (int i = 0; i < n; i++)
        op->gather(s->dev, dev_at(s->dev, s->prompt_hidden, (size_t)which[i] * m->arch.C), s->tape.normf,
                   dev_int_at(index, (size_t)i), 1, m->arch.C);
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

/* All that the rows of a token are called with, in a number: while it is the same, recordings of an earlier call hold.
 */
static uint64_t arguments_of(const struct sampler *s, const struct model *m, const struct sampling *how)
{
    const void *place[] = {s->step.p,          s->kv.p,     s->prompt_hidden.p, s->logits.p,    s->drawn.logp.p,
                           s->drawn.support.p, s->tape.x.p, s->rows.region.p,   m->param.p,     m->param16.p,
                           m->own.p,           m->own16.p,  m->rope.p,          s->dev->scratch};
    const size_t size[] = {(size_t)s->slots,   (size_t)s->max_prompt, (size_t)s->max_new, (size_t)s->max_support,
                           (size_t)s->prefill, s->dev->scratch_bytes, (size_t)m->adapters};
    uint64_t sum = hash_bytes(place, (int)sizeof place, 1);
    sum = hash_bytes(size, (int)sizeof size, sum);
    sum = hash_bytes(&m->arch, (int)sizeof m->arch, sum);
    return hash_bytes(how, (int)sizeof *how, sum);
}

static void forward_rows(struct sampler *s, const struct model *m, const struct work *w, int n)
{
    (void)w;
    s->rows.count = s->rows.runs = n;
    model_forward(m, &s->tape, &s->rows, s->kv, s->kv_stride, s->kv_store);
    s->dev->ops->copy(s->dev, s->tape.hidden, s->tape.normf, (size_t)n * m->arch.C);
}

/* Tokens of n hidden states, logits of some at a time. */
static void draw_rows(struct sampler *s, const struct model *m, const struct work *w, int n)
{
    struct device *d = s->dev;
    Dev head = model_matrix(m, m->head);
    DevInt bits = {step_parts(s->step.p, s->slots).bits};
    for (int at = 0; at < n; at += s->draw_rows) {
        int len = n - at < s->draw_rows ? n - at : s->draw_rows;
        struct drawn to = s->drawn;
        to.token = dev_int_at(to.token, (size_t)at);
        to.place = dev_int_at(to.place, (size_t)at);
        d->ops->linear_forward(d, s->logits, dev_at(d, s->tape.hidden, (size_t)at * m->arch.C), head, (Dev){0}, len,
                               m->arch.V, m->arch.C);
        d->ops->sample(d, &to, s->logits, dev_int_at(bits, 2 * (size_t)at), len, m->arch.V, w->how);
    }
}

/* Where the numbers of a slot's token stand in the history; -1 - i: those of a row i that nobody asked for. */
static size_t place_of(const struct sampler *s, int slot, int token)
{
    return slot < 0 ? (size_t)s->slots * s->max_new + (size_t)(-1 - slot) : (size_t)slot * s->max_new + (size_t)token;
}

/* The row of the forward pass that slot i's last token is. */
static void describe_row(const struct sampler *s, const struct work *w, const struct step *at, int row, int i)
{
    const struct slot *slot = &s->slot[i];
    const struct response *o = &w->out[slot->out];
    int pos = w->q[slot->request].prompt_len + o->len - 1;
    at->run[row] = (struct run){s->slots + i, row, 1, pos};
    at->id[row] = o->ids[o->len - 1];
    at->position[row] = pos;
}

/* The draw of slot i's next token. */
static void describe_draw(const struct sampler *s, const struct work *w, const struct step *at, int row, int i)
{
    const struct slot *slot = &s->slot[i];
    const struct request *q = &w->q[slot->request];
    int len = w->out[slot->out].len;
    struct rng r = rng_stream(w->seed, w->purpose, q->step, q->key, q->sample0 + (uint32_t)slot->sample);
    uint64_t x = rng_bits(r, (uint64_t)len);
    at->bits[2 * row] = (int32_t)(uint32_t)x;
    at->bits[2 * row + 1] = (int32_t)(uint32_t)(x >> 32);
    at->place[row] = (int32_t)place_of(s, i, len);
}

/* The next token of every slot in use: forward of the last token of those that have one, and a draw for all. which[]
 * lists the slots, running ones first; returns how many. All that the device is told goes up in one piece, and nothing
 * comes back: collect fetches the tokens. */
static int next_tokens(struct sampler *s, const struct model *m, const struct work *w, int *which)
{
    const struct ops *op = s->dev->ops;
    const struct step at = step_parts(s->host, s->slots);
    int n = s->slots, running = 0, all, C = m->arch.C;
    for (int i = 0; i < n; i++)
        if (s->slot[i].request >= 0 && s->slot[i].started) {
            describe_row(s, w, &at, running, i);
            which[running++] = i;
        }
    all = running;
    for (int i = 0; i < n; i++)
        if (s->slot[i].request >= 0 && !s->slot[i].started) {
            at.index[all - running] = s->slot[i].prompt;
            which[all++] = i;
        }
    if (!all)
        return 0;
    int rows = running ? padded_rows(s, running) : 0, draws = padded_rows(s, all);
    for (int i = running; i < rows; i++) {
        at.run[i] = (struct run){2 * n, i, 1, 0};
        at.id[i] = at.position[i] = 0;
    }
    for (int i = 0; i < draws; i++)
        if (i < all)
            describe_draw(s, w, &at, i, which[i]);
        else
            at.place[i] = (int32_t)place_of(s, -1 - i, 0);
    op->upload_int(s->dev, s->step, s->host, (size_t)n * STEP_WORDS);
    if (running)
        run_rows(s, m, w, FORWARD_ROWS, forward_rows, rows);
    if (all > running)
        op->gather(s->dev, dev_at(s->dev, s->tape.hidden, (size_t)running * C), s->prompt_hidden,
                   (DevInt){step_parts(s->step.p, n).index}, all - running, C);
    run_rows(s, m, w, DRAWN_ROWS, draw_rows, draws);
    return all;
}

static int is_end(const struct work *w, int32_t id)
{
    int found = 0;
    for (int i = 0; i < w->ends; i++)
        found |= w->end[i] == id;
    return found;
}

/* Fetches what was put aside of a response that is complete, and frees its slot. */
static void retire(struct sampler *s, const struct work *w, int i)
{
    const struct ops *op = s->dev->ops;
    struct slot *slot = &s->slot[i];
    const struct response *o = &w->out[slot->out];
    size_t at = place_of(s, i, 0), len = (size_t)o->len, S = (size_t)s->max_support;
    op->download(s->dev, o->logp, dev_at(s->dev, s->drawn.logp, at), len);
    op->download(s->dev, o->entropy, dev_at(s->dev, s->drawn.entropy, at), len);
    if (o->supports && S) {
        op->download_int(s->dev, o->supports, dev_int_at(s->drawn.supports, at), len);
        op->download_int(s->dev, o->support, dev_int_at(s->drawn.support, at * S), len * S);
    } else if (o->supports) {
        memset(o->supports, 0, len * sizeof *o->supports);
    }
    if (--s->prompt[slot->prompt].left == 0)
        s->prompt[slot->prompt].request = -1;
    slot->request = -1;
}

/* Copy the drawn tokens to their responses, which is all that the host waits for; end those that are complete. */
static void collect(struct sampler *s, const struct work *w, const int *which, int n)
{
    int32_t *token = s->host;
    s->dev->ops->download_int(s->dev, token, s->drawn.token, (size_t)n);
    for (int i = 0; i < n; i++) {
        struct slot *slot = &s->slot[which[i]];
        struct response *o = &w->out[slot->out];
        o->ids[o->len++] = token[i];
        slot->started = 1;
        int ended = is_end(w, token[i]), full = o->len == w->q[slot->request].max_new;
        o->truncated = full && !ended;
        if (ended || full)
            retire(s, w, which[i]);
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
static long run_queue(struct sampler *s, const struct model *m, struct work *w)
{
    long before = s->tokens;
    for (int i = 0; i < s->slots; i++)
        s->slot[i].request = s->prompt[i].request = -1;
    if (s->dev->ops->replay)
        s->dev->ops->forget(s->dev, arguments_of(s, m, w->how));
    int which[s->slots], n;
    do {
        admit(s, m, w);
        n = next_tokens(s, m, w, which);
        if (n)
            collect(s, w, which, n);
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
        run_queue(s, m, &w);
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
        const struct model alone = model_on(m, &s->worker[i].one);
        struct work part = w;
        tokens += run_queue(&s->worker[i], &alone, &part);
    }
    s->tokens += tokens;
    return 0;
}
