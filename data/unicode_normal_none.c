/* Normalisation without utf8proc: none. */
#include "unicode.h"

int normal_available(struct error *e)
{
    return fail(e,
                "the tokenizer normalises Unicode, and this program was built without PCRE2 and utf8proc: only "
                "character and byte tokenizers work (Debian, Ubuntu: libpcre2-dev libutf8proc-dev; then build again)");
}

void normal_text(enum normal_form form, const char *s, int len, struct text *out)
{
    (void)form, (void)s, (void)len, (void)out;
    die("normalisation without utf8proc");
}
