/* inside.h - the insides of the loop, for the files of net/ alone. */
#ifndef TIDEPOOL_NET_INSIDE_H
#define TIDEPOOL_NET_INSIDE_H

#include "base/wheel.h"
#include "net/address.h"
#include "net/loop.h"

#include <sys/socket.h>
#include <uv.h>

/*
 * Of the handles in here only idle, while jobs wait, timer, while a deadline is
 * armed, and turn, inside loop_turn(), keep the loop running.
 */
struct loop {
    uv_loop_t *uv; /* &own, or the host's */
    uv_loop_t own;
    struct loop_clock clock;
    uint64_t latest_ns;   /* that it gave; of a host's clock alone */
    uint64_t lead_ns;     /* of the time before the system's, once dropped */
    uv_prepare_t prepare; /* runs jobs before the poll */
    uv_check_t check;     /* and after it */
    uv_idle_t idle;       /* keeps the poll from blocking */
    uv_timer_t timer;     /* of the deadlines, see deadline.c */
    uv_timer_t turn;      /* bounds one loop_turn() */
    unsigned closing;     /* of these five, how many are not closed yet */
    unsigned open;        /* see loop_open_handles() */
    struct list jobs[LOOP_STAGES];
    bool is_running_jobs;
    uint64_t until_ns;    /* of this turn, see loop_turn_until(); 0: no limit */
    bool has_worked;      /* this turn did something */
    bool has_handled;     /* an event was part of it */
    bool are_events_late; /* the latest turn had no time for any */
    bool do_deadlines_pass; /* since they had a turn nothing else has */
    bool is_flush_late;     /* nor for all that was to be sent */
    struct wheel wheel;
    uint64_t armed_ns;    /* when timer wakes; WHEEL_NEVER: it is stopped */
    uint64_t expiring_ns; /* while deadlines are called: up to when; else 0 */
    struct list orphans;  /* detached processes that still run */
};

/* Whether this turn has time for one more event, which else comes again in the
 * next one. */
bool loop_may_handle(struct loop *loop);
/* A deadline is called: the turn need not do anything else. */
void loop_begin_deadline(struct loop *loop);

/* Called by loop_new() and by loop_free(). */
void deadline_init_loop(struct loop *loop);
/* Sets the timer anew, by a host's clock, which may have been moved. */
void deadline_look(struct loop *loop);
void process_forget_orphans(struct loop *loop);

/* ERR_NOMEM, or ERR_INTERNAL for what should not happen. */
enum err err_of_uv(int status);
/* "connection refused" for ECONNREFUSED. */
const char *errno_text(int error);

struct watch;
/* The watch is not counted any more and does not keep the loop running. */
void watch_unref(struct watch *watch);

struct stream;

/* Makes a stream of fd, an accepted socket, which it owns even on failure. */
enum err stream_adopt(struct stream **out, struct loop *loop, int fd,
                      const struct sockaddr *peer,
                      socklen_t peer_len) MUST_CHECK;

#endif
