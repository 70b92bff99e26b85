/* tables.h - snapshots, options and wishes as tables of Lua. */
#ifndef TIDEPOOL_POLICY_TABLES_H
#define TIDEPOOL_POLICY_TABLES_H

#include "policy/host.h"

#include <lua.h>

void tables_push_snapshot(lua_State *L, const struct snapshot *snap);

/* Pushes the options of the policy at index with the operator's in place of
 * their defaults; raises for one that the policy does not have. */
void tables_push_options(lua_State *L, int index,
                         const struct policy_source *source);

/* Reads the two values on top, settings and the reason; raises, naming the
 * policy, for what they may not be. */
void tables_take_wish(lua_State *L, const char *policy,
                      struct policy_wish *wish);

#endif
