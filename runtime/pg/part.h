/*
 * part.h - the last of a link: it is gone when the server has let go.  Private
 * to pg/.
 */
#ifndef TIDEPOOL_PG_PART_H
#define TIDEPOOL_PG_PART_H

struct pg_link;

/* The last step of link_close(): takes the link over, tells the pool when the
 * server has let go, and frees it. */
void link_part(struct pg_link *link);

#endif
