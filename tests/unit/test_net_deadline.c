/* test_net_deadline.c - deadlines fire once, in order, never early. */
#include "net/deadline.h"

#include "base/rand.h"
#include "turns.h"
#include "unit.h"

struct alarm {
    struct deadline deadline;
    struct loop *loop;
    uint64_t at_ns;
    unsigned calls;
    bool was_early;
    uint64_t again_ns; /* starts itself anew, this much later */
    unsigned again;    /* so many times */
    struct alarm *stops;
};

static void on_alarm(struct deadline *deadline)
{
    struct alarm *alarm = container_of(deadline, struct alarm, deadline);

    alarm->calls++;
    if (loop_now_ns(alarm->loop) < alarm->at_ns)
        alarm->was_early = true;
    if (alarm->stops != NULL)
        deadline_stop(alarm->loop, &alarm->stops->deadline);
    if (alarm->again > 0) {
        alarm->again--;
        alarm->at_ns += alarm->again_ns;
        deadline_start(alarm->loop, &alarm->deadline, alarm->at_ns);
    }
}

static void start(struct alarm *alarm, struct loop *loop, uint64_t in_ns)
{
    alarm->deadline.fn = on_alarm;
    alarm->loop = loop;
    alarm->at_ns = loop_now_ns(loop) + in_ns;
    deadline_start(loop, &alarm->deadline, alarm->at_ns);
}

static void test_deadline_fires_once_and_never_early(void **state)
{
    struct loop *loop = make_loop();
    struct alarm alarm = { 0 };

    (void)state;
    start(&alarm, loop, 3 * NS_PER_MS + 1);
    assert_true(deadline_is_armed(&alarm.deadline));
    loop_run(loop);

    assert_int_equal(alarm.calls, 1);
    assert_false(alarm.was_early);
    assert_false(deadline_is_armed(&alarm.deadline));
    drop_loop(loop);
}

static void test_deadline_that_has_passed_fires_in_the_next_turn(void **state)
{
    struct loop *loop = make_loop();
    struct alarm alarm = { .deadline.fn = on_alarm, .loop = loop };

    (void)state;
    deadline_start(loop, &alarm.deadline, 0);
    assert_int_equal(alarm.calls, 0);
    loop_run(loop);

    assert_int_equal(alarm.calls, 1);
    drop_loop(loop);
}

static void test_deadline_is_moved_when_it_is_started_again(void **state)
{
    struct loop *loop = make_loop();
    struct alarm alarm = { 0 };

    (void)state;
    start(&alarm, loop, 3600 * (uint64_t)1000 * NS_PER_MS);
    start(&alarm, loop, 1 * NS_PER_MS);
    start(&alarm, loop, 4 * NS_PER_MS);
    loop_run(loop);

    assert_int_equal(alarm.calls, 1);
    assert_false(alarm.was_early);
    drop_loop(loop);
}

static void test_deadline_that_was_stopped_does_not_fire(void **state)
{
    struct loop *loop = make_loop();
    struct alarm first = { 0 };
    struct alarm second = { 0 };
    struct alarm third = { 0 };

    (void)state;
    start(&third, loop, 3600 * (uint64_t)1000 * NS_PER_MS);
    deadline_stop(loop, &third.deadline);
    deadline_stop(loop, &third.deadline);
    first.stops = &second; /* both are due in one turn */
    start(&first, loop, 0);
    start(&second, loop, 0);
    loop_run(loop);

    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 0);
    assert_int_equal(third.calls, 0);
    drop_loop(loop);
}

static uint64_t still(void *ud)
{
    return *(uint64_t *)ud;
}

static void
test_deadline_started_for_the_past_by_itself_does_not_spin(void **state)
{
    uint64_t now_ns = NS_PER_MS;
    struct alarm alarm = { .again = UINT32_MAX };
    struct loop *loop = NULL;

    (void)state;
    assert_ok(loop_new(&loop, NULL, (struct loop_clock){ still, &now_ns }));
    start(&alarm, loop, 0);
    for (unsigned calls = 1; calls <= 3; calls++) {
        for (unsigned turns = 0; turns < 10; turns++)
            loop_turn(loop, 20);
        assert_int_equal(alarm.calls, calls);
        now_ns += NS_PER_MS;
    }

    deadline_stop(loop, &alarm.deadline);
    drop_loop(loop);
}

