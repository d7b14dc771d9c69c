/* rewards/recipe: any text as a recipe, followed by overrides; a zero byte stands before each. What is accepted is
 * resolved into a text that is a recipe and resolves to itself. A short word is the name of a built-in recipe.
 */
#include "fuzz.h"
#include "../../rewards/recipe.h"

enum { MOST = 6 }; /* overrides */

static char folder[64], path[80];

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

/* The name under which runs leave their recipe. */
static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/fuzz_recipe.XXXXXX");
    must(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/recipe.ini", folder);
    atexit(remove_folder);
}

static int load(struct recipe *r, const char *text, size_t len, const char *const *overrides, int n, struct error *e)
{
    FILE *f = fopen(path, "wb");
    must(f && fwrite(text, 1, len, f) == len && fclose(f) == 0);
    return recipe_load(r, path, overrides, n, e);
}

/* A short text without a line is also taken for the name of a built-in recipe. */
static int is_name(const char *text, size_t len)
{
    return len < 40 && !strpbrk(text, "/\n[") && !strstr(text, ".ini");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct recipe r, again;
    struct error e = {""};
    const char *override[MOST];
    char *copy[MOST + 1];
    size_t len[MOST + 1], rest;
    int n = 0;
    if (!folder[0])
        make_folder();
    const char *at = cut_input(data, size, &copy[0], &len[0], &rest);
    for (; rest > 0 && n < MOST; n++) {
        at = cut_input((const uint8_t *)at, rest, &copy[n + 1], &len[n + 1], &rest);
        override[n] = copy[n + 1];
    }
    int bad = is_name(copy[0], len[0]) ? recipe_load(&r, copy[0], override, n, &e)
                                       : load(&r, copy[0], len[0], override, n, &e);
    if (bad)
        must_say_why(&e);
    else {
        if (load(&again, r.text, strlen(r.text), NULL, 0, &e)) {
            fprintf(stderr, "%s\n%s\n", e.text, r.text);
            abort();
        }
        must(!strcmp(r.text, again.text) && r.phases == again.phases);
        recipe_free(&again);
        recipe_free(&r);
    }
    for (int i = 0; i <= n; i++)
        free(copy[i]);
    return 0;
}
