/*
 * cancel_call.h - libpq's cancel as a call that does not block and can be given
 * up.  Private to pg/.
 *
 * libpq 17 has that.  The call before it may block for ever, so it gets a
 * thread of its own, which nobody waits for: not one of the loop's, which are
 * few and which the process joins when it exits.
 */
#ifndef TIDEPOOL_PG_CANCEL_CALL_H
#define TIDEPOOL_PG_CANCEL_CALL_H

#include "net/loop.h"

#include <libpq-fe.h>

struct cancel_call;

/* words is "" when the server has been told and has closed the cancel's
 * connection: what it does about it, it has begun to do. */
typedef void (*cancel_call_fn)(void *ud, const char *words);

/* Remembers what it needs of pq, which may go before the call begins; NULL when
 * there is no memory or no server. */
struct cancel_call *cancel_call_new(PGconn *pq);
/* fn is called once, never from inside, unless the call is freed before. */
void cancel_call_begin(struct cancel_call *call, struct loop *loop,
                       cancel_call_fn fn, void *ud);
/* Accepts NULL.  The server may still hear of it. */
void cancel_call_free(struct cancel_call *call);

#endif