static void test_deadlines_of_any_number_fire_each_at_its_time(void **state)
{
    enum { COUNT = 1000 };
    static struct alarm alarms[COUNT];
    struct loop *loop = make_loop();
    struct rand rand = { .state = 7 };

    (void)state;
    memset(alarms, 0, sizeof(alarms));
    for (unsigned i = 0; i < COUNT; i++) {
        alarms[i].again = i % 3;
        alarms[i].again_ns = rand_below(&rand, 5 * NS_PER_MS);
        start(&alarms[i], loop, rand_below(&rand, 20 * NS_PER_MS));
    }
    loop_run(loop);

    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(alarms[i].calls, 1 + i % 3);
        assert_false(alarms[i].was_early);
    }
    drop_loop(loop);
}

static void
test_a_turn_that_is_over_leaves_deadlines_to_a_later_one(void **state)
{
    struct loop *loop = make_loop();
    struct alarm alarms[3] = { { .calls = 0 } };
    unsigned calls = 0;

    (void)state;
    for (int i = 0; i < 3; i++)
        start(&alarms[i], loop, 0);
    while (calls < 3) {
        unsigned before = calls;

        calls = 0;
        loop_turn_until(loop, 1); /* long ago */
        for (int i = 0; i < 3; i++)
            calls += alarms[i].calls;
        assert_in_range(calls, before, before + 1);
    }

    for (int i = 0; i < 3; i++)
        assert_int_equal(alarms[i].calls, 1);
    drop_loop(loop);
}

static uint64_t read_clock(void *ud)
{
    return *(const uint64_t *)ud;
}

struct spinner {
    struct loop_job job;
    struct loop *loop;
    unsigned runs;
};

static void on_spin(struct loop_job *job)
{
    struct spinner *spinner = container_of(job, struct spinner, job);

    spinner->runs++;
    loop_defer(spinner->loop, LOOP_RUN, &spinner->job);
}

/* Some are due in every turn. */
static void test_turns_that_are_over_do_not_only_deadlines(void **state)
{
    enum { TURNS = 20 };
    uint64_t now_ns = NS_PER_MS;
    struct alarm alarm = { .again = 1000, .again_ns = 0 };
    struct spinner spinner = { .job.fn = on_spin };
    struct loop *loop;

    (void)state;
    assert_ok(
        loop_new(&loop, NULL, (struct loop_clock){ read_clock, &now_ns }));
    spinner.loop = loop;
    start(&alarm, loop, 0);
    loop_defer(loop, LOOP_RUN, &spinner.job);
    for (int i = 0; i < TURNS; i++) {
        now_ns += 10 * NS_PER_MS;
        loop_turn_until(loop, 1); /* long ago */
    }

    assert_in_range(alarm.calls, TURNS / 4, TURNS);
    assert_in_range(spinner.runs, TURNS / 4, TURNS);
    deadline_stop(loop, &alarm.deadline);
    loop_cancel(loop, LOOP_RUN, &spinner.job);
    drop_loop(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline_fires_once_and_never_early),
        cmocka_unit_test(test_deadline_that_has_passed_fires_in_the_next_turn),
        cmocka_unit_test(test_deadline_is_moved_when_it_is_started_again),
        cmocka_unit_test(test_deadline_that_was_stopped_does_not_fire),
        cmocka_unit_test(
            test_deadline_started_for_the_past_by_itself_does_not_spin),
        cmocka_unit_test(test_deadlines_of_any_number_fire_each_at_its_time),
        cmocka_unit_test(
            test_a_turn_that_is_over_leaves_deadlines_to_a_later_one),
        cmocka_unit_test(test_turns_that_are_over_do_not_only_deadlines),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
