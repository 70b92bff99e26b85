/* stream_line.c - see stream_line.h. */
#include "stream_line.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static void close_if(struct end *end, enum event event)
{
    if (end->closes_on != event)
        return;
    stream_close(end->stream);
    end->stream = NULL;
}

static void on_open(struct stream *stream, void *ud)
{
    struct end *end = ud;

    assert_ptr_equal(stream, end->stream);
    end->opens++;
    close_if(end, ON_OPEN);
}

static void on_data(struct stream *stream, void *ud)
{
    struct end *end = ud;
    struct buf *in = stream_in(stream);

    end->data_calls++;
    for (size_t i = 0; end->does_consume && i < in->len; i++) {
        if ((unsigned char)in->data[i] != (end->got + i) % 256)
            end->is_in_order = false;
    }
    if (end->does_consume) {
        end->got += in->len;
        buf_consume(in, in->len);
    }
    close_if(end, ON_DATA);
}

static void on_end(struct stream *stream, const struct err_text *text, void *ud)
{
    struct end *end = ud;

    (void)stream;
    end->ends++;
    end->text = *text;
    close_if(end, ON_END);
}

static void on_drained(struct stream *stream, void *ud)
{
    struct end *end = ud;

    (void)stream;
    end->drains++;
    close_if(end, ON_DRAINED);
}

const struct stream_events line_events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
    .on_drained = on_drained,
};

static void on_accept(struct listener *listener, struct stream *stream,
                      void *ud)
{
    struct line *line = ud;

    assert_ptr_equal(listener, line->listener);
    line->accepts++;
    line->server.stream = stream;
    if (line->server_tls != NULL)
        assert_ok(stream_start_tls(stream, line->server_tls, NULL));
    stream_set_events(stream, &line_events, &line->server);
}

void line_dial_tcp(struct line *line)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct err_text why;
    const char *port;

    assert_ok(listener_open(&line->listener, line->loop, "127.0.0.1:0",
                            on_accept, line, &why));
    port = strrchr(listener_address(line->listener), ':') + 1;
    address.sin_port = htons((uint16_t)atoi(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_ok(stream_connect(&line->client.stream, line->loop,
                             (struct sockaddr *)&address, &line_events,
                             &line->client));
    if (line->client_tls != NULL)
        assert_ok(stream_start_tls(line->client.stream, line->client_tls,
                                   line->host));
}

void line_dial_unix(struct line *line)
{
    char path[80], address[88];
    struct err_text why;

    make_dir(line->dir);
    snprintf(path, sizeof(path), "%s/socket", line->dir);
    snprintf(address, sizeof(address), "unix:%s", path);
    assert_ok(listener_open(&line->listener, line->loop, address, on_accept,
                            line, &why));
    assert_ok(stream_connect_unix(&line->client.stream, line->loop, path,
                                  &line_events, &line->client));
}

void line_open(struct line *line, void (*dial)(struct line *line))
{
    *line = (struct line){ .loop = make_loop() };
    line->client.is_in_order = true;
    line->server.is_in_order = true;
    dial(line);
    assert_int_equal(line->client.opens, 0);
    wait_for(line->loop, line->accepts == 1 && line->client.opens == 1);
}

void line_close(struct line *line)
{
    stream_close(line->client.stream);
    stream_close(line->server.stream);
    listener_close(line->listener);
    drop_loop(line->loop);
    if (line->dir[0] != '\0')
        drop_dir(line->dir);
}

void line_say(struct end *end, const char *text)
{
    buf_put_str(stream_out(end->stream), text);
    stream_flush(end->stream);
}

void line_say_many(struct end *end, size_t size)
{
    struct buf *out = stream_out(end->stream);

    assert_ok(buf_reserve(out, size));
    for (size_t i = 0; i < size; i++)
        out->data[out->len + i] = (char)(i % 256);
    buf_added(out, size);
    stream_flush(end->stream);
}

bool line_has(const struct end *end, size_t len)
{
    return stream_in(end->stream)->len == len;
}
