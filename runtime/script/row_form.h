/* row_form.h - how a statement's rows become Lua values. */
#ifndef TIDEPOOL_SCRIPT_ROW_FORM_H
#define TIDEPOOL_SCRIPT_ROW_FORM_H

#include "pg/value.h"

struct pg_types;

struct row_form {
    enum pg_int8 int8;
    bool has_nulls;         /* NULL is tide.null, not an absent key */
    struct pg_types *types; /* a reference, where columns need it; or NULL */
};

#endif
