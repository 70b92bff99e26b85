/*
 * server.h - the HTTP/1.1 server: requests come out, replies go in.
 *
 * A request comes out whole, or, where the application says so, before its
 * body, which it then reads itself.  One request of a connection is handed out
 * at a time, so pipelined ones are answered in order.  The server owns
 * connections and requests; a request is lent from on_request until
 * http_reply().
 */
#ifndef TIDEPOOL_HTTP_SERVER_H
#define TIDEPOOL_HTTP_SERVER_H

#include "base/err.h"
#include "http/refusal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_limits;
struct http_request;
struct http_server;
struct listen_socket;
struct loop;
struct tls_context;

/* Sockets that one server accepts on. */
enum { HTTP_LISTENERS_MAX = 64 };

/* Called for each request; http_reply() must follow once, now or later. */
typedef void (*http_request_fn)(struct http_server *server,
                                struct http_request *request, void *ud);

/* XX(name, text): counters of the server */
/* clang-format off */
#define HTTP_COUNTERS_MAP(XX)                                               \
    XX(connections,      "accepted")                                        \
    XX(refused,          "closed at once: there was no room for one more")  \
    XX(requests,         "handed to the application")                       \
    XX(gone,             "of these: the client left before the reply")      \
    XX(bad_requests,     "answered 4xx by the server itself")               \
    XX(tls_failures,     "closed: no TLS handshake, or a slow one")         \
    XX(header_timeouts,  "closed or 408: headers too slow")                 \
    XX(body_timeouts,    "408: body too slow")                              \
    XX(bodies_dropped,   "replied before the body was read to its end")     \
    XX(write_timeouts,   "closed: the client does not read")                \
    XX(replies_cut,      "closed: the application failed in the middle")    \
    XX(replies_late,     "closed: a streamed reply outlasted its deadline") \
    XX(idle_closes,      "closed: idle keep-alive")                         \
    XX(idle_evictions,   "closed: idle, and another needed the room")       \
    XX(memory_closes,    "closed: held too much of max_buffered_bytes")
/* clang-format on */

struct http_stats {
#define XX(name, text) uint64_t name;
    HTTP_COUNTERS_MAP(XX)
#undef XX
    struct err_text tls_failure;      /* why the last of them failed */
    uint64_t status_classes[6];       /* replies 1xx..5xx at [1]..[5] */
    uint64_t refusals[HTTP_REFUSALS]; /* requests, by why */
    unsigned open;                    /* connections */
    size_t buffered;                  /* bytes of their buffers */
    unsigned in_flight;               /* requests without a reply */
};

/* It listens nowhere yet. */
enum err http_server_new(struct http_server **out, struct loop *loop,
                         const struct http_limits *limits,
                         http_request_fn on_request, void *ud) MUST_CHECK;
/* Accepts on socket, too, which it owns when this succeeds.  ERR_BUSY: it
 * listens on HTTP_LISTENERS_MAX. */
enum err http_server_accept(struct http_server *server,
                            const struct listen_socket *socket) MUST_CHECK;
/* No more on that of this descriptor; false when there is none. */
bool http_server_stop_accepting(struct http_server *server, int fd);
/* A server that listens on address, see listen_socket_open(). */
enum err http_server_open(struct http_server **out, struct loop *loop,
                          const char *address, const struct http_limits *limits,
                          http_request_fn on_request, void *ud,
                          struct err_text *why) MUST_CHECK;
/* From the next connection on it speaks TLS, with a context for servers, on
 * which it takes a hold.  Those that are open stay as they are. */
void http_server_set_tls(struct http_server *server, struct tls_context *tls);
/* Of the socket that it accepted on first. */
const char *http_server_address(const struct http_server *server);
const struct http_stats *http_server_stats(const struct http_server *server);
/* From here on each reply is the last of its connection; new ones are served.
 */
void http_server_announce_end(struct http_server *server);
/* Stops accepting, answers what runs, and what comes on connections that are
 * open, with Connection: close, and closes those that stay idle for 200 ms.
 * on_drained is called once when no connection is left, never from inside;
 * draining anew only replaces it. */
void http_server_drain(struct http_server *server, void (*on_drained)(void *ud),
                       void *ud);
/* Accepts NULL.  Cuts what is left; requests out are still to be replied to,
 * which then frees them.  on_gone is called only of those whose reply is sent,
 * or whose body is read, piece by piece. */
void http_server_close(struct http_server *server);

#endif
