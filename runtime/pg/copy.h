/*
 * copy.h - COPY on a leased connection, chunk by chunk, no faster than its
 * holder.
 *
 * STARTING until the server says which way it goes; OUT or IN; ENDING until the
 * server has said how it ended; DONE.  A statement that is no COPY, or fails,
 * goes from STARTING to ENDING.
 */
#ifndef TIDEPOOL_PG_COPY_H
#define TIDEPOOL_PG_COPY_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct pg_link;
struct pg_rows;

enum pg_copy_state {
    PG_COPY_STARTING,
    PG_COPY_OUT,
    PG_COPY_IN,
    PG_COPY_ENDING,
    PG_COPY_DONE
};

/* Owned by the holder of the lease, in place until DONE or pg_copy_leave(). */
struct pg_copy {
    /* The state is another, rows have come, or there is room again. */
    void (*on_change)(struct pg_copy *copy);

    struct pg_link *link; /* NULL when DONE or left */
    enum pg_copy_state state;
    struct buf data; /* OUT: whole rows, to be taken; freed by the holder */
    bool is_full;    /* IN: put no more before on_change */
    bool is_stopped; /* OUT: what still comes is dropped */

    /* when DONE */
    enum err err;
    struct err_text text;
    struct pg_rows *rows; /* ERR_OK: the count; ERR_SERVER: the error; the
                             holder's to free */
};

/* Sends the statement, which has no parameters.  on_change is set, all else
 * zero.  ERR_LOST, or ERR_BUSY: something runs on the lease. */
enum err pg_copy_begin(struct pg_copy *copy, struct pg_link *link,
                       const char *sql) MUST_CHECK;
/* OUT: data was taken, and is emptied; reads on. */
void pg_copy_taken(struct pg_copy *copy);
/* OUT: has the server stop; DONE follows. */
void pg_copy_stop(struct pg_copy *copy);
/* IN: ERR_LOST when the connection is, and then it is DONE. */
enum err pg_copy_put(struct pg_copy *copy, const char *data,
                     size_t len) MUST_CHECK;
/* IN: that was all; or, with why, nothing of it is to be kept. */
enum err pg_copy_finish(struct pg_copy *copy, const char *why) MUST_CHECK;
/* Forgets the holder; the lease is given back next, and the pool stops what
 * runs. */
void pg_copy_leave(struct pg_copy *copy);

/* ---- for the files of this folder */

/* Takes what has come; false when the connection is dead. */
bool copy_take(struct pg_link *link);
/* All has come, and no cancel is on its way any more. */
void copy_end(struct pg_link *link);
/* The connection is gone; does nothing when nobody copies. */
void copy_lose(struct pg_link *link, const struct err_text *why);
/* Its holder has the link no more, and is told so. */
void copy_take_back(struct pg_link *link);

#endif
