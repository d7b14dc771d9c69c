/* The twins of model/cuda/gpu.cuh: kernels of the CUDA table run on the host, for tests only.
 *
 * A kernel's threads run one after another, each until it ends or waits (at a barrier of its block, or for the other
 * threads of its warp); one that waits keeps its own stack and goes on when all have arrived. Blocks run one after
 * another. The order of threads and of blocks is chosen by device.threads: 1 upwards, 2 downwards, 3 in leaps, so a
 * missing barrier, or a block that relies on another, shows as a difference between them. A thread that has left while
 * others wait, or a warp that is not complete, ends the program with a message. Device memory is host memory that the
 * sanitizers watch.
 */
#ifndef CUDA_HOST_H
#define CUDA_HOST_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "../model/backend.h"
#include "../model/base/error.h"
#include "../model/base/mem.h"
#include "../model/cuda/product16.h"

#define DEVICE   static inline
#define EITHER   static inline
#define SHARED   static
#define THREAD   (host_grid.thread)
#define BLOCK    (host_grid.block)
#define BLOCK_Y  (host_grid.block_y)
#define BLOCKS   (host_grid.blocks)
#define UNROLLED _Pragma("GCC unroll 16")
#define ROLLED
/* Constant places of arrays of a known size: checking each would take most of the time. */
#define UNCHECKED __attribute__((no_sanitize("address", "undefined")))
#define KERNEL(name, threads, type)                                                                                    \
    enum { name##_threads = threads };                                                                                 \
    static void name(const struct type a);                                                                             \
    static void name##_here(const void *argument)                                                                      \
    {                                                                                                                  \
        name(*(const struct type *)argument);                                                                          \
    }                                                                                                                  \
    static void name(const struct type a)
#define SHARED_FLOATS(name) float *name = host_grid.shared
#define LAUNCH(name, d, blocks, blocks_y, bytes, argument)                                                             \
    host_launch(                                                                                                       \
        &(struct host_note){name##_here, NULL, (long)(blocks), (long)(blocks_y), bytes, name##_threads, (d)->threads}, \
        &(argument), sizeof(argument))

enum { HOST_THREADS = 256, HOST_WARP = 32, HOST_STACK = 256 << 10, GPU_PARTIALS = 256 };
enum host_state { HOST_FREE, HOST_READY, HOST_AT_BLOCK, HOST_AT_WARP };

struct host_thread {
    void *stack_pointer;
    char *stack;
    int started; /* its stack has a loop that runs kernels */
    enum host_state state;
    int thread;
};
struct host_fragments { /* of a thread, for a product or a load by its warp */
    uint32_t a[4], b[2];
    const uint32_t *row;
};
static struct {
    int thread, block, block_y, blocks, threads;
    float *shared;
    void (*kernel)(const void *);
    const void *argument;
    void *scheduler; /* its stack pointer */
    struct host_thread fiber[HOST_THREADS], *current;
    struct host_thread *of[HOST_THREADS]; /* which fiber runs a thread that waits */
    float slot[2][HOST_THREADS];          /* what warps exchange */
    struct host_fragments fragment[2][HOST_THREADS];
    int turn[HOST_THREADS];
    const void *scheduler_stack;
    size_t scheduler_bytes;
    void *scheduler_fake;
} host_grid;

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_start_switch_fiber(void **fake, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake, const void **bottom, size_t *size);
#else
#define __sanitizer_start_switch_fiber(fake, bottom, size)  ((void)(fake))
#define __sanitizer_finish_switch_fiber(fake, bottom, size) ((void)0)
#endif

/* Saves this stack's place in *from and goes on at `to`. */
#if defined(__x86_64__)
void host_switch(void **from, void *to);
__asm__(".text\n.globl host_switch\n.type host_switch,@function\nhost_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size host_switch,.-host_switch\n");
static inline void *host_first_place(char *stack, void (*entry)(void))
{
    void **top = (void **)(stack + HOST_STACK) - 1; /* the entry finds the stack as after a call */
    top[-1] = (void *)entry;
    memset(top - 7, 0, 6 * sizeof *top);
    return top - 7;
}
#elif defined(__aarch64__)
void host_switch(void **from, void *to);
__asm__(".text\n.globl host_switch\n.type host_switch,%function\nhost_switch:\n"
        "sub sp,sp,#160\nstp x19,x20,[sp]\nstp x21,x22,[sp,#16]\nstp x23,x24,[sp,#32]\nstp x25,x26,[sp,#48]\n"
        "stp x27,x28,[sp,#64]\nstp x29,x30,[sp,#80]\nstp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\n"
        "stp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\nmov x2,sp\nstr x2,[x0]\nmov sp,x1\n"
        "ldp x19,x20,[sp]\nldp x21,x22,[sp,#16]\nldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\n"
        "ldp x27,x28,[sp,#64]\nldp x29,x30,[sp,#80]\nldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\n"
        "ldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\nadd sp,sp,#160\nret\n"
        ".size host_switch,.-host_switch\n");
static inline void *host_first_place(char *stack, void (*entry)(void))
{
    void **place = (void **)(stack + HOST_STACK - 160);
    memset(place, 0, 160);
    place[11] = (void *)entry; /* x30 */
    return place;
}
#else
#error "switching stacks is written for x86-64 and AArch64; add this processor to test/cuda_host.h"
#endif

/* Back to the scheduler until this thread may go on. */
static inline void host_leave(enum host_state state)
{
    struct host_thread *self = host_grid.current;
    void *fake = NULL;
    self->state = state;
    __sanitizer_start_switch_fiber(&fake, host_grid.scheduler_stack, host_grid.scheduler_bytes);
    host_switch(&self->stack_pointer, host_grid.scheduler);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

static void host_entry(void)
{
    __sanitizer_finish_switch_fiber(NULL, &host_grid.scheduler_stack, &host_grid.scheduler_bytes);
    for (;;) {
        host_grid.kernel(host_grid.argument);
        host_leave(HOST_FREE);
    }
}

static inline void host_resume(struct host_thread *f)
{
    void *fake = NULL;
    host_grid.current = f;
    host_grid.thread = f->thread;
    if (!f->stack) {
        f->stack = mmap(NULL, HOST_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (f->stack == MAP_FAILED)
            die("no memory for the stack of a kernel's thread");
        f->stack_pointer = host_first_place(f->stack, host_entry);
    }
    __sanitizer_start_switch_fiber(&fake, f->stack, HOST_STACK);
    host_switch(&host_grid.scheduler, f->stack_pointer);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
    host_grid.of[f->thread] = f->state == HOST_FREE ? NULL : f;
}

/* The i-th of n in one of three orders. */
static inline long host_order(long i, long n, int order)
{
    enum { STRIDE = 7919 }; /* prime */
    if (order == 3 && n % STRIDE != 0)
        return (i * STRIDE + n / 3) % n;
    return order == 2 ? n - 1 - i : i;
}

/* Threads first .. end all wait in the same way: they may go on. Returns whether they do. */
static inline int host_release(int first, int end, enum host_state state, const char *what)
{
    int here = 0, gone = 0;
    for (int i = first; i < end; i++) {
        gone += !host_grid.of[i];
        here += host_grid.of[i] && host_grid.of[i]->state == state;
    }
    if (here == 0)
        return 0;
    if (gone)
        die("kernel: %d threads have ended while %d wait for their %s", gone, here, what);
    if (here < end - first)
        return 0;
    for (int i = first; i < end; i++)
        host_grid.of[i]->state = HOST_READY;
    return 1;
}

static inline void host_block(int order)
{
    int threads = host_grid.threads, waiting = 0, unused = 0;
    for (int i = 0; i < threads; i++) { /* those that never wait share one stack */
        int t = (int)host_order(i, threads, order);
        while (host_grid.fiber[unused].state != HOST_FREE)
            unused++;
        host_grid.fiber[unused].thread = t;
        host_grid.turn[t] = 0;
        host_resume(&host_grid.fiber[unused]);
        waiting += host_grid.of[t] != NULL;
    }
    while (waiting) {
        int moved = host_release(0, threads, HOST_AT_BLOCK, "block");
        for (int w = 0; w < threads; w += HOST_WARP)
            moved |= host_release(w, w + HOST_WARP < threads ? w + HOST_WARP : threads, HOST_AT_WARP, "warp");
        if (!moved)
            die("kernel: threads of a block wait for each other at different places");
        for (int i = 0; i < threads; i++) {
            int t = (int)host_order(i, threads, order);
            if (host_grid.of[t] && host_grid.of[t]->state == HOST_READY) {
                host_resume(host_grid.of[t]);
                waiting -= host_grid.of[t] == NULL;
            }
        }
    }
}

/* What was enqueued: a kernel, or, where there are no threads, a function. */
struct host_note {
    void (*run)(const void *);
    void *argument;
    long blocks, blocks_y;
    size_t bytes; /* of shared memory */
    int threads, order;
};
static struct {
    struct host_note *note[RECORDS];
    int count[RECORDS], recording; /* recording: the key and 1 */
    uint64_t arguments;
} host_record;

static inline void host_run(const struct host_note *n)
{
    int order = n->order > 3 ? 1 : n->order;
    if (!n->threads) {
        n->run(n->argument);
        return;
    }
    host_grid.kernel = n->run;
    host_grid.argument = n->argument;
    host_grid.threads = n->threads;
    host_grid.blocks = (int)n->blocks;
    if (n->blocks_y > 65535 || n->bytes > 99 * 1024)
        die("kernel: more blocks or shared memory than a GPU has");
    for (long i = 0; i < n->blocks * n->blocks_y; i++) {
        long b = host_order(i, n->blocks * n->blocks_y, order);
        host_grid.block = (int)(b % n->blocks);
        host_grid.block_y = (int)(b / n->blocks);
        host_grid.shared = n->bytes ? malloc(n->bytes) : NULL;
        if (n->bytes)
            memset(host_grid.shared, 0xff, n->bytes); /* NaN */
        host_block(order);
        free(host_grid.shared);
    }
}

/* Runs it, or, while a recording goes on, keeps it with a copy of its argument. */
static inline void host_launch(const struct host_note *what, const void *argument, size_t bytes)
{
    struct host_note n = *what;
    n.argument = malloc(bytes);
    memcpy(n.argument, argument, bytes);
    if (!host_record.recording) {
        host_run(&n);
        free(n.argument);
        return;
    }
    int key = host_record.recording - 1, i = host_record.count[key]++;
    host_record.note[key] = realloc(host_record.note[key], (size_t)(i + 1) * sizeof n);
    host_record.note[key][i] = n;
}

static inline void host_call(void (*run)(const void *), const void *argument, size_t bytes)
{
    struct host_note n = {run, NULL, 0, 0, 0, 0, 0};
    host_launch(&n, argument, bytes);
}

/* ---- inside kernels ---- */

DEVICE void block_wait(void)
{
    host_leave(HOST_AT_BLOCK);
}

/* Every thread of the warp leaves a number; returns where those of the warp stand. Two sets of places take turns, so
 * one meeting is enough. */
DEVICE const float *host_exchange(float x)
{
    int t = host_grid.thread, turn = host_grid.turn[t]++ & 1;
    host_grid.slot[turn][t] = x;
    host_leave(HOST_AT_WARP);
    return host_grid.slot[turn] + t / HOST_WARP * HOST_WARP;
}

DEVICE float warp_sum(float x)
{
    float all[HOST_WARP];
    memcpy(all, host_exchange(x), sizeof all);
    for (int apart = HOST_WARP / 2; apart > 0; apart /= 2)
        for (int i = 0; i < apart; i++)
            all[i] += all[i + apart];
    return all[0];
}

DEVICE float warp_max(float x)
{
    const float *all = host_exchange(x);
    float most = all[0];
    for (int i = 1; i < HOST_WARP; i++)
        most = most > all[i] ? most : all[i];
    return most;
}

/* The 4 numbers of this thread's neighbours, in a fixed order. */
DEVICE const float *host_quad(float x)
{
    return host_exchange(x) + host_grid.thread % HOST_WARP / 4 * 4;
}

DEVICE float quad_sum(float x)
{
    const float *all = host_quad(x);
    return (all[0] + all[1]) + (all[2] + all[3]);
}

DEVICE float quad_max(float x)
{
    const float *all = host_quad(x);
    float low = fmaxf(all[0], all[1]), high = fmaxf(all[2], all[3]);
    return fmaxf(low, high);
}

DEVICE float quick_exp(float x)
{
    return exp2f(x * 1.44269504f);
}

/* To the nearest, ties to even; NaN becomes the one that the GPU makes. */
DEVICE uint32_t host_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

DEVICE uint32_t two_bf16(float low, float high)
{
    return host_bf16(low) | host_bf16(high) << 16;
}

DEVICE double host_half(uint32_t word, int high)
{
    uint32_t bits = high ? word & 0xffff0000u : word << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Every thread of the warp leaves its fragments; returns those of the warp. */
DEVICE const struct host_fragments *host_exchange_fragments(struct host_fragments mine)
{
    int t = host_grid.thread, turn = host_grid.turn[t]++ & 1;
    host_grid.fragment[turn][t] = mine;
    host_leave(HOST_AT_WARP);
    return host_grid.fragment[turn] + t / HOST_WARP * HOST_WARP;
}

/* Exact products, added in double: the GPU's order of additions is not known. */
DEVICE void multiply_tile(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    struct host_fragments mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, NULL};
    const struct host_fragments *all = host_exchange_fragments(mine);
    int lane = host_grid.thread % HOST_WARP;
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        double sum = c[i];
        for (int k = 0; k < 16; k++)
            sum += host_half(all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k % 2) *
                   host_half(all[column * 4 + k % 8 / 2].b[k / 8], k % 2);
        c[i] = (float)sum;
    }
}

DEVICE void load_transposed(uint32_t to[4], const uint32_t *row)
{
    struct host_fragments mine = {{0}, {0}, row};
    const struct host_fragments *all = host_exchange_fragments(mine);
    int lane = host_grid.thread % HOST_WARP, column = lane / 4;
    if ((uintptr_t)row % 16 != 0)
        die("kernel: a row of a matrix in shared memory begins at an address that 16 does not divide");
    for (int i = 0; i < 4; i++) {
        uint32_t first = all[8 * i + lane % 4 * 2].row[column / 2],
                 second = all[8 * i + lane % 4 * 2 + 1].row[column / 2];
        to[i] = column % 2 ? first >> 16 | (second & 0xffff0000u) : (first & 0xffff) | second << 16;
    }
}

DEVICE int count_up(int *counter, int by)
{
    int old = *counter;
    *counter += by;
    return old;
}

DEVICE void set_bits(int *word, int bits)
{
    *word |= bits;
}

/* ---- memory ---- */

static inline int gpu_open(struct device *d, struct error *e)
{
    (void)e;
    d->state = mem_alloc(GPU_PARTIALS, sizeof(double));
    return 0;
}

static inline void *gpu_alloc(struct device *d, size_t bytes)
{
    (void)d;
    return mem_alloc(bytes, 1);
}

static inline void gpu_free(void *p)
{
    mem_free(p);
}

/* A small one, so that copies in pieces are tested too. */
static inline void *gpu_stage(struct device *d, size_t bytes, size_t *have)
{
    static double stage[512];
    (void)d;
    *have = bytes < sizeof stage ? bytes : sizeof stage;
    return stage;
}

struct host_move {
    void *to;
    const void *from; /* NULL: zeros */
    size_t bytes;
};

static void host_move(const void *argument)
{
    const struct host_move *m = argument;
    if (m->from)
        memcpy(m->to, m->from, m->bytes);
    else
        memset(m->to, 0, m->bytes);
}

static inline void gpu_copy(struct device *d, void *to, const void *from, size_t bytes)
{
    struct host_move m = {to, from, bytes};
    (void)d;
    host_call(host_move, &m, sizeof m);
}

static inline void gpu_zero(struct device *d, void *p, size_t bytes)
{
    gpu_copy(d, p, NULL, bytes);
}

static inline void gpu_wait(struct device *d)
{
    (void)d;
    if (host_record.recording)
        die("a row waits while rows are being recorded");
}

/* ---- recordings ---- */

static inline int gpu_replay(struct device *d, int key)
{
    (void)d;
    for (int i = 0; i < host_record.count[key]; i++)
        host_run(&host_record.note[key][i]);
    return host_record.count[key] > 0;
}

static inline void gpu_record(struct device *d, int key)
{
    (void)d;
    host_record.recording = key + 1;
}

static inline int gpu_recorded(struct device *d)
{
    int key = host_record.recording - 1;
    host_record.recording = 0;
    return gpu_replay(d, key);
}

static inline void gpu_forget(struct device *d, uint64_t arguments)
{
    int same = host_record.arguments == arguments;
    (void)d;
    host_record.arguments = arguments;
    for (int key = 0; key < RECORDS && !same; key++) {
        for (int i = 0; i < host_record.count[key]; i++)
            free(host_record.note[key][i].argument);
        free(host_record.note[key]);
        host_record.note[key] = NULL;
        host_record.count[key] = 0;
    }
}

static inline void gpu_close(struct device *d)
{
    gpu_forget(d, ~host_record.arguments);
    mem_free(d->state);
    d->state = NULL;
}

static inline double *gpu_partials(struct device *d)
{
    return d->state;
}

/* ---- the library's products: plain loops ---- */

enum { GPU_FEW = 2 };
/* What the library is like. ABSENT: it computes nothing, so the kernel of product16.cuh does. EXACT: a row's numbers
 * are the same for any number of rows. SPLIT: it adds two halves of the sum where there are few rows, unless told to do
 * as for many; STUBBORN: whatever it is told. */
enum host_library { HOST_ABSENT, HOST_EXACT, HOST_SPLIT, HOST_STUBBORN };
extern int host_library, host_split_rows[GPU_FEW];

static inline float host_number(const uint16_t *x, size_t i)
{
    uint32_t bits = (uint32_t)x[i] << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

static inline float host_sum(const struct product16 *p, int i, int j, int first, int end)
{
    size_t ai = (size_t)p->a_stride, ar = 1, bj = (size_t)p->b_stride, br = 1;
    float sum = 0;
    if (p->kind == PRODUCT_INPUT || p->kind == PRODUCT_WEIGHT) {
        bj = 1;
        br = (size_t)p->b_stride;
    }
    if (p->kind == PRODUCT_WEIGHT) {
        ai = 1;
        ar = (size_t)p->a_stride;
    }
    for (int r = first; r < end; r++)
        sum = __builtin_fmaf(host_number(p->a, (size_t)i * ai + (size_t)r * ar),
                             host_number(p->b, (size_t)j * bj + (size_t)r * br), sum);
    return sum;
}

static uint16_t to_bf16(float x);

struct host_product {
    struct product16 p;
    int split;
};

static void host_product(const void *argument)
{
    const struct host_product *a = argument;
    const struct product16 *p = &a->p;
    int m = p->kind == PRODUCT_WEIGHT ? p->N : p->rows, n = p->kind == PRODUCT_FORWARD ? p->N : p->K;
    int length = p->kind == PRODUCT_FORWARD ? p->K : p->kind == PRODUCT_INPUT ? p->N : p->rows;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float *c = (float *)p->c.p + (size_t)i * n + j;
            float sum = a->split ? host_sum(p, i, j, 0, length / 2) + host_sum(p, i, j, length / 2, length)
                                 : host_sum(p, i, j, 0, length);
            if (p->bias.p)
                sum += p->bias.bf16 ? host_number(p->bias.p, (size_t)j) : ((const float *)p->bias.p)[j];
            if (p->c.bf16)
                ((uint16_t *)p->c.p)[(size_t)i * n + j] = to_bf16(sum);
            else
                *c = p->kind == PRODUCT_WEIGHT ? *c + sum : sum;
        }
}

static inline int gpu_product(struct device *d, const struct product16 *p)
{
    struct host_product a = {*p, 0};
    (void)d;
    if (host_library == HOST_ABSENT)
        return 0;
    for (int few = 0; few < GPU_FEW && p->kind == PRODUCT_FORWARD; few++)
        a.split |= p->rows <= host_split_rows[few];
    host_call(host_product, &a, sizeof a);
    return 1;
}

static inline int gpu_choose(struct device *d, const struct product16 *p, int few, int i)
{
    (void)d;
    (void)p;
    if (host_library == HOST_SPLIT)
        host_split_rows[few] = i < 0 ? 0 : few ? 64 : 5;
    return i < 1;
}

#endif
