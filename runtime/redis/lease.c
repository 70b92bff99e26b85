/* lease.c - blocking commands: a connection of their own, given back at once
 * when they are answered, given up when they are not.  And what callers send on
 * leases that they hold. */
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/pool.h"
#include "redis/internal.h"
#include "redis/lease.h"
#include "redis/request_inside.h"

static enum err run(struct redis_request *request, struct conn *conn)
{
    struct redis_pool *redis = request->redis;
    enum err err = redis_wire_write(redis_link_at(conn), request);

    if (err != ERR_OK) {
        pool_release(redis->clock.pool, conn, redis_now(redis));
        return err;
    }
    if (request->deadline_ns != WHEEL_NEVER)
        deadline_start(redis->loop, &request->deadline, request->deadline_ns);
    return ERR_OK;
}

static void on_lease(struct pool_waiter *waiter, enum err err,
                     struct conn *conn)
{
    struct redis_request *request =
        container_of(waiter, struct redis_request, waiter);

    if (err == ERR_OK)
        err = run(request, conn);
    if (err != ERR_OK)
        redis_request_end_later(request, err);
}

enum err redis_lease_submit(struct redis_pool *redis,
                            struct redis_request *request)
{
    struct pool *pool = redis->clock.pool;
    uint64_t now_ns = redis_now(redis);
    uint64_t limit_ns = now_ns + pool_settings(pool)->acquire_timeout_ns;
    struct conn *conn = pool_try_acquire(pool, false, request->site, now_ns);
    enum err err;

    if (conn != NULL) {
        conn_set_class(conn, request->item.class);
        return run(request, conn);
    }
    if (limit_ns > request->deadline_ns)
        limit_ns = request->deadline_ns;
    request->waiter = (struct pool_waiter){
        .on_done = on_lease,
        .class = request->item.class,
        .site = request->site,
        .deadline_ns = limit_ns,
    };
    err = pool_wait(pool, &request->waiter, now_ns);
    if (err == ERR_OK)
        request->state = REDIS_REQUEST_WAITING;
    return err;
}

void redis_lease_end(struct redis_request *request, enum err err)
{
    struct redis_pool *redis = request->redis;
    struct conn *conn = &request->link->conn;

    if (err != ERR_OK)
        redis_wire_forget(request);
    request->link = NULL;
    redis_request_end_later(request, err);
    pool_release(redis->clock.pool, conn, redis_now(redis));
    redis_request_end_all(redis);
}

/* One that was leased for a blocking command goes with it; another's holder
 * gives it back. */
void redis_lease_lose(struct redis_link *link, enum close_reason reason,
                      enum err err, const struct err_text *text)
{
    struct redis_pool *redis = link->redis;
    struct redis_request *request;
    bool is_ours = false;

    link->is_broken = true;
    redis->lost_text = *text;
    redis_pubsub_lose(link, text->text);
    while ((request = redis_wire_take_back(link)) != NULL) {
        is_ours |= redis_request_owns_link(request);
        redis_request_end_later(request, err);
    }
    if (is_ours)
        pool_discard(redis->clock.pool, &link->conn, reason, redis_now(redis));
    redis_request_end_all(redis);
}

struct redis_link *redis_link_of(struct conn *conn)
{
    return redis_link_at(conn);
}

struct conn *redis_link_conn(struct redis_link *link)
{
    return &link->conn;
}

enum err redis_link_send(struct redis_link *link, struct redis_request *request)
{
    enum err err;

    assert(request->is_on_lease && conn_is_held(&link->conn));
    err = redis_request_begin(link->redis, request);
    if (err == ERR_OK)
        err = redis_wire_write(link, request);
    if (err != ERR_OK)
        return err;
    link->is_session |= request->is_session;
    link->is_open |= request->is_open;
    link->is_spent |= request->is_mark;
    if (request->deadline_ns != WHEEL_NEVER)
        deadline_start(link->redis->loop, &request->deadline,
                       request->deadline_ns);
    return ERR_OK;
}
