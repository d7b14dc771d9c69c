/* Log-probabilities and entropies of rows of logits, and their gradient.
 *
 * Kept ids stand in their order (all ids: 0 .. V-1; a support: its own order) and are cut into blocks of HEAD_IDS.
 * Sums within a block run in 16 lanes by index and end in a fixed tree; blocks are joined in order. The sampler has
 * whole rows of logits and walks them so (head_row); training has one block of the vocabulary after the other and joins
 * what it finds there (cpu_logp_forward): the number recorded with a sampled token is the number computed for it in
 * training.
 */
#include "cpu.h"

/* 256 to 512 rows of so many logits, and the weights they come from, stay in the last cache. */
enum { HEAD_IDS = 2048 };

int cpu_head_ids(int V)
{
    return V < HEAD_IDS ? V : HEAD_IDS;
}

/* Of some of a row's z = logit / temperature: the largest, and over x = z - max the sums of e^x and of e^x x. */
struct part {
    float max, sum, dot;
};

/* Logits stand for the ids first .. first+ids. */
struct window {
    const float *logits;
    int first, ids;
};

INLINE int is_inside(const struct window *w, int id)
{
    return id >= w->first && id < w->first + w->ids;
}

/* Logits of the kept ids i .. i+LANES over the temperature; beyond n and outside the window: -infinity. Dividing by 1
 * changes nothing and takes a third of the time: `divide` is then 0. */
INLINE vec load_kept(const struct window *w, const int32_t *kept, int i, int n, vec temperature, const int divide)
{
    vec z;
    if (kept) {
        float x[LANES];
        for (int l = 0; l < LANES; l++)
            x[l] = i + l < n && is_inside(w, kept[i + l]) ? w->logits[kept[i + l] - w->first] : -INFINITY;
        z = vload(x);
    } else {
        z = vload_n(w->logits + i, n - i, -INFINITY);
    }
    return divide ? z / temperature : z;
}

/* p log p is 0 for p = 0, so log p may be cut off where e^x is 0; NaN stays. */
INLINE vec cut_off(vec x)
{
    return vselect(x < vset(-1000.0f), vset(-1000.0f), x);
}

/* One block: the kept ids 0 .. n-1 of kept, or of the window. */
INLINE struct part block_body(const struct window *w, const int32_t *kept, int n, float temperature, float *weight,
                              const int divide)
{
    vec most = vset(-INFINITY), T = vset(temperature), sum[PARTS], dot[PARTS];
    for (int i = 0; i < n; i += LANES)
        most = vmax(most, load_kept(w, kept, i, n, T, divide));
    struct part s = {.max = tree_max(most)};
    vec from = vset(s.max == -INFINITY ? 0.0f : s.max); /* all impossible: the sums are 0 */
    for (int p = 0; p < PARTS; p++)
        sum[p] = dot[p] = vset(0.0f);
    for (int i = 0; i < n; i += LANES) {
        vec x = load_kept(w, kept, i, n, T, divide) - from, e = vexp(x);
        if (weight)
            vstore_n(weight + i, e, n - i);
        sum[i / LANES % PARTS] = sum[i / LANES % PARTS] + e;
        dot[i / LANES % PARTS] = vfma(e, cut_off(x), dot[i / LANES % PARTS]);
    }
    s.sum = tree_sum(sum);
    s.dot = tree_sum(dot);
    return s;
}

static struct part block_part(const struct window *w, const int32_t *kept, int n, float temperature, float *weight)
{
    return temperature == 1 ? block_body(w, kept, n, temperature, weight, 0)
                            : block_body(w, kept, n, temperature, weight, 1);
}

/* The ids of both: x of each part is that of its own maximum, less how far it lies below the common one. */
static struct part joined(struct part a, struct part b)
{
    struct part s = {.max = a.max > b.max ? a.max : b.max};
    if (a.max != a.max || b.max != b.max)
        s.max = NAN;
    float below_a = a.max < s.max - 1000 ? -1000 : a.max - s.max,
          below_b = b.max < s.max - 1000 ? -1000 : b.max - s.max;
    float scale_a = exp_one(below_a), scale_b = exp_one(below_b);
    s.sum = a.sum * scale_a + b.sum * scale_b;
    s.dot = (a.dot + below_a * a.sum) * scale_a + (b.dot + below_b * b.sum) * scale_b;
    return s;
}

static struct row_stat stat_of(struct part p)
{
    struct row_stat s = {p.max, p.sum, log_one(p.sum), 0};
    s.entropy = s.logsum - p.dot / p.sum;
    return s;
}

struct row_stat head_row(const float *logits, const int32_t *kept, int n, float temperature, float *weight)
{
    int blocks = n > HEAD_IDS ? (n + HEAD_IDS - 1) / HEAD_IDS : 1;
    float max[blocks];
    struct part all = {0};
    for (int b = 0; b < blocks; b++) {
        int at = b * HEAD_IDS, ids = (int)least(HEAD_IDS, n - at);
        struct window w = {kept ? logits : logits + at, 0, kept ? INT32_MAX : ids};
        struct part p = block_part(&w, kept ? kept + at : NULL, ids, temperature, weight ? weight + at : NULL);
        max[b] = p.max;
        all = b ? joined(all, p) : p;
    }
    for (int b = 0; weight && blocks > 1 && b < blocks; b++) {
        float scale = max[b] < all.max - 1000 ? 0 : exp_one(max[b] - all.max);
        for (int i = b * HEAD_IDS; i < least((b + 1) * HEAD_IDS, n); i++)
            weight[i] *= scale;
    }
    return stat_of(all);
}

