/*
 * lane.c - commands on connections that all callers share, written once a loop
 * turn.
 *
 * pool/lanes.c has the queue and chooses among lanes; here is what is due on
 * one.  One lane carries everything while it is not busy; each further one
 * comes, up to the setting lanes, when all are busy.  Redis runs commands on
 * one thread, so more lanes gain only when the bytes of one connection do not
 * suffice.
 */
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/lanes.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "pool/why.h"
#include "redis/internal.h"
#include "redis/request_inside.h"

/* Commands due on a lane from which on it is busy, and takes no more: the rest
 * waits in the queue, where a deadline costs the server nothing. */
enum { BUSY_DUE = 1024, FULL_DUE = 8192, FULL_BYTES = 1024 * 1024 };

static const uint64_t GRACE_NS = 10000000; /* see judge_stall() */

static struct redis_pool *redis_of(struct lanes *lanes)
{
    return container_of(lanes, struct redis_pool, lanes);
}

static struct redis_request *request_of_item(struct lane_item *item)
{
    return container_of(item, struct redis_request, item);
}

/* ---- the queue */

enum err redis_lane_submit(struct redis_pool *redis,
                           struct redis_request *request)
{
    const struct list *queue = &redis->lanes.sets[LANE_READ].queue;
    enum err err;

    if (queue->len >= pool_settings(redis->clock.pool)->max_waiters)
        lane_pump_run(&redis->pump);
    request->item.kind = LANE_READ;
    request->item.cost_ns = 0;
    err = lanes_add(&redis->lanes, &request->item, redis_now(redis));
    if (err != ERR_OK)
        return err;
    request->state = REDIS_REQUEST_QUEUED;
    if (request->deadline_ns != WHEEL_NEVER)
        deadline_start(redis->loop, &request->deadline, request->deadline_ns);
    return ERR_OK;
}

/* No lane came, and there is none: nobody can be served. */
static void refuse(struct lanes *lanes, struct lane_item *item, enum err err,
                   const struct pool_waiter *waiter)
{
    struct redis_pool *redis = redis_of(lanes);
    struct pool_why why;

    if (waiter != NULL) {
        pool_explain(redis->clock.pool, waiter, err, redis_now(redis), &why);
        pool_why_text(&why, redis->name, &redis->down_text);
    }
    redis_request_end_later(request_of_item(item), err);
}

static void wake(struct lanes *lanes)
{
    lane_pump_wake(&redis_of(lanes)->pump);
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

static struct redis_link *link_of(const struct lane *lane)
{
    return container_of(lane, struct redis_link, lane);
}

static bool is_choked(const struct redis_link *link)
{
    return stream_unsent(link->stream) >= FULL_BYTES;
}

static struct lane_flow flow(const struct lane *lane)
{
    const struct redis_link *link = link_of(lane);
    bool is_full = link->n_due >= FULL_DUE || is_choked(link);

    return (struct lane_flow){
        .due = link->n_due,
        .room = is_full ? 0 : FULL_DUE - link->n_due,
        .is_busy = is_full || link->n_due >= BUSY_DUE,
    };
}

static void end(struct lane *lane)
{
    struct redis_link *link = link_of(lane);

    redis_lane_deinit(link);
    pool_release(link->redis->clock.pool, &link->conn, redis_now(link->redis));
}

/* What cannot be written now goes back in front; a connection that is lost will
 * be told of. */
static void send_commands(struct lane *lane, struct list *group)
{
    struct redis_link *link = link_of(lane);
    struct list_node *node;

    while (!lane->is_held && !is_choked(link) &&
           (node = list_pop_front(group)) != NULL) {
        struct lane_item *item = container_of(node, struct lane_item, node);
        enum err err = redis_wire_write(link, request_of_item(item));

        if (err == ERR_NOMEM)
            redis_request_end_later(request_of_item(item), err);
        else if (err != ERR_OK)
            list_push_front(group, node);
        lane->is_held = err != ERR_OK && err != ERR_NOMEM;
    }
    while ((node = list_last(group)) != NULL) {
        list_remove(group, node);
        lanes_return(lane->lanes, container_of(node, struct lane_item, node));
    }
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
        link->patience_ns = WHEEL_NEVER;
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

static void begin(struct lanes *lanes, struct conn *conn, enum lane_kind kind)
{
    struct redis_link *link = redis_link_at(conn);

    link->due_ns = redis_now(link->redis);
    link->unsent_ns = link->due_ns;
    link->unsent = 0;
    link->is_suspect = false;
    link->patience.fn = on_patience;
    link->patience_ns = WHEEL_NEVER;
    lane_begin(&link->lane, lanes, conn, kind, link->due_ns);
    lane_ready(&link->lane);
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
    lane_leave(&link->lane);
    deadline_stop(link->redis->loop, &link->patience);
}

void redis_lane_go_on(struct redis_link *link)
{
    if (link->n_due == 0)
        lane_rests(&link->lane, redis_now(link->redis));
    else if (link->redis->lanes.sets[LANE_READ].queue.len > 0)
        wake(&link->redis->lanes);
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
        lanes_return(&link->redis->lanes, &request->item);
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
    redis_request_end_all(redis);
}

static const struct lanes_ops lane_ops = {
    .begin = begin,
    .send = send_commands,
    .end = end,
    .refuse = refuse,
    .flow = flow,
    .wake = wake,
};

void redis_lanes_init(struct redis_pool *redis)
{
    lanes_init(&redis->lanes, redis->clock.pool, &lane_ops);
    lane_pump_init(&redis->pump, redis->loop, &redis->lanes);
}

void redis_lanes_deinit(struct redis_pool *redis)
{
    const struct lane_set *set = &redis->lanes.sets[LANE_READ];

    assert(set->queue.len == 0 && set->lanes.len == 0);
    lane_pump_stop(&redis->pump);
}
