/* Tools of test_ops.c and test_ops_exact.c: the reference and the CPU table with 1, 2 and 3 threads side by side,
 * tensors between guard words, and a harness that runs one piece of code on all of them and compares. */
#ifndef OPS_TOOLS_H
#define OPS_TOOLS_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../model/backend.h"
#include "../model/base/error.h"
#include <cmocka.h> /* last: it defines a macro fail */

enum { GUARD = 17, MAX_BLOCKS = 64, ROWS_MAX = 64 }; /* an odd guard: tensors are not aligned to vectors */

struct block {
    char *base;
    size_t bytes, guard;
};
struct context { /* a device and the tensors of the running test */
    struct device dev;
    struct block block[MAX_BLOCKS];
    int blocks;
    unsigned char *called; /* [ROWS_MAX] by place in struct ops */
};
enum { REF, CPU1, CPU2, CPU3, CONTEXTS };
struct suite {
    struct context c[CONTEXTS];
    unsigned char called[2][ROWS_MAX];
};

#define ROW_PLACE(row)         ((offsetof(struct ops, row) - offsetof(struct ops, alloc)) / sizeof(void (*)(void)))
#define CALL(c, row, ...)      ((c)->called[ROW_PLACE(row)] = 1, (c)->dev.ops->row(&(c)->dev, __VA_ARGS__))
#define CALL_SYNC(c)           ((c)->called[ROW_PLACE(sync)] = 1, (c)->dev.ops->sync(&(c)->dev))
#define CALL_PURE(c, row, ...) ((c)->called[ROW_PLACE(row)] = 1, (c)->dev.ops->row(__VA_ARGS__))

static inline int suite_open(void **state)
{
    static const int threads[CONTEXTS] = {1, 1, 2, 3};
    struct suite *s = calloc(1, sizeof *s);
    for (int i = 0; i < CONTEXTS; i++) {
        struct error e;
        if (device_open(&s->c[i].dev, i == REF ? &ref_ops : &cpu_ops, threads[i], &e)) {
            fprintf(stderr, "%s\n", e.text);
            return -1;
        }
        s->c[i].called = s->called[i != REF];
    }
    *state = s;
    return 0;
}

static inline int suite_close(void **state)
{
    struct suite *s = *state;
    for (int i = 0; i < CONTEXTS; i++)
        device_close(&s->c[i].dev);
    free(s);
    return 0;
}

/* Reproducible values, exact in float: [-1, 1), and whole numbers below n. */
static inline uint64_t mix(uint64_t seed, uint64_t i)
{
    uint64_t z = (seed * 0x9e3779b97f4a7c15u + i + 1) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 31) * 0x94d049bb133111ebu;
    return z ^ z >> 29;
}

static inline double value(uint64_t seed, uint64_t i)
{
    return (float)((double)(mix(seed, i) >> 11) * 0x1p-52 - 1.0);
}

static inline int below(uint64_t seed, uint64_t i, int n)
{
    return (int)(mix(seed, i) % (uint64_t)n);
}

/* A block of bytes between guard words, filled with `fill`. */
static inline void *guarded(struct context *c, size_t bytes, size_t guard, int fill)
{
    assert_true(c->blocks < MAX_BLOCKS);
    struct block *b = &c->block[c->blocks++];
    b->bytes = bytes;
    b->guard = guard;
    b->base = CALL(c, alloc, bytes + 2 * guard);
    assert_non_null(b->base);
    memset(b->base, 0x5a, bytes + 2 * guard);
    memset(b->base + guard, fill, bytes);
    return b->base + guard;
}

static inline Dev tensor(struct context *c, size_t n) /* holds garbage: rows must overwrite it */
{
    Dev x = {guarded(c, n * c->dev.ops->real_bytes, GUARD * c->dev.ops->real_bytes, 0x41), 0};
    return x;
}

static inline Dev tensor_from(struct context *c, const double *from, size_t n)
{
    Dev x = tensor(c, n);
    CALL(c, upload, x, from, n);
    return x;
}

