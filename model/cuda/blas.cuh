/* cuBLASLt: products of bf16 numbers with sums in fp32. The library is opened when it is wanted, so that the program
 * runs without it in fp32 and on the processor.
 *
 * One algorithm a matrix and kind of product, asked for MANY_ROWS rows and used for all row counts; no split of the sum
 * (no reduction, no workspace). A forward product of few rows may have one of its own, a class of counts each, which
 * blas_choose sets: ../cuda/product16.cuh tries whether it rounds alike.
 *
 * The library counts by columns: a matrix [rows][n] of ours is one of n x rows for it, so each product is computed as
 * its transpose.
 */
#ifndef BLAS_CUH
#define BLAS_CUH
#include "product16.h"
#include <cublasLt.h>
#include <dlfcn.h>

#define BLAS_CALLS(X)                                                                                                  \
    X(Create)                                                                                                          \
    X(Destroy)                                                                                                         \
    X(Matmul)                                                                                                          \
    X(MatmulAlgoCheck)                                                                                                 \
    X(MatmulAlgoGetHeuristic)                                                                                          \
    X(MatmulDescCreate)                                                                                                \
    X(MatmulDescDestroy)                                                                                               \
    X(MatmulDescSetAttribute)                                                                                          \
    X(MatmulPreferenceCreate)                                                                                          \
    X(MatmulPreferenceDestroy)                                                                                         \
    X(MatmulPreferenceSetAttribute)                                                                                    \
    X(MatrixLayoutCreate)                                                                                              \
    X(MatrixLayoutDestroy)                                                                                             \
    X(MatrixLayoutSetAttribute)

enum { BLAS_PLANS = 256, BLAS_TRIES = 8, GPU_FEW = 2, MANY_ROWS = 4096 };
static const int few_most[GPU_FEW] = {16, 512}; /* largest counts of the classes */

/* How one kind of product with one shape of matrix is computed. */
struct blas_plan {
    struct product16 like; /* without places and rows */
    int align;             /* bytes that divide all places and rows */
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c; /* a, b: the library's, which are ours the other way round */
    int found;                      /* 0: the library cannot */
    cublasLtMatmulAlgo_t many, few[GPU_FEW];
};
struct blas {
    void *library;
    cublasLtHandle_t handle;
    struct blas_plan plan[BLAS_PLANS];
    int plans;
#define X(name) decltype(&cublasLt##name) name;
    BLAS_CALLS(X)
#undef X
};

static inline void blas_check(cublasStatus_t status, const char *what)
{
    if (status != CUBLAS_STATUS_SUCCESS)
        die("cuBLASLt: %s: status %d", what, (int)status);
}

/* Fails where the library is not installed or another version of it. */
static inline struct blas *blas_open(struct error *e)
{
    char name[64];
    struct blas *b = (struct blas *)mem_alloc(1, sizeof *b);
    snprintf(name, sizeof name, "libcublasLt.so.%d", CUBLAS_VER_MAJOR);
    b->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    int whole = b->library != NULL;
#define X(call) whole = whole && (b->call = (decltype(b->call))dlsym(b->library, "cublasLt" #call)) != NULL;
    BLAS_CALLS(X)
#undef X
    if (whole && b->Create(&b->handle) == CUBLAS_STATUS_SUCCESS)
        return b;
    fail(e, "run.precision=bf16 needs %s of the CUDA toolkit, which %s; install it, or use run.precision=fp32", name,
         !b->library ? "was not found"
         : !whole    ? "lacks functions"
                     : "could not be started");
    if (b->library)
        dlclose(b->library);
    mem_free(b);
    return NULL;
}

static inline void blas_close(struct blas *b)
{
    if (!b)
        return;
    for (int i = 0; i < b->plans; i++) {
        blas_check(b->MatmulDescDestroy(b->plan[i].product), "closing");
        cublasLtMatrixLayout_t all[] = {b->plan[i].a, b->plan[i].b, b->plan[i].c};
        for (int k = 0; k < 3; k++)
            blas_check(b->MatrixLayoutDestroy(all[k]), "closing");
    }
    blas_check(b->Destroy(b->handle), "closing");
    dlclose(b->library);
    mem_free(b);
}

/* ---- the three kinds, as the library sees them ---- */

/* Of the result, the sum, and the leading dimensions. */
struct blas_shape {
    int m, n, k, a_stride, b_stride;
    cublasOperation_t a_turn, b_turn;
};

