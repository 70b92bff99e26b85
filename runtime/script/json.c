/* json.c - see json.h.  cjson, which decodes for us, writes 14 digits at most.
 */
#include "script/json.h"
#include "base/json.h"
#include "base/number.h"
#include "script/bind_rows.h"
#include "script/param_value.h"

#include <math.h>

enum { DEPTH_MAX = 100, ARRAY_SLACK = 10 };

static const char *put_value(lua_State *L, int index, struct buf *out,
                             int depth);

int json_array_len(lua_State *L, int table)
{
    double largest = 0;
    int count = 0;

    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
        lua_pop(L, 1);
        if (key < 1 || key != floor(key) || key > INT32_MAX) {
            lua_pop(L, 1);
            return -1;
        }
        largest = key > largest ? key : largest;
        count++;
    }
    return count == 0 || largest > 2.0 * count + ARRAY_SLACK ? -1
                                                             : (int)largest;
}

static const char *put_array(lua_State *L, int table, int len, struct buf *out,
                             int depth)
{
    const char *failure = NULL;

    buf_put_char(out, '[');
    for (int i = 1; i <= len && failure == NULL; i++) {
        if (i > 1)
            buf_put_char(out, ',');
        lua_rawgeti(L, table, i);
        failure = put_value(L, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    buf_put_char(out, ']');
    return failure;
}

/* The key at index, which lua_next() still needs as it is. */
static const char *put_key(lua_State *L, int index, struct buf *out)
{
    char digits[NUMBER_TEXT_MAX];
    const char *text;
    size_t len;

    if (lua_type(L, index) == LUA_TNUMBER) {
        len = number_text(digits, lua_tonumber(L, index));
        json_put_string(out, digits, len);
        return NULL;
    }
    if (lua_type(L, index) != LUA_TSTRING)
        return "a key of a table is neither a string nor a number";
    text = lua_tolstring(L, index, &len);
    json_put_string(out, text, len);
    return NULL;
}

static const char *put_object(lua_State *L, int table, struct buf *out,
                              int depth)
{
    const char *failure = NULL;
    bool has_more = false;

    buf_put_char(out, '{');
    lua_pushnil(L);
    while (failure == NULL && lua_next(L, table) != 0) {
        int value = lua_gettop(L);
        if (has_more)
            buf_put_char(out, ',');
        has_more = true;
        failure = put_key(L, value - 1, out);
        buf_put_char(out, ':');
        if (failure == NULL)
            failure = put_value(L, value, out, depth + 1);
        lua_pop(L, 1);
    }
    buf_put_char(out, '}');
    return failure;
}

static const char *put_table(lua_State *L, int table, struct buf *out,
                             int depth)
{
    const char *failure;
    int top = lua_gettop(L);
    int len;

    if (depth >= DEPTH_MAX)
        return "a table is nested more than 100 deep, or holds itself";
    if (!lua_checkstack(L, 8))
        return "the stack is full";
    len = json_array_len(L, table);
    failure = len < 0 ? put_object(L, table, out, depth)
                      : put_array(L, table, len, out, depth);
    lua_settop(L, top);
    return failure;
}

static const char *put_number(double number, struct buf *out)
{
    char digits[NUMBER_TEXT_MAX];
    size_t len;

    if (!isfinite(number))
        return "a number is infinite or NaN, which JSON has not";
    len = number_text(digits, number);
    buf_put(out, digits, len);
    return NULL;
}

static const char *put_value(lua_State *L, int index, struct buf *out,
                             int depth)
{
    const char *text;
    size_t len;

    switch (lua_type(L, index)) {
    case LUA_TNIL: buf_put_str(out, "null"); return NULL;
    case LUA_TLIGHTUSERDATA: /* tide.null */
        if (lua_touserdata(L, index) != NULL)
            return "a light userdata cannot be written";
        buf_put_str(out, "null");
        return NULL;
    case LUA_TBOOLEAN:
        buf_put_str(out, lua_toboolean(L, index) ? "true" : "false");
        return NULL;
    case LUA_TNUMBER: return put_number(lua_tonumber(L, index), out);
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        json_put_string(out, text, len);
        return NULL;
    case LUA_TTABLE:
        if (is_param_value(L, index))
            return "a tide.array, tide.bytes or tide.json_param is a "
                   "parameter by itself and cannot be part of a value";
        return put_table(L, index, out, depth);
    case LUA_TUSERDATA:
        if (is_rows(L, index))
            return rows_put_json(L, index, out);
        return "a userdata that is no rows cannot be written";
    case LUA_TFUNCTION: return "a function cannot be written";
    case LUA_TTHREAD: return "a coroutine cannot be written";
    default: return "a cdata cannot be written";
    }
}

const char *json_put_value(lua_State *L, int index, struct buf *out)
{
    return put_value(L, index, out, 0);
}
