/* The rows of the table in mixed precision, and the copies of matrices in bf16 that they read. Everything else of that
 * table is the fp32 rows': weights that are trained, activations and gradients are fp32 and are rounded when a product
 * packs them.
 *
 * Blocking as in linear.c: rows x steps packed in the second cache, panels of 32 columns outside, blocks of 32 rows
 * inside. Weight gradients are chains over the rows of a block, each block padded with zeros to a multiple of 32 rows;
 * they go on from the gradient that is there, blocks in order.
 */
#include "bf16.h"
#include "transpose.h"

enum {
    ROWS = 256,                             /* rows that are packed at once, */
    STEPS = 768,                            /* and steps; */
    FEW_STEPS = 4096,                       /* of at most HIGH rows */
    TOGETHER = 512,                         /* rows of some blocks of a weight gradient that are packed at once */
    EDGE = LOW * 2 * PANEL * sizeof(float), /* bytes of a block that is not written where it belongs */
    PANEL_BYTES = TOGETHER / STEP * B_STEP
};

/* Bytes between packed rows of so many steps. */
static size_t row_bytes(long steps)
{
    return (round_up((size_t)steps, STEP) / STEP | 1) * STEP_BYTES;
}

static size_t scratch_needed(void)
{
    size_t rows = ROWS * row_bytes(STEPS), few = HIGH * row_bytes(FEW_STEPS);
    size_t weight = PANEL_BYTES + STEPS * row_bytes(TOGETHER);
    rows = rows > few ? rows : few;
    return EDGE + (rows > weight ? rows : weight);
}

size_t cpu_bf16_scratch(void)
{
    return round_up(scratch_needed(), 64);
}

static const struct bf16_unit *unit_of(const struct device *d)
{
    return d->state;
}

/* The best unit that is there. */
int cpu_bf16_open(struct device *d, struct error *e)
{
    const char *missing = bf16_amx.missing(), *none = bf16_plain.missing();
    d->state = (void *)(uintptr_t)(missing ? &bf16_plain : &bf16_amx);
    d->slow = missing;
    return missing && none ? fail(e, "run.precision=bf16: %s, and %s; leave it at fp32", missing, none) : 0;
}

/* Threads worth waking: the matrix unit does some three times the work of the vectors in the same time. */
static int threads_for_product(const struct device *d, double M, double N, double K)
{
    return threads_for(d, 2.0 / 3 * M * N * K);
}

/* ---- rounding: to the nearest number of 8 bits, ties to even; those below 2^-126 are zero, NaN stays one ---- */

typedef uint32_t uvec __attribute__((vector_size(LANES * 4)));
typedef int16_t half_vec __attribute__((vector_size(LANES * 2)));

/* In the upper halves of the lanes; the lower ones are zero. */
INLINE uvec rounded(vec x)
{
#if defined(__AVX512BF16__)
    return (uvec)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)x)), 16);
#else
    uvec bits = (uvec)x;
    uvec nearest = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    uvec zero = (uvec)((bits & 0x7f800000u) == 0), nan = (uvec)((bits & 0x7fffffffu) > 0x7f800000u);
    nearest = (zero & (bits & 0x80000000u)) | (~zero & nearest);
    return (nan & ((bits | 0x400000u) & 0xffff0000u)) | (~nan & nearest);
#endif
}

/* The words of two neighbouring steps. */
INLINE vec words(vec earlier, vec later)
{
    uvec low = rounded(earlier) >> 16, high = rounded(later);
    return (vec)(low | high);
}

/* Consecutive steps. */
INLINE void store_halves(void *to, vec x)
{
#if defined(__AVX512BF16__)
    _mm256_storeu_si256(to, (__m256i)_mm512_cvtneps_pbh((__m512)x));
#else
    half_vec half = __builtin_convertvector((ivec)(rounded(x) >> 16), half_vec);
    memcpy(to, &half, sizeof half);
#endif
}

/* Lanes i .. of `row`, which has n; NULL is a row of zeros. */
INLINE vec lanes_at(const float *row, long i, long n)
{
    return row && i < n ? vload_n(row + i, n - i, 0) : vset(0);
}

/* Rows of `steps` steps, `to_row` bytes apart, padded with zeros to a multiple of 32 steps and to `padded` rows. */
static void pack_rows(char *to, size_t to_row, const float *from, size_t from_row, int rows, int padded, long steps)
{
    for (int r = 0; r < padded; r++, to += to_row)
        for (long k = 0; k < (long)round_up((size_t)steps, STEP); k += LANES)
            store_halves(to + 2 * k, lanes_at(r < rows ? from + (size_t)r * from_row : NULL, k, steps));
}

