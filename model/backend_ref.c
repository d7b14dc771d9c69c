/* The reference table: every row of backend.h as the plainest loops that are right, in double, one thread.
 *
 * Read this to learn what the rows compute; tests compare the other tables with it, and check it by finite differences.
 * It is not fast and is never meant to be. Weights lie plainly as [N][K], a layer of the store as keys [store][G*D] and
 * then values [store][G*D]. A new row of backend.h gets its definition here first.
 */
#include <math.h>
#include <string.h>
#include "backend.h"
#include "base/error.h"
#include "base/mem.h"

static double *reals(Dev x)
{
    return x.p;
}

static const struct run *runs_of(const struct rows *r)
{
    return (const struct run *)r->run.p;
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- memory ---- */

static void *ref_alloc(struct device *d, size_t bytes)
{
    (void)d;
    return mem_alloc(bytes, 1);
}

static void ref_release(struct device *d, void *p)
{
    (void)d;
    mem_free(p);
}

static void ref_upload(struct device *d, Dev to, const double *from, size_t n)
{
    (void)d;
    if (n)
        memcpy(to.p, from, n * sizeof *from);
}

static void ref_download(struct device *d, double *to, Dev from, size_t n)
{
    (void)d;
    if (n)
        memcpy(to, from.p, n * sizeof *to);
}

static void ref_upload_int(struct device *d, DevInt to, const int32_t *from, size_t n)
{
    (void)d;
    if (n)
        memcpy(to.p, from, n * sizeof *from);
}

static void ref_download_int(struct device *d, int32_t *to, DevInt from, size_t n)
{
    (void)d;
    if (n)
        memcpy(to, from.p, n * sizeof *to);
}

static void ref_zero(struct device *d, Dev x, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++)
        reals(x)[i] = 0;
}

static void ref_copy(struct device *d, Dev to, Dev from, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++)
        reals(to)[i] = reals(from)[i];
}

static void ref_sync(struct device *d)
{
    (void)d;
}

static size_t ref_scratch_bytes(const struct device *d, enum scratch_row row, const struct scratch_shape *s)
{
    (void)d;
    (void)row;
    (void)s;
    return 0;
}

/* ---- weights ---- */

static size_t ref_weight_reals(int N, int K)
{
    return (size_t)N * (size_t)K;
}

static void ref_pack(struct device *d, Dev W, const double *from, int row, int rows, int N, int K)
{
    (void)N;
    ref_upload(d, dev_at(d, W, (size_t)row * K), from, (size_t)rows * K);
}

static void ref_unpack(struct device *d, double *to, Dev W, int row, int rows, int N, int K)
{
    (void)N;
    ref_download(d, to, dev_at(d, W, (size_t)row * K), (size_t)rows * K);
}

/* ---- embedding ---- */

static void ref_embed_forward(struct device *d, Dev x, const struct rows *r, Dev wte, Dev wpe, int V, int C)
{
    (void)d;
    (void)V;
    for (int t = 0; t < r->count; t++)
        for (int c = 0; c < C; c++) {
            reals(x)[t * C + c] = reals(wte)[r->id.p[t] * C + c];
            if (wpe.p)
                reals(x)[t * C + c] += reals(wpe)[r->position.p[t] * C + c];
        }
}

static void ref_embed_backward(struct device *d, Dev dwte, Dev dwpe, Dev dx, const struct rows *r, int V, int C)
{
    (void)d;
    (void)V;
    for (int t = 0; t < r->count; t++)
        for (int c = 0; c < C; c++) {
            reals(dwte)[r->id.p[t] * C + c] += reals(dx)[t * C + c];
            if (dwpe.p)
                reals(dwpe)[r->position.p[t] * C + c] += reals(dx)[t * C + c];
        }
}

/* ---- norm ---- */

static void ref_norm_forward(struct device *d, Dev out, Dev stat, Dev in, Dev w, Dev b, const struct norm_shape *s)
{
    (void)d;
    for (int v = 0; v < s->rows * s->heads; v++) {
        const double *x = reals(in) + (size_t)(v / s->heads) * s->in_stride + v % s->heads * s->dim;
        double *y = reals(out) + (size_t)(v / s->heads) * s->out_stride + v % s->heads * s->dim;
        double mean = 0, variance = 0;
        for (int i = 0; i < s->dim && s->kind == NORM_LAYER; i++)
            mean += x[i] / s->dim;
        for (int i = 0; i < s->dim; i++)
            variance += (x[i] - mean) * (x[i] - mean) / s->dim;
        double rstd = 1 / sqrt(variance + s->eps);
        for (int i = 0; i < s->dim; i++)
            y[i] = (x[i] - mean) * rstd * reals(w)[i] + (b.p ? reals(b)[i] : 0);
        if (stat.p) {
            reals(stat)[2 * v] = mean;
            reals(stat)[2 * v + 1] = rstd;
        }
    }
}

