/*
 * core.h - the parts of tidepool.core: each adds its functions to the table on
 * top of the stack.
 */
#ifndef TIDEPOOL_SCRIPT_CORE_H
#define TIDEPOOL_SCRIPT_CORE_H

#include <lua.h>

struct vm;

void bind_err(lua_State *L, struct vm *vm);
void bind_task(lua_State *L, struct vm *vm);
void bind_children(lua_State *L, struct vm *vm);
void bind_ending(lua_State *L, struct vm *vm);
void bind_waiter(lua_State *L, struct vm *vm);
void bind_pool(lua_State *L, struct vm *vm);
void bind_login(lua_State *L, struct vm *vm);   /* after bind_pool() */
void bind_lease(lua_State *L, struct vm *vm);   /* after bind_pool() */
void bind_hooks(lua_State *L, struct vm *vm);   /* after bind_lease() */
void bind_failure(lua_State *L, struct vm *vm); /* the same */
void bind_rows(lua_State *L, struct vm *vm);
void bind_param_value(lua_State *L, struct vm *vm);
void bind_formats(lua_State *L, struct vm *vm);
void bind_pg(lua_State *L, struct vm *vm);
void bind_redis(lua_State *L, struct vm *vm);
void bind_pubsub(lua_State *L, struct vm *vm); /* after bind_lease() */
void bind_listen(lua_State *L, struct vm *vm); /* the same */
void bind_copy(lua_State *L, struct vm *vm);   /* the same */
void bind_policy(lua_State *L, struct vm *vm); /* after bind_pool() */
void bind_sim(lua_State *L, struct vm *vm);
void bind_trace(lua_State *L, struct vm *vm);
void bind_events(lua_State *L, struct vm *vm);
void bind_http(lua_State *L, struct vm *vm);
void bind_request(lua_State *L, struct vm *vm);
void bind_origin(lua_State *L, struct vm *vm); /* after bind_request() */
void bind_sockets(lua_State *L, struct vm *vm);
void bind_files(lua_State *L, struct vm *vm);
void bind_journal(lua_State *L, struct vm *vm);
void bind_process(lua_State *L, struct vm *vm);
void bind_manager(lua_State *L, struct vm *vm);
void bind_budget(lua_State *L, struct vm *vm);
void bind_tls(lua_State *L, struct vm *vm);
void bind_load(lua_State *L, struct vm *vm);
void bind_terminal(lua_State *L, struct vm *vm);
void bind_limits(lua_State *L, struct vm *vm);
void bind_confine(lua_State *L, struct vm *vm);
void bind_core(lua_State *L, struct vm *vm);
void bind_compile(lua_State *L, struct vm *vm);

#endif
