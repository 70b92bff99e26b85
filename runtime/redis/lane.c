/*
 * lane.c - the queue and the lanes: connections that all callers' commands
 * share, written once a loop turn.
 *
 * One lane is opened first and, while it is not busy, carries everything; each
 * further one, up to the setting lanes, when all that are open are busy.  Redis
 * runs commands on one thread, so more lanes gain only when the bytes of one
 * connection do not suffice.
 */
#include "redis/internal.h"

/* Commands due on a lane from which on it is busy, and takes no more: the rest
 * waits in the queue, where a deadline costs the server nothing. */
enum { BUSY_DUE = 1024, FULL_DUE = 8192, FULL_BYTES = 1024 * 1024 };

static const uint64_t IDLE_NS = 1000000000;    /* then the pool has it back */
static const uint64_t GRACE_NS = 10000000;     /* see judge_stall() */
static const uint64_t NEXT_LANE_NS = 50000000; /* after one was refused */
static const uint64_t RESUME_NS = 10000000;
static const uint64_t LONG_NS = 86400000000000; /* a day */

static const char lane_site[] = "redis lane";

static struct redis_request *first_queued(const struct redis_pool *redis)
{
    struct list_node *node = list_first(&redis->queue);

    return node != NULL ? container_of(node, struct redis_request, node) : NULL;
}

/* ---- getting lanes */

static void begin_lane(struct redis_link *link);

/* No lane came, and there is none: nobody can be served. */
static void refuse_queue(struct redis_pool *redis, enum err err)
{
    struct redis_request *request;
    struct pool_why why;

    pool_explain(redis->clock.pool, &redis->lane_waiter, err, redis_now(redis),
                 &why);
    pool_why_text(&why, redis->name, &redis->down_text);
    while ((request = first_queued(redis)) != NULL) {
        list_remove(&redis->queue, &request->node);
        redis_request_end_later(request, err);
    }
}

static void on_lane(struct pool_waiter *waiter, enum err err, struct conn *conn)
{
    struct redis_pool *redis =
        container_of(waiter, struct redis_pool, lane_waiter);

    redis->is_lane_coming = false;
    if (err == ERR_OK)
        begin_lane(redis_link_at(conn));
    else if (redis->lanes.len == 0 && redis->queue.len > 0)
        refuse_queue(redis, err);
}

/* Requests have deadlines, the lane that they wait for needs none. */
static enum err want_lane(struct redis_pool *redis)
{
    struct pool *pool = redis->clock.pool;
    uint64_t now_ns = redis_now(redis);
    struct conn *conn = pool_try_acquire(pool, true, lane_site, now_ns);
    enum err err;

    if (conn != NULL) {
        begin_lane(redis_link_at(conn));
        return ERR_OK;
    }
    redis->lane_waiter = (struct pool_waiter){
        .on_done = on_lane,
        .shared = true,
        .site = lane_site,
        .deadline_ns = now_ns + LONG_NS,
    };
    err = pool_wait(pool, &redis->lane_waiter, now_ns);
    redis->is_lane_coming = err == ERR_OK;
    return err;
}

static bool is_busy(const struct redis_link *link)
{
    return link->n_due >= BUSY_DUE || stream_unsent(link->stream) >= FULL_BYTES;
}

static bool is_full(const struct redis_link *link)
{
    return link->n_due >= FULL_DUE || stream_unsent(link->stream) >= FULL_BYTES;
}

/* The one with the least due, or NULL when all are full. */
static struct redis_link *best_lane(const struct redis_pool *redis)
{
    struct redis_link *best = NULL;

    list_each (node, &redis->lanes) {
        struct redis_link *link = container_of(node, struct redis_link, node);

        if (!is_full(link) && (best == NULL || link->n_due < best->n_due))
            best = link;
    }
    return best;
}

/* When the setting was lowered the youngest takes no more. */
static void shed_lane(struct redis_pool *redis)
{
    struct list_node *node = list_last(&redis->lanes);
    struct redis_link *link;

    if (redis->lanes.len <= pool_settings(redis->clock.pool)->lanes)
        return;
    link = container_of(node, struct redis_link, node);
    redis_lane_finish(link);
    redis_lane_rest(link);
}

