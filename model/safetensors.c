/* Reading and writing the safetensors format.
 *
 * The file is mapped and its header checked completely before anything is handed out, so that whoever holds a
 * struct st_tensor may read all of it without a further test. Not here: what the tensors mean (checkpoint.c).
 * A dtype is added by a row in `dtypes`, a case in st_read and, if it is to be written, one in put_chunk.
 *
 * Data is little-endian and may lie at any byte offset (old files have headers of any length), so elements are copied
 * out, never read through a cast pointer.
 */
#include "safetensors.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are copied as they lie in the file");

enum {
    LENGTH_BYTES = 8,
    MAX_HEADER = 100 * 1000 * 1000, /* the limit of the format's own library */
    CHUNK = 4096                    /* elements converted at a time */
};

static const struct {
    const char *name;
    int bytes;
} dtypes[DTYPES] = {
    [DTYPE_F32] = {"F32", 4}, [DTYPE_F16] = {"F16", 2}, [DTYPE_BF16] = {"BF16", 2}, [DTYPE_F64] = {"F64", 8},
    [DTYPE_I64] = {"I64", 8}, [DTYPE_I32] = {"I32", 4}, [DTYPE_U8] = {"U8", 1},
};

/* A span of the data section, to prove that the tensors tile it. */
struct extent {
    uint64_t begin, end;
    const char *name;
};

/* ---- reading the header ---- */

static int dtype_find(const char *name)
{
    for (int i = 0; i < DTYPES; i++)
        if (!strcmp(name, dtypes[i].name))
            return i;
    return strcmp(name, "BOOL") ? -1 : DTYPE_U8; /* masks: one byte, 0 or 1 */
}

/* Names go into messages and are compared with ours; anything a terminal would act on has no business in one. */
static int name_is_plain(const char *s)
{
    if (!*s)
        return 0;
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return 0;
    return 1;
}

/* Elements of a shape, -1 when the product or a dimension is absurd. */
static int64_t shape_count(int dims, const int64_t *shape)
{
    int64_t n = 1;
    for (int i = 0; i < dims; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(n, shape[i], &n))
            return -1;
    return n;
}

static int read_shape(struct st_tensor *t, const json_t *v, struct error *e)
{
    const json_t *shape = json_object_get(v, "shape");
    if (!json_is_array(shape))
        return fail(e, "no array 'shape'");
    if (json_array_size(shape) > MAX_DIMS)
        return fail(e, "shape has %zu dimensions, at most %d are read", json_array_size(shape), MAX_DIMS);
    t->dims = (int)json_array_size(shape);
    for (int i = 0; i < t->dims; i++) {
        const json_t *n = json_array_get(shape, i);
        if (!json_is_integer(n) || json_integer_value(n) < 0)
            return fail(e, "dimension %d of the shape is not a non-negative integer", i);
        t->shape[i] = json_integer_value(n);
    }
    t->count = shape_count(t->dims, t->shape);
    if (t->count < 0)
        return fail(e, "the product of the shape overflows");
    return 0;
}

static int read_offsets(struct extent *x, const json_t *v, uint64_t data_bytes, struct error *e)
{
    const json_t *o = json_object_get(v, "data_offsets");
    if (!json_is_array(o) || json_array_size(o) != 2 || !json_is_integer(json_array_get(o, 0)) ||
        !json_is_integer(json_array_get(o, 1)))
        return fail(e, "'data_offsets' is not an array of two integers");
    json_int_t begin = json_integer_value(json_array_get(o, 0)), end = json_integer_value(json_array_get(o, 1));
    if (begin < 0 || end < begin)
        return fail(e, "data_offsets [%lld, %lld] are not a range", (long long)begin, (long long)end);
    if ((uint64_t)end > data_bytes)
        return fail(e, "data_offsets end at byte %lld, but the file holds only %llu bytes of data (is it truncated?)",
                    (long long)end, (unsigned long long)data_bytes);
    x->begin = (uint64_t)begin;
    x->end = (uint64_t)end;
    return 0;
}

