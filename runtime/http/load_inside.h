/* load_inside.h - the insides of a load test, for load.c and load_conn.c. */
#ifndef TIDEPOOL_HTTP_LOAD_INSIDE_H
#define TIDEPOOL_HTTP_LOAD_INSIDE_H

#include "http/answer.h"
#include "http/load.h"
#include "http/pace.h"
#include "net/deadline.h"
#include "net/resolve.h"
#include "net/stream.h"
#include "net/watch.h"

enum { LOAD_ADDRESSES_MAX = 8 };

enum load_state {
    LOAD_OPENING,
    LOAD_IDLE, /* on load->idle */
    LOAD_BUSY,
    LOAD_PAUSED, /* connecting failed; tried again a little later */
    LOAD_SHUT,
};

/* Owned by the load. */
struct load_conn {
    struct load *load;
    struct stream *stream; /* NULL while PAUSED or SHUT */
    struct http_answer *answer;
    struct list_node node;
    enum load_state state;
    bool was_tried; /* its first connect has come to an end */
    unsigned at;    /* the address that it dialled last */
    unsigned dials; /* in vain, of this attempt to connect */
    uint64_t due_ns;
    uint64_t sent_ns;
    uint64_t expires_ns;      /* while OPENING, BUSY, PAUSED */
    struct deadline deadline; /* may come before expires_ns */
};

struct load {
    struct loop *loop;
    struct load_options options;
    struct buf request;
    struct tls_context *tls; /* held; NULL: none */
    char *host;              /* for TLS */
    char *unix_path;
    struct resolve *resolve;
    struct sockaddr_storage addresses[LOAD_ADDRESSES_MAX];
    unsigned n_addresses;
    unsigned at; /* the one that is dialled */
    struct load_stats stats;
    struct load_conn *conns;
    struct list idle;
    unsigned untried; /* connections that count against the start */
    struct pace pace; /* open loop */
    int timer_fd;     /* the same; deadlines are too coarse */
    struct watch *timer;
    struct deadline end;
    struct loop_job finish;
    bool is_over; /* on_end is due, or was called */
    load_fn on_end;
    void *ud;
};

/* Opens the connection, or opens it anew. */
void load_conn_open(struct load_conn *conn);
/* IDLE: sends the request, which was due then. */
void load_conn_send(struct load_conn *conn, uint64_t due_ns, uint64_t now_ns);
void load_conn_shut(struct load_conn *conn);

/* A first connect came to its end. */
void load_tried(struct load *load);
/* A connection is free, or time has passed: sends what may be sent. */
void load_pump(struct load *load);
/* A request has come to its end. */
void load_settled(struct load *load);
void load_count(struct load *load, enum load_error error, const char *why);

#endif