/* With xhat = (x - mean) rstd and g = dout w: din (+)= rstd (g - mean(g) - xhat mean(g xhat)); without mean(g) for RMS.
 */
static void ref_norm_backward(struct device *d, Dev din, Dev dw, Dev db, Dev dout, Dev in, Dev w, Dev stat,
                              const struct norm_shape *s, DevInt block, int blocks)
{
    (void)d;
    for (int v = 0; v < s->rows * s->heads; v++) {
        size_t at_in = (size_t)(v / s->heads) * s->in_stride + v % s->heads * s->dim;
        const double *x = reals(in) + at_in, *weight = reals(w);
        const double *dy = reals(dout) + (size_t)(v / s->heads) * s->out_stride + v % s->heads * s->dim;
        double mean = reals(stat)[2 * v], rstd = reals(stat)[2 * v + 1], level = 0, along = 0;
        for (int i = 0; i < s->dim; i++) {
            if (s->kind == NORM_LAYER)
                level += dy[i] * weight[i] / s->dim;
            along += dy[i] * weight[i] * (x[i] - mean) * rstd / s->dim;
        }
        for (int i = 0; i < s->dim; i++) {
            double old = s->overwrite ? 0 : reals(din)[at_in + i];
            reals(din)[at_in + i] = old + rstd * (dy[i] * weight[i] - level - (x[i] - mean) * rstd * along);
        }
    }
    for (int b = 0; b < blocks && dw.p; b++) {
        struct span rows = ((const struct span *)block.p)[b];
        for (int v = rows.start * s->heads; v < (rows.start + rows.len) * s->heads; v++)
            for (int i = 0; i < s->dim; i++) {
                double x = reals(in)[(size_t)(v / s->heads) * s->in_stride + v % s->heads * s->dim + i];
                double dy = reals(dout)[(size_t)(v / s->heads) * s->out_stride + v % s->heads * s->dim + i];
                reals(dw)[i] += dy * (x - reals(stat)[2 * v]) * reals(stat)[2 * v + 1];
                if (db.p)
                    reals(db)[i] += dy;
            }
    }
}

/* ---- linear ---- */

static void ref_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K)
{
    (void)d;
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++)
            reals(out)[(size_t)m * N + n] =
                dot(reals(in) + (size_t)m * K, reals(W) + (size_t)n * K, K) + (b.p ? reals(b)[n] : 0);
}

static void ref_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K)
{
    (void)d;
    for (int m = 0; m < M; m++)
        for (int k = 0; k < K; k++) {
            double sum = 0;
            for (int n = 0; n < N; n++)
                sum += reals(dout)[(size_t)m * N + n] * reals(W)[(size_t)n * K + k];
            reals(din)[(size_t)m * K + k] = sum;
        }
}

static void ref_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks,
                                       int M, int N, int K)
{
    (void)d;
    (void)M;
    for (int b = 0; b < blocks; b++) {
        struct span rows = ((const struct span *)block.p)[b];
        for (int m = rows.start; m < rows.start + rows.len; m++)
            for (int n = 0; n < N; n++) {
                for (int k = 0; k < K; k++)
                    reals(dW)[(size_t)n * K + k] += reals(dout)[(size_t)m * N + n] * reals(in)[(size_t)m * K + k];
                if (db.p)
                    reals(db)[n] += reals(dout)[(size_t)m * N + n];
            }
    }
}

/* ---- rotary positions ---- */

static void ref_rotary(struct device *d, Dev x, Dev table, DevInt position, int T, int heads, int D, int stride,
                       int direction)
{
    (void)d;
    for (int t = 0; t < T; t++)
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < D / 2; i++) {
                double *v = reals(x) + (size_t)t * stride + (size_t)h * D;
                const double *angle = reals(table) + ((size_t)position.p[t] * (D / 2) + i) * 2;
                double c = angle[0], s = direction < 0 ? -angle[1] : angle[1];
                double a = v[i], b = v[i + D / 2];
                v[i] = a * c - b * s;
                v[i + D / 2] = b * c + a * s;
            }
}

/* ---- attention ---- */

