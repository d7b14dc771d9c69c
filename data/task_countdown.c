/* Countdown: reach a target with given numbers, each used once, by + - * and exact division. Prompt "3,9,4>31=", and a
 * working of one equation a line, whose last result is the target:
 *
 *     3*9=27
 *     27+4=31
 *
 * Every line takes numbers (given ones or results of lines before) out of the pool and puts its result there. Its left
 * side may be any expression, and a line without a result stands for its value, so the one-line answers "3*9+4" and
 * "3*9+4=31" are of the form as well. A line that ends in '?' gives the attempt up: the next line begins with all
 * numbers again. Only the last attempt counts.
 *
 * Items are solvable by construction: a random working is drawn until its result is a possible target. Intermediate
 * results of the teacher are whole and positive, as in the television game; an answer may go through fractions.
 *
 * To extend: another form of the teacher's text goes into gold() and the parameter `form`, with draws of its own so
 * that the texts of today's recipes stay what they are; another operator needs data/expression.c first. */
#include "expression.h"
#include "task.h"
#include <stdlib.h>
#include <string.h>

enum { MIN_NUMBERS = 2, MAX_NUMBERS = 6 };
enum {
    P_NUMBERS,
    P_MIN,
    P_MAX,
    P_TARGET_MIN,
    P_TARGET_MAX,
    P_SORTED,
    P_OPERATORS,
    P_USE,
    P_FORM,
    P_WRONG,
    P_GIVE_UP,
    P_ATTEMPTS,
    P_SHY,
    P_SHY_ABOVE
};
enum { USE_ALL, USE_ANY };
enum { FORM_EQUATIONS, FORM_EXPRESSION, FORM_SEARCH };

static const struct param params[] = {
    {"numbers", PARAM_INT, "3", MIN_NUMBERS, MAX_NUMBERS, NULL, "How many numbers are given.", NULL},
    {"min", PARAM_INT, "1", 1, 1000, NULL, "Smallest number given.", NULL},
    {"max", PARAM_INT, "10", 1, 1000, NULL, "Largest number given.", NULL},
    {"target_min", PARAM_INT, "1", 1, 10000, NULL, "Smallest target.", NULL},
    {"target_max", PARAM_INT, "100", 1, 10000, NULL, "Largest target.", NULL},
    {"sorted", PARAM_BOOL, "false", 0, 0, NULL, "Numbers are given in order of size, which makes them easier to learn.",
     NULL},
    {"operators", PARAM_TEXT, "+-*/", 0, 0, NULL, "Operators of the workings that items are made from: any of + - * /.",
     NULL},
    {"use", PARAM_CHOICE, "all", 0, 0, "all|any", "Every number exactly once, or at most once.", NULL},
    {"form", PARAM_CHOICE, "equations", 0, 0, "equations|expression|search",
     "Teacher: one equation a line; one expression; or equations where an attempt that misses is given up with '?' and "
     "followed by another.",
     NULL},
    {"wrong", PARAM_NUMBER, "0", 0, 1, NULL,
     "Teacher: chance that an attempt is a random working, true but missing the target.", NULL},
    {"give_up", PARAM_NUMBER, "0", 0, 1, NULL, "Teacher: chance that a text ends with an attempt that was given up.",
     "form=search"},
    {"attempts", PARAM_INT, "4", 1, 16, NULL, "Teacher: most attempts that miss; the next one is a solution.",
     "form=search"},
    {"shy", PARAM_NUMBER, "0", 0, 1, NULL,
     "Teacher: share of texts that give up without trying, '?' alone, where the target is above shy_above.", NULL},
    {"shy_above", PARAM_INT, "10", 0, 10000, NULL, "Teacher: largest target that it always tries.", "shy!=0"},
    {0}};

enum { SEED_ITEM = 5 }; /* of what is fixed for all runs; changing it changes every item */

static int knob(const struct task *t, int p)
{
    return (int)t->value[p].num;
}

struct puzzle {
    int n, target, number[MAX_NUMBERS];
};

/* ---- workings ---- */

/* A working as a tree: the given numbers are nodes 0 to n - 1, then one node a line, in order. */
struct node {
    int value, left, right;
    char op; /* 0: a given number */
};
struct working {
    int given, nodes;
    struct node node[2 * MAX_NUMBERS];
};

