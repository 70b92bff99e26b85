/* pg_made.c - see pg_made.h. */
#include "pg_made.h"

#include "pg/rows.h"
#include "pg/value.h"
#include "unit.h"

#include <libpq-fe.h>

enum { COLUMNS_MAX = 16 };

static void set_row(PGresult *result, unsigned row, const struct made *columns,
                    size_t n_columns)
{
    for (size_t i = 0; i < n_columns; i++) {
        char *text = (char *)columns[i].text;
        int len = text != NULL ? (int)strlen(text) : -1;

        assert_int_equal(PQsetvalue(result, (int)row, (int)i, text, len), 1);
    }
}

struct pg_rows *made_rows(const struct made *columns, size_t n_columns,
                          unsigned n_rows)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc attributes[COLUMNS_MAX] = { 0 };

    assert_non_null(result);
    assert_in_range(n_columns, 1, COLUMNS_MAX);
    for (size_t i = 0; i < n_columns; i++) {
        attributes[i].name = (char *)columns[i].name;
        attributes[i].typid = columns[i].type;
    }
    assert_int_equal(PQsetResultAttrs(result, (int)n_columns, attributes), 1);
    for (unsigned row = 0; row < n_rows; row++)
        set_row(result, row, columns, n_columns);
    return (struct pg_rows *)result;
}

struct pg_rows *made_value(uint32_t type, const char *text,
                           struct pg_value *value)
{
    const struct made column = { "value", type, text };
    struct pg_rows *rows = made_rows(&column, 1, 1);

    pg_rows_value(rows, 0, 0, NULL, value);
    return rows;
}
