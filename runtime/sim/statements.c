/* statements.c - statements that share connections: the real lanes, on the
 * model of the server.  It works on what is on a connection one after another,
 * as Postgres does; Redis' are done in the same way. */
#include "pool/lane.h"
#include "pool/lane_queue.h"
#include "pool/lanes.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "sim/inside.h"

static struct host *host_of(struct lanes *lanes)
{
    return container_of(lanes, struct host, lanes);
}

static struct request *request_of(struct list_node *node)
{
    return container_of(node, struct request, item.node);
}

/* ---- running the lanes */

static void on_pump(void *ud, uint64_t now_ns);

static void pump_at(struct host *host, uint64_t at_ns)
{
    uint64_t now_ns = host->sim->server.now_ns;

    if (at_ns >= host->pump_ns || at_ns == WHEEL_NEVER)
        return;
    host->pump_ns = at_ns > now_ns ? at_ns : now_ns;
    sim_queue_put(&host->sim->server.queue, host->pump_ns, on_pump, host);
}

/* Those whose deadline has passed; gives when the next one's will. */
static uint64_t expire(struct host *host, uint64_t now_ns)
{
    uint64_t limit_ns = pool_settings(host->pool)->acquire_timeout_ns;
    uint64_t due_ns = WHEEL_NEVER;

    for (int kind = 0; kind < LANE_KINDS; kind++) {
        const struct list *queue = &host->lanes.sets[kind].queue;

        while (queue->len > 0) {
            struct request *request = request_of(list_first(queue));
            uint64_t end_ns = request->item.since_ns + limit_ns;

            if (end_ns > now_ns) {
                due_ns = end_ns < due_ns ? end_ns : due_ns;
                break;
            }
            lanes_expire(&host->lanes, &request->item, now_ns);
            sim_refused(request, ERR_TIMEOUT, true);
        }
    }
    return due_ns;
}

static void on_pump(void *ud, uint64_t now_ns)
{
    struct host *host = ud;
    uint64_t expires_ns;

    if (host->is_gone || host->pump_ns != now_ns)
        return; /* it was meant for an earlier time */
    host->pump_ns = WHEEL_NEVER;
    expires_ns = expire(host, now_ns);
    pump_at(host, lanes_pump(&host->lanes, now_ns));
    pump_at(host, expires_ns);
}

static void wake(struct lanes *lanes)
{
    struct host *host = host_of(lanes);

    pump_at(host, host->sim->server.now_ns);
}

/* ---- what is on a lane */

static void on_item_done(void *ud, uint64_t now_ns);

static void begin_item(struct sim_link *link, uint64_t now_ns)
{
    struct sim_server *server = link->driver->server;
    struct request *request = request_of(list_first(&link->sent));

    request->began_ns = now_ns;
    server->running++;
    sim_link_after(link, sim_service_ns(server, request->base_ns),
                   on_item_done);
}

/* The connection is gone, and with it what was sent on it. */
static void lose_items(struct sim_link *link)
{
    struct list_node *node;

    while ((node = list_pop_front(&link->sent)) != NULL)
        sim_refused(request_of(node), ERR_LOST, true);
}

static void end_item(struct sim_link *link, uint64_t now_ns)
{
    struct request *request = request_of(list_pop_front(&link->sent));

    lane_answered(&link->lane, &request->item, now_ns);
    sim_served(request, request->began_ns - request->item.since_ns, now_ns);
    if (--link->group_lens[0] > 0)
        return;
    link->group_lens[0] = link->group_lens[1];
    link->group_lens[1] = 0;
    lane_group_done(&link->lane, now_ns);
}

static void on_item_done(void *ud, uint64_t now_ns)
{
    struct sim_link *link = ud;
    struct sim_server *server = link->driver->server;
    struct host *host = container_of(link->driver, struct host, driver);

    server->running--;
    if (link->is_closed || sim_is_away(server, now_ns))
        lose_items(link);
    if (sim_link_end_event(link))
        return;
    if (link->sent.len == 0) {
        lane_leave(&link->lane);
        pool_discard(host->pool, &link->conn, CLOSE_LOST, now_ns);
        return;
    }
    end_item(link, now_ns);
    if (link->sent.len > 0)
        begin_item(link, now_ns);
}

/* ---- what lanes ask of their driver */

static void begin(struct lanes *lanes, struct conn *conn, enum lane_kind kind)
{
    struct sim_link *link = sim_link_of(conn);

    lane_begin(&link->lane, lanes, conn, kind,
               host_of(lanes)->sim->server.now_ns);
    lane_ready(&link->lane);
}

static void send_group(struct lane *lane, struct list *group)
{
    struct sim_link *link = container_of(lane, struct sim_link, lane);
    bool is_idle = link->sent.len == 0;
    struct list_node *node;

    link->group_lens[link->group_lens[0] > 0] = group->len;
    while ((node = list_pop_front(group)) != NULL)
        list_push_back(&link->sent, node);
    if (is_idle)
        begin_item(link, link->driver->server->now_ns);
}

static void end(struct lane *lane)
{
    struct host *host = host_of(lane->lanes);
    struct conn *conn = lane->conn;

    lane_leave(lane);
    pool_release(host->pool, conn, host->sim->server.now_ns);
}

static void refuse(struct lanes *lanes, struct lane_item *item, enum err err,
                   const struct pool_waiter *waiter)
{
    (void)lanes;
    (void)waiter;
    sim_refused(container_of(item, struct request, item), err, true);
}

static const struct lanes_ops ops = {
    .begin = begin,
    .send = send_group,
    .end = end,
    .refuse = refuse,
    .wake = wake,
};

void sim_lanes_init(struct host *host)
{
    lanes_init(&host->lanes, host->pool, &ops);
}

/* What the statement costs is known, as it is to a real driver that has seen
 * it before. */
void sim_lanes_add(struct request *request, uint64_t now_ns)
{
    struct host *host = request->host;
    enum err err;

    request->item.kind = LANE_READ;
    request->item.cost_ns = request->base_ns;
    err = lanes_add(&host->lanes, &request->item, now_ns);
    if (err != ERR_OK)
        sim_refused(request, err, false);
    else
        pump_at(host, now_ns + pool_settings(host->pool)->acquire_timeout_ns);
}

void sim_lanes_close(struct host *host)
{
    lanes_refuse_all(&host->lanes, ERR_CLOSED);
}
