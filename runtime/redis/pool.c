/* pool.c - see redis.h: a pool's life, and a request's from send to end. */
#include <stdlib.h>
#include <string.h>

#include "pool/flight.h"
#include "pool/lane_queue.h"
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/pool.h"
#include "pool/status.h"
#include "pool/why.h"
#include "redis/internal.h"
#include "redis/redis.h"
#include "redis/request_inside.h"

/* ---- ending requests */

static unsigned long long waited_ms(const struct redis_request *request)
{
    return (redis_now(request->redis) - request->since_ns) / 1000000;
}

static void explain(const struct redis_request *request,
                    const struct pool_waiter *waiter, enum err err,
                    struct err_text *out)
{
    const struct redis_pool *redis = request->redis;
    struct pool_why why;

    pool_explain(redis->clock.pool, waiter, err, redis_now(redis), &why);
    if (why.waited_ns == 0) { /* its waiter stands in line still */
        why.waited_ns = redis_now(redis) - request->since_ns;
        why.phase_ns[WAIT_QUEUE] = why.waited_ns;
    }
    pool_why_text(&why, redis->name, out);
}

static void explain_timeout(const struct redis_request *request,
                            struct err_text *out)
{
    const struct redis_pool *redis = request->redis;
    const struct lane_set *set = &redis->lanes.sets[LANE_READ];

    if (request->was_sent)
        err_text_set(out, "no reply from %s within %llu ms", redis->name,
                     waited_ms(request));
    else if (request->is_blocking)
        explain(request, &request->waiter, ERR_TIMEOUT, out);
    else if (set->is_coming && set->lanes.len == 0)
        explain(request, &set->waiter, ERR_TIMEOUT, out);
    else
        err_text_set(out,
                     "not sent to %s within %llu ms: its connections take no "
                     "more",
                     redis->name, waited_ms(request));
}

static void describe(const struct redis_request *request, enum err err,
                     struct err_text *out)
{
    const struct redis_pool *redis = request->redis;

    switch (err) {
    case ERR_LOST:
    case ERR_PROTOCOL: *out = redis->lost_text; break;
    case ERR_TIMEOUT: explain_timeout(request, out); break;
    case ERR_REFUSED:
    case ERR_BUSY:
        if (request->is_blocking)
            explain(request, &request->waiter, err, out);
        else
            *out = redis->down_text;
        break;
    case ERR_CLOSED:
        if (redis->is_closing)
            err_text_set(out, "the pool %s is closed", redis->name);
        else
            err_text_set(out, "the connection was taken back: it was held "
                              "longer than leak_reclaim");
        break;
    default: err_text_set(out, "%s", err_sentence(err));
    }
}

void redis_request_end(struct redis_request *request, enum err err)
{
    struct err_text text;

    deadline_stop(request->redis->loop, &request->deadline);
    request->state = REDIS_REQUEST_DONE;
    if (err == ERR_OK) {
        request->on_done(request, ERR_OK, NULL);
        return;
    }
    text = (struct err_text){ 0 };
    describe(request, err, &text);
    request->on_done(request, err, &text);
}

void redis_request_end_later(struct redis_request *request, enum err err)
{
    struct redis_pool *redis = request->redis;

    request->state = REDIS_REQUEST_ENDING;
    request->err = err;
    list_push_back(&redis->ending, &request->node);
    loop_defer(redis->loop, LOOP_RUN, &redis->end_job);
}

void redis_request_end_all(struct redis_pool *redis)
{
    struct list_node *node;

    while ((node = list_pop_front(&redis->ending)) != NULL) {
        struct redis_request *request =
            container_of(node, struct redis_request, node);

        redis_request_end(request, request->err);
        if (redis->ending.len > 0 && loop_is_over(redis->loop)) {
            loop_defer(redis->loop, LOOP_RUN, &redis->end_job);
            return;
        }
    }
}

/* ---- requests */

/* It was sent, and its caller waits no more; of a lease the lease tells. */
static void note_forgotten(const struct redis_request *request,
                           enum demand_end end)
{
    const struct redis_link *link = request->link;

    if (link->conn.state == CONN_SHARED)
        lane_forgot(&link->lane, &request->item, end,
                    redis_now(request->redis));
}

