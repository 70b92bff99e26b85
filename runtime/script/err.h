/*
 * err.h - error objects, the one form in which scripts see a failure: err.code,
 * message, sqlstate, retryable, waited, status.
 */
#ifndef TIDEPOOL_SCRIPT_ERR_H
#define TIDEPOOL_SCRIPT_ERR_H

#include "base/err.h"

#include <lua.h>
#include <stdbool.h>

/* Pushes an error object.  text may be NULL: then the sentence of err. */
void push_err(lua_State *L, enum err err, const struct err_text *text);
bool is_err(lua_State *L, int index);
/* Leaves nil, err: how every call reports a failure of the world. */
int return_err(lua_State *L, enum err err, const struct err_text *text);
int return_text(lua_State *L, enum err err, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Raises a message at the line of the script, however deep our own modules have
 * called from there. */
_Noreturn void raise_at_script(lua_State *L, const char *format, ...)
    PRINTF_LIKE(2, 3);

#endif
