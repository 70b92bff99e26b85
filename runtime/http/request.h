/*
 * request.h - a request, and its body piece by piece, for handlers that read it
 * while it comes.  It is the server's, and lent from on_request until
 * http_reply().
 */
#ifndef TIDEPOOL_HTTP_REQUEST_H
#define TIDEPOOL_HTTP_REQUEST_H

#include "base/err.h"
#include "http/header.h"

#include <stdbool.h>
#include <stdint.h>

struct http_server;

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

/* A header's value by lower-case name, or NULL. */
const struct http_text *http_request_header(const struct http_request *request,
                                            const char *name);

/* What becomes of a body: asked for once the head is there. */
struct http_body_rule {
    size_t max_bytes; /* 413; that of the limits before the call */
    bool is_streamed; /* handed out now, for http_request_read() */
};

/* method, target, path, query and headers of request can be read. */
typedef void (*http_body_fn)(struct http_server *server,
                             struct http_request *request,
                             struct http_body_rule *rule, void *ud);

/* Without it every body is read before its request is handed out.  ud is that
 * of on_request. */
void http_server_set_body_rule(struct http_server *server, http_body_fn rule);

enum http_read {
    HTTP_READ_PIECE,
    HTTP_READ_END,     /* the body was read to its end */
    HTTP_READ_WAIT,    /* on_body is called, or on_gone */
    HTTP_READ_GONE,    /* the client has left */
    HTTP_READ_LATE,    /* nothing came for body_timeout_ns */
    HTTP_READ_REFUSED, /* see http_request_refusal() */
};

/*
 * Takes the next piece of the body, at most most bytes, which is good until the
 * next call of anything here.  What is not taken is held back in a buffer of
 * bounded size, and then by TCP.  A client that waits for a 100 gets it at the
 * first call.  The body of a request that is not streamed is read from where it
 * is.
 */
enum http_read http_request_read(struct http_request *request, size_t most,
                                 struct http_text *piece) MUST_CHECK;
/* After HTTP_READ_REFUSED: the status that it deserves, 400, 413 ... */
int http_request_refusal(const struct http_request *request);

#endif
