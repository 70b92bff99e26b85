/*
 * session.h - what a statement does to the session that outlives it: read from
 * its text once, and from the server's command tag each time.  Private to pg/.
 *
 * It cannot be complete (a function may do anything); what it misses is left
 * behind in the session, as with any pool.
 */
#ifndef TIDEPOOL_PG_SESSION_H
#define TIDEPOOL_PG_SESSION_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SESSION_TOUCHES = 1, /* temp tables, advisory locks, set_config, DO */
    SESSION_LOCAL = 2,   /* a SET that ends with its transaction */
    SESSION_LEASE = 4,   /* makes sense on a connection of one's own only */
};

/* SESSION_* of one statement's text. */
unsigned session_traits(const char *sql, size_t len);

/* What the tag of a statement that succeeded says. */
enum session_effect {
    SESSION_AS_IT_WAS,
    SESSION_TOUCHED,
    SESSION_UNPREPARED, /* the server forgot all prepared statements */
    SESSION_DISCARDED,  /* that, and all other state */
};

enum session_effect session_effect(const char *tag, unsigned traits);

#endif
