/* See bf16_products.h. The blocking is that of model/cpu: rows x steps in the second cache, panels of 32 columns
 * outside, tiles of rows inside; the panel and the output that come next are asked for on the way. */
#include "bf16_products.h"
#include "../../model/cpu/tile.h"
#include "../../model/cpu/transpose.h"
#include <sys/syscall.h>
#include <unistd.h>

enum {
    STEP = 32,         /* steps in a row of a tile of AMX; every chain is padded to them */
    SIDE = 16,         /* rows and columns of such a tile's result */
    PAIR = 2 * SIDE,   /* rows of two of them */
    ROWS = 256,        /* rows that are packed at once, */
    STEPS = 768,       /* and steps: rows x steps stay in the second cache */
    TOGETHER = 512,    /* rows of a weight gradient that are packed at once, for UNIT_AMX */
    LINE = 64,         /* bytes of a line of the cache, of a row of a tile */
    SCRATCH = 16 << 20 /* bytes */
};

static __attribute__((aligned(64))) char scratch[SCRATCH];

static long round_to(long n, long to)
{
    return (n + to - 1) / to * to;
}

static int smaller(long a, long b)
{
    return (int)(a < b ? a : b);
}

/* ---- rounding and packing ---- */

/* 16 words: two vectors of consecutive steps. */
INLINE vec consecutive(vec first, vec second)
{
    return (vec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

/* 16 words: lane l of two vectors of neighbouring steps. */
INLINE vec interleave(vec low, vec high)
{
    static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (vec)_mm512_permutexvar_epi16(_mm512_loadu_si512(order), (__m512i)consecutive(low, high));
}

size_t words_forward(int N, int K)
{
    return (size_t)round_to(N, PANEL) * (size_t)round_to(K, STEP) / 2;
}

size_t words_input(int N, int K)
{
    return words_forward(K, N);
}

void pack_forward(uint32_t *to, const float *W, int N, int K)
{
    for (int n = 0; n < N; n += PANEL)
        for (int k = 0; k < (int)round_to(K, STEP); k += 2, to += PANEL)
            for (int l = 0; l < PANEL; l += LANES) {
                const float *from = W + ((size_t)n * K) + (size_t)k * PANEL + l;
                vec low = k < K ? vload(from) : vset(0), high = k + 1 < K ? vload(from + PANEL) : vset(0);
                vstore((float *)to + l, interleave(low, high));
            }
}

void pack_input(uint32_t *to, const float *W, int N, int K)
{
    for (int k = 0; k < K; k += PANEL)
        for (int n = 0; n < N; n += PANEL, to += (size_t)PANEL * PANEL / 2)
            for (int part = 0; part < PANEL; part += LANES) {
                vec x[LANES];
                for (int i = 0; i < LANES; i++) {
                    const float *from = W + (size_t)n * K + (size_t)(k + part + i) * PANEL;
                    x[i] = k + part + i < K ? consecutive(vload(from), vload(from + LANES)) : vset(0);
                }
                transpose_vectors(x);
                for (int i = 0; i < LANES; i++)
                    vstore((float *)to + (size_t)i * PANEL + part, x[i]);
            }
}

INLINE vec words_at(const float *row, long step, long steps)
{
    if (step + 2 * LANES <= steps)
        return consecutive(vload(row + step), vload(row + step + LANES));
    vec first = step < steps ? vload_n(row + step, steps - step, 0) : vset(0);
    vec second = step + LANES < steps ? vload_n(row + step + LANES, steps - step - LANES, 0) : vset(0);
    return consecutive(first, second);
}

/* Row-major words of some rows, padded; `stride` in words. Rows up to `padded` are zero. */
static void pack_rows(float *to, size_t stride, const float *from, int rows, int padded, size_t from_stride, long steps)
{
    for (int r = 0; r < padded; r++, to += stride)
        for (long k = 0; k < steps; k += STEP)
            vstore(to + k / 2, r < rows ? words_at(from + (size_t)r * from_stride, k, steps) : vset(0));
}

/* [pair][16]: the words of up to 16 rows. */
static void pack_tile(float *to, const float *from, int rows, size_t from_stride, long steps)
{
    for (long k = 0; k < steps; k += STEP, to += LANES * LANES) {
        vec x[LANES];
        for (int r = 0; r < LANES; r++)
            x[r] = words_at(from + (size_t)smaller(r, rows - 1) * from_stride, k, steps);
        transpose_vectors(x);
        for (int r = 0; r < LANES; r++)
            vstore(to + r * LANES, x[r]);
    }
}

/* ---- vdpbf16ps: the register tile of cpu/tile.c with words in place of numbers ---- */

INLINE __m512 dot(vec x, vec w, __m512 acc)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)x, (__m512bh)w);
}

