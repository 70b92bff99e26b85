/* test_base_wheel.c - the timing wheel, also against a plain array. */
#include "unit.h"

#include "base/rand.h"
#include "base/wheel.h"

enum { TIMERS = 200, RUNS = 20, OPERATIONS = 10000 };

static const uint64_t MS = 1000000;
static const uint64_t SPAN_NS = ((uint64_t)1 << 48) * 1000;

/* Arms one timer and checks both sides of its deadline, a whole tick each. */
static void check_fires_at(uint64_t start_ns, uint64_t at_ns)
{
    struct wheel_timer timer = { 0 };
    struct wheel wheel;

    wheel_init(&wheel, start_ns);
    wheel_add(&wheel, &timer, at_ns);
    assert_true(wheel_is_armed(&timer));
    assert_true(wheel_next_ns(&wheel) <= at_ns);

    assert_null(wheel_expire(&wheel, at_ns - WHEEL_TICK_NS));
    assert_int_equal(wheel.len, 1);
    assert_int_equal(wheel_next_ns(&wheel), at_ns);
    assert_ptr_equal(wheel_expire(&wheel, at_ns), &timer);
    assert_null(wheel_expire(&wheel, at_ns));
    assert_false(wheel_is_armed(&timer));
    assert_int_equal(wheel.len, 0);
    assert_int_equal(wheel_next_ns(&wheel), WHEEL_NEVER);
}

static void test_new_wheel_has_nothing_due(void **state)
{
    struct wheel wheel;
    (void)state;

    wheel_init(&wheel, 5 * MS);

    assert_int_equal(wheel_next_ns(&wheel), WHEEL_NEVER);
    assert_null(wheel_expire(&wheel, 0));
    assert_null(wheel_expire(&wheel, WHEEL_NEVER));
}

static void test_timer_fires_at_its_tick_at_every_distance(void **state)
{
    static const uint64_t starts[] = { 0, 1000, 63000, 64000, 4095000, 77 };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        for (unsigned bit = 1; bit < 54; bit++) {
            uint64_t at = starts[i] / 1000 * 1000 + ((uint64_t)1000 << bit);

            check_fires_at(starts[i], at - 1000);
            check_fires_at(starts[i], at);
            check_fires_at(starts[i], at + 1000);
        }
    }
}

static void test_timer_fires_beyond_the_top_level(void **state)
{
    (void)state;

    check_fires_at(0, SPAN_NS);
    check_fires_at(SPAN_NS - 1000, SPAN_NS);
    check_fires_at(SPAN_NS - 1000, SPAN_NS + 1000);
    check_fires_at(5 * MS, SPAN_NS + 3 * MS);
    check_fires_at(5 * MS, 40 * SPAN_NS + 3 * MS);
    check_fires_at(0, UINT64_MAX / 1000 * 1000);
}

static void test_deadline_between_ticks_is_rounded_up(void **state)
{
    struct wheel_timer timer = { 0 };
    struct wheel wheel;
    (void)state;

    wheel_init(&wheel, 0);
    wheel_add(&wheel, &timer, 10001);

    assert_null(wheel_expire(&wheel, 10999));
    assert_int_equal(wheel_next_ns(&wheel), 11000);
    assert_ptr_equal(wheel_expire(&wheel, 11000), &timer);
}

static void test_timer_that_never_fires_stays_armed(void **state)
{
    struct wheel_timer timer = { 0 };
    struct wheel wheel;
    (void)state;

    wheel_init(&wheel, 0);
    wheel_add(&wheel, &timer, WHEEL_NEVER);
    assert_null(wheel_expire(&wheel, 3 * SPAN_NS));
    assert_null(wheel_expire(&wheel, WHEEL_NEVER));

    assert_int_equal(wheel_next_ns(&wheel), WHEEL_NEVER);
    assert_true(wheel_is_armed(&timer));
    wheel_remove(&wheel, &timer);
    assert_int_equal(wheel.len, 0);
}

static void test_passed_deadline_is_due_at_once(void **state)
{
    struct wheel_timer timer = { 0 };
    struct wheel wheel;
    (void)state;

    wheel_init(&wheel, 5 * MS);
    wheel_add(&wheel, &timer, MS);

    assert_int_equal(wheel_next_ns(&wheel), 5 * MS);
    assert_ptr_equal(wheel_expire(&wheel, 5 * MS), &timer);
    assert_int_equal(wheel_next_ns(&wheel), WHEEL_NEVER);
}