static int largest_result(const struct task *t)
{
    int largest = knob(t, P_MAX) > knob(t, P_TARGET_MAX) ? knob(t, P_MAX) : knob(t, P_TARGET_MAX);
    return 10 * largest; /* keeps texts short; workings through larger numbers are rare */
}

/* One of the operators that make a whole positive number, not too large, of nodes i and j; 0 when there is
 * none. */
static int combine(const struct task *t, int i, int j, uint64_t bits, struct working *w)
{
    struct node choice[4];
    int n = 0, x = w->node[i].value, y = w->node[j].value, limit = largest_result(t);
    int big = x >= y ? i : j, small = x >= y ? j : i, most = x >= y ? x : y, least = x >= y ? y : x;
    for (const char *op = t->value[P_OPERATORS].text; *op; op++) {
        if (*op == '+' && x <= limit - y)
            choice[n++] = (struct node){x + y, i, j, '+'};
        else if (*op == '*' && x <= limit / y)
            choice[n++] = (struct node){x * y, i, j, '*'};
        else if (*op == '-' && most > least)
            choice[n++] = (struct node){most - least, big, small, '-'};
        else if (*op == '/' && most % least == 0)
            choice[n++] = (struct node){most / least, big, small, '/'};
    }
    if (n > 0)
        w->node[w->nodes++] = choice[bits % (uint64_t)n];
    return n > 0;
}

/* A random working with the puzzle's numbers, whatever its result; draws from position `at` on. The result of a line
 * stands before the numbers in a sum or product, these in the prompt's order. 0 when it ran into a dead end. */
enum { WORKING_DRAWS = 1 + 3 * MAX_NUMBERS };
static int draw_working(const struct task *t, const struct puzzle *p, struct rng r, uint64_t at, struct working *w)
{
    int pool[MAX_NUMBERS], lines = p->n - 1;
    *w = (struct working){.given = p->n, .nodes = p->n};
    for (int i = 0; i < p->n; i++) {
        w->node[i].value = p->number[i];
        pool[i] = i;
    }
    if (knob(t, P_USE) == USE_ANY)
        lines = 1 + rng_below(r, at, p->n - 1);
    for (int n = p->n; n > p->n - lines; n--, at += 3) {
        int i = rng_below(r, at + 1, n), j = rng_below(r, at + 2, n - 1), first, second;
        j += j >= i;
        first = i < j ? i : j;
        second = i < j ? j : i;
        if (!combine(t, pool[first], pool[second], rng_bits(r, at + 3), w))
            return 0;
        memmove(pool + second, pool + second + 1, (size_t)(n - 1 - second) * sizeof *pool);
        memmove(pool + 1, pool, (size_t)first * sizeof *pool);
        pool[0] = w->nodes - 1;
    }
    return 1;
}

static int working_result(const struct working *w)
{
    return w->node[w->nodes - 1].value;
}

static void write_equations(const struct working *w, struct text *out)
{
    for (int k = w->given; k < w->nodes; k++) {
        const struct node *x = &w->node[k];
        text_addf(out, "%s%d%c%d=%d", k > w->given ? "\n" : "", w->node[x->left].value, x->op, w->node[x->right].value,
                  x->value);
    }
}

static int is_sum(char op)
{
    return op == '+' || op == '-';
}

/* Node k as an expression with the brackets that it needs inside `around`; at most MAX_NUMBERS deep. */
static void write_expression(const struct working *w, int k, char around, int on_right, struct text *out)
{
    const struct node *x = &w->node[k];
    if (!x->op) {
        text_addf(out, "%d", x->value);
        return;
    }
    int same = around && is_sum(x->op) == is_sum(around);
    int brackets =
        (around && is_sum(x->op) && !is_sum(around)) || (same && on_right && (around == '-' || around == '/'));
    text_add(out, "(", brackets);
    write_expression(w, x->left, x->op, 0, out);
    text_add(out, &x->op, 1);
    write_expression(w, x->right, x->op, 1, out);
    text_add(out, ")", brackets);
}

/* ---- items ---- */