INLINE __m512 dot_at(const float *x, vec w, __m512 acc)
{
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*x));
    return acc;
}

struct dots {
    const float *a, *b;
    ptrdiff_t ar, ak; /* words between rows and between pairs */
    size_t panel;     /* words between panels */
    long pairs;
    float *c;
    ptrdiff_t cr;
    enum tile_mode mode;
    const float *bias;
    const char *ask; /* asked for on the way, a line a pair; NULL: nothing */
};

INLINE void dot_tile(const struct dots *t, const int rows, const int vectors, const int packed)
{
    __m512 acc[TILE_ROWS][8];
    const float *a = t->a, *b = t->b;
    const char *ask = t->ask ? t->ask : (const char *)t->c;
    const ptrdiff_t ar = packed ? 1 : t->ar, ak = packed ? LANES : t->ak, line = t->ask ? LINE : 0;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = (__m512)(t->mode == TILE_CHAIN ? vload(t->c + r * t->cr + v * LANES) : vset(0));
    }
    for (long k = t->pairs; k > 0; k--, a += ak, b += PANEL, ask += line) {
        vec w[8];
        __builtin_prefetch(ask);
        UNROLL
        for (int v = 0; v < vectors; v++)
            w[v] = vload(b + (size_t)(v >> 1) * t->panel + (v & 1) * LANES);
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec x = vset(a[r * ar]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = packed && r % 2 ? dot_at(a + r * ar, w[v], acc[r][v]) : dot(x, w[v], acc[r][v]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            float *c = t->c + r * t->cr + v * LANES;
            vec y = (vec)acc[r][v];
            if (t->mode == TILE_ADD)
                y = vload(c) + y;
            if (t->bias)
                y = y + vload(t->bias + v * LANES);
            vstore(c, y);
        }
    }
}

#define EACH_FEW(f)  f(1, 2) f(2, 2) f(3, 2) f(4, 2) f(5, 2) f(6, 2) f(1, 8) f(2, 8) f(3, 8) f(4, 4) f(5, 4) f(6, 4)
#define EACH_ROWS(f) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14)
#define DEFINE_FEW(rows, vectors)                                                                                      \
    static void dots_##rows##_##vectors(const struct dots *t)                                                          \
    {                                                                                                                  \
        dot_tile(t, rows, vectors, 0);                                                                                 \
    }
#define DEFINE_ROWS(rows)                                                                                              \
    static void dots_##rows(const struct dots *t)                                                                      \
    {                                                                                                                  \
        dot_tile(t, rows, 2, 1);                                                                                       \
    }
#define ENTRY_FEW(rows, vectors) [rows][vectors] = dots_##rows##_##vectors,
#define ENTRY_ROWS(rows)         [rows] = dots_##rows,
EACH_FEW(DEFINE_FEW)
EACH_ROWS(DEFINE_ROWS)
typedef void dot_kernel(const struct dots *t);
static dot_kernel *const few_kernel[TILE_ROWS4 + 1][9] = {EACH_FEW(ENTRY_FEW)};
static dot_kernel *const row_kernel[TILE_ROWS + 1] = {EACH_ROWS(ENTRY_ROWS)};

/* One call, or one into a buffer where fewer than 32 columns are left. */
static void dots_call(dot_kernel *kernel, struct dots t, int rows, int columns)
{
    float buffer[TILE_ROWS * PANEL], bias[PANEL];
    if (columns >= PANEL) {
        kernel(&t);
        return;
    }
    float *c = t.c;
    ptrdiff_t cr = t.cr;
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < PANEL; i++)
            buffer[r * PANEL + i] = t.mode != TILE_ZERO && i < columns ? c[r * cr + i] : 0;
    for (int i = 0; i < PANEL; i++)
        bias[i] = t.bias && i < columns ? t.bias[i] : 0;
    t.bias = t.bias ? bias : NULL;
    t.c = buffer;
    t.cr = PANEL;
    kernel(&t);
    for (int r = 0; r < rows; r++)
        memcpy(c + r * cr, buffer + r * PANEL, (size_t)columns * sizeof *c);
}

