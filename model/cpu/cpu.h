/* What the files of the CPU table share: threads, scratch memory, the rows themselves.
 * To add a row: declare it here, write it in the file of its kind, name it in ../backend_cpu.c. */
#ifndef CPU_H
#define CPU_H
#include "../backend.h"
#include "../base/error.h"
#include "vec.h"
#ifdef _OPENMP
#include <omp.h>
#endif

/* A gradient block is at most this long: transformer.h cuts them so, and packed panels of one fit the cache. */
enum { BLOCK_ROWS = 256 };

/* Threads worth waking for so much work, in floating point operations of a product (some 200 a nanosecond on one core):
 * a fork may cost ten microseconds. Rows that are not products give what their time is worth. Always all threads or
 * one: the run-time system would end and start threads again for teams in between. */
static inline int threads_for(const struct device *d, double work)
{
    return work > 3e6 ? d->threads : 1;
}

/* A loop whose turns are shared out to so many threads: SHARE_OUT(threads, (static), for (...), { body }). One thread
 * does it without the run-time system: a region of one costs two thirds of a microsecond, more than a short operation.
 */
#define PRAGMA(...) _Pragma(#__VA_ARGS__)
#define SHARE_OUT(team, how, loop, ...)                                                                                \
    if ((team) > 1) {                                                                                                  \
        PRAGMA(omp parallel for schedule how num_threads(team))                                                        \
        loop __VA_ARGS__                                                                                               \
    } else {                                                                                                           \
        loop __VA_ARGS__                                                                                               \
    }

/* Devices of one thread may work side by side, each in a thread of its own. */
static inline int thread_number(const struct device *d)
{
#ifdef _OPENMP
    return d->threads > 1 ? omp_get_thread_num() : 0;
#else
    return 0 * d->threads;
#endif
}

static inline size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static inline long least(long a, long b)
{
    return a < b ? a : b;
}

static inline float *reals(Dev x)
{
    return x.p;
}

/* Position of W[n][k] in the layout [n/32][k][32]. */
static inline size_t weight_at(int n, int k, int K)
{
    return ((size_t)(n / PANEL) * K + k) * PANEL + n % PANEL;
}

/* This thread's part of the scratch behind the first `shared` bytes, at least `bytes` long. */
static inline float *scratch_slice(const struct device *d, size_t shared, size_t bytes)
{
    size_t each = d->scratch_bytes < shared ? 0 : (d->scratch_bytes - shared) / (size_t)d->threads / 64 * 64;
    if (each < bytes)
        die("scratch memory: a row needs %zu bytes a thread, %zu are reserved; call device_reserve with the largest "
            "shape",
            bytes, each);
    return (float *)((char *)d->scratch + shared + each * (size_t)thread_number(d));
}

/* memory.c */
void *cpu_alloc(struct device *d, size_t bytes);
void cpu_release(struct device *d, void *p);
void cpu_upload(struct device *d, Dev to, const double *from, size_t n);
void cpu_download(struct device *d, double *to, Dev from, size_t n);
void cpu_upload_int(struct device *d, DevInt to, const int32_t *from, size_t n);
void cpu_download_int(struct device *d, int32_t *to, DevInt from, size_t n);
void cpu_zero(struct device *d, Dev x, size_t n);
void cpu_copy(struct device *d, Dev to, Dev from, size_t n);
void cpu_sync(struct device *d);
size_t cpu_weight_reals(int N, int K);
void cpu_pack(struct device *d, Dev W, const double *from, int row, int rows, int N, int K);
void cpu_unpack(struct device *d, double *to, Dev W, int row, int rows, int N, int K);

/* linear.c, linear_backward.c */
size_t cpu_linear_scratch(int rows, int N, int K); /* bytes a thread */
void cpu_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K);
size_t cpu_linear_backward_scratch(int rows, int N, int K);
long cpu_block_rows(const struct span *block, int blocks); /* all of them; dies where one is too long */
void cpu_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K);
void cpu_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks, int M,
                                int N, int K);