static size_t ref_store_reals(const struct attention_shape *s)
{
    return 2 * (size_t)s->store * s->G * s->D;
}

/* Which token of the store holds absolute position `pos` on the chain of regions that ends in `region`. */
static int token_at(const struct rows *r, int region, int pos)
{
    const struct region *all = (const struct region *)r->region.p;
    while (pos < all[region].pos)
        region = all[region].parent;
    return all[region].base + pos - all[region].pos;
}

static const double *key_at(Dev kv, const struct attention_shape *s, int token, int g)
{
    return reals(kv) + ((size_t)token * s->G + g) * s->D;
}

static const double *value_at(Dev kv, const struct attention_shape *s, int token, int g)
{
    return key_at(kv, s, s->store + token, g);
}

static void ref_store(struct device *d, Dev kv, Dev qkv, const struct rows *r, const struct attention_shape *s)
{
    (void)d;
    int width = (s->H + 2 * s->G) * s->D, keys = s->G * s->D;
    for (const struct run *run = runs_of(r); run < runs_of(r) + r->runs; run++)
        for (int t = 0; t < run->len; t++) {
            const double *from = reals(qkv) + (size_t)(run->row + t) * width + s->H * s->D;
            size_t token = (size_t)token_at(r, run->region, run->pos + t);
            for (int i = 0; i < keys; i++) {
                reals(kv)[token * keys + i] = from[i];
                reals(kv)[(s->store + token) * keys + i] = from[keys + i];
            }
        }
}

/* One query over positions 0 .. last: out = sum_j exp(s_j - max) v_j / sum_j exp(s_j - max), s_j = q.k_j scale. */
static void attend(double *out, double stat[2], const double *q, Dev kv, const struct rows *r,
                   const struct attention_shape *s, int region, int last, int g)
{
    double max = -INFINITY, sum = 0;
    for (int j = 0; j <= last; j++)
        max = fmax(max, dot(q, key_at(kv, s, token_at(r, region, j), g), s->D) * s->scale);
    for (int i = 0; i < s->D; i++)
        out[i] = 0;
    for (int j = 0; j <= last; j++) {
        int token = token_at(r, region, j);
        double e = exp(dot(q, key_at(kv, s, token, g), s->D) * s->scale - max);
        sum += e;
        for (int i = 0; i < s->D; i++)
            out[i] += e * value_at(kv, s, token, g)[i];
    }
    for (int i = 0; i < s->D; i++)
        out[i] /= sum;
    stat[0] = max;
    stat[1] = sum;
}

static void ref_attention_forward(struct device *d, Dev out, Dev stat, Dev qkv, Dev kv, const struct rows *r,
                                  const struct attention_shape *s)
{
    (void)d;
    int width = (s->H + 2 * s->G) * s->D;
    for (const struct run *run = runs_of(r); run < runs_of(r) + r->runs; run++)
        for (int t = 0; t < run->len; t++)
            for (int h = 0; h < s->H; h++) {
                size_t row = (size_t)(run->row + t);
                double two[2];
                attend(reals(out) + (row * s->H + h) * s->D, stat.p ? reals(stat) + 2 * (row * s->H + h) : two,
                       reals(qkv) + row * width + h * s->D, kv, r, s, run->region, run->pos + t, h / (s->H / s->G));
            }
}

/* The row of the batch that holds a token of the store. */
static size_t row_of(const struct rows *r, int token)
{
    for (const struct run *run = runs_of(r); run < runs_of(r) + r->runs; run++) {
        int first = token_at(r, run->region, run->pos);
        if (token >= first && token < first + run->len)
            return (size_t)(run->row + token - first);
    }
    return 0;
}

/* With p_j the probabilities and dp_j = dout.v_j: ds_j = p_j (dp_j - dout.out) scale; dq = sum ds_j k_j, dk_j += ds_j
 * q, dv_j += p_j dout. */
static void attend_backward(Dev dqkv, const double *dout, const double *out, const double *stat, Dev qkv, Dev kv,
                            const struct rows *r, const struct attention_shape *s, const struct run *run, int t, int h)
{
    int D = s->D, g = h / (s->H / s->G), width = (s->H + 2 * s->G) * D;
    size_t at = (size_t)(run->row + t) * width + (size_t)h * D;
    double *dq = reals(dqkv) + at, delta = dot(dout, out, D);
    const double *q = reals(qkv) + at;
    for (int j = 0; j <= run->pos + t; j++) {
        int token = token_at(r, run->region, j);
        const double *k = key_at(kv, s, token, g), *v = value_at(kv, s, token, g);
        double *dk = reals(dqkv) + row_of(r, token) * width + (size_t)(s->H + g) * D, *dv = dk + s->G * D;
        double p = exp(dot(q, k, D) * s->scale - stat[0]) / stat[1];
        double ds = p * (dot(dout, v, D) - delta) * s->scale;
        for (int i = 0; i < D; i++) {
            dq[i] += ds * k[i];
            dk[i] += ds * q[i];
            dv[i] += p * dout[i];
        }
    }
}

