/* Counted host memory and growing text. Not a pool and not a collector: what is allocated is freed by its owner. */
#include "mem.h"
#include "error.h"
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGNMENT = 64, LARGE = 64 << 20, HUGE_PAGE = 2 << 20 };

/* The only mutable statics of the program: they observe allocations and influence no result. */
static atomic_long allocations;
static atomic_long fail_in_turn; /* 1: the next allocation fails; 0 is off */

static int must_fail(void)
{
    return atomic_load(&fail_in_turn) > 0 && atomic_fetch_sub(&fail_in_turn, 1) == 1;
}

size_t mem_machine(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : SIZE_MAX;
}

/* The system lends more than it has and kills without a word whoever uses it: absurd sizes are refused here. */
static int is_absurd(size_t bytes)
{
    return bytes > LARGE && bytes > mem_machine();
}

void *mem_alloc(size_t count, size_t size)
{
    if (size && count > (SIZE_MAX - HUGE_PAGE) / size)
        die("out of memory: %zu elements of %zu bytes were asked for", count, size);
    size_t alignment = count * size >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    size_t bytes = (count * size + alignment - 1) / alignment * alignment;
    if (bytes == 0)
        bytes = ALIGNMENT;
    atomic_fetch_add(&allocations, 1);
    void *p = must_fail() || is_absurd(bytes) ? NULL : aligned_alloc(alignment, bytes);
    if (!p)
        die("out of memory: %zu bytes were asked for", bytes);
#ifdef MADV_HUGEPAGE
    if (alignment == HUGE_PAGE)
        madvise(p, bytes, MADV_HUGEPAGE); /* a wish: what streams through memory gains a quarter (dev/LOG.md) */
#endif
    memset(p, 0, bytes);
    return p;
}

void *mem_resize(void *p, size_t old_bytes, size_t new_bytes)
{
    void *q = mem_alloc(new_bytes, 1);
    size_t kept = old_bytes < new_bytes ? old_bytes : new_bytes;
    if (kept)
        memcpy(q, p, kept);
    free(p);
    return q;
}

void mem_free(void *p)
{
    free(p);
}

char *mem_strdup(const char *s)
{
    size_t bytes = strlen(s) + 1;
    return memcpy(mem_alloc(bytes, 1), s, bytes);
}

void mem_grow(void *p_to_pointer, int *cap, int need, size_t size)
{
    if (need < 0)
        die("an array was asked to hold %d elements", need);
    if (need <= *cap)
        return;
    int wanted = *cap > INT_MAX / 2 ? INT_MAX : 2 * *cap;
    if (wanted < need)
        wanted = need;
    if (wanted < 16)
        wanted = 16;
    if ((size_t)wanted > SIZE_MAX / size)
        die("out of memory: %d elements of %zu bytes were asked for", wanted, size);
    void *p;
    memcpy(&p, p_to_pointer, sizeof p); /* the caller's pointer has another type: copied, not aliased */
    p = mem_resize(p, (size_t)*cap * size, (size_t)wanted * size);
    memcpy(p_to_pointer, &p, sizeof p);
    *cap = wanted;
}

long mem_count(void)
{
    return atomic_load(&allocations);
}

void mem_fail_at(long n)
{
    atomic_store(&fail_in_turn, n > 0 ? n : 0);
}

void *mem_plain(size_t bytes)
{
    void *p = must_fail() ? NULL : malloc(bytes ? bytes : 1);
    if (!p)
        die("out of memory: %zu bytes were asked for", bytes);
    return p;
}

static void text_room(struct text *t, size_t more)
{
    if (more > (size_t)(INT_MAX - 1 - t->len))
        die("a text grew beyond %d bytes", INT_MAX);
    mem_grow(&t->s, &t->cap, t->len + (int)more + 1, 1);
}

void text_add(struct text *t, const char *s, int len)
{
    size_t n = len < 0 ? strlen(s) : (size_t)len;
    text_room(t, n);
    if (n)
        memcpy(t->s + t->len, s, n);
    t->len += (int)n;
    t->s[t->len] = 0;
}

void text_addf(struct text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = format ? vsnprintf(NULL, 0, format, args) : -1;
    if (n < 0)
        die("a text could not be formatted");
    text_room(t, (size_t)n);
    vsnprintf(t->s + t->len, (size_t)n + 1, format, again);
    t->len += n;
    va_end(again);
    va_end(args);
}

void text_clear(struct text *t)
{
    t->len = 0;
    if (t->s)
        t->s[0] = 0;
}

void text_free(struct text *t)
{
    mem_free(t->s);
    *t = (struct text){0};
}
