/* server.h - the model of a server, and the driver that connects to it. */
#ifndef TIDEPOOL_SIM_SERVER_H
#define TIDEPOOL_SIM_SERVER_H

#include "base/hist.h"
#include "base/list.h"
#include "base/rand.h"
#include "pool/conn.h"
#include "pool/driver.h"
#include "pool/lane.h"
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

/* One connection. */
struct sim_link {
    struct conn conn;
    struct lane lane;
    struct list sent;       /* requests on the lane, by item.node */
    uint32_t group_lens[2]; /* of the groups that they came in */
    struct list_node node;
    struct sim_driver *driver;
    bool is_counted; /* among the server's connections */
    bool is_closed;  /* freed when its last event has come */
    unsigned events; /* under way */
};

struct sim_link *sim_link_of(struct conn *conn);
/* Calls fn(link, now) in so long, which calls sim_link_end_event(): true when
 * the link was closed meanwhile, and may be freed now. */
void sim_link_after(struct sim_link *link, uint64_t ns,
                    void (*fn)(void *ud, uint64_t now_ns));
bool sim_link_end_event(struct sim_link *link);

extern const struct conn_ops sim_ops;

/* Exponentially distributed around mean_s, in ns; at least 1. */
uint64_t sim_draw_ns(struct sim_server *server, double mean_s);
bool sim_is_away(const struct sim_server *server, uint64_t now_ns);
/* How long what begins now takes, that takes base_ns alone. */
uint64_t sim_service_ns(const struct sim_server *server, uint64_t base_ns);

#endif