static inline struct blas_shape blas_shape_of(const struct product16 *p)
{
    struct blas_shape s = {p->N, p->rows, p->K, p->b_stride, p->a_stride, CUBLAS_OP_T, CUBLAS_OP_N};
    if (p->kind == PRODUCT_INPUT) {
        s.m = p->K;
        s.k = p->N;
        s.a_turn = CUBLAS_OP_N;
    } else if (p->kind == PRODUCT_WEIGHT) {
        s.m = p->K;
        s.n = p->N;
        s.k = p->rows;
        s.a_turn = CUBLAS_OP_N;
        s.b_turn = CUBLAS_OP_T;
    }
    return s;
}

static inline void set_size(struct blas *b, cublasLtMatrixLayout_t x, int rows, int columns)
{
    uint64_t size[] = {(uint64_t)rows, (uint64_t)columns};
    blas_check(b->MatrixLayoutSetAttribute(x, CUBLASLT_MATRIX_LAYOUT_ROWS, &size[0], sizeof size[0]), "a size");
    blas_check(b->MatrixLayoutSetAttribute(x, CUBLASLT_MATRIX_LAYOUT_COLS, &size[1], sizeof size[1]), "a size");
}

/* The sizes that depend on the rows of a product. */
static inline void set_sizes(struct blas *b, struct blas_plan *plan, const struct blas_shape *s)
{
    int ak = s->a_turn == CUBLAS_OP_T, bk = s->b_turn == CUBLAS_OP_N; /* the sum runs down the columns */
    set_size(b, plan->a, ak ? s->k : s->m, ak ? s->m : s->k);
    set_size(b, plan->b, bk ? s->k : s->n, bk ? s->n : s->k);
    set_size(b, plan->c, s->m, s->n);
}

static inline int blas_align(const struct product16 *p)
{
    struct blas_shape s = blas_shape_of(p);
    size_t all = 16 | (uintptr_t)p->a | (uintptr_t)p->b | (uintptr_t)p->c.p | (uintptr_t)p->bias.p |
                 ((size_t)p->a_stride | (size_t)p->b_stride) * sizeof(uint16_t) |
                 (size_t)s.m * (p->c.bf16 ? sizeof(uint16_t) : sizeof(float));
    return (int)(all & -all);
}

