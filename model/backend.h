/* The contract of every tensor operation. One table of functions per device and precision: backend_cpu.c (fast; fp32,
 * or products in bf16), backend_ref.c (plain loops in double: what readers read and tests compare with), CUDA. This
 * file is valid C11 and C++.
 *
 * Letters, everywhere:
 *   T rows (tokens of a packed batch)    C width of the residual stream     V vocabulary
 *   K inputs, N outputs of a matrix      H query heads, G key/value heads   D size of a head
 *   F hidden width of the MLP            R entries of a head: (row, target) pairs
 *
 * Rules that hold for every row of the table unless it says otherwise:
 * - Gradients of activations overwrite, gradients of parameters add. norm_backward adds into its input gradient,
 *   because that is the residual stream.
 * - Output and input must not overlap unless the row allows it. Shapes may be any size from 0 upwards.
 * - Rows enqueue; results are complete after sync(). Only download, unpack and sum_squares wait by themselves.
 * - An output element is the same sequence of roundings whatever the number of rows, runs, tiles or threads.
 *   On the CPU: sums over k run in order, one fused multiply-add after the other, starting from zero.
 * - Parameter gradients are sums over rows in blocks (struct rows.blocks): in each block one chain of fused
 *   multiply-adds from zero in row order, then one addition into the gradient, blocks in order. Blocks never cross
 *   groups, so the result does not depend on how groups are cut into micro-batches.
 * - Products in bf16 on the CPU have another sequence, as fixed: cpu/bf16.h. Those of CUDA are product16.cuh's.
 * - Nothing allocates except alloc. Scratch memory is dev->scratch, reserved beforehand from scratch_bytes.
 */
#ifndef BACKEND_H
#define BACKEND_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
    void *p;
    int bf16; /* 1: numbers of 16 bits, only where the table has them (struct ops); 0: its reals */
} Dev;        /* reals in device memory; the table decides their type */
typedef struct {
    int32_t *p;
} DevInt; /* 32-bit integers in device memory */

struct ops;
struct error;
struct device {
    const struct ops *ops;
    int threads;     /* CPU: OpenMP threads of every row */
    int rank, world; /* 0 and 1 */
    void *scratch;   /* device_reserve */
    size_t scratch_bytes;
    int inexact;      /* the sampler's numbers are not the trainer's bit for bit: ops->prepare found so */
    void *state;      /* the table's own */
    const char *slow; /* why it computes its precision more slowly than fp32, or NULL */
    size_t memory;    /* bytes that a run may plan with: of the machine, or free on the GPU when it was opened */
};

/* Keys and values of the past. A region holds tokens base .. base+cap of a store (base and cap multiples of KV_ALIGN);
 * its first token has absolute position pos, and it continues its parent (-1: none) there, so that walking up the
 * parents and down again gives positions 0, 1, 2 ... A prompt is a region, each response a child of it. */
enum { KV_ALIGN = 16 };
struct region {
    int32_t parent, base, cap, pos;
};
/* Consecutive rows row .. row+len of a batch that are consecutive tokens of one region, the first at absolute position
 * pos (its index in the region is pos - region.pos). Training: one run a segment. Decoding: one run of one row a slot.
 * Runs stand in the order of their rows. */
struct run {
    int32_t region, row, len, pos;
};
struct span {
    int32_t start, len;
};

/* A packed batch. Groups are consecutive runs that share ancestors: parents before children, nothing shared between
 * groups; rows of a group are consecutive. */
struct rows {
    int count; /* T */
    int runs, regions, groups, blocks;
    DevInt id, position; /* [T] */
    DevInt region;       /* [regions] struct region */
    DevInt run;          /* [runs] struct run */
    DevInt group;        /* [groups] struct span of runs */
    DevInt block;        /* [blocks] struct span of rows: the pieces of parameter-gradient sums */
};

enum norm_kind { NORM_LAYER, NORM_RMS };
struct norm_shape {
    enum norm_kind kind;
    int rows, heads, dim; /* rows x heads vectors of dim; vector h of row t begins at t*stride + h*dim */
    int in_stride, out_stride;
    float eps;
    int overwrite; /* norm_backward only: write the input gradient instead of adding (query and key norms are not
                      residual) */
};

struct attention_shape {
    int H, G, D; /* query head h reads key/value head h / (H/G) */
    float scale; /* usually 1/sqrt(D) */
    int store;   /* tokens of the key/value store (sum of caps) */
};

/* What the head computes log-probabilities for: R rows of logits, one target each. */
struct entries {
    int count;       /* R */
    DevInt target;   /* [R] token ids */
    Dev temperature; /* [R], > 0 */
    DevInt support;  /* [R][max_support] ids kept by truncation, or {NULL}: all tokens, for every entry */
    DevInt supports; /* [R] how many; 0: all tokens. NULL with support */
    int max_support;
};

