/* pg_made.h - rows as a server would have sent them, made without one. */
#ifndef TIDEPOOL_UNIT_PG_MADE_H
#define TIDEPOOL_UNIT_PG_MADE_H

#include <stddef.h>
#include <stdint.h>

struct pg_rows;
struct pg_value;

/* One column of the row; text NULL is NULL. */
struct made {
    const char *name;
    uint32_t type;
    const char *text;
};

/* Rows of one row; n_rows 0 gives none, 2 gives it twice. */
struct pg_rows *made_rows(const struct made *columns, size_t n_columns,
                          unsigned n_rows);
/* The one value of a row of this type. */
struct pg_rows *made_value(uint32_t type, const char *text,
                           struct pg_value *value);

#endif
