/* server.h - the model of a server, and the driver that connects to it. */
#ifndef TIDEPOOL_SIM_SERVER_H
#define TIDEPOOL_SIM_SERVER_H

#include "base/list.h"
#include "base/rand.h"
#include "pool/pool.h"
#include "sim/queue.h"
#include "sim/sim.h"

/* Shared by all hosts. */
struct sim_server {
    const struct sim_config *config;
    struct sim_queue queue;
    struct rand rand;
    uint64_t now_ns;
    unsigned connections;
    unsigned running; /* statements */
    struct hist service;
};

/* A driver's argument: one for each host. */
struct sim_driver {
    struct sim_server *server;
    struct list links; /* those that are not freed */
};

extern const struct conn_ops sim_ops;

/* Exponentially distributed around mean_s, in ns; at least 1. */
uint64_t sim_draw_ns(struct sim_server *server, double mean_s);
bool sim_is_away(const struct sim_server *server, uint64_t now_ns);
/* How long a statement takes that begins now. */
uint64_t sim_service_ns(struct sim_server *server);

#endif