static int read_tensor(struct st_tensor *t, struct extent *x, const json_t *v, uint64_t data_bytes, struct error *e)
{
    if (!json_is_object(v))
        return fail(e, "not an object");
    const char *dtype = json_string_value(json_object_get(v, "dtype"));
    if (!dtype)
        return fail(e, "no string 'dtype'");
    int found = dtype_find(dtype);
    if (found < 0)
        return fail(e, "dtype '%.20s' is not read (F32, F16, BF16, F64, I64, I32, U8 and BOOL are)",
                    name_is_plain(dtype) ? dtype : "?");
    t->dtype = (enum dtype)found;
    if (read_shape(t, v, e) || read_offsets(x, v, data_bytes, e))
        return -1;
    int64_t bytes;
    if (__builtin_mul_overflow(t->count, (int64_t)dtypes[t->dtype].bytes, &bytes))
        return fail(e, "its size in bytes overflows");
    if ((uint64_t)bytes != x->end - x->begin)
        return fail(e, "shape and dtype %s make %lld bytes, data_offsets make %llu", dtypes[t->dtype].name,
                    (long long)bytes, (unsigned long long)(x->end - x->begin));
    if (json_object_size(v) != 3)
        return fail(e, "has members besides dtype, shape and data_offsets");
    return 0;
}

static int by_begin(const void *pa, const void *pb)
{
    const struct extent *a = pa, *b = pb;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end); /* empty tensors first */
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct st_tensor *)a)->name, ((const struct st_tensor *)b)->name);
}

/* Every byte of data belongs to exactly one tensor. */
static int check_tiling(struct extent *x, int n, uint64_t data_bytes, struct error *e)
{
    qsort(x, n, sizeof *x, by_begin);
    uint64_t at = 0;
    for (int i = 0; i < n; i++) {
        if (x[i].begin < at)
            return fail(e, "tensor '%.200s': begins at data byte %llu inside tensor '%.200s'", x[i].name,
                        (unsigned long long)x[i].begin, x[i - 1].name);
        if (x[i].begin > at)
            return fail(e, "tensor '%.200s': %llu bytes before it (from data byte %llu) belong to no tensor", x[i].name,
                        (unsigned long long)(x[i].begin - at), (unsigned long long)at);
        at = x[i].end;
    }
    if (at != data_bytes)
        return fail(e, "the last %llu bytes belong to no tensor", (unsigned long long)(data_bytes - at));
    return 0;
}

static int read_metadata(struct safetensors *s, const json_t *v, struct error *e)
{
    if (!json_is_object(v))
        return fail(e, "'__metadata__' is not an object");
    const char *key;
    json_t *text;
    json_object_foreach((json_t *)v, key, text) if (!json_is_string(text)) return fail(
        e, "'__metadata__' holds a value that is not a string");
    s->metadata = json_text(v);
    return 0;
}

/* Fills s->tensor from the parsed header; x has room for all members of it. */
static int read_tensors(struct safetensors *s, struct extent *x, const unsigned char *data, uint64_t bytes,
                        struct error *e)
{
    const char *name;
    json_t *v;
    json_object_foreach(s->header, name, v)
    {
        if (!strcmp(name, "__metadata__")) {
            if (read_metadata(s, v, e))
                return -1;
            continue;
        }
        if (!name_is_plain(name))
            return fail(e, "a tensor name is empty or has control characters");
        struct st_tensor *t = &s->tensor[s->tensors];
        if (read_tensor(t, &x[s->tensors], v, bytes, e))
            return fail_in(e, "tensor '%.200s'", name);
        t->name = x[s->tensors].name = name;
        t->data = data + x[s->tensors].begin;
        s->tensors++;
    }
    return 0;
}

