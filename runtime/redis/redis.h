/*
 * redis.h - Redis: pools, and commands on them.  For the floors above, which
 * see no hiredis.
 *
 * Commands run on lanes, connections that all callers share: written once a
 * loop turn, answered in order.  A late or cancelled command's reply is read
 * and dropped.  When a lane is lost, what had not left moves to another, and so
 * do reads, once; the rest ends with ERR_LOST.  Blocking commands are leased a
 * connection of their own.
 */
#ifndef TIDEPOOL_REDIS_REDIS_H
#define TIDEPOOL_REDIS_REDIS_H

#include "pool/settings.h"

struct budget_port;
struct log;
struct loop;
struct pool;
struct redis_pool;
struct redis_request;

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
/* For the next connects, instead of the url's; user NULL: the url's.
 * ERR_NOMEM. */
enum err redis_pool_login(struct redis_pool *redis, const char *user,
                          const char *password) MUST_CHECK;
/* Closes as pool_close() does and frees redis; then calls on_closed (may be
 * NULL) once, never from inside. */
void redis_pool_close(struct redis_pool *redis, uint64_t deadline_ns,
                      void (*on_closed)(void *ud), void *ud);

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

#endif
