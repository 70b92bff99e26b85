/* test_net_loop.c - the order of deferred jobs, the life of a loop. */
#include "net/loop.h"
#include "net/wake.h"
#include "net/watch.h"
#include "net/work.h"

#include "oom.h"
#include "turns.h"
#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

struct step {
    struct loop_job job;
    struct loop *loop;
    char name;
    struct step *then; /* deferred by this one */
    enum loop_stage then_stage;
    struct loop_job *takes_back;
};

static char order[32];

static void on_step(struct loop_job *job)
{
    struct step *step = container_of(job, struct step, job);

    order[strlen(order)] = step->name;
    if (step->then != NULL)
        loop_defer(step->loop, step->then_stage, &step->then->job);
    if (step->takes_back != NULL)
        loop_cancel(step->loop, LOOP_RUN, step->takes_back);
}

static struct step step_of(struct loop *loop, char name)
{
    return (struct step){ .job.fn = on_step, .loop = loop, .name = name };
}

static int clear_order(void **state)
{
    (void)state;
    memset(order, 0, sizeof(order));
    return 0;
}

static void test_loop_runs_all_run_jobs_before_flush_jobs(void **state)
{
    struct loop *loop = make_loop();
    struct step a = step_of(loop, 'a');
    struct step b = step_of(loop, 'b');
    struct step c = step_of(loop, 'c');
    struct step f = step_of(loop, 'f');

    (void)state;
    a.then = &c;
    loop_defer(loop, LOOP_FLUSH, &f.job);
    loop_defer(loop, LOOP_RUN, &a.job);
    loop_defer(loop, LOOP_RUN, &b.job);
    loop_run(loop);

    assert_string_equal(order, "abcf");
    drop_loop(loop);
}

static void
test_loop_runs_what_a_flush_job_defers_in_the_same_turn(void **state)
{
    struct loop *loop = make_loop();
    struct step f = step_of(loop, 'f');
    struct step a = step_of(loop, 'a');
    struct step g = step_of(loop, 'g');

    (void)state;
    f.then = &a;
    a.then = &g;
    a.then_stage = LOOP_FLUSH;
    loop_defer(loop, LOOP_FLUSH, &f.job);
    loop_turn(loop, 0);

    assert_string_equal(order, "fag");
    drop_loop(loop);
}

static void test_loop_runs_a_job_once_when_it_is_deferred_twice(void **state)
{
    struct loop *loop = make_loop();
    struct step a = step_of(loop, 'a');
    struct step b = step_of(loop, 'b');

    (void)state;
    loop_defer(loop, LOOP_RUN, &a.job);
    loop_defer(loop, LOOP_RUN, &b.job);
    loop_defer(loop, LOOP_RUN, &a.job);
    loop_run(loop);

    assert_string_equal(order, "ab");
    drop_loop(loop);
}

static void test_loop_does_not_run_a_job_that_was_taken_back(void **state)
{
    struct loop *loop = make_loop();
    struct step a = step_of(loop, 'a');
    struct step b = step_of(loop, 'b');
    struct step c = step_of(loop, 'c');

    (void)state;
    loop_defer(loop, LOOP_RUN, &c.job);
    loop_cancel(loop, LOOP_RUN, &c.job);
    loop_cancel(loop, LOOP_RUN, &c.job);
    a.takes_back = &b.job; /* while its round is under way */
    loop_defer(loop, LOOP_RUN, &a.job);
    loop_defer(loop, LOOP_RUN, &b.job);
    loop_run(loop);

    assert_string_equal(order, "a");
    drop_loop(loop);
}

struct spinner {
    struct loop_job job;
    struct loop *loop;
    unsigned runs;
    bool is_over;
};

static void on_spin(struct loop_job *job)
{
    struct spinner *spinner = container_of(job, struct spinner, job);

    spinner->runs++;
    if (!spinner->is_over)
        loop_defer(spinner->loop, LOOP_RUN, &spinner->job);
}