/* 32 steps that lie `stride` floats apart, of which `steps` are there, as row after row of `to`: those of columns
 * 0 .. 16, of which `columns` are there. */
INLINE void pack_columns(char *to, size_t to_row, const float *from, size_t stride, int steps, int columns)
{
    UNROLL
    for (int c = 0; c < LOW; c += LANES) {
        UNROLL
        for (int p = 0; p < STEP / 2; p += LANES) {
            vec x[LANES];
            UNROLL
            for (int i = 0; i < LANES; i++) {
                int s = 2 * (p + i);
                x[i] = words(lanes_at(s < steps ? from + (size_t)s * stride : NULL, c, columns),
                             lanes_at(s + 1 < steps ? from + (size_t)(s + 1) * stride : NULL, c, columns));
            }
            transpose_vectors(x);
            UNROLL
            for (int i = 0; i < LANES; i++)
                vstore((float *)(void *)(to + (size_t)(c + i) * to_row) + p, x[i]);
        }
    }
}

/* The same 32 steps of 32 columns as a panel: [16][PANEL] words. */
INLINE void pack_panel(float *to, const float *from, size_t stride, int steps, int columns)
{
    for (int s = 0; s < STEP; s += 2, to += PANEL) {
        UNROLL
        for (int c = 0; c < PANEL; c += LANES)
            vstore(to + c, words(lanes_at(s < steps ? from + (size_t)s * stride : NULL, c, columns),
                                 lanes_at(s + 1 < steps ? from + (size_t)(s + 1) * stride : NULL, c, columns)));
    }
}

/* ---- copies of matrices ----
 *
 * W[N][K] as the layout of weights has it, [N/32][K][32], becomes two panels for every 32 rows, each [K/32] times 32
 * steps of 32 columns: one for chains over k, whose columns are rows of W, and one for chains over n, whose columns are
 * those of W. So the copy of rows n and later begins copy_numbers(n, K) behind the copy's begin. */

static size_t panel_numbers(int K)
{
    return round_up((size_t)K, STEP) * PANEL;
}

size_t cpu_bf16_copy_numbers(int N, int K)
{
    return round_up((size_t)N, PANEL) / PANEL * 2 * panel_numbers(K);
}

/* Where W[n][k], n < 32, stands in the two panels. */
static size_t forward_at(int n, int k)
{
    return ((size_t)(k / 2) * PANEL + (size_t)n) * 2 + (size_t)(k % 2);
}
static size_t input_at(int n, int k)
{
    return (size_t)(k / PANEL) * STEP * PANEL + (size_t)(n / 2 * PANEL + k % PANEL) * 2 + (size_t)(n % 2);
}

static void copy_panel(uint16_t *to, const float *W, int K)
{
    uint16_t *input = to + panel_numbers(K);
    float rows[PANEL * STEP / 2]; /* the words of chains over n, [PANEL][16], before they are turned */
    for (int k = 0; k < K; k += PANEL, to += STEP * PANEL, input += STEP * PANEL) {
        int here = (int)least(PANEL, K - k);
        const float *from = W + (size_t)k * PANEL;
        pack_panel((float *)(void *)to, from, PANEL, here, PANEL);
        pack_rows((char *)rows, STEP_BYTES, from, PANEL, here, PANEL, STEP);
        transpose((float *)(void *)input, PANEL, rows, STEP / 2, PANEL, STEP / 2);
    }
}

static void copy_one_row(uint16_t *to, const float *W, int n, int K)
{
    uint16_t *input = to + panel_numbers(K);
    for (int k = 0; k < K; k++) {
        uint16_t half[LANES];
        store_halves(half, vset(W[(size_t)k * PANEL + n]));
        to[forward_at(n, k)] = input[input_at(n, k)] = half[0];
    }
}

void cpu_bf16_copy(struct device *d, Dev copy, Dev W, int row, int rows, int N, int K)
{
    int end = row + rows, first = row / PANEL, panels = rows > 0 ? (end + PANEL - 1) / PANEL : first;
    int threads = threads_for(d, 30.0 * rows * K);
    SHARE_OUT(threads, (static), for (int p = first; p < panels; p++), {
        uint16_t *to = (uint16_t *)copy.p + (size_t)p * 2 * panel_numbers(K);
        const float *from = reals(W) + (size_t)p * PANEL * K;
        int n0 = row > p * PANEL ? row - p * PANEL : 0, n1 = (int)least(end - p * PANEL, PANEL);
        if (n0 == 0 && (n1 == PANEL || end == N))
            copy_panel(to, from, K);
        else
            for (int n = n0; n < n1; n++)
                copy_one_row(to, from, n, K);
    })
}