/* Up to TILE_ROWS4 rows as they lie: more vectors of columns keep the unit busy. */
static void dots_few(struct dots t, int rows, int columns)
{
    int most = rows <= TILE_ROWS8 ? 8 : 4;
    for (int n = 0, vectors; n < columns; n += vectors * LANES) {
        vectors = n + most * LANES <= columns ? most : 2;
        dots_call(few_kernel[rows][vectors], t, rows, columns - n);
        t.c += vectors * LANES;
        t.b += t.panel * (size_t)(vectors / 2);
        t.bias = t.bias ? t.bias + vectors * LANES : NULL;
    }
}

/* More rows, in packed tiles of `tile_words` each. */
static void dots_many(const struct dots *shared, size_t tile_words, int rows, int columns)
{
    int tiles = tile_count(rows);
    struct dots t = *shared;
    for (int n = 0; n < columns; n += PANEL, t.b += t.panel)
        for (int i = 0; i < tiles; i++) {
            int first = tile_first(rows, i), here = tile_end(rows, i) - first;
            const char *half = (const char *)(t.b + t.panel) + (size_t)i * (size_t)t.pairs * LINE;
            t.a = shared->a + i * tile_words;
            t.c = shared->c + (size_t)first * t.cr + n;
            t.bias = shared->bias ? shared->bias + n : NULL;
            t.ask = n + PANEL < columns && i < 2 ? half : NULL;
            for (int r = 0; i + 1 < tiles && r < here; r++) {
                __builtin_prefetch(t.c + (here + r) * t.cr);
                __builtin_prefetch(t.c + (here + r) * t.cr + LANES);
            }
            dots_call(row_kernel[here], t, here, columns - n);
        }
}

static void dot_product16(float *out, const float *in, const float *words, const float *bias, int M, int columns,
                          int chain)
{
    float *packed = (float *)scratch;
    for (int m = 0; m < M; m += ROWS) {
        int rows = smaller(ROWS, M - m), few = rows <= TILE_ROWS4, each = few ? chain : STEPS;
        for (int k = 0; k < chain; k += each) {
            int steps = smaller(each, chain - k);
            size_t row_words = (size_t)round_to(steps, STEP) / 2, tile_words = row_words * LANES;
            const float *from = in + (size_t)m * chain + k;
            struct dots t = {.a = packed, .b = words + (size_t)k / 2 * PANEL, .ar = (ptrdiff_t)row_words, .ak = 1};
            t.panel = (size_t)round_to(chain, STEP) / 2 * PANEL;
            t.pairs = (steps + 1) / 2;
            t.c = out + (size_t)m * columns;
            t.cr = columns;
            t.mode = k ? TILE_CHAIN : TILE_ZERO;
            t.bias = k + each >= chain ? bias : NULL;
            if (few) {
                pack_rows(packed, row_words, from, rows, rows, chain, steps);
                dots_few(t, rows, columns);
                continue;
            }
            for (int i = 0; i < tile_count(rows); i++)
                pack_tile(packed + i * tile_words, from + (size_t)tile_first(rows, i) * chain,
                          tile_end(rows, i) - tile_first(rows, i), chain, steps);
            dots_many(&t, tile_words, rows, columns);
        }
    }
}

/* ---- tdpbf16ps ---- */

#ifdef __AMX_BF16__
int amx_open(void)
{
    static struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    if (syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA))
        return -1;
    for (int i = 0; i < 8; i++) {
        config.bytes[i] = LINE;
        config.rows[i] = SIDE;
    }
    _tile_loadconfig(&config);
    return 0;
}

/* Operands of one call: two tiles of rows at a and a2, their rows `as` bytes apart, `a_step` bytes to the next 32
 * steps; and a panel. */
struct tiles {
    const char *a, *a2;
    size_t as, a_step;
    const float *b;
    long steps; /* of 32 */
    const char *ask;
    int lines;        /* asked for at each step */
    const char *then; /* the output that comes next, asked for to be written, or NULL */
    size_t then_step; /* bytes from row to row of it */
};