static int read_header(struct safetensors *s, struct error *e)
{
    const unsigned char *file = s->map;
    uint64_t len;
    if (s->map_len < LENGTH_BYTES)
        return fail(e, "only %zu bytes, not a safetensors file", s->map_len);
    memcpy(&len, file, LENGTH_BYTES);
    if (len > MAX_HEADER)
        return fail(e, "header of %llu bytes, at most %d are read: not a safetensors file?", (unsigned long long)len,
                    (int)MAX_HEADER);
    if (len > s->map_len - LENGTH_BYTES)
        return fail(e, "header of %llu bytes does not fit the file of %zu bytes (is it truncated?)",
                    (unsigned long long)len, s->map_len);
    if (len < 2 || file[LENGTH_BYTES] != '{')
        return fail(e, "the header does not begin with '{': not a safetensors file?");
    s->header = json_parse((const char *)file + LENGTH_BYTES, len, e);
    if (!s->header)
        return fail_in(e, "header");
    if (!json_is_object((json_t *)s->header))
        return fail(e, "header is not an object");
    size_t members = json_object_size(s->header);
    uint64_t bytes = s->map_len - LENGTH_BYTES - len;
    struct extent *x = mem_alloc(members, sizeof *x);
    s->tensor = mem_alloc(members, sizeof *s->tensor);
    int status = read_tensors(s, x, file + LENGTH_BYTES + len, bytes, e);
    if (!status)
        status = check_tiling(x, s->tensors, bytes, e);
    mem_free(x);
    qsort(s->tensor, s->tensors, sizeof *s->tensor, by_name);
    return status;
}

int safetensors_open(struct safetensors *s, const char *path, struct error *e)
{
    memset(s, 0, sizeof *s);
    if (snprintf(s->path, sizeof s->path, "%s", path) >= (int)sizeof s->path)
        return fail(e, "%.200s...: the path is too long", path);
    s->map = file_map(path, &s->map_len, e);
    if (!s->map)
        return -1;
    if (read_header(s, e)) {
        safetensors_close(s);
        return fail_in(e, "%s", path);
    }
    return 0;
}

void safetensors_close(struct safetensors *s)
{
    if (s->map)
        file_unmap(s->map, s->map_len);
    json_decref(s->header);
    mem_free(s->tensor);
    free(s->metadata); /* allocated by Jansson */
    memset(s, 0, sizeof *s);
}

/* ---- tensors ---- */

const struct st_tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    struct st_tensor key = {.name = name};
    return s->tensors ? bsearch(&key, s->tensor, s->tensors, sizeof key, by_name) : NULL;
}

static const char *shape_text(char buf[200], int dims, const int64_t *shape)
{
    int n = snprintf(buf, 200, "[");
    for (int i = 0; i < dims; i++)
        n += snprintf(buf + n, 200 - n, "%s%lld", i ? ", " : "", (long long)shape[i]);
    snprintf(buf + n, 200 - n, "]");
    return buf;
}

const struct st_tensor *safetensors_need(const struct safetensors *s, const char *name, int dims, const int64_t *shape,
                                         struct error *e)
{
    char has[200], wants[200];
    const struct st_tensor *t = safetensors_find(s, name);
    if (!t) {
        fail(e, "%s: no tensor '%.200s' (shape %s wanted)", s->path, name, shape_text(wants, dims, shape));
        return NULL;
    }
    if (t->dims != dims || memcmp(t->shape, shape, dims * sizeof *shape)) {
        fail(e, "%s: tensor '%.200s' has shape %s, %s wanted", s->path, name, shape_text(has, t->dims, t->shape),
             shape_text(wants, dims, shape));
        return NULL;
    }
    if (t->dtype == DTYPE_I64 || t->dtype == DTYPE_I32 || t->dtype == DTYPE_U8) {
        fail(e, "%s: tensor '%.200s' has dtype %s, a floating one wanted", s->path, name, dtypes[t->dtype].name);
        return NULL;
    }
    return t;
}

static double from_bits(uint32_t bits) /* of a binary32 */
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits; every value is exact as a double. */
static double from_f16(uint16_t h)
{
    uint32_t exponent = h >> 10 & 31, fraction = h & 1023, sign = (uint32_t)(h >> 15) << 31;
    if (exponent == 0)
        return from_bits(sign | 0x33800000) * fraction; /* 2^-24 */
    exponent = exponent == 31 ? 255 : exponent + 127 - 15;
    return from_bits(sign | exponent << 23 | fraction << 13);
}

