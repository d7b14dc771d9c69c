/* model/checkpoint_config: any bytes as config.json. What is accepted passes arch_check, and what is written for it is
 * read back as the same architecture.
 */
#include "fuzz.h"
#include "../../model/base/file.h"
#include "../../model/checkpoint_inner.h"

static char folder[64];

static void remove_folder(void)
{
    file_remove_directory(folder, NULL);
}

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/fuzz_config.XXXXXX");
    must(mkdtemp(folder));
    atexit(remove_folder);
}

static void in_folder(char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", folder, name);
}

static void round_trip(const struct arch *a, const struct token_ids *t)
{
    char path[128];
    struct arch b;
    struct token_ids u;
    enum family f;
    struct error e = {""};
    in_folder(path, "config.json");
    if (family_of(a, &f, &e)) {
        must_say_why(&e);
        return;
    }
    must(config_write(a, f, t, "float32", path, &e) == 0);
    if (checkpoint_arch(folder, &b, &u, &e)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    must(!memcmp(&b, a, sizeof b) && t->bos == u.bos && t->pad == u.pad && t->ends == u.ends);
    must(!memcmp(t->end, u.end, (size_t)t->ends * sizeof *t->end));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[128];
    struct arch a;
    struct token_ids t;
    struct error e = {""};
    if (!folder[0])
        make_folder();
    in_folder(path, "config.json");
    FILE *f = fopen(path, "wb");
    must(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
    if (checkpoint_arch(folder, &a, &t, &e)) {
        must_say_why(&e);
        return 0;
    }
    must(arch_check(&a, &e) == 0);
    must(t.bos < a.V && t.pad < a.V && t.ends <= MAX_ENDS);
    for (int i = 0; i < t.ends; i++)
        must(t.end[i] >= 0 && t.end[i] < a.V);
    round_trip(&a, &t);
    return 0;
}
