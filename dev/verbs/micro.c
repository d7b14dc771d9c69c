/* Packing a micro-batch: rows, segments and head entries of whole groups, nothing padded, the prompt once for all its
 * responses.
 */
#include "micro.h"
#include <math.h>
#include <string.h>

int group_kept(const struct batch *b, int g)
{
    return stat_count(b->kept + b->group_first[g], b->group_first[g + 1] - b->group_first[g]) > 0;
}

/* Room that a group needs: head entries may be more than rows, since a response's last token has the one and not the
 * other. */
static int group_room(const struct batch *b, int g)
{
    int room = b->prompt_first[g + 1] - b->prompt_first[g];
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++)
        if (b->kept[i])
            room += b->sample_first[i + 1] - b->sample_first[i];
    return room;
}

/* The end of the micro-batch that begins with group g0: as many whole groups as fit into so many rows. */
static int micro_end(const struct trainer *t, int g0, int end, int rows)
{
    int g = g0, room = 0;
    while (g < end && g - g0 < t->micro_groups) {
        room += group_room(&t->batch, g);
        if (room > rows && g > g0)
            break;
        g++;
    }
    return g;
}

/* Rows, segments and entries of one kept sample, whose prompt is segment `parent` ending at row `last`. Nothing is
 * predicted from a response's last token, so it needs no row where predictions are read. */
static void micro_sample(struct micro *m, const struct batch *b, int i, int parent, int last, enum view view, int *rows,
                         int *segments)
{
    int first = b->sample_first[i], n = b->sample_first[i + 1] - first, S = b->max_support;
    int behind = view == VIEW_BEHIND, own = behind ? n : n - 1;
    if (own > 0)
        m->segment[(*segments)++] = (struct segment){parent, *rows, own};
    for (int k = 0; k < n; k++) {
        if (k < own)
            m->ids[*rows + k] = b->id[first + k];
        if (!b->trained[first + k])
            continue;
        int j = m->entries++;
        m->entry_row[j] = behind ? *rows + k
                          : k    ? *rows + k - 1
                                 : last; /* the first token is predicted from the prompt's last */
        m->entry_target[j] = b->id[first + k];
        m->entry_token[j] = first + k;
        m->temperature[j] = b->temperature[i];
        if (S) {
            m->supports[j] = b->supports[first + k];
            memcpy(m->support + (size_t)j * S, b->support + (size_t)(first + k) * S, (size_t)S * sizeof *m->support);
        }
    }
    *rows += own;
}

/* What stands in front of the responses of group g: its prompt, or a single first token. Returns its length. */
static int parent_tokens(const struct trainer *t, int g, enum view view, int32_t *ids)
{
    const struct batch *b = &t->batch;
    int prompt = b->prompt_first[g], n = b->prompt_first[g + 1] - prompt;
    if (view == VIEW_NOPROMPT) {
        ids[0] = session_first_token(&t->s);
        return 1;
    }
    memcpy(ids, b->prompt_id + prompt, (size_t)n * sizeof *ids);
    return n;
}

void micro_fill(struct trainer *t, struct worker *w, int g0, int g1, enum view view)
{
    struct micro *m = &w->micro;
    const struct batch *b = &t->batch;
    int rows = 0, segments = 0;
    m->g0 = g0;
    m->g1 = g1;
    m->entries = 0;
    for (int g = g0; g < g1; g++) {
        int parent = segments;
        m->group_segment[g - g0] = segments;
        m->group_entry[g - g0] = m->entries;
        if (!group_kept(b, g))
            continue;
        int n = parent_tokens(t, g, view, m->ids + rows);
        m->segment[segments++] = (struct segment){-1, rows, n};
        rows += n;
        for (int i = b->group_first[g], last = rows - 1; i < b->group_first[g + 1]; i++)
            if (b->kept[i] && b->sample_first[i + 1] > b->sample_first[i])
                micro_sample(m, b, i, parent, last, view, &rows, &segments);
    }
    m->group_segment[g1 - g0] = segments;
    m->group_entry[g1 - g0] = m->entries;
    layout_set(&w->layout, m->ids, m->segment, m->group_segment, g1 - g0);
    layout_entries(&w->layout, m->entries, m->entry_row, m->entry_target, m->temperature,
                   b->max_support ? m->support : NULL, b->max_support ? m->supports : NULL, m->group_entry, g1 - g0);
}

/* Where the groups are cut: t->cut[0 .. n]; returns n. */
static int cut_groups(struct trainer *t, int g0, int g1)
{
    int all = 0, n = 0;
    for (int g = g0; g < g1; g++)
        all += group_room(&t->batch, g);
    int rows = micro_piece(all, t->workers, t->micro_rows);
    t->cut[0] = g0;
    for (int g = g0; g < g1; n++)
        t->cut[n + 1] = g = micro_end(t, g, g1, rows);
    return n;
}

struct each {
    struct trainer *t;
    struct device *together; /* the session's, where there is one micro-batch at a time; otherwise NULL */
    micro_work *work;
    void *context;
};

static void each_micro(void *context, int worker, int i, const struct turn *turn)
{
    const struct each *x = context;
    struct worker *w = &x->t->worker[worker];
    w->dev = x->together ? x->together : &w->one;
    w->turn = *turn;
    x->work(x->t, w, x->t->cut[i], x->t->cut[i + 1], x->context);
}

void micro_each(struct trainer *t, int g0, int g1, micro_work *work, void *context)
{
    int n = cut_groups(t, g0, g1);
    int workers = n >= t->workers ? t->workers : 1;
    if (t->watch)
        workers = 1; /* who looks on sees one after the other */
    struct each x = {t, workers > 1 ? NULL : &t->s.device, work, context};
    turn_each(workers, n, t->passed, each_micro, &x);
}

void micro_mismatch(struct trainer *t, const struct micro *u)
{
    const double *logp = trainer_values(t, "policy", "logp");
    double largest = metric_value(&t->metrics, "logp_mismatch_max", 0), sum = 0;
    for (int j = 0; j < u->entries; j++) {
        double d = fabs(logp[u->entry_token[j]] - t->batch.logp_rollout[u->entry_token[j]]);
        largest = d > largest || isnan(d) ? d : largest;
        sum += d;
    }
    metric_add(&t->metrics, "logp_mismatch_mean", sum, u->entries);
    for (int i = 0; i < t->metrics.n; i++)
        if (strcmp(t->metrics.metric[i].name, "logp_mismatch_max") == 0) {
            t->metrics.metric[i].sum = largest;
            return;
        }
    metric_add(&t->metrics, "logp_mismatch_max", largest, 1);
}
