/*
 * bind_rows.c - see bind_rows.h.
 *
 * Rows are converted when they are first looked at and then kept in the
 * userdata's environment table, so that a script may change them; what it never
 * looked at goes from the result to JSON without a Lua string.
 */
#include "script/bind_rows.h"
#include "pg/array.h"
#include "pg/json.h"
#include "pg/rows.h"
#include "pg/types.h"
#include "pg/value.h"
#include "script/core.h"
#include "script/json.h"
#include "script/row_form.h"
#include "script/userdata.h"

static const char ROWS_TYPE[] = "tidepool.rows";

/* Up to here a double holds every integer. */
static const int64_t EXACT_MAX = 1LL << 53;

struct rows {
    struct pg_rows *result;
    struct row_form form;
};

static struct rows *rows_at(lua_State *L, int index)
{
    return vm_check_type(L, index, ROWS_TYPE);
}

static struct pg_rows *check_rows(lua_State *L, int index)
{
    return rows_at(L, index)->result;
}

/* ---- values */

static void push_value(lua_State *L, const struct pg_value *value,
                       enum pg_int8 int8);

static void push_json(lua_State *L, const char *text, size_t len)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "tidepool.decode");
    lua_pushlstring(L, text, len);
    if (lua_pcall(L, 1, 1, 0) != 0) {
        lua_pop(L, 1);
        lua_pushlstring(L, text, len); /* not JSON to cjson: as it came */
    }
}

/* Arrays nest: the table being filled is on top, its length beside it. */
struct array_builder {
    lua_State *L;
    enum pg_int8 int8;
    int lens[8];
    int depth;
};

static void store(struct array_builder *builder)
{
    if (builder->depth > 0)
        lua_rawseti(builder->L, -2, ++builder->lens[builder->depth - 1]);
}

static void on_begin(void *ud)
{
    struct array_builder *builder = ud;

    luaL_checkstack(builder->L, 4, "array");
    lua_newtable(builder->L);
    builder->lens[builder->depth++] = 0;
}

static void on_element(void *ud, const struct pg_value *value)
{
    struct array_builder *builder = ud;

    if (value->kind == PG_VALUE_NULL)
        lua_pushlightuserdata(builder->L, NULL); /* tide.null */
    else
        push_value(builder->L, value, builder->int8);
    store(builder);
}

static void on_array_end(void *ud)
{
    struct array_builder *builder = ud;

    builder->depth--;
    store(builder);
}

static void push_array(lua_State *L, const struct pg_value *value,
                       enum pg_int8 int8)
{
    struct array_builder builder = { .L = L, .int8 = int8 };
    struct pg_array_visitor visitor = { .begin = on_begin,
                                        .element = on_element,
                                        .end = on_array_end,
                                        .ud = &builder };
    int top = lua_gettop(L);

    if (pg_array_walk(value, &visitor) == ERR_OK)
        return;
    lua_settop(L, top);
    lua_pushlstring(L, value->text, value->len);
}

static void push_bytes(lua_State *L, const struct pg_value *value)
{
    char *bytes = lua_newuserdata(L, value->len); /* goes by itself */

    lua_pushlstring(L, bytes, pg_value_bytes(value, bytes));
    lua_remove(L, -2);
}

static bool is_number(const struct pg_value *value, enum pg_int8 int8)
{
    if (value->is_int8 && int8 != PG_INT8_EXACT)
        return int8 == PG_INT8_NUMBER;
    return value->integer <= EXACT_MAX && value->integer >= -EXACT_MAX;
}

static void push_value(lua_State *L, const struct pg_value *value,
                       enum pg_int8 int8)
{
    switch (value->kind) {
    case PG_VALUE_NULL: lua_pushnil(L); return;
    case PG_VALUE_BOOL: lua_pushboolean(L, value->truth); return;
    case PG_VALUE_FLOAT: lua_pushnumber(L, value->number); return;
    case PG_VALUE_JSON: push_json(L, value->text, value->len); return;
    case PG_VALUE_ARRAY: push_array(L, value, int8); return;
    case PG_VALUE_BYTES: push_bytes(L, value); return;
    case PG_VALUE_INT:
        if (is_number(value, int8)) {
            lua_pushnumber(L, (lua_Number)value->integer);
            return;
        }
        break;
    case PG_VALUE_TEXT: break;
    }
    lua_pushlstring(L, value->text, value->len);
}