void cpu_bf16_adamw(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *a)
{
    cpu_adamw(d, w, copy, g, m, v, n, a);
    if (copy.p)
        cpu_bf16_copy(d, copy, w, 0, a->N, a->N, a->K);
}

/* ---- rows times a matrix: both directions ---- */

struct product16 {
    const struct bf16_unit *unit;
    const float *in, *bias; /* [rows][chain] */
    const char *panels;
    size_t b_step, b_panel; /* of the panels, as in struct bf16_block */
    float *out;             /* [rows][columns] */
    int columns, chain;
};

/* One block of the result at c: high rows of it, wide columns of `width`; through a buffer where it is not whole. */
static void one_block(const struct product16 *p, struct bf16_block *t, float *c, int high, int wide, int width,
                      const float *bias, float *edge)
{
    int whole = high == HIGH && wide == width;
    size_t row = (size_t)p->columns;
    t->c = whole ? c : edge;
    t->c_row = whole ? row : (size_t)width;
    t->rows = high;
    for (int r = 0; !whole && t->chain && r < high; r++)
        memcpy(edge + r * width, c + (size_t)r * row, (size_t)wide * sizeof *c);
    (width == PANEL ? p->unit->high : p->unit->low)(t);
    for (int r = 0; (!whole || bias) && r < high; r++)
        for (int i = 0; i < wide; i += LANES) {
            vec x = lanes_at(t->c + (size_t)r * t->c_row, i, wide);
            vstore_n(c + (size_t)r * row + i, bias ? x + lanes_at(bias, i, wide) : x, wide - i);
        }
}

/* Blocks of some packed rows and columns n0 .. n1. */
static void low_blocks(const struct product16 *p, struct bf16_block t, float *out, int rows, int n0, int n1,
                       const float *bias, float *edge)
{
    for (int n = n0; n < n1; n += 2 * PANEL, t.b += 2 * t.b_panel) {
        int wide = (int)least(2 * PANEL, n1 - n);
        size_t b_panel = t.b_panel;
        t.b_panel = wide > PANEL ? b_panel : 0; /* there is no second one: any */
        one_block(p, &t, out + n, rows, wide, 2 * PANEL, bias ? bias + n : NULL, edge);
        t.b_panel = b_panel;
    }
}

/* Panels outside; on its way a block asks for its share of the next panel and for the result's next rows. */
static void high_blocks(const struct product16 *p, struct bf16_block t, float *out, int rows, int n0, int n1,
                        const float *bias, float *edge)
{
    const char *a = t.a;
    int share = (int)((HIGH + round_up((size_t)rows, HIGH) / HIGH - 1) / (round_up((size_t)rows, HIGH) / HIGH));
    t.ask_step = t.b_step;
    t.then_row = (size_t)p->columns * sizeof *out;
    for (int n = n0; n < n1; n += PANEL, t.b += t.b_panel)
        for (int r = 0; r < rows; r += HIGH) {
            float *c = out + (size_t)r * p->columns + n;
            int more = n + PANEL < n1;
            t.a = a + (size_t)r * t.a_row;
            t.lines = more ? share : 0;
            t.ask = t.b + t.b_panel + r / HIGH * share * 64;
            t.then = NULL;
            if (r + 2 * HIGH <= rows)
                t.then = (const char *)(c + (size_t)HIGH * p->columns);
            else if (r + HIGH >= rows && rows >= HIGH && more)
                t.then = (const char *)(out + n + PANEL);
            one_block(p, &t, c, (int)least(HIGH, rows - r), (int)least(PANEL, n1 - n), PANEL, bias ? bias + n : NULL,
                      edge);
        }
}

