/*
 * pg.h - Postgres: pools of connections, statements, results.  The face of
 * pg/ for the floors above, which see no libpq.
 */
#ifndef TIDEPOOL_PG_PG_H
#define TIDEPOOL_PG_PG_H

#include "base/log.h"
#include "net/deadline.h"
#include "pool/lane_queue.h"
#include "pool/line.h"

struct pg_pool;
struct pg_link; /* one connection; lent by the pool */
struct pg_rows; /* what a statement gave: rows, a count or an error */

/* Copied by pg_pool_open(), but for log. */
struct pg_config {
    const char *name;             /* "main" */
    const char *url;              /* postgres://... or "host=... dbname=..." */
    const char *application_name; /* where the url has none */
    struct pool_settings settings;
    const struct log *log;      /* may be NULL */
    struct budget_port *budget; /* a worker's, or NULL */
    uint64_t seed;              /* of the jitter and the names of statements */
};

/* ERR_BADARG: why says what libpq could not read in the url.  No server is
 * contacted before the loop turns. */
enum err pg_pool_open(struct pg_pool **out, struct loop *loop,
                      const struct pg_config *config,
                      struct err_text *why) MUST_CHECK;
struct pool *pg_pool_pool(struct pg_pool *pg);
const char *pg_pool_name(const struct pg_pool *pg);
/* For the next connects, instead of the url's; user NULL: the url's.
 * ERR_NOMEM. */
enum err pg_pool_login(struct pg_pool *pg, const char *user,
                       const char *password) MUST_CHECK;
/* Closes as pool_close() does and frees pg; then calls on_closed (may be
 * NULL) once, never from inside. */
void pg_pool_close(struct pg_pool *pg, uint64_t deadline_ns,
                   void (*on_closed)(void *ud), void *ud);

/* ---- statements */

enum pg_param_kind {
    PG_PARAM_NULL,
    PG_PARAM_TEXT,  /* in the type's text form; the server infers the type */
    PG_PARAM_JSON,  /* JSON text of a script's table: goes to json and jsonb as
                       it is, to an array type as an array literal, to others as
                       text */
    PG_PARAM_ARRAY, /* JSON text of a list: goes as an array literal, whatever
                       the type */
    PG_PARAM_BYTES  /* goes in bytea's hex form */
};

struct pg_param {
    enum pg_param_kind kind;
    const char *text; /* needs no terminating zero */
    size_t len;
};

struct pg_request;
struct pg_types;
struct known;

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

/* ---- leases: conn as lent by pool_try_acquire() and on_done of a waiter */

struct pg_link *pg_link_of(struct conn *conn);
struct conn *pg_link_conn(struct pg_link *link);

enum pg_tx { PG_TX_NONE, PG_TX_OPEN, PG_TX_FAILED, PG_TX_UNKNOWN };
enum pg_tx pg_link_tx(const struct pg_link *link);
int pg_link_backend_pid(const struct pg_link *link);
int pg_link_server_version(const struct pg_link *link); /* 150004; 0 if lost */
/* A setting that the server reports, "TimeZone"; NULL for others. */
const char *pg_link_parameter(const struct pg_link *link, const char *name);

/* ---- results */

void pg_rows_free(struct pg_rows *rows); /* accepts NULL */
/* The same, large ones on a thread of the loop's, for it takes milliseconds;
 * without a loop at once. */
void pg_rows_drop(struct pg_rows *rows, struct loop *loop);
unsigned pg_rows_count(const struct pg_rows *rows);
unsigned pg_rows_columns(const struct pg_rows *rows);
const char *pg_rows_column(const struct pg_rows *rows, unsigned column);
uint64_t pg_rows_affected(const struct pg_rows *rows);
size_t pg_rows_bytes(const struct pg_rows *rows); /* memory held */

/* Of an error: the fields of libpq's PG_DIAG_*; "" when absent. */
struct pg_error_fields {
    const char *sqlstate, *message, *detail, *hint, *position, *schema, *table,
        *column, *constraint, *context;
};
void pg_rows_error(const struct pg_rows *rows, struct pg_error_fields *out);

enum pg_value_kind {
    PG_VALUE_NULL,
    PG_VALUE_BOOL,
    PG_VALUE_INT,   /* int2, int4, int8, oid */
    PG_VALUE_FLOAT, /* float4, float8 */
    PG_VALUE_TEXT,  /* text, numeric, uuid, date/time and all unknown types */
    PG_VALUE_JSON,  /* json, jsonb: text is JSON */
    PG_VALUE_BYTES, /* bytea: see pg_value_bytes() */
    PG_VALUE_ARRAY  /* walk it with pg_array_walk() */
};

/* Borrowed from the rows. */
struct pg_value {
    enum pg_value_kind kind;
    bool truth;
    bool is_int8;
    int64_t integer;
    double number;
    const char *text; /* the server's text form, whatever the kind */
    size_t len;
    uint32_t type;  /* OID; of the element for arrays */
    char delimiter; /* of an array's elements; 0: that of built-in types */
};

/* types, of users' array types, may be NULL: those are text then. */
void pg_rows_value(const struct pg_rows *rows, unsigned row, unsigned column,
                   const struct pg_types *types, struct pg_value *out);

/* Calls back for each '{', element and '}' of an array, depth first.  Returns
 * ERR_PROTOCOL for text that is no array literal. */
struct pg_array_visitor {
    void (*begin)(void *ud);
    void (*element)(void *ud, const struct pg_value *value);
    void (*end)(void *ud);
    void *ud;
};
enum err pg_array_walk(const struct pg_value *array,
                       const struct pg_array_visitor *visitor) MUST_CHECK;

/* Writes what a PG_VALUE_BYTES stands for, at most value->len / 2 bytes, and
 * says how many. */
size_t pg_value_bytes(const struct pg_value *value, char *out);

/* What int8 becomes. */
enum pg_int8 {
    PG_INT8_EXACT,  /* a number, beyond 2^53 a string */
    PG_INT8_NUMBER, /* a number, which may be rounded */
    PG_INT8_STRING  /* a string */
};

/* Appends JSON: row's object, NULL columns as null; arrays as arrays, numeric
 * as a string, bytea as a string in the server's hex form. */
void pg_rows_row_json(const struct pg_rows *rows, unsigned row,
                      enum pg_int8 int8, const struct pg_types *types,
                      struct buf *out);
/* All rows as an array of objects. */
void pg_rows_json(const struct pg_rows *rows, enum pg_int8 int8,
                  const struct pg_types *types, struct buf *out);

#endif
