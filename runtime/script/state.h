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

/* Leaves the function that makes a module of ours, or a library that these
 * need, whose environment is that of the module; false when there is none by
 * this name. */
bool state_push_loader(lua_State *L, struct vm *vm, const char *name);

/* As far as nothing else is said. */
void state_bound_strings(struct vm *vm);

#endif
