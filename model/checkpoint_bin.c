/* Weights as llama2.c writes them (its export.py): one file, all float32, little-endian.
 *
 *   version 0   seven int32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len; a negative
 *               vocab_size means an output matrix of its own. Then each kind of tensor for all layers in turn.
 *   version 1   "ak42" (0x616b3432), int32 1, the same seven numbers, one byte: the output is the embedding; zeros up
 * to byte 256. Then the same tensors in another order, without the tables of rotations. version 2   eight-bit weights
 * with scales: refused.
 *
 * Queries and keys turn neighbouring elements (2i, 2i+1) of a head; here, as in the Hugging Face layout, i goes with
 * i + D/2, so their rows change places. The file does not say what llama2.c has fixed: epsilon 1e-5, theta 10000,
 * tokens 1 and 2 as beginning and end. Nor does it name a version 0: the size of the file has to be exactly what the
 * numbers say, to the byte. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "checkpoint_inner.h"

enum { NUMBERS = 7, HEADER = 4 * NUMBERS, HEADER_1 = 256, MAGIC = 0x616b3432 };

/* Tensors in the order of the file; a kind stands for all layers. NULL ends the list; "" stands for the tables of
 * rotations, which hold no weight. An output matrix of its own always comes last. */
static const char *const order_0[] = {"model.embed_tokens.weight",
                                      "input_layernorm.weight",
                                      "self_attn.q_proj.weight",
                                      "self_attn.k_proj.weight",
                                      "self_attn.v_proj.weight",
                                      "self_attn.o_proj.weight",
                                      "post_attention_layernorm.weight",
                                      "mlp.gate_proj.weight",
                                      "mlp.down_proj.weight",
                                      "mlp.up_proj.weight",
                                      "model.norm.weight",
                                      "",
                                      NULL};
static const char *const order_1[] = {"input_layernorm.weight",  "post_attention_layernorm.weight",
                                      "model.norm.weight",       "model.embed_tokens.weight",
                                      "self_attn.q_proj.weight", "self_attn.k_proj.weight",
                                      "self_attn.v_proj.weight", "self_attn.o_proj.weight",
                                      "mlp.gate_proj.weight",    "mlp.down_proj.weight",
                                      "mlp.up_proj.weight",      NULL};

struct bin {
    const unsigned char *map;
    size_t len, at;
    int version;
    const char *const *order;
};

