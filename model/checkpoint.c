/* Weights in the Hugging Face layout, in and out. The names are checkpoint_names.c's, config.json is
 * checkpoint_config.c's; here the numbers move, a few megabytes at a time. Tokenizer files and the trainer's state are
 * not here. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "checkpoint_inner.h"
#include "safetensors.h"

enum {
    CHUNK = 1 << 18,  /* numbers held at a time: 2 MiB */
    COLUMNS = 1 << 22 /* when a matrix is transposed for writing: 32 MiB */
};

static int path_of(char path[1024], const char *dir, const char *file, struct error *e)
{
    if (snprintf(path, 1024, "%s/%s", dir, file) >= 1024)
        return fail(e, "%.200s...: the path is too long", dir);
    return 0;
}

static int rows_at_once(const struct part *p)
{
    int n = CHUNK / p->K;
    return n < 1 ? 1 : n < p->rows ? n : p->rows;
}

static int shape_of(const struct part *p, int64_t shape[2])
{
    shape[0] = p->flipped ? p->K : p->rows;
    shape[1] = p->flipped ? p->rows : p->K;
    return p->vector ? 1 : 2;
}

/* ---- reading ---- */

/* Rows row .. row+rows of the part, [rows][K], from the file's tensor. line: room for `rows` numbers. */
static void read_rows(const struct part *p, const struct st_tensor *t, int row, int rows, double *to, double *line)
{
    if (!p->flipped) {
        st_read(t, (int64_t)row * p->K, (int64_t)rows * p->K, to);
        return;
    }
    for (int k = 0; k < p->K; k++) {
        st_read(t, (int64_t)k * p->rows + row, rows, line);
        for (int r = 0; r < rows; r++)
            to[(size_t)r * p->K + k] = line[r];
    }
}

static int check_finite(const struct part *p, const double *x, int row, int rows, struct error *e)
{
    for (size_t i = 0; i < (size_t)rows * p->K; i++)
        if (!isfinite(x[i])) {
            int n = row + (int)(i / p->K), k = (int)(i % p->K);
            return fail(e, "tensor '%s': element [%d, %d] is %s", p->name, p->flipped ? k : n, p->flipped ? n : k,
                        isnan(x[i]) ? "not a number" : "infinite");
        }
    return 0;
}

static int load_part(struct model *m, const struct part *p, const struct st_tensor *t, struct error *e)
{
    int at_once = rows_at_once(p), status = 0;
    double *to = mem_alloc((size_t)at_once * p->K, sizeof *to), *line = mem_alloc(at_once, sizeof *line);
    for (int row = 0; row < p->rows && !status; row += at_once) {
        int rows = row + at_once <= p->rows ? at_once : p->rows - row;
        read_rows(p, t, row, rows, to, line);
        status = check_finite(p, to, row, rows, e);
        if (!status)
            model_write(m, p->tensor, 0, p->row + row, rows, to);
    }
    mem_free(to);
    mem_free(line);
    return status;
}

/* Some programs write lm_head.weight although it is the embedding; that is harmless only while they are equal. */
static int check_tied(const struct st_tensor *head, const struct st_tensor *embedding, struct error *e)
{
    if (head->count != embedding->count)
        return fail(e, "tensor 'lm_head.weight' has not the size of the embedding, but config.json ties the two");
    int status = 0;
    double *a = mem_alloc(CHUNK, sizeof *a), *b = mem_alloc(CHUNK, sizeof *b);
    for (int64_t i = 0; i < head->count && !status; i += CHUNK) {
        int64_t n = head->count - i < CHUNK ? head->count - i : CHUNK;
        st_read(head, i, n, a);
        st_read(embedding, i, n, b);
        for (int64_t j = 0; j < n && !status; j++)
            if (a[j] != b[j])
                status =
                    fail(e, "tensor 'lm_head.weight' differs from the embedding, but config.json ties the two; set "
                            "\"tie_word_embeddings\" to false if the file is right");
    }
    mem_free(a);
    mem_free(b);
    return status;
}

/* Nothing in the file may be left over: an unread tensor means that another model was trained than the one that would
 * run. */
