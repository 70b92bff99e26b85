/* reply.c - replies as bytes at the end of the connection's output. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/conn.h"
#include "http/reply.h"
#include "http/status.h"
#include "http/strict.h"

/* Room for any length, before it is known; what is left over is blank. */
enum { LENGTH_ROOM = 20 };

static void put_text(struct buf *out, struct http_text text)
{
    buf_put(out, text.bytes, text.len);
}

/* Writes number at the end of room, and returns how long it is. */
static size_t format_number(char room[LENGTH_ROOM], size_t number)
{
    size_t at = LENGTH_ROOM;

    do {
        room[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return LENGTH_ROOM - at;
}

static void put_number(struct buf *out, size_t number)
{
    char room[LENGTH_ROOM];
    size_t len = format_number(room, number);

    buf_put(out, room + LENGTH_ROOM - len, len);
}

/* Formatted once a second; in English, whatever the locale. */
static const char *date_of(struct http_server *server)
{
    static const char days[][4] = { "Sun", "Mon", "Tue", "Wed",
                                    "Thu", "Fri", "Sat" };
    static const char months[][4] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun",
        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
    };
    time_t now = time(NULL);
    struct tm tm;

    if (now == server->date_s)
        return server->date;
    server->date_s = now;
    gmtime_r(&now, &tm);
    snprintf(server->date, sizeof(server->date),
             "%s, %02d %s %d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
             months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
    return server->date;
}

/* The head up to, and without, the length of the body. */
static void put_head(struct http_conn *conn, int status,
                     const struct http_reply *reply)
{
    struct buf *out = stream_out(conn->stream);

    conn->server->stats.status_classes[status / 100]++;
    conn->status = status;
    buf_put_str(out, "HTTP/1.1 ");
    put_number(out, (size_t)status);
    buf_put_char(out, ' ');
    buf_put_str(out, http_status_text(status));
    buf_put_str(out, "\r\nDate: ");
    buf_put_str(out, date_of(conn->server));
    if (!conn->parse.keeps_alive || conn->server->is_ending)
        buf_put_str(out, "\r\nConnection: close");
    else if (!conn->parse.is_1_1)
        buf_put_str(out, "\r\nConnection: keep-alive");
    for (size_t i = 0; i < reply->n_headers; i++) {
        buf_put_str(out, "\r\n");
        put_text(out, reply->headers[i].name);
        buf_put_str(out, ": ");
        put_text(out, reply->headers[i].value);
    }
}

static bool has_body(int status)
{
    return status != 204 && status != 304;
}

static bool is_sendable(const struct http_reply *reply)
{
    if (reply->status < 200 || reply->status > 599)
        return false;
    for (size_t i = 0; i < reply->n_headers; i++) {
        if (!http_header_is_valid(&reply->headers[i]))
            return false;
    }
    return true;
}

static const struct http_reply unsendable = { .status = 500 };

void http_reply(struct http_request *request, const struct http_reply *reply)
{
    struct http_conn *conn = container_of(request, struct http_conn, request);
    struct buf *out;

    assert(conn->state == HTTP_HANDLING || conn->state == HTTP_GONE);
    if (conn->state == HTTP_GONE) {
        http_conn_replied(conn);
        return;
    }
    if (!is_sendable(reply))
        reply = &unsendable;
    http_request_settle(conn);
    out = stream_out(conn->stream);
    put_head(conn, reply->status, reply);
    if (has_body(reply->status)) {
        buf_put_str(out, "\r\nContent-Length: ");
        put_number(out, reply->body.len);
    }
    buf_put_str(out, "\r\n\r\n");
    if (has_body(reply->status) && !request->is_head) {
        put_text(out, reply->body);
        conn->body_bytes = reply->body.len;
    }
    http_conn_replied(conn);
}

struct buf *http_reply_begin(struct http_request *request,
                             const struct http_reply *reply)
{
    struct http_conn *conn = container_of(request, struct http_conn, request);
    struct buf *out;

    assert(conn->state == HTTP_HANDLING || conn->state == HTTP_GONE);
    if (conn->state == HTTP_GONE)
        return &conn->nowhere;
    conn->has_body = has_body(reply->status);
    if (!is_sendable(reply)) {
        reply = &unsendable;
        conn->has_body = false; /* what is written is cut off at the end */
    }
    http_request_settle(conn);
    out = stream_out(conn->stream);
    put_head(conn, reply->status, reply);
    if (has_body(reply->status))
        buf_put_str(out, "\r\nContent-Length: ");
    conn->length_at = out->len;
    if (has_body(reply->status))
        buf_put(out, "                   0", LENGTH_ROOM);
    buf_put_str(out, "\r\n\r\n");
    conn->body_at = out->len;
    return out;
}

void http_reply_end(struct http_request *request)
{
    struct http_conn *conn = container_of(request, struct http_conn, request);
    struct buf *out;

    if (conn->state == HTTP_GONE) {
        http_conn_replied(conn);
        return;
    }
    out = stream_out(conn->stream);
    if (!buf_failed(out)) {
        size_t len = out->len - conn->body_at;
        char room[LENGTH_ROOM];
        size_t digits = format_number(room, len);

        assert(out->len >= conn->body_at);
        if (conn->has_body)
            memcpy(out->data + conn->length_at + LENGTH_ROOM - digits,
                   room + LENGTH_ROOM - digits, digits);
        if (!conn->has_body || request->is_head)
            out->len = conn->body_at;
        conn->body_bytes = out->len - conn->body_at;
    }
    http_conn_replied(conn);
}

/* ---- piece by piece */

void http_reply_open(struct http_request *request,
                     const struct http_reply *reply)
{
    struct http_conn *conn = container_of(request, struct http_conn, request);
    struct buf *out;

    assert(conn->state == HTTP_HANDLING || conn->state == HTTP_GONE);
    if (conn->state == HTTP_GONE)
        return;
    if (!is_sendable(reply))
        reply = &unsendable;
    conn->has_body =
        has_body(reply->status) && reply != &unsendable && !request->is_head;
    conn->is_chunked = conn->parse.is_1_1 && has_body(reply->status);
    if (!conn->parse.is_1_1 && has_body(reply->status))
        conn->parse.keeps_alive = false; /* its end is the body's */
    if (conn->parse.expects_continue)
        conn->parse.keeps_alive = false; /* no 100 can follow this */
    out = stream_out(conn->stream);
    put_head(conn, reply->status, reply);
    if (conn->is_chunked)
        buf_put_str(out, "\r\nTransfer-Encoding: chunked");
    buf_put_str(out, "\r\n\r\n");
    http_conn_streams(conn);
}

static void put_chunk(struct buf *out, const char *bytes, size_t len)
{
    char size[24];
    int size_len = snprintf(size, sizeof(size), "%zx\r\n", len);

    buf_put(out, size, (size_t)size_len);
    buf_put(out, bytes, len);
    buf_put_str(out, "\r\n");
}

size_t http_reply_put(struct http_request *request, const char *bytes,
                      size_t len)
{
    struct http_conn *conn = container_of(request, struct http_conn, request);
    struct buf *out;

    assert(conn->state == HTTP_STREAMING || conn->state == HTTP_GONE);
    if (conn->state == HTTP_GONE)
        return 0;
    out = stream_out(conn->stream);
    if (!conn->has_body || len == 0) /* an empty chunk would be the last */
        return out->len;
    conn->body_bytes += len;
    if (conn->is_chunked)
        put_chunk(out, bytes, len);
    else
        buf_put(out, bytes, len);
    http_conn_streams(conn);
    return out->len;
}

static void cut(struct http_conn *conn, enum http_end end)
{
    struct http_stats *stats = &conn->server->stats;

    if (end == HTTP_END_LATE)
        stats->replies_late++;
    else
        stats->replies_cut++;
    http_conn_close(conn); /* GONE now */
}

void http_reply_close(struct http_request *request, enum http_end end)
{
    struct http_conn *conn = container_of(request, struct http_conn, request);

    assert(conn->state == HTTP_STREAMING || conn->state == HTTP_GONE);
    if (conn->state == HTTP_STREAMING && end != HTTP_END_WHOLE)
        cut(conn, end);
    else if (conn->state == HTTP_STREAMING && conn->is_chunked &&
             conn->has_body)
        buf_put_str(stream_out(conn->stream), "0\r\n\r\n");
    http_conn_replied(conn);
}

void http_reply_refusal(struct http_conn *conn, int status)
{
    static const struct http_header type = {
        .name = { "Content-Type", 12 },
        .value = { "text/plain; charset=utf-8", 25 },
    };
    struct http_reply reply = { .headers = &type, .n_headers = 1 };
    struct buf *out = stream_out(conn->stream);
    const char *text = http_status_text(status);

    conn->parse.keeps_alive = false;
    put_head(conn, status, &reply);
    buf_put_str(out, "\r\nContent-Length: ");
    put_number(out, strlen(text) + 1);
    buf_put_str(out, "\r\n\r\n");
    buf_put_str(out, text);
    buf_put_char(out, '\n');
}
