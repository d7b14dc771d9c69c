/* One allocation for a plan of named blocks (arena.h).
 *
 *     | guard | block 0 | guard | block 1 | guard | ...
 *
 * A guard begins at the very byte where its block ends and reaches to the next multiple of 64, at least 64 bytes long.
 * Guards are written and read through the memory's own copies, so they work on a device as on the host. */
#include "arena.h"
#include "mem.h"
#include <stdint.h>
#include <string.h>

enum { ALIGNMENT = 64, GUARD = 64, GUARD_BYTE = 0xA5 };

static void *host_alloc(void *context, size_t bytes)
{
    (void)context;
    return mem_alloc(bytes, 1);
}

static void host_free(void *context, void *p)
{
    (void)context;
    mem_free(p);
}

static void host_copy(void *context, void *to, const void *from, size_t bytes)
{
    (void)context;
    memcpy(to, from, bytes);
}

const struct arena_memory host_memory = {host_alloc, host_free, host_copy, host_copy, NULL};

/* First byte after block i's guard; block -1 is the guard in front of everything. */
static size_t guard_end(const struct arena *a, int i)
{
    return i + 1 < a->blocks ? a->block[i + 1].offset : a->total;
}

static size_t guard_begin(const struct arena *a, int i)
{
    return i < 0 ? 0 : a->block[i].offset + a->block[i].bytes;
}

int arena_want(struct arena *a, const char *name, size_t bytes)
{
    if (a->base)
        die("block \"%s\" was asked of an arena that is already committed", name);
    if (a->blocks == 0)
        a->total = GUARD;
    if (bytes > SIZE_MAX / 2 - a->total)
        die("block \"%s\" of %zu bytes does not fit into any memory", name, bytes);
    mem_grow(&a->block, &a->cap, a->blocks + 1, sizeof *a->block);
    struct arena_block *b = &a->block[a->blocks];
    snprintf(b->name, sizeof b->name, "%s", name);
    b->bytes = bytes;
    b->offset = a->total;
    a->total = (b->offset + bytes + GUARD + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return a->blocks++;
}

void arena_commit(struct arena *a, const struct arena_memory *m)
{
    if (a->base)
        die("an arena was committed twice");
    if (a->blocks == 0)
        a->total = GUARD;
    a->memory = *m;
    a->base = m->alloc(m->context, a->total);
    if (!a->base)
        die("out of memory: %zu bytes were asked for", a->total);
    unsigned char guard[GUARD + ALIGNMENT];
    memset(guard, GUARD_BYTE, sizeof guard);
    for (int i = -1; i < a->blocks; i++) {
        size_t begin = guard_begin(a, i);
        m->write(m->context, a->base + begin, guard, guard_end(a, i) - begin);
    }
}

void *arena_at(const struct arena *a, int block)
{
    if (!a->base || block < 0 || block >= a->blocks)
        die("block %d was asked of an arena of %d blocks%s", block, a->blocks, a->base ? "" : " before its commit");
    return a->base + a->block[block].offset;
}

int arena_check(const struct arena *a, struct error *e)
{
    unsigned char guard[GUARD + ALIGNMENT];
    for (int i = -1; a->base && i < a->blocks; i++) {
        size_t begin = guard_begin(a, i), len = guard_end(a, i) - begin;
        a->memory.read(a->memory.context, guard, a->base + begin, len);
        for (size_t k = 0; k < len; k++) {
            if (guard[k] == GUARD_BYTE)
                continue;
            if (i < 0)
                return fail(e, "memory in front of the first block was overwritten");
            return fail(e, "block \"%s\": byte %zu after its end was overwritten", a->block[i].name, k);
        }
    }
    return 0;
}

void arena_print(const struct arena *a, FILE *f)
{
    int *order = mem_alloc((size_t)a->blocks, sizeof *order);
    for (int i = 0; i < a->blocks; i++) { /* insertion keeps equal blocks in the order of the plan */
        int k = i;
        for (; k > 0 && a->block[order[k - 1]].bytes < a->block[i].bytes; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    for (int i = 0; i < a->blocks; i++)
        fprintf(f, "%12.3f MiB  %s\n", (double)a->block[order[i]].bytes / 1048576, a->block[order[i]].name);
    fprintf(f, "%12.3f MiB  in all, %d blocks\n", (double)a->total / 1048576, a->blocks);
    mem_free(order);
}

void arena_free(struct arena *a)
{
    if (a->base)
        a->memory.free(a->memory.context, a->base);
    mem_free(a->block);
    *a = (struct arena){0};
}