static void test_loop_polls_while_a_job_defers_itself_for_ever(void **state)
{
    struct loop *loop = make_loop();
    struct spinner spinner = { .job.fn = on_spin, .loop = loop };
    unsigned runs;

    (void)state;
    loop_defer(loop, LOOP_RUN, &spinner.job);
    loop_turn(loop, 0);
    runs = spinner.runs;
    assert_in_range(runs, 1, 1000);
    loop_turn(loop, -1); /* does not block either */
    assert_true(spinner.runs > runs);

    spinner.is_over = true;
    drop_loop(loop);
}

static void on_stop(struct loop_job *job)
{
    struct spinner *spinner = container_of(job, struct spinner, job);

    loop_defer(spinner->loop, LOOP_RUN, &spinner->job);
    loop_stop(spinner->loop);
}

static void test_loop_run_ends_when_it_is_stopped(void **state)
{
    struct loop *loop = make_loop();
    struct spinner spinner = { .job.fn = on_stop, .loop = loop };

    (void)state;
    loop_defer(loop, LOOP_RUN, &spinner.job);
    loop_run(loop);

    loop_cancel(loop, LOOP_RUN, &spinner.job);
    drop_loop(loop);
}

static void test_loop_turn_comes_back_when_nothing_is_open(void **state)
{
    struct loop *loop = make_loop();

    (void)state;
    loop_turn(loop, -1);
    loop_turn(loop, 0);
    loop_turn(loop, 2);
    loop_run(loop);
    drop_loop(loop);
}

static void test_loop_borrows_the_loop_of_its_host(void **state)
{
    uv_loop_t host;
    struct loop *loop;
    struct step a;

    (void)state;
    assert_int_equal(uv_loop_init(&host), 0);
    assert_ok(loop_new(&loop, &host, (struct loop_clock){ 0 }));
    a = step_of(loop, 'a');
    loop_defer(loop, LOOP_RUN, &a.job);
    uv_run(&host, UV_RUN_DEFAULT);
    assert_string_equal(order, "a");

    loop_free(loop);
    uv_run(&host, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&host), 0);
}

static void on_slow_timer(uv_timer_t *timer)
{
    uv_sleep(5);
    uv_update_time(timer->loop);
}

static void on_stuck(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* libuv before 1.45 runs timers before it polls, too. */
static void test_a_turn_whose_time_is_up_before_it_polls_ends(void **state)
{
    struct loop *loop = NULL;
    bool is_stuck = false;
    uv_timer_t slow, stuck;
    uv_loop_t host;

    (void)state;
    assert_int_equal(uv_loop_init(&host), 0);
    assert_ok(loop_new(&loop, &host, (struct loop_clock){ 0 }));
    uv_timer_init(&host, &slow);
    uv_timer_init(&host, &stuck);
    stuck.data = &is_stuck;
    uv_timer_start(&stuck, on_stuck, 10000, 0);
    for (int i = 0; i < 3; i++) {
        uv_timer_start(&slow, on_slow_timer, 0, 0);
        loop_turn(loop, 1);
        assert_false(is_stuck);
    }

    uv_close((uv_handle_t *)&slow, NULL);
    uv_close((uv_handle_t *)&stuck, NULL);
    loop_free(loop);
    uv_run(&host, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&host), 0);
}

static void test_loop_new_fails_without_memory(void **state)
{
    struct loop *loop = NULL;
    enum err err;

    (void)state;
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = loop_new(&loop, NULL, (struct loop_clock){ 0 });
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
    assert_ok(err);
    drop_loop(loop);
    loop_free(NULL);
}

static void test_a_turn_that_is_over_leaves_jobs_to_the_next(void **state)
{
    struct loop *loop = make_loop();
    struct step a = step_of(loop, 'a');
    struct step b = step_of(loop, 'b');
    struct step c = step_of(loop, 'c');

    (void)state;
    loop_defer(loop, LOOP_RUN, &a.job);
    loop_defer(loop, LOOP_RUN, &b.job);
    loop_defer(loop, LOOP_FLUSH, &c.job);
    loop_turn_until(loop, 1); /* long ago */
    assert_string_equal(order, "a");
    assert_int_equal(loop_next_timeout_ms(loop), 0);
    loop_turn_until(loop, 1);
    assert_string_equal(order, "ac"); /* what is to be sent waits no longer */
    loop_turn_until(loop, 1);

    assert_string_equal(order, "acb");
    drop_loop(loop);
}

