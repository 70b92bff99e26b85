/*
 * reply.h - the reply to a request: whole, encoded in place, or piece by piece.
 * One of these three, once, and the request is gone.
 */
#ifndef TIDEPOOL_HTTP_REPLY_H
#define TIDEPOOL_HTTP_REPLY_H

#include "base/buf.h"
#include "http/header.h"

struct http_request;

struct http_reply {
    int status;
    const struct http_header *headers; /* Content-Length, Date, Connection are
                                          the server's own and refused here */
    size_t n_headers;
    struct http_text
        body; /* not sent, but counted, for HEAD; none for 204, 304 */
};

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
 * whose reply has no body, then the pieces, then the end; CUT and LATE cut
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

#endif
