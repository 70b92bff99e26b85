/*
 * strings.h - find, match, gmatch, gsub and rep of Lua's string library, in
 * bounds: those of LuaJIT cannot be interrupted, and "x":rep(1e9) is a
 * gigabyte.
 */
#ifndef TIDEPOOL_SCRIPT_STRINGS_H
#define TIDEPOOL_SCRIPT_STRINGS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed by the state for its life. */
struct string_bounds {
    uint64_t max_steps;        /* of one match, see pattern.h; 0: no limit */
    size_t max_bytes;          /* of a result */
    bool (*is_over)(void *ud); /* a call that takes long is to end; or NULL */
    void (*end)(void *ud, lua_State *L); /* ... by this, which raises */
    void *ud;
};

/* Puts them in the place of those in the table string. */
void strings_bind(lua_State *L, const struct string_bounds *bounds);

#endif
