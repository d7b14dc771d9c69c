/* A method beyond its recipe: what `objective` reads from a line of data and what it answers beside loss, gradient,
 * rewards and advantages. A method whose recipe says it all needs no row here. A row without a recipe is a tool: it
 * computes and does not train.
 *
 * To add one: rewards/tools/NAME.c with a `const struct method method_NAME`, and METHOD(method_NAME) in methods.def.
 */
#ifndef METHOD_H
#define METHOD_H
#include "../model/base/json.h"
#include "recipe.h"

/* A member of a sample or of a group that becomes numbers of the batch, before the stages run. */
enum datum_to {
    DATUM_COMPONENT, /* `name` at `level`: a number (sequence, group), or an array of numbers (token, step) */
    DATUM_NUMBER,    /* the same, but no part of the reward: handed on to a stage that asks for it */
    DATUM_CHANNEL,   /* a number per token into the channel `name`; into "NAME+": what NAME holds when losses run */
    DATUM_STATE      /* a group's number, or array of `width` numbers, is what the stage's state `name` holds of it */
};
struct datum {
    const char *key;
    enum datum_to to;
    const char *name;
    enum level level;
    const char *instead; /* name of a score stage that need not run when this stands on the line; or NULL */
};

struct method_call {
    const json_t *input, *params; /* the line, its params (an object) */
    const struct recipe *recipe;
    const struct phase *phase; /* its stages ran, with their values and state */
    struct batch *b;
    const struct denominators *den;
    const struct metrics *metrics;
    double loss;
    json_t *answer; /* loss, dlogp, groups are there already and may be replaced */
};

struct method {
    const char *name;                /* of the recipe, or of the tool */
    const char *sentence, *citation; /* tools; a recipe has its own */
    const char *const *alias; /* pairs "spelling", "the recipe's spelling" of parameters; NULL-terminated; or NULL.
                                 "" for one that the recipe has in one setting only */
    const struct datum *data; /* ends with a row without key; or NULL */
    int (*before)(struct method_call *c, struct error *e); /* the batch is read, no stage ran: state; or NULL */
    int (*extra)(struct method_call *c, struct error *e);  /* NULL: nothing more to say */
};
extern const struct method *const methods[];        /* NULL-terminated, from methods.def */
const struct method *method_find(const char *name); /* NULL: none; '-' equals '_' */

/* For extra: the recipe's resolved knob as text (NULL: it has none of that name). */
const char *method_param(const struct method_call *c, const char *key);
double method_number(const struct method_call *c, const char *key); /* "off" is +infinity */
/* A number that has to stand on the group g of the line. */
int method_group_number(const struct method_call *c, int g, const char *key, double *to, struct error *e);
/* The state that a stage of the phase keeps under this name; dies when none does. */
struct state *method_state(const struct method_call *c, const char *name);
json_t *method_sample(const struct method_call *c, int sample); /* its object in the answer, borrowed */
/* Numbers of the batch as JSON, nested as the groups of the line: [group][sample] and [group][sample][token]. */
json_t *method_samples(const struct batch *b, const double *value);
json_t *method_tokens(const struct batch *b, const double *value);
json_t *method_group_sums(const struct batch *b, const double *value); /* [group]: over all its tokens */
/* In the answer, the reward of a sample becomes the sum over its steps (component `process`). */
void method_sum_steps(struct method_call *c);
/* A number, null when it is not finite. */
json_t *method_real(double x);

#endif