static int by_size(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void draw_numbers(const struct task *t, struct rng r, struct puzzle *p)
{
    p->n = knob(t, P_NUMBERS);
    for (int i = 0; i < p->n; i++)
        p->number[i] = knob(t, P_MIN) + rng_below(r, (uint64_t)i, knob(t, P_MAX) - knob(t, P_MIN) + 1);
    if (knob(t, P_SORTED))
        qsort(p->number, (size_t)p->n, sizeof *p->number, by_size);
}

/* Numbers with a working whose result becomes the target; 0 when it cannot be one. */
static int draw_puzzle(const struct task *t, struct rng r, struct puzzle *p, struct working *w)
{
    draw_numbers(t, r, p);
    if (!draw_working(t, p, r, MAX_NUMBERS, w))
        return 0;
    p->target = working_result(w);
    return p->target >= knob(t, P_TARGET_MIN) && p->target <= knob(t, P_TARGET_MAX);
}

static void write_prompt(const struct puzzle *p, struct text *out)
{
    text_clear(out);
    for (int i = 0; i < p->n; i++)
        text_addf(out, "%s%d", i ? "," : "", p->number[i]);
    text_addf(out, ">%d=", p->target);
}

/* The prompt is our own text, so it is well formed. */
static void read_prompt(const struct text *s, struct puzzle *p)
{
    char *at = s->s;
    for (p->n = 0; p->n < MAX_NUMBERS && (p->n == 0 || *at == ','); p->n++)
        p->number[p->n] = (int)strtol(at + (p->n > 0), &at, 10);
    p->target = (int)strtol(at + 1, NULL, 10);
}

/* By the numbers in order of size: another order of the same numbers is no new puzzle. */
static enum split split_of(const struct puzzle *p, struct text *scratch)
{
    struct puzzle sorted = *p;
    qsort(sorted.number, (size_t)sorted.n, sizeof *sorted.number, by_size);
    write_prompt(&sorted, scratch);
    return task_split(scratch->s, scratch->len);
}

/* Draws are repeated until the puzzle falls into the split: at most some hundred times, see check_splits. */
static void make(const struct task *t, enum split split, uint64_t index, struct item *out)
{
    struct puzzle p;
    struct working w;
    uint32_t draw = 0;
    do {
        if (draw == 1u << 16)
            die("no puzzle of the split was found in %u draws", draw);
    } while (!draw_puzzle(t, rng_stream(SEED_ITEM, RNG_TASK, split, index, draw++), &p, &w) ||
             split_of(&p, &out->prompt) != split);
    out->split = split;
    out->index = index;
    write_prompt(&p, &out->prompt);
    text_clear(&out->answer);
    write_expression(&w, w.nodes - 1, 0, 0, &out->answer);
    text_clear(&out->extra); /* the same working as equations */
    write_equations(&w, &out->extra);
}

/* Both splits need puzzles, and workings that lead to a target must not be too rare. */
static int check_splits(const struct task *t, struct error *e)
{
    enum { DRAWS = 4096, LEAST = 20 };
    struct text s = {0};
    struct puzzle p;
    struct working w;
    int found[2] = {0};
    for (uint64_t i = 0; i < DRAWS; i++)
        if (draw_puzzle(t, rng_stream(SEED_ITEM, RNG_TASK, 2, i, 0), &p, &w))
            found[split_of(&p, &s)]++;
    text_free(&s);
    if (found[SPLIT_TRAIN] < LEAST || found[SPLIT_TEST] < LEAST)
        return fail(e,
                    "too few puzzles for training and test: %d and %d in %d draws; widen target_min to target_max or "
                    "min to max",
                    found[SPLIT_TRAIN], found[SPLIT_TEST], DRAWS);
    return 0;
}

static int digits_of(int x)
{
    int n = 1;
    for (; x >= 10; x /= 10)
        n++;
    return n;
}

static int open(struct task *t, struct error *e)
{
    int n = knob(t, P_NUMBERS), digits = digits_of(largest_result(t));
    if (knob(t, P_MIN) > knob(t, P_MAX))
        return fail(e, "min = %d is above max = %d", knob(t, P_MIN), knob(t, P_MAX));
    if (knob(t, P_TARGET_MIN) > knob(t, P_TARGET_MAX))
        return fail(e, "target_min = %d is above target_max = %d", knob(t, P_TARGET_MIN), knob(t, P_TARGET_MAX));
    if (task_check_operators(t->value[P_OPERATORS].text, "+-*/", e) || check_splits(t, e))
        return -1;
    int equations = (n - 1) * (3 * digits + 3), expression = n * digits_of(knob(t, P_MAX)) + 3 * (n - 1);
    t->longest_prompt = n * (digits_of(knob(t, P_MAX)) + 1) + digits_of(knob(t, P_TARGET_MAX)) + 1;
    t->longest_gold = knob(t, P_FORM) == FORM_EXPRESSION ? expression : equations;
    if (knob(t, P_FORM) == FORM_SEARCH)
        t->longest_gold += knob(t, P_ATTEMPTS) * (equations + 1);
    return 0;
}

/* ---- the teacher ---- */

/* A random working that misses the target. Where nearly all reach it (2,2>4 with + alone) or get stuck (division alone)
 * the last one drawn has to do, whatever it is. */
enum { TRIES = 64 };
static void draw_miss(const struct task *t, const struct puzzle *p, struct rng r, uint64_t at, struct working *w)
{
    for (int i = 0; i < TRIES; i++, at += WORKING_DRAWS)
        if (draw_working(t, p, r, at, w) && working_result(w) != p->target)
            return;
}

static void add_working(const struct task *t, const struct working *w, struct text *out)
{
    if (knob(t, P_FORM) == FORM_EXPRESSION)
        write_expression(w, w->nodes - 1, 0, 0, out);
    else
        write_equations(w, out);
}

static void gold(const struct task *t, const struct item *it, struct rng r, struct text *out)
{
    /* positions of draws */
    enum { WRONG, GIVE_UP, OF_ATTEMPT, SHY = 63, MISSES, OF_MISS = TRIES * WORKING_DRAWS };
    struct puzzle p;
    struct working w;
    int form = knob(t, P_FORM), most = form == FORM_SEARCH ? knob(t, P_ATTEMPTS) : 1;
    text_clear(out);
    read_prompt(&it->prompt, &p);
    if (p.target > knob(t, P_SHY_ABOVE) && rng_uniform(r, SHY) < t->value[P_SHY].num) {
        text_add(out, "?", 1);
        return;
    }
    for (uint64_t i = 0; i < (uint64_t)most; i++) {
        if (rng_uniform(r, i * OF_ATTEMPT + WRONG) >= t->value[P_WRONG].num)
            break;
        draw_miss(t, &p, r, MISSES + OF_MISS * i, &w);
        add_working(t, &w, out);
        if (form != FORM_SEARCH)
            return;
        text_add(out, "?", 1);
        if (rng_uniform(r, i * OF_ATTEMPT + GIVE_UP) < t->value[P_GIVE_UP].num)
            return;
        text_add(out, "\n", 1);
    }
    text_add(out, form == FORM_EXPRESSION ? it->answer.s : it->extra.s, -1);
}

/* ---- the verifier ---- */

struct line {
    int well_formed, gives_up, claims; /* claims: a result is written */
    int64_t claim;
    struct expression left;
};

/* A line without its newline. '?' alone is of the form: an attempt given up before it began. */
static void scan_line(const char *s, int len, struct line *l)
{
    struct expression right;
    int left = 0;
    l->gives_up = len > 0 && s[len - 1] == '?';
    len -= l->gives_up;
    while (left < len && s[left] != '=')
        left++;
    l->claims = left < len;
    l->well_formed = expression_evaluate(s, left, &l->left) == EXPRESSION_GOOD || (len == 0 && l->gives_up);
    if (!l->claims || !l->well_formed)
        return;
    for (int i = left + 1; i < len; i++) /* a result is a number and nothing else */
        l->well_formed = l->well_formed && s[i] >= '0' && s[i] <= '9';
    l->well_formed = l->well_formed && expression_evaluate(s + left + 1, len - left - 1, &right) == EXPRESSION_GOOD;
    l->claim = l->well_formed ? right.value.num : 0;
}

struct pool {
    int n;
    int64_t number[MAX_NUMBERS]; /* the result of the line before stands last */
};

static struct pool full_pool(const struct puzzle *p)
{
    struct pool pool = {.n = p->n};
    for (int i = 0; i < p->n; i++)
        pool.number[i] = p->number[i];
    return pool;
}

/* The expression's numbers leave the pool and `result` enters; 0 when they are not all there. */
static int pool_replace(struct pool *pool, const struct expression *e, int64_t result)
{
    if (e->numbers == 0 || !expression_take(e, pool->number, &pool->n))
        return 0;
    pool->number[pool->n++] = result;
    return 1;
}

/* A true line with numbers of the pool changes it and gives 1. Only whole results can go on; the last one has to be the
 * target, which is whole. */
static int pool_apply(struct pool *pool, const struct line *l)
{
    struct rational x = l->left.value;
    return x.den == 1 && (!l->claims || l->claim == x.num) && pool_replace(pool, &l->left, x.num);
}

static int solved(const struct pool *pool, int target, int use)
{
    return (pool->n == 1 || use == USE_ANY) && pool->number[pool->n - 1] == target;
}

/* Lines of the form and nothing else, without a newline at the end. */
static enum verdict check_strict(const struct puzzle *p, int use, const char *s, int len)
{
    struct pool pool = full_pool(p);
    struct line l;
    int valid = 1, closed = 1;
    for (int start = 0, end; start < len; start = end) {
        end = task_line_end(s, len, start);
        closed = s[end - 1] == '\n';
        scan_line(s + start, end - start - closed, &l);
        if (!l.well_formed)
            return VERDICT_UNPARSABLE;
        valid = valid && pool_apply(&pool, &l);
        if (l.gives_up && closed) {
            pool = full_pool(p);
            valid = 1;
        }
    }
    if (closed)
        return VERDICT_UNPARSABLE;
    return valid && !l.gives_up && solved(&pool, p->target, use) ? VERDICT_RIGHT : VERDICT_WRONG;
}

/* A stretch of arithmetic inside other text: sides separated by '=', of which the one with most numbers counts. 0 when
 * it is no operation at all; *equal: all sides have one value. */
static int scan_stretch(const char *s, int len, struct line *l, int *equal)
{
    struct expression side;
    int sides = 0;
    *equal = 1;
    for (int start = 0, end, at; start <= len; start = end + 1) {
        const char *equals = start < len ? memchr(s + start, '=', (size_t)(len - start)) : NULL;
        end = equals ? (int)(equals - s) : len;
        for (at = start; at < end && s[at] == ' ';)
            at++;
        if (at == end)
            continue;
        if (expression_evaluate(s + at, end - at, &side) != EXPRESSION_GOOD)
            return 0;
        *equal = *equal && (!sides || (side.value.num == l->left.value.num && side.value.den == l->left.value.den));
        if (!sides++ || side.numbers > l->left.numbers)
            l->left = side;
    }
    l->claims = 0;
    return sides && l->left.numbers > 1;
}

static int is_arithmetic(char c)
{
    return c && strchr("0123456789+-*/()= ", c) != NULL;
}

/* Part of a name or a longer number when it touches one. */
static int joins(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("_.,!", c));
}

