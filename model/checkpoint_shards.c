/* Files of weights: one model.safetensors, or several named by model.safetensors.index.json. Every one is mapped and
 * checked by safetensors.c; here it is made sure that together they are what the index says. Not here: what the tensors
 * mean.
 *
 * The index is {"metadata": {...}, "weight_map": {TENSOR: FILE, ...}}. Its metadata is not read: programs disagree on
 * what "total_size" counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "checkpoint_inner.h"

static const char single[] = "model.safetensors", index_name[] = "model.safetensors.index.json";
enum { MAX_SHARDS = 4096, MAX_TENSORS = 1 << 24 };

struct index {
    json_t *json;
    const json_t *map; /* tensor -> file */
    const char **file; /* each once, sorted; owned by json */
    int files;
};

static int path_of(char path[1024], const char *dir, const char *file, struct error *e)
{
    if (snprintf(path, 1024, "%s/%s", dir, file) >= 1024)
        return fail(e, "%.200s...: the path is too long", dir);
    return 0;
}

/* ---- the index ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What goes into messages has nothing that a terminal would act on. */
static int is_plain(const char *s)
{
    for (const char *c = s; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return 0;
    return *s != 0;
}

/* A file beside the index and nothing else: a path could lead anywhere. */
static int is_file_name(const char *s)
{
    static const char end[] = ".safetensors";
    size_t len = strlen(s), tail = sizeof end - 1;
    return is_plain(s) && len > tail && len <= 255 && !strcmp(s + len - tail, end) && !strchr(s, '/');
}

static int list_files(struct index *x, struct error *e)
{
    const char *tensor;
    json_t *v;
    int n = 0;
    if (!json_is_object(x->map) || !json_object_size(x->map))
        return fail(e, "no object \"weight_map\" that names a tensor");
    x->file = mem_alloc(json_object_size(x->map), sizeof *x->file);
    json_object_foreach((json_t *)x->map, tensor, v)
    {
        const char *name = json_string_value(v);
        if (!name || !is_file_name(name))
            return fail(e, "a value of \"weight_map\" is not the name of a .safetensors file beside the index");
        if (!is_plain(tensor))
            return fail(e, "a tensor name is empty or has control characters");
        x->file[n++] = name;
    }
    qsort(x->file, (size_t)n, sizeof *x->file, by_text);
    for (int i = 0; i < n; i++)
        if (!x->files || strcmp(x->file[i], x->file[x->files - 1]))
            x->file[x->files++] = x->file[i];
    return x->files > MAX_SHARDS ? fail(e, "names %d files, at most %d are read", x->files, MAX_SHARDS) : 0;
}

static void index_close(struct index *x)
{
    json_decref(x->json);
    mem_free(x->file);
}

static int index_open(struct index *x, const char *path, struct error *e)
{
    memset(x, 0, sizeof *x);
    x->json = json_read(path, e);
    if (!x->json)
        return -1;
    x->map = json_object_get(x->json, "weight_map");
    if (list_files(x, e)) {
        index_close(x);
        return fail_in(e, "%s", path);
    }
    return 0;
}

/* ---- all tensors in one list ---- */

static int by_name(const void *a, const void *b)
{
    const struct shard_tensor *x = a, *y = b;
    int order = strcmp(x->t->name, y->t->name);
    return order ? order : x->file - y->file;
}

static int list_tensors(struct shards *w, struct error *e)
{
    long n = 0;
    for (int i = 0; i < w->files; i++)
        n += w->file[i].tensors;
    if (n > MAX_TENSORS)
        return fail(e, "%s: %ld tensors, at most %d are read", w->path, n, MAX_TENSORS);
    w->tensor = mem_alloc((size_t)n, sizeof *w->tensor);
    for (int i = 0; i < w->files; i++)
        for (int k = 0; k < w->file[i].tensors; k++)
            w->tensor[w->tensors++] = (struct shard_tensor){&w->file[i].tensor[k], i};
    qsort(w->tensor, (size_t)n, sizeof *w->tensor, by_name);
    return 0;
}

/* File i is x->file[i]. Every tensor lies where the index says, and there are as many as it names: so each of those is
 * there, once. */
static int check_index(const struct shards *w, const struct index *x, struct error *e)
{
    const char *name;
    json_t *v;
    for (int i = 0; i < w->tensors; i++) {
        const char *has = x->file[w->tensor[i].file];
        const char *says = json_string_value(json_object_get(x->map, w->tensor[i].t->name));
        if (!says)
            return fail(e, "does not name tensor '%.200s', which lies in %s", w->tensor[i].t->name, has);
        if (strcmp(says, has))
            return fail(e, "says that tensor '%.200s' lies in %s, but %s holds one", w->tensor[i].t->name, says, has);
    }
    json_object_foreach((json_t *)x->map, name, v)
    {
        if (shards_find(w, name) < 0)
            return fail(e, "names tensor '%.200s', which %s does not hold", name, json_string_value(v));
    }
    return 0;
}

static int open_files(struct shards *w, const char *dir, const char *const *name, int files, struct error *e)
{
    char path[1024];
    w->file = mem_alloc((size_t)files, sizeof *w->file);
    for (; w->files < files; w->files++)
        if (path_of(path, dir, name[w->files], e) || safetensors_open(&w->file[w->files], path, e))
            return -1;
    return list_tensors(w, e);
}

static int open_index(struct shards *w, const char *dir, struct error *e)
{
    struct index x;
    if (index_open(&x, w->path, e))
        return -1;
    int status = open_files(w, dir, x.file, x.files, e);
    if (!status && check_index(w, &x, e))
        status = fail_in(e, "%s", w->path);
    index_close(&x);
    return status;
}

static int is_there(const char *dir, const char *file)
{
    char path[1024];
    return !path_of(path, dir, file, NULL) && file_size(path) >= 0;
}

int shards_open(struct shards *w, const char *dir, struct error *e)
{
    static const char *const one[] = {single};
    memset(w, 0, sizeof *w);
    int sharded = !is_there(dir, single) && is_there(dir, index_name);
    if (path_of(w->path, dir, sharded ? index_name : single, e))
        return -1;
    if (!sharded && !is_there(dir, single) && is_there(dir, "pytorch_model.bin"))
        return fail(e, "%s: no model.safetensors, only pytorch_model.bin; save the model as safetensors", dir);
    int status = sharded ? open_index(w, dir, e) : open_files(w, dir, one, 1, e);
    if (status)
        shards_close(w);
    return status;
}

void shards_close(struct shards *w)
{
    for (int i = 0; i < w->files; i++)
        safetensors_close(&w->file[i]);
    mem_free(w->file);
    mem_free(w->tensor);
    memset(w, 0, sizeof *w);
}

int shards_find(const struct shards *w, const char *name)
{
    struct st_tensor t = {.name = name};
    int low = 0, high = w->tensors;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(w->tensor[middle].t->name, t.name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < w->tensors && !strcmp(w->tensor[low].t->name, name) ? low : -1;
}

int shards_need(const struct shards *w, const char *name, int dims, const int64_t *shape, struct error *e)
{
    int i = shards_find(w, name);
    if (i < 0 && w->files > 1)
        return fail(e, "%s: no tensor '%.200s'", w->path, name);
    return safetensors_need(&w->file[i < 0 ? 0 : w->tensor[i].file], name, dims, shape, e) ? i : -1;
}

int shards_bytes(const char *dir, long *bytes, struct error *e)
{
    char path[1024];
    struct index x;
    *bytes = -1;
    if (path_of(path, dir, single, e))
        return -1;
    *bytes = file_size(path);
    if (*bytes >= 0 || !is_there(dir, index_name))
        return 0;
    if (path_of(path, dir, index_name, e) || index_open(&x, path, e))
        return -1;
    *bytes = 0;
    for (int i = 0; i < x.files; i++) {
        long size = path_of(path, dir, x.file[i], NULL) ? 0 : file_size(path);
        *bytes += size > 0 ? size : 0; /* what is missing is said when the weights are opened */
    }
    index_close(&x);
    return 0;
}

/* ---- writing ---- */

const char *shard_name(char buf[64], int number, int count)
{
    if (count == 1)
        return single;
    snprintf(buf, 64, "model-%05d-of-%05d.safetensors", number, count);
    return buf;
}

int shards_write_index(const char *dir, const struct st_entry *entry, const int *shard, int n, int count,
                       struct error *e)
{
    char path[1024], name[64];
    json_int_t total = 0;
    json_t *index = json_object(), *metadata = json_object(), *map = json_object();
    for (int i = 0; i < n; i++) {
        total += st_entry_bytes(&entry[i]);
        json_object_set_new(map, entry[i].name, json_string(shard_name(name, shard[i] + 1, count)));
    }
    json_object_set_new(metadata, "total_size", json_integer(total));
    json_object_set_new(index, "metadata", metadata);
    json_object_set_new(index, "weight_map", map);
    int status = path_of(path, dir, index_name, e) || json_write(path, index, e) ? -1 : 0;
    json_decref(index);
    return status;
}
