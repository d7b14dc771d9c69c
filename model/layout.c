/* From the host's description of a batch (token chains, groups, what is predicted) to the descriptors that operations
 * read. */
#include "base/mem.h"
#include "transformer.h"
#include <string.h>

static int round_up(int n, int to)
{
    return (n + to - 1) / to * to;
}

int head_chunk(const struct ops *ops, int V)
{
    static const int reals = 1 << 20;
    int n = reals / ops->head_ids(V);
    return n < GRADIENT_BLOCK ? GRADIENT_BLOCK : n;
}

int micro_workers(const struct device *d)
{
    return d->ops->processor ? d->threads : 1;
}

/* What many rows leave behind streams through memory; of a large model so do the weights and their gradient, once a
 * micro-batch (dev/LOG.md: micro-batches). */
int micro_rows(const struct arch *a, const struct device *d)
{
    static const long large = 30000000; /* weights */
    return d->ops->processor && arch_parameters(a) < large ? 512 : 2048;
}

int micro_piece(int all, int workers, int most)
{
    enum { PIECES = 4, LEAST = 192 };
    int share = workers > 1 ? all / (PIECES * workers) : most;
    share = share > LEAST ? share : LEAST;
    return share < most ? share : most;
}

static DevInt want_int(struct layout *l, int *block, const char *name, size_t n)
{
    *block = arena_want(&l->arena, name, n * sizeof(int32_t));
    return (DevInt){NULL};
}

void layout_create(struct layout *l, struct device *d, int V, int max_rows, int max_segments, int max_groups,
                   int max_entries, int max_support)
{
    memset(l, 0, sizeof *l);
    l->dev = d;
    l->max_rows = max_rows;
    l->max_segments = max_segments;
    l->max_groups = max_groups;
    l->max_entries = max_entries;
    l->max_support = max_support;
    l->chunk = head_chunk(d->ops, V);
    int blocks = max_rows / GRADIENT_BLOCK + max_groups + 1,
        entry_blocks = max_entries / GRADIENT_BLOCK + max_groups + 1;
    struct {
        DevInt *to;
        const char *name;
        size_t n;
        int block;
    } part[] = {{&l->rows.id, "token ids", (size_t)max_rows, 0},
                {&l->rows.position, "positions", (size_t)max_rows, 0},
                {&l->rows.region, "regions", 4 * (size_t)max_segments, 0},
                {&l->rows.run, "runs", 4 * (size_t)max_segments, 0},
                {&l->rows.group, "groups", 2 * (size_t)max_groups, 0},
                {&l->rows.block, "blocks of rows", 2 * (size_t)blocks, 0},
                {&l->entries.target, "targets", (size_t)max_entries, 0},
                {&l->entries.support, "supports", (size_t)max_entries * max_support, 0},
                {&l->entries.supports, "support sizes", max_support ? (size_t)max_entries : 0, 0},
                {&l->entry_row, "rows of entries", (size_t)max_entries, 0},
                {&l->entry_first, "entries of rows", (size_t)max_rows + 1, 0},
                {&l->entry_order, "order of entries", (size_t)max_entries, 0},
                {&l->entry_block, "blocks of entries", 2 * (size_t)entry_blocks, 0}};
    int parts = sizeof part / sizeof *part;
    for (int i = 0; i < parts; i++)
        *part[i].to = want_int(l, &part[i].block, part[i].name, part[i].n);
    int temperature = arena_want(&l->arena, "temperatures", (size_t)max_entries * d->ops->real_bytes);
    struct arena_memory memory = device_memory(d);
    arena_commit(&l->arena, &memory);
    for (int i = 0; i < parts; i++)
        part[i].to->p = arena_at(&l->arena, part[i].block);
    l->entries.temperature.p = arena_at(&l->arena, temperature);
    int staging = 4 * max_segments + 2 * (blocks + entry_blocks + max_groups) + max_rows + max_entries + 1;
    l->host = mem_alloc((size_t)staging, sizeof *l->host);
    l->chunk_entry = mem_alloc((size_t)entry_blocks + 1, sizeof *l->chunk_entry);
    l->chunk_block = mem_alloc((size_t)entry_blocks + 1, sizeof *l->chunk_block);
}

void layout_free(struct layout *l)
{
    arena_free(&l->arena);
    mem_free(l->host);
    mem_free(l->chunk_entry);
    mem_free(l->chunk_block);
    memset(l, 0, sizeof *l);
}

static void put_int(struct layout *l, DevInt to, const void *from, size_t n)
{
    l->dev->ops->upload_int(l->dev, to, from, n);
}

/* Pieces of at most GRADIENT_BLOCK of the `n` rows from `start`; their boundaries depend on the group alone. */
static int cut_blocks(struct span *out, int start, int n, int base)
{
    int blocks = 0;
    for (int at = 0; at < n; at += GRADIENT_BLOCK) {
        out[blocks].start = start - base + at;
        out[blocks++].len = n - at < GRADIENT_BLOCK ? n - at : GRADIENT_BLOCK;
    }
    return blocks;
}