/* Asks for one more when there is none, or all are busy. */
static void ask_for_lane(struct redis_pool *redis)
{
    const struct pool_settings *settings = pool_settings(redis->clock.pool);
    const struct redis_link *best = best_lane(redis);
    enum err err;

    if (redis->is_lane_coming)
        return;
    if (redis->lanes.len == 0) {
        err = redis->queue.len > 0 ? want_lane(redis) : ERR_OK;
        if (err != ERR_OK)
            refuse_queue(redis, err);
        return;
    }
    if ((best != NULL && !is_busy(best)) ||
        redis->lanes.len >= settings->lanes ||
        redis_now(redis) < redis->lane_retry_ns)
        return;
    if (want_lane(redis) != ERR_OK)
        redis->lane_retry_ns = redis_now(redis) + NEXT_LANE_NS;
}

/* ---- the queue */

static void write_queue(struct redis_pool *redis)
{
    struct redis_request *request;

    while ((request = first_queued(redis)) != NULL) {
        struct redis_link *link = best_lane(redis);

        if (link == NULL || redis_wire_write(link, request) != ERR_OK)
            break;
        list_remove(&redis->queue, &request->node);
    }
}

/* A paused pool does not tell when it goes on, so it is asked again. */
void redis_lane_write_all(struct redis_pool *redis)
{
    bool is_paused = pool_is_paused(redis->clock.pool);

    shed_lane(redis);
    if (!is_paused)
        write_queue(redis);
    else if (redis->queue.len > 0 && !redis->is_closing)
        deadline_start(redis->loop, &redis->resume,
                       redis_now(redis) + RESUME_NS);
    if (!is_paused || redis->is_closing)
        ask_for_lane(redis);
}

enum err redis_lane_submit(struct redis_pool *redis,
                           struct redis_request *request)
{
    const struct pool_settings *settings = pool_settings(redis->clock.pool);

    if (redis->queue.len >= settings->max_waiters)
        redis_lane_write_all(redis);
    if (redis->queue.len > 0 && redis->queue.len >= settings->max_waiters)
        return ERR_BUSY;
    if (redis->lanes.len == 0 && !redis->is_lane_coming) {
        enum err err = want_lane(redis);

        if (err != ERR_OK)
            return err;
    }
    request->state = REDIS_REQUEST_QUEUED;
    list_push_back(&redis->queue, &request->node);
    if (request->deadline_ns != WHEEL_NEVER)
        deadline_start(redis->loop, &request->deadline, request->deadline_ns);
    loop_defer(redis->loop, LOOP_FLUSH, &redis->write_job);
    return ERR_OK;
}

void redis_lane_spare(struct redis_pool *redis)
{
    if (redis->queue.len > 0 || redis->lanes.len > 0 || !redis->is_lane_coming)
        return;
    redis->is_lane_coming = false;
    pool_wait_cancel(redis->clock.pool, &redis->lane_waiter, redis_now(redis));
}

/* ---- a lane's life */

static uint64_t latest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void be_patient_until(struct redis_link *link, uint64_t at_ns)
{
    link->patience_ns = at_ns;
    deadline_start(link->redis->loop, &link->patience, at_ns);
}

static void release(struct redis_link *link)
{
    struct redis_pool *redis = link->redis;

    redis_lane_deinit(link);
    pool_release(redis->clock.pool, &link->conn, redis_now(redis));
}

/*
 * Replies are due and no byte came, nor was one taken, for stall_timeout.  That
 * may be our own fault, who had no time to read: only when the loop has had a
 * look at the socket since is the lane lost.
 */
static void judge_stall(struct redis_link *link, uint64_t limit_ns)
{
    struct err_text text = { 0 };

    if (!link->is_suspect) {
        link->is_suspect = true;
        be_patient_until(link, redis_now(link->redis) + GRACE_NS);
        return;
    }
    err_text_set(&text, "%s sent no byte for %llu ms with %u replies due",
                 stream_peer(link->stream),
                 (unsigned long long)(limit_ns / 1000000), link->n_due);
    redis_lane_lose(link, CLOSE_STALLED, ERR_LOST, &text);
}