/* c[32][32], cs bytes from row to row, goes on from what is there or from zero. */
static void amx_block(const struct tiles *t, float *c, size_t cs, int chain)
{
    const char *a = t->a, *a2 = t->a2, *ask = t->ask, *then = t->then;
    const float *b = t->b;
    long left = then ? PAIR : 0, each = (PAIR + t->steps - 1) / (t->steps ? t->steps : 1);
    char *c2 = (char *)c + SIDE * cs;
    if (chain) {
        _tile_loadd(0, c, cs);
        _tile_loadd(1, c + SIDE, cs);
        _tile_loadd(2, c2, cs);
        _tile_loadd(3, c2 + SIDE * sizeof *c, cs);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (long k = t->steps; k > 0; k--, a += t->a_step, a2 += t->a_step, b += SIDE * PANEL) {
        _tile_loadd(4, a, t->as);
        _tile_loadd(6, b, PANEL * sizeof *b);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + SIDE, PANEL * sizeof *b);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a2, t->as);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        for (int i = 0; i < t->lines; i++, ask += LINE)
            __builtin_prefetch(ask);
        for (int i = 0; i < each && left > 0; i++, left--, then += t->then_step) {
            __builtin_prefetch(then, 1);
            __builtin_prefetch(then + LINE, 1);
        }
    }
    _tile_stored(0, c, cs);
    _tile_stored(1, c + SIDE, cs);
    _tile_stored(2, c2, cs);
    _tile_stored(3, c2 + SIDE * sizeof *c, cs);
}

/* 16 rows, c[16][64] from zero; the second panel at b2. */
static void amx_few(const struct tiles *t, const float *b2, float *c)
{
    const char *a = t->a;
    const float *b = t->b;
    enum { CS = 2 * PANEL * sizeof(float) };
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (long k = t->steps; k > 0; k--, a += t->a_step, b += SIDE * PANEL, b2 += SIDE * PANEL) {
        _tile_loadd(4, a, t->as);
        _tile_loadd(5, b, PANEL * sizeof *b);
        _tile_dpbf16ps(0, 4, 5);
        _tile_loadd(6, b + SIDE, PANEL * sizeof *b);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(7, b2, PANEL * sizeof *b);
        _tile_dpbf16ps(2, 4, 7);
        _tile_loadd(5, b2 + SIDE, PANEL * sizeof *b);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, c, CS);
    _tile_stored(1, c + SIDE, CS);
    _tile_stored(2, c + 2 * SIDE, CS);
    _tile_stored(3, c + 3 * SIDE, CS);
}

static void add_bias(float *c, size_t stride, const float *bias, int rows, int columns)
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < columns; i += LANES)
            vstore_n(c + (size_t)r * stride + i,
                     vload_n(c + (size_t)r * stride + i, columns - i, 0) + vload_n(bias + i, columns - i, 0),
                     columns - i);
}

/* What a block of rows and steps has in common with its neighbours. */
struct amx_rows {
    struct tiles t; /* a: the first packed row; b: the first panel */
    size_t panel;   /* words between panels */
    float *out;
    const float *bias; /* with the last steps of a chain only */
    int rows, padded, columns, chain;
};

static void amx_rows_few(const struct amx_rows *p)
{
    static __attribute__((aligned(64))) float buffer[SIDE * 2 * PANEL];
    struct tiles t = p->t;
    for (int n = 0; n < p->columns; n += 2 * PANEL, t.b += 2 * p->panel) {
        int here = smaller(2 * PANEL, p->columns - n);
        amx_few(&t, here > PANEL ? t.b + p->panel : t.b, buffer);
        for (int r = 0; r < p->rows; r++)
            memcpy(p->out + (size_t)r * p->columns + n, buffer + r * 2 * PANEL, (size_t)here * sizeof *buffer);
        if (p->bias)
            add_bias(p->out + n, p->columns, p->bias + n, p->rows, here);
    }
}

/* 32 x 32 numbers of the output at c, through a buffer where fewer are left. */
static void amx_rows_block(const struct amx_rows *p, const struct tiles *t, float *c, int high, int wide)
{
    static __attribute__((aligned(64))) float buffer[PAIR * PANEL];
    size_t cs = (size_t)p->columns;
    if (high == PAIR && wide == PANEL) {
        amx_block(t, c, cs * sizeof *c, p->chain);
        return;
    }
    for (int i = 0; p->chain && i < high; i++)
        memcpy(buffer + i * PANEL, c + i * cs, (size_t)wide * sizeof *c);
    amx_block(t, buffer, PANEL * sizeof *c, p->chain);
    for (int i = 0; i < high; i++)
        memcpy(c + i * cs, buffer + i * PANEL, (size_t)wide * sizeof *c);
}

