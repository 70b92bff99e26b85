/*
 * fuzz_pg_value.c - the text of a value by its type, array literals, and rows
 * as JSON.
 *
 * Input: a byte, the type; a byte, what int8 becomes; the rest is what the
 * server sent.
 */
#include "fuzz.h"

#include "json_check.h"
#include "pg/array.h"
#include "pg/json.h"
#include "pg/type.h"
#include "pg/value.h"
#include "pg/value_inside.h"

#include <libpq-fe.h>
#include <string.h>

/* Of those with is_free the text may be anything; of others the server writes
 * JSON itself, and is believed. */
static const struct {
    uint32_t type;
    bool is_free;
} types[] = {
    { 25, true },
    { TYPE_BOOL, true },
    { TYPE_BYTEA, true },
    { TYPE_INT8, false },
    { TYPE_INT4, false },
    { TYPE_OID, false },
    { TYPE_FLOAT4, false },
    { TYPE_FLOAT8, false },
    { TYPE_JSON, false },
    { TYPE_JSONB, false },
    { 1009 /* text[] */, true },
    { 1000 /* bool[] */, true },
    { 1001 /* bytea[] */, true },
    { 1016 /* int8[] */, false },
    { 1020 /* box[] */, true },
    { 1022 /* float8[] */, false },
    { 199 /* json[] */, false },
    { 1700, true },
    { 99999, true },
};
enum { N_TYPES = sizeof(types) / sizeof(*types) };

/* ---- arrays */

struct seen {
    unsigned depth;
    size_t elements;
    size_t bytes;
};

static void look(const struct pg_value *value)
{
    char *bytes;

    if (value->kind == PG_VALUE_BYTES) {
        bytes = malloc(value->len / 2 + 1);
        FUZZ_CHECK(pg_value_bytes(value, bytes) <= value->len / 2);
        free(bytes);
    }
    FUZZ_CHECK(value->kind != PG_VALUE_BOOL || value->type == TYPE_BOOL);
}

static void on_begin(void *ud)
{
    struct seen *seen = ud;

    seen->depth++;
    FUZZ_CHECK(seen->depth <= 6);
}

static void on_element(void *ud, const struct pg_value *value)
{
    struct seen *seen = ud;

    FUZZ_CHECK(seen->depth > 0);
    seen->elements++;
    seen->bytes += value->len;
    look(value);
}

static void on_end(void *ud)
{
    struct seen *seen = ud;

    FUZZ_CHECK(seen->depth > 0);
    seen->depth--;
}

static void walk(const struct pg_value *value)
{
    struct seen seen = { 0 };
    const struct pg_array_visitor visitor = { on_begin, on_element, on_end,
                                              &seen };
    enum err err = pg_array_walk(value, &visitor);

    FUZZ_CHECK(err == ERR_OK || err == ERR_PROTOCOL);
    FUZZ_CHECK(err != ERR_OK || seen.depth == 0);
    FUZZ_CHECK(seen.bytes <= value->len);
}

/* In memory of exactly its size, with the zero that libpq puts behind. */
static void read_value(uint32_t type, const char *text, size_t len)
{
    struct pg_value value = { .text = text, .len = len };

    value_read(&value, type);
    look(&value);
    if (value.kind == PG_VALUE_ARRAY)
        walk(&value);
}

/* ---- rows */

static void put_rows(uint32_t type, bool is_free, unsigned int8,
                     const char *text, size_t len)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc attributes[2] = { { .name = (char *)"va\"lue", .typid = type },
                                   { .name = (char *)"", .typid = 25 } };
    struct buf out = { 0 };

    FUZZ_CHECK(result != NULL);
    FUZZ_CHECK(PQsetResultAttrs(result, 2, attributes) == 1);
    for (int row = 0; row < 2; row++) {
        FUZZ_CHECK(PQsetvalue(result, row, 0, (char *)text, (int)len) == 1);
        FUZZ_CHECK(PQsetvalue(result, row, 1, NULL, -1) == 1);
    }
    pg_rows_json((const struct pg_rows *)result, (enum pg_int8)(int8 % 3), NULL,
                 &out);
    FUZZ_CHECK(!buf_failed(&out));
    if (is_free)
        FUZZ_CHECK(json_check(out.data, out.len, NULL));
    buf_free(&out);
    PQclear(result);
}

FUZZ_TARGET(pg_value)
{
    struct fuzz_input input = { bytes, size };
    unsigned which = fuzz_byte(&input) % N_TYPES;
    unsigned int8 = fuzz_byte(&input);
    size_t len;
    char *text = fuzz_rest(&input, &len);

    read_value(types[which].type, text, len);
    put_rows(types[which].type, types[which].is_free, int8, text, len);
    free(text);
    return 0;
}
