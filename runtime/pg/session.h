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

/* What a statement's first word makes one expect.  Wrong is harmless: a read
 * that writes is refused by a connection that may only read. */
enum session_verb { SESSION_OTHER, SESSION_READS, SESSION_WRITES };

enum session_verb session_verb(const char *sql, size_t len);

/* Calls each() for every word of the text, also those in literals and comments;
 * is_called: it may be a function's name. */
void session_words(const char *sql, size_t len,
                   void (*each)(void *ud, const char *word, size_t len,
                                bool is_called),
                   void *ud);

/* What the tag of a statement that succeeded says. */
enum session_effect {
    SESSION_AS_IT_WAS,
    SESSION_TOUCHED,
    SESSION_UNPREPARED, /* the server forgot all prepared statements */
    SESSION_DISCARDED,  /* that, and all other state */
};

/* The functions there are may be others after this. */
bool session_makes_functions(const char *tag);

enum session_effect session_effect(const char *tag, unsigned traits);

#endif
