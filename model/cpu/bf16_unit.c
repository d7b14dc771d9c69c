/* The two ways to compute a block of a product in bf16 (bf16.h): the matrix unit, and vectors. */
#include "bf16.h"
#if defined(__AMX_BF16__) && defined(__linux__)
#define WITH_AMX
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__SSE2__)
#include <xmmintrin.h>
#endif

/* ---- AMX: tiles of 16 rows of 64 bytes ---- */

#ifdef WITH_AMX
/* The system gives the tile registers, 8 KB that it must keep for every thread, to those who ask. */
static const char *amx_missing(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* asm/prctl.h, Documentation/arch/x86/xstate.rst of Linux */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) ? "the system gives no AMX" : NULL;
}

/* At every item: a thread that begins, and a process that was forked, has no shape of tiles. */
static void amx_begin(void)
{
    static const struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&shape);
}

/* What is packed must be in memory when tiles are read, and results when they are used: the compiler does not know. */
#define BARRIER() __asm__ volatile("" ::: "memory")

static void amx_high(const struct bf16_block *t)
{
    const char *a = t->a, *a2 = t->a + LOW * t->a_row, *b = t->b, *ask = t->ask, *then = t->then;
    size_t row = t->c_row * sizeof *t->c;
    char *c = (char *)t->c, *c2 = c + LOW * row;
    long left = then ? HIGH : 0, each = t->steps ? (HIGH + t->steps - 1) / t->steps : 0;
    BARRIER();
    if (t->chain) {
        _tile_loadd(0, c, row);
        _tile_loadd(1, c + 64, row);
        _tile_loadd(2, c2, row);
        _tile_loadd(3, c2 + 64, row);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (long k = t->steps; k > 0; k--, a += STEP_BYTES, a2 += STEP_BYTES, b += t->b_step, ask += t->ask_step) {
        _tile_loadd(4, a, t->a_row);
        _tile_loadd(6, b, PANEL * 4);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + 64, PANEL * 4);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a2, t->a_row);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        for (int i = 0; i < t->lines; i++)
            __builtin_prefetch(ask + i * 64);
        for (long i = 0; i < each && left > 0; i++, left--, then += t->then_row) {
            __builtin_prefetch(then, 1);
            __builtin_prefetch(then + 64, 1);
        }
    }
    _tile_stored(0, c, row);
    _tile_stored(1, c + 64, row);
    _tile_stored(2, c2, row);
    _tile_stored(3, c2 + 64, row);
    BARRIER();
}

/* Few rows wait for the panels: two at once. */
static void amx_low(const struct bf16_block *t)
{
    const char *a = t->a, *b = t->b, *b2 = t->b + t->b_panel;
    size_t row = t->c_row * sizeof *t->c;
    char *c = (char *)t->c;
    BARRIER();
    if (t->chain) {
        _tile_loadd(0, c, row);
        _tile_loadd(1, c + 64, row);
        _tile_loadd(2, c + 128, row);
        _tile_loadd(3, c + 192, row);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (long k = t->steps; k > 0; k--, a += STEP_BYTES, b += t->b_step, b2 += t->b_step) {
        _tile_loadd(4, a, t->a_row);
        _tile_loadd(5, b, PANEL * 4);
        _tile_dpbf16ps(0, 4, 5);
        _tile_loadd(6, b + 64, PANEL * 4);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(7, b2, PANEL * 4);
        _tile_dpbf16ps(2, 4, 7);
        _tile_loadd(5, b2 + 64, PANEL * 4);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, c, row);
    _tile_stored(1, c + 64, row);
    _tile_stored(2, c + 128, row);
    _tile_stored(3, c + 192, row);
    BARRIER();
}

#else
static const char *amx_missing(void)
{
    return "the program was built for a processor without AMX";
}

/* Nobody calls the others then. */
static void amx_begin(void)
{
}
static void amx_high(const struct bf16_block *t)
{
    (void)t;
}
static void amx_low(const struct bf16_block *t)
{
    (void)t;
}
#endif

const struct bf16_unit bf16_amx = {amx_missing, amx_begin, amx_high, amx_low};

/* ---- vectors ---- */

/* Numbers below 2^-126 become zero from here on; returns how it was. (x86 looks at the rounded result, ARM at the exact
 * one: a sum between the two, just below 2^-126, may differ there.) */
#if defined(__SSE2__)
static const char *plain_missing(void)
{
    return NULL;
}
static uint64_t flush_begin(void)
{
    enum { FLUSH_RESULTS = 0x8000, FLUSH_OPERANDS = 0x40 };
    uint32_t before = _mm_getcsr();
    _mm_setcsr(before | FLUSH_RESULTS | FLUSH_OPERANDS);
    return before;
}
static void flush_end(uint64_t before)
{
    _mm_setcsr((uint32_t)before);
}
#elif defined(__aarch64__)
static const char *plain_missing(void)
{
    return NULL;
}
static uint64_t flush_begin(void)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" ::"r"(before | 1u << 24));
    return before;
}
static void flush_end(uint64_t before)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(before));
}
#else
static const char *plain_missing(void)
{
    return "it is not known how this processor flushes small numbers to zero";
}
static uint64_t flush_begin(void)
{
    return 0;
}
static void flush_end(uint64_t before)
{
    (void)before;
}
#endif