void row_push(lua_State *L, const struct pg_rows *result, unsigned row,
              struct row_form form)
{
    unsigned columns = pg_rows_columns(result);
    struct pg_value value;

    luaL_checkstack(L, 8, "row");
    lua_createtable(L, 0, (int)columns);
    for (unsigned i = 0; i < columns; i++) {
        pg_rows_value(result, row, i, form.types, &value);
        if (value.kind == PG_VALUE_NULL && !form.has_nulls)
            continue;
        lua_pushstring(L, pg_rows_column(result, i));
        if (value.kind == PG_VALUE_NULL)
            lua_pushlightuserdata(L, NULL); /* tide.null */
        else
            push_value(L, &value, form.int8);
        lua_rawset(L, -3);
    }
}

/* ---- rows */

void rows_push(lua_State *L, struct vm *vm, struct pg_rows *result,
               struct row_form form)
{
    struct rows *rows = lua_newuserdata(L, sizeof(*rows));

    rows->result = result;
    rows->form = form;
    vm_set_type(L, ROWS_TYPE);
    lua_newtable(L);
    lua_setfenv(L, -2);
    vm_external_memory(vm, pg_rows_bytes(result));
}

/* Leaves rows[i] on the stack, from the environment or made now. */
static void push_row(lua_State *L, int index, const struct rows *rows,
                     unsigned i)
{
    lua_getfenv(L, index);
    lua_rawgeti(L, -1, (int)i);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        row_push(L, rows->result, i - 1, rows->form);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, (int)i);
    }
    lua_remove(L, -2);
}

static int l_index(lua_State *L)
{
    const struct rows *rows = rows_at(L, 1);
    double i;

    if (lua_type(L, 2) != LUA_TNUMBER) {
        vm_push_methods(L, ROWS_TYPE);
        lua_pushvalue(L, 2);
        lua_rawget(L, -2);
        return 1;
    }
    i = lua_tonumber(L, 2);
    if (!(i >= 1 && i <= pg_rows_count(rows->result)))
        return 0;
    push_row(L, 1, rows, (unsigned)i);
    return 1;
}

static int l_newindex(lua_State *L)
{
    return luaL_error(L, "rows cannot be assigned to; rows:table() gives a "
                         "table of them");
}

static int l_len(lua_State *L)
{
    lua_pushinteger(L, pg_rows_count(check_rows(L, 1)));
    return 1;
}

static int l_columns(lua_State *L)
{
    const struct pg_rows *result = check_rows(L, 1);
    unsigned count = pg_rows_columns(result);

    lua_createtable(L, (int)count, 0);
    for (unsigned i = 0; i < count; i++) {
        lua_pushstring(L, pg_rows_column(result, i));
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int l_affected(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)pg_rows_affected(check_rows(L, 1)));
    return 1;
}

static int l_table(lua_State *L)
{
    const struct rows *rows = rows_at(L, 1);
    unsigned count = pg_rows_count(rows->result);

    lua_createtable(L, (int)count, 0);
    for (unsigned i = 1; i <= count; i++) {
        push_row(L, 1, rows, i);
        lua_rawseti(L, -2, (int)i);
    }
    return 1;
}

static int l_gc(lua_State *L)
{
    struct rows *rows = lua_touserdata(L, 1);
    const struct vm *vm = lua_touserdata(L, lua_upvalueindex(1));

    pg_rows_drop(rows->result, vm->is_over ? NULL : vm->loop);
    rows->result = NULL;
    pg_types_unref(rows->form.types);
    rows->form.types = NULL;
    return 0;
}

/* ---- JSON */

