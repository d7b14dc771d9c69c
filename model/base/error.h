/* Two kinds of failure and no third.
 *
 * What comes from outside (files, arguments, model text, the system) returns a status: 0 is good, -1 is
 * failed, and the caller's struct error says what, where and what to do. Broken invariants go through die().
 */
#ifndef ERROR_H
#define ERROR_H

struct error {
    char text[1024]; /* one sentence or two, no newline at the end */
};

/* Fill *e (which may be NULL) from a printf format; always returns -1, so callers write `return fail(e, ...)`. */
int fail(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put "prefix: " in front of the text already in *e; returns -1. */
int fail_in(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A broken invariant or exhausted memory: prints file, line and message to standard error, exits with status 1. */
void die_at(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));
#define die(...) die_at(__FILE__, __LINE__, __VA_ARGS__)

/* The candidate nearest to name by edit distance ('-' and '_' are equal), or NULL when none is near enough to
 * be worth suggesting. names[0..n). For "unknown key 'lamda', did you mean 'lambda'?". */
const char *nearest_name(const char *name, const char *const *names, int n);

#endif