static void plain_begin(void)
{
}

/* Two vectors of columns of some rows. */
INLINE void plain_tile(const struct bf16_block *t, const char *a, const char *b, float *c, const int rows)
{
    enum { MOST = 4, PAIRS = STEP / 2 };
    for (long k = 0; k < t->steps; k++, a += STEP_BYTES, b += t->b_step) {
        vec even[MOST][2], odd[MOST][2];
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < 2; v++)
                even[r][v] = odd[r][v] = vset(0);
        for (int p = 0; p < PAIRS; p++) {
            vec low[2], high[2];
            for (int v = 0; v < 2; v++) {
                ivec word = (ivec)vload((const float *)(b + p * PANEL * 4) + v * LANES);
                low[v] = (vec)(word << 16);
                high[v] = (vec)(word & ~0xffff);
            }
            for (int r = 0; r < rows; r++) {
                int32_t word;
                memcpy(&word, a + (size_t)r * t->a_row + p * 4, sizeof word);
                vec x = (vec)vset_int((int32_t)((uint32_t)word << 16)), y = (vec)vset_int(word & ~0xffff);
                for (int v = 0; v < 2; v++) {
                    even[r][v] = vfma(x, low[v], even[r][v]);
                    odd[r][v] = vfma(y, high[v], odd[r][v]);
                }
            }
        }
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < 2; v++) {
                float *at = c + (size_t)r * t->c_row + v * LANES;
                vec before = k || t->chain ? vload(at) : vset(0);
                vstore(at, before + (even[r][v] + odd[r][v]));
            }
    }
}

static __attribute__((noinline)) void plain_rows(const struct bf16_block *t, int columns)
{
    enum { ROWS = LANES == GROUP ? 4 : 2 }; /* as many as fit the registers */
    for (int n = 0; n < columns; n += TILE_COLUMNS) {
        const char *b = t->b + (size_t)(n / PANEL) * t->b_panel + n % PANEL * 4;
        int r = 0;
        for (; r + ROWS <= t->rows; r += ROWS)
            plain_tile(t, t->a + (size_t)r * t->a_row, b, t->c + (size_t)r * t->c_row + n, ROWS);
        for (; r < t->rows; r++)
            plain_tile(t, t->a + (size_t)r * t->a_row, b, t->c + (size_t)r * t->c_row + n, 1);
    }
}

static void plain_columns(const struct bf16_block *t, int columns)
{
    for (int r = 0; r < t->rows && !t->steps && !t->chain; r++)
        memset(t->c + (size_t)r * t->c_row, 0, (size_t)columns * sizeof *t->c);
    uint64_t before = flush_begin();
    plain_rows(t, columns);
    flush_end(before);
}

static void plain_high(const struct bf16_block *t)
{
    plain_columns(t, PANEL);
}

static void plain_low(const struct bf16_block *t)
{
    plain_columns(t, 2 * PANEL);
}

const struct bf16_unit bf16_plain = {plain_missing, plain_begin, plain_high, plain_low};
