/* redis_peer.c - see redis_peer.h. */
#include "redis_peer.h"

#include "pool/status.h"
#include "redis/redis.h"
#include "redis/reply.h"
#include "turns.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

enum { WORDS_MAX = 16 };

/* ---- the peer */

static void answer(struct peer_conn *conn, const redisReply *command)
{
    const char *last = command->element[command->elements - 1]->str;
    char bytes[ERR_TEXT_MAX];

    snprintf(bytes, sizeof(bytes), "$%zu\r\n%s\r\n", strlen(last), last);
    buf_put_str(stream_out(conn->stream), bytes);
    stream_flush(conn->stream);
}

/* Writes down "GET a;", as long as there is room. */
static void note(char *out, size_t size, const redisReply *command)
{
    size_t len = strlen(out);

    for (size_t i = 0; i < command->elements; i++)
        len += (size_t)snprintf(out + len, size - len, "%.20s%c",
                                command->element[i]->str,
                                i + 1 < command->elements ? ' ' : ';');
    assert_in_range(len, 0, size - 64);
}

static void hear(struct peer_conn *conn, const redisReply *command)
{
    struct peer *peer = conn->peer;
    const char *name = command->element[0]->str;
    const char *reply;

    if (strcmp(name, "AUTH") == 0) {
        reply = peer->auth;
    } else if (strcmp(name, "SELECT") == 0) {
        reply = peer->select;
    } else if (strcmp(name, "PING") == 0) {
        reply = peer->ping;
    } else if (strcmp(name, "HELLO") == 0 && peer->hello != NULL) {
        reply = peer->hello;
    } else if (strcmp(name, "CLIENT") == 0 && peer->setname != NULL) {
        reply = peer->setname;
    } else {
        note(conn->heard, sizeof(conn->heard), command);
        conn->n_commands++;
        if (peer->does_echo)
            answer(conn, command);
        return;
    }
    note(conn->greeting, sizeof(conn->greeting), command);
    if (reply != NULL)
        peer_say(peer, (unsigned)(conn - peer->conns), reply);
}

static void on_data(struct stream *stream, void *ud)
{
    struct peer_conn *conn = ud;
    unsigned before = conn->n_commands;
    struct buf *in = stream_in(stream);
    void *command;

    redisReaderFeed(conn->reader, in->data, in->len);
    buf_consume(in, in->len);
    while (conn->stream != NULL) {
        assert_int_equal(redisReaderGetReply(conn->reader, &command), REDIS_OK);
        if (command == NULL)
            break;
        hear(conn, command);
        freeReplyObject(command);
    }
    conn->reads += conn->n_commands > before;
}

static void on_end(struct stream *stream, const struct err_text *text, void *ud)
{
    struct peer_conn *conn = ud;

    (void)text;
    stream_close(stream);
    conn->stream = NULL;
}

static void on_accept(struct listener *listener, struct stream *stream,
                      void *ud)
{
    static const struct stream_events events = {
        .on_data = on_data,
        .on_end = on_end,
    };
    struct peer *peer = ud;
    struct peer_conn *conn = &peer->conns[peer->n_conns];

    (void)listener;
    assert_in_range(peer->n_conns, 0, PEER_CONNS_MAX - 1);
    peer->n_conns++;
    conn->peer = peer;
    conn->stream = stream;
    conn->reader = redisReaderCreate();
    stream_set_events(stream, &events, conn);
}

void peer_open(struct peer *peer, struct loop *loop)
{
    char address[128];
    struct err_text why;

    peer->loop = loop;
    peer->auth = peer->select = "+OK\r\n";
    peer->ping = "+PONG\r\n";
    make_dir(peer->dir);
    snprintf(address, sizeof(address), "unix:%s/redis", peer->dir);
    snprintf(peer->url, sizeof(peer->url), "unix://%s/redis", peer->dir);
    assert_ok(
        listener_open(&peer->listener, loop, address, on_accept, peer, &why));
}

void peer_close(struct peer *peer)
{
    for (unsigned i = 0; i < peer->n_conns; i++) {
        peer_cut(peer, i);
        redisReaderFree(peer->conns[i].reader);
    }
    listener_close(peer->listener);
    drop_dir(peer->dir);
}