static int check_leftovers(const struct safetensors *s, const char *used, const struct model *m, enum family f,
                           const struct st_tensor *embedding, struct error *e)
{
    for (int i = 0; i < s->tensors; i++) {
        const struct st_tensor *t = &s->tensor[i];
        if (used[i] || is_known_buffer(f, t->name))
            continue;
        if (m->head != m->wte || strcmp(t->name, "lm_head.weight"))
            return fail(e, "tensor '%.200s' has no place in a model as config.json describes it", t->name);
        if (check_tied(t, embedding, e))
            return -1;
    }
    return 0;
}

/* All shapes are checked before the first weight is written, so a refused file leaves the model as it was unless it
 * holds numbers that are not finite. */
static int load_parts(struct model *m, const struct safetensors *s, enum family f, const struct part *p, int parts,
                      struct error *e)
{
    const struct st_tensor **found = mem_alloc(parts, sizeof *found), *embedding = NULL;
    char *used = mem_alloc(s->tensors, 1);
    int status = 0;
    for (int i = 0; i < parts && !status; i++) {
        int64_t shape[2];
        int dims = shape_of(&p[i], shape);
        found[i] = safetensors_need(s, p[i].name, dims, shape, e);
        if (!found[i])
            status = -1;
        else
            used[found[i] - s->tensor] = 1;
        if (p[i].tensor == m->wte)
            embedding = found[i];
    }
    if (!status && check_leftovers(s, used, m, f, embedding, e))
        status = fail_in(e, "%s", s->path);
    for (int i = 0; i < parts && !status; i++)
        if (load_part(m, &p[i], found[i], e))
            status = fail_in(e, "%s", s->path);
    mem_free(found);
    mem_free(used);
    return status;
}

/* Names a difference in what the weights' shapes cannot show (heads against their size, theta, epsilon), or NULL. The
 * context is not compared: a model may be made for shorter texts, and learned positions are a tensor. */
static const char *arch_difference(const struct arch *a, const struct arch *b)
{
    const struct {
        const char *name;
        int equal;
    } field[] = {
        {"vocabulary", a->V == b->V},
        {"width", a->C == b->C},
        {"layers", a->layers == b->layers},
        {"heads", a->H == b->H},
        {"key/value heads", a->G == b->G},
        {"head size", a->D == b->D},
        {"MLP width", a->F == b->F},
        {"norm", a->norm == b->norm && a->qk_norm == b->qk_norm},
        {"positions", a->position == b->position},
        {"MLP", a->mlp == b->mlp},
        {"biases", a->qkv_bias == b->qkv_bias && a->out_bias == b->out_bias && a->mlp_bias == b->mlp_bias},
        {"tied output", a->tied == b->tied},
        {"norm epsilon", a->norm_eps == b->norm_eps},
        {"rope_theta", a->rope_theta == b->rope_theta},
        {"rope_scaling",
         a->rope_scaling.kind == b->rope_scaling.kind && a->rope_scaling.factor == b->rope_scaling.factor &&
             a->rope_scaling.low == b->rope_scaling.low && a->rope_scaling.high == b->rope_scaling.high &&
             a->rope_scaling.original == b->rope_scaling.original},
    };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        if (!field[i].equal)
            return field[i].name;
    return NULL;
}

/* Says what to do where weights lie in another form. */
static int open_weights(struct safetensors *s, const char *dir, struct error *e)
{
    static const char *const others[] = {"model.safetensors.index.json", "pytorch_model.bin"};
    char path[1024];
    if (path_of(path, dir, "model.safetensors", e))
        return -1;
    for (int i = 0; i < 2 && file_size(path) < 0; i++) {
        char other[1024];
        if (!path_of(other, dir, others[i], e) && file_size(other) >= 0)
            return fail(e, "%s: no model.safetensors, only %s; save the model as one safetensors file", dir, others[i]);
    }
    return safetensors_open(s, path, e);
}

