/* Arithmetic from left to right, modulo `mod`: prompt "3+5-2+7=", worked one line an operation and then the answer:
 *
 *     3+5=8
 *     8-2=6
 *     6+7=3
 *     #3
 *
 * Every step has an oracle, so outcome and process can be told apart. Not ordinary arithmetic: no precedence, no
 * negative numbers. The teacher of the warm-up text can be made imperfect in four ways; a policy that imitates it has
 * its ceiling built in, which training on outcomes can lift.
 *
 * To extend: another operator goes into apply() and the alphabet, another imperfection into gold(), each with draws of
 * its own so that the texts of today's recipes stay what they are. */
#include "task.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_OPS = 16 };
enum {
    P_MOD,
    P_OPS_MIN,
    P_OPS_MAX,
    P_OPERATORS,
    P_BARE,
    P_WRONG_FACTS,
    P_WRONG_RATE,
    P_RECHECK,
    P_SLIP,
    P_ANSWER_MOD,
    P_ANSWER_NOISE
};

static const struct param params[] = {
    {"mod", PARAM_INT, "10", 2, 1000, NULL, "Numbers are 0 to mod - 1, results are taken modulo it.", NULL},
    {"ops_min", PARAM_INT, "3", 1, MAX_OPS, NULL, "Fewest operations of a prompt.", NULL},
    {"ops_max", PARAM_INT, "5", 1, MAX_OPS, NULL, "Most operations of a prompt.", NULL},
    {"operators", PARAM_TEXT, "+-*", 0, 0, NULL, "Operators drawn from: any of + - *, each at most once.", NULL},
    {"bare", PARAM_NUMBER, "0.6", 0, 1, NULL, "Teacher: share of texts that give only the answer, which is right.",
     NULL},
    {"wrong_facts", PARAM_NUMBER, "0.15", 0, 1, NULL,
     "Teacher: share of single operations (3+5) that it has learned wrongly, always with the same wrong result.", NULL},
    {"wrong_rate", PARAM_NUMBER, "0.6", 0, 1, NULL,
     "Teacher: how often it uses the wrong result of such an operation; the error is carried on.", "wrong_facts!=0"},
    {"recheck", PARAM_INT, "0", 0, 8, NULL,
     "Teacher: every line is repeated as a check (?3+5=8) up to so many times, a number drawn evenly from 0.", NULL},
    {"slip", PARAM_NUMBER, "0", 0, 1, NULL,
     "Teacher: share of worked texts with one wrong result that the next line silently ignores.", NULL},
    {"answer_mod", PARAM_INT, "0", 0, 999, NULL,
     "The answer is the result modulo this, so that it can be guessed; 0: the result itself.", NULL},
    {"answer_noise", PARAM_NUMBER, "0", 0, 1, NULL,
     "Share of training items whose truth is replaced by another answer for good; test items keep theirs.", NULL},
    {0}};

/* Seeds of what is fixed for all runs; changing one changes every item. */
enum { SEED_ITEM = 1, SEED_FACT = 2, SEED_FACT_RESULT = 3, SEED_NOISE = 4, SEED_NOISE_ANSWER = 5 };

static int knob(const struct task *t, int p)
{
    return (int)t->value[p].num;
}

struct prompt {
    int n, first, right[MAX_OPS];
    char op[MAX_OPS];
};

static int apply(int left, char op, int right, int mod)
{
    int x = op == '+' ? left + right : op == '-' ? left - right : left * right;
    return (x % mod + mod) % mod;
}

static int result_of(const struct prompt *p, int mod)
{
    int x = p->first;
    for (int i = 0; i < p->n; i++)
        x = apply(x, p->op[i], p->right[i], mod);
    return x;
}

static double share_of_hash(uint64_t h)
{
    return (double)(h >> 11) * 0x1p-53;
}

/* A number below `below` that is not x, chosen by bits. */
static int another(int x, int below, uint64_t bits)
{
    return (int)(((uint64_t)x + 1 + bits % (uint64_t)(below - 1)) % (uint64_t)below);
}

/* ---- items ---- */

static void draw_prompt(const struct task *t, struct rng r, struct prompt *p)
{
    const char *operators = t->value[P_OPERATORS].text;
    int least = knob(t, P_OPS_MIN), mod = knob(t, P_MOD), kinds = (int)strlen(operators);
    p->n = least + rng_below(r, 0, knob(t, P_OPS_MAX) - least + 1);
    p->first = rng_below(r, 1, mod);
    for (int i = 0; i < p->n; i++) {
        p->op[i] = operators[rng_below(r, 2 + 2 * (uint64_t)i, kinds)];
        p->right[i] = rng_below(r, 3 + 2 * (uint64_t)i, mod);
    }
}

