/* limits.h - how much a Lua state may hold: its heap, and the number of tasks.
 */
#ifndef TIDEPOOL_SCRIPT_LIMITS_H
#define TIDEPOOL_SCRIPT_LIMITS_H

#include "script/vm.h"

/* Between tasks: collects what can be when the heap is three quarters full, and
 * says whether it is tight then, nine tenths full or more. */
void limits_look(struct vm *vm);

/* Whether there is room for one task more; when not counts that, and gives the
 * reason. */
bool limits_admit(struct vm *vm, const char **why);

/* The state should be replaced by a new one: tells that once. */
void limits_suspect(struct vm *vm, const char *reason);

#endif
