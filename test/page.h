/* A small checker of the pages that the program writes. Include it after cmocka. */
#ifndef PAGE_H
#define PAGE_H
#include <string.h>

static inline int is_one_of(const char *name, size_t len, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == len && memcmp(*names, name, len) == 0)
            return 1;
    return 0;
}

/* The end of an attribute list from c on: only known names, every value in double quotes without markup. */
static inline const char *check_attributes(const char *c)
{
    static const char *const known[] = {"lang", "charset", "name", "content", "http-equiv", "class", "style",
                                        "id",   "type",    "for",  "checked", "data-n",     NULL};
    while (*c == ' ') {
        size_t n = strspn(++c, "abcdefghijklmnopqrstuvwxyz-");
        if (n == 0)
            break; /* " />" */
        if (!is_one_of(c, n, known) || c[n] != '=' || c[n + 1] != '"')
            fail_msg("attribute: %.60s", c);
        c += n + 2;
        n = strcspn(c, "\"<>");
        assert_true(c[n] == '"');
        c += n + 1;
    }
    return c;
}

/* Elements nest and are closed, text holds no bare '<', '>' or '&', nothing is fetched or run. */
static inline void check_page(const char *c)
{
    static const char *const known[] = {"html", "head",  "meta",  "title", "style", "body", "header", "main", "section",
                                        "h1",   "h2",    "h3",    "p",     "div",   "span", "b",      "i",    "code",
                                        "br",   "input", "label", "table", "tr",    "td",   "th",     NULL};
    struct {
        const char *name;
        size_t len;
    } stack[32];
    int depth = 0;
    assert_true(strncmp(c, "<!DOCTYPE html>", 15) == 0);
    for (c += 15; *c;) {
        if (*c == '&') {
            size_t n = strcspn(c, ";");
            assert_true(n <= 6 && (c[1] == '#' ||
                                   is_one_of(c + 1, n - 1, (const char *const[]){"amp", "lt", "gt", "quot", NULL})));
            c += n;
        } else if (*c == '>') {
            assert_true(depth && memcmp(stack[depth - 1].name, "style", 5) == 0);
            c++;
        } else if (*c != '<') {
            assert_true(*c == '\n' || (unsigned char)*c >= 32);
            c++;
        } else {
            int closing = c[1] == '/';
            const char *name = c + 1 + closing;
            size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz123");
            if (!is_one_of(name, n, known))
                fail_msg("element: %.60s", c);
            c = check_attributes(name + n);
            if (closing) {
                depth--;
                if (depth < 0 || stack[depth].len != n || memcmp(stack[depth].name, name, n) != 0)
                    fail_msg("closes nothing: %.60s", name);
            } else if (*c != '/') {
                assert_true(depth < 32);
                stack[depth].name = name;
                stack[depth++].len = n;
            }
            c += *c == '/';
            assert_true(*c == '>');
            c++;
        }
    }
    assert_int_equal(depth, 0);
}

#endif
