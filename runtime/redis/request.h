/*
 * request.h - commands that are sent as one, and how they end: see redis.h and
 * lease.h for where.
 */
#ifndef TIDEPOOL_REDIS_REQUEST_H
#define TIDEPOOL_REDIS_REQUEST_H

#include "base/buf.h"
#include "net/deadline.h"
#include "pool/lane_queue.h"
#include "pool/line.h"

struct redis_link;
struct redis_pool;
struct redis_reply;
struct redis_request;

/*
 * Ends one request.  ERR_OK: every command has its reply, read them with
 * redis_request_reply() before returning; an error that Redis answered is a
 * reply of kind REDIS_ERROR, and text is NULL.  Otherwise text (gone after the
 * call) is a sentence.  ERR_LOST, ERR_PROTOCOL, ERR_TIMEOUT and ERR_CLOSED:
 * request->was_sent tells whether the outcome is unknown.
 */
typedef void (*redis_request_fn)(struct redis_request *request, enum err err,
                                 const struct err_text *text);

enum redis_request_state {
    REDIS_REQUEST_NEW,
    REDIS_REQUEST_QUEUED,  /* waits for a lane */
    REDIS_REQUEST_WAITING, /* stands in the pool's line for a lease */
    REDIS_REQUEST_SENT,    /* written to link's stream */
    REDIS_REQUEST_ENDING,  /* on_done is to be called */
    REDIS_REQUEST_DONE
};

/* Owned by the caller, in place until on_done or redis_request_cancel(). */
struct redis_request {
    redis_request_fn on_done;
    void *ud;
    uint64_t timeout_ns; /* queue included; 0: statement_timeout, plus the time
                            that blocking commands ask for */
    const char *site;

    struct buf bytes;             /* the commands, in RESP */
    unsigned n_commands;          /* replies due */
    bool is_multi;                /* between MULTI and EXEC */
    bool is_read_only;            /* may be sent twice */
    bool is_blocking;             /* needs a connection of its own */
    struct redis_reply **replies; /* n_commands */
    unsigned n_replies;           /* that have come */
    bool was_sent;                /* some of it reached the socket */

    enum redis_request_state state;
    enum err err;             /* while ENDING */
    bool is_on_lease;         /* runs on its caller's lease */
    bool is_session;          /* leaves a state on the connection */
    bool is_open;             /* of that, MULTI or WATCH */
    bool is_mark;             /* and one that no reset takes away */
    bool is_sealed;           /* EXEC is written */
    bool was_retried;         /* sent once more after a loss */
    unsigned n_seen;          /* what came in reply, MULTI's own included */
    struct redis_reply *exec; /* EXEC's, when it is no array */
    uint64_t block_ns;        /* how long its commands may block */
    uint64_t since_ns;        /* of redis_send() */
    uint64_t deadline_ns;     /* WHEEL_NEVER: none */
    uint64_t slot;            /* its place in link's replies due */
    struct redis_pool *redis;
    struct redis_link *link;
    struct list_node node; /* on ending */
    struct lane_item item; /* while QUEUED */
    struct deadline deadline;
    struct pool_waiter waiter;
};

/* All zero; the caller's fields are set after it. */
void redis_request_init(struct redis_request *request);
/* Frees bytes and replies; not while it is sent and unanswered. */
void redis_request_deinit(struct redis_request *request);

/*
 * Adds one command; args are copied, lens may be NULL when all end with a zero.
 * Several make a pipeline.  Returns ERR_NOMEM, or ERR_BADARG with why when the
 * command cannot run on a shared connection (SUBSCRIBE, WATCH, MULTI, SELECT,
 * MONITOR ...): it says what to use instead.
 */
enum err redis_request_add(struct redis_request *request, unsigned n_args,
                           const char *const *args, const size_t *lens,
                           struct err_text *why) MUST_CHECK;
/* Runs the commands between MULTI and EXEC, written whole: the replies are
 * those of EXEC, one a command.  Call it before the first add. */
void redis_request_set_multi(struct redis_request *request);

/* Before the first add: the commands run on a lease, so WATCH, UNWATCH, MULTI,
 * EXEC, DISCARD and SELECT are taken as well, and commands such as CLIENT
 * SETNAME, whose connection is closed afterwards. */
void redis_request_set_lease(struct redis_request *request);

/* The i-th command's; lives until redis_request_deinit(). */
const struct redis_reply *
redis_request_reply(const struct redis_request *request, unsigned i);
/* Why EXEC ran nothing: what refused a command of it, or EXEC itself; NULL when
 * it did run. */
const struct redis_reply *
redis_request_abort(const struct redis_request *request);
/* EXEC ran nothing, because a watched key had changed. */
bool redis_request_was_dropped(const struct redis_request *request);

#endif
