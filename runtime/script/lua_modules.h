/* lua_modules.h - the Lua files of lua/tidepool/, compiled in by lua/embed.c.
 */
#ifndef TIDEPOOL_SCRIPT_LUA_MODULES_H
#define TIDEPOOL_SCRIPT_LUA_MODULES_H

#include <stddef.h>

struct lua_module {
    const char *name;  /* as given to require: "tidepool.toml" */
    const char *chunk; /* for messages: "@lua/tidepool/toml.lua" */
    const char *text;
    size_t text_len;
    const char *code; /* its bytecode, which loads in a sixth of the time */
    size_t code_len;
};

/* Ends with a NULL name. */
extern const struct lua_module lua_modules[];

#endif
