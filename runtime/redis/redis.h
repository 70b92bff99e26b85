/*
 * redis.h - Redis: pools, lanes, commands, replies.  The face of redis/ for the
 * floors above, which see no hiredis.
 *
 * Commands run on lanes, connections that all callers share: written once a
 * loop turn, answered in order.  A late or cancelled command's reply is read
 * and dropped.  When a lane is lost, what had not left moves to another, and so
 * do reads, once; the rest ends with ERR_LOST.  Blocking commands are leased a
 * connection of their own.
 */
#ifndef TIDEPOOL_REDIS_REDIS_H
#define TIDEPOOL_REDIS_REDIS_H

#include "base/log.h"
#include "net/deadline.h"
#include "pool/lane_queue.h"
#include "pool/line.h"

struct redis_pool;
struct redis_link; /* one connection: a lane's or a lease */
struct redis_reply;

/* Copied by redis_pool_open(), but for log. */
struct redis_config {
    const char *name;        /* "main" */
    const char *url;         /* redis://[user[:password]@]host[:port][/db], or
                                unix://[user[:password]@]/path[?db=n]; user, password
                                and path may be percent-encoded */
    const char *client_name; /* in CLIENT LIST, where the url has none; or NULL
                              */
    struct pool_settings settings;
    const struct log *log;      /* may be NULL */
    struct budget_port *budget; /* a worker's, or NULL */
    uint64_t seed;
};

/* ERR_BADARG: why names what is wrong in the url. */
enum err redis_pool_open(struct redis_pool **out, struct loop *loop,
                         const struct redis_config *config,
                         struct err_text *why) MUST_CHECK;
struct pool *redis_pool_pool(struct redis_pool *redis);
const char *redis_pool_name(const struct redis_pool *redis);
/* Closes as pool_close() does and frees redis; then calls on_closed (may be
 * NULL) once, never from inside. */
/* For the next connects, instead of the url's; user NULL: the url's.
 * ERR_NOMEM. */
enum err redis_pool_login(struct redis_pool *redis, const char *user,
                          const char *password) MUST_CHECK;
void redis_pool_close(struct redis_pool *redis, uint64_t deadline_ns,
                      void (*on_closed)(void *ud), void *ud);

/* ---- commands */

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

/*
 * Sends on a lane, or for blocking commands on a connection of its own.
 * Returns ERR_OK and later calls on_done once, never from inside; or what the
 * pool refused it with (ERR_BADARG: no command was added), and on_done is not
 * called.  A request is sent once: deinit and init it before the next.
 */
enum err redis_send(struct redis_pool *redis,
                    struct redis_request *request) MUST_CHECK;
/* Forgets the request: on_done will not be called; replies still due are read
 * and dropped. */
void redis_request_cancel(struct redis_request *request);

/* ---- leases: conn as lent by pool_try_acquire() and on_done of a waiter */

struct redis_link *redis_link_of(struct conn *conn);
struct conn *redis_link_conn(struct redis_link *link);

/* Before the first add: the commands run on a lease, so WATCH, UNWATCH, MULTI,
 * EXEC, DISCARD and SELECT are taken as well, and
 * commands such as CLIENT SETNAME, whose connection is closed afterwards. */
void redis_request_set_lease(struct redis_request *request);

/*
 * Sends on a leased connection; any number may be under way and are answered in
 * order.  Returns ERR_OK and later calls on_done once, never from inside; or
 * ERR_LOST when the connection is dead, and on_done is not called.  End or
 * cancel all before the lease is given back; a WATCH, an open MULTI or another
 * database that they left is cleared then, and what is still unanswered closes
 * the connection.
 */
enum err redis_link_send(struct redis_link *link,
                         struct redis_request *request) MUST_CHECK;

/* ---- replies */

enum redis_kind {
    REDIS_NIL,
    REDIS_INT,
    REDIS_TEXT,   /* bulk string */
    REDIS_STATUS, /* "OK" */
    REDIS_ERROR,
    REDIS_ARRAY, /* a set, too */
    /* of RESP3: */
    REDIS_MAP, /* key, value, key, value */
    REDIS_DOUBLE,
    REDIS_BOOL /* an integer */
};

/* The i-th command's; lives until redis_request_deinit(). */
const struct redis_reply *
redis_request_reply(const struct redis_request *request, unsigned i);
/* Why EXEC ran nothing: what refused a command of it, or EXEC itself; NULL when
 * it did run. */
const struct redis_reply *
redis_request_abort(const struct redis_request *request);
/* EXEC ran nothing, because a watched key had changed. */
bool redis_request_was_dropped(const struct redis_request *request);
enum redis_kind redis_reply_kind(const struct redis_reply *reply);
int64_t redis_reply_integer(const struct redis_reply *reply);
double redis_reply_double(const struct redis_reply *reply);
const char *redis_reply_text(const struct redis_reply *reply, size_t *len);
size_t redis_reply_size(const struct redis_reply *reply);
const struct redis_reply *redis_reply_at(const struct redis_reply *reply,
                                         size_t i);

#endif
