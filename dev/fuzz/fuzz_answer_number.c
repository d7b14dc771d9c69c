/* Numbers that texts give as answers: a text means the same to itself, and the number found, written out, is read as
 * the same number again. */
#include "fuzz.h"
#include "../../data/answer_number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *s = malloc(size); /* of its exact size: no byte behind it may be read */
    struct number gold, pred, again;
    must(s || !size);
    if (size)
        memcpy(s, data, size);
    int is_gold = answer_number(s, (int)size, 1, &gold), is_pred = answer_number(s, (int)size, 0, &pred);
    must(!is_gold || (is_pred && number_equal(&gold, &pred)));
    struct text out = {0};
    if (is_pred) {
        must(number_equal(&pred, &pred));
        number_text(&pred, &out);
        int digits = pred.num_len + (pred.power < 0 ? -pred.power : pred.power);
        must(digits > NUMBER_DIGITS || (answer_number(out.s, out.len, 1, &again) && number_equal(&pred, &again)));
    }
    text_free(&out);
    free(s);
    return 0;
}
