/* The GPU half of train_rl_cu: the CUDA table of operations and the opening of the device; no RL in it.
 *
 * What the rows compute is said in model/backend.h and shown plainly in model/backend_ref.c. The rows are in
 * model/cuda/, one file a kind. fp32 throughout, with our own products: the promises of backend.h hold as on the CPU,
 * so the sampler's numbers are the trainer's bit for bit and a run depends on its seed alone. */
#include "model/cuda/attention_backward.cuh"
#include "model/cuda/elementwise.cuh"
#include "model/cuda/linear.cuh"
#include "model/cuda/memory.cuh"
#include "model/cuda/norm.cuh"
#include "model/cuda/optim.cuh"
#include "model/cuda/sample.cuh"

/* Head and sampling keep what they need in shared memory. */
static size_t cuda_scratch_bytes(const struct device *d, enum scratch_row row, const struct scratch_shape *s)
{
    (void)d;
    switch (row) {
    case SCRATCH_LINEAR:
        return cuda_columns_scratch(s->N);
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

const struct ops cuda_ops = {
    .name = "cuda",
    .real_bytes = sizeof(float),
    .open = gpu_open,
    .close = gpu_close,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .upload_int = cuda_upload_int,
    .download_int = cuda_download_int,
    .zero = cuda_zero,
    .copy = cuda_copy,
    .sync = cuda_sync,
    .scratch_bytes = cuda_scratch_bytes,
    .weight_reals = cuda_weight_reals,
    .pack = cuda_pack,
    .unpack = cuda_unpack,
    .embed_forward = cuda_embed_forward,
    .embed_backward = cuda_embed_backward,
    .norm_forward = cuda_norm_forward,
    .norm_backward = cuda_norm_backward,
    .linear_forward = cuda_linear_forward,
    .linear_backward_input = cuda_linear_backward_input,
    .linear_backward_weight = cuda_linear_backward_weight,
    .rotary = cuda_rotary,
    .store_reals = cuda_store_reals,
    .store = cuda_store,
    .attention_forward = cuda_attention_forward,
    .attention_backward = cuda_attention_backward,
    .gelu_forward = cuda_gelu_forward,
    .gelu_backward = cuda_gelu_backward,
    .swiglu_forward = cuda_swiglu_forward,
    .swiglu_backward = cuda_swiglu_backward,
    .add = cuda_add,
    .add_columns = cuda_add_columns,
    .gather = cuda_gather,
    .scatter = cuda_scatter,
    .logp_forward = cuda_logp_forward,
    .logp_backward = cuda_logp_backward,
    .sample = cuda_sample,
    .sum_squares = cuda_sum_squares,
    .adamw = cuda_adamw,
};
