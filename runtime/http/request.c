/* request.c - see request.h; and the parts of a request. */
#include "http/request.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "http/conn.h"

/* Of a body that nobody reads any more: reading on for so much is cheaper than
 * a new connection. */
enum { DROP_MOST = 256 * 1024 };

/* Splits the target; "http://host/a?b" is for the one with path "/a". */
static void set_target(struct http_request *request, struct http_text target)
{
    static const struct http_text root = { "/", 1 };
    const char *end = target.bytes + target.len;
    const char *path = target.bytes;
    const char *query;

    if (target.bytes[0] != '/' && target.bytes[0] != '*') {
        const char *scheme = memmem(path, target.len, "://", 3);

        if (scheme != NULL)
            path = scheme + 3;
        while (path < end && *path != '/' && *path != '?')
            path++;
    }
    query = memchr(path, '?', (size_t)(end - path));
    request->target = target;
    request->query = (struct http_text){ end, 0 };
    if (query != NULL)
        request->query =
            (struct http_text){ query + 1, (size_t)(end - query - 1) };
    else
        query = end;
    request->path = (struct http_text){ path, (size_t)(query - path) };
    if (request->path.len == 0)
        request->path = root;
}

static void on_body_late(struct deadline *deadline)
{
    struct http_conn *conn =
        container_of(deadline, struct http_conn, body_deadline);

    conn->is_late = true;
    conn->server->stats.body_timeouts++;
    conn->request.on_body(&conn->request);
}

void http_request_init(struct http_conn *conn)
{
    const struct http_parse *parse = &conn->parse;

    if (conn->remote[0] == '\0')
        snprintf(conn->remote, sizeof(conn->remote), "%s",
                 stream_peer(conn->stream));
    conn->status = 0;
    conn->body_bytes = 0;
    conn->request = (struct http_request){
        .method = parse->method,
        .headers = parse->headers,
        .n_headers = parse->n_headers,
        .body = { parse->body.data, parse->body.len },
        .is_streamed = parse->stage != HTTP_STAGE_WHOLE,
        .remote = conn->remote,
        .is_head = parse->method.len == 4 &&
                   memcmp(parse->method.bytes, "HEAD", 4) == 0,
        .started_ns = loop_now_ns(conn->loop),
    };
    set_target(&conn->request, parse->target);
    conn->body_deadline.fn = on_body_late;
    conn->is_late = false;
}

void http_request_deinit(struct http_conn *conn)
{
    deadline_stop(conn->loop, &conn->body_deadline);
    http_parse_reset(&conn->parse);
    conn->drops = false;
    conn->dropped = 0;
}

const struct http_text *http_request_header(const struct http_request *request,
                                            const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < request->n_headers; i++) {
        const struct http_header *header = &request->headers[i];

        if (header->name.len == len &&
            memcmp(header->name.bytes, name, len) == 0)
            return &header->value;
    }
    return NULL;
}

/* ---- the body, piece by piece */

void http_conn_continue(struct http_conn *conn)
{
    conn->parse.expects_continue = false;
    conn->server->stats.status_classes[1]++;
    buf_put_str(stream_out(conn->stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream_flush(conn->stream);
}

static enum http_read read_whole(struct http_request *request, size_t most,
                                 struct http_text *piece)
{
    size_t left = request->body.len - request->read_at;

    if (left == 0)
        return HTTP_READ_END;
    piece->bytes = request->body.bytes + request->read_at;
    piece->len = left < most ? left : most;
    request->read_at += piece->len;
    return HTTP_READ_PIECE;
}

/* The client is to send more; how long that may take begins anew. */
static enum http_read wait_for_more(struct http_conn *conn)
{
    uint64_t timeout_ns = conn->parse.limits->body_timeout_ns;

    assert(conn->request.on_body != NULL);
    if (conn->parse.expects_continue && conn->state == HTTP_HANDLING)
        http_conn_continue(conn);
    if (timeout_ns > 0)
        deadline_start(conn->loop, &conn->body_deadline,
                       loop_now_ns(conn->loop) + timeout_ns);
    return HTTP_READ_WAIT;
}

enum http_read http_request_read(struct http_request *request, size_t most,
                                 struct http_text *piece)
{
    struct http_conn *conn = container_of(request, struct http_conn, request);
    struct http_parse *parse = &conn->parse;

    assert(most > 0);
    if (!request->is_streamed)
        return read_whole(request, most, piece);
    if (conn->state == HTTP_GONE)
        return HTTP_READ_GONE;
    if (conn->is_late)
        return HTTP_READ_LATE;
    buf_clear(&parse->body);
    parse->room = most;
    if (parse->stage == HTTP_STAGE_BODY)
        http_parse_body(parse, stream_in(conn->stream));
    http_conn_hold_back(conn);
    deadline_stop(conn->loop, &conn->body_deadline);
    if (parse->body.len > 0) {
        *piece = (struct http_text){ parse->body.data, parse->body.len };
        return HTTP_READ_PIECE;
    }
    switch (parse->stage) {
    case HTTP_STAGE_WHOLE: return HTTP_READ_END;
    case HTTP_STAGE_REFUSED: return HTTP_READ_REFUSED;
    default: return wait_for_more(conn);
    }
}

int http_request_refusal(const struct http_request *request)
{
    const struct http_conn *conn =
        container_of(request, struct http_conn, request);

    assert(conn->parse.stage == HTTP_STAGE_REFUSED);
    return http_refusal_status(conn->parse.refusal);
}

void http_request_arrived(struct http_conn *conn)
{
    deadline_stop(conn->loop, &conn->body_deadline);
    if (conn->request.is_streamed && conn->request.on_body != NULL)
        conn->request.on_body(&conn->request);
}

/* ---- what is left of it at the reply */

bool http_request_drop(struct http_conn *conn, struct buf *in)
{
    struct http_parse *parse = &conn->parse;
    size_t before = in->len;

    do {
        buf_clear(&parse->body);
        parse->room = DROP_MOST;
        http_parse_body(parse, in);
    } while (parse->body.len == parse->room);
    conn->dropped += before - in->len;
    return parse->stage != HTTP_STAGE_REFUSED && conn->dropped <= DROP_MOST;
}

void http_request_settle(struct http_conn *conn)
{
    struct http_parse *parse = &conn->parse;

    if (!conn->request.is_streamed || conn->drops ||
        parse->stage == HTTP_STAGE_WHOLE)
        return;
    deadline_stop(conn->loop, &conn->body_deadline);
    conn->server->stats.bodies_dropped++;
    conn->drops = true;
    if (parse->stage == HTTP_STAGE_REFUSED)
        conn->server->stats.refusals[parse->refusal]++;
    if (parse->stage == HTTP_STAGE_REFUSED || conn->is_late ||
        parse->expects_continue || /* it may come, or not */
        !http_request_drop(conn, stream_in(conn->stream)) ||
        (!parse->is_chunked && parse->left > DROP_MOST))
        parse->keeps_alive = false;
    else if (parse->stage == HTTP_STAGE_WHOLE)
        conn->drops = false;
}
