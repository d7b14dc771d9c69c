/* From a run to the keys it sees: the pieces of its chain of regions, root first, and tiles of its queries. Shared by
 * the two directions of attention. */
#ifndef CPU_CHAIN_H
#define CPU_CHAIN_H
#include "cpu.h"
#include "tile.h"

/* Keys at positions pos .. pos+len lie in the store from token `at` on, a multiple of KV_ALIGN. */
struct piece {
    int pos, len, at;
};

/* One layer of the store: keys [G][store/16][D][16], so that lanes are keys; values [G][store][value_width], so that
 * lanes are parts of the head. */
static inline int value_width(const struct attention_shape *s)
{
    return (int)round_up((size_t)s->D, GROUP);
}

static inline size_t key_at(const struct attention_shape *s, int g, int token)
{
    return ((size_t)g * s->store + (size_t)(token / GROUP) * GROUP) * s->D + token % GROUP;
}

static inline size_t value_at(const struct attention_shape *s, int g, int token)
{
    return (size_t)s->G * s->store * s->D + ((size_t)g * s->store + token) * value_width(s);
}

/* Pieces of positions 0 .. end-1 along the chain that ends in `region`; returns how many. At most one a position. */
static inline int chain_pieces(struct piece *p, const struct region *all, int region, int end)
{
    int n = 0;
    for (int i = region, e = end; i >= 0; e = all[i].pos, i = all[i].parent)
        if (e > all[i].pos)
            p[n++] = (struct piece){all[i].pos, e - all[i].pos, all[i].base};
    for (int i = 0; i < n / 2; i++) {
        struct piece x = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = x;
    }
    return n;
}

/* Scores of a tile are kept for all its keys: [rows][stride], stride an odd multiple of 16 so that rows fall into
 * different sets of the cache, and long enough for the overhang of the last 16 keys. */
static inline size_t score_stride(int keys)
{
    return round_up((size_t)keys + GROUP, GROUP) | GROUP;
}

/* score[r][position] = sum over the head of a[r] * panel, for all keys of the pieces; panels as the keys of the store.
 */
void chain_scores(float *score, size_t stride, const float *a, size_t a_stride, int rows, const float *panels,
                  const struct piece *p, int pieces, int D);
/* Tokens `token` .. token+len of one key head, from rows with a stride, into panels as the keys of the store. */
void chain_panels(float *panels, int token, const float *from, size_t from_stride, int len, int D);
/* to[r] = sum over positions of weight[r][position] * vectors[position]; vectors [token][width]. TILE_CHAIN goes on
 * from what is in to, TILE_ZERO begins. */
void chain_values(float *to, const float *weight, size_t stride, int rows, const float *vectors, const struct piece *p,
                  int pieces, int width, enum tile_mode mode);

/* The 16 lanes' places that lie before `visible`: keys i .. i+LANES of a row. */
INLINE ivec seen(int i, int visible)
{
    return vcount() < vset_int(visible - i);
}

/* Rows of a tile are (token, head) pairs of a run: token major, the H/G heads that read one key head inside. */
struct pair {
    int row, head, visible; /* row of the batch, query head, keys seen */
};

/* Pairs first .. first+rows of a run. */
static inline void run_pairs(struct pair *to, const struct run *run, const struct attention_shape *s, int g, int first,
                             int rows)
{
    int ratio = s->H / s->G, t = first / ratio, h = first % ratio;
    for (int r = 0; r < rows; r++) {
        to[r] = (struct pair){run->row + t, g * ratio + h, run->pos + t + 1};
        if (++h == ratio) {
            h = 0;
            t++;
        }
    }
}

/* Rows of queries, keys and values that are shorter lie near each other. */
enum { NEAR_FLOATS = 512 };

/* Whether pairs are one head's consecutive rows, and near enough to be read where they are. */
static inline int are_near(const struct pair *q, int rows, const struct attention_shape *s)
{
    return s->H == s->G && (s->H + 2 * s->G) * s->D < NEAR_FLOATS && q[rows - 1].row - q->row == rows - 1;
}

/* A head is a few lines of the cache; the next row's lie far behind it and arrive late, so rows are asked for so many
 * ahead. */
enum { AHEAD = 12 };

INLINE int later_row(int rows, int row)
{
    return (int)least(row + AHEAD, rows - 1);
}

INLINE void ask_head(const float *p, int D)
{
    for (int i = 0; i < D; i += GROUP)
        __builtin_prefetch(p + i);
}

INLINE void ask_head_write(const float *p, int D)
{
    for (int i = 0; i < D; i += GROUP)
        __builtin_prefetch(p + i, 1);
}

/* A head's vector with zeros behind it, a value_width long. */
INLINE void copy_head(float *to, const float *from, int D, int width)
{
    for (int i = 0; i < width; i += LANES)
        vstore(to + i, i < D ? vload_n(from + i, D - i, 0) : vset(0.0f));
}

#endif
