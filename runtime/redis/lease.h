/*
 * lease.h - commands on a leased connection: conn as lent by pool_try_acquire()
 * and on_done of a waiter.
 */
#ifndef TIDEPOOL_REDIS_LEASE_H
#define TIDEPOOL_REDIS_LEASE_H

#include "base/err.h"

struct conn;
struct redis_link; /* one connection; lent by the pool */
struct redis_request;

struct redis_link *redis_link_of(struct conn *conn);
struct conn *redis_link_conn(struct redis_link *link);

/*
 * Sends on a leased connection; any number may be under way and are answered in
 * order.  Returns ERR_OK and later calls on_done once, never from inside; or
 * ERR_LOST when the connection is dead, and on_done is not called.  End or
 * cancel all before the lease is given back; a WATCH, an open MULTI or another
 * database that they left is cleared then, and what is still unanswered closes
 * the connection.
 */
enum err redis_link_send(struct redis_link *link,
                         struct redis_request *request) MUST_CHECK;

#endif
