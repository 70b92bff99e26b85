/*
 * internal.h - a pool from the inside, for the files of this folder only.
 *
 * Nobody's on_done runs inside a call of the floors above nor of the pool's:
 * there a request goes onto redis->ending, which a job empties.  Callbacks of
 * the loop end requests at once.
 */
#ifndef TIDEPOOL_REDIS_INTERNAL_H
#define TIDEPOOL_REDIS_INTERNAL_H

#include "base/login.h"
#include "net/lane_pump.h"
#include "net/pool_clock.h"
#include "pool/conn_state.h"
#include "pool/lanes.h"
#include "redis/link.h"
#include "redis/url.h"

struct redis_pool {
    struct loop *loop;
    struct pool_clock clock;
    struct redis_target target;
    struct tls_context *tls; /* of rediss://; or NULL */
    struct login login;      /* instead of target's; see redis_pool_login() */
    char *name;
    char *client_name;       /* for CLIENT SETNAME; or NULL */
    union link_address slow; /* did not answer in time: dial it last */

    struct lanes lanes;        /* and what is not yet written */
    struct list ending;        /* see the top */
    struct err_text down_text; /* why no lane came */
    struct err_text lost_text; /* of the last connection lost */
    struct lane_pump pump;
    struct loop_job end_job, close_job;

    bool is_closing;
    uint64_t close_ns;
    void (*on_closed)(void *ud);
    void *closed_ud;
};

static inline uint64_t redis_now(const struct redis_pool *redis)
{
    return loop_now_ns(redis->loop);
}

/* ---- lane.c: the queue and the shared connections */

enum err redis_lane_submit(struct redis_pool *redis,
                           struct redis_request *request) MUST_CHECK;
/* After reading, and when bytes have left. */
void redis_lane_go_on(struct redis_link *link);
void redis_lane_lose(struct redis_link *link, enum close_reason reason,
                     enum err err, const struct err_text *text);
/* Replies are due from now on. */
void redis_lane_begin_due(struct redis_link *link);
/* It is no lane any more. */
void redis_lane_deinit(struct redis_link *link);
void redis_lanes_init(struct redis_pool *redis);
void redis_lanes_deinit(struct redis_pool *redis);

/* ---- lease.c: blocking commands */

enum err redis_lease_submit(struct redis_pool *redis,
                            struct redis_request *request) MUST_CHECK;
/* Gives the connection back and ends the request. */
void redis_lease_end(struct redis_request *request, enum err err);
void redis_lease_lose(struct redis_link *link, enum close_reason reason,
                      enum err err, const struct err_text *text);

/* ---- pool.c: beginning and ending requests */

/* Seals it and sets its deadline. */
enum err redis_request_begin(struct redis_pool *redis,
                             struct redis_request *request) MUST_CHECK;

/* Ends it in a job; it is on no list. */
void redis_request_end_later(struct redis_request *request, enum err err);
/* Ends those that wait for the job, as many as there is time for. */
void redis_request_end_all(struct redis_pool *redis);
/* Ends it now: never inside a call from above or from the pool. */
void redis_request_end(struct redis_request *request, enum err err);

#endif