static void amx_rows_many(const struct amx_rows *p)
{
    struct tiles t = p->t;
    t.then_step = (size_t)p->columns * sizeof *p->out;
    for (int n = 0; n < p->columns; n += PANEL, t.b += p->panel)
        for (int r = 0; r < p->rows; r += PAIR) {
            float *c = p->out + (size_t)r * p->columns + n;
            int wide = smaller(PANEL, p->columns - n), high = smaller(PAIR, p->rows - r), next = n + PANEL < p->columns;
            t.a = p->t.a + (size_t)r * t.as;
            t.a2 = t.a + SIDE * t.as;
            t.lines = next ? 2 * SIDE * PAIR / p->padded : 0;
            t.ask = (const char *)(t.b + p->panel) + (size_t)r * (size_t)t.steps * LINE;
            t.then = NULL;
            if (r + 2 * PAIR <= p->rows)
                t.then = (const char *)(c + (size_t)PAIR * p->columns);
            else if (r + PAIR >= p->rows && p->rows >= PAIR && next)
                t.then = (const char *)(p->out + n + PANEL);
            amx_rows_block(p, &t, c, high, wide);
            if (p->bias)
                add_bias(c, p->columns, p->bias + n, high, wide);
        }
}

static void amx_product16(float *out, const float *in, const float *words, const float *bias, int M, int columns,
                          int chain)
{
    float *packed = (float *)scratch;
    for (int m = 0; m < M; m += ROWS) {
        int rows = smaller(ROWS, M - m), each = rows <= PAIR ? chain : STEPS;
        for (int k = 0; k < chain; k += each) {
            int steps = smaller(each, chain - k), padded = (int)round_to(rows, rows <= SIDE ? SIDE : PAIR);
            long lines = round_to(steps, STEP) / STEP;      /* of the cache in a packed row; */
            size_t stride = (size_t)(lines | 1) * LINE / 4; /* rows lie an odd number of them apart */
            struct amx_rows p = {.rows = rows, .padded = padded, .columns = columns, .chain = k > 0};
            p.t = (struct tiles){.a = (char *)packed, .as = stride * 4, .a_step = LINE, .steps = lines};
            p.t.b = words + (size_t)k / 2 * PANEL;
            p.panel = (size_t)round_to(chain, STEP) / 2 * PANEL;
            p.out = out + (size_t)m * columns;
            p.bias = k + each >= chain ? bias : NULL;
            pack_rows(packed, stride, in + (size_t)m * chain + k, rows, padded, chain, steps);
            if (rows <= SIDE)
                amx_rows_few(&p);
            else
                amx_rows_many(&p);
        }
    }
}

#else
int amx_open(void)
{
    return -1;
}
#endif

void product16(enum unit u, float *out, const float *in, const uint32_t *words, const float *bias, int M, int columns,
               int chain)
{
    (void)u;
#ifdef __AMX_BF16__
    if (u == UNIT_AMX) {
        amx_product16(out, in, (const float *)words, bias, M, columns, chain);
        return;
    }
#endif
    dot_product16(out, in, (const float *)words, bias, M, columns, chain);
}

/* ---- weight gradient: chains over rows ---- */

/* [pair of rows][32]: columns n .. of dout. The words of a block are padded with zeros to `padded` rows. */
static void pack_outputs(float *to, const float *dout, struct span s, int padded, int n, int N)
{
    for (int r = 0; r < padded; r += 2, to += PANEL)
        for (int l = 0; l < PANEL; l += LANES) {
            const float *from = dout + (size_t)(s.start + r) * N + n + l;
            int left = N - n - l;
            vec low = r < s.len && left > 0 ? vload_n(from, left, 0) : vset(0);
            vec high = r + 1 < s.len && left > 0 ? vload_n(from + N, left, 0) : vset(0);
            vstore(to + l, interleave(low, high));
        }
}

INLINE vec input_words(const float *in, struct span s, int r, int k, int K)
{
    const float *from = in + (size_t)(s.start + r) * K + k;
    vec low = r < s.len && k < K ? vload_n(from, K - k, 0) : vset(0);
    vec high = r + 1 < s.len && k < K ? vload_n(from + K, K - k, 0) : vset(0);
    return interleave(low, high);
}

static void dot_weight16(float *dW, const float *dout, const float *in, struct span s, int N, int k0, int k1, int K)
{
    int tiles = tile_count(k1 - k0), pairs = (s.len + 1) / 2;
    float *panel = (float *)scratch, *packed = panel + (size_t)ROWS * PANEL;
    for (int i = 0; i < tiles; i++)
        for (int j = 0; j < pairs; j++)
            vstore(packed + ((size_t)i * pairs + j) * LANES, input_words(in, s, 2 * j, k0 + tile_first(k1 - k0, i), K));
    for (int n = 0; n < N; n += PANEL) {
        pack_outputs(panel, dout, s, 2 * pairs, n, N);
        for (int i = 0; i < tiles; i++) {
            int first = tile_first(k1 - k0, i), here = tile_end(k1 - k0, i) - first;
            struct dots t = {.a = packed + (size_t)i * pairs * LANES, .b = panel, .pairs = pairs, .mode = TILE_ADD};
            t.c = dW + (size_t)n * K + (size_t)(k0 + first) * PANEL;
            t.cr = PANEL;
            for (int r = 0; r < 2 * here; r++)
                __builtin_prefetch(t.c + here * PANEL + r * LANES);
            row_kernel[here](&t);
        }
    }
}

