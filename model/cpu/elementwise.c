/* Rows that touch every number once: embedding, rotary positions, activations, residual additions, gather and scatter.
 * Plain loops where there is nothing to fuse: the compiler vectorises them, and without contraction that changes no
 * bit. */
#include "cpu.h"

enum { CHUNK = 4096 }; /* reals of one work item */

/* ---- embedding ---- */

void cpu_embed_forward(struct device *d, Dev x, const struct rows *r, Dev wte, Dev wpe, int V, int C)
{
    (void)V;
    int threads = threads_for(d, 60.0 * r->count * C);
    SHARE_OUT(threads, (static), for (int t = 0; t < r->count; t++), {
        const float *e = reals(wte) + weight_at(r->id.p[t], 0, C);
        float *to = reals(x) + (size_t)t * C;
        for (int c = 0; c < C; c++)
            to[c] = e[(size_t)c * PANEL];
        if (wpe.p)
            for (int c = 0; c < C; c++)
                to[c] += reals(wpe)[(size_t)r->position.p[t] * C + c];
    })
}

/* Threads share out the columns: each adds all rows in order. */
static void embed_columns(float *dwte, float *dwpe, const float *dx, const struct rows *r, int C, int c0, int c1)
{
    for (int t = 0; t < r->count; t++) {
        float *e = dwte + weight_at(r->id.p[t], 0, C);
        const float *from = dx + (size_t)t * C;
        for (int c = c0; c < c1; c++)
            e[(size_t)c * PANEL] += from[c];
        if (dwpe)
            for (int c = c0; c < c1; c++)
                dwpe[(size_t)r->position.p[t] * C + c] += from[c];
    }
}

void cpu_embed_backward(struct device *d, Dev dwte, Dev dwpe, Dev dx, const struct rows *r, int V, int C)
{
    (void)V;
    int parts = (int)least(threads_for(d, 60.0 * r->count * C), (C + GROUP - 1) / GROUP);
    int threads = parts > 1 ? d->threads : 1;
    SHARE_OUT(threads, (static), for (int i = 0; i < parts; i++), {
        int c0 = (int)((long)C * i / parts), c1 = (int)((long)C * (i + 1) / parts);
        embed_columns(reals(dwte), reals(dwpe), reals(dx), r, C, c0, c1);
    })
}

/* ---- rotary positions (Su et al., RoFormer, 2021), halves form ---- */

#define EVEN(l, h)  (2 * (l) + (h))
#define TWICE(l, h) (2 * ((l) % (LANES / 2)) + (h))

/* A head that fills a vector, as it is: a rotated vector brings the halves together. */
INLINE void rotate_vectors(float *row, const float *angle, int heads, float sign)
{
    vec x = vload(angle), c = __builtin_shufflevector(x, x, INDEX(TWICE, 0));
    vec s = __builtin_shufflevector(x, x, INDEX(TWICE, 1)) * vset(sign);
    s = vselect(vcount() < LANES / 2, -s, s);
    for (int h = 0; h < heads; h++, row += LANES) {
        vec a = vload(row);
        vstore(row, a * c + ROTATE(a, LANES / 2) * s);
    }
}

/* A vector of pairs at a time, of all heads: its cosines and sines are pulled apart once. */
static void rotate_row(float *row, const float *angle, int heads, int D, float sign)
{
    int half = D / 2;
    if (D == LANES) {
        rotate_vectors(row, angle, heads, sign);
        return;
    }
    for (int i = 0; i < half; i += LANES) {
        int n = (int)least(LANES, half - i);
        vec first = vload_n(angle + 2 * i, 2 * n, 0), second = vset(0.0f);
        if (2 * n > LANES)
            second = vload_n(angle + 2 * i + LANES, 2 * n - LANES, 0);
        vec c = __builtin_shufflevector(first, second, INDEX(EVEN, 0));
        vec s = __builtin_shufflevector(first, second, INDEX(EVEN, 1)) * vset(sign);
        for (int h = 0; h < heads; h++) {
            float *low = row + (size_t)h * D + i, *high = low + half;
            vec a = vload_n(low, n, 0), b = vload_n(high, n, 0);
            vstore_n(low, a * c - b * s, n);
            vstore_n(high, b * c + a * s, n);
        }
    }
}

void cpu_rotary(struct device *d, Dev x, Dev table, DevInt position, int T, int heads, int D, int stride, int direction)
{
    float sign = direction < 0 ? -1.0f : 1.0f;
    int threads = threads_for(d, 50.0 * T * heads * D);
    SHARE_OUT(threads, (static), for (int t = 0; t < T; t++), {
        rotate_row(reals(x) + (size_t)t * stride, reals(table) + (size_t)position.p[t] * (D / 2) * 2, heads, D, sign);
    })
}

/* ---- activations ---- */

#define GELU_A 0.7978845608f /* sqrt(2/pi) */
#define GELU_B 0.044715f

/* x (1 + tanh(u)) / 2 = x sigmoid(2u), u = A (x + B x^3) */
INLINE vec gelu_gate(vec x)
{
    return vsigmoid(vset(2 * GELU_A) * (x + vset(GELU_B) * x * x * x));
}

