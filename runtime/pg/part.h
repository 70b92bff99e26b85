/*
 * part.h - the last of a link: it is gone when the server has let go.  Private
 * to pg/.
 */
#ifndef TIDEPOOL_PG_PART_H
#define TIDEPOOL_PG_PART_H

#include <libpq-fe.h>

struct pg_link;

/* How long a server may take to let go of a connection. */
enum { PART_PATIENCE_MS = 1000 };

/* Of its socket, to hear the server on after PQfinish(); the caller's to close.
 * -1: the server has nothing that could be waited for.  pq may be NULL.  Any
 * thread. */
int part_copy_socket(const PGconn *pq);

/* The last step of link_close(): takes the link over, tells the pool when the
 * server has let go, and frees it. */
void link_part(struct pg_link *link);

#endif
