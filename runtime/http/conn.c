/* conn.c - one connection: reads requests, hands them out, keeps its times. */
#include "http/room.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    PENDING_MOST = 64 * 1024, /* read ahead while a request is handled */
    UNSENT_MOST = 256 * 1024, /* of replies, before the next is handled */
};

/* clang-format off */
static const bool allowed[HTTP_STATES][HTTP_STATES] = {
    [HTTP_GREETING] = { [HTTP_IDLE] = 1, [HTTP_CLOSED] = 1 },
    [HTTP_IDLE] = { [HTTP_HEAD] = 1, [HTTP_BODY] = 1, [HTTP_HANDLING] = 1,
                    [HTTP_ENDING] = 1, [HTTP_CLOSED] = 1 },
    [HTTP_HEAD] = { [HTTP_BODY] = 1, [HTTP_HANDLING] = 1, [HTTP_ENDING] = 1,
                    [HTTP_CLOSED] = 1 },
    [HTTP_BODY] = { [HTTP_HANDLING] = 1, [HTTP_ENDING] = 1,
                    [HTTP_CLOSED] = 1 },
    [HTTP_HANDLING] = { [HTTP_STREAMING] = 1, [HTTP_SENDING] = 1,
                        [HTTP_ENDING] = 1, [HTTP_GONE] = 1 },
    [HTTP_STREAMING] = { [HTTP_SENDING] = 1, [HTTP_ENDING] = 1,
                         [HTTP_GONE] = 1 },
    [HTTP_SENDING] = { [HTTP_IDLE] = 1, [HTTP_HEAD] = 1, [HTTP_BODY] = 1,
                       [HTTP_HANDLING] = 1, [HTTP_DROPPING] = 1,
                       [HTTP_ENDING] = 1, [HTTP_CLOSED] = 1 },
    [HTTP_DROPPING] = { [HTTP_IDLE] = 1, [HTTP_ENDING] = 1,
                        [HTTP_CLOSED] = 1 },
    [HTTP_ENDING] = { [HTTP_LINGERING] = 1, [HTTP_CLOSED] = 1 },
    [HTTP_LINGERING] = { [HTTP_CLOSED] = 1 },
    [HTTP_GONE] = { [HTTP_CLOSED] = 1 },
};
/* clang-format on */

static void start_deadline(struct http_conn *conn)
{
    uint64_t timeout_ns = http_conn_timeout_ns(conn);

    if (timeout_ns > 0 || !http_conn_is_lent(conn))
        conn->since_ns = loop_now_ns(conn->loop);
    conn->unsent = conn->stream != NULL ? stream_unsent(conn->stream) : 0;
    if (timeout_ns > 0)
        deadline_start(conn->loop, &conn->deadline,
                       conn->since_ns + timeout_ns);
    else
        deadline_stop(conn->loop, &conn->deadline);
}

/* The only place where a connection changes state. */
static void set_state(struct http_conn *conn, enum http_state next)
{
    assert(allowed[conn->state][next]);
    conn->state = next;
    if (conn->server != NULL)
        http_room_line_up(conn);
    start_deadline(conn);
}

bool http_conn_is_lent(const struct http_conn *conn)
{
    return conn->state == HTTP_HANDLING || conn->state == HTTP_STREAMING;
}

void http_conn_last_call(struct http_conn *conn)
{
    assert(conn->state == HTTP_IDLE || conn->state == HTTP_GREETING);
    assert(conn->server->is_draining);
    start_deadline(conn);
}

/* ---- closing */

static void on_free(struct loop_job *job)
{
    struct http_conn *conn = container_of(job, struct http_conn, free_job);

    http_parse_free(&conn->parse);
    buf_free(&conn->nowhere);
    free(conn);
}

/* Nobody refers to it any more, but callbacks of it may be on the stack. */
static void end(struct http_conn *conn)
{
    set_state(conn, HTTP_CLOSED);
    loop_defer(conn->loop, LOOP_FLUSH, &conn->free_job);
}

