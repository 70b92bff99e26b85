/*
 * handshake.h - libpq's steps of a connect, on the thread pool: they read files
 * and certificates, compute keys, and as many rounds of a hash as the server
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

/* Both call fn on the loop, once, and until then nobody else touches link->pq.
 * The first one makes it, with the parameters of PQconnectStartParams(), which
 * are copied but for the keywords; NULL: no memory.  The other one runs
 * PQconnectPoll() on it. */
enum err handshake_start(struct handshake **out, struct pg_link *link,
                         const char *const *keywords, const char *const *values,
                         handshake_fn fn) MUST_CHECK;
enum err handshake_step(struct handshake **out, struct pg_link *link,
                        handshake_fn fn) MUST_CHECK;
/* fn is not called, and link->pq is the step's, which ends it: NULL here.
 * Accepts NULL. */
void handshake_abandon(struct handshake *handshake);

#endif