static double from_bf16(uint16_t h) /* the upper half of a binary32 */
{
    return from_bits((uint32_t)h << 16);
}

void st_read(const struct st_tensor *t, int64_t first, int64_t count, double *to)
{
    if (first < 0 || count < 0 || first > t->count || count > t->count - first)
        die("tensor '%s': elements %lld + %lld of %lld", t->name, (long long)first, (long long)count,
            (long long)t->count);
    const unsigned char *p = t->data + first * dtypes[t->dtype].bytes;
/* One loop a dtype, so that none of them decides anything for an element. */
#define READ(type, value)                                                                                              \
    for (int64_t i = 0; i < count; i++) {                                                                              \
        type v;                                                                                                        \
        memcpy(&v, p + i * (int64_t)sizeof v, sizeof v);                                                               \
        to[i] = value;                                                                                                 \
    }                                                                                                                  \
    break
    switch (t->dtype) {
    case DTYPE_F32:
        READ(float, v);
    case DTYPE_F16:
        READ(uint16_t, from_f16(v));
    case DTYPE_BF16:
        READ(uint16_t, from_bf16(v));
    case DTYPE_F64:
        READ(double, v);
    case DTYPE_I64:
        READ(int64_t, (double)v);
    case DTYPE_I32:
        READ(int32_t, v);
    default:
        READ(uint8_t, v);
    }
#undef READ
}

/* ---- writing ---- */

int64_t st_entry_bytes(const struct st_entry *n)
{
    int64_t count = n->dims < 0 || n->dims > MAX_DIMS ? -1 : shape_count(n->dims, n->shape), bytes;
    if (n->dtype == DTYPE_I32)
        die("tensor '%s': a dtype that is not written", n->name);
    if (count < 0 || __builtin_mul_overflow(count, (int64_t)dtypes[n->dtype].bytes, &bytes))
        die("tensor '%s': absurd shape", n->name);
    return bytes;
}

/* The header's text: metadata first, then the entries in order. */
static char *header_text(const struct st_entry *entry, int entries, json_t *metadata)
{
    json_t *header = json_object();
    if (metadata)
        json_object_set(header, "__metadata__", metadata);
    int64_t at = 0;
    for (int i = 0; i < entries; i++) {
        json_t *shape = json_array();
        for (int d = 0; d < entry[i].dims; d++)
            json_array_append_new(shape, json_integer(entry[i].shape[d]));
        int64_t end = at + st_entry_bytes(&entry[i]);
        json_t *v = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtypes[entry[i].dtype].name, "shape", shape,
                              "data_offsets", (json_int_t)at, (json_int_t)end);
        if (!v || json_object_get(header, entry[i].name) || json_object_set_new(header, entry[i].name, v))
            die("tensor '%s' cannot be described, or is named twice", entry[i].name);
        at = end;
    }
    char *text = json_text(header);
    json_decref(header);
    return text;
}

/* Steps over finished entries, so that w->left > 0 or all is written. */
static void next_entry(struct st_writer *w)
{
    while (!w->left && w->at < w->entries && ++w->at < w->entries)
        w->left = st_entry_bytes(&w->entry[w->at]);
}

int st_create(struct st_writer *w, const char *path, const struct st_entry *entry, int entries,
              const char *metadata_json, struct error *e)
{
    *w = (struct st_writer){.entry = entry, .entries = entries, .at = -1, .file = {.fd = -1, .failed = 1}};
    json_t *metadata = NULL;
    if (metadata_json && !(metadata = json_parse(metadata_json, strlen(metadata_json), e)))
        return fail_in(e, "%s: metadata", path);
    char *text = header_text(entry, entries, metadata);
    json_decref(metadata);
    size_t len = strlen(text);
    uint64_t padded = (len + 7) / 8 * 8; /* so that data begins at a multiple of 8 */
    char pad[8] = "        ";
    next_entry(w);
    int status = file_create(&w->file, path, e) || file_put(&w->file, &padded, sizeof padded, e) ||
                 file_put(&w->file, text, len, e) || file_put(&w->file, pad, padded - len, e);
    free(text);
    return status ? -1 : 0;
}

