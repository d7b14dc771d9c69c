/* verify: are two answers the same? A filter over lines of a gold answer and a prediction.
 *
 * To judge another kind of answer: its file beside data/answer_number.c, its name among the kinds here. */
#include "verbs.h"
#include "../../data/answer_number.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_KIND, OPTIONS };
static const struct param options[] = {
    {"kind", PARAM_CHOICE, "number", 0, 0, "number", "How answers are read and compared.", NULL}, {0}};

/* The text of a member, or a number as it would be written. -1 and *e: it is neither. */
static int text_of(const json_t *o, const char *key, struct text *out, struct error *e)
{
    const json_t *v = json_object_get(o, key);
    text_clear(out);
    text_add(out, "", 0);
    if (json_is_string(v)) {
        text_add(out, json_string_value(v), (int)json_string_length(v));
        return 0;
    }
    if (!json_is_number(v))
        return fail(e, "'%s' is %s", key, v ? "neither a text nor a number" : "missing");
    char *written = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (!written)
        return fail(e, "'%s' could not be read", key);
    text_add(out, written, -1);
    free(written);
    return 0;
}

struct job {
    struct text gold, pred, shown;
};

static json_t *answer(void *context, const json_t *object, struct error *e)
{
    struct job *j = context;
    struct number gold, pred;
    if (text_of(object, "gold", &j->gold, e) || text_of(object, "pred", &j->pred, e))
        return NULL;
    if (!answer_number(j->gold.s, j->gold.len, 1, &gold)) {
        fail(e, "'gold' is not one number: '%.100s'", j->gold.s);
        return NULL;
    }
    int found = answer_number(j->pred.s, j->pred.len, 0, &pred);
    text_clear(&j->shown);
    if (found)
        number_text(&pred, &j->shown);
    json_t *o = json_object();
    json_object_set_new(o, "equal", json_boolean(found && number_equal(&gold, &pred)));
    json_object_set_new(o, "extracted", found ? json_string(j->shown.s) : json_null());
    json_object_set_new(o, "unparsable", json_boolean(!found));
    return o;
}

static int run(int argc, const char *const *argv)
{
    struct value value[OPTIONS];
    struct job j = {0};
    struct error e;
    if (verb_options(&verb_row_verify, argc, argv, value, &e))
        return verb_usage(&verb_row_verify, &e);
    int status = lines_run(stdin, stdout, answer, &j);
    text_free(&j.gold);
    text_free(&j.pred);
    text_free(&j.shown);
    return status;
}

const struct verb verb_row_verify = {
    "verify",
    "Compare predicted answers with gold ones, line by line.",
    "[kind=number] <LINES",
    "Each line of standard input is {\"gold\":..,\"pred\":..}, each line of the output\n"
    "{\"equal\":true|false,\"extracted\":\"..\"|null,\"unparsable\":true|false}. An unparsable prediction is not the "
    "same "
    "as a wrong\n"
    "one; a gold answer that cannot be read is an error. gold and pred are texts, or numbers.\n"
    "\n"
    "kind=number: the answer is what stands in the last \\boxed{..} or behind the last ####, whichever comes later; "
    "else\n"
    "behind the last \"answer is\", \"answer:\" or a line's \"A:\"; else the last number of the text, which for gold "
    "has to "
    "be\n"
    "all of it. Signs, thousands separators, currencies, units, full stops, LaTeX's dressing and fractions are "
    "understood,\n"
    "and values compared exactly. A percent sign on one side only may be a unit or a hundredth: 50% equals 50 and "
    "0.5.\n"
    "\n"
    "Example:\n"
    "  echo '{\"gold\":\"#### 1,200\",\"pred\":\"The answer is $1200.00.\"}' | train_rl verify\n",
    options,
    run,
};
