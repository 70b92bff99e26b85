/*
 * rows.h - what a statement gave: rows, a count or an error.  Its caller's own
 * from the end of the request on; all that is read of it is borrowed.
 */
#ifndef TIDEPOOL_PG_ROWS_H
#define TIDEPOOL_PG_ROWS_H

#include <stddef.h>
#include <stdint.h>

struct loop;
struct pg_rows;
struct pg_types;
struct pg_value;

void pg_rows_free(struct pg_rows *rows); /* accepts NULL */
/* The same, large ones on a thread of the loop's, for it takes milliseconds;
 * without a loop at once. */
void pg_rows_drop(struct pg_rows *rows, struct loop *loop);
unsigned pg_rows_count(const struct pg_rows *rows);
unsigned pg_rows_columns(const struct pg_rows *rows);
const char *pg_rows_column(const struct pg_rows *rows, unsigned column);
uint64_t pg_rows_affected(const struct pg_rows *rows);
size_t pg_rows_bytes(const struct pg_rows *rows); /* memory held */

/* Of an error: the fields of libpq's PG_DIAG_*; "" when absent. */
struct pg_error_fields {
    const char *sqlstate, *message, *detail, *hint, *position, *schema, *table,
        *column, *constraint, *context;
};
void pg_rows_error(const struct pg_rows *rows, struct pg_error_fields *out);

/* types, of users' array types, may be NULL: those are text then. */
void pg_rows_value(const struct pg_rows *rows, unsigned row, unsigned column,
                   const struct pg_types *types, struct pg_value *out);

#endif
