/* msgpack_write.c - see msgpack.h: from Lua to bytes. */
#include "base/json.h"
#include "pg/param.h"
#include "script/bind_rows.h"
#include "script/json.h"
#include "script/msgpack.h"
#include "script/param_value.h"

#include <math.h>
#include <string.h>

static const double WHOLE_MAX = 9007199254740992.0; /* 2^53 */

static const char *put_value(lua_State *L, int index, struct buf *out,
                             int depth);

/* A tag and a number in so many bytes, the highest first. */
static void put_tagged(struct buf *out, unsigned tag, uint64_t number,
                       unsigned size)
{
    char bytes[9] = { (char)tag };

    for (unsigned i = 0; i < size; i++)
        bytes[1 + i] = (char)(number >> 8 * (size - 1 - i));
    buf_put(out, bytes, 1 + size);
}

/* By the first tag of a family of 8, 16 and 32 bits. */
static void put_len(struct buf *out, unsigned tag, size_t len)
{
    if (len <= UINT8_MAX)
        put_tagged(out, tag, len, 1);
    else if (len <= UINT16_MAX)
        put_tagged(out, tag + 1, len, 2);
    else
        put_tagged(out, tag + 2, len, 4);
}

/* Of an array or a map, whose families begin at 16 bits. */
static void put_count(struct buf *out, unsigned fix, unsigned tag, size_t count)
{
    if (count < 16)
        put_tagged(out, fix | (unsigned)count, 0, 0);
    else if (count <= UINT16_MAX)
        put_tagged(out, tag, count, 2);
    else
        put_tagged(out, tag + 1, count, 4);
}

static const char *put_bytes(struct buf *out, const char *bytes, size_t len,
                             bool is_text)
{
    if (len > UINT32_MAX)
        return "a string is longer than 4 GiB, which MessagePack has not";
    if (is_text && len < 32)
        put_tagged(out, MSGPACK_FIX_TEXT | (unsigned)len, 0, 0);
    else
        put_len(out, is_text ? MSGPACK_TEXT_8 : MSGPACK_BYTES_8, len);
    buf_put(out, bytes, len);
    return NULL;
}

static const char *put_string(lua_State *L, int index, struct buf *out,
                              bool is_text)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);

    for (size_t i = 0; i < len && is_text;) {
        size_t step = utf8_len(text + i);

        is_text = step > 0;
        i += step;
    }
    return put_bytes(out, text, len, is_text);
}

static void put_whole(struct buf *out, int64_t number)
{
    unsigned bits = 0; /* the power of two of the size */
    uint64_t most = (uint64_t)(number < 0 ? ~number : number);

    if (number >= -32 && number < 128) {
        put_tagged(out, (unsigned)number & 0xff, 0, 0);
        return;
    }
    if (number < 0)
        most <<= 1; /* room for the sign */
    while (bits < 3 && most >> (8U << bits) != 0)
        bits++;
    put_tagged(out, (number < 0 ? MSGPACK_SIGNED_8 : MSGPACK_UNSIGNED_8) + bits,
               (uint64_t)number, 1U << bits);
}

static const char *put_number(struct buf *out, double number)
{
    uint64_t bits;

    if (number == floor(number) && fabs(number) <= WHOLE_MAX &&
        !(number == 0 && signbit(number))) {
        put_whole(out, (int64_t)number);
        return NULL;
    }
    memcpy(&bits, &number, sizeof(bits));
    put_tagged(out, MSGPACK_FLOAT_64, bits, 8);
    return NULL;
}