/* The ids an entry keeps; *n of them, NULL for all. */
static const int32_t *entry_kept(const struct entries *e, int r, int V, int *n)
{
    *n = e->support.p && e->supports.p[r] ? e->supports.p[r] : V;
    return e->support.p && e->supports.p[r] ? e->support.p + (size_t)r * e->max_support : NULL;
}

static int is_kept(const int32_t *kept, int n, int id)
{
    for (int i = 0; kept && i < n; i++)
        if (kept[i] == id)
            return 1;
    return !kept;
}

/* While blocks are joined: what is known of the row so far, and the target's logit once it was met. */
struct pending {
    struct part part;
    float logit;
};

/* One block of a row that keeps all ids. */
static void add_block(struct pending *p, const struct window *w, int target, float temperature)
{
    struct part b = block_part(w, NULL, w->ids, temperature, NULL);
    p->part = w->first ? joined(p->part, b) : b;
    if (is_inside(w, target))
        p->logit = w->logits[target - w->first];
}

static void whole_row(float *logp, struct row_stat *s, const float *row, const struct entries *e, int r, int V)
{
    int n, target = e->target.p[r];
    float temperature = reals(e->temperature)[r];
    const int32_t *kept = entry_kept(e, r, V, &n);
    *s = head_row(row, kept, n, temperature, NULL);
    *logp = is_kept(kept, n, target) ? head_logp(s, row[target], temperature) : -INFINITY;
}

void cpu_logp_forward(struct device *d, Dev logp, Dev entropy, Dev stat, Dev logits, const struct entries *e, int first,
                      int ids, int V)
{
    if (ids < V && (first % HEAD_IDS || (ids != HEAD_IDS && first + ids != V)))
        die("logits of %d ids from %d on, where blocks have %d", ids, first, HEAD_IDS);
    int threads = threads_for(d, e->count * (60.0 * ids + 4000));
    SHARE_OUT(threads, (static), for (int r = 0; r < e->count; r++), {
        struct window w = {reals(logits) + (size_t)r * ids, first, ids};
        float *to = reals(stat) + 4 * (size_t)r;
        struct row_stat s;
        if (ids == V) {
            whole_row(&reals(logp)[r], &s, w.logits, e, r, V);
        } else {
            struct pending p;
            memcpy(&p, to, sizeof p);
            add_block(&p, &w, e->target.p[r], reals(e->temperature)[r]);
            memcpy(to, &p, sizeof p);
            if (first + ids < V)
                continue;
            s = stat_of(p.part);
            reals(logp)[r] = head_logp(&s, p.logit, reals(e->temperature)[r]);
        }
        reals(entropy)[r] = s.entropy;
        memcpy(to, &s, sizeof s);
    })
}

size_t cpu_head_scratch(int V)
{
    return round_up((size_t)V * (sizeof(float) + sizeof(int32_t)) + 64, 64);
}

/* What the gradients of a row have in common. */
struct pull {
    struct row_stat stat;
    float temperature, logp, entropy; /* gradients of these two */
};

/* Gradients of the kept ids into g[n], in their order. */
INLINE void gradient_body(float *g, const struct window *w, const int32_t *kept, int n, const struct pull *q,
                          const int divide)
{
    vec T = vset(q->temperature), inverse = vset(1.0f / q->stat.sum);
    for (int i = 0; i < n; i += LANES) {
        vec x = load_kept(w, kept, i, n, T, divide) - vset(q->stat.max), p = vexp(x) * inverse;
        vec surprise = cut_off(x) - vset(q->stat.logsum) + vset(q->stat.entropy);
        vec y = -vset(q->logp) * p - vset(q->entropy) * p * surprise;
        vstore_n(g + i, divide ? y / T : y, n - i);
    }
}

static void row_gradient(float *g, const struct window *w, const int32_t *kept, int n, const struct pull *q)
{
    if (q->temperature == 1)
        gradient_body(g, w, kept, n, q, 0);
    else
        gradient_body(g, w, kept, n, q, 1);
}

static void entry_backward(float *to, const struct window *w, const struct entries *e, int r, const struct pull *q,
                           int V, float *scratch)
{
    int n, target = e->target.p[r];
    const int32_t *kept = entry_kept(e, r, V, &n);
    row_gradient(kept ? scratch : to, w, kept, kept ? n : w->ids, q);
    if (kept) {
        memset(to, 0, (size_t)w->ids * sizeof *to);
        for (int i = 0; i < n; i++)
            if (is_inside(w, kept[i]))
                to[kept[i] - w->first] = scratch[i];
    }
    if (is_inside(w, target) && is_kept(kept, n, target))
        to[target - w->first] += q->logp / q->temperature;
}

void cpu_logp_backward(struct device *d, Dev dlogits, Dev logits, Dev stat, const struct entries *e, Dev glogp,
                       Dev gentropy, int first, int ids, int V)
{
    int threads = threads_for(d, e->count * (40.0 * ids + 4000));
    SHARE_OUT(threads, (static), for (int r = 0; r < e->count; r++), {
        struct window w = {reals(logits) + (size_t)r * ids, first, ids};
        struct pull q = {
            .temperature = reals(e->temperature)[r], .logp = reals(glogp)[r], .entropy = reals(gentropy)[r]};
        memcpy(&q.stat, reals(stat) + 4 * (size_t)r, sizeof q.stat);
        entry_backward(reals(dlogits) + (size_t)r * ids, &w, e, r, &q, V,
                       e->support.p ? scratch_slice(d, 0, cpu_head_scratch(V)) : NULL);
    })
}
