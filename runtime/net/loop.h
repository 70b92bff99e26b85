/*
 * loop.h - the event loop: time, work put off to the end of the turn, counting
 * what is open.  net/ alone sees libuv; other floors include its headers but
 * call no uv function.
 */
#ifndef TIDEPOOL_NET_LOOP_H
#define TIDEPOOL_NET_LOOP_H

#include "base/err.h"
#include "base/list.h"

#include <stdint.h>

struct loop;

enum loop_stage {
    LOOP_RUN,   /* what may make more work: tasks */
    LOOP_FLUSH, /* what sends the work of a turn: one write a connection */
    LOOP_STAGES
};

/* Owned by the caller, in place until it has run or was taken back. */
struct loop_job {
    void (*fn)(struct loop_job *job);
    struct list_node node;
};

/* Another clock than the system's: nanoseconds that do not go back, called in
 * the loop's thread. */
struct loop_clock {
    uint64_t (*now_ns)(void *ud); /* NULL: the system's */
    void *ud;
};

/* uv_loop is a host's uv_loop_t, borrowed, or NULL for one of our own. */
enum err loop_new(struct loop **out, void *uv_loop,
                  struct loop_clock clock) MUST_CHECK;
/* Accepts NULL.  Everything opened on it must be closed.  Turns a host's loop
 * once. */
void loop_free(struct loop *loop);
/* Runs until all that was opened on it is closed; that must be under way. */
void loop_settle(struct loop *loop);

/* Monotonic nanoseconds, never 0; any thread where the clock is the system's.
 */
uint64_t loop_now_ns(struct loop *loop);
bool loop_has_clock(const struct loop *loop);
/* A clock of a host's is asked no more: time goes on from where it is as the
 * system's does. */
void loop_drop_clock(struct loop *loop);
/* The system's monotonic clock, which bounds what the loop may take, whatever
 * clock it has; any thread. */
uint64_t loop_system_ns(void);
/* For how long it has not come back from what it called last; also in a signal
 * handler. */
uint64_t loop_still_ns(const struct loop *loop);

/* Runs job once before the loop next blocks: all LOOP_RUN jobs first, those
 * that they add included, then LOOP_FLUSH.  A job already put off stays put. */
void loop_defer(struct loop *loop, enum loop_stage stage, struct loop_job *job);
/* Takes job back; does nothing when it is not put off. */
void loop_cancel(struct loop *loop, enum loop_stage stage,
                 struct loop_job *job);

/* Runs until nothing is open or loop_stop() was called. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One turn: waits for at most timeout_ms (-1: while something is open, 0: not
 * at all). */
void loop_turn(struct loop *loop, int timeout_ms);

/* ---- a loop of our own, turned from another one */

/* A turn that does not wait, and when until_ns of the system's clock has passed
 * leaves to the next one what it has not begun: deadlines, jobs and events.
 * One of these at least it does; what had no turn in this one comes first in
 * the next. */
void loop_turn_until(struct loop *loop, uint64_t until_ns);
/* For a job that does many things: whether it should leave the rest to the
 * next turn. */
bool loop_is_over(const struct loop *loop);
/* Readable when a turn has something to read. */
int loop_poll_fd(const struct loop *loop);
/* How long the next turn may be put off unless that is readable: 0: not at all,
 * -1: for ever. */
int loop_next_timeout_ms(struct loop *loop);

/* Everything of ours that is open on the loop: tests expect 0 at the end. */
unsigned loop_open_handles(const struct loop *loop);

#endif
