/* front.c - see front.h. */
#include "front.h"

#include "parse.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    CONNS_MAX = 10000,
    BACKLOG = 512,
    IN_BYTES = 8192,  /* of next requests, while one is answered */
    QUIET_MS = 30000, /* without a whole request, or a read of ours: closed */
    LINGER_MS = 2000, /* for the client to close, after the last answer */
    ANSWER_MS = 5000, /* for the script, whose own deadlines are shorter */
    FRAMING_BYTES = 128, /* of a status line's version and our headers */
    DIGEST_BYTES = 32,
    QUESTION_BYTES = TARGET_BYTES + 256,
};

enum conn_state {
    CONN_READING,
    CONN_ASKING,
    CONN_WRITING,
    CONN_LINGERING, /* the last answer is sent, and the client is to close */
    CONN_CLOSING,
};

/* Freed when nothing refers to it: its two handles do, each until it is closed,
 * and its call, until free_ud. */
struct conn {
    struct front *front;
    struct conn *next, **link;
    enum conn_state state;
    int refs;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    uv_shutdown_t shutdown;
    char *out;     /* what is written; NULL when nothing is */
    bool is_last;  /* no more requests after this answer */
    uint64_t call; /* while ASKING */
    char address[INET6_ADDRSTRLEN];
    struct parse parse;
    char in[IN_BYTES];
    size_t in_len;
};

/* ---- the life of a connection */

static void let_go(void *ud)
{
    struct conn *conn = ud;

    if (--conn->refs > 0)
        return;
    free(conn->out);
    free(conn);
}

static void on_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

static void close_conn(struct conn *conn)
{
    if (conn->state == CONN_CLOSING)
        return;
    if (conn->state == CONN_ASKING) /* nobody is there for its answer */
        (void)tide_cancel(conn->front->runtime, conn->call);
    conn->state = CONN_CLOSING;
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
    conn->front->n_conns--;
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
    uv_close((uv_handle_t *)&conn->timer, on_closed);
}

static void on_quiet(uv_timer_t *timer)
{
    close_conn(timer->data);
}

/* ---- answers */

static void on_written(uv_write_t *write, int status);

/* head: a status line without its version, and headers; each line ends in CRLF,
 * and no empty line follows. */
static void answer(struct conn *conn, const char *head, size_t head_len,
                   const char *body, size_t body_len)
{
    bool is_head = conn->parse.is_done && !strcmp(conn->parse.method, "HEAD");
    size_t sent_len = is_head ? 0 : body_len;
    uv_buf_t buf;
    int len;

    conn->is_last = !conn->parse.keep_alive || conn->front->is_ending;
    conn->state = CONN_WRITING;
    conn->out = malloc(FRAMING_BYTES + head_len + sent_len);
    if (conn->out == NULL) {
        close_conn(conn);
        return;
    }
    len = sprintf(
        conn->out, "HTTP/1.1 %.*scontent-length: %zu\r\nconnection: %s\r\n\r\n",
        (int)head_len, head, body_len, conn->is_last ? "close" : "keep-alive");
    memcpy(conn->out + len, body, sent_len);
    buf = uv_buf_init(conn->out, (unsigned)((size_t)len + sent_len));
    uv_timer_start(&conn->timer, on_quiet, QUIET_MS, 0);
    if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &buf, 1,
                 on_written) != 0)
        close_conn(conn);
}

static const char *status_text(int status)
{
    switch (status) {
    case 400: return "400 Bad Request\r\n";
    case 413: return "413 Content Too Large\r\n";
    case 414: return "414 URI Too Long\r\n";
    case 431: return "431 Request Header Fields Too Large\r\n";
    case 503: return "503 Service Unavailable\r\nretry-after: 1\r\n";
    case 504: return "504 Gateway Timeout\r\nretry-after: 1\r\n";
    default: return "500 Internal Server Error\r\n";
    }
}

