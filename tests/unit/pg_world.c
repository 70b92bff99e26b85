/* pg_world.c - see pg_peer.h: the client's side. */
#include "pg/pg.h"
#include "pg/rows.h"
#include "pg/value.h"
#include "pg_peer.h"
#include "pool/lease.h"
#include "pool/line.h"
#include "pool/status.h"
#include "turns.h"
#include "unit.h"

#include <stdio.h>

/* ---- the world */

static void log_sink(void *ud, enum log_level level, const char *event,
                     const struct log_field *fields)
{
    struct world *world = ud;
    size_t len = strlen(world->logged);

    (void)level;
    snprintf(world->logged + len, sizeof(world->logged) - len, "%s", event);
    for (; fields->type != LOG_END_TYPE; fields++) {
        len = strlen(world->logged);
        if (fields->type == LOG_STR_TYPE)
            snprintf(world->logged + len, sizeof(world->logged) - len, " %s=%s",
                     fields->key, fields->text);
    }
}

void pg_world_init(struct world *world)
{
    memset(world, 0, sizeof(*world));
    world->loop = make_loop();
    world->log = (struct log){ log_sink, world, LOG_WARN };
    pg_peer_open(&world->peer, world->loop);
    pool_settings_init(&world->settings, 2);
    world->settings.test_before_acquire = false;
    world->settings.max_connections = 1;
}

void pg_world_open(struct world *world)
{
    const struct pg_config config = {
        .name = "test",
        .url = world->peer.url,
        .application_name = "unit",
        .settings = world->settings,
        .log = &world->log,
        .seed = 1,
    };
    struct err_text why;

    assert_ok(pg_pool_open(&world->pg, world->loop, &config, &why));
}

static void on_closed(void *ud)
{
    ((struct world *)ud)->closes++;
}

void pg_world_close_pool(struct world *world, uint64_t within_ms)
{
    pg_pool_close(world->pg, loop_now_ns(world->loop) + within_ms * NS_PER_MS,
                  on_closed, world);
    world->pg = NULL;
}

void pg_world_free(struct world *world)
{
    if (world->pg != NULL)
        pg_world_close_pool(world, 0);
    wait_for(world->loop, world->closes == 1);
    pg_peer_close(&world->peer);
    drop_loop(world->loop);
    assert_int_equal(world->closes, 1);
}

uint32_t pg_world_count(const struct world *world, enum conn_state state)
{
    struct pool_counts counts;

    pool_counts(pg_pool_pool(world->pg), &counts);
    return counts.states[state];
}

/* ---- leases */

struct lease {
    struct pool_waiter waiter;
    struct conn *conn;
};

static void on_lease(struct pool_waiter *waiter, enum err err,
                     struct conn *conn)
{
    assert_ok(err);
    container_of(waiter, struct lease, waiter)->conn = conn;
}

struct pg_link *pg_world_lease(struct world *world)
{
    struct pool *pool = pg_pool_pool(world->pg);
    struct lease lease = { .waiter.on_done = on_lease };
    uint64_t now_ns = loop_now_ns(world->loop);

    lease.conn = pool_try_acquire(pool, false, "test.c:1", now_ns);
    if (lease.conn == NULL) {
        assert_ok(pool_wait(pool, &lease.waiter, now_ns));
        wait_for(world->loop, lease.conn != NULL);
    }
    return pg_link_of(lease.conn);
}

void pg_world_release(struct world *world, struct pg_link *link)
{
    pool_release(pg_pool_pool(world->pg), pg_link_conn(link),
                 loop_now_ns(world->loop));
}

/* ---- calls */

static void on_done(struct pg_request *request, enum err err,
                    struct pg_rows *rows, const struct err_text *text)
{
    struct call *call = request->ud;
    struct pg_value value;

    call->calls++;
    call->err = err;
    assert_int_equal(text == NULL, err == ERR_OK);
    assert_int_equal(rows != NULL, err == ERR_OK || err == ERR_SERVER);
    if (text != NULL)
        call->text = *text;
    if (err == ERR_OK && pg_rows_count(rows) > 0) {
        pg_rows_value(rows, 0, 0, NULL, &value);
        snprintf(call->value, sizeof(call->value), "%s", value.text);
    }
    pg_rows_free(rows);
    if (call->then != NULL)
        call->then(call);
}

void pg_call_init(struct call *call, const char *sql, ...)
{
    va_list texts;
    const char *text;

    memset(call, 0, sizeof(*call));
    call->request.on_done = on_done;
    call->request.ud = call;
    call->request.sql = sql;
    call->request.sql_len = strlen(sql);
    call->request.params = call->params;
    call->request.timeout_ns = PATIENCE_S * (uint64_t)1000 * NS_PER_MS;
    va_start(texts, sql);
    while ((text = va_arg(texts, const char *)) != NULL)
        call->params[call->request.n_params++] =
            (struct pg_param){ PG_PARAM_TEXT, text, strlen(text) };
    va_end(texts);
}

void pg_call_wait(struct world *world, struct call *call)
{
    wait_for(world->loop, call->calls > 0);
    assert_int_equal(call->calls, 1);
}

void pg_call_pool(struct world *world, struct call *call)
{
    assert_ok(pg_pool_send(world->pg, &call->request));
    assert_int_equal(call->calls, 0);
    pg_call_wait(world, call);
}

void pg_call_link(struct world *world, struct pg_link *link, struct call *call)
{
    assert_ok(pg_link_send(link, &call->request));
    assert_int_equal(call->calls, 0);
    pg_call_wait(world, call);
}

void pg_run_pool(struct world *world, const char *sql)
{
    struct call call;

    pg_call_init(&call, sql, NULL);
    pg_call_pool(world, &call);
    assert_ok(call.err);
}

void pg_run_link(struct world *world, struct pg_link *link, const char *sql)
{
    struct call call;

    pg_call_init(&call, sql, NULL);
    pg_call_link(world, link, &call);
    assert_ok(call.err);
}