void http_conn_close(struct http_conn *conn)
{
    struct http_server *server = conn->server;

    assert(conn->stream != NULL);
    http_room_leave(conn);
    stream_close(conn->stream);
    conn->stream = NULL;
    deadline_stop(conn->loop, &conn->body_deadline);
    loop_cancel(conn->loop, LOOP_RUN, &conn->advance_job);
    list_remove(&server->conns, &conn->node);
    server->stats.open--;
    if (http_conn_is_lent(conn)) {
        set_state(conn, HTTP_GONE);
        list_push_back(&server->gone, &conn->node);
    } else {
        end(conn);
    }
    http_server_left(server);
}

/* ---- the flow of bytes */

/* Holds the client up while more than enough of it is waiting.  That it has
 * left is not seen meanwhile. */
void http_conn_hold_back(struct http_conn *conn)
{
    bool is_waiting = http_conn_is_lent(conn) || conn->state == HTTP_SENDING;
    bool pauses = is_waiting && stream_in(conn->stream)->len > PENDING_MOST;

    if (pauses && !conn->is_paused)
        stream_pause(conn->stream);
    if (!pauses && conn->is_paused)
        stream_resume(conn->stream);
    conn->is_paused = pauses;
}

/* The last reply is out: the client is told that no other follows. */
static void begin_end(struct http_conn *conn)
{
    set_state(conn, HTTP_ENDING);
    http_conn_hold_back(conn); /* what still comes is read, to be dropped */
    if (conn->lingers)
        stream_shutdown(conn->stream);
    else
        stream_flush(conn->stream);
}

static void end_with_linger(struct http_conn *conn)
{
    conn->lingers = true;
    begin_end(conn);
}

/* ---- requests */

static void hand_out(struct http_conn *conn)
{
    struct http_server *server = conn->server;

    if (!http_room_count(conn)) {
        http_conn_refuse(conn, HTTP_REFUSED_MEMORY);
        return;
    }
    http_request_init(conn);
    set_state(conn, HTTP_HANDLING);
    server->stats.requests++;
    server->stats.in_flight++;
    server->on_request(server, &conn->request, server->ud);
}

/* The head is there, and a body follows: now, or when the handler reads it. */
static void begin_body(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    struct http_parse *parse = &conn->parse;
    struct http_body_rule rule = { .max_bytes = parse->limits->max_body_bytes };

    http_request_init(conn);
    if (server->body_rule != NULL)
        server->body_rule(server, &conn->request, &rule, server->ud);
    if (http_parse_accept(parse, rule.max_bytes) == HTTP_STAGE_REFUSED) {
        http_conn_refuse(conn, parse->refusal);
        return;
    }
    if (stream_in(conn->stream)->len > 0)
        parse->expects_continue = false; /* it did not wait for it */
    if (rule.is_streamed) {
        hand_out(conn);
        return;
    }
    set_state(conn, HTTP_BODY);
    if (parse->expects_continue)
        http_conn_continue(conn);
}

/* The reply is out, and not all of the body was read. */
static bool drop_body(struct http_conn *conn, struct buf *in)
{
    if (!http_request_drop(conn, in)) {
        buf_consume(in, in->len);
        end_with_linger(conn);
        return true;
    }
    if (conn->parse.stage != HTTP_STAGE_WHOLE)
        return false;
    http_request_deinit(conn);
    if (conn->state == HTTP_DROPPING && conn->server->is_ending)
        end_with_linger(conn);
    else if (conn->state == HTTP_DROPPING)
        set_state(conn, HTTP_IDLE);
    return true;
}

/* Reads as far as one request; false when more bytes are needed for that. */
static bool read_request(struct http_conn *conn, struct buf *in)
{
    if (conn->drops)
        return drop_body(conn, in);
    switch (http_parse_run(&conn->parse, in)) {
    case HTTP_STAGE_HEAD:
        /* Empty lines between requests begin none. */
        if (conn->state != HTTP_HEAD && in->len > 0)
            set_state(conn, HTTP_HEAD);
        return false;
    case HTTP_STAGE_DUE: begin_body(conn); return true;
    case HTTP_STAGE_BODY: return false;
    case HTTP_STAGE_WHOLE: hand_out(conn); return true;
    case HTTP_STAGE_REFUSED:
        http_conn_refuse(conn, conn->parse.refusal);
        return true;
    }
    return false;
}

