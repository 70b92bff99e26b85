/*
 * guest.h - a vm in a Lua state that is a host's: luaopen_tidepool() of
 * tidepool.h.
 *
 * The state is not made, closed or changed: its globals, libraries, hooks and
 * allocator stay as they are.  The modules of lua/tidepool/ have globals and a
 * require of their own.  The loop is turned by guest.lua, from a call of the
 * host's or from luv's loop.
 *
 * The vm lies in a userdata, the first of ours, so the last to be finalised
 * when the state is closed: then nothing of it is left to free but that.  What
 * runs and is open is ended before, by the finaliser of the sentinel, a
 * userdata that is made anew whenever the host is to go on, so is among the
 * last of ours, and the first to be finalised.
 */
#ifndef TIDEPOOL_SCRIPT_GUEST_H
#define TIDEPOOL_SCRIPT_GUEST_H

#include "script/vm.h"

struct guest;

/* Leaves the module of this state, the same each time; raises when it cannot be
 * made. */
int guest_open(lua_State *L);

/* For a call that waits: raises in a child of fork(), when the state is being
 * closed, and in a coroutine that such a call cannot pass through. */
void guest_check_wait(lua_State *L, const struct guest *guest);

/* Puts one in the place of the finaliser on top that does nothing in a child of
 * fork(): what is open there is the parent's. */
void guest_guard_finaliser(lua_State *L, struct guest *guest);

#endif
