/* The GPU half of train_rl_cu: the CUDA table of operations and the opening of the device; no RL in it.
 *
 * What the rows compute is said in model/backend.h and shown plainly in model/backend_ref.c. The rows are in
 * model/cuda/, one file a kind. Two tables: in fp32 throughout, with our own products, the promises of backend.h hold
 * as on the CPU, so the sampler's numbers are the trainer's bit for bit and a run depends on its seed alone. In mixed
 * precision (run.precision=bf16) products are cuBLASLt's, and attention takes the matrix units:
 * model/cuda/product16.cuh and attention_bf16.cuh say what then holds. */
#include "model/cuda/attention_bf16_backward.cuh"
#include "model/cuda/elementwise.cuh"
#include "model/cuda/linear.cuh"
#include "model/cuda/memory.cuh"
#include "model/cuda/norm.cuh"
#include "model/cuda/optim.cuh"
#include "model/cuda/sample.cuh"

/* Head and sampling keep what they need in shared memory. */
static size_t cuda_scratch_bytes(const struct device *d, enum scratch_row row, const struct scratch_shape *s)
{
    switch (row) {
    case SCRATCH_LINEAR:
        return d->ops->bf16 ? cuda_product16_scratch(s->rows, s->N, s->K) : cuda_columns_scratch(s->N);
    case SCRATCH_ATTENTION:
        return cuda_attention_scratch(s->rows, &s->attention);
    case SCRATCH_NORM:
        return cuda_norm_scratch(s->N > s->K ? s->N : s->K);
    case SCRATCH_HEAD:
    case SCRATCH_SAMPLE:
        break;
    }
    return 0;
}

/* Rows of both tables; kind: of attention. Others that differ with the precision look at ops->bf16 or at the handles.
 */
/* clang-format off */
#define CUDA_ROWS(kind) \
    .replay = gpu_replay, \
    .record = gpu_record, \
    .recorded = gpu_recorded, \
    .forget = gpu_forget, \
    .alloc = cuda_alloc, \
    .release = cuda_release, \
    .upload = cuda_upload, \
    .download = cuda_download, \
    .upload_int = cuda_upload_int, \
    .download_int = cuda_download_int, \
    .zero = cuda_zero, \
    .copy = cuda_copy, \
    .sync = cuda_sync, \
    .scratch_bytes = cuda_scratch_bytes, \
    .weight_reals = cuda_weight_reals, \
    .pack = cuda_pack, \
    .unpack = cuda_unpack, \
    .embed_forward = cuda_embed_forward, \
    .embed_backward = cuda_embed_backward, \
    .norm_forward = cuda_norm_forward, \
    .norm_backward = cuda_norm_backward, \
    .linear_forward = cuda_linear_forward, \
    .linear_backward_input = cuda_linear_backward_input, \
    .linear_backward_weight = cuda_linear_backward_weight, \
    .rotary = cuda_rotary, \
    .store_reals = cuda_store_reals##kind, \
    .store = cuda_store##kind, \
    .attention_forward = cuda_attention_forward##kind, \
    .attention_backward = cuda_attention_backward##kind, \
    .gelu_forward = cuda_gelu_forward, \
    .gelu_backward = cuda_gelu_backward, \
    .swiglu_forward = cuda_swiglu_forward, \
    .swiglu_backward = cuda_swiglu_backward, \
    .add = cuda_add, \
    .add_columns = cuda_add_columns, \
    .gather = cuda_gather, \
    .scatter = cuda_scatter, \
    .head_ids = cuda_head_ids, \
    .logp_forward = cuda_logp_forward, \
    .logp_backward = cuda_logp_backward, \
    .sample = cuda_sample, \
    .sum_squares = cuda_sum_squares, \
    .adamw = cuda_adamw
/* clang-format on */

const struct ops cuda_ops = {
    .name = "cuda", .real_bytes = sizeof(float), .open = gpu_open, .close = gpu_close, CUDA_ROWS()};
const struct ops cuda_bf16_ops = {.name = "cuda bf16",
                                  .real_bytes = sizeof(float),
                                  .open = gpu_open,
                                  .close = gpu_close,
                                  .copy_numbers = cuda_weight_reals,
                                  .copy_rows = cuda_copy_rows,
                                  .bf16 = 1,
                                  .prepare = cuda16_prepare,
                                  CUDA_ROWS(_bf16)};
