/* model/checkpoint_shards: any text as model.safetensors.index.json beside two good shards, bytes after a zero as a
 * third one, c.safetensors. Without a text those bytes are pytorch_model.bin, and there is no index. Of what is
 * accepted every tensor is found, where the index says; written and read again it is the same.
 */
#include "fuzz.h"
#include "../../model/base/file.h"
#include "../../model/base/json.h"
#include "../../model/base/mem.h"
#include "../../model/checkpoint_inner.h"

static char in[64], out[64];

static void remove_folders(void)
{
    file_remove_directory(in, NULL);
    file_remove_directory(out, NULL);
}

static void path_of(char path[400], const char *dir, const char *name)
{
    snprintf(path, 400, "%s/%s", dir, name);
}

static void write_bytes(const char *name, const void *data, size_t size)
{
    char path[400];
    path_of(path, in, name);
    unlink(path);
    if (!size)
        return;
    FILE *f = fopen(path, "wb");
    must(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

/* Tensors first, first+1 of one letter each, two numbers in each. */
static void write_good(const char *name, char first)
{
    char path[400];
    const double x[2] = {1, 2};
    struct st_entry entry[2] = {{{first}, DTYPE_F32, 1, {2}}, {{(char)(first + 1)}, DTYPE_BF16, 2, {1, 2}}};
    struct st_writer w;
    path_of(path, in, name);
    must(!st_create(&w, path, entry, 2, NULL, NULL) && !st_put(&w, x, 2, NULL) && !st_put(&w, x, 2, NULL) &&
         !st_commit(&w, NULL));
}

static void make_folders(void)
{
    snprintf(in, sizeof in, "/dev/shm/fuzz_shards.XXXXXX");
    snprintf(out, sizeof out, "/dev/shm/fuzz_shards.XXXXXX");
    must(mkdtemp(in) && mkdtemp(out));
    atexit(remove_folders);
    write_good("a.safetensors", 'a');
    write_good("b.safetensors", 'c');
}

static void look_at(const struct shards *w, const char *index)
{
    struct error e;
    json_t *json = json_read(index, &e), *map = json_object_get(json, "weight_map");
    must(map && json_object_size(map) == (size_t)w->tensors);
    for (int i = 0; i < w->tensors; i++) {
        const struct st_tensor *t = w->tensor[i].t;
        const char *file = strrchr(w->file[w->tensor[i].file].path, '/') + 1;
        must(shards_find(w, t->name) == i && !strcmp(json_string_value(json_object_get(map, t->name)), file));
        int integer = t->dtype == DTYPE_I64 || t->dtype == DTYPE_I32 || t->dtype == DTYPE_U8;
        must(shards_need(w, t->name, t->dims, t->shape, &e) == (integer ? -1 : i));
    }
    must(shards_find(w, "") < 0 && shards_need(w, "none", 0, NULL, &e) < 0);
    must_say_why(&e);
    json_decref(json);
}

/* Shard number `file` of those of `entry` that lie in it. */
static void write_shard(const struct shards *w, int file)
{
    char path[400], name[64];
    struct safetensors *s = &w->file[file];
    struct st_entry *entry = mem_alloc((size_t)s->tensors, sizeof *entry);
    struct st_writer to;
    struct error e;
    for (int i = 0; i < s->tensors; i++) {
        entry[i] = (struct st_entry){.dtype = s->tensor[i].dtype, .dims = s->tensor[i].dims};
        snprintf(entry[i].name, sizeof entry->name, "%.95s", s->tensor[i].name);
        memcpy(entry[i].shape, s->tensor[i].shape, sizeof entry->shape);
    }
    path_of(path, out, shard_name(name, file + 1, w->files));
    must(st_create(&to, path, entry, s->tensors, NULL, &e) == 0);
    for (int i = 0; i < s->tensors; i++)
        must(st_put_bytes(&to, s->tensor[i].data, st_entry_bytes(&entry[i]), &e) == 0);
    must(st_commit(&to, &e) == 0);
    mem_free(entry);
}

static int can_be_written(const struct shards *w)
{
    for (int i = 0; i < w->tensors; i++)
        if (w->tensor[i].t->dtype == DTYPE_I32 || strlen(w->tensor[i].t->name) > 95)
            return 0;
    return 1;
}

static void round_trip(const struct shards *w)
{
    struct st_entry *entry = mem_alloc((size_t)w->tensors, sizeof *entry);
    int *shard = mem_alloc((size_t)w->tensors, sizeof *shard);
    struct shards again;
    struct error e = {""};
    long bytes;
    for (int i = 0; i < w->tensors; i++) {
        const struct st_tensor *t = w->tensor[i].t;
        entry[i] = (struct st_entry){.dtype = t->dtype, .dims = t->dims};
        snprintf(entry[i].name, sizeof entry->name, "%s", t->name);
        memcpy(entry[i].shape, t->shape, sizeof entry->shape);
        shard[i] = w->tensor[i].file;
    }
    must(file_remove_directory(out, &e) == 0 && file_make_directory(out, &e) == 0);
    for (int i = 0; i < w->files; i++)
        write_shard(w, i);
    must(w->files == 1 || shards_write_index(out, entry, shard, w->tensors, w->files, &e) == 0);
    must(shards_open(&again, out, &e) == 0 && shards_bytes(out, &bytes, &e) == 0 && bytes > 0);
    must(again.files == w->files && again.tensors == w->tensors);
    for (int i = 0; i < w->tensors; i++) {
        const struct st_tensor *a = w->tensor[i].t, *b = again.tensor[i].t;
        must(!strcmp(a->name, b->name) && a->dtype == b->dtype && again.tensor[i].file == w->tensor[i].file);
        must(!memcmp(a->data, b->data, (size_t)st_entry_bytes(&entry[i])));
    }
    shards_close(&again);
    mem_free(entry);
    mem_free(shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text, index[400];
    size_t text_len, rest_len;
    struct shards w;
    struct error e = {""};
    long bytes;
    if (!in[0])
        make_folders();
    const char *rest = cut_input(data, size, &text, &text_len, &rest_len);
    write_bytes("model.safetensors.index.json", text, text_len);
    write_bytes("c.safetensors", rest, text_len ? rest_len : 0);
    write_bytes("pytorch_model.bin", rest, text_len ? 0 : rest_len);
    free(text);
    path_of(index, in, "model.safetensors.index.json");
    int counted = shards_bytes(in, &bytes, &e) == 0;
    if (!counted)
        must_say_why(&e);
    if (shards_open(&w, in, &e)) {
        must_say_why(&e);
        return 0;
    }
    must(counted && text_len && bytes > 0);
    look_at(&w, index);
    if (can_be_written(&w))
        round_trip(&w);
    shards_close(&w);
    return 0;
}