static int32_t number_at(const struct bin *b, size_t at)
{
    const unsigned char *p = b->map + at;
    return (int32_t)(p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

/* The seven numbers at `at` into a; what they mean together is checked by arch_check and by the size of the file. */
static int read_numbers(const struct bin *b, size_t at, int tied, struct arch *a, struct error *e)
{
    static const char *const name[NUMBERS] = {"dim",        "hidden_dim", "n_layers",   "n_heads",
                                              "n_kv_heads", "vocab_size", "max_seq_len"};
    int n[NUMBERS];
    for (int i = 0; i < NUMBERS; i++) {
        int32_t x = number_at(b, at + 4 * (size_t)i);
        int own_output = i == 5 && x < 0 && x > INT32_MIN && b->version == 0;
        n[i] = own_output ? -x : x;
        tied = own_output ? 0 : tied;
        if (n[i] < 1)
            return fail(e, "%s is %d; this is no file of weights of llama2.c, version 0 or 1", name[i], (int)x);
    }
    if (n[5] < 3)
        return fail(e, "a vocabulary of %d; the first three tokens of llama2.c are special ones", n[5]);
    if (n[0] % n[3])
        return fail(e, "dim %d is not a multiple of n_heads %d; this is no file of weights of llama2.c, version 0 or 1",
                    n[0], n[3]);
    *a = (struct arch){.V = n[5],
                       .context = n[6],
                       .C = n[0],
                       .layers = n[2],
                       .H = n[3],
                       .G = n[4],
                       .D = n[0] / n[3],
                       .F = n[1],
                       .norm = NORM_RMS,
                       .position = POSITION_ROTARY,
                       .mlp = MLP_SWIGLU,
                       .tied = tied,
                       .norm_eps = 1e-5f,
                       .rope_theta = 10000};
    return arch_check(a, e);
}

static long expected_bytes(const struct bin *b, const struct arch *a)
{
    long tables = b->version == 0 ? (long)a->context * (a->D / 2) * 2 : 0;
    return (b->version ? HEADER_1 : HEADER) + 4 * (arch_parameters(a) + tables);
}

static int read_header(struct bin *b, struct arch *a, struct error *e)
{
    if (b->len < HEADER)
        return fail(e, "%zu bytes are too few for a header of llama2.c", b->len);
    if ((uint32_t)number_at(b, 0) == MAGIC) {
        b->version = number_at(b, 4);
        if (b->version == 2)
            return fail(e,
                        "version 2 of llama2.c's files has quantised weights (Q8_0), which are not supported; export "
                        "version 0 or 1");
        if (b->version != 1)
            return fail(e, "version %d of llama2.c's files is not supported; 0 and 1 are", b->version);
        if (b->len < HEADER_1)
            return fail(e, "%zu bytes are too few for a header of llama2.c, version 1", b->len);
        if (b->map[8 + HEADER] > 1)
            return fail(e, "the flag for a shared output is %d, not 0 or 1", b->map[8 + HEADER]);
        b->order = order_1;
        b->at = HEADER_1;
    } else {
        b->order = order_0;
        b->at = HEADER;
    }
    if (read_numbers(b, b->version ? 8 : 0, b->version ? b->map[8 + HEADER] : 1, a, e))
        return -1;
    long want = expected_bytes(b, a);
    if (b->len != (size_t)want)
        return fail(e,
                    "%zu bytes, but its header (version %d, dim %d, %d layers, vocabulary %d%s) makes %ld; is it "
                    "truncated?",
                    b->len, b->version, a->C, a->layers, a->V, a->tied ? "" : ", output of its own", want);
    return 0;
}

static int bin_open(struct bin *b, const char *path, struct arch *a, struct error *e)
{
    *b = (struct bin){0};
    b->map = file_map(path, &b->len, e);
    if (!b->map)
        return -1;
    if (!read_header(b, a, e))
        return 0;
    file_unmap(b->map, b->len);
    return fail_in(e, "%s", path);
}

int bin_arch(const char *path, struct arch *a, struct token_ids *t, struct error *e)
{
    struct bin b;
    struct arch found;
    if (bin_open(&b, path, &found, e))
        return -1;
    file_unmap(b.map, b.len);
    *a = found;
    if (!t)
        return 0;
    /* llama2.c puts only the beginning between the stories it trains on, and stops at it; Llama 2 itself ends with 2 */
    *t = (struct token_ids){.bos = 1, .pad = -1, .ends = 2, .end = {2, 1}};
    return 0;
}

/* Where row r of a head stands among the head's rows in the file. */
static int row_in_file(int r, int D)
{
    return r < D / 2 ? 2 * r : 2 * (r - D / 2) + 1;
}

/* The next tensor of the file into the rows of `p`; turned: its heads of D rows have the order of llama2.c. */
static int load_tensor(struct bin *b, struct model *m, const struct part *p, int turned, struct error *e)
{
    int D = m->arch.D;
    double *row = mem_alloc((size_t)p->K, sizeof *row);
    for (int r = 0; r < p->rows; r++) {
        int from = turned ? r - r % D + row_in_file(r % D, D) : r;
        const unsigned char *s = b->map + b->at + (size_t)from * p->K * 4;
        for (int k = 0; k < p->K; k++) {
            float x;
            memcpy(&x, s + 4 * (size_t)k, 4);
            row[k] = x;
            if (!isfinite(x)) {
                mem_free(row);
                return fail(e, "'%s': element [%d, %d] is %s", p->name, from, k,
                            isnan(x) ? "not a number" : "infinite");
            }
        }
        model_write(m, p->tensor, 0, p->row + r, 1, row);
    }
    mem_free(row);
    b->at += (size_t)p->rows * p->K * 4;
    return 0;
}

/* All tensors of one kind: parts are listed layer by layer. */
static int load_kind(struct bin *b, struct model *m, const struct part *p, int parts, const char *kind, struct error *e)
{
    int turned = name_ends(kind, "q_proj.weight") || name_ends(kind, "k_proj.weight");
    if (!*kind)
        b->at += (size_t)m->arch.context * (m->arch.D / 2) * 2 * 4;
    for (int i = 0; i < parts && *kind; i++)
        if (name_ends(p[i].name, kind) && load_tensor(b, m, &p[i], turned, e))
            return -1;
    return 0;
}

int bin_load(struct model *m, const char *path, struct error *e)
{
    struct bin b;
    struct arch said;
    int parts, status = 0;
    if (bin_open(&b, path, &said, e))
        return -1;
    struct part *p = parts_of(m, FAMILY_LLAMA, family_prefix(FAMILY_LLAMA), &parts);
    for (const char *const *kind = b.order; *kind && !status; kind++)
        status = load_kind(&b, m, p, parts, *kind, e);
    if (!status && !said.tied)
        status = load_kind(&b, m, p, parts, "lm_head.weight", e);
    mem_free(p);
    file_unmap(b.map, b.len);
    return status ? fail_in(e, "%s", path) : 0;
}
