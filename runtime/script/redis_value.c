/* redis_value.c - see redis_value.h. */
#include "script/redis_value.h"

#include "base/number.h"
#include "redis/reply.h"
#include "script/err.h"
#include "script/failure.h"

#include <string.h>

/* ---- commands */

/* An argument as text, or NULL; whole ones have no point.  The text is kept by
 * the stack. */
static const char *argument(lua_State *L, int index, size_t *len)
{
    char digits[NUMBER_TEXT_MAX];

    if (lua_type(L, index) == LUA_TNUMBER) {
        size_t count = number_text(digits, lua_tonumber(L, index));
        lua_pushlstring(L, digits, count);
        lua_replace(L, index);
    }
    if (lua_type(L, index) != LUA_TSTRING)
        return NULL;
    return lua_tolstring(L, index, len);
}

enum err redis_words_read(lua_State *L, int first, struct redis_words *out,
                          struct err_text *why)
{
    int count = lua_gettop(L) - first + 1;

    if (count < 1 || count > REDIS_WORDS_MAX) {
        err_text_set(why, "a command has 1 to %d words, this one %d",
                     REDIS_WORDS_MAX, count);
        return ERR_BADARG;
    }
    out->count = (unsigned)count;
    for (int i = 0; i < count; i++) {
        out->args[i] = argument(L, first + i, &out->lens[i]);
        if (out->args[i] != NULL)
            continue;
        err_text_set(why,
                     "word %d of a Redis command: a string or a number "
                     "expected, got %s",
                     i + 1, luaL_typename(L, first + i));
        return ERR_BADARG;
    }
    return ERR_OK;
}

/* ---- replies */

static void push_array(lua_State *L, const struct redis_asker *asker,
                       const struct redis_reply *reply)
{
    size_t count = redis_reply_size(reply);

    luaL_checkstack(L, 4, "reply");
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_redis_reply(L, asker, redis_reply_at(reply, i), true);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* By key; keys that cannot be one, as no number can, are their text. */
static void push_map(lua_State *L, const struct redis_asker *asker,
                     const struct redis_reply *reply)
{
    size_t count = redis_reply_size(reply);

    luaL_checkstack(L, 5, "reply");
    lua_createtable(L, 0, (int)(count / 2));
    for (size_t i = 0; i + 1 < count; i += 2) {
        push_redis_reply(L, asker, redis_reply_at(reply, i), true);
        if (lua_type(L, -1) == LUA_TNUMBER &&
            lua_tonumber(L, -1) != lua_tonumber(L, -1)) {
            lua_pop(L, 1);
            lua_pushliteral(L, "nan");
        }
        push_redis_reply(L, asker, redis_reply_at(reply, i + 1), true);
        lua_rawset(L, -3);
    }
}

/* What Lua modules ask for and go on from: no failure of their callers'. */
static bool is_coped_with(const char *text)
{
    static const char *const words[] = { "NOSCRIPT ", "BUSYGROUP ",
                                         "ERR unknown command " };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strncmp(text, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

static void push_reply_err(lua_State *L, const struct redis_asker *asker,
                           const struct redis_reply *reply)
{
    struct err_text text = { .text = "" };
    size_t len;
    const char *words = redis_reply_text(reply, &len);

    err_text_set(&text, "%.*s", (int)len, words);
    if (!(asker->is_coping && is_coped_with(text.text)))
        failure_count(asker->box, ERR_SERVER);
    push_err(L, ERR_SERVER, &text);
}

void push_redis_reply(lua_State *L, const struct redis_asker *asker,
                      const struct redis_reply *reply, bool is_inner)
{
    const char *text;
    size_t len;

    switch (redis_reply_kind(reply)) {
    case REDIS_NIL:
        if (is_inner)
            lua_pushlightuserdata(L, NULL);
        else
            lua_pushnil(L);
        return;
    case REDIS_INT:
        lua_pushnumber(L, (lua_Number)redis_reply_integer(reply));
        return;
    case REDIS_ARRAY: push_array(L, asker, reply); return;
    case REDIS_MAP: push_map(L, asker, reply); return;
    case REDIS_DOUBLE: lua_pushnumber(L, redis_reply_double(reply)); return;
    case REDIS_BOOL:
        lua_pushboolean(L, redis_reply_integer(reply) != 0);
        return;
    case REDIS_ERROR: push_reply_err(L, asker, reply); return;
    case REDIS_TEXT:
    case REDIS_STATUS: break;
    }
    text = redis_reply_text(reply, &len);
    lua_pushlstring(L, text, len);
}
