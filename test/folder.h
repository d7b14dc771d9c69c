/* A folder of its own for a test that writes files, plain ones. The file that includes it, after cmocka, defines
 * FOLDER, the pattern of its name.
 */
#ifndef FOLDER_H
#define FOLDER_H
#include <stdio.h>
#include <stdlib.h>
#include "../model/base/file.h"

static char folder[64];

static inline int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, FOLDER);
    return mkdtemp(folder) ? 0 : -1;
}

static inline int tear_down(void **state)
{
    (void)state;
    struct error e;
    return file_remove_directory(folder, &e);
}

static inline const char *in_folder(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

#endif
