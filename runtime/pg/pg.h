/*
 * pg.h - Postgres: pools of connections, and what leases show.  For the floors
 * above, which see no libpq; what is asked of both is in request.h.
 */
#ifndef TIDEPOOL_PG_PG_H
#define TIDEPOOL_PG_PG_H

#include "pool/settings.h"

struct budget_port;
struct conn;
struct log;
struct loop;
struct pg_link; /* one connection; lent by the pool */
struct pg_pool;
struct pool;

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

/* ---- leases: conn as lent by pool_try_acquire() and on_done of a waiter */

struct pg_link *pg_link_of(struct conn *conn);
struct conn *pg_link_conn(struct pg_link *link);

enum pg_tx { PG_TX_NONE, PG_TX_OPEN, PG_TX_FAILED, PG_TX_UNKNOWN };
enum pg_tx pg_link_tx(const struct pg_link *link);
int pg_link_backend_pid(const struct pg_link *link);
int pg_link_server_version(const struct pg_link *link); /* 150004; 0 if lost */
/* A setting that the server reports, "TimeZone"; NULL for others. */
const char *pg_link_parameter(const struct pg_link *link, const char *name);

#endif
