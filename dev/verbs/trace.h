/* trace: one group of one step, from prompt to gradient, as the training loop computes it.
 *
 * Three parts: a watcher collects numbers while the loop of train_rl.c works (trace_watch.c) and makes one JSON object
 * of them; two views read nothing but that object: text for a terminal (trace_text.c) and a page (trace_html.c). What
 * they share is in trace_show.c. To show one more number: put it into the object, then into both views; the object is
 * also what json=1 prints.
 *
 * Members of the object. Lists under "samples", and all lists marked (S), have one entry a sample of the group; lists
 * of tokens (T) have one number a token, null where the token is not trained or its sample not kept. recipe title task
 * operations seed phase source step phase_step group groups temperature prompt      {text answer ids pieces} samples
 * [{text ids pieces verdict lenient truncated kept weight reward advantage logp_rollout(T) trained support}] stages
 * [{kind name file sentence formula citation params components [{name level values(S)}] reward(S) kept(S) weight(S)
 * token_reward(ST) returns(ST) advantage(ST)}] in the order they ran, what each has written updates     [{number groups
 * denominators channels {NAME: (ST)} ratio(ST) held(ST) losses [{kind name ... part group_part gradients {NAME:
 * (ST)}}], gradients after that stage loss grad_norm clip clip_factor lr optimiser tensors [{name parameters norm}]
 * logp_after(ST) moves}] moves       [{sample token id piece gradient up [..] down [..]}], [{id piece logit [2] p [2]}]
 * before and after log         the line of log.jsonl, less the clock
 */
#ifndef TRACE_H
#define TRACE_H
#include <stdio.h>
#include "trainer.h"

/* ---- collecting (trace_watch.c) ---- */
struct trace {
    int phase; /* what is traced: this step of this phase, this group; group -1: the first one that teaches something */
    long phase_step;
    int group, positions;                          /* positions: so many tokens have their distribution shown */
    json_t *result;                                /* the object, once the step is done; NULL: it was never reached */
    struct error trouble;                          /* text "": none; otherwise why there is no result */
    const struct stage_use *owner[MAX_COMPONENTS]; /* from here on private: the stage that writes each component */
    json_t **wrote;                                /* [groups] what each stage wrote */
    int groups, in_update, updates_seen;
    double loss, part[MAX_STAGES]; /* of the optimiser step so far, and of each stage */
    json_t *updates, *update, *losses;
    int *entry, entries; /* chosen entries of the group as a micro-batch */
    double *before;      /* [entries][V] their logits before the update */
};
void trace_open(struct trace *x, struct trainer *t); /* looks on from now; the first fields are set, the rest is zero */
void trace_close(struct trace *x);
json_t *trace_real(double x);                         /* null when it is not finite */
json_t *trace_piece(const struct trainer *t, int id); /* text of one token */

/* ---- distributions (trace_moves.c); both after a forward pass of the group alone as the micro-batch ---- */
void trace_choose(struct trace *x, struct trainer *t);   /* entries worth a look, and their logits before the update */
json_t *trace_moves(struct trace *x, struct trainer *t); /* what became of them; forgets them */

/* ---- what both views use (trace_show.c) ---- */
struct trace_section {
    const char *name, *title, *sentence; /* one sentence for a learner */
    const char *where[2][2];             /* function and file that do it */
};
extern const struct trace_section trace_sections[]; /* the last has no name */
const struct trace_section *trace_section(const char *name);
/* Text as it can be shown anywhere, appended to out: what is no UTF-8 is U+FFFD; newlines, control and direction
 * characters are written out: \n, \u{1b}. */
void trace_visible(const char *s, int len, struct text *out);
void trace_visible_json(const json_t *string, struct text *out);   /* of a string member */
int trace_columns(const char *s);                                  /* characters of visible text */
double trace_number(const json_t *list, size_t i);                 /* truth values are 0 and 1; NAN: null or missing */
double trace_member(const json_t *object, const char *key);        /* likewise */
double trace_at(const json_t *lists, size_t sample, size_t token); /* likewise, of lists marked (ST) */
const char *trace_string(const json_t *object, const char *key);   /* "": missing or no string */
json_t *trace_sums(const json_t *lists);                           /* one sum a list; null where it has no number */
json_t *trace_differences(const json_t *a, const json_t *b);
json_t *trace_constants(const json_t *lists);          /* the one number of each list; NULL when some list has two */
double trace_sum(const json_t *list);                  /* of its numbers */
const char *trace_short(double x, char buf[32]);       /* whole numbers as such, others in few digits; "-": NAN */
void trace_runs(const json_t *list, struct text *out); /* "0 x11, 1": numbers by runs of equal ones */
void trace_where(const struct trace_section *s, struct text *out); /* "function() file, ..." */
/* Lists of the last of some stages that wrote them, e.g. "advantage"; NULL: none did. */
const json_t *trace_last(const json_t *stages, const char *key);
/* d loss / d channel of an update, all of its stages together; NULL: no stage has any. */
const json_t *trace_gradient(const json_t *update, const char *channel);
void trace_context(const json_t *trace, const json_t *move, struct text *out); /* visible text in front of the token */
/* The samples worth a table of their own, at most max: largest and smallest advantage in turn. Returns how many. */
int trace_pick(const json_t *trace, int max, int *sample);

/* ---- views ---- */
void trace_text(FILE *f, const json_t *trace, int samples); /* the tokens of so many samples one by one */
void trace_html(FILE *f, const json_t *trace);

#endif
