/*
 * rows.c - see rows.h.  A struct pg_rows is libpq's PGresult seen from above,
 * where that type is not known.
 */
#include "pg/rows.h"

#include "net/work.h"
#include "pg/value.h"
#include "pg/value_inside.h"

#include <libpq-fe.h>
#include <stdlib.h>

/* libpq frees it by 2 KiB: some ten microseconds. */
enum { DROP_BYTES = 256 * 1024 };

static const PGresult *result_of(const struct pg_rows *rows)
{
    return (const PGresult *)rows;
}

void pg_rows_free(struct pg_rows *rows)
{
    PQclear((PGresult *)rows);
}

static void on_drop(void *ud)
{
    pg_rows_free(ud);
}

static void do_nothing(void *ud)
{
    (void)ud;
}

void pg_rows_drop(struct pg_rows *rows, struct loop *loop)
{
    if (loop == NULL || pg_rows_bytes(rows) < DROP_BYTES ||
        work_start(loop, on_drop, do_nothing, rows) != ERR_OK)
        pg_rows_free(rows);
}

unsigned pg_rows_count(const struct pg_rows *rows)
{
    return (unsigned)PQntuples(result_of(rows));
}

unsigned pg_rows_columns(const struct pg_rows *rows)
{
    return (unsigned)PQnfields(result_of(rows));
}

const char *pg_rows_column(const struct pg_rows *rows, unsigned column)
{
    return PQfname(result_of(rows), (int)column);
}

uint64_t pg_rows_affected(const struct pg_rows *rows)
{
    /* PQcmdTuples only reads, but is older than const */
    return strtoull(PQcmdTuples((PGresult *)rows), NULL, 10);
}

size_t pg_rows_bytes(const struct pg_rows *rows)
{
    return PQresultMemorySize(result_of(rows));
}

static const char *error_field(const struct pg_rows *rows, int code)
{
    const char *text = PQresultErrorField(result_of(rows), code);

    return text != NULL ? text : "";
}

void pg_rows_error(const struct pg_rows *rows, struct pg_error_fields *out)
{
    *out = (struct pg_error_fields){
        .sqlstate = error_field(rows, PG_DIAG_SQLSTATE),
        .message = error_field(rows, PG_DIAG_MESSAGE_PRIMARY),
        .detail = error_field(rows, PG_DIAG_MESSAGE_DETAIL),
        .hint = error_field(rows, PG_DIAG_MESSAGE_HINT),
        .position = error_field(rows, PG_DIAG_STATEMENT_POSITION),
        .schema = error_field(rows, PG_DIAG_SCHEMA_NAME),
        .table = error_field(rows, PG_DIAG_TABLE_NAME),
        .column = error_field(rows, PG_DIAG_COLUMN_NAME),
        .constraint = error_field(rows, PG_DIAG_CONSTRAINT_NAME),
        .context = error_field(rows, PG_DIAG_CONTEXT),
    };
}

void pg_rows_value(const struct pg_rows *rows, unsigned row, unsigned column,
                   const struct pg_types *types, struct pg_value *out)
{
    const PGresult *result = result_of(rows);
    uint32_t type = PQftype(result, (int)column);

    *out = (struct pg_value){ .type = type };
    if (PQgetisnull(result, (int)row, (int)column))
        return;
    out->text = PQgetvalue(result, (int)row, (int)column);
    out->len = (size_t)PQgetlength(result, (int)row, (int)column);
    value_read(out, type);
    types_read(types, out);
}