static void ref_attention_backward(struct device *d, Dev dqkv, Dev dout, Dev out, Dev stat, Dev qkv, Dev kv,
                                   const struct rows *r, const struct attention_shape *s)
{
    ref_zero(d, dqkv, (size_t)r->count * (s->H + 2 * s->G) * s->D);
    for (const struct run *run = runs_of(r); run < runs_of(r) + r->runs; run++)
        for (int t = 0; t < run->len; t++)
            for (int h = 0; h < s->H; h++) {
                size_t head = (size_t)(run->row + t) * s->H + h;
                attend_backward(dqkv, reals(dout) + head * s->D, reals(out) + head * s->D, reals(stat) + 2 * head, qkv,
                                kv, r, s, run, t, h);
            }
}

/* ---- activations ---- */

static const double gelu_a = 0.79788456080286535588, gelu_b = 0.044715; /* sqrt(2/pi) */

static void ref_gelu_forward(struct device *d, Dev out, Dev in, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++) {
        double x = reals(in)[i];
        reals(out)[i] = 0.5 * x * (1 + tanh(gelu_a * (x + gelu_b * x * x * x)));
    }
}

static void ref_gelu_backward(struct device *d, Dev din, Dev dout, Dev in, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++) {
        double x = reals(in)[i], t = tanh(gelu_a * (x + gelu_b * x * x * x));
        double slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * gelu_a * (1 + 3 * gelu_b * x * x);
        reals(din)[i] = reals(dout)[i] * slope;
    }
}

static void ref_swiglu_forward(struct device *d, Dev out, Dev in, int T, int F)
{
    (void)d;
    for (int t = 0; t < T; t++)
        for (int i = 0; i < F; i++) {
            double gate = reals(in)[2 * t * F + i], up = reals(in)[2 * t * F + F + i];
            reals(out)[t * F + i] = gate / (1 + exp(-gate)) * up;
        }
}

static void ref_swiglu_backward(struct device *d, Dev din, Dev dout, Dev in, int T, int F)
{
    (void)d;
    for (int t = 0; t < T; t++)
        for (int i = 0; i < F; i++) {
            double gate = reals(in)[2 * t * F + i], up = reals(in)[2 * t * F + F + i], dy = reals(dout)[t * F + i];
            double s = 1 / (1 + exp(-gate));
            reals(din)[2 * t * F + i] = dy * up * (s + gate * s * (1 - s));
            reals(din)[2 * t * F + F + i] = dy * gate * s;
        }
}

static void ref_add(struct device *d, Dev x, Dev y, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++)
        reals(x)[i] += reals(y)[i];
}

static void ref_add_columns(struct device *d, Dev x, int x_stride, Dev y, int y_stride, int T, int N, float scale)
{
    (void)d;
    for (int t = 0; t < T; t++)
        for (int n = 0; n < N; n++)
            reals(x)[(size_t)t * x_stride + n] += scale * reals(y)[(size_t)t * y_stride + n];
}

/* ---- rows of the head ---- */

static void ref_gather(struct device *d, Dev out, Dev in, DevInt index, int R, int C)
{
    for (int r = 0; r < R; r++)
        ref_copy(d, dev_at(d, out, (size_t)r * C), dev_at(d, in, (size_t)index.p[r] * C), (size_t)C);
}

static void ref_scatter(struct device *d, Dev out, Dev in, DevInt first, DevInt order, int T, int C)
{
    for (int t = 0; t < T; t++) {
        ref_zero(d, dev_at(d, out, (size_t)t * C), (size_t)C);
        for (int j = first.p[t]; j < first.p[t + 1]; j++)
            ref_add(d, dev_at(d, out, (size_t)t * C), dev_at(d, in, (size_t)order.p[j] * C), (size_t)C);
    }
}

/* ---- log-probabilities ---- */

/* Which ids an entry keeps: ids[count], or all 0 .. count-1 where ids is NULL. */
struct kept {
    const int32_t *ids;
    int count;
};

