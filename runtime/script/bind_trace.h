/* bind_trace.h - recordings and dumps of pools as Lua values. */
#ifndef TIDEPOOL_SCRIPT_BIND_TRACE_H
#define TIDEPOOL_SCRIPT_BIND_TRACE_H

#include "script/bind_pool.h"
#include "trace/trace.h"

/* The pool closes: nothing of it is written any more. */
void trace_forget_pool(struct script_pool *box);

/* The trace at index; raises when it is none. */
const struct trace *check_trace(lua_State *L, int index);

#endif
