/*
 * ghost.h - asks for the server's processes that dead workers had.  Private to
 * pg/.
 *
 * What is asked for is the link's own, until it is answered or forgotten.
 */
#ifndef TIDEPOOL_PG_GHOST_H
#define TIDEPOOL_PG_GHOST_H

#include "base/err.h"

#include <libpq-fe.h>
#include <stdbool.h>

struct pg_link;

/* Asks for dead workers' processes, if any are to be asked for; says whether.
 */
bool ghost_ask(struct pg_link *link) MUST_CHECK;
void ghost_forget(struct pg_link *link);
/* Whether it answers that, and not the chore. */
bool ghost_answer(struct pg_link *link, const PGresult *answer);

#endif
