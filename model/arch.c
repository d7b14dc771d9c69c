/* Architectures as data: the named presets, their sanity, their size. Nothing here computes. */
#include "lora.h"
#include "transformer.h"
#include <string.h>

#define GPT2(layers_, heads_, width, vocabulary, context_)                                                             \
    {                                                                                                                  \
        .V = vocabulary, .context = context_, .C = width, .layers = layers_, .H = heads_, .G = heads_,                 \
        .D = (width) / (heads_), .F = 4 * (width), .norm = NORM_LAYER, .position = POSITION_LEARNED, .mlp = MLP_GELU,  \
        .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .tied = 1, .norm_eps = 1e-5f                                      \
    }
#define ROTARY(layers_, heads_, kv_heads, head_size, width, hidden, vocabulary, context_, tied_, theta, eps)           \
    .V = vocabulary, .context = context_, .C = width, .layers = layers_, .H = heads_, .G = kv_heads, .D = head_size,   \
    .F = hidden, .norm = NORM_RMS, .position = POSITION_ROTARY, .mlp = MLP_SWIGLU, .tied = tied_, .norm_eps = eps,     \
    .rope_theta = theta
#define LLAMA(...)                                                                                                     \
    {                                                                                                                  \
        ROTARY(__VA_ARGS__)                                                                                            \
    }
#define QWEN2(...)                                                                                                     \
    {                                                                                                                  \
        ROTARY(__VA_ARGS__), .qkv_bias = 1                                                                             \
    }
#define QWEN3(...)                                                                                                     \
    {                                                                                                                  \
        ROTARY(__VA_ARGS__), .qk_norm = 1                                                                              \
    }

/* Vocabulary and context of the small ones are placeholders: the task sets them. */
const struct preset presets[] = {
    {"nano-llama", "50 thousand weights: for tests and for stepping through in a debugger",
     LLAMA(2, 4, 4, 12, 48, 128, 32, 128, 1, 10000, 1e-5f), 1},
    {"tiny-llama", "100 thousand weights: the default model, learns arithmetic chains in seconds",
     LLAMA(2, 4, 4, 16, 64, 176, 32, 128, 1, 10000, 1e-5f), 1},
    {"small-llama", "335 thousand weights: for countdown and other searches",
     LLAMA(3, 4, 4, 24, 96, 256, 32, 256, 1, 10000, 1e-5f), 1},
    {"tiny-gpt2", "100 thousand weights in GPT-2's shape", GPT2(2, 4, 64, 32, 128), 1},
    {"small-gpt2", "1.2 million weights in GPT-2's shape", GPT2(6, 4, 128, 64, 256), 1},
    {"story-llama", "260 thousand weights, grouped queries: the shape of llama2.c's stories260K",
     LLAMA(5, 8, 4, 8, 64, 172, 512, 512, 1, 10000, 1e-5f), 1},
    {"llama-15m", "15 million weights: the shape of llama2.c's stories15M",
     LLAMA(6, 6, 6, 48, 288, 768, 32000, 256, 1, 10000, 1e-5f), 0},
    {"gpt2", "124 million weights: GPT-2 small", GPT2(12, 12, 768, 50257, 1024), 0},
    {"llama-135m", "135 million weights: the shape of SmolLM2-135M",
     LLAMA(30, 9, 3, 64, 576, 1536, 49152, 8192, 1, 100000, 1e-5f), 0},
    {"gpt2-medium", "355 million weights: GPT-2 medium", GPT2(24, 16, 1024, 50257, 1024), 0},
    {"qwen2-500m", "494 million weights, biases on q, k, v: the shape of Qwen2 0.5B",
     QWEN2(24, 14, 2, 64, 896, 4864, 151936, 32768, 1, 1000000, 1e-6f), 0},
    {"qwen3-600m", "596 million weights, norms on q and k: the shape of Qwen3 0.6B",
     QWEN3(28, 16, 8, 128, 1024, 3072, 151936, 40960, 1, 1000000, 1e-6f), 0},
    {"gpt2-large", "774 million weights: GPT-2 large", GPT2(36, 20, 1280, 50257, 1024), 0},
    {"llama-1b", "1.2 billion weights: the shape of Llama 3.2 1B",
     LLAMA(16, 32, 8, 64, 2048, 8192, 128256, 8192, 1, 500000, 1e-5f), 0},
    {"gpt2-xl", "1.5 billion weights: GPT-2 XL", GPT2(48, 25, 1600, 50257, 1024), 0},
    {0},
};