void peer_say(struct peer *peer, unsigned conn, const char *bytes)
{
    struct stream *stream = peer->conns[conn].stream;

    assert_non_null(stream);
    buf_put_str(stream_out(stream), bytes);
    stream_flush(stream);
}

void peer_cut(struct peer *peer, unsigned conn)
{
    stream_close(peer->conns[conn].stream);
    peer->conns[conn].stream = NULL;
}

/* ---- the world */

void world_init(struct world *world)
{
    memset(world, 0, sizeof(*world));
    world->loop = make_loop();
    peer_open(&world->peer, world->loop);
    pool_settings_init(&world->settings, 2);
    world->settings.stall_timeout_ns = 10000 * (uint64_t)NS_PER_MS;
    world->settings.max_connections = PEER_CONNS_MAX;
}

void world_open(struct world *world)
{
    struct redis_config config = {
        .name = "main",
        .url = world->peer.url,
        .client_name = world->client_name,
        .settings = world->settings,
        .seed = 7,
    };
    struct err_text why = { 0 };

    if (redis_pool_open(&world->redis, world->loop, &config, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

static void on_closed(void *ud)
{
    struct world *world = ud;

    world->closes++;
}

void world_close_pool(struct world *world, uint64_t deadline_ms)
{
    redis_pool_close(world->redis,
                     loop_now_ns(world->loop) + deadline_ms * NS_PER_MS,
                     on_closed, world);
    world->redis = NULL;
    assert_int_equal(world->closes, 0);
}

void world_free(struct world *world)
{
    if (world->redis != NULL)
        world_close_pool(world, 0);
    wait_for(world->loop, world->closes > 0);
    assert_int_equal(world->closes, 1);
    peer_close(&world->peer);
    drop_loop(world->loop);
}

struct pool_counts world_counts(const struct world *world)
{
    struct pool_counts counts;

    pool_counts(redis_pool_pool(world->redis), &counts);
    return counts;
}

/* ---- calls */

static void keep_reply(struct call *call)
{
    const struct redis_reply *reply = redis_request_reply(&call->request, 0);
    size_t len;
    const char *text = redis_reply_text(reply, &len);

    snprintf(call->reply, sizeof(call->reply), "%s%.*s",
             redis_reply_kind(reply) == REDIS_ERROR ? "-" : "", (int)len,
             text != NULL ? text : "");
}

static void on_done(struct redis_request *request, enum err err,
                    const struct err_text *text)
{
    static unsigned order;
    struct call *call = request->ud;

    call->calls++;
    call->order = ++order;
    call->err = err;
    call->was_sent = request->was_sent;
    assert_int_equal(err == ERR_OK, text == NULL);
    if (err == ERR_OK)
        keep_reply(call);
    else
        snprintf(call->text, sizeof(call->text), "%s", text->text);
    redis_request_deinit(request);
    if (call->then != NULL)
        call->then(call);
}

void call_init(struct call *call)
{
    memset(call, 0, sizeof(*call));
    redis_request_init(&call->request);
    call->request.on_done = on_done;
    call->request.ud = call;
    call->request.site = "test.lua:1";
}

void call_add(struct call *call, const char *line)
{
    const char *args[WORDS_MAX];
    size_t lens[WORDS_MAX];
    struct err_text why = { 0 };
    unsigned count = 0;

    while (*line != '\0') {
        args[count] = line;
        lens[count] = strcspn(line, " ");
        line += lens[count++];
        line += *line == ' ';
    }
    if (redis_request_add(&call->request, count, args, lens, &why) != ERR_OK)
        fail_msg("%s", why.text);
}

enum err call_send(struct world *world, struct call *call)
{
    enum err err = redis_send(world->redis, &call->request);

    assert_int_equal(call->calls, 0);
    return err;
}

void call_start(struct world *world, struct call *call, const char *line)
{
    call_init(call);
    call_add(call, line);
    assert_ok(call_send(world, call));
}

void call_wait(struct world *world, struct call *call)
{
    wait_for(world->loop, call->calls > 0);
    assert_int_equal(call->calls, 1);
}

void wait_heard(struct world *world, unsigned conn, unsigned n_commands)
{
    const struct peer_conn *peer_conn = &world->peer.conns[conn];

    wait_for(world->loop, peer_conn->n_commands >= n_commands);
    assert_int_equal(peer_conn->n_commands, n_commands);
}
