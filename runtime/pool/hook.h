/*
 * hook.h - what the pool's owner runs on connections.
 *
 *   after_connect   the last step of connecting: until it has passed, the
 *                   connection counts as opening.  What it sets in the session
 *                   is the baseline: releases do not clean it away, and after
 *                   a cleaning that did, it runs again.
 *   before_acquire  before each lease, and each time that one becomes a lane.
 *   after_release   when a lease or lane has ended and its session is clean.
 *
 * Meanwhile the connection is lent to the hook, alone: HOOKED, and for no
 * longer than 5 s, or still OPENING, within connect_timeout.  One that a hook
 * fails on or refuses is closed; waiters wait on for another.
 */
#ifndef TIDEPOOL_POOL_HOOK_H
#define TIDEPOOL_POOL_HOOK_H

#include "base/err.h"
#include "pool/conn_state.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct pool;

enum hook_verdict {
    HOOK_PASSED,
    HOOK_REFUSED, /* not this connection */
    HOOK_FAILED,
};

/* Copied by pool_set_hooks(). */
struct pool_hooks {
    unsigned which; /* bits: 1 << HOOK_AFTER_CONNECT and so on */
    /* Begins hook on conn; true when pool_hook_done() will follow, later.  The
     * pool may end it sooner: see conn_set_holder().  Must not call the pool.
     */
    bool (*begin)(void *ud, struct conn *conn, enum conn_hook hook);
    void *ud;
};

/* Replaces all hooks.  Connections that an earlier after_connect prepared are
 * drained; those that none did get the new one's when they are idle. */
void pool_set_hooks(struct pool *pool, const struct pool_hooks *hooks,
                    uint64_t now_ns);

/* The hook on conn has ended; text, of a failure, may be NULL. */
void pool_hook_done(struct conn *conn, enum hook_verdict verdict,
                    const struct err_text *text, uint64_t now_ns);

/* What the hook that runs on conn is told: how long ago conn had connected, and
 * how long it has been idle. */
uint64_t conn_age_ns(const struct conn *conn);
uint64_t conn_idle_ns(const struct conn *conn);

#endif
