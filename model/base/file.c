/* Files (file.h): whole reads with a limit, crash-safe writes, and the swap of whole directories.
 *
 * Every write that replaces something goes to a temporary name first, is synced, and is renamed over the old one;
 * so at any instant the name leads to the old content or to the new, never to a piece of either. */
#include "file.h"
#include "mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opened without waiting for the other end of a pipe; only a regular file is good. -1 and *e otherwise. */
static int open_regular(const char *path, size_t *len, struct error *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(e, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0)
        fail(e, "cannot look at %s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        fail(e, "%s is %s, not a file", path, S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
    else {
        *len = (size_t)st.st_size;
        return fd;
    }
    close(fd);
    return -1;
}

char *file_read(const char *path, size_t max_bytes, size_t *len, struct error *e)
{
    size_t size = 0, done = 0;
    int fd = open_regular(path, &size, e);
    if (fd < 0)
        return NULL;
    if (size > max_bytes) {
        fail(e, "%s has %zu bytes, more than the %zu that are accepted", path, size, max_bytes);
        close(fd);
        return NULL;
    }
    char *text = mem_alloc(size + 1, 1);
    while (done < size) {
        ssize_t n = read(fd, text + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            fail(e, "cannot read %s: %s", path, n < 0 ? strerror(errno) : "it was shortened meanwhile");
            close(fd);
            mem_free(text);
            return NULL;
        }
        done += (size_t)n;
    }
    close(fd);
    *len = size;
    return text;
}

const void *file_map(const char *path, size_t *len, struct error *e)
{
    size_t size = 0;
    int fd = open_regular(path, &size, e);
    if (fd < 0)
        return NULL;
    void *p = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (!size)
        fail(e, "%s is empty", path);
    else if (p == MAP_FAILED) {
        fail(e, "cannot map %s: %s", path, strerror(errno));
        p = NULL;
    } else
        *len = size;
    close(fd);
    return p;
}

void file_unmap(const void *p, size_t len)
{
    if (p && munmap((void *)p, len) != 0)
        die("munmap: %s", strerror(errno));
}

/* A rename is durable once its directory is; file systems that cannot sync a directory say EINVAL. */
static int sync_directory_of(const char *path, struct error *e)
{
    char parent[1024];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (!slash)
        strcpy(parent, ".");
    else
        slash[slash == parent] = 0; /* "/name" lies in "/" */
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 0 : fail(e, "cannot open directory %s: %s", parent, strerror(errno));
    int bad = fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP;
    if (bad)
        fail(e, "%s is written, but its directory could not be synced: %s", path, strerror(errno));
    close(fd);
    return bad ? -1 : 0;
}

int file_create(struct file_writer *w, const char *path, struct error *e)
{
    *w = (struct file_writer){.fd = -1, .failed = 1};
    if (strlen(path) >= sizeof w->path)
        return fail(e, "the path %.60s... is longer than %zu bytes", path, sizeof w->path - 1);
    strcpy(w->path, path);
    snprintf(w->temp, sizeof w->temp, "%s.tmp", path);
    w->fd = open(w->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (w->fd < 0)
        return fail(e, "cannot create %s: %s", w->temp, strerror(errno));
    w->failed = 0;
    return 0;
}

void file_abandon(struct file_writer *w)
{
    if (w->fd < 0)
        return;
    close(w->fd);
    unlink(w->temp);
    w->fd = -1;
    w->failed = 1;
}

/* All of it, however often the system takes less; returns the bytes written, with errno set when that is not all. */
static size_t write_all(int fd, const void *p, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, (const char *)p + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        done += (size_t)n;
    }
    return done;
}

int file_put(struct file_writer *w, const void *p, size_t len, struct error *e)
{
    if (w->failed)
        return -1; /* said once is enough: the first reason stays in the caller's error */
    if (write_all(w->fd, p, len) == len)
        return 0;
    fail(e, "cannot write %s: %s; the file it was to replace is as it was", w->temp, strerror(errno));
    file_abandon(w);
    return -1;
}

int file_commit(struct file_writer *w, struct error *e)
{
    if (w->failed)
        return -1;
    const char *what = NULL;
    if (fsync(w->fd) != 0 && errno != EINVAL)
        what = "sync";
    int fd = w->fd;
    if (!what && (w->fd = -1, close(fd) != 0))
        what = "close";
    if (!what && rename(w->temp, w->path) != 0)
        what = "rename";
    if (!what)
        return sync_directory_of(w->path, e);
    fail(e, "cannot %s %s: %s; the file it was to replace is as it was", what, w->temp, strerror(errno));
    if (w->fd >= 0)
        file_abandon(w);
    else
        unlink(w->temp);
    w->failed = 1;
    return -1;
}

int file_write(const char *path, const void *p, size_t len, struct error *e)
{
    struct file_writer w;
    if (file_create(&w, path, e) != 0 || file_put(&w, p, len, e) != 0)
        return -1;
    return file_commit(&w, e);
}

int file_append(const char *path, const void *p, size_t len, struct error *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return fail(e, "cannot open %s: %s", path, strerror(errno));
    off_t before = lseek(fd, 0, SEEK_END);
    int status = 0;
    if (write_all(fd, p, len) != len) {
        status = fail(e, "cannot write %s: %s", path, strerror(errno));
        if (before >= 0 && ftruncate(fd, before) != 0) /* half a line would spoil the next one */
            fail(e, "%s ends in an incomplete piece after byte %ld: it could neither be written nor removed", path,
                 (long)before);
    }
    if (close(fd) != 0 && status == 0)
        status = fail(e, "cannot write %s: %s", path, strerror(errno));
    return status;
}

int file_sync(const char *path, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(e, "cannot open %s: %s", path, strerror(errno));
    int bad = fsync(fd) != 0 && errno != EINVAL;
    if (bad)
        fail(e, "cannot sync %s: %s", path, strerror(errno));
    close(fd);
    return bad ? -1 : 0;
}

int file_truncate(const char *path, long len, struct error *e)
{
    long size = file_size(path);
    if (size < 0)
        return fail(e, "%s is not there, or not a regular file", path);
    if (len < 0 || size < len)
        return fail(e, "%s has %ld bytes and cannot be cut to %ld", path, size, len);
    if (truncate(path, len) != 0)
        return fail(e, "cannot cut %s to %ld bytes: %s", path, len, strerror(errno));
    return 0;
}

long file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (long)st.st_size : -1;
}