static struct kept kept_of(const struct entries *e, int r, int V)
{
    if (!e->support.p || e->supports.p[r] == 0)
        return (struct kept){NULL, V};
    return (struct kept){e->support.p + (size_t)r * e->max_support, e->supports.p[r]};
}

static int kept_id(struct kept k, int i)
{
    return k.ids ? k.ids[i] : i;
}

static int is_kept(struct kept k, int id)
{
    for (int i = 0; i < k.count; i++)
        if (kept_id(k, i) == id)
            return 1;
    return 0;
}

static double p_log_p(double logp)
{
    return logp == -INFINITY ? 0 : exp(logp) * logp;
}

/* log of the sum of exp(z) over the kept ids, and the entropy in nats. */
static double log_sum(const double *logits, struct kept k, double temperature, double *entropy)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < k.count; i++)
        max = fmax(max, logits[kept_id(k, i)] / temperature);
    for (int i = 0; i < k.count; i++)
        sum += exp(logits[kept_id(k, i)] / temperature - max);
    double total = max + log(sum);
    *entropy = 0;
    for (int i = 0; i < k.count; i++)
        *entropy -= p_log_p(logits[kept_id(k, i)] / temperature - total);
    return total;
}

/* Whole rows: the other tables are compared with the sum over all ids, however they cut it. */
static int ref_head_ids(int V)
{
    return V;
}

/* stat[r]: log of the sum of exp(z), and the entropy. */
static void ref_logp_forward(struct device *d, Dev logp, Dev entropy, Dev stat, Dev logits, const struct entries *e,
                             int first, int ids, int V)
{
    (void)d;
    if (first != 0 || ids != V)
        die("the reference reads whole rows of logits");
    for (int r = 0; r < e->count; r++) {
        const double *row = reals(logits) + (size_t)r * V;
        struct kept k = kept_of(e, r, V);
        double temperature = reals(e->temperature)[r], total = log_sum(row, k, temperature, &reals(entropy)[r]);
        int target = e->target.p[r];
        reals(logp)[r] = is_kept(k, target) ? row[target] / temperature - total : -INFINITY;
        reals(stat)[4 * r] = total;
        reals(stat)[4 * r + 1] = reals(entropy)[r];
    }
}

static void ref_logp_backward(struct device *d, Dev dlogits, Dev logits, Dev stat, const struct entries *e, Dev glogp,
                              Dev gentropy, int first, int ids, int V)
{
    (void)d;
    for (int r = 0; r < e->count; r++) {
        const double *row = reals(logits) + (size_t)r * ids;
        double *to = reals(dlogits) + (size_t)r * ids;
        struct kept k = kept_of(e, r, V);
        double temperature = reals(e->temperature)[r], total = reals(stat)[4 * r], entropy = reals(stat)[4 * r + 1];
        int target = e->target.p[r], good = is_kept(k, target);
        for (int i = 0; i < ids; i++) {
            double logp = row[i] / temperature - total, p = exp(logp);
            double g = -reals(glogp)[r] * p - reals(gentropy)[r] * (p_log_p(logp) + p * entropy);
            if (first + i == target && good)
                g += reals(glogp)[r];
            to[i] = is_kept(k, first + i) ? g / temperature : 0;
        }
    }
}

/* ---- sampling ---- */

/* Larger logit first, then smaller id. */
static int before(const double *logits, int a, int b)
{
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
}

/* The id that follows `last` in that order (-1: the first of all), or -1 at the end. */
static int next_id(const double *logits, int V, int last)
{
    int best = -1;
    for (int id = 0; id < V; id++)
        if ((last < 0 || before(logits, last, id)) && (best < 0 || before(logits, id, best)))
            best = id;
    return best;
}

/* The ids kept by truncation, in order, into ids; how many. */
static int truncate_row(int32_t *ids, const double *logits, int V, const struct sampling *s)
{
    int limit = s->top_k > 0 && s->top_k < V ? s->top_k : V, n = 0;
    double total = 0, mass = 0, first = logits[next_id(logits, V, -1)];
    for (int i = 0, id = -1; i < limit; i++) {
        id = next_id(logits, V, id);
        total += exp((logits[id] - first) / s->temperature);
    }
    for (int id = next_id(logits, V, -1); n < limit && n < s->max_support; id = next_id(logits, V, id)) {
        double ratio = exp((logits[id] - first) / s->temperature);
        if ((n > 0 && ratio < s->min_p) || (n > 0 && s->top_p < 1 && mass >= s->top_p * total))
            break;
        mass += ratio;
        ids[n++] = id;
    }
    return n;
}