void layout_set(struct layout *l, const int32_t *ids, const struct segment *seg, const int *group_first, int groups)
{
    struct rows *r = &l->rows;
    int segments = group_first[groups];
    if (segments > l->max_segments || groups > l->max_groups)
        die("batch of %d segments in %d groups; room for %d and %d", segments, groups, l->max_segments, l->max_groups);
    struct region *region = (struct region *)l->host;
    int base = 0, rows = 0;
    for (int i = 0; i < segments; i++) {
        int parent = seg[i].parent;
        region[i].parent = parent;
        region[i].base = base;
        region[i].cap = round_up(seg[i].len, KV_ALIGN);
        region[i].pos = parent < 0 ? 0 : region[parent].pos + seg[parent].len;
        base += region[i].cap;
        rows = seg[i].start + seg[i].len;
    }
    if (rows > l->max_rows)
        die("batch of %d rows; room for %d", rows, l->max_rows);
    put_int(l, r->region, region, 4 * (size_t)segments);
    l->store = base;

    int32_t *position = l->host + 4 * segments;
    for (int i = 0; i < segments; i++)
        for (int t = 0; t < seg[i].len; t++)
            position[seg[i].start + t] = region[i].pos + t;
    put_int(l, r->position, position, (size_t)rows);
    put_int(l, r->id, ids, (size_t)rows);

    struct run *run = (struct run *)l->host; /* the same four words, with the position where the base was */
    for (int i = 0; i < segments; i++)
        run[i] = (struct run){i, seg[i].start, seg[i].len, region[i].pos};
    put_int(l, r->run, run, 4 * (size_t)segments);

    struct span *group = (struct span *)l->host, *block = group + groups;
    int blocks = 0;
    for (int g = 0; g < groups; g++) {
        int first = group_first[g], last = group_first[g + 1] - 1;
        group[g] = (struct span){first, last - first + 1};
        if (last >= first)
            blocks +=
                cut_blocks(block + blocks, seg[first].start, seg[last].start + seg[last].len - seg[first].start, 0);
    }
    put_int(l, r->group, group, 2 * (size_t)groups);
    put_int(l, r->block, block, 2 * (size_t)blocks);
    r->count = rows;
    r->runs = r->regions = segments;
    r->groups = groups;
    r->blocks = blocks;
    l->entries.count = 0;
    l->chunks = 0;
}

/* Chunks of whole blocks, at most l->chunk entries each; block starts become relative to their chunk. */
static void cut_chunks(struct layout *l, const int *group_entry, int groups)
{
    struct span *block = (struct span *)l->host;
    int blocks = 0, chunk_start = 0;
    l->chunks = 0;
    l->chunk_entry[0] = l->chunk_block[0] = 0;
    for (int g = 0; g < groups; g++)
        for (int at = group_entry[g]; at < group_entry[g + 1]; at += GRADIENT_BLOCK) {
            int n = group_entry[g + 1] - at < GRADIENT_BLOCK ? group_entry[g + 1] - at : GRADIENT_BLOCK;
            if (at + n - chunk_start > l->chunk) {
                l->chunks++;
                l->chunk_entry[l->chunks] = chunk_start = at;
                l->chunk_block[l->chunks] = blocks;
            }
            block[blocks++] = (struct span){at - chunk_start, n};
        }
    l->chunks++;
    l->chunk_entry[l->chunks] = group_entry[groups];
    l->chunk_block[l->chunks] = blocks;
    put_int(l, l->entry_block, block, 2 * (size_t)blocks);
}

void layout_entries(struct layout *l, int R, const int32_t *row, const int32_t *target, const double *temperature,
                    const int32_t *support, const int32_t *supports, const int *group_entry, int groups)
{
    if (R > l->max_entries || group_entry[groups] != R)
        die("batch of %d entries (%d in groups); room for %d", R, group_entry[groups], l->max_entries);
    l->entries.count = R;
    l->entries.max_support = supports ? l->max_support : 0;
    put_int(l, l->entry_row, row, (size_t)R);
    put_int(l, l->entries.target, target, (size_t)R);
    l->dev->ops->upload(l->dev, l->entries.temperature, temperature, (size_t)R);
    if (supports) {
        put_int(l, l->entries.support, support, (size_t)R * l->max_support);
        put_int(l, l->entries.supports, supports, (size_t)R);
    }
    /* entries of each row, in order of entries: a counting sort */
    int rows = l->rows.count;
    int32_t *first = l->host, *order = l->host + rows + 1;
    memset(first, 0, ((size_t)rows + 1) * sizeof *first);
    for (int i = 0; i < R; i++)
        first[row[i] + 1]++;
    for (int t = 0; t < rows; t++)
        first[t + 1] += first[t];
    for (int i = 0; i < R; i++)
        order[first[row[i]]++] = i;
    for (int t = rows; t > 0; t--)
        first[t] = first[t - 1];
    first[0] = 0;
    put_int(l, l->entry_first, first, (size_t)rows + 1);
    put_int(l, l->entry_order, order, (size_t)R);
    cut_chunks(l, group_entry, groups);
}
