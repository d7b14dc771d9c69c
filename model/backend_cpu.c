/* The fast tables: fp32 on the processor's vectors and threads, and the same with products in bf16. Only the tables
 * stand here; the rows are in cpu/, one file a kind. What they compute is said in backend.h, and shown plainly in
 * backend_ref.c. */
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

static size_t bf16_scratch_bytes(const struct device *d, enum scratch_row row, const struct scratch_shape *s)
{
    return row == SCRATCH_LINEAR ? (size_t)d->threads * cpu_bf16_scratch() : scratch_bytes(d, row, s);
}

/* Rows of both tables. */
/* clang-format off */
#define CPU_ROWS \
    .real_bytes = sizeof(float), \
    .processor = 1, \
    .alloc = cpu_alloc, \
    .release = cpu_release, \
    .upload = cpu_upload, \
    .download = cpu_download, \
    .upload_int = cpu_upload_int, \
    .download_int = cpu_download_int, \
    .zero = cpu_zero, \
    .copy = cpu_copy, \
    .sync = cpu_sync, \
    .weight_reals = cpu_weight_reals, \
    .pack = cpu_pack, \
    .unpack = cpu_unpack, \
    .embed_forward = cpu_embed_forward, \
    .embed_backward = cpu_embed_backward, \
    .norm_forward = cpu_norm_forward, \
    .norm_backward = cpu_norm_backward, \
    .rotary = cpu_rotary, \
    .store_reals = cpu_store_reals, \
    .store = cpu_store, \
    .attention_forward = cpu_attention_forward, \
    .attention_backward = cpu_attention_backward, \
    .gelu_forward = cpu_gelu_forward, \
    .gelu_backward = cpu_gelu_backward, \
    .swiglu_forward = cpu_swiglu_forward, \
    .swiglu_backward = cpu_swiglu_backward, \
    .add = cpu_add, \
    .add_columns = cpu_add_columns, \
    .gather = cpu_gather, \
    .scatter = cpu_scatter, \
    .head_ids = cpu_head_ids, \
    .logp_forward = cpu_logp_forward, \
    .logp_backward = cpu_logp_backward, \
    .sample = cpu_sample, \
    .sum_squares = cpu_sum_squares
/* clang-format on */

const struct ops cpu_ops = {
    CPU_ROWS,
    .name = "cpu",
    .scratch_bytes = scratch_bytes,
    .linear_forward = cpu_linear_forward,
    .linear_backward_input = cpu_linear_backward_input,
    .linear_backward_weight = cpu_linear_backward_weight,
    .adamw = cpu_adamw,
};

const struct ops cpu_bf16_ops = {
    CPU_ROWS,
    .name = "cpu bf16",
    .open = cpu_bf16_open,
    .copy_numbers = cpu_bf16_copy_numbers,
    .copy_rows = cpu_bf16_copy,
    .scratch_bytes = bf16_scratch_bytes,
    .linear_forward = cpu_bf16_linear_forward,
    .linear_backward_input = cpu_bf16_linear_backward_input,
    .linear_backward_weight = cpu_bf16_linear_backward_weight,
    .adamw = cpu_bf16_adamw,
};