#ifdef __AMX_BF16__
/* Blocks that together have at most TOGETHER padded rows; a tile of the gradient goes through all of them. */
static void amx_weight16(float *dW, const float *dout, const float *in, const struct span *block, int blocks, int N,
                         int k0, int k1, int K)
{
    static __attribute__((aligned(64))) float buffer[PAIR * PANEL];
    float *panel = (float *)scratch, *packed = panel + (size_t)TOGETHER * PANEL;
    int rows = 0, at = 0;
    for (int b = 0; b < blocks; b++)
        rows += (int)round_to(block[b].len, STEP);
    int steps = rows / STEP, tiles = (int)round_to(k1 - k0, PAIR) / SIDE;
    for (int b = 0; b < blocks; at += (int)round_to(block[b].len, STEP) / STEP, b++)
        for (int i = 0; i < tiles; i++)
            for (int r = 0; r < block[b].len; r += STEP) {
                vec x[LANES];
                for (int j = 0; j < LANES; j++)
                    x[j] = input_words(in, block[b], r + 2 * j, k0 + i * SIDE, K);
                transpose_vectors(x);
                for (int j = 0; j < LANES; j++)
                    vstore(packed + ((size_t)i * steps + at + r / STEP) * LANES * LANES + j * LANES, x[j]);
            }
    for (int n = 0; n < N; n += PANEL) {
        float *to = panel;
        for (int b = 0; b < blocks; b++) {
            int padded = (int)round_to(block[b].len, STEP);
            pack_outputs(to, dout, block[b], padded, n, N);
            to += (size_t)padded / 2 * PANEL;
        }
        for (int i = 0; i < tiles; i += 2) {
            struct tiles t = {.as = LINE, .a_step = SIDE * LINE, .b = panel, .steps = steps};
            float *c = dW + (size_t)n * K + (size_t)(k0 + i * SIDE) * PANEL;
            int high = smaller(PAIR, k1 - k0 - i * SIDE);
            t.a = (char *)(packed + (size_t)i * steps * LANES * LANES);
            t.a2 = t.a + (size_t)steps * SIDE * LINE;
            t.ask = (char *)(c + PAIR * PANEL); /* the gradient's next tiles */
            t.lines = (2 * PAIR + steps - 1) / steps;
            if (high < PAIR)
                memcpy(buffer, c, (size_t)high * PANEL * sizeof *c);
            amx_block(&t, high < PAIR ? buffer : c, PANEL * sizeof *c, 1);
            if (high < PAIR)
                memcpy(c, buffer, (size_t)high * PANEL * sizeof *c);
        }
    }
}
#endif

static void add_sums(float *db, const float *dout, struct span s, int N)
{
    for (int n = 0; n < N; n += LANES) {
        vec sum = vset(0);
        for (int r = 0; r < s.len; r++)
            sum = sum + vload_n(dout + (size_t)(s.start + r) * N + n, N - n, 0);
        vstore_n(db + n, vload_n(db + n, N - n, 0) + sum, N - n);
    }
}

void weight16(enum unit u, float *dW, float *db, const float *dout, const float *in, const struct span *block,
              int blocks, int N, int K)
{
    int most = u == UNIT_AMX ? TOGETHER : 0; /* padded rows of some blocks together; one block may have more */
    for (int b = 0; db && b < blocks; b++)
        add_sums(db, dout, block[b], N);
    for (int k = 0; k < K; k += STEPS)
        for (int b = 0, n; b < blocks; b += n) {
            long rows = round_to(block[b].len, STEP);
            for (n = 1; b + n < blocks && (rows += round_to(block[b + n].len, STEP)) <= most;)
                n++;
#ifdef __AMX_BF16__
            if (u == UNIT_AMX) {
                amx_weight16(dW, dout, in, block + b, n, N, k, smaller(k + STEPS, K), K);
                continue;
            }
#endif
            dot_weight16(dW, dout, in, block[b], N, k, smaller(k + STEPS, K), K);
        }
}
