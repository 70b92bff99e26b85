/* vm_options.h - what the owner of a runtime decides; see tidepool.h. */
#ifndef TIDEPOOL_SCRIPT_VM_OPTIONS_H
#define TIDEPOOL_SCRIPT_VM_OPTIONS_H

#include "net/loop.h"

#include <lua.h>

/* Copied by vm_new() and vm_init(). */
struct vm_options {
    void *uv_loop; /* borrowed, or NULL */
    void (*write_log)(void *ud, const char *line, size_t len); /* or NULL */
    void *ud;
    lua_Alloc allocate; /* of the Lua state; NULL: its own */
    void *allocate_ud;
    struct loop_clock clock;
    int (*random)(void *ud, void *out, size_t len); /* NULL: the kernel's */
    void *random_ud;
};

#endif
