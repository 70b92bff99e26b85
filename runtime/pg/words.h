/*
 * words.h - what an error says, and who says it: the server, or libpq that does
 * not understand it.  Private to pg/.
 *
 * All only read, and own nothing of, what they are given.
 */
#ifndef TIDEPOOL_PG_WORDS_H
#define TIDEPOOL_PG_WORDS_H

#include "base/err.h"

#include <libpq-fe.h>
#include <stdbool.h>

struct pg_link;

/* The words and SQLSTATE of an error; libpq's when error is NULL. */
void link_error_text(const struct pg_link *link, const PGresult *error,
                     struct err_text *text);

/* What error is; NULL is none.  Whether the server ends the connection after
 * it, its SQLSTATE, the function of the server that raised it, and whether that
 * was because the table of a prepared statement has changed. */
bool link_is_fatal(const PGresult *error);
bool link_has_sqlstate(const PGresult *error, const char *sqlstate);
bool link_is_plan_old(const PGresult *error);
bool link_is_raised_by(const PGresult *error, const char *function);
/* Whether it is an error of libpq's own, which have no SQLSTATE: what the
 * server sends is not understood, or does not come.  What comes next answers
 * nothing that is known, and what ran may have done anything. */
bool link_is_garbled(const PGresult *answer);

#endif
