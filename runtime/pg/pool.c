/* pool.c - pg.h: opening, naming and closing pools, and what leases show. */
#include "pg/chore.h"
#include "pg/connect.h"
#include "pg/lane.h"
#include "pg/param_inside.h"
#include "pg/pg.h"

#include "pool/pool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct conn_ops ops = {
    .name = "postgres",
    .open = connect_open,
    .wire = link_wire,
    .test = link_test,
    .reset = link_reset,
    .cancel = link_stop,
    .keep = link_keep,
    .abandon = link_abandon,
    .unshare = lane_unshare,
    .close = link_close,
};

static void free_pool(struct pg_pool *pg)
{
    login_clear(&pg->login);
    address_book_free(&pg->book);
    param_list_free(&pg->params);
    knowns_free(&pg->knowns);
    pg_types_unref(pg->types);
    free(pg->application_name);
    free(pg->name);
    free(pg);
}

void pg_pool_settle(struct pg_pool *pg)
{
    if (pg->is_closed && pg->cancels_running == 0 && pg->cancels.len == 0)
        free_pool(pg);
}

static void on_pool_closed(struct pool_clock *clock)
{
    struct pg_pool *pg = container_of(clock, struct pg_pool, clock);
    void (*on_closed)(void *ud) = pg->on_closed;
    void *ud = pg->ud;

    lane_pool_close(pg);
    pool_clock_free(clock);
    pg->is_closed = true;
    pg_pool_settle(pg);
    if (on_closed != NULL)
        on_closed(ud);
}

static enum err copy_config(struct pg_pool *pg, const struct pg_config *config)
{
    pg->name = strdup(config->name);
    if (pg->name == NULL)
        return ERR_NOMEM;
    if (config->application_name == NULL)
        return ERR_OK;
    pg->application_name = strdup(config->application_name);
    return pg->application_name != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err open_clock(struct pg_pool *pg, const struct pg_config *config,
                           struct err_text *why)
{
    const struct pool_config pool_config = {
        .ops = &ops,
        .driver = pg,
        .settings = config->settings,
        .seed = config->seed,
        .addresses = pg->book.count,
    };

    pg->clock.loop = pg->loop;
    pg->clock.log = pg->log;
    pg->clock.name = pg->name;
    pg->clock.on_closed = on_pool_closed;
    pg->clock.budget = config->budget;
    return pool_clock_open(&pg->clock, &pool_config, why);
}

enum err pg_pool_open(struct pg_pool **out, struct loop *loop,
                      const struct pg_config *config, struct err_text *why)
{
    struct pg_pool *pg = calloc(1, sizeof(*pg));
    enum err err;

    if (pg == NULL)
        return ERR_NOMEM;
    pg->loop = loop;
    pg->log = config->log;
    pg->rand.state = config->seed;
    list_init(&pg->cancels);
    knowns_init(&pg->knowns);
    err = copy_config(pg, config);
    if (err == ERR_OK)
        err = address_book_open(&pg->book, config->url, why);
    if (err == ERR_OK)
        err = open_clock(pg, config, why);
    if (err != ERR_OK) {
        free_pool(pg);
        return err;
    }
    lane_pool_init(pg);
    *out = pg;
    return ERR_OK;
}

struct pool *pg_pool_pool(struct pg_pool *pg)
{
    return pg->clock.pool;
}

const char *pg_pool_name(const struct pg_pool *pg)
{
    return pg->name;
}

enum err pg_pool_login(struct pg_pool *pg, const char *user,
                       const char *password)
{
    return login_set(&pg->login, user, password);
}

void pg_pool_close(struct pg_pool *pg, uint64_t deadline_ns,
                   void (*on_closed)(void *ud), void *ud)
{
    pg->on_closed = on_closed;
    pg->ud = ud;
    pool_close(pg->clock.pool, deadline_ns, loop_now_ns(pg->loop));
}

struct pg_link *pg_link_of(struct conn *conn)
{
    return link_of(conn);
}

struct conn *pg_link_conn(struct pg_link *link)
{
    return &link->conn;
}

enum pg_tx pg_link_tx(const struct pg_link *link)
{
    switch (PQtransactionStatus(link->pq)) {
    case PQTRANS_IDLE: return PG_TX_NONE;
    case PQTRANS_INTRANS: return PG_TX_OPEN;
    case PQTRANS_INERROR: return PG_TX_FAILED;
    default: return PG_TX_UNKNOWN;
    }
}

int pg_link_server_version(const struct pg_link *link)
{
    return PQserverVersion(link->pq);
}

const char *pg_link_parameter(const struct pg_link *link, const char *name)
{
    return PQparameterStatus(link->pq, name);
}

int pg_link_backend_pid(const struct pg_link *link)
{
    return PQbackendPID(link->pq);
}
