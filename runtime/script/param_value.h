/* param_value.h - parameters that say what they are: tide.array, tide.bytes,
 * tide.json_param. */
#ifndef TIDEPOOL_SCRIPT_PARAM_VALUE_H
#define TIDEPOOL_SCRIPT_PARAM_VALUE_H

#include "pg/param.h"
#include "script/vm.h"

/* Whether the value at index is one; then pushes what it holds. */
bool param_value_open(lua_State *L, int index, enum pg_param_kind *kind);
bool is_param_value(lua_State *L, int index);

#endif
