/*
 * host.h - the Lua state that policies run in: a small one of their own.
 *
 * No JIT, no ffi, io, os, debug, modules nor patterns; text chunks only.  Each
 * call has a budget of instructions, the state a limit of memory; neither can
 * be got around by pcall().  Time and randomness come in as arguments, so the
 * same calls give the same answers.
 *
 * A policy is a chunk that gives a table:
 *
 *   every    seconds between two calls, 1 without it
 *   options  names and default values of what the operator may set
 *   decide   function(pool, ctx): settings wanted and the reason; or nothing
 */
#ifndef TIDEPOOL_POLICY_HOST_H
#define TIDEPOOL_POLICY_HOST_H

#include "policy/rails.h"

struct policy_option {
    const char *name;
    const char *text; /* NULL: number counts */
    double number;
};

/* Borrowed until policy_host_new() returns. */
struct policy_source {
    const char *name; /* for messages: "aimd", "policies/mine.lua" */
    const char *text;
    size_t len;
    const struct policy_option *options;
    size_t n_options;
    unsigned cores;      /* of this machine: ctx.cores */
    uint64_t seed;       /* of ctx.random() */
    size_t memory_bytes; /* 0: 8 MiB */
    uint64_t budget;     /* instructions a call; 0: 2,000,000 */
};

struct policy_host;

/* Nothing of a policy's own looks at a clock. */
struct policy_time {
    uint64_t now_ns; /* monotonic: ctx.now, in seconds */
    double day;      /* seconds since local midnight: ctx.day */
    int weekday;     /* 0 is Sunday: ctx.weekday */
};

/* ERR_BADARG: the source is no policy, or an option is none; why says it. */
enum err policy_host_new(struct policy_host **out,
                         const struct policy_source *source,
                         struct err_text *why) MUST_CHECK;
void policy_host_free(struct policy_host *host); /* accepts NULL */

uint64_t policy_host_every_ns(const struct policy_host *host);
const char *policy_host_name(const struct policy_host *host);

/* Shows all pools, by their names; policy_host_decide() follows for each. */
enum err policy_host_show(struct policy_host *host,
                          const struct snapshot *snaps, size_t count,
                          const struct policy_time *time,
                          struct err_text *why) MUST_CHECK;
/*
 * What the policy wants of the pool of this name.  ERR_BADARG: it raised, or
 * gave what is no settings; ERR_TIMEOUT: its budget; ERR_NOMEM: its memory, and
 * then host is of no more use.  wish is empty then.
 */
enum err policy_host_decide(struct policy_host *host, const char *pool,
                            struct policy_wish *wish,
                            struct err_text *why) MUST_CHECK;

#endif