static inline Dev tensor_random(struct context *c, size_t n, uint64_t seed)
{
    double *v = malloc((n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = value(seed, i);
    Dev x = tensor_from(c, v, n);
    free(v);
    return x;
}

static inline DevInt ints(struct context *c, const int32_t *from, size_t n)
{
    DevInt x = {guarded(c, n * sizeof *from, GUARD * sizeof *from, 0x41)};
    CALL(c, upload_int, x, from, n);
    return x;
}

/* A weight from plain [N][K] values (a vector: K = 1); its padding is zero. */
static inline Dev weight_from(struct context *c, const double *from, int N, int K)
{
    size_t n = CALL_PURE(c, weight_reals, N, K);
    Dev W = tensor(c, n);
    CALL(c, zero, W, n);
    CALL(c, pack, W, from, 0, N, N, K);
    return W;
}

static inline Dev weight_random(struct context *c, int N, int K, uint64_t seed)
{
    double *v = malloc(((size_t)N * K + 1) * sizeof *v);
    for (size_t i = 0; i < (size_t)N * K; i++)
        v[i] = value(seed, i);
    Dev W = weight_from(c, v, N, K);
    free(v);
    return W;
}

/* Reads [N][K] into out and checks that nothing but it is non-zero in the layout. Returns N*K. */
static inline size_t weight_read(struct context *c, double *out, Dev W, int N, int K)
{
    size_t n = CALL_PURE(c, weight_reals, N, K), used = 0, set = 0;
    double *all = malloc((n + 1) * sizeof *all);
    CALL(c, download, all, W, n);
    CALL(c, unpack, out, W, 0, N, N, K);
    for (size_t i = 0; i < n; i++)
        set += all[i] != 0;
    for (size_t i = 0; i < (size_t)N * K; i++)
        used += out[i] != 0;
    free(all);
    assert_int_equal(set, used);
    return (size_t)N * K;
}

static inline size_t tensor_read(struct context *c, double *out, Dev x, size_t n)
{
    CALL(c, download, out, x, n);
    return n;
}

static inline float *floats(Dev x)
{
    return x.p;
}

static inline void same_bits(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a))
            fail_msg("%s: number %zu is %a and %a", what, i, (double)a[i], (double)b[i]);
}

static inline void reserve(struct context *c, enum scratch_row row, struct scratch_shape s)
{
    device_reserve(&c->dev, CALL_PURE(c, scratch_bytes, &c->dev, row, &s));
}

/* All guard words are whole; everything is released. */
static inline void release_all(struct context *c)
{
    CALL_SYNC(c);
    for (int i = 0; i < c->blocks; i++) {
        struct block *b = &c->block[i];
        for (size_t k = 0; k < b->guard; k++)
            assert_true(b->base[k] == 0x5a && b->base[b->guard + b->bytes + k] == 0x5a);
        CALL(c, release, b->base);
    }
    c->blocks = 0;
}

/* Runs rows on one context and leaves what they wrote in out; returns how many numbers. */
typedef size_t runner(struct context *c, const void *spec, double *out);

/* The three thread counts agree bit for bit; the CPU is within steps x float epsilon of the reference, relative to the
 * larger of the element, magnitude[i] (or, where that is NULL, the root mean square of the output). */
static inline void compare(struct suite *s, runner *run, const void *spec, size_t most, double steps,
                           const double *magnitude)
{
    double *out[CONTEXTS];
    size_t n = 0;
    for (int i = 0; i < CONTEXTS; i++) {
        out[i] = calloc(most + 1, sizeof(double));
        n = run(&s->c[i], spec, out[i]);
        assert_true(n <= most);
        release_all(&s->c[i]);
    }
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += isfinite(out[REF][i]) ? out[REF][i] * out[REF][i] : 0;
    double rms = n ? sqrt(square / (double)n) : 0;
    for (size_t i = 0; i < n; i++) {
        double want = out[REF][i], got = out[CPU1][i];
        double size = magnitude ? magnitude[i] : rms;
        double limit = steps * FLT_EPSILON * (fabs(want) > size ? fabs(want) : size) + 1e-37;
        if (want != got && !(fabs(want - got) <= limit))
            fail_msg("number %zu of %zu: reference %.9g, cpu %.9g, limit %.3g", i, n, want, got, limit);
    }
    for (int k = CPU2; k <= CPU3; k++)
        assert_memory_equal(out[CPU1], out[k], n * sizeof(double));
    for (int i = 0; i < CONTEXTS; i++)
        free(out[i]);
}

