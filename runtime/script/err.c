/* err.c - see err.h. */
#include "script/err.h"

#include "script/core.h"
#include "script/fields.h"
#include "script/userdata.h"
#include "script/vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ERR_TYPE[] = "tidepool.err";

/* May the same call succeed later, with nothing changed? */
static bool is_retryable(enum err err, const char *sqlstate)
{
    if (err == ERR_SERVER) /* serialization failure, deadlock, shutting down */
        return strncmp(sqlstate, "40", 2) == 0 ||
               strncmp(sqlstate, "57P", 3) == 0 ||
               strncmp(sqlstate, "53", 2) == 0;
    return err == ERR_TIMEOUT || err == ERR_BUSY || err == ERR_REFUSED ||
           err == ERR_LOST;
}

void push_err(lua_State *L, enum err err, const struct err_text *text)
{
    const char *sqlstate = text ? text->sqlstate : "";
    bool has_text = text && text->text[0] != '\0';

    lua_createtable(L, 0, 5);
    field_text_if_any(L, "code", err_code(err));
    field_text_if_any(L, "message", has_text ? text->text : err_sentence(err));
    field_text_if_any(L, "sqlstate", sqlstate);
    lua_pushboolean(L, is_retryable(err, sqlstate));
    lua_setfield(L, -2, "retryable");
    vm_set_type(L, ERR_TYPE);
}

int return_err(lua_State *L, enum err err, const struct err_text *text)
{
    lua_pushnil(L);
    push_err(L, err, text);
    return 2;
}

int return_text(lua_State *L, enum err err, const char *format, ...)
{
    struct err_text text;
    char line[ERR_TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    text.sqlstate[0] = '\0';
    err_text_set(&text, "%s", line);
    return return_err(L, err, &text);
}

/* Pushes "app.lua:12: " of the innermost function that is not of our modules,
 * or nothing. */
static void push_script_line(lua_State *L)
{
    static const char ours[] = "@lua/tidepool/";
    lua_Debug at;

    for (int level = 1; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.currentline <= 0 || strncmp(at.source, ours, strlen(ours)) == 0)
            continue;
        lua_pushfstring(L, "%s:%d: ", at.short_src, at.currentline);
        return;
    }
    lua_pushliteral(L, "");
}

_Noreturn void raise_at_script(lua_State *L, const char *format, ...)
{
    char message[ERR_TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    push_script_line(L);
    lua_pushfstring(L, "%s%s", lua_tostring(L, -1), message);
    lua_error(L);
    abort(); /* not reached: Lua does not say that it never returns */
}

static int l_err_tostring(lua_State *L)
{
    lua_getfield(L, 1, "message");
    lua_getfield(L, 1, "sqlstate");
    if (!lua_isnil(L, -1))
        lua_pushfstring(L, "%s (SQLSTATE %s)", lua_tostring(L, -2),
                        lua_tostring(L, -1));
    else
        lua_pop(L, 1);
    return 1;
}

bool is_err(lua_State *L, int index)
{
    return lua_istable(L, index) && vm_is_type(L, index, ERR_TYPE);
}

static int l_is_err(lua_State *L)
{
    lua_pushboolean(L, is_err(L, 1));
    return 1;
}

/* err(code, message [, fields]) */
static int l_err(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 3);
    lua_createtable(L, 0, 5);
    if (lua_istable(L, 3)) {
        lua_pushnil(L);
        while (lua_next(L, 3) != 0) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_settable(L, 4);
        }
    }
    lua_pushvalue(L, 1);
    lua_setfield(L, 4, "code");
    lua_pushvalue(L, 2);
    lua_setfield(L, 4, "message");
    vm_set_type(L, ERR_TYPE);
    return 1;
}

static const luaL_Reg metamethods[] = {
    { "__tostring", l_err_tostring },
    { NULL, NULL },
};

/* err_codes(): the list of what err.code may be. */
static int l_err_codes(lua_State *L)
{
    int count = 0;

    lua_newtable(L);
#define XX(name, code, text)  \
    lua_pushliteral(L, code); \
    lua_rawseti(L, -2, ++count);
    ERR_MAP(XX)
#undef XX
    return 1;
}

static const luaL_Reg functions[] = {
    { "err_codes", l_err_codes },
    { "err", l_err },
    { "is_err", l_is_err },
    { NULL, NULL },
};

void bind_err(lua_State *L, struct vm *vm)
{
    vm_metatable(L, vm, ERR_TYPE, metamethods);
    lua_pop(L, 1);
    vm_register(L, vm, functions);
}
