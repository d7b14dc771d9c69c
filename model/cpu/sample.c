/* Drawing a token from a row of logits, with temperature and truncation. The kept ids and the drawn one are chosen
 * here; their probabilities come from head_row. */
#include "cpu.h"

enum { STRETCH = 256 }; /* weights of all ids are summed in stretches first, so that the search is short */

/* Larger logit first, then smaller id. */
static int before(const float *logits, int32_t a, int32_t b)
{
    return logits[a] > logits[b] || (!(logits[a] < logits[b]) && a < b);
}

/* A heap of ids whose root is the last in that order. */
static void sift_down(int32_t *heap, int n, int i, const float *logits)
{
    for (int child = 2 * i + 1; child < n; i = child, child = 2 * i + 1) {
        if (child + 1 < n && before(logits, heap[child], heap[child + 1]))
            child++;
        if (!before(logits, heap[i], heap[child]))
            return;
        int32_t t = heap[i];
        heap[i] = heap[child];
        heap[child] = t;
    }
}

/* The first `keep` ids in order into first[keep]. */
static void sort_first(int32_t *first, int keep, const float *logits, int V)
{
    for (int i = 0; i < keep; i++)
        first[i] = i;
    for (int i = keep / 2; i-- > 0;)
        sift_down(first, keep, i, logits);
    for (int i = keep; i < V; i += LANES) { /* later ids are before the root only when their logit is larger */
        if (!vany(vload_n(logits + i, V - i, -INFINITY) > vset(logits[first[0]])))
            continue;
        for (int id = i; id < least(i + LANES, V); id++)
            if (logits[id] > logits[first[0]]) {
                first[0] = id;
                sift_down(first, keep, 0, logits);
            }
    }
    for (int n = keep; n > 1; n--) { /* the root is the last: put it there */
        int32_t t = first[0];
        first[0] = first[n - 1];
        first[n - 1] = t;
        sift_down(first, n - 1, 0, logits);
    }
}

/* weight[i] = exp(z - max) of ids kept[i] (NULL: i). */
static void row_weights(float *weight, const float *logits, const int32_t *kept, int n, float temperature, float max)
{
    for (int i = 0; i < n; i += LANES) {
        float x[LANES];
        for (int l = 0; kept && l < LANES; l++)
            x[l] = i + l < n ? logits[kept[i + l]] : -INFINITY;
        vec z = kept ? vload(x) : vload_n(logits + i, n - i, -INFINITY);
        vstore_n(weight + i, vexp(z / vset(temperature) - vset(max)), n - i);
    }
}

static double sum_weights(const float *w, int n)
{
    double lane[8] = {0}, sum = 0;
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++)
            lane[l] += w[i + l];
    for (; i < n; i++)
        lane[i % 8] += w[i];
    for (int l = 0; l < 8; l++)
        sum += lane[l];
    return sum;
}

/* The ids that truncation keeps, in order, into kept; returns how many. weight is scratch for V floats. */
static int truncate_row(int32_t *kept, float *weight, const float *logits, int V, const struct sampling *s)
{
    int keep = s->top_k > 0 ? s->top_k : s->max_support;
    keep = (int)least(keep < 1 ? 1 : keep, V);
    sort_first(kept, keep, logits, V);
    float max = logits[kept[0]] / s->temperature;
    double mass = 1, sum = 0;
    if (s->top_p < 1) {
        row_weights(weight, logits, s->top_k > 0 ? kept : NULL, s->top_k > 0 ? keep : V, s->temperature, max);
        mass = sum_weights(weight, s->top_k > 0 ? keep : V);
    }
    row_weights(weight, logits, kept, keep, s->temperature, max);
    int n = 0;
    while (n < keep) {
        if (n > 0 && s->min_p > 0 && !(weight[n] >= s->min_p))
            break;
        sum += weight[n++];
        if (s->top_p < 1 && sum >= (double)s->top_p * mass)
            break;
    }
    return (int)least(n, s->max_support < 1 ? 1 : s->max_support);
}

/* Index of the weight in which the fraction u of the total falls; never one of weight zero while there are others. */
static int draw(const float *w, int n, double u)
{
    double total = 0, sum = 0;
    for (int i = 0; i < n; i += STRETCH)
        total += sum_weights(w + i, (int)least(STRETCH, n - i));
    int last = 0;
    for (int i = 0; i < n; i += STRETCH) {
        double stretch = sum_weights(w + i, (int)least(STRETCH, n - i));
        if (sum + stretch > u * total) {
            for (int j = i; j < least(i + STRETCH, n); j++) {
                last = w[j] > 0 ? j : last;
                sum += w[j];
                if (sum > u * total)
                    return j;
            }
            return last;
        }
        sum += stretch;
    }
    for (int i = 0; i < n; i++)
        last = w[i] > 0 ? i : last;
    return last;
}

static int greedy(const float *logits, int V)
{
    int best = 0;
    for (int i = 0; i < V; i += LANES) {
        if (!vany(vload_n(logits + i, V - i, -INFINITY) > vset(logits[best])))
            continue;
        for (int id = i; id < least(i + LANES, V); id++)
            if (logits[id] > logits[best])
                best = id;
    }
    return best;
}

struct sampled { /* one row's results; support may be NULL */
    int32_t token, supports, *support;
    float logp, entropy;
};

static void sample_row(struct sampled *to, const float *logits, const int32_t *bits, int V, const struct sampling *s,
                       float *weight)
{
    int32_t *kept = NULL, *list = (int32_t *)(weight + V);
    float temperature = s->temperature > 0 ? s->temperature : 1;
    int n = V;
    if (s->temperature > 0 && (s->top_k > 0 || s->top_p < 1 || s->min_p > 0)) {
        n = truncate_row(list, weight, logits, V, s);
        kept = n < V ? list : NULL;
    }
    struct row_stat stat = head_row(logits, kept, n, temperature, s->temperature > 0 ? weight : NULL);
    if (s->temperature > 0) {
        uint64_t word = (uint64_t)(uint32_t)bits[1] << 32 | (uint32_t)bits[0];
        int i = draw(weight, n, (double)(word >> 11) * 0x1p-53);
        to->token = kept ? kept[i] : i;
    } else {
        to->token = greedy(logits, V);
    }
    to->logp = head_logp(&stat, logits[to->token], temperature);
    to->entropy = stat.entropy;
    to->supports = kept ? n : 0;
    if (kept)
        memcpy(to->support, kept, (size_t)n * sizeof *kept);
}

void cpu_sample(struct device *d, const struct drawn *to, Dev logits, DevInt bits, int R, int V,
                const struct sampling *s)
{
    if (V <= 0)
        return;
    int threads = threads_for(d, R * (90.0 * V + 10000));
    SHARE_OUT(threads, (dynamic, 16), for (int r = 0; r < R; r++), {
        size_t at = to->place.p ? (size_t)to->place.p[r] : (size_t)r;
        struct sampled one = {.support = to->support.p ? to->support.p + at * (size_t)s->max_support : NULL};
        sample_row(&one, reals(logits) + (size_t)r * V, bits.p + 2 * (size_t)r, V, s,
                   scratch_slice(d, 0, cpu_head_scratch(V)));
        to->token.p[r] = one.token;
        reals(to->logp)[at] = one.logp;
        reals(to->entropy)[at] = one.entropy;
        if (to->supports.p)
            to->supports.p[at] = one.supports;
    })
}