/* May stretch [start, end) of s be read by itself? Not when its neighbours make it part of something else: a power, a
 * sign that is not ASCII, a decimal number, a name. A full stop or comma that no digit follows ends a sentence. */
static int stands_alone(const char *s, int len, int start, int end)
{
    unsigned char before = start ? (unsigned char)s[start - 1] : '\n', after = end < len ? (unsigned char)s[end] : '\n';
    int sentence = (after == '.' || after == ',') && !(end + 1 < len && s[end + 1] >= '0' && s[end + 1] <= '9');
    if (before >= 0x80 || after >= 0x80 || memchr("^%", before, 3) || memchr("^%", after, 3))
        return 0;
    return !(s[start] != ' ' && joins(before)) && !(s[end - 1] != ' ' && joins(after) && !sentence);
}

/* The last true or false operation found anywhere decides. It goes on from the ones before where it can, else it begins
 * with all numbers again. */
static enum verdict check_lenient(const struct puzzle *p, int use, const char *s, int len)
{
    struct pool pool = full_pool(p);
    enum verdict v = VERDICT_UNPARSABLE;
    struct line l;
    for (int start = 0, end = 0, equal; start < len; start = end) {
        while (end < len && is_arithmetic(s[end]))
            end++;
        if (end == start) {
            pool = s[end++] == '?' ? full_pool(p) : pool;
            continue;
        }
        if (!stands_alone(s, len, start, end) || !scan_stretch(s + start, end - start, &l, &equal))
            continue;
        int valid = equal && pool_apply(&pool, &l);
        if (!valid) {
            pool = full_pool(p);
            valid = equal && pool_apply(&pool, &l);
        }
        v = valid && solved(&pool, p->target, use) ? VERDICT_RIGHT : VERDICT_WRONG;
    }
    return v;
}

