/* json.h - Lua values as JSON. */
#ifndef TIDEPOOL_SCRIPT_JSON_H
#define TIDEPOOL_SCRIPT_JSON_H

#include "script/vm.h"

/*
 * Appends the value at index, which may hold rows, to any depth up to 100.
 * Every double is written so that it reads back as itself.  A table whose
 * keys are 1..n, at most half of them missing, is an array, any other one and
 * the empty one an object.  Returns NULL, or a sentence that says what cannot
 * be written; raises only when Lua has no memory.
 */
const char *json_put_value(lua_State *L, int index, struct buf *out);

/* The length of the array that the table at an absolute index is, or -1 when it
 * is an object. */
int json_array_len(lua_State *L, int table);

#endif
