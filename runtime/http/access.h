/* access.h - tells how each request ended, for who keeps an access log. */
#ifndef TIDEPOOL_HTTP_ACCESS_H
#define TIDEPOOL_HTTP_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

struct http_request;
struct http_server;

/* One request that was answered, or whose client left before. */
struct http_access {
    struct http_request *request; /* NULL: its head was not read */
    const char *remote;           /* "127.0.0.1:40312" */
    int status;                   /* 499: there was nobody to answer */
    uint64_t body_bytes;          /* that were put out */
    uint64_t took_ns;             /* since it was handed out; 0: it was not */
    bool is_cut;                  /* not all of the reply was put out */
    bool is_refused; /* by the server itself: ud of request is nobody's */
};

/* Called for each, also those that never reached on_request: when the reply was
 * put out.  ud is that of on_request. */
typedef void (*http_access_fn)(struct http_server *server,
                               const struct http_access *access, void *ud);

/* Without it nobody is told. */
void http_server_set_access(struct http_server *server, http_access_fn fn);

#endif
