/* msgpack_read.c - see msgpack.h: from bytes to Lua. */
#include "script/msgpack.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROOM_MAX = 256 };

static const int64_t WHOLE_MAX = (int64_t)1 << 53;

struct reader {
    lua_State *L;
    const unsigned char *bytes;
    size_t len;
    size_t at;
    size_t failed_at; /* where the value begins that is wrong */
};

static const char *push_value(struct reader *reader, int depth);

/* The number in the next size bytes, which are there. */
static uint64_t take_number(struct reader *reader, unsigned size)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < size; i++)
        number = number << 8 | reader->bytes[reader->at++];
    return number;
}

static size_t left(const struct reader *reader)
{
    return reader->len - reader->at;
}

static const char *const CUT = "the bytes end within what begins here";

/* Whole numbers beyond 2^53 are no doubles: they become text, as of Postgres'
 * int8. */
static const char *push_whole(struct reader *reader, unsigned tag)
{
    bool is_signed = tag >= MSGPACK_SIGNED_8;
    unsigned size =
        1U << (tag - (is_signed ? MSGPACK_SIGNED_8 : MSGPACK_UNSIGNED_8));
    char text[24];
    uint64_t bits;
    int64_t number;

    if (left(reader) < size)
        return CUT;
    bits = take_number(reader, size);
    number = (int64_t)(bits << (64 - 8 * size)) >> (64 - 8 * size);
    if (!is_signed && bits > (uint64_t)WHOLE_MAX)
        snprintf(text, sizeof(text), "%" PRIu64, bits);
    else if (is_signed && (number > WHOLE_MAX || number < -WHOLE_MAX))
        snprintf(text, sizeof(text), "%" PRId64, number);
    else {
        lua_pushnumber(reader->L,
                       is_signed ? (lua_Number)number : (lua_Number)bits);
        return NULL;
    }
    lua_pushstring(reader->L, text);
    return NULL;
}

static const char *push_float(struct reader *reader, unsigned tag)
{
    unsigned size = tag == MSGPACK_FLOAT_32 ? 4 : 8;
    uint64_t bits;
    double number;

    if (left(reader) < size)
        return CUT;
    bits = take_number(reader, size);
    if (tag == MSGPACK_FLOAT_32) {
        uint32_t half = (uint32_t)bits;
        float single;

        memcpy(&single, &half, sizeof(single));
        number = (double)single;
    } else {
        memcpy(&number, &bits, sizeof(number));
    }
    /* LuaJIT keeps types in NaNs: one of the wire's own could be any. */
    lua_pushnumber(reader->L, isnan(number) ? (double)NAN : number);
    return NULL;
}

static const char *push_string(struct reader *reader, uint64_t len)
{
    if (left(reader) < len)
        return CUT;
    lua_pushlstring(reader->L, (const char *)reader->bytes + reader->at, len);
    reader->at += len;
    return NULL;
}

/* How much room a table has from the start: what it has in the end is the
 * bytes' to say, for a count costs its sender nothing. */
static int room(uint64_t count)
{
    return count < ROOM_MAX ? (int)count : ROOM_MAX;
}

static const char *push_array(struct reader *reader, uint64_t count, int depth)
{
    lua_State *L = reader->L;

    if (left(reader) < count)
        return CUT;
    lua_createtable(L, room(count), 0);
    for (uint64_t i = 1; i <= count; i++) {
        const char *failure = push_value(reader, depth + 1);

        if (failure != NULL)
            return failure;
        lua_rawseti(L, -2, (int)i);
    }
    return NULL;
}

static bool is_key(lua_State *L, int index)
{
    int type = lua_type(L, index);
    lua_Number number = lua_tonumber(L, index);

    if (type == LUA_TNUMBER)
        return number == number; /* no NaN */
    return type == LUA_TSTRING || type == LUA_TBOOLEAN;
}

static const char *push_map(struct reader *reader, uint64_t count, int depth)
{
    lua_State *L = reader->L;

    if (left(reader) / 2 < count)
        return CUT;
    lua_createtable(L, 0, room(count));
    for (; count > 0; count--) {
        size_t at = reader->at;
        const char *failure = push_value(reader, depth + 1);

        if (failure == NULL && !is_key(L, -1)) {
            reader->failed_at = at;
            return "a key that is no text, number or boolean";
        }
        if (failure == NULL)
            failure = push_value(reader, depth + 1);
        if (failure != NULL)
            return failure;
        lua_rawset(L, -3);
    }
    return NULL;
}