/* Suggestions for so many rows, best first; returns how many. */
static inline int suggestions(struct blas *b, struct blas_plan *plan, int rows, cublasLtMatmulHeuristicResult_t *out)
{
    struct product16 p = plan->like;
    cublasLtMatmulPreference_t wish;
    uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE, align = (uint32_t)plan->align;
    uint64_t workspace = 0;
    int n = 0;
    p.rows = rows;
    struct blas_shape s = blas_shape_of(&p);
    set_sizes(b, plan, &s);
    blas_check(b->MatmulPreferenceCreate(&wish), "a preference");
#define WISH(what, value)                                                                                              \
    blas_check(b->MatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_##what, &value, sizeof value), #what)
    WISH(REDUCTION_SCHEME_MASK, none);
    WISH(MAX_WORKSPACE_BYTES, workspace);
    WISH(MIN_ALIGNMENT_A_BYTES, align);
    WISH(MIN_ALIGNMENT_B_BYTES, align);
    WISH(MIN_ALIGNMENT_C_BYTES, align);
    WISH(MIN_ALIGNMENT_D_BYTES, align);
#undef WISH
    cublasStatus_t status = b->MatmulAlgoGetHeuristic(b->handle, plan->product, plan->a, plan->b, plan->c, plan->c,
                                                      wish, BLAS_TRIES, out, &n);
    blas_check(b->MatmulPreferenceDestroy(wish), "a preference");
    return status == CUBLAS_STATUS_SUCCESS ? n : 0;
}

/* Whether an algorithm can do every number of rows from 1 to `most` that is a power of two, or odd beside one. */
static inline int does_all(struct blas *b, struct blas_plan *plan, const cublasLtMatmulAlgo_t *algorithm, int most)
{
    struct product16 p = plan->like;
    for (int rows = 1; rows <= most; rows *= 2)
        for (p.rows = rows; p.rows <= rows + 1 && p.rows <= most; p.rows++) {
            cublasLtMatmulHeuristicResult_t result;
            struct blas_shape s = blas_shape_of(&p);
            set_sizes(b, plan, &s);
            if (b->MatmulAlgoCheck(b->handle, plan->product, plan->a, plan->b, plan->c, plan->c, algorithm, &result) ||
                result.workspaceSize > 0)
                return 0;
        }
    return 1;
}

static inline void make_plan(struct blas *b, struct blas_plan *plan, const struct product16 *p, int align)
{
    struct blas_shape s = blas_shape_of(p);
    cudaDataType_t c = p->c.bf16 ? CUDA_R_16BF : CUDA_R_32F;
    cublasLtEpilogue_t end = p->bias.p ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    plan->like = *p;
    plan->align = align;
    blas_check(b->MatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product");
#define SAY(what, value)                                                                                               \
    blas_check(b->MatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_##what, &value, sizeof value), #what)
    SAY(TRANSA, s.a_turn);
    SAY(TRANSB, s.b_turn);
    SAY(EPILOGUE, end);
    if (p->bias.p)
        SAY(BIAS_DATA_TYPE, c);
#undef SAY
    blas_check(b->MatrixLayoutCreate(&plan->a, CUDA_R_16BF, 1, 1, s.a_stride), "a matrix");
    blas_check(b->MatrixLayoutCreate(&plan->b, CUDA_R_16BF, 1, 1, s.b_stride), "a matrix");
    blas_check(b->MatrixLayoutCreate(&plan->c, c, 1, 1, s.m), "a matrix");
    cublasLtMatmulHeuristicResult_t out[BLAS_TRIES];
    int n = suggestions(b, plan, MANY_ROWS, out);
    for (int i = 0; i < n && !plan->found; i++)
        if (does_all(b, plan, &out[i].algo, 1 << 16)) {
            plan->many = plan->few[0] = plan->few[1] = out[i].algo;
            plan->found = 1;
        }
}

static inline struct blas_plan *blas_plan_of(struct blas *b, const struct product16 *p)
{
    int align = blas_align(p);
    for (int i = 0; i < b->plans; i++) {
        const struct product16 *q = &b->plan[i].like;
        if (q->kind == p->kind && q->N == p->N && q->K == p->K && q->a_stride == p->a_stride &&
            q->b_stride == p->b_stride && q->c.bf16 == p->c.bf16 && !q->bias.p == !p->bias.p &&
            b->plan[i].align == align)
            return &b->plan[i];
    }
    if (b->plans == BLAS_PLANS)
        die("more than %d shapes of products in bf16", BLAS_PLANS);
    make_plan(b, &b->plan[b->plans], p, align);
    return &b->plan[b->plans++];
}

/* The algorithm for the few rows of a class: the library's i-th suggestion, or, i = -1, that for many. Returns 0 when
 * there is none. */
static inline int blas_choose(struct blas *b, const struct product16 *p, int few, int i)
{
    cublasLtMatmulHeuristicResult_t out[BLAS_TRIES];
    struct blas_plan *plan = blas_plan_of(b, p);
    if (i >= 0) {
        if (i >= suggestions(b, plan, few_most[few], out) || !does_all(b, plan, &out[i].algo, few_most[few]))
            return 0;
        plan->few[few] = out[i].algo;
    } else {
        plan->few[few] = plan->many;
    }
    return 1;
}

/* Computes p; returns 0 where the library cannot. */
static inline int blas_product(struct blas *b, cudaStream_t stream, const struct product16 *p)
{
    struct blas_plan *plan = blas_plan_of(b, p);
    struct blas_shape s = blas_shape_of(p);
    const float one = 1, add = p->kind == PRODUCT_WEIGHT;
    const cublasLtMatmulAlgo_t *algorithm = &plan->many;
    if (!plan->found)
        return 0;
    for (int few = GPU_FEW - 1; few >= 0 && p->kind == PRODUCT_FORWARD; few--)
        if (p->rows <= few_most[few])
            algorithm = &plan->few[few];
    set_sizes(b, plan, &s);
    if (p->bias.p)
        blas_check(
            b->MatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias.p, sizeof p->bias.p),
            "a bias");
    blas_check(b->Matmul(b->handle, plan->product, &one, p->b, plan->a, p->a, plan->b, &add, p->c.p, plan->c, p->c.p,
                         plan->c, algorithm, NULL, 0, stream),
               "a product");
    return 1;
}

#endif
