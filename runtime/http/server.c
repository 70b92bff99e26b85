/* server.c - see server.h: listening, limits, draining, closing. */
#include "http/server.h"
#include "http/limits.h"
#include "http/room.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long what a client still sends is read and dropped, lest the kernel
 * answers it with a reset that overtakes our reply. */
static const uint64_t LINGER_NS = 1000000000;
/* When the server drains: so long a client that was told of no end may still
 * send a request, which may be on its way, and is told with its reply. */
static const uint64_t LAST_CALL_NS = 200000000;

static uint64_t seconds(uint64_t count)
{
    return count * 1000000000;
}

void http_limits_init(struct http_limits *limits)
{
    *limits = (struct http_limits){
        .max_header_bytes = 16384,
        .max_headers = 100,
        .max_body_bytes = 1048576,
        .header_timeout_ns = seconds(10),
        .body_timeout_ns = seconds(30),
        .idle_timeout_ns = seconds(75),
        .write_timeout_ns = seconds(30),
        .max_connections = 10000,
        .max_buffered_bytes = 268435456,
    };
}

uint64_t http_conn_timeout_ns(const struct http_conn *conn)
{
    const struct http_limits *limits = conn->parse.limits;
    bool is_between = conn->state == HTTP_IDLE || conn->state == HTTP_GREETING;

    if (is_between && conn->server->is_draining)
        return LAST_CALL_NS;
    switch (conn->state) {
    case HTTP_IDLE: return limits->idle_timeout_ns;
    case HTTP_GREETING:
    case HTTP_HEAD: return limits->header_timeout_ns;
    case HTTP_BODY:
    case HTTP_DROPPING: return limits->body_timeout_ns;
    case HTTP_SENDING:
    case HTTP_ENDING: return limits->write_timeout_ns;
    case HTTP_STREAMING:
        return stream_unsent(conn->stream) > 0 ? limits->write_timeout_ns : 0;
    case HTTP_LINGERING: return LINGER_NS;
    default: return 0;
    }
}

static bool is_full(const struct http_server *server,
                    const struct listener *listener)
{
    return server->stats.open >= server->limits.max_connections ||
           server->stats.open >= listener_room(listener);
}

static void on_accept(struct listener *listener, struct stream *stream,
                      void *ud)
{
    struct http_server *server = ud;

    if (is_full(server, listener) && !http_room_for_connection(server)) {
        server->stats.refused++;
        stream_close(stream);
        return;
    }
    server->stats.connections++;
    http_conn_open(server, stream);
}

static void on_drained_job(struct loop_job *job)
{
    struct http_server *server =
        container_of(job, struct http_server, drained_job);
    void (*fn)(void *ud) = server->on_drained;

    server->on_drained = NULL;
    fn(server->drained_ud);
}

static void on_free(struct loop_job *job)
{
    struct http_server *server =
        container_of(job, struct http_server, free_job);

    tls_context_free(server->tls);
    free(server);
}

void http_server_left(struct http_server *server)
{
    if (server->on_drained != NULL && server->conns.len + server->gone.len == 0)
        loop_defer(server->loop, LOOP_RUN, &server->drained_job);
}

enum err http_server_new(struct http_server **out, struct loop *loop,
                         const struct http_limits *limits,
                         http_request_fn on_request, void *ud)
{
    struct http_server *server = calloc(1, sizeof(*server));

    if (server == NULL)
        return ERR_NOMEM;
    server->loop = loop;
    server->limits = *limits;
    server->on_request = on_request;
    server->ud = ud;
    server->drained_job.fn = on_drained_job;
    server->free_job.fn = on_free;
    list_init(&server->conns);
    list_init(&server->gone);
    list_init(&server->fresh);
    list_init(&server->kept);
    *out = server;
    return ERR_OK;
}

enum err http_server_accept(struct http_server *server,
                            const struct listen_socket *socket)
{
    struct listener *listener;
    enum err err;

    if (server->n_listeners == HTTP_LISTENERS_MAX)
        return ERR_BUSY;
    err = listener_open_on(&listener, server->loop, socket, on_accept, server);
    if (err != ERR_OK)
        return err;
    if (server->address[0] == '\0')
        snprintf(server->address, sizeof(server->address), "%s",
                 listener_address(listener));
    server->listeners[server->n_listeners++] = listener;
    return ERR_OK;
}

