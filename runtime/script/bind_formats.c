/* bind_formats.c - values as JSON and as MessagePack, for Lua. */
#include "script/core.h"
#include "script/json.h"
#include "script/msgpack.h"

typedef const char *(*put_fn)(lua_State *L, int index, struct buf *out);

/* Leaves the bytes; or nil and what cannot be written. */
static int encode(lua_State *L, put_fn put)
{
    struct buf *out = &vm_of(L)->json;
    const char *failure;

    luaL_checkany(L, 1);
    buf_clear(out);
    failure = put(L, 1, out);
    if (buf_failed(out))
        failure = "out of memory: the value is too large";
    if (failure != NULL) {
        lua_pushnil(L);
        lua_pushstring(L, failure);
        return 2;
    }
    lua_pushlstring(L, out->data, out->len);
    return 1;
}

static int l_encode(lua_State *L)
{
    return encode(L, json_put_value);
}

static int l_msgpack_encode(lua_State *L)
{
    return encode(L, msgpack_put_value);
}

/* msgpack_decode(bytes): the value; or nil and what is wrong, and where. */
static int l_msgpack_decode(lua_State *L)
{
    size_t len, at;
    const char *bytes = luaL_checklstring(L, 1, &len);
    const char *failure = msgpack_push_value(L, bytes, len, &at);

    if (failure == NULL)
        return 1;
    lua_pushnil(L);
    lua_pushfstring(L, "%s at byte %d of %d", failure, (int)at + 1, (int)len);
    return 2;
}

static const luaL_Reg functions[] = {
    { "encode", l_encode },
    { "msgpack_encode", l_msgpack_encode },
    { "msgpack_decode", l_msgpack_decode },
    { NULL, NULL },
};

void bind_formats(lua_State *L, struct vm *vm)
{
    vm_register(L, vm, functions);
}