static void on_patience(struct deadline *deadline)
{
    struct redis_link *link =
        container_of(deadline, struct redis_link, patience);
    uint64_t now_ns = redis_now(link->redis);
    uint64_t limit_ns = pool_settings(link->conn.pool)->stall_timeout_ns;
    uint64_t since_ns = latest(link->conn.byte_ns, link->due_ns);

    if (link->n_due == 0) {
        if (now_ns - since_ns >= IDLE_NS)
            release(link);
        else
            be_patient_until(link, since_ns + IDLE_NS);
        return;
    }
    if (stream_unsent(link->stream) != link->unsent) {
        link->unsent = stream_unsent(link->stream);
        link->unsent_ns = now_ns;
    }
    since_ns = latest(since_ns, link->unsent_ns);
    if (now_ns - since_ns >= limit_ns) {
        judge_stall(link, limit_ns);
        return;
    }
    link->is_suspect = false;
    be_patient_until(link, since_ns + limit_ns);
}

static void begin_lane(struct redis_link *link)
{
    struct redis_pool *redis = link->redis;

    list_push_back(&redis->lanes, &link->node);
    link->due_ns = redis_now(redis);
    link->unsent_ns = link->due_ns;
    link->unsent = 0;
    link->is_suspect = false;
    link->is_finishing = false;
    link->patience.fn = on_patience;
    be_patient_until(link, link->due_ns + IDLE_NS);
    loop_defer(redis->loop, LOOP_FLUSH, &redis->write_job);
}

void redis_lane_begin_due(struct redis_link *link)
{
    uint64_t at_ns;

    if (link->conn.state != CONN_SHARED)
        return;
    link->due_ns = redis_now(link->redis);
    at_ns = link->due_ns + pool_settings(link->conn.pool)->stall_timeout_ns;
    if (at_ns < link->patience_ns)
        be_patient_until(link, at_ns);
}

void redis_lane_deinit(struct redis_link *link)
{
    if (list_is_linked(&link->node))
        list_remove(&link->redis->lanes, &link->node);
    deadline_stop(link->redis->loop, &link->patience);
    link->is_finishing = false;
}

void redis_lane_finish(struct redis_link *link)
{
    struct redis_pool *redis = link->redis;

    link->is_finishing = true;
    if (list_is_linked(&link->node))
        list_remove(&redis->lanes, &link->node);
    if (redis->queue.len > 0)
        loop_defer(redis->loop, LOOP_FLUSH, &redis->write_job);
}

void redis_lane_finish_all(struct redis_pool *redis)
{
    struct list_node *node;

    while ((node = list_first(&redis->lanes)) != NULL) {
        struct redis_link *link = container_of(node, struct redis_link, node);

        redis_lane_finish(link);
        redis_lane_rest(link);
    }
}

void redis_lane_rest(struct redis_link *link)
{
    if (link->is_finishing && link->n_due == 0)
        release(link);
    else if (link->redis->queue.len > 0)
        loop_defer(link->redis->loop, LOOP_FLUSH, &link->redis->write_job);
}

/* Reads may run once more, and what never left us may run as it is. */
static bool may_move(struct redis_request *request)
{
    if (!request->was_sent)
        return true;
    if (!request->is_read_only || request->was_retried)
        return false;
    request->was_retried = true;
    return true;
}

/* Puts what may run again at the head of the queue, in its order; returns how
 * many. */
static uint32_t move_requests(struct redis_link *link, enum err err)
{
    uint32_t count;
    struct redis_request *request;
    struct list_node *node;
    struct list moving;

    list_init(&moving);
    while ((request = redis_wire_take_back(link)) != NULL) {
        if (may_move(request))
            list_push_back(&moving, &request->node);
        else
            redis_request_end_later(request, err);
    }
    count = moving.len;
    while ((node = list_last(&moving)) != NULL) {
        request = container_of(node, struct redis_request, node);
        list_remove(&moving, node);
        redis_request_rewind(request);
        request->state = REDIS_REQUEST_QUEUED;
        list_push_front(&link->redis->queue, node);
    }
    return count;
}

void redis_lane_lose(struct redis_link *link, enum close_reason reason,
                     enum err err, const struct err_text *text)
{
    struct redis_pool *redis = link->redis;

    uint32_t n_moved;

    redis->lost_text = *text;
    n_moved = move_requests(link, err);
    log_event(redis->clock.log, LOG_WARN, "lane lost",
              LOG_STR("pool", redis->name), LOG_INT("conn", link->conn.id),
              LOG_INT("moved", n_moved), LOG_INT("lost", redis->ending.len),
              LOG_STR("error", text->text));
    redis_lane_deinit(link);
    pool_discard(redis->clock.pool, &link->conn, reason, redis_now(redis));
    loop_defer(redis->loop, LOOP_FLUSH, &redis->write_job);
    redis_request_end_all(redis);
}
