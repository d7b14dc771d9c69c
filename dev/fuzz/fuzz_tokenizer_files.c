/* data/tokenizer_files: a directory with the files of a tokenizer other than tokenizer.json alone. The first byte says
 * which files, zero bytes part their contents (tokenizer.bin takes all of it). What is accepted is saved as a
 * tokenizer.json that gives the same ids.
 */
#include "fuzz.h"
#include "../../data/tokenizer.h"
#include "../../model/base/file.h"

static const char *const files[4][3] = {{"tokenizer.bin", NULL, NULL},
                                        {"vocab.json", "merges.txt", "tokenizer_config.json"},
                                        {"encoder.json", "vocab.bpe", "tokenizer_config.json"},
                                        {"tokenizer.json", "tokenizer_config.json", NULL}};

static char folder[64];

static void remove_folder(void)
{
    file_remove_directory(folder, NULL);
}

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/fuzz_tokenizer.XXXXXX");
    must(mkdtemp(folder));
    atexit(remove_folder);
}

static void put(const char *name, const char *p, size_t len)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(p, 1, len, f) == len && fclose(f) == 0);
}

static void lay_out(const char *const name[3], const char *p, size_t size)
{
    for (int i = 0; i < 3 && name[i]; i++) {
        const char *zero = name[1] ? memchr(p, 0, size) : NULL;
        size_t len = zero ? (size_t)(zero - p) : size, next = zero ? len + 1 : size;
        put(name[i], p, len);
        p += next;
        size -= next;
    }
}

static void clear(const char *const name[3])
{
    char path[128];
    for (int i = 0; i < 3 && name[i]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, name[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    unlink(path);
}

static void compare(const struct tokenizer *t)
{
    static const char text[] = "Once upon a time, 12 caf\xc3\xa9s ab aab</s><|endoftext|>\n\xff";
    struct error e;
    int32_t *x = NULL, *y = NULL;
    int a = 0, b = 0, n = tokenizer_encode(t, text, sizeof text - 1, 1, &x, &a, &e);
    must(tokenizer_save(t, folder, &e) == 0);
    struct tokenizer *again = tokenizer_open(folder, &e);
    if (!again) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    must(tokenizer_vocab(again) == tokenizer_vocab(t) && tokenizer_bos(again) == tokenizer_bos(t));
    must(tokenizer_encode(again, text, sizeof text - 1, 1, &y, &b, &e) == n);
    must(n <= 0 || !memcmp(x, y, (size_t)n * sizeof *x));
    mem_free(x);
    mem_free(y);
    tokenizer_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {""};
    if (!folder[0])
        make_folder();
    if (size == 0)
        return 0;
    const char *const *name = files[data[0] & 3];
    lay_out(name, (const char *)data + 1, size - 1);
    struct tokenizer *t = tokenizer_open(folder, &e);
    if (t)
        compare(t);
    else
        must_say_why(&e);
    tokenizer_free(t);
    clear(name);
    return 0;
}
