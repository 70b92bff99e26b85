/*
 * flight.h - the flight recorder of a pool: its last demands and events, in
 * memory of a fixed size, to be read when something has gone wrong.
 *
 * Demands and events have a ring each, so that many demands do not push out the
 * few events that explain them.  All reading is plain memory access: it may be
 * done from a signal handler.
 */
#ifndef TIDEPOOL_POOL_FLIGHT_H
#define TIDEPOOL_POOL_FLIGHT_H

#include "base/err.h"
#include "pool/class.h"

struct flight;
struct pool;
struct pool_event;

enum { FLIGHT_DEMANDS = 8192, FLIGHT_EVENTS = 512 };

/* How a demand ended.  XX(name, word) */
/* clang-format off */
#define DEMAND_END_MAP(XX)                                                    \
    XX(SERVED,    "served")                                                   \
    XX(TIMEOUT,   "timeout")   /* waited until its deadline */                \
    XX(BUSY,      "busy")      /* the line was full */                        \
    XX(SHED,      "shed")      /* waits stayed over codel_target */           \
    XX(REFUSED,   "refused")   /* the server could not be reached */          \
    XX(CLOSED,    "closed")    /* the pool was */                             \
    XX(CANCELLED, "cancelled") /* by who waited */
/* clang-format on */

enum demand_end {
#define XX(name, word) DEMAND_##name,
    DEMAND_END_MAP(XX)
#undef XX
        DEMAND_ENDS
};

const char *demand_end_name(enum demand_end end);
/* Of a wait that ended so; who is BUSY and had stood in line was shed. */
enum demand_end demand_end_of(enum err err, bool has_waited);

/* One demand, when it is over, or one event.  Durations end at the largest
 * number that fits. */
struct flight_note {
    uint64_t at_ns;      /* when it was over; of the pool's clock */
    uint32_t wait_us;    /* a demand's; an event's duration */
    uint32_t service_us; /* lent, or at work on the server; 0 unless SERVED */
    uint32_t conn;       /* low bits of its id; 0: none */
    uint8_t is_event;
    uint8_t is_shared; /* a statement on a lane; else a lease */
    uint8_t what;      /* enum demand_end, or enum pool_event_kind */
    uint8_t detail;    /* a demand's class; CLOSED: enum close_reason */
};

/* NULL when there is no memory.  Freed after the pool that has it. */
struct flight *flight_new(void);
void flight_free(struct flight *flight);
/* The one that pool was made with; or NULL. */
struct flight *pool_flight(const struct pool *pool);

/* Is told of every note; must not call the pool.  One at a time; NULL: nobody.
 */
typedef void (*flight_fn)(void *ud, const struct flight_note *note);
void flight_follow(struct flight *flight, flight_fn fn, void *ud);

/* ---- reading it: all zero begins with the oldest note */

struct flight_walk {
    bool has_begun;
    uint64_t demand, event; /* the next of each */
};

/* The next note, of both rings by time; NULL after the last. */
const struct flight_note *flight_next(const struct flight *flight,
                                      struct flight_walk *walk);

/* ---- for the pool */

struct flight_demand {
    enum demand_end end;
    bool is_shared;
    enum pool_class class;
    uint64_t conn;
    uint64_t wait_ns;
    uint64_t service_ns;
};

/* Both accept a flight that is NULL. */
void flight_demand(struct flight *flight, const struct flight_demand *demand,
                   uint64_t now_ns);
void flight_event(struct flight *flight, const struct pool_event *event,
                  uint64_t now_ns);

#endif