/* bf16.c: what takes their place in mixed precision */
int cpu_bf16_open(struct device *d, struct error *e);
size_t cpu_bf16_scratch(void); /* bytes a thread */
size_t cpu_bf16_copy_numbers(int N, int K);
void cpu_bf16_copy(struct device *d, Dev copy, Dev W, int row, int rows, int N, int K);
void cpu_bf16_linear_forward(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K);
void cpu_bf16_linear_backward_input(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K);
void cpu_bf16_linear_backward_weight(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks,
                                     int M, int N, int K);
void cpu_bf16_adamw(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *a);

/* norm.c */
size_t cpu_norm_scratch(int dim); /* bytes, shared by all threads */
void cpu_norm_forward(struct device *d, Dev out, Dev stat, Dev in, Dev w, Dev b, const struct norm_shape *s);
void cpu_norm_backward(struct device *d, Dev din, Dev dw, Dev db, Dev dout, Dev in, Dev w, Dev stat,
                       const struct norm_shape *s, DevInt block, int blocks);

/* attention.c, attention_backward.c */
size_t cpu_store_reals(const struct attention_shape *s);
void cpu_store(struct device *d, Dev kv, Dev qkv, const struct rows *r, const struct attention_shape *s);
size_t cpu_attention_scratch(const struct attention_shape *s, int longest); /* bytes a thread */
void cpu_attention_forward(struct device *d, Dev out, Dev stat, Dev qkv, Dev kv, const struct rows *r,
                           const struct attention_shape *s);
size_t cpu_attention_backward_scratch(const struct attention_shape *s, int longest);
void cpu_attention_backward(struct device *d, Dev dqkv, Dev dout, Dev out, Dev stat, Dev qkv, Dev kv,
                            const struct rows *r, const struct attention_shape *s);

/* elementwise.c */
void cpu_embed_forward(struct device *d, Dev x, const struct rows *r, Dev wte, Dev wpe, int V, int C);
void cpu_embed_backward(struct device *d, Dev dwte, Dev dwpe, Dev dx, const struct rows *r, int V, int C);
void cpu_rotary(struct device *d, Dev x, Dev table, DevInt position, int T, int heads, int D, int stride,
                int direction);
void cpu_gelu_forward(struct device *d, Dev out, Dev in, size_t n);
void cpu_gelu_backward(struct device *d, Dev din, Dev dout, Dev in, size_t n);
void cpu_swiglu_forward(struct device *d, Dev out, Dev in, int T, int F);
void cpu_swiglu_backward(struct device *d, Dev din, Dev dout, Dev in, int T, int F);
void cpu_add(struct device *d, Dev x, Dev y, size_t n);
void cpu_add_columns(struct device *d, Dev x, int x_stride, Dev y, int y_stride, int T, int N, float scale);
void cpu_gather(struct device *d, Dev out, Dev in, DevInt index, int R, int C);
void cpu_scatter(struct device *d, Dev out, Dev in, DevInt first, DevInt order, int T, int C);

/* head.c */
struct row_stat {
    float max, sum, logsum, entropy; /* of z = logit / temperature over the kept ids */
};
/* Logits of a whole row as numbers: kept[n] are the ids, or NULL for all ids 0 .. n-1. weight[n]: e^(z - max) of each,
 * or NULL. */
struct row_stat head_row(const float *logits, const int32_t *kept, int n, float temperature, float *weight);
/* logp of one id under that row; every caller's logp is this expression. */
static inline float head_logp(const struct row_stat *s, float logit, float temperature)
{
    return (logit / temperature - s->max) - s->logsum;
}
int cpu_head_ids(int V);
void cpu_logp_forward(struct device *d, Dev logp, Dev entropy, Dev stat, Dev logits, const struct entries *e, int first,
                      int ids, int V);
void cpu_logp_backward(struct device *d, Dev dlogits, Dev logits, Dev stat, const struct entries *e, Dev glogp,
                       Dev gentropy, int first, int ids, int V);
size_t cpu_head_scratch(int V); /* bytes a thread; also enough for sampling */

/* sample.c */
void cpu_sample(struct device *d, const struct drawn *to, Dev logits, DevInt bits, int R, int V,
                const struct sampling *s);

/* optim.c */
double cpu_sum_squares(struct device *d, Dev g, size_t n);
void cpu_adamw(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *a);

#endif
