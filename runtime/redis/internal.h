/*
 * internal.h - the inside of redis/, for the files of this folder only.
 *
 * Nobody's on_done runs inside a call of the floors above nor of the pool's:
 * there a request goes onto redis->ending, which a job empties.  Callbacks of
 * the loop end requests at once.
 */
#ifndef TIDEPOOL_REDIS_INTERNAL_H
#define TIDEPOOL_REDIS_INTERNAL_H

#include "net/pool_clock.h"
#include "net/resolve.h"
#include "net/stream.h"
#include "redis/request.h"
#include "redis/url.h"

#include <netinet/in.h>

enum { LINK_ADDRESSES_MAX = 8 };

struct redisReader; /* hiredis */

union link_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Replies due for one request that was written. */
struct link_slot {
    struct redis_request *request; /* NULL: a tombstone, drop what comes */
    uint64_t start;                /* of its bytes, in all that was written */
    unsigned due;
};

/* One connection.  Owned by the pool from open() to close(). */
struct redis_link {
    struct conn conn;
    struct redis_pool *redis;
    struct list_node node; /* on redis->lanes while it takes requests */
    struct loop_job job;   /* begins to connect; later, answers the pool */

    struct resolve *resolve;
    union link_address addresses[LINK_ADDRESSES_MAX];
    unsigned n_addresses, at_address; /* at: the next to dial */

    struct stream *stream;
    struct redisReader *reader;
    struct link_slot *slots; /* a ring; places are counted from the start */
    uint64_t head, tail, n_slots;
    unsigned n_due;           /* replies */
    uint64_t n_written;       /* bytes given to the stream */
    bool is_reading;          /* inside on_data: do not free */
    bool is_gone;             /* closed meanwhile: free it after on_data */
    bool is_broken;           /* of no use any more */
    struct redis_request own; /* the greeting, the test */

    struct deadline patience; /* of a lane: see lane.c */
    uint64_t patience_ns;     /* when that is due */
    uint64_t due_ns;          /* since when replies are due */
    uint64_t unsent_ns;       /* when unsent was last seen to change */
    size_t unsent;
    bool is_finishing; /* takes no more, is released when nothing is due */
    bool is_suspect;   /* stalled, unless a byte comes at once */
};

struct redis_pool {
    struct loop *loop;
    struct pool_clock clock;
    struct redis_target target;
    char *name;
    union link_address slow; /* did not answer in time: dial it last */

    struct list lanes;
    struct list queue;              /* not yet written */
    struct list ending;             /* see the top */
    struct pool_waiter lane_waiter; /* in line while is_lane_coming */
    bool is_lane_coming;
    uint64_t lane_retry_ns;    /* no further lane is asked for before */
    struct err_text down_text; /* why no lane came */
    struct err_text lost_text; /* of the last connection lost */
    struct loop_job write_job, end_job, close_job;

    bool is_closing;
    uint64_t close_ns;
    void (*on_closed)(void *ud);
    void *closed_ud;
};

static inline struct redis_link *redis_link_at(struct conn *conn)
{
    return container_of(conn, struct redis_link, conn);
}

static inline uint64_t redis_now(const struct redis_pool *redis)
{
    return loop_now_ns(redis->loop);
}

/* ---- link.c: connecting, and what the pool asks of a connection */

extern const struct conn_ops link_ops;
/* For the stream: greets the server. */
void link_on_open(struct stream *stream, void *ud);
/* It was closed while it was read. */
void link_free(struct redis_link *link);
/* It cannot go on, whatever state it is in. */
void redis_link_break(struct redis_link *link, enum close_reason reason,
                      enum err err, const struct err_text *text);

/* ---- wire.c: requests onto the stream, replies off it */

extern const struct stream_events wire_events;
/* ERR_NOMEM, ERR_LOST: nothing of it was written, it is where it was. */
enum err wire_write(struct redis_link *link,
                    struct redis_request *request) MUST_CHECK;
/* Leaves a tombstone and tells in was_sent whether bytes left us. */
void wire_forget(struct redis_request *request);
/* Takes the oldest request back; NULL when none is left. */
struct redis_request *wire_take_back(struct redis_link *link);
/* No byte came that belongs to no request. */
bool wire_is_clean(const struct redis_link *link);
void wire_free(struct redis_link *link);

/* ---- lane.c: the queue and the shared connections */

enum err lane_submit(struct redis_pool *redis,
                     struct redis_request *request) MUST_CHECK;
/* After a request left the queue: a lane that nobody waits for any more is not
 * waited for. */
void lane_spare(struct redis_pool *redis);
/* After reading, and when it is asked to finish. */
void lane_rest(struct redis_link *link);
/* Takes no more and is released when nothing is due. */
void lane_finish(struct redis_link *link);
void lane_finish_all(struct redis_pool *redis);
void lane_lose(struct redis_link *link, enum close_reason reason, enum err err,
               const struct err_text *text);
/* Replies are due from now on. */
void lane_begin_due(struct redis_link *link);
void lane_write_all(struct redis_pool *redis);
void lane_deinit(struct redis_link *link);

/* ---- lease.c: blocking commands */

enum err lease_submit(struct redis_pool *redis,
                      struct redis_request *request) MUST_CHECK;
/* Gives the connection back and ends the request. */
void lease_end(struct redis_request *request, enum err err);
void lease_lose(struct redis_link *link, enum close_reason reason, enum err err,
                const struct err_text *text);

/* ---- pool.c: ending requests */

/* Ends it in a job; it is on no list. */
void request_end_later(struct redis_request *request, enum err err);
/* Ends all that wait for the job. */
void request_end_all(struct redis_pool *redis);
/* Ends it now: never inside a call from above or from the pool. */
void redis_request_end(struct redis_request *request, enum err err);

#endif
