/*
 * test_oom_net.c - whatever is made on a loop, made again and again with its
 * n-th allocation failing, see makers.h and tests/README.md.
 */
#include "makers.h"
#include "turns.h"

#include "http/limits.h"
#include "http/load.h"
#include "http/request.h"
#include "http/server.h"
#include "net/budget_port.h"
#include "net/inside.h"
#include "net/pool_clock.h"
#include "net/process.h"
#include "net/resolve.h"
#include "net/signals.h"
#include "net/stream.h"
#include "net/tls_session.h"
#include "net/wake.h"
#include "net/watch.h"
#include "net/work.h"
#include "pg/pg.h"
#include "pool/driver.h"
#include "pool/pool.h"
#include "redis/redis.h"
#include "trace/recorder.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static int ends[2]; /* of a socket pair */
static char dir[64];
static char path[128];

static unsigned calls;

static void on_call(void *ud)
{
    (void)ud;
    calls++;
}

/* ---- net */

static struct loop *other_loop;
static struct wake *wake;
static struct watch *watch;
static struct signal_watch *signal_watch;
static struct process *process;
static struct resolve *resolve;
static struct listener *listener;
static struct stream *stream;
static struct tls_context *context;
static struct tls_session *session;
static struct budget_port *port;
static struct pool_clock clock_of_pool;
static struct err_text why;

static enum err make_loop_again(void)
{
    return loop_new(&other_loop, NULL, (struct loop_clock){ 0 });
}

static void drop_loop_again(void)
{
    drop_loop(other_loop);
}

static enum err make_wake(void)
{
    return wake_open(&wake, loop, on_call, NULL);
}

static void drop_wake(void)
{
    wake_close(wake);
}

static void on_ready(struct watch *ready, int events, void *ud)
{
    (void)ready;
    (void)events;
    (void)ud;
}

static enum err make_watch(void)
{
    return watch_open(&watch, loop, ends[0], on_ready, NULL);
}

static void drop_watch(void)
{
    watch_close(watch);
}

static enum err make_work(void)
{
    calls = 0;
    return work_start(loop, on_call, on_call, NULL);
}

static void drop_work(void)
{
    wait_for(loop, calls == 2);
}

static void on_signal(int signal, void *ud)
{
    (void)signal;
    (void)ud;
}

static enum err make_signals(void)
{
    return signal_watch_open(&signal_watch, loop, SIGUSR2, on_signal, NULL);
}

static void drop_signals(void)
{
    signal_watch_close(signal_watch);
}

static void on_exit_of(struct process *ended, int status,
                       const struct buf *output, void *ud)
{
    (void)ended;
    (void)output;
    (void)ud;
    assert_int_equal(status, 0);
    calls++;
}

static enum err make_process(void)
{
    static char *args[] = { (char *)"true", NULL };
    const struct process_options options = { .args = args };

    calls = 0;
    return process_start(&process, loop, &options, on_exit_of, NULL, &why);
}

static void drop_process(void)
{
    wait_for(loop, calls == 1);
}

static void on_resolved(struct resolve *done, enum err err,
                        const struct addrinfo *addresses,
                        const struct err_text *text, void *ud)
{
    (void)done;
    (void)err;
    (void)addresses;
    (void)text;
    (void)ud;
}

static enum err make_resolve(void)
{
    return resolve_start(&resolve, loop, "localhost", "1", on_resolved, NULL);
}

static void drop_resolve(void)
{
    resolve_cancel(resolve);
}

static void on_accept(struct listener *at, struct stream *accepted, void *ud)
{
    (void)at;
    (void)ud;
    stream_close(accepted);
}

static enum err make_listener(void)
{
    return listener_open(&listener, loop, "127.0.0.1:0", on_accept, NULL, &why);
}

static void drop_listener(void)
{
    listener_close(listener);
}

static const struct stream_events no_events;

static enum err make_unix_stream(void)
{
    return stream_connect_unix(&stream, loop, path, &no_events, NULL);
}

static enum err make_tcp_stream(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(1) };

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return stream_connect(&stream, loop, (const struct sockaddr *)&to,
                          &no_events, NULL);
}

static enum err make_adopted_stream(void)
{
    const struct sockaddr peer = { .sa_family = AF_UNIX };

    return stream_adopt(&stream, loop, dup(ends[0]), &peer, sizeof(peer));
}

static void drop_stream(void)
{
    stream_close(stream);
}

static enum err make_context(void)
{
    const struct tls_client client = { .is_insecure = true };

    return tls_context_new_client(&context, &client, &why);
}

static void drop_context(void)
{
    tls_context_free(context);
}

static enum err make_session(void)
{
    return tls_session_new(&session, context, ends[0], "localhost");
}

static void drop_session(void)
{
    tls_session_free(session);
}

static enum err make_port(void)
{
    return budget_port_new(&port, loop, &why);
}

static void drop_port(void)
{
    budget_port_close(port);
}

static void on_clock_closed(struct pool_clock *clock)
{
    pool_clock_free(clock);
    calls++;
}

static const struct conn_ops no_ops = { .name = "none" };

static struct pool_config pool_config(void)
{
    struct pool_config config = { .ops = &no_ops, .addresses = 1 };

    pool_settings_init(&config.settings, 1);
    return config;
}

