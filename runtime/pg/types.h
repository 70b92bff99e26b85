/*
 * types.h - array types that the database's users made: their OIDs say nothing
 * until the server was asked.
 *
 * A table belongs to a pool and one of its epochs, and lives on with the rows
 * that were read by it.
 */
#ifndef TIDEPOOL_PG_TYPES_H
#define TIDEPOOL_PG_TYPES_H

#include "base/buf.h"

#include <stdbool.h>

struct pg_pool;
struct pg_rows;
struct pg_types;

/* That of the pool now, one reference more; NULL when there is no memory. */
struct pg_types *pg_pool_types(struct pg_pool *pg);
void pg_types_unref(struct pg_types *types); /* accepts NULL */

/* Some column's type is not built in. */
bool pg_rows_need_types(const struct pg_rows *rows);
/*
 * True when types knows those of all columns.  Otherwise appends the parameter,
 * an oid[], of PG_TYPES_SQL, which asks the server for the others.
 */
bool pg_types_know(const struct pg_types *types, const struct pg_rows *rows,
                   struct buf *unknown);
extern const char PG_TYPES_SQL[];
/* Takes what the server said; what it did not tell of is no array.  False when
 * there is no memory. */
bool pg_types_learn(struct pg_types *types, const struct pg_rows *rows,
                    const struct pg_rows *answer);

#endif
