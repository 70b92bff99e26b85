/*
 * fuzz_http_serve.c - a server with handlers of every kind, and a client that
 * sends anything over a socket and then ends its side.  The server answers in
 * whole replies, ends the connection, and holds nothing afterwards.
 *
 * Input: a byte, the size of the pieces in units of 8; the rest is what the
 * client sends.  The first letter of a path says how it is handled, see below.
 */
#include "fuzz.h"

#include "http/reply.h"
#include "http/request.h"
#include "http/server.h"
#include "http/strict.h"
#include "http_client.h"
#include "net/stream.h"

static struct rig rig;

/* ---- handlers */

static void reply_at_once(struct http_request *request)
{
    const struct http_header header = { { "x-path", 6 }, request->path };
    struct http_reply reply = { .status = 200,
                                .headers = &header,
                                .n_headers = http_header_is_valid(&header),
                                .body = request->body };

    http_reply(request, &reply);
}

static void reply_in_two(struct http_request *request)
{
    const struct http_reply reply = { .status = 201 };
    struct buf *out;
    struct http_text query = request->query;

    out = http_reply_begin(request, &reply);
    buf_put(out, query.bytes, query.len);
    http_reply_end(request);
}

static void reply_by_pieces(struct http_request *request, enum http_end end)
{
    const struct http_reply reply = { .status = 200 };

    http_reply_open(request, &reply);
    http_reply_put(request, "piece", 5);
    http_reply_put(request, "", 0);
    http_reply_put(request, request->method.bytes, request->method.len);
    http_reply_close(request, end);
}

/* Until its end, or until there must be waited. */
static void read_body(struct http_request *request)
{
    struct http_reply reply = { .status = 200 };
    struct http_text piece = { 0 };
    enum http_read read;

    do
        read = http_request_read(request, 7, &piece);
    while (read == HTTP_READ_PIECE);
    if (read == HTTP_READ_WAIT)
        return;
    if (read == HTTP_READ_REFUSED) {
        reply.status = http_request_refusal(request);
        FUZZ_CHECK(reply.status >= 400);
    }
    http_reply(request, &reply);
}

static void on_request(struct rig *of, struct http_request *request)
{
    char how = request->path.len > 1 ? request->path.bytes[1] : '\0';
    const struct http_text *host = http_request_header(request, "host");

    (void)of;
    FUZZ_CHECK(host == NULL || host->len < 10000);
    switch (how) {
    case 't': reply_in_two(request); return;
    case 'p': reply_by_pieces(request, HTTP_END_WHOLE); return;
    case 'c': reply_by_pieces(request, HTTP_END_CUT); return;
    case 'r':
        request->on_body = read_body;
        request->on_gone = read_body;
        read_body(request);
        return;
    default: reply_at_once(request); return;
    }
}

/* 'd' drops the body, of which it reads nothing. */
static void rule(struct http_server *server, struct http_request *request,
                 struct http_body_rule *body, void *ud)
{
    char how = request->path.len > 1 ? request->path.bytes[1] : '\0';

    (void)server;
    (void)ud;
    body->is_streamed = how == 'r' || how == 'd';
    body->max_bytes = how == 's' ? 3 : 1000;
}

static void start(void)
{
    if (rig.loop != NULL)
        return;
    rig_init(&rig);
    rig.on_request = on_request;
    rig.limits.max_header_bytes = 2000;
    rig.limits.max_headers = 12;
    rig_open_unix(&rig);
    http_server_set_body_rule(rig.server, rule);
}

/* Not left behind: removed by its name alone, as the fuzzer may end anywhere.
 */
static void drop_socket(void)
{
    if (rig.dir[0] != '\0')
        drop_dir(rig.dir);
    rig.dir[0] = '\0';
}

FUZZ_TARGET(http_serve)
{
    struct fuzz_input input = { bytes, size };
    size_t piece = (fuzz_byte(&input) % 64 + 1U) * 8U;
    struct client client;

    if (rig.loop == NULL) {
        start();
        atexit(drop_socket);
    }
    client_open(&client, &rig);
    while (input.left > 0) {
        size_t len = piece < input.left ? piece : input.left;

        client_send_bytes(&client, input.at, len);
        input.at += len;
        input.left -= len;
        loop_turn(rig.loop, 0);
    }
    stream_shutdown(client.stream);
    wait_for(rig.loop, client.has_ended);
    FUZZ_CHECK(client.got.len == 0 ||
               memcmp(client.got.data, "HTTP/1.1 ",
                      client.got.len < 9 ? client.got.len : 9) == 0);
    client_close(&client);
    wait_for(rig.loop, http_server_stats(rig.server)->open == 0);
    FUZZ_CHECK(http_server_stats(rig.server)->in_flight == 0);
    FUZZ_CHECK(http_server_stats(rig.server)->buffered == 0);
    return 0;
}
