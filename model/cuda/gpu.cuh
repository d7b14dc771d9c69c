/* What only a GPU has, behind the names that kernels and rows use; test/cuda_host.h has the twins for the host.
 * A failed call of the run-time library is a broken invariant and ends the program through die(). */
#ifndef GPU_CUH
#define GPU_CUH
#include "blas.cuh"
#include <cuda_runtime.h>
#include <stdio.h>

#define DEVICE   static __device__ __forceinline__
#define EITHER   static __host__ __device__ __forceinline__
#define SHARED   static __shared__
#define THREAD   ((int)threadIdx.x)
#define BLOCK    ((int)blockIdx.x)
#define BLOCK_Y  ((int)blockIdx.y)
#define BLOCKS   ((int)gridDim.x)
#define UNROLLED _Pragma("unroll")
#define ROLLED   _Pragma("unroll 1")
#define UNCHECKED
#define KERNEL(name, threads, type)                                                                                    \
    enum { name##_threads = threads };                                                                                 \
    static __global__ void __launch_bounds__(threads) name(const struct type a)
/* As much shared memory as the launch asked for. */
#define SHARED_FLOATS(name)                                                                                            \
    extern __shared__ __align__(16) float shared_floats[];                                                             \
    float *name = shared_floats
#define LAUNCH(name, d, blocks, blocks_y, bytes, argument)                                                             \
    do {                                                                                                               \
        dim3 grid((unsigned)(blocks), (unsigned)(blocks_y));                                                           \
        size_t shared_bytes = bytes;                                                                                   \
        if (grid.x == 0 || grid.y == 0)                                                                                \
            break;                                                                                                     \
        if (shared_bytes > 48 * 1024)                                                                                  \
            gpu_check(cudaFuncSetAttribute(name, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes),      \
                      #name);                                                                                          \
        name<<<grid, name##_threads, shared_bytes, gpu_of(d)->stream>>>(argument);                                     \
        gpu_launched(d, #name);                                                                                        \
    } while (0)

enum { STAGE_BYTES = 8 << 20, GPU_PARTIALS = 256 };

struct gpu { /* device.state */
    cudaStream_t stream;
    char *stage;       /* page-locked; copies to and from the device pass through it */
    size_t used;       /* of it, by copies that may still be running */
    double *partial;   /* [GPU_PARTIALS] on the device: sums that the host finishes */
    struct blas *blas; /* in mixed precision */
    cudaGraphExec_t record[RECORDS];
    int recording;      /* the key and 1; 0: nothing is being recorded */
    int unable;         /* recording has failed once */
    uint64_t arguments; /* of what is recorded */
};

static inline struct gpu *gpu_of(const struct device *d)
{
    return (struct gpu *)d->state;
}

static inline void gpu_check(cudaError_t status, const char *what)
{
    if (status != cudaSuccess)
        die("CUDA: %s: %s", what, cudaGetErrorString(status));
}

static inline void gpu_wait(struct device *d)
{
    gpu_check(cudaStreamSynchronize(gpu_of(d)->stream), "waiting");
    gpu_of(d)->used = 0;
}

/* CUDA_TEST: tests look at memory and at results at once, so memory is the host's too and every launch is waited for.
 */
static inline void gpu_launched(struct device *d, const char *kernel)
{
    gpu_check(cudaGetLastError(), kernel);
#ifdef CUDA_TEST
    if (!gpu_of(d)->recording)
        gpu_check(cudaStreamSynchronize(gpu_of(d)->stream), kernel);
#else
    (void)d;
#endif
}

/* Zeroed device memory, or NULL. */
static inline void *gpu_alloc(struct device *d, size_t bytes)
{
    void *p = NULL;
#ifdef CUDA_TEST
    cudaError_t status = cudaMallocManaged(&p, bytes ? bytes : 1);
#else
    cudaError_t status = cudaMalloc(&p, bytes ? bytes : 1);
#endif
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError(); /* forgotten: the caller says what did not fit */
        return NULL;
    }
    gpu_check(status, "allocating device memory");
    gpu_check(cudaMemsetAsync(p, 0, bytes, gpu_of(d)->stream), "zeroing device memory");
    gpu_wait(d);
    return p;
}

static inline void gpu_free(void *p)
{
    gpu_check(cudaFree(p), "releasing device memory");
}

/* Staging memory for at most `bytes`; *have says how many there are. */
static inline void *gpu_stage(struct device *d, size_t bytes, size_t *have)
{
    struct gpu *g = gpu_of(d);
    *have = bytes < STAGE_BYTES ? bytes : STAGE_BYTES;
    if (g->used + *have > STAGE_BYTES)
        gpu_wait(d);
    void *p = g->stage + g->used;
    g->used += (*have + 255) / 256 * 256;
    return p;
}

static inline void gpu_copy(struct device *d, void *to, const void *from, size_t bytes)
{
    gpu_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, gpu_of(d)->stream), "copying");
    gpu_launched(d, "copying");
}

static inline void gpu_zero(struct device *d, void *p, size_t bytes)
{
    gpu_check(cudaMemsetAsync(p, 0, bytes, gpu_of(d)->stream), "zeroing");
    gpu_launched(d, "zeroing");
}

/* ---- recordings are CUDA graphs ---- */

static inline int gpu_replay(struct device *d, int key)
{
    struct gpu *g = gpu_of(d);
    if (!g->record[key])
        return 0;
    gpu_check(cudaGraphLaunch(g->record[key], g->stream), "running a graph");
    gpu_launched(d, "running a graph");
    return 1;
}

