/* Must the response use given words, in the given order? The words stand in the item's `extra`, separated by commas:
 * any task that lists words there can be scored. A word counts as a whole word (letters and digits around it would make
 * it another) and without regard to the case of ASCII letters. The response is hostile text: every read is bounded.
 */
#include "../../data/task.h"
#include "../stage.h"

enum { P_FIRST };

static const struct param params[] = {
    {"first", PARAM_NUMBER, "0", -1e6, 1e6, NULL, "Partial credit when only the first word was found.", NULL}, {0}};

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
}

static int is_word(int c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* End of the first whole occurrence of word[0..n) in text[from..len), -1: none. */
static int find_word(const char *text, int from, int len, const char *word, int n)
{
    for (int at = from; n > 0 && at <= len - n; at++) {
        int k = 0;
        while (k < n && lower(text[at + k]) == lower(word[k]))
            k++;
        if (k == n && (at == 0 || !is_word(text[at - 1])) && (at + n == len || !is_word(text[at + n])))
            return at + n;
    }
    return -1;
}

/* Words of the comma-separated list that occur one after the other from the start; *words is their number. */
static int words_in_order(const struct text *list, const char *text, int len, int *words)
{
    int found = 0, at = 0;
    *words = 0;
    for (int i = 0; i < list->len;) {
        int end = i;
        while (end < list->len && list->s[end] != ',')
            end++;
        int from = i, to = end;
        while (from < to && list->s[from] == ' ')
            from++;
        while (to > from && list->s[to - 1] == ' ')
            to--;
        if (to > from) {
            if (found == *words && (at = find_word(text, at, len, list->s + from, to - from)) >= 0)
                found++;
            (*words)++;
        }
        i = end + 1;
    }
    return found;
}

static int run(struct stage_call *c, struct error *e)
{
    struct batch *b = c->b;
    double *value = batch_component(b, "keywords", LEVEL_SEQUENCE)->value;
    for (int g = 0; g < b->groups; g++)
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            int words = 0, found = 0;
            value[i] = 0;
            if (!b->kept[i])
                continue;
            if (b->item[g])
                found = words_in_order(&b->item[g]->extra, b->text[i] ? b->text[i] : "",
                                       b->text[i] ? b->text_len[i] : 0, &words);
            if (words == 0)
                return fail(e,
                            "keywords: prompt %d lists no words, so sample %d cannot be scored; use a task whose "
                            "items list words (stories)",
                            g, i);
            value[i] = found == words ? 1 : found > 0 ? c->p[P_FIRST].num : 0;
        }
    return 0;
}

const struct stage score_keywords = {
    .name = "keywords",
    .kind = STAGE_SCORE,
    .sentence = "1 when the words listed by the task occur in the response in that order.",
    .citation = "",
    .formula = "keywords_i = 1 if all words occur in order; `first` if only a beginning of the list does; else 0",
    .params = params,
    .reads = FIELD_TEXT,
    .writes = FIELD_COMPONENTS,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};
