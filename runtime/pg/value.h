/* value.h - one value of a row, or element of an array: its kind and text. */
#ifndef TIDEPOOL_PG_VALUE_H
#define TIDEPOOL_PG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pg_value_kind {
    PG_VALUE_NULL,
    PG_VALUE_BOOL,
    PG_VALUE_INT,   /* int2, int4, int8, oid */
    PG_VALUE_FLOAT, /* float4, float8 */
    PG_VALUE_TEXT,  /* text, numeric, uuid, date/time and all unknown types */
    PG_VALUE_JSON,  /* json, jsonb: text is JSON */
    PG_VALUE_BYTES, /* bytea: see pg_value_bytes() */
    PG_VALUE_ARRAY  /* walk it with pg_array_walk() */
};

/* Borrowed from the rows. */
struct pg_value {
    enum pg_value_kind kind;
    bool truth;
    bool is_int8;
    int64_t integer;
    double number;
    const char *text; /* the server's text form, whatever the kind */
    size_t len;
    uint32_t type;  /* OID; of the element for arrays */
    char delimiter; /* of an array's elements; 0: that of built-in types */
};

/* What int8 becomes. */
enum pg_int8 {
    PG_INT8_EXACT,  /* a number, beyond 2^53 a string */
    PG_INT8_NUMBER, /* a number, which may be rounded */
    PG_INT8_STRING  /* a string */
};

/* Writes what a PG_VALUE_BYTES stands for, at most value->len / 2 bytes, and
 * says how many. */
size_t pg_value_bytes(const struct pg_value *value, char *out);

#endif
