/* Files: read whole with a limit, written so that a crash at any instant leaves the old one whole. */
#ifndef FILE_H
#define FILE_H
#include <stddef.h>
#include "error.h"

/* The whole regular file, terminated by a 0 that is not counted; the caller mem_free()s. Refuses directories, devices,
 * and files above max_bytes. NULL and *e on failure. */
char *file_read(const char *path, size_t max_bytes, size_t *len, struct error *e);

/* Map a regular file read-only (private). Empty files are refused. NULL on failure. */
const void *file_map(const char *path, size_t *len, struct error *e);
void file_unmap(const void *p, size_t len);

/* A new file under path.tmp: write pieces, then commit: flush, fsync, rename to path, fsync the directory.
 * On any failure the old file is as it was and the temporary one is gone. */
struct file_writer {
    int fd;
    char path[1024], temp[1032];
    int failed; /* an error was already reported by file_put */
};
int file_create(struct file_writer *w, const char *path, struct error *e);
int file_put(struct file_writer *w, const void *p, size_t len, struct error *e);
int file_commit(struct file_writer *w, struct error *e);
void file_abandon(struct file_writer *w);

int file_write(const char *path, const void *p, size_t len, struct error *e);  /* create, put, commit */
int file_append(const char *path, const void *p, size_t len, struct error *e); /* one write at the end; creates */
int file_sync(const char *path, struct error *e); /* what was written to it survives a power cut */
int file_truncate(const char *path, long len, struct error *e);
long file_size(const char *path); /* -1: not there or not a regular file */
int file_is_directory(const char *path);
int file_make_directory(const char *path, struct error *e); /* parents too; good when it is already there */
/* Replace directory `to` by directory `from` (`to` may be missing): to -> to.old, from -> to, remove to.old.
 * After a crash between the two renames file_recover_directory(to) moves to.old back. */
int file_swap_directory(const char *from, const char *to, struct error *e);
void file_recover_directory(const char *to);
int file_remove_directory(const char *path, struct error *e); /* plain files in it, then it; good when it is missing */

#endif