static enum err make_clock(void)
{
    struct pool_config config = pool_config();

    clock_of_pool = (struct pool_clock){ .loop = loop, .name = "test" };
    clock_of_pool.on_closed = on_clock_closed;
    return pool_clock_open(&clock_of_pool, &config, &why);
}

static void drop_clock(void)
{
    calls = 0;
    pool_close(clock_of_pool.pool, 0, loop_now_ns(loop));
    wait_for(loop, calls == 1);
}

/* ---- drivers */

static struct pg_pool *pg;
static struct redis_pool *redis;
static struct http_server *server;
static struct load *load;

static enum err make_pg(void)
{
    struct pg_config config = {
        .name = "test",
        .url = "postgres://u:p@127.0.0.1:1,127.0.0.1:2/db",
        .application_name = "unit",
    };

    pool_settings_init(&config.settings, 1);
    return pg_pool_open(&pg, loop, &config, &why);
}

static void drop_pg(void)
{
    calls = 0;
    pg_pool_close(pg, 0, on_call, NULL);
    wait_for(loop, calls == 1);
}

static enum err open_redis(const char *url)
{
    struct redis_config config = {
        .name = "test",
        .url = url,
        .client_name = "unit",
    };

    pool_settings_init(&config.settings, 1);
    return redis_pool_open(&redis, loop, &config, &why);
}

static enum err make_redis(void)
{
    return open_redis("redis://u:p%20q@127.0.0.1:1/3");
}

static enum err make_redis_tls(void)
{
    return open_redis("rediss://u:p@127.0.0.1:1/3?insecure=true");
}

static void drop_redis(void)
{
    calls = 0;
    redis_pool_close(redis, 0, on_call, NULL);
    wait_for(loop, calls == 1);
}

static void on_request(struct http_server *at, struct http_request *request,
                       void *ud)
{
    (void)at;
    (void)request;
    (void)ud;
}

static enum err make_server(void)
{
    struct http_limits limits;

    http_limits_init(&limits);
    return http_server_open(&server, loop, "127.0.0.1:0", &limits, on_request,
                            NULL, &why);
}

static void drop_server(void)
{
    http_server_close(server);
}

static void on_load_end(struct load *ended, void *ud)
{
    (void)ended;
    (void)ud;
}

static enum err make_load(void)
{
    const struct load_options options = {
        .host = "127.0.0.1",
        .port = "1",
        .request = "GET / HTTP/1.1\r\n\r\n",
        .request_len = 18,
        .connections = 3,
        .rate = 1,
        .duration_ns = NS_PER_MS,
        .timeout_ns = NS_PER_MS,
    };

    return load_start(&load, loop, &options, on_load_end, NULL);
}

static void drop_load(void)
{
    load_free(load);
}

/* ---- trace */

static struct recorder *recorder;

static enum err make_recorder(void)
{
    return recorder_new(&recorder, loop, path, 1 << 20, &why);
}

static void drop_recorder(void)
{
    recorder_free(recorder);
}

/* ---- each of them */

static void test_what_is_on_a_loop_is_made_or_not(void **state)
{
    static const struct maker makers[] = {
        { "loop_new", make_loop_again, drop_loop_again },
        { "wake_open", make_wake, drop_wake },
        { "watch_open", make_watch, drop_watch },
        { "work_start", make_work, drop_work },
        { "signal_watch_open", make_signals, drop_signals },
        { "process_start", make_process, drop_process },
        { "resolve_start", make_resolve, drop_resolve },
        { "listener_open", make_listener, drop_listener },
        { "stream_connect_unix", make_unix_stream, drop_stream },
        { "stream_connect", make_tcp_stream, drop_stream },
        { "stream_adopt", make_adopted_stream, drop_stream },
        { "tls_context_new_client", make_context, drop_context },
        { "budget_port_new", make_port, drop_port },
        { "pool_clock_open", make_clock, drop_clock },
    };

    (void)state;
    makers_check(loop, makers, ARRAY_LEN(makers));
}

static void test_what_drives_is_made_or_not(void **state)
{
    static const struct maker makers[] = {
        { "pg_pool_open", make_pg, drop_pg },
        { "redis_pool_open", make_redis, drop_redis },
        { "redis_pool_open, TLS", make_redis_tls, drop_redis },
        { "http_server_open", make_server, drop_server },
        { "load_start", make_load, drop_load },
        { "recorder_new", make_recorder, drop_recorder },
    };

    (void)state;
    makers_check(loop, makers, ARRAY_LEN(makers));
}

static void test_tls_is_begun_or_not(void **state)
{
    static const struct maker maker = { "tls_session_new", make_session,
                                        drop_session };

    (void)state;
    assert_ok(make_context());
    makers_check(loop, &maker, 1);
    drop_context();
}

static int set_up(void **state)
{
    (void)state;
    make_dir(dir);
    snprintf(path, sizeof(path), "%s/file", dir);
    loop = make_loop();
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
}

static int tear_down(void **state)
{
    (void)state;
    drop_loop(loop);
    close(ends[0]);
    close(ends[1]);
    drop_dir(dir);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_on_a_loop_is_made_or_not),
        TEST(test_what_drives_is_made_or_not),
        TEST(test_tls_is_begun_or_not),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
