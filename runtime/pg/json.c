/* json.c - see json.h. */
#include "pg/json.h"

#include "base/json.h"
#include "pg/array.h"
#include "pg/rows.h"
#include "pg/value.h"

#include <math.h>
#include <string.h>

/* Up to here a JSON number is exact for those who read it as a double. */
static const int64_t EXACT_MAX = 1LL << 53;

static void put_value(struct buf *out, const struct pg_value *value,
                      enum pg_int8 int8);

struct array_writer {
    struct buf *out;
    enum pg_int8 int8;
    bool has_more; /* something stands before what comes next */
};

static void separate(struct array_writer *writer)
{
    if (writer->has_more)
        buf_put_char(writer->out, ',');
}

static void on_begin(void *ud)
{
    struct array_writer *writer = ud;

    separate(writer);
    buf_put_char(writer->out, '[');
    writer->has_more = false;
}

static void on_element(void *ud, const struct pg_value *value)
{
    struct array_writer *writer = ud;

    separate(writer);
    put_value(writer->out, value, writer->int8);
    writer->has_more = true;
}

static void on_end(void *ud)
{
    struct array_writer *writer = ud;

    buf_put_char(writer->out, ']');
    writer->has_more = true;
}

/* What turns out not to be an array becomes a string. */
static void put_array(struct buf *out, const struct pg_value *value,
                      enum pg_int8 int8)
{
    struct array_writer writer = { .out = out, .int8 = int8 };
    const struct pg_array_visitor visitor = { on_begin, on_element, on_end,
                                              &writer };
    size_t before = out->len;

    if (pg_array_walk(value, &visitor) == ERR_OK || buf_failed(out))
        return;
    out->len = before;
    json_put_string(out, value->text, value->len);
}

/* Whether it is written as a number. */
static bool is_number(const struct pg_value *value, enum pg_int8 int8)
{
    if (value->kind == PG_VALUE_FLOAT)
        return isfinite(value->number) != 0;
    if (value->is_int8 && int8 != PG_INT8_EXACT)
        return int8 == PG_INT8_NUMBER;
    return value->integer <= EXACT_MAX && value->integer >= -EXACT_MAX;
}

static void put_value(struct buf *out, const struct pg_value *value,
                      enum pg_int8 int8)
{
    switch (value->kind) {
    case PG_VALUE_NULL: buf_put(out, "null", 4); return;
    case PG_VALUE_BOOL:
        buf_put_str(out, value->truth ? "true" : "false");
        return;
    case PG_VALUE_JSON: buf_put(out, value->text, value->len); return;
    case PG_VALUE_ARRAY: put_array(out, value, int8); return;
    case PG_VALUE_INT:
    case PG_VALUE_FLOAT: /* the server writes numbers as JSON does */
        if (is_number(value, int8))
            buf_put(out, value->text, value->len);
        else
            json_put_string(out, value->text, value->len);
        return;
    case PG_VALUE_BYTES:
    case PG_VALUE_TEXT: json_put_string(out, value->text, value->len); return;
    }
}

void pg_rows_row_json(const struct pg_rows *rows, unsigned row,
                      enum pg_int8 int8, const struct pg_types *types,
                      struct buf *out)
{
    unsigned columns = pg_rows_columns(rows);
    struct pg_value value;

    buf_put_char(out, '{');
    for (unsigned i = 0; i < columns; i++) {
        const char *name = pg_rows_column(rows, i);

        if (i > 0)
            buf_put_char(out, ',');
        json_put_string(out, name, strlen(name));
        buf_put_char(out, ':');
        pg_rows_value(rows, row, i, types, &value);
        put_value(out, &value, int8);
    }
    buf_put_char(out, '}');
}

void pg_rows_json(const struct pg_rows *rows, enum pg_int8 int8,
                  const struct pg_types *types, struct buf *out)
{
    unsigned count = pg_rows_count(rows);

    buf_put_char(out, '[');
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            buf_put_char(out, ',');
        pg_rows_row_json(rows, i, int8, types, out);
    }
    buf_put_char(out, ']');
}
