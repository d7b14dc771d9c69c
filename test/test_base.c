/* model/base: failures, memory, arena, random numbers, clock (files: test_file.c, JSON and parameters: test_values.c).
 * The random vectors are the published ones of Random123; streams, hashes and draws were computed by an independent
 * implementation in another language. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../model/base/arena.h"
#include "../model/base/clock.h"
#include "../model/base/error.h"
#include "../model/base/mem.h"
#include "../model/base/rng.h"
/* last: its macro fail() would change our declaration; (fail)(...) below is ours */
#include <cmocka.h>
#include "child.h"

/* ---- error */

static void test_fail(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal((fail)(&e, "%s: %d", "line", 7), -1);
    assert_string_equal(e.text, "line: 7");
    assert_int_equal(fail_in(&e, "recipe %s", "x.ini"), -1);
    assert_string_equal(e.text, "recipe x.ini: line: 7");
    assert_int_equal((fail)(NULL, "nobody listens"), -1);
    assert_int_equal(fail_in(NULL, "nobody listens"), -1);
}

static void test_fail_is_bounded(void **state)
{
    (void)state;
    struct error e;
    char longer[3000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    (fail)(&e, "%s", longer);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    fail_in(&e, "front");
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "front: xxx", 10);
    fail_in(&e, "%s", longer);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void body_die(void)
{
    die("the %s is %d", "answer", 42);
}

static void test_die(void **state)
{
    (void)state;
    char said[512];
    assert_int_equal(in_child(body_die, said), 1);
    assert_contains(said, "test_base.c:");
    assert_contains(said, "the answer is 42\n");
}

static void test_nearest_name(void **state)
{
    (void)state;
    static const char *const names[] = {"lambda", "eps_low", "eps_high", "lr", "steps", "group"};
    enum { N = 6 };
    assert_string_equal(nearest_name("lamda", names, N), "lambda");   /* one missing */
    assert_string_equal(nearest_name("lambdda", names, N), "lambda"); /* one too many */
    assert_string_equal(nearest_name("lanbda", names, N), "lambda");  /* one wrong */
    assert_string_equal(nearest_name("grupo", names, N), "group");    /* two neighbours swapped and one lost */
    assert_string_equal(nearest_name("eps-hihg", names, N), "eps_high");
    assert_string_equal(nearest_name("EPS-LOW", names, N), "eps_low"); /* '-' is '_', case does not count */
    assert_string_equal(nearest_name("rl", names, N), "lr");
    assert_string_equal(nearest_name("lam", names, N), "lambda"); /* an abbreviation */
    assert_null(nearest_name("temperature", names, N));
    assert_null(nearest_name("stop", names, N)); /* two slips in four letters */
    assert_null(nearest_name("q", names, N));    /* one letter suggests nothing */
    assert_null(nearest_name("", names, N));
    assert_null(nearest_name("lambda", names, 0));
    char longer[200];
    memset(longer, 'l', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_null(nearest_name(longer, names, N));
    const char *huge[] = {longer, "lambda"};
    assert_string_equal(nearest_name("lamba", huge, 2), "lambda");
}

/* ---- mem */

static void test_alloc(void **state)
{
    (void)state;
    long before = mem_count();
    for (size_t n = 0; n < 300; n += 7) {
        unsigned char *p = mem_alloc(n, 3);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < 3 * n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 1, 3 * n);
        mem_free(p);
    }
    assert_int_equal(mem_count() - before, 43);
    mem_free(NULL);
    char *s = mem_strdup("text");
    assert_string_equal(s, "text");
    mem_free(s);
}

static void test_resize(void **state)
{
    (void)state;
    unsigned char *p = mem_resize(NULL, 0, 10);
    memset(p, 7, 10);
    p = mem_resize(p, 10, 500);
    for (int i = 0; i < 500; i++)
        assert_int_equal(p[i], i < 10 ? 7 : 0);
    p = mem_resize(p, 500, 4);
    assert_int_equal(p[3], 7);
    mem_free(p);

    int *array = NULL, cap = 0;
    for (int i = 0; i < 1000; i++) {
        mem_grow(&array, &cap, i + 1, sizeof *array);
        assert_true(cap > i);
        assert_int_equal(array[i], 0);
        array[i] = i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(array[i], i);
    long before = mem_count();
    mem_grow(&array, &cap, cap, sizeof *array);
    assert_int_equal(mem_count(), before); /* what fits allocates nothing */
    mem_free(array);
}

static void body_too_much(void)
{
    mem_alloc((size_t)1 << 40, (size_t)1 << 40);
}

static void body_overflow_by_rounding(void)
{
    mem_alloc(SIZE_MAX - 8, 1);
}

static void body_second_fails(void)
{
    mem_fail_at(2);
    void *first = mem_alloc(1, 1);
    fprintf(stderr, "first %d\n", first != NULL);
    mem_alloc(1000, 2);
}

static void body_fail_off(void)
{
    mem_fail_at(1);
    mem_fail_at(0);
    mem_free(mem_alloc(1, 1));
}

static void body_grow_negative(void)
{
    char *p = NULL;
    int cap = 0;
    mem_grow(&p, &cap, -1, 1);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    char said[512];
    assert_int_equal(in_child(body_too_much, said), 1);
    assert_contains(said, "out of memory");
    assert_int_equal(in_child(body_overflow_by_rounding, said), 1);
    assert_contains(said, "out of memory");
    assert_int_equal(in_child(body_second_fails, said), 1);
    assert_contains(said, "first 1\n");
    assert_contains(said, "out of memory: 2048 bytes");
    assert_int_equal(in_child(body_fail_off, said), 0);
    assert_int_equal(in_child(body_grow_negative, said), 1);
}

static void test_text(void **state)
{
    (void)state;
    struct text t = {0};
    text_clear(&t);
    text_add(&t, "abc", 2);
    text_add(&t, "xyz", -1);
    assert_string_equal(t.s, "abxyz");
    text_add(&t, NULL, 0);
    text_addf(&t, "-%d-%s", 12, "q");
    assert_string_equal(t.s, "abxyz-12-q");
    assert_int_equal(t.len, 10);
    text_addf(&t, "%500s", "end"); /* longer than any first guess at its size */
    assert_int_equal(t.len, 510);
    assert_string_equal(t.s + 507, "end");
    text_clear(&t);
    assert_string_equal(t.s, "");
    text_add(&t, "a\0b", 3); /* bytes, not only characters */
    assert_int_equal(t.len, 3);
    assert_memory_equal(t.s, "a\0b", 4);
    text_free(&t);
    assert_null(t.s);
}

/* ---- arena */

static void test_arena(void **state)
{
    (void)state;
    struct error e;
    struct arena a = {0};
    size_t bytes[] = {1, 64, 0, 63, 65, 1000};
    for (int i = 0; i < 6; i++)
        assert_int_equal(arena_want(&a, i == 1 ? "weights" : "other", bytes[i]), i);
    arena_commit(&a, &host_memory);
    assert_int_equal(arena_check(&a, &e), 0);
    for (int i = 0; i < 6; i++) {
        char *p = arena_at(&a, i);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, 0x11 * i, bytes[i]); /* every byte of a block may be written, and no other */
    }
    assert_int_equal(arena_check(&a, &e), 0);
    char *weights = arena_at(&a, 1);
    for (int at = 64; at < 128; at++) { /* every byte of the guard is watched */
        char old = weights[at];
        weights[at] ^= 1;
        assert_int_equal(arena_check(&a, &e), -1);
        assert_contains(e.text, "weights");
        weights[at] = old;
    }
    weights[-65] ^= 1; /* the last byte of the guard after block 0 */
    assert_int_equal(arena_check(&a, &e), 0 - 1);
    weights[-65] ^= 1;
    char *first = arena_at(&a, 0);
    first[-1] ^= 1;
    assert_int_equal(arena_check(&a, &e), -1);
    assert_contains(e.text, "in front of");
    arena_free(&a);
    assert_null(a.block);
    assert_null(a.base);
}

static void test_arena_print(void **state)
{
    (void)state;
    struct arena a = {0};
    arena_want(&a, "small", 1024);
    arena_want(&a, "large", 3 << 20);
    arena_want(&a, "a name that is longer than the forty-seven letters a block can keep", 2 << 20);
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    arena_print(&a, f); /* before the commit: the plan can be refused */
    fclose(f);
    char *large = strstr(text, "3.000 MiB  large"), *middle = strstr(text, "2.000 MiB  a name that is longer"),
         *small = strstr(text, "0.001 MiB  small");
    assert_true(large && middle && small && large < middle && middle < small);
    assert_contains(text, "3 blocks");
    free(text);
    arena_free(&a);
}

static void body_late_want(void)
{
    struct arena a = {0};
    arena_want(&a, "x", 1);
    arena_commit(&a, &host_memory);
    arena_want(&a, "late block", 1);
}

static void body_early_at(void)
{
    struct arena a = {0};
    arena_at(&a, arena_want(&a, "x", 1));
}

static void body_absurd_block(void)
{
    struct arena a = {0};
    arena_want(&a, "absurd", SIZE_MAX - 10);
}

static void *no_memory(void *context, size_t bytes)
{
    (void)context, (void)bytes;
    return NULL;
}

static void body_no_device_memory(void)
{
    struct arena_memory none = host_memory;
    none.alloc = no_memory;
    struct arena a = {0};
    arena_want(&a, "x", 100);
    arena_commit(&a, &none);
}

static void test_arena_misuse(void **state)
{
    (void)state;
    char said[512];
    assert_int_equal(in_child(body_late_want, said), 1);
    assert_contains(said, "late block");
    assert_int_equal(in_child(body_early_at, said), 1);
    assert_int_equal(in_child(body_absurd_block, said), 1);
    assert_contains(said, "absurd");
    assert_int_equal(in_child(body_no_device_memory, said), 1);
    assert_contains(said, "out of memory");
}

/* ---- rng */

static void test_philox(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        philox(out, known[i].counter, known[i].key);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
    uint32_t same[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
    philox(same, same, known[2].key); /* in place */
    assert_memory_equal(same, known[2].out, sizeof same);
}

static void test_streams(void **state)
{
    (void)state;
    struct rng r = rng_stream(0x123456789abcdef0, RNG_SAMPLE, 7, 0x100000003, 5);
    assert_int_equal(r.key[0], 0xaea48938);
    assert_int_equal(r.key[1], 0xb5433eb6);
    assert_true(rng_bits(r, 0) == 0xfed6d259a700262f);
    assert_true(rng_bits(r, 1) == 0xd9b3e2741f35e23f);
    assert_true(rng_bits(r, (uint64_t)1 << 33) == 0x160182a4d3a96771);
    assert_true(rng_uniform(r, 1) == 0.8504010709286471);
    assert_true(fabs(rng_normal(r, 0) + 0.06233150274622112) < 1e-14);
    assert_true(fabs(rng_normal(r, (uint64_t)1 << 33) - 1.861062127499781) < 1e-14);
    assert_int_equal(rng_below(r, 0, 10), 9);
    assert_int_equal(rng_below(r, 1, 2147483647), 1826222393);
    assert_int_equal(rng_below(r, 1, 1), 0);
    assert_int_equal(rng_below(r, 0, 1500000000), 1493198128); /* the lower half carries */

    /* every name of a stream matters, in its low and its high half */
    struct rng other[] = {
        rng_stream(0x123456789abcdef1, RNG_SAMPLE, 7, 0x100000003, 5),
        rng_stream(0x023456789abcdef0, RNG_SAMPLE, 7, 0x100000003, 5),
        rng_stream(0x123456789abcdef0, RNG_TASK, 7, 0x100000003, 5),
        rng_stream(0x123456789abcdef0, RNG_SAMPLE, 8, 0x100000003, 5),
        rng_stream(0x123456789abcdef0, RNG_SAMPLE, 0x100000007, 0x100000003, 5),
        rng_stream(0x123456789abcdef0, RNG_SAMPLE, 7, 0x100000004, 5),
        rng_stream(0x123456789abcdef0, RNG_SAMPLE, 7, 3, 5),
        rng_stream(0x123456789abcdef0, RNG_SAMPLE, 7, 0x100000003, 6),
    };
    for (int i = 0; i < 8; i++)
        assert_true(rng_bits(other[i], 0) != rng_bits(r, 0));
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static void test_streams_are_distinct(void **state)
{
    (void)state;
    enum { N = 20 * 20 * 20 };
    uint64_t *first = mem_alloc(N, sizeof *first);
    for (int i = 0; i < N; i++)
        first[i] = rng_bits(rng_stream(1, RNG_SAMPLE, i / 400, i / 20 % 20, i % 20), 0);
    qsort(first, N, sizeof *first, compare_u64);
    for (int i = 1; i < N; i++)
        assert_true(first[i] != first[i - 1]);
    mem_free(first);
}

/* Over 2^17 draws: mean and variance within 4.5 standard errors, and chi-square of 64 cells (63 degrees of freedom,
 * standard deviation 11.2) within 63 +- 50. */
static void check_uniform(double (*draw)(int i))
{
    enum { N = 1 << 17, CELLS = 64 };
    double sum = 0, squares = 0, chi = 0;
    int cell[CELLS] = {0};
    for (int i = 0; i < N; i++) {
        double u = draw(i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += (u - 0.5) * (u - 0.5);
        cell[(int)(u * CELLS)]++;
    }
    assert_true(fabs(sum / N - 0.5) < 4.5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(squares / N - 1.0 / 12) < 4.5 * sqrt(1.0 / 180 / N));
    for (int i = 0; i < CELLS; i++)
        chi += (cell[i] - (double)N / CELLS) * (cell[i] - (double)N / CELLS) / ((double)N / CELLS);
    assert_true(chi > 13 && chi < 113);
}

static double by_position(int i)
{
    return rng_uniform(rng_stream(3, RNG_TEST, 0, 0, 0), (uint64_t)i);
}

static double by_step(int i)
{
    return rng_uniform(rng_stream(3, RNG_TEST, (uint64_t)i, 0, 0), 0);
}

static double by_sample(int i)
{
    return rng_uniform(rng_stream(3, RNG_TEST, 5, (uint64_t)i / 8, (uint32_t)i % 8), 2);
}

static double by_hash(int i)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d", i);
    return (double)(hash_bytes(text, len, 9) >> 11) * 0x1p-53;
}

static void test_uniform(void **state)
{
    (void)state;
    check_uniform(by_position);
    check_uniform(by_step);
    check_uniform(by_sample);
    check_uniform(by_hash);
}

static void test_normal(void **state)
{
    (void)state;
    enum { N = 1 << 17 };
    struct rng r = rng_stream(4, RNG_TEST, 0, 0, 0);
    double m1 = 0, m2 = 0, m4 = 0, next = 0;
    int beyond = 0;
    for (int i = 0; i < N; i++) {
        double x = rng_normal(r, (uint64_t)i);
        assert_true(isfinite(x));
        m1 += x;
        m2 += x * x;
        m4 += x * x * x * x;
        next += x * rng_normal(r, (uint64_t)i + 1);
        beyond += fabs(x) > 1.959963984540054;
    }
    assert_true(fabs(m1 / N) < 4.5 * sqrt(1.0 / N));
    assert_true(fabs(m2 / N - 1) < 4.5 * sqrt(2.0 / N));
    assert_true(fabs(m4 / N - 3) < 4.5 * sqrt(96.0 / N)); /* Var x^4 = 105 - 9 */
    assert_true(fabs(next / N) < 4.5 * sqrt(1.0 / N));
    assert_true(fabs((double)beyond / N - 0.05) < 4.5 * sqrt(0.05 * 0.95 / N));
}

static void test_below(void **state)
{
    (void)state;
    enum { N = 60000 };
    struct rng r = rng_stream(5, RNG_TEST, 0, 0, 0);
    int cell[6] = {0};
    for (int i = 0; i < N; i++) {
        int k = rng_below(r, (uint64_t)i, 6);
        assert_in_range(k, 0, 5);
        cell[k]++;
    }
    for (int k = 0; k < 6; k++)
        assert_true(fabs(cell[k] - N / 6.0) < 4.5 * sqrt(N * 5.0 / 36));
}

static void test_hash(void **state)
{
    (void)state;
    assert_true(hash_bytes("", 0, 0) == 0x48218226ff3cd4bf);
    assert_true(hash_bytes("a", 1, 0) == 0x4e23c0c98b9a6368);
    assert_true(hash_bytes("a", 1, 1) == 0xf72dbc4e47b9f950);
    assert_true(hash_bytes("a\0", 2, 0) == 0x4a9599776384f7e7);
    assert_true(hash_bytes("12345678", 8, 0) == 0x5d3e29896a8843ad);
    assert_true(hash_bytes("The quick brown fox", 19, 42) == 0x9cb68ef1e80e2d30);
    assert_true(hash_bytes("-The quick brown fox" + 1, 19, 42) == 0x9cb68ef1e80e2d30); /* whatever its address */
}

static void test_clock(void **state)
{
    (void)state;
    char buf[32];
    double before = clock_now();
    assert_true(clock_now() >= before);
    assert_string_equal(clock_text(buf, 42.4), "42 s");
    assert_string_equal(clock_text(buf, 59.6), "1 min 00 s");
    assert_string_equal(clock_text(buf, 185), "3 min 05 s");
    assert_string_equal(clock_text(buf, 7800), "2 h 10 min");
    assert_string_equal(clock_text(buf, NAN), "?");
    assert_string_equal(clock_text(buf, -1), "?");
    assert_string_equal(clock_text(buf, INFINITY), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail),          cmocka_unit_test(test_fail_is_bounded),
        cmocka_unit_test(test_die),           cmocka_unit_test(test_nearest_name),
        cmocka_unit_test(test_alloc),         cmocka_unit_test(test_resize),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_text),
        cmocka_unit_test(test_arena),         cmocka_unit_test(test_arena_print),
        cmocka_unit_test(test_arena_misuse),  cmocka_unit_test(test_philox),
        cmocka_unit_test(test_streams),       cmocka_unit_test(test_streams_are_distinct),
        cmocka_unit_test(test_uniform),       cmocka_unit_test(test_normal),
        cmocka_unit_test(test_below),         cmocka_unit_test(test_hash),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
