/* room.c - see room.h. */
#include "http/room.h"

#include <assert.h>
#include <malloc.h>

/* Who has just come is read first: of more than come in one turn, the first has
 * been read; of fewer, after this time. */
enum { TURN_MOST = 64 };
static const uint64_t PATIENCE_NS = 10000000;

/* What a connection holds at least, and so no reason to close it. */
enum { HELD_LEAST = 16 * 1024 };

/* After a peak of so much, and so often at most, memory is given back. */
enum { TRIM_LEAST = 32 * 1024 * 1024 };
static const uint64_t TRIM_EVERY_NS = 2000000000;

static uint64_t waited_ns(const struct http_conn *conn, uint64_t now_ns)
{
    return now_ns > conn->since_ns ? now_ns - conn->since_ns : 0;
}

void http_room_line_up(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    struct list *line = conn->is_known ? &server->kept : &server->fresh;

    if (list_is_linked(&conn->waited_for_node))
        list_remove(conn->line, &conn->waited_for_node);
    if (conn->state != HTTP_GREETING && conn->state != HTTP_IDLE &&
        conn->state != HTTP_HEAD)
        return;
    conn->line = line;
    list_push_back(line, &conn->waited_for_node);
}

/* Whoever was a client before stays as long as there are others. */
bool http_room_for_connection(struct http_server *server)
{
    struct list *line = server->fresh.len > 0 ? &server->fresh : &server->kept;
    struct list_node *node = list_first(line);
    struct http_conn *conn;

    if (node == NULL)
        return false;
    conn = container_of(node, struct http_conn, waited_for_node);
    if (line->len <= TURN_MOST &&
        waited_ns(conn, loop_now_ns(server->loop)) < PATIENCE_NS)
        return false;
    server->stats.idle_evictions++;
    http_conn_close(conn);
    return true;
}

/* ---- memory */

static size_t held_by(const struct http_conn *conn)
{
    return buf_held(stream_in(conn->stream)) +
           buf_held(stream_out(conn->stream)) + buf_held(&conn->parse.head) +
           buf_held(&conn->parse.body);
}

/* Bytes times seconds: a reply that is on its way at full speed is no slow
 * reader's, however large. */
static double burden_of(const struct http_conn *conn, uint64_t now_ns)
{
    if (http_conn_is_lent(conn) || conn->held <= HELD_LEAST)
        return 0; /* the first is the application's */
    return (double)(conn->held - HELD_LEAST) * (double)waited_ns(conn, now_ns);
}

static double worst_burden(const struct http_server *server,
                           const struct http_conn *but, uint64_t now_ns)
{
    double worst = 0;

    list_each (node, &server->conns) {
        const struct http_conn *conn =
            container_of(node, struct http_conn, node);
        double burden = conn != but ? burden_of(conn, now_ns) : 0;

        if (burden > worst)
            worst = burden;
    }
    return worst;
}

static size_t held_but_by(const struct http_conn *conn)
{
    return conn->server->stats.buffered - conn->held;
}

/* Its memory goes now, not at the end of the turn, in which many may need the
 * room; but not before the stream is closed, which is an end without notice
 * only as long as something is unsent. */
static void close_now(struct http_conn *conn)
{
    struct stream *stream = conn->stream;

    http_conn_close(conn);
    buf_free(stream_in(stream));
    buf_free(stream_out(stream));
    buf_free(&conn->parse.body);
}

/* Closes those that come near to the worst, so that not each of many costs a
 * walk; false when there is nobody. */
static bool close_worst(struct http_conn *but, size_t goal)
{
    struct http_server *server = but->server;
    uint64_t now_ns = loop_now_ns(server->loop);
    double worst = worst_burden(server, but, now_ns);
    struct list_node *node = server->conns.head.next;

    while (node != &server->conns.head && held_but_by(but) > goal) {
        struct http_conn *conn = container_of(node, struct http_conn, node);

        node = node->next;
        if (worst <= 0 || conn == but || burden_of(conn, now_ns) < worst / 2)
            continue;
        server->stats.memory_closes++;
        close_now(conn);
    }
    return worst > 0;
}

/* What was large and is not any more goes back to the system, which the C
 * library does not do by itself.  Not all the time: to be given pages anew
 * costs more than to keep them. */
static void give_back(struct http_server *server)
{
    uint64_t now_ns = loop_now_ns(server->loop);

    if (now_ns - server->trimmed_ns < TRIM_EVERY_NS)
        return;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    server->trimmed_ns = now_ns;
    server->peak_buffered = server->stats.buffered;
}

bool http_room_count(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    size_t most = server->limits.max_buffered_bytes;
    size_t held = held_by(conn);

    server->stats.buffered = server->stats.buffered - conn->held + held;
    conn->held = held;
    if (server->stats.buffered > server->peak_buffered)
        server->peak_buffered = server->stats.buffered;
    else if (server->peak_buffered > TRIM_LEAST &&
             server->stats.buffered < server->peak_buffered / 4)
        give_back(server);
    if (held_but_by(conn) <= most)
        return true;
    while (held_but_by(conn) > most - most / 8) {
        if (!close_worst(conn, most - most / 8))
            return held_but_by(conn) <= most;
    }
    return true;
}

void http_room_leave(struct http_conn *conn)
{
    assert(conn->server->stats.buffered >= conn->held);
    conn->server->stats.buffered -= conn->held;
    conn->held = 0;
}
