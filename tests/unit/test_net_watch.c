/* test_net_watch.c - readiness of descriptors that others own. */
#include "net/watch.h"

#include "oom.h"
#include "turns.h"
#include "unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

struct seen {
    struct watch *watch;
    unsigned calls;
    int events;     /* of the last call */
    bool does_read; /* takes the byte that made it ready */
    bool does_close;
};

static void on_ready(struct watch *watch, int events, void *ud)
{
    struct seen *seen = ud;
    char byte;

    seen->calls++;
    seen->events = events;
    if (seen->does_read)
        assert_int_equal(read(watch_fd(watch), &byte, 1), 1);
    if (seen->does_close) {
        int fd = watch_fd(watch);

        watch_close(watch);
        assert_int_equal(close(fd), 0); /* legal as soon as it returned */
    }
}

static void make_pair(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
}

static void test_watch_tells_of_what_is_wanted_only(void **state)
{
    struct loop *loop = make_loop();
    struct seen seen = { .does_read = true };
    int pair[2];

    (void)state;
    make_pair(pair);
    assert_ok(watch_open(&seen.watch, loop, pair[0], on_ready, &seen));
    assert_int_equal(watch_fd(seen.watch), pair[0]);
    assert_int_equal(write(pair[1], "x", 1), 1);
    loop_turn(loop, 0); /* nothing is wanted yet */
    assert_int_equal(seen.calls, 0);

    watch_want(seen.watch, WATCH_READ);
    wait_for(loop, seen.calls == 1);
    assert_int_equal(seen.events, WATCH_READ);

    seen.does_read = false;
    watch_want(seen.watch, WATCH_WRITE);
    wait_for(loop, seen.calls == 2);
    assert_int_equal(seen.events, WATCH_WRITE);

    watch_want(seen.watch, 0);
    loop_run(loop); /* an idle watch does not keep it running */
    assert_int_equal(seen.calls, 2);
    watch_close(seen.watch);
    close(pair[0]);
    close(pair[1]);
    drop_loop(loop);
}

static void test_watch_may_be_closed_by_its_callback(void **state)
{
    struct loop *loop = make_loop();
    struct seen seen = { .does_close = true };
    int pair[2];

    (void)state;
    make_pair(pair);
    assert_ok(watch_open(&seen.watch, loop, pair[0], on_ready, &seen));
    watch_want(seen.watch, WATCH_READ | WATCH_WRITE);
    assert_int_equal(loop_open_handles(loop), 1);
    loop_run(loop);

    assert_int_equal(seen.calls, 1);
    close(pair[1]);
    drop_loop(loop);
}

static void test_watch_tells_when_the_other_end_is_gone(void **state)
{
    struct loop *loop = make_loop();
    struct seen seen = { 0 };
    int pair[2];

    (void)state;
    make_pair(pair);
    assert_ok(watch_open(&seen.watch, loop, pair[0], on_ready, &seen));
    watch_want(seen.watch, WATCH_READ);
    close(pair[1]);
    wait_for(loop, seen.calls > 0);
    assert_int_equal(seen.events & WATCH_READ, WATCH_READ);

    watch_close(seen.watch);
    close(pair[0]);
    drop_loop(loop);
}

static void
test_watch_shows_an_error_as_both_and_can_be_wanted_again(void **state)
{
    struct loop *loop = make_loop();
    struct seen seen = { 0 };
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    close(ends[0]); /* writing is an error now */
    assert_ok(watch_open(&seen.watch, loop, ends[1], on_ready, &seen));
    watch_want(seen.watch, WATCH_WRITE);
    wait_for(loop, seen.calls == 1);
    assert_int_equal(seen.events, WATCH_READ | WATCH_WRITE);

    watch_want(seen.watch, WATCH_WRITE);
    wait_for(loop, seen.calls == 2);
    watch_close(seen.watch);
    close(ends[1]);
    drop_loop(loop);
}

static void test_watch_open_refuses_what_cannot_be_watched(void **state)
{
    struct loop *loop = make_loop();
    struct watch *watch = NULL;
    int fd = open("/proc/self/exe", O_RDONLY);

    (void)state;
    assert_err(watch_open(&watch, loop, -1, on_ready, NULL), ERR_BADARG);
    assert_err(watch_open(&watch, loop, fd, on_ready, NULL), ERR_BADARG);
    assert_null(watch);
    watch_close(NULL);
    close(fd);
    drop_loop(loop);
}

static void test_watch_open_fails_without_memory(void **state)
{
    struct loop *loop = make_loop();
    struct watch *watch = NULL;
    int pair[2];

    (void)state;
    make_pair(pair);
    oom_fail_at(1);
    assert_err(watch_open(&watch, loop, pair[0], on_ready, NULL), ERR_NOMEM);
    oom_off();
    assert_null(watch);
    close(pair[0]);
    close(pair[1]);
    drop_loop(loop);
}

static void test_a_turn_that_is_over_leaves_events_to_the_next(void **state)
{
    struct loop *loop = make_loop();
    struct seen seen[3] = { { .does_close = true },
                            { .does_close = true },
                            { .does_close = true } };
    int pairs[3][2];

    (void)state;
    for (int i = 0; i < 3; i++) {
        make_pair(pairs[i]);
        assert_ok(
            watch_open(&seen[i].watch, loop, pairs[i][0], on_ready, &seen[i]));
        watch_want(seen[i].watch, WATCH_READ);
        assert_int_equal(write(pairs[i][1], "x", 1), 1);
    }
    for (unsigned turn = 1; turn <= 3; turn++) {
        loop_turn_until(loop, 1); /* long ago */
        assert_int_equal(seen[0].calls + seen[1].calls + seen[2].calls, turn);
    }

    for (int i = 0; i < 3; i++) {
        assert_int_equal(seen[i].calls, 1);
        close(pairs[i][1]);
    }
    drop_loop(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_tells_of_what_is_wanted_only),
        cmocka_unit_test(test_watch_may_be_closed_by_its_callback),
        cmocka_unit_test(test_watch_tells_when_the_other_end_is_gone),
        cmocka_unit_test(
            test_watch_shows_an_error_as_both_and_can_be_wanted_again),
        cmocka_unit_test(test_watch_open_refuses_what_cannot_be_watched),
        cmocka_unit_test(test_watch_open_fails_without_memory),
        cmocka_unit_test(test_a_turn_that_is_over_leaves_events_to_the_next),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
