/* param.h - a parameter of a statement, as scripts and hosts give it. */
#ifndef TIDEPOOL_PG_PARAM_H
#define TIDEPOOL_PG_PARAM_H

#include <stddef.h>

enum pg_param_kind {
    PG_PARAM_NULL,
    PG_PARAM_TEXT,  /* in the type's text form; the server infers the type */
    PG_PARAM_JSON,  /* JSON text of a script's table: goes to json and jsonb as
                       it is, to an array type as an array literal, to others as
                       text */
    PG_PARAM_ARRAY, /* JSON text of a list: goes as an array literal, whatever
                       the type */
    PG_PARAM_BYTES  /* goes in bytea's hex form */
};

struct pg_param {
    enum pg_param_kind kind;
    const char *text; /* needs no terminating zero */
    size_t len;
};

#endif