struct sampling {
    float temperature; /* 0: greedy (lowest id among equals); then logp and entropy are those of temperature 1, all
                          tokens */
    int top_k;         /* 0: off */
    float top_p;       /* 1: off */
    float min_p;       /* 0: off */
    int max_support;   /* most ids kept when any of the three is on */
};

/* Where sampling writes: entry r's token to token[r]; its logp, entropy and support to place[r] of the other arrays, so
 * that they can be gathered without the host ({NULL}: r). */
struct drawn {
    DevInt token, place; /* [R] */
    Dev logp, entropy;
    DevInt support, supports; /* {NULL}: truncation is off */
};

struct adamw {
    float lr, beta1, beta2, eps, weight_decay;
    float correction1, correction2; /* 1 - beta^t */
    float grad_scale;               /* gradient is multiplied by it first: clipping */
    int N, K;                       /* of the matrix, with a copy of it only */
};

enum scratch_row { SCRATCH_LINEAR, SCRATCH_ATTENTION, SCRATCH_HEAD, SCRATCH_NORM, SCRATCH_SAMPLE };
struct scratch_shape {
    int rows, N, K;
    struct attention_shape attention;
    int longest; /* positions of a chain */
};

enum { RECORDS = 64 };

struct ops {
    const char *name;  /* "cpu", "ref", "cuda"; "cpu bf16", "cuda bf16" */
    size_t real_bytes; /* of one real: 4, or 8 in the reference */
    int processor;     /* 1: rows run on d->threads of the processor, in its memory */
    /* Sets up and takes down what the table needs beside memory, in d->state; NULL: nothing. Called by device_open,
     * device_close. */
    int (*open)(struct device *d, struct error *e);
    void (*close)(struct device *d);
    /* Mixed precision, first half: matrices have copies for products in numbers of 16 bits, which linear rows read in
     * their place (model_matrix). copy_numbers: numbers of the copy of W[N][K], in a layout of the table's; the copy of
     * its rows from n on, a multiple of 32, begins copy_numbers(n, K) behind the copy's. copy_rows: rows row ..
     * row+rows of it follow the weights; adamw does so for a whole matrix. NULL, both: linear rows read W. */
    size_t (*copy_numbers)(int N, int K);
    void (*copy_rows)(struct device *d, Dev copy, Dev W, int row, int rows, int N, int K);
    /* Second half. 1: the other operands of linear rows, and what goes into and comes out of elementwise rows, gather,
     * copy and a norm's output may be in bf16, too; transformer.c says which tensors are. 0: reals, which linear rows
     * round themselves. */
    int bf16;
    /* Chooses once how products with matrices W[N][K] are computed, with a result in bf16 or not, with a bias or not;
     * sets d->inexact when a row of the result depends on how many there are. NULL: nothing to choose. */
    void (*prepare)(struct device *d, int N, int K, int bf16, int biased);

    /* ---- recording: rows that are called again and again with the same arguments (what changes stands in device
     * memory) run from a recording, under a key below RECORDS. replay: 1, and they are enqueued, or 0: there is none.
     * record: what rows enqueue from here on is noted only, until recorded keeps and runs it, and returns 1, or 0:
     * nothing was run, call the rows again. Memory and rows that wait must not be called between. forget: `arguments`
     * is a number made of all that rows are called with from here on; recordings made under another are dropped. NULL,
     * all four: rows are always called. ---- */
    int (*replay)(struct device *d, int key);
    void (*record)(struct device *d, int key);
    int (*recorded)(struct device *d);
    void (*forget)(struct device *d, uint64_t arguments);

    /* ---- memory ---- */
    void *(*alloc)(struct device *d, size_t bytes); /* zeroed, 64-byte aligned; NULL: none */
    void (*release)(struct device *d, void *p);
    void (*upload)(struct device *d, Dev to, const double *from, size_t n);
    void (*download)(struct device *d, double *to, Dev from, size_t n); /* waits */
    void (*upload_int)(struct device *d, DevInt to, const int32_t *from, size_t n);
    void (*download_int)(struct device *d, int32_t *to, DevInt from, size_t n); /* waits */
    void (*zero)(struct device *d, Dev x, size_t n);
    void (*copy)(struct device *d, Dev to, Dev from, size_t n);
    void (*sync)(struct device *d);
    size_t (*scratch_bytes)(const struct device *d, enum scratch_row row, const struct scratch_shape *s);

