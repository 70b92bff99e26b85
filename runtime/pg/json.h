/* json.h - rows as JSON, straight from libpq's memory, which they stay in. */
#ifndef TIDEPOOL_PG_JSON_H
#define TIDEPOOL_PG_JSON_H

#include "base/buf.h"
#include "pg/value.h"

struct pg_rows;
struct pg_types;

/* Appends JSON: row's object, NULL columns as null; arrays as arrays, numeric
 * as a string, bytea as a string in the server's hex form. */
void pg_rows_row_json(const struct pg_rows *rows, unsigned row,
                      enum pg_int8 int8, const struct pg_types *types,
                      struct buf *out);
/* All rows as an array of objects. */
void pg_rows_json(const struct pg_rows *rows, enum pg_int8 int8,
                  const struct pg_types *types, struct buf *out);

#endif