static bool can_read(const struct http_conn *conn)
{
    switch (conn->state) {
    case HTTP_IDLE:
    case HTTP_HEAD:
    case HTTP_BODY:
    case HTTP_DROPPING: return stream_in(conn->stream)->len > 0;
    case HTTP_SENDING:
        /* Whoever still sends a body may read the reply only afterwards. */
        return stream_in(conn->stream)->len > 0 &&
               (conn->drops || stream_unsent(conn->stream) <= UNSENT_MOST);
    default: return false;
    }
}

/* Hands out what was read, one request after the reply to the one before. */
static void advance(struct http_conn *conn)
{
    if (conn->is_advancing)
        return; /* a handler replied at once: the loop below goes on */
    conn->is_advancing = true;
    while (can_read(conn) && read_request(conn, stream_in(conn->stream)))
        continue;
    conn->is_advancing = false;
    if (conn->stream != NULL)
        http_conn_hold_back(conn);
}

static void on_advance(struct loop_job *job)
{
    advance(container_of(job, struct http_conn, advance_job));
}

/* ---- replies */

/* The client has left, and so may have the server. */
static void release(struct http_conn *conn)
{
    struct http_server *server = conn->server;

    end(conn);
    if (server == NULL)
        return;
    server->stats.in_flight--;
    list_remove(&server->gone, &conn->node);
    http_server_left(server);
}

void http_conn_streams(struct http_conn *conn)
{
    if (conn->state == HTTP_HANDLING)
        set_state(conn, HTTP_STREAMING);
    else if (!deadline_is_armed(&conn->deadline))
        start_deadline(conn);
    (void)http_room_count(conn);
    stream_flush(conn->stream);
}

void http_conn_replied(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    bool keeps_alive;

    http_access_tell(conn);
    if (conn->state == HTTP_GONE) {
        release(conn);
        return;
    }
    server->stats.in_flight--;
    conn->is_known = true;
    http_request_settle(conn);
    keeps_alive = conn->parse.keeps_alive;
    conn->lingers =
        keeps_alive || conn->drops || stream_in(conn->stream)->len > 0;
    if (!conn->drops || !keeps_alive || server->is_ending)
        http_request_deinit(conn);
    if (!keeps_alive || server->is_ending) {
        begin_end(conn);
        (void)http_room_count(conn);
        return;
    }
    set_state(conn, HTTP_SENDING);
    (void)http_room_count(conn);
    stream_flush(conn->stream);
    if (!conn->is_advancing && (can_read(conn) || conn->is_paused))
        loop_defer(conn->loop, LOOP_RUN, &conn->advance_job);
}

void http_conn_refuse(struct http_conn *conn, enum http_refusal refusal)
{
    struct buf *in = stream_in(conn->stream);
    int status = http_refusal_status(refusal);

    conn->server->stats.refusals[refusal]++;
    if (status < 500)
        conn->server->stats.bad_requests++;
    buf_consume(in, in->len);
    http_reply_refusal(conn, status);
    http_access_tell_refusal(conn, status);
    end_with_linger(conn);
}

/* ---- what the stream tells */

/* The TLS handshake is done. */
static void on_open(struct stream *stream, void *ud)
{
    (void)stream;
    set_state(ud, HTTP_IDLE);
}

static void fail_greeting(struct http_conn *conn, const char *why)
{
    struct http_stats *stats = &conn->server->stats;

    stats->tls_failures++;
    err_text_set(&stats->tls_failure, "%s", why);
    http_conn_close(conn);
}

static void on_data(struct stream *stream, void *ud)
{
    struct http_conn *conn = ud;
    struct buf *in = stream_in(stream);

    if (conn->state == HTTP_ENDING || conn->state == HTTP_LINGERING)
        buf_consume(in, in->len);
    else
        advance(conn);
    if (http_conn_is_lent(conn))
        http_request_arrived(conn);
    if (conn->stream != NULL && !http_room_count(conn) &&
        conn->state == HTTP_BODY)
        http_conn_refuse(conn, HTTP_REFUSED_MEMORY);
}

