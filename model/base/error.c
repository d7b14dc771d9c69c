/* Failures: filling a struct error, dying, and suggesting the name that was probably meant.
 * Not a log and not a list of codes: a caller that must tell failures apart gets its own status. */
#include "error.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Messages quote what stands in files: nothing in them may move a terminal's cursor or end the line. */
static void make_plain(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127)
            *s = '?';
}

int fail(struct error *e, const char *format, ...)
{
    if (e) {
        va_list args;
        va_start(args, format);
        vsnprintf(e->text, sizeof e->text, format, args);
        va_end(args);
        make_plain(e->text);
    }
    return -1;
}

int fail_in(struct error *e, const char *format, ...)
{
    if (e) {
        struct error inner = *e;
        va_list args;
        va_start(args, format);
        vsnprintf(e->text, sizeof e->text, format, args);
        va_end(args);
        make_plain(e->text);
        size_t used = strlen(e->text);
        /* A prefix that leaves no room keeps its beginning; the reason follows as far as it fits. */
        snprintf(e->text + used, sizeof e->text - used, ": %s", inner.text);
    }
    return -1;
}

void die_at(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(NULL);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    fflush(stderr);
    va_end(args);
    _exit(1); /* not exit(): another thread may be inside a parallel region */
}

enum { NAME_LIMIT = 64 };

static int same_letter(char a, char b)
{
    a = a == '-' ? '_' : (char)tolower((unsigned char)a);
    b = b == '-' ? '_' : (char)tolower((unsigned char)b);
    return a == b;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b. */
static int edit_distance(const char *a, int n, const char *b, int m)
{
    int d[NAME_LIMIT + 1][NAME_LIMIT + 1];
    for (int i = 0; i <= n; i++)
        for (int j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            int same = same_letter(a[i - 1], b[j - 1]);
            int best = d[i - 1][j - 1] + !same;
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]) &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

static int is_prefix(const char *a, int n, const char *b, int m)
{
    if (n >= m)
        return 0;
    for (int i = 0; i < n; i++)
        if (!same_letter(a[i], b[i]))
            return 0;
    return 1;
}

const char *nearest_name(const char *name, const char *const *names, int n)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_LIMIT)
        return NULL;
    const char *best = NULL;
    int limit = ((int)len + 1) / 3; /* about one slip in three letters; a single letter suggests nothing */
    for (int i = 0; i < n; i++) {
        size_t other = strlen(names[i]);
        if (other > NAME_LIMIT)
            continue;
        int d = edit_distance(name, (int)len, names[i], (int)other);
        if (d > 1 && len >= 3 && is_prefix(name, (int)len, names[i], (int)other))
            d = 1; /* an abbreviation is as good as one slip */
        if (d <= limit && (!best || d < limit)) {
            best = names[i];
            limit = d;
        }
    }
    return best;
}
