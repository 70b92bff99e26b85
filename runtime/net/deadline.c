/* deadline.c - see deadline.h. */
#include "net/deadline.h"

#include "base/clock.h"
#include "net/inside.h"

enum { NS_PER_MS = 1000000 };

static void on_timer(uv_timer_t *timer);

/* Rounded up. */
static uint64_t ms_of(uint64_t ns)
{
    return ns / NS_PER_MS + (ns % NS_PER_MS != 0);
}

/*
 * libuv counts in whole milliseconds of the clock that loop_now_ns() reads, so
 * rounding up means it never wakes too early.  By another clock it is a guess:
 * that it goes as fast from here on.
 */
static uint64_t wait_ms(struct loop *loop, uint64_t at_ns)
{
    uint64_t at_ms, now_ms;

    if (loop_has_clock(loop) || loop->lead_ns != 0)
        return ms_of(elapsed_ns(loop_now_ns(loop), at_ns));
    at_ms = ms_of(at_ns);
    now_ms = uv_now(loop->uv);
    return at_ms > now_ms ? at_ms - now_ms : 0;
}

/* Sets the one timer. */
static void arm(struct loop *loop, uint64_t at_ns)
{
    loop->armed_ns = at_ns;
    uv_timer_start(&loop->timer, on_timer, wait_ms(loop, at_ns), 0);
}

static void disarm(struct loop *loop)
{
    loop->armed_ns = WHEEL_NEVER;
    uv_timer_stop(&loop->timer);
}

/* Later than this turn, whose timers may not be over yet. */
static uint64_t next_turn_ns(struct loop *loop)
{
    return loop_now_ns(loop) + NS_PER_MS;
}

static void on_timer(uv_timer_t *timer)
{
    struct loop *loop = timer->data;
    struct wheel_timer *due;
    uint64_t next_ns, soonest_ns = 0;

    if (loop->until_ns != 0 && loop->do_deadlines_pass) {
        loop->do_deadlines_pass = false;
        arm(loop, next_turn_ns(loop));
        return;
    }
    loop->expiring_ns = loop_now_ns(loop);
    while ((due = wheel_expire(&loop->wheel, loop->expiring_ns)) != NULL) {
        struct deadline *deadline = container_of(due, struct deadline, timer);

        loop_begin_deadline(loop);
        deadline->fn(deadline);
        loop->do_deadlines_pass = loop_is_over(loop);
        if (loop->do_deadlines_pass) {
            soonest_ns = next_turn_ns(loop);
            break;
        }
    }
    loop->expiring_ns = 0;
    next_ns = wheel_next_ns(&loop->wheel);
    if (next_ns < soonest_ns)
        next_ns = soonest_ns;
    if (next_ns == WHEEL_NEVER)
        disarm(loop);
    else
        arm(loop, next_ns);
}

void deadline_init_loop(struct loop *loop)
{
    wheel_init(&loop->wheel, loop_now_ns(loop));
    loop->armed_ns = WHEEL_NEVER;
}

void deadline_look(struct loop *loop)
{
    bool is_other = loop_has_clock(loop) || loop->lead_ns != 0;

    if (is_other && loop->armed_ns != WHEEL_NEVER)
        arm(loop, loop->armed_ns);
}

void deadline_start(struct loop *loop, struct deadline *deadline,
                    uint64_t at_ns)
{
    assert(deadline->fn != NULL);
    wheel_remove(&loop->wheel, &deadline->timer);
    if (loop->expiring_ns != 0) {
        /* A deadline that starts itself anew for now must not spin. */
        if (at_ns <= loop->expiring_ns)
            at_ns = loop->expiring_ns + WHEEL_TICK_NS;
        wheel_add(&loop->wheel, &deadline->timer, at_ns);
        return; /* on_timer() arms when it is through */
    }
    wheel_add(&loop->wheel, &deadline->timer, at_ns);
    if (at_ns < loop->armed_ns)
        arm(loop, at_ns);
}

void deadline_stop(struct loop *loop, struct deadline *deadline)
{
    wheel_remove(&loop->wheel, &deadline->timer);
    /* When others are left the timer may wake for nothing, once. */
    if (loop->wheel.len == 0 && loop->expiring_ns == 0 &&
        loop->armed_ns != WHEEL_NEVER)
        disarm(loop);
}
