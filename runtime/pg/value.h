/* value.h - text that the server sent to a value.  Private to pg/. */
#ifndef TIDEPOOL_PG_VALUE_H
#define TIDEPOOL_PG_VALUE_H

#include "pg/pg.h"

/* Fills the rest of a value that has its text, of this type. */
void value_read(struct pg_value *value, uint32_t type);

#endif
