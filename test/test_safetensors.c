/* model/safetensors: every way in which a header can lie is refused with file, tensor and reason; every dtype is read
 * exactly; what is written is the format byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../model/base/json.h"
#include "../model/base/mem.h"
#include "../model/safetensors.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

#define FOLDER "/tmp/test_safetensors.XXXXXX"
#include "folder.h"

/* A file of that header text and `data` bytes 0, 1, 2 ... */
static void write_file(const char *path, const char *header, size_t data)
{
    struct text t = {0};
    uint64_t len = strlen(header);
    text_add(&t, (const char *)&len, 8);
    text_add(&t, header, -1);
    for (size_t i = 0; i < data; i++)
        text_add(&t, &(char){(char)i}, 1);
    assert_int_equal(file_write(path, t.s, (size_t)t.len, NULL), 0);
    text_free(&t);
}

static void expect_refused(const char *path, const char *reason, const char *what)
{
    struct safetensors s;
    struct error e = {""};
    if (safetensors_open(&s, path, &e) != -1)
        fail_msg("%s was accepted", what);
    if (!strstr(e.text, path) || !strstr(e.text, reason))
        fail_msg("%s: the message \"%s\" lacks the path or \"%s\"", what, e.text, reason);
}

#define ONE(dtype, shape, offsets) "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(a, b)                                                                                                      \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" a "},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"          \
    "\"data_offsets\":" b "}}"