static void write_prompt(const struct prompt *p, struct text *out)
{
    text_clear(out);
    text_addf(out, "%d", p->first);
    for (int i = 0; i < p->n; i++)
        text_addf(out, "%c%d", p->op[i], p->right[i]);
    text_add(out, "=", 1);
}

/* The prompt is our own text, so it is well formed. */
static void read_prompt(const struct text *s, struct prompt *p)
{
    char *at;
    p->first = (int)strtol(s->s, &at, 10);
    for (p->n = 0; p->n < MAX_OPS && *at != '='; p->n++) {
        p->op[p->n] = *at++;
        p->right[p->n] = (int)strtol(at, &at, 10);
    }
}

/* Draws are repeated until the prompt falls into the split: at most some hundred times, see open(). Test items may
 * repeat each other, which matters only where there are few prompts. */
static void make(const struct task *t, enum split split, uint64_t index, struct item *out)
{
    struct prompt p;
    uint32_t draw = 0;
    do {
        if (draw == 1u << 16)
            die("no prompt of the split was found in %u draws", draw);
        draw_prompt(t, rng_stream(SEED_ITEM, RNG_TASK, split, index, draw++), &p);
        write_prompt(&p, &out->prompt);
    } while (task_split(out->prompt.s, out->prompt.len) != split);
    int answers = knob(t, P_ANSWER_MOD) ? knob(t, P_ANSWER_MOD) : knob(t, P_MOD);
    int answer = result_of(&p, knob(t, P_MOD)) % answers;
    out->split = split;
    out->index = index;
    text_clear(&out->extra); /* the answer before any noise: what the oracle of the last step compares with */
    text_addf(&out->extra, "%d", answer);
    if (split == SPLIT_TRAIN &&
        share_of_hash(hash_bytes(out->prompt.s, out->prompt.len, SEED_NOISE)) < t->value[P_ANSWER_NOISE].num)
        answer = another(answer, answers, hash_bytes(out->prompt.s, out->prompt.len, SEED_NOISE_ANSWER));
    text_clear(&out->answer);
    text_addf(&out->answer, "%d", answer);
}

/* Both splits need prompts: with few different ones the hash may put all of them into one. */
static int check_splits(const struct task *t, struct error *e)
{
    enum { DRAWS = 4096, LEAST = 20 };
    struct text s = {0};
    struct prompt p;
    int held_out = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        draw_prompt(t, rng_stream(SEED_ITEM, RNG_TASK, 2, i, 0), &p);
        write_prompt(&p, &s);
        held_out += task_split(s.s, s.len) == SPLIT_TEST;
    }
    text_free(&s);
    if (held_out < LEAST || DRAWS - held_out < LEAST)
        return fail(e, "too few different prompts for training and test; raise ops_max or mod");
    return 0;
}

static int open(struct task *t, struct error *e)
{
    int mod = knob(t, P_MOD), answer_mod = knob(t, P_ANSWER_MOD), ops = knob(t, P_OPS_MAX), digits = 1;
    if (knob(t, P_OPS_MIN) > ops)
        return fail(e, "ops_min = %d is above ops_max = %d", knob(t, P_OPS_MIN), ops);
    if (answer_mod == 1 || answer_mod >= mod)
        return fail(e, "answer_mod = %d: it has to be 0, or from 2 to mod - 1 = %d", answer_mod, mod - 1);
    if (task_check_operators(t->value[P_OPERATORS].text, "+-*", e) || check_splits(t, e))
        return -1;
    for (int most = mod - 1; most >= 10; most /= 10)
        digits++;
    t->longest_prompt = digits + ops * (1 + digits) + 1;
    t->longest_gold = ops * (3 * digits + 3 + knob(t, P_RECHECK) * (3 * digits + 4)) + 1 + digits;
    return 0;
}

/* ---- the teacher ---- */

/* What the teacher believes to be the result: for some operations always the same wrong number, which it uses with
 * probability wrong_rate. */
static int believed(const struct task *t, int left, char op, int right, double u)
{
    int mod = knob(t, P_MOD), fact[4] = {left, op, right, mod}, x = apply(left, op, right, mod);
    if (share_of_hash(hash_bytes(fact, sizeof fact, SEED_FACT)) < t->value[P_WRONG_FACTS].num &&
        u < t->value[P_WRONG_RATE].num)
        return another(x, mod, hash_bytes(fact, sizeof fact, SEED_FACT_RESULT));
    return x;
}

