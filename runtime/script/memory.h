/* memory.h - the memory of a Lua state, where a host gives it
 * (tide_options.allocate).
 *
 * LuaJIT ends the process when memory is refused outside of a protected call:
 * when a task is told of something, and between tasks, when garbage is
 * collected.  What the host has not is borrowed from malloc() there, until Lua
 * frees it.  In a task, and in memory_protect(), a refusal is an error as any
 * other. */
#ifndef TIDEPOOL_SCRIPT_MEMORY_H
#define TIDEPOOL_SCRIPT_MEMORY_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

struct vm;

/* Of a struct vm. */
struct memory {
    lua_Alloc
        allocate; /* the host's; NULL: LuaJIT's own is used, and no loans */
    void *ud;
    unsigned n_protected;
    bool is_telling; /* a task, of what it waited for: in whatever runs */
    struct list loans;
    size_t lent_bytes;
    bool is_short; /* the log has been told */
};

/* The state, on the host's memory or on LuaJIT's own; NULL: there is none. */
lua_State *memory_new_state(struct vm *vm);
/* lua_cpcall() on the main thread: its status. */
int memory_protect(struct vm *vm, lua_CFunction fn, void *ud);
/* Between tasks: tells the log of loans, once until all are back. */
void memory_look(struct vm *vm);

#endif