int file_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int file_make_directory(const char *path, struct error *e)
{
    char part[1024];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part)
        return fail(e, "the directory name %.60s is empty or too long", path);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && i != len)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) == 0 || file_is_directory(part))
            continue;
        return fail(e, "cannot make directory %s: %s", part,
                    errno == EEXIST ? "a file has that name" : strerror(errno));
    }
    return 0;
}

/* path without slashes at its end, and the name it has while it is being replaced. */
static int swap_names(const char *path, char name[1024], char old[1032], struct error *e)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len == 0 || len >= 1024)
        return fail(e, "the directory name %.60s is empty or too long", path);
    memcpy(name, path, len);
    name[len] = 0;
    snprintf(old, 1032, "%s.old", name);
    return 0;
}

void file_recover_directory(const char *to)
{
    char name[1024], old[1032];
    struct stat st;
    if (swap_names(to, name, old, NULL) != 0 || !file_is_directory(old))
        return;
    if (lstat(name, &st) == 0)
        file_remove_directory(old, NULL); /* both renames were done */
    else if (errno == ENOENT && rename(old, name) == 0)
        sync_directory_of(name, NULL);
}

int file_swap_directory(const char *from, const char *to, struct error *e)
{
    char name[1024], old[1032];
    if (swap_names(to, name, old, e) != 0)
        return -1;
    if (!file_is_directory(from))
        return fail(e, "%s is not there, or not a directory", from);
    file_recover_directory(name);
    if (file_is_directory(old))
        return fail(e, "%s is in the way and could not be removed; remove it", old);
    int replaced = rename(name, old) == 0;
    if (!replaced && errno != ENOENT)
        return fail(e, "cannot rename %s to %s: %s", name, old, strerror(errno));
    if (rename(from, name) != 0) {
        fail(e, "cannot rename %s to %s: %s", from, name, strerror(errno));
        if (replaced && rename(old, name) != 0)
            return fail(e, "cannot rename %s back to %s: %s; rename it by hand", old, name, strerror(errno));
        return -1;
    }
    if (sync_directory_of(name, e) != 0)
        return -1;
    return replaced ? file_remove_directory(old, e) : 0;
}

int file_remove_directory(const char *path, struct error *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : fail(e, "cannot open directory %s: %s", path, strerror(errno));
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return fail(e, "cannot read directory %s: %s", path, strerror(errno));
    }
    int removed;
    do { /* some file systems skip entries when others are removed meanwhile: look again until nothing is found */
        removed = 0;
        rewinddir(dir);
        for (struct dirent *d; (d = readdir(dir));) {
            if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
                continue;
            if (unlinkat(fd, d->d_name, 0) != 0) {
                fail(e, "cannot remove %s/%s: %s", path, d->d_name, strerror(errno));
                closedir(dir);
                return -1;
            }
            removed = 1;
        }
    } while (removed);
    closedir(dir);
    return rmdir(path) == 0 ? 0 : fail(e, "cannot remove directory %s: %s", path, strerror(errno));
}
