/* limits.h - how much a Lua state may hold: its heap, and the number of tasks.
 */
#ifndef TIDEPOOL_SCRIPT_LIMITS_H
#define TIDEPOOL_SCRIPT_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* Embedded in the vm. */
struct script_limits {
    uint64_t heap_max; /* bytes; 0: no limit */
    unsigned max_tasks;
    bool is_tight;         /* the heap is nearly full, whatever was collected */
    unsigned tight_looks;  /* in a row */
    uint64_t collected_ns; /* when all was collected last */
    uint64_t collections;
    uint64_t ended; /* tasks, for the heap, when it was looked at last */
    uint64_t refused_heap;
    uint64_t refused_tasks;
    int on_suspect_ref; /* LUA_NOREF: nobody is to be told, or was */
};

/* Between tasks: collects what can be when the heap is three quarters full, and
 * says whether it is tight then, nine tenths full or more. */
void limits_look(struct vm *vm);

/* Whether there is room for one task more; when not counts that, and gives the
 * reason. */
bool limits_admit(struct vm *vm, const char **why);

/* The state should be replaced by a new one: tells that once. */
void limits_suspect(struct vm *vm, const char *reason);

#endif
