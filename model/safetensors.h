/* The safetensors format: 8 bytes little-endian header length, a JSON header, raw data. Reading trusts nothing. */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H
#include <stddef.h>
#include <stdint.h>
#include "base/error.h"
#include "base/file.h"

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64, DTYPE_I64, DTYPE_I32, DTYPE_U8, DTYPES };
enum { MAX_DIMS = 8 };

struct st_tensor {
    const char *name;
    enum dtype dtype;
    int dims;
    int64_t shape[MAX_DIMS];
    int64_t count; /* elements */
    const unsigned char *data;
};
struct safetensors {
    char path[1024];
    const void *map;
    size_t map_len;
    struct st_tensor *tensor; /* sorted by name */
    int tensors;
    char *metadata; /* JSON text of "__metadata__", or NULL */
    void *header;   /* owns the names */
};
/* Maps and checks the whole header: offsets inside the file, no overlap, no hole, sizes that fit shape and dtype, names
 * unique. Messages name the file and the tensor. */
int safetensors_open(struct safetensors *s, const char *path, struct error *e);
void safetensors_close(struct safetensors *s);
const struct st_tensor *safetensors_find(const struct safetensors *s, const char *name); /* NULL: none */
/* As find, but fails naming file, tensor and both shapes unless it has exactly this shape and a floating dtype. */
const struct st_tensor *safetensors_need(const struct safetensors *s, const char *name, int dims, const int64_t *shape,
                                         struct error *e);
void st_read(const struct st_tensor *t, int64_t first, int64_t count, double *to); /* elements as doubles, any dtype */

/* Writing: describe every tensor, then give the data in the same order. All but I32 can be written; F16 and BF16 round
 * to nearest, ties to even, and what lies beyond their range becomes infinite. */
struct st_entry {
    char name[96];
    enum dtype dtype;
    int dims;
    int64_t shape[MAX_DIMS];
};
int64_t st_entry_bytes(const struct st_entry *n);
struct st_writer {
    struct file_writer file;
    const struct st_entry *entry;
    int entries, at;
    int64_t left;
};
int st_create(struct st_writer *w, const char *path, const struct st_entry *entry, int entries,
              const char *metadata_json, struct error *e);
/* the next count elements, converted to the entry's dtype; a tensor may be given in pieces */
int st_put(struct st_writer *w, const double *from, int64_t count, struct error *e);
int st_put_bytes(struct st_writer *w, const void *from, int64_t bytes, struct error *e); /* for I64 and U8 entries */
int st_commit(struct st_writer *w, struct error *e); /* dies when data is missing: a bug of ours */
void st_abandon(struct st_writer *w);

#endif