static void answer_status(struct conn *conn, int status, const char *reason)
{
    const char *text = status_text(status);
    char head[FRAMING_BYTES], body[FRAMING_BYTES];
    int head_len, body_len;

    head_len = snprintf(head, sizeof(head),
                        "%scontent-type: application/json\r\n", text);
    body_len = snprintf(body, sizeof(body), "{\"reason\":\"%s\"}\n", reason);
    answer(conn, head, (size_t)head_len, body, (size_t)body_len);
}

/* The script gave no answer. */
static void answer_failure(struct conn *conn, int code)
{
    int status =
        code == TIDE_TIMEOUT ? 504
        : code == TIDE_BUSY || code == TIDE_CLOSED || code == TIDE_CANCELLED
            ? 503
            : 500;

    answer_status(conn, status, tide_error_text(code));
}

static void on_reply(void *ud, const tide_reply *reply)
{
    struct conn *conn = ud;
    const char *end;

    if (conn->state != CONN_ASKING)
        return;
    if (reply->code != TIDE_OK) {
        answer_failure(conn, reply->code);
        return;
    }
    end = memmem(reply->payload, reply->len, "\r\n\r\n", 4);
    if (end != NULL) {
        const char *head = reply->payload, *body = end + 4;

        answer(conn, head, (size_t)(end + 2 - head), body,
               (size_t)(head + reply->len - body));
    } else {
        answer_failure(conn, TIDE_SCRIPT);
    }
}

/* ---- requests */

/* The SHA-256 of a bearer token, "-" without one. */
static void digest_token(char text[2 * DIGEST_BYTES + 1], const char *login)
{
    unsigned char digest[DIGEST_BYTES];
    const char *token = login + strlen("Bearer ");

    strcpy(text, "-");
    if (strncasecmp(login, "Bearer ", strlen("Bearer ")) != 0 ||
        EVP_Digest(token, strlen(token), digest, NULL, EVP_sha256(), NULL) != 1)
        return;
    for (int i = 0; i < DIGEST_BYTES; i++)
        sprintf(text + 2 * i, "%02x", digest[i]);
}

static void ask(struct conn *conn)
{
    char digest[2 * DIGEST_BYTES + 1], question[QUESTION_BYTES];
    tide_request request;
    int code, len;

    digest_token(digest, conn->parse.authorization);
    len =
        snprintf(question, sizeof(question), "%s %s %s %s", conn->parse.method,
                 conn->parse.target, digest, conn->address);
    tide_request_init(&request);
    request.name = "request";
    request.payload = question;
    request.len = (size_t)len;
    request.timeout_ms = ANSWER_MS;
    request.ud = conn;
    request.free_ud = let_go;
    conn->refs++;
    conn->state = CONN_ASKING;
    uv_timer_stop(&conn->timer);
    code = tide_call(conn->front->runtime, &request, on_reply, &conn->call);
    if (code == TIDE_OK)
        return;
    conn->refs--;
    answer_failure(conn, code);
}

static void take_bytes(struct conn *conn)
{
    size_t taken;

    if (conn->state != CONN_READING || conn->in_len == 0)
        return;
    taken = parse_take(&conn->parse, conn->in, conn->in_len);
    conn->in_len -= taken;
    memmove(conn->in, conn->in + taken, conn->in_len);
    if (conn->parse.is_done)
        ask(conn);
    else if (conn->parse.refusal != 0)
        answer_status(conn, conn->parse.refusal, "the request is refused");
}

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    struct conn *conn = handle->data;

    (void)wanted;
    *buf = uv_buf_init(conn->in + conn->in_len,
                       (unsigned)(IN_BYTES - conn->in_len));
}

/* Who ends his half has gone: what he asked is cancelled. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;

    (void)buf;
    if (n < 0) {
        close_conn(conn);
        return;
    }
    if (conn->state == CONN_LINGERING)
        return;
    conn->in_len += (size_t)n;
    take_bytes(conn);
    if (conn->in_len == IN_BYTES)
        uv_read_stop(stream);
}

static void begin_request(struct conn *conn)
{
    conn->state = CONN_READING;
    parse_init(&conn->parse);
    uv_timer_start(&conn->timer, on_quiet, QUIET_MS, 0);
    take_bytes(conn); /* of who did not wait for the answer before */
    (void)uv_read_start((uv_stream_t *)&conn->tcp, on_room, on_read);
}

