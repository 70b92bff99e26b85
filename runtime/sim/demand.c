/* demand.c - who comes, waits, and is served or not. */
#include "pool/lease.h"
#include "pool/line.h"
#include "sim/inside.h"

#include <stdlib.h>
#include <string.h>

/* ---- requests */

static struct request *new_request(struct sim *sim, struct host *host,
                                   uint64_t base_ns)
{
    struct request *request = sim->spare;

    if (request != NULL)
        sim->spare = request->next;
    else
        request = malloc(sizeof(*request));
    if (request == NULL) {
        sim->server.queue.has_failed = true;
        return NULL;
    }
    memset(request, 0, sizeof(*request));
    request->host = host;
    request->base_ns = base_ns;
    return request;
}

static void spare_request(struct request *request)
{
    struct sim *sim = request->host->sim;

    request->next = sim->spare;
    sim->spare = request;
}

void sim_free_spare(struct sim *sim)
{
    struct request *request;

    while ((request = sim->spare) != NULL) {
        sim->spare = request->next;
        free(request);
    }
}

void sim_served(struct request *request, uint64_t wait_ns, uint64_t now_ns)
{
    struct sim *sim = request->host->sim;

    sim->now.done++;
    hist_record(&sim->wait, wait_ns);
    hist_record(&sim->server.service, now_ns - request->began_ns);
    spare_request(request);
}

void sim_refused(struct request *request, enum err err, bool has_waited)
{
    struct sim *sim = request->host->sim;

    if (err == ERR_TIMEOUT)
        sim->now.timeouts++;
    else if (err == ERR_BUSY && has_waited)
        sim->now.shed++;
    else
        sim->now.refused++;
    spare_request(request);
}

/* ---- leases */

/* Its connection may have gone with the server meanwhile. */
static void on_served(void *ud, uint64_t now_ns)
{
    struct request *request = ud;

    request->host->sim->server.running--;
    if (request->conn != NULL)
        pool_release(request->host->pool, request->conn, now_ns);
    sim_served(request, request->began_ns - request->waiter.since_ns, now_ns);
}

static void serve(struct request *request, struct conn *conn, uint64_t now_ns)
{
    struct sim_server *server = &request->host->sim->server;

    request->conn = conn;
    request->began_ns = now_ns;
    conn_set_holder(conn, &request->conn, "simulated");
    sim_queue_put(&server->queue,
                  now_ns + sim_service_ns(server, request->base_ns), on_served,
                  request);
    server->running++;
}

static void on_done(struct pool_waiter *waiter, enum err err, struct conn *conn)
{
    struct request *request = container_of(waiter, struct request, waiter);

    if (err == ERR_OK)
        serve(request, conn, request->host->sim->server.now_ns);
    else
        sim_refused(request, err, true);
}

static void lease(struct request *request, uint64_t now_ns)
{
    struct pool *pool = request->host->pool;
    struct conn *conn = pool_try_acquire(pool, false, "simulated", now_ns);
    enum err err;

    if (conn != NULL) {
        conn_set_class(conn, request->waiter.class);
        request->waiter.since_ns = now_ns;
        serve(request, conn, now_ns);
        return;
    }
    request->waiter.on_done = on_done;
    request->waiter.site = "simulated";
    err = pool_wait(pool, &request->waiter, now_ns);
    if (err != ERR_OK)
        sim_refused(request, err, false);
}

/* ---- arrivals */

static struct host *any_host(struct sim *sim)
{
    return &sim->hosts[rand_below(&sim->server.rand, sim->config->hosts)];
}

/* Of each phase, one after another. */

static void on_arrival(void *ud, uint64_t now_ns);

double sim_rate(const struct sim *sim)
{
    return sim->phase < sim->config->n_phases
               ? sim->config->phases[sim->phase].rate
               : 0;
}

static void next_arrival(struct sim *sim, uint64_t now_ns)
{
    while (sim->phase < sim->config->n_phases) {
        double rate = sim_rate(sim);
        uint64_t end_ns = sim_ns(sim->phase_end_s);

        if (rate > 0) {
            uint64_t at_ns = now_ns + sim_draw_ns(&sim->server, 1 / rate);

            if (at_ns < end_ns) {
                sim_queue_put(&sim->server.queue, at_ns, on_arrival, sim);
                return;
            }
        }
        now_ns = end_ns;
        if (++sim->phase < sim->config->n_phases)
            sim->phase_end_s += sim->config->phases[sim->phase].seconds;
    }
}

static void on_arrival(void *ud, uint64_t now_ns)
{
    struct sim *sim = ud;
    struct request *request = new_request(
        sim, any_host(sim), sim_draw_ns(&sim->server, sim->config->service));

    sim->now.arrivals++;
    if (request != NULL)
        lease(request, now_ns);
    next_arrival(sim, now_ns);
}

/* Of a trace, as they came. */

static void on_replay(void *ud, uint64_t now_ns)
{
    struct sim *sim = ud;
    const struct trace *trace = sim->config->trace;
    const struct trace_demand *demand = &trace->demands[sim->next_demand];
    struct request *request =
        new_request(sim, any_host(sim), sim->replay.base_ns[sim->next_demand]);

    sim->now.arrivals++;
    if (request != NULL)
        request->waiter.class = request->item.class = demand->class;
    if (request != NULL && demand->is_shared)
        sim_lanes_add(request, now_ns);
    else if (request != NULL)
        lease(request, now_ns);
    if (++sim->next_demand < trace->n_demands)
        sim_queue_put(&sim->server.queue, demand[1].at_ns, on_replay, sim);
}

void sim_begin_arrivals(struct sim *sim)
{
    if (sim->config->trace != NULL) {
        sim_queue_put(&sim->server.queue, 0, on_replay, sim);
        return;
    }
    sim->phase_end_s = sim->config->phases[0].seconds;
    next_arrival(sim, 0);
}
