/* fields.h - sets fields of the table on top of the stack. */
#ifndef TIDEPOOL_SCRIPT_FIELDS_H
#define TIDEPOOL_SCRIPT_FIELDS_H

#include <lua.h>

static inline void field_number(lua_State *L, const char *key, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, key);
}

static inline void field_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

/* No field for "". */
static inline void field_text_if_any(lua_State *L, const char *key,
                                     const char *text)
{
    if (text[0] != '\0')
        field_text(L, key, text);
}

#endif
