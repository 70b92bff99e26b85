/*
 * known.h - what a pool remembers of statements, by their text: what they may
 * do, their parameters, how long they take.  Private to pg/.
 *
 * A statement that names a volatile function may have effects that a read-only
 * transaction lets through (a notification, an advisory lock), so it is never
 * grouped, nor sent twice.  Which functions are volatile is read from pg_proc;
 * a name that is not there makes the list be read again.  Not seen are calls
 * that a statement does not name: those of a view or of an operator.
 */
#ifndef TIDEPOOL_PG_KNOWN_H
#define TIDEPOOL_PG_KNOWN_H

#include "base/list.h"
#include "base/map.h"
#include "pg/names.h"
#include "pg/session.h"

#include <stdbool.h>
#include <stdint.h>

/* What is thought of the functions that a statement names. */
enum known_calls {
    CALLS_UNLISTED, /* the list is missing or out of date */
    CALLS_UNKNOWN,  /* one is not on the list, which may be too old */
    CALLS_VOLATILE,
    CALLS_HARMLESS
};

/* Owned by its knowns; kept while somebody uses it. */
struct known {
    struct map_node node; /* the key is the text */
    struct list_node order;
    unsigned users;
    enum session_verb verb;
    bool is_writer; /* a read that the server refused as a write */
    bool is_described;
    unsigned n_params;
    Oid *types;
    uint64_t cost_ns; /* at the server; 0: not measured */
    uint64_t learned; /* the end of the group that cost_ns was last raised by */
    uint64_t version; /* of the list that calls was made with */
    uint64_t born;    /* version of the list when it was described */
    enum known_calls calls;
    char sql[];
};

/* Embedded in the pool. */
struct knowns {
    struct map map;
    struct list recent; /* the latest use first */
    struct names names;
};

void knowns_init(struct knowns *knowns);
void knowns_free(struct knowns *knowns);

/* What is known of this text, used by the caller from now on; NULL: no memory.
 */
struct known *knowns_use(struct knowns *knowns, const char *sql, size_t len);
void known_unuse(struct known *known); /* accepts NULL */

/* Takes over what the server said of the parameters. */
void known_describe(struct knowns *knowns, struct known *known,
                    unsigned n_params, const Oid *types);
enum known_calls known_check(struct knowns *knowns, struct known *known);

#endif
