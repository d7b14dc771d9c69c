/* What the fuzz targets share. A target is one file fuzz_NAME.c that defines LLVMFuzzerTestOneInput: it hands the bytes
 * to a reader and checks with must() what has to hold of whatever the reader accepts. See README.md.
 */
#ifndef FUZZ_H
#define FUZZ_H
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../../model/base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* die() ends with _exit, which would end the fuzzing without a word: linked with --wrap=_exit, it is a crash. */
__attribute__((noreturn)) void __wrap__exit(int status);
void __wrap__exit(int status)
{
    fprintf(stderr, "the reader died with status %d\n", status);
    abort();
}

#define must(holds)                                                                                                    \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #holds);                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* A refusal says something, in one line that ends where the buffer does. */
static inline void must_say_why(const struct error *e)
{
    must(e->text[0] && memchr(e->text, 0, sizeof e->text) && !strchr(e->text, '\n'));
}

/* A regular file in memory that holds the bytes; its name by path[32]. The caller closes what is returned. */
static inline int memory_file(const void *data, size_t size, char path[32])
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

/* The input cut at its first zero byte: *head is a copy with a terminator (to be freed), the rest is returned. */
static inline const char *cut_input(const uint8_t *data, size_t size, char **head, size_t *head_len, size_t *rest_len)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    *head_len = zero ? (size_t)(zero - data) : size;
    *rest_len = zero ? size - *head_len - 1 : 0;
    *head = malloc(*head_len + 1);
    must(*head);
    if (*head_len)
        memcpy(*head, data, *head_len);
    (*head)[*head_len] = 0;
    return zero ? (const char *)zero + 1 : "";
}

#endif