/* Rounded to nearest, ties to even; beyond the largest value infinite, as the standard says. Exact below it: a double
 * is rounded once. */
static uint16_t to_f16(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    double a = fabs(x);
    int exponent;
    if (!(a < 65520)) /* halfway from the largest value to the next power of two */
        return sign | (isnan(x) ? 0x7e00 : 0x7c00);
    if (a < 0x1p-14)
        return sign | (uint16_t)rint(a * 0x1p24);
    double fraction = rint(frexp(a, &exponent) * 2048); /* 1024 to 2048, which carries into the exponent */
    return sign | (uint16_t)((exponent + 14 - 1) * 1024 + (int)fraction);
}

/* The same; x is a weight, which single precision holds exactly. */
static uint16_t to_bf16(double x)
{
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isnan(x))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void put_halves(unsigned char *to, enum dtype dtype, const double *from, int count)
{
    for (int i = 0; i < count; i++) {
        uint16_t h = dtype == DTYPE_F16 ? to_f16(from[i]) : to_bf16(from[i]);
        memcpy(to + 2 * i, &h, 2);
    }
}

static void put_integers(unsigned char *to, enum dtype dtype, const double *from, int count)
{
    for (int i = 0; i < count; i++) {
        if (!(from[i] == floor(from[i]) && fabs(from[i]) <= 9007199254740992.0) ||
            (dtype == DTYPE_U8 && !(from[i] >= 0 && from[i] <= 255)))
            die("%g does not fit an integer tensor", from[i]);
        int64_t i64 = (int64_t)from[i];
        if (dtype == DTYPE_I64)
            memcpy(to + 8 * i, &i64, 8);
        else
            to[i] = (unsigned char)i64;
    }
}

/* Up to CHUNK elements in the dtype; returns their bytes. */
static size_t put_chunk(unsigned char *to, enum dtype dtype, const double *from, int count)
{
    if (dtype == DTYPE_F64)
        memcpy(to, from, (size_t)count * 8);
    else if (dtype == DTYPE_F16 || dtype == DTYPE_BF16)
        put_halves(to, dtype, from, count);
    else if (dtype != DTYPE_F32)
        put_integers(to, dtype, from, count);
    for (int i = 0; dtype == DTYPE_F32 && i < count; i++) {
        float f32 = (float)from[i];
        memcpy(to + 4 * i, &f32, 4);
    }
    return (size_t)count * dtypes[dtype].bytes;
}

int st_put_bytes(struct st_writer *w, const void *from, int64_t bytes, struct error *e)
{
    if (bytes < 0 || bytes > w->left)
        die("%s: %lld bytes where %lld are left of the tensor", w->file.path, (long long)bytes, (long long)w->left);
    if (bytes && file_put(&w->file, from, bytes, e))
        return -1;
    w->left -= bytes;
    next_entry(w);
    return 0;
}

int st_put(struct st_writer *w, const double *from, int64_t count, struct error *e)
{
    unsigned char buf[CHUNK * 8];
    while (count > 0) {
        if (w->at >= w->entries)
            die("%s: more data than entries", w->file.path);
        int n = count < CHUNK ? (int)count : CHUNK;
        size_t bytes = put_chunk(buf, w->entry[w->at].dtype, from, n);
        if (count * dtypes[w->entry[w->at].dtype].bytes > w->left)
            die("%s: data for tensor '%s' crosses its end", w->file.path, w->entry[w->at].name);
        if (st_put_bytes(w, buf, bytes, e))
            return -1;
        from += n;
        count -= n;
    }
    return 0;
}

int st_commit(struct st_writer *w, struct error *e)
{
    if (w->at < w->entries)
        die("%s: tensor '%s' lacks %lld bytes", w->file.path, w->entry[w->at].name, (long long)w->left);
    return file_commit(&w->file, e);
}

void st_abandon(struct st_writer *w)
{
    file_abandon(&w->file);
}