    /* ---- weights: a matrix W[N][K] lives in the table's own layout, padded; gradients and moments in the same layout
     * ---- */
    size_t (*weight_reals)(int N, int K); /* reals of the layout, also of vectors as (N, 1) */
    void (*pack)(struct device *d, Dev W, const double *from, int row, int rows, int N,
                 int K); /* from [rows][K] to W[row..] */
    void (*unpack)(struct device *d, double *to, Dev W, int row, int rows, int N, int K); /* waits */

    /* ---- embedding: x[t] = wte[id[t]] + wpe[position[t]]; wte as a weight (N=V, K=C), wpe plain [positions][C] or
     * {NULL} ---- */
    void (*embed_forward)(struct device *d, Dev x, const struct rows *r, Dev wte, Dev wpe, int V, int C);
    /* adds; one chain of additions in row order, so blocks do not matter */
    void (*embed_backward)(struct device *d, Dev dwte, Dev dwpe, Dev dx, const struct rows *r, int V, int C);

    /* ---- norm: out = (in - mean) * rstd * w + b; RMS: in * rstd * w. stat[rows*heads][2] keeps mean (RMS: 0) and
     * rstd; may be {NULL} in the forward. b {NULL}: none. in == out allowed. ---- */
    void (*norm_forward)(struct device *d, Dev out, Dev stat, Dev in, Dev w, Dev b, const struct norm_shape *s);
    /* din ADDS (in_stride) unless s->overwrite; dw, db add over blocks of rows (db {NULL} when there is no b, both when
     * the weights are frozen); dout has out_stride */
    void (*norm_backward)(struct device *d, Dev din, Dev dw, Dev db, Dev dout, Dev in, Dev w, Dev stat,
                          const struct norm_shape *s, DevInt block, int blocks);

    /* ---- linear: out[M][N] = in[M][K] W^T + b; b in the weight layout (N, 1) or {NULL}, added after the chain over k
     * ---- */
    void (*linear_forward)(struct device *d, Dev out, Dev in, Dev W, Dev b, int M, int N, int K);
    void (*linear_backward_input)(struct device *d, Dev din, Dev dout, Dev W, int M, int N, int K); /* chain over n */
    /* the blocks cover rows 0 .. M in order, or, where the table sums them one by one, lie within */
    void (*linear_backward_weight)(struct device *d, Dev dW, Dev db, Dev dout, Dev in, DevInt block, int blocks, int M,
                                   int N, int K);

    /* ---- rotary positions, in place on the first `heads` vectors of D of every row (row stride given), halves
     * rotated: (x[i], x[i+D/2]) by the angle whose cosine and sine stand in table[position][D/2][2]; direction -1 turns
     * back ---- */
    void (*rotary)(struct device *d, Dev x, Dev table, DevInt position, int T, int heads, int D, int stride,
                   int direction);

    /* ---- attention. qkv rows: H*D queries, G*D keys, G*D values; out rows: H*D ---- */
    size_t (*store_reals)(const struct attention_shape *s); /* one layer of the store, the table's own layout */
    void (*store)(struct device *d, Dev kv, Dev qkv, const struct rows *r, const struct attention_shape *s);
    /* Every row attends to positions 0 .. its own along its chain of regions; the rows' own keys must be stored
     * already. Scores in order of position, exact maximum first, sum of exponentials in 16 lanes (position mod 16) and
     * a fixed tree, values one chain over positions, division at the end. stat[T][H][2]: maximum and sum, may be
     * {NULL}. */
    void (*attention_forward)(struct device *d, Dev out, Dev stat, Dev qkv, Dev kv, const struct rows *r,
                              const struct attention_shape *s);
    /* dqkv overwritten. Regions are the batch's own: every token of every region is a row of r. */
    void (*attention_backward)(struct device *d, Dev dqkv, Dev dout, Dev out, Dev stat, Dev qkv, Dev kv,
                               const struct rows *r, const struct attention_shape *s);

    /* ---- activations; din == in allowed ---- */
    void (*gelu_forward)(struct device *d, Dev out, Dev in, size_t n); /* tanh form */
    void (*gelu_backward)(struct device *d, Dev din, Dev dout, Dev in, size_t n);
    void (*swiglu_forward)(struct device *d, Dev out, Dev in, int T,
                           int F); /* in [T][2F]: gate, up; out = silu(gate)*up */
    void (*swiglu_backward)(struct device *d, Dev din, Dev dout, Dev in, int T, int F);
    void (*add)(struct device *d, Dev x, Dev y, size_t n); /* x += y: the residual stream */
    /* x[t*x_stride + n] += scale * y[t*y_stride + n] for t < T, n < N, each one fused multiply-add: what an adapter
     * adds to some columns of an output, and back */
    void (*add_columns)(struct device *d, Dev x, int x_stride, Dev y, int y_stride, int T, int N, float scale);

