/* model/safetensors: any bytes as a file. What is accepted can be read to its last element, and what is written from it
 * is read back with the same names, shapes and numbers.
 */
#include "fuzz.h"
#include <math.h>
#include "../../model/base/mem.h"
#include "../../model/safetensors.h"

enum { MOST = 1 << 16 }; /* elements looked at, of one tensor */

static int is_written(enum dtype d)
{
    return d != DTYPE_I32 && d != DTYPE_I64; /* the latter may hold more than a double */
}

static int same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static double *read_all(const struct st_tensor *t, int64_t *n)
{
    *n = t->count < MOST ? t->count : MOST;
    double *x = mem_alloc((size_t)*n, sizeof *x);
    st_read(t, t->count - *n, *n, x);
    return x;
}

static void look_at(const struct safetensors *s, const struct st_tensor *t)
{
    int64_t n, other[1] = {t->count + 1};
    struct error e = {""};
    mem_free(read_all(t, &n));
    must(safetensors_find(s, t->name) == t);
    int integer = t->dtype == DTYPE_I64 || t->dtype == DTYPE_I32 || t->dtype == DTYPE_U8;
    must((safetensors_need(s, t->name, t->dims, t->shape, &e) == t) == !integer);
    must(!safetensors_need(s, t->name, 1, other, &e));
    must_say_why(&e);
}

/* The tensors whose dtype is written, once more into a file of their own. */
static int write_again(const struct safetensors *s, struct st_entry *entry, const char *path)
{
    struct st_writer w;
    struct error e;
    int n = 0;
    for (int i = 0; i < s->tensors; i++) {
        const struct st_tensor *t = &s->tensor[i];
        if (!is_written(t->dtype) || t->count > MOST || strlen(t->name) >= sizeof entry->name)
            continue;
        struct st_entry *to = &entry[n++];
        *to = (struct st_entry){.dtype = t->dtype, .dims = t->dims};
        strcpy(to->name, t->name);
        memcpy(to->shape, t->shape, sizeof to->shape);
    }
    must(st_create(&w, path, entry, n, s->metadata, &e) == 0);
    for (int i = 0; i < n; i++) {
        int64_t count;
        double *x = read_all(safetensors_find(s, entry[i].name), &count);
        must(st_put(&w, x, count, &e) == 0);
        mem_free(x);
    }
    must(st_commit(&w, &e) == 0);
    return n;
}

static void compare(const struct safetensors *s, const struct st_entry *entry, int n, const char *path)
{
    struct safetensors again;
    struct error e;
    must(safetensors_open(&again, path, &e) == 0 && again.tensors == n);
    must(!again.metadata == !s->metadata && (!s->metadata || !strcmp(s->metadata, again.metadata)));
    for (int i = 0; i < n; i++) {
        const struct st_tensor *a = safetensors_find(s, entry[i].name), *b = safetensors_find(&again, entry[i].name);
        int64_t count, same;
        must(b && b->dtype == a->dtype && b->dims == a->dims && !memcmp(b->shape, a->shape, sizeof a->shape));
        double *x = read_all(a, &count), *y = read_all(b, &same);
        for (int64_t k = 0; k < count; k++)
            must(same_number(x[k], y[k]));
        mem_free(x);
        mem_free(y);
    }
    safetensors_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32], copy[64];
    struct safetensors s;
    struct error e = {""};
    int fd = memory_file(data, size, path);
    if (safetensors_open(&s, path, &e)) {
        must_say_why(&e);
        close(fd);
        return 0;
    }
    for (int i = 0; i < s.tensors; i++)
        look_at(&s, &s.tensor[i]);
    struct st_entry *entry = mem_alloc((size_t)s.tensors, sizeof *entry);
    snprintf(copy, sizeof copy, "/dev/shm/fuzz_safetensors.%ld", (long)getpid());
    int n = write_again(&s, entry, copy);
    compare(&s, entry, n, copy);
    unlink(copy);
    mem_free(entry);
    safetensors_close(&s);
    close(fd);
    return 0;
}
