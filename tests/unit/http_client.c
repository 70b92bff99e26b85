/* http_client.c - see http_client.h. */
#include "http_client.h"
#include "http/limits.h"
#include "http/reply.h"
#include "http/request.h"
#include "http/server.h"
#include "net/stream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the server's side */

static void on_gone(struct http_request *request)
{
    struct rig *rig = request->ud;

    rig->gone++;
}

static void echo(struct http_request *request)
{
    struct http_reply reply = { .status = 200 };
    struct buf body = { 0 };

    buf_put(&body, request->method.bytes, request->method.len);
    buf_put_char(&body, ' ');
    buf_put(&body, request->target.bytes, request->target.len);
    if (request->body.len > 0)
        buf_put_char(&body, ':');
    buf_put(&body, request->body.bytes, request->body.len);
    reply.body = (struct http_text){ body.data, body.len };
    http_reply(request, &reply);
    buf_free(&body);
}

static void on_request(struct http_server *server, struct http_request *request,
                       void *ud)
{
    struct rig *rig = ud;

    assert_ptr_equal(server, rig->server);
    request->ud = rig;
    if (rig->on_request != NULL) {
        rig->on_request(rig, request);
    } else if (request->path.len >= 5 &&
               memcmp(request->path.bytes, "/hold", 5) == 0) {
        assert_in_range(rig->n_held, 0, HELD_MAX - 1);
        request->on_gone = on_gone;
        rig->held[rig->n_held++] = request;
    } else {
        echo(request);
    }
}

void rig_init(struct rig *rig)
{
    *rig = (struct rig){ .loop = make_loop() };
    http_limits_init(&rig->limits);
}

static void open_at(struct rig *rig, const char *address)
{
    struct err_text why;

    assert_ok(http_server_open(&rig->server, rig->loop, address, &rig->limits,
                               on_request, rig, &why));
}

void rig_open(struct rig *rig)
{
    open_at(rig, "127.0.0.1:0");
}

void rig_open_unix(struct rig *rig)
{
    char address[80];

    make_dir(rig->dir);
    snprintf(address, sizeof(address), "unix:%s/http", rig->dir);
    open_at(rig, address);
}

void rig_close(struct rig *rig)
{
    if (rig->server != NULL) {
        wait_for(rig->loop, http_server_stats(rig->server)->open == 0);
        assert_int_equal(http_server_stats(rig->server)->in_flight, 0);
        assert_int_equal(http_server_stats(rig->server)->buffered, 0);
    }
    http_server_close(rig->server);
    drop_loop(rig->loop);
    if (rig->dir[0] != '\0')
        drop_dir(rig->dir);
}

void rig_reply(struct rig *rig, unsigned index, const char *body)
{
    struct http_reply reply = { .status = 200, .body = { body, strlen(body) } };

    assert_in_range(index, 0, rig->n_held - 1);
    assert_non_null(rig->held[index]);
    http_reply(rig->held[index], &reply);
    rig->held[index] = NULL;
}

void rig_on_drained(void *ud)
{
    struct rig *rig = ud;

    assert_false(rig->drained);
    rig->drained = true;
}

/* ---- the client's side */

static void on_data(struct stream *stream, void *ud)
{
    struct client *client = ud;
    struct buf *in = stream_in(stream);

    buf_put(&client->got, in->data, in->len);
    buf_consume(in, in->len);
}

static void on_end(struct stream *stream, const struct err_text *text, void *ud)
{
    struct client *client = ud;

    (void)stream;
    (void)text;
    client->has_ended = true;
}

static const struct stream_events events = {
    .on_data = on_data,
    .on_end = on_end,
};

void client_open(struct client *client, struct rig *rig)
{
    const char *address = http_server_address(rig->server);
    struct sockaddr_in in = { .sin_family = AF_INET };

    *client = (struct client){ .rig = rig };
    if (rig->dir[0] != '\0') {
        assert_ok(stream_connect_unix(&client->stream, rig->loop,
                                      address + strlen("unix:"), &events,
                                      client));
        return;
    }
    in.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_ok(stream_connect(&client->stream, rig->loop, (struct sockaddr *)&in,
                             &events, client));
}

void client_close(struct client *client)
{
    stream_close(client->stream);
    client->stream = NULL;
    buf_free(&client->got);
}

void client_send_bytes(struct client *client, const void *bytes, size_t len)
{
    buf_put(stream_out(client->stream), bytes, len);
    stream_flush(client->stream);
}

void client_send(struct client *client, const char *text)
{
    client_send_bytes(client, text, strlen(text));
}

/* Copies what fits. */
static void copy(char *to, size_t room, const char *from, size_t len)
{
    size_t size = len < room - 1 ? len : room - 1;

    memcpy(to, from, size);
    to[size] = '\0';
}

bool client_read(struct client *client, bool is_head, struct answer *answer)
{
    struct buf *got = &client->got;
    char *end =
        got->len > 0 ? memmem(got->data, got->len, "\r\n\r\n", 4) : NULL;
    const char *length;
    size_t head_len;

    if (end == NULL)
        return false;
    memset(answer, 0, sizeof(*answer));
    head_len = (size_t)(end - got->data) + 4;
    copy(answer->head, sizeof(answer->head), got->data, head_len - 2);
    assert_int_equal(sscanf(answer->head, "HTTP/1.1 %d ", &answer->status), 1);
    length = strstr(answer->head, "\r\nContent-Length: ");
    if (length != NULL && !is_head)
        answer->body_len = strtoul(length + 18, NULL, 10);
    if (got->len < head_len + answer->body_len)
        return false;
    copy(answer->body, sizeof(answer->body), got->data + head_len,
         answer->body_len);
    buf_consume(got, head_len + answer->body_len);
    return true;
}

struct answer client_wait(struct client *client)
{
    struct answer answer;

    wait_for(client->rig->loop, client_read(client, false, &answer));
    return answer;
}

struct answer client_ask(struct client *client, const char *text)
{
    client_send(client, text);
    return client_wait(client);
}

void client_wait_end(struct client *client)
{
    wait_for(client->rig->loop, client->has_ended);
    assert_int_equal(client->got.len, 0);
}
