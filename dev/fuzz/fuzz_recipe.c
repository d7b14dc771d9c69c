/* rewards/recipe: any text as a recipe, followed by overrides; a zero byte stands before each. What is accepted is
 * resolved into a text that is a recipe and resolves to itself.
 */
#include "fuzz.h"
#include "../../rewards/recipe.h"

enum { MOST = 6 }; /* overrides */

static int load(struct recipe *r, const char *text, size_t len, const char *const *overrides, int n, struct error *e)
{
    char path[32];
    int fd = memory_file(text, len, path), bad = recipe_load(r, path, overrides, n, e);
    close(fd);
    return bad;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct recipe r, again;
    struct error e = {""};
    const char *override[MOST];
    char *copy[MOST + 1];
    size_t len[MOST + 1], rest;
    int n = 0;
    const char *at = cut_input(data, size, &copy[0], &len[0], &rest);
    for (; rest > 0 && n < MOST; n++) {
        at = cut_input((const uint8_t *)at, rest, &copy[n + 1], &len[n + 1], &rest);
        override[n] = copy[n + 1];
    }
    if (load(&r, copy[0], len[0], override, n, &e))
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
