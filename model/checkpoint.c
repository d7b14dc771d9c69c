/* Weights in the Hugging Face layout, in and out. The names are checkpoint_names.c's, config.json is
 * checkpoint_config.c's, the files are checkpoint_shards.c's; here the numbers move, a few megabytes at a time.
 * Tokenizer files and the trainer's state are not here. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "checkpoint_inner.h"
#include "safetensors.h"

enum {
    CHUNK = 1 << 15,  /* numbers held at a time: 256 KiB, which stay in the cache from one pass to the next */
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
    int bad = 0; /* a loop without an exit is several times quicker, and almost always all there is to do */
    for (size_t i = 0; i < (size_t)rows * p->K; i++)
        bad |= !isfinite(x[i]);
    for (size_t i = 0; bad; i++)
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

/* Nothing in the files may be left over: an unread tensor means that another model was trained than the one that would
 * run. */
static int check_leftovers(const struct shards *w, const char *used, const struct model *m, enum family f,
                           const struct st_tensor *embedding, struct error *e)
{
    for (int i = 0; i < w->tensors; i++) {
        const struct st_tensor *t = w->tensor[i].t;
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
static int load_parts(struct model *m, const struct shards *w, enum family f, const struct part *p, int parts,
                      struct error *e)
{
    const struct st_tensor *embedding = NULL;
    int *found = mem_alloc((size_t)parts, sizeof *found), status = 0;
    char *used = mem_alloc((size_t)w->tensors, 1);
    for (int i = 0; i < parts && !status; i++) {
        int64_t shape[2];
        int dims = shape_of(&p[i], shape);
        found[i] = shards_need(w, p[i].name, dims, shape, e);
        if (found[i] < 0) {
            status = -1;
            break;
        }
        used[found[i]] = 1;
        if (p[i].tensor == m->wte)
            embedding = w->tensor[found[i]].t;
    }
    if (!status && check_leftovers(w, used, m, f, embedding, e))
        status = fail_in(e, "%s", w->path);
    for (int i = 0; i < parts && !status; i++) {
        const struct shard_tensor *t = &w->tensor[found[i]];
        if (load_part(m, &p[i], t->t, e))
            status = fail_in(e, "%s", w->file[t->file].path);
    }
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

int checkpoint_load(struct model *m, const char *dir, struct error *e)
{
    struct arch said;
    enum family f;
    struct shards w;
    if (checkpoint_arch(dir, &said, NULL, e) || family_of(&m->arch, &f, e))
        return -1;
    const char *difference = arch_difference(&said, &m->arch);
    if (difference)
        return fail(e, "%s: its %s is not the one of the model to be loaded", dir, difference);
    if (file_size(dir) >= 0)
        return bin_load(m, dir, e);
    if (shards_open(&w, dir, e))
        return -1;
    char first[128];
    snprintf(first, sizeof first, "%s%s", family_prefix(f), embedding_name(f));
    /* GPT-2 was also saved from inside its outer class, where the names are shorter. */
    const char *prefix = f == FAMILY_GPT2 && shards_find(&w, first) < 0 ? "" : family_prefix(f);
    int parts;
    struct part *p = parts_of(m, f, prefix, &parts);
    int status = load_parts(m, &w, f, p, parts, e);
    mem_free(p);
    shards_close(&w);
    return status;
}

/* ---- writing ---- */

/* Two bytes hold less than a weight may be; it would be written as infinite. */
static int put_weights(struct st_writer *w, const struct part *p, const double *from, int64_t count, struct error *e)
{
    enum dtype dtype = w->entry[w->at].dtype;
    double limit = dtype == DTYPE_F16 ? 65520 : 0x1.ffp127; /* the first value that rounds to infinity */
    for (int64_t i = 0; dtype != DTYPE_F32 && i < count; i++)
        if (!(fabs(from[i]) < limit))
            return fail(e, "tensor '%s': a weight of %g does not fit %s; write F32", p->name, from[i],
                        dtype == DTYPE_F16 ? "F16" : "BF16");
    return st_put(w, from, count, e);
}

static int save_straight(struct st_writer *w, const struct model *m, const struct part *p, struct error *e)
{
    int at_once = rows_at_once(p), status = 0;
    double *from = mem_alloc((size_t)at_once * p->K, sizeof *from);
    for (int row = 0; row < p->rows && !status; row += at_once) {
        int rows = row + at_once <= p->rows ? at_once : p->rows - row;
        model_read(m, p->tensor, 0, p->row + row, rows, from);
        status = put_weights(w, p, from, (int64_t)rows * p->K, e);
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
        status = put_weights(w, p, to, (int64_t)columns * p->rows, e);
    }
    mem_free(from);
    mem_free(to);
    return status;
}

static int save_part(struct st_writer *w, const struct model *m, const struct part *p, struct error *e)
{
    return p->flipped ? save_flipped(w, m, p, e) : save_straight(w, m, p, e);
}

/* Parts [0, n) as one file. */
static int save_file(const struct model *m, const struct part *p, const struct st_entry *entry, int n, const char *path,
                     struct error *e)
{
    struct st_writer w;
    int status = st_create(&w, path, entry, n, "{\"format\":\"pt\"}", e); /* other programs ask for this format mark */
    for (int i = 0; i < n && !status; i++)
        status = save_part(&w, m, &p[i], e);
    if (!status)
        return st_commit(&w, e);
    st_abandon(&w);
    return -1;
}

/* Fills shards in order, each with at least one tensor and at most `bytes` if it has more (0: all in one). Returns
 * their number. */
static int cut_shards(const struct st_entry *entry, int n, int64_t bytes, int *shard)
{
    int count = 0;
    int64_t held = 0;
    for (int i = 0; i < n; i++) {
        int64_t size = st_entry_bytes(&entry[i]);
        if (i == 0 || (bytes > 0 && held + size > bytes)) {
            count++;
            held = 0;
        }
        held += size;
        shard[i] = count - 1;
    }
    return count;
}

static int save_shards(const struct model *m, const struct part *p, const struct st_entry *entry, const int *shard,
                       int n, int count, const char *dir, struct error *e)
{
    char path[1024], name[64];
    for (int first = 0, end; first < n; first = end) {
        for (end = first; end < n && shard[end] == shard[first];)
            end++;
        if (path_of(path, dir, shard_name(name, shard[first] + 1, count), e) ||
            save_file(m, p + first, entry + first, end - first, path, e))
            return -1;
    }
    return count > 1 ? shards_write_index(dir, entry, shard, n, count, e) : 0;
}

static int save_weights(const struct model *m, enum family f, const char *dir, enum dtype dtype, int64_t shard_bytes,
                        struct error *e)
{
    char path[1024];
    int parts;
    struct part *p = parts_of(m, f, family_prefix(f), &parts);
    struct st_entry *entry = mem_alloc((size_t)parts, sizeof *entry);
    int *shard = mem_alloc((size_t)parts, sizeof *shard);
    for (int i = 0; i < parts; i++) {
        memcpy(entry[i].name, p[i].name, sizeof entry[i].name);
        entry[i].dtype = dtype;
        entry[i].dims = shape_of(&p[i], entry[i].shape);
    }
    int count = cut_shards(entry, parts, shard_bytes, shard), status = path_of(path, dir, "model.safetensors", e);
    if (!status && count > 1 && file_size(path) >= 0)
        status = fail(e, "%s would be read in place of the shards; remove it first", path);
    if (!status)
        status = save_shards(m, p, entry, shard, parts, count, dir, e);
    mem_free(shard);
    mem_free(entry);
    mem_free(p);
    return status;
}

int checkpoint_export(const struct model *m, const char *dir, const struct token_ids *t, enum dtype dtype,
                      int64_t shard_bytes, struct error *e)
{
    char config[1024];
    enum family f;
    const char *name = dtype == DTYPE_F16 ? "float16" : dtype == DTYPE_BF16 ? "bfloat16" : "float32";
    if (family_of(&m->arch, &f, e) || path_of(config, dir, "config.json", e))
        return -1;
    if (!file_is_directory(dir))
        return fail(e, "%s is not a directory", dir);
    return save_weights(m, f, dir, dtype, shard_bytes, e) || config_write(&m->arch, f, t, name, config, e) ? -1 : 0;
}

int checkpoint_save(const struct model *m, const char *dir, const struct token_ids *t, struct error *e)
{
    return checkpoint_export(m, dir, t, DTYPE_F32, 0, e);
}
