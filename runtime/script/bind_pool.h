/* bind_pool.h - pools as Lua values: what Postgres and Redis have in common. */
#ifndef TIDEPOOL_SCRIPT_BIND_POOL_H
#define TIDEPOOL_SCRIPT_BIND_POOL_H

#include "script/task.h"

enum pool_kind { POOL_POSTGRES, POOL_REDIS };

/* How the server is told of the requests that are sampled. */
enum pool_trace { TRACE_OFF, TRACE_COMMENT, TRACE_APPLICATION_NAME };

const char *pool_kind_name(enum pool_kind kind); /* "postgres", "redis" */

/* A userdata; lives as long as Lua refers to it or the pool is open. */
struct script_pool {
    struct vm *vm;
    struct list_node node; /* on vm->pools while open */
    enum pool_kind kind;
    struct pool *pool; /* NULL once closed */
    struct pg_pool *pg;
    struct redis_pool *redis;
    int self_ref;        /* keeps it while open */
    int hooks_ref;       /* their functions by name, or LUA_NOREF */
    struct list closers; /* tasks parked in close(), by wait_node */
    enum pool_trace trace;
    char name[64];
};

/* The pool at index; raises when it is none of this kind or closed. */
struct script_pool *check_pool(lua_State *L, int index, enum pool_kind kind);

/* The pool of either kind at index, closed or not; raises when it is none. */
struct script_pool *check_any_pool(lua_State *L, int index);
/* The same; raises when it is closed too. */
struct script_pool *check_open_pool(lua_State *L, int index);

/* Makes a new userdata, not open yet, and leaves it on the stack. */
struct script_pool *pool_push(lua_State *L, enum pool_kind kind,
                              const char *name);
/* The pool was opened: kept until closed. */
void pool_opened(lua_State *L, struct script_pool *box, struct pool *pool);

/* What postgres_open and redis_open are given in the table at 1. */
struct pool_arguments {
    const char *name;
    const char *url;
    const char *application_name;
    enum pool_trace trace;
    struct pool_settings settings;
};
/* Raises for a wrong type or an unknown key; false, with why, for a wrong
 * value. */
bool pool_arguments(lua_State *L, struct pool_arguments *out,
                    struct err_text *why);

/* Sets what the table at index holds.  Raises for a wrong type or an unknown
 * key; false, with why, for a wrong value. */
bool pool_settings_read(lua_State *L, int index, struct pool_settings *settings,
                        struct err_text *why);

/* Pushes them as a table by name. */
void pool_settings_push(lua_State *L, const struct pool_settings *settings);

/* Begins to close, with leases until deadline_ns; does nothing when closed. */
void pool_begin_close(struct script_pool *box, uint64_t deadline_ns);

/* Raises for a number that is no count of milliseconds; 0 when absent. */
uint64_t check_timeout_ms(lua_State *L, int index);

#endif
