/*
 * request.h - bodies of requests piece by piece, for handlers that read them
 * while they come.
 */
#ifndef TIDEPOOL_HTTP_REQUEST_H
#define TIDEPOOL_HTTP_REQUEST_H

#include "http/http.h"

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