static void on_deadline(struct deadline *deadline)
{
    struct redis_request *request =
        container_of(deadline, struct redis_request, deadline);
    struct redis_pool *redis = request->redis;

    if (request->state == REDIS_REQUEST_QUEUED) {
        lanes_expire(&redis->lanes, &request->item, redis_now(redis));
        redis_request_end(request, ERR_TIMEOUT);
    } else if (request->state == REDIS_REQUEST_SENT &&
               redis_request_owns_link(request)) {
        redis_lease_end(request, ERR_TIMEOUT);
    } else if (request->state == REDIS_REQUEST_SENT) {
        note_forgotten(request, DEMAND_TIMEOUT);
        redis_wire_forget(request);
        redis_request_end(request, ERR_TIMEOUT);
    } /* else it is ending already */
}

static uint64_t deadline_of(const struct redis_request *request)
{
    const struct redis_pool *redis = request->redis;
    uint64_t limit_ns = request->timeout_ns;

    if (limit_ns == 0) {
        limit_ns = pool_settings(redis->clock.pool)->statement_timeout_ns;
        if (request->block_ns > WHEEL_NEVER - limit_ns)
            return WHEEL_NEVER;
        limit_ns += request->block_ns;
    }
    if (limit_ns >= WHEEL_NEVER - request->since_ns)
        return WHEEL_NEVER;
    return request->since_ns + limit_ns;
}

enum err redis_request_begin(struct redis_pool *redis,
                             struct redis_request *request)
{
    enum err err = redis_request_seal(request);

    assert(request->state == REDIS_REQUEST_NEW && request->on_done != NULL);
    if (err != ERR_OK)
        return err;
    request->redis = redis;
    request->since_ns = redis_now(redis);
    request->deadline_ns = deadline_of(request);
    request->deadline.fn = on_deadline;
    return ERR_OK;
}

enum err redis_send(struct redis_pool *redis, struct redis_request *request)
{
    enum err err;

    assert(!request->is_on_lease);
    if (redis->is_closing)
        return ERR_CLOSED;
    err = redis_request_begin(redis, request);
    if (err != ERR_OK)
        return err;
    return request->is_blocking ? redis_lease_submit(redis, request)
                                : redis_lane_submit(redis, request);
}

static void forget_sent(struct redis_request *request)
{
    struct conn *conn = &request->link->conn;
    struct redis_pool *redis = request->redis;

    note_forgotten(request, DEMAND_CANCELLED);
    redis_wire_forget(request);
    if (redis_request_owns_link(request)) /* busy: the pool has it closed */
        pool_release(redis->clock.pool, conn, redis_now(redis));
}

void redis_request_cancel(struct redis_request *request)
{
    struct redis_pool *redis = request->redis;
    enum redis_request_state state = request->state;

    if (state == REDIS_REQUEST_NEW || state == REDIS_REQUEST_DONE)
        return;
    deadline_stop(redis->loop, &request->deadline);
    request->state = REDIS_REQUEST_DONE;
    switch (state) {
    case REDIS_REQUEST_QUEUED:
        lanes_cancel(&redis->lanes, &request->item, redis_now(redis));
        break;
    case REDIS_REQUEST_WAITING:
        pool_wait_cancel(redis->clock.pool, &request->waiter, redis_now(redis));
        break;
    case REDIS_REQUEST_SENT: forget_sent(request); break;
    case REDIS_REQUEST_ENDING:
        list_remove(&redis->ending, &request->node);
        break;
    case REDIS_REQUEST_NEW:
    case REDIS_REQUEST_DONE: break;
    }
}

/* ---- the pool */

static void free_pool(struct redis_pool *redis)
{
    login_clear(&redis->login);
    tls_context_free(redis->tls);
    redis_target_free(&redis->target);
    free(redis->client_name);
    free(redis->name);
    free(redis);
}

enum err redis_pool_login(struct redis_pool *redis, const char *user,
                          const char *password)
{
    return login_set(&redis->login, user, password);
}

