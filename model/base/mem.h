/* Host memory that is counted: a step must not allocate, and a test can make the n-th allocation fail. */
#ifndef MEM_H
#define MEM_H
#include <stddef.h>

/* count x size bytes, zeroed, aligned to 64 bytes; dies with a message when there are none, or more than
 * the machine has. count may be 0. */
void *mem_alloc(size_t count, size_t size);
/* As realloc for memory of mem_alloc: the first old_bytes are kept, the rest is zero. */
void *mem_resize(void *p, size_t old_bytes, size_t new_bytes);
void mem_free(void *p);
char *mem_strdup(const char *s);

/* Grow array *p of elements of `size` bytes so that it holds at least `need`; *cap is its capacity in elements. */
void mem_grow(void *p_to_pointer, int *cap, int need, size_t size);

/* For libraries that allocate by themselves: as malloc, but dies when there is none. Not counted. */
void *mem_plain(size_t bytes);

long mem_count(void);     /* allocations so far in this process, those of libraries left out */
void mem_fail_at(long n); /* tests: let allocation number n of either kind (from now, 1 is the next) fail; 0 is off */
size_t mem_machine(void); /* bytes of memory that the machine has; more is never allocated in one piece */

/* Text that grows. s is always terminated once something was added; a zeroed struct is an empty text. */
struct text {
    char *s;
    int len, cap;
};
void text_add(struct text *t, const char *s, int len); /* len < 0: up to the terminator */
void text_addf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_clear(struct text *t); /* keeps the memory */
void text_free(struct text *t);

#endif
