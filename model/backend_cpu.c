/* The fast table: fp32 on the processor's vectors and threads. Only the table stands here; the rows are in cpu/, one
 * file a kind. What they compute is said in backend.h, and shown plainly in backend_ref.c. */
#include "cpu/cpu.h"

/* Bytes for all threads. Head and sampling: N is the vocabulary. */
static size_t scratch_bytes(const struct device *d, enum scratch_row row, const struct scratch_shape *s)
{
    size_t each = 0, shared = 0, back = 0;
    switch (row) {
    case SCRATCH_LINEAR:
        each = cpu_linear_scratch(s->rows, s->N, s->K);
        back = cpu_linear_backward_scratch(s->rows, s->N, s->K);
        break;
    case SCRATCH_ATTENTION:
        each = cpu_attention_scratch(&s->attention, s->longest);
        back = cpu_attention_backward_scratch(&s->attention, s->longest);
        shared = cpu_attention_backward_shared(&s->attention);
        break;
    case SCRATCH_NORM:
        shared = cpu_norm_scratch(s->N > s->K ? s->N : s->K);
        break;
    case SCRATCH_HEAD:
    case SCRATCH_SAMPLE:
        each = cpu_head_scratch(s->N);
        break;
    }
    return shared + (size_t)d->threads * round_up(each > back ? each : back, 64);
}

const struct ops cpu_ops = {
    .name = "cpu",
    .real_bytes = sizeof(float),
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_upload,
    .download = cpu_download,
    .upload_int = cpu_upload_int,
    .download_int = cpu_download_int,
    .zero = cpu_zero,
    .copy = cpu_copy,
    .sync = cpu_sync,
    .scratch_bytes = scratch_bytes,
    .weight_reals = cpu_weight_reals,
    .pack = cpu_pack,
    .unpack = cpu_unpack,
    .embed_forward = cpu_embed_forward,
    .embed_backward = cpu_embed_backward,
    .norm_forward = cpu_norm_forward,
    .norm_backward = cpu_norm_backward,
    .linear_forward = cpu_linear_forward,
    .linear_backward_input = cpu_linear_backward_input,
    .linear_backward_weight = cpu_linear_backward_weight,
    .rotary = cpu_rotary,
    .store_reals = cpu_store_reals,
    .store = cpu_store,
    .attention_forward = cpu_attention_forward,
    .attention_backward = cpu_attention_backward,
    .gelu_forward = cpu_gelu_forward,
    .gelu_backward = cpu_gelu_backward,
    .swiglu_forward = cpu_swiglu_forward,
    .swiglu_backward = cpu_swiglu_backward,
    .add = cpu_add,
    .add_columns = cpu_add_columns,
    .gather = cpu_gather,
    .scatter = cpu_scatter,
    .head_ids = cpu_head_ids,
    .logp_forward = cpu_logp_forward,
    .logp_backward = cpu_logp_backward,
    .sample = cpu_sample,
    .sum_squares = cpu_sum_squares,
    .adamw = cpu_adamw,
};
