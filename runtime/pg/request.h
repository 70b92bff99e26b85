/*
 * request.h - a statement that is asked of a pool or of a lease, and how it
 * ends.
 */
#ifndef TIDEPOOL_PG_REQUEST_H
#define TIDEPOOL_PG_REQUEST_H

#include "net/deadline.h"
#include "pool/lane_queue.h"
#include "pool/line.h"

struct known;
struct pg_link;
struct pg_param;
struct pg_pool;
struct pg_request;
struct pg_rows;

/* Where a request is that shares a connection with others. */
enum pg_place {
    PG_PLACE_OWN, /* it does not: the line, or a connection of its own */
    PG_PLACE_QUEUE,
    PG_PLACE_LANE,
    PG_PLACE_AGAIN, /* to be queued when its group has ended */
    PG_PLACE_ENDING
};

/*
 * Ends one statement.  ERR_OK: rows are the caller's own.  ERR_SERVER: rows are
 * the caller's own and hold the server's error fields.  Otherwise rows is
 * NULL.  text (gone after the call) is a sentence, with the SQLSTATE where
 * there is one; NULL when err is ERR_OK.
 * ERR_BADARG: the caller gave a wrong number of parameters, or one that cannot
 * be sent.  ERR_LOST, ERR_TIMEOUT, ERR_CLOSED: request->was_sent tells whether
 * the outcome is unknown; after a timeout pool_explain(request->waiter) has the
 * attribution when it was not sent.
 */
typedef void (*pg_request_fn)(struct pg_request *request, enum err err,
                              struct pg_rows *rows,
                              const struct err_text *text);

/* Owned by the caller, in place until on_done or pg_request_cancel(); what it
 * points at as well.  All zero but for the first block. */
struct pg_request {
    pg_request_fn on_done;
    void *ud;
    const char *sql;
    size_t sql_len;
    const struct pg_param *params;
    unsigned n_params;
    uint64_t timeout_ns; /* queue included; 0: statement_timeout */
    const char *site;    /* "app.lua:12"; outlives the request */
    bool may_share;      /* a connection with other statements */
    bool is_once;        /* its text will not come again: nothing keeps it */
    bool names_session;  /* on a lease: all it does is to set application_name,
                            which is set back when that is given back */

    struct pool_waiter waiter;
    bool was_sent; /* some of it reached the socket */

    /* pg/'s own */
    struct loop *loop;  /* NULL: nothing runs */
    struct pg_pool *pg; /* NULL when it runs on a caller's lease */
    struct pg_link *link;
    struct loop_job job;
    uint64_t deadline_ns;
    bool *is_forgotten; /* while its end is being told */
    enum pg_place place;
    struct known *known; /* NULL: nothing is remembered of it */
    struct lane_item item;
    struct deadline deadline; /* while it is QUEUED or on a LANE */
    uint64_t step;            /* its place on the lane */
    bool was_moved;           /* from a connection that was lost */
    bool is_retried;
    bool is_unnamed; /* the server had an old plan for its name: without one */
};

/*
 * Runs a statement on any connection of the pool, which is given back by
 * itself.  With may_share, on one that others use at the same time, if that is
 * known to be safe: what was run before, reads or writes rows, and is quick.
 * Returns ERR_OK and later calls on_done once, never from inside; or what
 * pool_wait() refused it with, and on_done is not called.
 */
enum err pg_pool_send(struct pg_pool *pg,
                      struct pg_request *request) MUST_CHECK;

/*
 * Runs a statement on a leased connection; one at a time.  A statement that
 * overruns its timeout is cancelled at the server, and on_done comes with
 * ERR_TIMEOUT when the connection is usable again or given up.  ERR_LOST is
 * returned when the connection is already dead; on_done is then not called.
 */
enum err pg_link_send(struct pg_link *link,
                      struct pg_request *request) MUST_CHECK;

/*
 * Forgets the request: on_done will not be called.  When it is running it is
 * cancelled at the server; on a lease, the connection stays busy until that is
 * done, so give it back next.
 */
void pg_request_cancel(struct pg_request *request);

#endif