static void gold(const struct task *t, const struct item *it, struct rng r, struct text *out)
{
    enum { BARE, SLIP, SLIP_LINE, SLIP_RESULT, LINES = 16, OF_LINE = 2 }; /* positions of draws */
    struct prompt p;
    int mod = knob(t, P_MOD), slip = -1;
    text_clear(out);
    if (rng_uniform(r, BARE) < t->value[P_BARE].num) {
        text_addf(out, "#%s", it->extra.s);
        return;
    }
    read_prompt(&it->prompt, &p);
    if (rng_uniform(r, SLIP) < t->value[P_SLIP].num)
        slip = rng_below(r, SLIP_LINE, p.n);
    int x = p.first;
    for (int i = 0; i < p.n; i++) {
        uint64_t at = LINES + OF_LINE * (uint64_t)i;
        int next = believed(t, x, p.op[i], p.right[i], rng_uniform(r, at));
        int written = i == slip ? another(next, mod, rng_bits(r, SLIP_RESULT)) : next;
        int checks = rng_below(r, at + 1, knob(t, P_RECHECK) + 1);
        for (int k = 0; k <= checks; k++)
            text_addf(out, "%s%d%c%d=%d\n", k ? "?" : "", x, p.op[i], p.right[i], written);
        x = next;
    }
    text_addf(out, "#%d", knob(t, P_ANSWER_MOD) ? x % knob(t, P_ANSWER_MOD) : x);
}

/* ---- the verifier ---- */

enum line_kind { LINE_BAD, LINE_OPERATION, LINE_RECHECK, LINE_ANSWER };
struct line {
    enum line_kind kind;
    int left, right, result; /* the answer stands in result */
    char op;
};

/* A whole number as this task writes them, without sign or leading zeros; what is larger than any number here is all
 * one value. Returns the bytes used, 0 for none. */
static int scan_plain(const char *s, int len, int *value)
{
    enum { HUGE_NUMBER = 1 << 20 };
    int n = 0, x = 0;
    for (; n < len && s[n] >= '0' && s[n] <= '9'; n++)
        x = x >= HUGE_NUMBER ? HUGE_NUMBER : 10 * x + (s[n] - '0');
    *value = x > HUGE_NUMBER ? HUGE_NUMBER : x;
    return n > 1 && s[0] == '0' ? 0 : n;
}

/* A line without its newline. */
static struct line scan_line(const char *s, int len)
{
    struct line bad = {0}, l = {.kind = LINE_OPERATION};
    int at = 0, n;
    if (len && s[0] == '#') {
        l.kind = LINE_ANSWER;
        n = scan_plain(s + 1, len - 1, &l.result);
        return n && 1 + n == len ? l : bad;
    }
    if (len && s[0] == '?') {
        l.kind = LINE_RECHECK;
        at = 1;
    }
    if (!(n = scan_plain(s + at, len - at, &l.left)) || (at += n) >= len || !memchr("+-*", s[at], 3))
        return bad;
    l.op = s[at++];
    if (!(n = scan_plain(s + at, len - at, &l.right)) || (at += n) >= len || s[at++] != '=')
        return bad;
    n = scan_plain(s + at, len - at, &l.result);
    return n && at + n == len ? l : bad;
}

static struct line step_line(const char *s, const struct step *step)
{
    int len = step->end - step->start;
    return scan_line(s + step->start, len - (len && s[step->end - 1] == '\n'));
}