static struct rows *to_rows(lua_State *L, int index)
{
    if (!vm_is_type(L, index, ROWS_TYPE))
        return NULL;
    return lua_touserdata(L, index);
}

/* Replaces the row's table on top by a copy that has tide.null where the column
 * is NULL and the script has set nothing. */
static void add_nulls(lua_State *L, const struct pg_rows *result, unsigned row)
{
    struct pg_value value;
    int source = lua_gettop(L);

    lua_newtable(L);
    for (unsigned i = 0; i < pg_rows_columns(result); i++) {
        pg_rows_value(result, row, i, NULL, &value);
        if (value.kind != PG_VALUE_NULL)
            continue;
        lua_pushlightuserdata(L, NULL);
        lua_setfield(L, -2, pg_rows_column(result, i));
    }
    lua_pushnil(L);
    while (lua_next(L, source) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, source + 1);
    }
    lua_remove(L, source);
}

bool is_rows(lua_State *L, int index)
{
    return to_rows(L, index) != NULL;
}

bool rows_are_untouched(lua_State *L, int index)
{
    lua_getfenv(L, index);
    lua_pushnil(L);
    if (lua_next(L, -2) == 0) {
        lua_pop(L, 1);
        return true;
    }
    lua_pop(L, 3);
    return false;
}

/* A row that the script has looked at, and may have changed: on top. */
static const char *put_touched_row(lua_State *L, const struct pg_rows *result,
                                   unsigned row, struct buf *out)
{
    add_nulls(L, result, row);
    return json_put_value(L, lua_gettop(L), out);
}

/* The environment is on top. */
static const char *put_rows(lua_State *L, const struct rows *rows,
                            struct buf *out)
{
    const struct pg_rows *result = rows->result;
    const char *failure = NULL;
    unsigned count = pg_rows_count(result);

    buf_put_char(out, '[');
    for (unsigned i = 1; i <= count && failure == NULL; i++) {
        if (i > 1)
            buf_put_char(out, ',');
        lua_rawgeti(L, -1, (int)i);
        if (lua_isnil(L, -1))
            pg_rows_row_json(result, i - 1, rows->form.int8, rows->form.types,
                             out);
        else
            failure = put_touched_row(L, result, i - 1, out);
        lua_pop(L, 1);
    }
    buf_put_char(out, ']');
    return failure;
}

const char *rows_put_json(lua_State *L, int index, struct buf *out)
{
    const struct rows *rows = to_rows(L, index);
    const char *failure;

    if (rows_are_untouched(L, index)) {
        pg_rows_json(rows->result, rows->form.int8, rows->form.types, out);
        return NULL;
    }
    lua_getfenv(L, index);
    failure = put_rows(L, rows, out);
    lua_pop(L, 1);
    return failure;
}

static int l_is_rows(lua_State *L)
{
    lua_pushboolean(L, is_rows(L, 1));
    return 1;
}

/* rows_bytes(rows): what the result takes. */
static int l_rows_bytes(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)pg_rows_bytes(check_rows(L, 1)));
    return 1;
}

/* is_untouched(rows): see rows_are_untouched(); false for other values. */
static int l_is_untouched(lua_State *L)
{
    lua_pushboolean(L, is_rows(L, 1) && rows_are_untouched(L, 1));
    return 1;
}

/* decode_with(fn): what json and jsonb columns are read by. */
static int l_decode_with(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "tidepool.decode");
    return 0;
}

static const luaL_Reg methods[] = {
    { "__index", l_index },   { "__newindex", l_newindex },
    { "__len", l_len },       { "__gc", l_gc },
    { "columns", l_columns }, { "affected", l_affected },
    { "table", l_table },     { NULL, NULL },
};

static const luaL_Reg functions[] = {
    { "is_rows", l_is_rows },
    { "rows_bytes", l_rows_bytes },
    { "is_untouched", l_is_untouched },
    { "decode_with", l_decode_with },
    { NULL, NULL },
};

void bind_rows(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, ROWS_TYPE, methods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
