/*
 * cancel.h - asks the server to stop what runs on a link, a few at a time.
 * Private to pg/.
 */
#ifndef TIDEPOOL_PG_CANCEL_H
#define TIDEPOOL_PG_CANCEL_H

#include "pg/owner.h"

struct link_cancel;
struct pg_link;

/* Begins a cancel for link, unless one is on its way; link_settle() is called
 * when it has come back, never from inside.  Without memory there is none. */
void link_cancel_start(struct pg_link *link);
/* True when none is on its way any more: one that waits for its turn is taken
 * back.  The server may act on one that was sent until it has come back. */
bool link_cancel_drop(struct pg_link *link);
/* The link is going: nothing is told any more, but the server still is. */
void link_cancel_detach(struct pg_link *link);

#endif