static void check(const struct task *t, const struct item *it, const char *response, int len, enum verdict *strict,
                  enum verdict *lenient)
{
    struct puzzle p;
    read_prompt(&it->prompt, &p);
    *strict = check_strict(&p, knob(t, P_USE), response, len);
    *lenient = *strict == VERDICT_RIGHT ? VERDICT_RIGHT : check_lenient(&p, knob(t, P_USE), response, len);
}

/* ---- steps ---- */

static void step_line(const char *s, const struct step *step, struct line *l)
{
    int len = step->end - step->start;
    scan_line(s + step->start, len - (len && s[step->end - 1] == '\n'), l);
}

/* Can the target be made of v[0..n)? Tries everything: some hundred combinations for three numbers, a quarter of a
 * million for five; the depth of the recursion is n. */
static int reachable(const struct rational *v, int n, int target, int use)
{
    static const char order[][2] = {{'+', 0}, {'-', 0}, {'-', 1}, {'*', 0}, {'/', 0}, {'/', 1}};
    struct rational rest[MAX_NUMBERS];
    for (int i = 0; i < n && (use == USE_ANY || n == 1); i++)
        if (v[i].num == target && v[i].den == 1)
            return 1;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            int m = 0;
            for (int k = 0; k < n; k++)
                if (k != i && k != j)
                    rest[m++] = v[k];
            for (size_t o = 0; o < sizeof order / sizeof *order; o++) {
                int swap = order[o][1];
                if (!rational_apply(v[swap ? j : i], order[o][0], v[swap ? i : j], &rest[m]) &&
                    reachable(rest, m + 1, target, use))
                    return 1;
            }
        }
    return 0;
}

