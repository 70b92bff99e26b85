/*
 * origin.h - the request that a task works for: its id, its trace and its
 * route, which log lines and statements carry.
 *
 * Made when it is first asked for, so that a request that nobody asks this of
 * pays nothing.  Tasks that a handler starts share it, also those that outlive
 * the request.
 */
#ifndef TIDEPOOL_SCRIPT_ORIGIN_H
#define TIDEPOOL_SCRIPT_ORIGIN_H

#include "base/buf.h"
#include "base/rand.h"
#include "base/trace_context.h"

struct http_header;
struct task;
struct vm;

enum {
    ORIGIN_ID_MOST = 64,    /* of an id that the client gave */
    ORIGIN_ROUTE_MOST = 96, /* a longer pattern is cut */
    ORIGIN_KEY_BITS = 56,
};

struct origin {
    unsigned refs;
    uint64_t number;             /* of those of this process, from 1 on */
    char id[ORIGIN_ID_MOST + 1]; /* X-Request-Id, or 32 digits of ours */
    /* 56 bits by which it is sampled or not, the same in every service: the
     * last ones of the trace's id, else made of the request's. */
    uint64_t key;
    bool has_trace;
    struct trace_parent trace;       /* span_id is that of our part */
    char parent_id[SPAN_ID_LEN + 1]; /* the caller's span; "": it began here */
    char *state;                     /* tracestate, or NULL */
    char route[ORIGIN_ROUTE_MOST + 1];
};

/* What ids are made of, and how many traces that begin here are sampled; see
 * sample_from(). */
struct origin_source {
    struct rand high; /* halves of an id, each with a seed of its own */
    struct rand low;
    uint64_t sampled_from;
    uint64_t made;
};

/* No trace is sampled yet. */
void origin_source_init(struct origin_source *source, const uint64_t seeds[2]);

/* The least key of a share, 0 to 1, of all requests: those from there on are
 * in it (as OpenTelemetry's consistent sampling has it). */
uint64_t sample_from(double share);

/* Of a request with these headers, names in lower case.  NULL: no memory. */
struct origin *origin_new(struct origin_source *source,
                          const struct http_header *headers, size_t n_headers);
struct origin *origin_ref(struct origin *origin); /* accepts NULL */
void origin_unref(struct origin *origin);         /* the same */

/* The trace that it is part of, begun now if there is none. */
const struct trace_parent *origin_trace(struct origin_source *source,
                                        struct origin *origin);
/* Whether that is sampled; begins none. */
bool origin_is_sampled(const struct origin_source *source,
                       const struct origin *origin);
void origin_set_route(struct origin *origin, const char *route, size_t len);

/* Appends a comment with what is known of it, as sqlcommenter has it. */
void origin_put_comment(struct origin_source *source, struct origin *origin,
                        struct buf *out);

/* That of the request that task works for; NULL: for none. */
struct origin *task_origin(struct task *task);

#endif