static inline void gpu_record(struct device *d, int key)
{
    struct gpu *g = gpu_of(d);
    if (g->unable)
        return;
    g->recording = key + 1;
    if (cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess)
        return;
    cudaGetLastError(); /* forgotten: rows are enqueued one by one from now on */
    g->recording = 0;
    g->unable = 1;
}

static inline int gpu_recorded(struct device *d)
{
    struct gpu *g = gpu_of(d);
    int key = g->recording - 1;
    cudaGraph_t graph = NULL;
    if (!g->recording)
        return 1; /* they have run */
    g->recording = 0;
    int failed = cudaStreamEndCapture(g->stream, &graph) != cudaSuccess || !graph ||
                 cudaGraphInstantiateWithFlags(&g->record[key], graph, 0) != cudaSuccess;
    if (graph)
        gpu_check(cudaGraphDestroy(graph), "releasing a graph");
    if (failed) {
        cudaGetLastError();
        g->record[key] = NULL;
        g->unable = 1;
        return 0;
    }
    return gpu_replay(d, key);
}

static inline void gpu_forget(struct device *d, uint64_t arguments)
{
    struct gpu *g = gpu_of(d);
    int same = g->arguments == arguments;
    g->arguments = arguments;
    for (int i = 0; i < RECORDS && !same; i++)
        if (g->record[i]) {
            gpu_wait(d);
            gpu_check(cudaGraphExecDestroy(g->record[i]), "releasing a graph");
            g->record[i] = NULL;
        }
}

static inline double *gpu_partials(struct device *d)
{
    return gpu_of(d)->partial;
}

static inline void gpu_close(struct device *d)
{
    struct gpu *g = gpu_of(d);
    if (!g)
        return;
    gpu_forget(d, ~g->arguments);
    blas_close(g->blas);
    gpu_check(cudaFree(g->partial), "releasing device memory");
    gpu_check(cudaFreeHost(g->stage), "releasing page-locked memory");
    gpu_check(cudaStreamDestroy(g->stream), "closing the stream");
    mem_free(g);
    d->state = NULL;
}

/* The first device. Fails when there is none, or none that this build has code for. */
static inline int gpu_open(struct device *d, struct error *e)
{
    int count = 0;
    size_t all;
    cudaDeviceProp about;
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0)
        return fail(e, "no CUDA device was found (%s)",
                    status == cudaSuccess ? "the driver sees none" : cudaGetErrorString(status));
    gpu_check(cudaGetDeviceProperties(&about, 0), "asking for the device's properties");
    if (about.major < 8)
        return fail(e, "%s has compute capability %d.%d, at least 8.0 is needed", about.name, about.major, about.minor);
    struct gpu *g = (struct gpu *)mem_alloc(1, sizeof *g);
    d->state = g;
    gpu_check(cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), "opening a stream");
    gpu_check(cudaMallocHost((void **)&g->stage, STAGE_BYTES), "page-locked memory");
    gpu_check(cudaMalloc((void **)&g->partial, GPU_PARTIALS * sizeof(double)), "allocating device memory");
    if (d->ops->bf16) {
        g->blas = blas_open(e);
        if (!g->blas) {
            gpu_close(d);
            return -1;
        }
    }
    gpu_check(cudaMemGetInfo(&d->memory, &all), "asking for the device's memory");
    return 0;
}

/* A product of bf16; returns 0 where the library cannot compute it. */
static inline int gpu_product(struct device *d, const struct product16 *p)
{
    int done = blas_product(gpu_of(d)->blas, gpu_of(d)->stream, p);
    gpu_launched(d, "a product");
    return done;
}

/* How products like p of few rows, class `few` of GPU_FEW, are computed: blas_choose. */
static inline int gpu_choose(struct device *d, const struct product16 *p, int few, int i)
{
    return blas_choose(gpu_of(d)->blas, p, few, i);
}

/* ---- inside kernels ---- */

DEVICE void block_wait(void)
{
    __syncthreads();
}

/* Over the 32 threads of a warp, all of which take part: pairs 16 apart are added, then 8, 4, 2, 1; all get the sum. */
DEVICE float warp_sum(float x)
{
    for (int apart = 16; apart > 0; apart /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, apart);
    return x;
}

DEVICE float warp_max(float x)
{
    for (int apart = 16; apart > 0; apart /= 2) {
        float y = __shfl_xor_sync(0xffffffffu, x, apart);
        x = x > y ? x : y;
    }
    return x;
}

/* Over the 4 neighbouring threads that share rows of a matrix product's result: pairs 1 apart, then 2. */
DEVICE float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

DEVICE float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

/* e^x of the special function unit, for mixed precision: some 2^-21 off; e^-infinity is 0. */
DEVICE float quick_exp(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f));
    return y;
}

/* Two numbers rounded to the nearest bf16 (ties to even) in one word. */
DEVICE uint32_t two_bf16(float low, float high)
{
    uint32_t word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

/* c[16][8] += a[16][16] b[16][8] in bf16 by the threads of a warp, each with its fragments (m16n8k16 of the PTX ISA).
 */
DEVICE void multiply_tile(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices of bf16 in shared memory, transposed, a word of each to every thread: threads 8 i .. 8 i + 7 name
 * the rows of matrix i, each of 16 bytes at an address divisible by 16. */
DEVICE void load_transposed(uint32_t to[4], const uint32_t *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* Adds to a counter in shared or global memory; returns what it was. */
DEVICE int count_up(int *counter, int by)
{
    return atomicAdd(counter, by);
}

DEVICE void set_bits(int *word, int bits)
{
    atomicOr(word, bits);
}

#endif
