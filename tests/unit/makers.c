/* makers.c - see makers.h. */
#include "makers.h"

#include "oom.h"
#include "turns.h"

#include <dirent.h>

static unsigned descriptors(void)
{
    DIR *open_dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(open_dir);
    while (readdir(open_dir) != NULL)
        count++;
    closedir(open_dir);
    return count;
}

unsigned maker_exhaust(struct loop *loop, const struct maker *maker)
{
    unsigned handles = loop_open_handles(loop);
    unsigned fds = descriptors();
    enum err err;
    unsigned n;

    for (n = 1;; n++) {
        oom_fail_at(n);
        err = maker->make();
        oom_off();
        if (!oom_happened())
            break;
        if (err != ERR_NOMEM)
            print_message("# %s, allocation %u\n", maker->name, n);
        assert_err(err, ERR_NOMEM);
        wait_for(loop, loop_open_handles(loop) == handles);
        assert_int_equal(descriptors(), fds);
        assert_in_range(n, 1, 5000);
    }
    assert_ok(err);
    return n - 1;
}

void makers_check(struct loop *loop, const struct maker *makers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned handles = loop_open_handles(loop);
        unsigned failed = maker_exhaust(loop, &makers[i]);

        print_message("# %s: %u\n", makers[i].name, failed);
        assert_true(failed > 0);
        makers[i].drop();
        wait_for(loop, loop_open_handles(loop) == handles);
    }
}
