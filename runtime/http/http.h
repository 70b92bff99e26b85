/*
 * http.h - the HTTP/1.1 server: requests come out, replies go in.
 *
 * A request comes out whole, or, where the application says so, before its
 * body, which it then reads itself.  One request of a connection is handed out
 * at a time, so pipelined ones are answered in order.  The server owns
 * connections and requests; a request is lent from on_request until
 * http_reply().
 */
#ifndef TIDEPOOL_HTTP_HTTP_H
#define TIDEPOOL_HTTP_HTTP_H

#include "base/log.h"
#include "http/refusal.h"
#include "net/stream.h"

struct http_server;
struct http_request;

/* Sockets that one server accepts on. */
enum { HTTP_LISTENERS_MAX = 64 };

/* Times in nanoseconds, 0 for no limit; sizes in bytes. */
struct http_limits {
    size_t max_header_bytes;    /* request line and headers: 431 */
    size_t max_headers;         /* their number: 431 */
    size_t max_body_bytes;      /* 413 */
    uint64_t header_timeout_ns; /* from the first byte to the empty line: 408 */
    uint64_t body_timeout_ns;   /* from there to the body's end: 408; of a body
                                   that the handler reads: each wait for more
                                   of it */
    uint64_t idle_timeout_ns;   /* between requests: closed silently */
    uint64_t write_timeout_ns;  /* a reply that the client does not take */
    unsigned max_connections;   /* for one more the one that is idle longest is
                                   closed; without such a one it is refused */
    size_t max_buffered_bytes;  /* of all requests and replies; who holds most
                                   for longest is closed, else 503 */
};

void http_limits_init(struct http_limits *limits);

/* Borrowed from the connection's buffer. */
struct http_text {
    const char *bytes;
    size_t len;
};

struct http_header {
    struct http_text name; /* requests: in lower case */
    struct http_text value;
};

/* Read it between on_request and http_reply(); ud is the handler's. */
struct http_request {
    struct http_text method; /* "GET" */
    struct http_text target; /* as sent: "/a/b?c=d" */
    struct http_text path;   /* "/a/b", not decoded */
    struct http_text query;  /* "c=d", without '?', may be empty */
    const struct http_header *headers;
    size_t n_headers;
    struct http_text body; /* empty when it is streamed */
    bool is_streamed;      /* read the body by http_request_read() */
    size_t read_at;        /* how much of one that is not was read by it */
    const char *remote;    /* "127.0.0.1:40312" */
    int is_head;
    uint64_t started_ns; /* loop time at which it was handed out */
    void *ud;
    /* Set by the handler: the client went away before the reply.  http_reply()
     * is still due and then writes nothing. */
    void (*on_gone)(struct http_request *request);
    /* The server drains: a reply without an end of its own ends now. */
    void (*on_draining)(struct http_request *request);
    /* Of a reply that is sent piece by piece: the kernel has taken it all. */
    void (*on_drained)(struct http_request *request);
    /* After HTTP_READ_WAIT: http_request_read() may have more to say. */
    void (*on_body)(struct http_request *request);
};

/* Called for each request; http_reply() must follow once, now or later. */
typedef void (*http_request_fn)(struct http_server *server,
                                struct http_request *request, void *ud);

struct http_reply {
    int status;
    const struct http_header *headers; /* Content-Length, Date, Connection are
                                          the server's own and refused here */
    size_t n_headers;
    struct http_text
        body; /* not sent, but counted, for HEAD; none for 204, 304 */
};

/* False for a name or value that would break out of its line, and for the names
 * that are the server's own.  A reply with such a header, or with a status
 * other than 200 to 599, is sent as an empty 500. */
bool http_header_is_valid(const struct http_header *header);

/* Copies the reply to the connection's output; request is gone afterwards. */
void http_reply(struct http_request *request, const struct http_reply *reply);

/*
 * The same in two steps, for bodies that are encoded straight into the output:
 * begin gives the buffer to append the body to, end sets the length.  Nothing
 * else may happen between the two: no return to the loop.
 */
struct buf *http_reply_begin(struct http_request *request,
                             const struct http_reply *reply);
void http_reply_end(struct http_request *request);

/*
 * The same piece by piece, with returns to the loop in between: the head first,
 * whose reply has no body, then the pieces, then the end; is_whole: false cuts
 * the connection, so that the client sees that something is missing.  In chunks
 * for HTTP/1.1, otherwise the body ends with the connection.  Once the client
 * is gone the pieces go nowhere.  http_reply_put() says how many bytes wait for
 * the client: whoever sends much waits for on_drained.
 */
enum http_end { HTTP_END_WHOLE, HTTP_END_CUT, HTTP_END_LATE };
void http_reply_open(struct http_request *request,
                     const struct http_reply *reply);
size_t http_reply_put(struct http_request *request, const char *bytes,
                      size_t len);
void http_reply_close(struct http_request *request, enum http_end end);

/* A header's value by lower-case name, or NULL. */
const struct http_text *http_request_header(const struct http_request *request,
                                            const char *name);

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

const char *http_status_text(int status); /* "Not Found"; "" when unknown */

#endif