static void on_drained(struct stream *stream, void *ud)
{
    struct http_conn *conn = ud;

    (void)http_room_count(conn);
    if (conn->state == HTTP_ENDING) {
        if (conn->lingers && !conn->has_ended)
            set_state(conn, HTTP_LINGERING);
        else
            http_conn_close(conn);
    } else if (conn->state == HTTP_STREAMING) {
        start_deadline(conn);
        if (conn->request.on_drained != NULL)
            conn->request.on_drained(&conn->request);
    } else if (conn->state == HTTP_SENDING && conn->drops) {
        set_state(conn, HTTP_DROPPING);
    } else if (conn->state == HTTP_SENDING) {
        set_state(conn, HTTP_IDLE);
        if (stream_in(stream)->len > 0)
            loop_defer(conn->loop, LOOP_RUN, &conn->advance_job);
    }
}

/* Before the reply was whole. */
static void lose_client(struct http_conn *conn)
{
    struct http_request *request = &conn->request;

    conn->server->stats.gone++;
    http_conn_close(conn);
    if (request->on_gone != NULL)
        request->on_gone(request);
}

static void on_end(struct stream *stream, const struct err_text *text, void *ud)
{
    struct http_conn *conn = ud;
    bool is_half = text->text[0] == '\0' && stream_unsent(stream) > 0;

    conn->has_ended = true;
    if (conn->state == HTTP_GREETING) {
        fail_greeting(conn, text->text);
    } else if (http_conn_is_lent(conn)) {
        lose_client(conn);
    } else if (is_half && conn->state == HTTP_SENDING) {
        begin_end(conn); /* it may still read what it asked for */
    } else if (!is_half || conn->state != HTTP_ENDING) {
        http_conn_close(conn);
    }
}

static const struct stream_events events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
    .on_drained = on_drained,
};

/* ---- times */

/* A client that takes some of the reply each time is slow, not stuck. */
static void judge_sending(struct http_conn *conn)
{
    uint64_t since_ns = conn->since_ns;

    if (stream_unsent(conn->stream) < conn->unsent) {
        start_deadline(conn);
        conn->since_ns = since_ns;
        return;
    }
    conn->server->stats.write_timeouts++;
    if (http_conn_is_lent(conn))
        lose_client(conn);
    else
        http_conn_close(conn);
}

static void on_deadline(struct deadline *deadline)
{
    struct http_conn *conn = container_of(deadline, struct http_conn, deadline);
    struct http_stats *stats = &conn->server->stats;

    switch (conn->state) {
    case HTTP_GREETING: fail_greeting(conn, "no handshake in time"); break;
    case HTTP_IDLE:
        stats->idle_closes++;
        http_conn_close(conn);
        break;
    case HTTP_HEAD:
        stats->header_timeouts++;
        http_conn_refuse(conn, HTTP_REFUSED_HEAD_TIME);
        break;
    case HTTP_BODY:
        stats->body_timeouts++;
        http_conn_refuse(conn, HTTP_REFUSED_BODY_TIME);
        break;
    case HTTP_DROPPING: end_with_linger(conn); break;
    case HTTP_STREAMING:
    case HTTP_SENDING:
    case HTTP_ENDING: judge_sending(conn); break;
    case HTTP_LINGERING: http_conn_close(conn); break;
    default: assert(false); /* the others have no deadline */
    }
}

void http_conn_open(struct http_server *server, struct stream *stream)
{
    struct http_conn *conn = calloc(1, sizeof(*conn));
    enum err err = conn != NULL ? ERR_OK : ERR_NOMEM;

    if (err == ERR_OK && server->tls != NULL)
        err = stream_start_tls(stream, server->tls, NULL);
    if (err != ERR_OK) {
        free(conn);
        stream_close(stream);
        return;
    }
    conn->loop = server->loop;
    conn->server = server;
    conn->stream = stream;
    conn->state = server->tls != NULL ? HTTP_GREETING : HTTP_IDLE;
    conn->deadline.fn = on_deadline;
    conn->advance_job.fn = on_advance;
    conn->free_job.fn = on_free;
    http_parse_init(&conn->parse, &server->limits);
    stream_set_events(stream, &events, conn);
    list_push_back(&server->conns, &conn->node);
    server->stats.open++;
    http_room_line_up(conn);
    start_deadline(conn);
}