/* Rows m0 .. m1, columns n0 .. n1, n0 a multiple of PANEL. */
static void product_item(const struct product16 *p, int m0, int m1, int n0, int n1, char *scratch)
{
    char *packed = scratch + EDGE;
    p->unit->begin();
    for (int m = m0; m < m1; m += ROWS) {
        int rows = (int)least(ROWS, m1 - m), each = rows <= HIGH ? FEW_STEPS : STEPS, k = 0;
        float *out = p->out + (size_t)m * p->columns;
        do { /* once where the chain is empty */
            int steps = (int)least(each, p->chain - k), low = rows <= LOW;
            const float *bias = k + each >= p->chain ? p->bias : NULL;
            struct bf16_block t = {.a = packed, .a_row = row_bytes(steps), .chain = k > 0};
            t.steps = (long)(round_up((size_t)steps, STEP) / STEP);
            t.b_step = p->b_step;
            t.b_panel = p->b_panel;
            t.b = p->panels + (size_t)(k / STEP) * p->b_step + (size_t)(n0 / PANEL) * p->b_panel;
            pack_rows(packed, t.a_row, p->in + (size_t)m * p->chain + k, (size_t)p->chain, rows,
                      (int)round_up((size_t)rows, low ? LOW : HIGH), steps);
            (low ? low_blocks : high_blocks)(p, t, out, rows, n0, n1, bias, (float *)(void *)scratch);
            k += each;
        } while (k < p->chain);
    }
}

static void product16(const struct device *d, const struct product16 *p, int M)
{
    if (M <= 0 || p->columns <= 0)
        return;
    int threads = threads_for_product(d, M, p->columns, p->chain);
    int panels = (p->columns + PANEL - 1) / PANEL, blocks = (M + ROWS - 1) / ROWS, parts = 1;
    if (threads > 1 && blocks < 2 * threads) {
        blocks = (int)least(2 * threads, (M + 2 * HIGH - 1) / (2 * HIGH));
        parts = (int)least(panels, (2 * threads + blocks - 1) / blocks);
    }
    SHARE_OUT(threads, (dynamic), for (int i = 0; i < blocks * parts; i++), {
        int block = i / parts, part = i % parts;
        int m0 = (int)((long)M * block / blocks), m1 = (int)((long)M * (block + 1) / blocks);
        int n0 = (int)((long)panels * part / parts) * PANEL, n1 = (int)((long)panels * (part + 1) / parts) * PANEL;
        product_item(p, m0, m1, n0, (int)least(n1, p->columns), (char *)scratch_slice(d, 0, scratch_needed()));
    })
}

void cpu_bf16_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K)
{
    struct product16 p = {.unit = unit_of(d), .in = reals(in), .bias = reals(b), .panels = W.p, .out = reals(out)};
    p.b_step = B_STEP;
    p.b_panel = 2 * panel_numbers(K) * sizeof(uint16_t);
    p.columns = N;
    p.chain = K;
    product16(d, &p, M);
}

void cpu_bf16_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K)
{
    struct product16 p = {.unit = unit_of(d), .in = reals(dout), .out = reals(din)};
    p.panels = (const char *)W.p + panel_numbers(K) * sizeof(uint16_t);
    p.b_step = 2 * panel_numbers(K) * sizeof(uint16_t);
    p.b_panel = B_STEP;
    p.columns = K;
    p.chain = N;
    product16(d, &p, M);
}

/* ---- weight gradients ---- */

struct weight16 {
    const struct bf16_unit *unit;
    const float *dout, *in;
    float *dW, *db;
    const struct span *block;
    int blocks, N, K;
};

/* db += the sums of columns n .. n+32, each a chain over the rows of a block, in fp32 as they are. */
static void add_sums(const struct weight16 *g, const struct span *s, int blocks, int n)
{
    for (int b = 0; b < blocks; b++)
        for (int c = n; c < n + PANEL && c < g->N; c += LANES) {
            vec sum = vset(0);
            for (int r = 0; r < s[b].len; r++)
                sum = sum + lanes_at(g->dout + (size_t)(s[b].start + r) * g->N, c, g->N);
            vstore(g->db + c, vload(g->db + c) + sum); /* as long as the layout of weights: whole panels */
        }
}

/* Inputs k0 .. k1 of some blocks as rows, each with the blocks' steps one after the other. */
static void pack_inputs(char *to, size_t to_row, const struct weight16 *g, const struct span *s, int blocks, int k0,
                        int k1)
{
    for (int b = 0; b < blocks; b++)
        for (int r = 0; r < s[b].len; r += STEP, to += STEP_BYTES)
            for (int k = k0; k < (int)round_up((size_t)(k1 - k0), HIGH) + k0; k += LOW) {
                const float *from = g->in + (size_t)(s[b].start + r) * g->K + k;
                int columns = k < k1 ? (int)least(LOW, k1 - k) : 0;
                char *at = to + (size_t)(k - k0) * to_row;
                if (columns == LOW && r + STEP <= s[b].len)
                    pack_columns(at, to_row, from, (size_t)g->K, STEP, LOW);
                else
                    pack_columns(at, to_row, from, (size_t)g->K, (int)least(STEP, s[b].len - r), columns);
            }
}

