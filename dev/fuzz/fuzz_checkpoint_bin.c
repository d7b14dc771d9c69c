/* model/checkpoint_bin: any bytes as a file of weights of llama2.c. What is accepted is a sane architecture whose
 * weights are all of the file, and loads into a model unless a weight is no number. The first byte 0: the rest is a
 * header, and as many bytes follow as it asks for (where that is little), so that the inside is reached.
 */
#include "fuzz.h"
#include "../../model/base/mem.h"
#include "../../model/checkpoint_inner.h"

enum { MOST = 1 << 20 };

/* What a header of version 0 or 1 asks for, 0: too much, or no header. Written without the reader. */
static size_t asked_for(const uint8_t *s, size_t len)
{
    int32_t n[9] = {0};
    memcpy(n, s, len < sizeof n ? len : sizeof n);
    int first = n[0] == 0x616b3432 ? 2 : 0, own = first ? len <= 36 || s[36] == 0 : n[5] < 0;
    int64_t C = n[first], F = n[first + 1], L = n[first + 2], H = n[first + 3], G = n[first + 4];
    int64_t V = llabs((int64_t)n[first + 5]), T = n[first + 6];
    if (C < 1 || F < 1 || L < 1 || H < 1 || G < 1 || T < 1 || C > 4096 || F > 4096 || L > 64 || V > 4096 || T > 4096)
        return 0;
    int64_t kv = C / H * G, tables = first ? 0 : T * (C / H / 2) * 2;
    int64_t bytes =
        (first ? 256 : 28) + 4 * (V * C * (1 + own) + L * (2 * C + 2 * C * C + 2 * C * kv + 3 * C * F) + C + tables);
    return bytes > 0 && bytes < MOST ? (size_t)bytes : 0;
}

static void load(const struct arch *a, const char *path)
{
    struct device device;
    struct model m;
    struct error e = {""};
    if (arch_parameters(a) > MOST)
        return;
    must(device_open(&device, &ref_ops, 1, &e) == 0 && model_create(&m, a, 0, &device, 0, &e) == 0);
    if (bin_load(&m, path, &e))
        must_say_why(&e);
    model_free(&m);
    device_close(&device);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    struct arch a;
    struct token_ids t;
    struct error e = {""};
    size_t len = size > 1 ? size - 1 : 0, all = len && data[0] == 0 ? asked_for(data + 1, len) : 0;
    uint8_t *s = mem_alloc((all > len ? all : len) + 1, 1);
    if (len)
        memcpy(s, data + 1, len);
    int fd = memory_file(s, all ? all : len, path);
    mem_free(s);
    if (bin_arch(path, &a, &t, &e)) {
        must_say_why(&e);
    } else {
        must(arch_check(&a, &e) == 0 && t.bos < a.V && t.ends == 2 && t.end[0] < a.V && t.end[1] < a.V);
        load(&a, path);
    }
    close(fd);
    return 0;
}
