/* limits.h - what a server bears of its clients: times, sizes, numbers. */
#ifndef TIDEPOOL_HTTP_LIMITS_H
#define TIDEPOOL_HTTP_LIMITS_H

#include <stddef.h>
#include <stdint.h>

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

/* Sets the defaults. */
void http_limits_init(struct http_limits *limits);

#endif