int checkpoint_load(struct model *m, const char *dir, struct error *e)
{
    struct arch said;
    enum family f;
    struct safetensors s;
    if (checkpoint_arch(dir, &said, NULL, e) || family_of(&m->arch, &f, e))
        return -1;
    const char *difference = arch_difference(&said, &m->arch);
    if (difference)
        return fail(e, "%s/config.json: its %s is not the one of the model to be loaded", dir, difference);
    if (open_weights(&s, dir, e))
        return -1;
    char first[128];
    snprintf(first, sizeof first, "%s%s", family_prefix(f), embedding_name(f));
    /* GPT-2 was also saved from inside its outer class, where the names are shorter. */
    const char *prefix = f == FAMILY_GPT2 && !safetensors_find(&s, first) ? "" : family_prefix(f);
    int parts;
    struct part *p = parts_of(m, f, prefix, &parts);
    int status = load_parts(m, &s, f, p, parts, e);
    mem_free(p);
    safetensors_close(&s);
    return status;
}

/* ---- writing ---- */

static int save_straight(struct st_writer *w, const struct model *m, const struct part *p, struct error *e)
{
    int at_once = rows_at_once(p), status = 0;
    double *from = mem_alloc((size_t)at_once * p->K, sizeof *from);
    for (int row = 0; row < p->rows && !status; row += at_once) {
        int rows = row + at_once <= p->rows ? at_once : p->rows - row;
        model_read(m, p->tensor, 0, p->row + row, rows, from);
        status = st_put(w, from, (int64_t)rows * p->K, e);
    }
    mem_free(from);
    return status;
}

/* The file wants [K][rows]: a band of columns at a time is gathered from all rows. */
static int save_flipped(struct st_writer *w, const struct model *m, const struct part *p, struct error *e)
{
    int at_once = rows_at_once(p), band = COLUMNS / p->rows < 1 ? 1 : COLUMNS / p->rows, status = 0;
    band = band < p->K ? band : p->K;
    double *from = mem_alloc((size_t)at_once * p->K, sizeof *from), *to = mem_alloc((size_t)band * p->rows, sizeof *to);
    for (int k0 = 0; k0 < p->K && !status; k0 += band) {
        int columns = k0 + band <= p->K ? band : p->K - k0;
        for (int row = 0; row < p->rows; row += at_once) {
            int rows = row + at_once <= p->rows ? at_once : p->rows - row;
            model_read(m, p->tensor, 0, p->row + row, rows, from);
            for (int k = 0; k < columns; k++)
                for (int r = 0; r < rows; r++)
                    to[(size_t)k * p->rows + row + r] = from[(size_t)r * p->K + k0 + k];
        }
        status = st_put(w, to, (int64_t)columns * p->rows, e);
    }
    mem_free(from);
    mem_free(to);
    return status;
}

static int save_weights(const struct model *m, enum family f, const char *path, struct error *e)
{
    int parts, status = 0;
    struct part *p = parts_of(m, f, family_prefix(f), &parts);
    struct st_entry *entry = mem_alloc(parts, sizeof *entry);
    for (int i = 0; i < parts; i++) {
        memcpy(entry[i].name, p[i].name, sizeof entry[i].name);
        entry[i].dtype = DTYPE_F32;
        entry[i].dims = shape_of(&p[i], entry[i].shape);
    }
    struct st_writer w;
    status = st_create(&w, path, entry, parts, "{\"format\":\"pt\"}", e); /* other programs ask for this format mark */
    for (int i = 0; i < parts && !status; i++)
        status = p[i].flipped ? save_flipped(&w, m, &p[i], e) : save_straight(&w, m, &p[i], e);
    if (status)
        st_abandon(&w);
    else
        status = st_commit(&w, e);
    mem_free(entry);
    mem_free(p);
    return status;
}

int checkpoint_save(const struct model *m, const char *dir, const struct token_ids *t, struct error *e)
{
    char weights[1024], config[1024];
    enum family f;
    if (family_of(&m->arch, &f, e) || path_of(weights, dir, "model.safetensors", e) ||
        path_of(config, dir, "config.json", e))
        return -1;
    if (!file_is_directory(dir))
        return fail(e, "%s is not a directory", dir);
    return save_weights(m, f, weights, e) || config_write(&m->arch, f, t, config, e) ? -1 : 0;
}