/* ---- batches of chains for attention ---- */

enum { TREE_MAX = 64 };
struct tree { /* regions, runs and groups of a batch */
    struct region region[TREE_MAX];
    struct run run[TREE_MAX];
    struct span group[TREE_MAX];
    int len[TREE_MAX]; /* tokens of each region */
    int regions, runs, groups, rows, store;
};

/* A child of region `parent` (-1: none) that continues it at position pos, of len tokens, cut into runs of at most
 * `cut` (0: one run). Returns its number. */
static inline int tree_branch(struct tree *t, int parent, int pos, int len, int cut)
{
    int at = t->regions++;
    assert_true(t->regions <= TREE_MAX);
    t->region[at] = (struct region){parent, t->store, (len + KV_ALIGN) / KV_ALIGN * KV_ALIGN, pos};
    t->len[at] = len;
    t->store += t->region[at].cap;
    for (int done = 0; done < len || done == 0;) {
        int here = cut && len - done > cut ? cut : len - done;
        assert_true(t->runs < TREE_MAX);
        t->run[t->runs++] = (struct run){at, t->rows, here, pos + done};
        t->rows += here;
        done += here;
        if (here == 0)
            break;
    }
    return at;
}

/* At its parent's end. */
static inline int tree_add(struct tree *t, int parent, int len, int cut)
{
    return tree_branch(t, parent, parent < 0 ? 0 : t->region[parent].pos + t->len[parent], len, cut);
}

static inline void tree_group_end(struct tree *t)
{
    int first = t->groups ? t->group[t->groups - 1].start + t->group[t->groups - 1].len : 0;
    t->group[t->groups++] = (struct span){first, t->runs - first};
}

static inline struct rows tree_rows(struct context *c, const struct tree *t)
{
    struct rows r = {.count = t->rows, .runs = t->runs, .regions = t->regions, .groups = t->groups};
    r.region = ints(c, (const int32_t *)t->region, (size_t)t->regions * 4);
    r.run = ints(c, (const int32_t *)t->run, (size_t)t->runs * 4);
    r.group = ints(c, (const int32_t *)t->group, (size_t)t->groups * 2);
    return r;
}

static inline int tree_longest(const struct tree *t)
{
    int most = 0;
    for (int i = 0; i < t->regions; i++)
        most = t->region[i].pos + t->len[i] > most ? t->region[i].pos + t->len[i] : most;
    return most;
}

/* Three groups: a lone chain, a prompt with children (one empty), and a tree of depth three that also branches inside a
 * region. */
static inline void tree_example(struct tree *t, uint64_t seed, int scale, int cut)
{
    memset(t, 0, sizeof *t);
    tree_add(t, -1, 1 + below(seed, 0, scale), cut);
    tree_group_end(t);
    int prompt = tree_add(t, -1, 1 + below(seed, 1, scale), cut);
    for (int i = 0; i < 4; i++)
        tree_add(t, prompt, i == 2 ? 0 : 1 + below(seed, (uint64_t)i + 2, scale), cut);
    tree_group_end(t);
    int root = tree_add(t, -1, 16, 0);
    int middle = tree_add(t, root, 1 + below(seed, 8, scale), cut), other = tree_add(t, root, 3, cut);
    tree_add(t, middle, 1 + below(seed, 9, scale), cut);
    tree_add(t, middle, 17, 0);
    tree_branch(t, root, 5, 2, cut);
    tree_add(t, other, 1 + below(seed, 10, scale), cut);
    tree_group_end(t);
}

static inline struct attention_shape shape_of(int H, int G, int D, int store)
{
    return (struct attention_shape){H, G, D, (float)(1 / sqrt((double)D)), store};
}

#endif
