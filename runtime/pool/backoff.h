/*
 * backoff.h - when a server may be dialled again that did not answer.
 *
 * Back-off is per address: exponential with full jitter, 50 ms to 1 s.  A
 * driver with several servers asks which may be dialled and tells how it went,
 * before pool_conn_failed(), or inside ops->close for CLOSE_CONNECT_TIMEOUT.
 * pool_conn_opened and pool_conn_failed do this when there is only one.
 */
#ifndef TIDEPOOL_POOL_BACKOFF_H
#define TIDEPOOL_POOL_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct pool;

enum { POOL_ADDRESSES_MAX = 16 };

bool pool_address_ready(const struct pool *pool, unsigned address,
                        uint64_t now_ns);
void pool_address_failed(struct pool *pool, unsigned address, uint64_t now_ns);
void pool_address_answered(struct pool *pool, unsigned address);

#endif
