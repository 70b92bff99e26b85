/* server.c - see server.h. */
#include "sim/server.h"

#include "pool/driver.h"
#include "sim/replay.h"

#include <math.h>
#include <stdlib.h>

/* A round trip with nothing to do. */
static const uint64_t TRIP_NS = 200000;

uint64_t sim_draw_ns(struct sim_server *server, double mean_s)
{
    double unit = ((double)rand_below(&server->rand, 1ULL << 53) + 1) /
                  9007199254740993.0;
    double ns = -log(unit) * mean_s * 1e9;

    return ns < 1 ? 1 : (uint64_t)ns;
}

bool sim_is_away(const struct sim_server *server, uint64_t now_ns)
{
    double now_s = (double)now_ns / 1e9;

    for (size_t i = 0; i < server->config->n_outages; i++)
        if (now_s >= server->config->outages[i].from &&
            now_s < server->config->outages[i].to)
            return true;
    return false;
}

uint64_t sim_service_ns(const struct sim_server *server, uint64_t base_ns)
{
    uint64_t ns =
        (uint64_t)((double)base_ns *
                   sim_slowdown(server->running, server->config->cores));

    return ns > 0 ? ns : 1;
}

/* ---- the driver */

struct sim_link *sim_link_of(struct conn *conn)
{
    return container_of(conn, struct sim_link, conn);
}

bool sim_link_end_event(struct sim_link *link)
{
    bool is_closed = link->is_closed;

    if (--link->events == 0 && is_closed)
        free(link);
    return is_closed;
}

void sim_link_after(struct sim_link *link, uint64_t ns,
                    void (*fn)(void *ud, uint64_t now_ns))
{
    struct sim_server *server = link->driver->server;

    link->events++;
    sim_queue_put(&server->queue, server->now_ns + ns, fn, link);
}

static void on_connected(void *ud, uint64_t now_ns)
{
    struct sim_link *link = ud;
    struct sim_server *server = link->driver->server;
    struct err_text text = { 0 };

    if (sim_link_end_event(link))
        return;
    if (sim_is_away(server, now_ns)) {
        err_text_set(&text, "the server is away");
        pool_conn_failed(&link->conn, &text, now_ns);
        return;
    }
    if (server->connections >= server->config->server_max) {
        err_text_set(&text, "sorry, too many clients already");
        pool_conn_failed(&link->conn, &text, now_ns);
        return;
    }
    server->connections++;
    link->is_counted = true;
    pool_conn_opened(&link->conn, now_ns);
}

static struct conn *open_link(void *ud)
{
    struct sim_driver *driver = ud;
    struct sim_link *link = calloc(1, sizeof(*link));

    if (link == NULL) {
        driver->server->queue.has_failed = true;
        return NULL;
    }
    link->driver = driver;
    list_init(&link->sent);
    list_push_back(&driver->links, &link->node);
    sim_link_after(link,
                   sim_draw_ns(driver->server, driver->server->config->connect),
                   on_connected);
    return &link->conn;
}

static enum conn_wire read_wire(const struct conn *conn)
{
    const struct sim_link *link =
        container_of(conn, const struct sim_link, conn);

    return sim_is_away(link->driver->server, link->driver->server->now_ns)
               ? CONN_BROKEN
               : CONN_CLEAN;
}

static void on_tested(void *ud, uint64_t now_ns)
{
    struct sim_link *link = ud;
    bool is_alive = !sim_is_away(link->driver->server, now_ns);

    if (!sim_link_end_event(link))
        pool_conn_tested(&link->conn, is_alive, now_ns);
}

static void on_reset(void *ud, uint64_t now_ns)
{
    struct sim_link *link = ud;

    if (!sim_link_end_event(link))
        pool_conn_reset(&link->conn, true, now_ns);
}

static void on_cancelled(void *ud, uint64_t now_ns)
{
    struct sim_link *link = ud;

    if (!sim_link_end_event(link))
        pool_conn_cancelled(&link->conn, true, now_ns);
}

static void test_link(struct conn *conn)
{
    sim_link_after(sim_link_of(conn), TRIP_NS, on_tested);
}

static void reset_link(struct conn *conn)
{
    sim_link_after(sim_link_of(conn), TRIP_NS, on_reset);
}

static void cancel_link(struct conn *conn)
{
    sim_link_after(sim_link_of(conn), TRIP_NS, on_cancelled);
}

static bool keep_link(struct conn *conn, bool is_baseline)
{
    (void)conn;
    (void)is_baseline;
    return true;
}

static void nothing(struct conn *conn)
{
    (void)conn;
}

static void unshare_link(struct conn *conn)
{
    lane_finish(&sim_link_of(conn)->lane);
}

static void close_link(struct conn *conn, enum close_reason reason)
{
    struct sim_link *link = sim_link_of(conn);
    struct sim_server *server = link->driver->server;

    (void)reason;
    lane_leave(&link->lane);
    list_remove(&link->driver->links, &link->node);
    if (link->is_counted)
        server->connections--;
    pool_conn_closed(conn, server->now_ns);
    link->is_closed = true;
    if (link->events == 0)
        free(link);
}

const struct conn_ops sim_ops = {
    .name = "model",
    .open = open_link,
    .wire = read_wire,
    .test = test_link,
    .reset = reset_link,
    .cancel = cancel_link,
    .keep = keep_link,
    .abandon = nothing,
    .unshare = unshare_link,
    .close = close_link,
};
