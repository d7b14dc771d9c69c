/* data/expression: any text as arithmetic. Compared with a second evaluator, by recursive descent, that shares nothing
 * with it: what is good there is good here and has the same value and the same numbers, and nothing else is good.
 */
#include "fuzz.h"
#include "../../data/expression.h"

typedef __int128 wide;

struct reader {
    const char *s, *end;
    int depth, bad, numbers;
    int64_t number[EXPRESSION_NUMBERS];
};
struct fraction {
    wide num, den;
};

static struct fraction failed(struct reader *r)
{
    r->bad = 1;
    return (struct fraction){0, 1};
}

static struct fraction reduced(struct reader *r, wide num, wide den)
{
    wide a = num < 0 ? -num : num, b = den < 0 ? -den : den, limit = INT64_MAX;
    while (b) {
        wide rest = a % b;
        a = b;
        b = rest;
    }
    if (den < 0)
        a = -a;
    num /= a;
    den /= a;
    return num > limit || num < -limit || den > limit ? failed(r) : (struct fraction){num, den};
}

static int peek(struct reader *r)
{
    while (r->s < r->end && *r->s == ' ')
        r->s++;
    return r->s < r->end ? (unsigned char)*r->s : -1;
}

static struct fraction sum(struct reader *r);

static struct fraction number(struct reader *r)
{
    wide x = 0;
    const char *from = r->s;
    for (; r->s < r->end && *r->s >= '0' && *r->s <= '9' && x <= INT64_MAX; r->s++)
        x = 10 * x + (*r->s - '0');
    if (r->s == from || x > INT64_MAX || (*from == '0' && r->s > from + 1))
        return failed(r);
    if (r->numbers < EXPRESSION_NUMBERS)
        r->number[r->numbers] = (int64_t)x;
    r->numbers++;
    return (struct fraction){x, 1};
}

static struct fraction factor(struct reader *r)
{
    if (peek(r) != '(')
        return number(r);
    if (++r->depth > EXPRESSION_DEPTH)
        return failed(r);
    r->s++;
    struct fraction inner = sum(r);
    if (r->bad || peek(r) != ')')
        return failed(r);
    r->s++;
    r->depth--;
    return inner;
}

static struct fraction product(struct reader *r)
{
    struct fraction a = factor(r);
    for (int op; !r->bad && ((op = peek(r)) == '*' || op == '/');) {
        r->s++;
        struct fraction b = factor(r);
        if (r->bad || (op == '/' && b.num == 0))
            return failed(r);
        a = op == '*' ? reduced(r, a.num * b.num, a.den * b.den) : reduced(r, a.num * b.den, a.den * b.num);
    }
    return a;
}

static struct fraction sum(struct reader *r)
{
    struct fraction a = product(r);
    for (int op; !r->bad && ((op = peek(r)) == '+' || op == '-');) {
        r->s++;
        struct fraction b = product(r);
        if (r->bad)
            return b;
        a = reduced(r, a.num * b.den + (op == '+' ? 1 : -1) * b.num * a.den, a.den * b.den);
    }
    return a;
}

/* The numbers used can be taken from a pool that holds them and one more, and from no pool that lacks one. */
static void take(const struct expression *x)
{
    int64_t pool[EXPRESSION_NUMBERS], same[EXPRESSION_NUMBERS];
    int n = x->numbers;
    if (n >= EXPRESSION_NUMBERS)
        return;
    for (int i = 0; i < n; i++)
        pool[n - 1 - i] = x->number[i];
    pool[n] = -5;
    memcpy(same, pool, sizeof same);
    int lacking = n - 1, all = n + 1;
    must(n == 0 || (!expression_take(x, pool, &lacking) && lacking == n - 1 && !memcmp(pool, same, 8 * (size_t)n)));
    must(expression_take(x, pool, &all) && all == 1 && pool[0] == -5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size ? size : 1); /* ends where the input does, so that the sanitizer sees a step beyond */
    must(text);
    if (size)
        memcpy(text, data, size);
    struct expression x;
    struct reader r = {.s = text, .end = text + size};
    enum expression_status status = expression_evaluate(text, (int)size, &x);
    struct fraction want = sum(&r);
    int good = !r.bad && peek(&r) < 0;
    must(good == (status == EXPRESSION_GOOD));
    if (good) {
        must(x.value.num == want.num && x.value.den == want.den && x.numbers == r.numbers);
        for (int i = 0; i < r.numbers && i < EXPRESSION_NUMBERS; i++)
            must(x.number[i] == r.number[i]);
        take(&x);
    }
    free(text);
    return 0;
}