/* Lines of the form, then "#answer" and nothing after it. Anything else has no answer in the strict sense. */
static enum verdict check_strict(const char *s, int len, int truth)
{
    for (int start = 0, end; start < len; start = end) {
        end = task_line_end(s, len, start);
        int closed = s[end - 1] == '\n';
        struct line l = scan_line(s + start, end - start - closed);
        if (l.kind == LINE_ANSWER && !closed)
            return l.result == truth ? VERDICT_RIGHT : VERDICT_WRONG;
        if (l.kind == LINE_BAD || l.kind == LINE_ANSWER || !closed)
            return VERDICT_UNPARSABLE;
    }
    return VERDICT_UNPARSABLE;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number as people write them: sign, zeros in front, zeros after a point. Unparsable when there is none at s. */
static enum verdict compare_number(const char *s, int len, int truth)
{
    enum { HUGE_NUMBER = 1 << 20 };
    int at = 0, x = 0, negative = 0, fraction = 0;
    if (at < len && (s[at] == '-' || s[at] == '+'))
        negative = s[at++] == '-';
    if (at >= len || !is_digit(s[at]))
        return VERDICT_UNPARSABLE;
    for (; at < len && is_digit(s[at]); at++)
        x = x >= HUGE_NUMBER ? HUGE_NUMBER : 10 * x + (s[at] - '0');
    if (at + 1 < len && s[at] == '.' && is_digit(s[at + 1]))
        for (at++; at < len && is_digit(s[at]); at++)
            fraction |= s[at] != '0';
    return !fraction && (negative ? -x : x) == truth ? VERDICT_RIGHT : VERDICT_WRONG;
}

/* The number at the end of the text, if it ends with one. */
static enum verdict check_trailing(const char *s, int len, int truth)
{
    while (len && (strchr(" \t\r\n.", s[len - 1]) && s[len - 1]))
        len--;
    int start = len, points = 0;
    while (start && (is_digit(s[start - 1]) || (s[start - 1] == '.' && start < len && !points++)))
        start--;
    while (start < len && s[start] == '.')
        start++;
    int binary = start > 1 && is_digit(s[start - 2]); /* in 8-2 the sign belongs to the operation */
    if (start && start < len && s[start - 1] == '-' && !binary)
        start--;
    return compare_number(s + start, len - start, truth);
}

/* The last "#number" wherever it stands, else a number at the end. */
static enum verdict check_lenient(const char *s, int len, int truth)
{
    for (int at = len - 1; at >= 0; at--) {
        if (s[at] != '#')
            continue;
        int from = at + 1;
        while (from < len && s[from] == ' ')
            from++;
        enum verdict v = compare_number(s + from, len - from, truth);
        if (v != VERDICT_UNPARSABLE)
            return v;
    }
    return check_trailing(s, len, truth);
}

static void check(const struct task *t, const struct item *it, const char *response, int len, enum verdict *strict,
                  enum verdict *lenient)
{
    (void)t;
    int truth = (int)strtol(it->answer.s, NULL, 10);
    *strict = check_strict(response, len, truth);
    *lenient = check_lenient(response, len, truth);
}

/* ---- steps ---- */

/* A re-check is right when it repeats the line before it and that line's arithmetic is true. */
static int recheck_is_right(const struct line *l, const struct line *before, int mod)
{
    return (before->kind == LINE_OPERATION || before->kind == LINE_RECHECK) && l->left == before->left &&
           l->op == before->op && l->right == before->right && l->result == before->result && l->left < mod &&
           l->right < mod && l->result == apply(l->left, l->op, l->right, mod);
}

/* The oracle of setting S-chain: the line parses, its left operand is the result that the line of the operation before
 * wrote (the first number at the start), operator and right operand are the prompt's next, and the arithmetic is true.
 * The answer line has to give the result of all operations. Nothing is right after an answer. */
static enum verdict check_step(const struct task *t, const struct item *it, const char *response, int len,
                               const struct step *s, int n, int k)
{
    (void)len;
    (void)n;
    struct prompt p;
    struct line l = step_line(response, &s[k]), before = {0};
    int mod = knob(t, P_MOD), done = 0, x;
    if (l.kind == LINE_BAD)
        return VERDICT_UNPARSABLE;
    read_prompt(&it->prompt, &p);
    x = p.first;
    for (int i = 0; i < k; i++) {
        before = step_line(response, &s[i]);
        if (before.kind == LINE_ANSWER)
            return VERDICT_WRONG;
        if (before.kind == LINE_OPERATION) {
            done++;
            x = before.result;
        }
    }
    if (l.kind == LINE_RECHECK)
        return recheck_is_right(&l, &before, mod) ? VERDICT_RIGHT : VERDICT_WRONG;
    if (l.kind == LINE_ANSWER)
        return l.result == (int)strtol(it->extra.s, NULL, 10) ? VERDICT_RIGHT : VERDICT_WRONG;
    return done < p.n && x < mod && l.left == x && l.op == p.op[done] && l.right == p.right[done] &&
                   l.result == apply(x, l.op, l.right, mod)
               ? VERDICT_RIGHT
               : VERDICT_WRONG;
}

const struct task_row task_chain = {
    .name = "chain",
    .sentence = "Arithmetic from left to right modulo a number, one line an operation, with an oracle for every step.",
    .params = params,
    .open = open,
    .alphabet = "0123456789+-*=?#\n",
    .make = make,
    .gold = gold,
    .check = check,
    .steps = task_lines,
    .check_step = check_step,
};
