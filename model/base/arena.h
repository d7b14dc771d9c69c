/* A plan of named blocks, then one allocation for all of them, with guard words between.
 *
 *     struct arena a = {0};
 *     int w = arena_want(&a, "policy weights", bytes);
 *     arena_commit(&a, &host_memory);          (or the memory of a device)
 *     float *p = arena_at(&a, w);
 *
 * arena_print shows the plan, also before the commit, so that a run can be refused before it starts.
 */
#ifndef ARENA_H
#define ARENA_H
#include <stddef.h>
#include <stdio.h>
#include "error.h"

struct arena_memory { /* where blocks live; read and write copy between the host and that memory */
    void *(*alloc)(void *context, size_t bytes);
    void (*free)(void *context, void *p);
    void (*write)(void *context, void *to, const void *from, size_t bytes);
    void (*read)(void *context, void *to, const void *from, size_t bytes);
    void *context;
};
extern const struct arena_memory host_memory;

struct arena_block {
    char name[48];
    size_t bytes, offset;
};
struct arena {
    struct arena_block *block;
    int blocks, cap;
    size_t total; /* bytes, guards included */
    char *base;   /* NULL before the commit */
    struct arena_memory memory;
};

int arena_want(struct arena *a, const char *name,
               size_t bytes); /* returns the block's number; before the commit only */
void arena_commit(struct arena *a, const struct arena_memory *m); /* dies when there is no memory */
void *arena_at(const struct arena *a, int block);                 /* 64-byte aligned */
int arena_check(const struct arena *a, struct error *e); /* fails, naming the block whose guard word was overwritten */
void arena_print(const struct arena *a, FILE *f);        /* one line a block, largest first, and the total */
void arena_free(struct arena *a);

#endif
