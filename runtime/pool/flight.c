/* flight.c - see flight.h. */
#include "pool/flight.h"

#include "pool/conn.h"
#include "pool/event.h"

#include <stdlib.h>

/* Counts grow for ever: the ring holds the last of that many. */
struct flight {
    flight_fn fn;
    void *ud;
    uint64_t demand_count, event_count;
    struct flight_note demands[FLIGHT_DEMANDS];
    struct flight_note events[FLIGHT_EVENTS];
};

const char *demand_end_name(enum demand_end end)
{
    static const char *const names[] = {
#define XX(name, word) [DEMAND_##name] = word,
        DEMAND_END_MAP(XX)
#undef XX
    };

    return names[end];
}

enum demand_end demand_end_of(enum err err, bool has_waited)
{
    switch (err) {
    case ERR_OK: return DEMAND_SERVED;
    case ERR_TIMEOUT: return DEMAND_TIMEOUT;
    case ERR_BUSY: return has_waited ? DEMAND_SHED : DEMAND_BUSY;
    case ERR_CLOSED: return DEMAND_CLOSED;
    case ERR_CANCELLED: return DEMAND_CANCELLED;
    default: return DEMAND_REFUSED;
    }
}

struct flight *flight_new(void)
{
    return calloc(1, sizeof(struct flight));
}

void flight_free(struct flight *flight)
{
    free(flight);
}

void flight_follow(struct flight *flight, flight_fn fn, void *ud)
{
    flight->fn = fn;
    flight->ud = ud;
}

/* ---- writing */

static uint32_t microseconds(uint64_t ns)
{
    uint64_t us = ns / 1000;

    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

void flight_demand(struct flight *flight, const struct flight_demand *demand,
                   uint64_t now_ns)
{
    struct flight_note *note;

    if (flight == NULL)
        return;
    note = &flight->demands[flight->demand_count++ % FLIGHT_DEMANDS];
    *note = (struct flight_note){
        .at_ns = now_ns,
        .wait_us = microseconds(demand->wait_ns),
        .service_us = microseconds(demand->service_ns),
        .conn = (uint32_t)demand->conn,
        .is_shared = demand->is_shared,
        .what = (uint8_t)demand->end,
        .detail = (uint8_t)demand->class,
    };
    if (flight->fn != NULL)
        flight->fn(flight->ud, note);
}

/* What a demand tells itself needs no event. */
static bool is_told(enum pool_event_kind kind)
{
    return kind == POOL_EVENT_TIMEOUT || kind == POOL_EVENT_SLOW_ACQUIRE;
}

void flight_event(struct flight *flight, const struct pool_event *event,
                  uint64_t now_ns)
{
    struct flight_note *note;

    if (flight == NULL || is_told(event->kind))
        return;
    note = &flight->events[flight->event_count++ % FLIGHT_EVENTS];
    *note = (struct flight_note){
        .at_ns = now_ns,
        .wait_us = microseconds(event->duration_ns),
        .conn = event->conn != NULL ? (uint32_t)event->conn->id : 0,
        .is_event = true,
        .what = (uint8_t)event->kind,
        .detail = (uint8_t)event->reason,
    };
    if (flight->fn != NULL)
        flight->fn(flight->ud, note);
}

/* ---- reading */

static uint64_t first_of(uint64_t count, uint64_t room)
{
    return count > room ? count - room : 0;
}

const struct flight_note *flight_next(const struct flight *flight,
                                      struct flight_walk *walk)
{
    const struct flight_note *demand = NULL, *event = NULL;

    if (!walk->has_begun) {
        walk->has_begun = true;
        walk->demand = first_of(flight->demand_count, FLIGHT_DEMANDS);
        walk->event = first_of(flight->event_count, FLIGHT_EVENTS);
    }
    if (walk->demand < flight->demand_count)
        demand = &flight->demands[walk->demand % FLIGHT_DEMANDS];
    if (walk->event < flight->event_count)
        event = &flight->events[walk->event % FLIGHT_EVENTS];
    if (event == NULL || (demand != NULL && demand->at_ns <= event->at_ns)) {
        walk->demand += demand != NULL;
        return demand;
    }
    walk->event++;
    return event;
}
