/*
 * heed.h - errors that tell of the server, not of a statement.  Private to pg/.
 */
#ifndef TIDEPOOL_PG_HEED_H
#define TIDEPOOL_PG_HEED_H

#include "base/err.h"

#include <stdbool.h>

struct pg_link;

/* Retires what the pool has open when the error tells that the server goes, or
 * must not be written to any more.  text has its SQLSTATE. */
void link_heed(struct pg_link *link, const struct err_text *text,
               bool is_fatal);

#endif
