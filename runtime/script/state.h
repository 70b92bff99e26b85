/*
 * state.h - what is in a Lua state of ours: the standard libraries as scripts
 * have them, the modules of lua/tidepool/, and what they are made of in C.
 */
#ifndef TIDEPOOL_SCRIPT_STATE_H
#define TIDEPOOL_SCRIPT_STATE_H

#include "script/vm.h"

/* Of a new state, whose vm is argument 1.  Under lua_cpcall, so that no memory
 * is an error, no panic. */
int state_set_up(lua_State *L);

#endif