static const char *put_array(lua_State *L, int table, int len, struct buf *out,
                             int depth)
{
    const char *failure = NULL;

    put_count(out, MSGPACK_FIX_ARRAY, MSGPACK_ARRAY_16, (size_t)len);
    for (int i = 1; i <= len && failure == NULL; i++) {
        lua_rawgeti(L, table, i);
        failure = put_value(L, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    return failure;
}

static size_t count_pairs(lua_State *L, int table)
{
    size_t count = 0;

    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        lua_pop(L, 1);
        count++;
    }
    return count;
}

/* The key at index, which lua_next() still needs as it is. */
static const char *put_key(lua_State *L, int index, struct buf *out)
{
    int type = lua_type(L, index);

    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
        return "a key of a table is no string, number or boolean";
    return put_value(L, index, out, 0);
}

static const char *put_map(lua_State *L, int table, struct buf *out, int depth)
{
    const char *failure = NULL;

    put_count(out, MSGPACK_FIX_MAP, MSGPACK_MAP_16, count_pairs(L, table));
    lua_pushnil(L);
    while (failure == NULL && lua_next(L, table) != 0) {
        int value = lua_gettop(L);

        failure = put_key(L, value - 1, out);
        if (failure == NULL)
            failure = put_value(L, value, out, depth + 1);
        lua_pop(L, 1);
    }
    return failure;
}

/* tide.bytes and tide.array say what is meant. */
static const char *put_param_value(lua_State *L, enum pg_param_kind kind,
                                   struct buf *out, int depth)
{
    int value = lua_gettop(L);
    int len;

    if (kind == PG_PARAM_BYTES)
        return put_string(L, value, out, false);
    if (kind != PG_PARAM_ARRAY)
        return "a tide.json_param is a parameter and cannot be part of a value";
    len = json_array_len(L, value);
    if (len < 0 && count_pairs(L, value) > 0)
        return "the keys of a tide.array are not 1, 2, 3 ...";
    return put_array(L, value, len > 0 ? len : 0, out, depth);
}

static const char *put_table(lua_State *L, int table, struct buf *out,
                             int depth)
{
    enum pg_param_kind kind;
    const char *failure;
    int top = lua_gettop(L);
    int len;

    if (depth >= MSGPACK_DEPTH_MAX)
        return "a table is nested more than 100 deep, or holds itself";
    if (!lua_checkstack(L, 8))
        return "the stack is full";
    if (param_value_open(L, table, &kind)) {
        failure = put_param_value(L, kind, out, depth);
    } else {
        len = json_array_len(L, table);
        failure = len < 0 ? put_map(L, table, out, depth)
                          : put_array(L, table, len, out, depth);
    }
    lua_settop(L, top);
    return failure;
}

/* An array of maps, row by row. */
static const char *put_rows(lua_State *L, int rows, struct buf *out, int depth)
{
    const char *failure = NULL;
    int count;

    if (!lua_checkstack(L, 8))
        return "the stack is full";
    luaL_callmeta(L, rows, "__len");
    count = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    put_count(out, MSGPACK_FIX_ARRAY, MSGPACK_ARRAY_16, (size_t)count);
    for (int i = 1; i <= count && failure == NULL; i++) {
        lua_pushinteger(L, i);
        lua_gettable(L, rows);
        failure = put_value(L, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    return failure;
}

static const char *put_value(lua_State *L, int index, struct buf *out,
                             int depth)
{
    switch (lua_type(L, index)) {
    case LUA_TNIL: put_tagged(out, MSGPACK_NIL, 0, 0); return NULL;
    case LUA_TLIGHTUSERDATA: /* tide.null */
        if (lua_touserdata(L, index) != NULL)
            return "a light userdata cannot be written";
        put_tagged(out, MSGPACK_NIL, 0, 0);
        return NULL;
    case LUA_TBOOLEAN:
        put_tagged(
            out, lua_toboolean(L, index) ? MSGPACK_TRUE_TAG : MSGPACK_FALSE_TAG,
            0, 0);
        return NULL;
    case LUA_TNUMBER: return put_number(out, lua_tonumber(L, index));
    case LUA_TSTRING: return put_string(L, index, out, true);
    case LUA_TTABLE: return put_table(L, index, out, depth);
    case LUA_TUSERDATA:
        if (is_rows(L, index))
            return put_rows(L, index, out, depth);
        return "a userdata that is no rows cannot be written";
    case LUA_TFUNCTION: return "a function cannot be written";
    case LUA_TTHREAD: return "a coroutine cannot be written";
    default: return "a cdata cannot be written";
    }
}

const char *msgpack_put_value(lua_State *L, int index, struct buf *out)
{
    return put_value(L, index, out, 0);
}
