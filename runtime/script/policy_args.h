/* policy_args.h - what policies are given, read from tables of Lua. */
#ifndef TIDEPOOL_SCRIPT_POLICY_ARGS_H
#define TIDEPOOL_SCRIPT_POLICY_ARGS_H

#include "policy/host.h"

#include <lua.h>

enum { POLICY_OPTIONS_MAX = 32 };

/* Of the table on top, names to numbers or texts, which it keeps; none when it
 * is nil.  Says how many; raises for another value. */
size_t policy_options_read(lua_State *L, struct policy_option *options);

/* The rails of the table on top: setting to { min =, max =, step =, every = };
 * none when it is nil.  rails has RAILS_SETTINGS, all zero.  Raises for an
 * unknown setting. */
void policy_rails_read(lua_State *L, struct rail *rails);

#endif