static void test_headers_that_lie(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *reason;
    } cases[] = {
        {"not json at all", 0, "does not begin with '{'"},
        {"[1, 2]", 0, "does not begin with '{'"},
        {"{", 0, "does not begin with '{'"},
        {"{\"w\":", 0, "header"},
        {"{} trailing", 0, "header"},
        {"{\"w\":5}", 0, "tensor 'w': not an object"},
        {"{\"w\":{}}", 0, "tensor 'w': no string 'dtype'"},
        {ONE("4", "[2]", "[0,8]"), 8, "no string 'dtype'"},
        {ONE("\"I8\"", "[8]", "[0,8]"), 8, "dtype 'I8'"},
        {ONE("\"f32\"", "[2]", "[0,8]"), 8, "dtype 'f32'"},
        {ONE("\"F32\"", "2", "[0,8]"), 8, "no array 'shape'"},
        {ONE("\"F32\"", "[-2]", "[0,8]"), 8, "dimension 0"},
        {ONE("\"F32\"", "[2.0]", "[0,8]"), 8, "dimension 0"},
        {ONE("\"F32\"", "[1,\"2\"]", "[0,8]"), 8, "dimension 1"},
        {ONE("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, "9 dimensions"},
        {ONE("\"F32\"", "[4294967296,4294967296]", "[0,8]"), 8, "product of the shape overflows"},
        {ONE("\"F32\"", "[4611686018427387904]", "[0,8]"), 8, "size in bytes overflows"},
        {ONE("\"F32\"", "[99999999999999999999]", "[0,8]"), 8, "header"},
        {ONE("\"F32\"", "[1000000000000]", "[0,8]"), 8, "tensor 'w': shape and dtype F32"},
        {ONE("\"F32\"", "[2]", "[0]"), 8, "'data_offsets'"},
        {ONE("\"F32\"", "[2]", "[0,\"8\"]"), 8, "'data_offsets'"},
        {ONE("\"F32\"", "[2]", "[8,0]"), 8, "are not a range"},
        {ONE("\"F32\"", "[2]", "[-8,0]"), 8, "are not a range"},
        {ONE("\"F32\"", "[2]", "[0,8]"), 7, "truncated"},
        {ONE("\"F32\"", "[2]", "[0,9223372036854775807]"), 8, "truncated"},
        {ONE("\"F32\"", "[2]", "[0,4]"), 8, "data_offsets make 4"},
        {ONE("\"F16\"", "[2]", "[0,8]"), 8, "data_offsets make 8"},
        {ONE("\"F32\"", "[2]", "[0,8]"), 12, "the last 4 bytes belong to no tensor"},
        {ONE("\"F32\"", "[2]", "[1,9]"), 9, "1 bytes before it"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, "members besides"},
        {TWO("[0,8]", "[4,12]"), 12, "tensor 'b': begins at data byte 4 inside tensor 'a'"},
        {TWO("[0,8]", "[0,8]"), 8, "inside tensor"},
        {TWO("[0,8]", "[12,20]"), 20, "tensor 'b': 4 bytes before it"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         2, "duplicate"},
        {"{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "name is empty"},
        {"{\"a\\u001b[2J\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "control characters"},
        {"{\"__metadata__\":[]}", 0, "'__metadata__' is not an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "not a string"},
        {"{}", 5, "the last 5 bytes"},
    };
    char path[256];
    in_folder(path, "x.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(path, cases[i].header, cases[i].data);
        expect_refused(path, cases[i].reason, cases[i].header);
    }
}

static void test_files_that_are_none(void **state)
{
    (void)state;
    char path[256];
    in_folder(path, "x.safetensors");
    const struct {
        unsigned char bytes[16];
        size_t len;
        const char *reason;
    } cases[] = {
        {{0}, 0, "empty"},
        {{2, 0, 0}, 3, "only 3 bytes"},
        {{0, 0, 0, 0, 0, 0, 0, 0}, 8, "does not begin"},
        {{1, 0, 0, 0, 0, 0, 0, 0, '{'}, 9, "does not begin"},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, "truncated"},
        {{255, 255, 255, 255, 255, 255, 255, 255, '{', '}'}, 10, "at most"},
        {{255, 255, 255, 255, 255, 255, 255, 127, '{', '}'}, 10, "at most"},
        {{2, 0, 0, 0, 0, 0, 0, 0, '{', 0}, 10, "header"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(file_write(path, cases[i].bytes, cases[i].len, NULL), 0);
        expect_refused(path, cases[i].reason, cases[i].reason);
    }
    expect_refused(folder, "", "a directory");
    expect_refused("/dev/zero", "", "a device");
    expect_refused(in_folder(path, "missing"), "", "a missing file");
}

/* Nesting must end in a message, not in the end of the stack. */
static void test_deep_header(void **state)
{
    (void)state;
    char path[256];
    struct text t = {0};
    text_add(&t, "{\"w\":", -1);
    for (int i = 0; i < 200000; i++)
        text_add(&t, "[", 1);
    write_file(in_folder(path, "x.safetensors"), t.s, 0);
    text_free(&t);
    expect_refused(path, "header", "200,000 brackets");
}

/* Every prefix of a good file is refused, and the whole of it is read. */
static void test_truncations(void **state)
{
    (void)state;
    char path[256];
    struct safetensors s;
    struct error e;
    size_t len;
    write_file(in_folder(path, "x.safetensors"), TWO("[0,8]", "[8,16]"), 16);
    char *whole = file_read(path, 1 << 20, &len, &e);
    assert_int_equal(safetensors_open(&s, path, &e), 0);
    safetensors_close(&s);
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(file_write(path, whole, cut, NULL), 0);
        assert_int_equal(safetensors_open(&s, path, &e), -1);
    }
    mem_free(whole);
}

/* A header of odd length and a tensor after an odd byte: nothing is aligned, all is read. */
static void test_unaligned(void **state)
{
    (void)state;
    char path[256];
    struct safetensors s;
    struct error e;
    double v[2];
    write_file(
        in_folder(path, "x.safetensors"),
        "{\"m\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[0,1]},\"none\":{\"dtype\":\"F64\",\"shape\":[0,7],"
        "\"data_offsets\":[1,1]},\"w\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[1,5]}}  ",
        5);
    assert_int_equal(safetensors_open(&s, path, &e), 0);
    assert_int_equal(s.tensors, 3);
    assert_int_equal(safetensors_find(&s, "none")->count, 0);
    assert_int_equal(safetensors_find(&s, "w")->count, 1);
    st_read(safetensors_find(&s, "w"), 0, 1, v);
    assert_true(v[0] == 0x04030201);
    assert_null(safetensors_find(&s, "x"));
    safetensors_close(&s);
}

static void test_need(void **state)
{
    (void)state;
    char path[256];
    struct safetensors s;
    struct error e;
    write_file(in_folder(path, "x.safetensors"),
               "{\"i\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
               "\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[16,40]}}",
               40);
    assert_int_equal(safetensors_open(&s, path, &e), 0);
    assert_non_null(safetensors_need(&s, "w", 2, (int64_t[]){2, 3}, &e));
    assert_null(safetensors_need(&s, "w", 2, (int64_t[]){3, 2}, &e));
    assert_non_null(strstr(e.text, "'w' has shape [2, 3], [3, 2] wanted"));
    assert_null(safetensors_need(&s, "w", 1, (int64_t[]){2}, &e));
    assert_null(safetensors_need(&s, "i", 1, (int64_t[]){2}, &e));
    assert_non_null(strstr(e.text, "dtype I64"));
    assert_null(safetensors_need(&s, "v", 1, (int64_t[]){2}, &e));
    assert_non_null(strstr(e.text, "no tensor 'v' (shape [2] wanted)"));
    safetensors_close(&s);
}

/* ---- dtypes ---- */

static struct st_tensor tensor_of(enum dtype dtype, const void *data, int64_t count)
{
    return (struct st_tensor){.name = "t", .dtype = dtype, .dims = 1, .shape = {count}, .count = count, .data = data};
}

/* All 65536 halves, from the definition's other end: zero is zero, and each step upwards adds the unit of its exponent.
 */
static void test_f16(void **state)
{
    (void)state;
    static uint16_t bits[65536];
    static double v[65536];
    for (int i = 0; i < 65536; i++)
        bits[i] = (uint16_t)i;
    struct st_tensor t = tensor_of(DTYPE_F16, bits, 65536);
    st_read(&t, 0, 65536, v);
    double want = 0, unit = ldexp(1, -24);
    for (int i = 0; i < 0x7c00; i++, want += unit) {
        if (i >= 0x800 && i % 0x400 == 0)
            unit *= 2;
        assert_true(v[i] == want && v[i | 0x8000] == -want);
        assert_true(!signbit(v[i]) && signbit(v[i | 0x8000]));
    }
    assert_true(isinf(v[0x7c00]) && v[0x7c00] > 0 && isinf(v[0xfc00]) && v[0xfc00] < 0);
    for (int i = 0x7c01; i < 0x8000; i++)
        assert_true(isnan(v[i]) && isnan(v[i | 0x8000]));
    /* IEEE 754-2008 table values */
    assert_true(v[0x3c00] == 1 && v[0xc000] == -2 && v[0x7bff] == 65504 && v[0x0400] == 6.103515625e-05);
    assert_true(v[0x0001] == 5.9604644775390625e-08 && v[0x3555] == 0.333251953125);
}

static void test_bf16(void **state)
{
    (void)state;
    const uint16_t bits[] = {0x3f80, 0xc040, 0x0001, 0x007f, 0x0080, 0x7f7f, 0x7f80, 0xff80, 0x7fc0, 0x8000, 0x3eab};
    double v[11];
    struct st_tensor t = tensor_of(DTYPE_BF16, bits, 11);
    st_read(&t, 0, 11, v);
    assert_true(v[0] == 1 && v[1] == -3);
    assert_true(v[2] == ldexp(1, -133) && v[3] == ldexp(127, -133) && v[4] == ldexp(1, -126));
    assert_true(v[5] == ldexp(255, 120) && isinf(v[6]) && v[7] == -INFINITY && isnan(v[8]));
    assert_true(v[9] == 0 && signbit(v[9]) && v[10] == 0.333984375);
}

static void test_other_dtypes(void **state)
{
    (void)state;
    double v[3];
    const float f32[] = {0.1f, -1e-45f, INFINITY};
    const double f64[] = {0.1, -5e-324, 1e308};
    const int64_t i64[] = {-1, 9007199254740992, INT64_MIN};
    const int32_t i32[] = {-1, INT32_MAX, INT32_MIN};
    const uint8_t u8[] = {0, 128, 255};
    struct st_tensor t = tensor_of(DTYPE_F32, f32, 3);
    st_read(&t, 1, 2, v);
    assert_true(v[0] == -1.401298464324817e-45 && v[1] == INFINITY);
    st_read(&t, 0, 1, v);
    assert_true(v[0] == 0.100000001490116119384765625);
    t = tensor_of(DTYPE_F64, f64, 3);
    st_read(&t, 0, 3, v);
    assert_memory_equal(v, f64, sizeof f64);
    t = tensor_of(DTYPE_I64, i64, 3);
    st_read(&t, 0, 3, v);
    assert_true(v[0] == -1 && v[1] == 9007199254740992.0 && v[2] == -9223372036854775808.0);
    t = tensor_of(DTYPE_I32, i32, 3);
    st_read(&t, 0, 3, v);
    assert_true(v[0] == -1 && v[1] == 2147483647 && v[2] == -2147483648.0);
    t = tensor_of(DTYPE_U8, u8, 3);
    st_read(&t, 0, 3, v);
    assert_true(v[0] == 0 && v[1] == 128 && v[2] == 255);
}

/* ---- writing ---- */

static void test_written_bytes(void **state)
{
    (void)state;
    char path[256];
    struct error e;
    size_t len;
    struct st_writer w;
    const struct st_entry entry = {"a", DTYPE_F32, 1, {2}};
    assert_int_equal(st_create(&w, in_folder(path, "x.safetensors"), &entry, 1, NULL, &e), 0);
    assert_int_equal(st_put(&w, (double[]){1, -0.5}, 2, &e), 0);
    assert_int_equal(st_commit(&w, &e), 0);
    static const char want[] = "\x38\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  "
                               "\0\0\x80\x3f\0\0\0\xbf";
    char *got = file_read(path, 1000, &len, &e);
    assert_int_equal(len, sizeof want - 1);
    assert_memory_equal(got, want, len);
    mem_free(got);
}

static void test_written_and_read(void **state)
{
    (void)state;
    char path[256];
    struct error e;
    struct st_writer w;
    struct safetensors s;
    enum { N = 9000 };
    static double x[N], y[N];
    const struct st_entry entry[] = {{"z.f64", DTYPE_F64, 2, {N, 1}},   {"none", DTYPE_F32, 2, {0, 4}},
                                     {"f32", DTYPE_F32, 2, {3, N / 3}}, {"i64", DTYPE_I64, 1, {2}},
                                     {"scalar", DTYPE_F32, 0, {0}},     {"u8", DTYPE_U8, 1, {3}},
                                     {"end", DTYPE_F64, 1, {0}}};
    for (int i = 0; i < N; i++)
        x[i] = sin(i) * exp(i % 60 - 30);
    assert_int_equal(st_create(&w, in_folder(path, "x.safetensors"), entry, 7, "{\"k\":\"v \\\"q\\\"\"}", &e), 0);
    for (int i = 0, n; i < N; i += n) {
        n = 1 + i * 7 % 5003 < N - i ? 1 + i * 7 % 5003 : N - i;
        assert_int_equal(st_put(&w, x + i, n, &e), 0);
    }
    assert_int_equal(st_put(&w, x, 1, &e), 0);
    assert_int_equal(st_put(&w, x + 1, N - 1, &e), 0);
    assert_int_equal(st_put_bytes(&w, (int64_t[]){-5}, 8, &e), 0);
    assert_int_equal(st_put(&w, (double[]){1e15}, 1, &e), 0);
    assert_int_equal(st_put(&w, (double[]){42}, 1, &e), 0);
    assert_int_equal(st_put_bytes(&w, "abc", 3, &e), 0);
    assert_int_equal(st_commit(&w, &e), 0);
    assert_int_equal(safetensors_open(&s, path, &e), 0);
    assert_int_equal(s.tensors, 7);
    assert_string_equal(s.metadata, "{\"k\":\"v \\\"q\\\"\"}");
    assert_int_equal((uintptr_t)safetensors_find(&s, "z.f64")->data % 8, 0);
    st_read(safetensors_find(&s, "z.f64"), 0, N, y);
    assert_memory_equal(x, y, sizeof x);
    st_read(safetensors_find(&s, "f32"), 0, N, y);
    for (int i = 0; i < N; i++)
        assert_true(y[i] == (double)(float)x[i]);
    st_read(safetensors_find(&s, "i64"), 0, 2, y);
    assert_true(y[0] == -5 && y[1] == 1e15);
    st_read(safetensors_find(&s, "u8"), 0, 3, y);
    assert_true(y[0] == 'a' && y[2] == 'c');
    safetensors_close(&s);
}

/* The old file stays until the new one is whole, and nothing is left behind. */
static void test_abandoned(void **state)
{
    (void)state;
    char path[256], temporary[256];
    struct error e;
    struct st_writer w;
    const struct st_entry entry = {"a", DTYPE_F64, 1, {2}};
    assert_int_equal(file_write(in_folder(path, "x.safetensors"), "old", 3, &e), 0);
    assert_int_equal(st_create(&w, path, &entry, 1, NULL, &e), 0);
    assert_int_equal(st_put(&w, (double[]){1}, 1, &e), 0);
    assert_int_equal(file_size(path), 3);
    st_abandon(&w);
    assert_int_equal(file_size(path), 3);
    assert_int_equal(file_size(in_folder(temporary, "x.safetensors.tmp")), -1);
    assert_int_equal(st_create(&w, in_folder(path, "none/x"), &entry, 1, NULL, &e), -1);
    assert_int_equal(st_create(&w, in_folder(path, "y"), &entry, 1, "{not json", &e), -1);
    st_abandon(&w);
    assert_int_equal(file_size(path), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_that_lie),
        cmocka_unit_test(test_files_that_are_none),
        cmocka_unit_test(test_deep_header),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_unaligned),
        cmocka_unit_test(test_need),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_other_dtypes),
        cmocka_unit_test(test_written_bytes),
        cmocka_unit_test(test_written_and_read),
        cmocka_unit_test(test_abandoned),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
