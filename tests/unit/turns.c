/* turns.c - see turns.h. */
#include "turns.h"

#include "unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct loop *make_loop(void)
{
    struct loop *loop = NULL;

    assert_ok(loop_new(&loop, NULL, (struct loop_clock){ 0 }));
    return loop;
}

void drop_loop(struct loop *loop)
{
    wait_for(loop, loop_open_handles(loop) == 0);
    loop_run(loop);
    assert_int_equal(loop_open_handles(loop), 0);
    loop_free(loop);
}

void make_dir(char dir[64])
{
    const char *parent = getenv("TMPDIR");

    if (parent == NULL || strlen(parent) > 30)
        parent = "/tmp";
    snprintf(dir, 64, "%s/tidepool-unit-XXXXXX", parent);
    assert_non_null(mkdtemp(dir));
}

void drop_dir(const char *dir)
{
    DIR *open_dir = opendir(dir);
    struct dirent *entry;

    assert_non_null(open_dir);
    while ((entry = readdir(open_dir)) != NULL) {
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(open_dir), entry->d_name, 0);
    }
    closedir(open_dir);
    assert_int_equal(rmdir(dir), 0);
}