static void test_time_does_not_go_back(void **state)
{
    struct wheel_timer timer = { 0 };
    struct wheel wheel;
    (void)state;

    wheel_init(&wheel, 0);
    assert_null(wheel_expire(&wheel, 5 * MS));
    assert_null(wheel_expire(&wheel, 1 * MS));
    wheel_add(&wheel, &timer, 4 * MS);

    assert_ptr_equal(wheel_expire(&wheel, 2 * MS), &timer);
}

static void test_timers_come_by_deadline_then_by_arming(void **state)
{
    static const uint64_t at_ms[] = { 70, 5, 70000, 70, 5, 0 };
    static const size_t order[] = { 5, 1, 4, 0, 3, 2 };
    struct wheel_timer timers[ARRAY_LEN(at_ms)] = { 0 };
    struct wheel wheel;
    (void)state;

    wheel_init(&wheel, 0);
    for (size_t i = 0; i < ARRAY_LEN(at_ms); i++)
        wheel_add(&wheel, &timers[i], at_ms[i] * MS);

    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        assert_ptr_equal(wheel_expire(&wheel, 100000 * MS), &timers[order[i]]);
    assert_null(wheel_expire(&wheel, 100000 * MS));
}

static void test_removed_timer_does_not_fire(void **state)
{
    struct wheel_timer timers[3] = { 0 };
    struct wheel wheel;
    (void)state;

    wheel_init(&wheel, 0);
    wheel_add(&wheel, &timers[0], MS);
    wheel_add(&wheel, &timers[1], MS);
    wheel_add(&wheel, &timers[2], 0);
    wheel_remove(&wheel, &timers[0]);
    wheel_remove(&wheel, &timers[0]);
    wheel_remove(&wheel, &timers[2]);

    assert_int_equal(wheel.len, 1);
    assert_ptr_equal(wheel_expire(&wheel, MS), &timers[1]);
    assert_null(wheel_expire(&wheel, MS));
    assert_int_equal(wheel.len, 0);
}

static void test_timers_change_while_others_are_handed_out(void **state)
{
    struct wheel_timer timers[4] = { 0 };
    struct wheel wheel;
    (void)state;

    wheel_init(&wheel, 0);
    for (size_t i = 0; i < 3; i++)
        wheel_add(&wheel, &timers[i], MS);
    assert_ptr_equal(wheel_expire(&wheel, 9 * MS), &timers[0]);

    wheel_remove(&wheel, &timers[1]); /* was found due already */
    wheel_add(&wheel, &timers[0], 2 * MS);
    wheel_add(&wheel, &timers[3], 9 * MS + 1000);
    assert_ptr_equal(wheel_expire(&wheel, 9 * MS), &timers[2]);
    assert_ptr_equal(wheel_expire(&wheel, 9 * MS), &timers[0]);
    assert_null(wheel_expire(&wheel, 9 * MS));
    assert_true(wheel_is_armed(&timers[3]));
    wheel_remove(&wheel, &timers[3]);
}

/* The same random operations on a wheel and on an array. */
struct model {
    struct wheel wheel;
    struct wheel_timer timers[TIMERS];
    uint64_t tick[TIMERS];  /* when it is due, not before it was armed */
    uint64_t order[TIMERS]; /* of arming; 0: not armed */
    uint64_t armings;
    uint64_t now_ns;
    uint64_t tick_now; /* lags behind now_ns while timers are handed out */
    struct rand rand;
};

