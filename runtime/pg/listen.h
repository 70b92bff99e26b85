/*
 * listen.h - a leased connection that hears NOTIFY.
 *
 * What the server sends is kept in its order until it is taken; statements go
 * on as on any lease (LISTEN among them).
 */
#ifndef TIDEPOOL_PG_LISTEN_H
#define TIDEPOOL_PG_LISTEN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct pg_link;

struct pg_note {
    char *channel;
    char *payload; /* "" for none */
};

/* Owned by the holder of the lease, in place until pg_listener_close(). */
struct pg_listener {
    /* Something was heard, or the connection was lost: then link is NULL.  Not
     * called again before pg_listener_taken(). */
    void (*on_heard)(struct pg_listener *listener);

    struct pg_link *link;
    struct pg_note *notes; /* heard and not taken */
    size_t n_notes, n_room;
    struct err_text lost_text; /* why link is NULL */
    bool is_told;
};

/* link is leased; on_heard is set, all else zero. */
void pg_listener_open(struct pg_listener *listener, struct pg_link *link);
/* Frees the notes; what is heard from now on is told. */
void pg_listener_taken(struct pg_listener *listener);
/* Before the lease is given back. */
void pg_listener_close(struct pg_listener *listener);

/* ---- for the files of this folder */

/* Takes what libpq has read; frees it when nobody listens. */
void listen_take(struct pg_link *link);
/* The connection is gone; does nothing when nobody listens. */
void listen_lose(struct pg_link *link, const struct err_text *why);

#endif
