/* types.c - see types.h. */
#include "pg/types.h"

#include "pg/owner.h"
#include "pg/rows.h"
#include "pg/type.h"
#include "pg/value.h"
#include "pg/value_inside.h"
#include "pool/status.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A domain's elements are those of its base type.  The delimiter is that of the
 * elements, which only PostGIS and the like have otherwise. */
const char PG_TYPES_SQL[] =
    "WITH RECURSIVE element AS ("
    "SELECT a.oid AS array_oid, e.oid, e.typtype, e.typbasetype, e.typdelim"
    " FROM pg_catalog.pg_type a"
    " JOIN pg_catalog.pg_type e ON e.oid = a.typelem"
    " WHERE a.oid = ANY ($1::pg_catalog.oid[]) AND a.typcategory = 'A'"
    " UNION ALL SELECT d.array_oid, e.oid, e.typtype, e.typbasetype, d.typdelim"
    " FROM element d JOIN pg_catalog.pg_type e ON e.oid = d.typbasetype"
    " WHERE d.typtype = 'd') "
    "SELECT array_oid, oid, typdelim FROM element WHERE typtype <> 'd'";

struct own_type {
    uint32_t type;
    uint32_t element; /* 0: it is no array */
    char delimiter;
};

struct pg_types {
    unsigned refs;
    uint64_t epoch;
    struct own_type *list; /* by type */
    size_t count;
    size_t room;
};

/* ---- life */

void pg_types_unref(struct pg_types *types)
{
    if (types == NULL || --types->refs > 0)
        return;
    free(types->list);
    free(types);
}

struct pg_types *pg_pool_types(struct pg_pool *pg)
{
    uint64_t epoch = pool_epoch(pg->clock.pool);

    if (pg->types != NULL && pg->types->epoch != epoch) {
        pg_types_unref(pg->types); /* another server may have others */
        pg->types = NULL;
    }
    if (pg->types == NULL) {
        pg->types = calloc(1, sizeof(*pg->types));
        if (pg->types == NULL)
            return NULL;
        pg->types->refs = 1;
        pg->types->epoch = epoch;
    }
    pg->types->refs++;
    return pg->types;
}

/* ---- finding */

/* The place of type, or where it would be. */
static size_t place_of(const struct pg_types *types, uint32_t type)
{
    size_t low = 0, high = types->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (types->list[middle].type < type)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct own_type *find(const struct pg_types *types, uint32_t type)
{
    size_t at = place_of(types, type);

    return at < types->count && types->list[at].type == type ? &types->list[at]
                                                             : NULL;
}

void types_read(const struct pg_types *types, struct pg_value *value)
{
    const struct own_type *own;

    if (types == NULL || value->type < TYPE_FIRST_OWN ||
        value->kind != PG_VALUE_TEXT)
        return;
    own = find(types, value->type);
    if (own == NULL || own->element == 0)
        return;
    value->kind = PG_VALUE_ARRAY;
    value->type = own->element;
    value->delimiter = own->delimiter;
}

/* ---- learning */

static uint32_t type_at(const struct pg_rows *rows, unsigned column)
{
    return PQftype((const PGresult *)rows, (int)column);
}

bool pg_rows_need_types(const struct pg_rows *rows)
{
    unsigned columns = pg_rows_columns(rows);

    for (unsigned i = 0; i < columns; i++)
        if (type_at(rows, i) >= TYPE_FIRST_OWN)
            return true;
    return false;
}

bool pg_types_know(const struct pg_types *types, const struct pg_rows *rows,
                   struct buf *unknown)
{
    unsigned columns = pg_rows_columns(rows);
    char separator = '{';

    for (unsigned i = 0; i < columns; i++) {
        uint32_t type = type_at(rows, i);
        char text[16];

        if (type < TYPE_FIRST_OWN || find(types, type) != NULL)
            continue;
        snprintf(text, sizeof(text), "%c%u", separator, type);
        buf_put_str(unknown, text);
        separator = ',';
    }
    if (separator == '{')
        return true;
    buf_put_char(unknown, '}');
    return false;
}

static bool add(struct pg_types *types, struct own_type own)
{
    size_t at = place_of(types, own.type);

    if (at < types->count && types->list[at].type == own.type)
        return true;
    if (types->count == types->room) {
        size_t room = types->room > 0 ? types->room * 2 : 8;
        struct own_type *list = realloc(types->list, room * sizeof(*list));

        if (list == NULL)
            return false;
        types->list = list;
        types->room = room;
    }
    memmove(&types->list[at + 1], &types->list[at],
            (types->count - at) * sizeof(*types->list));
    types->list[at] = own;
    types->count++;
    return true;
}

static uint32_t oid_at(const PGresult *answer, int row, int column)
{
    return (uint32_t)strtoul(PQgetvalue(answer, row, column), NULL, 10);
}

bool pg_types_learn(struct pg_types *types, const struct pg_rows *rows,
                    const struct pg_rows *answer)
{
    const PGresult *result = (const PGresult *)answer;
    unsigned columns = pg_rows_columns(rows);
    bool is_done = true;

    for (int i = 0; i < PQntuples(result); i++)
        is_done &= add(types, (struct own_type){
                                  .type = oid_at(result, i, 0),
                                  .element = oid_at(result, i, 1),
                                  .delimiter = PQgetvalue(result, i, 2)[0],
                              });
    for (unsigned i = 0; i < columns && is_done; i++)
        if (type_at(rows, i) >= TYPE_FIRST_OWN)
            is_done = add(types, (struct own_type){ type_at(rows, i), 0, 0 });
    return is_done;
}