const struct preset *preset_find(const char *name)
{
    for (const struct preset *p = presets; p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

int arch_check(const struct arch *a, struct error *e)
{
    const struct {
        const char *name;
        long value, max;
    } size[] = {{"vocabulary", a->V, 1 << 22},  {"context", a->context, 1 << 24}, {"width", a->C, 1 << 16},
                {"layers", a->layers, 1 << 12}, {"heads", a->H, 1 << 12},         {"key/value heads", a->G, 1 << 12},
                {"head size", a->D, 1 << 12},   {"MLP width", a->F, 1 << 20}};
    for (unsigned i = 0; i < sizeof size / sizeof *size; i++)
        if (size[i].value < 1 || size[i].value > size[i].max)
            return fail(e, "%s of the model is %ld; it must be between 1 and %ld", size[i].name, size[i].value,
                        size[i].max);
    if (a->H % a->G != 0)
        return fail(e, "%d query heads cannot share %d key/value heads evenly", a->H, a->G);
    if (a->position == POSITION_ROTARY && a->D % 2 != 0)
        return fail(e, "head size %d is odd; rotary positions need an even one", a->D);
    if (a->position == POSITION_ROTARY && !(a->rope_theta > 1))
        return fail(e, "rope_theta %g must be above 1", a->rope_theta);
    if (a->lora.rank < 0 || a->lora.rank > 4096)
        return fail(e, "rank %d of the adapters must be between 1 and 4096", a->lora.rank);
    if (a->lora.rank && !a->lora.targets)
        return fail(e, "adapters of rank %d on no linear map", a->lora.rank);
    if (a->lora.rank && !(a->lora.alpha > 0 && a->lora.alpha < 1e6))
        return fail(e, "alpha %g of the adapters must be above 0 and below 10^6", a->lora.alpha);
    if (!(a->norm_eps > 0 && a->norm_eps < 1))
        return fail(e, "the norm's epsilon %g must be between 0 and 1", (double)a->norm_eps);
    return 0;
}

long arch_parameters(const struct arch *a)
{
    long C = a->C, F = a->F, Q = (long)a->H * a->D, KV = (long)a->G * a->D, norm = a->norm == NORM_LAYER ? 2 * C : C;
    long up = a->mlp == MLP_SWIGLU ? 2 * F : F;
    long layer = 2 * norm + (Q + 2 * KV) * C + Q * C + up * C + F * C;
    layer += a->qkv_bias ? Q + 2 * KV : 0;
    layer += a->out_bias ? C : 0;
    layer += a->mlp_bias ? up + C : 0;
    layer += a->qk_norm ? 2L * a->D : 0;
    long embedding = (long)a->V * C * (a->tied ? 1 : 2) + (a->position == POSITION_LEARNED ? (long)a->context * C : 0);
    return embedding + a->layers * layer + norm + (a->value_head ? C + 1 : 0);
}

long arch_trained(const struct arch *a)
{
    struct adapter x[LORA_TARGETS];
    int n = lora_adapters(a, x, NULL);
    long each = 0;
    for (int j = 0; j < n; j++)
        each += (long)a->lora.rank * (x[j].N + x[j].K);
    return a->lora.rank ? each * a->layers + (a->value_head ? a->C + 1 : 0) : arch_parameters(a);
}
