/* type.h - the built-in types that are more than text.  Private to pg/. */
#ifndef TIDEPOOL_PG_TYPE_H
#define TIDEPOOL_PG_TYPE_H

#include <stdint.h>

/* OIDs of pg_type.dat: fixed for ever, but not in libpq's headers. */
enum {
    TYPE_BOOL = 16,
    TYPE_BYTEA = 17,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_OID = 26,
    TYPE_JSON = 114,
    TYPE_BOX = 603, /* its arrays are delimited by ';' */
    TYPE_FLOAT4 = 700,
    TYPE_FLOAT8 = 701,
    TYPE_JSONB = 3802,
    TYPE_FIRST_OWN = 16384, /* FirstNormalObjectId: users' types, see types.h */
};

/* The type of an array type's elements; 0 for what is no array type. */
uint32_t type_element(uint32_t type);

#endif
