/* model/base/file: reading with limits, writes that leave the old file whole whatever fails, the swap of directories
 * and its recovery from every state a crash can leave behind. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../model/base/file.h"
#include "../model/base/json.h"
#include "../model/base/mem.h"
#include <cmocka.h> /* last: its macro fail() would change our declaration */

static char folder[64]; /* made anew for every test */

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_file.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static const char *in_folder(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void assert_contains(const char *text, const char *piece)
{
    if (!strstr(text, piece))
        fail_msg("\"%s\" does not contain \"%s\"", text, piece);
}

static int exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void assert_holds(const char *path, const char *content)
{
    struct error e;
    size_t len = 0;
    char *text = file_read(path, 1000, &len, &e);
    if (!text)
        fail_msg("%s", e.text);
    assert_int_equal(len, strlen(content));
    assert_string_equal(text, content);
    mem_free(text);
}

static void put(const char *path, const char *content)
{
    struct error e;
    if (file_write(path, content, strlen(content), &e) != 0)
        fail_msg("%s", e.text);
}

static void test_read(void **state)
{
    (void)state;
    struct error e;
    char path[256];
    size_t len = 99;
    in_folder(path, "a");
    assert_null(file_read(path, 10, &len, &e));
    assert_contains(e.text, path);
    assert_contains(e.text, "No such file");
    put(path, "");
    assert_holds(path, "");
    assert_int_equal(file_write(path, "a\0b\n", 4, &e), 0);
    char *text = file_read(path, 4, &len, &e); /* the limit itself is good */
    assert_non_null(text);
    assert_int_equal(len, 4);
    assert_memory_equal(text, "a\0b\n", 5);
    mem_free(text);
    assert_null(file_read(path, 3, &len, &e));
    assert_contains(e.text, "more than the 3");
    assert_null(file_read(folder, 10, &len, &e));
    assert_contains(e.text, "directory");
    assert_null(file_read("/dev/zero", 10, &len, &e));
    assert_contains(e.text, "device");
    in_folder(path, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(file_read(path, 10, &len, &e)); /* and does not wait for a writer */
    assert_contains(e.text, "pipe");
    assert_int_equal(file_size(path), -1);
}

static void test_map(void **state)
{
    (void)state;
    struct error e;
    char path[256];
    size_t len = 0;
    put(in_folder(path, "m"), "mapped");
    const char *p = file_map(path, &len, &e);
    assert_non_null(p);
    assert_int_equal(len, 6);
    assert_memory_equal(p, "mapped", 6);
    put(path, "other"); /* a replaced file does not change under the reader */
    assert_memory_equal(p, "mapped", 6);
    file_unmap(p, len);
    file_unmap(NULL, 0);
    put(path, "");
    assert_null(file_map(path, &len, &e));
    assert_contains(e.text, "empty");
    assert_null(file_map(folder, &len, &e));
    assert_null(file_map("/nowhere/at/all", &len, &e));
}

static void test_write_and_abandon(void **state)
{
    (void)state;
    struct error e;
    struct file_writer w;
    char path[256], temp[256];
    in_folder(path, "f");
    in_folder(temp, "f.tmp");
    put(path, "old");
    assert_false(exists(temp));
    assert_int_equal(file_create(&w, path, &e), 0);
    assert_int_equal(file_put(&w, "new", 3, &e), 0);
    assert_holds(path, "old"); /* until the commit */
    assert_true(exists(temp));
    file_abandon(&w);
    assert_false(exists(temp));
    assert_holds(path, "old");
    file_abandon(&w);
    assert_int_equal(file_commit(&w, &e), -1); /* nothing is left to commit */
    assert_holds(path, "old");

    assert_int_equal(file_write(temp, "left by a crash", 15, &e), 0);
    assert_int_equal(file_create(&w, path, &e), 0);
    assert_int_equal(file_put(&w, "ne", 2, &e), 0);
    assert_int_equal(file_put(&w, "w", 1, &e), 0);
    assert_int_equal(file_commit(&w, &e), 0);
    assert_holds(path, "new");
    assert_false(exists(temp));
}

static void test_write_refused(void **state)
{
    (void)state;
    struct error e;
    struct file_writer w;
    char path[256], longer[2000], temp[256];
    in_folder(path, "missing/f");
    assert_int_equal(file_write(path, "x", 1, &e), -1);
    assert_contains(e.text, "missing/f");
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(file_create(&w, longer, &e), -1);
    assert_contains(e.text, "longer than");
    assert_int_equal(file_put(&w, "x", 1, &e), -1); /* a writer that failed stays failed, and says nothing new */
    assert_contains(e.text, "longer than");
    assert_int_equal(file_commit(&w, &e), -1);
    file_abandon(&w);

    in_folder(path, "d"); /* a directory cannot be replaced by a file: the rename fails */
    in_folder(temp, "d.tmp");
    assert_int_equal(file_make_directory(path, &e), 0);
    assert_int_equal(file_write(path, "x", 1, &e), -1);
    assert_contains(e.text, "as it was");
    assert_true(file_is_directory(path));
    assert_false(exists(temp));

    in_folder(path, "l"); /* a planted link must not lead the write elsewhere */
    in_folder(temp, "l.tmp");
    char target[256];
    put(in_folder(target, "target"), "kept");
    assert_int_equal(symlink(target, temp), 0);
    assert_int_equal(file_write(path, "x", 1, &e), -1);
    assert_holds(target, "kept");
}

/* A full disk: no file may grow beyond `limit` bytes while body runs, in a child. */
static int with_full_disk(rlim_t limit, int (*body)(const char *path), const char *path)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit r = {limit, limit};
        signal(SIGXFSZ, SIG_IGN);
        _exit(setrlimit(RLIMIT_FSIZE, &r) != 0 ? 99 : body(path));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int body_write(const char *path)
{
    struct error e = {""};
    struct file_writer w;
    char block[4096] = {0};
    if (file_create(&w, path, &e) != 0 || file_put(&w, block, 1024, &e) != 0)
        return 2;
    if (file_put(&w, block, sizeof block, &e) != -1 || !strstr(e.text, "File too large") ||
        !strstr(e.text, "as it was"))
        return 3;
    struct error second = {"untouched"};
    if (file_put(&w, block, 1, &second) != -1 || file_commit(&w, &second) != -1 || strcmp(second.text, "untouched"))
        return 4;
    return 0;
}

static int body_append(const char *path)
{
    struct error e = {""};
    char block[4096] = {0};
    return file_append(path, block, sizeof block, &e) == -1 && strstr(e.text, "File too large") ? 0 : 2;
}

static int body_json(const char *path)
{
    struct error e = {""};
    json_t *v = json_array();
    for (int i = 0; i < 1000; i++)
        json_array_append_new(v, json_integer(i));
    int status = json_write(path, v, &e);
    json_decref(v);
    return status == -1 && e.text[0] ? 0 : 2;
}

static void test_full_disk(void **state)
{
    (void)state;
    char path[256], temp[256];
    in_folder(path, "f");
    in_folder(temp, "f.tmp");
    put(path, "old");
    assert_int_equal(with_full_disk(2048, body_write, path), 0);
    assert_holds(path, "old");
    assert_false(exists(temp));
    assert_int_equal(with_full_disk(2048, body_append, path), 0);
    assert_holds(path, "old"); /* not a part of a line */
    assert_int_equal(with_full_disk(2048, body_json, path), 0);
    assert_holds(path, "old");
    assert_false(exists(temp));
}

static int body_killed(const char *path)
{
    struct error e;
    struct file_writer w;
    if (file_create(&w, path, &e) == 0 && file_put(&w, "half", 4, &e) == 0)
        kill(getpid(), SIGKILL);
    return 1;
}

static void test_killed_while_writing(void **state)
{
    (void)state;
    char path[256];
    put(in_folder(path, "f"), "old");
    assert_int_equal(with_full_disk(RLIM_INFINITY, body_killed, path), -1);
    assert_holds(path, "old");
    put(path, "new"); /* what the crash left is no hindrance */
    assert_holds(path, "new");
}

static void test_append_and_truncate(void **state)
{
    (void)state;
    struct error e;
    char path[256];
    in_folder(path, "log");
    assert_int_equal(file_append(path, "one\n", 4, &e), 0);
    assert_int_equal(file_append(path, "two\n", 4, &e), 0);
    assert_int_equal(file_append(path, "", 0, &e), 0);
    assert_holds(path, "one\ntwo\n");
    assert_int_equal(file_size(path), 8);
    assert_int_equal(file_truncate(path, 4, &e), 0);
    assert_holds(path, "one\n");
    assert_int_equal(file_truncate(path, 4, &e), 0);
    assert_int_equal(file_truncate(path, 5, &e), -1); /* it would be filled with zeros */
    assert_contains(e.text, "4 bytes");
    assert_int_equal(file_truncate(path, -1, &e), -1);
    assert_holds(path, "one\n");
    assert_int_equal(file_append(folder, "x", 1, &e), -1);
    assert_int_equal(file_truncate(folder, 0, &e), -1);
    assert_int_equal(file_size(folder), -1);
    assert_int_equal(file_size("/nowhere/at/all"), -1);
}

static void test_make_directory(void **state)
{
    (void)state;
    struct error e;
    char path[256], file[256];
    assert_int_equal(file_make_directory(in_folder(path, "a/b//c/"), &e), 0);
    assert_true(file_is_directory(in_folder(path, "a/b/c")));
    assert_int_equal(file_make_directory(path, &e), 0);
    put(in_folder(file, "a/file"), "x");
    assert_int_equal(file_make_directory(file, &e), -1);
    assert_contains(e.text, "a file has that name");
    assert_int_equal(file_make_directory(in_folder(path, "a/file/below"), &e), -1);
    assert_int_equal(file_make_directory("", &e), -1);
    assert_false(file_is_directory(file));
}

static void test_remove_directory(void **state)
{
    (void)state;
    struct error e;
    char path[256], inner[256], target[256];
    assert_int_equal(file_remove_directory(in_folder(path, "none"), &e), 0);
    assert_int_equal(file_make_directory(in_folder(path, "d"), &e), 0);
    for (int i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/file%d", i);
        put(in_folder(inner, name), "x");
    }
    put(in_folder(target, "target"), "kept");
    assert_int_equal(symlink(target, in_folder(inner, "d/link")), 0);
    assert_int_equal(file_remove_directory(path, &e), 0);
    assert_false(exists(path));
    assert_holds(target, "kept"); /* links are removed, not followed */

    assert_int_equal(file_make_directory(in_folder(inner, "d/inner"), &e), 0);
    assert_int_equal(file_remove_directory(path, &e), -1); /* never a whole tree */
    assert_contains(e.text, "d/inner");
    assert_true(file_is_directory(inner));
    assert_int_equal(file_remove_directory(target, &e), -1);
    assert_int_equal(symlink(path, in_folder(inner, "to_d")), 0);
    assert_int_equal(file_remove_directory(inner, &e), -1);
}

/* A directory `name` whose one file says what it is. */
static void make(const char *name, const char *content)
{
    struct error e;
    char path[256], file[280];
    if (file_make_directory(in_folder(path, name), &e) != 0)
        fail_msg("%s", e.text);
    snprintf(file, sizeof file, "%s/model", path);
    put(file, content);
}

static void assert_directory(const char *name, const char *content)
{
    char path[256], file[280];
    in_folder(path, name);
    if (!content) {
        assert_false(exists(path));
        return;
    }
    snprintf(file, sizeof file, "%s/model", path);
    assert_holds(file, content);
}

static void test_swap(void **state)
{
    (void)state;
    struct error e;
    char from[256], to[256];
    in_folder(from, "c.new");
    in_folder(to, "c");
    make("c.new", "1");
    assert_int_equal(file_swap_directory(from, to, &e), 0); /* nothing is there yet */
    assert_directory("c", "1");
    make("c.new", "2");
    assert_int_equal(file_swap_directory(from, to, &e), 0);
    assert_directory("c", "2");
    assert_directory("c.new", NULL);
    assert_directory("c.old", NULL);
    assert_int_equal(file_swap_directory(from, to, &e), -1); /* from is missing: to is as it was */
    assert_contains(e.text, "c.new");
    assert_directory("c", "2");
    make("c.new", "3");
    assert_int_equal(file_swap_directory(from, in_folder(to, "c///"), &e), 0);
    assert_directory("c", "3");
    in_folder(to, "missing/c");
    make("c.new", "4");
    assert_int_equal(file_swap_directory(from, to, &e), -1);
    assert_directory("c.new", "4");
}

/* The states between which a crash can fall: before, between the two renames, before the removal, within it. */
static void test_recovery(void **state)
{
    (void)state;
    struct error e;
    char from[256], to[256], path[256];
    in_folder(from, "c.new");
    in_folder(to, "c");
    file_recover_directory(to); /* nothing is there at all */
    assert_false(exists(to));

    make("c", "old"); /* before the first rename */
    make("c.new", "new");
    file_recover_directory(to);
    assert_directory("c", "old");
    assert_directory("c.new", "new");

    assert_int_equal(rename(to, in_folder(path, "c.old")), 0); /* between the renames */
    file_recover_directory(in_folder(to, "c/"));
    assert_directory("c", "old");
    assert_directory("c.old", NULL);
    in_folder(to, "c");
    assert_int_equal(rename(to, path), 0); /* and the next swap recovers by itself */
    assert_int_equal(file_swap_directory(from, to, &e), 0);
    assert_directory("c", "new");
    assert_directory("c.old", NULL);

    make("c.old", "older"); /* after the second rename, before the removal */
    file_recover_directory(to);
    assert_directory("c", "new");
    assert_directory("c.old", NULL);

    assert_int_equal(file_make_directory(path, &e), 0); /* within the removal: c.old lies there empty */
    make("c.new", "newer");
    assert_int_equal(file_swap_directory(from, to, &e), 0);
    assert_directory("c", "newer");
    assert_directory("c.old", NULL);

    make("c.old/deeper", "not ours"); /* what cannot be removed is refused before anything is renamed */
    make("c.new", "newest");
    assert_int_equal(file_swap_directory(from, to, &e), -1);
    assert_contains(e.text, "c.old");
    assert_directory("c", "newer");
    assert_directory("c.new", "newest");
}

static void test_json_file(void **state)
{
    (void)state;
    struct error e;
    char path[256];
    json_t *v = json_object();
    json_object_set_new(v, "b", json_real(0.1));
    json_object_set_new(v, "a", json_integer(1));
    assert_int_equal(json_write(in_folder(path, "v.json"), v, &e), 0);
    assert_holds(path, "{\n  \"b\": 0.10000000000000001,\n  \"a\": 1\n}\n");
    json_t *again = json_read(path, &e);
    assert_true(json_equal(v, again));
    json_decref(again);
    json_decref(v);
    put(path, "{\n\"a\": tru}");
    assert_null(json_read(path, &e));
    assert_contains(e.text, "v.json: line 2");
    assert_null(json_read(folder, &e));
    assert_int_equal(json_write(path, NULL, &e), -1);
    assert_holds(path, "{\n\"a\": tru}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_map, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_and_abandon, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_while_writing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_append_and_truncate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_make_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_remove_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_swap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_recovery, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json_file, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