static void on_ready(struct watch *watch, int events, void *ud)
{
    (void)watch;
    (void)events;
    (*(unsigned *)ud)++;
}

/* Of each kind there is always more to do. */
static void test_turns_that_are_over_do_jobs_and_events_by_turns(void **state)
{
    struct loop *loop = make_loop();
    struct spinner spinner = { .job.fn = on_spin, .loop = loop };
    struct watch *watch = NULL;
    unsigned events = 0;
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_ok(watch_open(&watch, loop, pair[0], on_ready, &events));
    watch_want(watch, WATCH_WRITE);
    loop_defer(loop, LOOP_RUN, &spinner.job);
    for (unsigned turn = 1; turn <= 20; turn++) {
        loop_turn_until(loop, 1); /* long ago */
        assert_int_equal(events + spinner.runs, turn);
        assert_in_range(events, turn / 2, (turn + 1) / 2);
    }

    spinner.is_over = true;
    watch_close(watch);
    loop_turn(loop, 0);
    close(pair[0]);
    close(pair[1]);
    drop_loop(loop);
}

static void do_nothing(void *ud)
{
    (void)ud;
}

static void on_done(void *ud)
{
    (*(unsigned *)ud)++;
}

/* libuv tells of all at once. */
static void test_a_turn_that_is_over_tells_of_one_work_that_ended(void **state)
{
    struct loop *loop = make_loop();
    unsigned done = 0;

    (void)state;
    for (int i = 0; i < 20; i++)
        assert_ok(work_start(loop, do_nothing, on_done, &done));
    while (done < 20) {
        unsigned before = done;

        loop_turn_until(loop, 1); /* long ago */
        assert_in_range(done, before, before + 1);
    }

    drop_loop(loop);
}

static void test_a_turn_that_is_over_hears_one_wake(void **state)
{
    struct loop *loop = make_loop();
    struct wake *wakes[3];
    unsigned done = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_ok(wake_open(&wakes[i], loop, on_done, &done));
        wake_send(wakes[i]);
    }
    for (unsigned turn = 1; turn <= 3; turn++) {
        loop_turn_until(loop, 1); /* long ago */
        assert_int_equal(done, turn);
    }

    for (int i = 0; i < 3; i++)
        wake_close(wakes[i]);
    drop_loop(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_loop_runs_all_run_jobs_before_flush_jobs,
                               clear_order),
        cmocka_unit_test_setup(
            test_loop_runs_what_a_flush_job_defers_in_the_same_turn,
            clear_order),
        cmocka_unit_test_setup(
            test_loop_runs_a_job_once_when_it_is_deferred_twice, clear_order),
        cmocka_unit_test_setup(test_loop_does_not_run_a_job_that_was_taken_back,
                               clear_order),
        cmocka_unit_test(test_loop_polls_while_a_job_defers_itself_for_ever),
        cmocka_unit_test(test_loop_run_ends_when_it_is_stopped),
        cmocka_unit_test(test_loop_turn_comes_back_when_nothing_is_open),
        cmocka_unit_test_setup(test_loop_borrows_the_loop_of_its_host,
                               clear_order),
        cmocka_unit_test(test_a_turn_whose_time_is_up_before_it_polls_ends),
        cmocka_unit_test(test_loop_new_fails_without_memory),
        cmocka_unit_test_setup(test_a_turn_that_is_over_leaves_jobs_to_the_next,
                               clear_order),
        cmocka_unit_test(test_turns_that_are_over_do_jobs_and_events_by_turns),
        cmocka_unit_test(test_a_turn_that_is_over_tells_of_one_work_that_ended),
        cmocka_unit_test(test_a_turn_that_is_over_hears_one_wake),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