    /* ---- rows of the head: out[r] = in[index[r]]; and back: out[t] = sum of in[order[j]], j in first[t] ..
     * first[t+1]-1, in that order (zero when there is none) ---- */
    void (*gather)(struct device *d, Dev out, Dev in, DevInt index, int R, int C);
    void (*scatter)(struct device *d, Dev out, Dev in, DevInt first, DevInt order, int T, int C);

    /* ---- log-probabilities of logits, at the entry's temperature and support: z = logit / temperature over the kept
     * ids; logp = z[target] - log sum exp z; entropy = -sum p log p (nats). A target outside its support: logp = -inf.
     *
     * A table may walk the vocabulary in blocks of head_ids(V) ids, at 0, head_ids(V), 2 head_ids(V) ...: the same
     * blocks whether a row's logits are there as a whole, as for sampling, or one block after the other, so the numbers
     * are the same, too. It returns V when it reads whole rows only. ---- */
    int (*head_ids)(int V);
    /* logits[R][ids] of the ids first .. first+ids: a whole row (0, V), or all blocks in order; logp and entropy stand
     * after the last. Entries with a support need whole rows. stat[R][4]: what logp_backward wants. */
    void (*logp_forward)(struct device *d, Dev logp, Dev entropy, Dev stat, Dev logits, const struct entries *e,
                         int first, int ids, int V);
    /* dlogits[R][ids] (may be logits itself) = (glogp (onehot - p) - gentropy p (log p + entropy)) / temperature; 0
     * outside the support. Blocks in any order, with stat as the last of logp_forward left it. */
    void (*logp_backward)(struct device *d, Dev dlogits, Dev logits, Dev stat, const struct entries *e, Dev glogp,
                          Dev gentropy, int first, int ids, int V);

    /* ---- sampling from logits[R][V]. bits[R][2]: 64 random bits an entry, low word first. Order of ids: larger z
     * first, then smaller id. Temperature, then top_k keeps the first k; top_p the shortest prefix whose renormalised
     * mass reaches p (at least one); min_p those with at least min_p of the largest probability; then the first
     * max_support. Writes the token, its logp and entropy exactly as logp_forward does for the same support, and the
     * support (max_support ids in that order, and how many; 0 when nothing is truncated), where `to` says. ---- */
    void (*sample)(struct device *d, const struct drawn *to, Dev logits, DevInt bits, int R, int V,
                   const struct sampling *s);

    /* ---- optimiser, over any n reals ---- */
    double (*sum_squares)(struct device *d, Dev g, size_t n); /* in double, fixed order; waits */
    /* g' = g*grad_scale; m = b1 m + (1-b1) g'; v = b2 v + (1-b2) g'^2; w -= lr (m/c1 / (sqrt(v/c2) + eps) +
     * weight_decay w); copy: that of the matrix a->N x a->K follows, {NULL}: there is none */
    void (*adamw)(struct device *d, Dev w, Dev copy, Dev g, Dev m, Dev v, size_t n, const struct adamw *a);
};

extern const struct ops cpu_ops, cpu_bf16_ops, ref_ops;
extern const struct ops cuda_ops, cuda_bf16_ops; /* train_rl.cu */
extern const struct ops *const default_ops; /* cpu_ops; in the debug build ref_ops, because it is there to be read */

static inline Dev dev_at(const struct device *d, Dev x, size_t reals)
{
    Dev y = {(char *)x.p + reals * (x.bf16 ? sizeof(uint16_t) : d->ops->real_bytes), x.bf16};
    return y;
}
static inline DevInt dev_int_at(DevInt x, size_t n)
{
    DevInt y = {x.p + n};
    return y;
}

/* Open a device. threads <= 0: all processors. Fails (-1, message) on a processor that lacks what the build needs. */
int device_open(struct device *d, const struct ops *ops, int threads, struct error *e);
/* As a recipe's run.device names it: "cpu", "cuda" (fails where there is none), or "auto": the GPU where program and
 * machine have one; a program built for a GPU says in a line when it finds none, and takes the processor. bf16: in
 * mixed precision; it says in a line when that is slower here than fp32. */
int device_open_named(struct device *d, const char *name, int bf16, int threads, struct error *e);
/* The same device with one thread, for work that goes on beside others': it has scratch memory of its own, which
 * device_release_single frees. */
void device_single(struct device *one, const struct device *d);
void device_release_single(struct device *one);
void device_reserve(struct device *d, size_t bytes); /* at least that much scratch; dies without memory */
void device_close(struct device *d);

#endif
