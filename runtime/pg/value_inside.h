/* value_inside.h - text that the server sent to a value.  Private to pg/. */
#ifndef TIDEPOOL_PG_VALUE_INSIDE_H
#define TIDEPOOL_PG_VALUE_INSIDE_H

#include <stdint.h>

struct pg_types;
struct pg_value;

/* Fills the rest of a value that has its text, of this type. */
void value_read(struct pg_value *value, uint32_t type);

/* Makes a text whose type is known to be an array one; types.c. */
void types_read(const struct pg_types *types, struct pg_value *value);

#endif
