/* nested.h - a wait for a connection that cannot end: all are held by tasks
 * that wait themselves. */
#ifndef TIDEPOOL_SCRIPT_NESTED_H
#define TIDEPOOL_SCRIPT_NESTED_H

#include "script/bind_pool.h"

/*
 * To be asked by a task that is about to wait for a connection of box's pool,
 * or to send what will need one.  When none can come free, pushes nil, err
 * (busy), which names where the connection is held and, by level of L's stack,
 * where another is asked for; says how many values that are, 0 when it may
 * wait.
 */
int nested_refuse(lua_State *L, const struct task *task,
                  struct script_pool *box, int level);

/* Raises, at the script's line, when task runs a hook of the pool: it has a
 * connection.  task may be NULL. */
void nested_check_hook(lua_State *L, const struct task *task,
                       const struct script_pool *box);

#endif
