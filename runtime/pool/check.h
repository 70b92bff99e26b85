/* check.h - what is always true of a pool between two calls, for tests. */
#ifndef TIDEPOOL_POOL_CHECK_H
#define TIDEPOOL_POOL_CHECK_H

struct pool;

/* Asserts it.  Walks all lists. */
void pool_check(const struct pool *pool);

#endif
