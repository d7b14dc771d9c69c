/* Drawing a token from a row of logits, with temperature and truncation: a block of threads a row. The kept ids and the
 * drawn one are chosen here; their probabilities come from head_row. */
#ifndef CUDA_SAMPLE_CUH
#define CUDA_SAMPLE_CUH
#include "head.cuh"

struct drawing {
    int32_t *token, *support, *supports;
    const int32_t *place;
    float *logp, *entropy;
    const float *logits;
    const int32_t *bits;
    int V;
    struct sampling s;
};

/* ---- the first ids in the order of larger logit, then smaller id ---- */

/* Larger for larger logits; 0 and -0 alike. */
DEVICE unsigned order_of(float logit)
{
    unsigned bits = (unsigned)bits_of(logit + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* The first `keep` ids are those whose order is above `order`, and those of that order up to `id`. */
struct cut {
    unsigned order;
    int id;
};

DEVICE int before_cut(const float *logits, int id, struct cut c)
{
    unsigned order = order_of(logits[id]);
    return order > c.order || (order == c.order && id <= c.id);
}

/* Which of 256 values the *left-th number counted has, from the top (down 1) or from the bottom; *left becomes its
 * place within that value. By all threads together; runs of 16 values are added up first. */
DEVICE unsigned count_walk(const int *counter, int *left, int down)
{
    SHARED int run[16];
    int sum = 0, value = 0;
    ROLLED
    for (int i = 0; THREAD < 16 && i < 16; i++)
        sum += counter[THREAD * 16 + i];
    if (THREAD < 16)
        run[THREAD] = sum;
    block_wait();
    ROLLED
    for (; run[down ? 15 - value : value] < *left; value++)
        *left -= run[down ? 15 - value : value];
    ROLLED
    for (value *= 16; counter[down ? 255 - value : value] < *left; value++)
        *left -= counter[down ? 255 - value : value];
    return (unsigned)(down ? 255 - value : value);
}

/* By all threads together; 1 <= keep <= V. Eight bits of the order a pass, then eight bits of the id if not all ids of
 * that order are kept. */
DEVICE struct cut find_cut(const float *logits, int V, int keep)
{
    SHARED int counter[256];
    struct cut c = {0, V};
    unsigned known = 0, id = 0;
    int left = keep, equal = 0, chosen = 0; /* chosen: among ids of equal order */
    ROLLED
    for (int pass = 0; pass < 8; pass++) { /* the same number of passes in all threads */
        int shift = 24 - pass % 4 * 8, ids = pass >= 4;
        if (ids && equal == left)
            break;
        known = shift == 24 ? 0 : ~0u << (shift + 8);
        block_wait();
        counter[THREAD] = 0;
        block_wait();
        for (int i = THREAD; i < V; i += THREADS) {
            unsigned order = order_of(logits[i]);
            if (!ids && (order & known) == c.order)
                count_up(&counter[order >> shift & 255], 1);
            if (ids && order == c.order && ((unsigned)i & known) == id)
                count_up(&counter[(unsigned)i >> shift & 255], 1);
        }
        block_wait();
        unsigned value = count_walk(counter, &left, !ids);
        equal = counter[value];
        chosen = ids;
        if (ids)
            id |= value << shift;
        else
            c.order |= value << shift;
    }
    if (chosen)
        c.id = (int)id;
    return c;
}

/* Sorts ids[n] into the order of ids, by all threads together: bitonic, every comparison upwards (the first of each
 * round mirrors), so that places beyond n need not exist. */
DEVICE int later(const float *logits, int a, int b)
{
    unsigned x = order_of(logits[a]), y = order_of(logits[b]);
    return x < y || (x == y && a > b);
}

DEVICE void sort_ids(int32_t *ids, int n, const float *logits)
{
    int size = 1;
    while (size < n)
        size *= 2;
    for (int round = 2; round <= size; round *= 2)
        for (int apart = round / 2; apart > 0; apart /= 2) {
            block_wait();
            for (int i = THREAD; i < n; i += THREADS) {
                int other = apart == round / 2 ? i ^ (round - 1) : i ^ apart;
                if (other > i && other < n && later(logits, ids[i], ids[other])) {
                    int32_t id = ids[i];
                    ids[i] = ids[other];
                    ids[other] = id;
                }
            }
        }
    block_wait();
}

/* ---- weights e^(z - max) ---- */

DEVICE float weight_of(const float *logits, int id, float temperature, float max)
{
    return exp_of(logits[id] / temperature - max);
}

/* Sum of the weights of the ids before the cut, in double, in a fixed order. */
DEVICE double mass_before(const struct drawing *a, const float *logits, struct cut c, float max)
{
    double sum = 0;
    for (int id = THREAD; id < a->V; id += THREADS)
        if (before_cut(logits, id, c))
            sum += weight_of(logits, id, a->s.temperature, max);
    return block_sum_double(sum);
}

/* The ids that truncation keeps, in order, into ids[max_support]; returns how many. */
DEVICE int truncate_row(const struct drawing *a, int32_t *ids, const float *logits, float max)
{
    SHARED int count;
    int V = a->V, top = a->s.top_k > 0 && a->s.top_k < V ? a->s.top_k : V;
    int keep = a->s.max_support < 1 ? 1 : a->s.max_support;
    struct cut all = {0, V};
    double mass = a->s.top_p < 1 ? mass_before(a, logits, top < V ? find_cut(logits, V, top) : all, max) : 1, sum = 0;
    keep = keep < top ? keep : top;
    struct cut c = find_cut(logits, V, keep);
    block_wait();
    if (THREAD == 0)
        count = 0;
    block_wait();
    for (int id = THREAD; id < V; id += THREADS)
        if (before_cut(logits, id, c))
            ids[count_up(&count, 1)] = id;
    sort_ids(ids, keep, logits);
    if (THREAD == 0) {
        count = 0;
        while (count < keep) {
            float weight = weight_of(logits, ids[count], a->s.temperature, max);
            if (count > 0 && a->s.min_p > 0 && !(weight >= a->s.min_p))
                break;
            sum += weight;
            count++;
            if (a->s.top_p < 1 && sum >= (double)a->s.top_p * mass)
                break;
        }
    }
    block_wait();
    return count;
}

/* The place among the kept ids in which the fraction u of the total weight falls; never one of weight zero while there
 * are others. Each thread adds a stretch of neighbours; the stretches are searched, then the ids of one. */
DEVICE int draw(struct kept k, const float *logits, float temperature, float max, double u)
{
    SHARED double stretch[THREADS];
    SHARED int place;
    int each = (k.count + THREADS - 1) / THREADS;
    double own = 0;
    for (int i = THREAD * each; i < (THREAD + 1) * each && i < k.count; i++)
        own += weight_of(logits, kept_id(k, i), temperature, max);
    block_wait();
    stretch[THREAD] = own;
    block_wait();
    if (THREAD == 0) {
        double total = 0, sum = 0;
        int s = 0, last = 0, found = -1;
        ROLLED
        for (int i = 0; i < THREADS; i++)
            total += stretch[i];
        while (s < THREADS && sum + stretch[s] <= u * total)
            sum += stretch[s++];
        for (int i = s < THREADS ? s * each : 0; found < 0 && i < k.count; i++) {
            float weight = weight_of(logits, kept_id(k, i), temperature, max);
            sum = s < THREADS ? sum + weight : sum;
            last = weight > 0 ? i : last;
            if (s < THREADS && sum > u * total)
                found = i;
        }
        place = found < 0 ? last : found;
    }
    block_wait();
    return place;
}

/* The first id in order: that of the largest logit, the lowest among equals. */
DEVICE int greedy(const float *logits, int V)
{
    SHARED int best[THREADS];
    int mine = THREAD < V ? THREAD : 0;
    for (int id = THREAD; id < V; id += THREADS)
        if (later(logits, mine, id))
            mine = id;
    block_wait();
    best[THREAD] = mine;
    block_wait();
    ROLLED
    for (int i = 0; i < THREADS; i++)
        if (later(logits, mine, best[i]))
            mine = best[i];
    return mine;
}

KERNEL(sample_kernel, THREADS, drawing)
{
    const float *row = a.logits + (size_t)BLOCK * a.V;
    size_t at = (size_t)(a.place ? a.place[BLOCK] : BLOCK);
    int32_t *ids = a.support ? a.support + at * (size_t)a.s.max_support : NULL;
    int draws = a.s.temperature > 0, id = 0;
    float temperature = draws ? a.s.temperature : 1.0f;
    struct kept k = {NULL, a.V};
    int first = greedy(row, a.V);
    if (draws && (a.s.top_k > 0 || a.s.top_p < 1 || a.s.min_p > 0)) {
        int n = truncate_row(&a, ids, row, row[first] / temperature);
        if (n < a.V) {
            k.ids = ids;
            k.count = n;
        }
    }
    struct row_stat s = head_row(row, k, temperature);
    if (draws) {
        const int32_t *bits = a.bits + 2 * (size_t)BLOCK;
        uint64_t word = (uint64_t)(uint32_t)bits[1] << 32 | (uint32_t)bits[0];
        id = kept_id(k, draw(k, row, temperature, s.max, (double)(word >> 11) * 0x1p-53));
    } else {
        id = first;
    }
    if (THREAD == 0) {
        a.token[BLOCK] = id;
        a.logp[at] = head_logp(s, row[id], temperature);
        a.entropy[at] = s.entropy;
        if (a.supports)
            a.supports[at] = k.ids ? k.count : 0;
    }
}

static void cuda_sample(struct device *d, const struct drawn *to, Dev logits, DevInt bits, int R, int V,
                        const struct sampling *s)
{
    struct drawing a = {to->token.p,        to->support.p, to->supports.p, to->place.p, reals(to->logp),
                        reals(to->entropy), reals(logits), bits.p,         V,           *s};
    if (V > 0)
        LAUNCH(sample_kernel, d, R, 1, 0, a);
}

#endif
