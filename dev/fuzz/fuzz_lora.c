/* model/lora_files: any bytes as adapter_config.json of an adapter for a small GPT-2 or Llama (the first byte chooses).
 * What is accepted passes arch_check, and written and read again it is the same, weights too.
 */
#include "fuzz.h"
#include "../../model/base/file.h"
#include "../../model/lora.h"

static char folder[64];
static struct device device;

static void remove_folder(void)
{
    file_remove_directory(folder, NULL);
}

static void make_folder(void)
{
    struct error e;
    snprintf(folder, sizeof folder, "/dev/shm/fuzz_lora.XXXXXX");
    must(mkdtemp(folder) && device_open(&device, &ref_ops, 1, &e) == 0);
    atexit(remove_folder);
}

/* The weights of an adapter are too many for one with a map less. */
static void fewer_maps(const struct arch *a)
{
    struct model m;
    struct arch b = *a;
    struct error e = {""};
    b.lora.targets &= b.lora.targets - 1;
    if (!b.lora.targets)
        return;
    must(model_create(&m, &b, 1, &device, 0, &e) == 0);
    must(lora_load(&m, folder, &e));
    must_say_why(&e);
    model_free(&m);
}

static void round_trip(const struct arch *a, const char *base)
{
    struct model m, n;
    struct arch b = *a;
    char again[512];
    struct error e = {""};
    must(model_create(&m, a, 1, &device, 0, &e) == 0);
    model_init(&m, 1);
    must(lora_save(&m, folder, base, &e) == 0);
    b.lora = (struct lora){0};
    if (lora_read(folder, &b, again, &e)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    must(!memcmp(&b, a, sizeof b));
    must(model_create(&n, &b, 1, &device, 0, &e) == 0);
    must(lora_load(&n, folder, &e) == 0);
    for (int i = n.first; i < n.tensors; i++) {
        double x[4096], y[4096];
        model_read(&m, i, 0, 0, 1, x);
        model_read(&n, i, 0, 0, 1, y);
        for (int k = 0; k < n.tensor[i].K; k++)
            must((float)x[k] == y[k]);
    }
    model_free(&m);
    model_free(&n);
    must(lora_exists(folder));
    fewer_maps(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[128], base[512];
    struct arch a = preset_find(size && data[0] & 1 ? "tiny-gpt2" : "nano-llama")->arch;
    struct error e = {""};
    if (!folder[0])
        make_folder();
    size_t skip = size > 0;
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(data + skip, 1, size - skip, f) == size - skip && fclose(f) == 0);
    if (lora_read(folder, &a, base, &e)) {
        must_say_why(&e);
        return 0;
    }
    must(arch_check(&a, &e) == 0);
    if (a.lora.rank <= 64) /* beyond that it is only slow */
        round_trip(&a, base);
    return 0;
}
