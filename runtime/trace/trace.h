/*
 * trace.h - what pools did, as text: people read it, `tidepool simulate
 * --trace` replays it.  A recording, a dump and /pools/NAME/events are all of
 * this one form:
 *
 *   # tidepool trace 1 began_us 1764234000123456
 *   # pool 0 main postgres max_connections=4 min_connections=0 ...
 *   # held 12 app.lua:31 4200000
 *   # us pool what outcome wait_us service_us conn class
 *   18211 0 lease served 120 15300 3 normal
 *   18260 0 statement served 20 150 4 normal
 *   19000 0 event closed 61000000 - 3 lost
 *
 * Times are microseconds from began_us, which is of the epoch; a line tells of
 * what is over, in the order in which it was.  A lease waited until it was
 * lent and was in service until it came back; a statement waited until the
 * server could begin with it, behind others on its connection.  An event has a
 * duration in the place of the wait.  "# lost N": so many lines are missing.
 */
#ifndef TIDEPOOL_TRACE_TRACE_H
#define TIDEPOOL_TRACE_TRACE_H

#include "pool/class.h"
#include "pool/flight.h"

enum { TRACE_LINE_MAX = 160, TRACE_HEAD_MAX = 2048 };

/* The first line of a file; gives its length.  From a signal handler, too. */
size_t trace_begin(char *out, uint64_t began_us);
/* The head of a pool; out holds TRACE_HEAD_MAX.  settings: NULL, not known. */
size_t trace_pool(char *out, unsigned index, const char *name, const char *kind,
                  const struct pool_settings *settings);
size_t trace_columns(char *out);
/* One line; zero_ns is began_us on the pool's clock.  Writes plain memory only:
 * from a signal handler, too. */
size_t trace_note(char *out, unsigned pool, const struct flight_note *note,
                  uint64_t zero_ns);
size_t trace_lost(char *out, uint64_t count);

/* ---- reading one */

enum { TRACE_POOLS_MAX = 32, TRACE_NAME_MAX = 64 };

/* Asked for, and what became of it. */
struct trace_demand {
    uint64_t at_ns;      /* asked for, from the start of the trace */
    uint64_t service_ns; /* of its own; 0 unless SERVED */
    uint64_t wait_ns;
    enum demand_end end;
    bool is_shared;
    enum pool_class class;
};

/* One pool of a file. */
struct trace {
    char names[TRACE_POOLS_MAX][TRACE_NAME_MAX]; /* of all its pools */
    unsigned n_pools;
    unsigned pool;                 /* which it is */
    char kind[TRACE_NAME_MAX];     /* "postgres", "redis" */
    struct pool_settings settings; /* as the file's head has them */
    struct trace_demand *demands;  /* by at_ns */
    size_t n_demands;
    uint64_t span_ns; /* from the first one to the end of the last */
    uint64_t lost;
};

/*
 * Reads a file, plain or compressed by gzip.  name: the pool; NULL: the only
 * one.  ERR_BADARG, with why: it cannot be read, is no trace, says something
 * wrong in a line, has no such pool, or several.
 */
enum err trace_read(struct trace *trace, const char *path, const char *name,
                    struct err_text *why) MUST_CHECK;
void trace_free(struct trace *trace);

#endif
