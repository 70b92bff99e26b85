/*
 * pubsub.h - a leased connection that hears what is published.
 *
 * From redis_pubsub_open() on nothing is asked and answered on it: commands are
 * written, and all that comes is kept in its order until it is taken.  The pool
 * closes such a connection when the lease is given back.
 */
#ifndef TIDEPOOL_REDIS_PUBSUB_H
#define TIDEPOOL_REDIS_PUBSUB_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct redis_link;
struct redis_reply;

struct redisReply; /* hiredis */

/* Owned by the holder of the lease, in place until redis_pubsub_close(). */
struct redis_pubsub {
    /* Something was heard, or the connection was lost: then link is NULL.  Not
     * called again before redis_pubsub_taken(). */
    void (*on_heard)(struct redis_pubsub *pubsub);
    void *ud;

    struct redis_link *link;
    struct redis_reply **replies; /* heard and not taken */
    size_t n_replies, n_room;
    struct err_text lost_text; /* why link is NULL */
    bool is_told;
};

/* link is leased, with nothing under way; on_heard and ud are set.  Nothing is
 * called from inside. */
void redis_pubsub_open(struct redis_pubsub *pubsub, struct redis_link *link);
/* Writes one command.  ERR_NOMEM, or ERR_LOST: see lost_text. */
enum err redis_pubsub_say(struct redis_pubsub *pubsub, unsigned n_args,
                          const char *const *args,
                          const size_t *lens) MUST_CHECK;
/* Frees the replies; what is heard from now on is told. */
void redis_pubsub_taken(struct redis_pubsub *pubsub);
/* The lease is given back next; or link is NULL. */
void redis_pubsub_close(struct redis_pubsub *pubsub);

/* ---- for the files of this folder */

/* Takes over reply; text tells why not. */
enum err redis_pubsub_take(struct redis_pubsub *pubsub,
                           struct redisReply *reply,
                           struct err_text *text) MUST_CHECK;
void redis_pubsub_tell(struct redis_pubsub *pubsub);
/* The connection is gone; does nothing when nobody listens on it. */
void redis_pubsub_lose(struct redis_link *link, const char *why);

#endif