/* Ends our half and drops what comes: closing at once, with bytes unread, would
 * reset the connection, and the answer might be lost with it. */
static void linger(struct conn *conn)
{
    conn->state = CONN_LINGERING;
    conn->in_len = 0;
    uv_timer_start(&conn->timer, on_quiet, LINGER_MS, 0);
    if (uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, NULL) != 0)
        close_conn(conn);
    else
        (void)uv_read_start((uv_stream_t *)&conn->tcp, on_room, on_read);
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *conn = write->data;

    if (conn->state == CONN_CLOSING)
        return;
    free(conn->out);
    conn->out = NULL;
    if (status < 0)
        close_conn(conn);
    else if (conn->is_last)
        linger(conn);
    else
        begin_request(conn);
}

/* ---- connections that come */

static struct conn *new_conn(struct front *front)
{
    struct conn *conn = calloc(1, sizeof(*conn));

    if (conn == NULL)
        return NULL;
    conn->front = front;
    conn->refs = 2;
    conn->tcp.data = conn->timer.data = conn->write.data = conn;
    uv_tcp_init(front->loop, &conn->tcp);
    uv_timer_init(front->loop, &conn->timer);
    conn->next = front->conns;
    conn->link = &front->conns;
    if (conn->next != NULL)
        conn->next->link = &conn->next;
    front->conns = conn;
    front->n_conns++;
    return conn;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct front *front = listener->data;
    struct sockaddr_storage peer;
    struct conn *conn;
    int len = sizeof(peer);

    if (status < 0 || (conn = new_conn(front)) == NULL)
        return;
    if (uv_accept(listener, (uv_stream_t *)&conn->tcp) != 0 ||
        front->n_conns > CONNS_MAX ||
        uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&peer, &len) != 0 ||
        uv_ip_name((struct sockaddr *)&peer, conn->address,
                   sizeof(conn->address)) != 0) {
        close_conn(conn);
        return;
    }
    uv_tcp_nodelay(&conn->tcp, 1);
    begin_request(conn);
}

int front_listen(struct front *front, uv_loop_t *loop, tide_runtime *runtime,
                 const char *host, int port)
{
    struct sockaddr_storage address;
    int error = uv_ip4_addr(host, port, (struct sockaddr_in *)&address);

    if (error != 0)
        error = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address);
    if (error != 0)
        return error;
    *front = (struct front){ .loop = loop, .runtime = runtime };
    uv_tcp_init(loop, &front->listener);
    front->listener.data = front;
    error = uv_tcp_bind(&front->listener, (struct sockaddr *)&address, 0);
    if (error == 0)
        error =
            uv_listen((uv_stream_t *)&front->listener, BACKLOG, on_connection);
    if (error != 0)
        uv_close((uv_handle_t *)&front->listener, NULL);
    return error;
}

int front_port(const struct front *front)
{
    struct sockaddr_storage address;
    int len = sizeof(address);

    if (uv_tcp_getsockname(&front->listener, (struct sockaddr *)&address,
                           &len) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* ---- the end */

void front_stop(struct front *front)
{
    front->is_ending = true;
    uv_close((uv_handle_t *)&front->listener, NULL);
    for (struct conn *conn = front->conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->state == CONN_READING && !conn->parse.is_begun)
            close_conn(conn);
    }
}

static void on_late(uv_timer_t *timer)
{
    struct front *front = timer->data;

    while (front->conns != NULL)
        close_conn(front->conns);
}

void front_end(struct front *front, uint64_t timeout_ms)
{
    uv_timer_t timer;

    uv_timer_init(front->loop, &timer);
    timer.data = front;
    uv_timer_start(&timer, on_late, timeout_ms, 0);
    while (front->n_conns > 0)
        uv_run(front->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(front->loop, UV_RUN_NOWAIT); /* closes it */
}
