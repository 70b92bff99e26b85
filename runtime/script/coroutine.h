/* coroutine.h - tasks with their coroutines: made, kept for the next, freed. */
#ifndef TIDEPOOL_SCRIPT_COROUTINE_H
#define TIDEPOOL_SCRIPT_COROUTINE_H

#include "script/vm.h"

struct task;

enum { COROUTINE_ROOM = 16 }; /* on a stack, for what a task is told */

/* One that nothing is known of but its vm and its coroutine, whose stack is
 * empty and has room for n_args and the room above.  Raises in from without
 * memory. */
struct task *coroutine_take(struct vm *vm, lua_State *from, int n_args);
/* Has ended, and nobody knows of it any more: for the next one, or freed. */
void coroutine_keep(struct task *task);
/* Has ended with an error, which is all that it has from now on. */
void coroutine_let_go(struct task *task);

#endif