void cpu_gelu_forward(struct device *d, Dev out, Dev in, size_t n)
{
    int threads = threads_for(d, 80.0 * (double)n);
    SHARE_OUT(threads, (static), for (size_t first = 0; first < n; first += CHUNK), {
        size_t end = first + CHUNK < n ? first + CHUNK : n;
        for (size_t i = first; i < end; i += LANES) {
            vec x = vload_n(reals(in) + i, (long)(end - i), 0);
            vstore_n(reals(out) + i, x * gelu_gate(x), (long)(end - i));
        }
    })
}

void cpu_gelu_backward(struct device *d, Dev din, Dev dout, Dev in, size_t n)
{
    int threads = threads_for(d, 130.0 * (double)n);
    SHARE_OUT(threads, (static), for (size_t first = 0; first < n; first += CHUNK), {
        size_t end = first + CHUNK < n ? first + CHUNK : n;
        for (size_t i = first; i < end; i += LANES) {
            vec x = vload_n(reals(in) + i, (long)(end - i), 0), gate = gelu_gate(x);
            vec inner = vset(2 * GELU_A) * (vset(1.0f) + vset(3 * GELU_B) * x * x);
            vec slope = vfma(x * gate * (vset(1.0f) - gate), inner, gate);
            vstore_n(reals(din) + i, vload_n(reals(dout) + i, (long)(end - i), 0) * slope, (long)(end - i));
        }
    })
}

/* silu(g) = g sigmoid(g) */
void cpu_swiglu_forward(struct device *d, Dev out, Dev in, int T, int F)
{
    int threads = threads_for(d, 80.0 * T * F);
    SHARE_OUT(threads, (static), for (int t = 0; t < T; t++), {
        const float *gate = reals(in) + (size_t)t * 2 * F, *up = gate + F;
        for (int i = 0; i < F; i += LANES) {
            vec g = vload_n(gate + i, F - i, 0);
            vstore_n(reals(out) + (size_t)t * F + i, g * vsigmoid(g) * vload_n(up + i, F - i, 0), F - i);
        }
    })
}

void cpu_swiglu_backward(struct device *d, Dev din, Dev dout, Dev in, int T, int F)
{
    int threads = threads_for(d, 130.0 * T * F);
    SHARE_OUT(threads, (static), for (int t = 0; t < T; t++), {
        const float *gate = reals(in) + (size_t)t * 2 * F, *up = gate + F;
        float *dgate = reals(din) + (size_t)t * 2 * F, *dup = dgate + F;
        for (int i = 0; i < F; i += LANES) {
            vec g = vload_n(gate + i, F - i, 0), u = vload_n(up + i, F - i, 0), s = vsigmoid(g);
            vec dy = vload_n(reals(dout) + (size_t)t * F + i, F - i, 0);
            vstore_n(dup + i, dy * g * s, F - i);
            vstore_n(dgate + i, dy * u * vfma(g * s, vset(1.0f) - s, s), F - i);
        }
    })
}

void cpu_add(struct device *d, Dev x, Dev y, size_t n)
{
    float *restrict to = reals(x);
    const float *restrict from = reals(y);
    int threads = threads_for(d, 40.0 * (double)n);
    SHARE_OUT(threads, (static), for (size_t first = 0; first < n; first += CHUNK), {
        for (size_t i = first; i < (first + CHUNK < n ? first + CHUNK : n); i++)
            to[i] += from[i];
    })
}

void cpu_add_columns(struct device *d, Dev x, int x_stride, Dev y, int y_stride, int T, int N, float scale)
{
    vec s = vset(scale);
    int threads = threads_for(d, 40.0 * T * N);
    SHARE_OUT(threads, (static), for (int t = 0; t < T; t++), {
        float *to = reals(x) + (size_t)t * x_stride;
        const float *from = reals(y) + (size_t)t * y_stride;
        for (int n = 0; n < N; n += LANES)
            vstore_n(to + n, vfma(s, vload_n(from + n, N - n, 0), vload_n(to + n, N - n, 0)), N - n);
    })
}

/* ---- rows of the head ---- */

void cpu_gather(struct device *d, Dev out, Dev in, DevInt index, int R, int C)
{
    int threads = threads_for(d, 40.0 * R * C);
    SHARE_OUT(threads, (static), for (int r = 0; r < R; r++),
              { memcpy(reals(out) + (size_t)r * C, reals(in) + (size_t)index.p[r] * C, (size_t)C * sizeof(float)); })
}

void cpu_scatter(struct device *d, Dev out, Dev in, DevInt first, DevInt order, int T, int C)
{
    int threads = threads_for(d, 40.0 * T * C);
    SHARE_OUT(threads, (static), for (int t = 0; t < T; t++), {
        float *restrict to = reals(out) + (size_t)t * C;
        memset(to, 0, (size_t)C * sizeof(float));
        for (int j = first.p[t]; j < first.p[t + 1]; j++) {
            const float *restrict from = reals(in) + (size_t)order.p[j] * C;
            for (int c = 0; c < C; c++)
                to[c] += from[c];
        }
    })
}