bool http_server_stop_accepting(struct http_server *server, int fd)
{
    for (unsigned i = 0; i < server->n_listeners; i++) {
        if (listener_fd(server->listeners[i]) != fd)
            continue;
        listener_close(server->listeners[i]);
        server->listeners[i] = server->listeners[--server->n_listeners];
        return true;
    }
    return false;
}

/* Who is in the queue believes to be connected, and would be reset. */
static void accept_the_last(struct http_server *server)
{
    for (unsigned i = 0; i < server->n_listeners; i++)
        listener_accept_all(server->listeners[i]);
}

static void stop_accepting(struct http_server *server)
{
    while (server->n_listeners > 0)
        listener_close(server->listeners[--server->n_listeners]);
}

enum err http_server_open(struct http_server **out, struct loop *loop,
                          const char *address, const struct http_limits *limits,
                          http_request_fn on_request, void *ud,
                          struct err_text *why)
{
    struct http_server *server = NULL;
    struct listen_socket socket = { .fd = -1 };
    enum err err = http_server_new(&server, loop, limits, on_request, ud);

    if (err == ERR_OK)
        err = listen_socket_open(&socket, address, why);
    else
        err_text_set(why, "cannot listen on %s: %s", address,
                     err_sentence(err));
    if (err != ERR_OK)
        goto fail;
    err = http_server_accept(server, &socket);
    if (err != ERR_OK) {
        err_text_set(why, "cannot listen on %s: %s", address,
                     err_sentence(err));
        goto fail;
    }
    *out = server;
    return ERR_OK;

fail:
    listen_socket_close(&socket);
    free(server);
    return err;
}

void http_server_set_body_rule(struct http_server *server, http_body_fn rule)
{
    server->body_rule = rule;
}

void http_server_set_tls(struct http_server *server, struct tls_context *tls)
{
    tls_context_free(server->tls);
    server->tls = tls_context_ref(tls);
}

const char *http_server_address(const struct http_server *server)
{
    return server->address;
}

const struct http_stats *http_server_stats(const struct http_server *server)
{
    return &server->stats;
}

void http_server_announce_end(struct http_server *server)
{
    server->is_ending = true;
}

void http_server_drain(struct http_server *server, void (*on_drained)(void *ud),
                       void *ud)
{
    struct list_node *node;

    http_server_announce_end(server);
    server->is_draining = true;
    server->on_drained = on_drained;
    server->drained_ud = ud;
    accept_the_last(server);
    stop_accepting(server);
    node = list_first(&server->conns);
    for (uint32_t left = server->conns.len; left > 0; left--) {
        struct http_conn *conn = container_of(node, struct http_conn, node);

        node = node->next;
        if (conn->state == HTTP_IDLE || conn->state == HTTP_GREETING)
            http_conn_last_call(conn);
        else if (http_conn_is_lent(conn) && conn->request.on_draining != NULL)
            conn->request.on_draining(&conn->request);
    }
    http_server_left(server);
}

/* Who sends a reply piece by piece may wait for the client to read, and who
 * reads a body so for it to send. */
static void cut(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    bool may_wait = http_conn_is_lent(conn) &&
                    (conn->state == HTTP_STREAMING || request->is_streamed);

    http_conn_close(conn);
    if (may_wait && request->on_gone != NULL)
        request->on_gone(request);
}

void http_server_close(struct http_server *server)
{
    struct list_node *node;

    if (server == NULL)
        return;
    server->on_drained = NULL;
    loop_cancel(server->loop, LOOP_RUN, &server->drained_job);
    stop_accepting(server);
    while ((node = list_first(&server->conns)) != NULL)
        cut(container_of(node, struct http_conn, node));
    while ((node = list_pop_front(&server->gone)) != NULL)
        container_of(node, struct http_conn, node)->server = NULL;
    loop_defer(server->loop, LOOP_FLUSH, &server->free_job);
}