static int pool_reaches(const struct pool *pool, int target, int use)
{
    struct rational v[MAX_NUMBERS];
    for (int i = 0; i < pool->n; i++)
        v[i] = (struct rational){pool->number[i], 1};
    return reachable(v, pool->n, target, use);
}

/* The pool before step k. An error is carried on: what a line claims is what the next ones have. 0 when the attempt has
 * more lines than its numbers allow, so that a step costs the same wherever it stands. */
static int pool_before(const struct puzzle *p, const char *response, const struct step *s, int k, struct pool *pool)
{
    struct line l;
    int first = k;
    for (; first > 0; first--) {
        const char *end = response + s[first - 1].end;
        if (k - first == MAX_NUMBERS)
            return 0;
        if (s[first - 1].end - s[first - 1].start > 1 && end[-1] == '\n' && end[-2] == '?')
            break;
    }
    *pool = full_pool(p);
    for (int i = first; i < k; i++) {
        step_line(response, &s[i], &l);
        if (l.well_formed && (l.claims || l.left.value.den == 1))
            pool_replace(pool, &l.left, l.claims ? l.claim : l.left.value.num);
    }
    return 1;
}

/* The oracle: a line is right when it is an operation, true, takes what is in the pool, and leaves a pool from which
 * the target can still be reached; a line that gives up is right when it cannot. */
static enum verdict check_step(const struct task *t, const struct item *it, const char *response, int len,
                               const struct step *s, int n, int k)
{
    (void)len;
    (void)n;
    struct puzzle p;
    struct pool pool;
    struct line l;
    step_line(response, &s[k], &l);
    if (!l.well_formed)
        return VERDICT_UNPARSABLE;
    read_prompt(&it->prompt, &p);
    if (l.left.numbers < 2 || !pool_before(&p, response, s, k, &pool) || !pool_apply(&pool, &l))
        return VERDICT_WRONG;
    return pool_reaches(&pool, p.target, knob(t, P_USE)) != l.gives_up ? VERDICT_RIGHT : VERDICT_WRONG;
}

const struct task_row task_countdown = {
    .name = "countdown",
    .sentence = "Reach a target with given numbers by + - * /, one equation a line, with an oracle for every step.",
    .params = params,
    .open = open,
    .alphabet = "0123456789+-*/()=,>?\n",
    .make = make,
    .gold = gold,
    .check = check,
    .steps = task_lines,
    .check_step = check_step,
};
