/* access.c - see access.h. */
#include "http/access.h"

#include "base/clock.h"
#include "http/conn.h"

void http_server_set_access(struct http_server *server, http_access_fn fn)
{
    server->on_access = fn;
}

void http_access_tell(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    struct http_request *request = &conn->request;
    struct http_access access = {
        .request = request,
        .remote = conn->remote,
        .status = conn->status != 0 ? conn->status : 499,
        .body_bytes = conn->body_bytes,
    };

    if (server == NULL || server->on_access == NULL)
        return;
    access.took_ns = elapsed_ns(request->started_ns, loop_now_ns(conn->loop));
    access.is_cut = conn->state == HTTP_GONE && conn->status != 0;
    server->on_access(server, &access, server->ud);
}

void http_access_tell_refusal(struct http_conn *conn, int status)
{
    struct http_server *server = conn->server;
    bool is_known = conn->parse.method.len > 0 && conn->parse.target.len > 0;
    struct http_access access = { .remote = stream_peer(conn->stream),
                                  .status = status,
                                  .is_refused = true };

    if (server->on_access == NULL)
        return;
    if (is_known) {
        http_request_init(conn);
        access.request = &conn->request;
    }
    server->on_access(server, &access, server->ud);
}
