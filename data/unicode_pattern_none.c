/* Patterns without PCRE2: none. */
#include "unicode.h"

struct pattern *pattern_open(const char *regex, int len, struct error *e)
{
    (void)regex;
    (void)len;
    fail(e, "the tokenizer splits text by a pattern, and this program was built without PCRE2 and utf8proc: only "
            "character and byte tokenizers work (Debian, Ubuntu: libpcre2-dev libutf8proc-dev; then build again)");
    return 0;
}

void pattern_free(struct pattern *p)
{
    (void)p;
}

struct matcher *matcher_open(void)
{
    return 0;
}

void matcher_free(struct matcher *m)
{
    (void)m;
}

int pattern_find(const struct pattern *p, struct matcher *m, const char *s, int len, int from, int *begin, int *end,
                 struct error *e)
{
    (void)p, (void)m, (void)s, (void)len, (void)from, (void)begin, (void)end;
    return fail(e, "built without PCRE2");
}