/* What is said of a length of size bytes follows it. */
static const char *push_long(struct reader *reader, unsigned tag, unsigned size,
                             int depth)
{
    uint64_t len;

    if (left(reader) < size)
        return CUT;
    len = take_number(reader, size);
    if (tag == MSGPACK_ARRAY_16 || tag == MSGPACK_ARRAY_32)
        return push_array(reader, len, depth);
    if (tag == MSGPACK_MAP_16 || tag == MSGPACK_MAP_32)
        return push_map(reader, len, depth);
    return push_string(reader, len);
}

static const char *push_tagged(struct reader *reader, unsigned tag, int depth)
{
    if (tag == MSGPACK_NIL) {
        lua_pushlightuserdata(reader->L, NULL); /* tide.null */
    } else if (tag == MSGPACK_FALSE_TAG || tag == MSGPACK_TRUE_TAG) {
        lua_pushboolean(reader->L, tag == MSGPACK_TRUE_TAG);
    } else if (tag >= MSGPACK_BYTES_8 && tag <= MSGPACK_BYTES_32) {
        return push_long(reader, tag, 1U << (tag - MSGPACK_BYTES_8), depth);
    } else if (tag == MSGPACK_FLOAT_32 || tag == MSGPACK_FLOAT_64) {
        return push_float(reader, tag);
    } else if (tag >= MSGPACK_UNSIGNED_8 && tag <= MSGPACK_SIGNED_64) {
        return push_whole(reader, tag);
    } else if (tag >= MSGPACK_TEXT_8 && tag <= MSGPACK_TEXT_32) {
        return push_long(reader, tag, 1U << (tag - MSGPACK_TEXT_8), depth);
    } else if (tag >= MSGPACK_ARRAY_16) {
        bool is_16 = tag == MSGPACK_ARRAY_16 || tag == MSGPACK_MAP_16;

        return push_long(reader, tag, is_16 ? 2 : 4, depth);
    } else if (tag == MSGPACK_NEVER) {
        return "0xc1, which begins nothing";
    } else {
        return "an extension type: there is nothing in Lua for it";
    }
    return NULL;
}

static const char *push_form(struct reader *reader, unsigned tag, int depth)
{
    if (tag < MSGPACK_FIX_MAP || tag >= MSGPACK_NEGATIVE) {
        lua_pushinteger(reader->L, (int8_t)tag);
        return NULL;
    }
    if (tag < MSGPACK_FIX_ARRAY)
        return push_map(reader, tag - MSGPACK_FIX_MAP, depth);
    if (tag < MSGPACK_FIX_TEXT)
        return push_array(reader, tag - MSGPACK_FIX_ARRAY, depth);
    if (tag < MSGPACK_NIL)
        return push_string(reader, tag - MSGPACK_FIX_TEXT);
    return push_tagged(reader, tag, depth);
}

/* Pushes the next value; or says what is wrong at failed_at. */
static const char *push_value(struct reader *reader, int depth)
{
    const char *failure = CUT;
    size_t at = reader->at;

    if (depth > MSGPACK_DEPTH_MAX)
        failure = "more than 100 values in one another";
    else if (!lua_checkstack(reader->L, 4))
        failure = "the stack is full";
    else if (left(reader) > 0)
        failure = push_form(reader, reader->bytes[reader->at++], depth);
    if (failure != NULL && reader->failed_at == SIZE_MAX)
        reader->failed_at = at;
    return failure;
}

const char *msgpack_push_value(lua_State *L, const char *bytes, size_t len,
                               size_t *at)
{
    struct reader reader = { .L = L,
                             .bytes = (const unsigned char *)bytes,
                             .len = len,
                             .failed_at = SIZE_MAX };
    const char *failure = push_value(&reader, 0);

    if (failure == NULL && left(&reader) > 0) {
        failure = "more bytes, behind the value,";
        reader.failed_at = reader.at;
    }
    *at = reader.failed_at;
    return failure;
}
