/* server_inside.h - the insides of the server, for the files of its
 * connections. */
#ifndef TIDEPOOL_HTTP_SERVER_INSIDE_H
#define TIDEPOOL_HTTP_SERVER_INSIDE_H

#include "http/access.h"
#include "http/limits.h"
#include "http/request.h"
#include "http/server.h"
#include "net/stream.h"

struct http_server {
    struct loop *loop;
    struct listener *listeners[HTTP_LISTENERS_MAX];
    unsigned n_listeners; /* 0 once draining */
    struct http_limits limits;
    struct tls_context *tls; /* of connections to come; or NULL */
    http_request_fn on_request;
    http_body_fn body_rule;   /* or NULL */
    http_access_fn on_access; /* or NULL */
    void *ud;
    struct http_stats stats;
    struct list conns; /* with a stream */
    struct list gone;  /* without: their request is lent */
    struct list fresh; /* waited for, for their first request; longest first */
    struct list kept;  /* the same, for another one */
    size_t peak_buffered; /* since memory went back */
    uint64_t trimmed_ns;  /* when that was */
    bool is_ending;       /* replies are the last of their connections */
    bool is_draining;
    void (*on_drained)(void *ud);
    void *drained_ud;
    struct loop_job drained_job;
    struct loop_job free_job;
    int64_t date_s;    /* of date[] */
    char date[96];     /* "Tue, 15 Nov 1994 08:12:31 GMT" */
    char address[128]; /* as bound */
};

/* A connection has left server->conns or server->gone. */
void http_server_left(struct http_server *server);

#endif