static void finish_close(struct loop_job *job)
{
    struct redis_pool *redis = container_of(job, struct redis_pool, close_job);
    void (*on_closed)(void *ud) = redis->on_closed;
    void *ud = redis->closed_ud;

    redis_request_end_all(redis);
    if (redis->ending.len > 0) { /* there was no time for all */
        loop_defer(redis->loop, LOOP_RUN, &redis->close_job);
        return;
    }
    loop_cancel(redis->loop, LOOP_RUN, &redis->end_job);
    redis_lanes_deinit(redis);
    pool_clock_free(&redis->clock);
    free_pool(redis);
    if (on_closed != NULL)
        on_closed(ud);
}

static void on_clock_closed(struct pool_clock *clock)
{
    struct redis_pool *redis = container_of(clock, struct redis_pool, clock);

    redis->close_job.fn = finish_close;
    loop_defer(redis->loop, LOOP_RUN, &redis->close_job);
}

static void begin_close(struct loop_job *job)
{
    struct redis_pool *redis = container_of(job, struct redis_pool, close_job);

    if (!pool_is_paused(redis->clock.pool))
        lane_pump_run(&redis->pump);
    pool_close(redis->clock.pool, redis->close_ns, redis_now(redis));
    lanes_refuse_all(&redis->lanes, ERR_CLOSED);
}

void redis_pool_close(struct redis_pool *redis, uint64_t deadline_ns,
                      void (*on_closed)(void *ud), void *ud)
{
    assert(!redis->is_closing);
    redis->is_closing = true;
    redis->close_ns = deadline_ns;
    redis->on_closed = on_closed;
    redis->closed_ud = ud;
    redis->close_job.fn = begin_close;
    loop_defer(redis->loop, LOOP_RUN, &redis->close_job);
}

static void on_end_job(struct loop_job *job)
{
    redis_request_end_all(container_of(job, struct redis_pool, end_job));
}

static enum err copy_name(struct redis_pool *redis, const char *name)
{
    size_t size = strlen(name) + 1;

    redis->name = malloc(size);
    if (redis->name == NULL)
        return ERR_NOMEM;
    memcpy(redis->name, name, size);
    return ERR_OK;
}

/* Redis takes no spaces nor anything else that is not printed in a name. */
static enum err copy_client_name(struct redis_pool *redis, const char *name)
{
    if (redis->target.client_name != NULL)
        name = redis->target.client_name;
    if (name == NULL || *name == '\0')
        return ERR_OK;
    redis->client_name = strdup(name);
    if (redis->client_name == NULL)
        return ERR_NOMEM;
    for (char *at = redis->client_name; *at != '\0'; at++) {
        if (*at < '!' || *at > '~')
            *at = '_';
    }
    return ERR_OK;
}

static enum err open_clock(struct redis_pool *redis,
                           const struct redis_config *config,
                           struct err_text *why)
{
    const struct pool_config pool_config = {
        .ops = &redis_link_ops,
        .driver = redis,
        .settings = config->settings,
        .seed = config->seed,
        .addresses = 1, /* one server, whatever addresses its name has */
    };

    redis->clock.loop = redis->loop;
    redis->clock.log = config->log;
    redis->clock.name = redis->name;
    redis->clock.on_closed = on_clock_closed;
    redis->clock.budget = config->budget;
    return pool_clock_open(&redis->clock, &pool_config, why);
}

enum err redis_pool_open(struct redis_pool **out, struct loop *loop,
                         const struct redis_config *config,
                         struct err_text *why)
{
    struct redis_pool *redis = calloc(1, sizeof(*redis));
    enum err err = ERR_NOMEM;

    if (redis == NULL)
        return ERR_NOMEM;
    redis->loop = loop;
    redis->end_job.fn = on_end_job;
    list_init(&redis->ending);
    err = redis_target_parse(&redis->target, config->url, why);
    if (err == ERR_OK && redis->target.is_tls)
        err = tls_context_new_client(&redis->tls, &redis->target.tls, why);
    if (err == ERR_OK)
        err = copy_name(redis, config->name);
    if (err == ERR_OK)
        err = copy_client_name(redis, config->client_name);
    if (err == ERR_OK)
        err = open_clock(redis, config, why);
    if (err != ERR_OK) {
        free_pool(redis);
        return err;
    }
    redis_lanes_init(redis);
    *out = redis;
    return ERR_OK;
}

struct pool *redis_pool_pool(struct redis_pool *redis)
{
    return redis->clock.pool;
}