/* Columns n .. n+32 of the output's gradient. */
static void pack_outputs(char *to, const struct weight16 *g, const struct span *s, int blocks, int n)
{
    int columns = (int)least(PANEL, g->N - n);
    for (int b = 0; b < blocks; b++)
        for (int r = 0; r < s[b].len; r += STEP, to += B_STEP) {
            const float *from = g->dout + (size_t)(s[b].start + r) * g->N + n;
            if (columns == PANEL && r + STEP <= s[b].len)
                pack_panel((float *)(void *)to, from, (size_t)g->N, STEP, PANEL);
            else
                pack_panel((float *)(void *)to, from, (size_t)g->N, (int)least(STEP, s[b].len - r), columns);
        }
}

/* All blocks of the gradient of a panel, for inputs k0 .. k1. A block asks for the one that comes next. */
static void weight_blocks(const struct weight16 *g, struct bf16_block t, int n, int k0, int k1, float *edge)
{
    enum { BLOCK_LINES = HIGH * PANEL * sizeof(float) / 64 };
    const char *a = t.a;
    t.lines = (int)((BLOCK_LINES + t.steps - 1) / t.steps);
    t.ask_step = (size_t)t.lines * 64;
    t.c_row = PANEL;
    for (int k = k0; k < k1; k += HIGH) {
        float *c = g->dW + weight_at(n, k, g->K);
        t.rows = (int)least(HIGH, k1 - k);
        t.a = a + (size_t)(k - k0) * t.a_row;
        t.ask = (const char *)(c + HIGH * PANEL);
        t.c = t.rows == HIGH ? c : edge;
        if (t.c == edge)
            memcpy(edge, c, (size_t)t.rows * PANEL * sizeof *c);
        g->unit->high(&t);
        if (t.c == edge)
            memcpy(c, edge, (size_t)t.rows * PANEL * sizeof *c);
    }
}

/* Panels p0 .. p1, inputs k0 .. k1 of the gradient, at most STEPS. */
static void weight_item(const struct weight16 *g, int p0, int p1, int k0, int k1, char *scratch)
{
    char *panel = scratch + EDGE, *packed = panel + PANEL_BYTES;
    g->unit->begin();
    for (int b = 0, n; b < g->blocks; b += n) {
        const struct span *s = g->block + b;
        size_t rows = round_up((size_t)s->len, STEP), more = 0;
        for (n = 1; b + n < g->blocks; n++, rows += more) {
            more = round_up((size_t)s[n].len, STEP);
            if (rows + more > TOGETHER)
                break;
        }
        struct bf16_block t = {.a = packed, .b = panel, .a_row = row_bytes((long)rows), .b_step = B_STEP, .chain = 1};
        t.steps = (long)(rows / STEP);
        if (t.steps)
            pack_inputs(packed, t.a_row, g, s, n, k0, k1);
        for (int p = p0; p < p1 && t.steps; p++) {
            pack_outputs(panel, g, s, n, p * PANEL);
            if (g->db && k0 == 0)
                add_sums(g, s, n, p * PANEL);
            weight_blocks(g, t, p * PANEL, k0, k1, (float *)(void *)scratch);
        }
    }
}

void cpu_bf16_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks,
                                     int M, int N, int K)
{
    struct weight16 g = {unit_of(d), reals(dout), reals(in), reals(dW), reals(db), (const struct span *)block.p,
                         blocks,     N,           K};
    (void)M;
    long rows = cpu_block_rows(g.block, blocks);
    if (N <= 0 || (K <= 0 && !g.db))
        return;
    int threads = threads_for_product(d, (double)rows, N, K);
    int panels = (N + PANEL - 1) / PANEL, parts = K > 0 ? (K + STEPS - 1) / STEPS : 1, groups = 1;
    if (threads > 1) /* few: each packs its inputs for itself */
        groups = (int)least(panels, (2 * threads + parts - 1) / parts);
    SHARE_OUT(threads, (dynamic), for (int i = 0; i < groups * parts; i++), {
        int group = i / parts, part = i % parts;
        int p0 = (int)((long)panels * group / groups), p1 = (int)((long)panels * (group + 1) / groups);
        weight_item(&g, p0, p1, part * STEPS, (int)least(K, (part + 1L) * STEPS),
                    (char *)scratch_slice(d, 0, scratch_needed()));
    })
}
