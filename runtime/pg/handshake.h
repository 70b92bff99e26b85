/*
 * handshake.h - libpq's steps of a connect, on the thread pool: they read
 * certificates, compute keys, and as many rounds of a hash as the server
 * demands, which takes from milliseconds to what a server likes.  Private to
 * pg/.
 */
#ifndef TIDEPOOL_PG_HANDSHAKE_H
#define TIDEPOOL_PG_HANDSHAKE_H

#include "pg/link.h"

struct handshake;

typedef void (*handshake_fn)(struct pg_link *link,
                             PostgresPollingStatusType status);

/* Hears notices of link->pq, while it is ours and while a step has it. */
void handshake_hear_notices(struct pg_link *link);

/* Runs PQconnectPoll() on link->pq, then fn on the loop, once.  Until then
 * nobody else touches link->pq. */
enum err handshake_step(struct handshake **out, struct pg_link *link,
                        handshake_fn fn) MUST_CHECK;
/* fn is not called, and link->pq is the step's, which ends it: NULL here.
 * Accepts NULL. */
void handshake_abandon(struct handshake *handshake);

#endif
