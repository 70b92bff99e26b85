/*
 * query.h - a request on a link: looks the statement up, has it prepared when
 * it is new, runs it, and sees that it ends in time.  Private to pg/.
 *
 * The request is its caller's, in place until on_done.  For "the link may be
 * gone" see link.h.
 */
#ifndef TIDEPOOL_PG_QUERY_H
#define TIDEPOOL_PG_QUERY_H

#include <libpq-fe.h>
#include <stdbool.h>

struct pg_link;
struct pg_request;

/* link is lent and QUIET.  Ends with request->on_done, never from inside. */
void query_begin(struct pg_link *link, struct pg_request *request);
/* One answer to what was sent; owned by the callee. */
void query_prepare_answer(struct pg_link *link, PGresult *answer);
void query_run_answer(struct pg_link *link, PGresult *answer);
/* All answers are there.  The link may be gone. */
void query_prepared(struct pg_link *link);
void query_ran(struct pg_link *link);
bool query_is_error(const PGresult *result);

#endif
