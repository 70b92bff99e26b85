/*
 * stuck.h - says on stderr where a process is that does not answer any more,
 * when its master asks by SIGQUIT, before it is killed.
 *
 * The first SIGQUIT writes the task, and for how long the loop has stood still.
 * Where Lua code runs, its stack is logged at the next instruction, see
 * watchdog_ask().  In a call of C that does not return none comes; the second
 * SIGQUIT finds that, so the stack of Lua below that call stands still, and
 * writes it from the signal handler, and the stack of C.  Of a coroutine that
 * the script itself made it sees only where that was resumed.
 */
#ifndef TIDEPOOL_SCRIPT_STUCK_H
#define TIDEPOOL_SCRIPT_STUCK_H

struct vm;

/* From now on, for the thread that calls: of one state in a process, the last
 * one's.  SIGQUIT ends the process no more. */
void stuck_watch(struct vm *vm);
/* Of one that is not watched: nothing. */
void stuck_unwatch(struct vm *vm);

#endif
