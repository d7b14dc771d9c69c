/* A function run in a child process, for what ends the program, and a look into texts. Included after cmocka. */
#ifndef CHILD_H
#define CHILD_H
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void assert_contains(const char *text, const char *piece)
{
    if (!strstr(text, piece))
        fail_msg("\"%s\" does not contain \"%s\"", text, piece);
}

/* Runs body in a child; returns its exit status (-1: a signal) and what it said on standard error. */
static inline int in_child(void (*body)(void), char said[512])
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; len < 511 && (n = read(ends[0], said + len, 511 - len)) > 0;)
        len += (size_t)n;
    said[len] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
