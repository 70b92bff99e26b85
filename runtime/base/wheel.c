/* wheel.c - see wheel.h. */
#include "base/wheel.h"

/*
 * Ticks are numbers in base 64.  A timer is on the level of the highest digit
 * in which its tick differs from now_tick, in the slot which that digit names,
 * so it is always in a slot above the one that now_tick is in, and all timers
 * of a level are due before any of the next.  The first occupied slot of the
 * lowest occupied level is therefore the next one in time, whatever the jump.
 * When now_tick reaches a slot's start, its timers move to lower levels, each
 * at most once a level.
 *
 * By that rule slot 0 of the top level is never used, so it holds the timers
 * beyond the wheel's 2^48 ticks (nine years), until now_tick enters the next
 * such span and they are placed again.
 */

enum {
    DIGIT_BITS = 6,
    TOP = WHEEL_LEVELS - 1,
    SPAN_BITS = WHEEL_LEVELS * DIGIT_BITS,
    DUE = WHEEL_LEVELS, /* the level of a timer that is on the due list */
};

_Static_assert(1 << DIGIT_BITS == WHEEL_SLOTS, "a digit names a slot");

static const uint64_t FAR_BIT = 1;

struct place {
    unsigned level;
    unsigned slot;
    uint64_t tick; /* when now_tick enters the slot */
};

static unsigned level_of(uint64_t now_tick, uint64_t tick)
{
    unsigned bit = 63 - (unsigned)__builtin_clzll(now_tick ^ tick);

    return bit / DIGIT_BITS;
}

/* Links timer, whose tick is set, where it belongs as of now_tick. */
static void place(struct wheel *wheel, struct wheel_timer *timer)
{
    unsigned level = DUE;
    unsigned slot = 0;

    if (timer->tick <= wheel->now_tick) {
        list_push_back(&wheel->due, &timer->node);
    } else {
        level = level_of(wheel->now_tick, timer->tick);
        if (level > TOP)
            level = TOP; /* and slot 0, see above */
        else
            slot = timer->tick >> (level * DIGIT_BITS) & (WHEEL_SLOTS - 1);
        list_push_back(&wheel->slots[level][slot], &timer->node);
        wheel->occupied[level] |= (uint64_t)1 << slot;
    }
    timer->level = (uint8_t)level;
    timer->slot = (uint8_t)slot;
}

/* Finds the occupied slot that is next in time; false when there is none. */
static bool find_next(const struct wheel *wheel, struct place *next)
{
    uint64_t now_tick = wheel->now_tick;

    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t near = wheel->occupied[level] & ~FAR_BIT;
        unsigned shift = level * DIGIT_BITS;

        if (near == 0)
            continue;
        next->level = level;
        next->slot = (unsigned)__builtin_ctzll(near);
        next->tick = now_tick >> shift >> DIGIT_BITS << DIGIT_BITS << shift;
        next->tick |= (uint64_t)next->slot << shift;
        return true;
    }
    next->level = TOP;
    next->slot = 0;
    next->tick = ((now_tick >> SPAN_BITS) + 1) << SPAN_BITS;
    return (wheel->occupied[TOP] & FAR_BIT) != 0;
}

static void enter(struct wheel *wheel, const struct place *next)
{
    struct list *slot = &wheel->slots[next->level][next->slot];
    /* Counted, because a timer of the far slot may come back to it. */
    uint32_t count = slot->len;

    assert(next->tick > wheel->now_tick);
    wheel->now_tick = next->tick;
    wheel->occupied[next->level] &= ~((uint64_t)1 << next->slot);
    for (; count > 0; count--) {
        struct list_node *node = list_pop_front(slot);

        place(wheel, container_of(node, struct wheel_timer, node));
    }
}

void wheel_init(struct wheel *wheel, uint64_t now_ns)
{
    wheel->now_tick = now_ns / WHEEL_TICK_NS;
    wheel->len = 0;
    list_init(&wheel->due);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    }
}

void wheel_add(struct wheel *wheel, struct wheel_timer *timer, uint64_t at_ns)
{
    assert(!wheel_is_armed(timer));
    timer->tick = at_ns / WHEEL_TICK_NS + (at_ns % WHEEL_TICK_NS != 0);
    place(wheel, timer);
    wheel->len++;
}

void wheel_remove(struct wheel *wheel, struct wheel_timer *timer)
{
    if (!wheel_is_armed(timer))
        return;
    assert(wheel->len > 0);
    wheel->len--;
    if (timer->level == DUE) {
        list_remove(&wheel->due, &timer->node);
    } else {
        struct list *slot = &wheel->slots[timer->level][timer->slot];

        list_remove(slot, &timer->node);
        if (slot->len == 0)
            wheel->occupied[timer->level] &= ~((uint64_t)1 << timer->slot);
    }
}

struct wheel_timer *wheel_expire(struct wheel *wheel, uint64_t now_ns)
{
    uint64_t target = now_ns / WHEEL_TICK_NS;
    struct wheel_timer *timer;

    while (wheel->due.len == 0) {
        struct place next;

        if (!find_next(wheel, &next) || next.tick > target) {
            if (target > wheel->now_tick)
                wheel->now_tick = target;
            return NULL;
        }
        enter(wheel, &next);
    }
    timer = container_of(list_first(&wheel->due), struct wheel_timer, node);
    wheel_remove(wheel, timer);
    return timer;
}

uint64_t wheel_next_ns(const struct wheel *wheel)
{
    struct place next;

    if (wheel->len == 0)
        return WHEEL_NEVER;
    if (wheel->due.len > 0)
        return wheel->now_tick * WHEEL_TICK_NS;
    if (!find_next(wheel, &next) || next.tick > WHEEL_NEVER / WHEEL_TICK_NS)
        return WHEEL_NEVER;
    return next.tick * WHEEL_TICK_NS;
}
