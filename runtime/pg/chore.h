/*
 * chore.h - statements of our own on a link: tests, and what makes it fit for
 * its next borrower.  Private to pg/.
 *
 * For "the link may be gone" see link.h.
 */
#ifndef TIDEPOOL_PG_CHORE_H
#define TIDEPOOL_PG_CHORE_H

#include "pool/driver.h"

#include <libpq-fe.h>

struct pg_link;

enum link_chore {
    CHORE_TEST,
    CHORE_ROLLBACK,
    CHORE_DISCARD,
    CHORE_WRITABLE, /* not a read lane any more */
    CHORE_UNNAME,   /* the trace is over */
    CHORE_POISON,   /* makes the open transaction fail */
};

/* Sends a statement of our own; false when the connection is dead. */
bool link_chore(struct pg_link *link, enum link_chore chore) MUST_CHECK;

/* One answer to what was sent; owned by the callee. */
void chore_answer(struct pg_link *link, PGresult *answer);
/* All answers are there.  The link may be gone. */
void chore_end(struct pg_link *link);

/* conn_ops */
enum conn_wire link_wire(const struct conn *conn);
void link_test(struct conn *conn);
void link_reset(struct conn *conn);
bool link_keep(struct conn *conn, bool is_baseline);

#endif
