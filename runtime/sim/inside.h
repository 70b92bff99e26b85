/* inside.h - the inside of a simulation, for the files of this folder only. */
#ifndef TIDEPOOL_SIM_INSIDE_H
#define TIDEPOOL_SIM_INSIDE_H

#include "pool/lane_queue.h"
#include "pool/lanes.h"
#include "pool/line.h"
#include "sim/replay.h"
#include "sim/server.h"

struct sim;

/* One instance: its pool, its lanes and its policy. */
struct host {
    struct sim *sim;
    unsigned index;
    struct sim_driver driver;
    struct pool *pool;
    struct lanes lanes;
    uint64_t pump_ns; /* when the lanes run next; WHEEL_NEVER */
    struct pilot *pilot;
    bool is_gone; /* its pool */
};

/* Somebody who wants a lease, or a statement done. */
struct request {
    struct pool_waiter waiter;
    struct lane_item item;
    struct host *host;
    struct conn *conn; /* of a lease; NULL when it is lost */
    uint64_t base_ns;  /* of its service, on a server that does nothing else */
    uint64_t began_ns; /* of its service */
    struct request *next; /* while it is none */
};

struct sim {
    const struct sim_config *config;
    struct sim_report *report;
    struct sim_server server;
    struct host *hosts;
    struct request *spare;
    struct sim_replay replay; /* of config->trace */
    size_t next_demand;
    struct hist wait; /* of those served */
    struct hist wait_before, service_before;
    struct sim_sample now; /* counts since the last sample */
    size_t phase;
    double phase_end_s;
    double end_s;
};

static inline double sim_seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static inline uint64_t sim_ns(double s)
{
    return (uint64_t)(s * 1e9);
}

/* ---- demand.c */

/* Puts the first arrival on the queue, from where each brings the next. */
void sim_begin_arrivals(struct sim *sim);
/* Requests a second that the load has now. */
double sim_rate(const struct sim *sim);
void sim_served(struct request *request, uint64_t wait_ns, uint64_t now_ns);
void sim_refused(struct request *request, enum err err, bool has_waited);
void sim_free_spare(struct sim *sim);

/* ---- statements.c */

void sim_lanes_init(struct host *host);
void sim_lanes_add(struct request *request, uint64_t now_ns);
/* No lane takes anything any more. */
void sim_lanes_close(struct host *host);

#endif
