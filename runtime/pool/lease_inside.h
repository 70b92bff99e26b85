/*
 * lease_inside.h - what is lent, and where it goes when it comes back, for the
 * files of this folder only; what callers see of it is in lease.h.
 *
 * The driver owns conn, a lease only lends it.
 */
#ifndef TIDEPOOL_POOL_LEASE_INSIDE_H
#define TIDEPOOL_POOL_LEASE_INSIDE_H

#include "pool/conn_state.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct pool;

/* As many are lent as may be at once. */
bool pool_is_full(const struct pool *pool);

void pool_lend(struct pool *pool, struct conn *conn, bool shared,
               const char *site, uint64_t since_ns);
/* Ends the lease on conn against its holder's will. */
void pool_take_back(struct pool *pool, struct conn *conn);
/* Makes conn idle, or closes it when it must go; then runs what hook is due. */
void pool_place(struct pool *pool, struct conn *conn);
/* Nobody uses conn any more: places, cleans, stops or closes it, as the wire
 * says. */
void pool_settle_wire(struct pool *pool, struct conn *conn);

#endif
