/*
 * load.h - loads an HTTP server with one request again and again, over
 * connections that stay open, and measures.
 *
 * Closed loop: each connection sends its next request when it has a reply.
 * Open loop (a rate): requests are due at fixed times; each is sent on the
 * first connection that is free, and its latency counts from when it was due,
 * so a server that stalls is not asked less.  Latencies are of whole replies,
 * whatever their status; all else is counted.
 */
#ifndef TIDEPOOL_HTTP_LOAD_H
#define TIDEPOOL_HTTP_LOAD_H

#include "base/buf.h"
#include "base/hist.h"
#include "net/loop.h"
#include "net/tls.h"

#include <stdbool.h>

/* What a request, or an attempt to connect, ends with instead of a reply. */
/* clang-format off */
#define LOAD_ERROR_MAP(XX)                        \
    XX(CONNECT,   "connect")   /* refused, no way there */ \
    XX(RESET,     "reset")     /* reading or writing failed */ \
    XX(CLOSED,    "closed")    /* ended before the reply was whole */ \
    XX(TIMEOUT,   "timeout")                      \
    XX(BAD_REPLY, "bad_reply") /* no HTTP */
/* clang-format on */

enum load_error {
#define XX(name, text) LOAD_##name,
    LOAD_ERROR_MAP(XX)
#undef XX
        LOAD_ERRORS
};

enum { LOAD_STATUSES = 600 };

struct load_options {
    const char *host; /* NULL: unix_path counts */
    const char *port;
    const char *unix_path;
    struct tls_context *tls; /* of https; or NULL */
    const char *request;     /* all of its bytes; copied */
    size_t request_len;
    bool is_head;    /* replies have no body */
    bool keeps_body; /* with one connection */
    unsigned connections;
    double rate; /* requests a second; 0: closed loop */
    uint64_t duration_ns;
    uint64_t max_requests; /* 0: no limit */
    uint64_t timeout_ns;   /* of a connect, and of a reply */
};

struct load_stats {
    uint64_t start_ns; /* all connections are open or refused; 0: not yet */
    uint64_t stop_ns;  /* nothing is sent any more; 0: not yet */
    uint64_t sent;
    uint64_t answered;
    uint64_t answered_at_stop;         /* what the rate is of */
    uint64_t by_status[LOAD_STATUSES]; /* what is beyond, at the last one */
    uint64_t errors[LOAD_ERRORS];
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t connects;  /* that succeeded */
    uint64_t late;      /* open loop: sent over 1 ms after they were due */
    uint64_t unsent;    /* due, and no connection came free until the end */
    uint64_t abandoned; /* load_stop() came before their reply */
    unsigned in_flight;
    unsigned peak_in_flight;
    struct hist latency; /* from when they were due, or sent */
    struct hist service; /* from when they were sent */
    struct err_text why; /* of the last error */
    int status;          /* of the last reply; 0: none */
    struct buf body;     /* of the last reply, when kept */
};

struct load;

/* Once, never from inside a call; load_stats() is final, load_free() is due. */
typedef void (*load_fn)(struct load *load, void *ud);

enum err load_start(struct load **out, struct loop *loop,
                    const struct load_options *options, load_fn on_end,
                    void *ud) MUST_CHECK;
/* Ends it at once; on_end follows, unless it was called. */
void load_stop(struct load *load);
const struct load_stats *load_stats(const struct load *load);
/* Accepts NULL; also before its end, and then on_end does not come. */
void load_free(struct load *load);

#endif
