/* link.h - one connection of a pool: dialled, greeted, written to and read. */
#ifndef TIDEPOOL_REDIS_LINK_H
#define TIDEPOOL_REDIS_LINK_H

#include "net/resolve.h"
#include "net/stream.h"
#include "pool/conn.h"
#include "pool/conn_state.h"
#include "pool/driver.h"
#include "pool/lane.h"
#include "redis/pubsub.h"
#include "redis/reader.h"
#include "redis/request.h"

#include <netinet/in.h>

enum { LINK_ADDRESSES_MAX = 8 };

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
    struct lane lane;
    struct loop_job job; /* begins to connect; later, answers the pool */

    struct resolve *resolve;
    union link_address addresses[LINK_ADDRESSES_MAX];
    unsigned n_addresses, at_address; /* at: the next to dial */

    struct stream *stream;
    struct redis_reader *reader;
    struct link_slot *slots; /* a ring; places are counted from the start */
    uint64_t head, tail, n_slots;
    unsigned n_due;              /* replies */
    uint64_t n_written;          /* bytes given to the stream */
    struct loop_job read_job;    /* goes on with what came */
    bool is_reading;             /* what came: do not free */
    bool is_gone;                /* closed meanwhile: free it afterwards */
    bool is_broken;              /* of no use any more */
    bool is_session;             /* somebody left a state on it */
    bool is_open;                /* of that, MULTI or WATCH */
    bool is_spent;               /* and one that no reset takes away */
    struct redis_request own;    /* the greeting, the test */
    struct redis_pubsub *pubsub; /* hears what comes, whoever it is for */

    struct deadline patience; /* of a lane: see lane.c */
    uint64_t patience_ns;     /* when that is due */
    uint64_t due_ns;          /* since when replies are due */
    uint64_t unsent_ns;       /* when unsent was last seen to change */
    size_t unsent;
    bool is_suspect; /* stalled, unless a byte comes at once */
};

static inline struct redis_link *redis_link_at(struct conn *conn)
{
    return container_of(conn, struct redis_link, conn);
}

/* ---- link.c: connecting, and what the pool asks of a connection */

extern const struct conn_ops redis_link_ops;
/* For the stream: the TLS handshake begins; then, the server is greeted. */
void redis_link_on_greeting(struct stream *stream, void *ud);
void redis_link_on_open(struct stream *stream, void *ud);
/* It was closed while it was read. */
void redis_link_free(struct redis_link *link);
/* It cannot go on, whatever state it is in. */
void redis_link_break(struct redis_link *link, enum close_reason reason,
                      enum err err, const struct err_text *text);

/* ---- wire.c: requests onto the stream, replies off it */

extern const struct stream_events redis_wire_events;
/* Of link->read_job. */
void redis_wire_read_on(struct loop_job *job);
/* ERR_NOMEM, ERR_LOST: nothing of it was written, it is where it was. */
enum err redis_wire_write(struct redis_link *link,
                          struct redis_request *request) MUST_CHECK;
/* Leaves a tombstone and tells in was_sent whether bytes left us. */
void redis_wire_forget(struct redis_request *request);
/* Takes the oldest request back; NULL when none is left. */
struct redis_request *redis_wire_take_back(struct redis_link *link);
/* The first request of a caller whose reply is due and wanted; or NULL. */
struct redis_request *redis_wire_first_wanted(struct redis_link *link);
/* No byte came that belongs to no request. */
bool redis_wire_is_clean(const struct redis_link *link);
void redis_wire_free(struct redis_link *link);

#endif
