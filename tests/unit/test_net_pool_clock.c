/* test_net_pool_clock.c - a pool on a real loop, and what it logs. */
#include "net/pool_clock.h"

#include "oom.h"
#include "pool/driver.h"
#include "pool/lease.h"
#include "pool/pool.h"
#include "turns.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

struct backend {
    struct loop *loop;
    struct pool_clock clock;
    struct log log;
    struct pool_settings settings;
    const char *refusal; /* NULL: connects succeed */
    unsigned opens, live, closed;
    unsigned warns; /* lines of each kind */
    unsigned infos;
    char last[300]; /* the last line of level info or above */
};

struct link {
    struct conn conn;
    struct loop_job job; /* the answer to open() */
    struct backend *backend;
};

static void on_answer(struct loop_job *job)
{
    struct link *link = container_of(job, struct link, job);
    struct backend *backend = link->backend;
    uint64_t now_ns = loop_now_ns(backend->loop);
    struct err_text why;

    if (backend->refusal == NULL) {
        pool_conn_opened(&link->conn, now_ns);
        return;
    }
    err_text_set(&why, "%s", backend->refusal);
    snprintf(why.sqlstate, sizeof(why.sqlstate), "28P01");
    pool_conn_failed(&link->conn, &why, now_ns);
}

static struct conn *open_link(void *driver)
{
    struct backend *backend = driver;
    struct link *link = calloc(1, sizeof(*link));

    assert_non_null(link);
    backend->opens++;
    backend->live++;
    link->backend = backend;
    link->job.fn = on_answer;
    loop_defer(backend->loop, LOOP_RUN, &link->job);
    return &link->conn;
}

static enum conn_wire wire(const struct conn *conn)
{
    (void)conn;
    return CONN_CLEAN;
}

static void close_link(struct conn *conn, enum close_reason reason)
{
    struct link *link = container_of(conn, struct link, conn);
    struct backend *backend = link->backend;

    (void)reason;
    loop_cancel(backend->loop, LOOP_RUN, &link->job);
    pool_conn_closed(conn, loop_now_ns(backend->loop));
    backend->live--;
    free(link);
}

static const struct conn_ops ops = {
    .name = "fake",
    .open = open_link,
    .wire = wire,
    .close = close_link,
};

static void on_log(void *ud, enum log_level level, const char *event,
                   const struct log_field *fields)
{
    struct backend *backend = ud;
    struct buf line = { 0 };

    if (strncmp(event, "pool degraded", 13) == 0 ||
        strcmp(event, "pool recovered") == 0)
        return; /* on a slow machine, after a second */
    if (level == LOG_WARN)
        backend->warns++;
    if (level == LOG_INFO)
        backend->infos++;
    log_format_logfmt(
        &line,
        &(struct log_line){ .level = level, .event = event, .fields = fields });
    if (level >= LOG_INFO)
        snprintf(backend->last, sizeof(backend->last), "%.*s", (int)line.len,
                 line.data);
    buf_free(&line);
}

static void on_closed(struct pool_clock *clock)
{
    struct backend *backend = container_of(clock, struct backend, clock);

    backend->closed++;
    pool_clock_free(clock);
}

static enum err open_backend(struct backend *backend)
{
    struct pool_config config = { .ops = &ops,
                                  .driver = backend,
                                  .settings = backend->settings,
                                  .addresses = 1,
                                  .seed = 1 };

    backend->log = (struct log){ on_log, backend, LOG_DEBUG };
    backend->clock.loop = backend->loop;
    backend->clock.log = &backend->log;
    backend->clock.name = "main";
    backend->clock.on_closed = on_closed;
    return pool_clock_open(&backend->clock, &config, NULL);
}

static void init_backend(struct backend *backend)
{
    *backend = (struct backend){ .loop = make_loop() };
    pool_settings_init(&backend->settings, 1);
    backend->settings.test_before_acquire = false;
}

static void close_backend(struct backend *backend)
{
    uint64_t now_ns = loop_now_ns(backend->loop);

    pool_close(backend->clock.pool, now_ns, now_ns);
    assert_int_equal(backend->closed, 0); /* not from inside */
    loop_run(backend->loop);
    assert_int_equal(backend->closed, 1);
    assert_int_equal(backend->live, 0);
    drop_loop(backend->loop);
}

static void test_pool_clock_ticks_the_pool_when_it_is_due(void **state)
{
    struct backend backend;

    (void)state;
    init_backend(&backend);
    backend.settings.min_connections = 2;
    backend.settings.max_lifetime_ns = 100 * NS_PER_MS;
    assert_ok(open_backend(&backend));
    assert_int_equal(backend.opens, 0); /* the first tick is in a turn */
    wait_for(backend.loop, backend.opens >= 2);
    wait_for(backend.loop, backend.opens >= 4); /* replaced at their end */

    assert_int_equal(backend.warns + backend.infos, 0);
    close_backend(&backend);
}

static struct conn *borrow(struct backend *backend)
{
    return pool_try_acquire(backend->clock.pool, false, "app.lua:12",
                            loop_now_ns(backend->loop));
}

static void test_pool_clock_wakes_for_what_a_call_made_due(void **state)
{
    struct backend backend;
    struct conn *conn = NULL;

    (void)state;
    init_backend(&backend);
    backend.settings.max_connections = 1;
    backend.settings.leak_threshold_ns = 5 * NS_PER_MS;
    assert_ok(open_backend(&backend));
    wait_for(backend.loop, (conn = borrow(&backend)) != NULL);
    wait_for(backend.loop, backend.warns == 1);
    assert_non_null(strstr(backend.last, "lease held too long"));
    assert_non_null(strstr(backend.last, "pool=main"));
    assert_non_null(strstr(backend.last, "site=app.lua:12"));

    pool_discard(backend.clock.pool, conn, CLOSE_LOST,
                 loop_now_ns(backend.loop));
    assert_int_equal(backend.infos, 1);
    assert_non_null(strstr(backend.last, "reason=lost"));
    close_backend(&backend);
}

static void test_pool_clock_warns_of_one_refusal_once(void **state)
{
    struct backend backend;

    (void)state;
    init_backend(&backend);
    backend.refusal = "wrong password";
    assert_ok(open_backend(&backend));
    wait_for(backend.loop, backend.opens >= 3);
    assert_int_equal(backend.warns, 1);
    assert_non_null(strstr(backend.last, "error=\"wrong password\""));
    assert_non_null(strstr(backend.last, "sqlstate=28P01"));
    assert_non_null(strstr(backend.last, "retry_ms="));

    backend.refusal = "starting up"; /* that is news */
    wait_for(backend.loop, backend.warns == 2);
    assert_non_null(strstr(backend.last, "error=\"starting up\""));
    close_backend(&backend);
}

static void test_pool_clock_open_fails_without_memory(void **state)
{
    struct backend backend;
    enum err err;

    (void)state;
    init_backend(&backend);
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        err = open_backend(&backend);
        oom_off();
        if (!oom_happened())
            break;
        assert_err(err, ERR_NOMEM);
    }
    assert_ok(err);
    close_backend(&backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_clock_ticks_the_pool_when_it_is_due),
        cmocka_unit_test(test_pool_clock_wakes_for_what_a_call_made_due),
        cmocka_unit_test(test_pool_clock_warns_of_one_refusal_once),
        cmocka_unit_test(test_pool_clock_open_fails_without_memory),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