/* A number of a random magnitude below 2^bits. */
static uint64_t random_size(struct model *model, uint64_t bits)
{
    return rand_next(&model->rand) >> (63 - rand_below(&model->rand, bits));
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The place of the timer to fire first, or TIMERS when none is armed. */
static size_t model_first(const struct model *model)
{
    size_t first = TIMERS;

    for (size_t i = 0; i < TIMERS; i++) {
        if (model->order[i] == 0)
            continue;
        if (first == TIMERS || model->tick[i] < model->tick[first] ||
            (model->tick[i] == model->tick[first] &&
             model->order[i] < model->order[first]))
            first = i;
    }
    return first;
}

static void model_add(struct model *model, size_t i)
{
    uint64_t at = add_saturating(model->now_ns, random_size(model, 63));

    if (rand_below(&model->rand, 2) == 0)
        at -= at % WHEEL_TICK_NS;
    if (rand_below(&model->rand, 10) == 0)
        at = random_size(model, 63);
    wheel_add(&model->wheel, &model->timers[i], at);
    model->tick[i] = at / 1000 + (at % 1000 > 0);
    if (model->tick[i] < model->tick_now)
        model->tick[i] = model->tick_now;
    model->order[i] = ++model->armings;
}

static void model_remove(struct model *model, size_t i)
{
    wheel_remove(&model->wheel, &model->timers[i]);
    assert_false(wheel_is_armed(&model->timers[i]));
    model->order[i] = 0;
}

/* Goes to some time, often just before, at, or past the first deadline. */
static void model_move(struct model *model)
{
    uint64_t next = wheel_next_ns(&model->wheel);
    uint64_t to = model->now_ns;

    switch (rand_below(&model->rand, 4)) {
    case 0: to = next; break;
    case 1: to = next - 1; break;
    case 2: to = add_saturating(to, random_size(model, 40)); break;
    case 3: to = add_saturating(to, random_size(model, 54)); break;
    }
    /* Far jumps are rare, or time would soon come to its end. */
    if (to > model->now_ns && to - model->now_ns > SPAN_NS / 8 &&
        rand_below(&model->rand, 30) > 0)
        return;
    if (to != WHEEL_NEVER && to > model->now_ns)
        model->now_ns = to;
}

/* Hands out what is due, sometimes not all of it. */
static void model_expire(struct model *model)
{
    uint64_t limit = rand_below(&model->rand, 4) > 0 ? UINT64_MAX : 2;
    uint64_t now_tick = model->now_ns / WHEEL_TICK_NS;

    for (; limit > 0; limit--) {
        size_t first = model_first(model);
        struct wheel_timer *timer = wheel_expire(&model->wheel, model->now_ns);

        if (first == TIMERS || model->tick[first] > now_tick) {
            assert_null(timer);
            model->tick_now = now_tick;
            return;
        }
        assert_ptr_equal(timer, &model->timers[first]);
        assert_false(wheel_is_armed(timer));
        model->order[first] = 0;
        model->tick_now = model->tick[first];
    }
}

static void model_check(const struct model *model)
{
    size_t first = model_first(model);
    uint64_t next = wheel_next_ns(&model->wheel);
    uint64_t armed = 0;

    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(wheel_is_armed(&model->timers[i]),
                         model->order[i] > 0);
        armed += model->order[i] > 0;
    }
    assert_int_equal(model->wheel.len, armed);
    if (first == TIMERS) {
        assert_int_equal(next, WHEEL_NEVER);
    } else if (model->tick[first] > UINT64_MAX / WHEEL_TICK_NS) {
        assert_true(next >= model->tick_now * WHEEL_TICK_NS);
    } else {
        assert_true(next <= model->tick[first] * WHEEL_TICK_NS);
        assert_true(next / WHEEL_TICK_NS > model->tick_now ||
                    model->tick[first] == model->tick_now);
    }
}

static void run_model(struct model *model, uint64_t start_ns)
{
    model->now_ns = start_ns;
    model->tick_now = start_ns / WHEEL_TICK_NS;
    wheel_init(&model->wheel, start_ns);
    for (int i = 0; i < OPERATIONS; i++) {
        size_t timer = (size_t)rand_below(&model->rand, TIMERS);
        uint64_t dice = rand_below(&model->rand, 10);

        if (dice < 6 && model->order[timer] == 0) {
            model_add(model, timer);
        } else if (dice < 7) {
            model_remove(model, timer);
        } else {
            model_move(model);
            model_expire(model);
        }
        model_check(model);
    }
}

static void test_random_operations_agree_with_an_array(void **state)
{
    (void)state;

    for (uint64_t seed = 0; seed < RUNS; seed++) {
        struct model model = { .rand = { seed } };
        uint64_t start = random_size(&model, 60);

        if (seed % 4 == 0)
            start = (seed / 4 + 1) * SPAN_NS - 5000 * MS;
        run_model(&model, start);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_wheel_has_nothing_due),
        cmocka_unit_test(test_timer_fires_at_its_tick_at_every_distance),
        cmocka_unit_test(test_timer_fires_beyond_the_top_level),
        cmocka_unit_test(test_deadline_between_ticks_is_rounded_up),
        cmocka_unit_test(test_timer_that_never_fires_stays_armed),
        cmocka_unit_test(test_passed_deadline_is_due_at_once),
        cmocka_unit_test(test_time_does_not_go_back),
        cmocka_unit_test(test_timers_come_by_deadline_then_by_arming),
        cmocka_unit_test(test_removed_timer_does_not_fire),
        cmocka_unit_test(test_timers_change_while_others_are_handed_out),
        cmocka_unit_test(test_random_operations_agree_with_an_array),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
