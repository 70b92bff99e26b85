/* bind_policy.h - policies at work on the pools of a Lua state. */
#ifndef TIDEPOOL_SCRIPT_BIND_POLICY_H
#define TIDEPOOL_SCRIPT_BIND_POLICY_H

#include "script/bind_pool.h"

/* The pool closes: no policy sees it any more. */
void policy_forget_pool(struct script_pool *box);

#endif
