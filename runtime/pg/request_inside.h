/*
 * request_inside.h - how a request that has a link ends, or goes its way alone;
 * what callers see of it is in request.h.  Private to pg/.
 *
 * The request is its caller's, in place until on_done.  For "the link may be
 * gone" see link.h.
 */
#ifndef TIDEPOOL_PG_REQUEST_INSIDE_H
#define TIDEPOOL_PG_REQUEST_INSIDE_H

#include "base/err.h"

struct pg_link;
struct pg_request;

extern const char pg_taken_text[]; /* what holders are told of leak_reclaim */

/* Runs a request that was on a lane's queue on a connection of its own. */
void request_send_alone(struct pg_request *request);

/* Ends the request by link->err or the result.  The link may be gone. */
void request_end(struct pg_link *link);
/* Ends it with err; link->text says why.  The link may be gone. */
void request_finish(struct pg_link *link, enum err err);
/* The link is closing: its request ends with ERR_CLOSED, later. */
void request_orphan(struct pg_link *link);
/* Its holder has it no more: the same, and what runs is nobody's. */
void request_take_back(struct pg_link *link);

#endif
