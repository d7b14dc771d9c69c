/* What tests of verbs share: the command called in this process with files in place of its three streams. The file that
 * includes it defines FOLDER, the pattern of a folder's name, and includes cmocka after it.
 */
#ifndef CALLS_H
#define CALLS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../data/task.h"
#include "../dev/verbs/session.h"
#include "../dev/verbs/verbs.h"
#include "../model/base/file.h"
/* last: it needs the headers above, and its macro fail() would change ours */
#include <cmocka.h>

static char folder[64];

static inline int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, FOLDER);
    return mkdtemp(folder) ? 0 : -1;
}

static inline void in_folder(char path[600], const char *name)
{
    snprintf(path, 600, "%s/%s", folder, name);
}

static inline int tear_down(void **state)
{
    (void)state;
    char path[600];
    struct error e;
    in_folder(path, "run/checkpoint");
    file_remove_directory(path, &e);
    in_folder(path, "run");
    file_remove_directory(path, &e);
    return file_remove_directory(folder, &e);
}

/* ---- one call of the command ---- */

struct result {
    int status;
    char *out, *err; /* whole texts */
};

static inline int put_in_place(int fd, const char *name, int flags)
{
    char path[600];
    in_folder(path, name);
    int saved = dup(fd), file = open(path, flags, 0600);
    if (saved < 0 || file < 0 || dup2(file, fd) < 0)
        fail_msg("no file in place of descriptor %d", fd);
    close(file);
    return saved;
}

static inline void put_back(int fd, int saved)
{
    dup2(saved, fd);
    close(saved);
}

static inline char *read_back(const char *name)
{
    char path[600];
    size_t len;
    struct error e;
    in_folder(path, name);
    char *text = file_read(path, 1 << 28, &len, &e);
    if (!text)
        fail_msg("%s", e.text);
    return text;
}

/* Words separated by '|', because values hold spaces. */
static inline struct result call(const char *words, const char *input)
{
    char path[600], copy[2048];
    const char *argv[32];
    int argc = 0;
    struct error e;
    struct result r;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *save = NULL, *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save))
        argv[argc++] = w;
    in_folder(path, "in");
    if (file_write(path, input ? input : "", input ? strlen(input) : 0, &e))
        fail_msg("%s", e.text);
    fflush(stdout);
    fflush(stderr);
    clearerr(stdin);
    int in = put_in_place(0, "in", O_RDONLY), out = put_in_place(1, "out", O_WRONLY | O_CREAT | O_TRUNC);
    int err = put_in_place(2, "err", O_WRONLY | O_CREAT | O_TRUNC);
    r.status = verbs_main(argc, argv);
    fflush(stdout);
    fflush(stderr);
    put_back(0, in);
    put_back(1, out);
    put_back(2, err);
    r.out = read_back("out");
    r.err = read_back("err");
    return r;
}

static inline void done(struct result *r)
{
    mem_free(r->out);
    mem_free(r->err);
}

/* Status and pieces that the two texts hold; NULL: that text is empty. */
static inline void expect(const char *words, int status, const char *out, const char *err)
{
    struct result r = call(words, NULL);
    if (r.status != status)
        fail_msg("%s: status %d instead of %d; %s%s", words, r.status, status, r.out, r.err);
    if (out ? !strstr(r.out, out) : r.out[0])
        fail_msg("%s: standard output: %s", words, r.out);
    if (err ? !strstr(r.err, err) : r.err[0])
        fail_msg("%s: standard error: %s", words, r.err);
    done(&r);
}

static inline int lines_in(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += *s == '\n';
    return n;
}

/* Line i of a text as an object. */
static inline json_t *object_at(const char *text, int i)
{
    struct error e;
    for (; i > 0; i--)
        text = strchr(text, '\n') + 1;
    json_t *v = json_parse(text, strcspn(text, "\n"), &e);
    if (!v)
        fail_msg("%s: %s", e.text, text);
    return v;
}

static inline void need(const char *path)
{
    if (file_size(path) >= 0)
        return;
    print_message("skipped: %s is not there\n", path);
    skip();
}

#endif