/* The first id whose cumulative probability exceeds u. */
static int draw(const double *logits, struct kept k, double temperature, double u)
{
    double entropy, total = log_sum(logits, k, temperature, &entropy), sum = 0;
    int last = kept_id(k, 0);
    for (int i = 0; i < k.count; i++) {
        double p = exp(logits[kept_id(k, i)] / temperature - total);
        sum += p;
        last = p > 0 ? kept_id(k, i) : last;
        if (sum > u)
            return last;
    }
    return last;
}

static void ref_sample(struct device *d, const struct drawn *to, Dev logits, DevInt bits, int R, int V,
                       const struct sampling *s)
{
    (void)d;
    int greedy = s->temperature <= 0, truncate = !greedy && (s->top_k > 0 || s->top_p < 1 || s->min_p > 0);
    double temperature = greedy ? 1 : s->temperature;
    for (int r = 0; r < R && V > 0; r++) {
        const double *row = reals(logits) + (size_t)r * V;
        struct kept k = {NULL, V};
        size_t at = to->place.p ? (size_t)to->place.p[r] : (size_t)r;
        if (truncate) {
            int32_t *ids = to->support.p + at * (size_t)s->max_support;
            k.ids = ids;
            k.count = truncate_row(ids, row, V, s);
        }
        if (k.count == V)
            k.ids = NULL; /* nothing was cut off */
        uint64_t word = (uint64_t)(uint32_t)bits.p[2 * r + 1] << 32 | (uint32_t)bits.p[2 * r];
        int id = greedy ? next_id(row, V, -1) : draw(row, k, temperature, (double)(word >> 11) * 0x1p-53);
        to->token.p[r] = id;
        reals(to->logp)[at] = row[id] / temperature - log_sum(row, k, temperature, &reals(to->entropy)[at]);
        if (to->supports.p)
            to->supports.p[at] = k.ids ? k.count : 0;
    }
}

/* ---- optimiser ---- */

static double ref_sum_squares(struct device *d, Dev g, size_t n)
{
    (void)d;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += reals(g)[i] * reals(g)[i];
    return sum;
}

static void ref_adamw(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *a)
{
    (void)d;
    (void)copy;
    for (size_t i = 0; i < n; i++) {
        double grad = reals(g)[i] * a->grad_scale;
        double m1 = reals(m)[i] = a->beta1 * reals(m)[i] + (1 - (double)a->beta1) * grad;
        double m2 = reals(v)[i] = a->beta2 * reals(v)[i] + (1 - (double)a->beta2) * grad * grad;
        double step = m1 / a->correction1 / (sqrt(m2 / a->correction2) + a->eps);
        reals(w)[i] -= a->lr * (step + a->weight_decay * reals(w)[i]);
    }
}

const struct ops ref_ops = {
    .name = "ref",
    .real_bytes = sizeof(double),
    .processor = 1,
    .alloc = ref_alloc,
    .release = ref_release,
    .upload = ref_upload,
    .download = ref_download,
    .upload_int = ref_upload_int,
    .download_int = ref_download_int,
    .zero = ref_zero,
    .copy = ref_copy,
    .sync = ref_sync,
    .scratch_bytes = ref_scratch_bytes,
    .weight_reals = ref_weight_reals,
    .pack = ref_pack,
    .unpack = ref_unpack,
    .embed_forward = ref_embed_forward,
    .embed_backward = ref_embed_backward,
    .norm_forward = ref_norm_forward,
    .norm_backward = ref_norm_backward,
    .linear_forward = ref_linear_forward,
    .linear_backward_input = ref_linear_backward_input,
    .linear_backward_weight = ref_linear_backward_weight,
    .rotary = ref_rotary,
    .store_reals = ref_store_reals,
    .store = ref_store,
    .attention_forward = ref_attention_forward,
    .attention_backward = ref_attention_backward,
    .gelu_forward = ref_gelu_forward,
    .gelu_backward = ref_gelu_backward,
    .swiglu_forward = ref_swiglu_forward,
    .swiglu_backward = ref_swiglu_backward,
    .add = ref_add,
    .add_columns = ref_add_columns,
    .gather = ref_gather,
    .scatter = ref_scatter,
    .head_ids = ref_head_ids,
    .logp_forward = ref_logp_forward,
    .logp_backward = ref_logp_backward,
    .sample = ref_sample,
    .sum_squares = ref_sum_squares,
    .adamw = ref_adamw,
};
